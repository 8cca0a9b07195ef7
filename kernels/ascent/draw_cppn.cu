// draw_cppn.cu: CPPNs drawn in real numbers, as the network takes what it sees of them.
//
//   out  input         (images, n_crops, input_crop) f32, of which (channels, height, width) of each crop are written, in the network's
//                      order: (pixel - mean) * scale
//        scratch       (blocks, room) f32 if room is above 0
//   in   cppns         (images) DrawnCppn: what is whose in
//        instructions  DrawnInstruction
//        terms         DrawnTerm
//        weights       f32, one a term
//        planes        (3, n_pixels) f32                  the inputs column, row and distance; the fourth is 1
//        crops         (n_crops) Crop
//        mean          (channels, height, width) f32
//   shared             room f32: (4 + instructions of the longest program, threads), unless that is in scratch
//
// Mapping   a thread a pixel, a block as many neighbouring ones as it has threads; it goes on to every gridDim.x-th such part of all
//           drawings. Threads never look into one another's columns (drawn.cuh), so there is no barrier.
// Banks     lanes read and write neighbouring words: no conflicts. Instructions, terms and weights are the same for all lanes, from the
//           first-level cache. Global memory: 128 bytes a warp and plane; a crop's row likewise, in either direction.
// Cost      a pixel some 12 instructions a term, 20 an instruction and its activation's 9 to 35; in colour 60, and 15 a crop and channel.
//           256 x 256 pixels of 45 nodes and 90 terms: 3000 for 32 pixels, 6.1 million a drawing. 44 registers, and 25 KiB of shared
//           memory for 45 nodes: 9 blocks, 36 warps an SM, which wait for a term's slot, then for its value.
// Predicted 85e3 images/s at 20 on an H100: 256 x 256 in colour of 45 nodes and 90 terms, one crop: half the cycles issue.
// Numbers   exact: genome::cppn::Gradients' drawing; the pixel less the mean, times scale.
// Twin      backend::cpu::cppn_ascent; tests/cuda/ascent_cppn.rs.
#include "common/drawn.cuh"

namespace draw_cppn {

using namespace drawn;

static __device__ __forceinline__ void draw(float* room, float* input, const Programs& programs, const float* planes,
                                            const Crop* crops, const float* mean, const CppnEye& eye, uint32_t images,
                                            uint32_t input_crop) {
    const uint32_t pitch = blockDim.x;
    float* column = room + threadIdx.x;
    const uint32_t n_pixels = eye.canvas_height * eye.canvas_width;
    const uint32_t parts = (n_pixels + pitch - 1) / pitch;
    const uint32_t plane = eye.height * eye.width;
    for (uint32_t item = blockIdx.x; item < images * parts; item += gridDim.x) {
        const uint32_t image = item / parts;
        const uint32_t pixel = item % parts * pitch + threadIdx.x;
        if (pixel >= n_pixels) { continue; }
        const DrawnCppn cppn = programs.cppns[image];
        forward<false>(column, pitch, programs, cppn, planes, n_pixels, pixel);
        float value[3] = {};  // of red, green and blue, or of grey; then in the network's order
        if (eye.channels == 1) {
            value[0] = absolute(output(column, pitch, cppn, 0)) * 255.0f;
        } else {
            const Hue hue = hue_of(output(column, pitch, cppn, 0));
            const Ends ends = ends_of(absolute(output(column, pitch, cppn, 1)), absolute(output(column, pitch, cppn, 2)));
            const float middle = ends.low + (ends.high - ends.low) * hue.share;
#pragma unroll
            for (uint32_t number = 0; number < 3; ++number) {
                const uint32_t which = role(hue.sector, number);
                value[number] = (which == 0 ? ends.high : which == 1 ? middle : ends.low) * 255.0f;
            }
            if (eye.blue_first) {
                const float red = value[0];
                value[0] = value[2];
                value[2] = red;
            }
        }
        const uint32_t y = pixel / eye.canvas_width;
        const uint32_t x = pixel % eye.canvas_width;
        for (uint32_t number = 0; number < eye.n_crops; ++number) {
            const Seen seen = seen_in(crops[number], eye, y, x);
            if (!seen.is_there) { continue; }
            float* to = input + (size_t(image) * eye.n_crops + number) * input_crop;
#pragma unroll
            for (uint32_t channel = 0; channel < 3; ++channel) {
                if (channel < eye.channels) {
                    const uint32_t at = channel * plane + seen.at;
                    to[at] = (value[channel] - mean[at]) * eye.scale[channel];
                }
            }
        }
    }
}

}  // namespace draw_cppn

extern "C" __global__ void __launch_bounds__(DRAW_CPPN_THREADS, 8)
draw_cppn_f32(float* __restrict__ input, float* __restrict__ scratch, const DrawnCppn* __restrict__ cppns,
              const DrawnInstruction* __restrict__ instructions, const DrawnTerm* __restrict__ terms,
              const float* __restrict__ weights, const float* __restrict__ planes, const Crop* __restrict__ crops,
              const float* __restrict__ mean, CppnEye eye, uint32_t images, uint32_t input_crop, uint32_t room) {
    using namespace draw_cppn;
    DYNAMIC_SHARED(float, smem_room);
    const Programs programs = {cppns, instructions, terms, weights};
    if (room > 0) {
        draw(scratch + size_t(blockIdx.x) * room, input, programs, planes, crops, mean, eye, images, input_crop);
    } else {
        draw(smem_room, input, programs, planes, crops, mean, eye, images, input_crop);
    }
}
