//! Classification of a batch: preprocessing and every layer, in parallel over groups of images.
//!
//! ```text
//! out  probabilities or logits  (batch, n_classes) f32
//! in   images                   (batch, height, width, channels) u8
//! ```
//!
//! Mapping   whole tiles, an image a lane ([`super::tile`]); what is left over where threads would wait for one another goes
//!           image by image, a channel a lane ([`super::image`]).
//! Numbers   exact: an image's result depends on the image and the weights only, not on its place, the batch, the mapping,
//!           the width of the vectors or the threads.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

use super::conv2d::Geometry;
use super::image::{IMAGES, ImageNetwork};
use super::tile::{TILES, TileNetwork};
use super::{conv2d, dense, image};
use crate::network::{Layer, Network, Shape};
use crate::simd::{Aligned, Lanes, Simd, Vectorised};

/// A network ready to classify: weights packed for each mapping when it is first used.
#[derive(Debug)]
pub struct Classifier {
    simd: Simd,
    network: Arc<Network>,
    tiles: OnceLock<TileNetwork>,
    /// `None` if the network's layers do not divide into vectors.
    images: OnceLock<Option<ImageNetwork>>,
    scratch: Mutex<Vec<Scratch>>,
}

/// What one thread needs: two activations of the spatial layers, and two of the dense ones, to go back and forth between.
#[derive(Debug)]
pub struct Scratch {
    pub spatial: [Aligned; 2],
    pub dense: [Aligned; 2],
}

/// Images that one thread takes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which images of the batch.
    pub images: Range<usize>,
    /// Lane = image rather than lane = channel.
    pub in_tiles: bool,
}

impl Classifier {
    /// Prepares `network` for vectors of `simd`.
    pub fn new(network: Arc<Network>, simd: Simd) -> Classifier {
        Classifier { simd, network, tiles: OnceLock::new(), images: OnceLock::new(), scratch: Mutex::new(Vec::new()) }
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.network.classes.len()
    }

