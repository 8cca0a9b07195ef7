// conv2d_weight_gradient.cu: what a batch tells the weights and biases of a convolution: a matrix product for each slot of
// src/network/gradient.rs, of which the terms are positions, and whose inputs are gathered on the way.
//
//   out  out       (GRADIENT_SLOTS, groups, k + 1, pitch) f32: of each slot, group and weight of an output a row of outputs; the last
//                  row is of biases
//   in   gradient  (batch, shape.gradient_image) f32: of the output, (groups * outputs, out_height, out_width) of each image; batch is
//                  GRADIENT_SLOTS * shape.images
//        in        (batch, shape.in_image) f32: (groups, channels of a group, in_height, in_width) of each image
//        taps      (k) where each weight reads, as conv2d.cu has them
//   out is a multiple of 16 bytes. Grid: tiles of outputs * k_tiles, groups, slots. sgd_update adds the slots.
//
// Mapping   a block makes 128 weights of 128 outputs for one slot: 128 threads of 8 x 16 sums; `some`: 64 of 64, 64 threads of 8 x 8;
//           `few`: 32 of 32, 64 threads of 4 x 4, for layers that have not more. Gradients and inputs of 8 positions at a time stream
//           through a ring of 3 stages in shared memory (`few` 4), by cp.async of 4 bytes, which writes 0 for padding: eight
//           neighbouring lanes bring in neighbouring positions of one output, or under one weight, and go on by 8 positions a stage
//           without a division. A bias is a weight whose input is 1: that is in the ring from the beginning.
// Banks     no conflicts: rows lie 4 modulo 32 words apart, so what a warp brings in, 8 positions of 4 rows, goes to 32 banks;
//           see common/gemm.cuh for the products. A warp writes 128 bytes of a row of gradients (`some`, `few`: as many).
// Cost      of a warp for a stage of 8 positions on sm_90a, with how many of the instructions are FFMA: 1,248, 1,024 (82 %); `some` 726,
//           512 (71 %); `few` 271, 128 (47 %). A value that is brought in takes 6 to 7 instructions. Registers: 231, 159, 91: blocks of
//           a multiprocessor 2, 6, 8. Written: 64 bytes a weight, the slots side by side.
// Predicted conv2d_weight_gradient_f32 33e3 images/s at 256 on an H100: CaffeNet's conv2 to conv5, 23.9 M instructions of a warp an image
//           with what the tiles leave over; 75 % of the slots of 1.05e12 a second.
// Predicted conv2d_weight_gradient_some_f32 4.8e5 images/s at 256 on an H100: the 3x3 expansion of SqueezeNet's fire2, 1.64 M
//           instructions; 75 %.
// Predicted conv2d_weight_gradient_few_f32 8e5 images/s at 64 on an H100: LeNet's two: conv1 is 16 blocks alone, a chain of 288 stages,
//           125,000 cycles of a scheduler at 1.6 an instruction, conv2 20,000.
// Numbers   exact: an accumulator a weight and slot, from +0, images ascending, positions row by row, fused; terms of the padding are
//           multiplied in, as are those that fill the last stage: 0 * 0.
// Twin      backend::cpu; tests/cuda/weight_gradient.rs.
#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/params.cuh"

