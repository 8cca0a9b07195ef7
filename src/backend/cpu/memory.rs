//! What the buffers of a run on the CPU come to. Whoever adds a buffer adds it here: tests/memory.rs and tests/plan.rs compare
//! the sum with what runs take.

use super::Options;
use super::classify::{Classifier, Group};
use super::niche_argmax::Winner;
use super::population::Population;
use super::select::Pair;
use super::tile::TILES;
use crate::archive::Elite;
use crate::backend::Job;
use crate::backend::memory::{Memory, Owner, Part};
use crate::genome::Encoding;
use crate::genome::cppn::{self, InputPlanes};
use std::sync::Arc;

/// What an allocation takes beyond what was asked for.
const ALLOCATION: usize = 16;

/// The memory of `job` on `threads` threads.
pub fn memory(job: &Job, options: Options, classifier: &Classifier, threads: usize) -> Memory {
    let (runs, n_niches) = (job.seeds.len(), job.classes.len());
    // A weights file is read whole, into a vector that grows by doubling; the built-in one is a part of the program.
    let read = if job.network.path.is_some() { 2 * job.network.bytes() } else { 0 };
    let network = read + job.network.bytes() + classifier.packed_bytes();
    // What one thread takes at a time, twice listed, in vectors that grew by doubling: mostly a pair of tiles; of the images
    // that fill no round of tiles less, down to one.
    let (width, share) = (options.simd.width(), 2 * (size_of::<Group>() + 5 * size_of::<usize>()));
    let mut parts = vec![
        Part::fixed("network, as read and packed", network as u64),
        Part::fixed("activations, a set each thread", (threads * classifier.scratch_bytes()) as u64),
    ];
    if let Encoding::Cppn(rules) = &job.encoding {
        let drawing = cppn::drawing_bytes(options.simd, rules, job.canvas.channels);
        parts.push(Part::fixed("input planes", InputPlanes::bytes(job.canvas) as u64));
        parts.push(Part::fixed("compiling and drawing, a set each thread", threads as u64 * drawing));
    }
    let elite = elite_bytes(job);
    // What a generation finds better, each once however many niches it wins; and lists of a niche each, in vectors that grew by
    // doubling: winners before and after a chunk, their successors, who has won where, those in turn by candidate, and copied.
    let winners = runs * n_niches.min(job.batch as usize) * elite;
    let place =
        2 * (size_of::<(u32, usize)>() + size_of::<&[(u32, usize)]>()) + size_of::<(Arc<Elite>, &[(u32, usize)])>();
    let lists =
        n_niches * (runs * (size_of::<Winner>() + size_of::<Option<Arc<Elite>>>()) + size_of::<Winner>() + place);
    parts.extend([
        Part::per_candidate("genomes", Population::genome_bytes(job) as u64),
        Part::per_candidate("images", job.canvas.len() as u64),
        Part::per_candidate("probabilities", (job.network.classes.len() * size_of::<f32>()) as u64),
        Part::per_candidate("pairs", size_of::<Pair>().div_ceil(2) as u64),
        Part {
            purpose: "shares of the threads",
            fixed: (threads * width * share) as u64,
            per_candidate: share.div_ceil(TILES * width) as u64,
        },
        Part::fixed("archive", (runs * n_niches * elite) as u64),
        Part::fixed("winners of a generation", (winners + lists) as u64),
    ]);
    Memory { owner: Owner::Host, parts }
}

/// Bytes of an elite of `job` and of its place in an archive, its genome at capacity.
pub fn elite_bytes(job: &Job) -> usize {
    /// The two counts of those who share it.
    const COUNTS: usize = 2 * size_of::<usize>();
    let probabilities = job.network.classes.len() * size_of::<f32>();
    let content = probabilities + job.canvas.len() + Population::genome_bytes(job);
    size_of::<Arc<Elite>>() + COUNTS + size_of::<Elite>() + content + 5 * ALLOCATION
}
