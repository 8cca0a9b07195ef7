//! Convolution (cross-correlation) over tiles of images.
//!
//! ```text
//! out  output   (tiles, out_channels, out_height, out_width, L::N) f32, lane = image
//! in   input    (tiles, channels, height, width, L::N) f32
//!      weights  (out_channels, channels / groups, kernel, kernel) f32, packed; bias (out_channels)
//! ```
//!
//! Mapping   a register block is OUTPUTS output channels x some neighbouring columns of one output row; per step of k
//!           it loads one vector a column, broadcasts one weight a channel, and does their product of fused multiply-adds.
//! Numbers   one accumulator per output, from the bias, k ascending in (input channel, kernel row, kernel column), fused;
//!           terms of the padding are left out. Exact: the same bits at every width and tile.

use std::ops::Range;

use super::max_pool::max_pool_plane;
use crate::network::{Parameters, Shape};
use crate::simd::Lanes;

/// Output channels of a register block. 5 x 4 columns fill 20 of 32 vector registers and hide the latency of the
/// multiply-add (4 cycles, two a cycle); LeNet's 20 and 50 channels are multiples.
const OUTPUTS: usize = 5;

/// What a convolution reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub input: Shape,
    pub output: Shape,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Geometry {
    /// Input channels that an output channel sees.
    pub fn channels_per_group(&self) -> usize {
        self.input.channels / self.groups
    }

    /// Output channels of a group.
    pub fn outputs_per_group(&self) -> usize {
        self.output.channels / self.groups
    }

    /// Products in one output value, padding's included.
    pub fn k(&self) -> usize {
        self.channels_per_group() * self.kernel * self.kernel
    }
}

/// A convolution with its weights in the order in which the kernel reads them.
#[derive(Clone, Debug)]
pub struct PackedConv2d {
    geometry: Geometry,
    /// `(groups, blocks, k, OUTPUTS)`; the channels past a group's last are 0 and never stored.
    weights: Vec<[f32; OUTPUTS]>,
    /// `(groups, blocks, OUTPUTS)`.
    bias: Vec<[f32; OUTPUTS]>,
}

impl PackedConv2d {
    /// Packs `parameters`, of the shapes at the top of this file.
    pub fn new(geometry: Geometry, parameters: &Parameters) -> PackedConv2d {
        let blocks = geometry.groups * geometry.outputs_per_group().div_ceil(OUTPUTS);
        let mut packed = PackedConv2d {
            geometry,
            weights: vec![[0.0; OUTPUTS]; blocks * geometry.k()],
            bias: vec![[0.0; OUTPUTS]; blocks],
        };
        packed.pack(parameters);
        packed
    }

    /// Takes other parameters of the same shapes, without allocating.
    pub fn pack(&mut self, parameters: &Parameters) {
        let (k, per_group) = (self.geometry.k(), self.geometry.outputs_per_group());
        assert_eq!(parameters.weight.len(), self.geometry.output.channels * k);
        assert_eq!(parameters.bias.len(), self.geometry.output.channels);
        let rows = parameters.weight.chunks_exact(k).zip(&parameters.bias);
        for (channel, (row, &bias)) in rows.enumerate() {
            let (group, within) = (channel / per_group, channel % per_group);
            let (block, lane) = (group * per_group.div_ceil(OUTPUTS) + within / OUTPUTS, within % OUTPUTS);
            self.bias[block][lane] = bias;
            for (packed, &weight) in self.weights[block * k..][..k].iter_mut().zip(row) {
                packed[lane] = weight;
            }
        }
    }

    /// Memory that the packed weights and biases take.
    pub fn bytes(geometry: &Geometry) -> usize {
        let blocks = geometry.groups * geometry.outputs_per_group().div_ceil(OUTPUTS);
        blocks * (geometry.k() + 1) * size_of::<[f32; OUTPUTS]>()
    }

    /// What this convolution reads and writes.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }
}

/// The taps `first..last` of a kernel that fall inside the image, for output position `at` along one axis of `size`.
#[inline(always)]
pub fn taps(geometry: &Geometry, at: usize, size: usize) -> (usize, usize) {
    let first = geometry.padding.saturating_sub(at * geometry.stride);
    let last = geometry.kernel.min((size + geometry.padding).saturating_sub(at * geometry.stride));
    (first.min(last), last)
}

