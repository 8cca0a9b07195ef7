// average_crops.cu: what the crops of an image say of it together: the mean of their probabilities (spec 2.4).
//
//   out  probabilities  (n_classes, stride) f32, class-major; the first `batch` of each row
//   in   of_crops       (n_classes, in_stride) f32, of which the first batch * n_crops of each row are read; crop c of image b is
//                       b * n_crops + c
//
// Mapping   a thread a class of an image, which adds up the image's crops; neighbouring threads have neighbouring images.
// Banks     no shared memory. Global memory: a warp reads the crops of 32 images, which lie side by side, in n_crops loads of 4 bytes
//           every 4 * n_crops: the first brings the lines in, the others find them in the first-level cache; it writes 128 bytes.
// Cost      4 * (n_crops + 1) bytes a class, from and to the L2 cache, where softmax left them; with ten crops some 80 instructions,
//           of which ten are additions of f64, ten conversions to it, and 20 the division. 1,000 classes of 102 images: 4.5 MB and
//           1e6 conversions, of which an SM starts 16 a clock; both within 1 us. 28 registers: 8 blocks and all 2048 threads an SM.
// Predicted 34e6 images/s at 102 on an H100: ten crops, 1,000 classes: 3 us, little more than a launch.
// Numbers   exact: added in f64 from 0 on in the order of the crops, divided by their number in f64, rounded once to f32. A NaN gives
//           the one NaN 0x7fc00000.
// Twin      network::crops::mean; tests/cuda/average_crops.rs.
#include "common/device.cuh"
#include "common/math.cuh"

extern "C" __global__ void __launch_bounds__(AVERAGE_CROPS_THREADS)
average_crops_f32(float* __restrict__ probabilities, const float* __restrict__ of_crops, uint32_t n_classes, uint32_t batch,
                  uint32_t stride, uint32_t in_stride, uint32_t n_crops) {
    const uint64_t at = uint64_t(blockIdx.x) * AVERAGE_CROPS_THREADS + threadIdx.x;
    if (at >= uint64_t(n_classes) * batch) { return; }
    const uint32_t c = uint32_t(at / batch);
    const uint32_t image = uint32_t(at % batch);
    const float* in = of_crops + size_t(c) * in_stride + size_t(image) * n_crops;  // (n_crops)
    double sum = 0.0;
#pragma unroll 5
    for (uint32_t crop = 0; crop < n_crops; ++crop) { sum = sum + double(in[crop]); }
    const float mean = float(sum / double(n_crops));
    probabilities[size_t(c) * stride + image] = math::canonical(mean == mean, mean);
}
