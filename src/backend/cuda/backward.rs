//! The way through any network and back, on the device: forward launches whose values stay as long as the way back needs them, backward
//! launches, and where values and their gradients are. The rules: [`crate::network::gradient`].
//!
//! What the first layer takes is there already, f32 in its place in the arena; the caller writes the gradient of the logits between both
//! ways. Forward, a convolution or dense layer takes the rectifier behind it along, parts of a concatenation are written to their place
//! in the whole; poolings and normalisations run by themselves, since the way back asks for what they took. Backward, a rectifier
//! works in place, and the gradient of a part of a concatenation is a part of the gradient of the whole, where nobody else takes it.
//!
//! Values and gradients lie in one arena, each from the launch that first writes it to the last that reads it. At what [`Event`] names, the
//! caller may launch what else it has to do: this is how weights get their gradients, and how values are dropped.

use super::arena::{Life, Place, lay_out};
use super::conv2d::Conv2d;
use super::conv2d_backward::{Conv2dBackward, dense_backward};
use super::dense::Dense;
use super::depth_to_space::DepthToSpace;
use super::launcher::Launcher;
use super::lrn::Lrn;
use super::lrn_backward::LrnBackward;
use super::network::{DeviceNetwork, canonical, geometry, parameter_numbers, pooling};
use super::pool::{Pool, Pooling};
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::network::{Network, Operation, Shape};
use cudarc::driver::CudaSlice;

/// What the way back is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The gradient of the network's input.
    pub input: bool,
    /// An [`Event::Weights`] for each layer that has some.
    pub weights: bool,
    /// Values that are dropped at random in part: 0 is the network's input, `i + 1` what layer `i` gives. An [`Event::Dropout`] each,
    /// forward and backward.
    pub dropped: Vec<usize>,
}

/// Where the caller has something to launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `len` values of each image, of value `value`, have just been written forward, or their gradient is complete: whichever stands at
    /// `place`. All that take it, take it as the caller leaves it.
    Dropout { value: usize, place: Place, len: usize, is_gradient: bool },
    /// Layer `layer` has taken what stands at `input`; the gradient of what it gives, before any rectifier, is complete at `gradient`.
    Weights { layer: usize, input: Place, gradient: Place },
}

/// A thing in the arena: a value, the gradient of one, or what a launch leaves to the next.
type Item = usize;

/// A launch, by the numbers of layers and items.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Planned {
    /// The caller writes the network's input.
    Input {
        out: Item,
    },
    Conv2d {
        layer: usize,
        rectify: bool,
        input: Item,
        out: Item,
    },
    Dense {
        layer: usize,
        rectify: bool,
        input: Item,
        out: Item,
    },
    Pool {
        pooling: Pooling,
        pool: Pool,
        input: Item,
        out: Item,
    },
    Lrn {
        lrn: Lrn,
        input: Item,
        out: Item,
    },
    /// `len` values from `from` of `input` to `at` of `out`.
    Copy {
        input: Item,
        from: usize,
        out: Item,
        at: usize,
        len: usize,
        rectify: bool,
    },
    /// Of value `value`.
    Dropout {
        value: usize,
        item: Item,
        is_gradient: bool,
    },
    /// The end of the way forward.
    Softmax {
        input: Item,
    },
    /// The caller writes the gradient of the logits, and may read them.
    Objective {
        logits: Item,
        out: Item,
    },
    ReluBackward {
        value: Item,
        gradient: Item,
        out: Item,
    },
    PoolBackward {
        pooling: Pooling,
        pool: Pool,
        value: Option<Item>,
        gradient: Item,
        out: Item,
    },
    LrnBackward {
        lrn: LrnBackward,
        value: Item,
        gradient: Item,
        out: Item,
    },
    /// To the gradient of the layer's input, or to its phases.
    Conv2dBackward {
        layer: usize,
        gradient: Item,
        out: Item,
    },
    DepthToSpace {
        phases: DepthToSpace,
        input: Item,
        out: Item,
    },
    DenseBackward {
        layer: usize,
        gradient: Item,
        out: Item,
    },
    /// `len` values from `from` of `next` to those of `sum`.
    Add {
        sum: Item,
        next: Item,
        from: usize,
        len: usize,
    },
    Weights {
        layer: usize,
        input: Item,
        gradient: Item,
    },
    /// The caller reads the gradient of the network's input.
    Output {
        input: Item,
    },
}

