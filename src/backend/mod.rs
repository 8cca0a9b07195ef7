//! Backends: where the steps of a generation run. The experiments know steps; the backends know buffers.

pub mod cpu;
pub mod memory;

use crate::archive::{Archive, Statistics};
use crate::error::Result;
use crate::genome::{Canvas, Encoding};
use crate::network::Network;
use std::ops::Range;
use std::sync::Arc;

/// All that decides an evolution run, whatever the backend.
#[derive(Clone, Debug)]
pub struct Job {
    pub seed: u64,
    /// Candidates a generation; even.
    pub batch: u32,
    pub canvas: Canvas,
    pub encoding: Encoding,
    /// The class of each niche, ascending.
    pub classes: Vec<u32>,
    pub network: Arc<Network>,
}

/// What the host learns of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The generation just finished.
    pub generation: u32,
    /// Niches whose elite changed in it.
    pub replaced: u32,
    /// Operators skipped for lack of capacity, since generation 0.
    pub skipped: u64,
    /// Confidence of each niche's elite, `(n_niches)`.
    pub fitness: Vec<f32>,
    /// The archive's hash.
    pub archive_hash: u64,
}

impl Counters {
    /// Statistics of the fitness.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.fitness)
    }
}

/// One method a step. A generation is worked through in chunks of candidates; a chunk passes through the steps from
/// [`Backend::select`] to [`Backend::niche_argmax`], and parents stay frozen until [`Backend::insert`] ends it.
/// Chunks start and end at even candidates, since candidates are born in pairs.
///
/// # Errors
/// Every step may fail on a device; the CPU's do not.
pub trait Backend {
    /// What it runs on, for people.
    fn describe(&self) -> String;

    /// Candidates that one chunk may hold.
    fn chunk(&self) -> u32;

    /// Makes the random genomes of generation 0.
    fn randomise(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Draws the parents of each pair from the archive, and how the pair is made from them.
    fn select(&mut self, generation: u32, chunk: Range<u32>) -> Result<()>;

    /// Makes the children's genomes: crossover, mutation.
    fn vary(&mut self, generation: u32, chunk: Range<u32>) -> Result<()>;

    /// Draws the genomes: 8-bit images.
    fn render(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Runs the network: class probabilities of the images.
    fn classify(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Finds the best candidate for every niche, keeping those that beat the niche's elite and the chunks before:
    /// strictly greater wins, of equals the lowest index.
    fn niche_argmax(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Puts the winners into the archive and ends the generation.
    fn insert(&mut self, generation: u32) -> Result<()>;

    /// The counters of the last generation.
    fn counters(&mut self) -> Result<Counters>;

    /// The archive, brought to the host.
    fn archive(&mut self) -> Result<Archive>;

    /// Goes on from `archive`, with `skipped` operators counted so far.
    fn restore(&mut self, archive: Archive, skipped: u64) -> Result<()>;

    /// One whole generation of `batch` candidates; generation 0 is the random one.
    fn generation(&mut self, generation: u32, batch: u32) -> Result<()> {
        let mut start = 0;
        while start < batch {
            let chunk = start..batch.min(start.saturating_add(self.chunk()));
            start = chunk.end;
            if generation == 0 {
                self.randomise(chunk.clone())?;
            } else {
                self.select(generation, chunk.clone())?;
                self.vary(generation, chunk.clone())?;
            }
            self.render(chunk.clone())?;
            self.classify(chunk.clone())?;
            self.niche_argmax(chunk)?;
        }
        self.insert(generation)
    }
}
