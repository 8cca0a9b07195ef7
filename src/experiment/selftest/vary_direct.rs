//! vary_direct: the children of `genome::direct::{cross, mutate}`.

use super::cases::{Extent, Places, Runs, places, product};
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::cuda::genomes::DirectSlots;
use crate::backend::cuda::params::{Chunk, DirectRules, Pair};
use crate::error::Result;
use crate::genome::direct::{self, Crossover, Rules};
use crate::rng::{Philox, below};
use crate::simd::Simd;

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
fn pairs(n: usize, rules: &Rules) -> Vec<Pair> {
    let pair = |i: usize| {
        let [a, b, c, _] = Philox::new(21).block([i as u32, 1, 2, 3]);
        let first = if i.is_multiple_of(3) { N_NICHES as u32 - 1 } else { below(a, N_NICHES as u32) };
        let crossed = if rules.crossover == Crossover::None { 0 } else { c >> 31 };
        Pair { parents: [first, below(b, N_NICHES as u32)], crossed }
    };
    (0..n).map(pair).collect()
}

/// The children of a chunk on the host, `(chunk.count, n_genes)`.
pub fn on_host(simd: Simd, rules: &Rules, (runs, active, chunk): &Places, n_genes: usize) -> Vec<f32> {
    let runs = Runs::new(runs, active);
    let mut all = vec![0.0; chunk.count as usize * n_genes];
    let pairs = pairs(chunk.count as usize / 2, rules);
    let places = runs.places(*chunk).step_by(2);
    for ((pair, (run, candidate)), children) in pairs.iter().zip(places).zip(all.chunks_exact_mut(2 * n_genes)) {
        let (philox, generation) = (runs.philox(run), runs.generation(run));
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
    all
}

/// What a case is called.
pub fn name(rules: &Rules, (runs, active, chunk): &Places, n_genes: usize) -> String {
    format!("{n_genes} genes, {rules:?}, runs {runs:?}, active {active:?}, {chunk:?}")
}

/// Compares the children of a chunk on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, rules: &Rules, at: &Places, n_genes: usize) -> Result<()> {
    let (runs, active, chunk) = at;
    tally.case(chunk.count as usize, name(rules, at, n_genes));
    let want = on_host(Simd::detect(), rules, at, n_genes);
    let runs = Runs::new(runs, active);

    // The slot that is not current holds what no child may have.
    let n_elites = runs.n_runs() * N_NICHES;
    let current: Vec<u32> = (0..n_elites as u32).map(|elite| (elite + 1) % 2).collect();
    let mut elites = vec![f32::NAN; n_elites * 2 * n_genes];
    for (at, &current) in current.iter().enumerate() {
        let genes = elite(at / N_NICHES, at % N_NICHES, n_genes);
        elites[(2 * at + current as usize) * n_genes..][..n_genes].copy_from_slice(&genes);
    }
    let elites = DirectSlots { n_genes, genes: gpu.upload(&elites)? };
    let mut children = DirectSlots { n_genes, genes: gpu.guarded(want.len(), GUARD_F32)? };
    let current = gpu.upload(&current)?;
    let pairs = gpu.upload(&pairs(chunk.count as usize / 2, rules))?;
    let on_device = runs.upload(gpu)?;
    gpu.timed(tally, |launcher| {
        launcher.vary_direct(
            &mut children,
            &elites,
            &current,
            &pairs,
            &on_device.states,
            &on_device.active,
            &DirectRules::from(rules),
            *chunk,
            N_NICHES as u32,
        )
    })?;
    let got = gpu.read(tally, "the genes", &children.genes, want.len(), GUARD_F32)?;
    tally.same("the genes", &want, &got);
    Ok(())
}

/// One run at `generation`, of which two or more candidates are made.
fn at_generation(generation: u32, chunk: Chunk) -> Places {
    (vec![(4, Some(generation))], vec![0], chunk)
}

/// Every crossover at several rates, for genomes round a word's sixteen genes, a group's 64, a thread block's 512, and of MNIST.
fn ordinary() -> Vec<(Rules, Places, usize)> {
    let rules = |mutation_rate, crossover| Rules { mutation_rate, crossover, ..Rules::default() };
    let all = [
        rules(0.1, Crossover::AsCoded),
        rules(0.1, Crossover::Repaired),
        rules(0.02, Crossover::None),
        rules(0.0, Crossover::Repaired),
        rules(1.0, Crossover::AsCoded),
        Rules { mutation_eta: 0, crossover_eta: 2, ..rules(0.5, Crossover::AsCoded) },
        Rules { mutation_eta: 20, crossover_eta: 15, ..rules(0.5, Crossover::Repaired) },
    ];
    let sizes = [1, 15, 16, 17, 63, 64, 65, 511, 513, 785, 784];
    product(&product(&all, &places(8)), &sizes).into_iter().map(|((rules, at), n_genes)| (rules, at, n_genes)).collect()
}

/// Generations round those at which the rate of mutation halves.
fn halving() -> Vec<(Rules, Places, usize)> {
    let mut cases = Vec::new();
    for (halve_every, generations) in [
        (1000, vec![998, 999, 1000, 1998, 1999, 2000]),
        (3, vec![0, 1, 2, 4, 5, 3 * 31, 3 * 32, 3 * 33, 3 * 63, 3 * 64, 3 * 65, u32::MAX - 1]),
        (1, vec![0, 1, 30, 31, 32, 62, 63, 64, 65]),
        (0, vec![0, 1, 1000, u32::MAX - 1]),
    ] {
        for (generation, mutation_rate) in product(&generations, &[1.0, 0.7]) {
            let rules = Rules { mutation_rate, halve_every, ..Rules::default() };
            cases.push((rules, at_generation(generation, Chunk { batch: 8, start: 0, count: 8 }), 200));
        }
    }
    cases
}

/// The ordinary ones, those where the rate halves, a rate of mutation that is the very word of gene 20 of the first child and the
/// one after it, and genomes in colour.
pub fn cases(extent: Extent) -> Vec<(Rules, Places, usize)> {
    let mut cases = extent.of(ordinary(), 8, 280);
    cases.extend(extent.of(halving(), 3, usize::MAX));
    for above in [0, 1] {
        let word = Philox::new(4).draws(crate::rng::Purpose::DirectGate, 0, 3).gene_word(20);
        let mutation_rate = f64::from(word + above) / 2f64.powi(32);
        let rules = Rules { mutation_rate, halve_every: 0, ..Rules::default() };
        cases.push((rules, at_generation(2, Chunk { batch: 2, start: 0, count: 2 }), 64));
    }
    if extent != Extent::Quick {
        let colour = (vec![(9, Some(3))], vec![0], Chunk { batch: 6, start: 2, count: 4 });
        cases.push((Rules::default(), colour, 3 * 256 * 256));
    }
    cases
}

/// The children of all [`cases`].
///
/// # Errors
/// The driver's.
pub fn vary_direct(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    cases(extent).iter().try_for_each(|(rules, at, n_genes)| compare(gpu, tally, rules, at, *n_genes))
}
