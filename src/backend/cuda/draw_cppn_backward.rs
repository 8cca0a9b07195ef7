//! What a network tells the weights of the CPPNs that it was shown, on the device.

use super::arena::{Place, narrow};
use super::draw_cppn::DrawnCppns;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};

impl Launcher {
    /// What `gradient` of `arena`, that of the network's input, crops of an image side by side, tells the weights of the `n` CPPNs of `drawn`
    /// from `first` on: writes theirs of `bands`, `(bands, terms)` of all CPPNs. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn draw_cppn_backward(
        &self,
        bands: &mut CudaSlice<f32>,
        drawn: &mut DrawnCppns,
        arena: &CudaSlice<f32>,
        gradient: Place,
        first: usize,
        n: usize,
    ) -> Result<()> {
        let all_terms = drawn.sizes.terms;
        if n == 0 || all_terms == 0 {
            return Ok(()); // a grid of no blocks is a launch error; without terms there is nothing to write
        }
        drawn.check(first, n)?;
        check_len("bands of the terms", bands, drawn.n_bands() * all_terms)?;
        let crops = n * drawn.eye.n_crops as usize;
        let from = gradient.of(arena, "the gradient of the network's input", crops, drawn.crop_len())?;
        let (config, room) = drawn.rooms[1].launch(n * drawn.n_bands())?;
        let (images, gradient_crop) = (narrow("images", n)?, narrow("a crop", gradient.image)?);
        let all_terms = narrow("terms", all_terms)?;
        let DrawnCppns { headers, instructions, terms, weights, planes, crops, scratch, eye, .. } = drawn;
        let headers = headers.slice(first..);
        let mut launch = self.stream.launch_builder(&self.kernels.draw_cppn_backward_f32);
        launch.arg(bands).arg(scratch).arg(&from).arg(&headers).arg(&*instructions).arg(&*terms).arg(&*weights);
        launch.arg(&*planes).arg(&*crops).arg(&*eye).arg(&images).arg(&gradient_crop).arg(&all_terms).arg(&room);
        // SAFETY: order and types are those of draw_cppn_backward_f32 in kernels/ascent/draw_cppn_backward.cu; the lengths were checked, the
        // programs are those of DrawnCppns::new, which made room for the longest; it writes bands and scratch alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("draw_cppn_backward_f32"))?;
        Ok(())
    }
}
