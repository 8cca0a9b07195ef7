//! Whole runs: the archive of the CPU's, in every bit.

use crate::harness;
use pareidolia::archive::Archive;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::cuda::CudaBackend;
use pareidolia::backend::{Backend, Counters, Job, chunks};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::cppn;
use pareidolia::network::Network;
use pareidolia::simd::Simd;
use std::sync::Arc;

const GENERATIONS: u32 = 12;
/// No multiple of a warp.
const BATCH: u32 = 50;
const ALL: u32 = 4096;

/// The archive hashes of tests/determinism.rs, where the CPU backend makes them.
const RECORDED: [(Preset, Flavour, u64); 4] = [
    (Preset::MnistDirect, Flavour::Faithful, 0x304e_244a_cc58_b44a),
    (Preset::MnistDirect, Flavour::Modern, 0xb6c1_5752_704a_f78a),
    (Preset::MnistCppn, Flavour::Faithful, 0x8fae_78cc_ada4_1bf9),
    (Preset::MnistCppn, Flavour::Modern, 0xc6c9_64c4_347f_e2e4),
];

/// Both presets in both flavours.
fn configs() -> impl Iterator<Item = Config> {
    RECORDED.iter().map(|&(preset, flavour, _)| Config { batch: BATCH, ..Config::preset(preset, flavour) })
}

pub fn job(config: &Config, seeds: &[u64]) -> Job {
    let network = Arc::new(Network::embedded_lenet(None).unwrap());
    let all = || (0..network.classes.len() as u32).collect();
    Job {
        seeds: seeds.to_vec(),
        batch: config.batch,
        canvas: config.canvas(),
        encoding: config.encoding(),
        classes: if config.classes.is_empty() { all() } else { config.classes.clone() },
        network,
    }
}

/// Gives CPPNs a capacity that operators run into.
fn tighten(config: &mut Config) {
    if let Some(rules) = &mut config.cppn {
        let rates = cppn::Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..rules.clone() };
        *rules = cppn::Rules { max_nodes: 7, max_edges: 7, ..rates };
    }
}

/// A backend on a device of its own; `None`, and said so, where there is none.
fn cuda(config: &Config, seeds: &[u64], chunk: u32) -> Option<CudaBackend> {
    let launcher = Arc::new(harness::own_launcher()?);
    Some(CudaBackend::new(job(config, seeds), launcher, "a device".into(), chunk).unwrap())
}

fn cpu(config: &Config, seeds: &[u64], chunk: u32) -> CpuBackend {
    CpuBackend::new(job(config, seeds), Options { simd: Simd::detect(), chunk }).unwrap()
}

fn generations(backend: &mut impl Backend, n: u32) {
    (0..n).for_each(|_| backend.generation().unwrap());
}

/// Fails at what differs first, in words that fit a screen.
#[track_caller]
fn assert_same(want: &Archive, got: &Archive, case: &str) {
    assert_eq!(
        (want.generation, &want.classes, want.elites.len()),
        (got.generation, &got.classes, got.elites.len()),
        "{case}"
    );
    for (niche, (want, got)) in want.elites.iter().zip(&got.elites).enumerate() {
        assert_eq!(want.born, got.born, "{case}: niche {niche}: birth");
        harness::assert_bits(&want.probabilities, &got.probabilities, &format!("{case}: niche {niche}"));
        assert!(want.image == got.image, "{case}: niche {niche}: images differ");
        assert!(want.genome == got.genome, "{case}: niche {niche}: genomes differ");
        assert_eq!(want.content_hash, got.content_hash, "{case}: niche {niche}: content hash");
    }
    assert_eq!(want.hash(), got.hash(), "{case}");
}

#[test]
fn archive_hash_is_the_recorded_one_whatever_the_chunk() {
    for (config, (preset, flavour, hash)) in configs().zip(RECORDED) {
        for chunk in [2, 34, 50] {
            let Some(mut backend) = cuda(&config, &[1], chunk) else { return };
            generations(&mut backend, 1 + GENERATIONS);
            let counters = backend.counters().unwrap().remove(0);
            let archive = backend.archive(0).unwrap();
            assert_eq!(
                counters.archive_hash,
                archive.hash(),
                "{preset:?} {flavour:?}, chunk {chunk}: hash of the device"
            );
            assert_eq!(
                format!("{:016x}", counters.archive_hash),
                format!("{hash:016x}"),
                "{preset:?} {flavour:?}, chunk {chunk}"
            );
        }
    }
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
fn steps_one_by_one_make_what_the_recorded_generation_makes() {
    for config in configs() {
        let (Some(mut whole), Some(mut parted)) = (cuda(&config, &[3], ALL), cuda(&config, &[3], 22)) else { return };
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
        let case = format!("{:?} {:?}", config.preset, config.flavour);
        assert_same(&whole.archive(0).unwrap(), &parted.archive(0).unwrap(), &case);
    }
}

#[test]
fn runs_that_share_chunks_are_the_runs_by_themselves() {
    let seeds = [7, 8, 11];
    for config in configs() {
        // Chunks end in the midst of runs.
        for chunk in [ALL, 36] {
            let mut alone: Vec<CpuBackend> = seeds.iter().map(|&seed| cpu(&config, &[seed], ALL)).collect();
            for (run, n) in alone.iter_mut().zip([GENERATIONS, 4, GENERATIONS]) {
                generations(run, 1 + n);
            }
            let Some(mut together) = cuda(&config, &seeds, chunk) else { return };
            generations(&mut together, 5);
            // The second run ends; the others go on, the third from a restored archive.
            together.activate(&[0, 2]).unwrap();
            let third = together.archive(2).unwrap();
            let skipped = together.counters().unwrap()[1].skipped;
            together.restore(2, third, skipped).unwrap();
            generations(&mut together, GENERATIONS - 4);
            for (run, alone) in alone.iter_mut().enumerate() {
                let case = format!("{:?} {:?}, chunk {chunk}, run {run}", config.preset, config.flavour);
                assert_same(&alone.archive(0).unwrap(), &together.archive(run).unwrap(), &case);
            }
            let counters: Vec<Counters> = [0, 2].map(|run| alone[run].counters().unwrap().remove(0)).into();
            assert_eq!(together.counters().unwrap(), counters);
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
