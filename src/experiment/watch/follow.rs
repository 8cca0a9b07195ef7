//! The files of runs, read again as they grow or are replaced. Nothing is locked, written or kept open: a run does not notice.

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::experiment::config::Config;
use crate::genome::Canvas;
use crate::output::run_folder::{CHECKPOINT, MANIFEST, METRICS};
use crate::output::{Checkpoint, Manifest, Metrics, series};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// How deep [`find`] looks below the folder that it is given.
const DEPTH: usize = 4;

/// Points of a curve that are kept: of more, every second one goes.
const POINTS: usize = 4096;

/// A run, or a series of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// The folder of each run: of a series in the order of their seeds.
    pub runs: Vec<PathBuf>,
}

/// What to watch where the user names `path`: the run or the series there, or the one below it that has changed last.
///
/// # Errors
/// [`Error::Refused`] if there is none; [`Error::Io`] if the folder cannot be read.
pub fn find(path: &Path) -> Result<Place> {
    if let Some(place) = place(path)? {
        return Ok(place);
    }
    fs::read_dir(path).map_err(Error::io("read", path))?;
    let mut newest = None;
    search(path, DEPTH, &mut newest);
    newest.map(|(_, place)| place).ok_or_else(|| {
        Error::Refused(format!(
            "{}: holds no run of an evolution, and no folder below it does; name the folder of one, or one above it",
            path.display()
        ))
    })
}

fn search(path: &Path, depth: usize, newest: &mut Option<(SystemTime, Place)>) {
    // What cannot be read is not what is looked for.
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        match place(&entry.path()) {
            Ok(Some(place)) => {
                let changed = place.runs.iter().filter_map(|run| changed(run)).max().unwrap_or(SystemTime::UNIX_EPOCH);
                if newest.as_ref().is_none_or(|(time, _)| *time < changed) {
                    *newest = Some((changed, place));
                }
            }
            _ if depth > 1 => search(&entry.path(), depth - 1, newest),
            _ => {}
        }
    }
}

/// The run or series whose own folder `path` is.
fn place(path: &Path) -> Result<Option<Place>> {
    if series::is_series(path) {
        return Ok(Some(Place { path: path.to_path_buf(), runs: series::runs(path)? }));
    }
    let is_run = is_checkpoint(&path.join(CHECKPOINT)) || has_lines(&path.join(METRICS));
    Ok(is_run.then(|| Place { path: path.to_path_buf(), runs: vec![path.to_path_buf()] }))
}

/// Whether `path` is a checkpoint of a run: trainings have others.
fn is_checkpoint(path: &Path) -> bool {
    let mut line = Vec::new();
    File::open(path).is_ok_and(|file| BufReader::new(file).read_until(b'\n', &mut line).is_ok())
        && line.starts_with(b"pareidolia checkpoint ")
}

/// Whether the lines of `path`, of which there may be none yet, are those of a run.
fn has_lines(path: &Path) -> bool {
    let mut line = Vec::new();
    let read = File::open(path).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line));
    match read {
        Ok(0) => true,
        Ok(_) => serde_json::from_slice::<Metrics>(&line).is_ok(),
        Err(_) => false,
    }
}

/// When the run in the folder `run` has left something last.
fn changed(run: &Path) -> Option<SystemTime> {
    [METRICS, CHECKPOINT, MANIFEST].iter().filter_map(|name| fs::metadata(run.join(name)).ok()?.modified().ok()).max()
}

/// By which a file is told from the one that replaced it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    number: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp { modified: metadata.modified().ok(), len: metadata.len(), number: number(&metadata) })
    }
}

#[cfg(unix)]
fn number(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_metadata: &fs::Metadata) -> u64 {
    0
}

/// The elites of a checkpoint.
#[derive(Clone, Debug)]
pub struct Elites {
    pub config: Config,
    pub canvas: Canvas,
    pub archive: Archive,
    pub fitness: Vec<f32>,
    /// The name of each niche's class.
    pub names: Vec<String>,
    pub evaluations: u64,
    /// Seconds.
    pub elapsed: f64,
}

/// A run as its folder has it.
#[derive(Clone, Debug, Default)]
pub struct RunState {
    pub path: PathBuf,
    /// The last line of the metrics.
    pub last: Option<Metrics>,
    /// Generation and median confidence, some of those that there were.
    pub medians: Vec<(u32, f32)>,
    /// Only of a run that was looked at closely.
    pub elites: Option<Arc<Elites>>,
    /// Once it is finished.
    pub manifest: Option<Arc<Manifest>>,
    /// When it left something last.
    pub changed: Option<SystemTime>,
    /// Why something of it cannot be shown.
    pub trouble: Option<String>,
}

