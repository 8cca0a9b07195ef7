//! `pareidolia train`: weights of one's own.

use super::Speed;
use crate::error::{Error, Result};
use crate::experiment::progress::ProgressMode;
use crate::experiment::train::{Recipe, TrainRequest, Trained, percent, train_lenet};
use std::path::PathBuf;

/// Train a network
///
/// LeNet on MNIST by Caffe's recipe: SGD with momentum 0.9 and weight decay 0.0005, a learning rate of 0.01 that falls as
/// (1 + 0.0001 t)^-0.75. The same seed gives the same weights file, in every bit, whatever the threads and the processor.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network
    #[arg(value_enum)]
    network: Trainable,

    /// Folder of MNIST's four IDX files, plain or gzip, or one with a folder `mnist` [default: $PAREIDOLIA_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// The weights file to write; it must not exist
    #[arg(long, value_name = "FILE", default_value = "lenet-mnist.safetensors")]
    out: PathBuf,

    /// Seed of the initial weights and of the order of the images
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Updates of the weights
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,

    /// Images an update
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = "How it runs")]
    progress: ProgressMode,

    #[command(flatten)]
    speed: Speed,
}

/// A network that can be trained.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Trainable {
    /// Caffe's LeNet, on MNIST
    Lenet,
}

impl Args {
    /// Trains.
    ///
    /// # Errors
    /// Whatever kept the weights from being trained and written.
    pub fn run(self, quiet: bool) -> Result<()> {
        let Some(data) = self.data.or_else(|| std::env::var_os("PAREIDOLIA_DATA").map(PathBuf::from)) else {
            return Err(Error::Usage(
                "where is MNIST? --data DIR, or the environment variable PAREIDOLIA_DATA, names the folder of \
                 train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte \
                 (plain or .gz)"
                    .to_string(),
            ));
        };
        let Trainable::Lenet = self.network;
        let request = TrainRequest {
            data,
            out: self.out,
            recipe: Recipe { iterations: self.iterations, batch: self.batch, ..Recipe::lenet(self.seed) },
            simd: self.speed.simd,
            progress: if quiet { ProgressMode::None } else { self.progress },
        };
        let Trained { network, correct, of, time } = self.speed.pool()?.install(|| train_lenet(&request))?;
        let seconds = time.as_secs_f64();
        super::print(&format!(
            "{}: {correct} of {of} test images right ({}); {} iterations of {} images in {seconds:.1} s, {:.0} images a \
             second\n{}\n",
            network.name,
            percent(correct, of),
            self.iterations,
            self.batch,
            f64::from(self.iterations) * f64::from(self.batch) / seconds,
            request.out.display()
        ))
    }
}
