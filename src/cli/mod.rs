//! The command line: one file a subcommand. What the user gives is checked here, once.

pub mod analyse;
pub mod ascend;
pub mod bench;
pub mod classify;
pub mod evolve;
pub mod export;
pub mod import;
pub mod info;
mod layers;
pub mod lineage;
pub mod merge;
pub mod plan;
pub mod render;
pub mod report;
pub mod reproduce;
pub mod retrain;
pub mod selftest;
pub mod train;
pub mod transfer;
pub mod watch;
pub mod weights;

use crate::error::{Error, Result};
use crate::network::{Network, weights::Files};
use crate::simd::Simd;
use clap::{Parser, Subcommand};
use rayon::ThreadPool;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::LevelFilter;

/// Evolves images that a neural network recognises with certainty and people do not.
///
/// The main job is `pareidolia evolve`: for each digit an image that LeNet takes for it with a confidence of 99.99 %, in
/// seconds, on any machine. Results go to standard output, everything else to standard error.
///
/// Exit codes: 0 done, 1 failed, 2 wrong call, 130 or 143 stopped by SIGINT or SIGTERM after saving the run.
#[derive(Debug, Parser)]
#[command(name = "pareidolia", version = crate::version::LONG_VERSION, max_term_width = 120)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Say more: debugging messages, with times
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,

    /// Say less: warnings and errors only, no progress
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Evolve(Box<evolve::Args>),
    Ascend(Box<ascend::Args>),
    Plan(Box<plan::Args>),
    Classify(classify::Args),
    Lineage(lineage::Args),
    Render(render::Args),
    Export(export::Args),
    Merge(merge::Args),
    Train(train::Args),
    Retrain(Box<retrain::Args>),
    Reproduce(reproduce::Args),
    Transfer(transfer::Args),
    Analyse(Box<analyse::Args>),
    Report(report::Args),
    Watch(watch::Args),
    Import(import::Args),
    Weights(weights::Args),
    Bench(bench::Args),
    Selftest(selftest::Args),
    Info(info::Args),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub fn run(self) -> Result<()> {
        self.start_log();
        #[cfg(unix)]
        fail_at_the_file_size_limit()?;
        match self.command {
            Command::Evolve(args) => args.run(self.quiet),
            Command::Ascend(args) => args.run(self.quiet),
            Command::Plan(args) => args.run(),
            Command::Classify(args) => args.run(),
            Command::Lineage(args) => args.run(),
            Command::Render(args) => args.run(),
            Command::Export(args) => args.run(),
            Command::Merge(args) => args.run(),
            Command::Train(args) => args.run(self.quiet),
            Command::Retrain(args) => args.run(self.quiet),
            Command::Reproduce(args) => args.run(self.quiet),
            Command::Transfer(args) => args.run(self.quiet),
            Command::Analyse(args) => args.run(self.quiet),
            Command::Report(args) => args.run(),
            Command::Watch(args) => args.run(),
            Command::Import(args) => args.run(),
            Command::Weights(args) => args.run(),
            Command::Bench(args) => args.run(self.quiet),
            Command::Selftest(args) => args.run(),
            Command::Info(args) => args.run(),
        }
    }

    /// Log lines go to stderr, in colour on a terminal unless `NO_COLOR` is set.
    fn start_log(&self) {
        let level = match (self.verbose, self.quiet) {
            (true, _) => LevelFilter::DEBUG,
            (_, true) => LevelFilter::WARN,
            _ => LevelFilter::INFO,
        };
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let log = tracing_subscriber::fmt()
            .compact()
            .with_writer(std::io::stderr)
            .with_max_level(level)
            .with_ansi(colour)
            .with_target(self.verbose)
            .log_internal_errors(false);
        if self.verbose { log.init() } else { log.without_time().init() }
    }
}

/// Makes a write past the limit of `ulimit -f` fail, so that an error can tell of it. Unhandled, the system's signal
/// ends the process without a word.
#[cfg(unix)]
fn fail_at_the_file_size_limit() -> Result<()> {
    let registered = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    registered.map_err(|source| Error::Refused(format!("cannot catch SIGXFSZ: {source}")))?;
    Ok(())
}

/// The network that an image is shown to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct Source {
    /// Weights, a safetensors file [default: our own LeNet, built in]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,

    /// Mean image to subtract from every image, a safetensors file [default: as the weights file says]
    #[arg(long, value_name = "FILE")]
    pub mean: Option<PathBuf>,

    /// The layers of the weights: a layer list (TOML), or the name of one that `info` lists [default: as the weights file says]
    #[arg(long, value_name = "NAME|FILE", requires = "weights")]
    pub network: Option<PathBuf>,

    /// Class names, a text file with a name a line [default: as the weights file says]
    #[arg(long, value_name = "FILE")]
    pub class_names: Option<PathBuf>,
}

