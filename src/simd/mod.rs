//! Vectors of f32 lanes: one generic source for AVX-512, AVX2 and every other processor.
//!
//! A kernel is written once, generic over [`Lanes`], as a [`Vectorised`] value; [`Simd::run`] compiles
//! it for each instruction set and picks at run time. Every operation here is one IEEE operation a
//! lane, so a kernel gives the same bits at every width as long as it never mixes lanes
//! (design: "vectors run across outputs or across images").

mod aligned;
mod pack;

pub use aligned::Aligned;
pub use pack::Pack;

use std::fmt;
use std::str::FromStr;

/// An instruction set that the CPU backend has code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// Four lanes in plain Rust: any processor; the compiler uses NEON and its like where it can.
    Plain,
    /// Eight lanes, AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Sixteen lanes, AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// All there are for this kind of processor, narrowest first.
    const ALL: &[Simd] = &[
        Simd::Plain,
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2,
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512,
    ];

    /// The widest instruction set of this processor.
    pub fn detect() -> Simd {
        *Simd::available().last().expect("Plain is always there")
    }

    /// Every instruction set this processor has, narrowest first.
    pub fn available() -> Vec<Simd> {
        Simd::ALL.iter().copied().filter(|simd| simd.is_available()).collect()
    }

    /// Whether this processor has it; std keeps the answer.
    #[inline]
    fn is_available(self) -> bool {
        match self {
            Simd::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => {
                Simd::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    /// Lanes of a vector: 4, 8 or 16.
    pub fn width(self) -> usize {
        match self {
            Simd::Plain => Plain::N,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => Avx2::N,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => Avx512::N,
        }
    }

    /// Runs `kernel` with this instruction set.
    ///
    /// # Panics
    /// If this processor lacks it: take values from [`Simd::detect`] or [`Simd::available`].
    #[inline]
    pub fn run<K: Vectorised>(self, kernel: K) -> K::Output {
        assert!(self.is_available(), "this processor has no {self}");
        match self {
            Simd::Plain => kernel.run::<Plain>(),
            // SAFETY: the processor has the instructions: asserted above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Simd::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => "avx512",
        })
    }
}

impl FromStr for Simd {
    type Err = String;

    /// Reads `auto`, `plain`, `avx2` or `avx512`; refuses what this processor lacks.
    fn from_str(name: &str) -> Result<Simd, String> {
        if name == "auto" {
            return Ok(Simd::detect());
        }
        let available = Simd::available();
        available.iter().copied().find(|simd| simd.to_string() == name).ok_or_else(|| {
            let names: Vec<String> = available.iter().map(Simd::to_string).collect();
            format!("got {name:?}, this processor has: auto, {}", names.join(", "))
        })
    }
}

/// A kernel written once for all widths; its fields are its arguments.
pub trait Vectorised {
    /// What the kernel returns.
    type Output;
    /// The kernel. Mark the implementation, and what it calls in its inner loops, `#[inline(always)]`:
    /// that is how the code comes to be compiled for the chosen instruction set. No closure may touch lanes: it cannot
    /// be marked, and where it is not inlined each operation becomes a call (`.ci/run` looks for such calls).
    fn run<L: Lanes>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Vectorised>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<K: Vectorised>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// `N` lanes of f32. Each operation is the IEEE operation in every lane, rounded to nearest even.
///
/// `Bits` are the same lanes as u32; `Mask` is a truth value a lane. Comparisons with NaN are false.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// Number of lanes.
    const N: usize;
    /// The lanes as u32.
    type Bits: Copy;
    /// One truth value a lane.
    type Mask: Copy;

    fn splat(x: f32) -> Self;
    /// The first `N` values of `src`; panics if there are fewer.
    fn load(src: &[f32]) -> Self;
    /// Writes the first `N` values of `dst`; panics if there are fewer.
    fn store(self, dst: &mut [f32]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    /// `self * b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    fn lt(self, other: Self) -> Self::Mask;
    fn le(self, other: Self) -> Self::Mask;
    fn eq(self, other: Self) -> Self::Mask;
    /// `mask ? yes : no`, lane by lane.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    fn to_bits(self) -> Self::Bits;
    fn from_bits(bits: Self::Bits) -> Self;
    fn bits_splat(x: u32) -> Self::Bits;
    /// The first `N` values of `src`; panics if there are fewer.
    fn bits_load(src: &[u32]) -> Self::Bits;
    /// Writes the first `N` values of `dst`; panics if there are fewer.
    fn bits_store(bits: Self::Bits, dst: &mut [u32]);
    /// Wrapping.
    fn bits_add(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Wrapping.
    fn bits_sub(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    fn bits_and(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    fn bits_or(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    fn bits_xor(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    fn bits_shl<const S: u32>(a: Self::Bits) -> Self::Bits;
    /// Logical: zeros come in from the left.
    fn bits_shr<const S: u32>(a: Self::Bits) -> Self::Bits;
    /// The unsigned 64-bit product of each even lane: its low 32 bits there, the high ones in the odd lane after it.
    fn bits_mul_even(a: Self::Bits, b: Self::Bits) -> Self::Bits;
    /// Each odd lane's bits in the even lane before it, and 0 in the odd ones.
    fn bits_odd_to_even(a: Self::Bits) -> Self::Bits;
    /// The even lanes of `even`, and in each odd lane the even one before it of `odd`: what [`Lanes::bits_odd_to_even`] took apart.
    fn bits_interleave(even: Self::Bits, odd: Self::Bits) -> Self::Bits;
    fn bits_eq(a: Self::Bits, b: Self::Bits) -> Self::Mask;
    /// Unsigned.
    fn bits_lt(a: Self::Bits, b: Self::Bits) -> Self::Mask;
    fn bits_select(mask: Self::Mask, yes: Self::Bits, no: Self::Bits) -> Self::Bits;
    /// Toward zero, as i32 bits. The caller proves |self| < 2^31.
    fn trunc_to_i32(self) -> Self::Bits;
    /// The bits as i32, rounded to the nearest f32.
    fn from_i32(bits: Self::Bits) -> Self;

    fn mask_and(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    fn mask_or(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    fn mask_not(a: Self::Mask) -> Self::Mask;
    /// Bit i is lane i.
    fn mask_bits(a: Self::Mask) -> u64;

    /// `|self|`: the sign bit cleared.
    #[inline(always)]
    fn abs(self) -> Self {
        Self::from_bits(Self::bits_and(self.to_bits(), Self::bits_splat(0x7fff_ffff)))
    }
    /// The sign bit flipped.
    #[inline(always)]
    fn neg(self) -> Self {
        Self::from_bits(Self::bits_xor(self.to_bits(), Self::bits_splat(0x8000_0000)))
    }
    /// `self > other ? self : other` (so NaN in either gives `other`): the project's one maximum.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(other.lt(self), self, other)
    }
    /// `self < other ? self : other` (so NaN in either gives `other`): the project's one minimum.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }
    /// Writes the lowest byte of each lane to the first `N` of `dst`; panics if there are fewer.
    #[inline(always)]
    fn bits_store_bytes(bits: Self::Bits, dst: &mut [u8]) {
        let mut lanes = [0; MAX_LANES];
        Self::bits_store(bits, &mut lanes);
        for (byte, lane) in dst[..Self::N].iter_mut().zip(lanes) {
            *byte = lane as u8;
        }
    }
    /// Writes the lowest three bytes of each lane, lowest first, to the first `3 * N` of `dst`; panics if there are fewer.
    #[inline(always)]
    fn bits_store_three_bytes(bits: Self::Bits, dst: &mut [u8]) {
        let mut lanes = [0; MAX_LANES];
        Self::bits_store(bits, &mut lanes);
        for (bytes, lane) in dst[..3 * Self::N].chunks_exact_mut(3).zip(lanes) {
            bytes.copy_from_slice(&lane.to_le_bytes()[..3]);
        }
    }
    /// `table[index]` in each lane. The caller proves index < 8.
    #[inline(always)]
    fn bits_lookup(table: &[u32; 8], index: Self::Bits) -> Self::Bits {
        let mut lanes = [0; MAX_LANES];
        Self::bits_store(index, &mut lanes);
        for lane in &mut lanes[..Self::N] {
            *lane = table[(*lane & 7) as usize];
        }
        Self::bits_load(&lanes)
    }
    /// Byte i of each lane is that byte of the same lane of `bits` which byte i of `which` numbers: 0 (the lowest) to 3, or 0x80 for a
    /// byte of 0. The caller proves that there are no other numbers.
    #[inline(always)]
    fn bits_pick_bytes(bits: Self::Bits, which: Self::Bits) -> Self::Bits {
        let (mut lanes, mut numbers) = ([0; MAX_LANES], [0; MAX_LANES]);
        Self::bits_store(bits, &mut lanes);
        Self::bits_store(which, &mut numbers);
        for (lane, numbers) in lanes[..Self::N].iter_mut().zip(numbers) {
            let from = lane.to_le_bytes();
            *lane = u32::from_le_bytes(numbers.to_le_bytes().map(|at| if at < 4 { from[usize::from(at)] } else { 0 }));
        }
        Self::bits_load(&lanes)
    }
    /// Whether any lane is true.
    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        Self::mask_bits(mask) != 0
    }
    /// `src`, at most `N` values, the other lanes 0.
    #[inline(always)]
    fn load_partial(src: &[f32]) -> Self {
        let mut lanes = [0.0; MAX_LANES];
        let n = src.len().min(Self::N);
        lanes[..n].copy_from_slice(&src[..n]);
        Self::load(&lanes)
    }
    /// Writes as many lanes as `dst` holds, at most `N`.
    #[inline(always)]
    fn store_partial(self, dst: &mut [f32]) {
        let mut lanes = [0.0; MAX_LANES];
        self.store(&mut lanes);
        let n = dst.len().min(Self::N);
        dst[..n].copy_from_slice(&lanes[..n]);
    }
}

/// The most lanes of a vector.
pub const MAX_LANES: usize = 16;

/// Four lanes without intrinsics.
#[derive(Clone, Copy, Debug)]
pub struct Plain([f32; 4]);

macro_rules! lanewise {
    ($a:expr, $f:expr) => {{
        let a = $a;
        [$f(a[0]), $f(a[1]), $f(a[2]), $f(a[3])]
    }};
    ($a:expr, $b:expr, $f:expr) => {{
        let (a, b) = ($a, $b);
        [$f(a[0], b[0]), $f(a[1], b[1]), $f(a[2], b[2]), $f(a[3], b[3])]
    }};
}

impl Lanes for Plain {
    const N: usize = 4;
    type Bits = [u32; 4];
    type Mask = [bool; 4];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Plain([x; 4])
    }
    #[inline(always)]
    fn load(src: &[f32]) -> Self {
        Plain([src[0], src[1], src[2], src[3]])
    }
    #[inline(always)]
    fn store(self, dst: &mut [f32]) {
        dst[..4].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Plain(lanewise!(self.0, o.0, |x: f32, y: f32| x + y))
    }
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Plain(lanewise!(self.0, o.0, |x: f32, y: f32| x - y))
    }
    #[inline(always)]
    fn mul(self, o: Self) -> Self {
        Plain(lanewise!(self.0, o.0, |x: f32, y: f32| x * y))
    }
    #[inline(always)]
    fn div(self, o: Self) -> Self {
        Plain(lanewise!(self.0, o.0, |x: f32, y: f32| x / y))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Plain(lanewise!(self.0, f32::sqrt))
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let (a, b, c) = (self.0, b.0, c.0);
        Plain([a[0].mul_add(b[0], c[0]), a[1].mul_add(b[1], c[1]), a[2].mul_add(b[2], c[2]), a[3].mul_add(b[3], c[3])])
    }
    #[inline(always)]
    fn lt(self, o: Self) -> [bool; 4] {
        lanewise!(self.0, o.0, |x: f32, y: f32| x < y)
    }
    #[inline(always)]
    fn le(self, o: Self) -> [bool; 4] {
        lanewise!(self.0, o.0, |x: f32, y: f32| x <= y)
    }
    #[inline(always)]
    fn eq(self, o: Self) -> [bool; 4] {
        lanewise!(self.0, o.0, |x: f32, y: f32| x == y)
    }
    #[inline(always)]
    fn select(m: [bool; 4], yes: Self, no: Self) -> Self {
        Plain(std::array::from_fn(|i| if m[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    fn to_bits(self) -> [u32; 4] {
        lanewise!(self.0, f32::to_bits)
    }
    #[inline(always)]
    fn from_bits(b: [u32; 4]) -> Self {
        Plain(lanewise!(b, f32::from_bits))
    }
    #[inline(always)]
    fn bits_splat(x: u32) -> [u32; 4] {
        [x; 4]
    }
    #[inline(always)]
    fn bits_load(src: &[u32]) -> [u32; 4] {
        [src[0], src[1], src[2], src[3]]
    }
    #[inline(always)]
    fn bits_store(b: [u32; 4], dst: &mut [u32]) {
        dst[..4].copy_from_slice(&b);
    }
    #[inline(always)]
    fn bits_add(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        lanewise!(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    fn bits_sub(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        lanewise!(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    fn bits_and(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        lanewise!(a, b, |x: u32, y: u32| x & y)
    }
    #[inline(always)]
    fn bits_or(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        lanewise!(a, b, |x: u32, y: u32| x | y)
    }
    #[inline(always)]
    fn bits_xor(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        lanewise!(a, b, |x: u32, y: u32| x ^ y)
    }
    #[inline(always)]
    fn bits_shl<const S: u32>(a: [u32; 4]) -> [u32; 4] {
        lanewise!(a, |x: u32| x << S)
    }
    #[inline(always)]
    fn bits_shr<const S: u32>(a: [u32; 4]) -> [u32; 4] {
        lanewise!(a, |x: u32| x >> S)
    }
    #[inline(always)]
    fn bits_mul_even(a: [u32; 4], b: [u32; 4]) -> [u32; 4] {
        let (p, q) = (u64::from(a[0]) * u64::from(b[0]), u64::from(a[2]) * u64::from(b[2]));
        [p as u32, (p >> 32) as u32, q as u32, (q >> 32) as u32]
    }
    #[inline(always)]
    fn bits_odd_to_even(a: [u32; 4]) -> [u32; 4] {
        [a[1], 0, a[3], 0]
    }
    #[inline(always)]
    fn bits_interleave(even: [u32; 4], odd: [u32; 4]) -> [u32; 4] {
        [even[0], odd[0], even[2], odd[2]]
    }
    #[inline(always)]
    fn bits_eq(a: [u32; 4], b: [u32; 4]) -> [bool; 4] {
        lanewise!(a, b, |x: u32, y: u32| x == y)
    }
    #[inline(always)]
    fn bits_lt(a: [u32; 4], b: [u32; 4]) -> [bool; 4] {
        lanewise!(a, b, |x: u32, y: u32| x < y)
    }
    #[inline(always)]
    fn bits_select(m: [bool; 4], yes: [u32; 4], no: [u32; 4]) -> [u32; 4] {
        std::array::from_fn(|i| if m[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn trunc_to_i32(self) -> [u32; 4] {
        lanewise!(self.0, |x: f32| x as i32 as u32)
    }
    #[inline(always)]
    fn from_i32(b: [u32; 4]) -> Self {
        Plain(lanewise!(b, |x: u32| x as i32 as f32))
    }
    #[inline(always)]
    fn mask_and(a: [bool; 4], b: [bool; 4]) -> [bool; 4] {
        lanewise!(a, b, |x: bool, y: bool| x & y)
    }
    #[inline(always)]
    fn mask_or(a: [bool; 4], b: [bool; 4]) -> [bool; 4] {
        lanewise!(a, b, |x: bool, y: bool| x | y)
    }
    #[inline(always)]
    fn mask_not(a: [bool; 4]) -> [bool; 4] {
        lanewise!(a, |x: bool| !x)
    }
    #[inline(always)]
    fn mask_bits(a: [bool; 4]) -> u64 {
        u64::from(a[0]) | u64::from(a[1]) << 1 | u64::from(a[2]) << 2 | u64::from(a[3]) << 3
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// The x86 vectors. They exist only inside [`Simd::run`], which has asked the processor: that is what
/// makes every `unsafe` call of an intrinsic below sound. Loads and stores check their slice first.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Eight lanes, AVX2 and FMA.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(__m256);

    /// Sixteen lanes, AVX-512.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512(__m512);

    /// What brings the lowest three bytes of four lanes together.
    const THREE_OF_FOUR: [i8; 16] = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1];

    /// Where the lanes of sixteen bytes start.
    const STARTS: [i32; 4] = [0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c];

    /// Writes each method as one line: SAFETY of every call is the module's.
    macro_rules! methods {
        ($($name:ident ( $($arg:ident : $ty:ty),* ) -> $out:ty = $body:expr;)*) => {
            $(
                #[inline(always)]
                #[allow(unused_unsafe)]
                fn $name($($arg: $ty),*) -> $out {
                    // SAFETY: see the module: the processor has the instructions.
                    unsafe { $body }
                }
            )*
        };
    }

    impl Lanes for Avx2 {
        const N: usize = 8;
        type Bits = __m256i;
        type Mask = __m256i;

        #[inline(always)]
        fn load(src: &[f32]) -> Self {
            let src = &src[..8];
            // SAFETY: eight values were just checked to be there; the load is unaligned.
            Avx2(unsafe { _mm256_loadu_ps(src.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, dst: &mut [f32]) {
            let dst = &mut dst[..8];
            // SAFETY: room for eight values was just checked; the store is unaligned.
            unsafe { _mm256_storeu_ps(dst.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn bits_load(src: &[u32]) -> __m256i {
            let src = &src[..8];
            // SAFETY: eight values were just checked to be there; the load is unaligned.
            unsafe { _mm256_loadu_si256(src.as_ptr().cast()) }
        }
        #[inline(always)]
        fn bits_store(bits: __m256i, dst: &mut [u32]) {
            let dst = &mut dst[..8];
            // SAFETY: room for eight values was just checked; the store is unaligned.
            unsafe { _mm256_storeu_si256(dst.as_mut_ptr().cast(), bits) }
        }
        #[inline(always)]
        fn bits_store_three_bytes(bits: __m256i, dst: &mut [u8]) {
            let dst = &mut dst[..24];
            // SAFETY: room for sixteen bytes and eight more was just checked; stores and loads are unaligned.
            unsafe {
                let twelve = _mm256_broadcastsi128_si256(_mm_loadu_si128(THREE_OF_FOUR.as_ptr().cast()));
                let packed = _mm256_shuffle_epi8(bits, twelve);
                let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
                _mm_storeu_si128(dst.as_mut_ptr().cast(), _mm256_castsi256_si128(packed));
                _mm_storel_epi64(dst[16..].as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(packed));
            }
        }
        #[inline(always)]
        fn bits_lookup(table: &[u32; 8], index: __m256i) -> __m256i {
            // SAFETY: the table has eight values; the load is unaligned.
            unsafe { _mm256_permutevar8x32_epi32(_mm256_loadu_si256(table.as_ptr().cast()), index) }
        }
        #[inline(always)]
        fn bits_pick_bytes(bits: __m256i, which: __m256i) -> __m256i {
            // SAFETY: four values are there; the load is unaligned.
            unsafe {
                let starts = _mm256_broadcastsi128_si256(_mm_loadu_si128(STARTS.as_ptr().cast()));
                _mm256_shuffle_epi8(bits, _mm256_add_epi32(which, starts))
            }
        }
        #[inline(always)]
        fn add(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_add_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn sub(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_sub_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn mul(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_mul_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn div(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_div_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            Avx2(unsafe { _mm256_sqrt_ps(self.0) })
        }
        /// Of two zeros, or where either is NaN, the instruction gives the second, as `self > other` does.
        #[inline(always)]
        fn max(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_max_ps(self.0, o.0) })
        }
        /// See `max`.
        #[inline(always)]
        fn min(self, o: Self) -> Self {
            Avx2(unsafe { _mm256_min_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn lt(self, o: Self) -> __m256i {
            unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, o.0)) }
        }
        #[inline(always)]
        fn le(self, o: Self) -> __m256i {
            unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(self.0, o.0)) }
        }
        #[inline(always)]
        fn eq(self, o: Self) -> __m256i {
            unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, o.0)) }
        }
        #[inline(always)]
        fn to_bits(self) -> __m256i {
            unsafe { _mm256_castps_si256(self.0) }
        }
        #[inline(always)]
        fn trunc_to_i32(self) -> __m256i {
            unsafe { _mm256_cvttps_epi32(self.0) }
        }
        #[inline(always)]
        fn bits_shl<const S: u32>(a: __m256i) -> __m256i {
            // SAFETY: see the module.
            unsafe { _mm256_sll_epi32(a, _mm_cvtsi32_si128(S as i32)) }
        }
        #[inline(always)]
        fn bits_shr<const S: u32>(a: __m256i) -> __m256i {
            // SAFETY: see the module.
            unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(S as i32)) }
        }
        methods! {
            splat(x: f32) -> Self = Avx2(_mm256_set1_ps(x));
            select(m: __m256i, yes: Self, no: Self) -> Self = Avx2(_mm256_blendv_ps(no.0, yes.0, _mm256_castsi256_ps(m)));
            from_bits(b: __m256i) -> Self = Avx2(_mm256_castsi256_ps(b));
            bits_splat(x: u32) -> __m256i = _mm256_set1_epi32(x as i32);
            bits_add(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
            bits_sub(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
            bits_and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
            bits_or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
            bits_xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
            bits_mul_even(a: __m256i, b: __m256i) -> __m256i = _mm256_mul_epu32(a, b);
            bits_odd_to_even(a: __m256i) -> __m256i = _mm256_srli_epi64::<32>(a);
            bits_interleave(even: __m256i, odd: __m256i) -> __m256i =
                _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd));
            bits_eq(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpeq_epi32(a, b);
            bits_lt(a: __m256i, b: __m256i) -> __m256i = {
                let flip = _mm256_set1_epi32(i32::MIN); // signed comparison of shifted values is unsigned comparison
                _mm256_cmpgt_epi32(_mm256_xor_si256(b, flip), _mm256_xor_si256(a, flip))
            };
            bits_select(m: __m256i, yes: __m256i, no: __m256i) -> __m256i = _mm256_blendv_epi8(no, yes, m);
            from_i32(b: __m256i) -> Self = Avx2(_mm256_cvtepi32_ps(b));
            mask_and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
            mask_or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
            mask_not(a: __m256i) -> __m256i = _mm256_xor_si256(a, _mm256_set1_epi32(-1));
            mask_bits(a: __m256i) -> u64 = _mm256_movemask_ps(_mm256_castsi256_ps(a)) as u64;
        }
    }

    impl Lanes for Avx512 {
        const N: usize = 16;
        type Bits = __m512i;
        type Mask = __mmask16;

        #[inline(always)]
        fn load(src: &[f32]) -> Self {
            let src = &src[..16];
            // SAFETY: sixteen values were just checked to be there; the load is unaligned.
            Avx512(unsafe { _mm512_loadu_ps(src.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, dst: &mut [f32]) {
            let dst = &mut dst[..16];
            // SAFETY: room for sixteen values was just checked; the store is unaligned.
            unsafe { _mm512_storeu_ps(dst.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn bits_load(src: &[u32]) -> __m512i {
            let src = &src[..16];
            // SAFETY: sixteen values were just checked to be there; the load is unaligned.
            unsafe { _mm512_loadu_si512(src.as_ptr().cast()) }
        }
        #[inline(always)]
        fn bits_store(bits: __m512i, dst: &mut [u32]) {
            let dst = &mut dst[..16];
            // SAFETY: room for sixteen values was just checked; the store is unaligned.
            unsafe { _mm512_storeu_si512(dst.as_mut_ptr().cast(), bits) }
        }
        #[inline(always)]
        fn bits_store_bytes(bits: __m512i, dst: &mut [u8]) {
            let dst = &mut dst[..16];
            // SAFETY: room for sixteen bytes was just checked; the store is unaligned.
            unsafe { _mm_storeu_si128(dst.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(bits)) }
        }
        #[inline(always)]
        fn bits_store_three_bytes(bits: __m512i, dst: &mut [u8]) {
            let dst = &mut dst[..48];
            // SAFETY: room for 32 bytes and sixteen more was just checked; stores and loads are unaligned.
            unsafe {
                let twelve = _mm512_broadcast_i32x4(_mm_loadu_si128(THREE_OF_FOUR.as_ptr().cast()));
                let packed = _mm512_shuffle_epi8(bits, twelve);
                let order = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
                let packed = _mm512_permutexvar_epi32(order, packed);
                _mm256_storeu_si256(dst.as_mut_ptr().cast(), _mm512_castsi512_si256(packed));
                _mm_storeu_si128(dst[32..].as_mut_ptr().cast(), _mm512_extracti32x4_epi32::<2>(packed));
            }
        }
        #[inline(always)]
        fn bits_lookup(table: &[u32; 8], index: __m512i) -> __m512i {
            // SAFETY: the table has eight values; the load is unaligned. Of the index the lowest four bits count, which are below 8.
            unsafe {
                let table = _mm512_broadcast_i64x4(_mm256_loadu_si256(table.as_ptr().cast()));
                _mm512_permutexvar_epi32(index, table)
            }
        }
        #[inline(always)]
        fn bits_pick_bytes(bits: __m512i, which: __m512i) -> __m512i {
            // SAFETY: four values are there; the load is unaligned.
            unsafe {
                let starts = _mm512_broadcast_i32x4(_mm_loadu_si128(STARTS.as_ptr().cast()));
                _mm512_shuffle_epi8(bits, _mm512_add_epi32(which, starts))
            }
        }
        #[inline(always)]
        fn add(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn sub(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_sub_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn mul(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_mul_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn div(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_div_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            Avx512(unsafe { _mm512_sqrt_ps(self.0) })
        }
        /// Of two zeros, or where either is NaN, the instruction gives the second, as `self > other` does.
        #[inline(always)]
        fn max(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_max_ps(self.0, o.0) })
        }
        /// See `max`.
        #[inline(always)]
        fn min(self, o: Self) -> Self {
            Avx512(unsafe { _mm512_min_ps(self.0, o.0) })
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        fn lt(self, o: Self) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn le(self, o: Self) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn eq(self, o: Self) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, o.0) }
        }
        #[inline(always)]
        fn to_bits(self) -> __m512i {
            unsafe { _mm512_castps_si512(self.0) }
        }
        #[inline(always)]
        fn trunc_to_i32(self) -> __m512i {
            unsafe { _mm512_cvttps_epi32(self.0) }
        }
        #[inline(always)]
        fn bits_shl<const S: u32>(a: __m512i) -> __m512i {
            // SAFETY: see the module.
            unsafe { _mm512_slli_epi32::<S>(a) }
        }
        #[inline(always)]
        fn bits_shr<const S: u32>(a: __m512i) -> __m512i {
            // SAFETY: see the module.
            unsafe { _mm512_srli_epi32::<S>(a) }
        }
        methods! {
            splat(x: f32) -> Self = Avx512(_mm512_set1_ps(x));
            select(m: __mmask16, yes: Self, no: Self) -> Self = Avx512(_mm512_mask_blend_ps(m, no.0, yes.0));
            from_bits(b: __m512i) -> Self = Avx512(_mm512_castsi512_ps(b));
            bits_splat(x: u32) -> __m512i = _mm512_set1_epi32(x as i32);
            bits_add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
            bits_sub(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
            bits_and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
            bits_or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
            bits_xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
            bits_mul_even(a: __m512i, b: __m512i) -> __m512i = _mm512_mul_epu32(a, b);
            bits_odd_to_even(a: __m512i) -> __m512i = _mm512_srli_epi64::<32>(a);
            bits_interleave(even: __m512i, odd: __m512i) -> __m512i =
                _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd));
            bits_eq(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpeq_epi32_mask(a, b);
            bits_lt(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmplt_epu32_mask(a, b);
            bits_select(m: __mmask16, yes: __m512i, no: __m512i) -> __m512i = _mm512_mask_blend_epi32(m, no, yes);
            from_i32(b: __m512i) -> Self = Avx512(_mm512_cvtepi32_ps(b));
            mask_and(a: __mmask16, b: __mmask16) -> __mmask16 = a & b;
            mask_or(a: __mmask16, b: __mmask16) -> __mmask16 = a | b;
            mask_not(a: __mmask16) -> __mmask16 = !a;
            mask_bits(a: __mmask16) -> u64 = u64::from(a);
        }
    }
}
