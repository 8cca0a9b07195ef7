// niche_argmax.cu: the best candidate of a chunk for every niche of every run; one that beats the niche's elite, and the chunks
// before, is copied out of the chunk's buffers (spec, section 3).
//
//   in/out winners            (n_runs, n_niches) Winner                      the elite's fitness, or that of the best chunk before
//   out    elite_images       (n_runs, n_niches, 2, image_len) u8            each into the slot that does not hold the elite, as are
//   out    elite_probabilities (n_runs, n_niches, 2, n_classes) f32
//   out    content_hashes     (n_runs, n_niches, 2) u64
//   out    born               (n_runs, n_niches, 2, 2) u32                   generation and candidate
//   out    elite_genes        (n_runs, n_niches, 2, n_genes) f32             or, of CPPNs,
//   out    elite_sizes        (n_runs, n_niches, 2) CppnSize
//   out    elite_activations  (n_runs, n_niches, 2, node_stride) u8
//   out    elite_edges        (n_runs, n_niches, 2, max_edges) CppnEdge
//   in     images             (chunk.count, image_len) u8
//   in     probabilities      (n_classes, stride) f32                        of the chunk's places, class-major
//   in     genes, or sizes, activations, edges                               of the chunk's places, in slots as above
//   in     current            (n_runs, n_niches) u32                         which of the two slots holds the elite
//   in     classes            (n_niches) u32                                 the class of each niche
//   in     runs               (n_runs) RunState
//   in     active             (n_active) u32                                 numbers of the runs whose places these are
//
// Mapping   a block a niche of a run that has places in the chunk; its threads stride over the run's places, so that loads
//           coalesce, then over the winner's bytes.
// Cost      reads 4 bytes a candidate and niche once, from L2, where classify left them; a winner takes
//           2 * (image_len + 4 * n_classes + the genome's) bytes, and a mix, some 20 instructions, a word of 32 bits. 32 registers,
//           128 bytes of shared memory: 8 blocks an SM. Bound by latency: a block has 8 KiB under way, 27 GB/s at 300 ns.
// Predicted niche_argmax_direct_f32 67e6 genomes/s at 200 on an H100: 3 us, little more than a launch.
// Predicted niche_argmax_direct_f32 5.5e9 genomes/s at 65536 on an H100: 12 us for 262 kB a block, of which 27 GB/s come; a thousandth of the network's
//           time.
// Predicted niche_argmax_cppn_f32 67e6 genomes/s at 200 on an H100: the same 3 us.
// Predicted niche_argmax_cppn_f32 5.5e9 genomes/s at 65536 on an H100: the same 12 us.
// Numbers   comparisons and integers only: exact, whatever the launch shape. Strictly greater wins, of equals the lowest candidate;
//           a NaN never does.
// Twin      backend::cpu::niche_argmax and archive::content_hash; compared in tests/cuda/niche_argmax.rs.
#include "common/hash.cuh"
#include "common/params.cuh"
#include "common/rng.cuh"
#include "common/tuning.cuh"
#include "common/warp.cuh"

