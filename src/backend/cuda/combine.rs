//! What one more network says, joined to what those before it say together, on the device.

use super::arena::narrow;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::network::Combine;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Joins `next` to `together`, both `(n_classes, stride)`, of each row the first `batch`, by `rule`, as [`Combine::join`] says.
    /// Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn combine(
        &self,
        together: &mut CudaSlice<f32>,
        next: &CudaSlice<f32>,
        (rule, divisor): (Combine, f32),
        n_classes: usize,
        batch: usize,
        stride: usize,
    ) -> Result<()> {
        if stride < batch {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: batch });
        }
        check_len("probabilities", together, n_classes * stride)?;
        check_len("the next network's probabilities", next, n_classes * stride)?;
        if batch * n_classes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let blocks = (batch * n_classes).div_ceil(tuning::COMBINE_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::COMBINE_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, batch) = (narrow("classes", n_classes)?, narrow("images", batch)?);
        let stride = narrow("a row of probabilities", stride)?;
        let rule = if rule == Combine::Min { tuning::COMBINE_MIN } else { tuning::COMBINE_MEAN };
        let mut launch = self.stream.launch_builder(&self.kernels.combine_f32);
        launch.arg(together).arg(next).arg(&n_classes).arg(&batch).arg(&stride).arg(&rule).arg(&divisor);
        // SAFETY: order and types are those of combine_f32 in kernels/network/combine.cu; the lengths were checked; it writes `together`
        // alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("combine_f32"))?;
        Ok(())
    }
}
