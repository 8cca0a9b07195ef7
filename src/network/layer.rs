//! One layer: what it computes, of which values, and the shapes that go in and come out.

use super::Shape;
use serde::{Deserialize, Serialize};

/// The most values of an activation or of a layer's weights: an index into them fits into 31 bits.
pub const MAX_VALUES: usize = i32::MAX as usize;

/// A layer of a network. Layers stand in an order in which each comes after those whose values it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its tensors are `NAME.weight` and `NAME.bias`.
    pub name: String,
    /// The values it takes: 0 is the network's input, `i + 1` what layer `i` gives. Two or more for [`Operation::Concat`], one for
    /// every other.
    pub inputs: Vec<usize>,
    pub operation: Operation,
}

/// What a layer computes.
///
/// Numbers, on every backend: sums have one accumulator, fused multiply-adds, and the order given here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// Cross-correlation; weights `(out, in / groups, kernel, kernel)`. From the bias, over (input channel, kernel row, kernel
    /// column) ascending; terms of the padding may be left out.
    Conv2d { out_channels: usize, kernel: usize, stride: usize, padding: usize, groups: usize },
    /// `x > 0 ? x : 0`.
    Relu,
    /// The largest value of the window's part inside the image; of equals the first, row by row.
    MaxPool(Window),
    /// The sum of the window's part inside the image, from 0, row by row, divided by a number of positions: those inside the
    /// image, or with `count_padding` those inside the image and its padding.
    AveragePool { window: Window, count_padding: bool },
    /// Across channels: `x / (s^0.75)`, where `s = fma(alpha / size, sum, k)`, `sum` is of `fma(x, x, sum)` from 0 over the channels
    /// `c - size / 2 ..= c + size / 2` that exist, ascending, and `s^0.75 = sqrt(s) * sqrt(sqrt(s))`.
    Lrn { size: usize, alpha: f32, k: f32 },
    /// Weights `(out, in)`, the input flattened (channel, row, column). From the bias, over the inputs ascending.
    Dense { out_features: usize },
    /// The channels of all inputs, one input after the other.
    Concat,
    /// Over all values of an image; only as the last layer.
    Softmax,
}

/// The windows of a pooling: position `i` of the output sees `i * stride - padding ..` and `kernel` positions from there. A last window
/// that would start beyond the image and the padding on its left is not there: Caffe's rule and PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub rounding: Rounding,
}

/// Whether a window that is only partly inside image and padding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// It does not: `floor((size + 2 padding - kernel) / stride) + 1` positions.
    Floor,
    /// It does: `ceil((size + 2 padding - kernel) / stride) + 1`. Caffe always does so.
    Ceil,
}

impl Layer {
    /// A list in which each layer takes what the one before it gives.
    pub fn chain(layers: impl IntoIterator<Item = (impl Into<String>, Operation)>) -> Vec<Layer> {
        let layers = layers.into_iter().enumerate();
        layers.map(|(index, (name, operation))| Layer { name: name.into(), inputs: vec![index], operation }).collect()
    }

    /// The shape that this layer makes of `inputs`, or why it cannot take them.
    pub fn output(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let output = match (self.operation, inputs) {
            (Operation::Concat, [first, more @ ..]) if !more.is_empty() => {
                let mut channels = first.channels;
                for shape in more {
                    if (shape.height, shape.width) != (first.height, first.width) {
                        return Err(format!("its inputs {first} and {shape} differ in height or width"));
                    }
                    channels = channels.checked_add(shape.channels).ok_or("it has too many channels")?;
                }
                Shape { channels, ..*first }
            }
            (Operation::Concat, _) => return Err("needs two inputs or more".to_string()),
            (_, &[input]) => self.operation.output(input)?,
            (_, inputs) => return Err(format!("has {} inputs, it takes one", inputs.len())),
        };
        match output.checked_len() {
            Some(len) if len <= MAX_VALUES => Ok(output),
            _ => Err(format!("its output {output} has more than {MAX_VALUES} values")),
        }
    }

    /// Name and shape of this layer's weights, for an `input` that it can take; `None` if it has none. There is one
    /// bias an output: the first number of the shape.
    pub fn weight(&self, input: Shape) -> Option<(&str, Vec<usize>)> {
        match self.operation {
            Operation::Conv2d { out_channels, kernel, groups, .. } => {
                Some((&self.name, vec![out_channels, input.channels / groups, kernel, kernel]))
            }
            Operation::Dense { out_features } => Some((&self.name, vec![out_features, input.len()])),
            _ => None,
        }
    }
}

impl Layer {
    /// Multiply-adds of one image, the padding's included.
    pub fn multiply_adds(&self, input: Shape, output: Shape) -> u64 {
        self.weight(input).map_or(0, |(_, shape)| {
            let terms: usize = shape[1..].iter().product();
            output.len() as u64 * terms as u64
        })
    }
}

