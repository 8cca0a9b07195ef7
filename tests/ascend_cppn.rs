//! Gradient ascent in the weights of CPPNs: drawings and their way back against literal rules and against finite differences; the same genomes
//! whatever the threads, the width of the vectors and the company; the program, its folder and archive, its refusals.

mod common;
#[path = "reference/cppn.rs"]
#[allow(dead_code)]
mod cppn;
#[path = "reference/gradient.rs"]
mod gradient;
#[path = "common/list.rs"]
mod list;
#[path = "reference/cppn_gradient.rs"]
mod literal;
#[path = "common/program.rs"]
mod program;
#[path = "reference/ascent.rs"]
#[allow(dead_code)]
mod reference;

use list::TINY;
use pareidolia::backend::ascent::{Ascent, CppnRule, Seen};
use pareidolia::backend::cpu::cppn_ascent::CpuCppnAscent;
use pareidolia::experiment::ascend::config::{Config, Preset};
use pareidolia::experiment::ascend::{cppn::random, cppn_memory};
use pareidolia::experiment::selftest::graphs::unsettled;
use pareidolia::genome::cppn::{
    Activation, BAND, Canvases, Compiler, Differentiable, Edge, Gradients, Graph, InputPlanes, Renderer, Rules, Scratch,
};
use pareidolia::genome::{Canvas, Genome};
use pareidolia::network::list::List;
use pareidolia::network::{ChannelOrder, Crops, Network};
use pareidolia::output::archive_file;
use pareidolia::output::ascent::{AscentManifest, End, image_hash, result_hash};
use pareidolia::output::pictures;
use pareidolia::rng::{Philox, Purpose, unit};
use pareidolia::simd::Simd;
use program::{fails, names, pareidolia, run};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

fn lenet() -> Network {
    Network::embedded_lenet(None).unwrap()
}

/// 9 x 9 of 12 x 12 in colour, every kind of layer: see `common/list.rs`.
fn tiny(crops: Crops, order: ChannelOrder) -> Network {
    let mut network = Network::random(&List::parse(TINY).unwrap(), 5).unwrap();
    network.preprocess.channel_order = order;
    // Pixels reach 255: with the weights as they are drawn one answer is certain, and the others have no gradient.
    network.parameters.iter_mut().for_each(|layer| layer.weight.iter_mut().for_each(|weight| *weight *= 0.1));
    network.judging(crops).unwrap()
}

