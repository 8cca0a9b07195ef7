//! A whole network of layers, in which each operation is: probabilities of the CPU's classifier.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, bytes, numbers};
use super::tally::Tally;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cuda::network::DeviceNetwork;
use crate::error::{Error, Result};
use crate::network::list::List;
use crate::network::{Layer, Network, Parameters, Preprocess, Shape, shapes, weights};
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

/// The CPU's probabilities of `images`, `(batch, n_classes)`.
pub fn on_host(simd: Simd, network: &Network, images: &[u8]) -> Vec<f32> {
    let mut rows = vec![0.0; images.len() / network.input.len() * network.classes.len()];
    Classifier::new(Arc::new(network.clone()), simd).classify(images, &mut rows);
    rows
}

/// Compares the probabilities of `images`, of which `capacity` go through at once, with the CPU's, `rows`.
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
    let (batch, n_classes) = (images.len() / network.input.len(), network.classes.len());
    tally.case(batch, format_args!("{}, batch {batch}, {capacity} at once", network.name));
    let mut device = DeviceNetwork::new(gpu.launcher, network, capacity)?;
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
    bytes(81_000, batch * network.input.len())
}

/// The network of every operation, in one part and in several, of which the last is not full.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    let network = network();
    for batch in batches(extent) {
        let images = images(&network, batch);
        let rows = on_host(Simd::detect(), &network, &images);
        for capacity in [batch.div_ceil(2), batch] {
            compare(gpu, tally, &network, &images, &rows, capacity)?;
        }
    }
    Ok(())
}
