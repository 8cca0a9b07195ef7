//! The runs that are looked at, in sets of their like, and the networks that they were made against.

use super::AnalyseRequest;
use crate::archive::{Archive, Elite};
use crate::backend::cpu::classify::Classifier;
use crate::backend::cuda::classifier;
use crate::error::{Error, Result};
use crate::experiment::config::{Flavour, Preset, name_of};
use crate::experiment::device::Chosen;
use crate::experiment::transfer::label_of_run;
use crate::experiment::transfer::sources::{Source, verified_archive};
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules};
use crate::genome::{Canvas, Encoding};
use crate::network::Network;
use crate::network::weights::Files;
use crate::output::{About, Checkpoint, Manifest, run_folder};
use crate::simd::Simd;
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

/// A finished run of `evolve`.
#[derive(Clone, Debug)]
pub struct Run {
    /// As the call names it.
    pub path: PathBuf,
    pub manifest: Manifest,
    pub archive: Archive,
    pub about: About,
}

impl Run {
    /// The rules of its CPPNs, if it is one of CPPNs.
    pub fn cppn(&self) -> Option<&Rules> {
        if let Encoding::Cppn(rules) = &self.about.encoding { Some(rules) } else { None }
    }

    /// Confidence of the elite of `niche` in its class.
    pub fn confidence(&self, niche: usize) -> f32 {
        self.archive.elites[niche].probabilities[self.archive.classes[niche] as usize]
    }

    /// Number and name of the class of `niche`.
    pub fn class(&self, niche: usize) -> (u32, &str) {
        let class = self.archive.classes[niche];
        (class, &self.about.class_names[class as usize])
    }

    /// The different elites, in the order in which niches have them, each with the niches that are asked for and have it.
    pub fn distinct(&self, only: &[u32]) -> Vec<(&Elite, Vec<usize>)> {
        let mut found: Vec<(&Elite, Vec<usize>)> = Vec::new();
        let mut place_of = std::collections::HashMap::new();
        for niche in self.niches(only) {
            let elite = &*self.archive.elites[niche];
            let place = *place_of.entry(elite.content_hash).or_insert(found.len());
            match found.get_mut(place) {
                Some((_, niches)) => niches.push(niche),
                None => found.push((elite, vec![niche])),
            }
        }
        found
    }

    /// The niches of the classes `only`. Where there is none, all; of more than [`ALL`] the [`BEST`] with the most confident elites, of equals
    /// those of the lower classes. Ascending.
    pub fn niches(&self, only: &[u32]) -> Vec<usize> {
        let all = 0..self.archive.classes.len();
        if !only.is_empty() {
            return all.filter(|&niche| only.contains(&self.archive.classes[niche])).collect();
        }
        let mut niches: Vec<usize> = all.collect();
        if niches.len() > ALL {
            niches.sort_by(|&a, &b| self.confidence(b).total_cmp(&self.confidence(a)));
            niches.truncate(BEST);
            niches.sort_unstable();
        }
        niches
    }
}

/// Elites that are taken apart without being asked for, at most; how many of a run that has more.
pub const ALL: usize = 40;
pub const BEST: usize = 20;

/// Runs that differ in nothing but their seeds and how long they went on: of one encoding, one flavour, one network.
#[derive(Clone, Debug)]
pub struct Set {
    /// What it is called in tables.
    pub name: String,
    preset: Preset,
    flavour: Flavour,
    crops: Option<u32>,
    weights_sha256: String,
    /// Of all runs.
    pub runs: Vec<usize>,
}

/// All runs.
#[derive(Clone, Debug)]
pub struct Runs {
    pub runs: Vec<Run>,
    pub sets: Vec<Set>,
}

