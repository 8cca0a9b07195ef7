//! Any network, image by image: lane = output channel or feature.
//!
//! This is the mapping for networks whose activations of a tile of images do not fit a cache, and for those that are no chain.
//! An image goes through all layers on one thread; where images are fewer than threads, the units of a layer are shared out too.
//! The dense layers at the end see all images of a chunk at once, so that each weight is read once a chunk.
//!
//! Numbers   exact: what [`crate::network::Operation`] says, the same bits at every width, number of threads and chunk.

pub mod layout;
pub mod products;
pub mod steps;

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::preprocess::byte_of_channel;
use super::softmax::softmax;
use crate::network::{Crop, Layer, Network, Operation, Preprocess, Shape, crops};
use crate::simd::{Aligned, Lanes, Simd, Vectorised};
use layout::Layout;
use products::{Column, Packed, Sums, Terms, VECTORS};
use steps::{Products, Step, Unit};

/// The most images that go through the dense layers together.
const MAX_CHUNK: usize = 256;

/// Bytes that the features of a chunk may take; one image more than none always may.
const CHUNK_BYTES: usize = 64 << 20;

/// Blocks of outputs of a dense layer that a thread takes at once: what it reads of a chunk's features, a block of k, then stays in
/// its second-level cache.
const DENSE_BLOCKS: usize = 8;

/// A network with its weights in the order in which these kernels read them.
#[derive(Debug)]
pub struct GraphNetwork {
    plan: Plan,
    preprocess: Preprocess,
    /// Of the images that come in.
    given: Shape,
    /// The parts of each that are judged; one at least.
    crops: Vec<Crop>,
    steps: Vec<Step>,
    /// Of each step: see [`Step::units`].
    units: Vec<Vec<Range<usize>>>,
    head: Vec<Packed>,
    scratch: Mutex<Vec<Vec<Aligned>>>,
}

/// What of a network follows from its layers alone.
#[derive(Clone, Debug)]
pub struct Plan {
    simd: Simd,
    n_classes: usize,
    /// Of the input, then of each step's output.
    values: Vec<Layout>,
    /// The buffer that each of them is in, and how long the buffers are.
    buffer_of: Vec<usize>,
    buffers: Vec<usize>,
    spatial: Vec<PlannedStep>,
    /// What the dense layers at the end see.
    features: usize,
    head: Vec<PlannedDense>,
}

/// One layer, or a layer and its rectifier.
#[derive(Clone, Debug)]
struct PlannedStep {
    /// Of the layers.
    layer: usize,
    /// The last layer that it computes: itself or the rectifier.
    last: usize,
    /// Of `Plan::values`.
    inputs: Vec<usize>,
}

/// A dense layer at the end.
#[derive(Clone, Copy, Debug)]
struct PlannedDense {
    layer: usize,
    last: usize,
    k: usize,
    features: usize,
}

impl PlannedStep {
    fn relu(&self) -> bool {
        self.last != self.layer
    }
}

impl Plan {
    /// The plan of `network` for vectors of `simd`.
    pub fn new(network: &Network, simd: Simd) -> Plan {
        let (layers, shapes, lanes) = (&network.layers, network.shapes(), simd.width());
        let head_start = head_start(layers);
        let mut users = vec![0; layers.len() + 1];
        layers.iter().flat_map(|layer| &layer.inputs).for_each(|&value| users[value] += 1);
        // Whether layer `index` is a rectifier that can be a part of the layer before it.
        let fuses = |index: usize, end: usize| {
            let next = index + 1;
            layers[index].operation.has_weights()
                && next < end
                && layers[next].operation == Operation::Relu
                && layers[next].inputs == [next]
                && users[next] == 1
        };

        // Where the value after each layer is among the plan's values.
        let mut value_of = vec![0; layers.len() + 1];
        let mut spatial: Vec<PlannedStep> = Vec::new();
        let mut index = 0;
        while index < head_start {
            let last = index + usize::from(fuses(index, head_start));
            let inputs = layers[index].inputs.iter().map(|&value| value_of[value]).collect();
            spatial.push(PlannedStep { layer: index, last, inputs });
            value_of[last + 1] = spatial.len();
            index = last + 1;
        }
        let mut head = Vec::new();
        while index + 1 < layers.len() {
            let last = index + usize::from(fuses(index, layers.len()));
            head.push(PlannedDense { layer: index, last, k: shapes[index].len(), features: shapes[index + 1].len() });
            index = last + 1;
        }

        // The widest padding of the convolutions that read a value; and whether only they read the input.
        let mut values = vec![Layout { shape: network.input, border: 0, lanes: 1 }];
        values.extend(spatial.iter().map(|step| Layout { shape: shapes[step.last + 1], border: 0, lanes }));
        for step in &spatial {
            let operation = layers[step.layer].operation;
            for &input in &step.inputs {
                if let Operation::Conv2d { padding, .. } = operation {
                    values[input].border = values[input].border.max(padding);
                } else if !operation.has_weights() {
                    values[input].lanes = lanes;
                }
            }
        }

        let features = spatial.len();
        let (buffer_of, buffers) = buffers(&values, &spatial);
        Plan { simd, n_classes: network.classes.len(), values, buffer_of, buffers, spatial, features, head }
    }

