//! LeNet's two kernels in each of their launch shapes: features and probabilities of the CPU's classifier.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::by_class;
use super::tally::Tally;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cuda::classify::{MAX_CLASSES, Thresholds};
use crate::backend::cuda::lenet::{FEATURES, Lenet};
use crate::error::Result;
use crate::network::{ChannelOrder, Layer, Network, Parameters, Preprocess, lenet, shapes};
use crate::rng::{Philox, Purpose, unit};
use crate::simd::Simd;
use std::sync::Arc;

/// Pixels of an image.
pub const PIXELS: usize = 28 * 28;

/// Every launch shape by itself: the first kernel's two with the second's three.
pub const SHAPES: [Thresholds; 3] = [
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
pub fn random_lenet(stream: u32, n_classes: usize, mean: bool) -> Network {
    let layers = lenet::layers(n_classes);
    let shapes = shapes(lenet::INPUT, &layers).expect("LeNet's layers fit");
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
    Network::new("random", lenet::INPUT, preprocess, layers.clone(), parameters.collect(), classes)
        .expect("LeNet's layers and their weights")
}

/// `n` images by turns of noise, of few pixels, of edges at every place, and of one grey.
pub fn images(stream: u32, n: usize) -> Vec<u8> {
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

/// `network` with each weight and bias of the layer `index` put through `change`.
pub fn changed(mut network: Network, index: usize, change: impl Fn(usize, f32) -> f32) -> Network {
    let Parameters { weight, bias } = &mut network.parameters[index];
    for values in [weight, bias] {
        values.iter_mut().enumerate().for_each(|(at, value)| *value = change(at, *value));
    }
    network
}

/// The CPU's features of `images`, `(batch, 800)`: the logits of a network that ends behind the second pooling.
pub fn features_on_host(simd: Simd, network: &Network, images: &[u8]) -> Vec<f32> {
    let mut layers = network.layers[..4].to_vec();
    let behind = vec![layers.len()]; // values are numbered from the input on
    layers.extend(network.layers.last().map(|softmax| Layer { inputs: behind, ..softmax.clone() }));
    let classes = (0..FEATURES).map(|class| class.to_string()).collect();
    let parameters = network.parameters[..2].to_vec();
    let front = Network::new("front", network.input, network.preprocess.clone(), layers, parameters, classes)
        .expect("a part of LeNet and the softmax");
    let mut features = vec![0.0; images.len() / PIXELS * FEATURES];
    Classifier::new(Arc::new(front), simd).logits(images, &mut features);
    features
}

/// `features` with one NaN for all that arithmetic makes: processors make others, and what follows looks at none of their bits.
fn alike(mut features: Vec<f32>) -> Vec<f32> {
    for feature in features.iter_mut().filter(|x| x.is_nan() && x.to_bits() != GUARD_F32.to_bits()) {
        *feature = f32::NAN;
    }
    features
}

/// The CPU's probabilities of `images`, `(batch, n_classes)`.
pub fn probabilities_on_host(simd: Simd, network: &Network, images: &[u8]) -> Vec<f32> {
    let mut rows = vec![0.0; images.len() / PIXELS * network.classes.len()];
    Classifier::new(Arc::new(network.clone()), simd).classify(images, &mut rows);
    rows
}

/// Images, a network, and the launch shapes and batches that it is tried in.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub network: Network,
    pub images: Vec<u8>,
    /// Each of the shapes with each of the batches.
    pub shapes: Vec<Thresholds>,
    pub batches: Vec<usize>,
}

/// Compares the features of a case in the launch shape that goes by the name `kernel`, and in no other; with no name, in all.
///
/// # Errors
/// The driver's.
pub fn compare_features(gpu: &Gpu, tally: &mut Tally, case: &Case, kernel: Option<&str>) -> Result<()> {
    let largest = case.batches.iter().copied().max().unwrap_or(0);
    let mut lenet = Lenet::new(gpu.launcher, &case.network, largest)?;
    let mut want = Vec::new();
    for &thresholds in &case.shapes {
        lenet.thresholds = thresholds;
        for &batch in &case.batches {
            if kernel.is_some_and(|kernel| kernel != gpu.launcher.features_kernel(&lenet, batch)) {
                continue;
            }
            if want.is_empty() {
                want = alike(features_on_host(Simd::detect(), &case.network, &case.images[..largest * PIXELS]));
            }
            tally.case(batch, format_args!("{}, batch {batch}, {thresholds:?}", case.name));
            let on_device = gpu.upload(&case.images[..batch * PIXELS])?;
            lenet.features = gpu.guarded(batch * FEATURES, GUARD_F32)?;
            gpu.timed(tally, |launcher| launcher.lenet_features(&mut lenet, &on_device, batch))?;
            let got = gpu.read(tally, "the features", &lenet.features, batch * FEATURES, GUARD_F32)?;
            tally.same("the features", &want[..batch * FEATURES], &alike(got));
        }
    }
    Ok(())
}

/// As [`compare_features`], the probabilities of the host's features.
///
/// # Errors
/// The driver's.
pub fn compare_probabilities(gpu: &Gpu, tally: &mut Tally, case: &Case, kernel: Option<&str>) -> Result<()> {
    let largest = case.batches.iter().copied().max().unwrap_or(0);
    let n_classes = case.network.classes.len();
    let mut lenet = Lenet::new(gpu.launcher, &case.network, largest)?;
    let mut host: Option<(Vec<f32>, Vec<f32>)> = None;
    for &thresholds in &case.shapes {
        lenet.thresholds = thresholds;
        for &batch in &case.batches {
            if kernel.is_some_and(|kernel| kernel != gpu.launcher.probabilities_kernel(&lenet, batch)) {
                continue;
            }
            let (features, rows) = host.get_or_insert_with(|| {
                let images = &case.images[..largest * PIXELS];
                let features = features_on_host(Simd::detect(), &case.network, images);
                (features, probabilities_on_host(Simd::detect(), &case.network, images))
            });
            let stride = batch + batch % 3;
            tally.case(batch, format_args!("{}, batch {batch}, stride {stride}, {thresholds:?}", case.name));
            // What stands between the rows is not to be written.
            let want = by_class(&rows[..batch * n_classes], n_classes, stride, 0);
            let mut probabilities = gpu.guarded(n_classes * stride, GUARD_F32)?;
            gpu.launcher.upload_part(&mut lenet.features, 0, &features[..batch * FEATURES])?;
            gpu.timed(tally, |launcher| launcher.lenet_probabilities(&mut probabilities, &lenet, batch, stride))?;
            let got = gpu.read(tally, "the probabilities", &probabilities, n_classes * stride, GUARD_F32)?;
            tally.same("the probabilities", &want, &got);
        }
    }
    Ok(())
}

/// Compares the probabilities of a case's images, through both kernels.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case) -> Result<()> {
    compare_features(gpu, tally, case, None)?;
    compare_probabilities(gpu, tally, case, None)
}

