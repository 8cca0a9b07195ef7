//! What the layers of networks in general share here: numbers, an arena full of guards, and the comparison of what a launch leaves in
//! it. Each layer's file has its formula, literally, one number at a time, and no part of a fast path.

use super::gpu::{GUARD_F32, GUARDS, Gpu};
use super::tally::Tally;
use crate::backend::cuda::Launcher;
use crate::backend::cuda::arena::Place;
use crate::error::Result;
use crate::network::{Parameters, Shape};
use crate::rng::{Philox, Purpose, unit};
use cudarc::driver::CudaSlice;

/// `n` numbers in [-1, 1), the same for the same `stream`.
pub fn numbers(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(2027).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

/// Random weights and biases.
pub fn parameters(stream: u32, n_weights: usize, n_biases: usize) -> Parameters {
    Parameters { weight: numbers(stream, n_weights), bias: numbers(stream + 1, n_biases) }
}

/// `n` random bytes.
pub fn bytes(stream: u32, n: usize) -> Vec<u8> {
    numbers(stream, n).iter().map(|x| ((x + 1.0) * 128.0) as u8).collect()
}

/// `(channels, height, width)`.
pub fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

/// `x > 0 ? x : 0` of each.
pub fn rectified(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect()
}

/// `n` numbers as [`numbers`] has them, many of which are zeros of both signs.
pub fn with_zeros(stream: u32, n: usize) -> Vec<f32> {
    let zero = |(i, x): (usize, f32)| if i % 3 == 0 { 0.0_f32.copysign(x) } else { x };
    numbers(stream, n).into_iter().enumerate().map(zero).collect()
}

/// `function` of each image, one after the other.
pub fn each_image(input: &[f32], len: usize, function: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    input.chunks(len).flat_map(function).collect()
}

/// The probabilities of images, `rows` `(batch, n_classes)`, as the device has them: `(n_classes, stride)`, of each row those from
/// `first` on, guards in what is left of it.
pub fn by_class(rows: &[f32], n_classes: usize, stride: usize, first: usize) -> Vec<f32> {
    let mut by_class = vec![GUARD_F32; n_classes * stride];
    for (at, row) in rows.chunks(n_classes).enumerate() {
        row.iter().enumerate().for_each(|(class, &value)| by_class[class * stride + first + at] = value);
    }
    by_class
}

/// Values of a batch, one image's after the other, and how many an image has.
pub type Values<'a> = (&'a [f32], usize);

/// Compares with `want` what `launch` makes of `input` for `batch` images: each image's values stand amid guards in one arena, and
/// `launch` is given the arena, where to write, and where to read. It must write nothing else.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    input: Values,
    want: Values,
    batch: usize,
    launch: impl FnOnce(&Launcher, &mut CudaSlice<f32>, Place, Place) -> Result<()>,
) -> Result<()> {
    compare_all(gpu, tally, [input], want, batch, |launcher, arena, to, [from]| launch(launcher, arena, to, from))
}

/// As [`compare`], of several inputs.
///
/// # Errors
/// The driver's.
pub fn compare_all<const N: usize>(
    gpu: &Gpu,
    tally: &mut Tally,
    inputs: [Values; N],
    (want, out_len): Values,
    batch: usize,
    launch: impl FnOnce(&Launcher, &mut CudaSlice<f32>, Place, [Place; N]) -> Result<()>,
) -> Result<()> {
    let mut end = 5;
    let from = inputs.map(|(_, len)| {
        let place = Place { start: end, image: len + 3 };
        end += batch * place.image + GUARDS;
        place
    });
    let to = Place { start: end, image: out_len + 6 };
    let mut before = vec![GUARD_F32; to.start + batch * to.image + GUARDS];
    for ((input, len), from) in inputs.into_iter().zip(from) {
        for image in 0..batch {
            before[from.start + image * from.image..][..len].copy_from_slice(&input[image * len..][..len]);
        }
    }
    let mut arena = gpu.upload(&before)?;
    gpu.timed(tally, |launcher| launch(launcher, &mut arena, to, from))?;
    let mut after = gpu.launcher.download(&arena)?;
    let mut got = Vec::with_capacity(want.len());
    for image in 0..batch {
        let at = to.start + image * to.image;
        got.extend_from_slice(&after[at..at + out_len]);
        after[at..at + out_len].fill(GUARD_F32);
    }
    tally.same("the outputs", want, &got);
    tally.same("what is not to be written", &before, &after);
    Ok(())
}
