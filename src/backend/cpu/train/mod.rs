//! Training on the CPU: gradients by hand, and the update of Caffe's solver.
//!
//! The written rules. They make the weights a function of (data, recipe, seed) alone: not of threads, not of the
//! width of a vector, not of the backend.
//!
//! - **Forward** is the forward of the network: the same kernels, the same order.
//! - **Softmax and cross entropy**: the gradient of the averaged loss with respect to a logit is
//!   `(p - 1) / batch` for the image's class and `p / batch` for the others; here and nowhere else the batch divides.
//! - **Input gradient**: one accumulator an element, from +0, fused multiply-add, over the output values that the
//!   element took part in, in their order (output channel, row, column). Terms outside the output are left out.
//! - **A batch** is filled up to a multiple of [`SLOTS`] with black images that send the gradient +0.
//! - **Weight gradient**: [`SLOTS`] accumulators a weight, from +0; image i of the batch belongs to slot
//!   `i % SLOTS`. A slot takes its images ascending, the output positions of an image row by row, fused multiply-add.
//!   Terms of the padding are left out. Then the upper half of the slots is added to the lower half (slot s takes slot
//!   s + 8, then s + 4, s + 2, s + 1). A bias gradient is the same with an input of 1.
//! - **Max pooling** sends the gradient of a window to its first maximum, rows before columns; an element adds what
//!   its windows send, from +0, windows in the same order. **ReLU** passes the gradient where its output is above 0,
//!   else +0.
//! - **Update**: `g = fma(decay, w, gradient)`, `v = fma(momentum, v, rate * g)`, `w = w - v` (Caffe's SGD).
//!
//! Slots rather than a sum an image: with 16 images to a vector a slot is a lane, whatever the width, and a dense
//! layer needs one fused operation a weight and image.

mod adapter;
mod conv2d_backward;
mod dense_backward;
mod max_pool_backward;
mod relu_backward;
mod softmax_backward;

use rayon::prelude::*;

use super::conv2d::{Geometry, PackedConv2d, conv2d};
use super::dense::{PackedDense, dense};
use super::max_pool::max_pool;
use super::preprocess::preprocess;
use super::relu::relu;
use super::softmax::softmax;
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::network::{Layer, Network, Operation, Parameters, Preprocess, Shape, Window};
use crate::simd::Aligned;
use crate::simd::{Lanes, MAX_LANES, Simd, Vectorised};
use crate::telemetry;
use conv2d_backward::{Conv2dInputGradient, block_outputs, conv2d_weight_gradient};
use dense_backward::{dense_input_gradient, dense_weight_gradient, row_stride, to_rows};
use max_pool_backward::max_pool_backward;
use relu_backward::relu_backward;
use softmax_backward::softmax_backward;

/// Accumulators of a weight gradient; image i of a batch goes to accumulator `i % SLOTS`.
pub const SLOTS: usize = 16;

const _: () = assert!(SLOTS == MAX_LANES, "the widest vector holds each slot once");

/// The accumulators of one weight gradient.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))] // a vector of 64 bytes that straddles two cache lines costs two accesses
struct Slots([f32; SLOTS]);

impl Slots {
    /// Their sum, added in halves.
    #[inline(always)]
    fn total(&self) -> f32 {
        let mut slots = self.0;
        let mut half = SLOTS / 2;
        while half > 0 {
            for s in 0..half {
                slots[s] += slots[s + half];
            }
            half /= 2;
        }
        slots[0]
    }
}

/// The `index`-th chunk of `len` values; shorter, or empty, past the end.
fn chunk<T>(values: &[T], index: usize, len: usize) -> &[T] {
    &values[(index * len).min(values.len())..((index + 1) * len).min(values.len())]
}

/// How gradients become new weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Share of the last step that the next one repeats.
    pub momentum: f32,
    /// Share of a weight (or bias) that is added to its gradient.
    pub decay: f32,
    /// Learning rate of biases, as a multiple of that of weights.
    pub bias_rate: f32,
}

/// A network in training: parameters, velocities, and the memory for one batch.
#[derive(Debug)]
pub struct Trainer {
    simd: Simd,
    sgd: Sgd,
    input: Shape,
    preprocess: Preprocess,
    batch: usize,
    steps: Vec<Step>,
    /// The first step with parameters: gradients need to go no further back.
    first_learned: usize,
    groups: Vec<Group>,
}

