//! What a step has to do at least: the model behind the shares.

use super::peaks;
use crate::genome::cppn::{Activation, Edge, Graph, Instruction, Program, Term};
use crate::network::Network;
use crate::simd::Simd;

/// The least work of one genome in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Fused multiply-adds, or operations that take the place of one.
    Operations(f64),
    /// Bytes read and written.
    Bytes(f64),
}

impl Work {
    /// Of one genome.
    pub fn amount(self) -> f64 {
        match self {
            Work::Operations(amount) | Work::Bytes(amount) => amount,
        }
    }

    /// 10^9 of the unit of its peak. A multiply-add counts as two floating-point operations there.
    pub fn giga(self) -> f64 {
        match self {
            Work::Operations(operations) => 2.0 * operations / 1e9,
            Work::Bytes(bytes) => bytes / 1e9,
        }
    }

    /// The name of the CPU's peak that binds it, with `items` genomes a call.
    pub fn limit(self, simd: Simd, items: u32) -> String {
        match self {
            Work::Operations(_) => peaks::fma_name(simd),
            Work::Bytes(bytes) => peaks::copy_name(bytes * f64::from(items)).to_string(),
        }
    }
}

/// Multiply-adds of one image, of all its crops.
pub fn multiply_adds(network: &Network) -> u64 {
    network.multiply_adds() * network.n_crops() as u64
}

/// Floating-point operations of an activation (`math.rs`): add, subtract, multiply, fused multiply-add, divide, maximum and
/// minimum count one each. Operations on bits and the care for NaN count for nothing. `tests/bench.rs` counts them.
pub fn operations_of(activation: Activation) -> u64 {
    match activation {
        Activation::Sine => 11,
        Activation::Sigmoid => 14,
        Activation::Gaussian => 13,
        Activation::Linear => 3,
    }
}

/// Floating-point operations of a pixel's conversion from HLS to RGB (`genome/colour.rs`), counted in the same way.
pub const OPERATIONS_OF_COLOUR: u64 = 25;

/// Operations of one pixel of `program`: a multiply-add a term, the activations, a product an output to scale it to a
/// byte, and of three outputs the conversion to RGB.
pub fn operations(program: &Program) -> u64 {
    let activations: u64 = program.instructions.iter().map(|instruction| operations_of(instruction.activation)).sum();
    let colour = if program.outputs.len() == 3 { OPERATIONS_OF_COLOUR } else { 0 };
    (program.terms.len() + program.outputs.len()) as u64 + activations + colour
}

/// Bytes of a genome's nodes and edges.
pub fn graph_bytes(graph: &Graph) -> usize {
    graph.n_nodes() * size_of::<Activation>() + graph.edges.len() * size_of::<Edge>()
}

/// Bytes of a program's instructions and terms.
pub fn program_bytes(program: &Program) -> usize {
    program.instructions.len() * size_of::<Instruction>() + program.terms.len() * size_of::<Term>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenet_takes_2_293_000_multiply_adds() {
        // 20 24x24 outputs of 25 terms, 50 8x8 of 500, 500 of 800, 10 of 500.
        let want = 20 * 24 * 24 * 25 + 50 * 8 * 8 * 500 + 500 * 800 + 10 * 500;
        assert_eq!(multiply_adds(&Network::embedded_lenet(None).unwrap()), want);
        assert_eq!(want, 2_293_000);
    }
}
