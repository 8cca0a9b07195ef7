//! The paper's experiments on MNIST in one job: both encodings against each network that comes with the program, gradient ascent,
//! transfer, and the arms race of retraining (spec, sections 7 to 10); and a table of the paper's claims with what became of them.
//!
//! A reproduction is a function of its [`Protocol`] and the digits. Each part is a job of its own in the folder
//! ([`crate::output::reproduce`]), so whatever is there already is not made again.

mod claims;
mod evidence;

pub use claims::{Certainty, Claim, Finding, Report};

use super::ascend::config::{Config as AscentConfig, Preset as Setting};
use super::ascend::{self, AscendRequest};
use super::config::{Config, Flavour, Preset, name_of};
use super::device::Asked;
use super::evolve::{self, Signals};
use super::progress::ProgressMode;
use super::request::{EvolveRequest, OutChoice, StopOverrides};
use super::retrain::{self, Config as Retraining, Networks, Preset as Race, RetrainRequest};
use super::train::{self, Broken, Config as Training, Data, Place, Recipe};
use super::transfer::{self, TransferRequest};
use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::network::shipped::SHIPPED;
use crate::network::weights::Files;
use crate::network::{Crops, lenet};
use crate::output::reproduce::{Record, ReproduceFolder, is_reproduction};
use crate::output::series;
use crate::simd::Simd;
use evidence::Evidence;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::info;

/// Everything that decides a reproduction, but for the digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    pub seed: u64,
    /// Runs of each encoding against each network, at least 2, and their generations.
    pub runs: u32,
    pub generations: u32,
    /// Images of each digit by each setting of the ascent.
    pub ascent_seeds: u32,
    /// Of the retraining: networks; runs against the first and against each later one, and their generations; images of the first network,
    /// and of each later one, that are added; iterations of a training.
    pub rounds: u32,
    pub retrain_runs_first: u32,
    pub retrain_runs: u32,
    pub retrain_generations: u32,
    pub images_first: u32,
    pub images: u32,
    pub iterations: u32,
}

impl Protocol {
    /// The paper's numbers (spec, sections 9.2 and 12): 50 runs, 15 networks, 300 runs against the first.
    pub const FULL: Protocol = Protocol {
        seed: 1,
        runs: 50,
        generations: 200,
        ascent_seeds: 5,
        rounds: 15,
        retrain_runs_first: 300,
        retrain_runs: 60,
        retrain_generations: 200,
        images_first: 6000,
        images: 1000,
        iterations: 10_000,
    };

    /// Everything once, in two minutes on two cores: what it says of the claims means little.
    pub const SMOKE: Protocol = Protocol {
        seed: 1,
        runs: 3,
        generations: 60,
        ascent_seeds: 1,
        rounds: 2,
        retrain_runs_first: 4,
        retrain_runs: 3,
        retrain_generations: 40,
        images_first: 80,
        images: 40,
        iterations: 600,
    };

    /// The first key in which `self` is not `other`, with both values.
    pub fn difference(&self, other: &Protocol) -> Option<(String, String, String)> {
        let table = |protocol: &Protocol| serde_json::to_value(protocol).expect("a protocol has a JSON form");
        let (here, there) = (table(self), table(other));
        let here = here.as_object().expect("an object").iter();
        here.map(|(key, value)| (key.clone(), value.to_string(), there[key].to_string())).find(|(_, a, b)| a != b)
    }
}

/// One call of `reproduce`.
#[derive(Clone, Debug)]
pub struct ReproduceRequest {
    pub place: Place,
    /// What a new one is; one that goes on has its own.
    pub protocol: Option<Protocol>,
    /// Where the digits are.
    pub data: Option<PathBuf>,
    pub device: Asked,
    pub simd: Simd,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub progress: ProgressMode,
}

/// Runs what `request` asks for; gives what became of the claims, and the folder.
///
/// # Errors
/// [`Error::Stopped`] after SIGINT or SIGTERM, with the state saved; what is wrong with the call or its files, before anything is made; on
/// going on, what is not as it was; whatever a part comes to.
pub fn run(request: &ReproduceRequest) -> Result<(Report, PathBuf)> {
    let signals = Signals::catch()?;
    let threads = request.threads;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|source| Error::Refused(format!("cannot start {threads} threads: {source}")))?;
    pool.install(|| {
        let job = Job::open(request, &signals)?;
        let path = job.folder.path().to_path_buf();
        // A part that stops says how the part would go on.
        let report = job.run().map_err(|error| match error {
            Error::Stopped { signal, .. } | Error::CutShort { signal, .. } => {
                Error::Stopped { signal, command: "reproduce", run: path.clone() }
            }
            Error::DeviceLost { source, .. } => Error::DeviceLost { source, command: "reproduce", run: path.clone() },
            other => other,
        })?;
        Ok((report, path))
    })
}

