//! select: the pairs of the CPU step.

use crate::harness;
use crate::runs::{Run, Runs, cases};
use pareidolia::backend::cpu::select;
use pareidolia::backend::cuda::params::{Chunk, DirectRules, Pair};
use pareidolia::genome::direct::{Crossover, Rules};
use pareidolia::genome::{Encoding, cppn};
use pareidolia::rng::{Philox, Purpose};

/// Compares the pairs of `chunk` on both sides, and returns them.
fn compare(encoding: &Encoding, n_niches: u32, runs: &[Run], active: &[u32], chunk: Chunk) -> Option<Vec<Pair>> {
    let launcher = harness::launcher()?;
    let chance = match encoding {
        Encoding::Direct(rules) => DirectRules::from(rules).crossover_chance,
        Encoding::Cppn(_) => 0,
    };
    let on_device = Runs::new(launcher, runs, active);
    let mut want = Vec::new();
    for (run, candidate) in on_device.places(chunk).step_by(2) {
        let (philox, generation) = (on_device.philox(run), on_device.generation(run));
        select::select(&mut want, encoding, n_niches, &philox, generation, candidate..candidate + 2);
    }
    let want: Vec<Pair> =
        want.iter().map(|pair| Pair { parents: pair.parents, crossed: u32::from(pair.crossed) }).collect();
    let guard = Pair { parents: [0xabab_abab; 2], crossed: 0xcdcd_cdcd };
    let mut pairs = launcher.upload(&vec![guard; want.len() + harness::GUARDS]).unwrap();
    let (states, active_runs) = (&on_device.on_device, &on_device.active_on_device);
    launcher.select(&mut pairs, states, active_runs, chance, chunk, n_niches).unwrap();
    let got = harness::unguarded(launcher.download(&pairs).unwrap(), want.len(), guard);
    assert_eq!(want, got, "{encoding:?} {n_niches} niches, runs {runs:?}, active {active:?}, {chunk:?}");
    Some(got)
}

fn crossed_with(crossover_rate: f64) -> Encoding {
    Encoding::Direct(Rules { crossover_rate, ..Rules::default() })
}

#[test]
fn select_draws_the_pairs_of_the_cpu() {
    let encodings = [
        crossed_with(0.5),
        crossed_with(0.3),
        crossed_with(1.0),
        Encoding::Direct(Rules { crossover: Crossover::None, ..Rules::default() }),
        Encoding::Cppn(cppn::Rules::faithful()),
    ];
    for encoding in &encodings {
        for n_niches in [1, 10, 1000] {
            for (runs, active, chunk) in cases(256) {
                compare(encoding, n_niches, &runs, &active, chunk);
            }
        }
    }
}

#[test]
fn select_crosses_a_pair_whose_word_is_below_the_chance_and_no_other() {
    // A rate that is the pair's very word, and the one after it.
    let [_, _, word, _] = Philox::new(4).draws(Purpose::Select, 2, 3).block(0);
    for (threshold, crossed) in [(word, 0), (word + 1, 1)] {
        let encoding = crossed_with(f64::from(threshold) / 2f64.powi(32));
        let pairs = compare(&encoding, 10, &[(4, Some(2))], &[0], Chunk { batch: 4, start: 2, count: 2 });
        assert!(pairs.is_none_or(|pairs| pairs[0].crossed == crossed));
    }
}
