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

    /// Whether a pooling with such windows halves the output exactly, and the output has no border of padding: what
    /// [`conv2d_max_pool`] can do.
    pub fn halves(&self, pool_kernel: usize, pool_stride: usize) -> bool {
        let Shape { height, width, .. } = self.output;
        (pool_kernel, pool_stride, self.padding) == (2, 2, 0) && height.is_multiple_of(2) && width.is_multiple_of(2)
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
    blocks::<L, false>(output, input, layer, layer.geometry.output);
}

/// Convolves every tile of `input` and pools the result in registers, so that it never exists in memory. As [`conv2d`] and then
/// [`max_pool`](super::max_pool::max_pool) with windows of 2 x 2 side by side, where the layer [halves](Geometry::halves).
#[inline(always)]
pub fn conv2d_max_pool<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedConv2d) {
    let geometry = &layer.geometry;
    assert!(geometry.halves(2, 2));
    let Shape { channels, height, width } = geometry.output;
    blocks::<L, true>(output, input, layer, Shape { channels, height: height / 2, width: width / 2 });
}

/// The channels of the register blocks `blocks`, [`PackedConv2d::channels`], of one tile: `output` holds them alone.
#[inline(always)]
pub fn conv2d_blocks<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedConv2d, blocks: Range<usize>) {
    let geometry = &layer.geometry;
    let first = layer.channels(blocks.clone()).start;
    for block in layer.blocks().skip(blocks.start).take(blocks.len()) {
        block.run::<L, false>(output, input, geometry.output, first);
    }
}

