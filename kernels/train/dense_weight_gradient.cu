// dense_weight_gradient.cu: what a batch tells the weights and biases of a dense layer.
//
//   out  out       (k + 1, pitch) f32: of each input a row of outputs; the last row is of biases
//   in   gradient  (batch, shape.gradient_image) f32: of the outputs; batch is GRADIENT_SLOTS * shape.images
//        in        (batch, shape.in_image) f32, of which k of each image are read
//   out is a multiple of 16 bytes. Grid: tiles of outputs * k_tiles.
//
// Mapping   a block makes the weights of 64 inputs to 64 outputs: 64 threads of 8 x 8 sums. It takes one slot after the other, in the
//           order of their bits reversed (0, 8, 4, 12, 2, ...): so the halves that are added are always the two that came last, and
//           one sum of each of four sizes waits in shared memory: 72 KiB a block. Gradients and inputs of 4
//           images at a time stream through a ring of 4 stages, by cp.async of 4 bytes; neighbouring lanes bring in neighbours. A bias
//           is a weight whose input is 1: that is in the ring from the beginning.
// Banks     no conflicts: see common/gemm.cuh; a warp copies 32 neighbours, and each thread's waiting sums are quads beside its
//           neighbours'. A warp writes 128 bytes of a row of gradients.
// Cost      of a warp for a stage of 4 images on sm_90a 330 instructions, of which FFMA 256 (78 %); for each slot some 130 more. Registers:
//           124; shared memory has room for 3 blocks a multiprocessor. 4 bytes a weight written.
// Predicted dense_weight_gradient_f32 280e3 images/s at 256 on an H100: CaffeNet's three, 58.6 M multiply-adds an image, 2.6 M
//           instructions of a warp; 70 % of the slots of 1.05e12 a second.
// Numbers   exact: an accumulator a weight and slot, from +0, images ascending, fused; the upper half of the slots is added to the lower
//           half, until one is left, and +0 to that.
// Twin      backend::cpu; tests/cuda/weight_gradient.rs.
#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/params.cuh"

namespace dense_weight_gradient {

using T = gemm::Tile<DENSE_GRADIENT_ROWS, DENSE_GRADIENT_COLUMNS, 8, 8, DENSE_GRADIENT_STAGE_K, DENSE_GRADIENT_STAGES>;
static_assert(T::THREADS == DENSE_GRADIENT_THREADS && T::ROWS == T::THREADS && T::COLUMNS == T::THREADS, "a thread a row");

constexpr int QUADS = T::TILE_ROWS * T::TILE_COLUMNS / 4;  // of a thread's sums
constexpr int WAITING = QUADS * T::THREADS;                // quads of a block's sums

// sum = what waits there + sum.
static __device__ __forceinline__ void join(float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], const float4* smem_waiting) {
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const float4 lower = smem_waiting[quad * T::THREADS + threadIdx.x];
        float* upper = &sums[quad / (T::TILE_COLUMNS / 4)][quad % (T::TILE_COLUMNS / 4) * 4];
        upper[0] = lower.x + upper[0];
        upper[1] = lower.y + upper[1];
        upper[2] = lower.z + upper[2];
        upper[3] = lower.w + upper[3];
    }
}

static __device__ __forceinline__ void put_aside(float4* smem_waiting, const float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS]) {
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const float* sum = &sums[quad / (T::TILE_COLUMNS / 4)][quad % (T::TILE_COLUMNS / 4) * 4];
        smem_waiting[quad * T::THREADS + threadIdx.x] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    }
}

}  // namespace dense_weight_gradient

extern "C" __global__ void __launch_bounds__(DENSE_GRADIENT_THREADS, 3)
dense_weight_gradient_f32(float* __restrict__ out, const float* __restrict__ gradient, const float* __restrict__ in,
                          DenseGradientShape shape) {
    using namespace dense_weight_gradient;
    DYNAMIC_SHARED(float4, smem_waiting);  // (4, WAITING): sums of 1, 2, 4 and 8 slots, then the ring
    float* smem_ring = reinterpret_cast<float*>(smem_waiting + 4 * WAITING);
    const int my = threadIdx.x;
    const int first_row = blockIdx.x % shape.k_tiles * T::ROWS;
    const int first_column = blockIdx.x / shape.k_tiles * T::COLUMNS;
    const bool has_row = first_row + my < int(shape.k);
    const uint32_t column_bytes = first_column + my < int(shape.outputs) ? 4 : 0;
    if (!has_row) {
        // Of the bias 1, of what is behind it 0, for good: no copy goes there.
        const float constant = first_row + my == int(shape.k) ? 1.0f : 0.0f;
#pragma unroll
        for (int at = 0; at < T::STAGES * T::STAGE_K; ++at) {
            smem_ring[at / T::STAGE_K * T::STAGE + at % T::STAGE_K * T::ROW_PITCH + my] = constant;
        }
    }
    gradient += first_column + my;
    in += first_row + my;

    const int stages_a_slot = (shape.images + T::STAGE_K - 1) / T::STAGE_K;
    int fetched = 0;       // stages of the slot that is being fetched
    uint32_t turn = 0;     // which slot that is
    const auto fetch = [&](float* smem_stage, int) {
        const uint32_t slot = __brev(turn) >> 28;
#pragma unroll
        for (int i = 0; i < T::STAGE_K; ++i) {
            const uint32_t image = fetched * T::STAGE_K + i;
            const size_t of_batch = slot + size_t(GRADIENT_SLOTS) * image;
            const uint32_t bytes = image < shape.images ? 4 : 0;
            copy_float_or_zero_if(has_row, smem_stage + i * T::ROW_PITCH + my, in + of_batch * shape.in_image, bytes);
            copy_float_or_zero(smem_stage + T::STAGE_K * T::ROW_PITCH + i * T::PITCH + my, gradient + of_batch * shape.gradient_image,
                               bytes & column_bytes);
        }
        if (++fetched == stages_a_slot) {
            fetched = 0;
            ++turn;
        }
    };
    static_assert(GRADIENT_SLOTS == 16, "four bits of a slot");
    float sums[T::TILE_ROWS][T::TILE_COLUMNS];
#pragma unroll
    for (int r = 0; r < T::TILE_ROWS; ++r) {
#pragma unroll
        for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = 0.0f; }
    }
    int multiplied = 0;    // stages of the slot that is being added up
    uint32_t added = 0;    // slots that are
    const auto slots = [&](int) {
        if (++multiplied < stages_a_slot) { return; }
        multiplied = 0;
        ++added;
        // A sum is joined by its other half, or waits for it.
        float4* smem_half = smem_waiting;
        for (uint32_t sums_of = added; (sums_of & 1) == 0; sums_of /= 2) {
            join(sums, smem_half);
            smem_half += WAITING;
        }
        if (added < GRADIENT_SLOTS) {
            put_aside(smem_half, sums);
#pragma unroll
            for (int r = 0; r < T::TILE_ROWS; ++r) {
#pragma unroll
                for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = 0.0f; }
            }
        }
    };
    gemm::run<T>(sums, smem_ring, GRADIENT_SLOTS * stages_a_slot, fetch, [](float*, int) {}, slots);
#pragma unroll
    for (int r = 0; r < T::TILE_ROWS; ++r) {
#pragma unroll
        for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = sums[r][c] + 0.0f; }
    }
    gemm::write_rows<T>(out, sums, first_row, shape.k + 1, first_column, shape.pitch);
}
