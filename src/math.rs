//! Elementary functions of the one arithmetic: the same bits in every lane, at every width, on every backend.
//!
//! Each is a fixed sequence of IEEE additions, multiplications, fused multiply-adds, divisions and square roots
//! and of integer operations, without a branch but for the sine of arguments above 2^20. `scripts/minimax.py`
//! made the coefficients. A NaN gives the one NaN 0x7fc00000, since processors differ in the payload they hand on.
//!
//! An error in ulp is the distance to the true value in units of the f32 spacing there (2^-149 among the
//! denormals). The worst errors stated were found by trying all 2^32 inputs: `tests/elementary.rs`.

use std::f32::consts::{FRAC_1_PI, LN_2, LOG2_E, PI};

use crate::simd::{Lanes, MAX_LANES};

const SIGN: u32 = 0x8000_0000;
const NAN: u32 = 0x7fc0_0000;

/// 1.5 * 2^23. Adding it rounds |x| < 2^22 to an integer, which then stands in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// pi = PI + PI_MID + PI_LOW to 75 bits.
pub(crate) const PI_MID: f32 = -8.742278e-8;
pub(crate) const PI_LOW: f32 = -3.430249e-15;
/// ln(2) = LN_2 + LN_2_LOW to 52 bits.
pub(crate) const LN_2_LOW: f32 = -1.9046542e-9;

/// `sin(r) = r + r^3 SIN(r^2)`.
pub(crate) const SIN: [f32; 4] = [-0.16666658, 0.0083330255, -0.00019806404, 2.5983145e-6];
/// `exp(r) = 1 + r + r^2 EXP(r)`.
pub(crate) const EXP: [f32; 5] = [0.49999994, 0.16666517, 0.041668102, 0.008369193, 0.0013838927];
/// `2^r = 1 + r EXP2(r)`.
const EXP2: [f32; 6] = [LN_2, 0.24022594, 0.055503663, 0.009625446, 0.0013387928, 0.00013331929];
/// `log2(1 + f) = f LOG2(f)`.
const LOG2: [f32; 9] =
    [LOG2_E, -0.72134733, 0.48091063, -0.3607037, 0.28791615, -0.23894514, 0.21571636, -0.20726825, 0.12577341];

/// The sine. Odd, -0 included; in [-1, 1]; infinities give NaN.
///
/// Worst error: 2.03 ulp.
#[inline(always)]
pub fn sin<L: Lanes>(x: L) -> L {
    let a = x.abs();
    let (r, k) = reduce_near(a);
    let near = a.le(L::splat(SIN_NEAR));
    if L::any(L::mask_not(near)) {
        return sin_far(x, near, r, k);
    }
    sin_reduced(x, r, k)
}

/// `(r, k)` with `a = r + k pi` and |r| <= pi/2, for 0 <= a <= [`SIN_NEAR`]; of `k` only the low bit holds.
#[inline(always)]
fn reduce_near<L: Lanes>(a: L) -> (L, L::Bits) {
    // The first of the three is exact: a and k PI agree in their leading bits.
    let rounded = a.mul_add(L::splat(FRAC_1_PI), L::splat(ROUND));
    let k = rounded.sub(L::splat(ROUND));
    let r = k.mul_add(L::splat(-PI), a);
    let r = k.mul_add(L::splat(-PI_MID), r);
    (k.mul_add(L::splat(-PI_LOW), r), rounded.to_bits())
}

/// The largest |x| whose multiple of pi is small enough for three fused operations.
const SIN_NEAR: f32 = 1_048_576.0;

/// `sin(|x|)` with the sign of `x`, where |x| = r + k pi and the low bit of `k` is that of k.
#[inline(always)]
fn sin_reduced<L: Lanes>(x: L, r: L, k: L::Bits) -> L {
    let square = r.mul(r);
    let y = r.mul(square).mul_add(polynomial(square, &SIN), r);
    let flip = L::bits_xor(L::bits_shl::<31>(k), L::bits_and(x.to_bits(), L::bits_splat(SIGN)));
    L::from_bits(L::bits_xor(y.to_bits(), flip))
}

/// Lanes that [`sin_far`] takes: four of the widest vectors.
const FAR: usize = 4 * MAX_LANES;

