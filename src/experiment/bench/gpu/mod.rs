//! The lines of a GPU: the loop, that of many runs at once, each kernel by its own name, the yardstick, whole processes. The CPU
//! says first what each must give.

pub mod meter;
pub mod peaks;
pub mod stage;
pub mod want;

use super::measure::{MOST, Timer};
use super::peaks::Peak;
use super::stage::{State, Yardstick, drawing};
use super::work::{self, Work};
use super::{Batches, Line, Request, Step, processes};
use crate::backend::Job;
use crate::backend::cuda::device::Device;
use crate::backend::cuda::probe::{Kernel, Snapshot};
use crate::backend::cuda::{DEFAULT_CHUNK, Launcher};
use crate::backend::memory::bytes_text;
use crate::error::Result;
use crate::experiment::device::{Chosen, DeviceMemory};
use crate::predictions;
use crate::telemetry::{Gpu, Sampler};
use meter::Meter;
use stage::{GpuStage, Role};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use want::Want;

/// Said where the driver is the emulated one.
pub const EMULATED: &str =
    "THIS IS THE EMULATED DRIVER, a processor in a GPU's place: no figure below says anything of a GPU";

/// Candidates a generation of each run of `loop-runs`, `run` and `start`: the presets' own.
const BATCH_OF_RUNS: u32 = 200;

/// What is measured beside a line's own time: warming up, finding out how often it is called, putting back its state. Of the time
/// that a line is given, estimated.
const BESIDE: f64 = 0.3;

/// A GPU to be measured.
pub struct Bench {
    device: Device,
    launcher: Arc<Launcher>,
    multiprocessors: u32,
    l2_bytes: u64,
    /// What asks the GPU of itself, or why nothing does.
    telemetry: std::result::Result<Arc<Sampler>, String>,
}

impl Bench {
    /// Of an open device.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn new(device: &Device, launcher: &Arc<Launcher>) -> Result<Bench> {
        let telemetry = Gpu::open(device).and_then(|gpu| Sampler::start(Arc::new(gpu), Sampler::PERIOD)).map(Arc::new);
        let bench = Bench {
            device: device.clone(),
            multiprocessors: launcher.multiprocessors()?,
            l2_bytes: launcher.l2_bytes()?,
            launcher: Arc::clone(launcher),
            telemetry,
        };
        if bench.is_emulated() {
            tracing::warn!("{EMULATED}");
        }
        Ok(bench)
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The way to it.
    pub fn launcher(&self) -> &Arc<Launcher> {
        &self.launcher
    }

    pub fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    pub fn l2_bytes(&self) -> u64 {
        self.l2_bytes
    }

    /// What asks it of itself, or why nothing does.
    pub fn telemetry(&self) -> &std::result::Result<Arc<Sampler>, String> {
        &self.telemetry
    }

    /// Whether it is the emulated driver's. Nothing but the amount of work depends on it.
    pub fn is_emulated(&self) -> bool {
        self.device.name.contains("emulated")
    }

    /// What notes the GPU's power and clocks while lines are timed.
    pub fn meter(&self) -> Meter {
        Meter::new(self.telemetry.as_ref().ok().cloned())
    }

    /// Its limits.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room; [`Error::Refused`](crate::error::Error::Refused) if a kernel
    /// gives something else than it must.
    pub(super) fn peaks(&self) -> Result<Vec<Peak>> {
        let sizes = peaks::Sizes::of(self.multiprocessors, self.l2_bytes, self.device.memory_bytes, self.is_emulated());
        peaks::peaks(&self.launcher, &sizes)
    }

    /// Everything that `request` asks for and that can be timed, checked. What does not fit into memory is warned of, and noted in
    /// `left_out`.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if the CPU's bits differ; those of the backends.
    pub(super) fn lines(
        &self,
        request: &Request,
        batches: &Batches,
        chosen: &Chosen,
        left_out: &mut Vec<String>,
    ) -> Result<Vec<Line>> {
        let wanted = |step: &Step| request.steps.contains(step);
        let mut lines = Vec::new();
        if request.steps.iter().any(|step| step.is_of_preset()) {
            for state in &request.states()? {
                if wanted(&Step::Loop) || request.steps.iter().any(|&step| kernel_of(step).is_some()) {
                    for &batch in request.batches_of(state.config.preset, batches) {
                        self.stage(request, chosen, state, batch, &mut lines, left_out)?;
                    }
                }
                if wanted(&Step::LoopRuns) && !state.config.preset.is_imagenet() {
                    for &runs in &request.runs {
                        self.loop_runs(request, chosen, state, runs, &mut lines, left_out)?;
                    }
                }
                lines.extend(processes(request, state, &self.device.id(), peaks::limit)?);
            }
        }
        if wanted(&Step::Render20) {
            for &batch in request.batches.iter().filter(|&&batch| batch <= DEFAULT_CHUNK) {
                lines.extend(self.yardstick(request, chosen, batch, left_out)?);
            }
        }
        Ok(lines)
    }

