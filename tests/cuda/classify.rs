//! classify: LeNet's features as its formulas give them, its probabilities as the CPU gives them.

use crate::harness;
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::classify::{MAX_CLASSES, Thresholds};
use pareidolia::backend::cuda::lenet::{FEATURES, Lenet};
use pareidolia::network::{ChannelOrder, Network, Parameters, Preprocess, lenet, shapes};
use pareidolia::rng::{Philox, Purpose, unit};
use pareidolia::simd::Simd;
use std::sync::Arc;

const PIXELS: usize = 28 * 28;

/// Every launch shape by itself: the first kernel's two with the second's three.
const SHAPES: [Thresholds; 3] = [
    Thresholds { features_few: usize::MAX, probabilities_few: usize::MAX, probabilities_some: usize::MAX },
    Thresholds { features_few: 0, probabilities_few: 0, probabilities_some: usize::MAX },
    Thresholds { features_few: 0, probabilities_few: 0, probabilities_some: 0 },
];

/// `n` numbers in [-1, 1), the same for the same `stream`.
fn random(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(2026).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

/// A LeNet whose weights are as large as training makes them.
fn random_lenet(stream: u32, n_classes: usize, mean: bool) -> Network {
    let layers = lenet::layers(n_classes);
    let shapes = shapes(lenet::INPUT, &layers).unwrap();
    let weights = layers.iter().zip(&shapes).filter_map(|(layer, &input)| layer.weight(input));
    let parameters = weights.enumerate().map(|(index, (_, shape))| {
        let spread = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let scaled = |stream, n| random(stream, n).into_iter().map(|x| x * spread).collect();
        let stream = stream + 2 * index as u32;
        Parameters { weight: scaled(stream, shape.iter().product()), bias: scaled(stream + 1, shape[0]) }
    });
    let mean = if mean { random(stream + 99, PIXELS).iter().map(|x| 70.0 * (x + 1.0)).collect() } else { Vec::new() };
    // No power of two, by which all products would be exact.
    let preprocess = Preprocess { scale: [1.0 / 251.0; 3], mean, channel_order: ChannelOrder::Grey };
    let classes = (0..n_classes).map(|class| class.to_string()).collect();
    Network::new("random", lenet::INPUT, preprocess, layers.clone(), parameters.collect(), classes).unwrap()
}

/// `n` images by turns of noise, of few pixels, of edges at every place, and of one grey.
fn images(stream: u32, n: usize) -> Vec<u8> {
    let byte = |x: f32| ((x + 1.0) * 128.0) as u8;
    let mut images = Vec::with_capacity(n * PIXELS);
    for image in 0..n {
        let noise = random(stream + image as u32, PIXELS);
        let (row, column) = (image / 4 % 28, image / 2 % 28);
        let grey = byte(noise[0]);
        images.extend(noise.iter().enumerate().map(|(pixel, &x)| match image % 4 {
            0 => byte(x),
            1 if x > 0.9 => 255,
            1 => 0,
            2 if (pixel / 28 > row) == (pixel % 28 > column) => 255,
            2 => 0,
            _ => grey,
        }));
    }
    images
}

/// The CPU's probabilities of `images`, `(n_classes, batch)`.
fn on_cpu(network: &Network, images: &[u8]) -> Vec<f32> {
    let (batch, n_classes) = (images.len() / PIXELS, network.classes.len());
    let mut rows = vec![0.0; batch * n_classes];
    Classifier::new(Arc::new(network.clone()), Simd::detect()).classify(images, &mut rows);
    (0..n_classes * batch).map(|at| rows[at % batch * n_classes + at / batch]).collect()
}

/// The device's, in rows of `stride`, every one of whose other elements must be as it was.
fn on_device(launcher: &Launcher, lenet: &mut Lenet, images: &[u8], stride: usize) -> Vec<f32> {
    let (batch, n_classes) = (images.len() / PIXELS, lenet.n_classes);
    let mut probabilities = launcher.upload(&vec![harness::GUARD_F32; n_classes * stride + harness::GUARDS]).unwrap();
    launcher.classify(&mut probabilities, lenet, &launcher.upload(images).unwrap(), batch, stride).unwrap();
    let all = harness::unguarded(launcher.download(&probabilities).unwrap(), n_classes * stride, harness::GUARD_F32);
    let mut got = Vec::with_capacity(n_classes * batch);
    for row in all.chunks(stride.max(1)) {
        got.extend(&row[..batch]);
        let touched = row[batch..].iter().any(|value| value.to_bits() != harness::GUARD_F32.to_bits());
        assert!(!touched, "batch {batch}, stride {stride}: written past the batch");
    }
    got
}

/// Both give the same bits for the first `batch` of `images`, for each of `batches`.
fn agree(launcher: &Launcher, network: &Network, images: &[u8], shapes: &[Thresholds], batches: &[usize], case: &str) {
    let largest = batches.iter().copied().max().unwrap_or(0);
    let want = on_cpu(network, &images[..largest * PIXELS]);
    let mut lenet = Lenet::new(launcher, network, largest).unwrap();
    for &thresholds in shapes {
        lenet.thresholds = thresholds;
        for &batch in batches {
            let want: Vec<f32> = want.chunks(largest.max(1)).flat_map(|row| &row[..batch]).copied().collect();
            let stride = batch + batch % 3;
            let got = on_device(launcher, &mut lenet, &images[..batch * PIXELS], stride);
            harness::assert_bits(&want, &got, &format!("{case}, batch {batch}, stride {stride}, {thresholds:?}"));
        }
    }
}

#[test]
fn classify_gives_the_bits_of_the_cpu_round_the_edges_of_every_shape() {
    let Some(launcher) = harness::launcher() else { return };
    let images = images(0, 65);
    for (network, case) in [
        (Network::embedded_lenet(None).unwrap(), "embedded"),
        (random_lenet(1000, 11, true), "random, 11 classes, mean"),
    ] {
        // Blocks of 2 and of 4, of 4 and of 16, of 4 and of 64 images.
        for (&shape, batches) in SHAPES.iter().zip([&[0, 1, 2, 3, 4, 5, 9][..], &[1, 3, 15, 16, 17], &[1, 63, 64, 65]])
        {
            agree(launcher, &network, &images, &[shape], batches, case);
        }
    }
}

#[test]
fn classify_gives_the_bits_of_the_cpu_for_a_batch_of_the_paper() {
    let Some(launcher) = harness::launcher() else { return };
    let network = random_lenet(2000, 10, false);
    agree(launcher, &network, &images(500, 200), &[Thresholds::default()], &[200], "random, 10 classes");
}

#[test]
fn classify_takes_any_number_of_classes() {
    let Some(launcher) = harness::launcher() else { return };
    let images = images(900, 3);
    // Round what fits a part of 32 images, of 16, and the most.
    for n_classes in [1, 2, 33, 292, 293, 1084, 1085, MAX_CLASSES] {
        let network = random_lenet(3000, n_classes, false);
        agree(launcher, &network, &images, &SHAPES[2..], &[3], &format!("{n_classes} classes"));
    }
    let error = Lenet::new(launcher, &random_lenet(3000, MAX_CLASSES + 1, false), 1).unwrap_err();
    assert!(error.to_string().contains(&(MAX_CLASSES + 1).to_string()), "{error}");
}

/// `network` with each weight and bias of the layer `index` put through `change`.
fn changed(mut network: Network, index: usize, change: impl Fn(usize, f32) -> f32) -> Network {
    let Parameters { weight, bias } = &mut network.parameters[index];
    for values in [weight, bias] {
        values.iter_mut().enumerate().for_each(|(at, value)| *value = change(at, *value));
    }
    network
}

#[test]
fn classify_gives_the_bits_of_the_cpu_where_numbers_are_extreme() {
    let Some(launcher) = harness::launcher() else { return };
    let images = images(1200, 12);
    let base = || random_lenet(4000, 10, false);
    let times = |factor: f32| move |_: usize, x: f32| x * factor;
    let infinite =
        |every: usize| move |at: usize, x: f32| if at.is_multiple_of(every) { x.signum() * f32::INFINITY } else { x };
    let cases = [
        (changed(base(), 0, times(1e-38)), "denormal after conv1"),
        (changed(base(), 1, times(1e-40)), "denormal weights of conv2"),
        (changed(changed(base(), 2, times(1e-20)), 3, times(1e-20)), "denormal logits"),
        (changed(base(), 3, times(1e4)), "far logits"),
        (changed(base(), 0, times(1e38)), "huge weights of conv1"),
        (changed(changed(base(), 1, times(1e25)), 2, times(1e25)), "overflow in fc1"),
        (changed(base(), 3, times(1e38)), "huge weights of fc2"),
        (changed(base(), 0, infinite(97)), "infinities in conv1"),
        (changed(base(), 1, infinite(5001)), "infinities in conv2"),
        (changed(base(), 2, infinite(7919)), "infinities in fc1"),
        (changed(base(), 3, infinite(501)), "infinities in fc2"),
        (changed(base(), 1, |at, x| if at == 700 { f32::NAN } else { x }), "a NaN in conv2"),
        (changed(base(), 3, |_, _| f32::NEG_INFINITY), "no finite logit"),
    ];
    let mut n_nans = 0;
    for (network, case) in cases {
        n_nans += on_cpu(&network, &images).iter().filter(|p| p.is_nan()).count();
        agree(launcher, &network, &images, &SHAPES, &[12], case);
    }
    assert!(n_nans > 100, "{n_nans} NaNs");
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
    let Some(launcher) = harness::launcher() else { return };
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
        let mut lenet = Lenet::new(launcher, &network, 16).unwrap();
        for thresholds in &SHAPES[..2] {
            lenet.thresholds = *thresholds;
            launcher.upload_part(&mut lenet.features, 0, &vec![harness::GUARD_F32; 16 * FEATURES]).unwrap();
            on_device(launcher, &mut lenet, &images[..15 * PIXELS], 15);
            let got =
                harness::unguarded(launcher.download(&lenet.features).unwrap(), 15 * FEATURES, harness::GUARD_F32);
            harness::assert_bits(&want[..15 * FEATURES], &got, &format!("{case}, {thresholds:?}"));
        }
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
