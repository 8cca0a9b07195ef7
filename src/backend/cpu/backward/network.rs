//! A network's layers as steps over groups of tiles, forward and back.

use std::ops::Range;

use rayon::prelude::*;

use super::conv2d::Conv2dInputGradient;
use super::dense::{INPUT_BLOCK, dense_input_gradient};
use super::lrn::Lrn;
use super::pool::Pool;
use super::relu::relu_backward;
use super::softmax::{Objective, softmax_backward};
use crate::backend::cpu::conv2d::{Geometry, PackedConv2d, conv2d, conv2d_blocks};
use crate::backend::cpu::dense::{PackedDense, dense, dense_blocks};
use crate::backend::cpu::relu::relu;
use crate::backend::cpu::softmax::softmax;
use crate::backend::training::Dropout;
use crate::network::{Network, Operation, Parameters, Shape};
use crate::rng::{Philox, Purpose, unit};
use crate::simd::{Aligned, Lanes, Simd, Vectorised};

/// Vector operations of a step that are worth a thread.
const SHARE: usize = 1 << 13;

/// Shares of a large step for each thread, so that they end together.
const TURNS: usize = 4;

/// A network that can go back: its layers, and dropout, with packed weights.
#[derive(Debug)]
pub struct TwoWay {
    simd: Simd,
    steps: Vec<Step>,
    /// Of the input, then of each step's output.
    shapes: Vec<Shape>,
    /// The buffer that each of them is in, and how long the buffers are for an image.
    buffer_of: Vec<usize>,
    buffers: Vec<usize>,
    /// Whether the gradient of a value in the buffer is wanted.
    wanted: Vec<bool>,
    /// Of each layer that has some.
    parameters: Vec<Parameters>,
}

/// A layer, or dropout between two.
#[derive(Debug)]
struct Step {
    inputs: Vec<usize>,
    output: usize,
    /// Whether the output is in the buffer of the input.
    in_place: bool,
    /// Of each input: whether nothing has been sent to it before on the way back; `None` where no gradient is wanted.
    is_first: Vec<Option<bool>>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Conv2d { forward: PackedConv2d, backward: Option<Box<Conv2dInputGradient>>, learned: usize },
    Dense { forward: PackedDense, learned: usize },
    Relu,
    MaxPool(Pool),
    AveragePool(Pool),
    Lrn(Lrn),
    Concat,
    Dropout(Dropout),
    Softmax,
}

/// A layer that has weights, for those who want their gradients.
#[derive(Clone, Copy, Debug)]
pub enum Learner {
    Conv2d(Geometry),
    Dense { in_features: usize, out_features: usize },
}

/// Some tiles on their way through the network and back.
#[derive(Debug)]
pub struct Group {
    tiles: usize,
    /// By buffer: `(tiles, channels, height, width, lane)`.
    values: Vec<Aligned>,
    /// Likewise; empty where none is wanted.
    gradients: Vec<Aligned>,
    /// Of each step: what dropout multiplies with; empty for the others.
    factors: Vec<Aligned>,
    /// What one of several layers sends to a value.
    scratch: Aligned,
}

/// Where dropout's random numbers come from.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub philox: Philox,
    pub iteration: u32,
    /// The number, in the batch, of the first image of the group.
    pub first_image: usize,
}

