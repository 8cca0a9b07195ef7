//! compile_cppn: the programs that the rule at the top of kernels/image/compile_cppn.cu gives, to the bit. That they are right,
//! [`super::render_cppn`] shows: drawn, they are the images of the CPU, whose compiler makes other ones.

use super::cases::Extent;
use super::gpu::Gpu;
use super::graphs;
use super::render_cppn::{Drawing, drawings};
use super::tally::Tally;
use crate::backend::cuda::compile_cppn::CppnPrograms;
use crate::backend::cuda::params::{CppnInstruction, CppnProgram, CppnRules, CppnTerm};
use crate::error::Result;
use crate::genome::cppn::{Graph, N_INPUTS, Rules};

/// What stands where nothing was written.
const HEADER: CppnProgram = CppnProgram { n_instructions: 7, n_terms: 7, n_passes: 7, from_zero: 7, outputs: [7; 3] };
const INSTRUCTION: CppnInstruction =
    CppnInstruction { first_term: 7, n_terms: 7, activation: 7, first_pass: 7, last_pass: 7 };
const TERM: CppnTerm = CppnTerm { value: 7, weight: 7.0 };

/// Slots behind those that are to be written.
const GUARD_SLOTS: usize = 1;

/// Programs on the host, in slots as on the device, guards in what is free of them and behind all.
#[derive(Clone, Debug)]
pub struct HostPrograms {
    pub headers: Vec<CppnProgram>,
    pub instructions: Vec<CppnInstruction>,
    pub terms: Vec<CppnTerm>,
}

impl HostPrograms {
    /// No programs, in `slots` slots.
    fn guards(rules: &Rules, slots: usize) -> HostPrograms {
        HostPrograms {
            headers: vec![HEADER; slots],
            instructions: vec![INSTRUCTION; slots * rules.max_nodes as usize],
            terms: vec![TERM; slots * rules.max_edges as usize],
        }
    }

    /// The programs of `graphs`.
    pub fn new(rules: &Rules, graphs: &[Graph]) -> HostPrograms {
        let mut programs = HostPrograms::guards(rules, graphs.len() + GUARD_SLOTS);
        for (at, graph) in graphs.iter().enumerate() {
            let (header, instructions, terms) = compile(rules, graph);
            programs.headers[at] = header;
            programs.instructions[at * rules.max_nodes as usize..][..instructions.len()].copy_from_slice(&instructions);
            programs.terms[at * rules.max_edges as usize..][..terms.len()].copy_from_slice(&terms);
        }
        programs
    }

    /// On the device.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if the device has too little shared memory for genomes of these rules; the
    /// driver's.
    pub fn upload(&self, gpu: &Gpu, rules: &CppnRules) -> Result<CppnPrograms> {
        let mut programs = CppnPrograms::new(gpu.launcher, rules, self.headers.len())?;
        gpu.launcher.upload_part(&mut programs.headers, 0, &self.headers)?;
        gpu.launcher.upload_part(&mut programs.instructions, 0, &self.instructions)?;
        gpu.launcher.upload_part(&mut programs.terms, 0, &self.terms)?;
        Ok(programs)
    }
}

/// The longest walks along `edges`, `(from, to)`: where one leads on from a node that has a length above 0, the next one's is at
/// least one more.
fn spread(lengths: &mut [u32], edges: impl Iterator<Item = (u16, u16)> + Clone) {
    let mut changed = true;
    while changed {
        changed = false;
        for (from, to) in edges.clone() {
            let (from, to) = (lengths[usize::from(from)], &mut lengths[usize::from(to)]);
            if from > 0 && from >= *to {
                *to = from + 1;
                changed = true;
            }
        }
    }
}

