//! The network over whole tiles: lane = image.

use super::classify::Scratch;
use super::conv2d::{Geometry, PackedConv2d, conv2d, conv2d_max_pool};
use super::dense::{PackedDense, dense};
use super::max_pool::max_pool;
use super::preprocess::preprocess;
use super::relu::relu;
use super::softmax::softmax;
use crate::network::{Network, Operation, Preprocess, Shape, Window};
use crate::simd::Aligned;
use crate::simd::Lanes;

/// Tiles that go through the dense layers together: as many as [`dense`] serves with one read of a weight.
pub const TILES: usize = 2;

/// A network with its weights in the order in which these kernels read them.
#[derive(Debug)]
pub struct TileNetwork {
    input: Shape,
    preprocess: Preprocess,
    n_classes: usize,
    /// Up to the first dense layer: a tile at a time, so that the large activations stay in the cache.
    spatial: Vec<Step>,
    /// From the first dense layer on: all tiles of a group at once, so that each weight is read once for them.
    dense: Vec<Step>,
}

/// A layer with its shapes and packed weights.
#[derive(Debug)]
enum Step {
    Conv2d(PackedConv2d),
    /// Windows of 2 x 2 side by side.
    Conv2dMaxPool(PackedConv2d),
    MaxPool {
        input: Shape,
        output: Shape,
        kernel: usize,
        stride: usize,
    },
    Relu,
    Dense(PackedDense),
    Softmax {
        classes: usize,
    },
}

impl TileNetwork {
    /// Whether these kernels have all that `network` needs: a chain of convolutions, rectifiers, poolings of maxima without padding,
    /// and dense layers.
    pub fn takes(network: &Network) -> bool {
        network.layers.iter().enumerate().all(|(index, layer)| {
            let is_known = match layer.operation {
                Operation::Conv2d { .. } | Operation::Relu | Operation::Dense { .. } | Operation::Softmax => true,
                Operation::MaxPool(window) => window.padding == 0,
                Operation::AveragePool { .. } | Operation::Lrn { .. } | Operation::Concat => false,
            };
            is_known && layer.inputs == [index]
        })
    }