/// The presets of the two encodings.
const ENCODINGS: [Preset; 2] = [Preset::MnistCppn, Preset::MnistDirect];
/// The paper's settings of the ascent.
const SETTINGS: [Setting; 5] = [Setting::Default, Setting::Plain, Setting::Fade, Setting::Blur, Setting::Sparse];

/// Names of parts.
fn series_name(encoding: Preset, network: &str) -> String {
    let method = if encoding.is_direct() { "direct" } else { "cppn" };
    format!("evolve-{method}-{network}")
}
fn ascent_name(setting: Setting) -> String {
    format!("ascend-{}", name_of(setting))
}
const TRANSFER: &str = "transfer";
const RETRAIN: &str = "retrain";

/// A reproduction under way.
struct Job<'a> {
    request: &'a ReproduceRequest,
    signals: &'a Signals,
    folder: ReproduceFolder,
    record: Record,
    data: Data,
    networks: Vec<Files>,
}

impl<'a> Job<'a> {
    /// Looks at all that the call names, then makes or opens the folder.
    fn open(request: &'a ReproduceRequest, signals: &'a Signals) -> Result<Job<'a>> {
        let begun = match &request.place {
            Place::Resume(path) => Some(ReproduceFolder::open(path)?),
            Place::ResumeOrStart(path) if is_reproduction(path) => Some(ReproduceFolder::open(path)?),
            _ => None,
        };
        let old = begun.as_ref().map(|(_, record)| record);
        let Some(protocol) = request.protocol.or(old.map(|old| old.protocol)) else {
            return Err(Error::Usage("which reproduction? A new one has a protocol".to_string()));
        };
        let dir = request.data.as_ref().or(old.map(|old| &old.data)).ok_or_else(|| {
            Error::Usage(format!(
                "where is MNIST? --data DIR, or the environment variable PAREIDOLIA_DATA, names the folder of train-images-idx3-ubyte, \
                 train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz; they can be had from {})",
                crate::dataset::MNIST_URL
            ))
        })?;
        let dir = std::path::absolute(dir).map_err(Error::io("find", dir))?;
        let load = |split| crate::dataset::Mnist::load(&dir, split);
        let data = Data::digits(load(crate::dataset::Split::Train)?, load(crate::dataset::Split::Test)?);
        let record = Record {
            arithmetic_version: ARITHMETIC_VERSION,
            protocol,
            trained_on: data.training.identity(),
            tried_on: data.validation.as_ref().expect("MNIST has test digits").identity(),
            data: dir,
        };
        let folder = match begun {
            Some((folder, old)) => {
                check_same(&old, &record, folder.path())?;
                folder
            }
            None => match &request.place {
                Place::Create(path) | Place::Resume(path) | Place::ResumeOrStart(path) => {
                    ReproduceFolder::create(path)?
                }
                Place::Default => ReproduceFolder::create_numbered(Path::new("runs/reproduce-mnist"))?,
            },
        };
        folder.write_record(&record)?;
        let networks = folder.networks()?;
        Ok(Job { request, signals, folder, record, data, networks })
    }

    /// Makes all parts that are not there, and looks at what they came to.
    fn run(&self) -> Result<Report> {
        let clock = Instant::now();
        info!("reproducing the experiments on MNIST in {}", self.folder.path().display());
        self.announce()?;
        for (network, files) in SHIPPED.iter().zip(&self.networks) {
            for encoding in ENCODINGS {
                self.evolve(encoding, network.name, files)?;
            }
        }
        for setting in SETTINGS {
            self.ascend(setting)?;
        }
        self.transfer()?;
        self.look_for_signals()?;
        self.retrain()?;
        let evidence = Evidence::gather(self)?;
        let report = Report::of(&self.record.protocol, &evidence, clock.elapsed().as_secs_f64());
        self.folder.finish(&report)?;
        Ok(report)
    }

    /// The configuration of the runs of an encoding.
    fn evolution(&self, encoding: Preset) -> Config {
        let Protocol { seed, generations, .. } = self.record.protocol;
        Config { seed, generations, ..Config::preset(encoding, Flavour::Faithful) }
    }

    /// The runs of an encoding against a network.
    fn evolve(&self, encoding: Preset, network: &str, files: &Files) -> Result<()> {
        let path = self.folder.part(&series_name(encoding, network))?;
        if series::is_finished(&path) {
            return Ok(());
        }
        info!("{} runs of {} against {network}", self.record.protocol.runs, name_of(encoding));
        evolve::run_on_pool(
            self.evolve_request(self.evolution(encoding), self.record.protocol.runs, files, path),
            self.signals,
        )?;
        Ok(())
    }

    fn evolve_request(&self, config: Config, runs: u32, files: &Files, path: PathBuf) -> EvolveRequest {
        EvolveRequest {
            config,
            runs,
            files: files.clone(),
            start: None,
            out: OutChoice::ResumeOrStart(path),
            device: self.request.device,
            stop: StopOverrides::default(),
            threads: self.request.threads,
            simd: self.request.simd,
            chunk: None,
            progress: self.request.progress,
            pictures: true,
            tensorboard: None,
            lineage: false,
        }
    }

    /// The images of a setting.
    fn ascend(&self, setting: Setting) -> Result<()> {
        self.folder.whole_part(&ascent_name(setting), |out| {
            info!("ascent by the setting {}", name_of(setting));
            let config = AscentConfig { seeds: self.record.protocol.ascent_seeds, ..AscentConfig::preset(setting) };
            ascend::run_on_pool(&self.ascend_request(config, out, self.request.progress), self.signals).map(drop)
        })?;
        Ok(())
    }

    fn ascend_request(&self, config: AscentConfig, out: PathBuf, progress: ProgressMode) -> AscendRequest {
        AscendRequest {
            config,
            files: self.networks[0].clone(),
            out: Some(out),
            device: self.request.device,
            threads: self.request.threads,
            simd: self.request.simd,
            progress,
            pictures: true,
        }
    }

    /// The images of all runs and ascents, shown to all networks.
    fn transfer(&self) -> Result<()> {
        let names = SHIPPED.iter().flat_map(|network| ENCODINGS.map(|encoding| series_name(encoding, network.name)));
        let names = names.chain(SETTINGS.map(ascent_name));
        let inputs = names.map(|name| self.folder.part(&name)).collect::<Result<_>>()?;
        self.folder.whole_part(TRANSFER, |out| {
            info!("showing all images to all networks");
            let request = TransferRequest {
                inputs,
                networks: self.networks.clone(),
                shared_classes: false,
                resize: None,
                crops: Crops::One,
                out: Some(out),
                device: self.request.device,
                threads: self.request.threads,
                simd: self.request.simd,
                progress: self.request.progress,
            };
            transfer::run_on_pool(&request).map(drop)
        })?;
        Ok(())
    }

    /// The arms race.
    fn retrain(&self) -> Result<()> {
        let Protocol { seed, rounds, retrain_runs_first, retrain_runs, retrain_generations, .. } = self.record.protocol;
        let Protocol { images_first, images, iterations, .. } = self.record.protocol;
        let networks = Networks::find(Race::Mnist, None, None, None)?;
        let mut config = Retraining::preset(Race::Mnist, Flavour::Faithful, &networks.list()?);
        (config.seed, config.rounds, config.generations) = (seed, rounds, retrain_generations);
        (config.runs_first, config.runs) = (retrain_runs_first, retrain_runs);
        (config.images_first, config.images, config.train.iterations) = (images_first, images, iterations);
        let request = RetrainRequest {
            place: Place::ResumeOrStart(self.folder.part(RETRAIN)?),
            job: Some((config, networks)),
            rounds: None,
            data: Some(self.record.data.clone()),
            validation: None,
            class_names: None,
            broken: Broken::Refuse,
            device: self.request.device,
            simd: self.request.simd,
            threads: self.request.threads,
            progress: self.request.progress,
        };
        retrain::run_on_pool(&request, self.signals)?;
        Ok(())
    }

    /// Says how long what is left will take, by rates that are measured: a second or two.
    fn announce(&self) -> Result<()> {
        let Protocol { runs, generations, ascent_seeds, rounds, iterations, .. } = self.record.protocol;
        let Protocol { retrain_runs_first, retrain_runs, retrain_generations, .. } = self.record.protocol;
        let batch = f64::from(self.evolution(Preset::MnistCppn).batch);
        let is_left = |name: String| self.folder.part(&name).map(|path| !path.exists());
        let mut series = 0;
        for network in &SHIPPED {
            for encoding in ENCODINGS {
                let path = self.folder.part(&series_name(encoding, network.name))?;
                series += u32::from(!series::is_finished(&path));
            }
        }
        let mut steps = 0.0;
        for setting in SETTINGS {
            let of = AscentConfig::preset(setting).iterations;
            steps += if is_left(ascent_name(setting))? { 10.0 * f64::from(of * ascent_seeds) } else { 0.0 };
        }
        let retraining = self.folder.part(RETRAIN)?;
        let done = (1..=rounds).filter(|round| retraining.join(format!("dnn-{round:02}/round.json")).exists()).count();
        let rounds = (done as u32..rounds).len() as u32;
        if series == 0 && steps == 0.0 && rounds == 0 {
            return Ok(());
        }
        let evolved = batch * f64::from(series * runs) * f64::from(generations + 1);
        let raced = match done {
            0 if rounds > 0 => retrain_runs_first + (rounds - 1) * retrain_runs,
            _ => rounds * retrain_runs,
        };
        let raced = batch * f64::from(raced) * f64::from(retrain_generations + 1);
        let trained = f64::from(rounds) * f64::from(iterations);
        let [genome, step, iteration] = self.costs()?;
        let parts = [
            ("evolution", evolved * genome),
            ("ascent", steps * step),
            ("retraining", raced * genome + trained * iteration),
        ];
        let all: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        let parts = parts.map(|(name, seconds)| format!("{name} {}", duration(seconds)));
        info!(
            "expected: about {} ({}), by rates measured just now; it can be stopped and goes on with --resume {}",
            duration(all),
            parts.join(", "),
            self.folder.path().display()
        );
        Ok(())
    }

    /// Seconds of a genome, of a step of an image that climbs, and of an iteration of a training, from short ones in a folder that
    /// is removed.
    fn costs(&self) -> Result<[f64; 3]> {
        let scratch = tempfile::tempdir().map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        let quiet = tracing::subscriber::NoSubscriber::default();
        tracing::subscriber::with_default(quiet, || {
            let mut config = self.evolution(Preset::MnistCppn);
            let mut genomes = f64::from(config.batch * RUNS);
            // Of a first generation much is preparation.
            config.generations = GENERATIONS;
            genomes *= f64::from(GENERATIONS + 1);
            let mut request = self.evolve_request(config, RUNS, &self.networks[0], scratch.path().join("evolve"));
            (request.progress, request.pictures) = (ProgressMode::None, false);
            let clock = Instant::now();
            evolve::run_on_pool(request, self.signals)?;
            let genome = clock.elapsed().as_secs_f64() / genomes;

            let config = AscentConfig { iterations: STEPS, seeds: 1, ..AscentConfig::preset(Setting::Default) };
            let mut request = self.ascend_request(config, scratch.path().join("ascend"), ProgressMode::None);
            request.pictures = false;
            let (manifest, _) = ascend::run_on_pool(&request, self.signals)?;
            let step = 1.0 / manifest.images_per_second;

            let recipe = Recipe { iterations: ITERATIONS, ..Recipe::lenet(1) };
            let how = (self.request.device, self.request.simd, ProgressMode::None);
            let config = Training { data: self.record.data.clone(), ..Training::mnist(lenet::NAME, recipe) };
            let trained = train::run_in(&scratch.path().join("train"), config, self.data.clone(), how, self.signals)?;
            Ok([genome, step, trained.time.as_secs_f64() / f64::from(ITERATIONS)])
        })
    }

    /// Fails if a signal has come.
    fn look_for_signals(&self) -> Result<()> {
        match self.signals.caught() {
            None => Ok(()),
            Some(signal) => Err(Error::Stopped { signal, command: "reproduce", run: self.folder.path().to_path_buf() }),
        }
    }
}

