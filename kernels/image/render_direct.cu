// render_direct.cu: direct genomes as images, a byte a gene: trunc(255 |gene|); of three channels the bytes are hue, lightness and
// saturation, which become RGB (spec 4.1 and 5.7).
//
//   out  images  (count, height, width, channels) u8    n_pixels pixels in all, of n_channels, 1 or 3
//   in   genes   (count, n_genes) f32                   a gene a pixel and channel, in [0, 1]
//
// Mapping   images lie one after the other and so do genomes: one thread draws RENDER_DIRECT_PIXELS neighbours, which may belong
//           to two images. Both buffers start at multiples of 16 bytes.
// Cost      4 bytes read and 1 written a gene. Grey: 4 instructions a pixel: bound by DRAM bandwidth, or by L2's where the chunk's
//           genes are still there. Colour: some 120 a pixel with three divisions, 12 bytes read.
// Predicted 850e6 genomes/s at 65536 on an H100: 3920 bytes a genome of 784 genes at 3.35 TB/s.
// Predicted 2.5e6 genomes/s at 400 on an H100: 983,040 bytes a genome of 196,608 genes (256 x 256 in colour) at 73 % of 3.35 TB/s, beside
//           7.9e6 instructions a genome, of which 29e12 a second.
// Numbers   exact; 255 gene is at most 255, so the integer holds it.
// Twin      genome::direct::render; compared in tests/cuda/render_direct.rs.
#include "common/colour.cuh"
#include "common/tuning.cuh"

namespace render_direct {

using colour::pixel;

struct alignas(16) Genes {
    float gene[RENDER_DIRECT_PIXELS];
};

static __device__ __forceinline__ colour::Rgb rgb(float hue, float lightness, float saturation) {
    return colour::hls_to_rgb(float(pixel(hue)), float(pixel(lightness)), float(pixel(saturation)));
}

// Four pixels in colour, which begin at gene and byte `first`.
static __device__ __forceinline__ void draw_colour(uint8_t* __restrict__ images, const float* __restrict__ genes, uint64_t first) {
    static_assert(RENDER_DIRECT_PIXELS == 4, "twelve genes and bytes a thread");
    const Genes* from = reinterpret_cast<const Genes*>(genes + first);
    const Genes a = from[0], b = from[1], c = from[2];
    const colour::Rgb p0 = rgb(a.gene[0], a.gene[1], a.gene[2]), p1 = rgb(a.gene[3], b.gene[0], b.gene[1]);
    const colour::Rgb p2 = rgb(b.gene[2], b.gene[3], c.gene[0]), p3 = rgb(c.gene[1], c.gene[2], c.gene[3]);
    uint32_t* to = reinterpret_cast<uint32_t*>(images + first);
    to[0] = uint32_t(p0.red) | uint32_t(p0.green) << 8 | uint32_t(p0.blue) << 16 | uint32_t(p1.red) << 24;
    to[1] = uint32_t(p1.green) | uint32_t(p1.blue) << 8 | uint32_t(p2.red) << 16 | uint32_t(p2.green) << 24;
    to[2] = uint32_t(p2.blue) | uint32_t(p3.red) << 8 | uint32_t(p3.green) << 16 | uint32_t(p3.blue) << 24;
}

}  // namespace render_direct

extern "C" __global__ void __launch_bounds__(RENDER_DIRECT_THREADS)
render_direct_u8(uint8_t* __restrict__ images, const float* __restrict__ genes, uint64_t n_pixels, uint32_t n_channels) {
    using namespace render_direct;
    const uint64_t first = (uint64_t(blockIdx.x) * RENDER_DIRECT_THREADS + threadIdx.x) * RENDER_DIRECT_PIXELS;
    const bool is_whole = first + RENDER_DIRECT_PIXELS <= n_pixels;
    if (n_channels == 3) {
        if (is_whole) {
            draw_colour(images, genes, 3 * first);
            return;
        }
        for (uint64_t i = 3 * first; i < 3 * n_pixels; i += 3) {  // the last 0 to 3
            const colour::Rgb one = rgb(genes[i], genes[i + 1], genes[i + 2]);
            images[i] = one.red;
            images[i + 1] = one.green;
            images[i + 2] = one.blue;
        }
        return;
    }
    if (is_whole) {
        const Genes four = *reinterpret_cast<const Genes*>(genes + first);
        *reinterpret_cast<uint32_t*>(images + first) =
            pixel(four.gene[0]) | pixel(four.gene[1]) << 8 | pixel(four.gene[2]) << 16 | pixel(four.gene[3]) << 24;
        return;
    }
    for (uint64_t i = first; i < n_pixels; ++i) { images[i] = uint8_t(pixel(genes[i])); }  // the last 0 to 3
}
