//! Networks as lists of layers, with weights from safetensors.

pub mod lenet;
pub mod weights;

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Shape of one image's activation: channels, height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}, {})", self.channels, self.height, self.width)
    }
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
    /// Over all values of an image; only as the last layer.
    Softmax,
}

impl Layer {
    /// The shape that this layer makes of `input`, or why it cannot take it.
    pub fn output(&self, input: Shape) -> Result<Shape, String> {
        match *self {
            Layer::Conv2d { out_channels, kernel, stride, padding, groups, .. } => {
                if [out_channels, kernel, stride, groups].contains(&0) {
                    return Err("out_channels, kernel, stride and groups must be at least 1".to_string());
                }
                if !input.channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
                    return Err(format!(
                        "{groups} groups do not divide {} and {out_channels} channels",
                        input.channels
                    ));
                }
                let size = |size: usize| {
                    let room = (size + 2 * padding).checked_sub(kernel);
                    room.map(|room| room / stride + 1)
                        .ok_or_else(|| format!("its {kernel}x{kernel} kernel is larger than the padded input {input}"))
                };
                Ok(Shape { channels: out_channels, height: size(input.height)?, width: size(input.width)? })
            }
            Layer::MaxPool { kernel, stride } => {
                // With stride > kernel the last window could lie outside, and there would be nothing to take the maximum of.
                if kernel == 0 || stride == 0 || stride > kernel {
                    return Err(format!(
                        "kernel {kernel}, stride {stride}: must be at least 1, and the stride at most the kernel"
                    ));
                }
                let size = |size: usize| {
                    let room = size.checked_sub(kernel);
                    room.map(|room| room.div_ceil(stride) + 1)
                        .ok_or_else(|| format!("its {kernel}x{kernel} window is larger than the input {input}"))
                };
                Ok(Shape { channels: input.channels, height: size(input.height)?, width: size(input.width)? })
            }
            Layer::Relu | Layer::Softmax => Ok(input),
            Layer::Dense { out_features: 0, .. } => Err("out_features must be at least 1".to_string()),
            Layer::Dense { out_features, .. } => Ok(Shape { channels: out_features, height: 1, width: 1 }),
        }
    }

    /// Name and shape of this layer's weights, for an `input` that it can take; `None` if it has none. There is one
    /// bias an output: the first number of the shape.
    pub fn weight(&self, input: Shape) -> Option<(&str, Vec<usize>)> {
        match self {
            Layer::Conv2d { name, out_channels, kernel, groups, .. } => {
                Some((name, vec![*out_channels, input.channels / groups, *kernel, *kernel]))
            }
            Layer::Dense { name, out_features } => Some((name, vec![*out_features, input.len()])),
            Layer::MaxPool { .. } | Layer::Relu | Layer::Softmax => None,
        }
    }
}

/// Which colour each input channel is. Images are grey, or RGB with the channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    Grey,
    Rgb,
    Bgr,
}

/// What happens to an 8-bit image before the first layer: `(pixel - mean) * scale` in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    pub scale: f32,
    /// `(channels, height, width)` in 0..255 units, in the network's channel order; or empty.
    pub mean: Vec<f32>,
    pub channel_order: ChannelOrder,
}

/// A layer list with its weights: everything that classification needs. Made by [`Network::new`], which checks that it
/// fits together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Network {
    pub name: String,
    pub input: Shape,
    pub preprocess: Preprocess,
    pub layers: Vec<Layer>,
    /// Per layer with parameters, in order.
    pub parameters: Vec<Parameters>,
    /// Name of each class.
    pub classes: Vec<String>,
    /// Where the weights come from; `None` for those built into the program.
    pub path: Option<PathBuf>,
    /// SHA-256 of the weights file, hexadecimal; with a mean file `<that> mean <SHA-256 of the mean file>`. Empty for
    /// a network that comes from no file.
    pub sha256: String,
}

/// Weights and biases of one layer, row-major, of the shapes that [`Layer`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Network {
    /// A network from its parts, checked to fit together.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the layer that cannot take its input, or the parameters, mean or classes whose number is
    /// not what the layers need; also if the list does not end in its only softmax.
    pub fn new(
        name: &str,
        input: Shape,
        preprocess: Preprocess,
        layers: Vec<Layer>,
        parameters: Vec<Parameters>,
        classes: Vec<String>,
    ) -> Result<Network> {
        let network = Network {
            name: name.to_string(),
            input,
            preprocess,
            layers,
            parameters,
            classes,
            path: None,
            sha256: String::new(),
        };
        network.check().map_err(|reason| Error::Usage(format!("network {name:?}: {reason}")))?;
        Ok(network)
    }

    fn check(&self) -> Result<(), String> {
        let shapes = shapes(self.input, &self.layers)?;
        let softmaxes = self.layers.iter().filter(|layer| **layer == Layer::Softmax).count();
        if self.layers.last() != Some(&Layer::Softmax) || softmaxes != 1 {
            return Err("the last layer, and no other, must be the softmax".to_string());
        }
        let outputs = shapes[shapes.len() - 1].len();
        if self.classes.len() != outputs {
            return Err(format!("{} class names for {outputs} outputs", self.classes.len()));
        }
        let colours = if self.preprocess.channel_order == ChannelOrder::Grey { 1 } else { 3 };
        if self.input.channels != colours {
            return Err(format!(
                "channel order {:?} with {} input channels",
                self.preprocess.channel_order, self.input.channels
            ));
        }
        let mean = self.preprocess.mean.len();
        if mean != 0 && mean != self.input.len() {
            return Err(format!("the mean has {mean} values, the input {}", self.input.len()));
        }
        let wanted: Vec<_> =
            self.layers.iter().zip(&shapes).filter_map(|(layer, &input)| layer.weight(input)).collect();
        if wanted.len() != self.parameters.len() {
            return Err(format!(
                "{} sets of parameters for {} layers that have some",
                self.parameters.len(),
                wanted.len()
            ));
        }
        for ((name, shape), parameters) in wanted.iter().zip(&self.parameters) {
            let (weights, biases) = (shape.iter().product::<usize>(), shape[0]);
            if parameters.weight.len() != weights || parameters.bias.len() != biases {
                return Err(format!(
                    "layer {name:?} has {} weights and {} biases, it needs {weights} and {biases}",
                    parameters.weight.len(),
                    parameters.bias.len()
                ));
            }
        }
        Ok(())
    }

    /// Bytes of the parameters and the mean.
    pub fn bytes(&self) -> usize {
        let parameters = self.parameters.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
        parameters.chain([&self.preprocess.mean]).map(|values| size_of_val(&values[..])).sum()
    }

    /// The input's shape, then that of each layer's output.
    pub fn shapes(&self) -> Vec<Shape> {
        shapes(self.input, &self.layers).expect("checked by Network::new")
    }
}

/// `input`, then the shape of each layer's output.
///
/// # Errors
/// The first layer that cannot take what the one before it gives, and why.
pub fn shapes(input: Shape, layers: &[Layer]) -> Result<Vec<Shape>, String> {
    if input.is_empty() {
        return Err(format!("the input {input} is empty"));
    }
    let mut shapes = vec![input];
    for (index, layer) in layers.iter().enumerate() {
        let output = layer.output(shapes[index]).map_err(|reason| format!("layer {index}, {layer:?}: {reason}"))?;
        shapes.push(output);
    }
    Ok(shapes)
}
