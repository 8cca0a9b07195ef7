//! The folder of a retraining, where networks and evolutions take turns (spec 9).
//!
//! ```text
//! retrain.json        what it is: written first
//! layers.toml         the layer list, where that is a user's own
//! dnn-01/             a round: the first network, and what was evolved against it
//!   network/          weights.safetensors; the folder of its training, unless it was given
//!   evolution/        the folder of the series of runs (of the run, if it is one)
//!   images.safetensors
//!   round.json        its row of the table, and the SHA-256 of its files: written last
//! dnn-02/ ...
//! table.csv           a row a round
//! confidence.png      the paper's Figure 11: the confidences of each round
//! contact_sheet.png   of each round, what one of its runs came to
//! run.json            all of it: where it is, all rounds are done
//! ```

mod figure;
mod images;

pub use images::{FoolingImages, Harvest, Row, hexadecimal, sha256_of, write as write_images};

use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::experiment::retrain::config::Config;
use crate::experiment::train::{Broken, Identity};
use crate::output::locked_folder::{LockedFolder, entries};
use crate::output::{Image, atomic, pictures};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const RECORD: &str = "retrain.json";
const LAYERS: &str = "layers.toml";
const NETWORK: &str = "network";
const WEIGHTS: &str = "network/weights.safetensors";
const EVOLUTION: &str = "evolution";
const IMAGES: &str = "images.safetensors";
const ROUND: &str = "round.json";
const TABLE: &str = "table.csv";
const PLOT: &str = "confidence.png";
const SHEET: &str = "contact_sheet.png";
const MANIFEST: &str = "run.json";

/// What a retraining is: `retrain.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub arithmetic_version: u32,
    pub configuration: Config,
    /// The layer list: the name of one that the program has, or the path of the file that `layers.toml` is a copy of.
    pub network: String,
    /// SHA-256 of the first network, if it was given and not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_network: Option<String>,
    /// Where the images are, what they are, and the names of their classes.
    pub data: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    pub broken: Broken,
    pub trained_on: Identity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_on: Option<Identity>,
    pub classes: Vec<String>,
}

/// A round: a network, and what was evolved against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// From 1.
    pub round: u32,
    pub network: NetworkRow,
    pub evolution: EvolutionRow,
    /// What this network takes for fooling images; the first one has no such class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    pub images: ImagesRow,
    /// SHA-256 of each file, by its path in the folder of the round.
    pub files: BTreeMap<String, String>,
}

/// The network of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRow {
    /// `DNN_1` and so on.
    pub name: String,
    pub outputs: usize,
    /// Of its training; none if it was given, here and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u32>,
    /// Images that it was trained on, and those of them that are fooling images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    pub fooling_images: usize,
    /// Of the original validation images, if there are some: taken for what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    pub seconds: f64,
}

/// The evolutions of a round. Confidences are those of all runs and classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvolutionRow {
    pub first_seed: u64,
    pub runs: u32,
    pub generations: u32,
    pub evaluations: u64,
    pub seconds: f64,
    /// Runs times classes.
    pub confidences: usize,
    #[serde(flatten)]
    pub spread: Spread,
    /// Confidences at or above each threshold, and their share of all.
    pub over_9: usize,
    pub over_99: usize,
    pub over_999: usize,
    pub over_9999: usize,
    pub share_over_9: f64,
    pub share_over_99: f64,
    pub share_over_999: f64,
    pub share_over_9999: f64,
    /// Of the confidences after generation 0.
    pub median_of_generation_0: f64,
    /// One a class.
    pub classes: Vec<ClassRow>,
}

/// How confidences lie. Quartiles are interpolated between the two values nearest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub min: f64,
    pub quartile_1: f64,
    pub median: f64,
    pub quartile_3: f64,
    pub max: f64,
}

impl Spread {
    /// That of `values`.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(values: impl IntoIterator<Item = impl Into<f64>>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().map(Into::into).collect();
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Spread {
            min: values[0],
            quartile_1: quantile(0.25),
            median: quantile(0.5),
            quartile_3: quantile(0.75),
            max: values[values.len() - 1],
        }
    }
}

/// A class over all runs of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    pub class: u32,
    pub name: String,
    #[serde(flatten)]
    pub spread: Spread,
    /// Runs at or above .9999.
    pub over_9999: usize,
}

/// Images that a network takes for fooling images before it is trained with them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Those evolved against it: after generation 0, and at the end.
    pub generation_0: Part,
    pub last_generation: Part,
    /// Those evolved against the network before it that it was not trained with, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<Part>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub count: usize,
    pub of: usize,
}

impl Part {
    /// The share; 0 of nothing.
    pub fn share(self) -> f64 {
        self.count as f64 / self.of.max(1) as f64
    }
}

/// The images of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesRow {
    /// Those there were to choose from, and those that the networks after this one are trained with: of the first generation and the last.
    pub of: usize,
    pub sampled: usize,
    pub sampled_of_generation_0: usize,
    pub sampled_of_last_generation: usize,
}

/// `round.json`: a round with the SHA-256 of its JSON text.
#[derive(Serialize, Deserialize)]
struct SealedRound {
    sha256: String,
    row: Round,
}