impl Runs {
    /// Reads the runs of `request`; of series all. Their archives are looked at whole, and must be what run.json says.
    ///
    /// # Errors
    /// [`Error::File`] for what is no finished run of `evolve`, or damaged; [`Error::Usage`] for one that is there twice; [`Error::Io`].
    pub fn read(request: &AnalyseRequest) -> Result<Runs> {
        let mut found = Vec::new();
        for path in &request.runs {
            let sources = Source::find(path)?.into_iter().map(|source| match source {
                Source::Run(path, manifest) => Ok((path, *manifest)),
                Source::Ascent(path, _) => {
                    Err(Error::file(&path, "is an ascent; wanted runs of evolve, in which classes have elites"))
                }
                Source::Pictures(path, _) => Err(Error::file(
                    &path,
                    "is no run: it has no archive.safetensors; wanted the folder of a run of evolve, or of a series of them",
                )),
            });
            found.extend(sources.collect::<Result<Vec<_>>>()?);
        }
        let mut seen = Vec::new();
        for (path, _) in &found {
            let real = path.canonicalize().map_err(Error::io("find", path))?;
            if seen.contains(&real) {
                let text = format!("{}: is there twice, and would count twice; name it once", path.display());
                return Err(Error::Usage(text));
            }
            seen.push(real);
        }
        let mut runs = Vec::new();
        for (path, manifest) in found {
            let (archive, about) = verified_archive(&path, Some(&manifest), request.simd)?;
            runs.push(Run { path, manifest, archive, about });
        }
        for &class in &request.classes {
            if !runs.iter().any(|run| run.archive.classes.contains(&class)) {
                return Err(Error::Usage(format!("--classes: no run has an elite of class {class}")));
            }
        }
        let sets = sets(&runs);
        Ok(Runs { runs, sets })
    }

    /// The set of run `run`.
    pub fn set_of(&self, run: usize) -> &Set {
        self.sets.iter().find(|set| set.runs.contains(&run)).expect("each run is in a set")
    }

    /// What run `run` is called.
    pub fn label(&self, run: usize) -> String {
        format!("{}, seed {}", self.set_of(run).name, self.runs[run].manifest.seed)
    }
}

fn sets(runs: &[Run]) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    for (at, Run { manifest, .. }) in runs.iter().enumerate() {
        let config = &manifest.configuration;
        let is_its = |set: &&mut Set| {
            (set.preset, set.flavour, set.crops) == (config.preset, config.flavour, config.crops)
                && set.weights_sha256 == manifest.weights_sha256
        };
        if let Some(set) = sets.iter_mut().find(is_its) {
            set.runs.push(at);
            continue;
        }
        let crops = config.crops.filter(|&crops| crops > 1).map_or(String::new(), |crops| format!(", {crops} crops"));
        let label = label_of_run(&manifest.network, &manifest.weights);
        let mut name = format!("{} {}{crops}, {label}", name_of(config.preset), name_of(config.flavour));
        if sets.iter().any(|set| set.name == name) {
            let digits = &manifest.weights_sha256[..manifest.weights_sha256.len().min(8)];
            name.push_str(&format!(" ({digits})"));
        }
        sets.push(Set {
            name,
            preset: config.preset,
            flavour: config.flavour,
            crops: config.crops,
            weights_sha256: manifest.weights_sha256.clone(),
            runs: vec![at],
        });
    }
    sets
}

/// The most bytes of images, and the most images, that a network is shown at once.
const AT_ONCE: usize = 64 << 20;
const MOST_AT_ONCE: usize = 8192;

/// A network, ready to score images.
pub struct Judge {
    pub network: Arc<Network>,
    on: On,
}

enum On {
    Cpu(Box<Classifier>),
    Gpu(Chosen),
}

/// The judges of all sets.
pub struct Judges {
    judges: Vec<Judge>,
    /// Of each set.
    of_set: Vec<usize>,
    /// What they run on, and why on that.
    pub device: String,
    pub device_reason: String,
}

