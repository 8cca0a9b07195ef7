// look.cu: what a step of the ascent sees of each image (spec 10.2), and how far it goes.
//
//   out  states         (images) AscentState; only of images that have not stopped
//   in   gradient       (images, gradient_image) f32, of which (channels, plane) of each image are read: of the network's input
//        scales         (channels) f32
//        probabilities  (n_classes, stride) f32, class-major; the first `images` of each row are read
//        classes        (images) u32, below n_classes: what each image climbs to
//
// Mapping   a block an image: as many threads as the squared norm has accumulators, and thread i has accumulator i, so that neighbours
//           read neighbours. Accumulators are joined in shared memory, in halves.
// Banks     two words a lane, as f64 has it: no conflicts beyond that.
// Cost      4 bytes a value; a conversion and a fused multiply-add of f64, 604 in a chain for 3 x 227 x 227 values: some 20 us.
// Predicted 1e7 images/s at 1024 on an H100: LeNet's 784 values and 10 classes: 8 blocks a multiprocessor, 10 us a round of them.
// Numbers   exact: g = gradient * scale in f32; fma(g, g, sum) in f64 from 0, value i to accumulator i % NORM_LANES, ascending; then the
//           upper half is added to the lower one. The most probable class, of equals the lowest. want = early < late * (1 - p) ?
//           early : late * (1 - p), rate = max_rate < want / norm ? max_rate : want / norm in f64, rounded once. A norm that is no
//           number is the one NaN 0x7ff8000000000000. An image stops if it is 0, infinite or no number, or p is no number.
// Twin      backend::cpu; tests/cuda/ascent.rs.
#include "common/device.cuh"
#include "common/params.cuh"
#include "common/warp.cuh"

extern "C" __global__ void __launch_bounds__(NORM_LANES)
look_f32(AscentState* __restrict__ states, const float* __restrict__ gradient, const float* __restrict__ scales,
         const float* __restrict__ probabilities, const uint32_t* __restrict__ classes, double early, double late,
         double max_rate, uint32_t n_classes, uint32_t stride, uint32_t channels, uint32_t plane, uint32_t gradient_image) {
    __shared__ double smem_sums[NORM_LANES];
    const uint32_t image = blockIdx.x;
    if (states[image].stopped) { return; }  // the whole block
    const float* from = gradient + size_t(image) * gradient_image;
    const uint32_t len = channels * plane;
    double sum = 0.0;
    for (uint32_t at = threadIdx.x; at < len; at += NORM_LANES) {
        const double g = double(from[at] * scales[at / plane]);
        sum = __fma_rn(g, g, sum);
    }
    smem_sums[threadIdx.x] = sum;
#pragma unroll 1
    for (int half = NORM_LANES / 2; half > 0; half /= 2) {
        __syncthreads();  // the sums of twice as many are there
        if (threadIdx.x < half) { smem_sums[threadIdx.x] = smem_sums[threadIdx.x] + smem_sums[threadIdx.x + half]; }
    }
    Best best = nobody();
    for (uint32_t c = threadIdx.x; c < n_classes; c += NORM_LANES) {
        best = join(best, Best{probabilities[size_t(c) * stride + image], c});
    }
    best = block_join<NORM_LANES>(best);
    if (threadIdx.x > 0) { return; }
    const double norm = smem_sums[0];
    const bool is_number = norm == norm;
    const float p = probabilities[size_t(classes[image]) * stride + image];
    const double rest = late * (1.0 - double(p));
    const double want = early < rest ? early : rest;
    const double ratio = want / norm;
    const double rate = max_rate < ratio ? max_rate : ratio;
    const bool stops = norm == 0.0 || !is_number || norm == INFINITY || p != p;
    AscentState state;
    state.norm = is_number ? norm : __longlong_as_double(0x7ff8000000000000ll);
    state.probability = p;
    state.best = best.index == UINT32_MAX ? 0 : best.index;  // nothing but NaNs
    state.stopped = stops;
    state.rate = stops ? 0.0f : float(rate);
    states[image] = state;
}
