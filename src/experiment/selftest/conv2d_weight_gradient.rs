//! conv2d_weight_gradient: the accumulators of the rule, by each of its kernels.

use super::cases::Extent;
use super::conv2d::geometry;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{numbers, shape};
use super::tally::Tally;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::arena::Place;
use crate::backend::cuda::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::error::Result;
use crate::network::gradient::SLOTS;

/// The accumulator of slot `slot` of one weight, by output channel, input channel of the group, row and column; and of the biases, by
/// output channel alone. One number at a time.
fn accumulator(
    geometry: &Geometry,
    gradients: &[f32],
    inputs: &[f32],
    slot: usize,
    channel: usize,
    tap: Option<[usize; 3]>,
) -> f32 {
    let Geometry { input: from, output: to, stride, padding, groups, .. } = *geometry;
    let mut sum = 0.0_f32;
    for image in (slot..gradients.len() / to.len()).step_by(SLOTS) {
        for row in 0..to.height {
            for column in 0..to.width {
                let g = gradients[image * to.len() + (channel * to.height + row) * to.width + column];
                let Some([c, ky, kx]) = tap else {
                    sum += g;
                    continue;
                };
                let (y, x) = (row * stride + ky, column * stride + kx);
                let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                if inside(y, from.height) && inside(x, from.width) {
                    let plane = channel / (to.channels / groups) * (from.channels / groups) + c;
                    let at = (plane * from.height + y - padding) * from.width + x - padding;
                    sum = g.mul_add(inputs[image * from.len() + at], sum);
                }
            }
        }
    }
    sum
}

/// All accumulators, `(SLOTS, groups, k + 1, pitch)` as the device has them; what fills up a row of outputs is 0.
pub fn on_host(geometry: &Geometry, gradients: &[f32], inputs: &[f32]) -> Vec<f32> {
    let (groups, kernel) = (geometry.groups, geometry.kernel);
    let outputs = geometry.output.channels / groups;
    let k = geometry.input.channels / groups * kernel * kernel;
    let mut all = Vec::new();
    for slot in 0..SLOTS {
        for group in 0..groups {
            for at in 0..=k {
                let tap = (at < k).then(|| [at / (kernel * kernel), at / kernel % kernel, at % kernel]);
                let of = |o| accumulator(geometry, gradients, inputs, slot, group * outputs + o, tap);
                all.extend((0..outputs).map(of));
                all.extend(vec![0.0; outputs.next_multiple_of(4) - outputs]);
            }
        }
    }
    all
}

/// Images, and the convolution that they went through.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    /// A multiple of [`SLOTS`].
    pub batch: usize,
    pub geometry: Geometry,
    /// Of the output.
    pub gradients: Vec<f32>,
    pub inputs: Vec<f32>,
}

/// Adds images of `len` values each, amid guards, to what will be an arena; where they are.
pub fn scattered(arena: &mut Vec<f32>, values: &[f32], len: usize) -> Place {
    let place = Place { start: arena.len() + 5, image: len + 3 };
    arena.extend([GUARD_F32; 5]);
    for image in values.chunks(len) {
        arena.extend(image);
        arena.extend([GUARD_F32; 3]);
    }
    place
}

/// Zeros of both signs are +0: which one an accumulator is that underflows is open until all are added.
pub fn unsigned_zeros(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| value + 0.0).collect()
}

/// Compares a case by each of `kernels`; `None` is the one that should be fastest.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case, kernels: &[Option<&'static str>]) -> Result<()> {
    let Case { name, batch, geometry, gradients, inputs } = case;
    let want = if *batch == 0 { Vec::new() } else { on_host(geometry, gradients, inputs) };
    let mut arena = Vec::new();
    let gradient = scattered(&mut arena, gradients, geometry.output.len());
    let input = scattered(&mut arena, inputs, geometry.input.len());
    let arena = gpu.upload(&arena)?;
    let mut layer = Conv2dWeightGradient::new(gpu.launcher, *geometry)?;
    for &kernel in kernels {
        layer.kernel = kernel;
        tally.case(*batch, format_args!("{name}, batch {batch}, {geometry:?}, {kernel:?}"));
        let mut out = gpu.guarded(Conv2dWeightGradient::len(geometry), GUARD_F32)?;
        gpu.timed(tally, |launcher| {
            launcher.conv2d_weight_gradient(&mut out, &layer, (&arena, gradient), (&arena, input), *batch)
        })?;
        let got = gpu.read(tally, "the accumulators", &out, want.len(), GUARD_F32)?;
        tally.same("the accumulators", &unsigned_zeros(&want), &unsigned_zeros(&got));
    }
    Ok(())
}

/// Random numbers, round the edges of tiles: 32, 64 and 128 weights of an output and its bias, as many outputs of a group, stages of 8
/// positions, planes smaller than a stage; and no image.
pub fn edges() -> Vec<Case> {
    let table = [
        (16, geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (32, geometry(shape(3, 5, 4), 33, (3, 1, 1, 1))),
        (16, geometry(shape(4, 6, 7), 130, (5, 1, 2, 2))),
        (16, geometry(shape(14, 3, 5), 129, (3, 1, 1, 1))),
        (0, geometry(shape(3, 9, 10), 33, (3, 1, 1, 1))),
        (16, geometry(shape(31, 1, 7), 128, (1, 1, 0, 1))),
        (16, geometry(shape(32, 1, 9), 32, (1, 1, 0, 1))),
        (16, geometry(shape(127, 1, 3), 31, (1, 1, 0, 1))),
        (80, geometry(shape(128, 1, 1), 65, (1, 1, 0, 1))),
        (48, geometry(shape(2, 11, 11), 3, (3, 2, 0, 1))),
        (16, geometry(shape(3, 23, 23), 10, (11, 4, 0, 1))),
        (16, geometry(shape(1, 5, 3), 4, (7, 3, 3, 1))),
        (16, geometry(shape(1, 30, 29), 3, (29, 1, 3, 1))),
        (144, geometry(shape(7, 2, 1), 64, (3, 1, 1, 1))),
        (32, geometry(shape(8, 4, 4), 32, (3, 1, 1, 4))),
    ];
    let case = |(number, (batch, geometry)): (usize, (usize, Geometry))| {
        let stream = 20_000 + 100 * number as u32;
        Case {
            name: "random",
            batch,
            geometry,
            gradients: numbers(stream, batch * geometry.output.len()),
            inputs: numbers(stream + 1, batch * geometry.input.len()),
        }
    };
    table.into_iter().enumerate().map(case).collect()
}

/// Products that are denormal, or underflow to zeros of both signs.
pub fn extremes() -> Vec<Case> {
    let geometry = geometry(shape(3, 7, 7), 9, (3, 2, 1, 1));
    let case = |(name, times): (&'static str, f32)| Case {
        name,
        batch: 16,
        geometry,
        gradients: numbers(5, 16 * geometry.output.len()).into_iter().map(|x| x * times).collect(),
        inputs: numbers(6, 16 * geometry.input.len()).into_iter().map(|x| x * 1e-3).collect(),
    };
    [("denormal", 1e-37), ("underflow", 1e-43)].map(case).into()
}

/// All of them, by the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn conv2d_weight_gradient(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &'static str) -> Result<()> {
    let cases = [extremes(), edges()].concat();
    extent.of(cases, 2, usize::MAX).iter().try_for_each(|case| compare(gpu, tally, case, &[Some(kernel)]))
}
