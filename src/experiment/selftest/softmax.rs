//! softmax: the probabilities of the formula.

use super::cases::{Extent, product};
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, numbers};
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;
use crate::math;
use crate::simd::{Lanes, Plain};

fn exp(x: f32) -> f32 {
    let mut lanes = [0.0; Plain::N];
    math::exp(Plain::splat(x)).store(&mut lanes);
    lanes[0]
}

/// The probabilities of one image, in the written order.
pub fn on_host(logits: &[f32]) -> Vec<f32> {
    let best = logits.iter().fold(logits[0], |best, &x| if x > best { x } else { best });
    let powers: Vec<f32> = logits.iter().map(|&x| exp(x - best)).collect();
    let sum = powers.iter().fold(0.0, |sum, &x| sum + x);
    let canonical = |x: f32| if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x };
    powers.iter().map(|&x| canonical(x / sum)).collect()
}

/// What logits are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So far apart that most powers are 0.
    Far,
    /// One infinity an image.
    Infinite,
    /// One NaN an image.
    Nan,
    Usual,
}

/// Compares the probabilities of `batch` images. How many of them are NaNs.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, (n_classes, batch): (usize, usize), kind: Kind) -> Result<usize> {
    tally.case(batch, format_args!("{n_classes} classes, {batch} images, {kind:?}"));
    let (from, stride, first) = (Place { start: 3, image: n_classes + 2 }, batch + 9, 4);
    let mut logits = vec![GUARD_F32; from.start + batch * from.image];
    let mut rows = Vec::with_capacity(batch * n_classes);
    for number in 0..batch {
        let mut image: Vec<f32> = numbers(number as u32, n_classes).iter().map(|x| x * 12.0).collect();
        match kind {
            Kind::Far => image.iter_mut().for_each(|x| *x *= 40.0),
            Kind::Infinite => {
                image[number % n_classes] = if number % 2 == 0 { f32::INFINITY } else { f32::NEG_INFINITY }
            }
            Kind::Nan => image[number % n_classes] = f32::NAN,
            Kind::Usual => {}
        }
        logits[from.start + number * from.image..][..n_classes].copy_from_slice(&image);
        rows.extend(on_host(&image));
    }
    // What stands before and behind a row's images is not to be written.
    let want = by_class(&rows, n_classes, stride, first);
    let arena = gpu.upload(&logits)?;
    let mut probabilities = gpu.guarded(want.len(), GUARD_F32)?;
    gpu.timed(tally, |launcher| launcher.softmax(&mut probabilities, stride, first, n_classes, &arena, from, batch))?;
    let got = gpu.read(tally, "the probabilities", &probabilities, want.len(), GUARD_F32)?;
    tally.same("the probabilities", &want, &got);
    Ok(rows.iter().filter(|probability| probability.is_nan()).count())
}

/// Round the edges of a warp of images and of eight warps' classes; the most ordinary one last. How many NaNs there were.
///
/// # Errors
/// The driver's.
pub fn softmax(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<usize> {
    let sizes = [(1, 1), (7, 31), (8, 32), (9, 33), (1000, 5), (1001, 33), (10, 64)];
    let kinds = [Kind::Far, Kind::Infinite, Kind::Nan, Kind::Usual];
    let cases = extent.of(product(&sizes, &kinds), 5, usize::MAX);
    cases.into_iter().try_fold(0, |n, (size, kind)| Ok(n + compare(gpu, tally, size, kind)?))
}
