//! Text in pictures: DejaVu Sans, embedded, so that a machine needs no fonts.
//!
//! The licence of the font (Bitstream Vera, with changes in the public domain) allows embedding and asks for its notice,
//! which the font files carry within them.

use crate::output::Image;
use ab_glyph::{Font, FontRef, GlyphId, Point, PxScale, ScaleFont};
use std::sync::LazyLock;

/// RGB.
pub type Colour = [u8; 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Regular,
    Bold,
}

impl Weight {
    fn font(self) -> &'static FontRef<'static> {
        static REGULAR: LazyLock<FontRef> = LazyLock::new(|| parse(dejavu::sans::regular()));
        static BOLD: LazyLock<FontRef> = LazyLock::new(|| parse(dejavu::sans::bold()));
        match self {
            Weight::Regular => &REGULAR,
            Weight::Bold => &BOLD,
        }
    }
}

fn parse(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the embedded font is a font")
}

/// A way to set text: `size` is that of the em, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    pub size: f32,
    pub weight: Weight,
    pub colour: Colour,
}

impl Style {
    /// Each glyph with the place of its left edge, and the width of all.
    fn layout(self, text: &str) -> (Vec<(GlyphId, f32)>, f32) {
        let font = self.weight.font().as_scaled(self.scale());
        let (mut glyphs, mut x) = (Vec::new(), 0.0);
        let mut previous = None;
        for glyph in text.chars().map(|c| font.glyph_id(c)) {
            x += previous.map_or(0.0, |previous| font.kern(previous, glyph));
            glyphs.push((glyph, x));
            x += font.h_advance(glyph);
            previous = Some(glyph);
        }
        (glyphs, x)
    }

    /// ab_glyph measures a font by the height of its lines.
    fn scale(self) -> PxScale {
        let font = self.weight.font();
        PxScale::from(self.size * font.height_unscaled() / font.units_per_em().expect("a TrueType font has an em"))
    }

    /// Width of `text`, in pixels.
    pub fn width(self, text: &str) -> f32 {
        self.layout(text).1
    }

    /// `text`, shortened to `width` pixels if it is longer.
    pub fn fit(self, text: &str, width: f32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let shortened = |n| text.chars().take(n).collect::<String>().trim_end().to_owned() + "…";
        let n_chars = text.chars().count();
        (0..n_chars).rev().map(shortened).find(|short| self.width(short) <= width).unwrap_or_default()
    }

    /// Draws `text` on an RGB image from `x` on, standing on the line `baseline`. What falls outside is cut off.
    pub fn draw(self, image: &mut Image, x: f32, baseline: f32, text: &str) {
        let font = self.weight.font();
        for (glyph, offset) in self.layout(text).0 {
            let glyph = glyph.with_scale_and_position(self.scale(), Point { x: x + offset, y: baseline });
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, coverage| {
                let (x, y) = (corner.x as i64 + i64::from(dx), corner.y as i64 + i64::from(dy));
                if (0..image.canvas.width as i64).contains(&x) && (0..image.canvas.height as i64).contains(&y) {
                    let start = (y as usize * image.canvas.width + x as usize) * 3;
                    for (channel, ink) in image.pixels[start..start + 3].iter_mut().zip(self.colour) {
                        let paper = f32::from(*channel);
                        *channel = (paper + (f32::from(ink) - paper) * coverage.min(1.0)).round() as u8;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::Canvas;

    const STYLE: Style = Style { size: 20.0, weight: Weight::Bold, colour: [10, 20, 30] };

    #[test]
    fn text_is_shortened_to_fit() {
        assert_eq!(STYLE.fit("tench", 200.0), "tench");
        let short = STYLE.fit("a rather long name of a class", 100.0);
        assert!(short.ends_with('…') && short.starts_with("a rat"), "{short}");
        assert!(STYLE.width(&short) <= 100.0 && STYLE.width(&short) > 60.0);
        assert_eq!(STYLE.fit("W", 1.0), "");
    }

    #[test]
    fn text_stands_on_its_baseline_and_is_cut_at_the_border() {
        let canvas = Canvas { height: 40, width: 30, channels: 3 };
        let mut image = Image { canvas, pixels: vec![255; canvas.len()] };
        STYLE.draw(&mut image, 5.0, 30.0, "HHHH");
        let inked = |y: usize| image.pixels[y * 90..][..90].chunks(3).any(|pixel| pixel == [10, 20, 30]);
        // DejaVu's capitals are 0.729 em high.
        assert_eq!((0..40).filter(|&y| inked(y)).collect::<Vec<_>>(), (16..30).collect::<Vec<_>>());
    }
}
