//! Experiments: what a user runs.

pub mod analyse;
pub mod ascend;
pub mod bench;
pub mod classify;
pub mod config;
pub mod device;
pub mod evolve;
mod meter;
pub mod plan;
pub mod progress;
pub mod render;
pub mod reproduce;
pub mod request;
pub mod retrain;
mod run;
pub mod selftest;
pub mod statistics;
pub mod train;
pub mod transfer;
mod writer;
