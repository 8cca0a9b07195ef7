// pool.cu: max and average pooling by themselves.
//
//   out  out  (batch, shape.out_image) f32, of which (channels, out_height, out_width) of each image are written: a range of
//             channels of a wider output
//   in   in   (batch, shape.in_image) f32: (channels, in_height, in_width) of each image
//
// Mapping   a thread an output; neighbours in a row of outputs.
// Banks     no shared memory; neighbours read `stride` words apart, and each other's values from the L1 cache.
// Cost      kernel^2 loads an output; 4 (in + out) bytes an image, 1.86 MB for torchvision AlexNet's three. Bound by the memory.
// Predicted max_pool_f32 8e5 images/s at 1024 on an H100: torchvision AlexNet's three, at 45 % of 3.35e12 bytes a second.
// Predicted average_pool_f32 1.1e6 images/s at 1024 on an H100: SqueezeNet's, 225,000 values to 1,000, at 30 %: neighbours read far
//           apart.
// Numbers   exact: the largest of the window's part inside the image, of equals the first, row by row; the sum of that part from 0,
//           row by row, divided by the number of positions, with the padding's if the layer counts them.
// Twin      backend::cpu; tests/cuda/pool.rs.
#include "common/device.cuh"
#include "common/math.cuh"
#include "common/params.cuh"
#include "common/window.cuh"

namespace pool {

template <bool AVERAGE>
static __device__ __forceinline__ void pool(float* __restrict__ out, const float* __restrict__ in, const PoolShape& shape) {
    const uint64_t at = uint64_t(blockIdx.x) * POOL_THREADS + threadIdx.x;
    const uint32_t out_plane = shape.out_height * shape.out_width;
    const uint32_t out_len = shape.channels * out_plane;
    const uint32_t image = at / out_len;
    if (image >= shape.batch) { return; }
    const uint32_t within = at - uint64_t(image) * out_len;
    const uint32_t channel = within / out_plane;
    const Window window = window_of(shape, within % out_plane);
    const float* plane = in + size_t(image) * shape.in_image + size_t(channel) * shape.in_height * shape.in_width;
    out[size_t(image) * shape.out_image + within] =
        AVERAGE ? average(plane, window, shape) : largest(plane, window, shape.in_width);
}

}  // namespace pool

extern "C" __global__ void __launch_bounds__(POOL_THREADS)
max_pool_f32(float* __restrict__ out, const float* __restrict__ in, PoolShape shape) {
    pool::pool<false>(out, in, shape);
}

extern "C" __global__ void __launch_bounds__(POOL_THREADS)
average_pool_f32(float* __restrict__ out, const float* __restrict__ in, PoolShape shape) {
    pool::pool<true>(out, in, shape);
}
