// draw_cppn_backward.cu: what the network tells the weights that drew its images, in bands of pixels.
//
//   out  bands         (n_bands, all_terms) f32: of each band of a drawing and each term of its program
//        scratch       (blocks, room) f32 if room is above 0
//   in   gradient      (images, n_crops, gradient_crop) f32, of which (channels, height, width) of each crop are read: of the network's
//                      input
//        cppns, instructions, terms, weights, planes, crops: as in draw_cppn.cu
//   shared             room f32: (4 + 3 * instructions, threads) of values, slopes and adjoints, and (terms, SLOTS) accumulators, of the
//                      longest program, unless that is in scratch
//
// Mapping   a block a band of a drawing, as many pixels at a time as it has threads. A thread draws its pixel and goes back through the
//           program, which leaves in the place of each instruction's adjoint what its terms get of it. Then a thread has an accumulator
//           of a term, neighbours neighbouring ones, and adds what the pixels of it give, in their order; it finds it again at the next
//           pixels. So every sum has the order of the rule, and no thread waits for another's sum.
// Banks     columns: lanes have neighbouring words. Accumulators: 16 lanes a term read neighbouring words of two rows, the other 16 of
//           two others, a multiple of 32 words away: two passes, but where both terms are of one instruction, or of one value.
// Cost      a pixel what draw_cppn takes, and 35 for slopes of a sine, 10 a term and 8 an instruction back; 6 a crop and channel; 4 a term
//           and pixel for the sums. 256 x 256 pixels of 45 nodes and 90 terms: 7000 for 32 pixels, 14 million a drawing. 62 registers, and 41
//           KiB of shared memory for 45 nodes, 90 terms and 64 threads: 5 blocks, 10 warps an SM.
// Predicted 18e3 images/s at 20 on an H100: 256 x 256 in colour of 45 nodes and 90 terms, one crop: 640 blocks, which all run at once, of
//           too few warps to issue in more than one cycle of four.
// Numbers   exact: the rules of genome::cppn::Gradients; of a pixel fma(gradient, scale, sum) from 0 over the crops that see it, divided
//           by their number where there are several; 16 accumulators a term and band, added in halves.
// Twin      backend::cpu::cppn_ascent, genome::cppn::Gradients; tests/cuda/ascent_cppn.rs.
#include "common/drawn.cuh"

