//! The network for images that do not fill a tile: lane = output channel or feature of one image.
//!
//! The bits are those of the tiles, since a lane's sum does not know its neighbours. An image costs more than in a full tile:
//! vectors are not filled where channels are no multiple of the lanes, and weights are read for fewer images.

pub mod conv2d;
pub mod dense;

use super::classify::Scratch;
use super::conv2d::Geometry;
use super::max_pool::max_pool;
use super::preprocess;
use super::relu::relu;
use super::softmax::softmax;
use crate::network::{Network, Operation, Preprocess, Shape, Window};
use crate::simd::Aligned;
use crate::simd::Lanes;
use conv2d::{PackedConv2d, conv2d};
pub use dense::IMAGES;
use dense::{PackedDense, dense};

/// A network with its weights in the order in which these kernels read them.
#[derive(Debug)]
pub struct ImageNetwork {
    input: Shape,
    preprocess: Preprocess,
    n_classes: usize,
    /// Up to the first dense layer, an image at a time.
    spatial: Vec<Spatial>,
    /// What the first dense layer sees.
    features: Shape,
    /// From the first dense layer on, up to [`IMAGES`] images at once. Without the softmax.
    dense: Vec<Dense>,
}

#[derive(Debug)]
enum Spatial {
    Conv2d(PackedConv2d),
    MaxPool { input: Shape, output: Shape, kernel: usize, stride: usize },
    Relu,
}

#[derive(Debug)]
enum Dense {
    Dense(PackedDense),
    Relu,
}

