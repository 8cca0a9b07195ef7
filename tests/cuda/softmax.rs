//! softmax against its formula.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::arena::Place;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::softmax::softmax;

#[test]
fn softmax_gives_the_bits_of_the_formula() {
    let Some(n_nans) = passes(|gpu, tally| softmax(gpu, Extent::Full, tally)) else { return };
    assert!(n_nans > 1000, "{n_nans} NaNs");
}

#[test]
fn softmax_refuses_rows_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let (batch, n_classes, stride) = (5, 7, 8);
    let arena = launcher.zeros::<f32>(batch * n_classes).unwrap();
    let mut probabilities = launcher.zeros::<f32>(n_classes * stride).unwrap();
    let logits = Place { start: 0, image: n_classes };
    let mut run = |n_classes, first, start| {
        let logits = Place { start, ..logits };
        launcher.softmax(&mut probabilities, stride, first, n_classes, &arena, logits, batch)
    };
    run(n_classes, 3, 0).unwrap();
    let mut refused = |n_classes, first, start| run(n_classes, first, start).unwrap_err().to_string();
    assert!(refused(n_classes, 4, 0).contains("a row of probabilities"));
    assert!(refused(n_classes + 1, 3, 0).contains("probabilities"));
    assert!(refused(n_classes, 3, 1).contains("logits"));
    launcher.synchronise().unwrap();
}
