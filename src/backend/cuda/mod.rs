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

pub mod add;
pub mod add_bands;
pub mod arena;
pub mod ascent;
pub mod average_crops;
pub mod backward;
pub mod blur;
pub mod classifier;
pub mod classify;
pub mod climb;
pub mod clip;
pub mod combine;
pub mod compile_cppn;
pub mod conv2d;
pub mod conv2d_backward;
pub mod conv2d_images;
pub mod conv2d_weight_gradient;
pub mod copy;
pub mod cppn_ascent;
pub mod cross_entropy;
pub mod dense;
pub mod dense_weight_gradient;
pub mod depth_to_space;
pub mod device;
pub mod draw_cppn;
pub mod draw_cppn_backward;
pub mod dropout;
pub mod elementary;
pub mod elites;
pub mod gemm;
pub mod genomes;
pub mod insert;
pub mod insertions;
pub mod kept;
pub mod kernels;
pub mod launcher;
pub mod lenet;
pub mod look;
pub mod look_cppn;
pub mod lrn;
pub mod lrn_backward;
pub mod memory;
pub mod network;
pub mod niche_argmax;
pub mod params;
pub mod peak;
pub mod pinned;
pub mod pool;
pub mod pool_backward;
pub mod probe;
pub mod randomise_cppn;
pub mod randomise_direct;
pub mod relu_backward;
pub mod render_cppn;
pub mod render_direct;
pub mod select;
pub mod sgd_update;
pub mod softmax;
pub mod softmax_backward;
mod steps;
pub mod traffic;
pub mod train;
pub mod turn_weights;
pub mod vary_cppn;
pub mod vary_direct;
pub mod zero_pixels;

use super::{Backend, Counters, Insertion, Job, chunks, no_answer};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::genome::Genome;
use crate::network::Network;
use classifier::Classifier;
use cudarc::driver::CudaGraph;
use kept::Kept;
pub use launcher::Launcher;
use params::RunState;
use std::ops::Range;
use std::sync::Arc;
use steps::{Encoded, Steps};

/// Most candidates of a chunk unless the user says otherwise: enough to fill the largest GPU many times over.
pub const DEFAULT_CHUNK: u32 = 65_536;

/// Whether there are kernels for `network`.
///
/// # Errors
/// [`Error::NoDevice`] if there are none, with the reason.
pub fn check_network(network: &Network) -> Result<()> {
    Classifier::check(network)
}

/// The state of a job on a GPU.
pub struct CudaBackend {
    /// A generation after the first of the active runs, once there is one. It holds pointers of buffers: it is dropped before them.
    graph: Option<CudaGraph>,
    steps: Steps,
    launcher: Arc<Launcher>,
    /// The device, for people.
    device: String,
    job: Job,
    chunk: u32,
    /// Which runs take part, ascending.
    active: Vec<usize>,
    /// Whether each run has generation 0 behind it.
    begun: Vec<bool>,
    /// What each run's last generation came to, as far as the host has read it.
    counters: Vec<Option<Counters>>,
    /// Insertions that each run's log has had by then.
    logged: Vec<u32>,
    /// Whether the active runs have made a generation since.
    unread: bool,
    /// The archives as far as the host has them.
    kept: Kept,
}

impl CudaBackend {
    /// Prepares `job` on the GPU of `launcher`, which people know as `device`: all its memory is taken here, that which
    /// [`memory::memory()`] says.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there are no kernels for the job's network; [`Error::Driver`] if there is no room.
    pub fn new(job: Job, launcher: Arc<Launcher>, device: String, chunk: u32) -> Result<CudaBackend> {
        let chunk = chunk.min(job.candidates());
        let n_runs = job.seeds.len();
        let steps = Steps::new(&launcher, &job, chunk)?;
        let mut backend = CudaBackend {
            graph: None,
            steps,
            launcher,
            device,
            chunk,
            active: Vec::new(),
            begun: vec![false; n_runs],
            counters: vec![None; n_runs],
            logged: vec![0; n_runs],
            unread: false,
            kept: Kept::new(&job),
            job,
        };
        backend.activate(&(0..n_runs).collect::<Vec<_>>())?;
        Ok(backend)
    }

