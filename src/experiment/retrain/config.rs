//! The configuration of a retraining: presets, and what each key means. It grows in layers, as that of an evolution does: the preset, then a
//! TOML file, then `--set`, then the options.

use crate::error::{Error, Result, one_line};
use crate::experiment::config::{self as evolution, Flavour, Key, Kind, Setting, flatten, refusal};
use crate::experiment::train::{Recipe, Schedule, Settings};
use crate::genome::cppn;
use crate::network::list::List;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use toml::{Table, Value};

/// A protocol of the paper (spec, section 9). Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The paper's, on MNIST: 15 networks; against the first 300 runs of 200 generations and 6000 images, against each later one 60 and 1000
    Mnist,
    /// The same in minutes: 3 networks of 3000 iterations, runs of 50 generations, as many images
    MnistSmall,
    /// The paper's, on a folder of images: 2 networks, 5 runs of 5000 generations, 9000 images
    Imagenet,
}

impl Preset {
    /// The one that `settings` name; `mnist` where they name none.
    ///
    /// # Errors
    /// [`Error::Usage`] for another word.
    pub fn of(settings: &[Setting]) -> Result<Preset> {
        let preset = settings.iter().rev().find(|setting| setting.key == "preset");
        Ok(match preset.map(|setting| setting.accepted(&KEYS[0])).transpose()? {
            Some(word) => Preset::from_str(word.as_str().expect("a word"), false).expect("KEYS lists the names"),
            None => Preset::Mnist,
        })
    }

    /// The network, unless another is named.
    pub fn network(self) -> &'static str {
        if self == Preset::Imagenet { "caffenet" } else { "lenet" }
    }
}

/// Everything that decides a retraining, but for layers, images and a network that is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub preset: Preset,
    /// Network i is trained with seed + i - 1; the seeds of the evolutions begin with it, and go on from network to network.
    pub seed: u64,
    /// Networks, the first one included.
    pub rounds: u32,
    /// Evolutions against the first network, and against each later one.
    pub runs_first: u32,
    pub runs: u32,
    /// Images of a round that the networks after it are trained with: of the first, and of each later one.
    pub images_first: u32,
    pub images: u32,
    /// Name of the class that these images are of.
    pub fooling_class: String,
    /// Of the evolutions, down to the rules of the CPPNs: as in [`evolution::Config`].
    pub flavour: Flavour,
    pub batch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<u32>,
    pub generations: u32,
    pub cppn: cppn::Rules,
    /// Of the trainings.
    pub train: Numbers,
}

/// How each network is trained: as in [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    pub iterations: u32,
    pub batch: u32,
    pub rate: f64,
    pub schedule: Schedule,
    pub gamma: f64,
    pub power: f64,
    pub step_size: u32,
    pub momentum: f64,
    pub decay: f64,
    pub bias_rate: f64,
    pub bias_decay: f64,
    pub dropout: f64,
    pub mirror: bool,
}

impl Numbers {
    fn of(recipe: &Recipe) -> Numbers {
        Numbers {
            iterations: recipe.iterations,
            batch: recipe.batch,
            rate: recipe.base_rate,
            schedule: recipe.schedule,
            gamma: recipe.gamma,
            power: recipe.power,
            step_size: recipe.step_size,
            momentum: recipe.momentum,
            decay: recipe.decay,
            bias_rate: recipe.bias_rate,
            bias_decay: recipe.bias_decay,
            dropout: recipe.dropout,
            mirror: recipe.mirror,
        }
    }
}

/// The recipe of the trainings of `list`, unless told otherwise.
fn usual(list: &List, seed: u64) -> Recipe {
    let name = if list.sha256.is_none() { list.name.as_str() } else { "" };
    Recipe::of(name, list.channel_order.channels() == 3, seed)
}

/// As evolutions have them at most.
const MAX_RUNS: i64 = 4096;
const MAX: i64 = u32::MAX as i64;
/// Far beyond what any training needs.
const MAX_NUMBER: f64 = 1e6;

