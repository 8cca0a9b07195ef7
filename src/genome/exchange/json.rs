//! A genome as JSON, which comes back bit for bit. `docs/genome.schema.json` is the schema.
//!
//! | key | |
//! |---|---|
//! | `format`, `version` | `"pareidolia genome"`, 1 |
//! | `arithmetic_version` | of the rules that draw it, see [`ARITHMETIC_VERSION`] |
//! | `encoding` | `"cppn"` or `"direct"` |
//! | `canvas` | `height`, `width` of the image in pixels; `channels`, 1 (grey) or 3 (colour) |
//! | `normalise` | CPPN: whether x and y run over [-1, 1] instead of being pixel indices |
//! | `max_weight` | CPPN: a gene g stands for the weight `fma(2 * max_weight, g, -max_weight)` |
//! | `steps` | CPPN: the synchronous steps T of all nodes; may be left out, since it follows from the graph |
//! | `nodes` | CPPN: `id`, 0, 1, 2, ... in this order: the inputs x, y, distance from the centre and 1, then the output(s), then hidden nodes in the order of their creation; `activation`, `sine`, `sigmoid`, `gaussian` or `linear` (inputs ignore theirs, but it varies); `role`, `x`, `y`, `distance`, `one`, `grey` or `hue`, `lightness`, `saturation`, or `hidden`, which may be left out |
//! | `edges` | CPPN: `from`, `to`, ids of nodes; `gene`, the f32 in [0, 1] in the shortest decimal that names it; `weight`, what it stands for, which may be left out. In the order of their creation, in which sums are made. Parallel edges add up; there is no cycle, and no edge into an input or out of an output |
//! | `genes` | direct: f32 in [0, 1], (height, width, channels), row by row |
//! | `origin` | may be left out: `archive_hash`, `class`, `class_name`, `confidence`, `born` (generation, candidate), `crops` where ten parts of the image were judged; `network` and `weights_sha256` where the run said them |
//!
//! What may be left out must be right where it is there: a weight is that of its gene, `steps` those of the graph. No other keys.

use super::{MAX_SIDE, Net, Origin, Settings, Specimen, net, node_name};
use crate::archive::ARITHMETIC_VERSION;
use crate::genome::cppn::{Activation, Edge, Graph, N_INPUTS, Rules};
use crate::genome::{Canvas, Genome};
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::marker::PhantomData;

const FORMAT: &str = "pareidolia genome";
const VERSION: u64 = 1;

/// Bytes of a file, at most: more than the largest genome of each encoding takes that people draw.
pub const MAX_BYTES: u64 = 256 << 20;

/// Most nodes and edges, as of any run.
const MAX_NODES: usize = 1 << 16;
const MAX_EDGES: usize = 1 << 20;
const MAX_GENES: usize = MAX_SIDE * MAX_SIDE * 3;

/// Rules of a capacity that no genome of a file passes.
pub(super) fn roomy_rules() -> Rules {
    Rules { max_nodes: MAX_NODES as u32, max_edges: MAX_EDGES as u32, ..Rules::faithful() }
}

/// What is looked at first, since with the version all else may have changed.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    format: Option<Cow<'a, str>>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    arithmetic_version: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EncodingName {
    Cppn,
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActivationName {
    Sine,
    Sigmoid,
    Gaussian,
    Linear,
}

/// The name of an activation, in this format and wherever people see one.
pub fn activation_name(activation: Activation) -> &'static str {
    ["sine", "sigmoid", "gaussian", "linear"][activation as usize]
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    X,
    Y,
    Distance,
    One,
    Grey,
    Hue,
    Lightness,
    Saturation,
    Hidden,
}

