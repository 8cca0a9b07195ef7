//! Two benchmarks side by side.

use super::report::{DeviceReport, LineResult, Report, rate};
use crate::error::{Error, Result};
use std::fmt::Write;

/// What became of the lines from one report to another.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// A line of both, and how its rate changed: second by first.
    pub ratios: Vec<(LineResult, LineResult, f64)>,
    /// What makes the two less comparable, and lines that only one of them has, in words.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Of `before` with `after`, in the order of `before`.
    ///
    /// # Errors
    /// [`Error::Refused`] if they have no line in common.
    pub fn of(before: &Report, after: &Report) -> Result<Comparison> {
        let mut warnings = Vec::new();
        let mut differ = |what: &str, a: String, b: String| {
            if a != b {
                warnings.push(format!("{what}: {a} before, {b} after"));
            }
        };
        let (a, b) = (&before.machine, &after.machine);
        differ("processor", words(&a.processor), words(&b.processor));
        differ("threads of the machine", a.threads.to_string(), b.threads.to_string());
        differ("kernel", words(&a.kernel), words(&b.kernel));
        let (a, b) = (&before.device, &after.device);
        differ("device", device(a), device(b));
        if let (Some(a), Some(b)) = (a, b) {
            differ("driver", driver(a), driver(b));
            let limit =
                |of: &DeviceReport| words(&of.nvml.as_ref().and_then(|facts| facts.power_limit_watts).map(watts));
            differ("power limit", limit(a), limit(b));
            differ("kernels", a.kernels.clone(), b.kernels.clone());
        }
        let (a, b) = (&before.flags, &after.flags);
        differ("compiler", a.rustc.clone(), b.rustc.clone());
        differ("platform", a.platform.clone(), b.platform.clone());
        differ("compiler's flags", a.compiler.clone(), b.compiler.clone());
        differ("--threads", a.threads.to_string(), b.threads.to_string());
        differ("--simd", a.simd.clone(), b.simd.clone());
        let (a, b) = (before.arithmetic_version, after.arithmetic_version);
        differ("arithmetic version", a.to_string(), b.to_string());

        let find = |report: &Report, name: &str| report.results.iter().find(|line| line.name() == name).cloned();
        let mut ratios = Vec::new();
        for line in &before.results {
            match find(after, &line.name()) {
                Some(other) => ratios.push((line.clone(), other.clone(), other.per_second / line.per_second)),
                None => warnings.push(format!("only the first has the line {:?}", line.name())),
            }
        }
        for line in &after.results {
            if find(before, &line.name()).is_none() {
                warnings.push(format!("only the second has the line {:?}", line.name()));
            }
        }
        if ratios.is_empty() {
            return Err(Error::Refused("bench compare: the two have no line in common".into()));
        }
        Ok(Comparison { ratios, warnings })
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{:<24} {:<20} {:>8} {:>12} {:>12} {:>7}\n", "step", "preset", "batch", "before", "after", "ratio");
        for (before, after, ratio) in &self.ratios {
            let (step, of, batch) = (&before.step, before.of(), before.batch_text());
            // Ranges that overlap: it may be chance.
            let chance = if before.min <= after.max && after.min <= before.max { "" } else { "  beyond the spread" };
            let [before, after] = [before, after].map(|line| rate(line.per_second));
            // Writing to a String cannot fail.
            _ = writeln!(text, "{step:<24} {of:<20} {batch:>8} {before:>12} {after:>12} {ratio:>7.3}{chance}");
        }
        text
    }

    /// # Errors
    /// [`Error::Refused`] naming the lines whose ratio is below `least`, or is none.
    pub fn fail_below(&self, least: f64) -> Result<()> {
        let at_least = |ratio: f64| ratio >= least; // not so for a NaN
        let below: Vec<String> = self
            .ratios
            .iter()
            .filter(|(_, _, ratio)| !at_least(*ratio))
            .map(|(line, _, ratio)| format!("{} ({ratio:.3})", line.name()))
            .collect();
        if below.is_empty() {
            return Ok(());
        }
        Err(Error::Refused(format!("bench compare: below {least}: {}", below.join(", "))))
    }
}

fn words(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "unknown".into())
}

fn device(device: &Option<DeviceReport>) -> String {
    device.as_ref().map_or("the CPU".into(), |device| {
        let DeviceReport { name, compute_capability, .. } = device;
        format!("{name}, compute capability {compute_capability}")
    })
}

/// Its release, or what CUDA it knows.
fn driver(device: &DeviceReport) -> String {
    let release = device.nvml.as_ref().and_then(|facts| facts.driver_version.clone());
    release.unwrap_or_else(|| format!("of CUDA {}", device.driver_cuda))
}

fn watts(watts: f64) -> String {
    format!("{watts:.0} W")
}
