//! `pareidolia train`: weights of one's own.

use super::Speed;
use crate::error::Result;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::train::{self, Broken, Place, Schedule, Settings, TrainRequest, Trained, percent};
use std::path::PathBuf;

/// Train a network
///
/// On MNIST, or on a folder of images with a folder a class. The network is one that `info` lists, with Caffe's recipe for it, or a layer
/// list of your own, with LeNet's recipe; every number of a recipe can be set. The same images, numbers and seed give the same weights, in
/// every bit, whatever the threads, the processor and the interruptions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network: one that `info` lists, or a layer list (FILE.toml)
    #[arg(required_unless_present = "resume", value_name = "NETWORK")]
    network: Option<PathBuf>,

    /// Folder of images with a folder a class (CLASS/IMAGE.jpg, JPEG or PNG), or of MNIST's four IDX files, plain or gzip, or one with a
    /// folder `mnist` [default: $PAREIDOLIA_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Folder of images to try the network on meanwhile, with the same classes; MNIST has its own
    #[arg(long, value_name = "DIR")]
    val: Option<PathBuf>,

    /// The order of the classes: a text file with the name of a folder a line [default: sorted]
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,

    /// What is done with files that are broken, empty or huge [default: refuse]
    #[arg(long, value_enum, value_name = "HOW")]
    broken: Option<Broken>,

    /// A weights file to write beside that of the run folder; it must not exist [default: for
    /// lenet without --run lenet-mnist.safetensors, else none]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The folder of the run: weights, checkpoint, metrics.jsonl, curves, run.json; it must not hold another [default:
    /// runs/NETWORK-seedN]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    run: Option<PathBuf>,

    /// Go on with the training in this folder, or of this checkpoint; options may make it longer, and may not change what is trained
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,

    /// Go on with the training in the folder that --run names if one was begun there, else begin it: for batch jobs
    #[arg(long, requires = "run")]
    resume_or_start: bool,

    /// Iterations from one checkpoint to the next [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: Option<u32>,

    /// Iterations from one trial on the validation images to the next [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    val_every: Option<u32>,

    /// Iterations from one line of metrics.jsonl to the next [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    log_every: Option<u32>,

    #[command(flatten)]
    recipe: Numbers,

    /// Where the steps run: `auto`, `cpu` or `cuda:N`
    #[arg(long, value_name = "WHERE", default_value = "auto", help_heading = "How it runs")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

/// Numbers of a recipe; without them they are as the network's recipe has them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Recipe")]
struct Numbers {
    /// Seed of the initial weights, the order of the images, crops, mirrors and dropout [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Updates of the weights [default: 10000; caffenet and the AlexNets 450000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    iterations: Option<u32>,

    /// Images an update [default: 64; caffenet and the AlexNets 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,

    /// Learning rate of the first update [default: 0.01]
    #[arg(long, value_name = "X")]
    rate: Option<f64>,

    /// How the rate falls in iteration t [default: inverse; caffenet and the AlexNets step]
    #[arg(long, value_enum, value_name = "HOW")]
    schedule: Option<Schedule>,

    /// See --schedule [default: inverse 0.0001, step 0.1]
    #[arg(long, value_name = "X")]
    gamma: Option<f64>,

    /// See --schedule [default: 0.75]
    #[arg(long, value_name = "X")]
    power: Option<f64>,

    /// See --schedule [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    step_size: Option<u32>,

    /// Share of an update that the next one repeats [default: 0.9]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,

    /// Share of a weight that is added to its gradient [default: 0.0005]
    #[arg(long, value_name = "X")]
    decay: Option<f64>,

    /// Learning rate of biases, as a multiple of that of weights [default: 2]
    #[arg(long, value_name = "X")]
    bias_rate: Option<f64>,

    /// Decay of biases, as a multiple of that of weights [default: 1; caffenet and the AlexNets 0]
    #[arg(long, value_name = "X")]
    bias_decay: Option<f64>,

    /// Share of the values of hidden dense layers that is dropped at random [default: 0; caffenet and the AlexNets 0.5]
    #[arg(long, value_name = "X")]
    dropout: Option<f64>,

    /// Whether images are mirrored at random [default: those in colour]
    #[arg(long, value_name = "BOOL")]
    mirror: Option<bool>,
}

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// Whatever kept the weights from being trained and written.
    pub fn run(self, quiet: bool) -> Result<()> {
        let is_lenet = self.network.as_deref().is_some_and(|network| network.as_os_str().eq_ignore_ascii_case("lenet"));
        let place = match (self.resume, self.run) {
            (Some(folder), _) => Place::Resume(folder),
            (None, Some(folder)) if self.resume_or_start => Place::ResumeOrStart(folder),
            (None, Some(folder)) => Place::Create(folder),
            (None, None) => Place::Default,
        };
        let from_environment = || std::env::var_os("PAREIDOLIA_DATA").map(PathBuf::from);
        // A training that goes on has its own.
        let data = match &place {
            Place::Resume(_) => self.data,
            _ => self.data.or_else(from_environment),
        };
        let out = match &place {
            Place::Default if is_lenet => Some(self.out.unwrap_or_else(|| "lenet-mnist.safetensors".into())),
            _ => self.out,
        };
        let numbers = self.recipe;
        let request = TrainRequest {
            settings: Settings {
                network: self.network,
                data,
                validation: self.val,
                class_names: self.class_names,
                broken: self.broken,
                log_every: self.log_every,
                validate_every: self.val_every,
                checkpoint_every: self.checkpoint_every,
                seed: numbers.seed,
                iterations: numbers.iterations,
                batch: numbers.batch,
                rate: numbers.rate,
                schedule: numbers.schedule,
                gamma: numbers.gamma,
                power: numbers.power,
                step_size: numbers.step_size,
                momentum: numbers.momentum,
                decay: numbers.decay,
                bias_rate: numbers.bias_rate,
                bias_decay: numbers.bias_decay,
                dropout: numbers.dropout,
                mirror: numbers.mirror,
            },
            place,
            out,
            device: self.device,
            simd: self.speed.simd,
            progress: if quiet { ProgressMode::None } else { self.progress },
        };
        let trained = self.speed.pool()?.install(|| train::run(&request))?;
        super::print(&text(&request, &trained))
    }
}

/// What a person wants to know of a finished training.
fn text(request: &TrainRequest, trained: &Trained) -> String {
    let Trained { network, correct, of, images, time, iterations, batch, skipped, folder } = trained;
    let seconds = time.as_secs_f64();
    let right = match of {
        0 => "trained".to_string(),
        _ => format!("{correct} of {of} test images right ({})", percent(*correct, *of)),
    };
    let mut text = format!("{}: {right}; {iterations} iterations of {batch} images", network.name);
    let done = u64::from(*iterations) * u64::from(*batch);
    if *images == done {
        text += &format!(" in {seconds:.1} s, {:.0} images a second", *images as f64 / seconds);
    } else if *images > 0 {
        let rate = *images as f64 / seconds;
        text += &format!(", the last {} now in {seconds:.1} s, {rate:.0} images a second", images / u64::from(*batch));
    }
    text.push('\n');
    if *skipped > 0 {
        text += &format!("{skipped} files of images could not be used\n");
    }
    for path in folder.iter().chain(&request.out) {
        text += &format!("{}\n", path.display());
    }
    text
}
