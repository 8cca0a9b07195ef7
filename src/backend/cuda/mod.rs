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

pub mod compile_cppn;
pub mod elementary;
pub mod genomes;
pub mod image;
pub mod kernels;
pub mod launcher;
pub mod params;
pub mod randomise_cppn;
pub mod randomise_direct;
pub mod render_cppn;
pub mod render_direct;
pub mod select;
pub mod vary_cppn;
pub mod vary_direct;

pub use launcher::Launcher;
