//! relu_backward: gradients where the rectifier's output is above 0.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{self, with_zeros};
use super::tally::Tally;
use crate::backend::cuda::arena::Place;
use crate::error::Result;

/// The gradient of what a rectifier took.
pub fn on_host(gradient: &[f32], value: &[f32]) -> Vec<f32> {
    gradient.iter().zip(value).map(|(&g, &y)| if y > 0.0 { g } else { 0.0 }).collect()
}

/// Values round the edge of a block of 256, to another place and in place.
///
/// # Errors
/// The driver's.
pub fn relu_backward(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, len) in extent.of(vec![(0, 5), (1, 1), (1, 255), (2, 128), (3, 257)], 2, usize::MAX) {
        let (gradient, value) = (with_zeros(9960, batch * len), with_zeros(9961, batch * len));
        let want = on_host(&gradient, &value);
        tally.case(batch, format_args!("{batch} times {len} values"));
        let inputs = [(&gradient[..], len), (&value[..], len)];
        layers::compare_all(gpu, tally, inputs, (&want, len), batch, |launcher, arena, to, [gradient, value]| {
            launcher.relu_backward(arena, to, gradient, value, len, batch)
        })?;
        tally.case(batch, format_args!("{batch} times {len} values, in place"));
        let mut arena = gpu.guarded(2 * batch * len, GUARD_F32)?;
        gpu.launcher.upload_part(&mut arena, 0, &[&value[..], &gradient].concat())?;
        let (of, place) = (Place { start: 0, image: len }, Place { start: batch * len, image: len });
        gpu.timed(tally, |launcher| launcher.relu_backward(&mut arena, place, place, of, len, batch))?;
        let got = gpu.read(tally, "the gradients in place", &arena, 2 * batch * len, GUARD_F32)?;
        tally.same("the gradients in place", &[&value[..], &want].concat(), &got);
    }
    Ok(())
}
