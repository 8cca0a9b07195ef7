// lrn.cu: local response normalisation across channels, by itself and fused with the max pooling before or after it.
//
//   out  out  (batch, shape.out_image) f32, of which (channels, out_height, out_width) of each image are written
//   in   in   (batch, shape.in_image) f32: (channels, in_height, in_width) of each image
//   shape     of the pooling; for lrn by itself, of windows of one value
//   lrn: any odd size; the fused ones: LRN_FUSED_SIZE. Grid: lrn and max_pool_lrn blocks of positions of all images, parts of
//   LRN_CHANNELS channels; lrn_max_pool bands of out_rows rows of outputs times images, parts of LRN_CHANNELS channels.
//
// Mapping   a thread a position, which goes through channels ascending with the values around in registers (lrn by itself reads
//           them again, from the L1 cache). max_pool_lrn: a position of the pooled plane; each value is pooled once, but for the
//           two channels on either side of a part. lrn_max_pool: a block normalises a band of a plane into one of two buffers in
//           shared memory and pools it from there, channel after channel, one barrier each; the band is what its outputs see.
// Banks     no conflicts: neighbours write neighbouring words; pooling with stride 2 reads two words apart, two to a bank.
// Cost      bytes of an image's two pools and norms, as passes of their own and fused: CaffeNet 3.3 MB and 2.4 MB, BVLC AlexNet 6.2 MB
//           and 2.4 MB. Instructions for a value normalised, a square root 9, twice, a division 11, as compiled for sm_90a some 190
//           (max_pool_lrn, with its window), 120 (lrn_max_pool), 200 (lrn). CaffeNet normalises 113,248 values, BVLC AlexNet 477,024;
//           lrn_max_pool 8 % more, for rows that two bands see.
// Predicted lrn_f32 2e5 images/s at 1024 on an H100: BVLC AlexNet's two by themselves, 3.0 M instructions of a warp; 60 % of the slots
//           of 1.05e12 a second.
// Predicted max_pool_lrn_f32 8e5 images/s at 1024 on an H100: CaffeNet's two, 0.67 M instructions and 2.4 MB, near both limits.
// Predicted lrn_max_pool_f32 3e5 images/s at 1024 on an H100: BVLC AlexNet's two, 1.9 M instructions; 60 %.
// Numbers   exact: sum = fma(x, x, sum) from 0 over the channels that exist, ascending; s = fma(alpha / size, sum, k);
//           x / (sqrt(s) * sqrt(sqrt(s))). Pooling as pool.cu.
// Twin      backend::cpu; tests/cuda/pool.rs.
#include "common/device.cuh"
#include "common/params.cuh"
#include "common/window.cuh"

namespace lrn {

static __device__ __forceinline__ float normalised(float value, float sum, const LrnRule& rule) {
    const float s = fmaf(rule.scale, sum, rule.k);
    const float root = sqrtf(s);
    return value / (root * sqrtf(root));
}

// Gives emit(channel, normalised value) for the channels `first..last`, of `channels`, ascending; `value(channel)` is one that exists.
// What does not exist is 0, whose square changes no bit of a sum.
template <class Value, class Emit>
static __device__ __forceinline__ void through_channels(int first, int last, int channels, const LrnRule& rule, Value value,
                                                        Emit emit) {
    constexpr int HALF = LRN_FUSED_SIZE / 2;
    float around[LRN_FUSED_SIZE];  // the values of channel - HALF ..= channel + HALF
#pragma unroll
    for (int i = 0; i + 1 < LRN_FUSED_SIZE; ++i) {
        const int channel = first - HALF + i;
        around[i + 1] = channel >= 0 && channel < channels ? value(channel) : 0.0f;
    }
#pragma unroll 1
    for (int channel = first; channel < last; ++channel) {
#pragma unroll
        for (int i = 0; i + 1 < LRN_FUSED_SIZE; ++i) { around[i] = around[i + 1]; }
        around[LRN_FUSED_SIZE - 1] = channel + HALF < channels ? value(channel + HALF) : 0.0f;
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < LRN_FUSED_SIZE; ++i) { sum = fmaf(around[i], around[i], sum); }
        emit(channel, normalised(around[HALF], sum, rule));
    }
}

}  // namespace lrn

extern "C" __global__ void __launch_bounds__(LRN_THREADS)
lrn_f32(float* __restrict__ out, const float* __restrict__ in, PoolShape shape, LrnRule rule) {
    const uint32_t plane = shape.in_height * shape.in_width;
    const uint64_t at = uint64_t(blockIdx.x) * LRN_THREADS + threadIdx.x;
    const uint32_t image = at / plane;
    if (image >= shape.batch) { return; }
    const uint32_t position = at - uint64_t(image) * plane;
    const float* from = in + size_t(image) * shape.in_image + position;
    float* to = out + size_t(image) * shape.out_image + position;
    const int channels = shape.channels;
    const int half = rule.size / 2;
    const int first = blockIdx.y * LRN_CHANNELS;
    const int last = min(first + LRN_CHANNELS, channels);
#pragma unroll 1
    for (int channel = first; channel < last; ++channel) {
        float sum = 0.0f;
        const int end = min(channel + half, channels - 1);
        for (int other = max(channel - half, 0); other <= end; ++other) {
            const float value = from[size_t(other) * plane];
            sum = fmaf(value, value, sum);
        }
        to[size_t(channel) * plane] = lrn::normalised(from[size_t(channel) * plane], sum, rule);
    }
}