/// Convolves every tile of `input`: see the top of this file.
#[inline(always)]
pub fn conv2d<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedConv2d) {
    let geometry = &layer.geometry;
    let (input_len, output_len) = (geometry.input.len() * L::N, geometry.output.len() * L::N);
    assert_eq!(input.len() % input_len, 0);
    assert_eq!(input.len() / input_len * output_len, output.len());
    let plane = geometry.output.height * geometry.output.width * L::N;
    for (output, input) in output.chunks_exact_mut(output_len).zip(input.chunks_exact(input_len)) {
        for block in layer.blocks() {
            let output = &mut output[block.first_channel * plane..][..block.channels * plane];
            block.rows::<L>(output, input, 0..geometry.output.height);
        }
    }
}

/// Convolves every tile of `input` and pools the result, of which no more than `band` ever exists: some rows of a block of
/// channels, which stay in the first-level cache. As [`conv2d`] and then [`max_pool`](super::max_pool::max_pool) with windows
/// of `kernel` x `kernel` side by side, which give `pooled`.
///
/// `band` holds [`band_len`] values.
#[inline(always)]
pub fn conv2d_max_pool<L: Lanes>(
    output: &mut [f32],
    input: &[f32],
    band: &mut [f32],
    layer: &PackedConv2d,
    pooled: Shape,
    kernel: usize,
) {
    let geometry = &layer.geometry;
    let (height, width) = (geometry.output.height, geometry.output.width);
    let (input_len, output_len) = (geometry.input.len() * L::N, pooled.len() * L::N);
    assert_eq!(input.len() % input_len, 0);
    assert_eq!(input.len() / input_len * output_len, output.len());
    let pooled_row = pooled.width * L::N;
    for (output, input) in output.chunks_exact_mut(output_len).zip(input.chunks_exact(input_len)) {
        for block in layer.blocks() {
            for row in 0..pooled.height {
                let rows = row * kernel..((row + 1) * kernel).min(height);
                let plane = rows.len() * width * L::N;
                let band = &mut band[..block.channels * plane];
                block.rows::<L>(band, input, rows.clone());
                for (channel, values) in (block.first_channel..).zip(band.chunks_exact(plane)) {
                    let output = &mut output[(channel * pooled.height + row) * pooled_row..][..pooled_row];
                    max_pool_plane::<L>(output, values, (rows.len(), width), pooled.width, kernel, kernel);
                }
            }
        }
    }
}

/// Values that the band of [`conv2d_max_pool`] takes, for each lane.
pub fn band_len(output_width: usize, kernel: usize) -> usize {
    OUTPUTS * kernel * output_width
}

/// Output channels that share a register block.
#[derive(Clone, Copy)]
struct ChannelBlock<'a> {
    geometry: &'a Geometry,
    weights: &'a [[f32; OUTPUTS]],
    bias: &'a [f32; OUTPUTS],
    group: usize,
    first_channel: usize,
    /// At most [`OUTPUTS`].
    channels: usize,
}

impl PackedConv2d {
    /// Its channels in blocks, ascending.
    fn blocks(&self) -> impl Iterator<Item = ChannelBlock<'_>> {
        let geometry = &self.geometry;
        let (k, per_group) = (geometry.k(), geometry.outputs_per_group());
        let blocks = per_group.div_ceil(OUTPUTS);
        self.bias.iter().enumerate().map(move |(index, bias)| {
            let (group, within) = (index / blocks, index % blocks * OUTPUTS);
            ChannelBlock {
                geometry,
                weights: &self.weights[index * k..][..k],
                bias,
                group,
                first_channel: group * per_group + within,
                channels: OUTPUTS.min(per_group - within),
            }
        })
    }
}

