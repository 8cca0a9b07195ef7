//! CPPN genomes: growing acyclic graphs that draw (spec section 5).
//!
//! A [`Graph`] is varied ([`Graph::vary`]), compiled to a [`Program`] ([`Compiler`]) and drawn ([`Renderer`]).

mod compile;
mod gradient;
mod render;
mod vary;

pub use compile::{Compiler, Instruction, Program, Term};
pub use gradient::{BAND, Canvases, Differentiable, Gradients};
pub use render::{InputPlanes, Renderer};
pub use vary::Scratch;

use crate::rng::{Philox, Purpose, below, unit};
use crate::simd::Simd;
use serde::{Deserialize, Serialize};

/// Inputs of every CPPN: column, row, distance from the centre, 1.
pub const N_INPUTS: usize = 4;

/// What a node does with its weighted sum p (spec 5.3). The order is that of the genome's activation index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activation {
    /// `sin(p)`
    Sine = 0,
    /// `2 / (1 + exp(-p)) - 1`
    Sigmoid = 1,
    /// `exp(-p^2)`
    Gaussian = 2,
    /// `clip(p, -3, 3) / 3`
    Linear = 3,
}

impl Activation {
    /// All four, by index.
    pub const ALL: [Activation; 4] = [Activation::Sine, Activation::Sigmoid, Activation::Gaussian, Activation::Linear];

    /// Uniform over the four.
    fn from_word(word: u32) -> Activation {
        Activation::ALL[below(word, 4) as usize]
    }
}

/// A directed edge of a CPPN. Its weight is `2 * max_weight * gene - max_weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    pub source: u16,
    pub target: u16,
    /// In [0, 1].
    pub gene: f32,
}

/// A CPPN genome. Nodes `0..4` are the inputs, `4..4 + n_outputs` the outputs, the rest hidden nodes in the
/// order of their creation; edges stand in the order of theirs, and deletion keeps both orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub n_outputs: usize,
    /// One a node, inputs included (which ignore theirs).
    pub activations: Vec<Activation>,
    pub edges: Vec<Edge>,
}

/// How CPPNs vary (spec 5.5), and how far they may grow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Probability that a weight gene mutates.
    pub weight_rate: f64,
    /// Distribution index of the polynomial mutation of weights.
    pub weight_eta: u32,
    /// Weights lie in [-max_weight, max_weight].
    pub max_weight: f32,
    /// Probability that a node's activation is redrawn.
    pub activation_rate: f64,
    /// Probabilities of the four structural operators, each tried once a child, in this order.
    pub add_edge_rate: f64,
    pub delete_edge_rate: f64,
    pub split_edge_rate: f64,
    pub delete_node_rate: f64,
    /// Whether x and y run over [-1, 1] instead of being pixel indices (the `modern` flavour).
    pub normalise: bool,
    /// Capacity, inputs and outputs included; an operator that would pass it is skipped and counted.
    pub max_nodes: u32,
    /// Capacity; an operator that would pass it is skipped and counted.
    pub max_edges: u32,
}

impl Rules {
    /// The rules of the paper's code (spec 5.5 and 6), with a capacity that selected genomes do not come near.
    pub fn faithful() -> Rules {
        Rules {
            weight_rate: 0.1,
            weight_eta: 15,
            max_weight: 10.0,
            activation_rate: 0.1,
            add_edge_rate: 0.5,
            delete_edge_rate: 0.3,
            split_edge_rate: 0.5,
            delete_node_rate: 0.2,
            normalise: false,
            max_nodes: 256,
            max_edges: 512,
        }
    }

    /// [`Rules::faithful`] with x and y over [-1, 1].
    pub fn modern() -> Rules {
        Rules { normalise: true, ..Rules::faithful() }
    }

    /// Whether genomes of `n_outputs` outputs can be made and varied by these rules; if not, why.
    pub fn validate(&self, n_outputs: usize) -> Result<(), String> {
        let rates = [
            ("weight_rate", self.weight_rate),
            ("activation_rate", self.activation_rate),
            ("add_edge_rate", self.add_edge_rate),
            ("delete_edge_rate", self.delete_edge_rate),
            ("split_edge_rate", self.split_edge_rate),
            ("delete_node_rate", self.delete_node_rate),
        ];
        for (key, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Err(format!("{key} is {rate}, a probability lies in [0, 1]"));
            }
        }
        // The bounds keep every sum finite: a NaN must not be able to arise.
        if !(self.max_weight > 0.0 && self.max_weight <= 1e6) {
            return Err(format!("max_weight is {}, must lie in (0, 1e6]", self.max_weight));
        }
        if self.weight_eta > 1_000_000 {
            return Err(format!("weight_eta is {}, must be at most 1000000", self.weight_eta));
        }
        let (nodes, edges) = ((N_INPUTS + n_outputs) as u32, (N_INPUTS * n_outputs) as u32);
        if self.max_nodes < nodes || self.max_nodes > 1 << 16 {
            return Err(format!(
                "max_nodes is {}, must lie in [{nodes}, 65536]: a genome starts with {nodes} nodes",
                self.max_nodes
            ));
        }
        if self.max_edges < edges || self.max_edges > 1 << 20 {
            return Err(format!(
                "max_edges is {}, must lie in [{edges}, 1048576]: a genome starts with {edges} edges",
                self.max_edges
            ));
        }
        Ok(())
    }
}

