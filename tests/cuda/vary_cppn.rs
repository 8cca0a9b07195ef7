//! vary_cppn: the children of `Graph::vary`.

use crate::harness::passes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::vary_cppn::{cases, compare, descend};
use pareidolia::genome::cppn::Rules;

#[test]
fn vary_cppn_makes_the_children_of_the_cpu() {
    passes(|gpu, tally| cases(Extent::Full).iter().try_for_each(|case| compare(gpu, tally, case)));
}

#[test]
fn vary_cppn_makes_the_children_of_the_cpu_over_a_hundred_generations() {
    for (rules, n_outputs) in [(Rules::faithful(), 1), (Rules { max_nodes: 40, max_edges: 60, ..Rules::modern() }, 3)] {
        let skipped = passes(|gpu, tally| descend(gpu, tally, &rules, n_outputs, 100));
        assert!(skipped.is_none_or(|skipped| (skipped > 0) == (rules.max_nodes == 40)), "{skipped:?}");
    }
}
