//! Blame: what each node and each edge of a CPPN is worth.
//!
//! Each is removed in turn, the image is drawn again by the same rules (the number of steps included, which the longest path decides) and
//! scored. To remove an edge is to leave its term out of the sum that it leads to. To remove a node is to remove all its edges; an input or
//! output stays where it is, a hidden node without edges is nowhere. What a removal costs, the confidence of the elite less that without
//! the element, is the blame of the element. An element is silent if not one byte of the image changes; its blame is then exactly 0.

use super::runs::{Easel, Judges, Run, Runs};
use super::{AnalyseRequest, ElitePlace};
use crate::error::Result;
use crate::experiment::statistics::Spread;
use crate::genome::cppn::{Activation, Graph, N_INPUTS};
use serde::{Deserialize, Serialize};

/// What can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// By its place in the genome.
    Edge(usize),
    /// By its number.
    Node(usize),
}

/// Nodes and edges of `graph`, edges first, each in the genome's order.
pub fn elements(graph: &Graph) -> impl Iterator<Item = Element> + use<> {
    (0..graph.edges.len()).map(Element::Edge).chain((0..graph.n_nodes()).map(Element::Node))
}

/// `graph` without `element`.
pub fn without(graph: &Graph, element: Element) -> Graph {
    let mut graph = graph.clone();
    match element {
        Element::Edge(at) => _ = graph.edges.remove(at),
        Element::Node(node) => {
            graph.edges.retain(|edge| usize::from(edge.source) != node && usize::from(edge.target) != node);
        }
    }
    graph
}

/// What the element of an elite is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// What it is: `edge 5 -> 4`, or `node 5`.
    pub what: String,
    pub element: Element,
    /// Of an edge its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Of a node: `input`, `output` or `hidden`, and what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Without it.
    pub confidence: f32,
    /// What its removal costs; below 0 where the class is more probable without.
    pub lost: f64,
    pub silent: bool,
}

/// An elite with the worth of all it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EliteBlame {
    #[serde(flatten)]
    pub place: ElitePlace,
    pub hidden_nodes: usize,
    pub edges: usize,
    pub silent_edges: usize,
    pub silent_edge_share: f64,
    /// Edges without which the class is more probable.
    pub harmful_edges: usize,
    /// Edges whose removal costs half of the confidence or more.
    pub vital_edges: usize,
    /// Edges first, then nodes, in the genome's order.
    pub elements: Vec<Worth>,
}

impl EliteBlame {
    /// The edges, or nodes, that cost the most, most first; of equals the first in the genome.
    pub fn worst(&self, edges: bool) -> Vec<&Worth> {
        let is_its = |worth: &&Worth| matches!(worth.element, Element::Edge(_)) == edges;
        let mut worths: Vec<&Worth> = self.elements.iter().filter(is_its).collect();
        worths.sort_by(|a, b| b.lost.total_cmp(&a.lost));
        worths
    }
}

/// What a set of runs came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetBlame {
    pub set: String,
    pub elites: usize,
    pub edges: Spread,
    pub silent_edge_share: Spread,
    pub vital_edges: Spread,
}

/// The content of `blame.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blame {
    /// What removal means.
    pub rule: String,
    /// Images that were drawn, and those that were scored: not those of silent elements.
    pub drawn: usize,
    pub scored: usize,
    pub sets: Vec<SetBlame>,
    pub elites: Vec<EliteBlame>,
}

/// What removal means, in the files.
const RULE: &str = "an edge is removed by leaving its term out, a node by removing its edges (inputs and outputs stay); the image is drawn \
                    again by the same rules; lost = confidence of the elite - confidence without the element; silent = not a byte changes, \
                    lost is then exactly 0";