/// [`sin`] of a vector in which not all lanes are `near`; `r` and `k` hold for those that are.
#[inline(always)]
fn sin_far<L: Lanes>(x: L, near: L::Mask, r: L, k: L::Bits) -> L {
    let (mut xs, mut rs, mut ks) = ([0.0; FAR], [0.0; FAR], [0; FAR]);
    assert!(L::N <= FAR);
    x.store(&mut xs);
    reduce_far(&xs, &mut rs, &mut ks);
    let r = L::select(near, r, L::load(&rs));
    let k = L::bits_select(near, k, L::bits_load(&ks));
    canonical(x.abs().lt(L::splat(f32::INFINITY)), sin_reduced(x, r, k))
}

/// Payne and Hanek's reduction: `|x| = r + k pi` with |r| <= pi/2, for every finite |x| above [`SIN_NEAR`];
/// of `k` only the low bit. The other elements of `r` and `k` stay.
///
/// Source: Payne and Hanek, "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983.
#[cold]
#[inline(never)]
fn reduce_far(x: &[f32; FAR], r: &mut [f32; FAR], k: &mut [u32; FAR]) {
    /// 1/(16 pi), the 224 bits after the point.
    const INVERSE: [u32; 7] =
        [0x0517_cc1b, 0x7272_20a9, 0x4fe1_3abe, 0x8fa9_a6ee, 0x06db_14ac, 0xc9e2_1c82, 0x0ff2_8b1d];
    /// pi * 2^62
    const PI_62: u64 = 0xc90f_daa2_2168_c234;

    for i in 0..FAR {
        let bits = x[i].to_bits() & !SIGN;
        let exponent = bits >> 23;
        if !(x[i].abs() > SIN_NEAR && exponent < 255) {
            continue;
        }
        // |x| = mantissa * 2^(exponent - 150), so of 1/pi only the bits from weight 2^(150 - exponent) down tell
        // |x|/pi modulo 2. INVERSE begins with weight 2^3, the first that the least exponent here, 147, needs.
        let mantissa = u64::from(bits & 0x007f_ffff | 0x0080_0000);
        let (word, shift) = ((exponent - 147) as usize / 32, (exponent - 147) % 32);
        let window = |j: usize| {
            let pair = u64::from(INVERSE[word + j]) << 32 | u64::from(INVERSE[word + j + 1]);
            (pair << shift) >> 32
        };
        // |x|/pi modulo 2 in units of 2^-63, short by less than two of them. No f32 comes so near a multiple of
        // pi that less than 34 significant bits are left.
        let quotient = ((mantissa * window(0)) << 32)
            .wrapping_add(mantissa * window(1))
            .wrapping_add((mantissa * window(2)) >> 32);
        // The fraction goes to [-1/2, 1/2) in units of 2^-64, and what it takes up or down goes to k.
        let fraction = (quotient << 1) as i64;
        k[i] = (quotient >> 63) as u32 ^ (fraction < 0) as u32;
        let high = (u128::from(fraction.unsigned_abs()) * u128::from(PI_62)) >> 64;
        let magnitude = high as u64 as f32 * (1.0 / (1u64 << 62) as f32);
        r[i] = if fraction < 0 { -magnitude } else { magnitude };
    }
}

/// The exponential; infinity above 88.72, through the denormals to 0 below -87.33.
///
/// Worst error: 0.90 ulp.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    let (y, n) = exp_reduced(x.max(L::splat(EXP_ZERO)).min(L::splat(EXP_INFINITE)), BIAS_TWICE);
    canonical(x.eq(x), scale(y, n))
}

/// Below this the exponential rounds to 0.
const EXP_ZERO: f32 = -104.0;
/// From here on the exponential rounds to infinity.
const EXP_INFINITE: f32 = 89.0;

/// `(y, n)` with `exp(x) = y * 2^n`, y in about [0.7, 1.42] and `n + offset` in the low 22 bits of the second.
#[inline(always)]
fn exp_reduced<L: Lanes>(x: L, offset: f32) -> (L, L::Bits) {
    let rounded = x.mul_add(L::splat(LOG2_E), L::splat(ROUND + offset));
    let n = rounded.sub(L::splat(ROUND + offset));
    let r = n.mul_add(L::splat(-LN_2), x);
    let r = n.mul_add(L::splat(-LN_2_LOW), r);
    let one = L::splat(1.0);
    (polynomial(r, &EXP).mul_add(r, one).mul_add(r, one), rounded.to_bits())
}

/// Twice the exponent bias of f32: what [`scale`] wants added to n.
const BIAS_TWICE: f32 = 254.0;

/// `y * 2^n` with one rounding, for n in -152..=130 given as `n + 254` in the low bits: two powers of two,
/// the first of which loses nothing.
#[inline(always)]
fn scale<L: Lanes>(y: L, n: L::Bits) -> L {
    let half = L::bits_shr::<1>(n);
    let rest = L::bits_sub(n, half);
    // The shifts push out what stands above the exponents.
    y.mul(L::from_bits(L::bits_shl::<23>(half))).mul(L::from_bits(L::bits_shl::<23>(rest)))
}

