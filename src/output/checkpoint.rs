//! `checkpoint`: all that a run needs to go on as if it had never stopped.
//!
//! A first line with the format's name and version; a second one with the SHA-256 of the first line and of all that
//! follows the second; then the archive in safetensors form, with the rest as JSON in its metadata under `state`.
//! The first two lines stay as they are in later versions, so that a damaged file is told from a foreign one.
//!
//! In version 2 an elite that several niches share stands in the archive once; in version 1 it stood there for each of them.

use crate::archive::{ARITHMETIC_VERSION, Archive};
use crate::error::{Error, Result, one_line};
use crate::experiment::config::Config;
use crate::genome::Canvas;
use crate::network::weights::Files;
use crate::output::archive_file::{self, Layout};
use crate::output::tensors::Tensors;
use crate::output::{hash_text, rfc3339, sealed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use std::time::SystemTime;

/// Of the version that is written, and the layout of its archive; and of those before it, which are read.
const FIRST_LINE: (&[u8], Layout) = (b"pareidolia checkpoint 2\n", Layout::Shared);
const EARLIER: [(&[u8], Layout); 1] = [(b"pareidolia checkpoint 1\n", Layout::Niches)];

/// Keys of a configuration that say when a run stops and what it tells: they may change when it goes on.
const FREE_KEYS: [&str; 6] = ["generations", "evaluations", "time", "target", "log_every", "checkpoint_every"];

/// The state of a run after a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub config: Config,
    /// The network.
    pub files: Files,
    /// SHA-256 of the network's weights, hexadecimal.
    pub weights_sha256: String,
    /// Of the archive's images.
    pub canvas: Canvas,
    pub archive: Archive,
    /// When the run began.
    pub started: SystemTime,
    /// Candidates evaluated so far.
    pub evaluations: u64,
    /// Operators skipped so far since a genome was at capacity.
    pub skipped: u64,
    /// Seconds spent so far, the time between a stop and its continuation left out.
    pub elapsed: f64,
    /// Niches changed in the last generation.
    pub replaced: u32,
}

/// A [`Checkpoint`] but for its elites, as JSON.
#[derive(Serialize, Deserialize)]
struct State {
    arithmetic_version: u32,
    generation: u32,
    archive_hash: String,
    evaluations: u64,
    skipped: u64,
    elapsed: f64,
    replaced: u32,
    #[serde(with = "rfc3339")]
    started: SystemTime,
    #[serde(flatten)]
    files: Files,
    weights_sha256: String,
    #[serde(default = "grey_28", skip_serializing_if = "is_grey_28")]
    canvas: Canvas,
    config: Config,
}

/// What checkpoints that do not say have: there was no other canvas.
fn grey_28() -> Canvas {
    Canvas::MNIST
}

fn is_grey_28(canvas: &Canvas) -> bool {
    *canvas == grey_28()
}

/// The one entry of a [`State`] that every version has.
#[derive(Deserialize)]
struct Made {
    arithmetic_version: u32,
}

