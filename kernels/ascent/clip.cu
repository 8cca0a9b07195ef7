// clip.cu: images on their way up (spec 10.2) within what 8 bits hold, and as the network's first layer takes them.
//
//   out  x       (images, channels, plane) f32, pixels less the mean; only of images that have not stopped
//        input   (images, input_image) f32, of which (channels, plane) of each image are written: x * scale
//   in   states  (images) AscentState
//        mean    (channels, plane) f32
//        scales  (channels) f32
//
// Mapping   a thread a value; neighbours are neighbours.
// Banks     no shared memory.
// Cost      12 bytes a value, the mean from the L2 cache: bound by the memory.
// Predicted 1.4e6 images/s at 1024 on an H100: 3 x 227 x 227 values, 12 bytes each of 3.35e12 a second at 75 %.
// Numbers   exact: v = x + mean; v > 0 ? v : 0; v < 255 ? v : 255; v - mean; x * scale.
// Twin      backend::cpu; tests/cuda/ascent.rs.
#include "common/device.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(ASCENT_THREADS)
clip_f32(float* __restrict__ x, float* __restrict__ input, const AscentState* __restrict__ states,
         const float* __restrict__ mean, const float* __restrict__ scales, uint32_t images, uint32_t channels, uint32_t plane,
         uint32_t input_image) {
    const uint64_t at = uint64_t(blockIdx.x) * ASCENT_THREADS + threadIdx.x;
    const uint32_t len = channels * plane;
    const uint32_t image = at / len;
    if (image >= images) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    float now = x[at];
    if (!states[image].stopped) {
        const float pixel = minimum(maximum(now + mean[within], 0.0f), 255.0f);
        now = pixel - mean[within];
        x[at] = now;
    }
    input[size_t(image) * input_image + within] = now * scales[within / plane];
}
