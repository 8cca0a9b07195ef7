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
    static constexpr int STAGE = STAGE_K * (ROW + IMAGES);          // floats
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

// Starts to copy the weights and features of stage `stage` to smem_stage: (STAGE_K, ROW), then (STAGE_K, IMAGES).
template <class T>
static __device__ __forceinline__ void fetch(float* smem_stage, const float* weights, const float* features, int stage,
                                             int stride) {
    const float* from = weights + stage * (STAGE_K * ROW);
#pragma unroll
    for (int at = 0; at < STAGE_K * ROW; at += 4 * T::THREADS) {
        copy_16_bytes(smem_stage + at + 4 * threadIdx.x, from + at + 4 * threadIdx.x);
    }
    float* smem_features = smem_stage + STAGE_K * ROW;
#pragma unroll
    for (int start = 0; start < STAGE_K * T::IMAGES; start += 4 * T::THREADS) {
        const int at = start + 4 * threadIdx.x;
        if (at < STAGE_K * T::IMAGES) {
            const int k = stage * STAGE_K + at / T::IMAGES;
            copy_16_bytes(smem_features + at, features + size_t(k) * stride + at % T::IMAGES);
        }
    }
}

// fc1: sums[i][o], from their biases.
template <class T>
static __device__ __forceinline__ void dense(float (&sums)[T::TILE_IMAGES][T::TILE_OUTPUTS], float* smem,
                                             const float* weights, const float* features, int stride) {
    constexpr int N = FEATURES / STAGE_K;
    const int across = threadIdx.x % T::ACROSS;
    const int down = threadIdx.x / T::ACROSS;
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        fetch<T>(smem + stage * T::STAGE, weights, features, stage, stride);
        copies_commit();
    }
#pragma unroll 1
    for (int stage = 0; stage < N; ++stage) {
        copies_wait<STAGES - 2>();
        __syncthreads();  // this stage has arrived for all, and all have read the one before, which is filled anew
        if (stage + STAGES - 1 < N) {
            fetch<T>(smem + (stage + STAGES - 1) % STAGES * T::STAGE, weights, features, stage + STAGES - 1, stride);
        }
        copies_commit();
        const float* w_rows = smem + stage % STAGES * T::STAGE + 4 * down;
        const float* x_rows = smem + stage % STAGES * T::STAGE + STAGE_K * ROW + 4 * across;
#pragma unroll
        for (int k = 0; k < STAGE_K; ++k) {
            float x[T::TILE_IMAGES];
            float w[T::TILE_OUTPUTS];
            load(x, x_rows + k * T::IMAGES, T::PART);
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
                                                     int n_classes, int batch, int features_stride, int out_stride) {
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
    dense<T>(sums, smem, fc1_weights, features + first, features_stride);

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
                out[size_t(output) * out_stride + image] = math::canonical(probability == probability, probability);
            }
        }
    }
}

}  // namespace lenet_probabilities

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_THREADS, 1)
lenet_probabilities_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                        const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                        const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                        int features_stride, int probabilities_stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_IMAGES, 8, 16>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, features_stride, probabilities_stride);
}

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_SOME_THREADS, 2)
lenet_probabilities_some_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                             const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                             const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                             int features_stride, int probabilities_stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_SOME_IMAGES, 4, 8>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_SOME_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, features_stride, probabilities_stride);
}

extern "C" __global__ void __launch_bounds__(LENET_PROBABILITIES_FEW_THREADS, 2)
lenet_probabilities_few_f32(float* __restrict__ probabilities, const float* __restrict__ features,
                            const float* __restrict__ fc1_weights, const float* __restrict__ fc1_bias,
                            const float* __restrict__ fc2_weights, const float* __restrict__ fc2_bias, int n_classes, int batch,
                            int features_stride, int probabilities_stride) {
    using Shape = lenet_probabilities::Tiles<LENET_PROBABILITIES_FEW_IMAGES, 4, 4>;
    static_assert(Shape::THREADS == LENET_PROBABILITIES_FEW_THREADS, "tuning.cuh");
    lenet_probabilities::probabilities<Shape>(probabilities, features, fc1_weights, fc1_bias, fc2_weights, fc2_bias, n_classes,
                                              batch, features_stride, probabilities_stride);
}
