//! A run is a function of configuration, seed and weights: not of threads, lanes or chunks.

#[path = "common/generations.rs"]
mod all_backends;

use all_backends::{ALL, configs, job};
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::Config;
use pareidolia::experiment::selftest::runs::GENERATIONS;
use pareidolia::simd::Simd;

fn backend(config: &Config, seed: u64, options: Options) -> CpuBackend {
    CpuBackend::new(job(config, &[seed]), options).unwrap()
}

/// For what is tried of all backends.
fn make(job: Job, chunk: u32) -> Option<Box<dyn Backend>> {
    Some(Box::new(CpuBackend::new(job, Options { simd: Simd::detect(), chunk }).unwrap()))
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

#[test]
fn archive_hash_is_the_same_for_all_threads_lanes_and_chunks() {
    for config in configs() {
        let widest = Simd::detect();
        let want = hash(&config, 1, 1, Options { simd: widest, chunk: ALL });
        for threads in [1, 2, 3] {
            for chunk in [2, 34, 50] {
                let got = hash(&config, 1, threads, Options { simd: widest, chunk });
                assert_eq!(got, want, "{:?} {:?}, {threads} threads, chunk {chunk}", config.preset, config.flavour);
            }
        }
        for simd in Simd::available() {
            let got = hash(&config, 1, 2, Options { simd, chunk: ALL });
            assert_eq!(got, want, "{:?} {:?}, {simd}", config.preset, config.flavour);
        }
        assert_ne!(hash(&config, 2, 2, Options { simd: widest, chunk: ALL }), want, "another seed is another run");
    }
}

#[test]
fn archive_hash_is_the_recorded_one() {
    all_backends::archive_hash_is_the_recorded_one_whatever_the_chunk(&make);
}

#[test]
fn restored_archive_goes_on_to_the_same_hash() {
    let options = Options { simd: Simd::detect(), chunk: ALL };
    for config in configs() {
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
    all_backends::steps_one_by_one_make_what_a_generation_makes_at_once(&make);
}

#[test]
fn runs_that_share_chunks_are_the_runs_by_themselves() {
    all_backends::runs_that_share_chunks_are_the_runs_by_themselves(&make);
}
