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

/// Some images: how many, of how many genes, in how many channels.
pub type Case = (usize, usize, usize);

/// Their genes, and the pixels of the host.
pub fn images((count, n_genes, n_channels): Case) -> (Vec<f32>, Vec<u8>) {
    let genes = genes(count * n_genes);
    let mut images = vec![0; genes.len()];
    direct::render(Simd::detect(), n_channels, &mut images, &genes);
    (genes, images)
}

/// Compares the pixels of `case` on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: Case) -> Result<()> {
    let (count, n_genes, n_channels) = case;
    tally.case(count, format_args!("{count} images of {n_genes} genes in {n_channels} channels"));
    let (genes, want) = images(case);
    let genomes = DirectSlots { n_genes, genes: gpu.upload(&genes)? };
    let mut images = gpu.guarded(want.len(), GUARD)?;
    gpu.timed(tally, |launcher| launcher.render_direct(&mut images, &genomes, n_channels, count as u32))?;
    let got = gpu.read(tally, "the pixels", &images, want.len(), GUARD)?;
    tally.same("the pixels", &want, &got);
    Ok(())
}

/// Round a thread's four pixels and a block's 1024, of MNIST, and of no multiple of four; in grey and in colour.
pub const CASES: [Case; 19] = [
    (0, 784, 1),
    (1, 1, 1),
    (1, 3, 1),
    (1, 4, 1),
    (1, 5, 1),
    (1, 1023, 1),
    (1, 1024, 1),
    (1, 1025, 1),
    (1, 196_608, 1),
    (3, 785, 1),
    (5, 784, 1),
    (0, 12, 3),
    (1, 3, 3),
    (1, 9, 3),
    (1, 12, 3),
    (3, 15, 3),
    (1, 3 * 1023, 3),
    (5, 3 * 1025, 3),
    (1, 196_608, 3),
];

/// The pixels of all [`CASES`].
///
/// # Errors
/// The driver's.
pub fn render_direct(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let small = |case: &Case| extent != Extent::Quick || case.1 < 10_000;
    CASES.into_iter().filter(small).try_for_each(|case| compare(gpu, tally, case))
}
