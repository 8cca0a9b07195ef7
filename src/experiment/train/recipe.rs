//! How a network is trained: every number that decides its weights, beside data and layers.
//!
//! The recipes of networks by name are Caffe's (their `solver.prototxt` and `train_val.prototxt`); all others begin with LeNet's.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::backend::training::{Dropout, Sgd};
use crate::error::{Error, Result};
use crate::math::scalar::{exp2, log2, sin};
use crate::network::{Layer, Operation, Parameters, Shape, shapes, weights};
use crate::rng::{Draws, Philox, Purpose, unit};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Seed of the initial weights, of the order of the images, of crops and mirrors, and of what is dropped.
    pub seed: u64,
    pub iterations: u32,
    /// Images an iteration.
    pub batch: u32,
    /// Learning rate of the first iteration; how it falls: see [`Recipe::rate`].
    pub base_rate: f64,
    pub schedule: Schedule,
    pub gamma: f64,
    pub power: f64,
    /// Iterations from one step of the rate to the next.
    pub step_size: u32,
    pub momentum: f64,
    pub decay: f64,
    /// Learning rate and decay of biases, as multiples of those of weights.
    pub bias_rate: f64,
    pub bias_decay: f64,
    pub fillers: Fillers,
    /// Share of the values that are dropped, and which these are.
    pub dropout: f64,
    pub drops: Drops,
    /// Whether every other image, at random, is mirrored left to right.
    pub mirror: bool,
}

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It does not
    Constant,
    /// rate * (1 + gamma * t)^-power
    Inverse,
    /// rate * gamma^(t / step-size), the quotient rounded down
    Step,
    /// rate * (1 - t / iterations)^power
    Polynomial,
}

/// Initial weights and biases; `inputs` are those of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fillers {
    /// Weights uniform in `[-b, b)`, `b = sqrt(3 / inputs)`; biases 0.
    Xavier,
    /// Xavier; Gaussian with a deviation of 0.01 in the last layer.
    XavierGaussianLast,
    /// Gaussian with a deviation of 0.01, 0.005 in the dense layers before the last; biases 1 in layers 2, 4 and 5 and those dense ones,
    /// else 0.
    Caffenet,
    /// The same with biases of 0.1.
    BvlcAlexnet,
    /// PyTorch's: weights and biases uniform in `[-b, b)`, `b = sqrt(1 / inputs)`.
    Pytorch,
}

/// Which values are dropped, where some are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drops {
    /// What the dense layers before the last give, after their rectifiers (Caffe's networks).
    AfterHidden,
    /// What the dense layers before the last take (torchvision's AlexNet).
    BeforeHidden,
    /// What the last layer with weights takes (SqueezeNet, GoogLeNet).
    BeforeLast,
}

impl Recipe {
    /// Caffe's recipe for LeNet (examples/mnist: lenet_solver.prototxt, lenet_train_test.prototxt). Biases learn twice as
    /// fast as weights, and decay like them.
    pub fn lenet(seed: u64) -> Recipe {
        Recipe {
            seed,
            iterations: 10_000,
            batch: 64,
            base_rate: 0.01,
            schedule: Schedule::Inverse,
            gamma: 0.0001,
            power: 0.75,
            step_size: 100_000,
            momentum: 0.9,
            decay: 0.0005,
            bias_rate: 2.0,
            bias_decay: 1.0,
            fillers: Fillers::Xavier,
            dropout: 0.0,
            drops: Drops::AfterHidden,
            mirror: false,
        }
    }

    /// Caffe's recipe for CaffeNet (models/bvlc_reference_caffenet).
    pub fn caffenet(seed: u64) -> Recipe {
        Recipe {
            iterations: 450_000,
            batch: 256,
            schedule: Schedule::Step,
            gamma: 0.1,
            bias_decay: 0.0,
            fillers: Fillers::Caffenet,
            dropout: 0.5,
            mirror: true,
            ..Recipe::lenet(seed)
        }
    }

