//! `checkpoint`: all that a training needs to go on as if it had never stopped.
//!
//! A sealed file: behind its two lines the tensors `parameters` and `velocity`, float32, of each layer that learns the weights, then the
//! biases, in safetensors form, with the rest as JSON in its metadata under `state`.

use crate::archive::ARITHMETIC_VERSION;
use crate::backend::training::Learned;
use crate::error::{Error, Result, one_line};
use crate::experiment::train::{Config, Identity};
use crate::network::Parameters;
use crate::output::tensors::{self, Tensor, Tensors};
use crate::output::{archive_file, rfc3339, sealed};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::SystemTime;

const FIRST_LINE: &[u8] = b"pareidolia training 1\n";

/// The state of a training between two iterations.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingCheckpoint {
    pub state: State,
    /// Weights and velocities, one entry a layer that has weights.
    pub learned: Vec<Learned>,
}

/// A [`TrainingCheckpoint`] but for weights and velocities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub arithmetic_version: u32,
    /// Iterations that are done.
    pub iteration: u32,
    /// Sum of the losses of the iterations since the last line of the metrics, and their number.
    pub loss_sum: f64,
    pub loss_count: u32,
    /// Seconds spent so far, the time between a stop and its continuation left out.
    pub elapsed: f64,
    #[serde(with = "rfc3339")]
    pub started: SystemTime,
    /// What it is trained on and tried on.
    pub training: Identity,
    pub validation: Option<Identity>,
    /// Weights and biases of each layer that learns.
    pub layers: Vec<[usize; 2]>,
    pub config: Config,
}

/// The one entry of a [`State`] that every version has.
#[derive(Deserialize)]
struct Made {
    arithmetic_version: u32,
}

impl TrainingCheckpoint {
    /// Writes the file `path`, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let state = State { arithmetic_version: ARITHMETIC_VERSION, ..self.state.clone() };
        let state = serde_json::to_string(&state).expect("a state has a JSON form");
        let n = self.state.layers.iter().flatten().sum::<usize>();
        let tensor = |name, of: fn(&Learned) -> &Parameters| {
            Tensor::of_pieces::<f32, _, _>(name, vec![n], move || {
                self.learned.iter().flat_map(move |learned| [&of(learned).weight, &of(learned).bias])
            })
        };
        sealed::write(path, FIRST_LINE, |body| {
            let tensors = vec![
                tensor("parameters", |learned| &learned.parameters),
                tensor("velocity", |learned| &learned.velocity),
            ];
            tensors::write(body, tensors, vec![("state", state)])
        })
    }

    /// Reads what [`TrainingCheckpoint::write`] wrote, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if a single bit of it is not as it was written, or
    /// if another version of the arithmetic made it.
    pub fn read(path: &Path) -> Result<TrainingCheckpoint> {
        let mut source = File::open(path).map_err(Error::io("read", path))?;
        let (first_line, begin) = sealed::verify(path, &mut source, "checkpoint")?;
        if first_line != FIRST_LINE {
            let [version, want] = [&first_line, FIRST_LINE].map(String::from_utf8_lossy);
            let reason = format!("the format is {:?}, `train` reads {:?}", version.trim_end(), want.trim_end());
            return Err(Error::file(path, reason));
        }
        Tensors::open(source, begin)
            .and_then(TrainingCheckpoint::parse)
            .map_err(|reason| Error::file(path, format!("not a checkpoint to go on from: {}", one_line(&reason))))
    }

    fn parse(mut body: Tensors<impl Read + Seek>) -> Result<TrainingCheckpoint, String> {
        let metadata = body.metadata();
        let state = metadata.get("state").ok_or("it holds no state")?;
        let invalid = |source: serde_json::Error| format!("its state: {source}");
        // First of all, since with the arithmetic all else may have changed.
        let made: Made = serde_json::from_str(state).map_err(invalid)?;
        archive_file::check_arithmetic(made.arithmetic_version)?;
        let state: State = serde_json::from_str(state).map_err(invalid)?;
        state.config.recipe.check().map_err(|error| error.to_string())?;
        let lens = state.layers.iter().flatten();
        let n = lens.clone().try_fold(0_usize, |sum, &len| sum.checked_add(len)).ok_or("its layers are too large")?;
        let mut read = |name: &str| -> Result<Vec<Parameters>, String> {
            let place = body.place::<f32>(name, &[n])?;
            let mut at = 0;
            let mut piece = |len: usize| {
                at += len;
                body.values::<f32>(place, at - len, len)
            };
            let each = state.layers.iter();
            each.map(|&[weights, biases]| Ok(Parameters { weight: piece(weights)?, bias: piece(biases)? })).collect()
        };
        let (parameters, velocity) = (read("parameters")?, read("velocity")?);
        let learned = parameters.into_iter().zip(velocity);
        let learned = learned.map(|(parameters, velocity)| Learned { parameters, velocity }).collect();
        Ok(TrainingCheckpoint { state, learned })
    }
}
