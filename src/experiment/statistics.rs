//! Statistics that several experiments use: rank tests, permutations, quantiles. All of it is deterministic.

use crate::rng::{Philox, below};
use serde::{Deserialize, Serialize};
use statrs::stats_tests::Alternative;
use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};

/// A Mann-Whitney U test, two-sided, by its normal approximation with the corrections for ties and continuity: U of `a`, and p. `None` if a
/// sample is empty or has a NaN; p is NaN where all values are equal.
pub fn mann_whitney_u(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    mannwhitneyu(a, b, MannWhitneyUMethod::AsymptoticInclContinuityCorrection, Alternative::TwoSided).ok()
}

/// p of [`mann_whitney_u`], for people: the normal distribution's tail has no more digits in double precision.
pub fn p_text(p: f64) -> String {
    const LEAST: f64 = 1e-15;
    if p < LEAST { format!("< {LEAST:.0e}") } else { format!("{p:.2e}") }
}

/// The median, least and greatest of some numbers, and what lies between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub n: usize,
    pub mean: f64,
    pub min: f64,
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of no numbers. Quantiles lie between the two neighbours, in proportion; the mean is summed in ascending order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len();
        let quantile = |share: f64| {
            let place = share * (n - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Spread {
            n,
            mean: sorted.iter().sum::<f64>() / n as f64,
            min,
            lower_quartile: quantile(0.25),
            median: quantile(0.5),
            upper_quartile: quantile(0.75),
            max,
        })
    }
}

/// The median; the mean of the two middle values where the count is even.
///
/// # Panics
/// If there is no value.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).expect("a value").median
}

/// Ranks from 1, the mean rank for equal values.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]).scan(0, |start, tied| {
        let first = *start;
        *start += tied.len();
        Some((first, tied))
    }) {
        let (first, tied) = tied;
        tied.iter().for_each(|&at| ranks[at] = first as f64 + (tied.len() as f64 + 1.0) / 2.0);
    }
    ranks
}

/// Spearman's rank correlation: Pearson's of the [`ranks`]. `None` where one of them is all ties, or there are fewer than three values.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "pairs");
    if a.len() < 3 {
        return None;
    }
    correlation(&ranks(a), &ranks(b))
}

fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let mut sums = [0.0; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        sums[0] += a * b;
        sums[1] += a * a;
        sums[2] += b * b;
    }
    (sums[1] > 0.0 && sums[2] > 0.0).then(|| sums[0] / (sums[1] * sums[2]).sqrt())
}

/// Random numbers of tests, of a stream of their own: the counter's second word is none of [`Purpose`](crate::rng::Purpose).
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    philox: Philox,
    stream: u32,
}

/// "anly" in ASCII: the second word of the counter.
const STREAM: u32 = 0x616e_6c79;

impl Chance {
    /// Numbers of `seed` for the use `stream`.
    pub fn new(seed: u64, stream: u32) -> Chance {
        Chance { philox: Philox::new(seed), stream }
    }

    /// Word `draw` of `round`.
    pub fn word(&self, round: u32, draw: u32) -> u32 {
        self.philox.block([draw / 4, STREAM, self.stream, round])[draw as usize % 4]
    }

    /// Shuffles `items` (Fisher-Yates, from the last down: item i changes places with one of `0..=i`, chosen by the word `first + i`).
    pub fn shuffle<T>(&self, round: u32, first: u32, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = below(self.word(round, first + i as u32), i as u32 + 1);
            items.swap(i, j as usize);
        }
    }
}

/// What a permutation test came to. p is `(1 + permutations at least as extreme) / (1 + permutations)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permutation {
    /// What is compared, and what is shuffled.
    pub rule: String,
    pub observed: f64,
    /// The mean over the permutations.
    pub expected: f64,
    pub permutations: u32,
    pub p: f64,
}

impl Permutation {
    /// Compares `observed` with what `shuffled` gives in the rounds `0..permutations`, in parallel; as extreme is as low, or with
    /// `upper` as high. Sums of the same numbers in another order are equal to one part in 10^12.
    pub fn test(
        rule: String,
        observed: f64,
        permutations: u32,
        upper: bool,
        shuffled: impl Fn(u32) -> f64 + Sync,
    ) -> Permutation {
        use rayon::prelude::*;
        let values: Vec<f64> = (0..permutations).into_par_iter().map(&shuffled).collect();
        let slack = 1e-12 * observed.abs();
        let is_extreme = |value: &&f64| if upper { **value >= observed - slack } else { **value <= observed + slack };
        let extreme = values.iter().filter(is_extreme).count();
        Permutation {
            rule,
            observed,
            expected: values.iter().sum::<f64>() / f64::from(permutations.max(1)),
            permutations,
            p: (1 + extreme) as f64 / (1.0 + f64::from(permutations)),
        }
    }
}
