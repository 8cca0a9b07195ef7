//! Evolution: MAP-Elites against a network, from the first random genomes to the finished run folder; one run, or a series of
//! runs that differ in their seeds and share the threads.

use super::config::{Config, NO_LIMIT};
use super::device::{Chosen, DeviceMemory};
use super::progress::Progress;
use super::request::{EvolveRequest, OutChoice};
use super::run::{Run, Shared};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::memory::bytes_text;
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::network::Network;
use crate::output::{Checkpoint, Manifest, RunFolder, Series, Summary, confidence_text, run_folder, series};
use crate::telemetry;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// What an evolution came to, and the folder that holds it.
#[derive(Clone, Debug)]
pub enum Outcome {
    Run(Box<Manifest>, PathBuf),
    Series(Box<Summary>, PathBuf),
}

/// Runs what `request` asks for.
///
/// # Errors
/// [`Error::Stopped`] after SIGINT or SIGTERM, with the state saved; otherwise whatever kept a run from starting or its
/// folder from being written. What had been saved stays.
pub fn run(request: EvolveRequest) -> Result<Outcome> {
    let signals = Signals::catch()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| {
        let mut evolution = Evolution::open(request)?;
        evolution.evolve(&signals).map_err(|error| evolution.lost(error))?;
        evolution.finish()
    })
}

/// SIGINT and SIGTERM, turned into a number that the loop looks at; a second one ends the process at once.
struct Signals {
    caught: Arc<AtomicUsize>,
}

impl Signals {
    fn catch() -> Result<Signals> {
        use signal_hook::flag;
        let caught = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds `again` unset and sets it, the second finds it set.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))
                .and_then(|_| flag::register(signal, Arc::clone(&again)))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&caught), signal as usize))
                .map_err(|source| Error::Refused(format!("cannot catch signal {signal}: {source}")))?;
        }
        Ok(Signals { caught })
    }

    /// The signal that came, if one did.
    fn caught(&self) -> Option<i32> {
        match self.caught.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}

/// What the progress bar counts.
struct UnitOfProgress {
    total: u64,
    name: &'static str,
    is_time: bool,
}

/// Runs under way.
struct Evolution {
    shared: Shared,
    backend: Box<dyn Backend>,
    /// In the order of [`Job::seeds`].
    runs: Vec<Run>,
    /// The folder of them all, if they are a series.
    series: Option<Series>,
    progress: super::progress::ProgressMode,
}

/// A run folder with what it says of a run that was begun.
type Opened = (RunFolder, Option<Checkpoint>);

