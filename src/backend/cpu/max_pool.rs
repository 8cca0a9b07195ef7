//! Max pooling over tiles of images.
//!
//! ```text
//! out  output  (tiles, channels, out_height, out_width, L::N) f32, lane = image
//! in   input   (tiles, channels, height, width, L::N) f32, no NaN
//! ```
//!
//! Numbers   comparisons only; of equal values (0 and -0) the first in row-major order wins. Windows are clipped at the
//!           border (Caffe's rule: pooling_layer.cpp).

use crate::network::Shape;
use crate::simd::Lanes;

/// Pools every tile: `input` has `shape` an image, `output` what [`crate::network::Layer::output`] says.
#[inline(always)]
pub fn max_pool<L: Lanes>(
    output: &mut [f32],
    input: &[f32],
    shape: Shape,
    pooled: Shape,
    kernel: usize,
    stride: usize,
) {
    let input_plane = shape.height * shape.width * L::N;
    let output_plane = pooled.height * pooled.width * L::N;
    assert_eq!(input.len() % (input_plane * shape.channels), 0);
    assert_eq!(input.len() / input_plane * output_plane, output.len());
    for (output, input) in output.chunks_exact_mut(output_plane).zip(input.chunks_exact(input_plane)) {
        for (row, values) in output.chunks_exact_mut(pooled.width * L::N).enumerate() {
            let top = row * stride;
            let bottom = (top + kernel).min(shape.height);
            for (column, value) in values.chunks_exact_mut(L::N).enumerate() {
                let left = column * stride;
                let right = (left + kernel).min(shape.width);
                let mut best = L::load(&input[(top * shape.width + left) * L::N..]);
                for y in top..bottom {
                    let window = &input[(y * shape.width + left) * L::N..(y * shape.width + right) * L::N];
                    for candidate in window.chunks_exact(L::N) {
                        best = L::load(candidate).max(best);
                    }
                }
                best.store(value);
            }
        }
    }
}