    /// Whether its tables can say where each value is.
    pub fn fits(&self) -> bool {
        self.values.iter().all(|layout| {
            let Layout { shape: Shape { channels, height, width }, border, lanes } = *layout;
            let sides = [channels.next_multiple_of(lanes), height + 2 * border, width + 2 * border];
            sides.iter().try_fold(1_u32, |len, &side| len.checked_mul(u32::try_from(side).ok()?)).is_some()
        })
    }

    /// Bytes of the packed weights and the tables.
    pub fn packed_bytes(&self, network: &Network) -> usize {
        let lanes = self.simd.width();
        let spatial = self.spatial.iter().enumerate().map(|(index, step)| {
            let from = self.values[step.inputs[0]].shape;
            let to = self.values[index + 1].shape;
            let (k, groups) = match network.layers[step.layer].operation {
                Operation::Conv2d { kernel, groups, .. } => (from.channels / groups * kernel * kernel, groups),
                Operation::Dense { .. } => (from.len(), 1),
                _ => return 0,
            };
            Packed::bytes(to.channels, k, groups, lanes) + Products::table_bytes(k, groups, to)
        });
        let head = self.head.iter().map(|dense| Packed::bytes(dense.features, dense.k, 1, lanes));
        spatial.sum::<usize>() + head.sum::<usize>() + size_of_val(&self.values[..]) + size_of_val(&self.spatial[..])
    }

    /// Bytes of the activations of an image on its way.
    pub fn scratch_bytes(&self) -> usize {
        self.buffers.iter().map(|&len| Aligned::bytes(len) + size_of::<Aligned>()).sum()
    }

    /// Bytes that a chunk takes for each of its images, or crops of them: features, what dense layers give, results by crop.
    pub fn image_bytes(&self) -> usize {
        let lanes = VECTORS * self.simd.width();
        let widest = self.head.iter().map(|dense| dense.features.next_multiple_of(lanes)).max().unwrap_or(0);
        let (features, dense) = (self.values[self.features].shape.len(), 2 * widest);
        // A column and a term an input, twice: for what goes in and what comes out.
        (features + dense + 2 * self.n_classes) * size_of::<f32>() + 2 * size_of::<Column>()
    }

    /// Bytes of a chunk, whatever its images: the terms of the widest dense layer.
    pub fn chunk_bytes(&self) -> usize {
        self.head.iter().map(|dense| dense.k * size_of::<u32>()).max().unwrap_or(0)
    }

    /// Images of a chunk, or crops of them. A chunk has whole images, so their crops may be more.
    pub fn chunk(&self) -> usize {
        (CHUNK_BYTES / self.image_bytes()).clamp(1, MAX_CHUNK)
    }
}

/// The first of the layers at the end that are a chain of dense layers, their rectifiers and the softmax.
fn head_start(layers: &[Layer]) -> usize {
    let mut start = layers.len() - 1;
    while start > 0 {
        let is_dense = |index: usize| matches!(layers[index].operation, Operation::Dense { .. });
        // Each takes what the one before it gives, and nothing else does.
        let is_link = |index: usize| {
            layers[index].inputs == [index]
                && layers.iter().filter(|layer| layer.inputs.contains(&(index + 1))).count() == 1
        };
        let is_relu = start >= 2 && layers[start - 1].operation == Operation::Relu && is_link(start - 1);
        let dense = if is_relu { start.wrapping_sub(2) } else { start - 1 };
        if layers[start].inputs != [start] || !is_dense(dense) || !is_link(dense) {
            break;
        }
        start = dense;
    }
    start
}

