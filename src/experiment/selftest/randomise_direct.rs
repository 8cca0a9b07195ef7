//! randomise_direct: the genes of `genome::direct::random`.

use super::cases::{Extent, Places, Runs, places, product};
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::cuda::genomes::DirectSlots;
use crate::backend::cuda::params::Chunk;
use crate::error::Result;
use crate::genome::direct;
use crate::simd::Simd;

/// The genes of a chunk on the host, `(chunk.count, n_genes)`.
pub fn on_host(simd: Simd, (runs, active, chunk): &Places, n_genes: usize) -> Vec<f32> {
    let runs = Runs::new(runs, active);
    let mut all = vec![0.0; chunk.count as usize * n_genes];
    for ((run, candidate), genes) in runs.places(*chunk).zip(all.chunks_exact_mut(n_genes)) {
        direct::random(simd, genes, &runs.philox(run), candidate);
    }
    all
}

/// What a case is called.
pub fn name((runs, active, chunk): &Places, n_genes: usize) -> String {
    format!("{n_genes} genes, runs {runs:?}, active {active:?}, {chunk:?}")
}

/// Compares the genes of a chunk on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, at: &Places, n_genes: usize) -> Result<()> {
    let (runs, active, chunk) = at;
    tally.case(chunk.count as usize, name(at, n_genes));
    let want = on_host(Simd::detect(), at, n_genes);
    let on_device = Runs::new(runs, active).upload(gpu)?;
    let mut genomes = DirectSlots { n_genes, genes: gpu.guarded(want.len(), GUARD_F32)? };
    gpu.timed(tally, |launcher| launcher.randomise_direct(&mut genomes, &on_device.states, &on_device.active, *chunk))?;
    let got = gpu.read(tally, "the genes", &genomes.genes, want.len(), GUARD_F32)?;
    tally.same("the genes", &want, &got);
    Ok(())
}

/// Genomes round a word's sixteen genes, a group's 64, a thread block's 512, those of MNIST, and one in colour.
pub fn cases(extent: Extent) -> Vec<(Places, usize)> {
    let first =
        |(runs, active, chunk): Places| (runs.into_iter().map(|(seed, _)| (seed, None)).collect(), active, chunk);
    let places: Vec<Places> = places(8).into_iter().map(first).collect();
    let mut cases = vec![((vec![(9, None)], vec![0], Chunk { batch: 4, start: 2, count: 2 }), 3 * 256 * 256)];
    cases.extend(product(&places, &[1, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 785, 784]));
    if extent == Extent::Quick {
        cases.remove(0);
    }
    extent.of(cases, 5, usize::MAX)
}

/// The genes of all [`cases`].
///
/// # Errors
/// The driver's.
pub fn randomise_direct(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    cases(extent).iter().try_for_each(|(at, n_genes)| compare(gpu, tally, at, *n_genes))
}
