//! A dense layer on the device.

use super::arena::{Place, narrow};
use super::gemm::{self, Shape as Product};
use super::launcher::Launcher;
use super::params::DenseShape;
use crate::error::{Error, Result};
use crate::network::Parameters;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// A dense layer with its weights in the order in which the kernels read them.
#[derive(Debug)]
pub struct Dense {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    rectify: bool,
    /// `(padded_k, pitch)`
    pub(super) weights: CudaSlice<f32>,
    /// `(outputs)`
    pub(super) bias: CudaSlice<f32>,
    /// The kernel that runs, by its name, if it is not to be the one that should be fastest.
    pub kernel: Option<&'static str>,
}

/// Rows of weights: inputs in whole stages of every kernel.
pub(super) fn padded_k(inputs: usize) -> usize {
    inputs.next_multiple_of(tuning::DENSE_PADDED_K as usize)
}

impl Dense {
    /// Brings a layer of `inputs` to the device; `rectify` if `x > 0 ? x : 0` follows it.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If there is not a weight for each input and output.
    pub fn new(launcher: &Launcher, inputs: usize, parameters: &Parameters, rectify: bool) -> Result<Dense> {
        let outputs = parameters.bias.len();
        assert_eq!(parameters.weight.len(), inputs * outputs);
        Ok(Dense {
            inputs,
            outputs,
            rectify,
            weights: launcher.upload(&gemm::pack(&parameters.weight, 1, outputs, inputs, padded_k(inputs)))?,
            bias: launcher.upload(&parameters.bias)?,
            kernel: None,
        })
    }

    /// The weights as kernels read them, `(padded_k, pitch)`.
    pub fn packed_weights(&self) -> &CudaSlice<f32> {
        &self.weights
    }

    /// Bytes that [`Dense::new`] takes.
    pub fn bytes(inputs: usize, outputs: usize) -> usize {
        (padded_k(inputs) * gemm::pitch(outputs) + outputs) * size_of::<f32>()
    }
}

impl Launcher {
    /// The layer's outputs for `batch` images, from `input` to `out`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap.
    pub fn dense(
        &self,
        arena: &mut CudaSlice<f32>,
        layer: &Dense,
        out: Place,
        input: Place,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let &Dense { inputs, outputs, rectify, .. } = layer;
        Place::check_apart(out, outputs, input, inputs, batch);
        let to = out.of(arena, "a dense layer's output", batch, outputs)?;
        let from = input.of(arena, "a dense layer's input", batch, inputs)?;
        let mut shape = DenseShape {
            batch: narrow("images", batch)?,
            rows: outputs as u32,
            pitch: gemm::pitch(outputs) as u32,
            k: narrow("the inputs of a dense layer", inputs)?,
            padded_k: padded_k(inputs) as u32,
            in_image: narrow("an image of a dense layer's input", input.image)?,
            out_image: narrow("an image of a dense layer's output", out.image)?,
            row_tiles: 0,
            rectify: u32::from(rectify),
        };
        let products = self.dense_products();
        let product = match layer.kernel {
            Some(name) => products.iter().find(|product| product.name == name).expect("a kernel of this layer"),
            None => gemm::fastest(&products, shape.rows, shape.batch, 1),
        };
        let (down, across) = product.blocks(shape.rows, shape.batch);
        shape.row_tiles = down;
        let config =
            LaunchConfig { grid_dim: (down * across, 1, 1), block_dim: (product.threads, 1, 1), shared_mem_bytes: 0 };
        let mut launch = self.stream.launch_builder(product.kernel);
        launch.arg(&to).arg(&from).arg(&layer.weights).arg(&layer.bias).arg(&shape);
        // SAFETY: order and types are those of dense_f32 and its kin in kernels/network/dense.cu; the lengths were checked, those
        // of the weights are Dense::new's; it writes `out` alone, which does not overlap `input`, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch(product.name))?;
        Ok(())
    }

    /// The names of the kernels that a dense layer may run as.
    pub fn dense_kernels(&self) -> Vec<&'static str> {
        self.dense_products().iter().map(|product| product.name).collect()
    }

    fn dense_products(&self) -> [Product<'_>; 3] {
        [
            Product {
                name: "dense_f32",
                kernel: &self.kernels.dense_f32,
                rows: tuning::DENSE_ROWS,
                columns: tuning::DENSE_COLUMNS,
                threads: tuning::DENSE_THREADS,
                instructions: 1154.0 / 8.0,
            },
            Product {
                name: "dense_some_f32",
                kernel: &self.kernels.dense_some_f32,
                rows: tuning::DENSE_SOME_ROWS,
                columns: tuning::DENSE_SOME_COLUMNS,
                threads: tuning::DENSE_SOME_THREADS,
                instructions: 631.0 / 8.0,
            },
            Product {
                name: "dense_few_f32",
                kernel: &self.kernels.dense_few_f32,
                rows: tuning::DENSE_FEW_ROWS,
                columns: tuning::DENSE_FEW_COLUMNS,
                threads: tuning::DENSE_FEW_THREADS,
                instructions: 308.0 / 32.0,
            },
        ]
    }
}
