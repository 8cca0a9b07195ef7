//! From a genome to the instruction list that draws it.
//!
//! The rule (spec 5.6): all values start at 0, inputs are set, and the network makes T synchronous steps, T one
//! more than the longest path from an input to an output. A node's value no longer changes from step
//! settle(node) on, where settle is 0 for inputs and otherwise one more than the largest of its sources (1 with
//! none). So the value of a node at step t is that at step min(t, settle(node)), and the list holds one
//! instruction for each such (node, step) that an output at step T depends on. Usually that is one a node;
//! where a chain that no input feeds is longer than the inputs' paths, T cuts it off, and some nodes come
//! at several steps or not at all.

use super::{Activation, Graph, N_INPUTS};

/// The instruction list of a genome. Slots `0..4` are the input planes, slot `4 + i` is the result of
/// instruction i, which reads slots below its own only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    /// The terms of all instructions, one instruction's after the other's.
    pub terms: Vec<Term>,
    /// One an output: the slot of its value at step T.
    pub outputs: Vec<u32>,
}

/// One value: the activation of the sum of the instruction's terms, `p = fma(weight, slot, p)` from +0.0 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    pub activation: Activation,
    /// How many of [`Program::terms`] are this instruction's.
    pub n_terms: u32,
}

/// A weighted value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    pub slot: u32,
    pub weight: f32,
}

/// Compiles genomes, one after the other in the same memory.
#[derive(Debug, Default)]
pub struct Compiler {
    /// Edges grouped by target, in order of creation: node v owns `incoming[first[v]..first[v + 1]]`.
    first: Vec<u32>,
    incoming: Vec<Incoming>,
    /// The step from which on a node's value stays.
    settle: Vec<u32>,
    /// Nodes on the longest path from an input to here, ends included; 0 where no input reaches.
    reach: Vec<u32>,
    /// The (node, step) values that are needed, chained by step and by node.
    values: Vec<Value>,
    last_of_step: Vec<u32>,
    last_of_node: Vec<u32>,
    program: Program,
}

#[derive(Clone, Copy, Debug, Default)]
struct Incoming {
    source: u16,
    gene: f32,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    node: u16,
    step: u32,
    /// Known once it is emitted.
    slot: u32,
    previous_of_step: u32,
    previous_of_node: u32,
}

/// Ends a chain of values.
const NONE: u32 = u32::MAX;

impl Compiler {
    /// The program of `graph`, whose weights are `fma(2 * max_weight, gene, -max_weight)`.
    ///
    /// The graph is one that [`Graph::random`] and [`Graph::vary`] make or [`Graph::validate`] accepts.
    pub fn compile(&mut self, graph: &Graph, max_weight: f32) -> &Program {
        self.group_by_target(graph);
        let n_steps = self.settle_and_count_steps(graph);
        self.find_needed_values(graph, n_steps);
        self.emit(graph, max_weight);
        &self.program
    }

    fn group_by_target(&mut self, graph: &Graph) {
        let n_nodes = graph.n_nodes();
        self.first.clear();
        self.first.resize(n_nodes + 1, 0);
        for edge in &graph.edges {
            self.first[usize::from(edge.target)] += 1;
        }
        let mut end = 0;
        for first in &mut self.first {
            end += *first;
            *first = end;
        }
        self.incoming.clear();
        self.incoming.resize(graph.edges.len(), Incoming::default());
        for edge in graph.edges.iter().rev() {
            let place = &mut self.first[usize::from(edge.target)];
            *place -= 1;
            self.incoming[*place as usize] = Incoming { source: edge.source, gene: edge.gene };
        }
    }

    /// Fills `settle` and `reach`; returns T.
    fn settle_and_count_steps(&mut self, graph: &Graph) -> u32 {
        self.settle.clear();
        self.settle.resize(graph.n_nodes(), 1);
        self.settle[..N_INPUTS].fill(0);
        self.reach.clear();
        self.reach.resize(graph.n_nodes(), 0);
        self.reach[..N_INPUTS].fill(1);
        // Edges of a path mostly stand in its order: a few sweeps settle everything.
        let mut changed = true;
        while changed {
            changed = false;
            for edge in &graph.edges {
                let (source, target) = (usize::from(edge.source), usize::from(edge.target));
                if self.settle[target] <= self.settle[source] {
                    self.settle[target] = self.settle[source] + 1;
                    changed = true;
                }
                if self.reach[source] > 0 && self.reach[target] <= self.reach[source] {
                    self.reach[target] = self.reach[source] + 1;
                    changed = true;
                }
            }
        }
        // A path of L edges has L + 1 nodes; T is 1 if no input reaches an output.
        let longest = self.reach[N_INPUTS..graph.first_hidden()].iter().copied().max();
        longest.unwrap_or(0).max(1)
    }

