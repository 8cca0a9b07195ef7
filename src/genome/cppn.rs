//! CPPN genomes: growing acyclic graphs that draw (spec section 5).

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

impl Graph {
    /// The genome as words, for its content hash: number of nodes, number of edges, the activations, and for each edge
    /// `source | target << 16` and the bits of its gene.
    pub fn words(&self, sink: &mut impl FnMut(u32)) {
        sink(self.activations.len() as u32);
        sink(self.edges.len() as u32);
        self.activations.iter().for_each(|&activation| sink(activation as u32));
        for edge in &self.edges {
            sink(u32::from(edge.source) | u32::from(edge.target) << 16);
            sink(edge.gene.to_bits());
        }
    }
}

impl Rules {
    /// The numbers of spec 5.5.
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

    /// [`Rules::faithful`] with x and y over [-1, 1] (spec, section 6).
    pub fn modern() -> Rules {
        Rules { normalise: true, ..Rules::faithful() }
    }
}