/// A layer with its shapes and, if it learns, its parameters.
#[derive(Debug)]
enum Step {
    Conv2d { layer: PackedConv2d, backward: Option<Box<Conv2dInputGradient>>, learned: Learned },
    MaxPool { input: Shape, output: Shape, kernel: usize, stride: usize },
    Relu,
    Dense { layer: PackedDense, learned: Learned },
    Softmax { classes: usize },
}

/// The parameters of a layer and what moves them: the gradient of the last batch, and the sum that momentum keeps.
#[derive(Debug)]
struct Learned {
    parameters: Parameters,
    gradient: Parameters,
    velocity: Parameters,
}

/// Some tiles of the batch on their way through the network and back.
#[derive(Debug)]
struct Group {
    /// The input, then each step's output: `(tiles, channels, height, width, lane)`.
    activations: Vec<Aligned>,
    /// Gradients of the loss with respect to them; empty where none is needed.
    gradients: Vec<Aligned>,
    /// The input of each dense step as rows, an image each; empty for the other steps.
    rows: Vec<Aligned>,
    /// Cross entropy of each image; 0 in lanes without one.
    losses: Vec<f64>,
}

/// Tiles that share the weights they read from memory: as many as [`dense`] serves with one read.
const GROUP_TILES: usize = 2;

/// Outputs of a dense layer whose weight gradients one thread computes at a time: enough to share what they read, few
/// enough for many threads.
const PIECE_FEATURES: usize = 100;