fn digest_of(row: &Round) -> String {
    hexadecimal(Sha256::new_with_prefix(serde_json::to_vec(row).expect("a row has a JSON form")))
}

/// What may be done with a round that is not as it was written.
fn remedy(round: u32) -> String {
    let name = round_name(round);
    format!(
        "restore it from a copy, or remove the folder {name} and those of later rounds: --resume makes them again, the same"
    )
}

/// A retraining's folder, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct RetrainFolder {
    folder: LockedFolder,
}

/// Whether `path` is the folder of a retraining that was begun.
pub fn is_retraining(path: &Path) -> bool {
    path.join(RECORD).is_file()
}

impl RetrainFolder {
    /// Makes the folder `path`, and those above it; an empty folder will do.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<RetrainFolder> {
        let remedy = || is_retraining(path).then_some("continue that job");
        Ok(RetrainFolder { folder: LockedFolder::create(path, |name| name == LAYERS, remedy, "--out")? })
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<RetrainFolder> {
        Ok(RetrainFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Opens the folder of a retraining that was begun; gives what it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none, or another process is at it; [`Error::File`] if its record cannot be read.
    pub fn open(path: &Path) -> Result<(RetrainFolder, Record)> {
        if !is_retraining(path) {
            let text = format!("{}: holds no {RECORD}; name the folder of a retraining that was begun", path.display());
            return Err(Error::Refused(text));
        }
        let folder = RetrainFolder { folder: LockedFolder::lock(path)? };
        let record: Record = read_json(&path.join(RECORD), "the record of a retraining")?;
        if record.arithmetic_version != ARITHMETIC_VERSION {
            let text = format!(
                "of arithmetic version {}, this program has {ARITHMETIC_VERSION}; continue it with the program that began it",
                record.arithmetic_version
            );
            return Err(Error::file(&path.join(RECORD), text));
        }
        Ok((folder, record))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `retrain.json`, and before it `layers`, a user's layer list.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn write_record(&self, record: &Record, layers: Option<&str>) -> Result<()> {
        if let Some(layers) = layers {
            atomic::write(&self.folder.own(LAYERS)?, |file| file.write_all(layers.as_bytes()))?;
        }
        self.write_json(RECORD, record)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).expect("these have JSON forms") + "\n";
        atomic::write(&self.folder.own(name)?, |file| file.write_all(text.as_bytes()))
    }

    /// The user's layer list, if there is one.
    pub fn layers(&self) -> Option<PathBuf> {
        let path = self.path().join(LAYERS);
        path.is_file().then_some(path)
    }

    /// The folder of a round, from 1, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn round(&self, round: u32) -> Result<RoundFolder> {
        let path = self.folder.own(&round_name(round))?;
        match fs::create_dir(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", &path)(source));
            }
            _ => {}
        }
        // What a killed process left unfinished.
        for folder in [&path, &path.join(NETWORK)].into_iter().filter(|folder| folder.is_dir()) {
            for name in entries(folder)?.into_iter().filter(|name| name.starts_with(atomic::PARTIAL)) {
                atomic::remove(&folder.join(name))?;
            }
        }
        Ok(RoundFolder { path, round })
    }

    /// The rounds that are done, in order; each of their files is looked at.
    ///
    /// # Errors
    /// [`Error::File`] that names the file that is missing or not as it was written.
    pub fn rounds(&self) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for round in 1.. {
            let folder = RoundFolder { path: self.path().join(round_name(round)), round };
            if !folder.path.join(ROUND).exists() {
                break;
            }
            rounds.push(folder.verified()?);
        }
        let missing = rounds.len() as u32 + 1;
        let path = self.path().join(round_name(missing));
        let later = self.later_than(missing)?;
        if let (Some(later), false) = (&later, path.exists()) {
            return Err(Error::file(&path, format!("is missing, though {later} is there: {}", remedy(missing))));
        }
        if let Some(later) = later {
            return Err(Error::file(
                &path.join(ROUND),
                format!("is missing, though {later} is there: {}", remedy(missing)),
            ));
        }
        Ok(rounds)
    }

    /// The name of the folder of a round after `round`, if there is one.
    fn later_than(&self, round: u32) -> Result<Option<String>> {
        let names = entries(self.path())?;
        let number = |name: &String| name.strip_prefix("dnn-")?.parse::<u32>().ok();
        Ok(names.into_iter().filter(|name| number(name).is_some_and(|number| number > round)).min())
    }

    /// Draws and writes what the rounds so far came to: table, plot and sheet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn show(&self, title: &str, rounds: &[Round], sheet: &[SheetRow]) -> Result<()> {
        atomic::write(&self.folder.own(TABLE)?, |file| file.write_all(table(rounds).as_bytes()))?;
        let write =
            |name: &str, Image { canvas, pixels }: Image| pictures::write_png(&self.folder.own(name)?, canvas, &pixels);
        write(PLOT, figure::confidences(title, rounds))?;
        write(SHEET, figure::sheet(title, sheet))
    }

    /// Writes `run.json`: where it is, all rounds are done.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, manifest: &impl Serialize) -> Result<()> {
        self.write_json(MANIFEST, manifest)
    }

    /// Whether there is `run.json`.
    pub fn is_finished(&self) -> bool {
        self.path().join(MANIFEST).is_file()
    }

    /// Takes `run.json` away, since rounds are to be made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unfinish(&self) -> Result<()> {
        atomic::remove(&self.folder.own(MANIFEST)?)
    }
}

