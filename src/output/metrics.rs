//! `metrics.jsonl`: one JSON object a logged generation.

use crate::archive::Statistics;
use crate::error::{Error, Result};
use crate::output::{atomic, hex64};
use crate::telemetry;
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
    /// Where a GPU made it that says something of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuMetrics>,
}

/// What a GPU said from the line before to this one. It is of the whole GPU: of all runs of a series, which share it, and of whatever
/// else uses it. The answers are some tenths of a second apart, so of several lines in that time one has all the energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuMetrics {
    /// As the last answer had it, down to the memory.
    pub power_watts: Option<f64>,
    pub sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    pub temperature_c: Option<u32>,
    pub memory_used_bytes: Option<u64>,
    /// Of all answers since the line before, or the last one.
    pub least_sm_clock_mhz: Option<u32>,
    pub throttle_reasons: Vec<String>,
    /// Since the line before, or since this process took the run up: energy, time, and the candidates that all runs made in it.
    pub energy_joules: Option<f64>,
    pub seconds: f64,
    pub genomes: u64,
}

/// What the lines of a run say of GPUs, summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuTotals {
    pub seconds: f64,
    pub genomes: u64,
    energy_joules: f64,
    /// Seconds of lines that say the energy; that say the power, and the joules by it.
    counted_seconds: f64,
    powered_seconds: f64,
    powered_joules: f64,
    pub least_sm_clock_mhz: Option<u32>,
    pub throttle_reasons: Vec<String>,
}

impl GpuTotals {
    /// Takes a line in.
    pub fn add(&mut self, line: &GpuMetrics) {
        self.seconds += line.seconds;
        self.genomes += line.genomes;
        if let Some(energy) = line.energy_joules {
            self.energy_joules += energy;
            self.counted_seconds += line.seconds;
        }
        if let Some(power) = line.power_watts {
            self.powered_joules += power * line.seconds;
            self.powered_seconds += line.seconds;
        }
        self.least_sm_clock_mhz = [self.least_sm_clock_mhz, line.least_sm_clock_mhz].into_iter().flatten().min();
        telemetry::join(&mut self.throttle_reasons, &line.throttle_reasons);
    }

    /// By the energy counter; `None` where a line lacks it.
    pub fn energy_joules(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.counted_seconds == self.seconds).then_some(self.energy_joules)
    }

    /// By the energy counter, else the mean of the lines' powers; `None` where there is neither.
    pub fn mean_power_watts(&self) -> Option<f64> {
        let by_power = || (self.powered_seconds > 0.0).then(|| self.powered_joules / self.powered_seconds);
        self.energy_joules().map(|energy| energy / self.seconds).or_else(by_power)
    }
}

impl Metrics {
    /// Bytes of a line, estimated: those of one whose numbers have as many digits as they can have by `evaluations`, and of a GPU with
    /// all there is to say.
    pub fn line_bytes(generation: u32, evaluations: u64, n_niches: usize, on_gpu: bool) -> u64 {
        // A confidence, of single precision, as JSON has it: as many digits as there can be.
        let long = f64::from(0.123_456_78_f32);
        let gpu = || GpuMetrics {
            power_watts: Some(999.999),
            sm_clock_mhz: Some(9999),
            memory_clock_mhz: Some(99_999),
            temperature_c: Some(100),
            memory_used_bytes: Some(1 << 40),
            least_sm_clock_mhz: Some(9999),
            throttle_reasons: telemetry::gpu::throttle_names().map(String::from).collect(),
            energy_joules: Some(1e3 * long),
            seconds: 1e-3 * long,
            genomes: evaluations,
        };
        let metrics = Metrics {
            generation,
            evaluations,
            median: long,
            mean: long,
            min: long,
            max: long,
            over_99: n_niches,
            over_999: n_niches,
            over_9999: n_niches,
            replaced: n_niches as u32,
            genomes_per_second: 1e7 * long,
            archive_hash: 0,
            gpu: on_gpu.then(gpu),
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
            gpu: None,
        }
    }
}

/// Appends to `metrics.jsonl`, a whole line at a time.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
    gpu_before: GpuTotals,
}