    /// Packs `network`, which these kernels [take](TileNetwork::takes).
    pub fn new(network: &Network) -> TileNetwork {
        let shapes = network.shapes();
        let mut parameters = network.parameters.iter();
        let mut next = || parameters.next().expect("checked by Network::new");
        let mut steps: Vec<Step> = Vec::new();
        for (layer, pair) in network.layers.iter().zip(shapes.windows(2)) {
            let (input, output) = (pair[0], pair[1]);
            let step = match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    Step::Conv2d(PackedConv2d::new(Geometry { input, output, kernel, stride, padding, groups }, next()))
                }
                Operation::MaxPool(Window { kernel, stride, .. }) => match steps.pop() {
                    Some(Step::Conv2d(layer)) if layer.geometry().halves(kernel, stride) => Step::Conv2dMaxPool(layer),
                    before => {
                        steps.extend(before);
                        Step::MaxPool { input, output, kernel, stride }
                    }
                },
                Operation::Relu => Step::Relu,
                Operation::Dense { .. } => Step::Dense(PackedDense::new(input.len(), output.len(), next())),
                Operation::Softmax => Step::Softmax { classes: output.len() },
                Operation::AveragePool { .. } | Operation::Lrn { .. } | Operation::Concat => {
                    unreachable!("see TileNetwork::takes")
                }
            };
            steps.push(step);
        }
        let first_dense = steps.iter().position(|step| matches!(step, Step::Dense(_) | Step::Softmax { .. }));
        let dense = steps.split_off(first_dense.expect("a network ends in a softmax"));
        TileNetwork {
            input: network.input,
            preprocess: network.preprocess.clone(),
            n_classes: network.classes.len(),
            spatial: steps,
            dense,
        }
    }

    /// The most values of an image of `network` between two steps, up to the first dense layer and from its input on.
    pub fn activation_lens(network: &Network) -> (usize, usize) {
        let shapes = network.shapes();
        let (mut spatial, mut dense) = (network.input.len(), 0);
        let mut is_spatial = true;
        for (index, layer) in network.layers.iter().enumerate() {
            let (input, output) = (shapes[index], shapes[index + 1]);
            if is_spatial && matches!(layer.operation, Operation::Dense { .. } | Operation::Softmax) {
                is_spatial = false;
                dense = input.len();
            }
            match (layer.operation, network.layers.get(index + 1).map(|layer| layer.operation)) {
                // What a convolution gives to the pooling behind it exists in registers only.
                (
                    Operation::Conv2d { kernel, stride, padding, groups, .. },
                    Some(Operation::MaxPool(Window { kernel: k, stride: s, .. })),
                ) if (Geometry { input, output, kernel, stride, padding, groups }).halves(k, s) => {}
                _ if is_spatial => spatial = spatial.max(output.len()),
                _ => dense = dense.max(output.len()),
            }
        }
        (spatial, dense)
    }

    /// Results of the images of at most [`TILES`] tiles, `(images, n_classes)`: probabilities, or with `softmax` false logits.
    #[inline(always)]
    pub fn run<L: Lanes>(&self, scratch: &mut Scratch, images: &[u8], results: &mut [f32], softmax: bool) {
        let tiles = images.chunks(L::N * self.input.len());
        let n_tiles = tiles.len();
        let mut features = 0;
        for (tile, images) in tiles.enumerate() {
            let len = self.input.len() * L::N;
            let mut activation = Activation::new(&mut scratch.spatial, len);
            preprocess::<L>(activation.values(), images, self.input, &self.preprocess);
            for step in &self.spatial {
                activation.forward::<L>(step);
            }
            features = activation.len;
            scratch.dense[0][tile * features..][..features].copy_from_slice(activation.values());
        }

        let mut activation = Activation::new(&mut scratch.dense, n_tiles * features);
        for step in &self.dense {
            if softmax || !matches!(step, Step::Softmax { .. }) {
                activation.forward::<L>(step);
            }
        }
        let values = activation.values();
        for (image, results) in results.chunks_exact_mut(self.n_classes).enumerate() {
            let (tile, lane) = (image / L::N, image % L::N);
            for (class, result) in results.iter_mut().enumerate() {
                *result = values[(tile * self.n_classes + class) * L::N + lane];
            }
        }
    }
}

/// The activation between two layers, `len` values at the start of `front`, and the memory for the next.
struct Activation<'a> {
    front: &'a mut [f32],
    back: &'a mut [f32],
    len: usize,
}

impl<'a> Activation<'a> {
    fn new([front, back]: &'a mut [Aligned; 2], len: usize) -> Activation<'a> {
        Activation { front, back, len }
    }

    fn values(&mut self) -> &mut [f32] {
        &mut self.front[..self.len]
    }

    /// Becomes what `step` makes of it.
    #[inline(always)]
    fn forward<L: Lanes>(&mut self, step: &Step) {
        let input = &mut self.front[..self.len];
        match step {
            Step::Relu => return relu::<L>(input),
            Step::Softmax { classes } => return softmax::<L>(input, *classes),
            Step::Conv2d(layer) => {
                let Geometry { input: shape, output, .. } = layer.geometry();
                self.len = self.len / shape.len() * output.len();
                conv2d::<L>(&mut self.back[..self.len], input, layer);
            }
            Step::Conv2dMaxPool(layer) => {
                let Geometry { input: shape, output, .. } = layer.geometry();
                self.len = self.len / shape.len() * (output.len() / 4);
                conv2d_max_pool::<L>(&mut self.back[..self.len], input, layer);
            }
            Step::MaxPool { input: shape, output, kernel, stride } => {
                self.len = self.len / shape.len() * output.len();
                max_pool::<L>(&mut self.back[..self.len], input, *shape, *output, *kernel, *stride);
            }
            Step::Dense(layer) => {
                self.len = self.len / layer.in_features() * layer.out_features();
                dense::<L>(&mut self.back[..self.len], input, layer);
            }
        }
        std::mem::swap(&mut self.front, &mut self.back);
    }
}
