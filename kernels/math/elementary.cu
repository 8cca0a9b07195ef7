// elementary.cu: an elementary function of an array: what the proof that the device's arithmetic is the host's looks at.
//
//   out  y  (n) f32
//   in   x  (n) f32
//
// Mapping   one thread a number.
// Cost      8 bytes a number, and 10 to 70 instructions, of which an H100 issues 33 trillion a second: bound by DRAM. No step uses it.
// Predicted 400e9 numbers/s at 16777216 on an H100: 8 bytes each at 3.35 TB/s.
// Numbers   exact.
// Twin      math::scalar; compared in tests/cuda/elementary.rs.
#include "common/math.cuh"
#include "common/tuning.cuh"

// Its twin: Elementary of backend/cuda/elementary.rs.
enum class Elementary : uint32_t {
    Sin = 0,
    Exp = 1,
    Exp2 = 2,
    Log2 = 3,
    Root = 4,
    PowNeg = 5,
    Sigmoid = 6,
    Gaussian = 7,
    ClippedLinear = 8,
};

// `n` is the root's and the power's; the others do not look at it.
extern "C" __global__ void __launch_bounds__(ELEMENTARY_THREADS)
elementary_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t length, Elementary function, uint32_t n) {
    const uint32_t i = blockIdx.x * ELEMENTARY_THREADS + threadIdx.x;
    if (i >= length) { return; }

    switch (function) {
        case Elementary::Sin: y[i] = math::sin(x[i]); break;
        case Elementary::Exp: y[i] = math::exp(x[i]); break;
        case Elementary::Exp2: y[i] = math::exp2(x[i]); break;
        case Elementary::Log2: y[i] = math::log2(x[i]); break;
        case Elementary::Root: y[i] = math::root(x[i], n); break;
        case Elementary::PowNeg: y[i] = math::pow_neg(x[i], n); break;
        case Elementary::Sigmoid: y[i] = math::sigmoid(x[i]); break;
        case Elementary::Gaussian: y[i] = math::gaussian(x[i]); break;
        case Elementary::ClippedLinear: y[i] = math::clipped_linear(x[i]); break;
    }
}
