// lenet_probabilities.cu: the rest of LeNet: fc1, rectifier, fc2, softmax.
//
//   out  probabilities  (n_classes, stride) f32, class-major; the first `batch` of each row
//   in   features       (batch, 800) f32, batch >= 1
//        fc1_weights    (800, 512) f32: inputs by outputs, of which the last 12 are 0; fc1_bias (512)
//        fc2_weights    (n_classes, 500) f32; fc2_bias (n_classes)
//   fc1_weights and fc2_weights are multiples of 16 bytes. Dynamic shared memory: the larger of 4 STAGES * STAGE and
//   4 PART (500 + n_classes) bytes.
//
// Mapping   a block makes 64 images with 256 threads, a thread a tile of 8 images by 16 outputs of fc1 in registers; features and
//           weights stream through a ring of 4 stages of 8 inputs in shared memory, one barrier a stage. Then 32 images at a
//           time: fc1's outputs go to shared memory, over the ring; a thread makes a class of an image; a thread softens an
//           image. `some`: 16 images, tiles of 4 x 8; `few`: 4 images, tiles of 4 x 4 by 128 threads: for batches that would
//           leave multiprocessors idle.
// Banks     no conflicts: the lanes that read different quads of a row read neighbouring ones; the features of 4 images by 8
//           inputs, which a warp brings in at once, go to 32 banks (PITCH); fc1's outputs leave as neighbouring quads.
// Cost      405,000 multiply-adds a genome, 415,000 with the padding; 3,200 bytes in, 4 n_classes out; 25.6 kB of weights from
//           the L2 cache (`some` 102 kB, `few` 410 kB). sm_90a: 212 registers, 1 block, 8 warps a multiprocessor (`some` 79: 3
//           blocks, by shared memory; `few` 63: 3). Of the 1,132 instructions of a stage 1,024 are FFMA, 88 % useful ones (`some`
//           256 of 327, `few` 128 of 193). A load from shared memory a 21 FFMA; at 128 bytes a cycle its data take 75 % of the
//           pipe. fc2 and softmax: chains of 500 additions, some 5 % of the time.
// Predicted 55e6 genomes/s at 65536 on an H100: 69 M/s if every slot issued, of which 80 %: 67 % of the card's 82.6 M/s for these
//           layers; the L2 cache gives 1.4 TB/s of its some 5.5.
// Predicted lenet_probabilities_some_f32 48e6 genomes/s at 4096 on an H100: two blocks a multiprocessor, 131,000 instructions a scheduler, at 4 of 5 slots
//           85 us. 1,600 images, one block a multiprocessor, take 45 us.
// Predicted lenet_probabilities_few_f32 11.8e6 genomes/s at 200 on an H100: 17 us, bound by the 64 bytes a cycle that a multiprocessor gets from L2.
// Numbers   exact: each sum from the bias, k ascending, fused; the rectifier `x > 0 ? x : 0`; softmax: exp(x - largest), the sum
//           over the classes ascending from 0, one division a class. A NaN gives the one NaN 0x7fc00000.
// Twin      backend::cpu::{dense, relu, softmax}; tests/cuda/classify.rs.
#include "common/device.cuh"
#include "common/math.cuh"
#include "common/ptx.cuh"
#include "common/tuning.cuh"

