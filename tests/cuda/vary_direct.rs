//! vary_direct: the children of `genome::direct::{cross, mutate}`.

use crate::harness;
use crate::runs::{Run, Runs, cases};
use pareidolia::backend::cuda::genomes::DirectSlots;
use pareidolia::backend::cuda::params::{Chunk, DirectRules, Pair};
use pareidolia::genome::direct::{self, Crossover, Rules};
use pareidolia::rng::{Philox, Purpose, below};
use pareidolia::simd::Simd;

/// Niches of a run.
const N_NICHES: usize = 5;

/// An elite: random genes, some at the bounds, some shared with the other niches, some apart by less than SBX looks at.
fn elite(run: usize, niche: usize, n_genes: usize) -> Vec<f32> {
    let mut genes = vec![0.0; n_genes];
    direct::random(Simd::detect(), &mut genes, &Philox::new(run as u64), niche as u32);
    for (i, gene) in genes.iter_mut().enumerate() {
        match i % 11 {
            1 => *gene = 0.0,
            2 => *gene = 1.0,
            3 => *gene = ((niche + i) % 2) as f32,
            4 => *gene = 0.25,
            5 => *gene = 0.5 + niche as f32 * (f32::EPSILON / 2.0),
            6 => *gene = 0.999 + 0.001 * *gene,
            _ => {}
        }
    }
    genes
}

/// Pairs of all kinds: parents by chance, some the same, crossed or not; every third has the last niche, behind whose genes there
/// is nothing to read.
fn pairs(n: usize) -> Vec<Pair> {
    let pair = |i: usize| {
        let [a, b, c, _] = Philox::new(21).block([i as u32, 1, 2, 3]);
        let first = if i.is_multiple_of(3) { N_NICHES as u32 - 1 } else { below(a, N_NICHES as u32) };
        Pair { parents: [first, below(b, N_NICHES as u32)], crossed: c >> 31 }
    };
    (0..n).map(pair).collect()
}

/// Compares the children of `chunk` on both sides.
fn compare(rules: &Rules, runs: &[Run], active: &[u32], chunk: Chunk, n_genes: usize) {
    let Some(launcher) = harness::launcher() else { return };
    let simd = Simd::detect();
    let on_device = Runs::new(launcher, runs, active);
    let mut pairs = pairs(chunk.count as usize / 2);
    if rules.crossover == Crossover::None {
        pairs.iter_mut().for_each(|pair| pair.crossed = 0);
    }

    let mut want = vec![0.0; chunk.count as usize * n_genes];
    let places = on_device.places(chunk).step_by(2);
    for ((pair, (run, candidate)), children) in pairs.iter().zip(places).zip(want.chunks_exact_mut(2 * n_genes)) {
        let (philox, generation) = (on_device.philox(run), on_device.generation(run));
        let parents = pair.parents.map(|niche| elite(run, niche as usize, n_genes));
        let (first, second) = children.split_at_mut(n_genes);
        if pair.crossed == 1 {
            let parents = [parents[0].as_slice(), &parents[1]];
            direct::cross(simd, [&mut *first, &mut *second], parents, rules, &philox, candidate, generation);
        } else {
            first.copy_from_slice(&parents[0]);
            second.copy_from_slice(&parents[1]);
        }
        direct::mutate(simd, first, rules, &philox, candidate, generation);
        direct::mutate(simd, second, rules, &philox, candidate + 1, generation);
    }

    // The slot that is not current holds what no child may have.
    let n_elites = on_device.len() * N_NICHES;
    let current: Vec<u32> = (0..n_elites as u32).map(|elite| (elite + 1) % 2).collect();
    let mut elites = vec![f32::NAN; n_elites * 2 * n_genes];
    for (at, &current) in current.iter().enumerate() {
        let genes = elite(at / N_NICHES, at % N_NICHES, n_genes);
        elites[(2 * at + current as usize) * n_genes..][..n_genes].copy_from_slice(&genes);
    }
    let elites = DirectSlots { n_genes, genes: launcher.upload(&elites).unwrap() };
    let genes = launcher.upload(&vec![harness::GUARD_F32; want.len() + harness::GUARDS]).unwrap();
    let mut children = DirectSlots { n_genes, genes };
    launcher
        .vary_direct(
            &mut children,
            &elites,
            &launcher.upload(&current).unwrap(),
            &launcher.upload(&pairs).unwrap(),
            &on_device.on_device,
            &on_device.active_on_device,
            &DirectRules::from(rules),
            chunk,
            N_NICHES as u32,
        )
        .unwrap();
    let got = harness::unguarded(launcher.download(&children.genes).unwrap(), want.len(), harness::GUARD_F32);
    harness::assert_bits(
        &want,
        &got,
        &format!("{n_genes} genes, {rules:?}, runs {runs:?}, active {active:?}, {chunk:?}"),
    );
}

#[test]
fn vary_direct_makes_the_children_of_the_cpu() {
    let rules = |mutation_rate, crossover| Rules { mutation_rate, crossover, ..Rules::default() };
    let all = [
        rules(0.1, Crossover::AsCoded),
        rules(0.1, Crossover::Repaired),
        rules(0.02, Crossover::None),
        rules(0.0, Crossover::Repaired),
        rules(1.0, Crossover::AsCoded),
        Rules { mutation_eta: 20, crossover_eta: 15, ..rules(0.5, Crossover::Repaired) },
        Rules { mutation_eta: 0, crossover_eta: 2, ..rules(0.5, Crossover::AsCoded) },
    ];
    for rules in &all {
        for (runs, active, chunk) in cases(8) {
            // Round a word's sixteen genes, a group's 64, a thread block's 512, and the genome of MNIST.
            for n_genes in [1, 15, 16, 17, 63, 64, 65, 511, 513, 784, 785] {
                compare(rules, &runs, &active, chunk, n_genes);
            }
        }
    }
}

#[test]
fn vary_direct_halves_its_rate_when_the_cpu_does() {
    let chunk = Chunk { batch: 8, start: 0, count: 8 };
    for (halve_every, generations) in [
        (1000, vec![998, 999, 1000, 1998, 1999, 2000]),
        (3, vec![0, 1, 2, 4, 5, 3 * 31, 3 * 32, 3 * 33, 3 * 63, 3 * 64, 3 * 65, u32::MAX - 1]),
        (1, vec![0, 1, 30, 31, 32, 62, 63, 64, 65]),
        (0, vec![0, 1, 1000, u32::MAX - 1]),
    ] {
        for generation in generations {
            for mutation_rate in [1.0, 0.7] {
                let rules = Rules { mutation_rate, halve_every, ..Rules::default() };
                compare(&rules, &[(4, Some(generation))], &[0], chunk, 200);
            }
        }
    }
}

#[test]
fn vary_direct_mutates_a_gene_whose_word_is_below_the_chance_and_no_other() {
    // A rate that is the very word of gene 20 of the first child, and the one after it.
    let word = Philox::new(4).draws(Purpose::DirectGate, 0, 3).gene_word(20);
    for threshold in [word, word + 1] {
        let rules = Rules { mutation_rate: f64::from(threshold) / 2f64.powi(32), halve_every: 0, ..Rules::default() };
        compare(&rules, &[(4, Some(2))], &[0], Chunk { batch: 2, start: 0, count: 2 }, 64);
    }
}

#[test]
fn vary_direct_makes_the_children_of_colour_genomes() {
    compare(&Rules::default(), &[(9, Some(3))], &[0], Chunk { batch: 6, start: 2, count: 4 }, 3 * 256 * 256);
}
