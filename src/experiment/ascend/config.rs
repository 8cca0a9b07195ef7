//! The configuration of a gradient ascent: the paper's settings, and what each key means. It grows in layers, as that of an evolution
//! does: the setting, then a TOML file, then the options.

use crate::backend::ascent::{AscentRule, CppnRule};
use crate::error::{Error, Result, one_line};
use crate::experiment::config::{Key, Kind, Setting, name_of, parse_classes, refusal};
use crate::network::Network;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The numbers of a climb, as the paper's program has or found them (spec 10.3). Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What the paper's program does unless told otherwise: 1 % of the image fades each step, 300 steps
    Default,
    /// No regularisation (the paper's setting -1; also `none`)
    #[value(alias = "none")]
    Plain,
    /// The same fading, slow near certainty, 1500 steps (the paper's search seed 169)
    #[value(alias = "169")]
    Fade,
    /// A blur every other step (the paper's search seed 188)
    #[value(alias = "188")]
    Blur,
    /// A slight blur, and each step a fifth of the pixels to zero, twice (the paper's search seed 360)
    #[value(alias = "360")]
    Sparse,
    /// Not pixels climb but the weights of CPPNs, which draw the images
    Cppn,
}

/// Where images start. Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The mean image and normal noise, of standard deviation 1 of 255
    MeanPlus,
    /// Uniform noise from 0 to 255
    Randu,
    /// The mean image
    Zero,
}

/// Everything that decides an ascent, but for the network's weights. What is for pixels alone has no value in the preset `cppn`, and what is
/// for CPPNs alone in no other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub preset: Preset,
    /// The classes to climb to, ascending; empty for [`Config::classes_of`] the network.
    pub classes: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// The run whose elites CPPNs start from; `None` for random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Nodes that random CPPNs are given, and the share of the range of weights that theirs are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// Parts of an image that are judged, 1 or 10; `None` for what the run judged, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<u32>,
    /// Seed of the first image of each class, and how many seeds, this one and those after it, each class has.
    pub seed: u64,
    pub seeds: u32,
    /// Steps; the last one only looks.
    pub iterations: u32,
    /// As in [`AscentRule`], and in [`CppnRule`], down to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    pub early: f64,
    pub late: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blur_radius: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blur_every: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small_norm: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benefit: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abs_benefit: Option<f64>,
}

/// The classes of ImageNet that the paper's supplement shows (spec 10.3).
pub const PAPER_CLASSES: [u32; 20] =
    [200, 207, 215, 279, 366, 367, 390, 414, 445, 500, 509, 580, 643, 657, 704, 713, 782, 805, 826, 906];

/// What CPPNs start with and how far they go at once, unless told otherwise. Against LeNet, ten digits from four seeds each: of 20 to 60
/// nodes and a tenth to all of the range these brought most digits to .9999; with larger weights or many more nodes functions are too
/// rugged to climb, with smaller ones too flat. Steps of .05 to .3 made little difference.
const GROWTH: u32 = 40;
const SPREAD: f64 = 0.2;
const MAX_STEP_OF_PRESET: f64 = 0.1;

/// Far more steps than any image needs.
const MAX_ITERATIONS: i64 = 1_000_000;
/// As many as evolutions in a series.
const MAX_SEEDS: i64 = 4096;
/// A step is at most the root of the largest rate times what it aims at, at most 1: with this rate pixels stay finite, and their squares.
const MAX_RATE: f64 = 1e36;
/// Each node takes two edges, and a CPPN has room for 512, 12 of them there from the start.
const MAX_GROWTH: i64 = 240;
/// A graph of as many edges as there may be has no longer diagonal.
const MAX_STEP: f64 = 32.0;
/// Wider than any image that a network sees is sharp.
const MAX_RADIUS: f64 = 100.0;

