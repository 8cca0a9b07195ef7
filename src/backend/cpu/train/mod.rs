//! Training on the CPU. The rules of the gradients stand in [`crate::network::gradient`], of the update in [`Sgd`].
//!
//! The way there and back is [`super::backward`]'s; here are the gradients of the weights, from what all groups of tiles then hold.

mod conv2d_weights;
mod dense_weights;

use rayon::prelude::*;

use super::backward::network::{Draw, Group, Learner, TwoWay};
use super::backward::softmax::Objective;
use super::conv2d::Geometry;
use super::preprocess::preprocess;
use crate::backend::memory::bytes_text;
pub use crate::backend::training::Sgd;
use crate::backend::training::{self, Dropout, Training, TrainingJob};
use crate::error::{Error, Result};
use crate::network::gradient::{SLOTS, total};
use crate::network::{Network, Parameters, Preprocess};
use crate::rng::Philox;
use crate::simd::{Aligned, Lanes, MAX_LANES, Simd, Vectorised};
use crate::telemetry;
use conv2d_weights::{block_outputs, conv2d_weight_gradient};
use dense_weights::{dense_weight_gradient, row_stride, to_rows};

const _: () = assert!(SLOTS == MAX_LANES, "the widest vector holds each slot once");

/// The accumulators of one weight gradient.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))] // a vector of 64 bytes that straddles two cache lines costs two accesses
struct Slots([f32; SLOTS]);

impl Slots {
    /// Their sum, added in halves.
    #[inline(always)]
    fn total(&self) -> f32 {
        total(self.0)
    }
}

/// The `index`-th chunk of `len` values; shorter, or empty, past the end.
fn chunk<T>(values: &[T], index: usize, len: usize) -> &[T] {
    &values[(index * len).min(values.len())..((index + 1) * len).min(values.len())]
}

/// A network in training: parameters, velocities, and the memory for one batch.
#[derive(Debug)]
pub struct Trainer {
    simd: Simd,
    job: TrainingJob,
    preprocess: Preprocess,
    network: TwoWay,
    /// Of each layer that has parameters.
    moving: Vec<Moving>,
    batch: Vec<BatchGroup>,
}

/// What moves the parameters of a layer: the gradient of the last batch, and the sum that momentum keeps.
#[derive(Debug)]
struct Moving {
    gradient: Parameters,
    velocity: Parameters,
}

/// Some tiles of the batch.
#[derive(Debug)]
struct BatchGroup {
    group: Group,
    /// The input of each dense layer as rows, an image each; empty for convolutions.
    rows: Vec<Aligned>,
    /// Cross entropy of each image; 0 in lanes without one.
    losses: Vec<f64>,
}

/// Tiles that share the weights they read from memory: as many as [`dense`](super::dense::dense) serves with one read.
const GROUP_TILES: usize = 2;

/// Outputs of a dense layer whose weight gradients one thread computes at a time: enough to share what they read, few
/// enough for many threads.
const PIECE_FEATURES: usize = 100;

