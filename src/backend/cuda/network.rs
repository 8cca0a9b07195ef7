//! Any network on the device: its layers as launches, what each of them takes along, and where its activations are.
//!
//! A convolution or dense layer takes the rectifier behind it along, a max pooling the normalisation beside it; what a concatenation joins
//! is written to its place in the whole. Activations lie in one arena, each from the launch that first writes to it to the last that reads
//! it: what is not needed any more is written over. Images go through in parts, so that the arena keeps within bounds.
//!
//! Where the network judges crops of an image, each crop goes through as an image of its own, whole images at a time; the probabilities
//! are the means over an image's crops. Below, a network without crops sees one of each image: all of it.

use super::Launcher;
use super::arena::{Life, Place, lay_out};
use super::average_crops::Crops;
use super::conv2d::{Conv2d, MAX_KERNEL};
use super::conv2d_images::{Conv2dImages, ImageSource};
use super::dense::Dense;
use super::launcher::check_len;
use super::lrn::Lrn;
use super::params::{Crop, LrnRule};
use super::pool::{Pool, Pooling};
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::network::{self, Network, Operation, Parameters, Shape, Window};
use cudarc::driver::CudaSlice;

/// What the arena may take, unless the crops of a single image take more.
const ARENA_BYTES: usize = 2 << 30;
/// Crops that make whole rounds of the largest dense layers on an H100: 4 tiles of images by 32 of 4096 outputs for its 132
/// multiprocessors.
const WHOLE_ROUNDS: usize = 1024;

/// A launch, by the numbers of layers and of the values that they read and write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planned {
    /// The network's input, for what is no convolution.
    Preprocess {
        out: usize,
    },
    /// A convolution of the images themselves.
    Images {
        layer: usize,
        rectify: bool,
        out: usize,
    },
    Conv2d {
        layer: usize,
        rectify: bool,
        input: usize,
        out: usize,
    },
    Dense {
        layer: usize,
        rectify: bool,
        input: usize,
        out: usize,
    },
    Pool {
        pooling: Pooling,
        pool: Pool,
        input: usize,
        out: usize,
    },
    Lrn {
        lrn: Lrn,
        input: usize,
        out: usize,
    },
    /// To its place in a concatenation, or rectified. `at` is where in `out`.
    Copy {
        input: usize,
        out: usize,
        at: usize,
        rectify: bool,
    },
}

impl Planned {
    fn reads(self) -> Option<usize> {
        match self {
            Planned::Preprocess { .. } | Planned::Images { .. } => None,
            Planned::Conv2d { input, .. }
            | Planned::Dense { input, .. }
            | Planned::Pool { input, .. }
            | Planned::Lrn { input, .. }
            | Planned::Copy { input, .. } => Some(input),
        }
    }

    fn writes(self) -> usize {
        match self {
            Planned::Preprocess { out }
            | Planned::Images { out, .. }
            | Planned::Conv2d { out, .. }
            | Planned::Dense { out, .. }
            | Planned::Pool { out, .. }
            | Planned::Lrn { out, .. }
            | Planned::Copy { out, .. } => out,
        }
    }
}

/// All launches of a network before the softmax, and where values are.
#[derive(Clone, Debug)]
struct Plan {
    launches: Vec<Planned>,
    /// For each value: the value whose storage it is in, and where there.
    homes: Vec<(usize, usize)>,
    /// For each value that has one of its own.
    storages: Vec<Option<Life>>,
    /// Where it begins in each crop's part of the arena.
    starts: Vec<usize>,
    /// What the softmax reads.
    logits: usize,
    /// Floats of the arena for each crop.
    image: usize,
}

/// The windows of a pooling over `input`.
pub(super) fn pooling(window: Window, input: Shape, output: Shape) -> Pooling {
    Pooling { input, output, kernel: window.kernel, stride: window.stride, padding: window.padding }
}