/// Every key there is; each but the first is an option of the command line, with `-` for `_`.
pub const KEYS: &[Key] = &[
    Key {
        name: "preset",
        kind: Kind::Word(&["default", "plain", "fade", "blur", "sparse", "cppn"]),
        meaning: "the numbers to start from",
    },
    Key { name: "classes", kind: Kind::Classes, meaning: "classes to climb to; none for the network's own" },
    Key { name: "start", kind: Kind::Word(&["mean-plus", "randu", "zero"]), meaning: "where images start" },
    Key { name: "from", kind: Kind::Path, meaning: "the run whose elites CPPNs start from" },
    Key { name: "growth", kind: Kind::Whole(0, MAX_GROWTH), meaning: "nodes that random CPPNs are given" },
    Key { name: "spread", kind: Kind::Positive(1.0), meaning: "share of the range of weights that theirs are of" },
    Key { name: "crops", kind: Kind::OneOf(&[1, 10]), meaning: "parts of an image that are judged" },
    Key { name: "seed", kind: Kind::Whole(0, i64::MAX), meaning: "seed of the first image of each class" },
    Key { name: "seeds", kind: Kind::Whole(1, MAX_SEEDS), meaning: "images of each class, each of a seed of its own" },
    Key { name: "iterations", kind: Kind::Whole(1, MAX_ITERATIONS), meaning: "steps; the last one only looks" },
    Key { name: "decay", kind: Kind::Probability, meaning: "share of an image that fades each step" },
    Key { name: "early", kind: Kind::Probability, meaning: "rise of the probability that a step aims at, at first" },
    Key { name: "late", kind: Kind::Probability, meaning: "share of what it lacks of 1 that a step aims at, at last" },
    Key { name: "max_rate", kind: Kind::Positive(MAX_RATE), meaning: "the largest learning rate" },
    Key { name: "max_step", kind: Kind::Positive(MAX_STEP), meaning: "the longest step of a CPPN, in genes" },
    Key {
        name: "blur_radius",
        kind: Kind::NoneOr(0.3, MAX_RADIUS),
        meaning: "standard deviation of the blur, in pixels",
    },
    Key { name: "blur_every", kind: Kind::Whole(1, u32::MAX as i64), meaning: "steps from one blur to the next" },
    Key { name: "small_norm", kind: Kind::Number(0.0, 100.0), meaning: "percentile of pixels zeroed: the faintest" },
    Key {
        name: "benefit",
        kind: Kind::Number(0.0, 100.0),
        meaning: "percentile of pixels zeroed: the least gained by it",
    },
    Key {
        name: "abs_benefit",
        kind: Kind::Number(0.0, 100.0),
        meaning: "percentile of pixels zeroed: the least changed by it",
    },
];

/// Keys that no CPPN has, and keys that no pixels have.
const OF_PIXELS: [&str; 8] =
    ["start", "decay", "max_rate", "blur_radius", "blur_every", "small_norm", "benefit", "abs_benefit"];
const OF_CPPNS: [&str; 5] = ["from", "growth", "spread", "crops", "max_step"];

impl Config {
    /// The numbers of spec 10.3; those of CPPNs are our own.
    pub fn preset(preset: Preset) -> Config {
        let (decay, iterations, early, late, max_rate) = match preset {
            Preset::Default => (0.01, 300, 0.03, 0.1, 1e12),
            Preset::Plain => (0.0, 500, 0.02, 0.1, 1e7),
            Preset::Fade => (0.01, 1500, 0.03, 0.02, 1e7),
            Preset::Blur => (0.001, 1000, 0.03, 0.05, 1e7),
            Preset::Sparse => (0.001, 1500, 0.03, 0.05, 1e7),
            Preset::Cppn => (0.0, 500, 0.1, 0.3, 0.0),
        };
        let (blur_radius, blur_every) = match preset {
            Preset::Blur => (0.4, 2),
            Preset::Sparse => (0.3, 1),
            _ => (0.0, 1),
        };
        let zeroed = if preset == Preset::Sparse { 20.0 } else { 0.0 };
        let draws = preset == Preset::Cppn;
        Config {
            preset,
            classes: Vec::new(),
            start: (!draws).then_some(Start::MeanPlus),
            from: None,
            growth: draws.then_some(GROWTH),
            spread: draws.then_some(SPREAD),
            crops: None,
            seed: 0,
            seeds: 1,
            iterations,
            decay: (!draws).then_some(decay),
            early,
            late,
            max_rate: (!draws).then_some(max_rate),
            max_step: draws.then_some(MAX_STEP_OF_PRESET),
            blur_radius: (!draws).then_some(blur_radius),
            blur_every: (!draws).then_some(blur_every),
            small_norm: (!draws).then_some(zeroed),
            benefit: (!draws).then_some(0.0),
            abs_benefit: (!draws).then_some(zeroed),
        }
    }

    /// Whether CPPNs climb, rather than pixels.
    pub fn draws(&self) -> bool {
        self.preset == Preset::Cppn
    }

    /// How images climb.
    ///
    /// # Panics
    /// Unless pixels do.
    pub fn rule(&self) -> AscentRule {
        let of_pixels = "pixels climb";
        AscentRule {
            decay: self.decay.expect(of_pixels),
            early: self.early,
            late: self.late,
            max_rate: self.max_rate.expect(of_pixels),
            blur_radius: self.blur_radius.expect(of_pixels),
            blur_every: self.blur_every.expect(of_pixels),
            small_norm: self.small_norm.expect(of_pixels),
            benefit: self.benefit.expect(of_pixels),
            abs_benefit: self.abs_benefit.expect(of_pixels),
        }
    }

    /// How CPPNs climb.
    ///
    /// # Panics
    /// Unless they do.
    pub fn cppn_rule(&self) -> CppnRule {
        CppnRule { early: self.early, late: self.late, max_step: self.max_step.expect("CPPNs climb") }
    }

