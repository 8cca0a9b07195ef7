//! PNG files, read and written, and the names of those of elites.

use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::output::{atomic, confidence_text};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, Transformations};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

/// The largest picture that is read, in pixels: 8192 x 8192.
pub const MAX_PIXELS: u64 = 1 << 26;

/// Characters of a class name in a file name.
const MAX_NAME: usize = 40;

/// A picture of 8-bit pixels, grey or RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub canvas: Canvas,
    /// `(height, width, channels)`.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Fills a rectangle of an RGB image with the colours of its points, counted from its corner.
    ///
    /// # Panics
    /// If the rectangle leaves the image.
    pub(super) fn fill(
        &mut self,
        left: usize,
        top: usize,
        width: usize,
        height: usize,
        colour: impl Fn(usize, usize) -> [u8; 3],
    ) {
        for y in 0..height {
            let start = ((top + y) * self.canvas.width + left) * 3;
            for (x, pixel) in self.pixels[start..start + width * 3].chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&colour(x, y));
            }
        }
    }
}

/// How hard pictures of so many bytes in all are squeezed: a thousand that are large no harder than lets them be written in a second,
/// for which those of CPPNs become half as large again.
pub fn compression(bytes: usize) -> Compression {
    if bytes > 64 << 20 { Compression::Fast } else { Compression::Balanced }
}

/// Writes an 8-bit PNG of `pixels`, which are `(height, width, channels)`, atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write_png(path: &Path, canvas: Canvas, pixels: &[u8]) -> Result<()> {
    atomic::write(path, |file| encode_png(file, canvas, pixels, Compression::Balanced))
}

/// The bytes of a PNG. The same pixels give the same bytes.
///
/// # Errors
/// What `sink` says.
pub fn encode_png(sink: &mut impl Write, canvas: Canvas, pixels: &[u8], compression: Compression) -> io::Result<()> {
    let side = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let mut encoder = Encoder::new(sink, side(canvas.width)?, side(canvas.height)?);
    encoder.set_color(if canvas.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(compression);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    Ok(writer.finish()?)
}

/// `pixels`, of the size of `from`, in the size of `to`, whose channels are theirs.
///
/// # Panics
/// If the channels are not the same, or there is no pixel.
pub fn resized(pixels: &[u8], from: Canvas, to: Canvas, how: ResizeAlg) -> Vec<u8> {
    fn by<P: PixelTrait>(pixels: &[u8], from: Canvas, to: Canvas, how: ResizeAlg) -> Option<Vec<u8>> {
        let mut bytes = vec![0; to.len()];
        let [from_width, from_height] = [from.width, from.height].map(u32::try_from);
        let [to_width, to_height] = [to.width, to.height].map(u32::try_from);
        let source = TypedImageRef::<P>::from_buffer(from_width.ok()?, from_height.ok()?, pixels).ok()?;
        let mut target = TypedImage::<P>::from_buffer(to_width.ok()?, to_height.ok()?, &mut bytes).ok()?;
        Resizer::new().resize_typed(&source, &mut target, &ResizeOptions::new().resize_alg(how)).ok()?;
        Some(bytes)
    }
    assert_eq!(from.channels, to.channels, "channels stay");
    // By type of pixel: the library's own choice at run time would compile its code for all fourteen types.
    let bytes = if to.channels == 1 { by::<U8>(pixels, from, to, how) } else { by::<U8x3>(pixels, from, to, how) };
    bytes.expect("pictures have pixels, and sides of 32 bits")
}

/// Reads a PNG as 8-bit grey or RGB. Fewer bits and palettes are expanded; of 16 bits the upper 8 are taken; an alpha
/// channel is dropped if the whole picture is opaque.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; [`Error::File`] if it is no whole PNG, is larger than [`MAX_PIXELS`] or
/// is see-through anywhere.
pub fn read_png(path: &Path) -> Result<Image> {
    let broken = |source: png::DecodingError| Error::file(path, format!("not a readable PNG: {source}"));
    let file = File::open(path).map_err(Error::io("open", path))?;
    // Enough for every picture of MAX_PIXELS, whatever its pixels are.
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), Limits { bytes: MAX_PIXELS as usize * 8 });
    decoder.set_transformations(Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(broken)?;
    let (height, width) = (header.height as usize, header.width as usize);
    if height as u64 * width as u64 > MAX_PIXELS {
        return Err(Error::file(path, format!("{width} x {height} pixels are more than the {MAX_PIXELS} allowed")));
    }
    let mut reader = decoder.read_info().map_err(broken)?;
    let (color, _) = reader.output_color_type();
    let samples = color.samples();
    let mut pixels = vec![0; height * width * samples];
    reader.next_frame(&mut pixels).map_err(broken)?;
    reader.finish().map_err(broken)?;
    let channels = if samples < 3 { 1 } else { 3 };
    if samples > channels {
        if pixels.chunks(samples).any(|pixel| pixel[channels] != 255) {
            return Err(Error::file(path, "has transparent pixels, whose colour is undefined; save it without alpha"));
        }
        pixels = pixels.chunks(samples).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    Ok(Image { canvas: Canvas { height, width, channels }, pixels })
}

/// Name of an elite's picture in the run folder: `elites/<class>_<name>_<confidence>.png`, the class padded with zeros
/// to the width of the network's last one.
pub fn elite_file(class: u32, n_classes: usize, name: &str, confidence: f32) -> String {
    format!("elites/{}_{}.png", class_name(class, n_classes, name), confidence_text(confidence))
}

/// A class in a file name: its number, padded as in [`elite_file`], and its name.
pub(super) fn class_name(class: u32, n_classes: usize, name: &str) -> String {
    let width = n_classes.saturating_sub(1).to_string().len();
    format!("{class:0width$}_{}", safe_name(name))
}

/// `name` with only letters, digits, `-` and single `_`, at most [`MAX_NAME`] characters.
fn safe_name(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars().take(MAX_NAME) {
        if c.is_alphanumeric() || c == '-' {
            safe.push(c);
        } else if !safe.is_empty() && !safe.ends_with('_') {
            safe.push('_');
        }
    }
    let safe = safe.trim_end_matches('_');
    if safe.is_empty() { "class".to_owned() } else { safe.to_owned() }
}
