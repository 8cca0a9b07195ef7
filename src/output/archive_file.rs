//! `archive.safetensors`: an archive as any program reads it.
//!
//! | tensor | type, shape | |
//! |---|---|---|
//! | `fitness` | f32 (niches) | confidence of each elite in its niche's class |
//! | `probabilities` | f32 (niches, n_classes) | |
//! | `images` | u8 (niches, H, W) or (niches, H, W, 3) | what was scored; RGB |
//! | `classes` | i32 (niches) | class of each niche, ascending |
//! | `born` | u32 (niches, 2) | generation, candidate |
//! | `content_hash` | u64 (niches) | see [`archive`](crate::archive) |
//! | `genes` | f32 (niches, H, W, C) | direct genomes |
//! | `cppn.node_offsets` | u32 (niches + 1) | niche i owns the nodes `offsets[i]..offsets[i + 1]` |
//! | `cppn.activations` | u8 (nodes) | 0 sine, 1 sigmoid, 2 Gaussian, 3 linear; inputs, outputs, hidden nodes |
//! | `cppn.edge_offsets` | u32 (niches + 1) | the same for edges |
//! | `cppn.edge_sources`, `cppn.edge_targets` | u16 (edges) | nodes, counted from the niche's first |
//! | `cppn.edge_genes` | f32 (edges) | in [0, 1] |
//!
//! Metadata: `format`, `version` (of the program), `arithmetic_version`, `generation`, `archive_hash`, `canvas` (JSON),
//! `encoding` (`direct` or `cppn`), `rules` (JSON), `class_names` (JSON).

use crate::archive::{ARITHMETIC_VERSION, Archive, Elite, content_hash};
use crate::error::{Error, Result, one_line};
use crate::genome::cppn::Streams;
use crate::genome::{Canvas, Encoding, Genome};
use crate::output::{atomic, hash_text};
use crate::version::VERSION;
use safetensors::{Dtype, SafeTensors, View};
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

const FORMAT: &str = "pareidolia archive 1";

/// What one must know of a run to make sense of its archive.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    pub canvas: Canvas,
    pub encoding: Encoding,
    /// Name of each of the network's classes.
    pub class_names: Vec<String>,
}

/// Writes `archive` to `path`, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, archive: &Archive, about: &About) -> Result<()> {
    let (encoding, rules) = match &about.encoding {
        Encoding::Direct(rules) => ("direct", json(rules)),
        Encoding::Cppn(rules) => ("cppn", json(rules)),
    };
    let bytes = encode(
        archive,
        about.canvas,
        [
            ("format", FORMAT.to_owned()),
            ("version", VERSION.to_owned()),
            ("arithmetic_version", ARITHMETIC_VERSION.to_string()),
            ("generation", archive.generation.to_string()),
            ("archive_hash", hash_text(archive.hash())),
            ("canvas", json(&about.canvas)),
            ("encoding", encoding.to_owned()),
            ("rules", rules),
            ("class_names", json(&about.class_names)),
        ],
    );
    atomic::write(path, |file| file.write_all(&bytes))
}

/// Most bytes of the file of an archive of `n_niches`, its genomes at capacity.
pub fn most_bytes(canvas: Canvas, encoding: &Encoding, n_niches: usize, class_names: &[String]) -> u64 {
    /// The header but for the names of the classes, which is text: tensors, rules, numbers.
    const HEADER: usize = 4096;
    let genome = match encoding {
        Encoding::Direct(_) => canvas.len() * size_of::<f32>(),
        Encoding::Cppn(rules) => {
            let edge = 2 * size_of::<u16>() + size_of::<f32>();
            2 * size_of::<u32>() + rules.max_nodes as usize + rules.max_edges as usize * edge
        }
    };
    let fitness_class_born_hash = 4 + 4 + 8 + 8;
    let elite = fitness_class_born_hash + class_names.len() * size_of::<f32>() + canvas.len() + genome;
    let names: usize = class_names.iter().map(|name| name.len() + 5).sum(); // quotes escaped in JSON within JSON, a comma
    (HEADER + names + n_niches * elite) as u64
}

/// Reads what [`write()`] wrote, and checks all of it.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::File`] at the first thing in it that cannot be.
pub fn read(path: &Path) -> Result<(Archive, About)> {
    parse_file(path, &fs::read(path).map_err(Error::io("read", path))?)
}

/// [`read`] for a file in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<(Archive, About)> {
    parse_file(Path::new("archive in memory"), bytes)
}

