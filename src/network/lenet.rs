//! LeNet for MNIST, Caffe's variant: the network of the fooling paper (spec 2.1). Its layers stand in lists/lenet.toml.
//!
//! There is no activation after the convolutions; the only rectifier follows fc1.

use super::list::List;
use super::{Layer, Network, Operation, Shape};
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
    List::built_in(NAME).expect("LeNet is built in").layers(n_classes)
}

/// Whether `layers` are LeNet's, for some number of classes, whatever their names.
pub fn is_lenet(layers: &[Layer]) -> bool {
    let unnamed = |layer: &Layer| (layer.inputs.clone(), layer.operation);
    let Some(Operation::Dense { out_features }) = layers.iter().nth_back(1).map(|layer| layer.operation) else {
        return false;
    };
    layers.iter().map(unnamed).eq(self::layers(out_features).iter().map(unnamed))
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
