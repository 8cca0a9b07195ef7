//! A dense layer over tiles of images.
//!
//! ```text
//! out  output   (tiles, out_features, L::N) f32, lane = image
//! in   input    (tiles, in_features, L::N) f32
//!      weights  (out_features, in_features) f32, packed; bias (out_features)
//! ```
//!
//! Mapping   a register block is OUTPUTS features, or half of them, x two tiles: each weight that comes from memory serves both.
//! Numbers   one accumulator per output, from the bias, k ascending, fused. Exact: the same bits at every width and tile.

use std::ops::Range;

use rayon::prelude::*;

use crate::network::Parameters;
use crate::simd::Lanes;

/// Output features of a register block: 10 x 2 tiles fill 20 of 32 vector registers; LeNet's 500 and 10 are multiples.
const OUTPUTS: usize = 10;

/// A dense layer with its weights in the order in which the kernel reads them.
#[derive(Clone, Debug)]
pub struct PackedDense {
    in_features: usize,
    out_features: usize,
    /// `(blocks, in_features, OUTPUTS)`; the features past the last are 0 and never stored.
    weights: Vec<[f32; OUTPUTS]>,
    /// `(blocks, OUTPUTS)`.
    bias: Vec<[f32; OUTPUTS]>,
}

impl PackedDense {
    /// Packs `parameters`: weights `(out_features, in_features)`, one bias an output.
    pub fn new(in_features: usize, out_features: usize, parameters: &Parameters) -> PackedDense {
        let blocks = out_features.div_ceil(OUTPUTS);
        let mut packed = PackedDense {
            in_features,
            out_features,
            weights: vec![[0.0; OUTPUTS]; blocks * in_features],
            bias: vec![[0.0; OUTPUTS]; blocks],
        };
        packed.pack(parameters);
        packed
    }

    /// Takes other parameters of the same shapes, without allocating.
    pub fn pack(&mut self, parameters: &Parameters) {
        assert_eq!(parameters.weight.len(), self.out_features * self.in_features);
        assert_eq!(parameters.bias.len(), self.out_features);
        let (k, weight) = (self.in_features, &parameters.weight);
        // In parallel: training packs once an iteration.
        self.weights.par_chunks_mut(k).zip(&mut self.bias).enumerate().for_each(|(block, (packed, bias))| {
            let first = block * OUTPUTS;
            let rows = weight[first * k..].chunks_exact(k).zip(&parameters.bias[first..]);
            for (lane, (row, &value)) in rows.take(OUTPUTS).enumerate() {
                bias[lane] = value;
                for (packed, &weight) in packed.iter_mut().zip(row) {
                    packed[lane] = weight;
                }
            }
        });
    }

    /// Memory that the packed weights and biases take.
    pub fn bytes(in_features: usize, out_features: usize) -> usize {
        out_features.div_ceil(OUTPUTS) * (in_features + 1) * size_of::<[f32; OUTPUTS]>()
    }

    /// How many register blocks its outputs make.
    pub fn n_blocks(&self) -> usize {
        self.bias.len()
    }

    /// The outputs of the register blocks `blocks`.
    pub fn features(&self, blocks: Range<usize>) -> Range<usize> {
        blocks.start * OUTPUTS..(blocks.end * OUTPUTS).min(self.out_features)
    }

    /// Values of one image that go in.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Values of one image that come out.
    pub fn out_features(&self) -> usize {
        self.out_features
    }
}

/// Applies the layer to every tile of `input`: see the top of this file.
#[inline(always)]
pub fn dense<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedDense) {
    let (input_len, output_len) = (layer.in_features * L::N, layer.out_features * L::N);
    assert_eq!(input.len() % input_len, 0);
    assert_eq!(input.len() / input_len * output_len, output.len());
    for (output, input) in output.chunks_mut(2 * output_len).zip(input.chunks(2 * input_len)) {
        let all = 0..layer.n_blocks();
        match (input.len() / input_len, L::N) {
            // Of 16 registers AVX2 can spare 10 for accumulators. Half of a block finds the other's weights in the cache.
            (2, 8) => dense_tiles::<L, 2, { OUTPUTS / 2 }>(output, input, layer, all),
            (2, _) => dense_tiles::<L, 2, OUTPUTS>(output, input, layer, all),
            _ => dense_tiles::<L, 1, OUTPUTS>(output, input, layer, all),
        }
    }
}

/// The features of the register blocks `blocks`, [`PackedDense::features`], of one tile: `output` holds them alone.
#[inline(always)]
pub fn dense_blocks<L: Lanes>(output: &mut [f32], input: &[f32], layer: &PackedDense, blocks: Range<usize>) {
    dense_tiles::<L, 1, OUTPUTS>(output, input, layer, blocks);
}

/// `output` is `(TILES, features of the blocks, L::N)`.
#[inline(always)]
fn dense_tiles<L: Lanes, const TILES: usize, const FEATURES: usize>(
    output: &mut [f32],
    input: &[f32],
    layer: &PackedDense,
    blocks: Range<usize>,
) {
    let k = layer.in_features;
    let features = layer.features(blocks.clone());
    for (block, bias) in layer.bias.iter().enumerate().skip(blocks.start).take(blocks.len()) {
        let weights = &layer.weights[block * k..][..k];
        for first in (0..OUTPUTS).step_by(FEATURES) {
            let mut sums = [[L::splat(0.0); TILES]; FEATURES];
            for output in 0..FEATURES {
                sums[output] = [L::splat(bias[first + output]); TILES];
            }
            for (at, weights) in weights.iter().enumerate() {
                let mut x = [L::splat(0.0); TILES];
                for tile in 0..TILES {
                    x[tile] = L::load(&input[(tile * k + at) * L::N..]);
                }
                for output in 0..FEATURES {
                    let weight = L::splat(weights[first + output]);
                    for tile in 0..TILES {
                        sums[output][tile] = x[tile].mul_add(weight, sums[output][tile]);
                    }
                }
            }
            // Constant bounds: indexed by a variable, the accumulators would live in memory, not in registers.
            for (lane, sums) in sums.iter().enumerate() {
                let feature = block * OUTPUTS + first + lane;
                if feature < layer.out_features {
                    let feature = feature - features.start;
                    for tile in 0..TILES {
                        sums[tile].store(&mut output[(tile * features.len() + feature) * L::N..]);
                    }
                }
            }
        }
    }
}