fn parse_file(path: &Path, bytes: &[u8]) -> Result<(Archive, About)> {
    parse(bytes).map_err(|reason| Error::file(path, format!("not a valid archive: {}", one_line(&reason))))
}

fn parse(bytes: &[u8]) -> Result<(Archive, About), String> {
    let metadata = metadata(bytes)?;
    let entry = |key: &str| metadata.get(key).ok_or_else(|| format!("metadata has no {key:?}"));
    if entry("format")? != FORMAT {
        return Err(format!("metadata \"format\" is {:?}, must be {FORMAT:?}", entry("format")?));
    }
    check_arithmetic(parse_entry(entry("arithmetic_version")?, "arithmetic_version")?)?;
    let rules = entry("rules")?;
    let encoding = match entry("encoding")?.as_str() {
        "direct" => Encoding::Direct(parse_entry(rules, "rules")?),
        "cppn" => Encoding::Cppn(parse_entry(rules, "rules")?),
        other => return Err(format!("metadata \"encoding\" is {other:?}, must be \"direct\" or \"cppn\"")),
    };
    let about = About {
        canvas: parse_entry(entry("canvas")?, "canvas")?,
        encoding,
        class_names: parse_entry(entry("class_names")?, "class_names")?,
    };
    let generation = parse_entry(entry("generation")?, "generation")?;
    let archive = decode(bytes, about.canvas, &about.encoding, generation)?;
    let n_classes = archive.elites[0].probabilities.len();
    if about.class_names.len() != n_classes {
        return Err(format!("{} class names for {n_classes} classes", about.class_names.len()));
    }
    check_hash(&archive, entry("archive_hash")?)?;
    Ok((archive, about))
}

/// Refuses what another version of the arithmetic made: its hashes and drawings would not be the same here.
pub(super) fn check_arithmetic(version: u32) -> Result<(), String> {
    if version == ARITHMETIC_VERSION {
        return Ok(());
    }
    Err(format!(
        "made with arithmetic version {version}, this program has {ARITHMETIC_VERSION}; use the program that made it"
    ))
}

/// Compares the archive hash with the one a file holds.
pub(super) fn check_hash(archive: &Archive, want: &str) -> Result<(), String> {
    let got = hash_text(archive.hash());
    if got == want { Ok(()) } else { Err(format!("the archive hash is {got}, the file says {want}")) }
}

/// The metadata of a safetensors file.
pub(super) fn metadata(bytes: &[u8]) -> Result<HashMap<String, String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|source| format!("not safetensors: {source}"))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

fn parse_entry<T: DeserializeOwned>(text: &str, key: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|source| format!("metadata {key:?}: {source}"))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("these types have JSON forms")
}

/// A number as files hold it: little-endian.
trait Element: Copy {
    const DTYPE: Dtype;
    fn to_bytes(values: impl Iterator<Item = Self>) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($($number:ty: $dtype:ident),*) => {$(
        impl Element for $number {
            const DTYPE: Dtype = Dtype::$dtype;
            fn to_bytes(values: impl Iterator<Item = $number>) -> Vec<u8> {
                values.flat_map(<$number>::to_le_bytes).collect()
            }
            fn from_bytes(bytes: &[u8]) -> Vec<$number> {
                bytes.as_chunks().0.iter().map(|&bytes| <$number>::from_le_bytes(bytes)).collect()
            }
        }
    )*};
}
element!(u8: U8, u16: U16, u32: U32, i32: I32, f32: F32, u64: U64);

/// A tensor that makes its bytes when it is written: of large archives one copy in memory is enough.
struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Box<dyn Fn() -> Vec<u8> + 'a>,
}

