// warp.cuh: what the threads of a warp and of a block find out together.
//
// Numbers   comparisons, and integer sums: exact, whatever the launch shape.
#pragma once

#include "common/device.cuh"

#include <math.h>

// A candidate for the highest fitness of a row.
struct Best {
    float fitness;
    uint32_t index;  // its column; UINT32_MAX for none
};

// Beaten by every number, and by no NaN.
static __device__ __forceinline__ Best nobody() { return {-INFINITY, UINT32_MAX}; }

// The better of two, the lower index on a tie. A NaN never wins as long as neither fitness is one.
static __device__ __forceinline__ Best join(Best a, Best b) {
    return b.fitness > a.fitness || (b.fitness == a.fitness && b.index < a.index) ? b : a;
}

static __device__ __forceinline__ uint64_t join(uint64_t a, uint64_t b) { return a + b; }

static __device__ __forceinline__ Best shuffle_xor(Best value, int lanes) {
    return {__shfl_xor_sync(FULL_WARP, value.fitness, lanes), __shfl_xor_sync(FULL_WARP, value.index, lanes)};
}

static __device__ __forceinline__ uint64_t shuffle_xor(uint64_t value, int lanes) {
    return __shfl_xor_sync(FULL_WARP, static_cast<unsigned long long>(value), lanes);
}

// All lanes' values joined, for every lane. The whole warp calls it.
template <typename T>
static __device__ __forceinline__ T warp_join(T value) {
#pragma unroll
    for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) { value = join(value, shuffle_xor(value, lanes)); }
    return value;
}

// All threads' values joined, for every thread. The whole block of THREADS, which are full warps, calls it. What a thread wrote
// to memory before, all may read afterwards.
template <int THREADS, typename T>
static __device__ __forceinline__ T block_join(T value) {
    constexpr int WARPS = THREADS / WARP_SIZE;
    static_assert(THREADS % WARP_SIZE == 0 && WARPS <= WARP_SIZE, "full warps, and no more than one can join");
    __shared__ T smem_joined[WARPS];
    value = warp_join(value);
    if (threadIdx.x % WARP_SIZE == 0) { smem_joined[threadIdx.x / WARP_SIZE] = value; }
    __syncthreads();  // all warps' values are there
    value = smem_joined[0];
#pragma unroll
    for (int warp = 1; warp < WARPS; ++warp) { value = join(value, smem_joined[warp]); }
    __syncthreads();  // all have read them: the next call may write
    return value;
}
