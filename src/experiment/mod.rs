//! Experiments: what a user runs.

pub mod config;
