//! select: the pairs of the CPU step.

use crate::harness::passes;
use pareidolia::backend::cuda::params::Chunk;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::select::{compare, crossed_with, select};
use pareidolia::rng::{Philox, Purpose};

#[test]
fn select_draws_the_pairs_of_the_cpu() {
    passes(|gpu, tally| select(gpu, Extent::Full, tally));
}

#[test]
fn select_crosses_a_pair_whose_word_is_below_the_chance_and_no_other() {
    // A rate that is the pair's very word, and the one after it.
    let [_, _, word, _] = Philox::new(4).draws(Purpose::Select, 2, 3).block(0);
    for (threshold, crossed) in [(word, 0), (word + 1, 1)] {
        let encoding = crossed_with(f64::from(threshold) / 2f64.powi(32));
        let at = (vec![(4, Some(2))], vec![0], Chunk { batch: 4, start: 2, count: 2 });
        let pairs = passes(|gpu, tally| compare(gpu, tally, &encoding, 10, &at));
        assert!(pairs.is_none_or(|pairs| pairs[0].crossed == crossed));
    }
}
