//! A training under way.

use super::config::Config;
use super::data::{Data, Identity, Score, View};
use super::device;
use super::feed::Feed;
use super::notes::{notes, schedule};
use super::{Trained, percent};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::training::{Learned, Training, TrainingJob};
use crate::error::{Error, Result};
use crate::experiment::device::{Asked, Chosen};
use crate::experiment::evolve::Signals;
use crate::experiment::progress::{Progress, ProgressMode};
use crate::network::Network;
use crate::network::weights::read_bounded;
use crate::output::training::{Line, Lines, State, TrainingCheckpoint, TrainingFolder};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tracing::info;

/// A training: its network, its images, its trainer, and how far it is.
pub struct Job {
    config: Config,
    data: Arc<Data>,
    /// What `data` is.
    training: Identity,
    validation: Option<Identity>,
    /// With the weights that were last asked of the trainer.
    network: Network,
    view: View,
    device: Chosen,
    simd: Simd,
    trainer: Box<dyn Training>,
    folder: Option<TrainingFolder>,
    /// Iterations that are done.
    done: u32,
    /// Losses since the last line of the metrics.
    loss_sum: f64,
    loss_count: u32,
    /// Of the last checkpoint.
    saved: Option<u32>,
    started: SystemTime,
    elapsed_before: f64,
    clock: Instant,
}

/// The content of `run.json`.
#[derive(Serialize)]
struct Manifest<'a> {
    version: &'a str,
    commit: &'a str,
    arithmetic_version: u32,
    network: &'a str,
    configuration: &'a Config,
    training: Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Identity>,
    /// Files of images that could not be used.
    skipped: usize,
    device: String,
    device_reason: &'a str,
    threads: usize,
    simd: String,
    #[serde(with = "crate::output::rfc3339")]
    start: SystemTime,
    #[serde(with = "crate::output::rfc3339")]
    end: SystemTime,
    /// Time spent; less than from start to end for a training that was stopped and continued.
    seconds: f64,
    iterations: u32,
    images_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_loss: Option<f64>,
    weights_sha256: String,
}

impl Job {
    /// The training of `config` on `data`, before its first iteration.
    ///
    /// # Errors
    /// If the network cannot be trained on the data, the batch is larger than these or than memory holds, or the device cannot be used.
    pub fn new(config: Config, data: Data, asked: Asked, simd: Simd) -> Result<Job> {
        config.recipe.check()?;
        let (n, batch) = (data.training.n_images(), config.recipe.batch);
        if batch as usize > n {
            return Err(Error::Usage(format!("--batch {batch}: there are only {n} images to train on")));
        }
        let (network, view) = config.network(&data)?;
        let device = Chosen::choose(asked, &network)?;
        let recipe = &config.recipe;
        let dropout = recipe.dropout(&network.layers);
        let job = TrainingJob { seed: recipe.seed, batch: batch as usize, sgd: recipe.sgd(), dropout };
        let trainer = device::trainer(&device, &network, job, simd)?;
        Ok(Job {
            config,
            training: data.training.identity(),
            validation: data.validation.as_ref().map(|set| set.identity()),
            data: Arc::new(data),
            network,
            view,
            device,
            simd,
            trainer,
            folder: None,
            done: 0,
            loss_sum: 0.0,
            loss_count: 0,
            saved: None,
            started: SystemTime::now(),
            elapsed_before: 0.0,
            clock: Instant::now(),
        })
    }

    /// Goes on from `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Refused`] if its layers are others; what the device refuses.
    pub fn restore(&mut self, checkpoint: TrainingCheckpoint) -> Result<()> {
        let TrainingCheckpoint { state, learned } = checkpoint;
        if state.layers != self.lens() {
            return Err(Error::Refused(
                "the checkpoint is of another training: its layers have other sizes".to_string(),
            ));
        }
        self.trainer.restore(&learned)?;
        self.keep_weights(&learned);
        (self.done, self.loss_sum, self.loss_count) = (state.iteration, state.loss_sum, state.loss_count);
        (self.started, self.elapsed_before, self.saved) = (state.started, state.elapsed, Some(state.iteration));
        info!("going on after iteration {} of {}", self.done, self.config.recipe.iterations);
        Ok(())
    }

    /// Keeps the training in `folder` from now on; a new one has a checkpoint at once.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_in(&mut self, folder: TrainingFolder) -> Result<()> {
        info!("training {} in {}, on {}", self.network.name, folder.path().display(), self.trainer.describe());
        self.folder = Some(folder);
        if self.saved.is_none() {
            self.save()?;
        }
        Ok(())
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What decides it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What a weights file says of its origin.
    pub fn notes(&self, trained: &Trained) -> Vec<(&'static str, String)> {
        notes(&self.config, &self.data, [trained.correct, trained.of])
    }

    /// Weights and biases of each layer that learns.
    fn lens(&self) -> Vec<[usize; 2]> {
        self.network.parameters.iter().map(|layer| [layer.weight.len(), layer.bias.len()]).collect()
    }