impl Planned {
    /// What it reads or writes, as far as there is that.
    fn uses(self) -> [Option<Item>; 3] {
        match self {
            Planned::Input { out } => [None, None, Some(out)],
            Planned::Objective { logits, out } => [Some(logits), None, Some(out)],
            Planned::Softmax { input } | Planned::Output { input } => [Some(input), None, None],
            Planned::Dropout { item, .. } => [Some(item), None, None],
            Planned::Conv2d { input, out, .. }
            | Planned::Dense { input, out, .. }
            | Planned::Pool { input, out, .. }
            | Planned::Lrn { input, out, .. }
            | Planned::Copy { input, out, .. }
            | Planned::DepthToSpace { input, out, .. } => [Some(input), None, Some(out)],
            Planned::ReluBackward { value, gradient, out } | Planned::LrnBackward { value, gradient, out, .. } => {
                [Some(value), Some(gradient), Some(out)]
            }
            Planned::PoolBackward { value, gradient, out, .. } => [value, Some(gradient), Some(out)],
            Planned::Conv2dBackward { gradient, out, .. } | Planned::DenseBackward { gradient, out, .. } => {
                [Some(gradient), None, Some(out)]
            }
            Planned::Add { sum, next, .. } => [Some(sum), Some(next), None],
            Planned::Weights { input, gradient, .. } => [Some(input), Some(gradient), None],
        }
    }
}

/// All launches of a network, there and back, and where things are.
#[derive(Clone, Debug)]
struct Plan {
    launches: Vec<Planned>,
    shapes: Vec<Shape>,
    /// For each item: the item whose storage it is in, and where there. Values are 0..n, the gradient of value v is n + v.
    homes: Vec<(Item, usize)>,
    /// Floats of an image.
    lens: Vec<usize>,
    /// For each item that has a storage of its own.
    lives: Vec<Option<Life>>,
    starts: Vec<usize>,
    /// What the softmax reads.
    logits: Item,
    /// Floats of the arena for each image.
    image: usize,
}

/// What a layer sends to a value it took, once a place is known.
type Send<'a> = &'a dyn Fn(Item) -> Planned;

