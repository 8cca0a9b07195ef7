// sgd_update.cu: new weights and biases of a layer from its gradients: Caffe's SGD.
//
//   out  weights    (groups, padded_k, pitch) f32: of each the first k rows are read and written, as the forward kernels read them
//        bias       (groups * outputs) f32, likewise
//        velocity   (groups, k + 1, pitch) f32, likewise; the last row is of biases
//   in   gradients  (slots, groups, k + 1, pitch) f32, as conv2d_weight_gradient (GRADIENT_SLOTS) and dense_weight_gradient (1) write them
//        step       the learning rate, in device memory: a captured launch never changes
//   All but bias are multiples of 16 bytes. What fills up a row of outputs is moved too: its gradients are 0, and so it stays -0.
//
// Mapping   a thread four outputs of a weight: neighbours are neighbours, nothing is transposed.
// Banks     no shared memory. Global memory: 512 bytes of a warp at a time.
// Cost      16 bytes a weight, and 4 for each slot: bound by the memory, or by the L2 cache that the gradients were just written to.
// Predicted sgd_update_f32 2.1e3 iterations/s at 1 on an H100: CaffeNet's 61 M weights, 20 bytes each, those of convolutions 80, of
//           3.35e12 a second at 85 %.
// Numbers   exact: the upper half of the slots is added to the lower half until one is left, and +0 to that, so that it does not matter
//           which products of 0 were left out; g = fma(decay, w, gradient), v = fma(momentum, v, rate * g), w = w - v. The rate of a bias is
//           rate * bias_rate.
// Twin      backend::cpu; tests/cuda/train_steps.rs.
#include "common/device.cuh"
#include "common/params.cuh"

namespace sgd_update {

static __device__ __forceinline__ float4 sum_of(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// The slots' sum, of `from` in steps of `apart` quads.
static __device__ __forceinline__ float4 total(const float4* from, size_t apart, uint32_t n_slots) {
    float4 sum = from[0];
    if (n_slots > 1) {
        float4 slots[GRADIENT_SLOTS / 2];
#pragma unroll
        for (int s = 0; s < GRADIENT_SLOTS / 2; ++s) { slots[s] = sum_of(from[s * apart], from[(s + GRADIENT_SLOTS / 2) * apart]); }
#pragma unroll
        for (int half = GRADIENT_SLOTS / 4; half > 0; half /= 2) {
#pragma unroll
            for (int s = 0; s < half; ++s) { slots[s] = sum_of(slots[s], slots[s + half]); }
        }
        sum = slots[0];
    }
    return sum_of(sum, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
}

static __device__ __forceinline__ void move(float& w, float& v, float gradient, float momentum, float decay, float rate) {
    const float g = fmaf(decay, w, gradient);
    v = fmaf(momentum, v, rate * g);
    w = w - v;
}

}  // namespace sgd_update

extern "C" __global__ void __launch_bounds__(SGD_UPDATE_THREADS)
sgd_update_f32(float* __restrict__ weights, float* __restrict__ bias, float* __restrict__ velocity,
               const float* __restrict__ gradients, const TrainingStep* __restrict__ step, UpdateShape shape) {
    const uint32_t quads = shape.pitch / 4;
    const uint32_t rows = shape.k + 1;
    const uint64_t all = uint64_t(shape.groups) * rows * quads;
    const uint64_t at = uint64_t(blockIdx.x) * SGD_UPDATE_THREADS + threadIdx.x;
    if (at >= all) { return; }
    const uint32_t group_row = uint32_t(at / quads);
    const uint32_t quad = uint32_t(at - uint64_t(group_row) * quads);
    const uint32_t group = group_row / rows;
    const uint32_t row = group_row % rows;
    const float4 gradient = sgd_update::total(reinterpret_cast<const float4*>(gradients) + at, size_t(all), shape.slots);
    float4* to_v = reinterpret_cast<float4*>(velocity) + at;
    float4 v = *to_v;
    const float rate = step->rate;
    if (row < shape.k) {
        float4* to_w = reinterpret_cast<float4*>(weights) + (size_t(group) * shape.padded_k + row) * quads + quad;
        float4 w = *to_w;
        sgd_update::move(w.x, v.x, gradient.x, shape.momentum, shape.decay, rate);
        sgd_update::move(w.y, v.y, gradient.y, shape.momentum, shape.decay, rate);
        sgd_update::move(w.z, v.z, gradient.z, shape.momentum, shape.decay, rate);
        sgd_update::move(w.w, v.w, gradient.w, shape.momentum, shape.decay, rate);
        *to_w = w;
    } else {
        const float bias_rate = rate * shape.bias_rate;
        const float of[4] = {gradient.x, gradient.y, gradient.z, gradient.w};
        float moved[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const uint32_t output = 4 * quad + i;
            if (output < shape.outputs) {
                float* b = bias + size_t(group) * shape.outputs + output;
                float w = *b;
                sgd_update::move(w, moved[i], of[i], shape.momentum, shape.bias_decay, bias_rate);
                *b = w;
            }
        }
        v = make_float4(moved[0], moved[1], moved[2], moved[3]);
    }
    *to_v = v;
}
