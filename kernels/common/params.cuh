// params.cuh: the structs that cross between host and device. Each has its twin in src/backend/cuda/params.rs; both sides
// assert size and offsets.
#pragma once

#include <stddef.h>
#include <stdint.h>

// One run, in device memory from its first generation to its last.
struct RunState {
    uint32_t key[2];      // of Philox: the seed, low word first
    uint32_t generation;  // of the archive; means nothing while is_first
    uint32_t is_first;    // 1 until generation 0 is in the archive
    uint64_t skipped;     // operators skipped for want of capacity, since generation 0
};
static_assert(sizeof(RunState) == 24 && offsetof(RunState, skipped) == 16, "twin: params.rs");

// The places that a launch works on. Candidate c of the r-th active run is at place r * batch + c. Buffers of a chunk are
// indexed by place - start.
struct Chunk {
    uint32_t batch;  // candidates of a generation of each run
    uint32_t start;  // the first place; even
    uint32_t count;  // places
};
static_assert(sizeof(Chunk) == 12, "twin: params.rs");

// How two children are made.
struct Pair {
    uint32_t parents[2];  // niches
    uint32_t crossed;     // 1 if their genes are mixed, 0 if each child is a copy of its parent
};
static_assert(sizeof(Pair) == 12, "twin: params.rs");

// The best confidence seen for a niche, and who had it: genome::cpu's Winner.
struct Winner {
    float fitness;       // -inf while nobody has competed
    uint32_t candidate;  // number within the batch of its run; UINT32_MAX for the niche's elite, or nobody
};
static_assert(sizeof(Winner) == 8, "twin: params.rs");

// How direct genomes vary: genome::direct::Rules.
struct DirectRules {
    double mutation_rate;       // at first; halved every halve_every generations
    uint64_t crossover_chance;  // a pair is crossed if its word is below it: Chance of rng.rs; 0 without crossover
    uint32_t halve_every;       // 0 for never
    uint32_t mutation_eta;
    uint32_t crossover_eta;
    uint32_t repaired;          // genes on which the parents agree: 1 copies them, 0 makes them 0.5
};
static_assert(sizeof(DirectRules) == 32 && offsetof(DirectRules, halve_every) == 16, "twin: params.rs");

// How CPPNs vary: genome::cppn::Rules. Chances as in rng.rs.
struct CppnRules {
    uint64_t weight_chance;
    uint64_t activation_chance;
    uint64_t add_edge_chance;
    uint64_t delete_edge_chance;
    uint64_t split_edge_chance;
    uint64_t delete_node_chance;
    float max_weight;
    uint32_t weight_eta;
    uint32_t max_nodes;      // capacity; a slot's activations lie node_stride(max_nodes) bytes after those of the one before
    uint32_t max_edges;      // capacity, and edges between the starts of two slots
    uint32_t n_outputs;
    uint32_t reserved;       // 0: fills the struct
};
static_assert(sizeof(CppnRules) == 72 && offsetof(CppnRules, max_weight) == 48, "twin: params.rs");

// A directed edge of a CPPN.
struct CppnEdge {
    uint16_t source;
    uint16_t target;
    float gene;  // in [0, 1]
};
static_assert(sizeof(CppnEdge) == 8, "twin: params.rs");

// Sizes of the genome in a slot.
struct CppnSize {
    uint32_t n_nodes;
    uint32_t n_edges;
};
static_assert(sizeof(CppnSize) == 8, "twin: params.rs");

// What compile_cppn makes of a genome and render_cppn draws: instructions that are run in their order, pass after pass. Values
// 0..4 are the inputs, value 4 + i is the result of instruction i.
struct CppnProgram {
    uint32_t n_instructions;
    uint32_t n_terms;
    uint32_t n_passes;
    uint32_t from_zero;   // 1 if results are read before they are made: they are 0 then
    uint32_t outputs[3];  // the values that are the outputs; of a grey genome the first alone
};
static_assert(sizeof(CppnProgram) == 28, "twin: params.rs");

