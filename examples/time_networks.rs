//! How fast each network is on this machine's CPU, with random weights: images a second, and the share of the peak of fused
//! multiply-adds, which is measured between the repeats.
//!
//! ```sh
//! cargo run --release --example time_networks                                  # all, batch 64
//! cargo run --release --example time_networks -- caffenet --batch 1 --threads 1
//! cargo run --release --example time_networks -- caffenet --layers             # each layer of one image, on one thread
//! ```

use clap::Parser;
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::error::{Error, Result};
use pareidolia::experiment::bench::peaks::{Peak, fma_name, peaks};
use pareidolia::network::list::List;
use pareidolia::network::{Network, Shape};
use pareidolia::simd::Simd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Parser)]
struct Args {
    /// Layer lists: names, or files (TOML) [default: all that the program has]
    networks: Vec<PathBuf>,
    /// Images a call
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Calls; the fastest and the median count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Worker threads [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long, default_value = "auto")]
    simd: Simd,
    /// Time the layers of one image instead, on one thread
    #[arg(long)]
    layers: bool,
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
    let names: Vec<PathBuf> =
        if args.networks.is_empty() { List::names().map(PathBuf::from).collect() } else { args.networks.clone() };
    let threads = if args.layers { 1 } else { args.threads.unwrap_or_else(|| pareidolia::cli::threads(None)) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Refused(format!("cannot start {threads} threads: {error}")))?;
    pool.install(|| {
        let mut fma = peaks().into_iter().find(|peak| peak.name == fma_name(args.simd)).expect("each set has a peak");
        for name in names {
            let network = Arc::new(Network::random(&List::find(&name)?, 1)?);
            if args.layers { layers(&network, &args, &mut fma)? } else { whole(&network, &args, &mut fma)? }
        }
        Ok(())
    })
}

/// GFLOP/s of the peak, now.
fn peak_now(fma: &mut Peak) -> Result<f64> {
    const REPEATS: u32 = 20;
    Ok(f64::from(REPEATS) * fma.giga / (fma.timer)(REPEATS)?.as_secs_f64())
}

fn random_images(network: &Network, n: usize) -> Vec<u8> {
    (0..n * network.input.len()).map(|at| ((at as u32).wrapping_mul(0x9E37_79B1) >> 24) as u8).collect()
}

fn whole(network: &Arc<Network>, args: &Args, fma: &mut Peak) -> Result<()> {
    let batch = args.batch as usize;
    let classifier = Classifier::new(Arc::clone(network), args.simd);
    classifier.check(rayon::current_num_threads())?;
    let images = random_images(network, batch);
    let mut probabilities = vec![0.0; batch * network.classes.len()];
    classifier.classify(&images, &mut probabilities); // packs the weights
    let giga = 2e-9 * network.multiply_adds() as f64 * batch as f64;
    let mut shares = Vec::new();
    for _ in 0..args.repeats {
        let peak = peak_now(fma)?;
        let began = Instant::now();
        classifier.classify(&images, &mut probabilities);
        let seconds = began.elapsed().as_secs_f64();
        shares.push((giga / seconds / peak, batch as f64 / seconds, giga / seconds, peak));
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (what, (share, rate, gflops, peak)) in
        [("median", shares[shares.len() / 2]), ("best", shares[shares.len() - 1])]
    {
        println!(
            "{:<24} batch {batch:>4}  {what:<6} {rate:>8.1} images/s  {gflops:>6.1} of {peak:.1} GFLOP/s  {:>5.1} %",
            network.name,
            100.0 * share
        );
    }
    Ok(())
}

fn layers(network: &Arc<Network>, args: &Args, fma: &mut Peak) -> Result<()> {
    let classifier = Classifier::new(Arc::clone(network), args.simd);
    let image = random_images(network, 1);
    let mut times = vec![f64::INFINITY; network.layers.len()];
    let mut peaks: Vec<f64> = Vec::new();
    for _ in 0..=args.repeats {
        peaks.push(peak_now(fma)?);
        let mut began = Instant::now();
        classifier.activations(&image, &mut |layer, _: Shape, _: &[f32]| {
            times[layer] = times[layer].min(began.elapsed().as_secs_f64());
            began = Instant::now();
        });
    }
    peaks.sort_by(f64::total_cmp);
    let peak = peaks[peaks.len() / 2];
    let shapes = network.shapes();
    println!("{}, one image, one thread; peak {peak:.1} GFLOP/s; with what the accessor copies", network.name);
    for (index, layer) in network.layers.iter().enumerate().filter(|(index, _)| times[*index].is_finite()) {
        let mut adds = layer.multiply_adds(shapes[layer.inputs[0]], shapes[index + 1]);
        if index > 0 && times[index - 1].is_infinite() {
            let before = &network.layers[index - 1];
            adds += before.multiply_adds(shapes[before.inputs[0]], shapes[index]);
        }
        let gflops = 2e-9 * adds as f64 / times[index];
        let share = 100.0 * gflops / peak;
        println!("  {:<28} {:>8.3} ms {gflops:>7.1} GFLOP/s {share:>5.1} %", layer.name, 1e3 * times[index]);
    }
    Ok(())
}
