//! clip: pixels within what 8 bits hold, and as the network takes them.

use super::ascent::{FIRST, trials};
use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// Clips an image; what the network's first layer takes of it.
pub fn on_host(x: &mut [f32], mean: &[f32], scales: &[f32]) -> Vec<f32> {
    for (x, mean) in x.iter_mut().zip(mean) {
        let v = *x + mean;
        let v = if v > 0.0 { v } else { 0.0 };
        *x = (if v < 255.0 { v } else { 255.0 }) - mean;
    }
    input(x, scales)
}

fn input(x: &[f32], scales: &[f32]) -> Vec<f32> {
    let plane = x.len() / scales.len();
    x.iter().enumerate().map(|(at, x)| x * scales[at / plane]).collect()
}

/// All trials.
///
/// # Errors
/// The driver's.
pub fn clip(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for trial in trials(extent) {
        tally.case(trial.n, format_args!("{} images of {}", trial.n, trial.shape));
        let len = trial.shape.len();
        let to = Place { start: 4, image: len + 3 };
        let end = to.start + trial.n * to.image;
        let (mut want, mut want_input) = (trial.x.clone(), vec![GUARD_F32; end]);
        for (image, _) in trial.moving() {
            on_host(&mut want[trial.range(image)], &trial.mean, &trial.scales);
        }
        for at in 0..trial.n {
            let values = input(&want[trial.range(at + FIRST)], &trial.scales);
            want_input[to.start + at * to.image..][..len].copy_from_slice(&values);
        }
        let mut device = trial.upload(gpu)?;
        let mut arena = gpu.guarded(end, GUARD_F32)?;
        gpu.timed(tally, |launcher| launcher.clip(&mut device.climbing, &mut arena, to, FIRST, trial.n))?;
        trial.compare(gpu, tally, &device, &want)?;
        let got = gpu.read(tally, "what the network takes", &arena, end, GUARD_F32)?;
        tally.same("what the network takes", &want_input, &got);
    }
    Ok(())
}
