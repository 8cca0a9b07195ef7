//! `pareidolia retrain`: does a network learn to see through fooling images?

use super::Speed;
use crate::error::{Error, Result};
use crate::experiment::ascend::config::word_setting;
use crate::experiment::config::Setting;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::retrain::{self, Config, Manifest, Networks, Preset, RetrainRequest, confidence, config::KEYS};
use crate::experiment::train::{Broken, Place};
use crate::output::retrain::{Part, Round};
use clap::builder::StyledStr;
use std::path::{Path, PathBuf};
use tracing::info;

/// Retrain networks with the images that fool them, round after round
///
/// The paper's question of section 3.7 and 3.8, as one job: train a network; evolve images that fool it, many runs at once; put those of the
/// first and last generations into a class of their own, one more than the data have; train the next network from scratch with them; evolve
/// against that one; and again. Each network, archive and image is kept, and for each network the job says how certain it still is of images
/// that are nothing, how many images it takes for fooling images before it is trained with them, and how well it still knows the real ones.
///
/// A job is a function of configuration, seed and images. It can be stopped at any time and goes on with --resume DIR.
///
/// The configuration grows in layers: the preset, then --config, then --set, then the options below.
#[derive(Debug, clap::Args)]
#[command(after_long_help = keys_help())]
pub struct Args {
    /// The protocol [default: mnist]
    #[arg(value_enum)]
    preset: Option<Preset>,

    /// Seed of all random numbers: a number, or `random` to have one drawn [default: 1]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    seed: Option<String>,

    /// Networks, the first one included [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    rounds: Option<String>,

    /// Evolutions against the first network [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    runs_first: Option<String>,

    /// The same against each later network [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    runs: Option<String>,

    /// Generations of each after the random one [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    generations: Option<String>,

    /// Images of the first round that later networks are trained with [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    images_first: Option<String>,

    /// The same of each later round [default: the preset's]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    images: Option<String>,

    /// Updates of the weights of each network [default: the preset's; imagenet: those of the network's recipe]
    #[arg(long, value_name = "N", help_heading = "What to do", allow_negative_numbers = true)]
    iterations: Option<String>,

    /// Name of the class of the fooling images [default: fooling]
    #[arg(long, value_name = "NAME", help_heading = "What to do")]
    fooling_class: Option<String>,

    /// A configuration to start from, such as --dry-run prints
    #[arg(long, value_name = "FILE", help_heading = "What to do")]
    config: Option<PathBuf>,

    /// A configuration value, such as `train.rate=0.02`; may be repeated (--help lists the keys)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "What to do")]
    set: Vec<String>,

    /// The networks: one that `info` lists, or a layer list (FILE.toml) [default: that of --weights; lenet, imagenet: caffenet]
    #[arg(long, value_name = "NAME|FILE", help_heading = "Networks and images")]
    network: Option<PathBuf>,

    /// The first network, a safetensors file [default: it is trained as the others are]
    #[arg(long, value_name = "FILE", help_heading = "Networks and images")]
    weights: Option<PathBuf>,

    /// Its mean image, a safetensors file [default: as the weights file says]
    #[arg(long, value_name = "FILE", requires = "weights", help_heading = "Networks and images")]
    mean: Option<PathBuf>,

    /// Folder of images with a folder a class (CLASS/IMAGE.jpg, JPEG or PNG), or of MNIST's four IDX files, plain or gzip, or one with a
    /// folder `mnist` [default: $PAREIDOLIA_DATA]
    #[arg(long, value_name = "DIR", help_heading = "Networks and images")]
    data: Option<PathBuf>,

    /// Folder of images to try each network on, with the same classes; MNIST has its own
    #[arg(long, value_name = "DIR", help_heading = "Networks and images")]
    val: Option<PathBuf>,

    /// The order of the classes: a text file with the name of a folder a line [default: sorted]
    #[arg(long, value_name = "FILE", help_heading = "Networks and images")]
    class_names: Option<PathBuf>,

    /// What is done with files that are broken, empty or huge [default: refuse]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Networks and images")]
    broken: Option<Broken>,

    /// The job's folder, which must not hold another [default: a new one, named after preset and seed, in `runs`]
    #[arg(long, value_name = "DIR", help_heading = "Where it goes")]
    out: Option<PathBuf>,

