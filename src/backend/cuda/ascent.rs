//! Gradient ascent on the pixels of images, on the device: the rules of [`crate::backend::ascent`].
//!
//! Images stay on the device from the first step to the last. A step is launches alone, recorded once as a graph for each kind of step, and
//! replayed: the host sends nothing and receives what the step saw, 24 bytes an image. Images go through the network in parts, so that
//! values and gradients keep within bounds.

use super::arena::narrow;
use super::backward::{BackwardNetwork, Wanted, no_events};
use super::launcher::{Launcher, check_len};
use super::look::Answers;
use super::network::DeviceNetwork;
use super::params::AscentState;
use super::zero_pixels::Judged;
use crate::backend::ascent::{Ascent, AscentRule, Seen, gaussian, rank};
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::network::{Network, Shape};
use crate::{telemetry, tuning};
use cudarc::driver::{CudaGraph, CudaSlice, LaunchConfig};
use std::sync::Arc;

/// What values and gradients may take, unless those of a single image take more.
const ARENA_BYTES: u64 = 2 << 30;

/// Images on their way up, on the device.
#[derive(Debug)]
pub struct Climbing {
    /// Of an image.
    pub shape: Shape,
    /// `(images, channels, height, width)`: pixels less the mean.
    pub x: CudaSlice<f32>,
    /// `(images)`
    pub states: CudaSlice<AscentState>,
    /// `(images)`: what each climbs to.
    pub classes: CudaSlice<u32>,
    /// `(channels, height, width)`
    pub mean: CudaSlice<f32>,
    /// `(channels)`
    pub scales: CudaSlice<f32>,
}

impl Climbing {
    /// Brings images to the device, `x` `(classes.len(), channels, height, width)`.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If lengths do not fit the network, or it has fewer classes.
    pub fn new(launcher: &Launcher, network: &Network, classes: &[u32], x: &[f32]) -> Result<Climbing> {
        let shape = network.input;
        assert_eq!(x.len(), classes.len() * shape.len(), "an image a class");
        assert!(classes.iter().all(|&class| (class as usize) < network.classes.len()), "{classes:?}");
        let preprocess = &network.preprocess;
        let none = vec![0.0; shape.len()];
        Ok(Climbing {
            shape,
            x: launcher.upload(x)?,
            states: launcher.zeros(classes.len())?,
            classes: launcher.upload(classes)?,
            mean: launcher.upload(if preprocess.mean.is_empty() { &none } else { &preprocess.mean })?,
            scales: launcher.upload(&preprocess.scale[..shape.channels])?,
        })
    }

    /// Bytes on the device of each image.
    fn image_bytes(shape: Shape) -> usize {
        shape.len() * size_of::<f32>() + size_of::<AscentState>() + size_of::<u32>()
    }

    /// Bytes on the device of what does not depend on how many images there are.
    fn bytes(shape: Shape) -> usize {
        (shape.len() + shape.channels) * size_of::<f32>()
    }

    /// Whether there are `n` images from `first` on.
    pub(super) fn check(&self, first: usize, n: usize) -> Result<()> {
        check_len("images that climb", &self.states, first + n)?;
        check_len("classes that images climb to", &self.classes, first + n)?;
        check_len("values of images that climb", &self.x, (first + n) * self.shape.len())
    }

    /// A launch with a thread for each value of `n` images.
    pub(super) fn a_thread_a_value(&self, n: usize) -> Result<LaunchConfig> {
        let blocks = (n * self.shape.len()).div_ceil(tuning::ASCENT_THREADS as usize);
        Ok(LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::ASCENT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        })
    }

    /// Images, channels, and values of a channel, as kernels take them.
    pub(super) fn sizes(&self, n: usize) -> Result<[u32; 3]> {
        let plane = narrow("pixels of an image", self.shape.height * self.shape.width)?;
        Ok([narrow("images", n)?, self.shape.channels as u32, plane])
    }
}

/// The kinds of steps: each has launches of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The last one.
    Look,
    Climb,
    ClimbAndBlur,
}

/// Images that climb on a GPU.
pub struct CudaAscent {
    /// For each [`Kind`], once there was such a step. They hold pointers of buffers: they are dropped before them.
    graphs: [Option<CudaGraph>; 3],
    parts: Parts,
    launcher: Arc<Launcher>,
    device: String,
    /// Steps so far.
    steps: u64,
}

