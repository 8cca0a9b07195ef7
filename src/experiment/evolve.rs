//! Evolution: MAP-Elites against a network, from the first random genomes to the finished run folder; one run, or a series of
//! runs that differ in their seeds and share the threads.

use super::config::{Config, NO_LIMIT, name_of};
use super::device::{Chosen, DeviceMemory};
use super::meter::Meter;
use super::plan;
use super::progress::Progress;
use super::request::{EvolveRequest, OutChoice};
use super::run::{Run, Shared};
use super::writer::Writer;
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::memory::{Part, bytes_text};
use crate::backend::{Backend, Insertion, Job};
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::network::Network;
use crate::output::tensorboard::EventFile;
use crate::output::{
    Checkpoint, Manifest, Metrics, RunFolder, Series, Stop, Summary, confidence_text, run_folder, series, start_file,
};
use crate::telemetry;
use rayon::prelude::*;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
    pool.install(|| run_on_pool(request, &signals))
}

/// As [`run`], on rayon's current pool, until one of `signals` comes.
///
/// # Errors
/// As [`run`].
pub(super) fn run_on_pool(request: EvolveRequest, signals: &Signals) -> Result<Outcome> {
    let mut evolution = Evolution::open(request)?;
    evolution.evolve(signals).map_err(|error| evolution.lost(error))?;
    evolution.finish()
}

