//! Caffe's `.caffemodel`: a network with its weights, in three forms of layers; and `.binaryproto`, a mean image.
//!
//! Names and numbers of fields are those of src/caffe/proto/caffe.proto in BVLC/caffe, what a field means in older files is from
//! src/caffe/util/upgrade_proto.cpp. NetParameter: `layers` (2) holds V1LayerParameter, of which each `layer` (1) is, if it is there,
//! V0LayerParameter; `layer` (100) holds LayerParameter.

use super::graph::{Graph, MAX_EDGES, MAX_NODES, Node, Op, Source, Window};
use super::tensor::{Tensor, Type};
use super::wire::{fields, size};
use crate::network::weights::tuple;
use std::borrow::Cow;
use std::collections::HashMap;

/// The most blobs of a layer. A convolution has two.
const MAX_BLOBS: usize = 8;

/// A layer of any of the three forms.
#[derive(Default)]
struct Layer<'a> {
    name: &'a str,
    kind: String,
    bottoms: Vec<&'a str>,
    tops: Vec<&'a str>,
    blobs: Vec<&'a [u8]>,
    parameters: Parameters,
}

/// The parameters of layers that we have, with Caffe's defaults.
struct Parameters {
    pads: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: i64,
    groups: usize,
    pool: i64,
    global: bool,
    floor: bool,
    lrn: (usize, f32, f32, f32),
    within_channel: bool,
    slope: f32,
    /// Of a concatenation, a softmax or an inner product.
    axis: i64,
    transpose: bool,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters {
            pads: [0; 2],
            kernel: [0; 2],
            stride: [1; 2],
            dilation: 1,
            groups: 1,
            pool: 0,
            global: false,
            floor: false,
            lrn: (5, 1.0, 0.75, 1.0),
            within_channel: false,
            slope: 0.0,
            axis: 1,
            transpose: false,
        }
    }
}

/// Reads a `.caffemodel`.
///
/// # Errors
/// Where it breaks off or makes no sense.
pub fn read(bytes: &[u8]) -> Result<Graph<'_>, String> {
    let mut layers = Vec::new();
    let mut inputs = Vec::new();
    for field in fields(bytes) {
        match field? {
            (2, value) => layers.push(layer_v1(value.bytes()?).map_err(|reason| at(layers.len(), &reason))?),
            (100, value) => layers.push(layer(value.bytes()?).map_err(|reason| at(layers.len(), &reason))?),
            (3, value) => inputs.push(value.text()?),
            _ => {}
        }
        if layers.len() > MAX_NODES || inputs.len() > MAX_EDGES {
            return Err(format!("more than {MAX_NODES} layers or {MAX_EDGES} inputs"));
        }
    }
    let mut graph = Graph::default();
    let mut blobs: HashMap<&str, Source> = inputs.into_iter().map(|input| (input, Source::Input)).collect();
    for layer in layers {
        let source = if layer.bottoms.is_empty() { Source::Input } else { Source::Node(graph.nodes.len()) };
        let shown = layer.name.to_string();
        if source != Source::Input {
            graph.nodes.push(node(&layer, &blobs).map_err(|reason| format!("layer {shown:?}: {reason}"))?);
        }
        // In place, a top takes the place of the bottom of the same name.
        blobs.extend(layer.tops.iter().map(|&top| (top, source.clone())));
    }
    // A file from training has losses in the places of softmaxes; the main one is last.
    graph.ends =
        (0..graph.nodes.len()).rev().filter(|&node| graph.nodes[node].op == Op::Softmax).map(Source::Node).collect();
    Ok(graph)
}

/// Reads a `.binaryproto`, a mean image (channels, height, width) in the channel order of the network.
///
/// # Errors
/// Where it breaks off or makes no sense.
pub fn read_mean(bytes: &[u8]) -> Result<Tensor<'_>, String> {
    let mean = blob("mean", bytes)?;
    let reason = format!("a blob of shape {}, wanted a mean image (1, channels, height, width)", tuple(&mean.shape));
    match mean.shape[..] {
        [1, channels, height, width] => mean.reshaped(&[channels, height, width]).ok_or(reason),
        [_, _, _] => Ok(mean),
        _ => Err(reason),
    }
}

