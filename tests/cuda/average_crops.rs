//! average_crops against its formula.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::average_crops::Crops;
use pareidolia::experiment::selftest::average_crops::average_crops;
use pareidolia::experiment::selftest::cases::Extent;

#[test]
fn average_crops_gives_the_bits_of_the_formula() {
    let Some(n_nans) = passes(|gpu, tally| average_crops(gpu, Extent::Full, tally)) else { return };
    assert!(n_nans > 100, "{n_nans} NaNs");
}

#[test]
fn average_crops_refuses_rows_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let (batch, n_classes, n_crops, stride) = (5, 7, 10, 8);
    let of_crops = launcher.zeros::<f32>(n_classes * batch * n_crops).unwrap();
    let mut probabilities = launcher.zeros::<f32>(n_classes * stride).unwrap();
    let mut run = |n_classes, first, in_stride, n_crops| {
        let each = Crops { probabilities: &of_crops, stride: in_stride, n_crops };
        launcher.average_crops(&mut probabilities, stride, first, n_classes, each, batch)
    };
    run(n_classes, 3, batch * n_crops, n_crops).unwrap();
    let mut refused =
        |n_classes, first, in_stride, n_crops| run(n_classes, first, in_stride, n_crops).unwrap_err().to_string();
    assert!(refused(n_classes, 4, batch * n_crops, n_crops).contains("a row of probabilities"));
    assert!(refused(n_classes, 3, batch * n_crops - 1, n_crops).contains("a row of the crops' probabilities"));
    assert!(refused(n_classes, 3, batch * n_crops, n_crops + 1).contains("a row of the crops' probabilities"));
    assert!(refused(n_classes + 1, 3, batch * n_crops, n_crops).contains("probabilities"));
    assert!(refused(n_classes, 3, batch * n_crops + 1, n_crops).contains("the crops' probabilities"));
    launcher.synchronise().unwrap();
}
