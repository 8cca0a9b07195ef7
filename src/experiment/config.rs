//! The configuration of an evolution run: presets, and what each key means.
//!
//! A configuration grows in layers: the preset in its flavour, then a TOML file, then `--set KEY=VALUE`, then the options
//! of the command line. Each layer is a list of [`Setting`]s, which remember where they come from, so that an error can
//! say so; [`KEYS`] says what each key may be.

use super::start::StartedFrom;
use crate::error::{Error, Result, one_line};
use crate::genome::{Encoding, cppn, direct};
use crate::network::committee::size;
use crate::network::{Crops, Network};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use toml::{Table, Value};

/// An experiment of the paper (spec, section 6). Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Grey pixels, mutated and crossed one by one, against LeNet
    MnistDirect,
    /// Growing networks that draw (CPPNs), against LeNet
    MnistCppn,
    /// Colours of 256x256 pixels, mutated and crossed one by one, against a network for ImageNet (--weights)
    ImagenetDirect,
    /// Growing networks that draw in colour, against a network for ImageNet (--weights)
    ImagenetCppn,
}

impl Preset {
    /// Whether a genome is a list of values, rather than a CPPN.
    pub fn is_direct(self) -> bool {
        matches!(self, Preset::MnistDirect | Preset::ImagenetDirect)
    }

    /// Whether images are in colour, and the network is one for ImageNet.
    pub fn is_imagenet(self) -> bool {
        matches!(self, Preset::ImagenetDirect | Preset::ImagenetCppn)
    }

    /// Channels of an image.
    pub fn channels(self) -> usize {
        if self.is_imagenet() { 3 } else { 1 }
    }
}

/// How literally the paper's program is followed (spec, section 6). Its variants' texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// As the paper's program does it, its oddities included
    Faithful,
    /// With its crossover (SBX) repaired, and with CPPNs that see x and y from -1 to 1
    Modern,
}

/// Everything that decides a run, but for the network's weights, and when it stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub preset: Preset,
    pub flavour: Flavour,
    pub seed: u64,
    /// Candidates a generation; even, since they are born in pairs. Generation 0 has as many.
    pub batch: u32,
    /// The classes to evolve for, ascending; empty for all.
    pub classes: Vec<u32>,
    /// Parts of an image that are judged, 1 or 10, in the presets whose networks see a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<u32>,
    /// Generations after generation 0; [`NO_LIMIT`] for as many as the other stop rules allow.
    pub generations: u32,
    /// Stop after the generation in which this many candidates have been evaluated; 0 for no such limit.
    pub evaluations: u64,
    /// Stop after the generation in which this much time has passed, in seconds; 0 for no such limit.
    pub time: f64,
    /// Stop once every niche has this confidence; 0 for no such limit.
    pub target: f64,
    /// Generations between lines of metrics.jsonl.
    pub log_every: u32,
    /// Generations between checkpoints.
    pub checkpoint_every: u32,
    /// Rules of the direct encoding, in the presets that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<direct::Rules>,
    /// Rules of the CPPN encoding, in the presets that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cppn: Option<cppn::Rules>,
    /// The genomes that the first candidates of generation 0 are (`--start`), if not all are random. No key sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartedFrom>,
}

/// [`Config::generations`] of a run that only other rules stop.
pub const NO_LIMIT: u32 = u32::MAX;

/// Generations after which a run gives up its target, unless told otherwise.
pub const TARGET_CAP: u32 = 100_000;

