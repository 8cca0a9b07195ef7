//! climb: images moved along their gradients.

use super::ascent::{FIRST, trials};
use super::cases::Extent;
use super::gpu::Gpu;
use super::tally::Tally;
use crate::error::Result;

/// Moves an image along `g`, the gradient with respect to its pixels.
pub fn on_host(x: &mut [f32], g: &[f32], rate: f32, keep: f32) {
    x.iter_mut().zip(g).for_each(|(x, &g)| *x = rate.mul_add(g, *x) * keep);
}

/// All trials, with decay and without.
///
/// # Errors
/// The driver's.
pub fn climb(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for trial in trials(extent) {
        for keep in [1.0, 0.99] {
            tally.case(trial.n, format_args!("{} images of {}, keep {keep}", trial.n, trial.shape));
            let mut want = trial.x.clone();
            for (image, at) in trial.moving() {
                on_host(&mut want[trial.range(image)], &trial.of_pixels(at), trial.states[image].rate, keep);
            }
            let mut device = trial.upload(gpu)?;
            gpu.timed(tally, |launcher| {
                launcher.climb(&mut device.climbing, &device.arena, device.gradient, keep, FIRST, trial.n)
            })?;
            trial.compare(gpu, tally, &device, &want)?;
        }
    }
    Ok(())
}
