//! From the bytes hue, lightness, saturation of a colour genome to those of an RGB image (spec 5.7).

use crate::simd::Lanes;

/// A divisor's reciprocal, as the nearest f32 and what that lacks: see [`quotient`].
struct Reciprocal(f32, f32);

const OF_255: Reciprocal = Reciprocal(1.0 / 255.0, -2.319_175_8e-10);
/// Of 30 steps, which make a sixth of the 8-bit hue circle of 180. Genomes give hues of 0..=255, which wrap: red to yellow-green
/// comes twice.
const OF_30: Reciprocal = Reciprocal(1.0 / 30.0, -1.738_468_8e-9);

/// The bytes of red, green and blue by the sector of the circle, each as the number of a byte of `high | middle << 8 | low << 16`; the
/// fourth byte becomes 0.
pub(super) const SECTORS: [u32; 8] = [
    0x80_02_01_00,
    0x80_02_00_01,
    0x80_01_00_02,
    0x80_00_01_02,
    0x80_00_02_01,
    0x80_01_02_00,
    0x80_80_80_80,
    0x80_80_80_80,
];

/// 8-bit HLS to RGB as OpenCV does it, in single precision. `hue`, `lightness` and `saturation` are whole
/// numbers of 0..=255; the results are `red | green << 8 | blue << 16`.
///
/// In each sector of the hue circle one channel is the highest, one the lowest, and the third goes up or down between them. So there are
/// three bytes to be made, and an order to put them in.
#[inline(always)]
pub fn hls_to_rgb<L: Lanes>(hue: L, lightness: L, saturation: L) -> L::Bits {
    let one = L::splat(1.0);
    let l = quotient(lightness, OF_255);
    let s = quotient(saturation, OF_255);
    let high = L::select(l.le(L::splat(0.5)), l.mul(one.add(s)), l.add(s).sub(l.mul(s)));
    let low = l.add(l).sub(high);

    let h = quotient(hue, OF_30); // at most 8.5: one turn to take off
    let h = L::select(h.lt(L::splat(6.0)), h, h.sub(L::splat(6.0)));
    let sector = h.trunc_to_i32();
    let fraction = h.sub(L::from_i32(sector));

    // With no saturation all three are l exactly, so grey needs no case of its own.
    let is_even = L::bits_eq(L::bits_and(sector, L::bits_splat(1)), L::bits_splat(0));
    let middle = low.add(high.sub(low).mul(L::select(is_even, fraction, one.sub(fraction))));

    let bytes = L::bits_add(L::bits_shl::<8>(rounded(middle)), rounded(high));
    let bytes = L::bits_add(L::bits_shl::<16>(rounded(low)), bytes);
    L::bits_pick_bytes(bytes, L::bits_lookup(&SECTORS, sector))
}

/// The whole number `x` of 0..=255 by a divisor, rounded as a division rounds it (the tests here try each).
#[inline(always)]
fn quotient<L: Lanes>(x: L, Reciprocal(nearest, rest): Reciprocal) -> L {
    x.mul_add(L::splat(nearest), x.mul(L::splat(rest)))
}

/// 255 times `value`, rounded half to even, in the lowest byte; of the other bytes the middle two are 0. Values stay within rounding of
/// [0, 1] for all 2^24 triples (tests/cppn.rs tries each), so that saturation has nothing to do.
#[inline(always)]
fn rounded<L: Lanes>(value: L) -> L::Bits {
    // Adding 2^23 leaves no fraction bits: the addition itself rounds, half to even, and the integer stands in the lowest bits.
    L::splat(255.0).mul(value).add(L::splat(8_388_608.0)).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Plain;

    #[test]
    fn quotients_are_those_of_divisions() {
        let mut got = [0.0; Plain::N];
        for x in 0..=255 {
            let x = x as f32;
            quotient(Plain::splat(x), OF_255).store(&mut got);
            assert_eq!(got[0].to_bits(), (x / 255.0).to_bits(), "{x} / 255");
            quotient(Plain::splat(x), OF_30).store(&mut got);
            assert_eq!(got[0].to_bits(), (x * 6.0 / 180.0).to_bits(), "6 {x} / 180");
        }
    }
}
