//! Random CPPNs, on the device.

use super::genomes::CppnSlots;
use super::launcher::{Launcher, check_len};
use super::params::{Chunk, CppnRules, RunState};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Makes the random CPPNs of `chunk`: writes the first `chunk.count` slots of `genomes` from the keys of `runs`, of which
    /// `active` takes part. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn randomise_cppn(
        &self,
        genomes: &mut CppnSlots,
        runs: &CudaSlice<RunState>,
        active: &CudaSlice<u32>,
        rules: &CppnRules,
        chunk: Chunk,
    ) -> Result<()> {
        genomes.check("genomes", chunk.count as usize, rules)?;
        check_len("active", active, chunk.runs())?;
        check_len("runs", runs, chunk.runs())?;
        if chunk.count == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (chunk.count.div_ceil(tuning::RANDOMISE_CPPN_WARPS), 1, 1),
            block_dim: (tuning::RANDOMISE_CPPN_WARPS * tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.randomise_cppn_f32);
        launch.arg(&mut genomes.sizes).arg(&mut genomes.activations).arg(&mut genomes.edges);
        launch.arg(runs).arg(active).arg(rules).arg(&chunk);
        // SAFETY: order and types are those of randomise_cppn_f32 in kernels/genome/randomise_cppn.cu; lengths were checked,
        // and the capacity of valid rules holds a random genome; it writes genomes alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("randomise_cppn_f32"))?;
        Ok(())
    }
}
