//! Retraining with a fooling class (spec, section 9): evolve against a network, put images of the first and last generation into a class of
//! their own, train the next network with it, and again. One job, of which each step lands whole: [`crate::output::retrain`] says where.
//!
//! A job is a function of configuration, seed and data. Round i: the network `DNN_i` is trained from scratch with seed `seed + i - 1` on
//! the data and all images sampled so far (the first one may be given); then the runs of the seeds that follow on those of the network before it
//! evolve against it, for the classes of the data alone; then images are sampled ([`sample`]).

pub mod config;
mod round;

pub use config::{Config, Preset};

use super::device::{Asked, Chosen};
use super::evolve::Signals;
use super::progress::ProgressMode;
use super::train::config::{class_names, list, source};
use super::train::data::View;
use super::train::{Broken, Data, Identity, Place};
use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::network::list::List;
use crate::network::weights::Given;
use crate::network::{Network, shapes};
use crate::output::retrain::{self as output, Record, RetrainFolder, Round, SheetRow, hexadecimal};
use crate::output::rfc3339;
use crate::rng::{Philox, Purpose, below};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tracing::info;

/// The networks of a new job.
#[derive(Clone, Debug)]
pub struct Networks {
    /// Name of the layer list, or path of its file and the text.
    pub source: (String, Option<String>),
    /// The first network, where it is not to be trained, and its mean image.
    pub first: Option<PathBuf>,
    pub mean: Option<PathBuf>,
}

impl Networks {
    /// Those that a call names: `network` a layer list, `first` weights, which name theirs; else those of `preset`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn find(
        preset: Preset,
        network: Option<&Path>,
        first: Option<PathBuf>,
        mean: Option<PathBuf>,
    ) -> Result<Networks> {
        let source = match (network, &first) {
            (Some(network), _) => source(network)?,
            (None, Some(first)) => (Network::load(first, mean.as_deref())?.name, None),
            (None, None) => (preset.network().to_string(), None),
        };
        Ok(Networks { source, first, mean })
    }

    /// The layer list.
    ///
    /// # Errors
    /// If it is none.
    pub fn list(&self) -> Result<List> {
        list(&self.source.0, self.source.1.as_deref())
    }

    /// The network that is given, if one is.
    fn first(&self) -> Result<Option<Network>> {
        let Some(path) = &self.first else { return Ok(None) };
        let list = self.source.1.is_some().then(|| self.list()).transpose()?;
        Network::load_as(path, &Given { list, mean: self.mean.clone(), class_names: None }).map(Some)
    }
}

/// One call of `retrain`.
#[derive(Clone, Debug)]
pub struct RetrainRequest {
    pub place: Place,
    /// What a new job is, with its networks; a job that goes on has its own.
    pub job: Option<(Config, Networks)>,
    /// Rounds of a job that goes on, where they are to be others.
    pub rounds: Option<u32>,
    /// Where the images are, to train on and to be tried on; where a job that goes on finds them now.
    pub data: Option<PathBuf>,
    pub validation: Option<PathBuf>,
    /// A file with the order of the classes.
    pub class_names: Option<PathBuf>,
    pub broken: Broken,
    pub device: Asked,
    pub simd: Simd,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub progress: ProgressMode,
}

/// What a finished job came to: the content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: String,
    pub commit: String,
    /// What it is.
    #[serde(flatten)]
    pub record: Record,
    /// What the last call ran on.
    pub device: String,
    pub threads: usize,
    pub simd: String,
    #[serde(with = "rfc3339")]
    pub end: SystemTime,
    /// Of all trainings and evolutions.
    pub seconds: f64,
    pub rounds: Vec<Round>,
}

/// Runs what `request` asks for; gives what it came to, and its folder.
///
/// # Errors
/// [`Error::Stopped`] after SIGINT or SIGTERM, with the state saved; what is wrong with the call, its files and images, before anything is
/// made; on going on, what is not as it was; whatever a training or an evolution comes to.
pub fn run(request: &RetrainRequest) -> Result<(Manifest, PathBuf)> {
    let signals = Signals::catch()?;
    let threads = request.threads;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|source| Error::Refused(format!("cannot start {threads} threads: {source}")))?;
    pool.install(|| run_on_pool(request, &signals))
}

