//! Networks from elsewhere: weights that others have trained, brought into the form of [`weights`](mod@crate::network::weights).
//!
//! A file is read into tensors that stay where they are in it, and for Caffe and ONNX into a graph of nodes; both are laid over a layer
//! list, by names or by what the nodes do; what does not fit is said by name. Images come to the network as the list says, which are the
//! facts that the sources publish (src/network/lists). Nothing in a file is executed, and no size in it is believed before it is
//! compared with what is there: memory is at most the file, the parameters of the list, and some mebibytes.
//!
//! Where the facts about the real files come from:
//!
//! | fact | source |
//! |---|---|
//! | Caffe: names, order and numbers of layers; blue, green, red from 0 to 255 less a mean; 227 or 224 of 256 | BVLC/caffe: models/*/train_val.prototxt, deploy.prototxt (`transform_param`, `input_dim`), python/caffe/io.py |
//! | Caffe: messages, fields, what older forms mean | BVLC/caffe: src/caffe/proto/caffe.proto, src/caffe/util/upgrade_proto.cpp |
//! | torchvision: names and shapes of tensors, epsilon, `transform_input`, heads | pytorch/vision: torchvision/models/{alexnet,squeezenet,googlenet}.py |
//! | torchvision: red, green, blue; resize to 256, 224 of it, mean and deviation | pytorch/vision: torchvision/transforms/_presets.py (`ImageClassification`) |
//! | ONNX Model Zoo: graphs, names of initializers, which poolings round how | the zoo's graphs as the package onnx carries them (onnx/backend/test/data/light) |
//! | ONNX Model Zoo: input as Caffe's, from whose models it was converted; its SqueezeNet 1.0 is 1.1 | onnx/models: validated/vision/classification; issue 578 |

pub mod caffe;
pub mod graph;
pub mod matching;
pub mod onnx;
pub mod pickle;
pub mod pth;
pub mod seems;
pub mod state_dict;
pub mod stored;
pub mod tensor;
pub mod wire;

use std::path::Path;

use self::graph::Graph;
use self::matching::{Match, Mismatch};
use self::seems::Format;
use self::state_dict::StateDict;
use self::tensor::Tensor;
use crate::error::{Error, Result, one_line};
use crate::network::list::List;
use crate::network::weights::{centre, tuple};
use crate::network::{ChannelOrder, Network, Operation, Parameters, Preprocess, Shape, shapes, weights};

/// Layers that begin so are of heads that only training needs (models/bvlc_googlenet/train_val.prototxt).
const TRAINING_HEADS: [&str; 2] = ["loss1/", "loss2/"];

/// The lists that state dicts are laid over begin so; the others have Caffe's preprocessing, some of them with torchvision's names.
const TORCHVISION: &str = "torchvision-";

/// A network from elsewhere.
#[derive(Debug)]
pub struct Imported {
    pub network: Network,
    pub format: Format,
    /// What of the file no class depends on: tensors or layers of training heads.
    pub dropped: Vec<String>,
    /// Where the file does other than the layer list, and the list counts.
    pub notes: Vec<String>,
}

/// The network in `bytes`, which are those of the file `path`: of the layers of `list`, or of those of the lists that the program has
/// which fits.
///
/// # Errors
/// [`Error::File`] if the file is of no format known here, is broken, or is of another network; [`Error::Weights`] naming a tensor that
/// is missing, of another shape or type, or has NaN or infinity; and the node or layer where a graph is not the list's.
pub fn read(path: &Path, bytes: &[u8], list: Option<&List>) -> Result<Imported> {
    let fail = |reason: String| Error::file(path, reason);
    let format = seems::format(bytes).map_err(fail)?;
    let broken = |reason: String| Error::file(path, format!("{}: {}", format.name(), one_line(&reason)));
    let tensors = match format {
        Format::Caffe => return of_graph(path, format, &caffe::read(bytes).map_err(broken)?, list),
        Format::Onnx => return of_graph(path, format, &onnx::read(bytes).map_err(broken)?, list),
        Format::Safetensors => stored::read(bytes).map_err(broken)?,
        Format::PthZip => pth::read_zip(bytes).map_err(broken)?,
        Format::PthLegacy => pth::read_legacy(bytes).map_err(broken)?,
    };
    of_state_dict(path, format, tensors, list)
}

