//! Classification of a batch: preprocessing and every layer, in parallel over groups of tiles.
//!
//! ```text
//! out  probabilities or logits  (batch, n_classes) f32
//! in   images                   (batch, height, width, channels) u8
//! ```
//!
//! Numbers   exact: an image's result depends on the image and the weights only, not on its place, the batch, the width
//!           of the vectors or the threads.

use std::sync::Mutex;

use rayon::prelude::*;

use super::Aligned;
use super::conv2d::{Geometry, PackedConv2d, conv2d};
use super::dense::{PackedDense, dense};
use super::max_pool::max_pool;
use super::preprocess::preprocess;
use super::relu::relu;
use super::softmax::softmax;
use crate::network::{Layer, Network, Preprocess, Shape};
use crate::simd::{Lanes, Simd, Vectorised};

/// Tiles that go through the dense layers together: as many as [`dense`] serves with one read of a weight.
const TILES: usize = 2;

/// A network ready to classify: weights packed, memory planned.
#[derive(Debug)]
pub struct Classifier {
    simd: Simd,
    input: Shape,
    preprocess: Preprocess,
    n_classes: usize,
    /// Up to the first dense layer: a tile at a time, so that the large activations stay in the cache.
    spatial: Vec<Step>,
    /// From the first dense layer on: all tiles of a group at once, so that each weight is read once for them.
    dense: Vec<Step>,
    workspaces: Mutex<Vec<Workspace>>,
}

/// A layer with its shapes and packed weights.
#[derive(Debug)]
enum Step {
    Conv2d(PackedConv2d),
    MaxPool { input: Shape, output: Shape, kernel: usize, stride: usize },
    Relu,
    Dense(PackedDense),
    Softmax { classes: usize },
}

/// What one thread needs: two activations of a tile, and two of a group of tiles, to go back and forth between.
#[derive(Debug)]
struct Workspace {
    spatial: [Aligned; 2],
    dense: [Aligned; 2],
}

impl Classifier {
    /// Packs `network` for vectors of `simd`.
    pub fn new(network: &Network, simd: Simd) -> Classifier {
        let shapes = network.shapes();
        let mut parameters = network.parameters.iter();
        let mut next = || parameters.next().expect("checked by Network::new");
        let mut steps: Vec<Step> = Vec::new();
        for (layer, pair) in network.layers.iter().zip(shapes.windows(2)) {
            let (input, output) = (pair[0], pair[1]);
            steps.push(match *layer {
                Layer::Conv2d { kernel, stride, padding, groups, .. } => {
                    Step::Conv2d(PackedConv2d::new(Geometry { input, output, kernel, stride, padding, groups }, next()))
                }
                Layer::MaxPool { kernel, stride } => Step::MaxPool { input, output, kernel, stride },
                Layer::Relu => Step::Relu,
                Layer::Dense { .. } => Step::Dense(PackedDense::new(input.len(), output.len(), next())),
                Layer::Softmax => Step::Softmax { classes: output.len() },
            });
        }
        let first_dense = steps.iter().position(|step| matches!(step, Step::Dense(_) | Step::Softmax { .. }));
        let dense = steps.split_off(first_dense.expect("a network ends in a softmax"));
        Classifier {
            simd,
            input: network.input,
            preprocess: network.preprocess.clone(),
            n_classes: network.classes.len(),
            spatial: steps,
            dense,
            workspaces: Mutex::new(Vec::new()),
        }
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// Shape of an image: `input.height * input.width * input.channels` bytes.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Probabilities of a batch of any size: `images` is `(batch, height, width, channels)` bytes, `probabilities`
    /// `(batch, n_classes)`. Runs on rayon's current pool.
    ///
    /// # Panics
    /// If the lengths are not those.
    pub fn classify(&self, images: &[u8], probabilities: &mut [f32]) {
        self.run(images, probabilities, true);
    }

    /// As [`Classifier::classify`], but what goes into the softmax.
    pub fn logits(&self, images: &[u8], logits: &mut [f32]) {
        self.run(images, logits, false);
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        let bytes = |step: &Step| match step {
            Step::Conv2d(layer) => layer.bytes(),
            Step::Dense(layer) => layer.bytes(),
            Step::MaxPool { .. } | Step::Relu | Step::Softmax { .. } => 0,
        };
        self.spatial.iter().chain(&self.dense).map(bytes).sum::<usize>() + size_of_val(&self.preprocess.mean[..])
    }

    /// Bytes of working memory a thread takes; kept for the next call.
    pub fn workspace_bytes(&self) -> usize {
        let (spatial, dense) = self.activation_lens();
        2 * (Aligned::bytes(spatial) + Aligned::bytes(TILES * dense))
    }

    /// The most values of a tile between two steps, in the spatial part and in the dense.
    fn activation_lens(&self) -> (usize, usize) {
        let most = |steps: &[Step], first: usize| {
            steps.iter().map(|step| step.output_len().unwrap_or(0)).max().unwrap_or(0).max(first) * self.simd.width()
        };
        let features = self.spatial.iter().rev().find_map(Step::output_len).unwrap_or(self.input.len());
        (most(&self.spatial, self.input.len()), most(&self.dense, features))
    }

    fn run(&self, images: &[u8], results: &mut [f32], softmax: bool) {
        assert_eq!(images.len() % self.input.len(), 0, "images of {} bytes", self.input.len());
        let batch = images.len() / self.input.len();
        assert_eq!(results.len(), batch * self.n_classes, "{} results an image", self.n_classes);
        // Small batches feed every thread a tile before any gets two.
        let tiles = if batch >= TILES * self.simd.width() * rayon::current_num_threads() { TILES } else { 1 };
        let group = tiles * self.simd.width();
        results
            .par_chunks_mut(group * self.n_classes)
            .zip(images.par_chunks(group * self.input.len()))
            .with_max_len(1)
            .for_each(|(results, images)| {
                let spare = self.workspaces.lock().expect("no panic while held").pop();
                let mut workspace = spare.unwrap_or_else(|| self.workspace());
                self.simd.run(ClassifyTiles { classifier: self, workspace: &mut workspace, images, results, softmax });
                self.workspaces.lock().expect("no panic while held").push(workspace);
            });
    }

    fn workspace(&self) -> Workspace {
        let (spatial, dense) = self.activation_lens();
        let pair = |len| [Aligned::zeros(len), Aligned::zeros(len)];
        Workspace { spatial: pair(spatial), dense: pair(TILES * dense) }
    }
}

impl Step {
    /// Values of one image that this step writes to another buffer; `None` if it works in place.
    fn output_len(&self) -> Option<usize> {
        match self {
            Step::Conv2d(layer) => Some(layer.geometry().output.len()),
            Step::MaxPool { output, .. } => Some(output.len()),
            Step::Dense(layer) => Some(layer.out_features()),
            Step::Relu | Step::Softmax { .. } => None,
        }
    }
}

/// At most [`TILES`] tiles of images through the whole network.
struct ClassifyTiles<'a> {
    classifier: &'a Classifier,
    workspace: &'a mut Workspace,
    images: &'a [u8],
    results: &'a mut [f32],
    softmax: bool,
}

