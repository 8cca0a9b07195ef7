//! The folder of a series: runs that differ in nothing but their seeds, each in a folder of its own, and their summary.

use super::locked_folder::LockedFolder;
use super::{GpuUse, Manifest, Stop, atomic, hex64, start_file};
use crate::archive::{ARITHMETIC_VERSION, Statistics};
use crate::error::{Error, Result};
use crate::experiment::config::{Config, Preset, name_of};
use crate::experiment::start::Start;
use crate::network::weights::Files;
use crate::version::{COMMIT, VERSION};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const RECORD: &str = "series.json";
const SUMMARY: &str = "summary.json";

/// A series on the disk, locked for this process as long as this value lives; so is each of its runs for itself, as a
/// [`RunFolder`](super::RunFolder).
#[derive(Debug)]
pub struct Series {
    folder: LockedFolder,
    record: Record,
}

/// What the series is: `series.json`, written before any run begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub arithmetic_version: u32,
    /// Of the runs, ascending.
    pub seeds: Vec<u64>,
    /// That of the run with the first seed.
    pub configuration: Config,
    /// As the call named them.
    #[serde(flatten)]
    pub files: Files,
}

/// Where a series of `preset` goes unless told otherwise: `runs/<preset>-seeds<first>-<last>`.
pub fn default_path(preset: Preset, seeds: &[u64]) -> PathBuf {
    let (first, last) = (seeds[0], seeds[seeds.len() - 1]);
    Path::new("runs").join(format!("{}-seeds{first}-{last}", name_of(preset)))
}

/// Whether `path` is the folder of a series.
pub fn is_series(path: &Path) -> bool {
    path.join(RECORD).is_file()
}

/// Whether `path` is the folder of a series that has come to its end.
pub fn is_finished(path: &Path) -> bool {
    is_series(path) && path.join(SUMMARY).is_file()
}

/// The folders of the runs of the series in the folder `path`, in the order of their seeds; for those who only read.
///
/// # Errors
/// [`Error::Io`] if its record cannot be read, [`Error::File`] if it is none.
pub fn runs(path: &Path) -> Result<Vec<PathBuf>> {
    let record = read_record(&path.join(RECORD))?;
    Ok(record.seeds.iter().map(|&seed| path.join(run_name(seed))).collect())
}

fn read_record(file: &Path) -> Result<Record> {
    let text = fs::read_to_string(file).map_err(Error::io("read", file))?;
    serde_json::from_str(&text)
        .map_err(|source| Error::file(file, format!("not the record of a series of runs: {source}")))
}

impl Series {
    /// Makes the folder `path`, and those above it; an empty folder will do.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path, record: Record) -> Result<Series> {
        let remedy = || is_series(path).then_some("continue those runs");
        Series::begin(LockedFolder::create(path, |_| false, remedy, "--out")?, record)
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path, record: Record) -> Result<Series> {
        Series::begin(LockedFolder::create_numbered(path)?, record)
    }

    /// Opens a series to go on with it.
    ///
    /// # Errors
    /// [`Error::Refused`] if another process is at it; [`Error::Io`] if its record cannot be read, [`Error::File`] if it is
    /// none.
    pub fn open(path: &Path) -> Result<Series> {
        let folder = LockedFolder::lock(path)?;
        let file = path.join(RECORD);
        let record = read_record(&file)?;
        if record.arithmetic_version != ARITHMETIC_VERSION {
            let text = format!(
                "the runs are of arithmetic version {}, this program has {ARITHMETIC_VERSION}; continue them with the program \
                 that began them",
                record.arithmetic_version
            );
            return Err(Error::file(&file, text));
        }
        if record.seeds.is_empty() || !record.seeds.is_sorted_by(|a, b| a < b) {
            return Err(Error::file(&file, "the seeds are not ascending, or there is none"));
        }
        Ok(Series { folder, record })
    }

    /// [`Series::open`] where there is one, which must be of the same seeds; else [`Series::create`]: also where one is begun
    /// meanwhile.
    ///
    /// # Errors
    /// As theirs; [`Error::Refused`] for other seeds.
    pub fn open_or_create(path: &Path, record: Record) -> Result<Series> {
        if !is_series(path) {
            match Series::create(path, record.clone()) {
                Err(_) if is_series(path) => {}
                created => return created,
            }
        }
        let series = Series::open(path)?;
        if series.record.seeds != record.seeds {
            let seeds = |record: &Record| format!("{} from {}", record.seeds.len(), record.seeds[0]);
            return Err(Error::Refused(format!(
                "{}: holds other runs: the seeds there are {}, here {}; continue with those, or choose another --out",
                path.display(),
                seeds(&series.record),
                seeds(&record)
            )));
        }
        Ok(series)
    }

    fn begin(folder: LockedFolder, record: Record) -> Result<Series> {
        let series = Series { folder, record };
        series.write_record()?;
        Ok(series)
    }

    fn write_record(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.record).expect("a record has a JSON form") + "\n";
        atomic::write(&self.folder.own(RECORD)?, |file| file.write_all(text.as_bytes()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What it is.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The folder of the run with `seed`.
    pub fn run(&self, seed: u64) -> PathBuf {
        self.path().join(run_name(seed))
    }

    /// What the runs start from, as [`Series::write_start`] wrote it; `None` if they start at random.
    ///
    /// # Errors
    /// As [`Start::read_file`].
    pub fn start(&self) -> Result<Option<Start>> {
        let read = |wanted| Start::read_file(&self.path().join(start_file::NAME), wanted);
        self.record.configuration.start.as_ref().map(read).transpose()
    }

    /// Writes down what the runs start from, for those that a later process begins.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced.
    pub fn write_start(&self, start: &Start) -> Result<()> {
        start.write_file(&self.folder.own(start_file::NAME)?)
    }

    /// Takes `summary.json` away, since runs go on, with these weights and to the stop rules of `configuration`: those that a
    /// later `--resume` is to find.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn go_on(&mut self, configuration: &Config, files: &Files) -> Result<()> {
        atomic::remove(&self.folder.own(SUMMARY)?)?;
        let before = self.record.clone();
        self.record.configuration = configuration.clone();
        self.record.files = files.clone();
        if self.record == before { Ok(()) } else { self.write_record() }
    }

    /// Writes `summary.json`: where it is, all runs are finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, summary: &Summary) -> Result<()> {
        atomic::write(&self.folder.own(SUMMARY)?, |file| file.write_all(summary.to_json().as_bytes()))
    }
}

