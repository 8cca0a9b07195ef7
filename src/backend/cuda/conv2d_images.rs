//! The first convolution on the device, fed from 8-bit images.

use super::arena::{Place, narrow};
use super::conv2d::{MAX_KERNEL, conv2d_shape, launch_config, padded_k, terms, weight_bytes};
use super::gemm::{self, Shape as Product};
use super::launcher::{Launcher, check_len};
use super::params::{Crop, ImageShape, ImageTap};
use crate::backend::cpu::conv2d::Geometry;
use crate::error::{Error, Result};
use crate::network::{ChannelOrder, Parameters, Shape};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// How a network sees images: which parts of them, in what order of channels, less which mean, times what.
#[derive(Debug)]
pub struct ImageSource {
    /// What the network sees.
    pub input: Shape,
    /// What it is shown.
    pub image: Shape,
    /// For each channel of the network, which channel of the image it is.
    order: Vec<u32>,
    /// For each channel of the network.
    scales: Vec<f32>,
    /// `(channels, height, width)` of the network's input; 0 for a network without a mean.
    mean: CudaSlice<f32>,
    crops: CudaSlice<Crop>,
    n_crops: usize,
    /// `order` and `scales` for what is no convolution.
    order_on_device: CudaSlice<u32>,
    scales_on_device: CudaSlice<f32>,
}

impl ImageSource {
    /// Images of shape `image`, of which a network of `input` sees `crops`; `scales` has one for each of its channels, `mean` is of its
    /// input, or empty.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If a crop is not inside the image, there is none, or a length is another.
    pub fn new(
        launcher: &Launcher,
        input: Shape,
        image: Shape,
        channel_order: ChannelOrder,
        scales: &[f32],
        mean: &[f32],
        crops: &[Crop],
    ) -> Result<ImageSource> {
        assert_eq!(scales.len(), input.channels);
        assert!(mean.is_empty() || mean.len() == input.len());
        assert!(!crops.is_empty() && image.channels == input.channels);
        for crop in crops {
            let (bottom, right) = (crop.y as usize + input.height, crop.x as usize + input.width);
            assert!(bottom <= image.height && right <= image.width && crop.mirror <= 1, "{crop:?} of {image}");
        }
        let order: Vec<u32> = match channel_order {
            ChannelOrder::Grey | ChannelOrder::Rgb => (0..input.channels as u32).collect(),
            ChannelOrder::Bgr => (0..input.channels as u32).rev().collect(),
        };
        Ok(ImageSource {
            input,
            image,
            mean: if mean.is_empty() { launcher.zeros(input.len())? } else { launcher.upload(mean)? },
            crops: launcher.upload(crops)?,
            n_crops: crops.len(),
            order_on_device: launcher.upload(&order)?,
            scales_on_device: launcher.upload(scales)?,
            order,
            scales: scales.to_vec(),
        })
    }

    /// Bytes that [`ImageSource::new`] takes.
    pub fn bytes(input: Shape, n_crops: usize) -> usize {
        (input.len() + 2 * input.channels) * size_of::<f32>() + n_crops * size_of::<Crop>()
    }

    /// Parts that the network sees of each image.
    pub fn n_crops(&self) -> usize {
        self.n_crops
    }

    fn shape(&self) -> Result<ImageShape> {
        let Shape { channels, width, .. } = self.image;
        Ok(ImageShape {
            row: narrow("a row of an image", channels * width)?,
            image: narrow("an image", self.image.len())?,
            channels: channels as u32,
            n_crops: self.n_crops as u32,
        })
    }

    /// What of `images`, the bytes of a batch, is shown first: image number `first` and those behind it that make `seen` parts.
    fn check(&self, images: &CudaSlice<u8>, first: usize, seen: usize) -> Result<usize> {
        assert!(seen.is_multiple_of(self.n_crops), "{seen} parts of images that have {} each", self.n_crops);
        check_len("images", images, (first + seen / self.n_crops) * self.image.len())?;
        Ok(first * self.image.len())
    }
}

