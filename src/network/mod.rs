//! Networks as lists of layers, with weights from safetensors.

pub mod committee;
pub mod crops;
pub mod gradient;
pub mod layer;
pub mod lenet;
pub mod list;
pub mod random;
pub mod weights;

pub use committee::{Combine, Committee};
pub use crops::{Crop, Crops};
pub use layer::{Layer, Operation, Rounding, Window};

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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

    /// [`Shape::len`], or `None` if no usize holds it.
    pub fn checked_len(&self) -> Option<usize> {
        self.channels.checked_mul(self.height)?.checked_mul(self.width)
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

/// Which colour each input channel is. Images are grey, or RGB with the channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    Grey,
    Rgb,
    Bgr,
}

impl ChannelOrder {
    /// Channels of an image.
    pub fn channels(self) -> usize {
        if self == ChannelOrder::Grey { 1 } else { 3 }
    }
}

impl fmt::Display for ChannelOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelOrder::Grey => "grey",
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
        })
    }
}

/// What happens to an 8-bit image before the first layer: `(pixel - mean) * scale` in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// One an input channel, in the network's channel order; a grey network uses the first.
    pub scale: [f32; 3],
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
    /// Of the images that the network is shown; it sees the central part that is as large as its input. As `input` where it sees
    /// all.
    pub image: Shape,
    /// The parts of an image that it judges, whose probabilities' mean is its answer. None: it is given what it sees, of the shape
    /// `input`.
    pub crops: Vec<Crop>,
    pub preprocess: Preprocess,
    pub layers: Vec<Layer>,
    /// Per layer with parameters, in order.
    pub parameters: Vec<Parameters>,
    /// Name of each class.
    pub classes: Vec<String>,
    /// Where the weights come from; `None` for those built into the program.
    pub path: Option<PathBuf>,
    /// SHA-256 of the weights file, hexadecimal; with a mean file `<that> mean <SHA-256 of the mean file>`. Empty for
    /// a network that comes from no file. With a layer list of the user's own, ` network <SHA-256 of that file>` follows.
    pub sha256: String,
    /// How the weights were drawn, if nobody trained them.
    pub random: Option<String>,
    /// Those that judge with it, if it does not judge alone.
    pub committee: Option<Committee>,
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
            image: input,
            crops: Vec::new(),
            preprocess,
            layers,
            parameters,
            classes,
            path: None,
            sha256: String::new(),
            random: None,
            committee: None,
        };
        network.check().map_err(|reason| Error::Usage(format!("network {name:?}: {reason}")))?;
        Ok(network)
    }

    fn check(&self) -> Result<(), String> {
        let shapes = shapes(self.input, &self.layers)?;
        check_graph(&self.layers)?;
        let outputs = shapes[shapes.len() - 1].len();
        if self.classes.len() != outputs {
            return Err(format!("{} class names for {outputs} outputs", self.classes.len()));
        }
        let preprocess = &self.preprocess;
        if self.input.channels != preprocess.channel_order.channels() {
            return Err(format!(
                "channel order {} with {} input channels",
                preprocess.channel_order, self.input.channels
            ));
        }
        let mean = preprocess.mean.len();
        if mean != 0 && mean != self.input.len() {
            return Err(format!("the mean has {mean} values, the input {}", self.input.len()));
        }
        let wanted: Vec<_> = weights(&self.layers, &shapes).collect();
        if wanted.len() != self.parameters.len() {
            return Err(format!(
                "{} sets of parameters for {} layers that have some",
                self.parameters.len(),
                wanted.len()
            ));
        }
        let mut names = HashSet::new();
        for ((name, shape), parameters) in wanted.iter().zip(&self.parameters) {
            if !names.insert(name) {
                return Err(format!("two layers with weights have the name {name:?}"));
            }
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

    /// The same network, given whole images of which it judges `crops`. Where it sees all of an image, one crop is all there is.
    ///
    /// # Errors
    /// [`Error::Usage`] if it sees all of an image and is to judge ten parts.
    pub fn judging(self, crops: Crops) -> Result<Network> {
        let crops_asked = crops;
        let crops = match (crops, self.image == self.input) {
            (Crops::One, true) => Vec::new(),
            (Crops::Ten, true) => {
                let Shape { height, width, .. } = self.input;
                return Err(Error::Usage(format!(
                    "crops: got 10, wanted 1: the network {:?} sees all {width}x{height} pixels of an image",
                    self.name
                )));
            }
            (crops, false) => crops.within(self.image, self.input),
        };
        // Those beside it are shown the same images.
        let committee = self.committee.map(|Committee { others, rule }| {
            let others = others.into_iter().map(|other| Arc::unwrap_or_clone(other).judging(crops_asked).map(Arc::new));
            Ok(Committee { others: others.collect::<Result<_>>()?, rule })
        });
        Ok(Network { crops, committee: committee.transpose()?, ..self })
    }

    /// The shape of an image that it is given.
    pub fn given(&self) -> Shape {
        if self.crops.is_empty() { self.input } else { self.image }
    }

    /// Parts of an image that it judges.
    pub fn n_crops(&self) -> usize {
        self.crops.len().max(1)
    }

    /// Bytes of the parameters and the mean, of all that judge.
    pub fn bytes(&self) -> usize {
        let bytes = |network: &Network| -> usize {
            let parameters = network.parameters.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
            parameters.chain([&network.preprocess.mean]).map(|values| size_of_val(&values[..])).sum()
        };
        self.judges().map(bytes).sum()
    }

    /// The input's shape, then that of each layer's output: the shape of each value that a layer may take.
    pub fn shapes(&self) -> Vec<Shape> {
        shapes(self.input, &self.layers).expect("checked by Network::new")
    }

    /// Multiply-adds of one crop, the padding's included. Pooling, rectifiers, normalisation, softmax and preprocessing count for
    /// nothing.
    pub fn multiply_adds(&self) -> u64 {
        let shapes = self.shapes();
        let layers = self.layers.iter().zip(&shapes[1..]);
        layers.map(|(layer, &output)| layer.multiply_adds(shapes[layer.inputs[0]], output)).sum()
    }
}

/// `input`, then the shape of each layer's output.
///
/// # Errors
/// The first layer that cannot take what it is to take, and why.
pub fn shapes(input: Shape, layers: &[Layer]) -> Result<Vec<Shape>, String> {
    match input.checked_len() {
        Some(0) => return Err(format!("the input {input} is empty")),
        Some(len) if len <= layer::MAX_VALUES => {}
        _ => return Err(format!("the input {input} has more than {} values", layer::MAX_VALUES)),
    }
    let mut shapes = vec![input];
    for (index, layer) in layers.iter().enumerate() {
        let Layer { name, inputs, operation } = layer;
        if let Some(late) = inputs.iter().find(|&&value| value > index) {
            return Err(format!("layer {name:?} takes value {late}, which comes after it"));
        }
        let from: Vec<Shape> = inputs.iter().map(|&value| shapes[value]).collect();
        let output = layer.output(&from).map_err(|reason| {
            const SHOWN: usize = 4;
            let shown: Vec<String> = from.iter().take(SHOWN).map(Shape::to_string).collect();
            let more = if from.len() > SHOWN { format!(" and {} more", from.len() - SHOWN) } else { String::new() };
            format!("layer {name:?} ({} of {}{more}): {reason}", operation.type_name(), shown.join(", "))
        })?;
        shapes.push(output);
    }
    Ok(shapes)
}

/// Name and shape of the weights of each layer that has some, in order; `shapes` are those of [`shapes()`].
pub fn weights<'a>(layers: &'a [Layer], shapes: &'a [Shape]) -> impl Iterator<Item = (&'a str, Vec<usize>)> {
    layers.iter().filter_map(|layer| layer.weight(shapes[*layer.inputs.first()?]))
}

/// Whether each value is taken by some layer, and the softmax gives the last.
fn check_graph(layers: &[Layer]) -> Result<(), String> {
    let softmaxes = layers.iter().filter(|layer| layer.operation == Operation::Softmax).count();
    if softmaxes != 1 || layers.last().is_none_or(|layer| layer.operation != Operation::Softmax) {
        return Err("the last layer, and no other, must be the softmax".to_string());
    }
    let mut taken = vec![false; layers.len() + 1];
    layers.iter().flat_map(|layer| &layer.inputs).for_each(|&value| taken[value] = true);
    match taken[..layers.len()].iter().position(|taken| !taken) {
        None => Ok(()),
        Some(0) => Err("no layer takes the network's input".to_string()),
        Some(value) => Err(format!("no layer takes what layer {:?} gives", layers[value - 1].name)),
    }
}
