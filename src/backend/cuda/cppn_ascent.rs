//! Gradient ascent in the weights of CPPNs, on the device: the rules of [`crate::backend::ascent`].
//!
//! Programs are compiled once, by the host, and stay on the device; drawings, what the network makes of them and their gradients are made
//! there and never leave it. A step is one recorded graph: images are drawn, go through the network and back in parts of whole images, with
//! all crops of each, and what the pixels tell the weights is added up. Each step 4 bytes a term go to the device and come from it, and 8 an
//! image: the weights that are tried, what they are told, what was seen. What follows from that for the genes is [`Climber`]'s, a few f64 a
//! gene, as on the CPU.

use super::average_crops::Crops;
use super::backward::{BackwardNetwork, Wanted, no_events};
use super::draw_cppn::{DrawnCppns, Sizes};
use super::launcher::Launcher;
use super::look::Answers;
use super::network::DeviceNetwork;
use super::params::CppnSeen;
use crate::backend::ascent::{Ascent, CppnRule, Seen};
use crate::backend::climber::{Climber, Size};
use crate::backend::cpu::cppn_ascent::drawings;
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::genome::cppn::{BAND, Canvases, Gradients, Graph, Rules};
use crate::network::Network;
use crate::simd::Simd;
use crate::telemetry;
use cudarc::driver::{CudaGraph, CudaSlice};
use std::sync::Arc;

/// What values and gradients may take, unless those of a single image take more.
const ARENA_BYTES: u64 = 2 << 30;

/// CPPNs that climb on a GPU.
pub struct CudaCppnAscent {
    /// A step, once there was one. It holds pointers of buffers: it is dropped before them.
    graph: Option<CudaGraph>,
    parts: Parts,
    climbers: Vec<Climber>,
    /// Of all terms: those that are tried.
    weights: Vec<f32>,
    rule: CppnRule,
    /// For drawings at the end.
    canvas: Canvases,
    simd: Simd,
    launcher: Arc<Launcher>,
    device: String,
}

/// All buffers, and what is launched.
struct Parts {
    drawn: DrawnCppns,
    network: BackwardNetwork,
    /// Of each crop of each image: what it climbs to.
    classes: CudaSlice<u32>,
    /// `(n_classes, at_once)`: means over the crops.
    means: CudaSlice<f32>,
    /// `(images)`
    seen: CudaSlice<CppnSeen>,
    /// `(bands, terms)`, and all bands together.
    bands: CudaSlice<f32>,
    gradient: CudaSlice<f32>,
    n_images: usize,
    n_crops: usize,
    /// Images in the network at once.
    at_once: usize,
}

/// What the way back is for.
fn wanted() -> Wanted {
    Wanted { input: true, ..Wanted::default() }
}

/// What climbs, and to which classes.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    pub rule: CppnRule,
    /// Of the graphs.
    pub rules: &'a Rules,
    pub classes: &'a [u32],
    /// One a class.
    pub graphs: Vec<Graph>,
}

impl CudaCppnAscent {
    /// The graphs of `start`, on the canvas of what `network` [is given](Network::given), on the GPU of `launcher`, which people know as
    /// `device`; `simd` compiles them, and draws them at the end. All of the GPU's memory is taken here.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there are no kernels for the network; [`Error::Refused`] if the GPU's memory does not hold the graphs;
    /// [`Error::Driver`].
    ///
    /// # Panics
    /// If there is not a graph a class, or none, or the network lacks a class, or a graph has not an output a channel.
    pub fn new(
        launcher: Arc<Launcher>,
        device: String,
        network: &Arc<Network>,
        start: Start,
        simd: Simd,
    ) -> Result<CudaCppnAscent> {
        DeviceNetwork::check(network)?;
        let (usable, most_shared) = (telemetry::usable(launcher.free_memory()?), launcher.most_shared()?);
        let climbers = climbers(&start, simd);
        let at_once = CudaCppnAscent::at_once(network, &sizes(&climbers), most_shared, usable)?;
        CudaCppnAscent::with(launcher, device, network, &start, climbers, simd, at_once, most_shared)
    }