/// Which buffer each value is in, and the buffers' lengths: a value takes one whose value nobody needs any more.
fn buffers(values: &[Layout], steps: &[PlannedStep]) -> (Vec<usize>, Vec<usize>) {
    let mut last_use: Vec<usize> = (0..values.len()).collect();
    for (index, step) in steps.iter().enumerate() {
        step.inputs.iter().for_each(|&input| last_use[input] = index + 1);
    }
    let last = values.len() - 1;
    last_use[last] = usize::MAX; // the features are read when all is done
    let (mut buffers, mut holds, mut buffer_of): (Vec<usize>, Vec<usize>, Vec<usize>) = Default::default();
    for (value, layout) in values.iter().enumerate() {
        let len = layout.size();
        // Of the free ones, the smallest that is large enough, or the largest.
        let is_free = |&buffer: &usize| last_use[holds[buffer]] < value;
        let best = (0..buffers.len()).filter(is_free).min_by_key(|&buffer| match buffers[buffer] {
            have if have >= len => (false, have),
            have => (true, usize::MAX - have),
        });
        let buffer = best.unwrap_or_else(|| {
            buffers.push(0);
            holds.push(value);
            buffers.len() - 1
        });
        buffers[buffer] = buffers[buffer].max(len);
        holds[buffer] = value;
        buffer_of.push(buffer);
    }
    (buffer_of, buffers)
}

/// Who shares out the work of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// This thread does all.
    This,
    /// Those of rayon's current pool.
    All,
}

impl GraphNetwork {
    /// Packs `network` for vectors of `simd`.
    pub fn new(network: &Network, simd: Simd) -> GraphNetwork {
        let plan = Plan::new(network, simd);
        assert!(plan.fits(), "the activations are too large: see Classifier::check");
        let mut parameters = network.parameters.iter();
        let mut next = || parameters.next().expect("checked by Network::new");
        let steps = plan.spatial.iter().enumerate().map(|(index, step)| {
            let (from, to) = (plan.values[step.inputs[0]], plan.values[index + 1]);
            match network.layers[step.layer].operation {
                operation @ (Operation::Conv2d { .. } | Operation::Dense { .. }) => {
                    Step::Products(Box::new(Products::new(operation, next(), step.relu(), from, to)))
                }
                Operation::Relu => Step::Relu,
                Operation::MaxPool(window) => Step::MaxPool(window),
                Operation::AveragePool { window, count_padding } => Step::AveragePool { window, count_padding },
                Operation::Lrn { size, alpha, k } => Step::Lrn { size, alpha, k },
                Operation::Concat => Step::Concat,
                Operation::Softmax => unreachable!("only the last layer"),
            }
        });
        let steps: Vec<Step> = steps.collect();
        let units = steps.iter().zip(&plan.values[1..]).map(|(step, &to)| step.units(to)).collect();
        let head = plan.head.iter().map(|dense| Packed::new(next(), dense.k, 1, simd.width())).collect();
        GraphNetwork {
            preprocess: network.preprocess.clone(),
            given: network.given(),
            crops: if network.crops.is_empty() { vec![Crop::default()] } else { network.crops.clone() },
            steps,
            units,
            head,
            scratch: Mutex::default(),
            plan,
        }
    }

    /// Results of `images`, `(images, n_classes)`: probabilities, or with `softmax` false logits.
    ///
    /// # Panics
    /// If logits are asked for of several crops.
    pub fn run(&self, images: &[u8], results: &mut [f32], softmax: bool, threads: Threads) {
        let (len, n) = (self.given.len(), self.plan.n_classes);
        let chunk = (self.plan.chunk() / self.crops.len()).max(1);
        for (images, results) in images.chunks(chunk * len).zip(results.chunks_mut(chunk * n)) {
            if self.crops.len() == 1 {
                self.run_chunk(images, results, softmax, threads);
            } else {
                assert!(softmax, "the mean of several crops is one of probabilities");
                self.run_crops(images, results, threads);
            }
        }
    }