impl TwoWay {
    /// Packs `network` with `dropout`, for the gradient of its input if `to_input`, of its weights otherwise.
    pub fn new(network: &Network, dropout: &[Dropout], to_input: bool, simd: Simd) -> TwoWay {
        let of_layers = network.shapes();
        let mut parameters = network.parameters.iter();
        let mut learned = 0..;
        let (mut steps, mut shapes): (Vec<Step>, Vec<Shape>) = (Vec::new(), vec![network.input]);
        // Whether something that learns is before a value; and where the value of each layer is among those of the steps.
        let mut learns = vec![to_input];
        let mut value_of = vec![0];
        let drop = |value: usize, steps: &mut Vec<Step>, shapes: &mut Vec<Shape>, learns: &mut Vec<bool>| {
            let at = shapes.len() - 1;
            let Some(&dropout) = dropout.iter().find(|dropout| dropout.value == value) else { return at };
            steps.push(Step::new(vec![at], at + 1, Kind::Dropout(dropout)));
            shapes.push(shapes[at]);
            learns.push(learns[at]);
            at + 1
        };
        value_of[0] = drop(0, &mut steps, &mut shapes, &mut learns);
        for (index, layer) in network.layers.iter().enumerate() {
            let inputs: Vec<usize> = layer.inputs.iter().map(|&value| value_of[value]).collect();
            let (input, output) = (shapes[inputs[0]], of_layers[index + 1]);
            let before = inputs.iter().any(|&value| learns[value]);
            let mut next = || (parameters.next().expect("checked by Network::new"), learned.next().expect("endless"));
            let pool = |window, count_padding| Pool { input, output, window, count_padding };
            let kind = match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    let (parameters, learned) = next();
                    let backward = before.then(|| Box::new(Conv2dInputGradient::new(geometry, parameters)));
                    Kind::Conv2d { forward: PackedConv2d::new(geometry, parameters), backward, learned }
                }
                Operation::Dense { .. } => {
                    let (parameters, learned) = next();
                    Kind::Dense { forward: PackedDense::new(input.len(), output.len(), parameters), learned }
                }
                Operation::Relu => Kind::Relu,
                Operation::MaxPool(window) => Kind::MaxPool(pool(window, false)),
                Operation::AveragePool { window, count_padding } => Kind::AveragePool(pool(window, count_padding)),
                Operation::Lrn { size, alpha, k } => {
                    Kind::Lrn(Lrn { channels: input.channels, size, alpha, k })
                }
                Operation::Concat => Kind::Concat,
                Operation::Softmax => Kind::Softmax,
            };
            let is_last = kind.is_softmax();
            learns.push(before || layer.operation.has_weights());
            steps.push(Step::new(inputs, shapes.len(), kind));
            shapes.push(output);
            value_of.push(if is_last { shapes.len() - 1 } else { drop(index + 1, &mut steps, &mut shapes, &mut learns) });
        }
        let (buffer_of, buffers) = place(&mut steps, &shapes);

        let mut wanted = vec![false; buffers.len()];
        let mut sent = vec![false; shapes.len()];
        for step in steps.iter_mut().rev() {
            for (input, is_first) in step.inputs.iter().zip(&mut step.is_first).rev() {
                *is_first = learns[*input].then_some(!sent[*input]);
                sent[*input] = true;
                wanted[buffer_of[*input]] |= learns[*input];
            }
        }
        TwoWay { simd, steps, shapes, buffer_of, buffers, wanted, parameters: network.parameters.clone() }
    }

    /// Bytes of the weights, packed and as they are, of `network`.
    pub fn weight_bytes(network: &Network) -> usize {
        let shapes = network.shapes();
        let layers = network.layers.iter().zip(&shapes[1..]);
        let packed = layers.map(|(layer, &output)| {
            let input = shapes[layer.inputs[0]];
            match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input, output, kernel, stride, padding, groups };
                    PackedConv2d::bytes(&geometry) + Conv2dInputGradient::bytes(&geometry)
                }
                Operation::Dense { .. } => PackedDense::bytes(input.len(), output.len()),
                _ => 0,
            }
        });
        packed.sum::<usize>() + network.bytes()
    }

    /// Bytes of the values, gradients and what else an image takes in a [`Group`].
    pub fn image_bytes(&self) -> usize {
        let gradients = self.buffers.iter().zip(&self.wanted).filter(|pair| *pair.1).map(|pair| *pair.0);
        let factors = (0..self.steps.len()).map(|step| self.factor_len(step));
        let values = self.buffers.iter().copied().chain(gradients).chain(factors).sum::<usize>() + self.scratch_len();
        values * size_of::<f32>()
    }

    fn factor_len(&self, step: usize) -> usize {
        let Step { kind, output, .. } = &self.steps[step];
        if matches!(kind, Kind::Dropout(_)) { self.shapes[*output].len() } else { 0 }
    }

    fn scratch_len(&self) -> usize {
        let shared = self.steps.iter().filter(|step| !matches!(step.kind, Kind::Concat)).flat_map(|step| {
            let inputs = step.inputs.iter().zip(&step.is_first);
            inputs.filter(|pair| *pair.1 == Some(false)).map(|pair| self.shapes[*pair.0].len())
        });
        shared.max().unwrap_or(0)
    }

    /// Memory for `tiles` tiles.
    pub fn group(&self, tiles: usize) -> Group {
        let lanes = tiles * self.simd.width();
        let gradients = self.buffers.iter().zip(&self.wanted);
        Group {
            tiles,
            values: self.buffers.iter().map(|len| Aligned::zeros(len * lanes)).collect(),
            gradients: gradients.map(|(len, &wanted)| Aligned::zeros(if wanted { len * lanes } else { 0 })).collect(),
            factors: (0..self.steps.len()).map(|step| Aligned::zeros(self.factor_len(step) * lanes)).collect(),
            scratch: Aligned::zeros(self.scratch_len() * lanes),
        }
    }

    /// In how many parts the steps of a group are to be shared out, where `groups` of them go at once on rayon's current pool.
    pub fn parts(groups: usize) -> usize {
        let threads = rayon::current_num_threads();
        if groups.is_multiple_of(threads) || groups >= 4 * threads { 1 } else { threads }
    }

    /// The shape of an image.
    pub fn input(&self) -> Shape {
        self.shapes[0]
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.shapes[self.shapes.len() - 1].len()
    }

    /// The layers that have weights, in order.
    pub fn learners(&self) -> impl Iterator<Item = Learner> {
        self.steps.iter().filter_map(|step| match &step.kind {
            Kind::Conv2d { forward, .. } => Some(Learner::Conv2d(*forward.geometry())),
            Kind::Dense { forward, .. } => {
                Some(Learner::Dense { in_features: forward.in_features(), out_features: forward.out_features() })
            }
            _ => None,
        })
    }

    /// The parameters of each layer that has some.
    pub fn parameters(&self) -> &[Parameters] {
        &self.parameters
    }

    /// Lets `change` change the parameters of each layer that has some, given its number among them and its one of `states`, and packs
    /// them anew.
    pub fn learn<T: Send>(&mut self, states: &mut [T], change: impl Fn(usize, &mut Parameters, &mut T) + Sync) {
        let kinds = self.steps.iter_mut().map(|step| &mut step.kind).filter(|kind| kind.has_weights());
        let layers: Vec<_> = kinds.zip(&mut self.parameters).zip(states).collect();
        layers.into_par_iter().enumerate().with_max_len(1).for_each(|(index, ((kind, parameters), state))| {
            change(index, parameters, state);
            match kind {
                Kind::Conv2d { forward, backward, .. } => {
                    forward.pack(parameters);
                    if let Some(backward) = backward {
                        backward.pack(parameters);
                    }
                }
                Kind::Dense { forward, .. } => forward.pack(parameters),
                _ => unreachable!("it has weights"),
            }
        });
    }

    /// What learner `index` took from `group`, and the gradient of what it gave: `(tiles, channels, height, width, lane)`.
    pub fn around<'a>(&self, group: &'a Group, index: usize) -> (&'a [f32], &'a [f32]) {
        let step = self.steps.iter().filter(|step| step.kind.has_weights()).nth(index).expect("a learner");
        let [input, output] = [step.inputs[0], step.output].map(|value| self.buffer_of[value]);
        (&group.values[input], &group.gradients[output])
    }

    /// The values of the input of `group`, to be written.
    pub fn input_of<'a>(&self, group: &'a mut Group) -> &'a mut [f32] {
        &mut group.values[self.buffer_of[0]]
    }

    /// Makes `images`, `(images, values)` and at most as many as lanes, the input of `group`; the other lanes become 0.
    pub fn fill(&self, group: &mut Group, images: &[f32]) {
        let (len, width) = (self.input().len(), self.simd.width());
        let tiles = self.input_of(group).chunks_exact_mut(len * width);
        let mut images = images.chunks_exact(len);
        for tile in tiles {
            for lane in 0..width {
                let values = tile.iter_mut().skip(lane).step_by(width);
                match images.next() {
                    Some(image) => values.zip(image).for_each(|(value, x)| *value = *x),
                    None => values.for_each(|value| *value = 0.0),
                }
            }
        }
    }

    /// Writes `images`, `(images, len)`, from `tiles`, `(tiles, len, lane)`, which may have more lanes.
    pub fn take(&self, tiles: &[f32], images: &mut [f32], len: usize) {
        let width = self.simd.width();
        let lanes = tiles.chunks_exact(len * width).flat_map(|tile| (0..width).map(move |lane| &tile[lane..]));
        for (image, values) in images.chunks_exact_mut(len).zip(lanes) {
            image.iter_mut().zip(values.iter().step_by(width)).for_each(|(x, value)| *x = *value);
        }
    }

    /// The gradient of the input of `group`.
    pub fn input_gradient_of<'a>(&self, group: &'a Group) -> &'a [f32] {
        &group.gradients[self.buffer_of[0]]
    }

    /// The probabilities that `group` ended in: `(tiles, classes, lane)`.
    pub fn probabilities_of<'a>(&self, group: &'a Group) -> &'a [f32] {
        &group.values[self.buffer_of[self.shapes.len() - 1]]
    }

    /// Takes the input of `group` through the network, the steps shared out in `parts`.
    pub fn forward(&self, group: &mut Group, draw: Option<Draw>, parts: usize) {
        for (index, step) in self.steps.iter().enumerate() {
            let to = self.buffer_of[step.output];
            let mut output = std::mem::take(&mut group.values[to]);
            if !step.in_place && step.kind.is_elementwise() {
                output.copy_from_slice(&group.values[self.buffer_of[step.inputs[0]]]);
            }
            match &step.kind {
                Kind::Dropout(dropout) => {
                    let draw = draw.expect("only training drops, and draws");
                    let len = self.shapes[step.output].len();
                    draw_factors(&mut group.factors[index], dropout, draw, len, self.simd.width());
                    self.scale(&mut output, &group.factors[index]);
                }
                Kind::Relu => {
                    self.elementwise(&mut output, &[], parts, |values, _| Elementwise::Relu(values));
                }
                Kind::Softmax => self.simd.run(Elementwise::Softmax(&mut output, self.n_classes())),
                Kind::Concat => self.concatenate(step, &mut output, group),
                kind => {
                    let input = &group.values[self.buffer_of[step.inputs[0]]];
                    let (from, to) = (self.shapes[step.inputs[0]], self.shapes[step.output]);
                    let layout = Layout { tiles: group.tiles, blocks: kind.blocks(from), work: kind.work(from, to) };
                    self.share(&mut output, layout, parts, |blocks| kind.len(blocks, to), |output, tile, blocks| {
                        Forward { kind, output, input, len: from.len(), tile, blocks }
                    });
                }
            }
            group.values[to] = output;
        }
    }

    /// Takes the gradient of `objective` back as far as it is wanted; `classes` are those of the images, fewer than lanes at the end.
    pub fn backward(&self, group: &mut Group, classes: &[u32], objective: Objective, parts: usize) {
        for (index, step) in self.steps.iter().enumerate().rev() {
            if step.is_first.iter().all(Option::is_none) {
                continue;
            }
            if let Kind::Concat = step.kind {
                self.part(step, group);
                continue;
            }
            let from = self.buffer_of[step.inputs[0]];
            let (input_len, output_len) = (self.shapes[step.inputs[0]].len(), self.shapes[step.output].len());
            let is_first = step.is_first[0] == Some(true);
            let mut target = std::mem::take(if is_first { &mut group.gradients[from] } else { &mut group.scratch });
            let lanes = group.tiles * self.simd.width();
            let input_gradient = &mut target[..input_len * lanes];
            let (input, output) = (&group.values[from], &group.values[self.buffer_of[step.output]]);
            // In place this is the buffer just taken, and nobody looks at it.
            let output_gradient = &group.gradients[self.buffer_of[step.output]];
            if !step.in_place && step.kind.is_elementwise() && !step.kind.is_softmax() {
                input_gradient.copy_from_slice(output_gradient);
            }
            match &step.kind {
                Kind::Relu => {
                    self.elementwise(input_gradient, output, parts, Elementwise::ReluBackward);
                }
                Kind::Dropout(_) => self.scale(input_gradient, &group.factors[index]),
                Kind::Softmax => {
                    self.simd.run(Elementwise::SoftmaxBackward(input_gradient, output, output_len, classes, objective));
                }
                kind => {
                    let (from, to) = (self.shapes[step.inputs[0]], self.shapes[step.output]);
                    let layout =
                        Layout { tiles: group.tiles, blocks: kind.blocks_back(from), work: kind.work(from, to) };
                    let rest = Backward {
                        kind,
                        weight: kind.learned().map_or(&[], |learned| &self.parameters[learned].weight),
                        input_gradient: &mut [],
                        output_gradient,
                        input,
                        output,
                        lens: [input_len, output_len],
                        tile: None,
                        blocks: 0..0,
                    };
                    self.share(
                        input_gradient,
                        layout,
                        parts,
                        |blocks| kind.len_back(blocks, from),
                        |input_gradient, tile, blocks| Backward { input_gradient, tile, blocks, ..rest.again() },
                    );
                }
            }
            if is_first {
                group.gradients[from] = target;
            } else {
                add(&mut group.gradients[from], &target[..input_len * lanes]);
                group.scratch = target;
            }
        }
    }

    /// Cuts `output` into units of at most `parts` a tile, and lets threads run what `unit` makes of them: a tile's number, and its blocks, of
    /// `len` values and lanes each; no tile for all at once.
    fn share<'a, U: Vectorised<Output = ()> + Send>(
        &self,
        output: &'a mut [f32],
        layout: Layout,
        parts: usize,
        len: impl Fn(Range<usize>) -> usize,
        unit: impl Fn(&'a mut [f32], Option<usize>, Range<usize>) -> U,
    ) {
        let Layout { tiles, blocks, work } = layout;
        let most = if parts == 1 { 1 } else { (work * tiles / SHARE).min(TURNS * parts).max(1) };
        // A few parts, or so many that uneven ones do not matter.
        let each = if most < 2 * parts { most.min(parts) } else { most }.div_ceil(tiles).min(blocks);
        if parts == 1 || each * tiles <= 1 {
            return self.simd.run(unit(output, None, 0..blocks));
        }
        let mut rest = output;
        let mut units = Vec::with_capacity(tiles * each);
        for tile in 0..tiles {
            for part in 0..each {
                let range = part * blocks / each..(part + 1) * blocks / each;
                let (own, later) = rest.split_at_mut(len(range.clone()) * self.simd.width());
                rest = later;
                units.push(unit(own, Some(tile), range));
            }
        }
        units.into_par_iter().with_max_len(1).for_each(|unit| self.simd.run(unit));
    }

    /// Runs what `kernel` makes of `values`, and of `others` where there are some, in parts.
    fn elementwise<'a>(
        &self,
        values: &'a mut [f32],
        others: &'a [f32],
        parts: usize,
        kernel: impl Fn(&'a mut [f32], &'a [f32]) -> Elementwise<'a> + Sync,
    ) {
        let vectors = values.len() / self.simd.width();
        let parts = if vectors < 2 * SHARE { 1 } else { parts };
        let len = vectors.div_ceil(parts) * self.simd.width();
        if parts == 1 {
            return self.simd.run(kernel(values, others));
        }
        values.par_chunks_mut(len).enumerate().with_max_len(1).for_each(|(part, values)| {
            let others = if others.is_empty() { others } else { &others[part * len..][..values.len()] };
            self.simd.run(kernel(values, others));
        });
    }

    /// Dropout, both ways.
    fn scale(&self, values: &mut [f32], factors: &[f32]) {
        self.simd.run(Elementwise::Scale(values, factors));
    }

    fn concatenate(&self, step: &Step, output: &mut [f32], group: &Group) {
        let width = self.simd.width();
        let len = self.shapes[step.output].len() * width;
        output.par_chunks_exact_mut(len).enumerate().for_each(|(tile, mut output)| {
            for &value in &step.inputs {
                let len = self.shapes[value].len() * width;
                let (own, rest) = output.split_at_mut(len);
                own.copy_from_slice(&group.values[self.buffer_of[value]][tile * len..][..len]);
                output = rest;
            }
        });
    }

    /// The way back of [`TwoWay::concatenate`].
    fn part(&self, step: &Step, group: &mut Group) {
        let width = self.simd.width();
        let output_len = self.shapes[step.output].len() * width;
        let gradient = std::mem::take(&mut group.gradients[self.buffer_of[step.output]]);
        let mut end = output_len;
        for (&value, is_first) in step.inputs.iter().zip(&step.is_first).rev() {
            let len = self.shapes[value].len() * width;
            end -= len;
            let target = &mut group.gradients[self.buffer_of[value]];
            for (target, gradient) in target.chunks_exact_mut(len).zip(gradient.chunks_exact(output_len)) {
                match is_first {
                    Some(true) => target.copy_from_slice(&gradient[end..][..len]),
                    Some(false) => add(target, &gradient[end..][..len]),
                    None => {}
                }
            }
        }
        group.gradients[self.buffer_of[step.output]] = gradient;
    }
}

