// lenet_features.cu: LeNet's convolutions and poolings: from 8-bit images to what fc1 takes.
//
//   out  features       (batch, 800) f32: channel, row, column of pool2
//   in   images         (batch, 28, 28) u8
//        mean           (28, 28) f32, 0 without a mean: pixel - 0 is pixel
//        conv1_weights  (2, 5, 52) f32, then 20 biases: groups of 10 channels; kernel rows; (5, 10) columns by channels, padded
//        conv2_weights  (20, GROUPS, 5, TAPS) f32: input channels; groups of TILE channels; kernel rows; (5, TILE) columns by
//                       channels, padded to TAPS; channels past the 50th are 0
//        conv2_bias     (GROUPS * TILE) f32
//        scale          of pixels
//   Pointers are multiples of 16 bytes. Dynamic shared memory: 71,664 bytes; `few` 42,992.
//
// Mapping   a block makes 4 images from pixels to features, all in shared memory and registers: 4 warps, each with a group of 13
//           channels of conv2 (the last has 2 too many: 4 % of the work, for warps that all have as much to do), a lane a window
//           of 2 x 4 positions of an image: per input channel and kernel row 16 inputs and 65 weights for 520 multiply-adds.
//           conv1: 10 channels by 2 x 6 positions a thread, 3 rounds. Whole windows of the poolings lie in a thread. conv2's
//           weights stream through two buffers of each warp, which waits for nobody but itself.
//           `few`: 2 images a block and 7 channels a thread, for batches that would leave multiprocessors idle.
// Banks     no conflicts: conv1's lanes read pairs of words at 24 row + 6 tile modulo 32, 16 different ones a half-warp; conv2's
//           quads of words at 24 row + 4 half, 8 different ones an image; weights are one address a warp (`few`: two, 20 banks
//           apart). pool1 is written in steps of 3 words.
// Cost      1.888 M multiply-adds a genome, 1.952 M with the channels too many (`few` 2.08 M); 784 bytes in, 3,200 out; 28 kB
//           of weights from the L2 cache (`few` 60 kB). sm_90a: 164 registers, so 3 blocks, 12 warps a multiprocessor. Of the
//           549 instructions of conv2's inner loop 520 are FFMA, of conv1's 629 600; in all some 67,300 a warp, 87 % useful
//           FFMA (`few` 39,500 for half the images, 75 %). A load from shared memory a 25 FFMA; at 128 bytes a cycle its data
//           take 65 % of the pipe.
// Predicted 13e6 genomes/s at 65536 on an H100: 15.5 M/s if every slot issued, of which 85 %: 74 % of the card's 17.7 M/s for these
//           layers.
// Predicted lenet_features_few_f32 7.4e6 genomes/s at 200 on an H100: 100 blocks of 39,500 instructions a scheduler, at 3 of 4 slots 27 us.
// Numbers   exact: preprocessing `(pixel - mean) * scale`, two roundings; each sum from the bias, k ascending in (input channel,
//           kernel row, kernel column), fused; pooling `a > b ? a : b` in row-major order, which tells 0 from -0 and NaN.
// Twin      backend::cpu::{preprocess, conv2d, max_pool}; tests/cuda/classify.rs.
#include "common/device.cuh"
#include "common/ptx.cuh"
#include "common/tuning.cuh"

