//! The CPU backend: rayon over the batch, lanes across pixels, genes or images. It is the embedded default and runs on
//! any machine. Work is spread over the thread pool it is called in.
//!
//! One file a step. Activations are `(tiles, channels, height, width, L::N)`: a tile is `L::N` images, one a lane. Images that
//! fill no tile go one by one, a channel a lane: `image/`. Networks that are large, or no chain, go image by image through `graph/`.
//! Whichever way, no step mixes lanes, and every width gives the same bits.

pub mod ascent;
pub mod backward;
pub mod classify;
pub mod conv2d;
pub mod cppn_ascent;
pub mod dense;
pub mod graph;
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

pub use backward::InputGradients;

use super::{Backend, Counters, Insertion, Job, chunks, no_answer};
use crate::archive::{Archive, Elite, content_hash};
use crate::error::Result;
use crate::genome::Genome;
use crate::rng::Philox;
use crate::simd::Simd;
use crate::telemetry;
use classify::Classifier;
use niche_argmax::Winner;
use population::{Population, Workspaces};
use rayon::prelude::*;
use select::Pair;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Candidates of a chunk unless the user says otherwise: enough to share out evenly, small enough for the caches.
pub const DEFAULT_CHUNK: u32 = 4096;

/// How the CPU works; nothing here changes a result.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub simd: Simd,
    /// Most candidates held at once; even.
    pub chunk: u32,
}

/// One run: its archive, and what is becoming of it in the present generation.
struct Run {
    philox: Philox,
    /// Without elites until generation 0 is inserted, or an archive restored.
    archive: Archive,
    /// The best of this generation so far, a niche each.
    winners: Vec<Winner>,
    /// The winners themselves; `None` where the elite stays. One that has won several niches is there once.
    successors: Vec<Option<Arc<Elite>>>,
    replaced: u32,
    /// Who won niches and was not asked for yet; `None` without a lineage.
    insertions: Option<Vec<Insertion>>,
    /// Counted by whatever thread skips an operator.
    skipped: AtomicU64,
}

impl Run {
    fn new(seed: u64, classes: &[u32], lineage: bool) -> Run {
        Run {
            philox: Philox::new(seed),
            archive: Archive { generation: 0, classes: classes.to_vec(), elites: Vec::new() },
            winners: vec![Winner::NONE; classes.len()],
            successors: vec![None; classes.len()],
            replaced: 0,
            insertions: lineage.then(Vec::new),
            skipped: AtomicU64::new(0),
        }
    }

    /// Whether it stands before generation 0.
    fn is_first(&self) -> bool {
        self.archive.elites.is_empty()
    }

    /// The generation that is next, or being made.
    fn generation(&self) -> u32 {
        if self.is_first() { 0 } else { self.archive.generation + 1 }
    }

    fn counters(&self) -> Counters {
        Counters::of(&self.archive, self.replaced, self.skipped.load(Ordering::Relaxed))
    }

    /// Puts the winners into the archive.
    fn insert(&mut self) -> Result<()> {
        let generation = self.generation();
        self.replaced = 0;
        if generation == 0 {
            if let Some(niche) = self.successors.iter().position(Option::is_none) {
                return Err(no_answer(self.archive.classes[niche]));
            }
            self.archive.elites = self.successors.iter_mut().filter_map(Option::take).collect();
            self.replaced = self.archive.elites.len() as u32;
        } else {
            for (elite, successor) in self.archive.elites.iter_mut().zip(&mut self.successors) {
                if let Some(successor) = successor.take() {
                    *elite = successor;
                    self.replaced += 1;
                }
            }
        }
        self.archive.generation = generation;
        if let Some(insertions) = &mut self.insertions {
            for (niche, &Winner { fitness, candidate }) in (0..).zip(&self.winners) {
                if candidate != Winner::NONE.candidate {
                    insertions.push(Insertion { generation, candidate, niche, fitness });
                }
            }
        }
        for winner in &mut self.winners {
            winner.candidate = Winner::NONE.candidate;
        }
        Ok(())
    }
}

/// The active runs, and whose candidate is at a place: see [`Backend`].
#[derive(Clone, Copy)]
struct Places<'a> {
    runs: &'a [Run],
    active: &'a [usize],
    batch: u32,
    /// The first candidates of generation 0.
    start: &'a [Genome],
}

impl<'a> Places<'a> {
    /// The run whose candidate is at `place`, and the candidate's number in its batch.
    fn at(&self, place: u32) -> (&'a Run, u32) {
        (&self.runs[self.active[(place / self.batch) as usize]], place % self.batch)
    }
}