impl Role {
    /// That of node `node` of a graph of `n_outputs` outputs.
    fn of(node: usize, n_outputs: usize) -> Role {
        const INPUTS: [Role; N_INPUTS] = [Role::X, Role::Y, Role::Distance, Role::One];
        const COLOUR: [Role; 3] = [Role::Hue, Role::Lightness, Role::Saturation];
        match node.checked_sub(N_INPUTS) {
            None => INPUTS[node],
            Some(0) if n_outputs == 1 => Role::Grey,
            Some(output) if output < n_outputs => COLOUR[output],
            Some(_) => Role::Hidden,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    id: u64,
    activation: ActivationName,
    role: Option<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeText {
    from: u64,
    to: u64,
    gene: f32,
    weight: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CanvasText {
    height: usize,
    width: usize,
    channels: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginText {
    archive_hash: String,
    class: u32,
    class_name: String,
    confidence: f32,
    born: (u32, u32),
    crops: Option<u32>,
    network: Option<String>,
    weights_sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "$schema")]
    _schema: Option<IgnoredAny>,
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(rename = "version")]
    _version: IgnoredAny,
    #[serde(rename = "arithmetic_version")]
    _arithmetic_version: IgnoredAny,
    encoding: EncodingName,
    canvas: CanvasText,
    normalise: Option<bool>,
    max_weight: Option<f32>,
    steps: Option<u32>,
    nodes: Option<List<Node, MAX_NODES>>,
    edges: Option<List<EdgeText, MAX_EDGES>>,
    genes: Option<List<f32, MAX_GENES>>,
    origin: Option<OriginText>,
}

/// A list of at most `MOST`: a longer one is not read to its end.
struct List<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<T, MOST> {
            type Value = Vec<T>;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                write!(text, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() == MOST {
                        return Err(A::Error::custom(format!("a list of more than {MOST}, the most there may be")));
                    }
                    list.push(item);
                }
                Ok(list)
            }
        }

        deserializer.deserialize_seq(Reader::<T, MOST>(PhantomData)).map(List)
    }
}

/// Whether a file that begins with `start`, nine bytes or more, is JSON, if it is anything that this program reads.
pub fn begins(start: &[u8]) -> bool {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    // The header of safetensors begins with its length, whose high bytes are 0.
    first == Some(&b'{') && !start.contains(&0)
}

/// The genome that `text`, a JSON document, holds.
///
/// # Errors
/// The first thing in it that cannot be, and what is wanted.
pub fn parse(text: &[u8]) -> Result<Specimen, String> {
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{} bytes, a genome takes at most {MAX_BYTES}", text.len()));
    }
    if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("not a genome in JSON: it does not begin with {".to_owned());
    }
    let head: Head = serde_json::from_slice(text).map_err(|source| format!("not a genome in JSON: {source}"))?;
    match head.format.as_deref() {
        Some(FORMAT) => {}
        Some(other) => return Err(format!("\"format\" is {other:?}, wanted {FORMAT:?}")),
        None => return Err(format!("has no \"format\": {FORMAT:?}; `pareidolia export` writes genomes")),
    }
    if head.version != Some(VERSION) {
        let version = head.version.map_or("none".to_owned(), |version| version.to_string());
        return Err(format!("\"version\" is {version}, this program reads {VERSION}"));
    }
    if head.arithmetic_version != Some(ARITHMETIC_VERSION) {
        let version = head.arithmetic_version.map_or("none".to_owned(), |version| version.to_string());
        return Err(format!(
            "\"arithmetic_version\" is {version}, this program has {ARITHMETIC_VERSION}: it would draw another picture; use the program \
             that made it"
        ));
    }
    let file: File = serde_json::from_slice(text).map_err(|source| source.to_string())?;
    let CanvasText { height, width, channels } = file.canvas;
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&height) || !sides.contains(&width) || ![1, 3].contains(&channels) {
        return Err(format!(
            "the canvas is {width} x {height} of {channels} channels, wanted sides from 1 to {MAX_SIDE} and 1 or 3 channels"
        ));
    }
    let canvas = Canvas { height, width, channels };
    let origin = file.origin.map(origin).transpose()?;
    let (wanted, others) = match file.encoding {
        EncodingName::Cppn => ("cppn", [("genes", file.genes.is_some()), ("", false), ("", false), ("", false)]),
        EncodingName::Direct => (
            "direct",
            [
                ("nodes", file.nodes.is_some()),
                ("edges", file.edges.is_some()),
                ("normalise", file.normalise.is_some()),
                ("max_weight", file.max_weight.is_some()),
            ],
        ),
    };
    if let Some((key, _)) = others.iter().find(|(_, is_there)| *is_there) {
        return Err(format!("has {key:?}, which a genome of the encoding {wanted:?} has not"));
    }
    let missing = |key: &str| format!("has no {key:?}, which a genome of the encoding {wanted:?} has");
    if file.encoding == EncodingName::Direct {
        let List(genes) = file.genes.ok_or_else(|| missing("genes"))?;
        if genes.len() != canvas.len() {
            return Err(format!(
                "has {} genes, a canvas of {width} x {height} of {channels} channels has {}",
                genes.len(),
                canvas.len()
            ));
        }
        if let Some((at, bad)) = genes.iter().enumerate().find(|(_, gene)| !(0.0..=1.0).contains(*gene)) {
            return Err(format!("gene {at} is {bad}, genes lie in [0, 1]"));
        }
        return Ok(Specimen { canvas, genome: Genome::Direct(genes), settings: None, origin });
    }
    let settings = Settings {
        normalise: file.normalise.ok_or_else(|| missing("normalise"))?,
        max_weight: file.max_weight.ok_or_else(|| missing("max_weight"))?,
    };
    let (List(nodes), List(edges)) =
        (file.nodes.ok_or_else(|| missing("nodes"))?, file.edges.ok_or_else(|| missing("edges"))?);
    let rules = Rules { max_weight: settings.max_weight, ..roomy_rules() };
    rules.validate(channels)?;
    let graph = graph(nodes, &edges, channels)?;
    graph.validate(&rules, channels)?;
    let steps = net::check(&graph)?;
    if let Some(other) = file.steps.filter(|&other| other != steps) {
        return Err(format!("\"steps\" is {other}, the graph makes {steps}; leave it out or correct it"));
    }
    let weight = |gene: f32| (2.0 * settings.max_weight).mul_add(gene, -settings.max_weight);
    for (at, (edge, read)) in graph.edges.iter().zip(&edges).enumerate() {
        let weight = weight(edge.gene);
        if let Some(other) = read.weight.filter(|&other| other != weight) {
            return Err(format!(
                "edge {at} has weight {other}, but its gene {} stands for {weight}: a gene g stands for max_weight (2 g - 1); the gene \
                 counts, leave the weight out or correct it",
                edge.gene
            ));
        }
    }
    Ok(Specimen { canvas, genome: Genome::Cppn(graph), settings: Some(settings), origin })
}

