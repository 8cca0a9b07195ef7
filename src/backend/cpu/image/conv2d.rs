//! Convolution (cross-correlation) of one image.
//!
//! ```text
//! out  output   (out_channels / L::N rounded up, out_height, out_width, L::N) f32, lane = channel
//! in   input    the same layout, or (channels, height, width) f32: an image as it comes
//!      weights  (out_channels, channels / groups, kernel, kernel) f32, packed; bias (out_channels)
//! ```
//!
//! Mapping   a register block is a few vectors of output channels x some neighbouring columns of one output row; per step of
//!           k it loads a vector of weights for each vector and broadcasts one input value a column.
//! Numbers   as [`crate::backend::cpu::conv2d`]: one accumulator per output, from the bias, k ascending, fused. The same bits.

use crate::backend::cpu::conv2d::{Geometry, taps};
use crate::network::Parameters;
use crate::simd::Aligned;
use crate::simd::Lanes;

/// Vectors of channels and columns of a register block: 2 x 8 accumulators hide the latency of the multiply-add, and
/// LeNet's rows are multiples of 8.
const VECTORS: usize = 2;
const COLUMNS: usize = 8;

/// A convolution with its weights in the order in which the kernel reads them.
#[derive(Debug)]
pub struct PackedConv2d {
    geometry: Geometry,
    /// `(groups, vectors of a group, k, L::N)`; the lanes past a group's last channel are 0.
    weights: Aligned,
    /// `(groups, vectors of a group, L::N)`.
    bias: Aligned,
}

impl PackedConv2d {
    /// Packs `parameters` for vectors of `width` lanes; `None` if a vector would hold channels of two groups.
    pub fn new(geometry: Geometry, parameters: &Parameters, width: usize) -> Option<PackedConv2d> {
        let (k, per_group) = (geometry.k(), geometry.outputs_per_group());
        if geometry.groups > 1 && !per_group.is_multiple_of(width) {
            return None;
        }
        let vectors = geometry.output.channels.div_ceil(width);
        let mut packed = PackedConv2d {
            geometry,
            weights: Aligned::zeros(vectors * k * width),
            bias: Aligned::zeros(vectors * width),
        };
        for (channel, (row, &bias)) in parameters.weight.chunks_exact(k).zip(&parameters.bias).enumerate() {
            let (vector, lane) = (channel / width, channel % width);
            packed.bias[channel] = bias;
            for (at, &weight) in row.iter().enumerate() {
                packed.weights[(vector * k + at) * width + lane] = weight;
            }
        }
        Some(packed)
    }

    /// Memory that the packed weights and biases take.
    pub fn bytes(geometry: &Geometry, width: usize) -> usize {
        let vectors = geometry.output.channels.div_ceil(width);
        Aligned::bytes(vectors * geometry.k() * width) + Aligned::bytes(vectors * width)
    }

    /// What this convolution reads and writes.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }
}

/// Convolves one image: see the top of this file. `input_lanes` is `L::N`, or 1 for an image as it comes.
#[inline(always)]
pub fn conv2d<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedConv2d, input_lanes: usize) {
    let geometry = &layer.geometry;
    assert_eq!(
        input.len(),
        geometry.input.channels.next_multiple_of(input_lanes) * geometry.input.height * geometry.input.width
    );
    assert_eq!(
        output.len(),
        geometry.output.channels.next_multiple_of(L::N) * geometry.output.height * geometry.output.width
    );
    // Constants leave the inner loop one check of bounds instead of one a column.
    match (input_lanes, geometry.stride) {
        (1, stride) => conv2d_image::<L>(output, input, layer, 1, stride),
        (_, 1) => conv2d_image::<L>(output, input, layer, L::N, 1),
        (_, stride) => conv2d_image::<L>(output, input, layer, L::N, stride),
    }
}

#[inline(always)]
fn conv2d_image<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedConv2d, input_lanes: usize, stride: usize) {
    let geometry = &layer.geometry;
    let plane = geometry.output.height * geometry.output.width * L::N;
    let vectors = geometry.outputs_per_group().div_ceil(L::N);
    for group in 0..geometry.groups {
        let mut vector = 0;
        while vector < vectors {
            let n = (vectors - vector).min(VECTORS);
            let first = group * vectors + vector;
            let block = Block {
                output: &mut output[first * plane..][..n * plane],
                input,
                layer,
                first,
                group,
                input_lanes,
                stride,
            };
            if n == VECTORS {
                block.run::<L, VECTORS>();
            } else {
                block.run::<L, 1>();
            }
            vector += n;
        }
    }
}

