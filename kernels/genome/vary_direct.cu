// vary_direct.cu: both children of a pair of direct genomes: crossover or copy, and mutation, in one pass (spec 4.2, 4.3, 4.4).
//
//   out  genes        (chunk.count, n_genes) f32             in [0, 1]
//   in   elite_genes  (n_runs, n_niches, 2, n_genes) f32     in [0, 1]
//   in   current      (n_runs, n_niches) u32                 which of the two slots holds the elite
//   in   pairs        (chunk.count / 2) Pair                 as select writes them
//   in   runs         (n_runs) RunState                      their keys and generations
//   in   active       (n_active) u32                         numbers of the runs whose places these are
//
// Mapping   blockIdx.x a pair, whose parents and way are then the same for the whole block; one thread a block of random words for
//           each purpose, which serves four genes LANES_OF_A_WORD apart, of both children. Neighbouring threads read and write
//           neighbouring genes, in runs of 64 bytes.
// Cost      a gene of a child is read (from L2, where the elites stay) and written once: 4 bytes to DRAM, so at most 1070 million
//           genomes/s of 784 genes. But instructions bound it: as compiled for sm_90a, for its eight genes a thread takes 260;
//           940 more where a lane of its warp mutates at each turn, which at a rate of 0.1 is always; 1670 more where the pair
//           is crossed. 38 registers: 12 blocks, 48 of 64 warps an SM; no shared memory.
// Predicted 95e6 genomes/s at 65536 on an H100: with half of the pairs crossed, a rate of 0.1, 104 threads a genome of 784 genes, at
//           0.6 of full issue (132 SMs, 128 lanes a clock, 1.98 GHz); 175 million when the rate has faded.
// Predicted 380e3 genomes/s at 400 on an H100: of 196,608 genes (256 x 256 in colour), as many genes a second as above; 700 thousand
//           when the rate has faded. A thousand niches' elites, 1.6 GB, come from DRAM then: 1.6 MB a genome with what is written, 0.6
//           and 1.1 TB/s of 3.35.
// Numbers   exact.
// Twin      genome::direct::{cross, mutate}; compared in tests/cuda/vary_direct.rs.
#include "common/mutation.cuh"
#include "common/rng.cuh"
#include "common/tuning.cuh"

namespace vary_direct {

// Both parents' genes, or both children's.
struct Genes {
    float first;
    float second;
};

// The spread factor of one side for the uniform number `u`; `room` is the distance of the side's parent to its bound.
static __device__ __forceinline__ float spread(float u, float room, float gap, uint32_t eta) {
    const float bound = 1.0f + 2.0f * room / gap;
    const float alpha = 2.0f - math::pow_neg(bound, eta + 1);
    const float inner = u * alpha;
    const bool within = u <= 1.0f / alpha;
    return math::root(within ? inner : 1.0f / (2.0f - inner), eta + 1);
}

// Simulated binary crossover of one gene, with one random word: its unit is the shared number, its lowest bit the coin.
static __device__ __forceinline__ Genes cross(Genes parents, uint32_t word, uint32_t eta, bool repaired) {
    constexpr float EPSILON = 1.1920929e-7f;
    const float a = parents.first, b = parents.second;
    const float low = a < b ? a : b;
    const float high = a < b ? b : a;
    const float gap = high - low;
    if (!(EPSILON < gap)) { return repaired ? parents : Genes{0.5f, 0.5f}; }

    const float u = unit(word);
    const float sum = low + high;
    const float lower = clip((sum - spread(u, low, gap, eta) * gap) * 0.5f);
    const float upper = clip((sum + spread(u, 1.0f - high, gap, eta) * gap) * 0.5f);
    return word & 1 ? Genes{upper, lower} : Genes{lower, upper};
}

// The threshold of a gene's mutation in `generation`: chance of the rate halved so often; both round down, so a shift does it.
static __device__ __forceinline__ uint64_t mutation_chance(const DirectRules& rules, uint32_t generation) {
    const uint32_t halvings = rules.halve_every == 0 ? 0 : generation / rules.halve_every;
    return halvings < 64 ? chance(rules.mutation_rate) >> halvings : 0;
}

// Shifts four values down by one, `last` to the top: after four turns each is back in its place.
template <typename T>
static __device__ __forceinline__ void rotate(T (&values)[4], T last) {
    values[0] = values[1];
    values[1] = values[2];
    values[2] = values[3];
    values[3] = last;
}

// Mutates the four genes that block `block` of a child's random words serves.
static __device__ __forceinline__ void mutate(float (&genes)[4], Draws gate, uint32_t block, uint64_t threshold, uint32_t eta) {
    const Words gates = gate.block(block);
    uint32_t mutating = 0;  // bit w: the gene of word w
#pragma unroll
    for (int w = 0; w < 4; ++w) { mutating |= uint32_t(happens(threshold, gates.w[w])) << w; }
    if (mutating == 0) { return; }

    gate.purpose = Purpose::DirectAmount;
    Words amounts = gate.block(block);
    // Gene by gene in one place of the code, as in the crossover below.
#pragma unroll 1
    for (int turn = 0; turn < 4; ++turn) {
        const bool here = mutating >> turn & 1;
        rotate(genes, here ? polynomial_mutation(genes[0], unit(amounts.w[0]), eta) : genes[0]);
        rotate(amounts.w, 0u);
    }
}

}  // namespace vary_direct

