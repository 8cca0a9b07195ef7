//! The parents of each pair.

use crate::genome::{Encoding, direct::Crossover};
use crate::rng::{Chance, Philox, Purpose, below};
use std::ops::Range;

/// How a pair of children is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Niches whose elites are the parents; may be the same one.
    pub parents: [u32; 2],
    /// Whether the parents' genes are mixed; otherwise each child is a copy of its parent.
    pub crossed: bool,
}

/// Appends the pairs of the candidates `chunk` (spec, sections 3, 4.3 and 5.5): two parents, independently and uniformly from the niches; whether
/// they are crossed; and, where the children are copies, a coin for the order of the two.
pub fn select(
    pairs: &mut Vec<Pair>,
    encoding: &Encoding,
    n_niches: u32,
    philox: &Philox,
    generation: u32,
    chunk: Range<u32>,
) {
    let chance = match encoding {
        Encoding::Direct(rules) if rules.crossover != Crossover::None => Chance::new(rules.crossover_rate),
        _ => Chance::new(0.0),
    };
    pairs.extend(chunk.step_by(2).map(|candidate| {
        let [first, second, gate, coin] = philox.draws(Purpose::Select, candidate, generation).block(0);
        let mut parents = [below(first, n_niches), below(second, n_niches)];
        let crossed = chance.happens(gate);
        if !crossed && coin >> 31 == 1 {
            parents.swap(0, 1);
        }
        Pair { parents, crossed }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::{cppn, direct};

    /// The pairs of the chunks between `bounds`.
    fn pairs(encoding: Encoding, n_niches: u32, bounds: &[u32]) -> Vec<Pair> {
        let mut all = Vec::new();
        for chunk in bounds.windows(2) {
            let mut pairs = Vec::new();
            select(&mut pairs, &encoding, n_niches, &Philox::new(4), 3, chunk[0]..chunk[1]);
            all.extend(pairs);
        }
        all
    }

    #[test]
    fn select_does_not_depend_on_the_chunks() {
        for encoding in [Encoding::Direct(direct::Rules::default()), Encoding::Cppn(cppn::Rules::faithful())] {
            let whole = pairs(encoding.clone(), 10, &[0, 200]);
            assert_eq!(whole.len(), 100);
            assert_eq!(pairs(encoding, 10, &[0, 2, 66, 200]), whole);
        }
    }

    #[test]
    fn parents_are_uniform_and_independent_and_half_the_direct_pairs_are_crossed() {
        let pairs = pairs(Encoding::Direct(direct::Rules::default()), 3, &[0, 60_000]);
        let n = pairs.len() as f64;
        let within = |count: usize, p: f64| (count as f64 - n * p).abs() < 5.0 * (n * p * (1.0 - p)).sqrt();
        for first in 0..3 {
            for second in 0..3 {
                let count = pairs.iter().filter(|pair| pair.parents == [first, second]).count();
                assert!(within(count, 1.0 / 9.0), "{count} pairs of {first} and {second}");
            }
        }
        assert!(within(pairs.iter().filter(|pair| pair.crossed).count(), 0.5));
    }

    #[test]
    fn copies_are_never_crossed() {
        let none = direct::Rules { crossover: Crossover::None, ..direct::Rules::default() };
        for encoding in [Encoding::Direct(none), Encoding::Cppn(cppn::Rules::faithful())] {
            assert!(
                pairs(encoding, 10, &[0, 2000])
                    .iter()
                    .all(|pair| !pair.crossed && pair.parents.iter().all(|&p| p < 10))
            );
        }
    }
}
