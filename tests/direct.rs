//! Direct genomes: variation against the formulas of spec section 4, in f64, and the same bits at every width.

#[path = "common/hls.rs"]
mod hls;

use pareidolia::genome::direct::{self, Crossover, Rules};
use pareidolia::rng::{Chance, Philox, Purpose, unit};
use pareidolia::simd::Simd;

/// Round the edges of a vector, of a group of 64 genes, of a run of 512, and the genomes of MNIST and of ImageNet.
const LENGTHS: [usize; 15] = [1, 3, 15, 16, 17, 63, 64, 65, 784, 785, 511, 512, 513, 1057, 196_608];

fn genome(seed: u64, len: usize) -> Vec<f32> {
    let mut genes = vec![0.0; len];
    direct::random(Simd::Plain, &mut genes, &Philox::new(seed), 7);
    genes
}

/// Spec 4.2 in f64.
fn mutated(gene: f32, r: f64, eta: f64) -> f64 {
    let d =
        if r < 0.5 { (2.0 * r).powf(1.0 / (eta + 1.0)) - 1.0 } else { 1.0 - (2.0 * (1.0 - r)).powf(1.0 / (eta + 1.0)) };
    (f64::from(gene) + d).clamp(0.0, 1.0)
}

#[test]
fn random_genes_are_the_units_of_their_words() {
    for len in LENGTHS {
        let draws = Philox::new(3).draws(Purpose::DirectInit, 7, 0);
        let want: Vec<f32> = (0..len).map(|i| unit(draws.gene_word(i as u32))).collect();
        for simd in Simd::available() {
            let mut got = vec![-1.0; len];
            direct::random(simd, &mut got, &Philox::new(3), 7);
            assert_eq!(want, got, "{simd}, {len} genes");
        }
    }
}

#[test]
fn mutate_follows_the_formula_at_every_width() {
    let philox = Philox::new(11);
    // Above and below the rate at which genes that mutate are no longer taken by themselves; all, none, and hardly any.
    for (rate, eta) in [(0.1, 15), (1.0, 15), (0.0, 15), (0.5, 20), (0.5, 0), (0.2499, 20), (0.25, 15), (0.001, 0)] {
        let rules = Rules { mutation_rate: rate, mutation_eta: eta, halve_every: 0, ..Rules::default() };
        for len in LENGTHS {
            let parent = genome(5, len);
            let (candidate, generation) = (42, 9);
            let gates = philox.draws(Purpose::DirectGate, candidate, generation);
            let amounts = philox.draws(Purpose::DirectAmount, candidate, generation);
            let mut first: Option<Vec<f32>> = None;
            for simd in Simd::available() {
                let mut child = parent.clone();
                direct::mutate(simd, &mut child, &rules, &philox, candidate, generation);
                let mut copy = vec![-1.0; len];
                direct::mutate_copy(simd, &mut copy, &parent, &rules, &philox, candidate, generation);
                assert!(copy == child, "{simd}, rate {rate}, {len} genes: a mutated copy is no copy mutated");
                for i in 0..len {
                    let got = child[i];
                    if Chance::new(rate).happens(gates.gene_word(i as u32)) {
                        let want = mutated(parent[i], f64::from(unit(amounts.gene_word(i as u32))), f64::from(eta));
                        // The root is below 1 and a few ulp off (at most 4 * 2^-24), the two sums round once each at most 2^-24.
                        assert!((f64::from(got) - want).abs() <= 6.0 / 16_777_216.0, "{simd} gene {i}: {want} {got}");
                    } else {
                        assert_eq!(got, parent[i], "{simd} gene {i} was not to change");
                    }
                }
                assert_eq!(*first.get_or_insert_with(|| child.clone()), child, "{simd}, {len} genes");
            }
        }
    }
}

#[test]
fn mutation_has_the_spread_of_the_spec() {
    // Mean |d| is 1/17 and P(|d| > 0.171) is (1 - 0.171)^16; genes at 1/2 are clipped with chance 2^-16 only.
    let rules = Rules { mutation_rate: 1.0, ..Rules::default() };
    let n = 400_000;
    let mut genes = vec![0.5_f32; n];
    direct::mutate(Simd::detect(), &mut genes, &rules, &Philox::new(1), 0, 1);
    let moves: Vec<f64> = genes.iter().map(|&g| (f64::from(g) - 0.5).abs()).collect();
    let mean = moves.iter().sum::<f64>() / n as f64;
    // |d| is 1 minus the 16th root of a uniform number: variance 16/18 - (16/17)^2 = 0.0031; five standard errors.
    assert!((mean - 1.0 / 17.0).abs() < 5.0 * (0.0031 / n as f64).sqrt(), "mean {mean}");
    let p = (1.0_f64 - 0.171).powi(16);
    let far = moves.iter().filter(|&&d| d > 0.171).count() as f64 / n as f64;
    assert!((far - p).abs() < 5.0 * (p * (1.0 - p) / n as f64).sqrt(), "{far} far, want {p}");
    let up = genes.iter().filter(|&&g| g > 0.5).count() as f64 / n as f64;
    assert!((up - 0.5).abs() < 5.0 * (0.25 / n as f64).sqrt(), "{up} up");
}

