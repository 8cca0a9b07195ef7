//! lrn_backward: gradients of the rule.

use super::cases::{Extent, product};
use super::gpu::Gpu;
use super::layers::{self, numbers, shape};
use super::tally::Tally;
use crate::backend::cuda::lrn_backward::LrnBackward;
use crate::error::Result;

/// Size, alpha and k of a normalisation.
pub type Rule = (usize, f32, f32);

/// The gradient of what a normalisation took, of one image of `channels`, one number at a time.
pub fn on_host((size, alpha, k): Rule, channels: usize, gradient: &[f32], input: &[f32]) -> Vec<f32> {
    let (plane, half) = (input.len() / channels, size / 2);
    let around = |channel: usize| channel.saturating_sub(half)..(channel + half + 1).min(channels);
    let s = |channel: usize, position: usize| {
        let squares = around(channel).fold(0.0_f32, |sum, other| {
            let x = input[other * plane + position];
            x.mul_add(x, sum)
        });
        (alpha / size as f32).mul_add(squares, k)
    };
    let p = |s: f32| s.sqrt() * s.sqrt().sqrt();
    let term = |channel: usize, position: usize| {
        let (at, s) = (channel * plane + position, s(channel, position));
        (gradient[at] * (input[at] / p(s))) / s
    };
    let c = (2.0 * 0.75 * alpha) / size as f32;
    (0..input.len())
        .map(|at| {
            let (channel, position) = (at / plane, at % plane);
            let sum = around(channel).fold(0.0, |sum, other| sum + term(other, position));
            (-(c * input[at])).mul_add(sum, gradient[at] / p(s(channel, position)))
        })
        .collect()
}

/// Of several sizes: channels round the edges of a part of 32, positions round that of a block of 64.
///
/// # Errors
/// The driver's.
pub fn lrn_backward(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let batches = [
        (1, shape(1, 1, 1)),
        (2, shape(5, 3, 3)),
        (0, shape(5, 3, 3)),
        (3, shape(2, 7, 9)),
        (1, shape(33, 4, 8)),
        (1, shape(65, 5, 13)),
        (2, shape(97, 1, 1)),
    ];
    let rules: [Rule; 5] = [(1, 0.5, 2.0), (3, 2.0, 0.1), (63, 0.02, 1.0), (9, 1e-3, 1.0), (5, 1e-4, 1.0)];
    for ((batch, of), rule) in extent.of(product(&batches, &rules), 4, usize::MAX) {
        tally.case(batch, format_args!("batch {batch}, {of}, size, alpha and k {rule:?}"));
        let len = of.len();
        let input: Vec<f32> = numbers(9100 + len as u32, batch * len).into_iter().map(|x| x * 200.0).collect();
        let gradient = numbers(9200 + len as u32, batch * len);
        let images = gradient.chunks(len).zip(input.chunks(len));
        let want: Vec<f32> = images.flat_map(|(gradient, input)| on_host(rule, of.channels, gradient, input)).collect();
        let layer = LrnBackward::new(rule.0, rule.1, rule.2, of);
        let inputs = [(&gradient[..], len), (&input[..], len)];
        layers::compare_all(gpu, tally, inputs, (&want, len), batch, |launcher, arena, to, [gradient, value]| {
            launcher.lrn_backward(arena, &layer, to, gradient, value, batch)
        })?;
    }
    Ok(())
}
