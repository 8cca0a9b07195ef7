//! Training a network: what a backend does of it. The rules of the gradients stand in [`crate::network::gradient`].

use crate::error::Result;
use crate::network::Parameters;

/// How gradients become new weights: Caffe's SGD. `g = fma(decay, w, gradient)`, `v = fma(momentum, v, rate * g)`, `w = w - v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the last step that the next one repeats.
    pub momentum: f32,
    /// Share of a weight (or bias) that is added to its gradient.
    pub decay: f32,
    /// Learning rate of biases, as a multiple of that of weights.
    pub bias_rate: f32,
    /// Share of a bias that is added to its gradient, as a multiple of that of weights: 1 for LeNet, 0 in AlexNet's recipe.
    pub bias_decay: f32,
}

/// Values that are dropped at random in training, after the rectifier of a layer or before a layer, as the recipe says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The value whose elements are dropped: 0 is the network's input, `i + 1` what layer `i` gives. All that take it take it so.
    pub value: usize,
    /// The share that is dropped, from 0 to below 1. Element f (channel, row, column) of image i of the batch in iteration t is dropped if
    /// [`crate::rng::unit`] of word f of `Purpose::Dropout`, candidate `value * 65536 + i`, generation t is below it.
    pub ratio: f32,
}

impl Dropout {
    /// What a value that is kept is multiplied with: `1 / (1 - ratio)` in f64, rounded to f32 once.
    pub fn factor(&self) -> f32 {
        (1.0 / (1.0 - f64::from(self.ratio))) as f32
    }
}

/// What training is of, beside the network and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingJob {
    /// Seed of what is dropped.
    pub seed: u64,
    /// Images an iteration, at most 65,535.
    pub batch: usize,
    pub sgd: Sgd,
    pub dropout: Vec<Dropout>,
}

/// A layer's weights and what momentum keeps of its last steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    pub parameters: Parameters,
    pub velocity: Parameters,
}

/// A network in training, on some device.
pub trait Training {
    /// What it runs on, for people.
    fn describe(&self) -> String;

    /// Iteration `iteration`: the gradients of the loss over a batch, then the update at learning rate `rate`. Gives the cross entropy of each
    /// image before the update, `-ln(max(p, f32::MIN_POSITIVE))`; a NaN stays one.
    ///
    /// `images` is `(batch, height, width, channels)` bytes of the shape of the network's input; `labels` their classes.
    ///
    /// # Errors
    /// A device may fail.
    fn step(&mut self, iteration: u32, images: &[u8], labels: &[u32], rate: f32) -> Result<Vec<f64>>;

    /// Weights and velocities now, one entry a layer that has weights, in order.
    ///
    /// # Errors
    /// A device may fail.
    fn learned(&mut self) -> Result<Vec<Learned>>;

    /// Goes on from `learned`, of the shapes that [`Training::learned`] gives.
    ///
    /// # Errors
    /// A device may fail.
    fn restore(&mut self, learned: &[Learned]) -> Result<()>;
}
