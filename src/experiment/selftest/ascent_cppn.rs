//! Gradient ascent in the weights of CPPNs: what its kernels share here, graphs that are drawn for a network; and whole ascents, against
//! the CPU's.

use super::ascent::{states, without_mean};
use super::cases::Extent;
use super::gpu::Gpu;
use super::graphs::{chain, drifted, late, odd, unsettled};
use super::network;
use super::tally::Tally;
use crate::backend::ascent::{Ascent, CppnRule, Seen};
use crate::backend::cpu::cppn_ascent::CpuCppnAscent;
use crate::backend::cpu::preprocess::byte_of_channel;
use crate::backend::cuda::cppn_ascent::{CudaCppnAscent, Start};
use crate::backend::cuda::draw_cppn::DrawnCppns;
use crate::error::Result;
use crate::genome::Canvas;
use crate::genome::cppn::{Activation, Canvases, Compiler, Differentiable, Gradients, Graph, Rules};
use crate::network::{Crops, Network, Shape};
use crate::simd::Simd;
use std::sync::Arc;

/// Graphs that are drawn for a network: those that a launch is of, and one before and one behind them.
#[derive(Clone, Debug)]
pub struct Trial {
    pub name: String,
    pub network: Network,
    pub rules: Rules,
    programs: Vec<Differentiable>,
    canvas: Canvases,
}

/// The first graph that a launch is of.
pub const FIRST: usize = 1;

impl Trial {
    /// `graphs`, of `rules`, for `network`.
    pub fn new(name: &str, network: Network, rules: Rules, graphs: &[Graph]) -> Trial {
        let mut compiler = Compiler::default();
        let program = |graph: &Graph| Differentiable::new(&mut compiler, Simd::detect(), graph, &rules);
        let programs = graphs.iter().map(program).collect();
        let canvas = Canvases::new(Canvas::of(&network), rules.normalise);
        Trial { name: name.to_string(), network, rules, programs, canvas }
    }

    /// Graphs that the launch is of.
    pub fn n(&self) -> usize {
        self.programs.len() - 2
    }

    /// Terms of all programs.
    pub fn n_terms(&self) -> usize {
        self.programs.iter().map(Differentiable::n_terms).sum()
    }

    /// Where the terms of program `image` are among all.
    pub fn terms(&self, image: usize) -> std::ops::Range<usize> {
        let first = self.programs[..image].iter().map(Differentiable::n_terms).sum();
        first..first + self.programs[image].n_terms()
    }

    /// Bands of a drawing.
    pub fn n_bands(&self) -> usize {
        self.canvas.n_bands()
    }

    /// On the device, whose blocks may have so much shared memory; where that is nothing, of few blocks that go on and on.
    ///
    /// # Errors
    /// The driver's.
    pub fn upload(&self, gpu: &Gpu, most_shared: u64) -> Result<DrawnCppns> {
        const FEW: u32 = 2;
        let programs = self.programs.iter().map(Differentiable::program);
        let normalise = self.rules.normalise;
        let mut drawn = DrawnCppns::new(gpu.launcher, programs, &self.network, normalise, most_shared)?;
        drawn.rooms.iter_mut().for_each(|room| room.in_scratch = room.in_scratch.map(|most| most.min(FEW)));
        Ok(drawn)
    }

    /// The drawing of program `image`, `(channels, pixels)`.
    fn drawing(&self, image: usize) -> Vec<f32> {
        let (mut own, n_pixels) = (Gradients::default(), self.canvas.len() / self.network.input.channels);
        let mut drawing = vec![0.0; self.canvas.len()];
        for band in 0..self.n_bands() {
            let mut channels = drawing.chunks_exact_mut(n_pixels).map(|channel| &mut channel[self.canvas.band(band)]);
            let channels = [(); 3].map(|()| channels.next().unwrap_or_default());
            own.draw(Simd::detect(), &self.canvas, &self.programs[image], band, channels);
        }
        drawing
    }