extern "C" __global__ void __launch_bounds__(LRN_THREADS)
max_pool_lrn_f32(float* __restrict__ out, const float* __restrict__ in, PoolShape shape, LrnRule rule) {
    const uint32_t in_plane = shape.in_height * shape.in_width;
    const uint32_t out_plane = shape.out_height * shape.out_width;
    const uint64_t at = uint64_t(blockIdx.x) * LRN_THREADS + threadIdx.x;
    const uint32_t image = at / out_plane;
    if (image >= shape.batch) { return; }
    const uint32_t position = at - uint64_t(image) * out_plane;
    const Window window = window_of(shape, position);
    const float* from = in + size_t(image) * shape.in_image;
    float* to = out + size_t(image) * shape.out_image + position;
    const int channels = shape.channels;
    const int first = blockIdx.y * LRN_CHANNELS;
    const int last = min(first + LRN_CHANNELS, channels);
    lrn::through_channels(
        first, last, channels, rule,
        [&](int channel) { return largest(from + size_t(channel) * in_plane, window, shape.in_width); },
        [&](int channel, float value) { to[size_t(channel) * out_plane] = value; });
}

// Bands of `out_rows` rows of outputs, the last of an image may have fewer: outputs of a thread each, at most; what a band sees is at
// most LRN_MAX_POOL_POSITIONS.
extern "C" __global__ void __launch_bounds__(LRN_MAX_POOL_THREADS)
lrn_max_pool_f32(float* __restrict__ out, const float* __restrict__ in, PoolShape shape, LrnRule rule, uint32_t out_rows) {
    constexpr int PER_THREAD = LRN_MAX_POOL_POSITIONS / LRN_MAX_POOL_THREADS;
    constexpr int HALF = LRN_FUSED_SIZE / 2;
    __shared__ float smem_bands[2][LRN_MAX_POOL_POSITIONS];
    const uint32_t bands = (shape.out_height + out_rows - 1) / out_rows;
    const uint32_t image = blockIdx.x / bands;
    const int first_out = blockIdx.x % bands * out_rows;
    const int last_out = min(first_out + int(out_rows), int(shape.out_height));
    const int in_width = shape.in_width;
    const int top = max(first_out * int(shape.stride) - int(shape.padding), 0);  // the rows of the input that the band sees
    const int bottom = min((last_out - 1) * int(shape.stride) - int(shape.padding) + int(shape.kernel), int(shape.in_height));
    const int positions = (bottom - top) * in_width;
    const int output = first_out * int(shape.out_width) + int(threadIdx.x);  // what this thread pools
    const bool is_pooling = output < last_out * int(shape.out_width);
    Window window = window_of(shape, is_pooling ? output : 0);
    window.top -= top;
    window.bottom -= top;
    const uint32_t in_plane = shape.in_height * shape.in_width;
    const uint32_t out_plane = shape.out_height * shape.out_width;
    const float* from = in + size_t(image) * shape.in_image + top * in_width;
    float* to = out + size_t(image) * shape.out_image + output;
    const int channels = shape.channels;
    const int first = blockIdx.y * LRN_CHANNELS;
    const int last = min(first + LRN_CHANNELS, channels);

    float around[PER_THREAD][LRN_FUSED_SIZE];  // the values of channel - HALF ..= channel + HALF at each position
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) {
        const int position = threadIdx.x + i * LRN_MAX_POOL_THREADS;
#pragma unroll
        for (int j = 0; j + 1 < LRN_FUSED_SIZE; ++j) {
            const int channel = first - HALF + j;
            const bool is_there = position < positions && channel >= 0 && channel < channels;
            around[i][j + 1] = is_there ? from[size_t(channel) * in_plane + position] : 0.0f;
        }
    }
#pragma unroll 1
    for (int channel = first; channel < last; ++channel) {
        float* smem_band = smem_bands[(channel - first) % 2];
#pragma unroll
        for (int i = 0; i < PER_THREAD; ++i) {
            const int position = threadIdx.x + i * LRN_MAX_POOL_THREADS;
            if (position < positions) {
#pragma unroll
                for (int j = 0; j + 1 < LRN_FUSED_SIZE; ++j) { around[i][j] = around[i][j + 1]; }
                around[i][LRN_FUSED_SIZE - 1] =
                    channel + HALF < channels ? from[size_t(channel + HALF) * in_plane + position] : 0.0f;
                float sum = 0.0f;
#pragma unroll
                for (int j = 0; j < LRN_FUSED_SIZE; ++j) { sum = fmaf(around[i][j], around[i][j], sum); }
                smem_band[position] = lrn::normalised(around[i][HALF], sum, rule);
            }
        }
        __syncthreads();  // the band is normalised, all pool it; all have pooled the one before, over which the next one goes
        if (is_pooling) { to[size_t(channel) * out_plane] = largest(smem_band, window, in_width); }
    }
}
