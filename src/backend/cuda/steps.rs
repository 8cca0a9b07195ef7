//! The buffers of a job on the device, and the steps between them.

use super::Launcher;
use super::elites::Elites;
use super::genomes::Genomes;
use super::params::{self, Chunk, CppnRules, DirectRules, Pair, RunState};
use super::pinned::Pinned;
use crate::backend::Job;
use crate::error::Result;
use crate::genome::Encoding;
use cudarc::driver::CudaSlice;
use std::ops::Range;

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


impl Steps {
    /// All that `job` takes with chunks of `chunk` candidates.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, job: &Job, chunk: u32) -> Result<Steps> {
        let (n_runs, n) = (job.seeds.len(), chunk as usize);
        let states: Vec<RunState> = job.seeds.iter().map(|&seed| RunState::new(seed)).collect();
        Ok(Steps {
            batch: job.batch,
            runs: launcher.upload(&states)?,
            active: launcher.zeros(n_runs)?,
            n_active: 0,
            classes: launcher.upload(&job.classes)?,
            rules: match &job.encoding {
                Encoding::Direct(rules) => Rules::Direct(rules.into()),
                Encoding::Cppn(rules) => Rules::Cppn(CppnRules::new(rules, job.canvas.channels)),
            },
            elites: Elites::new(launcher, job)?,
            pairs: launcher.zeros(n / 2)?,
            genomes: Genomes::new(launcher, job, n)?,
            images: launcher.zeros(n * job.canvas.len())?,
            probabilities: launcher.zeros(n * job.network.classes.len())?,
            counters: launcher.zeros(n_runs)?,
            counters_read: Pinned::zeros(launcher, n_runs)?,
        })
    }

    /// The places of a launch.
    pub fn chunk(&self, places: Range<u32>) -> Chunk {
        Chunk { batch: self.batch, start: places.start, count: places.len() as u32 }
    }
}
