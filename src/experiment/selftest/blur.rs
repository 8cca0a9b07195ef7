//! blur: weighted sums down the columns, then along the rows.

use super::ascent::{FIRST, trials};
use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::ascent::gaussian;
use crate::error::Result;
use crate::network::Shape;

/// The blurred image.
pub fn on_host(x: &[f32], shape: Shape, radius: f64) -> Vec<f32> {
    let weights = gaussian(radius);
    let mirrored = |at: isize, size: usize| {
        // d c b a | a b c d | d c b a: it comes again after twice the size.
        let at = at.rem_euclid(2 * size as isize) as usize;
        if at < size { at } else { 2 * size - 1 - at }
    };
    let along = |x: &[f32], columns: bool| -> Vec<f32> {
        (0..x.len())
            .map(|at| {
                let (column, row, channel) =
                    (at % shape.width, at / shape.width % shape.height, at / shape.width / shape.height);
                let taps = weights.iter().zip(-((weights.len() / 2) as isize)..);
                taps.fold(0.0, |sum, (weight, tap)| {
                    let (row, column) = match columns {
                        true => (mirrored(row as isize + tap, shape.height), column),
                        false => (row, mirrored(column as isize + tap, shape.width)),
                    };
                    weight.mul_add(x[(channel * shape.height + row) * shape.width + column], sum)
                })
            })
            .collect()
    };
    along(&along(x, true), false)
}

/// All trials, by radii of which the largest reaches over the smallest images several times.
///
/// # Errors
/// The driver's.
pub fn blur(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for trial in trials(extent) {
        for radius in [0.3, 1.0, 4.4] {
            tally.case(trial.n, format_args!("{} images of {}, radius {radius}", trial.n, trial.shape));
            let mut want = trial.x.clone();
            for (image, _) in trial.moving() {
                let range = trial.range(image);
                want[range.clone()].copy_from_slice(&on_host(&trial.x[range], trial.shape, radius));
            }
            let mut device = trial.upload(gpu)?;
            let weights = gpu.upload(&gaussian(radius))?;
            let len = trial.n * trial.shape.len();
            let mut scratch = gpu.guarded(len, GUARD_F32)?;
            gpu.timed(tally, |launcher| launcher.blur(&mut device.climbing, &mut scratch, &weights, FIRST, trial.n))?;
            trial.compare(gpu, tally, &device, &want)?;
            gpu.read(tally, "the scratch", &scratch, len, GUARD_F32)?;
        }
    }
    Ok(())
}