impl Plan {
    fn new(network: &Network, wanted: &Wanted) -> Plan {
        let shapes = network.shapes();
        let mut lens: Vec<usize> = shapes.iter().map(Shape::len).collect();
        lens.extend_from_within(..);
        let mut plan = Plan {
            launches: vec![Planned::Input { out: 0 }],
            homes: (0..lens.len()).map(|item| (item, 0)).collect(),
            lens,
            lives: Vec::new(),
            starts: Vec::new(),
            logits: 0,
            image: 0,
            shapes,
        };
        let mut takers: Vec<Vec<usize>> = vec![Vec::new(); plan.shapes.len()];
        for (index, layer) in network.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&value| takers[value].push(index));
        }
        plan.forward(network, wanted, &takers);
        plan.backward(network, wanted, &takers);
        plan.store();
        plan
    }

    /// The item that is the gradient of `value`.
    fn gradient(&self, value: usize) -> Item {
        self.shapes.len() + value
    }

    fn forward(&mut self, network: &Network, wanted: &Wanted, takers: &[Vec<usize>]) {
        let layers = &network.layers;
        let is_dropped = |value: usize| wanted.dropped.contains(&value);
        if is_dropped(0) {
            self.launches.push(Planned::Dropout { value: 0, item: 0, is_gradient: false });
        }
        let mut taken_along = vec![false; layers.len()];
        for (index, layer) in layers.iter().enumerate() {
            let (input, value) = (layer.inputs[0], index + 1);
            let (from, to) = (self.shapes[input], self.shapes[value]);
            match layer.operation {
                _ if taken_along[index] => {}
                Operation::Conv2d { .. } | Operation::Dense { .. } => {
                    let relu = match takers[value][..] {
                        [only] if layers[only].operation == Operation::Relu && !is_dropped(value) => Some(only),
                        _ => None,
                    };
                    relu.iter().for_each(|&relu| taken_along[relu] = true);
                    let (rectify, out) = (relu.is_some(), relu.map_or(value, |relu| relu + 1));
                    self.launches.push(match layer.operation {
                        Operation::Dense { .. } => Planned::Dense { layer: index, rectify, input, out },
                        _ => Planned::Conv2d { layer: index, rectify, input, out },
                    });
                    if rectify && is_dropped(out) {
                        self.launches.push(Planned::Dropout { value: out, item: out, is_gradient: false });
                    }
                }
                Operation::MaxPool(window) => {
                    let pooling = pooling(window, from, to);
                    self.launches.push(Planned::Pool { pooling, pool: Pool::Max, input, out: value });
                }
                Operation::AveragePool { window, count_padding } => {
                    let (pooling, pool) = (pooling(window, from, to), Pool::Average { count_padding });
                    self.launches.push(Planned::Pool { pooling, pool, input, out: value });
                }
                Operation::Lrn { size, alpha, k } => {
                    let lrn = Lrn::Alone(LrnBackward::new(size, alpha, k, from).rule, from);
                    self.launches.push(Planned::Lrn { lrn, input, out: value });
                }
                Operation::Relu => {
                    // In place, if nobody else wants what there was: the way back asks for what a rectifier gives.
                    if input != 0 && takers[input].len() == 1 && self.homes[input] == (input, 0) {
                        self.homes[input] = (value, 0);
                    }
                    let len = from.len();
                    self.launches.push(Planned::Copy { input, from: 0, out: value, at: 0, len, rectify: true });
                }
                Operation::Concat => {
                    let mut at = 0;
                    for &part in &layer.inputs {
                        let len = self.lens[part];
                        // What is already part of another whole, or of none, cannot be written here: it is copied. So is what is to
                        // stay whole where the whole is dropped in part.
                        if part != 0 && self.homes[part] == (part, 0) && !is_dropped(value) {
                            self.homes[part] = (value, at);
                        } else {
                            self.launches.push(Planned::Copy {
                                input: part,
                                from: 0,
                                out: value,
                                at,
                                len,
                                rectify: false,
                            });
                        }
                        at += len;
                    }
                }
                Operation::Softmax => {
                    self.logits = input;
                    self.launches.push(Planned::Softmax { input });
                    self.launches.push(Planned::Objective { logits: input, out: self.gradient(input) });
                }
            }
            if !taken_along[index] && is_dropped(value) {
                self.launches.push(Planned::Dropout { value, item: value, is_gradient: false });
            }
        }
    }

    fn backward(&mut self, network: &Network, wanted: &Wanted, takers: &[Vec<usize>]) {
        let layers = &network.layers;
        // Whether the gradient of each value is of use.
        let mut needed = vec![wanted.input];
        for layer in layers {
            let of_weights = wanted.weights && layer.operation.has_weights();
            needed.push(of_weights || layer.inputs.iter().any(|&input| needed[input]));
        }
        // Whether something has been sent to each value.
        let mut sent = vec![false; needed.len()];
        sent[self.logits] = true;
        for (index, layer) in layers.iter().enumerate().rev() {
            let value = index + 1;
            if !needed[value] || layer.operation == Operation::Softmax {
                continue;
            }
            let gradient = self.gradient(value);
            if wanted.dropped.contains(&value) {
                self.launches.push(Planned::Dropout { value, item: gradient, is_gradient: true });
            }
            let input = layer.inputs[0];
            let (from, to) = (self.shapes[input], self.shapes[value]);
            if wanted.weights && layer.operation.has_weights() {
                self.launches.push(Planned::Weights { layer: index, input, gradient });
            }
            if layer.operation != Operation::Concat && !needed[input] {
                continue;
            }
            match layer.operation {
                Operation::Conv2d { .. } => {
                    let forward = geometry(layer.operation, from, to).expect("a convolution");
                    let Conv2dBackward { geometry, phases, .. } = Conv2dBackward::new(forward);
                    match phases {
                        None => {
                            self.send(&mut sent, input, &|out| Planned::Conv2dBackward { layer: index, gradient, out })
                        }
                        Some(phases) => {
                            let between = self.temporary(geometry.output.len());
                            self.launches.push(Planned::Conv2dBackward { layer: index, gradient, out: between });
                            self.send(&mut sent, input, &|out| Planned::DepthToSpace { phases, input: between, out });
                        }
                    }
                }
                Operation::Dense { .. } => {
                    self.send(&mut sent, input, &|out| Planned::DenseBackward { layer: index, gradient, out });
                }
                Operation::MaxPool(window) => {
                    let (pooling, pool, value) = (pooling(window, from, to), Pool::Max, Some(input));
                    self.send(&mut sent, input, &|out| Planned::PoolBackward { pooling, pool, value, gradient, out });
                }
                Operation::AveragePool { window, count_padding } => {
                    let (pooling, pool) = (pooling(window, from, to), Pool::Average { count_padding });
                    self.send(&mut sent, input, &|out| Planned::PoolBackward {
                        pooling,
                        pool,
                        value: None,
                        gradient,
                        out,
                    });
                }
                Operation::Lrn { size, alpha, k } => {
                    let lrn = LrnBackward::new(size, alpha, k, from);
                    self.send(&mut sent, input, &|out| Planned::LrnBackward { lrn, value: input, gradient, out });
                }
                Operation::Relu => {
                    if takers[input].len() == 1 {
                        let to = self.gradient(input);
                        self.homes[to] = (gradient, 0);
                        sent[input] = true;
                        self.launches.push(Planned::ReluBackward { value, gradient, out: to });
                    } else {
                        self.send(&mut sent, input, &|out| Planned::ReluBackward { value, gradient, out });
                    }
                }
                Operation::Concat => {
                    let mut end = to.len();
                    for &part in layer.inputs.iter().rev() {
                        let len = self.lens[part];
                        end -= len;
                        if !needed[part] {
                            continue;
                        }
                        let of_part = self.gradient(part);
                        if takers[part].len() == 1 {
                            self.homes[of_part] = (gradient, end);
                        } else if sent[part] {
                            self.launches.push(Planned::Add { sum: of_part, next: gradient, from: end, len });
                        } else {
                            let (input, from, out) = (gradient, end, of_part);
                            self.launches.push(Planned::Copy { input, from, out, at: 0, len, rectify: false });
                        }
                        sent[part] = true;
                    }
                }
                Operation::Softmax => unreachable!("left out above"),
            }
        }
        if wanted.input {
            let input = self.gradient(0);
            if wanted.dropped.contains(&0) {
                self.launches.push(Planned::Dropout { value: 0, item: input, is_gradient: true });
            }
            self.launches.push(Planned::Output { input });
        }
    }

    /// Lets a layer send what `launch` makes to `value`: the first to send writes it, what others send is added.
    fn send(&mut self, sent: &mut [bool], value: usize, launch: Send) {
        let sum = self.gradient(value);
        if std::mem::replace(&mut sent[value], true) {
            let len = self.lens[value];
            let next = self.temporary(len);
            self.launches.extend([launch(next), Planned::Add { sum, next, from: 0, len }]);
        } else {
            self.launches.push(launch(sum));
        }
    }

    /// A thing of `len` floats an image, which is neither a value nor a gradient.
    fn temporary(&mut self, len: usize) -> Item {
        self.lens.push(len);
        self.homes.push((self.homes.len(), 0));
        self.lens.len() - 1
    }

    /// The item whose storage `item` is in, and where there.
    fn home(&self, mut item: Item) -> (Item, usize) {
        let mut start = 0;
        loop {
            let (whole, at) = self.homes[item];
            start += at;
            if whole == item {
                return (whole, start);
            }
            item = whole;
        }
    }

    /// Gives everything a place in the arena.
    fn store(&mut self) {
        self.lives = vec![None; self.lens.len()];
        for number in 0..self.launches.len() {
            for item in self.launches[number].uses().into_iter().flatten() {
                let (whole, _) = self.home(item);
                let new = Life { len: self.lens[whole], first: number, last: number };
                self.lives[whole].get_or_insert(new).last = number;
            }
        }
        (self.starts, self.image) = lay_out(&self.lives);
    }

    /// Where `item` is in an arena for `capacity` images.
    fn place(&self, item: Item, capacity: usize) -> Place {
        let (whole, at) = self.home(item);
        let life = self.lives[whole].expect("what a launch uses has a storage");
        Place { start: self.starts[whole] * capacity + at, image: life.len }
    }
}