/// `n` numbers in [-1, 1), the same for the same `stream`.
fn numbers(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(20_150_607).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

const RULE: CppnRule = CppnRule { early: 0.1, late: 0.3, max_step: 0.1 };

fn edge(source: u16, target: u16, gene: f32) -> Edge {
    Edge { source, target, gene }
}

/// A graph that an evolution might have made, deletions included.
fn evolved(n_outputs: usize, seed: u64, rules: &Rules) -> Graph {
    let philox = Philox::new(seed);
    let mut graph = Graph::random(n_outputs, &philox, 7);
    let mut scratch = Scratch::default();
    for generation in 1..60 {
        graph.vary(rules, &philox, 7, generation, &mut scratch);
    }
    graph
}

/// Graphs of every kind, their rules and canvases.
fn cases() -> Vec<(String, Graph, Rules, Canvas)> {
    let mut cases = Vec::new();
    for channels in [1, 3] {
        let canvas = |height, width| Canvas { height, width, channels };
        for seed in 0..3 {
            let rules = Rules { max_weight: 3.0, ..Rules::modern() };
            let graph = random(channels, &rules, seed, 12, 0.8);
            cases.push((format!("grown {seed}, {channels} channels"), graph, rules, canvas(5, 7)));
            let graph = evolved(channels, seed, &Rules::modern());
            cases.push((format!("evolved {seed}, {channels} channels"), graph, Rules::modern(), canvas(6, 9)));
        }
        let rules = Rules { max_weight: 0.3, ..Rules::faithful() };
        let graph = random(channels, &rules, 9, 6, 1.0);
        cases.push((format!("pixel indices, {channels} channels"), graph, rules, canvas(7, 3)));
        // Bands: one and a part of another.
        let large = random(channels, &Rules::modern(), 4, 8, 0.3);
        cases.push((format!("bands, {channels} channels"), large, Rules::modern(), canvas(43, 51)));
        cases.push((format!("unsettled, {channels} channels"), unsettled(channels), Rules::modern(), canvas(8, 8)));
        // Linear outputs, clipped in part of the image and everywhere.
        let mut clipped = Graph::random(channels, &Philox::new(2), 0);
        clipped.activations.fill(Activation::Linear);
        let mut beyond = clipped.clone();
        beyond.edges.iter_mut().filter(|edge| edge.source == 3).for_each(|edge| edge.gene = 1.0);
        beyond.edges.iter_mut().filter(|edge| edge.source != 3).for_each(|edge| edge.gene = 0.53);
        cases.push((format!("clipped in part, {channels} channels"), clipped, Rules::modern(), canvas(9, 9)));
        cases.push((format!("clipped, {channels} channels"), beyond, Rules::modern(), canvas(4, 4)));
        let none = Graph { n_outputs: channels, activations: vec![Activation::Gaussian; 4 + channels], edges: vec![] };
        cases.push((format!("no edges, {channels} channels"), none, Rules::modern(), canvas(3, 5)));
    }
    cases
}

/// The real drawing of a graph, and what the gradient `g` of its pixels tells its genes.
fn drawn(graph: &Graph, rules: &Rules, canvas: Canvas, g: &[f32], simd: Simd) -> (Vec<f32>, Vec<f32>) {
    let canvases = Canvases::new(canvas, rules.normalise);
    // The genes come in afterwards.
    let mut moved = graph.clone();
    moved.edges.iter_mut().for_each(|edge| edge.gene = 0.5);
    let mut program = Differentiable::new(&mut Compiler::default(), simd, &moved, rules);
    program.set_genes(&graph.edges.iter().map(|edge| edge.gene).collect::<Vec<_>>());
    let mut gradients = Gradients::default();
    let (mut drawing, mut bands) = (vec![0.0; canvas.len()], Vec::new());
    for band in 0..canvases.n_bands() {
        let pixels = canvases.band(band);
        assert!(pixels.len() <= BAND);
        let mut channels = drawing.chunks_exact_mut(canvas.pixels()).map(|channel| &mut channel[pixels.clone()]);
        let channels = [(); 3].map(|()| channels.next().unwrap_or_default());
        gradients.draw(simd, &canvases, &program, band, channels);
        let mut terms = vec![f32::NAN; program.n_terms()];
        gradients.differentiate(simd, &canvases, &program, band, g, &mut terms);
        bands.extend(terms);
    }
    (drawing, program.gene_gradient(&bands))
}

#[test]
fn drawings_and_gradients_are_the_literal_ones_at_every_width() {
    for (number, (name, graph, rules, canvas)) in cases().into_iter().enumerate() {
        graph.validate(&rules, canvas.channels).unwrap();
        let g = numbers(number as u32, canvas.len());
        let want = literal::draw(&graph, &rules, canvas);
        let wanted = literal::gene_gradient(&graph, &rules, canvas, &g);
        for simd in Simd::available() {
            let (drawing, genes) = drawn(&graph, &rules, canvas, &g, simd);
            assert!(same_bits(&drawing, &want), "{name}, {simd}: drawing");
            assert!(same_bits(&genes, &wanted), "{name}, {simd}: {genes:?}, not {wanted:?}");
        }
    }
}

/// What is left out of the ordinary drawing is its rounding.
#[test]
fn drawings_are_the_ordinary_ones_but_for_rounding() {
    for (name, graph, rules, canvas) in cases() {
        let (drawing, _) = drawn(&graph, &rules, canvas, &vec![0.0; canvas.len()], Simd::detect());
        let mut image = vec![0; canvas.len()];
        let program = Compiler::default().compile(Simd::detect(), &graph, rules.max_weight).clone();
        let planes = InputPlanes::new(canvas, rules.normalise);
        Renderer::default().render(Simd::detect(), &planes, &program, &mut image);
        let n = canvas.pixels();
        let mut largest: f32 = 0.0;
        for (at, &byte) in image.iter().enumerate() {
            let value = drawing[at % canvas.channels * n + at / canvas.channels];
            if canvas.channels == 1 {
                assert_eq!(value as u8, byte, "{name}, pixel {at}");
            }
            largest = largest.max((value - f32::from(byte)).abs());
        }
        // A step of hue is a thirtieth of the way from black to white and more; l and s lose up to a step each, and l counts twice.
        let bound = if canvas.channels == 1 { 1.0 } else { 8.5 + 4.0 };
        assert!(largest <= bound, "{name}: {largest}");
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (number, (name, graph, rules, canvas)) in cases().into_iter().enumerate() {
        if name.starts_with("bands") || name.starts_with("evolved") {
            continue; // long, or too rugged for single precision: the literal rule is theirs
        }
        let g = numbers(number as u32, canvas.len());
        let (_, genes) = drawn(&graph, &rules, canvas, &g, Simd::detect());
        let at: Vec<f64> = graph.edges.iter().map(|edge| f64::from(edge.gene)).collect();
        let h = 1e-6;
        let slope = |i: usize| {
            let mut moved = at.clone();
            moved[i] = at[i] + h;
            let above = literal::objective_f64(&graph, &rules, canvas, &moved, &g);
            moved[i] = at[i] - h;
            (above - literal::objective_f64(&graph, &rules, canvas, &moved, &g)) / (2.0 * h)
        };
        let want: Vec<f64> = (0..at.len()).map(slope).collect();
        let largest = want.iter().fold(0.0, |most: f64, slope| most.max(slope.abs()));
        for (i, (&got, want)) in genes.iter().zip(&want).enumerate() {
            let error = (f64::from(got) - want).abs();
            // Sums of single precision, of terms as large as the largest gradient.
            assert!(error <= 2e-4 * largest + 1e-4, "{name}, edge {i}: {got}, not {want} (largest {largest})");
        }
        match &name[..7] {
            "no edge" => assert!(genes.is_empty()),
            "clipped" if !name.contains("part") => assert!(genes.iter().all(|g| g.to_bits() == 0), "{genes:?}"),
            _ => assert!(largest > 1.0, "{name}: {largest}"),
        }
    }
}

/// Edges that no output depends on have no gradient, and steps that cut a chain off give its edges several terms.
#[test]
fn terms_go_to_their_edges() {
    let graph = unsettled(1);
    let edges = Compiler::default().edges_of_terms(Simd::Plain, &graph);
    let program = Compiler::default().compile(Simd::Plain, &graph, 10.0).clone();
    assert_eq!(edges.len(), program.terms.len());
    for (&edge, term) in edges.iter().zip(&program.terms) {
        assert_eq!(term.weight, 20.0_f32.mul_add(graph.edges[edge as usize].gene, -10.0));
    }
    let times = |edge| edges.iter().filter(|&&other| other == edge).count();
    let all: Vec<usize> = (0..graph.edges.len() as u32).map(times).collect();
    assert!(all.iter().any(|&n| n > 1), "{all:?}");
    // A node that leads nowhere.
    let mut dead = Graph::random(1, &Philox::new(1), 0);
    dead.activations.push(Activation::Sine);
    dead.edges.insert(1, edge(0, 5, 0.9));
    let canvas = Canvas::MNIST;
    let (_, genes) = drawn(&dead, &Rules::modern(), canvas, &numbers(1, 784), Simd::detect());
    assert_eq!(genes[1].to_bits(), 0);
    assert!(genes.iter().enumerate().all(|(i, g)| i == 1 || *g != 0.0), "{genes:?}");
}

/// The graphs that stand at the end, what they draw, and what each step saw.
type Climbed = (Vec<Graph>, Vec<f32>, Vec<Vec<Seen>>);

/// An ascent of `images` on so many threads, with so many crops in the network at once.
fn climb(
    network: &Network,
    rules: &Rules,
    images: &[(u32, Graph)],
    iterations: u32,
    threads: usize,
    simd: Simd,
    at_once: Option<usize>,
) -> Climbed {
    climb_by(RULE, network, rules, images, iterations, threads, (simd, at_once))
}

fn climb_by(
    rule: CppnRule,
    network: &Network,
    rules: &Rules,
    images: &[(u32, Graph)],
    iterations: u32,
    threads: usize,
    (simd, at_once): (Simd, Option<usize>),
) -> Climbed {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let classes: Vec<u32> = images.iter().map(|image| image.0).collect();
        let graphs = images.iter().map(|image| image.1.clone()).collect();
        let at_once = at_once.unwrap_or(classes.len() * network.n_crops());
        let mut ascent = CpuCppnAscent::in_parts(network, rule, rules, &classes, graphs, simd, at_once).unwrap();
        let seen = (1..=iterations).map(|step| ascent.step(step == iterations).unwrap()).collect();
        (ascent.graphs().unwrap(), ascent.images().unwrap(), seen)
    })
}

