//! Several vectors that go through the same operations side by side.

use super::Lanes;

/// `K` vectors as one: each operation is that of all of them, one after the other. A long chain of dependent operations, such
/// as an elementary function, leaves a processor waiting; `K` chains in step give it something to do.
///
/// At most 64 lanes.
#[derive(Clone, Copy, Debug)]
pub struct Pack<L, const K: usize>([L; K]);

/// The results of `$f` for each vector, in loops of constant length: no closure may touch lanes.
macro_rules! each {
    ($f:path, $a:expr) => {{
        let a = $a;
        let mut y = [$f(a[0]); K];
        for i in 1..K {
            y[i] = $f(a[i]);
        }
        y
    }};
    ($f:path, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        let mut y = [$f(a[0], b[0]); K];
        for i in 1..K {
            y[i] = $f(a[i], b[i]);
        }
        y
    }};
    ($f:path, $a:expr, $b:expr, $c:expr) => {{
        let (a, b, c) = ($a, $b, $c);
        let mut y = [$f(a[0], b[0], c[0]); K];
        for i in 1..K {
            y[i] = $f(a[i], b[i], c[i]);
        }
        y
    }};
}

impl<L: Lanes, const K: usize> Lanes for Pack<L, K> {
    const N: usize = K * L::N;
    type Bits = [L::Bits; K];
    type Mask = [L::Mask; K];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Pack([L::splat(x); K])
    }
    #[inline(always)]
    fn load(src: &[f32]) -> Self {
        let mut y = [L::load(src); K];
        for i in 1..K {
            y[i] = L::load(&src[i * L::N..]);
        }
        Pack(y)
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32]) {
        for i in 0..K {
            self.0[i].store(&mut dst[i * L::N..]);
        }
    }
    #[inline(always)]
    fn load_partial(src: &[f32]) -> Self {
        let mut y = [L::load_partial(src); K];
        for i in 1..K {
            y[i] = L::load_partial(&src[(i * L::N).min(src.len())..]);
        }
        Pack(y)
    }
    #[inline(always)]
    fn store_partial(self, dst: &mut [f32]) {
        for i in 0..K {
            let start = (i * L::N).min(dst.len());
            self.0[i].store_partial(&mut dst[start..]);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Pack(each!(L::add, self.0, other.0))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Pack(each!(L::sub, self.0, other.0))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Pack(each!(L::mul, self.0, other.0))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Pack(each!(L::div, self.0, other.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Pack(each!(L::sqrt, self.0))
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Pack(each!(L::abs, self.0))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        Pack(each!(L::neg, self.0))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Pack(each!(L::max, self.0, other.0))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Pack(each!(L::min, self.0, other.0))
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Pack(each!(L::mul_add, self.0, b.0, c.0))
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        each!(L::lt, self.0, other.0)
    }
    #[inline(always)]
    fn le(self, other: Self) -> Self::Mask {
        each!(L::le, self.0, other.0)
    }
    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        each!(L::eq, self.0, other.0)
    }
    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Pack(each!(L::select, mask, yes.0, no.0))
    }
    #[inline(always)]
    fn to_bits(self) -> Self::Bits {
        each!(L::to_bits, self.0)
    }
    #[inline(always)]
    fn from_bits(bits: Self::Bits) -> Self {
        Pack(each!(L::from_bits, bits))
    }
    #[inline(always)]
    fn bits_splat(x: u32) -> Self::Bits {
        [L::bits_splat(x); K]
    }
    #[inline(always)]
    fn bits_load(src: &[u32]) -> Self::Bits {
        let mut y = [L::bits_load(src); K];
        for i in 1..K {
            y[i] = L::bits_load(&src[i * L::N..]);
        }
        y
    }
    #[inline(always)]
    fn bits_store(bits: Self::Bits, dst: &mut [u32]) {
        for i in 0..K {
            L::bits_store(bits[i], &mut dst[i * L::N..]);
        }
    }
    #[inline(always)]
    fn bits_store_bytes(bits: Self::Bits, dst: &mut [u8]) {
        for i in 0..K {
            L::bits_store_bytes(bits[i], &mut dst[i * L::N..]);
        }
    }
    #[inline(always)]
    fn bits_store_three_bytes(bits: Self::Bits, dst: &mut [u8]) {
        for i in 0..K {
            L::bits_store_three_bytes(bits[i], &mut dst[3 * i * L::N..]);
        }
    }
    #[inline(always)]
    fn bits_lookup(table: &[u32; 8], index: Self::Bits) -> Self::Bits {
        let mut y = [L::bits_lookup(table, index[0]); K];
        for i in 1..K {
            y[i] = L::bits_lookup(table, index[i]);
        }
        y
    }
    #[inline(always)]
    fn bits_pick_bytes(bits: Self::Bits, which: Self::Bits) -> Self::Bits {
        each!(L::bits_pick_bytes, bits, which)
    }
    #[inline(always)]
    fn bits_add(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_add, a, b)
    }
    #[inline(always)]
    fn bits_sub(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_sub, a, b)
    }
    #[inline(always)]
    fn bits_and(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_and, a, b)
    }
    #[inline(always)]
    fn bits_or(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_or, a, b)
    }
    #[inline(always)]
    fn bits_xor(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_xor, a, b)
    }
    #[inline(always)]
    fn bits_shl<const S: u32>(a: Self::Bits) -> Self::Bits {
        each!(L::bits_shl::<S>, a)
    }
    #[inline(always)]
    fn bits_shr<const S: u32>(a: Self::Bits) -> Self::Bits {
        each!(L::bits_shr::<S>, a)
    }
    #[inline(always)]
    fn bits_mul_even(a: Self::Bits, b: Self::Bits) -> Self::Bits {
        each!(L::bits_mul_even, a, b)
    }
    #[inline(always)]
    fn bits_odd_to_even(a: Self::Bits) -> Self::Bits {
        each!(L::bits_odd_to_even, a)
    }
    #[inline(always)]
    fn bits_interleave(even: Self::Bits, odd: Self::Bits) -> Self::Bits {
        each!(L::bits_interleave, even, odd)
    }
    #[inline(always)]
    fn bits_eq(a: Self::Bits, b: Self::Bits) -> Self::Mask {
        each!(L::bits_eq, a, b)
    }
    #[inline(always)]
    fn bits_lt(a: Self::Bits, b: Self::Bits) -> Self::Mask {
        each!(L::bits_lt, a, b)
    }
    #[inline(always)]
    fn bits_select(mask: Self::Mask, yes: Self::Bits, no: Self::Bits) -> Self::Bits {
        each!(L::bits_select, mask, yes, no)
    }
    #[inline(always)]
    fn trunc_to_i32(self) -> Self::Bits {
        each!(L::trunc_to_i32, self.0)
    }
    #[inline(always)]
    fn from_i32(bits: Self::Bits) -> Self {
        Pack(each!(L::from_i32, bits))
    }
    #[inline(always)]
    fn mask_and(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        each!(L::mask_and, a, b)
    }
    #[inline(always)]
    fn mask_or(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        each!(L::mask_or, a, b)
    }
    #[inline(always)]
    fn mask_not(a: Self::Mask) -> Self::Mask {
        each!(L::mask_not, a)
    }
    #[inline(always)]
    fn mask_bits(a: Self::Mask) -> u64 {
        let mut bits = 0;
        for (i, &mask) in a.iter().enumerate() {
            bits |= L::mask_bits(mask) << (i * L::N);
        }
        bits
    }
    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        let mut any = mask[0];
        for &more in &mask[1..] {
            any = L::mask_or(any, more);
        }
        L::any(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math;
    use crate::rng::{Philox, Purpose};
    use crate::simd::{MAX_LANES, Simd, Vectorised};

    /// Every elementary function of random bits, as a pack of `K` and vector by vector.
    struct Compare<'a> {
        inputs: &'a [f32],
    }

    impl Vectorised for Compare<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self) {
            compare::<L, 3>(self.inputs);
            compare::<L, 4>(self.inputs);
        }
    }

    /// An elementary function: its name, of a pack, of a vector.
    type Function<L, const K: usize> = (&'static str, fn(Pack<L, K>) -> Pack<L, K>, fn(L) -> L);

    #[inline(always)]
    fn compare<L: Lanes, const K: usize>(inputs: &[f32]) {
        let functions: [Function<L, K>; 7] = [
            ("sin", math::sin, math::sin),
            ("exp", math::exp, math::exp),
            ("exp2", math::exp2, math::exp2),
            ("log2", math::log2, math::log2),
            ("sigmoid", math::sigmoid, math::sigmoid),
            ("gaussian", math::gaussian, math::gaussian),
            ("clipped_linear", math::clipped_linear, math::clipped_linear),
        ];
        for (name, packed, single) in functions {
            for inputs in inputs.chunks_exact(K * L::N) {
                let (mut got, mut want) = ([0.0; 4 * MAX_LANES], [0.0; 4 * MAX_LANES]);
                packed(Pack::load(inputs)).store(&mut got);
                for (want, inputs) in want.chunks_exact_mut(L::N).zip(inputs.chunks_exact(L::N)) {
                    single(L::load(inputs)).store(want);
                }
                assert_eq!(got.map(f32::to_bits), want.map(f32::to_bits), "{name} of {inputs:?}, {K} x {}", L::N);
            }
        }
    }

    #[test]
    fn pack_gives_what_its_vectors_give() {
        let draws = Philox::new(3).draws(Purpose::DirectInit, 0, 0);
        // Any bits: zeros, denormals, NaN, what is beyond the sine's near range; and some of the usual size.
        let mut inputs: Vec<f32> = (0..6144).map(|index| f32::from_bits(draws.word(index))).collect();
        inputs.extend((0..6144).map(|index| (index as f32 - 3072.0) / 200.0));
        inputs.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e6, 2e6, -3e38].repeat(24));
        for simd in Simd::available() {
            simd.run(Compare { inputs: &inputs });
        }
    }

    #[test]
    fn pack_moves_lanes_as_its_vectors_do() {
        type Three = Pack<crate::simd::Plain, 3>;
        let values: Vec<f32> = (0..12).map(|index| index as f32 - 5.5).collect();
        let mut part = [9.0; 7];
        Three::load_partial(&values[..5]).store_partial(&mut part);
        assert_eq!(part, [-5.5, -4.5, -3.5, -2.5, -1.5, 0.0, 0.0]);
        let negative = Three::load(&values).lt(Three::splat(0.0));
        assert_eq!((Three::mask_bits(negative), Three::any(negative)), (0b11_1111, true));
        assert!(!Three::any(Three::mask_and(negative, Three::mask_not(negative))));
        let words: Vec<u32> = (250..262).collect();
        let mut bytes = [0; 12];
        Three::bits_store_bytes(Three::bits_load(&words), &mut bytes);
        assert_eq!(bytes, [250, 251, 252, 253, 254, 255, 0, 1, 2, 3, 4, 5]);
    }

    /// What moves bits, as a vector and as a pack of two, against the same word by word.
    struct Move<'a> {
        words: &'a [u32],
    }

    impl Vectorised for Move<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self) {
            moves::<L>(self.words);
            moves::<Pack<L, 2>>(self.words);
        }
    }

    #[inline(always)]
    fn moves<L: Lanes>(words: &[u32]) {
        const TABLE: [u32; 8] = [7, 0x8003_0201, 1, u32::MAX, 0, 5, 0x0102_0300, 9];
        let lanes = |bits| {
            let mut lanes = [0; 2 * MAX_LANES];
            L::bits_store(bits, &mut lanes);
            lanes[..L::N].to_vec()
        };
        for words in words.chunks_exact(2 * L::N) {
            let (a, b) = words.split_at(L::N);
            let (x, y) = (L::bits_load(a), L::bits_load(b));

            let product = |lane: usize| u64::from(a[lane]) * u64::from(b[lane]);
            let halves = |lane: usize| (product(lane / 2 * 2) >> (32 * (lane % 2))) as u32;
            assert_eq!(lanes(L::bits_mul_even(x, y)), (0..L::N).map(halves).collect::<Vec<_>>());
            let moved = |lane: usize| if lane.is_multiple_of(2) { a[lane + 1] } else { 0 };
            assert_eq!(lanes(L::bits_odd_to_even(x)), (0..L::N).map(moved).collect::<Vec<_>>());
            let woven = |lane: usize| if lane.is_multiple_of(2) { a[lane] } else { b[lane - 1] };
            assert_eq!(lanes(L::bits_interleave(x, y)), (0..L::N).map(woven).collect::<Vec<_>>());

            let index = L::bits_and(x, L::bits_splat(7));
            let found: Vec<u32> = a.iter().map(|word| TABLE[(word & 7) as usize]).collect();
            assert_eq!(lanes(L::bits_lookup(&TABLE, index)), found);

            // Bytes of 0 to 3, and 0x80 where bit 5 of a byte is set.
            let zero = L::bits_shl::<2>(L::bits_and(y, L::bits_splat(0x2020_2020)));
            let which = L::bits_and(y, L::bits_splat(0x0303_0303));
            let which = L::bits_select(L::bits_eq(zero, L::bits_splat(0)), which, zero);
            let picked = a.iter().zip(lanes(which)).map(|(word, which)| {
                let byte = |at: u8| if at == 0x80 { 0 } else { word.to_le_bytes()[usize::from(at)] };
                u32::from_le_bytes(which.to_le_bytes().map(byte))
            });
            assert_eq!(lanes(L::bits_pick_bytes(x, which)), picked.collect::<Vec<_>>());

            let mut bytes = [0xa5; 6 * MAX_LANES + 1];
            L::bits_store_three_bytes(x, &mut bytes[..3 * L::N]);
            let want: Vec<u8> = a.iter().flat_map(|word| word.to_le_bytes().into_iter().take(3)).collect();
            assert_eq!(bytes[..3 * L::N], want);
            assert!(bytes[3 * L::N..].iter().all(|&byte| byte == 0xa5), "{} lanes reach beyond their bytes", L::N);
        }
    }

    #[test]
    fn bits_go_where_they_belong_at_every_width() {
        let draws = Philox::new(5).draws(Purpose::DirectInit, 0, 0);
        let words: Vec<u32> = (0..6400).map(|index| draws.word(index)).collect();
        for simd in Simd::available() {
            simd.run(Move { words: &words });
        }
    }
}
