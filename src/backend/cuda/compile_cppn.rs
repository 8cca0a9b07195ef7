//! Programs of CPPNs, on the device.

use super::genomes::CppnSlots;
use super::launcher::{Launcher, check_len};
use super::params::{CppnInstruction, CppnProgram, CppnRules, CppnTerm};
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::genome::cppn::N_INPUTS;
use crate::tuning;
use cudarc::driver::{CudaFunction, CudaSlice, LaunchConfig, PushKernelArg};

/// Programs in slots, each as large as the capacity.
#[derive(Debug)]
pub struct CppnPrograms {
    pub max_nodes: u32,
    pub max_edges: u32,
    /// `(slots)`
    pub headers: CudaSlice<CppnProgram>,
    /// `(slots, max_nodes)`
    pub instructions: CudaSlice<CppnInstruction>,
    /// `(slots, max_edges)`
    pub terms: CudaSlice<CppnTerm>,
}

/// Shared memory that any kernel may have without being asked for.
const ALWAYS_SHARED: u64 = 48 * 1024;

impl CppnPrograms {
    /// `slots` slots of the capacity of `rules`. Allows the kernels what they need of shared memory.
    ///
    /// # Errors
    /// [`Error::Refused`] if the device has too little shared memory for genomes of this capacity; [`Error::Driver`] if there
    /// is no room.
    pub fn new(launcher: &Launcher, rules: &CppnRules, slots: usize) -> Result<CppnPrograms> {
        launcher.allow_shared(&launcher.kernels.compile_cppn_f32, compile_shared(rules), rules)?;
        launcher.allow_shared(&launcher.kernels.render_cppn_u8, render_shared(rules), rules)?;
        Ok(CppnPrograms {
            max_nodes: rules.max_nodes,
            max_edges: rules.max_edges,
            headers: launcher.zeros(slots)?,
            instructions: launcher.zeros(slots * rules.max_nodes as usize)?,
            terms: launcher.zeros(slots * rules.max_edges as usize)?,
        })
    }

    /// Bytes of a slot.
    pub fn slot_bytes(rules: &CppnRules) -> usize {
        let instructions = rules.max_nodes as usize * size_of::<CppnInstruction>();
        size_of::<CppnProgram>() + instructions + rules.max_edges as usize * size_of::<CppnTerm>()
    }

    /// Checks that `what` has at least `slots` slots.
    ///
    /// # Errors
    /// [`Error::Shape`].
    ///
    /// # Panics
    /// If it is of another capacity than `rules`.
    pub(super) fn check(&self, slots: usize, rules: &CppnRules) -> Result<()> {
        assert_eq!(
            (self.max_nodes, self.max_edges),
            (rules.max_nodes, rules.max_edges),
            "programs of another capacity"
        );
        check_len("program headers", &self.headers, slots)?;
        check_len("program instructions", &self.instructions, slots * self.max_nodes as usize)?;
        check_len("program terms", &self.terms, slots * self.max_edges as usize)
    }
}

/// Shared memory of a block of compile_cppn: four words a node.
fn compile_shared(rules: &CppnRules) -> u64 {
    4 * size_of::<u32>() as u64 * u64::from(rules.max_nodes)
}

/// Shared memory of a block of render_cppn: enough for a program as large as the capacity and a row of its values.
pub(super) fn render_shared(rules: &CppnRules) -> u64 {
    let (nodes, edges) = (u64::from(rules.max_nodes), u64::from(rules.max_edges));
    let program = nodes * size_of::<CppnInstruction>() as u64 + edges * size_of::<CppnTerm>() as u64;
    let row = (nodes - N_INPUTS as u64) * u64::from(tuning::WARP_SIZE) * size_of::<f32>() as u64;
    (program + row).max(u64::from(tuning::RENDER_CPPN_SHARED))
}

impl Launcher {
    /// Lets launches of `kernel` have `bytes` of shared memory a block.
    fn allow_shared(&self, kernel: &CudaFunction, bytes: u64, rules: &CppnRules) -> Result<()> {
        if bytes <= ALWAYS_SHARED {
            return Ok(());
        }
        let most = self.most_shared()?;
        if bytes > most {
            return Err(Error::Refused(format!(
                "cppn.max_nodes = {} with cppn.max_edges = {} takes {} of a GPU's shared memory, this one has {}; make them \
                 smaller, or use --device cpu",
                rules.max_nodes,
                rules.max_edges,
                bytes_text(bytes),
                bytes_text(most),
            )));
        }
        self.set_shared(kernel, bytes)
    }

    /// Compiles the first `count` of `genomes` into as many of `programs`, for [`Launcher::render_cppn`]. Returns before the
    /// device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn compile_cppn(
        &self,
        programs: &mut CppnPrograms,
        genomes: &CppnSlots,
        rules: &CppnRules,
        count: u32,
    ) -> Result<()> {
        programs.check(count as usize, rules)?;
        genomes.check("genomes", count as usize, rules)?;
        if count == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (count, 1, 1),
            block_dim: (tuning::WARP_SIZE, 1, 1),
            shared_mem_bytes: compile_shared(rules) as u32,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.compile_cppn_f32);
        launch.arg(&mut programs.headers).arg(&mut programs.instructions).arg(&mut programs.terms);
        launch.arg(&genomes.sizes).arg(&genomes.activations).arg(&genomes.edges).arg(rules).arg(&count);
        // SAFETY: order and types are those of compile_cppn_f32 in kernels/image/compile_cppn.cu; lengths were checked, and
        // genomes are valid ones of these rules; it writes programs alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("compile_cppn_f32"))?;
        Ok(())
    }
}