/// A first convolution with its weights in the order in which the kernels read them.
#[derive(Debug)]
pub struct Conv2dImages {
    geometry: Geometry,
    rectify: bool,
    /// `(padded_k, pitch)`
    weights: CudaSlice<f32>,
    /// `(out_channels)`
    bias: CudaSlice<f32>,
    /// `(padded_k)`
    taps: CudaSlice<ImageTap>,
    /// `(padded_k)`
    scales: CudaSlice<f32>,
    /// The kernel that runs, by its name, if it is not to be the one that should be fastest.
    pub kernel: Option<&'static str>,
}

impl Conv2dImages {
    /// Brings a convolution of what `source` shows to the device; `rectify` if `x > 0 ? x : 0` follows it.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    ///
    /// # Panics
    /// If the kernel is larger than [`MAX_KERNEL`], there are several groups, or the parameters do not fit `geometry`.
    pub fn new(
        launcher: &Launcher,
        geometry: Geometry,
        parameters: &Parameters,
        source: &ImageSource,
        rectify: bool,
    ) -> Result<Conv2dImages> {
        assert!(geometry.kernel <= MAX_KERNEL && geometry.groups == 1 && geometry.input == source.input);
        assert_eq!(parameters.weight.len(), geometry.output.channels * geometry.k());
        assert_eq!(parameters.bias.len(), geometry.output.channels);
        let (height, width) = (geometry.input.height, geometry.input.width);
        let (channels, row_bytes) = (source.image.channels, source.image.channels * source.image.width);
        let tap = |[channel, row, column]: [usize; 3]| {
            let (down, across) = ((row * row_bytes) as i32, (column * channels) as i32);
            let of_pixel = source.order[channel] as i32;
            ImageTap {
                at: (row | column << 8) as u32,
                plain: down + across + of_pixel,
                mirrored: down - across + of_pixel,
                mean: (((channel * height + row) * width + column) * size_of::<f32>()) as i32,
            }
        };
        let nothing = ImageTap { at: MAX_KERNEL as u32, ..ImageTap::default() };
        let taps: Vec<ImageTap> = terms(&geometry).map(|term| term.map_or(nothing, tap)).collect();
        let scales: Vec<f32> = terms(&geometry).map(|term| term.map_or(0.0, |[c, ..]| source.scales[c])).collect();
        let (rows, k) = (geometry.outputs_per_group(), geometry.k());
        Ok(Conv2dImages {
            geometry,
            rectify,
            weights: launcher.upload(&gemm::pack(&parameters.weight, 1, rows, k, padded_k(&geometry)))?,
            bias: launcher.upload(&parameters.bias)?,
            taps: launcher.upload(&taps)?,
            scales: launcher.upload(&scales)?,
            kernel: None,
        })
    }

    /// Bytes that [`Conv2dImages::new`] takes.
    pub fn bytes(geometry: &Geometry) -> usize {
        weight_bytes(geometry) + padded_k(geometry) * (size_of::<ImageTap>() + size_of::<f32>())
    }
}

