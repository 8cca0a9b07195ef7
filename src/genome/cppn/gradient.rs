//! Drawings in real numbers, and what the pixels of one tell the weights that drew it.
//!
//! The written rules. All is f32, denormals included, with the elementary functions of [`crate::math`]; the same bits on every backend.
//!
//! **Drawing.** The values of all slots are those of an ordinary drawing ([`super::Renderer`]), bit for bit; what is left out is the
//! rounding of pixels to bytes. A pixel is real-valued, from 0 to 255 within rounding:
//!
//! - *Grey*: `255 * |v|`.
//! - *Colour*, of the outputs hue, lightness, saturation: `l = |lightness|`, `s = |saturation|`, `h = (255 * |hue|) / 30`, less 6 where
//!   that is 6 or more; `high = l <= 0.5 ? l * (1 + s) : (l + s) - l * s`, `low = (l + l) - high`; `k` is the whole part of h, `f = h - k`,
//!   `m = f` where k is even, else `1 - f`; `middle = low + (high - low) * m`. Red, green and blue are 255 times the one of the three that the
//!   sector k says, as in [`crate::genome::colour`].
//!
//! **From pixels to outputs**, where the pixel's gradient is `g`: `a = 255 * g`, then the output's gradient is `a`, `-a` or +0 as the output
//! is above, below or 0. In colour, with `a` of the three in their roles:
//! `A = fma(a_middle, m, a_high)`, `B = fma(a_middle, 1 - m, a_low)`, `C = A - B`;
//! of m `d = a_middle * (high - low)`; of l `fma(2, B, C * (l <= 0.5 ? 1 + s : 1 - s))`; of s `C * (l <= 0.5 ? l : 1 - l)`; of |hue|
//! `8.5 * (k even ? d : -d)`. Where sectors meet the gradient is that of the sector that the pixel is in.
//!
//! **Through the instructions**, the last one first. A value has an adjoint: that of an output begins as `0 + ` its gradient, every other as
//! +0. Of an instruction, whose sum is p and whose value is y, `q = adjoint * slope`,
//! where the slope is
//!
//! | sine | sigmoid | Gaussian | linear |
//! |---|---|---|---|
//! | `sin(p + pi/2)` | `((1 - y) * (1 + y)) * 0.5` | `(p * y) * -2` | 1/3 where -3 < p < 3, else 0 |
//!
//! Then each term in order: its weight gets `q * value`, see below, and where its slot is no input's that slot's adjoint becomes
//! `fma(weight, q, adjoint)`.
//!
//! **To a weight.** Bands of [`BAND`] pixels, row by row; in each [`SLOTS`] accumulators from +0, pixel i goes to accumulator `i % SLOTS`,
//! ascending, `fma(q, value, sum)`; then [`total`] of them. The bands are added ascending, from +0. So any number of threads, or of blocks of
//! a GPU, may take a band each.
//!
//! **To a gene**: its terms added in order, from +0 (an edge has several terms where steps cut nodes off, none where no output depends on
//! it), times `2 * max_weight`.
//!
//! Mapping   lanes across pixels; a block of pixels keeps values, slopes and adjoints of all instructions in the second-level cache.
//! Cost      forward once more, then two fused operations a term and pixel.

use super::{Activation, Compiler, Graph, InputPlanes, N_INPUTS, Program, Rules, Term};
use crate::genome::Canvas;
use crate::genome::colour::SECTORS;
use crate::math;
use crate::network::gradient::{SLOTS, total};
use crate::simd::{Aligned, Lanes, Pack, Simd, Vectorised};
use std::f32::consts::FRAC_PI_2;
use std::ops::Range;

/// Pixels whose gradients are added up together, before those of other bands come in.
pub const BAND: usize = 2048;

/// Pixels are worked on in multiples of this: four of the widest vectors. A band is a whole number of them.
const STEP: usize = 64;

/// What values, slopes and adjoints of a block may take, in bytes.
const BLOCK_BYTES: usize = 192 * 1024;

/// The inputs of all pixels of a canvas, for drawings that are differentiated.
#[derive(Clone, Debug)]
pub struct Canvases {
    n_pixels: usize,
    channels: usize,
    /// Length of a plane: `n_pixels`, padded with zeros to whole steps.
    stride: usize,
    /// `(4, stride)`, as in [`InputPlanes`].
    inputs: Aligned,
}

