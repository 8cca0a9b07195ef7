//! A backend in the midst of a run, whose steps can be timed one by one.

use super::work::{self, Work};
use super::{Step, reference, yardstick};
use crate::archive::{Archive, content_hash};
use crate::backend::cpu::classify::Classifier;
use crate::backend::cpu::population::{Population, Workspaces};
use crate::backend::cpu::{CpuBackend, DEFAULT_CHUNK, Options};
use crate::backend::{Backend, Job};
use crate::error::{Error, Result};
use crate::experiment::config::{Config, Flavour, Preset, name_of};
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Rules};
use crate::genome::{Canvas, Encoding, Genome, direct};
use crate::network::Network;
use crate::rng::Philox;
use crate::simd::Simd;
use rayon::prelude::*;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Generations that a run has behind it when its steps are timed: the middle of one of 200, with genomes that have grown.
pub const GENERATIONS: u32 = 100;

/// Chunk of the runs that the timed ones are compared with, so that they do not share it.
pub(super) const OTHER_CHUNK: u32 = 34;

/// Candidates at each end of a chunk that are compared with the reference, in steps where it takes long.
pub(super) const SAMPLE: u32 = 32;

/// The same against a network for ImageNet, which is slow: elites are few and young, and what their children cost is that of a run's
/// beginning.
const GENERATIONS_IMAGENET: u32 = 2;

/// Candidates of each of those generations.
const BATCH_IMAGENET: u32 = 20;

/// What [`SAMPLE`] is where an image is large and its network slow.
const SAMPLE_IMAGENET: u32 = 2;

/// A preset's run after some generations, from which stages for every batch start.
#[derive(Clone, Debug)]
pub struct State {
    pub config: Config,
    pub job: Job,
    pub archive: Archive,
    pub skipped: u64,
}

impl State {
    /// Runs `preset`, as its paper's flavour and with seed 1, on the current pool, by the widest vectors that there are: no
    /// result depends on them.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Panics
    /// If it is a preset of ImageNet, for which there is [`State::against`].
    pub fn new(preset: Preset) -> Result<State> {
        assert!(!preset.is_imagenet(), "it needs a network");
        let config = Config::preset(preset, Flavour::Faithful);
        let network = Arc::new(Network::embedded_lenet(None)?);
        let job = Job {
            seeds: vec![config.seed],
            batch: config.batch,
            canvas: Canvas::of(&network),
            encoding: config.encoding(),
            classes: (0..network.classes.len() as u32).collect(),
            network,
            lineage: false,
        };
        let mut backend = CpuBackend::new(job.clone(), Options { simd: Simd::detect(), chunk: OTHER_CHUNK })?;
        for _ in 0..=GENERATIONS {
            backend.generation()?;
        }
        let skipped = backend.counters()?[0].skipped;
        Ok(State { archive: backend.archive(0)?, skipped, config, job })
    }

    /// The same of a preset of ImageNet against `judge`, which sees ten crops of an image if it sees parts.
    ///
    /// # Errors
    /// Those of the backend; that `judge` does not see colour.
    pub fn against(preset: Preset, judge: &Network) -> Result<State> {
        let config = Config::preset(preset, Flavour::Faithful);
        let ten = judge.image != judge.input;
        let config = Config { crops: Some(if ten { 10 } else { 1 }), ..config };
        let network = Arc::new(config.judge(judge.clone())?);
        let job = Job {
            seeds: vec![config.seed],
            batch: BATCH_IMAGENET,
            canvas: Canvas::of(&network),
            encoding: config.encoding(),
            classes: (0..network.classes.len() as u32).collect(),
            network,
            lineage: false,
        };
        // One crop is enough to get an archive.
        let one = Arc::new(Config { crops: Some(1), ..config.clone() }.judge(judge.clone())?);
        let options = Options { simd: Simd::detect(), chunk: OTHER_CHUNK };
        let mut backend = CpuBackend::new(Job { network: one, ..job.clone() }, options)?;
        for _ in 0..=GENERATIONS_IMAGENET {
            backend.generation()?;
        }
        let skipped = backend.counters()?[0].skipped;
        Ok(State { archive: backend.archive(0)?, skipped, config, job })
    }

