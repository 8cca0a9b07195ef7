pub mod archive;
pub mod error;
pub mod experiment;
pub mod genome;
pub mod math;
pub mod network;
pub mod rng;
pub mod simd;
