//! Genomes: the numbers that evolution changes, and how they become images.

pub mod colour;
pub mod cppn;
pub mod direct;
pub mod exchange;
pub mod mutation;

use crate::network::{Network, Shape};
use crate::simd::Lanes;
use serde::{Deserialize, Serialize};

/// The size of a phenotype: `height` x `width` pixels of `channels` bytes, channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canvas {
    pub height: usize,
    pub width: usize,
    /// 1 (grey) or 3.
    pub channels: usize,
}

impl Canvas {
    /// 28 x 28 grey.
    pub const MNIST: Canvas = Canvas { height: 28, width: 28, channels: 1 };

    /// Of the images that `network` is given.
    pub fn of(network: &Network) -> Canvas {
        let Shape { channels, height, width } = network.given();
        Canvas { height, width, channels }
    }

    /// Bytes of an image, and genes of a direct genome.
    pub fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there is nothing to draw on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels of an image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }
}

/// How genomes are made and varied.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoding {
    /// A value per pixel and channel.
    Direct(direct::Rules),
    /// A growing graph that draws.
    Cppn(cppn::Rules),
}

/// One logical genome, as the archive keeps it and files hold it: no padding, no capacity.
#[derive(Clone, Debug, PartialEq)]
pub enum Genome {
    /// `(height, width, channels)` values in [0, 1].
    Direct(Vec<f32>),
    Cppn(cppn::Graph),
}

impl Genome {
    /// The values of a direct genome.
    pub fn genes(&self) -> Option<&[f32]> {
        if let Genome::Direct(genes) = self { Some(genes) } else { None }
    }

    /// The graph of a CPPN.
    pub fn graph(&self) -> Option<&cppn::Graph> {
        if let Genome::Cppn(graph) = self { Some(graph) } else { None }
    }
}

/// The 8-bit pixel of a phenotype value in [-1, 1]: `trunc(255 * |value|)` (spec 4.1 and 5.7).
#[inline]
pub fn pixel(value: f32) -> u8 {
    (255.0 * value.abs()) as u8
}

/// [`pixel`] in every lane, as integers of 0..=255 for values within rounding of [-1, 1].
#[inline(always)]
pub fn pixel_lanes<L: Lanes>(value: L) -> L::Bits {
    L::splat(255.0).mul(value.abs()).trunc_to_i32()
}

/// The pixels of the phenotype values `hue`, `lightness` and `saturation`, each at least `L::N` long, as `red | green << 8 | blue << 16`.
#[inline(always)]
pub fn colour_lanes<L: Lanes>(hue: &[f32], lightness: &[f32], saturation: &[f32]) -> L::Bits {
    let hue = L::from_i32(pixel_lanes(L::load(hue)));
    let lightness = L::from_i32(pixel_lanes(L::load(lightness)));
    let saturation = L::from_i32(pixel_lanes(L::load(saturation)));
    colour::hls_to_rgb(hue, lightness, saturation)
}
