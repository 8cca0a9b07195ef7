//! render_direct: the pixels of `genome::direct::render`.

use crate::harness;
use pareidolia::backend::cuda::genomes::DirectSlots;
use pareidolia::genome::direct;
use pareidolia::rng::Philox;
use pareidolia::simd::Simd;

/// Genes round every pixel's lower end, then random ones.
fn genes(n: usize) -> Vec<f32> {
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

#[test]
fn render_direct_draws_the_pixels_of_the_cpu() {
    let Some(launcher) = harness::launcher() else { return };
    // Round a thread's four pixels and a block's 1024; images of MNIST, and images whose length is no multiple of four.
    let shapes =
        [(0, 784), (1, 1), (1, 3), (1, 4), (1, 5), (1, 1023), (1, 1024), (1, 1025), (3, 785), (5, 784), (1, 196_608)];
    for (count, n_genes) in shapes {
        let genes = genes(count * n_genes);
        let mut want = vec![0; genes.len()];
        direct::render(&mut want, &genes);
        let genomes = DirectSlots { n_genes, genes: launcher.upload(&genes).unwrap() };
        let mut images = launcher.upload(&vec![0xa5_u8; want.len() + harness::GUARDS]).unwrap();
        launcher.render_direct(&mut images, &genomes, count as u32).unwrap();
        let got = harness::unguarded(launcher.download(&images).unwrap(), want.len(), 0xa5);
        assert_eq!(want, got, "{count} images of {n_genes}");
    }
}