/// Every key there is.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let own = [
        ("preset", Kind::Word(&["mnist", "mnist-small", "imagenet"]), "the protocol"),
        ("seed", Kind::Whole(0, i64::MAX), "seed of all random numbers"),
        ("rounds", Kind::Whole(1, 999), "networks, the first one included"),
        ("runs_first", Kind::Whole(1, MAX_RUNS), "evolutions against the first network"),
        ("runs", Kind::Whole(1, MAX_RUNS), "evolutions against each later network"),
        ("images_first", Kind::Whole(0, MAX), "images of the first round that later networks are trained with"),
        ("images", Kind::Whole(0, MAX), "the same of each later round"),
        ("fooling_class", Kind::Name, "name of the class of these images"),
        ("train.iterations", Kind::Whole(1, MAX), "updates of the weights of each network"),
        ("train.batch", Kind::Whole(1, 65_535), "images an update"),
        ("train.rate", Kind::Positive(MAX_NUMBER), "learning rate of the first update"),
        ("train.schedule", Kind::Word(&["constant", "inverse", "step", "polynomial"]), "how the rate falls"),
        ("train.gamma", Kind::Number(0.0, MAX_NUMBER), "see `train --schedule`"),
        ("train.power", Kind::Number(0.0, 16.0), "see `train --schedule`"),
        ("train.step_size", Kind::Whole(1, MAX), "see `train --schedule`"),
        ("train.momentum", Kind::Number(0.0, 0.9999), "share of an update that the next one repeats"),
        ("train.decay", Kind::Number(0.0, MAX_NUMBER), "share of a weight that is added to its gradient"),
        ("train.bias_rate", Kind::Number(0.0, MAX_NUMBER), "learning rate of biases, as a multiple"),
        ("train.bias_decay", Kind::Number(0.0, MAX_NUMBER), "decay of biases, as a multiple"),
        ("train.dropout", Kind::Number(0.0, 0.9999), "share of the values of hidden dense layers that is dropped"),
        ("train.mirror", Kind::Switch, "whether images are mirrored at random"),
    ];
    let own = own.into_iter().map(|(name, kind, meaning)| Key { name, kind, meaning });
    let of_evolutions =
        |key: &&Key| ["flavour", "batch", "crops", "generations"].contains(&key.name) || key.name.starts_with("cppn.");
    own.chain(evolution::KEYS.iter().filter(of_evolutions).copied()).collect()
});

impl Config {
    /// The numbers of spec section 9, for networks of `list`. A run on MNIST gives 20 images, so 6000 are those of 300 runs and 1000 those of
    /// 50; against the later networks go 60, so that some of the images are left to try the next network on.
    pub fn preset(preset: Preset, flavour: Flavour, list: &List) -> Config {
        let recipe = usual(list, 1);
        let is_colour = list.channel_order.channels() == 3;
        let of = if is_colour { evolution::Preset::ImagenetCppn } else { evolution::Preset::MnistCppn };
        let evolve = evolution::Config::preset(of, flavour);
        let (rounds, [runs_first, runs], images_first, images, generations, iterations) = match preset {
            Preset::Mnist => (15, [300, 60], 6000, 1000, 200, recipe.iterations),
            Preset::MnistSmall => (3, [300, 60], 6000, 1000, 50, 3000),
            Preset::Imagenet => (2, [5, 5], 9000, 9000, 5000, recipe.iterations),
        };
        Config {
            preset,
            seed: 1,
            rounds,
            runs_first,
            runs,
            images_first,
            images,
            fooling_class: "fooling".to_string(),
            flavour,
            batch: evolve.batch,
            crops: is_colour.then_some(if list.crop == list.image { 1 } else { 10 }),
            generations,
            cppn: evolve.cppn.expect("a preset of CPPNs"),
            train: Numbers { iterations, ..Numbers::of(&recipe) },
        }
    }