/// As [`run`], on rayon's current pool, until one of `signals` comes: for an experiment of which this is a part.
///
/// # Errors
/// As [`run`].
pub(super) fn run_on_pool(request: &RetrainRequest, signals: &Signals) -> Result<(Manifest, PathBuf)> {
    let job = Job::open(request, signals)?;
    let path = job.folder.path().to_path_buf();
    // A part of the job that stops says how the part would go on.
    let of_job = |error: Error| match error {
        Error::Stopped { signal, .. } => Error::Stopped { signal, command: "retrain", run: path.clone() },
        Error::DeviceLost { source, .. } => Error::DeviceLost { source, command: "retrain", run: path.clone() },
        other => other,
    };
    let manifest = job.run().map_err(of_job)?;
    Ok((manifest, path))
}

/// A job under way.
struct Job<'a> {
    request: &'a RetrainRequest,
    signals: &'a Signals,
    folder: RetrainFolder,
    record: Record,
    list: List,
    /// The text of the list, where that is a user's own.
    layers: Option<String>,
    /// The images without fooling images.
    data: Data,
    /// The network that is given, until a round has it.
    first: Option<Network>,
    rounds: Vec<Round>,
}

impl<'a> Job<'a> {
    /// Looks at all that the call names, then makes or opens the folder.
    fn open(request: &'a RetrainRequest, signals: &'a Signals) -> Result<Job<'a>> {
        let begun = match &request.place {
            Place::Resume(path) => Some(RetrainFolder::open(path)?),
            Place::ResumeOrStart(path) if output::is_retraining(path) => Some(RetrainFolder::open(path)?),
            _ => None,
        };
        let old = begun.as_ref().map(|(_, record)| record);
        let (config, source, first) = match (&request.job, &begun) {
            (Some((config, networks)), _) => (config.clone(), networks.source.clone(), networks.first()?),
            (None, Some((folder, record))) => {
                let layers = folder.layers().map(|path| source(&path)).transpose()?.and_then(|(_, text)| text);
                (record.configuration.clone(), (record.network.clone(), layers), None)
            }
            (None, None) => return Err(Error::Usage("which retraining? A new one has a configuration".to_string())),
        };
        let config = Config { rounds: request.rounds.unwrap_or(config.rounds), ..config };
        let list = list(&source.0, source.1.as_deref())?;
        let data = Job::data(request, old)?;
        check_classes(&config, &list, source.1.is_some(), &data, &request.data)?;
        let n_classes = data.classes.len();
        if let Some(first) = &first {
            check_first(first, &list, n_classes)?;
        }
        let per_run = 2 * n_classes as u64;
        for (key, round) in [("images_first", 1), ("images", 2)] {
            let (images, runs) = (config.sampled(round), config.runs(round));
            let most = per_run * u64::from(runs);
            if u64::from(images) > most {
                return Err(Error::Usage(format!(
                    "{key}: got {images}, wanted at most {most}: {runs} runs have {n_classes} images each of the first generation and of the \
                     last"
                )));
            }
        }

