//! Values dropped at random in training, on the device.

use super::arena::{Place, narrow};
use super::launcher::{Launcher, check_len};
use super::params::TrainingStep;
use crate::backend::training::Dropout;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Drops some of the `len` values of each of `batch` images at `place`, as `dropout` says and `seed` and the step's iteration draw, and
    /// multiplies the others; or does the same to the gradients of such values: it is the same. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If there are more images than a value has numbers for, 65,536, or more values of the network.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn dropout(
        &self,
        arena: &mut CudaSlice<f32>,
        place: Place,
        len: usize,
        batch: usize,
        dropout: &Dropout,
        seed: u64,
        step: &CudaView<'_, TrainingStep>,
    ) -> Result<()> {
        assert!(batch <= 1 << 16 && dropout.value < 1 << 16, "{batch} images, {dropout:?}");
        if batch * len == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        check_len("the step", step, 1)?;
        let values = place.of(arena, "values to drop", batch, len)?;
        let blocks = (batch * len.div_ceil(4)).div_ceil(tuning::DROPOUT_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::DROPOUT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (key_low, key_high) = (seed as u32, (seed >> 32) as u32);
        let (value, batch, len) = (dropout.value as u32, batch as u32, narrow("an image", len)?);
        let image = narrow("an image", place.image)?;
        let (ratio, factor) = (dropout.ratio, dropout.factor());
        let mut launch = self.stream.launch_builder(&self.kernels.dropout_f32);
        launch.arg(&values).arg(step).arg(&key_low).arg(&key_high).arg(&value);
        launch.arg(&batch).arg(&len).arg(&image).arg(&ratio).arg(&factor);
        // SAFETY: order and types are those of dropout_f32 in kernels/train/dropout.cu; the lengths were checked; it writes the values
        // alone, each by the thread that has read it, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("dropout_f32"))?;
        Ok(())
    }
}
