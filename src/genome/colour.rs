//! From the bytes hue, lightness, saturation of a colour genome to those of an RGB image (spec 5.7).

use crate::simd::Lanes;

/// Steps of the 8-bit hue circle. Genomes give hues of 0..=255, which wrap: red to yellow-green comes twice.
const HUE_STEPS: f32 = 180.0;

/// 8-bit HLS to RGB as OpenCV does it, in single precision. `hue`, `lightness` and `saturation` are whole
/// numbers of 0..=255; the results are red, green and blue bytes.
#[inline(always)]
pub fn hls_to_rgb<L: Lanes>(hue: L, lightness: L, saturation: L) -> [L::Bits; 3] {
    let one = L::splat(1.0);
    let l = lightness.div(L::splat(255.0));
    let s = saturation.div(L::splat(255.0));
    let p2 = L::select(l.le(L::splat(0.5)), l.mul(one.add(s)), l.add(s).sub(l.mul(s)));
    let p1 = l.add(l).sub(p2);

    let h = hue.mul(L::splat(6.0)).div(L::splat(HUE_STEPS)); // at most 8.5: one turn to take off
    let h = L::select(h.lt(L::splat(6.0)), h, h.sub(L::splat(6.0)));
    let fraction = h.sub(L::from_i32(h.trunc_to_i32()));

    // With no saturation all four are l exactly, so grey needs no case of its own.
    let (t0, t1) = (p2, p1);
    let t2 = p1.add(p2.sub(p1).mul(one.sub(fraction)));
    let t3 = p1.add(p2.sub(p1).mul(fraction));

    let red = to_byte(of_sector(h, [t0, t2, t1, t1, t3, t0]));
    let green = to_byte(of_sector(h, [t3, t0, t0, t2, t1, t1]));
    let blue = to_byte(of_sector(h, [t1, t1, t3, t0, t0, t2]));
    [red, green, blue]
}

/// The value of the sector of the circle that `h`, in [0, 6), lies in.
#[inline(always)]
fn of_sector<L: Lanes>(h: L, values: [L; 6]) -> L {
    let mut chosen = values[5];
    for sector in (0..5).rev() {
        chosen = L::select(h.lt(L::splat((sector + 1) as f32)), values[sector], chosen);
    }
    chosen
}

/// 255 times `value`, rounded half to even. Values stay within rounding of [0, 1] for all 2^24 triples
/// (tests/cppn.rs tries each), so that saturation has nothing to do.
#[inline(always)]
fn to_byte<L: Lanes>(value: L) -> L::Bits {
    // Adding 2^23 leaves no fraction bits: the addition itself rounds, half to even.
    let shift = L::splat(8_388_608.0);
    L::splat(255.0).mul(value).add(shift).sub(shift).trunc_to_i32()
}
