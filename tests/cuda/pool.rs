//! pool, lrn, both in one pass, and copy, against their formulas.

use crate::harness::passes;
use pareidolia::backend::cuda::lrn::Lrn;
use pareidolia::backend::cuda::params::LrnRule;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::layers::shape;
use pareidolia::experiment::selftest::pool::pooling;
use pareidolia::experiment::selftest::{copy, lrn, pool};

#[test]
fn pool_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| {
        pool::max_pool(gpu, Extent::Full, tally)?;
        pool::average_pool(gpu, Extent::Full, tally)
    });
}

#[test]
fn lrn_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| lrn::alone(gpu, Extent::Full, tally));
}

#[test]
fn lrn_after_a_pooling_gives_the_bits_of_both() {
    passes(|gpu, tally| lrn::after_max_pool(gpu, Extent::Full, tally));
}

#[test]
fn lrn_before_a_pooling_gives_the_bits_of_both_in_several_bands_too() {
    passes(|gpu, tally| lrn::before_max_pool(gpu, Extent::Full, tally));
}

#[test]
fn lrn_is_not_done_in_one_pass_where_no_block_has_room_or_the_size_is_another() {
    let (rule, other) = (LrnRule::new(5, 1e-3, 1.0), LrnRule::new(3, 1.0, 1.0));
    assert_eq!(Lrn::before_max_pool(rule, pooling(shape(1, 9, 300), (3, 2, 0), false)), None);
    let small = pooling(shape(1, 9, 9), (3, 2, 0), false);
    assert_eq!((Lrn::before_max_pool(other, small), Lrn::after_max_pool(other, small)), (None, None));
}

#[test]
fn copy_rectifies_or_not() {
    passes(|gpu, tally| copy::copy(gpu, Extent::Full, tally));
}