namespace draw_cppn_backward {

using namespace drawn;

// What the pixel's gradient `a`, red first, of 255 times the pixel, tells the outputs: adds to their adjoints.
static __device__ __forceinline__ void from_pixel(float* column, uint32_t pitch, const DrawnCppn& cppn, const float (&a)[3],
                                                  uint32_t channels) {
    float* adjoints = column + 2 * cppn.n_instructions * pitch;  // that of slot 4 is 2 * n_instructions behind its value
    if (channels == 1) {
        float* adjoint = adjoints + cppn.outputs[0] * pitch;
        *adjoint = *adjoint + of_absolute(output(column, pitch, cppn, 0), a[0]);
        return;
    }
    const float v[3] = {output(column, pitch, cppn, 0), output(column, pitch, cppn, 1), output(column, pitch, cppn, 2)};
    const Hue hue = hue_of(v[0]);
    const float l = absolute(v[1]);
    const float s = absolute(v[2]);
    const Ends ends = ends_of(l, s);
    const float a_high = of_role(a, hue.sector, 0);
    const float a_middle = of_role(a, hue.sector, 1);
    const float a_low = of_role(a, hue.sector, 2);
    const float to_high = fmaf(a_middle, hue.share, a_high);
    const float to_low = fmaf(a_middle, 1.0f - hue.share, a_low);
    const float c = to_high - to_low;
    const float d = a_middle * (ends.high - ends.low);
    const float of[3] = {8.5f * (hue.rises ? d : -d), fmaf(2.0f, to_low, c * (ends.dark ? 1.0f + s : 1.0f - s)),
                         c * (ends.dark ? l : 1.0f - l)};
#pragma unroll
    for (uint32_t i = 0; i < 3; ++i) {
        float* adjoint = adjoints + cppn.outputs[i] * pitch;
        *adjoint = *adjoint + of_absolute(v[i], of[i]);
    }
}

// Back through the program, the last instruction first: each adjoint becomes what the terms get, adjoint * slope.
static __device__ __forceinline__ void backward(float* column, uint32_t pitch, const Programs& programs, const DrawnCppn& cppn) {
    const uint32_t apart = cppn.n_instructions * pitch;
    const DrawnInstruction* instructions = programs.instructions + cppn.first_instruction;
    const DrawnTerm* terms = programs.terms + cppn.first_term;
    const float* weights = programs.weights + cppn.first_term;
    uint32_t end = cppn.n_terms;
#pragma unroll 1
    for (uint32_t i = cppn.n_instructions; i-- > 0;) {
        float* value = column + (cppn::N_INPUTS + i) * pitch;
        const float q = value[2 * apart] * value[apart];
        value[2 * apart] = q;
        const uint32_t first = end - instructions[i].n_terms;
#pragma unroll 1
        for (uint32_t term = first; term < end; ++term) {
            const uint32_t slot = terms[term].slot;
            if (slot >= cppn::N_INPUTS) {
                float* adjoint = column + slot * pitch + 2 * apart;
                *adjoint = fmaf(weights[term], q, *adjoint);
            }
        }
        end = first;
    }
}

static __device__ __forceinline__ void differentiate(float* room, float* bands, const float* gradient, const Programs& programs,
                                                     const float* planes, const Crop* crops, const CppnEye& eye, uint32_t images,
                                                     uint32_t gradient_crop, uint32_t all_terms) {
    const uint32_t pitch = blockDim.x;
    float* column = room + threadIdx.x;
    const uint32_t n_pixels = eye.canvas_height * eye.canvas_width;
    const uint32_t n_bands = (n_pixels + BAND - 1) / BAND;
    const uint32_t plane = eye.height * eye.width;
    for (uint32_t item = blockIdx.x; item < images * n_bands; item += gridDim.x) {
        const uint32_t image = item / n_bands;
        const uint32_t band = item % n_bands;
        const DrawnCppn cppn = programs.cppns[image];
        const DrawnTerm* terms = programs.terms + cppn.first_term;
        const float* adjoints = room + 2 * cppn.n_instructions * pitch;                    // by slot
        float* sums = room + (cppn::N_INPUTS + 3 * cppn.n_instructions) * pitch;           // (n_terms, SLOTS)
        const uint32_t n_sums = cppn.n_terms * SLOTS;
        for (uint32_t i = threadIdx.x; i < n_sums; i += pitch) { sums[i] = 0.0f; }  // whose the sum is
        const uint32_t end = n_pixels - band * BAND < BAND ? n_pixels : (band + 1) * BAND;
        for (uint32_t first = band * BAND; first < end; first += pitch) {
            const uint32_t pixel = first + threadIdx.x;
            if (pixel < end) {
                forward<true>(column, pitch, programs, cppn, planes, n_pixels, pixel);
                float* adjoint = column + (cppn::N_INPUTS + 2 * cppn.n_instructions) * pitch;
#pragma unroll 1
                for (uint32_t i = 0; i < cppn.n_instructions; ++i) { adjoint[i * pitch] = 0.0f; }
                const uint32_t y = pixel / eye.canvas_width;
                const uint32_t x = pixel % eye.canvas_width;
                float a[3] = {};  // in the network's order; then red first
                for (uint32_t number = 0; number < eye.n_crops; ++number) {
                    const Seen seen = seen_in(crops[number], eye, y, x);
                    if (!seen.is_there) { continue; }
                    const float* from = gradient + (size_t(image) * eye.n_crops + number) * gradient_crop;
#pragma unroll
                    for (uint32_t channel = 0; channel < 3; ++channel) {
                        if (channel < eye.channels) {
                            a[channel] = fmaf(from[channel * plane + seen.at], eye.scale[channel], a[channel]);
                        }
                    }
                }
#pragma unroll
                for (uint32_t channel = 0; channel < 3; ++channel) {
                    a[channel] = (eye.n_crops > 1 ? a[channel] / float(eye.n_crops) : a[channel]) * 255.0f;
                }
                if (eye.blue_first) {
                    const float blue = a[0];
                    a[0] = a[2];
                    a[2] = blue;
                }
                from_pixel(column, pitch, cppn, a, eye.channels);
                backward(column, pitch, programs, cppn);
            }
            __syncthreads();  // the pixels' values and what terms get of them are there
            const uint32_t here = end - first < pitch ? end - first : pitch;
            for (uint32_t i = threadIdx.x; i < n_sums; i += pitch) {
                const DrawnTerm term = terms[i / SLOTS];
                const float* q = adjoints + (cppn::N_INPUTS + term.instruction) * pitch;
                const float* value = room + term.slot * pitch;
                float sum = sums[i];
                for (uint32_t at = i % SLOTS; at < here; at += SLOTS) { sum = fmaf(q[at], value[at], sum); }
                sums[i] = sum;
            }
            __syncthreads();  // all have read them: the next pixels' come over them
        }
        for (uint32_t term = threadIdx.x; term < cppn.n_terms; term += pitch) {
            float slots[SLOTS];
#pragma unroll
            for (uint32_t s = 0; s < SLOTS; ++s) { slots[s] = sums[term * SLOTS + s]; }
#pragma unroll
            for (uint32_t s = 0; s < SLOTS / 2; ++s) { slots[s] = slots[s] + slots[s + SLOTS / 2]; }
#pragma unroll
            for (uint32_t s = 0; s < SLOTS / 4; ++s) { slots[s] = slots[s] + slots[s + SLOTS / 4]; }
#pragma unroll
            for (uint32_t s = 0; s < SLOTS / 8; ++s) { slots[s] = slots[s] + slots[s + SLOTS / 8]; }
            static_assert(SLOTS == 16, "two sums are left");
            const float total = slots[0] + slots[1] + 0.0f;
            bands[size_t(band) * all_terms + cppn.first_term + term] = total;
        }
        __syncthreads();  // the sums are read: the next band's come over them
    }
}

}  // namespace draw_cppn_backward

extern "C" __global__ void __launch_bounds__(DRAW_CPPN_THREADS, 8)
draw_cppn_backward_f32(float* __restrict__ bands, float* __restrict__ scratch, const float* __restrict__ gradient,
                       const DrawnCppn* __restrict__ cppns, const DrawnInstruction* __restrict__ instructions,
                       const DrawnTerm* __restrict__ terms, const float* __restrict__ weights, const float* __restrict__ planes,
                       const Crop* __restrict__ crops, CppnEye eye, uint32_t images, uint32_t gradient_crop, uint32_t all_terms,
                       uint32_t room) {
    using namespace draw_cppn_backward;
    DYNAMIC_SHARED(float, smem_room);
    const Programs programs = {cppns, instructions, terms, weights};
    if (room > 0) {
        differentiate(scratch + size_t(blockIdx.x) * room, bands, gradient, programs, planes, crops, eye, images, gradient_crop,
                      all_terms);
    } else {
        differentiate(smem_room, bands, gradient, programs, planes, crops, eye, images, gradient_crop, all_terms);
    }
}