/// Every block of channels of every tile; an image's output is of the shape `output_shape`, pooled if `POOL`.
#[inline(always)]
fn blocks<L: Lanes, const POOL: bool>(output: &mut [f32], input: &[f32], layer: &PackedConv2d, output_shape: Shape) {
    let geometry = &layer.geometry;
    let (input_len, output_len) = (geometry.input.len() * L::N, output_shape.len() * L::N);
    assert_eq!(input.len() % input_len, 0);
    assert_eq!(input.len() / input_len * output_len, output.len());
    for (output, input) in output.chunks_exact_mut(output_len).zip(input.chunks_exact(input_len)) {
        for block in layer.blocks() {
            block.run::<L, POOL>(output, input, output_shape, 0);
        }
    }
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
    /// How many register blocks its channels make.
    pub fn n_blocks(&self) -> usize {
        self.bias.len()
    }

    /// The channels of the register blocks `blocks`, at least one.
    pub fn channels(&self, blocks: Range<usize>) -> Range<usize> {
        let per_group = self.geometry.outputs_per_group();
        let of_group = per_group.div_ceil(OUTPUTS);
        let first = |block: usize| block / of_group * per_group + block % of_group * OUTPUTS;
        first(blocks.start)..first(blocks.end)
    }

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
    /// The block's channels of one tile. `output` begins with channel `first`; an image's output is of the shape `output_shape`.
    #[inline(always)]
    fn run<L: Lanes, const POOL: bool>(self, output: &mut [f32], input: &[f32], output_shape: Shape, first: usize) {
        let geometry = self.geometry;
        let input_group = geometry.input.len() * L::N / geometry.groups;
        let plane = output_shape.height * output_shape.width * L::N;
        let input = &input[self.group * input_group..][..input_group];
        let output = &mut output[(self.first_channel - first) * plane..][..self.channels * plane];
        // Constants let the compiler unroll the taps of LeNet's kernel, and leave others one check of bounds a tap.
        match (geometry.kernel, geometry.stride) {
            (5, 1) => self.rows::<L, POOL>(output, input, 5, 1),
            (kernel, 1) => self.rows::<L, POOL>(output, input, kernel, 1),
            (kernel, stride) => self.rows::<L, POOL>(output, input, kernel, stride),
        }
    }

    /// The block's channels, `(channels, height, width, L::N)`, pooled if `POOL`, from those of `input` that it sees. `kernel`
    /// and `stride` are the layer's.
    #[inline(always)]
    fn rows<L: Lanes, const POOL: bool>(self, output: &mut [f32], input: &[f32], kernel: usize, stride: usize) {
        let Geometry { input: from, output: to, padding, .. } = *self.geometry;
        // Columns whose taps are all inside the image: these go in blocks, the others one by one.
        let inner_first = padding.div_ceil(stride).min(to.width);
        let inner_last = match (from.width + padding).checked_sub(kernel) {
            Some(last) => (last / stride + 1).min(to.width),
            None => 0,
        };
        // Of 16 registers AVX2 can spare 10 for accumulators; the others have 32.
        let most_columns = if L::N == 8 { 2 } else { 4 };
        for row in 0..to.height {
            let mut column = 0;
            while column < to.width {
                let inner = if column >= inner_first { inner_last.saturating_sub(column) } else { 0 };
                let columns = inner.clamp(1, most_columns);
                let at = Place { row, column, kernel, stride };
                match columns {
                    4 => self.register_block::<L, 4, POOL>(output, input, at),
                    3 => self.register_block::<L, 3, POOL>(output, input, at),
                    2 => self.register_block::<L, 2, POOL>(output, input, at),
                    _ => self.register_block::<L, 1, POOL>(output, input, at),
                }
                column += columns;
            }
        }
    }

    /// `COLUMNS` neighbouring outputs of each channel. With more than one, all taps of each are inside the image's width.
    #[inline(always)]
    fn register_block<L: Lanes, const COLUMNS: usize, const POOL: bool>(
        self,
        output: &mut [f32],
        input: &[f32],
        at: Place,
    ) {
        let sums = self.sums::<L, COLUMNS>(input, at);
        let Shape { height, width, .. } = self.geometry.output;
        // Constant bounds: indexed by a variable, the accumulators would live in memory, not in registers.
        for (channel, sums) in sums.iter().enumerate() {
            if channel < self.channels {
                if POOL {
                    let place = (channel * (height / 2) + at.row / 2) * (width / 2) + at.column / 2;
                    let pooled = &mut output[place * L::N..][..COLUMNS / 2 * L::N];
                    pool::<L, COLUMNS>(pooled, sums, at.row.is_multiple_of(2));
                } else {
                    let place = (channel * height + at.row) * width + at.column;
                    let values = &mut output[place * L::N..][..COLUMNS * L::N];
                    for column in 0..COLUMNS {
                        sums[column].store(&mut values[column * L::N..]);
                    }
                }
            }
        }
    }

    /// The accumulators of a register block.
    #[inline(always)]
    fn sums<L: Lanes, const COLUMNS: usize>(self, input: &[f32], at: Place) -> [[L; COLUMNS]; OUTPUTS] {
        let Place { row, column, kernel, stride } = at;
        let (geometry, padding) = (self.geometry, self.geometry.padding);
        let Shape { height, width, .. } = geometry.input;
        let (row_first, row_last) = taps(geometry, row, height);
        let (column_first, column_last) = if COLUMNS > 1 { (0, kernel) } else { taps(geometry, column, width) };
        let n_taps = column_last - column_first;

        let mut sums = [[L::splat(0.0); COLUMNS]; OUTPUTS];
        for (sums, &bias) in sums.iter_mut().zip(self.bias) {
            *sums = [L::splat(bias); COLUMNS];
        }
        if n_taps > 0 {
            let left = column * stride + column_first - padding;
            let span = (n_taps + (COLUMNS - 1) * stride) * L::N;
            let channels = self.weights.chunks_exact(kernel * kernel).zip(input.chunks_exact(height * width * L::N));
            for (weights, values) in channels {
                for tap_row in row_first..row_last {
                    let top = row * stride + tap_row - padding;
                    let values = &values[(top * width + left) * L::N..][..span];
                    let weights = &weights[tap_row * kernel + column_first..][..n_taps];
                    for (tap, weights) in weights.iter().enumerate() {
                        let values = &values[tap * L::N..][..((COLUMNS - 1) * stride + 1) * L::N];
                        let mut x = [L::splat(0.0); COLUMNS];
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
        sums
    }
}

/// Where a register block starts in the output, and the layer's kernel and stride: constants, where they were.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    kernel: usize,
    stride: usize,
}

/// Pools pairs of `values`, which are of a window's first row or of its second: then `pooled` holds what the first made of them.
#[inline(always)]
fn pool<L: Lanes, const COLUMNS: usize>(pooled: &mut [f32], values: &[L; COLUMNS], is_first: bool) {
    for (pair, pooled) in pooled.chunks_exact_mut(L::N).enumerate() {
        let (left, right) = (values[2 * pair], values[2 * pair + 1]);
        let best = if is_first { left } else { left.max(L::load(pooled)) };
        right.max(best).store(pooled);
    }
}
