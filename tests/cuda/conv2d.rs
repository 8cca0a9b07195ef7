//! conv2d and conv2d_images against their formulas.

use crate::harness;
use crate::layers::{self, bytes, each_image, makes, numbers, parameters, rectified, shape};
use pareidolia::backend::cpu::conv2d::Geometry;
use pareidolia::backend::cuda::conv2d::{Conv2d, MAX_KERNEL};
use pareidolia::backend::cuda::conv2d_images::{Conv2dImages, ImageSource};
use pareidolia::backend::cuda::params::Crop;
use pareidolia::network::{ChannelOrder, Parameters, Shape};

/// A convolution of `input` to `outputs` channels, with (kernel, stride, padding, groups).
fn geometry(input: Shape, outputs: usize, (kernel, stride, padding, groups): (usize, usize, usize, usize)) -> Geometry {
    let size = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let output = shape(outputs, size(input.height), size(input.width));
    Geometry { input, output, kernel, stride, padding, groups }
}

/// Batches and convolutions round the edges of tiles: 32, 64, 96, 128 channels of a group, 32 and 256 positions of all images, 8 terms.
fn cases() -> Vec<(usize, Geometry)> {
    vec![
        (1, geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (3, geometry(shape(3, 9, 10), 33, (3, 1, 1, 1))),
        (2, geometry(shape(4, 12, 11), 130, (5, 1, 2, 2))),
        (1, geometry(shape(2, 16, 16), 129, (1, 1, 0, 1))),
        (1, geometry(shape(8, 1, 257), 96, (1, 1, 0, 1))),
        (1, geometry(shape(5, 15, 17), 97, (3, 2, 0, 1))),
        (5, geometry(shape(8, 4, 4), 32, (3, 1, 1, 4))),
        (2, geometry(shape(3, 23, 23), 10, (11, 4, 0, 1))),
        (4, geometry(shape(1, 5, 3), 4, (7, 3, 3, 1))),
        (1, geometry(shape(9, 1, 31), 31, (1, 1, 0, 1))),
        (1, geometry(shape(7, 1, 33), 65, (1, 1, 0, 1))),
        (2, geometry(shape(1, 30, 29), 3, (29, 1, 14, 1))),
    ]
}

#[test]
fn conv2d_gives_the_bits_of_the_formula_round_the_edges_of_every_tile() {
    let Some(launcher) = harness::launcher() else { return };
    for (number, (batch, geometry)) in cases().into_iter().enumerate() {
        let stream = 100 * number as u32;
        let parameters = parameters(stream, geometry.output.channels * geometry.k(), geometry.output.channels);
        let (in_len, out_len) = (geometry.input.len(), geometry.output.len());
        let input = numbers(stream + 2, batch * in_len);
        let plain = each_image(&input, in_len, |image| layers::conv2d(&geometry, &parameters, image));
        for rectify in [false, true] {
            let want = if rectify { rectified(&plain) } else { plain.clone() };
            let mut layer = Conv2d::new(launcher, geometry, &parameters, rectify).unwrap();
            for kernel in launcher.conv2d_kernels().into_iter().map(Some).chain([None]) {
                layer.kernel = kernel;
                let case = format!("{geometry:?}, {kernel:?}, rectify {rectify}");
                makes(launcher, (&input, in_len), (&want, out_len), batch, &case, |arena, to, from| {
                    launcher.conv2d(arena, &layer, to, from, batch).unwrap();
                });
            }
        }
    }
}

#[test]
fn conv2d_of_no_image_writes_nothing() {
    let Some(launcher) = harness::launcher() else { return };
    let geometry = geometry(shape(3, 9, 10), 33, (3, 1, 1, 1));
    let layer = Conv2d::new(launcher, geometry, &parameters(1, 33 * 27, 33), false).unwrap();
    makes(launcher, (&[], geometry.input.len()), (&[], geometry.output.len()), 0, "no image", |arena, to, from| {
        launcher.conv2d(arena, &layer, to, from, 0).unwrap();
    });
}

#[test]
fn conv2d_keeps_the_sign_of_zero_where_the_last_stage_is_filled_up() {
    let Some(launcher) = harness::launcher() else { return };
    // 9 terms of 16: each is 0 * -1, and so is the sum from -0.
    let geometry = geometry(shape(1, 5, 5), 6, (3, 1, 0, 1));
    let parameters = Parameters { weight: vec![-1.0; 6 * 9], bias: vec![-0.0; 6] };
    let want = vec![-0.0; 6 * 9];
    let mut layer = Conv2d::new(launcher, geometry, &parameters, false).unwrap();
    for kernel in launcher.conv2d_kernels() {
        layer.kernel = Some(kernel);
        makes(launcher, (&[0.0; 25], 25), (&want, 54), 1, kernel, |arena, to, from| {
            launcher.conv2d(arena, &layer, to, from, 1).unwrap();
        });
    }
}

#[test]
fn conv2d_gives_the_bits_of_the_formula_where_numbers_are_extreme() {
    let Some(launcher) = harness::launcher() else { return };
    let geometry = geometry(shape(3, 7, 7), 9, (3, 2, 0, 1));
    for (times, in_times, what) in [(1e-38, 1.0, "denormal"), (1e-44, 1.0, "the smallest"), (1e30, 1e9, "overflow")] {
        let mut parameters = parameters(3, 9 * 27, 9);
        parameters.bias.fill(0.0);
        // No NaN, whose bits are the processor's: what overflows is all of one sign.
        let scaled = |x: f32, times: f32| if times > 1.0 { x.abs() * times } else { x * times };
        parameters.weight.iter_mut().for_each(|weight| *weight = scaled(*weight, times));
        let input = numbers(4, 2 * geometry.input.len());
        let input: Vec<f32> = input.into_iter().map(|x| scaled(x, in_times)).collect();
        let want = each_image(&input, geometry.input.len(), |image| layers::conv2d(&geometry, &parameters, image));
        let layer = Conv2d::new(launcher, geometry, &parameters, false).unwrap();
        let lens = (geometry.input.len(), geometry.output.len());
        makes(launcher, (&input, lens.0), (&want, lens.1), 2, what, |arena, to, from| {
            launcher.conv2d(arena, &layer, to, from, 2).unwrap();
        });
    }
}

/// What a network sees of a crop of an image, one number at a time.
fn seen(
    image: &[u8],
    of: Shape,
    input: Shape,
    crop: Crop,
    order: ChannelOrder,
    scales: &[f32],
    mean: &[f32],
) -> Vec<f32> {
    let mut values = Vec::with_capacity(input.len());
    for (channel, scale) in scales.iter().enumerate() {
        for row in 0..input.height {
            for column in 0..input.width {
                let column_of_crop = if crop.mirror == 1 { input.width - 1 - column } else { column };
                let (y, x) = (crop.y as usize + row, crop.x as usize + column_of_crop);
                let of_pixel = if order == ChannelOrder::Bgr { 2 - channel } else { channel };
                let pixel = image[(y * of.width + x) * of.channels + of_pixel];
                let mean = mean.get(values.len()).copied().unwrap_or(0.0);
                values.push((f32::from(pixel) - mean) * scale);
            }
        }
    }
    values
}

#[test]
fn conv2d_images_sees_every_crop_in_order_less_the_mean() {
    let Some(launcher) = harness::launcher() else { return };
    let (grey, bgr, rgb) = (ChannelOrder::Grey, ChannelOrder::Bgr, ChannelOrder::Rgb);
    let crop = |x, y, mirror| Crop { x, y, mirror };
    let whole = vec![crop(0, 0, 0)];
    // Images, the image, its order, what is seen of it, outputs, (kernel, stride, padding).
    for (number, (n, image, order, crops, geometry)) in [
        (1, shape(1, 1, 1), grey, whole.clone(), geometry(shape(1, 1, 1), 1, (1, 1, 0, 1))),
        (
            2,
            shape(3, 27, 26),
            bgr,
            vec![crop(2, 1, 0), crop(3, 4, 1), crop(0, 0, 1)],
            geometry(shape(3, 23, 23), 97, (11, 4, 0, 1)),
        ),
        (3, shape(3, 9, 12), rgb, whole.clone(), geometry(shape(3, 9, 12), 64, (3, 1, 1, 1))),
        (2, shape(3, 14, 13), bgr, vec![crop(1, 0, 1), crop(0, 2, 0)], geometry(shape(3, 12, 12), 33, (7, 2, 3, 1))),
        (1, shape(1, 20, 20), grey, vec![crop(4, 4, 0)], geometry(shape(1, 16, 16), 5, (5, 1, 2, 1))),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = 7000 + 100 * number as u32;
        let input = geometry.input;
        let images = bytes(stream, n * image.len());
        let scales: Vec<f32> = numbers(stream + 1, input.channels).iter().map(|x| (x + 1.5) / 251.0).collect();
        for mean in [Vec::new(), numbers(stream + 2, input.len()).iter().map(|x| 100.0 * x).collect()] {
            let source = ImageSource::new(launcher, input, image, order, &scales, &mean, &crops).unwrap();
            let all: Vec<f32> = images
                .chunks(image.len())
                .flat_map(|one| crops.iter().map(move |&crop| (one, crop)))
                .flat_map(|(one, crop)| seen(one, image, input, crop, order, &scales, &mean))
                .collect();
            let parameters = parameters(stream + 3, geometry.output.channels * geometry.k(), geometry.output.channels);
            let plain = each_image(&all, input.len(), |one| layers::conv2d(&geometry, &parameters, one));
            let (batch, out_len) = (n * crops.len(), geometry.output.len());
            let on_device = launcher.upload(&images).unwrap();
            for rectify in [false, true] {
                let want = if rectify { rectified(&plain) } else { plain.clone() };
                let mut layer = Conv2dImages::new(launcher, geometry, &parameters, &source, rectify).unwrap();
                for kernel in launcher.conv2d_images_kernels().into_iter().map(Some).chain([None]) {
                    layer.kernel = kernel;
                    let case = format!("{geometry:?}, {kernel:?}, {order:?}, {crops:?}, rectify {rectify}");
                    makes(launcher, (&[], 0), (&want, out_len), batch, &case, |arena, to, _| {
                        launcher.conv2d_images(arena, &layer, &source, to, &on_device, 0, batch).unwrap();
                    });
                    // The last image alone.
                    let last = &want[(n - 1) * crops.len() * out_len..];
                    makes(launcher, (&[], 0), (last, out_len), crops.len(), &case, |arena, to, _| {
                        launcher.conv2d_images(arena, &layer, &source, to, &on_device, n - 1, crops.len()).unwrap();
                    });
                }
            }
            makes(launcher, (&[], 0), (&all, input.len()), batch, &format!("preprocess {image}"), |arena, to, _| {
                launcher.preprocess(arena, &source, to, &on_device, 0, batch).unwrap();
            });
        }
    }
}

#[test]
fn conv2d_refuses_places_that_are_not_there() {
    let Some(launcher) = harness::launcher() else { return };
    let geometry = geometry(shape(2, 4, 4), 3, (3, 1, 0, 1));
    let layer = Conv2d::new(launcher, geometry, &parameters(5, 54, 3), false).unwrap();
    let place = |start, image| pareidolia::backend::cuda::arena::Place { start, image };
    // Two images in, 64 floats, two out, 24.
    let mut arena = launcher.zeros::<f32>(64 + 24).unwrap();
    launcher.conv2d(&mut arena, &layer, place(64, 12), place(0, 32), 2).unwrap();
    let mut refused =
        |out, input, batch| launcher.conv2d(&mut arena, &layer, out, input, batch).unwrap_err().to_string();
    assert!(refused(place(65, 12), place(0, 32), 2).contains("output"));
    assert!(refused(place(0, 12), place(25, 32), 2).contains("input"));
    assert!(refused(place(64, 11), place(0, 32), 2).contains("output"));
    launcher.synchronise().unwrap();
    assert_eq!(MAX_KERNEL, 29);
}