impl ChannelBlock<'_> {
    /// The output rows `rows` of the block, `(channels, rows, out_width, L::N)`, from the tile `input`.
    #[inline(always)]
    fn rows<L: Lanes>(self, output: &mut [f32], input: &[f32], rows: Range<usize>) {
        // A constant stride leaves the inner loop one check of bounds instead of one a column.
        match self.geometry.stride {
            1 => self.rows_with_stride::<L>(output, input, rows, 1),
            stride => self.rows_with_stride::<L>(output, input, rows, stride),
        }
    }

    #[inline(always)]
    fn rows_with_stride<L: Lanes>(self, output: &mut [f32], input: &[f32], rows: Range<usize>, stride: usize) {
        let ChannelBlock { geometry, weights, bias, .. } = self;
        let input_group = geometry.channels_per_group() * geometry.input.height * geometry.input.width * L::N;
        let input = &input[self.group * input_group..][..input_group];
        // Columns whose taps are all inside the image: these go in blocks, the others one by one.
        let inner_first = geometry.padding.div_ceil(geometry.stride).min(geometry.output.width);
        let inner_last = match (geometry.input.width + geometry.padding).checked_sub(geometry.kernel) {
            Some(last) => (last / geometry.stride + 1).min(geometry.output.width),
            None => 0,
        };
        // Of 16 registers AVX2 can spare 10 for accumulators; the others have 32.
        let most_columns = if L::N == 8 { 2 } else { 4 };
        let first_row = rows.start;
        let plane = rows.len() * geometry.output.width * L::N;
        for row in rows {
            let mut column = 0;
            while column < geometry.output.width {
                let inner = if column >= inner_first { inner_last.saturating_sub(column) } else { 0 };
                let columns = inner.clamp(1, most_columns);
                let at = Block { row, column, stride, first_row, plane };
                match columns {
                    4 => register_block::<L, 4>(output, input, weights, bias, geometry, at),
                    3 => register_block::<L, 3>(output, input, weights, bias, geometry, at),
                    2 => register_block::<L, 2>(output, input, weights, bias, geometry, at),
                    _ => register_block::<L, 1>(output, input, weights, bias, geometry, at),
                }
                column += columns;
            }
        }
    }
}

/// Where a register block starts, and the stride of the convolution; the output's first row, and how far its channels lie
/// apart.
#[derive(Clone, Copy)]
struct Block {
    row: usize,
    column: usize,
    stride: usize,
    first_row: usize,
    plane: usize,
}

/// Columns `at.column..at.column + COLUMNS` of the output row `at.row`, of at most OUTPUTS channels. With more than one
/// column, all taps of each are inside the image.
#[inline(always)]
fn register_block<L: Lanes, const COLUMNS: usize>(
    output: &mut [f32],
    input: &[f32],
    weights: &[[f32; OUTPUTS]],
    bias: &[f32; OUTPUTS],
    geometry: &Geometry,
    at: Block,
) {
    let (kernel, padding, stride) = (geometry.kernel, geometry.padding, at.stride);
    let (height, width) = (geometry.input.height, geometry.input.width);
    let (row_first, row_last) = taps(geometry, at.row, height);
    let (column_first, column_last) = taps(geometry, at.column, width);
    let n_taps = column_last - column_first;

    let mut sums = [[L::splat(0.0); COLUMNS]; OUTPUTS];
    for output in 0..OUTPUTS {
        sums[output] = [L::splat(bias[output]); COLUMNS];
    }
    if n_taps > 0 {
        let left = at.column * stride + column_first - padding;
        let span = (n_taps + (COLUMNS - 1) * stride) * L::N;
        for channel in 0..geometry.channels_per_group() {
            for tap_row in row_first..row_last {
                let top = at.row * stride + tap_row - padding;
                let values = &input[((channel * height + top) * width + left) * L::N..][..span];
                let weights = &weights[(channel * kernel + tap_row) * kernel + column_first..][..n_taps];
                for (tap, weights) in weights.iter().enumerate() {
                    let mut x = [L::splat(0.0); COLUMNS];
                    let values = &values[tap * L::N..][..((COLUMNS - 1) * stride + 1) * L::N];
                    for column in 0..COLUMNS {
                        x[column] = L::load(&values[column * stride * L::N..]);
                    }
                    for output in 0..OUTPUTS {
                        let weight = L::splat(weights[output]);
                        for column in 0..COLUMNS {
                            sums[output][column] = x[column].mul_add(weight, sums[output][column]);
                        }
                    }
                }
            }
        }
    }
    let Block { plane, first_row, .. } = at;
    // Constant bounds: indexed by a variable, the accumulators would live in memory, not in registers.
    for channel in 0..OUTPUTS {
        if channel * plane < output.len() {
            let place = ((at.row - first_row) * geometry.output.width + at.column) * L::N;
            let values = &mut output[channel * plane + place..][..COLUMNS * L::N];
            for column in 0..COLUMNS {
                sums[channel][column].store(&mut values[column * L::N..]);
            }
        }
    }
}