    /// The mean probabilities of the crops of `images`.
    fn run_crops(&self, images: &[u8], results: &mut [f32], threads: Threads) {
        let (n, n_crops) = (self.plan.n_classes, self.crops.len());
        let mut each = vec![0.0; results.len() * n_crops];
        self.run_chunk(images, &mut each, true, threads);
        for (results, of_crops) in results.chunks_exact_mut(n).zip(each.chunks_exact(n * n_crops)) {
            for (class, result) in results.iter_mut().enumerate() {
                *result = crops::mean((0..n_crops).map(|crop| of_crops[crop * n + class]));
            }
        }
    }

    /// Results of each crop of `images`, `(images, crops, n_classes)`.
    fn run_chunk(&self, images: &[u8], results: &mut [f32], softmax: bool, threads: Threads) {
        let (image_len, row) = (self.given.len(), self.plan.values[self.plan.features].shape.len());
        let n = images.len() / image_len * self.crops.len();
        let mut features = vec![0.0; n * row];
        let each = |(part, features): (usize, &mut [f32]), threads| {
            let image = &images[part / self.crops.len() * image_len..][..image_len];
            self.features(image, self.crops[part % self.crops.len()], features, threads);
        };
        match threads {
            Threads::This => {
                features.chunks_exact_mut(row).enumerate().for_each(|pair| each(pair, Threads::This));
            }
            Threads::All => {
                // Rounds in which each thread has a part; then the parts that are left, in which threads help one another.
                let n_threads = rayon::current_num_threads();
                let whole = n / n_threads * n_threads;
                let (first, last) = features.split_at_mut(whole * row);
                let parts = first.par_chunks_exact_mut(row).enumerate();
                parts.with_max_len(1).for_each(|pair| each(pair, Threads::This));
                let parts = last.par_chunks_exact_mut(row).enumerate();
                parts.with_max_len(1).for_each(|(part, features)| each((whole + part, features), Threads::All));
            }
        }
        self.classify(features, results, softmax, threads);
    }

    /// What the dense layers at the end see of `crop` of `image`, flattened (channel, row, column).
    fn features(&self, image: &[u8], crop: Crop, features: &mut [f32], threads: Threads) {
        let spare = self.scratch.lock().expect("no panic while held").pop();
        let mut buffers = spare.unwrap_or_else(|| self.plan.buffers.iter().map(|&len| Aligned::zeros(len)).collect());
        self.spatial(image, crop, &mut buffers, threads, &mut |_, _, _| {});
        let layout = self.plan.values[self.plan.features];
        layout.flatten(&buffers[self.plan.buffer_of[self.plan.features]], features);
        self.scratch.lock().expect("no panic while held").push(buffers);
    }

    /// Takes a crop of an image through the steps. After each, `visit` gets the number of the last layer computed, and what it gives.
    fn spatial(
        &self,
        image: &[u8],
        crop: Crop,
        buffers: &mut [Aligned],
        threads: Threads,
        visit: &mut dyn FnMut(usize, Layout, &[f32]),
    ) {
        let Plan { simd, values, buffer_of, spatial, .. } = &self.plan;
        preprocess_image(&mut buffers[buffer_of[0]], image, self.given.width, crop, values[0], &self.preprocess);
        for (index, (step, planned)) in self.steps.iter().zip(spatial).enumerate() {
            let to = values[index + 1];
            let mut output = std::mem::take(&mut buffers[buffer_of[index + 1]]);
            let inputs: Vec<(Layout, &[f32])> = planned
                .inputs
                .iter()
                .map(|&value| (values[value], &buffers[buffer_of[value]][..values[value].size()]))
                .collect();
            let mut rest = &mut output[..to.size()];
            let units = self.units[index].iter().enumerate().map(|(index, blocks)| {
                let (output, later) = std::mem::take(&mut rest).split_at_mut(blocks.len() * to.block());
                rest = later;
                Unit { step, index, blocks: blocks.clone(), inputs: &inputs, to, output }
            });
            match threads {
                Threads::This => units.for_each(|unit| simd.run(unit)),
                Threads::All => {
                    units.collect::<Vec<_>>().into_par_iter().with_max_len(1).for_each(|unit| simd.run(unit));
                }
            }
            visit(planned.last, to, &output[..to.size()]);
            buffers[buffer_of[index + 1]] = output;
        }
    }

