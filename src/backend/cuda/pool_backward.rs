//! The way back through poolings, on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use super::pool::{Pool, Pooling};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// The gradient of what a pooling took, for `batch` images, at `out`: from `gradient`, of its output, and of a max pooling from
    /// `value`, what it took. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `out` overlaps another place, a window lies outside the input, or a max pooling has no `value`.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn pool_backward(
        &self,
        arena: &mut CudaSlice<f32>,
        pooling: &Pooling,
        pool: Pool,
        out: Place,
        gradient: Place,
        value: Option<Place>,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let (in_len, out_len) = (pooling.input.len(), pooling.output.len());
        Place::check_apart(out, in_len, gradient, out_len, batch);
        let to = out.of(arena, "the gradient of a pooling's input", batch, in_len)?;
        let from = gradient.of(arena, "the gradient of a pooling's output", batch, out_len)?;
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", (batch * in_len).div_ceil(tuning::POOL_THREADS as usize))?, 1, 1),
            block_dim: (tuning::POOL_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let to_image = narrow("an image", out.image)?;
        match pool {
            Pool::Max => {
                let value = value.expect("a max pooling looks for its first maxima");
                Place::check_apart(out, in_len, value, in_len, batch);
                let of = value.of(arena, "a pooling's input", batch, in_len)?;
                let shape = pooling.shape(batch, gradient, value, false)?;
                let mut launch = self.stream.launch_builder(&self.kernels.max_pool_backward_f32);
                launch.arg(&to).arg(&from).arg(&of).arg(&shape).arg(&to_image);
                // SAFETY: order and types are those of max_pool_backward_f32 in kernels/network/pool_backward.cu; the lengths were
                // checked; it writes `out` alone, which overlaps neither input, and nobody else has the arena.
                unsafe { launch.launch(config) }.map_err(Error::launch("max_pool_backward_f32"))?;
            }
            Pool::Average { count_padding } => {
                let shape = pooling.shape(batch, gradient, out, count_padding)?;
                let mut launch = self.stream.launch_builder(&self.kernels.average_pool_backward_f32);
                launch.arg(&to).arg(&from).arg(&shape).arg(&to_image);
                // SAFETY: order and types are those of average_pool_backward_f32 in kernels/network/pool_backward.cu; the lengths were
                // checked; it writes `out` alone, which does not overlap `gradient`, and nobody else has the arena.
                unsafe { launch.launch(config) }.map_err(Error::launch("average_pool_backward_f32"))?;
            }
        }
        Ok(())
    }
}
