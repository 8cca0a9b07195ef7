//! The buffers of a job on the device, and the steps between them.

use super::Launcher;
use super::classifier::Classifier;
use super::compile_cppn::CppnPrograms;
use super::elites::Elites;
use super::genomes::Genomes;
use super::insert::check_niches;
use super::insertions::Insertions;
use super::launcher::Reader;
use super::niche_argmax::Scored;
use super::params::{self, Chunk, CppnRules, DirectRules, Pair, RunState};
use super::pinned::Pinned;
use super::render_cppn::upload_planes;
use crate::backend::Job;
use crate::error::Result;
use crate::genome::cppn::InputPlanes;
use crate::genome::{Encoding, Genome};
use cudarc::driver::CudaSlice;
use std::ops::Range;
use std::sync::Arc;

/// All buffers on the device, and the steps between them.
pub struct Steps {
    batch: u32,
    image_len: u32,
    n_channels: usize,
    n_classes: u32,
    /// `(R)`
    pub runs: CudaSlice<RunState>,
    /// `(R)`, of which the first are in use.
    pub active: CudaSlice<u32>,
    pub n_active: usize,
    /// `(N)`
    classes: CudaSlice<u32>,
    pub encoded: Encoded,
    pub elites: Elites,
    /// `(chunk / 2)`
    pub pairs: CudaSlice<Pair>,
    /// `(chunk)` slots
    pub genomes: Genomes,
    /// The first candidates of generation 0 of each run, if they are not random.
    pub start: Arc<[Genome]>,
    /// `(chunk, height, width, channels)`
    pub images: CudaSlice<u8>,
    pub classifier: Classifier,
    /// `(C, stride)`
    pub probabilities: CudaSlice<f32>,
    /// Places of a chunk.
    stride: usize,
    /// `(R)`, by position among the active runs; and where the host reads them.
    counters: CudaSlice<params::Counters>,
    pub counters_read: Pinned<params::Counters>,
    /// Of a job with a lineage.
    pub insertions: Option<Insertions>,
}

/// How genomes vary, as kernels take it, and what drawing them takes.
#[allow(clippy::large_enum_variant, reason = "a job has one")]
pub enum Encoded {
    Direct(DirectRules),
    Cppn {
        rules: CppnRules,
        /// `(chunk)` slots
        programs: CppnPrograms,
        /// `(3, pixels)`
        planes: CudaSlice<f32>,
    },
}