impl Config {
    /// The numbers of spec section 6.
    pub fn preset(preset: Preset, flavour: Flavour) -> Config {
        let modern = flavour == Flavour::Modern;
        let generations = match preset {
            Preset::MnistDirect => 1010,
            Preset::MnistCppn => 1001,
            Preset::ImagenetDirect => 5010,
            Preset::ImagenetCppn => 5001,
        };
        let crossover = if modern { direct::Crossover::Repaired } else { direct::Crossover::AsCoded };
        let rules = if modern { cppn::Rules::modern() } else { cppn::Rules::faithful() };
        Config {
            preset,
            flavour,
            seed: 1,
            batch: if preset == Preset::ImagenetCppn { 400 } else { 200 },
            classes: Vec::new(),
            crops: preset.is_imagenet().then_some(10),
            generations,
            evaluations: 0,
            time: 0.0,
            target: 0.0,
            log_every: 1,
            checkpoint_every: 100,
            direct: preset.is_direct().then(|| direct::Rules { crossover, ..direct::Rules::default() }),
            cppn: (!preset.is_direct()).then_some(rules),
            start: None,
        }
    }

    /// `network` as these runs use it: the crops that they judge.
    ///
    /// # Errors
    /// [`Error::Refused`] if it sees grey where the preset has colour, or the other way round; [`Error::Usage`] if it has no ten crops.
    pub fn judge(&self, network: Network) -> Result<Network> {
        let (preset, name) = (name_of(self.preset), &network.name);
        if network.input.channels != self.preset.channels() {
            let from = if network.path.is_none() { " (built in)" } else { "" };
            return Err(Error::Refused(if self.preset.is_imagenet() {
                format!(
                    "{preset} draws in colour, the network {name:?}{from} sees grey: name one for ImageNet with --weights \
                     (weights/README.md says where there are some)"
                )
            } else {
                format!(
                    "{preset} draws in grey, the network {name:?} sees colour: imagenet-direct and imagenet-cppn are for it"
                )
            }));
        }
        // A network for grey images of another size is refused with its size, where the canvas is.
        let network = match self.crops {
            None => network,
            Some(count) => network.judging(Crops::of(count).expect("Config::check has seen it"))?,
        };
        if let Some(other) = network.judges().find(|other| other.given() != network.given()) {
            return Err(Error::Refused(format!(
                "the networks cannot judge together: {} sees images of {}, {} of {}",
                network.name,
                size(network.given()),
                other.name,
                size(other.given())
            )));
        }
        Ok(network)
    }

    /// The encoding and its rules.
    ///
    /// # Panics
    /// Unless exactly one of `direct` and `cppn` is there: [`Config::check`] sees to that.
    pub fn encoding(&self) -> Encoding {
        match (&self.direct, &self.cppn) {
            (Some(rules), None) => Encoding::Direct(rules.clone()),
            (None, Some(rules)) => Encoding::Cppn(rules.clone()),
            _ => panic!("a configuration has one encoding"),
        }
    }

    /// Generations of a run whose other stop rules stand and for which nobody gave a number: those of the preset, none
    /// but a cap if it goes for a target, no limit if time or evaluations end it.
    pub fn implied_generations(&self) -> u32 {
        if self.evaluations > 0 || self.time > 0.0 {
            NO_LIMIT
        } else if self.target > 0.0 {
            TARGET_CAP
        } else {
            Config::preset(self.preset, self.flavour).generations
        }
    }

