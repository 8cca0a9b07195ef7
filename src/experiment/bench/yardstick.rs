//! Genomes of one size for a figure that can be compared from year to year and with other programs: 20 nodes, of which 16
//! compute, every one alive, with 2.35 links each on average (2.32 in genomes of three outputs).

use crate::genome::cppn::{Activation, Edge, Graph, N_INPUTS, Rules};
use crate::rng::{Philox, below, unit};

/// Nodes, inputs and outputs included.
pub const N_NODES: usize = 20;

/// Weights are normal with this standard deviation.
const DEVIATION: f32 = 1.5;

/// Genome `index` of the yardstick of `n_outputs` outputs, for `rules` (which say what weight a gene stands for).
///
/// Computing nodes come in topological order, outputs last. Each sums one to four earlier nodes that are no outputs (with
/// probabilities 0.3, 0.35, 0.2, 0.15), outputs being linear and the others of any activation; 7 of 10 hidden nodes have the one
/// before them among their sources, as splitting edges makes it. A node that none reads is given to a later one.
pub fn genome(rules: &Rules, n_outputs: usize, index: u32) -> Graph {
    let mut draws = Words { philox: Philox::new(N_NODES as u64), index, next: 0 };
    let last = N_NODES - 1;
    let first_output = N_NODES - n_outputs;
    let mut activations = vec![Activation::Linear; N_NODES];
    let mut links: Vec<(usize, usize)> = Vec::new();
    for node in N_INPUTS..N_NODES {
        let n_links = match draws.below(20) {
            0..6 => 1,
            6..13 => 2,
            13..17 => 3,
            _ => 4,
        };
        let mut sources = Vec::new();
        while sources.len() < n_links {
            let source = draws.below(node.min(first_output) as u32) as usize;
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        if node > N_INPUTS && node < first_output && draws.below(10) < 7 && !sources.contains(&(node - 1)) {
            sources[0] = node - 1;
        }
        if node < first_output {
            activations[place(node, n_outputs)] = Activation::ALL[draws.below(4) as usize];
        }
        links.extend(sources.into_iter().map(|source| (source, node)));
    }
    for node in N_INPUTS..first_output {
        if links.iter().all(|&(source, _)| source != node) {
            links.push((node, node + 1 + draws.below((last - node) as u32) as usize));
        }
    }
    let edge = |(source, target): (usize, usize)| {
        let weight = draws.normal() * DEVIATION;
        // Six deviations at most, which is less than the largest weight of the paper's rules.
        let gene = ((weight / rules.max_weight + 1.0) / 2.0).clamp(0.0, 1.0);
        Edge { source: place(source, n_outputs) as u16, target: place(target, n_outputs) as u16, gene }
    };
    Graph { n_outputs, activations, edges: links.into_iter().map(edge).collect() }
}

/// Where a node of the topological order stands in a genome, whose `n_outputs` outputs come first after the inputs.
fn place(node: usize, n_outputs: usize) -> usize {
    let first_output = N_NODES - n_outputs;
    match node {
        _ if node < N_INPUTS => node,
        _ if node >= first_output => N_INPUTS + node - first_output,
        _ => node + n_outputs,
    }
}

/// Random words of one genome, one after the other.
struct Words {
    philox: Philox,
    index: u32,
    next: u32,
}

impl Words {
    fn word(&mut self) -> u32 {
        let at = self.next;
        self.next += 1;
        self.philox.block([at, self.index, 0, 0])[0]
    }

    fn below(&mut self, n: u32) -> u32 {
        below(self.word(), n)
    }

    /// Normal but for the tails beyond six: twelve uniform numbers less six.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| unit(self.word())).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::cppn::Compiler;
    use crate::simd::Simd;

    #[test]
    fn all_sixteen_nodes_compute_once_and_have_2_35_links_on_average() {
        let rules = Rules::modern();
        let n = 1000;
        let mut compiler = Compiler::default();
        for (n_outputs, links) in [(1, 2.33..2.37), (3, 2.30..2.34)] {
            let mut n_links = 0;
            for index in 0..n {
                let genome = genome(&rules, n_outputs, index);
                genome.validate(&rules, n_outputs).unwrap();
                assert_eq!(genome.n_nodes(), N_NODES);
                let program = compiler.compile(Simd::Plain, &genome, rules.max_weight);
                assert_eq!(program.instructions.len(), N_NODES - N_INPUTS, "genome {index}");
                n_links += program.terms.len();
            }
            let mean = n_links as f64 / f64::from(n) / 16.0;
            assert!(links.contains(&mean), "{mean} links a node with {n_outputs} outputs");
        }
    }
}
