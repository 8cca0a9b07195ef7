// gemm.cuh: a block's tile of a matrix product: rows (outputs of a layer) by columns (positions, or images), k ascending.
//
// Operands pass through a ring of stages of STAGE_K k's in shared memory: (STAGE_K, ROWS) weights, then (STAGE_K, PITCH) inputs.
// A thread holds a tile of TILE_ROWS by TILE_COLUMNS sums in registers, in quads that lie as far apart as a load of all threads
// reaches, so that neighbours read neighbouring quads. A warp is 8 threads across and 4 down where there are as many: eight quads
// of a row of inputs and four of weights, no bank twice.
//
// Numbers   one accumulator a sum, from the bias, k ascending, fused. The k's that fill the last stage are -0 * 0: adding -0
//           changes no bit of any sum, not even that of -0.
#pragma once

#include "common/device.cuh"
#include "common/ptx.cuh"

namespace gemm {

// PITCH_ is what lies between two k's of the inputs in shared memory: COLUMNS, or more where that avoids conflicts; ROW_PITCH_ the
// same of the weights, for what is gathered there.
template <int ROWS_, int COLUMNS_, int TILE_ROWS_, int TILE_COLUMNS_, int STAGE_K_, int STAGES_, int PITCH_ = COLUMNS_,
          int ROW_PITCH_ = ROWS_>
struct Tile {
    static constexpr int ROWS = ROWS_;
    static constexpr int COLUMNS = COLUMNS_;
    static constexpr int TILE_ROWS = TILE_ROWS_;
    static constexpr int TILE_COLUMNS = TILE_COLUMNS_;
    static constexpr int STAGE_K = STAGE_K_;
    static constexpr int STAGES = STAGES_;
    static constexpr int PITCH = PITCH_;
    static constexpr int ROW_PITCH = ROW_PITCH_;
    static constexpr int ACROSS = COLUMNS / TILE_COLUMNS;  // threads
    static constexpr int DOWN = ROWS / TILE_ROWS;
    static constexpr int THREADS = ACROSS * DOWN;
    static constexpr int LANES_ACROSS = ACROSS < 8 ? ACROSS : 8;
    static constexpr int LANES_DOWN = WARP_SIZE / LANES_ACROSS;
    static constexpr int STAGE = STAGE_K * (ROW_PITCH + PITCH);  // floats
    static constexpr int RING = STAGES * STAGE;
    static_assert(ACROSS % LANES_ACROSS == 0 && DOWN % LANES_DOWN == 0, "a warp's threads form a rectangle");
    static_assert((TILE_ROWS == 1 || TILE_ROWS % 4 == 0) && TILE_COLUMNS % 4 == 0 && ROWS % 4 == 0 && PITCH % 4 == 0, "quads");
    static_assert(ROW_PITCH % 4 == 0, "quads");
};

// Where this thread's tile begins: its first row, its first column.
template <class T>
static __device__ __forceinline__ int first_row() {
    const int warp = threadIdx.x / WARP_SIZE;
    const int down = warp / (T::ACROSS / T::LANES_ACROSS) * T::LANES_DOWN + threadIdx.x % WARP_SIZE / T::LANES_ACROSS;
    return T::TILE_ROWS == 1 ? down : 4 * down;
}

template <class T>
static __device__ __forceinline__ int first_column() {
    const int warp = threadIdx.x / WARP_SIZE;
    return 4 * (warp % (T::ACROSS / T::LANES_ACROSS) * T::LANES_ACROSS + threadIdx.x % T::LANES_ACROSS);
}

// Row `i` of a thread's tile, from its first; column `i` likewise.
template <class T>
static __device__ __forceinline__ int row_of(int i) {
    return i / 4 * (4 * T::DOWN) + i % 4;
}

template <class T>
static __device__ __forceinline__ int column_of(int i) {
    return i / 4 * (4 * T::ACROSS) + i % 4;
}

// N values in quads that lie `apart`, or one; `from` is a multiple of 16 bytes, but for the one.
template <int N>
static __device__ __forceinline__ void load(float (&to)[N], const float* from, int apart) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(from + i / 4 * apart);
        to[i] = four.x;
        to[i + 1] = four.y;
        to[i + 2] = four.z;
        to[i + 3] = four.w;
    }
}

static __device__ __forceinline__ void load(float (&to)[1], const float* from, int) {
    to[0] = from[0];
}

// sums[r][c] from bias (rows), of which the first belongs to the tile's first row; rows past `rows` start from 0.
template <class T>
static __device__ __forceinline__ void begin(float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], const float* bias, int rows) {
#pragma unroll
    for (int r = 0; r < T::TILE_ROWS; ++r) {
        const int row = first_row<T>() + row_of<T>(r);
        const float start = row < rows ? bias[row] : 0.0f;
#pragma unroll
        for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = start; }
    }
}