/// All buffers, and what is launched.
struct Parts {
    climbing: Climbing,
    network: BackwardNetwork,
    rule: AscentRule,
    n_images: usize,
    /// Of the blur; none without one.
    weights: Option<CudaSlice<f32>>,
    /// For the images of a part: `(capacity, channels, height, width)`, if there is a blur.
    scratch: Option<CudaSlice<f32>>,
    /// For the images of a part: `(capacity, height, width)`, if pixels are zeroed.
    keys: Option<CudaSlice<u32>>,
}

/// What the way back is for.
fn wanted() -> Wanted {
    Wanted { input: true, ..Wanted::default() }
}

/// The rules by which pixels are zeroed, in their order, and their percentiles.
fn percentiles(rule: &AscentRule) -> impl Iterator<Item = (Judged, f64)> {
    let all =
        [(Judged::Norm, rule.small_norm), (Judged::Benefit, rule.benefit), (Judged::AbsBenefit, rule.abs_benefit)];
    all.into_iter().filter(|&(_, q)| q > 0.0)
}

impl CudaAscent {
    /// Begins with the images `start`, `(classes.len(), channels, height, width)` of the network's input, each of which climbs to its class,
    /// on the GPU of `launcher`, which people know as `device`. All its memory is taken here.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there are no kernels for the network; [`Error::Refused`] if the GPU's memory does not hold the images;
    /// [`Error::Driver`].
    ///
    /// # Panics
    /// If lengths do not match, or the network has fewer classes.
    pub fn new(
        launcher: Arc<Launcher>,
        device: String,
        network: &Arc<Network>,
        rule: AscentRule,
        classes: &[u32],
        start: &[f32],
    ) -> Result<CudaAscent> {
        DeviceNetwork::check(network)?;
        let usable = telemetry::usable(launcher.free_memory()?);
        let at_once = CudaAscent::at_once(network, &rule, classes.len(), usable)?;
        CudaAscent::in_parts(launcher, device, network, rule, (classes, start), at_once)
    }

    /// [`CudaAscent::new`] with room for `at_once` images in the network, at least one, which decides how long it takes, never a bit.
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
        rule: AscentRule,
        (classes, start): (&[u32], &[f32]),
        at_once: usize,
    ) -> Result<CudaAscent> {
        let (shape, is_blurred) = (network.input, rule.blur_radius > 0.0);
        let is_zeroed = percentiles(&rule).next().is_some();
        let parts = Parts {
            climbing: Climbing::new(&launcher, network, classes, start)?,
            network: BackwardNetwork::new(&launcher, network, &wanted(), at_once)?,
            rule,
            n_images: classes.len(),
            weights: if is_blurred { Some(launcher.upload(&gaussian(rule.blur_radius))?) } else { None },
            scratch: if is_blurred { Some(launcher.zeros(at_once * shape.len())?) } else { None },
            keys: if is_zeroed { Some(launcher.zeros(at_once * shape.height * shape.width)?) } else { None },
        };
        Ok(CudaAscent { graphs: [None, None, None], parts, launcher, device, steps: 0 })
    }

    /// Bytes on the device: of what is there once, of each image, and of each image that goes through the network at once.
    pub fn bytes(network: &Network, rule: &AscentRule) -> [usize; 3] {
        let shape = network.input;
        let blurred = if rule.blur_radius > 0.0 { gaussian(rule.blur_radius).len() } else { 0 };
        let mut at_once = BackwardNetwork::image_bytes(network, &wanted());
        if blurred > 0 {
            at_once += shape.len() * size_of::<f32>();
        }
        if percentiles(rule).next().is_some() {
            at_once += shape.height * shape.width * size_of::<u32>();
        }
        let once = BackwardNetwork::bytes(network, &wanted()) + Climbing::bytes(shape) + blurred * size_of::<f32>();
        [once, Climbing::image_bytes(shape), at_once]
    }

    /// How many of `n_images` go through the network at once where `usable` bytes of the device's memory can be used.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is not even room for one, with what would help.
    pub fn at_once(network: &Network, rule: &AscentRule, n_images: usize, usable: u64) -> Result<usize> {
        let [once, image, at_once] = CudaAscent::bytes(network, rule).map(|bytes| bytes as u64);
        let fixed = once + n_images as u64 * image;
        let room = usable.saturating_sub(fixed);
        if room < at_once {
            return Err(Error::Refused(format!(
                "the ascent of {n_images} images against {:?} takes at least {} of the GPU's memory, {} can be used; fewer classes at a \
                 time take {} less each; --device cpu takes none of it and gives the same result",
                network.name,
                bytes_text(fixed + at_once),
                bytes_text(usable),
                bytes_text(image),
            )));
        }
        Ok((room.min(ARENA_BYTES) / at_once).clamp(1, n_images.max(1) as u64) as usize)
    }

    /// The kind of the next step.
    fn kind(&self, last: bool) -> Kind {
        let rule = &self.parts.rule;
        match last {
            true => Kind::Look,
            false if rule.blur_radius > 0.0 && self.steps.is_multiple_of(u64::from(rule.blur_every)) => {
                Kind::ClimbAndBlur
            }
            false => Kind::Climb,
        }
    }
}

