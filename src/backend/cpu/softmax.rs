//! Softmax over the classes of each image, in place.
//!
//! ```text
//! in/out  values  (tiles, classes, L::N) f32, lane = image; finite
//! ```
//!
//! Numbers   exp(x - max) by [`math::exp`]; the sum runs over the classes in ascending order, from 0; one division a
//!           class. Exact: the same bits at every width and tile.

use crate::math;
use crate::simd::Lanes;

/// Turns the logits of every tile into probabilities: see the top of this file.
#[inline(always)]
pub fn softmax<L: Lanes>(values: &mut [f32], classes: usize) {
    assert_eq!(values.len() % (classes * L::N), 0);
    for tile in values.chunks_exact_mut(classes * L::N) {
        let mut best = L::load(tile);
        for value in tile.chunks_exact(L::N) {
            best = L::load(value).max(best);
        }
        let mut sum = L::splat(0.0);
        for value in tile.chunks_exact_mut(L::N) {
            let power = math::exp(L::load(value).sub(best));
            power.store(value);
            sum = sum.add(power);
        }
        for value in tile.chunks_exact_mut(L::N) {
            L::load(value).div(sum).store(value);
        }
    }
}
