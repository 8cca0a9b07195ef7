//! Random numbers of the one arithmetic: Philox4x32-10, keyed by the seed and counted by
//! (draw, purpose, candidate, generation); never by thread, lane or chunk.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; the test
//! vectors are those published with it (Random123, `kat_vectors`).

use crate::simd::Lanes;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: u32 = 10;

/// What a random number is for: the third word of the counter, so that no two uses share a stream.
/// Part of the arithmetic: a changed value changes every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Parents of a pair and how it is crossed; the candidate is the pair's first child.
    Select = 0,
    /// Genes of a random direct genome.
    DirectInit = 1,
    /// Which genes of a direct genome mutate.
    DirectGate = 2,
    /// By how much they mutate.
    DirectAmount = 3,
    /// Simulated binary crossover, a word a gene: its unit is the shared number, its lowest bit (which the unit leaves
    /// out) the coin that says which child gets which new gene. The candidate is the pair's first child.
    Crossover = 4,
    /// A random CPPN: activations, then weight genes.
    CppnInit = 5,
    /// Which weight genes of a CPPN mutate.
    CppnWeightGate = 6,
    /// By how much they mutate.
    CppnWeightAmount = 7,
    /// Which activations are redrawn.
    CppnActivationGate = 8,
    /// What they become.
    CppnActivation = 9,
    /// Add an edge: 0 whether, 1 source, 2 target, 3 weight gene.
    CppnAddEdge = 10,
    /// Delete an edge: 0 whether, 1 which.
    CppnDeleteEdge = 11,
    /// Split an edge: 0 whether, 1 which, 2 the new node's activation.
    CppnSplitEdge = 12,
    /// Delete a hidden node: 0 whether, 1 which.
    CppnDeleteNode = 13,
    /// Initial weights of a network to be trained; the candidate is the layer.
    TrainInit = 14,
    /// Order of the training images; the generation is the epoch.
    TrainOrder = 15,
    /// What dropout drops; the generation is the iteration, the candidate the value and the image, the draw the element.
    Dropout = 16,
    /// Where a gradient ascent starts, whatever the class; draws 2 i and 2 i + 1 are of element i.
    AscentStart = 17,
    /// Which way a training image is cropped and mirrored; the candidate is the image of the batch, the generation the iteration.
    TrainCrop = 18,
    /// Which fooling images a network is retrained with; the generation is the round, draw k chooses the k-th image.
    RetrainSample = 19,
}

/// The generator of one run.
#[derive(Clone, Copy, Debug)]
pub struct Philox {
    key: [u32; 2],
}

impl Philox {
    /// A generator keyed by `seed`, low word first.
    pub fn new(seed: u64) -> Philox {
        Philox { key: [seed as u32, (seed >> 32) as u32] }
    }

