//! A dense layer, backward: `y[o] = bias[o] + sum over i of weight[o][i] * x[i]`.
//!
//! Activations are tiles of `L::N` images, `(feature, lane)`. The input gradient keeps that layout. The weight gradient
//! runs its vectors along the inputs instead: lanes of images would cost a sum across lanes a weight, more than the
//! products themselves. For that the input of the layer is turned once into rows, `(image, feature)`: [`to_rows`].

use super::{SLOTS, Slots};
use crate::simd::Lanes;

/// Inputs whose gradients are accumulated together: one cache line of a weight row, one register each.
const INPUT_BLOCK: usize = 16;

/// Rows of the weight matrix whose gradients share the loads of the input.
const ROW_BLOCK: usize = 4;

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

/// Writes the gradient of the input of one tile.
///
/// `input_gradient` is `(inputs, lane)`, `output_gradient` `(outputs, lane)`, `weight` `(outputs, inputs)`.
#[inline(always)]
pub fn dense_input_gradient<L: Lanes>(input_gradient: &mut [f32], output_gradient: &[f32], weight: &[f32]) {
    let inputs = input_gradient.len() / L::N;
    for (block, gradients) in input_gradient.chunks_mut(INPUT_BLOCK * L::N).enumerate() {
        let first = block * INPUT_BLOCK;
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
    for b in 0..B {
        sums[b].store(&mut input_gradient[b * L::N..]);
    }
}

/// Writes the weight and bias gradients of the outputs `first..first + bias_gradient.len()`.
///
/// `weight_gradient` is `(those outputs, inputs)`; `output_gradients` the tiles of the batch, `(outputs, lane)` each;
/// `rows` the inputs of the batch, one slice of [`row_stride`] floats an image.
#[inline(always)]
pub fn dense_weight_gradient<L: Lanes>(
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    output_gradients: &[&[f32]],
    rows: &[&[f32]],
    first: usize,
) {
    let outputs = bias_gradient.len();
    let inputs = weight_gradient.len() / outputs;
    // Inputs outermost: one vector of each image stays in the first cache for all outputs.
    for column in (0..inputs).step_by(L::N) {
        let batch = Batch { output_gradients, rows, column };
        let mut output = 0;
        while output < outputs {
            if output + ROW_BLOCK <= outputs {
                batch.gradient::<L, ROW_BLOCK>(&mut weight_gradient[output * inputs..], first + output, inputs);
                output += ROW_BLOCK;
            } else {
                batch.gradient::<L, 1>(&mut weight_gradient[output * inputs..], first + output, inputs);
                output += 1;
            }
        }
    }
    for (bias, output) in bias_gradient.iter_mut().zip(first..) {
        let mut slots = Slots([0.0; SLOTS]);
        for image in 0..rows.len() {
            slots.0[image % SLOTS] += output_gradients[image / L::N][output * L::N + image % L::N];
        }
        *bias = slots.total();
    }
}

/// The batch as the weight gradients of `L::N` neighbouring inputs, from `column`, see it.
struct Batch<'a> {
    output_gradients: &'a [&'a [f32]],
    rows: &'a [&'a [f32]],
    column: usize,
}

/// Sums for `R` outputs, a vector of neighbouring inputs each.
type Sums<L, const R: usize> = [L; R];

impl Batch<'_> {
    /// Writes the gradients of `R` rows of the weights, of `inputs` each.
    #[inline(always)]
    fn gradient<L: Lanes, const R: usize>(&self, weight_gradient: &mut [f32], output: usize, inputs: usize) {
        let sums: Sums<L, R> = add(self.eight(output, 0), self.eight(output, 1));
        let width = L::N.min(inputs - self.column);
        for (sum, row) in sums.iter().zip(weight_gradient.chunks_exact_mut(inputs)) {
            let gradient = &mut row[self.column..][..width];
            if width == L::N { sum.store(gradient) } else { sum.store_partial(gradient) }
        }
    }

    // The tree of `Slots::total`, leaves first: slots s and s + 8, then with s + 4, s + 2, s + 1.

    #[inline(always)]
    fn eight<L: Lanes, const R: usize>(&self, output: usize, slot: usize) -> Sums<L, R> {
        add(self.four(output, slot), self.four(output, slot + 2))
    }

    #[inline(always)]
    fn four<L: Lanes, const R: usize>(&self, output: usize, slot: usize) -> Sums<L, R> {
        add(self.two(output, slot), self.two(output, slot + 4))
    }

    #[inline(always)]
    fn two<L: Lanes, const R: usize>(&self, output: usize, slot: usize) -> Sums<L, R> {
        add(self.one(output, slot), self.one(output, slot + 8))
    }

    /// The images of one slot, ascending.
    #[inline(always)]
    fn one<L: Lanes, const R: usize>(&self, output: usize, slot: usize) -> Sums<L, R> {
        let mut sums = [L::splat(0.0); R];
        for image in (slot..self.rows.len()).step_by(SLOTS) {
            let input = L::load(&self.rows[image][self.column..]);
            let gradients = &self.output_gradients[image / L::N][output * L::N..][..R * L::N];
            for r in 0..R {
                sums[r] = input.mul_add(L::splat(gradients[r * L::N + image % L::N]), sums[r]);
            }
        }
        sums
    }
}

#[inline(always)]
fn add<L: Lanes, const R: usize>(mut a: Sums<L, R>, b: Sums<L, R>) -> Sums<L, R> {
    for r in 0..R {
        a[r] = a[r].add(b[r]);
    }
    a
}
