//! A dense layer over a few images.
//!
//! ```text
//! out  output   (images, out_features rounded up to L::N) f32, lane = feature
//! in   input    (images, stride) f32, of which the first in_features count
//!      weights  (out_features, in_features) f32, packed; bias (out_features)
//! ```
//!
//! Mapping   a register block is some vectors of features x all images: each vector of weights that comes from memory serves
//!           them all.
//! Numbers   as [`crate::backend::cpu::dense`]: one accumulator per output, from the bias, k ascending, fused. The same bits.

use crate::network::Parameters;
use crate::simd::Aligned;
use crate::simd::Lanes;

/// The most images that one read of the weights serves.
pub const IMAGES: usize = 4;

/// A dense layer with its weights in the order in which the kernel reads them.
#[derive(Debug)]
pub struct PackedDense {
    in_features: usize,
    /// `(vectors, in_features, L::N)`; the lanes past the last feature are 0.
    weights: Aligned,
    /// `(vectors, L::N)`.
    bias: Aligned,
}

impl PackedDense {
    /// Packs `parameters`, `(out_features, in_features)` and a bias an output, for vectors of `width` lanes.
    pub fn new(in_features: usize, out_features: usize, parameters: &Parameters, width: usize) -> PackedDense {
        let len = out_features.next_multiple_of(width);
        let mut packed =
            PackedDense { in_features, weights: Aligned::zeros(len * in_features), bias: Aligned::zeros(len) };
        for (feature, (row, &bias)) in parameters.weight.chunks_exact(in_features).zip(&parameters.bias).enumerate() {
            let (vector, lane) = (feature / width, feature % width);
            packed.bias[feature] = bias;
            for (at, &weight) in row.iter().enumerate() {
                packed.weights[(vector * in_features + at) * width + lane] = weight;
            }
        }
        packed
    }

    /// Memory that the packed weights and biases take.
    pub fn bytes(in_features: usize, out_features: usize, width: usize) -> usize {
        let len = out_features.next_multiple_of(width);
        Aligned::bytes(len * in_features) + Aligned::bytes(len)
    }
}

/// Applies the layer to `images` images, at most [`IMAGES`]: see the top of this file. The rows of `input` and `output` start
/// `stride` values apart.
#[inline(always)]
pub fn dense<L: Lanes>(output: &mut [f32], input: &[f32], stride: usize, images: usize, layer: &PackedDense) {
    assert!(images <= IMAGES && layer.in_features <= stride && layer.bias.len() <= stride);
    assert!(input.len() >= images * stride && output.len() >= images * stride);
    // As many accumulators as hide the latency of the multiply-add (8) and fit into the registers: 32 of AVX-512, else 16.
    match (images, L::N) {
        (0, _) => {}
        (1, _) => blocks::<L, 8, 1>(output, input, stride, layer),
        (2, 16) => blocks::<L, 8, 2>(output, input, stride, layer),
        (3, 16) => blocks::<L, 4, 3>(output, input, stride, layer),
        (4, 16) => blocks::<L, 4, 4>(output, input, stride, layer),
        (2, _) => blocks::<L, 4, 2>(output, input, stride, layer),
        (3, _) => blocks::<L, 3, 3>(output, input, stride, layer),
        (_, _) => blocks::<L, 2, 4>(output, input, stride, layer),
    }
}

#[inline(always)]
fn blocks<L: Lanes, const V: usize, const I: usize>(
    output: &mut [f32],
    input: &[f32],
    stride: usize,
    layer: &PackedDense,
) {
    let vectors = layer.bias.len() / L::N;
    let whole = vectors / V * V;
    for first in (0..whole).step_by(V) {
        block::<L, V, I>(output, input, stride, layer, first);
    }
    for first in whole..vectors {
        block::<L, 1, I>(output, input, stride, layer, first);
    }
}

/// Vectors `first..first + V` of features, for `I` images.
#[inline(always)]
fn block<L: Lanes, const V: usize, const I: usize>(
    output: &mut [f32],
    input: &[f32],
    stride: usize,
    layer: &PackedDense,
    first: usize,
) {
    let k = layer.in_features;
    let mut rows = [&input[..0]; I];
    for image in 0..I {
        rows[image] = &input[image * stride..][..k];
    }
    let mut weights = [&layer.weights[..0]; V];
    let mut sums = [[L::splat(0.0); I]; V];
    for vector in 0..V {
        weights[vector] = &layer.weights[(first + vector) * k * L::N..][..k * L::N];
        sums[vector] = [L::load(&layer.bias[(first + vector) * L::N..]); I];
    }
    for at in 0..k {
        let mut values = [L::splat(0.0); I];
        for image in 0..I {
            values[image] = L::splat(rows[image][at]);
        }
        for vector in 0..V {
            let weight = L::load(&weights[vector][at * L::N..]);
            for image in 0..I {
                sums[vector][image] = values[image].mul_add(weight, sums[vector][image]);
            }
        }
    }
    for vector in 0..V {
        for image in 0..I {
            sums[vector][image].store(&mut output[image * stride + (first + vector) * L::N..]);
        }
    }
}