/// `sums + values`.
fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Draws what dropout multiplies with, `(tiles, element, lane)`, for images of `len` elements: 0 where it drops.
fn draw_factors(factors: &mut [f32], dropout: &Dropout, draw: Draw, len: usize, width: usize) {
    let factor = dropout.factor();
    factors.par_chunks_mut(len * width).enumerate().for_each(|(tile, factors)| {
        for lane in 0..width {
            let image = draw.first_image + tile * width + lane;
            let candidate = (dropout.value * 65_536 + image) as u32;
            let draws = draw.philox.draws(Purpose::Dropout, candidate, draw.iteration);
            for (block, factors) in factors.chunks_mut(4 * width).enumerate() {
                let words = draws.block(block as u32);
                for (factors, &word) in factors.chunks_exact_mut(width).zip(&words) {
                    factors[lane] = if unit(word) < dropout.ratio { 0.0 } else { factor };
                }
            }
        }
    });
}

impl Step {
    fn new(inputs: Vec<usize>, output: usize, kind: Kind) -> Step {
        Step { is_first: vec![None; inputs.len()], inputs, output, in_place: false, kind }
    }
}

/// Decides which steps work in place; the buffer of each value, and the buffers' lengths.
fn place(steps: &mut [Step], shapes: &[Shape]) -> (Vec<usize>, Vec<usize>) {
    let mut users = vec![0; shapes.len()];
    steps.iter().flat_map(|step| &step.inputs).for_each(|&value| users[value] += 1);
    let (mut buffer_of, mut buffers) = (vec![0], vec![shapes[0].len()]);
    for index in 0..steps.len() {
        let (before, step) = steps.split_at_mut(index);
        let step = &mut step[0];
        let input = step.inputs[0];
        let is_free = match input.checked_sub(1).map(|maker| &before[maker].kind) {
            // They need what they gave on the way back; a rectifier, also one behind which is dropout, no more of it than which is above 0.
            Some(Kind::MaxPool(_)) => false,
            Some(Kind::Relu | Kind::Dropout(_)) => !step.kind.is_softmax(),
            _ => true,
        };
        step.in_place = step.kind.is_elementwise() && users[input] == 1 && is_free;
        if step.in_place {
            buffer_of.push(buffer_of[input]);
        } else {
            buffer_of.push(buffers.len());
            buffers.push(shapes[step.output].len());
        }
    }
    (buffer_of, buffers)
}