impl Operation {
    /// Whether there are weights.
    pub fn has_weights(self) -> bool {
        matches!(self, Operation::Conv2d { .. } | Operation::Dense { .. })
    }

    /// As lists of layers name it.
    pub fn type_name(self) -> &'static str {
        match self {
            Operation::Conv2d { .. } => "convolution",
            Operation::Relu => "relu",
            Operation::MaxPool(_) => "max-pool",
            Operation::AveragePool { .. } => "average-pool",
            Operation::Lrn { .. } => "lrn",
            Operation::Dense { .. } => "dense",
            Operation::Concat => "concat",
            Operation::Softmax => "softmax",
        }
    }

    /// What it makes of one input.
    fn output(self, input: Shape) -> Result<Shape, String> {
        let weights_fit = |counts: &[usize]| {
            let product = counts.iter().try_fold(1_usize, |product, &count| product.checked_mul(count));
            product.filter(|&product| product <= MAX_VALUES).map(drop).ok_or("it has too many weights".to_string())
        };
        match self {
            Operation::Conv2d { out_channels, kernel, stride, padding, groups } => {
                if [out_channels, kernel, stride, groups].contains(&0) {
                    return Err("out_channels, kernel, stride and groups must be at least 1".to_string());
                }
                if !input.channels.is_multiple_of(groups) || !out_channels.is_multiple_of(groups) {
                    return Err(format!(
                        "{groups} groups do not divide {} and {out_channels} channels",
                        input.channels
                    ));
                }
                weights_fit(&[out_channels, input.channels / groups, kernel, kernel])?;
                let size = |size: usize| {
                    let room = padded(size, padding)?.checked_sub(kernel);
                    room.map(|room| room / stride + 1)
                        .ok_or_else(|| format!("its {kernel}x{kernel} kernel is larger than the padded input {input}"))
                };
                Ok(Shape { channels: out_channels, height: size(input.height)?, width: size(input.width)? })
            }
            Operation::MaxPool(window) | Operation::AveragePool { window, .. } => Ok(Shape {
                channels: input.channels,
                height: window.positions(input.height, input)?,
                width: window.positions(input.width, input)?,
            }),
            Operation::Lrn { size, alpha, k } => {
                // With k of 0 a black image would be divided by 0.
                if size.is_multiple_of(2)
                    || size > 63
                    || !(alpha >= 0.0 && alpha.is_finite() && k > 0.0 && k.is_finite())
                {
                    return Err(format!(
                        "size {size}, alpha {alpha}, k {k}: the size must be odd and at most 63, alpha at least 0, k above 0"
                    ));
                }
                Ok(input)
            }
            Operation::Dense { out_features: 0 } => Err("out_features must be at least 1".to_string()),
            Operation::Dense { out_features } => {
                weights_fit(&[out_features, input.len()])?;
                Ok(Shape { channels: out_features, height: 1, width: 1 })
            }
            Operation::Relu | Operation::Softmax => Ok(input),
            Operation::Concat => unreachable!("Layer::output takes its inputs"),
        }
    }
}

impl Window {
    /// Windows along an axis of `size`, of the shape `input`.
    fn positions(self, size: usize, input: Shape) -> Result<usize, String> {
        let Window { kernel, stride, padding, rounding } = self;
        // With a stride above the kernel or a padding as large, a window could see nothing.
        if kernel == 0 || stride == 0 || stride > kernel || padding >= kernel {
            return Err(format!(
                "kernel {kernel}, stride {stride}, padding {padding}: kernel and stride must be at least 1, the stride at most the \
                 kernel, the padding below it"
            ));
        }
        let room = padded(size, padding)?
            .checked_sub(kernel)
            .ok_or_else(|| format!("its {kernel}x{kernel} window is larger than the padded input {input}"))?;
        let positions = match rounding {
            Rounding::Floor => room / stride + 1,
            Rounding::Ceil => room.div_ceil(stride) + 1,
        };
        let last_is_out = (positions - 1) * stride >= size + padding;
        Ok(if last_is_out { positions - 1 } else { positions })
    }

    /// The positions `first..last` of an axis of `size` that the window at output position `at` sees, and how many it sees with the
    /// padding.
    #[inline(always)]
    pub fn span(self, at: usize, size: usize) -> (usize, usize, usize) {
        let start = at * self.stride; // counted from the padding's first
        let end = (start + self.kernel).min(size + 2 * self.padding);
        (start.saturating_sub(self.padding), (end - self.padding).min(size), end - start)
    }
}

/// `size` with padding on both sides.
fn padded(size: usize, padding: usize) -> Result<usize, String> {
    padding
        .checked_mul(2)
        .and_then(|both| both.checked_add(size))
        .filter(|&size| size <= MAX_VALUES)
        .ok_or_else(|| format!("the padding {padding} is too large"))
}
