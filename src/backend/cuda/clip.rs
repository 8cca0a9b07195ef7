//! Images on their way up, within what 8 bits hold and as the network takes them, on the device.

use super::arena::{Place, narrow};
use super::ascent::Climbing;
use super::launcher::Launcher;
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};

impl Launcher {
    /// Clips the `n` images of `climbing` from `first` on, as far as they have not stopped, and writes them times scale to `input` of
    /// `arena`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn clip(
        &self,
        climbing: &mut Climbing,
        arena: &mut CudaSlice<f32>,
        input: Place,
        first: usize,
        n: usize,
    ) -> Result<()> {
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        climbing.check(first, n)?;
        let len = climbing.shape.len();
        let to = input.of(arena, "the network's input", n, len)?;
        let config = climbing.a_thread_a_value(n)?;
        let [images, channels, plane] = climbing.sizes(n)?;
        let input_image = narrow("an image", input.image)?;
        let Climbing { x, states, mean, scales, .. } = climbing;
        let (mut x, states) = (x.slice_mut(first * len..), states.slice(first..));
        let mut launch = self.stream.launch_builder(&self.kernels.clip_f32);
        launch.arg(&mut x).arg(&to).arg(&states).arg(&*mean).arg(&*scales);
        launch.arg(&images).arg(&channels).arg(&plane).arg(&input_image);
        // SAFETY: order and types are those of clip_f32 in kernels/ascent/clip.cu; the lengths were checked; it writes the images and
        // `input` alone, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("clip_f32"))?;
        Ok(())
    }
}
