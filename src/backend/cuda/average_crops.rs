//! The mean over the crops of each image, on the device.

use super::arena::narrow;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// What a network says of the crops of images.
#[derive(Clone, Copy, Debug)]
pub struct Crops<'a> {
    /// `(n_classes, stride)`: of each row, the crops of the first image, then those of the next.
    pub probabilities: &'a CudaSlice<f32>,
    pub stride: usize,
    /// Of an image.
    pub n_crops: usize,
}

impl Launcher {
    /// Writes what `each` crop of `batch` images comes to: `(n_classes, stride)` of `probabilities`, of each row the `batch` from
    /// `first` on. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn average_crops(
        &self,
        probabilities: &mut CudaSlice<f32>,
        stride: usize,
        first: usize,
        n_classes: usize,
        each: Crops,
        batch: usize,
    ) -> Result<()> {
        let Crops { probabilities: of_crops, stride: in_stride, n_crops } = each;
        if stride < first + batch {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: first + batch });
        }
        if in_stride < batch * n_crops {
            return Err(Error::Shape {
                what: "a row of the crops' probabilities",
                got: in_stride,
                want: batch * n_crops,
            });
        }
        check_len("probabilities", probabilities, n_classes * stride)?;
        check_len("the crops' probabilities", of_crops, n_classes * in_stride)?;
        if batch * n_classes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let mut to = probabilities.slice_mut(first..);
        let blocks = (batch * n_classes).div_ceil(tuning::AVERAGE_CROPS_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::AVERAGE_CROPS_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_classes, batch) = (narrow("classes", n_classes)?, narrow("images", batch)?);
        let (stride, in_stride) = (narrow("a row of probabilities", stride)?, narrow("a row of crops", in_stride)?);
        let n_crops = narrow("crops", n_crops)?;
        let mut launch = self.stream.launch_builder(&self.kernels.average_crops_f32);
        launch.arg(&mut to).arg(of_crops).arg(&n_classes).arg(&batch).arg(&stride).arg(&in_stride).arg(&n_crops);
        // SAFETY: order and types are those of average_crops_f32 in kernels/network/average_crops.cu; the lengths were checked; it
        // writes probabilities alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("average_crops_f32"))?;
        Ok(())
    }
}
