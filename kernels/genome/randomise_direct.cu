// randomise_direct.cu: the random genomes of generation 0, every gene uniform in [0, 1) (spec 4.1).
//
//   out  genes   (chunk.count, n_genes) f32
//   in   runs    (n_runs) RunState    their keys
//   in   active  (n_active) u32       numbers of the runs whose places these are
//
// Mapping   blockIdx.x a candidate; one thread a block of random words, which serves four genes LANES_OF_A_WORD apart, so that
//           neighbouring threads write neighbouring genes.
// Cost      some 125 instructions a thread, of which 70 are Philox, and 16 bytes written; 18 registers, so 16 blocks and all
//           2048 threads an SM. For 784 genes: 26,000 instructions, 3136 bytes.
// Predicted 700e6 genomes/s at 65536 on an H100: of 784 genes; 3.35 TB/s take 1070 million, full issue gives 1280 million.
// Numbers   exact.
// Twin      genome::direct::random; compared in tests/cuda/randomise_direct.rs.
#include "common/rng.cuh"
#include "common/tuning.cuh"

extern "C" __global__ void __launch_bounds__(DIRECT_THREADS)
randomise_direct_f32(float* __restrict__ genes, const RunState* __restrict__ runs, const uint32_t* __restrict__ active,
                     Chunk chunk, uint32_t n_genes) {
    const uint32_t at = blockIdx.x;
    const uint32_t block = blockIdx.y * DIRECT_THREADS + threadIdx.x;
    if (at >= chunk.count || gene_of(block, 0) >= n_genes) { return; }

    const uint32_t place = chunk.start + at;
    const RunState& run = runs[active[place / chunk.batch]];
    const Words words = draws(run, Purpose::DirectInit, place % chunk.batch, 0).block(block);
    float* genome = genes + uint64_t(at) * n_genes;  // (n_genes); 64-bit, chunk.count * n_genes may pass 2^31
#pragma unroll
    for (uint32_t w = 0; w < 4; ++w) {
        const uint32_t gene = gene_of(block, w);
        if (gene < n_genes) { genome[gene] = unit(words.w[w]); }
    }
}
