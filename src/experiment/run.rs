//! One run of an evolution: its folder, its counters, its end.

use super::config::Config;
use crate::archive::{ARITHMETIC_VERSION, Archive, Statistics};
use crate::backend::{Backend, Counters};
use crate::error::Result;
use crate::network::{Network, weights::Files};
use crate::output::{About, Checkpoint, ClassResult, Manifest, Metrics, MetricsWriter, RunFolder, Stop};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What all runs of an evolution have in common.
pub struct Shared {
    pub files: Files,
    pub network: Arc<Network>,
    /// The most memory that the process may take, in bytes.
    pub planned_memory: u64,
    /// The same of a GPU, if the steps run on one.
    pub planned_device_memory: Option<u64>,
    /// What the steps run on, and why on that.
    pub device: String,
    pub device_reason: String,
    /// Niches of each run.
    pub n_niches: usize,
    pub simd: Simd,
    pub pictures: bool,
    /// Runs since the process took the runs up.
    pub clock: Instant,
}

/// One run under way, or finished.
pub struct Run {
    config: Config,
    folder: RunFolder,
    /// What it goes on from, until the backend has it.
    checkpoint: Option<Checkpoint>,
    /// Open while generations are made.
    metrics: Option<MetricsWriter>,
    /// Of the last generation; `None` before generation 0.
    counters: Option<Counters>,
    evaluations: u64,
    /// Evaluations and seconds at the last line of metrics.
    logged: (u64, f64),
    /// When the run began, and the seconds it had taken before this process took it up.
    began: SystemTime,
    elapsed_before: f64,
    /// Once it is finished.
    manifest: Option<Manifest>,
}

impl Run {
    /// A run in `folder`, to be begun, or to go on from `checkpoint`.
    pub fn new(config: Config, folder: RunFolder, checkpoint: Option<Checkpoint>) -> Run {
        Run {
            config,
            folder,
            checkpoint,
            metrics: None,
            counters: None,
            evaluations: 0,
            logged: (0, 0.0),
            began: SystemTime::now(),
            elapsed_before: 0.0,
            manifest: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What decides it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Puts run `index` of `backend` where this one stands; it may turn out to be finished.
    ///
    /// # Errors
    /// If the checkpoint is of another run, the device refuses, or the manifest cannot be read.
    pub fn restore(&mut self, index: usize, backend: &mut dyn Backend, shared: &Shared) -> Result<()> {
        let Some(checkpoint) = self.checkpoint.take() else { return Ok(()) };
        checkpoint.check_matches(&self.config, &shared.network.sha256)?;
        let Checkpoint { archive, skipped, replaced, evaluations, started, elapsed, .. } = checkpoint;
        self.counters = Some(Counters::of(&archive, replaced, skipped));
        backend.restore(index, archive, skipped)?;
        (self.evaluations, self.began, self.elapsed_before) = (evaluations, started, elapsed);
        if self.stop(shared).is_some() {
            self.manifest = self.folder.manifest()?;
        }
        match &self.manifest {
            Some(manifest) => tracing::info!(
                "the run is finished: generation {}, stopped by {:?}",
                manifest.generation,
                manifest.stopped_by
            ),
            None => tracing::info!("going on after generation {}", self.generation()),
        }
        Ok(())
    }

    /// Opens the metrics of a run that is not finished.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn begin(&mut self, shared: &Shared) -> Result<()> {
        if !self.is_finished() {
            self.metrics = Some(self.folder.metrics(self.counters.as_ref().map(|counters| counters.generation))?);
            self.logged = (self.evaluations, self.elapsed(shared));
        }
        Ok(())
    }

    /// Takes in the `counters` of a generation and logs them when it is time or this was the last, of the run or before a
    /// stop by a signal; returns whether a checkpoint is due.
    ///
    /// # Errors
    /// If the metrics cannot be written.
    pub fn count(&mut self, counters: Counters, stopped: bool, shared: &Shared) -> Result<bool> {
        self.evaluations += u64::from(self.config.batch);
        let counters = self.counters.insert(counters).clone();
        let generation = counters.generation;
        let last = stopped || self.stop(shared).is_some();
        let metrics = self.metrics.as_mut().expect("the run has begun");
        if last || generation.is_multiple_of(self.config.log_every) {
            let elapsed = self.elapsed_before + shared.clock.elapsed().as_secs_f64();
            let rate = (self.evaluations - self.logged.0) as f64 / (elapsed - self.logged.1).max(f64::MIN_POSITIVE);
            self.logged = (self.evaluations, elapsed);
            let Counters { replaced, archive_hash, statistics, .. } = counters;
            let line = Metrics::new(generation, self.evaluations, &statistics, replaced, rate, archive_hash);
            metrics.write(&line)?;
        }
        let due = last || generation.is_multiple_of(self.config.checkpoint_every);
        if due {
            metrics.sync()?;
        }
        Ok(due)
    }

    /// Writes the state after the last generation, which left `archive`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_checkpoint(&mut self, archive: Archive, shared: &Shared) -> Result<()> {
        let counters = self.counters.as_ref().expect("a checkpoint follows a generation");
        self.folder.write_checkpoint(&Checkpoint {
            config: self.config.clone(),
            files: shared.files.clone(),
            weights_sha256: shared.network.sha256.clone(),
            archive,
            started: self.began,
            evaluations: self.evaluations,
            skipped: counters.skipped,
            elapsed: self.elapsed(shared),
            replaced: counters.replaced,
        })
    }

