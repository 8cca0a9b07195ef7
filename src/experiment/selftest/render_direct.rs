//! render_direct: the pixels of `genome::direct::render`.

use super::cases::Extent;
use super::gpu::Gpu;
use super::tally::Tally;
use crate::backend::cuda::genomes::DirectSlots;
use crate::error::Result;
use crate::genome::direct;
use crate::rng::Philox;
use crate::simd::Simd;

/// A byte that stands where no pixel was written.
const GUARD: u8 = 0xa5;

/// Genes round every pixel's lower end, then random ones.
pub fn genes(n: usize) -> Vec<f32> {
    let ends = (0..=255u32).flat_map(|pixel| {
        let end = (pixel as f32 / 255.0).to_bits();
        [end.saturating_sub(1), end, end + 1].map(|bits| f32::from_bits(bits).min(1.0))
    });
    let mut genes: Vec<f32> = ends.take(n).collect();
    let mut random = vec![0.0; n - genes.len()];
    direct::random(Simd::detect(), &mut random, &Philox::new(8), 0);
    genes.append(&mut random);
    genes
}

/// Compares the pixels of `count` genomes of `n_genes` on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, count: usize, n_genes: usize) -> Result<()> {
    tally.case(count, format_args!("{count} images of {n_genes}"));
    let genes = genes(count * n_genes);
    let mut want = vec![0; genes.len()];
    direct::render(&mut want, &genes);
    let genomes = DirectSlots { n_genes, genes: gpu.upload(&genes)? };
    let mut images = gpu.guarded(want.len(), GUARD)?;
    gpu.timed(tally, |launcher| launcher.render_direct(&mut images, &genomes, count as u32))?;
    let got = gpu.read(tally, "the pixels", &images, want.len(), GUARD)?;
    tally.same("the pixels", &want, &got);
    Ok(())
}

/// Images and genes of each: round a thread's four pixels and a block's 1024, of MNIST, in colour, and of no multiple of four.
pub const CASES: [(usize, usize); 11] =
    [(0, 784), (1, 1), (1, 3), (1, 4), (1, 5), (1, 1023), (1, 1024), (1, 1025), (1, 196_608), (3, 785), (5, 784)];

/// The pixels of all [`CASES`].
///
/// # Errors
/// The driver's.
pub fn render_direct(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let small = |case: &(usize, usize)| extent != Extent::Quick || case.1 < 10_000;
    CASES.into_iter().filter(small).try_for_each(|(count, n_genes)| compare(gpu, tally, count, n_genes))
}