/// The graph of `nodes` and `edges`, not validated.
fn graph(nodes: Vec<Node>, edges: &[EdgeText], n_outputs: usize) -> Result<Graph, String> {
    let mut activations = Vec::with_capacity(nodes.len());
    for (at, Node { id, activation, role }) in nodes.into_iter().enumerate() {
        if id != at as u64 {
            return Err(format!("node {at} of the list has id {id}: ids are 0, 1, 2, ... in their order"));
        }
        if role.is_some_and(|role| role != Role::of(at, n_outputs)) {
            return Err(format!(
                "node {at} has another role than its place: the inputs x, y, distance, one come first, then the outputs, then hidden nodes"
            ));
        }
        activations.push(Activation::ALL[activation as usize]);
    }
    let n_nodes = activations.len();
    let mut joined = Vec::with_capacity(edges.len());
    for (at, &EdgeText { from, to, gene, .. }) in edges.iter().enumerate() {
        let node = |id: u64| {
            let known = u16::try_from(id).ok().filter(|&id| usize::from(id) < n_nodes);
            known.ok_or_else(|| format!("edge {at} joins node {from} to {to}, there is no node {id}"))
        };
        joined.push(Edge { source: node(from)?, target: node(to)?, gene });
    }
    Ok(Graph { n_outputs, activations, edges: joined })
}

fn origin(text: OriginText) -> Result<Origin, String> {
    let OriginText { archive_hash, class, class_name, confidence, born, crops, network, weights_sha256 } = text;
    let digits = Some(&archive_hash[..]).filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    let hash = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let archive_hash = hash.ok_or("the origin's \"archive_hash\" is not 16 hexadecimal digits")?;
    if !(0.0..=1.0).contains(&confidence) {
        return Err(format!("the origin's \"confidence\" is {confidence}, must lie in [0, 1]"));
    }
    let crops = crops.unwrap_or(1);
    if ![1, 10].contains(&crops) {
        return Err(format!("the origin's \"crops\" is {crops}, must be 1 or 10"));
    }
    Ok(Origin { archive_hash, class, class_name, confidence, born, crops, network, weights_sha256 })
}

