// math.cuh: elementary functions of the one arithmetic: the bits that src/math.rs gives, for every input.
//
// Each is the sequence of IEEE additions, multiplications, fused multiply-adds, divisions, square roots and integer
// operations that src/math.rs has; what they are, their domains and worst errors stand there. A NaN gives the one
// NaN 0x7fc00000.
//
// Cost      instructions on sm_90a, as compiled: sin 21 (75 above 2^20), exp 22, exp2 20, log2 28, sigmoid 33, gaussian 18,
//           clipped_linear 5; a division 11, a square root 9.
// Numbers   exact.
// Twin      src/math.rs; tests/cuda/elementary.rs compares results and tables.
#pragma once

#include "common/device.cuh"

static __device__ __forceinline__ uint32_t bits_of(float x) {
    return __float_as_uint(x);
}

static __device__ __forceinline__ float of_bits(uint32_t bits) {
    return __uint_as_float(bits);
}

static __device__ __forceinline__ float absolute(float x) {
    return of_bits(bits_of(x) & 0x7fffffffu);
}

// The project's one maximum: of two zeros, or where either is NaN, b.
static __device__ __forceinline__ float maximum(float a, float b) {
    return a > b ? a : b;
}

// See maximum.
static __device__ __forceinline__ float minimum(float a, float b) {
    return a < b ? a : b;
}

