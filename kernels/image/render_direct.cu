// render_direct.cu: direct genomes as images, a byte a gene: trunc(255 |gene|) (spec 4.1).
//
//   out  images  (count, height, width, channels) u8    n_pixels in all
//   in   genes   (count, n_genes) f32                   as many, in [0, 1]
//
// Mapping   images lie one after the other and so do genomes: one thread draws RENDER_DIRECT_PIXELS neighbours, which may belong
//           to two images. Both buffers start at multiples of 16 bytes.
// Cost      4 bytes read and 1 written a pixel, 4 instructions: bound by DRAM bandwidth, or by L2's where the chunk's genes
//           are still there.
// Predicted 850e6 genomes/s at 65536 on an H100: 3920 bytes a genome of 784 genes at 3.35 TB/s.
// Predicted 2.9e6 genomes/s at 400 on an H100: 983,040 bytes a genome of 196,608 genes (256 x 256 in colour) at 85 % of 3.35 TB/s.
// Numbers   exact; 255 gene is at most 255, so the integer holds it.
// Twin      genome::direct::render; compared in tests/cuda/render_direct.rs.
#include "common/colour.cuh"
#include "common/tuning.cuh"

namespace render_direct {

using colour::pixel;

struct alignas(16) Genes {
    float gene[RENDER_DIRECT_PIXELS];
};

}  // namespace render_direct

extern "C" __global__ void __launch_bounds__(RENDER_DIRECT_THREADS)
render_direct_u8(uint8_t* __restrict__ images, const float* __restrict__ genes, uint64_t n_pixels) {
    using namespace render_direct;
    const uint64_t first = (uint64_t(blockIdx.x) * RENDER_DIRECT_THREADS + threadIdx.x) * RENDER_DIRECT_PIXELS;
    if (first + RENDER_DIRECT_PIXELS <= n_pixels) {
        const Genes four = *reinterpret_cast<const Genes*>(genes + first);
        *reinterpret_cast<uint32_t*>(images + first) =
            pixel(four.gene[0]) | pixel(four.gene[1]) << 8 | pixel(four.gene[2]) << 16 | pixel(four.gene[3]) << 24;
        return;
    }
    for (uint64_t i = first; i < n_pixels; ++i) { images[i] = uint8_t(pixel(genes[i])); }  // the last 0 to 3
}
