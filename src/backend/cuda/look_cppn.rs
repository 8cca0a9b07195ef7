//! What a step of the ascent sees of drawings, on the device.

use super::arena::narrow;
use super::launcher::{Launcher, check_len};
use super::look::Answers;
use super::params::CppnSeen;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Writes what is seen of the `n` images from `first` on to theirs of `seen`: of their `answers`, means over the crops, which are the first
    /// `n` of each row; `classes` are those of their crops, `n_crops` each. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn look_cppn(
        &self,
        seen: &mut CudaSlice<CppnSeen>,
        answers: Answers,
        classes: &CudaView<u32>,
        n_crops: usize,
        first: usize,
        n: usize,
    ) -> Result<()> {
        let Answers { probabilities, n_classes, stride } = answers;
        if stride < n {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: n });
        }
        check_len("probabilities", probabilities, n_classes * stride)?;
        check_len("classes of crops", classes, n * n_crops)?;
        check_len("what is seen of drawings", seen, first + n)?;
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let images = narrow("images", n)?;
        let config = LaunchConfig {
            grid_dim: (images.div_ceil(tuning::LOOK_CPPN_WARPS), 1, 1),
            block_dim: (tuning::LOOK_CPPN_WARPS * tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, stride) = (narrow("classes", n_classes)?, narrow("a row of probabilities", stride)?);
        let n_crops = narrow("crops", n_crops)?;
        let mut seen = seen.slice_mut(first..);
        let mut launch = self.stream.launch_builder(&self.kernels.look_cppn_f32);
        launch.arg(&mut seen).arg(probabilities).arg(classes).arg(&n_classes).arg(&stride).arg(&images).arg(&n_crops);
        // SAFETY: order and types are those of look_cppn_f32 in kernels/ascent/look_cppn.cu; the lengths were checked, the classes are the
        // caller's word; it writes `seen` alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("look_cppn_f32"))?;
        Ok(())
    }
}
