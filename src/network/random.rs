//! Random weights: a network as large as the real one, to measure with. Nobody trained it, and every file says so.

use super::list::List;
use super::{Network, Parameters, Preprocess, Shape, shapes, weights};
use crate::error::{Error, Result};
use crate::rng::{Philox, Purpose, unit};
use rayon::prelude::*;

impl Network {
    /// The network of `list` with weights uniform in `[-b, b)`, `b = sqrt(6 / inputs of an output)` (He et al. 2015: activations
    /// keep their size from layer to layer), and biases of 0. Weight `i` is `(2 u - 1) b` with the `i`-th random word of the layer.
    ///
    /// # Errors
    /// [`Error::Usage`] if the layers do not fit together.
    pub fn random(list: &List, seed: u64) -> Result<Network> {
        let (input, layers) = (list.input(), list.layers(list.classes));
        let shapes = shapes(input, &layers).map_err(Error::Usage)?;
        let parameters = weights(&layers, &shapes).enumerate().map(|(layer, (_, shape))| {
            let inputs: usize = shape[1..].iter().product();
            let bound = (6.0 / inputs as f32).sqrt();
            let draws = Philox::new(seed).draws(Purpose::TrainInit, layer as u32, 0);
            let words = (0..(shape[0] * inputs) as u32).into_par_iter();
            let weight = words.map(|i| (2.0 * unit(draws.word(i)) - 1.0) * bound).collect();
            Parameters { weight, bias: vec![0.0; shape[0]] }
        });
        let parameters = parameters.collect();
        let plane = input.height * input.width;
        let mean = list.mean.iter().flat_map(|&mean| std::iter::repeat_n(mean, plane)).collect();
        let preprocess = Preprocess { scale: list.scale, mean, channel_order: list.channel_order };
        let classes = (0..list.classes).map(|class| class.to_string()).collect();
        let network = Network::new(&list.name, input, preprocess, layers, parameters, classes)?;
        let image = Shape { height: list.image, width: list.image, ..input };
        Ok(Network { image, random: Some(format!("random weights (He, uniform, seed {seed})")), ..network })
    }
}
