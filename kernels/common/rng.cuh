// rng.cuh: random numbers of the one arithmetic, Philox4x32-10, keyed by the seed and counted by
// (draw, purpose, candidate, generation); never by thread, block or chunk.
//
// Source    Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
// Numbers   integers, but for unit and chance, whose results are exact.
// Twin      src/rng.rs; tests/cuda/elementary.rs compares the two enums of purposes.
#pragma once

#include "common/device.cuh"
#include "common/params.cuh"

// What a random number is for: the third word of the counter. Their uses: Purpose in src/rng.rs.
enum class Purpose : uint32_t {
    Select = 0,
    DirectInit = 1,
    DirectGate = 2,
    DirectAmount = 3,
    Crossover = 4,
    CppnInit = 5,
    CppnWeightGate = 6,
    CppnWeightAmount = 7,
    CppnActivationGate = 8,
    CppnActivation = 9,
    CppnAddEdge = 10,
    CppnDeleteEdge = 11,
    CppnSplitEdge = 12,
    CppnDeleteNode = 13,
    TrainInit = 14,
    TrainOrder = 15,
    Dropout = 16,
    AscentStart = 17,
    TrainCrop = 18,
    RetrainSample = 19,
};

// The four words of a counter. Index it with constants alone, so that it stays in registers.
struct Words {
    uint32_t w[4];
};

// The words at the counter (c0, c1, c2, c3).
static __device__ __forceinline__ Words philox(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    constexpr int ROUNDS = 10;
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round) {
        const uint64_t p0 = uint64_t(0xD2511F53u) * c0;
        const uint64_t p1 = uint64_t(0xCD9E8D57u) * c2;
        c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
        c1 = uint32_t(p1);
        c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
        c3 = uint32_t(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

constexpr uint32_t GENE_GROUP = 64;     // genes that a group of 16 blocks serves: Draws::gene_word of src/rng.rs
constexpr uint32_t LANES_OF_A_WORD = 16;

// The gene that word w of block `block` serves; those of neighbouring blocks are neighbours, but for the group's end.
static __device__ __forceinline__ uint32_t gene_of(uint32_t block, uint32_t w) {
    return block / LANES_OF_A_WORD * GENE_GROUP + w * LANES_OF_A_WORD + block % LANES_OF_A_WORD;
}

// The random words of one (purpose, candidate, generation), by index.
struct Draws {
    uint32_t key[2];
    Purpose purpose;
    uint32_t candidate;   // number within the batch of its run
    uint32_t generation;  // the one being made

    // Words 4 * index .. 4 * index + 4.
    __device__ __forceinline__ Words block(uint32_t index) const {
        return philox(key[0], key[1], index, uint32_t(purpose), candidate, generation);
    }

    // Word `index`: word index % 4 of block index / 4.
    __device__ __forceinline__ uint32_t word(uint32_t index) const {
        const Words words = block(index / 4);
        const uint32_t low = index & 1 ? words.w[1] : words.w[0];
        const uint32_t high = index & 1 ? words.w[3] : words.w[2];
        return index & 2 ? high : low;
    }
};

// The numbers that candidate `candidate` of `run` has in `generation` for one purpose.
static __device__ __forceinline__ Draws draws(const RunState& run, Purpose purpose, uint32_t candidate, uint32_t generation) {
    return {{run.key[0], run.key[1]}, purpose, candidate, generation};
}

// The generation that a run is making.
static __device__ __forceinline__ uint32_t generation_of(const RunState& run) {
    return run.is_first ? 0 : run.generation + 1;
}

// Uniform in [0, 1): the word's upper 24 bits times 2^-24, every value exact.
static __device__ __forceinline__ float unit(uint32_t word) {
    return float(int32_t(word >> 8)) * (1.0f / 16777216.0f);
}

// Uniform in 0..n by multiply-high.
static __device__ __forceinline__ uint32_t below(uint32_t word, uint32_t n) {
    return uint32_t((uint64_t(word) * n) >> 32);
}

// A probability in [0, 1] as a threshold for words: Chance of src/rng.rs. The product is exact and at most 2^32.
static __device__ __forceinline__ uint64_t chance(double probability) {
    return uint64_t(probability * 4294967296.0);
}

// Whether the event whose chance is `threshold` happens for `word`.
static __device__ __forceinline__ bool happens(uint64_t threshold, uint32_t word) {
    return word < threshold;
}
