//! A run is a function of configuration, seed and weights: not of threads, lanes or chunks.

use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::network::Network;
use pareidolia::simd::Simd;
use std::sync::Arc;

const GENERATIONS: u32 = 12;
/// No multiple of any vector's width. Small, since the plain path may lack a fused multiply-add in hardware.
const BATCH: u32 = 50;

fn backend(config: &Config, seed: u64, options: Options) -> CpuBackend {
    let network = Arc::new(Network::embedded_lenet(None).unwrap());
    let job = Job {
        seed,
        batch: config.batch,
        canvas: config.canvas(),
        encoding: config.encoding(),
        classes: (0..10).collect(),
        network,
    };
    CpuBackend::new(job, options).unwrap()
}

/// The archive hash after [`GENERATIONS`], on `threads` threads.
fn hash(config: &Config, seed: u64, threads: usize, options: Options) -> u64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut backend = backend(config, seed, options);
        for generation in 0..=GENERATIONS {
            backend.generation(generation, config.batch).unwrap();
        }
        backend.counters().unwrap().archive_hash
    })
}

fn presets() -> Vec<Config> {
    [Preset::MnistDirect, Preset::MnistCppn]
        .into_iter()
        .flat_map(|preset| [Flavour::Faithful, Flavour::Modern].map(|flavour| Config::preset(preset, flavour)))
        .map(|config| Config { batch: BATCH, ..config })
        .collect()
}

#[test]
fn archive_hash_is_the_same_for_all_threads_lanes_and_chunks() {
    for config in presets() {
        let widest = Simd::detect();
        let want = hash(&config, 1, 1, Options { simd: widest, chunk: 4096 });
        for threads in [1, 2, 3] {
            for chunk in [2, 34, 50] {
                let got = hash(&config, 1, threads, Options { simd: widest, chunk });
                assert_eq!(got, want, "{:?} {:?}, {threads} threads, chunk {chunk}", config.preset, config.flavour);
            }
        }
        for simd in Simd::available() {
            let got = hash(&config, 1, 2, Options { simd, chunk: 4096 });
            assert_eq!(got, want, "{:?} {:?}, {simd}", config.preset, config.flavour);
        }
        assert_ne!(hash(&config, 2, 2, Options { simd: widest, chunk: 4096 }), want, "another seed is another run");
    }
}

/// Recorded on x86-64 with AVX-512. A change here is a change of the arithmetic, of the shipped weights or of a preset: it
/// is named in the commit and, where a rule changed, raises ARITHMETIC_VERSION.
#[test]
fn archive_hash_is_the_recorded_one() {
    let got: Vec<String> = presets()
        .iter()
        .map(|config| {
            let hash = hash(config, 1, 2, Options { simd: Simd::detect(), chunk: 4096 });
            format!("{:?} {:?} {hash:016x}", config.preset, config.flavour)
        })
        .collect();
    assert_eq!(got, RECORDED);
}

const RECORDED: [&str; 4] = [
    "MnistDirect Faithful 304e244acc58b44a",
    "MnistDirect Modern b6c15752704af78a",
    "MnistCppn Faithful 8fae78ccada41bf9",
    "MnistCppn Modern c6c964c4347fe2e4",
];

#[test]
fn restored_archive_goes_on_to_the_same_hash() {
    let options = Options { simd: Simd::detect(), chunk: 4096 };
    for config in presets() {
        let mut whole = backend(&config, 3, options);
        for generation in 0..=GENERATIONS {
            whole.generation(generation, config.batch).unwrap();
        }
        for stop in [0, 1, 7] {
            let mut first = backend(&config, 3, options);
            for generation in 0..=stop {
                first.generation(generation, config.batch).unwrap();
            }
            let mut second = backend(&config, 3, options);
            second.restore(first.archive().unwrap(), first.counters().unwrap().skipped).unwrap();
            for generation in stop + 1..=GENERATIONS {
                second.generation(generation, config.batch).unwrap();
            }
            assert_eq!(second.archive().unwrap(), whole.archive().unwrap(), "{:?} at {stop}", config.preset);
        }
    }
}
