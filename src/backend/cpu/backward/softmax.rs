//! Softmax, backward: from the probability of a class, or from the cross entropy averaged over a batch.

use crate::simd::Lanes;

/// What is to be differentiated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    /// The probability of each image's class.
    Probability,
    /// The cross entropy averaged over a batch of so many images.
    CrossEntropy { batch: usize },
}

/// Writes the gradient of the objective with respect to the logits of one tile of images, over their probabilities.
///
/// `values` is `(classes, lane)`; `classes` holds the class of each image of the tile, fewer than `L::N`, or none, in the last tiles of
/// a batch. Lanes without an image get +0, which keeps them out of every sum.
#[inline(always)]
pub fn softmax_backward<L: Lanes>(gradient: &mut [f32], probabilities: &[f32], classes: &[u32], objective: Objective) {
    let mut own = [0.0; crate::simd::MAX_LANES];
    for (lane, (own, &class)) in own.iter_mut().zip(classes).enumerate() {
        *own = probabilities[class as usize * L::N + lane];
    }
    for (class, (gradient, probabilities)) in
        gradient.chunks_exact_mut(L::N).zip(probabilities.chunks_exact(L::N)).enumerate()
    {
        gradient.fill(0.0);
        for (lane, &wanted) in classes.iter().enumerate() {
            let (p, is_own) = (probabilities[lane], wanted as usize == class);
            gradient[lane] = match objective {
                Objective::Probability => own[lane] * (if is_own { 1.0 - p } else { 0.0 - p }),
                // Exact: a batch is far below 2^24.
                Objective::CrossEntropy { batch } => (if is_own { p - 1.0 } else { p }) / batch as f32,
            };
        }
    }
}
