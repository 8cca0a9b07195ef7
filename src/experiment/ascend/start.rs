//! Where images start.

use super::config::Start;
use crate::math::scalar::{log2, sin};
use crate::network::Network;
use crate::rng::{Draws, Philox, Purpose, unit};
use std::f32::consts::{LN_2, PI};

/// The variable of an image of seed `seed` before its first step, `(channels, height, width)`, in units of pixels less the mean. It is the
/// same for every class.
///
/// Words 2 i and 2 i + 1 of [`Purpose::AscentStart`] are of element i. Noise: Box and Muller's `sqrt(-2 ln(u)) * sin(2 pi v)` with
/// `u = unit(word 2 i) + 2^-24`, in (0, 1], and `v = unit(word 2 i + 1)`, as `sqrt((-2 * ln 2) * log2(u)) * sin((2 * pi) * v)`. Uniform:
/// `255 * unit(word 2 i) - mean`, -0 counting as 0 without a mean.
pub fn start(start: Start, seed: u64, network: &Network) -> Vec<f32> {
    let len = network.input.len();
    let draws = Philox::new(seed).draws(Purpose::AscentStart, 0, 0);
    match start {
        Start::Zero => vec![0.0; len],
        Start::MeanPlus => elements(draws, len, |_, [first, second]| {
            let u = unit(first) + 1.0 / 16_777_216.0;
            ((-2.0 * LN_2) * log2(u)).sqrt() * sin((2.0 * PI) * unit(second))
        }),
        Start::Randu => {
            let mean = &network.preprocess.mean;
            elements(draws, len, |i, [word, _]| 255.0 * unit(word) - mean.get(i).copied().unwrap_or(0.0))
        }
    }
}

/// What `element` makes of each element's number and two words.
fn elements(draws: Draws, len: usize, element: impl Fn(usize, [u32; 2]) -> f32) -> Vec<f32> {
    let pairs = (0..len.div_ceil(2)).flat_map(|block| {
        let [a, b, c, d] = draws.block(block as u32);
        [[a, b], [c, d]]
    });
    pairs.take(len).enumerate().map(|(i, words)| element(i, words)).collect()
}
