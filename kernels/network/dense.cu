// dense.cu: a dense layer with bias and, if asked for, the rectifier.
//
//   out  out      (batch, shape.out_image) f32, of which the `rows` outputs of each image are written
//   in   in       (batch, shape.in_image) f32, of which k of each image
//        weights  (padded_k, pitch) f32: inputs by outputs; outputs past the last are 0, and so, but -0, are inputs past the last
//        bias     (rows) f32
//   weights are multiples of 16 bytes. Grid: tiles of images * row_tiles.
//
// Mapping   a block makes 128 outputs of 256 images: 256 threads of 8 x 16 sums; inputs and weights stream through a ring of 3
//           stages of 8 k's. A warp brings in 8 k's of 4 images at a time, 32 bytes of each. `some`: 64 outputs of 64 images, 64
//           threads of 8 x 8. `few`: 8 outputs of 16 images by one warp, 1 x 4 sums, 6 stages of 32 k's, so that as many bytes of
//           weights are under way as the memory's latency asks for.
// Banks     no conflicts: see common/gemm.cuh; what a warp brings in goes to 32 banks (pitch of 4 modulo 16 words).
// Cost      of a warp for 8 k's on sm_90a, with how many of the instructions are FFMA: 1,154, 1,024 (89 %); `some` 631, 512 (81 %); `few`
//           77, 32 (42 %). Registers 231, 137, 87: 1, 7 and 10 blocks a multiprocessor, of which there may be fewer. CaffeNet's three: 58.6 M multiply-adds an image,
//           2.6 M instructions of a warp at 1,024 images; 234 MB of weights, which few images wait for.
// Predicted dense_f32 320e3 images/s at 1024 on an H100: CaffeNet's three; 80 % of the slots of 1.05e12 a second.
// Predicted dense_some_f32 230e3 images/s at 256 on an H100: the same, a block's two warps share a multiprocessor with another's:
//           2.2 M cycles of a scheduler, with 1.6 of them for an instruction where a warp is alone.
// Predicted dense_few_f32 73e3 images/s at 10 on an H100: the same, 136 us, of which the weights alone, from memory, take 70.
// Numbers   exact: each sum from the bias, k ascending, one accumulator, fused; the rectifier `x > 0 ? x : 0`.
// Twin      backend::cpu; tests/cuda/dense.rs.
#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

namespace dense {

template <class T>
static __device__ __forceinline__ void dense(float* __restrict__ out, const float* __restrict__ in,
                                             const float* __restrict__ weights, const float* __restrict__ bias,
                                             const DenseShape& shape) {
    constexpr int RUN = 8;  // k's of an image that neighbouring lanes bring in
    constexpr int ROUND = T::THREADS / RUN;  // images that the threads bring in at a time
    static_assert(T::STAGE_K % RUN == 0 && T::COLUMNS % ROUND == 0, "whole rounds");
    __shared__ __align__(16) float smem_ring[T::RING];
    const int first_row = blockIdx.x % shape.row_tiles * T::ROWS;
    const uint32_t first_image = blockIdx.x / shape.row_tiles * T::COLUMNS;
    const int my_image = threadIdx.x / RUN;
    const int my_k = threadIdx.x % RUN;
    weights += first_row;
    in += size_t(first_image + my_image) * shape.in_image + my_k;
    const int images = int(shape.batch - first_image) - my_image;  // from this thread's first

    const auto fetch = [&](float* smem_stage, int stage) {
        gemm::fetch_weights<T>(smem_stage, weights + size_t(stage * T::STAGE_K) * shape.pitch, int(shape.pitch) - first_row,
                               shape.pitch);
        float* smem_inputs = smem_stage + T::STAGE_K * T::ROWS + my_k * T::PITCH + my_image;
        const float* from = in + stage * T::STAGE_K;
        const int inputs = int(shape.k) - stage * T::STAGE_K - my_k;
#pragma unroll
        for (int image = 0; image < T::COLUMNS; image += ROUND) {
            const uint32_t bytes = image < images ? 4 : 0;
#pragma unroll
            for (int k = 0; k < T::STAGE_K; k += RUN) {
                copy_float_or_zero(smem_inputs + k * T::PITCH + image, from + k, k < inputs ? bytes : 0);
            }
            from += size_t(ROUND) * shape.in_image;
        }
    };
    float sums[T::TILE_ROWS][T::TILE_COLUMNS];
    gemm::begin<T>(sums, bias + first_row, int(shape.rows) - first_row);
    gemm::run<T>(sums, smem_ring, shape.padded_k / T::STAGE_K, fetch, [](float*, int) {});
#pragma unroll
    for (int c = 0; c < T::TILE_COLUMNS; ++c) {
        const uint32_t image = first_image + gemm::first_column<T>() + gemm::column_of<T>(c);
        if (image < shape.batch) {
#pragma unroll
            for (int r = 0; r < T::TILE_ROWS; ++r) {
                const uint32_t row = first_row + gemm::first_row<T>() + gemm::row_of<T>(r);
                if (row < shape.rows) {
                    const float sum = sums[r][c];
                    out[size_t(image) * shape.out_image + row] = shape.rectify ? maximum(sum, 0.0f) : sum;
                }
            }
        }
    }
}

}  // namespace dense

extern "C" __global__ void __launch_bounds__(DENSE_THREADS, 1)
dense_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
          const float* __restrict__ bias, DenseShape shape) {
    using Tile = gemm::Tile<DENSE_ROWS, DENSE_COLUMNS, 8, 16, 8, 3, DENSE_COLUMNS + 4>;
    static_assert(Tile::THREADS == DENSE_THREADS, "tuning.cuh");
    dense::dense<Tile>(out, in, weights, bias, shape);
}

extern "C" __global__ void __launch_bounds__(DENSE_SOME_THREADS, 6)
dense_some_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
               const float* __restrict__ bias, DenseShape shape) {
    using Tile = gemm::Tile<DENSE_SOME_ROWS, DENSE_SOME_COLUMNS, 8, 8, 8, 4, DENSE_SOME_COLUMNS + 4>;
    static_assert(Tile::THREADS == DENSE_SOME_THREADS, "tuning.cuh");
    dense::dense<Tile>(out, in, weights, bias, shape);
}

extern "C" __global__ void __launch_bounds__(DENSE_FEW_THREADS, 8)
dense_few_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
              const float* __restrict__ bias, DenseShape shape) {
    using Tile = gemm::Tile<DENSE_FEW_ROWS, DENSE_FEW_COLUMNS, 1, 4, 32, 6, DENSE_FEW_COLUMNS + 4>;
    static_assert(Tile::THREADS == DENSE_FEW_THREADS && DENSE_PADDED_K % Tile::STAGE_K == 0, "tuning.cuh");
    dense::dense<Tile>(out, in, weights, bias, shape);
}
