//! What the figures of analyses share: a page with a title, pictures, cells and keys.

use crate::genome::Canvas;
use crate::output::contact_sheet::{SUBTITLE, TITLE};
use crate::output::font::{Colour, Style, Weight};
use crate::output::transfer::colour;
use crate::output::{Image, pictures};
use fast_image_resize::{FilterType, ResizeAlg};

pub(super) const INK: Colour = [0x22, 0x22, 0x22];
pub(super) const FAINT: Colour = [0x6a, 0x6a, 0x6a];
pub(super) const FRAME: Colour = [0xc4, 0xc4, 0xc4];
pub(super) const NONE: Colour = [0xee, 0xee, 0xee];
pub(super) const BLUE: Colour = [0x1b, 0x4f, 0x8c];
pub(super) const ORANGE: Colour = [0xd0, 0x5a, 0x1e];
pub(super) const LIGHT: Colour = [0xa9, 0xc0, 0xdc];

pub(super) const HEADING: Style = Style { size: 18.0, weight: Weight::Bold, colour: INK };
pub(super) const LABEL: Style = Style { size: 16.0, weight: Weight::Regular, colour: INK };
pub(super) const SMALL: Style = Style { size: 14.0, weight: Weight::Regular, colour: FAINT };

// Lengths in pixels.
pub(super) const MARGIN: usize = 44;
/// Height of title and subtitle, with the space below.
pub(super) const HEADER: usize = 92;

/// A white page for `width` x `height` pixels below its title, margins beside; wide enough for its words.
pub(super) fn page(width: usize, height: usize, title: &str, subtitle: &str) -> Image {
    let words = TITLE.width(title).max(SUBTITLE.width(subtitle)).ceil() as usize;
    let canvas =
        Canvas { height: MARGIN + HEADER + height + MARGIN, width: width.max(words) + 2 * MARGIN, channels: 3 };
    let mut image = Image { canvas, pixels: vec![255; canvas.len()] };
    TITLE.draw(&mut image, MARGIN as f32, MARGIN as f32 + 26.0, title);
    SUBTITLE.draw(&mut image, MARGIN as f32, MARGIN as f32 + 60.0, subtitle);
    image
}

/// Draws a picture with its longer side `side` pixels: enlarged by a whole factor where it is smaller, and in the middle then.
pub(super) fn thumbnail(image: &mut Image, left: usize, top: usize, side: usize, canvas: Canvas, pixels: &[u8]) {
    let longer = canvas.height.max(canvas.width);
    let (small, resized, zoom);
    let (canvas, pixels) = if longer > side {
        let smaller = |length: usize| (length * side / longer).max(1);
        small = Canvas { height: smaller(canvas.height), width: smaller(canvas.width), ..canvas };
        resized = pictures::resized(pixels, canvas, small, ResizeAlg::Convolution(FilterType::CatmullRom));
        zoom = 1;
        (small, &resized[..])
    } else {
        zoom = side / longer;
        (canvas, pixels)
    };
    let (width, height) = (canvas.width * zoom, canvas.height * zoom);
    let (left, top) = (left + (side - width) / 2, top + (side - height) / 2);
    image.fill(left - 1, top - 1, width + 2, height + 2, |_, _| FRAME);
    image.fill(left, top, width, height, |x, y| {
        let pixel = &pixels[(y / zoom * canvas.width + x / zoom) * canvas.channels..][..canvas.channels];
        [pixel[0], pixel[1.min(canvas.channels - 1)], pixel[2.min(canvas.channels - 1)]]
    });
}

/// Draws a cell in the colour of a value of [0, 1], with a text if there is room; grey where there is none.
pub(super) fn cell(image: &mut Image, [x, y]: [usize; 2], [width, height]: [usize; 2], value: Option<(f64, &str)>) {
    let ground = value.map_or(NONE, |(value, _)| colour(value));
    let border = usize::from(width > 12 && height > 12);
    if border > 0 {
        image.fill(x, y, width, height, |_, _| FRAME);
    }
    image.fill(x + border, y + border, width - 2 * border, height - 2 * border, |_, _| ground);
    if let Some((value, text)) = value.filter(|(_, text)| SMALL.width(text) + 6.0 <= width as f32 && height >= 18) {
        let style = Style { colour: if value > 0.55 { [255; 3] } else { INK }, ..SMALL };
        let centre = x as f32 + width as f32 / 2.0;
        style.draw(image, centre - style.width(text) / 2.0, y as f32 + height as f32 / 2.0 + 0.36 * style.size, text);
    }
}

/// Draws a key of the colours from `low` to `high`, with words after it.
pub(super) fn key(image: &mut Image, left: usize, top: usize, [low, high]: [&str; 2], words: &str) {
    let baseline = top as f32 + 17.0;
    LABEL.draw(image, left as f32, baseline, low);
    let start = left + LABEL.width(low).ceil() as usize + 8;
    image.fill(start, top, 200, 22, |x, _| colour(x as f64 / 199.0));
    LABEL.draw(image, (start + 208) as f32, baseline, high);
    LABEL.draw(image, start as f32 + 208.0 + LABEL.width(high) + 28.0, baseline, words);
}

/// Writes `text` so that it ends at `right`.
pub(super) fn right_aligned(image: &mut Image, style: Style, right: f32, baseline: f32, text: &str) {
    style.draw(image, right - style.width(text), baseline, text);
}

/// Text from below to above would take another layout: labels of columns stand one below the other instead, numbered.
pub(super) fn legend(image: &mut Image, left: usize, top: usize, entries: &[String]) {
    for (at, entry) in entries.iter().enumerate() {
        LABEL.draw(image, left as f32, (top + at * 24) as f32 + 16.0, entry);
    }
}
