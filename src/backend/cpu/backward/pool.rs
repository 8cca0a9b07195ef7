//! Pooling over tiles of images, with padding and clipped windows, and back.
//!
//! ```text
//! input, its gradient    (planes, height, width, L::N) f32, lane = image; a plane is a channel of a tile
//! output, its gradient   (planes, out_height, out_width, L::N) f32
//! ```
//!
//! Numbers   maxima: comparisons only, of equals the first, row by row, which also gets the gradient. Means: a sum from +0, row by row,
//!           and one division; the gradient over the same number. An element adds what its windows send from +0, windows row by row.

use crate::network::{Shape, Window};
use crate::simd::Lanes;

/// What a pooling reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// Of an image.
    pub input: Shape,
    pub output: Shape,
    pub window: Window,
    /// Whether a mean counts positions of the padding.
    pub count_padding: bool,
}

/// The part of the input that a window sees: rows, columns.
type Part = (std::ops::Range<usize>, std::ops::Range<usize>);

impl Pool {
    #[inline(always)]
    fn part(&self, row: usize, column: usize) -> Part {
        let (top, bottom, _) = self.window.span(row, self.input.height);
        let (left, right, _) = self.window.span(column, self.input.width);
        (top..bottom, left..right)
    }

    /// The positions that the mean of a window divides by.
    #[inline(always)]
    fn count(&self, row: usize, column: usize) -> f32 {
        let (top, bottom, rows) = self.window.span(row, self.input.height);
        let (left, right, columns) = self.window.span(column, self.input.width);
        (if self.count_padding { rows * columns } else { (bottom - top) * (right - left) }) as f32
    }

    /// Whether each element lies in exactly one window.
    fn is_disjoint(&self) -> bool {
        let Window { kernel, stride, padding, .. } = self.window;
        let covers = |windows: usize, size: usize| windows * stride >= size + padding;
        kernel == stride && covers(self.output.height, self.input.height) && covers(self.output.width, self.input.width)
    }

    /// The largest value of each window.
    #[inline(always)]
    pub fn maxima<L: Lanes>(&self, output: &mut [f32], input: &[f32]) {
        self.forward::<L, true>(output, input);
    }

    /// The mean of each window.
    #[inline(always)]
    pub fn means<L: Lanes>(&self, output: &mut [f32], input: &[f32]) {
        self.forward::<L, false>(output, input);
    }

    #[inline(always)]
    fn forward<L: Lanes, const MAX: bool>(&self, output: &mut [f32], input: &[f32]) {
        let (from, to) = (self.input, self.output);
        let (plane, pooled) = (from.height * from.width * L::N, to.height * to.width * L::N);
        for (output, input) in output.chunks_exact_mut(pooled).zip(input.chunks_exact(plane)) {
            for (row, values) in output.chunks_exact_mut(to.width * L::N).enumerate() {
                for (column, value) in values.chunks_exact_mut(L::N).enumerate() {
                    let (rows, columns) = self.part(row, column);
                    let mut best = L::load(&input[(rows.start * from.width + columns.start) * L::N..]);
                    let mut sum = L::splat(0.0);
                    for y in rows {
                        let seen = &input[(y * from.width + columns.start) * L::N..][..columns.len() * L::N];
                        for element in seen.chunks_exact(L::N) {
                            if MAX {
                                best = L::load(element).max(best);
                            } else {
                                sum = sum.add(L::load(element));
                            }
                        }
                    }
                    if !MAX {
                        best = sum.div(L::splat(self.count(row, column)));
                    }
                    best.store(value);
                }
            }
        }
    }

    /// Writes the gradient of the input of [`Pool::maxima`], which made `output` of `input`.
    #[inline(always)]
    pub fn maxima_backward<L: Lanes>(
        &self,
        input_gradient: &mut [f32],
        output_gradient: &[f32],
        input: &[f32],
        output: &[f32],
    ) {
        let (from, to) = (self.input, self.output);
        let (plane, pooled) = (from.height * from.width * L::N, to.height * to.width * L::N);
        let zero = L::splat(0.0);
        let disjoint = self.is_disjoint();
        if !disjoint {
            input_gradient.fill(0.0);
        }
        let inputs = input_gradient.chunks_exact_mut(plane).zip(input.chunks_exact(plane));
        let outputs = output_gradient.chunks_exact(pooled).zip(output.chunks_exact(pooled));
        for ((input_gradient, input), (output_gradient, output)) in inputs.zip(outputs) {
            for window in 0..to.height * to.width {
                let (rows, columns) = self.part(window / to.width, window % to.width);
                let maximum = L::load(&output[window * L::N..]);
                // What is still to be given away: +0 once the first maximum has had it.
                let mut gradient = L::load(&output_gradient[window * L::N..]);
                for row in rows {
                    for column in columns.clone() {
                        let element = (row * from.width + column) * L::N;
                        let is_maximum = L::load(&input[element..]).eq(maximum);
                        let before = if disjoint { zero } else { L::load(&input_gradient[element..]) };
                        before.add(L::select(is_maximum, gradient, zero)).store(&mut input_gradient[element..]);
                        gradient = L::select(is_maximum, zero, gradient);
                    }
                }
            }
        }
    }

    /// Writes the gradient of the input of [`Pool::means`].
    #[inline(always)]
    pub fn means_backward<L: Lanes>(&self, input_gradient: &mut [f32], output_gradient: &[f32]) {
        let (from, to) = (self.input, self.output);
        let (plane, pooled) = (from.height * from.width * L::N, to.height * to.width * L::N);
        input_gradient.fill(0.0);
        for (input_gradient, output_gradient) in
            input_gradient.chunks_exact_mut(plane).zip(output_gradient.chunks_exact(pooled))
        {
            for (window, gradient) in output_gradient.chunks_exact(L::N).enumerate() {
                let (row, column) = (window / to.width, window % to.width);
                let (rows, columns) = self.part(row, column);
                let share = L::load(gradient).div(L::splat(self.count(row, column)));
                for row in rows {
                    let seen = &mut input_gradient[(row * from.width + columns.start) * L::N..];
                    for element in seen[..columns.len() * L::N].chunks_exact_mut(L::N) {
                        L::load(element).add(share).store(element);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Rounding;
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
            let window = Window { kernel: self.kernel, stride: self.stride, padding: 0, rounding: Rounding::Ceil };
            let pool = Pool { input: from, output: to, window, count_padding: false };
            pool.maxima::<L>(&mut output, &input);
            let gradients: Vec<f32> = (1..=to.len()).map(|window| window as f32).collect();
            let mut got = vec![f32::NAN; input.len()];
            pool.maxima_backward::<L>(&mut got, &lanes(&gradients), &input, &output);
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