impl Judges {
    /// Reads the network of each set: one of `request`, or that which its first run has recorded. It must have the SHA-256 of the
    /// weights that run.json says, and say of some elites what the archive has recorded, bit for bit.
    ///
    /// # Errors
    /// [`Error::File`] if there is no such network, [`Error::Refused`] if one that is named is no run's; those of the device.
    pub fn open(request: &AnalyseRequest, runs: &Runs) -> Result<Judges> {
        // Each with whether a run was made against it.
        let load = |files: &Files| files.load().map(|network| (network, false));
        let mut named = request.networks.iter().map(load).collect::<Result<Vec<_>>>()?;
        let mut judges: Vec<Judge> = Vec::new();
        let (mut of_set, mut device) = (Vec::new(), None);
        for set in &runs.sets {
            let run = &runs.runs[set.runs[0]];
            let own = named.iter_mut().find(|(network, _)| network.sha256 == set.weights_sha256);
            let network = match own {
                Some((network, is_used)) => {
                    *is_used = true;
                    network.clone()
                }
                None => recorded(run)?,
            };
            crate::cli::warn_of_random(&network);
            let network = Arc::new(run.manifest.configuration.judge(network)?);
            if Canvas::of(&network) != run.about.canvas || network.classes.len() != run.about.class_names.len() {
                return Err(Error::file(&run.path, "its images are not those that its network is given"));
            }
            let chosen = Chosen::choose(request.device, &network)?;
            device.get_or_insert_with(|| (chosen.name(), chosen.reason.clone()));
            let on = if chosen.launcher().is_some() {
                On::Gpu(chosen)
            } else {
                let classifier = Classifier::new(Arc::clone(&network), request.simd);
                classifier.check(rayon::current_num_threads())?;
                On::Cpu(Box::new(classifier))
            };
            let judge = Judge { network, on };
            for &run in &set.runs {
                judge.check(&runs.runs[run])?;
            }
            of_set.push(judges.len());
            judges.push(judge);
        }
        if let Some((network, _)) = named.iter().find(|(_, is_used)| !is_used) {
            let weights = network.path.as_ref().map_or("built-in".to_owned(), |path| path.display().to_string());
            return Err(Error::Refused(format!(
                "--weights: no run was made against {weights} (SHA-256 {})",
                network.sha256
            )));
        }
        let (device, device_reason) = device.expect("there is a set");
        Ok(Judges { judges, of_set, device, device_reason })
    }

    /// The judge of the run `run`.
    pub fn of(&self, runs: &Runs, run: usize) -> &Judge {
        let set = runs.sets.iter().position(|set| set.runs.contains(&run)).expect("each run is in a set");
        &self.judges[self.of_set[set]]
    }
}

/// The network that `run` was made against, from the files that its checkpoint names, or run.json where there is none.
fn recorded(run: &Run) -> Result<Network> {
    let Manifest { network, weights, weights_sha256, .. } = &run.manifest;
    let files = match run_folder::has_checkpoint(&run.path) {
        true => run_folder::read_checkpoint(&run.path).map(|Checkpoint { files, .. }| files)?,
        false if weights == "built in" => Files::default(),
        false => Files { weights: Some(PathBuf::from(weights)), ..Files::default() },
    };
    const REMEDY: &str = "name the weights with --weights, or ask for --only thresholds,resistance, which need none";
    let loaded = files.load().map_err(|error| {
        Error::file(&run.path, format!("its network {network} ({weights}) cannot be read: {error}; {REMEDY}"))
    })?;
    if loaded.sha256 != *weights_sha256 {
        let text = format!(
            "was made against {network} ({weights}, SHA-256 {weights_sha256}), but what is there now has SHA-256 {}; {REMEDY}",
            loaded.sha256
        );
        return Err(Error::file(&run.path, text));
    }
    Ok(loaded)
}

impl Judge {
    /// Probabilities of `images`, `(images, n_classes)`. Runs on rayon's current pool.
    ///
    /// # Errors
    /// Those of a GPU; [`Error::Refused`] if the network answers with NaN.
    pub fn score(&self, images: &[u8]) -> Result<Vec<f32>> {
        let probabilities = match &self.on {
            On::Cpu(classifier) => {
                let n = images.len() / Canvas::of(&self.network).len();
                let mut probabilities = vec![0.0; n * self.network.classes.len()];
                classifier.classify(images, &mut probabilities);
                probabilities
            }
            On::Gpu(chosen) => {
                let launcher = chosen.launcher().expect("it is a GPU");
                classifier::classify(launcher, &self.network, images)?
            }
        };
        if probabilities.iter().any(|probability| probability.is_nan()) {
            return Err(Error::Refused(format!(
                "the network {} gives an image no probabilities: its answers are NaN; its weights are too large for single precision",
                self.network.name
            )));
        }
        Ok(probabilities)
    }

