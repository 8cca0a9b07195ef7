//! combine against its formula, and networks that judge together against the CPU.

use crate::harness::{self, passes};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::combine::combine;
use pareidolia::network::Combine;

#[test]
fn combine_gives_the_bits_of_the_formula() {
    let Some(n_nans) = passes(|gpu, tally| combine(gpu, Extent::Full, tally)) else { return };
    assert!(n_nans > 100, "{n_nans} NaNs");
}

#[test]
fn combine_refuses_rows_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let (batch, n_classes, stride) = (5, 7, 8);
    let next = launcher.zeros::<f32>(n_classes * stride).unwrap();
    let mut together = launcher.zeros::<f32>(n_classes * stride).unwrap();
    let mut run = |n_classes, batch, stride| {
        launcher.combine(&mut together, &next, (Combine::Min, 1.0), n_classes, batch, stride)
    };
    run(n_classes, batch, stride).unwrap();
    run(n_classes, 0, stride).unwrap();
    let mut refused = |n_classes, batch, stride| run(n_classes, batch, stride).unwrap_err().to_string();
    assert!(refused(n_classes, stride + 1, stride).contains("a row of probabilities"));
    assert!(refused(n_classes + 1, batch, stride).contains("probabilities"));
    assert!(refused(n_classes, batch, stride + 1).contains("probabilities"));
    launcher.synchronise().unwrap();
}
