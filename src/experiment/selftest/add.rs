//! add: sums of what several layers send.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::with_zeros;
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// Values round the edge of a block of 256, zeros of both signs among them.
///
/// # Errors
/// The driver's.
pub fn add(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, len) in extent.of(vec![(0, 5), (1, 1), (1, 255), (2, 128), (3, 257)], 2, usize::MAX) {
        tally.case(batch, format_args!("{batch} times {len} values"));
        let (sum, next) = (Place { start: 3, image: len + 2 }, Place { start: 3 + batch * (len + 2), image: len + 5 });
        let end = next.start + batch * next.image;
        let numbers = with_zeros(9970, end);
        let mut want = numbers.clone();
        for (image, at) in (0..batch).flat_map(|image| (0..len).map(move |at| (image, at))) {
            want[sum.start + image * sum.image + at] += numbers[next.start + image * next.image + at];
        }
        let mut arena = gpu.guarded(end, GUARD_F32)?;
        gpu.launcher.upload_part(&mut arena, 0, &numbers)?;
        gpu.timed(tally, |launcher| launcher.add(&mut arena, sum, next, len, batch))?;
        let got = gpu.read(tally, "the sums", &arena, end, GUARD_F32)?;
        tally.same("the sums", &want, &got);
    }
    Ok(())
}
