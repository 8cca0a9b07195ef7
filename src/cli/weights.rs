//! `pareidolia weights`: weights files that nobody trained.

use crate::error::{Error, Result};
use crate::network::{Network, list::List};
use std::path::PathBuf;

/// Make a weights file
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Random(RandomArgs),
}

/// Draw weights at random, to measure with: the network has its real size, and what it says means nothing
///
/// Weights are uniform, as large as He et al. (2015) have them, so that activations keep their size from layer to layer; biases are
/// 0. The file says that its weights are random, and so does whatever uses it. The same seed gives the same file.
#[derive(Debug, clap::Args)]
struct RandomArgs {
    /// A layer list (TOML), or the name of one that `info` lists
    #[arg(value_name = "NETWORK")]
    network: PathBuf,

    /// Seed of the weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// The weights file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Args {
    /// Makes it.
    ///
    /// # Errors
    /// Whatever kept the file from being written.
    pub fn run(self) -> Result<()> {
        let What::Random(RandomArgs { network, seed, out }) = self.what;
        if out.exists() {
            return Err(Error::Refused(format!("{} is there already; --out names another file", out.display())));
        }
        let network = Network::random(&List::find(&network)?, seed)?;
        network.save(&out, &[("seed", seed.to_string())])?;
        let values: usize = network.parameters.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum();
        super::print(&format!("{}: {values} random weights and biases\n{}\n", network.name, out.display()))
    }
}