namespace niche_argmax {

// A block's niche, and who has won it.
struct Contest {
    uint32_t run;        // number of the run
    uint32_t candidate;  // within its batch; UINT32_MAX if nobody beat those before
    uint64_t at;         // the winner's place in the chunk
    uint64_t slot;       // where it goes
};

// Lets the places of a run compete for a niche, and notes who has won. The whole block calls it and learns the same.
static __device__ __forceinline__ Contest compete(Winner* winners, const float* probabilities, const uint32_t* current,
                                                  const uint32_t* classes, const uint32_t* active, Chunk chunk, uint32_t stride,
                                                  uint32_t n_niches) {
    const uint32_t niche = blockIdx.x % n_niches;
    const uint64_t position = chunk.start / chunk.batch + blockIdx.x / n_niches;  // of the run among the active ones
    Contest contest = {active[position], UINT32_MAX, 0, 0};

    // The run's places, from the chunk's first on. The last place of all may lie close to 2^32, so the ends are of 64 bits.
    const uint64_t chunk_end = uint64_t(chunk.start) + chunk.count;
    const uint64_t run_start = position * chunk.batch, run_end = run_start + chunk.batch;
    const uint32_t first = run_start > chunk.start ? uint32_t(run_start - chunk.start) : 0;
    const uint32_t end = uint32_t((run_end < chunk_end ? run_end : chunk_end) - chunk.start);

    const float* row = probabilities + uint64_t(classes[niche]) * stride;  // (chunk.count)
    Best best = nobody();
    // Eight loads under way a thread: a niche has but one block to read its row.
#pragma unroll 8
    for (uint32_t at = first + threadIdx.x; at < end; at += NICHE_ARGMAX_THREADS) {
        const float fitness = row[at];
        if (fitness > best.fitness) { best = {fitness, at}; }
    }
    const uint64_t cell = uint64_t(contest.run) * n_niches + niche;
    const float before = winners[cell].fitness;
    best = block_join<NICHE_ARGMAX_THREADS>(best);  // its barrier stands between all reads of `before` and the write below

    if (best.fitness > before) {
        contest.candidate = uint32_t(chunk.start + best.index - run_start);
        contest.at = best.index;
        contest.slot = cell * 2 + (1 - current[cell]);
        if (threadIdx.x == 0) { winners[cell] = {best.fitness, contest.candidate}; }
    }
    return contest;
}

// Copies probabilities and image of the winner; the thread's part of the hash's sum. `n` is advanced by the words that the whole
// block has hashed.
static __device__ __forceinline__ uint64_t copy_seen(float* elite_probabilities, uint8_t* elite_images, const float* probabilities,
                                                     const uint8_t* images, Contest contest, uint32_t stride, uint32_t n_classes,
                                                     uint32_t image_len, uint64_t& n) {
    uint64_t sum = 0;
    if (threadIdx.x == 0) { sum += content_term(n, n_classes); }
    n += 1;
    float* to = elite_probabilities + contest.slot * n_classes;
    for (uint32_t i = threadIdx.x; i < n_classes; i += NICHE_ARGMAX_THREADS) {
        const float probability = probabilities[uint64_t(i) * stride + contest.at];
        to[i] = probability;
        sum += content_term(n + i, __float_as_uint(probability));
    }
    n += n_classes;

    if (threadIdx.x == 0) { sum += content_term(n, image_len); }
    n += 1;
    const uint8_t* from = images + contest.at * image_len;
    uint8_t* image = elite_images + contest.slot * image_len;
    const uint32_t n_words = image_len / 4 + (image_len % 4 != 0);
    for (uint32_t i = threadIdx.x; i < n_words; i += NICHE_ARGMAX_THREADS) {
        uint32_t word = 0;  // little-endian, the last one filled with zeros; bytes, since a slot may start at any of them
#pragma unroll
        for (uint32_t b = 0; b < 4; ++b) {
            if (i * 4 + b < image_len) {
                const uint8_t byte = from[i * 4 + b];
                image[i * 4 + b] = byte;
                word |= uint32_t(byte) << 8 * b;
            }
        }
        sum += content_term(n + i, word);
    }
    n += n_words;
    return sum;
}

// Hashes `n` words whose terms the threads hold, and notes the winner's birth.
static __device__ __forceinline__ void sign(uint64_t* content_hashes, uint32_t* born, const RunState* runs, Contest contest,
                                            uint64_t n, uint64_t sum) {
    sum = block_join<NICHE_ARGMAX_THREADS>(sum);
    if (threadIdx.x == 0) {
        content_hashes[contest.slot] = content_hash(n, sum);
        born[contest.slot * 2] = generation_of(runs[contest.run]);
        born[contest.slot * 2 + 1] = contest.candidate;
    }
}

}  // namespace niche_argmax

