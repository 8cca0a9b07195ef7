//! What decides a training, and what a call says of it.

use super::data::{Data, Identity, View};
use super::folder::Broken;
use super::recipe::{Recipe, Schedule};
use crate::error::{Error, Result};
use crate::network::list::List;
use crate::network::weights::read_bounded;
use crate::network::{Network, Preprocess, Shape};
use crate::output::training::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The longest layer list, and file of class names.
const MAX_TEXT: u64 = 1 << 20;

/// A training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The layer list: the name of one that the program has, or the path of a file.
    pub network: String,
    /// That file's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<String>,
    /// Where the images are, to train on and to be tried on.
    pub data: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Names of the classes.
    pub classes: Vec<String>,
    pub broken: Broken,
    /// Iterations from one line of the metrics to the next, from one trial on the validation images to the next, and from one checkpoint
    /// to the next.
    pub log_every: u32,
    pub validate_every: u32,
    pub checkpoint_every: u32,
    pub recipe: Recipe,
    /// Outputs of the network, where that is not what the layer list says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<usize>,
    /// Images of the last of `classes`, beside those of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<AddedImages>,
}

/// Images that a retraining adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedImages {
    /// How many.
    pub images: usize,
    /// Of each of the files that hold them.
    pub sha256: Vec<String>,
}

/// What a call says of a training; what it does not say is as the recipe has it, or the training that goes on.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub network: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub validation: Option<PathBuf>,
    pub class_names: Option<PathBuf>,
    pub broken: Option<Broken>,
    pub log_every: Option<u32>,
    pub validate_every: Option<u32>,
    pub checkpoint_every: Option<u32>,
    pub seed: Option<u64>,
    pub iterations: Option<u32>,
    pub batch: Option<u32>,
    pub rate: Option<f64>,
    pub schedule: Option<Schedule>,
    pub gamma: Option<f64>,
    pub power: Option<f64>,
    pub step_size: Option<u32>,
    pub momentum: Option<f64>,
    pub decay: Option<f64>,
    pub bias_rate: Option<f64>,
    pub bias_decay: Option<f64>,
    pub dropout: Option<f64>,
    pub mirror: Option<bool>,
}

impl Settings {
    /// `recipe` with what the call says.
    pub(in crate::experiment) fn apply(&self, recipe: Recipe) -> Recipe {
        Recipe {
            seed: self.seed.unwrap_or(recipe.seed),
            iterations: self.iterations.unwrap_or(recipe.iterations),
            batch: self.batch.unwrap_or(recipe.batch),
            base_rate: self.rate.unwrap_or(recipe.base_rate),
            schedule: self.schedule.unwrap_or(recipe.schedule),
            gamma: self.gamma.unwrap_or(recipe.gamma),
            power: self.power.unwrap_or(recipe.power),
            step_size: self.step_size.unwrap_or(recipe.step_size),
            momentum: self.momentum.unwrap_or(recipe.momentum),
            decay: self.decay.unwrap_or(recipe.decay),
            bias_rate: self.bias_rate.unwrap_or(recipe.bias_rate),
            bias_decay: self.bias_decay.unwrap_or(recipe.bias_decay),
            fillers: recipe.fillers,
            dropout: self.dropout.unwrap_or(recipe.dropout),
            drops: recipe.drops,
            mirror: self.mirror.unwrap_or(recipe.mirror),
        }
    }
}

impl Config {
    /// A training of `network` on MNIST by `recipe`.
    pub fn mnist(network: &str, recipe: Recipe) -> Config {
        Config {
            network: network.to_string(),
            layers: None,
            data: PathBuf::new(),
            validation: None,
            classes: (0..10).map(|digit| digit.to_string()).collect(),
            broken: Broken::Refuse,
            log_every: 100,
            validate_every: 1000,
            checkpoint_every: 1000,
            recipe,
            outputs: None,
            added: None,
        }
    }

