//! ReLU, backward: the gradient passes where the output is above 0.

use crate::simd::Lanes;

/// Turns the gradient of the output, of the same layout as `output`, into that of the input, in place.
#[inline(always)]
pub fn relu_backward<L: Lanes>(gradient: &mut [f32], output: &[f32]) {
    let zero = L::splat(0.0);
    for (gradient, output) in gradient.chunks_exact_mut(L::N).zip(output.chunks_exact(L::N)) {
        L::select(zero.lt(L::load(output)), L::load(gradient), zero).store(gradient);
    }
}
