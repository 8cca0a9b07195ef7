//! Direct genomes: a value per pixel and channel (spec section 4).

use super::colour_lanes;
use super::mutation::{clip, polynomial_mutation};
use crate::math;
use crate::rng::{Chance, GENE_GROUP, Philox, Purpose, unit_lanes};
use crate::simd::{Lanes, MAX_LANES, Simd, Vectorised};
use serde::{Deserialize, Serialize};

/// How a pair of direct genomes is crossed (spec 4.3 and 13, row 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crossover {
    /// SBX as the paper's code has it: genes on which the parents agree become 0.5.
    AsCoded,
    /// SBX with that defect mended: genes on which the parents agree are copied.
    Repaired,
    /// The children are copies of their parents.
    None,
}

/// How direct genomes vary (spec section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Probability that a gene mutates, at first.
    pub mutation_rate: f64,
    /// Generations after which the rate halves; 0 for never.
    pub halve_every: u32,
    /// Distribution index of the polynomial mutation.
    pub mutation_eta: u32,
    pub crossover: Crossover,
    /// Probability that a pair is crossed.
    pub crossover_rate: f64,
    /// Distribution index of the crossover.
    pub crossover_eta: u32,
}

impl Default for Rules {
    /// The numbers of spec sections 4 and 6, `faithful`.
    fn default() -> Rules {
        Rules {
            mutation_rate: 0.1,
            halve_every: 1000,
            mutation_eta: 15,
            crossover: Crossover::AsCoded,
            crossover_rate: 0.5,
            crossover_eta: 10,
        }
    }
}

impl Rules {
    /// Probability that a gene mutates in `generation` (spec 4.4; halving is exact).
    pub fn rate(&self, generation: u32) -> f64 {
        let halvings = generation.checked_div(self.halve_every).unwrap_or(0);
        // Beyond 2^-1074 the smallest f64 is 0 anyway, so that the loop is short.
        (0..halvings.min(1100)).fold(self.mutation_rate, |rate, _| rate * 0.5)
    }
}

/// Fills `genes` with the random genome of `candidate`: every gene uniform in [0, 1).
pub fn random(simd: Simd, genes: &mut [f32], philox: &Philox, candidate: u32) {
    simd.run(Random { genes, philox, candidate });
}

struct Random<'a> {
    genes: &'a mut [f32],
    philox: &'a Philox,
    candidate: u32,
}

impl Vectorised for Random<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (group, genes) in self.genes.chunks_mut(GENE_GROUP).enumerate() {
            for part in (0..LANES_OF_A_WORD).step_by(L::N) {
                let words = self.philox.block_lanes::<L>(
                    block_indices::<L>(group, part),
                    Purpose::DirectInit,
                    self.candidate,
                    0,
                );
                for (w, word) in words.into_iter().enumerate() {
                    if let Some(genes) = genes.get_mut(LANES_OF_A_WORD * w + part..) {
                        unit_lanes::<L>(word).store_partial(genes);
                    }
                }
            }
        }
    }
}

/// Mutates `genes`, each with the rate of `generation`: polynomial mutation, clipped to [0, 1] (spec 4.2).
pub fn mutate(simd: Simd, genes: &mut [f32], rules: &Rules, philox: &Philox, candidate: u32, generation: u32) {
    let chance = Chance::new(rules.rate(generation));
    simd.run(Mutate { parent: None, genes, chance, eta: rules.mutation_eta, philox, candidate, generation });
}

/// Makes `child` a copy of `parent` that is mutated as [`mutate`] does it, in one pass. Both are of one length.
pub fn mutate_copy(
    simd: Simd,
    child: &mut [f32],
    parent: &[f32],
    rules: &Rules,
    philox: &Philox,
    candidate: u32,
    generation: u32,
) {
    assert_eq!(child.len(), parent.len(), "genomes of two lengths");
    let chance = Chance::new(rules.rate(generation));
    let (parent, eta) = (Some(parent), rules.mutation_eta);
    simd.run(Mutate { parent, genes: child, chance, eta, philox, candidate, generation });
}

