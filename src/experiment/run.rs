//! One run of an evolution: its folder, its counters, its end.

use super::config::Config;
use super::meter::{Mark, Meter};
use super::writer::{self, Files};
use crate::archive::{ARITHMETIC_VERSION, Archive, Statistics};
use crate::backend::{Backend, Counters};
use crate::error::Result;
use crate::genome::Canvas;
use crate::network::{Crops, Network, weights};
use crate::output::lineage::Identity;
use crate::output::{
    About, Checkpoint, ClassResult, GpuTotals, GpuUse, LineageWriter, Manifest, Metrics, RunFolder, Stop, run_folder,
};
use crate::simd::Simd;
use crate::telemetry::{Facts, Reading};
use crate::version::{COMMIT, VERSION};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What all runs of an evolution have in common.
pub struct Shared {
    pub files: weights::Files,
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
    folder: Arc<RunFolder>,
    /// What it goes on from, until the backend has it.
    checkpoint: Option<Checkpoint>,
    /// Of the last generation; `None` before generation 0.
    counters: Option<Counters>,
    evaluations: u64,
    /// Seconds that the run had taken at the last generation, and the stop rule that held then.
    elapsed: f64,
    stop: Option<Stop>,
    /// Whether the last generation is to have a line of metrics, and a checkpoint.
    line_due: bool,
    checkpoint_due: bool,
    /// What it keeps of its lineage, and its insertions that the backend has.
    lineage: Lineage,
    insertions: usize,
    /// Evaluations and seconds at the last line of metrics, and where the GPU's meter stood.
    logged: (u64, f64),
    mark: Option<Mark>,
    /// What the lines say of GPUs.
    gpu: GpuTotals,
    /// When the run began, and the seconds it had taken before this process took it up.
    began: SystemTime,
    elapsed_before: f64,
    /// Once it is finished.
    manifest: Option<Manifest>,
}

/// The lineage of a run.
enum Lineage {
    /// It keeps none.
    None,
    /// It keeps one, which is to be started, or to be gone on with.
    Wanted,
    /// It goes on.
    Open(LineageWriter),
    /// It is written by the thread that writes; so many insertions are in it, or will be.
    Written(u64),
}

