//! The gradients of a convolution's weights, over tiles of images (`(channel, row, column, lane)`, lane = image).
//!
//! ```text
//! out  weight gradient   (out_channels, channels / groups, kernel, kernel), bias gradient (out_channels)
//! in   output gradients  (out_channels, out_height, out_width, L::N) each tile; inputs (channels, height, width, L::N)
//! ```
//!
//! Numbers   orders and accumulators: see [`crate::network::gradient`]. Terms of the padding are left out.

use std::ops::Range;

use super::{SLOTS, Slots};
use crate::backend::cpu::conv2d::Geometry;
use crate::simd::Lanes;

/// Output positions visited before going on to the next tap: few enough for their gradients and inputs to stay in the
/// first cache for all taps.
const POSITIONS: usize = 64;

/// Input channels of a register block; 1 where a group has fewer.
const INPUTS: usize = 4;

/// Output channels of a register block: with the input channels 20 accumulators, or with one 10. That hides the latency
/// of the multiply-add (4 cycles, two a cycle), and LeNet's 20 and 50 are multiples.
pub fn block_outputs(geometry: &Geometry) -> usize {
    if geometry.input.channels / geometry.groups < INPUTS { 10 } else { 5 }
}

/// Writes the weight and bias gradients of the output channels `first..first + bias_gradient.len()`.
///
/// `weight_gradient` is `(those channels, channels / groups, kernel, kernel)`; `output_gradients` and `inputs` are the
/// tiles of the batch, in order, +0 in the output gradients of lanes without an image.
#[inline(always)]
pub fn conv2d_weight_gradient<L: Lanes>(
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    output_gradients: &[&[f32]],
    inputs: &[&[f32]],
    geometry: &Geometry,
    first: usize,
) {
    if geometry.input.channels / geometry.groups < INPUTS {
        blocks::<L, 10, 1>(weight_gradient, bias_gradient, output_gradients, inputs, geometry, first);
    } else if L::N == 8 {
        // Of 16 registers AVX2 can spare 10 for accumulators.
        blocks::<L, 2, INPUTS>(weight_gradient, bias_gradient, output_gradients, inputs, geometry, first);
    } else {
        blocks::<L, 5, INPUTS>(weight_gradient, bias_gradient, output_gradients, inputs, geometry, first);
    }
}

#[inline(always)]
fn blocks<L: Lanes, const OUTPUTS: usize, const INPUTS: usize>(
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
    output_gradients: &[&[f32]],
    inputs: &[&[f32]],
    geometry: &Geometry,
    first: usize,
) {
    let (inputs_per_group, outputs_per_group) =
        (geometry.input.channels / geometry.groups, geometry.output.channels / geometry.groups);
    let taps = geometry.kernel * geometry.kernel;
    let mut sums = vec![[[Slots([0.0; SLOTS]); INPUTS]; OUTPUTS]; taps];
    let mut done = 0;
    while done < bias_gradient.len() {
        let output = first + done;
        let group = output / outputs_per_group;
        let n = OUTPUTS.min(bias_gradient.len() - done).min((group + 1) * outputs_per_group - output);
        let block = Block { output_gradients, inputs, geometry, outputs: [output, output + n - 1] };
        for input in (0..inputs_per_group).step_by(INPUTS) {
            // The last block reaches back over channels that are done: the same bits again.
            let input = input.min(inputs_per_group - INPUTS);
            block.weights::<L, OUTPUTS, INPUTS>(&mut sums, group * inputs_per_group + input);
            for (tap, sums) in sums.iter().enumerate() {
                for (o, sums) in sums[..n].iter().enumerate() {
                    for (i, slots) in sums.iter().enumerate() {
                        weight_gradient[((done + o) * inputs_per_group + input + i) * taps + tap] = slots.total();
                    }
                }
            }
        }
        for (o, gradient) in bias_gradient[done..done + n].iter_mut().enumerate() {
            *gradient = block.bias::<L>(output + o);
        }
        done += n;
    }
}

/// The output channels `outputs[0]..=outputs[1]` of a weight gradient.
struct Block<'a> {
    output_gradients: &'a [&'a [f32]],
    inputs: &'a [&'a [f32]],
    geometry: &'a Geometry,
    outputs: [usize; 2],
}

