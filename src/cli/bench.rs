//! `pareidolia bench`: how fast it is here, and against what limit.

use super::Speed;
use crate::error::{Error, Result};
use crate::experiment::bench::compare::Comparison;
use crate::experiment::bench::report::Report;
use crate::experiment::bench::{self, Request, Step};
use crate::experiment::config::Preset;
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::network::list::List;
use crate::output::atomic;
use clap::ValueEnum;
use std::io::Write;
use std::path::PathBuf;

/// Measure genomes a second, of the whole loop and of each step
///
/// Times the code that `evolve` runs, at the state of a run after 100 generations, each line for the time that --seconds
/// says, all in turns. Before any line is timed its output is compared with a reference; if one differs, nothing is timed.
/// The limits of this machine (multiply-adds, bytes copied) are measured in the same run, with the same threads; `share` is
/// what part of the limit that binds it a step reaches. On a GPU the lines are its kernels, compared with the CPU's bits; beside
/// them stand what was predicted, and the GPU's power and clocks meanwhile. benches/README.md says what each line means.
///
/// Exit code 1 if a step does not give what its reference gives.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,

    /// What to time [default: everything but `network`]
    #[arg(value_enum, value_name = "STEP")]
    steps: Vec<Step>,

    /// Whose genomes and rules; may be repeated. Those of ImageNet are judged by --network, ten crops an image if it sees parts
    /// [default: both of MNIST]
    #[arg(long = "preset", value_enum, value_name = "PRESET")]
    presets: Vec<Preset>,

    /// Time a network, with random weights: a layer list by name or a file of one (TOML); may be repeated. Without a STEP that alone,
    /// with a preset of ImageNet as its judge [default of the step `network`: caffenet, torchvision-alexnet, squeezenet,
    /// bvlc-googlenet; of the presets: caffenet]
    #[arg(long = "network", value_name = "LIST")]
    networks: Vec<PathBuf>,

    /// Candidates a generation, or images of a network, with commas between; `run`, `start` and `loop-runs` always have 200
    /// [default: 1,200,256,4096, of networks 1,64, of ImageNet's presets 16; on a GPU 200,4096,16384,65536,262144, of networks
    /// 1,64,256,1024, of ImageNet's presets 400]
    #[arg(long = "batch", value_name = "N,...", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batches: Vec<u32>,

    /// Runs at once of `loop-runs`, with commas between
    #[arg(long, value_name = "R,...", value_delimiter = ',', default_value = "8,64,512,4096")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    runs: Vec<u32>,

    /// What is timed: `auto`, `cpu`, or `cuda:N` for a GPU
    #[arg(long, default_value = "auto")]
    device: Asked,

    /// How long each line is timed
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, allow_negative_numbers = true)]
    seconds: f64,

    /// Print JSON: machine, commit, flags, the limits measured, and an object a line
    #[arg(long)]
    json: bool,

    /// Also write that JSON to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    speed: Speed,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Compare(CompareArgs),
}

/// Compare two results of `bench --json`
///
/// Prints for each line of both how its rate changed, and says what makes the two less comparable: another machine, other
/// flags, lines that only one of them has.
#[derive(Debug, clap::Args)]
struct CompareArgs {
    /// The result before
    #[arg(value_name = "A.json")]
    before: PathBuf,

    /// The result after
    #[arg(value_name = "B.json")]
    after: PathBuf,

    /// Exit with code 1 if the second has less than this part of the first's rate in any line, such as 0.95
    #[arg(long, value_name = "RATIO", value_parser = ratio, allow_negative_numbers = true)]
    fail_below: Option<f64>,
}

impl Args {
    /// Times, or compares.
    ///
    /// # Errors
    /// A step that disagrees with its reference, files that are no reports, a line below what was asked for.
    pub fn run(self, quiet: bool) -> Result<()> {
        if let Some(Action::Compare(args)) = &self.action {
            return args.run();
        }
        let program = std::env::current_exe()
            .map_err(|source| Error::Refused(format!("cannot find this program's own file: {source}")))?;
        let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        let sorted = |numbers: &[u32]| {
            let mut numbers = numbers.to_vec();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let request = Request {
            steps: self.steps.clone(),
            presets: Preset::value_variants()
                .iter()
                .copied()
                .filter(
                    |preset| {
                        if self.presets.is_empty() { !preset.is_imagenet() } else { self.presets.contains(preset) }
                    },
                )
                .collect(),
            networks: self.networks.iter().map(|list| List::find(list)).collect::<Result<_>>()?,
            batches: sorted(&self.batches),
            runs: sorted(&self.runs),
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
            seconds: self.seconds,
            command: std::iter::once("pareidolia".to_string()).chain(words).collect::<Vec<_>>().join(" "),
            program,
            progress: if quiet { ProgressMode::None } else { ProgressMode::Auto },
        };
        let report = bench::run(&request)?;
        let json = super::json(&report)?;
        if let Some(path) = &self.out {
            atomic::write(path, |file| file.write_all(json.as_bytes()))?;
        }
        super::print(&if self.json { json } else { report.to_text() })
    }
}

impl CompareArgs {
    fn run(&self) -> Result<()> {
        let (before, after) = (Report::read(&self.before)?, Report::read(&self.after)?);
        let comparison = Comparison::of(&before, &after)?;
        comparison.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        super::print(&comparison.to_text())?;
        self.fail_below.map_or(Ok(()), |least| comparison.fail_below(least))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let wanted = "wanted a number of seconds, above 0 and at most 3600";
    text.parse().ok().filter(|&seconds| seconds > 0.0 && seconds <= 3600.0).ok_or_else(|| wanted.into())
}

fn ratio(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&ratio| ratio > 0.0 && ratio <= 1000.0)
        .ok_or_else(|| "wanted a number above 0, such as 0.95".into())
}
