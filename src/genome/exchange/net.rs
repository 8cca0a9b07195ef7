//! A CPPN worked out: what is computed at which step, and how far each node is from the inputs.

use crate::genome::cppn::{Graph, N_INPUTS};
use std::collections::BTreeMap;

/// Values and weighted terms that a genome may take: far more than any that evolution has made, few enough to be written and drawn.
const MOST_VALUES: usize = 1 << 17;
const MOST_TERMS: usize = 1 << 21;

/// A value that another one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// One of the four inputs.
    Input(usize),
    /// By its index in [`Net::values`].
    Value(usize),
}

/// What a node comes to at a step: the activation of the sum of its terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub node: usize,
    /// From this step on it stays, or it is cut off here by the last step.
    pub step: u32,
    /// In the order in which they are added.
    pub terms: Vec<(Operand, f32)>,
}

/// A CPPN, worked out by the synchronous rule (spec 5.6): all values start at 0, and all nodes are computed at once, T times. A node's value
/// stays from step settle(node) on, 0 for inputs and else one more than the largest of its sources (1 with none): so at step t it is that at
/// step min(t, settle(node)), and what outputs at step T do not depend on is left out.
#[derive(Clone, Debug)]
pub struct Net<'a> {
    pub graph: &'a Graph,
    /// T: one more than the edges of the longest path from an input to an output; 1 if there is none.
    pub steps: u32,
    /// One an edge: `fma(2 * max_weight, gene, -max_weight)`.
    pub weights: Vec<f32>,
    /// In an order in which each is computed after those that it reads.
    pub values: Vec<Value>,
    /// One an output: its value at step T.
    pub outputs: Vec<usize>,
    /// One a node: the step from which on its value stays.
    pub settle: Vec<u32>,
}

impl<'a> Net<'a> {
    /// Works out `graph`, which must be one that [`Graph::validate`] accepts.
    ///
    /// # Errors
    /// If it takes more values than fit a program.
    pub fn new(graph: &'a Graph, max_weight: f32) -> Result<Net<'a>, String> {
        let weight = |gene: f32| (2.0 * max_weight).mul_add(gene, -max_weight);
        let weights: Vec<f32> = graph.edges.iter().map(|edge| weight(edge.gene)).collect();
        let (settle, steps) = times(graph);
        let incoming = incoming(graph);
        let needed = needed(graph, &incoming, &settle, steps)?;
        let values = needed.keys().map(|&(step, node)| {
            let terms = incoming[node].iter().filter_map(|&edge| {
                let source = usize::from(graph.edges[edge].source);
                let operand = if source < N_INPUTS {
                    Operand::Input(source)
                } else {
                    // At step 0 all but the inputs is 0.
                    Operand::Value(*needed.get(&((step - 1).min(settle[source]), source))?)
                };
                Some((operand, weights[edge]))
            });
            Value { node, step, terms: terms.collect() }
        });
        let values = values.collect();
        let outputs = N_INPUTS..graph.first_hidden();
        let outputs = outputs.map(|output| needed[&(steps.min(settle[output]), output)]).collect();
        Ok(Net { graph, steps, weights, values, outputs, settle })
    }

    /// Which nodes a picture depends on; inputs that nothing reads are none.
    pub fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.graph.n_nodes()];
        for value in &self.values {
            used[value.node] = true;
            for (operand, _) in &value.terms {
                if let Operand::Input(input) = *operand {
                    used[input] = true;
                }
            }
        }
        used
    }

    /// What each value is called in a program: `n` and the number of its node; where the node has several, with the step behind it.
    pub fn names(&self) -> Vec<String> {
        let mut n_values = vec![0; self.graph.n_nodes()];
        self.values.iter().for_each(|value| n_values[value.node] += 1);
        let name = |value: &Value| match n_values[value.node] {
            1 => format!("n{}", value.node),
            _ => format!("n{}_{}", value.node, value.step),
        };
        self.values.iter().map(name).collect()
    }
}

/// Whether `graph` can be worked out and drawn, and T.
///
/// # Errors
/// As [`Net::new`].
pub(super) fn check(graph: &Graph) -> Result<u32, String> {
    let (settle, steps) = times(graph);
    needed(graph, &incoming(graph), &settle, steps).map(|_| steps)
}

/// The edges into each node, in the order of their creation.
fn incoming(graph: &Graph) -> Vec<Vec<usize>> {
    let mut incoming = vec![Vec::new(); graph.n_nodes()];
    for (at, edge) in graph.edges.iter().enumerate() {
        incoming[usize::from(edge.target)].push(at);
    }
    incoming
}

/// The values that outputs at step T depend on, by step and node, so that whatever a value reads stands before it; each with its place.
fn needed(
    graph: &Graph,
    incoming: &[Vec<usize>],
    settle: &[u32],
    steps: u32,
) -> Result<BTreeMap<(u32, usize), usize>, String> {
    let mut needed: BTreeMap<(u32, usize), usize> = BTreeMap::new();
    let outputs = N_INPUTS..graph.first_hidden();
    let mut open: Vec<(u32, usize)> = outputs.map(|output| (steps.min(settle[output]), output)).collect();
    let mut n_terms = 0;
    while let Some((step, node)) = open.pop() {
        if needed.insert((step, node), 0).is_some() {
            continue;
        }
        n_terms += incoming[node].len();
        if needed.len() > MOST_VALUES || n_terms > MOST_TERMS {
            return Err(format!(
                "takes more than {MOST_VALUES} values or {MOST_TERMS} weighted terms to draw: a long chain that no input feeds is cut off \
                 at many steps"
            ));
        }
        for &edge in &incoming[node] {
            let source = usize::from(graph.edges[edge].source);
            let seen = (step - 1).min(settle[source]);
            if source >= N_INPUTS && seen > 0 {
                open.push((seen, source));
            }
        }
    }
    needed.values_mut().enumerate().for_each(|(index, value)| *value = index);
    Ok(needed)
}

/// Of each node the step from which on its value stays, and T.
fn times(graph: &Graph) -> (Vec<u32>, u32) {
    let n_nodes = graph.n_nodes();
    let mut n_unseen = vec![0_u32; n_nodes];
    let mut outgoing = vec![Vec::new(); n_nodes];
    for edge in &graph.edges {
        n_unseen[usize::from(edge.target)] += 1;
        outgoing[usize::from(edge.source)].push(usize::from(edge.target));
    }
    let mut settle: Vec<u32> = (0..n_nodes).map(|node| u32::from(node >= N_INPUTS)).collect();
    // Edges of the longest path from an input.
    let mut path: Vec<Option<u32>> = (0..n_nodes).map(|node| (node < N_INPUTS).then_some(0)).collect();
    let mut ready: Vec<usize> = (0..n_nodes).filter(|&node| n_unseen[node] == 0).collect();
    while let Some(node) = ready.pop() {
        for &target in &outgoing[node] {
            settle[target] = settle[target].max(settle[node] + 1);
            path[target] = path[target].max(path[node].map(|edges| edges + 1));
            n_unseen[target] -= 1;
            if n_unseen[target] == 0 {
                ready.push(target);
            }
        }
    }
    let longest = path[N_INPUTS..graph.first_hidden()].iter().flatten().max();
    (settle, 1 + longest.copied().unwrap_or(0))
}
