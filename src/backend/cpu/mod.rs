//! The CPU backend: rayon over the batch, lanes across pixels, genes or images. It is the embedded default and runs on
//! any machine. Work is spread over the thread pool it is called in.
//!
//! One file a step. Activations are `(tiles, channels, height, width, L::N)`: a tile is `L::N` images, one a lane, so that no
//! step ever mixes lanes and every width gives the same bits.

mod aligned;
pub mod classify;
pub mod conv2d;
pub mod dense;
pub mod image;
pub mod max_pool;
pub mod memory;
pub mod niche_argmax;
pub mod population;
pub mod preprocess;
pub mod relu;
pub mod select;
pub mod softmax;
pub mod tile;
pub mod train;

pub use aligned::Aligned;

use super::{Backend, Counters, Job};
use crate::archive::{Archive, Elite, content_hash};
use crate::error::{Error, Result};
use crate::genome::Genome;
use crate::rng::Philox;
use crate::simd::Simd;
use crate::telemetry;
use classify::Classifier;
use niche_argmax::Winner;
use population::Population;
use select::Pair;
use std::ops::Range;
use std::sync::Arc;

/// Candidates of a chunk unless the user says otherwise: enough to share out evenly, small enough for the caches.
pub const DEFAULT_CHUNK: u32 = 4096;

/// How the CPU works; nothing here changes a result.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub simd: Simd,
    /// Most candidates held at once; even.
    pub chunk: u32,
}

/// A run's state on the CPU.
pub struct CpuBackend {
    job: Job,
    options: Options,
    philox: Philox,
    classifier: Classifier,
    /// Empty until generation 0 is inserted, or an archive restored.
    archive: Archive,
    pairs: Vec<Pair>,
    population: Population,
    /// `(chunk, height, width, channels)`
    images: Vec<u8>,
    /// `(chunk, n_classes)`
    probabilities: Vec<f32>,
    /// The best of this generation so far, a niche each.
    winners: Vec<Winner>,
    /// The winners themselves; `None` where the elite stays.
    successors: Vec<Option<Elite>>,
    replaced: u32,
    skipped: u64,
}

impl CpuBackend {
    /// Prepares `job`: all memory a run needs is taken here.
    ///
    /// # Errors
    /// [`Error::Refused`] if its [`memory`](memory::memory()) does not fit into this machine's.
    pub fn new(job: Job, options: Options) -> Result<CpuBackend> {
        let chunk = options.chunk.min(job.batch);
        let classifier = Classifier::new(Arc::clone(&job.network), options.simd);
        if let Some(memory) = telemetry::memory_limit() {
            let needed = memory::memory(&job, options, &classifier, rayon::current_num_threads(), 1);
            needed.check(chunk, telemetry::usable(memory))?;
        }
        let n = chunk as usize;
        let n_niches = job.classes.len();
        Ok(CpuBackend {
            philox: Philox::new(job.seed),
            classifier,
            archive: Archive { generation: 0, classes: job.classes.clone(), elites: Vec::new() },
            pairs: Vec::with_capacity(n / 2),
            population: Population::new(&job, n),
            images: vec![0; n * job.canvas.len()],
            probabilities: vec![0.0; n * job.network.classes.len()],
            winners: vec![Winner::NONE; n_niches],
            successors: vec![None; n_niches],
            replaced: 0,
            skipped: 0,
            options: Options { chunk, ..options },
            job,
        })
    }

    /// A copy of the genome at place `at` of the chunk that was made last.
    pub fn genome(&self, at: usize) -> Genome {
        self.population.genome(at)
    }

    /// The images drawn last, `(chunk, height, width, channels)`.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// What the network said last, `(chunk, n_classes)`.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }
}

impl Backend for CpuBackend {
    fn describe(&self) -> String {
        format!("cpu, {} threads, {}", rayon::current_num_threads(), self.options.simd)
    }

    fn chunk(&self) -> u32 {
        self.options.chunk
    }

    fn randomise(&mut self, chunk: Range<u32>) -> Result<()> {
        self.population.randomise(self.options.simd, &self.philox, chunk);
        Ok(())
    }

