// add.cu: the gradient of a value that several layers take: one more of them is added.
//
//   out  sum   (batch, sum_image) f32, of which `len` values of each image are read and written
//   in   next  (batch, next_image) f32, of which `len` of each image are read
//
// Mapping   a thread a value; neighbours are neighbours.
// Banks     no shared memory.
// Cost      12 bytes a value: bound by the memory.
// Predicted 2.3e6 images/s at 1024 on an H100: 100,000 values, 12 bytes each of 3.35e12 a second at 85 %.
// Numbers   exact: sum + next.
// Twin      backend::cpu; tests/cuda/backward.rs.
#include "common/device.cuh"

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
add_f32(float* __restrict__ sum, const float* __restrict__ next, uint32_t batch, uint32_t len, uint32_t sum_image,
        uint32_t next_image) {
    const uint64_t at = uint64_t(blockIdx.x) * COPY_THREADS + threadIdx.x;
    const uint32_t image = at / len;
    if (image >= batch) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    float* to = sum + size_t(image) * sum_image + within;
    *to = *to + next[size_t(image) * next_image + within];
}
