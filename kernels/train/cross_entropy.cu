// cross_entropy.cu: from logits to the gradient of the loss, the cross entropy averaged over the batch, and to the probability of each
// image's label.
//
//   out  gradient       (filled, gradient_image) f32, of which the n_classes of each image are written: +0 of the images from `batch` on
//        probabilities  (batch) f32, of the label
//   in   logits         (filled, in_image) f32, of which the n_classes of each image are read
//        labels         (batch) u32, below n_classes
//
// Mapping   a warp an image, CROSS_ENTROPY_WARPS images a block; lanes share out the classes, 32 neighbours at a time. The sum of the
//           powers is one chain, in their order: lane after lane hands its power to all.
// Banks     no shared memory. Global memory: 128 bytes of an image at a time.
// Cost      12 bytes read and 4 written a class, from and to the L2 cache; powers are made twice rather than kept: some 80 instructions a
//           warp and 32 classes, 64 more for the chain, in which an addition waits 4 cycles for the one before.
// Predicted cross_entropy_f32 2e7 images/s at 256 on an H100: 1,000 classes; 64 blocks at once, each 5,000 cycles of the chain, 3,000 of the rest and the
//           launch: 10 us and more.
// Numbers   exact: probabilities as softmax.cu has them; (p - 1) / batch of the label, p / batch of the other classes.
// Twin      backend::cpu; tests/cuda/train_steps.rs.
#include "common/device.cuh"
#include "common/math.cuh"

extern "C" __global__ void __launch_bounds__(CROSS_ENTROPY_WARPS * WARP_SIZE)
cross_entropy_f32(float* __restrict__ gradient, float* __restrict__ probabilities, const float* __restrict__ logits,
                  const uint32_t* __restrict__ labels, uint32_t n_classes, uint32_t batch, uint32_t filled, uint32_t gradient_image, uint32_t in_image) {
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t image = blockIdx.x * CROSS_ENTROPY_WARPS + threadIdx.x / WARP_SIZE;
    if (image >= filled) { return; }  // a whole warp leaves together, so the shuffles below stay full
    const float* in = logits + size_t(image) * in_image;
    float* out = gradient + size_t(image) * gradient_image;
    if (image >= batch) {
        for (uint32_t c = lane; c < n_classes; c += WARP_SIZE) { out[c] = 0.0f; }
        return;
    }

    float best = in[0];
    for (uint32_t c = lane; c < n_classes; c += WARP_SIZE) { best = maximum(in[c], best); }
#pragma unroll
    for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) { best = maximum(__shfl_xor_sync(FULL_WARP, best, lanes), best); }

    float sum = 0.0f;
    for (uint32_t first = 0; first < n_classes; first += WARP_SIZE) {
        const uint32_t c = first + lane;
        // Of what is behind the last class -0, which changes no bit of the sum.
        const float power = c < n_classes ? math::exp(in[c] - best) : -0.0f;
#pragma unroll
        for (int i = 0; i < WARP_SIZE; ++i) { sum = sum + __shfl_sync(FULL_WARP, power, i); }
    }

    const uint32_t label = labels[image];
    const float divisor = float(int32_t(batch));
    for (uint32_t c = lane; c < n_classes; c += WARP_SIZE) {
        const float quotient = math::exp(in[c] - best) / sum;
        const float probability = math::canonical(quotient == quotient, quotient);
        if (c == label) { probabilities[image] = probability; }
        out[c] = (c == label ? probability - 1.0f : probability) / divisor;
    }
}
