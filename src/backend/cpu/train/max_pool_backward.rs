//! Max pooling, backward: each window's gradient goes to its first maximum.

use crate::network::Shape;
use crate::simd::Lanes;

/// Writes the gradient of the input of some tiles of images.
///
/// All four are `(tiles, channels, height, width, lane)`: `input_gradient` and `input` of shape `from`, `output_gradient` and
/// `output` of shape `to`. Windows are clipped at the border of the input.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // two shapes and a window are what a pooling is
pub fn max_pool_backward<L: Lanes>(
    input_gradient: &mut [f32],
    output_gradient: &[f32],
    input: &[f32],
    output: &[f32],
    from: Shape,
    to: Shape,
    kernel: usize,
    stride: usize,
) {
    let zero = L::splat(0.0);
    // Then every element lies in exactly one window (they reach the border: the size rounds up).
    let disjoint = stride == kernel;
    if !disjoint {
        input_gradient.fill(0.0);
    }
    for channel in 0..input.len() / (from.height * from.width * L::N) {
        for window_row in 0..to.height {
            for window_column in 0..to.width {
                let window = ((channel * to.height + window_row) * to.width + window_column) * L::N;
                let maximum = L::load(&output[window..]);
                // What is still to be given away: +0 once the first maximum has had it.
                let mut gradient = L::load(&output_gradient[window..]);
                let first = (window_row * stride, window_column * stride);
                for row in first.0..(first.0 + kernel).min(from.height) {
                    for column in first.1..(first.1 + kernel).min(from.width) {
                        let element = ((channel * from.height + row) * from.width + column) * L::N;
                        let is_maximum = L::load(&input[element..]).eq(maximum);
                        let before = if disjoint { zero } else { L::load(&input_gradient[element..]) };
                        before.add(L::select(is_maximum, gradient, zero)).store(&mut input_gradient[element..]);
                        gradient = L::select(is_maximum, zero, gradient);
                    }
                }
            }
        }
    }
}
