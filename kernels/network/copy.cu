// copy.cu: what no other kernel takes along: an activation copied to its place in a concatenation, or rectified, where the layer
// before it cannot do so; and images as the first layer sees them, where that is no convolution.
//
//   out  out     (batch, out_image) f32, of which `len` values of each image are written
//   in   in      (batch, in_image) f32, of which `len` of each image are read; out and in may be the same
//        images  (batch, image height, image width, channels) u8; crops, mean as conv2d_images.cu has them
//        scales  (input channels) f32; order (input channels): which channel of the image each is
//
// Mapping   a thread a value; neighbours are neighbours.
// Banks     no shared memory.
// Cost      8 bytes a value (preprocess 9): bound by the memory.
// Predicted copy_f32 3.6e6 images/s at 1024 on an H100: 100,000 values, 8 bytes each of 3.35e12 a second at 85 %.
// Predicted preprocess_f32 3.6e6 images/s at 1024 on an H100: 3 x 227 x 227 values, 5 bytes each, and the mean from the L2 cache.
// Numbers   exact: `x > 0 ? x : 0`; `(pixel - mean) * scale`, two roundings.
// Twin      backend::cpu::{relu, preprocess}; tests/cuda/network.rs.
#include "common/device.cuh"
#include "common/math.cuh"
#include "common/params.cuh"

// No __restrict__: rectified in place, out is in.
extern "C" __global__ void __launch_bounds__(COPY_THREADS)
copy_f32(float* out, const float* in, uint32_t batch, uint32_t len, uint32_t out_image, uint32_t in_image, uint32_t rectify) {
    const uint64_t at = uint64_t(blockIdx.x) * COPY_THREADS + threadIdx.x;
    const uint32_t image = at / len;
    if (image >= batch) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    const float value = in[size_t(image) * in_image + within];
    out[size_t(image) * out_image + within] = rectify ? maximum(value, 0.0f) : value;
}

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
preprocess_f32(float* __restrict__ out, const uint8_t* __restrict__ images, const Crop* __restrict__ crops,
               const float* __restrict__ mean, const float* __restrict__ scales, const uint32_t* __restrict__ order,
               Conv2dShape shape, ImageShape image_shape) {
    const uint64_t at = uint64_t(blockIdx.x) * COPY_THREADS + threadIdx.x;
    const uint32_t plane = shape.in_height * shape.in_width;
    const uint32_t len = image_shape.channels * plane;
    const uint32_t seen = at / len;
    if (seen >= shape.n_columns) { return; }
    const uint32_t within = at - uint64_t(seen) * len;
    const uint32_t channel = within / plane;
    const uint32_t y = within % plane / shape.in_width;
    const uint32_t x = within % shape.in_width;
    const Crop crop = crops[seen % image_shape.n_crops];
    const uint32_t across = crop.x + (crop.mirror ? shape.in_width - 1 - x : x);
    const uint8_t pixel = images[size_t(seen / image_shape.n_crops) * image_shape.image + (crop.y + y) * image_shape.row +
                                 across * image_shape.channels + order[channel]];
    out[size_t(seen) * shape.out_image + within] = (float(pixel) - mean[within]) * scales[channel];
}