/// The name of the folder of the run with `seed`.
pub(crate) fn run_name(seed: u64) -> String {
    format!("seed{seed}")
}

/// The content of `summary.json`: what became of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Of this program.
    pub version: String,
    pub commit: String,
    pub arithmetic_version: u32,
    pub seeds: Vec<u64>,
    /// That of the run with the first seed.
    pub configuration: Config,
    pub network: String,
    pub weights_sha256: String,
    /// Of all runs.
    pub evaluations: u64,
    /// Until the last run ended; runs share the threads.
    pub seconds: f64,
    /// Evaluations by seconds.
    pub genomes_per_second: f64,
    pub peak_memory_bytes: Option<u64>,
    /// Of the run that was on a GPU for the longest time: the others shared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    /// Over the runs, of each number by itself.
    pub medians: Medians,
    pub runs: Vec<RunSummary>,
}

/// Medians over the runs of a series; the mean of the two middle values where their count is even.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    pub generation: f64,
    pub evaluations: f64,
    /// Of the runs' median, mean, least and greatest confidence.
    pub median: f64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    pub over_9: f64,
    pub over_99: f64,
    pub over_999: f64,
    pub over_9999: f64,
    pub distinct_genomes: f64,
}

/// What became of a run; its `run.json` says more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub seed: u64,
    /// Relative to the folder of the series.
    pub folder: String,
    pub stopped_by: Stop,
    pub generation: u32,
    pub evaluations: u64,
    pub seconds: f64,
    #[serde(flatten)]
    pub statistics: Statistics,
    pub distinct_genomes: usize,
    #[serde(with = "hex64")]
    pub archive_hash: u64,
}

impl Summary {
    /// Of the runs with these manifests, in the order of their seeds.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(manifests: &[Manifest]) -> Summary {
        let first = &manifests[0];
        let evaluations = manifests.iter().map(|run| run.evaluations).sum();
        let seconds = manifests.iter().map(|run| run.seconds).fold(0.0, f64::max);
        let median = |value: &dyn Fn(&Manifest) -> f64| median(manifests.iter().map(value).collect());
        Summary {
            version: VERSION.to_string(),
            commit: COMMIT.to_string(),
            arithmetic_version: ARITHMETIC_VERSION,
            seeds: manifests.iter().map(|run| run.seed).collect(),
            configuration: first.configuration.clone(),
            network: first.network.clone(),
            weights_sha256: first.weights_sha256.clone(),
            evaluations,
            seconds,
            genomes_per_second: evaluations as f64 / seconds,
            peak_memory_bytes: manifests.iter().filter_map(|run| run.peak_memory_bytes).max(),
            gpu: manifests
                .iter()
                .filter_map(|run| run.gpu.as_ref())
                .max_by(|a, b| a.seconds.total_cmp(&b.seconds))
                .cloned(),
            medians: Medians {
                generation: median(&|run| f64::from(run.generation)),
                evaluations: median(&|run| run.evaluations as f64),
                median: median(&|run| run.statistics.median),
                mean: median(&|run| run.statistics.mean),
                min: median(&|run| run.statistics.min),
                max: median(&|run| run.statistics.max),
                over_9: median(&|run| run.statistics.over_9 as f64),
                over_99: median(&|run| run.statistics.over_99 as f64),
                over_999: median(&|run| run.statistics.over_999 as f64),
                over_9999: median(&|run| run.statistics.over_9999 as f64),
                distinct_genomes: median(&|run| run.distinct_genomes as f64),
            },
            runs: manifests
                .iter()
                .map(|run| RunSummary {
                    seed: run.seed,
                    folder: run_name(run.seed),
                    stopped_by: run.stopped_by,
                    generation: run.generation,
                    evaluations: run.evaluations,
                    seconds: run.seconds,
                    statistics: run.statistics,
                    distinct_genomes: run.distinct_genomes,
                    archive_hash: run.archive_hash,
                })
                .collect(),
        }
    }

    /// The text of the file, for people as well as for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a summary has a JSON form") + "\n"
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_the_two() {
        assert_eq!([vec![3.0], vec![5.0, 1.0, 2.0], vec![4.0, 1.0, 2.0, 9.0]].map(median), [3.0, 2.0, 3.0]);
    }
}
