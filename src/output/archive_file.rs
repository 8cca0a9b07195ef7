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
//! `encoding` (`direct` or `cppn`), `rules` (JSON), `class_names` (JSON); `crops`, the parts of an image that were judged, where they
//! were more than one.
//!
//! A checkpoint's archive is the same but that elites which several niches share stand there once: see `Layout`.
//!
//! Nothing is compressed. Measured with deflate's fastest level on one core of an EPYC, at 256x256x3: direct genes shrink to 90 %, to 82 %
//! with their bytes regrouped, at 35 to 50 MB/s, and their images, which are noise, not at all: twenty seconds and more for a seventh of
//! the gigabyte of 1000 niches, which is written in two. Images of young CPPNs shrink to 6 % at 380 MB/s; but a checkpoint that has shared
//! elites once was a tenth of its size at that time, and of 1000 different ones it has 200 MB, a matter of tenths of a second.

use crate::archive::{ARITHMETIC_VERSION, Archive, Elite, content_hash};
use crate::error::{Error, Result, one_line};
use crate::genome::cppn::{Edge, Graph, Streams};
use crate::genome::{Canvas, Encoding, Genome};
use crate::network::Crops;
use crate::output::tensors::{self, Place, Tensor, Tensors};
use crate::output::{atomic, hash_text};
use crate::version::VERSION;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

const FORMAT: &str = "pareidolia archive 1";

/// What one must know of a run to make sense of its archive.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    pub canvas: Canvas,
    pub encoding: Encoding,
    /// What was judged of an image, where the network sees a part of it.
    pub crops: Crops,
    /// Name of each of the network's classes.
    pub class_names: Vec<String>,
}

/// How the elites of a file stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One a niche.
    Niches,
    /// Those that niches share once: `elites`, u32 (niches), is the number of each niche's elite among those that the other tensors hold
    /// (but for `fitness` and `classes`, which are of niches), counted in the order in which niches have them.
    Shared,
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
    let mut metadata = vec![
        ("format", FORMAT.to_owned()),
        ("version", VERSION.to_owned()),
        ("arithmetic_version", ARITHMETIC_VERSION.to_string()),
        ("generation", archive.generation.to_string()),
        ("archive_hash", hash_text(archive.hash())),
        ("canvas", json(&about.canvas)),
        ("encoding", encoding.to_owned()),
        ("rules", rules),
        ("class_names", json(&about.class_names)),
    ];
    if about.crops == Crops::Ten {
        metadata.push(("crops", "10".to_owned()));
    }
    atomic::write(path, |file| encode(file, archive, about.canvas, Layout::Niches, metadata))
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
/// [`Error::Io`] if the file cannot be opened, [`Error::File`] at the first thing in it that cannot be.
pub fn read(path: &Path) -> Result<(Archive, About)> {
    parse_file(path, File::open(path).map_err(Error::io("read", path))?)
}

/// [`read`] for a file in memory.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8]) -> Result<(Archive, About)> {
    parse_file(Path::new("archive in memory"), Cursor::new(bytes))
}

fn parse_file(path: &Path, source: impl Read + Seek) -> Result<(Archive, About)> {
    parse(source).map_err(|reason| Error::file(path, format!("not a valid archive: {}", one_line(&reason))))
}

fn parse(source: impl Read + Seek) -> Result<(Archive, About), String> {
    let mut tensors = Tensors::open(source, 0)?;
    let metadata = tensors.metadata();
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
        crops: metadata.get("crops").map_or(Ok(Crops::One), |text| {
            let count = parse_entry(text, "crops")?;
            Crops::of(count).ok_or_else(|| format!("metadata \"crops\" is {count}, must be 1 or 10"))
        })?,
        class_names: parse_entry(entry("class_names")?, "class_names")?,
    };
    let generation = parse_entry(entry("generation")?, "generation")?;
    let archive = decode(&mut tensors, about.canvas, &about.encoding, generation, Layout::Niches)?;
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

