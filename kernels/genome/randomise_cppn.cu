// randomise_cppn.cu: the random genomes of generation 0: every input joined to every output (spec 5.4).
//
//   out  sizes        (chunk.count) CppnSize
//   out  activations  (chunk.count, node_stride) u8             in 0..4; what lies beyond a genome's size is not written
//   out  edges        (chunk.count, rules.max_edges) CppnEdge
//   in   runs         (n_runs) RunState                         their keys
//   in   active       (n_active) u32                            numbers of the runs whose places these are
//
// Mapping   one warp a candidate, RANDOMISE_CPPN_WARPS a block; one lane a node or edge, each of which has a random word.
// Cost      some 130 instructions of a warp, most of them Philox, and 45 bytes written a grey genome; once a run.
//           42 registers, no shared memory: 11 blocks an SM.
// Predicted 1.5e9 genomes/s at 65536 on an H100: full issue gives 8 billion; a warp waits for a few accesses one after the other.
// Numbers   exact.
// Twin      genome::cppn::Graph::random; compared in tests/cuda/randomise_cppn.rs.
#include "common/cppn.cuh"
#include "common/rng.cuh"
#include "common/tuning.cuh"

extern "C" __global__ void __launch_bounds__(RANDOMISE_CPPN_WARPS * WARP_SIZE)
randomise_cppn_f32(CppnSize* __restrict__ sizes, uint8_t* __restrict__ activations, CppnEdge* __restrict__ edges,
                   const RunState* __restrict__ runs, const uint32_t* __restrict__ active, CppnRules rules, Chunk chunk) {
    using namespace cppn;
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t at = blockIdx.x * RANDOMISE_CPPN_WARPS + threadIdx.x / WARP_SIZE;
    if (at >= chunk.count) { return; }

    const uint32_t place = chunk.start + at;
    const Draws init = draws(runs[active[place / chunk.batch]], Purpose::CppnInit, place % chunk.batch, 0);
    uint8_t* own_activations = activations + at * node_stride(rules.max_nodes);  // (max_nodes)
    CppnEdge* own_edges = edges + uint64_t(at) * rules.max_edges;                // (max_edges)
    const uint32_t n_nodes = N_INPUTS + rules.n_outputs;
    const uint32_t n_edges = N_INPUTS * rules.n_outputs;
    for (uint32_t i = lane; i < n_nodes + n_edges; i += WARP_SIZE) {
        const uint32_t word = init.word(i);
        if (i < n_nodes) {
            own_activations[i] = uint8_t(below(word, N_ACTIVATIONS));
        } else {
            const uint32_t edge = i - n_nodes;  // output by output, input by input
            own_edges[edge] = {uint16_t(edge % N_INPUTS), uint16_t(N_INPUTS + edge / N_INPUTS), unit(word)};
        }
    }
    if (lane == 0) { sizes[at] = {n_nodes, n_edges}; }
}
