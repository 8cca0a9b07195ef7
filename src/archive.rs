//! The archive: the best genome known for every niche, its statistics and its hash.
//!
//! # The hash
//!
//! All arithmetic is on u64 and wraps. `mix` is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable
//! Pseudorandom Number Generators", OOPSLA 2014, with Stafford's constants, variant 13).
//!
//! - An elite is a sequence of 32-bit words `w[0..n]`: the number of class probabilities, their f32 bits; the number of
//!   bytes of the image, those bytes as little-endian words (the last one filled with zeros); 0 for a direct genome, the
//!   number of its genes, their f32 bits, or 1 for a CPPN and the words of [`Graph::words`](crate::genome::cppn::Graph).
//! - Its content hash is `mix(n + sum over i of mix(i << 32 | w[i]))`: a sum, so that any number of threads may make it.
//! - The archive hash starts from `h = mix(ARITHMETIC_VERSION << 32 | generation)`; each niche in order makes it
//!   `h = mix(mix(h + class) ^ content)`.

use crate::genome::Genome;
use std::sync::Arc;

/// Names the rules of the one arithmetic. Part of every hash, checkpoint and manifest; changes when a rule does.
pub const ARITHMETIC_VERSION: u32 = 1;

/// The finaliser of SplitMix64: a bijection of u64 that mixes every bit into every other.
#[inline]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Builds a content hash word by word.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentHasher {
    n: u64,
    sum: u64,
}

impl ContentHasher {
    /// Appends `word`.
    #[inline]
    pub fn word(&mut self, word: u32) {
        self.sum = self.sum.wrapping_add(mix(self.n << 32 | u64::from(word)));
        self.n += 1;
    }

    /// The hash of the words so far.
    pub fn finish(self) -> u64 {
        mix(self.sum.wrapping_add(self.n))
    }
}

/// The content hash of an elite: see the module's text.
pub fn content_hash(probabilities: &[f32], image: &[u8], genome: &Genome) -> u64 {
    let mut hasher = ContentHasher::default();
    hasher.word(probabilities.len() as u32);
    probabilities.iter().for_each(|p| hasher.word(p.to_bits()));
    hasher.word(image.len() as u32);
    for bytes in image.chunks(4) {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        hasher.word(u32::from_le_bytes(word));
    }
    match genome {
        Genome::Direct(genes) => {
            hasher.word(0);
            hasher.word(genes.len() as u32);
            genes.iter().for_each(|gene| hasher.word(gene.to_bits()));
        }
        Genome::Cppn(graph) => {
            hasher.word(1);
            graph.words(&mut |word| hasher.word(word));
        }
    }
    hasher.finish()
}

/// The best genome known for a niche, with all that was seen of it when it entered.
#[derive(Clone, Debug, PartialEq)]
pub struct Elite {
    /// The network's probability of each class, `(n_classes)`; the niche's own is its fitness.
    pub probabilities: Vec<f32>,
    /// The 8-bit image that was scored, `(height, width, channels)`.
    pub image: Vec<u8>,
    pub genome: Genome,
    /// Generation and index within its batch at which it was born.
    pub born: (u32, u32),
    /// [`content_hash`] of the first three.
    pub content_hash: u64,
}

/// One elite per niche, after a whole generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Archive {
    /// The generation after which this is the archive.
    pub generation: u32,
    /// The class of each niche, ascending: all of the network's, or those the run was asked for.
    pub classes: Vec<u32>,
    /// The elite of each niche. One that has several niches is there once; a copy of the archive copies none.
    pub elites: Vec<Arc<Elite>>,
}

impl Archive {
    /// Confidence of each niche's elite in the niche's class, `(n_niches)`.
    pub fn fitness(&self) -> Vec<f32> {
        self.classes.iter().zip(&self.elites).map(|(&class, elite)| elite.probabilities[class as usize]).collect()
    }

    /// The archive hash: see the module's text.
    pub fn hash(&self) -> u64 {
        let start = mix(u64::from(ARITHMETIC_VERSION) << 32 | u64::from(self.generation));
        self.classes
            .iter()
            .zip(&self.elites)
            .fold(start, |hash, (&class, elite)| mix(mix(hash.wrapping_add(u64::from(class))) ^ elite.content_hash))
    }

