// conv2d.cuh: what both convolutions share: who gathers which inputs, and how the sums are written.
#pragma once

#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

namespace conv2d {

// The positions that a thread gathers, and at which k's of a stage.
template <class T>
struct Gathered {
    static constexpr int PER_THREAD = T::COLUMNS > T::THREADS ? T::COLUMNS / T::THREADS : 1;
    static constexpr int THREADS_A_COLUMN = T::THREADS > T::COLUMNS ? T::THREADS / T::COLUMNS : 1;
    static constexpr int K = T::STAGE_K / THREADS_A_COLUMN;
    static_assert(PER_THREAD == 1 || THREADS_A_COLUMN == 1, "either several threads a position or several positions a thread");
};

// Writes a thread's sums.
template <class T>
static __device__ __forceinline__ void write(float* out, const float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS],
                                             const Conv2dShape& shape, int group, int first_row, uint32_t first_column) {
#pragma unroll
    for (int c = 0; c < T::TILE_COLUMNS; ++c) {
        const uint32_t column = first_column + gemm::first_column<T>() + gemm::column_of<T>(c);
        if (column < shape.n_columns) {
            const uint32_t image = column / shape.out_plane;
            float* to = out + size_t(image) * shape.out_image + (column - image * shape.out_plane);
#pragma unroll
            for (int r = 0; r < T::TILE_ROWS; ++r) {
                const uint32_t row = first_row + gemm::first_row<T>() + gemm::row_of<T>(r);
                if (row < shape.rows) {
                    const float sum = sums[r][c];
                    to[size_t(group * shape.rows + row) * shape.out_plane] = shape.rectify ? maximum(sum, 0.0f) : sum;
                }
            }
        }
    }
}

}  // namespace conv2d
