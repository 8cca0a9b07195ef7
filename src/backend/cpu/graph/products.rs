//! Sums of products: the inner loop of convolutions and dense layers over images that fill no tile.
//!
//! ```text
//! out  sums     (VECTORS, columns, L::N) f32, lane = output channel or feature
//! in   weights  (blocks of outputs, k, VECTORS, L::N) f32, what pads the last block is 0; bias (blocks, VECTORS, L::N)
//!      input    f32; term k of column j is input[column j's base + offset k]
//! ```
//!
//! A column is a position of a convolution's output, or an image of a dense layer. Base and offset say where its terms are, so
//! that no copy of the input (im2col) is made.
//!
//! Mapping   a register block is VECTORS vectors of outputs x 6 columns (10 with the 32 registers of AVX-512: 12 would take more
//!           addresses than x86 has registers for); per step of k it loads a vector of weights for each vector and broadcasts
//!           one input value a column. k goes in blocks whose weights stay in the first-level cache while all columns pass;
//!           between blocks the sums are in memory.
//! Numbers   one accumulator per output, from the bias, k ascending, fused. Exact: the same bits at every width.

use crate::network::Parameters;
use crate::simd::{Aligned, Lanes};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

/// Vectors of outputs of a register block.
pub const VECTORS: usize = 2;

/// Bytes of weights of a block of k: half of a first-level cache of 32 KiB.
const BLOCK_BYTES: usize = 16 << 10;

/// The weights of a convolution or dense layer in the order in which the kernel reads them.
#[derive(Debug)]
pub struct Packed {
    k: usize,
    width: usize,
    /// Outputs of each block: first and end. A block has outputs of one group.
    outputs: Vec<Range<usize>>,
    weights: Aligned,
    bias: Aligned,
}

impl Packed {
    /// Packs `parameters`, weights `(outputs, k)`, whose outputs form `groups` groups, for vectors of `width` lanes.
    pub fn new(parameters: &Parameters, k: usize, groups: usize, width: usize) -> Packed {
        let lanes = VECTORS * width;
        let outputs = blocks(parameters.bias.len(), groups, lanes);
        let mut weights = Aligned::zeros(outputs.len() * k * lanes);
        let mut bias = Aligned::zeros(outputs.len() * lanes);
        let packed = weights.par_chunks_mut(k * lanes).zip(bias.par_chunks_mut(lanes)).zip(&outputs);
        packed.for_each(|((weights, bias), outputs)| {
            for (lane, output) in outputs.clone().enumerate() {
                // + 0: a bias of -0 counts as 0, so that a sum that starts from it does not tell whether the padding's terms,
                // which are 0, were added.
                bias[lane] = parameters.bias[output] + 0.0;
                for (at, &weight) in parameters.weight[output * k..][..k].iter().enumerate() {
                    weights[at * lanes + lane] = weight;
                }
            }
        });
        Packed { k, width, outputs, weights, bias }
    }

    /// Memory that the packed weights and biases of `n_outputs` take.
    pub fn bytes(n_outputs: usize, k: usize, groups: usize, width: usize) -> usize {
        let lanes = VECTORS * width;
        let blocks = groups * (n_outputs / groups).div_ceil(lanes);
        Aligned::bytes(blocks * k * lanes) + Aligned::bytes(blocks * lanes) + blocks * size_of::<Range<usize>>()
    }

    /// Products in a sum.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The outputs of each block.
    pub fn outputs(&self) -> &[Range<usize>] {
        &self.outputs
    }

    /// The blocks of k.
    pub fn k_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = BLOCK_BYTES / (VECTORS * self.width * size_of::<f32>());
        let k = self.k;
        let each = k.div_ceil(k.div_ceil(most));
        (0..k).step_by(each).map(move |first| first..(first + each).min(k))
    }
}

/// `0..n_outputs` in blocks of at most `lanes`, none with outputs of two groups.
fn blocks(n_outputs: usize, groups: usize, lanes: usize) -> Vec<Range<usize>> {
    let per_group = n_outputs / groups;
    let starts = (0..groups).flat_map(|group| {
        (0..per_group).step_by(lanes).map(move |first| (group * per_group + first, (group + 1) * per_group))
    });
    starts.map(|(first, end)| first..(first + lanes).min(end)).collect()
}

/// Where each term of a sum is, counted from its column's base.
#[derive(Debug)]
pub struct Terms {
    offsets: Vec<u32>,
    /// The largest of them.
    reach: u32,
}

