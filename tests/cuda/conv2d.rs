//! conv2d and conv2d_images against their formulas.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::conv2d::{Conv2d, MAX_KERNEL};
use pareidolia::experiment::selftest::conv2d::{Case, compare, edges, extremes, geometry, on_host, signs_of_zeros};
use pareidolia::experiment::selftest::conv2d_images;
use pareidolia::experiment::selftest::layers::{parameters, shape};

/// Each kernel, and the one that is chosen, gives the formula's bits in each of `cases`.
fn agree(cases: &[Case]) {
    passes(|gpu, tally| {
        let kernels: Vec<_> = gpu.launcher.conv2d_kernels().into_iter().map(Some).chain([None]).collect();
        cases.iter().try_for_each(|case| compare(gpu, tally, case, &kernels))
    });
}

#[test]
fn conv2d_gives_the_bits_of_the_formula_round_the_edges_of_every_tile() {
    agree(&edges());
}

#[test]
fn conv2d_keeps_the_sign_of_zero_where_the_last_stage_is_filled_up() {
    let case = signs_of_zeros();
    let sums = on_host(&case.geometry, &case.parameters, &case.input);
    assert!(sums.iter().all(|sum| sum.to_bits() == (-0.0_f32).to_bits()), "{sums:?}");
    agree(&[case]);
}

#[test]
fn conv2d_gives_the_bits_of_the_formula_where_numbers_are_extreme() {
    let cases = extremes();
    for (case, is_so) in cases.iter().zip([f32::is_subnormal, f32::is_subnormal, f32::is_infinite]) {
        let sums = on_host(&case.geometry, &case.parameters, &case.input[..case.geometry.input.len()]);
        assert!(sums.iter().any(|&sum| is_so(sum)) && !sums.iter().any(|sum| sum.is_nan()), "{}: {sums:?}", case.name);
    }
    agree(&cases);
}

#[test]
fn conv2d_images_sees_every_crop_in_order_less_the_mean() {
    passes(|gpu, tally| {
        let kernels: Vec<_> = gpu.launcher.conv2d_images_kernels().into_iter().map(Some).chain([None]).collect();
        conv2d_images::cases().iter().try_for_each(|case| {
            conv2d_images::compare_seen(gpu, tally, case)?;
            conv2d_images::compare(gpu, tally, case, &kernels)
        })
    });
}

#[test]
fn conv2d_refuses_places_that_are_not_there() {
    let Some(launcher) = harness::launcher() else { return };
    let geometry = geometry(shape(2, 4, 4), 3, (3, 1, 0, 1));
    let layer = Conv2d::new(launcher, geometry, &parameters(5, 54, 3), false).unwrap();
    let place = |start, image| pareidolia::backend::cuda::arena::Place { start, image };
    // Two images in, 64 floats, two out, 24.
    let mut arena = launcher.zeros::<f32>(64 + 24).unwrap();
    launcher.conv2d(&mut arena, &layer, place(64, 12), place(0, 32), 2).unwrap();
    let mut refused =
        |out, input, batch| launcher.conv2d(&mut arena, &layer, out, input, batch).unwrap_err().to_string();
    assert!(refused(place(65, 12), place(0, 32), 2).contains("output"));
    assert!(refused(place(0, 12), place(25, 32), 2).contains("input"));
    assert!(refused(place(64, 11), place(0, 32), 2).contains("output"));
    launcher.synchronise().unwrap();
    assert_eq!(MAX_KERNEL, 29);
}
