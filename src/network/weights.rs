//! Networks read from and written to safetensors files.
//!
//! The tensors of a layer are `NAME.weight` and `NAME.bias`, float32, of the shapes that [`Layer`](super::Layer) says; nothing else may
//! be in the file but `mean`. What else there is to know stands in the metadata. Keys that are not listed are for people
//! (source, licence, accuracy) and are not read.
//!
//! | key | value | without it |
//! |---|---|---|
//! | `format` | the network: a layer list that the program has ([`List::names`]), as `lenet`. `pt`, `np`, `tf`, `flax`, `mlx`, which libraries write, say nothing | `network` |
//! | `network` | the network's name, up to the first ` (` | known by its tensors' names |
//! | `input` | the input's shape, `1x28x28` or `1x1x28x28` (a batch of one); text may follow | not checked |
//! | `image_side`, `crop` | side of the images that the network is shown, and of the central part that it sees | the list's |
//! | `input_scale` | a decimal number > 0, or one an input channel, separated by commas: what a pixel, 0 to 255, is multiplied by, after the mean is subtracted | the list's |
//! | `channel_order` | `grey`, `RGB` or `BGR`; text may follow | the list's |
//! | `input_mean` or `mean_bgr` | a number an input channel, in the network's own order, separated by commas, 0 to 255; text may follow | the list's |
//! | `classes` | how many classes; text may follow | the list's |
//! | `class_names` | a name a line | 0, 1, 2, ... |
//! | `random_weights` | how the weights were drawn: nobody trained them | they were trained |
//!
//! | tensor | value |
//! |---|---|
//! | `mean` | the mean image in 0..255 units, of the input's shape, or of the images' that the network is shown: then its central part counts. `input_mean` may not be there then. A mean file holds this tensor, and others which are not read; it replaces both |
//!
//! A layer list of the user's own ([`Given`]) takes the place of the one that the file names.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::list::{List, scale_of};
use super::{ChannelOrder, Combine, Network, Parameters, Preprocess, Shape, lenet, shapes, weights};
use crate::error::{Error, Result, one_line};
use crate::output::atomic;

/// The largest weights or mean file that is read: four times AlexNet's.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;
/// The longest header: a thousand class names and some hundred tensors need 50 kB.
const MAX_HEADER_BYTES: u64 = 1 << 24;

/// The largest file of class names that is read.
const MAX_NAMES_BYTES: u64 = 1 << 20;

/// The files that a user names for a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The weights; `None` for the network built into the program.
    pub weights: Option<PathBuf>,
    /// A mean image to subtract, in place of the mean that the weights come with.
    pub mean: Option<PathBuf>,
    /// A layer list, or the name of one that the program has, in place of the one that the weights name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PathBuf>,
    /// Class names, in place of those of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_names: Option<PathBuf>,
    /// Those of the networks that judge with this one, in their order; and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Files>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,
}

/// What stands for the network in the program among files of weights.
pub const BUILT_IN: &str = "built-in";

impl Files {
    /// Those of `networks` that judge together.
    ///
    /// # Errors
    /// [`Error::Usage`] if they are several and nobody says how, or it is said of one.
    ///
    /// # Panics
    /// If there is none.
    pub fn together(networks: Vec<Files>, combine: Option<Combine>) -> Result<Files> {
        let mut networks = networks.into_iter();
        let first = networks.next().expect("a network");
        let others: Vec<Files> = networks.collect();
        match (combine, others.len()) {
            (None, 1..) => Err(Error::Usage(format!(
                "--weights: {} networks judge together: say how with --combine mean or --combine min",
                others.len() + 1
            ))),
            (Some(rule), 0) => Err(Error::Usage(format!(
                "--combine {rule}: wanted several networks, each with a --weights of its own"
            ))),
            _ => Ok(Files { others, combine, ..first }),
        }
    }

