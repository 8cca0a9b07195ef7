//! A convolution, backward, over tiles of images (`(channel, row, column, lane)`, lane = image).
//!
//! ```text
//! input gradient     (channels, height, width, L::N) a tile, from the output gradient and the weights
//! weight gradient    (out_channels, channels / groups, kernel, kernel), bias gradient (out_channels),
//!                    from the output gradients and inputs of all tiles
//! ```
//!
//! Numbers   orders and accumulators: see the top of `train`. Terms of the padding are left out.

use super::{SLOTS, Slots};
use crate::backend::cpu::conv2d::Geometry;
use crate::network::Parameters;
use crate::simd::Lanes;

/// Input channels of a register block of the input gradient: ten independent sums hide the latency of the multiply-add
/// (4 cycles, two a cycle), and LeNet's 20 are a multiple.
const INPUTS: usize = 10;

/// Output channels whose gradients and weights stay in the first cache while all positions are visited.
const OUTPUTS_IN_CACHE: usize = 5;

/// What the input gradient of a convolution needs: its weights in the order in which they are read, and which taps of
/// the kernel an input position has taken part in.
#[derive(Clone, Debug)]
pub struct Conv2dInputGradient {
    geometry: Geometry,
    /// `(groups, blocks of INPUTS channels, out_channels / groups, kernel, kernel)`; channels past the last are 0.
    weights: Vec<[f32; INPUTS]>,
    /// For each input row, ascending: the kernel row, and the output row that it belongs to.
    rows: Vec<Vec<(usize, usize)>>,
    /// The same for columns.
    columns: Vec<Vec<(usize, usize)>>,
}

impl Conv2dInputGradient {
    /// Packs `parameters`, of the shapes that `geometry` says.
    pub fn new(geometry: Geometry, parameters: &Parameters) -> Conv2dInputGradient {
        let blocks = geometry.groups * (geometry.input.channels / geometry.groups).div_ceil(INPUTS);
        let taps = |inputs: usize, outputs: usize| -> Vec<Vec<(usize, usize)>> {
            let at = |input: usize| {
                (0..geometry.kernel).filter_map(move |tap| {
                    let from_first = (input + geometry.padding).checked_sub(tap)?;
                    let output = from_first / geometry.stride;
                    (from_first % geometry.stride == 0 && output < outputs).then_some((tap, output))
                })
            };
            (0..inputs).map(|input| at(input).collect()).collect()
        };
        let mut packed = Conv2dInputGradient {
            geometry,
            weights: vec![
                [0.0; INPUTS];
                blocks * geometry.output.channels / geometry.groups * geometry.kernel * geometry.kernel
            ],
            rows: taps(geometry.input.height, geometry.output.height),
            columns: taps(geometry.input.width, geometry.output.width),
        };
        packed.pack(parameters);
        packed
    }

    /// Takes other parameters of the same shapes, without allocating.
    pub fn pack(&mut self, parameters: &Parameters) {
        let geometry = &self.geometry;
        let (inputs, outputs) =
            (geometry.input.channels / geometry.groups, geometry.output.channels / geometry.groups);
        let taps = geometry.kernel * geometry.kernel;
        for (output, weights) in parameters.weight.chunks_exact(inputs * taps).enumerate() {
            let (group, output) = (output / outputs, output % outputs);
            for (input, weights) in weights.chunks_exact(taps).enumerate() {
                let block = group * inputs.div_ceil(INPUTS) + input / INPUTS;
                let packed = &mut self.weights[(block * outputs + output) * taps..][..taps];
                for (packed, &weight) in packed.iter_mut().zip(weights) {
                    packed[input % INPUTS] = weight;
                }
            }
        }
    }

