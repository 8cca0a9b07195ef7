// relu_backward.cu: the gradient of what a rectifier took.
//
//   out  out       (batch, out_image) f32, of which `len` values of each image are written
//   in   gradient  (batch, in_image) f32: of the rectifier's output; `out` and `gradient` may be the same
//        value     (batch, value_image) f32: the rectifier's output
//
// Mapping   a thread a value; neighbours are neighbours.
// Banks     no shared memory.
// Cost      12 bytes a value: bound by the memory.
// Predicted 2.3e6 images/s at 1024 on an H100: 100,000 values, 12 bytes each of 3.35e12 a second at 85 %.
// Numbers   exact: value > 0 ? gradient : 0.
// Twin      backend::cpu; tests/cuda/backward.rs.
#include "common/device.cuh"

// No __restrict__: in place, out is gradient.
extern "C" __global__ void __launch_bounds__(COPY_THREADS)
relu_backward_f32(float* out, const float* gradient, const float* value, uint32_t batch, uint32_t len, uint32_t out_image,
                  uint32_t in_image, uint32_t value_image) {
    const uint64_t at = uint64_t(blockIdx.x) * COPY_THREADS + threadIdx.x;
    const uint32_t image = at / len;
    if (image >= batch) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    const float g = gradient[size_t(image) * in_image + within];
    out[size_t(image) * out_image + within] = value[size_t(image) * value_image + within] > 0.0f ? g : 0.0f;
}
