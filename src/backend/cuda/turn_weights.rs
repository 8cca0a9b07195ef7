//! A layer's weights as the way back reads them, made on the device after an update.

use super::arena::narrow;
use super::conv2d::{Conv2d, padded_k};
use super::conv2d_backward::Conv2dBackward;
use super::dense::{self, Dense};
use super::gemm;
use super::launcher::{Launcher, check_len};
use super::params::TurnShape;
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

impl Launcher {
    /// Rearranges the weights of the convolution `layer` for `backward`, its way back. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if one is not the other's; [`Error::Launch`] if the driver refuses the launch.
    pub fn turn_conv2d_weights(&self, backward: &mut Conv2d, layer: &Conv2d) -> Result<()> {
        let Geometry { kernel, groups, stride, .. } = layer.geometry;
        let turned = Conv2dBackward::new(layer.geometry);
        let shape = TurnShape {
            groups: narrow("groups", groups)?,
            outputs: narrow("output channels", layer.geometry.outputs_per_group())?,
            channels: narrow("input channels", layer.geometry.channels_per_group())?,
            kernel: narrow("the size of a kernel", kernel)?,
            taps: narrow("the size of a kernel", turned.geometry.kernel)?,
            stride: narrow("the stride of a convolution", stride)?,
            multiple: narrow("phases", turned.phases.map_or(1, |phases| phases.stride) / stride)?,
            padded_k: narrow("weights of an output", padded_k(&layer.geometry))?,
            pitch: gemm::pitch(layer.geometry.outputs_per_group()) as u32,
            turned_k: narrow("weights of an input", padded_k(&turned.geometry))?,
            turned_pitch: narrow("input channels", gemm::pitch(turned.geometry.outputs_per_group()))?,
        };
        self.turn_weights(&mut backward.weights, &layer.weights, shape)
    }

    /// The same of a dense layer.
    ///
    /// # Errors
    /// Those of [`Launcher::turn_conv2d_weights`].
    pub fn turn_dense_weights(&self, backward: &mut Dense, layer: &Dense) -> Result<()> {
        let Dense { inputs, outputs, .. } = *layer;
        let shape = TurnShape {
            groups: 1,
            outputs: narrow("outputs", outputs)?,
            channels: narrow("inputs", inputs)?,
            kernel: 1,
            taps: 1,
            stride: 1,
            multiple: 1,
            padded_k: narrow("inputs", dense::padded_k(inputs))?,
            pitch: narrow("outputs", gemm::pitch(outputs))?,
            turned_k: narrow("outputs", dense::padded_k(outputs))?,
            turned_pitch: narrow("inputs", gemm::pitch(inputs))?,
        };
        self.turn_weights(&mut backward.weights, &layer.weights, shape)
    }

    fn turn_weights(&self, turned: &mut CudaSlice<f32>, weights: &CudaSlice<f32>, shape: TurnShape) -> Result<()> {
        let TurnShape { groups, outputs, channels, kernel, .. } = shape;
        check_len("weights", weights, (groups * shape.padded_k) as usize * shape.pitch as usize)?;
        check_len("turned weights", turned, (groups * shape.turned_k) as usize * shape.turned_pitch as usize)?;
        let tiles = |n: u32| n.div_ceil(tuning::WARP_SIZE) as usize;
        let blocks = tiles(channels) * tiles(outputs) * (kernel * kernel * groups) as usize;
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::TURN_WEIGHTS_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.turn_weights_f32);
        launch.arg(turned).arg(weights).arg(&shape);
        // SAFETY: order and types are those of turn_weights_f32 in kernels/train/turn_weights.cu; the lengths were checked, and what is
        // written lies within `turned`, as Conv2dBackward::sources lays it out; it writes `turned` alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("turn_weights_f32"))?;
        Ok(())
    }
}