impl Canvases {
    /// The inputs at the pixels of `canvas`.
    pub fn new(canvas: Canvas, normalise: bool) -> Canvases {
        let planes = InputPlanes::new(canvas, normalise);
        let (n_pixels, stride) = (canvas.pixels(), canvas.pixels().next_multiple_of(STEP));
        let mut inputs = Aligned::zeros(N_INPUTS * stride);
        for (input, plane) in inputs.chunks_exact_mut(stride).enumerate() {
            plane[..n_pixels].copy_from_slice(planes.plane(input));
        }
        Canvases { n_pixels, channels: canvas.channels, stride, inputs }
    }

    /// Bytes of [`Canvases::new`], and of what it makes them from.
    pub fn bytes(canvas: Canvas) -> usize {
        InputPlanes::bytes(canvas) + N_INPUTS * canvas.pixels().next_multiple_of(STEP) * size_of::<f32>()
    }

    /// Values of a drawing, `(channels, pixels)`.
    pub fn len(&self) -> usize {
        self.channels * self.n_pixels
    }

    /// Whether there is nothing to draw on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bands of a drawing.
    pub fn n_bands(&self) -> usize {
        self.n_pixels.div_ceil(BAND)
    }

    /// The pixels of band `band`.
    pub fn band(&self, band: usize) -> Range<usize> {
        band * BAND..((band + 1) * BAND).min(self.n_pixels)
    }
}

/// A graph whose weights change while its nodes, edges and activations stay: compiled once.
#[derive(Clone, Debug)]
pub struct Differentiable {
    program: Program,
    /// The edge of each term.
    edges: Vec<u32>,
    n_edges: usize,
    max_weight: f32,
}

impl Differentiable {
    /// `graph`, of an evolution with `rules`.
    pub fn new(compiler: &mut Compiler, simd: Simd, graph: &Graph, rules: &Rules) -> Differentiable {
        let edges = compiler.edges_of_terms(simd, graph);
        let program = compiler.compile(simd, graph, rules.max_weight).clone();
        Differentiable { program, edges, n_edges: graph.edges.len(), max_weight: rules.max_weight }
    }

    /// The program, with the weights that were put in last.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Terms of the program, of which each has a gradient of its own.
    pub fn n_terms(&self) -> usize {
        self.program.terms.len()
    }

    /// Puts in the weights of `genes`, one an edge.
    pub fn set_genes(&mut self, genes: &[f32]) {
        assert_eq!(genes.len(), self.n_edges, "a gene an edge");
        for (term, &edge) in self.program.terms.iter_mut().zip(&self.edges) {
            term.weight = (2.0 * self.max_weight).mul_add(genes[edge as usize], -self.max_weight);
        }
    }

    /// What a drawing's pixels tell the genes, from what its `bands` tell the terms: `(bands, terms)`.
    pub fn gene_gradient(&self, bands: &[f32]) -> Vec<f32> {
        let mut terms = vec![0.0_f32; self.n_terms()];
        // Without terms there is nothing to add, and no band to be had.
        for band in bands.chunks_exact(self.n_terms().max(1)) {
            terms.iter_mut().zip(band).for_each(|(sum, term)| *sum += term);
        }
        let mut genes = vec![0.0_f32; self.n_edges];
        for (term, &edge) in terms.iter().zip(&self.edges) {
            genes[edge as usize] += term;
        }
        genes.iter_mut().for_each(|gene| *gene *= 2.0 * self.max_weight);
        genes
    }
}

/// Draws and differentiates, one band after the other in the same memory.
#[derive(Debug, Default)]
pub struct Gradients {
    /// `(values, slopes, adjoints; instructions, block)`
    values: Aligned,
    /// `(terms, SLOTS)`
    sums: Vec<[f32; SLOTS]>,
}

impl Gradients {
    /// Most bytes for programs of so many instructions and terms.
    pub fn bytes(instructions: usize, terms: usize) -> usize {
        let of_step = 3 * instructions * STEP * size_of::<f32>();
        of_step.max(BLOCK_BYTES) + 2 * terms * size_of::<[f32; SLOTS]>()
    }

    /// Draws the pixels of `band` in each channel of `drawing`, `(channels, pixels)`, red first: those pixels of each channel.
    ///
    /// # Panics
    /// If the outputs are not as many as the channels, or the slices not of the band's length.
    pub fn draw(
        &mut self,
        simd: Simd,
        canvas: &Canvases,
        graph: &Differentiable,
        band: usize,
        drawing: [&mut [f32]; 3],
    ) {
        simd.run(Draw { own: self, canvas, program: &graph.program, pixels: canvas.band(band), drawing });
    }

