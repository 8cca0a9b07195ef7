pub mod error;
pub mod genome;
pub mod math;
pub mod network;
pub mod rng;
pub mod simd;