/// `specimen` as a JSON document, a node and an edge a line. The same genome gives the same text.
///
/// # Errors
/// If it takes more than can be drawn.
pub fn text(specimen: &Specimen) -> Result<String, String> {
    write(specimen, "\n  ", "\n    ", "\n")
}

/// The same on one line.
///
/// # Errors
/// As [`text`].
pub fn line(specimen: &Specimen) -> Result<String, String> {
    write(specimen, "", "", "")
}

/// `key` begins a line of a key, `item` one of an item, `end` the last one.
fn write(specimen: &Specimen, key: &str, item: &str, end: &str) -> Result<String, String> {
    let Specimen { canvas: Canvas { height, width, channels }, genome, settings, origin } = specimen;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(out, "{{{key}\"format\": {FORMAT:?},{key}\"version\": {VERSION},");
    let _ = write!(out, "{key}\"arithmetic_version\": {ARITHMETIC_VERSION},");
    let encoding = if settings.is_some() { "cppn" } else { "direct" };
    let _ = write!(out, "{key}\"encoding\": \"{encoding}\",");
    let _ = write!(out, "{key}\"canvas\": {{\"height\": {height}, \"width\": {width}, \"channels\": {channels}}},");
    match (genome, settings) {
        (Genome::Cppn(graph), Some(Settings { normalise, max_weight })) => {
            let Net { weights, steps, .. } = Net::new(graph, *max_weight)?;
            let _ = write!(out, "{key}\"normalise\": {normalise},{key}\"max_weight\": {},", float(*max_weight));
            let _ = write!(out, "{key}\"steps\": {steps},{key}\"nodes\": [");
            for (id, &activation) in graph.activations.iter().enumerate() {
                let separator = if id == 0 { "" } else { "," };
                let role = if id < graph.first_hidden() { node_name(graph, id) } else { "hidden".to_owned() };
                let activation = activation_name(activation);
                let _ = write!(
                    out,
                    "{separator}{item}{{\"id\": {id}, \"role\": \"{role}\", \"activation\": \"{activation}\"}}"
                );
            }
            let _ = write!(out, "{key}],{key}\"edges\": [");
            for (at, (Edge { source, target, gene }, weight)) in graph.edges.iter().zip(weights).enumerate() {
                let separator = if at == 0 { "" } else { "," };
                let (gene, weight) = (float(*gene), float(weight));
                let _ = write!(
                    out,
                    "{separator}{item}{{\"from\": {source}, \"to\": {target}, \"gene\": {gene}, \"weight\": {weight}}}"
                );
            }
            let _ = write!(out, "{key}]");
        }
        (Genome::Direct(genes), _) => {
            let _ = write!(out, "{key}\"genes\": [");
            for (row, genes) in genes.chunks(width * channels).enumerate() {
                let genes: Vec<String> = genes.iter().map(|&gene| float(gene)).collect();
                let _ = write!(out, "{}{item}{}", if row == 0 { "" } else { "," }, genes.join(", "));
            }
            let _ = write!(out, "{key}]");
        }
        (Genome::Cppn(_), None) => unreachable!("a CPPN comes with its settings"),
    }
    if let Some(Origin { archive_hash, class, class_name, confidence, born, crops, network, weights_sha256 }) = origin {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text has a JSON form");
        let _ = write!(
            out,
            ",{key}\"origin\": {{{item}\"archive_hash\": \"{archive_hash:016x}\",{item}\"class\": {class},"
        );
        let _ =
            write!(out, "{item}\"class_name\": {},{item}\"confidence\": {},", quoted(class_name), float(*confidence));
        let _ = write!(out, "{item}\"born\": [{}, {}]", born.0, born.1);
        if *crops != 1 {
            let _ = write!(out, ",{item}\"crops\": {crops}");
        }
        for (name, value) in [("network", network), ("weights_sha256", weights_sha256)] {
            if let Some(value) = value {
                let _ = write!(out, ",{item}\"{name}\": {}", quoted(value));
            }
        }
        let _ = write!(out, "{key}}}");
    }
    out.push_str(end);
    out.push('}');
    out.push_str(end);
    Ok(out)
}

/// The shortest decimal that names the f32.
fn float(value: f32) -> String {
    serde_json::to_string(&value).expect("a number has a JSON form")
}