    /// [`CudaCppnAscent::new`] with room for `at_once` images in the network, at least one, on a device whose blocks may have `most_shared` bytes
    /// of shared memory; both decide how long it takes, never a bit.
    ///
    /// # Errors
    /// As there, but that [`Error::Driver`] says if there is no room.
    ///
    /// # Panics
    /// As there.
    pub fn in_parts(
        launcher: Arc<Launcher>,
        device: String,
        network: &Arc<Network>,
        start: Start,
        simd: Simd,
        at_once: usize,
        most_shared: u64,
    ) -> Result<CudaCppnAscent> {
        let climbers = climbers(&start, simd);
        CudaCppnAscent::with(launcher, device, network, &start, climbers, simd, at_once, most_shared)
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where all comes together")]
    fn with(
        launcher: Arc<Launcher>,
        device: String,
        network: &Arc<Network>,
        start: &Start,
        climbers: Vec<Climber>,
        simd: Simd,
        at_once: usize,
        most_shared: u64,
    ) -> Result<CudaCppnAscent> {
        let Start { rule, rules, classes, .. } = *start;
        let (n_images, n_crops, n_classes) = (climbers.len(), network.n_crops(), network.classes.len());
        assert!(n_images > 0 && n_images == classes.len(), "a graph a class");
        assert!(classes.iter().all(|&class| (class as usize) < n_classes), "{classes:?}");
        let programs = climbers.iter().map(|climber| climber.drawn().program());
        let drawn = DrawnCppns::new(&launcher, programs, network, rules.normalise, most_shared)?;
        let of_crops: Vec<u32> = classes.iter().flat_map(|&class| std::iter::repeat_n(class, n_crops)).collect();
        let terms = drawn.sizes.terms;
        let parts = Parts {
            network: BackwardNetwork::new(&launcher, network, &wanted(), at_once * n_crops)?,
            classes: launcher.upload(&of_crops)?,
            means: launcher.zeros(n_classes * at_once)?,
            seen: launcher.zeros(n_images)?,
            bands: launcher.zeros(drawn.n_bands() * terms)?,
            gradient: launcher.zeros(terms)?,
            n_images,
            n_crops,
            at_once,
            drawn,
        };
        let canvas = Canvases::new(Canvas::of(network), rules.normalise);
        let weights = vec![0.0; terms];
        Ok(CudaCppnAscent { graph: None, parts, climbers, weights, rule, canvas, simd, launcher, device })
    }

    /// Bytes on the device: of what is there once, of all images, and of each image that goes through the network at once.
    pub fn bytes(network: &Network, sizes: &Sizes, most_shared: u64) -> [usize; 3] {
        let [of_programs, once] = DrawnCppns::bytes(sizes, network, most_shared);
        let n_bands = Canvas::of(network).pixels().div_ceil(BAND);
        let sums = ((n_bands * sizes.terms).max(1) + sizes.terms.max(1)) * size_of::<f32>();
        let images = sizes.programs * (size_of::<CppnSeen>() + network.n_crops() * size_of::<u32>());
        let at_once = network.n_crops() * BackwardNetwork::image_bytes(network, &wanted());
        let means = network.classes.len() * size_of::<f32>();
        [once + BackwardNetwork::bytes(network, &wanted()), of_programs + sums + images, at_once + means]
    }

    /// How many images of graphs of such `sizes` go through the network at once where `usable` bytes of the device's memory can be used.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is not even room for one, with what would help.
    pub fn at_once(network: &Network, sizes: &Sizes, most_shared: u64, usable: u64) -> Result<usize> {
        let [once, images, at_once] = CudaCppnAscent::bytes(network, sizes, most_shared).map(|bytes| bytes as u64);
        let n_images = sizes.programs.max(1) as u64;
        let fixed = once + images;
        let room = usable.saturating_sub(fixed);
        if room < at_once {
            return Err(Error::Refused(format!(
                "the ascent of {n_images} CPPNs against {:?} takes at least {} of the GPU's memory, {} can be used; fewer classes at a time \
                 take {} less each; --device cpu takes none of it and gives the same result",
                network.name,
                bytes_text(fixed + at_once),
                bytes_text(usable),
                bytes_text(images.div_ceil(n_images)),
            )));
        }
        Ok((room.min(ARENA_BYTES) / at_once).clamp(1, n_images) as usize)
    }

    /// The most bytes of the host's memory that the ascent of `graphs` takes, with `threads` threads that draw them at the end.
    pub fn host_bytes(network: &Network, graphs: &[Graph], rules: &Rules, simd: Simd, threads: usize) -> u64 {
        let canvas = Canvas::of(network);
        let (mut own, mut most_instructions) = (0, 0);
        for Size { bytes, instructions, terms } in Size::all(graphs, rules, simd) {
            // What goes to the device and comes from it.
            own += bytes + 4 * terms * size_of::<f32>() + size_of::<CppnSeen>();
            most_instructions = most_instructions.max(instructions);
        }
        let drawings = graphs.len() * canvas.len() * size_of::<f32>();
        (own + drawings + Canvases::bytes(canvas) + threads * Gradients::bytes(most_instructions, 0)) as u64
    }
}

fn climbers(start: &Start, simd: Simd) -> Vec<Climber> {
    Climber::all(start.graphs.clone(), start.classes, &start.rule, start.rules, simd)
}

fn sizes(climbers: &[Climber]) -> Sizes {
    Sizes::of(climbers.iter().map(|climber| climber.drawn().program()))
}

impl Parts {
    /// All launches of a step.
    fn launch(&mut self, launcher: &Launcher) -> Result<()> {
        let Parts { drawn, network, classes, means, seen, bands, gradient, n_images, n_crops, at_once } = self;
        let of_input = network.input_gradient.expect("it was wanted");
        let (n_crops, at_once, n_classes, capacity) = (*n_crops, *at_once, network.n_classes, network.capacity);
        for first in (0..*n_images).step_by(at_once) {
            let n = (*n_images - first).min(at_once);
            let rows = n * n_crops;
            launcher.draw_cppn(drawn, &mut network.arena, network.input, first, n)?;
            launcher.forward(network, rows, &mut no_events)?;
            let classes = classes.slice(first * n_crops..);
            let BackwardNetwork { arena, probabilities, logits_gradient, .. } = &mut *network;
            launcher.softmax_backward(arena, *logits_gradient, probabilities, capacity, &classes, n_classes, rows)?;
            let crops = Crops { probabilities: &*probabilities, stride: capacity, n_crops };
            launcher.average_crops(means, at_once, 0, n_classes, crops, n)?;
            let answers = Answers { probabilities: &*means, n_classes, stride: at_once };
            launcher.look_cppn(seen, answers, &classes, n_crops, first, n)?;
            launcher.backward(network, rows, &mut no_events)?;
            launcher.draw_cppn_backward(bands, drawn, &network.arena, of_input, first, n)?;
        }
        launcher.add_bands(gradient, bands, drawn.n_bands(), drawn.sizes.terms)
    }
}

impl Ascent for CudaCppnAscent {
    fn describe(&self) -> String {
        self.device.clone()
    }

