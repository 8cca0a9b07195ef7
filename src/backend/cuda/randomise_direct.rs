//! Random direct genomes, on the device.

use super::genomes::DirectSlots;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, RunState};
use super::vary_direct::gene_blocks;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Makes the random direct genomes of `chunk`: writes `genomes`, `(chunk.count)` slots, every gene in [0, 1), from the keys of
    /// `runs`, of which `active` takes part. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn randomise_direct(
        &self,
        genomes: &mut DirectSlots,
        runs: &CudaSlice<RunState>,
        active: &CudaSlice<u32>,
        chunk: Chunk,
    ) -> Result<()> {
        let n_genes = genomes.n_genes as u32;
        check_len("genomes", &genomes.genes, chunk.count as usize * genomes.n_genes)?;
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        if chunk.count == 0 || n_genes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (chunk.count, gene_blocks(n_genes), 1),
            block_dim: (tuning::DIRECT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.randomise_direct_f32);
        launch.arg(&mut genomes.genes).arg(runs).arg(active).arg(&chunk).arg(&n_genes);
        // SAFETY: order and types are those of randomise_direct_f32 in kernels/genome/randomise_direct.cu; lengths were
        // checked; it writes the genes alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("randomise_direct_f32"))?;
        Ok(())
    }
}
