// pool_backward.cu: the gradient of what a max or average pooling took.
//
//   out  out       (batch, to_image) f32, of which (channels, in_height, in_width) of each image are written
//   in   gradient  (batch, shape.out_image) f32: (channels, out_height, out_width) of each image, of the pooling's output
//        value     (batch, shape.in_image) f32: what the max pooling took
//
// Mapping   a thread a value of the pooling's input, which asks the windows that see it; neighbours in a row. Nobody else writes to it:
//           no atomics, and the order of the sum is that of the windows.
// Banks     no shared memory; neighbours read neighbouring values, from the L1 cache.
// Cost      a value is seen by (kernel / stride)^2 windows, of each of which max_pool_backward reads until it finds a value that is
//           larger, or as large and before it: two or three, but all kernel^2 of a window for its largest value. 12 bytes a value and
//           output at least. average_pool_backward: a division a window.
// Predicted max_pool_backward_f32 3e5 images/s at 1024 on an H100: CaffeNet's three, 497,000 values that 2.25 windows see, some 40
//           instructions a window: 1.4 M of a warp; 40 % of the slots of 1.05e12 a second.
// Predicted average_pool_backward_f32 1.5e6 images/s at 1024 on an H100: SqueezeNet's, 225,000 values of one window each, 4 bytes and
//           some 50 instructions: 0.35 M of a warp, 50 % of the slots.
// Numbers   exact: from 0 on, the windows that see the value row by row, g of those whose first maximum it is; g / n of each. n as
//           pool.cu has it. The first maximum is what the forward pass took: a NaN counts if it is the window's first value.
// Twin      backend::cpu; tests/cuda/backward.rs.
#include "common/device.cuh"
#include "common/params.cuh"
#include "common/window.cuh"

namespace pool_backward {

// Whether the value at row y, column x of a plane is what `largest` takes of `window`, which sees it.
static __device__ __forceinline__ bool is_largest(const float* plane, const Window& window, int width, int y, int x) {
    const float mine = plane[y * width + x];
#pragma unroll 1
    for (int row = window.top; row < window.bottom; ++row) {
#pragma unroll 1
        for (int column = window.left; column < window.right; ++column) {
            const float other = plane[row * width + column];
            const bool is_before = row < y || (row == y && column < x);
            const bool is_first = row == window.top && column == window.left;
            const bool is_after = row > y || (row == y && column > x);
            // One before it must be beaten, but a NaN that is not the first never stood; one after it must not beat it.
            if (is_before && !(mine > other) && (other == other || is_first)) { return false; }
            if (is_after && other > mine) { return false; }
        }
    }
    return true;
}

template <bool AVERAGE>
static __device__ __forceinline__ void pool_backward(float* __restrict__ out, const float* __restrict__ gradient,
                                                     const float* __restrict__ value, const PoolShape& shape, uint32_t to_image) {
    const uint64_t at = uint64_t(blockIdx.x) * POOL_THREADS + threadIdx.x;
    const uint32_t in_plane = shape.in_height * shape.in_width;
    const uint32_t in_len = shape.channels * in_plane;
    const uint32_t image = at / in_len;
    if (image >= shape.batch) { return; }
    const uint32_t within = at - uint64_t(image) * in_len;
    const uint32_t channel = within / in_plane;
    const int y = within % in_plane / shape.in_width;
    const int x = within % shape.in_width;
    const int kernel = shape.kernel;
    const int stride = shape.stride;
    const int padding = shape.padding;
    // Windows begin at multiples of the stride: the first that still reaches here, the last that has begun.
    const int top = max(y + padding - kernel + stride, 0) / stride;
    const int bottom = min((y + padding) / stride, int(shape.out_height) - 1);
    const int left = max(x + padding - kernel + stride, 0) / stride;
    const int right = min((x + padding) / stride, int(shape.out_width) - 1);
    const float* g = gradient + size_t(image) * shape.out_image + size_t(channel) * shape.out_height * shape.out_width;
    float sum = 0.0f;
#pragma unroll 1
    for (int row = top; row <= bottom; ++row) {
#pragma unroll 1
        for (int column = left; column <= right; ++column) {
            const int position = row * int(shape.out_width) + column;
            const Window window = window_of(shape, position);
            if (AVERAGE) {
                const int inside = (window.bottom - window.top) * (window.right - window.left);
                sum = sum + g[position] / float(shape.count_padding ? window.counted : inside);
            } else {
                const float* plane = value + size_t(image) * shape.in_image + size_t(channel) * in_plane;
                if (is_largest(plane, window, shape.in_width, y, x)) { sum = sum + g[position]; }
            }
        }
    }
    out[size_t(image) * to_image + within] = sum;
}

}  // namespace pool_backward

extern "C" __global__ void __launch_bounds__(POOL_THREADS)
max_pool_backward_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ value,
                      PoolShape shape, uint32_t to_image) {
    pool_backward::pool_backward<false>(out, gradient, value, shape, to_image);
}

extern "C" __global__ void __launch_bounds__(POOL_THREADS)
average_pool_backward_f32(float* __restrict__ out, const float* __restrict__ gradient, PoolShape shape, uint32_t to_image) {
    pool_backward::pool_backward<true>(out, gradient, nullptr, shape, to_image);
}
