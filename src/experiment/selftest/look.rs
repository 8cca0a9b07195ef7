//! look: what a step sees, and how far it goes.

use super::ascent::{FIRST, Trial, trials};
use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{by_class, numbers};
use super::softmax;
use super::tally::Tally;
use crate::backend::ascent::{AscentRule, NORM_LANES, Seen};
use crate::backend::cuda::look::Answers;
use crate::backend::cuda::params::AscentState;
use crate::error::Result;

/// What a step sees of an image of these `probabilities`, with the gradient `g` with respect to its pixels, and the rate at which it goes.
pub fn on_host(rule: &AscentRule, probabilities: &[f32], class: usize, g: &[f32]) -> (Seen, f32) {
    let mut lanes = vec![0.0_f64; NORM_LANES];
    for (at, &g) in g.iter().enumerate() {
        let (g, lane) = (f64::from(g), &mut lanes[at % NORM_LANES]);
        *lane = g.mul_add(g, *lane);
    }
    while lanes.len() > 1 {
        let upper = lanes.split_off(lanes.len() / 2);
        lanes.iter_mut().zip(upper).for_each(|(lower, upper)| *lower += upper);
    }
    let norm = if lanes[0].is_nan() { f64::NAN } else { lanes[0] };
    let (p, mut best) = (probabilities[class], 0);
    for (other, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = other;
        }
    }
    let min = |a: f64, b: f64| if a < b { a } else { b };
    let want = min(rule.early, rule.late * (1.0 - f64::from(p)));
    let stopped = norm == 0.0 || !norm.is_finite() || p.is_nan();
    let rate = if stopped { 0.0 } else { min(rule.max_rate, want / norm) as f32 };
    (Seen { probability: p, best: best as u32, norm, stopped }, rate)
}

/// What gradients and probabilities are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No gradient.
    Zero,
    /// A NaN among them.
    Nan,
    /// An infinity among them.
    Infinite,
    /// Nothing but NaNs among the probabilities.
    NanProbabilities,
    /// Probabilities that are equal.
    Equal,
    /// Gradients so small that the largest rate holds.
    Small,
    Usual,
}

/// All trials, of all kinds.
///
/// # Errors
/// The driver's.
pub fn look(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let rule = AscentRule { early: 0.125, late: 0.4, max_rate: 1e5, ..super::ascent::rules()[3] };
    let kinds = [Kind::Zero, Kind::Nan, Kind::Infinite, Kind::NanProbabilities, Kind::Equal, Kind::Small, Kind::Usual];
    for (trial, kind) in super::cases::product(&trials(extent), &kinds) {
        tally.case(trial.n, format_args!("{} images of {}, {kind:?}", trial.n, trial.shape));
        let Trial { n, n_classes, .. } = trial;
        let change = |x: &f32| match kind {
            Kind::Zero => x * 0.0,
            Kind::Small => x * 1e-6,
            _ => x * 30.0,
        };
        let mut trial = Trial { gradient: trial.gradient.iter().map(change).collect(), ..trial };
        if let Some(what) = match kind {
            Kind::Nan => Some(f32::NAN),
            Kind::Infinite => Some(f32::NEG_INFINITY),
            _ => None,
        } {
            let len = trial.shape.len();
            trial.gradient.iter_mut().skip(len / 2).step_by(len).for_each(|g| *g = what);
        }
        let rows: Vec<Vec<f32>> = (0..n)
            .map(|at| {
                let logits: Vec<f32> = numbers(9900 + at as u32, n_classes)
                    .iter()
                    .map(|x| match kind {
                        Kind::Equal => (x * 2.0).trunc(),
                        Kind::NanProbabilities => f32::NAN,
                        _ => x * 3.0,
                    })
                    .collect();
                softmax::on_host(&logits)
            })
            .collect();
        let mut want = trial.states.clone();
        for (image, at) in trial.moving() {
            let (seen, rate) = on_host(&rule, &rows[at], trial.classes[image] as usize, &trial.of_pixels(at));
            let Seen { probability, best, norm, stopped } = seen;
            want[image] = AscentState { norm, probability, best, stopped: u32::from(stopped), rate };
        }
        let stride = n + 3;
        let probabilities = gpu.upload(&by_class(&rows.concat(), n_classes, stride, 0))?;
        let mut device = trial.upload(gpu)?;
        gpu.timed(tally, |launcher| {
            let answers = Answers { probabilities: &probabilities, n_classes, stride };
            launcher.look(&mut device.climbing, &rule, answers, &device.arena, device.gradient, FIRST, n)
        })?;
        let trial = Trial { states: want, ..trial };
        trial.compare(gpu, tally, &device, &trial.x)?;
    }
    Ok(())
}
