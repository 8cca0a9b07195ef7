//! A whole network of layers, in which each operation is: probabilities of the CPU's classifier.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, bytes, numbers, rectified};
use super::tally::Tally;
use super::{conv2d, dense, lrn, pool, softmax};
use crate::backend::cpu::classify::Classifier;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::network::DeviceNetwork;
use crate::backend::cuda::params::LrnRule;
use crate::backend::cuda::pool::{Pool, Pooling};
use crate::error::{Error, Result};
use crate::network::list::List;
use crate::network::{
    ChannelOrder, Crop, Crops, Layer, Network, Operation, Parameters, Preprocess, Shape, Window, crops, shapes, weights,
};
use crate::simd::Simd;
use std::sync::Arc;

/// Every operation: a convolution of the images, one with groups, stride and padding, a pointwise one; normalisation before a max
/// pooling, after one, and by itself, of another size; both poolings by themselves, one of the images; a concatenation of all that, a
/// rectifier that no layer takes along; dense layers.
const LIST: &str = r#"
name = "every operation"
channel_order = "BGR"
image = 23
classes = 7
layers = [
    { name = "conv1", type = "convolution", outputs = 10, kernel = 5, stride = 2, padding = 2 },
    { name = "relu1", type = "relu" },
    { name = "norm1", type = "lrn", size = 5, alpha = 0.5, beta = 0.75 },
    { name = "pool1", type = "max-pool", kernel = 3, stride = 2, rounding = "ceil" },
    { name = "groups", type = "convolution", inputs = ["pool1"], outputs = 12, kernel = 3, stride = 2, padding = 1, groups = 2 },
    { name = "groups-relu", type = "relu" },
    { name = "point", type = "convolution", inputs = ["pool1"], outputs = 33, kernel = 1 },
    { name = "point-relu", type = "relu" },
    { name = "pool2", type = "max-pool", kernel = 3, stride = 2, padding = 1, rounding = "floor" },
    { name = "norm2", type = "lrn", size = 5, alpha = 0.1, beta = 0.75, k = 2 },
    { name = "average", type = "average-pool", inputs = ["pool1"], kernel = 3, stride = 2, padding = 1, rounding = "floor" },
    { name = "seen", type = "average-pool", inputs = ["input"], kernel = 9, stride = 7, rounding = "floor" },
    { name = "all", type = "concat", inputs = ["groups-relu", "norm2", "average", "seen"] },
    { name = "norm3", type = "lrn", size = 3, alpha = 0.2, beta = 0.75 },
    { name = "relu3", type = "relu" },
    { name = "pool3", type = "max-pool", kernel = 2, rounding = "floor" },
    { name = "fc1", type = "dense", outputs = 30 },
    { name = "relu4", type = "relu" },
    { name = "fc2", type = "dense", outputs = "classes" },
    { name = "prob", type = "softmax" },
]
"#;

/// `layers`, for an `input` of the channels of `list`, with random weights, scales and mean.
///
/// # Errors
/// [`Error::Usage`] if they do not fit together.
pub fn random(list: &List, layers: Vec<Layer>, n_classes: usize, input: Shape, stream: u32) -> Result<Network> {
    let of_values = shapes(input, &layers).map_err(|why| Error::Usage(format!("network {:?}: {why}", list.name)))?;
    let parameters = weights(&layers, &of_values).enumerate().map(|(index, (_, shape))| {
        let (n, k) = (shape.iter().product(), shape[1..].iter().product::<usize>());
        let spread = (5.0 / k as f32).sqrt();
        let stream = stream + 2 * index as u32;
        // Above 0, so that rectifiers leave something of so few channels.
        Parameters {
            weight: numbers(stream, n).into_iter().map(|x| x * spread).collect(),
            bias: numbers(stream + 1, shape[0]).into_iter().map(|x| 0.1 * x.abs()).collect(),
        }
    });
    let parameters = parameters.collect();
    let mean = numbers(stream + 9999, input.len()).iter().map(|x| 20.0 * x + 110.0).collect();
    let preprocess =
        Preprocess { scale: [1.0 / 61.0, 1.0 / 57.0, 1.0 / 59.0], mean, channel_order: list.channel_order };
    let classes = (0..n_classes).map(|class| class.to_string()).collect();
    Network::new(&list.name, input, preprocess, layers, parameters, classes)
}

/// The network of every operation.
pub fn network() -> Network {
    let list = List::parse(LIST).expect("a list of layers");
    random(&list, list.layers(list.classes), list.classes, list.input(), 80_000).expect("its layers fit")
}

/// The same network, given images that are wider and higher than what it sees, of which it judges `crops`.
pub fn cropped(crops: Crops) -> Network {
    const HIGHER: usize = 5;
    const WIDER: usize = 8;
    let network = network();
    let Shape { channels, height, width } = network.input;
    let image = Shape { channels, height: height + HIGHER, width: width + WIDER };
    Network { image, ..network }.judging(crops).expect("it sees a part of an image")
}

/// The CPU's probabilities of `images`, `(batch, n_classes)`.
pub fn on_host(simd: Simd, network: &Network, images: &[u8]) -> Vec<f32> {
    let mut rows = vec![0.0; images.len() / network.given().len() * network.classes.len()];
    Classifier::new(Arc::new(network.clone()), simd).classify(images, &mut rows);
    rows
}