// Starts to copy a stage's weights (STAGE_K, ROWS) from `weights`, rows of `pitch`, a multiple of 4 as `rows` is; what lies past
// `rows` is 0.
template <class T>
static __device__ __forceinline__ void fetch_weights(float* smem_weights, const float* weights, int rows, int pitch) {
    static_assert(T::ROW_PITCH == T::ROWS, "a stage's weights are copied as they come");
    constexpr int QUADS = T::STAGE_K * T::ROWS / 4;
#pragma unroll
    for (int start = 0; start < QUADS; start += T::THREADS) {
        const int at = start + threadIdx.x;
        if (QUADS % T::THREADS == 0 || at < QUADS) {
            const int k = at / (T::ROWS / 4);
            const int row = at % (T::ROWS / 4) * 4;
            copy_float4_or_zero(smem_weights + 4 * at, weights + size_t(k) * pitch + row, row < rows);
        }
    }
}

// Adds the products of a stage.
template <class T>
static __device__ __forceinline__ void multiply(float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], const float* smem_stage) {
    const float* w_rows = smem_stage + first_row<T>();
    const float* x_rows = smem_stage + T::STAGE_K * T::ROW_PITCH + first_column<T>();
#pragma unroll
    for (int k = 0; k < T::STAGE_K; ++k) {
        float x[T::TILE_COLUMNS];
        float w[T::TILE_ROWS];
        load(x, x_rows + k * T::PITCH, 4 * T::ACROSS);
        load(w, w_rows + k * T::ROW_PITCH, 4 * T::DOWN);
#pragma unroll
        for (int r = 0; r < T::TILE_ROWS; ++r) {
#pragma unroll
            for (int c = 0; c < T::TILE_COLUMNS; ++c) { sums[r][c] = fmaf(x[c], w[r], sums[r][c]); }
        }
    }
}

// The product over `n_stages` stages. `fetch(smem_stage, stage)` starts a stage's copies, and may load into registers what
// `store(smem_stage, stage)`, after a stage's products, puts into shared memory. `multiplied(stage)` is called when a stage's products
// are in the sums.
template <class T, class Fetch, class Store, class Multiplied>
static __device__ __forceinline__ void run(float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], float* smem_ring, int n_stages,
                                           Fetch fetch, Store store, Multiplied multiplied) {
#pragma unroll 1
    for (int stage = 0; stage < T::STAGES - 1; ++stage) {
        if (stage < n_stages) {
            fetch(smem_ring + stage * T::STAGE, stage);
            store(smem_ring + stage * T::STAGE, stage);
        }
        copies_commit();
    }
    int now = 0;               // where the ring stands: this stage's place
    int free = T::STAGES - 1;  // and the place of the stage before it
#pragma unroll 1
    for (int stage = 0; stage < n_stages; ++stage) {
        copies_wait<T::STAGES - 2>();
        __syncthreads();  // this stage has arrived for all, and all have read the one before, which is filled anew
        const int next = stage + T::STAGES - 1;
        float* smem_next = smem_ring + free * T::STAGE;
        if (next < n_stages) { fetch(smem_next, next); }
        copies_commit();
        multiply<T>(sums, smem_ring + now * T::STAGE);
        multiplied(stage);
        if (next < n_stages) { store(smem_next, next); }
        free = now;
        now = now + 1 == T::STAGES ? 0 : now + 1;
    }
}

template <class T, class Fetch, class Store>
static __device__ __forceinline__ void run(float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], float* smem_ring, int n_stages,
                                           Fetch fetch, Store store) {
    run<T>(sums, smem_ring, n_stages, fetch, store, [](int) {});
}

// Writes sums as (rows, pitch): the tile's first go to `tile_row` and `tile_column`; what lies past `rows` or
// `pitch`, a multiple of 4, is left out. `out` is a multiple of 16 bytes.
template <class T>
static __device__ __forceinline__ void write_rows(float* out, const float (&sums)[T::TILE_ROWS][T::TILE_COLUMNS], int tile_row,
                                                  int rows, int tile_column, int pitch) {
#pragma unroll
    for (int r = 0; r < T::TILE_ROWS; ++r) {
        const int row = tile_row + first_row<T>() + row_of<T>(r);
#pragma unroll
        for (int c = 0; c < T::TILE_COLUMNS; c += 4) {
            const int column = tile_column + first_column<T>() + column_of<T>(c);
            if (row < rows && column < pitch) {
                *reinterpret_cast<float4*>(out + size_t(row) * pitch + column) =
                    make_float4(sums[r][c], sums[r][c + 1], sums[r][c + 2], sums[r][c + 3]);
            }
        }
    }
}

// Of one coordinate: bit i + 2 says whether `first + i` is in 0..size, for i below 29; bit 31 is 0. Shifted right by i, the bit is
// worth 4: the bytes of a value that is there.
static __device__ __forceinline__ uint32_t inside(int first, int size) {
    const int low = first < 0 ? -first : 0;
    const int high = size - first < 29 ? size - first : 29;
    return low < high ? ((1u << high) - (1u << low)) << 2 : 0;
}

// How many bytes there are of what a tap at `row` and `column` reads: 4 or 0.
static __device__ __forceinline__ uint32_t bytes_inside(uint32_t rows, uint32_t columns, uint32_t row, uint32_t column) {
    return __funnelshift_r(rows, 0, row) & __funnelshift_r(columns, 0, column) & 4;
}

}  // namespace gemm
