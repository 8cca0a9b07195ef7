//! Drawing: the instruction list of a genome over all pixels, lanes across pixels.
//!
//! Mapping  a register strip is [`STRIP`] vectors of neighbouring pixels, whose sums stay in registers over all
//!          terms of an instruction; a block is as many strips as leave the values of all instructions
//!          in the first-level cache, or all of a small image. For each block, each instruction runs over its strips.
//! Cost     a load and a fused operation a term, an activation and a store a value, for each vector.
//! Numbers  each pixel by itself, in the order of the program: exact at every width and block size.

use super::{Activation, N_INPUTS, Program, Rules, Term};
use crate::genome::{Canvas, colour_lanes, pixel_lanes};
use crate::math;
use crate::simd::{Aligned, Lanes, MAX_LANES, Pack, Simd, Vectorised};

/// Vectors of a register strip. Seven sums, a weight and temporaries fit sixteen registers, and 28 x 28 pixels
/// are a whole number of strips at every width.
const STRIP: usize = 7;

/// What a block's values may take of the first-level cache, in bytes; the rest is for the inputs of its pixels.
const BLOCK_BYTES: usize = 24 * 1024;

/// An image whose values take no more than this is one block: that the second-level cache helps out costs less than to
/// go through the instructions again, whose activations no processor foresees.
const WHOLE_BYTES: usize = 64 * 1024;

/// The four inputs of every pixel (spec 5.1), row by row, computed once per canvas.
#[derive(Clone, Debug)]
pub struct InputPlanes {
    n_pixels: usize,
    /// Length of a plane: `n_pixels`, padded with zeros to whole strips of the widest vector.
    stride: usize,
    /// `(4, stride)`: column, row, distance from the centre, 1.
    values: Aligned,
    /// The largest of them, without their signs.
    largest: f32,
}

impl InputPlanes {
    /// The inputs at the pixels of `canvas`.
    pub fn new(canvas: Canvas, normalise: bool) -> InputPlanes {
        InputPlanes::scaled(canvas, canvas.height, canvas.width, normalise)
    }

    /// The inputs at `height` x `width` points spread evenly over `canvas`, corner pixel to corner pixel.
    /// For the canvas's own size they are those of [`InputPlanes::new`], bit for bit (sides up to 4096).
    pub fn scaled(canvas: Canvas, height: usize, width: usize, normalise: bool) -> InputPlanes {
        InputPlanes::band(canvas, height, width, 0..height, normalise)
    }

    /// Those of [`InputPlanes::scaled`] for some rows only: large images are drawn band by band.
    pub fn band(
        canvas: Canvas,
        height: usize,
        width: usize,
        rows: std::ops::Range<usize>,
        normalise: bool,
    ) -> InputPlanes {
        let n_pixels = rows.len() * width;
        let stride = n_pixels.next_multiple_of(STRIP * MAX_LANES);
        let mut values = Aligned::zeros(N_INPUTS * stride);
        let mut pixel = 0;
        for j in rows {
            let y = position(j, height, canvas.height);
            let y_norm = normalised(y, canvas.height);
            for i in 0..width {
                let x = position(i, width, canvas.width);
                let x_norm = normalised(x, canvas.width);
                let distance = (x_norm * x_norm + y_norm * y_norm).sqrt();
                let (x, y) = if normalise { (x_norm, y_norm) } else { (x, y) };
                for (plane, value) in [x, y, distance, 1.0].into_iter().enumerate() {
                    values[plane * stride + pixel] = value;
                }
                pixel += 1;
            }
        }
        let largest = values.iter().fold(1.0, |most: f32, value| most.max(value.abs()));
        InputPlanes { n_pixels, stride, values, largest }
    }

    /// Bytes of [`InputPlanes::new`].
    pub fn bytes(canvas: Canvas) -> usize {
        N_INPUTS * canvas.pixels().next_multiple_of(STRIP * MAX_LANES) * size_of::<f32>()
    }

    /// Input `index` of every pixel, `(pixels)`, row by row.
    pub fn plane(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.n_pixels]
    }

    /// Pixels of an image drawn from these planes.
    pub fn n_pixels(&self) -> usize {
        self.n_pixels
    }
}

/// Where point `index` of `count` lies on a side of `side` pixels, in pixels.
fn position(index: usize, count: usize, side: usize) -> f32 {
    (index * (side - 1)) as f32 / (count - 1).max(1) as f32
}

