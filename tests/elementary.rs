//! The elementary functions against f64, and against themselves at every SIMD width.
//!
//! Each runs over every 1009th bit pattern of f32 and over edges; all 2^32 inputs, which
//! the worst errors in `src/math.rs` and the limits here come from, are tried by
//!
//!     PAREIDOLIA_EXHAUSTIVE=1 cargo test --release --test elementary -- --nocapture
//!
//! (`RUSTFLAGS="-C target-cpu=native"` shortens that a good deal: the plain code then has fused operations in
//! hardware; its bits are the same.) A limit is the worst error over all inputs, rounded up.
//!
//! The reference is std's f64 (libm), whose own error is some 2^-29 of an ulp of f32.

use std::marker::PhantomData;

use pareidolia::math;
use pareidolia::simd::{Lanes, Simd, Vectorised};
use rayon::prelude::*;

/// A function under test.
trait Function: Send + Sync {
    fn lanes<L: Lanes>(x: L) -> L;
    /// The true value, -0 and NaN included.
    fn exact(x: f64) -> f64;
    /// Whether the function is defined at `x`.
    fn takes(_x: f32) -> bool {
        true
    }
    /// The magnitude that no result passes, NaN apart.
    const BOUND: f32;
}

macro_rules! functions {
    (bound $bound:expr; $($name:ident: |$x:ident| $lanes:expr, $exact:expr $(, if $takes:expr)?;)*) => {$(
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn lanes<L: Lanes>($x: L) -> L {
                $lanes
            }
            fn exact($x: f64) -> f64 {
                $exact
            }
            $(fn takes($x: f32) -> bool {
                $takes
            })?
            const BOUND: f32 = $bound;
        }
    )*};
}

functions! {
    bound f32::INFINITY;
    Exp: |x| math::exp(x), x.exp();
    Exp2: |x| math::exp2(x), x.exp2();
    Log2: |x| math::log2(x), if x == 0.0 { f64::NEG_INFINITY } else { x.log2() };
    Root16: |x| math::root(x, 16), x.sqrt().sqrt().sqrt().sqrt();
    Root11: |x| math::root(x, 11), if x < 0.0 { f64::NAN } else { x.abs().powf(1.0 / 11.0) };
    Root11OfGenes: |x| math::root(x, 11), x.powf(1.0 / 11.0), if (2f32.powi(-24)..=2.0).contains(&x);
}

functions! {
    bound 1.0;
    Sin: |x| math::sin(x), x.sin();
    PowNeg11: |x| math::pow_neg(x, 11), x.powi(-11), if x >= 1.0;
    Sigmoid: |x| math::sigmoid(x), (x / 2.0).tanh();
    Gaussian: |x| math::gaussian(x), (-x * x).exp();
    GaussianByExp: |x| math::gaussian(x), gaussian_by_exp(x as f32).into();
    ClippedLinear: |x| math::clipped_linear(x), if x > 3.0 { 1.0 } else if x < -3.0 { -1.0 } else { x / 3.0 };
}

functions! {
    bound 1.0;
    SinBounded: |x| math::bounded::sin(x), x.sin();
    SigmoidBounded: |x| math::bounded::sigmoid(x), (x / 2.0).tanh();
    GaussianBounded: |x| math::bounded::gaussian(x), (-x * x).exp();
    ClippedLinearBounded: |x| math::bounded::clipped_linear(x), x.clamp(-3.0, 3.0) / 3.0;
}

/// What the Gaussian says it is, of our own exponential.
fn gaussian_by_exp(p: f32) -> f32 {
    let y = math::scalar::exp(-(p * p));
    if f64::from(y) < 2f64.powf(-126.5) { 0.0 } else { y }
}

/// How far a result may be from the truth.
#[derive(Clone, Copy)]
enum Limit {
    /// In units of the f32 spacing at the true value.
    Ulp(f64),
    /// In units of 2^-24.
    Absolute(f64),
}

/// The spacing of f32 at `x`: 2^-149 among the denormals; beyond the largest f32 that of the last binade.
fn spacing(x: f64) -> f64 {
    let exponent = (x.abs().to_bits() >> 52) as i32 - 1023;
    2f64.powi(exponent.clamp(-126, 127) - 23)
}

/// |got - exact| in the limit's unit, infinity taken as 2^128; infinite where a NaN or the sign of a zero is wrong.
fn error(got: f32, exact: f64, limit: Limit) -> f64 {
    if exact.is_nan() {
        return if got.to_bits() == 0x7fc0_0000 { 0.0 } else { f64::INFINITY };
    }
    if got.is_nan() || (exact == 0.0 && got == 0.0 && got.is_sign_negative() != exact.is_sign_negative()) {
        return f64::INFINITY;
    }
    let end = 2f64.powi(128);
    let (got, exact) = (f64::from(got).clamp(-end, end), exact.clamp(-end, end));
    let unit = match limit {
        Limit::Ulp(_) => spacing(exact),
        Limit::Absolute(_) => 2f64.powi(-24),
    };
    (got - exact).abs() / unit
}

