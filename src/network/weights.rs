//! Networks read from and written to safetensors files.
//!
//! The tensors of a layer are `NAME.weight` and `NAME.bias`, float32, of the shapes that [`Layer`](super::Layer) says; nothing else may
//! be in the file but `mean`. What else there is to know stands in the metadata. Keys that are not listed are for people
//! (source, licence, accuracy) and are not read.
//!
//! | key | value | without it |
//! |---|---|---|
//! | `format` | the network: `lenet` or `caffe-lenet` (Caffe's LeNet). `pt`, `np`, `tf`, `flax`, `mlx`, which libraries write, say nothing | `network` |
//! | `network` | the network's name, up to the first ` (` | known by its tensors' names |
//! | `input` | the input's shape, `1x28x28` or `1x1x28x28` (a batch of one); text may follow | not checked |
//! | `input_scale` | a decimal number > 0: what a pixel, 0 to 255, is multiplied by, after the mean is subtracted | 0.00390625 |
//! | `channel_order` | `grey`, `RGB` or `BGR`; text may follow | grey |
//! | `mean_bgr` | a number an input channel, in the network's own order, separated by commas, 0 to 255; text may follow | no mean |
//! | `classes` | how many classes; text may follow | 10 |
//! | `class_names` | a name a line | 0, 1, 2, ... |
//!
//! | tensor | value |
//! |---|---|
//! | `mean` | the mean image, the input's shape, in 0..255 units; then `mean_bgr` may not be there. A mean file holds this tensor, and others which are not read; it replaces both |

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{ChannelOrder, Network, Parameters, Preprocess, lenet, shapes};
use crate::error::{Error, Result, one_line};
use crate::output::atomic;

/// The largest weights or mean file that is read: four times AlexNet's.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The longest header: a thousand class names and some hundred tensors need 50 kB.
const MAX_HEADER_BYTES: u64 = 1 << 24;

impl Network {
    /// Reads the network of the weights file `path`; a `mean` file replaces the mean that the weights come with.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] or [`Error::Weights`] if a file cannot be read, is no safetensors file (broken,
    /// truncated, larger than a gibibyte), names a network that is not known, has metadata that cannot be understood,
    /// lacks a tensor or has one too many, or has one of another shape or type, or with NaN or infinity.
    pub fn load(path: &Path, mean: Option<&Path>) -> Result<Network> {
        let mut network = Network::parse(path, &read_bounded(path)?, mean)?;
        network.path = Some(path.to_path_buf());
        Ok(network)
    }

