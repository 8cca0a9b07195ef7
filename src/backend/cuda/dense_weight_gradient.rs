//! What a batch tells the weights and biases of a dense layer, on the device.

use super::arena::{Place, narrow};
use super::gemm;
use super::launcher::{Launcher, check_len};
use super::params::DenseGradientShape;
use crate::error::{Error, Result};
use crate::network::gradient::SLOTS;
use crate::tuning;
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// Bytes of a block's shared memory: the sums that wait, of 1, 2, 4 and 8 slots, and the ring.
const SHARED_BYTES: u32 = {
    let sums = tuning::DENSE_GRADIENT_ROWS * tuning::DENSE_GRADIENT_COLUMNS;
    let stage = tuning::DENSE_GRADIENT_STAGE_K * (tuning::DENSE_GRADIENT_ROWS + tuning::DENSE_GRADIENT_COLUMNS);
    4 * (SLOTS.ilog2() * sums + tuning::DENSE_GRADIENT_STAGES * stage)
};

/// A dense layer whose weights learn.
#[derive(Clone, Copy, Debug)]
pub struct DenseWeightGradient {
    inputs: usize,
    outputs: usize,
}

impl DenseWeightGradient {
    /// For a layer of so many inputs and outputs. Not in a captured graph.
    ///
    /// # Errors
    /// [`Error::Launch`] or [`Error::Driver`] if the driver refuses the kernel its shared memory.
    pub fn new(launcher: &Launcher, inputs: usize, outputs: usize) -> Result<DenseWeightGradient> {
        // cudarc makes the context this thread's own before other calls, but not before set_attribute.
        launcher.stream.context().bind_to_thread().map_err(Error::driver("use the context"))?;
        let kernel = &launcher.kernels.dense_weight_gradient_f32;
        let refused = || Error::launch("dense_weight_gradient_f32");
        // More than 48 KiB a block a driver gives only if it is told before.
        let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        kernel.set_attribute(most, SHARED_BYTES as i32).map_err(refused())?;
        // In percent: all of a multiprocessor's memory that can be, so that as many blocks as can be share one.
        let share = CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
        kernel.set_attribute(share, 100).map_err(refused())?;
        Ok(DenseWeightGradient { inputs, outputs })
    }

    /// Floats of the gradients: `(inputs + 1, pitch)`.
    pub fn len(inputs: usize, outputs: usize) -> usize {
        (inputs + 1) * gemm::pitch(outputs)
    }
}

impl Launcher {
    /// Writes to `out`, `(inputs + 1, pitch)`, the gradients of a dense layer's weights and, in the last row, biases. `gradient` is of the
    /// layer's output, `input` is what it took, of `batch` images each, a multiple of [`SLOTS`]; each in an arena. Returns before the
    /// device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `batch` is no multiple of [`SLOTS`].
    pub fn dense_weight_gradient(
        &self,
        out: &mut CudaSlice<f32>,
        layer: DenseWeightGradient,
        (gradients, gradient): (&CudaSlice<f32>, Place),
        (inputs, input): (&CudaSlice<f32>, Place),
        batch: usize,
    ) -> Result<()> {
        assert!(batch.is_multiple_of(SLOTS), "{batch} images");
        if batch == 0 {
            return Ok(()); // a batch has an image
        }
        let DenseWeightGradient { inputs: k, outputs } = layer;
        check_len("the gradients of a dense layer's weights", out, DenseWeightGradient::len(k, outputs))?;
        let (down, across) = (
            (k + 1).div_ceil(tuning::DENSE_GRADIENT_ROWS as usize),
            outputs.div_ceil(tuning::DENSE_GRADIENT_COLUMNS as usize),
        );
        let shape = DenseGradientShape {
            images: narrow("images of a slot", batch / SLOTS)?,
            gradient_image: narrow("an image of a dense layer's gradient", gradient.image)?,
            in_image: narrow("an image of a dense layer's input", input.image)?,
            outputs: narrow("the outputs of a dense layer", outputs)?,
            pitch: narrow("the outputs of a dense layer", gemm::pitch(outputs))?,
            k: narrow("the inputs of a dense layer", k)?,
            k_tiles: down as u32,
        };
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", down * across)?, 1, 1),
            block_dim: (tuning::DENSE_GRADIENT_THREADS, 1, 1),
            shared_mem_bytes: SHARED_BYTES,
        };
        let gradient = gradient.of(gradients, "the gradient of a dense layer's output", batch, outputs)?;
        let input = input.of(inputs, "a dense layer's input", batch, k)?;
        let mut launch = self.stream.launch_builder(&self.kernels.dense_weight_gradient_f32);
        launch.arg(out).arg(&gradient).arg(&input).arg(&shape);
        // SAFETY: order and types are those of dense_weight_gradient_f32 in kernels/train/dense_weight_gradient.cu; the lengths were
        // checked, and DenseWeightGradient::new has allowed the shared memory; it writes `out` alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("dense_weight_gradient_f32"))?;
        Ok(())
    }
}
