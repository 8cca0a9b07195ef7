//! Benchmarks: how many genomes a second the loop and each of its steps take, and what share of the machine's limit that is,
//! measured in the same run. benches/README.md says what each line means.
//!
//! What is timed is the code that users run, at the state of a run; before any line is timed its output is compared with a
//! reference.

pub mod compare;
pub mod gpu;
pub mod measure;
pub mod networks;
pub mod peaks;
pub mod process;
pub mod reference;
pub mod report;
pub mod stage;
pub mod work;
pub mod yardstick;

use super::config::Preset;
use super::device::{Asked, Chosen};
use super::progress::{Progress, ProgressMode};
use crate::backend::cuda::traffic::Traffic;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::network::list::List;
use crate::simd::Simd;
use crate::telemetry::{self, ProcessorTime};
use measure::{MOST, Timer, measure};
use process::Process;
use report::{Busy, DeviceReport, Flags, LineResult, Machine, PeakResult, Report};
use stage::{Mutation, Stage, State, Yardstick};
use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use work::Work;

/// What can be timed: on the CPU the loop and what it consists of, on a GPU the loop and its kernels by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Step {
    /// Whole generations
    Loop,
    /// On a GPU: whole generations of several runs at once, each of 200
    #[value(name = "loop-runs")]
    LoopRuns,
    /// Selection of parents, crossover and mutation; on a GPU their kernels
    Vary,
    /// CPPNs to instruction lists (which drawing does again: it is part of `render`); on a GPU its kernel
    Compile,
    /// Drawing; on a GPU its kernels
    Render,
    /// The network; on a GPU its kernels
    Classify,
    /// A kernel
    #[value(name = "randomise_direct")]
    RandomiseDirect,
    /// A kernel
    #[value(name = "randomise_cppn")]
    RandomiseCppn,
    /// A kernel
    #[value(name = "select")]
    Select,
    /// A kernel
    #[value(name = "vary_direct")]
    VaryDirect,
    /// A kernel
    #[value(name = "vary_cppn")]
    VaryCppn,
    /// A kernel
    #[value(name = "compile_cppn")]
    CompileCppn,
    /// A kernel
    #[value(name = "render_direct")]
    RenderDirect,
    /// A kernel
    #[value(name = "render_cppn")]
    RenderCppn,
    /// A kernel, in the form that the batch picks
    #[value(name = "lenet_features")]
    LenetFeatures,
    /// A kernel, in the form that the batch picks
    #[value(name = "lenet_probabilities")]
    LenetProbabilities,
    /// A kernel
    #[value(name = "niche_argmax")]
    NicheArgmax,
    /// The best of the batch for each niche, and into the archive; on a GPU the second of both, a kernel
    Insert,
    /// Drawing of the yardstick: random CPPNs of 20 nodes, 28x28
    #[value(name = "render-20")]
    Render20,
    /// The same with three outputs at 256x256: colour; 64 genomes a call at most
    #[value(name = "render-20-colour")]
    Render20Colour,
    /// Polynomial mutation of direct genomes of 256x256x3 genes, a tenth of them, and nothing else; 64 genomes a call at most
    #[value(name = "mutate-colour")]
    MutateColour,
    /// The networks of --network, with random weights, images a second; only where it is named
    Network,
    /// `evolve`, 200 generations of 200 without pictures, from the start of the process to its end
    Run,
    /// `evolve --runs 8`, the same for eight seeds at once
    #[value(name = "run-8")]
    Run8,
    /// `evolve`, the random generation alone, from the start of the process to its end
    Start,
}

impl Step {
    /// What is timed on the CPU. The first six, in this order, are the loop and what it consists of.
    pub const CPU: [Step; 13] = [
        Step::Loop,
        Step::Vary,
        Step::Compile,
        Step::Render,
        Step::Classify,
        Step::Insert,
        Step::Render20,
        Step::Render20Colour,
        Step::MutateColour,
        Step::Network,
        Step::Run,
        Step::Run8,
        Step::Start,
    ];

    /// What is timed on a GPU.
    pub const GPU: [Step; 19] = [
        Step::Loop,
        Step::LoopRuns,
        Step::RandomiseDirect,
        Step::RandomiseCppn,
        Step::Select,
        Step::VaryDirect,
        Step::VaryCppn,
        Step::CompileCppn,
        Step::RenderDirect,
        Step::RenderCppn,
        Step::LenetFeatures,
        Step::LenetProbabilities,
        Step::NicheArgmax,
        Step::Insert,
        Step::Render20,
        Step::Network,
        Step::Run,
        Step::Run8,
        Step::Start,
    ];