namespace conv2d_weight_gradient {

// Rows are weights of an output, columns are outputs.
template <int ROWS, int COLUMNS, int TILE_ROWS, int TILE_COLUMNS, int STAGES>
using Tile = gemm::Tile<ROWS, COLUMNS, TILE_ROWS, TILE_COLUMNS, CONV2D_GRADIENT_STAGE_K, STAGES, COLUMNS + 4, ROWS + 4>;

template <class T>
static __device__ __forceinline__ void conv2d_weight_gradient(float* __restrict__ out, const float* __restrict__ gradient,
                                                              const float* __restrict__ in, const Conv2dTap* __restrict__ taps,
                                                              const Conv2dGradientShape& shape) {
    constexpr int RUN = T::STAGE_K;             // positions that neighbouring lanes bring in
    constexpr int ROUND = T::THREADS / RUN;     // rows, or columns, that the threads bring in at a time
    constexpr int MY_ROWS = T::ROWS / ROUND;
    constexpr int MY_COLUMNS = T::COLUMNS / ROUND;
    static_assert(T::ROWS % ROUND == 0 && T::COLUMNS % ROUND == 0, "whole rounds");
    __shared__ __align__(16) float smem_ring[T::RING];
    const int group = blockIdx.y;
    const uint32_t slot = blockIdx.z;
    const int first_row = blockIdx.x % shape.k_tiles * T::ROWS;
    const int first_column = blockIdx.x / shape.k_tiles * T::COLUMNS;
    const int my_position = threadIdx.x % RUN;
    const int my = threadIdx.x / RUN;
    const int rows = int(shape.k) - first_row - my;             // that have a tap, from this thread's first
    const int columns = int(shape.outputs) - first_column - my;
    const uint32_t out_plane = shape.out_height * shape.out_width;

    int32_t offsets[MY_ROWS];   // bytes
    uint32_t places[MY_ROWS];   // row of the kernel, and column << 8
    float* smem_rows = smem_ring + my_position * T::ROW_PITCH + my;
#pragma unroll
    for (int i = 0; i < MY_ROWS; ++i) {
        offsets[i] = 0;
        places[i] = 0;
        if (i * ROUND < rows) {
            const uint4 tap = reinterpret_cast<const uint4*>(taps)[first_row + my + i * ROUND];  // a Conv2dTap
            offsets[i] = int32_t(tap.x);
            places[i] = tap.y | tap.z << 8;
        } else {
            // Of the bias 1, of what is behind it 0, for good: no copy goes there.
            const float constant = i * ROUND == rows ? 1.0f : 0.0f;
#pragma unroll
            for (int stage = 0; stage < T::STAGES; ++stage) { smem_rows[stage * T::STAGE + i * ROUND] = constant; }
        }
    }

    // The position of this thread's next stage.
    uint32_t image = my_position / out_plane;
    uint32_t y = my_position % out_plane / shape.out_width;
    uint32_t x = my_position % shape.out_width;
    gradient += size_t(group * shape.outputs + first_column + my) * out_plane;
    in += size_t(group) * shape.in_group;

    const auto fetch = [&](float* smem_stage, int) {
        const bool is_there = image < shape.images;
        const size_t of_batch = slot + size_t(GRADIENT_SLOTS) * image;
        const int top = int(y * shape.stride) - int(shape.padding);
        const int left = int(x * shape.stride) - int(shape.padding);
        const uint32_t rows_inside = is_there ? gemm::inside(top, shape.in_height) : 0;
        const uint32_t columns_inside = gemm::inside(left, shape.in_width);
        const float* corner = in + ptrdiff_t(of_batch * shape.in_image) + (top * int(shape.in_width) + left);
        float* smem_x = smem_stage + my_position * T::ROW_PITCH + my;
#pragma unroll
        for (int i = 0; i < MY_ROWS; ++i) {
            const uint32_t bytes = gemm::bytes_inside(rows_inside, columns_inside, places[i], places[i] >> 8);
            const char* value = reinterpret_cast<const char*>(corner) + offsets[i];
            copy_float_or_zero_if(i * ROUND < rows, smem_x + i * ROUND, reinterpret_cast<const float*>(value), bytes);
        }
        const float* g = gradient + of_batch * shape.gradient_image + y * shape.out_width + x;
        float* smem_g = smem_stage + T::STAGE_K * T::ROW_PITCH + my_position * T::PITCH + my;
#pragma unroll
        for (int i = 0; i < MY_COLUMNS; ++i) {
            const uint32_t bytes = is_there && i * ROUND < columns ? 4 : 0;
            copy_float_or_zero(smem_g + i * ROUND, g + size_t(i * ROUND) * out_plane, bytes);
        }
        x += shape.step_columns;
        const bool next_row = x >= shape.out_width;
        x -= next_row ? shape.out_width : 0;
        y += shape.step_rows + uint32_t(next_row);
        const bool next_image = y >= shape.out_height;
        y -= next_image ? shape.out_height : 0;
        image += shape.step_images + uint32_t(next_image);
    };
    float sums[T::TILE_ROWS][T::TILE_COLUMNS];
#pragma unroll
    for (int r = 0; r < T::TILE_ROWS; ++r) {
#pragma unroll
        for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = 0.0f; }
    }
    const int n_stages = (shape.images * out_plane + T::STAGE_K - 1) / T::STAGE_K;
    gemm::run<T>(sums, smem_ring, n_stages, fetch, [](float*, int) {});
    out += (size_t(slot) * gridDim.y + group) * (shape.k + 1) * shape.pitch;
    gemm::write_rows<T>(out, sums, first_row, shape.k + 1, first_column, shape.pitch);
}

}  // namespace conv2d_weight_gradient

extern "C" __global__ void __launch_bounds__(CONV2D_GRADIENT_THREADS, 2)
conv2d_weight_gradient_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ in,
                           const Conv2dTap* __restrict__ taps, Conv2dGradientShape shape) {
    using Tile = conv2d_weight_gradient::Tile<CONV2D_GRADIENT_ROWS, CONV2D_GRADIENT_COLUMNS, 8, 16, 3>;
    static_assert(Tile::THREADS == CONV2D_GRADIENT_THREADS, "tuning.cuh");
    conv2d_weight_gradient::conv2d_weight_gradient<Tile>(out, gradient, in, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_GRADIENT_SOME_THREADS, 6)
conv2d_weight_gradient_some_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ in,
                                const Conv2dTap* __restrict__ taps, Conv2dGradientShape shape) {
    using Tile = conv2d_weight_gradient::Tile<CONV2D_GRADIENT_SOME_ROWS, CONV2D_GRADIENT_SOME_COLUMNS, 8, 8, 3>;
    static_assert(Tile::THREADS == CONV2D_GRADIENT_SOME_THREADS, "tuning.cuh");
    conv2d_weight_gradient::conv2d_weight_gradient<Tile>(out, gradient, in, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_GRADIENT_FEW_THREADS, 8)
conv2d_weight_gradient_few_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ in,
                               const Conv2dTap* __restrict__ taps, Conv2dGradientShape shape) {
    using Tile = conv2d_weight_gradient::Tile<CONV2D_GRADIENT_FEW_ROWS, CONV2D_GRADIENT_FEW_COLUMNS, 4, 4, 4>;
    static_assert(Tile::THREADS == CONV2D_GRADIENT_FEW_THREADS, "tuning.cuh");
    conv2d_weight_gradient::conv2d_weight_gradient<Tile>(out, gradient, in, taps, shape);
}
