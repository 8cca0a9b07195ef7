//! From a genome to the instruction list that draws it.
//!
//! The rule (spec 5.6): all values start at 0, inputs are set, and the network makes T synchronous steps, T one
//! more than the longest path from an input to an output. A node's value no longer changes from step
//! settle(node) on, where settle is 0 for inputs and otherwise one more than the largest of its sources (1 with
//! none). So the value of a node at step t is that at step min(t, settle(node)), and the list holds one
//! instruction for each such (node, step) that an output at step T depends on. Usually that is one a node;
//! where a chain that no input feeds is longer than the inputs' paths, T cuts it off, and some nodes come
//! at several steps or not at all.

use super::{Activation, Graph, N_INPUTS, Rules};
use std::ops::Range;

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
    nodes: Vec<Node>,
    /// The nodes on the way from an output to the one that is measured.
    measuring: Vec<Measuring>,
    /// The nodes that outputs depend on, each after its sources.
    order: Vec<u16>,
    /// The values on the way from an output to the one that is emitted.
    path: Vec<Pending>,
    /// One an instruction.
    emitted: Vec<Emitted>,
    program: Program,
}

#[derive(Clone, Copy, Debug, Default)]
struct Incoming {
    source: u16,
    gene: f32,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The step from which on the value stays; 0 in nodes that are no inputs means not known yet.
    settle: u32,
    /// Nodes on the longest path from an input to here, ends included; 0 where no input reaches.
    reach: u32,
    /// The instruction that was emitted last for this node, or [`NONE`]; the slot of an input.
    last: u32,
}

/// A node some of whose sources are still to be measured, and what those before them come to.
#[derive(Clone, Copy, Debug)]
struct Measuring {
    node: u16,
    /// Index in `incoming` of the next one.
    next: u32,
    settle: u32,
    reach: u32,
}

/// The value of a node at a step, some of whose sources are still to be looked at.
#[derive(Clone, Copy, Debug)]
struct Pending {
    node: u16,
    step: u32,
    /// Index in `incoming` of the next one.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Emitted {
    step: u32,
    /// The instruction of the same node emitted before, or [`NONE`].
    previous: u32,
}

/// No instruction.
const NONE: u32 = u32::MAX;

impl Compiler {
    /// Most bytes for genomes of `rules`.
    pub(super) fn most_bytes(rules: &Rules, n_outputs: usize) -> u64 {
        let (nodes, edges) = (u64::from(rules.max_nodes), u64::from(rules.max_edges));
        let of_node =
            2 * size_of::<u32>() + size_of::<Node>() + size_of::<Pending>() + size_of::<Measuring>() + size_of::<u16>();
        let of_instruction = size_of::<Emitted>() + size_of::<Instruction>();
        // No node has more instructions than there are nodes, and each has a term an edge.
        let terms = nodes * edges * size_of::<Term>() as u64;
        let genome = nodes * of_node as u64 + edges * size_of::<Incoming>() as u64;
        let outputs = (n_outputs * size_of::<u32>()) as u64;
        2 * (genome + rules.max_instructions() * of_instruction as u64 + terms + outputs) // grown by doubling
    }

    /// The program of `graph`, whose weights are `fma(2 * max_weight, gene, -max_weight)`.
    ///
    /// The graph is one that [`Graph::random`] and [`Graph::vary`] make or [`Graph::validate`] accepts.
    pub fn compile(&mut self, graph: &Graph, max_weight: f32) -> &Program {
        self.group_by_target(graph);
        self.nodes.clear();
        self.nodes.extend((0..N_INPUTS as u32).map(|input| Node { settle: 0, reach: 1, last: input }));
        self.nodes.resize(graph.n_nodes(), Node { settle: 0, reach: 0, last: NONE });
        let outputs = N_INPUTS as u16..graph.first_hidden() as u16;

        // A path of L edges has L + 1 nodes; T is 1 if no input reaches an output.
        let mut n_steps = 1;
        let mut settled = 0;
        self.order.clear();
        for output in outputs.clone() {
            self.measure(output);
            let node = self.nodes[usize::from(output)];
            n_steps = n_steps.max(node.reach);
            settled = settled.max(node.settle);
        }

        self.emitted.clear();
        self.program.instructions.clear();
        self.program.terms.clear();
        self.program.outputs.clear();
        if settled <= n_steps {
            self.emit_settled(graph, max_weight);
        }
        for output in outputs {
            let step = n_steps.min(self.nodes[usize::from(output)].settle);
            if settled > n_steps {
                self.emit(output, step, graph, max_weight);
            }
            self.program.outputs.push(self.slot(output, step).expect("just emitted"));
        }
        &self.program
    }

    fn group_by_target(&mut self, graph: &Graph) {
        self.first.clear();
        self.first.resize(graph.n_nodes() + 1, 0);
        for edge in &graph.edges {
            self.first[usize::from(edge.target)] += 1;
        }
        let mut end = 0;
        for first in &mut self.first {
            end += *first;
            *first = end;
        }
        // Each group fills from its end: last edges first.
        self.incoming.clear();
        self.incoming.resize(graph.edges.len(), Incoming::default());
        for edge in graph.edges.iter().rev() {
            let place = &mut self.first[usize::from(edge.target)];
            *place -= 1;
            self.incoming[*place as usize] = Incoming { source: edge.source, gene: edge.gene };
        }
    }