    /// The preset that `settings` name, `mnist-cppn` and `faithful` where they name none, with `settings` applied in order:
    /// the last one of a key counts. Where none sets `generations`, [`Config::implied_generations`] does.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the setting's origin, its key, what it got and what it wanted.
    pub fn resolve(settings: &[Setting]) -> Result<Config> {
        let preset = chosen(settings, "preset")?.unwrap_or(Preset::MnistCppn);
        let flavour = chosen(settings, "flavour")?.unwrap_or(Flavour::Faithful);
        let base = Config::preset(preset, flavour);
        let mut flat = base.flatten()?;
        let mut origins = BTreeMap::new();
        for setting in settings {
            let key = setting.known_key(KEYS)?;
            if !flat.contains_key(key.name) {
                let why = match base.encoding() {
                    _ if key.name == "crops" => "is for networks that see a part of an image",
                    Encoding::Direct(_) => "is for CPPNs",
                    Encoding::Cppn(_) => "is for the direct encoding",
                };
                return Err(Error::Usage(format!(
                    "{}: {} {why}, {} is not",
                    setting.origin,
                    key.name,
                    name_of(preset)
                )));
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
        let mut config: Config =
            table.try_into().map_err(|error: toml::de::Error| Error::Usage(one_line(error.message())))?;
        if !origins.contains_key("generations") {
            config.generations = config.implied_generations();
        }
        match config.fault() {
            None => Ok(config),
            Some((key, got, wanted)) => Err(refusal(origins.get(key).unwrap_or(&"configuration"), key, &got, &wanted)),
        }
    }

    /// Whether every key has a value that can work; the last word for configurations out of files.
    ///
    /// # Errors
    /// [`Error::Usage`], naming the first key that has not, its value and what it should be.
    pub fn check(&self) -> Result<()> {
        for (key, value) in self.flatten()? {
            Setting { key, value, origin: "configuration".into() }.check()?;
        }
        match self.fault() {
            None => Ok(()),
            Some((key, got, wanted)) => Err(refusal("configuration", key, &got, &wanted)),
        }
    }

    /// The configuration as a TOML file that [`Setting::read_file`] takes.
    ///
    /// # Errors
    /// [`Error::Usage`] if the seed is beyond TOML's integers.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Usage(format!("configuration: {error}")))
    }

    /// Every key that this configuration has, with its value.
    fn flatten(&self) -> Result<BTreeMap<String, Value>> {
        let table = Table::try_from(Config { start: None, ..self.clone() })
            .map_err(|error| Error::Usage(format!("configuration: {}", one_line(&error.to_string()))))?;
        Ok(flatten(table).collect())
    }

    /// The first key whose value does not go with the others', what it is, and what it should be.
    fn fault(&self) -> Option<(&'static str, String, String)> {
        let fault = |key, got: String, wanted: String| Some((key, got, wanted));
        let wants_direct = self.preset.is_direct();
        if (self.direct.is_some(), self.cppn.is_some()) != (wants_direct, !wants_direct) {
            let group = if wants_direct { "[direct]" } else { "[cppn]" };
            return fault("preset", name_of(self.preset), format!("the rules of its encoding, {group}, and no others"));
        }
        if self.crops.is_some() != self.preset.is_imagenet() {
            let wanted = if self.preset.is_imagenet() { "with crops" } else { "without crops" };
            return fault("preset", name_of(self.preset), wanted.into());
        }
        if let Some(pair) = self.classes.windows(2).find(|pair| pair[0] >= pair[1]) {
            return fault("classes", format!("{} before {}", pair[0], pair[1]), "each class once, ascending".into());
        }
        if let Some(rules) = &self.cppn {
            let n_outputs = self.preset.channels();
            let (nodes, edges) = ((cppn::N_INPUTS + n_outputs) as u32, (cppn::N_INPUTS * n_outputs) as u32);
            if rules.max_nodes < nodes {
                return fault(
                    "cppn.max_nodes",
                    rules.max_nodes.to_string(),
                    format!("at least {nodes}: the inputs and outputs"),
                );
            }
            if rules.max_edges < edges {
                return fault(
                    "cppn.max_edges",
                    rules.max_edges.to_string(),
                    format!("at least {edges}: the first genomes'"),
                );
            }
        }
        None
    }
}

/// What a key's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number in this range.
    Whole(i64, i64),
    /// An even number in this range.
    Even(i64, i64),
    /// A number in [0, 1].
    Probability,
    /// A number above 0 in single precision, up to this one.
    Positive(f64),
    /// A number in this range.
    Number(f64, f64),
    /// 0, or a number in this range.
    NoneOr(f64, f64),
    /// Seconds, as a number or in words (`"10m"`).
    Seconds,
    /// true or false.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these numbers.
    OneOf(&'static [i64]),
    /// Numbers of classes: a list, or text such as `"3,5-7"`.
    Classes,
    /// A name that a file can have: 1 to 100 bytes, no control character, no slash, no dot in front.
    Name,
    /// The name of a file or folder.
    Path,
}

impl Kind {
    /// `value` in the type of the configuration, or `None` if it cannot be that.
    fn accept(self, value: &Value) -> Option<Value> {
        let number = value.as_float().or(value.as_integer().map(|i| i as f64));
        match self {
            Kind::Whole(min, max) => value.as_integer().filter(|i| (min..=max).contains(i)).map(Value::Integer),
            Kind::Even(min, max) => {
                value.as_integer().filter(|i| (min..=max).contains(i) && i % 2 == 0).map(Value::Integer)
            }
            Kind::OneOf(numbers) => value.as_integer().filter(|i| numbers.contains(i)).map(Value::Integer),
            Kind::Probability => number.filter(|x| (0.0..=1.0).contains(x)).map(Value::Float),
            Kind::Positive(max) => number.filter(|&x| x as f32 > 0.0 && x <= max).map(Value::Float),
            Kind::Number(min, max) => number.filter(|x| (min..=max).contains(x)).map(Value::Float),
            Kind::NoneOr(min, max) => number.filter(|&x| x == 0.0 || (min..=max).contains(&x)).map(Value::Float),
            Kind::Seconds => match value.as_str() {
                Some(text) => humantime::parse_duration(text).ok().as_ref().map(Duration::as_secs_f64),
                None => number.filter(|x| x.is_finite() && *x >= 0.0),
            }
            .map(Value::Float),
            Kind::Switch => value.as_bool().map(Value::Boolean),
            Kind::Word(words) => value.as_str().filter(|word| words.contains(word)).map(Value::from),
            Kind::Name => {
                // A number is a name, too.
                let name = value.as_str().map_or_else(|| value.as_integer().map(|i| i.to_string()), |s| Some(s.into()));
                let is_name = |name: &String| {
                    (1..=100).contains(&name.len())
                        && !name.starts_with('.')
                        && !name.contains(|c: char| c.is_control() || c == '/' || c == '\\')
                };
                name.filter(is_name).map(Value::String)
            }
            Kind::Path => value.as_str().filter(|path| !path.is_empty()).map(Value::from),
            Kind::Classes => {
                let mut classes = match value {
                    Value::String(text) => parse_classes(text, &[]).ok()?,
                    Value::Integer(_) => vec![class_number(value)?],
                    Value::Array(list) => list.iter().map(class_number).collect::<Option<_>>()?,
                    _ => return None,
                };
                classes.sort_unstable();
                Some(Value::Array(classes.into_iter().map(|class| Value::Integer(class.into())).collect()))
            }
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Kind::Whole(min, max) if max >= i64::from(u32::MAX) => write!(f, "a whole number, {min} or more"),
            Kind::Whole(min, max) => write!(f, "a whole number from {min} to {max}"),
            Kind::Even(min, max) => write!(f, "an even number from {min} to {max}"),
            Kind::OneOf(numbers) => f.write_str(&numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" or ")),
            Kind::Probability => f.write_str("a number from 0 to 1"),
            Kind::Positive(max) => write!(f, "a number above 0, at most {max}"),
            Kind::Number(min, max) => write!(f, "a number from {min} to {max}"),
            Kind::NoneOr(min, max) => write!(f, "0 for none, or a number from {min} to {max}"),
            Kind::Seconds => f.write_str("seconds, or a time such as \"10m\""),
            Kind::Switch => f.write_str("true or false"),
            Kind::Word(words) => f.write_str(&words.join(" or ")),
            Kind::Name => f.write_str("a name of 1 to 100 bytes, without slashes and without a dot in front"),
            Kind::Path => f.write_str("the name of a file or folder"),
            Kind::Classes => f.write_str("class numbers such as \"3,5-7\" or [3, 5, 6, 7]"),
        }
    }
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as in `--set`.
    pub name: &'static str,
    pub kind: Kind,
    /// What it is, in a line.
    pub meaning: &'static str,
}