impl Source {
    /// The files that the call names.
    pub fn files(&self) -> Files {
        let Source { weights, mean, network, class_names } = self.clone();
        Files { weights, mean, network, class_names, ..Files::default() }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Whatever is wrong with the files.
    pub fn network(&self) -> Result<Network> {
        self.files().load()
    }
}

/// The networks that images are shown to: as [`Source`], but any number.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Networks")]
pub struct Sources {
    /// Weights, a safetensors file, or `built-in` for our own LeNet; one --weights for each network [default: built-in]
    #[arg(long, value_name = "FILE")]
    pub weights: Vec<PathBuf>,

    /// Mean image to subtract, a safetensors file; given once for all networks, or once for each in their order, `-` for none of its own
    /// [default: as the weights file says]
    #[arg(long, value_name = "FILE")]
    pub mean: Vec<PathBuf>,

    /// The layers of the weights: a layer list (TOML), or the name of one that `info` lists; once for all networks, or once for each in
    /// their order, `-` for what the weights file says [default: as the weights file says]
    #[arg(long, value_name = "NAME|FILE", requires = "weights")]
    pub network: Vec<PathBuf>,

    /// Class names, a text file with a name a line; once for all networks, or once for each in their order, `-` for those of the weights
    /// file [default: as the weights file says]
    #[arg(long, value_name = "FILE")]
    pub class_names: Vec<PathBuf>,
}

impl Sources {
    /// The files of each network.
    ///
    /// # Errors
    /// [`Error::Usage`] where an option is given neither once nor once for each network.
    pub fn files(&self) -> Result<Vec<Files>> {
        let n = self.weights.len().max(1);
        // Of each network, in their order.
        let spread = |option: &str, given: &[PathBuf]| match given.len() {
            0 => Ok(vec![None; n]),
            _ if given.len() == n || given.len() == 1 => {
                let of = |i: usize| Some(&given[i % given.len()]).filter(|path| path.as_os_str() != "-").cloned();
                Ok((0..n).map(of).collect::<Vec<_>>())
            }
            got => Err(Error::Usage(format!(
                "{option} is there {got} times for {n} networks: wanted once for all of them, or once for each in the order of --weights, \
                 `-` where the weights file says it"
            ))),
        };
        let (means, networks) = (spread("--mean", &self.mean)?, spread("--network", &self.network)?);
        let names = spread("--class-names", &self.class_names)?;
        let weights = |i: usize| self.weights.get(i).cloned();
        let rest = means.into_iter().zip(networks).zip(names).enumerate();
        let files = rest.map(|(i, ((mean, network), class_names))| Files {
            weights: weights(i),
            mean,
            network,
            class_names,
            ..Files::default()
        });
        Ok(files.collect())
    }
}

/// Warns where nobody trained the network.
pub fn warn_of_random(network: &Network) {
    if let Some(how) = &network.random {
        tracing::warn!("network {:?} has {how}: nobody trained it, and what it says means nothing", network.name);
    }
}

/// How fast it goes; nothing here changes a result.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "How it runs")]
pub struct Speed {
    /// Worker threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Vector instructions: `auto`, `plain`, `avx2` or `avx512`
    #[arg(long, value_name = "SET", default_value = "auto")]
    pub simd: Simd,
}

impl Speed {
    /// How many worker threads.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }

    /// The worker threads.
    ///
    /// # Errors
    /// [`Error::Refused`] if the system gives no threads.
    pub fn pool(&self) -> Result<ThreadPool> {
        let n = self.threads();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
        pool.map_err(|source| Error::Refused(format!("cannot start {n} threads: {source}")))
    }
}

/// Worker threads: as many as `asked` for, else as the machine runs at once.
pub fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// `value` as JSON for people and programs, with a newline at the end.
///
/// # Errors
/// None for the types of this program.
pub fn json(value: &impl serde::Serialize) -> Result<String> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Error::Refused(format!("cannot write JSON: {error}")))?;
    Ok(text + "\n")
}

/// Writes `text` to stdout. A reader that has gone (`| head`) wants no more: that is no error.
///
/// # Errors
/// [`Error::Io`] if stdout takes no more for another reason.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", Path::new("standard output"))(source))
        }
        _ => Ok(()),
    }
}
