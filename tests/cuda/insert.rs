//! insert: archives, hashes and statistics of the CPU.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::elites::Elites;
use pareidolia::backend::cuda::insert::check_niches;
use pareidolia::backend::cuda::params::{RunState, Winner};
use pareidolia::error::Error;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::insert::{elites, insert};
use pareidolia::tuning::INSERT_MAX_NICHES;

#[test]
fn insert_makes_the_archives_and_counters_of_the_cpu() {
    passes(|gpu, tally| insert(gpu, Extent::Full, tally));
}

#[test]
fn insert_refuses_what_it_cannot_take() {
    let Some(gpu) = harness::gpu() else { return };
    let launcher = gpu.launcher;
    let elites = |current: &[u32], winners: &[Winner], hashes: &[u64]| elites(&gpu, current, winners, hashes).unwrap();
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
        None,
        &classes,
        &active,
        n_active,
    ) {
        Err(Error::Shape { what: got, .. }) => assert_eq!(what, got),
        other => panic!("{what}: {other:?}"),
    };
    refused("counters", &mut elites(&[0; 6], &winners, &[0; 12]), 3);
    refused("elites.current", &mut elites(&[0; 5], &winners, &[0; 12]), 2);
    refused("elites.winners", &mut elites(&[0; 6], &winners[1..], &[0; 12]), 2);
    refused("elites.content_hashes", &mut elites(&[0; 6], &winners, &[0; 11]), 2);
}
