//! What a benchmark found, for programs (JSON) and for people (a table).

use super::Step;
use super::measure::Spread;
use super::work::Work;
use crate::error::{Error, Result};
use crate::telemetry;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

/// Names the layout of the JSON.
pub const FORMAT: &str = "pareidolia-bench 1";

/// A benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// What was called.
    pub command: String,
    pub version: String,
    pub commit: String,
    pub arithmetic_version: u32,
    pub machine: Machine,
    pub flags: Flags,
    pub busy: Busy,
    pub peaks: Vec<PeakResult>,
    pub results: Vec<LineResult>,
}

/// What it ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: Option<String>,
    /// Threads that the machine runs at once.
    pub threads: usize,
    pub memory_bytes: Option<u64>,
    pub last_level_cache_bytes: Option<u64>,
    pub kernel: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        Machine {
            processor: telemetry::processor(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: telemetry::physical_memory(),
            last_level_cache_bytes: telemetry::last_level_cache(),
            kernel: telemetry::kernel(),
        }
    }
}

/// How it was built and called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flags {
    pub rustc: String,
    pub platform: String,
    pub compiler: String,
    /// Worker threads.
    pub threads: usize,
    pub simd: String,
    /// Seconds a line.
    pub seconds: f64,
}

/// What else the machine had to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Over the minute before it began.
    pub load_average: Option<f64>,
    /// Processors that others used while it ran, on average.
    pub others: Option<f64>,
}

/// A limit of the machine, measured among the lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeakResult {
    pub name: String,
    pub unit: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub samples: usize,
}

impl PeakResult {
    /// From the times of calls of 10^9 times `giga` operations or bytes.
    pub fn new(name: &str, unit: &str, giga: f64, times: &Spread) -> PeakResult {
        let Spread { median, min, max, samples } = times.rates(giga);
        let [median, min, max] = [median, min, max].map(rounded);
        PeakResult { name: name.to_string(), unit: unit.to_string(), median, min, max, samples }
    }
}

/// A timed line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineResult {
    pub step: String,
    /// `None` for what belongs to none.
    pub preset: Option<String>,
    pub batch: u32,
    /// The median; of genomes, or images.
    pub per_second: f64,
    pub min: f64,
    pub max: f64,
    pub samples: usize,
    /// Seconds of a call, the median.
    pub seconds: f64,
    /// `per_second` times `work` by the peak `limit`; `None` where there is no model.
    pub share: Option<f64>,
    /// Name of the peak.
    pub limit: Option<String>,
    /// The least work of one genome: multiply-adds (each counts two operations) or bytes, as the peak's unit says.
    pub work: Option<f64>,
    /// Whether the output was compared with a reference before it was timed: always, or there is no line.
    pub checked: bool,
    /// With what.
    pub check: String,
}

impl LineResult {
    /// From the times of calls that make `items` genomes each.
    pub fn new(
        step: Step,
        preset: Option<String>,
        batch: u32,
        items: u32,
        limit: Option<(Work, &PeakResult)>,
        check: &str,
        times: &Spread,
    ) -> LineResult {
        let Spread { median, min, max, samples } = times.rates(f64::from(items));
        LineResult {
            step: step.to_string(),
            preset,
            batch,
            per_second: rounded(median),
            min: rounded(min),
            max: rounded(max),
            samples,
            seconds: rounded(times.median),
            share: limit.map(|(work, peak)| rounded(median * work.giga() / peak.median)),
            limit: limit.map(|(_, peak)| peak.name.clone()),
            work: limit.map(|(work, _)| rounded(work.amount())),
            checked: true,
            check: check.to_string(),
        }
    }

    /// Its name: step, preset and batch.
    pub fn name(&self) -> String {
        match &self.preset {
            Some(preset) => format!("{} {preset} {}", self.step, self.batch),
            None => format!("{} {}", self.step, self.batch),
        }
    }
}

/// To eight significant digits, which no clock deserves.
fn rounded(x: f64) -> f64 {
    format!("{x:.7e}").parse().expect("a number as it was written")
}

impl Report {
    /// Reads what [`Report`] was written to. Other fields than its own are let be.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] if it is no such report.
    pub fn read(path: &Path) -> Result<Report> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let report: Report = serde_json::from_str(&text)
            .map_err(|error| Error::file(path, format!("not what `pareidolia bench --json` writes: {error}")))?;
        if report.format != FORMAT {
            return Err(Error::file(path, format!("has format {:?}, this program reads {FORMAT:?}", report.format)));
        }
        Ok(report)
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let Report { version, commit, date, machine, flags, .. } = self;
        let processor = machine.processor.as_deref().unwrap_or("unknown processor");
        let mut text = format!(
            "pareidolia {version} ({commit}), {date}\n{processor}, {} threads, {}\n\n",
            flags.threads, flags.simd
        );
        // Writing to a String cannot fail.
        _ = writeln!(text, "{:<14} {:>12}  {:>25}", "peak", "median", "least .. most");
        for PeakResult { name, unit, median, min, max, .. } in &self.peaks {
            _ = writeln!(text, "{name:<14} {median:>12.1}  {min:>11.1} .. {max:<11.1} {unit}");
        }
        _ = writeln!(
            text,
            "\n{:<10} {:<12} {:>7} {:>12}  {:>25} {:>6}  of",
            "step", "preset", "batch", "a second", "least .. most", "share"
        );
        for line in &self.results {
            let LineResult { step, preset, batch, per_second, min, max, share, limit, seconds, .. } = line;
            let share = share.map_or(String::new(), |share| format!("{:.1} %", 100.0 * share));
            // A process is a matter of how long it takes.
            let limit = match step.as_str() {
                "run" | "start" => format!("{} ({seconds:.3} s)", limit.as_deref().unwrap_or("")),
                _ => limit.clone().unwrap_or_default(),
            };
            let preset = preset.as_deref().unwrap_or("");
            let row = format!(
                "{step:<10} {preset:<12} {batch:>7} {per_second:>12.0}  {min:>11.0} .. {max:<11.0} {share:>6}  {limit}"
            );
            _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }
}