    /// Which value of a drawing is value `at` of what the network takes of crop `crop`.
    fn place(&self, crop: usize, at: usize) -> usize {
        let (Shape { channels, height, width }, canvas) = (self.network.input, Canvas::of(&self.network));
        let crop = self.network.crops.get(crop).copied().unwrap_or_default();
        let (channel, y, x) = (at / (height * width), at / width % height, at % width);
        let channel = byte_of_channel(self.network.preprocess.channel_order, channel, channels);
        let x = if crop.mirror { width - 1 - x } else { x };
        (channel * canvas.height + crop.y + y) * canvas.width + crop.x + x
    }

    /// What the scale of value `at` is.
    fn scale(&self, at: usize) -> f32 {
        self.network.preprocess.scale[at / (self.network.input.height * self.network.input.width)]
    }

    /// What the network takes of program `image`, `(crops, channels, height, width)`.
    pub fn inputs(&self, image: usize) -> Vec<f32> {
        let (drawing, len) = (self.drawing(image), self.network.input.len());
        let mean = &self.network.preprocess.mean;
        let value = |i: usize| {
            let (crop, at) = (i / len, i % len);
            let v = drawing[self.place(crop, at)];
            (if mean.is_empty() { v } else { v - mean[at] }) * self.scale(at)
        };
        (0..self.network.n_crops() * len).map(value).collect()
    }

    /// What `gradient`, `(crops, channels, height, width)`, tells the terms of program `image`: `(bands, terms)`.
    pub fn bands(&self, image: usize, gradient: &[f32]) -> Vec<f32> {
        let (n_crops, len) = (self.network.n_crops(), self.network.input.len());
        let mut pixels = vec![0.0_f32; self.canvas.len()];
        for (i, g) in gradient.iter().enumerate() {
            let sum = &mut pixels[self.place(i / len, i % len)];
            *sum = g.mul_add(self.scale(i % len), *sum);
        }
        if n_crops > 1 {
            pixels.iter_mut().for_each(|sum| *sum /= n_crops as f32);
        }
        let (mut own, program) = (Gradients::default(), &self.programs[image]);
        let mut bands = vec![0.0; self.n_bands() * program.n_terms()];
        for (band, terms) in bands.chunks_exact_mut(program.n_terms().max(1)).enumerate() {
            own.differentiate(Simd::detect(), &self.canvas, program, band, &pixels, terms);
        }
        bands
    }
}

/// A graph without an edge.
pub fn bare(n_outputs: usize) -> Graph {
    Graph { n_outputs, activations: vec![Activation::Gaussian; 4 + n_outputs], edges: Vec::new() }
}

/// The network of every operation, given images of several bands, of which it judges `crops`.
pub fn large(crops: Crops) -> Network {
    let network = network::network();
    let image = Shape { height: 61, width: 70, ..network.input };
    Network { image, ..network }.judging(crops).expect("it sees a part of an image")
}

/// Graphs in grey and in colour, in both flavours; such as steps cut off, whose terms are more or fewer than edges; long ones, and ones
/// without an edge; shown whole or in crops, with a mean and without, in several bands. The one with most comes last.
pub fn trials(extent: Extent) -> Vec<Trial> {
    let lenet = || Network::embedded_lenet(None).expect("it is built in");
    let more = |n_outputs: usize| [unsettled(n_outputs), bare(n_outputs)];
    let (modern, faithful) = (Rules::modern(), Rules::faithful());
    let of = |rules: &Rules, n_outputs, n| [&drifted(rules, n_outputs, n)[..], &more(n_outputs)].concat();
    let cut: Vec<Graph> = odd().into_iter().step_by(5).chain([late(5, 4, 1), late(20, 6, 3)]).collect();
    let long = |n_outputs| [12, 100, 250 - n_outputs, 1].map(|n| chain(n, n_outputs));
    let all = vec![
        Trial::new("grey, cut off", lenet(), modern.clone(), &cut),
        Trial::new("grey, pixel indices", lenet(), Rules { max_weight: 0.3, ..faithful.clone() }, &of(&faithful, 1, 6)),
        Trial::new("long, grey", lenet(), faithful, &long(1)),
        Trial::new("colour", network::network(), modern.clone(), &of(&modern, 3, 6)),
        Trial::new("long, colour", without_mean(network::network()), modern.clone(), &long(3)),
        Trial::new("one crop", network::cropped(Crops::One), modern.clone(), &of(&modern, 3, 2)),
        Trial::new("grey", lenet(), modern.clone(), &of(&modern, 1, 9)),
        Trial::new("bands, ten crops", large(Crops::Ten), modern.clone(), &of(&modern, 3, 3)),
    ];
    extent.of(all, 2, usize::MAX)
}