impl Evolution {
    /// Opens or makes the folders, and puts the backend where the runs stand.
    fn open(request: EvolveRequest) -> Result<Evolution> {
        let clock = Instant::now();
        // `--resume` takes from the disk what the call leaves out; `--resume-or-start` is a whole call.
        let (mut series, mut resumed) = (None, None);
        if let OutChoice::Resume(path) = &request.out {
            if series::is_series(path) {
                series = Some(Series::open(path)?);
            } else {
                let folder = RunFolder::open(path)?;
                let checkpoint = folder.read_checkpoint()?;
                resumed = Some((folder, checkpoint));
            }
        }
        let (saved_config, saved_files) = match (&series, &resumed) {
            (Some(series), _) => (Some(&series.record().configuration), Some(&series.record().files)),
            (_, Some((_, saved))) => (Some(&saved.config), Some(&saved.files)),
            _ => (None, None),
        };
        let mut config = saved_config.unwrap_or(&request.config).clone();
        request.stop.apply(&mut config);
        config.check()?;
        let files = request.files.or(saved_files, file_of_run)?;
        let network = Arc::new(files.load()?);
        if let Some(how) = &network.random {
            tracing::warn!("network {:?} has {how}: nobody trained it, and what it says means nothing", network.name);
        }
        let seeds = match &series {
            Some(series) => series.record().seeds.clone(),
            None => seeds(&config, request.runs)?,
        };
        let is_series = series.is_some() || request.runs > 1;

        let job = job(&config, seeds.clone(), &network)?;
        let chosen = Chosen::choose(request.device, &network)?;
        let chunk = chosen.chunk(&job, request.chunk);
        let memory = chosen.host_memory(&job, request.simd, chunk, request.pictures);
        let n_niches = job.classes.len();
        let (planned_memory, usable) = (memory.total(chunk), telemetry::memory_limit().map(telemetry::usable));
        if let Some(usable) = usable {
            memory.check(chunk, usable)?;
        }
        let device_memory = chosen.memory(&job);
        let backend = chosen.backend(job, request.simd, chunk)?;

        // A lock and the metrics of each run.
        let runs = seeds.len() as u64;
        telemetry::allow_open_files(2 * runs).map_err(|most| {
            Error::Refused(format!(
                "{runs} runs need {} open files, the system allows {most}; raise the limit (ulimit -n) or take fewer --runs",
                2 * runs
            ))
        })?;

        // Only now, when nothing is wrong with the call any more, does a new run touch the disk.
        if is_series && series.is_none() {
            let record = series::Record {
                arithmetic_version: ARITHMETIC_VERSION,
                seeds: seeds.clone(),
                configuration: config.clone(),
                files: files.clone(),
            };
            series = Some(match &request.out {
                OutChoice::Default => Series::create_numbered(&series::default_path(config.preset, &seeds), record)?,
                OutChoice::ResumeOrStart(path) => Series::open_or_create(path, record)?,
                OutChoice::Create(path) | OutChoice::Resume(path) => Series::create(path, record)?,
            });
        }
        let opened: Vec<Opened> = match (&series, resumed) {
            (Some(series), _) => seeds.iter().map(|&seed| open_or_create(&series.run(seed))).collect::<Result<_>>()?,
            (None, Some((folder, checkpoint))) => vec![(folder, Some(checkpoint))],
            (None, None) => vec![match &request.out {
                OutChoice::Default => {
                    let path = run_folder::default_path(config.preset, config.seed);
                    (RunFolder::create_numbered(&path)?, None)
                }
                OutChoice::ResumeOrStart(path) => open_or_create(path)?,
                OutChoice::Create(path) | OutChoice::Resume(path) => (RunFolder::create(path)?, None),
            }],
        };

        tracing::info!("device {} ({})", backend.describe(), chosen.reason);
        let planned_device_memory = device_memory.map(|DeviceMemory { memory, usable, .. }| {
            let planned = memory.total(chunk);
            tracing::info!("memory of the GPU {} of {}", bytes_text(planned), bytes_text(usable));
            planned
        });
        let usable = usable.map_or(String::new(), |usable| format!(" of {}", bytes_text(usable)));
        tracing::info!("memory at most {}{usable} (`plan` says what for)", bytes_text(planned_memory));
        let shared = Shared {
            files,
            network,
            planned_memory,
            planned_device_memory,
            device: chosen.name(),
            device_reason: chosen.reason,
            n_niches,
            simd: request.simd,
            pictures: request.pictures,
            clock,
        };
        let runs = seeds.into_iter().zip(opened);
        let runs =
            runs.map(|(seed, (folder, checkpoint))| Run::new(Config { seed, ..config.clone() }, folder, checkpoint));
        let mut evolution = Evolution { shared, backend, runs: runs.collect(), series, progress: request.progress };
        tracing::info!("run folder {}", evolution.path().display());
        for (index, run) in evolution.runs.iter_mut().enumerate() {
            run.restore(index, &mut *evolution.backend, &evolution.shared)?;
        }
        Ok(evolution)
    }

    /// The folder of the run, or of all of them.
    fn path(&self) -> &Path {
        self.series.as_ref().map_or_else(|| self.runs[0].path(), Series::path)
    }