fn bits(seen: &Seen) -> (u32, u32, u64, bool) {
    (seen.probability.to_bits(), seen.best, seen.norm.to_bits(), seen.stopped)
}

/// A name, a network, and what climbs against it: class and graph of each image.
type Scene = (String, Network, Vec<(u32, Graph)>);

/// Networks of every kind.
fn scenes() -> Vec<Scene> {
    let rules = Rules::modern();
    let grown = |channels, seed| random(channels, &rules, seed, 10, 0.4);
    let mut scenes = vec![("lenet".to_string(), lenet(), vec![(3, grown(1, 0)), (8, grown(1, 4)), (1, unsettled(1))])];
    for (crops, order) in [(Crops::One, ChannelOrder::Rgb), (Crops::Ten, ChannelOrder::Bgr)] {
        let images = vec![(0, grown(3, 1)), (3, evolved(3, 2, &rules)), (2, unsettled(3))];
        scenes.push((format!("tiny, {crops:?}, {order}"), tiny(crops, order), images));
    }
    scenes
}

#[test]
fn whole_ascents_are_the_literal_ones() {
    let rules = Rules::modern();
    for (name, network, images) in scenes() {
        let (graphs, drawings, seen) = climb(&network, &rules, &images, 12, 2, Simd::detect(), None);
        let len = Canvas::of(&network).len();
        let (mut rose, mut fell) = (0, 0);
        for (i, (class, graph)) in images.iter().enumerate() {
            let (want, wanted) = literal::ascend(&network, RULE, &rules, *class as usize, graph, 12);
            for (step, wanted) in wanted.iter().enumerate() {
                assert_eq!(bits(&seen[step][i]), bits(wanted), "{name}, image {i}, step {step}");
            }
            assert_eq!(graphs[i], want, "{name}, image {i}");
            let drawing = literal::draw(&want, &rules, Canvas::of(&network));
            assert!(same_bits(&drawings[i * len..][..len], &drawing), "{name}, image {i}");
            rose += wanted.windows(2).filter(|pair| pair[1].probability > pair[0].probability).count();
            fell += wanted.windows(2).filter(|pair| pair[1].probability == pair[0].probability).count();
            assert!(wanted.is_sorted_by(|a, b| a.probability <= b.probability), "{name}, image {i}: {wanted:?}");
        }
        assert!(rose > 6, "{name}: {rose} steps up, {fell} back");
    }
}

