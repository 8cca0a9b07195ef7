//! Where a network is trained: the one place that knows the trainers.

use crate::backend::cpu::train::Trainer;
use crate::backend::training::{Training, TrainingJob};
use crate::error::{Error, Result};
use crate::experiment::device::{Asked, Chosen};
use crate::network::Network;
use crate::simd::Simd;

/// The device that is asked for.
///
/// # Errors
/// [`Error::NoDevice`] if a GPU is.
pub fn choose(asked: Asked, network: &Network) -> Result<Chosen> {
    match asked {
        Asked::Cuda(_) => {
            Err(Error::NoDevice { reason: format!("{asked}: networks are trained on the CPU; --device cpu does it") })
        }
        Asked::Cpu | Asked::Auto => {
            let mut chosen = Chosen::choose(Asked::Cpu, network)?;
            chosen.reason = format!("{asked}: networks are trained on the CPU");
            Ok(chosen)
        }
    }
}

/// A trainer on `device` of `network`, from the weights that it has.
///
/// # Errors
/// [`Error::Refused`] naming the layer that cannot be trained, or if the batch does not fit into memory.
pub fn trainer(_device: &Chosen, network: &Network, job: TrainingJob, simd: Simd) -> Result<Box<dyn Training>> {
    Ok(Box::new(Trainer::new(network, job, simd)?))
}
