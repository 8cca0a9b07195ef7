// insert.cu: puts the winners of a generation into the archives, and ends the generation (spec, section 3).
//
//   out    counters        (n_active) Counters                by position among the active runs
//   in/out runs            (n_runs) RunState                  generation, is_first
//   in/out current         (n_runs, n_niches) u32             flipped where there is a winner
//   in/out winners         (n_runs, n_niches) Winner          candidates are taken back; the fitness stays
//   in     content_hashes  (n_runs, n_niches, 2) u64
//   out    insertions      (n_runs, capacity) Insertion       or null: who has won, by niche, behind those before; a ring of a power of two
//   in/out logged          (n_runs) u32                       or null: how many there were
//   in     classes         (n_niches) u32                     ascending
//   in     active          (n_active) u32                     numbers of the runs
//
// A run before generation 0 with a niche that nobody has won goes on to nothing: it stays as it is, and its counters say which.
//
// Mapping   a block an active run; its threads stride over the niches. Fitness is sorted in shared memory; then one thread chains the
//           hash while one of another warp adds the sorted values, in the one order that is written.
// Cost      32 bytes a niche. The sort takes log2(n)^2 / 2 barriers; the hash, two mixes that wait for one another, some 140 cycles
//           a niche, which hide the sum. With a log, two barriers more for 256 niches, and 16 bytes a winner.
//           38 registers, 2.2 KiB of shared memory and 4 bytes a niche.
// Predicted 50e6 genomes/s at 200 on an H100: 4 us for 10 niches, 75 us for 1000, whatever the batch, and the number of runs up to one
//           an SM.
// Predicted 16e9 genomes/s at 65536 on an H100: the same 4 us.
// Numbers   exact: integers, comparisons, and sums of f64 in ascending order, on one thread.
// Twin      CpuBackend::insert, archive::{Archive::hash, Statistics::of}; compared in tests/cuda/insert.rs.
#include "common/hash.cuh"
#include "common/params.cuh"
#include "common/rng.cuh"
#include "common/tuning.cuh"
#include "common/warp.cuh"

namespace insert {

// A number's place in the order of f32::total_cmp, of which those of [0, 1] are a part, and back.
static __device__ __forceinline__ uint32_t order_of(float value) {
    const uint32_t bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static __device__ __forceinline__ double value_at(uint32_t order) {
    return double(__uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order));
}

// Sorts `keys`, (n) of a power of two, ascending: a bitonic network (Batcher, "Sorting networks and their applications", 1968).
// The whole block calls it, after a barrier behind the last write.
static __device__ __forceinline__ void sort(uint32_t* keys, uint32_t n) {
    for (uint32_t span = 2; span <= n; span *= 2) {
        for (uint32_t gap = span / 2; gap > 0; gap /= 2) {
            for (uint32_t i = threadIdx.x; i < n / 2; i += INSERT_THREADS) {
                const uint32_t low = 2 * i - (i & (gap - 1));  // each pair once
                const uint32_t a = keys[low], b = keys[low + gap];
                const bool ascending = (low & span) == 0;
                if ((a > b) == ascending) {
                    keys[low] = b;
                    keys[low + gap] = a;
                }
            }
            __syncthreads();  // this stage's writes are there for the next one's reads
        }
    }
}

// Appends the winners of the niches, (n_niches), to a log that has had `logged`; returns how many it then has had. The whole block calls
// it and learns the same.
static __device__ __forceinline__ uint32_t append(Insertion* __restrict__ log, uint32_t logged, uint32_t capacity,
                                                  const Winner* __restrict__ winners, uint32_t n_niches, uint32_t generation) {
    constexpr uint32_t WARPS = INSERT_THREADS / WARP_SIZE;
    __shared__ uint32_t smem_won[WARPS];  // niches that each warp's have won
    const uint32_t warp = threadIdx.x / WARP_SIZE, lane = threadIdx.x % WARP_SIZE;
    for (uint32_t start = 0; start < n_niches; start += INSERT_THREADS) {
        const uint32_t niche = start + threadIdx.x;
        Winner winner = {0.0f, UINT32_MAX};
        if (niche < n_niches) { winner = winners[niche]; }
        const bool won = winner.candidate != UINT32_MAX;
        const uint32_t taken = __ballot_sync(FULL_WARP, won);
        if (lane == 0) { smem_won[warp] = __popc(taken); }
        __syncthreads();  // all warps' counts are there
        uint32_t at = logged + __popc(taken & ((1u << lane) - 1));
#pragma unroll
        for (uint32_t other = 0; other < WARPS; ++other) {
            const uint32_t count = smem_won[other];
            at += other < warp ? count : 0;
            logged += count;
        }
        if (won) { log[at & (capacity - 1)] = {generation, winner.candidate, niche, winner.fitness}; }
        __syncthreads();  // all have read them: the next may be written
    }
    return logged;
}

// Four counts of at most INSERT_MAX_NICHES in one number, so that they add up in one go.
constexpr int COUNT_BITS = 16;
static_assert(INSERT_MAX_NICHES < 1 << COUNT_BITS, "a count would run into the next");
static __device__ __forceinline__ uint32_t count_at(uint64_t counts, int i) {
    return uint32_t(counts >> COUNT_BITS * i) & ((1u << COUNT_BITS) - 1);
}

}  // namespace insert