    /// Number of different individuals among the elites.
    pub fn distinct(&self) -> usize {
        let mut hashes: Vec<u64> = self.elites.iter().map(|elite| elite.content_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }
}

/// What the confidences of an archive come to.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// The mean of the two middle values where the count is even (spec, section 3).
    pub median: f64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// Niches at or above each confidence.
    pub over_9: usize,
    pub over_99: usize,
    pub over_999: usize,
    pub over_9999: usize,
}

impl Statistics {
    /// Statistics of `fitness`, summed in ascending order in f64.
    ///
    /// # Panics
    /// If `fitness` is empty: an archive has at least one niche.
    pub fn of(fitness: &[f32]) -> Statistics {
        let mut sorted: Vec<f64> = fitness.iter().map(|&f| f64::from(f)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        let at_least = |threshold: f32| fitness.iter().filter(|&&f| f >= threshold).count();
        Statistics {
            median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
            mean: sorted.iter().sum::<f64>() / n as f64,
            min: sorted[0],
            max: sorted[n - 1],
            over_9: at_least(0.9),
            over_99: at_least(0.99),
            over_999: at_least(0.999),
            over_9999: at_least(0.9999),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elite(probabilities: &[f32]) -> Arc<Elite> {
        let (image, genome) = (vec![1, 2, 3, 4, 5], Genome::Direct(vec![0.25, 1.0]));
        let content_hash = content_hash(probabilities, &image, &genome);
        Arc::new(Elite { probabilities: probabilities.to_vec(), image, genome, born: (3, 7), content_hash })
    }

    #[test]
    fn mix_is_the_finaliser_of_splitmix64() {
        // SplitMix64 seeded with 1234567: its first output is mix(seed + golden gamma).
        assert_eq!(mix(1_234_567_u64.wrapping_add(0x9e37_79b9_7f4a_7c15)), 6_457_827_717_110_365_317);
    }

    #[test]
    fn archive_hash_sees_every_part() {
        let archive =
            Archive { generation: 9, classes: vec![0, 1], elites: vec![elite(&[0.75, 0.25]), elite(&[0.5, 0.5])] };
        let mut variants = vec![archive.clone(); 4];
        variants[0].generation = 10;
        variants[1].classes = vec![0, 2];
        variants[2].elites.swap(0, 1);
        Arc::make_mut(&mut variants[3].elites[0]).content_hash ^= 1;
        for variant in variants {
            assert_ne!(variant.hash(), archive.hash());
        }
        let image = [1, 2, 3, 4, 5];
        let base = content_hash(&[0.75, 0.25], &image, &Genome::Direct(vec![0.25, 1.0]));
        for other in [
            content_hash(&[0.25, 0.75], &image, &Genome::Direct(vec![0.25, 1.0])),
            content_hash(&[0.75, 0.25], &[1, 2, 3, 4, 6], &Genome::Direct(vec![0.25, 1.0])),
            content_hash(&[0.75, 0.25], &[1, 2, 3, 4, 5, 0], &Genome::Direct(vec![0.25, 1.0])),
            content_hash(&[0.75, 0.25], &image, &Genome::Direct(vec![1.0, 0.25])),
            content_hash(&[0.75, 0.25], &image, &Genome::Direct(vec![0.25])),
        ] {
            assert_ne!(other, base);
        }
    }

    #[test]
    fn median_of_an_even_count_is_the_mean_of_the_middle() {
        let statistics = Statistics::of(&[0.9999, 0.25, 0.75, 1.0]);
        assert_eq!(statistics.median, (f64::from(0.75_f32) + f64::from(0.9999_f32)) / 2.0);
        assert_eq!((statistics.min, statistics.max), (0.25, 1.0));
        assert_eq!((statistics.over_9, statistics.over_9999), (2, 2));
        assert_eq!(Statistics::of(&[0.5, 0.1, 0.9]).median, 0.5);
    }
}