/// Largest batch; far beyond what one device evaluates at once, far below the 2^32 that number a candidate.
const MAX_BATCH: i64 = 1 << 24;
/// Largest weight of a CPPN: sums of 65,535 such weights times pixel indices stay far from infinity, whose sine is no number.
const MAX_WEIGHT: f64 = 1e6;
/// Node indices are 16 bits wide.
const MAX_NODES: i64 = 1 << 16;
/// Far more edges than any run has grown.
const MAX_EDGES: i64 = 1 << 20;
/// Beyond it a mutation no longer moves a gene.
const MAX_ETA: i64 = 1000;
/// As many as there are class numbers.
const MAX_CLASSES: usize = 1 << 16;
/// Twice what a file needs that lists every class there can be.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Every key there is.
pub const KEYS: &[Key] = &[
    Key {
        name: "preset",
        kind: Kind::Word(&["mnist-direct", "mnist-cppn", "imagenet-direct", "imagenet-cppn"]),
        meaning: "the experiment",
    },
    Key {
        name: "flavour",
        kind: Kind::Word(&["faithful", "modern"]),
        meaning: "how literally the paper's program is followed",
    },
    Key { name: "seed", kind: Kind::Whole(0, i64::MAX), meaning: "seed of all random numbers" },
    Key { name: "batch", kind: Kind::Even(2, MAX_BATCH), meaning: "candidates a generation" },
    Key { name: "classes", kind: Kind::Classes, meaning: "classes to evolve for; none for all" },
    Key {
        name: "crops",
        kind: Kind::OneOf(&[1, 10]),
        meaning: "parts of an image that are judged: 1, the middle, or 10",
    },
    Key {
        name: "generations",
        kind: Kind::Whole(0, NO_LIMIT as i64),
        meaning: "generations after the random one; 4294967295 for no limit",
    },
    Key {
        name: "evaluations",
        kind: Kind::Whole(0, i64::MAX),
        meaning: "stop after so many candidates; 0 for no limit",
    },
    Key { name: "time", kind: Kind::Seconds, meaning: "stop after so much time; 0 for no limit" },
    Key {
        name: "target",
        kind: Kind::Probability,
        meaning: "stop once every class has this confidence; 0 for no target",
    },
    Key {
        name: "log_every",
        kind: Kind::Whole(1, NO_LIMIT as i64),
        meaning: "generations between lines of metrics.jsonl",
    },
    Key { name: "checkpoint_every", kind: Kind::Whole(1, NO_LIMIT as i64), meaning: "generations between checkpoints" },
    Key { name: "direct.mutation_rate", kind: Kind::Probability, meaning: "chance that a gene mutates, at first" },
    Key {
        name: "direct.halve_every",
        kind: Kind::Whole(0, NO_LIMIT as i64),
        meaning: "generations after which that chance halves; 0 for never",
    },
    Key {
        name: "direct.mutation_eta",
        kind: Kind::Whole(0, MAX_ETA),
        meaning: "distribution index of the polynomial mutation",
    },
    Key {
        name: "direct.crossover",
        kind: Kind::Word(&["as-coded", "repaired", "none"]),
        meaning: "SBX as the paper's program has it, with its defect mended, or none",
    },
    Key { name: "direct.crossover_rate", kind: Kind::Probability, meaning: "chance that a pair is crossed" },
    Key { name: "direct.crossover_eta", kind: Kind::Whole(0, MAX_ETA), meaning: "distribution index of SBX" },
    Key { name: "cppn.weight_rate", kind: Kind::Probability, meaning: "chance that a weight mutates" },
    Key {
        name: "cppn.weight_eta",
        kind: Kind::Whole(0, MAX_ETA),
        meaning: "distribution index of the polynomial mutation",
    },
    Key {
        name: "cppn.max_weight",
        kind: Kind::Positive(MAX_WEIGHT),
        meaning: "weights lie between this and its negative",
    },
    Key { name: "cppn.activation_rate", kind: Kind::Probability, meaning: "chance that a node's function is redrawn" },
    Key { name: "cppn.add_edge_rate", kind: Kind::Probability, meaning: "chance that a child gains an edge" },
    Key { name: "cppn.delete_edge_rate", kind: Kind::Probability, meaning: "chance that it loses an edge" },
    Key {
        name: "cppn.split_edge_rate",
        kind: Kind::Probability,
        meaning: "chance that a node splits one of its edges",
    },
    Key { name: "cppn.delete_node_rate", kind: Kind::Probability, meaning: "chance that it loses a hidden node" },
    Key { name: "cppn.normalise", kind: Kind::Switch, meaning: "x and y from -1 to 1 instead of pixel indices" },
    Key {
        name: "cppn.max_nodes",
        kind: Kind::Whole(1, MAX_NODES),
        meaning: "most nodes of a genome, inputs and outputs included",
    },
    Key { name: "cppn.max_edges", kind: Kind::Whole(1, MAX_EDGES), meaning: "most edges of a genome" },
];