/// What a convolution reads and writes; `None` of another operation.
pub(super) fn geometry(operation: Operation, input: Shape, output: Shape) -> Option<Geometry> {
    match operation {
        Operation::Conv2d { kernel, stride, padding, groups, .. } => {
            Some(Geometry { input, output, kernel, stride, padding, groups })
        }
        _ => None,
    }
}

impl Plan {
    fn new(network: &Network) -> Plan {
        let (layers, shapes) = (&network.layers, network.shapes());
        let mut takers: Vec<Vec<usize>> = vec![Vec::new(); shapes.len()];
        for (index, layer) in layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&value| takers[value].push(index));
        }
        // The layer that alone takes `value`, if it is `wanted`.
        let follower = |value: usize, wanted: &dyn Fn(Operation) -> bool| match takers[value][..] {
            [only] if wanted(layers[only].operation) => Some(only),
            _ => None,
        };
        let is_relu = |operation| operation == Operation::Relu;
        let of_images = |layer: usize| {
            let is_whole = matches!(layers[layer].operation, Operation::Conv2d { groups: 1, .. });
            layers[layer].inputs == [0] && is_whole
        };

        let mut launches = Vec::new();
        if takers[0].iter().any(|&layer| !of_images(layer)) {
            launches.push(Planned::Preprocess { out: 0 });
        }
        let mut taken_along = vec![false; layers.len()];
        let mut homes: Vec<(usize, usize)> = (0..shapes.len()).map(|value| (value, 0)).collect();
        let mut logits = 0;
        for (index, layer) in layers.iter().enumerate() {
            if taken_along[index] {
                continue;
            }
            let (input, value) = (layer.inputs[0], index + 1);
            let shape = shapes[input];
            match layer.operation {
                Operation::Conv2d { .. } | Operation::Dense { .. } => {
                    let relu = follower(value, &is_relu);
                    relu.iter().for_each(|&relu| taken_along[relu] = true);
                    let (rectify, out) = (relu.is_some(), relu.map_or(value, |relu| relu + 1));
                    launches.push(match layer.operation {
                        Operation::Dense { .. } => Planned::Dense { layer: index, rectify, input, out },
                        _ if of_images(index) => Planned::Images { layer: index, rectify, out },
                        _ => Planned::Conv2d { layer: index, rectify, input, out },
                    });
                }
                Operation::MaxPool(window) => {
                    let pooling = pooling(window, shape, shapes[value]);
                    let lrn = follower(value, &|next| matches!(next, Operation::Lrn { .. })).and_then(|next| {
                        let Operation::Lrn { size, alpha, k } = layers[next].operation else { return None };
                        Some((next, Lrn::after_max_pool(LrnRule::new(size, alpha, k), pooling)?))
                    });
                    launches.push(match lrn {
                        Some((next, lrn)) => {
                            taken_along[next] = true;
                            Planned::Lrn { lrn, input, out: next + 1 }
                        }
                        None => Planned::Pool { pooling, pool: Pool::Max, input, out: value },
                    });
                }
                Operation::AveragePool { window, count_padding } => {
                    let pool = Pool::Average { count_padding };
                    let pooling = pooling(window, shape, shapes[value]);
                    launches.push(Planned::Pool { pooling, pool, input, out: value });
                }
                Operation::Lrn { size, alpha, k } => {
                    let rule = LrnRule::new(size, alpha, k);
                    let pooled = follower(value, &|next| matches!(next, Operation::MaxPool(_))).and_then(|next| {
                        let Operation::MaxPool(window) = layers[next].operation else { return None };
                        Some((next, Lrn::before_max_pool(rule, pooling(window, shape, shapes[next + 1]))?))
                    });
                    launches.push(match pooled {
                        Some((next, lrn)) => {
                            taken_along[next] = true;
                            Planned::Lrn { lrn, input, out: next + 1 }
                        }
                        None => Planned::Lrn { lrn: Lrn::Alone(rule, shape), input, out: value },
                    });
                }
                Operation::Relu => {
                    // In place, if nobody else wants what there was.
                    if takers[input].len() == 1 && homes[input] == (input, 0) {
                        homes[input] = (value, 0);
                    }
                    launches.push(Planned::Copy { input, out: value, at: 0, rectify: true });
                }
                Operation::Concat => {
                    let mut at = 0;
                    for &part in &layer.inputs {
                        // What is already part of another whole, or of none, cannot be written here: it is copied.
                        if part != 0 && homes[part] == (part, 0) {
                            homes[part] = (value, at);
                        } else {
                            launches.push(Planned::Copy { input: part, out: value, at, rectify: false });
                        }
                        at += shapes[part].len();
                    }
                }
                Operation::Softmax => logits = input,
            }
        }
        let none = vec![None; shapes.len()];
        let mut plan = Plan { launches, homes, storages: none, starts: Vec::new(), logits, image: 0 };
        plan.store(&shapes);
        plan
    }

    /// The value whose storage `value` is in, and where there.
    fn home(&self, mut value: usize) -> (usize, usize) {
        let mut start = 0;
        loop {
            let (whole, at) = self.homes[value];
            start += at;
            if whole == value {
                return (whole, start);
            }
            value = whole;
        }
    }

    /// Gives every whole value a place in the arena, the largest first, each the lowest that is free as long as it lives.
    fn store(&mut self, shapes: &[Shape]) {
        let end = self.launches.len();
        let uses = self.launches.iter().enumerate();
        let uses = uses
            .flat_map(|(number, launch)| launch.reads().into_iter().chain([launch.writes()]).map(move |v| (number, v)));
        for (number, value) in uses.chain([(end, self.logits)]).collect::<Vec<_>>() {
            let (whole, _) = self.home(value);
            let new = Life { len: shapes[whole].len(), first: number, last: number };
            self.storages[whole].get_or_insert(new).last = number;
        }
        (self.starts, self.image) = lay_out(&self.storages);
    }

    /// Where `value` is in an arena for `capacity` crops.
    fn place(&self, value: usize, capacity: usize) -> Place {
        let (whole, at) = self.home(value);
        let storage = self.storages[whole].expect("a value that a launch uses has a storage");
        Place { start: self.starts[whole] * capacity + at, image: storage.len }
    }
}

