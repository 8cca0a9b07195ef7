//! From a genome to the instruction list that draws it.
//!
//! The rule (spec 5.6): all values start at 0, inputs are set, and the network makes T synchronous steps, T one
//! more than the longest path from an input to an output. A node's value no longer changes from step
//! settle(node) on, where settle is 0 for inputs and otherwise one more than the largest of its sources (1 with
//! none). So the value of a node at step t is that at step min(t, settle(node)), and the list holds one
//! instruction for each such (node, step) that an output at step T depends on. Usually that is one a node;
//! where a chain that no input feeds is longer than the inputs' paths, T cuts it off, and some nodes come
//! at several steps or not at all.

use super::{Activation, Edge, Graph, N_INPUTS, Rules};
use crate::simd::{Lanes, Simd, Vectorised};

/// The instruction list of a genome. Slots `0..4` are the input planes, slot `4 + i` is the result of
/// instruction i, which reads slots below its own only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    /// The terms of all instructions, one instruction's after the other's.
    pub terms: Vec<Term>,
    /// One an output: the slot of its value at step T.
    pub outputs: Vec<u32>,
    /// No sum is larger than this times the largest value, which is that of an input or 1.
    pub most_weight: f32,
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
    /// One an edge: the edge into the same node that was created before it, or [`NONE`].
    older: Vec<u32>,
    nodes: Vec<Node>,
    /// The nodes that are no inputs, each before its sources.
    order: Vec<u16>,
    /// The values on the way from an output to the one that is emitted.
    path: Vec<Pending>,
    /// One an instruction, where nodes may have several.
    emitted: Vec<Emitted>,
    program: Program,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The edge into this node that was created last, or [`NONE`].
    newest: u32,
    /// Edges from here to nodes that have not had their turn.
    n_unread: u32,
    /// Nodes on the longest path from here to an output, ends included; 0 where no path leads to one.
    height: u32,
    /// The step from which on the value stays.
    settle: u32,
    /// The slot of its value; where nodes may have several, that of the last emitted, or [`NONE`].
    slot: u32,
}

/// The value of a node at a step, some of whose sources are still to be looked at.
#[derive(Clone, Copy, Debug)]
struct Pending {
    node: u16,
    step: u32,
    /// The next edge that leads there, or [`NONE`].
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Emitted {
    step: u32,
    /// The slot of the same node's value emitted before, or [`NONE`].
    previous: u32,
}

/// No edge, or no slot.
const NONE: u32 = u32::MAX;

impl Compiler {
    /// Most bytes for genomes of `rules`.
    pub(super) fn most_bytes(rules: &Rules, n_outputs: usize) -> u64 {
        let (nodes, edges) = (u64::from(rules.max_nodes), u64::from(rules.max_edges));
        let of_node = size_of::<Node>() + size_of::<Pending>() + size_of::<u16>();
        let of_instruction = size_of::<Emitted>() + size_of::<Instruction>();
        // No node has more instructions than there are nodes, and each has a term an edge.
        let terms = nodes * edges * size_of::<Term>() as u64;
        let genome = nodes * of_node as u64 + edges * size_of::<u32>() as u64;
        let outputs = (n_outputs * size_of::<u32>()) as u64;
        2 * (genome + rules.max_instructions() * of_instruction as u64 + terms + outputs) // grown by doubling
    }

    /// The program of `graph`, whose weights are `fma(2 * max_weight, gene, -max_weight)`.
    ///
    /// The graph is one that [`Graph::random`] and [`Graph::vary`] make or [`Graph::validate`] accepts.
    pub fn compile(&mut self, simd: Simd, graph: &Graph, max_weight: f32) -> &Program {
        self.link(graph);
        let settled = self.emit_settled(graph);
        // A path of L edges has L + 1 nodes; T is 1 if no input reaches an output.
        let n_steps = self.nodes[..N_INPUTS].iter().fold(1, |most, input| most.max(input.height));
        if settled > n_steps {
            self.emit_steps(graph, n_steps);
        }
        self.program.most_weight = max_weight * self.program.terms.len() as f32;
        simd.run(Weigh { terms: &mut self.program.terms, max_weight });
        &self.program
    }

