// add_bands.cu: what all bands of a drawing tell each term of its program.
//
//   out  gradient  (terms) f32
//   in   bands     (n_bands, terms) f32
//
// Mapping   a thread a term; neighbours are neighbours.
// Banks     no shared memory.
// Cost      4 bytes a term and band, from the L2 cache; a chain of as many additions as there are bands.
// Predicted 10e6 images/s at 20 on an H100: 32 bands of 90 terms: 2 us, a launch.
// Numbers   exact: added ascending, from 0.
// Twin      genome::cppn::Differentiable::gene_gradient; tests/cuda/ascent_cppn.rs.
#include "common/device.cuh"

extern "C" __global__ void __launch_bounds__(ADD_BANDS_THREADS)
add_bands_f32(float* __restrict__ gradient, const float* __restrict__ bands, uint32_t n_bands, uint32_t terms) {
    const uint32_t term = blockIdx.x * ADD_BANDS_THREADS + threadIdx.x;
    if (term >= terms) { return; }
    float sum = 0.0f;
#pragma unroll 8
    for (uint32_t band = 0; band < n_bands; ++band) { sum = sum + bands[size_t(band) * terms + term]; }
    gradient[term] = sum;
}