namespace lenet_features {

constexpr int KERNEL = 5;                                  // both convolutions: rows and columns of a kernel
constexpr int SIZE = 28;                                   // the image: rows and columns
constexpr int PIXELS = SIZE * SIZE;
constexpr int CHANNELS1 = 20;                              // of conv1
constexpr int POOLED1 = 12;                                // pool1: rows and columns
constexpr int PLANE1 = POOLED1 * POOLED1;
constexpr int CHANNELS2 = 50;                              // of conv2
constexpr int POOLED2 = 4;                                 // pool2: rows and columns
constexpr int FEATURES = CHANNELS2 * POOLED2 * POOLED2;
constexpr int THREADS = LENET_FEATURES_THREADS;
constexpr int WARPS = THREADS / WARP_SIZE;

constexpr int round_up(int value, int to) {
    return (value + to - 1) / to * to;
}

// conv1: a thread makes TILE1_CHANNELS channels of TILE1_COLUMNS columns of two rows.
constexpr int TILE1_CHANNELS = 10;
constexpr int TILE1_COLUMNS = 6;
constexpr int TILES1_ACROSS = 2 * POOLED1 / TILE1_COLUMNS;
constexpr int TILES1 = POOLED1 * TILES1_ACROSS;
constexpr int TAPS1 = round_up(KERNEL * TILE1_CHANNELS, 4);  // weights of a kernel row, padded to whole vectors
constexpr int WEIGHTS1 = CHANNELS1 / TILE1_CHANNELS * KERNEL * TAPS1;
constexpr int SHARED1 = WEIGHTS1 + round_up(CHANNELS1, 4);   // and the biases

// conv2: a thread makes `TILE` channels of 4 columns of two rows.
constexpr int TILE2_COLUMNS = 4;
constexpr int TILES2 = POOLED2 * 2;

template <int TILE>
struct Conv2 {
    static constexpr int GROUPS = (CHANNELS2 + TILE - 1) / TILE;  // of channels; the last has some that are dropped
    static constexpr int IMAGES = THREADS / (TILES2 * GROUPS);    // of a block
    static constexpr int TAPS = round_up(KERNEL * TILE, 4);       // weights of a kernel row, padded to whole vectors
    static constexpr int SLICE = KERNEL * TAPS;                   // weights of an input channel for a group
    static constexpr int WARP_SLICE = GROUPS / WARPS * SLICE;     // and for the groups of a warp
    static_assert(GROUPS % WARPS == 0 && IMAGES * TILES2 * GROUPS == THREADS, "a group's weights belong to one warp");
};

// N values from `from`, a multiple of 16 bytes.
template <int N>
static __device__ __forceinline__ void load(float (&to)[N], const float* from) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(from + i);
        to[i] = four.x;
        to[i + 1] = four.y;
        to[i + 2] = four.z;
        to[i + 3] = four.w;
    }
}

// What max pooling makes of a window of 2 x 2: of equal values, and beside NaN, the order decides (cpu/max_pool.rs).
static __device__ __forceinline__ float pool(float a, float b, float c, float d) {
    float best = a;
    best = b > best ? b : best;
    best = c > best ? c : best;
    return d > best ? d : best;
}

// smem_pixels (IMAGES, SIZE, SIZE), 16 pixels at a time. Images past the batch are black.
template <int IMAGES>
static __device__ __forceinline__ void preprocess(float* smem_pixels, const uint8_t* images, const float* mean, float scale,
                                                  int first, int batch) {
    constexpr int PIECES = PIXELS / 16;
    for (int at = threadIdx.x; at < IMAGES * PIECES; at += THREADS) {
        const int image = first + at / PIECES;
        const int pixel = at % PIECES * 16;
        uint4 piece = make_uint4(0, 0, 0, 0);
        if (image < batch) { piece = *reinterpret_cast<const uint4*>(images + size_t(image) * PIXELS + pixel); }
        const uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float4 offset = *reinterpret_cast<const float4*>(mean + pixel + 4 * i);
            float4 x;
            x.x = (float(words[i] & 0xff) - offset.x) * scale;
            x.y = (float(words[i] >> 8 & 0xff) - offset.y) * scale;
            x.z = (float(words[i] >> 16 & 0xff) - offset.z) * scale;
            x.w = (float(words[i] >> 24) - offset.w) * scale;
            *reinterpret_cast<float4*>(smem_pixels + at * 16 + 4 * i) = x;
        }
    }
}

