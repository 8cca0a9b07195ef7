//! conv2d_images and preprocess: what a network sees of images, and the first convolution's sums over it.

use super::cases::Extent;
use super::conv2d::{self, geometry};
use super::gpu::Gpu;
use super::layers::{self, Values, bytes, each_image, numbers, parameters, rectified, shape};
use super::tally::Tally;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::Launcher;
use crate::backend::cuda::arena::Place;
use crate::backend::cuda::conv2d_images::{Conv2dImages, ImageSource};
use crate::backend::cuda::params::Crop;
use crate::error::Result;
use crate::network::{ChannelOrder, Parameters, Shape};
use cudarc::driver::CudaSlice;

/// Images, what is seen of them, and the convolution of that.
#[derive(Clone, Debug)]
pub struct Case {
    /// Images.
    n: usize,
    /// Of an image.
    image: Shape,
    order: ChannelOrder,
    crops: Vec<Crop>,
    scales: Vec<f32>,
    /// Of what is seen; empty for none.
    mean: Vec<f32>,
    images: Vec<u8>,
    geometry: Geometry,
    parameters: Parameters,
}

impl Case {
    /// What is seen of a crop of an image, one number at a time.
    fn seen(&self, image: &[u8], crop: Crop) -> Vec<f32> {
        let (of, input) = (self.image, self.geometry.input);
        let mut values = Vec::with_capacity(input.len());
        for (channel, scale) in self.scales.iter().enumerate() {
            for row in 0..input.height {
                for column in 0..input.width {
                    let column_of_crop = if crop.mirror == 1 { input.width - 1 - column } else { column };
                    let (y, x) = (crop.y as usize + row, crop.x as usize + column_of_crop);
                    let of_pixel = if self.order == ChannelOrder::Bgr { 2 - channel } else { channel };
                    let pixel = image[(y * of.width + x) * of.channels + of_pixel];
                    let mean = self.mean.get(values.len()).copied().unwrap_or(0.0);
                    values.push((f32::from(pixel) - mean) * scale);
                }
            }
        }
        values
    }

    /// What is seen of all images: of each, one crop after the other.
    fn all_seen(&self) -> Vec<f32> {
        let of_image = |image| self.crops.iter().flat_map(move |&crop| self.seen(image, crop));
        self.images.chunks(self.image.len()).flat_map(of_image).collect()
    }

    fn source(&self, launcher: &Launcher) -> Result<ImageSource> {
        let Case { image, order, scales, mean, crops, geometry, .. } = self;
        ImageSource::new(launcher, geometry.input, *image, *order, scales, mean, crops)
    }

    /// Compares `want`, of all that is seen, with what `launch` makes from a first image on of so many crops: of all images, and of
    /// the last alone.
    fn compare(
        &self,
        gpu: &Gpu,
        tally: &mut Tally,
        name: &str,
        (want, out_len): Values,
        launch: impl Fn(&Launcher, &mut CudaSlice<f32>, Place, usize, usize) -> Result<()>,
    ) -> Result<()> {
        let Case { n, image, order, crops, geometry, mean, .. } = self;
        let mean = if mean.is_empty() { "no mean" } else { "a mean" };
        for first in [0, n - 1] {
            let seen = (n - first) * crops.len();
            let want = &want[first * crops.len() * out_len..];
            tally.case(
                seen,
                format_args!("{name}: images from {first} of {n} {image} {order}, {mean}, {crops:?}, {geometry:?}"),
            );
            layers::compare(gpu, tally, (&[], 0), (want, out_len), seen, |launcher, arena, to, _| {
                launch(launcher, arena, to, first, seen)
            })?;
        }
        Ok(())
    }
}

