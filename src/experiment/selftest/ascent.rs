//! Gradient ascent: what its kernels share here, images on their way up of which some have stopped; and whole ascents, one number at a
//! time.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{numbers, shape};
use super::tally::Tally;
use super::{backward, blur, climb, clip, look, network, zero_pixels};
use crate::backend::ascent::{Ascent, AscentRule, Seen};
use crate::backend::cuda::arena::Place;
use crate::backend::cuda::ascent::{Climbing, CudaAscent};
use crate::backend::cuda::params::AscentState;
use crate::backend::cuda::zero_pixels::Judged;
use crate::error::Result;
use crate::network::{Network, Preprocess, Shape};
use cudarc::driver::CudaSlice;
use std::sync::Arc;

/// Images on their way up: those that a launch is of, and one before and one behind them.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Images that the launch is of.
    pub n: usize,
    pub shape: Shape,
    /// `(n + 2, channels, height, width)`
    pub x: Vec<f32>,
    pub states: Vec<AscentState>,
    pub classes: Vec<u32>,
    pub n_classes: usize,
    pub mean: Vec<f32>,
    pub scales: Vec<f32>,
    /// Of the launch's images.
    pub gradient: Vec<f32>,
}

/// On the device.
#[derive(Debug)]
pub struct OnDevice {
    pub climbing: Climbing,
    pub arena: CudaSlice<f32>,
    pub gradient: Place,
}

/// The first image that a launch is of.
pub const FIRST: usize = 1;

impl Trial {
    /// `n` images of `shape`, a third of which have stopped; zeros, what is below black and above white, and equal pixels among them.
    pub fn new(n: usize, shape: Shape) -> Trial {
        let (len, n_classes) = (shape.len(), 7);
        let stream = 9700 + len as u32;
        let mean: Vec<f32> = numbers(stream, len).iter().map(|x| 20.0 * x + 110.0).collect();
        let value = |(i, x): (usize, f32)| match i % 11 {
            0 => -mean[i % len],
            1 => 0.0_f32.copysign(x),
            2 => (x * 4.0).trunc() * 16.0,
            _ => x * 200.0,
        };
        let states = (0..n + 2).map(|image| AscentState {
            norm: f64::from(image as u32),
            probability: 0.25,
            best: 3,
            stopped: u32::from(image % 3 == 0),
            rate: 1.1e6 * (1.0 + image as f32),
        });
        let few = |(i, x): (usize, f32)| if i % 5 == 0 { 0.0_f32.copysign(x) } else { x * 1e-3 };
        Trial {
            n,
            shape,
            x: numbers(stream + 1, (n + 2) * len).into_iter().enumerate().map(value).collect(),
            states: states.collect(),
            classes: (0..n as u32 + 2).map(|image| image * 3 % n_classes).collect(),
            n_classes: n_classes as usize,
            gradient: numbers(stream + 2, n * len).into_iter().enumerate().map(few).collect(),
            mean,
            scales: [0.5, 1.0 / 57.0, 1.0 / 59.0][..shape.channels].to_vec(),
        }
    }

    /// The images of the launch that have not stopped: their numbers among all, and among the launch's.
    pub fn moving(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let states = self.states.clone();
        (0..self.n).map(|at| (at + FIRST, at)).filter(move |&(image, _)| states[image].stopped == 0)
    }

    /// Where an image's values are among all.
    pub fn range(&self, image: usize) -> std::ops::Range<usize> {
        image * self.shape.len()..(image + 1) * self.shape.len()
    }

    /// The gradient of the launch's image `at` with respect to its pixels.
    pub fn of_pixels(&self, at: usize) -> Vec<f32> {
        of_pixels(&self.gradient[at * self.shape.len()..][..self.shape.len()], &self.scales)
    }

    /// Brings it to the device, with guards.
    ///
    /// # Errors
    /// The driver's.
    pub fn upload(&self, gpu: &Gpu) -> Result<OnDevice> {
        let len = self.shape.len();
        let gradient = Place { start: 3, image: len + 2 };
        let mut arena = vec![GUARD_F32; gradient.start + self.n * gradient.image];
        for (at, values) in self.gradient.chunks(len).enumerate() {
            arena[gradient.start + at * gradient.image..][..len].copy_from_slice(values);
        }
        let mut x = gpu.guarded(self.x.len(), GUARD_F32)?;
        gpu.launcher.upload_part(&mut x, 0, &self.x)?;
        let climbing = Climbing {
            shape: self.shape,
            x,
            states: gpu.upload(&self.states)?,
            classes: gpu.upload(&self.classes)?,
            mean: gpu.upload(&self.mean)?,
            scales: gpu.upload(&self.scales)?,
        };
        Ok(OnDevice { climbing, arena: gpu.upload(&arena)?, gradient })
    }

    /// Compares the images that `device` has with `want`, and the states with the trial's.
    ///
    /// # Errors
    /// The driver's.
    pub fn compare(&self, gpu: &Gpu, tally: &mut Tally, device: &OnDevice, want: &[f32]) -> Result<()> {
        let got = gpu.read(tally, "the images", &device.climbing.x, want.len(), GUARD_F32)?;
        tally.same("the images", want, &got);
        tally.same("the states", &self.states, &gpu.launcher.download(&device.climbing.states)?);
        Ok(())
    }
}

/// A gradient with respect to the network's input as one with respect to pixels.
fn of_pixels(gradient: &[f32], scales: &[f32]) -> Vec<f32> {
    let plane = gradient.len() / scales.len();
    gradient.iter().enumerate().map(|(at, g)| g * scales[at / plane]).collect()
}

