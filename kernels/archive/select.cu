// select.cu: the parents of each pair, and how the pair is made from them (spec, sections 3, 4.3 and 5.5).
//
//   out  pairs   (chunk.count / 2) Pair
//   in   runs    (n_runs) RunState    their keys and generations
//   in   active  (n_active) u32       numbers of the runs whose places these are
//
// Mapping   one thread a pair.
// Cost      a block of Philox, some 120 instructions in all, and 12 bytes written a pair: nothing beside any other step.
// Predicted 100e6 genomes/s at 200 on an H100: 2 us, the time of a launch.
// Predicted 33e9 genomes/s at 65536 on an H100: the same 2 us.
// Numbers   integers only: exact.
// Twin      backend::cpu::select; compared in tests/cuda/select.rs.
#include "common/rng.cuh"
#include "common/tuning.cuh"

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
select_u32(Pair* __restrict__ pairs, const RunState* __restrict__ runs, const uint32_t* __restrict__ active,
           uint64_t crossover_chance, Chunk chunk, uint32_t n_niches) {
    const uint32_t at = blockIdx.x * SELECT_THREADS + threadIdx.x;
    if (at >= chunk.count / 2) { return; }

    const uint32_t place = chunk.start + 2 * at;  // of the pair's first child
    const RunState& run = runs[active[place / chunk.batch]];
    const Words words = draws(run, Purpose::Select, place % chunk.batch, generation_of(run)).block(0);
    const uint32_t first = below(words.w[0], n_niches);
    const uint32_t second = below(words.w[1], n_niches);
    const bool crossed = happens(crossover_chance, words.w[2]);
    const bool swapped = !crossed && words.w[3] >> 31 == 1;
    pairs[at] = {{swapped ? second : first, swapped ? first : second}, crossed};
}