impl MetricsWriter {
    /// Starts the file `path` for a new run, or goes on with it `after` a generation: the lines up to that one stay as
    /// they are; later ones, and what was torn by a sudden end, are dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open(path: &Path, after: Option<u32>) -> Result<MetricsWriter> {
        let lines = after.map(|generation| Ok((generation, lines(path)?))).transpose()?;
        let mut gpu_before = GpuTotals::default();
        atomic::write(path, |file| {
            let Some((generation, lines)) = lines else { return Ok(()) };
            let mut first = None;
            for line in lines {
                let (text, metrics) = line?;
                if metrics.generation <= generation {
                    first.get_or_insert(metrics.generation);
                    metrics.gpu.iter().for_each(|gpu| gpu_before.add(gpu));
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
        Ok(MetricsWriter { file, path: path.to_path_buf(), gpu_before })
    }

    /// What the lines say of GPUs that were there when the file was opened.
    pub fn gpu_before(&self) -> &GpuTotals {
        &self.gpu_before
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_without_a_gpu_is_that_of_older_versions_and_one_with_it_comes_back() {
        let old = r#"{"generation":3,"evaluations":800,"median":0.5,"mean":0.5,"min":0.25,"max":1.0,"over_99":1,"over_999":1,"over_9999":0,"replaced":2,"genomes_per_second":100.5,"archive_hash":"0123456789abcdef"}"#;
        let line: Metrics = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&line).unwrap(), old);
        let gpu = GpuMetrics {
            power_watts: Some(99.125),
            throttle_reasons: vec!["power limit".into()],
            ..Default::default()
        };
        let line = Metrics { gpu: Some(gpu), ..line };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(r#""gpu":{"power_watts":99.125,"sm_clock_mhz":null,"#), "{text}");
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), line);
    }

    #[test]
    fn estimated_line_is_longer_than_real_ones() {
        let long = 123.456_789_012_345_6;
        let gpu = GpuMetrics {
            power_watts: Some(689.123),
            sm_clock_mhz: Some(1980),
            memory_clock_mhz: Some(2619),
            temperature_c: Some(67),
            memory_used_bytes: Some(80 << 30),
            least_sm_clock_mhz: Some(1755),
            throttle_reasons: vec!["power limit".into(), "heat (hardware)".into()],
            energy_joules: Some(long),
            seconds: 0.001_234_567_890_123_4,
            genomes: 999_999,
        };
        let statistics = Statistics::of(&[0.123_456_78, 0.234_567_9]);
        let line = Metrics { gpu: Some(gpu), ..Metrics::new(1001, 999_999, &statistics, 10, 1e4 * long, u64::MAX) };
        let bytes = |line: &Metrics| serde_json::to_vec(line).unwrap().len() as u64 + 1;
        assert!(bytes(&line) < Metrics::line_bytes(1001, 999_999, 10, true));
        let on_cpu = Metrics { gpu: None, ..line };
        assert!(bytes(&on_cpu) <= Metrics::line_bytes(1001, 999_999, 10, false));
    }

    #[test]
    fn totals_have_the_energy_only_where_every_line_has_it() {
        let line = |energy_joules, power_watts, clock| GpuMetrics {
            energy_joules,
            power_watts,
            least_sm_clock_mhz: clock,
            throttle_reasons: vec!["power limit".into()],
            seconds: 0.5,
            genomes: 10,
            ..Default::default()
        };
        let mut totals = GpuTotals::default();
        assert_eq!((totals.energy_joules(), totals.mean_power_watts()), (None, None));
        totals.add(&line(Some(3.0), Some(1.0), Some(1900)));
        totals.add(&line(Some(1.0), None, None));
        assert_eq!((totals.energy_joules(), totals.mean_power_watts()), (Some(4.0), Some(4.0)));
        totals.add(&line(None, Some(7.0), Some(1500)));
        assert_eq!((totals.energy_joules(), totals.mean_power_watts()), (None, Some(4.0)));
        assert_eq!((totals.least_sm_clock_mhz, totals.genomes, totals.throttle_reasons.len()), (Some(1500), 30, 1));
    }
}