    /// Draws `n` images with `draw`, in parallel, and shows them to the network batch by batch; `see` gets the probabilities of each in
    /// turn. An image that is `known`, which gives its bytes, is not shown: `see` gets `None`.
    ///
    /// # Errors
    /// Those of [`Judge::score`].
    pub fn each<'a>(
        &self,
        n: usize,
        draw: impl Fn(&mut Pencil, usize, &mut [u8]) + Sync,
        known: impl Fn(usize) -> Option<&'a [u8]>,
        mut see: impl FnMut(usize, Option<&[f32]>),
    ) -> Result<()> {
        let (len, n_classes) = (Canvas::of(&self.network).len(), self.network.classes.len());
        let at_once = (AT_ONCE / len).clamp(1, MOST_AT_ONCE).min(n.max(1));
        let mut images = vec![0; at_once * len];
        for first in (0..n).step_by(at_once) {
            let count = at_once.min(n - first);
            let drawn = images[..count * len].par_chunks_mut(len).enumerate();
            drawn.for_each_init(Pencil::default, |pencil, (at, image)| draw(pencil, first + at, image));
            let is_new: Vec<bool> =
                (0..count).map(|at| known(first + at) != Some(&images[at * len..(at + 1) * len])).collect();
            let mut n_new = 0;
            for at in (0..count).filter(|&at| is_new[at]) {
                images.copy_within(at * len..(at + 1) * len, n_new * len);
                n_new += 1;
            }
            let rows = self.score(&images[..n_new * len])?;
            let mut rows = rows.chunks_exact(n_classes);
            for (at, is_new) in is_new.into_iter().enumerate() {
                see(first + at, is_new.then(|| rows.next().expect("a row an image")));
            }
        }
        Ok(())
    }

    /// Compares what the network says of the first elites of `run` with what is recorded.
    fn check(&self, run: &Run) -> Result<()> {
        const LOOKED_AT: usize = 8;
        let elites: Vec<&Elite> = run.distinct(&[]).into_iter().take(LOOKED_AT).map(|(elite, _)| elite).collect();
        let images: Vec<u8> = elites.iter().flat_map(|elite| &elite.image).copied().collect();
        let rows = self.score(&images)?;
        for (elite, row) in elites.iter().zip(rows.chunks(self.network.classes.len())) {
            if elite.probabilities.iter().zip(row).any(|(a, b)| a.to_bits() != b.to_bits()) {
                let text = "its network gives an elite other probabilities than the archive has recorded: one of them is damaged";
                return Err(Error::file(&run.path, text));
            }
        }
        Ok(())
    }
}

/// What a thread draws CPPNs with.
#[derive(Default)]
pub struct Pencil {
    compiler: Compiler,
    renderer: Renderer,
}

/// What CPPNs of a run are drawn on.
pub struct Easel<'a> {
    planes: InputPlanes,
    rules: &'a Rules,
    simd: Simd,
}

impl<'a> Easel<'a> {
    /// For the CPPNs of `run`; `None` if its genomes are direct.
    pub fn of(run: &'a Run, simd: Simd) -> Option<Easel<'a>> {
        let rules = run.cppn()?;
        Some(Easel { planes: InputPlanes::new(run.about.canvas, rules.normalise), rules, simd })
    }

    /// Draws `graph`.
    pub fn draw(&self, pencil: &mut Pencil, graph: &Graph, image: &mut [u8]) {
        let program = pencil.compiler.compile(self.simd, graph, self.rules.max_weight);
        pencil.renderer.render(self.simd, &self.planes, program, image);
    }
}
