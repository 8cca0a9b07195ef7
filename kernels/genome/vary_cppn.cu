// vary_cppn.cu: the children of a chunk: each a copy of its parent, varied by the operators of spec 5.5 in their order.
//
//   out     sizes              (chunk.count) CppnSize
//   out     activations        (chunk.count, node_stride) u8                  what lies beyond a genome's size means nothing
//   out     edges              (chunk.count, rules.max_edges) CppnEdge
//   in,out  runs               (n_runs) RunState                              keys, generations; `skipped` is added to
//   in      elite_sizes        (n_runs, n_niches, 2) CppnSize
//   in      elite_activations  (n_runs, n_niches, 2, node_stride) u8
//   in      elite_edges        (n_runs, n_niches, 2, rules.max_edges) CppnEdge
//   in      current            (n_runs, n_niches) u32                         which of the two slots holds the elite
//   in      pairs              (chunk.count / 2) Pair                         as select writes them
//   in      active             (n_active) u32                                 numbers of the runs whose places these are
//   shared                     (warps, words of max_nodes bits) u32
//
// Mapping   one warp a candidate, VARY_CPPN_WARPS a block. The child is worked on where it belongs, in its slot, so that no
//           capacity is too large: it is a few hundred bytes mostly, which stay in the first-level cache. One lane an edge or
//           node; what is uniform in a warp each lane computes for itself.
// Cost      for 13 nodes and 21 edges some 800 instructions of a warp, half of them Philox, and 200 bytes each read and
//           written; bound by the latency of a dozen accesses one after the other. 56 registers: 9 blocks, 36 warps an SM.
// Predicted 800e6 genomes/s at 65536 on an H100: with 8000 cycles a warp, 36 * 132 warps at 1.98 GHz give 1.2 billion, and issuing
//           800 instructions 1.3 billion; neither is reached.
// Numbers   exact; the count of skipped operators is a sum of integers.
// Twin      genome::cppn::Graph::vary; compared in tests/cuda/vary_cppn.rs.
#include "common/cppn.cuh"
#include "common/mutation.cuh"
#include "common/rng.cuh"
#include "common/tuning.cuh"