    /// The classes to climb to: those that were asked for, else the paper's of a network with its thousand, else all.
    ///
    /// # Errors
    /// [`Error::Usage`] if the network lacks one.
    pub fn classes_of(&self, network: &Network) -> Result<Vec<u32>> {
        let n_classes = network.classes.len() as u32;
        match self.classes.last() {
            None if n_classes == 1000 => Ok(PAPER_CLASSES.to_vec()),
            None => Ok((0..n_classes).collect()),
            Some(&last) if last >= n_classes => Err(Error::Usage(format!(
                "classes: got {last}, the network {:?} has classes 0 to {}",
                network.name,
                n_classes - 1
            ))),
            Some(_) => Ok(self.classes.clone()),
        }
    }

    /// The preset that `settings` name, `default` where they name none, with `settings` applied in order: the last one of a key counts.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the setting's origin, its key, what it got and what it wanted.
    pub fn resolve(settings: &[Setting]) -> Result<Config> {
        let preset = settings.iter().rev().find(|setting| setting.key == "preset");
        let preset = match preset.map(|setting| setting.accepted(&KEYS[0])).transpose()? {
            Some(word) => Preset::from_str(word.as_str().expect("a word"), false).expect("KEYS lists the names"),
            None => Preset::Default,
        };
        let mut table = Table::try_from(Config::preset(preset))
            .map_err(|error| Error::Usage(format!("configuration: {}", one_line(&error.to_string()))))?;
        let mut origins = BTreeMap::new();
        if settings.iter().any(|setting| setting.key == "from") {
            // An elite is grown already.
            table.remove("growth");
            table.remove("spread");
        }
        for setting in settings {
            let key = setting.known_key(KEYS)?;
            let foreign = if preset == Preset::Cppn { &OF_PIXELS[..] } else { &OF_CPPNS };
            if foreign.contains(&key.name) {
                let (is_for, moves) = match preset {
                    Preset::Cppn => ("for pixels", "the weights of CPPNs".to_string()),
                    _ => ("for the preset cppn", format!("pixels (preset {})", name_of(preset))),
                };
                let Setting { origin, .. } = setting;
                return Err(Error::Usage(format!("{origin}: {} is {is_for}; what climbs here is {moves}", key.name)));
            }
            table.insert(key.name.to_string(), setting.accepted(key)?);
            origins.insert(key.name, setting.origin.as_str());
        }
        let config: Config =
            table.try_into().map_err(|error: toml::de::Error| Error::Usage(one_line(error.message())))?;
        let refused = |key, got: String, wanted: &str| {
            Err(refusal(origins.get(key).unwrap_or(&"configuration"), key, &got, wanted))
        };
        if let Some(pair) = config.classes.windows(2).find(|pair| pair[0] == pair[1]) {
            return refused("classes", format!("{} twice", pair[0]), "each class once");
        }
        if config.from.is_some() {
            let with_from = |what: &str| format!("{what} with from: an elite is one graph, and not drawn at random");
            if config.seeds > 1 {
                return refused("seeds", config.seeds.to_string(), &with_from("1"));
            }
            if config.seed > 0 {
                return refused("seed", config.seed.to_string(), &with_from("0"));
            }
            if let Some(growth) = config.growth {
                return refused("growth", growth.to_string(), &with_from("none"));
            }
            if let Some(spread) = config.spread {
                return refused("spread", spread.to_string(), &with_from("none"));
            }
        }
        match config.seed.checked_add(u64::from(config.seeds) - 1) {
            Some(last) if last <= i64::MAX as u64 => Ok(config),
            _ => refused("seeds", config.seeds.to_string(), &format!("no seed above {}", i64::MAX)),
        }
    }

    /// The settings of the TOML file `path`.
    ///
    /// # Errors
    /// As [`Setting::read_file`].
    pub fn read_file(path: &Path) -> Result<Vec<Setting>> {
        Setting::read_file_of(path, KEYS)
    }

    /// The configuration as a TOML file that [`Config::read_file`] takes.
    ///
    /// # Errors
    /// None for one that was resolved.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Usage(format!("configuration: {error}")))
    }
}

/// The setting of classes that the option `--classes` names; only names of classes need the network.
///
/// # Errors
/// [`Error::Usage`] for what is no class; what `network` says.
pub fn classes_setting(list: &str, network: impl FnOnce() -> Result<Network>) -> Result<Setting> {
    let classes = parse_classes(list, &[]).or_else(|_| {
        parse_classes(list, &network()?.classes).map_err(|reason| Error::Usage(format!("--classes: {reason}")))
    })?;
    let value = classes.into_iter().map(|class| Value::Integer(class.into())).collect();
    Ok(Setting { key: "classes".into(), value: Value::Array(value), origin: "--classes".into() })
}

/// The setting of a word, given as `origin`.
pub fn word_setting(key: &str, word: impl ValueEnum, origin: &str) -> Setting {
    Setting { key: key.into(), value: name_of(word).into(), origin: origin.into() }
}
