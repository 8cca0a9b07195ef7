//! What a benchmark found, for programs (JSON) and for people (a table).

use super::gpu;
use super::measure::Spread;
use super::work::Work;
use crate::backend::cuda::traffic::Traffic;
use crate::error::{Error, Result};
use crate::telemetry::{self, Facts};
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
    /// The GPU, if the lines are its.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceReport>,
    pub flags: Flags,
    pub busy: Busy,
    /// What was asked for and not timed, and why, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
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

/// The GPU that it ran on. `null` is what its driver does not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What `--device` calls it.
    pub id: String,
    pub name: String,
    /// Such as `9.0`.
    pub compute_capability: String,
    pub multiprocessors: u32,
    pub l2_bytes: u64,
    pub memory_bytes: u64,
    /// The newest CUDA that its driver knows.
    pub driver_cuda: String,
    /// What the kernels were compiled by and for.
    pub kernels: String,
    /// Whether it is the emulated driver's, whose figures say nothing of a GPU.
    pub emulated: bool,
    /// What NVML says of it: driver, power limit, clocks.
    pub nvml: Option<Facts>,
    /// Why NVML says nothing.
    pub no_nvml: Option<String>,
}

impl DeviceReport {
    /// That of `bench`.
    pub fn of(bench: &gpu::Bench) -> DeviceReport {
        let device = bench.device();
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        let (nvml, no_nvml) = match bench.telemetry() {
            Ok(sampler) => (Some(sampler.gpu().facts().clone()), None),
            Err(why) => (None, Some(why.clone())),
        };
        DeviceReport {
            id: device.id(),
            name: device.name.clone(),
            compute_capability: version(device.compute_capability),
            multiprocessors: bench.multiprocessors(),
            l2_bytes: bench.l2_bytes(),
            memory_bytes: device.memory_bytes,
            driver_cuda: version(device.driver_cuda),
            kernels: crate::kernels::BUILT.to_string(),
            emulated: bench.is_emulated(),
            nvml,
            no_nvml,
        }
    }

    fn to_text(&self) -> String {
        let DeviceReport { id, name, compute_capability, multiprocessors, driver_cuda, nvml, no_nvml, .. } = self;
        let facts = match (nvml, no_nvml) {
            (Some(facts), _) => {
                let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
                format!(
                    "driver {}, power limit {} W, clocks up to {} MHz, memory {} MHz",
                    or_unknown(facts.driver_version.clone()),
                    or_unknown(facts.power_limit_watts.map(|watts| format!("{watts:.0}"))),
                    or_unknown(facts.max_sm_clock_mhz.map(|mhz| mhz.to_string())),
                    or_unknown(facts.max_memory_clock_mhz.map(|mhz| mhz.to_string())),
                )
            }
            (None, why) => format!("power and clocks unknown: {}", why.as_deref().unwrap_or("NVML was not asked")),
        };
        format!(
            "{id}, {name}, compute capability {compute_capability}, {multiprocessors} multiprocessors, driver of CUDA {driver_cuda}\n\
             {facts}\n"
        )
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
    /// By the header of its kernel; on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
}

impl PeakResult {
    /// From the times of calls of 10^9 times `giga` operations or bytes.
    pub fn new(name: &str, unit: &str, giga: f64, times: &Spread, predicted: Option<f64>) -> PeakResult {
        let Spread { median, min, max, samples } = times.rates(giga);
        let [median, min, max] = [median, min, max].map(rounded);
        PeakResult { name: name.to_string(), unit: unit.to_string(), median, min, max, samples, predicted }
    }
}

/// A timed line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineResult {
    pub step: String,
    /// `None` for what belongs to none.
    pub preset: Option<String>,
    /// The network that was timed, where the line is of one; and what its weights were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Candidates a generation of each run; images of a network.
    pub batch: u32,
    /// Runs at once, where there may be several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
    /// The kernel that was timed, by its name in kernels/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
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
    /// `per_second` as the headers of the kernels have it, where they speak of this batch; and for which GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_for: Option<String>,
    /// What a generation sets going and moves, by the driver's own graph of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What the GPU said meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
}

/// What the GPU said of itself while a line was timed, putting back the state included. `null` is what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// The mean: energy by time; where there is no counter of energy, the mean of what was read.
    pub power_watts: Option<f64>,
    /// `power_watts` at the median rate.
    pub joules_per_million: Option<f64>,
    /// As last read, and the least.
    pub sm_clock_mhz: Option<u32>,
    pub least_sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    /// The highest.
    pub temperature_c: Option<u32>,
    /// All that kept its clocks down.
    pub throttle_reasons: Option<Vec<String>>,
}

