//! Local response normalisation across channels on the device, by itself and together with a max pooling.

use super::arena::{Place, narrow};
use super::launcher::Launcher;
use super::params::LrnRule;
use super::pool::Pooling;
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::tuning;
use cudarc::driver::{CudaFunction, CudaSlice, LaunchConfig, PushKernelArg};

/// Normalisation, and what is done in the same pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lrn {
    Alone(LrnRule, Shape),
    /// Pools, then normalises.
    AfterMaxPool(LrnRule, Pooling),
    /// Normalises, then pools.
    BeforeMaxPool(LrnRule, Pooling),
}

impl LrnRule {
    /// Of `size` channels: `x / (k + alpha / size * sum)^0.75`.
    pub fn new(size: usize, alpha: f32, k: f32) -> LrnRule {
        LrnRule { size: size as u32, scale: alpha / size as f32, k }
    }
}

impl Lrn {
    /// Both in one pass, if there is a kernel for it.
    pub fn after_max_pool(rule: LrnRule, pooling: Pooling) -> Option<Lrn> {
        (rule.size == tuning::LRN_FUSED_SIZE).then_some(Lrn::AfterMaxPool(rule, pooling))
    }

    /// Both in one pass, if there is a kernel for it.
    pub fn before_max_pool(rule: LrnRule, pooling: Pooling) -> Option<Lrn> {
        (rule.size == tuning::LRN_FUSED_SIZE && band_rows(&pooling) > 0).then_some(Lrn::BeforeMaxPool(rule, pooling))
    }

    fn pooling(&self) -> Pooling {
        match *self {
            Lrn::Alone(_, shape) => Pooling::none(shape),
            Lrn::AfterMaxPool(_, pooling) | Lrn::BeforeMaxPool(_, pooling) => pooling,
        }
    }
}

/// Rows of outputs for which a block has room, at most all; 0 if not even for one.
fn band_rows(pooling: &Pooling) -> usize {
    let rows_seen = tuning::LRN_MAX_POOL_POSITIONS as usize / pooling.input.width;
    let seen = rows_seen.checked_sub(pooling.kernel).map_or(0, |more| more / pooling.stride + 1);
    seen.min(tuning::LRN_MAX_POOL_THREADS as usize / pooling.output.width).min(pooling.output.height)
}

impl Launcher {
    /// Normalises `batch` images from `input` to `out`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap, or a window lies outside the input.
    pub fn lrn(&self, arena: &mut CudaSlice<f32>, layer: &Lrn, out: Place, input: Place, batch: usize) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let pooling = layer.pooling();
        let (out_len, in_len) = (pooling.output.len(), pooling.input.len());
        Place::check_apart(out, out_len, input, in_len, batch);
        let shape = pooling.shape(batch, out, input, false)?;
        let to = out.of(arena, "a normalisation's output", batch, out_len)?;
        let from = input.of(arena, "a normalisation's input", batch, in_len)?;
        let positions = batch * pooling.output.height * pooling.output.width;
        let blocks_of_positions = positions.div_ceil(tuning::LRN_THREADS as usize);
        let out_rows = band_rows(&pooling) as u32;
        let (name, kernel, rule, blocks, threads): (_, &CudaFunction, _, _, _) = match layer {
            Lrn::Alone(rule, _) => ("lrn_f32", &self.kernels.lrn_f32, rule, blocks_of_positions, tuning::LRN_THREADS),
            Lrn::AfterMaxPool(rule, _) => {
                ("max_pool_lrn_f32", &self.kernels.max_pool_lrn_f32, rule, blocks_of_positions, tuning::LRN_THREADS)
            }
            Lrn::BeforeMaxPool(rule, pooling) => {
                let bands = pooling.output.height.div_ceil(out_rows as usize);
                let threads = tuning::LRN_MAX_POOL_THREADS;
                ("lrn_max_pool_f32", &self.kernels.lrn_max_pool_f32, rule, batch * bands, threads)
            }
        };
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, shape.channels.div_ceil(tuning::LRN_CHANNELS), 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(kernel);
        launch.arg(&to).arg(&from).arg(&shape).arg(rule);
        if matches!(layer, Lrn::BeforeMaxPool(..)) {
            launch.arg(&out_rows);
        }
        // SAFETY: order and types are those of lrn_f32, max_pool_lrn_f32 and, with the rows of a band, lrn_max_pool_f32 in
        // kernels/network/lrn.cu; the lengths were checked, a band has the room that band_rows reckons with; it writes `out` alone,
        // which does not overlap `input`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch(name))?;
        Ok(())
    }
}
