//! The end of a generation, on the device: winners enter the archives.

use super::elites::Elites;
use super::insertions::Insertions;
use super::launcher::{Launcher, check_len};
use super::params::{Counters, RunState};
use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Whether [`Launcher::insert`] can take archives of `n_niches` niches.
///
/// # Errors
/// [`Error::Refused`] if they are too many.
pub fn check_niches(n_niches: usize) -> Result<()> {
    let most = tuning::INSERT_MAX_NICHES;
    if n_niches <= most as usize {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{n_niches} classes are too many for a GPU, which takes {most} of them; use --device cpu"
    )))
}

impl Launcher {
    /// Puts the winners of a generation into the archives of the first `n_active` runs of `active`, ends it for them in `runs`,
    /// `(n_runs)`, and writes what it came to into `counters`, `(n_active)`. `classes`, `(n_niches)`, is the class of each niche.
    /// A run before generation 0 with a niche that nobody has won stays as it is; [`Counters::missing`] says which. Winners are appended
    /// to `insertions`, if there are any. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Refused`] if there are too many niches; [`Error::Shape`] if a length does not match; [`Error::Launch`] if the
    /// driver refuses the launch.
    #[allow(clippy::too_many_arguments, reason = "what a generation ends with")]
    pub fn insert(
        &self,
        counters: &mut CudaSlice<Counters>,
        runs: &mut CudaSlice<RunState>,
        elites: &mut Elites,
        insertions: Option<&mut Insertions>,
        classes: &CudaSlice<u32>,
        active: &CudaSlice<u32>,
        n_active: usize,
    ) -> Result<()> {
        check_niches(classes.len())?;
        let n_cells = runs.len() * classes.len();
        check_len("counters", counters, n_active)?;
        check_len("active", active, n_active)?;
        check_len("elites.current", &elites.current, n_cells)?;
        check_len("elites.winners", &elites.winners, n_cells)?;
        check_len("elites.content_hashes", &elites.content_hashes, 2 * n_cells)?;
        let capacity = insertions.as_ref().map_or(0, |insertions| insertions.capacity);
        if let Some(Insertions { entries, counts, .. }) = insertions.as_deref() {
            check_len("insertions.entries", entries, runs.len() * capacity as usize)?;
            check_len("insertions.counts", counts, runs.len())?;
            if !capacity.is_power_of_two() || (capacity as usize) < classes.len() {
                return Err(Error::Shape { what: "a log of insertions", got: capacity as usize, want: classes.len() });
            }
        }
        if n_active == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let n_niches = classes.len() as u32;
        const NONE: u64 = 0; // a null pointer
        let config = LaunchConfig {
            grid_dim: (n_active as u32, 1, 1),
            block_dim: (tuning::INSERT_THREADS, 1, 1),
            shared_mem_bytes: n_niches.next_power_of_two() * size_of::<f32>() as u32, // the fitness, to be sorted
        };
        let mut launch = self.stream.launch_builder(&self.kernels.insert_u64);
        launch.arg(counters).arg(runs).arg(&mut elites.current).arg(&mut elites.winners).arg(&elites.content_hashes);
        match insertions {
            Some(Insertions { entries, counts, .. }) => launch.arg(entries).arg(counts),
            None => launch.arg(&NONE).arg(&NONE),
        };
        launch.arg(classes).arg(active).arg(&ARITHMETIC_VERSION).arg(&n_niches).arg(&capacity);
        // SAFETY: order and types are those of insert_u64 in kernels/archive/insert.cu; lengths were checked, there is a niche,
        // and active names runs; it writes only what is passed as `&mut`.
        unsafe { launch.launch(config) }.map_err(Error::launch("insert_u64"))?;
        Ok(())
    }
}