impl Trainer {
    /// Prepares to train `network` from the parameters it has, `batch` images at a time (at least one), on rayon's
    /// current pool.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the layer that cannot be trained, or if the batch does not fit into memory.
    pub fn new(network: &Network, batch: usize, sgd: Sgd, simd: Simd) -> Result<Trainer> {
        assert!(batch > 0, "a batch has at least one image");
        let shapes = network.shapes();
        let learns = |layer: &Layer| layer.operation.has_weights();
        let first_learned = network.layers.iter().position(learns).unwrap_or(network.layers.len());
        let mut parameters = network.parameters.iter().cloned();
        let mut next = || Learned::new(parameters.next().expect("checked by Network::new"));
        let mut steps: Vec<Step> = Vec::new();
        for (index, (layer, pair)) in network.layers.iter().zip(shapes.windows(2)).enumerate() {
            let (input, output) = (pair[0], pair[1]);
            let Layer { name, inputs, operation } = layer;
            let refused =
                |reason: &str| Error::Refused(format!("network {:?}, layer {name:?}: {reason}", network.name));
            if *inputs != [index] {
                return Err(refused("only networks whose layers form a chain can be trained"));
            }
            steps.push(match *operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    let learned = next();
                    let layer = PackedConv2d::new(geometry, &learned.parameters);
                    let backward = (index > first_learned)
                        .then(|| Conv2dInputGradient::new(geometry, &learned.parameters).map(Box::new))
                        .transpose()
                        .map_err(|reason| refused(&reason))?;
                    Step::Conv2d { layer, backward, learned }
                }
                Operation::MaxPool(Window { kernel, stride, padding: 0, .. }) => {
                    Step::MaxPool { input, output, kernel, stride }
                }
                Operation::Relu => Step::Relu,
                Operation::Dense { .. } => {
                    let learned = next();
                    Step::Dense { layer: PackedDense::new(input.len(), output.len(), &learned.parameters), learned }
                }
                Operation::Softmax => Step::Softmax { classes: output.len() },
                Operation::MaxPool(_) => return Err(refused("a pooling with padding cannot be trained")),
                Operation::AveragePool { .. } | Operation::Lrn { .. } | Operation::Concat => {
                    return Err(refused(&format!("a layer of type {:?} cannot be trained", operation.type_name())));
                }
            });
        }
        let lanes = batch.next_multiple_of(SLOTS);
        let lens = Group::lens(&shapes, &steps, first_learned);
        let bytes = lanes as u64 * (lens.iter().flatten().sum::<usize>() * size_of::<f32>()) as u64;
        let usable = telemetry::memory_limit().map(telemetry::usable);
        if let Some(usable) = usable.filter(|&usable| bytes > usable) {
            return Err(Error::Refused(format!(
                "a batch of {batch} images needs {} of memory, {} can be used; use --batch {} or less",
                bytes_text(bytes),
                bytes_text(usable),
                u128::from(usable) * lanes as u128 / u128::from(bytes) / SLOTS as u128 * SLOTS as u128
            )));
        }
        let group_tiles =
            if batch >= GROUP_TILES * simd.width() * rayon::current_num_threads() { GROUP_TILES } else { 1 };
        let group_images = group_tiles * simd.width();
        let groups =
            (0..lanes).step_by(group_images).map(|first| Group::new(&lens, group_images.min(lanes - first))).collect();
        Ok(Trainer {
            simd,
            sgd,
            input: network.input,
            preprocess: network.preprocess.clone(),
            batch,
            steps,
            first_learned,
            groups,
        })
    }

    /// One iteration: the gradients of the loss over a batch, then the update at learning rate `rate`. Gives the loss
    /// before the update: the cross entropy averaged over the batch.
    ///
    /// `images` is `(batch, height, width, channels)` bytes, `labels` their classes.
    ///
    /// # Panics
    /// If the lengths are not those.
    pub fn step(&mut self, images: &[u8], labels: &[u8], rate: f32) -> f64 {
        let image_len = self.input.len();
        assert_eq!(labels.len(), self.batch);
        assert_eq!(images.len(), self.batch * image_len);
        let group_images = self.groups[0].losses.len();
        let (steps, simd) = (&self.steps, self.simd);
        let (input, preprocess, batch, first_learned) = (self.input, &self.preprocess, self.batch, self.first_learned);
        self.groups.par_iter_mut().enumerate().with_max_len(1).for_each(|(index, group)| {
            // The last groups may hold fewer images than lanes, or none.
            let images = chunk(images, index, group_images * image_len);
            let labels = chunk(labels, index, group_images);
            simd.run(Pass { group, steps, input, preprocess, images, labels, batch, first_learned });
        });

        let (groups, sgd) = (&self.groups, self.sgd);
        self.steps
            .par_iter_mut()
            .enumerate()
            .with_max_len(1)
            .for_each(|(index, step)| step.learn(groups, index, sgd, rate, simd));
        self.groups.iter().flat_map(|group| &group.losses).sum::<f64>() / self.batch as f64
    }

    /// The parameters now, one entry a layer that has some, in order.
    pub fn parameters(&self) -> Vec<Parameters> {
        self.steps.iter().filter_map(Step::learned).map(|learned| learned.parameters.clone()).collect()
    }

    /// The gradients of the last [`Trainer::step`], before momentum and decay.
    pub fn gradients(&self) -> Vec<Parameters> {
        self.steps.iter().filter_map(Step::learned).map(|learned| learned.gradient.clone()).collect()
    }
}

impl Learned {
    fn new(parameters: Parameters) -> Learned {
        let zeros =
            || Parameters { weight: vec![0.0; parameters.weight.len()], bias: vec![0.0; parameters.bias.len()] };
        Learned { gradient: zeros(), velocity: zeros(), parameters }
    }

    /// This layer in pieces of `outputs` outputs.
    fn pieces(&mut self, outputs: usize) -> impl IndexedParallelIterator<Item = Piece<'_>> {
        let weights = outputs * (self.parameters.weight.len() / self.parameters.bias.len());
        let Learned { parameters, gradient, velocity } = self;
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
}

/// Some outputs of a layer that learns: of each the weights, then the biases.
struct Piece<'a> {
    first: usize,
    parameters: (&'a mut [f32], &'a mut [f32]),
    gradient: (&'a mut [f32], &'a mut [f32]),
    velocity: (&'a mut [f32], &'a mut [f32]),
}

impl Step {
    fn learned(&self) -> Option<&Learned> {
        match self {
            Step::Conv2d { learned, .. } | Step::Dense { learned, .. } => Some(learned),
            Step::MaxPool { .. } | Step::Relu | Step::Softmax { .. } => None,
        }
    }

