//! `contact_sheet.png`: every elite at a glance, with its class and its confidence.

use crate::archive::Archive;
use crate::genome::Canvas;
use crate::output::font::{Colour, Style, Weight};
use crate::output::{About, Image, Manifest, confidence_text, preset_name};

const INK: Colour = [0x22, 0x22, 0x22];
const FAINT: Colour = [0x6a, 0x6a, 0x6a];
const FRAME: Colour = [0xc4, 0xc4, 0xc4];

const TITLE: Style = Style { size: 30.0, weight: Weight::Bold, colour: INK };
const SUBTITLE: Style = Style { size: 19.0, weight: Weight::Regular, colour: FAINT };
const NUMBER: Style = Style { size: 22.0, weight: Weight::Bold, colour: INK };
const CONFIDENCE: Style = Style { size: 20.0, weight: Weight::Regular, colour: INK };
const NAME: Style = Style { size: 17.0, weight: Weight::Regular, colour: FAINT };

// Lengths in pixels.
const MARGIN: usize = 44;
const GAP: usize = 28;
/// Height of title and subtitle, with the space below.
const HEADER: usize = 92;
/// Height of number and confidence below an elite, and of the name below those.
const CAPTION: usize = 34;
const NAME_LINE: usize = 24;
/// Elites are enlarged by the greatest whole factor that keeps them within this width, and are never made smaller.
const ELITE: usize = 224;

/// Cells of a page, at most.
pub const PAGE: usize = 50;

/// An elite with what stands below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell<'a> {
    pub class: u32,
    pub name: &'a str,
    pub confidence: f32,
    /// `(height, width, channels)`.
    pub image: &'a [u8],
}

/// What the pages of a contact sheet show.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet<'a> {
    pub title: String,
    pub subtitle: String,
    pub canvas: Canvas,
    pub cells: Vec<Cell<'a>>,
}

impl<'a> Sheet<'a> {
    /// The elites of a run.
    pub fn of_run(manifest: &'a Manifest, archive: &'a Archive, about: &About) -> Sheet<'a> {
        let niches = manifest.classes.iter().zip(&archive.elites);
        Sheet {
            title: format!("{}, seed {}", preset_name(manifest.configuration.preset), manifest.seed),
            subtitle: format!(
                "generation {}  ·  {} evaluations  ·  median confidence {}",
                thousands(manifest.generation.into()),
                thousands(manifest.evaluations),
                confidence_text(manifest.statistics.median as f32),
            ),
            canvas: about.canvas,
            cells: niches
                .map(|(niche, elite)| Cell {
                    class: niche.class,
                    name: &niche.name,
                    confidence: niche.confidence,
                    image: &elite.image,
                })
                .collect(),
        }
    }

    /// Number of pages, each of at most [`PAGE`] cells.
    pub fn n_pages(&self) -> usize {
        self.cells.len().div_ceil(PAGE)
    }

    /// Draws a page, counted from 0.
    pub fn page(&self, page: usize) -> Image {
        let cells = self.cells.chunks(PAGE).nth(page).unwrap_or_default();
        let columns = if self.cells.len() <= 10 { self.cells.len().min(5) } else { 10 };
        let zoom = (ELITE / self.canvas.width).max(1);
        let (width, height) = (self.canvas.width * zoom, self.canvas.height * zoom);
        // Where classes have no names but their numbers, as digits do, the number alone says all.
        let named = self.cells.iter().any(|cell| cell.name != cell.class.to_string());
        let pitch = height + CAPTION + if named { NAME_LINE } else { 0 } + GAP;

        let mut subtitle = self.subtitle.clone();
        if self.n_pages() > 1 {
            subtitle += &format!("  ·  page {} of {}", page + 1, self.n_pages());
        }
        let text = TITLE.width(&self.title).max(SUBTITLE.width(&subtitle)).ceil() as usize;
        let grid = columns * (width + GAP) - GAP;
        let canvas = Canvas {
            height: MARGIN + HEADER + cells.len().div_ceil(columns) * pitch - GAP + MARGIN,
            width: grid.max(text) + 2 * MARGIN,
            channels: 3,
        };
        let mut sheet = Image { canvas, pixels: vec![255; canvas.len()] };
        TITLE.draw(&mut sheet, MARGIN as f32, MARGIN as f32 + 26.0, &self.title);
        SUBTITLE.draw(&mut sheet, MARGIN as f32, MARGIN as f32 + 60.0, &subtitle);
        for (index, cell) in cells.iter().enumerate() {
            let left = MARGIN + index % columns * (width + GAP);
            let top = MARGIN + HEADER + index / columns * pitch;
            fill(&mut sheet, left - 1, top - 1, width + 2, height + 2, |_, _| FRAME);
            fill(&mut sheet, left, top, width, height, |x, y| {
                let pixel = (y / zoom * self.canvas.width + x / zoom) * self.canvas.channels;
                let channel = |c: usize| cell.image[pixel + c.min(self.canvas.channels - 1)];
                [channel(0), channel(1), channel(2)]
            });
            let (left, bottom) = (left as f32, (top + height) as f32);
            let confidence = confidence_text(cell.confidence);
            let right = left + width as f32 - CONFIDENCE.width(&confidence);
            NUMBER.draw(&mut sheet, left, bottom + 26.0, &cell.class.to_string());
            CONFIDENCE.draw(&mut sheet, right, bottom + 26.0, &confidence);
            if named {
                NAME.draw(&mut sheet, left, bottom + 50.0, &NAME.fit(cell.name, width as f32));
            }
        }
        sheet
    }
}

/// Fills a rectangle of an RGB image with the colours of its points, counted from its corner.
fn fill(image: &mut Image, left: usize, top: usize, width: usize, height: usize, at: impl Fn(usize, usize) -> Colour) {
    for y in 0..height {
        let start = ((top + y) * image.canvas.width + left) * 3;
        for (x, pixel) in image.pixels[start..start + width * 3].chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&at(x, y));
        }
    }
}

/// `n` with a comma after every third digit from the right.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