impl Trainer {
    /// Prepares to train `network` from the parameters it has, on rayon's current pool.
    ///
    /// # Errors
    /// [`Error::Usage`] if a dropout is not one of this network's values or shares, or the batch is empty or too large;
    /// [`Error::Refused`] if weights and batch do not fit into memory.
    pub fn new(network: &Network, job: TrainingJob, simd: Simd) -> Result<Trainer> {
        check(network, &job).map_err(Error::Usage)?;
        let batch = job.batch;
        // Parameters, gradients and velocities.
        let weights = (TwoWay::weight_bytes(network, false) + 2 * network.bytes()) as u64;
        let usable = telemetry::memory_limit().map(telemetry::usable);
        if let Some(usable) = usable.filter(|&usable| weights > usable) {
            return Err(Error::Refused(format!(
                "training network {:?} needs {} of memory for its weights, {} can be used",
                network.name,
                bytes_text(weights),
                bytes_text(usable)
            )));
        }
        let two_way = TwoWay::new(network, &job.dropout, false, simd);
        let row_lens: Vec<usize> = two_way
            .learners()
            .map(|learner| match learner {
                Learner::Conv2d(_) => 0,
                Learner::Dense { in_features, .. } => row_stride(in_features),
            })
            .collect();
        let lanes = batch.next_multiple_of(SLOTS);
        let image = two_way.image_bytes() + row_lens.iter().sum::<usize>() * size_of::<f32>();
        let bytes = weights + (lanes * image) as u64;
        if let Some(usable) = usable.filter(|&usable| bytes > usable) {
            let most = (usable - weights) / image as u64 / SLOTS as u64 * SLOTS as u64;
            return Err(Error::Refused(format!(
                "a batch of {batch} images needs {} of memory, {} can be used; {}",
                bytes_text(bytes),
                bytes_text(usable),
                if most == 0 { "it holds none".to_string() } else { format!("use --batch {most} or less") }
            )));
        }
        let group_tiles =
            if batch >= GROUP_TILES * simd.width() * rayon::current_num_threads() { GROUP_TILES } else { 1 };
        let group_images = group_tiles * simd.width();
        let groups = (0..lanes).step_by(group_images).map(|first| {
            let lanes = group_images.min(lanes - first);
            BatchGroup {
                group: two_way.group(lanes / simd.width()),
                rows: row_lens.iter().map(|len| Aligned::zeros(len * lanes)).collect(),
                losses: vec![0.0; lanes],
            }
        });
        Ok(Trainer {
            simd,
            preprocess: network.preprocess.clone(),
            moving: network.parameters.iter().map(Moving::new).collect(),
            batch: groups.collect(),
            network: two_way,
            job,
        })
    }

    /// The parameters now, one entry a layer that has some, in order.
    pub fn parameters(&self) -> Vec<Parameters> {
        self.network.parameters().to_vec()
    }

    /// The gradients of the last [`Training::step`], before momentum and decay.
    pub fn gradients(&self) -> Vec<Parameters> {
        self.moving.iter().map(|moving| moving.gradient.clone()).collect()
    }

    /// The gradients of the loss over a batch; the loss of each image.
    fn differentiate(&mut self, iteration: u32, images: &[u8], labels: &[u32]) -> Vec<f64> {
        let Trainer { simd, job, preprocess, network, batch: groups, .. } = self;
        let (image_len, n_classes) = (network.input().len(), network.n_classes());
        assert_eq!(labels.len(), job.batch);
        assert_eq!(images.len(), job.batch * image_len);
        assert!(labels.iter().all(|&label| (label as usize) < n_classes), "labels are classes of the network");
        let group_images = groups[0].losses.len();
        let (parts, philox) = (TwoWay::parts(groups.len()), Philox::new(job.seed));
        let (network, preprocess) = (&*network, &*preprocess);
        groups.par_iter_mut().enumerate().with_max_len(1).for_each(|(index, BatchGroup { group, rows, losses })| {
            // The last groups may hold fewer images than lanes, or none.
            let images = chunk(images, index, group_images * image_len);
            let labels = chunk(labels, index, group_images);
            simd.run(Fill { network, group, images, preprocess });
            let draw = Draw { philox, iteration, first_image: index * group_images };
            network.forward(group, Some(draw), parts);
            losses_of(losses, network.probabilities_of(group), labels, n_classes, simd.width());
            network.backward(group, labels, Objective::CrossEntropy { batch: job.batch }, parts);
            for (learner, rows) in rows.iter_mut().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                let tiles = network.around(group, learner).0;
                let features = tiles.len() / losses.len();
                simd.run(Turn { rows, tiles, features });
            }
        });
        groups.iter().flat_map(|group| &group.losses).copied().take(labels.len()).collect()
    }

    /// The gradients of the weights of all layers, and the update at learning rate `rate`.
    fn update(&mut self, rate: f32) {
        let Trainer { simd, job, network, moving, batch: groups, .. } = self;
        let (simd, sgd) = (*simd, job.sgd);
        let sources: Vec<Source> = network
            .learners()
            .enumerate()
            .map(|(index, learner)| {
                // Each tile by itself.
                let cut = |len: usize| len * simd.width();
                let around = || groups.iter().map(|group| network.around(&group.group, index));
                match learner {
                    Learner::Conv2d(geometry) => Source {
                        output_gradients: around()
                            .flat_map(|pair| pair.1.chunks_exact(cut(geometry.output.len())))
                            .collect(),
                        inputs: around().flat_map(|pair| pair.0.chunks_exact(cut(geometry.input.len()))).collect(),
                        geometry: Some(geometry),
                    },
                    Learner::Dense { in_features, out_features } => Source {
                        output_gradients: around().flat_map(|pair| pair.1.chunks_exact(cut(out_features))).collect(),
                        inputs: groups
                            .iter()
                            .flat_map(|group| group.rows[index].chunks_exact(row_stride(in_features)))
                            .collect(),
                        geometry: None,
                    },
                }
            })
            .collect();
        network.learn(moving, |index, parameters, moving| {
            let source = &sources[index];
            let outputs = source.geometry.as_ref().map_or(PIECE_FEATURES, block_outputs);
            pieces(parameters, moving, outputs).for_each(|piece| simd.run(Learn { piece, source, sgd, rate }));
        });
    }
}