/// What is made to measure rates.
const RUNS: u32 = 4;
const GENERATIONS: u32 = 20;
const STEPS: u32 = 50;
const ITERATIONS: u32 = 100;

/// So many seconds, for people.
fn duration(seconds: f64) -> String {
    let seconds = Duration::from_secs_f64(seconds.max(1.0)).as_secs();
    // Nobody wants to know the seconds of an hour.
    let rounded = match seconds {
        0..120 => seconds,
        120..7200 => seconds.div_ceil(60) * 60,
        _ => seconds.div_ceil(600) * 600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}

/// Fails where `new` is not the reproduction `old` of the folder `path`, but for the place of the digits.
fn check_same(old: &Record, new: &Record, path: &Path) -> Result<()> {
    let refused = |what: &str, there: &str, here: &str| {
        Err(Error::Refused(format!(
            "{}: holds another reproduction: {what} is {there} there and {here} here; continue with what it has, or start a new one in \
             another folder",
            path.display()
        )))
    };
    if let Some((key, there, here)) = old.protocol.difference(&new.protocol) {
        return refused(&key, &there, &here);
    }
    for (what, old, new) in [
        ("the SHA-256 of the training digits", &old.trained_on, &new.trained_on),
        ("the SHA-256 of the test digits", &old.tried_on, &new.tried_on),
    ] {
        if old != new {
            return refused(what, &old.sha256, &new.sha256);
        }
    }
    Ok(())
}
