// compile_cppn.cu: from CPPN genomes to the programs that render_cppn draws (spec 5.6).
//
//   out  programs      (count) CppnProgram
//   out  instructions  (count, max_nodes) CppnInstruction     in the order in which they are run
//   out  terms         (count, max_edges) CppnTerm
//   in   sizes         (count) CppnSize
//   in   activations   (count, node_stride) u8
//   in   edges         (count, max_edges) CppnEdge
//   shared             (4, max_nodes) u32
//
// The rule: all values start at 0, inputs are set, and all nodes make T synchronous steps, T one more than the longest path
// from an input to an output. With
//
//   settle(v)  the step from which on v's value stays: 0 for inputs, else one more than the largest of its sources'
//   height(v)  edges on the longest path from v to an output; nodes without such a path are left out
//
// there are two cases. If all outputs settle within T steps, one pass over the nodes in the order of settle gives the values at
// step T. Otherwise a chain that no input feeds is cut off at T, and the steps are made: pass t over the nodes in the *reverse*
// order, each node after those that it feeds, so that each reads what its sources were at step t - 1, in place. Of these passes
// v needs only those from T - height(v), before which no output sees it, to settle(v), after which it stays; at least one. A
// source not yet computed is 0 there, where the CPU leaves the term out: fma(w, 0, p) is p but for the sign of a zero, which
// reaches no pixel (src/genome/cppn/compile.rs).
//
// Mapping   one warp, and block, a genome. Longest paths spread along the edges, an edge a lane; order and terms are made a
//           node a lane. Nothing grows with more than nodes + edges.
// Cost      for 13 nodes and 21 edges some 1100 instructions, half of them for the three kinds of path, which take a round of
//           some 20 instructions an edge of the longest one; 200 bytes read, 350 written. 63 registers, 4 KiB of shared memory
//           with 256 nodes: 32 blocks, and warps, an SM.
// Predicted 600e6 genomes/s at 65536 on an H100: 950 million were every cycle one of issue.
// Numbers   exact.
// Twin      genome::cppn::Compiler, which expands the same values over time; compared in tests/cuda/render_cppn.rs by what is
//           drawn.
#include "common/cppn.cuh"

