//! randomise_direct: the genomes of `genome::direct::random`.

use crate::harness;
use crate::runs::{Run, Runs, cases};
use pareidolia::backend::cuda::genomes::DirectSlots;
use pareidolia::backend::cuda::params::Chunk;
use pareidolia::genome::direct;
use pareidolia::simd::Simd;

/// Compares the genomes of `chunk` on both sides.
fn compare(runs: &[Run], active: &[u32], chunk: Chunk, n_genes: usize) {
    let Some(launcher) = harness::launcher() else { return };
    let on_device = Runs::new(launcher, runs, active);
    let mut want = vec![0.0; chunk.count as usize * n_genes];
    for ((run, candidate), genes) in on_device.places(chunk).zip(want.chunks_exact_mut(n_genes)) {
        direct::random(Simd::detect(), genes, &on_device.philox(run), candidate);
    }
    let genes = launcher.upload(&vec![harness::GUARD_F32; want.len() + harness::GUARDS]).unwrap();
    let mut genomes = DirectSlots { n_genes, genes };
    launcher.randomise_direct(&mut genomes, &on_device.on_device, &on_device.active_on_device, chunk).unwrap();
    let got = harness::unguarded(launcher.download(&genomes.genes).unwrap(), want.len(), harness::GUARD_F32);
    harness::assert_bits(&want, &got, &format!("{n_genes} genes, runs {runs:?}, active {active:?}, {chunk:?}"));
}

#[test]
fn randomise_direct_makes_the_genes_of_the_cpu() {
    let first = |(runs, active, chunk): (Vec<Run>, Vec<u32>, Chunk)| -> (Vec<Run>, Vec<u32>, Chunk) {
        (runs.into_iter().map(|(seed, _)| (seed, None)).collect(), active, chunk)
    };
    for (runs, active, chunk) in cases(8).into_iter().map(first) {
        // Round a word's sixteen genes, a group's 64, a thread block's 512, and the genome of MNIST.
        for n_genes in [1, 3, 15, 16, 17, 63, 64, 65, 511, 512, 513, 784, 785] {
            compare(&runs, &active, chunk, n_genes);
        }
    }
}

#[test]
fn randomise_direct_makes_the_genes_of_a_colour_genome() {
    compare(&[(9, None)], &[0], Chunk { batch: 4, start: 2, count: 2 }, 3 * 256 * 256);
}
