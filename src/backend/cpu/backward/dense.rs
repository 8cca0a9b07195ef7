//! A dense layer, backward to its input, over tiles of images.
//!
//! Mapping   a register block is 16 inputs: one cache line of a row of weights, one accumulator each.
//! Numbers   one accumulator an input, from +0, outputs ascending, fused.

use crate::simd::Lanes;

/// Inputs whose gradients are accumulated together: one cache line of a weight row, one register each.
pub const INPUT_BLOCK: usize = 16;

/// Writes the gradients of the inputs from `first` on of one tile.
///
/// `input_gradient` is `(those inputs, lane)`, `output_gradient` `(outputs, lane)`, `weight` `(outputs, inputs)`.
#[inline(always)]
pub fn dense_input_gradient<L: Lanes>(
    input_gradient: &mut [f32],
    output_gradient: &[f32],
    weight: &[f32],
    inputs: usize,
    first: usize,
) {
    for (block, gradients) in input_gradient.chunks_mut(INPUT_BLOCK * L::N).enumerate() {
        let first = first + block * INPUT_BLOCK;
        if gradients.len() == INPUT_BLOCK * L::N {
            input_block::<L, INPUT_BLOCK>(gradients, output_gradient, weight, inputs, first);
        } else {
            for (i, gradient) in gradients.chunks_exact_mut(L::N).enumerate() {
                input_block::<L, 1>(gradient, output_gradient, weight, inputs, first + i);
            }
        }
    }
}

#[inline(always)]
fn input_block<L: Lanes, const B: usize>(
    input_gradient: &mut [f32],
    output_gradient: &[f32],
    weight: &[f32],
    inputs: usize,
    first: usize,
) {
    let mut sums = [L::splat(0.0); B];
    for (gradient, row) in output_gradient.chunks_exact(L::N).zip(weight.chunks_exact(inputs)) {
        let gradient = L::load(gradient);
        let row: &[f32; B] = row[first..first + B].try_into().expect("B values");
        for b in 0..B {
            sums[b] = gradient.mul_add(L::splat(row[b]), sums[b]);
        }
    }
    // Constant bounds: indexed by a variable, the accumulators would live in memory, not in registers.
    for b in 0..B {
        sums[b].store(&mut input_gradient[b * L::N..]);
    }
}