extern "C" __global__ void __launch_bounds__(NICHE_ARGMAX_THREADS)
niche_argmax_direct_f32(Winner* __restrict__ winners, float* __restrict__ elite_genes, uint8_t* __restrict__ elite_images,
                        float* __restrict__ elite_probabilities, uint64_t* __restrict__ content_hashes,
                        uint32_t* __restrict__ born, const float* __restrict__ genes, const uint8_t* __restrict__ images,
                        const float* __restrict__ probabilities, const uint32_t* __restrict__ current,
                        const uint32_t* __restrict__ classes, const RunState* __restrict__ runs,
                        const uint32_t* __restrict__ active, Chunk chunk, uint32_t stride, uint32_t n_niches,
                        uint32_t n_classes, uint32_t image_len, uint32_t n_genes) {
    using namespace niche_argmax;
    const Contest contest = compete(winners, probabilities, current, classes, active, chunk, stride, n_niches);
    if (contest.candidate == UINT32_MAX) { return; }  // the whole block leaves

    uint64_t n = 0;
    uint64_t sum = copy_seen(elite_probabilities, elite_images, probabilities, images, contest, stride, n_classes, image_len, n);
    if (threadIdx.x == 0) { sum += content_term(n, 0) + content_term(n + 1, n_genes); }
    n += 2;
    const float* from = genes + contest.at * n_genes;
    float* to = elite_genes + contest.slot * n_genes;
    for (uint32_t i = threadIdx.x; i < n_genes; i += NICHE_ARGMAX_THREADS) {
        to[i] = from[i];
        sum += content_term(n + i, __float_as_uint(from[i]));
    }
    sign(content_hashes, born, runs, contest, n + n_genes, sum);
}

extern "C" __global__ void __launch_bounds__(NICHE_ARGMAX_THREADS)
niche_argmax_cppn_f32(Winner* __restrict__ winners, CppnSize* __restrict__ elite_sizes, uint8_t* __restrict__ elite_activations,
                      CppnEdge* __restrict__ elite_edges, uint8_t* __restrict__ elite_images,
                      float* __restrict__ elite_probabilities, uint64_t* __restrict__ content_hashes, uint32_t* __restrict__ born,
                      const CppnSize* __restrict__ sizes, const uint8_t* __restrict__ activations,
                      const CppnEdge* __restrict__ edges, const uint8_t* __restrict__ images,
                      const float* __restrict__ probabilities, const uint32_t* __restrict__ current,
                      const uint32_t* __restrict__ classes, const RunState* __restrict__ runs,
                      const uint32_t* __restrict__ active, Chunk chunk, uint32_t stride, uint32_t n_niches, uint32_t n_classes,
                      uint32_t image_len, uint32_t node_stride, uint32_t max_edges) {
    using namespace niche_argmax;
    const Contest contest = compete(winners, probabilities, current, classes, active, chunk, stride, n_niches);
    if (contest.candidate == UINT32_MAX) { return; }  // the whole block leaves

    uint64_t n = 0;
    uint64_t sum = copy_seen(elite_probabilities, elite_images, probabilities, images, contest, stride, n_classes, image_len, n);
    const CppnSize size = sizes[contest.at];
    if (threadIdx.x == 0) {
        elite_sizes[contest.slot] = size;
        sum += content_term(n, 1) + content_term(n + 1, size.n_nodes) + content_term(n + 2, size.n_edges);
    }
    n += 3;
    const uint8_t* from_nodes = activations + contest.at * node_stride;
    uint8_t* to_nodes = elite_activations + contest.slot * node_stride;
    for (uint32_t i = threadIdx.x; i < size.n_nodes; i += NICHE_ARGMAX_THREADS) {
        to_nodes[i] = from_nodes[i];
        sum += content_term(n + i, from_nodes[i]);
    }
    n += size.n_nodes;
    const CppnEdge* from_edges = edges + contest.at * max_edges;
    CppnEdge* to_edges = elite_edges + contest.slot * max_edges;
    for (uint32_t i = threadIdx.x; i < size.n_edges; i += NICHE_ARGMAX_THREADS) {
        const CppnEdge edge = from_edges[i];
        to_edges[i] = edge;
        sum += content_term(n + 2 * i, uint32_t(edge.source) | uint32_t(edge.target) << 16);
        sum += content_term(n + 2 * i + 1, __float_as_uint(edge.gene));
    }
    sign(content_hashes, born, runs, contest, n + 2 * uint64_t(size.n_edges), sum);
}
