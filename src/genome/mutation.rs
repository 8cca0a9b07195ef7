//! Polynomial mutation, which both encodings share (spec 4.2).

use crate::math;
use crate::simd::Lanes;

/// Deb's basic polynomial mutation of genes in [0, 1], `unit` uniform in [0, 1):
/// with n = eta + 1, a gene moves by `(2 unit)^(1/n) - 1` if unit < 1/2 and by `1 - (2 (1 - unit))^(1/n)`
/// otherwise, and is then clipped. `unit` is a multiple of 2^-24, so both bases are exact.
#[inline(always)]
pub fn polynomial_mutation<L: Lanes>(gene: L, unit: L, eta: u32) -> L {
    let one = L::splat(1.0);
    let rest = one.sub(unit);
    let low = unit.lt(L::splat(0.5));
    let root = math::root(L::select(low, unit.add(unit), rest.add(rest)), eta + 1);
    clip(gene.add(L::select(low, root.sub(one), one.sub(root))))
}

/// A gene brought back to [0, 1], by comparisons.
#[inline(always)]
pub fn clip<L: Lanes>(gene: L) -> L {
    let (zero, one) = (L::splat(0.0), L::splat(1.0));
    let gene = L::select(gene.lt(zero), zero, gene);
    L::select(one.lt(gene), one, gene)
}
