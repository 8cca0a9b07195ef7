//! A round: its network, what evolves against it, and its images.

use super::{Config, Job, load, sample};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::experiment::classify::{self, Item, middle};
use crate::experiment::device::Chosen;
use crate::experiment::evolve::{self, Outcome, file_of_run};
use crate::experiment::request::{EvolveRequest, OutChoice, StopOverrides};
use crate::experiment::train::config::Config as Training;
use crate::experiment::train::data::{Data, Identity, Score};
use crate::experiment::train::{self, AddedImages, percent};
use crate::genome::Canvas;
use crate::network::weights::Files;
use crate::network::{Crops, Network};
use crate::output::archive_file;
use crate::output::retrain::{
    self as output, ClassRow, EvolutionRow, FoolingImages, Harvest, ImagesRow, NetworkRow, Part, Round, RoundFolder,
    Spread, Taken, sha256_of,
};
use crate::output::{run_folder, series};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::info;

/// What is needed of a training's `run.json`.
#[derive(Deserialize)]
struct Finished {
    configuration: Training,
    training: Identity,
    validation: Option<Identity>,
    seconds: f64,
    correct: Option<usize>,
    accuracy: Option<f64>,
    weights_sha256: String,
}

/// The evolutions of a round.
struct Evolved {
    runs: Vec<Harvest>,
    /// The file of each run's archive.
    archives: Vec<PathBuf>,
    evaluations: u64,
    seconds: f64,
}

