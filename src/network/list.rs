//! Layer lists: networks as TOML files. The built-in ones stand in lists/, in the form in which a user writes one.
//!
//! ```toml
//! name = "tiny"
//! channel_order = "RGB"                # grey, RGB or BGR: what the input channels are
//! image = 36                           # side of the images that it is shown
//! crop = 32                            # side of the central part that it sees [default: image]
//! mean = [123.7, 116.3, 103.5]         # subtracted from the pixels, 0 to 255, one an input channel [default: nothing]
//! scale = 0.00392156862745098          # what they are multiplied by then: a number, or one an input channel [default: 1]
//! classes = 10
//!
//! layers = [
//!   { name = "conv1", type = "convolution", outputs = 16, kernel = 3, padding = 1 },
//!   { name = "relu1", type = "relu" },
//!   { name = "left", type = "max-pool", inputs = ("relu1"), kernel = 2, stride = 2, rounding = "ceil" },
//!   { name = "right", type = "average-pool", inputs = ("relu1"), kernel = 2, stride = 2, rounding = "ceil" },
//!   { name = "both", type = "concat", inputs = ["left", "right"] },
//!   { name = "fc", type = "dense", outputs = "classes" },
//!   { name = "prob", type = "softmax" },
//! ]
//! ```
//!
//! | type | keys |
//! |---|---|
//! | `convolution` | `outputs`, `kernel`, `stride` (1), `padding` (0), `groups` (1) |
//! | `relu` | |
//! | `max-pool` | `kernel`, `stride` (1), `padding` (0), `rounding` |
//! | `average-pool` | the same, and `count_padding` [true]: whether the divisor counts the padding's positions, as Caffe's does |
//! | `lrn` | across channels: `size`, `alpha` (divided by the size, as Caffe does), `beta` (0.75), `k` (1) |
//! | `dense` | `outputs` |
//! | `concat` | `inputs`, two or more |
//! | `softmax` | the last layer, and no other |
//!
//! A layer takes what the one before it gives, or what its `inputs` name: layers before it, or `input`, which is the network's.
//! `outputs` is a number, or `"classes"`. [`Operation`] says what each type computes. A weights file may say otherwise than the list
//! about everything above `layers`: see [`weights`](mod@super::weights).

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{ChannelOrder, Layer, Operation, Rounding, Shape, Window, shapes};
use crate::error::{Error, Result, one_line};

/// The largest list that is read; GoogLeNet's has 15 kB.
const MAX_BYTES: u64 = 1 << 20;

/// The name by which a layer takes the network's input.
const INPUT: &str = "input";

/// Name, other names, and text of each list that the program has.
const BUILT_IN: [(&str, &[&str], &str); 9] = [
    ("lenet", &["caffe-lenet"], include_str!("lists/lenet.toml")),
    ("caffenet", &["bvlc_reference_caffenet"], include_str!("lists/caffenet.toml")),
    ("bvlc-alexnet", &["bvlc_alexnet"], include_str!("lists/bvlc-alexnet.toml")),
    ("torchvision-alexnet", &["torchvision_alexnet"], include_str!("lists/torchvision-alexnet.toml")),
    ("squeezenet", &["SqueezeNet v1.0"], include_str!("lists/squeezenet.toml")),
    ("squeezenet-1.1", &["squeezenet_v1.1"], include_str!("lists/squeezenet-1.1.toml")),
    ("torchvision-squeezenet", &["squeezenet1_0"], include_str!("lists/torchvision-squeezenet.toml")),
    ("bvlc-googlenet", &["bvlc_googlenet"], include_str!("lists/bvlc-googlenet.toml")),
    ("torchvision-googlenet", &["torchvision_googlenet"], include_str!("lists/torchvision-googlenet.toml")),
];

/// A layer list, and how images come to the network unless its weights file says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub name: String,
    /// Side of the images that the network is shown, and of the central part that it sees.
    pub image: usize,
    pub crop: usize,
    pub channel_order: ChannelOrder,
    /// See [`super::Preprocess`].
    pub scale: [f32; 3],
    /// One an input channel, or empty.
    pub mean: Vec<f32>,
    pub classes: usize,
    /// Of the file, hexadecimal; `None` for a list that the program has.
    pub sha256: Option<String>,
    layers: Vec<Layer>,
    /// Which of them have an output a class.
    of_classes: Vec<usize>,
}