    /// Lets `elites` come to the host beside each generation, which changes no result: by itself it does so where archives are large.
    pub fn keep_up(&mut self, elites: usize) {
        self.kept.set_beside(elites);
    }

    /// A copy of the genome at place `at` of the chunk that was made last.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn genome(&self, at: usize) -> Result<Genome> {
        Ok(self.steps.genomes.get(self.launcher.reader(), &[at])?.swap_remove(0))
    }

    /// The images drawn last, `(chunk, height, width, channels)`.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn images(&self) -> Result<Vec<u8>> {
        self.launcher.download(&self.steps.images)
    }

    /// What the network said last, `(n_classes, chunk)`.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn probabilities(&self) -> Result<Vec<f32>> {
        self.launcher.download(&self.steps.probabilities)
    }

    /// Lets the device do a generation's steps, one after the other.
    fn launch_steps(&mut self) -> Result<()> {
        let is_first = self.is_first();
        for chunk in chunks(self.places(), self.chunk) {
            let chunk = self.steps.chunk(chunk);
            if is_first {
                self.steps.randomise(&self.launcher, chunk)?;
            } else {
                self.steps.select(&self.launcher, chunk)?;
                self.steps.vary(&self.launcher, chunk)?;
            }
            self.steps.render(&self.launcher, chunk)?;
            self.steps.classify(&self.launcher, chunk)?;
            self.steps.niche_argmax(&self.launcher, chunk)?;
        }
        self.steps.insert(&self.launcher)
    }

    /// Records a generation after the first: all that the device will do for each, without the host.
    fn capture(&mut self) -> Result<CudaGraph> {
        let launcher = Arc::clone(&self.launcher);
        launcher.record("record a generation", || self.launch_steps())
    }

    /// Who holds the niches of each active run, once all work so far is done.
    fn holders(&self) -> Result<Vec<Vec<elites::Holder>>> {
        self.active.iter().map(|&run| self.steps.elites.holders(&self.launcher, &self.job, run)).collect()
    }

    /// Notes that the active runs have made a generation.
    fn end_generation(&mut self) {
        for &run in &self.active {
            self.begun[run] = true;
        }
        self.unread = true;
    }

    /// Brings the counters up to date, once all work so far is done.
    fn read_counters(&mut self) -> Result<()> {
        if !self.unread {
            return Ok(());
        }
        let read = self.steps.counters_read.get()?;
        for (&run, counters) in self.active.iter().zip(read) {
            if let Some(&class) = self.job.classes.get(counters.missing as usize) {
                return Err(no_answer(class));
            }
            self.counters[run] = Some(Counters {
                generation: counters.generation,
                replaced: counters.replaced,
                skipped: counters.skipped,
                statistics: counters.statistics(),
                archive_hash: counters.archive_hash,
            });
            self.logged[run] = counters.logged;
        }
        self.unread = false;
        Ok(())
    }

    /// The active runs with many insertions that the host does not have. Of a job without a lineage, none.
    fn with_many_insertions(&mut self) -> Result<Vec<usize>> {
        if self.steps.insertions.is_none() {
            return Ok(Vec::new());
        }
        self.read_counters()?; // whoever makes generations has done so
        let insertions = self.steps.insertions.iter();
        let many = |of: &insertions::Insertions, run: usize| of.are_many(run, self.logged[run]);
        Ok(insertions.flat_map(|of| self.active.iter().copied().filter(move |&run| many(of, run))).collect())
    }
}

impl Backend for CudaBackend {
    fn describe(&self) -> String {
        self.device.clone()
    }

    fn chunk(&self) -> u32 {
        self.chunk
    }

    fn activate(&mut self, runs: &[usize]) -> Result<()> {
        debug_assert!(runs.iter().all(|&run| self.begun[run] == self.begun[runs[0]]));
        self.read_counters()?;
        let numbers: Vec<u32> = runs.iter().map(|&run| run as u32).collect();
        self.launcher.upload_part(&mut self.steps.active, 0, &numbers)?;
        if runs.len() != self.active.len() {
            self.graph = None;
        }
        self.kept.forget_others(runs);
        self.steps.n_active = runs.len();
        self.active = runs.to_vec();
        Ok(())
    }