/// A value for a key, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Dotted.
    pub key: String,
    pub value: Value,
    /// A file's name, `--set`, or an option.
    pub origin: String,
}

impl Setting {
    /// `text` as a TOML value; a word without quotes is a string.
    pub fn parse(key: &str, text: &str, origin: &str) -> Setting {
        let value = toml::from_str::<Table>(&format!("value = {text}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_string()));
        Setting { key: key.to_string(), value, origin: origin.to_string() }
    }

    /// Reads `KEY=VALUE`.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no `=`.
    pub fn parse_assignment(text: &str) -> Result<Setting> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Error::Usage(format!("--set: got {text:?}, wanted KEY=VALUE")))?;
        Ok(Setting::parse(key.trim(), value.trim(), "--set"))
    }

    /// Reads the settings of a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is not TOML or larger than a mebibyte, [`Error::Usage`] if a
    /// key is not known.
    pub fn read_file(path: &Path) -> Result<Vec<Setting>> {
        Setting::read_file_of(path, KEYS)
    }

    /// As [`Setting::read_file`], for a configuration that has these `keys`.
    pub(super) fn read_file_of(path: &Path, keys: &[Key]) -> Result<Vec<Setting>> {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Error::file(path, format!("larger than {MAX_FILE_BYTES} bytes: no configuration")));
        }
        let text = String::from_utf8(bytes).map_err(|error| Error::file(path, format!("not TOML: {error}")))?;
        Setting::read_text_of(&text, &path.display().to_string(), keys)
    }

    /// [`Setting::read_file`] for a text in memory; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Setting::read_file`].
    pub fn read_text(text: &str, origin: &str) -> Result<Vec<Setting>> {
        Setting::read_text_of(text, origin, KEYS)
    }

    /// As [`Setting::read_text`], for a configuration that has these `keys`.
    pub(super) fn read_text_of(text: &str, origin: &str, keys: &[Key]) -> Result<Vec<Setting>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = &text.as_bytes()[..error.span().map_or(0, |span| span.start)];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            Error::file(Path::new(origin), format!("line {line}: not TOML: {}", one_line(error.message())))
        })?;
        // The first unknown key ends it: a long name of a table, repeated before each of its keys, would fill the memory.
        let settings = flatten(table).map(|(key, value)| {
            let setting = Setting { key, value, origin: origin.to_string() };
            setting.known_key(keys).map(|_| setting)
        });
        settings.collect()
    }

    /// Whether the key is known and the value can be its.
    ///
    /// # Errors
    /// [`Error::Usage`], naming origin, key, what it got and what it wanted.
    pub fn check(&self) -> Result<()> {
        self.accepted(self.known_key(KEYS)?).map(drop)
    }

    /// The one of `keys` that it is for.
    pub(crate) fn known_key<'a>(&self, keys: &'a [Key]) -> Result<&'a Key> {
        keys.iter().find(|key| key.name == self.key).ok_or_else(|| {
            let group = format!("{}.", self.key);
            let members: Vec<&str> = keys.iter().filter_map(|key| key.name.strip_prefix(&group)).collect();
            if !members.is_empty() {
                let members = members.join(", ");
                return Error::Usage(format!("{}: {} is a group of keys: {members}", self.origin, self.key));
            }
            let got = one_line(&self.key);
            let distance = |known: &Key| {
                let short = known.name.rsplit('.').next().unwrap_or(known.name);
                strsim::damerau_levenshtein(&got, known.name).min(strsim::damerau_levenshtein(&got, short))
            };
            let nearest = keys.iter().min_by_key(|key| distance(key)).expect("there are keys").name;
            Error::Usage(format!("{}: unknown key {got:?}, the nearest one is {nearest:?}", self.origin))
        })
    }

    /// Its value, in the type of `key`.
    pub(crate) fn accepted(&self, key: &Key) -> Result<Value> {
        key.kind
            .accept(&self.value)
            .ok_or_else(|| refusal(&self.origin, key.name, &one_line(&self.value.to_string()), &key.kind.to_string()))
    }
}