    /// Whether it is timed at a preset's state.
    fn is_of_preset(self) -> bool {
        !matches!(self, Step::Render20 | Step::Render20Colour | Step::MutateColour | Step::Network)
    }

    /// Whether that is done inside this process and for every batch.
    fn is_of_stage(self) -> bool {
        self.is_of_preset() && !matches!(self, Step::Run | Step::Run8 | Step::Start)
    }

    /// What it comes to on a GPU: itself, or the kernels of a step of the CPU.
    fn on_gpu(self) -> Vec<Step> {
        match self {
            Step::Vary => vec![Step::Select, Step::VaryDirect, Step::VaryCppn],
            Step::Compile => vec![Step::CompileCppn],
            Step::Render => vec![Step::CompileCppn, Step::RenderDirect, Step::RenderCppn],
            Step::Classify => vec![Step::LenetFeatures, Step::LenetProbabilities],
            other => vec![other],
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::config::name_of(*self))
    }
}

/// One call of `bench`, checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// None for all that there are on the device but `network`; or, where networks are named, for that alone.
    pub steps: Vec<Step>,
    pub presets: Vec<Preset>,
    /// Those of the step `network`, none for [`networks::DEFAULT`], and of the presets of ImageNet, none for CaffeNet.
    pub networks: Vec<List>,
    /// Candidates a generation, or images of a network, each at least 1; none for those that suit the device.
    pub batches: Vec<u32>,
    /// Runs at once of `loop-runs`, each at least 1.
    pub runs: Vec<u32>,
    pub device: Asked,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    /// How long each line is timed.
    pub seconds: f64,
    /// What the user called, for the report.
    pub command: String,
    /// This program, for lines that time whole processes.
    pub program: PathBuf,
    pub progress: ProgressMode,
}

impl Request {
    /// A run of each preset in its midst, those of ImageNet against each network.
    ///
    /// # Errors
    /// Those of the CPU's backend; that a network does not see colour.
    fn states(&self) -> Result<Vec<State>> {
        let mut states = Vec::new();
        for &preset in &self.presets {
            if preset.is_imagenet() {
                let judges = if self.networks.is_empty() {
                    &[List::built_in(JUDGE).expect("it is built in")]
                } else {
                    &self.networks[..]
                };
                for list in judges {
                    states.push(State::against(preset, &Network::random(list, networks::SEED)?)?);
                }
            } else {
                states.push(State::new(preset)?);
            }
        }
        Ok(states)
    }

    /// Candidates a generation of `preset`.
    fn batches_of<'a>(&'a self, preset: Preset, batches: &'a Batches) -> &'a [u32] {
        if preset.is_imagenet() { &batches.imagenet } else { &self.batches }
    }
}

/// Batches of what has its own.
struct Batches {
    networks: Vec<u32>,
    imagenet: Vec<u32>,
}

/// Processors that others may use without a warning.
const OTHERS_ALLOWED: f64 = 0.5;

/// Candidates a generation where the call names none.
const CPU_BATCHES: [u32; 4] = [1, 200, 256, 4096];
const GPU_BATCHES: [u32; 5] = [200, 4096, 16_384, 65_536, 262_144];

/// The same against a network for ImageNet.
const CPU_BATCHES_IMAGENET: [u32; 1] = [16];
const GPU_BATCHES_IMAGENET: [u32; 1] = [400];

/// The network of ImageNet's presets where the call names none: the paper's.
const JUDGE: &str = "caffenet";

/// Turns of a GPU's lines: a third of a line's samples come at a time.
const GPU_TURNS: usize = 3;

/// A line to be timed.
struct Line {
    about: About,
    timer: Timer,
}

/// What a line is, but for its times.
struct About {
    step: Step,
    /// What it is called, if not by its step.
    name: Option<String>,
    preset: Option<String>,
    /// The network of its step, and what its weights are.
    network: Option<String>,
    weights: Option<String>,
    batch: u32,
    /// Runs at once, where there may be several.
    runs: Option<u32>,
    /// What a call makes so many of.
    items: u32,
    /// The least work of one of them, and the peak that it is held against.
    work: Option<(Work, String)>,
    check: &'static str,
    /// The kernel that is timed, by its name in kernels/.
    kernel: Option<&'static str>,
    /// Genomes a second as predicted, and for which GPU.
    predicted: Option<(f64, &'static str)>,
    traffic: Option<Traffic>,
}

impl Line {
    /// A line that belongs to no kernel.
    fn new(step: Step, preset: Option<String>, batch: u32, items: u32, check: &'static str, timer: Timer) -> Line {
        let about = About {
            step,
            name: None,
            preset,
            network: None,
            weights: None,
            batch,
            runs: None,
            items,
            work: None,
            check,
            kernel: None,
            predicted: None,
            traffic: None,
        };
        Line { about, timer }
    }

