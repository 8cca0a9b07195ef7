//! Networks as lists of layers, with weights from safetensors.

use std::path::PathBuf;

/// Shape of one image's activation: channels, height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

/// One step of a network. Convolution is cross-correlation, weights `(out, in / groups, kernel, kernel)`;
/// dense weights are `(out, in)`, their input flattened channel, row, column.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    Conv2d {
        name: String,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        groups: usize,
    },
    /// Windows are clipped at the border; the size rounds up (`ceil((size - kernel) / stride) + 1`, Caffe's rule).
    MaxPool {
        kernel: usize,
        stride: usize,
    },
    Relu,
    Dense {
        name: String,
        out_features: usize,
    },
    Softmax,
}

/// What happens to an 8-bit image before the first layer: `(pixel - mean) * scale` in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    pub scale: f32,
    /// `(channels, height, width)` in 0..255 units, or empty.
    pub mean: Vec<f32>,
}

/// A layer list with its weights: everything that classification needs.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    pub input: Shape,
    pub preprocess: Preprocess,
    pub layers: Vec<Layer>,
    /// Per layer with parameters, in order: weights, then biases, as in the file.
    pub parameters: Vec<Parameters>,
    /// Name of each class.
    pub classes: Vec<String>,
    /// Where the weights come from; `None` for those built into the program.
    pub path: Option<PathBuf>,
    /// SHA-256 of the weights file (and of the mean file, if any), hexadecimal.
    pub sha256: String,
}

/// Weights and biases of one layer, row-major, of the shapes that [`Layer`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}
