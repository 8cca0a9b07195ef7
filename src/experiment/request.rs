//! What the command line asks of an evolution run.

use super::config::{Config, Setting};
use super::device::Asked;
use super::progress::ProgressMode;
use super::start::Start;
use crate::error::Result;
use crate::network::weights::Files;
use crate::output::series;
use crate::simd::Simd;
use std::path::PathBuf;

/// One call of `evolve`, checked. Only `config`, `files` and `start` decide the result; the rest decides where it
/// goes, how far, how fast and what is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct EvolveRequest {
    /// The configuration of a new run. [`OutChoice::Resume`] takes the checkpoint's instead.
    pub config: Config,
    /// How many runs, at least 1: of the seed of `config` and of those after it. More than one are a series.
    pub runs: u32,
    /// The network; what is `None` here, a resumed run may name.
    pub files: Files,
    /// The genomes that new runs start from; `config` says which.
    pub start: Option<Start>,
    pub out: OutChoice,
    pub device: Asked,
    /// What stops a run resumed with [`OutChoice::Resume`]. A run that [`OutChoice::ResumeOrStart`] finds goes on to the
    /// stop rules of `config`.
    pub stop: StopOverrides,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    /// Candidates worked on at once, even; `None` leaves it to the backend.
    pub chunk: Option<u32>,
    pub progress: ProgressMode,
    /// Whether to draw the elites, the contact sheet and the convergence plot.
    pub pictures: bool,
    /// A folder for event files, which TensorBoard shows; of a series, for a folder of each run.
    pub tensorboard: Option<PathBuf>,
    /// Whether runs that are begun keep their lineage. One that goes on keeps it if it did, and cannot begin to.
    pub lineage: bool,
}

/// Where a run lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutChoice {
    /// A new folder with a name of its own.
    Default,
    /// A new folder with this name.
    Create(PathBuf),
    /// The run in this folder, continued.
    Resume(PathBuf),
    /// The run in this folder, continued if it is there and started if it is not.
    ResumeOrStart(PathBuf),
}

impl OutChoice {
    /// The folder of the run of `seed`, one of a series or not; `None` for a new one that is yet to get a name.
    pub(super) fn run(&self, seed: u64, is_series: bool) -> Option<PathBuf> {
        match self {
            OutChoice::Default => None,
            OutChoice::Create(path) | OutChoice::Resume(path) | OutChoice::ResumeOrStart(path) => {
                Some(if is_series { path.join(series::run_name(seed)) } else { path.clone() })
            }
        }
    }
}

/// Stop rules given along with `--resume`. If there is any, they replace all stop rules of the run, so that a run which
/// one rule has stopped can go on to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StopOverrides {
    pub generations: Option<u32>,
    pub evaluations: Option<u64>,
    /// Seconds.
    pub time: Option<f64>,
    pub target: Option<f64>,
}

impl StopOverrides {
    /// The rules that `settings` give; the last of each counts.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) for a value out of range.
    pub fn from_settings(settings: &[Setting]) -> Result<StopOverrides> {
        let config = Config::resolve(settings)?;
        let given = |key| settings.iter().any(|setting| setting.key == key);
        Ok(StopOverrides {
            generations: given("generations").then_some(config.generations),
            evaluations: given("evaluations").then_some(config.evaluations),
            time: given("time").then_some(config.time),
            target: given("target").then_some(config.target),
        })
    }

    /// Whether the run keeps its own stop rules.
    pub fn is_empty(&self) -> bool {
        *self == StopOverrides::default()
    }

    /// Replaces the stop rules of `config`, unless there is nothing to replace them with.
    pub fn apply(&self, config: &mut Config) {
        if self.is_empty() {
            return;
        }
        config.evaluations = self.evaluations.unwrap_or(0);
        config.time = self.time.unwrap_or(0.0);
        config.target = self.target.unwrap_or(0.0);
        config.generations = self.generations.unwrap_or_else(|| config.implied_generations());
    }
}
