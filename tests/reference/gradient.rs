//! A network forward and back, step by step as the rules of `network::gradient` and `network::Operation` say it: plain loops over one
//! image at a time.
//!
//! In f64 it is the formula, which the tests hold against finite differences; in f32 it is the rule, which the backends must equal in
//! every bit.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use pareidolia::backend::training::Dropout;
use pareidolia::math;
use pareidolia::network::{ChannelOrder, Layer, Network, Operation, Shape, Window};
use pareidolia::rng::{Philox, Purpose, unit};

/// Accumulators of a weight gradient.
const SLOTS: usize = 16;

/// f32 or f64.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    const ZERO: Self;
    const ONE: Self;
    fn from_f32(x: f32) -> Self;
    fn fma(self, b: Self, c: Self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    fn from_f32(x: f32) -> f32 {
        x
    }
    fn fma(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }
    fn sqrt(self) -> f32 {
        self.sqrt()
    }
    fn exp(self) -> f32 {
        math::scalar::exp(self)
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    fn from_f32(x: f32) -> f64 {
        f64::from(x)
    }
    fn fma(self, b: f64, c: f64) -> f64 {
        self.mul_add(b, c)
    }
    fn sqrt(self) -> f64 {
        self.sqrt()
    }
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// A network whose weights are `R`.
pub struct Reference<R> {
    pub layers: Vec<Layer>,
    pub shapes: Vec<Shape>,
    pub scale: [R; 3],
    pub mean: Vec<R>,
    pub order: ChannelOrder,
    /// Per layer: weights and biases, empty where it has none.
    pub parameters: Vec<(Vec<R>, Vec<R>)>,
    /// What training drops, and the seed that it draws from.
    pub dropout: Vec<Dropout>,
    pub seed: u64,
}

/// An image on its way.
pub struct Trace<R> {
    /// The input, then what each layer gives.
    pub given: Vec<Vec<R>>,
    /// The same as those see it that take it: after dropout.
    pub taken: Vec<Vec<R>>,
    /// What dropout multiplies each with, 0 for what it drops; empty where it drops nothing.
    factors: Vec<Vec<R>>,
}

/// Which image of a batch, and which iteration: what dropout draws by.
#[derive(Clone, Copy)]
pub struct Place {
    pub image: usize,
    pub iteration: u32,
}

impl<R: Real> Reference<R> {
    pub fn new(network: &Network) -> Reference<R> {
        let convert = |values: &[f32]| values.iter().map(|&value| R::from_f32(value)).collect();
        let mut parameters = network.parameters.iter();
        let pairs = network.layers.iter().map(|layer| match layer.operation {
            Operation::Conv2d { .. } | Operation::Dense { .. } => {
                let parameters = parameters.next().unwrap();
                (convert(&parameters.weight), convert(&parameters.bias))
            }
            _ => (Vec::new(), Vec::new()),
        });
        Reference {
            parameters: pairs.collect(),
            layers: network.layers.clone(),
            shapes: network.shapes(),
            scale: network.preprocess.scale.map(R::from_f32),
            mean: convert(&network.preprocess.mean),
            order: network.preprocess.channel_order,
            dropout: Vec::new(),
            seed: 0,
        }
    }

    /// What the first layer takes of an 8-bit image, `(height, width, channels)`: `(channels, height, width)`.
    pub fn preprocess(&self, image: &[u8]) -> Vec<R> {
        let Shape { channels, height, width } = self.shapes[0];
        let mut input = Vec::new();
        for channel in 0..channels {
            let byte = if self.order == ChannelOrder::Bgr { 2 - channel } else { channel };
            for position in 0..height * width {
                let mut x = R::from_f32(f32::from(image[position * channels + byte]));
                if !self.mean.is_empty() {
                    x = x - self.mean[channel * height * width + position];
                }
                input.push(x * self.scale[channel]);
            }
        }
        input
    }

    /// The class probabilities for `input`, and the gradient of that of `class` with respect to it.
    pub fn probability_gradient(&self, input: &[R], class: usize) -> (Vec<R>, Vec<R>) {
        let trace = self.forward(input, None);
        let p = trace.given.last().unwrap().clone();
        let logits = (0..p.len()).map(|j| p[class] * (if j == class { R::ONE - p[j] } else { R::ZERO - p[j] }));
        let mut gradients = self.backward(&trace, logits.collect(), true);
        (p, gradients.swap_remove(0))
    }

    /// Cross entropy of each image, `(height, width, channels)` bytes each.
    pub fn losses(&self, images: &[u8], labels: &[u32], iteration: u32) -> Vec<f64> {
        let images = images.chunks_exact(self.shapes[0].len());
        let losses = images.zip(labels).enumerate().map(|(image, (bytes, &label))| {
            let trace = self.forward(&self.preprocess(bytes), Some(Place { image, iteration }));
            let p = trace.given.last().unwrap()[label as usize].to_f64();
            -p.max(f64::from(f32::MIN_POSITIVE)).ln()
        });
        losses.collect()
    }

    /// The gradient of the mean of [`Reference::losses`] with respect to each layer's weights and biases.
    pub fn gradients(&self, images: &[u8], labels: &[u32], iteration: u32) -> Vec<(Vec<R>, Vec<R>)> {
        let len = self.shapes[0].len();
        let black = vec![0; len];
        let batch: Vec<_> = (0..labels.len().next_multiple_of(SLOTS))
            .map(|image| {
                let bytes = images.chunks_exact(len).nth(image).unwrap_or(&black);
                let trace = self.forward(&self.preprocess(bytes), Some(Place { image, iteration }));
                let p = trace.given.last().unwrap();
                let size = R::from_f32(labels.len() as f32);
                let logits = match labels.get(image) {
                    Some(&label) => {
                        (0..p.len()).map(|j| (if j == label as usize { p[j] - R::ONE } else { p[j] }) / size).collect()
                    }
                    None => vec![R::ZERO; p.len()],
                };
                let gradients = self.backward(&trace, logits, false);
                (trace, gradients)
            })
            .collect();
        (0..self.layers.len())
            .map(|layer| {
                let (weights, biases) = &self.parameters[layer];
                let weight = |at| {
                    in_slots(&batch, |slot, (trace, gradients)| {
                        let x = &trace.taken[self.layers[layer].inputs[0]];
                        for (x, g) in self.products(layer, at, x, &gradients[layer + 1]) {
                            *slot = g.fma(x, *slot);
                        }
                    })
                };
                let positions = self.shapes[layer + 1].height * self.shapes[layer + 1].width;
                let bias = |at| {
                    in_slots(&batch, |slot, (_, gradients)| {
                        for &g in &gradients[layer + 1][at * positions..][..positions] {
                            *slot += g;
                        }
                    })
                };
                ((0..weights.len()).map(weight).collect(), (0..biases.len()).map(bias).collect())
            })
            .collect()
    }

    /// `input` through the layers; with a `place` in a batch what is dropped is dropped.
    pub fn forward(&self, input: &[R], place: Option<Place>) -> Trace<R> {
        let mut trace = Trace { given: Vec::new(), taken: Vec::new(), factors: Vec::new() };
        self.keep(&mut trace, input.to_vec(), place);
        for (index, layer) in self.layers.iter().enumerate() {
            let x = &trace.taken[layer.inputs[0]];
            let (from, to) = (self.shapes[layer.inputs[0]], self.shapes[index + 1]);
            let mut y = vec![R::ZERO; to.len()];
            let (weights, biases) = &self.parameters[index];
            match layer.operation {
                Operation::Dense { .. } => {
                    for (o, y) in y.iter_mut().enumerate() {
                        *y = biases[o];
                        for (i, &x) in x.iter().enumerate() {
                            *y = x.fma(weights[o * from.len() + i], *y);
                        }
                    }
                }
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let inputs = from.channels / groups;
                    for (at, y) in y.iter_mut().enumerate() {
                        let (o, row, column) = split(at, to);
                        *y = biases[o];
                        for k in 0..inputs * kernel * kernel {
                            let (i, ky, kx) = (k / (kernel * kernel), k / kernel % kernel, k % kernel);
                            let channel = o / (to.channels / groups) * inputs + i;
                            let place = inside(row * stride + ky, padding, from.height).zip(inside(
                                column * stride + kx,
                                padding,
                                from.width,
                            ));
                            if let Some((row, column)) = place {
                                let x = x[(channel * from.height + row) * from.width + column];
                                *y = x.fma(weights[o * inputs * kernel * kernel + k], *y);
                            }
                        }
                    }
                }
                Operation::MaxPool(window) => {
                    for (at, y) in y.iter_mut().enumerate() {
                        *y = x[first_maximum(window, from, to, at, x)];
                    }
                }
                Operation::AveragePool { window, count_padding } => {
                    for (at, y) in y.iter_mut().enumerate() {
                        let (seen, n) = part(window, from, to, at, count_padding);
                        for element in seen {
                            *y += x[element];
                        }
                        *y = *y / R::from_f32(n as f32);
                    }
                }
                Operation::Lrn { size, alpha, k } => {
                    for (at, y) in y.iter_mut().enumerate() {
                        *y = x[at] / power(scale(x, at, from, size, alpha, k));
                    }
                }
                Operation::Relu => {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = if x > R::ZERO { x } else { R::ZERO };
                    }
                }
                Operation::Concat => y = layer.inputs.iter().flat_map(|&value| trace.taken[value].clone()).collect(),
                Operation::Softmax => {
                    let mut most = x[0];
                    for &x in x {
                        most = if x > most { x } else { most };
                    }
                    let mut sum = R::ZERO;
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - most).exp();
                        sum += *y;
                    }
                    for y in &mut y {
                        *y = *y / sum;
                    }
                }
            }
            self.keep(&mut trace, y, place);
        }
        trace
    }

    /// Adds a value, and what dropout leaves of it.
    fn keep(&self, trace: &mut Trace<R>, value: Vec<R>, place: Option<Place>) {
        let number = trace.given.len();
        let dropout = self.dropout.iter().find(|dropout| dropout.value == number);
        let factors: Vec<R> = match dropout.zip(place) {
            None => Vec::new(),
            Some((dropout, Place { image, iteration })) => {
                let draws = Philox::new(self.seed).draws(Purpose::Dropout, (number * 65_536 + image) as u32, iteration);
                let factor = R::from_f32((1.0 / (1.0 - f64::from(dropout.ratio))) as f32);
                let elements = 0..value.len() as u32;
                elements.map(|f| if unit(draws.word(f)) < dropout.ratio { R::ZERO } else { factor }).collect()
            }
        };
        trace.taken.push(if factors.is_empty() { value.clone() } else { dropped(&value, &factors) });
        trace.given.push(value);
        trace.factors.push(factors);
    }

    /// The gradient with respect to the input and to what each layer gives, from that of what the softmax takes (its own output's is left
    /// 0). Without `to_input` only as far as weights need it: 0 where nothing before has any.
    pub fn backward(&self, trace: &Trace<R>, logits: Vec<R>, to_input: bool) -> Vec<Vec<R>> {
        let zeros = |value: usize| vec![R::ZERO; self.shapes[value].len()];
        let n = self.layers.len();
        let mut learns = vec![to_input; n + 1];
        for (index, layer) in self.layers.iter().enumerate() {
            learns[index + 1] = layer.operation.has_weights() || layer.inputs.iter().any(|&value| learns[value]);
        }
        // What the layers have sent so far, the last one's first.
        let mut sums: Vec<Option<Vec<R>>> = vec![None; n + 1];
        for (index, layer) in self.layers.iter().enumerate().rev() {
            // Dropout is a layer of its own, between the value and all that take it.
            if let Some(sum) = sums[index + 1].take() {
                sums[index + 1] = Some(undropped(sum, &trace.factors[index + 1]));
            }
            let dy = if index + 1 == n { zeros(n) } else { sums[index + 1].clone().expect("every value is taken") };
            let mut sent =
                if layer.operation == Operation::Softmax { vec![logits.clone()] } else { self.sent(index, trace, &dy) };
            for &value in layer.inputs.iter().rev() {
                let sent = sent.pop().expect("one an input");
                if !learns[value] {
                    sums[value] = Some(zeros(value));
                    continue;
                }
                sums[value] = Some(match sums[value].take() {
                    None => sent,
                    Some(sum) => sum.iter().zip(&sent).map(|(&sum, &next)| sum + next).collect(),
                });
            }
        }
        sums[0] = sums[0].take().map(|sum| undropped(sum, &trace.factors[0]));
        sums[n] = Some(zeros(n));
        sums.into_iter().map(|sum| sum.expect("every value is taken")).collect()
    }

    /// What layer `index` sends to each of its inputs.
    fn sent(&self, index: usize, trace: &Trace<R>, dy: &[R]) -> Vec<Vec<R>> {
        let layer = &self.layers[index];
        let (from, to) = (self.shapes[layer.inputs[0]], self.shapes[index + 1]);
        let (x, y) = (&trace.taken[layer.inputs[0]], &trace.given[index + 1]);
        let mut dx = vec![R::ZERO; from.len()];
        let weights = &self.parameters[index].0;
        match layer.operation {
            Operation::Softmax => unreachable!("begins"),
            Operation::Relu => {
                for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                    *dx = if y > R::ZERO { dy } else { R::ZERO };
                }
            }
            Operation::MaxPool(window) => {
                for (at, &dy) in dy.iter().enumerate() {
                    dx[first_maximum(window, from, to, at, x)] += dy;
                }
            }
            Operation::AveragePool { window, count_padding } => {
                for (at, &dy) in dy.iter().enumerate() {
                    let (seen, n) = part(window, from, to, at, count_padding);
                    for element in seen {
                        dx[element] += dy / R::from_f32(n as f32);
                    }
                }
            }
            Operation::Lrn { size, alpha, k } => {
                let plane = from.height * from.width;
                let c = (R::from_f32(2.0) * R::from_f32(0.75) * R::from_f32(alpha)) / R::from_f32(size as f32);
                for (at, dx) in dx.iter_mut().enumerate() {
                    let mut sum = R::ZERO;
                    for j in window(at / plane, from.channels, size) {
                        let j = j * plane + at % plane;
                        sum += (dy[j] * y[j]) / scale(x, j, from, size, alpha, k);
                    }
                    let p = power(scale(x, at, from, size, alpha, k));
                    *dx = (-(c * x[at])).fma(sum, dy[at] / p);
                }
            }
            Operation::Dense { .. } => {
                for (i, dx) in dx.iter_mut().enumerate() {
                    for (o, &dy) in dy.iter().enumerate() {
                        *dx = dy.fma(weights[o * from.len() + i], *dx);
                    }
                }
            }
            Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                let (inputs, outputs) = (from.channels / groups, to.channels / groups);
                let tap =
                    |at: usize, output: usize| (at + padding).checked_sub(output * stride).filter(|&t| t < kernel);
                for (element, dx) in dx.iter_mut().enumerate() {
                    let (channel, y, x) = split(element, from);
                    let group = channel / inputs;
                    for o in group * outputs..(group + 1) * outputs {
                        for row in 0..to.height {
                            let Some(ky) = tap(y, row) else { continue };
                            for column in 0..to.width {
                                let Some(kx) = tap(x, column) else { continue };
                                let weight = ((o * inputs + channel % inputs) * kernel + ky) * kernel + kx;
                                *dx = dy[(o * to.height + row) * to.width + column].fma(weights[weight], *dx);
                            }
                        }
                    }
                }
            }
            Operation::Concat => {
                let mut first = 0;
                let parts = layer.inputs.iter().map(|&value| {
                    let len = self.shapes[value].len();
                    first += len;
                    dy[first - len..first].to_vec()
                });
                return parts.collect();
            }
        }
        vec![dx]
    }

    /// The pairs of input and output gradient whose products make the gradient of weight `at`, in order.
    fn products(&self, layer: usize, at: usize, x: &[R], dy: &[R]) -> Vec<(R, R)> {
        let (from, to) = (self.shapes[self.layers[layer].inputs[0]], self.shapes[layer + 1]);
        match self.layers[layer].operation {
            Operation::Dense { .. } => vec![(x[at % from.len()], dy[at / from.len()])],
            Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                let inputs = from.channels / groups;
                let (o, i, tap) =
                    (at / (inputs * kernel * kernel), at / (kernel * kernel) % inputs, at % (kernel * kernel));
                let channel = o / (to.channels / groups) * inputs + i;
                let positions = 0..to.height * to.width;
                positions
                    .filter_map(|position| {
                        let (row, column) = (position / to.width, position % to.width);
                        let y = inside(row * stride + tap / kernel, padding, from.height)?;
                        let column = inside(column * stride + tap % kernel, padding, from.width)?;
                        let input = (channel * from.height + y) * from.width + column;
                        Some((x[input], dy[o * to.height * to.width + position]))
                    })
                    .collect()
            }
            _ => unreachable!("no weights"),
        }
    }
}