    /// The files of weights, for people.
    pub fn weights_text(&self) -> String {
        let text = |files: &Files| match &files.weights {
            Some(path) if path.as_os_str() != BUILT_IN => path.display().to_string(),
            _ => "built in".to_string(),
        };
        std::iter::once(self).chain(&self.others).map(text).collect::<Vec<_>>().join(" + ")
    }

    /// Reads the network; of several the first, with the others for its committee.
    ///
    /// # Errors
    /// Those of [`Network::load_as`] and of [`List::find`]; of several those of [`Network::together`].
    pub fn load(&self) -> Result<Network> {
        let first = self.load_alone()?;
        match self.combine {
            Some(rule) if !self.others.is_empty() => {
                let others = self.others.iter().map(Files::load_alone);
                let networks = std::iter::once(Ok(first)).chain(others).collect::<Result<_>>()?;
                Network::together(networks, rule)
            }
            _ => Ok(first),
        }
    }

    fn load_alone(&self) -> Result<Network> {
        let given = Given {
            list: self.network.as_deref().map(List::find).transpose()?,
            mean: self.mean.clone(),
            class_names: self.class_names.clone(),
        };
        match &self.weights {
            Some(path) if path.as_os_str() != BUILT_IN => Network::load_as(path, &given),
            _ => Network::from_bytes_as(lenet::WEIGHTS, &given),
        }
    }

    /// The names of the `n_classes` classes, without reading the weights; their numbers where nothing says them.
    pub fn class_names(&self, n_classes: usize) -> Vec<String> {
        let of_weights = || {
            let header = match &self.weights {
                Some(path) if path.as_os_str() != BUILT_IN => read_header(path)?,
                _ => lenet::WEIGHTS.to_vec(),
            };
            let (_, metadata) = SafeTensors::read_metadata(&header).ok()?;
            let names: Vec<String> =
                metadata.metadata().as_ref()?.get("class_names")?.lines().map(|name| name.trim().to_string()).collect();
            (names.len() == n_classes).then_some(names)
        };
        let given = self.class_names.as_ref().map(|path| read_class_names(path, n_classes).ok());
        given.unwrap_or_else(of_weights).unwrap_or_else(|| (0..n_classes).map(|class| class.to_string()).collect())
    }

    /// These, or else those of `saved`, each made absolute by `absolute`; names of layer lists that the program has stay.
    ///
    /// # Errors
    /// Those of `absolute`.
    pub fn or(&self, saved: Option<&Files>, absolute: impl Fn(&Path) -> Result<PathBuf>) -> Result<Files> {
        self.or_by(saved, &absolute)
    }

    fn or_by(&self, saved: Option<&Files>, absolute: &dyn Fn(&Path) -> Result<PathBuf>) -> Result<Files> {
        // Whoever names several networks, or one in place of several, names all.
        let names_all = !self.others.is_empty();
        let saved_others = saved.map_or(&[][..], |saved| &saved.others);
        let (others, combine) = match (&self.weights, saved) {
            (None, Some(saved)) if !names_all => (saved_others, saved.combine),
            _ => (&self.others[..], self.combine),
        };
        let others = others.iter().map(|other| other.or_by(None, absolute)).collect::<Result<_>>()?;
        let saved = saved.filter(|_| !names_all);
        let absolute = |path: &Path| if path.as_os_str() == BUILT_IN { Ok(path.to_path_buf()) } else { absolute(path) };
        let file = |of: fn(&Files) -> &Option<PathBuf>| {
            let named = of(self).as_deref().or_else(|| of(saved?).as_deref());
            named.map(absolute).transpose()
        };
        let network = self.network.as_deref().or_else(|| saved?.network.as_deref());
        let is_built_in = network.is_some_and(|name| name.to_str().and_then(List::built_in).is_some());
        Ok(Files {
            weights: file(|files| &files.weights)?,
            mean: file(|files| &files.mean)?,
            network: if is_built_in { network.map(Path::to_path_buf) } else { file(|files| &files.network)? },
            class_names: file(|files| &files.class_names)?,
            others,
            combine,
        })
    }
}

