//! A job on a GPU in the midst of a run, whose kernels can be timed one by one.

use super::want::{Want, job_of_runs};
use crate::backend::cuda::device::Device;
use crate::backend::cuda::lenet::{FEATURES, HIDDEN};
use crate::backend::cuda::params::{CppnInstruction, CppnTerm};
use crate::backend::cuda::probe::{Kernel, Snapshot};
use crate::backend::cuda::traffic::Traffic;
use crate::backend::cuda::{CudaBackend, DEFAULT_CHUNK, Launcher};
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::experiment::bench::Step;
use crate::experiment::bench::stage::{State, Yardstick, disagrees, drawing};
use crate::experiment::bench::work::{self, Work};
use crate::experiment::config::{Preset, name_of};
use crate::genome::cppn::{Compiler, Graph};
use crate::genome::{Encoding, Genome};
use crate::predictions;
use crate::simd::Simd;
use cudarc::driver::CudaGraph;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Generations that a run may go on from the state before it is put back: a twelfth of those behind it, so that genomes are as large
/// as they were.
const AWAY: u32 = 8;

/// Candidates of the launches that are recorded in one graph: of small ones many, so that the host's launches do not hold them up.
const CANDIDATES_OF_A_GRAPH: u32 = 65_536;
/// Launches of a graph at most.
const LAUNCHES: u32 = 16;
/// The same where nothing is held up but the test.
const LAUNCHES_EMULATED: u32 = 2;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A whole generation.
    Loop,
    Kernel(Kernel),
}

/// Whether `preset` has a kernel for `step`.
pub fn has(preset: Preset, step: Step) -> bool {
    match step {
        Step::RandomiseDirect | Step::VaryDirect | Step::RenderDirect => preset.is_direct(),
        Step::RandomiseCppn | Step::VaryCppn | Step::CompileCppn | Step::RenderCppn => !preset.is_direct(),
        Step::LenetFeatures | Step::LenetProbabilities => !preset.is_imagenet(),
        Step::Select | Step::NicheArgmax | Step::Insert => true,
        _ => false,
    }
}

/// Time of `repeats` launches of what `graph` holds `at_once` of, from a GPU that has nothing to do.
///
/// # Errors
/// [`Error::Driver`].
pub fn time_graph(launcher: &Launcher, graph: &CudaGraph, at_once: u32, repeats: u32) -> Result<Duration> {
    let replays = repeats.div_ceil(at_once);
    launcher.synchronise()?;
    let began = Instant::now();
    (0..replays).try_for_each(|_| graph.launch().map_err(Error::driver("start recorded kernels")))?;
    launcher.synchronise()?;
    Ok(began.elapsed().mul_f64(f64::from(repeats) / f64::from(replays * at_once)))
}

/// A backend whose runs all stand at the state, and what its kernels need.
pub struct GpuStage {
    /// Recorded launches, by kernel. They hold pointers of the backend's buffers: they are dropped before it.
    graphs: Vec<(Kernel, Recorded)>,
    backend: CudaBackend,
    /// The state.
    snapshot: Snapshot,
    /// The state with the winners of the next generation, who have not entered the archive yet.
    contested: Option<Snapshot>,
    launcher: Arc<Launcher>,
    job: Job,
    name: String,
    /// The first chunk of the batch: what a kernel sees.
    chunk: Range<u32>,
    /// Whether the chunk's buffers hold something else than the next generation's.
    stale: bool,
    at_once: u32,
}

/// Launches of a kernel in a graph; and where each needs something put back first, a graph with that alone.
struct Recorded {
    graph: CudaGraph,
    without: Option<CudaGraph>,
}

