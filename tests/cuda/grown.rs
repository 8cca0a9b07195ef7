//! CPPNs to try kernels on.

use pareidolia::genome::cppn::{Activation, Edge, Graph, Rules, Scratch};
use pareidolia::rng::{Philox, below, unit};

/// A random genome after `n_generations` of variation with no selection.
pub fn grown(rules: &Rules, n_outputs: usize, candidate: u32, n_generations: u32) -> Graph {
    let philox = Philox::new(20_141_205);
    let mut graph = Graph::random(n_outputs, &philox, candidate);
    for generation in 1..=n_generations {
        graph.vary(rules, &philox, candidate, generation, &mut Scratch::default());
    }
    graph
}

/// An input, a chain of `n_hidden` nodes, and the first output; the last node leads to the other outputs too.
pub fn chain(n_hidden: usize, n_outputs: usize) -> Graph {
    let philox = Philox::new(9);
    let word = |i: usize| philox.block([i as u32, n_hidden as u32, 0, 0])[0];
    let first = 4 + n_outputs;
    let activations = (0..first + n_hidden).map(|i| Activation::ALL[below(word(i), 4) as usize]).collect();
    let gene = |i: usize| unit(word(10_000 + i));
    let mut nodes = vec![0];
    nodes.extend(first..first + n_hidden);
    let mut edges: Vec<Edge> = nodes
        .windows(2)
        .map(|pair| Edge { source: pair[0] as u16, target: pair[1] as u16, gene: gene(pair[0]) })
        .collect();
    let last = nodes[n_hidden] as u16;
    edges.extend((4..first).map(|output| Edge { source: last, target: output as u16, gene: gene(output) }));
    Graph { n_outputs, activations, edges }
}

/// `graph` with its hidden nodes renamed and its edges in another order.
pub fn shuffled(graph: &Graph, seed: u32) -> Graph {
    let philox = Philox::new(6);
    let draw =
        |i: usize, purpose: u32, n: usize| below(philox.block([i as u32, purpose, seed, 0])[0], n as u32) as usize;
    let first = graph.first_hidden();
    let mut names: Vec<usize> = (0..graph.n_nodes()).collect();
    for i in (first + 1..names.len()).rev() {
        names.swap(i, first + draw(i, 0, i + 1 - first));
    }
    let mut activations = graph.activations.clone();
    for (node, &name) in names.iter().enumerate() {
        activations[name] = graph.activations[node];
    }
    let renamed = |node: u16| names[usize::from(node)] as u16;
    let mut edges: Vec<Edge> = graph
        .edges
        .iter()
        .map(|e| Edge { source: renamed(e.source), target: renamed(e.target), gene: e.gene })
        .collect();
    for i in (1..edges.len()).rev() {
        edges.swap(i, draw(i, 1, i + 1));
    }
    Graph { n_outputs: graph.n_outputs, activations, edges }
}
