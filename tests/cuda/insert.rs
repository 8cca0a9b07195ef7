//! insert: archives, hashes and statistics of the CPU.

use crate::harness::{self, GUARDS};
use crate::niche_argmax::{Words, same};
use pareidolia::archive::{Archive, Elite, Statistics};
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::elites::Elites;
use pareidolia::backend::cuda::genomes::{DirectSlots, Genomes};
use pareidolia::backend::cuda::insert::check_niches;
use pareidolia::backend::cuda::params::{Counters, RunState, Winner};
use pareidolia::error::Error;
use pareidolia::genome::Genome;
use pareidolia::tuning::INSERT_MAX_NICHES;

/// Elites of which only what insert needs is there.
fn elites(launcher: &Launcher, current: &[u32], winners: &[Winner], content_hashes: &[u64]) -> Elites {
    Elites {
        current: launcher.upload(current).unwrap(),
        winners: launcher.upload(winners).unwrap(),
        genomes: Genomes::Direct(DirectSlots { n_genes: 1, genes: launcher.zeros(1).unwrap() }),
        images: launcher.zeros(1).unwrap(),
        probabilities: launcher.zeros(1).unwrap(),
        content_hashes: launcher.upload(content_hashes).unwrap(),
        born: launcher.zeros(1).unwrap(),
    }
}

/// The archive of a run, of which only fitness and hashes matter.
fn archive(generation: u32, classes: &[u32], fitness: &[f32], hashes: &[u64]) -> Archive {
    let elite = |((&class, &fitness), &content_hash): ((&u32, &f32), &u64)| {
        let mut probabilities = vec![0.0; class as usize + 1];
        probabilities[class as usize] = fitness;
        Elite { probabilities, image: vec![], genome: Genome::Direct(vec![]), born: (0, 0), content_hash }
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

/// A generation of `n_runs` runs, those of `active` taking part: runs, current, winners, counters.
fn compare(launcher: &Launcher, n_niches: usize, n_runs: usize, active: &[u32], seed: u64) {
    let case = format!("{n_niches} niches, {n_runs} runs, active {active:?}, seed {seed}");
    let mut words = Words(seed);
    let cells = n_runs * n_niches;
    let classes: Vec<u32> = (0..n_niches as u32).map(|niche| niche + niche / 3 + 1).collect();
    let mut runs: Vec<RunState> = (0..n_runs)
        .map(|run| RunState {
            generation: words.below(5000),
            is_first: u32::from((run as u64 + seed).is_multiple_of(3)),
            skipped: u64::from(words.next()) << 8,
            ..RunState::new(run as u64)
        })
        .collect();
    let mut current = words.many(cells + GUARDS, |words| words.below(2));
    let hashes = words.many(2 * cells + GUARDS, |words| u64::from(words.next()) << 32 | u64::from(words.next()));
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
    let guard = Counters { archive_hash: 0xabab_abab_abab_abab, reserved: 0xcdcd_cdcd, ..Counters::default() };
    let mut want = vec![guard; active.len() + GUARDS];

    let mut on_device = elites(launcher, &current, &winners, &hashes);
    let mut counters = launcher.upload(&want).unwrap();
    let mut states = launcher.upload(&runs).unwrap();
    let [classes_there, active_there] = [&classes[..], active].map(|values| launcher.upload(values).unwrap());
    launcher.insert(&mut counters, &mut states, &mut on_device, &classes_there, &active_there, active.len()).unwrap();

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
            reserved: 0,
        };
        runs[run].generation = generation;
        runs[run].is_first = 0;
    }
    // Values of f64 compared as such: no NaN is among them, nor a zero of the other sign.
    same("counters", &want, &launcher.download(&counters).unwrap(), &case);
    same("runs", &runs, &launcher.download(&states).unwrap(), &case);
    same("current", &current, &launcher.download(&on_device.current).unwrap(), &case);
    same("winners", &winners, &launcher.download(&on_device.winners).unwrap(), &case);
}

#[test]
fn insert_makes_the_archives_and_counters_of_the_cpu() {
    let Some(launcher) = harness::launcher() else { return };
    // Round the edges of a warp, of a block of 256 threads, of a power of two; and the classes of both networks.
    for n_niches in [1, 2, 3, 10, 31, 32, 33, 255, 256, 257, 511, 513, 1000] {
        for seed in 0..4 {
            compare(launcher, n_niches, 1, &[0], seed);
            compare(launcher, n_niches, 4, &[0, 1, 2, 3], seed);
            compare(launcher, n_niches, 4, &[1, 3], seed);
        }
    }
    compare(launcher, INSERT_MAX_NICHES as usize, 1, &[0], 1);
    compare(launcher, INSERT_MAX_NICHES as usize, 1, &[0], 2);
    compare(launcher, 3, 70, &(0..70).collect::<Vec<_>>(), 6);
}

#[test]
fn insert_refuses_what_it_cannot_take() {
    let Some(launcher) = harness::launcher() else { return };
    let too_many = INSERT_MAX_NICHES as usize + 1;
    check_niches(too_many - 1).unwrap();
    assert!(matches!(check_niches(too_many), Err(Error::Refused(why)) if why.contains(&too_many.to_string())));

    let winners = vec![Winner::NONE; 6];
    let mut runs = launcher.upload(&[RunState::new(1), RunState::new(2)]).unwrap();
    let [classes, active] = [&[0, 1, 2][..], &[0, 1]].map(|values: &[u32]| launcher.upload(values).unwrap());
    let mut counters = launcher.zeros(2).unwrap();
    let mut refused = |what: &str, elites: &mut Elites, n_active| match launcher.insert(
        &mut counters,
        &mut runs,
        elites,
        &classes,
        &active,
        n_active,
    ) {
        Err(Error::Shape { what: got, .. }) => assert_eq!(what, got),
        other => panic!("{what}: {other:?}"),
    };
    refused("counters", &mut elites(launcher, &[0; 6], &winners, &[0; 12]), 3);
    refused("elites.current", &mut elites(launcher, &[0; 5], &winners, &[0; 12]), 2);
    refused("elites.winners", &mut elites(launcher, &[0; 6], &winners[1..], &[0; 12]), 2);
    refused("elites.content_hashes", &mut elites(launcher, &[0; 6], &winners, &[0; 11]), 2);
}
