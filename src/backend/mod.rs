//! Backends: where the steps of a generation run. The experiments know steps; the backends know buffers.

pub mod ascent;
pub mod climber;
pub mod cpu;
pub mod cuda;
pub mod memory;
pub mod training;

use crate::archive::{Archive, Statistics};
use crate::error::{Error, Result};
use crate::genome::{Canvas, Encoding, Genome};
use crate::network::Network;
use std::ops::Range;
use std::sync::Arc;

/// All that decides an evolution, whatever the backend.
#[derive(Clone, Debug)]
pub struct Job {
    /// The seed of each run, at least one. Runs know nothing of one another; they share chunks and threads.
    pub seeds: Vec<u64>,
    /// Candidates a generation of each run; even.
    pub batch: u32,
    pub canvas: Canvas,
    pub encoding: Encoding,
    /// The class of each niche, ascending.
    pub classes: Vec<u32>,
    pub network: Arc<Network>,
    /// Whether it is kept who wins which niche, for [`Backend::insertions`]. It changes no result.
    pub lineage: bool,
}

/// A candidate that entered an archive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Insertion {
    /// In which it was born, and its number within that.
    pub generation: u32,
    pub candidate: u32,
    /// The niche that it won, by position in [`Job::classes`], and its confidence in that class.
    pub niche: u32,
    pub fitness: f32,
}

impl Job {
    /// Candidates of a generation of all runs: at most [`u32::MAX`], which the command line sees to.
    pub fn candidates(&self) -> u32 {
        self.batch * self.seeds.len() as u32
    }
}

/// What the host learns of a generation of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The generation just finished.
    pub generation: u32,
    /// Niches whose elite changed in it.
    pub replaced: u32,
    /// Operators skipped for lack of capacity, since generation 0.
    pub skipped: u64,
    /// Of the confidences of the niches' elites.
    pub statistics: Statistics,
    /// The archive's hash.
    pub archive_hash: u64,
}

impl Counters {
    /// Those of a run that goes on from `archive`.
    pub fn of(archive: &Archive, replaced: u32, skipped: u64) -> Counters {
        Counters {
            generation: archive.generation,
            replaced,
            skipped,
            statistics: Statistics::of(&archive.fitness()),
            archive_hash: archive.hash(),
        }
    }
}

/// What is wrong where no image of generation 0 has a number for `class`.
fn no_answer(class: u32) -> Error {
    Error::Refused(format!(
        "the network gives no image of generation 0 a probability for class {class}: its answers are NaN; its weights are too \
         large for single precision"
    ))
}

/// One method a step. Candidates of a generation are numbered through its active runs: candidate c of the r-th of them is at
/// place `r * batch + c`. They are worked through in chunks of places; a chunk passes through the steps from
/// [`Backend::select`] to [`Backend::niche_argmax`], and parents stay frozen until [`Backend::insert`] ends the generation.
/// Chunks start and end at even places, since candidates are born in pairs.
///
/// Which generation it is, each run knows itself: runs that were resumed at different ones go on together.
///
/// # Errors
/// Every step may fail on a device; the CPU's do not, but for [`Backend::insert`] where a network answers NaN. A device says so
/// with [`Backend::counters`].
pub trait Backend {
    /// What it runs on, for people.
    fn describe(&self) -> String;

    /// Places that one chunk may hold.
    fn chunk(&self) -> u32;

    /// Chooses the runs that take part from now on, by their numbers in [`Job::seeds`], ascending. Either all of them stand
    /// before generation 0 or none does. At first all are active.
    fn activate(&mut self, runs: &[usize]) -> Result<()>;

    /// Lets the first candidates of generation 0 of every run be these genomes of the job's, at most a batch. The others are random, each the
    /// one that it is without them.
    fn start_from(&mut self, genomes: Arc<[Genome]>);

    /// Places of a generation: those of the active runs.
    fn places(&self) -> u32;

    /// Whether the next generation is the random one.
    fn is_first(&self) -> bool;

    /// Makes the genomes of generation 0: those to start from, if there are any, and random ones.
    fn randomise(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Draws the parents of each pair from the run's archive, and how the pair is made from them.
    fn select(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Makes the children's genomes: crossover, mutation.
    fn vary(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Draws the genomes: 8-bit images.
    fn render(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Runs the network: class probabilities of the images.
    fn classify(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Finds the best candidate for every niche, keeping those that beat the niche's elite and the chunks before:
    /// strictly greater wins, of equals the lowest index.
    fn niche_argmax(&mut self, chunk: Range<u32>) -> Result<()>;

    /// Puts the winners into the archives and ends the generation.
    fn insert(&mut self) -> Result<()>;

    /// The counters of each active run after its last generation.
    fn counters(&mut self) -> Result<Vec<Counters>>;

    /// The archive of run `run`, brought to the host.
    fn archive(&mut self, run: usize) -> Result<Archive>;

    /// Lets run `run` go on from `archive`, with `skipped` operators counted so far.
    fn restore(&mut self, run: usize, archive: Archive, skipped: u64) -> Result<()>;

    /// Of a job with a lineage: who won niches of run `run` since this was called last, or since the run was restored; by generation, then
    /// niche. Of others, nobody.
    fn insertions(&mut self, run: usize) -> Result<Vec<Insertion>>;

    /// One whole generation of every active run.
    fn generation(&mut self) -> Result<()> {
        let is_first = self.is_first();
        for chunk in chunks(self.places(), self.chunk()) {
            if is_first {
                self.randomise(chunk.clone())?;
            } else {
                self.select(chunk.clone())?;
                self.vary(chunk.clone())?;
            }
            self.render(chunk.clone())?;
            self.classify(chunk.clone())?;
            self.niche_argmax(chunk)?;
        }
        self.insert()
    }
}

/// `0..places` in chunks of at most `chunk`.
pub fn chunks(places: u32, chunk: u32) -> impl Iterator<Item = Range<u32>> {
    let mut start: u32 = 0;
    std::iter::from_fn(move || {
        let part = start..places.min(start.saturating_add(chunk));
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}
