// drawn.cuh: what drawing CPPNs in real numbers and the way back through drawings have in common.
//
// A thread has a pixel, and the pixel a column of the block's room: (rows, pitch) f32, pitch the threads of the block, first the values
// of the program's slots, inputs first. The room is shared memory, or the block's part of a scratch buffer where programs are so long that
// shared memory does not hold a warp's columns.
//
// Numbers   exact: the rules at the top of the twin.
// Twin      src/genome/cppn/gradient.rs
#pragma once

#include "common/cppn.cuh"
#include "common/math.cuh"

namespace drawn {

constexpr float FRAC_PI_2 = 1.57079637f;

// Pixels whose gradients are added up together, before those of other bands come in.
constexpr uint32_t BAND = DRAWN_BAND;
// Accumulators of a term in a band; pixel i goes to accumulator i % SLOTS.
constexpr uint32_t SLOTS = GRADIENT_SLOTS;

// The programs of all graphs, one after the other, with the weights that are tried.
struct Programs {
    const DrawnCppn* __restrict__ cppns;
    const DrawnInstruction* __restrict__ instructions;
    const DrawnTerm* __restrict__ terms;
    const float* __restrict__ weights;
};

static __device__ __forceinline__ float activate(uint32_t activation, float p) {
    if (activation == cppn::SINE) { return math::sin(p); }
    if (activation == cppn::SIGMOID) { return math::sigmoid(p); }
    if (activation == cppn::GAUSSIAN) { return math::gaussian(p); }
    return math::clipped_linear(p);
}

// The derivative of the activation at the sum p, where its value is y.
static __device__ __forceinline__ float slope(uint32_t activation, float p, float y) {
    if (activation == cppn::SINE) { return math::sin(p + FRAC_PI_2); }
    if (activation == cppn::SIGMOID) { return (1.0f - y) * (1.0f + y) * 0.5f; }
    if (activation == cppn::GAUSSIAN) { return p * y * -2.0f; }
    return -3.0f < p && p < 3.0f ? 1.0f / 3.0f : 0.0f;
}

// Every slot's value at `pixel` into `column`; with SLOPES those of the instructions behind the values.
template <bool SLOPES>
static __device__ __forceinline__ void forward(float* column, uint32_t pitch, const Programs& programs, const DrawnCppn& cppn,
                                               const float* planes, uint32_t n_pixels, uint32_t pixel) {
    column[0] = planes[pixel];
    column[pitch] = planes[n_pixels + pixel];
    column[2 * pitch] = planes[2 * n_pixels + pixel];
    column[3 * pitch] = 1.0f;
    const DrawnInstruction* instructions = programs.instructions + cppn.first_instruction;
    const DrawnTerm* terms = programs.terms + cppn.first_term;
    const float* weights = programs.weights + cppn.first_term;
    float* out = column + cppn::N_INPUTS * pitch;
    uint32_t term = 0;
#pragma unroll 1
    for (uint32_t i = 0; i < cppn.n_instructions; ++i) {
        const DrawnInstruction instruction = instructions[i];
        const uint32_t end = term + instruction.n_terms;
        float p = 0.0f;
#pragma unroll 1
        for (; term < end; ++term) { p = fmaf(weights[term], column[terms[term].slot * pitch], p); }
        const float y = activate(instruction.activation, p);
        *out = y;
        if (SLOPES) { out[cppn.n_instructions * pitch] = slope(instruction.activation, p, y); }
        out += pitch;
    }
}

// What a hue says of a colour.
struct Hue {
    uint32_t sector;
    float share;  // where the middle channel is between the lowest and the highest
    bool rises;   // whether that goes up with the hue
};

static __device__ __forceinline__ Hue hue_of(float hue) {
    float h = absolute(hue) * 255.0f / 30.0f;  // at most 8.5, but for rounding: one turn to take off
    h = h < 6.0f ? h : h - 6.0f;
    const int32_t sector = int32_t(h);
    const float fraction = h - float(sector);
    const bool rises = (sector & 1) == 0;
    return {uint32_t(sector), rises ? fraction : 1.0f - fraction, rises};
}

// The role of channel `number`, red first, in a sector: 0 the highest, 1 the middle, 2 the lowest.
static __device__ __forceinline__ uint32_t role(uint32_t sector, uint32_t number) {
    constexpr uint64_t ROLES = 0b011000'001001'000110'010010'100001'100100;  // a sector, of three times two bits, red in the lowest
    return uint32_t(ROLES >> (6 * sector + 2 * number)) & 3;
}

// The one of three that has `wanted` for its role.
static __device__ __forceinline__ float of_role(const float (&of)[3], uint32_t sector, uint32_t wanted) {
    return role(sector, 0) == wanted ? of[0] : role(sector, 1) == wanted ? of[1] : of[2];
}

// The highest and the lowest channel.
struct Ends {
    float high;
    float low;
    bool dark;
};

static __device__ __forceinline__ Ends ends_of(float l, float s) {
    const bool dark = l <= 0.5f;
    const float high = dark ? l * (1.0f + s) : (l + s) - l * s;
    return {high, (l + l) - high, dark};
}

// `a` with the sign of the derivative of |v|.
static __device__ __forceinline__ float of_absolute(float v, float a) {
    return 0.0f < v ? a : v < 0.0f ? -a : 0.0f;
}

// The value of output `number` of the pixel.
static __device__ __forceinline__ float output(const float* column, uint32_t pitch, const DrawnCppn& cppn, uint32_t number) {
    return column[cppn.outputs[number] * pitch];
}

// Where crop `crop` has the pixel in row y and column x of the drawing, in a channel of the network's input.
struct Seen {
    bool is_there;
    uint32_t at;
};

static __device__ __forceinline__ Seen seen_in(const Crop& crop, const CppnEye& eye, uint32_t y, uint32_t x) {
    const uint32_t row = y - crop.y;  // above and to the left of the crop it wraps round
    uint32_t column = x - crop.x;
    const bool is_there = row < eye.height && column < eye.width;
    column = crop.mirror ? eye.width - 1 - column : column;
    return {is_there, row * eye.width + column};
}

}  // namespace drawn
