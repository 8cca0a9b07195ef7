//! What a probability tells the input.

use rayon::prelude::*;

use super::network::{Group, TwoWay};
use super::softmax::Objective;
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::simd::Simd;
use crate::telemetry;

/// Tiles that share the weights they read from memory: as many as [`dense`](crate::backend::cpu::dense::dense) serves with one read.
const GROUP_TILES: usize = 2;

/// The gradients of probabilities with respect to what goes into the first layer, for so many images at once. The memory is taken
/// once, and kept.
#[derive(Debug)]
pub struct InputGradients {
    network: TwoWay,
    images: usize,
    /// Images of each group but the last, which may have fewer.
    group_images: usize,
    groups: Vec<Group>,
}

impl InputGradients {
    /// Prepares `network` for `images` images, at least one, on threads as many as rayon's current pool has.
    ///
    /// # Errors
    /// [`Error::Refused`] if the weights, values and gradients do not fit into this machine's memory.
    pub fn new(network: &Network, images: usize, simd: Simd) -> Result<InputGradients> {
        assert!(images > 0, "an image has a gradient");
        let (name, weights) = (&network.name, TwoWay::weight_bytes(network, true) as u64);
        let usable = telemetry::memory_limit().map(telemetry::usable);
        let refused = |bytes: u64, usable: u64| {
            Error::Refused(format!(
                "the gradients of {images} images in network {name:?} need {} of memory, {} can be used",
                bytes_text(bytes),
                bytes_text(usable)
            ))
        };
        if let Some(usable) = usable.filter(|&usable| weights > usable) {
            return Err(refused(weights, usable));
        }
        let network = TwoWay::new(network, &[], true, simd);
        let tiles = images.div_ceil(simd.width());
        let bytes = weights + tiles as u64 * (simd.width() * network.image_bytes()) as u64;
        if let Some(usable) = usable.filter(|&usable| bytes > usable) {
            return Err(refused(bytes, usable));
        }
        let group_tiles = if tiles >= GROUP_TILES * rayon::current_num_threads() { GROUP_TILES } else { 1 };
        let groups = (0..tiles).step_by(group_tiles).map(|first| network.group(group_tiles.min(tiles - first)));
        Ok(InputGradients { images, group_images: group_tiles * simd.width(), groups: groups.collect(), network })
    }

    /// Takes `inputs`, `(images, channels, height, width)`: what the first layer takes, preprocessed and scaled. Writes `probabilities`,
    /// `(images, n_classes)`, and `gradients`, of the shape of `inputs`: of the probability of each image's class in `classes`.
    ///
    /// Works on rayon's current pool. A result depends on its image, its class and the weights only.
    ///
    /// # Panics
    /// If the lengths are not those, or a class is not one of the network's.
    pub fn run(&mut self, inputs: &[f32], classes: &[u32], probabilities: &mut [f32], gradients: &mut [f32]) {
        let InputGradients { network, images, group_images, groups } = self;
        let (len, n_classes) = (network.input().len(), network.n_classes());
        assert!(inputs.len() == *images * len && gradients.len() == inputs.len());
        assert!(classes.len() == *images && probabilities.len() == *images * n_classes);
        let parts = TwoWay::parts(groups.len());
        let pass = |(group, inputs, classes, probabilities, gradients): Pass| {
            network.fill(group, inputs);
            network.forward(group, None, parts);
            network.backward(group, classes, Objective::Probability, parts);
            network.take(network.probabilities_of(group), probabilities, n_classes);
            network.take(network.input_gradient_of(group), gradients, len);
        };
        let (images, rows) = (*group_images * len, *group_images * n_classes);
        let inputs = inputs.par_chunks(images).zip(classes.par_chunks(*group_images));
        let outputs = probabilities.par_chunks_mut(rows).zip(gradients.par_chunks_mut(images));
        let passes = groups.par_iter_mut().zip(inputs).zip(outputs);
        // Within the pool from here on, not once a step.
        rayon::scope(|_| {
            passes.with_max_len(1).for_each(|((group, (inputs, classes)), (probabilities, gradients))| {
                pass((group, inputs, classes, probabilities, gradients));
            });
        });
    }
}

/// A group, its inputs, their classes, and where the results go.
type Pass<'a> = (&'a mut Group, &'a [f32], &'a [u32], &'a mut [f32], &'a mut [f32]);
