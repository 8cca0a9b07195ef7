// peak_read.cu: reads memory once and adds it up: how many bytes the device reads at most.
//
//   out  sums   (gridDim.x) u64     of the words that a block reads, each a number of 32 bits
//   in   words  (n_words) u32       n_words a multiple of 4
//
// Mapping   threads stride over quads of words, PEAK_UNROLLED of them under way at a time; blocks are as many as fill the device.
// Cost      4 n_words bytes read, 8 a block written; a quad takes 9 instructions, of which an H100 issues twenty times what its
//           memory brings.
// Predicted 3.1e12 bytes/s at 1073741824 on an H100: 93 % of the 3.35 TB/s of its HBM3; the rest are refreshes and turns of rows.
// Numbers   exact: integers.
// Twin      experiment::bench::gpu::peaks, which knows the sum; compared in tests/cuda/peak.rs.
#include "common/warp.cuh"

namespace peak_read {

static __device__ __forceinline__ uint64_t sum(uint4 quad) { return uint64_t(quad.x) + quad.y + quad.z + quad.w; }

}  // namespace peak_read

extern "C" __global__ void __launch_bounds__(PEAK_THREADS)
peak_read_u32(uint64_t* __restrict__ sums, const uint32_t* __restrict__ words, uint64_t n_words) {
    const uint4* quads = reinterpret_cast<const uint4*>(words);
    const uint64_t n_quads = n_words / 4;
    const uint64_t stride = uint64_t(gridDim.x) * PEAK_THREADS;
    uint64_t sum = 0;
    uint64_t at = uint64_t(blockIdx.x) * PEAK_THREADS + threadIdx.x;
    for (; at + (PEAK_UNROLLED - 1) * stride < n_quads; at += PEAK_UNROLLED * stride) {
        uint4 quad[PEAK_UNROLLED];  // all loads are under way before the first is used
#pragma unroll
        for (int i = 0; i < PEAK_UNROLLED; ++i) { quad[i] = quads[at + i * stride]; }
#pragma unroll
        for (int i = 0; i < PEAK_UNROLLED; ++i) { sum += peak_read::sum(quad[i]); }
    }
    for (; at < n_quads; at += stride) { sum += peak_read::sum(quads[at]); }
    sum = block_join<PEAK_THREADS>(sum);
    if (threadIdx.x == 0) { sums[blockIdx.x] = sum; }
}
