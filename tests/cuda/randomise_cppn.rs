//! randomise_cppn: the genomes of `Graph::random`.

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::randomise_cppn::randomise_cppn;

#[test]
fn randomise_cppn_makes_the_genomes_of_the_cpu() {
    passes(|gpu, tally| randomise_cppn(gpu, Extent::Full, tally));
}
