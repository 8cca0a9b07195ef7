//! The sum of what several layers send back to a value, on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Adds `len` values of each of `batch` images at `next` to those at `sum`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap.
    pub fn add(&self, arena: &mut CudaSlice<f32>, sum: Place, next: Place, len: usize, batch: usize) -> Result<()> {
        if batch * len == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        Place::check_apart(sum, len, next, len, batch);
        let to = sum.of(arena, "a sum of gradients", batch, len)?;
        let from = next.of(arena, "a gradient", batch, len)?;
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", (batch * len).div_ceil(tuning::COPY_THREADS as usize))?, 1, 1),
            block_dim: (tuning::COPY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (batch, len) = (narrow("images", batch)?, narrow("an image", len)?);
        let (sum_image, next_image) = (narrow("an image", sum.image)?, narrow("an image", next.image)?);
        let mut launch = self.stream.launch_builder(&self.kernels.add_f32);
        launch.arg(&to).arg(&from).arg(&batch).arg(&len).arg(&sum_image).arg(&next_image);
        // SAFETY: order and types are those of add_f32 in kernels/network/add.cu; the lengths were checked; it writes `sum` alone,
        // which does not overlap `next`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("add_f32"))?;
        Ok(())
    }
}
