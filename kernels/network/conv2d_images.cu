// conv2d_images.cu: the first convolution, fed from 8-bit images: crop, mirror, channel order, mean and scale are applied on the
// way to shared memory, and no image of floats exists anywhere.
//
//   out  out      (batch * n_crops, shape.out_image) f32, of which (rows, out_height, out_width) of each crop are written
//   in   images   (batch, image height, image width, channels) u8
//        crops    (n_crops): where each begins, inside the image with all of in_height x in_width; crop c of image b is image
//                 b * n_crops + c of the batch
//        mean     (channels, in_height, in_width) f32, of what the network sees; 0 without a mean: pixel - 0 is pixel
//        weights  (padded_k, pitch) f32, as conv2d.cu has them; bias (rows) f32
//        taps     (padded_k): where each k reads; scales (padded_k) f32: of its channel
//   weights, taps and scales are multiples of 16 bytes; shape's in_image and in_group are not used. Grid: tiles of columns * row_tiles.
//
// Mapping   as conv2d.cu: 96 output channels at 256 positions, 12 x 8 sums a thread, or 64, 8 x 8. Pixels and means of a stage are
//           loaded into registers before the products of the stage two before it, and are preprocessed and stored after them.
//           `few`: 32 channels at 32 positions.
// Banks     no conflicts, as conv2d.cu. Pixels: a warp reads 32 neighbouring positions of one k, every stride * channels bytes.
// Cost      of a warp for a stage of 8 k's on sm_90a, with how many of the instructions are FFMA: 96 channels 1,035, 768 (74 %); 64 782,
//           512 (65 %); `few` 277, 128 (46 %). A pixel takes 20 instructions from its address to shared memory. Registers: 189, 128, 76.
//           Bytes: 0.2 MB of pixels an image, 1.2 MB written. CaffeNet's conv1: 4.6 M instructions of a warp, 3.3 M useful FFMA.
// Predicted conv2d_images_96_f32 170e3 images/s at 1024 on an H100: CaffeNet's conv1; 75 % of the slots of 1.05e12 a second.
// Predicted conv2d_images_64_f32 230e3 images/s at 1024 on an H100: torchvision AlexNet's, 3.4 M instructions; 75 %.
// Predicted conv2d_images_few_f32 93e3 images/s at 4 on an H100: CaffeNet's conv1, 64,000 cycles of a scheduler for all four; 75 %.
// Numbers   exact: `(pixel - mean) * scale`, two roundings; the padding is 0 * scale; then as conv2d.cu.
// Twin      backend::cpu; tests/cuda/conv2d.rs.
#include "common/conv2d.cuh"
#include "common/device.cuh"
#include "common/gemm.cuh"
#include "common/params.cuh"

