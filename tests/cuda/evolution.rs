//! Whole runs: the archive of the CPU's, in every bit.

#[path = "../common/generations.rs"]
pub mod all_backends;

use crate::harness;
pub use all_backends::job;
use all_backends::{ALL, assert_same, configs, cpu, generations};
use pareidolia::archive::Archive;
use pareidolia::backend::cpu::CpuBackend;
use pareidolia::backend::cuda::CudaBackend;
use pareidolia::backend::{Backend, Counters, Job};
use pareidolia::experiment::config::Config;
use pareidolia::experiment::selftest::runs::{BATCH, GENERATIONS};
use pareidolia::genome::{Genome, cppn};
use std::sync::Arc;

/// Gives CPPNs a capacity that operators run into.
fn tighten(config: &mut Config) {
    if let Some(rules) = &mut config.cppn {
        let rates = cppn::Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..rules.clone() };
        *rules = cppn::Rules { max_nodes: 7, max_edges: 7, ..rates };
    }
}

/// A backend on a device of its own; `None`, and said so, where there is none.
fn cuda(config: &Config, seeds: &[u64], chunk: u32) -> Option<CudaBackend> {
    backend(job(config, seeds), chunk)
}

fn backend(job: Job, chunk: u32) -> Option<CudaBackend> {
    let launcher = Arc::new(harness::own_launcher()?);
    Some(CudaBackend::new(job, launcher, "a device".into(), chunk).unwrap())
}

/// The same for what is tried of all backends.
fn make(job: Job, chunk: u32) -> Option<Box<dyn Backend>> {
    Some(Box::new(backend(job, chunk)?))
}

#[test]
fn archive_hash_is_the_recorded_one_whatever_the_chunk() {
    all_backends::archive_hash_is_the_recorded_one_whatever_the_chunk(&make);
}

#[test]
fn steps_one_by_one_make_what_the_recorded_generation_makes() {
    all_backends::steps_one_by_one_make_what_a_generation_makes_at_once(&make);
}

#[test]
fn runs_that_share_chunks_are_the_runs_by_themselves() {
    all_backends::runs_that_share_chunks_are_the_runs_by_themselves(&make);
}

#[test]
fn archive_and_counters_are_those_of_the_cpu_after_every_generation() {
    for mut config in configs() {
        // Some classes only.
        config.classes = vec![0, 3, 4, 9];
        tighten(&mut config);
        let seeds = [5, u64::MAX - 1];
        let Some(mut got) = cuda(&config, &seeds, 64) else { return };
        let mut want = cpu(&config, &seeds, ALL);
        for generation in 0..=GENERATIONS {
            want.generation().unwrap();
            got.generation().unwrap();
            let case = format!("{:?} {:?}, generation {generation}", config.preset, config.flavour);
            assert_eq!(want.counters().unwrap(), got.counters().unwrap(), "{case}");
            for run in 0..seeds.len() {
                assert_same(&want.archive(run).unwrap(), &got.archive(run).unwrap(), &format!("{case}, run {run}"));
            }
        }
        if config.cppn.is_some() {
            let skipped = want.counters().unwrap().iter().map(|counters| counters.skipped).min();
            assert!(skipped > Some(10), "operators were to be skipped: {skipped:?}");
        }
    }
}

#[test]
fn other_runs_of_the_same_number_take_part_in_the_same_recorded_generation() {
    let config = configs().next().unwrap();
    let seeds = [1, 2, 3, 4];
    let Some(mut together) = cuda(&config, &seeds, 30) else { return };
    together.generation().unwrap();
    let mut want: Vec<CpuBackend> = seeds.iter().map(|&seed| cpu(&config, &[seed], ALL)).collect();
    want.iter_mut().for_each(|run| generations(run, 1));
    for active in [[0, 1], [2, 3], [1, 3], [0, 1]] {
        together.activate(&active).unwrap();
        generations(&mut together, 2);
        active.iter().for_each(|&run| generations(&mut want[run], 2));
        let counters: Vec<Counters> = active.map(|run| want[run].counters().unwrap().remove(0)).into();
        assert_eq!(together.counters().unwrap(), counters, "{active:?}");
    }
    for (run, want) in want.iter_mut().enumerate() {
        assert_same(&want.archive(0).unwrap(), &together.archive(run).unwrap(), &format!("run {run}"));
    }
}

