//! The rectifier, in place.
//!
//! Numbers   `x > 0 ? x : 0`: -0 becomes 0.

use crate::simd::Lanes;

/// Replaces each of `values`, `(.., L::N)`, by `x > 0 ? x : 0`.
#[inline(always)]
pub fn relu<L: Lanes>(values: &mut [f32]) {
    let zero = L::splat(0.0);
    for value in values.chunks_exact_mut(L::N) {
        L::load(value).max(zero).store(value);
    }
}