struct Apply<'a, F> {
    function: PhantomData<F>,
    src: &'a [f32],
    dst: &'a mut [f32],
}

impl<F: Function> Vectorised for Apply<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (src, dst) in self.src.chunks_exact(L::N).zip(self.dst.chunks_exact_mut(L::N)) {
            F::lanes(L::load(src)).store(dst);
        }
    }
}

/// Inputs a rayon task takes at once; a multiple of every width.
const CHUNK: u64 = 1 << 14;

/// The largest error over `x`, and where; fails if two SIMD widths differ in a bit.
fn worst_of<F: Function>(x: &[f32], limit: Limit) -> (f64, f32) {
    let widths: Vec<(Simd, Vec<f32>)> = Simd::available()
        .into_iter()
        .map(|simd| {
            let mut dst = vec![0.0; x.len()];
            simd.run(Apply { function: PhantomData::<F>, src: x, dst: &mut dst });
            (simd, dst)
        })
        .collect();
    let (_, plain) = &widths[0];
    for (simd, got) in &widths[1..] {
        if let Some(i) = (0..x.len()).find(|&i| got[i].to_bits() != plain[i].to_bits()) {
            panic!("{simd}: at {:e} got {:e}, the plain code has {:e}", x[i], got[i], plain[i]);
        }
    }
    if let Some(i) = (0..x.len()).find(|&i| F::takes(x[i]) && plain[i].abs() > F::BOUND) {
        panic!("at {:e} got {:e}, beyond {}", x[i], plain[i], F::BOUND);
    }
    x.iter()
        .zip(plain)
        .filter(|(x, _)| F::takes(**x))
        .map(|(&x, &got)| (error(got, F::exact(f64::from(x)), limit), x))
        .fold((0.0, 0.0), |worst, here| if here.0 > worst.0 { here } else { worst })
}

/// Zeros, ends of ranges, powers of two, multiples of pi/2, non-numbers; each with its neighbours and negatives.
fn edges() -> Vec<f32> {
    let mut edges: Vec<f32> =
        vec![0.0, 1.0 / 3.0, 0.5f32.sqrt(), 2f32.sqrt(), 3.0, 1.5e-45, f32::MAX, f32::INFINITY, f32::NAN];
    edges.extend([9.345, 9.363, 9.381, 17.33, 20.0, 87.336, 87.68, 88.0, 88.7228, 89.0, 103.972, 104.0]);
    edges.extend([126.0, 127.0, 128.0, 129.0, 149.0, 150.0, 151.0]);
    edges.extend((1..255).map(|exponent| f32::from_bits(exponent << 23)));
    edges.extend((0..23).map(|bit| f32::from_bits(1 << bit)));
    // Multiples of pi/2: the first thousand, and a growing one up to the largest f32.
    edges.extend((1..=1000).map(|k| (f64::from(k) * std::f64::consts::FRAC_PI_2) as f32));
    edges.extend((0..1000).map(|i| ((1.09f64.powi(i)).round() * std::f64::consts::FRAC_PI_2) as f32));
    edges.push(f32::from_bits(0x6ff9_be45)); // of those above 2^20 the nearest to a multiple of pi, in fractions of pi
    edges.extend([f32::from_bits(0x7f80_0001), f32::from_bits(0x7fff_ffff)]);
    let near = |x: &f32| {
        let bits = x.to_bits();
        (-3..=3).map(move |n| bits.saturating_add_signed(n)).flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)])
    };
    let mut edges: Vec<f32> = edges.iter().flat_map(near).collect();
    edges.resize(edges.len().next_multiple_of(16), 0.0);
    edges
}

