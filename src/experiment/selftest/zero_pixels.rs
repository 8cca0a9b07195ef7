//! zero_pixels: those below a percentile.

use super::ascent::{FIRST, trials};
use super::cases::Extent;
use super::gpu::Gpu;
use super::tally::Tally;
use crate::backend::ascent::rank;
use crate::backend::cuda::zero_pixels::Judged;
use crate::error::Result;
use crate::network::Shape;

/// Zeroes the pixels of an image whose number is below percentile `q`; `g` is the gradient with respect to pixels.
pub fn on_host(x: &mut [f32], g: &[f32], shape: Shape, judged: Judged, q: f64) {
    let plane = shape.height * shape.width;
    let number = |pixel: usize| {
        let places = (0..shape.channels).map(|channel| channel * plane + pixel);
        match judged {
            Judged::Norm => places.fold(0.0, |sum, at| x[at].mul_add(x[at], sum)),
            Judged::Benefit => places.fold(0.0, |sum, at| (-g[at]).mul_add(x[at], sum)),
            Judged::AbsBenefit => places.fold(0.0, |sum, at| (-g[at]).mul_add(x[at], sum)).abs(),
        }
    };
    let numbers: Vec<f32> = (0..plane).map(number).collect();
    let mut ascending = numbers.clone();
    ascending.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    let threshold = ascending[rank(q, plane)];
    for (pixel, _) in numbers.iter().enumerate().filter(|&(_, &number)| number < threshold) {
        (0..shape.channels).for_each(|channel| x[channel * plane + pixel] = 0.0);
    }
}

/// All trials, by each judgement, of percentiles up to the largest.
///
/// # Errors
/// The driver's.
pub fn zero_pixels(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for trial in trials(extent) {
        for (judged, q) in
            super::cases::product(&[Judged::Norm, Judged::Benefit, Judged::AbsBenefit], &[0.5, 37.0, 100.0])
        {
            tally.case(trial.n, format_args!("{} images of {}, {judged:?}, {q} percent", trial.n, trial.shape));
            let pixels = trial.shape.height * trial.shape.width;
            let mut want = trial.x.clone();
            for (image, at) in trial.moving() {
                on_host(&mut want[trial.range(image)], &trial.of_pixels(at), trial.shape, judged, q);
            }
            let mut device = trial.upload(gpu)?;
            let mut keys = gpu.guarded(trial.n * pixels, u32::MAX / 3)?;
            gpu.timed(tally, |launcher| {
                let (arena, gradient) = (&device.arena, device.gradient);
                launcher.zero_pixels(
                    &mut device.climbing,
                    &mut keys,
                    arena,
                    gradient,
                    judged,
                    rank(q, pixels),
                    FIRST,
                    trial.n,
                )
            })?;
            trial.compare(gpu, tally, &device, &want)?;
            gpu.read(tally, "the keys", &keys, trial.n * pixels, u32::MAX / 3)?;
        }
    }
    Ok(())
}
