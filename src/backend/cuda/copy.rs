//! Copies on the device, rectified or not.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Copies `len` values of each of `batch` images from `input` to `out`, which are the same place or do not overlap; with `rectify`
    /// `x > 0 ? x : 0` of each. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap.
    pub fn copy(
        &self,
        arena: &mut CudaSlice<f32>,
        out: Place,
        input: Place,
        len: usize,
        batch: usize,
        rectify: bool,
    ) -> Result<()> {
        if batch * len == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        if out != input {
            Place::check_apart(out, len, input, len, batch);
        }
        let to = out.of(arena, "a copy", batch, len)?;
        let from = input.of(arena, "what is copied", batch, len)?;
        let blocks = (batch * len).div_ceil(tuning::COPY_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::COPY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (batch, len) = (narrow("images", batch)?, narrow("an image", len)?);
        let (out_image, in_image) = (narrow("an image", out.image)?, narrow("an image", input.image)?);
        let rectify = u32::from(rectify);
        let mut launch = self.stream.launch_builder(&self.kernels.copy_f32);
        launch.arg(&to).arg(&from).arg(&batch).arg(&len).arg(&out_image).arg(&in_image).arg(&rectify);
        // SAFETY: order and types are those of copy_f32 in kernels/network/copy.cu; the lengths were checked; it writes `out` alone,
        // each value by the thread that has read what is there, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("copy_f32"))?;
        Ok(())
    }
}
