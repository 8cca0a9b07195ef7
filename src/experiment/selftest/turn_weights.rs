//! turn_weights: the weights that the way back would be brought to the device with.

use super::cases::Extent;
use super::conv2d::geometry;
use super::gpu::Gpu;
use super::layers::{numbers, shape};
use super::tally::Tally;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::conv2d::Conv2d;
use crate::backend::cuda::conv2d_backward::{Conv2dBackward, dense_backward};
use crate::backend::cuda::dense::Dense;
use crate::error::Result;
use crate::network::Parameters;

/// Compares the weights of a convolution.
///
/// # Errors
/// The driver's.
pub fn conv2d(gpu: &Gpu, tally: &mut Tally, geometry: Geometry) -> Result<()> {
    tally.case(geometry.output.channels, format_args!("{geometry:?}"));
    let n_weights = geometry.output.channels * geometry.k();
    let weight = numbers(80_000, n_weights);
    let backward = Conv2dBackward::new(geometry);
    let want = backward.upload(gpu.launcher, &weight)?;
    let mut turned = backward.upload(gpu.launcher, &numbers(80_001, n_weights))?;
    let parameters = Parameters { weight, bias: vec![0.0; geometry.output.channels] };
    let layer = Conv2d::new(gpu.launcher, geometry, &parameters, false)?;
    gpu.timed(tally, |launcher| launcher.turn_conv2d_weights(&mut turned, &layer))?;
    let [want, got] = [want, turned].map(|layer| gpu.launcher.download(layer.packed_weights()));
    tally.same("the weights", &want?, &got?);
    Ok(())
}

/// Compares the weights of a dense layer.
///
/// # Errors
/// The driver's.
pub fn dense(gpu: &Gpu, tally: &mut Tally, inputs: usize, outputs: usize) -> Result<()> {
    tally.case(outputs, format_args!("dense, {inputs} to {outputs}"));
    let weight = numbers(80_002, inputs * outputs);
    let want = dense_backward(gpu.launcher, inputs, &weight)?;
    let mut turned = dense_backward(gpu.launcher, inputs, &numbers(80_003, inputs * outputs))?;
    let layer = Dense::new(gpu.launcher, inputs, &Parameters { weight, bias: vec![0.0; outputs] }, false)?;
    gpu.timed(tally, |launcher| launcher.turn_dense_weights(&mut turned, &layer))?;
    let [want, got] = [want, turned].map(|layer| gpu.launcher.download(layer.packed_weights()));
    tally.same("the weights", &want?, &got?);
    Ok(())
}

/// Layers round the edges of a tile of 32 by 32; strides, groups, taps that a phase does not have, few channels in several phases.
///
/// # Errors
/// The driver's.
pub fn turn_weights(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let convolutions = vec![
        geometry(shape(1, 1, 1), 1, (1, 1, 0, 1)),
        geometry(shape(64, 3, 3), 66, (3, 1, 0, 2)),
        geometry(shape(3, 23, 23), 10, (11, 4, 0, 1)),
        geometry(shape(1, 9, 9), 8, (3, 1, 1, 1)),
        geometry(shape(6, 9, 9), 8, (5, 2, 2, 2)),
        geometry(shape(2, 7, 7), 3, (2, 3, 0, 1)),
        geometry(shape(33, 4, 5), 31, (3, 1, 1, 1)),
    ];
    for geometry in extent.of(convolutions, 2, usize::MAX) {
        conv2d(gpu, tally, geometry)?;
    }
    for (inputs, outputs) in extent.of(vec![(1, 1), (31, 33), (100, 10), (32, 64)], 2, usize::MAX) {
        dense(gpu, tally, inputs, outputs)?;
    }
    Ok(())
}