impl Checkpoint {
    /// Writes the file `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let state = State {
            arithmetic_version: ARITHMETIC_VERSION,
            generation: self.archive.generation,
            archive_hash: hash_text(self.archive.hash()),
            evaluations: self.evaluations,
            skipped: self.skipped,
            elapsed: self.elapsed,
            replaced: self.replaced,
            started: self.started,
            files: self.files.clone(),
            weights_sha256: self.weights_sha256.clone(),
            canvas: self.canvas,
            config: self.config.clone(),
        };
        let state = serde_json::to_string(&state).expect("a state has a JSON form");
        let (first_line, layout) = FIRST_LINE;
        sealed::write(path, first_line, |mut body| {
            archive_file::encode(&mut body, &self.archive, self.canvas, layout, vec![("state", state)])
        })
    }

    /// Reads what [`Checkpoint::write`] wrote, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if a single bit of it is not as it was written, or
    /// if another version of the arithmetic made it.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        Checkpoint::parse_file(path, File::open(path).map_err(Error::io("read", path))?)
    }

    /// [`Checkpoint::read`] for a file in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint> {
        Checkpoint::parse_file(Path::new("checkpoint in memory"), Cursor::new(bytes))
    }

    fn parse_file(path: &Path, mut source: impl Read + Seek) -> Result<Checkpoint> {
        let (first_line, begin) = sealed::verify(path, &mut source, "checkpoint")?;
        let Some(&(_, layout)) = [FIRST_LINE].iter().chain(&EARLIER).find(|(known, _)| *known == first_line) else {
            let [version, want] = [&first_line, FIRST_LINE.0].map(String::from_utf8_lossy);
            let reason = format!("the format is {:?}, this program reads {:?}", version.trim_end(), want.trim_end());
            return Err(Error::file(path, reason));
        };
        Tensors::open(source, begin)
            .and_then(|tensors| Checkpoint::parse(tensors, layout))
            .map_err(|reason| Error::file(path, format!("not a checkpoint to go on from: {}", one_line(&reason))))
    }

    fn parse(mut body: Tensors<impl Read + Seek>, layout: Layout) -> Result<Checkpoint, String> {
        let metadata = body.metadata();
        let state = metadata.get("state").ok_or("it holds no state")?;
        let invalid = |source: serde_json::Error| format!("its state: {source}");
        // First of all, since with the arithmetic all else may have changed.
        let made: Made = serde_json::from_str(state).map_err(invalid)?;
        archive_file::check_arithmetic(made.arithmetic_version)?;
        let state: State = serde_json::from_str(state).map_err(invalid)?;
        let config = state.config.clone();
        config.check().map_err(|error| error.to_string())?;
        let archive = archive_file::decode(&mut body, state.canvas, &config.encoding(), state.generation, layout)?;
        archive_file::check_hash(&archive, &state.archive_hash)?;
        let n_classes = archive.elites[0].probabilities.len() as u32;
        let all_classes = config.classes.is_empty() && archive.classes.iter().copied().eq(0..n_classes);
        if !all_classes && archive.classes != config.classes {
            return Err("the classes of its archive are not those of its configuration".to_owned());
        }
        let State { files, weights_sha256, canvas, started, evaluations, skipped, elapsed, replaced, .. } = state;
        Ok(Checkpoint {
            config,
            files,
            weights_sha256,
            canvas,
            archive,
            started,
            evaluations,
            skipped,
            elapsed,
            replaced,
        })
    }

    /// Whether a run of `config` with these weights and this canvas may go on from here.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first key that decides results and differs, and both its values.
    pub fn check_matches(&self, config: &Config, weights_sha256: &str, canvas: Canvas) -> Result<()> {
        let refuse = |what: &str, there: &str, here: &str| {
            Err(Error::Refused(format!(
                "the checkpoint is of another run: {what} is {there} there and {here} here; \
                 continue with what it has, or start a new run in another folder"
            )))
        };
        let (there, here) = (entries(&self.config), entries(config));
        let value = |entries: &[(String, String)], key: &str| {
            entries.iter().find(|entry| entry.0 == key).map_or("not set".to_owned(), |entry| entry.1.clone())
        };
        for (key, _) in there.iter().chain(&here) {
            let (there, here) = (value(&there, key), value(&here, key));
            if there != here && !FREE_KEYS.contains(&key.as_str()) {
                return refuse(key, &there, &here);
            }
        }
        if self.weights_sha256 != weights_sha256 {
            return refuse("the SHA-256 of the weights", &self.weights_sha256, weights_sha256);
        }
        if self.canvas != canvas {
            let text = |Canvas { height, width, channels }: Canvas| format!("{width}x{height} of {channels} channels");
            return refuse("the size of the images", &text(self.canvas), &text(canvas));
        }
        Ok(())
    }
}

/// Every key of `config`, those of the encoding's rules with its name before them, with its value as JSON.
fn entries(config: &Config) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for (key, value) in as_object(serde_json::to_value(config).expect("a configuration has a JSON form")) {
        match value {
            Value::Object(rules) => {
                entries.extend(rules.into_iter().map(|(k, v)| (format!("{key}.{k}"), v.to_string())))
            }
            value => entries.push((key, value.to_string())),
        }
    }
    entries
}

/// The entries of `config` that decide results.
pub(super) fn deciding_entries(config: &Config) -> BTreeMap<String, Value> {
    let deciding = entries(config).into_iter().filter(|(key, _)| !FREE_KEYS.contains(&key.as_str()));
    deciding.map(|(key, text)| (key, serde_json::from_str(&text).expect("a value was written as JSON"))).collect()
}

fn as_object(value: Value) -> serde_json::Map<String, Value> {
    if let Value::Object(map) = value { map } else { unreachable!("a struct is a JSON object") }
}