    /// The dense layers at the end and the softmax: `features` is `(images, row)`.
    fn classify(&self, features: Vec<f32>, results: &mut [f32], softmax: bool, threads: Threads) {
        let n = self.plan.n_classes;
        let n_images = results.len() / n;
        let mut rows = Rows { lanes: features.len() / n_images.max(1), values: features, n_images };
        for (planned, packed) in self.plan.head.iter().zip(&self.head) {
            rows = self.dense(packed, &rows, planned.last != planned.layer, threads);
        }
        let width = self.plan.simd.width();
        let each = |(tile, results): (usize, &mut [f32])| {
            for (image, logits) in results.chunks_exact_mut(n).enumerate() {
                rows.copy(tile * width + image, logits);
            }
            if softmax {
                self.plan.simd.run(SoftmaxRows { results, n_classes: n });
            }
        };
        match threads {
            Threads::This => results.chunks_mut(n * width).enumerate().for_each(each),
            Threads::All => results.par_chunks_mut(n * width).enumerate().for_each(each),
        }
    }

    fn dense(&self, packed: &Packed, input: &Rows, relu: bool, threads: Threads) -> Rows {
        let (lanes, n_images) = (VECTORS * self.plan.simd.width(), input.n_images);
        let mut output = Rows { values: vec![0.0; packed.outputs().len() * n_images * lanes], lanes, n_images };
        let terms = Terms::new(input.offsets(packed.k()));
        // The sums of an image's outputs lie side by side.
        let columns: Vec<Column> = (0..n_images)
            .map(|image| Column { base: (image * input.lanes) as u32, sums: (image * lanes) as u32 })
            .collect();
        let blocks = match threads {
            Threads::This => DENSE_BLOCKS,
            // So few that each thread has four turns.
            Threads::All => (packed.outputs().len() / (4 * rayon::current_num_threads())).clamp(1, DENSE_BLOCKS),
        };
        let each = |(index, output): (usize, &mut [f32])| {
            let first = index * blocks;
            let blocks = first..first + output.len() / (n_images * lanes);
            self.plan.simd.run(DenseUnit {
                packed,
                blocks,
                terms: &terms,
                columns: &columns,
                input: &input.values,
                output,
                relu,
            });
        };
        let chunk = blocks * n_images * lanes;
        match threads {
            Threads::This => output.values.chunks_mut(chunk).enumerate().for_each(each),
            Threads::All => output.values.par_chunks_mut(chunk).enumerate().with_max_len(1).for_each(each),
        }
        output
    }

    /// What each layer makes of the first crop of `image`: calls `visit` with the layer's number, the shape, and the values (channel, row, column). A
    /// layer whose rectifier is computed with it is left out: the rectifier has its place. The last is the softmax.
    pub fn activations(&self, image: &[u8], visit: &mut dyn FnMut(usize, Shape, &[f32])) {
        let mut buffers: Vec<Aligned> = self.plan.buffers.iter().map(|&len| Aligned::zeros(len)).collect();
        let layout = self.plan.values[self.plan.features];
        let mut features = vec![0.0; layout.shape.len()];
        self.spatial(image, self.crops[0], &mut buffers, Threads::This, &mut |layer, layout, values| {
            let mut flat = vec![0.0; layout.shape.len()];
            layout.flatten(values, &mut flat);
            visit(layer, layout.shape, &flat);
        });
        layout.flatten(&buffers[self.plan.buffer_of[self.plan.features]], &mut features);
        let mut rows = Rows { lanes: features.len(), values: features, n_images: 1 };
        for (planned, packed) in self.plan.head.iter().zip(&self.head) {
            rows = self.dense(packed, &rows, planned.last != planned.layer, Threads::This);
            let mut flat = vec![0.0; planned.features];
            rows.copy(0, &mut flat);
            visit(planned.last, Shape { channels: planned.features, height: 1, width: 1 }, &flat);
        }
        let mut probabilities = vec![0.0; self.plan.n_classes];
        rows.copy(0, &mut probabilities);
        self.plan.simd.run(SoftmaxRows { results: &mut probabilities, n_classes: self.plan.n_classes });
        let shape = Shape { channels: self.plan.n_classes, height: 1, width: 1 };
        visit(self.plan.head.last().map_or(self.plan.spatial.len(), |dense| dense.last + 1), shape, &probabilities);
    }
}

