// look_cppn.cu: what a step of the ascent sees of each drawing: the probability of its class, and the most probable class.
//
//   out  seen           (images) CppnSeen
//   in   probabilities  (n_classes, stride) f32, class-major, means over the crops; the first `images` of each row are read
//        classes        (images * n_crops) u32, below n_classes: what each crop's image climbs to
//
// Mapping   a warp an image, LOOK_CPPN_WARPS a block; a lane every 32nd class.
// Banks     no shared memory. Global memory: 4 bytes from each row, which the warps of neighbouring images find in the cache.
// Cost      4 bytes a class and image, and some 5 exchanges of a warp.
// Predicted 7e6 images/s at 20 on an H100: 1,000 classes: 3 us, 32 loads of a lane that do not wait for one another.
// Numbers   exact: of equals the lowest class; class 0 where all are NaN.
// Twin      backend::cpu::cppn_ascent; tests/cuda/ascent_cppn.rs.
#include "common/device.cuh"
#include "common/params.cuh"
#include "common/warp.cuh"

extern "C" __global__ void __launch_bounds__(LOOK_CPPN_WARPS * WARP_SIZE)
look_cppn_f32(CppnSeen* __restrict__ seen, const float* __restrict__ probabilities, const uint32_t* __restrict__ classes,
              uint32_t n_classes, uint32_t stride, uint32_t images, uint32_t n_crops) {
    const uint32_t image = blockIdx.x * LOOK_CPPN_WARPS + threadIdx.x / WARP_SIZE;
    if (image >= images) { return; }  // the whole warp
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    Best best = nobody();
    for (uint32_t c = lane; c < n_classes; c += WARP_SIZE) { best = join(best, Best{probabilities[size_t(c) * stride + image], c}); }
    best = warp_join(best);
    if (lane > 0) { return; }
    const float p = probabilities[size_t(classes[size_t(image) * n_crops]) * stride + image];
    seen[image] = {p, best.index == UINT32_MAX ? 0 : best.index};
}