/// Compares a case's sums, rectified and not, by each of `kernels`; `None` is the one that should be fastest.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case, kernels: &[Option<&'static str>]) -> Result<()> {
    let Case { geometry, parameters, .. } = case;
    let (source, images) = (case.source(gpu.launcher)?, gpu.upload(&case.images)?);
    let plain = each_image(&case.all_seen(), geometry.input.len(), |one| conv2d::on_host(geometry, parameters, one));
    for (rectify, want) in [(false, &plain), (true, &rectified(&plain))] {
        let mut layer = Conv2dImages::new(gpu.launcher, *geometry, parameters, &source, rectify)?;
        for &kernel in kernels {
            layer.kernel = kernel;
            let name = format!("{kernel:?}, rectify {rectify}");
            case.compare(gpu, tally, &name, (want, geometry.output.len()), |launcher, arena, to, first, seen| {
                launcher.conv2d_images(arena, &layer, &source, to, &images, first, seen)
            })?;
        }
    }
    Ok(())
}

/// Compares what is seen of a case's images.
///
/// # Errors
/// The driver's.
pub fn compare_seen(gpu: &Gpu, tally: &mut Tally, case: &Case) -> Result<()> {
    let (source, images) = (case.source(gpu.launcher)?, gpu.upload(&case.images)?);
    let want = (&case.all_seen()[..], case.geometry.input.len());
    case.compare(gpu, tally, "preprocessed", want, |launcher, arena, to, first, seen| {
        launcher.preprocess(arena, &source, to, &images, first, seen)
    })
}

/// Whole images and several crops, mirrored or not, of every order of channels, with a mean and without; round the edges of 32, 64 and
/// 96 channels.
pub fn cases() -> Vec<Case> {
    let (grey, bgr, rgb) = (ChannelOrder::Grey, ChannelOrder::Bgr, ChannelOrder::Rgb);
    let crop = |x, y, mirror| Crop { x, y, mirror };
    let whole = vec![crop(0, 0, 0)];
    let three = vec![crop(2, 1, 0), crop(3, 4, 1), crop(0, 0, 1)];
    // Images, the image, its order, what is seen of it, the convolution.
    let table = [
        (1, shape(1, 1, 1), grey, whole.clone(), geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (2, shape(3, 27, 26), bgr, three, geometry(shape(3, 23, 23), 97, (11, 4, 0, 1))),
        (3, shape(3, 9, 12), rgb, whole, geometry(shape(3, 9, 12), 64, (3, 1, 1, 1))),
        (1, shape(1, 20, 20), grey, vec![crop(4, 4, 0)], geometry(shape(1, 16, 16), 5, (5, 1, 2, 1))),
        (2, shape(3, 14, 13), bgr, vec![crop(1, 0, 1), crop(0, 2, 0)], geometry(shape(3, 12, 12), 33, (7, 2, 3, 1))),
    ];
    let mut cases = Vec::new();
    for (number, (n, image, order, crops, geometry)) in table.into_iter().enumerate() {
        let (stream, input) = (7000 + 100 * number as u32, geometry.input);
        let scales: Vec<f32> = numbers(stream + 1, input.channels).iter().map(|x| (x + 1.5) / 251.0).collect();
        for mean in [Vec::new(), numbers(stream + 2, input.len()).iter().map(|x| 100.0 * x).collect()] {
            cases.push(Case {
                n,
                image,
                order,
                crops: crops.clone(),
                scales: scales.clone(),
                mean,
                images: bytes(stream, n * image.len()),
                geometry,
                parameters: parameters(stream + 3, geometry.output.channels * geometry.k(), geometry.output.channels),
            });
        }
    }
    cases
}

/// The sums of all [`cases`], by the kernel of this name.
///
/// # Errors
/// The driver's.
pub fn conv2d_images(gpu: &Gpu, extent: Extent, tally: &mut Tally, kernel: &'static str) -> Result<()> {
    extent.of(cases(), 1, usize::MAX).iter().try_for_each(|case| compare(gpu, tally, case, &[Some(kernel)]))
}

/// What is seen of the images of all [`cases`].
///
/// # Errors
/// The driver's.
pub fn preprocess(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    extent.of(cases(), 2, usize::MAX).iter().try_for_each(|case| compare_seen(gpu, tally, case))
}