        let absolute = |path: &PathBuf| std::path::absolute(path).map_err(Error::io("find", path));
        let path_of = |new: &Option<PathBuf>, old: Option<&PathBuf>| new.as_ref().or(old).map(absolute).transpose();
        let record = Record {
            arithmetic_version: ARITHMETIC_VERSION,
            network: source.0,
            first_network: match (&first, old, request.job.is_some()) {
                (Some(first), ..) => Some(digest_of(first)),
                (None, Some(old), false) => old.first_network.clone(),
                _ => None,
            },
            data: path_of(&request.data, old.map(|old| &old.data))?.expect("there were data"),
            validation: path_of(&request.validation, old.and_then(|old| old.validation.as_ref()))?,
            broken: old.filter(|_| request.job.is_none()).map_or(request.broken, |old| old.broken),
            trained_on: data.training.identity(),
            tried_on: data.validation.as_ref().map(|set| set.identity()),
            classes: data.classes.clone(),
            configuration: config,
        };
        let layers = source.1;
        let (folder, rounds) = match begun {
            Some((folder, old)) => {
                check_same(&old, &record, &folder, layers.as_deref())?;
                let rounds = folder.rounds()?;
                let (done, wanted) = (rounds.len(), record.configuration.rounds);
                if done > wanted as usize {
                    return Err(Error::Refused(format!("--rounds {wanted}: {done} are done already")));
                }
                if old != record {
                    folder.write_record(&record, layers.as_deref())?;
                }
                (folder, rounds)
            }
            None => {
                let folder = match &request.place {
                    Place::Create(path) | Place::Resume(path) | Place::ResumeOrStart(path) => {
                        RetrainFolder::create(path)?
                    }
                    Place::Default => {
                        let Config { preset, seed, .. } = &record.configuration;
                        let preset = super::config::name_of(*preset);
                        let name = format!("retrain-{preset}-seed{seed}");
                        RetrainFolder::create_numbered(&Path::new("runs").join(name))?
                    }
                };
                folder.write_record(&record, layers.as_deref())?;
                (folder, Vec::new())
            }
        };
        Ok(Job { request, signals, folder, record, list, layers, data, first, rounds })
    }

    /// The images of the call, or those of the job that goes on.
    fn data(request: &RetrainRequest, old: Option<&Record>) -> Result<Data> {
        let Some(data) = request.data.as_ref().or(old.map(|old| &old.data)) else {
            return Err(Error::Usage(format!(
                "where are the images? --data DIR, or for MNIST the environment variable PAREIDOLIA_DATA, names a folder with a folder a \
                 class (CLASS/IMAGE.jpg), or that of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                 t10k-labels-idx1-ubyte (plain or .gz; they can be had from {})",
                crate::dataset::MNIST_URL
            )));
        };
        let validation = request.validation.as_ref().or(old.and_then(|old| old.validation.as_ref()));
        let names = request.class_names.as_deref().map(class_names).transpose()?;
        let names = names.or_else(|| old.map(|old| old.classes.clone()).filter(|classes| !classes.is_sorted()));
        let broken = old.filter(|_| request.job.is_none()).map_or(request.broken, |old| old.broken);
        Data::load(data, validation.map(PathBuf::as_path), names.as_deref(), broken)
    }

    /// Makes the rounds that are left, then the files of a finished job.
    fn run(mut self) -> Result<Manifest> {
        let wanted = self.record.configuration.rounds;
        info!("retraining in {}: {} of {wanted} rounds are done", self.folder.path().display(), self.rounds.len());
        // Of a job that was killed between its last round and `run.json`, table and pictures may be older.
        let mut is_shown = self.folder.is_finished();
        self.folder.unfinish()?;
        while (self.rounds.len() as u32) < wanted {
            let round = self.round(self.rounds.len() as u32 + 1)?;
            self.rounds.push(round);
            self.show()?;
            is_shown = true;
        }
        if !is_shown {
            self.show()?;
        }
        let seconds = |round: &Round| round.network.seconds + round.evolution.seconds;
        let network = match self.rounds.last() {
            Some(round) => Network::load_as(&self.folder.round(round.round)?.weights(), &self.given())?,
            None => unreachable!("there is a round at least"),
        };
        let device = Chosen::choose(self.request.device, &network)?;
        let manifest = Manifest {
            version: VERSION.to_string(),
            commit: COMMIT.to_string(),
            device: device.name(),
            threads: rayon::current_num_threads(),
            simd: self.request.simd.to_string(),
            end: SystemTime::now(),
            seconds: self.rounds.iter().map(seconds).sum(),
            rounds: self.rounds.clone(),
            record: self.record.clone(),
        };
        self.folder.finish(&manifest)?;
        Ok(manifest)
    }

    /// Writes table, plot and sheet of the rounds so far.
    fn show(&self) -> Result<()> {
        let title =
            format!("{} retrained with fooling images, seed {}", self.list.name, self.record.configuration.seed);
        let rows = self.rounds.iter().map(|round| self.sheet_row(round)).collect::<Result<Vec<_>>>()?;
        self.folder.show(&title, &self.rounds, &rows)
    }

    /// What the first run of a round came to, of ten classes at most.
    fn sheet_row(&self, round: &Round) -> Result<SheetRow> {
        const SHOWN: usize = 10;
        let images = self.images_of(round)?;
        let seed = round.evolution.first_seed;
        let of_run: Vec<usize> =
            (0..images.rows.len()).filter(|&i| images.rows[i].is_last && images.rows[i].seed == seed).collect();
        let shown = of_run.len().min(SHOWN);
        let cells = (0..shown).map(|i| of_run[i * of_run.len() / shown]).map(|row| {
            let output::Row { class, confidence, .. } = images.rows[row];
            Ok((class, confidence, images.image(row)?))
        });
        let mut text = Vec::new();
        if let Some(accuracy) = round.network.accuracy {
            text.push(format!("{:.2} % right", 100.0 * accuracy));
        }
        if round.network.fooling_images > 0 {
            text.push(format!("{} fooling images", round.network.fooling_images));
        }
        text.push(format!("median {}", super::retrain::confidence(round.evolution.spread.median)));
        let (name, canvas) = (round.network.name.clone(), images.canvas());
        Ok(SheetRow { name, text, canvas, cells: cells.collect::<Result<_>>()? })
    }

    /// How the weights of the job's networks are read.
    fn given(&self) -> Given {
        Given { list: self.layers.is_some().then(|| self.list.clone()), ..Given::default() }
    }

    /// Fails if a signal has come.
    fn look_for_signals(&self) -> Result<()> {
        match self.signals.caught() {
            None => Ok(()),
            Some(signal) => Err(Error::Stopped { signal, command: "retrain", run: self.folder.path().to_path_buf() }),
        }
    }

    /// The view of the networks.
    fn view(&self) -> View {
        View::of(&self.list)
    }
}

