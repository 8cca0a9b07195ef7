// cppn.cuh: what the CPPN kernels have in common: where the genome of a slot lies, and how a warp walks along its edges.
//
// Twin      src/genome/cppn/mod.rs
#pragma once

#include "common/device.cuh"
#include "common/params.cuh"

namespace cppn {

// Inputs of every CPPN: column, row, distance from the centre, 1. Nodes below it.
constexpr uint32_t N_INPUTS = 4;

// Activations, by their index in a genome.
constexpr uint32_t SINE = 0;
constexpr uint32_t SIGMOID = 1;
constexpr uint32_t GAUSSIAN = 2;
constexpr uint32_t N_ACTIVATIONS = 4;

// Bytes from the activations of a slot to those of the next: node_stride of params.rs.
static __device__ __forceinline__ uint64_t node_stride(uint32_t max_nodes) {
    return (uint64_t(max_nodes) + 15) / 16 * 16;
}

// The lanes before `lane`, as bits.
static __device__ __forceinline__ uint32_t lanes_below(uint32_t lane) {
    return (1u << lane) - 1;
}

// Lets what is known of nodes spread along the edges until nothing changes: for every edge, `propose(edge)` says what the
// edge would have, 0 for nothing new, and `change(edge, proposed)` makes it so. All lanes of a warp call it, an edge each.
// Within 32 edges nothing is read while it is changed; changes of several lanes at once must be atomic.
//
// Edges of a path mostly stand in its order, so one sweep in the right direction mostly does it.
template <bool BACKWARDS, typename Propose, typename Change>
static __device__ __forceinline__ void until_stable(const CppnEdge* edges, uint32_t n_edges, uint32_t lane, Propose propose,
                                                    Change change) {
    const uint32_t n_groups = (n_edges + WARP_SIZE - 1) / WARP_SIZE;
    bool again = true;
    while (again) {
        again = false;
        for (uint32_t step = 0; step < n_groups; ++step) {
            const uint32_t group = BACKWARDS ? n_groups - 1 - step : step;
            const uint32_t i = group * WARP_SIZE + lane;
            const CppnEdge edge = i < n_edges ? edges[i] : CppnEdge{0, 0, 0.0f};
            for (;;) {
                const uint32_t proposed = i < n_edges ? propose(edge) : 0;
                if (!__any_sync(FULL_WARP, proposed != 0)) { break; }
                again = n_groups > 1;  // what a later group has changed may concern an earlier one
                __syncwarp();          // what was read above is changed below
                if (proposed != 0) { change(edge, proposed); }
                __syncwarp();          // and read again
            }
        }
    }
}

}  // namespace cppn