fn at(layer: usize, reason: &str) -> String {
    format!("layer {layer} of the file: {reason}")
}

/// A `LayerParameter`.
fn layer(bytes: &[u8]) -> Result<Layer<'_>, String> {
    let mut layer = Layer::default();
    for field in fields(bytes) {
        match field? {
            (1, value) => layer.name = value.text()?,
            (2, value) => layer.kind = value.text()?.to_string(),
            (3, value) => layer.bottoms.push(value.text()?),
            (4, value) => layer.tops.push(value.text()?),
            (7, value) => layer.blobs.push(value.bytes()?),
            (104, value) => layer.parameters.concat(value.bytes()?)?,
            (106, value) => layer.parameters.convolution(value.bytes()?)?,
            (117, value) => layer.parameters.inner_product(value.bytes()?)?,
            (118, value) => layer.parameters.lrn(value.bytes()?)?,
            (121, value) => layer.parameters.pooling(value.bytes()?)?,
            (123, value) => layer.parameters.relu(value.bytes()?)?,
            (125, value) => layer.parameters.softmax(value.bytes()?)?,
            _ => {}
        }
        layer.check()?;
    }
    Ok(layer)
}

/// A `V1LayerParameter`.
fn layer_v1(bytes: &[u8]) -> Result<Layer<'_>, String> {
    let mut layer = Layer::default();
    for field in fields(bytes) {
        match field? {
            (1, value) => layer_v0(value.bytes()?, &mut layer)?,
            (2, value) => layer.bottoms.push(value.text()?),
            (3, value) => layer.tops.push(value.text()?),
            (4, value) => layer.name = value.text()?,
            (5, value) => layer.kind = kind_v1(value.int()?),
            (6, value) => layer.blobs.push(value.bytes()?),
            (9, value) => layer.parameters.concat(value.bytes()?)?,
            (10, value) => layer.parameters.convolution(value.bytes()?)?,
            (17, value) => layer.parameters.inner_product(value.bytes()?)?,
            (18, value) => layer.parameters.lrn(value.bytes()?)?,
            (19, value) => layer.parameters.pooling(value.bytes()?)?,
            (30, value) => layer.parameters.relu(value.bytes()?)?,
            (39, value) => layer.parameters.softmax(value.bytes()?)?,
            _ => {}
        }
        layer.check()?;
    }
    Ok(layer)
}

/// A `V0LayerParameter`, whose connections are those of the layer around it.
fn layer_v0<'a>(bytes: &'a [u8], layer: &mut Layer<'a>) -> Result<(), String> {
    for field in fields(bytes) {
        let parameters = &mut layer.parameters;
        match field? {
            (1, value) => layer.name = value.text()?,
            (2, value) => layer.kind = kind_v0(value.text()?),
            (7, value) => parameters.pads = [value.size()?; 2],
            (8, value) => parameters.kernel = [value.size()?; 2],
            (9, value) => parameters.groups = value.size()?,
            (10, value) => parameters.stride = [value.size()?; 2],
            (11, value) => parameters.pool = value.int()?,
            (13, value) => parameters.lrn.0 = value.size()?,
            (14, value) => parameters.lrn.1 = value.float()?,
            (15, value) => parameters.lrn.2 = value.float()?,
            (22, value) => parameters.lrn.3 = value.float()?,
            (50, value) => layer.blobs.push(value.bytes()?),
            (65, value) => parameters.axis = value.int()?,
            _ => {}
        }
        layer.check()?;
    }
    Ok(())
}

/// The name that a layer type of V1 got later.
fn kind_v1(number: i64) -> String {
    match number {
        3 => "Concat",
        4 => "Convolution",
        6 => "Dropout",
        8 => "Flatten",
        14 => "InnerProduct",
        15 => "LRN",
        17 => "Pooling",
        18 => "ReLU",
        20 => "Softmax",
        21 => "SoftmaxWithLoss",
        22 => "Split",
        _ => return format!("V1LayerParameter type {number}"),
    }
    .to_string()
}