/// The mean image in `bytes`, those of the file `path`, for `network`, which it replaces the mean of.
///
/// # Errors
/// As for [`read`]: it is a Caffe blob or a safetensors file with a tensor `mean`, of the input's shape or of the images' that the
/// network is shown, of which the central part counts.
pub fn read_mean(path: &Path, bytes: &[u8], network: &mut Network) -> Result<()> {
    let fail = |reason: String| Error::file(path, reason);
    let weights_fail = |reason: String| Error::Weights { path: path.to_path_buf(), tensor: "mean".to_string(), reason };
    let mean = match seems::format(bytes) {
        Ok(Format::Safetensors) => {
            let tensors = stored::read(bytes).map_err(fail)?;
            let mean = tensors.into_iter().find(|tensor| tensor.name == "mean");
            mean.ok_or_else(|| weights_fail("is missing".to_string()))?
        }
        Ok(format) => {
            return Err(fail(format!("{}, wanted a mean image (.binaryproto or .safetensors)", format.name())));
        }
        Err(reason) => {
            let mean = caffe::read_mean(bytes);
            let mean = mean.map_err(|why| {
                // A blob that is broken says more than what else the file could be.
                let what = if reason == seems::BLOB { why } else { reason };
                fail(format!("{what}; wanted a mean image (.binaryproto or .safetensors)"))
            })?;
            if network.preprocess.channel_order == ChannelOrder::Rgb {
                let reason = format!("the mean images of Caffe are BGR, {} takes RGB", network.name);
                return Err(fail(reason));
            }
            mean
        }
    };
    let (image, input) = (network.image, network.input);
    let of = |shape: Shape| [shape.channels, shape.height, shape.width];
    let from = if mean.shape == of(image) {
        image
    } else if mean.shape == of(input) {
        input
    } else {
        let sizes = if image == input { String::new() } else { format!(" or {image}") };
        return Err(weights_fail(format!("has shape {}, the network needs {input}{sizes}", tuple(&mean.shape))));
    };
    network.preprocess.mean = centre(&mean.values().map_err(weights_fail)?, from, input);
    Ok(())
}

// --- graphs ---

fn of_graph(path: &Path, format: Format, graph: &Graph, list: Option<&List>) -> Result<Imported> {
    let fail = |reason: String| Error::file(path, format!("{}: {reason}", format.name()));
    if graph.nodes.is_empty() {
        return Err(fail("it has no layers".to_string()));
    }
    let lay = |list: &List| {
        let layers = list.layers(list.classes);
        let shapes = shapes(list.input(), &layers).map_err(|reason| Mismatch { found: 0, reason })?;
        matching::find(graph, &layers, &shapes)
    };
    let (list, found) = match list {
        Some(list) => {
            let found =
                lay(list).map_err(|mismatch| fail(format!("not the layers of {}: {}", list.name, mismatch.reason)))?;
            (list.clone(), found)
        }
        None => {
            let mut nearest: Option<(Mismatch, String)> = None;
            let mut fitting = None;
            for list in List::names().map(|name| List::built_in(name).expect("one of its names")) {
                match lay(&list) {
                    Ok(found) => {
                        fitting = Some((list, found));
                        break;
                    }
                    Err(mismatch) if nearest.as_ref().is_none_or(|(best, _)| best.found < mismatch.found) => {
                        nearest = Some((mismatch, list.name));
                    }
                    Err(_) => {}
                }
            }
            fitting.ok_or_else(|| {
                let (mismatch, name) = nearest.expect("there are lists");
                fail(format!(
                    "its layers are those of no network known here ({}); nearest is {name}, but: {}. --network FILE.toml gives other layers",
                    List::names().collect::<Vec<_>>().join(", "),
                    mismatch.reason
                ))
            })?
        }
    };
    let dropped = dropped_nodes(graph, &found, &list).map_err(fail)?;
    let parameters = parameters_of(path, graph, &list, &found)?;
    let network = assemble(path, &list, parameters)?;
    Ok(Imported { network, format, dropped, notes: found.notes })
}

/// The nodes with weights that no layer is, which must be of training heads.
fn dropped_nodes(graph: &Graph, found: &Match, list: &List) -> Result<Vec<String>, String> {
    let mut dropped = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.parameters.is_empty() || found.nodes.contains(&index) {
            continue;
        }
        if !TRAINING_HEADS.iter().any(|head| node.name.starts_with(head)) {
            return Err(format!("node {:?} has weights that {} has no use for", one_line(&node.name), list.name));
        }
        dropped.push(node.name.clone());
    }
    Ok(dropped)
}

