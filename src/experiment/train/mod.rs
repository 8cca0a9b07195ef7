//! Training a network: the weights are a function of layers, data and recipe, in every bit.
//!
//! What a step computes is written in [`crate::network::gradient`] and [`crate::backend::training`]; here are the recipe
//! ([`recipe`]), the images ([`data`], [`folder`], [`feed`]) with their order ([`order`]), and the training itself (`job`). All random
//! numbers come from [`crate::rng`].

pub mod config;
pub mod data;
mod device;
pub mod feed;
pub mod folder;
mod job;
mod notes;
pub mod order;
pub mod recipe;

pub use config::{AddedImages, Config, Settings};
pub use data::{Data, Identity};
pub use folder::Broken;
pub use order::Order;
pub use recipe::{Fillers, Recipe, Schedule};

use super::device::Asked;
use super::evolve::Signals;
use super::progress::ProgressMode;
use crate::dataset::Mnist;
use crate::error::{Error, Result};
use crate::network::{Layer, Network, Parameters, Shape, lenet};
use crate::output::training::{self, TrainingFolder};
use crate::simd::Simd;
use job::Job;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the training's folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A new folder in `runs/`, named after network and seed.
    Default,
    /// A new one.
    Create(PathBuf),
    /// That of a training that was begun, or its checkpoint.
    Resume(PathBuf),
    /// The first of the two that can be.
    ResumeOrStart(PathBuf),
}

/// What to train, on what, and where the weights go.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    pub settings: Settings,
    pub place: Place,
    /// A weights file beside that of the folder; it must not exist.
    pub out: Option<PathBuf>,
    pub device: Asked,
    pub simd: Simd,
    pub progress: ProgressMode,
}

/// A finished training.
#[derive(Clone, Debug)]
pub struct Trained {
    pub network: Arc<Network>,
    /// Validation images that it takes for what they are, out of `of`; 0 of 0 where there are none.
    pub correct: usize,
    pub of: usize,
    /// Images that this call trained on, and the time that took, with what was tried and saved meanwhile, without the reading of the data.
    pub images: u64,
    pub time: Duration,
    /// Iterations in all, and images an iteration.
    pub iterations: u32,
    pub batch: u32,
    /// Files of images that could not be used.
    pub skipped: usize,
    /// Where it is kept.
    pub folder: Option<PathBuf>,
}

/// Trains what `request` asks for, on rayon's current pool.
///
/// # Errors
/// [`Error::Stopped`] after SIGINT or SIGTERM, with the state saved; if the data cannot be read or are others than before, the folder or
/// the weights not be written (asked before the training begins) or are there already, the batch is larger than the data or than memory
/// holds, or the training diverges.
pub fn run(request: &TrainRequest) -> Result<Trained> {
    let signals = Signals::catch()?;
    request.out.as_deref().map_or(Ok(()), check_out)?;
    let begun = match &request.place {
        Place::Resume(path) => Some(TrainingFolder::open(path)?),
        Place::ResumeOrStart(path) if training::has_checkpoint(path) => Some(TrainingFolder::open(path)?),
        _ => None,
    };
    let checkpoint = begun.as_ref().map(TrainingFolder::read_checkpoint).transpose()?;
    let (config, data) = Config::resolve(&request.settings, checkpoint.as_ref().map(|checkpoint| &checkpoint.state))?;
    let mut job = Job::new(config, data, request.device, request.simd)?;
    if let Some(checkpoint) = checkpoint {
        job.restore(checkpoint)?;
    }
    let folder = match (begun, &request.place) {
        (Some(folder), _) => folder,
        (None, Place::Create(path) | Place::Resume(path) | Place::ResumeOrStart(path)) => TrainingFolder::create(path)?,
        (None, Place::Default) => {
            let name = format!("{}-seed{}", job.network().name, job.config().recipe.seed);
            TrainingFolder::create_numbered(&Path::new("runs").join(name))?
        }
    };
    job.keep_in(folder)?;
    let trained = job.train(request.progress, Some(&signals))?;
    if let Some(out) = &request.out {
        trained.network.save(out, &job.notes(&trained))?;
    }
    Ok(trained)
}

/// The training of `config` on `data` in the folder `path`: begun, or gone on with where it was. On rayon's current pool.
///
/// # Errors
/// As [`run`]; [`Error::Refused`] with the difference if another training was begun there.
pub(super) fn run_in(
    path: &Path,
    config: Config,
    data: Data,
    (device, simd, progress): (Asked, Simd, ProgressMode),
    signals: &Signals,
) -> Result<Trained> {
    let begun = training::has_checkpoint(path).then(|| TrainingFolder::open(path)).transpose()?;
    let checkpoint = begun.as_ref().map(TrainingFolder::read_checkpoint).transpose()?;
    if let Some(checkpoint) = &checkpoint {
        config.check(&checkpoint.state, &data)?;
    }
    let mut job = Job::new(config, data, device, simd)?;
    if let Some(checkpoint) = checkpoint {
        job.restore(checkpoint)?;
    }
    job.keep_in(begun.map_or_else(|| TrainingFolder::create(path), Ok)?)?;
    job.train(progress, Some(signals))
}

/// Trains LeNet by `recipe` on `training`, counts what it gets right of `test`, and keeps nothing on the disk.
///
/// # Errors
/// As [`run`], but for files.
pub fn train(recipe: &Recipe, training: &Mnist, test: &Mnist, simd: Simd, progress: ProgressMode) -> Result<Trained> {
    let config = Config::mnist(lenet::NAME, recipe.clone());
    Job::new(config, Data::digits(training.clone(), test.clone()), Asked::Cpu, simd)?.train(progress, None)
}

/// Initial parameters of `layers` as of LeNet: see [`Fillers::Xavier`].
///
/// # Panics
/// If the layers do not fit together.
pub fn initial_parameters(input: Shape, layers: &[Layer], seed: u64) -> Vec<Parameters> {
    Recipe::lenet(seed).initial_parameters(input, layers)
}

/// Fails where the weights could not be written when they are there.
fn check_out(out: &Path) -> Result<()> {
    if out.exists() {
        return Err(Error::Refused(format!("{} is there already; --out names another file", out.display())));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop).map_err(Error::io("create a file in", folder))
}

/// `99.13 %`
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64)
}