// A node: the activation of the sum of its terms.
struct CppnInstruction {
    uint32_t first_term;
    uint32_t n_terms;
    uint32_t activation;
    uint16_t first_pass;  // it is run in the passes first_pass ..= last_pass, which count from 1
    uint16_t last_pass;
};
static_assert(sizeof(CppnInstruction) == 16, "twin: params.rs");

// A weighted value.
struct CppnTerm {
    uint32_t value;
    float weight;
};
static_assert(sizeof(CppnTerm) == 8, "twin: params.rs");

// What the host learns of a generation of one run. Statistics as archive.rs has them.
struct Counters {
    uint64_t archive_hash;
    uint64_t skipped;
    double median;
    double mean;
    double min;
    double max;
    uint32_t generation;
    uint32_t replaced;
    uint32_t over_9;
    uint32_t over_99;
    uint32_t over_999;
    uint32_t over_9999;
    uint32_t missing;  // the first niche that nobody had a number for in generation 0, or UINT32_MAX
    uint32_t logged;   // insertions of the run that its log has had, modulo 2^32; 0 without one
};
static_assert(sizeof(Counters) == 80 && offsetof(Counters, generation) == 48, "twin: params.rs");

// A candidate that entered an archive.
struct Insertion {
    uint32_t generation;
    uint32_t candidate;  // number within the batch of its run
    uint32_t niche;
    float fitness;
};
static_assert(sizeof(Insertion) == 16 && offsetof(Insertion, fitness) == 12, "twin: params.rs");

// A convolution: columns of its matrix product are positions of all images, rows are output channels of a group. Lengths of
// activations are in floats.
struct Conv2dShape {
    uint32_t n_columns;  // images * out_plane
    uint32_t out_width;
    uint32_t out_plane;
    uint32_t out_image;  // between two images of the output
    uint32_t in_height;
    uint32_t in_width;
    uint32_t in_image;   // between two images of the input
    uint32_t in_group;   // between the inputs of two groups
    uint32_t rows;       // output channels of a group
    uint32_t pitch;      // of a row of weights: rows, rounded up to a multiple of 4
    uint32_t padded_k;   // rows of weights of a group: k, rounded up to whole stages
    uint32_t row_tiles;
    uint32_t stride;
    uint32_t padding;
    uint32_t rectify;    // 1: x > 0 ? x : 0 of each output
    uint32_t reserved;   // 0: fills the struct
};
static_assert(sizeof(Conv2dShape) == 64 && offsetof(Conv2dShape, row_tiles) == 44, "twin: params.rs");

// What one k of a convolution reads: how far from the value under the kernel's first corner, and which row and column of the kernel
// that is. The k's that fill the last stage have row 29, which no kernel has. Not packed closer: it is unpacked for each value.
struct Conv2dTap {
    int32_t offset;  // bytes
    uint32_t row;
    uint32_t column;
    uint32_t reserved;  // 0: fills the struct
};
static_assert(sizeof(Conv2dTap) == 16, "twin: params.rs");

// What one k of a convolution of 8-bit images reads: how far from the pixel under the kernel's first corner, in bytes.
struct ImageTap {
    uint32_t at;       // row of the kernel (29: none), and column << 8
    int32_t plain;     // in an image
    int32_t mirrored;  // in one that is mirrored
    int32_t mean;      // in the mean
};
static_assert(sizeof(ImageTap) == 16, "twin: params.rs");

// 8-bit images, channels last, of which the network sees parts.
struct ImageShape {
    uint32_t row;       // bytes
    uint32_t image;     // bytes
    uint32_t channels;
    uint32_t n_crops;   // of each image, side by side in the batch
};
static_assert(sizeof(ImageShape) == 16, "twin: params.rs");

