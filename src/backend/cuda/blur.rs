//! A Gaussian blur of images on their way up, on the device.

use super::arena::narrow;
use super::ascent::Climbing;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};

impl Launcher {
    /// Blurs the `n` images of `climbing` from `first` on, as far as they have not stopped, by `weights`, an odd number of taps: along
    /// columns into `scratch`, along rows back. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses a launch.
    ///
    /// # Panics
    /// If there is no middle tap.
    pub fn blur(
        &self,
        climbing: &mut Climbing,
        scratch: &mut CudaSlice<f32>,
        weights: &CudaSlice<f32>,
        first: usize,
        n: usize,
    ) -> Result<()> {
        assert!(weights.len() % 2 == 1, "{} taps", weights.len());
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        climbing.check(first, n)?;
        let shape = climbing.shape;
        check_len("scratch for a blur", scratch, n * shape.len())?;
        let config = climbing.a_thread_a_value(n)?;
        let (images, len) = (narrow("images", n)?, narrow("an image", shape.len())?);
        let (height, width, reach) = (shape.height as u32, shape.width as u32, (weights.len() / 2) as u32);
        let Climbing { x, states, .. } = climbing;
        let (from, states) = (x.slice(first * shape.len()..), states.slice(first..));
        let mut down = self.stream.launch_builder(&self.kernels.blur_f32);
        down.arg(&mut *scratch).arg(&from).arg(weights).arg(&states);
        down.arg(&images).arg(&len).arg(&height).arg(&width).arg(&reach);
        // SAFETY: order and types are those of blur_f32 in kernels/ascent/blur.cu; the lengths were checked; it writes scratch alone.
        unsafe { down.launch(config) }.map_err(Error::launch("blur_f32"))?;
        let mut to = x.slice_mut(first * shape.len()..);
        let mut along = self.stream.launch_builder(&self.kernels.blur_f32);
        let apart = 1_u32;
        along.arg(&mut to).arg(&*scratch).arg(weights).arg(&states);
        along.arg(&images).arg(&len).arg(&width).arg(&apart).arg(&reach);
        // SAFETY: as above; it writes the images alone.
        unsafe { along.launch(config) }.map_err(Error::launch("blur_f32"))?;
        Ok(())
    }
}