    /// The edge of each term of the program of `graph`, by the order in which the graph has them.
    ///
    /// It is the program of a graph whose genes are the numbers of its edges, and whose weights say them: `fma(1, number, -1/2)`, exact for
    /// the 2^20 edges that there may be.
    pub fn edges_of_terms(&mut self, simd: Simd, graph: &Graph) -> Vec<u32> {
        let edges = graph.edges.iter().enumerate().map(|(at, edge)| Edge { gene: at as f32, ..*edge });
        let numbered = Graph { edges: edges.collect(), ..graph.clone() };
        let program = self.compile(simd, &numbered, 0.5);
        program.terms.iter().map(|term| (term.weight + 0.5) as u32).collect()
    }

    /// Links the edges into each node, and counts those out of it.
    fn link(&mut self, graph: &Graph) {
        let Compiler { nodes, older, .. } = self;
        nodes.clear();
        nodes.resize(graph.n_nodes(), Node { newest: NONE, n_unread: 0, height: 0, settle: 0, slot: NONE });
        older.resize(graph.edges.len(), NONE);
        for (at, (edge, older)) in graph.edges.iter().zip(older).enumerate() {
            nodes[usize::from(edge.source)].n_unread += 1;
            *older = std::mem::replace(&mut nodes[usize::from(edge.target)].newest, at as u32);
        }
    }

    /// Emits each node that an output depends on once, as it has settled, and returns the step at which all of them
    /// have. Where that is within T steps, nothing else is ever seen: a value at step settle(node) sees its sources at
    /// theirs.
    ///
    /// Nodes have their turn when all that read them had theirs (Kahn 1962), so the program is written from its end.
    /// Genomes are small and no two alike: what costs time is a branch that goes now this way and now that.
    /// So there is none but for the number of a node's edges: what may turn out to be for nothing is written, and written over.
    fn emit_settled(&mut self, graph: &Graph) -> u32 {
        let Compiler { nodes, older, order, program: Program { instructions, terms, outputs, .. }, .. } = self;
        let n_computed = graph.n_nodes() - N_INPUTS;
        order.resize(graph.n_nodes(), 0);
        instructions.resize(n_computed, Instruction { activation: Activation::Sine, n_terms: 0 });
        terms.resize(graph.edges.len(), Term { slot: 0, weight: 0.0 });
        // As slices, which stay in registers.
        let (nodes, older, order) = (&mut nodes[..], &older[..], &mut order[..]);
        let (all_instructions, all_terms) = (&mut instructions[..], &mut terms[..]);
        let mut n_ready = 0;
        for (index, node) in nodes.iter().enumerate().skip(N_INPUTS) {
            order[n_ready] = index as u16;
            n_ready += usize::from(node.n_unread == 0);
        }
        nodes[..N_INPUTS].iter_mut().for_each(|input| input.n_unread += 1); // inputs have no turn
        nodes[N_INPUTS..graph.first_hidden()].iter_mut().for_each(|output| output.height = 1);

        let (mut first_instruction, mut first_term) = (n_computed, graph.edges.len());
        let mut settled = 0;
        let mut turn = 0;
        while turn < n_ready {
            let node = usize::from(order[turn]);
            turn += 1;
            let Node { height, newest, .. } = nodes[node];
            let needed = height > 0;
            let mut at = first_term;
            let mut next = newest;
            while next != NONE {
                let Edge { source, gene, .. } = graph.edges[next as usize];
                next = older[next as usize];
                at -= 1;
                all_terms[at] = Term { slot: u32::from(source), weight: gene };
                let node = &mut nodes[usize::from(source)];
                node.height = node.height.max(height + u32::from(needed));
                let n_unread = node.n_unread - 1;
                node.n_unread = n_unread;
                order[n_ready] = source;
                n_ready += usize::from(n_unread == 0);
            }
            nodes[node].slot = (N_INPUTS + first_instruction - 1) as u32;
            all_instructions[first_instruction - 1] =
                Instruction { activation: graph.activations[node], n_terms: (first_term - at) as u32 };
            first_instruction -= usize::from(needed);
            first_term = if needed { at } else { first_term };
            settled = settled.max(height);
        }

        // What was left free for nodes that no output depends on goes.
        instructions.drain(..first_instruction);
        terms.drain(..first_term);
        for (input, node) in nodes[..N_INPUTS].iter_mut().enumerate() {
            node.slot = (input + first_instruction) as u32;
        }
        let slot = |node: u32| nodes[node as usize].slot - first_instruction as u32;
        terms.iter_mut().for_each(|term| term.slot = slot(term.slot));
        outputs.clear();
        outputs.extend((N_INPUTS..graph.first_hidden()).map(|output| slot(output as u32)));
        settled
    }