    /// The generation whose steps are timed.
    pub fn next(&self) -> u32 {
        self.archive.generation + 1
    }

    /// Candidates at each end of a chunk that are compared with the reference, in steps where it takes long.
    pub fn sample(&self) -> u32 {
        if self.config.preset.is_imagenet() { SAMPLE_IMAGENET } else { SAMPLE }
    }

    /// Name of the preset.
    pub fn name(&self) -> String {
        name_of(self.config.preset)
    }

    /// The network that the run is against.
    pub fn network(&self) -> &Network {
        &self.job.network
    }

    /// The archive's hash after generation 0 of this run, and after `generation` or that of the state, whichever is later.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn hashes(&self, generation: u32) -> Result<(u64, u64)> {
        let options = Options { simd: Simd::detect(), chunk: OTHER_CHUNK };
        let mut backend = CpuBackend::new(self.job.clone(), options)?;
        backend.generation()?;
        let first = backend.counters()?[0].archive_hash;
        backend.restore(0, self.archive.clone(), self.skipped)?;
        for _ in self.archive.generation..generation {
            backend.generation()?;
        }
        Ok((first, backend.counters()?[0].archive_hash))
    }
}

/// A backend that has just worked through the next generation of a batch, its archive still that of the state.
pub struct Stage {
    state: State,
    batch: u32,
    backend: CpuBackend,
    simd: Simd,
    /// The first chunk of the batch, to whole pairs.
    born: Range<u32>,
    /// What is timed: the same, but with an odd batch its last candidate left out.
    chunk: Range<u32>,
    /// The chunk's genomes, of CPPNs.
    graphs: Vec<Graph>,
}

/// The generation of the yardstick's random numbers.
const NEXT: u32 = GENERATIONS + 1;