    /// Shape of an image: `input.height * input.width * input.channels` bytes.
    pub fn input(&self) -> Shape {
        self.network.input
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

    /// Shares out a batch of `batch` images among rayon's current threads: groups in the order in which threads should take
    /// them. A thread gets pairs of tiles as long as every thread gets one, then tiles likewise. What remains takes a tile
    /// more, or goes image by image where that is shorter: by itself an image costs one and a half lanes of a tile (measured
    /// with LeNet: 1.4 for four images, 2 for one). Groups hold multiples of `multiple`, 1 or 2, images, but for the last.
    pub fn groups(&self, batch: usize, multiple: usize) -> Vec<Group> {
        let (width, threads) = (self.simd.width(), rayon::current_num_threads());
        let rounds = batch / width / threads;
        let remainder_start = rounds * threads * width;
        let remainder_each = (batch - remainder_start).div_ceil(threads);
        let by_image = (1..(2 * width).div_ceil(3)).contains(&remainder_each) && self.images().is_some();

        let mut groups = Vec::new();
        let mut start = 0;
        let mut push = |n: usize, end: usize, in_tiles: bool| {
            while start < end {
                let images = start..end.min(start + n);
                start = images.end;
                groups.push(Group { images, in_tiles });
            }
        };
        push(TILES * width, rounds / TILES * TILES * threads * width, true);
        push(width, remainder_start, true);
        if by_image {
            let each = remainder_each.div_ceil(remainder_each.div_ceil(IMAGES));
            push(each.next_multiple_of(multiple), batch, false);
        } else {
            push(width, batch, true);
        }
        // Packed here, not by the threads: packing is itself parallel, and must not wait for itself.
        if groups.iter().any(|group| group.in_tiles) {
            self.tiles();
        }
        groups
    }

    /// Probabilities of the images of one group, `(images, n_classes)`, on this thread.
    pub fn classify_group(&self, in_tiles: bool, images: &[u8], probabilities: &mut [f32]) {
        self.run_group(in_tiles, images, probabilities, true);
    }

    fn tiles(&self) -> &TileNetwork {
        self.tiles.get_or_init(|| TileNetwork::new(&self.network))
    }

    fn images(&self) -> Option<&ImageNetwork> {
        self.images.get_or_init(|| ImageNetwork::new(&self.network, self.simd.width())).as_ref()
    }

    fn run(&self, images: &[u8], results: &mut [f32], softmax: bool) {
        let (image_len, n_classes) = (self.input().len(), self.n_classes());
        assert_eq!(images.len() % image_len, 0, "images of {image_len} bytes");
        let batch = images.len() / image_len;
        assert_eq!(results.len(), batch * n_classes, "{n_classes} results an image");
        let mut rest = results;
        let mut work = Vec::new();
        for Group { images: range, in_tiles } in self.groups(batch, 1) {
            let (results, later) = rest.split_at_mut(range.len() * n_classes);
            rest = later;
            work.push((in_tiles, &images[range.start * image_len..range.end * image_len], results));
        }
        // Taken in order, one after the other, so that threads end together.
        work.into_iter().par_bridge().for_each(|(in_tiles, images, results)| {
            self.run_group(in_tiles, images, results, softmax);
        });
    }

    fn run_group(&self, in_tiles: bool, images: &[u8], results: &mut [f32], softmax: bool) {
        let spare = self.scratch.lock().expect("no panic while held").pop();
        let mut scratch = spare.unwrap_or_else(|| self.new_scratch());
        let group = RunGroup { classifier: self, in_tiles, scratch: &mut scratch, images, results, softmax };
        self.simd.run(group);
        self.scratch.lock().expect("no panic while held").push(scratch);
    }

    fn new_scratch(&self) -> Scratch {
        let [spatial, dense] = self.scratch_lens();
        let pair = |len| [Aligned::zeros(len), Aligned::zeros(len)];
        Scratch { spatial: pair(spatial), dense: pair(dense) }
    }

    /// Most bytes of the packed weights: those of both mappings.
    pub fn packed_bytes(&self) -> usize {
        let (width, shapes) = (self.simd.width(), self.network.shapes());
        let layers = self.network.layers.iter().zip(shapes.windows(2));
        let weights = layers.map(|(layer, pair)| {
            let (input, output) = (pair[0], pair[1]);
            match *layer {
                Layer::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    conv2d::PackedConv2d::bytes(&geometry) + image::conv2d::PackedConv2d::bytes(&geometry, width)
                }
                Layer::Dense { .. } => {
                    let (k, features) = (input.len(), output.len());
                    dense::PackedDense::bytes(k, features) + image::dense::PackedDense::bytes(k, features, width)
                }
                Layer::MaxPool { .. } | Layer::Relu | Layer::Softmax => 0,
            }
        });
        weights.sum::<usize>() + 2 * size_of_val(&self.network.preprocess.mean[..])
    }

    /// Bytes of working memory that a thread takes; kept for the next call.
    pub fn scratch_bytes(&self) -> usize {
        let [spatial, dense] = self.scratch_lens().map(Aligned::bytes);
        2 * (spatial + dense)
    }

    /// Values of a spatial and of a dense activation, whichever mapping needs more.
    fn scratch_lens(&self) -> [usize; 2] {
        let width = self.simd.width();
        let (spatial, dense) = TileNetwork::activation_lens(&self.network);
        let (image_spatial, image_dense) = ImageNetwork::activation_lens(&self.network, width);
        [(spatial * width).max(image_spatial), (TILES * dense * width).max(IMAGES * image_dense)]
    }
}

/// One group of images through the whole network.
struct RunGroup<'a> {
    classifier: &'a Classifier,
    in_tiles: bool,
    scratch: &'a mut Scratch,
    images: &'a [u8],
    results: &'a mut [f32],
    softmax: bool,
}

impl Vectorised for RunGroup<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.classifier.images() {
            Some(network) if !self.in_tiles => network.run::<L>(self.scratch, self.images, self.results, self.softmax),
            _ => self.classifier.tiles().run::<L>(self.scratch, self.images, self.results, self.softmax),
        }
    }
}
