// colour.cuh: from phenotype values to bytes (spec 4.1 and 5.7).
//
// Numbers   exact.
// Twin      src/genome/mod.rs, src/genome/colour.rs
#pragma once

#include "common/math.cuh"

namespace colour {

// The 8-bit pixel of a value in [-1, 1]: trunc(255 |value|).
static __device__ __forceinline__ uint32_t pixel(float value) {
    return uint32_t(int32_t(255.0f * absolute(value)));
}

// The value of the sector of the hue circle that `h`, in [0, 6), lies in.
static __device__ __forceinline__ float of_sector(float h, float v0, float v1, float v2, float v3, float v4, float v5) {
    return h < 1.0f ? v0 : h < 2.0f ? v1 : h < 3.0f ? v2 : h < 4.0f ? v3 : h < 5.0f ? v4 : v5;
}

// 255 times `value`, rounded half to even; within 0..=255 for all that hls_to_rgb makes.
static __device__ __forceinline__ uint8_t to_byte(float value) {
    constexpr float SHIFT = 8388608.0f;  // adding 2^23 leaves no fraction bits: the addition itself rounds
    return uint8_t(int32_t(255.0f * value + SHIFT - SHIFT));
}

struct Rgb {
    uint8_t red;
    uint8_t green;
    uint8_t blue;
};

// 8-bit HLS to RGB as OpenCV does it, in single precision, for whole numbers of 0..=255.
static __device__ __forceinline__ Rgb hls_to_rgb(float hue, float lightness, float saturation) {
    constexpr float HUE_STEPS = 180.0f;  // of the 8-bit circle
    const float l = lightness / 255.0f;
    const float s = saturation / 255.0f;
    const float p2 = l <= 0.5f ? l * (1.0f + s) : (l + s) - l * s;
    const float p1 = (l + l) - p2;

    float h = hue * 6.0f / HUE_STEPS;  // at most 8.5: one turn to take off
    h = h < 6.0f ? h : h - 6.0f;
    const float fraction = h - float(int32_t(h));

    // With no saturation all four are l exactly, so grey needs no case of its own.
    const float t0 = p2;
    const float t1 = p1;
    const float t2 = p1 + (p2 - p1) * (1.0f - fraction);
    const float t3 = p1 + (p2 - p1) * fraction;
    return {to_byte(of_sector(h, t0, t2, t1, t1, t3, t0)), to_byte(of_sector(h, t3, t0, t0, t2, t1, t1)),
            to_byte(of_sector(h, t1, t1, t3, t0, t0, t2))};
}

}  // namespace colour
