//! Children of CPPNs, on the device.

use super::genomes::CppnSlots;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, CppnRules, Pair, RunState};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// The CPPNs of the elites, and where they are.
#[derive(Clone, Copy, Debug)]
pub struct CppnElites<'a> {
    /// `(n_runs, n_niches, 2)` slots.
    pub genomes: &'a CppnSlots,
    /// Which of its two slots holds a niche's elite, `(n_runs, n_niches)`.
    pub current: &'a CudaSlice<u32>,
    pub n_niches: u32,
}

impl Launcher {
    /// Makes the children of `chunk` from CPPNs: copies, varied by the operators in their order.
    ///
    /// Writes the first `chunk.count` slots of `genomes` from the parents that `pairs`, `(chunk.count / 2)`, name among `elites`,
    /// with the keys and generations of `runs`, `(n_runs)`, of which `active` takes part; operators skipped for want of capacity
    /// are added to their counts. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments)] // each is a buffer of its own
    pub fn vary_cppn(
        &self,
        genomes: &mut CppnSlots,
        runs: &mut CudaSlice<RunState>,
        elites: CppnElites,
        pairs: &CudaSlice<Pair>,
        active: &CudaSlice<u32>,
        rules: &CppnRules,
        chunk: Chunk,
    ) -> Result<()> {
        let CppnElites { genomes: parents, current, n_niches } = elites;
        let n_elites = runs.len() * n_niches as usize;
        genomes.check("genomes", chunk.count as usize, rules)?;
        parents.check("elite genomes", 2 * n_elites, rules)?;
        check_len("current", current, n_elites)?;
        check_len("pairs", pairs, chunk.count as usize / 2)?;
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        if chunk.count == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let bits = rules.max_nodes.div_ceil(u32::BITS) * size_of::<u32>() as u32; // 8 KiB at the most
        let config = LaunchConfig {
            grid_dim: (chunk.count.div_ceil(tuning::VARY_CPPN_WARPS), 1, 1),
            block_dim: (tuning::VARY_CPPN_WARPS * tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: tuning::VARY_CPPN_WARPS * bits,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.vary_cppn_f32);
        launch.arg(&mut genomes.sizes).arg(&mut genomes.activations).arg(&mut genomes.edges).arg(runs);
        launch.arg(&parents.sizes).arg(&parents.activations).arg(&parents.edges).arg(current).arg(pairs).arg(active);
        launch.arg(rules).arg(&chunk).arg(&n_niches);
        // SAFETY: order and types are those of vary_cppn_f32 in kernels/genome/vary_cppn.cu; lengths were checked, select wrote
        // niches below n_niches into pairs, and elites are of these rules; it writes genomes and the counts of runs alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("vary_cppn_f32"))?;
        Ok(())
    }
}