#[test]
fn genomes_are_the_same_whatever_threads_widths_and_company() {
    let rules = Rules::modern();
    for (name, network, images) in scenes() {
        let (want, drawings, seen) = climb(&network, &rules, &images, 7, 1, Simd::Plain, None);
        for simd in Simd::available() {
            for (threads, at_once) in [(1, None), (2, Some(2)), (3, None), (3, Some(1))] {
                let (graphs, now, seen_now) = climb(&network, &rules, &images, 7, threads, simd, at_once);
                assert_eq!(graphs, want, "{name}: {simd}, {threads} threads, {at_once:?}");
                assert!(same_bits(&now, &drawings), "{name}: {simd}, {threads} threads, {at_once:?}");
                for (a, b) in seen.iter().flatten().zip(seen_now.iter().flatten()) {
                    assert_eq!(bits(a), bits(b), "{name}: {simd}, {threads} threads, {at_once:?}");
                }
            }
            let (alone, _, seen_now) = climb(&network, &rules, &images[1..2], 7, 2, simd, None);
            assert_eq!(alone[0], want[1], "{name}: {simd}, by itself");
            assert!(seen.iter().zip(&seen_now).all(|(all, one)| bits(&all[1]) == bits(&one[0])));
        }
    }
}

/// What cannot move stops: no edges; a network that says the same of every image; genes at their ends that would go on.
#[test]
fn what_cannot_move_stops() {
    let rules = Rules::modern();
    let none = Graph { n_outputs: 1, activations: vec![Activation::Gaussian; 5], edges: vec![] };
    let (graphs, drawing, seen) = climb(&lenet(), &rules, &[(2, none.clone())], 3, 1, Simd::detect(), None);
    assert_eq!(graphs[0], none);
    assert!(drawing.iter().all(|&v| v == 255.0), "the Gaussian of 0");
    assert!(seen.iter().all(|seen| seen[0].stopped && seen[0].norm == 0.0));

    let mut network = lenet();
    network.parameters.iter_mut().for_each(|layer| {
        layer.weight.fill(0.0);
        layer.bias.fill(0.0);
    });
    let graph = random(1, &rules, 0, 5, 0.5);
    let (graphs, _, seen) = climb(&network, &rules, &[(2, graph.clone())], 3, 1, Simd::detect(), None);
    assert_eq!(graphs[0], graph);
    assert!(seen.iter().all(|s| bits(&s[0]) == bits(&Seen { probability: 0.1, best: 0, norm: 0.0, stopped: true })));

    // One edge from the constant: the image is one grey, and its gene runs into an end, or to a maximum on the way.
    for (activation, gene) in [(Activation::Linear, 0.62), (Activation::Sigmoid, 0.45)] {
        for class in 0..10 {
            let one = Graph { n_outputs: 1, activations: vec![activation; 5], edges: vec![edge(3, 4, gene)] };
            let (graphs, _, seen) = climb(&lenet(), &rules, &[(class, one)], 120, 1, Simd::detect(), None);
            let last = seen.last().unwrap()[0];
            assert!(last.stopped, "class {class}: {last:?} {:?}", graphs[0].edges);
            assert!((0.0..=1.0).contains(&graphs[0].edges[0].gene));
        }
    }
    // A gene at its end that would go on is kept out of the norm; the others go on.
    let mut ends = random(1, &rules, 3, 8, 1.0);
    ends.edges.iter_mut().enumerate().for_each(|(i, edge)| {
        if i % 2 == 0 {
            edge.gene = if edge.gene < 0.5 { 0.0 } else { 1.0 }
        }
    });
    let (graphs, _, seen) = climb(&lenet(), &rules, &[(5, ends.clone())], 10, 1, Simd::detect(), None);
    let (want, wanted) = literal::ascend(&lenet(), RULE, &rules, 5, &ends, 10);
    assert_eq!(graphs[0], want);
    assert!(seen.iter().zip(&wanted).all(|(seen, wanted)| bits(&seen[0]) == bits(wanted)));
    assert_ne!(graphs[0], ends);
}