impl Run {
    /// A run in `folder`, to be begun, or to go on from `checkpoint`.
    ///
    /// A run that is to be begun keeps its `lineage`, or not; one that goes on keeps it if it did.
    pub fn new(config: Config, folder: RunFolder, checkpoint: Option<Checkpoint>, lineage: bool) -> Run {
        let lineage = if checkpoint.is_some() { run_folder::has_lineage(folder.path()) } else { lineage };
        Run {
            config,
            folder: Arc::new(folder),
            checkpoint,
            counters: None,
            evaluations: 0,
            elapsed: 0.0,
            stop: None,
            line_due: false,
            checkpoint_due: false,
            lineage: if lineage { Lineage::Wanted } else { Lineage::None },
            insertions: 0,
            logged: (0, 0.0),
            mark: None,
            gpu: GpuTotals::default(),
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
        checkpoint.check_matches(&self.config, &shared.network.sha256, Canvas::of(&shared.network))?;
        let Checkpoint { archive, skipped, replaced, evaluations, started, elapsed, .. } = checkpoint;
        self.counters = Some(Counters::of(&archive, replaced, skipped));
        (self.evaluations, self.began, self.elapsed_before) = (evaluations, started, elapsed);
        self.look_at_the_rules(shared.clock.elapsed().as_secs_f64());
        if self.stop.is_some() {
            self.manifest = self.folder.manifest()?;
        }
        if matches!(self.lineage, Lineage::Wanted) && !self.is_finished() {
            let writer = self.folder.lineage(&self.identity(shared), self.config.batch, &archive)?;
            self.lineage = Lineage::Open(writer);
        }
        backend.restore(index, archive, skipped)?;
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

    /// By what its lineage is told from that of another run.
    fn identity(&self, shared: &Shared) -> Identity {
        Identity::new(&self.config, &shared.network.sha256, Canvas::of(&shared.network))
    }

    /// Opens the files of a run that grow, if it is not finished; sets the marks of rate and energy.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn begin(&mut self, meter: Option<&Meter>, shared: &Shared) -> Result<Files> {
        if self.is_finished() {
            return Ok(Files { folder: self.folder(), metrics: None, lineage: None, events: None });
        }
        let metrics = self.folder.metrics(self.counters.as_ref().map(|counters| counters.generation))?;
        self.gpu = metrics.gpu_before().clone();
        self.elapsed = self.elapsed_before + shared.clock.elapsed().as_secs_f64();
        self.logged = (self.evaluations, self.elapsed);
        self.mark = meter.map(|meter| meter.mark(self.elapsed));
        let lineage = match std::mem::replace(&mut self.lineage, Lineage::None) {
            Lineage::Wanted => Some(self.folder.start_lineage(&self.identity(shared))?),
            Lineage::Open(writer) => Some(writer),
            Lineage::None | Lineage::Written(_) => None,
        };
        if let Some(lineage) = &lineage {
            self.lineage = Lineage::Written(lineage.n());
        }
        Ok(Files { folder: self.folder(), metrics: Some(metrics), lineage, events: None })
    }

    /// Takes in the `counters` of a generation, made when the process had been at the runs for `seconds`, and looks at what is due: a line
    /// of metrics when it is time or this was the last one, of the run or before a stop by a signal (`stopped`), and a checkpoint.
    /// Between two generations of a GPU, which waits meanwhile, there is this and no more.
    pub fn count(&mut self, counters: Counters, stopped: bool, seconds: f64) {
        self.evaluations += u64::from(self.config.batch);
        self.insertions += counters.replaced as usize;
        if let Lineage::Written(n) = &mut self.lineage {
            *n += u64::from(counters.replaced);
        }
        let generation = self.counters.insert(counters).generation;
        self.look_at_the_rules(seconds);
        let last = stopped || self.stop.is_some();
        self.line_due = last || generation.is_multiple_of(self.config.log_every);
        self.checkpoint_due = last || generation.is_multiple_of(self.config.checkpoint_every);
    }

    /// Takes in what the GPU said.
    pub fn hear(&mut self, reading: &Reading) {
        if let Some(mark) = &mut self.mark {
            mark.hear(reading);
        }
    }

    /// The line of metrics of the last generation, if one is due that was not taken yet.
    pub fn take_line(&mut self, meter: Option<&Meter>) -> Option<Metrics> {
        if !std::mem::take(&mut self.line_due) {
            return None;
        }
        let Counters { generation, replaced, archive_hash, statistics, .. } = self.counters.as_ref()?;
        let rate = (self.evaluations - self.logged.0) as f64 / (self.elapsed - self.logged.1).max(f64::MIN_POSITIVE);
        self.logged = (self.evaluations, self.elapsed);
        let gpu = meter.zip(self.mark.as_mut()).map(|(meter, mark)| meter.since(mark, self.elapsed));
        gpu.iter().for_each(|gpu| self.gpu.add(gpu));
        let line = Metrics::new(*generation, self.evaluations, statistics, *replaced, rate, *archive_hash);
        Some(Metrics { gpu, ..line })
    }

    /// Whether the last generation is to have a checkpoint.
    pub fn is_checkpoint_due(&self) -> bool {
        self.checkpoint_due
    }

    /// Whether insertions are to be taken from the backend, since `runs` runs share the room for them; if so, they are no longer there.
    pub fn take_insertions(&mut self, runs: usize) -> bool {
        let due = self.insertions > 0 && (self.checkpoint_due || self.insertions >= writer::insertions(runs));
        if due {
            self.insertions = 0;
        }
        due
    }

    /// The state after the last generation, which left `archive`.
    pub fn take_checkpoint(&mut self, archive: Archive, shared: &Shared) -> Checkpoint {
        self.checkpoint_due = false;
        let counters = self.counters.as_ref().expect("a checkpoint follows a generation");
        Checkpoint {
            config: self.config.clone(),
            files: shared.files.clone(),
            weights_sha256: shared.network.sha256.clone(),
            canvas: Canvas::of(&shared.network),
            archive,
            started: self.began,
            evaluations: self.evaluations,
            skipped: counters.skipped,
            elapsed: self.elapsed,
            replaced: counters.replaced,
        }
    }

    /// Finds the stop rule that holds, if one does, after `seconds` of this process.
    fn look_at_the_rules(&mut self, seconds: f64) {
        self.elapsed = self.elapsed_before + seconds;
        let Some(counters) = &self.counters else { return };
        let config = &self.config;
        // In f32, as the thresholds of the statistics are.
        let target = config.target as f32;
        self.stop = if target > 0.0 && counters.statistics.min >= f64::from(target) {
            Some(Stop::Target)
        } else if counters.generation >= config.generations {
            Some(Stop::Generations)
        } else if config.evaluations > 0 && self.evaluations >= config.evaluations {
            Some(Stop::Evaluations)
        } else if config.time > 0.0 && self.elapsed >= config.time {
            Some(Stop::Time)
        } else {
            None
        };
    }

    /// The stop rule that held after the last generation, if one did.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Seconds that the run had taken at the last generation, pauses between processes left out.
    pub fn elapsed(&self) -> f64 {
        self.elapsed
    }

    /// Its folder.
    pub fn folder(&self) -> Arc<RunFolder> {
        Arc::clone(&self.folder)
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

    /// Writes what a finished run leaves, whose last generation left `archive`; `facts` are those of the GPU, if it ran on one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, archive: Archive, stopped_by: Stop, facts: Option<&Facts>, shared: &Shared) -> Result<()> {
        let seconds = self.elapsed_before + shared.clock.elapsed().as_secs_f64();
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
            weights: shared.files.weights_text(),
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
            lineage_insertions: if let Lineage::Written(n) = self.lineage { Some(n) } else { None },
            planned_memory_bytes: shared.planned_memory,
            planned_device_memory_bytes: shared.planned_device_memory,
            peak_memory_bytes: None,
            gpu: GpuUse::of(&self.gpu, facts),
            archive_hash: counters.archive_hash,
            merged: Vec::new(),
            classes: ClassResult::table(&archive, &shared.network.classes),
        };
        let about = About {
            canvas: Canvas::of(&shared.network),
            encoding: self.config.encoding(),
            crops: Crops::of(shared.network.n_crops() as u32).expect("networks judge one crop or ten"),
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
