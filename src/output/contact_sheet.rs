//! `contact_sheet.png`: every elite at a glance, with its class and its confidence. More than a page holds go on in
//! `contact_sheet-02.png` and so on.

use crate::archive::Archive;
use crate::experiment::config::name_of;
use crate::genome::Canvas;
use crate::output::font::{Colour, Style, Weight};
use crate::output::{About, Image, Manifest, confidence_text, pictures};
use fast_image_resize::{FilterType, ResizeAlg};
use std::borrow::Cow;

const INK: Colour = [0x22, 0x22, 0x22];
const FAINT: Colour = [0x6a, 0x6a, 0x6a];
const FRAME: Colour = [0xc4, 0xc4, 0xc4];

/// Of every figure, as [`SUBTITLE`] is.
pub(super) const TITLE: Style = Style { size: 30.0, weight: Weight::Bold, colour: INK };
pub(super) const SUBTITLE: Style = Style { size: 19.0, weight: Weight::Regular, colour: FAINT };
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
/// Elites are enlarged by the greatest whole factor that keeps them within this width.
const ELITE: usize = 224;
/// The longer side of those that are larger is made this.
const THUMBNAIL: usize = 160;

/// How large an elite stands on a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale {
    height: usize,
    width: usize,
    /// How many times it is enlarged; `None` where it is made smaller.
    zoom: Option<usize>,
}

impl Scale {
    fn of(canvas: Canvas) -> Scale {
        let Canvas { height, width, .. } = canvas;
        let longer = height.max(width);
        if longer <= ELITE {
            let zoom = ELITE / width;
            return Scale { height: height * zoom, width: width * zoom, zoom: Some(zoom) };
        }
        let smaller = |side: usize| (side * THUMBNAIL).div_ceil(longer);
        Scale { height: smaller(height), width: smaller(width), zoom: None }
    }

    /// Cells of a page, at most.
    fn page(self) -> usize {
        if self.zoom.is_some() { 50 } else { 100 }
    }
}

/// Pages of the sheet of `n_cells` elites.
pub fn n_pages(canvas: Canvas, n_cells: usize) -> usize {
    n_cells.div_ceil(Scale::of(canvas).page())
}

