//! Gradient ascent on the pixels of images: what a backend does of it (spec 10.2).
//!
//! All images climb at once, each to a class of its own. An image is a variable `x` of the shape of the network's input, channels in the
//! network's order, in units of pixels less the network's mean: what an 8-bit image is before it is scaled. The written rules, a *step* of
//! each image that has not stopped; all is f32 but where f64 is said, and the same bits on every backend:
//!
//! 1. `v = x + mean; v = v > 0 ? v : 0; v = v < 255 ? v : 255; x = v - mean` (mean 0 where the network has none).
//! 2. Forward on `x * scale`; p is the probability of the image's class, `best` the most probable class, of equals the lowest.
//! 3. G is the gradient of p with respect to x: that of the network's input ([`crate::network::gradient`]) times scale. Its squared norm, f64:
//!    [`NORM_LANES`] accumulators from 0, value i (channel, row, column) goes to accumulator `i % NORM_LANES`, ascending,
//!    `fma(g, g, sum)` of `g` as f64; then the upper half is added to the lower half until one is left.
//! 4. If the norm is 0, infinite or no number, or p is no number, the image stops: it stays as it is for good, and all that moves is finite.
//!    `want = min(early, late * (1 - p))`, `rate = min(max_rate, want / norm)`, in f64 (the rule's numbers are f64), min(a, b) is
//!    `a < b ? a : b`; rounded to f32 once.
//! 5. Not in the last step: `x = fma(rate, G, x)`, then `x = x * keep`, `keep = 1 - decay` in f64 rounded once. Then in this order:
//!    - *Blur* with a radius above 0, in steps 0, `blur_every`, 2 `blur_every`, ...: each channel, along columns, then along rows, by
//!      [`gaussian`] weights; `fma(weight, value, sum)` from +0 over the taps ascending; beyond the edge the image is mirrored, the edge's
//!      pixel repeated (d c b a | a b c d | d c b a).
//!    - *Small norms*: a pixel's number is `fma(x, x, sum)` from +0 over its channels ascending; see below.
//!    - *Benefit of being zeroed*: a pixel's number is `fma(-G, x, sum)` from +0 over its channels; then the same with the number's absolute
//!      value.
//!
//!    A percentile q above 0 sets to +0 all channels of the pixels whose number is below the one of rank `ceil(q / 100 * (pixels - 1))` (f64,
//!    counted from 0) among the image's numbers, ascending: exactly those below NumPy's linearly interpolated percentile.
//!
//! # Ascent in the weights of a CPPN
//!
//! The variables are the genes of a graph's edges, in [0, 1]; its nodes, edges and activations stay. An image is what the graph draws, in
//! real numbers ([`crate::genome::cppn::Gradients`]), on the canvas that an evolution against the network has. A graph draws rugged
//! functions of its weights, so that a step to first order may well fall: a graph *stands* where it has been highest, and from there
//! goes as far as it may trust the gradient. A step of each image that has not stopped:
//!
//! 1. The graph draws with the genes that are tried, at first those of the start. Of the crops that the network judges, or of all the image
//!    where it sees all, each input is `(v - mean) * scale` (`v * scale` without a mean): f32, in the network's channel order.
//! 2. Forward. p is the probability of the image's class, [the mean](crate::network::crops::mean) over the crops, `best` the most probable
//!    class by those means, of equals the lowest.
//! 3. In the first step, or if p is above that of the genes that stand, the tried genes stand from now on. The gradient of a pixel is
//!    `fma(g, scale, sum)` from +0 over the crops that see it, in their order, divided by their number; [`crate::genome::cppn::Gradients`]
//!    says what that tells the genes. G is it, but +0 for a gene of 0 that is to fall and for one of 1 that is to rise. The squared norm is
//!    that of rule 3 above, edge i being value i. `radius`, at first `max_step`, becomes `min(max_step, 2 * radius)`.
//! 4. Otherwise `radius = length / 2`.
//! 5. If the norm is 0, infinite or no number, or p is no number, the image stops.
//! 6. Not in the last step: `root = sqrt(norm)`, `length = min(want / root, radius)` with `want` as in rule 4 above; what is tried next is
//!    `v = fma(length / root, G, gene)` of the genes that stand, then `v = v > 0 ? v : 0; v = v < 1 ? v : 1`, rounded to f32 once. If that
//!    moves no gene, the image stops.
//!
//! All of 3 to 6 is f64 from the norm on. What a step has seen of an image is what was seen of the genes that stand after it.

