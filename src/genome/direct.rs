//! Direct genomes: a value per pixel and channel (spec section 4).

use serde::{Deserialize, Serialize};

/// How a pair of direct genomes is crossed (spec 4.3 and 13, row 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossover {
    /// SBX as the paper's code has it: genes on which the parents agree become 0.5.
    AsCoded,
    /// SBX with that defect mended: genes on which the parents agree are copied.
    Repaired,
    /// The children are copies of their parents.
    None,
}

/// How direct genomes vary (spec section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Probability that a gene mutates, at first.
    pub mutation_rate: f64,
    /// Generations after which the rate halves; 0 for never.
    pub halve_every: u32,
    /// Distribution index of the polynomial mutation.
    pub mutation_eta: u32,
    pub crossover: Crossover,
    /// Probability that a pair is crossed.
    pub crossover_rate: f64,
    /// Distribution index of the crossover.
    pub crossover_eta: u32,
}

impl Default for Rules {
    /// The numbers of spec sections 4 and 6, `faithful`.
    fn default() -> Rules {
        Rules {
            mutation_rate: 0.1,
            halve_every: 1000,
            mutation_eta: 15,
            crossover: Crossover::AsCoded,
            crossover_rate: 0.5,
            crossover_eta: 10,
        }
    }
}
