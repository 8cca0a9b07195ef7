//! `pareidolia ascend`: images by gradient ascent.

use super::{Source, Speed};
use crate::error::Result;
use crate::experiment::ascend::config::{Config, Preset, Start, classes_setting, word_setting};
use crate::experiment::ascend::{self, AscendRequest};
use crate::experiment::config::Setting;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::output::ascent::{AscentManifest, ImageResult};
use crate::output::{confidence_text, hash_text};
use std::path::{Path, PathBuf};
use tracing::info;

/// Make an image for every class by gradient ascent
///
/// The paper's third route: an image climbs the probability that the network gives to a class, along the gradient, from near
/// the mean image. All images climb at once. An image is what the network sees, and real-valued: its confidence as 8 bits, as a
/// PNG holds it, is recorded beside that of the real-valued one.
///
/// All iterations are made, as in the paper's program; when each image first had its class for the most probable, and .99, .999
/// and .9999, is recorded. An image is a function of settings, class, seed and weights: not of threads, instruction set, or the
/// images beside it.
///
/// In the preset `cppn` it is not pixels that climb but the weights of a CPPN, a network that draws: the gradient flows on through the
/// drawing. It starts from random CPPNs, or with --from from the elites of a run, and leaves an archive that `render`, `classify` and
/// --from read.
///
/// The numbers come from the preset, then from --config, then from the options.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The paper's settings to start from [default: default]
    #[arg(value_enum)]
    preset: Option<Preset>,

    /// Classes to climb to: numbers, ranges, names, such as `3,5-7` [default: all; of a network with 1000 the 20 of the paper's
    /// supplement]
    #[arg(long, value_name = "LIST", help_heading = "What to make")]
    classes: Option<String>,

    /// Where images start [default: mean-plus]
    #[arg(long, value_enum, help_heading = "What to make")]
    start: Option<Start>,

    /// Seed of where images start: a number, or `random` to have one drawn [default: 0]
    #[arg(long, value_name = "N", help_heading = "What to make", allow_negative_numbers = true)]
    seed: Option<String>,

    /// Images of each class, of this seed and those after it [default: 1]
    #[arg(long, value_name = "N", help_heading = "What to make", allow_negative_numbers = true)]
    seeds: Option<String>,

    /// The run whose elites CPPNs start from (its folder or archive.safetensors) [default: random CPPNs]
    #[arg(long, value_name = "RUN", help_heading = "What CPPNs make (preset cppn)")]
    from: Option<String>,

    /// Nodes that random CPPNs are given, 0 to 240
    #[arg(long, value_name = "N", help_heading = "What CPPNs make (preset cppn)", allow_negative_numbers = true)]
    growth: Option<String>,

    /// Share of the range of weights that those of random CPPNs are of, at most 1
    #[arg(long, value_name = "SHARE", help_heading = "What CPPNs make (preset cppn)", allow_negative_numbers = true)]
    spread: Option<String>,

    /// Parts of an image that are judged, where the network sees a part: 1, the middle, or 10 [default: as the run did, else 1]
    #[arg(long, value_name = "N", help_heading = "What CPPNs make (preset cppn)", allow_negative_numbers = true)]
    crops: Option<String>,

    #[command(flatten)]
    source: Source,

    /// A configuration to start from, such as --dry-run prints
    #[arg(long, value_name = "FILE", help_heading = "What to make")]
    config: Option<PathBuf>,

    /// Steps; the last one only looks
    #[arg(long, value_name = "N", help_heading = "How images climb", allow_negative_numbers = true)]
    iterations: Option<String>,

    /// Share of an image that fades towards the mean each step, 0 to 1
    #[arg(long, value_name = "SHARE", help_heading = "How images climb", allow_negative_numbers = true)]
    decay: Option<String>,

    /// Rise of the probability that a step aims at while it is low
    #[arg(long, value_name = "P", help_heading = "How images climb", allow_negative_numbers = true)]
    early: Option<String>,

    /// Share of what the probability lacks of 1 that a step aims at when it is high
    #[arg(long, value_name = "SHARE", help_heading = "How images climb", allow_negative_numbers = true)]
    late: Option<String>,

    /// The largest learning rate
    #[arg(long, value_name = "RATE", help_heading = "How images climb", allow_negative_numbers = true)]
    max_rate: Option<String>,

    /// The longest step of a CPPN, in genes: weights by 20
    #[arg(long, value_name = "GENES", help_heading = "How images climb", allow_negative_numbers = true)]
    max_step: Option<String>,

    /// Standard deviation of a Gaussian blur in pixels, at least 0.3; 0 for none
    #[arg(long, value_name = "PIXELS", help_heading = "How images climb", allow_negative_numbers = true)]
    blur_radius: Option<String>,

    /// Steps from one blur to the next
    #[arg(long, value_name = "N", help_heading = "How images climb", allow_negative_numbers = true)]
    blur_every: Option<String>,

    /// Percentile of pixels set to the mean each step: those nearest to it; 0 for none
    #[arg(long, value_name = "PERCENT", help_heading = "How images climb", allow_negative_numbers = true)]
    small_norm: Option<String>,

    /// Percentile of pixels set to the mean each step: those where that should gain least; 0 for none
    #[arg(long, value_name = "PERCENT", help_heading = "How images climb", allow_negative_numbers = true)]
    benefit: Option<String>,

    /// Percentile of pixels set to the mean each step: those where that should change least; 0 for none
    #[arg(long, value_name = "PERCENT", help_heading = "How images climb", allow_negative_numbers = true)]
    abs_benefit: Option<String>,

    /// The folder, which must not exist yet [default: a new one, named after the preset and seed, in `runs`]
    #[arg(long, value_name = "DIR", help_heading = "Where it goes")]
    out: Option<PathBuf>,

    /// Draw no pictures; images.safetensors still holds every image
    #[arg(long, help_heading = "Where it goes")]
    no_pictures: bool,

    /// Print the resolved configuration as TOML (with --json, as JSON) and do nothing else
    #[arg(long, help_heading = "Where it goes")]
    dry_run: bool,

    /// At the end, print the contents of run.json to standard output instead of a summary
    #[arg(long, help_heading = "Where it goes")]
    json: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU
    #[arg(long, default_value = "auto", help_heading = "How it runs")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Makes the images.
    ///
    /// # Errors
    /// Whatever kept them from being made.
    pub fn run(self, quiet: bool) -> Result<()> {
        let config = self.resolve()?;
        if self.dry_run {
            return super::print(&if self.json { super::json(&config)? } else { config.to_toml()? });
        }
        let (manifest, folder) = ascend::run(AscendRequest {
            config,
            files: self.source.files(),
            out: self.out,
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
            progress: if quiet { ProgressMode::None } else { self.progress },
            pictures: !self.no_pictures,
        })?;
        super::print(&if self.json { manifest.to_json() } else { text(&manifest, &folder) })
    }

    /// The configuration, from its layers.
    fn resolve(&self) -> Result<Config> {
        let mut settings = match &self.config {
            Some(path) => Config::read_file(path)?,
            None => Vec::new(),
        };
        settings.extend(self.preset.map(|preset| word_setting("preset", preset, "PRESET")));
        settings.extend(self.start.map(|start| word_setting("start", start, "--start")));
        if let Some(list) = &self.classes {
            settings.push(classes_setting(list, || self.source.network())?);
        }
        let seed = match self.seed.as_deref() {
            // 32 bits: enough to differ, few enough to type.
            Some("random") => {
                let seed = rand::random::<u32>().to_string();
                info!("seed {seed}");
                Some(seed)
            }
            seed => seed.map(String::from),
        };
        settings.extend(self.from.as_ref().map(|run| Setting {
            key: "from".into(),
            value: run.as_str().into(),
            origin: "--from".into(),
        }));
        let options = [
            ("growth", "--growth", &self.growth),
            ("spread", "--spread", &self.spread),
            ("crops", "--crops", &self.crops),
            ("seed", "--seed", &seed),
            ("seeds", "--seeds", &self.seeds),
            ("iterations", "--iterations", &self.iterations),
            ("decay", "--decay", &self.decay),
            ("early", "--early", &self.early),
            ("late", "--late", &self.late),
            ("max_rate", "--max-rate", &self.max_rate),
            ("max_step", "--max-step", &self.max_step),
            ("blur_radius", "--blur-radius", &self.blur_radius),
            ("blur_every", "--blur-every", &self.blur_every),
            ("small_norm", "--small-norm", &self.small_norm),
            ("benefit", "--benefit", &self.benefit),
            ("abs_benefit", "--abs-benefit", &self.abs_benefit),
        ];
        let given = options.into_iter().filter_map(|(key, origin, text)| Some((key, origin, text.as_ref()?)));
        settings.extend(given.map(|(key, origin, text)| Setting::parse(key, text, origin)));
        Config::resolve(&settings)
    }
}