/// The state of a job on the CPU.
pub struct CpuBackend {
    job: Job,
    options: Options,
    classifier: Classifier,
    runs: Vec<Run>,
    /// Which of them take part, ascending.
    active: Vec<usize>,
    /// `(chunk / 2)`
    pairs: Vec<Pair>,
    population: Population,
    /// `(chunk, height, width, channels)`
    images: Vec<u8>,
    /// `(chunk, n_classes)`
    probabilities: Vec<f32>,
    workspaces: Workspaces,
    /// The first candidates of generation 0 of each run, if they are not random.
    start: Arc<[Genome]>,
}

impl CpuBackend {
    /// Prepares `job`: all memory a run needs is taken here.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if its [`memory`](memory::memory()) does not fit into this machine's.
    pub fn new(job: Job, options: Options) -> Result<CpuBackend> {
        let chunk = options.chunk.min(job.candidates());
        let classifier = Classifier::new(Arc::clone(&job.network), options.simd);
        classifier.check(rayon::current_num_threads())?;
        if let Some(memory) = telemetry::memory_limit() {
            let needed = memory::memory(&job, options, &classifier, rayon::current_num_threads());
            needed.check(chunk, telemetry::usable(memory))?;
        }
        let n = chunk as usize;
        Ok(CpuBackend {
            classifier,
            runs: job.seeds.iter().map(|&seed| Run::new(seed, &job.classes, job.lineage)).collect(),
            active: (0..job.seeds.len()).collect(),
            pairs: Vec::with_capacity(n / 2),
            population: Population::new(&job, n),
            images: vec![0; n * job.canvas.len()],
            probabilities: vec![0.0; n * job.network.classes.len()],
            workspaces: Workspaces::default(),
            start: Arc::default(),
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

    /// Makes the genomes of `chunk`, random ones or children.
    fn make(&mut self, chunk: Range<u32>) {
        let CpuBackend { job, options, runs, active, pairs, population, workspaces, start, .. } = self;
        let places = Places { runs, active, batch: job.batch, start };
        population.make(options.simd, &places, pairs, chunk, workspaces);
    }
}

impl Backend for CpuBackend {
    fn describe(&self) -> String {
        format!("cpu, {} threads, {}", rayon::current_num_threads(), self.options.simd)
    }

    fn chunk(&self) -> u32 {
        self.options.chunk
    }

    fn activate(&mut self, runs: &[usize]) -> Result<()> {
        debug_assert!(runs.iter().all(|&run| self.runs[run].is_first() == self.runs[runs[0]].is_first()));
        self.active = runs.to_vec();
        Ok(())
    }

    fn start_from(&mut self, genomes: Arc<[Genome]>) {
        self.start = genomes;
    }

    fn places(&self) -> u32 {
        self.active.len() as u32 * self.job.batch
    }

    fn is_first(&self) -> bool {
        self.active.first().is_some_and(|&run| self.runs[run].is_first())
    }

    fn randomise(&mut self, chunk: Range<u32>) -> Result<()> {
        self.make(chunk);
        Ok(())
    }

    fn select(&mut self, chunk: Range<u32>) -> Result<()> {
        let CpuBackend { job, runs, active, pairs, start, .. } = self;
        let (n_niches, places) = (job.classes.len() as u32, Places { runs, active, batch: job.batch, start });
        pairs.clear();
        for segment in by_run(chunk, job.batch) {
            let (run, first) = places.at(segment.start);
            let candidates = first..first + segment.len() as u32;
            select::select(pairs, &job.encoding, n_niches, &run.philox, run.generation(), candidates);
        }
        Ok(())
    }

    fn vary(&mut self, chunk: Range<u32>) -> Result<()> {
        self.make(chunk);
        Ok(())
    }

    fn render(&mut self, chunk: Range<u32>) -> Result<()> {
        let images = &mut self.images[..chunk.len() * self.job.canvas.len()];
        self.population.render(self.options.simd, images, &self.workspaces);
        Ok(())
    }

    fn classify(&mut self, chunk: Range<u32>) -> Result<()> {
        let images = &self.images[..chunk.len() * self.job.canvas.len()];
        let probabilities = &mut self.probabilities[..chunk.len() * self.job.network.classes.len()];
        self.classifier.classify(images, probabilities);
        Ok(())
    }

    fn niche_argmax(&mut self, chunk: Range<u32>) -> Result<()> {
        /// Bytes of images that are worth a thread.
        const SHARE: usize = 64 << 10;
        let CpuBackend { job, runs, active, population, images, probabilities, .. } = self;
        let (n_classes, image_len) = (job.network.classes.len(), job.canvas.len());
        for segment in by_run(chunk.clone(), job.batch) {
            let run = &mut runs[active[(segment.start / job.batch) as usize]];
            let (at, first) = ((segment.start - chunk.start) as usize, segment.start % job.batch);
            let rows = &probabilities[at * n_classes..][..segment.len() * n_classes];
            let before = run.winners.clone();
            niche_argmax::niche_argmax(&mut run.winners, rows, &job.classes, n_classes, first);
            // The chunk's buffers are reused by the next one: its winners are copied out now, each once, after those that they have
            // beaten are gone.
            let mut won: Vec<(u32, usize)> = Vec::new();
            for (niche, (winner, before)) in run.winners.iter().zip(&before).enumerate() {
                if winner != before {
                    won.push((winner.candidate, niche));
                    run.successors[niche] = None;
                }
            }
            won.sort_unstable();
            let generation = run.generation();
            let population = &*population;
            let elites: Vec<_> = won
                .chunk_by(|a, b| a.0 == b.0)
                .collect::<Vec<_>>()
                .into_par_iter()
                .with_min_len(SHARE.div_ceil(image_len))
                .map(|niches| {
                    let candidate = niches[0].0;
                    let at = at + (candidate - first) as usize;
                    let probabilities = probabilities[at * n_classes..][..n_classes].to_vec();
                    let image = images[at * image_len..][..image_len].to_vec();
                    let genome = population.genome(at);
                    let content_hash = content_hash(&probabilities, &image, &genome);
                    let born = (generation, candidate);
                    (Arc::new(Elite { probabilities, image, genome, born, content_hash }), niches)
                })
                .collect();
            for (elite, niches) in elites {
                for &(_, niche) in niches {
                    run.successors[niche] = Some(Arc::clone(&elite));
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self) -> Result<()> {
        self.active.iter().try_for_each(|&run| self.runs[run].insert())
    }

    fn counters(&mut self) -> Result<Vec<Counters>> {
        Ok(self.active.iter().map(|&run| self.runs[run].counters()).collect())
    }

    fn archive(&mut self, run: usize) -> Result<Archive> {
        Ok(self.runs[run].archive.clone())
    }

    fn restore(&mut self, run: usize, archive: Archive, skipped: u64) -> Result<()> {
        let run = &mut self.runs[run];
        let elites = archive.fitness().into_iter();
        run.winners = elites.map(|fitness| Winner { fitness, candidate: Winner::NONE.candidate }).collect();
        run.archive = archive;
        run.skipped = AtomicU64::new(skipped);
        run.insertions.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    fn insertions(&mut self, run: usize) -> Result<Vec<Insertion>> {
        Ok(self.runs[run].insertions.as_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The steps of [`Backend::generation`], but that each thread takes its candidates from their birth to their probabilities
    /// at once: images stay in its cache, and threads wait for one another once a chunk rather than once a step.
    fn generation(&mut self) -> Result<()> {
        let is_first = self.is_first();
        for chunk in chunks(self.places(), self.chunk()) {
            if !is_first {
                self.select(chunk.clone())?;
            }
            // Pairs are not parted: the parents of a crossed one are worked on once for both children.
            let groups = self.classifier.groups(chunk.len(), 2);
            let CpuBackend {
                job,
                options,
                classifier,
                runs,
                active,
                pairs,
                population,
                images,
                probabilities,
                workspaces,
                start,
            } = self;
            let (image_len, n_classes) = (job.canvas.len(), job.network.classes.len());
            let places = Places { runs, active, batch: job.batch, start };
            let parts = population.parts(groups.iter().map(|group| group.images.len()), chunk.len());
            let (mut images, mut probabilities) = (&mut images[..], &mut probabilities[..]);
            let mut work = Vec::with_capacity(groups.len());
            for (group, part) in groups.into_iter().zip(parts) {
                let (image, image_rest) = images.split_at_mut(group.images.len() * image_len);
                let (row, row_rest) = probabilities.split_at_mut(group.images.len() * n_classes);
                (images, probabilities) = (image_rest, row_rest);
                work.push((group, part, image, row));
            }
            // Taken in order, one after the other, so that threads end together.
            work.into_iter().par_bridge().for_each(|(group, mut part, images, probabilities)| {
                workspaces.lend(|workspace| {
                    part.make(options.simd, &places, pairs, chunk.start, group.images.start, workspace);
                    part.render(options.simd, images, workspace);
                });
                classifier.classify_group(group.in_tiles, images, probabilities);
            });
            self.niche_argmax(chunk)?;
        }
        self.insert()
    }
}

/// `chunk` in pieces that belong to one run each.
fn by_run(chunk: Range<u32>, batch: u32) -> impl Iterator<Item = Range<u32>> {
    let mut start = chunk.start;
    std::iter::from_fn(move || {
        let part = start..chunk.end.min((start / batch + 1).saturating_mul(batch));
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}
