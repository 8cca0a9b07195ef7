// hash.cuh: the hashes of the archive. All arithmetic is on 64 bits and wraps.
//
// Numbers   integers: exact.
// Twin      src/archive.rs, whose text says what is hashed.
#pragma once

#include "common/device.cuh"

// The finaliser of SplitMix64.
static __device__ __forceinline__ uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// What word `i` of an elite, `word`, adds to the sum that is hashed: a sum, so that any number of threads may make it.
static __device__ __forceinline__ uint64_t content_term(uint64_t i, uint32_t word) { return mix(i << 32 | word); }

// The content hash of `n` words whose terms add up to `sum`.
static __device__ __forceinline__ uint64_t content_hash(uint64_t n, uint64_t sum) { return mix(n + sum); }
