//! Training, step by step as the rules at the top of `backend::cpu::train` say it: plain loops over one image at a time.
//!
//! In f64 it is the formula, which the tests hold against finite differences; in f32 it is the rule, which the backend
//! must equal in every bit.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

use pareidolia::math;
use pareidolia::network::{Network, Operation, Shape, Window};

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
    + AddAssign
{
    const ZERO: Self;
    const ONE: Self;
    fn from_f32(x: f32) -> Self;
    fn fma(self, b: Self, c: Self) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> f64;
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
    fn exp(self) -> f32 {
        math::scalar::exp(self)
    }
    fn ln(self) -> f64 {
        f64::from(self).ln()
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
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn ln(self) -> f64 {
        f64::ln(self)
    }
}

/// A network whose weights are `R`.
pub struct Reference<R> {
    pub layers: Vec<Operation>,
    pub shapes: Vec<Shape>,
    pub scale: R,
    /// Per layer: weights and biases, empty where it has none.
    pub parameters: Vec<(Vec<R>, Vec<R>)>,
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
            layers: network.layers.iter().map(|layer| layer.operation).collect(),
            shapes: network.shapes(),
            scale: R::from_f32(network.preprocess.scale[0]),
        }
    }

    /// Cross entropy averaged over the images, `(height, width, channels)` bytes each.
    pub fn loss(&self, images: &[u8], labels: &[u8]) -> f64 {
        let images = images.chunks_exact(self.shapes[0].len());
        let losses =
            images.zip(labels).map(|(image, &label)| -self.forward(image).last().unwrap()[label as usize].ln());
        losses.sum::<f64>() / labels.len() as f64
    }

    /// The gradient of [`Reference::loss`] with respect to each layer's weights and biases.
    pub fn gradients(&self, images: &[u8], labels: &[u8]) -> Vec<(Vec<R>, Vec<R>)> {
        let len = self.shapes[0].len();
        let black = vec![0; len];
        let batch: Vec<_> = (0..labels.len().next_multiple_of(SLOTS))
            .map(|index| {
                let image = images.chunks_exact(len).nth(index).unwrap_or(&black);
                let activations = self.forward(image);
                let gradients = self.backward(&activations, labels.get(index).copied(), labels.len());
                (activations, gradients)
            })
            .collect();
        (0..self.layers.len())
            .map(|layer| {
                let (weights, biases) = (&self.parameters[layer].0, &self.parameters[layer].1);
                let weight = |at| {
                    in_slots(&batch, |slot, (activations, gradients)| {
                        for (x, g) in self.products(layer, at, &activations[layer], &gradients[layer + 1]) {
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

    /// The input, then each layer's output.
    fn forward(&self, image: &[u8]) -> Vec<Vec<R>> {
        let Shape { channels, height, width } = self.shapes[0];
        let mut input = Vec::new();
        for c in 0..channels {
            for position in 0..height * width {
                input.push(R::from_f32(f32::from(image[position * channels + c])) * self.scale);
            }
        }
        let mut activations = vec![input];
        for (index, layer) in self.layers.iter().enumerate() {
            let x = &activations[index];
            let (from, to) = (self.shapes[index], self.shapes[index + 1]);
            let mut y = vec![R::ZERO; to.len()];
            let (weights, biases) = &self.parameters[index];
            match *layer {
                Operation::Dense { .. } => {
                    for (o, y) in y.iter_mut().enumerate() {
                        *y = biases[o];
                        for (i, &x) in x.iter().enumerate() {
                            *y = x.fma(weights[o * from.len() + i], *y);
                        }
                    }
                }
                Operation::Conv2d { kernel, groups, .. } => {
                    let inputs = from.channels / groups;
                    for (at, y) in y.iter_mut().enumerate() {
                        let (o, row, column) = split(at, to);
                        *y = biases[o];
                        for k in 0..inputs * kernel * kernel {
                            let (i, ky, kx) = (k / (kernel * kernel), k / kernel % kernel, k % kernel);
                            let channel = o / (to.channels / groups) * inputs + i;
                            if let Some(at) = self.tap(index, channel, row, column, ky, kx) {
                                *y = x[at].fma(weights[o * inputs * kernel * kernel + k], *y);
                            }
                        }
                    }
                }
                Operation::MaxPool { .. } => {
                    for (at, y) in y.iter_mut().enumerate() {
                        *y = x[self.first_maximum(index, at, x)];
                    }
                }
                Operation::Relu => {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = if x > R::ZERO { x } else { R::ZERO };
                    }
                }
                Operation::AveragePool { .. } | Operation::Lrn { .. } | Operation::Concat => {
                    unreachable!("not trained")
                }
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
            activations.push(y);
        }
        activations
    }

    /// The gradient with respect to the input (left 0) and each layer's output (left 0 for the softmax, which takes the
    /// loss with it) of one image of `batch`; all 0 without a label.
    fn backward(&self, activations: &[Vec<R>], label: Option<u8>, batch: usize) -> Vec<Vec<R>> {
        let mut gradients: Vec<Vec<R>> = self.shapes.iter().map(|shape| vec![R::ZERO; shape.len()]).collect();
        let first = self.parameters.iter().position(|(weights, _)| !weights.is_empty()).unwrap();
        for index in (first + 1..self.layers.len()).rev() {
            let (from, to) = (self.shapes[index], self.shapes[index + 1]);
            let (dx, dy) = gradients.split_at_mut(index + 1);
            let (dx, dy) = (&mut dx[index], &dy[0]);
            let (x, y) = (&activations[index], &activations[index + 1]);
            let weights = &self.parameters[index].0;
            match self.layers[index] {
                Operation::AveragePool { .. } | Operation::Lrn { .. } | Operation::Concat => {
                    unreachable!("not trained")
                }
                Operation::Softmax => {
                    if let Some(label) = label {
                        for (class, dx) in dx.iter_mut().enumerate() {
                            let p = if class == usize::from(label) { y[class] - R::ONE } else { y[class] };
                            *dx = p / R::from_f32(batch as f32);
                        }
                    }
                }
                Operation::Relu => {
                    for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
                        *dx = if y > R::ZERO { dy } else { R::ZERO };
                    }
                }
                Operation::MaxPool { .. } => {
                    for (at, &dy) in dy.iter().enumerate() {
                        dx[self.first_maximum(index, at, x)] += dy;
                    }
                }
                Operation::Dense { .. } => {
                    for (i, dx) in dx.iter_mut().enumerate() {
                        for (o, &dy) in dy.iter().enumerate() {
                            *dx = dy.fma(weights[o * from.len() + i], *dx);
                        }
                    }
                }
                Operation::Conv2d { kernel, groups, .. } => {
                    let (inputs, outputs) = (from.channels / groups, to.channels / groups);
                    for (element, dx) in dx.iter_mut().enumerate() {
                        let (channel, _, _) = split(element, from);
                        for (at, &dy) in dy.iter().enumerate() {
                            let (o, row, column) = split(at, to);
                            if o / outputs != channel / inputs {
                                continue;
                            }
                            for tap in 0..kernel * kernel {
                                let (ky, kx) = (tap / kernel, tap % kernel);
                                if self.tap(index, channel, row, column, ky, kx) == Some(element) {
                                    let weight = (o * inputs + channel % inputs) * kernel * kernel + tap;
                                    *dx = dy.fma(weights[weight], *dx);
                                }
                            }
                        }
                    }
                }
            }
        }
        gradients
    }

    /// The pairs of input and output gradient whose products make the gradient of weight `at`, in order.
    fn products(&self, layer: usize, at: usize, x: &[R], dy: &[R]) -> Vec<(R, R)> {
        let (from, to) = (self.shapes[layer], self.shapes[layer + 1]);
        match self.layers[layer] {
            Operation::Dense { .. } => vec![(x[at % from.len()], dy[at / from.len()])],
            Operation::Conv2d { kernel, groups, .. } => {
                let inputs = from.channels / groups;
                let (o, i, tap) =
                    (at / (inputs * kernel * kernel), at / (kernel * kernel) % inputs, at % (kernel * kernel));
                let channel = o / (to.channels / groups) * inputs + i;
                let positions = 0..to.height * to.width;
                positions
                    .filter_map(|position| {
                        let (row, column) = (position / to.width, position % to.width);
                        let input = self.tap(layer, channel, row, column, tap / kernel, tap % kernel)?;
                        Some((x[input], dy[o * to.height * to.width + position]))
                    })
                    .collect()
            }
            _ => unreachable!("no weights"),
        }
    }

    /// Flat index of the input that a convolution's tap (ky, kx) meets at an output position; `None` in the padding.
    fn tap(&self, layer: usize, channel: usize, row: usize, column: usize, ky: usize, kx: usize) -> Option<usize> {
        let Operation::Conv2d { stride, padding, .. } = self.layers[layer] else { unreachable!("a convolution") };
        let Shape { height, width, .. } = self.shapes[layer];
        let y = (row * stride + ky).checked_sub(padding).filter(|&y| y < height)?;
        let x = (column * stride + kx).checked_sub(padding).filter(|&x| x < width)?;
        Some((channel * height + y) * width + x)
    }

    /// Flat index of the first largest input of a pooling's window, row by row.
    fn first_maximum(&self, layer: usize, output: usize, x: &[R]) -> usize {
        let Operation::MaxPool(Window { kernel, stride, .. }) = self.layers[layer] else { unreachable!("a pooling") };
        let from = self.shapes[layer];
        let (channel, row, column) = split(output, self.shapes[layer + 1]);
        let mut best = (channel * from.height + row * stride) * from.width + column * stride;
        for y in row * stride..(row * stride + kernel).min(from.height) {
            for column in column * stride..(column * stride + kernel).min(from.width) {
                let at = (channel * from.height + y) * from.width + column;
                best = if x[at] > x[best] { at } else { best };
            }
        }
        best
    }
}

/// Channel, row and column of a flat index.
fn split(at: usize, shape: Shape) -> (usize, usize, usize) {
    (at / (shape.height * shape.width), at / shape.width % shape.height, at % shape.width)
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
