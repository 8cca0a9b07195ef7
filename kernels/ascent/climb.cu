// climb.cu: a step up of each image that has not stopped (spec 10.2), and its decay.
//
//   out  x         (images, channels, plane) f32
//   in   gradient  (images, gradient_image) f32, of which (channels, plane) of each image are read: of the network's input
//        states    (images) AscentState: the rates
//        scales    (channels) f32
//
// Mapping   a thread a value; neighbours are neighbours.
// Banks     no shared memory.
// Cost      12 bytes a value: bound by the memory.
// Predicted 1.4e6 images/s at 1024 on an H100: 3 x 227 x 227 values, 12 bytes each of 3.35e12 a second at 75 %.
// Numbers   exact: x = fma(rate, gradient * scale, x); x = x * keep.
// Twin      backend::cpu; tests/cuda/ascent.rs.
#include "common/device.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(ASCENT_THREADS)
climb_f32(float* __restrict__ x, const float* __restrict__ gradient, const AscentState* __restrict__ states,
          const float* __restrict__ scales, float keep, uint32_t images, uint32_t channels, uint32_t plane,
          uint32_t gradient_image) {
    const uint64_t at = uint64_t(blockIdx.x) * ASCENT_THREADS + threadIdx.x;
    const uint32_t len = channels * plane;
    const uint32_t image = at / len;
    if (image >= images) { return; }
    if (states[image].stopped) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    const float g = gradient[size_t(image) * gradient_image + within] * scales[within / plane];
    x[at] = fmaf(states[image].rate, g, x[at]) * keep;
}