    /// What the pixels of `band` tell the weights of the terms: writes `terms`. `gradient` is that of all pixels, `(channels, pixels)`.
    ///
    /// # Panics
    /// If a length is another.
    pub fn differentiate(
        &mut self,
        simd: Simd,
        canvas: &Canvases,
        graph: &Differentiable,
        band: usize,
        gradient: &[f32],
        terms: &mut [f32],
    ) {
        assert!(gradient.len() == canvas.len() && terms.len() == graph.n_terms());
        let pixels = canvas.band(band);
        simd.run(Differentiate { own: self, canvas, program: &graph.program, pixels, gradient, terms });
    }

    /// Pixels of a block for a program of so many instructions; makes room for them.
    fn block(&mut self, n_instructions: usize) -> usize {
        let of_step = 3 * n_instructions * STEP * size_of::<f32>();
        let block = STEP * (BLOCK_BYTES / of_step).clamp(1, BAND / STEP);
        if self.values.len() < 3 * n_instructions * block {
            self.values = Aligned::default(); // given back before more is taken
            self.values = Aligned::zeros(3 * n_instructions * block);
        }
        block
    }
}

/// Where the values of a block's slots are.
#[derive(Clone, Copy)]
struct Block<'a> {
    canvas: &'a Canvases,
    /// Its first pixel, and how many, padding included; the distance from one instruction's values to the next one's.
    start: usize,
    len: usize,
    pitch: usize,
}

impl<'a> Block<'a> {
    /// The blocks of `pixels`.
    fn all(canvas: &'a Canvases, pixels: Range<usize>, pitch: usize) -> impl Iterator<Item = Block<'a>> {
        let end = pixels.end.next_multiple_of(STEP);
        pixels.step_by(pitch).map(move |start| Block { canvas, start, len: pitch.min(end - start), pitch })
    }

    /// The values of `slot`; `done` are those of the instructions before.
    #[inline(always)]
    fn slot(&self, done: &'a [f32], slot: u32) -> &'a [f32] {
        let slot = slot as usize;
        if slot < N_INPUTS {
            &self.canvas.inputs[slot * self.canvas.stride + self.start..][..self.len]
        } else {
            &done[(slot - N_INPUTS) * self.pitch..][..self.len]
        }
    }

    /// Every instruction of `program` into `values`, and with `SLOPES` its slopes into `slopes`.
    #[inline(always)]
    fn forward<L: Lanes, const SLOPES: bool>(&self, program: &Program, values: &mut [f32], slopes: &mut [f32]) {
        let mut later = program.terms.as_slice();
        for (i, instruction) in program.instructions.iter().enumerate() {
            let (terms, rest) = later.split_at(instruction.n_terms as usize);
            later = rest;
            let (done, out) = values.split_at_mut(i * self.pitch);
            for at in (0..self.len).step_by(4 * L::N) {
                let mut p = Pack::<L, 4>::splat(0.0);
                for &Term { slot, weight } in terms {
                    p = Pack::splat(weight).mul_add(Pack::load(&self.slot(done, slot)[at..]), p);
                }
                let y = match instruction.activation {
                    Activation::Sine => math::sin(p),
                    Activation::Sigmoid => math::sigmoid(p),
                    Activation::Gaussian => math::gaussian(p),
                    Activation::Linear => math::clipped_linear(p),
                };
                y.store(&mut out[at..]);
                if SLOPES {
                    slope(instruction.activation, p, y).store(&mut slopes[i * self.pitch + at..]);
                }
            }
        }
    }
}

/// The derivative of `activation` at the sum `p`, where its value is `y`.
#[inline(always)]
fn slope<L: Lanes>(activation: Activation, p: L, y: L) -> L {
    let one = L::splat(1.0);
    match activation {
        Activation::Sine => math::sin(p.add(L::splat(FRAC_PI_2))),
        Activation::Sigmoid => one.sub(y).mul(one.add(y)).mul(L::splat(0.5)),
        Activation::Gaussian => p.mul(y).mul(L::splat(-2.0)),
        Activation::Linear => {
            let inside = L::mask_and(L::splat(-3.0).lt(p), p.lt(L::splat(3.0)));
            L::select(inside, L::splat(1.0 / 3.0), L::splat(0.0))
        }
    }
}

struct Draw<'a> {
    own: &'a mut Gradients,
    canvas: &'a Canvases,
    program: &'a Program,
    pixels: Range<usize>,
    /// Those pixels of each channel; where there is one channel the others are empty.
    drawing: [&'a mut [f32]; 3],
}

impl Vectorised for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Draw { own, canvas, program, pixels, mut drawing } = self;
        assert_eq!(program.outputs.len(), canvas.channels, "an output a channel");
        assert!(drawing[..canvas.channels].iter().all(|channel| channel.len() == pixels.len()));
        let pitch = own.block(program.instructions.len());
        let first = pixels.start;
        for block in Block::all(canvas, pixels, pitch) {
            block.forward::<L, false>(program, &mut own.values, &mut []);
            let values = &own.values[..];
            for at in (0..block.len).step_by(L::N) {
                // Beyond the end there is padding.
                let place = (block.start - first + at).min(drawing[0].len());
                if let &[output] = &program.outputs[..] {
                    let v = L::load(&block.slot(values, output)[at..]);
                    v.abs().mul(L::splat(255.0)).store_partial(&mut drawing[0][place..]);
                    continue;
                }
                let hue = Colour::of(L::load(&block.slot(values, program.outputs[0])[at..]));
                let lightness = L::load(&block.slot(values, program.outputs[1])[at..]).abs();
                let saturation = L::load(&block.slot(values, program.outputs[2])[at..]).abs();
                let (high, low, _) = ends(lightness, saturation);
                let middle = low.add(high.sub(low).mul(hue.share));
                for (number, channel) in drawing.iter_mut().enumerate() {
                    let which = hue.role(number);
                    let value = L::select(is::<L>(which, 0), high, L::select(is::<L>(which, 1), middle, low));
                    value.mul(L::splat(255.0)).store_partial(&mut channel[place..]);
                }
            }
        }
    }
}