impl<'a> Tensor<'a> {
    fn new<T: Element, I: Iterator<Item = T>>(shape: Vec<usize>, values: impl Fn() -> I + 'a) -> Tensor<'a> {
        Tensor { dtype: T::DTYPE, shape, bytes: Box::new(move || T::to_bytes(values())) }
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        (self.bytes)().into()
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// `archive` and `metadata` in safetensors form. The same input gives the same bytes.
pub(super) fn encode<const N: usize>(archive: &Archive, canvas: Canvas, metadata: [(&str, String); N]) -> Vec<u8> {
    let elites = &archive.elites;
    let niches = elites.len();
    let n_classes = elites[0].probabilities.len();
    let (mut direct, mut streams) = (Vec::new(), Streams::default());
    for elite in elites {
        match &elite.genome {
            Genome::Direct(genes) => direct.push(genes),
            Genome::Cppn(graph) => streams.push(graph),
        }
    }
    let mut tensors = vec![
        ("fitness", Tensor::new(vec![niches], || archive.fitness().into_iter())),
        (
            "probabilities",
            Tensor::new(vec![niches, n_classes], || elites.iter().flat_map(|e| e.probabilities.iter().copied())),
        ),
        ("images", Tensor::new(image_shape(niches, canvas), || elites.iter().flat_map(|e| e.image.iter().copied()))),
        ("classes", Tensor::new(vec![niches], || archive.classes.iter().map(|&class| class as i32))),
        ("born", Tensor::new(vec![niches, 2], || elites.iter().flat_map(|e| [e.born.0, e.born.1]))),
        ("content_hash", Tensor::new(vec![niches], || elites.iter().map(|e| e.content_hash))),
    ];
    if direct.is_empty() {
        let (nodes, edges) = (streams.activations.len(), streams.genes.len());
        tensors.extend([
            ("cppn.node_offsets", Tensor::new(vec![niches + 1], || offsets(&streams.n_nodes))),
            ("cppn.activations", Tensor::new(vec![nodes], || streams.activations.iter().copied())),
            ("cppn.edge_offsets", Tensor::new(vec![niches + 1], || offsets(&streams.n_edges))),
            ("cppn.edge_sources", Tensor::new(vec![edges], || streams.sources.iter().copied())),
            ("cppn.edge_targets", Tensor::new(vec![edges], || streams.targets.iter().copied())),
            ("cppn.edge_genes", Tensor::new(vec![edges], || streams.genes.iter().copied())),
        ]);
    } else {
        let shape = vec![niches, canvas.height, canvas.width, canvas.channels];
        tensors.push(("genes", Tensor::new(shape, || direct.iter().flat_map(|genes| genes.iter().copied()))));
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).expect("shapes agree with lengths");
    sort_metadata(&mut bytes);
    bytes
}

/// Puts the metadata of a safetensors file in the order of its keys; the crate writes them in a random one.
fn sort_metadata(bytes: &mut [u8]) {
    let (length, rest) = bytes.split_at_mut(8);
    let header = &mut rest[..u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize];
    let mut value: serde_json::Value = serde_json::from_slice(header).expect("safetensors writes JSON");
    value["__metadata__"].sort_all_objects();
    let sorted = json(&value);
    header[..sorted.len()].copy_from_slice(sorted.as_bytes()); // as long as it was, before the padding
}

fn image_shape(niches: usize, canvas: Canvas) -> Vec<usize> {
    let mut shape = vec![niches, canvas.height, canvas.width];
    if canvas.channels > 1 {
        shape.push(canvas.channels);
    }
    shape
}

/// Where each of the ragged items begins, and where the last one ends.
fn offsets(lengths: &[u32]) -> impl Iterator<Item = u32> {
    let ends = lengths.iter().scan(0_u32, |end, &length| {
        *end = end.checked_add(length).expect("genomes of an archive stay below 2^32 nodes and edges");
        Some(*end)
    });
    std::iter::once(0).chain(ends)
}

/// The lengths of ragged items, from what [`offsets`] made.
fn lengths(name: &str, offsets: &[u32], total: usize) -> Result<Vec<u32>, String> {
    let ends = (offsets.first().copied(), offsets.last().copied());
    if ends != (Some(0), u32::try_from(total).ok()) {
        return Err(format!("tensor {name:?} must run from 0 to {total}"));
    }
    let length = |pair: &[u32]| pair[1].checked_sub(pair[0]);
    offsets.windows(2).map(length).collect::<Option<_>>().ok_or_else(|| format!("tensor {name:?} does not ascend"))
}

/// The archive in `bytes`, all of it checked but the archive hash.
pub(super) fn decode(bytes: &[u8], canvas: Canvas, encoding: &Encoding, generation: u32) -> Result<Archive, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|source| format!("not safetensors: {source}"))?;
    let shape_of = |name: &str| match tensors.tensor(name) {
        Ok(tensor) => Ok(tensor.shape().to_vec()),
        Err(_) => Err(format!("has no tensor {name:?}")),
    };
    if canvas.height == 0 || canvas.width == 0 || ![1, 3].contains(&canvas.channels) {
        return Err(format!("a canvas of {} x {} x {}", canvas.height, canvas.width, canvas.channels));
    }
    let &[niches, n_classes] = shape_of("probabilities")?.as_slice() else {
        return Err("tensor \"probabilities\" must have the shape (niches, n_classes)".to_owned());
    };
    if niches == 0 || n_classes == 0 {
        return Err(format!("{niches} niches of {n_classes} classes"));
    }
    let probabilities: Vec<f32> = values(&tensors, "probabilities", &[niches, n_classes])?;
    if let Some(bad) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(format!("tensor \"probabilities\" holds {bad}, must lie in [0, 1]"));
    }
    let fitness: Vec<f32> = values(&tensors, "fitness", &[niches])?;
    let images: Vec<u8> = values(&tensors, "images", &image_shape(niches, canvas))?;
    let born: Vec<u32> = values(&tensors, "born", &[niches, 2])?;
    let hashes: Vec<u64> = values(&tensors, "content_hash", &[niches])?;
    let classes: Vec<i32> = values(&tensors, "classes", &[niches])?;
    let in_range = classes.iter().all(|&class| usize::try_from(class).is_ok_and(|class| class < n_classes));
    if !in_range || !classes.is_sorted_by(|a, b| a < b) {
        return Err(format!("tensor \"classes\" must ascend within 0 to {}", n_classes - 1));
    }
    let genomes: Vec<Genome> = match encoding {
        Encoding::Direct(_) => {
            let genes: Vec<f32> = values(&tensors, "genes", &[niches, canvas.height, canvas.width, canvas.channels])?;
            if let Some(bad) = genes.iter().find(|gene| !(0.0..=1.0).contains(*gene)) {
                return Err(format!("tensor \"genes\" holds {bad}, must lie in [0, 1]"));
            }
            genes.chunks(canvas.len()).map(|genes| Genome::Direct(genes.to_vec())).collect()
        }
        Encoding::Cppn(rules) => {
            rules.validate(canvas.channels)?;
            let (nodes, edges) = (shape_of("cppn.activations")?, shape_of("cppn.edge_genes")?);
            let activations: Vec<u8> = values(&tensors, "cppn.activations", &nodes)?;
            let genes: Vec<f32> = values(&tensors, "cppn.edge_genes", &edges)?;
            let ragged = |name: &str, total: usize| {
                values(&tensors, name, &[niches + 1]).and_then(|offsets| lengths(name, &offsets, total))
            };
            let streams = Streams {
                n_nodes: ragged("cppn.node_offsets", activations.len())?,
                n_edges: ragged("cppn.edge_offsets", genes.len())?,
                activations,
                sources: values(&tensors, "cppn.edge_sources", &edges)?,
                targets: values(&tensors, "cppn.edge_targets", &edges)?,
                genes,
            };
            streams.graphs(rules, canvas.channels)?.into_iter().map(Genome::Cppn).collect()
        }
    };
    let mut archive = Archive { generation, classes: Vec::with_capacity(niches), elites: Vec::with_capacity(niches) };
    for (niche, genome) in genomes.into_iter().enumerate() {
        let class = classes[niche] as usize;
        let probabilities = &probabilities[niche * n_classes..][..n_classes];
        let image = &images[niche * canvas.len()..][..canvas.len()];
        let born = (born[2 * niche], born[2 * niche + 1]);
        if fitness[niche].to_bits() != probabilities[class].to_bits() {
            return Err(format!(
                "class {class}: fitness {} is not its probability {}",
                fitness[niche], probabilities[class]
            ));
        }
        if born.0 > generation {
            return Err(format!("class {class}: elite born in generation {}, the archive is of {generation}", born.0));
        }
        if content_hash(probabilities, image, &genome) != hashes[niche] {
            return Err(format!(
                "class {class}: the elite does not have its content hash {}",
                hash_text(hashes[niche])
            ));
        }
        archive.classes.push(class as u32);
        archive.elites.push(Elite {
            probabilities: probabilities.to_vec(),
            image: image.to_vec(),
            genome,
            born,
            content_hash: hashes[niche],
        });
    }
    Ok(archive)
}

/// The values of tensor `name`, which must have `shape`.
fn values<T: Element>(tensors: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<T>, String> {
    let tensor = tensors.tensor(name).map_err(|_| format!("has no tensor {name:?}"))?;
    if tensor.dtype() != T::DTYPE || tensor.shape() != shape {
        let (got, want) = (tensor.dtype(), T::DTYPE);
        return Err(format!("tensor {name:?} is {got:?} {:?}, must be {want:?} {shape:?}", tensor.shape()));
    }
    Ok(T::from_bytes(tensor.data()))
}
