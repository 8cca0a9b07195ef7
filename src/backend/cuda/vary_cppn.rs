//! Children of CPPNs, on the device.

use super::genomes::CppnSlots;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, CppnRules, Pair, RunState};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Makes the children of `chunk` from CPPNs: copies, varied by the operators in their order.
    ///
    /// Writes `children`, `(chunk.count)` slots, from the parents that `pairs`, `(chunk.count / 2)`, name among `elites`,
    /// `(n_runs, n_niches, 2)` slots of which `current`, `(n_runs, n_niches)`, says one of two; with the keys and generations
    /// of `runs`, `(n_runs)`, of which `active` takes part. Operators skipped for want of capacity are added to their runs'
    /// counts. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments)] // each is a buffer of its own
    pub fn vary_cppn(
        &self,
        children: &mut CppnSlots,
        runs: &mut CudaSlice<RunState>,
        elites: &CppnSlots,
        current: &CudaSlice<u32>,
        pairs: &CudaSlice<Pair>,
        active: &CudaSlice<u32>,
        rules: &CppnRules,
        chunk: Chunk,
        n_niches: u32,
    ) -> Result<()> {
        let n_elites = runs.len() * n_niches as usize;
        children.check("children", chunk.count as usize, rules)?;
        elites.check("elites", 2 * n_elites, rules)?;
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
        launch.arg(&mut children.sizes).arg(&mut children.activations).arg(&mut children.edges).arg(runs);
        launch.arg(&elites.sizes).arg(&elites.activations).arg(&elites.edges).arg(current).arg(pairs).arg(active);
        launch.arg(rules).arg(&chunk).arg(&n_niches);
        // SAFETY: order and types are those of vary_cppn_f32 in kernels/genome/vary_cppn.cu; lengths were checked, select wrote
        // niches below n_niches into pairs, and elites are of these rules; it writes children and the counts of runs alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("vary_cppn_f32"))?;
        Ok(())
    }
}