/// An elite with what stands below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell<'a> {
    /// Its class; of an ancestor, the generation of its birth.
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
            title: title(manifest),
            subtitle: subtitle(manifest),
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

    /// Number of pages.
    pub fn n_pages(&self) -> usize {
        n_pages(self.canvas, self.cells.len())
    }

    /// Name of a page's file, counted from 0: `contact_sheet.png`, `contact_sheet-02.png` and so on.
    pub fn file(&self, page: usize) -> String {
        self.file_of("contact_sheet", page)
    }

    /// As [`Sheet::file`], of a sheet of another name.
    pub(super) fn file_of(&self, name: &str, page: usize) -> String {
        let width = self.n_pages().to_string().len();
        if page == 0 { format!("{name}.png") } else { format!("{name}-{:0width$}.png", page + 1) }
    }

    /// Whether `name` is one that [`Sheet::file`] gives.
    pub fn is_page(name: &str) -> bool {
        let page = name.strip_prefix("contact_sheet").and_then(|rest| rest.strip_suffix(".png"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        page.is_some_and(|page| page.is_empty() || page.strip_prefix('-').is_some_and(is_number))
    }

    /// Draws a page, counted from 0.
    pub fn page(&self, page: usize) -> Image {
        let scale = Scale::of(self.canvas);
        let Scale { height, width, zoom } = scale;
        let cells = self.cells.chunks(scale.page()).nth(page).unwrap_or_default();
        let columns = columns(self.cells.len());
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
            sheet.fill(left - 1, top - 1, width + 2, height + 2, |_, _| FRAME);
            let Canvas { channels, .. } = self.canvas;
            let small = Canvas { height, width, channels };
            let (image, row, zoom) = match zoom {
                Some(zoom) => (Cow::Borrowed(cell.image), self.canvas.width, zoom),
                None => (pictures::resized(cell.image, self.canvas, small, SMALLER).into(), width, 1),
            };
            sheet.fill(left, top, width, height, |x, y| {
                let pixel = (y / zoom * row + x / zoom) * channels;
                let channel = |c: usize| image[pixel + c.min(channels - 1)];
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

/// A line below an elite on `canvas`: `before`, `name`, `after`, `more`. What is too long loses `more`, and then the end of the name.
pub fn caption(canvas: Canvas, before: &str, name: &str, after: &str, more: &str) -> String {
    let width = Scale::of(canvas).width as f32;
    let whole = format!("{before}{name}{after}{more}");
    if NAME.width(&whole) <= width {
        return whole;
    }
    // A pixel for the kerning between the three.
    let rest = NAME.width(before) + NAME.width(after) + 1.0;
    format!("{before}{}{after}", NAME.fit(name, width - rest))
}

/// Elites in a row of a sheet of `n_cells`.
pub(super) fn columns(n_cells: usize) -> usize {
    if n_cells <= 10 { n_cells.min(5) } else { 10 }
}

/// How elites are made smaller: sharp, and with little ringing.
const SMALLER: ResizeAlg = ResizeAlg::Convolution(FilterType::CatmullRom);

/// Bytes of an elite on a sheet's PNG, estimated: noise, as large as it stands there, and its text. An enlarged one takes little more than
/// its own pixels.
pub fn cell_bytes(canvas: Canvas) -> usize {
    const TEXT: usize = 8 << 10;
    let Scale { height, width, zoom } = Scale::of(canvas);
    TEXT + 3 * if zoom.is_some() { canvas.pixels() } else { height * width }
}

/// Most bytes of the sheet of `n_cells` elites while its pages are drawn and written, `threads` at a time: the pixels of each,
/// and as many for its PNG.
pub fn most_bytes(canvas: Canvas, n_cells: usize, threads: usize) -> usize {
    /// Wider than any title, or subtitle of numbers of 64 bits.
    const TEXT: usize = 1400;
    let scale = Scale::of(canvas);
    let width = (columns(n_cells) * (scale.width + GAP)).max(TEXT) + 2 * MARGIN;
    let pitch = scale.height + CAPTION + NAME_LINE + GAP;
    let height = 2 * MARGIN + HEADER + n_cells.min(scale.page()).div_ceil(columns(n_cells)) * pitch;
    // A thumbnail has its own pixels, and between the two directions as many rows as the elite.
    let smaller = if scale.zoom.is_none() { 3 * canvas.len() } else { 0 };
    n_pages(canvas, n_cells).min(threads) * (2 * 3 * width * height + smaller)
}

/// What a figure of a run is called.
pub(super) fn title(manifest: &Manifest) -> String {
    format!("{}, seed {}", name_of(manifest.configuration.preset), manifest.seed)
}

/// What a run came to, in a line.
pub(super) fn subtitle(manifest: &Manifest) -> String {
    format!(
        "generation {}  ·  {} evaluations  ·  median confidence {}",
        thousands(manifest.generation.into()),
        thousands(manifest.evaluations),
        confidence_text(round_down(manifest.statistics.median)),
    )
}

/// The greatest f32 that is not above `x`: a median just below 1 shall not read 1.
pub(crate) fn round_down(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) > x { nearest.next_down() } else { nearest }
}

/// `n` with a comma after every third digit from the right.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet<'a>(names: &'a [String], images: &'a [Vec<u8>], canvas: Canvas) -> Sheet<'a> {
        let cell = |(class, (name, image)): (usize, (&'a String, &'a Vec<u8>))| Cell {
            class: class as u32,
            name,
            confidence: 0.5,
            image,
        };
        let cells = names.iter().zip(images).enumerate().map(cell).collect();
        Sheet { title: "t".to_owned(), subtitle: "s".to_owned(), canvas, cells }
    }

    fn images(n: usize, canvas: Canvas) -> Vec<Vec<u8>> {
        (0..n).map(|k| (0..canvas.len()).map(|i| (i * (2 * k + 3)) as u8).collect()).collect()
    }

    /// Whether the whole elite stands at `(left, top)`, each pixel a square of `zoom`.
    fn stands_at(page: &Image, canvas: Canvas, elite: &[u8], left: usize, top: usize, zoom: usize) -> bool {
        (0..canvas.height * zoom).all(|y| {
            (0..canvas.width * zoom).all(|x| {
                let pixel = &page.pixels[((top + y) * page.canvas.width + left + x) * 3..][..3];
                let source = &elite[(y / zoom * canvas.width + x / zoom) * canvas.channels..][..canvas.channels];
                if canvas.channels == 1 { pixel == [source[0]; 3] } else { pixel == source }
            })
        })
    }

    #[test]
    fn every_digit_stands_enlarged_in_two_rows_of_five() {
        let (names, images) = ((0..10).map(|n| n.to_string()).collect::<Vec<_>>(), images(10, Canvas::MNIST));
        let page = sheet(&names, &images, Canvas::MNIST).page(0);
        assert_eq!(page.pixels.len(), page.canvas.len());
        for (i, image) in images.iter().enumerate() {
            let left = MARGIN + i % 5 * (224 + GAP);
            let top = MARGIN + HEADER + i / 5 * (224 + CAPTION + GAP);
            assert!(stands_at(&page, Canvas::MNIST, image, left, top, 8), "digit {i}");
        }
        assert_eq!(page.canvas.width, 5 * 224 + 4 * GAP + 2 * MARGIN);
    }

    #[test]
    fn a_thousand_classes_fill_twenty_pages() {
        let canvas = Canvas { height: 16, width: 224, channels: 3 }; // as wide as a cell
        let names: Vec<String> =
            (0..1000).map(|n| format!("class {n} of a name that is far too long for it")).collect();
        let images = images(1000, canvas);
        let sheet = sheet(&names, &images, canvas);
        assert_eq!(sheet.n_pages(), 20);
        assert_eq!((sheet.file(0).as_str(), sheet.file(19).as_str()), ("contact_sheet.png", "contact_sheet-20.png"));
        assert_eq!(sheet.file(1), "contact_sheet-02.png");
        let page = sheet.page(19);
        let top = MARGIN + HEADER + 4 * (16 + CAPTION + NAME_LINE + GAP);
        assert!(stands_at(&page, canvas, &images[999], MARGIN + 9 * (224 + GAP), top, 1));
    }

    #[test]
    fn large_elites_are_made_smaller_and_a_hundred_fill_a_page() {
        let canvas = Canvas { height: 256, width: 256, channels: 3 };
        let names: Vec<String> = (0..101).map(|n| format!("class {n}")).collect();
        // Left half red, right half blue; the last one all green.
        let halves = |x: usize| if x < 128 { [255, 0, 0] } else { [0, 0, 255] };
        let mut images = vec![(0..256 * 256).flat_map(|i| halves(i % 256)).collect::<Vec<u8>>(); 101];
        images[100] = [0, 255, 0].repeat(256 * 256);
        let sheet = sheet(&names, &images, canvas);
        assert_eq!(sheet.n_pages(), 2);
        let (first, last) = (sheet.page(0), sheet.page(1));
        assert_eq!(first.canvas.width, 10 * (160 + GAP) - GAP + 2 * MARGIN);
        let at = |page: &Image, x: usize, y: usize| -> [u8; 3] {
            page.pixels[(y * page.canvas.width + x) * 3..][..3].try_into().unwrap()
        };
        let (left, top) = (MARGIN + 9 * (160 + GAP), MARGIN + HEADER + 9 * (160 + CAPTION + NAME_LINE + GAP));
        for (x, want) in [(0, [255, 0, 0]), (70, [255, 0, 0]), (90, [0, 0, 255]), (159, [0, 0, 255]), (160, FRAME)] {
            assert_eq!(at(&first, left + x, top + 80), want, "{x}");
        }
        assert_eq!(at(&last, MARGIN + 80, MARGIN + HEADER + 80), [0, 255, 0]);
        // A tall one is as high as others.
        let tall = Scale::of(Canvas { height: 1024, width: 16, channels: 1 });
        assert_eq!((tall.height, tall.width), (160, 3));
    }

    #[test]
    fn a_caption_too_long_loses_what_matters_least() {
        let canvas = Canvas { height: 256, width: 256, channels: 3 };
        let of = |name: &str| caption(canvas, "→ ", name, ": 0.99999", " +3");
        assert_eq!(of("7"), "→ 7: 0.99999 +3");
        assert_eq!(of("tench"), "→ tench: 0.99999");
        for length in 6..60 {
            let text = of(&"AVAToj".repeat(10)[..length]);
            assert!(text.starts_with("→ AV") && text.ends_with(": 0.99999"), "{text}");
            assert_eq!(NAME.fit(&text, THUMBNAIL as f32), text, "it fits as it is");
        }
    }

    #[test]
    fn a_sheet_is_wide_enough_for_its_title() {
        let (names, images) = (vec!["0".to_owned()], images(1, Canvas::MNIST));
        let title = "a title much wider than a single elite".to_owned();
        let page = Sheet { title: title.clone(), ..sheet(&names, &images, Canvas::MNIST) }.page(0);
        assert_eq!(page.canvas.width, TITLE.width(&title).ceil() as usize + 2 * MARGIN);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        // 1 - 2^-25, the middle between the two highest f32, which would round to 1.
        assert_eq!(round_down(1.0 - 2_f64.powi(-25)), 1.0_f32.next_down());
        assert_eq!((round_down(0.5), round_down(1.0)), (0.5, 1.0));
    }
}