/// What a hue says of a colour.
#[derive(Clone, Copy)]
struct Colour<L: Lanes> {
    /// The entry of [`SECTORS`].
    order: L::Bits,
    /// Where the middle channel is between the lowest and the highest, and whether that goes up with the hue.
    share: L,
    rises: L::Mask,
}

impl<L: Lanes> Colour<L> {
    #[inline(always)]
    fn of(hue: L) -> Colour<L> {
        let h = hue.abs().mul(L::splat(255.0)).div(L::splat(30.0));
        let h = L::select(h.lt(L::splat(6.0)), h, h.sub(L::splat(6.0)));
        let sector = h.trunc_to_i32();
        let fraction = h.sub(L::from_i32(sector));
        let rises = is::<L>(L::bits_and(sector, L::bits_splat(1)), 0);
        let share = L::select(rises, fraction, L::splat(1.0).sub(fraction));
        Colour { order: L::bits_lookup(&SECTORS, sector), share, rises }
    }

    /// The role of channel `number`, red first: 0 the highest, 1 the middle, 2 the lowest.
    #[inline(always)]
    fn role(&self, number: usize) -> L::Bits {
        let order = match number {
            0 => self.order,
            1 => L::bits_shr::<8>(self.order),
            _ => L::bits_shr::<16>(self.order),
        };
        L::bits_and(order, L::bits_splat(3))
    }
}

#[inline(always)]
fn is<L: Lanes>(bits: L::Bits, number: u32) -> L::Mask {
    L::bits_eq(bits, L::bits_splat(number))
}

/// The highest and the lowest channel, and whether it is dark.
#[inline(always)]
fn ends<L: Lanes>(l: L, s: L) -> (L, L, L::Mask) {
    let dark = l.le(L::splat(0.5));
    let high = L::select(dark, l.mul(L::splat(1.0).add(s)), l.add(s).sub(l.mul(s)));
    (high, l.add(l).sub(high), dark)
}

/// `a` with the sign of the derivative of |v|.
#[inline(always)]
fn of_absolute<L: Lanes>(v: L, a: L) -> L {
    let zero = L::splat(0.0);
    L::select(zero.lt(v), a, L::select(v.lt(zero), a.neg(), zero))
}

struct Differentiate<'a> {
    own: &'a mut Gradients,
    canvas: &'a Canvases,
    program: &'a Program,
    pixels: Range<usize>,
    gradient: &'a [f32],
    terms: &'a mut [f32],
}

