// The one arithmetic (src/math.rs) in JavaScript, whose numbers are f64: the same bits.
//
// A sum, product, quotient or square root of two f32 computed in f64 and then rounded to f32 is rounded as if once (Figueroa 1995). That does
// not hold for the fused multiply-add, whose product has up to 48 bits: see fma.

const f32 = Math.fround;

/** a b + c with one rounding, of three f32. */
function fma(a, b, c) {
    const product = a * b; // exact
    const sum = product + c;
    const near = f32(sum);
    const rest = sum - near;
    // Only where the f64 lies halfway between two f32 can the two roundings differ from one; there, sum + rest is the other neighbour.
    return rest !== 0 && f32(sum + rest) === sum + rest ? halfway(product, c, sum, near, rest) : near;
}

/** Of the two f32 around `sum`, the one on the side of what `sum` lost in its own rounding. */
function halfway(product, c, sum, near, rest) {
    const part = sum - product;
    const lost = product - (sum - part) + (c - part); // exact: Knuth's TwoSum
    return lost !== 0 && Number.isFinite(near) && lost > 0 === rest > 0 ? sum + rest : near;
}

const LOG2_E = f32(Math.LOG2E);
const LN_2 = f32(Math.LN2);
const LN_2_LOW = f32(-1.9046542e-9);
const INVERSE_PI = f32(1 / Math.PI);
const PI = f32(Math.PI);
const PI_MID = f32(-8.742278e-8);
const PI_LOW = f32(-3.430249e-15);
const THIRD = f32(1 / 3);

/** 1.5 * 2^23: adding it rounds to an integer. */
const ROUND = 12582912;

const SIN = [-0.16666658, 0.0083330255, -0.00019806404, 2.5983145e-6].map(f32);
const EXP = [0.49999994, 0.16666517, 0.041668102, 0.008369193, 0.0013838927].map(f32);

/** `EXP[0] + EXP[1] r + ...`; written out, as this is where the time goes. */
function exponentialPolynomial(r) {
    return fma(fma(fma(fma(EXP[4], r, EXP[3]), r, EXP[2]), r, EXP[1]), r, EXP[0]);
}

/** The largest |p| whose multiple of pi three fused operations take off. */
const SINE_NEAR = 1048576;

function sine(p) {
    const a = Math.abs(p);
    let r;
    let odd;
    if (a <= SINE_NEAR) {
        const k = fma(a, INVERSE_PI, ROUND) - ROUND;
        r = fma(k, -PI_LOW, fma(k, -PI_MID, fma(k, -PI, a)));
        odd = k & 1;
    } else {
        [r, odd] = reduceFar(a);
    }
    const square = f32(r * r);
    const polynomial = fma(fma(fma(SIN[3], square, SIN[2]), square, SIN[1]), square, SIN[0]);
    const y = fma(f32(r * square), polynomial, r);
    return (odd === 1) === (p < 0) ? y : -y;
}

/** pi * 2^128. */
const PI_128 = 0x3_243f6a88_85a308d3_13198a2e_03707344n;

/** `[r, k & 1]` with a = r + k pi and |r| <= pi/2, for a finite f32 a: it is an integer here, so big integers say it. */
function reduceFar(a) {
    if (!Number.isFinite(a)) {
        return [NaN, 0];
    }
    const scaled = BigInt(a) << 128n;
    const k = (2n * scaled + PI_128) / (2n * PI_128);
    return [f32(Number(scaled - k * PI_128) / 2 ** 128), Number(k & 1n)];
}

/** 2^n by n + 127: what a shift into the exponent of an f32 makes of it, 0 at n = -127. */
const POWERS = Float32Array.from({ length: 160 }, (_, exponent) => (exponent === 0 ? 0 : 2 ** (exponent - 127)));

/** 2 / (1 + exp(-p)) - 1 */
function sigmoid(p) {
    const c = Math.max(-Math.abs(p), -20);
    const offset = ROUND + 127 + 256;
    const n = fma(c, LOG2_E, offset) - offset;
    const r = fma(n, -LN_2, c);
    const q = fma(f32(r * r), exponentialPolynomial(r), r);
    const minus = -POWERS[n + 127];
    const numerator = fma(minus, q, f32(1 + minus));
    const y = f32(numerator / f32(2 - numerator));
    return p < 0 ? -y : y;
}

/** exp(-p p) */
function gaussian(p) {
    const x = Math.max(-f32(p * p), -88);
    const offset = ROUND + 127;
    const n = fma(x, LOG2_E, offset) - offset;
    const r = fma(n, -LN_2_LOW, fma(n, -LN_2, x));
    const y = fma(fma(exponentialPolynomial(r), r, 1), r, 1);
    return f32(y * POWERS[n + 127]);
}

/** p clipped to [-3, 3], by 3. */
function clipped(p) {
    return f32(Math.min(Math.max(p, -3), 3) * THIRD);
}

const ACTIVATIONS = { sine, sigmoid, gaussian, linear: clipped };

/** The shortest decimal that names an f32. */
function shortest(value) {
    for (let digits = 1; digits < 9; digits++) {
        const text = value.toPrecision(digits);
        if (f32(Number(text)) === value) {
            return String(Number(text));
        }
    }
    return String(Number(value.toPrecision(9)));
}
