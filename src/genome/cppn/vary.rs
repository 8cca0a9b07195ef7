//! Variation of CPPNs (spec 5.5). Every draw is keyed by what it decides, as [`Purpose`] says, so an operator
//! changes nothing of what the later ones draw.

use super::{Activation, Edge, Graph, N_INPUTS, Rules};
use crate::genome::mutation::polynomial_mutation;
use crate::rng::{Chance, Draws, Philox, Purpose, below, unit};
use crate::simd::{Lanes, Plain};

/// Memory that [`Graph::vary`] uses again from child to child.
#[derive(Debug, Default)]
pub struct Scratch {
    /// One a node: whether the new edge must not lead there.
    barred: Vec<bool>,
}

impl Scratch {
    /// Most bytes for genomes of `rules`.
    pub(super) fn most_bytes(rules: &Rules) -> u64 {
        2 * u64::from(rules.max_nodes) // grown by doubling
    }
}

impl Graph {
    /// Turns a copy of a parent into its child: the operators of spec 5.5 in their order. Indices of edges
    /// and nodes, in draws too, are those at the time an operator begins.
    ///
    /// Returns how many operators were skipped for want of room: those whose chance came up and which had
    /// something to choose, but whose result would have passed `rules.max_nodes` or `rules.max_edges`.
    /// (Adding an edge needs one more edge; a split needs one more edge and one more node.)
    pub fn vary(
        &mut self,
        rules: &Rules,
        philox: &Philox,
        candidate: u32,
        generation: u32,
        scratch: &mut Scratch,
    ) -> u32 {
        let draws = |purpose| philox.draws(purpose, candidate, generation);
        let mut n_skipped = 0;

        let amount = draws(Purpose::CppnWeightAmount);
        for_each_chosen(draws(Purpose::CppnWeightGate), rules.weight_rate, self.edges.len(), |i| {
            let gene = &mut self.edges[i].gene;
            *gene = mutated(*gene, unit(amount.word(i as u32)), rules.weight_eta);
        });

        let redrawn = draws(Purpose::CppnActivation);
        for_each_chosen(draws(Purpose::CppnActivationGate), rules.activation_rate, self.n_nodes(), |i| {
            self.activations[i] = Activation::from_word(redrawn.word(i as u32));
        });

        let [gate, source, target, gene] = draws(Purpose::CppnAddEdge).block(0);
        if Chance::new(rules.add_edge_rate).happens(gate) {
            n_skipped += self.add_edge(rules, source, target, gene, scratch);
        }
        let [gate, which, ..] = draws(Purpose::CppnDeleteEdge).block(0);
        if Chance::new(rules.delete_edge_rate).happens(gate) && !self.edges.is_empty() {
            self.edges.remove(below(which, self.edges.len() as u32) as usize);
        }
        let [gate, which, activation, _] = draws(Purpose::CppnSplitEdge).block(0);
        if Chance::new(rules.split_edge_rate).happens(gate) && !self.edges.is_empty() {
            n_skipped += self.split_edge(rules, which, activation);
        }
        let [gate, which, ..] = draws(Purpose::CppnDeleteNode).block(0);
        let n_hidden = self.n_nodes() - self.first_hidden();
        if Chance::new(rules.delete_node_rate).happens(gate) && n_hidden > 0 {
            self.delete_node(self.first_hidden() + below(which, n_hidden as u32) as usize);
        }
        n_skipped
    }

    /// Joins a source that is no output to a target that is no input, not the source and none of its
    /// ancestors; both are counted in the order of their indices. An output is always a possible target.
    fn add_edge(&mut self, rules: &Rules, source: u32, target: u32, gene: u32, scratch: &mut Scratch) -> u32 {
        if self.edges.len() >= rules.max_edges as usize {
            return 1;
        }
        let source = below(source, (self.n_nodes() - self.n_outputs) as u32) as usize;
        let source = if source < N_INPUTS { source } else { source + self.n_outputs };

        let barred = &mut scratch.barred;
        barred.clear();
        barred.resize(self.n_nodes(), false);
        barred[source] = true;
        // Edges of a path mostly stand in its order, so that one or two sweeps from the back find all ancestors.
        let mut grew = true;
        while grew {
            grew = false;
            for edge in self.edges.iter().rev() {
                if barred[usize::from(edge.target)] && !barred[usize::from(edge.source)] {
                    barred[usize::from(edge.source)] = true;
                    grew = true;
                }
            }
        }
        let open = |&node: &usize| !barred[node];
        let n_targets = (N_INPUTS..self.n_nodes()).filter(open).count();
        let target = (N_INPUTS..self.n_nodes())
            .filter(open)
            .nth(below(target, n_targets as u32) as usize)
            .expect("outputs have no outgoing edges, so they are never ancestors");
        self.edges.push(Edge { source: source as u16, target: target as u16, gene: unit(gene) });
        0
    }

    /// Puts a node in the middle of an edge; both halves keep its gene.
    fn split_edge(&mut self, rules: &Rules, which: u32, activation: u32) -> u32 {
        if self.n_nodes() >= rules.max_nodes as usize || self.edges.len() >= rules.max_edges as usize {
            return 1;
        }
        let edge = self.edges.remove(below(which, self.edges.len() as u32) as usize);
        let middle = self.n_nodes() as u16;
        self.activations.push(Activation::from_word(activation));
        self.edges.push(Edge { target: middle, ..edge });
        self.edges.push(Edge { source: middle, ..edge });
        0
    }

    /// Removes a node with its edges; the nodes after it move down by one.
    fn delete_node(&mut self, node: usize) {
        self.activations.remove(node);
        let node = node as u16;
        self.edges.retain_mut(|edge| {
            let keep = edge.source != node && edge.target != node;
            edge.source -= u16::from(edge.source > node);
            edge.target -= u16::from(edge.target > node);
            keep
        });
    }
}

/// Calls `act` with each index of `0..n` whose word is a hit.
fn for_each_chosen(gates: Draws, rate: f64, n: usize, mut act: impl FnMut(usize)) {
    let chance = Chance::new(rate);
    for first in (0..n).step_by(4) {
        let words = gates.block(first as u32 / 4);
        for (i, word) in (first..n).zip(words) {
            if chance.happens(word) {
                act(i);
            }
        }
    }
}

/// [`polynomial_mutation`] of one gene.
fn mutated(gene: f32, unit: f32, eta: u32) -> f32 {
    let mut lanes = [0.0; Plain::N];
    polynomial_mutation(Plain::splat(gene), Plain::splat(unit), eta).store(&mut lanes);
    lanes[0]
}
