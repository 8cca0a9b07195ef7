//! The way back through a convolution or a dense layer to what it took, on the device: forward kernels with other weights.
//!
//! Of a convolution with stride 1 the gradient of the input is a convolution of the output's gradient: channels exchanged, the kernel
//! turned, the padding what is left of the kernel. With a stride s, values of the input that are s apart have been under the same
//! taps: those of each of the s * s *phases* are an output channel of a convolution with stride 1 and `ceil(kernel / s)` taps a side, of
//! which those that the kernel does not have are 0. Then the phases are put beside one another. Where an input has so few channels that a
//! block of the kernel would be mostly empty, phases are made of more values: m a side of each, which is a convolution with stride m and
//! m - 1 more taps. Either way the terms come in the order of the rules: output channel, row, column; what is added beside them is a
//! gradient times 0.

use super::conv2d::{Conv2d, MAX_KERNEL};
use super::dense::Dense;
use super::depth_to_space::DepthToSpace;
use super::launcher::Launcher;
use crate::backend::cpu::conv2d::Geometry;
use crate::error::Result;
use crate::network::{Parameters, Shape};

/// Output channels that the narrowest block of the kernels makes.
const ROWS: usize = 32;

/// What a convolution's way back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dBackward {
    /// The layer.
    forward: Geometry,
    /// From the gradient of the layer's output to that of its input, or to the phases.
    pub geometry: Geometry,
    /// From the phases to the gradient of the input, where there are some.
    pub phases: Option<DepthToSpace>,
}

impl Conv2dBackward {
    /// That of a layer, of the kind that should take least time.
    pub fn new(forward: Geometry) -> Conv2dBackward {
        let all = [1, 2, 4].map(|m| Conv2dBackward::in_phases(forward, m));
        let fitting = all.into_iter().filter(|way| way.geometry.kernel <= MAX_KERNEL);
        let best = fitting.min_by_key(|way| way.products()).expect("the layer's own kernel fits");
        match Conv2dBackward::at_once(forward) {
            Some(way) if way.products() <= best.products() => way,
            _ => best,
        }
    }

    /// Without phases, if that can be.
    fn at_once(forward: Geometry) -> Option<Conv2dBackward> {
        let Geometry { input, output, kernel, stride, padding, groups } = forward;
        let padding = (kernel - 1).checked_sub(padding).filter(|_| stride == 1)?;
        let geometry = Geometry { input: output, output: input, kernel, stride, padding, groups };
        Some(Conv2dBackward { forward, geometry, phases: None })
    }

    /// In phases, a value of each of which is made of `m` by `m` of the output's: the input's values are `m` strides apart.
    fn in_phases(forward: Geometry, m: usize) -> Conv2dBackward {
        let Geometry { input, output, kernel, stride, padding, groups } = forward;
        let (taps, apart) = (kernel.div_ceil(stride), m * stride);
        // Rows of phases above the input lie in its padding. Those that all taps miss need not be made.
        let skipped = (padding / apart).min((taps - 1) / m);
        let size = |size: usize| (size + padding).div_ceil(apart) - skipped;
        let phases =
            Shape { channels: input.channels * apart * apart, height: size(input.height), width: size(input.width) };
        let geometry = Geometry {
            input: output,
            output: phases,
            kernel: taps + m - 1,
            stride: m,
            padding: taps - 1 - m * skipped,
            groups,
        };
        let first = padding - skipped * apart;
        let phases = DepthToSpace { input: phases, output: input, stride: apart, first };
        Conv2dBackward { forward, geometry, phases: Some(phases) }
    }

    /// Products of an image, those in the empty part of blocks too.
    fn products(&self) -> usize {
        let Geometry { output, groups, .. } = self.geometry;
        let rows = self.geometry.outputs_per_group().next_multiple_of(ROWS);
        groups * rows * output.height * output.width * self.geometry.k()
    }

    /// Which of the layer's weights is each weight of [`Conv2dBackward::geometry`]; `None` for a tap that the kernel does not have.
    pub fn sources(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let Geometry { kernel, stride, groups, .. } = self.forward;
        let (apart, turned) = (self.phases.map_or(1, |phases| phases.stride), self.geometry.kernel);
        let (rows, columns) = (self.geometry.outputs_per_group(), self.geometry.channels_per_group());
        let in_group = rows / (apart * apart); // input channels of a group of the layer
        let last = kernel.div_ceil(stride) - 1;
        // The tap of the layer's kernel that is tap `at` of a phase.
        let tap =
            move |phase: usize, at: usize| (phase + stride * last).checked_sub(stride * at).filter(|&tap| tap < kernel);
        (0..groups * rows * columns * turned * turned).map(move |at| {
            let (x, y) = (at % turned, at / turned % turned);
            let rest = at / (turned * turned);
            let (column, row, group) = (rest % columns, rest / columns % rows, rest / columns / rows);
            let (channel, phase_y, phase_x) = (row / (apart * apart), row / apart % apart, row % apart);
            let plane = (group * columns + column) * in_group + channel;
            Some((plane * kernel + tap(phase_y, y)?) * kernel + tap(phase_x, x)?)
        })
    }

    /// The weights of [`Conv2dBackward::geometry`], of the layer's.
    pub fn parameters(&self, weight: &[f32]) -> Parameters {
        Parameters {
            weight: self.sources().map(|source| source.map_or(0.0, |at| weight[at])).collect(),
            bias: vec![0.0; self.geometry.output.channels],
        }
    }

    /// Brings it to the device.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn upload(&self, launcher: &Launcher, weight: &[f32]) -> Result<Conv2d> {
        Conv2d::new(launcher, self.geometry, &self.parameters(weight), false)
    }
}

/// The dense layer that gives the gradient of the `inputs` of a layer of weights `(outputs, inputs)`.
///
/// # Errors
/// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
pub fn dense_backward(launcher: &Launcher, inputs: usize, weight: &[f32]) -> Result<Dense> {
    let outputs = weight.len() / inputs;
    let turned = (0..weight.len()).map(|at| weight[at % outputs * inputs + at / outputs]).collect();
    Dense::new(launcher, outputs, &Parameters { weight: turned, bias: vec![0.0; inputs] }, false)
}
