//! Direct genomes drawn, on the device.

use super::genomes::DirectSlots;
use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Draws the first `count` of `genomes` into `images`, `(count, height, width, n_channels)`: a gene a pixel and channel. Returns
    /// before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If there are neither 1 nor 3 channels, or a genome has no whole pixels of so many.
    pub fn render_direct(
        &self,
        images: &mut CudaSlice<u8>,
        genomes: &DirectSlots,
        n_channels: usize,
        count: u32,
    ) -> Result<()> {
        assert!([1, 3].contains(&n_channels) && genomes.n_genes.is_multiple_of(n_channels));
        let n_genes = count as usize * genomes.n_genes;
        check_len("images", images, n_genes)?;
        check_len("genomes", &genomes.genes, n_genes)?;
        if n_genes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let n_pixels = (n_genes / n_channels) as u64;
        let n_channels = n_channels as u32;
        let blocks = n_pixels.div_ceil(u64::from(tuning::RENDER_DIRECT_THREADS * tuning::RENDER_DIRECT_PIXELS));
        let config = LaunchConfig {
            grid_dim: (blocks as u32, 1, 1),
            block_dim: (tuning::RENDER_DIRECT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.render_direct_u8);
        launch.arg(images).arg(&genomes.genes).arg(&n_pixels).arg(&n_channels);
        // SAFETY: order and types are those of render_direct_u8 in kernels/image/render_direct.cu; lengths were checked; it
        // writes images alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("render_direct_u8"))?;
        Ok(())
    }
}
