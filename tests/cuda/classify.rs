//! classify: LeNet's features as its formulas give them, its probabilities as the CPU gives them.

use crate::harness::{self, passes};
use pareidolia::backend::cuda::classify::MAX_CLASSES;
use pareidolia::backend::cuda::lenet::Lenet;
use pareidolia::experiment::selftest::lenet::{
    Case, PIXELS, SHAPES, batch_of_the_paper, changed, classes, compare, compare_features, edges, extremes,
    features_on_host, images, probabilities_on_host, random_lenet,
};
use pareidolia::network::{Network, Parameters, Preprocess};
use pareidolia::simd::Simd;

/// Both kernels give the CPU's bits in each of `cases`.
fn agree(cases: &[Case]) {
    passes(|gpu, tally| cases.iter().try_for_each(|case| compare(gpu, tally, case)));
}

#[test]
fn classify_gives_the_bits_of_the_cpu_round_the_edges_of_every_shape() {
    agree(&edges());
}

#[test]
fn classify_gives_the_bits_of_the_cpu_for_a_batch_of_the_paper() {
    agree(&[batch_of_the_paper()]);
}

#[test]
fn classify_takes_any_number_of_classes() {
    let Some(launcher) = harness::launcher() else { return };
    agree(&classes());
    let error = Lenet::new(launcher, &random_lenet(3000, MAX_CLASSES + 1, false), 1).unwrap_err();
    assert!(error.to_string().contains(&(MAX_CLASSES + 1).to_string()), "{error}");
}

#[test]
fn classify_gives_the_bits_of_the_cpu_where_numbers_are_extreme() {
    let cases = extremes();
    let n_nans = |case: &Case| {
        probabilities_on_host(Simd::detect(), &case.network, &case.images).iter().filter(|p| p.is_nan()).count()
    };
    let n_nans = cases.iter().map(n_nans).sum::<usize>();
    assert!(n_nans > 100, "{n_nans} NaNs");
    agree(&cases);
}

/// One kernel after the other, as a run calls them.
#[test]
fn classify_hands_the_features_of_one_kernel_to_the_other() {
    let Some(launcher) = harness::launcher() else { return };
    let (network, images, batch) = (Network::embedded_lenet(None).unwrap(), images(40, 17), 17);
    let want = probabilities_on_host(Simd::detect(), &network, &images);
    let mut lenet = Lenet::new(launcher, &network, batch).unwrap();
    for thresholds in SHAPES {
        lenet.thresholds = thresholds;
        let mut probabilities = launcher.upload(&vec![harness::GUARD_F32; 10 * batch + harness::GUARDS]).unwrap();
        launcher.classify(&mut probabilities, &mut lenet, &launcher.upload(&images).unwrap(), batch, batch).unwrap();
        let got = harness::unguarded(launcher.download(&probabilities).unwrap(), 10 * batch, harness::GUARD_F32);
        let rows: Vec<f32> =
            (0..batch).flat_map(|at| (0..10).map(move |class| class * batch + at)).map(|at| got[at]).collect();
        harness::assert_bits(&want, &rows, &format!("{thresholds:?}"));
    }
}

/// Convolutions and poolings of LeNet for one image, literally from spec 2.1: one number at a time.
fn features(network: &Network, image: &[u8]) -> Vec<f32> {
    let Preprocess { scale, mean, .. } = &network.preprocess;
    let pixels: Vec<f32> =
        (0..PIXELS).map(|at| (f32::from(image[at]) - mean.get(at).copied().unwrap_or(0.0)) * scale[0]).collect();
    let convolved = |input: &[f32], (channels, size): (usize, usize), parameters: &Parameters| -> Vec<f32> {
        let out = size - 4;
        (0..parameters.bias.len() * out * out)
            .map(|at| {
                let (channel, row, column) = (at / (out * out), at / out % out, at % out);
                let mut sum = parameters.bias[channel];
                for k in 0..channels * 25 {
                    let (in_channel, y, x) = (k / 25, row + k / 5 % 5, column + k % 5);
                    let weight = parameters.weight[channel * channels * 25 + k];
                    sum = input[(in_channel * size + y) * size + x].mul_add(weight, sum);
                }
                sum
            })
            .collect()
    };
    let pooled = |input: &[f32], size: usize| -> Vec<f32> {
        let out = size / 2;
        (0..input.len() / 4)
            .map(|at| {
                let corner = at / (out * out) * size * size + at / out % out * 2 * size + at % out * 2;
                let mut best = input[corner];
                for other in [corner + 1, corner + size, corner + size + 1] {
                    if input[other] > best {
                        best = input[other];
                    }
                }
                best
            })
            .collect()
    };
    let first = pooled(&convolved(&pixels, (1, 28), &network.parameters[0]), 24);
    pooled(&convolved(&first, (20, 12), &network.parameters[1]), 8)
}

