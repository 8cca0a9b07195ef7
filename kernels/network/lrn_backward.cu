// lrn_backward.cu: the gradient of what a local response normalisation took.
//
//   out  out       (batch, to_image) f32, of which (channels, in_height, in_width) of each image are written
//   in   gradient  (batch, shape.out_image) f32: likewise, of the normalisation's output
//        value     (batch, shape.in_image) f32: likewise, what the normalisation took
//   rule: any odd size up to 63; factor: 2 * 0.75 * alpha / size. Grid: blocks of positions of all images, parts of LRN_CHANNELS
//   channels. Shared memory: 2 * rule.size * LRN_BACKWARD_THREADS floats.
//
// Mapping   a thread a position, which goes through channels ascending: what a channel sends, and its g / p, go into two rings of its
//           own in shared memory, of as many channels as a sum has. A part of channels begins and ends with half a sum of its
//           neighbours.
// Banks     no conflicts: neighbours write and read neighbouring words; no barriers: a thread reads what it wrote.
// Cost      12 bytes a value; 200 instructions as lrn.cu has them, and 60: of size 5, 5 reads from the L1 cache and 5 from shared memory.
//           Parts of 32 channels do 36.
// Predicted 1.2e5 images/s at 1024 on an H100: BVLC AlexNet's two, 477,024 values and an eighth more: 5 M instructions of a warp, 60 %
//           of the slots of 1.05e12 a second.
// Numbers   exact: s and p as lrn.cu has them; t = (g * (x / p)) / s; the sum of the t of the channels that exist, ascending from 0;
//           fma(-(factor * x), sum, g / p).
// Twin      backend::cpu; tests/cuda/backward.rs.
#include "common/device.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(LRN_BACKWARD_THREADS)
lrn_backward_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ value, PoolShape shape,
                 LrnRule rule, float factor, uint32_t to_image) {
    DYNAMIC_SHARED(float, smem);
    const uint32_t plane = shape.in_height * shape.in_width;
    const uint64_t at = uint64_t(blockIdx.x) * LRN_BACKWARD_THREADS + threadIdx.x;
    const uint32_t image = at / plane;
    if (image >= shape.batch) { return; }
    const uint32_t position = at - uint64_t(image) * plane;
    const float* x = value + size_t(image) * shape.in_image + position;
    const float* g = gradient + size_t(image) * shape.out_image + position;
    float* to = out + size_t(image) * to_image + position;
    const int channels = shape.channels;
    const int size = rule.size;
    const int half = size / 2;
    const int first = blockIdx.y * LRN_CHANNELS;
    const int last = min(first + LRN_CHANNELS, channels);
    float* smem_terms = smem + threadIdx.x;                                  // (size), LRN_BACKWARD_THREADS apart
    float* smem_quotients = smem_terms + size * LRN_BACKWARD_THREADS;        // likewise
    int slot = 0;  // of channel j, in both rings
#pragma unroll 1
    for (int j = first - half; j < last + half; ++j) {
        if (j >= 0 && j < channels) {
            float sum = 0.0f;
            const int end = min(j + half, channels - 1);
#pragma unroll 1
            for (int other = max(j - half, 0); other <= end; ++other) {
                const float near = x[size_t(other) * plane];
                sum = fmaf(near, near, sum);
            }
            const float s = fmaf(rule.scale, sum, rule.k);
            const float root = sqrtf(s);
            const float p = root * sqrtf(root);
            const float mine = g[size_t(j) * plane];
            const float y = x[size_t(j) * plane] / p;
            smem_terms[slot * LRN_BACKWARD_THREADS] = (mine * y) / s;
            smem_quotients[slot * LRN_BACKWARD_THREADS] = mine / p;
        }
        slot = slot + 1 == size ? 0 : slot + 1;  // of channel j + 1, and of j + 1 - size: the first of the sum
        const int channel = j - half;
        if (channel >= first) {
            float sum = 0.0f;
            int ring = slot;
            int middle = 0;
#pragma unroll 1
            for (int other = channel - half; other <= channel + half; ++other) {
                if (other >= 0 && other < channels) { sum = sum + smem_terms[ring * LRN_BACKWARD_THREADS]; }
                if (other == channel) { middle = ring; }
                ring = ring + 1 == size ? 0 : ring + 1;
            }
            const float scaled = factor * x[size_t(channel) * plane];
            to[size_t(channel) * plane] = fmaf(-scaled, sum, smem_quotients[middle * LRN_BACKWARD_THREADS]);
        }
    }
}
