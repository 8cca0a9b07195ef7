//! What the device can do at most, on the device: `experiment::bench` times it.

use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Where a chain of [`Launcher::peak_fma`] comes to rest, times the chains of a thread.
pub const PEAK_FMA_REST: f32 = (2 * tuning::PEAK_FMA_CHAINS) as f32;
/// Blocks of [`Launcher::peak_read`] and [`Launcher::peak_copy`] that fill a multiprocessor.
const BLOCKS_OF_SM: u32 = 8;

impl Launcher {
    /// Multiprocessors of the device.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn multiprocessors(&self) -> Result<u32> {
        self.number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// Bytes of its second-level cache.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn l2_bytes(&self) -> Result<u64> {
        self.number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE).map(u64::from)
    }

    fn number(&self, attribute: CUdevice_attribute) -> Result<u32> {
        let number = self.stream.context().attribute(attribute).map_err(Error::driver("ask what the GPU has"))?;
        Ok(number as u32)
    }

    /// Runs [`tuning::PEAK_FMA_CHAINS`] chains of `links` fused multiply-adds in each thread of the `blocks` that `rests` has room
    /// for, `(blocks, PEAK_FMA_THREADS)`, and writes what each thread's come to: [`PEAK_FMA_REST`]. Returns before the device has
    /// finished.
    ///
    /// # Errors
    /// [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `links` is no multiple of [`tuning::PEAK_FMA_UNROLLED`], or too small for the chains to come to rest.
    pub fn peak_fma(&self, rests: &mut CudaSlice<f32>, links: u32) -> Result<()> {
        assert!(links >= 64 && links.is_multiple_of(tuning::PEAK_FMA_UNROLLED));
        let config = LaunchConfig {
            grid_dim: (rests.len() as u32 / tuning::PEAK_FMA_THREADS, 1, 1),
            block_dim: (tuning::PEAK_FMA_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.peak_fma_f32);
        launch.arg(rests).arg(&0.5_f32).arg(&1.0_f32).arg(&links);
        // SAFETY: order and types are those of peak_fma_f32 in kernels/peak/peak_fma.cu; the grid is what `rests` holds; it writes
        // that alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("peak_fma_f32"))?;
        Ok(())
    }

    /// Reads `words` and writes what each of `blocks` blocks adds up to `sums`, `(blocks)`: [`Launcher::peak_blocks`] says how many are
    /// good. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if `sums` is shorter; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the number of words is no multiple of 4.
    pub fn peak_read(&self, sums: &mut CudaSlice<u64>, words: &CudaSlice<u32>, blocks: u32) -> Result<()> {
        let n_words = quads(words);
        let blocks = blocks.max(1); // a grid of no blocks is a launch error
        check_len("sums", sums, blocks as usize)?;
        let config =
            LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (tuning::PEAK_THREADS, 1, 1), shared_mem_bytes: 0 };
        let mut launch = self.stream.launch_builder(&self.kernels.peak_read_u32);
        launch.arg(sums).arg(words).arg(&n_words);
        // SAFETY: order and types are those of peak_read_u32 in kernels/peak/peak_read.cu; the length of the sums was checked, one a
        // block; it writes them alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("peak_read_u32"))?;
        Ok(())
    }

    /// Copies `source` to `target` by `blocks` blocks: [`Launcher::peak_blocks`] says how many are good. Returns before the device
    /// has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if `target` is shorter; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the number of words is no multiple of 4.
    pub fn peak_copy(&self, target: &mut CudaSlice<u32>, source: &CudaSlice<u32>, blocks: u32) -> Result<()> {
        check_len("target", target, source.len())?;
        let n_words = quads(source);
        let config = LaunchConfig {
            grid_dim: (blocks.max(1), 1, 1), // a grid of no blocks is a launch error
            block_dim: (tuning::PEAK_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.peak_copy_u32);
        launch.arg(target).arg(source).arg(&n_words);
        // SAFETY: order and types are those of peak_copy_u32 in kernels/peak/peak_copy.cu; the length was checked; it writes target
        // alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("peak_copy_u32"))?;
        Ok(())
    }

    /// Blocks that read or copy `n_words` words: as many as fill the device, fewer where there is less to do.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn peak_blocks(&self, n_words: u64) -> Result<u32> {
        let of_block = u64::from(4 * tuning::PEAK_UNROLLED * tuning::PEAK_THREADS);
        let most = u64::from(BLOCKS_OF_SM * self.multiprocessors()?);
        Ok(n_words.div_ceil(of_block).clamp(1, most) as u32)
    }
}

/// How many words there are.
///
/// # Panics
/// If it is no multiple of 4: kernels read four at a time.
fn quads(words: &CudaSlice<u32>) -> u64 {
    assert!(words.len().is_multiple_of(4), "{} words", words.len());
    words.len() as u64
}
