// mutation.cuh: polynomial mutation, which both encodings share (spec 4.2).
//
// Cost      some 55 instructions with eta 15, whose root is four square roots (sm_90a, as compiled).
// Numbers   exact.
// Twin      src/genome/mutation.rs
#pragma once

#include "common/math.cuh"

// A gene brought back to [0, 1], by comparisons.
static __device__ __forceinline__ float clip(float gene) {
    gene = gene < 0.0f ? 0.0f : gene;
    return 1.0f < gene ? 1.0f : gene;
}

// Deb's basic polynomial mutation of a gene in [0, 1]; `unit` is a multiple of 2^-24 in [0, 1), so both bases are exact.
static __device__ __forceinline__ float polynomial_mutation(float gene, float unit, uint32_t eta) {
    const float rest = 1.0f - unit;
    const bool low = unit < 0.5f;
    const float root = math::root(low ? unit + unit : rest + rest, eta + 1);
    return clip(gene + (low ? root - 1.0f : 1.0f - root));
}
