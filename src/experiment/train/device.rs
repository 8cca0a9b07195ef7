//! Where a network is trained: the one place that knows the trainers.

use crate::backend::cpu::train::Trainer;
use crate::backend::cuda::train::CudaTrainer;
use crate::backend::training::{Training, TrainingJob};
use crate::error::Result;
use crate::experiment::device::Chosen;
use crate::network::Network;
use crate::simd::Simd;
use std::sync::Arc;

/// A trainer on `device` of `network`, from the weights that it has.
///
/// # Errors
/// [`Error`](crate::error::Error) naming the layer that cannot be trained, or if the batch does not fit into memory.
pub fn trainer(device: &Chosen, network: &Network, job: TrainingJob, simd: Simd) -> Result<Box<dyn Training>> {
    Ok(match device.on_gpu() {
        None => Box::new(Trainer::new(network, job, simd)?),
        Some((device, launcher)) => Box::new(CudaTrainer::new(network, job, Arc::clone(launcher), device.to_string())?),
    })
}
