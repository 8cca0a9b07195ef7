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
pub struct Steps {
    batch: u32,
    /// `(R)`
    pub runs: CudaSlice<RunState>,
    /// `(R)`, of which the first are in use.
    pub active: CudaSlice<u32>,
    pub n_active: usize,
    /// `(N)`
    classes: CudaSlice<u32>,
    rules: Rules,
    pub elites: Elites,
    /// `(chunk / 2)`
    pairs: CudaSlice<Pair>,
    /// `(chunk)` slots
    pub genomes: Genomes,
    /// `(chunk, height, width, channels)`
    pub images: CudaSlice<u8>,
    /// `(C, chunk)`
    pub probabilities: CudaSlice<f32>,
    /// `(R)`, by position among the active runs; and where the host reads them.
    counters: CudaSlice<params::Counters>,
    pub counters_read: Pinned<params::Counters>,
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

    /// [`Backend::randomise`](crate::backend::Backend::randomise).
    pub fn randomise(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        match &mut self.genomes {
            Genomes::Direct(genomes) => launcher.randomise_direct(genomes, &self.runs, &self.active, chunk),
            Genomes::Cppn(_) => todo!(),
        }
    }

    /// [`Backend::select`](crate::backend::Backend::select).
    pub fn select(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let chance = match &self.rules {
            Rules::Direct(rules) => rules.crossover_chance,
            Rules::Cppn(_) => 0,
        };
        let n_niches = self.classes.len() as u32;
        launcher.select(&mut self.pairs, &self.runs, &self.active, chance, chunk, n_niches)
    }

    /// [`Backend::vary`](crate::backend::Backend::vary).
    pub fn vary(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Steps { genomes, elites, rules, pairs, runs, active, classes, .. } = self;
        let (current, n_niches) = (&elites.current, classes.len() as u32);
        match (genomes, &elites.genomes, rules) {
            (Genomes::Direct(children), Genomes::Direct(parents), Rules::Direct(rules)) => {
                launcher.vary_direct(children, parents, current, pairs, runs, active, rules, chunk, n_niches)
            }
            _ => unreachable!("a job has one encoding"),
        }
    }

    /// [`Backend::render`](crate::backend::Backend::render).
    pub fn render(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        match &self.genomes {
            Genomes::Direct(genomes) => launcher.render_direct(&mut self.images, genomes, chunk.count),
            Genomes::Cppn(_) => todo!(),
        }
    }

    /// [`Backend::classify`](crate::backend::Backend::classify).
    pub fn classify(&mut self, _launcher: &Launcher, _chunk: Chunk) -> Result<()> {
        todo!()
    }

    /// [`Backend::niche_argmax`](crate::backend::Backend::niche_argmax).
    pub fn niche_argmax(&mut self, _launcher: &Launcher, _chunk: Chunk) -> Result<()> {
        todo!()
    }

    /// [`Backend::insert`](crate::backend::Backend::insert), and the counters on their way to the host.
    pub fn insert(&mut self, _launcher: &Launcher) -> Result<()> {
        self.counters_read.copy_from(&self.counters, self.n_active)
    }
}