/// Our own weights and random ones, round the edges of blocks of 2 and of 4, of 4 and of 16, of 4 and of 64 images.
pub fn edges() -> Vec<Case> {
    let images = images(0, 65);
    let networks = [
        (Network::embedded_lenet(None).expect("the program's own"), "our LeNet"),
        (random_lenet(1000, 11, true), "random weights, 11 classes, a mean"),
    ];
    let mut cases = Vec::new();
    for (network, name) in networks {
        for (&shape, batches) in SHAPES.iter().zip([&[0, 1, 2, 3, 4, 5, 9][..], &[1, 3, 15, 16, 17], &[1, 63, 64, 65]])
        {
            cases.push(Case {
                name: name.to_string(),
                network: network.clone(),
                images: images.clone(),
                shapes: vec![shape],
                batches: batches.to_vec(),
            });
        }
    }
    cases
}

/// Any number of classes: round what fits a part of 32 images, of 16, and the most.
pub fn classes() -> Vec<Case> {
    let images = images(900, 3);
    let case = |n_classes| Case {
        name: format!("random weights, {n_classes} classes"),
        network: random_lenet(3000, n_classes, false),
        images: images.clone(),
        shapes: vec![SHAPES[2]],
        batches: vec![3],
    };
    [1, 2, 33, 292, 293, 1084, 1085, MAX_CLASSES].map(case).into()
}

/// A batch of the paper's size, in the shapes that it has.
pub fn batch_of_the_paper() -> Case {
    Case {
        name: "random weights, 10 classes".to_string(),
        network: random_lenet(2000, 10, false),
        images: images(500, 200),
        shapes: vec![Thresholds::default()],
        batches: vec![200],
    }
}

/// Weights that make denormal, huge, infinite numbers and NaNs.
pub fn extremes() -> Vec<Case> {
    let base = || random_lenet(4000, 10, false);
    let times = |factor: f32| move |_: usize, x: f32| x * factor;
    let infinite =
        |every: usize| move |at: usize, x: f32| if at.is_multiple_of(every) { x.signum() * f32::INFINITY } else { x };
    let networks = [
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
    let images = images(1200, 12);
    networks
        .into_iter()
        .map(|(network, name)| Case {
            name: name.to_string(),
            network,
            images: images.clone(),
            shapes: SHAPES.to_vec(),
            batches: vec![12],
        })
        .collect()
}

/// All of them, the most ordinary one last.
pub fn cases(extent: Extent) -> Vec<Case> {
    let mut cases = extent.of(extremes(), 1, usize::MAX);
    cases.extend(extent.of(classes(), 8, usize::MAX));
    if extent == Extent::Quick {
        // A batch of each shape, of which one block is not full.
        cases.push(Case { shapes: SHAPES.to_vec(), batches: vec![5], ..edges().remove(0) });
        return cases;
    }
    cases.extend(edges());
    cases.push(batch_of_the_paper());
    cases
}

/// The features of all [`cases`] that come to the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn features(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &str) -> Result<()> {
    // The number of classes does not concern them.
    let cases = cases(extent).into_iter().filter(|case| case.network.classes.len() < 12);
    cases.into_iter().try_for_each(|case| compare_features(gpu, tally, &case, Some(kernel)))
}

/// The probabilities of all [`cases`] that come to the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn probabilities(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &str) -> Result<()> {
    cases(extent).iter().try_for_each(|case| compare_probabilities(gpu, tally, case, Some(kernel)))
}