/// Mapping  a run of [`RUN`] genes at a time, which stays in the first-level cache: the genes whose gate is open are written down,
///          then mutated side by side, a gene a lane, each with the block of words that its own is in. Where most gates are
///          open, lanes are neighbouring genes instead, and what is made for the others is dropped.
/// Cost     a block of words for four genes, another and a mutation for each that mutates.
/// Numbers  each gene by itself: exact at every width.
struct Mutate<'a> {
    /// What `genes` are to be copied from first.
    parent: Option<&'a [f32]>,
    genes: &'a mut [f32],
    chance: Chance,
    eta: u32,
    philox: &'a Philox,
    candidate: u32,
    generation: u32,
}

/// Genes of a run: whole groups.
const RUN: usize = 8 * GENE_GROUP;

/// Words out of 2^32 below which a gate is rarely enough open for its gene to be written down.
const RARE: u64 = 1 << 30;

/// What is written down of the genes of a run that mutate, with room for a vector beyond.
struct Hits {
    /// Where in the run they are.
    places: [u32; RUN + MAX_LANES],
    /// Uniform in [0, 1).
    units: [f32; RUN + MAX_LANES],
    genes: [f32; RUN + MAX_LANES],
}

impl Vectorised for Mutate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        const ROOM: usize = RUN + MAX_LANES;
        let mut hits = Hits { places: [0; ROOM], units: [0.0; ROOM], genes: [0.0; ROOM] };
        let Mutate { parent, genes, chance, eta, philox, candidate, generation } = self;
        let mutation = Mutation { chance, eta, philox, candidate, generation };
        for (run, genes) in genes.chunks_mut(RUN).enumerate() {
            let parent = parent.map(|parent| &parent[run * RUN..][..genes.len()]);
            let first_group = run * (RUN / GENE_GROUP);
            if chance.threshold() < RARE {
                let n_hits = mutation.find::<L>(&mut hits.places, first_group, genes, parent);
                mutation.mutate_hits::<L>(&mut hits, n_hits, first_group, genes);
            } else {
                if let Some(parent) = parent {
                    genes.copy_from_slice(parent);
                }
                mutation.mutate_most::<L>(first_group, genes);
            }
        }
    }
}

/// The mutation of one candidate.
#[derive(Clone, Copy)]
struct Mutation<'a> {
    chance: Chance,
    eta: u32,
    philox: &'a Philox,
    candidate: u32,
    generation: u32,
}

