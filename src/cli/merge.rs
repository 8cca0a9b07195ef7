//! `pareidolia merge`: one archive of several.

use super::evolve::run_text;
use super::{Sources, Speed};
use crate::error::Result;
use crate::experiment::device::Asked;
use crate::experiment::merge::{self, MergeRequest};
use crate::network::Combine;
use crate::network::weights::Files;
use crate::output::manifest::MergedRun;
use std::path::PathBuf;

/// Merge archives of the same network: of each class the best elite
///
/// Of equally confident elites that of the run named first wins. The network says once more what it says of each elite, and what was recorded
/// must come out again. The new folder is one that `classify`, `render`, `export`, `transfer` and `evolve --start` read; nothing can be resumed
/// in it.
///
/// Runs of other networks, encodings, canvases or drawing settings (cppn.normalise, cppn.max_weight) are refused. Runs of other classes of the
/// same network go together.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of finished runs, and of series
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Draw no pictures; the archive still holds every image
    #[arg(long)]
    no_pictures: bool,

    /// Print the contents of run.json instead of a summary
    #[arg(long)]
    json: bool,

    /// Where the network runs: `auto`, `cpu`, or `cuda:N` for a GPU; the answer is the same
    #[arg(long, default_value = "auto")]
    device: Asked,

    #[command(flatten)]
    source: Sources,

    /// How several networks judge together, as in the runs
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Networks")]
    combine: Option<Combine>,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Merges.
    ///
    /// # Errors
    /// Whatever is wrong with an archive, or kept the folder from being written.
    pub fn run(self) -> Result<()> {
        let request = MergeRequest {
            inputs: self.runs,
            files: Files::together(self.source.files()?, self.combine)?,
            out: self.out,
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
            pictures: !self.no_pictures,
        };
        let manifest = merge::run(&request)?;
        if self.json {
            return super::print(&manifest.to_json());
        }
        let mut text = String::new();
        for MergedRun { path, classes_won, .. } in &manifest.merged {
            text.push_str(&format!("{classes_won:>5} classes from {}\n", path.display()));
        }
        super::print(&format!("{text}\n{}", run_text(&manifest, &request.out)))
    }
}