namespace conv2d_images {

template <class T>
static __device__ __forceinline__ void conv2d_images(float* __restrict__ out, const uint8_t* __restrict__ images,
                                                     const Crop* __restrict__ crops, const float* __restrict__ mean,
                                                     const float* __restrict__ weights, const float* __restrict__ bias,
                                                     const ImageTap* __restrict__ taps, const float* __restrict__ scales,
                                                     const Conv2dShape& shape, const ImageShape& image_shape) {
    using G = conv2d::Gathered<T>;
    static_assert(G::PER_THREAD == 1 && G::K % 4 == 0, "a thread gathers one position, at quads of k's");
    __shared__ __align__(16) float smem_ring[T::RING];
    const int first_row = blockIdx.x % shape.row_tiles * T::ROWS;
    const uint32_t first_column = blockIdx.x / shape.row_tiles * T::COLUMNS;
    const int my_column = threadIdx.x % T::COLUMNS;
    const int my_k = threadIdx.x / T::COLUMNS * G::K;

    // A position past the last reads none of the kernel's rows; its addresses are those of the first.
    const bool is_there = first_column + my_column < shape.n_columns;
    const uint32_t column = is_there ? first_column + my_column : 0;
    const uint32_t seen = column / shape.out_plane;
    const uint32_t position = column - seen * shape.out_plane;
    const int y = int(position / shape.out_width * shape.stride) - int(shape.padding);
    const int x = int(position % shape.out_width * shape.stride) - int(shape.padding);
    const uint32_t rows_inside = is_there ? gemm::inside(y, shape.in_height) : 0;
    const uint32_t columns_inside = gemm::inside(x, shape.in_width);
    const Crop crop = crops[seen % image_shape.n_crops];
    const int across = crop.mirror ? int(shape.in_width) - 1 - x : x;
    const uint8_t* from = images + ptrdiff_t(size_t(seen / image_shape.n_crops) * image_shape.image) +
                          (int(crop.y) + y) * int(image_shape.row) + (int(crop.x) + across) * int(image_shape.channels);
    const char* mean_from = reinterpret_cast<const char*>(mean + (y * int(shape.in_width) + x));
    weights += first_row;

    uint32_t pixels[G::K];
    float means[G::K];
    const auto fetch = [&](float* smem_stage, int stage) {
        gemm::fetch_weights<T>(smem_stage, weights + size_t(stage * T::STAGE_K) * shape.pitch, int(shape.pitch) - first_row,
                               shape.pitch);
        const uint4* stage_taps = reinterpret_cast<const uint4*>(taps + stage * T::STAGE_K + my_k);
#pragma unroll
        for (int i = 0; i < G::K; ++i) {
            const uint4 tap = stage_taps[i];  // an ImageTap
            pixels[i] = 0;
            means[i] = 0.0f;
            if (gemm::bytes_inside(rows_inside, columns_inside, tap.x, tap.x >> 8)) {
                pixels[i] = from[int(crop.mirror ? tap.z : tap.y)];
                means[i] = *reinterpret_cast<const float*>(mean_from + int(tap.w));
            }
        }
    };
    const auto store = [&](float* smem_stage, int stage) {
        const float4* stage_scales = reinterpret_cast<const float4*>(scales + stage * T::STAGE_K + my_k);
        float* smem_inputs = smem_stage + T::STAGE_K * T::ROWS + my_k * T::PITCH + my_column;
#pragma unroll
        for (int i = 0; i < G::K; i += 4) {
            const float4 scale = stage_scales[i / 4];
            smem_inputs[i * T::PITCH] = (float(pixels[i]) - means[i]) * scale.x;
            smem_inputs[(i + 1) * T::PITCH] = (float(pixels[i + 1]) - means[i + 1]) * scale.y;
            smem_inputs[(i + 2) * T::PITCH] = (float(pixels[i + 2]) - means[i + 2]) * scale.z;
            smem_inputs[(i + 3) * T::PITCH] = (float(pixels[i + 3]) - means[i + 3]) * scale.w;
        }
    };
    float sums[T::TILE_ROWS][T::TILE_COLUMNS];
    gemm::begin<T>(sums, bias + first_row, int(shape.rows) - first_row);
    gemm::run<T>(sums, smem_ring, shape.padded_k / T::STAGE_K, fetch, store);
    conv2d::write<T>(out, sums, shape, 0, first_row, first_column);
}

}  // namespace conv2d_images

extern "C" __global__ void __launch_bounds__(CONV2D_THREADS, 1)
conv2d_images_96_f32(float* __restrict__ out, const uint8_t* __restrict__ images, const Crop* __restrict__ crops,
                     const float* __restrict__ mean, const float* __restrict__ weights, const float* __restrict__ bias,
                     const ImageTap* __restrict__ taps, const float* __restrict__ scales, Conv2dShape shape,
                     ImageShape image_shape) {
    using Tile = gemm::Tile<96, CONV2D_COLUMNS, 12, 8, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_THREADS, "tuning.cuh");
    conv2d_images::conv2d_images<Tile>(out, images, crops, mean, weights, bias, taps, scales, shape, image_shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_THREADS, 2)
conv2d_images_64_f32(float* __restrict__ out, const uint8_t* __restrict__ images, const Crop* __restrict__ crops,
                     const float* __restrict__ mean, const float* __restrict__ weights, const float* __restrict__ bias,
                     const ImageTap* __restrict__ taps, const float* __restrict__ scales, Conv2dShape shape,
                     ImageShape image_shape) {
    using Tile = gemm::Tile<64, CONV2D_COLUMNS, 8, 8, CONV2D_STAGE_K, 3>;
    static_assert(Tile::THREADS == CONV2D_THREADS, "tuning.cuh");
    conv2d_images::conv2d_images<Tile>(out, images, crops, mean, weights, bias, taps, scales, shape, image_shape);
}

extern "C" __global__ void __launch_bounds__(CONV2D_FEW_THREADS, 12)
conv2d_images_few_f32(float* __restrict__ out, const uint8_t* __restrict__ images, const Crop* __restrict__ crops,
                      const float* __restrict__ mean, const float* __restrict__ weights, const float* __restrict__ bias,
                      const ImageTap* __restrict__ taps, const float* __restrict__ scales, Conv2dShape shape,
                      ImageShape image_shape) {
    using Tile = gemm::Tile<32, CONV2D_FEW_COLUMNS, 4, 4, CONV2D_STAGE_K, 4>;
    static_assert(Tile::THREADS == CONV2D_FEW_THREADS, "tuning.cuh");
    conv2d_images::conv2d_images<Tile>(out, images, crops, mean, weights, bias, taps, scales, shape, image_shape);
}