impl Mutation<'_> {
    /// Finds the genes that mutate in the run that begins with `first_group`; how many. On the way `genes` become a copy of
    /// `parent`, if there is one: while memory is waited for there is something to count.
    #[inline(always)]
    fn find<L: Lanes>(
        &self,
        places: &mut [u32; RUN + MAX_LANES],
        first_group: usize,
        genes: &mut [f32],
        parent: Option<&[f32]>,
    ) -> usize {
        let mut n_hits = 0;
        for (group, genes) in genes.chunks_mut(GENE_GROUP).enumerate() {
            if let Some(parent) = parent {
                copy_group::<L>(genes, &parent[group * GENE_GROUP..][..genes.len()]);
            }
            let mut open = 0u64; // bit i is gene i of the group
            for part in (0..LANES_OF_A_WORD).step_by(L::N) {
                let block = block_indices::<L>(first_group + group, part);
                let words = self.philox.block_lanes::<L>(block, Purpose::DirectGate, self.candidate, self.generation);
                for (w, word) in words.into_iter().enumerate() {
                    open |= L::mask_bits(self.chance.happens_lanes::<L>(word)) << (LANES_OF_A_WORD * w + part);
                }
            }
            if genes.len() < GENE_GROUP {
                open &= (1 << genes.len()) - 1;
            }
            while open != 0 {
                places[n_hits] = (group * GENE_GROUP) as u32 + open.trailing_zeros();
                n_hits += 1;
                open &= open - 1;
            }
        }
        n_hits
    }

    /// Mutates those of the `genes` of a run that are the first `n_hits` of `hits`.
    #[inline(always)]
    fn mutate_hits<L: Lanes>(&self, hits: &mut Hits, n_hits: usize, first_group: usize, genes: &mut [f32]) {
        let places = &hits.places[..n_hits];
        for (gene, &place) in hits.genes.iter_mut().zip(places) {
            *gene = genes[place as usize];
        }
        // Beyond the last hit are places and genes of earlier ones: what becomes of them is not used.
        for start in (0..n_hits).step_by(L::N) {
            let place = L::bits_load(&hits.places[start..]);
            let group = L::bits_add(L::bits_splat(first_group as u32), L::bits_shr::<6>(place));
            let block = L::bits_add(L::bits_shl::<4>(group), L::bits_and(place, L::bits_splat(15)));
            let [a, b, c, d] =
                self.philox.block_lanes::<L>(block, Purpose::DirectAmount, self.candidate, self.generation);
            let is_even = L::bits_eq(L::bits_and(place, L::bits_splat(16)), L::bits_splat(0));
            let is_low = L::bits_eq(L::bits_and(place, L::bits_splat(32)), L::bits_splat(0));
            let amount = L::bits_select(is_low, L::bits_select(is_even, a, b), L::bits_select(is_even, c, d));
            unit_lanes::<L>(amount).store(&mut hits.units[start..]);
        }
        // By itself: so short a loop that the roots of several vectors are under way at once.
        for start in (0..n_hits).step_by(L::N) {
            let (old, unit) = (L::load(&hits.genes[start..]), L::load(&hits.units[start..]));
            polynomial_mutation(old, unit, self.eta).store(&mut hits.genes[start..]);
        }
        for (&gene, &place) in hits.genes.iter().zip(places) {
            genes[place as usize] = gene;
        }
    }

    /// Mutates `genes`, a run, most of which do.
    #[inline(always)]
    fn mutate_most<L: Lanes>(&self, first_group: usize, genes: &mut [f32]) {
        for (group, genes) in genes.chunks_mut(GENE_GROUP).enumerate() {
            for part in (0..LANES_OF_A_WORD).step_by(L::N) {
                let block = block_indices::<L>(first_group + group, part);
                let gates = self.philox.block_lanes::<L>(block, Purpose::DirectGate, self.candidate, self.generation);
                let amounts =
                    self.philox.block_lanes::<L>(block, Purpose::DirectAmount, self.candidate, self.generation);
                for w in 0..4 {
                    let Some(genes) = genes.get_mut(LANES_OF_A_WORD * w + part..) else { break };
                    let old = L::load_partial(genes);
                    let new = polynomial_mutation(old, unit_lanes::<L>(amounts[w]), self.eta);
                    L::select(self.chance.happens_lanes::<L>(gates[w]), new, old).store_partial(genes);
                }
            }
        }
    }
}

/// Copies `from` to a group, which may be the cut one at the end.
#[inline(always)]
fn copy_group<L: Lanes>(group: &mut [f32], from: &[f32]) {
    let mut whole = group.chunks_exact_mut(L::N);
    let mut vectors = from.chunks_exact(L::N);
    for (to, from) in (&mut whole).zip(&mut vectors) {
        L::load(from).store(to);
    }
    let rest = whole.into_remainder();
    rest.copy_from_slice(vectors.remainder());
}

/// Simulated binary crossover: makes both children of a pair from its parents (spec 4.3).
///
/// All four slices have the length of a genome; `candidate` is the first child. `rules.crossover` says what becomes of genes
/// on which the parents agree; with [`Crossover::None`] no pair is crossed and this is not called.
pub fn cross(
    simd: Simd,
    children: [&mut [f32]; 2],
    parents: [&[f32]; 2],
    rules: &Rules,
    philox: &Philox,
    candidate: u32,
    generation: u32,
) {
    let repaired = rules.crossover == Crossover::Repaired;
    simd.run(Cross { children, parents, repaired, eta: rules.crossover_eta, philox, candidate, generation });
}

struct Cross<'a> {
    children: [&'a mut [f32]; 2],
    parents: [&'a [f32]; 2],
    repaired: bool,
    eta: u32,
    philox: &'a Philox,
    candidate: u32,
    generation: u32,
}

impl Vectorised for Cross<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let [first, second] = self.children;
        for group in 0..first.len().div_ceil(GENE_GROUP) {
            for part in (0..LANES_OF_A_WORD).step_by(L::N) {
                let block = block_indices::<L>(group, part);
                let words = self.philox.block_lanes::<L>(block, Purpose::Crossover, self.candidate, self.generation);
                for (w, word) in words.into_iter().enumerate() {
                    let at = GENE_GROUP * group + LANES_OF_A_WORD * w + part;
                    if at >= first.len() {
                        break;
                    }
                    let a = L::load_partial(&self.parents[0][at..]);
                    let b = L::load_partial(&self.parents[1][at..]);
                    let (c1, c2) = cross_genes::<L>(a, b, word, self.eta, self.repaired);
                    c1.store_partial(&mut first[at..]);
                    c2.store_partial(&mut second[at..]);
                }
            }
        }
    }
}