    /// Says what is to come, before it begins; of the networks `of_networks` lines.
    pub(super) fn announce(&self, request: &Request, of_networks: usize) {
        let batches = request.batches.len();
        let chunks = request.batches.iter().filter(|&&batch| batch <= DEFAULT_CHUNK).count();
        let of_step = |&step: &Step| match step {
            Step::Loop => batches * request.presets.len(),
            Step::LoopRuns => request.runs.len() * request.presets.len(),
            Step::Run | Step::Run8 | Step::Start => request.presets.len(),
            Step::Render20 => chunks,
            Step::Network => of_networks,
            _ => chunks * request.presets.iter().filter(|&&preset| stage::has(preset, step)).count(),
        };
        let lines: usize = request.steps.iter().map(of_step).sum();
        let all = lines + peaks::COUNT;
        let seconds = all as f64 * request.seconds * (1.0 + BESIDE);
        tracing::info!(
            "{lines} lines and {} limits of {} s each, in up to {MOST} samples: some {seconds:.0} s, after the CPU has made what they \
             must give",
            peaks::COUNT,
            request.seconds,
        );
    }

    /// Whether `job` with chunks of up to [`DEFAULT_CHUNK`] fits beside what is there, its state kept twice; if not, notes it.
    fn fits(&self, chosen: &Chosen, job: &Job, what: &str, left_out: &mut Vec<String>) -> bool {
        let Some(DeviceMemory { memory, usable, .. }) = chosen.memory(job) else { return true };
        let needed = memory.total(DEFAULT_CHUNK.min(job.candidates())) + 2 * Snapshot::bytes(job);
        if needed <= usable {
            return true;
        }
        let line = format!(
            "{what} takes {} of the GPU's memory, {} can be used beside the other lines",
            bytes_text(needed),
            bytes_text(usable)
        );
        tracing::warn!("left out: {line}");
        left_out.push(line);
        false
    }

    /// The loop and the kernels of a preset at a batch.
    fn stage(
        &self,
        request: &Request,
        chosen: &Chosen,
        state: &State,
        batch: u32,
        lines: &mut Vec<Line>,
        left_out: &mut Vec<String>,
    ) -> Result<()> {
        let has_loop = request.steps.contains(&Step::Loop);
        // A chunk is what a kernel sees: of a larger batch it would be the same line again.
        let has_kernels = batch <= DEFAULT_CHUNK;
        let steps = request.steps.iter().filter(|&&step| has_kernels && stage::has(state.config.preset, step));
        let kernels: Vec<(Step, Kernel)> = steps.filter_map(|&step| Some((step, kernel_of(step)?))).collect();
        let job = Job { batch, ..state.job.clone() };
        let what = format!("{} at batch {batch}", state.name());
        if !has_loop && kernels.is_empty() || !self.fits(chosen, &job, &what, left_out) {
            return Ok(());
        }
        let want = Want::new(state, batch, request.simd)?;
        let stage = GpuStage::new(state, &want, batch, 1, &self.launcher, &self.device, self.is_emulated())?;
        let stage = Rc::new(RefCell::new(stage));
        if has_loop {
            let check = stage.borrow_mut().check(Role::Loop, &want)?;
            let traffic = stage.borrow_mut().traffic()?;
            let timed = Rc::clone(&stage);
            let timer: Timer = Box::new(move |repeats| timed.borrow_mut().time_loop(repeats));
            let work = Work::Operations(work::multiply_adds(state.network()) as f64);
            let line = Line::of_state(Step::Loop, state, batch, batch, check, timer);
            let mut line = line.of_work(work, peaks::limit(work, batch));
            line.about.traffic = Some(traffic);
            line.about.predicted = stage.borrow().predicted_loop();
            lines.push(line);
        }
        for (step, kernel) in kernels {
            let check = stage.borrow_mut().check(Role::Kernel(kernel), &want)?;
            let name = stage.borrow().name_of(kernel);
            let work = stage.borrow().work(kernel, &want);
            let timed = Rc::clone(&stage);
            let timer: Timer = Box::new(move |repeats| timed.borrow_mut().time_kernel(kernel, repeats));
            let line = Line::of_state(step, state, batch, batch, check, timer);
            let mut line = line.of_work(work, peaks::limit(work, batch));
            line.about.name = Some(line_name(kernel, name).to_string());
            line.about.kernel = Some(name);
            line.about.predicted =
                predictions::of(name, batch.into()).map(|prediction| (prediction.rate, prediction.device));
            lines.push(line);
        }
        Ok(())
    }

