//! insert: archives, hashes and statistics of the CPU.

use super::cases::{Extent, Words};
use super::gpu::{GUARDS, Gpu};
use super::tally::Tally;
use crate::archive::{Archive, Elite, Statistics};
use crate::backend::cuda::elites::Elites;
use crate::backend::cuda::genomes::{DirectSlots, Genomes};
use crate::backend::cuda::insertions::{self, Insertions};
use crate::backend::cuda::params::{Counters, Insertion, RunState, Winner};
use crate::error::Result;
use crate::genome::Genome;
use crate::tuning::INSERT_MAX_NICHES;
use std::sync::Arc;

/// Elites of which only what insert needs is there.
///
/// # Errors
/// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
pub fn elites(gpu: &Gpu, current: &[u32], winners: &[Winner], content_hashes: &[u64]) -> Result<Elites> {
    let launcher = gpu.launcher;
    Ok(Elites {
        current: gpu.upload(current)?,
        winners: gpu.upload(winners)?,
        genomes: Genomes::Direct(DirectSlots { n_genes: 1, genes: launcher.zeros(1)? }),
        images: launcher.zeros(1)?,
        probabilities: launcher.zeros(1)?,
        content_hashes: gpu.upload(content_hashes)?,
        born: launcher.zeros(1)?,
    })
}

/// The archive of a run, of which only fitness and hashes matter.
fn archive(generation: u32, classes: &[u32], fitness: &[f32], hashes: &[u64]) -> Archive {
    let elite = |((&class, &fitness), &content_hash): ((&u32, &f32), &u64)| {
        let mut probabilities = vec![0.0; class as usize + 1];
        probabilities[class as usize] = fitness;
        Arc::new(Elite { probabilities, image: vec![], genome: Genome::Direct(vec![]), born: (0, 0), content_hash })
    };
    let elites = classes.iter().zip(fitness).zip(hashes).map(elite).collect();
    Archive { generation, classes: classes.to_vec(), elites }
}

/// Confidences as they come: round each threshold, and anywhere.
fn fitness(words: &mut Words) -> f32 {
    let threshold = [0.9_f32, 0.99, 0.999, 0.9999][words.below(4) as usize];
    match words.below(8) {
        0 => threshold,
        1 => threshold.next_down(),
        2 => threshold.next_up(),
        3 => 0.0,
        4 => 1.0,
        5 => f32::from_bits(words.below(0x0080_0000)), // less than any normal number
        _ => words.below(1 << 24) as f32 / (1 << 24) as f32,
    }
}