#[test]
fn random_graphs_are_those_of_an_evolution_that_only_grows() {
    let rules = Rules::modern();
    assert_eq!(random(3, &rules, 11, 0, 1.0), {
        // The rule's subtraction and addition take bits of a gene.
        let mut graph = Graph::random(3, &Philox::new(11), 0);
        graph.edges.iter_mut().for_each(|edge| edge.gene = 1.0_f32.mul_add(edge.gene - 0.5, 0.5));
        graph
    });
    for growth in [1, 30, 240] {
        let graph = random(3, &rules, 11, growth, 0.25);
        graph.validate(&rules, 3).unwrap();
        assert_eq!(graph.n_nodes(), 7 + growth as usize);
        assert_eq!(graph.edges.len(), 12 + 2 * growth as usize);
        assert!(graph.edges.iter().all(|edge| (0.375..=0.625).contains(&edge.gene)));
        assert_eq!(random(3, &rules, 11, growth, 0.25), graph);
        assert_ne!(random(3, &rules, 12, growth, 0.25), graph);
    }
}

/// Ten digits, few steps on two threads, unless `more` says otherwise.
fn short(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["ascend", "cppn", "--out"]);
    command.arg(folder).args(more);
    for option in [["--iterations", "12"], ["--threads", "2"]] {
        if !more.contains(&option[0]) {
            command.args(option);
        }
    }
    command
}

fn manifest(folder: &Path) -> AscentManifest {
    AscentManifest::read(&folder.join("run.json")).unwrap()
}

