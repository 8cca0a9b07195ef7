// zero_pixels.cu: pixels that count for little become 0, in the images that have not stopped (spec 10.2).
//
//   out  x         (images, channels, plane) f32
//        keys      (images, plane) u32: scratch
//   in   gradient  (images, gradient_image) f32, of which (channels, plane) of each image are read: of the network's input
//        states    (images) AscentState
//        scales    (channels) f32
//   kind: by 0 the norm, 1 the benefit of being zeroed, 2 its absolute value. rank: below plane; of the first pixel, in ascending order,
//   that stays.
//
// Mapping   a block an image. Numbers become integers of the same order; four passes over them find the one of the rank, 8 bits each:
//           a histogram in shared memory, which a warp sums up. A thread reads the keys that it wrote.
// Banks     counts of neighbours that agree in 8 bits are added one after the other: integers, whose sum knows no order.
// Cost      8 bytes a value and 24 a pixel, from and to the L2 cache; 51,529 pixels by 512 threads: 101 each, five times over.
// Predicted 1e6 images/s at 1024 on an H100: 227 x 227 pixels, four blocks a multiprocessor, some 500 us each, most of it counts that
//           wait for one another.
// Numbers   exact: fma(x, x, sum), or fma(-g, x, sum) with g = gradient * scale, from 0 over the channels; pixels whose number is below
//           the one of the rank become +0. A -0 among the numbers is 0, a NaN is above all.
// Twin      backend::cpu; tests/cuda/ascent.rs.
#include "common/device.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

namespace zero_pixels {

constexpr int BITS = 8;
constexpr int BINS = 1 << BITS;

// An integer that is below another's where the number is.
static __device__ __forceinline__ uint32_t ordered(float number) {
    const float plain = number + 0.0f;  // -0 becomes 0
    const uint32_t bits = bits_of(math::canonical(plain == plain, plain));
    return bits & math::SIGN ? ~bits : bits | math::SIGN;
}

}  // namespace zero_pixels

extern "C" __global__ void __launch_bounds__(ZERO_PIXELS_THREADS)
zero_pixels_f32(float* __restrict__ x, uint32_t* __restrict__ keys, const float* __restrict__ gradient,
                const AscentState* __restrict__ states, const float* __restrict__ scales, uint32_t kind, uint32_t rank,
                uint32_t channels, uint32_t plane, uint32_t gradient_image) {
    using namespace zero_pixels;
    constexpr int PER_LANE = BINS / WARP_SIZE;
    __shared__ uint32_t smem_counts[BINS];
    __shared__ uint32_t smem_found[2];  // the bin, and the rank within it
    const uint32_t image = blockIdx.x;
    if (states[image].stopped) { return; }  // the whole block
    float* mine = x + size_t(image) * channels * plane;
    uint32_t* my_keys = keys + size_t(image) * plane;
    const float* g = gradient + size_t(image) * gradient_image;
    for (uint32_t pixel = threadIdx.x; pixel < plane; pixel += ZERO_PIXELS_THREADS) {
        float sum = 0.0f;
        for (uint32_t channel = 0; channel < channels; ++channel) {
            const uint32_t at = channel * plane + pixel;
            const float value = mine[at];
            const float factor = kind == 0 ? value : -(g[at] * scales[channel]);
            sum = fmaf(factor, value, sum);
        }
        my_keys[pixel] = ordered(kind == 2 ? absolute(sum) : sum);
    }
    uint32_t found = 0;  // the leading bits of the key of the rank
    uint32_t known = 0;  // which bits these are
#pragma unroll 1
    for (int shift = 32 - BITS; shift >= 0; shift -= BITS) {
        for (int bin = threadIdx.x; bin < BINS; bin += ZERO_PIXELS_THREADS) { smem_counts[bin] = 0; }
        __syncthreads();  // all counts are 0, and all have read what was found before
        for (uint32_t pixel = threadIdx.x; pixel < plane; pixel += ZERO_PIXELS_THREADS) {
            const uint32_t key = my_keys[pixel];
            if ((key & known) == found) { atomicAdd(&smem_counts[key >> shift & (BINS - 1)], 1u); }
        }
        __syncthreads();  // all are counted, a warp sums up
        if (threadIdx.x < WARP_SIZE) {
            uint32_t own = 0;
#pragma unroll
            for (int i = 0; i < PER_LANE; ++i) { own += smem_counts[threadIdx.x * PER_LANE + i]; }
            uint32_t up_to = own;  // with those of the lanes before
#pragma unroll
            for (int lanes = 1; lanes < WARP_SIZE; lanes *= 2) {
                const uint32_t before = __shfl_up_sync(FULL_WARP, up_to, lanes);
                if (threadIdx.x >= lanes) { up_to += before; }
            }
            uint32_t below = up_to - own;
            if (below <= rank && rank < up_to) {
                int bin = threadIdx.x * PER_LANE;
                while (rank >= below + smem_counts[bin]) {
                    below += smem_counts[bin];
                    ++bin;
                }
                smem_found[0] = bin;
                smem_found[1] = rank - below;
            }
        }
        __syncthreads();  // the bin is found, all read it
        found |= smem_found[0] << shift;
        known |= uint32_t(BINS - 1) << shift;
        rank = smem_found[1];
    }
    for (uint32_t pixel = threadIdx.x; pixel < plane; pixel += ZERO_PIXELS_THREADS) {
        if (my_keys[pixel] < found) {
            for (uint32_t channel = 0; channel < channels; ++channel) { mine[channel * plane + pixel] = 0.0f; }
        }
    }
}
