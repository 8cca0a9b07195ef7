//! A step up, on the device.

use super::arena::{Place, narrow};
use super::ascent::Climbing;
use super::launcher::Launcher;
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};

impl Launcher {
    /// Moves the `n` images of `climbing` from `first` on, as far as they have not stopped, by their rates along `gradient` of `arena`,
    /// that of the network's input; `keep` is the share of them that decay leaves. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn climb(
        &self,
        climbing: &mut Climbing,
        arena: &CudaSlice<f32>,
        gradient: Place,
        keep: f32,
        first: usize,
        n: usize,
    ) -> Result<()> {
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        climbing.check(first, n)?;
        let len = climbing.shape.len();
        let from = gradient.of(arena, "the gradient of the network's input", n, len)?;
        let config = climbing.a_thread_a_value(n)?;
        let [images, channels, plane] = climbing.sizes(n)?;
        let gradient_image = narrow("an image", gradient.image)?;
        let Climbing { x, states, scales, .. } = climbing;
        let (mut x, states) = (x.slice_mut(first * len..), states.slice(first..));
        let mut launch = self.stream.launch_builder(&self.kernels.climb_f32);
        launch.arg(&mut x).arg(&from).arg(&states).arg(&*scales).arg(&keep);
        launch.arg(&images).arg(&channels).arg(&plane).arg(&gradient_image);
        // SAFETY: order and types are those of climb_f32 in kernels/ascent/climb.cu; the lengths were checked; it writes the images alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("climb_f32"))?;
        Ok(())
    }
}
