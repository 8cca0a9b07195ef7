//! Benchmarks: how many genomes a second the loop and each of its steps take, and what share of the machine's limit that is,
//! measured in the same run. benches/README.md says what each line means.
//!
//! What is timed is the code that users run, at the state of a run; before any line is timed its output is compared with a
//! reference.

pub mod compare;
pub mod measure;
pub mod peaks;
pub mod process;
pub mod reference;
pub mod report;
pub mod stage;
pub mod work;
pub mod yardstick;

use super::config::Preset;
use super::progress::{Progress, ProgressMode};
use crate::error::{Error, Result};
use crate::simd::Simd;
use crate::telemetry::{self, ProcessorTime};
use measure::{Timer, measure};
use process::Process;
use report::{Busy, Flags, LineResult, Machine, PeakResult, Report};
use stage::{Stage, State, Yardstick};
use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use work::Work;

/// What can be timed. The first six, in this order, are the loop and what it consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// Whole generations
    Loop,
    /// Selection of parents, crossover and mutation
    Vary,
    /// CPPNs to instruction lists (which drawing does again: it is part of `render`)
    Compile,
    /// Drawing
    Render,
    /// The network
    Classify,
    /// The best of the batch for each niche, and into the archive
    Insert,
    /// Drawing of the yardstick: random CPPNs of 20 nodes, 28x28
    #[value(name = "render-20")]
    Render20,
    /// `evolve`, 200 generations of 200 without pictures, from the start of the process to its end
    Run,
    /// `evolve --runs 8`, the same for eight seeds at once
    #[value(name = "run-8")]
    Run8,
    /// `evolve`, the random generation alone, from the start of the process to its end
    Start,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 10] = [
        Step::Loop,
        Step::Vary,
        Step::Compile,
        Step::Render,
        Step::Classify,
        Step::Insert,
        Step::Render20,
        Step::Run,
        Step::Run8,
        Step::Start,
    ];

    /// Whether it is timed inside this process, at a preset's state and for every batch.
    fn is_of_stage(self) -> bool {
        !matches!(self, Step::Render20 | Step::Run | Step::Run8 | Step::Start)
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
    pub steps: Vec<Step>,
    pub presets: Vec<Preset>,
    /// Candidates a generation, each at least 1.
    pub batches: Vec<u32>,
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

/// Processors that others may use without a warning.
const OTHERS_ALLOWED: f64 = 0.5;

/// A line to be timed.
struct Line {
    step: Step,
    preset: Option<String>,
    batch: u32,
    /// What a call makes so many of.
    items: u32,
    work: Option<Work>,
    check: &'static str,
    timer: Timer,
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

    let lines = lines(request)?;
    if lines.is_empty() {
        return Err(Error::Usage(
            "bench: nothing to time: an odd batch can be drawn and classified only, and pixels are not compiled".into(),
        ));
    }
    let peaks = peaks::peaks();
    let mut timers = Vec::new();
    let peaks: Vec<_> = peaks
        .into_iter()
        .map(|peak| {
            timers.push(peak.timer);
            (peak.name, peak.unit, peak.giga)
        })
        .collect();
    let mut results = Vec::new();
    for line in lines {
        timers.push(line.timer);
        results.push((line.step, line.preset, line.batch, line.items, line.work, line.check));
    }

    let mut progress = Progress::new(request.progress, 1000, "per mille");
    let spreads = measure(&mut timers, request.seconds, |done, all| {
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

    let (of_peaks, of_lines) = spreads.split_at(peaks.len());
    let peaks: Vec<PeakResult> = peaks
        .iter()
        .zip(of_peaks)
        .map(|(&(ref name, unit, giga), times)| PeakResult::new(name, unit, giga, times))
        .collect();
    let results = results
        .into_iter()
        .zip(of_lines)
        .map(|((step, preset, batch, items, work, check), times)| {
            let limit = work.map(|work| {
                let name = work.limit(request.simd, items);
                let peak = peaks.iter().find(|peak| peak.name == name).expect("every limit is measured");
                (work, peak)
            });
            LineResult::new(step, preset, batch, items, limit, check, times)
        })
        .collect();
    Ok(Report {
        format: report::FORMAT.to_string(),
        date,
        command: request.command.clone(),
        version: crate::version::VERSION.to_string(),
        commit: crate::version::COMMIT.to_string(),
        arithmetic_version: crate::archive::ARITHMETIC_VERSION,
        machine: Machine::here(),
        flags: Flags {
            rustc: crate::version::RUSTC.to_string(),
            platform: crate::version::TARGET.to_string(),
            compiler: crate::version::FLAGS.to_string(),
            threads: request.threads,
            simd: request.simd.to_string(),
            seconds: request.seconds,
        },
        busy: Busy { load_average, others },
        peaks,
        results,
    })
}

/// Everything that `request` asks for and that can be timed, checked.
fn lines(request: &Request) -> Result<Vec<Line>> {
    let wanted = |step: &Step| request.steps.contains(step);
    let simd = request.simd;
    let mut lines = Vec::new();
    for &preset in &request.presets {
        if !Step::ALL.iter().any(|step| wanted(step) && *step != Step::Render20) {
            continue;
        }
        let state = State::new(preset)?;
        let batches: &[u32] =
            if Step::ALL.iter().any(|step| wanted(step) && step.is_of_stage()) { &request.batches } else { &[] };
        for &batch in batches {
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
                let preset = Some(state.name());
                lines.push(Line { step, preset, batch, items, work: Some(work), check, timer });
            }
        }
        lines.extend(processes(request, &state)?);
    }
    if wanted(&Step::Render20) {
        for &batch in &request.batches {
            let mut yardstick = Yardstick::new(batch, simd);
            let (check, work) = (yardstick.check()?, Some(yardstick.work()));
            let timer: Timer = Box::new(move |repeats| Ok(yardstick.time(repeats)));
            lines.push(Line { step: Step::Render20, preset: None, batch, items: batch, work, check, timer });
        }
    }
    lines.sort_by_key(|line| (line.step as u8, line.preset.clone(), line.batch));
    Ok(lines)
}

/// The lines that time whole processes of `state`'s preset.
fn processes(request: &Request, state: &State) -> Result<Vec<Line>> {
    let steps = [Step::Run, Step::Run8, Step::Start].into_iter().filter(|step| request.steps.contains(step));
    let steps: Vec<Step> = steps.collect();
    let Some(longest) = steps.iter().map(|&step| process::generations(step)).max() else { return Ok(Vec::new()) };
    let (first, last) = state.hashes(longest)?;
    let mut lines = Vec::new();
    for step in steps {
        let generations = process::generations(step);
        let mut process = Process::new(request, state, step, if generations == 0 { first } else { last })?;
        let check = process.check()?;
        let timer: Timer = Box::new(move |repeats| process.time(repeats));
        let multiply_adds = Work::Operations(work::multiply_adds(state.network()) as f64);
        let batch = state.config.batch;
        lines.push(Line {
            step,
            preset: Some(state.name()),
            batch,
            items: batch * (generations + 1) * process::runs(step),
            work: (generations > 0).then_some(multiply_adds),
            check,
            timer,
        });
    }
    Ok(lines)
}
