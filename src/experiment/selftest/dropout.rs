//! dropout: the values that are left, in place.

use super::cases::Extent;
use super::conv2d_weight_gradient::scattered;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::numbers;
use super::tally::Tally;
use crate::backend::cuda::params::TrainingStep;
use crate::backend::training::Dropout;
use crate::error::Result;
use crate::rng::{Philox, Purpose, unit};

/// `values` of images of `len` each, one number at a time.
pub fn on_host(values: &[f32], len: usize, dropout: &Dropout, seed: u64, iteration: u32) -> Vec<f32> {
    let of = |(image, values): (usize, &[f32])| {
        of_candidate(values, (dropout.value * 65_536 + image) as u32, dropout.ratio, seed, iteration)
    };
    values.chunks(len).enumerate().flat_map(of).collect()
}

/// The values of one image, of which the random numbers are those of `candidate`.
pub fn of_candidate(values: &[f32], candidate: u32, ratio: f32, seed: u64, iteration: u32) -> Vec<f32> {
    let factor = (1.0 / (1.0 - f64::from(ratio))) as f32;
    let one = |(at, &value): (usize, &f32)| {
        let word = Philox::new(seed).draws(Purpose::Dropout, candidate, iteration).word(at as u32);
        if unit(word) < ratio { 0.0 } else { value * factor }
    };
    values.iter().enumerate().map(one).collect()
}

/// Compares `batch` images of `len` values.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    (batch, len): (usize, usize),
    dropout: Dropout,
    (seed, iteration): (u64, u32),
) -> Result<()> {
    tally.case(batch, format_args!("{batch} times {len}, {dropout:?}, seed {seed:#x}, iteration {iteration}"));
    let values = numbers(50_000 + len as u32, batch * len);
    let want = on_host(&values, len, &dropout, seed, iteration);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let place = scattered(&mut before, &values, len);
    scattered(&mut after, &want, len);
    let mut arena = gpu.guarded(before.len(), GUARD_F32)?;
    gpu.launcher.upload_part(&mut arena, 0, &before)?;
    let step = gpu.upload(&[TrainingStep { iteration, rate: 0.0 }])?;
    gpu.timed(tally, |launcher| launcher.dropout(&mut arena, place, len, batch, &dropout, seed, &step.slice(..)))?;
    let got = gpu.read(tally, "the values", &arena, after.len(), GUARD_F32)?;
    tally.same("the values", &after, &got);
    Ok(())
}

/// Ratios from nothing to nearly all, values round a block of random words and of threads.
///
/// # Errors
/// The driver's.
pub fn dropout(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    const WIDE: u64 = 0xfeed_5eed_0000_0007;
    let cases = vec![
        ((1, 1), (0, 0.0), (1, 0)),
        ((3, 3), (1, 0.5), (WIDE, 9)),
        ((2, 4), (65_535, 0.25), (u64::MAX, u32::MAX)),
        ((5, 5), (7, 0.9), (2, 1)),
        ((0, 5), (7, 0.9), (2, 1)),
        ((1, 1023), (3, 0.3), (WIDE, 0)),
        ((2, 1025), (2, 0.5), (4, 77)),
        ((300, 17), (21, 0.5), (WIDE, 100_000)),
    ];
    extent
        .of(cases, 3, usize::MAX)
        .into_iter()
        .try_for_each(|(size, (value, ratio), when)| compare(gpu, tally, size, Dropout { value, ratio }, when))
}
