//! New weights from gradients, on the device: Caffe's SGD.

use super::arena::narrow;
use super::gemm;
use super::launcher::{Launcher, check_len};
use super::params::{TrainingStep, UpdateShape};
use crate::backend::training::Sgd;
use crate::error::{Error, Result};
use crate::network::Parameters;
use crate::network::gradient::SLOTS;
use crate::tuning;
use cudarc::driver::{CudaSlice, CudaView, LaunchConfig, PushKernelArg};

/// How a layer's weights, velocities and gradients lie on the device: `(groups, k, pitch)`, the pitch `outputs` rounded up to a multiple
/// of 4. Weights have `padded_k` rows a group, the others `k + 1`, of which the last is of biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub groups: usize,
    /// Of a group.
    pub outputs: usize,
    /// Weights of an output.
    pub k: usize,
    pub padded_k: usize,
}

impl Layout {
    /// Floats of the weights.
    fn weights_len(self) -> usize {
        self.groups * self.padded_k * gemm::pitch(self.outputs)
    }

    /// Floats of the velocities, and of the gradients of a slot.
    pub fn velocity_len(self) -> usize {
        self.groups * (self.k + 1) * gemm::pitch(self.outputs)
    }

    /// Where the weight and the row of biases of output number `output` begin among rows of which a group has `rows`.
    fn start(self, output: usize, rows: usize) -> usize {
        output / self.outputs * rows * gemm::pitch(self.outputs) + output % self.outputs
    }

    /// The weights as the kernels read them.
    ///
    /// # Panics
    /// If there is not a weight for each.
    pub fn pack_weights(self, weights: &[f32]) -> Vec<f32> {
        assert_eq!(weights.len(), self.groups * self.outputs * self.k);
        gemm::pack(weights, self.groups, self.outputs, self.k, self.padded_k)
    }

    /// The weights, `(groups * outputs, k)`, of what the device has.
    pub fn unpack_weights(self, packed: &[f32]) -> Vec<f32> {
        let pitch = gemm::pitch(self.outputs);
        let of = |output| {
            let start = self.start(output, self.padded_k);
            (0..self.k).map(move |at| packed[start + at * pitch])
        };
        (0..self.groups * self.outputs).flat_map(of).collect()
    }

    /// Velocities as the kernel reads them; what fills up a row is 0.
    ///
    /// # Panics
    /// If there is not one for each weight and bias.
    pub fn pack_velocity(self, velocity: &Parameters) -> Vec<f32> {
        let (pitch, n_outputs) = (gemm::pitch(self.outputs), self.groups * self.outputs);
        assert_eq!((velocity.weight.len(), velocity.bias.len()), (n_outputs * self.k, n_outputs));
        let mut packed = vec![0.0; self.velocity_len()];
        for (output, &bias) in velocity.bias.iter().enumerate() {
            let start = self.start(output, self.k + 1);
            for (at, &weight) in velocity.weight[output * self.k..][..self.k].iter().enumerate() {
                packed[start + at * pitch] = weight;
            }
            packed[start + self.k * pitch] = bias;
        }
        packed
    }

    /// The velocities of what the device has.
    pub fn unpack_velocity(self, packed: &[f32]) -> Parameters {
        let pitch = gemm::pitch(self.outputs);
        let of = |output| {
            let start = self.start(output, self.k + 1);
            (0..self.k).map(move |at| packed[start + at * pitch])
        };
        let bias = |output| packed[self.start(output, self.k + 1) + self.k * pitch];
        let outputs = 0..self.groups * self.outputs;
        Parameters { weight: outputs.clone().flat_map(of).collect(), bias: outputs.map(bias).collect() }
    }
}

impl Launcher {
    /// Moves a layer's `weights`, `(groups, padded_k, pitch)`, and `bias`, and keeps what momentum keeps in `velocity`,
    /// `(groups, k + 1, pitch)`. `gradients` is `(slots, groups, k + 1, pitch)`, with `slots` 1 or [`SLOTS`], which are added up. Returns
    /// before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `slots` is another number.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn sgd_update(
        &self,
        weights: &mut CudaSlice<f32>,
        bias: &mut CudaSlice<f32>,
        velocity: &mut CudaSlice<f32>,
        gradients: &CudaSlice<f32>,
        step: &CudaView<'_, TrainingStep>,
        layout: Layout,
        slots: usize,
        sgd: &Sgd,
    ) -> Result<()> {
        assert!(slots == 1 || slots == SLOTS, "{slots} slots");
        let Layout { groups, outputs, k, padded_k } = layout;
        check_len("weights", weights, layout.weights_len())?;
        check_len("biases", bias, groups * outputs)?;
        check_len("velocities", velocity, layout.velocity_len())?;
        check_len("gradients of weights", gradients, slots * layout.velocity_len())?;
        check_len("the step", step, 1)?;
        let shape = UpdateShape {
            groups: narrow("groups", groups)?,
            outputs: narrow("outputs of a group", outputs)?,
            pitch: narrow("outputs of a group", gemm::pitch(outputs))?,
            k: narrow("weights of an output", k)?,
            padded_k: narrow("weights of an output", padded_k)?,
            slots: slots as u32,
            momentum: sgd.momentum,
            decay: sgd.decay,
            bias_decay: sgd.decay * sgd.bias_decay,
            bias_rate: sgd.bias_rate,
        };
        narrow("rows of weights", groups * (k + 1))?;
        let blocks = (layout.velocity_len() / 4).div_ceil(tuning::SGD_UPDATE_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::SGD_UPDATE_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.sgd_update_f32);
        launch.arg(weights).arg(bias).arg(velocity).arg(gradients).arg(step).arg(&shape);
        // SAFETY: order and types are those of sgd_update_f32 in kernels/train/sgd_update.cu; the lengths were checked; it writes the
        // three buffers passed as `&mut`.
        unsafe { launch.launch(config) }.map_err(Error::launch("sgd_update_f32"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for layout in
            [Layout { groups: 2, outputs: 3, k: 5, padded_k: 8 }, Layout { groups: 1, outputs: 4, k: 8, padded_k: 8 }]
        {
            let n = layout.groups * layout.outputs;
            let weight: Vec<f32> = (0..n * layout.k).map(|i| i as f32).collect();
            let velocity = Parameters { weight, bias: (0..n).map(|i| -1.0 - i as f32).collect() };
            assert_eq!(layout.unpack_weights(&layout.pack_weights(&velocity.weight)), velocity.weight);
            let packed = layout.pack_velocity(&velocity);
            assert_eq!(packed.len(), layout.velocity_len());
            assert_eq!(layout.unpack_velocity(&packed), velocity);
        }
    }
}
