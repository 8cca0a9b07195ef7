//! What the tests of layers share: numbers, an arena full of guards, and each layer literally from its formula, one number at a time.

use crate::harness;
use cudarc::driver::CudaSlice;
use pareidolia::backend::cpu::conv2d::Geometry;
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::arena::Place;
use pareidolia::network::{Parameters, Shape};
use pareidolia::rng::{Philox, Purpose, unit};

/// `n` numbers in [-1, 1), the same for the same `stream`.
pub fn numbers(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(2027).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

/// Random weights and biases.
pub fn parameters(stream: u32, n_weights: usize, n_biases: usize) -> Parameters {
    Parameters { weight: numbers(stream, n_weights), bias: numbers(stream + 1, n_biases) }
}

/// `n` random bytes.
pub fn bytes(stream: u32, n: usize) -> Vec<u8> {
    numbers(stream, n).iter().map(|x| ((x + 1.0) * 128.0) as u8).collect()
}

pub fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

/// Values of `input` and of what `run` makes of it, `out_len` an image, each image's amid guards, in one arena: `run` is given the
/// arena, where to write, and where to read. It must write `want`, bit for bit, and nothing else.
#[track_caller]
pub fn makes(
    launcher: &Launcher,
    (input, in_len): (&[f32], usize),
    (want, out_len): (&[f32], usize),
    batch: usize,
    case: &str,
    run: impl FnOnce(&mut CudaSlice<f32>, Place, Place),
) {
    let from = Place { start: 5, image: in_len + 3 };
    let to = Place { start: from.start + batch * from.image + harness::GUARDS, image: out_len + 6 };
    let mut before = vec![harness::GUARD_F32; to.start + batch * to.image + harness::GUARDS];
    for image in 0..batch {
        let at = from.start + image * from.image;
        before[at..at + in_len].copy_from_slice(&input[image * in_len..][..in_len]);
    }
    let mut arena = launcher.upload(&before).unwrap();
    run(&mut arena, to, from);
    let after = launcher.download(&arena).unwrap();
    for image in 0..batch {
        let at = to.start + image * to.image;
        harness::assert_bits(
            &want[image * out_len..][..out_len],
            &after[at..at + out_len],
            &format!("{case}, image {image}"),
        );
        before[at..at + out_len].copy_from_slice(&after[at..at + out_len]);
    }
    harness::assert_bits(&before, &after, &format!("{case}: what is not to be written"));
}

/// `x > 0 ? x : 0` of each.
pub fn rectified(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect()
}

/// The convolution of one image.
pub fn conv2d(geometry: &Geometry, parameters: &Parameters, input: &[f32]) -> Vec<f32> {
    let Geometry { input: from, output: to, kernel, stride, padding, groups } = *geometry;
    let (in_group, out_group) = (from.channels / groups, to.channels / groups);
    let mut output = Vec::with_capacity(to.len());
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let mut sum = parameters.bias[channel];
                for c in 0..in_group {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (y, x) = (row * stride + ky, column * stride + kx);
                            let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                            if inside(y, from.height) && inside(x, from.width) {
                                let plane = channel / out_group * in_group + c;
                                let at = (plane * from.height + y - padding) * from.width + x - padding;
                                let weight = parameters.weight[((channel * in_group + c) * kernel + ky) * kernel + kx];
                                sum = input[at].mul_add(weight, sum);
                            }
                        }
                    }
                }
                output.push(sum);
            }
        }
    }
    output
}

/// `function` of each image, one after the other.
pub fn each_image(input: &[f32], len: usize, function: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    input.chunks(len).flat_map(function).collect()
}