/// The drawings that images.safetensors holds.
fn drawings(folder: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(folder.join("images.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let images = tensors.tensor("images").unwrap();
    let floats = images.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (images.shape().to_vec(), floats.collect())
}

/// What `classify` says of an archive: for each elite its class, its confidence, and whether that is as recorded.
fn classified(folder: &Path, more: &[&str]) -> Vec<(u64, f32, bool)> {
    let mut command = pareidolia(&["classify", "--json", "--device", "cpu"]);
    command.arg(folder).args(more);
    let answer: Value = serde_json::from_str(&run(command, 0).0).unwrap();
    let elites = answer.as_array().unwrap().iter().map(|item| &item["elite"]);
    elites
        .map(|elite| {
            let confidence = elite["confidence"].as_f64().unwrap() as f32;
            (elite["class"].as_u64().unwrap(), confidence, elite["identical"].as_bool().unwrap())
        })
        .collect()
}

#[test]
fn run_folder_holds_genomes_that_other_commands_read() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("deep/run");
    let (stdout, stderr) = run(short(&folder, &["--json", "--seeds", "2", "--classes", "1,4-5"]), 0);
    assert!(stderr.contains("--device auto"), "{stderr}");
    let manifest = manifest(&folder);
    assert_eq!(stdout, fs::read_to_string(folder.join("run.json")).unwrap(), "--json prints run.json");
    let who: Vec<(u32, u64)> = manifest.images.iter().map(|image| (image.class, image.seed)).collect();
    assert_eq!(who, [(1, 0), (1, 1), (4, 0), (4, 1), (5, 0), (5, 1)]);
    assert_eq!((manifest.iterations, manifest.stopped_by), (12, End::Iterations));
    assert!(manifest.peak_memory_bytes.is_none_or(|peak| peak <= manifest.planned_memory_bytes), "{manifest:?}");
    let wanted = [
        "archive.safetensors",
        "contact_sheet.png",
        "convergence.png",
        "images",
        "images.safetensors",
        "lock",
        "metrics.jsonl",
        "run.json",
    ];
    assert_eq!(names(&folder), wanted.map(String::from).into());

    // The best of each class are in the archive, and draw what is recorded.
    let (archive, about) = archive_file::read(&folder.join("archive.safetensors")).unwrap();
    assert_eq!((about.canvas, &archive.classes[..]), (Canvas::MNIST, &[1, 4, 5][..]));
    let (shape, x) = drawings(&folder);
    assert_eq!(shape, [6, 1, 28, 28]);
    for (niche, elite) in archive.elites.iter().enumerate() {
        let pair = &manifest.images[2 * niche..][..2];
        let best = usize::from(pair[1].confidence_8bit > pair[0].confidence_8bit);
        let (image, at) = (&pair[best], 2 * niche + best);
        assert_eq!(elite.born, (0, at as u32));
        assert_eq!(archive.fitness()[niche].to_bits(), image.confidence_8bit.to_bits());
        let Genome::Cppn(graph) = &elite.genome else { panic!("a CPPN") };
        let x = &x[784 * at..][..784];
        assert!(same_bits(x, &literal::draw(graph, &Rules::modern(), Canvas::MNIST)));
        let mut values = x.to_vec();
        values.extend(graph.edges.iter().map(|edge| edge.gene));
        assert_eq!(image.hash, image_hash(image.class, image.seed, &values, image.confidence, image.best));
        let floor: Vec<u8> = x.iter().map(|&v| v as u8).collect();
        assert_eq!(elite.image, floor);
        assert_eq!(pictures::read_png(&folder.join(&image.file)).unwrap().pixels, elite.image);
        // And are what the ascent itself comes to.
        let start = random(1, &Rules::modern(), image.seed, 40, 0.2);
        let rule = Config::preset(Preset::Cppn).cppn_rule();
        let (want, seen) = literal::ascend(&lenet(), rule, &Rules::modern(), image.class as usize, &start, 12);
        assert_eq!(*graph, want);
        assert_eq!(image.confidence.to_bits(), seen[11].probability.to_bits());
    }
    let hashes = manifest.images.iter().map(|image| (image.class, image.hash));
    assert_eq!(manifest.result_hash, result_hash(12, hashes));
    for ((class, confidence, identical), (niche, fitness)) in
        classified(&folder, &[]).into_iter().zip(archive.classes.iter().zip(archive.fitness()))
    {
        assert_eq!((class, confidence.to_bits(), identical), (u64::from(*niche), fitness.to_bits(), true));
    }
    let picture = scratch.path().join("four.png");
    let mut render = pareidolia(&["render", "--class", "4", "--size", "28", "--out", picture.to_str().unwrap()]);
    render.arg(&folder);
    run(render, 0);
    assert_eq!(pictures::read_png(&picture).unwrap().pixels, archive.elites[1].image);

    // By itself an image is the same.
    let alone = scratch.path().join("alone");
    let more = ["--seed", "1", "--classes", "5", "--no-pictures", "--threads", "1", "--simd", "plain"];
    run(short(&alone, &more), 0);
    assert_eq!(self::manifest(&alone).images[0].hash, manifest.images[5].hash);
    let few = ["archive.safetensors", "images.safetensors", "lock", "metrics.jsonl", "run.json"];
    assert_eq!(names(&alone), few.map(String::from).into());

    // On from where it stands: the first iteration sees what the last one left.
    let on = scratch.path().join("on");
    run(short(&on, &["--from", folder.to_str().unwrap(), "--classes", "4", "--no-pictures"]), 0);
    let line = fs::read_to_string(on.join("metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let best = &manifest.images[2..4][(archive.elites[1].born.1 - 2) as usize];
    assert_eq!(first["max"].as_f64().unwrap() as f32, best.confidence);
    assert!(self::manifest(&on).images[0].confidence >= best.confidence);
    assert_eq!(self::manifest(&on).images.len(), 1);
}

/// A change of any rule changes it, and nothing else may.
#[test]
fn recorded_hash_comes_out() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(short(&folder, &["--no-pictures"]), 0);
    assert_eq!(format!("{:016x}", manifest(&folder).result_hash), "5ff599e7d3edf036");
}

/// The elites of an evolution climb on: in grey, and of colour with what the run judged.
#[test]
fn elites_climb_on() {
    let scratch = TempDir::new().unwrap();
    let [grey, colour, weights, list] =
        ["grey", "colour", "tiny.safetensors", "tiny.toml"].map(|name| scratch.path().join(name));
    let evolve = |preset: &str, folder: &Path, more: &[&str]| {
        let mut command =
            pareidolia(&["evolve", preset, "--flavour", "modern", "--generations", "20", "--batch", "40"]);
        command.args(["--device", "cpu", "--no-pictures", "--out"]).arg(folder).args(more);
        run(command, 0);
    };
    evolve("mnist-cppn", &grey, &["--classes", "2,7"]);
    let first = archive_file::read(&grey.join("archive.safetensors")).unwrap().0;
    let out = scratch.path().join("out");
    run(short(&out, &["--from", grey.to_str().unwrap(), "--iterations", "40"]), 0);
    let (archive, _) = archive_file::read(&out.join("archive.safetensors")).unwrap();
    assert_eq!(archive.classes, [2, 7]);
    for ((elite, before), image) in archive.elites.iter().zip(&first.elites).zip(&manifest(&out).images) {
        let (now, then) = (elite.genome.graph().unwrap(), before.genome.graph().unwrap());
        assert_eq!(now.activations, then.activations);
        let ends = |graph: &Graph| graph.edges.iter().map(|edge| (edge.source, edge.target)).collect::<Vec<_>>();
        assert_eq!(ends(now), ends(then));
        assert!(now != then || image.confidence == 1.0, "class {} moved nothing", image.class);
        assert!(image.confidence > 0.9, "{image:?}");
    }

    tiny(Crops::One, ChannelOrder::Rgb).save(&weights, &[]).unwrap();
    fs::write(&list, TINY).unwrap();
    let named = ["--weights", weights.to_str().unwrap(), "--network", list.to_str().unwrap()];
    evolve("imagenet-cppn", &colour, &named);
    let from = [&named[..], &["--from", colour.to_str().unwrap()]].concat();
    let ten = scratch.path().join("ten");
    run(short(&ten, &from), 0);
    let (archive, about) = archive_file::read(&ten.join("archive.safetensors")).unwrap();
    assert_eq!((about.canvas.width, about.crops), (12, Crops::Ten));
    let (shape, _) = drawings(&ten);
    assert_eq!(shape, [4, 3, 12, 12]);
    assert!(classified(&ten, &named).iter().all(|elite| elite.2), "as recorded");
    assert_eq!(archive.classes, [0, 1, 2, 3]);
    let one = scratch.path().join("one");
    run(short(&one, &[&from[..], &["--crops", "1"]].concat()), 0);
    assert_eq!(archive_file::read(&one.join("archive.safetensors")).unwrap().1.crops, Crops::One);
    assert!(classified(&one, &named).iter().all(|elite| elite.2), "as recorded");
}

#[test]
fn bad_calls_are_refused_before_the_disk_is_touched() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let [direct, cppn, torn] = ["direct", "cppn", "torn.safetensors"].map(|name| scratch.path().join(name));
    for (preset, run_folder) in [("mnist-direct", &direct), ("mnist-cppn", &cppn)] {
        let mut command = pareidolia(&["evolve", preset, "--generations", "1", "--batch", "4", "--classes", "3,5"]);
        command.args(["--device", "cpu", "--no-pictures", "--out"]).arg(run_folder);
        run(command, 0);
    }
    let whole = fs::read(cppn.join("archive.safetensors")).unwrap();
    fs::write(&torn, &whole[..whole.len() - 9]).unwrap();
    let [weights, list] = ["tiny.safetensors", "tiny.toml"].map(|name| scratch.path().join(name));
    tiny(Crops::One, ChannelOrder::Rgb).save(&weights, &[]).unwrap();
    fs::write(&list, TINY).unwrap();
    let [direct, cppn, torn, weights, list] = [&direct, &cppn, &torn, &weights, &list].map(|p| p.to_str().unwrap());
    for (code, what, arguments) in [
        (
            2,
            "--blur-radius: blur_radius is for pixels; what climbs here is the weights of CPPNs",
            &["--blur-radius", "1"][..],
        ),
        (2, "--small-norm: small_norm is for pixels", &["--small-norm", "5"]),
        (2, "--decay: decay is for pixels", &["--decay", "0.1"]),
        (2, "--max-rate: max_rate is for pixels", &["--max-rate", "1"]),
        (2, "--start: start is for pixels", &["--start", "zero"]),
        (2, "--growth: got 241, wanted a whole number from 0 to 240", &["--growth", "241"]),
        (2, "--spread: got 0, wanted a number above 0, at most 1", &["--spread", "0"]),
        (2, "--spread: got 1.5, wanted", &["--spread", "1.5"]),
        (2, "max_step: got -1, wanted a number above 0", &["--max-step", "-1"]),
        (2, "max_step: got nan, wanted", &["--max-step", "nan"]),
        (2, "--crops: got 4, wanted 1 or 10", &["--crops", "4"]),
        (2, "crops: got 10, wanted 1: the network \"lenet\" sees all", &["--crops", "10"]),
        (2, "classes: got 10, the network \"lenet\" has classes 0 to 9", &["--classes", "10"]),
        (1, "--device cuda:9: ", &["--device", "cuda:9"]),
        (2, "--seeds: got 2, wanted 1 with from", &["--from", cppn, "--seeds", "2"]),
        (2, "--seed: got 5, wanted 0 with from", &["--from", cppn, "--seed", "5"]),
        (2, "--growth: got 3, wanted none with from", &["--from", cppn, "--growth", "3"]),
        (2, "--spread: got 0.5, wanted none with from", &["--from", cppn, "--spread", "0.5"]),
        (2, "--from: got \"\", wanted the name of a file or folder", &["--from", ""]),
        (2, "classes: got 4, ", &["--from", cppn, "--classes", "3-5"]),
        (2, "has only 3, 5", &["--from", cppn, "--classes", "3-5"]),
        (1, "its elites are lists of pixels", &["--from", direct]),
        (
            1,
            "its images are 28x28 in grey, those of the network \"tiny\" 12x12 in colour",
            &["--from", cppn, "--weights", weights, "--network", list],
        ),
        (1, "not a valid archive", &["--from", torn]),
        (1, "nowhere: cannot read", &["--from", "nowhere"]),
    ] {
        fails(short(&folder, arguments), code, what);
        assert!(!folder.exists(), "{arguments:?}");
    }
    // And what is for CPPNs is refused where pixels climb.
    for option in [["--growth", "3"], ["--from", cppn], ["--max-step", "0.1"], ["--crops", "1"], ["--spread", "0.5"]] {
        let what = format!(": {} is for the preset cppn; what climbs here is pixels", option[0][2..].replace('-', "_"));
        fails(pareidolia(&["ascend", "plain", option[0], option[1]]), 2, &what);
    }
}

#[test]
fn a_configuration_comes_back() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("steep.toml");
    let dry = |arguments: &[&str]| run(pareidolia(&[&["ascend", "--dry-run"], arguments].concat()), 0).0;
    for arguments in [&["cppn", "--growth", "7", "--seeds", "3"][..], &["cppn", "--from", "runs/x", "--crops", "10"]] {
        let text = dry(arguments);
        fs::write(&file, &text).unwrap();
        assert_eq!(dry(&["--config", file.to_str().unwrap()]), text);
        assert!(text.contains("preset = \"cppn\"") && !text.contains("blur") && !text.contains("start"), "{text}");
        assert_eq!(text.contains("growth = 7"), !text.contains("from = \"runs/x\""));
    }
    fs::write(&file, "preset = \"cppn\"\nblur_every = 2\n").unwrap();
    let mut command = pareidolia(&["ascend", "--dry-run", "--config"]);
    command.arg(&file);
    fails(command, 2, "steep.toml: blur_every is for pixels");
}

