//! average_crops: the mean of the formula.

use super::cases::{Extent, product};
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, numbers};
use super::tally::Tally;
use crate::backend::cuda::average_crops::Crops;
use crate::error::Result;
use crate::network::crops;

/// What probabilities are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One that is large, the others so small that sums in single precision lose them.
    Small,
    /// Denormals.
    Denormal,
    /// One crop of an image is no number, in one class.
    Nan,
    Usual,
}

/// Compares the means of `batch` images. How many of them are NaNs.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    (n_classes, batch, n_crops): (usize, usize, usize),
    kind: Kind,
) -> Result<usize> {
    tally.case(batch, format_args!("{n_classes} classes, {batch} images of {n_crops} crops, {kind:?}"));
    let (seen, in_stride, stride, first) = (batch * n_crops, batch * n_crops + 5, batch + 9, 4);
    let mut of_crops = vec![GUARD_F32; n_classes * in_stride];
    let mut rows = vec![0.0; batch * n_classes];
    for class in 0..n_classes {
        let mut row: Vec<f32> = numbers(700 + class as u32, seen).iter().map(|x| x.abs()).collect();
        for (at, x) in row.iter_mut().enumerate() {
            let (image, crop) = (at / n_crops, at % n_crops);
            match kind {
                Kind::Small if crop == image % n_crops => *x = 0.5 + *x / 2.0,
                Kind::Small => *x *= f32::EPSILON,
                Kind::Denormal => *x = f32::from_bits((*x * 100.0) as u32),
                Kind::Nan if class == image % n_classes && crop == image % n_crops => *x = -f32::NAN,
                Kind::Nan | Kind::Usual => {}
            }
        }
        for (image, crops) in row.chunks(n_crops).enumerate() {
            rows[image * n_classes + class] = crops::mean(crops.iter().copied());
        }
        of_crops[class * in_stride..][..seen].copy_from_slice(&row);
    }
    // What stands before and behind a row's images is not to be written.
    let want = by_class(&rows, n_classes, stride, first);
    let of_crops = gpu.upload(&of_crops)?;
    let mut probabilities = gpu.guarded(want.len(), GUARD_F32)?;
    let each = Crops { probabilities: &of_crops, stride: in_stride, n_crops };
    gpu.timed(tally, |launcher| launcher.average_crops(&mut probabilities, stride, first, n_classes, each, batch))?;
    let got = gpu.read(tally, "the means", &probabilities, want.len(), GUARD_F32)?;
    tally.same("the means", &want, &got);
    Ok(rows.iter().filter(|mean| mean.is_nan()).count())
}

/// Round the edges of a block of 256 means; the most ordinary one last. How many NaNs there were.
///
/// # Errors
/// The driver's.
pub fn average_crops(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<usize> {
    let sizes = [(1, 1, 1), (5, 51, 2), (16, 16, 10), (257, 1, 10), (1000, 7, 10), (12, 33, 3), (10, 64, 10)];
    let kinds = [Kind::Small, Kind::Denormal, Kind::Nan, Kind::Usual];
    let cases = extent.of(product(&sizes, &kinds), 5, usize::MAX);
    cases.into_iter().try_fold(0, |n, (size, kind)| Ok(n + compare(gpu, tally, size, kind)?))
}