impl Parts {
    /// All launches of a step.
    fn launch(&mut self, launcher: &Launcher, kind: Kind) -> Result<()> {
        let Parts { climbing, network, rule, n_images, weights, scratch, keys } = self;
        let keep = (1.0 - rule.decay) as f32;
        let gradient = network.input_gradient.expect("it was wanted");
        let (at_once, n_classes) = (network.capacity, network.n_classes);
        for first in (0..*n_images).step_by(at_once) {
            let n = (*n_images - first).min(at_once);
            launcher.clip(climbing, &mut network.arena, network.input, first, n)?;
            launcher.forward(network, n, &mut no_events)?;
            let classes = climbing.classes.slice(first..);
            let BackwardNetwork { arena, probabilities, logits_gradient, .. } = &mut *network;
            launcher.softmax_backward(arena, *logits_gradient, probabilities, at_once, &classes, n_classes, n)?;
            launcher.backward(network, n, &mut no_events)?;
            let answers = Answers { probabilities: &network.probabilities, n_classes, stride: at_once };
            launcher.look(climbing, rule, answers, &network.arena, gradient, first, n)?;
            if kind == Kind::Look {
                continue;
            }
            launcher.climb(climbing, &network.arena, gradient, keep, first, n)?;
            if let (Kind::ClimbAndBlur, Some(weights), Some(scratch)) = (kind, &*weights, &mut *scratch) {
                launcher.blur(climbing, scratch, weights, first, n)?;
            }
            for (judged, q) in percentiles(rule) {
                let rank = rank(q, climbing.shape.height * climbing.shape.width);
                let keys = keys.as_mut().expect("pixels are zeroed");
                launcher.zero_pixels(climbing, keys, &network.arena, gradient, judged, rank, first, n)?;
            }
        }
        Ok(())
    }
}

impl Ascent for CudaAscent {
    fn describe(&self) -> String {
        self.device.clone()
    }

    fn step(&mut self, last: bool) -> Result<Vec<Seen>> {
        if self.parts.n_images == 0 {
            return Ok(Vec::new());
        }
        let kind = self.kind(last);
        let graph = match self.graphs[kind as usize].take() {
            Some(graph) => graph,
            None => {
                let launcher = Arc::clone(&self.launcher);
                launcher.record("record a step of the ascent", || self.parts.launch(&launcher, kind))?
            }
        };
        let graph = self.graphs[kind as usize].insert(graph);
        graph.launch().map_err(Error::driver("start a step of the ascent"))?;
        self.steps += 1;
        let states = self.launcher.download_part(&self.parts.climbing.states, 0, self.parts.n_images)?;
        let seen = |state: &AscentState| Seen {
            probability: state.probability,
            best: state.best,
            norm: state.norm,
            stopped: state.stopped != 0,
        };
        Ok(states.iter().map(seen).collect())
    }

    fn images(&mut self) -> Result<Vec<f32>> {
        let Climbing { x, shape, .. } = &self.parts.climbing;
        self.launcher.download_part(x, 0, self.parts.n_images * shape.len())
    }
}