    /// Makes generations until a stop rule has ended each run, or a signal comes; the checkpoints then stand at the last one.
    fn evolve(&mut self, signals: &Signals) -> Result<()> {
        if self.runs.iter().all(Run::is_finished) {
            return Ok(());
        }
        if let Some(series) = &mut self.series {
            series.go_on(self.runs[0].config(), &self.shared.files)?;
        }
        for run in &mut self.runs {
            run.begin(&self.shared)?;
        }
        let unit = self.unit_of_progress();
        let mut progress = Progress::new(self.progress, unit.total, unit.name);
        let mut active = Vec::new();
        loop {
            let taken = self.finish_those_at_their_end()?;
            if taken.is_empty() {
                progress.finish();
                return Ok(());
            }
            if taken != active {
                self.backend.activate(&taken)?;
                active = taken;
            }
            self.backend.generation()?;
            let signal = signals.caught();
            for (&index, counters) in active.iter().zip(self.backend.counters()?) {
                let run = &mut self.runs[index];
                if run.count(counters, signal.is_some(), &self.shared)? {
                    run.write_checkpoint(self.backend.archive(index)?, &self.shared)?;
                }
            }
            let step =
                if unit.is_time { self.slowest().elapsed(&self.shared) as u64 } else { self.slowest().generation() };
            progress.update(step, || self.message());
            if let Some(signal) = signal {
                progress.finish();
                return Err(Error::Stopped { signal, run: self.path().to_path_buf() });
            }
        }
    }

    /// What to say of `error`: where the device failed in mid-run, that what was saved stays.
    fn lost(&self, error: Error) -> Error {
        let path = self.path();
        match error {
            Error::Driver { .. } | Error::Launch { .. }
                if self.series.is_some() || run_folder::has_checkpoint(path) =>
            {
                Error::DeviceLost { source: Box::new(error), run: path.to_path_buf() }
            }
            _ => error,
        }
    }

    /// Writes what runs leave that a stop rule has ended; returns those that make the next generation: all the others, or, where
    /// a series was stopped before some had any, those.
    fn finish_those_at_their_end(&mut self) -> Result<Vec<usize>> {
        let mut going_on = Vec::new();
        for (index, run) in self.runs.iter_mut().enumerate().filter(|(_, run)| !run.is_finished()) {
            match run.stop(&self.shared) {
                Some(stop) => run.finish(self.backend.archive(index)?, stop, &self.shared)?,
                None => going_on.push(index),
            }
        }
        let is_new = |&index: &usize| !self.runs[index].has_begun();
        let new: Vec<usize> = going_on.iter().copied().filter(is_new).collect();
        Ok(if new.is_empty() { going_on } else { new })
    }

    /// The run with the fewest generations of those that are not finished.
    fn slowest(&self) -> &Run {
        let unfinished = self.runs.iter().filter(|run| !run.is_finished());
        unfinished.min_by_key(|run| run.generation()).unwrap_or(&self.runs[0])
    }

    /// What the progress bar says.
    fn message(&self) -> String {
        let statistics = self.runs.iter().filter_map(Run::statistics);
        let (medians, over): (Vec<f64>, Vec<usize>) =
            statistics.map(|statistics| (statistics.median, statistics.over_9999)).unzip();
        let n_niches = self.shared.n_niches;
        match (&medians[..], &over[..]) {
            (&[median], &[over]) => {
                format!("median {}  {over} of {n_niches} at .9999", confidence_text(median as f32))
            }
            _ => {
                let (done, runs) = (self.runs.iter().filter(|run| run.is_finished()).count(), self.runs.len());
                format!("{done} of {runs} runs done  {} of {} at .9999", over.iter().sum::<usize>(), runs * n_niches)
            }
        }
    }