    /// Go on with the job in this folder
    ///
    /// What it is comes from there, so only options of speed and output go with it, --data and --val where the images have moved, and
    /// --rounds, which makes a job longer.
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Where it goes",
        conflicts_with_all = [
            "preset", "seed", "runs_first", "runs", "generations", "images_first", "images", "iterations", "fooling_class", "config", "set", "network",
            "weights", "class_names", "broken", "out", "dry_run"
        ]
    )]
    resume: Option<PathBuf>,

    /// Go on with the job in --out if one was begun there, else begin it: for batch jobs
    #[arg(long, requires = "out", help_heading = "Where it goes")]
    resume_or_start: bool,

    /// Print the resolved configuration as TOML (with --json, as JSON) and do nothing else
    #[arg(long, help_heading = "Where it goes")]
    dry_run: bool,

    /// At the end, print the contents of run.json to standard output instead of a table
    #[arg(long, help_heading = "Where it goes")]
    json: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU
    #[arg(long, value_name = "WHERE", default_value = "auto", help_heading = "How it runs")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Retrains.
    ///
    /// # Errors
    /// Whatever kept the job from being finished.
    pub fn run(self, quiet: bool) -> Result<()> {
        let settings = self.settings()?;
        let (place, job, rounds) = match (&self.resume, &self.out) {
            (Some(folder), _) => (Place::Resume(folder.clone()), None, self.rounds_of_resume()?),
            (None, out) => {
                let preset = Preset::of(&settings)?;
                let (network, weights) = (self.network.as_deref(), self.weights.clone());
                let networks = Networks::find(preset, network, weights, self.mean.clone())?;
                let config = Config::resolve(&settings, &networks.list()?)?;
                if self.dry_run {
                    return super::print(&if self.json { super::json(&config)? } else { config.to_toml()? });
                }
                let place = match out {
                    Some(out) if self.resume_or_start => Place::ResumeOrStart(out.clone()),
                    Some(out) => Place::Create(out.clone()),
                    None => Place::Default,
                };
                (place, Some((config, networks)), None)
            }
        };
        let from_environment = || std::env::var_os("PAREIDOLIA_DATA").map(PathBuf::from);
        // A job that goes on has its own.
        let data = if job.is_none() { self.data } else { self.data.or_else(from_environment) };
        let (manifest, folder) = retrain::run(&RetrainRequest {
            place,
            job,
            rounds,
            data,
            validation: self.val,
            class_names: self.class_names,
            broken: self.broken.unwrap_or_default(),
            device: self.device,
            simd: self.speed.simd,
            threads: self.speed.threads(),
            progress: if quiet { ProgressMode::None } else { self.progress },
        })?;
        super::print(&if self.json { super::json(&manifest)? } else { text(&manifest, &folder) })
    }

    /// The number of rounds that goes with --resume.
    fn rounds_of_resume(&self) -> Result<Option<u32>> {
        let Some(text) = &self.rounds else { return Ok(None) };
        let setting = Setting::parse("rounds", text, "--rounds");
        let key = KEYS.iter().find(|key| key.name == "rounds").expect("a key");
        let rounds = setting.accepted(key)?.as_integer().and_then(|rounds| u32::try_from(rounds).ok());
        rounds.map(Some).ok_or_else(|| Error::Usage(format!("--rounds: got {text}, wanted {}", key.kind)))
    }

    /// What the layers of the configuration say.
    fn settings(&self) -> Result<Vec<Setting>> {
        let mut settings = match &self.config {
            Some(path) => Config::read_file(path)?,
            None => Vec::new(),
        };
        for assignment in &self.set {
            settings.push(Setting::parse_assignment(assignment)?);
        }
        settings.extend(self.preset.map(|preset| word_setting("preset", preset, "PRESET")));
        let seed = match self.seed.as_deref() {
            // 32 bits: enough to differ, few enough to type.
            Some("random") => {
                let seed = rand::random::<u32>().to_string();
                info!("seed {seed}");
                Some(seed)
            }
            seed => seed.map(String::from),
        };
        let options = [
            ("seed", "--seed", &seed),
            ("rounds", "--rounds", &self.rounds),
            ("runs_first", "--runs-first", &self.runs_first),
            ("runs", "--runs", &self.runs),
            ("generations", "--generations", &self.generations),
            ("images_first", "--images-first", &self.images_first),
            ("images", "--images", &self.images),
            ("train.iterations", "--iterations", &self.iterations),
        ];
        let given = options.into_iter().filter_map(|(key, origin, text)| Some((key, origin, text.as_ref()?)));
        settings.extend(given.map(|(key, origin, text)| Setting::parse(key, text, origin)));
        // A name is one, whatever it would be in TOML.
        settings.extend(self.fooling_class.iter().map(|name| Setting {
            key: "fooling_class".into(),
            value: name.as_str().into(),
            origin: "--fooling-class".into(),
        }));
        Ok(settings)
    }
}

/// What a person wants to know of a finished job.
fn text(manifest: &Manifest, folder: &Path) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
    let row = |cells: [&str; 10]| {
        let [network, images, right, low, median, high, over, first, last, held] = cells;
        format!(
            "{network:<8} {images:>8} {right:>8}  {low:>8} {median:>8} {high:>8} {over:>8}  {first:>8} {last:>8} {held:>8}\n"
        )
    };
    let mut text = format!(
        "{:<8} {:>8} {:>8}  {:^35}  {:^26}\n",
        "", "fooling", "real", "confidence at the end", "taken for fooling"
    );
    text += &row(["network", "images", "right", "1/4", "median", "3/4", "at .9999", "random", "evolved", "held out"]);
    for Round { network, evolution, taken, .. } in &manifest.rounds {
        let spread = evolution.spread;
        let share = |part: Option<Part>| dash(part.map(|part| percent(part.share())));
        text += &row([
            &network.name,
            &network.fooling_images.to_string(),
            &dash(network.accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy))),
            &confidence(spread.quartile_1),
            &confidence(spread.median),
            &confidence(spread.quartile_3),
            &percent(evolution.share_over_9999),
            &share(taken.map(|taken| taken.generation_0)),
            &share(taken.map(|taken| taken.last_generation)),
            &share(taken.and_then(|taken| taken.held_out)),
        ]);
    }
    let sum = |of: fn(&Round) -> f64| manifest.rounds.iter().map(of).sum::<f64>();
    let evaluations: u64 = manifest.rounds.iter().map(|round| round.evolution.evaluations).sum();
    text += &format!(
        "\n{} networks trained in {:.0} s, {evaluations} genomes evolved in {:.0} s\n{}\n",
        manifest.rounds.iter().filter(|round| round.network.seed.is_some()).count(),
        sum(|round| round.network.seconds),
        sum(|round| round.evolution.seconds),
        folder.display()
    );
    text
}

/// The keys of the configuration, for `--help`.
fn keys_help() -> StyledStr {
    let mut text = String::from("Keys for --set and --config (--dry-run prints them with their values):\n");
    for key in KEYS.iter() {
        text.push_str(&format!("  {:<22} {} [{}]\n", key.name, key.meaning, key.kind));
    }
    text.into()
}