/// The program of a genome.
pub fn compile(rules: &Rules, graph: &Graph) -> (CppnProgram, Vec<CppnInstruction>, Vec<CppnTerm>) {
    let (n_nodes, outputs) = (graph.n_nodes(), N_INPUTS..graph.first_hidden());
    let along = graph.edges.iter().map(|edge| (edge.source, edge.target));
    // Nodes on the longest path to an output, the node's own included; 0 if there is none.
    let mut heights: Vec<u32> = (0..n_nodes).map(|node| u32::from(outputs.contains(&node))).collect();
    spread(&mut heights, along.clone().map(|(source, target)| (target, source)));
    let mut settles: Vec<u32> = (0..n_nodes).map(|node| u32::from(node >= N_INPUTS)).collect();
    spread(&mut settles, along.clone());
    let mut reaches: Vec<u32> = (0..n_nodes).map(|node| u32::from(node < N_INPUTS)).collect();
    spread(&mut reaches, along);

    let of_outputs = |lengths: &[u32]| outputs.clone().map(|output| lengths[output]).max().unwrap_or(0);
    let n_steps = of_outputs(&reaches).max(1);
    let last_settle = of_outputs(&settles);
    let settled = last_settle <= n_steps;
    let drawn: Vec<usize> = (N_INPUTS..n_nodes).filter(|&node| heights[node] > 0).collect();
    let mut order = drawn.clone();
    order.sort_by_key(|&node| if settled { settles[node] } else { last_settle - settles[node] });
    let mut values: Vec<u32> = (0..n_nodes as u32).collect();
    for (value, &node) in (N_INPUTS as u32..).zip(&order) {
        values[node] = value;
    }

    let mut terms = Vec::new();
    let mut instructions = vec![INSTRUCTION; drawn.len()];
    for &node in &drawn {
        let first_term = terms.len() as u32;
        terms.extend(graph.edges.iter().filter(|edge| usize::from(edge.target) == node).map(|edge| CppnTerm {
            value: values[usize::from(edge.source)],
            weight: (2.0 * rules.max_weight).mul_add(edge.gene, -rules.max_weight),
        }));
        let (first_pass, last_pass) = if settled {
            (1, 1)
        } else {
            let last = settles[node].min(n_steps);
            ((n_steps + 1).saturating_sub(heights[node]).clamp(1, last), last)
        };
        instructions[values[node] as usize - N_INPUTS] = CppnInstruction {
            first_term,
            n_terms: terms.len() as u32 - first_term,
            activation: graph.activations[node] as u32,
            first_pass: first_pass as u16,
            last_pass: last_pass as u16,
        };
    }
    let mut header = CppnProgram {
        n_instructions: instructions.len() as u32,
        n_terms: terms.len() as u32,
        n_passes: if settled { 1 } else { n_steps },
        from_zero: u32::from(!settled),
        outputs: [0; 3],
    };
    header.outputs.iter_mut().zip(outputs).for_each(|(to, output)| *to = values[output]);
    (header, instructions, terms)
}

/// Compares the programs of `graphs` on both sides, and returns the device's headers.
///
/// # Errors
/// The driver's, and those of [`HostPrograms::upload`].
pub fn compare(gpu: &Gpu, tally: &mut Tally, rules: &Rules, graphs: &[Graph]) -> Result<Vec<CppnProgram>> {
    let n_outputs = graphs.first().map_or(1, |graph| graph.n_outputs);
    tally.case(graphs.len(), format_args!("{} genomes of {n_outputs} outputs, {rules:?}", graphs.len()));
    let want = HostPrograms::new(rules, graphs);
    let crossing = CppnRules::new(rules, n_outputs);
    let genomes = graphs::upload(gpu, &crossing, &graphs.iter().map(Some).collect::<Vec<_>>())?;
    let mut programs = HostPrograms::guards(rules, graphs.len() + GUARD_SLOTS).upload(gpu, &crossing)?;
    gpu.timed(tally, |launcher| launcher.compile_cppn(&mut programs, &genomes, &crossing, graphs.len() as u32))?;
    let mut headers = gpu.launcher.download(&programs.headers)?;
    tally.same("the headers", &want.headers, &headers);
    tally.same("the instructions", &want.instructions, &gpu.launcher.download(&programs.instructions)?);
    tally.same("the terms", &want.terms, &gpu.launcher.download(&programs.terms)?);
    headers.truncate(graphs.len());
    Ok(headers)
}

/// The programs of all [`drawings`].
///
/// # Errors
/// Those of [`compare`].
pub fn compile_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for Drawing { rules, graphs, .. } in drawings(extent) {
        compare(gpu, tally, &rules, &graphs)?;
    }
    Ok(())
}
