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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::max_pool::max_pool;
    use crate::simd::{Simd, Vectorised};

    /// Gradient of each input of one channel, the same images in all lanes, for window gradients 1, 2, 3, ...
    struct Case<'a> {
        input: &'a [f32],
        width: usize,
        kernel: usize,
        stride: usize,
    }

    impl Vectorised for Case<'_> {
        type Output = Vec<f32>;

        fn run<L: Lanes>(self) -> Vec<f32> {
            let from = Shape { channels: 1, height: self.input.len() / self.width, width: self.width };
            let pooled = |size: usize| (size - self.kernel).div_ceil(self.stride) + 1;
            let to = Shape { channels: 1, height: pooled(from.height), width: pooled(from.width) };
            let lanes = |values: &[f32]| values.iter().flat_map(|&value| vec![value; L::N]).collect::<Vec<f32>>();
            let input = lanes(self.input);
            let mut output = vec![0.0; to.len() * L::N];
            max_pool::<L>(&mut output, &input, from, to, self.kernel, self.stride);
            let gradients: Vec<f32> = (1..=to.len()).map(|window| window as f32).collect();
            let mut got = vec![f32::NAN; input.len()];
            max_pool_backward::<L>(&mut got, &lanes(&gradients), &input, &output, from, to, self.kernel, self.stride);
            assert!(got.chunks_exact(L::N).all(|lanes| lanes.iter().all(|lane| lane == &lanes[0])));
            got.chunks_exact(L::N).map(|lanes| lanes[0]).collect()
        }
    }

    #[test]
    fn gradient_goes_to_the_first_maximum_of_each_window_only() {
        for simd in Simd::available() {
            // Windows side by side, the last column's clipped: ties within a window, also of 0 and -0.
            #[rustfmt::skip]
            let (input, want) = (
                [5.0, 5.0, 1.0, 7.0, 9.0,
                 5.0, 2.0, 7.0, 7.0, 9.0,
                -0.0, 0.0, 3.0, 3.0, 4.0],
                [1.0, 0.0, 0.0, 2.0, 3.0,
                 0.0, 0.0, 0.0, 0.0, 0.0,
                 4.0, 0.0, 5.0, 0.0, 6.0],
            );
            assert_eq!(simd.run(Case { input: &input, width: 5, kernel: 2, stride: 2 }), want, "{simd}");
            // Overlapping windows: the middle column's 8 is the first maximum of both.
            #[rustfmt::skip]
            let (input, want) = (
                [1.0, 2.0, 8.0, 8.0, 1.0,
                 1.0, 8.0, 3.0, 1.0, 1.0,
                 0.0, 0.0, 0.0, 8.0, 8.0],
                [0.0, 0.0, 3.0, 0.0, 0.0,
                 0.0, 0.0, 0.0, 0.0, 0.0,
                 0.0, 0.0, 0.0, 0.0, 0.0],
            );
            assert_eq!(simd.run(Case { input: &input, width: 5, kernel: 3, stride: 2 }), want, "{simd}");
        }
    }
}