namespace lenet_probabilities {

constexpr int FEATURES = 800;                      // of an image, what fc1 takes
constexpr int HIDDEN = 500;                        // what fc1 gives
constexpr int ROW = LENET_PROBABILITIES_ROW;       // fc1's outputs, padded: the last 12 are computed and dropped
constexpr int STAGE_K = LENET_PROBABILITIES_STAGE_K;
constexpr int STAGES = LENET_PROBABILITIES_STAGES;
static_assert(FEATURES % STAGE_K == 0 && HIDDEN % 4 == 0, "whole stages, whole vectors");

// A block makes IMAGES images; a thread TILE_IMAGES of them for TILE_OUTPUTS outputs of fc1.
template <int IMAGES_, int TILE_IMAGES_, int TILE_OUTPUTS_>
struct Tiles {
    static constexpr int IMAGES = IMAGES_;
    static constexpr int TILE_IMAGES = TILE_IMAGES_;
    static constexpr int TILE_OUTPUTS = TILE_OUTPUTS_;
    static constexpr int ACROSS = IMAGES / TILE_IMAGES;             // tiles, along the images
    static constexpr int THREADS = ACROSS * (ROW / TILE_OUTPUTS);
    // Images and outputs of a tile are quads, as far apart as a load of all lanes reaches: neighbours read neighbouring quads.
    static constexpr int PARTS = TILE_IMAGES / 4;
    static constexpr int PART = IMAGES / PARTS;                     // images of one quad of each tile
    static constexpr int BAND = 4 * ROW / TILE_OUTPUTS;             // outputs of one quad of each tile
    // Floats between two k's of the features in shared memory: 8 k's of 4 images, which a warp writes at once, are in 32 banks.
    static constexpr int PITCH = IMAGES % 8 == 0 ? IMAGES + 4 : IMAGES;
    static constexpr int STAGE = STAGE_K * (ROW + PITCH);           // floats
};

// N values in quads that lie `apart`; `from` is a multiple of 16 bytes.
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

// Starts to copy the weights and features of stage `stage` to smem_stage: (STAGE_K, ROW), then (STAGE_K, PITCH). Images past the
// batch are its last.
template <class T>
static __device__ __forceinline__ void fetch(float* smem_stage, const float* weights, const float* features, int stage,
                                             int first, int batch) {
    const float* from = weights + stage * (STAGE_K * ROW) + 4 * threadIdx.x;
#pragma unroll
    for (int at = 0; at < STAGE_K * ROW; at += 4 * T::THREADS) {
        copy_float4(smem_stage + 4 * threadIdx.x + at, from + at);
    }
    float* smem_features = smem_stage + STAGE_K * ROW;
#pragma unroll
    for (int start = 0; start < STAGE_K * T::IMAGES; start += T::THREADS) {
        const int at = start + threadIdx.x;
        if (at < STAGE_K * T::IMAGES) {
            const int k = at % STAGE_K;
            const int image = at / STAGE_K;
            const int place = first + image < batch ? first + image : batch - 1;
            copy_float(smem_features + k * T::PITCH + image, features + size_t(place) * FEATURES + stage * STAGE_K + k);
        }
    }
}

// fc1: sums[i][o], from their biases.
template <class T>
static __device__ __forceinline__ void dense(float (&sums)[T::TILE_IMAGES][T::TILE_OUTPUTS], float* smem,
                                             const float* weights, const float* features, int first, int batch) {
    constexpr int N = FEATURES / STAGE_K;
    const int across = threadIdx.x % T::ACROSS;
    const int down = threadIdx.x / T::ACROSS;
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        fetch<T>(smem + stage * T::STAGE, weights, features, stage, first, batch);
        copies_commit();
    }
#pragma unroll 1
    for (int stage = 0; stage < N; ++stage) {
        copies_wait<STAGES - 2>();
        __syncthreads();  // this stage has arrived for all, and all have read the one before, which is filled anew
        if (stage + STAGES - 1 < N) {
            fetch<T>(smem + (stage + STAGES - 1) % STAGES * T::STAGE, weights, features, stage + STAGES - 1, first,
                     batch);
        }
        copies_commit();
        const float* w_rows = smem + stage % STAGES * T::STAGE + 4 * down;
        const float* x_rows = smem + stage % STAGES * T::STAGE + STAGE_K * ROW + 4 * across;
#pragma unroll
        for (int k = 0; k < STAGE_K; ++k) {
            float x[T::TILE_IMAGES];
            float w[T::TILE_OUTPUTS];
            load(x, x_rows + k * T::PITCH, T::PART);
            load(w, w_rows + k * ROW, T::BAND);
#pragma unroll
            for (int i = 0; i < T::TILE_IMAGES; ++i) {
#pragma unroll
                for (int o = 0; o < T::TILE_OUTPUTS; ++o) { sums[i][o] = fmaf(x[i], w[o], sums[i][o]); }
            }
        }
    }
    __syncthreads();  // all have read the last stage, whose place is used for other things now
}