    fn keep_weights(&mut self, learned: &[Learned]) {
        self.network.parameters = learned.iter().map(|learned| learned.parameters.clone()).collect();
    }

    /// Seconds that the training has taken.
    fn elapsed(&self) -> f64 {
        self.elapsed_before + self.clock.elapsed().as_secs_f64()
    }

    /// All iterations that are left, then the files of a finished training.
    ///
    /// # Errors
    /// As [`super::run`].
    pub fn train(&mut self, mode: ProgressMode, signals: Option<&Signals>) -> Result<Trained> {
        self.clock = Instant::now();
        let first = self.done;
        let mut lines = self.folder.as_ref().map(|folder| folder.metrics(first)).transpose()?;
        let mut progress = Progress::new(mode, u64::from(self.config.recipe.iterations), "iterations");
        let mut score = None;
        let data = Arc::clone(&self.data);
        let recipe = self.config.recipe.clone();
        let feed = Feed {
            set: &data.training,
            view: self.view,
            recipe: &recipe,
            first,
            threads: rayon::current_num_threads(),
        };
        let result = feed.run(|next| {
            let mut mark = Mark::now(self.done);
            for iteration in first..recipe.iterations {
                let batch = next()?;
                let rate = recipe.rate(iteration);
                let losses = self.trainer.step(iteration, &batch.images, &batch.labels, rate);
                let losses = losses.map_err(|error| self.lost(error))?;
                let loss = losses.iter().sum::<f64>() / f64::from(recipe.batch);
                if !loss.is_finite() {
                    return Err(self.diverged(&format!("the loss of iteration {iteration} is {loss}")));
                }
                self.loss_sum += loss;
                self.loss_count += 1;
                self.done = iteration + 1;
                let speed = |mark: &Mark| mark.speed(iteration + 1, recipe.batch);
                progress.update(u64::from(self.done), || format!("loss {loss:.4}, {:.0} images/s", speed(&mark)));
                score = self.look_up(&data, rate, &mut lines, &mut mark, &progress)?;
                let signal = signals.and_then(Signals::caught);
                let is_last = self.done == recipe.iterations;
                if self.folder.is_some()
                    && (is_last || signal.is_some() || self.done.is_multiple_of(self.config.checkpoint_every))
                {
                    lines.as_ref().map_or(Ok(()), Lines::sync)?;
                    self.save()?;
                }
                // Where nothing is left to do, a signal has come too late.
                if let (Some(signal), Some(folder), false) = (signal, &self.folder, is_last) {
                    self.draw()?;
                    let run = folder.path().to_path_buf();
                    return Err(Error::Stopped { signal, command: "train", run });
                }
            }
            Ok(())
        });
        progress.finish();
        result?;
        let time = self.clock.elapsed();
        self.finish(score, first).map(|trained| Trained { time, ..trained })
    }

    /// What is due after an iteration: a trial, a line of the metrics.
    fn look_up(
        &mut self,
        data: &Data,
        rate: f32,
        lines: &mut Option<Lines>,
        mark: &mut Mark,
        progress: &Progress,
    ) -> Result<Option<Score>> {
        let is_last = self.done == self.config.recipe.iterations;
        let is_trial = is_last || self.done.is_multiple_of(self.config.validate_every);
        if !is_trial && !self.done.is_multiple_of(self.config.log_every) {
            return Ok(None);
        }
        let images_per_second = mark.speed(self.done, self.config.recipe.batch);
        let mut score = None;
        if is_trial {
            let learned = self.trainer.learned().map_err(|error| self.lost(error))?;
            self.check(&learned)?;
            self.keep_weights(&learned);
            score = self.score(data)?;
        }
        let loss = self.loss_sum / f64::from(self.loss_count);
        if let (false, Some(score)) = (is_last, score) {
            let percent = percent(score.correct, score.of);
            progress.suspend(|| {
                info!("iteration {}: mean loss {loss:.4}, {percent} of the validation images right", self.done);
            });
        }
        if let Some(lines) = lines {
            lines.write(&Line {
                iteration: self.done,
                epoch: f64::from(self.done) * f64::from(self.config.recipe.batch) / data.training.n_images() as f64,
                rate,
                loss,
                accuracy: score.map(|score| score.accuracy()),
                validation_loss: score.map(|score| score.loss),
                images_per_second,
            })?;
        }
        (self.loss_sum, self.loss_count) = (0.0, 0);
        *mark = Mark::now(self.done);
        Ok(score)
    }

    /// What the network, with the weights last asked for, makes of the validation images, if there are any.
    fn score(&self, data: &Data) -> Result<Option<Score>> {
        let network = Arc::new(self.network.clone());
        let score = |set| Score::of(&network, set, self.view, &self.device, self.simd);
        data.validation.as_ref().map(score).transpose()
    }

