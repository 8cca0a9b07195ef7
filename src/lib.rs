//! pareidolia: evolves images that a neural network recognises with certainty and people do not.
//!
//! ARCHITECTURE.md shows the house on one page. The promise that shapes it: a run is a function of configuration, seed
//! and weights, and of nothing else.

pub mod archive;
pub mod backend;
pub mod cli;
pub mod dataset;
pub mod error;
pub mod experiment;
pub mod genome;
pub mod import;
pub mod kernels;
pub mod math;
pub mod network;
pub mod output;
pub mod predictions;
pub mod rng;
pub mod simd;
pub mod telemetry;
pub mod tuning;
pub mod version;
