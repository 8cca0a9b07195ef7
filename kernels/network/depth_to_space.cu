// depth_to_space.cu: the phases of a plane, each a channel, put beside one another: what the way back through a convolution with a
// stride ends with.
//
//   out  out     (batch, shape.out_image) f32, of which (channels, height, width) of each image are written
//   in   phases  (batch, shape.in_image) f32: (channels, stride, stride, in_height, in_width) of each image
//   Row y of `out` is row (y + first) / stride of the phase (y + first) % stride; columns likewise.
//
// Mapping   a thread a value of `out`; neighbours in a row.
// Banks     no shared memory; neighbours read from `stride` planes, from each neighbouring words.
// Cost      8 bytes a value, and 4 a value that is cut off: bound by the memory.
// Predicted 2e6 images/s at 1024 on an H100: CaffeNet's first layer, 3 x 227 x 227 values, 8 bytes each of 3.35e12 a second at 75 %.
// Numbers   moves values.
// Twin      backend::cpu; tests/cuda/backward.rs.
#include "common/device.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
depth_to_space_f32(float* __restrict__ out, const float* __restrict__ phases, PhaseShape shape) {
    const uint64_t at = uint64_t(blockIdx.x) * COPY_THREADS + threadIdx.x;
    const uint32_t plane = shape.height * shape.width;
    const uint32_t len = shape.channels * plane;
    const uint32_t image = at / len;
    if (image >= shape.batch) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    const uint32_t channel = within / plane;
    const uint32_t y = within % plane / shape.width + shape.first;
    const uint32_t x = within % shape.width + shape.first;
    const uint32_t phase = (channel * shape.stride + y % shape.stride) * shape.stride + x % shape.stride;
    const uint32_t from = (phase * shape.in_height + y / shape.stride) * shape.in_width + x / shape.stride;
    out[size_t(image) * shape.out_image + within] = phases[size_t(image) * shape.in_image + from];
}
