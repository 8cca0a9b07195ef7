//! Gradient ascent on the CPU: the rules of [`crate::backend::ascent`], images in parallel.
//!
//! The network's forward pass and way back are [`InputGradients`]'; what is between, clip, norm, update, blur, order statistics, goes
//! through each image plane by plane. Its loops are plain: no lane meets another in them, so the compiler may make vectors of them as it
//! likes, and [`Simd::run`] lets it have the wide ones.

use super::backward::InputGradients;
use super::backward::network::TwoWay;
use crate::backend::ascent::{Ascent, AscentRule, NORM_LANES, Seen, gaussian, rank};
use crate::error::Result;
use crate::network::{Network, Shape};
use crate::simd::{Lanes, Simd, Vectorised};
use rayon::prelude::*;
use std::sync::Mutex;

/// Bytes of values and gradients, at most, of the images that are in the network at once; at least one vector of images is.
const AT_ONCE_BYTES: usize = 1 << 30;

/// Images on their way up on this machine's processor, on rayon's current pool.
pub struct CpuAscent {
    simd: Simd,
    /// For `at_once` images.
    back: InputGradients,
    at_once: usize,
    climb: Climb,
    /// The class of each image.
    classes: Vec<u32>,
    n_classes: usize,
    /// `(images, channels, height, width)` each: the variables, what the first layer takes, and the gradients.
    x: Vec<f32>,
    inputs: Vec<f32>,
    gradients: Vec<f32>,
    /// `(images, n_classes)`
    probabilities: Vec<f32>,
    /// Of the last step; none before the first.
    seen: Vec<Seen>,
    /// Steps made.
    step: u32,
    scratch: Mutex<Vec<Scratch>>,
}

impl CpuAscent {
    /// Images that start at `x`, `(images, channels, height, width)`, each for the class of `classes` at its place.
    ///
    /// # Errors
    /// Those of [`InputGradients::new`].
    ///
    /// # Panics
    /// If `x` is of another length, there is no image, or the network lacks a class.
    pub fn new(network: &Network, rule: AscentRule, classes: Vec<u32>, x: Vec<f32>, simd: Simd) -> Result<CpuAscent> {
        let at_once = CpuAscent::at_once(network, classes.len(), simd);
        CpuAscent::in_parts(network, rule, classes, x, simd, at_once)
    }

    /// [`CpuAscent::new`] with so many images in the network at once, which changes no bit.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there; also if `at_once` is 0 or more than there are images.
    pub fn in_parts(
        network: &Network,
        rule: AscentRule,
        classes: Vec<u32>,
        x: Vec<f32>,
        simd: Simd,
        at_once: usize,
    ) -> Result<CpuAscent> {
        assert!(!classes.is_empty() && x.len() == classes.len() * network.input.len(), "an image a class");
        let n_classes = network.classes.len();
        assert!((1..=classes.len()).contains(&at_once), "a part of the images");
        assert!(classes.iter().all(|&class| (class as usize) < n_classes), "classes of the network");
        Ok(CpuAscent {
            simd,
            back: InputGradients::new(network, at_once, simd)?,
            at_once,
            climb: Climb::new(network, rule),
            inputs: vec![0.0; x.len()],
            gradients: vec![0.0; x.len()],
            probabilities: vec![0.0; classes.len() * n_classes],
            seen: Vec::new(),
            step: 0,
            scratch: Mutex::new(Vec::new()),
            classes,
            n_classes,
            x,
        })
    }

    /// How many of so many images are in the network at once: all, or equal parts. It changes no bit.
    pub(super) fn at_once(network: &Network, images: usize, simd: Simd) -> usize {
        let most = (AT_ONCE_BYTES / CpuAscent::passing_bytes(network)).max(1);
        let most = if most < simd.width() { simd.width() } else { most - most % simd.width() };
        images.div_ceil(images.div_ceil(most))
    }

    /// The most bytes of values and gradients that an image has in the network: each value twice, and room for a sum.
    pub(super) fn passing_bytes(network: &Network) -> usize {
        let lens = network.shapes().into_iter().map(|shape| shape.len());
        (2 * lens.clone().sum::<usize>() + lens.max().unwrap_or(0)) * size_of::<f32>()
    }