/// Channel, row and column of a flat index.
fn split(at: usize, shape: Shape) -> (usize, usize, usize) {
    (at / (shape.height * shape.width), at / shape.width % shape.height, at % shape.width)
}

/// The position of an axis that is `at` counted from the padding's first, if it is inside.
fn inside(at: usize, padding: usize, size: usize) -> Option<usize> {
    at.checked_sub(padding).filter(|&at| at < size)
}

/// `x` times its factor; +0 where that is 0.
fn dropped<R: Real>(values: &[R], factors: &[R]) -> Vec<R> {
    let pairs = values.iter().zip(factors);
    pairs.map(|(&value, &factor)| if factor > R::ZERO { value * factor } else { R::ZERO }).collect()
}

/// The way back of [`dropped`], where anything is.
fn undropped<R: Real>(gradient: Vec<R>, factors: &[R]) -> Vec<R> {
    if factors.is_empty() { gradient } else { dropped(&gradient, factors) }
}

/// The elements that the window of a pooling's output sees, row by row, and how many it counts.
fn part(window: Window, from: Shape, to: Shape, at: usize, count_padding: bool) -> (Vec<usize>, usize) {
    let Window { kernel, stride, padding, .. } = window;
    let (channel, row, column) = split(at, to);
    let (mut seen, mut padded) = (Vec::new(), 0);
    for y in row * stride..row * stride + kernel {
        for x in column * stride..column * stride + kernel {
            if y < from.height + 2 * padding && x < from.width + 2 * padding {
                padded += 1;
            }
            if let Some((y, x)) = inside(y, padding, from.height).zip(inside(x, padding, from.width)) {
                seen.push((channel * from.height + y) * from.width + x);
            }
        }
    }
    let n = if count_padding { padded } else { seen.len() };
    (seen, n)
}

