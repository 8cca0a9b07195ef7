//! The gradients of a dense layer's weights: `y[o] = bias[o] + sum over i of weight[o][i] * x[i]`.
//!
//! Activations are tiles of `L::N` images, `(feature, lane)`. The weight gradient runs its vectors along the inputs instead: lanes of
//! images would cost a sum across lanes a weight, more than the products themselves. For that the input of the layer is turned once
//! into rows, `(image, feature)`: [`to_rows`].

use super::{SLOTS, Slots};
use crate::simd::Lanes;

/// Floats from one row of [`to_rows`] to the next: whole vectors of every width.
pub fn row_stride(features: usize) -> usize {
    features.next_multiple_of(SLOTS)
}

/// Writes a tile `(feature, lane)` as `L::N` rows of [`row_stride`] floats; the floats past `features` stay as they are.
#[inline(always)]
pub fn to_rows<L: Lanes>(rows: &mut [f32], tile: &[f32], features: usize) {
    let stride = row_stride(features);
    for (feature, lanes) in tile.chunks_exact(L::N).enumerate() {
        for (lane, &value) in lanes.iter().enumerate() {
            rows[lane * stride + feature] = value;
        }
    }
}

/// Writes the weight and bias gradients of the outputs `first..first + bias_gradient.len()`.
///
/// `weight_gradient` is `(those outputs, inputs)`; `output_gradients` the tiles of the batch, `(outputs, lane)` each;
/// `rows` the inputs of the batch, one slice of [`row_stride`] floats an image; a multiple of SLOTS images.
#[inline(always)]
pub fn dense_weight_gradient<L: Lanes>(
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    output_gradients: &[&[f32]],
    rows: &[&[f32]],
    first: usize,
) {
    // A register block is four slots x some outputs. Of 16 registers AVX2 can spare 8 for accumulators.
    if L::N == 8 {
        weight_gradient_blocks::<L, 2>(weight_gradient, bias_gradient, output_gradients, rows, first);
    } else {
        weight_gradient_blocks::<L, 4>(weight_gradient, bias_gradient, output_gradients, rows, first);
    }
}

/// Slots that are accumulated together: q, q + 4, q + 8 and q + 12.
const QUARTER: usize = SLOTS / 4;

#[inline(always)]
fn weight_gradient_blocks<L: Lanes, const OUTPUTS: usize>(
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    output_gradients: &[&[f32]],
    rows: &[&[f32]],
    first: usize,
) {
    let n = bias_gradient.len();
    let inputs = weight_gradient.len() / n;
    let rounds = rows.len() / SLOTS;
    let gradient = |image: usize, output: usize| output_gradients[image / L::N][output * L::N + image % L::N];
    for (bias, output) in bias_gradient.iter_mut().zip(first..) {
        let mut slots = Slots([0.0; SLOTS]);
        for image in 0..rows.len() {
            slots.0[image % SLOTS] += gradient(image, output);
        }
        *bias = slots.total();
    }

    // In the order in which they are read. Both `(quarter, round, slot of the quarter, ..)`: image i has round
    // i / SLOTS, slot i % SLOTS / 4 and quarter i % 4.
    let image = |quarter: usize, round: usize, slot: usize| round * SLOTS + slot * QUARTER + quarter;
    let places = || (0..QUARTER).flat_map(|quarter| (0..rounds).map(move |round| (quarter, round)));
    let mut gradients = vec![[[0.0; OUTPUTS]; QUARTER]; n.div_ceil(OUTPUTS) * QUARTER * rounds];
    for (block, gradients) in gradients.chunks_exact_mut(QUARTER * rounds).enumerate() {
        let outputs = OUTPUTS.min(n - block * OUTPUTS);
        for (gradients, (quarter, round)) in gradients.iter_mut().zip(places()) {
            for (slot, gradients) in gradients.iter_mut().enumerate() {
                for (o, value) in gradients[..outputs].iter_mut().enumerate() {
                    *value = gradient(image(quarter, round, slot), first + block * OUTPUTS + o);
                }
            }
        }
    }
    let mut columns = vec![[Slots([0.0; SLOTS]); QUARTER]; QUARTER * rounds];

    // Inputs outermost: one vector of each image stays in the first cache for all outputs.
    for column in (0..inputs).step_by(L::N) {
        for (columns, (quarter, round)) in columns.iter_mut().zip(places()) {
            for (slot, values) in columns.iter_mut().enumerate() {
                L::load(&rows[image(quarter, round, slot)][column..]).store(&mut values.0);
            }
        }
        let width = L::N.min(inputs - column);
        for (block, gradients) in gradients.chunks_exact(QUARTER * rounds).enumerate() {
            let mut sums = [[L::splat(0.0); OUTPUTS]; QUARTER];
            for q in 0..QUARTER {
                sums[q] = quarter(&columns[q * rounds..][..rounds], &gradients[q * rounds..][..rounds]);
            }
            // The rest of the tree of `Slots::total`: s and s + 2, then s and s + 1.
            let sums = add(add(sums[0], sums[2]), add(sums[1], sums[3]));
            // Constant bounds: indexed by a variable, the sums would live in memory, not in registers.
            #[allow(clippy::needless_range_loop)]
            for o in 0..OUTPUTS {
                let output = block * OUTPUTS + o;
                if output < n {
                    let gradient = &mut weight_gradient[output * inputs + column..][..width];
                    if width == L::N { sums[o].store(gradient) } else { sums[o].store_partial(gradient) }
                }
            }
        }
    }
}

/// The four slots of a quarter, for a vector of inputs and some outputs, added as [`Slots::total`] adds them: s and
/// s + 8, then s and s + 4.
#[inline(always)]
fn quarter<L: Lanes, const OUTPUTS: usize>(
    columns: &[[Slots; QUARTER]],
    gradients: &[[[f32; OUTPUTS]; QUARTER]],
) -> [L; OUTPUTS] {
    let mut sums = [[L::splat(0.0); OUTPUTS]; QUARTER];
    for (columns, gradients) in columns.iter().zip(gradients) {
        for slot in 0..QUARTER {
            let column = L::load(&columns[slot].0);
            for o in 0..OUTPUTS {
                sums[slot][o] = column.mul_add(L::splat(gradients[slot][o]), sums[slot][o]);
            }
        }
    }
    add(add(sums[0], sums[2]), add(sums[1], sums[3]))
}

#[inline(always)]
fn add<L: Lanes, const OUTPUTS: usize>(mut a: [L; OUTPUTS], b: [L; OUTPUTS]) -> [L; OUTPUTS] {
    for o in 0..OUTPUTS {
        a[o] = a[o].add(b[o]);
    }
    a
}