    /// The recipe for the layer list that the program has under `name`; for another one, of images in `colour` or grey, LeNet's numbers,
    /// with mirrored images where they are in colour.
    pub fn of(name: &str, colour: bool, seed: u64) -> Recipe {
        let caffenet = Recipe::caffenet(seed);
        match name {
            "caffenet" => caffenet,
            "bvlc-alexnet" => Recipe { fillers: Fillers::BvlcAlexnet, ..caffenet },
            "torchvision-alexnet" => Recipe { fillers: Fillers::Pytorch, drops: Drops::BeforeHidden, ..caffenet },
            // forresti/SqueezeNet, solver.prototxt: 16 times 32 images an iteration, a rate that falls to 0 in a line.
            "squeezenet" | "squeezenet-1.1" | "torchvision-squeezenet" => Recipe {
                iterations: 170_000,
                batch: 512,
                base_rate: 0.04,
                schedule: Schedule::Polynomial,
                power: 1.0,
                decay: 0.0002,
                // Both rates and decays are 1 where its prototxt does not speak.
                bias_rate: 1.0,
                bias_decay: 1.0,
                fillers: Fillers::XavierGaussianLast,
                drops: Drops::BeforeLast,
                ..caffenet
            },
            // models/bvlc_googlenet, quick_solver.prototxt, without the two heads that only training has.
            "bvlc-googlenet" | "torchvision-googlenet" => Recipe {
                iterations: 2_400_000,
                batch: 32,
                schedule: Schedule::Polynomial,
                power: 0.5,
                decay: 0.0002,
                fillers: Fillers::Xavier,
                dropout: 0.4,
                drops: Drops::BeforeLast,
                ..caffenet
            },
            _ => Recipe { mirror: colour, ..Recipe::lenet(seed) },
        }
    }

    /// Fails where a number can never work.
    ///
    /// # Errors
    /// [`Error::Usage`] that names the option.
    pub fn check(&self) -> Result<()> {
        let Recipe { base_rate, gamma, power, momentum, decay, dropout, bias_rate, bias_decay, .. } = *self;
        let numbers = [
            ("--rate", base_rate, base_rate > 0.0, "a number above 0"),
            ("--gamma", gamma, gamma >= 0.0, "a number, at least 0"),
            ("--power", power, (0.0..=16.0).contains(&power), "0 to 16"),
            ("--momentum", momentum, (0.0..1.0).contains(&momentum), "0 to below 1"),
            ("--decay", decay, decay >= 0.0, "a number, at least 0"),
            ("--dropout", dropout, (0.0..1.0).contains(&dropout), "0 to below 1"),
            ("--bias-rate", bias_rate, bias_rate >= 0.0, "a number, at least 0"),
            ("--bias-decay", bias_decay, bias_decay >= 0.0, "a number, at least 0"),
        ];
        for (option, value, is_right, wanted) in numbers {
            if !is_right || !value.is_finite() {
                return Err(Error::Usage(format!("{option} {value}: wanted {wanted}")));
            }
        }
        for (option, value, most) in [("--batch", self.batch, 65_535), ("--step-size", self.step_size, u32::MAX)] {
            if !(1..=most).contains(&value) {
                return Err(Error::Usage(format!("{option} {value}: wanted 1 to {most}")));
            }
        }
        if self.iterations == 0 {
            return Err(Error::Usage("--iterations 0: wanted at least 1".to_string()));
        }
        Ok(())
    }

    /// Learning rate of iteration t, counted from 0, in f64 and rounded once:
    ///
    /// - constant: `base_rate`
    /// - inverse: `base_rate / (1 + gamma t)^power`
    /// - step: `base_rate * gamma^floor(t / step_size)`, the power by squaring, from the lowest bit of the exponent up
    /// - polynomial: `base_rate * (1 - t / iterations)^power`
    ///
    /// Powers that are multiples of 1/4 are square roots and products (see `raised`).
    pub fn rate(&self, iteration: u32) -> f32 {
        let t = f64::from(iteration);
        let rate = match self.schedule {
            Schedule::Constant => self.base_rate,
            Schedule::Inverse => self.base_rate / raised(1.0 + self.gamma * t, self.power),
            Schedule::Step => self.base_rate * raised_by_squaring(self.gamma, iteration / self.step_size),
            Schedule::Polynomial => self.base_rate * raised(1.0 - t / f64::from(self.iterations), self.power),
        };
        rate as f32
    }

    /// How gradients become weights; each number rounded once.
    pub fn sgd(&self) -> Sgd {
        Sgd {
            momentum: self.momentum as f32,
            decay: self.decay as f32,
            bias_rate: self.bias_rate as f32,
            bias_decay: self.bias_decay as f32,
        }
    }

    /// What is dropped of the values of `layers`; nothing where the recipe drops none.
    pub fn dropout(&self, layers: &[Layer]) -> Vec<Dropout> {
        if self.dropout == 0.0 {
            return Vec::new();
        }
        let mut dense: Vec<usize> = Vec::new();
        let mut last = None;
        for (index, layer) in layers.iter().enumerate() {
            if let Operation::Dense { .. } = layer.operation {
                dense.push(index);
            }
            if layer.operation.has_weights() {
                last = Some(index);
            }
        }
        dense.pop();
        // The rectifier behind `index`, if that is all that takes what it gives; else the layer itself.
        let rectified = |index: usize| {
            let mut takers = layers.iter().enumerate().filter(|(_, layer)| layer.inputs.contains(&(index + 1)));
            match (takers.next(), takers.next()) {
                (Some((rectifier, layer)), None) if layer.operation == Operation::Relu => rectifier,
                _ => index,
            }
        };
        let mut values: Vec<usize> = match self.drops {
            Drops::AfterHidden => dense.into_iter().map(|index| rectified(index) + 1).collect(),
            Drops::BeforeHidden => dense.into_iter().map(|index| layers[index].inputs[0]).collect(),
            Drops::BeforeLast => last.into_iter().map(|index| layers[index].inputs[0]).collect(),
        };
        values.dedup();
        values.into_iter().map(|value| Dropout { value, ratio: self.dropout as f32 }).collect()
    }