impl Vectorised for Differentiate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Differentiate { own, canvas, program, pixels, gradient, terms: gradients } = self;
        let n_instructions = program.instructions.len();
        assert_eq!(program.outputs.len(), canvas.channels, "an output a channel");
        let pitch = own.block(n_instructions);
        own.sums.clear();
        own.sums.resize(program.terms.len(), [0.0; SLOTS]);
        for block in Block::all(canvas, pixels, pitch) {
            let (values, rest) = own.values.split_at_mut(n_instructions * pitch);
            let (slopes, rest) = rest.split_at_mut(n_instructions * pitch);
            let adjoints = &mut rest[..n_instructions * pitch];
            block.forward::<L, true>(program, values, slopes);
            adjoints.fill(0.0);
            from_pixels::<L>(&block, program, values, gradient, adjoints);

            let mut end = program.terms.len();
            for (i, instruction) in program.instructions.iter().enumerate().rev() {
                let terms = end - instruction.n_terms as usize..end;
                end = terms.start;
                let (sources, own_adjoint) = adjoints.split_at_mut(i * pitch);
                let q = &mut own_adjoint[..block.len];
                for (q, slope) in q.chunks_exact_mut(L::N).zip(slopes[i * pitch..].chunks_exact(L::N)) {
                    L::load(q).mul(L::load(slope)).store(q);
                }
                for (&Term { slot, weight }, sums) in program.terms[terms.clone()].iter().zip(&mut own.sums[terms]) {
                    add_up::<L>(q, block.slot(values, slot), sums);
                    if slot as usize >= N_INPUTS {
                        let adjoint = &mut sources[(slot as usize - N_INPUTS) * pitch..][..block.len];
                        for (adjoint, q) in adjoint.chunks_exact_mut(L::N).zip(q.chunks_exact(L::N)) {
                            L::splat(weight).mul_add(L::load(q), L::load(adjoint)).store(adjoint);
                        }
                    }
                }
            }
        }
        for (gradient, sums) in gradients.iter_mut().zip(&own.sums) {
            *gradient = total(*sums);
        }
    }
}

/// Adds the products of `q` and `values` to the sums of their pixels. Padding adds `0 * value`, which is 0.
#[inline(always)]
fn add_up<L: Lanes>(q: &[f32], values: &[f32], sums: &mut [f32; SLOTS]) {
    for (first, sums) in (0..SLOTS).step_by(L::N).zip(sums.chunks_exact_mut(L::N)) {
        let mut sum = L::load(sums);
        for (q, values) in q.chunks_exact(SLOTS).zip(values.chunks_exact(SLOTS)) {
            sum = L::load(&q[first..]).mul_add(L::load(&values[first..]), sum);
        }
        sum.store(sums);
    }
}

/// What the pixels of a block tell its outputs: adds to their adjoints.
#[inline(always)]
fn from_pixels<L: Lanes>(block: &Block, program: &Program, values: &[f32], gradient: &[f32], adjoints: &mut [f32]) {
    let n_pixels = block.canvas.n_pixels;
    for at in (0..block.len).step_by(L::N) {
        let pixel = block.start + at;
        if pixel >= n_pixels {
            break; // padding: its adjoints stay 0
        }
        let mut a = [L::splat(0.0); 3];
        for (channel, a) in a[..program.outputs.len()].iter_mut().enumerate() {
            let own = &gradient[channel * n_pixels..][..n_pixels];
            *a = L::load_partial(&own[pixel..]).mul(L::splat(255.0));
        }
        let mut of = [L::splat(0.0); 3];
        if let &[output] = &program.outputs[..] {
            of[0] = of_absolute(L::load(&block.slot(values, output)[at..]), a[0]);
        } else {
            let mut v = [L::splat(0.0); 3];
            for (v, &output) in v.iter_mut().zip(&program.outputs) {
                *v = L::load(&block.slot(values, output)[at..]);
            }
            let (hue, l, s, one) = (Colour::of(v[0]), v[1].abs(), v[2].abs(), L::splat(1.0));
            let (high, low, dark) = ends(l, s);
            let [red, green] = [hue.role(0), hue.role(1)];
            let a_high = L::select(is::<L>(red, 0), a[0], L::select(is::<L>(green, 0), a[1], a[2]));
            let a_middle = L::select(is::<L>(red, 1), a[0], L::select(is::<L>(green, 1), a[1], a[2]));
            let a_low = L::select(is::<L>(red, 2), a[0], L::select(is::<L>(green, 2), a[1], a[2]));
            let to_high = a_middle.mul_add(hue.share, a_high);
            let to_low = a_middle.mul_add(one.sub(hue.share), a_low);
            let c = to_high.sub(to_low);
            let d = a_middle.mul(high.sub(low));
            let of_hue = L::splat(8.5).mul(L::select(hue.rises, d, d.neg()));
            let of_l = L::splat(2.0).mul_add(to_low, c.mul(L::select(dark, one.add(s), one.sub(s))));
            let of_s = c.mul(L::select(dark, l, one.sub(l)));
            of = [of_absolute(v[0], of_hue), of_absolute(v[1], of_l), of_absolute(v[2], of_s)];
        }
        for (&output, of) in program.outputs.iter().zip(of) {
            // An output is a node of its own, so its slot is an instruction's.
            let adjoint = &mut adjoints[(output as usize - N_INPUTS) * block.pitch + at..];
            L::load(adjoint).add(of).store(adjoint);
        }
    }
}
