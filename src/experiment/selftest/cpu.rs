//! The CPU: its plain path against what was recorded and a literal reference, each set of vector instructions against the plain
//! path, and the recorded runs on each.

use super::cases::Extent;
use super::tally::Tally;
use super::{
    elementary, graphs, lenet, network, randomise_direct, render_cppn, render_direct, runs, select, vary_cppn,
    vary_direct,
};
use crate::archive::mix;
use crate::backend::cpu::{CpuBackend, Options};
use crate::backend::{Backend, Job};
use crate::error::Result;
use crate::experiment::bench::reference;
use crate::genome::direct;
use crate::network::Crops;
use crate::simd::Simd;

/// What a step makes of a case.
#[derive(Clone, Debug)]
pub struct Output {
    pub case: String,
    pub batch: usize,
    pub words: Vec<u32>,
}

/// A step of the CPU.
pub struct Step {
    pub name: &'static str,
    /// Whether it has code of its own for each set of vector instructions.
    pub vectors: bool,
    outputs: fn(Simd, Extent) -> Vec<Output>,
    /// Digests of what the plain path makes, of the quick and of the usual cases: the same on every processor. `None` where formulas say
    /// what each value is.
    recorded: Option<[u64; 2]>,
}

/// All of them. A change of a digest is a change of the arithmetic, as of [`runs::RECORDED`], or of the cases.
pub const STEPS: [Step; 9] = [
    Step {
        name: "elementary",
        vectors: true,
        outputs: elementary_functions,
        recorded: Some([0x2339_eca6_0791_845a, 0xc882_797b_b5d0_a17b]),
    },
    Step {
        name: "randomise-direct",
        vectors: true,
        outputs: random_genes,
        recorded: Some([0xd084_31e5_3502_d43e, 0x239a_76fd_8120_4d59]),
    },
    Step {
        name: "select",
        vectors: false,
        outputs: pairs,
        recorded: Some([0xff24_76d7_bab9_59c7, 0x3650_1f7a_709f_92f2]),
    },
    Step {
        name: "vary-direct",
        vectors: true,
        outputs: direct_children,
        recorded: Some([0x5ee1_4091_204f_8d06, 0x5706_23d0_94cc_5125]),
    },
    Step {
        name: "vary-cppn",
        vectors: false,
        outputs: cppn_children,
        recorded: Some([0xaaad_a994_c877_54c9, 0x4e97_e104_53ea_12db]),
    },
    Step {
        name: "render-direct",
        vectors: true,
        outputs: direct_images,
        recorded: Some([0x052b_1614_225b_5f21, 0x052b_1614_225b_5f21]),
    },
    Step {
        name: "render-cppn",
        vectors: true,
        outputs: cppn_images,
        recorded: Some([0xc004_581a_1b4c_4e18, 0x9e69_a206_81a2_9023]),
    },
    Step {
        name: "classify",
        vectors: true,
        outputs: probabilities,
        recorded: Some([0xb644_c653_183f_dc2a, 0x046e_8b59_2c46_b46e]),
    },
    Step { name: "network", vectors: true, outputs: layered_network, recorded: None },
];

impl Step {
    /// Compares what `simd` makes: the plain path with what was recorded, another with the plain path.
    pub fn run(&self, simd: Simd, extent: Extent, tally: &mut Tally) {
        let clock = std::time::Instant::now();
        let got = (self.outputs)(simd, extent);
        tally.seconds += clock.elapsed().as_secs_f64();
        if simd != Simd::Plain {
            let want = (self.outputs)(Simd::Plain, extent);
            for (want, got) in want.iter().zip(&got) {
                tally.case(want.batch, &want.case);
                tally.same("the results", &want.words, &got.words);
            }
            return;
        }
        for output in &got {
            tally.case(output.batch, &output.case);
            tally.elements += output.words.len() as u64;
        }
        let digest = digest(&got);
        if let Some(recorded) = self.recorded(extent).filter(|&recorded| recorded != digest) {
            tally.case(0, "all cases together");
            tally.differ(
                "the digest of all results",
                0,
                format!("{recorded:016x} (as recorded)"),
                format!("{digest:016x}"),
            );
        }
        if self.name == "network" {
            classify_literally(extent, tally);
        }
        if self.name == "render-cppn" {
            draw_literally(extent, tally);
        }
    }

