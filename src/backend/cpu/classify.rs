//! Classification of a batch: preprocessing and every layer, in parallel over groups of images.
//!
//! ```text
//! out  probabilities or logits  (batch, n_classes) f32
//! in   images                   (batch, height, width, channels) u8
//! ```
//!
//! Where the network judges crops of an image, the probabilities are their mean; where it has a committee, what all of it say together.
//!
//! Mapping   a small chain of layers: whole tiles, an image a lane ([`super::tile`]); what is left over where threads would wait for
//!           one another goes image by image, a channel a lane ([`super::image`]). Any other network: [`super::graph`].
//! Numbers   exact: an image's result depends on the image and the weights only, not on its place, the batch, the mapping,
//!           the width of the vectors or the threads.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

use super::conv2d::Geometry;
use super::graph::{GraphNetwork, Plan, Threads};
use super::image::{IMAGES, ImageNetwork};
use super::tile::{TILES, TileNetwork};
use super::{conv2d, dense, image};
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::network::{Combine, Network, Operation, Shape};
use crate::simd::{Aligned, Lanes, Simd, Vectorised};
use crate::telemetry;

/// The most values of an image's activation, and of weights, with which a network goes tile by tile: a tile of 16 images then fits a
/// second-level cache, and so do the weights that all tiles read.
const MAX_TILE_ACTIVATION: usize = 8 << 10;
const MAX_TILE_WEIGHTS: usize = 2 << 20;

/// The most images, or crops, of a group that a thread takes through a graph at once, so that the dense layers read their weights once for them.
const GRAPH_GROUP: usize = 64;

/// Which kernels a network goes through; nothing of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Tile by tile, and image by image what is left: for a small chain.
    Tiles,
    /// Image by image: for any network.
    Graph,
}

/// A network ready to classify: weights packed for each mapping when it is first used.
#[derive(Debug)]
pub struct Classifier {
    simd: Simd,
    network: Arc<Network>,
    mapping: Mapping,
    graph: OnceLock<GraphNetwork>,
    tiles: OnceLock<TileNetwork>,
    /// `None` if the network's layers do not divide into vectors.
    images: OnceLock<Option<ImageNetwork>>,
    scratch: Mutex<Vec<Scratch>>,
    committee: Option<Companions>,
}