fn parse_entry<T: DeserializeOwned>(text: &str, key: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|source| format!("metadata {key:?}: {source}"))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("these types have JSON forms")
}

/// Different elites, numbered in the order in which they come.
#[derive(Default)]
struct Distinct {
    elites: Vec<Arc<Elite>>,
    by_hash: HashMap<u64, usize>,
}

impl Distinct {
    /// The number of `elite`: that of its like, if it is not the first.
    fn number(&mut self, elite: &Arc<Elite>) -> usize {
        let number = *self.by_hash.entry(elite.content_hash).or_insert(self.elites.len());
        if self.elites.get(number).is_some_and(|known| Arc::ptr_eq(known, elite) || known == elite) {
            return number;
        }
        self.elites.push(Arc::clone(elite));
        self.elites.len() - 1
    }
}

/// Writes `archive` and `metadata` in safetensors form. The same input gives the same bytes.
///
/// # Errors
/// What `sink` says.
pub(super) fn encode(
    sink: &mut dyn Write,
    archive: &Archive,
    canvas: Canvas,
    layout: Layout,
    metadata: Vec<(&'static str, String)>,
) -> io::Result<()> {
    let niches = archive.elites.len();
    let mut distinct = Distinct::default();
    let (elites, numbers) = match layout {
        Layout::Niches => (&archive.elites, None),
        Layout::Shared => {
            let numbers = archive.elites.iter().map(|elite| distinct.number(elite) as u32).collect();
            (&distinct.elites, Some(Tensor::new("elites", vec![niches], numbers)))
        }
    };
    let graphs: Vec<&Graph> = elites.iter().filter_map(|e| e.genome.graph()).collect();
    let classes = archive.classes.iter().map(|&class| class as i32).collect();
    let mut tensors =
        vec![Tensor::new("fitness", vec![niches], archive.fitness()), Tensor::new("classes", vec![niches], classes)];
    tensors.extend(numbers);
    let (n, n_classes) = (elites.len(), elites[0].probabilities.len());
    tensors.extend([
        Tensor::of_pieces("probabilities", vec![n, n_classes], || elites.iter().map(|e| &e.probabilities)),
        Tensor::of_pieces("images", image_shape(n, canvas), || elites.iter().map(|e| &e.image)),
        Tensor::new("born", vec![n, 2], elites.iter().flat_map(|e| [e.born.0, e.born.1]).collect()),
        Tensor::new("content_hash", vec![n], elites.iter().map(|e| e.content_hash).collect()),
    ]);
    if graphs.is_empty() {
        let shape = vec![n, canvas.height, canvas.width, canvas.channels];
        let genes = || elites.iter().filter_map(|e| e.genome.genes());
        tensors.push(Tensor::of_pieces("genes", shape, genes));
    } else {
        let graphs = &graphs;
        let nodes = offsets(graphs.iter().map(|graph| graph.n_nodes()));
        let edges = offsets(graphs.iter().map(|graph| graph.edges.len()));
        let [n_nodes, n_edges] = [&nodes, &edges].map(|offsets| vec![offsets[n] as usize]);
        let activations =
            move || graphs.iter().map(|g| g.activations.iter().map(|&activation| activation as u8).collect::<Vec<_>>());
        tensors.extend([
            Tensor::new("cppn.node_offsets", vec![n + 1], nodes),
            Tensor::of_pieces("cppn.activations", n_nodes, activations),
            Tensor::new("cppn.edge_offsets", vec![n + 1], edges),
            Tensor::of_pieces("cppn.edge_sources", n_edges.clone(), move || each_edge(graphs, |edge| edge.source)),
            Tensor::of_pieces("cppn.edge_targets", n_edges.clone(), move || each_edge(graphs, |edge| edge.target)),
            Tensor::of_pieces("cppn.edge_genes", n_edges, move || each_edge(graphs, |edge| edge.gene)),
        ]);
    }
    tensors::write(sink, tensors, metadata)
}

/// Something of every edge, a list a graph.
fn each_edge<T>(graphs: &[&Graph], of: fn(&Edge) -> T) -> impl Iterator<Item = Vec<T>> {
    graphs.iter().map(move |graph| graph.edges.iter().map(of).collect())
}

fn image_shape(niches: usize, canvas: Canvas) -> Vec<usize> {
    let mut shape = vec![niches, canvas.height, canvas.width];
    if canvas.channels > 1 {
        shape.push(canvas.channels);
    }
    shape
}

/// Where each of the ragged items begins, and where the last one ends.
fn offsets(lengths: impl Iterator<Item = usize>) -> Vec<u32> {
    let ends = lengths.scan(0_u32, |end, length| {
        let length = u32::try_from(length).ok();
        *end =
            length.and_then(|length| end.checked_add(length)).expect("an archive has fewer than 2^32 nodes and edges");
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
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

/// The archive in `tensors`, all of it checked but the archive hash. What niches share, they share in memory too.
pub(super) fn decode(
    tensors: &mut Tensors<impl Read + Seek>,
    canvas: Canvas,
    encoding: &Encoding,
    generation: u32,
    layout: Layout,
) -> Result<Archive, String> {
    if canvas.height == 0 || canvas.width == 0 || ![1, 3].contains(&canvas.channels) {
        return Err(format!("a canvas of {} x {} x {}", canvas.height, canvas.width, canvas.channels));
    }
    let &[n, n_classes] = tensors.shape("probabilities")? else {
        return Err("tensor \"probabilities\" must have the shape (niches, n_classes)".to_owned());
    };
    if n == 0 || n_classes == 0 {
        return Err(format!("{n} niches of {n_classes} classes"));
    }
    // Which elite each niche has.
    let numbers: Vec<u32> = match layout {
        Layout::Niches => (0..n as u32).collect(),
        Layout::Shared => {
            let niches = tensors.shape("elites")?.iter().product();
            let numbers: Vec<u32> = tensors.all("elites", &[niches])?;
            let n_seen = numbers.iter().try_fold(0, |seen, &number| (number <= seen).then(|| seen.max(number + 1)));
            if n_seen != u32::try_from(n).ok() {
                return Err(format!("tensor \"elites\" must number {n} elites in the order in which niches have them"));
            }
            numbers
        }
    };
    let niches = numbers.len();
    let probabilities = tensors.place::<f32>("probabilities", &[n, n_classes])?;
    let fitness: Vec<f32> = tensors.all("fitness", &[niches])?;
    let images = tensors.place::<u8>("images", &image_shape(n, canvas))?;
    let born: Vec<u32> = tensors.all("born", &[n, 2])?;
    let hashes: Vec<u64> = tensors.all("content_hash", &[n])?;
    let classes: Vec<i32> = tensors.all("classes", &[niches])?;
    let in_range = classes.iter().all(|&class| usize::try_from(class).is_ok_and(|class| class < n_classes));
    if !in_range || !classes.is_sorted_by(|a, b| a < b) {
        return Err(format!("tensor \"classes\" must ascend within 0 to {}", n_classes - 1));
    }
    let mut genomes = Genomes::open(tensors, n, canvas, encoding)?;
    let mut archive = Archive { generation, classes: Vec::with_capacity(niches), elites: Vec::with_capacity(niches) };
    let (mut read, mut distinct) = (Vec::<Arc<Elite>>::with_capacity(n), Distinct::default());
    for (niche, &number) in numbers.iter().enumerate() {
        let (class, number) = (classes[niche] as usize, number as usize);
        let elite = match read.get(number) {
            Some(elite) => Arc::clone(elite),
            None => {
                let probabilities: Vec<f32> = tensors.values(probabilities, number * n_classes, n_classes)?;
                if let Some(bad) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
                    return Err(format!("tensor \"probabilities\" holds {bad}, must lie in [0, 1]"));
                }
                let elite = Elite {
                    probabilities,
                    image: tensors.values(images, number * canvas.len(), canvas.len())?,
                    genome: genomes.take(tensors, number)?,
                    born: (born[2 * number], born[2 * number + 1]),
                    content_hash: hashes[number],
                };
                if elite.born.0 > generation {
                    let born = elite.born.0;
                    return Err(format!(
                        "class {class}: elite born in generation {born}, the archive is of {generation}"
                    ));
                }
                if content_hash(&elite.probabilities, &elite.image, &elite.genome) != elite.content_hash {
                    let hash = hash_text(elite.content_hash);
                    return Err(format!("class {class}: the elite does not have its content hash {hash}"));
                }
                let number = distinct.number(&Arc::new(elite));
                read.push(Arc::clone(&distinct.elites[number]));
                Arc::clone(&distinct.elites[number])
            }
        };
        let probability = elite.probabilities[class];
        if fitness[niche].to_bits() != probability.to_bits() {
            return Err(format!("class {class}: fitness {} is not its probability {probability}", fitness[niche]));
        }
        archive.classes.push(class as u32);
        archive.elites.push(elite);
    }
    Ok(archive)
}

/// The genomes of a file.
enum Genomes {
    Direct {
        place: Place,
        n_genes: usize,
    },
    /// All of them at once: they are small beside their images.
    Cppn(std::vec::IntoIter<Graph>),
}

impl Genomes {
    /// Those of `n` elites.
    fn open(
        tensors: &mut Tensors<impl Read + Seek>,
        n: usize,
        canvas: Canvas,
        encoding: &Encoding,
    ) -> Result<Genomes, String> {
        let rules = match encoding {
            Encoding::Direct(_) => {
                let place = tensors.place::<f32>("genes", &[n, canvas.height, canvas.width, canvas.channels])?;
                return Ok(Genomes::Direct { place, n_genes: canvas.len() });
            }
            Encoding::Cppn(rules) => rules,
        };
        rules.validate(canvas.channels)?;
        let nodes = tensors.shape("cppn.activations")?.to_vec();
        let edges = tensors.shape("cppn.edge_genes")?.to_vec();
        let activations: Vec<u8> = tensors.all("cppn.activations", &nodes)?;
        let genes: Vec<f32> = tensors.all("cppn.edge_genes", &edges)?;
        let mut ragged = |name: &str, total: usize| {
            tensors.all(name, &[n + 1]).and_then(|offsets: Vec<u32>| lengths(name, &offsets, total))
        };
        let streams = Streams {
            n_nodes: ragged("cppn.node_offsets", activations.len())?,
            n_edges: ragged("cppn.edge_offsets", genes.len())?,
            activations,
            sources: tensors.all("cppn.edge_sources", &edges)?,
            targets: tensors.all("cppn.edge_targets", &edges)?,
            genes,
        };
        Ok(Genomes::Cppn(streams.graphs(rules, canvas.channels)?.into_iter()))
    }

    /// Genome `number`. They are taken in order, each once.
    fn take(&mut self, tensors: &mut Tensors<impl Read + Seek>, number: usize) -> Result<Genome, String> {
        match self {
            Genomes::Direct { place, n_genes } => {
                let genes: Vec<f32> = tensors.values(*place, number * *n_genes, *n_genes)?;
                match genes.iter().find(|gene| !(0.0..=1.0).contains(*gene)) {
                    Some(bad) => Err(format!("tensor \"genes\" holds {bad}, must lie in [0, 1]")),
                    None => Ok(Genome::Direct(genes)),
                }
            }
            Genomes::Cppn(graphs) => Ok(Genome::Cppn(graphs.next().expect("one an elite"))),
        }
    }
}