    /// The digest of what the plain path makes, if one is recorded.
    pub fn recorded(&self, extent: Extent) -> Option<u64> {
        self.recorded.map(|recorded| recorded[usize::from(extent != Extent::Quick)])
    }
}

/// Sees every word of every case, and their order.
pub fn digest(outputs: &[Output]) -> u64 {
    outputs.iter().flat_map(|output| &output.words).fold(0, |hash, &word| mix(hash ^ mix(u64::from(word) + 1)))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn bytes(values: &[u8]) -> Vec<u32> {
    values.iter().map(|&value| value.into()).collect()
}

fn elementary_functions(simd: Simd, extent: Extent) -> Vec<Output> {
    let samples = [elementary::edges(extent.number(0, 3, 3)), elementary::every(extent.number(100_003, 7919, 7919))];
    let mut outputs = Vec::new();
    for function in elementary::FUNCTIONS {
        for x in &samples {
            let words = bits(&elementary::on_host(simd, function, x));
            outputs.push(Output { case: elementary::name(function, x), batch: x.len(), words });
        }
    }
    outputs
}

fn random_genes(simd: Simd, extent: Extent) -> Vec<Output> {
    let output = |(at, n_genes)| Output {
        case: randomise_direct::name(&at, n_genes),
        batch: at.2.count as usize,
        words: bits(&randomise_direct::on_host(simd, &at, n_genes)),
    };
    randomise_direct::cases(extent).into_iter().map(output).collect()
}

fn pairs(_: Simd, extent: Extent) -> Vec<Output> {
    let output = |((encoding, n_niches), at)| {
        let pairs = select::on_host(&encoding, n_niches, &at);
        let words = pairs.iter().flat_map(|pair| [pair.parents[0], pair.parents[1], pair.crossed]).collect();
        let (runs, active, chunk) = at;
        let case = format!("{encoding:?}, {n_niches} niches, runs {runs:?}, active {active:?}, {chunk:?}");
        Output { case, batch: chunk.count as usize, words }
    };
    select::cases(extent).into_iter().map(output).collect()
}

fn direct_children(simd: Simd, extent: Extent) -> Vec<Output> {
    let output = |(rules, at, n_genes)| Output {
        case: vary_direct::name(&rules, &at, n_genes),
        batch: at.2.count as usize,
        words: bits(&vary_direct::on_host(simd, &rules, &at, n_genes)),
    };
    vary_direct::cases(extent).into_iter().map(output).collect()
}

fn cppn_children(_: Simd, extent: Extent) -> Vec<Output> {
    let output = |case: vary_cppn::Case| {
        let (children, skipped) = case.on_host();
        let mut words: Vec<u32> = children.iter().flat_map(graphs::words).collect();
        words.extend(skipped.iter().map(|&skipped| skipped as u32));
        Output { case: case.name(), batch: children.len(), words }
    };
    vary_cppn::cases(extent).into_iter().map(output).collect()
}

fn direct_images(simd: Simd, _: Extent) -> Vec<Output> {
    let output = |case: render_direct::Case| {
        let (count, n_genes, n_channels) = case;
        let genes = render_direct::genes(count * n_genes);
        let mut images = vec![0; genes.len()];
        direct::render(simd, n_channels, &mut images, &genes);
        let case = format!("{count} images of {n_genes} genes in {n_channels} channels");
        Output { case, batch: count, words: bytes(&images) }
    };
    render_direct::CASES.into_iter().map(output).collect()
}

fn cppn_images(simd: Simd, extent: Extent) -> Vec<Output> {
    let output = |drawing: render_cppn::Drawing| Output {
        case: drawing.name(),
        batch: drawing.graphs.len(),
        words: bytes(&drawing.on_host(simd)),
    };
    render_cppn::drawings(extent).into_iter().map(output).collect()
}

/// The images of grey genomes of moderate size, of T steps of all nodes, literally.
fn draw_literally(extent: Extent, tally: &mut Tally) {
    const MOST_NODES: usize = 60;
    const MOST_PIXELS: usize = 200;
    for mut drawing in render_cppn::drawings(extent) {
        let canvas = drawing.canvas;
        // A side of one pixel has no centre to be away from.
        let drawn = canvas.channels == 1 && canvas.height.min(canvas.width) > 1 && canvas.pixels() <= MOST_PIXELS;
        drawing.graphs.retain(|graph| drawn && graph.n_nodes() <= MOST_NODES);
        if drawing.graphs.is_empty() {
            continue;
        }
        tally.case(drawing.graphs.len(), format_args!("{}, literally", drawing.name()));
        let images = drawing.on_host(Simd::Plain);
        for (at, (graph, image)) in drawing.graphs.iter().zip(images.chunks(canvas.len())).enumerate() {
            let want = reference::draw(graph, &drawing.rules, canvas);
            tally.same(&format!("the image of genome {at}"), &want, image);
        }
    }
}

fn probabilities(simd: Simd, extent: Extent) -> Vec<Output> {
    let output = |case: lenet::Case| {
        // As many images as fill a vector of every width and leave some over.
        let batch = (case.images.len() / lenet::PIXELS).min(37);
        let images = &case.images[..batch * lenet::PIXELS];
        Output { batch, words: bits(&lenet::probabilities_on_host(simd, &case.network, images)), case: case.name }
    };
    lenet::cases(extent).into_iter().map(output).collect()
}

fn layered_network(simd: Simd, extent: Extent) -> Vec<Output> {
    let network = network::network();
    let output = |batch| {
        let words = bits(&network::on_host(simd, &network, &network::images(&network, batch)));
        Output { case: format!("{}, batch {batch}", network.name), batch, words }
    };
    network::batches(extent).into_iter().map(output).collect()
}

/// The probabilities of the network of every operation, each layer from its formula.
fn classify_literally(extent: Extent, tally: &mut Tally) {
    let whole = network::batches(extent).into_iter().map(|batch| (network::network(), batch));
    for (network, batch) in whole.chain([(network::cropped(Crops::Ten), 2)]) {
        tally.case(batch, format_args!("{}, {} crops, batch {batch}, literally", network.name, network.n_crops()));
        let images = network::images(&network, batch);
        let want: Vec<f32> =
            images.chunks(network.given().len()).flat_map(|image| network::literally(&network, image)).collect();
        tally.same("the probabilities", &want, &network::on_host(Simd::Plain, &network, &images));
    }
}

/// The recorded runs on `simd`, side by side. The plain path makes but few generations where there is a faster one: without a fused
/// multiply-add it takes seconds a run.
///
/// # Errors
/// None that a sound machine makes.
pub fn run(simd: Simd, recorded: &[runs::Recorded], extent: Extent, tally: &mut Tally) -> Result<()> {
    let extent = if simd == Simd::Plain && Simd::detect() != Simd::Plain { Extent::Quick } else { extent };
    let make = |job: Job, chunk: u32| -> Result<Box<dyn Backend>> {
        Ok(Box::new(CpuBackend::new(job, Options { simd, chunk })?))
    };
    runs::series(tally, recorded, extent, 34, &make)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(outputs: fn(Simd, Extent) -> Vec<Output>, recorded: u64) -> Step {
        Step { name: "trial", vectors: true, outputs, recorded: Some([recorded; 2]) }
    }

    fn one(words: &[u32]) -> Vec<Output> {
        vec![Output { case: "the case".into(), batch: 3, words: words.to_vec() }]
    }

    #[test]
    fn plain_path_of_another_digest_differs() {
        let right = step(|_, _| one(&[1, 2, 3]), digest(&one(&[1, 2, 3])));
        let wrong = step(|_, _| one(&[1, 3, 2]), right.recorded(Extent::Usual).unwrap());
        for (step, differing) in [(right, 0), (wrong, 1)] {
            let mut tally = Tally::default();
            step.run(Simd::Plain, Extent::Usual, &mut tally);
            assert_eq!((tally.differing, tally.elements), (differing, 3));
        }
    }

    #[test]
    fn vectors_that_make_something_else_than_the_plain_path_differ() {
        let widest = Simd::detect();
        if widest == Simd::Plain {
            return;
        }
        let step = step(|simd, _| one(&[1, 2 + u32::from(simd != Simd::Plain), 3]), 0);
        let mut tally = Tally::default();
        step.run(widest, Extent::Usual, &mut tally);
        let first = tally.first.unwrap();
        assert_eq!((first.case.as_str(), first.element, tally.differing), ("the case", 1, 1));
    }
}