// conv1 and pool1: smem_pooled (IMAGES, CHANNELS1, POOLED1, POOLED1) from smem_pixels (IMAGES, SIZE, SIZE).
template <int IMAGES>
static __device__ __forceinline__ void conv1(float* smem_pooled, const float* smem_pixels, const float* smem_weights) {
    constexpr int COLUMNS = TILE1_COLUMNS + KERNEL - 1;
    constexpr int ITEMS = CHANNELS1 / TILE1_CHANNELS * IMAGES * TILES1;
    static_assert(IMAGES * TILES1 % WARP_SIZE == 0, "a warp has one group of channels: its weights are broadcast");
#pragma unroll 1
    for (int item = threadIdx.x; item < ITEMS; item += THREADS) {
        const int group = item / (IMAGES * TILES1);
        const int image = item / TILES1 % IMAGES;
        const int row = item % TILES1 / TILES1_ACROSS;  // of the pooled plane
        const int tile = item % TILES1_ACROSS;
        const float* input = smem_pixels + image * PIXELS + 2 * row * SIZE + tile * TILE1_COLUMNS;
        const float* weights = smem_weights + group * KERNEL * TAPS1;
        const float* bias = smem_weights + WEIGHTS1 + group * TILE1_CHANNELS;

        float sums[TILE1_CHANNELS][2][TILE1_COLUMNS];
#pragma unroll
        for (int channel = 0; channel < TILE1_CHANNELS; ++channel) {
#pragma unroll
            for (int at = 0; at < 2 * TILE1_COLUMNS; ++at) {
                sums[channel][at / TILE1_COLUMNS][at % TILE1_COLUMNS] = bias[channel];
            }
        }
#pragma unroll 1
        for (int kernel_row = 0; kernel_row < KERNEL; ++kernel_row, input += SIZE, weights += TAPS1) {
            float x[2][COLUMNS];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
#pragma unroll
                for (int c = 0; c < COLUMNS; c += 2) {
                    const float2 pair = *reinterpret_cast<const float2*>(input + r * SIZE + c);
                    x[r][c] = pair.x;
                    x[r][c + 1] = pair.y;
                }
            }
            float w[TAPS1];
            load(w, weights);
#pragma unroll
            for (int tap = 0; tap < KERNEL; ++tap) {
#pragma unroll
                for (int channel = 0; channel < TILE1_CHANNELS; ++channel) {
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
#pragma unroll
                        for (int c = 0; c < TILE1_COLUMNS; ++c) {
                            sums[channel][r][c] = fmaf(x[r][c + tap], w[tap * TILE1_CHANNELS + channel], sums[channel][r][c]);
                        }
                    }
                }
            }
        }
        float* pooled = smem_pooled + (image * CHANNELS1 + group * TILE1_CHANNELS) * PLANE1 + row * POOLED1 +
                        tile * (TILE1_COLUMNS / 2);
#pragma unroll
        for (int channel = 0; channel < TILE1_CHANNELS; ++channel) {
#pragma unroll
            for (int c = 0; c < TILE1_COLUMNS; c += 2) {
                pooled[channel * PLANE1 + c / 2] = pool(sums[channel][0][c], sums[channel][0][c + 1], sums[channel][1][c],
                                                        sums[channel][1][c + 1]);
            }
        }
    }
}

// Starts to copy the weights of input channel `channel` for the groups of `warp`.
template <int TILE>
static __device__ __forceinline__ void fetch_weights(float* smem_weights, const float* weights, int channel, int warp, int lane) {
    constexpr int WARP_SLICE = Conv2<TILE>::WARP_SLICE;
    const float* from = weights + (channel * WARPS + warp) * WARP_SLICE;
#pragma unroll
    for (int start = 0; start < WARP_SLICE; start += 4 * WARP_SIZE) {
        const int at = start + 4 * lane;
        if (at < WARP_SLICE) { copy_float4(smem_weights + at, from + at); }
    }
}

