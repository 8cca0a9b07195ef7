//! `pareidolia evolve`: the main job.

use super::{Sources, Speed};
use crate::archive::Statistics;
use crate::error::{Error, Result};
use crate::experiment::config::{Config, Flavour, KEYS, Preset, Setting, name_of, parse_classes};
use crate::experiment::device::Asked;
use crate::experiment::evolve::{self, Outcome};
use crate::experiment::plan::PlanRequest;
use crate::experiment::progress::ProgressMode;
use crate::experiment::request::{EvolveRequest, OutChoice, StopOverrides};
use crate::experiment::start::Start;
use crate::network::Combine;
use crate::network::weights::Files;
use crate::output::series::RunSummary;
use crate::output::{ClassResult, Manifest, Summary, confidence_text, cut, hash_text};
use clap::builder::StyledStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::info;

/// What a run is and how it runs: what `evolve` and `plan` have in common.
#[derive(Debug, clap::Args)]
pub struct RunOptions {
    /// The experiment [default: mnist-cppn]
    #[arg(value_enum)]
    preset: Option<Preset>,

    /// How literally the paper's program is followed [default: faithful]
    #[arg(long, value_enum, help_heading = "What to evolve")]
    flavour: Option<Flavour>,

    /// Seed of all random numbers: a number, or `random` to have one drawn [default: 1]
    #[arg(long, value_name = "N", help_heading = "What to evolve", allow_negative_numbers = true)]
    seed: Option<String>,

    /// A series of N runs, of this seed and of those after it: they share the threads, each goes to a folder of its own, and a
    /// summary gives medians
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "What to evolve")]
    runs: u32,

    /// Candidates a generation, an even number [default: 200]
    #[arg(long, value_name = "N", help_heading = "What to evolve", allow_negative_numbers = true)]
    batch: Option<String>,

    /// Classes to evolve for: numbers, ranges, names, such as `3,5-7` [default: all]
    #[arg(long, value_name = "LIST", help_heading = "What to evolve")]
    classes: Option<String>,

    #[command(flatten)]
    source: Sources,

    /// How several networks judge together: an image's probability of a class is that of all
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Networks")]
    combine: Option<Combine>,

    /// A configuration to start from, such as --dry-run prints
    #[arg(long, value_name = "FILE", help_heading = "What to evolve")]
    config: Option<PathBuf>,

    /// A configuration value, such as `cppn.add_edge_rate=0.4`; may be repeated (--help lists the keys)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "What to evolve")]
    set: Vec<String>,

    /// Generations after the random one [default: the preset's; no limit with --time or --evaluations; 100000 with --target]
    #[arg(long, value_name = "N", help_heading = "When to stop (whatever comes first)", allow_negative_numbers = true)]
    generations: Option<String>,

    /// Stop after the generation that brings the candidates evaluated to this many
    #[arg(long, value_name = "N", help_heading = "When to stop (whatever comes first)", allow_negative_numbers = true)]
    evaluations: Option<String>,

    /// Stop after this much time, such as `90s`, `10m` or `1h30m`
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "When to stop (whatever comes first)",
        allow_negative_numbers = true
    )]
    time: Option<String>,

    /// Stop once every class has this confidence, such as 0.9999
    #[arg(long, value_name = "P", help_heading = "When to stop (whatever comes first)", allow_negative_numbers = true)]
    target: Option<String>,

    /// The run's folder, which must not exist yet [default: a new one, named after the run, in `runs`]
    #[arg(long, value_name = "DIR", help_heading = "Where the run goes")]
    out: Option<PathBuf>,

    /// Draw no pictures; the archive still holds every image
    #[arg(long, help_heading = "Where the run goes")]
    no_pictures: bool,

    /// Keep who won which class when, from which `pareidolia lineage` rebuilds every ancestor; it changes no result. A run that goes on
    /// keeps it without being told again
    #[arg(long, help_heading = "Where the run goes")]
    lineage: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU
    #[arg(long, default_value = "auto", help_heading = "How it runs")]
    device: Asked,

    /// Candidates worked on at once, an even number: less memory, the same result [default: the device's choice]
    #[arg(long, value_name = "N", value_parser = even, help_heading = "How it runs")]
    chunk: Option<u32>,

    #[command(flatten)]
    pub speed: Speed,
}

