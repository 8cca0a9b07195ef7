//! What the machine and its GPUs say of themselves.

pub mod gpu;
mod machine;
mod sampler;

pub use gpu::{Facts, Gpu, Sample};
pub use machine::*;
pub use sampler::{Reading, Sampler, join};
