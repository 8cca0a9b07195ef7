//! Experiments: what a user runs.

pub mod analyse;
pub mod ascend;
pub mod bench;
pub mod classify;
pub mod config;
pub mod device;
pub mod evolve;
pub mod lineage;
pub mod merge;
mod meter;
pub mod plan;
pub mod progress;
pub mod render;
pub mod report;
pub mod reproduce;
pub mod request;
pub mod retrain;
mod run;
pub mod selftest;
pub mod specimens;
pub mod start;
pub mod statistics;
pub mod train;
pub mod transfer;
pub mod watch;
mod writer;