/// Follows one run.
#[derive(Debug)]
pub struct Follower {
    state: RunState,
    /// How far the metrics are read, and of which file.
    metrics: Option<Stamp>,
    offset: u64,
    /// One of so many lines is a point of the curve.
    every: usize,
    n_lines: usize,
    checkpoint: Option<Stamp>,
    manifest: Option<Stamp>,
}

impl Follower {
    /// Of the run in the folder `path`.
    pub fn new(path: &Path) -> Follower {
        Follower {
            state: RunState { path: path.to_path_buf(), ..RunState::default() },
            metrics: None,
            offset: 0,
            every: 1,
            n_lines: 0,
            checkpoint: None,
            manifest: None,
        }
    }

    /// Reads what is new; its elites only where they are to be shown (`closely`).
    pub fn look(&mut self, closely: bool) -> &RunState {
        self.state.trouble = None;
        let path = self.state.path.clone();
        if let Err(error) = self.read_metrics(&path.join(METRICS)) {
            self.state.trouble = Some(error.to_string());
        }
        self.read_manifest(&path.join(MANIFEST));
        if closely {
            self.read_elites(&path.join(CHECKPOINT));
        }
        self.state.changed = changed(&path);
        &self.state
    }

    fn read_metrics(&mut self, path: &Path) -> Result<()> {
        let stamp = Stamp::of(path);
        if stamp == self.metrics {
            return Ok(());
        }
        let is_same = match (&stamp, &self.metrics) {
            (Some(now), Some(before)) => now.number == before.number && now.len >= self.offset,
            _ => false,
        };
        if !is_same {
            // Begun again, or gone on with: a file of its own.
            (self.offset, self.every, self.n_lines) = (0, 1, 0);
            (self.state.last, self.state.medians) = (None, Vec::new());
        }
        self.metrics = stamp;
        let mut file = match File::open(path) {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
            file => file.map_err(Error::io("read", path))?,
        };
        file.seek(SeekFrom::Start(self.offset)).map_err(Error::io("read", path))?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = file.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
            // A line that is not whole yet is read again when it is.
            if line.last() != Some(&b'\n') {
                return Ok(());
            }
            self.offset += n as u64;
            if let Ok(metrics) = serde_json::from_slice::<Metrics>(&line) {
                self.take(metrics);
            }
        }
    }

    fn take(&mut self, line: Metrics) {
        if self.n_lines.is_multiple_of(self.every) {
            self.state.medians.push((line.generation, line.median as f32));
            if self.state.medians.len() > POINTS {
                let mut at = 0;
                self.state.medians.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.every *= 2;
            }
        }
        self.n_lines += 1;
        self.state.last = Some(line);
    }

    fn read_manifest(&mut self, path: &Path) {
        let stamp = Stamp::of(path);
        if stamp == self.manifest {
            return;
        }
        self.state.manifest = None;
        if stamp.is_some() {
            match Manifest::read(path) {
                Ok(manifest) => self.state.manifest = Some(Arc::new(manifest)),
                // It may have been taken away at this moment, by a run that goes on.
                Err(_) if !path.exists() => {}
                Err(error) => self.state.trouble = Some(error.to_string()),
            }
        }
        self.manifest = stamp;
    }

    fn read_elites(&mut self, path: &Path) {
        let stamp = Stamp::of(path);
        if stamp == self.checkpoint {
            return;
        }
        if stamp.is_some() {
            match Checkpoint::read(path) {
                Ok(checkpoint) => self.state.elites = Some(Arc::new(self.elites(checkpoint))),
                Err(error) => self.state.trouble = Some(error.to_string()),
            }
        }
        self.checkpoint = stamp;
    }

    fn elites(&self, checkpoint: Checkpoint) -> Elites {
        let Checkpoint { config, canvas, archive, files, evaluations, elapsed, .. } = checkpoint;
        let names = match (&self.state.elites, &self.state.manifest) {
            (Some(before), _) if before.archive.classes == archive.classes => before.names.clone(),
            (_, Some(manifest)) => manifest.classes.iter().map(|class| class.name.clone()).collect(),
            _ => {
                let all = files.class_names(archive.elites[0].probabilities.len());
                archive.classes.iter().map(|&class| all[class as usize].clone()).collect()
            }
        };
        Elites { config, canvas, fitness: archive.fitness(), archive, names, evaluations, elapsed }
    }
}
