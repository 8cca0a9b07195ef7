//! Convolution on the device.

use super::arena::{Place, narrow};
use super::gemm::{self, Shape as Product};
use super::launcher::Launcher;
use super::params::{Conv2dShape, Conv2dTap};
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::network::Parameters;
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// The largest kernel: a thread has a bit for each of its rows, and for each column.
pub const MAX_KERNEL: usize = 29;

/// A convolution with its weights in the order in which the kernels read them.
#[derive(Debug)]
pub struct Conv2d {
    pub(super) geometry: Geometry,
    rectify: bool,
    /// `(groups, padded_k, pitch)`
    pub(super) weights: CudaSlice<f32>,
    /// `(out_channels)`
    pub(super) bias: CudaSlice<f32>,
    /// `(padded_k)`
    taps: CudaSlice<Conv2dTap>,
    /// The kernel that runs, by its name, if it is not to be the one that should be fastest.
    pub kernel: Option<&'static str>,
}

/// Rows of weights of a group: `k` in whole stages.
pub(super) fn padded_k(geometry: &Geometry) -> usize {
    geometry.k().next_multiple_of(tuning::CONV2D_STAGE_K as usize)
}

/// Bytes of weights and biases on the device.
pub(super) fn weight_bytes(geometry: &Geometry) -> usize {
    let weights = geometry.groups * padded_k(geometry) * gemm::pitch(geometry.outputs_per_group());
    (weights + geometry.output.channels) * size_of::<f32>()
}

/// For each k: input channel, kernel row, kernel column; `None` for those that fill the last stage.
pub(super) fn terms(geometry: &Geometry) -> impl Iterator<Item = Option<[usize; 3]>> {
    let (kernel, k) = (geometry.kernel, geometry.k());
    let term = move |at| [at / (kernel * kernel), at / kernel % kernel, at % kernel];
    (0..padded_k(geometry)).map(move |at| (at < k).then(|| term(at)))
}

/// Where each of the `padded_k` terms of a convolution of floats reads.
pub(super) fn taps(geometry: &Geometry) -> Vec<Conv2dTap> {
    let (height, width) = (geometry.input.height, geometry.input.width);
    let tap = |[channel, row, column]: [usize; 3]| Conv2dTap {
        offset: (((channel * height + row) * width + column) * size_of::<f32>()) as i32,
        row: row as u32,
        column: column as u32,
        reserved: 0,
    };
    let nothing = Conv2dTap { row: MAX_KERNEL as u32, ..Conv2dTap::default() };
    terms(geometry).map(|term| term.map_or(nothing, tap)).collect()
}

/// What kernels are told of a convolution of `batch` images, but for what a launch's shape decides.
///
/// # Errors
/// [`Error::Shape`] if 32 bits do not hold a number.
pub(super) fn conv2d_shape(
    geometry: &Geometry,
    batch: usize,
    out_image: usize,
    in_image: usize,
    rectify: bool,
) -> Result<Conv2dShape> {
    let Geometry { input, output, stride, padding, .. } = *geometry;
    let out_plane = output.height * output.width;
    Ok(Conv2dShape {
        n_columns: narrow("positions of a convolution", batch * out_plane)?,
        out_width: output.width as u32,
        out_plane: narrow("positions of an image", out_plane)?,
        out_image: narrow("an image of a convolution's output", out_image)?,
        in_height: input.height as u32,
        in_width: input.width as u32,
        in_image: narrow("an image of a convolution's input", in_image)?,
        in_group: narrow(
            "a group of a convolution's input",
            geometry.channels_per_group() * input.height * input.width,
        )?,
        rows: geometry.outputs_per_group() as u32,
        pitch: gemm::pitch(geometry.outputs_per_group()) as u32,
        padded_k: narrow("the terms of a convolution", padded_k(geometry))?,
        row_tiles: 0,
        stride: narrow("the stride of a convolution", stride)?,
        padding: narrow("the padding of a convolution", padding)?,
        rectify: u32::from(rectify),
        reserved: 0,
    })
}