impl GpuStage {
    /// `runs` runs of `batch` candidates at `state`, whose next generation is to come to `want`.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn new(
        state: &State,
        want: &Want,
        batch: u32,
        runs: u32,
        launcher: &Arc<Launcher>,
        device: &Device,
        emulated: bool,
    ) -> Result<GpuStage> {
        let job = job_of_runs(state, batch, runs);
        let mut backend = CudaBackend::new(job.clone(), Arc::clone(launcher), device.to_string(), DEFAULT_CHUNK)?;
        for run in 0..runs as usize {
            backend.restore(run, state.archive.clone(), state.skipped)?;
        }
        let snapshot = backend.snapshot()?;
        let chunk = 0..backend.chunk();
        debug_assert!(want.candidates.iter().all(|candidate| candidate.place < chunk.len()));
        let most = if emulated { LAUNCHES_EMULATED } else { LAUNCHES };
        Ok(GpuStage {
            graphs: Vec::new(),
            backend,
            snapshot,
            contested: None,
            launcher: Arc::clone(launcher),
            job,
            name: match runs {
                1 => format!("{} at batch {batch}", name_of(state.config.preset)),
                _ => format!("{} in {runs} runs", name_of(state.config.preset)),
            },
            at_once: (CANDIDATES_OF_A_GRAPH / chunk.end).clamp(1, most),
            chunk,
            stale: true,
        })
    }

    /// The name in kernels/ of what `kernel` is here.
    pub fn name_of(&self, kernel: Kernel) -> &'static str {
        self.backend.name_of(kernel, self.chunk.end)
    }

    /// What a generation sets going and moves.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn traffic(&mut self) -> Result<Traffic> {
        self.backend.traffic()
    }

    /// The kernels of a generation.
    fn kernels(&self) -> Vec<Kernel> {
        let is_cppn = matches!(self.job.encoding, Encoding::Cppn(_));
        let genomes = [Kernel::Select, Kernel::Vary, Kernel::Compile, Kernel::Render].into_iter();
        let network: &[Kernel] =
            if self.backend.has_lenet() { &[Kernel::Features, Kernel::Probabilities] } else { &[Kernel::Layers] };
        genomes
            .filter(|&kernel| is_cppn || kernel != Kernel::Compile)
            .chain(network.iter().copied())
            .chain([Kernel::NicheArgmax, Kernel::Insert])
            .collect()
    }

    /// What the predictions of its kernels add up to, if there is one of each at this batch.
    pub fn predicted_loop(&self) -> Option<(f64, &'static str)> {
        if !self.backend.has_lenet() {
            return None;
        }
        let of = |kernel| predictions::of(self.name_of(kernel), self.job.batch.into());
        let each: Vec<_> = self.kernels().into_iter().map(of).collect::<Option<_>>()?;
        let first = each.first()?;
        let seconds: f64 = each.iter().map(|prediction| 1.0 / prediction.rate).sum();
        each.iter().all(|prediction| prediction.device == first.device).then_some((1.0 / seconds, first.device))
    }

    /// The least work of one genome in `kernel`: the models of benches/README.md. Sizes of CPPNs are those of the candidates that
    /// are known.
    pub fn work(&self, kernel: Kernel, want: &Want) -> Work {
        let Job { encoding, canvas, network, classes, batch, .. } = &self.job;
        let (graphs, random) = want.graphs();
        let mean = |graphs: &[Graph], of: &dyn Fn(&Graph) -> usize| {
            graphs.iter().map(of).sum::<usize>() as f64 / graphs.len().max(1) as f64
        };
        let genes = (size_of::<f32>() * canvas.len()) as f64;
        let dense = (FEATURES * HIDDEN + HIDDEN * network.classes.len()) as f64;
        match (kernel, encoding) {
            // A pair serves two.
            (Kernel::Select, _) => Work::Bytes(size_of::<crate::backend::cuda::params::Pair>() as f64 / 2.0),
            (Kernel::Randomise, Encoding::Direct(_)) => Work::Bytes(genes),
            (Kernel::Randomise, Encoding::Cppn(_)) => Work::Bytes(mean(&random, &work::graph_bytes)),
            (Kernel::Vary, Encoding::Direct(_)) => Work::Bytes(2.0 * genes),
            (Kernel::Vary, Encoding::Cppn(_)) => Work::Bytes(2.0 * mean(&graphs, &work::graph_bytes)),
            (Kernel::Compile | Kernel::Render, Encoding::Direct(_)) => Work::Bytes(genes + canvas.len() as f64),
            (Kernel::Compile, Encoding::Cppn(rules)) => Work::Bytes(mean(&graphs, &|graph| {
                let mut compiler = Compiler::default();
                let program = compiler.compile(Simd::Plain, graph, rules.max_weight);
                let instructions = program.instructions.len() * size_of::<CppnInstruction>();
                work::graph_bytes(graph) + instructions + program.terms.len() * size_of::<CppnTerm>()
            })),
            (Kernel::Render, Encoding::Cppn(rules)) => drawing(&graphs, rules, *canvas),
            (Kernel::Layers, _) => Work::Operations(work::multiply_adds(network) as f64),
            (Kernel::Features, _) => Work::Operations(work::multiply_adds(network) as f64 - dense),
            (Kernel::Probabilities, _) => Work::Operations(dense),
            (Kernel::NicheArgmax, _) => Work::Bytes((size_of::<f32>() * network.classes.len()) as f64),
            // 32 bytes a niche, whatever the batch: kernels/archive/insert.cu.
            (Kernel::Insert, _) => Work::Bytes(32.0 * classes.len() as f64 / f64::from(*batch)),
        }
    }

    /// Brings the first chunk of the next generation into the buffers, up to its probabilities.
    fn prepare(&mut self) -> Result<()> {
        self.backend.put_back(&self.snapshot)?;
        for kernel in self.kernels().into_iter().take_while(|&kernel| kernel != Kernel::NicheArgmax) {
            self.backend.launch(kernel, self.chunk.clone())?;
        }
        self.stale = false;
        Ok(())
    }

    /// Time of `repeats` generations, each started and its counters read as `evolve` does; putting the state back is not counted.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn time_loop(&mut self, repeats: u32) -> Result<Duration> {
        self.stale = true;
        let mut time = Duration::ZERO;
        for begin in (0..repeats).step_by(AWAY as usize) {
            self.backend.put_back(&self.snapshot)?;
            self.backend.synchronise()?;
            let began = Instant::now();
            for _ in begin..repeats.min(begin + AWAY) {
                self.backend.generation()?;
                self.backend.counters()?;
            }
            time += began.elapsed();
        }
        Ok(time)
    }

    /// Time of `repeats` launches of `kernel` on the first chunk of the next generation.
    ///
    /// Launches are recorded, some in a graph, so that they follow one another as in a generation. Where a kernel finds less to do a
    /// second time, what it has changed is put back between, and a graph with that alone is timed too and taken off.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn time_kernel(&mut self, kernel: Kernel, repeats: u32) -> Result<Duration> {
        if self.stale {
            self.prepare()?;
        }
        if !self.graphs.iter().any(|(of, _)| *of == kernel) {
            let recorded = self.record(kernel)?;
            self.graphs.push((kernel, recorded));
        }
        let (_, Recorded { graph, without }) =
            self.graphs.iter().find(|(of, _)| *of == kernel).expect("it was recorded");
        let time = |graph| time_graph(&self.launcher, graph, self.at_once, repeats);
        let mut took = time(graph)?;
        if let Some(without) = without {
            // Noise may make it the longer one where there is next to nothing to measure.
            took = took.saturating_sub(time(without)?).max(Duration::from_nanos(1));
        }
        // What it has left is not what the next kernel needs.
        self.stale = matches!(kernel, Kernel::Randomise | Kernel::NicheArgmax | Kernel::Insert | Kernel::Vary);
        Ok(took)
    }

    fn record(&mut self, kernel: Kernel) -> Result<Recorded> {
        if kernel == Kernel::Insert && self.contested.is_none() {
            self.backend.launch(Kernel::NicheArgmax, self.chunk.clone())?;
            self.contested = Some(self.backend.snapshot()?);
        }
        let GpuStage { backend, snapshot, contested, chunk, at_once, .. } = self;
        let before = match kernel {
            Kernel::NicheArgmax => Some(&*snapshot),
            Kernel::Insert => contested.as_ref(),
            _ => None,
        };
        let mut record = |is_with: bool| {
            backend.record(|backend| {
                for _ in 0..*at_once {
                    before.map_or(Ok(()), |before| backend.put_back_heads(before))?;
                    if is_with {
                        backend.launch(kernel, chunk.clone())?;
                    }
                }
                Ok(())
            })
        };
        Ok(Recorded { graph: record(true)?, without: before.map(|_| record(false)).transpose()? })
    }

    /// Compares what `role` gives at the state with `want`; says what was compared.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ.
    pub fn check(&mut self, role: Role, want: &Want) -> Result<&'static str> {
        self.prepare()?;
        let agrees = match role {
            Role::Loop => {
                self.backend.put_back(&self.snapshot)?;
                self.backend.generation()?;
                self.counters_agree(want)?
            }
            Role::Kernel(kernel) => self.kernel_agrees(kernel, want)?,
        };
        self.stale = true;
        let check = check_of(role, self.job.seeds.len());
        if agrees {
            return Ok(check);
        }
        let what = match role {
            Role::Loop => "the loop",
            Role::Kernel(kernel) => self.name_of(kernel),
        };
        Err(disagrees(&format!("{what} of {} on the GPU", self.name), check))
    }

    fn kernel_agrees(&mut self, kernel: Kernel, want: &Want) -> Result<bool> {
        let each = |agrees: &dyn Fn(&super::want::Candidate) -> Result<bool>| -> Result<bool> {
            for candidate in &want.candidates {
                if !agrees(candidate)? {
                    return Ok(false);
                }
            }
            Ok(!want.candidates.is_empty())
        };
        match kernel {
            Kernel::Select => each(&|candidate| {
                let pair = self.backend.pair(candidate.place / 2)?;
                Ok((pair.parents, pair.crossed != 0) == (candidate.pair.parents, candidate.pair.crossed))
            }),
            Kernel::Vary => each(&|candidate| Ok(candidate.is_genome(&self.backend.genome(candidate.place)?))),
            Kernel::Compile | Kernel::Render => {
                each(&|candidate| Ok(candidate.image == self.backend.image(candidate.place)?))
            }
            Kernel::Layers | Kernel::Features | Kernel::Probabilities => {
                let (got, stride) = (self.backend.probabilities()?, self.chunk.len());
                each(&|candidate| {
                    let mut rows = candidate.probabilities.iter().enumerate();
                    Ok(rows.all(|(class, want)| want.to_bits() == got[class * stride + candidate.place].to_bits()))
                })
            }
            Kernel::NicheArgmax | Kernel::Insert => {
                self.backend.launch(Kernel::NicheArgmax, self.chunk.clone())?;
                self.backend.insert()?;
                self.counters_agree(want)
            }
            Kernel::Randomise => {
                self.backend.launch(Kernel::Randomise, self.chunk.clone())?;
                each(&|candidate| Ok(candidate.is_random(&self.backend.genome(candidate.place)?)))
            }
        }
    }

    fn counters_agree(&mut self, want: &Want) -> Result<bool> {
        let got = self.backend.counters()?;
        Ok(!want.counters.is_empty() && want.counters.iter().all(|(run, counters)| got[*run] == *counters))
    }
}

