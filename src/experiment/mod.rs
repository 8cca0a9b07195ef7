//! Experiments: what a user runs.

pub mod ascend;
pub mod bench;
pub mod classify;
pub mod config;
pub mod device;
pub mod evolve;
pub mod lineage;
mod meter;
pub mod plan;
pub mod progress;
pub mod render;
pub mod reproduce;
pub mod request;
pub mod retrain;
mod run;
pub mod selftest;
pub mod train;
pub mod transfer;
mod writer;