    /// The training that a call asks for, and its images; where one goes on from the state `before`, that one.
    ///
    /// # Errors
    /// What is wrong with the call, its files and its images; [`Error::Refused`] with the difference if they are not those of `before`.
    pub fn resolve(settings: &Settings, before: Option<&State>) -> Result<(Config, Data)> {
        let absolute = |path: &PathBuf| std::path::absolute(path).map_err(Error::io("find", path));
        let or =
            |given: &Option<PathBuf>, before: Option<&PathBuf>| given.as_ref().or(before).map(absolute).transpose();
        let old = before.map(|state| &state.config);
        let (network, layers) = match (&settings.network, old) {
            (Some(what), _) => source(what)?,
            (None, Some(old)) => (old.network.clone(), old.layers.clone()),
            (None, None) => return Err(Error::Usage("which network? A layer list's name, or FILE.toml".to_string())),
        };
        let list = list(&network, layers.as_deref())?;
        let default = match old {
            Some(old) => old.recipe.clone(),
            None => {
                let name = if layers.is_none() { list.name.as_str() } else { "" };
                Recipe::of(name, list.channel_order.channels() == 3, 1)
            }
        };
        let recipe = settings.apply(default);
        recipe.check()?;
        let Some(data) = or(&settings.data, old.map(|old| &old.data))? else {
            return Err(Error::Usage(
                "where are the images? --data DIR, or for MNIST the environment variable PAREIDOLIA_DATA, names a folder with a \
                 folder a class (CLASS/IMAGE.jpg), or that of train-images-idx3-ubyte, train-labels-idx1-ubyte, \
                 t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz)"
                    .to_string(),
            ));
        };
        let validation = or(&settings.validation, old.and_then(|old| old.validation.as_ref()))?;
        let config = Config {
            network,
            layers,
            data,
            validation,
            classes: Vec::new(),
            broken: settings.broken.or(old.map(|old| old.broken)).unwrap_or_default(),
            log_every: settings.log_every.or(old.map(|old| old.log_every)).unwrap_or(100),
            validate_every: settings.validate_every.or(old.map(|old| old.validate_every)).unwrap_or(1000),
            checkpoint_every: settings.checkpoint_every.or(old.map(|old| old.checkpoint_every)).unwrap_or(1000),
            recipe,
            outputs: None,
            added: None,
        };
        if let Some(state) = before {
            config.check_settings(state)?;
        }
        let names = settings.class_names.as_deref().map(class_names).transpose()?;
        // Classes in the order of a file stay so.
        let names = names.or_else(|| old.map(|old| old.classes.clone()).filter(|classes| !classes.is_sorted()));
        let data = Data::load(&config.data, config.validation.as_deref(), names.as_deref(), config.broken)?;
        let config = Config { classes: data.classes.clone(), ..config };
        if let Some(state) = before {
            config.check_data(state, &data)?;
        }
        Ok((config, data))
    }

    /// The layer list.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is none that this program has or can read.
    pub fn list(&self) -> Result<List> {
        list(&self.network, self.layers.as_deref())
    }

    /// The network with its initial weights, and how it comes by its images.
    ///
    /// # Errors
    /// If it cannot be trained on `data`.
    pub fn network(&self, data: &Data) -> Result<(Network, View)> {
        let list = self.list()?;
        let n_outputs = match self.outputs {
            Some(n) => data.check_size(&list).map(|()| n)?,
            None => data.n_outputs(&list)?,
        };
        let (input, layers) = (list.input(), list.layers(n_outputs));
        crate::network::shapes(input, &layers).map_err(Error::Usage)?;
        let parameters = self.recipe.initial_parameters(input, &layers);
        let plane = input.height * input.width;
        let mean = list.mean.iter().flat_map(|&mean| std::iter::repeat_n(mean, plane)).collect();
        let preprocess = Preprocess { scale: list.scale, mean, channel_order: list.channel_order };
        let classes =
            data.classes.iter().cloned().chain((data.classes.len()..n_outputs).map(|class| class.to_string()));
        let network = Network::new(&list.name, input, preprocess, layers, parameters, classes.collect())?;
        let image = Shape { height: list.image, width: list.image, ..input };
        Ok((Network { image, ..network }, View::of(&list)))
    }

    /// Fails where this training of `data` is not that of `state`, but for what may change.
    ///
    /// # Errors
    /// [`Error::Refused`] with the difference.
    pub(super) fn check(&self, state: &State, data: &Data) -> Result<()> {
        self.check_settings(state)?;
        self.check_data(state, data)
    }

