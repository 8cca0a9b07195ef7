// conv2d.cu: convolution (cross-correlation) with bias and, if asked for, the rectifier, as a matrix product whose inputs are
// gathered on the way: no image of columns exists anywhere.
//
//   out  out      (batch, shape.out_image) f32, of which (groups * rows, out_height, out_width) of each image are written: a range
//                 of channels of a wider output, so that concatenation costs nothing
//   in   in       (batch, shape.in_image) f32: (groups, channels of a group, in_height, in_width) of each image
//        weights  (groups, padded_k, pitch) f32: k is (input channel, kernel row, kernel column); channels past the last are 0, and
//                 so, but -0, are the k's past the last
//        bias     (groups * rows) f32
//        taps     (padded_k) where each k reads
//   weights and taps are multiples of 16 bytes. Grid: tiles of columns * row_tiles, groups.
//
// Mapping   a block makes ROWS output channels of a group at 256 positions, of one or several images: threads hold 8 x 16 sums (128
//           and 64 channels), 12 x 8 (96), 8 x 8 (32), so that few multiprocessors wait for shared memory. Inputs and weights
//           stream through a ring of 3 stages of 8 k's; a thread gathers one position (of 64 channels: two) at all k's of a
//           stage, by cp.async of 4 bytes, which writes 0 for padding. Which shape, the launch decides by the estimated time.
//           `few`: 32 channels at 32 positions, 4 x 4 sums, for batches that would leave multiprocessors idle.
// Banks     no conflicts: see common/gemm.cuh; a warp gathers 32 neighbouring positions of one k.
// Cost      of a warp for a stage of 8 k's on sm_90a, with how many of the instructions are FFMA: 128 channels 1,179, 1,024 (87 %); 96
//           917, 768 (84 %); 64 1,235, 1,024 (83 %); 32 709, 512 (72 %); `few` 217, 128 (59 %). A value that is gathered takes 7
//           instructions. Registers: 239, 168, 200, 149, 72: blocks of a multiprocessor 1, 1, 2, 3, 12. A load from shared memory
//           a 21 FFMA (96 and 32 channels 19 and 16); at 128 bytes a cycle their data take 75 % of the pipe (83 %, 100 %). 6 bytes a
//           cycle and multiprocessor from the L2 cache, 1.5 TB/s of some 5.5. CaffeNet's conv2 to conv5: 20.3 M instructions of a
//           warp an image, 17.5 M of them useful FFMA. Four schedulers of 132 multiprocessors at 1.98 GHz issue 1.05e12 a second.
// Predicted conv2d_128_f32 50e3 images/s at 1024 on an H100: CaffeNet's conv2, conv3 and conv5, 16.7 M instructions of a warp with what
//           the last rounds of blocks leave idle; 80 % of slots.
// Predicted conv2d_96_f32 195e3 images/s at 1024 on an H100: CaffeNet's conv4, 4.3 M instructions, likewise.
// Predicted conv2d_64_f32 7.1e5 images/s at 1024 on an H100: the 3x3 expansion of SqueezeNet's fire2, 1.1 M instructions; 75 % of slots,
//           since its 18 stages are few.
// Predicted conv2d_32_f32 1.7e6 images/s at 1024 on an H100: the 5x5 convolution of GoogLeNet's inception_3a, 0.44 M; 75 %.
// Predicted conv2d_few_f32 23e3 images/s at 10 on an H100: CaffeNet's conv2 to conv5, 649,000 cycles of a scheduler for all ten; 75 %.
// Numbers   exact: each sum from the bias, k ascending in (input channel, kernel row, kernel column), one accumulator, fused; the
//           padding is 0 and multiplied in; the rectifier `x > 0 ? x : 0`.
// Twin      backend::cpu; tests/cuda/conv2d.rs.
#include "common/conv2d.cuh"
#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/params.cuh"