/// Units that a step's output can be cut into.
#[derive(Clone, Copy)]
struct Layout {
    tiles: usize,
    blocks: usize,
    /// Vector operations a tile, about.
    work: usize,
}

impl Kind {
    fn has_weights(&self) -> bool {
        self.learned().is_some()
    }

    fn learned(&self) -> Option<usize> {
        match self {
            Kind::Conv2d { learned, .. } | Kind::Dense { learned, .. } => Some(*learned),
            _ => None,
        }
    }

    fn is_softmax(&self) -> bool {
        matches!(self, Kind::Softmax)
    }

    /// Whether it can work in place.
    fn is_elementwise(&self) -> bool {
        matches!(self, Kind::Relu | Kind::Dropout(_) | Kind::Softmax)
    }

    fn work(&self, from: Shape, to: Shape) -> usize {
        match self {
            Kind::Conv2d { forward, .. } => to.len() * forward.geometry().k(),
            Kind::Dense { .. } => from.len() * to.len(),
            Kind::MaxPool(pool) | Kind::AveragePool(pool) => 2 * to.len() * pool.window.kernel * pool.window.kernel,
            Kind::Lrn(lrn) => to.len() * (lrn.size + 20),
            Kind::Relu | Kind::Concat | Kind::Dropout(_) | Kind::Softmax => to.len(),
        }
    }

