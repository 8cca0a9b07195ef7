//! The steps of a graph of layers over one image, each in units that write a range of channel blocks of its output.

use super::layout::Layout;
use super::products::{Column, Packed, Sums, Terms, VECTORS};
use crate::network::{Operation, Parameters, Shape, Window};
use crate::simd::{Aligned, Lanes, Vectorised};
use std::ops::Range;

/// A layer, or two, ready to run.
#[derive(Debug)]
pub enum Step {
    /// A convolution, or a dense layer over one image, and the rectifier that follows it.
    Products(Box<Products>),
    Relu,
    MaxPool(Window),
    AveragePool {
        window: Window,
        count_padding: bool,
    },
    Lrn {
        size: usize,
        alpha: f32,
        k: f32,
    },
    Concat,
}

/// What [`Step::Products`] needs.
#[derive(Debug)]
pub struct Products {
    packed: Packed,
    /// One a group.
    terms: Vec<Terms>,
    columns: Vec<Column>,
    relu: bool,
}

impl Products {
    /// A convolution, or a dense layer, as `operation` says.
    pub fn new(operation: Operation, parameters: &Parameters, relu: bool, from: Layout, to: Layout) -> Products {
        let (mut terms, mut columns) = (Vec::new(), Vec::new());
        let (k, groups);
        match operation {
            Operation::Conv2d { kernel, stride, padding, groups: n, .. } => {
                let per_group = from.shape.channels / n;
                (k, groups) = (per_group * kernel * kernel, n);
                let taps = |channel: usize| (0..kernel * kernel).map(move |tap| (channel, tap / kernel, tap % kernel));
                for group in 0..n {
                    // From the upper left corner of the border, which may be wider than this padding.
                    let offset =
                        |(channel, y, x): (usize, usize, usize)| (from.at(channel, y, x) - from.position(0, 0)) as u32;
                    terms.push(Terms::new(
                        (group * per_group..(group + 1) * per_group).flat_map(taps).map(offset).collect(),
                    ));
                }
                for y in 0..to.shape.height {
                    for x in 0..to.shape.width {
                        let (up, left) = (y * stride + from.border - padding, x * stride + from.border - padding);
                        let base = up * from.row() + left * from.lanes;
                        columns.push(Column { base: base as u32, sums: to.position(y, x) as u32 });
                    }
                }
            }
            _ => {
                let Shape { channels, height, width } = from.shape;
                (k, groups) = (from.shape.len(), 1);
                let places =
                    (0..channels * height).flat_map(|row| (0..width).map(move |x| (row / height, row % height, x)));
                terms.push(Terms::new(places.map(|(c, y, x)| from.at(c, y, x) as u32).collect()));
                columns.push(Column { base: 0, sums: to.position(0, 0) as u32 });
            }
        }
        Products { packed: Packed::new(parameters, k, groups, to.lanes), terms, columns, relu }
    }

    /// Memory beyond that of the packed weights.
    pub fn table_bytes(k: usize, groups: usize, to: Shape) -> usize {
        groups * (k * size_of::<u32>() + size_of::<Terms>()) + to.height * to.width * size_of::<Column>()
    }

    /// Whether every block of outputs begins with a block of channels, so that it can be written as it is.
    fn is_aligned(&self, lanes: usize) -> bool {
        self.packed.outputs().iter().all(|outputs| outputs.start.is_multiple_of(lanes))
    }

    #[inline(always)]
    fn sums<L: Lanes>(&self, block: usize, input: &[f32], output: &mut [f32], vector: usize) {
        let group = block * self.terms.len() / self.packed.outputs().len();
        for k in self.packed.k_blocks() {
            let sums = Sums {
                packed: &self.packed,
                block,
                k,
                terms: &self.terms[group],
                columns: &self.columns,
                input,
                output: &mut *output,
                vector,
                relu: self.relu,
            };
            sums.run::<L>();
        }
    }
}

impl Step {
    /// The channel blocks of the output that each unit writes, ascending and without a gap.
    pub fn units(&self, to: Layout) -> Vec<Range<usize>> {
        match self {
            Step::Products(products) if products.is_aligned(to.lanes) => {
                let outputs = products.packed.outputs().iter();
                outputs.map(|outputs| outputs.start / to.lanes..outputs.end.div_ceil(to.lanes)).collect()
            }
            Step::Products(_) => std::iter::once(0..to.blocks()).collect(),
            _ => (0..to.blocks()).map(|block| block..block + 1).collect(),
        }
    }
}

/// One unit of a step.
pub struct Unit<'a> {
    pub step: &'a Step,
    /// Which of [`Step::units`].
    pub index: usize,
    /// Its channel blocks.
    pub blocks: Range<usize>,
    pub inputs: &'a [(Layout, &'a [f32])],
    pub to: Layout,
    /// Those blocks of the output.
    pub output: &'a mut [f32],
}

impl Vectorised for Unit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Unit { step, index, blocks, inputs, to, output } = self;
        debug_assert_eq!(to.lanes, L::N);
        // The border and the lanes past the last channel, which not every step writes.
        if to.border > 0 || !to.shape.channels.is_multiple_of(L::N) {
            output.fill(0.0);
        }
        let (from, input) = inputs[0];
        let block = blocks.start;
        let own = block * from.block()..(block + 1) * from.block();
        match step {
            Step::Products(products) => products.unit::<L>(index, input, output, to),
            Step::Relu => relu::<L>(output, to, &input[own], from),
            Step::MaxPool(window) => pool::<L, true>(output, to, &input[own], from, *window, false),
            Step::AveragePool { window, count_padding } => {
                pool::<L, false>(output, to, &input[own], from, *window, *count_padding);
            }
            Step::Lrn { size, alpha, k } => lrn::<L>(output, to, block, input, from, (*size, *alpha, *k)),
            Step::Concat => concat::<L>(output, to, block, inputs),
        }
    }
}