// A part of an image: its first column and row, and whether the network sees it mirrored.
struct Crop {
    uint32_t x;
    uint32_t y;
    uint32_t mirror;
};
static_assert(sizeof(Crop) == 12, "twin: params.rs");

// A dense layer: columns of its matrix product are images, rows are outputs. Lengths are in floats.
struct DenseShape {
    uint32_t batch;
    uint32_t rows;
    uint32_t pitch;       // of a row of weights: rows, rounded up to a multiple of 4
    uint32_t k;           // inputs of an image
    uint32_t padded_k;    // rows of weights: k, rounded up to whole stages
    uint32_t in_image;    // between two images of the input
    uint32_t out_image;   // between two images of the output
    uint32_t row_tiles;
    uint32_t rectify;     // 1: x > 0 ? x : 0 of each output
};
static_assert(sizeof(DenseShape) == 36 && offsetof(DenseShape, row_tiles) == 28, "twin: params.rs");

// Pooling, normalisation across channels, or one after the other. Lengths are in floats.
struct PoolShape {
    uint32_t batch;
    uint32_t channels;
    uint32_t in_height;
    uint32_t in_width;
    uint32_t in_image;   // between two images of the input
    uint32_t out_height;
    uint32_t out_width;
    uint32_t out_image;  // between two images of the output
    uint32_t kernel;
    uint32_t stride;
    uint32_t padding;
    uint32_t count_padding;  // averages: 1 if padding is counted in the divisor
};
static_assert(sizeof(PoolShape) == 48 && offsetof(PoolShape, kernel) == 32, "twin: params.rs");

// Local response normalisation: x / (k + alpha / size * sum of squares of `size` channels around)^0.75.
struct LrnRule {
    uint32_t size;  // odd
    float scale;    // alpha / size
    float k;
};
static_assert(sizeof(LrnRule) == 12, "twin: params.rs");

// The phases of planes, put beside one another. Lengths are in floats.
struct PhaseShape {
    uint32_t batch;
    uint32_t channels;   // of the output; the input has stride * stride of each
    uint32_t height;
    uint32_t width;
    uint32_t out_image;  // between two images of the output
    uint32_t in_height;
    uint32_t in_width;
    uint32_t in_image;   // between two images of the input
    uint32_t stride;
    uint32_t first;      // rows and columns that are cut off at the top and at the left
};
static_assert(sizeof(PhaseShape) == 40 && offsetof(PhaseShape, stride) == 32, "twin: params.rs");

// An image that climbs: what the last step saw of it, and how far it goes. One that has stopped stays as it is.
struct AscentState {
    double norm;        // squared, of the gradient
    float probability;  // of the image's class
    uint32_t best;      // the most probable class
    uint32_t stopped;   // 1 from the step on in which it stopped
    float rate;
};
static_assert(sizeof(AscentState) == 24 && offsetof(AscentState, stopped) == 16, "twin: params.rs");

// A CPPN that is drawn in real numbers: genome::cppn::Program, whose instructions, terms and weights lie among those of others. Slots
// 0..4 are the inputs, slot 4 + i is the result of instruction i.
struct DrawnCppn {
    uint32_t first_instruction;
    uint32_t n_instructions;
    uint32_t first_term;
    uint32_t n_terms;
    uint32_t outputs[3];  // the slots that are the outputs; of a grey drawing the first alone
    uint32_t reserved;    // 0: fills the struct
};
static_assert(sizeof(DrawnCppn) == 32 && offsetof(DrawnCppn, outputs) == 16, "twin: params.rs");

// The activation of the sum of the terms that follow those of the instruction before.
struct DrawnInstruction {
    uint32_t activation;
    uint32_t n_terms;
};
static_assert(sizeof(DrawnInstruction) == 8, "twin: params.rs");

// What a weight is multiplied by, and for which instruction of the program.
struct DrawnTerm {
    uint32_t slot;
    uint32_t instruction;
};
static_assert(sizeof(DrawnTerm) == 8, "twin: params.rs");