    fn select(&mut self, generation: u32, chunk: Range<u32>) -> Result<()> {
        let n_niches = self.job.classes.len() as u32;
        select::select(&mut self.pairs, &self.job.encoding, n_niches, &self.philox, generation, chunk);
        Ok(())
    }

    fn vary(&mut self, generation: u32, chunk: Range<u32>) -> Result<()> {
        let elites = &self.archive.elites;
        self.skipped += self.population.vary(self.options.simd, elites, &self.pairs, &self.philox, generation, chunk);
        Ok(())
    }

    fn render(&mut self, chunk: Range<u32>) -> Result<()> {
        let images = &mut self.images[..chunk.len() * self.job.canvas.len()];
        self.population.render(self.options.simd, images);
        Ok(())
    }

    fn classify(&mut self, chunk: Range<u32>) -> Result<()> {
        let images = &self.images[..chunk.len() * self.job.canvas.len()];
        let probabilities = &mut self.probabilities[..chunk.len() * self.job.network.classes.len()];
        self.classifier.classify(images, probabilities);
        Ok(())
    }

    fn niche_argmax(&mut self, chunk: Range<u32>) -> Result<()> {
        let n_classes = self.job.network.classes.len();
        let probabilities = &self.probabilities[..chunk.len() * n_classes];
        let before = self.winners.clone();
        niche_argmax::niche_argmax(&mut self.winners, probabilities, &self.job.classes, n_classes, chunk.start);
        // The chunk's buffers are reused by the next one: its winners are copied out now.
        let mut hashed: Option<(u32, u64)> = None;
        for (niche, (&winner, before)) in self.winners.iter().zip(before).enumerate() {
            if winner == before {
                continue;
            }
            let candidate = winner.candidate;
            let at = (candidate - chunk.start) as usize;
            let probabilities = probabilities[at * n_classes..][..n_classes].to_vec();
            let image = self.images[at * self.job.canvas.len()..][..self.job.canvas.len()].to_vec();
            let genome = self.population.genome(at);
            let content_hash = match hashed {
                Some((of, hash)) if of == candidate => hash,
                _ => content_hash(&probabilities, &image, &genome),
            };
            hashed = Some((candidate, content_hash));
            // The generation is set when the elite enters the archive.
            self.successors[niche] = Some(Elite { probabilities, image, genome, born: (0, candidate), content_hash });
        }
        Ok(())
    }

    fn insert(&mut self, generation: u32) -> Result<()> {
        self.archive.generation = generation;
        self.replaced = 0;
        if generation == 0 {
            if let Some(niche) = self.successors.iter().position(Option::is_none) {
                return Err(Error::Refused(format!(
                    "the network gives no image of generation 0 a probability for class {}: its answers are NaN; its weights \
                     are too large for single precision",
                    self.job.classes[niche]
                )));
            }
            self.archive.elites = self.successors.iter_mut().filter_map(Option::take).collect();
            self.replaced = self.archive.elites.len() as u32;
        } else {
            for (elite, successor) in self.archive.elites.iter_mut().zip(&mut self.successors) {
                if let Some(mut successor) = successor.take() {
                    successor.born.0 = generation;
                    *elite = successor;
                    self.replaced += 1;
                }
            }
        }
        for winner in &mut self.winners {
            winner.candidate = Winner::NONE.candidate;
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters> {
        Ok(Counters {
            generation: self.archive.generation,
            replaced: self.replaced,
            skipped: self.skipped,
            fitness: self.archive.fitness(),
            archive_hash: self.archive.hash(),
        })
    }

    fn archive(&mut self) -> Result<Archive> {
        Ok(self.archive.clone())
    }

    fn restore(&mut self, archive: Archive, skipped: u64) -> Result<()> {
        self.winners = archive
            .fitness()
            .into_iter()
            .map(|fitness| Winner { fitness, candidate: Winner::NONE.candidate })
            .collect();
        self.archive = archive;
        self.skipped = skipped;
        Ok(())
    }
}
