//! The CUDA backend against the CPU's, bit for bit: each kernel by itself, and whole runs. Without a GPU: on the emulated driver
//! (emulator/), whose kernels are those of kernels/, compiled by the host's C++ compiler. Where there is a real GPU, on it too:
//! `real_device.rs`.

#[path = "../common/left_out.rs"]
mod left_out;
#[path = "../common/list.rs"]
mod list;

mod ascent;
mod ascent_cppn;
mod average_crops;
mod backward;
mod bench;
mod checked;
mod classify;
mod combine;
mod conv2d;
mod dense;
mod elementary;
mod evolution;
mod gpu_check;
mod harness;
mod imagenet;
mod insert;
mod lineage;
mod memory;
mod network;
mod network_planted;
mod niche_argmax;
mod peak;
mod planted;
mod pool;
mod program;
mod randomise_cppn;
mod randomise_direct;
mod real_device;
mod refusals;
mod render_cppn;
mod render_direct;
mod select;
mod selftest;
mod series;
mod softmax;
mod telemetry;
mod train;
mod train_steps;
mod vary_cppn;
mod vary_direct;
mod weight_gradient;