/// What a sheet shows of a round.
#[derive(Clone, Debug)]
pub struct SheetRow {
    pub name: String,
    /// Below the name.
    pub text: Vec<String>,
    pub canvas: crate::genome::Canvas,
    /// Class, confidence and pixels.
    pub cells: Vec<(u32, f32, Vec<u8>)>,
}

/// The folder of a round.
#[derive(Clone, Debug)]
pub struct RoundFolder {
    path: PathBuf,
    round: u32,
}

impl RoundFolder {
    /// That of the training.
    pub fn network(&self) -> PathBuf {
        self.path.join(NETWORK)
    }

    /// The weights.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// That of the evolutions.
    pub fn evolution(&self) -> PathBuf {
        self.path.join(EVOLUTION)
    }

    /// The images.
    pub fn images(&self) -> PathBuf {
        self.path.join(IMAGES)
    }

    /// The name of one of the folder's files in [`Round::files`].
    pub fn name_of(&self, path: &Path) -> String {
        let name = path.strip_prefix(&self.path).expect("a path in the folder");
        name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// Writes `round.json`: where it is, the round is done.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, row: &Round) -> Result<()> {
        let sealed = SealedRound { sha256: digest_of(row), row: row.clone() };
        let text = serde_json::to_string_pretty(&sealed).expect("a row has a JSON form") + "\n";
        atomic::write(&self.path.join(ROUND), |file| file.write_all(text.as_bytes()))
    }

    /// The row of a round that is done, each of whose files is looked at.
    fn verified(&self) -> Result<Round> {
        let path = self.path.join(ROUND);
        let damaged = |path: &Path, how: &str| Error::file(path, format!("{how}: {}", remedy(self.round)));
        let sealed: SealedRound = read_json(&path, "the row of a round")
            .map_err(|_| damaged(&path, "is damaged, or not the row of a round"))?;
        if sealed.sha256 != digest_of(&sealed.row) || sealed.row.round != self.round {
            return Err(damaged(&path, "is damaged: its SHA-256 does not fit its content"));
        }
        for (name, sha256) in &sealed.row.files {
            let path = self.path.join(name);
            if !path.is_file() {
                return Err(damaged(&path, "is missing"));
            }
            if sha256_of(&path)? != *sha256 {
                return Err(damaged(&path, "is damaged: its SHA-256 is not that in round.json"));
            }
        }
        Ok(sealed.row)
    }
}

fn round_name(round: u32) -> String {
    format!("dnn-{round:02}")
}

/// The JSON file `path`, which is `what`.
///
/// # Errors
/// [`Error::Io`] or [`Error::File`].
pub fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|source| Error::file(path, format!("not {what}: {source}")))
}

/// `table.csv`.
fn table(rounds: &[Round]) -> String {
    let mut text = String::from(
        "network,training_images,fooling_images,accuracy,min,quartile_1,median,quartile_3,max,share_over_9,share_over_99,\
         share_over_999,share_over_9999,median_of_generation_0,taken_of_generation_0,taken_of_last_generation,taken_of_held_out\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for Round { network, evolution, taken, .. } in rounds {
        let NetworkRow { name, images, fooling_images, accuracy, .. } = network;
        let Spread { min, quartile_1, median, quartile_3, max } = evolution.spread;
        let images = images.map_or(String::new(), |images| images.to_string());
        let shares = [
            evolution.share_over_9,
            evolution.share_over_99,
            evolution.share_over_999,
            evolution.share_over_9999,
            evolution.median_of_generation_0,
        ];
        let taken = [
            taken.map(|taken| taken.generation_0.share()),
            taken.map(|taken| taken.last_generation.share()),
            taken.and_then(|taken| taken.held_out).map(Part::share),
        ];
        let numbers = [min, quartile_1, median, quartile_3, max].into_iter().chain(shares).map(Some).chain(taken);
        let numbers: Vec<String> = std::iter::once(*accuracy).chain(numbers).map(number).collect();
        text += &format!("{name},{images},{fooling_images},{}\n", numbers.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values_nearest() {
        let spread = Spread::of([0.5, 0.25, 1.0, 0.75, 0.0]);
        let Spread { min, quartile_1, median, quartile_3, max } = spread;
        assert_eq!([min, quartile_1, median, quartile_3, max], [0.0, 0.25, 0.5, 0.75, 1.0]);
        let Spread { quartile_1, median, quartile_3, .. } = Spread::of([0.0, 1.0]);
        assert_eq!([quartile_1, median, quartile_3], [0.25, 0.5, 0.75]);
        assert_eq!(Spread::of([0.5]).quartile_3, 0.5);
    }
}
