//! niche_argmax: the winners of the CPU step, and copies of all that is known of them.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::elites::Elites;
use pareidolia::backend::cuda::niche_argmax::Scored;
use pareidolia::backend::cuda::params::Chunk;
use pareidolia::error::Error;
use pareidolia::experiment::selftest::cases::{Extent, Words};
use pareidolia::experiment::selftest::niche_argmax::{Host, Kind, Shape, cppn, direct, states};

#[test]
fn niche_argmax_finds_and_copies_the_winners_of_the_cpu() {
    let direct = passes(|gpu, tally| direct(gpu, Extent::Full, tally));
    let cppn = passes(|gpu, tally| cppn(gpu, Extent::Full, tally));
    assert!([direct, cppn].iter().flatten().all(|&n_won| n_won > 500), "{direct:?} {cppn:?}");
}

#[test]
fn niche_argmax_refuses_buffers_that_are_too_short() {
    let Some(gpu) = harness::gpu() else { return };
    let launcher = gpu.launcher;
    let shape = Shape { kind: Kind::Direct, n_runs: 2, n_niches: 3, n_classes: 4, image_len: 5, stride: 8 };
    let mut words = Words(3);
    let host = Host::new(&shape, &mut words);
    let genomes = shape.upload(&gpu, &shape.slots(&mut words, 6)).unwrap();
    let (images, probabilities) = (launcher.zeros(6 * 5).unwrap(), launcher.zeros(4 * 8).unwrap());
    let scored = Scored {
        genomes: &genomes,
        images: &images,
        image_len: 5,
        probabilities: &probabilities,
        n_classes: 4,
        stride: 8,
    };
    let [classes, active] = [&[0, 2, 3][..], &[0, 1]].map(|values: &[u32]| launcher.upload(values).unwrap());
    let runs = launcher.upload(&states(2)).unwrap();
    let launch = |elites: &mut Elites, scored, count| {
        launcher.niche_argmax(elites, scored, &classes, &runs, &active, Chunk { batch: 4, start: 0, count })
    };
    let refused = |what: &str, result: Result<(), Error>| match result {
        Err(Error::Shape { what: got, .. }) => assert_eq!(what, got),
        other => panic!("{what}: {other:?}"),
    };
    let mut elites = host.upload(&gpu, &shape).unwrap();
    launch(&mut elites, scored, 6).unwrap();
    refused("images", launch(&mut elites, scored, 8));
    refused("probabilities", launch(&mut elites, Scored { n_classes: 5, ..scored }, 6));
    refused("a row of probabilities", launch(&mut elites, Scored { stride: 5, ..scored }, 6));
    refused(
        "active",
        launcher.niche_argmax(&mut elites, scored, &classes, &runs, &active, Chunk { batch: 2, start: 0, count: 6 }),
    );
    elites.born = launcher.zeros(2 * 2 * 2 * 3 - 1).unwrap();
    refused("elites.born", launch(&mut elites, scored, 6));
    elites.winners = launcher.zeros(5).unwrap();
    refused("elites.winners", launch(&mut elites, scored, 6));
}