#[test]
fn run_moves_between_the_devices_and_stays_itself() {
    for config in configs() {
        let mut whole = cpu(&config, &[3], ALL);
        generations(&mut whole, 1 + GENERATIONS);
        let mut moved: (Archive, u64) = {
            let Some(mut first) = cuda(&config, &[3], 34) else { return };
            generations(&mut first, 3);
            (first.archive(0).unwrap(), first.counters().unwrap()[0].skipped)
        };
        for (to_gpu, n) in [(false, 4), (true, 3), (true, 1), (false, 1), (true, 1)] {
            let mut backend: Box<dyn Backend> =
                if to_gpu { Box::new(cuda(&config, &[3], 20).unwrap()) } else { Box::new(cpu(&config, &[3], ALL)) };
            backend.restore(0, moved.0, moved.1).unwrap();
            (0..n).for_each(|_| backend.generation().unwrap());
            moved = (backend.archive(0).unwrap(), backend.counters().unwrap()[0].skipped);
        }
        let case = format!("{:?} {:?}", config.preset, config.flavour);
        assert_same(&whole.archive(0).unwrap(), &moved.0, &case);
        assert_eq!(whole.counters().unwrap()[0].skipped, moved.1, "{case}");
    }
}

#[test]
fn runs_that_start_from_genomes_are_those_of_the_cpu() {
    for config in configs() {
        let seeds = [6, 7];
        // What other runs have come to, less than a batch of them.
        let mut earlier = cpu(&config, &[5], ALL);
        generations(&mut earlier, 4);
        let elites = earlier.archive(0).unwrap().elites;
        let start: Arc<[Genome]> = elites.iter().map(|elite| elite.genome.clone()).collect();
        assert!(start.len() < BATCH as usize);
        // Chunks of both runs' candidates, and of a part of the genomes to start from.
        for chunk in [6, 34] {
            let Some(mut got) = cuda(&config, &seeds, chunk) else { return };
            got.start_from(Arc::clone(&start));
            let mut want = cpu(&config, &seeds, ALL);
            want.start_from(Arc::clone(&start));
            for generation in 0..3 {
                want.generation().unwrap();
                got.generation().unwrap();
                for run in 0..seeds.len() {
                    let case = format!("{:?} {:?}, generation {generation}, run {run}", config.preset, config.flavour);
                    assert_same(&want.archive(run).unwrap(), &got.archive(run).unwrap(), &case);
                }
            }
        }
    }
}

#[test]
fn restored_archive_takes_the_place_of_what_was_there() {
    for mut config in configs() {
        tighten(&mut config);
        let Some(mut got) = cuda(&config, &[4], 30) else { return };
        generations(&mut got, 7);
        let mut want = cpu(&config, &[4], ALL);
        generations(&mut want, 3);
        got.restore(0, want.archive(0).unwrap(), want.counters().unwrap()[0].skipped).unwrap();
        let case = format!("{:?} {:?}", config.preset, config.flavour);
        assert_same(&want.archive(0).unwrap(), &got.archive(0).unwrap(), &format!("{case}, restored"));
        generations(&mut want, 3);
        generations(&mut got, 3);
        assert_same(&want.archive(0).unwrap(), &got.archive(0).unwrap(), &case);
        assert_eq!(want.counters().unwrap(), got.counters().unwrap(), "{case}");
    }
}

#[test]
fn image_that_was_scored_is_the_one_that_the_cpu_draws() {
    for config in configs() {
        let Some(mut got) = cuda(&config, &[9], ALL) else { return };
        let mut want = cpu(&config, &[9], ALL);
        generations(&mut got, 4);
        // Steps, since a whole generation of the CPU leaves them in its caches' order all the same.
        generations(&mut want, 4);
        let n = BATCH as usize;
        for at in 0..n {
            assert!(want.genome(at) == got.genome(at).unwrap(), "{:?}: genome {at}", config.preset);
        }
        assert!(want.images() == got.images().unwrap(), "{:?}: images", config.preset);
        let probabilities = got.probabilities().unwrap();
        for (at, row) in want.probabilities().chunks(10).enumerate() {
            let column: Vec<f32> = (0..10).map(|class| probabilities[class * n + at]).collect();
            harness::assert_bits(row, &column, &format!("{:?}: image {at}", config.preset));
        }
    }
}