    /// Generations, unless only time ends the runs.
    fn unit_of_progress(&self) -> UnitOfProgress {
        let Config { generations, evaluations, time, batch, .. } = *self.runs[0].config();
        let generations = match evaluations {
            0 => u64::from(generations),
            // The first batch is generation 0.
            _ => evaluations.div_ceil(u64::from(batch)).saturating_sub(1).min(u64::from(generations)),
        };
        if generations == u64::from(NO_LIMIT) && time > 0.0 {
            UnitOfProgress { total: time.ceil() as u64, name: "seconds", is_time: true }
        } else {
            UnitOfProgress { total: generations, name: "generations", is_time: false }
        }
    }

    /// What it all came to; of a series, the summary is written.
    fn finish(self) -> Result<Outcome> {
        let path = self.path().to_path_buf();
        let manifests: Vec<Manifest> = self.runs.into_iter().map(Run::into_manifest).collect();
        let Some(series) = self.series else {
            let manifest = manifests.into_iter().next().expect("one run at least");
            return Ok(Outcome::Run(Box::new(manifest), path));
        };
        let summary = Summary::of(&manifests);
        series.finish(&summary)?;
        Ok(Outcome::Series(Box::new(summary), path))
    }
}

/// The seeds of `runs` runs of `config`: its own and those after it.
///
/// # Errors
/// [`Error::Usage`] if there are no such seeds.
pub(super) fn seeds(config: &Config, runs: u32) -> Result<Vec<u64>> {
    let last = config.seed + u64::from(runs - 1);
    if last > i64::MAX as u64 {
        return Err(Error::Usage(format!(
            "--runs {runs}: the last seed would be {last}, the largest there is is {}",
            i64::MAX
        )));
    }
    Ok((config.seed..=last).collect())
}

/// The folder of a run, and its checkpoint if it was begun.
fn open_or_create(path: &Path) -> Result<Opened> {
    let folder = RunFolder::open_or_create(path)?;
    let begun = run_folder::has_checkpoint(folder.path());
    let checkpoint = begun.then(|| folder.read_checkpoint()).transpose()?;
    Ok((folder, checkpoint))
}

/// A file that a run needs, absolute, since the run may be continued from elsewhere.
fn file_of_run(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(Error::io("find", path))?;
    if absolute.to_str().is_none() {
        return Err(Error::file(&absolute, "the path is not UTF-8, and the checkpoint could not name it; rename it"));
    }
    Ok(absolute)
}

/// What runs of `config`, with these `seeds` in place of its own, and `network` make of a backend's work.
///
/// # Errors
/// [`Error::Refused`] if the network takes other images, [`Error::Usage`] if it lacks a class, or if there are more candidates
/// than a generation can number.
pub(super) fn job(config: &Config, seeds: Vec<u64>, network: &Arc<Network>) -> Result<Job> {
    let (batch, runs) = (config.batch, seeds.len());
    if u32::try_from(runs).ok().and_then(|runs| batch.checked_mul(runs)).is_none() {
        return Err(Error::Usage(format!("{runs} runs: with a batch of {batch} wanted at most {}", u32::MAX / batch)));
    }
    Ok(Job {
        seeds,
        batch: config.batch,
        canvas: config.canvas(),
        encoding: config.encoding(),
        classes: niches(config, network)?,
        network: Arc::clone(network),
    })
}

/// The class of each niche: those of the configuration, or all.
fn niches(config: &Config, network: &Network) -> Result<Vec<u32>> {
    let Canvas { height, width, channels } = config.canvas();
    let input = network.input;
    if (input.height, input.width, input.channels) != (height, width, channels) {
        return Err(Error::Refused(format!(
            "network {:?} takes {}x{} images of {} channels, the preset draws {height}x{width} of {channels}",
            network.name, input.height, input.width, input.channels
        )));
    }
    let n_classes = network.classes.len() as u32;
    if config.classes.is_empty() {
        return Ok((0..n_classes).collect());
    }
    match config.classes.iter().find(|&&class| class >= n_classes) {
        Some(class) => {
            Err(Error::Usage(format!("classes: got {class}, the network has classes 0 to {}", n_classes - 1)))
        }
        None => Ok(config.classes.clone()),
    }
}