/// The features of some images: `(features / lanes rounded up, images, lanes)`.
struct Rows {
    values: Vec<f32>,
    lanes: usize,
    n_images: usize,
}

impl Rows {
    /// Where the first `n` features are, counted from an image's first.
    fn offsets(&self, n: usize) -> Vec<u32> {
        (0..n).map(|at| (at / self.lanes * self.n_images * self.lanes + at % self.lanes) as u32).collect()
    }

    /// The first features of an image.
    fn copy(&self, image: usize, features: &mut [f32]) {
        for (block, features) in features.chunks_mut(self.lanes).enumerate() {
            features.copy_from_slice(&self.values[(block * self.n_images + image) * self.lanes..][..features.len()]);
        }
    }
}

/// Some blocks of a dense layer's outputs, for all images of a chunk.
struct DenseUnit<'a> {
    packed: &'a Packed,
    blocks: Range<usize>,
    terms: &'a Terms,
    columns: &'a [Column],
    input: &'a [f32],
    /// `(blocks, images, VECTORS, L::N)`
    output: &'a mut [f32],
    relu: bool,
}

impl Vectorised for DenseUnit<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let DenseUnit { packed, blocks, terms, columns, input, output, relu } = self;
        let len = columns.len() * VECTORS * L::N;
        for k in packed.k_blocks() {
            for (block, output) in blocks.clone().zip(output.chunks_exact_mut(len)) {
                Sums { packed, block, k: k.clone(), terms, columns, input, output, vector: L::N, relu }.run::<L>();
            }
        }
    }
}

/// Softmax of each row of `results`, `(images, n_classes)`, at most as many images as lanes: an image is a lane as everywhere.
struct SoftmaxRows<'a> {
    results: &'a mut [f32],
    n_classes: usize,
}

impl Vectorised for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let n = self.n_classes;
        let mut tile = vec![0.0; n * L::N];
        for (lane, row) in self.results.chunks_exact(n).enumerate() {
            for (class, &logit) in row.iter().enumerate() {
                tile[class * L::N + lane] = logit;
            }
        }
        softmax::<L>(&mut tile, n);
        for (lane, row) in self.results.chunks_exact_mut(n).enumerate() {
            for (class, probability) in row.iter_mut().enumerate() {
                *probability = tile[class * L::N + lane];
            }
        }
    }
}

/// `crop` of `image`, `(height, width, channels)` bytes, becomes the first activation: the operations of
/// [`preprocess`](super::preprocess::preprocess), the same bits. The mean is that of what the network sees, whatever the crop.
fn preprocess_image(
    output: &mut [f32],
    image: &[u8],
    image_width: usize,
    crop: Crop,
    to: Layout,
    preprocess: &Preprocess,
) {
    let Shape { channels, height, width } = to.shape;
    let output = &mut output[..to.size()];
    if to.border > 0 || to.lanes > 1 {
        output.fill(0.0);
    }
    for channel in 0..channels {
        let byte = byte_of_channel(preprocess.channel_order, channel, channels);
        let scale = preprocess.scale[channel];
        for y in 0..height {
            let pixels = &image[((crop.y + y) * image_width + crop.x) * channels..][..width * channels];
            let values = output[to.at(channel, y, 0)..].iter_mut().step_by(to.lanes);
            let mean = preprocess.mean.get((channel * height + y) * width..).filter(|mean| !mean.is_empty());
            if crop.mirror {
                preprocess_row(values, pixels.chunks_exact(channels).rev(), byte, mean, scale);
            } else {
                preprocess_row(values, pixels.chunks_exact(channels), byte, mean, scale);
            }
        }
    }
}

fn preprocess_row<'a>(
    values: impl Iterator<Item = &'a mut f32>,
    pixels: impl Iterator<Item = &'a [u8]>,
    byte: usize,
    mean: Option<&[f32]>,
    scale: f32,
) {
    match mean {
        Some(mean) => {
            for ((value, pixel), mean) in values.zip(pixels).zip(mean) {
                *value = (f32::from(pixel[byte]) - mean) * scale;
            }
        }
        None => values.zip(pixels).for_each(|(value, pixel)| *value = f32::from(pixel[byte]) * scale),
    }
}