/// SIGINT and SIGTERM, turned into a number that the loop looks at; a second one ends the process at once.
pub(super) struct Signals {
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] if the system does not let it.
    pub(super) fn catch() -> Result<Signals> {
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
    pub(super) fn caught(&self) -> Option<i32> {
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

/// What the host does of each generation, for those who look (`--verbose`).
#[derive(Default)]
struct HostShare {
    generations: u32,
    /// While the device waits for it, while that is for checkpoints (which it copies then), and while it works.
    between: Duration,
    checkpoints: Duration,
    beside: Duration,
    /// Of this generation: since when the device waits, and for how long that was for checkpoints.
    came: Option<Instant>,
    due: Duration,
}

impl HostShare {
    /// The counters of a generation are there.
    fn comes(&mut self) -> Instant {
        *self.came.insert(Instant::now())
    }

    /// The next generation begins.
    fn leaves(&mut self) {
        if let Some(came) = self.came.take() {
            let due = std::mem::take(&mut self.due);
            self.between += came.elapsed() - due;
            self.checkpoints += due;
            self.generations += 1;
        }
    }

    fn say(&self, on_gpu: bool) {
        let each = |all: Duration| 1e6 * all.as_secs_f64() / f64::from(self.generations.max(1));
        if on_gpu {
            let (between, checkpoints, beside) = (each(self.between), each(self.checkpoints), each(self.beside));
            tracing::debug!(
                "the host, in a generation: {between:.2} us between two of the device, {checkpoints:.2} us more for checkpoints, \
                 {beside:.2} us beside the device"
            );
        }
    }
}

/// How fast it goes, for the progress.
struct Rate {
    /// Candidates so far, of all runs; those when the rate was shown last, and when that was.
    genomes: u64,
    shown: (u64, Instant),
}

impl Rate {
    /// The rate since the last time; nothing before there is one.
    fn text(&mut self) -> String {
        let (genomes, since) = std::mem::replace(&mut self.shown, (self.genomes, Instant::now()));
        match (self.genomes - genomes) as f64 / since.elapsed().as_secs_f64() {
            rate if rate >= 1e6 => format!("  {:.2} M genomes/s", rate / 1e6),
            rate if rate >= 1e4 => format!("  {:.1} k genomes/s", rate / 1e3),
            rate if rate > 0.0 => format!("  {rate:.0} genomes/s"),
            _ => String::new(),
        }
    }
}

/// Runs under way.
struct Evolution {
    shared: Shared,
    backend: Box<dyn Backend>,
    /// In the order of [`Job::seeds`].
    runs: Vec<Run>,
    /// Of the GPU, if it is one that says something.
    meter: Option<Meter>,
    /// The folder of them all, if they are a series.
    series: Option<Series>,
    /// Whether it is kept who wins which niche.
    lineage: bool,
    progress: super::progress::ProgressMode,
    /// Where event files go, if they are wanted.
    tensorboard: Option<PathBuf>,
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
        let network = Arc::new(config.judge(files.load()?)?);
        if let Some(how) = &network.random {
            tracing::warn!("network {:?} has {how}: nobody trained it, and what it says means nothing", network.name);
        }
        let seeds = match &series {
            Some(series) => series.record().seeds.clone(),
            None => seeds(&config, request.runs)?,
        };
        let is_series = series.is_some() || request.runs > 1;
        // A run that was begun has them behind it.
        let not_begun = |series: &Series| seeds.iter().any(|&seed| !run_folder::has_checkpoint(&series.run(seed)));
        let start = match (&series, request.start) {
            (Some(series), None) if not_begun(series) => series.start()?,
            (_, start) => start,
        };

        // Runs that were begun: whether one of them keeps its lineage, or should and does not. What a series has yet to begin does as they do.
        let folder_of = |&seed: &u64| match &series {
            Some(series) => Some(series.run(seed)),
            None => request.out.run(seed, is_series),
        };
        let begun: Vec<PathBuf> =
            seeds.iter().filter_map(folder_of).filter(|run| run_folder::has_checkpoint(run)).collect();
        let without = begun.iter().find(|run| !run_folder::has_lineage(run));
        if let Some(run) = without.filter(|_| request.lineage) {
            return Err(Error::Refused(format!(
                "{}: was begun without --lineage, and who its ancestors were is not known any more; continue it without, or start a run \
                 in another folder",
                run.display()
            )));
        }
        let lineage = request.lineage || begun.iter().any(|run| run_folder::has_lineage(run));
        let job = Job { lineage, ..job(&config, seeds.clone(), &network)? };
        if let Some(start) = &start {
            start.check(&config, job.canvas)?;
        }
        let chosen = Chosen::choose(request.device, &network)?;
        let chunk = chosen.chunk(&job, request.chunk);
        let host_memory = |job: &Job| {
            let mut memory = chosen.host_memory(job, request.simd, chunk, request.pictures);
            memory.parts.extend(start.as_ref().map(|start| Part::fixed("the genomes to start from", start.bytes())));
            memory
        };
        let memory = host_memory(&job);
        let n_niches = job.classes.len();
        let (planned_memory, usable) = (memory.total(chunk), telemetry::memory_limit().map(telemetry::usable));
        if let Some(usable) = usable {
            plan::check(&job, chunk, usable, &memory, host_memory)?;
        }
        let device_memory = chosen.memory(&job);
        if let Some(DeviceMemory { memory, usable, .. }) = &device_memory {
            plan::check(&job, chunk, *usable, memory, |job| chosen.memory(job).expect("it is on a GPU").memory)?;
        }
        let mut backend = chosen.backend(job, request.simd, chunk)?;
        if let Some(start) = &start {
            backend.start_from(start.genomes());
        }

        // A lock and the metrics of each run.
        let runs = seeds.len() as u64;
        telemetry::allow_open_files(2 * runs).map_err(|most| {
            Error::Refused(format!(
                "{runs} runs need {} open files, the system allows {most}; raise the limit (ulimit -n) or take fewer --runs",
                2 * runs
            ))
        })?;

        // Only now, when nothing is wrong with the call any more, does a new run touch the disk.
        if let Some(folder) = &request.tensorboard {
            fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
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
        if let Some(series) = &series
            && series.record().configuration.start != config.start
        {
            let text = |config: &Config| match &config.start {
                Some(start) => format!("{} genomes (SHA-256 {})", start.genomes, start.sha256),
                None => "random ones alone".to_owned(),
            };
            return Err(Error::Refused(format!(
                "{}: its runs start from {}, here from {}; continue with the same --start, or choose another --out",
                series.path().display(),
                text(&series.record().configuration),
                text(&config)
            )));
        }
        if let (Some(series), Some(start)) = (&series, &start)
            && !series.path().join(start_file::NAME).exists()
        {
            series.write_start(start)?;
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

        if let Some(start) = &start {
            let not_begun = opened.iter().filter(|(_, checkpoint)| checkpoint.is_none());
            not_begun.into_iter().try_for_each(|(folder, _)| folder.write_start(start))?;
        }
        tracing::info!("device {} ({})", backend.describe(), chosen.reason);
        let planned_device_memory = device_memory.map(|DeviceMemory { memory, usable, .. }| {
            let planned = memory.total(chunk);
            tracing::info!("memory of the GPU {} of {}", bytes_text(planned), bytes_text(usable));
            planned
        });
        let meter = chosen.gpu().and_then(|device| {
            let meter = Meter::start(device);
            meter.inspect_err(|why| tracing::info!("power and energy of the GPU are not known: {why}")).ok()
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
        let runs = runs.map(|(seed, (folder, checkpoint))| {
            Run::new(Config { seed, ..config.clone() }, folder, checkpoint, lineage)
        });
        let runs = runs.collect();
        let EvolveRequest { progress, tensorboard, .. } = request;
        let mut evolution = Evolution { shared, backend, runs, meter, series, lineage, progress, tensorboard };
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
        let mut files = Vec::with_capacity(self.runs.len());
        for run in &mut self.runs {
            let mut of_run = run.begin(self.meter.as_ref(), &self.shared)?;
            if let (Some(folder), true) = (&self.tensorboard, of_run.metrics.is_some()) {
                let is_series = self.series.is_some();
                let folder = if is_series { folder.join(series::run_name(run.config().seed)) } else { folder.clone() };
                let after = run.has_begun().then(|| run.generation() as u32);
                of_run.events = Some(EventFile::create(&folder, after, &run.config().to_toml()?)?);
            }
            files.push(of_run);
        }
        let mut writer = Writer::start(files)?;
        let unit = self.unit_of_progress();
        let mut progress = Progress::new(self.progress, unit.total, unit.name);
        let mut rate = Rate { genomes: 0, shown: (0, Instant::now()) };
        // A GPU makes a generation while the host writes of the one before; on a CPU, lines come first.
        let lines_wait = self.shared.planned_device_memory.is_some();
        let mut host = HostShare::default();
        let mut active = Vec::new();
        let mut is_new = true;
        loop {
            if is_new {
                let taken = self.finish_those_at_their_end(&mut writer)?;
                if taken.is_empty() {
                    progress.finish();
                    host.say(lines_wait);
                    return writer.wait();
                }
                if taken != active {
                    self.backend.activate(&taken)?;
                    active = taken;
                }
            }
            host.leaves();
            self.backend.generation()?;
            if lines_wait {
                let begin = Instant::now();
                writer.lines(self.take_lines(&active))?;
                self.show(&mut progress, &unit, &mut rate);
                host.beside += begin.elapsed();
            }
            let counters = self.backend.counters()?;
            let now = host.comes();
            let signal = signals.caught();
            let seconds = (now - self.shared.clock).as_secs_f64();
            let (mut due, was_first) = (false, !self.runs[active[0]].has_begun());
            is_new = was_first;
            for (&run, counters) in active.iter().zip(counters) {
                let run = &mut self.runs[run];
                run.count(counters, signal.is_some(), seconds);
                due |= run.is_checkpoint_due();
                is_new |= run.stop().is_some();
            }
            let genomes = active.len() as u64 * u64::from(self.runs[0].config().batch);
            rate.genomes += genomes;
            if let Some(reading) =
                self.meter.as_mut().and_then(|meter| meter.count(genomes, signal.is_some() || is_new))
            {
                self.runs.iter_mut().for_each(|run| run.hear(reading));
            }
            if due || !lines_wait {
                writer.lines(self.take_lines(&active))?;
            }
            if !lines_wait {
                self.show(&mut progress, &unit, &mut rate);
            }
            let with_insertions = self.with_insertions(&active);
            if !with_insertions.is_empty() {
                writer.insertions(|| self.take_insertions(with_insertions))?;
            }
            if due {
                let begin = Instant::now();
                writer.checkpoints(|| self.take_checkpoints(&active))?;
                host.due = begin.elapsed();
            }
            if let Some(signal) = signal {
                progress.finish();
                writer.wait()?;
                return Err(Error::Stopped { signal, command: "evolve", run: self.path().to_path_buf() });
            }
        }
    }

    /// Shows how far it is, once there is a generation.
    fn show(&self, progress: &mut Progress, unit: &UnitOfProgress, rate: &mut Rate) {
        if progress.is_due()
            && let Some(run) = self.slowest().filter(|run| run.has_begun())
        {
            let step = if unit.is_time { run.elapsed() as u64 } else { run.generation() };
            progress.update(step, || self.message(rate));
        }
    }

    /// The lines of metrics that are due, of the runs `active`.
    fn take_lines(&mut self, active: &[usize]) -> Vec<(usize, Metrics)> {
        let meter = self.meter.as_ref();
        active.iter().filter_map(|&run| Some((run, self.runs[run].take_line(meter)?))).collect()
    }

    /// The runs of `active` whose insertions are to be written: before each checkpoint, and when there are many.
    fn with_insertions(&mut self, active: &[usize]) -> Vec<usize> {
        if !self.lineage {
            return Vec::new();
        }
        let n_runs = self.runs.len();
        active.iter().copied().filter(|&run| self.runs[run].take_insertions(n_runs)).collect()
    }

    /// The insertions of `runs` that were not taken yet.
    fn take_insertions(&mut self, runs: Vec<usize>) -> Result<Vec<(usize, Vec<Insertion>)>> {
        runs.into_iter().map(|run| Ok((run, self.backend.insertions(run)?))).collect()
    }

    /// The checkpoints that are due, of the runs `active`.
    fn take_checkpoints(&mut self, active: &[usize]) -> Result<Vec<(usize, Checkpoint)>> {
        let mut checkpoints = Vec::new();
        for &index in active {
            if !self.runs[index].is_checkpoint_due() {
                continue;
            }
            let archive = self.backend.archive(index)?;
            checkpoints.push((index, self.runs[index].take_checkpoint(archive, &self.shared)));
        }
        Ok(checkpoints)
    }

    /// What to say of `error`: where the device failed in mid-run, that what was saved stays.
    fn lost(&self, error: Error) -> Error {
        let path = self.path();
        match error {
            Error::Driver { .. } | Error::Launch { .. }
                if self.series.is_some() || run_folder::has_checkpoint(path) =>
            {
                Error::DeviceLost { source: Box::new(error), command: "evolve", run: path.to_path_buf() }
            }
            _ => error,
        }
    }

    /// Writes what runs leave that a stop rule has ended; returns those that make the next generation: all the others, or, where
    /// a series was stopped before some had any, those.
    fn finish_those_at_their_end(&mut self, writer: &mut Writer) -> Result<Vec<usize>> {
        /// Runs that are finished side by side: their archives are in memory together.
        const AT_ONCE: usize = 8;
        let ended = self.runs.iter().enumerate().filter(|(_, run)| !run.is_finished());
        let ended: Vec<(usize, Stop)> = ended.filter_map(|(index, run)| Some((index, run.stop()?))).collect();
        if !ended.is_empty() {
            writer.wait()?;
        }
        let facts = self.meter.as_ref().map(Meter::facts);
        for ended in ended.chunks(AT_ONCE) {
            let archives = ended.iter().map(|&(index, _)| self.backend.archive(index)).collect::<Result<Vec<_>>>()?;
            let runs = self.runs.iter_mut().enumerate();
            let runs =
                runs.filter_map(|(index, run)| ended.iter().find(|(other, _)| *other == index).map(|end| (run, end.1)));
            let together: Vec<_> = runs.zip(archives).collect();
            let shared = &self.shared;
            together.into_par_iter().try_for_each(|((run, stop), archive)| run.finish(archive, stop, facts, shared))?;
        }
        let going_on: Vec<usize> =
            self.runs.iter().enumerate().filter(|(_, run)| !run.is_finished()).map(|(index, _)| index).collect();
        let is_new = |&index: &usize| !self.runs[index].has_begun();
        let new: Vec<usize> = going_on.iter().copied().filter(is_new).collect();
        Ok(if new.is_empty() { going_on } else { new })
    }

    /// The run with the fewest generations of those that are not finished.
    fn slowest(&self) -> Option<&Run> {
        let unfinished = self.runs.iter().filter(|run| !run.is_finished());
        unfinished.min_by_key(|run| run.generation())
    }

    /// What is said beside the progress.
    fn message(&self, rate: &mut Rate) -> String {
        let statistics = self.runs.iter().filter_map(Run::statistics);
        let (medians, over): (Vec<f64>, Vec<usize>) =
            statistics.map(|statistics| (statistics.median, statistics.over_9999)).unzip();
        let n_niches = self.shared.n_niches;
        let mut message = match (&medians[..], &over[..]) {
            (&[median], &[over]) => {
                format!("median {}  {over} of {n_niches} at .9999", confidence_text(median as f32))
            }
            _ => {
                let (done, runs) = (self.runs.iter().filter(|run| run.is_finished()).count(), self.runs.len());
                format!("{done} of {runs} runs done  {} of {} at .9999", over.iter().sum::<usize>(), runs * n_niches)
            }
        };
        message += &rate.text();
        if let Some(meter) = &self.meter {
            let sample = &meter.reading().sample;
            message += &sample.power_watts.map_or(String::new(), |watts| format!("  {watts:.0} W"));
            message += &sample.memory_used_bytes.map_or(String::new(), |bytes| format!("  {}", bytes_text(bytes)));
        }
        message
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
pub(super) fn file_of_run(path: &Path) -> Result<PathBuf> {
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
        canvas: Canvas::of(network),
        encoding: config.encoding(),
        classes: niches(config, network)?,
        network: Arc::clone(network),
        lineage: false,
    })
}

/// The class of each niche: those of the configuration, or all.
fn niches(config: &Config, network: &Network) -> Result<Vec<u32>> {
    let given = Canvas::of(network);
    if !config.preset.is_imagenet() && given != Canvas::MNIST {
        let (Canvas { height, width, channels }, preset) = (given, name_of(config.preset));
        return Err(Error::Refused(format!(
            "network {:?} takes {height}x{width} images of {channels} channels, {preset} draws 28x28 of 1",
            network.name
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