/// The error of a value that cannot be its key's. An option named as its key says both.
pub(super) fn refusal(origin: &str, key: &str, got: &str, wanted: &str) -> Error {
    let place = match origin.strip_prefix("--") {
        Some(option) if option == key => origin.to_string(),
        _ => format!("{origin}: {key}"),
    };
    Error::Usage(format!("{place}: got {got}, wanted {wanted}"))
}

/// A class is a number of 16 bits, which also keeps ranges short.
fn class_number(value: &Value) -> Option<u32> {
    u16::try_from(value.as_integer()?).ok().map(u32::from)
}

/// Reads class numbers, ranges of them and names of `names`, separated by commas, into ascending order: `3,5-7,eight`.
///
/// # Errors
/// A line that says which part is none of these.
pub fn parse_classes(text: &str, names: &[String]) -> std::result::Result<Vec<u32>, String> {
    let mut classes = Vec::new();
    for part in text.split(',').map(str::trim) {
        let ends = part.split_once('-').unwrap_or((part, part));
        match (ends.0.trim().parse::<u16>(), ends.1.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => classes.extend(u32::from(first)..=u32::from(last)),
            _ => match names.iter().position(|name| name.eq_ignore_ascii_case(part)) {
                Some(class) => classes.push(class as u32),
                None => return Err(format!("{part:?} is no class number, range such as 5-7, or name of a class")),
            },
        }
        if classes.len() > MAX_CLASSES {
            return Err(format!("more than {MAX_CLASSES} numbers: some class is named twice"));
        }
    }
    classes.sort_unstable();
    Ok(classes)
}