fn parameters_of(path: &Path, graph: &Graph, list: &List, found: &Match) -> Result<Vec<Parameters>> {
    let layers = list.layers(list.classes);
    let shapes = shapes(list.input(), &layers).map_err(|reason| Error::file(path, reason))?;
    let with_weights = layers.iter().enumerate().filter(|(_, layer)| layer.operation.has_weights());
    let nodes = with_weights.map(|(index, _)| &graph.nodes[found.nodes[index]]);
    weights(&layers, &shapes)
        .zip(nodes)
        .map(|((name, shape), node)| {
            let fail =
                |tensor: &str, reason| Error::Weights { path: path.to_path_buf(), tensor: one_line(tensor), reason };
            let take = |tensor: &Tensor, shape: &[usize]| {
                let Some(fitted) = matching::fitted(tensor, shape) else {
                    let reason = format!(
                        "has shape {}, layer {name:?} of {} needs {}",
                        tuple(&tensor.shape),
                        list.name,
                        tuple(shape)
                    );
                    return Err(fail(&tensor.name, reason));
                };
                fitted.values().map_err(|reason| fail(&tensor.name, reason))
            };
            match &node.parameters[..] {
                [] => Err(fail(&format!("{}.weight", node.name), "is missing: its layer has no weights".to_string())),
                [weight] => Ok(Parameters { weight: take(weight, &shape)?, bias: vec![0.0; shape[0]] }),
                [weight, bias, ..] => Ok(Parameters { weight: take(weight, &shape)?, bias: take(bias, &shape[..1])? }),
            }
        })
        .collect()
}

// --- state dicts ---

fn of_state_dict(path: &Path, format: Format, tensors: Vec<Tensor>, list: Option<&List>) -> Result<Imported> {
    let fault = |(tensor, reason): state_dict::Fault| Error::Weights {
        path: path.to_path_buf(),
        tensor: one_line(&tensor),
        reason,
    };
    let dict = StateDict::new(tensors).map_err(fault)?;
    let list = match list {
        Some(list) => list.clone(),
        None => {
            let mut fitting = List::with_tensors(|name| dict.has(name));
            fitting.retain(|list| list.name.starts_with(TORCHVISION));
            fitting.into_iter().next().ok_or_else(|| {
                let known: Vec<&str> = List::names().filter(|name| name.starts_with(TORCHVISION)).collect();
                let names = dict.names();
                let shown: Vec<String> = names.iter().take(5).map(|name| format!("{:?}", one_line(name))).collect();
                Error::file(
                    path,
                    format!(
                        "{}: its tensors are those of none of {}: {} of them, {}; --network says what they are of",
                        format.name(),
                        known.join(", "),
                        names.len(),
                        if shown.is_empty() { "none".to_string() } else { shown.join(", ") }
                    ),
                )
            })?
        }
    };
    let layers = list.layers(list.classes);
    let shapes = shapes(list.input(), &layers).map_err(|reason| Error::file(path, reason))?;
    let wanted: Vec<(&str, Vec<usize>)> = weights(&layers, &shapes).collect();
    let (parameters, dropped) = dict.parameters(&wanted, &list.name).map_err(fault)?;
    let network = assemble(path, &list, parameters)?;
    Ok(Imported { network, format, dropped, notes: Vec::new() })
}

/// The network of a list with these parameters, its classes numbered.
fn assemble(path: &Path, list: &List, parameters: Vec<Parameters>) -> Result<Network> {
    let (input, layers) = (list.input(), list.layers(list.classes));
    let plane = input.height * input.width;
    let mean = list.mean.iter().flat_map(|&mean| std::iter::repeat_n(mean, plane)).collect();
    let preprocess = Preprocess { scale: list.scale, mean, channel_order: list.channel_order };
    let classes = (0..list.classes).map(|class| class.to_string()).collect();
    let network = Network::new(&list.name, input, preprocess, layers, parameters, classes);
    let network = network.map_err(|error| Error::file(path, error.to_string()))?;
    Ok(Network { image: Shape { height: list.image, width: list.image, ..input }, ..network })
}

/// How many weights and biases a network has.
pub fn n_parameters(network: &Network) -> usize {
    network.parameters.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum()
}

/// Convolutions and dense layers of a network.
pub fn n_layers(network: &Network) -> usize {
    network
        .layers
        .iter()
        .filter(|layer| matches!(layer.operation, Operation::Conv2d { .. } | Operation::Dense { .. }))
        .count()
}