    /// A line of `state`'s preset, and of its network where that is not always the same.
    fn of_state(step: Step, state: &State, batch: u32, items: u32, check: &'static str, timer: Timer) -> Line {
        let mut line = Line::new(step, Some(state.name()), batch, items, check, timer);
        if state.config.preset.is_imagenet() {
            line.about.network = Some(state.network().name.clone());
            line.about.weights = state.network().random.clone();
        }
        line
    }

    /// The same with its work.
    fn of_work(mut self, work: Work, limit: String) -> Line {
        self.about.work = Some((work, limit));
        self
    }
}

/// Times what `request` asks for.
///
/// # Errors
/// [`Error::Refused`] if a step does not give what its reference gives, or if nothing of what was asked for can be timed.
pub fn run(request: &Request) -> Result<Report> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| time_all(request))
}

fn time_all(request: &Request) -> Result<Report> {
    let load_average = telemetry::load_average();
    let date = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let before = ProcessorTime::now();
    let clock = std::time::Instant::now();

    let chosen = Chosen::choose(request.device, &Network::embedded_lenet(None)?)?;
    let on_gpu = chosen.on_gpu().map(|(device, launcher)| gpu::Bench::new(device, launcher)).transpose()?;
    let (request, batches) = &wanted(request, on_gpu.is_some())?;
    let of_networks = if request.steps.contains(&Step::Network) { &batches.networks[..] } else { &[] };
    let mut left_out = Vec::new();
    let (mut lines, peaks) = match &on_gpu {
        Some(bench) => {
            bench.announce(request, of_networks.len() * request.networks.len());
            let peaks = bench.peaks()?; // first: lines that find no room beside them are left out
            let mut lines = bench.lines(request, batches, &chosen, &mut left_out)?;
            lines.extend(networks::on_gpu(request, of_networks, bench.launcher(), &mut left_out)?);
            (lines, peaks)
        }
        None => {
            let mut lines = lines(request, batches)?;
            lines.extend(networks::on_cpu(request, of_networks, &mut left_out)?);
            (lines, peaks::peaks())
        }
    };
    sort(&mut lines);
    if lines.is_empty() {
        return Err(match left_out.first() {
            Some(first) => Error::Refused(format!("bench: nothing to time: {first}")),
            None => Error::Usage(
                "bench: nothing to time: an odd batch can be drawn and classified only, on the CPU; pixels are not compiled, and \
                 each preset has kernels that the other has not"
                    .into(),
            ),
        });
    }
    let mut timers = Vec::new();
    let peaks: Vec<_> = peaks
        .into_iter()
        .map(|peak| {
            timers.push(peak.timer);
            (peak.name, peak.unit, peak.giga, peak.predicted)
        })
        .collect();
    let mut about = Vec::new();
    for line in lines {
        timers.push(line.timer);
        about.push(line.about);
    }

    let mut progress = Progress::new(request.progress, 1000, "per mille");
    let mut meter = on_gpu.as_ref().map(gpu::Bench::meter);
    let turns = if on_gpu.is_some() { GPU_TURNS } else { MOST };
    let mut nobody = ();
    let watch: &mut dyn measure::Watch = match &mut meter {
        Some(meter) => meter,
        None => &mut nobody,
    };
    let spreads = measure(&mut timers, request.seconds, turns, watch, |done, all| {
        progress.update((1000 * done / all) as u64, || format!("sample {done} of {all}"));
    })?;
    progress.finish();

    let others = before.zip(ProcessorTime::now()).map(|(before, after)| {
        let others = (after.all - before.all) - (after.own - before.own);
        (others / clock.elapsed().as_secs_f64()).max(0.0)
    });
    if let Some(others) = others.filter(|&others| others > OTHERS_ALLOWED) {
        tracing::warn!("the machine was busy: others used {others:.1} of its processors during these measurements");
    }

    let n_peaks = peaks.len();
    let (of_peaks, of_lines) = spreads.split_at(n_peaks);
    let peaks: Vec<PeakResult> = peaks
        .iter()
        .zip(of_peaks)
        .map(|(&(ref name, unit, giga, predicted), times)| PeakResult::new(name, unit, giga, times, predicted))
        .collect();
    let result = |(at, (about, times)): (usize, (About, &measure::Spread))| {
        let limit = about.work.as_ref().map(|(work, limit)| {
            let peak = peaks.iter().find(|peak| peak.name == *limit).expect("every limit is measured");
            (*work, peak)
        });
        let name = about.name.unwrap_or_else(|| about.step.to_string());
        let line = LineResult::new(&name, about.preset, about.batch, about.items, limit, about.check, times);
        LineResult {
            network: about.network,
            weights: about.weights,
            runs: about.runs,
            kernel: about.kernel.map(String::from),
            predicted: about.predicted.map(|(rate, _)| report::rounded(rate)),
            predicted_for: about.predicted.map(|(_, device)| device.to_string()),
            traffic: about.traffic,
            gpu: meter.as_ref().map(|meter| meter.use_of(n_peaks + at, line.per_second)),
            ..line
        }
    };
    let results = about.into_iter().zip(of_lines).enumerate().map(result).collect();
    Ok(Report {
        format: report::FORMAT.to_string(),
        date,
        command: request.command.clone(),
        version: crate::version::VERSION.to_string(),
        commit: crate::version::COMMIT.to_string(),
        arithmetic_version: crate::archive::ARITHMETIC_VERSION,
        machine: Machine::here(),
        device: on_gpu.as_ref().map(DeviceReport::of),
        flags: Flags {
            rustc: crate::version::RUSTC.to_string(),
            platform: crate::version::TARGET.to_string(),
            compiler: crate::version::FLAGS.to_string(),
            threads: request.threads,
            simd: request.simd.to_string(),
            seconds: request.seconds,
        },
        busy: Busy { load_average, others },
        left_out,
        peaks,
        results,
    })
}