/// A confidence in f64 to five decimals, cut: 1 only if it is.
pub fn confidence(value: f64) -> String {
    let nearest = value as f32;
    crate::output::confidence_text(if f64::from(nearest) > value { nearest.next_down() } else { nearest })
}

/// Which of `of` images are taken, `count` of them: partial shuffle of Fisher and Yates; place k takes that of the places from k on which word
/// k of the round chooses.
///
/// # Panics
/// If there are fewer, or more than 32 bits can number.
pub fn sample(seed: u64, round: u32, of: usize, count: usize) -> Vec<bool> {
    assert!(count <= of && u32::try_from(of).is_ok(), "as many as there are");
    let draws = Philox::new(seed).draws(Purpose::RetrainSample, 0, round);
    let mut places: Vec<usize> = (0..of).collect();
    let mut taken = vec![false; of];
    for k in 0..count {
        let other = k + below(draws.word(k as u32), (of - k) as u32) as usize;
        places.swap(k, other);
        taken[places[k]] = true;
    }
    taken
}

/// Fails if the data have a class of the fooling class's name, or networks cannot have one class more.
fn check_classes(config: &Config, list: &List, is_users: bool, data: &Data, dir: &Option<PathBuf>) -> Result<()> {
    let name = &config.fooling_class;
    if data.classes.contains(name) {
        let what = match dir {
            Some(dir) if dir.join(name).exists() => format!("{}: is there already", dir.join(name).display()),
            _ => "the data have that class already".to_string(),
        };
        return Err(Error::Usage(format!(
            "the fooling class is to be called {name:?}: {what}; choose another name with --fooling-class"
        )));
    }
    data.check_size(list)?;
    let n = data.classes.len();
    for n_outputs in [n, n + 1] {
        let shapes = shapes(list.input(), &list.layers(n_outputs)).map_err(Error::Usage)?;
        let outputs = shapes[shapes.len() - 1].len();
        if outputs != n_outputs {
            let file = if is_users { "the layer list" } else { "the network" };
            return Err(Error::Usage(format!(
                "{file} {} has {outputs} outputs whatever the classes, wanted {n} at first and {} with the fooling class: write outputs = \
                 \"classes\" in the layer that has one a class",
                list.name,
                n + 1
            )));
        }
    }
    Ok(())
}

