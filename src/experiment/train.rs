//! Training LeNet on MNIST by Caffe's recipe (spec 2.1).
//!
//! The weights are a function of data, recipe and seed, in every bit: the rules stand in
//! [`crate::network::gradient`] and [`Sgd`]. Here are the recipe, the initial weights and the order of the images; all random
//! numbers come from [`crate::rng`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tracing::info;

use super::progress::{Progress, ProgressMode};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cpu::train::Trainer;
use crate::backend::training::{Sgd, Training, TrainingJob};
use crate::dataset::{Mnist, Split};
use crate::error::{Error, Result};
use crate::network::{ChannelOrder, Layer, Network, Parameters, Preprocess, Shape, lenet, shapes, weights};
use crate::rng::{Draws, Philox, Purpose, below, unit};
use crate::simd::Simd;
use crate::version::VERSION;

/// Iterations between two lines of the log, with the accuracy so far.
const LOG_EVERY: u32 = 1000;

/// How a network is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Seed of the initial weights and of the order of the images.
    pub seed: u64,
    pub iterations: u32,
    /// Images an iteration.
    pub batch: u32,
    /// Learning rate of the first iteration.
    pub base_rate: f64,
    /// How fast the learning rate falls: see [`Recipe::rate`].
    pub gamma: f64,
    pub sgd: Sgd,
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
            gamma: 0.0001,
            sgd: Sgd { momentum: 0.9, decay: 0.0005, bias_rate: 2.0, bias_decay: 1.0 },
        }
    }

    /// Learning rate of an iteration, counted from 0: `base_rate * (1 + gamma * iteration)^-0.75`, in f64 and rounded
    /// once. The power is `sqrt(v) * sqrt(sqrt(v))`, IEEE operations only.
    pub fn rate(&self, iteration: u32) -> f32 {
        let v = 1.0 + self.gamma * f64::from(iteration);
        (self.base_rate / (v.sqrt() * v.sqrt().sqrt())) as f32
    }
}

/// Initial parameters of `layers`: weights uniform in `[-b, b)` with `b = sqrt(3 / inputs of an output)` (Caffe's
/// "xavier" filler), biases 0. Weight `i` is `(2 u - 1) b` with the `i`-th random word of the layer, the `candidate`.
///
/// # Panics
/// If the layers do not fit together.
pub fn initial_parameters(input: Shape, layers: &[Layer], seed: u64) -> Vec<Parameters> {
    let shapes = shapes(input, layers).expect("the layers fit together");
    (0..)
        .zip(weights(layers, &shapes).map(|(_, shape)| shape))
        .map(|(layer, shape)| {
            let inputs: usize = shape[1..].iter().product();
            let bound = (3.0 / inputs as f32).sqrt();
            let draws = Philox::new(seed).draws(Purpose::TrainInit, layer, 0);
            let weight = (0..(shape[0] * inputs) as u32).map(|i| (2.0 * unit(draws.word(i)) - 1.0) * bound).collect();
            Parameters { weight, bias: vec![0.0; shape[0]] }
        })
        .collect()
}

/// Which image is used when: epoch after epoch, each image once an epoch, in an order that seed and epoch decide. Batches
/// run on across epochs.
#[derive(Clone, Debug)]
pub struct Order {
    philox: Philox,
    epoch: u32,
    images: Vec<u32>,
    next: usize,
}

impl Order {
    /// The order of `images` images, at least one.
    pub fn new(images: usize, seed: u64) -> Order {
        assert!(images > 0, "there is an image to use");
        let mut order = Order { philox: Philox::new(seed), epoch: 0, images: (0..images as u32).collect(), next: 0 };
        order.shuffle();
        order
    }

    /// Fisher and Yates' shuffle of 0, 1, 2, ..., from the last place down: place `i` takes the place that word `i` of
    /// the epoch chooses among `0..=i`.
    fn shuffle(&mut self) {
        let draws: Draws = self.philox.draws(Purpose::TrainOrder, 0, self.epoch);
        for (place, image) in self.images.iter_mut().enumerate() {
            *image = place as u32;
        }
        for place in (1..self.images.len()).rev() {
            let other = below(draws.word(place as u32), place as u32 + 1);
            self.images.swap(place, other as usize);
        }
        self.next = 0;
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.next == self.images.len() {
            self.epoch += 1;
            self.shuffle();
        }
        self.next += 1;
        Some(self.images[self.next - 1] as usize)
    }
}

/// What to train, on what, and where the weights go.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// The folder of MNIST's four files, or one with a folder `mnist`.
    pub data: PathBuf,
    /// The weights file; it must not exist.
    pub out: PathBuf,
    pub recipe: Recipe,
    pub simd: Simd,
    pub progress: ProgressMode,
}

/// A finished training.
#[derive(Clone, Debug)]
pub struct Trained {
    pub network: Arc<Network>,
    /// Test images that it takes for what they are, out of `of`.
    pub correct: usize,
    pub of: usize,
    /// Time of the training without the reading of the data.
    pub time: Duration,
}

/// Trains LeNet on MNIST and writes its weights, on rayon's current pool.
///
/// # Errors
/// If the data cannot be read, the weights not be written (asked before the training begins) or are there already, the
/// batch is larger than the data or than memory holds, or the training diverges.
pub fn train_lenet(request: &TrainRequest) -> Result<Trained> {
    check_out(&request.out)?;
    let (training, test) = (Mnist::load(&request.data, Split::Train)?, Mnist::load(&request.data, Split::Test)?);
    let trained = train(&request.recipe, &training, &test, request.simd, request.progress)?;
    trained.network.save(&request.out, &notes(&request.recipe, &training, &test, &trained))?;
    Ok(trained)
}