/// The name that a layer type of V0 got later.
fn kind_v0(name: &str) -> String {
    match name {
        "concat" => "Concat",
        "conv" => "Convolution",
        "dropout" => "Dropout",
        "flatten" => "Flatten",
        "innerproduct" => "InnerProduct",
        "lrn" => "LRN",
        "pool" => "Pooling",
        "relu" => "ReLU",
        "softmax" => "Softmax",
        "softmax_loss" => "SoftmaxWithLoss",
        "split" => "Split",
        other => other,
    }
    .to_string()
}

impl Layer<'_> {
    fn check(&self) -> Result<(), String> {
        if self.bottoms.len() > MAX_EDGES || self.tops.len() > MAX_EDGES || self.blobs.len() > MAX_BLOBS {
            return Err(format!("more than {MAX_EDGES} bottoms or tops, or more than {MAX_BLOBS} blobs"));
        }
        Ok(())
    }
}

/// Both dimensions of a `repeated uint32`: a number for both, or one each; `default` if there is none.
fn both(list: &[i64], default: usize) -> Result<[usize; 2], String> {
    match *list {
        [] => Ok([default; 2]),
        [one] => Ok([size(one)?; 2]),
        [rows, columns] => Ok([size(rows)?, size(columns)?]),
        _ => Err(format!("{} dimensions, wanted 2", list.len())),
    }
}

impl Parameters {
    fn convolution(&mut self, bytes: &[u8]) -> Result<(), String> {
        const MOST: usize = 2;
        let [mut pads, mut kernel, mut stride, mut dilation] = [const { Vec::new() }; 4];
        let mut one = [[None; 2]; 3]; // pad_h, pad_w; kernel_h, kernel_w; stride_h, stride_w
        for field in fields(bytes) {
            match field? {
                (3, value) => value.ints(&mut pads, MOST)?,
                (4, value) => value.ints(&mut kernel, MOST)?,
                (5, value) => self.groups = value.size()?,
                (6, value) => value.ints(&mut stride, MOST)?,
                (number @ 9..=14, value) => {
                    one[(number as usize - 9) / 2][(number as usize - 9) % 2] = Some(value.size()?)
                }
                (16, value) => self.axis = value.int()?,
                (18, value) => value.ints(&mut dilation, MOST)?,
                _ => {}
            }
        }
        let given = |list: &[i64], one: [Option<usize>; 2], default| {
            both(list, default).map(|[rows, columns]| [one[0].unwrap_or(rows), one[1].unwrap_or(columns)])
        };
        self.pads = given(&pads, one[0], 0)?;
        self.kernel = given(&kernel, one[1], 0)?;
        self.stride = given(&stride, one[2], 1)?;
        self.dilation = dilation.into_iter().fold(1, i64::max);
        Ok(())
    }

