//! The way back through convolutions and dense layers by forward kernels: gradients of the rule.

use super::cases::Extent;
use super::conv2d::geometry;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{self, each_image, numbers, shape};
use super::tally::Tally;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::arena::Place;
use crate::backend::cuda::conv2d_backward::{Conv2dBackward, dense_backward};
use crate::error::Result;

/// The gradient of what a convolution of these weights took, of one image: each output value in turn sends to what it saw.
pub fn on_host(geometry: &Geometry, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let Geometry { input: from, output: to, kernel, stride, padding, groups } = *geometry;
    let (in_group, out_group) = (from.channels / groups, to.channels / groups);
    let mut sums = vec![0.0; from.len()];
    for (at, &g) in gradient.iter().enumerate() {
        let (column, row, channel) = (at % to.width, at / to.width % to.height, at / to.width / to.height);
        for c in 0..in_group {
            for ky in 0..kernel {
                for kx in 0..kernel {
                    let (y, x) = (row * stride + ky, column * stride + kx);
                    let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                    if inside(y, from.height) && inside(x, from.width) {
                        let plane = channel / out_group * in_group + c;
                        let sum: &mut f32 = &mut sums[(plane * from.height + y - padding) * from.width + x - padding];
                        *sum = g.mul_add(weight[((channel * in_group + c) * kernel + ky) * kernel + kx], *sum);
                    }
                }
            }
        }
    }
    sums
}

/// The gradient of what a dense layer of weights `(outputs, inputs)` took, of one image.
pub fn dense_on_host(weight: &[f32], inputs: usize, gradient: &[f32]) -> Vec<f32> {
    let of = |input: usize| {
        let terms = gradient.iter().enumerate();
        terms.fold(0.0, |sum, (output, g)| g.mul_add(weight[output * inputs + input], sum))
    };
    (0..inputs).map(of).collect()
}

/// Kernels, strides and paddings of all kinds: strides that the kernel is no multiple of, or that are larger; padding that is as large as
/// the kernel; rows that no window sees; groups; so few channels that phases are made of several values.
fn geometries() -> Vec<(usize, Geometry)> {
    vec![
        (1, geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (2, geometry(shape(3, 9, 10), 33, (3, 1, 1, 1))),
        (1, geometry(shape(4, 12, 11), 6, (5, 1, 0, 2))),
        (2, geometry(shape(6, 7, 7), 9, (3, 2, 1, 3))),
        (1, geometry(shape(3, 23, 24), 10, (11, 4, 0, 1))),
        (1, geometry(shape(2, 9, 8), 5, (1, 2, 0, 1))),
        (3, geometry(shape(1, 5, 3), 4, (7, 3, 3, 1))),
        (1, geometry(shape(2, 5, 6), 3, (2, 1, 3, 1))),
        (1, geometry(shape(2, 5, 6), 4, (2, 2, 5, 2))),
        (2, geometry(shape(3, 11, 11), 7, (4, 3, 2, 1))),
        (2, geometry(shape(1, 28, 27), 5, (5, 1, 0, 1))),
        (1, geometry(shape(1, 13, 14), 4, (3, 1, 5, 1))),
        (1, geometry(shape(2, 14, 13), 4, (5, 2, 4, 2))),
        (1, geometry(shape(1, 40, 33), 2, (29, 1, 3, 1))),
    ]
}

/// Compares the gradients of all of them, and of dense layers.
///
/// # Errors
/// The driver's.
pub fn conv2d_backward(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, geometry) in extent.of(geometries(), 2, usize::MAX) {
        tally.case(batch, format_args!("batch {batch}, back through {geometry:?}"));
        let weight = numbers(9500, geometry.output.channels * geometry.k());
        let (in_len, out_len) = (geometry.input.len(), geometry.output.len());
        let gradient = numbers(9501, batch * out_len);
        let want = each_image(&gradient, out_len, |image| on_host(&geometry, &weight, image));
        let backward = Conv2dBackward::new(geometry);
        let layer = backward.upload(gpu.launcher, &weight)?;
        let Some(phases) = backward.phases else {
            layers::compare(gpu, tally, (&gradient, out_len), (&want, in_len), batch, |launcher, arena, to, from| {
                launcher.conv2d(arena, &layer, to, from, batch)
            })?;
            continue;
        };
        let from = Place { start: 0, image: out_len };
        let between = Place { start: batch * out_len, image: phases.input.len() };
        let to = Place { start: between.start + batch * between.image, image: in_len };
        let end = to.start + batch * to.image;
        let mut arena = gpu.guarded(end, GUARD_F32)?;
        gpu.launcher.upload_part(&mut arena, 0, &gradient)?;
        gpu.timed(tally, |launcher| {
            launcher.conv2d(&mut arena, &layer, between, from, batch)?;
            launcher.depth_to_space(&mut arena, &phases, to, between, batch)
        })?;
        let got = gpu.read(tally, "the gradients", &arena, end, GUARD_F32)?;
        tally.same("the gradients", &want, &got[to.start..]);
    }
    for (batch, inputs, outputs) in extent.of(vec![(1, 1, 1), (3, 70, 10), (17, 33, 65)], 2, usize::MAX) {
        tally.case(batch, format_args!("batch {batch}, back through {inputs} to {outputs}"));
        let (weight, gradient) = (numbers(9502, inputs * outputs), numbers(9503, batch * outputs));
        let want = each_image(&gradient, outputs, |image| dense_on_host(&weight, inputs, image));
        let layer = dense_backward(gpu.launcher, inputs, &weight)?;
        layers::compare(gpu, tally, (&gradient, outputs), (&want, inputs), batch, |launcher, arena, to, from| {
            launcher.dense(arena, &layer, to, from, batch)
        })?;
    }
    Ok(())
}
