// combine.cu: what one more network says of images, joined to what those before it say together.
//
//   in out  together  (n_classes, stride) f32, class-major; the first `batch` of each row
//   in      next      (n_classes, stride) f32, likewise
//
// Mapping   a thread a class of an image; neighbouring threads have neighbouring images.
// Banks     no shared memory. Global memory: a warp reads 128 bytes of both and writes 128, side by side.
// Cost      12 bytes a class, from and to the L2 cache, where softmax left them; some 20 instructions, the mean's division 8 more. LeNet's
//           10 classes of 65,536 images: 7.9 MB, within 4 us at what L2 gives; 1,000 classes of 102 images: little more than a launch.
//           18 registers: 8 blocks and all 2048 threads an SM.
// Predicted 15e9 images/s at 65536 on an H100: ten classes: 4 us.
// Numbers   exact: the least is `next < together ? next : together`; the mean (together + next) / divisor, each operation rounded to f32,
//           where the divisor is 1 but for the last network: a sum in the order of the networks, divided once. A NaN gives the one NaN
//           0x7fc00000.
// Twin      network::committee::Combine::join, of which COMBINE_MEAN and COMBINE_MIN name the rule; tests/cuda/combine.rs.
#include "common/device.cuh"
#include "common/math.cuh"

extern "C" __global__ void __launch_bounds__(COMBINE_THREADS)
combine_f32(float* __restrict__ together, const float* __restrict__ next, uint32_t n_classes, uint32_t batch, uint32_t stride,
            uint32_t rule, float divisor) {
    const uint64_t at = uint64_t(blockIdx.x) * COMBINE_THREADS + threadIdx.x;
    if (at >= uint64_t(n_classes) * batch) { return; }
    const size_t place = size_t(at / batch) * stride + size_t(at % batch);
    const float a = together[place];
    const float b = next[place];
    const float least = b < a || b != b ? b : a;
    const float joined = rule == COMBINE_MIN ? least : (a + b) / divisor;
    together[place] = math::canonical(joined == joined, joined);
}
