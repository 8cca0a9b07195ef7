//! draw_cppn_backward: what a network tells the terms of drawings, the CPU's, in its bands.

use super::ascent_cppn::{FIRST, shared, trials};
use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::numbers;
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// All trials, wherever the room is; which rooms there were.
///
/// # Errors
/// The driver's.
pub fn draw_cppn_backward(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<Vec<(u32, bool)>> {
    let mut rooms = Vec::new();
    for (number, trial) in trials(extent).into_iter().enumerate() {
        let (n, len, all_terms) = (trial.n(), trial.network.input.len(), trial.n_terms());
        let crops = trial.network.n_crops();
        // Zeros of both signs among them.
        let value = |(i, x): (usize, f32)| if i % 7 == 0 { 0.0_f32.copysign(x) } else { x * 1e-2 };
        let gradient = numbers(9950 + number as u32, n * crops * len).into_iter().enumerate().map(value);
        let gradient: Vec<f32> = gradient.collect();
        let place = Place { start: 5, image: len + 1 };
        let mut arena = vec![GUARD_F32; place.start + n * crops * place.image];
        for (at, values) in gradient.chunks(len).enumerate() {
            arena[place.start + at * place.image..][..len].copy_from_slice(values);
        }
        let mut want = vec![GUARD_F32; trial.n_bands() * all_terms];
        for at in 0..n {
            let terms = trial.terms(at + FIRST);
            let bands = trial.bands(at + FIRST, &gradient[at * crops * len..][..crops * len]);
            for (band, of_band) in bands.chunks(terms.len().max(1)).enumerate() {
                want[band * all_terms..][terms.clone()].copy_from_slice(of_band);
            }
        }
        let arena = gpu.upload(&arena)?;
        for most_shared in shared(gpu, extent)? {
            tally.case(n, format_args!("{}, {most_shared} bytes a block", trial.name));
            let mut drawn = trial.upload(gpu, most_shared)?;
            let mut bands = gpu.guarded(want.len(), GUARD_F32)?;
            gpu.timed(tally, |launcher| launcher.draw_cppn_backward(&mut bands, &mut drawn, &arena, place, FIRST, n))?;
            let got = gpu.read(tally, "the bands", &bands, want.len(), GUARD_F32)?;
            tally.same("the bands", &want, &got);
            rooms.push((drawn.rooms[1].threads, drawn.rooms[1].in_scratch.is_some()));
        }
    }
    Ok(rooms)
}
