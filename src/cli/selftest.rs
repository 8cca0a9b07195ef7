//! `pareidolia selftest`: is what this device computes what the CPU computes, and what was recorded?

use crate::error::{Error, Result};
use crate::experiment::device::Asked;
use crate::experiment::selftest::{self, Request};

/// Compare everything that a GPU, or this processor, computes with what it must be, bit for bit
///
/// The first command on a new machine. On a GPU: every kernel against the CPU, over cases round the edge of every tile; then short
/// runs of every preset, a series, and a run that goes on from a checkpoint of the CPU, whose archives must be the CPU's and whose
/// hashes those that were recorded; and a network with a layer of every type. On the CPU: every step with each set of vector
/// instructions that the processor has, against the plain path, and that against what was recorded, or against formulas. A check that
/// fails keeps no other from being tried, unless the device is lost.
///
/// Exit code 1 if anything differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which device: `auto` (the first GPU, else the CPU), `cpu`, or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Asked,

    /// A few cases of each table: seconds, also under a tool that slows kernels a hundredfold, such as compute-sanitizer
    #[arg(long)]
    quick: bool,

    /// Print JSON when all is done
    #[arg(long)]
    json: bool,

    /// Checks to try, by a part of their names, such as `vary` or `insert_u64` [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Args {
    /// Tries everything, and says what came of it.
    ///
    /// # Errors
    /// [`Error::Refused`] if anything differs or fails; otherwise those of [`selftest::run`].
    pub fn run(self) -> Result<()> {
        let request = Request { device: self.device, quick: self.quick, names: self.names };
        // A line as soon as it is known: a device may not come back from what is next.
        let show = |text: String| if self.json { Ok(()) } else { super::print(&text) };
        let report = selftest::run(&request, &mut |report| show(report.head()), &mut |check| show(check.to_text()))?;
        super::print(&if self.json { super::json(&report)? } else { report.foot() })?;
        if report.passed {
            return Ok(());
        }
        let bad = report.bad();
        let (n, of) = (bad.len(), report.checks.len() + report.not_tried.len());
        let lost = if report.not_tried.is_empty() { "" } else { ", and the device has failed" };
        Err(Error::Refused(format!(
            "selftest on {}: {n} of {of} checks not ok{lost}: {}",
            report.device,
            bad.join(", ")
        )))
    }
}
