// render_cppn.cu: draws the programs of CPPN genomes: one output gives grey bytes, three give hue, lightness and saturation,
// which become RGB (spec 5.7).
//
//   out  images        (count, n_pixels, n_outputs) u8
//   in   programs      (count) CppnProgram                     as compile_cppn writes them
//   in   instructions  (count, max_nodes) CppnInstruction
//   in   terms         (count, max_edges) CppnTerm
//   in   planes        (3, n_pixels) f32                       the inputs column, row and distance; the fourth is 1
//   shared             shared_bytes: the program, and values
//
// Mapping   one block a genome, so that its threads all run the same program. A warp has RENDER_CPPN_ROWS rows of 32 pixels in
//           registers at once: inputs and sums. Results lie in shared memory, (warps, instructions, rows, 32 pixels) f32: each
//           lane reads its own pixels alone, without barriers or bank conflicts. Of the warps as many draw as have room for
//           their values; where one warp's rows have none, rows are drawn one by one. A warp takes every n-th group of rows.
// Cost      for 160 pixels, instructions of a warp: 26 a term, and a node 28 and five times its activation's 9 to 35. So 28 x
//           28 pixels with 10 nodes and 20 terms take 10,000 a genome (230,000 FLOP), 825 of them on shared memory, one of
//           which goes a cycle where four others do: bound by issue. 56 registers and 44 KiB: 5 blocks, 25 warps an SM; from 14
//           nodes on fewer warps of a block have room, each with five independent rows to work on.
//           In colour, of 32 pixels: 95 for three bytes from hue, lightness and saturation, of which 30 are three divisions. So 256 x
//           256 pixels with as many nodes and terms take 2500 for 160 pixels, 1.03 million a genome.
// Predicted 80e6 genomes/s at 65536 on an H100: with 10 nodes and 20 terms; 103 million were every cycle one of issue.
// Predicted 460e3 genomes/s at 400 on an H100: of 256 x 256 in colour; all blocks run at once, four on the fullest SMs, which then issue
//           in 0.6 of the cycles: 0.87 ms; 790 thousand for batches that fill all SMs alike.
// Numbers   each pixel by itself, in the order of the program, fused from +0.0 on: exact.
// Twin      genome::cppn::Renderer; compared in tests/cuda/render_cppn.rs.
#include "common/colour.cuh"
#include "common/cppn.cuh"
#include "common/math.cuh"
#include "common/tuning.cuh"

namespace render_cppn {

using namespace cppn;

// A genome's program in shared memory, and the room for a warp's values.
struct Drawing {
    CppnProgram program;
    const CppnInstruction* smem_instructions;  // (n_instructions)
    const CppnTerm* smem_terms;                // (n_terms)
    float* smem_values;                        // (warps, n_instructions, rows, 32)
    const float* planes;                       // (3, n_pixels)
    uint8_t* image;                            // (n_pixels, n_outputs)
    uint32_t n_pixels;
    uint32_t n_outputs;
};

// p += weight * value, for the rows of a value in shared memory.
template <int ROWS>
static __device__ __forceinline__ void add_value(float (&p)[ROWS], float weight, const float* value) {
#pragma unroll
    for (int k = 0; k < ROWS; ++k) { p[k] = fmaf(weight, value[k * WARP_SIZE], p[k]); }
}

// p += weight * value, for the rows of an input in registers.
template <int ROWS>
static __device__ __forceinline__ void add_input(float (&p)[ROWS], float weight, const float (&value)[ROWS]) {
#pragma unroll
    for (int k = 0; k < ROWS; ++k) { p[k] = fmaf(weight, value[k], p[k]); }
}

template <int ROWS>
static __device__ __forceinline__ void activate(float (&p)[ROWS], uint32_t activation) {
    if (activation == SINE) {
#pragma unroll
        for (int k = 0; k < ROWS; ++k) { p[k] = math::sin(p[k]); }
    } else if (activation == SIGMOID) {
#pragma unroll
        for (int k = 0; k < ROWS; ++k) { p[k] = math::sigmoid(p[k]); }
    } else if (activation == GAUSSIAN) {
#pragma unroll
        for (int k = 0; k < ROWS; ++k) { p[k] = math::gaussian(p[k]); }
    } else {
#pragma unroll
        for (int k = 0; k < ROWS; ++k) { p[k] = math::clipped_linear(p[k]); }
    }
}

// Draws every n_warps-th group of ROWS rows, from group `warp` on.
template <int ROWS>
static __device__ __forceinline__ void draw(const Drawing& drawing, uint32_t warp, uint32_t n_warps, uint32_t lane) {
    const uint32_t n_instructions = drawing.program.n_instructions;
    float* values = drawing.smem_values + warp * n_instructions * ROWS * WARP_SIZE + lane;
    for (uint32_t first = warp * ROWS * WARP_SIZE; first < drawing.n_pixels; first += n_warps * ROWS * WARP_SIZE) {
        float column[ROWS], row[ROWS], distance[ROWS], one[ROWS];
#pragma unroll
        for (int k = 0; k < ROWS; ++k) {
            uint32_t pixel = first + k * WARP_SIZE + lane;
            pixel = pixel < drawing.n_pixels ? pixel : drawing.n_pixels - 1;  // drawn again, and not written
            column[k] = drawing.planes[pixel];
            row[k] = drawing.planes[drawing.n_pixels + pixel];
            distance[k] = drawing.planes[2 * drawing.n_pixels + pixel];
            one[k] = 1.0f;
        }
        if (drawing.program.from_zero) {
#pragma unroll 1
            for (uint32_t i = 0; i < n_instructions * ROWS; ++i) { values[i * WARP_SIZE] = 0.0f; }
        }
        for (uint32_t pass = 1; pass <= drawing.program.n_passes; ++pass) {
            for (uint32_t i = 0; i < n_instructions; ++i) {
                const CppnInstruction instruction = drawing.smem_instructions[i];
                if (pass < instruction.first_pass || pass > instruction.last_pass) { continue; }
                float p[ROWS] = {};
                const CppnTerm* term = drawing.smem_terms + instruction.first_term;
#pragma unroll 1
                for (uint32_t left = instruction.n_terms; left > 0; --left, ++term) {
                    const CppnTerm t = *term;
                    if (t.value >= N_INPUTS) {
                        add_value(p, t.weight, values + (t.value - N_INPUTS) * ROWS * WARP_SIZE);
                    } else if (t.value < 2) {
                        if (t.value == 0) { add_input(p, t.weight, column); } else { add_input(p, t.weight, row); }
                    } else {
                        if (t.value == 2) { add_input(p, t.weight, distance); } else { add_input(p, t.weight, one); }
                    }
                }
                activate(p, instruction.activation);
#pragma unroll
                for (int k = 0; k < ROWS; ++k) { values[(i * ROWS + k) * WARP_SIZE] = p[k]; }
            }
        }
#pragma unroll 1
        for (int k = 0; k < ROWS; ++k) {
            const uint32_t pixel = first + k * WARP_SIZE + lane;
            if (pixel >= drawing.n_pixels) { break; }
            const float* of_row = values + k * WARP_SIZE;
            uint32_t bytes[3];
#pragma unroll
            for (uint32_t i = 0; i < 3; ++i) {
                if (i < drawing.n_outputs) {
                    bytes[i] = colour::pixel(of_row[(drawing.program.outputs[i] - N_INPUTS) * ROWS * WARP_SIZE]);
                }
            }
            if (drawing.n_outputs == 1) {
                drawing.image[pixel] = uint8_t(bytes[0]);
            } else {
                const colour::Rgb rgb = colour::hls_to_rgb(float(bytes[0]), float(bytes[1]), float(bytes[2]));
                uint8_t* channels = drawing.image + 3 * uint64_t(pixel);
                channels[0] = rgb.red;
                channels[1] = rgb.green;
                channels[2] = rgb.blue;
            }
        }
    }
}

}  // namespace render_cppn