    fn step(&mut self, last: bool) -> Result<Vec<Seen>> {
        let CudaCppnAscent { parts, climbers, weights, rule, launcher, .. } = self;
        let mut rest = &mut weights[..];
        for climber in &mut *climbers {
            let (own, others) = rest.split_at_mut(climber.drawn().n_terms());
            rest = others;
            // One that has stopped is drawn as it was, and not asked for.
            if !climber.has_stopped() {
                own.iter_mut().zip(&climber.with_tried().program().terms).for_each(|(to, term)| *to = term.weight);
            }
        }
        launcher.upload_part(&mut parts.drawn.weights, 0, weights)?;
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => launcher.record("record a step of the ascent", || parts.launch(launcher))?,
        };
        let graph = self.graph.insert(graph);
        graph.launch().map_err(Error::driver("start a step of the ascent"))?;
        let answers = launcher.download_part(&parts.seen, 0, parts.n_images)?;
        let gradient = launcher.download_part(&parts.gradient, 0, parts.drawn.sizes.terms)?;
        let mut rest = &gradient[..];
        let seen = climbers.iter_mut().zip(&answers).map(|(climber, &CppnSeen { probability, best })| {
            let (own, others) = rest.split_at(climber.drawn().n_terms());
            rest = others;
            climber.step(rule, last, probability, || best, |drawn| drawn.gene_gradient(own))
        });
        Ok(seen.collect())
    }

    fn images(&mut self) -> Result<Vec<f32>> {
        Ok(drawings(self.simd, &self.canvas, &mut self.climbers))
    }

    fn graphs(&mut self) -> Result<Vec<Graph>> {
        Ok(self.climbers.iter().map(|climber| climber.graph().clone()).collect())
    }
}
