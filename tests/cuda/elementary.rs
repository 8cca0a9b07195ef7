//! The elementary functions and the random numbers: one arithmetic on both sides.
//!
//! Each function is tried at every edge, in dense sweeps round them and at 2^20 random bit patterns; at all 2^32 by
//!
//!     PAREIDOLIA_EXHAUSTIVE=1 cargo test --release --test cuda elementary

use crate::harness;
use pareidolia::backend::cuda::elementary::Elementary;
use pareidolia::math;
use pareidolia::rng::Philox;
use pareidolia::simd::{Lanes, Simd, Vectorised};
use std::f32::consts::{LN_2, LOG2_E};

const FUNCTIONS: [(Elementary, u32); 14] = [
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

/// Fails at the first of `x` where the device has other bits than the host.
fn compare(function: Elementary, n: u32, x: &[f32]) {
    let Some(launcher) = harness::launcher() else { return };
    let want = Simd::detect().run(OnHost { function, n, x });
    let on_device = launcher.upload(x).unwrap();
    let mut y = launcher.upload(&vec![harness::GUARD_F32; x.len() + harness::GUARDS]).unwrap();
    launcher.elementary(&mut y, &on_device, x.len() as u32, function, n).unwrap();
    let got = harness::unguarded(launcher.download(&y).unwrap(), x.len(), harness::GUARD_F32);
    for ((x, want), got) in x.iter().zip(&want).zip(&got) {
        let [x_bits, want_bits, got_bits] = [x, want, got].map(|v| v.to_bits());
        assert!(
            want_bits == got_bits,
            "{function:?} {n} at {x:e} ({x_bits:#010x}): the host has {want:e} ({want_bits:#010x}), the device {got:e} \
             ({got_bits:#010x})"
        );
    }
}

/// Zeros, denormals, ends of ranges, powers of two, multiples of pi/2, non-numbers; 64 neighbours on both sides of each, and
/// their negatives.
fn edges() -> Vec<f32> {
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
    let near = |x: f32| (-64..=64).map(move |n| x.to_bits().saturating_add_signed(n) & 0x7fff_ffff);
    edges.into_iter().flat_map(near).flat_map(|bits| [bits, bits | 1 << 31]).map(f32::from_bits).collect()
}

/// `n` blocks of random bit patterns, four each.
fn random_patterns(n: u32) -> impl Iterator<Item = f32> {
    let philox = Philox::new(3);
    (0..n).flat_map(move |i| philox.block([i, 0, 0, 0])).map(f32::from_bits)
}

#[test]
fn elementary_functions_have_the_bits_of_the_host() {
    let mut x: Vec<f32> = edges().into_iter().chain(random_patterns(1 << 18)).collect();
    x.resize(x.len().next_multiple_of(16), -0.0);
    for (function, n) in FUNCTIONS {
        compare(function, n, &x);
    }
}

#[test]
fn elementary_functions_have_the_bits_of_the_host_whatever_the_length() {
    let x: Vec<f32> = random_patterns(136).collect();
    for len in [0, 16, 240, 256, 272, 544] {
        compare(Elementary::Sin, 0, &x[..len]);
    }
}

#[test]
fn elementary_functions_have_the_bits_of_the_host_at_all_inputs() {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none_or(|v| v != "1") {
        eprintln!("left out: PAREIDOLIA_EXHAUSTIVE=1 tries all 2^32 inputs");
        return;
    }
    const PART: u64 = 1 << 24;
    for start in (0..1u64 << 32).step_by(PART as usize) {
        let x: Vec<f32> = (start..start + PART).map(|bits| f32::from_bits(bits as u32)).collect();
        for (function, n) in FUNCTIONS {
            compare(function, n, &x);
        }
    }
}

const MATH_RS: &str = include_str!("../../src/math.rs");
const MATH_CUH: &str = include_str!("../../kernels/common/math.cuh");
const RNG_RS: &str = include_str!("../../src/rng.rs");
const RNG_CUH: &str = include_str!("../../kernels/common/rng.cuh");

/// What stands between `before` and `after` in `line`.
fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(line.split_once(before)?.1.split_once(after)?.0)
}

/// The numbers of the table that `start` begins the definition of, as bits.
fn table(source: &str, start: &str, open: &str, close: &str) -> Vec<u32> {
    let definition = source.split_once(start).unwrap_or_else(|| panic!("{start:?} is not there")).1;
    let values = between(definition.split_once('=').unwrap().1, open, close).unwrap();
    let bits = |value: &str| match value {
        "LN_2" => LN_2.to_bits(),
        "LOG2_E" => LOG2_E.to_bits(),
        hex if hex.starts_with("0x") => u32::from_str_radix(&hex[2..].replace('_', ""), 16).unwrap(),
        number => number.trim_end_matches('f').parse::<f32>().unwrap().to_bits(),
    };
    values.split(',').map(|value| bits(value.trim())).collect()
}

#[test]
fn elementary_tables_are_the_same_on_both_sides() {
    for (name, len) in [("SIN", 4), ("EXP", 5), ("EXP2", 6), ("LOG2", 9), ("INVERSE", 7)] {
        let host = table(MATH_RS, &format!("const {name}: "), "[", "]");
        assert_eq!(host.len(), len, "{name}");
        assert_eq!(host, table(MATH_CUH, &format!(" {name}[{len}] "), "{", "}"), "{name}");
    }
}

#[test]
fn purposes_are_the_same_on_both_sides() {
    let purposes = |source: &str, keyword: &str| -> Vec<(String, u32)> {
        let body = between(source, keyword, "}").unwrap();
        let entries = body.lines().map(str::trim).filter(|line| !line.starts_with("//")).filter_map(|line| {
            let (name, value) = line.split_once(" = ")?;
            Some((name.to_string(), value.trim_end_matches(',').parse().unwrap()))
        });
        entries.collect()
    };
    let host = purposes(RNG_RS, "pub enum Purpose {");
    assert_eq!(host.len(), 16);
    assert_eq!(host, purposes(RNG_CUH, "enum class Purpose : uint32_t {"));
}
