//! A convolution of any stride, padding and groups, backward to its input, over tiles of images.
//!
//! ```text
//! out  input gradient   (channels, height, width, L::N) f32 a tile, lane = image
//! in   output gradient  (out_channels, out_height, out_width, L::N) f32 a tile
//!      weights          as [`Conv2dInputGradient::pack`] orders them
//! ```
//!
//! Along an axis, input position i, counted with the padding, `q = i + padding = a * stride + r`, meets outputs o by taps
//! `(a - o) * stride + r`: positions of one phase r, by themselves, are what a convolution of stride 1 makes of the output gradient, with
//! every stride-th tap from r on, turned round. So each phase of rows and columns is such a convolution, written where it belongs.
//!
//! Mapping   a register block is OUT channels x some neighbouring columns of a phase of an input row; where the kernel reaches over the
//!           border of the output, each term asks for its columns. OUT is 5 as forward, or 1 where a group has few channels: 1 x 10
//!           loads as much as it multiplies, but wastes nothing on channels that are not there.
//! Numbers   one accumulator an element, from +0, over (output channel, row, column) ascending, fused; terms outside the output and taps
//!           that a phase does not have are left out. Exact: the same bits at every width and tile.

use std::ops::Range;

use crate::backend::cpu::conv2d::Geometry;
use crate::network::Parameters;
use crate::simd::Lanes;

/// Channels of a register block where a group has at least [`FEW`]; LeNet's 20 are a multiple.
const MANY: usize = 5;
const FEW: usize = 4;

/// Columns of a register block at the border, and where fewer are left than a full one has.
const EDGE: usize = 4;

/// What the input gradient of a convolution needs.
#[derive(Clone, Debug)]
pub struct Conv2dInputGradient {
    geometry: Geometry,
    /// Channels of a register block: [`MANY`] or 1.
    block: usize,
    /// `(blocks, row phases, column phases, output channels of the group, row taps, column taps, block)`: taps of a phase, last first;
    /// the channels past a group's last are 0 and never stored.
    weights: Vec<f32>,
}

impl Conv2dInputGradient {
    /// Packs `parameters`, of the shapes that `geometry` says.
    pub fn new(geometry: Geometry, parameters: &Parameters) -> Conv2dInputGradient {
        let block = Self::block(&geometry);
        let weights = vec![0.0; Self::len(&geometry)];
        let mut gradient = Conv2dInputGradient { geometry, block, weights };
        gradient.pack(parameters);
        gradient
    }

    fn block(geometry: &Geometry) -> usize {
        if geometry.channels_per_group() < FEW { 1 } else { MANY }
    }

    /// Values of the packed weights.
    fn len(geometry: &Geometry) -> usize {
        let block = Self::block(geometry);
        let blocks = geometry.groups * geometry.channels_per_group().div_ceil(block);
        blocks * geometry.outputs_per_group() * geometry.kernel * geometry.kernel * block
    }

    /// Memory that the packed weights take.
    pub fn bytes(geometry: &Geometry) -> usize {
        Self::len(geometry) * size_of::<f32>()
    }

    /// Takes other parameters of the same shapes, without allocating.
    pub fn pack(&mut self, parameters: &Parameters) {
        let Geometry { kernel, stride, groups, .. } = self.geometry;
        let (inputs, outputs) = (self.geometry.channels_per_group(), self.geometry.outputs_per_group());
        let mut at = 0;
        for group in 0..groups {
            for first in (0..inputs).step_by(self.block) {
                let n = self.block.min(inputs - first);
                for (row, column) in (0..stride).flat_map(|row| (0..stride).map(move |column| (row, column))) {
                    for output in group * outputs..(group + 1) * outputs {
                        for tap_row in (row..kernel).step_by(stride).rev() {
                            for tap_column in (column..kernel).step_by(stride).rev() {
                                let tap = tap_row * kernel + tap_column;
                                for lane in 0..n {
                                    let weight = (output * inputs + first + lane) * kernel * kernel + tap;
                                    self.weights[at + lane] = parameters.weight[weight];
                                }
                                at += self.block;
                            }
                        }
                    }
                }
            }
        }
        debug_assert_eq!(at, self.weights.len());
    }