impl Job<'_> {
    /// Makes a round, or what is left of it.
    pub(super) fn round(&mut self, round: u32) -> Result<Round> {
        let config = self.record.configuration.clone();
        let folder = self.folder.round(round)?;
        let name = format!("DNN_{round}");
        let before = self.images_before(round)?;
        self.look_for_signals()?;
        let network_row = match (round, &self.record.first_network) {
            (1, Some(_)) => self.take_first(&folder)?,
            _ => self.train(round, &folder, &before)?,
        };
        self.look_for_signals()?;
        let network = load(&folder.weights(), &self.given())?;
        let evolved = self.evolve(round, &folder, &network)?;
        self.look_for_signals()?;

        let fooling = self.data.classes.len();
        let held_out = match before.last() {
            Some(images) => self.held_out(images, &network, fooling)?,
            None => None,
        };
        let taken = (network.classes.len() > fooling).then(|| {
            let part = |of: fn(&Harvest) -> &Archive| taken(evolved.runs.iter().map(of), fooling);
            Taken { generation_0: part(|run| &run.first), last_generation: part(|run| &run.last), held_out }
        });
        let images_row = write_images(&config, round, &folder, self.view().shown, &evolved)?;
        let mut files = BTreeMap::new();
        for path in evolved.archives.iter().chain([&folder.weights(), &folder.images()]) {
            files.insert(folder.name_of(path), sha256_of(path)?);
        }
        let row = Round {
            round,
            network: NetworkRow { name, ..network_row },
            evolution: self.evolution_row(round, &evolved),
            taken,
            images: images_row,
            files,
        };
        folder.finish(&row)?;
        let EvolutionRow { spread, over_9999, confidences, .. } = &row.evolution;
        info!(
            "{}: median confidence {}, {over_9999} of {confidences} at 0.9999",
            row.network.name,
            super::confidence(spread.median)
        );
        Ok(row)
    }

    /// The images of a round that is done: looked at when the job was opened, or written since.
    pub(super) fn images_of(&self, round: &Round) -> Result<FoolingImages> {
        let folder = self.folder.round(round.round)?;
        let path = folder.images();
        match round.files.get(&folder.name_of(&path)) {
            Some(sha256) => FoolingImages::open_known(&path, sha256.clone()),
            None => FoolingImages::open(&path),
        }
    }

    /// The images of the rounds before `round`, in order.
    fn images_before(&self, round: u32) -> Result<Vec<Arc<FoolingImages>>> {
        self.rounds[..round as usize - 1].iter().map(|round| self.images_of(round).map(Arc::new)).collect()
    }

    /// Puts the network that was given into the folder of the first round.
    fn take_first(&mut self, folder: &RoundFolder) -> Result<NetworkRow> {
        let path = folder.weights();
        if let Some(first) = &self.first {
            std::fs::create_dir_all(folder.network()).map_err(Error::io("create", &folder.network()))?;
            first.save(&path, &[])?;
        } else if !path.is_file() {
            return Err(Error::file(
                &path,
                "is missing: the job was stopped before it had a copy of the first network; give the whole call again, with --out and \
                 --resume-or-start",
            ));
        }
        let network = load(&path, &self.given())?;
        if Some(super::digest_of(&network)) != self.record.first_network {
            return Err(Error::file(
                &path,
                "is not the network that the job was begun with; give the whole call again, with --out and --resume-or-start",
            ));
        }
        let device = Chosen::choose(self.request.device, &network)?;
        let score = |set| Score::of(&network, set, self.view(), &device, self.request.simd);
        let score = self.data.validation.as_ref().map(score).transpose()?;
        Ok(NetworkRow {
            name: String::new(),
            outputs: network.classes.len(),
            seed: None,
            iterations: None,
            images: None,
            fooling_images: 0,
            correct: score.map(|score| score.correct),
            accuracy: score.map(|score| score.accuracy()),
            seconds: 0.0,
        })
    }

    /// The training of `round`, on the data and the images of the rounds before.
    fn training(&self, round: u32, before: &[Arc<FoolingImages>]) -> Result<(Training, Data)> {
        let config = &self.record.configuration;
        let mut data = self.data.clone();
        let mut added = None;
        if !before.is_empty() {
            data = data.with(&config.fooling_class, before, self.view())?;
            added = Some(AddedImages {
                images: before.iter().map(|file| file.sampled().count()).sum(),
                sha256: before.iter().map(|file| file.sha256().to_string()).collect(),
            });
        }
        // A list of the program's own has as many outputs as there are classes, unless it is told.
        let outputs = (added.is_some() || self.layers.is_some()).then_some(data.classes.len());
        let training = Training {
            network: self.record.network.clone(),
            layers: self.layers.clone(),
            data: self.record.data.clone(),
            validation: self.record.validation.clone(),
            classes: data.classes.clone(),
            broken: self.record.broken,
            log_every: 100,
            validate_every: 1000,
            checkpoint_every: 1000,
            recipe: config.recipe(&self.list, round),
            outputs,
            added,
        };
        Ok((training, data))
    }

    /// Trains the network of `round`, unless that is done.
    fn train(&self, round: u32, folder: &RoundFolder, before: &[Arc<FoolingImages>]) -> Result<NetworkRow> {
        let (training, data) = self.training(round, before)?;
        let (recipe, outputs) = (training.recipe.clone(), training.classes.len());
        let identity = data.training.identity();
        let added = training.added.as_ref().map_or(0, |added| added.images);
        let manifest = folder.network().join("run.json");
        let is_done = manifest.is_file() && {
            let finished: Finished = read_finished(&manifest)?;
            // Where the images lie is nobody's business.
            let places = Training {
                data: training.data.clone(),
                validation: training.validation.clone(),
                ..finished.configuration
            };
            let tried_on = data.validation.as_ref().map(|set| set.identity());
            places == training && finished.training == identity && finished.validation == tried_on
        };
        if !is_done {
            info!("training DNN_{round} on {} images, {added} of them fooling images", identity.images);
            let how = (self.request.device, self.request.simd, self.request.progress);
            let trained = train::run_in(&folder.network(), training, data, how, self.signals)?;
            if trained.of > 0 {
                let right = percent(trained.correct, trained.of);
                info!("DNN_{round}: {} of {} validation images right ({right})", trained.correct, trained.of);
            }
        }
        let finished = read_finished(&manifest)?;
        if sha256_of(&folder.weights())? != finished.weights_sha256 {
            return Err(Error::file(
                &folder.weights(),
                "is damaged: its SHA-256 is not that in run.json beside it; remove that run.json, and --resume writes the weights again",
            ));
        }
        Ok(NetworkRow {
            name: String::new(),
            outputs,
            seed: Some(recipe.seed),
            iterations: Some(recipe.iterations),
            images: Some(identity.images),
            fooling_images: added,
            correct: finished.correct,
            accuracy: finished.accuracy,
            seconds: finished.seconds,
        })
    }

    /// The evolutions against `network`, the one of `round`: made, or gone on with. Generation 0 is made again: it is one of hundreds,
    /// and a function of seed and network.
    fn evolve(&self, round: u32, folder: &RoundFolder, network: &Arc<Network>) -> Result<Evolved> {
        let config = self.record.configuration.evolution(round, self.data.classes.len() as u32);
        let runs = self.record.configuration.runs(round);
        let path = folder.evolution();
        let weights = file_of_run(&folder.weights())?;
        let layers = self.folder.layers().map(|path| file_of_run(&path)).transpose()?;
        info!("evolving {runs} runs of {} generations against DNN_{round}", config.generations);
        let outcome = evolve::run_on_pool(
            EvolveRequest {
                config: config.clone(),
                runs,
                files: Files { weights: Some(weights), network: layers, ..Files::default() },
                start: None,
                out: OutChoice::ResumeOrStart(path.clone()),
                device: self.request.device,
                stop: StopOverrides::default(),
                threads: rayon::current_num_threads(),
                simd: self.request.simd,
                chunk: None,
                progress: self.request.progress,
                pictures: false,
                tensorboard: None,
                lineage: false,
            },
            self.signals,
        )?;
        let (evaluations, seconds) = match outcome {
            Outcome::Run(manifest, _) => (manifest.evaluations, manifest.seconds),
            Outcome::Series(summary, _) => (summary.evaluations, summary.seconds),
        };
        let seeds = evolve::seeds(&config, runs)?;
        let first = self.generation_0(&config, &seeds, network)?;
        let run_of = |seed: u64| if series::is_series(&path) { path.join(format!("seed{seed}")) } else { path.clone() };
        let archives: Vec<PathBuf> = seeds.iter().map(|&seed| run_folder::archive_of(&run_of(seed))).collect();
        let runs = seeds.iter().zip(&archives).zip(first).map(|((&seed, path), first)| {
            let (last, _) = archive_file::read(path)?;
            if last.generation != config.generations || last.classes != first.classes {
                let reason = format!("is of generation {}, wanted {}", last.generation, config.generations);
                return Err(Error::file(path, reason));
            }
            Ok(Harvest { seed, first, last })
        });
        Ok(Evolved { runs: runs.collect::<Result<_>>()?, archives, evaluations, seconds })
    }

    /// The archives after generation 0.
    fn generation_0(
        &self,
        config: &crate::experiment::config::Config,
        seeds: &[u64],
        network: &Arc<Network>,
    ) -> Result<Vec<Archive>> {
        let network = Arc::new(config.judge(Network::clone(network))?);
        let job = evolve::job(config, seeds.to_vec(), &network)?;
        let device = Chosen::choose(self.request.device, &network)?;
        let chunk = device.chunk(&job, None);
        let mut backend = device.backend(job, self.request.simd, chunk)?;
        backend.generation()?;
        backend.counters()?;
        (0..seeds.len()).map(|run| backend.archive(run)).collect()
    }

    /// Of the images of a round that no network was trained with, those that `network` takes for the class `fooling`.
    fn held_out(&self, images: &FoolingImages, network: &Arc<Network>, fooling: usize) -> Result<Option<Part>> {
        /// Images that are classified at once.
        const CHUNK: usize = 4096;
        let rows: Vec<usize> = (0..images.rows.len()).filter(|&row| !images.rows[row].is_sampled).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let view = self.view();
        let crops = match self.record.configuration.crops {
            Some(10) => Crops::Ten,
            _ => Crops::One,
        };
        let device = Chosen::choose(self.request.device, network)?;
        let mut part = Part { count: 0, of: rows.len() };
        for rows in rows.chunks(CHUNK) {
            let item = |&row: &usize| {
                let pixels = images.image(row)?;
                let pixels = if crops == Crops::Ten { pixels } else { middle(&pixels, view.shown, view.seen) };
                Ok(Item { name: String::new(), pixels, crops, recorded: None })
            };
            let items = rows.iter().map(item).collect::<Result<Vec<_>>>()?;
            let answers = classify::classify_on(&device, network, self.request.simd, &items)?;
            part.count += answers.iter().filter(|probabilities| best(probabilities) == fooling).count();
        }
        Ok(Some(part))
    }

    /// What the evolutions of `round` came to.
    fn evolution_row(&self, round: u32, evolved: &Evolved) -> EvolutionRow {
        let config = &self.record.configuration;
        let of_runs: Vec<Vec<f32>> = evolved.runs.iter().map(|run| run.last.fitness()).collect();
        let all = || of_runs.iter().flatten().copied();
        let over = |threshold: f32| all().filter(|&confidence| confidence >= threshold).count();
        let n = all().count();
        let share = |count: usize| Part { count, of: n }.share();
        let [over_9, over_99, over_999, over_9999] = [0.9, 0.99, 0.999, 0.9999].map(over);
        let classes = self.data.classes.iter().enumerate().map(|(class, name)| {
            let of_class = || of_runs.iter().map(|fitness| fitness[class]);
            ClassRow {
                class: class as u32,
                name: name.clone(),
                spread: Spread::of(of_class()),
                over_9999: of_class().filter(|&confidence| confidence >= 0.9999).count(),
            }
        });
        EvolutionRow {
            first_seed: config.evolution_seed(round),
            runs: config.runs(round),
            generations: config.generations,
            evaluations: evolved.evaluations,
            seconds: evolved.seconds,
            confidences: n,
            spread: Spread::of(all()),
            over_9,
            over_99,
            over_999,
            over_9999,
            share_over_9: share(over_9),
            share_over_99: share(over_99),
            share_over_999: share(over_999),
            share_over_9999: share(over_9999),
            median_of_generation_0: Spread::of(evolved.runs.iter().flat_map(|run| run.first.fitness())).median,
            classes: classes.collect(),
        }
    }
}

