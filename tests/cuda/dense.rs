//! dense against its formula.

use crate::harness::passes;
use pareidolia::experiment::selftest::dense::{Case, compare, edges, on_host, signs_of_zeros};

/// Each kernel, and the one that is chosen, gives the formula's bits in each of `cases`.
fn agree(cases: &[Case]) {
    passes(|gpu, tally| {
        let kernels: Vec<_> = gpu.launcher.dense_kernels().into_iter().map(Some).chain([None]).collect();
        cases.iter().try_for_each(|case| compare(gpu, tally, case, &kernels))
    });
}

#[test]
fn dense_gives_the_bits_of_the_formula_round_the_edges_of_every_tile() {
    agree(&edges());
}

#[test]
fn dense_keeps_the_sign_of_zero_where_the_last_stage_is_filled_up() {
    let case = signs_of_zeros();
    let sums = on_host(&case.parameters, &case.input[..case.inputs]);
    assert!(sums.iter().all(|sum| sum.to_bits() == (-0.0_f32).to_bits()), "{sums:?}");
    agree(&[case]);
}
