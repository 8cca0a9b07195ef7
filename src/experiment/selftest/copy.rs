//! copy: values as they are or rectified, to another place or in place.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{self, numbers, rectified};
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// Values round the edge of a block of 256, zeros of both signs among them.
///
/// # Errors
/// The driver's.
pub fn copy(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, len) in extent.of(vec![(0, 5), (1, 1), (1, 255), (2, 128), (3, 257)], 2, usize::MAX) {
        let input: Vec<f32> = numbers(9950, batch * len)
            .iter()
            .enumerate()
            .map(|(i, &x)| if i % 7 == 0 { 0.0_f32.copysign(x) } else { x })
            .collect();
        for (rectify, want) in [(false, &input), (true, &rectified(&input))] {
            tally.case(batch, format_args!("{batch} times {len} values, rectify {rectify}"));
            layers::compare(gpu, tally, (&input, len), (want, len), batch, |launcher, arena, to, from| {
                launcher.copy(arena, to, from, len, batch, rectify)
            })?;
            let mut arena = gpu.guarded(input.len(), GUARD_F32)?;
            gpu.launcher.upload_part(&mut arena, 0, &input)?;
            let place = Place { start: 0, image: len };
            gpu.timed(tally, |launcher| launcher.copy(&mut arena, place, place, len, batch, rectify))?;
            let got = gpu.read(tally, "the values in place", &arena, input.len(), GUARD_F32)?;
            tally.same("the values in place", want, &got);
        }
    }
    Ok(())
}
