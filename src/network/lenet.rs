//! LeNet for MNIST, Caffe's variant: the network of the fooling paper (spec 2.1).
//!
//! There is no activation after the convolutions; the only rectifier follows fc1.

use super::{Layer, Network, Shape};
use crate::error::Result;
use std::path::Path;

/// Its name, as weights files give it.
pub const NAME: &str = "lenet";

/// One 28 x 28 grey image.
pub const INPUT: Shape = Shape { channels: 1, height: 28, width: 28 };

/// Pixels are trained on times this: 1/256, not 1/255.
pub const INPUT_SCALE: f32 = 1.0 / 256.0;

/// The layers, for `n_classes` classes (ten digits; one more when retrained with fooling images).
pub fn layers(n_classes: usize) -> Vec<Layer> {
    let conv2d = |name: &str, out_channels| Layer::Conv2d {
        name: name.to_string(),
        out_channels,
        kernel: 5,
        stride: 1,
        padding: 0,
        groups: 1,
    };
    let dense = |name: &str, out_features| Layer::Dense { name: name.to_string(), out_features };
    let max_pool = Layer::MaxPool { kernel: 2, stride: 2 };
    vec![
        conv2d("conv1", 20),
        max_pool.clone(),
        conv2d("conv2", 50),
        max_pool,
        dense("fc1", 500),
        Layer::Relu,
        dense("fc2", n_classes),
        Layer::Softmax,
    ]
}

/// Whether `layers` are LeNet's, for some number of classes, whatever their names.
pub fn is_lenet(layers: &[Layer]) -> bool {
    let unnamed = |layer: &Layer| {
        let mut layer = layer.clone();
        if let Layer::Conv2d { name, .. } | Layer::Dense { name, .. } = &mut layer {
            name.clear();
        }
        layer
    };
    let Some(&Layer::Dense { out_features: n_classes, .. }) = layers.iter().nth_back(1) else { return false };
    layers.iter().map(unnamed).eq(self::layers(n_classes).iter().map(unnamed))
}

/// Our own trained weights, which the program carries: weights/README.md says how they were made.
pub const WEIGHTS: &[u8] = include_bytes!("../../weights/lenet-mnist.safetensors");

impl Network {
    /// The network that the program carries; a `mean` file replaces the mean that it comes with, which is none.
    ///
    /// # Errors
    /// Those of the mean file: see [`Network::load`].
    pub fn embedded_lenet(mean: Option<&Path>) -> Result<Network> {
        Network::from_bytes(WEIGHTS, mean)
    }
}