/// 2^x; exact at integers, infinity from 128, through the denormals to 0 below -149.
///
/// Worst error: 0.92 ulp.
#[inline(always)]
pub fn exp2<L: Lanes>(x: L) -> L {
    let c = x.max(L::splat(-151.0)).min(L::splat(129.0));
    let rounded = c.add(L::splat(ROUND + BIAS_TWICE));
    let r = c.sub(rounded.sub(L::splat(ROUND + BIAS_TWICE)));
    let y = polynomial(r, &EXP2).mul_add(r, L::splat(1.0));
    canonical(x.eq(x), scale(y, rounded.to_bits()))
}

/// The logarithm to base 2; exact at powers of two, -infinity at 0 and -0, NaN below.
///
/// Worst error: 2.07 ulp.
#[inline(always)]
pub fn log2<L: Lanes>(x: L) -> L {
    let tiny = x.lt(L::splat(f32::MIN_POSITIVE));
    let normal = L::select(tiny, x.mul(L::splat(16_777_216.0)), x).to_bits();
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2)): the bits of sqrt(1/2) are subtracted, 2^7 exponents added to stay positive.
    let shifted = L::bits_add(normal, L::bits_splat(0x4000_0000 - SQRT_HALF));
    let m = L::bits_sub(normal, L::bits_and(shifted, L::bits_splat(0xff80_0000)));
    let m = L::from_bits(L::bits_add(m, L::bits_splat(0x4000_0000)));
    let e = L::from_i32(L::bits_shr::<23>(shifted)).sub(L::select(tiny, L::splat(128.0 + 24.0), L::splat(128.0)));
    let f = m.sub(L::splat(1.0));
    let y = f.mul_add(polynomial(f, &LOG2), e);

    let infinity = L::splat(f32::INFINITY);
    let y = L::select(x.eq(infinity), infinity, y);
    let zero = L::splat(0.0);
    let y = L::select(x.eq(zero), infinity.neg(), y);
    canonical(zero.le(x), y)
}

/// The bits of the f32 nearest sqrt(1/2).
const SQRT_HALF: u32 = 0x3f35_04f3;

/// The n-th root of x >= 0, n >= 1; NaN below 0. Where n is a power of two it is square roots alone, else
/// `exp2(log2(x) / n)`. `n` is exact up to 2^24.
///
/// Worst error: 1.12 ulp for n = 16. For n = 11, 2.8 ulp from 2^-24 to 2 and 13.5 ulp at the denormals, where the
/// logarithm is large and its rounding with it.
#[inline(always)]
pub fn root<L: Lanes>(x: L, n: u32) -> L {
    let mut y = x;
    if n.is_power_of_two() {
        for _ in 0..n.trailing_zeros() {
            y = y.sqrt();
        }
    } else {
        y = exp2(log2(x).div(L::splat(n as f32)));
    }
    canonical(L::splat(0.0).le(x), y)
}

/// `base^-n` as `exp2(-n log2(base))`, for base >= 1 (infinity included) and n >= 1, exact up to 2^24.
///
/// Worst error for n = 11: 1.4 * 2^-24, and some 110 ulp where the result is small.
#[inline(always)]
pub fn pow_neg<L: Lanes>(base: L, n: u32) -> L {
    exp2(log2(base).mul(L::splat(-(n as f32))))
}

/// The CPPN's sigmoid, `2 / (1 + exp(-p)) - 1` = tanh(p/2), as `(1 - e) / (1 + e)` with e = exp(-|p|) and p's sign.
/// Odd, -0 included; in [-1, 1].
///
/// Worst error: 2.5 ulp.
#[inline(always)]
pub fn sigmoid<L: Lanes>(p: L) -> L {
    canonical(p.eq(p), bounded::sigmoid(p))
}

/// The CPPN's Gaussian, `exp(-(p * p))`, but 0 where that is less than 2^-126.5: processors take their time over
/// denormals, and a Gaussian is mostly its tails. In [0, 1].
///
/// Worst error: 0.9 * 2^-24; the rounding of p * p makes that some 65 ulp where the result is small.
#[inline(always)]
pub fn gaussian<L: Lanes>(p: L) -> L {
    canonical(p.eq(p), bounded::gaussian(p))
}

