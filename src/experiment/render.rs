//! Rendering: an elite drawn again from its genome, at any size.

use crate::archive::Elite;
use crate::error::{Error, Result};
use crate::genome::cppn::{Compiler, InputPlanes, Program, Renderer, Rules};
use crate::genome::{Canvas, Encoding, Genome};
use crate::output::{About, atomic};
use crate::simd::Simd;
use png::{BitDepth, ColorType, Compression, Encoder};
use rayon::prelude::*;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

/// Longest side of a picture, in pixels.
pub const MAX_SIDE: usize = 65_536;

/// Pixels of a band, which one thread draws at once. Whatever the size of the picture, memory holds a few bands.
const BAND_PIXELS: usize = 1 << 16;

/// What a genome draws, at any size.
///
/// A CPPN is asked at `height` x `width` points spread evenly over its canvas, corner pixel to corner pixel; of a direct
/// genome the nearest pixel is taken. At the canvas's own size both are exactly the image that was scored.
pub struct Drawing<'a> {
    source: Source<'a>,
    canvas: Canvas,
    height: usize,
    width: usize,
    simd: Simd,
}

enum Source<'a> {
    /// The pixels that were scored, `(height, width, channels)`.
    Direct(&'a [u8]),
    Cppn {
        program: Program,
        rules: &'a Rules,
    },
}

