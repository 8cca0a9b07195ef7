//! The folder of a training: `weights.safetensors`, `checkpoint`, `metrics.jsonl`, `loss.png` and `accuracy.png`, and last of all `run.json`.

pub mod checkpoint;
mod curves;
mod metrics;

pub use checkpoint::{State, TrainingCheckpoint};
pub use metrics::{Line, Lines};

use crate::error::{Error, Result};
use crate::network::Network;
use crate::output::locked_folder::LockedFolder;
use crate::output::{Image, atomic, pictures};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

const WEIGHTS: &str = "weights.safetensors";
const CHECKPOINT: &str = "checkpoint";
const METRICS: &str = "metrics.jsonl";
const LOSS: &str = "loss.png";
const ACCURACY: &str = "accuracy.png";
const MANIFEST: &str = "run.json";

/// A training's folder, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct TrainingFolder {
    folder: LockedFolder,
}

impl TrainingFolder {
    /// Makes the folder `path`, and those above it. An empty folder will do, and one whose training was killed before its first checkpoint.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<TrainingFolder> {
        let remedy = || has_checkpoint(path).then_some("continue that training");
        // The first checkpoint comes before the first line of the metrics.
        Ok(TrainingFolder { folder: LockedFolder::create(path, |_| false, remedy, "--run")? })
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<TrainingFolder> {
        Ok(TrainingFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Opens the folder of a training to go on with it: `path`, or that of the checkpoint `path`.
    ///
    /// # Errors
    /// [`Error::Refused`] if it holds no checkpoint or another process is at it, [`Error::Io`] if it cannot be written.
    pub fn open(path: &Path) -> Result<TrainingFolder> {
        let folder = match path.parent() {
            Some(parent) if path.is_file() && path.file_name().is_some_and(|name| name == CHECKPOINT) => {
                if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
            }
            _ => path,
        };
        if !has_checkpoint(folder) {
            let shown = path.display();
            return Err(Error::Refused(format!(
                "{shown}: holds no checkpoint; name the folder of a training that was begun"
            )));
        }
        Ok(TrainingFolder { folder: LockedFolder::lock(folder)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Reads the checkpoint.
    ///
    /// # Errors
    /// As [`TrainingCheckpoint::read`].
    pub fn read_checkpoint(&self) -> Result<TrainingCheckpoint> {
        TrainingCheckpoint::read(&self.path().join(CHECKPOINT))
    }

    /// Writes the checkpoint, replacing the one before it. From here on the training is not finished.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn write_checkpoint(&self, checkpoint: &TrainingCheckpoint) -> Result<()> {
        self.unfinish()?;
        checkpoint.write(&self.folder.own(CHECKPOINT)?)
    }

    /// Starts `metrics.jsonl`, or goes on with it after iterations that are done: what it says of later ones, and what was torn by a
    /// sudden end, is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn metrics(&self, done: u32) -> Result<Lines> {
        self.unfinish()?;
        Lines::open(&self.folder.own(METRICS)?, done)
    }

    /// Draws the curves of what the metrics say so far. `title` and `subtitle` say of what.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn draw(&self, title: &str, subtitle: &str) -> Result<()> {
        let lines = metrics::read(&self.path().join(METRICS))?;
        let write =
            |name: &str, Image { canvas, pixels }: Image| pictures::write_png(&self.folder.own(name)?, canvas, &pixels);
        write(LOSS, curves::loss(&lines, title, subtitle))?;
        match curves::accuracy(&lines, title, subtitle) {
            Some(image) => write(ACCURACY, image),
            None => atomic::remove(&self.folder.own(ACCURACY)?),
        }
    }

    /// Writes the weights; gives their SHA-256.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_weights(&self, network: &Network, notes: &[(&str, String)]) -> Result<()> {
        self.unfinish()?;
        network.save(&self.folder.own(WEIGHTS)?, notes)
    }

    /// The path of the weights.
    pub fn weights(&self) -> PathBuf {
        self.path().join(WEIGHTS)
    }

    /// Writes `run.json`: from here on the training is finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, manifest: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(manifest).expect("a manifest has a JSON form");
        atomic::write(&self.folder.own(MANIFEST)?, |file| writeln!(file, "{text}"))
    }

    /// Takes `run.json` away, so that it never stands beside what is newer or half written.
    fn unfinish(&self) -> Result<()> {
        atomic::remove(&self.folder.own(MANIFEST)?)
    }
}

/// Whether `path` is the folder of a training that can be continued.
pub fn has_checkpoint(path: &Path) -> bool {
    path.join(CHECKPOINT).is_file()
}