extern "C" __global__ void __launch_bounds__(RENDER_CPPN_WARPS * WARP_SIZE, 5)
render_cppn_u8(uint8_t* __restrict__ images, const CppnProgram* __restrict__ programs,
               const CppnInstruction* __restrict__ instructions, const CppnTerm* __restrict__ terms,
               const float* __restrict__ planes, CppnRules rules, uint32_t count, uint32_t n_pixels, uint32_t shared_bytes) {
    using namespace render_cppn;
    DYNAMIC_SHARED(CppnInstruction, smem_instructions);
    const uint32_t at = blockIdx.x;
    if (at >= count) { return; }

    const CppnProgram program = programs[at];
    CppnTerm* smem_terms = reinterpret_cast<CppnTerm*>(smem_instructions + program.n_instructions);
    float* smem_values = reinterpret_cast<float*>(smem_terms + program.n_terms);
    const CppnInstruction* own_instructions = instructions + uint64_t(at) * rules.max_nodes;
    const CppnTerm* own_terms = terms + uint64_t(at) * rules.max_edges;
    for (uint32_t i = threadIdx.x; i < program.n_instructions; i += blockDim.x) { smem_instructions[i] = own_instructions[i]; }
    for (uint32_t i = threadIdx.x; i < program.n_terms; i += blockDim.x) { smem_terms[i] = own_terms[i]; }
    __syncthreads();  // the program is copied by all, and read by all

    const uint32_t program_bytes =
        program.n_instructions * uint32_t(sizeof(CppnInstruction)) + program.n_terms * uint32_t(sizeof(CppnTerm));
    const uint32_t row_bytes = program.n_instructions * WARP_SIZE * uint32_t(sizeof(float));
    const uint32_t n_rows = (shared_bytes - program_bytes) / row_bytes;  // at least 1: the wrapper sees to it
    const Drawing drawing = {program, smem_instructions, smem_terms, smem_values, planes,
                             images + uint64_t(at) * n_pixels * rules.n_outputs, n_pixels, rules.n_outputs};
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t warp = threadIdx.x / WARP_SIZE;
    if (n_rows >= RENDER_CPPN_ROWS) {
        const uint32_t n_warps = n_rows / RENDER_CPPN_ROWS < RENDER_CPPN_WARPS ? n_rows / RENDER_CPPN_ROWS : RENDER_CPPN_WARPS;
        if (warp < n_warps) { draw<RENDER_CPPN_ROWS>(drawing, warp, n_warps, lane); }
    } else {
        const uint32_t n_warps = n_rows < RENDER_CPPN_WARPS ? n_rows : RENDER_CPPN_WARPS;
        if (warp < n_warps) { draw<1>(drawing, warp, n_warps, lane); }
    }
}
