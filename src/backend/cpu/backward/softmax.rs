//! Softmax with cross entropy averaged over the batch, backward.

use crate::simd::Lanes;

/// Writes the gradient of the averaged loss with respect to the logits of one tile of images.
///
/// `gradient` and `probabilities` are `(classes, lane)`; `labels` holds the class of each image of the tile, fewer than
/// `L::N`, or none, in the last tiles of a batch. Lanes without an image get +0, which keeps them out of every sum.
#[inline(always)]
pub fn softmax_backward<L: Lanes>(gradient: &mut [f32], probabilities: &[f32], labels: &[u8], batch: usize) {
    let batch = batch as f32; // exact: a batch is far below 2^24
    for (class, (gradient, probabilities)) in
        gradient.chunks_exact_mut(L::N).zip(probabilities.chunks_exact(L::N)).enumerate()
    {
        gradient.fill(0.0);
        for ((gradient, &probability), &label) in gradient.iter_mut().zip(probabilities).zip(labels) {
            let excess = if usize::from(label) == class { probability - 1.0 } else { probability };
            *gradient = excess / batch;
        }
    }
}
