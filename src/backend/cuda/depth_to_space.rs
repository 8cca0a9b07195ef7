//! The phases of planes put beside one another, on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use super::params::PhaseShape;
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Which planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthToSpace {
    /// `(channels * stride * stride, rows, columns)`: the phases.
    pub input: Shape,
    /// `(channels, height, width)`
    pub output: Shape,
    pub stride: usize,
    /// Row y of the output is row `(y + first) / stride` of the phase `(y + first) % stride`; columns likewise.
    pub first: usize,
}

impl Launcher {
    /// Puts the phases of `batch` images at `input` beside one another, at `out`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap, or the output reaches beyond the phases.
    pub fn depth_to_space(
        &self,
        arena: &mut CudaSlice<f32>,
        layer: &DepthToSpace,
        out: Place,
        input: Place,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let &DepthToSpace { input: from, output: to, stride, first } = layer;
        let seen = |size: usize| (size + first).div_ceil(stride);
        assert!(seen(to.height) <= from.height && seen(to.width) <= from.width, "{layer:?}");
        assert_eq!(to.channels * stride * stride, from.channels, "{layer:?}");
        Place::check_apart(out, to.len(), input, from.len(), batch);
        let written = out.of(arena, "planes", batch, to.len())?;
        let read = input.of(arena, "the phases of planes", batch, from.len())?;
        let shape = PhaseShape {
            batch: narrow("images", batch)?,
            channels: to.channels as u32,
            height: to.height as u32,
            width: to.width as u32,
            out_image: narrow("an image", out.image)?,
            in_height: from.height as u32,
            in_width: from.width as u32,
            in_image: narrow("an image", input.image)?,
            stride: narrow("a stride", stride)?,
            first: narrow("what is cut off", first)?,
        };
        let blocks = (batch * to.len()).div_ceil(tuning::COPY_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::COPY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.depth_to_space_f32);
        launch.arg(&written).arg(&read).arg(&shape);
        // SAFETY: order and types are those of depth_to_space_f32 in kernels/network/depth_to_space.cu; the lengths were checked; it
        // writes `out` alone, which does not overlap `input`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("depth_to_space_f32"))?;
        Ok(())
    }
}