    /// Blocks of the output.
    fn blocks(&self, from: Shape) -> usize {
        match self {
            Kind::Conv2d { forward, .. } => forward.n_blocks(),
            Kind::Dense { forward, .. } => forward.n_blocks(),
            _ => from.channels,
        }
    }

    /// Values of the blocks `blocks` of an output of shape `to`.
    fn len(&self, blocks: Range<usize>, to: Shape) -> usize {
        match self {
            Kind::Conv2d { forward, .. } => forward.channels(blocks).len() * to.height * to.width,
            Kind::Dense { forward, .. } => forward.features(blocks).len(),
            _ => blocks.len() * to.height * to.width,
        }
    }

    /// Blocks of the input's gradient. The gradient of one channel is cut into rows.
    fn blocks_back(&self, from: Shape) -> usize {
        match self {
            Kind::Conv2d { backward, .. } => {
                let blocks = backward.as_ref().map_or(0, |backward| backward.n_blocks());
                if from.channels == 1 { from.height } else { blocks }
            }
            Kind::Dense { forward, .. } => forward.in_features().div_ceil(INPUT_BLOCK),
            _ => from.channels,
        }
    }

    /// Values of the blocks `blocks` of the gradient of an input of shape `from`.
    fn len_back(&self, blocks: Range<usize>, from: Shape) -> usize {
        match self {
            Kind::Conv2d { .. } if from.channels == 1 => blocks.len() * from.width,
            Kind::Conv2d { backward, .. } => {
                let channels = backward.as_ref().map_or(0, |backward| backward.channels(blocks).len());
                channels * from.height * from.width
            }
            Kind::Dense { .. } => (blocks.end * INPUT_BLOCK).min(from.len()) - blocks.start * INPUT_BLOCK,
            _ => blocks.len() * from.height * from.width,
        }
    }
}