impl Stage {
    /// A backend as `evolve` makes it, but for `batch` candidates, at `state`.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn new(state: &State, batch: u32, simd: Simd) -> Result<Stage> {
        let state = state.clone();
        let even = batch.next_multiple_of(2);
        let job = Job { batch: even, ..state.job.clone() };
        let backend = CpuBackend::new(job, Options { simd, chunk: DEFAULT_CHUNK })?;
        let born = 0..even.min(backend.chunk());
        let chunk = 0..batch.min(born.end);
        let mut stage = Stage { state, batch, backend, simd, born, chunk, graphs: Vec::new() };
        stage.prepare()?;
        let genomes = (0..stage.chunk.len()).map(|at| stage.backend.genome(at));
        stage.graphs = genomes
            .filter_map(|genome| match genome {
                Genome::Cppn(graph) => Some(graph),
                Genome::Direct(_) => None,
            })
            .collect();
        Ok(stage)
    }

    /// The steps that can be timed with this encoding and batch: candidates are born in pairs, so that an odd batch can only be
    /// drawn and classified; pixels need no compiling.
    pub fn steps(&self) -> Vec<Step> {
        let even = self.batch.is_multiple_of(2);
        let cppn = matches!(self.state.job.encoding, Encoding::Cppn(_));
        let can = |step: &Step| match step {
            Step::Vary | Step::Insert | Step::Loop => even,
            Step::Compile => cppn,
            Step::Render | Step::Classify => true,
            _ => false,
        };
        Step::CPU.into_iter().filter(can).collect()
    }

    /// Candidates of a call of [`Stage::time`].
    pub fn items(&self, step: Step) -> u32 {
        if step == Step::Loop { self.batch } else { self.chunk.end }
    }

    /// Time of `repeats` calls of `step` at this state; putting the state back is not counted.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Panics
    /// If `step` is none of [`Stage::steps`].
    pub fn time(&mut self, step: Step, repeats: u32) -> Result<Duration> {
        let (born, chunk) = (self.born.clone(), self.chunk.clone());
        let mut time = Duration::ZERO;
        for _ in 0..repeats {
            let began = Instant::now();
            match step {
                Step::Vary => {
                    self.backend.select(born.clone())?;
                    self.backend.vary(born.clone())?;
                }
                Step::Compile => self.compile(),
                Step::Render => self.backend.render(chunk.clone())?,
                Step::Classify => self.backend.classify(chunk.clone())?,
                Step::Insert => {
                    self.backend.niche_argmax(chunk.clone())?;
                    self.backend.insert()?;
                }
                Step::Loop => self.backend.generation()?,
                _ => panic!("{step} is no step of a stage"),
            }
            time += began.elapsed();
            if matches!(step, Step::Insert | Step::Loop) {
                self.restore()?;
            }
        }
        if step == Step::Loop && self.batch > self.born.end {
            self.prepare()?; // the buffers hold the last chunk, the other steps want the first
        }
        Ok(time)
    }

    /// The genomes of the chunk to instruction lists, over the threads as drawing does it.
    fn compile(&self) {
        let Encoding::Cppn(rules) = &self.state.job.encoding else { panic!("pixels need no compiling") };
        self.graphs.par_iter().for_each_init(Compiler::default, |compiler, graph| {
            black_box(compiler.compile(self.simd, graph, rules.max_weight));
        });
    }

    /// The archive of the state.
    fn restore(&mut self) -> Result<()> {
        self.backend.restore(0, self.state.archive.clone(), self.state.skipped)
    }

    /// Brings the first chunk of the next generation into the backend, up to its probabilities.
    fn prepare(&mut self) -> Result<()> {
        self.restore()?;
        self.backend.select(self.born.clone())?;
        self.backend.vary(self.born.clone())?;
        self.backend.render(self.born.clone())?;
        self.backend.classify(self.born.clone())
    }

    /// The least work of one genome in `step`: the models of benches/README.md.
    pub fn work(&self, step: Step) -> Work {
        let Job { encoding, canvas, network, .. } = &self.state.job;
        let n = self.chunk.len().max(1) as f64;
        let mean = |of: &dyn Fn(&Graph) -> usize| self.graphs.iter().map(of).sum::<usize>() as f64 / n;
        match (step, encoding) {
            (Step::Vary, Encoding::Direct(_)) => Work::Bytes((2 * size_of::<f32>() * canvas.len()) as f64),
            (Step::Vary, Encoding::Cppn(_)) => Work::Bytes(2.0 * mean(&work::graph_bytes)),
            (Step::Compile, Encoding::Cppn(rules)) => Work::Bytes(mean(&|graph| {
                let mut compiler = Compiler::default();
                let program = compiler.compile(self.simd, graph, rules.max_weight);
                work::graph_bytes(graph) + work::program_bytes(program)
            })),
            (Step::Render, Encoding::Direct(_)) => Work::Bytes(((size_of::<f32>() + 1) * canvas.len()) as f64),
            (Step::Render, Encoding::Cppn(rules)) => drawing(&self.graphs, rules, *canvas),
            (Step::Insert, _) => Work::Bytes((size_of::<f32>() * network.classes.len()) as f64),
            _ => Work::Operations(work::multiply_adds(network) as f64),
        }
    }

    /// Compares what `step` gives at this state with its reference; says what was compared.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ.
    pub fn check(&mut self, step: Step) -> Result<&'static str> {
        let one_thread = || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            pool.map_err(|source| Error::Refused(format!("cannot start a thread: {source}")))
        };
        let agrees = match step {
            Step::Vary => one_thread()?.install(|| self.vary_agrees())?,
            Step::Compile | Step::Render => self.render_agrees(),
            Step::Classify => one_thread()?.install(|| self.classify_agrees()),
            Step::Insert => self.insert_agrees()?,
            Step::Loop => {
                let hash = self.hash_of_loop(self.simd, DEFAULT_CHUNK)?;
                one_thread()?.install(|| self.hash_of_loop(self.simd, OTHER_CHUNK))? == hash
            }
            _ => panic!("{step} is no step of a stage"),
        };
        if !agrees {
            let (preset, batch) = (self.state.name(), self.batch);
            return Err(disagrees(&format!("{step} of {preset} at batch {batch}"), check_of(step)));
        }
        Ok(check_of(step))
    }

    /// The ends of the chunk, in whole pairs.
    fn samples(&self) -> Vec<Range<u32>> {
        let end = self.chunk.end;
        let sample = self.state.sample();
        let head = 0..sample.min(end);
        let tail = end.saturating_sub(sample).max(head.end).next_multiple_of(2)..end;
        [head, tail].into_iter().filter(|range| !range.is_empty()).collect()
    }

    fn vary_agrees(&self) -> Result<bool> {
        let options = Options { simd: Simd::Plain, chunk: OTHER_CHUNK };
        let job = Job { batch: self.born.end, ..self.state.job.clone() };
        let mut plain = CpuBackend::new(job, options)?;
        plain.restore(0, self.state.archive.clone(), self.state.skipped)?;
        for range in self.samples() {
            plain.select(range.clone())?;
            plain.vary(range.clone())?;
            for (at, candidate) in range.enumerate() {
                let bits = |genome| content_hash(&[], &[], &genome);
                if bits(plain.genome(at)) != bits(self.backend.genome(candidate as usize)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn render_agrees(&self) -> bool {
        let len = self.state.job.canvas.len();
        let candidates: Vec<usize> = self.samples().into_iter().flatten().map(|candidate| candidate as usize).collect();
        candidates.into_par_iter().all(|at| {
            let want = match (self.backend.genome(at), &self.state.job.encoding) {
                (Genome::Cppn(graph), Encoding::Cppn(rules)) => reference::draw(&graph, rules, self.state.job.canvas),
                (Genome::Direct(genes), _) => reference::draw_direct(&genes, self.state.job.canvas),
                (Genome::Cppn(_), Encoding::Direct(_)) => unreachable!("a run has one encoding"),
            };
            self.backend.images()[at * len..][..len] == want
        })
    }

    fn classify_agrees(&self) -> bool {
        let Job { canvas, network, .. } = &self.state.job;
        let n_classes = network.classes.len();
        let classifier = Classifier::new(Arc::clone(network), Simd::Plain);
        self.samples().into_iter().flatten().all(|candidate| {
            let at = candidate as usize;
            let mut want = vec![0.0; n_classes];
            classifier.classify(&self.backend.images()[at * canvas.len()..][..canvas.len()], &mut want);
            let got = &self.backend.probabilities()[at * n_classes..][..n_classes];
            want.iter().zip(got).all(|(want, got)| want.to_bits() == got.to_bits())
        })
    }

    fn insert_agrees(&mut self) -> Result<bool> {
        let Job { canvas, network, .. } = &self.state.job;
        let (n_classes, len) = (network.classes.len(), canvas.len());
        let probabilities = &self.backend.probabilities()[..self.chunk.len() * n_classes];
        let want = reference::insert(&self.state.archive, probabilities, n_classes, self.state.next());
        self.backend.niche_argmax(self.chunk.clone())?;
        self.backend.insert()?;
        let got = self.backend.archive(0)?;
        let mut niches = want.iter().zip(got.fitness()).zip(got.elites.iter().zip(&self.state.archive.elites));
        let agrees = niches.all(|(((fitness, born), got_fitness), (got, before))| {
            let content = if *born == before.born {
                before.content_hash
            } else {
                let at = born.1 as usize;
                let probabilities = &self.backend.probabilities()[at * n_classes..][..n_classes];
                content_hash(probabilities, &self.backend.images()[at * len..][..len], &self.backend.genome(at))
            };
            fitness.to_bits() == got_fitness.to_bits() && *born == got.born && content == got.content_hash
        });
        self.restore()?;
        Ok(agrees)
    }

    /// The archive hash of a generation of the batch.
    fn hash_of_loop(&self, simd: Simd, chunk: u32) -> Result<u64> {
        let job = Job { batch: self.batch, ..self.state.job.clone() };
        let mut backend = CpuBackend::new(job, Options { simd, chunk })?;
        backend.restore(0, self.state.archive.clone(), self.state.skipped)?;
        backend.generation()?;
        Ok(backend.counters()?[0].archive_hash)
    }
}

/// What a step of the CPU, a process or the yardstick is compared with, in words.
pub fn check_of(step: Step) -> &'static str {
    match step {
        Step::Vary => "genomes of 64 candidates, bit for bit, with the plain path on one thread in other chunks",
        Step::Compile | Step::Render | Step::Render20 => {
            "images of 64 genomes, byte for byte, with a CPPN's literal synchronous steps or a pixel's formula"
        }
        Step::Render20Colour => {
            "images, byte for byte, with a CPPN's literal synchronous steps: of n images, or of 32, each in every n-th row"
        }
        Step::MutateColour => "genomes, bit for bit, with the formula of spec 4.2, gene by gene",
        Step::Classify => "probabilities of 64 images, bit for bit, with the plain path, one image at a time",
        Step::Insert => "the archive, bit for bit, with one by one insertion",
        Step::Loop => "the archive hash with that of one thread in other chunks",
        Step::Run | Step::Run8 | Step::Start => "the archive hash with that of a run in this process in other chunks",
        _ => panic!("{step} is timed on a GPU"),
    }
}

/// The error of a step that gives something else than its reference.
pub fn disagrees(what: &str, check: &str) -> Error {
    Error::Refused(format!("bench: {what} disagrees with its reference ({check}); no figure of it means anything"))
}

/// The operations that draw the mean of `graphs`.
pub(super) fn drawing(graphs: &[Graph], rules: &Rules, canvas: Canvas) -> Work {
    let mut compiler = Compiler::default();
    let each = graphs.iter().map(|graph| work::operations(compiler.compile(Simd::Plain, graph, rules.max_weight)));
    Work::Operations(each.sum::<u64>() as f64 / graphs.len().max(1) as f64 * canvas.pixels() as f64)
}

/// The canvas of the yardsticks in colour: that of ImageNet.
const COLOUR: Canvas = Canvas { height: 256, width: 256, channels: 3 };

/// Most genomes of a call of the yardsticks in colour: their images take 12.6 MB, direct genomes with their children 101 MB, more
/// than caches hold.
pub const MOST_COLOUR: u32 = 64;

/// The genomes of the yardstick, drawn as a backend draws its population.
pub struct Yardstick {
    simd: Simd,
    pub rules: Rules,
    step: Step,
    canvas: Canvas,
    population: Population,
    pub graphs: Vec<Graph>,
    images: Vec<u8>,
    workspaces: Workspaces,
}

impl Yardstick {
    /// Of the grey genomes.
    pub const CANVAS: Canvas = Canvas::MNIST;

    /// `batch` different grey genomes.
    pub fn new(batch: u32, simd: Simd) -> Yardstick {
        Yardstick::on(Yardstick::CANVAS, Step::Render20, batch, simd)
    }

    /// `batch` different colour genomes, 256x256.
    pub fn colour(batch: u32, simd: Simd) -> Yardstick {
        Yardstick::on(COLOUR, Step::Render20Colour, batch, simd)
    }

    fn on(canvas: Canvas, step: Step, batch: u32, simd: Simd) -> Yardstick {
        let rules = Rules::modern();
        let graphs: Vec<Graph> = (0..batch).map(|index| yardstick::genome(&rules, canvas.channels, index)).collect();
        let planes = InputPlanes::new(canvas, rules.normalise);
        let population = Population::Cppn { rules: rules.clone(), canvas, graphs: graphs.clone(), planes };
        let images = vec![0; graphs.len() * canvas.len()];
        Yardstick { simd, rules, step, canvas, population, images, graphs, workspaces: Workspaces::default() }
    }

    /// Time to draw all of them `repeats` times.
    pub fn time(&mut self, repeats: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..repeats {
            self.population.render(self.simd, black_box(&mut self.images), &self.workspaces);
        }
        began.elapsed()
    }

    /// The least work of one genome.
    pub fn work(&self) -> Work {
        drawing(&self.graphs, &self.rules, self.canvas)
    }

    /// Compares the images with the reference, as [`Stage::check`] does.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ.
    pub fn check(&mut self) -> Result<&'static str> {
        self.time(1);
        let len = self.canvas.len();
        self.check_images(|at| Ok(self.images[at * len..][..len].to_vec()))
    }

    /// Compares the images that `image` gives by their genomes' numbers.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ; those of `image`.
    pub fn check_images(&self, image: impl Fn(usize) -> Result<Vec<u8>>) -> Result<&'static str> {
        let ends = |at: &usize| at.min(&(self.graphs.len() - 1 - at)) < &(SAMPLE as usize);
        let ends = (0..self.graphs.len()).filter(ends);
        let seen: Vec<(usize, Vec<u8>)> = ends.map(|at| Ok((at, image(at)?))).collect::<Result<_>>()?;
        // The reference takes most of a second for a large image, so that each has but its share of the rows compared.
        let every = if self.step == Step::Render20Colour { self.graphs.len().min(SAMPLE as usize) } else { 1 };
        let agrees = seen.into_par_iter().all(|(at, image)| {
            let rows = || (at % every..self.canvas.height).step_by(every);
            let row_len = self.canvas.width * self.canvas.channels;
            let got: Vec<u8> = rows().flat_map(|row| &image[row * row_len..][..row_len]).copied().collect();
            got == reference::draw_rows(&self.graphs[at], &self.rules, self.canvas, rows())
        });
        let check = check_of(self.step);
        if agrees { Ok(check) } else { Err(disagrees(&format!("{} at batch {}", self.step, self.graphs.len()), check)) }
    }
}