    /// The most bytes that the ascent of so many images takes on `threads` threads.
    pub fn bytes(network: &Network, images: usize, simd: Simd, threads: usize) -> u64 {
        let lanes = CpuAscent::at_once(network, images, simd).next_multiple_of(simd.width());
        let passing = lanes * CpuAscent::passing_bytes(network) + TwoWay::weight_bytes(network, true);

        let (values, pixels) = (network.input.len(), network.input.height * network.input.width);
        let image = (3 * values + network.classes.len()) * size_of::<f32>() + size_of::<Seen>() + size_of::<u32>();
        (passing + images * image + threads * Scratch::bytes(pixels) + values * size_of::<f32>()) as u64
    }
}

impl Ascent for CpuAscent {
    fn describe(&self) -> String {
        format!("cpu, {} threads, {}", rayon::current_num_threads(), self.simd)
    }

    fn step(&mut self, last: bool) -> Result<Vec<Seen>> {
        let CpuAscent { simd, back, at_once, climb, classes, x, inputs, gradients, probabilities, scratch, .. } = self;
        let (len, simd, step, n_classes, at_once) = (climb.mean.len(), *simd, self.step, self.n_classes, *at_once);
        let scratch: &Mutex<Vec<Scratch>> = scratch;
        let before = std::mem::take(&mut self.seen);
        let has_stopped = |image: usize| before.get(image).is_some_and(|seen| seen.stopped);
        let images = x.par_chunks_exact_mut(len).zip(inputs.par_chunks_exact_mut(len)).enumerate();
        images.filter(|&(image, _)| !has_stopped(image)).for_each(|(_, (x, input))| {
            simd.run(Clip { climb, x, input });
        });
        // The last part ends with the last image; what it has in common with the one before comes out as it did there.
        for first in (0..classes.len()).step_by(at_once).map(|first| first.min(classes.len() - at_once)) {
            let (values, rows) =
                (first * len..(first + at_once) * len, first * n_classes..(first + at_once) * n_classes);
            let (probabilities, gradients) = (&mut probabilities[rows], &mut gradients[values.clone()]);
            back.run(&inputs[values], &classes[first..first + at_once], probabilities, gradients);
        }
        let images = x.par_chunks_exact_mut(len).zip(gradients.par_chunks_exact_mut(len));
        let images = images.zip(probabilities.par_chunks_exact(n_classes)).zip(classes.par_iter()).enumerate();
        let seen = images.map(|(image, (((x, gradient), probabilities), &class))| {
            if has_stopped(image) {
                return before[image];
            }
            let spare = scratch.lock().expect("no panic while held").pop();
            let mut own = spare.unwrap_or_else(|| Scratch::new(climb.pixels()));
            let class = class as usize;
            let seen = simd.run(Step { climb, step, last, x, gradient, probabilities, class, scratch: &mut own });
            scratch.lock().expect("no panic while held").push(own);
            seen
        });
        self.seen = seen.collect();
        self.step += 1;
        Ok(self.seen.clone())
    }

    fn images(&mut self) -> Result<Vec<f32>> {
        Ok(self.x.clone())
    }
}

/// What moves an image: the rule, and what follows from it and the network.
#[derive(Clone, Debug)]
pub struct Climb {
    rule: AscentRule,
    shape: Shape,
    /// `(channels, height, width)`; 0 where the network has none.
    mean: Vec<f32>,
    scale: [f32; 3],
    /// `1 - decay`
    keep: f32,
    /// Weights of the blur.
    taps: Vec<f32>,
}

/// What one thread needs for an image.
struct Scratch {
    /// `(height, width)`
    plane: Vec<f32>,
    /// A number a pixel, and those numbers in another order.
    numbers: Vec<f32>,
    ordered: Vec<f32>,
    /// A row of the image, mirrored beyond both ends.
    row: Vec<f32>,
}

impl Scratch {
    fn new(pixels: usize) -> Scratch {
        let plane = || vec![0.0; pixels];
        Scratch { plane: plane(), numbers: plane(), ordered: plane(), row: Vec::new() }
    }

    /// Bytes for images of so many pixels; of the row, that of the widest image with the widest blur.
    fn bytes(pixels: usize) -> usize {
        const REACH: usize = 1 << 10;
        (4 * pixels + 2 * REACH) * size_of::<f32>()
    }
}