    /// [`Network::load`] for weights built into the program.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn from_bytes(bytes: &[u8], mean: Option<&Path>) -> Result<Network> {
        Network::parse(Path::new("built-in weights"), bytes, mean)
    }

    fn parse(path: &Path, bytes: &[u8], mean_path: Option<&Path>) -> Result<Network> {
        let file = Weights::parse(path, bytes)?;
        file.check_is_lenet()?;
        let (input, n_classes) = (lenet::INPUT, file.n_classes()?.unwrap_or(10));
        let layers = lenet::layers(n_classes);
        let shapes = shapes(input, &layers).map_err(|reason| Error::file(path, reason))?;
        let mut parameters = Vec::new();
        let mut names = vec!["mean".to_string()];
        for (name, shape) in layers.iter().zip(&shapes).filter_map(|(layer, &input)| layer.weight(input)) {
            let [weight, bias] = [format!("{name}.weight"), format!("{name}.bias")];
            parameters.push(Parameters {
                weight: file.tensor(&weight, &shape, "the layer")?,
                bias: file.tensor(&bias, &shape[..1], "the layer")?,
            });
            names.extend([weight, bias]);
        }
        let surplus: Vec<String> = file.header.offset_keys().into_iter().filter(|name| !names.contains(name)).collect();
        if !surplus.is_empty() {
            return Err(Error::file(
                path,
                format!("has tensors that {} has no use for: {}", lenet::NAME, list(&surplus)),
            ));
        }

        let mut sha256 = hex(bytes);
        let shape = [input.channels, input.height, input.width];
        let own_mean = file.mean(&shape)?;
        let mean = match mean_path {
            Some(mean_path) => {
                let bytes = read_bounded(mean_path)?;
                sha256 = format!("{sha256} mean {}", hex(&bytes));
                Weights::parse(mean_path, &bytes)?.tensor("mean", &shape, "the network")?
            }
            None => own_mean,
        };
        file.check_input(&shape)?;
        let preprocess = Preprocess {
            scale: file.input_scale()?.unwrap_or(lenet::INPUT_SCALE),
            mean,
            channel_order: file.channel_order(input.channels)?.unwrap_or(ChannelOrder::Grey),
        };
        let classes = match file.class_names(n_classes)? {
            Some(names) => names,
            None => (0..n_classes).map(|class| class.to_string()).collect(),
        };
        let network = Network::new(lenet::NAME, input, preprocess, layers, parameters, classes);
        Ok(Network { sha256, ..network.map_err(|error| Error::file(path, error.to_string()))? })
    }

    /// Writes a weights file that [`Network::load`] reads, whole or not at all. `notes` are further metadata, for people;
    /// they may not take a key of the schema above. The same network and notes give the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path, notes: &[(&str, String)]) -> Result<()> {
        let order = match self.preprocess.channel_order {
            ChannelOrder::Grey => "grey",
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
        };
        let input = [self.input.channels, self.input.height, self.input.width];
        let keys = [
            ("format", self.name.clone()),
            ("input", input.map(|size| size.to_string()).join("x")),
            ("input_scale", self.preprocess.scale.to_string()),
            ("channel_order", order.to_string()),
            ("classes", self.classes.len().to_string()),
            ("class_names", self.classes.join("\n")),
        ];
        let mut metadata = Map::new();
        for (key, value) in keys.iter().chain(notes) {
            let before = metadata.insert(key.to_string(), Value::from(value.as_str()));
            assert!(before.is_none(), "two metadata values for {key:?}");
        }

        let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
        let shapes = self.shapes();
        let layers = self.layers.iter().zip(&shapes).filter_map(|(layer, &input)| layer.weight(input));
        for ((name, shape), parameters) in layers.zip(&self.parameters) {
            let biases = vec![shape[0]];
            tensors.push((format!("{name}.weight"), shape, &parameters.weight));
            tensors.push((format!("{name}.bias"), biases, &parameters.bias));
        }
        if !self.preprocess.mean.is_empty() {
            tensors.push(("mean".to_string(), input.to_vec(), &self.preprocess.mean));
        }

        // Not by safetensors' own writer: its metadata come in an order that changes from call to call.
        let mut header = Map::from_iter([("__metadata__".to_string(), Value::from(metadata))]);
        let mut end = 0;
        for (name, shape, values) in &tensors {
            let start = end;
            end += size_of_val(*values);
            let info = TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (start, end) };
            header.insert(name.clone(), serde_json::to_value(info).expect("sizes and names"));
        }
        let mut header = Value::from(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len())); // aligns what follows
        atomic::write(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            for value in tensors.iter().flat_map(|(_, _, values)| *values) {
                file.write_all(&value.to_le_bytes())?;
            }
            Ok(())
        })
    }
}

/// All of a file, but no more than [`MAX_FILE_BYTES`].
fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let announced = file.metadata().map_err(Error::io("read", path))?.len();
    let mut bytes = Vec::new();
    if announced <= MAX_FILE_BYTES {
        // A device or a pipe announces nothing: hence the limit here too.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    }
    if announced.max(bytes.len() as u64) > MAX_FILE_BYTES {
        return Err(Error::file(
            path,
            format!("larger than {MAX_FILE_BYTES} bytes: no weights of a network known here"),
        ));
    }
    Ok(bytes)
}

/// A safetensors file whose header has been understood.
struct Weights<'a> {
    path: &'a Path,
    header: Metadata,
    keys: HashMap<String, String>,
    data: &'a [u8],
}