/// Direct genomes of 256x256x3 genes and their mutated copies, made as a backend makes children that are not crossed.
pub struct Mutation {
    simd: Simd,
    rules: direct::Rules,
    philox: Philox,
    /// `(batch, genes)`
    parents: Vec<f32>,
    /// `(batch, genes)`
    children: Vec<f32>,
}

impl Mutation {
    /// `batch` random parents.
    pub fn new(batch: u32, simd: Simd) -> Mutation {
        let philox = Philox::new(1);
        let mut parents = vec![0.0; batch as usize * COLOUR.len()];
        let each = parents.par_chunks_exact_mut(COLOUR.len()).zip(0..batch);
        each.for_each(|(genes, candidate)| direct::random(simd, genes, &philox, candidate));
        let children = vec![0.0; parents.len()];
        Mutation { simd, rules: direct::Rules::default(), philox, parents, children }
    }

    /// Time to make all children `repeats` times.
    pub fn time(&mut self, repeats: u32) -> Duration {
        let Mutation { simd, rules, philox, parents, children } = self;
        let began = Instant::now();
        for _ in 0..repeats {
            let children = black_box(&mut *children).par_chunks_exact_mut(COLOUR.len());
            let pairs = children.zip(parents.par_chunks_exact(COLOUR.len())).enumerate();
            pairs.for_each(|(candidate, (child, parent))| {
                direct::mutate_copy(*simd, child, parent, rules, philox, candidate as u32, NEXT);
            });
        }
        began.elapsed()
    }