extern "C" __global__ void __launch_bounds__(INSERT_THREADS)
insert_u64(Counters* __restrict__ counters, RunState* __restrict__ runs, uint32_t* __restrict__ current,
           Winner* __restrict__ winners, const uint64_t* __restrict__ content_hashes, Insertion* __restrict__ insertions,
           uint32_t* __restrict__ logged, const uint32_t* __restrict__ classes, const uint32_t* __restrict__ active,
           uint32_t arithmetic_version, uint32_t n_niches, uint32_t capacity) {
    using namespace insert;
    DYNAMIC_SHARED(uint32_t, smem_order);         // (n_niches rounded up to a power of two): fitness, sorted
    __shared__ uint64_t smem_hashes[INSERT_THREADS];  // of as many niches, on their way to the hash
    __shared__ double smem_sum;
    RunState& run = runs[active[blockIdx.x]];
    const uint64_t first = uint64_t(active[blockIdx.x]) * n_niches;  // cell of the run's first niche
    const bool is_first = run.is_first != 0;
    const uint32_t generation = generation_of(run);

    Best missing = nobody();  // the first niche without a winner: all are equally good, so the lowest is the best
    for (uint32_t niche = threadIdx.x; is_first && niche < n_niches; niche += INSERT_THREADS) {
        if (winners[first + niche].candidate == UINT32_MAX) { missing = join(missing, {0.0f, niche}); }
    }
    missing = block_join<INSERT_THREADS>(missing);
    if (missing.index != UINT32_MAX) {  // the whole block leaves
        if (threadIdx.x == 0) {
            Counters none = {};
            none.missing = missing.index;
            counters[blockIdx.x] = none;
        }
        return;
    }

    uint32_t n_logged = 0;
    if (insertions != nullptr) {
        Insertion* log = insertions + uint64_t(active[blockIdx.x]) * capacity;
        n_logged = append(log, logged[active[blockIdx.x]], capacity, winners + first, n_niches, generation);
    }

    uint64_t replaced = 0, over = 0;
    uint32_t padded = 1;
    while (padded < n_niches) { padded *= 2; }
    for (uint32_t niche = threadIdx.x; niche < padded; niche += INSERT_THREADS) {
        if (niche >= n_niches) {
            smem_order[niche] = UINT32_MAX;  // behind every number
            continue;
        }
        const Winner winner = winners[first + niche];
        if (winner.candidate != UINT32_MAX) {
            current[first + niche] = 1 - current[first + niche];
            winners[first + niche].candidate = UINT32_MAX;
            replaced += 1;
        }
        smem_order[niche] = order_of(winner.fitness);
        over += uint64_t(winner.fitness >= 0.9f) | uint64_t(winner.fitness >= 0.99f) << COUNT_BITS |
                uint64_t(winner.fitness >= 0.999f) << 2 * COUNT_BITS | uint64_t(winner.fitness >= 0.9999f) << 3 * COUNT_BITS;
    }
    replaced = block_join<INSERT_THREADS>(replaced);
    over = block_join<INSERT_THREADS>(over);  // its barriers also stand between the writes above and the sort
    sort(smem_order, padded);

    uint64_t hash = mix(uint64_t(arithmetic_version) << 32 | generation);  // of thread 0
    double sum = value_at(smem_order[0]);                                  // of thread WARP_SIZE, in another warp
    for (uint32_t start = 0; start < n_niches; start += INSERT_THREADS) {
        const uint32_t niche = start + threadIdx.x;
        const uint32_t end = start + INSERT_THREADS < n_niches ? start + INSERT_THREADS : n_niches;
        if (niche < end) {
            // `current` was written by this very thread.
            smem_hashes[threadIdx.x] = content_hashes[(first + niche) * 2 + current[first + niche]];
        }
        __syncthreads();  // the hashes are there
        if (threadIdx.x == 0) {
            for (uint32_t i = start; i < end; ++i) { hash = mix(mix(hash + classes[i]) ^ smem_hashes[i - start]); }
        } else if (threadIdx.x == WARP_SIZE) {
            for (uint32_t i = start == 0 ? 1 : start; i < end; ++i) { sum += value_at(smem_order[i]); }
        }
        __syncthreads();  // they were read: the next may be written
    }
    if (threadIdx.x == WARP_SIZE) { smem_sum = sum; }
    __syncthreads();  // the sum is there for thread 0

    if (threadIdx.x == 0) {
        Counters made = {};
        made.archive_hash = hash;
        made.skipped = run.skipped;
        made.median = (value_at(smem_order[(n_niches - 1) / 2]) + value_at(smem_order[n_niches / 2])) / 2.0;
        made.mean = smem_sum / double(n_niches);
        made.min = value_at(smem_order[0]);
        made.max = value_at(smem_order[n_niches - 1]);
        made.generation = generation;
        made.replaced = uint32_t(replaced);
        made.over_9 = count_at(over, 0);
        made.over_99 = count_at(over, 1);
        made.over_999 = count_at(over, 2);
        made.over_9999 = count_at(over, 3);
        made.missing = UINT32_MAX;
        made.logged = n_logged;
        counters[blockIdx.x] = made;
        if (insertions != nullptr) { logged[active[blockIdx.x]] = n_logged; }
        run.generation = generation;
        run.is_first = 0;
    }
}