impl List {
    /// The list that the program has under `name`, upper or lower case.
    pub fn built_in(name: &str) -> Option<List> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let (_, _, text) =
            BUILT_IN.iter().find(|(known, others, _)| is(known) || others.iter().any(|other| is(other)))?;
        Some(List::parse(text).expect("built-in lists are right"))
    }

    /// The names of the lists that the program has.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, ..)| *name)
    }

    /// The list `what` names: one that the program has, or a file.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is neither; those of [`List::load`].
    pub fn find(what: &Path) -> Result<List> {
        match what.to_str().and_then(List::built_in) {
            Some(list) => Ok(list),
            None if what.extension().is_none() && !what.exists() => Err(Error::Usage(format!(
                "network {:?} is not known; wanted a layer list (FILE.toml) or one of: {}",
                what.display().to_string(),
                List::names().collect::<Vec<_>>().join(", ")
            ))),
            None => List::load(what),
        }
    }

    /// Reads a user's list.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`], with the line or the layer, if it is no list or its layers do not
    /// fit together.
    pub fn load(path: &Path) -> Result<List> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::file(path, format!("larger than {MAX_BYTES} bytes: no layer list")));
        }
        let text = str::from_utf8(&bytes).map_err(|_| Error::file(path, "not a text: wanted a layer list (TOML)"))?;
        List::of_user(text).map_err(|reason| Error::file(path, reason))
    }

    /// [`List::parse`] for a user's list.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn of_user(text: &str) -> Result<List, String> {
        let sha256 = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(List { sha256: Some(sha256), ..List::parse(text)? })
    }

    /// The list that `text` is.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn parse(text: &str) -> Result<List, String> {
        let raw: RawList = toml::from_str(text).map_err(|error| {
            let before = &text.as_bytes()[..error.span().map_or(0, |span| span.start)];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("line {line}: not a layer list: {}", one_line(error.message()))
        })?;
        let list = raw.list()?;
        let shapes = shapes(list.input(), &list.layers(list.classes))?;
        match shapes[shapes.len() - 1].len() {
            outputs if outputs == list.classes => Ok(list),
            outputs => Err(format!("the last layer gives {outputs} values, wanted {}, one a class", list.classes)),
        }
    }

    /// Shape of the network's input.
    pub fn input(&self) -> Shape {
        Shape { channels: self.channel_order.channels(), height: self.crop, width: self.crop }
    }

    /// The layers, for `n_classes` classes.
    pub fn layers(&self, n_classes: usize) -> Vec<Layer> {
        let mut layers = self.layers.clone();
        for &index in &self.of_classes {
            if let Operation::Conv2d { out_channels: outputs, .. } | Operation::Dense { out_features: outputs } =
                &mut layers[index].operation
            {
                *outputs = n_classes;
            }
        }
        layers
    }

    /// The lists that the program has all of whose tensors `has`.
    pub fn with_tensors(has: impl Fn(&str) -> bool) -> Vec<List> {
        let lists = BUILT_IN.iter().map(|(_, _, text)| List::parse(text).expect("built-in lists are right"));
        let named = |layer: &Layer| !layer.operation.has_weights() || has(&format!("{}.weight", layer.name));
        lists.filter(|list| list.layers.iter().all(named)).collect()
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    name: String,
    channel_order: RawOrder,
    image: usize,
    crop: Option<usize>,
    mean: Option<Vec<f32>>,
    scale: Option<RawScale>,
    classes: usize,
    layers: Vec<RawLayer>,
}

