//! Experiments: what a user runs.

pub mod config;
pub mod evolve;
pub mod progress;
pub mod request;
pub mod train;
