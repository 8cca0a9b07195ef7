//! CPPNs to try kernels on, and CPPNs in slots, as the kernels see them, with guards.

use super::gpu::Gpu;
use super::tally::Tally;
use crate::backend::cuda::genomes::CppnSlots;
use crate::backend::cuda::params::{CppnEdge, CppnRules, CppnSize, node_stride};
use crate::error::Result;
use crate::genome::cppn::{Activation, Edge, Graph, N_INPUTS, Rules, Scratch};
use crate::rng::{Philox, below, unit};
use Activation::{Gaussian, Linear, Sigmoid, Sine};

/// A random genome after `n_generations` of variation with no selection.
pub fn grown(rules: &Rules, n_outputs: usize, candidate: u32, n_generations: u32) -> Graph {
    let philox = Philox::new(20_141_205);
    let mut graph = Graph::random(n_outputs, &philox, candidate);
    for generation in 1..=n_generations {
        graph.vary(rules, &philox, candidate, generation, &mut Scratch::default());
    }
    graph
}

/// Genomes of all ages.
pub fn drifted(rules: &Rules, n_outputs: usize, n: u32) -> Vec<Graph> {
    (0..n).map(|candidate| grown(rules, n_outputs, candidate, candidate * 7 % 101)).collect()
}

/// An input, a chain of `n_hidden` nodes, and the first output; the last node leads to the other outputs too.
pub fn chain(n_hidden: usize, n_outputs: usize) -> Graph {
    let philox = Philox::new(9);
    let word = |i: usize| philox.block([i as u32, n_hidden as u32, 0, 0])[0];
    let first = N_INPUTS + n_outputs;
    let activations = (0..first + n_hidden).map(|i| Activation::ALL[below(word(i), 4) as usize]).collect();
    let gene = |i: usize| unit(word(10_000 + i));
    let mut nodes = vec![0];
    nodes.extend(first..first + n_hidden);
    let mut edges: Vec<Edge> = nodes
        .windows(2)
        .map(|pair| Edge { source: pair[0] as u16, target: pair[1] as u16, gene: gene(pair[0]) })
        .collect();
    let last = nodes[n_hidden] as u16;
    edges.extend((N_INPUTS..first).map(|output| Edge { source: last, target: output as u16, gene: gene(output) }));
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

fn edge(source: u16, target: u16, gene: f32) -> Edge {
    Edge { source, target, gene }
}

/// A grey genome of which only the output and the hidden nodes matter.
fn grey(activations: &[Activation], edges: &[Edge]) -> Graph {
    Graph { n_outputs: 1, activations: [&[Linear; N_INPUTS], activations].concat(), edges: edges.to_vec() }
}

/// Grey genomes whose output is cut off, has double edges, dead ends, orphans.
pub fn odd() -> Vec<Graph> {
    let every = [Sine, Sigmoid, Gaussian, Linear];
    let mut graphs = Vec::new();
    for activation in every {
        graphs.push(grey(&[activation], &[]));
        for input in 0..4 {
            // The same edge twice, and once more with another weight.
            graphs.push(grey(&[activation], &[edge(input, 4, 0.51), edge(input, 4, 0.51), edge(input, 4, 0.484)]));
        }
        for gene in [0.0, 0.5, 1.0] {
            graphs.push(grey(&[activation], &[edge(0, 4, gene), edge(2, 4, 1.0 - gene)]));
        }
        // A dead end, and an orphan that no output sees.
        graphs.push(grey(&[activation, Sine, Gaussian], &[edge(0, 5, 0.6), edge(1, 4, 0.53), edge(6, 5, 0.9)]));
        // Orphans one, two and three nodes long, against paths of inputs of zero to three edges.
        for orphans in 1..=3u16 {
            for path in 0..=3u16 {
                let mut edges: Vec<Edge> = (0..orphans - 1).map(|i| edge(5 + i, 6 + i, 0.9)).collect();
                edges.push(edge(4 + orphans, 4, 0.56));
                if path > 0 {
                    let nodes: Vec<u16> = [0].into_iter().chain(8..7 + path).chain([4]).collect();
                    edges.extend(nodes.windows(2).map(|pair| edge(pair[0], pair[1], 0.52)));
                }
                let hidden = [Gaussian, activation, Sigmoid, Sine, Linear, Gaussian];
                graphs.push(grey(&[&[activation], &hidden[..]].concat(), &edges));
            }
        }
    }
    graphs
}

/// A chain of `orphans` nodes that no input feeds into the end of one that input 0 feeds; every node has `n_more` edges of
/// others before it.
pub fn late(orphans: u16, fed: u16, n_more: u16) -> Graph {
    let n_hidden = orphans + fed;
    let fed_first = 5 + orphans;
    let mut edges: Vec<Edge> = (5..4 + orphans).map(|i| edge(i, i + 1, 0.55)).collect();
    edges.extend((fed_first..fed_first + fed - 1).map(|i| edge(i, i + 1, 0.47)));
    edges.extend([edge(0, fed_first, 0.51), edge(4 + orphans, 4, 0.56), edge(fed_first + fed - 1, 4, 0.5)]);
    for more in 1..=n_more {
        let far = |i: u16| i + 2 + more * 3;
        edges.extend((5..5 + n_hidden).filter(|&i| far(i) < 5 + orphans).map(|i| edge(i, far(i), 0.52)));
    }
    let activations: Vec<Activation> = (0..=n_hidden).map(|i| Activation::ALL[usize::from(i * 7 % 11 % 4)]).collect();
    grey(&activations, &edges)
}

/// A chain that no input feeds, longer than the inputs' paths: steps cut it off, and its edges have several terms or none.
pub fn unsettled(n_outputs: usize) -> Graph {
    let first = (N_INPUTS + n_outputs) as u16;
    let mut edges: Vec<Edge> = (4..first).map(|output| edge(0, output, 0.53 + 0.02 * f32::from(output))).collect();
    for (i, gene) in [0.56, 0.61, 0.47, 0.44].into_iter().enumerate() {
        edges.push(edge(first + i as u16, first + i as u16 + 1, gene));
        edges.push(edge(first + i as u16, 4, 0.55 - 0.1 * i as f32));
    }
    // Inputs come into the chain late, and their paths are shorter than it.
    edges.push(edge(1, first + 3, 0.57));
    edges.push(edge(first + 4, first - 1, 0.6));
    edges.push(edge(first + 2, first + 4, 0.63));
    let hidden = [Gaussian, Sigmoid, Gaussian, Sine, Linear];
    let activations = [Sine; N_INPUTS].into_iter().chain((0..n_outputs).map(|_| Sigmoid)).chain(hidden).collect();
    Graph { n_outputs, activations, edges }
}

/// Layers of two sine nodes, each fed by both of the layer before with weights of 6 to 10: what is rounded differently in one of the
/// first is another pixel at the end, where 8 bits would hide it.
pub fn chaotic(n_layers: u16) -> Graph {
    let philox = Philox::new(11);
    let gene = |source: u16, target: u16| {
        let [word, sign, ..] = philox.block([source.into(), target.into(), n_layers.into(), 0]);
        let gene = 0.8 + 0.2 * unit(word);
        if sign >> 31 == 1 { 1.0 - gene } else { gene }
    };
    let join = |from: &[u16], to: &[u16]| -> Vec<Edge> {
        to.iter().flat_map(|&to| from.iter().map(move |&from| edge(from, to, gene(from, to)))).collect()
    };
    let mut layer = vec![0, 1, 2];
    let mut edges = Vec::new();
    for first in (5..5 + 2 * n_layers).step_by(2) {
        let next = vec![first, first + 1];
        edges.extend(join(&layer, &next));
        layer = next;
    }
    edges.extend(join(&layer, &[4]));
    grey(&vec![Sine; 1 + 2 * usize::from(n_layers)], &edges)
}

/// The content of `graph`, as it is hashed.
pub fn words(graph: &Graph) -> Vec<u32> {
    let mut words = Vec::new();
    graph.words(&mut |word| words.push(word));
    words
}

/// What stands where nothing was written.
const SIZE: CppnSize = CppnSize { n_nodes: 0xabab_abab, n_edges: 0xcdcd_cdcd };
const ACTIVATION: u8 = 0xa5;
const EDGE: CppnEdge = CppnEdge { source: 0xabab, target: 0xcdcd, gene: 1e30 };

/// Slots behind those that are to be written.
const GUARD_SLOTS: usize = 3;

/// `graphs` in their slots, guards in those without, beyond the genomes, and behind all.
///
/// # Errors
/// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
pub fn upload(gpu: &Gpu, rules: &CppnRules, graphs: &[Option<&Graph>]) -> Result<CppnSlots> {
    let (stride, max_edges) = (node_stride(rules.max_nodes), rules.max_edges as usize);
    let slots = graphs.len() + GUARD_SLOTS;
    let mut sizes = vec![SIZE; slots];
    let mut activations = vec![ACTIVATION; slots * stride];
    let mut edges = vec![EDGE; slots * max_edges];
    for (at, graph) in graphs.iter().enumerate() {
        let Some(graph) = graph else { continue };
        sizes[at] = CppnSize { n_nodes: graph.n_nodes() as u32, n_edges: graph.edges.len() as u32 };
        for (to, &from) in activations[at * stride..].iter_mut().zip(&graph.activations) {
            *to = from as u8;
        }
        for (to, &from) in edges[at * max_edges..].iter_mut().zip(&graph.edges) {
            *to = from.into();
        }
    }
    Ok(CppnSlots {
        max_nodes: rules.max_nodes,
        max_edges: rules.max_edges,
        n_outputs: rules.n_outputs as usize,
        sizes: gpu.upload(&sizes)?,
        activations: gpu.upload(&activations)?,
        edges: gpu.upload(&edges)?,
    })
}

/// Empty slots for `count` genomes.
///
/// # Errors
/// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
pub fn guarded(gpu: &Gpu, rules: &CppnRules, count: usize) -> Result<CppnSlots> {
    upload(gpu, rules, &vec![None; count])
}

/// Compares the genomes in the first slots with `want`, sizes first; nothing may stand in the guards behind them, nor, where
/// `beyond`, beyond a genome in its slot.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, slots: &CppnSlots, want: &[Graph], beyond: bool) -> Result<()> {
    let (stride, max_edges, n) = (node_stride(slots.max_nodes), slots.max_edges as usize, want.len());
    let sizes = gpu.read(tally, "the sizes", &slots.sizes, n, SIZE)?;
    let activations = gpu.read(tally, "the activations", &slots.activations, n * stride, ACTIVATION)?;
    let edges = gpu.read(tally, "the edges", &slots.edges, n * max_edges, EDGE)?;
    let want_sizes: Vec<CppnSize> = want
        .iter()
        .map(|graph| CppnSize { n_nodes: graph.n_nodes() as u32, n_edges: graph.edges.len() as u32 })
        .collect();
    tally.same("the sizes", &want_sizes, &sizes);
    for (at, (graph, size)) in want.iter().zip(&sizes).enumerate() {
        if *size != want_sizes[at] {
            continue; // said above; the rest would be compared with something else
        }
        let (own_activations, free_activations) = activations[at * stride..][..stride].split_at(graph.n_nodes());
        let (own_edges, free_edges) = edges[at * max_edges..][..max_edges].split_at(graph.edges.len());
        let want_activations: Vec<u8> = graph.activations.iter().map(|&activation| activation as u8).collect();
        let want_edges: Vec<CppnEdge> = graph.edges.iter().map(|&edge| edge.into()).collect();
        tally.same(&format!("the activations of genome {at}"), &want_activations, own_activations);
        tally.same(&format!("the edges of genome {at}"), &want_edges, own_edges);
        if beyond {
            tally.untouched(&format!("what is beyond the activations of genome {at}"), &ACTIVATION, free_activations);
            tally.untouched(&format!("what is beyond the edges of genome {at}"), &EDGE, free_edges);
        }
    }
    Ok(())
}
