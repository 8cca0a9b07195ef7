//! The way back through a convolution or a dense layer to what it took, on the device: forward kernels with other weights.
//!
//! Of a convolution with stride 1 the gradient of the input is a convolution of the output's gradient: channels exchanged, the kernel
//! turned, the padding what is left of the kernel. With a stride s, values of the input that are s apart have been under the same
//! taps: those of each of the s * s *phases* are an output channel of a convolution with stride 1 and `ceil(kernel / s)` taps a side, of
//! which those that the kernel does not have are 0. Then the phases are put beside one another. Either way the terms come in the order
//! of the rules: output channel, row, column; what is added beside them is a gradient times 0.

use super::conv2d::Conv2d;
use super::dense::Dense;
use super::depth_to_space::DepthToSpace;
use super::launcher::Launcher;
use crate::backend::cpu::conv2d::Geometry;
use crate::error::Result;
use crate::network::{Parameters, Shape};

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
    /// That of a layer.
    pub fn new(forward: Geometry) -> Conv2dBackward {
        let Geometry { input, output, kernel, stride, padding, groups } = forward;
        if stride == 1 && padding < kernel {
            let geometry =
                Geometry { input: output, output: input, kernel, stride: 1, padding: kernel - 1 - padding, groups };
            return Conv2dBackward { forward, geometry, phases: None };
        }
        let taps = kernel.div_ceil(stride);
        // Rows of phases above the input lie in its padding. Those that all taps miss need not be made, but by the rows of the padding
        // of `geometry`.
        let skipped = (padding / stride).min(taps - 1);
        let size = |size: usize| (size + padding).div_ceil(stride) - skipped;
        let phases =
            Shape { channels: input.channels * stride * stride, height: size(input.height), width: size(input.width) };
        let geometry =
            Geometry { input: output, output: phases, kernel: taps, stride: 1, padding: taps - 1 - skipped, groups };
        let first = padding - skipped * stride;
        Conv2dBackward { forward, geometry, phases: Some(DepthToSpace { input: phases, output: input, stride, first }) }
    }

    /// Which of the layer's weights is each weight of [`Conv2dBackward::geometry`]; `None` for a tap that the kernel does not have.
    pub fn sources(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let Geometry { kernel, stride, groups, .. } = self.forward;
        let (phases, turned) = (if self.phases.is_some() { stride } else { 1 }, self.geometry.kernel);
        let (rows, columns) = (self.geometry.outputs_per_group(), self.geometry.channels_per_group());
        let of_output = rows / (phases * phases); // input channels of a group of the layer
        (0..groups * rows * columns * turned * turned).map(move |at| {
            let (x, y) = (at % turned, at / turned % turned);
            let rest = at / (turned * turned);
            let (column, row, group) = (rest % columns, rest / columns % rows, rest / columns / rows);
            let (channel, phase_y, phase_x) = (row / (phases * phases), row / phases % phases, row % phases);
            let (ky, kx) = (phase_y + phases * (turned - 1 - y), phase_x + phases * (turned - 1 - x));
            let weight = ((group * columns + column) * of_output + channel) * kernel * kernel + ky * kernel + kx;
            (ky < kernel && kx < kernel).then_some(weight)
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