    /// The four words at `counter`.
    #[inline]
    pub fn block(&self, counter: [u32; 4]) -> [u32; 4] {
        let [mut c0, mut c1, mut c2, mut c3] = counter;
        let [mut k0, mut k1] = self.key;
        for _ in 0..ROUNDS {
            let p0 = u64::from(MULTIPLIER[0]) * u64::from(c0);
            let p1 = u64::from(MULTIPLIER[1]) * u64::from(c2);
            (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        [c0, c1, c2, c3]
    }

    /// [`Philox::block`] for `L::N` values of the counter's first word at once.
    #[inline(always)]
    pub fn block_lanes<L: Lanes>(
        &self,
        draw: L::Bits,
        purpose: Purpose,
        candidate: u32,
        generation: u32,
    ) -> [L::Bits; 4] {
        // A product of 64 bits takes the room of two lanes, so even and odd lanes go their ways side by side. In their vectors only the
        // even lanes count: a product's high half is moved there, and its low half is there already.
        let mut c0 = [draw, L::bits_odd_to_even(draw)];
        let mut c1 = [L::bits_splat(purpose as u32); 2];
        let mut c2 = [L::bits_splat(candidate); 2];
        let mut c3 = [L::bits_splat(generation); 2];
        let [mut k0, mut k1] = self.key;
        let m0 = L::bits_splat(MULTIPLIER[0]);
        let m1 = L::bits_splat(MULTIPLIER[1]);
        for _ in 0..ROUNDS {
            for half in 0..2 {
                let p0 = L::bits_mul_even(m0, c0[half]);
                let p1 = L::bits_mul_even(m1, c2[half]);
                c0[half] = L::bits_xor(L::bits_xor(L::bits_odd_to_even(p1), c1[half]), L::bits_splat(k0));
                c2[half] = L::bits_xor(L::bits_xor(L::bits_odd_to_even(p0), c3[half]), L::bits_splat(k1));
                c1[half] = p1;
                c3[half] = p0;
            }
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        let mut words = [draw; 4];
        for (word, [even, odd]) in words.iter_mut().zip([c0, c1, c2, c3]) {
            *word = L::bits_interleave(even, odd);
        }
        words
    }

    /// The numbers of one candidate for one purpose.
    #[inline]
    pub fn draws(&self, purpose: Purpose, candidate: u32, generation: u32) -> Draws {
        Draws { philox: *self, purpose, candidate, generation }
    }
}

/// The random words of one (purpose, candidate, generation), by index.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    philox: Philox,
    purpose: Purpose,
    candidate: u32,
    generation: u32,
}

impl Draws {
    /// Words `4 * index .. 4 * index + 4`.
    #[inline]
    pub fn block(&self, index: u32) -> [u32; 4] {
        self.philox.block([index, self.purpose as u32, self.candidate, self.generation])
    }

    /// Word `index`: word `index % 4` of block `index / 4`.
    #[inline]
    pub fn word(&self, index: u32) -> u32 {
        self.block(index / 4)[index as usize % 4]
    }

    /// The word of gene `index` of a long genome. Genes are served in groups of 64 = 16 blocks of 4 words,
    /// gene `16 w + l` of a group by word `w` of block `l`: neighbouring genes then lie in neighbouring
    /// lanes (or threads) that hold neighbouring blocks, and no lane moves a word to another.
    #[inline]
    pub fn gene_word(&self, index: u32) -> u32 {
        self.block(index / 64 * 16 + index % 16)[(index / 16 % 4) as usize]
    }
}

/// Genes that a group of 16 blocks serves: see [`Draws::gene_word`].
pub const GENE_GROUP: usize = 64;

/// Uniform in [0, 1): the word's upper 24 bits times 2^-24, every value exact.
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// [`unit()`] in every lane.
#[inline(always)]
pub fn unit_lanes<L: Lanes>(words: L::Bits) -> L {
    L::from_i32(L::bits_shr::<8>(words)).mul(L::splat(1.0 / 16_777_216.0))
}

/// Uniform in `0..n` by multiply-high.
#[inline]
pub fn below(word: u32, n: u32) -> u32 {
    ((u64::from(word) * u64::from(n)) >> 32) as u32
}

/// A probability as a number of words out of 2^32: `word < threshold` holds with that probability.
///
/// Rounded down to a multiple of 2^-32; 1 becomes 2^32, which every word is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// `probability` in [0, 1]; the product with 2^32 is exact.
    pub fn new(probability: f64) -> Chance {
        debug_assert!((0.0..=1.0).contains(&probability));
        Chance((probability * 4_294_967_296.0) as u64)
    }

    /// The words below it make the event happen: at most 2^32.
    pub fn threshold(self) -> u64 {
        self.0
    }

    /// Whether the event with this chance happens for `word`.
    #[inline]
    pub fn happens(self, word: u32) -> bool {
        u64::from(word) < self.0
    }

    /// [`Chance::happens`] in every lane.
    #[inline(always)]
    pub fn happens_lanes<L: Lanes>(self, words: L::Bits) -> L::Mask {
        if self.0 > u64::from(u32::MAX) {
            return L::bits_eq(words, words);
        }
        L::bits_lt(words, L::bits_splat(self.0 as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, result.
        let cases: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            assert_eq!(Philox { key }.block(counter), want);
        }
    }

    #[test]
    fn chance_is_exact_at_its_ends() {
        assert!(!Chance::new(0.0).happens(0));
        assert!(Chance::new(1.0).happens(u32::MAX));
        assert!(Chance::new(0.5).happens(0x7fff_ffff) && !Chance::new(0.5).happens(0x8000_0000));
    }

    #[test]
    fn below_never_reaches_n() {
        assert_eq!(below(u32::MAX, 10), 9);
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u32::MAX, 1), 0);
    }
}
