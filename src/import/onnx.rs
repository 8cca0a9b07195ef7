//! ONNX models: a graph of nodes, and initializers, which are its weights.
//!
//! Names and numbers of fields are those of onnx/onnx.proto, what operators and their attributes mean is from docs/Operators.md in onnx/onnx.

use super::graph::{Graph, MAX_EDGES, MAX_NODES, Node, Op, Source, Window};
use super::tensor::{Tensor, Type};
use super::wire::{Value, fields};
use std::borrow::Cow;
use std::collections::HashMap;

/// The most initializers; GoogLeNet has some 120.
const MAX_INITIALIZERS: usize = 4096;
/// The most attributes of a node, and integers of an attribute. A convolution has five attributes of up to four integers.
const MAX_ATTRIBUTES: usize = 32;

/// A `NodeProto`.
#[derive(Default)]
struct Raw<'a> {
    name: &'a str,
    kind: &'a str,
    domain: &'a str,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    attributes: HashMap<&'a str, Attribute<'a>>,
}

/// An `AttributeProto` of a type that our operators have.
#[derive(Default)]
struct Attribute<'a> {
    float: Option<f32>,
    int: Option<i64>,
    text: Option<&'a [u8]>,
    tensor: Option<&'a [u8]>,
    ints: Vec<i64>,
}

/// Reads an ONNX model.
///
/// # Errors
/// Where it breaks off or makes no sense, or what of it lies in another file.
pub fn read(bytes: &[u8]) -> Result<Graph<'_>, String> {
    let (mut graph, mut has_operators) = (None, false);
    for field in fields(bytes) {
        match field? {
            (7, value) => graph = Some(value.bytes()?),
            (8, _) => has_operators = true,
            _ => {}
        }
    }
    if !has_operators {
        return Err("an ONNX model that does not say which operators it has, or truncated".to_string());
    }
    let mut nodes = Vec::new();
    let mut initializers: HashMap<&str, Tensor> = HashMap::new();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for field in fields(graph.ok_or("an ONNX model without a graph, or truncated")?) {
        match field? {
            (1, value) => nodes.push(raw(value.bytes()?).map_err(|reason| format!("node {}: {reason}", nodes.len()))?),
            (5, value) => {
                let (name, tensor) = tensor(value.bytes()?)?;
                if initializers.insert(name, tensor).is_some() {
                    return Err(format!("initializer {name:?} is there twice"));
                }
            }
            (11, value) => inputs.push(value_name(value)?),
            (12, value) => outputs.push(value_name(value)?),
            _ => {}
        }
        if nodes.len() > MAX_NODES || initializers.len().max(inputs.len()).max(outputs.len()) > MAX_INITIALIZERS {
            return Err(format!("more than {MAX_NODES} nodes, or {MAX_INITIALIZERS} initializers, inputs or outputs"));
        }
    }

    let mut graph = Graph::default();
    // Models of IR version 3 list their initializers among their inputs.
    let mut values: HashMap<&str, Source> =
        inputs.into_iter().filter(|name| !initializers.contains_key(name)).map(|name| (name, Source::Input)).collect();
    for (index, raw) in nodes.iter().enumerate() {
        // Most exporters name no node: then it is called by its place.
        let name = if raw.name.is_empty() { format!("#{index}") } else { raw.name.to_string() };
        if let Some(tensor) = constant(raw, &initializers).map_err(|reason| format!("node {name:?}: {reason}"))? {
            initializers.extend(raw.outputs.first().map(|&output| (output, tensor)));
            continue;
        }
        let node = node(raw, name, &values, &initializers)?;
        let source = Source::Node(graph.nodes.len());
        // The second output of a dropout is its mask, which no network of ours takes.
        values.extend(raw.outputs.first().map(|&output| (output, source)));
        graph.nodes.push(node);
    }
    graph.ends =
        outputs.iter().map(|name| values.get(name).cloned().unwrap_or(Source::Nothing(name.to_string()))).collect();
    Ok(graph)
}

/// The name in a `ValueInfoProto`.
fn value_name(value: Value<'_>) -> Result<&str, String> {
    let mut name = "";
    for field in fields(value.bytes()?) {
        if let (1, value) = field? {
            name = value.text()?;
        }
    }
    Ok(name)
}