    /// Fails where this is not the training of `state`, but for what may change: how long it is and what it tells.
    fn check_settings(&self, state: &State) -> Result<()> {
        let old = &state.config;
        if self.network != old.network && (self.layers.is_none() || old.layers.is_none()) {
            return Err(refused("the network", &old.network, &self.network));
        }
        if self.layers != old.layers {
            let text = |config: &Config| {
                config.layers.as_ref().map_or("none".to_string(), |text| format!("SHA-256 {}", sha256(text)))
            };
            return Err(refused("the layer list", &text(old), &text(self)));
        }
        let entries = |recipe: &Recipe| match serde_json::to_value(recipe).expect("a recipe has a JSON form") {
            serde_json::Value::Object(map) => map,
            _ => unreachable!("a struct is a JSON object"),
        };
        for ((key, there), (_, here)) in entries(&old.recipe).iter().zip(&entries(&self.recipe)) {
            // What was done so far is the same for any number of iterations, unless the rate falls by it.
            let is_free = key == "iterations" && self.recipe.schedule != Schedule::Polynomial;
            if there != here && !is_free {
                return Err(refused(&key.replace('_', " "), &there.to_string(), &here.to_string()));
            }
        }
        if self.broken != old.broken {
            let text = |broken: Broken| format!("{broken:?}").to_lowercase();
            return Err(refused("what is done with broken files", &text(old.broken), &text(self.broken)));
        }
        if self.recipe.iterations < state.iteration {
            let text = format!("--iterations {}: {} are done already", self.recipe.iterations, state.iteration);
            return Err(Error::Refused(text));
        }
        Ok(())
    }

    /// Fails where `data` are not those of `state`.
    fn check_data(&self, state: &State, data: &Data) -> Result<()> {
        let text = |identity: Option<&Identity>| match identity {
            Some(Identity { images, sha256 }) => format!("{images} images, SHA-256 {sha256},"),
            None => "none".to_string(),
        };
        let validation = data.validation.as_ref().map(|set| set.identity());
        if state.training != data.training.identity() {
            let here = data.training.identity();
            return Err(refused("what it is trained on", &text(Some(&state.training)), &text(Some(&here))));
        }
        if state.validation != validation {
            let (there, here) = (text(state.validation.as_ref()), text(validation.as_ref()));
            return Err(refused("what it is tried on", &there, &here));
        }
        if state.config.classes != self.classes {
            let text = |classes: &[String]| format!("{:?}", classes.join(", "));
            return Err(refused("the order of the classes", &text(&state.config.classes), &text(&self.classes)));
        }
        Ok(())
    }
}

fn refused(what: &str, there: &str, here: &str) -> Error {
    Error::Refused(format!(
        "the checkpoint is of another training: {what} is {there} there and {here} here; continue with what it has, or start a new \
         training in another folder"
    ))
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Name and text of the list that `what` names: a name alone of one that the program has.
pub(in crate::experiment) fn source(what: &Path) -> Result<(String, Option<String>)> {
    let list = List::find(what)?;
    if list.sha256.is_none() {
        return Ok((list.name, None));
    }
    let text = String::from_utf8(read_bounded(what, MAX_TEXT)?).map_err(|_| Error::file(what, "not a text"))?;
    Ok((what.display().to_string(), Some(text)))
}

/// The list that [`source`] named.
pub(in crate::experiment) fn list(name: &str, text: Option<&str>) -> Result<List> {
    let broken = |reason: String| Error::Refused(format!("the layer list {name}: {reason}"));
    match text {
        None => List::built_in(name).ok_or_else(|| broken("this program has none of that name".to_string())),
        Some(text) => List::of_user(text).map_err(broken),
    }
}

/// The names of the classes in the file `path`, one a line.
pub(in crate::experiment) fn class_names(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8(read_bounded(path, MAX_TEXT)?)
        .map_err(|_| Error::file(path, "not a text: wanted a class name a line"))?;
    let names: Vec<String> = text.lines().map(|name| name.trim().to_string()).collect();
    let mut seen = HashSet::new();
    for (line, name) in names.iter().enumerate() {
        if name.is_empty() || !seen.insert(name) {
            let reason = if name.is_empty() { "is empty" } else { "has a name that was there before" };
            return Err(Error::file(path, format!("line {} {reason}: wanted a class name a line", line + 1)));
        }
    }
    Ok(names)
}
