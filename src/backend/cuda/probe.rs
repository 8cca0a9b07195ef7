//! A job on a GPU taken apart for measurements: one kernel at a time, the state kept and put back, what a generation moves.

use super::classifier::Classifier;
use super::elites::Elites;
use super::genomes::Genomes;
use super::launcher::Launcher;
use super::params::{Pair, RunState};
use super::traffic::Traffic;
use super::{CudaBackend, Encoded};
use crate::backend::{Counters, Job};
use crate::error::{Error, Result};
use crate::genome::Genome;
use cudarc::driver::{CudaGraph, CudaSlice, DeviceRepr};
use std::ops::Range;
use std::sync::Arc;

/// A kernel of a generation, whatever the encoding and the batch make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    Randomise,
    Select,
    Vary,
    /// Of CPPNs alone.
    Compile,
    Render,
    /// All of a network but LeNet.
    Layers,
    /// Of LeNet alone.
    Features,
    Probabilities,
    NicheArgmax,
    Insert,
}

/// The archives and states of all runs, kept on the device.
pub struct Snapshot {
    elites: Elites,
    runs: CudaSlice<RunState>,
    begun: Vec<bool>,
    counters: Vec<Option<Counters>>,
}

impl Snapshot {
    /// Bytes on the device of one of `job`.
    pub fn bytes(job: &Job) -> u64 {
        let run = job.classes.len() * Elites::niche_bytes(job) + size_of::<RunState>();
        (job.seeds.len() * run) as u64
    }
}

impl CudaBackend {
    /// Launches one kernel on `chunk`, as the buffers stand. After [`Kernel::Insert`] the counters are not on their way to the host.
    ///
    /// # Errors
    /// [`Error::Launch`] if the driver refuses it.
    ///
    /// # Panics
    /// If it is none of the job's: pixels are not compiled, and only LeNet has kernels of its own.
    pub fn launch(&mut self, kernel: Kernel, chunk: Range<u32>) -> Result<()> {
        let CudaBackend { steps, launcher, .. } = self;
        let chunk = steps.chunk(chunk);
        match kernel {
            Kernel::Randomise => steps.randomise(launcher, chunk),
            Kernel::Select => steps.select(launcher, chunk),
            Kernel::Vary => steps.vary(launcher, chunk),
            Kernel::Compile => {
                assert!(matches!(steps.encoded, Encoded::Cppn { .. }), "pixels are not compiled");
                steps.compile(launcher, chunk)
            }
            Kernel::Render => steps.draw(launcher, chunk),
            Kernel::Layers => steps.classify(launcher, chunk),
            Kernel::Features => steps.features(launcher, chunk),
            Kernel::Probabilities => steps.probabilities(launcher, chunk),
            Kernel::NicheArgmax => steps.niche_argmax(launcher, chunk),
            Kernel::Insert => steps.insert_alone(launcher),
        }
    }

    /// Whether the network is LeNet, which has kernels of its own.
    pub fn has_lenet(&self) -> bool {
        matches!(self.steps.classifier, Classifier::Lenet(_))
    }

