//! CPPNs drawn, on the device.

use super::compile_cppn::{CppnPrograms, render_shared};
use super::launcher::{Launcher, check_len};
use super::params::CppnRules;
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::genome::cppn::InputPlanes;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Inputs of a CPPN that differ from pixel to pixel: column, row, distance.
pub(super) const N_PLANES: usize = 3;

/// The inputs of the pixels, as [`Launcher::render_cppn`] wants them: `(3, pixels)`.
///
/// # Errors
/// [`Error::Driver`] if there is no room.
pub fn upload_planes(launcher: &Launcher, planes: &InputPlanes) -> Result<CudaSlice<f32>> {
    launcher.upload(&(0..N_PLANES).flat_map(|index| planes.plane(index)).copied().collect::<Vec<_>>())
}

/// What they take.
pub fn planes_bytes(canvas: Canvas) -> usize {
    N_PLANES * canvas.pixels() * size_of::<f32>()
}

impl Launcher {
    /// Draws the first `count` of `programs` at the pixels whose inputs are `planes`, from [`upload_planes`], into `images`,
    /// `(count, pixels, channels)`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn render_cppn(
        &self,
        images: &mut CudaSlice<u8>,
        programs: &CppnPrograms,
        planes: &CudaSlice<f32>,
        rules: &CppnRules,
        count: u32,
    ) -> Result<()> {
        let n_pixels = (planes.len() / N_PLANES) as u32;
        check_len("images", images, count as usize * n_pixels as usize * rules.n_outputs as usize)?;
        programs.check(count as usize, rules)?;
        if count == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let shared_bytes = render_shared(rules) as u32;
        let config = LaunchConfig {
            grid_dim: (count, 1, 1),
            block_dim: (tuning::RENDER_CPPN_WARPS * tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: shared_bytes,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.render_cppn_u8);
        launch.arg(images).arg(&programs.headers).arg(&programs.instructions).arg(&programs.terms).arg(planes);
        launch.arg(rules).arg(&count).arg(&n_pixels).arg(&shared_bytes);
        // SAFETY: order and types are those of render_cppn_u8 in kernels/image/render_cppn.cu; lengths were checked, and
        // compile_cppn wrote the programs; it writes images alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("render_cppn_u8"))?;
        Ok(())
    }
}