    /// The least work of one genome: the bytes of the parent and of the child.
    pub fn work(&self) -> Work {
        Work::Bytes((2 * size_of::<f32>() * COLOUR.len()) as f64)
    }

    /// Compares the children with the reference, as [`Stage::check`] does.
    ///
    /// # Errors
    /// [`Error::Refused`] if they differ.
    pub fn check(&mut self) -> Result<&'static str> {
        self.time(1);
        self.check_children()
    }

    /// Compares the children that there are.
    fn check_children(&self) -> Result<&'static str> {
        let pairs = self.children.par_chunks_exact(COLOUR.len()).zip(self.parents.par_chunks_exact(COLOUR.len()));
        let agrees = pairs.enumerate().all(|(candidate, (child, parent))| {
            let want = reference::mutate(parent, &self.rules, &self.philox, candidate as u32, NEXT);
            child.iter().zip(&want).all(|(got, want)| got.to_bits() == want.to_bits())
        });
        let check = check_of(Step::MutateColour);
        let batch = self.parents.len() / COLOUR.len();
        if agrees { Ok(check) } else { Err(disagrees(&format!("{} at batch {batch}", Step::MutateColour), check)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::list::List;
    use clap::ValueEnum;

    /// A network for images in colour that is no trouble.
    fn small_judge() -> Network {
        let list = "name = 'small'\nchannel_order = 'RGB'\nimage = 20\ncrop = 15\nclasses = 5\nlayers = [\
            { name = 'a', type = 'convolution', outputs = 4, kernel = 5, stride = 3 }, { name = 'b', type = 'relu' }, \
            { name = 'c', type = 'dense', outputs = 'classes' }, { name = 'd', type = 'softmax' }]";
        Network::random(&List::parse(list).unwrap(), 1).unwrap()
    }

    /// A stage of `preset`, and one whose run went on for a generation.
    fn stages(preset: Preset) -> (Stage, State) {
        let state =
            if preset.is_imagenet() { State::against(preset, &small_judge()) } else { State::new(preset) }.unwrap();
        let stage = Stage::new(&state, 40, Simd::detect()).unwrap();
        let mut job = state.job.clone();
        job.seeds[0] += 1;
        (stage, State { job, ..state })
    }

    #[test]
    fn every_step_agrees_with_its_reference_and_a_planted_fault_is_refused() {
        for preset in Preset::value_variants().iter().copied() {
            let (mut stage, other) = stages(preset);
            for step in stage.steps() {
                stage.check(step).unwrap();
                stage.time(step, 2).unwrap();
                stage.check(step).unwrap_or_else(|error| panic!("after timing: {error}"));
            }
            // Other random numbers than the reference's: other genomes.
            let mine = std::mem::replace(&mut stage.state, other);
            let refused = stage.check(Step::Vary).unwrap_err().to_string();
            assert!(refused.contains("vary") && refused.contains("batch 40"), "{refused}");
            stage.state = mine;
            // The genomes of another generation: the pictures are no longer theirs.
            let mut later = stage.state.archive.clone();
            later.generation += 1;
            stage.backend.restore(0, later, 0).unwrap();
            stage.backend.vary(stage.born.clone()).unwrap();
            assert!(stage.check(Step::Render).is_err());
            stage.backend.render(stage.chunk.clone()).unwrap();
            stage.check(Step::Render).unwrap();
            assert!(stage.check(Step::Classify).is_err(), "probabilities of other images");
            // An archive that the reference does not know of.
            stage.prepare().unwrap();
            let mut archive = stage.state.archive.clone();
            archive.elites.swap(0, 1);
            stage.backend.restore(0, archive, 0).unwrap();
            assert!(stage.check(Step::Insert).is_err());
        }
    }

    #[test]
    fn yardstick_agrees_with_its_reference_and_a_planted_fault_is_refused() {
        let mut yardstick = Yardstick::new(70, Simd::detect());
        yardstick.check().unwrap();
        yardstick.graphs.swap(0, 1);
        assert!(yardstick.check().is_err());
    }

    #[test]
    fn colour_yardsticks_agree_with_their_references_and_a_planted_fault_is_refused() {
        let mut yardstick = Yardstick::colour(4, Simd::detect());
        yardstick.check().unwrap();
        yardstick.graphs.swap(2, 3);
        let refused = yardstick.check().unwrap_err().to_string();
        assert!(refused.contains("render-20-colour at batch 4"), "{refused}");

        let mut mutation = Mutation::new(3, Simd::detect());
        mutation.check().unwrap();
        mutation.children[2 * COLOUR.len()] += 0.25;
        let refused = mutation.check_children().unwrap_err().to_string();
        assert!(refused.contains("mutate-colour at batch 3"), "{refused}");
        mutation.check().unwrap();
        mutation.philox = Philox::new(2);
        assert!(mutation.check_children().is_err(), "children of other random numbers");
    }
}
