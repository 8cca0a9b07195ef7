//! How long the way forward and back takes, to the input, beside the forward pass alone: with random weights, on this machine's CPU.
//!
//! ```sh
//! cargo run --release --example time_gradients -- lenet --images 10
//! cargo run --release --example time_gradients -- squeezenet --images 20 --repeats 3
//! ```

use clap::Parser;
use pareidolia::backend::cpu::InputGradients;
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::error::{Error, Result};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::simd::Simd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Args {
    /// Layer list: a name, or a file (TOML)
    network: PathBuf,
    /// Images at once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    images: u32,
    /// Calls of each; the median counts
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeats: u32,
    /// Worker threads [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long, default_value = "auto")]
    simd: Simd,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: Args) -> Result<()> {
    let threads = args.threads.unwrap_or_else(|| pareidolia::cli::threads(None));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Refused(format!("cannot start {threads} threads: {error}")))?;
    let network = Arc::new(Network::random(&List::find(&args.network)?, 1)?);
    pool.install(|| {
        let images = args.images as usize;
        let mut both = InputGradients::new(&network, images, args.simd)?;
        let classifier = Classifier::new(Arc::clone(&network), args.simd);
        let classes: Vec<u32> = (0..args.images).map(|image| image % network.classes.len() as u32).collect();
        let inputs = vec![0.5; images * network.input.len()];
        let (mut probabilities, mut gradients) = (vec![0.0; images * classifier.n_classes()], vec![0.0; inputs.len()]);
        let bytes = vec![128; images * classifier.given().len()];
        let (mut forward, mut all) = (Vec::new(), Vec::new());
        for _ in 0..=args.repeats {
            forward.push(time(|| classifier.classify(&bytes, &mut probabilities)));
            all.push(time(|| both.run(&inputs, &classes, &mut probabilities, &mut gradients)));
        }
        let [forward, all] = [forward, all].map(|mut times| {
            times.remove(0); // packs
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e3
        });
        println!(
            "{}, {images} images, {threads} threads, {}: forward {forward:.3} ms, and back {all:.3} ms: {:.2} times",
            network.name,
            args.simd,
            all / forward
        );
        Ok(())
    })
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