impl<'a> Weights<'a> {
    fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Weights<'a>> {
        let fail = |reason: String| Error::file(path, reason);
        let Some((length, rest)) = bytes.split_first_chunk() else {
            return Err(fail(format!("{} bytes: too short for a safetensors file", bytes.len())));
        };
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER_BYTES || length > rest.len() as u64 {
            let reason = format!(
                "not a safetensors file, or truncated: its first 8 bytes announce a header of {length} bytes, {} follow",
                rest.len()
            );
            return Err(fail(reason));
        }
        let (length, header) = SafeTensors::read_metadata(bytes)
            .map_err(|error| fail(format!("not a safetensors file, or truncated: {}", one_line(&error.to_string()))))?;
        let keys = header.metadata().clone().unwrap_or_default();
        Ok(Weights { path, header, keys, data: &rest[length..] })
    }

    /// The values of a float32 tensor that `who` needs in `shape`.
    fn tensor(&self, name: &str, shape: &[usize], who: &str) -> Result<Vec<f32>> {
        let fail = |reason| Error::Weights { path: self.path.to_path_buf(), tensor: name.to_string(), reason };
        let Some(info) = self.header.info(name) else {
            return Err(fail(format!("is missing; the file has {}", list(&self.header.offset_keys()))));
        };
        if info.dtype != Dtype::F32 {
            return Err(fail(format!("has type {}, {who} needs F32", info.dtype)));
        }
        if info.shape != shape {
            return Err(fail(format!("has shape {}, {who} needs {}", tuple(&info.shape), tuple(shape))));
        }
        let (words, _) = self.data[info.data_offsets.0..info.data_offsets.1].as_chunks();
        let values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(fail(format!("has {} at flat index {at}, {who} needs finite numbers", values[at]))),
            None => Ok(values),
        }
    }

    /// Fails unless this is a file of the one network there is.
    fn check_is_lenet(&self) -> Result<()> {
        let format = self.keys.get("format").map(String::as_str);
        let name = match format {
            Some("pt" | "np" | "tf" | "flax" | "mlx") | None => {
                self.keys.get("network").map(|network| network.split(" (").next().unwrap_or_default())
            }
            Some(name) => Some(name),
        };
        match name {
            Some("caffe-lenet" | lenet::NAME) => return Ok(()),
            Some(name) => {
                let reason = format!("network {:?} is not known; known: {}", one_line(name), lenet::NAME);
                return Err(Error::file(self.path, reason));
            }
            None => {}
        }
        let layers = lenet::layers(1);
        let inputs = shapes(lenet::INPUT, &layers).expect("LeNet fits together");
        let mut names = layers.iter().zip(&inputs).filter_map(|(layer, &input)| layer.weight(input));
        if names.any(|(name, _)| self.header.info(&format!("{name}.weight")).is_none()) {
            let found = list(&self.header.offset_keys());
            let reason = format!(
                "names no network in its metadata (key \"format\"; known: {}), and its tensors are not those of one: {found}",
                lenet::NAME
            );
            return Err(Error::file(self.path, reason));
        }
        Ok(())
    }

    /// The value of `key` as `parse` understands it.
    fn key<T>(&self, key: &str, wanted: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.keys.get(key) else {
            return Ok(None);
        };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                let shown: String = value.chars().take(80).collect();
                Err(Error::file(self.path, format!("metadata key {key:?} has the value {shown:?}, wanted {wanted}")))
            }
        }
    }

    fn n_classes(&self) -> Result<Option<usize>> {
        let digits = |value: &str| value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
        self.key("classes", "the number of classes", |value| digits(value).filter(|&classes| classes > 0))
    }

    fn class_names(&self, n_classes: usize) -> Result<Option<Vec<String>>> {
        self.key("class_names", &format!("{n_classes} names, one a line"), |value| {
            let names: Vec<String> = value.lines().map(|name| name.trim().to_string()).collect();
            (names.len() == n_classes && names.iter().all(|name| !name.is_empty())).then_some(names)
        })
    }

    fn input_scale(&self) -> Result<Option<f32>> {
        self.key("input_scale", "a decimal number above 0", |value| {
            value.trim().parse().ok().filter(|scale: &f32| scale.is_finite() && *scale > 0.0)
        })
    }

    fn channel_order(&self, channels: usize) -> Result<Option<ChannelOrder>> {
        let wanted = if channels == 1 { "grey: the network has one input channel" } else { "RGB or BGR" };
        self.key("channel_order", wanted, |value| match (value.split_whitespace().next()?, channels) {
            ("grey", 1) => Some(ChannelOrder::Grey),
            ("RGB", 3) => Some(ChannelOrder::Rgb),
            ("BGR", 3) => Some(ChannelOrder::Bgr),
            _ => None,
        })
    }

    fn check_input(&self, shape: &[usize; 3]) -> Result<()> {
        let wanted = shape.map(|size| size.to_string()).join("x");
        self.key("input", &format!("a text that begins with {wanted}"), |value| {
            let sizes = value.split(|c: char| !c.is_ascii_digit() && c != 'x').next()?;
            (sizes == wanted || sizes.strip_prefix("1x") == Some(&wanted)).then_some(())
        })
        .map(|_| ())
    }

    /// The mean image that comes with the weights, or nothing.
    fn mean(&self, shape: &[usize; 3]) -> Result<Vec<f32>> {
        let per_channel = self.key("mean_bgr", &format!("{} numbers, separated by commas", shape[0]), |value| {
            let numbers = value.split_whitespace().next()?.split(',').map(|number| number.parse::<f32>());
            let means: Vec<f32> = numbers.collect::<Result<_, _>>().ok()?;
            (means.len() == shape[0] && means.iter().all(|mean| mean.is_finite())).then_some(means)
        })?;
        match (per_channel, self.header.info("mean")) {
            (Some(_), Some(_)) => Err(Error::file(
                self.path,
                "has both a tensor \"mean\" and the metadata key \"mean_bgr\", wanted one of them",
            )),
            (Some(means), None) => {
                Ok(means.iter().flat_map(|&mean| std::iter::repeat_n(mean, shape[1] * shape[2])).collect())
            }
            (None, Some(_)) => self.tensor("mean", shape, "the network"),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tuple(shape: &[usize]) -> String {
    format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// The first of `names`, in quotes, and how many more there are.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("{:?}", name.chars().take(80).collect::<String>())).collect();
    match names.len() {
        0 => "no tensors".to_string(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