#[test]
fn what_cannot_fit_into_memory_is_refused_with_what_fits() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let most = ["--seeds", "4096", "--iterations", "1000000", "--growth", "0"];
    fails(short(&folder, &most), 1, "the ascent of 40960 images may take ");
    fails(short(&folder, &most), 1, " fit: take fewer --classes or --seeds at a time, which changes no image");
    assert!(!folder.exists());
    let (network, rules) = (Arc::new(lenet()), Rules::modern());
    let of = |images: usize, iterations| {
        let graphs = vec![random(1, &rules, 0, 30, 0.3); images];
        cppn_memory(&network, &graphs, &rules, iterations, Simd::detect(), true, false)
    };
    assert!(of(1000, 10) > of(10, 10) + 990 * 784 * (4 * size_of::<f32>() as u64 + 4), "drawings, inputs, gradients");
    assert_eq!(of(10, 11), of(10, 10) + 40);
}

/// Ten digits by the program's own settings, each from four random graphs.
#[test]
fn every_digit_gets_there() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let (stdout, _) = run(short(&folder, &["--seeds", "4", "--iterations", "500", "--no-pictures"]), 0);
    let manifest = manifest(&folder);
    for class in 0..10 {
        let own: Vec<f32> = manifest.images.iter().filter(|image| image.class == class).map(|i| i.confidence).collect();
        assert!(own.iter().any(|&p| p >= 0.99), "class {class}: {own:?}\n{stdout}");
    }
    for image in &manifest.images {
        let order = [image.majority_at, image.over_99_at, image.over_999_at, image.over_9999_at];
        assert!(order.iter().flatten().is_sorted(), "{image:?}");
    }
}

/// One of the paper's classes against SqueezeNet: every width makes the same image, whose probability rises.
#[test]
fn squeezenet_climbs() {
    let Some(data) = common::data_dir() else { return };
    let files = pareidolia::network::weights::Files {
        weights: Some(data.join("squeezenet-v1.0.safetensors")),
        class_names: Some(data.join("imagenet_classes.txt")),
        ..Default::default()
    };
    let network = files.load().unwrap().judging(Crops::One).unwrap();
    let rules = Rules::modern();
    let image = [(805, random(3, &rules, 1, 12, 0.2))];
    let rule = CppnRule { max_step: 0.002, ..RULE };
    let (want, _, seen) = climb_by(rule, &network, &rules, &image, 4, 2, (Simd::detect(), None));
    for simd in Simd::available() {
        let (graphs, _, seen_now) = climb_by(rule, &network, &rules, &image, 4, 1, (simd, None));
        assert_eq!(graphs, want, "{simd}");
        assert!(seen.iter().flatten().zip(seen_now.iter().flatten()).all(|(a, b)| bits(a) == bits(b)), "{simd}");
    }
    assert!(seen[3][0].probability > seen[0][0].probability, "{seen:?}");
}
