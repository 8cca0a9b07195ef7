//! `metrics.jsonl`: one JSON object a logged generation.

use crate::archive::Statistics;
use crate::error::{Error, Result};
use crate::output::{atomic, hex64};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// One line of `metrics.jsonl`: a run after a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub generation: u32,
    /// Candidates evaluated so far.
    pub evaluations: u64,
    pub median: f64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// Niches at or above each confidence.
    pub over_99: usize,
    pub over_999: usize,
    pub over_9999: usize,
    /// Niches changed in this generation.
    pub replaced: u32,
    /// Over the time since the line before.
    pub genomes_per_second: f64,
    #[serde(with = "hex64")]
    pub archive_hash: u64,
}

impl Metrics {
    /// Bytes of a line, estimated: those of one whose numbers have as many digits as they can have by `evaluations`.
    pub fn line_bytes(generation: u32, evaluations: u64, n_niches: usize) -> u64 {
        let third = 1.0 / 3.0;
        let metrics = Metrics {
            generation,
            evaluations,
            median: third,
            mean: third,
            min: third,
            max: third,
            over_99: n_niches,
            over_999: n_niches,
            over_9999: n_niches,
            replaced: n_niches as u32,
            genomes_per_second: 1e5 * third,
            archive_hash: 0,
        };
        serde_json::to_vec(&metrics).expect("metrics have a JSON form").len() as u64 + 1
    }

    /// The line of a generation whose archive has these `statistics` and this hash.
    pub fn new(
        generation: u32,
        evaluations: u64,
        statistics: &Statistics,
        replaced: u32,
        genomes_per_second: f64,
        archive_hash: u64,
    ) -> Metrics {
        let &Statistics { median, mean, min, max, over_99, over_999, over_9999, .. } = statistics;
        Metrics {
            generation,
            evaluations,
            median,
            mean,
            min,
            max,
            over_99,
            over_999,
            over_9999,
            replaced,
            genomes_per_second,
            archive_hash,
        }
    }
}

/// Appends to `metrics.jsonl`, a whole line at a time.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
}

impl MetricsWriter {
    /// Starts the file `path` for a new run, or goes on with it `after` a generation: the lines up to that one stay as
    /// they are; later ones, and what was torn by a sudden end, are dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open(path: &Path, after: Option<u32>) -> Result<MetricsWriter> {
        let lines = after.map(|generation| Ok((generation, lines(path)?))).transpose()?;
        atomic::write(path, |file| {
            let Some((generation, lines)) = lines else { return Ok(()) };
            let mut first = None;
            for line in lines {
                let (text, metrics) = line?;
                if metrics.generation <= generation {
                    first.get_or_insert(metrics.generation);
                    writeln!(file, "{text}")?;
                }
            }
            // Generation 0 is always logged.
            if first != Some(0) {
                tracing::warn!("{}: the lines of the generations so far are gone; the run goes on", path.display());
            }
            Ok(())
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        Ok(MetricsWriter { file, path: path.to_path_buf() })
    }

    /// Appends a line; anyone who follows the file sees it at once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, metrics: &Metrics) -> Result<()> {
        let mut line = serde_json::to_vec(metrics).expect("metrics have a JSON form");
        line.push(b'\n');
        self.file.write_all(&line).map_err(Error::io("write", &self.path))
    }

    /// Brings every line so far to the disk. To be called before a checkpoint is written: then no line up to the
    /// checkpoint's generation is ever missing.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] if the file is no longer there: the lines went nowhere.
    pub fn sync(&self) -> Result<()> {
        if !atomic::is_at(&self.file, &self.path)? {
            let remedy = "continue with --resume; the lines that were in it are lost";
            return Err(Error::file(&self.path, format!("was removed or replaced during the run; {remedy}")));
        }
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }
}

/// Hands the lines of the file `path` to `each`, one by one: of a long run they are many. A torn one is left out. None if
/// there is no such file.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path, mut each: impl FnMut(Metrics)) -> Result<()> {
    lines(path)?.try_for_each(|line| line.map(|(_, metrics)| each(metrics))).map_err(Error::io("read", path))
}

/// Every whole line with what it says.
fn lines(path: &Path) -> Result<impl Iterator<Item = io::Result<(String, Metrics)>>> {
    let file = match File::open(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => None,
        file => Some(file.map_err(Error::io("read", path))?),
    };
    let whole = |line: Vec<u8>| serde_json::from_slice(&line).ok().zip(String::from_utf8(line).ok());
    Ok(file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n')).filter_map(move |line| match line {
        Ok(line) => whole(line).map(|(metrics, text)| Ok((text, metrics))),
        Err(source) => Some(Err(source)),
    }))
}

/// Whether the file `path` says nothing of generations after the first line's.
pub(super) fn is_barely_begun(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() < 4096) && lines(path).is_ok_and(|lines| lines.count() <= 1)
}