impl Steps {
    /// All that `job` takes with chunks of `chunk` candidates.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if the device is too small for the job's CPPNs,
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, job: &Job, chunk: u32) -> Result<Steps> {
        check_niches(job.classes.len())?;
        let (n_runs, n) = (job.seeds.len(), chunk as usize);
        let states: Vec<RunState> = job.seeds.iter().map(|&seed| RunState::new(seed)).collect();
        Ok(Steps {
            batch: job.batch,
            image_len: job.canvas.len() as u32,
            n_channels: job.canvas.channels,
            n_classes: job.network.classes.len() as u32,
            runs: launcher.upload(&states)?,
            active: launcher.zeros(n_runs)?,
            n_active: 0,
            classes: launcher.upload(&job.classes)?,
            encoded: match &job.encoding {
                Encoding::Direct(rules) => Encoded::Direct(rules.into()),
                Encoding::Cppn(rules) => {
                    let crossing = CppnRules::new(rules, job.canvas.channels);
                    Encoded::Cppn {
                        rules: crossing,
                        programs: CppnPrograms::new(launcher, &crossing, n)?,
                        planes: upload_planes(launcher, &InputPlanes::new(job.canvas, rules.normalise))?,
                    }
                }
            },
            elites: Elites::new(launcher, job)?,
            pairs: launcher.zeros(n / 2)?,
            genomes: Genomes::new(launcher, job, n)?,
            start: Arc::default(),
            images: launcher.zeros(n * job.canvas.len())?,
            classifier: Classifier::new(launcher, &job.network, n, job.candidates() as usize)?,
            stride: n,
            probabilities: launcher.zeros(n * job.network.classes.len())?,
            counters: launcher.zeros(n_runs)?,
            counters_read: Pinned::zeros(launcher, n_runs)?,
            insertions: job.lineage.then(|| Insertions::new(launcher, job)).transpose()?,
        })
    }

    /// The places of a launch.
    pub fn chunk(&self, places: Range<u32>) -> Chunk {
        Chunk { batch: self.batch, start: places.start, count: places.len() as u32 }
    }

    /// [`Backend::randomise`](crate::backend::Backend::randomise).
    pub fn randomise(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        match &mut self.genomes {
            Genomes::Direct(genomes) => launcher.randomise_direct(genomes, &self.runs, &self.active, chunk),
            Genomes::Cppn(genomes) => {
                let Encoded::Cppn { rules, .. } = &self.encoded else { unreachable!("a job has one encoding") };
                launcher.randomise_cppn(genomes, &self.runs, &self.active, rules, chunk)
            }
        }?;
        // Over the random ones in their places.
        for place in chunk.start..chunk.start + chunk.count {
            if let Some(genome) = self.start.get((place % chunk.batch) as usize) {
                self.genomes.set(launcher, (place - chunk.start) as usize, genome)?;
            }
        }
        Ok(())
    }

    /// [`Backend::select`](crate::backend::Backend::select).
    pub fn select(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let chance = match &self.encoded {
            Encoded::Direct(rules) => rules.crossover_chance,
            Encoded::Cppn { .. } => 0,
        };
        let n_niches = self.classes.len() as u32;
        launcher.select(&mut self.pairs, &self.runs, &self.active, chance, chunk, n_niches)
    }

    /// [`Backend::vary`](crate::backend::Backend::vary).
    pub fn vary(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Steps { genomes, elites, encoded, pairs, runs, active, classes, .. } = self;
        let (current, n_niches) = (&elites.current, classes.len() as u32);
        match (genomes, &elites.genomes, encoded) {
            (Genomes::Direct(children), Genomes::Direct(parents), Encoded::Direct(rules)) => {
                launcher.vary_direct(children, parents, current, pairs, runs, active, rules, chunk, n_niches)
            }
            (Genomes::Cppn(children), Genomes::Cppn(parents), Encoded::Cppn { rules, .. }) => {
                launcher.vary_cppn(children, runs, parents, current, pairs, active, rules, chunk, n_niches)
            }
            _ => unreachable!("a job has one encoding"),
        }
    }

    /// [`Backend::render`](crate::backend::Backend::render).
    pub fn render(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        self.compile(launcher, chunk)?;
        self.draw(launcher, chunk)
    }

    /// CPPNs to programs, the first half of drawing them; nothing for pixels.
    pub fn compile(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        match (&self.genomes, &mut self.encoded) {
            (Genomes::Cppn(genomes), Encoded::Cppn { rules, programs, .. }) => {
                launcher.compile_cppn(programs, genomes, rules, chunk.count)
            }
            _ => Ok(()),
        }
    }

    /// Programs or pixels to images.
    pub fn draw(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let images = &mut self.images;
        match (&self.genomes, &self.encoded) {
            (Genomes::Direct(genomes), Encoded::Direct(_)) => {
                launcher.render_direct(images, genomes, self.n_channels, chunk.count)
            }
            (Genomes::Cppn(_), Encoded::Cppn { rules, programs, planes }) => {
                launcher.render_cppn(images, programs, planes, rules, chunk.count)
            }
            _ => unreachable!("a job has one encoding"),
        }
    }

    /// [`Backend::classify`](crate::backend::Backend::classify).
    pub fn classify(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Steps { probabilities, classifier, images, stride, .. } = self;
        classifier.run(launcher, probabilities, images, chunk.count as usize, *stride)
    }

    /// The first of LeNet's two kernels.
    pub fn features(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Classifier::Lenet(lenet) = &mut self.classifier else { panic!("no LeNet") };
        launcher.lenet_features(lenet, &self.images, chunk.count as usize)
    }

    /// The second.
    pub fn probabilities(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Classifier::Lenet(lenet) = &self.classifier else { panic!("no LeNet") };
        launcher.lenet_probabilities(&mut self.probabilities, lenet, chunk.count as usize, self.stride)
    }

    /// [`Backend::niche_argmax`](crate::backend::Backend::niche_argmax).
    pub fn niche_argmax(&mut self, launcher: &Launcher, chunk: Chunk) -> Result<()> {
        let Steps { genomes, images, probabilities, elites, classes, runs, active, .. } = self;
        let (image_len, n_classes, stride) = (self.image_len, self.n_classes, self.stride as u32);
        let scored = Scored { genomes, images, image_len, probabilities, n_classes, stride };
        launcher.niche_argmax(elites, scored, classes, runs, active, chunk)
    }

    /// [`Backend::insert`](crate::backend::Backend::insert), and the counters on their way to the host.
    pub fn insert(&mut self, launcher: &Launcher) -> Result<()> {
        self.insert_alone(launcher)?;
        self.counters_read.copy_from(&self.counters, self.n_active)
    }

    /// The same, but the counters stay on the device.
    pub fn insert_alone(&mut self, launcher: &Launcher) -> Result<()> {
        let Steps { counters, runs, elites, classes, active, n_active, insertions, .. } = self;
        launcher.insert(counters, runs, elites, insertions.as_mut(), classes, active, *n_active)
    }

    /// Brings over the insertions of run `run`, which has had `count`, by a `reader` that may read them.
    pub fn bring_insertions(&mut self, reader: Reader, run: usize, count: u32) -> Result<()> {
        self.insertions.as_mut().map_or(Ok(()), |insertions| insertions.bring(reader, run, count))
    }
}