// What a network sees of a drawing.
struct CppnEye {
    uint32_t canvas_height;  // of the drawing
    uint32_t canvas_width;
    uint32_t height;         // of the network's input, a crop
    uint32_t width;
    uint32_t channels;       // 1 or 3
    uint32_t n_crops;
    uint32_t blue_first;     // 1 if the network's channels are blue, green, red
    float scale[3];          // in the network's order
};
static_assert(sizeof(CppnEye) == 40 && offsetof(CppnEye, scale) == 28, "twin: params.rs");

// What a step sees of a drawing.
struct CppnSeen {
    float probability;  // of its class
    uint32_t best;      // the most probable class
};
static_assert(sizeof(CppnSeen) == 8, "twin: params.rs");

// The weight gradient of a convolution. Lengths are in floats.
struct Conv2dGradientShape {
    uint32_t images;          // of each slot
    uint32_t out_height;
    uint32_t out_width;
    uint32_t gradient_image;  // between two images of the output's gradient
    uint32_t in_height;
    uint32_t in_width;
    uint32_t in_image;        // between two images of the input
    uint32_t in_group;        // between the inputs of two groups
    uint32_t outputs;         // output channels of a group
    uint32_t pitch;           // of a row of gradients: outputs, rounded up to a multiple of 4
    uint32_t k;               // weights of an output; its bias is one more
    uint32_t k_tiles;
    uint32_t stride;
    uint32_t padding;
    uint32_t step_images;     // what a stage's positions are in images, rows and columns
    uint32_t step_rows;
    uint32_t step_columns;
};
static_assert(sizeof(Conv2dGradientShape) == 68 && offsetof(Conv2dGradientShape, k_tiles) == 44, "twin: params.rs");

// The weight gradient of a dense layer. Lengths are in floats.
struct DenseGradientShape {
    uint32_t images;          // of each slot
    uint32_t gradient_image;  // between two images of the output's gradient
    uint32_t in_image;        // between two images of the input
    uint32_t outputs;
    uint32_t pitch;           // of a row of gradients: outputs, rounded up to a multiple of 4
    uint32_t k;               // inputs; the bias is one more
    uint32_t k_tiles;
};
static_assert(sizeof(DenseGradientShape) == 28, "twin: params.rs");

// An iteration of training.
struct TrainingStep {
    uint32_t iteration;
    float rate;  // of weights
};
static_assert(sizeof(TrainingStep) == 8, "twin: params.rs");

// How a layer's gradients become new weights: Sgd of src/backend/training.rs.
struct UpdateShape {
    uint32_t groups;
    uint32_t outputs;   // of a group
    uint32_t pitch;     // of a row of weights, velocities and gradients: outputs, rounded up to a multiple of 4
    uint32_t k;         // weights of an output; its bias is one more
    uint32_t padded_k;  // rows of weights of a group
    uint32_t slots;     // accumulators that are still to be added: 1 or GRADIENT_SLOTS
    float momentum;
    float decay;        // of weights
    float bias_decay;   // of biases, not a multiple
    float bias_rate;    // as a multiple of that of weights
};
static_assert(sizeof(UpdateShape) == 40 && offsetof(UpdateShape, momentum) == 24, "twin: params.rs");

// A layer's weights as the way back reads them.
struct TurnShape {
    uint32_t groups;
    uint32_t outputs;       // of a group
    uint32_t channels;      // input channels of a group
    uint32_t kernel;
    uint32_t taps;          // of a turned kernel, along a side
    uint32_t stride;        // of the layer
    uint32_t multiple;      // phases a side for each value under the stride
    uint32_t padded_k;      // rows of weights of a group
    uint32_t pitch;         // of a row of weights
    uint32_t turned_k;      // the same of what is turned
    uint32_t turned_pitch;
};
static_assert(sizeof(TurnShape) == 44 && offsetof(TurnShape, padded_k) == 28, "twin: params.rs");
