/* CPPNs drawn as one writes it in C for one machine: every genome interpreted over blocks of 64 pixels in the first-level cache, by
   AVX-512, with an absolute error of 1e-6 instead of the same bits everywhere. Without branches on the values, without fast-math.

   A genome in `program`: its nodes' number, and for each node activation, links' number, sources; its weights in `weights`;
   `offsets` has where both begin. Values 0 to 3 are the inputs (x, y, distance, 1), node i has value 4 + i, outputs come last. */
#include <immintrin.h>
#include <stdint.h>

#define VECTORS 4 /* of 16 pixels, a block */
#define BLOCK (16 * VECTORS)
#define MOST 256 /* values of a genome */

static inline __m512 of(float x) { return _mm512_set1_ps(x); }

static inline __m512 exponential(__m512 x) {
  x = _mm512_max_ps(_mm512_min_ps(x, of(88.f)), of(-87.f));
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, of(1.44269504f)), 8);
  __m512 f = _mm512_fnmadd_ps(n, of(0.693145752f), x);
  f = _mm512_fnmadd_ps(n, of(1.42860677e-6f), f);
  __m512 p = of(1.3981999507e-3f);
  p = _mm512_fmadd_ps(p, f, of(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, f, of(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, f, of(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, f, of(5.0000001201e-1f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(f, f), p, _mm512_add_ps(f, of(1.f)));
  return _mm512_scalef_ps(p, n);
}

static inline __m512 sine(__m512 x) {
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, of(0.318309886f)), 8);
  __m512 f = _mm512_fnmadd_ps(n, of(3.140625f), x);
  f = _mm512_fnmadd_ps(n, of(9.67653589793e-4f), f);
  __m512i sign = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 31);
  __m512 z = _mm512_mul_ps(f, f), p = of(2.6083159809786593541503e-6f);
  p = _mm512_fmadd_ps(p, z, of(-0.0001981069071916863322258f));
  p = _mm512_fmadd_ps(p, z, of(0.00833307858556509017944336f));
  p = _mm512_fmadd_ps(p, z, of(-0.166666597127914428710938f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, z), f, f);
  return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(p), sign));
}

static inline __m512 sigmoid(__m512 x) { /* 2 / (1 + e^-x) - 1 */
  __m512 d = _mm512_add_ps(exponential(_mm512_sub_ps(_mm512_setzero_ps(), x)), of(1.f));
  __m512 r = _mm512_rcp14_ps(d);
  r = _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, of(2.f)));
  return _mm512_fmsub_ps(r, of(2.f), of(1.f));
}

static inline __m512 gaussian(__m512 x) { return exponential(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(x, x))); }

static inline __m512 linear(__m512 x) {
  return _mm512_mul_ps(_mm512_min_ps(_mm512_max_ps(x, of(-3.f)), of(3.f)), of(1.f / 3));
}

#define EACH(f)                                                                                                                        \
  for (int k = 0; k < VECTORS; k++) _mm512_store_ps(out + 16 * k, f(sum[k]));                                                          \
  break

/* `n` genomes with one output over `pixels` pixels; `inputs` is (4, pixels), `images` (n, pixels). */
void render(const int32_t *program, const float *weights, const int64_t *offsets, int64_t n, const float *inputs, int64_t pixels,
            float *images, int threads) {
  int64_t blocks = (pixels + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t genome = 0; genome < n; genome++) {
    float value[MOST][BLOCK] __attribute__((aligned(64)));
    for (int64_t block = 0; block < blocks; block++) {
      int64_t first = block * BLOCK + BLOCK > pixels ? pixels - BLOCK : block * BLOCK; /* the last one ends with the image */
      for (int input = 0; input < 4; input++)
        for (int k = 0; k < BLOCK; k += 16) _mm512_store_ps(&value[input][k], _mm512_loadu_ps(inputs + input * pixels + first + k));
      const int32_t *at = program + offsets[2 * genome];
      const float *weight = weights + offsets[2 * genome + 1];
      int nodes = *at++;
      for (int node = 0; node < nodes; node++) {
        int activation = at[0], links = at[1];
        at += 2;
        __m512 sum[VECTORS];
        for (int link = 0; link < links; link++) {
          __m512 w = of(*weight++);
          const float *source = value[*at++];
          for (int k = 0; k < VECTORS; k++) {
            __m512 x = _mm512_load_ps(source + 16 * k);
            sum[k] = link ? _mm512_fmadd_ps(w, x, sum[k]) : _mm512_mul_ps(w, x);
          }
        }
        float *out = value[4 + node];
        switch (activation) {
        case 0: EACH(sine);
        case 1: EACH(sigmoid);
        case 2: EACH(gaussian);
        default: EACH(linear);
        }
      }
      for (int k = 0; k < BLOCK; k += 16)
        _mm512_storeu_ps(images + genome * pixels + first + k, _mm512_load_ps(&value[3 + nodes][k]));
    }
  }
}