namespace compile_cppn {

using namespace cppn;

// Lengths of longest paths, along the edges or backwards: where edges lead on from a node that has a length above 0, the next
// one's becomes one more, unless it is longer already.
template <bool BACKWARDS>
static __device__ __forceinline__ void spread_lengths(uint32_t* smem_lengths, const CppnEdge* edges, uint32_t n_edges,
                                                      uint32_t lane) {
    until_stable<BACKWARDS>(
        edges, n_edges, lane,
        [&](const CppnEdge& edge) {
            const uint32_t from = smem_lengths[BACKWARDS ? edge.target : edge.source];
            const uint32_t to = smem_lengths[BACKWARDS ? edge.source : edge.target];
            return from > 0 && from >= to ? from + 1 : 0;
        },
        [&](const CppnEdge& edge, uint32_t length) {
            atomicMax(&smem_lengths[BACKWARDS ? edge.source : edge.target], length);
        });
}

// The largest length among the outputs.
static __device__ __forceinline__ uint32_t of_outputs(const uint32_t* smem_lengths, uint32_t n_outputs) {
    uint32_t longest = 0;
    for (uint32_t i = 0; i < n_outputs; ++i) {
        const uint32_t length = smem_lengths[N_INPUTS + i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

}  // namespace compile_cppn

extern "C" __global__ void __launch_bounds__(WARP_SIZE)
compile_cppn_f32(CppnProgram* __restrict__ programs, CppnInstruction* __restrict__ instructions, CppnTerm* __restrict__ terms,
                 const CppnSize* __restrict__ sizes, const uint8_t* __restrict__ activations,
                 const CppnEdge* __restrict__ edges, CppnRules rules, uint32_t count) {
    using namespace compile_cppn;
    DYNAMIC_SHARED(uint32_t, smem);
    uint32_t* smem_heights = smem;                        // (max_nodes): height + 1 on the way to an output, elsewhere 0
    uint32_t* smem_settles = smem + rules.max_nodes;      // (max_nodes)
    uint32_t* smem_reaches = smem + 2 * rules.max_nodes;  // (max_nodes): nodes on the longest path from an input, or 0
    uint32_t* smem_values = smem + 3 * rules.max_nodes;   // (max_nodes): the value in the program that is the node's
    const uint32_t lane = threadIdx.x;
    const uint32_t at = blockIdx.x;
    if (at >= count) { return; }

    const uint32_t n_nodes = sizes[at].n_nodes;
    const uint32_t n_edges = sizes[at].n_edges;
    const CppnEdge* own_edges = edges + uint64_t(at) * rules.max_edges;  // (max_edges)
    const uint32_t first_hidden = N_INPUTS + rules.n_outputs;
    for (uint32_t node = lane; node < n_nodes; node += WARP_SIZE) {
        const bool input = node < N_INPUTS;
        smem_heights[node] = !input && node < first_hidden;
        smem_settles[node] = !input;
        smem_reaches[node] = input;
        smem_values[node] = node;  // of inputs, to stay so
    }
    __syncwarp();  // written by one lane each, read by all
    spread_lengths<true>(smem_heights, own_edges, n_edges, lane);
    spread_lengths<false>(smem_settles, own_edges, n_edges, lane);
    spread_lengths<false>(smem_reaches, own_edges, n_edges, lane);

    // A path of L edges has L + 1 nodes; T is 1 if no input reaches an output.
    const uint32_t reach = of_outputs(smem_reaches, rules.n_outputs);
    const uint32_t n_steps = reach > 0 ? reach : 1;
    const uint32_t last_settle = of_outputs(smem_settles, rules.n_outputs);
    const bool settled = last_settle <= n_steps;

    uint32_t n_values = N_INPUTS;
    for (uint32_t i = 1; i <= last_settle; ++i) {
        const uint32_t settle = settled ? i : last_settle + 1 - i;
        for (uint32_t first = N_INPUTS; first < n_nodes; first += WARP_SIZE) {
            const uint32_t node = first + lane;
            const bool next = node < n_nodes && smem_heights[node] > 0 && smem_settles[node] == settle;
            const uint32_t taken = __ballot_sync(FULL_WARP, next);
            if (next) { smem_values[node] = n_values + __popc(taken & lanes_below(lane)); }
            n_values += __popc(taken);
        }
    }
    __syncwarp();  // values are numbered by one lane each, read by all

    const uint8_t* own_activations = activations + at * node_stride(rules.max_nodes);  // (max_nodes)
    CppnInstruction* own_instructions = instructions + uint64_t(at) * rules.max_nodes;
    CppnTerm* own_terms = terms + uint64_t(at) * rules.max_edges;
    uint32_t n_terms = 0;
    for (uint32_t first = N_INPUTS; first < n_nodes; first += WARP_SIZE) {
        const uint32_t node = first + lane;
        const bool drawn = node < n_nodes && smem_heights[node] > 0;
        uint32_t n_own = 0;
        for (uint32_t i = 0; i < n_edges; ++i) { n_own += drawn && own_edges[i].target == node; }
        uint32_t end = n_own;  // summed over the lanes up to this one
#pragma unroll
        for (uint32_t distance = 1; distance < WARP_SIZE; distance *= 2) {
            const uint32_t before = __shfl_up_sync(FULL_WARP, end, distance);
            end += lane >= distance ? before : 0;
        }
        uint32_t term = n_terms + end - n_own;
        n_terms += __shfl_sync(FULL_WARP, end, WARP_SIZE - 1);
        if (!drawn) { continue; }

        uint32_t first_pass = 1, last_pass = 1;
        if (!settled) {
            const uint32_t settle = smem_settles[node];
            const uint32_t height = smem_heights[node] - 1;
            last_pass = settle < n_steps ? settle : n_steps;
            first_pass = n_steps > height + 1 ? n_steps - height : 1;
            first_pass = first_pass < last_pass ? first_pass : last_pass;
        }
        own_instructions[smem_values[node] - N_INPUTS] = {term, n_own, own_activations[node], uint16_t(first_pass),
                                                          uint16_t(last_pass)};
        for (uint32_t i = 0; i < n_edges; ++i) {  // in the order of their creation
            const CppnEdge edge = own_edges[i];
            if (edge.target != node) { continue; }
            own_terms[term] = {smem_values[edge.source], fmaf(2.0f * rules.max_weight, edge.gene, -rules.max_weight)};
            term += 1;
        }
    }
    if (lane == 0) {
        CppnProgram program = {n_values - N_INPUTS, n_terms, settled ? 1 : n_steps, !settled, {0, 0, 0}};
#pragma unroll
        for (uint32_t i = 0; i < 3; ++i) {
            if (i < rules.n_outputs) { program.outputs[i] = smem_values[N_INPUTS + i]; }
        }
        programs[at] = program;
    }
}
