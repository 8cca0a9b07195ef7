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
    let positions = shape.height * shape.width;
    let (mut position, mut byte) = (0, 0);
    // Four bytes of each image at a time.
    for first in (0..shape.len()).step_by(4) {
        let mut words = [0; MAX_LANES];
        for (word, image) in words.iter_mut().zip(images.chunks_exact(shape.len())) {
            *word = word_at(image, first);
        }
        let mut bytes = L::bits_load(&words);
        for _ in first..shape.len().min(first + 4) {
            let mut x = L::from_i32(L::bits_and(bytes, L::bits_splat(0xff)));
            bytes = L::bits_shr::<8>(bytes);
            let channel = byte_of_channel(preprocess.channel_order, byte, shape.channels);
            let (place, scale) = (channel * positions + position, L::splat(preprocess.scale[channel]));
            if let Some(&mean) = preprocess.mean.get(place) {
                x = x.sub(L::splat(mean));
            }
            x.mul(scale).store(&mut output[place * L::N..]);
            byte += 1;
            if byte == shape.channels {
                (position, byte) = (position + 1, 0);
            }
        }
    }
}

/// The four bytes of `image` from `at` on, the first lowest; 0 past its end.
#[inline(always)]
fn word_at(image: &[u8], at: usize) -> u32 {
    match image[at..].first_chunk() {
        Some(&bytes) => u32::from_le_bytes(bytes),
        None => image[at..].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)),
    }
}

/// One image by itself: fills `output`, `(channels, height, width)`, from `image`, `(height, width, channels)` bytes. The same
/// operations as [`preprocess`], the same bits.
pub fn preprocess_image(output: &mut [f32], image: &[u8], shape: Shape, preprocess: &Preprocess) {
    assert!(output.len() == shape.len() && image.len() == shape.len());
    let positions = shape.height * shape.width;
    for (channel, plane) in output.chunks_exact_mut(positions).enumerate() {
        let byte = byte_of_channel(preprocess.channel_order, channel, shape.channels);
        let scale = preprocess.scale[channel];
        for (position, value) in plane.iter_mut().enumerate() {
            let pixel = f32::from(image[position * shape.channels + byte]);
            *value = match preprocess.mean.get(channel * positions + position) {
                Some(mean) => (pixel - mean) * scale,
                None => pixel * scale,
            };
        }
    }
}

/// Where a pixel holds what becomes the network's `channel`; and which channel its byte `channel` becomes.
pub fn byte_of_channel(order: ChannelOrder, channel: usize, channels: usize) -> usize {
    match order {
        ChannelOrder::Grey | ChannelOrder::Rgb => channel,
        ChannelOrder::Bgr => channels - 1 - channel,
    }
}