template <int TILE>
static __device__ __forceinline__ void features(float* __restrict__ out, const uint8_t* __restrict__ images,
                                                const float* __restrict__ mean, const float* __restrict__ conv1_weights,
                                                const float* __restrict__ conv2_weights, const float* __restrict__ conv2_bias,
                                                float scale, int batch) {
    using Shape = Conv2<TILE>;
    constexpr int IMAGES = Shape::IMAGES;
    DYNAMIC_SHARED(float, smem);
    float* smem_pooled = smem;                                                 // (IMAGES, CHANNELS1, POOLED1, POOLED1)
    float* smem_pixels = smem_pooled + IMAGES * CHANNELS1 * PLANE1;            // (IMAGES, SIZE, SIZE)
    float* smem_conv1 = smem_pixels + IMAGES * PIXELS;                         // (SHARED1)
    const int warp = threadIdx.x / WARP_SIZE;
    const int lane = threadIdx.x % WARP_SIZE;
    float* smem_conv2 = smem_conv1 + SHARED1 + warp * 2 * Shape::WARP_SLICE;  // (2, groups of the warp, KERNEL, TAPS)
    const int first = blockIdx.x * IMAGES;

    fetch_weights<TILE>(smem_conv2, conv2_weights, 0, warp, lane);
    for (int at = 4 * threadIdx.x; at < SHARED1; at += 4 * THREADS) { copy_float4(smem_conv1 + at, conv1_weights + at); }
    copies_commit();
    preprocess<IMAGES>(smem_pixels, images, mean, scale, first, batch);
    copies_wait<0>();
    __syncthreads();  // pixels and weights are written, conv1 reads them
    conv1<IMAGES>(smem_pooled, smem_pixels, smem_conv1);
    __syncthreads();  // pool1 is written, conv2 reads it

    // conv2. A warp's lanes: 8 tiles of each image, then images, then groups.
    const int tile = threadIdx.x % TILES2;
    const int image = threadIdx.x / TILES2 % IMAGES;
    const int group = threadIdx.x / (TILES2 * IMAGES);
    const int row = tile / 2;  // of the pooled plane
    const int half = tile % 2;
    const float* input = smem_pooled + image * CHANNELS1 * PLANE1 + 2 * row * POOLED1 + half * TILE2_COLUMNS;

    float sums[TILE][2][TILE2_COLUMNS];
#pragma unroll
    for (int channel = 0; channel < TILE; ++channel) {
        const float bias = conv2_bias[group * TILE + channel];
#pragma unroll
        for (int at = 0; at < 2 * TILE2_COLUMNS; ++at) { sums[channel][at / TILE2_COLUMNS][at % TILE2_COLUMNS] = bias; }
    }
#pragma unroll 1
    for (int channel1 = 0; channel1 < CHANNELS1; ++channel1) {
        if (channel1 + 1 < CHANNELS1) {
            fetch_weights<TILE>(smem_conv2 + (channel1 + 1) % 2 * Shape::WARP_SLICE, conv2_weights, channel1 + 1, warp, lane);
        }
        copies_commit();
        copies_wait<1>();
        __syncwarp();  // all lanes' copies for channel1 have arrived, all lanes read them
        const float* weights = smem_conv2 + channel1 % 2 * Shape::WARP_SLICE + group % (Shape::GROUPS / WARPS) * Shape::SLICE;
        const float* rows = input + channel1 * PLANE1;
#pragma unroll 1
        for (int kernel_row = 0; kernel_row < KERNEL; ++kernel_row, rows += POOLED1, weights += Shape::TAPS) {
            float x[2][2 * TILE2_COLUMNS];
            load(x[0], rows);
            load(x[1], rows + POOLED1);
            float w[Shape::TAPS];
            load(w, weights);
#pragma unroll
            for (int tap = 0; tap < KERNEL; ++tap) {
#pragma unroll
                for (int channel = 0; channel < TILE; ++channel) {
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
#pragma unroll
                        for (int c = 0; c < TILE2_COLUMNS; ++c) {
                            sums[channel][r][c] = fmaf(x[r][c + tap], w[tap * TILE + channel], sums[channel][r][c]);
                        }
                    }
                }
            }
        }
        __syncwarp();  // all lanes have read these weights; those of channel1 + 2 go over them
    }

    if (first + image >= batch) { return; }
    float* feature = out + size_t(first + image) * FEATURES + row * POOLED2 + 2 * half;
#pragma unroll
    for (int channel = 0; channel < TILE; ++channel) {
        const int channel2 = group * TILE + channel;
        if (channel2 < CHANNELS2) {
            float2 pooled;
            pooled.x = pool(sums[channel][0][0], sums[channel][0][1], sums[channel][1][0], sums[channel][1][1]);
            pooled.y = pool(sums[channel][0][2], sums[channel][0][3], sums[channel][1][2], sums[channel][1][3]);
            *reinterpret_cast<float2*>(feature + channel2 * POOLED2 * POOLED2) = pooled;
        }
    }
}

}  // namespace lenet_features

extern "C" __global__ void __launch_bounds__(LENET_FEATURES_THREADS, 3)
lenet_features_f32(float* __restrict__ features, const uint8_t* __restrict__ images, const float* __restrict__ mean,
                   const float* __restrict__ conv1_weights, const float* __restrict__ conv2_weights,
                   const float* __restrict__ conv2_bias, float scale, int batch) {
    lenet_features::features<LENET_FEATURES_CHANNELS>(features, images, mean, conv1_weights, conv2_weights, conv2_bias, scale,
                                                      batch);
}

extern "C" __global__ void __launch_bounds__(LENET_FEATURES_THREADS, 3)
lenet_features_few_f32(float* __restrict__ features, const uint8_t* __restrict__ images, const float* __restrict__ mean,
                       const float* __restrict__ conv1_weights, const float* __restrict__ conv2_weights,
                       const float* __restrict__ conv2_bias, float scale, int batch) {
    lenet_features::features<LENET_FEATURES_FEW_CHANNELS>(features, images, mean, conv1_weights, conv2_weights, conv2_bias,
                                                          scale, batch);
}