impl Launcher {
    /// Convolves what `source` shows of `images`, `(images, height, width, channels)`, from image number `first` on: `seen` parts of
    /// images. Writes to `out`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if the place reaches beyond the arena or there are fewer images; [`Error::Launch`] if the driver refuses the
    /// launch.
    ///
    /// # Panics
    /// If `seen` is not a whole number of images.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn conv2d_images(
        &self,
        arena: &mut CudaSlice<f32>,
        layer: &Conv2dImages,
        source: &ImageSource,
        out: Place,
        images: &CudaSlice<u8>,
        first: usize,
        seen: usize,
    ) -> Result<()> {
        let start = source.check(images, first, seen)?;
        if seen == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let geometry = &layer.geometry;
        let mut shape = conv2d_shape(geometry, seen, out.image, 0, layer.rectify)?;
        let image_shape = source.shape()?;
        let to = out.of(arena, "a convolution's output", seen, geometry.output.len())?;
        let from = images.slice(start..);
        let products = self.conv2d_images_products();
        let product = match layer.kernel {
            Some(name) => products.iter().find(|product| product.name == name).expect("a kernel of this layer"),
            None => gemm::fastest(&products, shape.rows, shape.n_columns, 1),
        };
        let config = launch_config(product, &mut shape, 1);
        let mut launch = self.stream.launch_builder(product.kernel);
        launch.arg(&to).arg(&from).arg(&source.crops).arg(&source.mean);
        launch.arg(&layer.weights).arg(&layer.bias).arg(&layer.taps).arg(&layer.scales);
        launch.arg(&shape).arg(&image_shape);
        // SAFETY: order and types are those of conv2d_images_96_f32 and its kin in kernels/network/conv2d_images.cu; the lengths
        // were checked, those of the weights are Conv2dImages::new's, the crops are inside the images; it writes `out` alone, and
        // nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch(product.name))?;
        Ok(())
    }

    /// Writes what `source` shows of `images` to `out`, `(channels, height, width)` of each part, preprocessed: for a network that
    /// does not begin with a convolution. As [`Launcher::conv2d_images`] otherwise.
    ///
    /// # Errors
    /// Those of [`Launcher::conv2d_images`].
    ///
    /// # Panics
    /// If `seen` is not a whole number of images.
    pub fn preprocess(
        &self,
        arena: &mut CudaSlice<f32>,
        source: &ImageSource,
        out: Place,
        images: &CudaSlice<u8>,
        first: usize,
        seen: usize,
    ) -> Result<()> {
        let start = source.check(images, first, seen)?;
        if seen == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let input = source.input;
        let to = out.of(arena, "images as the network sees them", seen, input.len())?;
        let from = images.slice(start..);
        let image_shape = source.shape()?;
        let shape = super::params::Conv2dShape {
            n_columns: narrow("parts of images", seen)?,
            in_height: input.height as u32,
            in_width: input.width as u32,
            out_image: narrow("an image", out.image)?,
            ..Default::default()
        };
        let blocks = (seen * input.len()).div_ceil(tuning::COPY_THREADS as usize);
        let config = LaunchConfig {
            grid_dim: (narrow("blocks of a launch", blocks)?, 1, 1),
            block_dim: (tuning::COPY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = self.stream.launch_builder(&self.kernels.preprocess_f32);
        launch.arg(&to).arg(&from).arg(&source.crops).arg(&source.mean);
        launch.arg(&source.scales_on_device).arg(&source.order_on_device).arg(&shape).arg(&image_shape);
        // SAFETY: order and types are those of preprocess_f32 in kernels/network/copy.cu; the lengths were checked, the crops are
        // inside the images; it writes `out` alone, and nobody else has the arena.
        unsafe { launch.launch(config) }.map_err(Error::launch("preprocess_f32"))?;
        Ok(())
    }

    /// The names of the kernels that a first convolution may run as.
    pub fn conv2d_images_kernels(&self) -> Vec<&'static str> {
        self.conv2d_images_products().iter().map(|product| product.name).collect()
    }

    fn conv2d_images_products(&self) -> [Product<'_>; 3] {
        use tuning::{CONV2D_COLUMNS as COLUMNS, CONV2D_STAGE_K as STAGE_K, CONV2D_THREADS as THREADS};
        let each = |instructions: u32| f64::from(instructions) / f64::from(STAGE_K);
        [
            Product {
                name: "conv2d_images_96_f32",
                kernel: &self.kernels.conv2d_images_96_f32,
                rows: 96,
                columns: COLUMNS,
                threads: THREADS,
                instructions: each(1035),
            },
            Product {
                name: "conv2d_images_64_f32",
                kernel: &self.kernels.conv2d_images_64_f32,
                rows: 64,
                columns: COLUMNS,
                threads: THREADS,
                instructions: each(782),
            },
            Product {
                name: "conv2d_images_few_f32",
                kernel: &self.kernels.conv2d_images_few_f32,
                rows: 32,
                columns: tuning::CONV2D_FEW_COLUMNS,
                threads: tuning::CONV2D_FEW_THREADS,
                instructions: each(277),
            },
        ]
    }
}