/// Spec 4.3 in f64: the low and the high child's gene.
fn crossed(a: f32, b: f32, u: f64, eta: f64) -> (f64, f64) {
    let (y1, y2) = (f64::from(a.min(b)), f64::from(a.max(b)));
    let q = |room: f64| {
        let bound = 1.0 + 2.0 * room / (y2 - y1);
        let alpha = 2.0 - bound.powf(-(eta + 1.0));
        let base = if u <= 1.0 / alpha { u * alpha } else { 1.0 / (2.0 - u * alpha) };
        base.powf(1.0 / (eta + 1.0))
    };
    let low = ((y1 + y2) - q(y1) * (y2 - y1)) / 2.0;
    let high = ((y1 + y2) + q(1.0 - y2) * (y2 - y1)) / 2.0;
    (low.clamp(0.0, 1.0), high.clamp(0.0, 1.0))
}

#[test]
fn cross_follows_the_formula_at_every_width() {
    let philox = Philox::new(2);
    for crossover in [Crossover::AsCoded, Crossover::Repaired] {
        for eta in [10, 15, 2] {
            let rules = Rules { crossover, crossover_eta: eta, ..Rules::default() };
            // In the largest, of two hundred times as many genes, some u come so near 1 that the limit below would not do.
            for len in LENGTHS.into_iter().filter(|&len| len < 10_000) {
                let (a, mut b) = (genome(1, len), genome(2, len));
                for i in (0..len).step_by(5) {
                    b[i] = a[i];
                }
                let words = philox.draws(Purpose::Crossover, 6, 3);
                let mut reference: Option<[Vec<f32>; 2]> = None;
                for simd in Simd::available() {
                    let mut children = [vec![-1.0; len], vec![-1.0; len]];
                    let [first, second] = &mut children;
                    direct::cross(simd, [first, second], [&a, &b], &rules, &philox, 6, 3);
                    for i in 0..len {
                        let word = words.gene_word(i as u32);
                        let got = (children[0][i], children[1][i]);
                        if (a[i] - b[i]).abs() <= f32::EPSILON {
                            let want = if crossover == Crossover::AsCoded { (0.5, 0.5) } else { (a[i], b[i]) };
                            assert_eq!(got, want, "{simd} gene {i}");
                            continue;
                        }
                        let (low, high) = crossed(a[i], b[i], f64::from(unit(word)), f64::from(eta));
                        let want = if word & 1 == 1 { (high, low) } else { (low, high) };
                        for (want, got) in [(want.0, got.0), (want.1, got.1)] {
                            // The base of the root may be off by some 2^-20 near u = 1, where 2 - u alpha cancels, and
                            // q is multiplied by the gap; everything else is a few roundings of numbers below 2.
                            assert!((want - f64::from(got)).abs() <= 2e-5, "{simd} eta {eta} gene {i}: {want} {got}");
                        }
                    }
                    assert_eq!(*reference.get_or_insert_with(|| children.clone()), children, "{simd}, {len} genes");
                }
            }
        }
    }
}

#[test]
fn crossing_a_parent_with_itself_gives_grey_as_coded_and_itself_repaired() {
    let parent = genome(4, 784);
    for (crossover, want) in [(Crossover::AsCoded, vec![0.5; 784]), (Crossover::Repaired, parent.clone())] {
        let rules = Rules { crossover, ..Rules::default() };
        let (mut first, mut second) = (vec![0.0; 784], vec![0.0; 784]);
        direct::cross(Simd::detect(), [&mut first, &mut second], [&parent, &parent], &rules, &Philox::new(1), 0, 1);
        assert_eq!((first, second), (want.clone(), want));
    }
}

#[test]
fn rate_halves_every_thousand_generations() {
    let rules = Rules::default();
    assert_eq!([0, 999, 1000, 1999, 2000].map(|g| rules.rate(g)), [0.1, 0.1, 0.05, 0.05, 0.025]);
    assert_eq!(Rules { halve_every: 0, ..rules.clone() }.rate(5000), 0.1);
    assert_eq!(Rules { halve_every: 1, ..rules }.rate(u32::MAX), 0.0);
}

#[test]
fn pixels_truncate() {
    let mut image = [9; 5];
    direct::render(Simd::Plain, 1, &mut image, &[0.0, 0.999, 1.0, 0.5, 254.999 / 255.0]);
    assert_eq!(image, [0, 254, 255, 127, 254]);
}

#[test]
fn three_channels_are_hue_lightness_and_saturation() {
    // Genes in the middle of a byte's range.
    let gene = |byte: u8| ((f32::from(byte) + 0.5) / 255.0).min(1.0);
    // Images whose end is at each place of a vector.
    for n in 1..=40 {
        let pixels = || hls::VECTORS.iter().cycle().take(n);
        let genes: Vec<f32> = pixels().flat_map(|(hls, _)| hls.map(gene)).collect();
        let want: Vec<u8> = pixels().flat_map(|(_, [blue, green, red])| [*red, *green, *blue]).collect();
        for simd in Simd::available() {
            let mut image = vec![9; 3 * n];
            direct::render(simd, 3, &mut image, &genes);
            assert_eq!(image, want, "{n} pixels, {simd}");
        }
    }
}
