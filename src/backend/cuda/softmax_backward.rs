//! The gradient of the probability of a class, on the device.

use super::arena::{Place, narrow};
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};

impl Launcher {
    /// The gradient, with respect to the logits, of the probability of a class of each of `batch` images, at `out`. `probabilities` is
    /// `(n_classes, stride)`, of each row the first `batch`; `classes` `(batch)`, each below `n_classes`. Returns before the device has
    /// finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn softmax_backward(
        &self,
        arena: &mut CudaSlice<f32>,
        out: Place,
        probabilities: &CudaSlice<f32>,
        stride: usize,
        classes: &CudaView<u32>,
        n_classes: usize,
        batch: usize,
    ) -> Result<()> {
        if stride < batch {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: batch });
        }
        check_len("probabilities", probabilities, n_classes * stride)?;
        check_len("the images' classes", classes, batch)?;
        if batch * n_classes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let to = out.of(arena, "the gradient of logits", batch, n_classes)?;
        let blocks = (batch * n_classes).div_ceil(tuning::SOFTMAX_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::SOFTMAX_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, batch) = (narrow("classes", n_classes)?, narrow("images", batch)?);
        let (stride, out_image) = (narrow("a row of probabilities", stride)?, narrow("an image", out.image)?);
        let mut launch = self.stream.launch_builder(&self.kernels.softmax_backward_f32);
        launch.arg(&to).arg(probabilities).arg(classes).arg(&n_classes).arg(&batch).arg(&stride).arg(&out_image);
        // SAFETY: order and types are those of softmax_backward_f32 in kernels/network/softmax_backward.cu; the lengths were checked, the
        // classes are the caller's word; it writes `out` alone, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("softmax_backward_f32"))?;
        Ok(())
    }
}
