//! dense: the sums of the formula, by each of its kernels.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{self, each_image, numbers, parameters, rectified};
use super::tally::Tally;
use crate::backend::cuda::dense::Dense;
use crate::error::Result;
use crate::network::Parameters;

/// The layer's outputs for one image, one number at a time.
pub fn on_host(parameters: &Parameters, input: &[f32]) -> Vec<f32> {
    let rows = parameters.weight.chunks(input.len()).zip(&parameters.bias);
    rows.map(|(weights, &bias)| weights.iter().zip(input).fold(bias, |sum, (&w, &x)| x.mul_add(w, sum))).collect()
}

/// A batch, and the layer that it goes through.
#[derive(Clone, Debug)]
pub struct Case {
    pub batch: usize,
    /// Inputs of an image.
    pub inputs: usize,
    pub parameters: Parameters,
    pub input: Vec<f32>,
}

/// Compares a case, rectified and not, by each of `kernels`; `None` is the one that should be fastest.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case, kernels: &[Option<&'static str>]) -> Result<()> {
    let Case { batch, inputs, parameters, input } = case;
    let outputs = parameters.bias.len();
    let plain = each_image(input, *inputs, |image| on_host(parameters, image));
    for (rectify, want) in [(false, &plain), (true, &rectified(&plain))] {
        let mut layer = Dense::new(gpu.launcher, *inputs, parameters, rectify)?;
        for &kernel in kernels {
            layer.kernel = kernel;
            tally.case(*batch, format_args!("batch {batch}, {inputs} to {outputs}, {kernel:?}, rectify {rectify}"));
            layers::compare(gpu, tally, (input, *inputs), (want, outputs), *batch, |launcher, arena, to, from| {
                launcher.dense(arena, &layer, to, from, *batch)
            })?;
        }
    }
    Ok(())
}

/// Random numbers, round the edges of tiles: 8, 64 and 128 outputs, 16, 64 and 256 images, 8 and 32 inputs; and no image.
pub fn edges() -> Vec<Case> {
    let case = |(batch, inputs, outputs): (usize, usize, usize)| {
        let stream = (batch * 1000 + inputs) as u32;
        let parameters = parameters(stream, inputs * outputs, outputs);
        Case { batch, inputs, parameters, input: numbers(stream + 2, batch * inputs) }
    };
    [
        (0, 4, 5),
        (1, 1, 1),
        (15, 7, 7),
        (16, 8, 8),
        (17, 9, 9),
        (63, 31, 63),
        (64, 32, 64),
        (65, 33, 65),
        (2, 200, 127),
        (255, 5, 128),
        (256, 16, 3),
        (257, 11, 129),
        (3, 65, 256),
    ]
    .map(case)
    .into()
}

/// 13 terms, in stages of 8 or 32: each is 0 * -1, and so is the sum from -0.
pub fn signs_of_zeros() -> Case {
    let parameters = Parameters { weight: vec![-1.0; 5 * 13], bias: vec![-0.0; 5] };
    Case { batch: 2, inputs: 13, parameters, input: vec![0.0; 26] }
}

/// All of them, by the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn dense(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &'static str) -> Result<()> {
    let cases = [vec![signs_of_zeros()], edges()].concat();
    extent.of(cases, 3, usize::MAX).iter().try_for_each(|case| compare(gpu, tally, case, &[Some(kernel)]))
}