/// A launch with what it takes from the device.
#[derive(Debug)]
enum Step {
    Preprocess(Place),
    Images(Conv2dImages, Place),
    Conv2d(Conv2d, Place, Place),
    Dense(Dense, Place, Place),
    Pool(Pooling, Pool, Place, Place),
    Lrn(Lrn, Place, Place),
    /// So many values.
    Copy {
        len: usize,
        rectify: bool,
        out: Place,
        input: Place,
    },
}

/// A network on the device, and what is between its layers.
#[derive(Debug)]
pub struct DeviceNetwork {
    pub n_classes: usize,
    source: ImageSource,
    steps: Vec<Step>,
    logits: Place,
    /// `(capacity)` crops, each value's one after the other.
    arena: CudaSlice<f32>,
    /// `(n_classes, capacity)`: the probabilities of each crop, where there are several of an image.
    of_crops: Option<CudaSlice<f32>>,
    /// Crops that go through at once: those of so many whole images.
    capacity: usize,
}

/// The crops that the network sees of each image, as the kernels take them; one at least.
fn crops(network: &Network) -> Vec<Crop> {
    let crossing =
        |&network::Crop { x, y, mirror }: &network::Crop| Crop { x: x as u32, y: y as u32, mirror: u32::from(mirror) };
    match &network.crops[..] {
        [] => vec![Crop::default()],
        crops => crops.iter().map(crossing).collect(),
    }
}

/// What the network's parameters are on the device: as the CPU has them, -0 among the biases is 0, so that the padding's zeros change no
/// bit.
pub(super) fn canonical(parameters: &Parameters) -> Parameters {
    let bias = parameters.bias.iter().map(|&bias| bias + 0.0).collect();
    Parameters { weight: parameters.weight.clone(), bias }
}