impl Climb {
    /// For images of `network`.
    pub fn new(network: &Network, rule: AscentRule) -> Climb {
        let mean = &network.preprocess.mean;
        Climb {
            shape: network.input,
            mean: if mean.is_empty() { vec![0.0; network.input.len()] } else { mean.clone() },
            scale: network.preprocess.scale,
            keep: (1.0 - rule.decay) as f32,
            taps: if rule.blur_radius > 0.0 { gaussian(rule.blur_radius) } else { Vec::new() },
            rule,
        }
    }

    fn pixels(&self) -> usize {
        self.shape.height * self.shape.width
    }

    /// The rate at which an image of probability `p` moves whose gradient has the squared `norm`; `None` if it stops.
    pub fn rate(&self, p: f32, norm: f64) -> Option<f32> {
        let least = |a: f64, b: f64| if a < b { a } else { b };
        let AscentRule { early, late, max_rate, .. } = self.rule;
        let moves = norm > 0.0 && norm < f64::INFINITY && !p.is_nan();
        moves.then(|| least(max_rate, least(early, late * (1.0 - f64::from(p))) / norm) as f32)
    }

    /// Moves the image `x` along `gradient`, in step `step`: point 5 of the rules.
    pub fn advance(&self, simd: Simd, step: u32, rate: f32, x: &mut [f32], gradient: &[f32]) {
        let scratch = &mut Scratch::new(self.pixels());
        simd.run(Advance { climb: self, step, rate, x, gradient, scratch });
    }

    #[inline(always)]
    fn advance_by(&self, step: u32, rate: f32, x: &mut [f32], gradient: &[f32], scratch: &mut Scratch) {
        for (x, &g) in x.iter_mut().zip(gradient) {
            *x = rate.mul_add(g, *x) * self.keep;
        }
        if !self.taps.is_empty() && step.is_multiple_of(self.rule.blur_every) {
            for channel in x.chunks_exact_mut(self.pixels()) {
                self.blur(channel, &mut scratch.plane, &mut scratch.row);
            }
        }
        let AscentRule { small_norm, benefit, abs_benefit, .. } = self.rule;
        if small_norm > 0.0 {
            self.number_pixels(&mut scratch.numbers, x, None);
            self.zero_below(small_norm, x, scratch);
        }
        if benefit > 0.0 {
            self.number_pixels(&mut scratch.numbers, x, Some(gradient));
            self.zero_below(benefit, x, scratch);
        }
        if abs_benefit > 0.0 {
            self.number_pixels(&mut scratch.numbers, x, Some(gradient));
            scratch.numbers.iter_mut().for_each(|number| *number = number.abs());
            self.zero_below(abs_benefit, x, scratch);
        }
    }

    /// Blurs `channel`, `(height, width)`, along columns into `plane`, then along rows back.
    #[inline(always)]
    fn blur(&self, channel: &mut [f32], plane: &mut [f32], row: &mut Vec<f32>) {
        let Shape { height, width, .. } = self.shape;
        let reach = self.taps.len() / 2;
        for (y, sums) in plane.chunks_exact_mut(width).enumerate() {
            sums.fill(0.0);
            for (tap, &weight) in self.taps.iter().enumerate() {
                let from = mirrored(y as i64 + tap as i64 - reach as i64, height);
                for (sum, &value) in sums.iter_mut().zip(&channel[from * width..][..width]) {
                    *sum = weight.mul_add(value, *sum);
                }
            }
        }
        for (values, sums) in plane.chunks_exact(width).zip(channel.chunks_exact_mut(width)) {
            row.clear();
            let beyond = |at: usize| values[mirrored(at as i64 - reach as i64, width)];
            row.extend((0..reach).map(beyond));
            row.extend_from_slice(values);
            row.extend((reach + width..2 * reach + width).map(beyond));
            sums.fill(0.0);
            for (tap, &weight) in self.taps.iter().enumerate() {
                for (sum, &value) in sums.iter_mut().zip(&row[tap..]) {
                    *sum = weight.mul_add(value, *sum);
                }
            }
        }
    }

    /// The number of each pixel: the squared norm of `x` over its channels, or with a gradient what zeroing it should do to p.
    #[inline(always)]
    fn number_pixels(&self, numbers: &mut [f32], x: &[f32], gradient: Option<&[f32]>) {
        numbers.fill(0.0);
        let pixels = self.pixels();
        for (channel, x) in x.chunks_exact(pixels).enumerate() {
            match gradient {
                None => {
                    for (number, &x) in numbers.iter_mut().zip(x) {
                        *number = x.mul_add(x, *number);
                    }
                }
                Some(gradient) => {
                    for ((number, &x), &g) in numbers.iter_mut().zip(x).zip(&gradient[channel * pixels..]) {
                        *number = (-g).mul_add(x, *number);
                    }
                }
            }
        }
    }