    /// Computes the gradients of this step, the `index`-th, from what all groups hold, and updates its parameters.
    fn learn(&mut self, groups: &[Group], index: usize, sgd: Sgd, rate: f32, simd: Simd) {
        let tiles = |of: fn(&Group) -> &[Aligned], index: usize, len: usize| -> Vec<&[f32]> {
            groups.iter().flat_map(|group| of(group)[index].chunks_exact(len * simd.width())).collect()
        };
        match self {
            Step::Conv2d { layer, backward, learned } => {
                let geometry = layer.geometry();
                let inputs = &tiles(|group| &group.activations, index, geometry.input.len());
                let output_gradients = &tiles(|group| &group.gradients, index + 1, geometry.output.len());
                learned.pieces(block_outputs(geometry)).for_each(|piece| {
                    let source = Source::Conv2d { geometry, inputs };
                    simd.run(Learn { piece, source, output_gradients, sgd, rate });
                });
                layer.pack(&learned.parameters);
                if let Some(backward) = backward {
                    backward.pack(&learned.parameters);
                }
            }
            Step::Dense { layer, learned } => {
                let output_gradients = &tiles(|group| &group.gradients, index + 1, layer.out_features());
                let rows: &Vec<&[f32]> = &groups
                    .iter()
                    .flat_map(|group| group.rows[index].chunks_exact(row_stride(layer.in_features())))
                    .collect();
                learned.pieces(PIECE_FEATURES).for_each(|piece| {
                    simd.run(Learn { piece, source: Source::Dense { rows }, output_gradients, sgd, rate });
                });
                layer.pack(&learned.parameters);
            }
            Step::MaxPool { .. } | Step::Relu | Step::Softmax { .. } => {}
        }
    }
}

/// Gradients and update of one piece of a layer.
struct Learn<'a> {
    piece: Piece<'a>,
    source: Source<'a>,
    output_gradients: &'a [&'a [f32]],
    sgd: Sgd,
    rate: f32,
}

/// What went into the layer: see the kernels.
enum Source<'a> {
    Conv2d { geometry: &'a Geometry, inputs: &'a [&'a [f32]] },
    Dense { rows: &'a [&'a [f32]] },
}

impl Vectorised for Learn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Piece { first, parameters, gradient, velocity } = self.piece;
        match self.source {
            Source::Conv2d { geometry, inputs } => {
                conv2d_weight_gradient::<L>(gradient.0, gradient.1, self.output_gradients, inputs, geometry, first);
            }
            Source::Dense { rows } => {
                dense_weight_gradient::<L>(gradient.0, gradient.1, self.output_gradients, rows, first);
            }
        }
        update(parameters.0, velocity.0, gradient.0, self.sgd, self.rate);
        update(parameters.1, velocity.1, gradient.1, self.sgd, self.rate * self.sgd.bias_rate);
    }
}

/// Moves `weights` against `gradient`: see the top of this file.
#[inline(always)]
fn update(weights: &mut [f32], velocity: &mut [f32], gradient: &[f32], sgd: Sgd, rate: f32) {
    for ((weight, velocity), &gradient) in weights.iter_mut().zip(velocity).zip(gradient) {
        let gradient = sgd.decay.mul_add(*weight, gradient);
        *velocity = sgd.momentum.mul_add(*velocity, rate * gradient);
        *weight -= *velocity;
    }
}

impl Group {
    /// Memory for `lanes` images.
    fn new(lens: &[Vec<usize>; 3], lanes: usize) -> Group {
        let [activations, gradients, rows] =
            lens.each_ref().map(|lens| lens.iter().map(|len| Aligned::zeros(len * lanes)).collect());
        Group { activations, gradients, rows, losses: vec![0.0; lanes] }
    }

    /// Values of one image in each of `activations`, `gradients` and `rows`.
    fn lens(shapes: &[Shape], steps: &[Step], first_learned: usize) -> [Vec<usize>; 3] {
        let activations: Vec<usize> = shapes.iter().map(Shape::len).collect();
        let gradients = activations.iter().enumerate().map(|(index, &len)| if index > first_learned { len } else { 0 });
        let rows = steps.iter().map(|step| match step {
            Step::Dense { layer, .. } => row_stride(layer.in_features()),
            _ => 0,
        });
        [activations.clone(), gradients.collect(), rows.collect()]
    }
}