/// What a user says of a network beside its weights.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The layers, in place of those of the network that the weights name.
    pub list: Option<List>,
    /// A mean image, in place of the mean that the weights come with.
    pub mean: Option<PathBuf>,
    /// A file of class names, one a line, in place of those of the weights.
    pub class_names: Option<PathBuf>,
}

impl Network {
    /// Reads the network of the weights file `path`; a `mean` file replaces the mean that the weights come with.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] or [`Error::Weights`] if a file cannot be read, is no safetensors file (broken,
    /// truncated, larger than a gibibyte), names a network that is not known, has metadata that cannot be understood,
    /// lacks a tensor or has one too many, or has one of another shape or type, or with NaN or infinity.
    pub fn load(path: &Path, mean: Option<&Path>) -> Result<Network> {
        Network::load_as(path, &Given { mean: mean.map(Path::to_path_buf), ..Given::default() })
    }

    /// [`Network::load`], with what the user says beside.
    ///
    /// # Errors
    /// As [`Network::load`]; also if the file of class names cannot be read or has another number of them than there are classes.
    pub fn load_as(path: &Path, given: &Given) -> Result<Network> {
        let mut network = Network::parse(path, &read_bounded(path, MAX_FILE_BYTES)?, given)?;
        network.path = Some(path.to_path_buf());
        Ok(network)
    }