/// A position on a side of `side` pixels as a number of [-1, 1].
fn normalised(position: f32, side: usize) -> f32 {
    2.0 * position / (side - 1).max(1) as f32 - 1.0
}

/// Draws programs, one after the other in the same memory.
#[derive(Debug, Default)]
pub struct Renderer {
    /// `(instructions, block)`
    values: Aligned,
}

impl Renderer {
    /// Most bytes for genomes of `rules`: a strip of each value, and as many more as make up a block.
    pub(super) fn most_bytes(simd: Simd, rules: &Rules) -> u64 {
        let strip = (STRIP * simd.width() * size_of::<f32>()) as u64;
        (rules.max_instructions() * strip).max(WHOLE_BYTES as u64)
    }

    /// Draws `program` on `image`, `(pixels, channels)`: one output gives a grey byte, three give hue,
    /// lightness and saturation, which become RGB (spec 5.7).
    ///
    /// # Panics
    /// If `image` does not have one byte for each pixel of `planes` and output, or outputs are not 1 or 3.
    pub fn render(&mut self, simd: Simd, planes: &InputPlanes, program: &Program, image: &mut [u8]) {
        assert_eq!(image.len(), planes.n_pixels * program.outputs.len(), "an image of another size");
        simd.run(Render { values: &mut self.values, planes, program, image });
    }
}

struct Render<'a> {
    values: &'a mut Aligned,
    planes: &'a InputPlanes,
    program: &'a Program,
    image: &'a mut [u8],
}

impl Vectorised for Render<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let strip = STRIP * L::N;
        let n_values = self.program.instructions.len();
        let value_bytes = size_of::<f32>() * n_values;
        let block = if value_bytes * self.planes.stride <= WHOLE_BYTES {
            self.planes.stride
        } else {
            strip * (BLOCK_BYTES / (value_bytes * strip)).max(1)
        };
        if self.values.len() < n_values * block {
            *self.values = Aligned::default(); // given back before more is taken
            *self.values = Aligned::zeros(n_values * block);
        }
        let n_channels = self.program.outputs.len();
        // Half of it leaves room for the rounding of the sums.
        let bounded = self.program.most_weight * self.planes.largest <= math::bounded::MOST / 2.0;
        for (start, image) in (0..self.planes.n_pixels).step_by(block).zip(self.image.chunks_mut(block * n_channels)) {
            let slots = Slots { planes: &self.planes.values, stride: self.planes.stride, start, block };
            let len = block.min(self.planes.stride - start);
            let mut terms = self.program.terms.as_slice();
            for (i, instruction) in self.program.instructions.iter().enumerate() {
                let (own_terms, later) = terms.split_at(instruction.n_terms as usize);
                terms = later;
                let (done, out) = self.values.split_at_mut(i * block);
                let out = &mut out[..len];
                match instruction.activation {
                    Activation::Sine if bounded => {
                        slots.evaluate::<L>(own_terms, done, out, math::bounded::sin, math::bounded::sin)
                    }
                    Activation::Sine => slots.evaluate::<L>(own_terms, done, out, math::sin, math::sin),
                    Activation::Sigmoid => {
                        slots.evaluate::<L>(own_terms, done, out, math::bounded::sigmoid, math::bounded::sigmoid)
                    }
                    Activation::Gaussian => {
                        slots.evaluate::<L>(own_terms, done, out, math::bounded::gaussian, math::bounded::gaussian)
                    }
                    Activation::Linear => slots.evaluate::<L>(
                        own_terms,
                        done,
                        out,
                        math::bounded::clipped_linear,
                        math::bounded::clipped_linear,
                    ),
                }
            }
            let output = |channel: usize| &self.values[(self.program.outputs[channel] as usize - N_INPUTS) * block..];
            match n_channels {
                1 => write_grey::<L>(output(0), image),
                3 => write_colour::<L>([output(0), output(1), output(2)], image),
                n => panic!("a CPPN draws with 1 or 3 outputs, not {n}"),
            }
        }
    }
}

/// Where a block finds the values of a slot.
#[derive(Clone, Copy)]
struct Slots<'a> {
    planes: &'a [f32],
    stride: usize,
    start: usize,
    block: usize,
}