    /// The preset that `settings` name, with `settings` applied in order: the last one of a key counts.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the setting's origin, its key, what it got and what it wanted.
    pub fn resolve(settings: &[Setting], list: &List) -> Result<Config> {
        let mut flavour = Flavour::Faithful;
        for setting in settings.iter().filter(|setting| setting.key == "flavour") {
            let word = setting.accepted(setting.known_key(&KEYS)?)?;
            flavour = Flavour::from_str(word.as_str().expect("a word"), false).expect("KEYS lists the names");
        }
        let base = Config::preset(Preset::of(settings)?, flavour, list);
        let mut flat: BTreeMap<String, Value> = flatten(base.table()?).collect();
        let mut origins = BTreeMap::new();
        for setting in settings {
            let key = setting.known_key(&KEYS)?;
            if !flat.contains_key(key.name) {
                let text = format!("{}: {} is for networks that see colour", setting.origin, key.name);
                return Err(Error::Usage(format!("{text}, {} sees grey", list.name)));
            }
            flat.insert(key.name.to_string(), setting.accepted(key)?);
            origins.insert(key.name, setting.origin.as_str());
        }
        let mut table = Table::new();
        for (key, value) in flat {
            match key.split_once('.') {
                Some((group, key)) => {
                    let group = table.entry(group).or_insert_with(|| Value::Table(Table::new()));
                    group.as_table_mut().expect("no key is named as a group").insert(key.to_string(), value);
                }
                None => drop(table.insert(key, value)),
            }
        }
        let config: Config =
            table.try_into().map_err(|error: toml::de::Error| Error::Usage(one_line(error.message())))?;
        let refused = |key: &'static str, got: u64, wanted: &str| {
            Err(refusal(origins.get(key).unwrap_or(&"configuration"), key, &got.to_string(), wanted))
        };
        for (key, got) in [("images_first", config.images_first), ("images", config.images)] {
            if got == 0 {
                return refused(key, 0, "1 or more: a fooling class without images cannot be learned");
            }
        }
        if config.last_seed().is_none_or(|last| last > i64::MAX as u64) {
            return refused("seed", config.seed, &format!("one whose rounds need none above {}", i64::MAX));
        }
        config.evolution(1, 2).check()?;
        config.recipe(list, 1).check()?;
        Ok(config)
    }

    /// The largest seed that is used.
    fn last_seed(&self) -> Option<u64> {
        self.seed.checked_add(u64::from(self.runs_first) + u64::from(self.rounds) * u64::from(self.runs))
    }

    /// Of the network of `round`, from 1.
    pub fn training_seed(&self, round: u32) -> u64 {
        self.seed + u64::from(round - 1)
    }

    /// The first of those of the evolutions of `round`.
    pub fn evolution_seed(&self, round: u32) -> u64 {
        let later = |rounds: u32| self.seed + u64::from(self.runs_first) + u64::from(rounds) * u64::from(self.runs);
        round.checked_sub(2).map_or(self.seed, later)
    }

    /// Evolutions of `round`.
    pub fn runs(&self, round: u32) -> u32 {
        if round == 1 { self.runs_first } else { self.runs }
    }

    /// Images of `round` that networks are trained with.
    pub fn sampled(&self, round: u32) -> u32 {
        if round == 1 { self.images_first } else { self.images }
    }

    /// The evolutions of `round`: that of the first seed, for all of `n_classes`.
    pub fn evolution(&self, round: u32, n_classes: u32) -> evolution::Config {
        let is_colour = self.crops.is_some();
        let preset = if is_colour { evolution::Preset::ImagenetCppn } else { evolution::Preset::MnistCppn };
        evolution::Config {
            seed: self.evolution_seed(round),
            batch: self.batch,
            classes: (0..n_classes).collect(),
            crops: self.crops,
            generations: self.generations,
            cppn: Some(self.cppn.clone()),
            ..evolution::Config::preset(preset, self.flavour)
        }
    }

    /// How the network of `round`, of `list`, is trained.
    pub fn recipe(&self, list: &List, round: u32) -> Recipe {
        let seed = self.training_seed(round);
        let Numbers { iterations, batch, rate, schedule, gamma, power, step_size, momentum, decay, .. } = self.train;
        let Numbers { bias_rate, bias_decay, dropout, mirror, .. } = self.train;
        let settings = Settings {
            seed: Some(seed),
            iterations: Some(iterations),
            batch: Some(batch),
            rate: Some(rate),
            schedule: Some(schedule),
            gamma: Some(gamma),
            power: Some(power),
            step_size: Some(step_size),
            momentum: Some(momentum),
            decay: Some(decay),
            bias_rate: Some(bias_rate),
            bias_decay: Some(bias_decay),
            dropout: Some(dropout),
            mirror: Some(mirror),
            ..Settings::default()
        };
        settings.apply(usual(list, seed))
    }

    /// The settings of the TOML file `path`.
    ///
    /// # Errors
    /// As [`Setting::read_file`].
    pub fn read_file(path: &Path) -> Result<Vec<Setting>> {
        Setting::read_file_of(path, &KEYS)
    }

    /// The configuration as a TOML file that [`Config::read_file`] takes.
    ///
    /// # Errors
    /// None for one that was resolved.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Usage(format!("configuration: {error}")))
    }

    fn table(&self) -> Result<Table> {
        Table::try_from(self).map_err(|error| Error::Usage(format!("configuration: {}", one_line(&error.to_string()))))
    }

    /// The first key whose value is another in `other`, but for the number of rounds: its name, the value here and that in `other`.
    pub fn difference(&self, other: &Config) -> Option<(String, String, String)> {
        let entries = |config: &Config| -> BTreeMap<String, Value> {
            flatten(config.table().expect("a configuration that was resolved")).collect()
        };
        let (here, there) = (entries(self), entries(other));
        let text = |value: Option<&Value>| value.map_or("none".to_string(), Value::to_string);
        let keys: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differs = |key: &&&String| key.as_str() != "rounds" && here.get(**key) != there.get(**key);
        let key = keys.iter().find(differs)?;
        Some((key.to_string(), text(here.get(*key)), text(there.get(*key))))
    }
}