#[test]
fn features_are_those_of_the_formulas_signs_of_zeros_included() {
    // conv1 looks at one pixel, brighter or darker than the mean; conv2's sums are -0 where no such product is above 0, else 0:
    // both stand in one window of pool2 where an edge is.
    let flat = |network: Network| {
        let network = changed(network, 0, |at, x| if at % 25 == 12 { x.abs() + 0.1 } else { 0.0 });
        changed(network, 1, |_, _| -0.0)
    };
    let mut zeros = flat(random_lenet(5000, 10, true));
    zeros.preprocess.mean = vec![100.5; PIXELS];
    zeros.parameters[0].bias.fill(0.0);
    zeros.parameters[1]
        .weight
        .iter_mut()
        .enumerate()
        .for_each(|(at, weight)| *weight = if at % 1000 < 500 { 0.0 } else { -0.0 });
    // Sums of conv2 are the smallest denormals and zeros of either sign, by what was rounded last: a window may hold all of them.
    let mut tiny = changed(random_lenet(7000, 10, true), 1, |_, x| x.signum() * f32::from_bits(1));
    tiny.parameters[1].bias.fill(0.0);
    let images = images(1600, 16);
    let mut signs = [0, 0];
    for (network, case) in [(random_lenet(6000, 10, true), "random"), (zeros, "zeros"), (tiny, "tiny")] {
        let want: Vec<f32> = images.chunks(PIXELS).flat_map(|image| features(&network, image)).collect();
        if case == "zeros" {
            want.iter().for_each(|x| signs[usize::from(x.is_sign_negative())] += 1);
        }
        harness::assert_bits(&want, &features_on_host(Simd::detect(), &network, &images), case);
        let (name, shapes) = (case.to_string(), SHAPES[..2].to_vec());
        let case = Case { name, network, images: images.clone(), shapes, batches: vec![15] };
        passes(|gpu, tally| compare_features(gpu, tally, &case, None));
    }
    assert!(signs.iter().all(|&n| n > 1000), "{signs:?}");
}

#[test]
fn classify_refuses_buffers_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let mut lenet = Lenet::new(launcher, &Network::embedded_lenet(None).unwrap(), 4).unwrap();
    let (images, few_images) =
        (launcher.zeros::<u8>(4 * PIXELS).unwrap(), launcher.zeros::<u8>(4 * PIXELS - 1).unwrap());
    let (mut rows, mut short) = (launcher.zeros::<f32>(10 * 4).unwrap(), launcher.zeros::<f32>(10 * 4 - 1).unwrap());
    assert!(launcher.classify(&mut rows, &mut lenet, &few_images, 4, 4).unwrap_err().to_string().contains("images"));
    assert!(
        launcher.classify(&mut short, &mut lenet, &images, 4, 4).unwrap_err().to_string().contains("probabilities")
    );
    assert!(launcher.classify(&mut rows, &mut lenet, &images, 4, 3).unwrap_err().to_string().contains("row"));
    let more = launcher.zeros::<u8>(5 * PIXELS).unwrap();
    let mut wide = launcher.zeros::<f32>(10 * 5).unwrap();
    assert!(launcher.classify(&mut wide, &mut lenet, &more, 5, 5).unwrap_err().to_string().contains("features"));
    launcher.classify(&mut rows, &mut lenet, &images, 4, 4).unwrap();
    launcher.synchronise().unwrap();
}