/// Fails where the weights could not be written when they are there.
fn check_out(out: &Path) -> Result<()> {
    if out.exists() {
        return Err(Error::Refused(format!("{} is there already; --out names another file", out.display())));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop).map_err(Error::io("create a file in", folder))
}

/// Trains LeNet on `training` and counts what it gets right of `test`.
///
/// # Errors
/// As [`train_lenet`], but for files.
pub fn train(recipe: &Recipe, training: &Mnist, test: &Mnist, simd: Simd, progress: ProgressMode) -> Result<Trained> {
    if recipe.batch as usize > training.len() {
        let text = format!("--batch {}: there are only {} images to train on", recipe.batch, training.len());
        return Err(Error::Usage(text));
    }
    let start = Instant::now();
    let layers = lenet::layers(10);
    let mut network = Network::new(
        lenet::NAME,
        lenet::INPUT,
        Preprocess { scale: [lenet::INPUT_SCALE; 3], mean: Vec::new(), channel_order: ChannelOrder::Grey },
        layers.clone(),
        initial_parameters(lenet::INPUT, &layers, recipe.seed),
        (0..10).map(|digit| digit.to_string()).collect(),
    )?;
    let job = TrainingJob { seed: recipe.seed, batch: recipe.batch as usize, sgd: recipe.sgd, dropout: Vec::new() };
    let mut trainer = Trainer::new(&network, job, simd)?;
    let mut order = Order::new(training.len(), recipe.seed);
    let image_len = lenet::INPUT.len();
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    let mut progress = Progress::new(progress, u64::from(recipe.iterations), "iterations");
    let mut losses = 0.0;
    for iteration in 0..recipe.iterations {
        images.clear();
        labels.clear();
        for image in order.by_ref().take(recipe.batch as usize) {
            images.extend_from_slice(&training.images.pixels[image * image_len..][..image_len]);
            labels.push(u32::from(training.labels.labels[image]));
        }
        let each = trainer.step(iteration, &images, &labels, recipe.rate(iteration))?;
        let loss = each.iter().sum::<f64>() / each.len() as f64;
        if !loss.is_finite() {
            let text =
                format!("the training diverged: the loss of iteration {iteration} is {loss}; nothing was written");
            return Err(Error::Refused(text));
        }
        losses += loss;
        let done = iteration + 1;
        progress.update(u64::from(done), || format!("loss {loss:.4}"));
        if done % LOG_EVERY == 0 && done < recipe.iterations {
            network.parameters = trainer.parameters();
            let correct = correct(&Arc::new(network.clone()), test, simd);
            let (mean, percent) = (losses / f64::from(LOG_EVERY), percent(correct, test.len()));
            progress.suspend(|| info!("iteration {done}: mean loss {mean:.4}, {percent} of the test images right"));
            losses = 0.0;
        }
    }
    progress.finish();
    network.parameters = trainer.parameters();
    let values = network.parameters.iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias));
    if !values.into_iter().all(|value| value.is_finite()) {
        let text = "the training diverged: weights of the last iteration are not finite; nothing was written";
        return Err(Error::Refused(text.to_string()));
    }
    let network = Arc::new(network);
    let correct = correct(&network, test, simd);
    Ok(Trained { network, correct, of: test.len(), time: start.elapsed() })
}

/// How many of the images of `set` the network takes for what they are; of equal probabilities the lower class counts.
fn correct(network: &Arc<Network>, set: &Mnist, simd: Simd) -> usize {
    let classifier = Classifier::new(Arc::clone(network), simd);
    let mut probabilities = vec![0.0; set.len() * classifier.n_classes()];
    classifier.classify(&set.images.pixels, &mut probabilities);
    let images = probabilities.par_chunks(classifier.n_classes()).zip(&set.labels.labels);
    let right = images.filter(|(probabilities, label)| {
        let mut best = 0;
        for (class, probability) in probabilities.iter().enumerate() {
            if *probability > probabilities[best] {
                best = class;
            }
        }
        best == usize::from(**label)
    });
    right.count()
}

/// `99.13 %`
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole as f64)
}

/// What a weights file says of its origin; the same for the same recipe and data, wherever it was trained.
fn notes(recipe: &Recipe, training: &Mnist, test: &Mnist, trained: &Trained) -> Vec<(&'static str, String)> {
    let Recipe { seed, iterations, batch, .. } = recipe;
    vec![
        (
            "architecture",
            "Caffe's LeNet: conv 5x5 20, max pool 2, conv 5x5 50, max pool 2, dense 500, ReLU, dense 10".into(),
        ),
        ("seed", seed.to_string()),
        ("command", format!("pareidolia train lenet --seed {seed} --iterations {iterations} --batch {batch}")),
        ("version", VERSION.into()),
        ("arithmetic_version", ARITHMETIC_VERSION.to_string()),
        ("data", "MNIST (Y. LeCun, C. Cortes, C. Burges)".into()),
        ("train_images_sha256", training.images.sha256.clone()),
        ("train_labels_sha256", training.labels.sha256.clone()),
        ("test_images_sha256", test.images.sha256.clone()),
        ("test_labels_sha256", test.labels.sha256.clone()),
        ("test_accuracy", format!("{}/{}", trained.correct, trained.of)),
        ("license", "MIT OR Apache-2.0".into()),
    ]
}