impl Rules {
    /// Most bytes of a genome: full to capacity, in vectors that grew by doubling.
    pub fn capacity_bytes(&self) -> usize {
        const ALLOCATION: usize = 16; // what each takes beyond what was asked for
        let nodes = self.max_nodes as usize * size_of::<Activation>();
        let edges = self.max_edges as usize * size_of::<Edge>();
        size_of::<Graph>() + 2 * (nodes + edges + ALLOCATION)
    }

    /// Most instructions of a program. In topological order, the i-th node that is no input settles within i steps, and
    /// has at most an instruction for each.
    fn max_instructions(&self) -> u64 {
        let n = u64::from(self.max_nodes) - N_INPUTS as u64;
        n * (n + 1) / 2
    }
}

/// Most bytes of what one thread needs to vary, compile and draw genomes of `rules`. It takes a genome that winds through
/// most of its capacity, and a long chain that no input feeds, to come near it; those that selection keeps stay far below.
pub fn drawing_bytes(simd: Simd, rules: &Rules, n_outputs: usize) -> u64 {
    Compiler::most_bytes(rules, n_outputs) + Renderer::most_bytes(simd, rules) + Scratch::most_bytes(rules)
}

impl Graph {
    /// No nodes and no edges: what a slot of a population holds before its first genome.
    pub fn empty(n_outputs: usize) -> Graph {
        Graph { n_outputs, activations: Vec::new(), edges: Vec::new() }
    }

    /// A genome with no hidden nodes and every input joined to every output (spec 5.4); edges are created
    /// output by output, input by input. Of the candidate's [`Purpose::CppnInit`] words of generation 0, word
    /// i is the activation of node i, and the weight genes follow in the order of the edges.
    pub fn random(n_outputs: usize, philox: &Philox, candidate: u32) -> Graph {
        let draws = philox.draws(Purpose::CppnInit, candidate, 0);
        let n_nodes = N_INPUTS + n_outputs;
        let activations = (0..n_nodes).map(|i| Activation::from_word(draws.word(i as u32))).collect();
        let edges = (0..n_outputs * N_INPUTS)
            .map(|i| Edge {
                source: (i % N_INPUTS) as u16,
                target: (N_INPUTS + i / N_INPUTS) as u16,
                gene: unit(draws.word((n_nodes + i) as u32)),
            })
            .collect();
        Graph { n_outputs, activations, edges }
    }

    /// Nodes, inputs and outputs included.
    pub fn n_nodes(&self) -> usize {
        self.activations.len()
    }

    /// Index of the first hidden node: inputs and outputs lie below it.
    pub fn first_hidden(&self) -> usize {
        N_INPUTS + self.n_outputs
    }

    /// Whether node `index` is an output.
    fn is_output(&self, index: u16) -> bool {
        (N_INPUTS..self.first_hidden()).contains(&usize::from(index))
    }

    /// Feeds the genome to `sink` for hashing: the number of nodes, of edges, the activation index of each
    /// node, then for each edge `source | target << 16` and the bits of its gene.
    pub fn words(&self, sink: &mut impl FnMut(u32)) {
        sink(self.n_nodes() as u32);
        sink(self.edges.len() as u32);
        self.activations.iter().for_each(|&activation| sink(activation as u32));
        for edge in &self.edges {
            sink(u32::from(edge.source) | u32::from(edge.target) << 16);
            sink(edge.gene.to_bits());
        }
    }