/// Evolve an image for every class
///
/// With no options: for each digit an image that LeNet takes for it, by CPPNs, 1,001 generations, a matter of seconds. The
/// run goes to a new folder, which holds the pictures, the archive and all that is needed to repeat or continue it.
///
/// A run is a function of configuration, seed and weights. Threads, instruction set and chunk change its speed alone.
///
/// Several networks (--weights A --weights B) judge together with --combine mean or min: an image's probability of a class is the mean of
/// theirs (their sum in the order given, in single precision, divided by their number), or the least. Images then fool all of them.
///
/// The configuration grows in layers: the preset in its flavour, then --config, then --set, then the options below.
#[derive(Debug, clap::Args)]
#[command(after_long_help = keys_help())]
pub struct Args {
    #[command(flatten)]
    run: RunOptions,

    /// Genomes to start from: a JSON file or a folder of them (`export`), or a run, whose elites it takes
    ///
    /// They come first in generation 0, in the order named (a folder's by file name, a run's by class, one of several classes once); the other
    /// candidates are random, those that they are without. With --runs each run starts from them. They are part of what the run is, and are
    /// kept in its folder. Genomes of another encoding, number of channels, `cppn.normalise` or `cppn.max_weight` are refused, and direct ones
    /// of another size. Write the PRESET before it.
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "What to evolve")]
    start: Vec<PathBuf>,

    /// Continue the run, or the series of runs, in this folder
    ///
    /// Its configuration comes from its checkpoint, so only options of speed and output go with it; and stop rules, which
    /// then replace those of the run: `--resume DIR --generations 5000` extends a finished run.
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Where the run goes",
        conflicts_with_all = ["preset", "flavour", "seed", "runs", "batch", "classes", "config", "set", "start", "out", "dry_run"]
    )]
    resume: Option<PathBuf>,

    /// Continue the run in --out if there is one, start it if there is none: one command for batch jobs that are requeued
    #[arg(long, requires = "out", help_heading = "Where the run goes")]
    resume_or_start: bool,

    /// Print the resolved configuration as TOML (with --json, as JSON) and do nothing else
    #[arg(long, help_heading = "Where the run goes")]
    dry_run: bool,

    /// At the end, print the contents of run.json (of a series: summary.json) to standard output instead of a summary
    #[arg(long, help_heading = "Where the run goes")]
    json: bool,

    /// Also write event files for TensorBoard into this folder (a folder for each run of a series): curves, confidences, elites
    #[arg(long, value_name = "DIR", help_heading = "Where the run goes")]
    tensorboard: Option<PathBuf>,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,
}

impl Args {
    /// Evolves.
    ///
    /// # Errors
    /// Whatever kept the run from being finished.
    pub fn run(self, quiet: bool) -> Result<()> {
        let request = self.request(quiet)?;
        if self.dry_run {
            // What --config takes: the genomes to start from are none of its keys.
            let config = Config { start: None, ..request.config };
            let text = if self.json { super::json(&config)? } else { config.to_toml()? };
            return super::print(&text);
        }
        super::print(&match evolve::run(request)? {
            Outcome::Run(manifest, _) if self.json => manifest.to_json(),
            Outcome::Run(manifest, folder) => run_text(&manifest, &folder),
            Outcome::Series(summary, _) if self.json => summary.to_json(),
            Outcome::Series(summary, folder) => series_text(&summary, &folder),
        })
    }