/// A step forward: blocks of one tile, or all tiles.
struct Forward<'a> {
    kind: &'a Kind,
    output: &'a mut [f32],
    /// Of all tiles, `len` values and lanes each.
    input: &'a [f32],
    len: usize,
    tile: Option<usize>,
    blocks: Range<usize>,
}

impl Vectorised for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Forward { kind, output, input, len, tile, blocks } = self;
        let len = len * L::N;
        let own = match tile {
            Some(tile) => &input[tile * len..][..len],
            None => input,
        };
        // Where a block is a channel.
        let planes = |pool: &Pool| {
            let plane = pool.input.height * pool.input.width * L::N;
            if tile.is_some() { &own[blocks.start * plane..blocks.end * plane] } else { own }
        };
        match kind {
            Kind::Conv2d { forward, .. } => match tile {
                Some(_) => conv2d_blocks::<L>(output, own, forward, blocks),
                None => conv2d::<L>(output, own, forward),
            },
            Kind::Dense { forward, .. } => match tile {
                Some(_) => dense_blocks::<L>(output, own, forward, blocks),
                None => dense::<L>(output, own, forward),
            },
            Kind::MaxPool(pool) => pool.maxima::<L>(output, planes(pool)),
            Kind::AveragePool(pool) => pool.means::<L>(output, planes(pool)),
            Kind::Lrn(lrn) => {
                let output_len = output.len() / (own.len() / len);
                for (output, input) in output.chunks_exact_mut(output_len).zip(own.chunks_exact(len)) {
                    lrn.forward::<L>(output, input, blocks.clone());
                }
            }
            Kind::Relu | Kind::Concat | Kind::Dropout(_) | Kind::Softmax => unreachable!("not cut into blocks"),
        }
    }
}