/// Fails if the network that is given is not one for the classes and images of the job.
fn check_first(first: &Network, list: &List, n_classes: usize) -> Result<()> {
    let outputs = first.classes.len();
    if outputs != n_classes {
        return Err(Error::Refused(format!(
            "network {:?}: has {outputs} classes, the images are of {n_classes}",
            first.name
        )));
    }
    let View { shown, seen } = View::of(list);
    let sides = |shape: crate::network::Shape| (shape.height, shape.width, shape.channels);
    if sides(first.image) != (shown.height, shown.width, shown.channels)
        || sides(first.input) != (seen.height, seen.width, seen.channels)
    {
        return Err(Error::Refused(format!(
            "network {:?}: is shown images of {} and sees {}, those trained after it {}x{} and {}x{}",
            first.name, first.image, first.input, shown.height, shown.width, seen.height, seen.width
        )));
    }
    Ok(())
}

/// What tells a network from others: SHA-256 of name, weights and preprocessing.
fn digest_of(network: &Network) -> String {
    let mut digest = Sha256::new_with_prefix(format!("{} {:?}\n", network.name, network.preprocess.channel_order));
    let parameters = network.parameters.iter().flat_map(|layer| [&layer.weight[..], &layer.bias[..]]);
    for values in parameters.chain([&network.preprocess.mean[..], &network.preprocess.scale[..]]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        digest.update((values.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    hexadecimal(digest)
}

/// Fails where `new` is not the job `old` of `folder`, but for the number of its rounds and the places of its images.
fn check_same(old: &Record, new: &Record, folder: &RetrainFolder, layers: Option<&str>) -> Result<()> {
    let refused = |what: &str, there: &str, here: &str| {
        Err(Error::Refused(format!(
            "{}: holds another job: {what} is {there} there and {here} here; continue with what it has, or start a new job in another folder",
            folder.path().display()
        )))
    };
    if let Some((key, there, here)) = old.configuration.difference(&new.configuration) {
        return refused(&key, &there, &here);
    }
    let text = match folder.layers() {
        Some(path) => std::fs::read_to_string(&path).map(Some).map_err(Error::io("read", &path))?,
        None => None,
    };
    if text.is_none() && old.network != new.network || text.is_none() != layers.is_none() {
        return refused("the network", &old.network, &new.network);
    }
    if text.as_deref() != layers {
        return refused("the layer list", "layers.toml", &format!("{}, which differs from it,", new.network));
    }
    if old.first_network != new.first_network {
        let text = |sha256: &Option<String>| {
            sha256.as_ref().map_or("trained".to_string(), |sha256| format!("of SHA-256 {sha256}"))
        };
        return refused("the first network", &text(&old.first_network), &text(&new.first_network));
    }
    let text = |identity: Option<&Identity>| match identity {
        Some(Identity { images, sha256 }) => format!("{images} images, SHA-256 {sha256},"),
        None => "none".to_string(),
    };
    if old.trained_on != new.trained_on {
        return refused("what networks are trained on", &text(Some(&old.trained_on)), &text(Some(&new.trained_on)));
    }
    if old.tried_on != new.tried_on {
        return refused("what networks are tried on", &text(old.tried_on.as_ref()), &text(new.tried_on.as_ref()));
    }
    if old.classes != new.classes {
        let text = |classes: &[String]| format!("{:?}", classes.join(", "));
        return refused("the order of the classes", &text(&old.classes), &text(&new.classes));
    }
    if old.broken != new.broken {
        let text = |broken: Broken| format!("{broken:?}").to_lowercase();
        return refused("what is done with broken files", &text(old.broken), &text(new.broken));
    }
    Ok(())
}

/// What a network is that was loaded for a round.
fn load(path: &Path, given: &Given) -> Result<Arc<Network>> {
    Network::load_as(path, given).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_as_many_as_wanted_and_another_each_round() {
        let count = |taken: &[bool]| taken.iter().filter(|&&is| is).count();
        let (a, b) = (sample(1, 1, 100, 30), sample(1, 2, 100, 30));
        assert_eq!((count(&a), count(&b)), (30, 30));
        assert_ne!(a, b);
        assert_ne!(a, sample(2, 1, 100, 30));
        assert!(sample(1, 1, 50, 50).iter().all(|&is| is));
        // Each image as often as others: 4,000 of 8,000 draws, give or take six standard deviations.
        let mut often = [0_u32; 4];
        (0..8000).for_each(|round| {
            sample(1, round, 4, 2).iter().zip(&mut often).for_each(|(&is, n)| *n += u32::from(is));
        });
        assert!(often.iter().all(|n| n.abs_diff(4000) < 270), "{often:?}");
    }
}