    /// Writes a checkpoint of what is done.
    fn save(&mut self) -> Result<()> {
        let learned = self.trainer.learned().map_err(|error| self.lost(error))?;
        self.check(&learned)?;
        let state = State {
            arithmetic_version: ARITHMETIC_VERSION,
            iteration: self.done,
            loss_sum: self.loss_sum,
            loss_count: self.loss_count,
            elapsed: self.elapsed(),
            started: self.started,
            training: self.training.clone(),
            validation: self.validation.clone(),
            layers: self.lens(),
            config: self.config.clone(),
        };
        if let Some(folder) = &self.folder {
            folder.write_checkpoint(&TrainingCheckpoint { state, learned })?;
            self.saved = Some(self.done);
        }
        Ok(())
    }

    /// Fails if a weight or a velocity is no number.
    fn check(&self, learned: &[Learned]) -> Result<()> {
        let each = learned.iter().flat_map(|learned| [&learned.parameters, &learned.velocity]);
        let mut values = each.flat_map(|layer| layer.weight.iter().chain(&layer.bias));
        match values.find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(self.diverged(&format!("a weight after iteration {} is {value}", self.done - 1))),
        }
    }

    /// What to say of a training that came to no numbers.
    fn diverged(&self, how: &str) -> Error {
        let kept = match (&self.folder, self.saved) {
            (Some(folder), Some(saved)) => {
                format!("the last good checkpoint, of {saved} iterations, stays in {}", folder.path().display())
            }
            _ => "nothing was written".to_string(),
        };
        Error::Refused(format!("the training diverged: {how}; {kept}; a smaller --rate may do, in a new folder"))
    }

    /// What to say of `error`: where the device failed, that what was saved stays.
    fn lost(&self, error: Error) -> Error {
        match (error, &self.folder, self.saved) {
            (error @ (Error::Driver { .. } | Error::Launch { .. }), Some(folder), Some(_)) => {
                Error::DeviceLost { source: Box::new(error), command: "train", run: folder.path().to_path_buf() }
            }
            (error, ..) => error,
        }
    }

    fn draw(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let recipe = &self.config.recipe;
        let title = format!("{}, trained for {} iterations", self.network.name, self.done);
        let subtitle = format!(
            "seed {}, {} images an iteration, {}, momentum {}, decay {}",
            recipe.seed,
            recipe.batch,
            schedule(recipe),
            recipe.momentum,
            recipe.decay
        );
        folder.draw(&title, &subtitle)
    }

    /// Writes what a finished training leaves, if it is kept; `score` is that of its last iteration, if this process made that.
    fn finish(&mut self, score: Option<Score>, first: u32) -> Result<Trained> {
        let score = match score {
            Some(score) => Some(score),
            None => self.score(&self.data)?,
        };
        let Score { correct, of, .. } = score.unwrap_or_default();
        let recipe = &self.config.recipe;
        let skipped = self.data.training.skipped() + self.data.validation.as_ref().map_or(0, |set| set.skipped());
        let trained = Trained {
            network: Arc::new(self.network.clone()),
            correct,
            of,
            images: u64::from(recipe.iterations - first) * u64::from(recipe.batch),
            time: self.clock.elapsed(),
            iterations: recipe.iterations,
            batch: recipe.batch,
            skipped,
            folder: self.folder.as_ref().map(|folder| folder.path().to_path_buf()),
        };
        let Some(folder) = &self.folder else { return Ok(trained) };
        folder.write_weights(&self.network, &self.notes(&trained))?;
        self.draw()?;
        let seconds = self.elapsed();
        let weights: PathBuf = folder.weights();
        let weights_sha256 = Sha256::digest(read_bounded(&weights, u64::MAX - 1)?);
        folder.finish(&Manifest {
            version: VERSION,
            commit: COMMIT,
            arithmetic_version: ARITHMETIC_VERSION,
            network: &self.network.name,
            configuration: &self.config,
            training: self.training.clone(),
            validation: self.validation.clone(),
            skipped,
            device: self.device.name(),
            device_reason: &self.device.reason,
            threads: rayon::current_num_threads(),
            simd: self.simd.to_string(),
            start: self.started,
            end: SystemTime::now(),
            seconds,
            iterations: recipe.iterations,
            images_per_second: f64::from(recipe.iterations) * f64::from(recipe.batch) / seconds.max(f64::MIN_POSITIVE),
            correct: score.map(|score| score.correct),
            accuracy: score.map(|score| score.accuracy()),
            validation_loss: score.map(|score| score.loss),
            weights_sha256: weights_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        })?;
        Ok(trained)
    }
}

/// Where the iterations stood at some moment.
struct Mark {
    at: Instant,
    done: u32,
}

impl Mark {
    fn now(done: u32) -> Mark {
        Mark { at: Instant::now(), done }
    }

    /// Images a second since then.
    fn speed(&self, done: u32, batch: u32) -> f64 {
        f64::from(done - self.done) * f64::from(batch) / self.at.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