    /// What the convolution reads and writes, forward.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// How many register blocks the channels make.
    pub fn n_blocks(&self) -> usize {
        self.geometry.groups * self.geometry.channels_per_group().div_ceil(self.block)
    }

    /// The channels of the register blocks `blocks`, at least one.
    pub fn channels(&self, blocks: Range<usize>) -> Range<usize> {
        let inputs = self.geometry.channels_per_group();
        let of_group = inputs.div_ceil(self.block);
        let first = |block: usize| block / of_group * inputs + block % of_group * self.block;
        first(blocks.start)..first(blocks.end)
    }

    /// Writes the gradients of the channels of `blocks` of one tile: `input_gradient` holds their rows `rows` alone, all rows where there is
    /// more than one block.
    #[inline(always)]
    pub fn run<L: Lanes>(
        &self,
        input_gradient: &mut [f32],
        output_gradient: &[f32],
        blocks: Range<usize>,
        rows: Range<usize>,
    ) {
        let geometry = &self.geometry;
        let first = self.channels(blocks.clone()).start;
        let of_group = geometry.channels_per_group().div_ceil(self.block);
        let group_len = geometry.output.len() / geometry.groups * L::N;
        let plane = rows.len() * geometry.input.width * L::N;
        let block_weights = self.weights.len() / self.n_blocks();
        for block in blocks {
            let channels = self.channels(block..block + 1);
            let one = Block {
                geometry,
                weights: &self.weights[block * block_weights..][..block_weights],
                gradient: &output_gradient[block / of_group * group_len..][..group_len],
                channels: channels.len(),
                rows: rows.clone(),
            };
            let output = &mut input_gradient[(channels.start - first) * plane..][..channels.len() * plane];
            match (self.block, L::N) {
                (1, _) => one.run::<L, 1, 10>(output),
                // Of 16 registers AVX2 can spare 10 for accumulators.
                (_, 8) => one.run::<L, MANY, 2>(output),
                _ => one.run::<L, MANY, 4>(output),
            }
        }
    }
}

/// Channels that share a register block.
struct Block<'a> {
    geometry: &'a Geometry,
    weights: &'a [f32],
    /// Of the group's output channels.
    gradient: &'a [f32],
    /// At most OUT.
    channels: usize,
    /// The rows of the input that are written.
    rows: Range<usize>,
}

/// The terms of a row of the input.
struct Terms<'a> {
    /// `(output channels, row taps, column taps, OUT)`
    weights: &'a [f32],
    row_taps: usize,
    column_taps: usize,
    /// The row taps that meet an output row, and the first of these rows.
    taps: Range<usize>,
    first_row: usize,
}