extern "C" __global__ void __launch_bounds__(DIRECT_THREADS)
vary_direct_f32(float* __restrict__ genes, const float* __restrict__ elite_genes, const uint32_t* __restrict__ current,
                const Pair* __restrict__ pairs, const RunState* __restrict__ runs, const uint32_t* __restrict__ active,
                DirectRules rules, Chunk chunk, uint32_t n_niches, uint32_t n_genes) {
    using namespace vary_direct;
    const uint32_t at = blockIdx.x;
    const uint32_t block = blockIdx.y * DIRECT_THREADS + threadIdx.x;
    if (at >= chunk.count / 2 || gene_of(block, 0) >= n_genes) { return; }

    const uint32_t place = chunk.start + 2 * at;  // of the first child
    const uint32_t candidate = place % chunk.batch;
    const uint32_t run_idx = active[place / chunk.batch];
    const RunState& run = runs[run_idx];
    const uint32_t generation = generation_of(run);
    const Pair pair = pairs[at];

    // Offsets are 64-bit: their products may pass 2^31.
    const float* parents[2];  // (n_genes) each
    float* children[2];       // (n_genes) each
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
        const uint64_t niche = uint64_t(run_idx) * n_niches + pair.parents[i];
        parents[i] = elite_genes + (niche * 2 + current[niche]) * n_genes;
        children[i] = genes + (uint64_t(at) * 2 + i) * n_genes;
    }

    float bred[2][4];
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
        for (uint32_t w = 0; w < 4; ++w) {
            const uint32_t gene = gene_of(block, w);
            bred[i][w] = gene < n_genes ? parents[i][gene] : 0.0f;
        }
    }
    if (pair.crossed) {
        Words words = draws(run, Purpose::Crossover, candidate, generation).block(block);
        // Four copies of so long a body would leave the instruction cache, and registers have no run-time index: so the genes
        // come by, one a turn.
#pragma unroll 1
        for (int turn = 0; turn < 4; ++turn) {
            const Genes crossed = cross({bred[0][0], bred[1][0]}, words.w[0], rules.crossover_eta, rules.repaired);
            rotate(bred[0], crossed.first);
            rotate(bred[1], crossed.second);
            rotate(words.w, 0u);
        }
    }
    const uint64_t threshold = mutation_chance(rules, generation);
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
        mutate(bred[i], draws(run, Purpose::DirectGate, candidate + i, generation), block, threshold, rules.mutation_eta);
#pragma unroll
        for (uint32_t w = 0; w < 4; ++w) {
            const uint32_t gene = gene_of(block, w);
            if (gene < n_genes) { children[i][gene] = bred[i][w]; }
        }
    }
}