    /// The initial parameters of `layers`, one entry a layer that has some.
    ///
    /// Uniform: weight `i` is `(2 u - 1) b` with the `i`-th random word of the layer, the `candidate` of its draws; PyTorch's biases take
    /// the words behind those of the weights. Gaussian: `s * (sqrt(-2 ln(1 - u)) * sin(2 pi v))` (Box and Muller) with words 2 i and
    /// 2 i + 1, `ln(x) = ln(2) * log2(x)`, all in f32.
    ///
    /// # Panics
    /// If the layers do not fit together.
    pub fn initial_parameters(&self, input: Shape, layers: &[Layer]) -> Vec<Parameters> {
        let shapes = shapes(input, layers).expect("the layers fit together");
        let with_weights: Vec<&Layer> = layers.iter().filter(|layer| layer.operation.has_weights()).collect();
        let n_layers = with_weights.len();
        let each = weights(layers, &shapes).map(|(_, shape)| shape).zip(with_weights).enumerate();
        each.map(|(index, (shape, layer))| {
            let (outputs, inputs) = (shape[0], shape[1..].iter().product::<usize>());
            let draws = Philox::new(self.seed).draws(Purpose::TrainInit, index as u32, 0);
            let is_last = index + 1 == n_layers;
            let is_hidden = matches!(layer.operation, Operation::Dense { .. }) && !is_last;
            let uniform = |bound: f32, first: usize, n: usize| -> Vec<f32> {
                let words = (first as u32..(first + n) as u32).into_par_iter();
                words.map(|i| (2.0 * unit(draws.word(i)) - 1.0) * bound).collect()
            };
            let gaussian = |deviation: f32| -> Vec<f32> {
                (0..(outputs * inputs) as u32).into_par_iter().map(|i| deviation * normal(&draws, i)).collect()
            };
            let n = outputs * inputs;
            let xavier = || uniform((3.0 / inputs as f32).sqrt(), 0, n);
            let (weight, bias) = match self.fillers {
                Fillers::XavierGaussianLast if is_last => (gaussian(0.01), vec![0.0; outputs]),
                Fillers::Xavier | Fillers::XavierGaussianLast => (xavier(), vec![0.0; outputs]),
                Fillers::Caffenet | Fillers::BvlcAlexnet => {
                    let high = if self.fillers == Fillers::Caffenet { 1.0 } else { 0.1 };
                    let bias = if is_hidden || [1, 3, 4].contains(&index) { high } else { 0.0 };
                    (gaussian(if is_hidden { 0.005 } else { 0.01 }), vec![bias; outputs])
                }
                Fillers::Pytorch => {
                    let bound = (1.0 / inputs as f32).sqrt();
                    (uniform(bound, 0, n), uniform(bound, n, outputs))
                }
            };
            Parameters { weight, bias }
        })
        .collect()
    }
}

/// A normally distributed number by words 2 i and 2 i + 1: see [`Recipe::initial_parameters`].
fn normal(draws: &Draws, i: u32) -> f32 {
    let [u, v] = [0, 1].map(|j| unit(draws.word(2 * i + j)));
    let square = -2.0 * (std::f32::consts::LN_2 * log2(1.0 - u));
    square.sqrt() * sin(std::f32::consts::TAU * v)
}

/// `value^power` for a value and a power of at least 0. A power that is a multiple of 1/4: the square root if that has a half, times the root
/// of the root if it has a quarter, times the value as often as it has ones, in f64. Every other: `exp2(power * log2(value))` in f32.
fn raised(value: f64, power: f64) -> f64 {
    let quarters = power * 4.0;
    if quarters.fract() != 0.0 {
        return f64::from(exp2(power as f32 * log2(value as f32)));
    }
    let quarters = quarters as u32;
    let mut result = 1.0;
    if quarters & 2 != 0 {
        result *= value.sqrt();
    }
    if quarters & 1 != 0 {
        result *= value.sqrt().sqrt();
    }
    (0..quarters / 4).fold(result, |result, _| result * value)
}

/// `value^exponent`, from the lowest bit of the exponent up.
fn raised_by_squaring(value: f64, mut exponent: u32) -> f64 {
    let (mut result, mut square) = (1.0, value);
    while exponent > 0 {
        if exponent & 1 != 0 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}
