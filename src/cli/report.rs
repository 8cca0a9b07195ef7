//! `pareidolia report`: what runs found, on one page.

use super::Speed;
use crate::error::Result;
use crate::experiment::report::{self, ReportRequest, Written};
use std::path::PathBuf;

/// Write a page on what runs found: one file for any browser
///
/// The page opens from disk and asks the network for nothing. It shows the elites (to be sorted and filtered), how confidences grew, maps of
/// classes by runs and the configuration. A click on an elite opens it: its picture, drawn by the page from the genome as the run drew it, the
/// genome as a graph with each node's own picture, sliders on its weights, and for runs made with `evolve --lineage` its ancestors.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of finished runs, and of series
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,

    /// A folder that `analyse` wrote: its tables, and what each edge of an elite is worth
    #[arg(long, value_name = "DIR")]
    analyses: Option<PathBuf>,

    /// A folder that `transfer` wrote: what other networks say of an elite; may be repeated
    #[arg(long = "transfer", value_name = "DIR")]
    transfers: Vec<PathBuf>,

    /// Show no ancestors, which takes the run's network and some time
    #[arg(long)]
    no_lineage: bool,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Writes it.
    ///
    /// # Errors
    /// Whatever is wrong with a run or a folder, or kept the file from being written.
    pub fn run(self) -> Result<()> {
        let request = ReportRequest {
            runs: self.runs,
            out: self.out,
            force: self.force,
            analyses: self.analyses,
            transfers: self.transfers,
            lineage: !self.no_lineage,
            threads: self.speed.threads(),
            simd: self.speed.simd,
        };
        let Written { runs, elites, bytes } = report::run(&request)?;
        let runs = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
        let megabytes = bytes as f64 / 1e6;
        super::print(&format!("{} ({elites} elites of {runs}, {megabytes:.1} MB)\n", request.out.display()))
    }
}