    /// The name in kernels/ of what [`CudaBackend::launch`] launches for a chunk of `count` places.
    pub fn name_of(&self, kernel: Kernel, count: u32) -> &'static str {
        let of_pixels = matches!(self.steps.encoded, Encoded::Direct(_));
        let either = |direct, cppn| if of_pixels { direct } else { cppn };
        let lenet = || match &self.steps.classifier {
            Classifier::Lenet(lenet) => lenet,
            _ => panic!("no LeNet"),
        };
        match kernel {
            Kernel::Randomise => either("randomise_direct_f32", "randomise_cppn_f32"),
            Kernel::Select => "select_u32",
            Kernel::Vary => either("vary_direct_f32", "vary_cppn_f32"),
            Kernel::Compile => "compile_cppn_f32",
            Kernel::Render => either("render_direct_u8", "render_cppn_u8"),
            Kernel::Layers => "layers", // those of many kernels
            Kernel::Features => self.launcher.features_kernel(lenet(), count as usize),
            Kernel::Probabilities => self.launcher.probabilities_kernel(lenet(), count as usize),
            Kernel::NicheArgmax => either("niche_argmax_direct_f32", "niche_argmax_cppn_f32"),
            Kernel::Insert => "insert_u64",
        }
    }

    /// Records what `launch` launches on this backend, of which there must be something. The graph holds pointers of its buffers:
    /// whoever keeps it drops it first.
    ///
    /// # Errors
    /// Those of `launch`; [`Error::Driver`] if the driver refuses.
    pub fn record(&mut self, launch: impl FnOnce(&mut CudaBackend) -> Result<()>) -> Result<CudaGraph> {
        let launcher = Arc::clone(&self.launcher);
        launcher.record("record a kernel", || launch(self))
    }

    /// What a generation of the active runs after the first sets going and moves.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn traffic(&mut self) -> Result<Traffic> {
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => self.capture()?,
        };
        Traffic::of(self.graph.insert(graph))
    }

    /// Keeps the archives and states of all runs as they are.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.read_counters()?;
        let launcher = &self.launcher;
        let mut elites = Elites::new(launcher, &self.job)?;
        copy_elites(launcher, &self.steps.elites, &mut elites)?;
        let mut runs = launcher.zeros(self.job.seeds.len())?;
        copy(launcher, &self.steps.runs, &mut runs)?;
        Ok(Snapshot { elites, runs, begun: self.begun.clone(), counters: self.counters.clone() })
    }

    /// Makes all runs what they were when `snapshot` was taken. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Panics
    /// If it is another job's.
    pub fn put_back(&mut self, snapshot: &Snapshot) -> Result<()> {
        copy_elites(&self.launcher, &snapshot.elites, &mut self.steps.elites)?;
        copy(&self.launcher, &snapshot.runs, &mut self.steps.runs)?;
        self.begun.clone_from(&snapshot.begun);
        self.counters.clone_from(&snapshot.counters);
        self.kept.forget_others(&[]);
        self.unread = false;
        Ok(())
    }

    /// Makes of all runs what [`Kernel::NicheArgmax`] and [`Kernel::Insert`] change and look at again what it was when `snapshot` was
    /// taken: the rest of the archives stays. May be recorded.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Panics
    /// If it is another job's.
    pub fn put_back_heads(&mut self, snapshot: &Snapshot) -> Result<()> {
        copy(&self.launcher, &snapshot.elites.winners, &mut self.steps.elites.winners)?;
        copy(&self.launcher, &snapshot.elites.current, &mut self.steps.elites.current)?;
        copy(&self.launcher, &snapshot.runs, &mut self.steps.runs)
    }

    /// Waits for all work so far.
    ///
    /// # Errors
    /// [`Error::Driver`], for what went wrong in a kernel before.
    pub fn synchronise(&self) -> Result<()> {
        self.launcher.synchronise()
    }

    /// Puts `genomes` into the first slots of the chunk, to be drawn.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Panics
    /// If they are of another encoding, or more than a chunk.
    pub fn set_genomes<'a>(&mut self, genomes: impl IntoIterator<Item = &'a Genome>) -> Result<()> {
        let mut slots = genomes.into_iter().enumerate();
        slots.try_for_each(|(at, genome)| self.steps.genomes.set(&self.launcher, at, genome))
    }

    /// Image `at` of those drawn last, `(height, width, channels)`.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn image(&self, at: usize) -> Result<Vec<u8>> {
        let len = self.job.canvas.len();
        self.launcher.download_part(&self.steps.images, at * len, len)
    }

    /// How the pair at place `2 * at` of the chunk is made.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn pair(&self, at: usize) -> Result<Pair> {
        Ok(self.launcher.download_part(&self.steps.pairs, at, 1)?[0])
    }
}

fn copy<T: DeviceRepr>(launcher: &Launcher, from: &CudaSlice<T>, to: &mut CudaSlice<T>) -> Result<()> {
    launcher.stream().memcpy_dtod(from, to).map_err(Error::driver("copy on the device"))
}

fn copy_elites(launcher: &Launcher, from: &Elites, to: &mut Elites) -> Result<()> {
    copy(launcher, &from.current, &mut to.current)?;
    copy(launcher, &from.winners, &mut to.winners)?;
    match (&from.genomes, &mut to.genomes) {
        (Genomes::Direct(from), Genomes::Direct(to)) => copy(launcher, &from.genes, &mut to.genes)?,
        (Genomes::Cppn(from), Genomes::Cppn(to)) => {
            copy(launcher, &from.sizes, &mut to.sizes)?;
            copy(launcher, &from.activations, &mut to.activations)?;
            copy(launcher, &from.edges, &mut to.edges)?;
        }
        _ => unreachable!("a job has one encoding"),
    }
    copy(launcher, &from.images, &mut to.images)?;
    copy(launcher, &from.probabilities, &mut to.probabilities)?;
    copy(launcher, &from.content_hashes, &mut to.content_hashes)?;
    copy(launcher, &from.born, &mut to.born)
}