impl Block<'_> {
    /// The slots of the gradients of `OUTPUTS` output channels (the last again, where there are fewer) and `INPUTS`
    /// input channels from `channel`, for each tap of the kernel.
    #[inline(always)]
    fn weights<L: Lanes, const OUTPUTS: usize, const INPUTS: usize>(
        &self,
        sums: &mut [[[Slots; INPUTS]; OUTPUTS]],
        channel: usize,
    ) {
        let Geometry { kernel, stride, padding, .. } = *self.geometry;
        let (input_height, input_width) = (self.geometry.input.height, self.geometry.input.width);
        let (height, width) = (self.geometry.output.height, self.geometry.output.width);
        let (plane, input_plane) = (height * width * L::N, input_height * input_width * L::N);
        let chunk = (POSITIONS / width).max(1);
        sums.fill([[Slots([0.0; SLOTS]); INPUTS]; OUTPUTS]);
        for (tile, (gradients, inputs)) in self.output_gradients.iter().zip(self.inputs).enumerate() {
            let slot = tile * L::N % SLOTS;
            let gradients: [&[f32]; OUTPUTS] =
                std::array::from_fn(|o| &gradients[(self.outputs[0] + o).min(self.outputs[1]) * plane..][..plane]);
            let inputs: [&[f32]; INPUTS] =
                std::array::from_fn(|i| &inputs[(channel + i) * input_plane..][..input_plane]);
            for top in (0..height).step_by(chunk) {
                for (tap, sums) in sums.iter_mut().enumerate() {
                    let (tap_row, tap_column) = (tap / kernel, tap % kernel);
                    let rows = positions(self.geometry, tap_row, input_height, height);
                    let columns = positions(self.geometry, tap_column, input_width, width);
                    let mut registers = [[L::splat(0.0); INPUTS]; OUTPUTS];
                    for o in 0..OUTPUTS {
                        for i in 0..INPUTS {
                            registers[o][i] = L::load(&sums[o][i].0[slot..]);
                        }
                    }
                    for row in rows.start.max(top)..rows.end.min(top + chunk) {
                        let input_row = row * stride + tap_row - padding;
                        let input_column = columns.start * stride + tap_column - padding;
                        let mut at = (row * width + columns.start) * L::N;
                        let mut input_at = (input_row * input_width + input_column) * L::N;
                        for _ in columns.clone() {
                            let mut gradient = [L::splat(0.0); OUTPUTS];
                            for o in 0..OUTPUTS {
                                gradient[o] = L::load(&gradients[o][at..]);
                            }
                            for i in 0..INPUTS {
                                let input = L::load(&inputs[i][input_at..]);
                                for o in 0..OUTPUTS {
                                    registers[o][i] = gradient[o].mul_add(input, registers[o][i]);
                                }
                            }
                            at += L::N;
                            input_at += stride * L::N;
                        }
                    }
                    for o in 0..OUTPUTS {
                        for i in 0..INPUTS {
                            registers[o][i].store(&mut sums[o][i].0[slot..]);
                        }
                    }
                }
            }
        }
    }

    /// The gradient of one bias.
    #[inline(always)]
    fn bias<L: Lanes>(&self, output: usize) -> f32 {
        let plane = self.geometry.output.height * self.geometry.output.width * L::N;
        let mut slots = Slots([0.0; SLOTS]);
        for (tile, gradients) in self.output_gradients.iter().enumerate() {
            let slots = &mut slots.0[tile * L::N % SLOTS..];
            let mut sum = L::load(slots);
            for gradient in gradients[output * plane..][..plane].chunks_exact(L::N) {
                sum = sum.add(L::load(gradient));
            }
            sum.store(slots);
        }
        slots.total()
    }
}

/// The output positions along one axis whose `tap` falls inside the input of `size`; none if their start is not below
/// their end.
#[inline(always)]
fn positions(geometry: &Geometry, tap: usize, size: usize, outputs: usize) -> Range<usize> {
    let first = geometry.padding.saturating_sub(tap).div_ceil(geometry.stride);
    let last = (size + geometry.padding).saturating_sub(tap).div_ceil(geometry.stride);
    first..last.min(outputs)
}
