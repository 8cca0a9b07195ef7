//! Children of direct genomes, on the device.

use super::genomes::DirectSlots;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, DirectRules, Pair, RunState};
use crate::error::{Error, Result};
use crate::rng::GENE_GROUP;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Makes the children of `chunk` from direct genomes: crossover or copy, then mutation.
    ///
    /// Writes `children`, `(chunk.count)` slots, from the parents that `pairs`, `(chunk.count / 2)`, name among `elites`,
    /// `(n_runs, n_niches, 2)` slots of which `current`, `(n_runs, n_niches)`, says one of two; with the keys and generations of
    /// `runs`, `(n_runs)`, of which `active` takes part. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments)] // each is a buffer of its own
    pub fn vary_direct(
        &self,
        children: &mut DirectSlots,
        elites: &DirectSlots,
        current: &CudaSlice<u32>,
        pairs: &CudaSlice<Pair>,
        runs: &CudaSlice<RunState>,
        active: &CudaSlice<u32>,
        rules: &DirectRules,
        chunk: Chunk,
        n_niches: u32,
    ) -> Result<()> {
        let n_genes = children.n_genes as u32;
        let n_elites = runs.len() * n_niches as usize;
        check_len("children", &children.genes, chunk.count as usize * children.n_genes)?;
        check_len("elites", &elites.genes, 2 * n_elites * children.n_genes)?;
        check_len("current", current, n_elites)?;
        check_len("pairs", pairs, chunk.count as usize / 2)?;
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        if chunk.count == 0 || n_genes == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (chunk.count / 2, gene_blocks(n_genes), 1),
            block_dim: (tuning::DIRECT_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.vary_direct_f32);
        launch.arg(&mut children.genes).arg(&elites.genes).arg(current).arg(pairs).arg(runs).arg(active);
        launch.arg(rules).arg(&chunk).arg(&n_niches).arg(&n_genes);
        // SAFETY: order and types are those of vary_direct_f32 in kernels/genome/vary_direct.cu; lengths were checked, and
        // select wrote niches below n_niches into pairs; it writes the children's genes alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("vary_direct_f32"))?;
        Ok(())
    }
}

/// Blocks that a genome of `n_genes` takes with a thread a block of random words.
pub(super) fn gene_blocks(n_genes: u32) -> u32 {
    const WORDS_OF_A_BLOCK: u32 = 4;
    let threads = n_genes.div_ceil(GENE_GROUP as u32) * (GENE_GROUP as u32 / WORDS_OF_A_BLOCK);
    threads.div_ceil(tuning::DIRECT_THREADS)
}
