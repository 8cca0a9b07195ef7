//! The configuration of an evolution run: presets, and what each key means.

use crate::genome::{Canvas, Encoding, cppn, direct};
use serde::{Deserialize, Serialize};

/// An experiment of the paper (spec, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Evolve grey pixels against LeNet.
    MnistDirect,
    /// Evolve growing graphs that draw, against LeNet.
    MnistCppn,
}

/// How literally the paper's program is followed (spec, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// As the paper's program does it, with the decisions of spec section 13.
    Faithful,
    /// SBX repaired, x and y of CPPNs over [-1, 1].
    Modern,
}

/// Everything that decides a run, but for the network's weights, and when it stops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub preset: Preset,
    pub flavour: Flavour,
    pub seed: u64,
    /// Candidates a generation; even, since they are born in pairs. Generation 0 has as many.
    pub batch: u32,
    /// The classes to evolve for, ascending; empty for all.
    pub classes: Vec<u32>,
    /// Generations after generation 0.
    pub generations: u32,
    /// Stop after the generation in which this many candidates have been evaluated; 0 for no such limit.
    pub evaluations: u64,
    /// Stop after the generation in which this much time has passed, in seconds; 0 for no such limit.
    pub time: f64,
    /// Stop once every niche has this confidence; 0 for no such limit.
    pub target: f64,
    /// Generations between lines of metrics.jsonl.
    pub log_every: u32,
    /// Generations between checkpoints.
    pub checkpoint_every: u32,
    /// Rules of the direct encoding, in the presets that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<direct::Rules>,
    /// Rules of the CPPN encoding, in the presets that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cppn: Option<cppn::Rules>,
}

impl Config {
    /// The numbers of spec section 6.
    pub fn preset(preset: Preset, flavour: Flavour) -> Config {
        let modern = flavour == Flavour::Modern;
        let (generations, direct, cppn) = match preset {
            Preset::MnistDirect => {
                let crossover = if modern { direct::Crossover::Repaired } else { direct::Crossover::AsCoded };
                (1010, Some(direct::Rules { crossover, ..direct::Rules::default() }), None)
            }
            Preset::MnistCppn => {
                (1001, None, Some(if modern { cppn::Rules::modern() } else { cppn::Rules::faithful() }))
            }
        };
        Config {
            preset,
            flavour,
            seed: 0,
            batch: 200,
            classes: Vec::new(),
            generations,
            evaluations: 0,
            time: 0.0,
            target: 0.0,
            log_every: 1,
            checkpoint_every: 100,
            direct,
            cppn,
        }
    }

    /// The size of the images.
    pub fn canvas(&self) -> Canvas {
        Canvas::MNIST
    }

    /// The encoding and its rules.
    ///
    /// # Panics
    /// Unless exactly one of `direct` and `cppn` is there: [`Config::check`] sees to that.
    pub fn encoding(&self) -> Encoding {
        match (&self.direct, &self.cppn) {
            (Some(rules), None) => Encoding::Direct(rules.clone()),
            (None, Some(rules)) => Encoding::Cppn(rules.clone()),
            _ => panic!("a configuration has one encoding"),
        }
    }
}