/// Both children's genes from both parents' `a` and `b`, and one random word.
#[inline(always)]
fn cross_genes<L: Lanes>(a: L, b: L, word: L::Bits, eta: u32, repaired: bool) -> (L, L) {
    let one = L::splat(1.0);
    let u = unit_lanes::<L>(word);
    let a_is_lower = a.lt(b);
    let low = L::select(a_is_lower, a, b);
    let high = L::select(a_is_lower, b, a);
    let gap = high.sub(low);
    let apart = L::splat(f32::EPSILON).lt(gap);

    let half = L::splat(0.5);
    let sum = low.add(high);
    let lower = clip(sum.sub(spread(u, low, gap, eta).mul(gap)).mul(half));
    let upper = clip(sum.add(spread(u, one.sub(high), gap, eta).mul(gap)).mul(half));

    let coin = L::bits_eq(L::bits_and(word, L::bits_splat(1)), L::bits_splat(1));
    let (same1, same2) = if repaired { (a, b) } else { (half, half) };
    (L::select(apart, L::select(coin, upper, lower), same1), L::select(apart, L::select(coin, lower, upper), same2))
}

/// The spread factor of one side for the uniform number `u`; `room` is the distance of the side's parent to its bound.
#[inline(always)]
fn spread<L: Lanes>(u: L, room: L, gap: L, eta: u32) -> L {
    let (one, two) = (L::splat(1.0), L::splat(2.0));
    let bound = one.add(two.mul(room).div(gap));
    let alpha = two.sub(math::pow_neg(bound, eta + 1));
    let inner = u.mul(alpha);
    let within = u.le(one.div(alpha));
    math::root(L::select(within, inner, one.div(two.sub(inner))), eta + 1)
}

/// Genes of a group that one word of a block serves: [`crate::rng::Draws::gene_word`].
const LANES_OF_A_WORD: usize = 16;

/// Block numbers of lanes `part..part + L::N` of a group of genes.
#[inline(always)]
fn block_indices<L: Lanes>(group: usize, part: usize) -> L::Bits {
    const LANE: [u32; LANES_OF_A_WORD] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    L::bits_add(L::bits_splat((group * LANES_OF_A_WORD) as u32), L::bits_load(&LANE[part..]))
}

/// Draws a direct genome on `image`, `(pixels, channels)`: a byte a gene, by the rule of [`super::pixel`]; of three channels they are hue,
/// lightness and saturation, which become RGB (spec 4.1 and 5.7).
///
/// # Panics
/// If there is not a byte for each gene, or channels are not 1 or 3.
pub fn render(simd: Simd, channels: usize, image: &mut [u8], genes: &[f32]) {
    assert_eq!(image.len(), genes.len(), "an image of another size");
    match channels {
        1 => image.iter_mut().zip(genes).for_each(|(pixel, &gene)| *pixel = super::pixel(gene)),
        3 => simd.run(RenderColour { image, genes }),
        n => panic!("an image has 1 or 3 channels, not {n}"),
    }
}

struct RenderColour<'a> {
    image: &'a mut [u8],
    genes: &'a [f32],
}

impl Vectorised for RenderColour<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (pixels, genes) in self.image.chunks_mut(3 * L::N).zip(self.genes.chunks(3 * L::N)) {
            let mut hls = [[0.0; MAX_LANES]; 3];
            for (lane, genes) in genes.chunks_exact(3).enumerate() {
                for (channel, &gene) in genes.iter().enumerate() {
                    hls[channel][lane] = gene;
                }
            }
            let rgb = colour_lanes::<L>(&hls[0], &hls[1], &hls[2]);
            if pixels.len() == 3 * L::N {
                L::bits_store_three_bytes(rgb, pixels);
            } else {
                let mut bytes = [0; 3 * MAX_LANES];
                L::bits_store_three_bytes(rgb, &mut bytes);
                pixels.copy_from_slice(&bytes[..pixels.len()]);
            }
        }
    }
}
