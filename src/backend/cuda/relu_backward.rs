//! The way back through a rectifier, on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// The gradient of what a rectifier of `len` values took, for `batch` images: `gradient`, of its output, where `value`, its output, is
    /// above 0, else 0. `out` and `gradient` are the same place or do not overlap. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If places overlap that may not.
    pub fn relu_backward(
        &self,
        arena: &mut CudaSlice<f32>,
        out: Place,
        gradient: Place,
        value: Place,
        len: usize,
        batch: usize,
    ) -> Result<()> {
        if batch * len == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        if out != gradient {
            Place::check_apart(out, len, gradient, len, batch);
        }
        Place::check_apart(out, len, value, len, batch);
        let to = out.of(arena, "the gradient of a rectifier's input", batch, len)?;
        let from = gradient.of(arena, "the gradient of a rectifier's output", batch, len)?;
        let of = value.of(arena, "a rectifier's output", batch, len)?;
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", (batch * len).div_ceil(tuning::COPY_THREADS as usize))?, 1, 1),
            block_dim: (tuning::COPY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (batch, len) = (narrow("images", batch)?, narrow("an image", len)?);
        let (out_image, in_image) = (narrow("an image", out.image)?, narrow("an image", gradient.image)?);
        let value_image = narrow("an image", value.image)?;
        let mut launch = self.stream.launch_builder(&self.kernels.relu_backward_f32);
        launch.arg(&to).arg(&from).arg(&of).arg(&batch).arg(&len).arg(&out_image).arg(&in_image).arg(&value_image);
        // SAFETY: order and types are those of relu_backward_f32 in kernels/network/relu_backward.cu; the lengths were checked; it
        // writes `out` alone, each value by the thread that has read what is there, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("relu_backward_f32"))?;
        Ok(())
    }
}