/// The CPPN's linear function: p clipped to [-3, 3], times the f32 nearest 1/3.
///
/// In [-1, 1]: that f32 exceeds 1/3 by so little that 3 times it rounds to 1, and rounding keeps the order.
/// Worst error: 0.67 ulp.
#[inline(always)]
pub fn clipped_linear<L: Lanes>(p: L) -> L {
    canonical(p.eq(p), bounded::clipped_linear(p))
}

/// The functions of a CPPN of numbers up to [`bounded::MOST`], as its sums are: the same bits, with no care for
/// NaN and the far range of the sine.
pub mod bounded {
    use super::*;

    /// The largest |p|.
    pub const MOST: f32 = SIN_NEAR;

    /// [`super::sin`]
    #[inline(always)]
    pub fn sin<L: Lanes>(p: L) -> L {
        let (r, k) = reduce_near(p.abs());
        sin_reduced(p, r, k)
    }

    /// [`super::sigmoid`], for any number.
    #[inline(always)]
    pub fn sigmoid<L: Lanes>(p: L) -> L {
        // From |p| = 17.4 on the result is 1. Up to 20 the low part of ln(2) stays far below the last bit of 1 - e.
        let x = L::from_bits(L::bits_or(p.to_bits(), L::bits_splat(SIGN)));
        let c = x.max(L::splat(-20.0));
        // e = s (1 + q), s = 2^n: so 1 - e = (1 - s) - s q keeps its digits where p is small. The exponent bias, and
        // beyond it one bit more, which becomes the sign: it is -s that is wanted.
        const OFFSET: f32 = 127.0 + 256.0;
        let rounded = c.mul_add(L::splat(LOG2_E), L::splat(ROUND + OFFSET));
        let n = rounded.sub(L::splat(ROUND + OFFSET));
        let r = n.mul_add(L::splat(-LN_2), c);
        let q = r.mul(r).mul_add(polynomial(r, &EXP), r);
        let minus_s = L::from_bits(L::bits_shl::<23>(rounded.to_bits()));
        let numerator = minus_s.mul_add(q, L::splat(1.0).add(minus_s));
        let y = numerator.div(L::splat(2.0).sub(numerator));
        let sign = L::bits_and(p.to_bits(), L::bits_splat(SIGN));
        L::from_bits(L::bits_or(y.to_bits(), sign))
    }

    /// [`super::gaussian`], for any number.
    #[inline(always)]
    pub fn gaussian<L: Lanes>(p: L) -> L {
        // At -88 n is -127, and an exponent field of n + 127 = 0 is the number 0.
        let (y, n) = exp_reduced(p.mul(p).neg().max(L::splat(-88.0)), 127.0);
        y.mul(L::from_bits(L::bits_shl::<23>(n)))
    }

    /// [`super::clipped_linear`], for any number.
    #[inline(always)]
    pub fn clipped_linear<L: Lanes>(p: L) -> L {
        p.max(L::splat(-3.0)).min(L::splat(3.0)).mul(L::splat(1.0 / 3.0))
    }
}

/// `valid ? y : NaN`, the one NaN.
#[inline(always)]
fn canonical<L: Lanes>(valid: L::Mask, y: L) -> L {
    L::select(valid, y, L::splat(f32::from_bits(NAN)))
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule, each step fused.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(x: L, c: &[f32; N]) -> L {
    let mut y = L::splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, L::splat(c[i]));
    }
    y
}

/// The same functions of one number: one lane of the same source, so the same bits.
pub mod scalar {
    use crate::simd::{Lanes, Plain};

    #[inline(always)]
    fn one(y: Plain) -> f32 {
        let mut lanes = [0.0; Plain::N];
        y.store(&mut lanes);
        lanes[0]
    }

    /// [`super::sin`]
    pub fn sin(x: f32) -> f32 {
        one(super::sin(Plain::splat(x)))
    }

    /// [`super::exp`]
    pub fn exp(x: f32) -> f32 {
        one(super::exp(Plain::splat(x)))
    }

    /// [`super::exp2`]
    pub fn exp2(x: f32) -> f32 {
        one(super::exp2(Plain::splat(x)))
    }

    /// [`super::log2`]
    pub fn log2(x: f32) -> f32 {
        one(super::log2(Plain::splat(x)))
    }

    /// [`super::root`]
    pub fn root(x: f32, n: u32) -> f32 {
        one(super::root(Plain::splat(x), n))
    }

    /// [`super::pow_neg`]
    pub fn pow_neg(base: f32, n: u32) -> f32 {
        one(super::pow_neg(Plain::splat(base), n))
    }
}
