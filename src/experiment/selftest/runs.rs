//! Whole runs: the archive of the CPU's in every bit, and the hash that was recorded.

use super::cases::Extent;
use super::graphs;
use super::tally::Tally;
use crate::archive::Archive;
use crate::backend::cpu::{CpuBackend, Options};
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::experiment::config::{Config, Flavour, Preset, name_of};
use crate::experiment::evolve;
use crate::genome::{Canvas, Genome};
use crate::network::{Network, weights::Files};
use crate::output::Checkpoint;
use crate::simd::Simd;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Generations of the recorded runs after the random one; of the short ones.
pub const GENERATIONS: u32 = 12;
pub const FEW_GENERATIONS: u32 = 2;
/// Candidates a generation: no multiple of a warp or of any vector's width. Few, since the plain path may lack a fused multiply-add
/// in hardware.
pub const BATCH: u32 = 50;

/// A run of the program's own LeNet, and what its archive hash is.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub preset: Preset,
    pub flavour: Flavour,
    pub seed: u64,
    /// After [`FEW_GENERATIONS`], and after [`GENERATIONS`].
    pub hashes: [u64; 2],
}

/// Recorded on x86-64 with AVX-512. A change here is a change of the arithmetic, of the shipped weights or of a preset: it
/// is named in the commit and, where a rule changed, raises ARITHMETIC_VERSION.
pub const RECORDED: [Recorded; 4] = [
    recorded(Preset::MnistDirect, Flavour::Faithful, 1, [0x6733_8276_b7c8_270d, 0x304e_244a_cc58_b44a]),
    recorded(Preset::MnistDirect, Flavour::Modern, 1, [0x663b_38f2_f3b4_b712, 0xb6c1_5752_704a_f78a]),
    recorded(Preset::MnistCppn, Flavour::Faithful, 1, [0xdbd0_c37c_6254_e7ba, 0x8fae_78cc_ada4_1bf9]),
    recorded(Preset::MnistCppn, Flavour::Modern, 1, [0x1aa9_c130_c1d8_2a77, 0xc6c9_64c4_347f_e2e4]),
];

/// The same of runs that are made side by side, the last of a seed of more than 32 bits.
pub const RECORDED_SERIES: [Recorded; 3] = [
    recorded(Preset::MnistCppn, Flavour::Faithful, 7, [0x5940_cc24_e08d_bf28, 0x8d51_224e_7831_6fe2]),
    recorded(Preset::MnistCppn, Flavour::Faithful, 8, [0xfc23_47bb_e214_3310, 0x193e_f8b3_0728_fcbb]),
    recorded(Preset::MnistCppn, Flavour::Faithful, i64::MAX as u64, [0xe77b_87ff_d6db_5c31, 0x9a73_b0d2_b261_0b14]),
];

const fn recorded(preset: Preset, flavour: Flavour, seed: u64, hashes: [u64; 2]) -> Recorded {
    Recorded { preset, flavour, seed, hashes }
}

impl Recorded {
    /// Its configuration.
    pub fn config(&self) -> Config {
        Config { batch: BATCH, seed: self.seed, ..Config::preset(self.preset, self.flavour) }
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("{} {} seed {}", name_of(self.preset), name_of(self.flavour), self.seed)
    }

    /// Generations after the random one, and the hash then.
    pub fn end(&self, extent: Extent) -> (u32, u64) {
        match extent {
            Extent::Quick => (FEW_GENERATIONS, self.hashes[0]),
            Extent::Usual | Extent::Full => (GENERATIONS, self.hashes[1]),
        }
    }
}

/// The runs of `config`, of the program's own LeNet.
///
/// # Errors
/// None for configurations of the presets.
pub fn job(config: &Config, seeds: &[u64]) -> Result<Job> {
    evolve::job(config, seeds.to_vec(), &Arc::new(Network::embedded_lenet(None)?))
}

/// Makes the backend that is tried, for a job with chunks of so many candidates.
pub type Make<'a> = dyn Fn(Job, u32) -> Result<Box<dyn Backend>> + 'a;

/// Lets `backend` make `n` generations.
///
/// # Errors
/// The backend's.
pub fn generations(backend: &mut dyn Backend, n: u32) -> Result<()> {
    (0..n).try_for_each(|_| backend.generation())
}

