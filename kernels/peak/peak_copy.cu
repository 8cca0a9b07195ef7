// peak_copy.cu: copies memory to memory: how many bytes the device moves at most.
//
//   out  target  (n_words) u32
//   in   source  (n_words) u32    n_words a multiple of 4
//
// Mapping   threads stride over quads of words, PEAK_UNROLLED of them under way at a time; blocks are as many as fill the device, fewer
//           where there is less to copy.
// Cost      4 n_words bytes read and as many written; a quad takes 5 instructions.
// Predicted 2.9e12 bytes/s at 1073741824 on an H100: 87 % of the 3.35 TB/s of its HBM3, which also turns between reading and
//           writing. Bytes read and bytes written count.
// Numbers   exact: nothing is computed.
// Twin      experiment::bench::gpu::peaks, which compares all words; compared in tests/cuda/peak.rs.
#include "common/device.cuh"

extern "C" __global__ void __launch_bounds__(PEAK_THREADS)
peak_copy_u32(uint32_t* __restrict__ target, const uint32_t* __restrict__ source, uint64_t n_words) {
    const uint4* from = reinterpret_cast<const uint4*>(source);
    uint4* to = reinterpret_cast<uint4*>(target);
    const uint64_t n_quads = n_words / 4;
    const uint64_t stride = uint64_t(gridDim.x) * PEAK_THREADS;
    uint64_t at = uint64_t(blockIdx.x) * PEAK_THREADS + threadIdx.x;
    for (; at + (PEAK_UNROLLED - 1) * stride < n_quads; at += PEAK_UNROLLED * stride) {
        uint4 quad[PEAK_UNROLLED];  // all loads are under way before the first is stored
#pragma unroll
        for (int i = 0; i < PEAK_UNROLLED; ++i) { quad[i] = from[at + i * stride]; }
#pragma unroll
        for (int i = 0; i < PEAK_UNROLLED; ++i) { to[at + i * stride] = quad[i]; }
    }
    for (; at < n_quads; at += stride) { to[at] = from[at]; }
}
