//! combine: the least and the mean of the formula.

use super::cases::{Extent, product};
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, numbers};
use super::tally::Tally;
use crate::error::Result;
use crate::network::Combine;

/// What probabilities are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Denormals.
    Denormal,
    /// No number, in one class of each image: of those so far, of the next, of both.
    Nan,
    Usual,
}

/// Joins three networks, one after the other. How many results are NaNs.
fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    (n_classes, batch): (usize, usize),
    (rule, kind): (Combine, Kind),
) -> Result<usize> {
    tally.case(batch, format_args!("{n_classes} classes, {batch} images, {rule}, {kind:?}"));
    const N: usize = 3;
    let stride = batch + 9;
    let row = |network: usize| -> Vec<f32> {
        let usual = numbers(730 + network as u32, batch * n_classes);
        let row = usual.into_iter().enumerate().map(|(at, x)| match kind {
            Kind::Denormal => f32::from_bits((x.abs() * 100.0) as u32),
            Kind::Nan
                if at % n_classes == at / n_classes % n_classes && (at / n_classes + network).is_multiple_of(2) =>
            {
                -f32::NAN
            }
            Kind::Nan | Kind::Usual => x.abs(),
        });
        row.collect()
    };
    let mut want = row(0);
    let mut together = gpu.guarded(n_classes * stride, GUARD_F32)?;
    gpu.launcher.upload_part(&mut together, 0, &by_class(&want, n_classes, stride, 0))?;
    for place in 1..N {
        let next = row(place);
        let divisor = rule.divisor(place, N);
        want.iter_mut().zip(&next).for_each(|(together, &next)| *together = rule.join(*together, next, divisor));
        let next = gpu.upload(&by_class(&next, n_classes, stride, 0))?;
        gpu.timed(tally, |launcher| launcher.combine(&mut together, &next, (rule, divisor), n_classes, batch, stride))?;
    }
    // What stands behind a row's images is not to be written.
    let rows = by_class(&want, n_classes, stride, 0);
    let got = gpu.read(tally, "joined", &together, rows.len(), GUARD_F32)?;
    tally.same("joined", &rows, &got);
    Ok(want.iter().filter(|joined| joined.is_nan()).count())
}

/// Round the edges of a block of 256; the most ordinary one last. How many NaNs there were.
///
/// # Errors
/// The driver's.
pub fn combine(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<usize> {
    let sizes = [(1, 1), (5, 51), (16, 16), (257, 1), (1000, 7), (12, 33), (10, 64)];
    let kinds = [Kind::Denormal, Kind::Nan, Kind::Usual];
    let rules = product(&[Combine::Mean, Combine::Min], &kinds);
    let cases = extent.of(product(&sizes, &rules), 5, usize::MAX);
    cases.into_iter().try_fold(0, |n, (size, rule)| Ok(n + compare(gpu, tally, size, rule)?))
}
