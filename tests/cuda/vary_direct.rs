//! vary_direct: the children of `genome::direct::{cross, mutate}`.

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::vary_direct::vary_direct;

#[test]
fn vary_direct_makes_the_children_of_the_cpu() {
    passes(|gpu, tally| vary_direct(gpu, Extent::Full, tally));
}