/// A step back: blocks of one tile, or all tiles.
struct Backward<'a> {
    kind: &'a Kind,
    /// Of a layer that has weights.
    weight: &'a [f32],
    input_gradient: &'a mut [f32],
    /// Of all tiles, as `input` and `output`.
    output_gradient: &'a [f32],
    input: &'a [f32],
    output: &'a [f32],
    /// Values of an image's input and output.
    lens: [usize; 2],
    tile: Option<usize>,
    blocks: Range<usize>,
}

impl<'a> Backward<'a> {
    /// The same, with nothing to write to.
    fn again(&self) -> Backward<'a> {
        Backward { input_gradient: &mut [], blocks: 0..0, ..*self }
    }
}

impl Vectorised for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let lens = self.lens.map(|len| len * L::N);
        if let Some(tile) = self.tile {
            self.output_gradient = &self.output_gradient[tile * lens[1]..][..lens[1]];
            self.input = &self.input[tile * lens[0]..][..lens[0]];
            self.output = &self.output[tile * lens[1]..][..lens[1]];
        }
        let Backward { kind, weight, input_gradient, output_gradient, input, output, blocks, .. } = self;
        match kind {
            // Where a block is a channel, all tiles' channels are so many planes.
            Kind::MaxPool(pool) | Kind::AveragePool(pool) => {
                let [from, to] = [pool.input, pool.output].map(|shape| shape.height * shape.width * L::N);
                let planes = if self.tile.is_some() { blocks } else { 0..input_gradient.len() / from };
                let of = |plane: usize| planes.start * plane..planes.end * plane;
                let gradient = &output_gradient[of(to)];
                if let Kind::MaxPool(_) = kind {
                    pool.maxima_backward::<L>(input_gradient, gradient, &input[of(from)], &output[of(to)]);
                } else {
                    pool.means_backward::<L>(input_gradient, gradient);
                }
            }
            kind => {
                // In one piece: a tile's blocks, or all of each tile.
                let own = if self.tile.is_some() { input_gradient.len() } else { lens[0] };
                let tiles = input_gradient.chunks_exact_mut(own).zip(output_gradient.chunks_exact(lens[1]));
                for ((input_gradient, output_gradient), input) in tiles.zip(input.chunks_exact(lens[0])) {
                    match kind {
                        Kind::Conv2d { backward, .. } => {
                            let backward = backward.as_ref().expect("made where a gradient is wanted");
                            let from = backward.geometry().input;
                            let (blocks, rows) = match from.channels {
                                1 => (0..1, blocks.clone()),
                                _ => (blocks.clone(), 0..from.height),
                            };
                            backward.run::<L>(input_gradient, output_gradient, blocks, rows);
                        }
                        Kind::Dense { .. } => {
                            let first = blocks.start * INPUT_BLOCK;
                            let inputs = self.lens[0];
                            dense_input_gradient::<L>(input_gradient, output_gradient, weight, inputs, first);
                        }
                        Kind::Lrn(lrn) => {
                            lrn.backward::<L>(input_gradient, output_gradient, input, blocks.clone());
                        }
                        _ => unreachable!("not cut into blocks"),
                    }
                }
            }
        }
    }
}