template <class T>
static __device__ __forceinline__ void probabilities(float* __restrict__ out, const float* __restrict__ features,
                                                     const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                                                     const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias,
                                                     int n_classes, int batch, int stride) {
    constexpr int PART = T::PART;
    DYNAMIC_SHARED(float, smem);
    const int first = blockIdx.x * T::IMAGES;
    const int across = threadIdx.x % T::ACROSS;
    const int down = threadIdx.x / T::ACROSS;

    float sums[T::TILE_IMAGES][T::TILE_OUTPUTS];
#pragma unroll
    for (int o = 0; o < T::TILE_OUTPUTS; ++o) {
        const float bias = fc1_bias[4 * down + o / 4 * T::BAND + o % 4];
#pragma unroll
        for (int i = 0; i < T::TILE_IMAGES; ++i) { sums[i][o] = bias; }
    }
    dense<T>(sums, smem, fc1_weights, features, first, batch);

    float* smem_hidden = smem;                   // (HIDDEN, PART)
    float* smem_logits = smem + HIDDEN * PART;   // (n_classes, PART)
#pragma unroll
    for (int part = 0; part < T::PARTS; ++part) {
#pragma unroll
        for (int o = 0; o < T::TILE_OUTPUTS; ++o) {
            const int output = 4 * down + o / 4 * T::BAND + o % 4;
            if (output < HIDDEN) {
                float4 hidden;
                hidden.x = maximum(sums[4 * part][o], 0.0f);
                hidden.y = maximum(sums[4 * part + 1][o], 0.0f);
                hidden.z = maximum(sums[4 * part + 2][o], 0.0f);
                hidden.w = maximum(sums[4 * part + 3][o], 0.0f);
                *reinterpret_cast<float4*>(smem_hidden + output * PART + 4 * across) = hidden;
            }
        }
        __syncthreads();  // hidden is written, fc2 reads it
        for (int at = threadIdx.x; at < n_classes * PART; at += T::THREADS) {
            const int output = at / PART;
            const float* x = smem_hidden + at % PART;
            const float* weights = fc2_weights + size_t(output) * HIDDEN;
            float sum = fc2_bias[output];
#pragma unroll 5
            for (int k = 0; k < HIDDEN; k += 4) {
                const float4 w = *reinterpret_cast<const float4*>(weights + k);
                sum = fmaf(x[k * PART], w.x, sum);
                sum = fmaf(x[(k + 1) * PART], w.y, sum);
                sum = fmaf(x[(k + 2) * PART], w.z, sum);
                sum = fmaf(x[(k + 3) * PART], w.w, sum);
            }
            smem_logits[at] = sum;
        }
        __syncthreads();  // logits are written, softmax reads them; hidden is read, the next part goes over it

        const int image = first + part * PART + threadIdx.x;
        if (threadIdx.x < PART && image < batch) {
            float* logits = smem_logits + threadIdx.x;
            float best = logits[0];
            for (int output = 0; output < n_classes; ++output) { best = maximum(logits[output * PART], best); }
            float sum = 0.0f;
            for (int output = 0; output < n_classes; ++output) {
                const float power = math::exp(logits[output * PART] - best);
                logits[output * PART] = power;
                sum = sum + power;
            }
            for (int output = 0; output < n_classes; ++output) {
                const float probability = logits[output * PART] / sum;
                out[size_t(output) * stride + image] = math::canonical(probability == probability, probability);
            }
        }
    }
}

}  // namespace lenet_probabilities

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_THREADS, 1)
lenet_probabilities_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                        const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                        const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                        int stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_IMAGES, 8, 16>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, stride);
}

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_SOME_THREADS, 2)
lenet_probabilities_some_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                             const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                             const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                             int stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_SOME_IMAGES, 4, 8>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_SOME_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, stride);
}

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_FEW_THREADS, 2)
lenet_probabilities_few_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                            const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                            const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                            int stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_FEW_IMAGES, 4, 4>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_FEW_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, stride);
}