impl Block<'_> {
    #[inline(always)]
    fn run<L: Lanes, const OUT: usize, const COLUMNS: usize>(self, output: &mut [f32]) {
        let Geometry { kernel, stride, padding, .. } = *self.geometry;
        let (from, to) = (self.geometry.input, self.geometry.output);
        let outputs = self.geometry.outputs_per_group();
        let taps = |phase: usize| (kernel.saturating_sub(phase)).div_ceil(stride);
        for row in self.rows.clone() {
            let (a, row_phase) = ((row + padding) / stride, (row + padding) % stride);
            let row_taps = taps(row_phase);
            let first_tap = row_taps.saturating_sub(a + 1);
            let valid = first_tap..row_taps.min((to.height + row_taps).saturating_sub(a + 1));
            // The taps of all phases of rows before this one, and of all column phases together, are kernel * kernel.
            let before: usize = (0..row_phase).map(taps).sum::<usize>() * kernel;
            let mut weights = &self.weights[before * outputs * OUT..];
            for column_phase in 0..stride {
                let column_taps = taps(column_phase);
                let terms = Terms {
                    weights: &weights[..outputs * row_taps * column_taps * OUT],
                    row_taps,
                    column_taps,
                    first_row: (a + 1 + valid.start).saturating_sub(row_taps),
                    taps: valid.clone(),
                };
                weights = &weights[outputs * row_taps * column_taps * OUT..];
                let first = padding.saturating_sub(column_phase).div_ceil(stride);
                let end = (from.width + padding).saturating_sub(column_phase).div_ceil(stride);
                // Where every tap meets an output.
                let inner = column_taps.saturating_sub(1)..to.width;
                let mut at = first;
                while at < end {
                    if at >= inner.start && at + COLUMNS <= inner.end.min(end) {
                        let sums = self.sums::<L, OUT, COLUMNS, false>(&terms, at, COLUMNS);
                        self.store::<L, OUT, COLUMNS>(output, &sums, row, column_phase, at, COLUMNS);
                        at += COLUMNS;
                    } else {
                        // Up to where the full ones can begin, if that is near.
                        let wanted = if at < inner.start && inner.start < end { inner.start - at } else { end - at };
                        let n = wanted.min(EDGE);
                        let sums = self.sums::<L, OUT, EDGE, true>(&terms, at, n);
                        self.store::<L, OUT, EDGE>(output, &sums, row, column_phase, at, n);
                        at += n;
                    }
                }
            }
        }
    }

    /// The accumulators of `n` columns from `at` on of a phase. Without `BORDER` all `COLUMNS` are there, and meet outputs with every tap.
    #[inline(always)]
    fn sums<L: Lanes, const OUT: usize, const COLUMNS: usize, const BORDER: bool>(
        &self,
        terms: &Terms,
        at: usize,
        n: usize,
    ) -> [[L; COLUMNS]; OUT] {
        let (height, width) = (self.geometry.output.height, self.geometry.output.width);
        let Terms { row_taps, column_taps, .. } = *terms;
        let mut sums = [[L::splat(0.0); COLUMNS]; OUT];
        if terms.taps.is_empty() || column_taps == 0 {
            return sums;
        }
        let planes = self.gradient.chunks_exact(height * width * L::N);
        for (plane, weights) in planes.zip(terms.weights.chunks_exact(row_taps * column_taps * OUT)) {
            let rows = plane[terms.first_row * width * L::N..].chunks_exact(width * L::N);
            let weights = weights[terms.taps.start * column_taps * OUT..terms.taps.end * column_taps * OUT]
                .chunks_exact(column_taps * OUT);
            for (row, weights) in rows.zip(weights) {
                if BORDER {
                    for (tap, weights) in weights.chunks_exact(OUT).enumerate() {
                        #[allow(clippy::needless_range_loop)] // constant bounds keep the accumulators in registers
                        for column in 0..COLUMNS {
                            // The output at + column - (column_taps - 1) + tap, if there is such a one.
                            let place = (at + column + tap).wrapping_sub(column_taps - 1);
                            if column < n && place < width {
                                let gradient = L::load(&row[place * L::N..]);
                                for output in 0..OUT {
                                    sums[output][column] =
                                        gradient.mul_add(L::splat(weights[output]), sums[output][column]);
                                }
                            }
                        }
                    }
                } else {
                    let row = &row[(at + 1 - column_taps) * L::N..][..(column_taps + COLUMNS - 1) * L::N];
                    for (tap, weights) in weights.chunks_exact(OUT).enumerate() {
                        let row = &row[tap * L::N..][..COLUMNS * L::N];
                        let mut gradient = [L::splat(0.0); COLUMNS];
                        for column in 0..COLUMNS {
                            gradient[column] = L::load(&row[column * L::N..]);
                        }
                        for output in 0..OUT {
                            let weight = L::splat(weights[output]);
                            for column in 0..COLUMNS {
                                sums[output][column] = gradient[column].mul_add(weight, sums[output][column]);
                            }
                        }
                    }
                }
            }
        }
        sums
    }

    /// Writes `n` columns of the phase `phase` of the input row `row`, from `at` on.
    #[inline(always)]
    fn store<L: Lanes, const OUT: usize, const COLUMNS: usize>(
        &self,
        output: &mut [f32],
        sums: &[[L; COLUMNS]; OUT],
        row: usize,
        phase: usize,
        at: usize,
        n: usize,
    ) {
        let Geometry { stride, padding, .. } = *self.geometry;
        let width = self.geometry.input.width;
        let left = at * stride + phase - padding;
        // Constant bounds: indexed by a variable, the accumulators would live in memory, not in registers.
        for (channel, sums) in sums.iter().enumerate() {
            if channel < self.channels {
                let start = (channel * self.rows.len() + row - self.rows.start) * width + left;
                for column in 0..COLUMNS {
                    if column < n {
                        sums[column].store(&mut output[(start + column * stride) * L::N..]);
                    }
                }
            }
        }
    }
}