    /// The stop rule that holds, if one does.
    pub fn stop(&self, shared: &Shared) -> Option<Stop> {
        let counters = self.counters.as_ref()?;
        let config = &self.config;
        // In f32, as the thresholds of the statistics are.
        let target = config.target as f32;
        if target > 0.0 && counters.statistics.min >= f64::from(target) {
            Some(Stop::Target)
        } else if counters.generation >= config.generations {
            Some(Stop::Generations)
        } else if config.evaluations > 0 && self.evaluations >= config.evaluations {
            Some(Stop::Evaluations)
        } else if config.time > 0.0 && self.elapsed(shared) >= config.time {
            Some(Stop::Time)
        } else {
            None
        }
    }

    /// Seconds that the run has taken, pauses between processes left out.
    pub fn elapsed(&self, shared: &Shared) -> f64 {
        self.elapsed_before + shared.clock.elapsed().as_secs_f64()
    }

    /// Whether generation 0 is made.
    pub fn has_begun(&self) -> bool {
        self.counters.is_some()
    }

    /// Whether nothing is left to be done.
    pub fn is_finished(&self) -> bool {
        self.manifest.is_some()
    }

    /// The last generation; 0 before there is any.
    pub fn generation(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| u64::from(counters.generation))
    }

    /// Statistics of the last generation, if there is any.
    pub fn statistics(&self) -> Option<Statistics> {
        self.counters.as_ref().map(|counters| counters.statistics)
    }

    /// Writes what a finished run leaves, whose last generation left `archive`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, archive: Archive, stopped_by: Stop, shared: &Shared) -> Result<()> {
        self.metrics = None;
        let seconds = self.elapsed(shared);
        let counters = self.counters.as_ref().expect("a stop rule holds after a generation");
        let mut manifest = Manifest {
            version: VERSION.to_string(),
            commit: COMMIT.to_string(),
            arithmetic_version: ARITHMETIC_VERSION,
            seed: self.config.seed,
            configuration: self.config.clone(),
            device: shared.device.clone(),
            device_reason: shared.device_reason.clone(),
            threads: rayon::current_num_threads(),
            simd: shared.simd.to_string(),
            network: shared.network.name.clone(),
            weights: shared.files.weights.as_ref().map_or("built in".to_string(), |path| path.display().to_string()),
            weights_sha256: shared.network.sha256.clone(),
            random_weights: shared.network.random.clone(),
            start: self.began,
            end: SystemTime::now(),
            seconds,
            stopped_by,
            generation: archive.generation,
            evaluations: self.evaluations,
            genomes_per_second: self.evaluations as f64 / seconds,
            statistics: counters.statistics,
            distinct_genomes: archive.distinct(),
            operators_skipped_at_capacity: counters.skipped,
            planned_memory_bytes: shared.planned_memory,
            planned_device_memory_bytes: shared.planned_device_memory,
            peak_memory_bytes: None,
            archive_hash: counters.archive_hash,
            classes: ClassResult::table(&archive, &shared.network.classes),
        };
        let about = About {
            canvas: self.config.canvas(),
            encoding: self.config.encoding(),
            class_names: shared.network.classes.clone(),
        };
        self.folder.finish(&mut manifest, &archive, &about, shared.pictures)?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// What it came to.
    ///
    /// # Panics
    /// If it is not finished.
    pub fn into_manifest(self) -> Manifest {
        self.manifest.expect("the run is finished")
    }
}