namespace conv2d {

template <class T>
static __device__ __forceinline__ void conv2d(float* __restrict__ out, const float* __restrict__ in,
                                              const float* __restrict__ weights, const float* __restrict__ bias,
                                              const Conv2dTap* __restrict__ taps, const Conv2dShape& shape) {
    using G = Gathered<T>;
    __shared__ __align__(16) float smem_ring[T::RING];
    const int group = blockIdx.y;
    const int first_row = blockIdx.x % shape.row_tiles * T::ROWS;
    const uint32_t first_column = blockIdx.x / shape.row_tiles * T::COLUMNS;
    const int my_column = threadIdx.x % T::COLUMNS;
    const int my_k = threadIdx.x / T::COLUMNS * G::K;

    const float* from[G::PER_THREAD];          // the value under the kernel's first corner; it may lie before the input
    uint32_t rows_inside[G::PER_THREAD];       // of the kernel; none of a position past the last
    uint32_t columns_inside[G::PER_THREAD];
#pragma unroll
    for (int i = 0; i < G::PER_THREAD; ++i) {
        const uint32_t column = first_column + my_column + i * T::THREADS;
        const uint32_t image = column / shape.out_plane;
        const uint32_t position = column - image * shape.out_plane;
        const int y = int(position / shape.out_width * shape.stride) - int(shape.padding);
        const int x = int(position % shape.out_width * shape.stride) - int(shape.padding);
        from[i] = in + ptrdiff_t(size_t(image) * shape.in_image + size_t(group) * shape.in_group) + y * int(shape.in_width) + x;
        rows_inside[i] = column < shape.n_columns ? gemm::inside(y, shape.in_height) : 0;
        columns_inside[i] = gemm::inside(x, shape.in_width);
    }
    weights += size_t(group) * shape.padded_k * shape.pitch + first_row;

    const auto fetch = [&](float* smem_stage, int stage) {
        gemm::fetch_weights<T>(smem_stage, weights + size_t(stage * T::STAGE_K) * shape.pitch, int(shape.pitch) - first_row,
                               shape.pitch);
        const uint4* stage_taps = reinterpret_cast<const uint4*>(taps + stage * T::STAGE_K + my_k);
        float* smem_inputs = smem_stage + T::STAGE_K * T::ROWS + my_k * T::PITCH + my_column;
#pragma unroll
        for (int k = 0; k < G::K; ++k) {
            const uint4 tap = stage_taps[k];  // a Conv2dTap
#pragma unroll
            for (int i = 0; i < G::PER_THREAD; ++i) {
                const uint32_t bytes = gemm::bytes_inside(rows_inside[i], columns_inside[i], tap.y, tap.z);
                const char* value = reinterpret_cast<const char*>(from[i]) + int(tap.x);
                copy_float_or_zero(smem_inputs + k * T::PITCH + i * T::THREADS, reinterpret_cast<const float*>(value), bytes);
            }
        }
    };
    float sums[T::TILE_ROWS][T::TILE_COLUMNS];
    gemm::begin<T>(sums, bias + group * shape.rows + first_row, int(shape.rows) - first_row);
    gemm::run<T>(sums, smem_ring, shape.padded_k / T::STAGE_K, fetch, [](float*, int) {});
    write<T>(out, sums, shape, group, first_row, first_column);
}

}  // namespace conv2d

extern "C" __global__ void __launch_bounds__(CONV2D_THREADS, 1)
conv2d_128_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
               const float* __restrict__ bias, const Conv2dTap* __restrict__ taps, Conv2dShape shape) {
    using Tile = gemm::Tile<128, CONV2D_COLUMNS, 8, 16, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_THREADS, "tuning.cuh");
    conv2d::conv2d<Tile>(out, in, weights, bias, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_THREADS, 1)
conv2d_96_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
              const float* __restrict__ bias, const Conv2dTap* __restrict__ taps, Conv2dShape shape) {
    using Tile = gemm::Tile<96, CONV2D_COLUMNS, 12, 8, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_THREADS, "tuning.cuh");
    conv2d::conv2d<Tile>(out, in, weights, bias, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_NARROW_THREADS, 2)
conv2d_64_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
              const float* __restrict__ bias, const Conv2dTap* __restrict__ taps, Conv2dShape shape) {
    using Tile = gemm::Tile<64, CONV2D_COLUMNS, 8, 16, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_NARROW_THREADS, "tuning.cuh");
    conv2d::conv2d<Tile>(out, in, weights, bias, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_NARROW_THREADS, 3)
conv2d_32_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
              const float* __restrict__ bias, const Conv2dTap* __restrict__ taps, Conv2dShape shape) {
    using Tile = gemm::Tile<32, CONV2D_COLUMNS, 8, 8, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_NARROW_THREADS, "tuning.cuh");
    conv2d::conv2d<Tile>(out, in, weights, bias, taps, shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_FEW_THREADS, 12)
conv2d_few_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
               const float* __restrict__ bias, const Conv2dTap* __restrict__ taps, Conv2dShape shape) {
    using Tile = gemm::Tile<32, CONV2D_FEW_COLUMNS, 4, 4, CONV2D_STAGE_K, 4>;
    static_assert(Tile::THREADS == CONV2D_FEW_THREADS, "tuning.cuh");
    conv2d::conv2d<Tile>(out, in, weights, bias, taps, shape);
}
