// blur.cu: a Gaussian blur along one axis of the images that have not stopped: down the columns, then along the rows (spec 10.2).
//
//   out  out      (images, len) f32, planes of rows
//   in   in       (images, len) f32, likewise
//        weights  (2 * reach + 1) f32, from tap -reach to tap reach
//        states   (images) AscentState
//   extent: values along the axis; apart: floats from one to the next, a row's for columns, 1 for rows.
//
// Mapping   a thread a value; neighbours in a row.
// Banks     no shared memory; taps are read from the L1 cache, weights by all lanes at once.
// Cost      8 bytes a value, and 2 * reach + 1 loads: 5 to 9 for the paper's radii.
// Predicted 1.5e6 images/s at 1024 on an H100: 3 x 227 x 227 values, 5 taps of some 12 instructions: 0.3 M of a warp, 45 % of the slots
//           of 1.05e12 a second.
// Numbers   exact: fma(weight, value, sum) from 0 over the taps ascending; beyond the edge the image is mirrored, the edge's value
//           repeated, as often as it takes.
// Twin      backend::cpu; tests/cuda/ascent.rs.
#include "common/device.cuh"
#include "common/params.cuh"

extern "C" __global__ void __launch_bounds__(ASCENT_THREADS)
blur_f32(float* __restrict__ out, const float* __restrict__ in, const float* __restrict__ weights,
         const AscentState* __restrict__ states, uint32_t images, uint32_t len, uint32_t extent, uint32_t apart, uint32_t reach) {
    const uint64_t at = uint64_t(blockIdx.x) * ASCENT_THREADS + threadIdx.x;
    const uint32_t image = at / len;
    if (image >= images) { return; }
    if (states[image].stopped) { return; }
    const uint32_t within = at - uint64_t(image) * len;
    const int size = extent;
    const int here = within / apart % extent;
    const float* line = in + (at - size_t(here) * apart);  // (extent), `apart` from one another
    float sum = 0.0f;
    for (int tap = -int(reach); tap <= int(reach); ++tap) {
        int seen = here + tap;
        while (seen < 0 || seen >= size) { seen = seen < 0 ? -1 - seen : 2 * size - 1 - seen; }
        sum = fmaf(weights[tap + int(reach)], line[size_t(seen) * apart], sum);
    }
    out[at] = sum;
}