impl Products {
    /// The outputs of block `index`; of all blocks, where they do not begin with a block of channels.
    #[inline(always)]
    fn unit<L: Lanes>(&self, index: usize, input: &[f32], output: &mut [f32], to: Layout) {
        let vector = to.block();
        if self.is_aligned(L::N) {
            return self.sums::<L>(index, input, output, vector);
        }
        // By way of memory of their own, lane by lane.
        let mut own = Aligned::zeros(VECTORS * vector);
        for (block, outputs) in self.packed.outputs().iter().enumerate() {
            self.sums::<L>(block, input, &mut own, vector);
            for (lane, channel) in outputs.clone().enumerate() {
                let (from, to) = (lane / L::N * vector + lane % L::N, channel / L::N * vector + channel % L::N);
                for column in &self.columns {
                    output[to + column.sums as usize] = own[from + column.sums as usize];
                }
            }
        }
    }
}

/// The rectifier, of one block of channels.
#[inline(always)]
fn relu<L: Lanes>(output: &mut [f32], to: Layout, input: &[f32], from: Layout) {
    for y in 0..to.shape.height {
        let row = &input[from.position(y, 0)..][..from.shape.width * L::N];
        let output = &mut output[to.position(y, 0)..][..row.len()];
        for (value, output) in row.chunks_exact(L::N).zip(output.chunks_exact_mut(L::N)) {
            L::load(value).max(L::splat(0.0)).store(output);
        }
    }
}

/// The largest value of each window, or with `MAX` false the mean: see [`Operation`].
#[inline(always)]
fn pool<L: Lanes, const MAX: bool>(
    output: &mut [f32],
    to: Layout,
    input: &[f32],
    from: Layout,
    window: Window,
    count_padding: bool,
) {
    for y in 0..to.shape.height {
        let (top, bottom, padded_rows) = window.span(y, from.shape.height);
        for x in 0..to.shape.width {
            let (left, right, padded_columns) = window.span(x, from.shape.width);
            let mut best = L::load(&input[from.position(top, left)..]);
            let mut sum = L::splat(0.0);
            for row in top..bottom {
                let values = &input[from.position(row, left)..][..(right - left) * L::N];
                for value in values.chunks_exact(L::N) {
                    if MAX {
                        best = L::load(value).max(best);
                    } else {
                        sum = sum.add(L::load(value));
                    }
                }
            }
            if !MAX {
                let n = if count_padding { padded_rows * padded_columns } else { (bottom - top) * (right - left) };
                best = sum.div(L::splat(n as f32));
            }
            best.store(&mut output[to.position(y, x)..]);
        }
    }
}

/// The most channels on one side of a channel that [`Operation::Lrn`] looks at.
const MAX_SIDE: usize = 31;

/// Local response normalisation of channel block `block`: see [`Operation::Lrn`].
#[inline(always)]
fn lrn<L: Lanes>(
    output: &mut [f32],
    to: Layout,
    block: usize,
    input: &[f32],
    from: Layout,
    (size, alpha, k): (usize, f32, f32),
) {
    let (scale, k, side) = (L::splat(alpha / size as f32), L::splat(k), size / 2);
    // Blocks on each side; a position's channels in a row, 0 where there are none.
    let n = side.div_ceil(L::N);
    let mut channels = [0.0; MAX_SIDE.next_multiple_of(16) * 2 + 16];
    for y in 0..to.shape.height {
        for x in 0..to.shape.width {
            let place = from.position(y, x);
            for at in 0..=2 * n {
                if let Some(source) = (block + at).checked_sub(n).filter(|&source| source < from.blocks()) {
                    L::load(&input[source * from.block() + place..]).store(&mut channels[at * L::N..]);
                }
            }
            let first = n * L::N - side;
            let mut sum = L::splat(0.0);
            for at in 0..size {
                let value = L::load(&channels[first + at..]);
                sum = value.mul_add(value, sum);
            }
            let root = scale.mul_add(sum, k).sqrt();
            let value = L::load(&channels[n * L::N..]);
            value.div(root.mul(root.sqrt())).store(&mut output[to.position(y, x)..]);
        }
    }
}

/// Channel block `block` of all inputs' channels, one input after the other.
#[inline(always)]
fn concat<L: Lanes>(output: &mut [f32], to: Layout, block: usize, inputs: &[(Layout, &[f32])]) {
    let Shape { height, width, .. } = to.shape;
    let mut first = 0; // of an input, among the output's channels
    for &(from, input) in inputs {
        let range = (block * L::N).max(first)..((block + 1) * L::N).min(first + from.shape.channels);
        let is_whole = first.is_multiple_of(L::N) && (range.len() == L::N || range.end == to.shape.channels);
        if is_whole && !range.is_empty() {
            let input = &input[(range.start - first) / L::N * from.block()..][..from.block()];
            for y in 0..height {
                output[to.position(y, 0)..][..width * L::N]
                    .copy_from_slice(&input[from.position(y, 0)..][..width * L::N]);
            }
        } else {
            for channel in range {
                for y in 0..height {
                    let (source, target) = (from.at(channel - first, y, 0), to.position(y, 0) + channel % L::N);
                    for x in 0..width {
                        output[target + x * L::N] = input[source + x * L::N];
                    }
                }
            }
        }
        first += from.shape.channels;
    }
}