    fn incoming(&self, node: u16) -> std::ops::Range<usize> {
        self.first[usize::from(node)] as usize..self.first[usize::from(node) + 1] as usize
    }

    /// The needed value of `node` at `step`, if it has been found already.
    fn value(&self, node: u16, step: u32) -> Option<u32> {
        let mut at = self.last_of_node[usize::from(node)];
        while at != NONE && self.values[at as usize].step != step {
            at = self.values[at as usize].previous_of_node;
        }
        (at != NONE).then_some(at)
    }

    fn need(&mut self, node: u16, step: u32) {
        if self.value(node, step).is_some() {
            return;
        }
        let (of_step, of_node) = (&mut self.last_of_step[step as usize], &mut self.last_of_node[usize::from(node)]);
        let index = self.values.len() as u32;
        self.values.push(Value { node, step, slot: NONE, previous_of_step: *of_step, previous_of_node: *of_node });
        (*of_step, *of_node) = (index, index);
    }

    /// Walks from the outputs at step T down to step 1: a value needs those of its sources one step earlier.
    fn find_needed_values(&mut self, graph: &Graph, n_steps: u32) {
        self.values.clear();
        self.last_of_step.clear();
        self.last_of_step.resize(n_steps as usize + 1, NONE);
        self.last_of_node.clear();
        self.last_of_node.resize(graph.n_nodes(), NONE);
        self.program.outputs.clear();
        for output in N_INPUTS..graph.first_hidden() {
            let step = n_steps.min(self.settle[output]);
            self.program.outputs.push(self.values.len() as u32); // becomes a slot when it is emitted
            self.need(output as u16, step);
        }
        for step in (1..=n_steps).rev() {
            let mut at = self.last_of_step[step as usize];
            while at != NONE {
                let Value { node, previous_of_step, .. } = self.values[at as usize];
                for i in self.incoming(node) {
                    let source = self.incoming[i].source;
                    let earlier = (step - 1).min(self.settle[usize::from(source)]);
                    if earlier > 0 {
                        self.need(source, earlier);
                    }
                }
                at = previous_of_step;
            }
        }
    }

    /// Writes the needed values in the order of their steps. At step 0 inputs have their slots and all else
    /// is 0; terms of the latter are left out: `fma(w, 0, p)` is p, but for the sign of a zero p, and that
    /// reaches no pixel (no activation tells -0 from +0 except by the sign of a zero, and a pixel takes the
    /// absolute value).
    fn emit(&mut self, graph: &Graph, max_weight: f32) {
        self.program.instructions.clear();
        self.program.terms.clear();
        for step in 1..self.last_of_step.len() {
            let mut at = self.last_of_step[step];
            while at != NONE {
                let Value { node, step, previous_of_step, .. } = self.values[at as usize];
                let n_terms_before = self.program.terms.len();
                for i in self.incoming(node) {
                    let Incoming { source, gene } = self.incoming[i];
                    let earlier = (step - 1).min(self.settle[usize::from(source)]);
                    let slot = if usize::from(source) < N_INPUTS {
                        u32::from(source)
                    } else if earlier > 0 {
                        let value = self.value(source, earlier).expect("found on the way down");
                        self.values[value as usize].slot
                    } else {
                        continue;
                    };
                    let weight = (2.0 * max_weight).mul_add(gene, -max_weight);
                    self.program.terms.push(Term { slot, weight });
                }
                self.values[at as usize].slot = (N_INPUTS + self.program.instructions.len()) as u32;
                self.program.instructions.push(Instruction {
                    activation: graph.activations[usize::from(node)],
                    n_terms: (self.program.terms.len() - n_terms_before) as u32,
                });
                at = previous_of_step;
            }
        }
        for output in &mut self.program.outputs {
            *output = self.values[*output as usize].slot;
        }
    }
}
