//! randomise_direct: the genomes of `genome::direct::random`.

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::randomise_direct::randomise_direct;

#[test]
fn randomise_direct_makes_the_genes_of_the_cpu() {
    passes(|gpu, tally| randomise_direct(gpu, Extent::Full, tally));
}