/// Images that are all listed, and how many of more are: so many of the first.
const LISTED: usize = 40;
const OF_MORE: usize = 20;

/// What a person wants to know of a finished ascent.
fn text(manifest: &AscentManifest, folder: &Path) -> String {
    let AscentManifest { iterations, seconds, images_per_second, statistics, images, .. } = manifest;
    let several = manifest.configuration.seeds > 1;
    let seed_of = |seed: &str| if several { format!(" {seed:>6}") } else { String::new() };
    let at = |iteration: Option<u32>| iteration.map_or("-".to_string(), |iteration| iteration.to_string());
    let row = |cells: [&str; 8], seed: &str| {
        let [class, name, confidence, eight, majority, p99, p999, p9999] = cells;
        let name = crate::output::cut(name, 24);
        format!(
            "{class:>5}  {name:<24}{} {confidence:>10} {eight:>9} {majority:>9} {p99:>5} {p999:>5} {p9999:>5}\n",
            seed_of(seed)
        )
    };
    let mut text = String::new();
    text.push_str(&row(["class", "name", "confidence", "as 8 bits", "majority", ".99", ".999", ".9999"], "seed"));
    let shown = if images.len() <= LISTED { images.len() } else { OF_MORE };
    for ImageResult {
        class,
        name,
        seed,
        confidence,
        confidence_8bit,
        majority_at,
        over_99_at,
        over_999_at,
        over_9999_at,
        ..
    } in &images[..shown]
    {
        let [p, p8] = [confidence, confidence_8bit].map(|&p| confidence_text(p));
        let [majority, p99, p999, p9999] = [majority_at, over_99_at, over_999_at, over_9999_at].map(|&first| at(first));
        let cells = [&class.to_string()[..], name, &p, &p8, &majority, &p99, &p999, &p9999];
        text.push_str(&row(cells, &seed.to_string()));
    }
    if shown < images.len() {
        text.push_str(&format!("{:>5}  ({} more images; run.json lists them)\n", "...", images.len() - shown));
    }
    text.push_str("\nmajority: the first iteration in which its class led; .99 and so on: in which its confidence was above that\n");
    let n = images.len();
    let kept = images.iter().filter(|image| image.confidence_8bit >= 0.9999).count();
    text.push_str(&format!(
        "{} of {n} images at 0.9999 or more, as 8 bits {kept}; median {}\n",
        statistics.over_9999,
        confidence_text(statistics.median as f32)
    ));
    text.push_str(&format!(
        "{iterations} iterations of {n} images in {seconds:.1} s, {images_per_second:.0} images a second\n"
    ));
    text.push_str(&format!("result hash {}\n{}\n", hash_text(manifest.result_hash), folder.display()));
    text
}
