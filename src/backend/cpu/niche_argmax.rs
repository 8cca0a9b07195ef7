//! The best candidate of a batch for every niche.

/// The best confidence seen for a niche, and who had it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Winner {
    /// -inf while nobody has competed.
    pub fitness: f32,
    /// Index within the batch; `u32::MAX` for the niche's elite, or nobody.
    pub candidate: u32,
}

impl Winner {
    /// Nobody yet: every number beats it, a NaN does not.
    pub const NONE: Winner = Winner { fitness: f32::NEG_INFINITY, candidate: u32::MAX };
}

/// Lets the candidates of a chunk compete for every niche against `winners` (spec, section 3): only a strictly greater
/// confidence wins, so of equals the lowest index does; a NaN never wins. Comparisons only.
///
/// `winners` is `(n_niches)`, from the archive or the chunks before; `probabilities` is `(chunk, n_classes)`; `classes` is the
/// class of each niche; `first` is the batch index of the chunk's first candidate.
pub fn niche_argmax(winners: &mut [Winner], probabilities: &[f32], classes: &[u32], n_classes: usize, first: u32) {
    for (candidate, row) in (first..).zip(probabilities.chunks_exact(n_classes)) {
        for (winner, &class) in winners.iter_mut().zip(classes) {
            let fitness = row[class as usize];
            if fitness > winner.fitness {
                *winner = Winner { fitness, candidate };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn niche_argmax_equals_one_by_one_insertion_with_ties_and_nans() {
        // Few different values, so that ties are common.
        let values = [0.0, 0.25, 0.5, 0.5, 0.75, f32::NAN, 1.0, -0.0];
        let philox = crate::rng::Philox::new(5);
        for (batch, n_classes, chunk) in [(1, 1, 1), (2, 3, 1), (31, 10, 7), (64, 10, 64), (0, 4, 1), (33, 5, 32)] {
            for seed in 0..20 {
                let draws = philox.draws(crate::rng::Purpose::Select, seed, 0);
                let probabilities: Vec<f32> = (0..batch * n_classes)
                    .map(|i| values[crate::rng::below(draws.word(i as u32), 8) as usize])
                    .collect();
                let classes: Vec<u32> = (0..n_classes as u32).step_by(2).collect();
                let mut want = vec![(f32::NEG_INFINITY, u32::MAX); classes.len()];
                for candidate in 0..batch {
                    for (cell, &class) in want.iter_mut().zip(&classes) {
                        let p = probabilities[candidate * n_classes + class as usize];
                        if !p.is_nan() && p > cell.0 {
                            *cell = (p, candidate as u32);
                        }
                    }
                }
                let mut got = vec![Winner::NONE; classes.len()];
                for (index, rows) in probabilities.chunks(chunk * n_classes).enumerate() {
                    niche_argmax(&mut got, rows, &classes, n_classes, (index * chunk) as u32);
                }
                for (want, got) in want.iter().zip(&got) {
                    assert_eq!((want.0.to_bits(), want.1), (got.fitness.to_bits(), got.candidate), "seed {seed}");
                }
            }
        }
    }
}