/// The number among [`Network::parameters`] of each layer's; of those that have none, of the next that has.
pub(super) fn parameter_numbers(network: &Network) -> Vec<usize> {
    let mut next = 0;
    let number = |has_weights: bool| {
        next += usize::from(has_weights);
        next - usize::from(has_weights)
    };
    network.layers.iter().map(|layer| layer.operation.has_weights()).map(number).collect()
}

impl DeviceNetwork {
    /// Whether the kernels take `network`.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the layer that they do not take.
    pub fn check(network: &Network) -> Result<()> {
        for layer in &network.layers {
            if let Operation::Conv2d { kernel, .. } = layer.operation
                && kernel > MAX_KERNEL
            {
                return Err(Error::NoDevice {
                    reason: format!(
                        "the network {:?} runs on the CPU alone, with --device cpu: layer {:?} has a {kernel}x{kernel} kernel, the \
                         GPU's take {MAX_KERNEL}x{MAX_KERNEL}",
                        network.name, layer.name
                    ),
                });
            }
        }
        Ok(())
    }

    /// Crops that go through `network` at once where there are `most` images: those of whole images, of one at least.
    pub fn capacity(network: &Network, most: usize) -> usize {
        let n_crops = network.n_crops();
        let fits = ARENA_BYTES / size_of::<f32>() / Plan::new(network).image;
        let fits = if fits >= WHOLE_ROUNDS { fits / WHOLE_ROUNDS * WHOLE_ROUNDS } else { fits };
        (fits / n_crops).min(most).max(1) * n_crops
    }

    /// Bytes on the device for each crop that goes through at once: the arena's, and where there are several of an image, the
    /// probabilities'.
    pub fn crop_bytes(network: &Network) -> usize {
        let of_crops = if network.n_crops() > 1 { network.classes.len() } else { 0 };
        (Plan::new(network).image + of_crops) * size_of::<f32>()
    }

    /// Bytes on the device of all that does not depend on how many crops go through at once.
    pub fn bytes(network: &Network) -> usize {
        let (plan, shapes) = (Plan::new(network), network.shapes());
        let of = |launch: &Planned| match *launch {
            Planned::Images { layer, .. } | Planned::Conv2d { layer, .. } => {
                let operation = network.layers[layer].operation;
                let input = shapes[network.layers[layer].inputs[0]];
                let geometry = geometry(operation, input, shapes[layer + 1]).expect("a convolution");
                match launch {
                    Planned::Images { .. } => Conv2dImages::bytes(&geometry),
                    _ => Conv2d::bytes(&geometry),
                }
            }
            Planned::Dense { layer, input, .. } => Dense::bytes(shapes[input].len(), shapes[layer + 1].len()),
            _ => 0,
        };
        ImageSource::bytes(network.input, network.n_crops()) + plan.launches.iter().map(of).sum::<usize>()
    }