fn raw(bytes: &[u8]) -> Result<Raw<'_>, String> {
    let mut raw = Raw::default();
    for field in fields(bytes) {
        match field? {
            (1, value) => raw.inputs.push(value.text()?),
            (2, value) => raw.outputs.push(value.text()?),
            (3, value) => raw.name = value.text()?,
            (4, value) => raw.kind = value.text()?,
            (5, value) => {
                let (name, attribute) = attribute(value.bytes()?)?;
                raw.attributes.insert(name, attribute);
            }
            (7, value) => raw.domain = value.text()?,
            _ => {}
        }
        if raw.inputs.len().max(raw.outputs.len()) > MAX_EDGES || raw.attributes.len() > MAX_ATTRIBUTES {
            return Err(format!("more than {MAX_EDGES} inputs or outputs, or {MAX_ATTRIBUTES} attributes"));
        }
    }
    Ok(raw)
}

fn attribute(bytes: &[u8]) -> Result<(&str, Attribute<'_>), String> {
    let (mut name, mut attribute) = ("", Attribute::default());
    for field in fields(bytes) {
        match field? {
            (1, value) => name = value.text()?,
            (2, value) => attribute.float = Some(value.float()?),
            (3, value) => attribute.int = Some(value.int()?),
            (4, value) => attribute.text = Some(value.bytes()?),
            (5, value) => attribute.tensor = Some(value.bytes()?),
            (8, value) => value.ints(&mut attribute.ints, MAX_ATTRIBUTES)?,
            _ => {}
        }
    }
    Ok((name, attribute))
}

/// A `TensorProto` and its name.
fn tensor(bytes: &[u8]) -> Result<(&str, Tensor<'_>), String> {
    let (mut name, mut number, mut dimensions) = ("", 0, Vec::new());
    let (mut raw, mut floats, mut doubles) = (None, Cow::Borrowed(&[][..]), Cow::Borrowed(&[][..]));
    let mut external = false;
    for field in fields(bytes) {
        match field? {
            (1, value) => value.ints(&mut dimensions, 8)?,
            (2, value) => number = value.int()?,
            (4, value) => value.words(&mut floats)?,
            (8, value) => name = value.text()?,
            (9, value) => raw = Some(value.bytes()?),
            (10, value) => value.words(&mut doubles)?,
            (13, _) => external = true,
            (14, value) => external |= value.int()? == 1,
            _ => {}
        }
    }
    if external {
        return Err(format!(
            "tensor {name:?} lies in another file; save the model with its weights in it (onnx.save without save_as_external_data)"
        ));
    }
    let shape = dimensions.into_iter().map(super::wire::size).collect::<Result<Vec<usize>, String>>();
    let shape = shape.map_err(|reason| format!("tensor {name:?}: {reason}"))?;
    let (dtype, data) = match (number, raw) {
        (1, None) => (Type::F32, floats),
        (1, Some(raw)) => (Type::F32, Cow::Borrowed(raw)),
        (11, None) => (Type::F64, doubles),
        (11, Some(raw)) => (Type::F64, Cow::Borrowed(raw)),
        (10, Some(raw)) => (Type::F16, Cow::Borrowed(raw)),
        (16, Some(raw)) => (Type::Bf16, Cow::Borrowed(raw)),
        (10 | 16, None) => (Type::Other("float16 or bfloat16 as integers"), Cow::Borrowed(&[][..])),
        (7, _) => (Type::Other("int64"), Cow::Borrowed(&[][..])),
        (6, _) => (Type::Other("int32"), Cow::Borrowed(&[][..])),
        (3, _) => (Type::Other("int8"), Cow::Borrowed(&[][..])),
        (2, _) => (Type::Other("uint8"), Cow::Borrowed(&[][..])),
        _ => (Type::Other("that is no number, or of no type known here"), Cow::Borrowed(&[][..])),
    };
    Ok((name, Tensor::contiguous(name, shape, dtype, data)?))
}

/// The weights that a node makes of weights: a constant, a copy, another shape.
fn constant<'a>(raw: &Raw<'a>, initializers: &HashMap<&str, Tensor<'a>>) -> Result<Option<Tensor<'a>>, String> {
    match raw.kind {
        "Constant" => match raw.attributes.get("value").and_then(|value| value.tensor) {
            Some(value) => Ok(Some(tensor(value)?.1)),
            None => Ok(None),
        },
        // The new shape does not matter: weights are taken in the shape that the layer needs, if they are as many.
        "Reshape" | "Identity" | "Flatten" => Ok(raw.inputs.first().and_then(|input| initializers.get(input)).cloned()),
        _ => Ok(None),
    }
}

