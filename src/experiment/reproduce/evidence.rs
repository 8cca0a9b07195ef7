//! What the parts of a reproduction came to, read from their folders.

use super::{ENCODINGS, Job, RETRAIN, SETTINGS, TRANSFER, ascent_name, series_name};
use crate::error::Result;
use crate::experiment::ascend::config::Preset as Setting;
use crate::experiment::config::Preset;
use crate::experiment::device::Chosen;
use crate::experiment::retrain::Manifest as Retraining;
use crate::experiment::train::data::{Score, View};
use crate::experiment::transfer::matrix::Matrix;
use crate::genome::Canvas;
use crate::network::shipped::SHIPPED;
use crate::output::ascent::AscentManifest;
use crate::output::retrain::read_json;
use crate::output::{Manifest, metrics, series};
use std::path::Path;
use std::sync::Arc;

/// A run of an evolution.
pub struct RunEvidence {
    /// Median confidence, and classes at .9999, by generation.
    pub median: Vec<f64>,
    pub over_9999: Vec<usize>,
}

/// All that claims are held against.
pub struct Evidence {
    /// Of each network that comes with the program: its name, and the test digits that it takes for others, of how many.
    pub errors: Vec<(&'static str, usize, usize)>,
    /// Against the first network, of each encoding.
    pub cppn: Vec<RunEvidence>,
    pub direct: Vec<RunEvidence>,
    pub ascents: Vec<(Setting, AscentManifest)>,
    pub matrix: Matrix,
    pub retraining: Retraining,
    /// Of each network of the retraining, the median confidence of each run against it.
    pub medians: Vec<Vec<f64>>,
    /// Images of a class in the digits that are trained on, on average.
    pub digits: usize,
}

impl Evidence {
    /// Reads what `job` has made.
    ///
    /// # Errors
    /// If a file cannot be read, or a network not be tried.
    pub fn gather(job: &Job) -> Result<Evidence> {
        let mut errors = Vec::new();
        let tests = job.data.validation.as_ref().expect("MNIST has test digits");
        for (shipped, files) in SHIPPED.iter().zip(&job.networks) {
            let network = Arc::new(files.load()?);
            let device = Chosen::choose(job.request.device, &network)?;
            let canvas = Canvas::of(&network);
            let score = Score::of(&network, tests, View { shown: canvas, seen: canvas }, &device, job.request.simd)?;
            errors.push((shipped.name, score.of - score.correct, score.of));
        }
        let runs = |encoding: Preset| {
            let folder = job.folder.part(&series_name(encoding, SHIPPED[0].name))?;
            series::runs(&folder)?.iter().map(|run| run_evidence(run)).collect::<Result<Vec<_>>>()
        };
        let [cppn, direct] = ENCODINGS.map(runs);
        let ascent = |setting| {
            let manifest = job.folder.part(&ascent_name(setting))?.join("run.json");
            Ok((setting, AscentManifest::read(&manifest)?))
        };
        let ascents = SETTINGS.into_iter().map(ascent).collect::<Result<_>>()?;
        let matrix = read_json(&job.folder.part(TRANSFER)?.join("matrix.json"), "the matrix of a transfer")?;
        let folder = job.folder.part(RETRAIN)?;
        let retraining: Retraining = read_json(&folder.join("run.json"), "the manifest of a retraining")?;
        let medians = retraining.rounds.iter().map(|round| {
            let runs = series::runs(&folder.join(format!("dnn-{:02}/evolution", round.round)))?;
            let median = |run: &std::path::PathBuf| Ok(Manifest::read(&run.join("run.json"))?.statistics.median);
            runs.iter().map(median).collect::<Result<Vec<f64>>>()
        });
        let medians = medians.collect::<Result<_>>()?;
        let digits = job.data.training.n_images() / job.data.classes.len();
        Ok(Evidence { errors, cppn: cppn?, direct: direct?, ascents, matrix, retraining, medians, digits })
    }
}

/// What the run in the folder `run` came to, generation by generation.
fn run_evidence(run: &Path) -> Result<RunEvidence> {
    let (mut median, mut over_9999) = (Vec::new(), Vec::new());
    metrics::read(&run.join("metrics.jsonl"), |line| {
        median.push(line.median);
        over_9999.push(line.over_9999);
    })?;
    Ok(RunEvidence { median, over_9999 })
}