    fn start_from(&mut self, genomes: Arc<[Genome]>) {
        self.steps.start = genomes;
    }

    fn places(&self) -> u32 {
        self.active.len() as u32 * self.job.batch
    }

    fn is_first(&self) -> bool {
        self.active.first().is_some_and(|&run| !self.begun[run])
    }

    fn randomise(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.randomise(&self.launcher, self.steps.chunk(chunk))
    }

    fn select(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.select(&self.launcher, self.steps.chunk(chunk))
    }

    fn vary(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.vary(&self.launcher, self.steps.chunk(chunk))
    }

    fn render(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.render(&self.launcher, self.steps.chunk(chunk))
    }

    fn classify(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.classify(&self.launcher, self.steps.chunk(chunk))
    }

    fn niche_argmax(&mut self, chunk: Range<u32>) -> Result<()> {
        self.steps.niche_argmax(&self.launcher, self.steps.chunk(chunk))
    }

    fn insert(&mut self) -> Result<()> {
        for run in self.with_many_insertions()? {
            self.steps.bring_insertions(self.launcher.reader(), run, self.logged[run])?;
        }
        self.steps.insert(&self.launcher)?;
        self.end_generation();
        Ok(())
    }

    fn counters(&mut self) -> Result<Vec<Counters>> {
        self.read_counters()?;
        let of = |&run: &usize| self.counters[run].clone().expect("a run has counters after a generation");
        Ok(self.active.iter().map(of).collect())
    }

    fn archive(&mut self, run: usize) -> Result<Archive> {
        self.read_counters()?;
        let generation = self.counters[run].as_ref().map_or(0, |counters| counters.generation);
        if !self.begun[run] {
            return Ok(Archive { generation, classes: self.job.classes.clone(), elites: Vec::new() });
        }
        self.kept.archive(&self.steps.elites, &self.launcher, &self.job, run, generation)
    }

    fn restore(&mut self, run: usize, archive: Archive, skipped: u64) -> Result<()> {
        self.read_counters()?;
        let state =
            RunState { generation: archive.generation, is_first: 0, skipped, ..RunState::new(self.job.seeds[run]) };
        self.launcher.upload_part(&mut self.steps.runs, run, &[state])?;
        self.steps.elites.upload(&self.launcher, &self.job, run, &archive)?;
        self.kept.forget(run);
        self.counters[run] = Some(Counters::of(&archive, 0, skipped));
        self.begun[run] = true;
        if let Some(insertions) = &mut self.steps.insertions {
            insertions.clear(&self.launcher, run)?;
            self.logged[run] = 0;
        }
        Ok(())
    }

    fn insertions(&mut self, run: usize) -> Result<Vec<Insertion>> {
        self.read_counters()?;
        self.steps.bring_insertions(self.launcher.reader(), run, self.logged[run])?;
        Ok(self.steps.insertions.as_mut().map(|insertions| insertions.take(run)).unwrap_or_default())
    }

    /// The steps of [`Backend::generation`], recorded once and replayed: the host sends nothing but the word to go. Of large archives, it
    /// fetches some of the elites that are the parents meanwhile; of a lineage, what has gathered.
    fn generation(&mut self) -> Result<()> {
        let many = self.with_many_insertions()?;
        if self.is_first() {
            self.launch_steps()?;
        } else {
            let holders = if self.kept.has_beside() { self.holders()? } else { Vec::new() };
            let graph = match self.graph.take() {
                Some(graph) => graph,
                None => self.capture()?,
            };
            self.graph.insert(graph).launch().map_err(Error::driver("start a generation"))?;
            if !holders.is_empty() {
                // The slots of parents are written to in the next generation at the earliest, which only the host begins.
                let reader = self.launcher.reader_beside();
                self.kept.bring_some(&self.steps.elites, reader, &self.job, &self.active, &holders)?;
            }
            for run in many {
                // The log grows behind what is read, for which `insertions::capacity` leaves room.
                self.steps.bring_insertions(self.launcher.reader_beside(), run, self.logged[run])?;
            }
        }
        self.end_generation();
        Ok(())
    }
}