/// Networks that judge with another one.
#[derive(Debug)]
struct Companions {
    others: Vec<Classifier>,
    rule: Combine,
    /// What one of them says of a group, a buffer each thread.
    rows: Mutex<Vec<Vec<f32>>>,
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
        let is_small = network.crops.is_empty() && TileNetwork::takes(&network) && {
            let (spatial, dense) = TileNetwork::activation_lens(&network);
            let weights: usize = network.parameters.iter().map(|layer| layer.weight.len()).sum();
            spatial.max(dense) <= MAX_TILE_ACTIVATION && weights <= MAX_TILE_WEIGHTS
        };
        Classifier::with_mapping(network, simd, if is_small { Mapping::Tiles } else { Mapping::Graph })
    }

    /// As [`Classifier::new`], by way of `mapping`.
    ///
    /// # Panics
    /// If the tiles' kernels do not [take](TileNetwork::takes) the network, or it judges crops.
    pub fn with_mapping(network: Arc<Network>, simd: Simd, mapping: Mapping) -> Classifier {
        let takes = network.crops.is_empty() && TileNetwork::takes(&network);
        assert!(mapping == Mapping::Graph || takes, "a network for tiles");
        let committee = network.committee.as_ref().map(|committee| Companions {
            others: committee.others.iter().map(|other| Classifier::new(Arc::clone(other), simd)).collect(),
            rule: committee.rule,
            rows: Mutex::new(Vec::new()),
        });
        Classifier {
            simd,
            network,
            mapping,
            graph: OnceLock::new(),
            tiles: OnceLock::new(),
            images: OnceLock::new(),
            scratch: Mutex::new(Vec::new()),
            committee,
        }
    }

    /// Those of its committee.
    fn others(&self) -> impl Iterator<Item = &Classifier> {
        self.committee.iter().flat_map(|committee| &committee.others)
    }

    /// Whether the network, packed, and the activations of `threads` threads fit into this machine's memory.
    ///
    /// # Errors
    /// [`Error::Refused`] if they do not.
    pub fn check(&self, threads: usize) -> Result<()> {
        let name = &self.network.name;
        if std::iter::once(self).chain(self.others()).any(|one| one.mapping == Mapping::Graph && !one.plan().fits()) {
            return Err(Error::Refused(format!(
                "network {name:?}: an activation has more values than 32 bits can number"
            )));
        }
        let bytes = (self.network.bytes() + self.packed_bytes() + threads * self.scratch_bytes()) as u64;
        match telemetry::memory_limit().map(telemetry::usable) {
            Some(usable) if bytes > usable => Err(Error::Refused(format!(
                "network {name:?} may take {} of memory with {threads} threads, {} can be used; fewer --threads take less",
                bytes_text(bytes),
                bytes_text(usable)
            ))),
            _ => Ok(()),
        }
    }

    /// What each layer makes of one `image`: see [`GraphNetwork::activations`].
    pub fn activations(&self, image: &[u8], visit: &mut dyn FnMut(usize, Shape, &[f32])) {
        self.graph().activations(image, visit);
    }

    fn plan(&self) -> Plan {
        Plan::new(&self.network, self.simd)
    }

    fn graph(&self) -> &GraphNetwork {
        self.graph.get_or_init(|| GraphNetwork::new(&self.network, self.simd))
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.network.classes.len()
    }

    /// Shape of an image: `height * width * channels` bytes.
    pub fn given(&self) -> Shape {
        self.network.given()
    }

    /// Probabilities of a batch of any size: `images` is `(batch, height, width, channels)` bytes, `probabilities`
    /// `(batch, n_classes)`. Runs on rayon's current pool.
    ///
    /// # Panics
    /// If the lengths are not those.
    pub fn classify(&self, images: &[u8], probabilities: &mut [f32]) {
        self.run(images, probabilities, true);
        let Some(Companions { others, rule, .. }) = &self.committee else { return };
        let mut next = vec![0.0; probabilities.len()];
        for (place, other) in others.iter().enumerate() {
            other.run(images, &mut next, true);
            join(*rule, probabilities, &next, rule.divisor(place + 1, others.len() + 1));
        }
    }

    /// As [`Classifier::classify`], but what goes into the softmax, of the network alone.
    pub fn logits(&self, images: &[u8], logits: &mut [f32]) {
        self.run(images, logits, false);
    }

    /// Shares out a batch of `batch` images among rayon's current threads: groups in the order in which threads should take
    /// them. A thread gets pairs of tiles as long as every thread gets one, then tiles likewise. What remains takes a tile
    /// more, or goes image by image where that is shorter: by itself an image costs one and a half lanes of a tile (measured
    /// with LeNet: 1.4 for four images, 2 for one). Groups hold multiples of `multiple`, 1 or 2, images, but for the last.
    pub fn groups(&self, batch: usize, multiple: usize) -> Vec<Group> {
        self.others().for_each(Classifier::pack);
        let (width, threads) = (self.simd.width(), rayon::current_num_threads());
        if self.mapping == Mapping::Graph {
            self.graph();
            // Four turns for each thread, so that they end together.
            let most = (GRAPH_GROUP / self.network.n_crops()).max(1);
            let each = (batch / (4 * threads)).clamp(1, most).next_multiple_of(multiple);
            let starts = (0..batch).step_by(each);
            return starts.map(|start| Group { images: start..(start + each).min(batch), in_tiles: false }).collect();
        }
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
        let Some(Companions { others, rule, rows }) = &self.committee else { return };
        let spare = rows.lock().expect("no panic while held").pop();
        let mut next = spare.unwrap_or_else(|| Vec::with_capacity(self.rows_len()));
        next.clear();
        next.resize(probabilities.len(), 0.0);
        let image_len = self.given().len();
        for (place, other) in others.iter().enumerate() {
            // A group of this network's may be more than the tiles of another take.
            let most = if other.mapping == Mapping::Graph { usize::MAX } else { TILES * self.simd.width() };
            let n = most.min(images.len() / image_len).max(1);
            let parts = images.chunks(n * image_len).zip(next.chunks_mut(n * self.n_classes()));
            parts.for_each(|(images, next)| other.run_group(true, images, next, true));
            join(*rule, probabilities, &next, rule.divisor(place + 1, others.len() + 1));
        }
        rows.lock().expect("no panic while held").push(next);
    }

    /// Packs what groups in tiles need: packing is itself parallel, and must not wait for threads that wait for it.
    fn pack(&self) {
        match self.mapping {
            Mapping::Graph => _ = self.graph(),
            Mapping::Tiles => _ = self.tiles(),
        }
    }

    /// Most probabilities of a group.
    fn rows_len(&self) -> usize {
        let images = if self.mapping == Mapping::Graph { GRAPH_GROUP } else { IMAGES.max(TILES * self.simd.width()) };
        (images + 1) * self.n_classes()
    }

    fn tiles(&self) -> &TileNetwork {
        self.tiles.get_or_init(|| TileNetwork::new(&self.network))
    }

    fn images(&self) -> Option<&ImageNetwork> {
        self.images.get_or_init(|| ImageNetwork::new(&self.network, self.simd.width())).as_ref()
    }

    fn run(&self, images: &[u8], results: &mut [f32], softmax: bool) {
        let (image_len, n_classes) = (self.given().len(), self.n_classes());
        assert_eq!(images.len() % image_len, 0, "images of {image_len} bytes");
        let batch = images.len() / image_len;
        assert_eq!(results.len(), batch * n_classes, "{n_classes} results an image");
        if self.mapping == Mapping::Graph {
            return self.graph().run(images, results, softmax, Threads::All);
        }
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
        if self.mapping == Mapping::Graph {
            return self.graph().run(images, results, softmax, Threads::This);
        }
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

    /// Most bytes of the packed weights, of all that judge: of tiles and of what is left, or of the graph.
    pub fn packed_bytes(&self) -> usize {
        self.own_packed_bytes() + self.others().map(Classifier::own_packed_bytes).sum::<usize>()
    }

    fn own_packed_bytes(&self) -> usize {
        if self.mapping == Mapping::Graph {
            return self.plan().packed_bytes(&self.network) + size_of_val(&self.network.preprocess.mean[..]);
        }
        let (width, shapes) = (self.simd.width(), self.network.shapes());
        let layers = self.network.layers.iter().zip(shapes.windows(2));
        let weights = layers.map(|(layer, pair)| {
            let (input, output) = (pair[0], pair[1]);
            match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    conv2d::PackedConv2d::bytes(&geometry) + image::conv2d::PackedConv2d::bytes(&geometry, width)
                }
                Operation::Dense { .. } => {
                    let (k, features) = (input.len(), output.len());
                    dense::PackedDense::bytes(k, features) + image::dense::PackedDense::bytes(k, features, width)
                }
                _ => 0,
            }
        });
        weights.sum::<usize>() + 2 * size_of_val(&self.network.preprocess.mean[..])
    }

    /// Bytes of working memory that a thread takes, of all that judge; kept for the next call.
    pub fn scratch_bytes(&self) -> usize {
        let rows = if self.committee.is_some() { self.rows_len() * size_of::<f32>() } else { 0 };
        self.own_scratch_bytes() + self.others().map(Classifier::own_scratch_bytes).sum::<usize>() + rows
    }

    fn own_scratch_bytes(&self) -> usize {
        if self.mapping == Mapping::Graph {
            // The features of a whole chunk, though threads that take a group each have fewer.
            let plan = self.plan();
            let softmax = self.n_classes() * self.simd.width() * size_of::<f32>();
            let chunk = plan.chunk().max(self.network.n_crops());
            return plan.scratch_bytes() + plan.chunk_bytes() + chunk * plan.image_bytes() + softmax;
        }
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

/// Joins what the `next` network says to what those before say `together`.
fn join(rule: Combine, together: &mut [f32], next: &[f32], divisor: f32) {
    together.iter_mut().zip(next).for_each(|(together, &next)| *together = rule.join(*together, next, divisor));
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