/// What works on values where they are.
enum Elementwise<'a> {
    Relu(&'a mut [f32]),
    /// The gradient, and the output.
    ReluBackward(&'a mut [f32], &'a [f32]),
    /// By a factor; to +0 where that is 0.
    Scale(&'a mut [f32], &'a [f32]),
    /// And the number of classes.
    Softmax(&'a mut [f32], usize),
    /// The gradient, the probabilities, the number of classes, the class of each image.
    SoftmaxBackward(&'a mut [f32], &'a [f32], usize, &'a [u32], Objective),
}

impl Vectorised for Elementwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self {
            Elementwise::Relu(values) => relu::<L>(values),
            Elementwise::ReluBackward(gradient, output) => relu_backward::<L>(gradient, output),
            Elementwise::Scale(values, factors) => {
                let zero = L::splat(0.0);
                for (value, factor) in values.chunks_exact_mut(L::N).zip(factors.chunks_exact(L::N)) {
                    let factor = L::load(factor);
                    L::select(zero.lt(factor), L::load(value).mul(factor), zero).store(value);
                }
            }
            Elementwise::Softmax(values, classes) => softmax::<L>(values, classes),
            Elementwise::SoftmaxBackward(gradient, probabilities, n, classes, objective) => {
                let tiles = gradient.chunks_exact_mut(n * L::N).zip(probabilities.chunks_exact(n * L::N));
                for (tile, (gradient, probabilities)) in tiles.enumerate() {
                    let first = (tile * L::N).min(classes.len());
                    let classes = &classes[first..(first + L::N).min(classes.len())];
                    softmax_backward::<L>(gradient, probabilities, classes, objective);
                }
            }
        }
    }
}