impl LineResult {
    /// From the times of calls that make `items` genomes each.
    pub fn new(
        step: &str,
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
            network: None,
            weights: None,
            batch,
            runs: None,
            kernel: None,
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
            predicted: None,
            predicted_for: None,
            traffic: None,
            gpu: None,
        }
    }

    /// Its name: step, preset or network, and batch.
    pub fn name(&self) -> String {
        let (step, batch) = (self.step.as_str(), self.batch_text());
        let parts = [step, self.of(), batch.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The preset or network that it is of; empty if it is of none.
    pub fn of(&self) -> &str {
        self.preset.as_deref().or(self.network.as_deref()).unwrap_or("")
    }

    /// Its batch, and of several runs their number: `8x200`.
    pub fn batch_text(&self) -> String {
        self.runs.map_or(self.batch.to_string(), |runs| format!("{runs}x{}", self.batch))
    }
}

/// A rate for people: whole numbers, and below a thousand a tenth.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 1000.0 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// To eight significant digits, which no clock deserves.
pub(super) fn rounded(x: f64) -> f64 {
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
        let Report { version, commit, date, machine, flags, device, .. } = self;
        let processor = machine.processor.as_deref().unwrap_or("unknown processor");
        let mut text = String::new();
        if device.as_ref().is_some_and(|device| device.emulated) {
            text += gpu::EMULATED;
            text += "\n";
        }
        text += &format!(
            "pareidolia {version} ({commit}), {date}\n{processor}, {} threads, {}\n",
            flags.threads, flags.simd
        );
        text += &device.as_ref().map_or(String::new(), DeviceReport::to_text);
        text += &self.left_out.iter().map(|line| format!("left out: {line}\n")).collect::<String>();
        text + "\n"
            + &self.peaks_text()
            + "\n"
            + &if device.is_some() { self.gpu_lines() } else { self.cpu_lines() }
            + &self.weights_text()
    }

    fn peaks_text(&self) -> String {
        // Writing to a String cannot fail.
        let mut text = String::new();
        _ = writeln!(text, "{:<14} {:>12}  {:>25}", "peak", "median", "least .. most");
        for PeakResult { name, unit, median, min, max, predicted, .. } in &self.peaks {
            let predicted = predicted.map_or(String::new(), |predicted| format!(", {predicted:.0} predicted"));
            _ = writeln!(text, "{name:<14} {median:>12.1}  {min:>11.1} .. {max:<11.1} {unit}{predicted}");
        }
        text
    }

    fn cpu_lines(&self) -> String {
        let (mut text, width) = (String::new(), self.width());
        _ = writeln!(
            text,
            "{:<16} {:<width$} {:>7} {:>12}  {:>25} {:>6}  of",
            "step", "preset", "batch", "a second", "least .. most", "share"
        );
        for line in &self.results {
            let LineResult { step, batch, per_second, min, max, .. } = line;
            let [per_second, min, max] = [*per_second, *min, *max].map(rate);
            let (of, share, limit) = (line.of(), line.share_text(), line.limit_text());
            let row = format!(
                "{step:<16} {of:<width$} {batch:>7} {per_second:>12}  {min:>11} .. {max:<11} {share:>6}  {limit}"
            );
            _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }

    /// Of what the lines are of.
    fn width(&self) -> usize {
        self.results.iter().map(|line| line.of().len()).max().unwrap_or(0).max(12)
    }

    /// That weights are random, if some are.
    fn weights_text(&self) -> String {
        let mut weights: Vec<&str> = self.results.iter().filter_map(|line| line.weights.as_deref()).collect();
        weights.dedup();
        weights.into_iter().map(|weights| format!("networks: {weights}, images at random\n")).collect()
    }

    fn gpu_lines(&self) -> String {
        let (mut text, width) = (String::new(), self.width());
        _ = writeln!(
            text,
            "{:<24} {:<width$} {:>8} {:>13}  {:>27} {:>13} {:>7}  {:<18} {:>6} {:>9} {:>6}",
            "line", "preset", "batch", "a second", "least .. most", "predicted", "share", "of", "W", "J/million", "MHz"
        );
        let or_none = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        for line in &self.results {
            let LineResult { step, per_second, min, max, predicted, .. } = line;
            let [per_second, min, max] = [*per_second, *min, *max].map(rate);
            let (of, batch, predicted) = (line.of(), line.batch_text(), or_none(*predicted, 0));
            let (share, limit) = (line.share_text(), line.limit_text());
            let gpu = line.gpu.clone().unwrap_or_default();
            let (watts, joules) = (or_none(gpu.power_watts, 0), or_none(gpu.joules_per_million, 1));
            let clock = gpu.least_sm_clock_mhz.map_or("-".into(), |mhz| mhz.to_string());
            let held = gpu.throttle_reasons.filter(|reasons| !reasons.is_empty());
            let held = held.map_or(String::new(), |reasons| format!("  held by {}", reasons.join(", ")));
            _ = writeln!(
                text,
                "{step:<24} {of:<width$} {batch:>8} {per_second:>13}  {min:>12} .. {max:<11} {predicted:>13} {share:>7}  \
                 {limit:<18} {watts:>6} {joules:>9} {clock:>6}{held}"
            );
        }
        let moved: Vec<&LineResult> = self.results.iter().filter(|line| line.traffic.is_some()).collect();
        if !moved.is_empty() {
            text += "\na generation, by the driver's graph of it\n";
        }
        for line in moved {
            let Traffic { launches, copies, to_device_bytes, to_host_bytes, inside_bytes, others } =
                line.traffic.unwrap_or_default();
            let more = if others > 0 { format!(", {others} other nodes") } else { String::new() };
            _ = writeln!(
                text,
                "{:<46} {launches} kernels, {copies} copies: {to_device_bytes} bytes to the device, {to_host_bytes} to the host, \
                 {inside_bytes} within{more}",
                line.name()
            );
        }
        text
    }
}

impl LineResult {
    fn share_text(&self) -> String {
        self.share.map_or(String::new(), |share| format!("{:.1} %", 100.0 * share))
    }

    /// The peak; a process is a matter of how long it takes.
    fn limit_text(&self) -> String {
        let limit = self.limit.clone().unwrap_or_default();
        match self.step.as_str() {
            "run" | "start" => format!("{limit} ({:.3} s)", self.seconds),
            _ => limit,
        }
    }
}