/// Some vectors of output channels, over the whole image.
struct Block<'a> {
    /// `(VECTORS, out_height, out_width, L::N)`
    output: &'a mut [f32],
    input: &'a [f32],
    layer: &'a PackedConv2d,
    /// Number of the first vector, and the group it is in.
    first: usize,
    group: usize,
    input_lanes: usize,
    stride: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run<L: Lanes, const V: usize>(mut self) {
        let geometry = self.layer.geometry;
        let (rows, columns) = (geometry.output.height, geometry.output.width);
        for row in 0..rows {
            let mut column = 0;
            while column < columns {
                // Columns all of whose taps lie inside the image share a block; those at the border go alone.
                let inside = |column: usize| {
                    let left = column * self.stride;
                    left >= geometry.padding && left + geometry.kernel <= geometry.input.width + geometry.padding
                };
                let fits = |n: usize| column + n <= columns && inside(column) && inside(column + n - 1);
                // Only the registers of AVX-512 hold so many sums.
                column += if L::N == 16 && fits(COLUMNS) {
                    self.columns::<L, V, COLUMNS>(row, column)
                } else if fits(COLUMNS / 2) {
                    self.columns::<L, V, { COLUMNS / 2 }>(row, column)
                } else {
                    self.columns::<L, V, 1>(row, column)
                };
            }
        }
    }

    /// Columns `column..column + C` of `row`; returns C.
    #[inline(always)]
    fn columns<L: Lanes, const V: usize, const C: usize>(&mut self, row: usize, column: usize) -> usize {
        let geometry = &self.layer.geometry;
        let (kernel, k) = (geometry.kernel, geometry.k());
        let (height, width) = (geometry.input.height, geometry.input.width);
        let (row_first, row_last) = taps(geometry, row, height);
        let (column_first, column_last) = taps(geometry, column, width);
        let n_taps = column_last - column_first;
        let (lanes, step) = (self.input_lanes, self.stride * self.input_lanes);

        let mut sums = [[L::splat(0.0); C]; V];
        for (vector, sums) in (self.first..).zip(&mut sums) {
            *sums = [L::load(&self.layer.bias[vector * L::N..]); C];
        }
        if n_taps > 0 {
            let left = column * self.stride + column_first - geometry.padding;
            let span = (n_taps - 1) * lanes + (C - 1) * step + 1;
            for within in 0..geometry.channels_per_group() {
                let channel = self.group * geometry.channels_per_group() + within;
                let base = channel / lanes * (height * width * lanes) + channel % lanes;
                for tap_row in row_first..row_last {
                    let top = row * self.stride + tap_row - geometry.padding;
                    let values = &self.input[base + (top * width + left) * lanes..][..span];
                    let at = (within * kernel + tap_row) * kernel + column_first;
                    let mut weights = [&self.layer.weights[..0]; V];
                    for (vector, weights) in (self.first..).zip(&mut weights) {
                        *weights = &self.layer.weights[(vector * k + at) * L::N..][..n_taps * L::N];
                    }
                    for tap in 0..n_taps {
                        let values = &values[tap * lanes..][..(C - 1) * step + 1];
                        let mut weight = [L::splat(0.0); V];
                        for vector in 0..V {
                            weight[vector] = L::load(&weights[vector][tap * L::N..]);
                        }
                        for column in 0..C {
                            let value = L::splat(values[column * step]);
                            for vector in 0..V {
                                sums[vector][column] = value.mul_add(weight[vector], sums[vector][column]);
                            }
                        }
                    }
                }
            }
        }
        let (rows, columns) = (geometry.output.height, geometry.output.width);
        for (vector, sums) in sums.iter().enumerate() {
            let values = &mut self.output[((vector * rows + row) * columns + column) * L::N..][..C * L::N];
            for (at, sum) in sums.iter().enumerate() {
                sum.store(&mut values[at * L::N..]);
            }
        }
        C
    }
}
