// window.cuh: the windows of poolings.
//
// Numbers   exact: see kernels/network/pool.cu.
#pragma once

#include "common/device.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

// The part of a window that lies inside the image, and the positions of the window inside image and padding.
struct Window {
    int top, bottom, left, right;
    int counted;
};

static __device__ __forceinline__ Window window_of(const PoolShape& shape, uint32_t position) {
    const int kernel = shape.kernel;
    const int padding = shape.padding;
    const int height = shape.in_height;
    const int width = shape.in_width;
    const int y = int(position / shape.out_width * shape.stride) - padding;
    const int x = int(position % shape.out_width * shape.stride) - padding;
    const int rows = min(y + kernel, height + padding) - y;
    const int columns = min(x + kernel, width + padding) - x;
    return {max(y, 0), min(y + kernel, height), max(x, 0), min(x + kernel, width), rows * columns};
}

// The largest value of `window` of a plane, of equals the first, row by row.
static __device__ __forceinline__ float largest(const float* plane, const Window& window, int width) {
    float best = plane[window.top * width + window.left];
#pragma unroll 1
    for (int y = window.top; y < window.bottom; ++y) {
        const float* row = plane + y * width;
#pragma unroll 3
        for (int x = window.left; x < window.right; ++x) { best = maximum(row[x], best); }
    }
    return best;
}

// The average of `window` of a plane.
static __device__ __forceinline__ float average(const float* plane, const Window& window, const PoolShape& shape) {
    float sum = 0.0f;
#pragma unroll 1
    for (int y = window.top; y < window.bottom; ++y) {
        const float* row = plane + y * int(shape.in_width);
        for (int x = window.left; x < window.right; ++x) { sum = sum + row[x]; }
    }
    const int inside = (window.bottom - window.top) * (window.right - window.left);
    return sum / float(shape.count_padding ? window.counted : inside);
}