/// A launch with what it takes from the device.
#[derive(Debug)]
enum Step {
    Conv2d { layer: Conv2d, out: Place, input: Place },
    Dense { layer: Dense, out: Place, input: Place },
    Pool { pooling: Pooling, pool: Pool, out: Place, input: Place },
    Lrn { lrn: Lrn, out: Place, input: Place },
    Copy { len: usize, rectify: bool, out: Place, input: Place },
    ReluBackward { len: usize, out: Place, gradient: Place, value: Place },
    PoolBackward { pooling: Pooling, pool: Pool, out: Place, gradient: Place, value: Option<Place> },
    LrnBackward { lrn: LrnBackward, out: Place, gradient: Place, value: Place },
    DepthToSpace { phases: DepthToSpace, out: Place, input: Place },
    Add { len: usize, sum: Place, next: Place },
    Event(Event),
}

/// Weights on the device, and of which layer they are.
#[derive(Debug)]
pub enum Weights<'a> {
    /// Forward.
    Conv2d(&'a mut Conv2d),
    Dense(&'a mut Dense),
    /// Their rearrangement for the way back; [`Conv2dBackward::sources`] says which is which.
    Conv2dBackward(&'a mut Conv2d),
    /// The transpose.
    DenseBackward(&'a mut Dense),
}

/// A network on the device, there and back.
#[derive(Debug)]
pub struct BackwardNetwork {
    pub n_classes: usize,
    /// Values and gradients, `(capacity)` images of each.
    pub arena: CudaSlice<f32>,
    /// `(n_classes, capacity)`: what the softmax gives.
    pub probabilities: CudaSlice<f32>,
    /// Images that go through at once.
    pub capacity: usize,
    /// Where the caller writes what the first layer takes, before the way forward.
    pub input: Place,
    /// Where it writes the gradient of the logits, before the way back: the logits are there still.
    pub logits_gradient: Place,
    /// Where the gradient of the network's input is, after the way back, if it was wanted.
    pub input_gradient: Option<Place>,
    /// Where the logits are, after the way forward.
    pub logits: Place,
    forward: Vec<Step>,
    backward: Vec<Step>,
    /// For each step forward, then for each backward: the layer whose weights it has.
    layers: Vec<Option<usize>>,
}

/// What is launched at an [`Event`].
pub type At<'a> = &'a mut dyn FnMut(&Launcher, &mut CudaSlice<f32>, Event) -> Result<()>;

/// For those who want no events.
///
/// # Errors
/// None.
///
/// # Panics
/// If there is one.
pub fn no_events(_: &Launcher, _: &mut CudaSlice<f32>, event: Event) -> Result<()> {
    unreachable!("nobody asked for {event:?}")
}

impl BackwardNetwork {
    /// Bytes on the device for each image that goes through at once.
    pub fn image_bytes(network: &Network, wanted: &Wanted) -> usize {
        (Plan::new(network, wanted).image + network.classes.len()) * size_of::<f32>()
    }

    /// Bytes on the device of all that does not depend on how many images go through at once.
    pub fn bytes(network: &Network, wanted: &Wanted) -> usize {
        let (plan, shapes) = (Plan::new(network, wanted), network.shapes());
        let of = |launch: &Planned| match *launch {
            Planned::Conv2d { layer, .. } => Conv2d::bytes(&geometry_of(network, &shapes, layer)),
            Planned::Conv2dBackward { layer, .. } => {
                Conv2d::bytes(&Conv2dBackward::new(geometry_of(network, &shapes, layer)).geometry)
            }
            Planned::Dense { layer, input, .. } => Dense::bytes(shapes[input].len(), shapes[layer + 1].len()),
            Planned::DenseBackward { layer, .. } => {
                Dense::bytes(shapes[layer + 1].len(), shapes[network.layers[layer].inputs[0]].len())
            }
            _ => 0,
        };
        plan.launches.iter().map(of).sum()
    }

    /// Brings `network` to the device, for `capacity` images at once.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the layer that kernels do not take;
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If `capacity` is 0, or a value that is to be dropped is none.
    pub fn new(launcher: &Launcher, network: &Network, wanted: &Wanted, capacity: usize) -> Result<BackwardNetwork> {
        DeviceNetwork::check(network)?;
        let n_classes = network.classes.len();
        assert!(capacity > 0 && wanted.dropped.iter().all(|&value| value < network.layers.len()), "{wanted:?}");
        let (plan, numbers) = (Plan::new(network, wanted), parameter_numbers(network));
        let shapes = &plan.shapes;
        let place = |item: Item| plan.place(item, capacity);
        let part = |item: Item, at: usize| Place { start: place(item).start + at, ..place(item) };
        let parameters = |layer: usize| &network.parameters[numbers[layer]];
        let step = |launch: &Planned| -> Result<Option<Step>> {
            Ok(Some(match *launch {
                Planned::Input { .. }
                | Planned::Softmax { .. }
                | Planned::Objective { .. }
                | Planned::Output { .. } => {
                    return Ok(None);
                }
                Planned::Conv2d { layer, rectify, input, out } => {
                    let geometry = geometry_of(network, shapes, layer);
                    let layer = Conv2d::new(launcher, geometry, &canonical(parameters(layer)), rectify)?;
                    Step::Conv2d { layer, out: place(out), input: place(input) }
                }
                Planned::Conv2dBackward { layer, gradient, out } => {
                    let backward = Conv2dBackward::new(geometry_of(network, shapes, layer));
                    let layer = backward.upload(launcher, &parameters(layer).weight)?;
                    Step::Conv2d { layer, out: place(out), input: place(gradient) }
                }
                Planned::Dense { layer, rectify, input, out } => {
                    let layer = Dense::new(launcher, shapes[input].len(), &canonical(parameters(layer)), rectify)?;
                    Step::Dense { layer, out: place(out), input: place(input) }
                }
                Planned::DenseBackward { layer, gradient, out } => {
                    let inputs = shapes[network.layers[layer].inputs[0]].len();
                    let layer = dense_backward(launcher, inputs, &parameters(layer).weight)?;
                    Step::Dense { layer, out: place(out), input: place(gradient) }
                }
                Planned::Pool { pooling, pool, input, out } => {
                    Step::Pool { pooling, pool, out: place(out), input: place(input) }
                }
                Planned::Lrn { lrn, input, out } => Step::Lrn { lrn, out: place(out), input: place(input) },
                Planned::Copy { input, from, out, at, len, rectify } => {
                    Step::Copy { len, rectify, out: part(out, at), input: part(input, from) }
                }
                Planned::ReluBackward { value, gradient, out } => {
                    let (out, gradient, value, len) = (place(out), place(gradient), place(value), plan.lens[value]);
                    Step::ReluBackward { len, out, gradient, value }
                }
                Planned::PoolBackward { pooling, pool, value, gradient, out } => {
                    let (out, gradient, value) = (place(out), place(gradient), value.map(place));
                    Step::PoolBackward { pooling, pool, out, gradient, value }
                }
                Planned::LrnBackward { lrn, value, gradient, out } => {
                    Step::LrnBackward { lrn, out: place(out), gradient: place(gradient), value: place(value) }
                }
                Planned::DepthToSpace { phases, input, out } => {
                    Step::DepthToSpace { phases, out: place(out), input: place(input) }
                }
                Planned::Add { sum, next, from, len } => Step::Add { len, sum: place(sum), next: part(next, from) },
                Planned::Dropout { value, item, is_gradient } => {
                    let (place, len) = (place(item), plan.lens[item]);
                    Step::Event(Event::Dropout { value, place, len, is_gradient })
                }
                Planned::Weights { layer, input, gradient } => {
                    Step::Event(Event::Weights { layer, input: place(input), gradient: place(gradient) })
                }
            }))
        };
        let (mut forward, mut backward, mut layers) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_forward = true;
        for launch in &plan.launches {
            is_forward &= !matches!(launch, Planned::Softmax { .. });
            if let Some(step) = step(launch)? {
                if is_forward { &mut forward } else { &mut backward }.push(step);
                layers.push(match *launch {
                    Planned::Conv2d { layer, .. }
                    | Planned::Dense { layer, .. }
                    | Planned::Conv2dBackward { layer, .. }
                    | Planned::DenseBackward { layer, .. } => Some(layer),
                    _ => None,
                });
            }
        }
        Ok(BackwardNetwork {
            n_classes,
            arena: launcher.zeros(capacity * plan.image)?,
            probabilities: launcher.zeros(n_classes * capacity)?,
            capacity,
            input: place(0),
            logits_gradient: place(plan.gradient(plan.logits)),
            input_gradient: wanted.input.then(|| place(plan.gradient(0))),
            logits: place(plan.logits),
            forward,
            backward,
            layers,
        })
    }

    /// Whether there is room for `batch` images.
    fn check_batch(&self, batch: usize) -> Result<()> {
        match self.capacity {
            want if batch > want => Err(Error::Shape { what: "a batch of images", got: batch, want }),
            _ => Ok(()),
        }
    }

    /// All weights on the device, each with the number of its layer: for who changes them.
    pub fn weights(&mut self) -> impl Iterator<Item = (usize, Weights<'_>)> {
        let n_forward = self.forward.len();
        let steps = self.forward.iter_mut().chain(&mut self.backward);
        steps.zip(&self.layers).enumerate().filter_map(move |(at, (step, layer))| {
            let weights = match (step, at < n_forward) {
                (Step::Conv2d { layer, .. }, true) => Weights::Conv2d(layer),
                (Step::Conv2d { layer, .. }, false) => Weights::Conv2dBackward(layer),
                (Step::Dense { layer, .. }, true) => Weights::Dense(layer),
                (Step::Dense { layer, .. }, false) => Weights::DenseBackward(layer),
                _ => return None,
            };
            layer.map(|layer| (layer, weights))
        })
    }
}

/// What convolution `layer` reads and writes.
fn geometry_of(network: &Network, shapes: &[Shape], layer: usize) -> Geometry {
    let input = shapes[network.layers[layer].inputs[0]];
    geometry(network.layers[layer].operation, input, shapes[layer + 1]).expect("a convolution")
}

impl Launcher {
    /// From [`BackwardNetwork::input`] to [`BackwardNetwork::probabilities`], for `batch` images. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are more than the network's capacity;
    /// [`Error::Launch`] if the driver refuses a launch; those of `at`.
    pub fn forward(&self, network: &mut BackwardNetwork, batch: usize, at: At) -> Result<()> {
        self.forward_to_logits(network, batch, at)?;
        let BackwardNetwork { n_classes, arena, probabilities, capacity, logits, .. } = network;
        self.softmax(probabilities, *capacity, 0, *n_classes, arena, *logits, batch)
    }

    /// As [`Launcher::forward`], without the softmax.
    ///
    /// # Errors
    /// Those of [`Launcher::forward`].
    pub fn forward_to_logits(&self, network: &mut BackwardNetwork, batch: usize, at: At) -> Result<()> {
        network.check_batch(batch)?;
        self.steps(&mut network.arena, &network.forward, batch, at)
    }

    /// From [`BackwardNetwork::logits_gradient`] back, for `batch` images that have gone [forward](Launcher::forward). Returns before the
    /// device has finished.
    ///
    /// # Errors
    /// Those of [`Launcher::forward`].
    pub fn backward(&self, network: &mut BackwardNetwork, batch: usize, at: At) -> Result<()> {
        network.check_batch(batch)?;
        self.steps(&mut network.arena, &network.backward, batch, at)
    }

    fn steps(&self, arena: &mut CudaSlice<f32>, steps: &[Step], n: usize, at: At) -> Result<()> {
        for step in steps {
            match step {
                Step::Conv2d { layer, out, input } => self.conv2d(arena, layer, *out, *input, n),
                Step::Dense { layer, out, input } => self.dense(arena, layer, *out, *input, n),
                Step::Pool { pooling, pool, out, input } => self.pool(arena, pooling, *pool, *out, *input, n),
                Step::Lrn { lrn, out, input } => self.lrn(arena, lrn, *out, *input, n),
                Step::Copy { len, rectify, out, input } => self.copy(arena, *out, *input, *len, n, *rectify),
                Step::ReluBackward { len, out, gradient, value } => {
                    self.relu_backward(arena, *out, *gradient, *value, *len, n)
                }
                Step::PoolBackward { pooling, pool, out, gradient, value } => {
                    self.pool_backward(arena, pooling, *pool, *out, *gradient, *value, n)
                }
                Step::LrnBackward { lrn, out, gradient, value } => {
                    self.lrn_backward(arena, lrn, *out, *gradient, *value, n)
                }
                Step::DepthToSpace { phases, out, input } => self.depth_to_space(arena, phases, *out, *input, n),
                Step::Add { len, sum, next } => self.add(arena, *sum, *next, *len, n),
                Step::Event(event) => at(self, arena, *event),
            }?;
        }
        Ok(())
    }
}