    fn pooling(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (1, value) => self.pool = value.int()?,
                (2, value) => self.kernel = [value.size()?; 2],
                (3, value) => self.stride = [value.size()?; 2],
                (4, value) => self.pads = [value.size()?; 2],
                (5, value) => self.kernel[0] = value.size()?,
                (6, value) => self.kernel[1] = value.size()?,
                (7, value) => self.stride[0] = value.size()?,
                (8, value) => self.stride[1] = value.size()?,
                (9, value) => self.pads[0] = value.size()?,
                (10, value) => self.pads[1] = value.size()?,
                (12, value) => self.global = value.int()? != 0,
                (13, value) => self.floor = value.int()? == 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn lrn(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (1, value) => self.lrn.0 = value.size()?,
                (2, value) => self.lrn.1 = value.float()?,
                (3, value) => self.lrn.2 = value.float()?,
                (4, value) => self.within_channel = value.int()? == 1,
                (5, value) => self.lrn.3 = value.float()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn inner_product(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (5, value) => self.axis = value.int()?,
                (6, value) => self.transpose = value.int()? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn concat(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            if let (1 | 2, value) = field? {
                self.axis = value.int()?;
            }
        }
        Ok(())
    }

    fn softmax(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            if let (2, value) = field? {
                self.axis = value.int()?;
            }
        }
        Ok(())
    }

    fn relu(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in fields(bytes) {
            if let (1, value) = field? {
                self.slope = value.float()?;
            }
        }
        Ok(())
    }

    fn window(&self) -> Window {
        Window { kernel: self.kernel, stride: self.stride, before: self.pads, after: self.pads, ceil: false }
    }

    fn op(&self, kind: &str) -> Op {
        match kind {
            "Convolution" if self.dilation > 1 => Op::Other(format!("has dilation {}", self.dilation)),
            "Convolution" | "Concat" | "Softmax" | "SoftmaxWithLoss" | "InnerProduct" if self.axis != 1 => {
                Op::Other(format!("has axis {}", self.axis))
            }
            "Convolution" => Op::Conv { window: self.window(), groups: self.groups },
            "Pooling" if self.global && self.pool == 1 => Op::GlobalAveragePool,
            "Pooling" if self.global => Op::Other("pools globally, not by the average".to_string()),
            "Pooling" => {
                let window = Window { ceil: !self.floor, ..self.window() };
                match self.pool {
                    0 => Op::MaxPool(window),
                    1 => Op::AveragePool { window, padding_counts: true },
                    _ => Op::Other("pools by chance".to_string()),
                }
            }
            "LRN" if self.within_channel => Op::Other("normalises within channels".to_string()),
            "LRN" => {
                let (size, alpha, beta, k) = self.lrn;
                Op::Lrn { size, alpha, beta, k }
            }
            "ReLU" if self.slope != 0.0 => Op::Other(format!("has a negative slope of {}", self.slope)),
            "ReLU" => Op::Relu,
            "InnerProduct" => Op::Dense,
            "Concat" => Op::Concat,
            "Softmax" | "SoftmaxWithLoss" => Op::Softmax,
            "Dropout" | "Split" => Op::Pass,
            "Flatten" => Op::Flatten,
            "padding" => Op::Pad(self.pads[0]),
            _ => Op::Other("is of a type that we do not have".to_string()),
        }
    }
}

fn node<'a>(layer: &Layer<'a>, blobs: &HashMap<&str, Source>) -> Result<Node<'a>, String> {
    let source = |name: &&str| blobs.get(name).cloned().unwrap_or_else(|| Source::Nothing(name.to_string()));
    let mut inputs: Vec<Source> = layer.bottoms.iter().map(source).collect();
    let op = layer.parameters.op(&layer.kind);
    if op == Op::Softmax {
        inputs.truncate(1); // a loss has the labels beside
    }
    let mut parameters: Vec<Tensor> = Vec::new();
    if !layer.blobs.is_empty() && matches!(op, Op::Conv { .. } | Op::Dense) {
        for (bytes, what) in layer.blobs.iter().zip(["weight", "bias"]) {
            parameters.push(blob(&format!("{}.{what}", layer.name), bytes)?);
        }
        if layer.blobs.len() > 2 {
            return Err(format!("{} blobs, wanted weights and biases", layer.blobs.len()));
        }
        if op == Op::Dense && layer.parameters.transpose {
            parameters[0] = parameters[0].clone().transposed(); // only later files say so, whose blobs are matrices
        }
    }
    Ok(Node { name: layer.name.to_string(), kind: layer.kind.clone(), op, inputs, parameters })
}

/// A `BlobProto`.
fn blob<'a>(name: &str, bytes: &'a [u8]) -> Result<Tensor<'a>, String> {
    let (mut floats, mut doubles) = (Cow::Borrowed(&[][..]), Cow::Borrowed(&[][..]));
    let mut dimensions = Vec::new();
    let mut legacy = [0; 4]; // num, channels, height, width
    for field in fields(bytes) {
        match field? {
            (number @ 1..=4, value) => legacy[number as usize - 1] = value.int()?,
            (5, value) => value.words(&mut floats)?,
            (7, value) => {
                for field in fields(value.bytes()?) {
                    if let (1, value) = field? {
                        value.ints(&mut dimensions, 8)?;
                    }
                }
            }
            (8, value) => value.words(&mut doubles)?,
            _ => {} // 6 and 9 are gradients
        }
    }
    if legacy != [0; 4] {
        dimensions = legacy.to_vec();
    }
    let shape = dimensions.into_iter().map(size).collect::<Result<Vec<usize>, String>>()?;
    let (dtype, data) = if doubles.is_empty() { (Type::F32, floats) } else { (Type::F64, doubles) };
    Tensor::contiguous(name, shape, dtype, data)
}