/// Compares a generation of `n_runs` runs, those of `active` taking part: runs, current slots, winners, counters; with half of the seeds
/// also a log of insertions.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, n_niches: usize, n_runs: usize, active: &[u32], seed: u64) -> Result<()> {
    tally.case(n_niches, format_args!("{n_niches} niches, {n_runs} runs, active {active:?}, seed {seed}"));
    let mut words = Words(seed);
    let cells = n_runs * n_niches;
    let classes: Vec<u32> = (0..n_niches as u32).map(|niche| niche + niche / 3 + 1).collect();
    let mut runs: Vec<RunState> = (0..n_runs)
        .map(|run| RunState {
            generation: words.below(5000),
            is_first: u32::from((run as u64 + seed).is_multiple_of(3)),
            skipped: u64::from(words.word()) << 8,
            ..RunState::new(run as u64)
        })
        .collect();
    let mut current = words.many(cells + GUARDS, |words| words.below(2));
    let hashes = words.many(2 * cells + GUARDS, |words| u64::from(words.word()) << 32 | u64::from(words.word()));
    let mut winners = words.many(cells + GUARDS, |words| Winner { fitness: fitness(words), candidate: u32::MAX });
    for (run, state) in runs.iter().enumerate() {
        for winner in &mut winners[run * n_niches..][..n_niches] {
            if state.is_first == 1 || words.below(3) == 0 {
                winner.candidate = words.below(1000);
            }
        }
    }
    // One run in which nobody has won some niche of generation 0.
    let missing = runs.iter().position(|run| run.is_first == 1).filter(|_| seed % 2 == 1);
    let missing = missing.map(|run| (run, n_niches / 2));
    if let Some((run, niche)) = missing {
        for niche in [niche, n_niches - 1] {
            winners[run * n_niches + niche] = Winner::NONE;
        }
    }
    let guard = Counters { archive_hash: 0xabab_abab_abab_abab, logged: 0xcdcd_cdcd, ..Counters::default() };
    let mut want = vec![guard; active.len() + GUARDS];

    let mut on_device = elites(gpu, &current, &winners, &hashes)?;
    let (mut counters, mut states) = (gpu.upload(&want)?, gpu.upload(&runs)?);
    let (classes_there, active_there) = (gpu.upload(&classes)?, gpu.upload(active)?);
    // A log that has had any number, so that it comes to the end of the ring, and to that of 32 bits.
    let has_log = seed / 2 % 2 == 1;
    let capacity = insertions::capacity(n_niches);
    let mut log = vec![Insertion { generation: 0xabab, ..Insertion::default() }; n_runs * capacity + GUARDS];
    let mut log_counts: Vec<u32> = (0..n_runs).map(|_| 0_u32.wrapping_sub(words.below(2 * n_niches as u32))).collect();
    let mut log_there = has_log.then(|| Insertions::with(gpu.launcher, &log, &log_counts, capacity)).transpose()?;
    gpu.timed(tally, |launcher| {
        let log = log_there.as_mut();
        launcher.insert(&mut counters, &mut states, &mut on_device, log, &classes_there, &active_there, active.len())
    })?;

    for (position, &run) in active.iter().enumerate() {
        let run = run as usize;
        if let Some((_, niche)) = missing.filter(|&(of, _)| of == run) {
            want[position] = Counters { missing: niche as u32, ..Counters::default() };
            continue;
        }
        let generation = if runs[run].is_first == 1 { 0 } else { runs[run].generation + 1 };
        let (mut fitness, mut content, mut replaced) = (Vec::new(), Vec::new(), 0);
        for cell in run * n_niches..(run + 1) * n_niches {
            if winners[cell].candidate != u32::MAX {
                let Winner { fitness, candidate } = winners[cell];
                let niche = (cell - run * n_niches) as u32;
                log[run * capacity + log_counts[run] as usize % capacity] =
                    Insertion { generation, candidate, niche, fitness };
                log_counts[run] = log_counts[run].wrapping_add(1);
                winners[cell].candidate = u32::MAX;
                current[cell] = 1 - current[cell];
                replaced += 1;
            }
            fitness.push(winners[cell].fitness);
            content.push(hashes[2 * cell + current[cell] as usize]);
        }
        let Statistics { median, mean, min, max, over_9, over_99, over_999, over_9999 } = Statistics::of(&fitness);
        want[position] = Counters {
            archive_hash: archive(generation, &classes, &fitness, &content).hash(),
            skipped: runs[run].skipped,
            median,
            mean,
            min,
            max,
            generation,
            replaced,
            over_9: over_9 as u32,
            over_99: over_99 as u32,
            over_999: over_999 as u32,
            over_9999: over_9999 as u32,
            missing: u32::MAX,
            logged: if has_log { log_counts[run] } else { 0 },
        };
        runs[run].generation = generation;
        runs[run].is_first = 0;
    }
    let launcher = gpu.launcher;
    if let Some(Insertions { entries, counts, .. }) = &log_there {
        tally.same("the log", &log, &launcher.download(entries)?);
        tally.same("the counts of the log", &log_counts, &launcher.download(counts)?);
    }
    tally.same("the counters", &want, &launcher.download(&counters)?);
    tally.same("the runs", &runs, &launcher.download(&states)?);
    tally.same("which slots are current", &current, &launcher.download(&on_device.current)?);
    tally.same("the winners", &winners, &launcher.download(&on_device.winners)?);
    Ok(())
}

/// Round the edges of a warp, of a block of 256 threads, of a power of two; the classes of both networks; the most niches; many
/// runs; the ten digits last.
///
/// # Errors
/// The driver's.
pub fn insert(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let most = INSERT_MAX_NICHES as usize;
    let mut cases = vec![(most, 1, vec![0], 1), (most, 1, vec![0], 2), (3, 70, (0..70).collect(), 6)];
    for n_niches in [1, 2, 3, 31, 32, 33, 255, 256, 257, 511, 513, 1000, 10] {
        for seed in 0..4 {
            cases.extend([
                (n_niches, 1, vec![0], seed),
                (n_niches, 4, vec![0, 1, 2, 3], seed),
                (n_niches, 4, vec![1, 3], seed),
            ]);
        }
    }
    if extent == Extent::Quick {
        cases.drain(..3);
    }
    for (n_niches, n_runs, active, seed) in extent.of(cases, 8, usize::MAX) {
        compare(gpu, tally, n_niches, n_runs, &active, seed)?;
    }
    Ok(())
}
