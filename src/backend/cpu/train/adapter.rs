//! `Training` by the trainer of small chains.

use super::{Sgd, Trainer};
use crate::backend::training::{self, Training, TrainingJob};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::simd::Simd;

impl Trainer {
    /// A trainer for `job`.
    ///
    /// # Errors
    /// Those of [`Trainer::new`]; [`Error::Refused`] for dropout and for biases that decay otherwise than weights.
    pub fn for_job(network: &Network, job: TrainingJob, simd: Simd) -> Result<Trainer> {
        if !job.dropout.is_empty() || job.sgd.bias_decay != 1.0 {
            return Err(Error::Refused(
                "dropout, and biases that decay otherwise than weights, cannot be trained".into(),
            ));
        }
        let training::Sgd { momentum, decay, bias_rate, .. } = job.sgd;
        Trainer::new(network, job.batch, Sgd { momentum, decay, bias_rate }, simd)
    }
}

impl Training for Trainer {
    fn describe(&self) -> String {
        "cpu".to_string()
    }

    fn step(&mut self, _iteration: u32, images: &[u8], labels: &[u32], rate: f32) -> Result<Vec<f64>> {
        let labels: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
        Trainer::step(self, images, &labels, rate);
        Ok(self.groups.iter().flat_map(|group| &group.losses).copied().take(self.batch).collect())
    }

    fn learned(&mut self) -> Result<Vec<training::Learned>> {
        let each = self.steps.iter().filter_map(super::Step::learned);
        let each = each.map(|learned| training::Learned {
            parameters: learned.parameters.clone(),
            velocity: learned.velocity.clone(),
        });
        Ok(each.collect())
    }

    fn restore(&mut self, learned: &[training::Learned]) -> Result<()> {
        let mut from = learned.iter();
        for step in &mut self.steps {
            match step {
                super::Step::Conv2d { layer, backward, learned } => {
                    let training::Learned { parameters, velocity } = from.next().expect("an entry a layer").clone();
                    (learned.parameters, learned.velocity) = (parameters, velocity);
                    layer.pack(&learned.parameters);
                    if let Some(backward) = backward {
                        backward.pack(&learned.parameters);
                    }
                }
                super::Step::Dense { layer, learned } => {
                    let training::Learned { parameters, velocity } = from.next().expect("an entry a layer").clone();
                    (learned.parameters, learned.velocity) = (parameters, velocity);
                    layer.pack(&learned.parameters);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