/// What a line is compared with, in words.
fn check_of(role: Role, runs: usize) -> &'static str {
    match role {
        Role::Loop if runs > 1 => {
            "archive hash and counters of five of the runs with those of each by itself on the CPU"
        }
        Role::Loop => "archive hash and counters with the CPU's",
        Role::Kernel(Kernel::Select) => "pairs of 64 candidates with the CPU's",
        Role::Kernel(Kernel::Randomise | Kernel::Vary) => "genomes of 64 candidates, bit for bit, with the CPU's",
        Role::Kernel(Kernel::Compile | Kernel::Render) => "images of 64 candidates, byte for byte, with the CPU's",
        Role::Kernel(Kernel::Layers | Kernel::Features | Kernel::Probabilities) => {
            "probabilities of 64 candidates, bit for bit, with the CPU's"
        }
        Role::Kernel(Kernel::NicheArgmax | Kernel::Insert) => {
            "archive hash and counters, after the kernels one by one, with the CPU's"
        }
    }
}

/// The yardstick on a GPU.
pub struct Drawn {
    /// Dropped before the buffers that it points to.
    graph: CudaGraph,
    backend: CudaBackend,
    launcher: Arc<Launcher>,
    at_once: u32,
}

impl Drawn {
    /// The genomes of `yardstick` as the population of `job`, drawn once.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn new(
        job: Job,
        yardstick: &Yardstick,
        launcher: &Arc<Launcher>,
        device: &Device,
        emulated: bool,
    ) -> Result<Drawn> {
        let n = yardstick.graphs.len() as u32;
        let mut backend = CudaBackend::new(job, Arc::clone(launcher), device.to_string(), DEFAULT_CHUNK)?;
        let genomes: Vec<Genome> = yardstick.graphs.iter().cloned().map(Genome::Cppn).collect();
        backend.set_genomes(&genomes)?;
        backend.render(0..n)?;
        let at_once = (CANDIDATES_OF_A_GRAPH / n).clamp(1, if emulated { LAUNCHES_EMULATED } else { LAUNCHES });
        let graph = backend.record(|backend| (0..at_once).try_for_each(|_| backend.render(0..n)))?;
        Ok(Drawn { graph, backend, launcher: Arc::clone(launcher), at_once })
    }

    /// Time to compile and draw all of them `repeats` times.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn time(&mut self, repeats: u32) -> Result<Duration> {
        time_graph(&self.launcher, &self.graph, self.at_once, repeats)
    }

    /// Compares the images with the reference.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ.
    pub fn check(&self, yardstick: &Yardstick) -> Result<&'static str> {
        yardstick.check_images(|at| self.backend.image(at))
    }
}