/// Shared memory that a block may have: what the device gives, and so much less that rooms are narrower, and that they are in scratch.
///
/// # Errors
/// The driver's.
pub fn shared(gpu: &Gpu, extent: Extent) -> Result<Vec<u64>> {
    Ok(extent.of(vec![0, 12 << 10, 40 << 10, gpu.launcher.most_shared()?], 1, 4))
}

/// A rule under which graphs move at once and are sent back now and then.
pub const RULE: CppnRule = CppnRule { early: 0.1, late: 0.3, max_step: 0.1 };

/// Compares an ascent of so many steps by [`RULE`] of `graphs`, an image for each of `classes`, of which `at_once` go through the network together,
/// with the CPU's; what each step saw.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    network: &Arc<Network>,
    rules: &Rules,
    images: &[(u32, Graph)],
    (at_once, most_shared): (usize, u64),
    n_steps: u32,
) -> Result<Vec<Vec<Seen>>> {
    let (classes, graphs): (Vec<u32>, Vec<Graph>) = images.iter().cloned().unzip();
    let name = format_args!(
        "{}, {} crops, {at_once} at once, {most_shared} bytes a block, {n_steps} steps to {classes:?}",
        network.name,
        network.n_crops()
    );
    tally.case(classes.len(), name);
    let simd = Simd::detect();
    let mut host = CpuCppnAscent::new(network, RULE, rules, &classes, graphs.clone(), simd)?;
    let start = Start { rule: RULE, rules, classes: &classes, graphs };
    let launcher = Arc::clone(gpu.launcher);
    let mut ascent = CudaCppnAscent::in_parts(launcher, "a GPU".into(), network, start, simd, at_once, most_shared)?;
    let mut seen = Vec::new();
    gpu.timed(tally, |_| {
        for step in 0..n_steps {
            seen.push(ascent.step(step + 1 == n_steps)?);
        }
        Ok(())
    })?;
    for (step, got) in seen.iter().enumerate() {
        let want = host.step(step + 1 == n_steps as usize)?;
        tally.same(&format!("what step {step} saw"), &states(&want), &states(got));
    }
    for (at, (want, got)) in host.graphs()?.iter().zip(&ascent.graphs()?).enumerate() {
        tally.same(&format!("the genes of graph {at}"), &super::graphs::words(want), &super::graphs::words(got));
    }
    tally.same("the drawings", &host.images()?, &ascent.images()?);
    Ok(seen)
}

/// What climbs: name of what, network, rules, class and graph of each image.
pub type Scene = (Network, Rules, Vec<(u32, Graph)>);

/// LeNet, and the network of every operation, whole and in crops.
pub fn scenes(extent: Extent) -> Vec<Scene> {
    let images = |rules: &Rules, n_outputs: usize| -> Vec<(u32, Graph)> {
        let graphs = drifted(rules, n_outputs, 5).into_iter().skip(1).chain([unsettled(n_outputs), bare(n_outputs)]);
        (0..).map(|image| image * 3 % 7).zip(graphs).collect()
    };
    let (modern, faithful) = (Rules::modern(), Rules { max_weight: 0.5, ..Rules::faithful() });
    let lenet = Network::embedded_lenet(None).expect("it is built in");
    let scene = |network: Network, rules: &Rules, n| {
        let mut images = images(rules, Canvas::of(&network).channels);
        images.truncate(n);
        (network, rules.clone(), images)
    };
    let all = vec![
        scene(lenet.clone(), &modern, 6),
        scene(without_mean(network::network()), &modern, 3),
        scene(large(Crops::One), &faithful, 3),
        scene(network::cropped(Crops::Ten), &modern, 3),
        scene(lenet, &faithful, 4),
    ];
    extent.of(all, 1, 4)
}

/// All of [`scenes`], in parts of which the last is not full.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let most_shared = gpu.launcher.most_shared()?;
    for (network, rules, images) in scenes(extent) {
        compare(gpu, tally, &Arc::new(network), &rules, &images, (2, most_shared), extent.number(3, 5, 6))?;
    }
    Ok(())
}