    /// Sets to +0 the pixels whose number is below percentile `q`.
    #[inline(always)]
    fn zero_below(&self, q: f64, x: &mut [f32], scratch: &mut Scratch) {
        let Scratch { numbers, ordered, .. } = scratch;
        ordered.copy_from_slice(numbers);
        // Without NaN, since gradients and variables are finite: the order of the numbers, but for zeros, which are equal below.
        let (_, &mut least, _) = ordered.select_nth_unstable_by(rank(q, numbers.len()), f32::total_cmp);
        for x in x.chunks_exact_mut(numbers.len()) {
            for (x, &number) in x.iter_mut().zip(&*numbers) {
                *x = if number < least { 0.0 } else { *x };
            }
        }
    }
}

/// Where the mirrored image has its pixel `at` of a side of `n`: d c b a | a b c d | d c b a.
fn mirrored(at: i64, n: usize) -> usize {
    let n = n as i64;
    let at = at.rem_euclid(2 * n);
    (if at < n { at } else { 2 * n - 1 - at }) as usize
}

/// The squared norm of a gradient.
#[inline(always)]
pub fn squared_norm(gradient: &[f32]) -> f64 {
    let mut sums = [0.0_f64; NORM_LANES];
    for values in gradient.chunks(NORM_LANES) {
        for (sum, &g) in sums.iter_mut().zip(values) {
            let g = f64::from(g);
            *sum = g.mul_add(g, *sum);
        }
    }
    let mut half = NORM_LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[half + lane];
        }
        half /= 2;
    }
    sums[0]
}

/// Point 1 of the rules, and what the first layer takes.
struct Clip<'a> {
    climb: &'a Climb,
    x: &'a mut [f32],
    input: &'a mut [f32],
}

impl Vectorised for Clip<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Climb { mean, scale, .. } = self.climb;
        let pixels = self.climb.pixels();
        let channels = self.x.chunks_exact_mut(pixels).zip(self.input.chunks_exact_mut(pixels));
        for (((x, input), mean), &scale) in channels.zip(mean.chunks_exact(pixels)).zip(scale) {
            for ((x, input), &mean) in x.iter_mut().zip(input).zip(mean) {
                let v = *x + mean;
                let v = if v > 0.0 { v } else { 0.0 };
                let v = if v < 255.0 { v } else { 255.0 };
                *x = v - mean;
                *input = *x * scale;
            }
        }
    }
}

/// Points 3 to 5 of the rules, for one image.
struct Step<'a> {
    climb: &'a Climb,
    step: u32,
    last: bool,
    x: &'a mut [f32],
    /// Of the network's input; that of `x` then.
    gradient: &'a mut [f32],
    probabilities: &'a [f32],
    class: usize,
    scratch: &'a mut Scratch,
}

impl Vectorised for Step<'_> {
    type Output = Seen;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Seen {
        let Step { climb, step, last, x, gradient, probabilities, class, scratch } = self;
        for (channel, &scale) in gradient.chunks_exact_mut(climb.pixels()).zip(&climb.scale) {
            channel.iter_mut().for_each(|g| *g *= scale);
        }
        let probability = probabilities[class];
        let norm = squared_norm(gradient);
        // Processors differ in the NaN that they make.
        let norm = if norm.is_nan() { f64::NAN } else { norm };
        let mut best = 0;
        for (other, p) in probabilities.iter().enumerate() {
            if *p > probabilities[best] {
                best = other;
            }
        }
        let rate = climb.rate(probability, norm);
        if let (Some(rate), false) = (rate, last) {
            climb.advance_by(step, rate, x, gradient, scratch);
        }
        Seen { probability, best: best as u32, norm, stopped: rate.is_none() }
    }
}

/// Point 5 of the rules.
struct Advance<'a> {
    climb: &'a Climb,
    step: u32,
    rate: f32,
    x: &'a mut [f32],
    gradient: &'a [f32],
    scratch: &'a mut Scratch,
}

impl Vectorised for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.climb.advance_by(self.step, self.rate, self.x, self.gradient, self.scratch);
    }
}