fn node<'a>(
    raw: &Raw<'a>,
    name: String,
    values: &HashMap<&str, Source>,
    initializers: &HashMap<&str, Tensor<'a>>,
) -> Result<Node<'a>, String> {
    let op = raw.op();
    // But for a concatenation, what follows the first are weights, the shape of a reshape, the ratio of a dropout.
    let n_activations = if op == Op::Concat { raw.inputs.len() } else { raw.inputs.len().min(1) };
    let (activations, weights) = raw.inputs.split_at(n_activations);
    let inputs = activations
        .iter()
        .map(|&input| values.get(input).cloned().unwrap_or_else(|| Source::Nothing(input.to_string())));
    let mut parameters = Vec::new();
    if let Op::Conv { .. } | Op::Dense = op {
        for &weight in weights.iter().filter(|weight| !weight.is_empty()) {
            let Some(tensor) = initializers.get(weight) else {
                return Err(format!("node {name:?}: its weights {weight:?} are no initializer of the model"));
            };
            parameters.push(tensor.clone());
        }
        if op == Op::Dense && raw.int("transB", 0) == 0 {
            parameters = parameters
                .into_iter()
                .map(|tensor| if tensor.shape.len() == 2 { tensor.transposed() } else { tensor })
                .collect();
        }
    }
    Ok(Node { name, kind: raw.kind.to_string(), op, inputs: inputs.collect(), parameters })
}

impl Raw<'_> {
    fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).and_then(|attribute| attribute.int).unwrap_or(default)
    }

    fn float(&self, name: &str, default: f32) -> f32 {
        self.attributes.get(name).and_then(|attribute| attribute.float).unwrap_or(default)
    }

    fn op(&self) -> Op {
        self.try_op().unwrap_or_else(Op::Other)
    }

    /// What the node does, or why it is none of our operators.
    fn try_op(&self) -> Result<Op, String> {
        if !matches!(self.domain, "" | "ai.onnx") {
            return Err(format!("is of the domain {:?}", self.domain));
        }
        Ok(match self.kind {
            "Conv" => Op::Conv { window: self.window()?, groups: super::wire::size(self.int("group", 1))? },
            "MaxPool" => Op::MaxPool(self.window()?),
            "AveragePool" => {
                Op::AveragePool { window: self.window()?, padding_counts: self.int("count_include_pad", 0) != 0 }
            }
            "GlobalAveragePool" => Op::GlobalAveragePool,
            "LRN" => Op::Lrn {
                size: super::wire::size(self.int("size", 0))?,
                alpha: self.float("alpha", 1e-4),
                beta: self.float("beta", 0.75),
                k: self.float("bias", 1.0),
            },
            "Relu" => Op::Relu,
            "Gemm" if self.int("transA", 0) != 0 => return Err("has transA".to_string()),
            "Gemm" if self.float("alpha", 1.0) != 1.0 || self.float("beta", 1.0) != 1.0 => {
                return Err("has an alpha or beta that is not 1".to_string());
            }
            "Gemm" => Op::Dense,
            "Concat" | "Softmax"
                if !matches!(self.int("axis", 1), 1 | -1) || (self.kind == "Concat" && self.int("axis", 1) != 1) =>
            {
                return Err(format!("has axis {}", self.int("axis", 1)));
            }
            "Concat" => Op::Concat,
            "Softmax" => Op::Softmax,
            "Dropout" | "Identity" => Op::Pass,
            "Flatten" if self.int("axis", 1) != 1 => return Err(format!("has axis {}", self.int("axis", 1))),
            "Flatten" | "Reshape" => Op::Flatten,
            _ => return Err("is an operator that we do not have".to_string()),
        })
    }

    fn window(&self) -> Result<Window, String> {
        if let Some(auto_pad) = self.attributes.get("auto_pad").and_then(|attribute| attribute.text)
            && auto_pad != b"NOTSET"
        {
            return Err(format!("has auto_pad {:?}", crate::error::one_line(&String::from_utf8_lossy(auto_pad))));
        }
        let list = |name: &str, default: &[i64]| {
            let given = self.attributes.get(name).map(|attribute| &attribute.ints[..]).filter(|ints| !ints.is_empty());
            given.unwrap_or(default).iter().map(|&int| super::wire::size(int)).collect::<Result<Vec<usize>, String>>()
        };
        if list("dilations", &[1, 1])? != [1, 1] {
            return Err("has dilations".to_string());
        }
        let two = |name: &str, default: &[i64]| {
            <[usize; 2]>::try_from(list(name, default)?)
                .map_err(|list| format!("has {name} of {} dimensions, wanted 2", list.len()))
        };
        let pads = <[usize; 4]>::try_from(list("pads", &[0; 4])?)
            .map_err(|pads| format!("has {} pads, wanted 4", pads.len()))?;
        Ok(Window {
            kernel: two("kernel_shape", &[0, 0])?,
            stride: two("strides", &[1, 1])?,
            before: [pads[0], pads[1]],
            after: [pads[2], pads[3]],
            ceil: self.int("ceil_mode", 0) != 0,
        })
    }
}
