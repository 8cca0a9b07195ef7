//! Where a step runs.

pub mod cpu;
