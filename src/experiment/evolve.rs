//! Evolution: MAP-Elites against a network, from the first random genomes to the finished run folder.

use super::config::{Config, NO_LIMIT};
use super::plan;
use super::progress::Progress;
use super::request::{EvolveRequest, OutChoice};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::cpu::{CpuBackend, DEFAULT_CHUNK, Options};
use crate::backend::memory::bytes_text;
use crate::backend::{Backend, Counters, Job};
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::network::Network;
use crate::output::{About, Checkpoint, ClassResult, Manifest, Metrics, RunFolder, Stop, confidence_text, run_folder};
use crate::telemetry;
use crate::version::{COMMIT, VERSION};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

/// Runs what `request` asks for; returns the manifest and the run folder that holds it.
///
/// # Errors
/// [`Error::Stopped`] after SIGINT or SIGTERM, with the state saved; otherwise whatever kept the run from starting or its
/// folder from being written. What had been saved stays.
pub fn run(request: EvolveRequest) -> Result<(Manifest, PathBuf)> {
    let signals = Signals::catch()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| {
        let mut run = Run::open(request)?;
        let folder = run.folder.path().to_path_buf();
        let manifest = match run.finished()? {
            Some(manifest) => {
                tracing::info!(
                    "the run is finished: generation {}, stopped by {:?}",
                    manifest.generation,
                    manifest.stopped_by
                );
                manifest
            }
            None => {
                if let Some(counters) = &run.counters {
                    tracing::info!("going on after generation {}", counters.generation);
                }
                let stopped_by = run.evolve(&signals)?;
                run.finish(stopped_by)?
            }
        };
        Ok((manifest, folder))
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

/// One run under way.
struct Run {
    request: EvolveRequest,
    config: Config,
    weights: Option<PathBuf>,
    mean: Option<PathBuf>,
    network: Arc<Network>,
    folder: RunFolder,
    backend: CpuBackend,
    /// The most memory that the process may take, in bytes.
    planned_memory: u64,
    /// Of the last generation; `None` before generation 0.
    counters: Option<Counters>,
    evaluations: u64,
    /// When the run began, and the seconds it had taken before this process took it up.
    began: SystemTime,
    elapsed_before: f64,
    clock: Instant,
}

impl Run {
    /// Opens or makes the run folder, and puts the backend where the run stands.
    fn open(request: EvolveRequest) -> Result<Run> {
        let (began, clock) = (SystemTime::now(), Instant::now());
        // `--resume` takes from the checkpoint what the call leaves out; `--resume-or-start` is a whole call.
        let resumed = match &request.out {
            OutChoice::Resume(path) => {
                let folder = RunFolder::open(path)?;
                let checkpoint = folder.read_checkpoint()?;
                Some((folder, checkpoint))
            }
            _ => None,
        };
        let saved = resumed.as_ref().map(|(_, checkpoint)| checkpoint);
        let mut config = saved.map_or_else(|| request.config.clone(), |saved| saved.config.clone());
        request.stop.apply(&mut config);
        config.check()?;
        let weights = file_of_run(request.weights.as_deref(), saved.and_then(|saved| saved.weights.as_deref()))?;
        let mean = file_of_run(request.mean.as_deref(), saved.and_then(|saved| saved.mean.as_deref()))?;
        let network = Arc::new(match &weights {
            Some(path) => Network::load(path, mean.as_deref())?,
            None => Network::embedded_lenet(mean.as_deref())?,
        });
        let job = job(&config, &network)?;
        let options = Options { simd: request.simd, chunk: request.chunk.unwrap_or(DEFAULT_CHUNK) };
        let chunk = options.chunk.min(job.batch);
        let memory = plan::memory(&job, options, rayon::current_num_threads(), request.pictures);
        let (planned_memory, usable) = (memory.total(chunk), telemetry::memory_limit().map(telemetry::usable));
        if let Some(usable) = usable {
            memory.check(chunk, usable)?;
        }
        let backend = CpuBackend::new(job, options)?;

        let (folder, checkpoint) = match resumed {
            Some((folder, checkpoint)) => (folder, Some(checkpoint)),
            // Only now, when nothing is wrong with the call any more, does a new run touch the disk.
            None => {
                let folder = match &request.out {
                    OutChoice::Default => {
                        RunFolder::create_numbered(&run_folder::default_path(config.preset, config.seed))?
                    }
                    OutChoice::ResumeOrStart(path) => RunFolder::open_or_create(path)?,
                    OutChoice::Create(path) | OutChoice::Resume(path) => RunFolder::create(path)?,
                };
                let begun = run_folder::has_checkpoint(folder.path());
                let checkpoint = begun.then(|| folder.read_checkpoint()).transpose()?;
                (folder, checkpoint)
            }
        };
        if let Some(checkpoint) = &checkpoint {
            checkpoint.check_matches(&config, &network.sha256)?;
        }
        tracing::info!("device {} ({})", backend.describe(), request.device_reason);
        let usable = usable.map_or(String::new(), |usable| format!(" of {}", bytes_text(usable)));
        tracing::info!("memory at most {}{usable} (`plan` says what for)", bytes_text(planned_memory));
        tracing::info!("run folder {}", folder.path().display());
        let mut run = Run {
            request,
            config,
            weights,
            mean,
            network,
            folder,
            counters: None,
            evaluations: 0,
            began,
            elapsed_before: 0.0,
            clock,
            backend,
            planned_memory,
        };
        if let Some(Checkpoint { archive, skipped, replaced, evaluations, started, elapsed, .. }) = checkpoint {
            run.backend.restore(archive, skipped)?;
            run.counters = Some(Counters { replaced, ..run.backend.counters()? });
            (run.evaluations, run.began, run.elapsed_before) = (evaluations, started, elapsed);
        }
        Ok(run)
    }

    /// The manifest of a run that is finished and that no stop rule lets go on.
    fn finished(&self) -> Result<Option<Manifest>> {
        if self.stop().is_none() { Ok(None) } else { self.folder.manifest() }
    }

    /// Makes generations until a stop rule holds or a signal comes; the checkpoint then stands at the last one.
    fn evolve(&mut self, signals: &Signals) -> Result<Stop> {
        let mut metrics = self.folder.metrics(self.counters.as_ref().map(|counters| counters.generation))?;
        let unit = self.unit_of_progress();
        let mut progress = Progress::new(self.request.progress, unit.total, unit.name);
        let mut logged = (self.evaluations, self.elapsed());
        loop {
            if let Some(stop) = self.stop() {
                progress.finish();
                return Ok(stop);
            }
            let generation = self.counters.as_ref().map_or(0, |counters| counters.generation + 1);
            self.backend.generation(generation, self.config.batch)?;
            self.evaluations += u64::from(self.config.batch);
            let counters = self.counters.insert(self.backend.counters()?).clone();

            let signal = signals.caught();
            let last = signal.is_some() || self.stop().is_some();
            let statistics = counters.statistics();
            if last || generation.is_multiple_of(self.config.log_every) {
                let elapsed = self.elapsed();
                let rate = (self.evaluations - logged.0) as f64 / (elapsed - logged.1).max(f64::MIN_POSITIVE);
                logged = (self.evaluations, elapsed);
                let Counters { replaced, archive_hash, .. } = counters;
                metrics.write(&Metrics::new(
                    generation,
                    self.evaluations,
                    &statistics,
                    replaced,
                    rate,
                    archive_hash,
                ))?;
            }
            if last || generation.is_multiple_of(self.config.checkpoint_every) {
                metrics.sync()?;
                self.write_checkpoint()?;
            }
            let n_niches = counters.fitness.len();
            let step = if unit.is_time { self.elapsed() as u64 } else { u64::from(generation) };
            progress.update(step, || {
                let median = confidence_text(statistics.median as f32);
                format!("median {median}  {} of {n_niches} at .9999", statistics.over_9999)
            });
            if let Some(signal) = signal {
                progress.finish();
                return Err(Error::Stopped { signal, run: self.folder.path().to_path_buf() });
            }
        }
    }

    /// Generations, unless only time ends the run.
    fn unit_of_progress(&self) -> UnitOfProgress {
        let Config { generations, evaluations, time, batch, .. } = self.config;
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

    /// Writes the state after the last generation.
    fn write_checkpoint(&mut self) -> Result<()> {
        let counters = self.counters.as_ref().expect("a checkpoint follows a generation");
        self.folder.write_checkpoint(&Checkpoint {
            config: self.config.clone(),
            weights: self.weights.clone(),
            mean: self.mean.clone(),
            weights_sha256: self.network.sha256.clone(),
            archive: self.backend.archive()?,
            started: self.began,
            evaluations: self.evaluations,
            skipped: counters.skipped,
            elapsed: self.elapsed(),
            replaced: counters.replaced,
        })
    }

    /// The stop rule that holds, if one does.
    fn stop(&self) -> Option<Stop> {
        let counters = self.counters.as_ref()?;
        let config = &self.config;
        // In f32, as the thresholds of the statistics are.
        let target = config.target as f32;
        if target > 0.0 && counters.fitness.iter().all(|&fitness| fitness >= target) {
            Some(Stop::Target)
        } else if counters.generation >= config.generations {
            Some(Stop::Generations)
        } else if config.evaluations > 0 && self.evaluations >= config.evaluations {
            Some(Stop::Evaluations)
        } else if config.time > 0.0 && self.elapsed() >= config.time {
            Some(Stop::Time)
        } else {
            None
        }
    }

    /// Seconds that the run has taken, pauses between processes left out.
    fn elapsed(&self) -> f64 {
        self.elapsed_before + self.clock.elapsed().as_secs_f64()
    }

    /// Writes what a finished run leaves.
    fn finish(mut self, stopped_by: Stop) -> Result<Manifest> {
        let seconds = self.elapsed();
        let archive = self.backend.archive()?;
        let counters = self.counters.as_ref().expect("a stop rule holds after a generation");
        let mut manifest = Manifest {
            version: VERSION.to_string(),
            commit: COMMIT.to_string(),
            arithmetic_version: ARITHMETIC_VERSION,
            seed: self.config.seed,
            configuration: self.config.clone(),
            device: "cpu".to_string(),
            device_reason: self.request.device_reason.to_string(),
            threads: rayon::current_num_threads(),
            simd: self.request.simd.to_string(),
            network: self.network.name.clone(),
            weights: self.weights.as_ref().map_or("built in".to_string(), |path| path.display().to_string()),
            weights_sha256: self.network.sha256.clone(),
            start: self.began,
            end: SystemTime::now(),
            seconds,
            stopped_by,
            generation: archive.generation,
            evaluations: self.evaluations,
            genomes_per_second: self.evaluations as f64 / seconds,
            statistics: counters.statistics(),
            distinct_genomes: archive.distinct(),
            operators_skipped_at_capacity: counters.skipped,
            planned_memory_bytes: self.planned_memory,
            peak_memory_bytes: None,
            archive_hash: counters.archive_hash,
            classes: ClassResult::table(&archive, &self.network.classes),
        };
        let about = About {
            canvas: self.config.canvas(),
            encoding: self.config.encoding(),
            class_names: self.network.classes.clone(),
        };
        self.folder.finish(&mut manifest, &archive, &about, self.request.pictures)?;
        Ok(manifest)
    }
}

/// A file that a run needs: the one that the call names, or else the one it was begun with. Absolute, since a run may be
/// continued from elsewhere.
fn file_of_run(named: Option<&Path>, saved: Option<&Path>) -> Result<Option<PathBuf>> {
    let Some(path) = named.or(saved) else { return Ok(None) };
    let absolute = std::path::absolute(path).map_err(Error::io("find", path))?;
    if absolute.to_str().is_none() {
        return Err(Error::file(&absolute, "the path is not UTF-8, and the checkpoint could not name it; rename it"));
    }
    Ok(Some(absolute))
}

/// What `config` and `network` make of a backend's work.
///
/// # Errors
/// [`Error::Refused`] if the network takes other images, [`Error::Usage`] if it lacks a class.
pub(super) fn job(config: &Config, network: &Arc<Network>) -> Result<Job> {
    Ok(Job {
        seed: config.seed,
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