    /// The loop of so many runs.
    fn loop_runs(
        &self,
        request: &Request,
        chosen: &Chosen,
        state: &State,
        runs: u32,
        lines: &mut Vec<Line>,
        left_out: &mut Vec<String>,
    ) -> Result<()> {
        let job = want::job_of_runs(state, BATCH_OF_RUNS, runs);
        let what = format!("{} in {runs} runs", state.name());
        if !self.fits(chosen, &job, &what, left_out) {
            return Ok(());
        }
        let want = Want::of_runs(state, BATCH_OF_RUNS, runs, request.simd)?;
        let emulated = self.is_emulated();
        let mut stage = GpuStage::new(state, &want, BATCH_OF_RUNS, runs, &self.launcher, &self.device, emulated)?;
        let check = stage.check(Role::Loop, &want)?;
        let traffic = stage.traffic()?;
        let timer: Timer = Box::new(move |repeats| stage.time_loop(repeats));
        let work = Work::Operations(work::multiply_adds(state.network()) as f64);
        let items = BATCH_OF_RUNS * runs;
        let line = Line::new(Step::LoopRuns, Some(state.name()), BATCH_OF_RUNS, items, check, timer);
        let mut line = line.of_work(work, peaks::limit(work, items));
        line.about.runs = Some(runs);
        line.about.traffic = Some(traffic);
        lines.push(line);
        Ok(())
    }

    /// The yardstick: compiled and drawn, as on the CPU.
    fn yardstick(
        &self,
        request: &Request,
        chosen: &Chosen,
        batch: u32,
        left_out: &mut Vec<String>,
    ) -> Result<Option<Line>> {
        let yardstick = Yardstick::new(batch, request.simd);
        let job = want::job_of_yardstick(&yardstick)?;
        if !self.fits(chosen, &job, &format!("render-20 at batch {batch}"), left_out) {
            return Ok(None);
        }
        let work = drawing(&yardstick.graphs, &yardstick.rules, Yardstick::CANVAS);
        let mut drawn = stage::Drawn::new(job, &yardstick, &self.launcher, &self.device, self.is_emulated())?;
        let check = drawn.check(&yardstick)?;
        let timer: Timer = Box::new(move |repeats| drawn.time(repeats));
        let line = Line::new(Step::Render20, None, batch, batch, check, timer);
        Ok(Some(line.of_work(work, peaks::limit(work, batch))))
    }
}

/// The kernel of a line.
fn kernel_of(step: Step) -> Option<Kernel> {
    Some(match step {
        Step::RandomiseDirect | Step::RandomiseCppn => Kernel::Randomise,
        Step::Select => Kernel::Select,
        Step::VaryDirect | Step::VaryCppn => Kernel::Vary,
        Step::CompileCppn => Kernel::Compile,
        Step::RenderDirect | Step::RenderCppn => Kernel::Render,
        Step::LenetFeatures => Kernel::Features,
        Step::LenetProbabilities => Kernel::Probabilities,
        Step::NicheArgmax => Kernel::NicheArgmax,
        Step::Insert => Kernel::Insert,
        _ => return None,
    })
}

/// What a line of the kernel `name` is called: its name without the type; niche_argmax has a kernel an encoding, which the line's
/// preset says.
fn line_name(kernel: Kernel, name: &'static str) -> &'static str {
    match kernel {
        Kernel::NicheArgmax => "niche_argmax",
        _ => name.rsplit_once('_').map_or(name, |(name, _)| name),
    }
}