use crate::error::Result;
use crate::genome::cppn::Graph;
use crate::math;
use crate::simd::{Lanes, Plain};
use serde::{Deserialize, Serialize};

/// Accumulators of the squared norm of a gradient.
pub const NORM_LANES: usize = 256;

/// How an image climbs (spec 10.3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AscentRule {
    /// Share of `x` that each step takes away.
    pub decay: f64,
    /// The rise of p that a step aims at, to first order, while p is small.
    pub early: f64,
    /// The share of what p lacks of 1 that a step aims at, near 1.
    pub late: f64,
    /// The largest learning rate.
    pub max_rate: f64,
    /// Standard deviation of the blur, in pixels; 0 for none, else at least 0.3.
    pub blur_radius: f64,
    /// Steps from one blur to the next, at least 1.
    pub blur_every: u32,
    /// Percentile of pixels set to 0 for their small norm.
    pub small_norm: f64,
    /// Percentile of pixels set to 0 because that costs least.
    pub benefit: f64,
    /// The same by absolute value.
    pub abs_benefit: f64,
}

/// How the genes of a CPPN climb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CppnRule {
    /// As in [`AscentRule`].
    pub early: f64,
    pub late: f64,
    /// The longest step, in genes.
    pub max_step: f64,
}

/// What a step saw of an image, before it moved it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Probability of the image's class.
    pub probability: f32,
    /// The most probable class.
    pub best: u32,
    /// Squared norm of the gradient.
    pub norm: f64,
    /// Whether the image has stopped, in this step or before; then the rest is that of the step in which it stopped.
    pub stopped: bool,
}

/// Images on their way up, on some device.
pub trait Ascent {
    /// What it runs on, for people.
    fn describe(&self) -> String;

    /// One step of every image; the `last` one only looks. Steps are counted from 0.
    ///
    /// # Errors
    /// A device may fail.
    fn step(&mut self, last: bool) -> Result<Vec<Seen>>;

    /// The variables, `(images, channels, height, width)`; where CPPNs climb, what they draw: pixels, red first.
    ///
    /// # Errors
    /// A device may fail.
    fn images(&mut self) -> Result<Vec<f32>>;

    /// The CPPNs that draw the images; none where pixels climb.
    ///
    /// # Errors
    /// A device may fail.
    fn graphs(&mut self) -> Result<Vec<Graph>> {
        Ok(Vec::new())
    }
}

/// Weights of a Gaussian blur, from tap `-reach` to tap `reach`, `reach = floor(4 radius + 0.5)`: SciPy's `gaussian_filter`. In f32 with the
/// exponential of [`crate::math`]: tap j is `exp(-(j * j) / (2 * radius * radius))`, divided by the sum of all, ascending.
pub fn gaussian(radius: f64) -> Vec<f32> {
    let reach = (4.0 * radius + 0.5) as i32;
    let twice = (2.0 * radius * radius) as f32;
    let exp = |x: f32| {
        let mut lanes = [0.0; Plain::N];
        math::exp(Plain::splat(x)).store(&mut lanes);
        lanes[0]
    };
    let taps: Vec<f32> = (-reach..=reach).map(|tap| exp(-((tap * tap) as f32) / twice)).collect();
    let sum = taps.iter().fold(0.0, |sum, tap| sum + tap);
    taps.iter().map(|tap| tap / sum).collect()
}

/// The rank, among `pixels` numbers in ascending order and counted from 0, of the first that percentile `q` keeps.
pub fn rank(q: f64, pixels: usize) -> usize {
    (q / 100.0 * (pixels - 1) as f64).ceil() as usize
}