fn read_finished(path: &Path) -> Result<Finished> {
    output::read_json(path, "the run.json of a training")
}

/// The most probable class; of equals the lowest.
fn best(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (class, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = class;
        }
    }
    best
}

/// The images of `archives` whose most probable class is `fooling`.
fn taken<'a>(archives: impl Iterator<Item = &'a Archive>, fooling: usize) -> Part {
    let mut part = Part::default();
    for elite in archives.flat_map(|archive| &archive.elites) {
        part.of += 1;
        part.count += usize::from(best(&elite.probabilities) == fooling);
    }
    part
}

/// Samples and writes the images of `round`.
fn write_images(
    config: &Config,
    round: u32,
    folder: &RoundFolder,
    canvas: Canvas,
    evolved: &Evolved,
) -> Result<ImagesRow> {
    let each: Vec<bool> = evolved
        .runs
        .iter()
        .flat_map(|run| run.archives().map(|(is_last, archive)| std::iter::repeat_n(is_last, archive.elites.len())))
        .flatten()
        .collect();
    let sampled = sample(config.seed, round, each.len(), config.sampled(round) as usize);
    output::write_images(&folder.images(), canvas, &evolved.runs, &sampled)?;
    let count = |wanted: bool| each.iter().zip(&sampled).filter(|&(&is_last, &is)| is && is_last == wanted).count();
    Ok(ImagesRow {
        of: each.len(),
        sampled: count(false) + count(true),
        sampled_of_generation_0: count(false),
        sampled_of_last_generation: count(true),
    })
}