    /// Writes the gradient of the input of every tile.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, input_gradient: &mut [f32], output_gradient: &[f32]) {
        let geometry = &self.geometry;
        let tiles = input_gradient.chunks_exact_mut(geometry.input.len() * L::N);
        for (input_gradient, output_gradient) in
            tiles.zip(output_gradient.chunks_exact(geometry.output.len() * L::N))
        {
            self.tile::<L>(input_gradient, output_gradient);
        }
    }

    #[inline(always)]
    fn tile<L: Lanes>(&self, input_gradient: &mut [f32], output_gradient: &[f32]) {
        let geometry = &self.geometry;
        let (inputs, outputs) =
            (geometry.input.channels / geometry.groups, geometry.output.channels / geometry.groups);
        let taps = geometry.kernel * geometry.kernel;
        let input_plane = geometry.input.height * geometry.input.width * L::N;
        let output_plane = geometry.output.height * geometry.output.width * L::N;
        input_gradient.fill(0.0);
        let groups = input_gradient.chunks_exact_mut(inputs * input_plane);
        for (group, (inputs_of, outputs_of)) in
            groups.zip(output_gradient.chunks_exact(outputs * output_plane)).enumerate()
        {
            let first_block = group * inputs.div_ceil(INPUTS);
            for (block, block_gradient) in inputs_of.chunks_mut(INPUTS * input_plane).enumerate() {
                let weights = &self.weights[(first_block + block) * outputs * taps..][..outputs * taps];
                let slabs = outputs_of.chunks(OUTPUTS_IN_CACHE * output_plane);
                for (outputs_of, weights) in slabs.zip(weights.chunks(OUTPUTS_IN_CACHE * taps)) {
                    self.slab::<L>(block_gradient, outputs_of, weights);
                }
            }
        }
    }

    /// Adds what some output channels send to at most INPUTS input channels.
    #[inline(always)]
    fn slab<L: Lanes>(&self, input_gradient: &mut [f32], output_gradient: &[f32], weights: &[[f32; INPUTS]]) {
        let (kernel, width) = (self.geometry.kernel, self.geometry.output.width);
        let input_plane = self.geometry.input.height * self.geometry.input.width * L::N;
        let output_plane = self.geometry.output.height * width * L::N;
        let positions = self.rows.iter().flat_map(|rows| self.columns.iter().map(move |columns| (rows, columns)));
        for (position, (rows, columns)) in positions.enumerate() {
            let mut sums = [L::splat(0.0); INPUTS];
            for (sum, plane) in sums.iter_mut().zip(input_gradient.chunks_exact(input_plane)) {
                *sum = L::load(&plane[position * L::N..]);
            }
            for (plane, weights) in
                output_gradient.chunks_exact(output_plane).zip(weights.chunks_exact(kernel * kernel))
            {
                for &(tap_row, row) in rows {
                    let gradients = &plane[row * width * L::N..][..width * L::N];
                    let weights = &weights[tap_row * kernel..][..kernel];
                    for &(tap, column) in columns {
                        let gradient = L::load(&gradients[column * L::N..]);
                        let weights = &weights[tap];
                        for input in 0..INPUTS {
                            sums[input] = gradient.mul_add(L::splat(weights[input]), sums[input]);
                        }
                    }
                }
            }
            for (sum, plane) in sums.iter().zip(input_gradient.chunks_exact_mut(input_plane)) {
                sum.store(&mut plane[position * L::N..]);
            }
        }
    }
}

/// Output positions visited before going on to the next tap: few enough for their gradients and inputs to stay in the
/// first cache for all taps.
const POSITIONS: usize = 32;

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
    // Of 16 registers AVX2 can spare 10 for accumulators; the others have 32.
    if L::N == 8 {
        weight_gradient_blocks::<L, 2>(weight_gradient, bias_gradient, output_gradients, inputs, geometry, first);
    } else {
        weight_gradient_blocks::<L, 5>(weight_gradient, bias_gradient, output_gradients, inputs, geometry, first);
    }
}

/// Input channels of a register block, where there are as many.
const BLOCK_INPUTS: usize = 5;

