//! conv2d: the sums of the formula, by each of its kernels.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{self, each_image, numbers, parameters, rectified, shape};
use super::tally::Tally;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::conv2d::Conv2d;
use crate::error::Result;
use crate::network::{Parameters, Shape};

/// A convolution of `input` to `outputs` channels, with (kernel, stride, padding, groups).
pub fn geometry(
    input: Shape,
    outputs: usize,
    (kernel, stride, padding, groups): (usize, usize, usize, usize),
) -> Geometry {
    let size = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let output = shape(outputs, size(input.height), size(input.width));
    Geometry { input, output, kernel, stride, padding, groups }
}

/// The convolution of one image, one number at a time.
pub fn on_host(geometry: &Geometry, parameters: &Parameters, input: &[f32]) -> Vec<f32> {
    let Geometry { input: from, output: to, kernel, stride, padding, groups } = *geometry;
    let (in_group, out_group) = (from.channels / groups, to.channels / groups);
    let mut output = Vec::with_capacity(to.len());
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let mut sum = parameters.bias[channel];
                for c in 0..in_group {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (y, x) = (row * stride + ky, column * stride + kx);
                            let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                            if inside(y, from.height) && inside(x, from.width) {
                                let plane = channel / out_group * in_group + c;
                                let at = (plane * from.height + y - padding) * from.width + x - padding;
                                let weight = parameters.weight[((channel * in_group + c) * kernel + ky) * kernel + kx];
                                sum = input[at].mul_add(weight, sum);
                            }
                        }
                    }
                }
                output.push(sum);
            }
        }
    }
    output
}

/// A batch, and the convolution that it goes through.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub batch: usize,
    pub geometry: Geometry,
    pub parameters: Parameters,
    pub input: Vec<f32>,
}

/// Compares a case, rectified and not, by each of `kernels`; `None` is the one that should be fastest.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case, kernels: &[Option<&'static str>]) -> Result<()> {
    let Case { name, batch, geometry, parameters, input } = case;
    let (in_len, out_len) = (geometry.input.len(), geometry.output.len());
    let plain = each_image(input, in_len, |image| on_host(geometry, parameters, image));
    for (rectify, want) in [(false, &plain), (true, &rectified(&plain))] {
        let mut layer = Conv2d::new(gpu.launcher, *geometry, parameters, rectify)?;
        for &kernel in kernels {
            layer.kernel = kernel;
            tally.case(*batch, format_args!("{name}, batch {batch}, {geometry:?}, {kernel:?}, rectify {rectify}"));
            layers::compare(gpu, tally, (input, in_len), (want, out_len), *batch, |launcher, arena, to, from| {
                launcher.conv2d(arena, &layer, to, from, *batch)
            })?;
        }
    }
    Ok(())
}

/// Random numbers, round the edges of tiles: 32, 64, 96, 128 channels of a group, 32 and 256 positions of all images, 8 terms; and no
/// image.
pub fn edges() -> Vec<Case> {
    let table = [
        (1, geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (3, geometry(shape(3, 9, 10), 33, (3, 1, 1, 1))),
        (2, geometry(shape(4, 12, 11), 130, (5, 1, 2, 2))),
        (1, geometry(shape(2, 16, 16), 129, (1, 1, 0, 1))),
        (1, geometry(shape(8, 1, 257), 96, (1, 1, 0, 1))),
        (1, geometry(shape(5, 15, 17), 97, (3, 2, 0, 1))),
        (0, geometry(shape(3, 9, 10), 33, (3, 1, 1, 1))),
        (2, geometry(shape(3, 23, 23), 10, (11, 4, 0, 1))),
        (4, geometry(shape(1, 5, 3), 4, (7, 3, 3, 1))),
        (1, geometry(shape(9, 1, 31), 31, (1, 1, 0, 1))),
        (1, geometry(shape(7, 1, 33), 65, (1, 1, 0, 1))),
        (2, geometry(shape(1, 30, 29), 3, (29, 1, 14, 1))),
        (5, geometry(shape(8, 4, 4), 32, (3, 1, 1, 4))),
    ];
    let case = |(number, (batch, geometry)): (usize, (usize, Geometry))| {
        let stream = 100 * number as u32;
        let n_weights = geometry.output.channels * geometry.k();
        Case {
            name: "random",
            batch,
            geometry,
            parameters: parameters(stream, n_weights, geometry.output.channels),
            input: numbers(stream + 2, batch * geometry.input.len()),
        }
    };
    table.into_iter().enumerate().map(case).collect()
}

/// 9 terms, of the 16 of two stages: each is 0 * -1, and so is the sum from -0.
pub fn signs_of_zeros() -> Case {
    Case {
        name: "zeros",
        batch: 1,
        geometry: geometry(shape(1, 5, 5), 6, (3, 1, 0, 1)),
        parameters: Parameters { weight: vec![-1.0; 6 * 9], bias: vec![-0.0; 6] },
        input: vec![0.0; 25],
    }
}

/// Sums that are denormal, or overflow. There is no NaN, whose bits are the processor's: what overflows is all of one sign.
pub fn extremes() -> Vec<Case> {
    let geometry = geometry(shape(3, 7, 7), 9, (3, 2, 0, 1));
    let case = |(name, times, in_times): (&'static str, f32, f32)| {
        let scaled = |x: f32, times: f32| if times > 1.0 { x.abs() * times } else { x * times };
        let weight = numbers(3, 9 * 27).into_iter().map(|x| scaled(x, times)).collect();
        let input = numbers(4, 2 * geometry.input.len()).into_iter().map(|x| scaled(x, in_times)).collect();
        Case { name, batch: 2, geometry, parameters: Parameters { weight, bias: vec![0.0; 9] }, input }
    };
    [("denormal", 1e-38, 1.0), ("the smallest", 1e-44, 1.0), ("overflow", 1e30, 1e9)].map(case).into()
}

/// All of them, by the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn conv2d(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &'static str) -> Result<()> {
    let cases = [extremes(), vec![signs_of_zeros()], edges()].concat();
    extent.of(cases, 2, usize::MAX).iter().try_for_each(|case| compare(gpu, tally, case, &[Some(kernel)]))
}
