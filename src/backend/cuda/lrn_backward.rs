//! The way back through a local response normalisation, on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use super::params::LrnRule;
use super::pool::Pooling;
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// A normalisation on the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrnBackward {
    pub rule: LrnRule,
    /// `2 * 0.75 * alpha / size`.
    pub factor: f32,
    pub shape: Shape,
}

impl LrnBackward {
    /// Of `size` channels, over an activation of `shape`.
    pub fn new(size: usize, alpha: f32, k: f32, shape: Shape) -> LrnBackward {
        LrnBackward { rule: LrnRule::new(size, alpha, k), factor: (2.0 * 0.75 * alpha) / size as f32, shape }
    }
}

impl Launcher {
    /// The gradient of what a normalisation took, for `batch` images, at `out`: from `gradient`, of its output, and `value`, what it took.
    /// Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `out` overlaps another place.
    pub fn lrn_backward(
        &self,
        arena: &mut CudaSlice<f32>,
        layer: &LrnBackward,
        out: Place,
        gradient: Place,
        value: Place,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let &LrnBackward { rule, factor, shape: of_layer } = layer;
        let len = of_layer.len();
        Place::check_apart(out, len, gradient, len, batch);
        Place::check_apart(out, len, value, len, batch);
        let to = out.of(arena, "the gradient of a normalisation's input", batch, len)?;
        let from = gradient.of(arena, "the gradient of a normalisation's output", batch, len)?;
        let of = value.of(arena, "a normalisation's input", batch, len)?;
        let shape = Pooling::none(of_layer).shape(batch, gradient, value, false)?;
        let positions = batch * of_layer.height * of_layer.width;
        let blocks = positions.div_ceil(tuning::LRN_BACKWARD_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, shape.channels.div_ceil(tuning::LRN_CHANNELS), 1),
            block_dim: (tuning::LRN_BACKWARD_THREADS, 1, 1),
            shared_mem_bytes: 2 * rule.size * tuning::LRN_BACKWARD_THREADS * size_of::<f32>() as u32,
        };
        let to_image = narrow("an image", out.image)?;
        let mut launch = self.stream.launch_builder(&self.kernels.lrn_backward_f32);
        launch.arg(&to).arg(&from).arg(&of).arg(&shape).arg(&rule).arg(&factor).arg(&to_image);
        // SAFETY: order and types are those of lrn_backward_f32 in kernels/network/lrn_backward.cu; the lengths were checked, shared
        // memory is what its rings take; it writes `out` alone, which overlaps neither input, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("lrn_backward_f32"))?;
        Ok(())
    }
}
