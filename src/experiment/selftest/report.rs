//! What a self-test says, for people and for programs.

use super::tally::{Difference, Tally};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A whole self-test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: String,
    pub commit: String,
    pub arithmetic_version: u32,
    /// What the kernels were compiled by and for.
    pub kernels: String,
    /// What was tried, and why that.
    pub device: String,
    pub device_reason: String,
    /// Whether only a few cases of each table were tried.
    pub quick: bool,
    /// From start to end.
    pub seconds: f64,
    pub checks: Vec<Check>,
    /// Checks that were not tried, since the device had failed.
    pub not_tried: Vec<String>,
    /// Whether every check was tried and is ok.
    pub passed: bool,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// What was compared with what.
    pub compared: String,
    pub cases: u64,
    /// Values compared.
    pub elements: u64,
    pub largest_batch: u64,
    /// What the launches took by the device's clock; a CPU, the steps by the host's.
    pub device_seconds: f64,
    pub result: Outcome,
    /// Values of other bits than wanted.
    pub differing: u64,
    pub first_difference: Option<Difference>,
    /// Why it could not be tried to its end.
    pub failure: Option<String>,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Differs,
    /// The driver, or the machine, has refused something.
    Failed,
}

impl Check {
    /// That of `tally`, which `failure` may have kept from its end.
    pub fn new(name: &str, compared: &str, tally: Tally, failure: Option<String>) -> Check {
        let result = match (&failure, tally.differing) {
            (Some(_), _) => Outcome::Failed,
            (None, 0) => Outcome::Ok,
            (None, _) => Outcome::Differs,
        };
        Check {
            name: name.to_string(),
            compared: compared.to_string(),
            cases: tally.cases,
            elements: tally.elements,
            largest_batch: tally.largest_batch,
            device_seconds: tally.seconds,
            result,
            differing: tally.differing,
            first_difference: tally.first,
            failure,
        }
    }

    /// A line of the table, below it the first difference and what has failed.
    pub fn to_text(&self) -> String {
        let Check { name, compared, cases, elements, largest_batch, device_seconds, differing, .. } = self;
        let result = match self.result {
            Outcome::Ok => "ok",
            Outcome::Differs => "DIFFERS",
            Outcome::Failed => "FAILED",
        };
        let mut text = format!(
            "{name:<29} {cases:>6} {elements:>10} {largest_batch:>8} {device_seconds:>8.3} s  {result:<8} {compared}\n"
        );
        if let Some(first) = &self.first_difference {
            _ = writeln!(text, "    {differing} of {elements} values differ; the first: {first}");
        }
        if let Some(failure) = &self.failure {
            _ = writeln!(text, "    {failure}");
        }
        text
    }
}

impl Report {
    /// What stands above the table.
    pub fn head(&self) -> String {
        let Report { version, commit, arithmetic_version, kernels, device, device_reason, quick, .. } = self;
        let quick = if *quick { "; a few cases of each table (--quick)" } else { "" };
        format!(
            "pareidolia {version} ({commit}), arithmetic version {arithmetic_version}; {kernels}\n\
             on {device} ({device_reason}){quick}\n\n\
             {:<29} {:>6} {:>10} {:>8} {:>10}  {:<8} {}\n",
            "check", "cases", "values", "batch", "time on it", "result", "compared, bit for bit"
        )
    }

    /// What stands below it.
    pub fn foot(&self) -> String {
        let mut text = String::new();
        if !self.not_tried.is_empty() {
            _ = writeln!(text, "\nThe device has failed. Not tried any more: {}", self.not_tried.join(", "));
        }
        let n_ok = self.checks.iter().filter(|check| check.result == Outcome::Ok).count();
        let n = self.checks.len() + self.not_tried.len();
        _ = writeln!(text, "\n{n_ok} of {n} checks ok, in {:.1} s", self.seconds);
        text
    }

    /// Names of the checks that are not ok.
    pub fn bad(&self) -> Vec<&str> {
        self.checks.iter().filter(|check| check.result != Outcome::Ok).map(|check| check.name.as_str()).collect()
    }
}