impl Terms {
    /// Terms at `offsets`, at least one.
    pub fn new(offsets: Vec<u32>) -> Terms {
        let reach = *offsets.iter().max().expect("a sum has a term");
        Terms { offsets, reach }
    }
}

/// Where the terms of a column are, and its sums.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Of the first term, in the input.
    pub base: u32,
    /// Of the sums of the first vector, in the output; those of the next are `Sums::vector` values on.
    pub sums: u32,
}

/// Some outputs of a layer, over all columns and one block of k.
pub struct Sums<'a> {
    pub packed: &'a Packed,
    /// Which block of outputs.
    pub block: usize,
    /// Which block of k. The first starts from the bias, the others from what is in `output`.
    pub k: Range<usize>,
    /// Of the whole layer.
    pub terms: &'a Terms,
    pub columns: &'a [Column],
    pub input: &'a [f32],
    pub output: &'a mut [f32],
    /// From the sums of one vector to those of the next.
    pub vector: usize,
    /// Whether the last block of k ends in a rectifier.
    pub relu: bool,
}

impl Sums<'_> {
    /// Adds the products of the block.
    #[inline(always)]
    pub fn run<L: Lanes>(mut self) {
        match self.packed.outputs[self.block].len().div_ceil(L::N) {
            1 => self.vectors::<L, 1>(),
            _ => self.vectors::<L, VECTORS>(),
        }
    }

    #[inline(always)]
    fn vectors<L: Lanes, const V: usize>(&mut self) {
        if L::N == 16 { self.columns::<L, V, 10, 5>() } else { self.columns::<L, V, 6, 3>() }
    }

    /// All columns, `MANY` at a time; of what is left, `FEW` at a time as long as there are no more.
    #[inline(always)]
    fn columns<L: Lanes, const V: usize, const MANY: usize, const FEW: usize>(&mut self) {
        let columns = self.columns;
        for chunk in columns.chunks(MANY) {
            if chunk.len() > FEW {
                self.register_block::<L, V, MANY>(chunk);
            } else {
                self.register_block::<L, V, FEW>(chunk);
            }
        }
    }

    /// At most `C` columns, at least one. The last one stands in for those that are missing: its sums are computed, and written,
    /// several times.
    #[inline(always)]
    fn register_block<L: Lanes, const V: usize, const C: usize>(&mut self, columns: &[Column]) {
        let (k, lanes) = (self.k.clone(), VECTORS * L::N);
        let packed = self.packed;
        let weights = &packed.weights[(self.block * packed.k + k.start) * lanes..][..k.len() * lanes];
        let bias = &packed.bias[self.block * lanes..][..lanes];
        let (offsets, reach) = (&self.terms.offsets[k.clone()], self.terms.reach as usize);
        let input = self.input;

        let mut column = [columns[columns.len() - 1]; C];
        column[..columns.len()].copy_from_slice(columns);
        let mut first = [input.as_ptr(); C];
        for c in 0..C {
            assert!(column[c].base as usize + reach < input.len());
            // SAFETY: inside `input`, as just asserted.
            first[c] = unsafe { input.as_ptr().add(column[c].base as usize) };
        }
        let mut sums = [[L::splat(0.0); C]; V];
        for (v, sums) in sums.iter_mut().enumerate() {
            for (sum, column) in sums.iter_mut().zip(&column) {
                *sum = if k.start == 0 {
                    L::load(&bias[v * L::N..])
                } else {
                    L::load(&self.output[column.sums as usize + v * self.vector..])
                };
            }
        }
        for (weights, &offset) in weights.chunks_exact(lanes).zip(offsets) {
            let mut weight = [L::splat(0.0); V];
            for v in 0..V {
                weight[v] = L::load(&weights[v * L::N..]);
            }
            for c in 0..C {
                // SAFETY: `offset` is at most `reach`, the largest of all (`Terms::new`); base and reach together are inside
                // `input`, as asserted above.
                let x = L::splat(unsafe { *first[c].add(offset as usize) });
                for v in 0..V {
                    sums[v][c] = x.mul_add(weight[v], sums[v][c]);
                }
                // Keeps the next column's value out of a register until its turn: LLVM would load all columns' first, and spill
                // sums to make room. No instruction.
                compiler_fence(Ordering::SeqCst);
            }
        }
        let rectify = self.relu && k.end == packed.k;
        for (v, sums) in sums.iter().enumerate() {
            for (sum, column) in sums.iter().zip(&column) {
                let sum = if rectify { sum.max(L::splat(0.0)) } else { *sum };
                sum.store(&mut self.output[column.sums as usize + v * self.vector..]);
            }
        }
    }
}
