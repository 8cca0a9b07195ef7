//! The CUDA backend: a generation on the device as one captured graph. The host sends nothing a generation and receives a few
//! counters of each run.
//!
//! One file a step, with the wrapper of its kernels: a method of [`Launcher`] in the form
//!
//! ```text
//! impl Launcher {
//!     /// What it does; shapes of all buffers; returns before the device has finished.
//!     ///
//!     /// # Errors
//!     /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
//!     pub fn select(&self, pairs: &mut CudaSlice<Pair>, runs: &CudaSlice<RunState>, ..., chunk: Chunk) -> Result<()> {
//!         check_len("pairs", pairs, chunk.count as usize / 2)?;
//!         if chunk.count == 0 {
//!             return Ok(()); // a grid of no blocks is a launch error
//!         }
//!         let config = LaunchConfig { grid_dim: (.., 1, 1), block_dim: (tuning::SELECT_THREADS, 1, 1), shared_mem_bytes: 0 };
//!         let mut launch = self.stream.launch_builder(&self.kernels.select_u32);
//!         launch.arg(pairs).arg(runs).arg(&chunk);
//!         // SAFETY: order and types are those of select_u32 in kernels/archive/select.cu; lengths were checked; it writes pairs alone.
//!         unsafe { launch.launch(config) }.map_err(Error::launch("select_u32"))?;
//!         Ok(())
//!     }
//! }
//! ```

pub mod device;
pub mod elites;
pub mod genomes;
pub mod image;
pub mod kernels;
pub mod launcher;
pub mod memory;
pub mod params;
pub mod pinned;

use super::{Backend, Counters, Job, chunks, no_answer};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::genome::{Encoding, Genome};
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaSlice};
use elites::Elites;
use genomes::Genomes;
pub use launcher::Launcher;
use params::{Chunk, CppnRules, DirectRules, Pair, RunState};
use pinned::Pinned;
use std::ops::Range;
use std::sync::Arc;

/// Most candidates of a chunk unless the user says otherwise: enough to fill the largest GPU many times over.
pub const DEFAULT_CHUNK: u32 = 65_536;

/// The state of a job on a GPU.
pub struct CudaBackend {
    launcher: Arc<Launcher>,
    /// The device, for people.
    device: String,
    job: Job,
    chunk: u32,
    steps: Steps,
    /// A generation after the first of the active runs. It holds pointers of buffers: it goes before they do.
    graph: Option<CudaGraph>,
    /// Which runs take part, ascending.
    active: Vec<usize>,
    /// Whether each run has generation 0 behind it.
    begun: Vec<bool>,
    /// What each run's last generation came to, as far as the host has read it.
    counters: Vec<Option<Counters>>,
    /// Whether the active runs have made a generation since.
    unread: bool,
}

/// All buffers on the device, and the steps between them.
struct Steps {
    batch: u32,
    /// `(R)`
    runs: CudaSlice<RunState>,
    /// `(R)`, of which the first are in use.
    active: CudaSlice<u32>,
    n_active: usize,
    /// `(N)`
    classes: CudaSlice<u32>,
    rules: Rules,
    elites: Elites,
    /// `(chunk / 2)`
    pairs: CudaSlice<Pair>,
    /// `(chunk)` slots
    genomes: Genomes,
    /// `(chunk, height, width, channels)`
    images: CudaSlice<u8>,
    /// `(C, chunk)`
    probabilities: CudaSlice<f32>,
    /// `(R)`, by position among the active runs; and where the host reads them.
    counters: CudaSlice<params::Counters>,
    counters_read: Pinned<params::Counters>,
}

/// How genomes vary, as kernels take it.
enum Rules {
    Direct(DirectRules),
    Cppn(CppnRules),
}