#[derive(Deserialize)]
enum RawOrder {
    #[serde(rename = "grey")]
    Grey,
    #[serde(rename = "RGB")]
    Rgb,
    #[serde(rename = "BGR")]
    Bgr,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or a list of one an input channel")]
enum RawScale {
    One(f32),
    Each(Vec<f32>),
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(untagged, expecting = "outputs: a number, or \"classes\"")]
enum Outputs {
    Number(usize),
    Word(Classes),
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
enum Classes {
    #[serde(rename = "classes")]
    Classes,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Type {
    Convolution,
    Relu,
    MaxPool,
    AveragePool,
    Lrn,
    Dense,
    Concat,
    Softmax,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLayer {
    name: String,
    #[serde(rename = "type")]
    kind: Type,
    inputs: Option<Vec<String>>,
    outputs: Option<Outputs>,
    kernel: Option<usize>,
    stride: Option<usize>,
    padding: Option<usize>,
    groups: Option<usize>,
    rounding: Option<Rounding>,
    count_padding: Option<bool>,
    size: Option<usize>,
    alpha: Option<f32>,
    beta: Option<f32>,
    k: Option<f32>,
}

impl RawList {
    fn list(self) -> Result<List, String> {
        let channel_order = match self.channel_order {
            RawOrder::Grey => ChannelOrder::Grey,
            RawOrder::Rgb => ChannelOrder::Rgb,
            RawOrder::Bgr => ChannelOrder::Bgr,
        };
        let channels = channel_order.channels();
        let crop = self.crop.unwrap_or(self.image);
        if crop > self.image {
            return Err(format!("the crop {crop} is larger than the image {}", self.image));
        }
        if self.classes == 0 {
            return Err("classes is 0, wanted at least 1".to_string());
        }
        let scale = match self.scale {
            None => [1.0; 3],
            Some(RawScale::One(scale)) => [scale; 3],
            Some(RawScale::Each(scales)) => scale_of(&scales, channels)
                .ok_or_else(|| format!("scale has {} numbers, wanted {channels}", scales.len()))?,
        };
        if scale.iter().any(|&scale| !(scale.is_finite() && scale > 0.0)) {
            return Err("scale: wanted numbers above 0".to_string());
        }
        let mean = self.mean.unwrap_or_default();
        if (!mean.is_empty() && mean.len() != channels) || mean.iter().any(|mean| !mean.is_finite()) {
            return Err(format!("mean: wanted {channels} numbers, one an input channel"));
        }

        let mut values = HashMap::from([(INPUT.to_string(), 0)]);
        let (mut layers, mut of_classes) = (Vec::new(), Vec::new());
        for (index, raw) in self.layers.into_iter().enumerate() {
            let name = raw.name.clone();
            let fail = |reason: String| format!("layer {name:?}: {reason}");
            if name.is_empty() || name.chars().any(char::is_control) || name.len() > 200 {
                return Err(format!("layer {index} has the name {:?}, wanted 1 to 200 bytes of text", one_line(&name)));
            }
            let inputs = match &raw.inputs {
                None => vec![index],
                Some(names) => {
                    let value = |input: &String| {
                        values.get(input).copied().ok_or_else(|| {
                            fail(format!("its input {:?} is no layer before it, nor {INPUT:?}", one_line(input)))
                        })
                    };
                    names.iter().map(value).collect::<Result<_, _>>()?
                }
            };
            if raw.outputs == Some(Outputs::Word(Classes::Classes)) {
                of_classes.push(index);
            }
            let operation = raw.operation(self.classes).map_err(fail)?;
            if values.insert(name.clone(), index + 1).is_some() {
                return Err(format!("the name {name:?} stands for two layers, or for the network's input"));
            }
            layers.push(Layer { name, inputs, operation });
        }
        super::check_graph(&layers)?;
        Ok(List {
            name: self.name,
            image: self.image,
            crop,
            channel_order,
            scale,
            mean,
            classes: self.classes,
            sha256: None,
            layers,
            of_classes,
        })
    }
}

/// `scales`, one an input channel, or one for all.
pub(super) fn scale_of(scales: &[f32], channels: usize) -> Option<[f32; 3]> {
    match *scales {
        [one] => Some([one; 3]),
        [a, b, c] if channels == 3 => Some([a, b, c]),
        _ => None,
    }
}

impl RawLayer {
    /// What it computes; `"classes"` are `n_classes`.
    fn operation(mut self, n_classes: usize) -> Result<Operation, String> {
        let outputs = |outputs: Option<Outputs>| {
            need("outputs", outputs).map(|outputs| match outputs {
                Outputs::Number(outputs) => outputs,
                Outputs::Word(Classes::Classes) => n_classes,
            })
        };
        let operation = match self.kind {
            Type::Convolution => Operation::Conv2d {
                out_channels: outputs(self.outputs.take())?,
                kernel: need("kernel", self.kernel.take())?,
                stride: self.stride.take().unwrap_or(1),
                padding: self.padding.take().unwrap_or(0),
                groups: self.groups.take().unwrap_or(1),
            },
            Type::Dense => Operation::Dense { out_features: outputs(self.outputs.take())? },
            Type::MaxPool => Operation::MaxPool(self.window()?),
            Type::AveragePool => Operation::AveragePool {
                window: self.window()?,
                count_padding: self.count_padding.take().unwrap_or(true),
            },
            Type::Lrn => {
                let beta = need("beta", self.beta.take())?;
                if beta != 0.75 {
                    return Err(format!("beta is {beta}, there is 0.75"));
                }
                Operation::Lrn {
                    size: need("size", self.size.take())?,
                    alpha: need("alpha", self.alpha.take())?,
                    k: self.k.take().unwrap_or(1.0),
                }
            }
            Type::Relu => Operation::Relu,
            Type::Concat => Operation::Concat,
            Type::Softmax => Operation::Softmax,
        };
        let surplus = [
            ("outputs", self.outputs.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("padding", self.padding.is_some()),
            ("groups", self.groups.is_some()),
            ("rounding", self.rounding.is_some()),
            ("count_padding", self.count_padding.is_some()),
            ("size", self.size.is_some()),
            ("alpha", self.alpha.is_some()),
            ("beta", self.beta.is_some()),
            ("k", self.k.is_some()),
        ];
        match surplus.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("a layer of type {:?} has no key {key:?}", operation.type_name())),
            None => Ok(operation),
        }
    }

    fn window(&mut self) -> Result<Window, String> {
        Ok(Window {
            kernel: need("kernel", self.kernel.take())?,
            stride: self.stride.take().unwrap_or(1),
            padding: self.padding.take().unwrap_or(0),
            rounding: need("rounding", self.rounding.take())?,
        })
    }
}

fn need<T>(key: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("lacks the key {key:?}"))
}