/// The one value that `settings` give `key`, a word of the command line.
fn chosen<T: ValueEnum>(settings: &[Setting], key: &str) -> Result<Option<T>> {
    let mut found: Option<&Setting> = None;
    for setting in settings.iter().filter(|setting| setting.key == key) {
        setting.check()?;
        match found {
            Some(first) if first.value != setting.value => {
                return Err(Error::Usage(format!(
                    "{} says {key} = {}, {} says {key} = {}: choose one",
                    first.origin, first.value, setting.origin, setting.value
                )));
            }
            _ => found = Some(setting),
        }
    }
    let word = found.and_then(|setting| setting.value.as_str());
    Ok(word.map(|word| T::from_str(word, false).expect("KEYS lists the names of the type")))
}

/// The name of a preset or flavour, as on the command line.
pub fn name_of(choice: impl ValueEnum) -> String {
    choice.to_possible_value().expect("no value is hidden").get_name().to_string()
}

/// `table` with dotted keys for those of its tables. One level: [`KEYS`] has no more.
pub(super) fn flatten(table: Table) -> impl Iterator<Item = (String, Value)> {
    table.into_iter().flat_map(|(group, value)| {
        let (tables, values) = match value {
            Value::Table(inner) if !inner.is_empty() => (Some(inner), None),
            value => (None, Some((group.clone(), value))),
        };
        let inner = tables.into_iter().flatten().map(move |(key, value)| (format!("{group}.{key}"), value));
        values.into_iter().chain(inner)
    })
}
