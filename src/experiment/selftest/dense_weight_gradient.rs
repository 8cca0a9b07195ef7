//! dense_weight_gradient: the sums of the rule.

use super::cases::Extent;
use super::conv2d_weight_gradient::scattered;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::numbers;
use super::tally::Tally;
use crate::backend::cuda::dense_weight_gradient::DenseWeightGradient;
use crate::error::Result;
use crate::network::gradient::{SLOTS, total};

/// The gradients, `(inputs + 1, pitch)` as the device has them, one number at a time; what fills up a row is 0.
pub fn on_host(inputs: usize, outputs: usize, gradients: &[f32], values: &[f32]) -> Vec<f32> {
    let mut all = Vec::new();
    for input in 0..=inputs {
        for output in 0..outputs {
            let mut slots = [0.0_f32; SLOTS];
            for (image, gradient) in gradients.chunks(outputs).enumerate() {
                let x = if input == inputs { 1.0 } else { values[image * inputs + input] };
                slots[image % SLOTS] = gradient[output].mul_add(x, slots[image % SLOTS]);
            }
            all.push(total(slots));
        }
        all.extend(vec![0.0; outputs.next_multiple_of(4) - outputs]);
    }
    all
}

/// Compares the gradients of a layer of `inputs` to `outputs` for `batch` images, a multiple of [`SLOTS`], whose products are `scale` at
/// most.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    (batch, inputs, outputs): (usize, usize, usize),
    scale: f32,
) -> Result<()> {
    tally.case(batch, format_args!("batch {batch}, {inputs} to {outputs}, products of {scale:e}"));
    let stream = 30_000 + (batch * 1000 + inputs) as u32;
    let gradients: Vec<f32> = numbers(stream, batch * outputs).into_iter().map(|x| x * scale).collect();
    let values = numbers(stream + 1, batch * inputs);
    let want = if batch == 0 { Vec::new() } else { on_host(inputs, outputs, &gradients, &values) };
    let mut arena = Vec::new();
    let gradient = scattered(&mut arena, &gradients, outputs);
    let input = scattered(&mut arena, &values, inputs);
    let arena = gpu.upload(&arena)?;
    let layer = DenseWeightGradient::new(gpu.launcher, inputs, outputs)?;
    let mut out = gpu.guarded(DenseWeightGradient::len(inputs, outputs), GUARD_F32)?;
    gpu.timed(tally, |launcher| {
        launcher.dense_weight_gradient(&mut out, layer, (&arena, gradient), (&arena, input), batch)
    })?;
    let got = gpu.read(tally, "the gradients", &out, want.len(), GUARD_F32)?;
    tally.same("the gradients", &want, &got);
    Ok(())
}

/// Round the edges of tiles: 64 inputs and the bias, 64 outputs, stages of 4 images of a slot; no image; and products that underflow.
///
/// # Errors
/// The driver's.
pub fn dense_weight_gradient(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let sizes = vec![
        (16, 1, 1),
        (0, 4, 5),
        (16, 63, 64),
        (32, 64, 65),
        (64, 127, 63),
        (80, 65, 5),
        (16, 128, 129),
        (144, 10, 3),
        (48, 50, 10),
    ];
    compare(gpu, tally, (16, 5, 6), 1e-44)?;
    extent.of(sizes, 2, usize::MAX).into_iter().try_for_each(|size| compare(gpu, tally, size, 1.0))
}
