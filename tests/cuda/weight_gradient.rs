//! conv2d_weight_gradient and dense_weight_gradient against the rule.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::arena::Place;
use pareidolia::backend::cuda::conv2d_weight_gradient::Conv2dWeightGradient;
use pareidolia::backend::cuda::dense_weight_gradient::DenseWeightGradient;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::conv2d::geometry;
use pareidolia::experiment::selftest::conv2d_weight_gradient::{Case, compare, edges, extremes, on_host};
use pareidolia::experiment::selftest::dense_weight_gradient::dense_weight_gradient;
use pareidolia::experiment::selftest::layers::shape;

/// Each kernel, and the one that is chosen, gives the rule's bits in each of `cases`.
fn agree(cases: &[Case]) {
    passes(|gpu, tally| {
        let kernels: Vec<_> =
            gpu.launcher.conv2d_weight_gradient_kernels().into_iter().map(Some).chain([None]).collect();
        cases.iter().try_for_each(|case| compare(gpu, tally, case, &kernels))
    });
}

#[test]
fn conv2d_weight_gradient_gives_the_bits_of_the_rule_round_the_edges_of_every_tile() {
    agree(&edges());
}

#[test]
fn conv2d_weight_gradient_gives_the_bits_of_the_rule_where_products_underflow() {
    let cases = extremes();
    let of = |case: &Case| on_host(&case.geometry, &case.gradients, &case.inputs);
    assert!(of(&cases[0]).iter().any(|sum| sum.is_subnormal()));
    assert!(of(&cases[1]).iter().any(|sum| sum.to_bits() == (-0.0_f32).to_bits()));
    agree(&cases);
}

#[test]
fn dense_weight_gradient_gives_the_bits_of_the_rule_round_the_edges_of_every_tile() {
    passes(|gpu, tally| dense_weight_gradient(gpu, Extent::Full, tally));
}

#[test]
fn weight_gradients_refuse_buffers_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let geometry = geometry(shape(2, 4, 4), 3, (3, 1, 0, 1));
    let layer = Conv2dWeightGradient::new(launcher, geometry).unwrap();
    // 16 images: 12 gradients, 32 inputs each.
    let arena = launcher.zeros::<f32>(16 * (12 + 32)).unwrap();
    let place = |start, image| Place { start, image };
    let (gradient, input) = (place(0, 12), place(16 * 12, 32));
    let run = |len, gradient, input| {
        let mut out = launcher.zeros(len).unwrap();
        launcher.conv2d_weight_gradient(&mut out, &layer, (&arena, gradient), (&arena, input), 16)
    };
    let len = Conv2dWeightGradient::len(&geometry);
    run(len, gradient, input).unwrap();
    let refused = |len, gradient, input| run(len, gradient, input).unwrap_err().to_string();
    assert!(refused(len - 1, gradient, input).contains("the gradients of a convolution's weights"));
    assert!(refused(len, place(0, 11), input).contains("the gradient of a convolution's output"));
    assert!(refused(len, gradient, place(16 * 12 + 1, 32)).contains("a convolution's input"));

    let layer = DenseWeightGradient::new(launcher, 32, 12).unwrap();
    let run = |len, gradient, input| {
        let mut out = launcher.zeros(len).unwrap();
        launcher.dense_weight_gradient(&mut out, layer, (&arena, gradient), (&arena, input), 16)
    };
    let len = DenseWeightGradient::len(32, 12);
    run(len, gradient, input).unwrap();
    let refused = |len, gradient, input| run(len, gradient, input).unwrap_err().to_string();
    assert!(refused(len - 1, gradient, input).contains("the gradients of a dense layer's weights"));
    assert!(refused(len, place(0, 11), input).contains("the gradient of a dense layer's output"));
    assert!(refused(len, gradient, place(16 * 12 + 1, 32)).contains("a dense layer's input"));
    launcher.synchronise().unwrap();
}
