//! Small pictures of many elites, side by side on a few large ones.

use super::picture;
use crate::genome::Canvas;
use crate::output::pictures::resized;
use fast_image_resize::{FilterType, ResizeAlg};
use rayon::prelude::*;
use serde::Serialize;

/// Pictures of a row, and rows of a sheet.
const SIDE: usize = 10;

/// Longest side of a small picture, in pixels.
const MOST: usize = 96;

/// Bytes of the pixels of all of them, at most: noise takes as much in a PNG.
const BYTES: usize = 6 << 20;

/// What the page knows of them.
#[derive(Clone, Debug, Serialize)]
pub struct Sheets {
    /// Width and height of a small picture.
    pub tile: [usize; 2],
    pub columns: usize,
    pub rows: usize,
    /// Data URLs.
    pub pictures: Vec<String>,
}

impl Sheets {
    /// Those of `images`, each `canvas`, in their order. The more there are the smaller they get.
    pub fn of(canvas: Canvas, images: &[&[u8]]) -> Sheets {
        let room = BYTES as f64 / (images.len().max(1) * canvas.channels) as f64;
        let (width, height) = (canvas.width as f64, canvas.height as f64);
        let scale = (room / (width * height)).sqrt().min(MOST as f64 / width.max(height)).min(1.0);
        let side = |length: f64| ((length * scale) as usize).max(1);
        let tile = Canvas { width: side(width), height: side(height), ..canvas };
        let pictures = images.par_chunks(SIDE * SIDE).map(|images| sheet(canvas, tile, images)).collect();
        Sheets { tile: [tile.width, tile.height], columns: SIDE, rows: SIDE, pictures }
    }
}

fn sheet(canvas: Canvas, tile: Canvas, images: &[&[u8]]) -> String {
    let whole = Canvas { width: SIDE * tile.width, height: SIDE * tile.height, ..canvas };
    let mut pixels = vec![0; whole.len()];
    let row_bytes = tile.width * tile.channels;
    for (at, image) in images.iter().enumerate() {
        let small = resized(image, canvas, tile, ResizeAlg::Convolution(FilterType::CatmullRom));
        let (left, top) = (at % SIDE * row_bytes, at / SIDE * tile.height);
        for (row, line) in small.chunks(row_bytes).enumerate() {
            pixels[(top + row) * SIDE * row_bytes + left..][..row_bytes].copy_from_slice(line);
        }
    }
    picture(whole, &pixels)
}