impl Training for Trainer {
    fn describe(&self) -> String {
        format!("cpu, {} threads, {}", rayon::current_num_threads(), self.simd)
    }

    /// # Panics
    /// If the lengths are not those of the batch, or a label is not a class of the network.
    fn step(&mut self, iteration: u32, images: &[u8], labels: &[u32], rate: f32) -> Result<Vec<f64>> {
        let losses = self.differentiate(iteration, images, labels);
        self.update(rate);
        Ok(losses)
    }

    fn learned(&mut self) -> Result<Vec<training::Learned>> {
        let layers = self.network.parameters().iter().zip(&self.moving);
        Ok(layers
            .map(|(parameters, moving)| training::Learned {
                parameters: parameters.clone(),
                velocity: moving.velocity.clone(),
            })
            .collect())
    }

    /// # Panics
    /// If the shapes are not those of [`Training::learned`].
    fn restore(&mut self, learned: &[training::Learned]) -> Result<()> {
        let lens = |parameters: &Parameters| (parameters.weight.len(), parameters.bias.len());
        assert_eq!(learned.len(), self.moving.len());
        self.network.learn(&mut self.moving, |index, parameters, moving| {
            let learned = &learned[index];
            assert!(lens(&learned.parameters) == lens(parameters) && lens(&learned.velocity) == lens(parameters));
            parameters.clone_from(&learned.parameters);
            moving.velocity.clone_from(&learned.velocity);
        });
        Ok(())
    }
}

/// What of `job` does not fit `network`.
pub(in crate::backend) fn check(network: &Network, job: &TrainingJob) -> std::result::Result<(), String> {
    const MOST: usize = 65_535;
    if !(1..=MOST).contains(&job.batch) {
        return Err(format!("a batch of {} images: wanted 1 to {MOST}", job.batch));
    }
    for (index, Dropout { value, ratio }) in job.dropout.iter().enumerate() {
        let values = network.layers.len();
        if *value >= values {
            return Err(format!(
                "dropout of value {value}: the last that network {:?} can drop is {}",
                network.name,
                values - 1
            ));
        }
        if !(0.0..1.0).contains(ratio) {
            return Err(format!("dropout of value {value}: its ratio is {ratio}, wanted from 0 to below 1"));
        }
        if job.dropout[..index].iter().any(|before| before.value == *value) {
            return Err(format!("dropout of value {value} is asked for twice"));
        }
    }
    Ok(())
}

/// Cross entropy of each image that has a label, over `probabilities`, `(tiles, classes, lane)`.
fn losses_of(losses: &mut [f64], probabilities: &[f32], labels: &[u32], n_classes: usize, width: usize) {
    for (image, (loss, &label)) in losses.iter_mut().zip(labels).enumerate() {
        let probability = probabilities[(image / width * n_classes + label as usize) * width + image % width];
        // Caffe's limit keeps a hopeless image from making the sum infinite; a NaN stays.
        let probability = if probability < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { probability };
        *loss = -f64::from(probability).ln();
    }
}

