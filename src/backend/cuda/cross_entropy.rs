//! The gradient of the loss on the device: softmax and cross entropy.

use super::arena::{Place, narrow};
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Writes to `gradient` the gradient, with respect to the logits, of the cross entropy averaged over `batch` images, of the images from
    /// there to `filled` +0; and to `probabilities`, `(batch)`, that of each image's label. Gradient and logits are in one arena. Returns
    /// before the device has finished. The labels are below `n_classes`; those that are not have no probability.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap, or `batch` is 0 or more than `filled`.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn cross_entropy(
        &self,
        arena: &mut CudaSlice<f32>,
        gradient: Place,
        probabilities: &mut CudaSlice<f32>,
        logits: Place,
        labels: &CudaView<'_, u32>,
        n_classes: usize,
        batch: usize,
        filled: usize,
    ) -> Result<()> {
        assert!(0 < batch && batch <= filled, "{batch} of {filled} images");
        Place::check_apart(gradient, n_classes, logits, n_classes, filled);
        check_len("the probabilities of labels", probabilities, batch)?;
        check_len("labels", labels, batch)?;
        let to = gradient.of(arena, "the gradient of logits", filled, n_classes)?;
        let from = logits.of(arena, "logits", filled, n_classes)?;
        let config = LaunchConfig {
            grid_dim: (narrow("images", filled)?.div_ceil(tuning::CROSS_ENTROPY_WARPS), 1, 1),
            block_dim: (tuning::CROSS_ENTROPY_WARPS * tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, batch, filled) =
            (narrow("classes", n_classes)?, narrow("images", batch)?, narrow("images", filled)?);
        let gradient_image = narrow("the gradient of an image's logits", gradient.image)?;
        let in_image = narrow("logits of an image", logits.image)?;
        let mut launch = self.stream.launch_builder(&self.kernels.cross_entropy_f32);
        launch.arg(&to).arg(probabilities).arg(&from).arg(labels);
        launch.arg(&n_classes).arg(&batch).arg(&filled).arg(&gradient_image).arg(&in_image);
        // SAFETY: order and types are those of cross_entropy_f32 in kernels/train/cross_entropy.cu; the lengths were checked; it writes
        // `gradient`, which does not overlap the logits, and `probabilities`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("cross_entropy_f32"))?;
        Ok(())
    }
}
