//! The elementary functions, of which all other kernels consist: a sample of all 2^32 inputs, and all edges.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::tally::Tally;
use crate::backend::cuda::elementary::Elementary;
use crate::error::Result;
use crate::math;
use crate::rng::Philox;
use crate::simd::{Lanes, Simd, Vectorised};

/// Each function, with the root or power that it is tried with.
pub const FUNCTIONS: [(Elementary, u32); 14] = [
    (Elementary::Sin, 0),
    (Elementary::Exp, 0),
    (Elementary::Exp2, 0),
    (Elementary::Log2, 0),
    (Elementary::Root, 1),
    (Elementary::Root, 2),
    (Elementary::Root, 16),
    (Elementary::Root, 11),
    (Elementary::Root, 21),
    (Elementary::PowNeg, 11),
    (Elementary::PowNeg, 16),
    (Elementary::Sigmoid, 0),
    (Elementary::Gaussian, 0),
    (Elementary::ClippedLinear, 0),
];

/// `function` of every number of `x`, a multiple of the widest vector.
struct OnHost<'a> {
    function: Elementary,
    n: u32,
    x: &'a [f32],
}

impl Vectorised for OnHost<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<f32> {
        let mut y = vec![0.0; self.x.len()];
        for (x, y) in self.x.chunks_exact(L::N).zip(y.chunks_exact_mut(L::N)) {
            let x = L::load(x);
            let result = match self.function {
                Elementary::Sin => math::sin(x),
                Elementary::Exp => math::exp(x),
                Elementary::Exp2 => math::exp2(x),
                Elementary::Log2 => math::log2(x),
                Elementary::Root => math::root(x, self.n),
                Elementary::PowNeg => math::pow_neg(x, self.n),
                Elementary::Sigmoid => math::sigmoid(x),
                Elementary::Gaussian => math::gaussian(x),
                Elementary::ClippedLinear => math::clipped_linear(x),
            };
            result.store(y);
        }
        y
    }
}

/// `function` of each of `x`, a multiple of 16, on the host.
pub fn on_host(simd: Simd, (function, n): (Elementary, u32), x: &[f32]) -> Vec<f32> {
    debug_assert!(x.len().is_multiple_of(16), "whole vectors of every width");
    simd.run(OnHost { function, n, x })
}

/// What a function and the bits of its inputs are called.
pub fn name((function, n): (Elementary, u32), x: &[f32]) -> String {
    let [first, last] = [x.first(), x.last()].map(|x| x.map_or(0, |x| x.to_bits()));
    let n = if n == 0 { String::new() } else { format!(" {n}") };
    format!("{function:?}{n}, {} inputs, from {first:#010x} to {last:#010x}", x.len())
}

/// Compares `function` of `x`, a multiple of 16, on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, function: (Elementary, u32), x: &[f32]) -> Result<()> {
    tally.case(x.len(), name(function, x));
    let want = on_host(Simd::detect(), function, x);
    let on_device = gpu.upload(x)?;
    let mut y = gpu.guarded(x.len(), GUARD_F32)?;
    gpu.timed(tally, |launcher| launcher.elementary(&mut y, &on_device, x.len() as u32, function.0, function.1))?;
    let got = gpu.read(tally, "the results", &y, x.len(), GUARD_F32)?;
    let first = tally.first.is_none();
    tally.same("the results", &want, &got);
    if let Some(difference) = tally.first.as_mut().filter(|difference| first && difference.what == "the results") {
        let x = x[difference.element as usize];
        difference.what = format!("the result for {x:e} ({:#010x})", x.to_bits());
    }
    Ok(())
}

/// Zeros, denormals, ends of ranges, powers of two, multiples of pi/2, non-numbers; so many `neighbours` on both sides of each, and
/// their negatives.
pub fn edges(neighbours: i32) -> Vec<f32> {
    let mut edges = vec![0.0, 1.0 / 3.0, 0.5f32.sqrt(), 2f32.sqrt(), 3.0, f32::MAX, f32::INFINITY, f32::NAN];
    edges.extend([
        9.345, 17.33, 20.0, 87.336, 87.68, 88.0, 88.7228, 89.0, 103.972, 104.0, 126.0, 128.0, 129.0, 149.0, 151.0,
    ]);
    edges.extend((1..255).map(|exponent| f32::from_bits(exponent << 23)));
    edges.extend((0..23).map(|bit| f32::from_bits(1 << bit)));
    edges.extend((1..=64).map(|k| (f64::from(k) * std::f64::consts::FRAC_PI_2) as f32));
    edges.extend((0..1000).map(|i| ((1.09f64.powi(i)).round() * std::f64::consts::FRAC_PI_2) as f32));
    edges.push(f32::from_bits(0x6ff9_be45)); // of those above 2^20 the nearest to a multiple of pi, in fractions of pi
    edges.extend([0x7f80_0001, 0x7fbf_ffff, 0x7fff_ffff].map(f32::from_bits));
    let near = |x: f32| (-neighbours..=neighbours).map(move |n| x.to_bits().saturating_add_signed(n) & 0x7fff_ffff);
    whole(edges.into_iter().flat_map(near).flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect())
}

/// `n` blocks of random bit patterns, four each.
pub fn random_patterns(n: u32) -> Vec<f32> {
    let philox = Philox::new(3);
    whole((0..n).flat_map(|i| philox.block([i, 0, 0, 0])).map(f32::from_bits).collect())
}

/// Every `stride`-th of all 2^32 bit patterns.
pub fn every(stride: u32) -> Vec<f32> {
    whole((0..=u32::MAX).step_by(stride as usize).map(f32::from_bits).collect())
}

/// `x` in whole vectors of every width.
fn whole(mut x: Vec<f32>) -> Vec<f32> {
    x.resize(x.len().next_multiple_of(16), -0.0);
    x
}

/// Every function at its edges and all over; and of arrays round the edges of a block of 256.
///
/// # Errors
/// The driver's.
pub fn elementary(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    // Primes, so that the low bits take all values. The tests, which run under the checks of the emulator too, take fewer, and have a
    // form that takes all.
    let samples = [edges(extent.number(0, 3, 64)), every(extent.number(1_000_003, 2039, 4099))];
    for function in FUNCTIONS {
        for x in &samples {
            compare(gpu, tally, function, x)?;
        }
    }
    let x = random_patterns(136);
    for len in [0, 16, 240, 256, 272, 544] {
        compare(gpu, tally, (Elementary::Sin, 0), &x[..len])?;
    }
    Ok(())
}