/// Removes each node and edge of each elite of CPPNs in turn.
///
/// # Errors
/// Those of scoring.
pub fn blame(request: &AnalyseRequest, runs: &Runs, judges: &Judges) -> Result<Blame> {
    let mut blame = Blame { rule: RULE.to_owned(), drawn: 0, scored: 0, sets: Vec::new(), elites: Vec::new() };
    for (number, run) in runs.runs.iter().enumerate() {
        let Some(easel) = Easel::of(run, request.simd) else { continue };
        let distinct = run.distinct(&request.classes);
        let graphs: Vec<&Graph> =
            distinct.iter().map(|(elite, _)| elite.genome.graph().expect("a run of CPPNs")).collect();
        let jobs: Vec<(usize, Element)> =
            (0..graphs.len()).flat_map(|at| elements(graphs[at]).map(move |element| (at, element))).collect();
        let mut worths: Vec<Vec<(Element, Option<Vec<f32>>)>> = vec![Vec::new(); distinct.len()];
        judges.of(runs, number).each(
            jobs.len(),
            |pencil, job, image| {
                let (at, element) = jobs[job];
                easel.draw(pencil, &without(graphs[at], element), image);
            },
            |job| Some(&distinct[jobs[job].0].0.image),
            |job, row| {
                let (at, element) = jobs[job];
                let of_niches = |row: &[f32]| {
                    let niches = &distinct[at].1;
                    niches.iter().map(|&niche| row[run.archive.classes[niche] as usize]).collect()
                };
                blame.scored += usize::from(row.is_some());
                worths[at].push((element, row.map(of_niches)));
            },
        )?;
        blame.drawn += jobs.len();
        let mut elites: Vec<(usize, EliteBlame)> = Vec::new();
        for (at, (_, niches)) in distinct.iter().enumerate() {
            for (place, &niche) in niches.iter().enumerate() {
                let without = worths[at].iter().map(|(element, rows)| (*element, rows.as_ref().map(|row| row[place])));
                elites.push((niche, of_elite(runs, number, niche, graphs[at], without)));
            }
        }
        elites.sort_by_key(|&(niche, _)| niche);
        blame.elites.extend(elites.into_iter().map(|(_, elite)| elite));
    }
    for set in &runs.sets {
        let its: Vec<&EliteBlame> = blame.elites.iter().filter(|elite| set.runs.contains(&elite.place.run)).collect();
        let spread = |of: fn(&EliteBlame) -> f64| Spread::of(its.iter().map(|elite| of(elite)));
        let Some(edges) = spread(|elite| elite.edges as f64) else { continue };
        blame.sets.push(SetBlame {
            set: set.name.clone(),
            elites: its.len(),
            edges,
            silent_edge_share: spread(|elite| elite.silent_edge_share).expect("as many"),
            vital_edges: spread(|elite| elite.vital_edges as f64).expect("as many"),
        });
    }
    Ok(blame)
}

/// The elite of `niche` of run `number`, of whose elements it is known which confidence is left; `None` where nothing changed.
fn of_elite(
    runs: &Runs,
    number: usize,
    niche: usize,
    graph: &Graph,
    without: impl Iterator<Item = (Element, Option<f32>)>,
) -> EliteBlame {
    let run = &runs.runs[number];
    let own = run.confidence(niche);
    let elements: Vec<Worth> = without
        .map(|(element, left)| {
            let confidence = left.unwrap_or(own);
            let (what, weight, role) = described(run, graph, element);
            let lost = f64::from(own) - f64::from(confidence);
            Worth { what, element, weight, role, confidence, lost, silent: left.is_none() }
        })
        .collect();
    let edges = || elements.iter().filter(|worth| matches!(worth.element, Element::Edge(_)));
    let silent_edges = edges().filter(|worth| worth.silent).count();
    EliteBlame {
        place: ElitePlace::of(runs, number, niche),
        hidden_nodes: graph.n_nodes() - graph.first_hidden(),
        edges: graph.edges.len(),
        silent_edges,
        silent_edge_share: if graph.edges.is_empty() { 0.0 } else { silent_edges as f64 / graph.edges.len() as f64 },
        harmful_edges: edges().filter(|worth| worth.lost < 0.0).count(),
        vital_edges: edges().filter(|worth| worth.lost >= f64::from(own) / 2.0).count(),
        elements,
    }
}

/// What `element` is; of an edge its weight, of a node its role.
fn described(run: &Run, graph: &Graph, element: Element) -> (String, Option<f32>, Option<String>) {
    match element {
        Element::Edge(at) => {
            let edge = graph.edges[at];
            let max_weight = run.cppn().expect("a run of CPPNs").max_weight;
            let weight = (2.0 * max_weight).mul_add(edge.gene, -max_weight);
            let [source, target] = [edge.source, edge.target].map(|node| name_of_node(graph, usize::from(node)));
            (format!("edge {source} -> {target}"), Some(weight), None)
        }
        Element::Node(node) => {
            let role = match node {
                _ if node < N_INPUTS => "input".to_owned(),
                _ if node < graph.first_hidden() => format!("output, {}", name_of_activation(graph.activations[node])),
                _ => format!("hidden, {}", name_of_activation(graph.activations[node])),
            };
            (format!("node {}", name_of_node(graph, node)), None, Some(role))
        }
    }
}

/// What a node is called: inputs and outputs by what they are, hidden nodes by their numbers.
pub fn name_of_node(graph: &Graph, node: usize) -> String {
    const INPUTS: [&str; N_INPUTS] = ["x", "y", "d", "1"];
    match node {
        _ if node < N_INPUTS => INPUTS[node].to_owned(),
        _ if node < graph.first_hidden() => output_name(graph.n_outputs, node - N_INPUTS).to_owned(),
        _ => format!("n{node}"),
    }
}

/// What output `index` of `n_outputs` is.
pub fn output_name(n_outputs: usize, index: usize) -> &'static str {
    if n_outputs == 1 { "grey" } else { ["hue", "lightness", "saturation"][index] }
}

/// What an activation is called.
pub fn name_of_activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Sine => "sine",
        Activation::Sigmoid => "sigmoid",
        Activation::Gaussian => "gaussian",
        Activation::Linear => "linear",
    }
}