impl Slots<'_> {
    /// The activation of the sum of `terms` into `out`: of the strip's vectors four and three go through it in step.
    #[inline(always)]
    fn evaluate<L: Lanes>(
        &self,
        terms: &[Term],
        done: &[f32],
        out: &mut [f32],
        four: impl Fn(Pack<L, 4>) -> Pack<L, 4>,
        three: impl Fn(Pack<L, 3>) -> Pack<L, 3>,
    ) {
        for (s, out) in out.chunks_exact_mut(STRIP * L::N).enumerate() {
            let mut sums = (Pack::<L, 4>::splat(0.0), Pack::<L, 3>::splat(0.0));
            for term in terms {
                let slot = term.slot as usize;
                let (values, row) = if slot < N_INPUTS {
                    (self.planes, slot * self.stride + self.start)
                } else {
                    (done, (slot - N_INPUTS) * self.block)
                };
                let values = &values[row + s * STRIP * L::N..][..STRIP * L::N];
                let weight = term.weight;
                sums.0 = Pack::splat(weight).mul_add(Pack::load(values), sums.0);
                sums.1 = Pack::splat(weight).mul_add(Pack::load(&values[4 * L::N..]), sums.1);
            }
            four(sums.0).store(out);
            three(sums.1).store(&mut out[4 * L::N..]);
        }
    }
}

#[inline(always)]
fn write_grey<L: Lanes>(values: &[f32], image: &mut [u8]) {
    let mut whole = image.chunks_exact_mut(L::N);
    let mut values = values.chunks_exact(L::N);
    for (pixels, values) in (&mut whole).zip(&mut values) {
        L::bits_store_bytes(pixel_lanes(L::load(values)), pixels);
    }
    let rest = whole.into_remainder();
    if let Some(values) = values.next().filter(|_| !rest.is_empty()) {
        let mut bytes = [0; MAX_LANES];
        L::bits_store_bytes(pixel_lanes(L::load(values)), &mut bytes);
        rest.copy_from_slice(&bytes[..rest.len()]);
    }
}

#[inline(always)]
fn write_colour<L: Lanes>(values: [&[f32]; 3], image: &mut [u8]) {
    let [hue, lightness, saturation] = values;
    let mut whole = image.chunks_exact_mut(3 * L::N);
    let mut hls = hue.chunks_exact(L::N).zip(lightness.chunks_exact(L::N)).zip(saturation.chunks_exact(L::N));
    for (pixels, ((hue, lightness), saturation)) in (&mut whole).zip(&mut hls) {
        L::bits_store_three_bytes(colour_lanes::<L>(hue, lightness, saturation), pixels);
    }
    let rest = whole.into_remainder();
    if let Some(((hue, lightness), saturation)) = hls.next().filter(|_| !rest.is_empty()) {
        let mut bytes = [0; 3 * MAX_LANES];
        L::bits_store_three_bytes(colour_lanes::<L>(hue, lightness, saturation), &mut bytes);
        rest.copy_from_slice(&bytes[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Canvas, InputPlanes, position};

    #[test]
    fn points_of_the_canvas_itself_lie_on_its_pixels() {
        for side in 2..=4096 {
            assert!((0..side).all(|index| position(index, side, side) == index as f32), "side {side}");
        }
    }

    #[test]
    fn inputs_are_rounded_after_each_operation() {
        // In f64, where products are exact, and a sum, quotient or root rounded to f32 is rounded as if once.
        let (height, width) = (28, 31);
        let norm = |index: usize, side: usize| {
            let ratio = (2.0 * index as f64 / (side - 1) as f64) as f32;
            (f64::from(ratio) - 1.0) as f32
        };
        let planes = InputPlanes::new(Canvas { height, width, channels: 1 }, true);
        for pixel in 0..height * width {
            let (x, y) = (norm(pixel % width, width), norm(pixel / width, height));
            let square = |v: f32| (f64::from(v) * f64::from(v)) as f32;
            let sum = (f64::from(square(x)) + f64::from(square(y))) as f32;
            let want = [x, y, f64::from(sum).sqrt() as f32, 1.0];
            let got: [f32; 4] = std::array::from_fn(|plane| planes.values[plane * planes.stride + pixel]);
            assert_eq!(got.map(f32::to_bits), want.map(f32::to_bits), "pixel {pixel}");
        }
    }
}