/// One group through the network and back, as far as the weight gradients need it.
struct Pass<'a> {
    group: &'a mut Group,
    steps: &'a [Step],
    first_learned: usize,
    input: Shape,
    preprocess: &'a Preprocess,
    images: &'a [u8],
    labels: &'a [u8],
    batch: usize,
}

impl Vectorised for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        self.forward::<L>();
        self.backward::<L>();
    }
}

impl Pass<'_> {
    #[inline(always)]
    fn forward<L: Lanes>(&mut self) {
        let Group { activations, rows, losses, .. } = &mut *self.group;
        let tiles = activations[0].chunks_exact_mut(self.input.len() * L::N);
        for (index, tile) in tiles.enumerate() {
            let images = chunk(self.images, index, self.input.len() * L::N);
            preprocess::<L>(tile, images, self.input, self.preprocess);
        }
        for (index, step) in self.steps.iter().enumerate() {
            let (before, after) = activations.split_at_mut(index + 1);
            let (input, output) = (&before[index], &mut after[0]);
            match step {
                Step::Conv2d { layer, .. } => conv2d::<L>(output, input, layer),
                Step::MaxPool { input: from, output: to, kernel, stride } => {
                    max_pool::<L>(output, input, *from, *to, *kernel, *stride);
                }
                Step::Relu => {
                    output.copy_from_slice(input);
                    relu::<L>(output);
                }
                Step::Dense { layer, .. } => {
                    let features = layer.in_features();
                    let tiles = rows[index].chunks_exact_mut(row_stride(features) * L::N);
                    for (rows, tile) in tiles.zip(input.chunks_exact(features * L::N)) {
                        to_rows::<L>(rows, tile, features);
                    }
                    dense::<L>(output, input, layer);
                }
                Step::Softmax { classes } => {
                    output.copy_from_slice(input);
                    softmax::<L>(output, *classes);
                    for (image, (loss, &label)) in losses.iter_mut().zip(self.labels).enumerate() {
                        let probability = output[((image / L::N) * classes + usize::from(label)) * L::N + image % L::N];
                        // Caffe's limit keeps a hopeless image from making the sum infinite; a NaN stays.
                        let probability = if probability < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { probability };
                        *loss = -f64::from(probability).ln();
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn backward<L: Lanes>(&mut self) {
        let Group { activations, gradients, .. } = &mut *self.group;
        for (index, step) in self.steps.iter().enumerate().skip(self.first_learned + 1).rev() {
            let (before, after) = gradients.split_at_mut(index + 1);
            let (input_gradient, output_gradient) = (&mut before[index], &after[0]);
            let (input, output) = (&activations[index], &activations[index + 1]);
            match step {
                Step::Conv2d { backward, .. } => {
                    let backward = backward.as_ref().expect("made for all steps behind the first that learns");
                    backward.run::<L>(input_gradient, output_gradient);
                }
                Step::MaxPool { input: from, output: to, kernel, stride } => {
                    max_pool_backward::<L>(input_gradient, output_gradient, input, output, *from, *to, *kernel, *stride)
                }
                Step::Relu => {
                    input_gradient.copy_from_slice(output_gradient);
                    relu_backward::<L>(input_gradient, output);
                }
                Step::Dense { layer, learned } => {
                    let tiles = input_gradient.chunks_exact_mut(layer.in_features() * L::N);
                    for (input_gradient, output_gradient) in
                        tiles.zip(output_gradient.chunks_exact(layer.out_features() * L::N))
                    {
                        dense_input_gradient::<L>(input_gradient, output_gradient, &learned.parameters.weight);
                    }
                }
                Step::Softmax { classes } => {
                    let tiles = input_gradient.chunks_exact_mut(classes * L::N);
                    let probabilities = output.chunks_exact(classes * L::N);
                    for (tile, (gradient, probabilities)) in tiles.zip(probabilities).enumerate() {
                        softmax_backward::<L>(gradient, probabilities, chunk(self.labels, tile, L::N), self.batch);
                    }
                }
            }
        }
    }
}