    fn incoming(&self, node: u16) -> Range<usize> {
        self.first[usize::from(node)] as usize..self.first[usize::from(node) + 1] as usize
    }

    fn pending(&self, node: u16, step: u32) -> Pending {
        Pending { node, step, next: self.first[usize::from(node)] }
    }

    /// Finds `settle` and `reach` of `node` and of all that it depends on, depth first. (Not by recursion: paths
    /// may be as long as the genome's capacity.)
    fn measure(&mut self, node: u16) {
        if self.nodes[usize::from(node)].settle > 0 {
            return;
        }
        self.measuring.push(Measuring { node, next: self.first[usize::from(node)], settle: 1, reach: 0 });
        'deeper: while let Some(top) = self.measuring.last_mut() {
            let end = self.first[usize::from(top.node) + 1];
            for (at, incoming) in (top.next..end).zip(&self.incoming[top.next as usize..end as usize]) {
                let source = self.nodes[usize::from(incoming.source)];
                if source.settle == 0 && usize::from(incoming.source) >= N_INPUTS {
                    top.next = at;
                    let (node, next) = (incoming.source, self.first[usize::from(incoming.source)]);
                    self.measuring.push(Measuring { node, next, settle: 1, reach: 0 });
                    continue 'deeper;
                }
                top.settle = top.settle.max(source.settle + 1);
                if source.reach > 0 {
                    top.reach = top.reach.max(source.reach + 1);
                }
            }
            let &mut Measuring { node, settle, reach, .. } = top;
            self.nodes[usize::from(node)] = Node { settle, reach, last: NONE };
            self.order.push(node);
            self.measuring.pop();
        }
    }

    /// Emits each node once, as it has settled. Where all outputs settle within T steps nothing else is ever seen: a value at
    /// step settle(node) sees its sources at theirs. It is what [`Compiler::emit`] would emit, in the same order.
    fn emit_settled(&mut self, graph: &Graph, max_weight: f32) {
        for &node in &self.order {
            let incoming = &self.incoming[self.incoming(node)];
            for &Incoming { source, gene } in incoming {
                let first = if usize::from(source) < N_INPUTS { 0 } else { N_INPUTS as u32 };
                let slot = first + self.nodes[usize::from(source)].last;
                self.program.terms.push(Term { slot, weight: weight(gene, max_weight) });
            }
            let entry = &mut self.nodes[usize::from(node)];
            entry.last = self.program.instructions.len() as u32;
            self.emitted.push(Emitted { step: entry.settle, previous: NONE });
            self.program
                .instructions
                .push(Instruction { activation: graph.activations[usize::from(node)], n_terms: incoming.len() as u32 });
        }
    }

    /// The slot of the value of `node`, not an input, at `step`, if it has been emitted.
    fn slot(&self, node: u16, step: u32) -> Option<u32> {
        let mut at = self.nodes[usize::from(node)].last;
        while at != NONE && self.emitted[at as usize].step != step {
            at = self.emitted[at as usize].previous;
        }
        (at != NONE).then(|| N_INPUTS as u32 + at)
    }

    /// The step at which a value at `step` sees `source`.
    fn step_seen(&self, source: u16, step: u32) -> u32 {
        (step - 1).min(self.nodes[usize::from(source)].settle)
    }

    /// Emits the value of `node` at `step` after all that it depends on, depth first.
    fn emit(&mut self, node: u16, step: u32, graph: &Graph, max_weight: f32) {
        self.path.push(self.pending(node, step));
        while let Some(&Pending { node, step, next }) = self.path.last() {
            let missing = (next as usize..self.incoming(node).end).find(|&i| {
                let source = self.incoming[i].source;
                let seen = self.step_seen(source, step);
                seen > 0 && self.slot(source, seen).is_none()
            });
            if let Some(i) = missing {
                let source = self.incoming[i].source;
                self.path.last_mut().expect("not empty").next = i as u32 + 1;
                self.path.push(self.pending(source, self.step_seen(source, step)));
                continue;
            }
            self.emit_instruction(node, step, graph, max_weight);
            self.path.pop();
        }
    }

    /// At step 0 inputs have their slots and all else is 0. Terms of the latter are left out: `fma(w, 0, p)`
    /// is p, but for the sign of a zero p, and that reaches no pixel: no activation tells -0 from +0 but by the
    /// sign of a zero, and a pixel takes the absolute value.
    fn emit_instruction(&mut self, node: u16, step: u32, graph: &Graph, max_weight: f32) {
        let n_terms_before = self.program.terms.len();
        for i in self.incoming(node) {
            let Incoming { source, gene } = self.incoming[i];
            let seen = self.step_seen(source, step);
            let slot = if usize::from(source) < N_INPUTS {
                u32::from(source)
            } else if seen > 0 {
                self.slot(source, seen).expect("emitted before")
            } else {
                continue;
            };
            self.program.terms.push(Term { slot, weight: weight(gene, max_weight) });
        }
        let n_terms = (self.program.terms.len() - n_terms_before) as u32;
        let activation = graph.activations[usize::from(node)];
        let last = &mut self.nodes[usize::from(node)].last;
        self.emitted.push(Emitted { step, previous: *last });
        *last = self.program.instructions.len() as u32;
        self.program.instructions.push(Instruction { activation, n_terms });
    }
}

/// The weight that a gene in [0, 1] stands for.
fn weight(gene: f32, max_weight: f32) -> f32 {
    (2.0 * max_weight).mul_add(gene, -max_weight)
}
