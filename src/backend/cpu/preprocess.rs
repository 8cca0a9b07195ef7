//! 8-bit images become the first activation of a tile.
//!
//! ```text
//! out  output  (channels, height, width, L::N) f32, lane = image
//! in   images  (at most L::N, height, width, channels) u8; lanes past the last image get what a black one would
//! ```
//!
//! Numbers   `(pixel - mean) * scale`, two roundings; without a mean `pixel * scale`, one.

use crate::network::{ChannelOrder, Preprocess, Shape};
use crate::simd::{Lanes, MAX_LANES};

/// Fills the tile `output` from `images`: see the top of this file.
#[inline(always)]
pub fn preprocess<L: Lanes>(output: &mut [f32], images: &[u8], shape: Shape, preprocess: &Preprocess) {
    assert_eq!(output.len(), shape.len() * L::N);
    assert!(images.len() <= shape.len() * L::N && images.len().is_multiple_of(shape.len()));
    let scale = L::splat(preprocess.scale);
    let positions = shape.height * shape.width;
    for (channel, plane) in output.chunks_exact_mut(positions * L::N).enumerate() {
        let byte = byte_of_channel(preprocess.channel_order, channel, shape.channels);
        for (position, value) in plane.chunks_exact_mut(L::N).enumerate() {
            let mut pixels = [0; MAX_LANES];
            for (pixel, image) in pixels.iter_mut().zip(images.chunks_exact(shape.len())) {
                *pixel = u32::from(image[position * shape.channels + byte]);
            }
            let mut x = L::from_i32(L::bits_load(&pixels));
            if let Some(&mean) = preprocess.mean.get(channel * positions + position) {
                x = x.sub(L::splat(mean));
            }
            x.mul(scale).store(value);
        }
    }
}

/// One image by itself: fills `output`, `(channels, height, width)`, from `image`, `(height, width, channels)` bytes. The same
/// operations as [`preprocess`], the same bits.
pub fn preprocess_image(output: &mut [f32], image: &[u8], shape: Shape, preprocess: &Preprocess) {
    assert!(output.len() == shape.len() && image.len() == shape.len());
    let positions = shape.height * shape.width;
    for (channel, plane) in output.chunks_exact_mut(positions).enumerate() {
        let byte = byte_of_channel(preprocess.channel_order, channel, shape.channels);
        for (position, value) in plane.iter_mut().enumerate() {
            let pixel = f32::from(image[position * shape.channels + byte]);
            *value = match preprocess.mean.get(channel * positions + position) {
                Some(mean) => (pixel - mean) * preprocess.scale,
                None => pixel * preprocess.scale,
            };
        }
    }
}

/// Where a pixel holds what becomes the network's `channel`.
fn byte_of_channel(order: ChannelOrder, channel: usize, channels: usize) -> usize {
    match order {
        ChannelOrder::Grey | ChannelOrder::Rgb => channel,
        ChannelOrder::Bgr => channels - 1 - channel,
    }
}