    /// Emits the values that outputs at step `n_steps` depend on, where that cuts nodes off before they have settled.
    fn emit_steps(&mut self, graph: &Graph, n_steps: u32) {
        self.emitted.clear();
        self.program.instructions.clear();
        self.program.terms.clear();
        self.program.outputs.clear();
        for i in (0..graph.n_nodes() - N_INPUTS).rev() {
            let node = usize::from(self.order[i]);
            let mut settle = 1;
            let mut next = self.nodes[node].newest;
            while next != NONE {
                settle = settle.max(1 + self.nodes[usize::from(graph.edges[next as usize].source)].settle);
                next = self.older[next as usize];
            }
            self.nodes[node].settle = settle;
            self.nodes[node].slot = NONE;
        }
        for output in N_INPUTS..graph.first_hidden() {
            let step = n_steps.min(self.nodes[output].settle);
            self.emit(output as u16, step, graph);
            let slot = self.slot(output as u16, step).expect("just emitted");
            self.program.outputs.push(slot);
        }
    }

    /// The slot of the value of `node`, not an input, at `step`, if it has been emitted.
    fn slot(&self, node: u16, step: u32) -> Option<u32> {
        let mut slot = self.nodes[usize::from(node)].slot;
        while slot != NONE {
            let Emitted { step: its_step, previous } = self.emitted[slot as usize - N_INPUTS];
            if its_step == step {
                return Some(slot);
            }
            slot = previous;
        }
        None
    }

    /// The step at which a value at `step` sees `source`.
    fn step_seen(&self, source: u16, step: u32) -> u32 {
        (step - 1).min(self.nodes[usize::from(source)].settle)
    }

    fn pending(&self, node: u16, step: u32) -> Pending {
        Pending { node, step, next: self.nodes[usize::from(node)].newest }
    }

    /// Emits the value of `node` at `step` after all that it depends on, depth first. (Not by recursion: paths may be
    /// as long as the genome's capacity.)
    fn emit(&mut self, node: u16, step: u32, graph: &Graph) {
        if self.slot(node, step).is_none() {
            self.path.push(self.pending(node, step));
        }
        while let Some(&Pending { node, step, next }) = self.path.last() {
            if next == NONE {
                self.emit_instruction(node, step, graph);
                self.path.pop();
                continue;
            }
            self.path.last_mut().expect("not empty").next = self.older[next as usize];
            let source = graph.edges[next as usize].source;
            let seen = self.step_seen(source, step);
            if seen > 0 && self.slot(source, seen).is_none() {
                self.path.push(self.pending(source, seen));
            }
        }
    }

    /// At step 0 inputs have their slots and all else is 0. Terms of the latter are left out: `fma(w, 0, p)`
    /// is p, but for the sign of a zero p, and that reaches no pixel: no activation tells -0 from +0 but by the
    /// sign of a zero, and a pixel takes the absolute value.
    fn emit_instruction(&mut self, node: u16, step: u32, graph: &Graph) {
        let first_term = self.program.terms.len();
        let mut next = self.nodes[usize::from(node)].newest;
        while next != NONE {
            let Edge { source, gene, .. } = graph.edges[next as usize];
            next = self.older[next as usize];
            let seen = self.step_seen(source, step);
            let slot = if usize::from(source) < N_INPUTS {
                u32::from(source)
            } else if seen > 0 {
                self.slot(source, seen).expect("emitted before")
            } else {
                continue;
            };
            self.program.terms.push(Term { slot, weight: gene });
        }
        self.program.terms[first_term..].reverse(); // in the order of creation
        let n_terms = (self.program.terms.len() - first_term) as u32;
        let activation = graph.activations[usize::from(node)];
        let slot = (N_INPUTS + self.program.instructions.len()) as u32;
        let previous = std::mem::replace(&mut self.nodes[usize::from(node)].slot, slot);
        self.emitted.push(Emitted { step, previous });
        self.program.instructions.push(Instruction { activation, n_terms });
    }
}

/// Puts in the place of each gene in [0, 1] the weight that it stands for. Vectorised for the fused operation, which is a
/// call elsewhere.
struct Weigh<'a> {
    terms: &'a mut [Term],
    max_weight: f32,
}

impl Vectorised for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for term in self.terms {
            term.weight = (2.0 * self.max_weight).mul_add(term.weight, -self.max_weight);
        }
    }
}