impl ImageNetwork {
    /// Packs `network` for vectors of `width` lanes; `None` if its layers do not divide into them.
    pub fn new(network: &Network, width: usize) -> Option<ImageNetwork> {
        let shapes = network.shapes();
        let mut parameters = network.parameters.iter();
        let mut next = || parameters.next().expect("checked by Network::new");
        let (mut spatial, mut dense) = (Vec::new(), Vec::new());
        let mut features = network.input;
        for (layer, pair) in network.layers.iter().zip(shapes.windows(2)) {
            let (input, output) = (pair[0], pair[1]);
            match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } if dense.is_empty() => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    spatial.push(Spatial::Conv2d(PackedConv2d::new(geometry, next(), width)?));
                }
                Operation::MaxPool(Window { kernel, stride, padding: 0, .. })
                    if dense.is_empty() && !spatial.is_empty() =>
                {
                    spatial.push(Spatial::MaxPool { input, output, kernel, stride });
                }
                Operation::Relu if dense.is_empty() && !spatial.is_empty() => spatial.push(Spatial::Relu),
                Operation::Dense { .. } => {
                    dense.push(Dense::Dense(PackedDense::new(input.len(), output.len(), next(), width)))
                }
                Operation::Relu if !dense.is_empty() => dense.push(Dense::Relu),
                Operation::Softmax => {}
                _ => return None,
            }
            if dense.is_empty() {
                features = output;
            }
        }
        // Layers work in place or between two buffers; with no dense layer there is nothing to hand the features to.
        (!dense.is_empty()).then(|| ImageNetwork {
            input: network.input,
            preprocess: network.preprocess.clone(),
            n_classes: network.classes.len(),
            spatial,
            features,
            dense,
        })
    }

    /// The most values of an image of `network` between two spatial steps, and of a row between two dense ones; the latter
    /// hold a tile of results, too.
    pub fn activation_lens(network: &Network, width: usize) -> (usize, usize) {
        let shapes = network.shapes();
        let (mut spatial, mut dense) = (network.input.len(), network.classes.len() * width);
        let mut is_spatial = true;
        for (layer, pair) in network.layers.iter().zip(shapes.windows(2)) {
            if is_spatial && matches!(layer.operation, Operation::Dense { .. } | Operation::Softmax) {
                is_spatial = false;
                dense = dense.max(pair[0].len());
            }
            if is_spatial {
                spatial = spatial.max(blocked_len(pair[1], width));
            } else {
                dense = dense.max(pair[1].len().next_multiple_of(width));
            }
        }
        (spatial, dense)
    }

    /// Results of at most [`IMAGES`] images, `(images, n_classes)`: probabilities, or with `softmax` false logits.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, scratch: &mut Scratch, images: &[u8], results: &mut [f32], softmax: bool) {
        let n_images = results.len() / self.n_classes;
        let row = scratch.dense[0].len() / IMAGES;
        for (image, features) in images.chunks_exact(self.input.len()).zip(scratch.dense[0].chunks_exact_mut(row)) {
            self.features::<L>(&mut scratch.spatial, image, features);
        }
        let [front, back] = &mut scratch.dense;
        let (mut front, mut back) = (&mut front[..n_images * row], &mut back[..n_images * row]);
        for step in &self.dense {
            match step {
                Dense::Dense(layer) => {
                    dense::<L>(back, front, row, n_images, layer);
                    std::mem::swap(&mut front, &mut back);
                }
                Dense::Relu => relu::<L>(front),
            }
        }
        for (logits, results) in front.chunks_exact(row).zip(results.chunks_exact_mut(self.n_classes)) {
            results.copy_from_slice(&logits[..self.n_classes]);
        }
        if softmax {
            self.softmax::<L>(&mut scratch.dense[0], results);
        }
    }

    /// What the first dense layer sees of `image`, flattened (channel, row, column).
    #[inline(always)]
    fn features<L: Lanes>(&self, buffers: &mut [Aligned; 2], image: &[u8], features: &mut [f32]) {
        let [front, back] = buffers;
        let (mut front, mut back) = (&mut **front, &mut **back);
        let (mut len, mut lanes) = (self.input.len(), 1);
        preprocess::preprocess_image(&mut front[..len], image, self.input, &self.preprocess);
        for step in &self.spatial {
            match step {
                Spatial::Relu => {
                    relu::<L>(&mut front[..len]);
                    continue;
                }
                Spatial::Conv2d(layer) => {
                    let next = blocked_len(layer.geometry().output, L::N);
                    conv2d::<L>(&mut back[..next], &front[..len], layer, lanes);
                    (len, lanes) = (next, L::N);
                }
                // A block of channels is to this step what a channel is in a tile.
                Spatial::MaxPool { input, output, kernel, stride } => {
                    let blocks = |shape: Shape| Shape { channels: shape.channels.div_ceil(L::N), ..shape };
                    let next = blocked_len(*output, L::N);
                    max_pool::<L>(&mut back[..next], &front[..len], blocks(*input), blocks(*output), *kernel, *stride);
                    len = next;
                }
            }
            std::mem::swap(&mut front, &mut back);
        }
        let plane = self.features.height * self.features.width;
        for (channel, values) in features[..self.features.len()].chunks_exact_mut(plane).enumerate() {
            let base = channel / lanes * plane * lanes + channel % lanes;
            for (position, value) in values.iter_mut().enumerate() {
                *value = front[base + position * lanes];
            }
        }
    }

    /// Softmax of each row of `results`, through `scratch`, where an image is a lane as everywhere.
    #[inline(always)]
    fn softmax<L: Lanes>(&self, scratch: &mut [f32], results: &mut [f32]) {
        let n = self.n_classes;
        let tile = &mut scratch[..n * L::N];
        for images in results.chunks_mut(n * L::N) {
            tile.fill(0.0);
            for (lane, row) in images.chunks_exact(n).enumerate() {
                for (class, &logit) in row.iter().enumerate() {
                    tile[class * L::N + lane] = logit;
                }
            }
            softmax::<L>(tile, n);
            for (lane, row) in images.chunks_exact_mut(n).enumerate() {
                for (class, probability) in row.iter_mut().enumerate() {
                    *probability = tile[class * L::N + lane];
                }
            }
        }
    }
}

/// Values of an activation whose channels lie in blocks of `width`.
fn blocked_len(shape: Shape, width: usize) -> usize {
    shape.channels.next_multiple_of(width) * shape.height * shape.width
}