/// Makes images the input of a group.
struct Fill<'a> {
    network: &'a TwoWay,
    group: &'a mut Group,
    images: &'a [u8],
    preprocess: &'a Preprocess,
}

impl Vectorised for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let shape = self.network.input();
        let tiles = self.network.input_of(self.group).chunks_exact_mut(shape.len() * L::N);
        for (index, tile) in tiles.enumerate() {
            preprocess::<L>(tile, chunk(self.images, index, shape.len() * L::N), shape, self.preprocess);
        }
    }
}

/// Turns tiles of features into rows: see [`to_rows`].
struct Turn<'a> {
    rows: &'a mut [f32],
    tiles: &'a [f32],
    features: usize,
}

impl Vectorised for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let rows = self.rows.chunks_exact_mut(row_stride(self.features) * L::N);
        for (rows, tile) in rows.zip(self.tiles.chunks_exact(self.features * L::N)) {
            to_rows::<L>(rows, tile, self.features);
        }
    }
}

impl Moving {
    fn new(parameters: &Parameters) -> Moving {
        let zeros =
            || Parameters { weight: vec![0.0; parameters.weight.len()], bias: vec![0.0; parameters.bias.len()] };
        Moving { gradient: zeros(), velocity: zeros() }
    }
}

/// A layer in pieces of `outputs` outputs.
fn pieces<'a>(
    parameters: &'a mut Parameters,
    moving: &'a mut Moving,
    outputs: usize,
) -> impl IndexedParallelIterator<Item = Piece<'a>> {
    let weights = outputs * (parameters.weight.len() / parameters.bias.len());
    let Moving { gradient, velocity } = moving;
    let [parameters, gradient, velocity] = [parameters, gradient, velocity]
        .map(|values| values.weight.par_chunks_mut(weights).zip(values.bias.par_chunks_mut(outputs)));
    parameters
        .zip(gradient)
        .zip(velocity)
        .enumerate()
        .map(move |(index, ((parameters, gradient), velocity))| Piece {
            first: index * outputs,
            parameters,
            gradient,
            velocity,
        })
        .with_max_len(1)
}

/// Some outputs of a layer that learns: of each the weights, then the biases.
struct Piece<'a> {
    first: usize,
    parameters: (&'a mut [f32], &'a mut [f32]),
    gradient: (&'a mut [f32], &'a mut [f32]),
    velocity: (&'a mut [f32], &'a mut [f32]),
}

/// What the gradient of a layer's weights is made of: see the kernels.
struct Source<'a> {
    /// `None` for a dense layer.
    geometry: Option<Geometry>,
    /// A tile each.
    output_gradients: Vec<&'a [f32]>,
    /// What went into the layer: a tile each, or an image each of a dense layer.
    inputs: Vec<&'a [f32]>,
}

/// Gradients and update of one piece of a layer.
struct Learn<'a> {
    piece: Piece<'a>,
    source: &'a Source<'a>,
    sgd: Sgd,
    rate: f32,
}

impl Vectorised for Learn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Learn { piece: Piece { first, parameters, gradient, velocity }, source, sgd, rate } = self;
        let (gradients, inputs) = (&source.output_gradients[..], &source.inputs[..]);
        match &source.geometry {
            Some(geometry) => {
                conv2d_weight_gradient::<L>(gradient.0, gradient.1, gradients, inputs, geometry, first);
            }
            None => dense_weight_gradient::<L>(gradient.0, gradient.1, gradients, inputs, first),
        }
        update(parameters.0, velocity.0, gradient.0, sgd.momentum, sgd.decay, rate);
        let (decay, rate) = (sgd.decay * sgd.bias_decay, rate * sgd.bias_rate);
        update(parameters.1, velocity.1, gradient.1, sgd.momentum, decay, rate);
    }
}

/// Moves `weights` against `gradient`: see [`Sgd`].
#[inline(always)]
fn update(weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], momentum: f32, decay: f32, rate: f32) {
    for ((weight, velocity), &gradient) in weights.iter_mut().zip(velocity).zip(gradient) {
        let gradient = decay.mul_add(*weight, gradient);
        *velocity = momentum.mul_add(*velocity, rate * gradient);
        *weight -= *velocity;
    }
}
