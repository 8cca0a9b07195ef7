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
    uint32_t missing;   // the first niche that nobody had a number for in generation 0, or UINT32_MAX
    uint32_t reserved;  // 0: fills the struct
};
static_assert(sizeof(Counters) == 80 && offsetof(Counters, generation) == 48, "twin: params.rs");
