//! Elementary functions of the one arithmetic (placeholder while the real ones are written).
use crate::simd::{Lanes, MAX_LANES};

#[inline(always)]
fn each<L: Lanes>(x: L, f: fn(f32) -> f32) -> L {
    let mut lanes = [0.0; MAX_LANES];
    x.store(&mut lanes);
    lanes.iter_mut().for_each(|v| *v = f(*v));
    L::load(&lanes)
}
pub fn sin<L: Lanes>(x: L) -> L {
    each(x, f32::sin)
}
pub fn exp<L: Lanes>(x: L) -> L {
    each(x, f32::exp)
}
pub fn exp2<L: Lanes>(x: L) -> L {
    each(x, f32::exp2)
}
pub fn log2<L: Lanes>(x: L) -> L {
    each(x, f32::log2)
}
pub fn sigmoid<L: Lanes>(x: L) -> L {
    each(x, |p| (p * 0.5).tanh())
}
pub fn gaussian<L: Lanes>(x: L) -> L {
    each(x, |p| (-p * p).exp())
}
pub fn clipped_linear<L: Lanes>(x: L) -> L {
    each(x, |p| p.clamp(-3.0, 3.0) / 3.0)
}
pub fn root<L: Lanes>(x: L, n: u32) -> L {
    let mut x = x;
    if n.is_power_of_two() {
        for _ in 0..n.trailing_zeros() {
            x = x.sqrt();
        }
        return x;
    }
    exp2(log2(x).div(L::splat(n as f32)))
}