    /// Whether this can be a genome of `n_outputs` outputs under `rules`; if not, why. For genomes from files.
    pub fn validate(&self, rules: &Rules, n_outputs: usize) -> Result<(), String> {
        let n_nodes = self.n_nodes();
        if self.n_outputs != n_outputs {
            return Err(format!("has {} outputs, the canvas needs {n_outputs}", self.n_outputs));
        }
        if n_nodes < self.first_hidden() {
            return Err(format!("has {n_nodes} nodes, inputs and outputs alone are {}", self.first_hidden()));
        }
        if n_nodes > rules.max_nodes as usize {
            return Err(format!("has {n_nodes} nodes, max_nodes is {}", rules.max_nodes));
        }
        if self.edges.len() > rules.max_edges as usize {
            return Err(format!("has {} edges, max_edges is {}", self.edges.len(), rules.max_edges));
        }
        for (i, edge) in self.edges.iter().enumerate() {
            let Edge { source, target, gene } = *edge;
            if usize::from(source.max(target)) >= n_nodes {
                return Err(format!("edge {i} joins node {source} to {target}, there are {n_nodes} nodes"));
            }
            if usize::from(target) < N_INPUTS {
                return Err(format!("edge {i} leads into input {target}"));
            }
            if self.is_output(source) {
                return Err(format!("edge {i} leads out of output node {source}"));
            }
            if !(0.0..=1.0).contains(&gene) {
                return Err(format!("edge {i} has gene {gene}, genes lie in [0, 1]"));
            }
        }
        if !self.is_acyclic() {
            return Err("has a cycle".to_owned());
        }
        Ok(())
    }

    /// Takes nodes away that no remaining edge leads into, with their edges; a cycle is what cannot be taken away.
    fn is_acyclic(&self) -> bool {
        let mut n_incoming = vec![0u32; self.n_nodes()];
        let mut outgoing = vec![Vec::new(); self.n_nodes()];
        for edge in &self.edges {
            n_incoming[usize::from(edge.target)] += 1;
            outgoing[usize::from(edge.source)].push(edge.target);
        }
        let mut free: Vec<usize> = (0..self.n_nodes()).filter(|&node| n_incoming[node] == 0).collect();
        let mut n_taken = 0;
        while let Some(node) = free.pop() {
            n_taken += 1;
            for &target in &outgoing[node] {
                n_incoming[usize::from(target)] -= 1;
                if n_incoming[usize::from(target)] == 0 {
                    free.push(usize::from(target));
                }
            }
        }
        n_taken == self.n_nodes()
    }
}

/// Genomes as files hold them: one after the other in ragged streams, `n_nodes` and `n_edges` saying how many
/// values each owns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streams {
    /// One a genome.
    pub n_nodes: Vec<u32>,
    /// One a genome.
    pub n_edges: Vec<u32>,
    /// One a node: the index of its [`Activation`].
    pub activations: Vec<u8>,
    /// One an edge, as are `targets` and `genes`.
    pub sources: Vec<u16>,
    pub targets: Vec<u16>,
    pub genes: Vec<f32>,
}

impl Streams {
    /// Appends a genome.
    pub fn push(&mut self, graph: &Graph) {
        self.n_nodes.push(graph.n_nodes() as u32);
        self.n_edges.push(graph.edges.len() as u32);
        self.activations.extend(graph.activations.iter().map(|&activation| activation as u8));
        self.sources.extend(graph.edges.iter().map(|edge| edge.source));
        self.targets.extend(graph.edges.iter().map(|edge| edge.target));
        self.genes.extend(graph.edges.iter().map(|edge| edge.gene));
    }

    /// The genomes, each valid for `n_outputs` outputs under `rules`; if one is not, which and why.
    pub fn graphs(&self, rules: &Rules, n_outputs: usize) -> Result<Vec<Graph>, String> {
        if self.n_nodes.len() != self.n_edges.len() {
            return Err(format!("{} node counts, but {} edge counts", self.n_nodes.len(), self.n_edges.len()));
        }
        let total = |counts: &[u32]| counts.iter().map(|&n| u64::from(n)).sum::<u64>();
        for (what, len, counts) in [
            ("activations", self.activations.len(), &self.n_nodes),
            ("sources", self.sources.len(), &self.n_edges),
            ("targets", self.targets.len(), &self.n_edges),
            ("genes", self.genes.len(), &self.n_edges),
        ] {
            if len as u64 != total(counts) {
                return Err(format!("{len} {what}, the counts of the genomes add up to {}", total(counts)));
            }
        }
        let (mut node, mut edge) = (0, 0);
        let mut graphs = Vec::with_capacity(self.n_nodes.len());
        for (i, (&n_nodes, &n_edges)) in self.n_nodes.iter().zip(&self.n_edges).enumerate() {
            let nodes = node..node + n_nodes as usize;
            let edges = edge..edge + n_edges as usize;
            (node, edge) = (nodes.end, edges.end);
            let activations = self.activations[nodes]
                .iter()
                .map(|&index| Activation::ALL.get(usize::from(index)).copied().ok_or(index))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|index| format!("genome {i} has activation {index}, there are 0 to 3"))?;
            let edges =
                edges.map(|e| Edge { source: self.sources[e], target: self.targets[e], gene: self.genes[e] }).collect();
            let graph = Graph { n_outputs, activations, edges };
            graph.validate(rules, n_outputs).map_err(|reason| format!("genome {i} {reason}"))?;
            graphs.push(graph);
        }
        Ok(graphs)
    }
}
