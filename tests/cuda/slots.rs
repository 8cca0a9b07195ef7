//! CPPNs in slots, as the kernels see them, with guards.

use crate::harness;
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::genomes::CppnSlots;
use pareidolia::backend::cuda::params::{CppnEdge, CppnRules, CppnSize, node_stride};
use pareidolia::genome::cppn::{Activation, Edge, Graph};

/// What stands where nothing was written.
const SIZE: CppnSize = CppnSize { n_nodes: 0xabab_abab, n_edges: 0xcdcd_cdcd };
const ACTIVATION: u8 = 0xa5;
const EDGE: CppnEdge = CppnEdge { source: 0xabab, target: 0xcdcd, gene: 1e30 };

/// Slots behind those that are to be written.
const GUARDS: usize = 3;

/// `graphs` in their slots, guards in those without, and behind all.
pub fn upload(launcher: &Launcher, rules: &CppnRules, graphs: &[Option<Graph>]) -> CppnSlots {
    let (stride, max_edges) = (node_stride(rules.max_nodes), rules.max_edges as usize);
    let slots = graphs.len() + GUARDS;
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
    CppnSlots {
        max_nodes: rules.max_nodes,
        max_edges: rules.max_edges,
        n_outputs: rules.n_outputs as usize,
        sizes: launcher.upload(&sizes).unwrap(),
        activations: launcher.upload(&activations).unwrap(),
        edges: launcher.upload(&edges).unwrap(),
    }
}

/// Empty slots for `count` genomes.
pub fn guarded(launcher: &Launcher, rules: &CppnRules, count: usize) -> CppnSlots {
    upload(launcher, rules, &vec![None; count])
}

/// The genomes in the first `count` of [`guarded`] slots; nothing may stand behind them.
#[track_caller]
pub fn download(launcher: &Launcher, slots: &CppnSlots, count: usize) -> Vec<Graph> {
    let (stride, max_edges) = (node_stride(slots.max_nodes), slots.max_edges as usize);
    let sizes = harness::unguarded(launcher.download(&slots.sizes).unwrap(), count, SIZE);
    let activations = launcher.download(&slots.activations).unwrap();
    let activations = harness::unguarded(activations, count * stride, ACTIVATION);
    let edges = harness::unguarded(launcher.download(&slots.edges).unwrap(), count * max_edges, EDGE);
    let graph = |(at, size): (usize, &CppnSize)| {
        let (n_nodes, n_edges) = (size.n_nodes as usize, size.n_edges as usize);
        assert!(n_nodes <= slots.max_nodes as usize && n_edges <= max_edges, "slot {at}: {size:?}");
        Graph {
            n_outputs: slots.n_outputs,
            activations: activations[at * stride..][..n_nodes]
                .iter()
                .map(|&index| Activation::ALL[usize::from(index)])
                .collect(),
            edges: edges[at * max_edges..][..n_edges].iter().map(|&edge| Edge::from(edge)).collect(),
        }
    };
    sizes.iter().enumerate().map(graph).collect()
}

/// Fails where what lies beyond the genomes' sizes in their slots was written.
#[track_caller]
pub fn assert_nothing_beyond(launcher: &Launcher, slots: &CppnSlots, graphs: &[Graph]) {
    let activations = launcher.download(&slots.activations).unwrap();
    let edges = launcher.download(&slots.edges).unwrap();
    for (at, graph) in graphs.iter().enumerate() {
        let stride = node_stride(slots.max_nodes);
        assert!(
            activations[at * stride..][..stride][graph.n_nodes()..].iter().all(|&index| index == ACTIVATION),
            "slot {at}"
        );
        let max_edges = slots.max_edges as usize;
        assert!(
            edges[at * max_edges..][..max_edges][graph.edges.len()..].iter().all(|&edge| edge == EDGE),
            "slot {at}"
        );
    }
}

/// Fails where genomes differ in a bit.
#[track_caller]
pub fn assert_same(want: &[Graph], got: &[Graph], case: &str) {
    assert_eq!(want.len(), got.len(), "{case}");
    let words = |graph: &Graph| {
        let mut words = Vec::new();
        graph.words(&mut |word| words.push(word));
        words
    };
    for (at, (want, got)) in want.iter().zip(got).enumerate() {
        assert_eq!(words(want), words(got), "{case}: genome {at}: want {want:?}, got {got:?}");
    }
}
