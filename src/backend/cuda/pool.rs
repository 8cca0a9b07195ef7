//! Pooling on the device.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use super::params::PoolShape;
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Windows of a pooling and what they are laid over: position `i` of the output sees `i * stride - padding ..` and `kernel` positions
/// from there. Each window has a part inside the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    pub input: Shape,
    pub output: Shape,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// What a window gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    Max,
    Average {
        /// Whether the padding is counted in the divisor.
        count_padding: bool,
    },
}

impl Pooling {
    /// Windows of one value.
    pub(super) fn none(shape: Shape) -> Pooling {
        Pooling { input: shape, output: shape, kernel: 1, stride: 1, padding: 0 }
    }

    /// As kernels take it.
    ///
    /// # Errors
    /// [`Error::Shape`] if 32 bits do not hold a number.
    ///
    /// # Panics
    /// If a window lies outside the input.
    pub(super) fn shape(&self, batch: usize, out: Place, input: Place, count_padding: bool) -> Result<PoolShape> {
        let Pooling { input: from, output: to, kernel, stride, padding } = *self;
        let seen = |positions: usize, size: usize| (positions - 1) * stride < size + padding && padding < kernel;
        assert!(seen(to.height, from.height) && seen(to.width, from.width), "{self:?}");
        assert_eq!(from.channels, to.channels);
        Ok(PoolShape {
            batch: narrow("images", batch)?,
            channels: from.channels as u32,
            in_height: from.height as u32,
            in_width: from.width as u32,
            in_image: narrow("an image of a pooling's input", input.image)?,
            out_height: to.height as u32,
            out_width: to.width as u32,
            out_image: narrow("an image of a pooling's output", out.image)?,
            kernel: narrow("the kernel of a pooling", kernel)?,
            stride: narrow("the stride of a pooling", stride)?,
            padding: padding as u32,
            count_padding: u32::from(count_padding),
        })
    }
}

impl Launcher {
    /// Pools `batch` images from `input` to `out`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap, or a window lies outside the input.
    pub fn pool(
        &self,
        arena: &mut CudaSlice<f32>,
        pooling: &Pooling,
        pool: Pool,
        out: Place,
        input: Place,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let (out_len, in_len) = (pooling.output.len(), pooling.input.len());
        Place::check_apart(out, out_len, input, in_len, batch);
        let (name, kernel, count_padding) = match pool {
            Pool::Max => ("max_pool_f32", &self.kernels.max_pool_f32, false),
            Pool::Average { count_padding } => ("average_pool_f32", &self.kernels.average_pool_f32, count_padding),
        };
        let shape = pooling.shape(batch, out, input, count_padding)?;
        let to = out.of(arena, "a pooling's output", batch, out_len)?;
        let from = input.of(arena, "a pooling's input", batch, in_len)?;
        let blocks = (batch * out_len).div_ceil(tuning::POOL_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::POOL_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(kernel);
        launch.arg(&to).arg(&from).arg(&shape);
        // SAFETY: order and types are those of max_pool_f32 and average_pool_f32 in kernels/network/pool.cu; the lengths were
        // checked; it writes `out` alone, which does not overlap `input`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch(name))?;
        Ok(())
    }
}