impl<'a> Drawing<'a> {
    /// `elite`, which is of the run that `about` describes, at `height` x `width` pixels.
    ///
    /// # Errors
    /// [`Error::Usage`] if a side is 0 or above [`MAX_SIDE`].
    ///
    /// # Panics
    /// If the genome is of the other encoding: reading an archive checks that.
    pub fn new(about: &'a About, elite: &'a Elite, height: usize, width: usize, simd: Simd) -> Result<Drawing<'a>> {
        if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
            return Err(Error::Usage(format!("--size: got {width}x{height}, wanted sides from 1 to {MAX_SIDE}")));
        }
        let source = match (&elite.genome, &about.encoding) {
            (Genome::Direct(_), Encoding::Direct(_)) => Source::Direct(&elite.image),
            (Genome::Cppn(graph), Encoding::Cppn(rules)) => {
                Source::Cppn { program: Compiler::default().compile(simd, graph, rules.max_weight).clone(), rules }
            }
            _ => panic!("a genome of another encoding than its run"),
        };
        Ok(Drawing { source, canvas: about.canvas, height, width, simd })
    }

    /// Draws some rows: bytes, `(rows, width, channels)`.
    pub fn rows(&self, rows: Range<usize>) -> Vec<u8> {
        let n_channels = self.canvas.channels;
        match &self.source {
            Source::Cppn { program, rules } => {
                let mut image = vec![0; rows.len() * self.width * n_channels];
                let planes = InputPlanes::band(self.canvas, self.height, self.width, rows, rules.normalise);
                Renderer::default().render(self.simd, &planes, program, &mut image);
                image
            }
            Source::Direct(pixels) => {
                let mut image = Vec::with_capacity(rows.len() * self.width * n_channels);
                for row in rows {
                    let source_row = &pixels[row * self.canvas.height / self.height * self.canvas.width * n_channels..];
                    for column in 0..self.width {
                        let start = column * self.canvas.width / self.width * n_channels;
                        image.extend_from_slice(&source_row[start..start + n_channels]);
                    }
                }
                image
            }
        }
    }

    /// Writes the drawing as a PNG, atomically, band by band. Draws on rayon's current pool.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let band = (BAND_PIXELS / self.width).max(1);
        let batch = band * rayon::current_num_threads();
        atomic::write(path, |file| {
            let mut encoder = Encoder::new(file, self.width as u32, self.height as u32);
            encoder.set_color(if self.canvas.channels == 1 { ColorType::Grayscale } else { ColorType::Rgb });
            encoder.set_depth(BitDepth::Eight);
            encoder.set_compression(Compression::Fast);
            let mut writer = encoder.write_header()?;
            let mut stream = writer.stream_writer()?;
            for start in (0..self.height).step_by(batch) {
                let end = (start + batch).min(self.height);
                let starts: Vec<usize> = (start..end).step_by(band).collect();
                let bands: Vec<Vec<u8>> =
                    starts.par_iter().map(|&start| self.rows(start..(start + band).min(end))).collect();
                bands.iter().try_for_each(|band| stream.write_all(band))?;
            }
            stream.finish()?;
            writer.finish().map_err(io::Error::from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::cppn::{Graph, Scratch};
    use crate::genome::{direct, pixel};
    use crate::network::Crops;
    use crate::rng::Philox;

    fn elite(image: Vec<u8>, genome: Genome) -> Elite {
        Elite { probabilities: vec![1.0], image, genome, born: (0, 0), content_hash: 0 }
    }

    fn about(canvas: Canvas, encoding: Encoding) -> About {
        About { canvas, encoding, crops: Crops::One, class_names: vec!["0".into()] }
    }

    /// A CPPN with its picture at the canvas's own size, as evolution draws it.
    fn cppn(canvas: Canvas, rules: &Rules) -> Elite {
        let philox = Philox::new(5);
        let mut graph = Graph::random(canvas.channels, &philox, 3);
        let mut scratch = Scratch::default();
        for generation in 1..20 {
            graph.vary(rules, &philox, 3, generation, &mut scratch);
        }
        let mut image = vec![0; canvas.len()];
        let mut compiler = Compiler::default();
        let program = compiler.compile(Simd::Plain, &graph, rules.max_weight);
        let planes = InputPlanes::new(canvas, rules.normalise);
        Renderer::default().render(Simd::Plain, &planes, program, &mut image);
        elite(image, Genome::Cppn(graph))
    }

    #[test]
    fn own_size_gives_the_scored_image() {
        let genes: Vec<f32> = (0..784).map(|i| i as f32 / 783.0).collect();
        let direct = elite(genes.iter().map(|&gene| pixel(gene)).collect(), Genome::Direct(genes));
        for (encoding, elite) in [
            (Encoding::Direct(direct::Rules::default()), direct),
            (Encoding::Cppn(Rules::faithful()), cppn(Canvas::MNIST, &Rules::faithful())),
            (Encoding::Cppn(Rules::modern()), cppn(Canvas::MNIST, &Rules::modern())),
        ] {
            let about = about(Canvas::MNIST, encoding);
            for simd in Simd::available() {
                assert_eq!(Drawing::new(&about, &elite, 28, 28, simd).unwrap().rows(0..28), elite.image);
            }
        }
    }

    #[test]
    fn png_holds_the_rows_whatever_the_bands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elite.png");
        for canvas in [Canvas::MNIST, Canvas { height: 20, width: 30, channels: 3 }] {
            let (about, elite) = (about(canvas, Encoding::Cppn(Rules::modern())), cppn(canvas, &Rules::modern()));
            // A band has 65,536 pixels: less than one, several with a last one that is not full, bands of one row.
            for (height, width) in [(1, 1), (300, 700), (3, 65_536)] {
                let drawing = Drawing::new(&about, &elite, height, width, Simd::detect()).unwrap();
                drawing.write_png(&path).unwrap();
                let picture = crate::output::pictures::read_png(&path).unwrap();
                assert_eq!(picture.canvas, Canvas { height, width, ..canvas });
                assert!(picture.pixels == drawing.rows(0..height), "{width}x{height}");
            }
        }
    }

    #[test]
    fn direct_pixels_become_rectangles() {
        let image = vec![1, 2, 3, 4];
        let elite = elite(image, Genome::Direct(vec![0.0; 4]));
        let about = about(Canvas { height: 2, width: 2, channels: 1 }, Encoding::Direct(direct::Rules::default()));
        let drawn = |height, width| Drawing::new(&about, &elite, height, width, Simd::Plain).unwrap().rows(0..height);
        assert_eq!(drawn(4, 2), [1, 2, 1, 2, 3, 4, 3, 4]);
        assert_eq!(drawn(2, 6), [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let (about, elite) =
            (about(Canvas::MNIST, Encoding::Cppn(Rules::modern())), cppn(Canvas::MNIST, &Rules::modern()));
        for (height, width) in [(0, 5), (5, 0), (5, MAX_SIDE + 1)] {
            assert!(matches!(Drawing::new(&about, &elite, height, width, Simd::Plain), Err(Error::Usage(_))));
        }
    }
}