namespace vary_cppn {

using namespace cppn;

// A genome on its way from parent to child. Sizes are the same in all lanes.
struct Child {
    uint32_t n_nodes;
    uint32_t n_edges;
    uint8_t* activations;  // (max_nodes)
    CppnEdge* edges;       // (max_edges)
};

// Moves the elements after `gone` of the `n` down by one.
template <typename T>
static __device__ __forceinline__ void remove(T* elements, uint32_t n, uint32_t gone, uint32_t lane) {
    for (uint32_t first = gone; first + 1 < n; first += WARP_SIZE) {
        const uint32_t i = first + lane;
        const bool moves = i + 1 < n;
        const T next = elements[moves ? i + 1 : first];
        __syncwarp();  // read before its neighbour overwrites it
        if (moves) { elements[i] = next; }
        __syncwarp();  // overwritten before anything is read again
    }
}

// Joins a source that is no output to a target that is no input, not the source and none of its ancestors. Returns 1 if there
// is no room for it.
static __device__ __forceinline__ uint32_t add_edge(Child& child, const CppnRules& rules, const Words& words,
                                                    uint32_t* smem_barred, uint32_t lane) {
    if (child.n_edges >= rules.max_edges) { return 1; }
    uint32_t source = below(words.w[1], child.n_nodes - rules.n_outputs);
    if (source >= N_INPUTS) { source += rules.n_outputs; }

    // A bit a node: whether it is no target. Bits past the last node bar nothing that there is.
    const uint32_t n_words = (child.n_nodes + 31) / 32;
    for (uint32_t i = lane; i < n_words; i += WARP_SIZE) {
        const uint32_t inputs = i == 0 ? (1u << N_INPUTS) - 1 : 0;
        const uint32_t beyond = i == child.n_nodes / 32 ? ~0u << child.n_nodes % 32 : 0;
        smem_barred[i] = inputs | beyond | (i == source / 32 ? 1u << source % 32 : 0);
    }
    __syncwarp();  // written by one lane each, read by all
    until_stable<true>(
        child.edges, child.n_edges, lane,
        [&](const CppnEdge& edge) {
            const bool from = smem_barred[edge.target / 32] >> edge.target % 32 & 1;
            const bool to = smem_barred[edge.source / 32] >> edge.source % 32 & 1;
            return uint32_t(from && !to);
        },
        [&](const CppnEdge& edge, uint32_t) { atomicOr(&smem_barred[edge.source / 32], 1u << edge.source % 32); });

    uint32_t n_targets = 0;
    for (uint32_t i = 0; i < n_words; ++i) { n_targets += __popc(~smem_barred[i]); }
    // The word that the chosen one of the open nodes lies in, and the lane that holds its bit. There is one: outputs have no
    // outgoing edges, so they are never ancestors.
    uint32_t nth = below(words.w[2], n_targets);
    uint32_t word = 0;
    for (; nth >= uint32_t(__popc(~smem_barred[word])); ++word) { nth -= __popc(~smem_barred[word]); }
    const uint32_t open = ~smem_barred[word];
    const bool chosen = (open >> lane & 1) && uint32_t(__popc(open & lanes_below(lane))) == nth;
    const uint32_t target = word * 32 + __ffs(__ballot_sync(FULL_WARP, chosen)) - 1;

    if (lane == 0) { child.edges[child.n_edges] = {uint16_t(source), uint16_t(target), unit(words.w[3])}; }
    child.n_edges += 1;
    __syncwarp();  // the edge is there before anything reads edges
    return 0;
}

// Removes an edge; those after it keep their order.
static __device__ __forceinline__ void delete_edge(Child& child, const Words& words, uint32_t lane) {
    remove(child.edges, child.n_edges, below(words.w[1], child.n_edges), lane);
    child.n_edges -= 1;
}

// Puts a node in the middle of an edge; both halves keep its gene. Returns 1 if there is no room for it.
static __device__ __forceinline__ uint32_t split_edge(Child& child, const CppnRules& rules, const Words& words, uint32_t lane) {
    if (child.n_nodes >= rules.max_nodes || child.n_edges >= rules.max_edges) { return 1; }
    const uint32_t which = below(words.w[1], child.n_edges);
    const CppnEdge edge = child.edges[which];
    __syncwarp();  // read by all lanes before it is overwritten
    remove(child.edges, child.n_edges, which, lane);
    const uint16_t middle = uint16_t(child.n_nodes);
    if (lane == 0) {
        child.activations[child.n_nodes] = uint8_t(below(words.w[2], N_ACTIVATIONS));
        child.edges[child.n_edges - 1] = {edge.source, middle, edge.gene};
        child.edges[child.n_edges] = {middle, edge.target, edge.gene};
    }
    child.n_nodes += 1;
    child.n_edges += 1;
    __syncwarp();  // the halves are there before anything reads edges
    return 0;
}

// Removes hidden node `gone` with its edges; the nodes after it move down by one.
static __device__ __forceinline__ void delete_node(Child& child, uint32_t gone, uint32_t lane) {
    remove(child.activations, child.n_nodes, gone, lane);
    child.n_nodes -= 1;
    uint32_t n_kept = 0;
    for (uint32_t first = 0; first < child.n_edges; first += WARP_SIZE) {
        const bool there = first + lane < child.n_edges;
        CppnEdge edge = child.edges[there ? first + lane : first];
        const uint32_t kept = __ballot_sync(FULL_WARP, there && edge.source != gone && edge.target != gone);
        __syncwarp();  // read before another edge takes its place, which is at or below it
        if (kept >> lane & 1) {
            edge.source -= edge.source > gone;
            edge.target -= edge.target > gone;
            child.edges[n_kept + __popc(kept & lanes_below(lane))] = edge;
        }
        n_kept += __popc(kept);
    }
    child.n_edges = n_kept;
}

// The words that lane `from` holds.
static __device__ __forceinline__ Words words_of(const Words& words, uint32_t from) {
    Words got;
#pragma unroll
    for (int i = 0; i < 4; ++i) { got.w[i] = __shfl_sync(FULL_WARP, words.w[i], from); }
    return got;
}

}  // namespace vary_cppn