/// Tries `F` over the sample, or over all inputs, prints its worst error and holds it to `limit`.
#[track_caller]
fn check<F: Function>(name: &str, limit: Limit) {
    let exhaustive = std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_some_and(|v| v == "1");
    let stride = if exhaustive { 1 } else { 1009 };
    let n_inputs = (1u64 << 32).div_ceil(stride);
    let (worst, at) = (0..n_inputs.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            // The last chunk goes on from pattern 0.
            let x: Vec<f32> =
                (chunk * CHUNK..(chunk + 1) * CHUNK).map(|i| f32::from_bits((i * stride) as u32)).collect();
            worst_of::<F>(&x, limit)
        })
        .chain(rayon::iter::once(worst_of::<F>(&edges(), limit)))
        .reduce(|| (0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
    let (limit, unit) = match limit {
        Limit::Ulp(limit) => (limit, "ulp"),
        Limit::Absolute(limit) => (limit, "* 2^-24"),
    };
    let inputs = if exhaustive { "all inputs" } else { "every 1009th input" };
    println!("{name:<16} {inputs}: worst error {worst:.4} {unit} at {at:e} ({:#010x}), limit {limit}", at.to_bits());
    assert!(worst <= limit, "{name}({at:e}) is off by {worst} {unit}, the limit is {limit}");
}

#[test]
fn sin_is_within_its_ulp_at_every_width() {
    check::<Sin>("sin", Limit::Ulp(2.03));
}

#[test]
fn exp_is_within_its_ulp_at_every_width() {
    check::<Exp>("exp", Limit::Ulp(0.9));
}

#[test]
fn exp2_is_within_its_ulp_at_every_width() {
    check::<Exp2>("exp2", Limit::Ulp(0.92));
}

#[test]
fn log2_is_within_its_ulp_at_every_width() {
    check::<Log2>("log2", Limit::Ulp(2.07));
}

#[test]
fn root_is_within_its_ulp_at_every_width() {
    check::<Root16>("root 16", Limit::Ulp(1.12));
    check::<Root11>("root 11", Limit::Ulp(13.5));
    check::<Root11OfGenes>("root 11 of genes", Limit::Ulp(2.8));
}

#[test]
fn pow_neg_is_within_its_error_at_every_width() {
    check::<PowNeg11>("pow_neg 11", Limit::Absolute(1.4));
}

#[test]
fn sigmoid_is_within_its_ulp_at_every_width() {
    check::<Sigmoid>("sigmoid", Limit::Ulp(2.5));
}

#[test]
fn gaussian_is_within_its_error_at_every_width() {
    check::<Gaussian>("gaussian", Limit::Absolute(0.9));
    check::<GaussianByExp>("gaussian, by exp", Limit::Ulp(0.0));
}

#[test]
fn clipped_linear_is_within_its_ulp_at_every_width() {
    check::<ClippedLinear>("clipped_linear", Limit::Ulp(0.67));
}

#[test]
fn scalar_forms_have_the_bits_of_the_lanes() {
    for &x in &edges() {
        let same = |name: &str, scalar: f32, lanes: [f32; 4]| {
            assert!(lanes.iter().all(|y| y.to_bits() == scalar.to_bits()), "{name}({x:e}): {scalar:e}, {lanes:?}");
        };
        fn lanes<F: Function>(x: f32) -> [f32; 4] {
            let mut dst = [0.0; 4];
            Simd::Plain.run(Apply { function: PhantomData::<F>, src: &[x; 4], dst: &mut dst });
            dst
        }
        same("sin", math::scalar::sin(x), lanes::<Sin>(x));
        same("exp", math::scalar::exp(x), lanes::<Exp>(x));
        same("exp2", math::scalar::exp2(x), lanes::<Exp2>(x));
        same("log2", math::scalar::log2(x), lanes::<Log2>(x));
        same("root", math::scalar::root(x, 11), lanes::<Root11>(x));
        same("pow_neg", math::scalar::pow_neg(x, 11), lanes::<PowNeg11>(x));
    }
}

#[test]
fn bounded_forms_have_the_bits_of_the_others() {
    let sample = (0..1 << 22).map(|i: u32| f32::from_bits(i * 1021));
    let mut inputs: Vec<f32> = edges().into_iter().chain(sample).filter(|x| x.abs() <= math::bounded::MOST).collect();
    inputs.resize(inputs.len().next_multiple_of(16), 0.0);
    assert!(inputs.len() > 1 << 21);
    for simd in Simd::available() {
        same_bits::<Sin, SinBounded>(simd, &inputs);
        same_bits::<Sigmoid, SigmoidBounded>(simd, &inputs);
        same_bits::<Gaussian, GaussianBounded>(simd, &inputs);
        same_bits::<ClippedLinear, ClippedLinearBounded>(simd, &inputs);
    }
}

#[track_caller]
fn same_bits<F: Function, G: Function>(simd: Simd, inputs: &[f32]) {
    let (mut want, mut got) = (vec![0.0; inputs.len()], vec![0.0; inputs.len()]);
    simd.run(Apply::<F> { function: PhantomData, src: inputs, dst: &mut want });
    simd.run(Apply::<G> { function: PhantomData, src: inputs, dst: &mut got });
    for ((x, want), got) in inputs.iter().zip(want).zip(got) {
        assert_eq!(got.to_bits(), want.to_bits(), "{simd} at {x:e}");
    }
}

/// `max` and `min` of every pair of `values`, as bits.
struct Extremes<'a> {
    values: &'a [f32],
}

impl Vectorised for Extremes<'_> {
    type Output = Vec<[u32; 2]>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<[u32; 2]> {
        let mut out = Vec::new();
        for &a in self.values {
            for &b in self.values {
                let (mut max, mut min) = ([0.0; 16], [0.0; 16]);
                L::splat(a).max(L::splat(b)).store(&mut max);
                L::splat(a).min(L::splat(b)).store(&mut min);
                out.push([max[L::N - 1].to_bits(), min[L::N - 1].to_bits()]);
            }
        }
        out
    }
}

#[test]
fn max_and_min_are_their_written_comparisons_at_every_width() {
    let values =
        std::hint::black_box([0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, 1e-45]);
    let pairs = values.iter().flat_map(|&a| values.iter().map(move |&b| (a, b)));
    let want: Vec<[u32; 2]> =
        pairs.map(|(a, b)| [if a > b { a } else { b }.to_bits(), if a < b { a } else { b }.to_bits()]).collect();
    for simd in Simd::available() {
        assert_eq!(simd.run(Extremes { values: &values }), want, "{simd}");
    }
}
