//! The parents of each pair, on the device.

use super::launcher::{Launcher, check_len};
use super::params::{Chunk, Pair, RunState};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Draws the parents of each pair of `chunk`, and how the pair is made from them.
    ///
    /// Writes `pairs`, `(chunk.count / 2)`, from the keys and generations of `runs`, of which `active` takes part;
    /// `crossover_chance` is the threshold of a pair's crossover, `n_niches` the niches of a run. Returns before the device has
    /// finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn select(
        &self,
        pairs: &mut CudaSlice<Pair>,
        runs: &CudaSlice<RunState>,
        active: &CudaSlice<u32>,
        crossover_chance: u64,
        chunk: Chunk,
        n_niches: u32,
    ) -> Result<()> {
        let n_pairs = chunk.count / 2;
        check_len("pairs", pairs, n_pairs as usize)?;
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        if n_pairs == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (n_pairs.div_ceil(tuning::SELECT_THREADS), 1, 1),
            block_dim: (tuning::SELECT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.select_u32);
        launch.arg(pairs).arg(runs).arg(active).arg(&crossover_chance).arg(&chunk).arg(&n_niches);
        // SAFETY: order and types are those of select_u32 in kernels/archive/select.cu; lengths were checked; it writes pairs
        // alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("select_u32"))?;
        Ok(())
    }
}