    /// [`Network::load`] for weights built into the program.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn from_bytes(bytes: &[u8], mean: Option<&Path>) -> Result<Network> {
        Network::from_bytes_as(bytes, &Given { mean: mean.map(Path::to_path_buf), ..Given::default() })
    }

    /// [`Network::load_as`] for weights built into the program.
    ///
    /// # Errors
    /// As [`Network::load_as`].
    pub fn from_bytes_as(bytes: &[u8], given: &Given) -> Result<Network> {
        Network::parse(Path::new("built-in weights"), bytes, given)
    }

    fn parse(path: &Path, bytes: &[u8], given: &Given) -> Result<Network> {
        let file = Weights::parse(path, bytes)?;
        let list = file.list(given.list.as_ref())?;
        let n_classes = file.n_classes()?.unwrap_or(list.classes);
        let order = file.channel_order(list.channel_order)?.unwrap_or(list.channel_order);
        let [image, input] =
            file.sides(&list)?.map(|side| Shape { channels: order.channels(), height: side, width: side });
        file.check_input(input)?;
        let layers = list.layers(n_classes);
        let shapes = shapes(input, &layers).map_err(|reason| Error::file(path, reason))?;
        let mut parameters = Vec::new();
        let mut names = vec!["mean".to_string()];
        for (name, shape) in weights(&layers, &shapes) {
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
                format!("has tensors that {} has no use for: {}", list.name, list_of(&surplus)),
            ));
        }

        let mut sha256 = hex(bytes);
        // The list's own numbers are in its own order of channels.
        let is_reversed = order != list.channel_order;
        let own_mean = match file.mean(image, input)? {
            Some(mean) => mean,
            None => per_channel(&reordered(&list.mean, is_reversed), input),
        };
        let mean = match &given.mean {
            Some(mean_path) => {
                let bytes = read_bounded(mean_path, MAX_FILE_BYTES)?;
                sha256 = format!("{sha256} mean {}", hex(&bytes));
                Weights::parse(mean_path, &bytes)?.mean_image(image, input)?
            }
            None => own_mean,
        };
        if let Some(list) = list.sha256 {
            sha256 = format!("{sha256} network {list}");
        }
        let scale = match file.input_scale(input.channels)? {
            Some(scale) => scale,
            None if is_reversed => [list.scale[2], list.scale[1], list.scale[0]],
            None => list.scale,
        };
        let preprocess = Preprocess { scale, mean, channel_order: order };
        let classes = match (&given.class_names, file.class_names(n_classes)?) {
            (Some(names), _) => read_class_names(names, n_classes)?,
            (None, Some(names)) => names,
            (None, None) => (0..n_classes).map(|class| class.to_string()).collect(),
        };
        let random = file.key("random_weights", "a text", |how| (!how.trim().is_empty()).then(|| one_line(how)))?;
        let network = Network::new(&list.name, input, preprocess, layers, parameters, classes);
        Ok(Network { sha256, image, random, ..network.map_err(|error| Error::file(path, error.to_string()))? })
    }

    /// Writes a weights file that [`Network::load`] reads, whole or not at all. `notes` are further metadata, for people;
    /// they may not take a key of the schema above. The same network and notes give the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: &Path, notes: &[(&str, String)]) -> Result<()> {
        let input = [self.input.channels, self.input.height, self.input.width];
        let scale = &self.preprocess.scale[..self.input.channels];
        let scale = if scale.iter().all(|one| *one == scale[0]) { &scale[..1] } else { scale };
        let mut keys = vec![
            ("format", self.name.clone()),
            ("input", input.map(|size| size.to_string()).join("x")),
            ("input_scale", numbers(scale)),
            ("channel_order", self.preprocess.channel_order.to_string()),
            ("classes", self.classes.len().to_string()),
            ("class_names", self.classes.join("\n")),
        ];
        if self.image != self.input {
            keys.extend([("image_side", self.image.height.to_string()), ("crop", self.input.height.to_string())]);
        }
        let mean = &self.preprocess.mean[..];
        let planes: Vec<&[f32]> = mean.chunks(self.input.height * self.input.width).collect();
        let is_flat = planes.iter().all(|plane| plane.iter().all(|value| value.to_bits() == plane[0].to_bits()));
        if is_flat && !mean.is_empty() {
            keys.push(("input_mean", numbers(&planes.iter().map(|plane| plane[0]).collect::<Vec<_>>())));
        }
        if let Some(how) = &self.random {
            keys.push(("random_weights", how.clone()));
        }
        let mut metadata = Map::new();
        for (key, value) in keys.iter().chain(notes) {
            let before = metadata.insert(key.to_string(), Value::from(value.as_str()));
            assert!(before.is_none(), "two metadata values for {key:?}");
        }

        let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
        let shapes = self.shapes();
        for ((name, shape), parameters) in weights(&self.layers, &shapes).zip(&self.parameters) {
            let biases = vec![shape[0]];
            tensors.push((format!("{name}.weight"), shape, &parameters.weight));
            tensors.push((format!("{name}.bias"), biases, &parameters.bias));
        }
        if !is_flat {
            tensors.push(("mean".to_string(), input.to_vec(), mean));
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

/// `values` as a text from which the same bits are read.
fn numbers(values: &[f32]) -> String {
    values.iter().map(f32::to_string).collect::<Vec<_>>().join(",")
}

/// `values`, the last first if `is_reversed`.
fn reordered(values: &[f32], is_reversed: bool) -> Vec<f32> {
    if is_reversed { values.iter().rev().copied().collect() } else { values.to_vec() }
}

/// A mean image of one value a channel; nothing of nothing.
fn per_channel(means: &[f32], input: Shape) -> Vec<f32> {
    means.iter().flat_map(|&mean| std::iter::repeat_n(mean, input.height * input.width)).collect()
}

/// The names of `n_classes` classes, one a line of the file `path`.
pub(crate) fn read_class_names(path: &Path, n_classes: usize) -> Result<Vec<String>> {
    let bytes = read_bounded(path, MAX_NAMES_BYTES)?;
    let text = str::from_utf8(&bytes).map_err(|_| Error::file(path, "not a text: wanted a class name a line"))?;
    let names: Vec<String> = text.lines().map(|name| name.trim().to_string()).collect();
    if let Some(line) = names.iter().position(String::is_empty) {
        return Err(Error::file(path, format!("line {} is empty, wanted a class name a line", line + 1)));
    }
    if names.len() != n_classes {
        return Err(Error::file(
            path,
            format!("has {} class names, the network has {n_classes} classes: wanted a name a line", names.len()),
        ));
    }
    Ok(names)
}

/// All of a file, but no more than `most` bytes.
pub(crate) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let announced = file.metadata().map_err(Error::io("read", path))?.len();
    let mut bytes = Vec::new();
    if announced <= most {
        // A device or a pipe announces nothing: hence the limit here too.
        file.take(most + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    }
    if announced.max(bytes.len() as u64) > most {
        return Err(Error::file(path, format!("larger than {most} bytes: nothing that a network known here needs")));
    }
    Ok(bytes)
}

/// The start of the safetensors file `path`, up to the end of its header, if it has one.
fn read_header(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 8];
    file.read_exact(&mut bytes).ok()?;
    let header = u64::from_le_bytes(bytes[..].try_into().ok()?);
    let read = (&mut file).take(header.min(MAX_HEADER_BYTES)).read_to_end(&mut bytes).ok()?;
    (read as u64 == header).then_some(bytes)
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
            return Err(fail(format!("is missing; the file has {}", list_of(&self.header.offset_keys()))));
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

    /// The layer list: the one that is `given`, else the one that the metadata name, else the one that the tensors are of.
    fn list(&self, given: Option<&List>) -> Result<List> {
        let format = self.keys.get("format").map(String::as_str);
        let name = match format {
            Some("pt" | "np" | "tf" | "flax" | "mlx") | None => {
                self.keys.get("network").map(|network| network.split(" (").next().unwrap_or_default())
            }
            Some(name) => Some(name),
        };
        let named = name.and_then(List::built_in);
        if let Some(given) = given {
            return match named {
                Some(named) if given.sha256.is_none() && named.name != given.name => Err(Error::file(
                    self.path,
                    format!("has the weights of {}, not of {}, which --network asks for", named.name, given.name),
                )),
                _ => Ok(given.clone()),
            };
        }
        let known = || List::names().collect::<Vec<_>>().join(", ");
        match (name, named) {
            (_, Some(list)) => return Ok(list),
            (Some(name), None) => {
                let reason = format!(
                    "network {:?} is not known; known: {}; --network FILE.toml says the layers of another",
                    one_line(name),
                    known()
                );
                return Err(Error::file(self.path, reason));
            }
            (None, None) => {}
        }
        let mut lists = List::with_tensors(|tensor| self.header.info(tensor).is_some());
        match lists.len() {
            1 => Ok(lists.remove(0)),
            0 => {
                let found = list_of(&self.header.offset_keys());
                let reason = format!(
                    "names no network in its metadata (key \"format\"; known: {}), and its tensors are not those of one: {found}",
                    known()
                );
                Err(Error::file(self.path, reason))
            }
            _ => {
                let names: Vec<&str> = lists.iter().map(|list| list.name.as_str()).collect();
                let reason = format!(
                    "names no network in its metadata (key \"format\"), and its tensors are those of {}: say which with --network",
                    names.join(" and of ")
                );
                Err(Error::file(self.path, reason))
            }
        }
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

    fn input_scale(&self, channels: usize) -> Result<Option<[f32; 3]>> {
        let more = if channels > 1 { format!(", or {channels} of them separated by commas") } else { String::new() };
        self.key("input_scale", &format!("a decimal number above 0{more}"), |value| {
            let scales: Vec<f32> = value.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().ok()?;
            scale_of(&scales, channels).filter(|scale| scale.iter().all(|scale| scale.is_finite() && *scale > 0.0))
        })
    }

    /// The sides of image and crop.
    fn sides(&self, list: &List) -> Result<[usize; 2]> {
        let side = |key: &str| {
            self.key(key, "a number of pixels, 1 to 65536", |value| {
                value.trim().parse().ok().filter(|side| (1..=65_536).contains(side))
            })
        };
        let (image, crop) = (side("image_side")?, side("crop")?);
        let image = image.unwrap_or_else(|| list.image.max(crop.unwrap_or(0)));
        let crop = crop.unwrap_or(if list.crop == list.image { image } else { list.crop });
        if crop > image {
            return Err(Error::file(
                self.path,
                format!("the crop {crop} is larger than the image, whose side is {image}"),
            ));
        }
        Ok([image, crop])
    }

    fn channel_order(&self, list: ChannelOrder) -> Result<Option<ChannelOrder>> {
        let wanted = if list == ChannelOrder::Grey { "grey: the network has one input channel" } else { "RGB or BGR" };
        self.key("channel_order", wanted, |value| match (value.split_whitespace().next()?, list.channels()) {
            ("grey", 1) => Some(ChannelOrder::Grey),
            ("RGB", 3) => Some(ChannelOrder::Rgb),
            ("BGR", 3) => Some(ChannelOrder::Bgr),
            _ => None,
        })
    }

    fn check_input(&self, input: Shape) -> Result<()> {
        let wanted = format!("{}x{}x{}", input.channels, input.height, input.width);
        self.key("input", &format!("a text that begins with {wanted}"), |value| {
            let sizes = value.split(|c: char| !c.is_ascii_digit() && c != 'x').next()?;
            (sizes == wanted || sizes.strip_prefix("1x") == Some(&wanted)).then_some(())
        })
        .map(|_| ())
    }

    /// The mean image that comes with the weights, of the shape `input`; `None` if there is none.
    fn mean(&self, image: Shape, input: Shape) -> Result<Option<Vec<f32>>> {
        const KEYS: [&str; 2] = ["input_mean", "mean_bgr"];
        let given =
            KEYS.into_iter().filter(|key| self.keys.contains_key(*key)).map(|key| format!("the metadata key {key:?}"));
        let tensor = self.header.info("mean").map(|_| "a tensor \"mean\"".to_string());
        if let [first, second, ..] = tensor.into_iter().chain(given).collect::<Vec<_>>().as_slice() {
            return Err(Error::file(self.path, format!("has both {first} and {second}, wanted one of them")));
        }
        let wanted = format!("{} numbers, separated by commas", input.channels);
        for key in KEYS {
            let means = self.key(key, &wanted, |value| {
                let numbers = value.split_whitespace().next()?.split(',').map(|number| number.parse::<f32>());
                let means: Vec<f32> = numbers.collect::<Result<_, _>>().ok()?;
                (means.len() == input.channels && means.iter().all(|mean| mean.is_finite())).then_some(means)
            })?;
            if let Some(means) = means {
                return Ok(Some(per_channel(&means, input)));
            }
        }
        self.header.info("mean").map(|_| self.mean_image(image, input)).transpose()
    }

    /// The tensor `mean`: of the shape `input`, or the central part of one of the shape `image`.
    fn mean_image(&self, image: Shape, input: Shape) -> Result<Vec<f32>> {
        let shape = |shape: Shape| [shape.channels, shape.height, shape.width];
        let has = self.header.info("mean").map_or(&[][..], |info| &info.shape);
        if image != input && !has.is_empty() && has != shape(image) && has != shape(input) {
            let reason = format!(
                "has shape {}, the network needs {} or {}",
                tuple(has),
                tuple(&shape(input)),
                tuple(&shape(image))
            );
            return Err(Error::Weights { path: self.path.to_path_buf(), tensor: "mean".to_string(), reason });
        }
        let from = if has == shape(image) { image } else { input };
        Ok(centre(&self.tensor("mean", &shape(from), "the network")?, from, input))
    }
}

/// The central part, as large as `input`, of an image of the shape `from`.
pub(crate) fn centre(image: &[f32], from: Shape, input: Shape) -> Vec<f32> {
    let (top, left) = ((from.height - input.height) / 2, (from.width - input.width) / 2);
    let rows = (0..input.channels).flat_map(|channel| (0..input.height).map(move |row| (channel, row)));
    rows.flat_map(|(channel, row)| &image[(channel * from.height + top + row) * from.width + left..][..input.width])
        .copied()
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A shape as people write it.
pub(crate) fn tuple(shape: &[usize]) -> String {
    format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// The first of `names`, in quotes, and how many more there are.
fn list_of(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("{:?}", name.chars().take(80).collect::<String>())).collect();
    match names.len() {
        0 => "no tensors".to_string(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