/// The launch of `product` for a convolution of `shape`, which learns how its rows are shared out.
pub(super) fn launch_config(product: &Product, shape: &mut Conv2dShape, groups: usize) -> LaunchConfig {
    let (down, across) = product.blocks(shape.rows, shape.n_columns);
    shape.row_tiles = down;
    LaunchConfig {
        grid_dim: (down * across, groups as u32, 1),
        block_dim: (product.threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

impl Conv2d {
    /// Brings a convolution to the device; `rectify` if `x > 0 ? x : 0` follows it.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If the kernel is larger than [`MAX_KERNEL`], or the parameters do not fit `geometry`.
    pub fn new(launcher: &Launcher, geometry: Geometry, parameters: &Parameters, rectify: bool) -> Result<Conv2d> {
        assert!(geometry.kernel <= MAX_KERNEL);
        assert_eq!(parameters.weight.len(), geometry.output.channels * geometry.k());
        assert_eq!(parameters.bias.len(), geometry.output.channels);
        let (rows, k) = (geometry.outputs_per_group(), geometry.k());
        let packed = gemm::pack(&parameters.weight, geometry.groups, rows, k, padded_k(&geometry));
        Ok(Conv2d {
            geometry,
            rectify,
            weights: launcher.upload(&packed)?,
            bias: launcher.upload(&parameters.bias)?,
            taps: launcher.upload(&taps(&geometry))?,
            kernel: None,
        })
    }

    /// The weights as kernels read them, `(groups, padded_k, pitch)`.
    pub fn packed_weights(&self) -> &CudaSlice<f32> {
        &self.weights
    }

    /// Bytes that [`Conv2d::new`] takes.
    pub fn bytes(geometry: &Geometry) -> usize {
        weight_bytes(geometry) + padded_k(geometry) * size_of::<Conv2dTap>()
    }
}

impl Launcher {
    /// Convolves `batch` images: from `input`, of the geometry's input, to `out`, of its output. Returns before the device has
    /// finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a place reaches beyond the arena; [`Error::Launch`] if the driver refuses the launch.
    ///
    /// # Panics
    /// If the places overlap.
    pub fn conv2d(
        &self,
        arena: &mut CudaSlice<f32>,
        layer: &Conv2d,
        out: Place,
        input: Place,
        batch: usize,
    ) -> Result<()> {
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let geometry = &layer.geometry;
        let (out_len, in_len) = (geometry.output.len(), geometry.input.len());
        Place::check_apart(out, out_len, input, in_len, batch);
        let mut shape = conv2d_shape(geometry, batch, out.image, input.image, layer.rectify)?;
        let to = out.of(arena, "a convolution's output", batch, out_len)?;
        let from = input.of(arena, "a convolution's input", batch, in_len)?;
        let products = self.conv2d_products();
        let product = match layer.kernel {
            Some(name) => products.iter().find(|product| product.name == name).expect("a kernel of this layer"),
            None => gemm::fastest(&products, shape.rows, shape.n_columns, geometry.groups as u32),
        };
        let config = launch_config(product, &mut shape, geometry.groups);
        let mut launch = self.stream.launch_builder(product.kernel);
        launch.arg(&to).arg(&from).arg(&layer.weights).arg(&layer.bias).arg(&layer.taps).arg(&shape);
        // SAFETY: order and types are those of conv2d_128_f32 and its kin in kernels/network/conv2d.cu; the lengths were checked,
        // those of the weights are Conv2d::new's; it writes `out` alone, which does not overlap `input`, and nobody else has the
        // arena.
        unsafe { launch.launch(config) }.map_err(Error::launch(product.name))?;
        Ok(())
    }

    /// The names of the kernels that a convolution may run as.
    pub fn conv2d_kernels(&self) -> Vec<&'static str> {
        self.conv2d_products().iter().map(|product| product.name).collect()
    }

    fn conv2d_products(&self) -> [Product<'_>; 5] {
        use tuning::{
            CONV2D_COLUMNS as COLUMNS, CONV2D_NARROW_THREADS as NARROW, CONV2D_STAGE_K as STAGE_K,
            CONV2D_THREADS as THREADS,
        };
        let each = |instructions: u32| f64::from(instructions) / f64::from(STAGE_K);
        [
            Product {
                name: "conv2d_128_f32",
                kernel: &self.kernels.conv2d_128_f32,
                rows: 128,
                columns: COLUMNS,
                threads: THREADS,
                instructions: each(1179),
            },
            Product {
                name: "conv2d_96_f32",
                kernel: &self.kernels.conv2d_96_f32,
                rows: 96,
                columns: COLUMNS,
                threads: THREADS,
                instructions: each(917),
            },
            Product {
                name: "conv2d_64_f32",
                kernel: &self.kernels.conv2d_64_f32,
                rows: 64,
                columns: COLUMNS,
                threads: NARROW,
                instructions: each(1235),
            },
            Product {
                name: "conv2d_32_f32",
                kernel: &self.kernels.conv2d_32_f32,
                rows: 32,
                columns: COLUMNS,
                threads: NARROW,
                instructions: each(709),
            },
            Product {
                name: "conv2d_few_f32",
                kernel: &self.kernels.conv2d_few_f32,
                rows: 32,
                columns: tuning::CONV2D_FEW_COLUMNS,
                threads: tuning::CONV2D_FEW_THREADS,
                instructions: each(217),
            },
        ]
    }
}
