//! Pixels that count for little become 0, on the device.

use super::arena::{Place, narrow};
use super::ascent::Climbing;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// What a pixel is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Norm = 0,
    /// The benefit of being zeroed, to first order.
    Benefit = 1,
    AbsBenefit = 2,
}

impl Launcher {
    /// Zeroes pixels of the `n` images of `climbing` from `first` on, as far as they have not stopped: those that come before the one of
    /// `rank` in ascending order, counted from 0, by what they are `judged` by. `gradient` of `arena` is that of the network's input;
    /// `keys` scratch. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If no pixel has the rank.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn zero_pixels(
        &self,
        climbing: &mut Climbing,
        keys: &mut CudaSlice<u32>,
        arena: &CudaSlice<f32>,
        gradient: Place,
        judged: Judged,
        rank: usize,
        first: usize,
        n: usize,
    ) -> Result<()> {
        let len = climbing.shape.len();
        let pixels = climbing.shape.height * climbing.shape.width;
        assert!(rank < pixels, "rank {rank} of {pixels} pixels");
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        climbing.check(first, n)?;
        check_len("keys of pixels", keys, n * pixels)?;
        let from = gradient.of(arena, "the gradient of the network's input", n, len)?;
        let [images, channels, plane] = climbing.sizes(n)?;
        let config = LaunchConfig {
            grid_dim: (images, 1, 1),
            block_dim: (tuning::ZERO_PIXELS_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (kind, rank, gradient_image) = (judged as u32, rank as u32, narrow("an image", gradient.image)?);
        let Climbing { x, states, scales, .. } = climbing;
        let (mut x, states) = (x.slice_mut(first * len..), states.slice(first..));
        let mut launch = self.stream.launch_builder(&self.kernels.zero_pixels_f32);
        launch.arg(&mut x).arg(keys).arg(&from).arg(&states).arg(&*scales);
        launch.arg(&kind).arg(&rank).arg(&channels).arg(&plane).arg(&gradient_image);
        // SAFETY: order and types are those of zero_pixels_f32 in kernels/ascent/zero_pixels.cu; the lengths were checked; it writes the
        // images and keys alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("zero_pixels_f32"))?;
        Ok(())
    }
}
