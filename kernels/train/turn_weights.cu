// turn_weights.cu: a layer's weights as the way back reads them, after an update: inputs and outputs exchanged, kernels turned.
//
//   out  turned   (groups, turned_k, turned_pitch) f32, of which the weights that are there are written: of each group and
//                 (output, turned row, turned column) a row of (input channel, phase row, phase column)
//   in   weights  (groups, padded_k, pitch) f32: of each group and (input channel, row, column) a row of outputs
//   A side has `stride * multiple` phases. The tap of a kernel at row `ky` is that of the phases `ky % stride + stride * j`, j below
//   `multiple`, at row `taps - multiple - ky / stride + j`; columns likewise. A dense layer is a convolution of a plane of one value. Grid:
//   tiles of channels * tiles of outputs * taps * groups.
//
// Mapping   a block transposes 32 input channels and 32 outputs of a tap through shared memory: 256 threads, four values each.
// Banks     no conflicts: a row of the tile is 33 words. Global memory: a warp reads 128 bytes of a row, and writes 128 where there is
//           one phase, else 32 values that are as far apart as there are phases.
// Cost      8 bytes a weight, but for layers of few channels, which have several phases: bound by the memory.
// Predicted 5.8e3 iterations/s at 1 on an H100: CaffeNet's 61 M weights but the first layer's, 8 bytes each of 3.35e12 a second at 85 %.
// Numbers   moves values.
// Twin      backend::cuda::conv2d_backward::sources; tests/cuda/train_steps.rs.
#include "common/device.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(TURN_WEIGHTS_THREADS)
turn_weights_f32(float* __restrict__ turned, const float* __restrict__ weights, TurnShape shape) {
    constexpr int TILE = WARP_SIZE;
    constexpr int ROUND = TURN_WEIGHTS_THREADS / TILE;
    __shared__ float smem_tile[TILE][TILE + 1];  // (channel, output); +1: no bank conflicts on columns
    const uint32_t lane = threadIdx.x % TILE;
    const uint32_t round = threadIdx.x / TILE;
    const uint32_t channel_tiles = (shape.channels + TILE - 1) / TILE;
    const uint32_t output_tiles = (shape.outputs + TILE - 1) / TILE;
    uint32_t block = blockIdx.x;
    const uint32_t first_channel = block % channel_tiles * TILE;
    block /= channel_tiles;
    const uint32_t first_output = block % output_tiles * TILE;
    block /= output_tiles;
    const uint32_t kernel_taps = shape.kernel * shape.kernel;
    const uint32_t tap = block % kernel_taps;
    const uint32_t group = block / kernel_taps;
    const uint32_t ky = tap / shape.kernel;
    const uint32_t kx = tap % shape.kernel;

    const float* from = weights + size_t(group) * shape.padded_k * shape.pitch;
#pragma unroll
    for (int i = 0; i < TILE; i += ROUND) {
        const uint32_t channel = first_channel + round + i;
        const uint32_t output = first_output + lane;
        if (channel < shape.channels && output < shape.outputs) {
            smem_tile[round + i][lane] = from[size_t(channel * kernel_taps + tap) * shape.pitch + output];
        }
    }
    __syncthreads();  // the tile is written, its columns are read
    const uint32_t row = shape.taps - shape.multiple - ky / shape.stride;
    const uint32_t column = shape.taps - shape.multiple - kx / shape.stride;
    const uint32_t apart = shape.stride * shape.multiple;
    float* to = turned + size_t(group) * shape.turned_k * shape.turned_pitch;
#pragma unroll
    for (int i = 0; i < TILE; i += ROUND) {
        const uint32_t channel = first_channel + lane;
        const uint32_t output = first_output + round + i;
        if (channel < shape.channels && output < shape.outputs) {
            const float weight = smem_tile[lane][round + i];
            for (uint32_t down = 0; down < shape.multiple; ++down) {
                for (uint32_t across = 0; across < shape.multiple; ++across) {
                    const uint32_t phase = (ky % shape.stride + shape.stride * down) * apart + kx % shape.stride + shape.stride * across;
                    const uint32_t k = (output * shape.taps + row + down) * shape.taps + column + across;
                    to[size_t(k) * shape.turned_pitch + channel * apart * apart + phase] = weight;
                }
            }
        }
    }
}