/// `request` with the steps, networks and batches that it leaves to the device, and the batches of its networks.
///
/// # Errors
/// [`Error::Usage`] for a step that is none of the device's, or an odd batch on a GPU.
fn wanted(request: &Request, on_gpu: bool) -> Result<(Request, Batches)> {
    let there: &[Step] = if on_gpu { &Step::GPU } else { &Step::CPU };
    let named = request.steps.iter().flat_map(|step| if on_gpu { step.on_gpu() } else { vec![*step] });
    // A network that is named is timed by itself, but where it is named as a judge.
    let is_judge = request.presets.iter().any(|preset| preset.is_imagenet());
    let networks = (!request.networks.is_empty() && !is_judge).then_some(Step::Network);
    let mut steps: Vec<Step> = named.chain(networks).collect();
    if steps.is_empty() {
        steps = there.iter().copied().filter(|&step| step != Step::Network).collect();
    }
    steps.sort_unstable();
    steps.dedup();
    if let Some(step) = steps.iter().find(|step| !there.contains(step)) {
        let names: Vec<String> = there.iter().map(Step::to_string).collect();
        let (other, here) =
            if on_gpu { ("the CPU (--device cpu)", "a GPU") } else { ("a GPU (--device cuda:0)", "the CPU") };
        return Err(Error::Usage(format!(
            "bench: {step} is timed on {other}; on {here} there are {}",
            names.join(", ")
        )));
    }
    let (of_steps, of_networks, of_imagenet) = if on_gpu {
        (&GPU_BATCHES[..], &networks::GPU_BATCHES[..], &GPU_BATCHES_IMAGENET)
    } else {
        (&CPU_BATCHES[..], &networks::CPU_BATCHES[..], &CPU_BATCHES_IMAGENET)
    };
    let or = |suits: &[u32]| if request.batches.is_empty() { suits.to_vec() } else { request.batches.clone() };
    let (batches, of_networks) = (or(of_steps), Batches { networks: or(of_networks), imagenet: or(of_imagenet) });
    let in_pairs = on_gpu && steps.iter().any(|&step| step != Step::Network);
    if let Some(odd) = batches.iter().find(|batch| in_pairs && !batch.is_multiple_of(2)) {
        return Err(Error::Usage(format!(
            "bench: --batch {odd}: candidates are born in pairs, so on a GPU a batch is even; take {} or {}",
            odd + 1,
            (odd - 1).max(2)
        )));
    }
    let networks = match (steps.contains(&Step::Network), &request.networks) {
        (true, named) if named.is_empty() => networks::default_lists()?,
        (_, named) => named.clone(),
    };
    Ok((Request { steps, batches, networks, ..request.clone() }, of_networks))
}

