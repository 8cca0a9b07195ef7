//! The networks for MNIST that come with the program (weights/README.md).

use super::lenet;

/// A network as its files: what `weights/` has of it.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// The stem of its files.
    pub name: &'static str,
    /// A safetensors file.
    pub weights: &'static [u8],
    /// A layer list in TOML, where the weights do not name one that the program has.
    pub layers: Option<&'static str>,
}

/// The one that is used where nobody names weights; the same architecture and training from another seed; another architecture.
pub const SHIPPED: [Shipped; 3] = [
    Shipped { name: "lenet-mnist", weights: lenet::WEIGHTS, layers: None },
    Shipped { name: "lenet-mnist-2", weights: include_bytes!("../../weights/lenet-mnist-2.safetensors"), layers: None },
    Shipped {
        name: "mnist-3x3",
        weights: include_bytes!("../../weights/mnist-3x3.safetensors"),
        layers: Some(include_str!("../../weights/mnist-3x3.toml")),
    },
];