    /// Brings `network` to the device, for `capacity` crops at once.
    ///
    /// # Errors
    /// Those of [`DeviceNetwork::check`]; [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If they are not those of whole images.
    pub fn new(launcher: &Launcher, network: &Network, capacity: usize) -> Result<DeviceNetwork> {
        DeviceNetwork::check(network)?;
        let (n_crops, n_classes) = (network.n_crops(), network.classes.len());
        assert!(
            capacity > 0 && capacity.is_multiple_of(n_crops),
            "{capacity} crops of images that have {n_crops} each"
        );
        let (plan, shapes, numbers) = (Plan::new(network), network.shapes(), parameter_numbers(network));
        let preprocess = &network.preprocess;
        let source = ImageSource::new(
            launcher,
            network.input,
            network.given(),
            preprocess.channel_order,
            &preprocess.scale[..network.input.channels],
            &preprocess.mean,
            &crops(network),
        )?;
        let place = |value: usize| plan.place(value, capacity);
        let geometry_of = |layer: usize| {
            let input = shapes[network.layers[layer].inputs[0]];
            geometry(network.layers[layer].operation, input, shapes[layer + 1]).expect("a convolution")
        };
        let parameters = |layer: usize| canonical(&network.parameters[numbers[layer]]);
        let step = |launch: &Planned| -> Result<Step> {
            Ok(match *launch {
                Planned::Preprocess { out } => Step::Preprocess(place(out)),
                Planned::Images { layer, rectify, out } => {
                    let convolution =
                        Conv2dImages::new(launcher, geometry_of(layer), &parameters(layer), &source, rectify)?;
                    Step::Images(convolution, place(out))
                }
                Planned::Conv2d { layer, rectify, input, out } => {
                    let convolution = Conv2d::new(launcher, geometry_of(layer), &parameters(layer), rectify)?;
                    Step::Conv2d(convolution, place(out), place(input))
                }
                Planned::Dense { layer, rectify, input, out } => {
                    let dense = Dense::new(launcher, shapes[input].len(), &parameters(layer), rectify)?;
                    Step::Dense(dense, place(out), place(input))
                }
                Planned::Pool { pooling, pool, input, out } => Step::Pool(pooling, pool, place(out), place(input)),
                Planned::Lrn { lrn, input, out } => Step::Lrn(lrn, place(out), place(input)),
                Planned::Copy { input, out, at, rectify } => {
                    let whole = place(out);
                    let out = Place { start: whole.start + at, ..whole };
                    Step::Copy { len: shapes[input].len(), rectify, out, input: place(input) }
                }
            })
        };
        Ok(DeviceNetwork {
            n_classes,
            steps: plan.launches.iter().map(step).collect::<Result<_>>()?,
            logits: place(plan.logits),
            arena: launcher.zeros(capacity * plan.image)?,
            of_crops: if n_crops > 1 { Some(launcher.zeros(n_classes * capacity)?) } else { None },
            capacity,
            source,
        })
    }
}

impl Launcher {
    /// Runs `network`: writes the probabilities of `batch` images, `(n_classes, stride)`, of each row the first `batch`: the means over
    /// its crops.
    ///
    /// `images` is `(batch, height, width, channels)` of what the network is [given](Network::given). Returns before the device has
    /// finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses a launch.
    pub fn run_network(
        &self,
        probabilities: &mut CudaSlice<f32>,
        network: &mut DeviceNetwork,
        images: &CudaSlice<u8>,
        batch: usize,
        stride: usize,
    ) -> Result<()> {
        let DeviceNetwork { n_classes, source, steps, logits, arena, of_crops, capacity } = network;
        check_len("images", images, batch * source.image.len())?;
        let n_crops = source.n_crops();
        let at_once = *capacity / n_crops;
        for first in (0..batch).step_by(at_once) {
            let n_images = (batch - first).min(at_once);
            let n = n_images * n_crops;
            for step in &*steps {
                match step {
                    Step::Preprocess(out) => self.preprocess(arena, source, *out, images, first, n),
                    Step::Images(layer, out) => self.conv2d_images(arena, layer, source, *out, images, first, n),
                    Step::Conv2d(layer, out, input) => self.conv2d(arena, layer, *out, *input, n),
                    Step::Dense(layer, out, input) => self.dense(arena, layer, *out, *input, n),
                    Step::Pool(pooling, pool, out, input) => self.pool(arena, pooling, *pool, *out, *input, n),
                    Step::Lrn(lrn, out, input) => self.lrn(arena, lrn, *out, *input, n),
                    Step::Copy { len, rectify, out, input } => self.copy(arena, *out, *input, *len, n, *rectify),
                }?;
            }
            match of_crops {
                None => self.softmax(probabilities, stride, first, *n_classes, arena, *logits, n)?,
                Some(of_crops) => {
                    self.softmax(of_crops, *capacity, 0, *n_classes, arena, *logits, n)?;
                    let each = Crops { probabilities: of_crops, stride: *capacity, n_crops };
                    self.average_crops(probabilities, stride, first, *n_classes, each, n_images)?;
                }
            }
        }
        Ok(())
    }
}