/// Compares two archives, niche by niche.
pub fn compare_archives(tally: &mut Tally, want: &Archive, got: &Archive) {
    let head = |archive: &Archive| [&[archive.generation, archive.elites.len() as u32], &archive.classes[..]].concat();
    if !tally.same("generation, number and classes of the elites", &head(want), &head(got)) {
        return;
    }
    let genome = |genome: &Genome| match genome {
        Genome::Direct(genes) => genes.iter().map(|gene| gene.to_bits()).collect(),
        Genome::Cppn(graph) => graphs::words(graph),
    };
    for (niche, (want, got)) in want.elites.iter().zip(&got.elites).enumerate() {
        let of = |what: &str| format!("{what} of niche {niche}");
        let births = [want, got].map(|elite| [elite.born.0, elite.born.1]);
        tally.same(&of("the birth"), &births[0], &births[1]);
        tally.same(&of("the genome"), &genome(&want.genome), &genome(&got.genome));
        tally.same(&of("the image"), &want.image, &got.image);
        tally.same(&of("the probabilities"), &want.probabilities, &got.probabilities);
        tally.same(&of("the content hash"), &[want.content_hash], &[got.content_hash]);
    }
}

/// The hash, of `counters` as a backend counts it, of its `archive`, and as recorded.
fn compare_hashes(tally: &mut Tally, recorded: u64, counted: u64, archive: &Archive) {
    let hash = |hash: u64| format!("{hash:016x}");
    for (what, got) in [("the archive hash that was counted", counted), ("the archive's hash", archive.hash())] {
        tally.elements += 1;
        if got != recorded {
            tally.differ(what, 0, format!("{} (as recorded)", hash(recorded)), hash(got));
        }
    }
}

/// One run of `recorded` on the backend that `make` makes, against the CPU's and what was recorded.
///
/// # Errors
/// The backend's.
pub fn one(tally: &mut Tally, recorded: &Recorded, extent: Extent, make: &Make) -> Result<()> {
    series(tally, std::slice::from_ref(recorded), extent, 34, make)
}

/// Several runs of one configuration side by side, in chunks of `chunk`.
///
/// # Errors
/// The backend's.
pub fn series(tally: &mut Tally, runs: &[Recorded], extent: Extent, chunk: u32, make: &Make) -> Result<()> {
    let config = runs[0].config();
    let seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    let n = runs[0].end(extent).0;
    let mut got = make(job(&config, &seeds)?, chunk)?;
    let mut want = on_cpu(job(&config, &seeds)?)?;
    generations(&mut want, 1 + n)?;
    let clock = Instant::now();
    generations(&mut *got, 1 + n)?;
    let counters = got.counters()?;
    tally.seconds += clock.elapsed().as_secs_f64();
    for (at, run) in runs.iter().enumerate() {
        tally.case(BATCH as usize, format_args!("{}, generation {n}", run.name()));
        let archive = got.archive(at)?;
        compare_archives(tally, &want.archive(at)?, &archive);
        compare_hashes(tally, run.end(extent).1, counters[at].archive_hash, &archive);
    }
    Ok(())
}

/// A run that the CPU begins, and the backend that `make` makes goes on with from its checkpoint.
///
/// # Errors
/// The backend's; [`Error::Io`] if the checkpoint cannot be written among the system's temporary files.
pub fn resumed(tally: &mut Tally, recorded: &Recorded, extent: Extent, make: &Make) -> Result<()> {
    let config = recorded.config();
    let (n, hash) = recorded.end(extent);
    let first = n / 2;
    tally.case(BATCH as usize, format_args!("{}, from generation {first} on to {n}", recorded.name()));
    let mut whole = on_cpu(job(&config, &[recorded.seed])?)?;
    generations(&mut whole, 1 + first)?;
    let counters = whole.counters()?.remove(0);
    let checkpoint = Checkpoint {
        files: Files::default(),
        weights_sha256: Network::embedded_lenet(None)?.sha256,
        canvas: Canvas::MNIST,
        archive: whole.archive(0)?,
        started: SystemTime::now(),
        evaluations: u64::from(BATCH * (1 + first)),
        skipped: counters.skipped,
        elapsed: 0.0,
        replaced: counters.replaced,
        config: config.clone(),
    };
    let temporary = std::env::temp_dir();
    let folder = tempfile::tempdir().map_err(Error::io("make a folder in", &temporary))?;
    let path = folder.path().join("checkpoint");
    checkpoint.write(&path)?;
    let checkpoint = Checkpoint::read(&path)?;
    let mut got = make(job(&config, &[recorded.seed])?, 20)?;
    got.restore(0, checkpoint.archive, checkpoint.skipped)?;
    let clock = Instant::now();
    generations(&mut *got, n - first)?;
    let counters = got.counters()?.remove(0);
    tally.seconds += clock.elapsed().as_secs_f64();
    generations(&mut whole, n - first)?;
    let archive = got.archive(0)?;
    compare_archives(tally, &whole.archive(0)?, &archive);
    compare_hashes(tally, hash, counters.archive_hash, &archive);
    let skipped = [whole.counters()?[0].skipped, counters.skipped];
    tally.same("operators skipped", &skipped[..1], &skipped[1..]);
    Ok(())
}

/// The CPU's backend, with the widest vectors.
fn on_cpu(job: Job) -> Result<CpuBackend> {
    CpuBackend::new(job, Options { simd: Simd::detect(), chunk: 4096 })
}
