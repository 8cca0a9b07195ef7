//! The evolution is right: whole runs land where an independent replica of the paper's rules lands (spec 7.3).

mod common;

use pareidolia::archive::Statistics;
use pareidolia::backend::cpu::{CpuBackend, DEFAULT_CHUNK, Options};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::Canvas;
use pareidolia::genome::direct::Crossover;
use pareidolia::network::Network;
use pareidolia::simd::Simd;
use std::sync::Arc;

/// A band of spec 7.3: centre and half-width.
type Band = (f64, f64);

struct Variant {
    name: &'static str,
    config: Config,
    /// `log10(1 - median)` and number of classes at or above .9999, at generations 50 and 100.
    want: [(Band, Band); 2],
}

fn direct(crossover: Crossover) -> Config {
    let mut config = Config::preset(Preset::MnistDirect, Flavour::Faithful);
    config.direct.as_mut().unwrap().crossover = crossover;
    config
}

fn variants() -> [Variant; 5] {
    [
        Variant {
            name: "direct, SBX as coded",
            config: direct(Crossover::AsCoded),
            want: [((-2.95, 0.35), (1.55, 1.0)), ((-4.91, 0.65), (8.0, 0.9))],
        },
        Variant {
            name: "direct, SBX repaired",
            config: direct(Crossover::Repaired),
            want: [((-3.08, 0.45), (1.86, 0.9)), ((-5.03, 0.6), (8.2, 0.95))],
        },
        Variant {
            name: "direct, no crossover",
            config: direct(Crossover::None),
            want: [((-3.49, 0.35), (2.83, 1.05)), ((-5.75, 0.5), (9.03, 0.4))],
        },
        Variant {
            name: "cppn, raw x, y",
            config: Config::preset(Preset::MnistCppn, Flavour::Faithful),
            want: [((-3.91, 0.6), (4.6, 2.2)), ((-4.37, 1.0), (6.2, 2.0))],
        },
        Variant {
            name: "cppn, normalised x, y",
            config: Config::preset(Preset::MnistCppn, Flavour::Modern),
            want: [((-5.66, 0.65), (8.6, 1.2)), ((-6.06, 0.85), (9.17, 0.75))],
        },
    ]
}

const SEEDS: u64 = 12;
const GENERATIONS: [u32; 2] = [50, 100];

/// L and n4 of a variant at each of [`GENERATIONS`].
fn measure(config: &Config, network: &Arc<Network>) -> [(f64, f64); 2] {
    let mut medians = [Vec::new(), Vec::new()];
    let mut over_9999 = [0, 0];
    let job = Job {
        seeds: (1..=SEEDS).collect(),
        batch: config.batch,
        canvas: Canvas::MNIST,
        encoding: config.encoding(),
        classes: (0..10).collect(),
        network: Arc::clone(network),
        lineage: false,
    };
    let options = Options { simd: Simd::detect(), chunk: DEFAULT_CHUNK };
    let mut backend = CpuBackend::new(job, options).unwrap();
    for generation in 0..=GENERATIONS[1] {
        backend.generation().unwrap();
        if let Some(at) = GENERATIONS.iter().position(|&g| g == generation) {
            for counters in backend.counters().unwrap() {
                let statistics = counters.statistics;
                medians[at].push(statistics.median as f32);
                over_9999[at] += statistics.over_9999;
            }
        }
    }
    [0, 1].map(|at| {
        let median = Statistics::of(&medians[at]).median;
        ((1.0 - median).log10(), over_9999[at] as f64 / SEEDS as f64)
    })
}

#[test]
fn evolution_lands_in_the_bands_of_an_independent_replica() {
    let Some(data) = common::data_dir() else { return };
    let network = Arc::new(Network::load(&data.join("lenet-paper.safetensors"), None).unwrap());
    let mut failures = Vec::new();
    let mut levels = Vec::new();
    for variant in variants() {
        let got = measure(&variant.config, &network);
        levels.push(got[0].0);
        for (at, (level, n4)) in got.into_iter().enumerate() {
            let (level_band, n4_band) = variant.want[at];
            let line = format!(
                "{} at {}: L {level:.2} (want {} +- {}), n4 {n4:.2} (want {} +- {})",
                variant.name, GENERATIONS[at], level_band.0, level_band.1, n4_band.0, n4_band.1
            );
            eprintln!("{line}");
            let inside = |value: f64, band: Band| (value - band.0).abs() <= band.1;
            if !(inside(level, level_band) && inside(n4, n4_band)) {
                failures.push(line);
            }
        }
    }
    assert!(failures.is_empty(), "outside the bands of spec 7.3:\n{}", failures.join("\n"));
    let [as_coded, _, none, raw, normalised] = levels[..] else { unreachable!("five variants") };
    assert!(none <= as_coded - 0.2, "no crossover is ahead of SBX as coded at 50: {none:.2} against {as_coded:.2}");
    assert!(normalised <= raw - 1.0, "normalised is ahead of raw at 50: {normalised:.2} against {raw:.2}");
}
