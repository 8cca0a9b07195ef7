// dropout.cu: values dropped at random in training, or the gradients that come back to them.
//
//   out  values  (batch, image) f32, of which the first `len` of each image are read and written
//   in   step    the iteration, in device memory: a captured launch never changes
//
// Mapping   a thread four neighbouring values of an image: what one block of random words is for. Nothing is kept for the way back:
//           the same launch on the gradients draws the same.
// Banks     no shared memory. Global memory: four accesses of a warp to the same 512 bytes.
// Cost      8 bytes a value; some 130 instructions a thread: 33 a value.
// Predicted dropout_f32 6e7 images/s at 256 on an H100: 4,096 values: 262,144 threads, 1.1 M instructions of a warp, and the launch: 4 us.
// Numbers   exact: a value is kept if the unit number of its word is at least `ratio`: times `factor`; else it is +0.
// Twin      backend::cpu; tests/cuda/train_steps.rs.
#include "common/device.cuh"
#include "common/params.cuh"
#include "common/rng.cuh"

extern "C" __global__ void __launch_bounds__(DROPOUT_THREADS)
dropout_f32(float* __restrict__ values, const TrainingStep* __restrict__ step, uint32_t key_low, uint32_t key_high, uint32_t value,
            uint32_t batch, uint32_t len, uint32_t image_stride, float ratio, float factor) {
    const uint64_t at = uint64_t(blockIdx.x) * DROPOUT_THREADS + threadIdx.x;
    const uint32_t quads = (len + 3) / 4;
    const uint32_t image = uint32_t(at / quads);
    if (image >= batch) { return; }
    const uint32_t quad = uint32_t(at - uint64_t(image) * quads);
    const Draws draws = {{key_low, key_high}, Purpose::Dropout, value << 16 | image, step->iteration};
    const Words words = draws.block(quad);
    float* four = values + size_t(image) * image_stride + 4 * quad;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if (4 * quad + i < len) { four[i] = unit(words.w[i]) < ratio ? 0.0f : four[i] * factor; }
    }
}