/// Trials round the edges of a block of 256 values, 256 accumulators and 512 pixels; and of no image.
pub fn trials(extent: Extent) -> Vec<Trial> {
    let sizes = vec![
        (0, shape(1, 4, 4)),
        (1, shape(1, 1, 1)),
        (5, shape(3, 5, 7)),
        (4, shape(1, 16, 16)),
        (2, shape(3, 23, 41)),
        (7, shape(2, 3, 43)),
    ];
    extent.of(sizes, 3, usize::MAX).into_iter().map(|(n, shape)| Trial::new(n, shape)).collect()
}

/// A whole ascent: what each step saw, and the images at its end. Images that climb to `classes` begin with `start`.
pub fn on_host(
    network: &Network,
    rule: &AscentRule,
    classes: &[u32],
    start: &[f32],
    n_steps: u32,
) -> (Vec<Vec<Seen>>, Vec<f32>) {
    let shape = network.input;
    let scales = &network.preprocess.scale[..shape.channels];
    let none = vec![0.0; shape.len()];
    let mean = if network.preprocess.mean.is_empty() { &none } else { &network.preprocess.mean };
    let mut images: Vec<Vec<f32>> = start.chunks(shape.len()).map(<[f32]>::to_vec).collect();
    let mut last_seen: Vec<Option<Seen>> = vec![None; classes.len()];
    let mut all = Vec::new();
    for step in 0..n_steps {
        for ((x, &class), seen) in images.iter_mut().zip(classes).zip(&mut last_seen) {
            if seen.is_some_and(|seen| seen.stopped) {
                continue;
            }
            let input = clip::on_host(x, mean, scales);
            let (probabilities, gradient) = backward::on_host(network, &input, class as usize);
            let g = of_pixels(&gradient, scales);
            let (now, rate) = look::on_host(rule, &probabilities, class as usize, &g);
            *seen = Some(now);
            if now.stopped || step + 1 == n_steps {
                continue;
            }
            climb::on_host(x, &g, rate, (1.0 - rule.decay) as f32);
            if rule.blur_radius > 0.0 && step % rule.blur_every == 0 {
                *x = blur::on_host(x, shape, rule.blur_radius);
            }
            let judged = [(Judged::Norm, rule.small_norm), (Judged::Benefit, rule.benefit)];
            for (judged, q) in judged.into_iter().chain([(Judged::AbsBenefit, rule.abs_benefit)]) {
                if q > 0.0 {
                    zero_pixels::on_host(x, &g, shape, judged, q);
                }
            }
        }
        all.push(last_seen.iter().map(|seen| seen.expect("every image was looked at")).collect());
    }
    (all, images.concat())
}

/// Rules: every regulariser, none, and blurs now and then.
pub fn rules() -> Vec<AscentRule> {
    let plain = AscentRule {
        decay: 0.0,
        early: 0.05,
        late: 0.5,
        max_rate: 1e6,
        blur_radius: 0.0,
        blur_every: 1,
        small_norm: 0.0,
        benefit: 0.0,
        abs_benefit: 0.0,
    };
    let every = AscentRule {
        decay: 0.02,
        blur_radius: 0.6,
        blur_every: 2,
        small_norm: 10.0,
        benefit: 7.0,
        abs_benefit: 33.0,
        ..plain
    };
    vec![
        AscentRule { max_rate: 2.0, blur_radius: 3.5, blur_every: 3, abs_benefit: 100.0, ..plain },
        AscentRule { decay: 0.3, benefit: 50.0, ..plain },
        every,
        plain,
    ]
}

/// Compares an ascent of so many steps by `rule`, an image for each of `classes`, of which `at_once` go through the network together; what
/// each step saw.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    network: &Arc<Network>,
    rule: &AscentRule,
    classes: &[u32],
    at_once: usize,
    n_steps: u32,
) -> Result<Vec<Vec<Seen>>> {
    let name = &network.name;
    tally.case(classes.len(), format_args!("{name}, {at_once} at once, {n_steps} steps to {classes:?} by {rule:?}"));
    let start: Vec<f32> = numbers(9800, classes.len() * network.input.len()).iter().map(|x| x * 60.0).collect();
    let (want, want_images) = on_host(network, rule, classes, &start, n_steps);
    let launcher = Arc::clone(gpu.launcher);
    let mut ascent = CudaAscent::in_parts(launcher, "a GPU".into(), network, *rule, (classes, &start), at_once)?;
    let mut got = Vec::new();
    gpu.timed(tally, |_| {
        for step in 0..n_steps {
            got.push(ascent.step(step + 1 == n_steps)?);
        }
        Ok(())
    })?;
    for (step, (want, got)) in want.iter().zip(&got).enumerate() {
        tally.same(&format!("what step {step} saw"), &states(want), &states(got));
    }
    tally.same("the images", &want_images, &ascent.images()?);
    Ok(got)
}

/// What steps saw, as it is compared.
pub fn states(seen: &[Seen]) -> Vec<AscentState> {
    let state = |seen: &Seen| AscentState {
        norm: seen.norm,
        probability: seen.probability,
        best: seen.best,
        stopped: u32::from(seen.stopped),
        rate: 0.0,
    };
    seen.iter().map(state).collect()
}

/// The network of every operation, and that of branches without a mean, by all rules, in parts of which the last is not full.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let networks = [network::network(), without_mean(backward::branches())].map(Arc::new);
    for (network, at_once) in networks.iter().zip([2, 3]) {
        for rule in extent.of(rules(), 1, 2) {
            compare(gpu, tally, network, &rule, &[1, 4, 0], at_once, extent.number(2, 3, 5))?;
        }
    }
    Ok(())
}

/// `network`, which takes pixels as they are but for their scale.
pub fn without_mean(network: Network) -> Network {
    let preprocess = Preprocess { mean: Vec::new(), ..network.preprocess.clone() };
    Network { preprocess, ..network }
}
