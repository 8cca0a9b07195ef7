//! Networks as foreign files describe them: nodes that take one another's outputs.

use super::tensor::Tensor;

/// The most nodes of a graph. GoogLeNet with its training heads has some 170 layers in Caffe, twice as many with splits.
pub const MAX_NODES: usize = 4096;
/// The most inputs or outputs of a node.
pub const MAX_EDGES: usize = 64;

/// A network of a file.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    /// Each after those whose outputs it takes.
    pub nodes: Vec<Node<'a>>,
    /// Where the classes may come out, the likeliest first.
    pub ends: Vec<Source>,
}

/// A layer, in the file's words.
#[derive(Debug)]
pub struct Node<'a> {
    pub name: String,
    /// Its type in the file's own words.
    pub kind: String,
    pub op: Op,
    /// The activations that it takes.
    pub inputs: Vec<Source>,
    /// Weights, biases.
    pub parameters: Vec<Tensor<'a>>,
}

/// Where an activation comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The first output of this node, or any of one that passes on what it takes.
    Node(usize),
    /// The network's input.
    Input,
    /// A name that nothing gives.
    Nothing(String),
}

/// Windows of a convolution or a pooling: per dimension, rows first.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Padding above and left.
    pub before: [usize; 2],
    /// Padding below and right.
    pub after: [usize; 2],
    /// Whether a last window that is not full counts.
    pub ceil: bool,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Conv {
        window: Window,
        groups: usize,
    },
    MaxPool(Window),
    /// Whether padding counts in the divisor.
    AveragePool {
        window: Window,
        padding_counts: bool,
    },
    GlobalAveragePool,
    /// `x / (k + alpha / size * sum of squares)^beta` across channels.
    Lrn {
        size: usize,
        alpha: f32,
        beta: f32,
        k: f32,
    },
    Relu,
    /// Weights `(out, in)`.
    Dense,
    /// Of channels.
    Concat,
    Softmax,
    /// Nothing, when a network is used: dropout, a copy.
    Pass,
    /// Nothing but to make a vector of an image.
    Flatten,
    /// Zeros around the image, for the convolution that follows (Caffe of 2013).
    Pad(usize),
    /// None of these; in words that follow the node's name: `has axis 3`.
    Other(String),
}