/// The probabilities of one image, one layer after the other, each from its formula.
pub fn literally(network: &Network, image: &[u8]) -> Vec<f32> {
    let of_crop = |&crop| literally_of_crop(network, image, crop);
    let each: Vec<Vec<f32>> = match &network.crops[..] {
        [] => return of_crop(&Crop::default()),
        crops => crops.iter().map(of_crop).collect(),
    };
    (0..network.classes.len()).map(|class| crops::mean(each.iter().map(|crop| crop[class]))).collect()
}

fn literally_of_crop(network: &Network, image: &[u8], crop: Crop) -> Vec<f32> {
    let (channels, plane) = (network.input.channels, network.input.len() / network.input.channels);
    let Preprocess { scale, mean, channel_order } = &network.preprocess;
    let seen = |at: usize| {
        let (channel, position) = (at / plane, at % plane);
        let (row, column) = (position / network.input.width, position % network.input.width);
        let across = if crop.mirror { network.input.width - 1 - column } else { column };
        let pixel = (crop.y + row) * network.given().width + crop.x + across;
        let of_pixel = if *channel_order == ChannelOrder::Bgr { 2 - channel } else { channel };
        let mean = mean.get(at).copied().unwrap_or(0.0);
        (f32::from(image[pixel * channels + of_pixel]) - mean) * scale[channel]
    };
    values(network, (0..network.input.len()).map(seen).collect()).pop().expect("the last layer's")
}

/// What the first layer takes, `input`, then what each layer makes of one image, each from its formula.
pub fn values(network: &Network, input: Vec<f32>) -> Vec<Vec<f32>> {
    let shapes = network.shapes();
    let mut values: Vec<Vec<f32>> = vec![input];
    let mut parameters = network.parameters.iter();
    let mut next = || parameters.next().expect("parameters of each layer that has some");
    for (layer, &to) in network.layers.iter().zip(&shapes[1..]) {
        let (from, input) = (shapes[layer.inputs[0]], &values[layer.inputs[0]]);
        let pooled = |Window { kernel, stride, padding, .. }, pool| {
            pool::on_host(&Pooling { input: from, output: to, kernel, stride, padding }, pool, input)
        };
        let value = match layer.operation {
            Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                let geometry = Geometry { input: from, output: to, kernel, stride, padding, groups };
                conv2d::on_host(&geometry, next(), input)
            }
            Operation::Dense { .. } => dense::on_host(next(), input),
            Operation::Relu => rectified(input),
            Operation::MaxPool(window) => pooled(window, Pool::Max),
            Operation::AveragePool { window, count_padding } => pooled(window, Pool::Average { count_padding }),
            Operation::Lrn { size, alpha, k } => lrn::on_host(LrnRule::new(size, alpha, k), from, input),
            Operation::Concat => layer.inputs.iter().flat_map(|&part| values[part].iter().copied()).collect(),
            Operation::Softmax => softmax::on_host(input),
        };
        values.push(value);
    }
    values
}

/// Compares the probabilities of `images`, of which the crops of `capacity` go through at once, with the CPU's, `rows`.
///
/// # Errors
/// The driver's.
pub fn compare(
    gpu: &Gpu,
    tally: &mut Tally,
    network: &Network,
    images: &[u8],
    rows: &[f32],
    capacity: usize,
) -> Result<()> {
    let (batch, n_classes) = (images.len() / network.given().len(), network.classes.len());
    let n_crops = network.n_crops();
    tally.case(batch, format_args!("{}, {n_crops} crops, batch {batch}, {capacity} at once", network.name));
    let mut device = DeviceNetwork::new(gpu.launcher, network, capacity * n_crops)?;
    let images = gpu.upload(images)?;
    // What stands behind a row's images is not to be written.
    let stride = batch + 3;
    let want = by_class(rows, n_classes, stride, 0);
    let mut probabilities = gpu.guarded(want.len(), GUARD_F32)?;
    gpu.timed(tally, |launcher| launcher.run_network(&mut probabilities, &mut device, &images, batch, stride))?;
    let got = gpu.read(tally, "the probabilities", &probabilities, want.len(), GUARD_F32)?;
    tally.same("the probabilities", &want, &got);
    Ok(())
}

/// Batches: one image, as many as fill a vector of every width and leave some over, and a few.
pub fn batches(extent: Extent) -> Vec<usize> {
    extent.of(vec![1, 37, 5], 1, usize::MAX)
}

/// So many images.
pub fn images(network: &Network, batch: usize) -> Vec<u8> {
    bytes(81_000, batch * network.given().len())
}

/// The network of every operation, and the same with one crop and with ten of larger images; in one part and in several, of which the
/// last is not full.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for network in [network(), cropped(Crops::One), cropped(Crops::Ten)] {
        for batch in batches(extent) {
            let images = images(&network, batch);
            let rows = on_host(Simd::detect(), &network, &images);
            for capacity in [batch.div_ceil(2), batch] {
                compare(gpu, tally, &network, &images, &rows, capacity)?;
            }
        }
    }
    Ok(())
}