impl Vectorised for ClassifyTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let network = self.classifier;
        let tiles = self.images.chunks(L::N * network.input.len());
        let n_tiles = tiles.len();
        let mut features = 0;
        for (tile, images) in tiles.enumerate() {
            let len = network.input.len() * L::N;
            let mut activation = Activation::new(&mut self.workspace.spatial, len);
            preprocess::<L>(activation.values(), images, network.input, &network.preprocess);
            for step in &network.spatial {
                activation.forward::<L>(step);
            }
            features = activation.len;
            self.workspace.dense[0][tile * features..][..features].copy_from_slice(activation.values());
        }

        let mut activation = Activation::new(&mut self.workspace.dense, n_tiles * features);
        for step in &network.dense {
            if self.softmax || !matches!(step, Step::Softmax { .. }) {
                activation.forward::<L>(step);
            }
        }
        let values = activation.values();
        for (image, results) in self.results.chunks_exact_mut(network.n_classes).enumerate() {
            let (tile, lane) = (image / L::N, image % L::N);
            for (class, result) in results.iter_mut().enumerate() {
                *result = values[(tile * network.n_classes + class) * L::N + lane];
            }
        }
    }
}

/// The activation between two layers, `len` values at the start of `front`, and the memory for the next.
struct Activation<'a> {
    front: &'a mut [f32],
    back: &'a mut [f32],
    len: usize,
}

impl<'a> Activation<'a> {
    fn new([front, back]: &'a mut [Aligned; 2], len: usize) -> Activation<'a> {
        Activation { front, back, len }
    }

    fn values(&mut self) -> &mut [f32] {
        &mut self.front[..self.len]
    }

    /// Becomes what `step` makes of it.
    #[inline(always)]
    fn forward<L: Lanes>(&mut self, step: &Step) {
        let input = &mut self.front[..self.len];
        match step {
            Step::Relu => return relu::<L>(input),
            Step::Softmax { classes } => return softmax::<L>(input, *classes),
            Step::Conv2d(layer) => {
                let Geometry { input: shape, output, .. } = layer.geometry();
                self.len = self.len / shape.len() * output.len();
                conv2d::<L>(&mut self.back[..self.len], input, layer);
            }
            Step::MaxPool { input: shape, output, kernel, stride } => {
                self.len = self.len / shape.len() * output.len();
                max_pool::<L>(&mut self.back[..self.len], input, *shape, *output, *kernel, *stride);
            }
            Step::Dense(layer) => {
                self.len = self.len / layer.in_features() * layer.out_features();
                dense::<L>(&mut self.back[..self.len], input, layer);
            }
        }
        std::mem::swap(&mut self.front, &mut self.back);
    }
}
