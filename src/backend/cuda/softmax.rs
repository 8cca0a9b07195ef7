//! Softmax on the device.

use super::arena::{Place, narrow};
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Turns the logits of `batch` images into probabilities: `(n_classes, stride)` of `probabilities`, of each row the `batch` from
    /// `first` on. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn softmax(
        &self,
        probabilities: &mut CudaSlice<f32>,
        stride: usize,
        first: usize,
        n_classes: usize,
        arena: &CudaSlice<f32>,
        logits: Place,
        batch: usize,
    ) -> Result<()> {
        if stride < first + batch {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: first + batch });
        }
        check_len("probabilities", probabilities, n_classes * stride)?;
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let from = logits.of(arena, "logits", batch, n_classes)?;
        let mut to = probabilities.slice_mut(first..);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", batch.div_ceil(tuning::WARP_SIZE as usize))?, 1, 1),
            block_dim: (tuning::SOFTMAX_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, batch) = (narrow("classes", n_classes)?, narrow("images", batch)?);
        let (stride, in_image) =
            (narrow("a row of probabilities", stride)?, narrow("logits of an image", logits.image)?);
        let mut launch = self.stream.launch_builder(&self.kernels.softmax_f32);
        launch.arg(&mut to).arg(&from).arg(&n_classes).arg(&batch).arg(&stride).arg(&in_image);
        // SAFETY: order and types are those of softmax_f32 in kernels/network/softmax.cu; the lengths were checked; it writes
        // probabilities alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("softmax_f32"))?;
        Ok(())
    }
}
