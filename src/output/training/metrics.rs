//! `metrics.jsonl` of a training: one JSON object a line.

use crate::error::{Error, Result};
use crate::output::atomic;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A training after some iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Iterations that are done.
    pub iteration: u32,
    /// How often each image was used by then, on average.
    pub epoch: f64,
    /// Learning rate of the last iteration.
    pub rate: f32,
    /// Cross entropy, averaged over the iterations since the line before.
    pub loss: f64,
    /// The share of the validation images that is right, and their cross entropy, where they were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Over the time since the line before, validation left out.
    pub images_per_second: f64,
}

/// `metrics.jsonl`, open to be gone on with.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Opens the file `path` and keeps of it the lines of up to `done` iterations.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path, done: u32) -> Result<Lines> {
        let kept = read(path)?.into_iter().filter(|line| line.iteration <= done);
        let kept: Vec<u8> = kept.flat_map(|line| bytes(&line)).collect();
        atomic::write(path, |file| file.write_all(&kept))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        Ok(Lines { path: path.to_path_buf(), file })
    }

    /// Appends a line; anyone who follows the file sees it at once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, line: &Line) -> Result<()> {
        self.file.write_all(&bytes(line)).map_err(Error::io("write", &self.path))
    }

    /// Brings every line so far to the disk: to be called before a checkpoint is written, so that no line before it is ever missing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] if the file is no longer there.
    pub fn sync(&self) -> Result<()> {
        if !atomic::is_at(&self.file, &self.path)? {
            let remedy = "continue with --resume; the lines that were in it are lost";
            return Err(Error::file(&self.path, format!("was removed or replaced during the run; {remedy}")));
        }
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }
}

fn bytes(line: &Line) -> Vec<u8> {
    let mut line = serde_json::to_vec(line).expect("metrics have a JSON form");
    line.push(b'\n');
    line
}

/// All whole lines of the file `path`; none if it is not there.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<Line>> {
    match fs::read(path) {
        Ok(bytes) => {
            Ok(bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::io("read", path)(source)),
    }
}
