//! What holds of the generations of every backend.

use pareidolia::archive::Archive;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Counters, Job, chunks};
use pareidolia::experiment::config::Config;
use pareidolia::experiment::selftest::runs::{self, GENERATIONS, RECORDED, RECORDED_SERIES};
use pareidolia::experiment::selftest::tally::Tally;
use pareidolia::simd::Simd;

/// A chunk that holds everything.
pub const ALL: u32 = 4096;

/// Makes the backend of a job with chunks of so many candidates; `None`, and said so, where there is none.
pub type Make<'a> = &'a dyn Fn(Job, u32) -> Option<Box<dyn Backend>>;

/// Both presets in both flavours.
pub fn configs() -> impl Iterator<Item = Config> {
    RECORDED.iter().map(|recorded| recorded.config())
}

/// The runs of `config` with these seeds.
pub fn job(config: &Config, seeds: &[u64]) -> Job {
    runs::job(config, seeds).unwrap()
}

/// The CPU's backend, with the widest vectors.
pub fn cpu(config: &Config, seeds: &[u64], chunk: u32) -> CpuBackend {
    CpuBackend::new(job(config, seeds), Options { simd: Simd::detect(), chunk }).unwrap()
}

/// Lets `backend` make `n` of them.
pub fn generations(backend: &mut dyn Backend, n: u32) {
    runs::generations(backend, n).unwrap();
}

/// Fails at what differs first, in words that fit a screen.
#[track_caller]
pub fn assert_same(want: &Archive, got: &Archive, case: &str) {
    let mut tally = Tally::default();
    tally.case(want.elites.len(), case);
    runs::compare_archives(&mut tally, want, got);
    if let Some(first) = tally.first {
        panic!("{} values differ; the first: {first}", tally.differing);
    }
    assert_eq!(want.hash(), got.hash(), "{case}");
}

/// Recorded runs end at their hashes, early and late, whatever the chunk.
pub fn archive_hash_is_the_recorded_one_whatever_the_chunk(make: Make) {
    for recorded in RECORDED.iter().chain(&RECORDED_SERIES) {
        for chunk in [2, 34, 50] {
            let Some(mut backend) = make(job(&recorded.config(), &[recorded.seed]), chunk) else { return };
            let mut hashes = Vec::new();
            for n in [1 + runs::FEW_GENERATIONS, GENERATIONS - runs::FEW_GENERATIONS] {
                generations(&mut *backend, n);
                let counters = backend.counters().unwrap().remove(0);
                assert_eq!(
                    counters.archive_hash,
                    backend.archive(0).unwrap().hash(),
                    "{}, chunk {chunk}: hash of the counters",
                    recorded.name()
                );
                hashes.push(format!("{:#018x}", counters.archive_hash));
            }
            let want = recorded.hashes.map(|hash| format!("{hash:#018x}"));
            assert_eq!(hashes, want, "{}, chunk {chunk}", recorded.name());
        }
    }
}

/// The steps, called one by one with other chunks, do what a generation does.
pub fn steps_one_by_one_make_what_a_generation_makes_at_once(make: Make) {
    for config in configs() {
        let (Some(mut whole), Some(mut parted)) = (make(job(&config, &[3]), ALL), make(job(&config, &[3]), 22)) else {
            return;
        };
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

/// Runs side by side, one of which ends early and one of which goes on from a restored archive, are those that the CPU makes alone.
pub fn runs_that_share_chunks_are_the_runs_by_themselves(make: Make) {
    let seeds = [7, 8, 11];
    for config in configs() {
        // Chunks end in the midst of runs.
        for chunk in [ALL, 36] {
            let mut alone: Vec<CpuBackend> = seeds.iter().map(|&seed| cpu(&config, &[seed], ALL)).collect();
            for (run, n) in alone.iter_mut().zip([GENERATIONS, 4, GENERATIONS]) {
                generations(run, 1 + n);
            }
            let Some(mut together) = make(job(&config, &seeds), chunk) else { return };
            generations(&mut *together, 5);
            // The second run ends; the others go on, the third from a restored archive.
            together.activate(&[0, 2]).unwrap();
            let third = together.archive(2).unwrap();
            let skipped = together.counters().unwrap()[1].skipped;
            together.restore(2, third, skipped).unwrap();
            generations(&mut *together, GENERATIONS - 4);
            for (run, alone) in alone.iter_mut().enumerate() {
                let case = format!("{:?} {:?}, chunk {chunk}, run {run}", config.preset, config.flavour);
                assert_same(&alone.archive(0).unwrap(), &together.archive(run).unwrap(), &case);
            }
            let counters: Vec<Counters> = [0, 2].map(|run| alone[run].counters().unwrap().remove(0)).into();
            assert_eq!(together.counters().unwrap(), counters);
        }
    }
}
