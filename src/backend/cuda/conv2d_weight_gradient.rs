//! What a batch tells the weights and biases of a convolution, on the device.

use super::arena::{Place, narrow};
use super::conv2d::{MAX_KERNEL, taps};
use super::gemm::{self, Shape as Product};
use super::launcher::{Launcher, check_len};
use super::params::{Conv2dGradientShape, Conv2dTap};
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::network::gradient::SLOTS;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

const _: () = assert!(SLOTS == tuning::GRADIENT_SLOTS as usize, "tuning.cuh");

/// A convolution whose weights learn.
#[derive(Debug)]
pub struct Conv2dWeightGradient {
    geometry: Geometry,
    /// `(padded_k)`
    taps: CudaSlice<Conv2dTap>,
    /// The kernel that runs, by its name, if it is not to be the one that should be fastest.
    pub kernel: Option<&'static str>,
}

impl Conv2dWeightGradient {
    /// For a convolution of this geometry.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If the kernel is larger than [`MAX_KERNEL`].
    pub fn new(launcher: &Launcher, geometry: Geometry) -> Result<Conv2dWeightGradient> {
        assert!(geometry.kernel <= MAX_KERNEL);
        Ok(Conv2dWeightGradient { geometry, taps: launcher.upload(&taps(&geometry))?, kernel: None })
    }

    /// Bytes that [`Conv2dWeightGradient::new`] takes.
    pub fn bytes(geometry: &Geometry) -> usize {
        super::conv2d::padded_k(geometry) * size_of::<Conv2dTap>()
    }

    /// Floats of the gradients of all slots: `(SLOTS, groups, k + 1, pitch)`.
    pub fn len(geometry: &Geometry) -> usize {
        SLOTS * geometry.groups * (geometry.k() + 1) * gemm::pitch(geometry.outputs_per_group())
    }
}

impl Launcher {
    /// Writes to `out`, `(SLOTS, groups, k + 1, pitch)`, the gradients of a convolution's weights and, in the last row, biases: of each
    /// slot, which are still to be added. `gradient` is of the layer's output, `input` is what it took, of `batch` images each, a multiple
    /// of [`SLOTS`]; each in an arena. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If `batch` is no multiple of [`SLOTS`].
    pub fn conv2d_weight_gradient(
        &self,
        out: &mut CudaSlice<f32>,
        layer: &Conv2dWeightGradient,
        (gradients, gradient): (&CudaSlice<f32>, Place),
        (inputs, input): (&CudaSlice<f32>, Place),
        batch: usize,
    ) -> Result<()> {
        assert!(batch.is_multiple_of(SLOTS), "{batch} images");
        if batch == 0 {
            return Ok(()); // a batch has an image
        }
        let geometry = &layer.geometry;
        let Geometry { input: from, output: to, stride, padding, groups, .. } = *geometry;
        check_len("the gradients of a convolution's weights", out, Conv2dWeightGradient::len(geometry))?;
        let plane = to.height * to.width;
        let stage = tuning::CONV2D_GRADIENT_STAGE_K as usize;
        narrow("positions of a slot", batch / SLOTS * plane + stage)?;
        let mut shape = Conv2dGradientShape {
            images: (batch / SLOTS) as u32,
            out_height: to.height as u32,
            out_width: to.width as u32,
            gradient_image: narrow("an image of a convolution's gradient", gradient.image)?,
            in_height: from.height as u32,
            in_width: from.width as u32,
            in_image: narrow("an image of a convolution's input", input.image)?,
            in_group: narrow(
                "a group of a convolution's input",
                geometry.channels_per_group() * from.height * from.width,
            )?,
            outputs: geometry.outputs_per_group() as u32,
            pitch: gemm::pitch(geometry.outputs_per_group()) as u32,
            k: narrow("the weights of an output", geometry.k())?,
            k_tiles: 0,
            stride: narrow("the stride of a convolution", stride)?,
            padding: narrow("the padding of a convolution", padding)?,
            step_images: (stage / plane) as u32,
            step_rows: (stage % plane / to.width) as u32,
            step_columns: (stage % to.width) as u32,
        };
        let products = self.conv2d_weight_gradient_products();
        let product = match layer.kernel {
            Some(name) => products.iter().find(|product| product.name == name).expect("a kernel of this layer"),
            None => gemm::fastest(&products, shape.k + 1, shape.outputs, (groups * SLOTS) as u32),
        };
        let (down, across) = product.blocks(shape.k + 1, shape.outputs);
        shape.k_tiles = down;
        let config = LaunchConfig {
            grid_dim: (down * across, groups as u32, SLOTS as u32),
            block_dim: (product.threads, 1, 1),
            shared_mem_bytes: 0,
        };
        let gradient = gradient.of(gradients, "the gradient of a convolution's output", batch, to.len())?;
        let input = input.of(inputs, "a convolution's input", batch, from.len())?;
        let mut launch = self.stream.launch_builder(product.kernel);
        launch.arg(out).arg(&gradient).arg(&input).arg(&layer.taps).arg(&shape);
        // SAFETY: order and types are those of conv2d_weight_gradient_f32 and its kin in kernels/train/conv2d_weight_gradient.cu; the
        // lengths were checked, the taps are Conv2dWeightGradient::new's; it writes `out` alone.
        unsafe { launch.launch(config) }.map_err(Error::launch(product.name))?;
        Ok(())
    }

    /// The names of the kernels that a convolution's weight gradient may run as.
    pub fn conv2d_weight_gradient_kernels(&self) -> Vec<&'static str> {
        self.conv2d_weight_gradient_products().iter().map(|product| product.name).collect()
    }

    fn conv2d_weight_gradient_products(&self) -> [Product<'_>; 3] {
        let each = |instructions: u32| f64::from(instructions) / f64::from(tuning::CONV2D_GRADIENT_STAGE_K);
        [
            Product {
                name: "conv2d_weight_gradient_f32",
                kernel: &self.kernels.conv2d_weight_gradient_f32,
                rows: tuning::CONV2D_GRADIENT_ROWS,
                columns: tuning::CONV2D_GRADIENT_COLUMNS,
                threads: tuning::CONV2D_GRADIENT_THREADS,
                instructions: each(1248),
            },
            Product {
                name: "conv2d_weight_gradient_some_f32",
                kernel: &self.kernels.conv2d_weight_gradient_some_f32,
                rows: tuning::CONV2D_GRADIENT_SOME_ROWS,
                columns: tuning::CONV2D_GRADIENT_SOME_COLUMNS,
                threads: tuning::CONV2D_GRADIENT_SOME_THREADS,
                instructions: each(726),
            },
            Product {
                name: "conv2d_weight_gradient_few_f32",
                kernel: &self.kernels.conv2d_weight_gradient_few_f32,
                rows: tuning::CONV2D_GRADIENT_FEW_ROWS,
                columns: tuning::CONV2D_GRADIENT_FEW_COLUMNS,
                threads: tuning::CONV2D_GRADIENT_FEW_THREADS,
                instructions: each(271),
            },
        ]
    }
}