    /// What the call asks for.
    fn request(&self, quiet: bool) -> Result<EvolveRequest> {
        let run = &self.run;
        let mut overrides = StopOverrides::default();
        let (out, config) = match (&self.resume, &run.out) {
            (Some(folder), _) => {
                overrides = StopOverrides::from_settings(&run.stop_settings())?;
                (OutChoice::Resume(folder.clone()), Config::preset(Preset::MnistCppn, Flavour::Faithful))
            }
            (None, Some(folder)) if self.resume_or_start => (OutChoice::ResumeOrStart(folder.clone()), run.resolve()?),
            (None, Some(folder)) => (OutChoice::Create(folder.clone()), run.resolve()?),
            (None, None) => (OutChoice::Default, run.resolve()?),
        };
        let start = match self.start.is_empty() {
            true => None,
            false => Some(Start::read(&self.start)?),
        };
        // A resumed run's comes from its checkpoint.
        let config = Config { start: start.as_ref().map(Start::record), ..config };
        Ok(EvolveRequest {
            config,
            start,
            runs: run.runs,
            files: run.files()?,
            out,
            device: run.device,
            stop: overrides,
            threads: run.speed.threads(),
            simd: run.speed.simd,
            chunk: run.chunk,
            progress: if quiet { ProgressMode::None } else { self.progress },
            pictures: !run.no_pictures,
            tensorboard: self.tensorboard.clone(),
            lineage: run.lineage,
        })
    }
}

impl RunOptions {
    /// What `plan` is to plan, for a machine with so much `memory`.
    ///
    /// # Errors
    /// Whatever is wrong with the call.
    pub fn plan_request(&self, memory: Option<u64>) -> Result<PlanRequest> {
        let config = self.resolve()?;
        Ok(PlanRequest {
            network: Arc::new(config.judge(self.files()?.load()?)?),
            config,
            runs: self.runs,
            device: self.device,
            simd: self.speed.simd,
            chunk: self.chunk,
            pictures: !self.no_pictures,
            lineage: self.lineage,
            out: self.out.clone(),
            memory,
        })
    }

    /// The files of the networks.
    fn files(&self) -> Result<Files> {
        Files::together(self.source.files()?, self.combine)
    }

    /// The configuration, from its layers.
    fn resolve(&self) -> Result<Config> {
        let mut settings = match &self.config {
            Some(path) => Setting::read_file(path)?,
            None => Vec::new(),
        };
        for assignment in &self.set {
            settings.push(Setting::parse_assignment(assignment)?);
        }
        let mut option = |key, origin, value: toml::Value| {
            settings.push(Setting { key: String::from(key), value, origin: String::from(origin) });
        };
        if let Some(preset) = self.preset {
            option("preset", "PRESET", name_of(preset).into());
        }
        if let Some(flavour) = self.flavour {
            option("flavour", "--flavour", name_of(flavour).into());
        }
        if let Some(list) = &self.classes {
            option("classes", "--classes", self.classes(list)?.into());
        }
        match self.seed.as_deref() {
            // 32 bits: enough to differ, few enough to type.
            Some("random") => {
                let seed = rand::random::<u32>();
                info!("seed {seed}");
                option("seed", "--seed", i64::from(seed).into());
            }
            Some(seed) => settings.push(Setting::parse("seed", seed, "--seed")),
            None => {}
        }
        settings.extend(self.batch.iter().map(|batch| Setting::parse("batch", batch, "--batch")));
        settings.extend(self.stop_settings());
        Config::resolve(&settings)
    }

    /// The stop rules given as options.
    fn stop_settings(&self) -> Vec<Setting> {
        [
            ("generations", "--generations", &self.generations),
            ("evaluations", "--evaluations", &self.evaluations),
            ("time", "--time", &self.time),
            ("target", "--target", &self.target),
        ]
        .into_iter()
        .filter_map(|(key, origin, text)| text.as_ref().map(|text| Setting::parse(key, text, origin)))
        .collect()
    }