/// Everything that `request` asks for and that can be timed, checked.
fn lines(request: &Request, batches: &Batches) -> Result<Vec<Line>> {
    let wanted = |step: &Step| request.steps.contains(step);
    let simd = request.simd;
    let mut lines = Vec::new();
    let states =
        if Step::CPU.iter().any(|step| wanted(step) && step.is_of_preset()) { request.states()? } else { vec![] };
    for state in states {
        let of_state = request.batches_of(state.config.preset, batches);
        let of_state = if Step::CPU.iter().any(|step| wanted(step) && step.is_of_stage()) { of_state } else { &[] };
        for &batch in of_state {
            let mut stage = Stage::new(&state, batch, simd)?;
            let mut checked = Vec::new();
            for step in stage.steps().into_iter().filter(wanted) {
                checked.push((step, stage.check(step)?));
            }
            let stage = Rc::new(RefCell::new(stage));
            for (step, check) in checked {
                let (items, work) = (stage.borrow().items(step), stage.borrow().work(step));
                let stage = Rc::clone(&stage);
                let timer: Timer = Box::new(move |repeats| stage.borrow_mut().time(step, repeats));
                let line = Line::of_state(step, &state, batch, items, check, timer);
                lines.push(line.of_work(work, work.limit(simd, items)));
            }
        }
        lines.extend(processes(request, &state, "cpu", |work, items| work.limit(simd, items))?);
    }
    if wanted(&Step::Render20) {
        for &batch in &request.batches {
            let mut yardstick = Yardstick::new(batch, simd);
            let (check, work) = (yardstick.check()?, yardstick.work());
            let timer: Timer = Box::new(move |repeats| Ok(yardstick.time(repeats)));
            let line = Line::new(Step::Render20, None, batch, batch, check, timer);
            lines.push(line.of_work(work, work.limit(simd, batch)));
        }
    }
    let mut of_colour: Vec<u32> = request.batches.iter().map(|&batch| batch.min(stage::MOST_COLOUR)).collect();
    of_colour.sort_unstable();
    of_colour.dedup();
    for batch in of_colour {
        if wanted(&Step::Render20Colour) {
            let mut yardstick = Yardstick::colour(batch, simd);
            let (check, work) = (yardstick.check()?, yardstick.work());
            let timer: Timer = Box::new(move |repeats| Ok(yardstick.time(repeats)));
            let line = Line::new(Step::Render20Colour, None, batch, batch, check, timer);
            lines.push(line.of_work(work, work.limit(simd, batch)));
        }
        if wanted(&Step::MutateColour) {
            let mut mutation = Mutation::new(batch, simd);
            let (check, work) = (mutation.check()?, mutation.work());
            let timer: Timer = Box::new(move |repeats| Ok(mutation.time(repeats)));
            let line = Line::new(Step::MutateColour, None, batch, batch, check, timer);
            lines.push(line.of_work(work, work.limit(simd, batch)));
        }
    }
    Ok(lines)
}

/// Puts lines into the order of their steps.
fn sort(lines: &mut [Line]) {
    lines.sort_by_key(|Line { about, .. }| {
        (about.step, about.preset.clone(), about.network.clone(), about.runs, about.batch)
    });
}

/// The lines that time whole processes of `state`'s preset on `device`, as `--device` has it; `limit` names the peak of some work.
fn processes(request: &Request, state: &State, device: &str, limit: impl Fn(Work, u32) -> String) -> Result<Vec<Line>> {
    let steps = [Step::Run, Step::Run8, Step::Start].into_iter().filter(|step| request.steps.contains(step));
    // Against a network for ImageNet a process would be told its weights, and take hours.
    let steps: Vec<Step> = steps.filter(|_| !state.config.preset.is_imagenet()).collect();
    let Some(longest) = steps.iter().map(|&step| process::generations(step)).max() else { return Ok(Vec::new()) };
    let (first, last) = state.hashes(longest)?;
    let mut lines = Vec::new();
    for step in steps {
        let generations = process::generations(step);
        let mut process = Process::new(request, state, device, step, if generations == 0 { first } else { last })?;
        let check = process.check()?;
        let timer: Timer = Box::new(move |repeats| process.time(repeats));
        let multiply_adds = Work::Operations(work::multiply_adds(state.network()) as f64);
        let batch = state.config.batch;
        let items = batch * (generations + 1) * process::runs(step);
        let line = Line::new(step, Some(state.name()), batch, items, check, timer);
        lines.push(if generations > 0 { line.of_work(multiply_adds, limit(multiply_adds, items)) } else { line });
    }
    Ok(lines)
}