namespace math {

constexpr uint32_t SIGN = 0x80000000u;
constexpr uint32_t NOT_A_NUMBER = 0x7fc00000u;
constexpr uint32_t INFINITE = 0x7f800000u;

// 1.5 * 2^23. Adding it rounds |x| < 2^22 to an integer, which then stands in the low bits of the sum.
constexpr float ROUND = 12582912.0f;

constexpr float PI = 3.14159265f;
constexpr float FRAC_1_PI = 0.318309886f;
constexpr float LN_2 = 0.693147181f;
constexpr float LOG2_E = 1.44269504f;

// pi = PI + PI_MID + PI_LOW to 75 bits.
constexpr float PI_MID = -8.742278e-8f;
constexpr float PI_LOW = -3.430249e-15f;
// ln(2) = LN_2 + LN_2_LOW to 52 bits.
constexpr float LN_2_LOW = -1.9046542e-9f;

constexpr float SIN_NEAR = 1048576.0f;
constexpr float EXP_ZERO = -104.0f;
constexpr float EXP_INFINITE = 89.0f;
// Twice the exponent bias of f32: what scale wants added to n.
constexpr float BIAS_TWICE = 254.0f;
constexpr uint32_t SQRT_HALF = 0x3f3504f3u;

// `valid ? y : NaN`, the one NaN.
static __device__ __forceinline__ float canonical(bool valid, float y) {
    return valid ? y : of_bits(NOT_A_NUMBER);
}

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule, each step fused.
template <int N>
static __device__ __forceinline__ float polynomial(float x, const float (&c)[N]) {
    float y = c[N - 1];
#pragma unroll
    for (int i = N - 2; i >= 0; --i) { y = fmaf(y, x, c[i]); }
    return y;
}

// The tables stand inside functions, where device code may read them.
static __device__ __forceinline__ float sin_polynomial(float square) {
    constexpr float SIN[4] = {-0.16666658f, 0.0083330255f, -0.00019806404f, 2.5983145e-6f};
    return polynomial(square, SIN);
}

static __device__ __forceinline__ float exp_polynomial(float r) {
    constexpr float EXP[5] = {0.49999994f, 0.16666517f, 0.041668102f, 0.008369193f, 0.0013838927f};
    return polynomial(r, EXP);
}

static __device__ __forceinline__ float exp2_polynomial(float r) {
    constexpr float EXP2[6] = {LN_2, 0.24022594f, 0.055503663f, 0.009625446f, 0.0013387928f, 0.00013331929f};
    return polynomial(r, EXP2);
}

static __device__ __forceinline__ float log2_polynomial(float f) {
    constexpr float LOG2[9] = {LOG2_E, -0.72134733f, 0.48091063f, -0.3607037f, 0.28791615f,
                               -0.23894514f, 0.21571636f, -0.20726825f, 0.12577341f};
    return polynomial(f, LOG2);
}

// Word `word + j` of 1/(16 pi), the 224 bits after the point, for word in 0..=3. By comparisons: a table that is
// indexed at run time would go to local memory.
template <int J>
static __device__ __forceinline__ uint64_t inverse_word(uint32_t word) {
    constexpr uint32_t INVERSE[7] = {0x0517cc1b, 0x727220a9, 0x4fe13abe, 0x8fa9a6ee, 0x06db14ac, 0xc9e21c82, 0x0ff28b1d};
    const uint32_t low = word & 1 ? INVERSE[J + 1] : INVERSE[J];
    const uint32_t high = word & 1 ? INVERSE[J + 3] : INVERSE[J + 2];
    return word & 2 ? high : low;
}

// Payne and Hanek's reduction: a = r + k pi with |r| <= pi/2, for finite a > SIN_NEAR; of k only the low bit.
static __device__ __forceinline__ void reduce_far(float a, float& r, uint32_t& k) {
    constexpr uint64_t PI_62 = 0xc90fdaa22168c234u;  // pi * 2^62
    const uint32_t bits = bits_of(a);
    // a = mantissa * 2^(exponent - 150), so of 1/pi only the bits from weight 2^(150 - exponent) down tell a/pi modulo 2.
    // INVERSE begins with weight 2^3, the first that the least exponent here, 147, needs.
    const uint64_t mantissa = (bits & 0x007fffffu) | 0x00800000u;
    const uint32_t from = (bits >> 23) - 147;
    const uint32_t word = from / 32;
    const uint32_t shift = from % 32;
    const uint64_t w0 = inverse_word<0>(word), w1 = inverse_word<1>(word), w2 = inverse_word<2>(word), w3 = inverse_word<3>(word);
    const uint64_t window0 = ((w0 << 32 | w1) << shift) >> 32;
    const uint64_t window1 = ((w1 << 32 | w2) << shift) >> 32;
    const uint64_t window2 = ((w2 << 32 | w3) << shift) >> 32;
    // a/pi modulo 2 in units of 2^-63.
    const uint64_t quotient = ((mantissa * window0) << 32) + mantissa * window1 + ((mantissa * window2) >> 32);
    // The fraction goes to [-1/2, 1/2) in units of 2^-64, and what it takes up or down goes to k.
    const uint64_t fraction = quotient << 1;
    const bool negative = fraction >> 63;
    k = uint32_t(quotient >> 63) ^ uint32_t(negative);
    const float magnitude = float(__umul64hi(negative ? 0 - fraction : fraction, PI_62)) * (1.0f / float(uint64_t(1) << 62));
    r = negative ? -magnitude : magnitude;
}

// (y, n) with exp(x) = y * 2^n and `n + offset` in the low 22 bits of the second.
struct Scaled {
    float y;
    uint32_t n;
};

static __device__ __forceinline__ Scaled exp_reduced(float x, float offset) {
    const float rounded = fmaf(x, LOG2_E, ROUND + offset);
    const float n = rounded - (ROUND + offset);
    float r = fmaf(n, -LN_2, x);
    r = fmaf(n, -LN_2_LOW, r);
    return {fmaf(fmaf(exp_polynomial(r), r, 1.0f), r, 1.0f), bits_of(rounded)};
}

// y * 2^n with one rounding, for n given as n + 254 in the low bits.
static __device__ __forceinline__ float scale(float y, uint32_t n) {
    const uint32_t half = n >> 1;
    const uint32_t rest = n - half;
    // The shifts push out what stands above the exponents.
    return y * of_bits(half << 23) * of_bits(rest << 23);
}

static __device__ __forceinline__ float sin(float x) {
    const float a = absolute(x);
    const float rounded = fmaf(a, FRAC_1_PI, ROUND);
    const float turns = rounded - ROUND;
    float r = fmaf(turns, -PI, a);
    r = fmaf(turns, -PI_MID, r);
    r = fmaf(turns, -PI_LOW, r);
    uint32_t k = bits_of(rounded);
    if (!(a <= SIN_NEAR)) {
        if (!(a < of_bits(INFINITE))) { return of_bits(NOT_A_NUMBER); }
        reduce_far(a, r, k);
    }
    const float square = r * r;
    const float y = fmaf(r * square, sin_polynomial(square), r);
    return of_bits(bits_of(y) ^ (k << 31) ^ (bits_of(x) & SIGN));
}

static __device__ __forceinline__ float exp(float x) {
    const Scaled e = exp_reduced(minimum(maximum(x, EXP_ZERO), EXP_INFINITE), BIAS_TWICE);
    return canonical(x == x, scale(e.y, e.n));
}

static __device__ __forceinline__ float exp2(float x) {
    const float c = minimum(maximum(x, -151.0f), 129.0f);
    const float rounded = c + (ROUND + BIAS_TWICE);
    const float r = c - (rounded - (ROUND + BIAS_TWICE));
    const float y = fmaf(exp2_polynomial(r), r, 1.0f);
    return canonical(x == x, scale(y, bits_of(rounded)));
}

static __device__ __forceinline__ float log2(float x) {
    constexpr float MIN_POSITIVE = 1.17549435e-38f;
    const bool tiny = x < MIN_POSITIVE;
    const uint32_t normal = bits_of(tiny ? x * 16777216.0f : x);
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
    const uint32_t shifted = normal + (0x40000000u - SQRT_HALF);
    const float m = of_bits(normal - (shifted & 0xff800000u) + 0x40000000u);
    const float e = float(int32_t(shifted >> 23)) - (tiny ? 128.0f + 24.0f : 128.0f);
    const float f = m - 1.0f;
    float y = fmaf(f, log2_polynomial(f), e);
    const float infinity = of_bits(INFINITE);
    y = x == infinity ? infinity : y;
    y = x == 0.0f ? -infinity : y;
    return canonical(0.0f <= x, y);
}

// The n-th root of x >= 0, n >= 1.
static __device__ __forceinline__ float root(float x, uint32_t n) {
    float y = x;
    if ((n & (n - 1)) == 0) {
        for (uint32_t left = n; left > 1; left >>= 1) { y = sqrtf(y); }
    } else {
        y = exp2(log2(x) / float(n));
    }
    return canonical(0.0f <= x, y);
}

// base^-n, for base >= 1 and n >= 1.
static __device__ __forceinline__ float pow_neg(float base, uint32_t n) {
    return exp2(log2(base) * -float(n));
}

// The CPPN's functions.
static __device__ __forceinline__ float sigmoid(float p) {
    const float x = of_bits(bits_of(p) | SIGN);
    const float c = maximum(x, -20.0f);
    // The exponent bias, and beyond it one bit more, which becomes the sign: it is -s that is wanted.
    constexpr float OFFSET = 127.0f + 256.0f;
    const float rounded = fmaf(c, LOG2_E, ROUND + OFFSET);
    const float n = rounded - (ROUND + OFFSET);
    const float r = fmaf(n, -LN_2, c);
    const float q = fmaf(r * r, exp_polynomial(r), r);
    const float minus_s = of_bits(bits_of(rounded) << 23);
    const float numerator = fmaf(minus_s, q, 1.0f + minus_s);
    const float y = numerator / (2.0f - numerator);
    return canonical(p == p, of_bits(bits_of(y) | (bits_of(p) & SIGN)));
}

static __device__ __forceinline__ float gaussian(float p) {
    const float x = -(p * p);
    const Scaled e = exp_reduced(maximum(x, -88.0f), 127.0f);
    return canonical(x == x, e.y * of_bits(e.n << 23));
}

static __device__ __forceinline__ float clipped_linear(float p) {
    const float clipped = minimum(maximum(p, -3.0f), 3.0f);
    return canonical(p == p, clipped * (1.0f / 3.0f));
}

}  // namespace math
