// peak_fma.cu: chains of fused multiply-adds in registers: how many the device makes at most.
//
//   out  rests   (gridDim.x * PEAK_FMA_THREADS) f32    the sum of a thread's chains: 2 * PEAK_FMA_CHAINS
//   in   factor  0.5, summand  1: arguments, so that the compiler knows neither
//        n_links a multiple of PEAK_FMA_UNROLLED, at least 64
//
// Mapping   one thread PEAK_FMA_CHAINS chains x = x * factor + summand from 0, 1, 2 and so on, which come to rest at 2 within 32 links.
// Cost      PEAK_FMA_CHAINS * n_links multiply-adds a thread, and 4 bytes written. Of the 131 instructions of the loop (PTX) 128 are FFMA. A
//           scheduler has 16 warps of 8 chains, where a latency of 4 cycles asks for 4.
// Predicted 32e12 multiply-adds/s at 270336 on an H100: 132 SMs of 128 lanes at 1.98 GHz give 33.5e12; the loop takes 2 % of the
//           slots, start and end of the blocks another 2 %. The number is that of the threads.
// Numbers   exact: x / 2 + 1 comes to rest at 2 and nowhere else.
// Twin      experiment::bench::peaks; checked before and compared in tests/cuda/peak.rs.
#include "common/device.cuh"

extern "C" __global__ void __launch_bounds__(PEAK_FMA_THREADS)
peak_fma_f32(float* __restrict__ rests, float factor, float summand, uint32_t n_links) {
    float chain[PEAK_FMA_CHAINS];
#pragma unroll
    for (int c = 0; c < PEAK_FMA_CHAINS; ++c) { chain[c] = float(c); }  // equal chains could become one
#pragma unroll 1
    for (uint32_t link = 0; link < n_links; link += PEAK_FMA_UNROLLED) {
#pragma unroll
        for (int i = 0; i < PEAK_FMA_UNROLLED; ++i) {
#pragma unroll
            for (int c = 0; c < PEAK_FMA_CHAINS; ++c) { chain[c] = fmaf(chain[c], factor, summand); }
        }
    }
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < PEAK_FMA_CHAINS; ++c) { sum += chain[c]; }
    rests[blockIdx.x * PEAK_FMA_THREADS + threadIdx.x] = sum;
}
