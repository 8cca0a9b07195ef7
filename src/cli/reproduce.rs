//! `pareidolia reproduce`: the paper's experiments, and what becomes of its claims.

use super::Speed;
use crate::error::Result;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::reproduce::{self, Protocol, ReproduceRequest};
use crate::experiment::train::Place;
use std::path::PathBuf;

/// Which experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Experiments {
    /// Those on MNIST: both encodings, gradient ascent, transfer, retraining
    Mnist,
}

/// Make the paper's experiments again, and see what becomes of its claims
///
/// From nothing but this program and MNIST: runs of both encodings against each network that comes with the program, images by the five
/// settings of gradient ascent, all of them shown to all networks, and networks retrained with fooling images round after round. At the end
/// stands a table: each claim, the paper's figure and how sure it is that the paper says so, ours with its spread, met or not met.
///
/// With the paper's numbers this takes hours on a few cores and minutes on a GPU; what is expected is said first. It can be stopped at any
/// time and goes on with --resume DIR. Each part is a folder that the other commands read: runs of `evolve` and `ascend`, a `transfer`, a
/// `retrain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which experiments
    #[arg(value_enum)]
    experiments: Experiments,

    /// A few runs, generations and iterations of everything, in two minutes on two cores: to see that it works
    #[arg(long, help_heading = "What to do")]
    smoke: bool,

    /// Seed of all random numbers [default: 1]
    #[arg(long, value_name = "N", help_heading = "What to do", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64 - 1_000_000))]
    seed: Option<u64>,

    /// Runs of each encoding against each network, 2 at least [default: 50]
    #[arg(long, value_name = "N", help_heading = "What to do", value_parser = clap::value_parser!(u32).range(2..=4096))]
    runs: Option<u32>,

    /// Networks of the retraining, the first one included, 2 at least [default: 15]
    #[arg(long, value_name = "N", help_heading = "What to do", value_parser = clap::value_parser!(u32).range(2..=99))]
    rounds: Option<u32>,

    /// Folder of MNIST's four IDX files, plain or gzip, or one with a folder `mnist` [default: $PAREIDOLIA_DATA]
    #[arg(long, value_name = "DIR", help_heading = "What to do")]
    data: Option<PathBuf>,

    /// The folder, which must not hold anything else [default: a new one in `runs`]
    #[arg(long, value_name = "DIR", help_heading = "Where it goes")]
    out: Option<PathBuf>,

    /// Go on with the reproduction in this folder: only options of speed go with it, and --data where the digits have moved
    #[arg(long, value_name = "DIR", help_heading = "Where it goes", conflicts_with_all = ["smoke", "seed", "runs", "rounds", "out"])]
    resume: Option<PathBuf>,

    /// Go on with the reproduction in --out if one was begun there, else begin it: for batch jobs
    #[arg(long, requires = "out", help_heading = "Where it goes")]
    resume_or_start: bool,

    /// At the end, print the contents of claims.json instead of a table
    #[arg(long, help_heading = "Where it goes", conflicts_with = "markdown")]
    json: bool,

    /// At the end, print the contents of claims.md instead of a table
    #[arg(long, help_heading = "Where it goes")]
    markdown: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU
    #[arg(long, value_name = "WHERE", default_value = "auto", help_heading = "How it runs")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Reproduces.
    ///
    /// # Errors
    /// Whatever kept it from being finished.
    pub fn run(self, quiet: bool) -> Result<()> {
        let Experiments::Mnist = self.experiments;
        let base = if self.smoke { Protocol::SMOKE } else { Protocol::FULL };
        let protocol = Protocol {
            seed: self.seed.unwrap_or(base.seed),
            runs: self.runs.unwrap_or(base.runs),
            rounds: self.rounds.unwrap_or(base.rounds),
            ..base
        };
        let (place, protocol) = match (self.resume, self.out) {
            (Some(folder), _) => (Place::Resume(folder), None),
            (None, Some(out)) if self.resume_or_start => (Place::ResumeOrStart(out), Some(protocol)),
            (None, Some(out)) => (Place::Create(out), Some(protocol)),
            (None, None) => (Place::Default, Some(protocol)),
        };
        // One that goes on has its own.
        let from_environment = || std::env::var_os("PAREIDOLIA_DATA").map(PathBuf::from);
        let data = if protocol.is_none() { self.data } else { self.data.or_else(from_environment) };
        let (report, folder) = reproduce::run(&ReproduceRequest {
            place,
            protocol,
            data,
            device: self.device,
            simd: self.speed.simd,
            threads: self.speed.threads(),
            progress: if quiet { ProgressMode::None } else { self.progress },
        })?;
        super::print(&match (self.json, self.markdown) {
            (true, _) => super::json(&report)?,
            (_, true) => report.to_markdown(),
            _ => format!("{}{}\n", report.to_text(), folder.display()),
        })
    }
}