#[inline(always)]
fn weight_gradient_blocks<L: Lanes, const OUTPUTS: usize>(
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
    let mut sums = vec![Slots([0.0; SLOTS]); taps * OUTPUTS * BLOCK_INPUTS];
    let mut done = 0;
    while done < bias_gradient.len() {
        let output = first + done;
        let group = output / outputs_per_group;
        let n = OUTPUTS.min(bias_gradient.len() - done).min((group + 1) * outputs_per_group - output);
        let block = Block { output_gradients, inputs, geometry, outputs: [output, output + n - 1] };
        let mut input = 0;
        while input < inputs_per_group {
            let channel = group * inputs_per_group + input;
            let n_inputs = if inputs_per_group - input >= BLOCK_INPUTS { BLOCK_INPUTS } else { 1 };
            let sums = &mut sums[..taps * OUTPUTS * n_inputs];
            match n_inputs {
                BLOCK_INPUTS => block.weights::<L, OUTPUTS, BLOCK_INPUTS>(sums, channel),
                _ => block.weights::<L, OUTPUTS, 1>(sums, channel),
            }
            for (tap, sums) in sums.chunks_exact(OUTPUTS * n_inputs).enumerate() {
                for (o, sums) in sums.chunks_exact(n_inputs).take(n).enumerate() {
                    for (i, sums) in sums.iter().enumerate() {
                        weight_gradient[((done + o) * inputs_per_group + input + i) * taps + tap] = sums.total();
                    }
                }
            }
            input += n_inputs;
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
    /// input channels from `channel`: `sums` is `(tap, output, input)`.
    #[inline(always)]
    fn weights<L: Lanes, const OUTPUTS: usize, const INPUTS: usize>(&self, sums: &mut [Slots], channel: usize) {
        let geometry = self.geometry;
        let (height, width) = (geometry.output.height, geometry.output.width);
        let (plane, input_plane) = (height * width * L::N, geometry.input.height * geometry.input.width * L::N);
        let chunk = (POSITIONS / width).max(1);
        sums.fill(Slots([0.0; SLOTS]));
        for (tile, (gradients, inputs)) in self.output_gradients.iter().zip(self.inputs).enumerate() {
            let slot = tile * L::N % SLOTS;
            let gradients: [&[f32]; OUTPUTS] =
                std::array::from_fn(|o| &gradients[(self.outputs[0] + o).min(self.outputs[1]) * plane..][..plane]);
            let inputs: [&[f32]; INPUTS] =
                std::array::from_fn(|i| &inputs[(channel + i) * input_plane..][..input_plane]);
            for top in (0..height).step_by(chunk) {
                for tap_row in 0..geometry.kernel {
                    let rows = positions(geometry, tap_row, geometry.input.height, height);
                    let rows = rows.0.max(top)..rows.1.min(top + chunk);
                    for tap_column in 0..geometry.kernel {
                        let columns = positions(geometry, tap_column, geometry.input.width, width);
                        let tap = tap_row * geometry.kernel + tap_column;
                        let sums = &mut sums[tap * OUTPUTS * INPUTS..][..OUTPUTS * INPUTS];
                        let mut registers = [[L::splat(0.0); INPUTS]; OUTPUTS];
                        for o in 0..OUTPUTS {
                            for i in 0..INPUTS {
                                registers[o][i] = L::load(&sums[o * INPUTS + i].0[slot..]);
                            }
                        }
                        for row in rows.clone() {
                            let input_row = row * geometry.stride + tap_row - geometry.padding;
                            for column in columns.0..columns.1 {
                                let input_column = column * geometry.stride + tap_column - geometry.padding;
                                let at = (row * width + column) * L::N;
                                let input_at = (input_row * geometry.input.width + input_column) * L::N;
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
                            }
                        }
                        for o in 0..OUTPUTS {
                            for i in 0..INPUTS {
                                registers[o][i].store(&mut sums[o * INPUTS + i].0[slot..]);
                            }
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

/// The output positions `first..last` along one axis whose `tap` falls inside the input of `size`.
#[inline(always)]
fn positions(geometry: &Geometry, tap: usize, size: usize, outputs: usize) -> (usize, usize) {
    let first = geometry.padding.saturating_sub(tap).div_ceil(geometry.stride);
    let last = (size + geometry.padding).saturating_sub(tap).div_ceil(geometry.stride);
    (first.min(outputs), last.min(outputs))
}