/// Flat index of the first largest input of a pooling's window, row by row.
fn first_maximum<R: Real>(window: Window, from: Shape, to: Shape, output: usize, x: &[R]) -> usize {
    let seen = part(window, from, to, output, false).0;
    let mut best = seen[0];
    for at in seen {
        best = if x[at] > x[best] { at } else { best };
    }
    best
}

/// The channels that exist in the window of `size` around `channel`.
fn window(channel: usize, channels: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..channels).filter(move |&other| other.abs_diff(channel) <= size / 2)
}

/// `s` of local response normalisation.
fn scale<R: Real>(x: &[R], at: usize, shape: Shape, size: usize, alpha: f32, k: f32) -> R {
    let plane = shape.height * shape.width;
    let mut sum = R::ZERO;
    for channel in window(at / plane, shape.channels, size) {
        let x = x[channel * plane + at % plane];
        sum = x.fma(x, sum);
    }
    (R::from_f32(alpha) / R::from_f32(size as f32)).fma(sum, R::from_f32(k))
}

/// `s^0.75`.
fn power<R: Real>(s: R) -> R {
    s.sqrt() * s.sqrt().sqrt()
}

/// Image i adds to slot i % SLOTS; then the upper half is added to the lower, until one is left.
fn in_slots<R: Real, T>(batch: &[T], mut add: impl FnMut(&mut R, &T)) -> R {
    let mut slots = [R::ZERO; SLOTS];
    for (index, image) in batch.iter().enumerate() {
        add(&mut slots[index % SLOTS], image);
    }
    for half in [8, 4, 2, 1] {
        for slot in 0..half {
            let upper = slots[slot + half];
            slots[slot] += upper;
        }
    }
    slots[0]
}