extern "C" __global__ void __launch_bounds__(VARY_CPPN_WARPS * WARP_SIZE)
vary_cppn_f32(CppnSize* __restrict__ sizes, uint8_t* activations, CppnEdge* edges, RunState* runs,
              const CppnSize* __restrict__ elite_sizes, const uint8_t* __restrict__ elite_activations,
              const CppnEdge* __restrict__ elite_edges, const uint32_t* __restrict__ current,
              const Pair* __restrict__ pairs, const uint32_t* __restrict__ active, CppnRules rules, Chunk chunk,
              uint32_t n_niches) {
    using namespace vary_cppn;
    DYNAMIC_SHARED(uint32_t, smem_bits);
    const uint32_t lane = threadIdx.x % WARP_SIZE;
    const uint32_t warp = threadIdx.x / WARP_SIZE;
    const uint32_t at = blockIdx.x * VARY_CPPN_WARPS + warp;
    if (at >= chunk.count) { return; }  // a whole warp leaves together

    const uint32_t place = chunk.start + at;
    const uint32_t candidate = place % chunk.batch;
    const uint32_t run_idx = active[place / chunk.batch];
    const uint64_t niche = uint64_t(run_idx) * n_niches + pairs[at / 2].parents[candidate % 2];
    const uint64_t parent = niche * 2 + current[niche];
    const CppnSize size = elite_sizes[parent];
    Child child = {size.n_nodes, size.n_edges, activations + at * node_stride(rules.max_nodes),
                   edges + uint64_t(at) * rules.max_edges};

    Draws gates = draws(runs[run_idx], Purpose::CppnWeightGate, candidate, generation_of(runs[run_idx]));
    Draws amounts = gates;
    amounts.purpose = Purpose::CppnWeightAmount;
    const CppnEdge* parent_edges = elite_edges + parent * rules.max_edges;  // (max_edges)
    for (uint32_t i = lane; i < child.n_edges; i += WARP_SIZE) {
        CppnEdge edge = parent_edges[i];
        if (happens(rules.weight_chance, gates.word(i))) {
            edge.gene = polynomial_mutation(edge.gene, unit(amounts.word(i)), rules.weight_eta);
        }
        child.edges[i] = edge;
    }
    gates.purpose = Purpose::CppnActivationGate;
    amounts.purpose = Purpose::CppnActivation;
    const uint8_t* parent_activations = elite_activations + parent * node_stride(rules.max_nodes);  // (max_nodes)
    for (uint32_t i = lane; i < child.n_nodes; i += WARP_SIZE) {
        const bool redrawn = happens(rules.activation_chance, gates.word(i));
        child.activations[i] = redrawn ? uint8_t(below(amounts.word(i), N_ACTIVATIONS)) : parent_activations[i];
    }
    __syncwarp();  // the copy is whole before its structure changes

    // The words of the four operators are drawn at once, one lane each.
    static_assert(uint32_t(Purpose::CppnDeleteNode) == uint32_t(Purpose::CppnAddEdge) + 3, "neighbours");
    gates.purpose = Purpose(uint32_t(Purpose::CppnAddEdge) + lane % 4);
    const Words all = gates.block(0);
    uint32_t n_skipped = 0;
    Words words = words_of(all, 0);
    if (happens(rules.add_edge_chance, words.w[0])) {
        const uint32_t n_words = (rules.max_nodes + 31) / 32;
        n_skipped += add_edge(child, rules, words, smem_bits + warp * n_words, lane);
    }
    words = words_of(all, 1);
    if (happens(rules.delete_edge_chance, words.w[0]) && child.n_edges > 0) { delete_edge(child, words, lane); }
    words = words_of(all, 2);
    if (happens(rules.split_edge_chance, words.w[0]) && child.n_edges > 0) {
        n_skipped += split_edge(child, rules, words, lane);
    }
    words = words_of(all, 3);
    const uint32_t first_hidden = N_INPUTS + rules.n_outputs;
    const uint32_t n_hidden = child.n_nodes - first_hidden;
    if (happens(rules.delete_node_chance, words.w[0]) && n_hidden > 0) {
        delete_node(child, first_hidden + below(words.w[1], n_hidden), lane);
    }

    if (lane == 0) {
        sizes[at] = {child.n_nodes, child.n_edges};
        if (n_skipped > 0) {
            atomicAdd(reinterpret_cast<unsigned long long*>(&runs[run_idx].skipped), (unsigned long long)(n_skipped));
        }
    }
}
