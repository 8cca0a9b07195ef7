//! A run is a function of configuration, seed and weights: not of threads, lanes or chunks.

use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Counters, Job, chunks};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::network::Network;
use pareidolia::simd::Simd;
use std::sync::Arc;

const GENERATIONS: u32 = 12;
/// No multiple of any vector's width. Small, since the plain path may lack a fused multiply-add in hardware.
const BATCH: u32 = 50;

fn backend(config: &Config, seed: u64, options: Options) -> CpuBackend {
    backend_of(config, vec![seed], options)
}

fn backend_of(config: &Config, seeds: Vec<u64>, options: Options) -> CpuBackend {
    let network = Arc::new(Network::embedded_lenet(None).unwrap());
    let job = Job {
        seeds,
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
        for _ in 0..=GENERATIONS {
            backend.generation().unwrap();
        }
        backend.counters().unwrap()[0].archive_hash
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
        for _ in 0..=GENERATIONS {
            whole.generation().unwrap();
        }
        for stop in [0, 1, 7] {
            let mut first = backend(&config, 3, options);
            for _ in 0..=stop {
                first.generation().unwrap();
            }
            let mut second = backend(&config, 3, options);
            second.restore(0, first.archive(0).unwrap(), first.counters().unwrap()[0].skipped).unwrap();
            for _ in stop + 1..=GENERATIONS {
                second.generation().unwrap();
            }
            assert_eq!(second.archive(0).unwrap(), whole.archive(0).unwrap(), "{:?} at {stop}", config.preset);
        }
    }
}

#[test]
fn steps_one_by_one_make_what_a_generation_makes_at_once() {
    for config in presets() {
        let mut whole = backend(&config, 3, Options { simd: Simd::detect(), chunk: 4096 });
        let mut parted = backend(&config, 3, Options { simd: Simd::detect(), chunk: 22 });
        for _ in 0..=GENERATIONS {
            whole.generation().unwrap();
            let is_first = parted.is_first();
            for chunk in chunks(parted.places(), parted.chunk()) {
                if is_first {
                    parted.randomise(chunk.clone()).unwrap();
                } else {
                    parted.select(chunk.clone()).unwrap();
                    parted.vary(chunk.clone()).unwrap();
                }
                parted.render(chunk.clone()).unwrap();
                parted.classify(chunk.clone()).unwrap();
                parted.niche_argmax(chunk).unwrap();
            }
            parted.insert().unwrap();
        }
        assert_eq!(whole.archive(0).unwrap(), parted.archive(0).unwrap(), "{:?}", config.preset);
    }
}

#[test]
fn runs_that_share_chunks_are_the_runs_by_themselves() {
    let seeds = [7, 8, 11];
    for config in presets() {
        // Chunks end in the midst of runs.
        for chunk in [4096, 36] {
            let options = Options { simd: Simd::detect(), chunk };
            let mut alone: Vec<CpuBackend> = seeds.iter().map(|&seed| backend(&config, seed, options)).collect();
            for (run, generations) in alone.iter_mut().zip([GENERATIONS, 4, GENERATIONS]) {
                (0..=generations).for_each(|_| run.generation().unwrap());
            }
            let mut together = backend_of(&config, seeds.to_vec(), options);
            (0..=4).for_each(|_| together.generation().unwrap());
            // The second run ends; the others go on, the third from a restored archive.
            together.activate(&[0, 2]).unwrap();
            let third = together.archive(2).unwrap();
            let skipped = together.counters().unwrap()[1].skipped;
            together.restore(2, third, skipped).unwrap();
            (4..GENERATIONS).for_each(|_| together.generation().unwrap());
            for (run, alone) in alone.iter_mut().enumerate() {
                assert_eq!(
                    together.archive(run).unwrap(),
                    alone.archive(0).unwrap(),
                    "{:?}, chunk {chunk}, run {run}",
                    config.preset
                );
            }
            let counters: Vec<Counters> = [0, 2].map(|run| alone[run].counters().unwrap().remove(0)).into();
            assert_eq!(together.counters().unwrap(), counters);
        }
    }
}
