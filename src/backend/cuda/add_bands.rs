//! What all bands of drawings tell the terms of their programs, on the device.

use super::arena::narrow;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Adds `bands`, `(n_bands, terms)`, up into `gradient`, `(terms)`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn add_bands(
        &self,
        gradient: &mut CudaSlice<f32>,
        bands: &CudaSlice<f32>,
        n_bands: usize,
        terms: usize,
    ) -> Result<()> {
        check_len("gradients of the terms", gradient, terms)?;
        check_len("bands of the terms", bands, n_bands * terms)?;
        if terms == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (narrow("terms", terms)?.div_ceil(tuning::ADD_BANDS_THREADS), 1, 1),
            block_dim: (tuning::ADD_BANDS_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (n_bands, terms) = (narrow("bands", n_bands)?, terms as u32);
        let mut launch = self.stream.launch_builder(&self.kernels.add_bands_f32);
        launch.arg(gradient).arg(bands).arg(&n_bands).arg(&terms);
        // SAFETY: order and types are those of add_bands_f32 in kernels/ascent/add_bands.cu; the lengths were checked; it writes `gradient`
        // alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("add_bands_f32"))?;
        Ok(())
    }
}