    /// The classes of `list`; only names of classes need the network.
    fn classes(&self, list: &str) -> Result<Vec<i64>> {
        let classes = parse_classes(list, &[]).or_else(|_| {
            parse_classes(list, &self.files()?.load()?.classes)
                .map_err(|reason| Error::Usage(format!("--classes: {reason}")))
        })?;
        Ok(classes.into_iter().map(i64::from).collect())
    }
}

/// Classes that are all listed, and how many of more are: so many of the best, and of the weakest.
const LISTED: usize = 40;
const OF_MORE: usize = 10;

/// What a person wants to know of a finished run.
pub(super) fn run_text(manifest: &Manifest, folder: &Path) -> String {
    let Manifest { generation, evaluations, seconds, genomes_per_second, statistics, .. } = manifest;
    let n_classes = manifest.classes.len();
    let mut text = format!("{:>5}  {:<24} {:>10}\n", "class", "name", "confidence");
    let list = |text: &mut String, classes: &[&ClassResult]| {
        for ClassResult { class, name, confidence, .. } in classes {
            text.push_str(&format!("{class:>5}  {:<24} {:>10}\n", cut(name, 24), confidence_text(*confidence)));
        }
    };
    let mut classes: Vec<&ClassResult> = manifest.classes.iter().collect();
    if n_classes <= LISTED {
        list(&mut text, &classes);
    } else {
        // Stable: of equals the lower class comes first.
        classes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        list(&mut text, &classes[..OF_MORE]);
        text.push_str(&format!("{:>5}  ({} classes; run.json lists them)\n", "...", n_classes - 2 * OF_MORE));
        list(&mut text, &classes[n_classes - OF_MORE..]);
        let Statistics { over_9, over_99, over_999, .. } = statistics;
        text.push_str(&format!(
            "\n{over_9} of {n_classes} classes at 0.9 or more, {over_99} at 0.99, {over_999} at 0.999"
        ));
    }
    text.push_str(&format!(
        "\n{} of {n_classes} classes at 0.9999 or more, median {}\n",
        statistics.over_9999,
        confidence_text(statistics.median as f32)
    ));
    text.push_str(&format!(
        "generation {generation}, {evaluations} genomes in {seconds:.1} s, {genomes_per_second:.0} a second\n"
    ));
    text.push_str(&format!("archive hash {}\n{}\n", hash_text(manifest.archive_hash), folder.display()));
    text
}

/// What a person wants to know of a finished series.
fn series_text(summary: &Summary, folder: &Path) -> String {
    let Summary { evaluations, seconds, genomes_per_second, medians, runs, .. } = summary;
    let mut text = format!("{:>10} {:>10} {:>8} {:>8}  archive hash\n", "seed", "generation", "median", "at .9999");
    for RunSummary { seed, generation, statistics, archive_hash, .. } in runs {
        let median = confidence_text(statistics.median as f32);
        let hash = hash_text(*archive_hash);
        text.push_str(&format!("{seed:>10} {generation:>10} {median:>8} {:>8}  {hash}\n", statistics.over_9999));
    }
    let median = confidence_text(medians.median as f32);
    text.push_str(&format!("{:>10} {:>10} {median:>8} {:>8}\n", "median", medians.generation, medians.over_9999));
    let n_runs = runs.len();
    text.push_str(&format!(
        "\n{n_runs} runs, {evaluations} genomes in {seconds:.1} s, {genomes_per_second:.0} a second\n{}\n",
        folder.display()
    ));
    text
}

fn even(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|n| *n >= 2 && n % 2 == 0).ok_or_else(|| "wanted an even number, at least 2".into())
}

/// The keys of the configuration, for `--help`.
pub fn keys_help() -> StyledStr {
    let mut text = String::from("Keys for --set and --config (--dry-run prints them with their values):\n");
    for key in KEYS {
        text.push_str(&format!("  {:<22} {} [{}]\n", key.name, key.meaning, key.kind));
    }
    text.into()
}
