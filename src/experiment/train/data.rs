//! What a network is trained on, and what it is tried on meanwhile.

use super::folder::{Broken, Folder};
use super::recipe::Recipe;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cuda::classifier;
use crate::dataset::{Mnist, Split};
use crate::error::{Error, Result};
use crate::experiment::classify::middle;
use crate::experiment::device::Chosen;
use crate::genome::Canvas;
use crate::network::Network;
use crate::network::list::List;
use crate::output::retrain::FoolingImages;
use crate::rng::{Philox, Purpose, below};
use crate::simd::Simd;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Images that are classified at once where they are decoded for it.
const CHUNK: usize = 256;

/// The sizes in which a network comes by images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Of the images that it is shown.
    pub shown: Canvas,
    /// Of the part that it sees: in training one at random, else the middle.
    pub seen: Canvas,
}

impl View {
    /// Of the networks of `list`.
    pub fn of(list: &List) -> View {
        let canvas = |side| Canvas { height: side, width: side, channels: list.channel_order.channels() };
        View { shown: canvas(list.image), seen: canvas(list.crop) }
    }
}

/// An image as it is shown, and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// `(height, width, channels)`
    pub pixels: Vec<u8>,
    pub class: u32,
}

/// Images with their classes.
#[derive(Clone, Debug)]
pub enum Set {
    Digits(Mnist),
    Folder(Folder),
}

/// What tells a set from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub images: usize,
    /// Of MNIST, of the files of images and of labels; of a folder, see [`Folder::scan`].
    pub sha256: String,
}

impl Set {
    /// Number of images.
    pub fn n_images(&self) -> usize {
        match self {
            Set::Digits(digits) => digits.len(),
            Set::Folder(folder) => folder.n_images(),
        }
    }

    /// What tells it from others.
    pub fn identity(&self) -> Identity {
        let sha256 = match self {
            Set::Digits(Mnist { images, labels }) => format!("{} {}", images.sha256, labels.sha256),
            Set::Folder(folder) => folder.sha256.clone(),
        };
        Identity { images: self.n_images(), sha256 }
    }

    /// Files that could not be used, so far.
    pub fn skipped(&self) -> usize {
        match self {
            Set::Digits(_) => 0,
            Set::Folder(folder) => folder.skipped(),
        }
    }

    /// The `index`-th image, or what takes its place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn picture(&self, index: usize, view: View) -> Result<Picture> {
        match self {
            Set::Digits(digits) => Ok(digit(digits, index)),
            Set::Folder(folder) => folder.picture(index, view),
        }
    }

    /// The `index`-th image; `None` if it cannot be decoded and is skipped.
    fn try_picture(&self, index: usize, view: View) -> Result<Option<Picture>> {
        match self {
            Set::Digits(digits) => Ok(Some(digit(digits, index))),
            Set::Folder(folder) => folder.try_picture(index, view),
        }
    }
}

fn digit(digits: &Mnist, index: usize) -> Picture {
    let len = Canvas::MNIST.len();
    Picture { pixels: digits.images.pixels[index * len..][..len].to_vec(), class: digits.labels.labels[index].into() }
}

/// What a network is trained on.
#[derive(Clone, Debug)]
pub struct Data {
    pub training: Set,
    /// What it is tried on, if anything.
    pub validation: Option<Set>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

impl Data {
    /// Digits, to train on and to be tried on.
    pub fn digits(training: Mnist, test: Mnist) -> Data {
        let classes = (0..10).map(|digit| digit.to_string()).collect();
        Data { training: Set::Digits(training), validation: Some(Set::Digits(test)), classes }
    }

    /// Reads what `dir` holds: MNIST's four files, or a folder of images a class; of such, `validation` is another.
    ///
    /// # Errors
    /// Those of [`Mnist::load`] and of [`Folder::scan`]; [`Error::File`] if it holds neither, [`Error::Usage`] for options that do not
    /// suit what it holds.
    pub fn load(dir: &Path, validation: Option<&Path>, names: Option<&[String]>, broken: Broken) -> Result<Data> {
        let is_mnist = [dir.to_path_buf(), dir.join("mnist")].iter().any(|dir| {
            let file = format!("{}-images-idx3-ubyte", Split::Train);
            dir.join(&file).exists() || dir.join(file + ".gz").exists()
        });
        let has_folders = || {
            let mut entries = dir.read_dir().into_iter().flatten().flatten();
            entries.any(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_dir())
        };
        if is_mnist || !has_folders() {
            for (option, given) in [("--val", validation.is_some()), ("--class-names", names.is_some())] {
                if given && is_mnist {
                    let text =
                        format!("{option} is for folders of images; {} holds MNIST, which has its own", dir.display());
                    return Err(Error::Usage(text));
                }
            }
            if dir.is_dir() && !is_mnist {
                return Err(Error::file(
                    dir,
                    "holds neither a folder a class, with its images (CLASS/IMAGE.jpg), nor MNIST's four files \
                     (train-images-idx3-ubyte and so on, plain or .gz); see --data",
                ));
            }
            let training = Mnist::load(dir, Split::Train)?;
            return Ok(Data::digits(training, Mnist::load(dir, Split::Test)?));
        }
        let training = Folder::scan(dir, names, broken)?;
        let validation = validation.map(|dir| Folder::scan(dir, Some(&training.classes), broken)).transpose();
        let validation = validation.map_err(|error| match error {
            Error::File { path, reason } => Error::File {
                path,
                reason: reason
                    .replace("--class-names gives", "the training images have")
                    .replace("--class-names does not give", "the training images do not have"),
            },
            error => error,
        })?;
        let classes = training.classes.clone();
        Ok(Data { training: Set::Folder(training), validation: validation.map(Set::Folder), classes })
    }

    /// These, and the sampled images of `files` as a class `name` behind theirs.
    ///
    /// # Errors
    /// If the files cannot be read, or have images of another size than `view` shows.
    pub fn with(mut self, name: &str, files: &[Arc<FoolingImages>], view: View) -> Result<Data> {
        let class = self.classes.len() as u32;
        self.classes.push(name.to_string());
        for file in files {
            file.check(view.shown)?;
        }
        let digests: Vec<&str> = files.iter().map(|file| file.sha256()).collect();
        let sha256 = |of: &str| format!("{of} {name} {}", digests.join(" "));
        match &mut self.training {
            Set::Digits(Mnist { images, labels }) => {
                for file in files {
                    for row in file.sampled() {
                        images.pixels.extend(file.image(row)?);
                        labels.labels.push(class as u8);
                        images.count += 1;
                    }
                }
                labels.sha256 = sha256(&labels.sha256);
            }
            Set::Folder(folder) => {
                folder.sha256 = sha256(&folder.sha256);
                folder.add(class, files);
            }
        }
        Ok(self)
    }

    /// Fails where a network of `list` is not shown images of their size.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check_size(&self, list: &List) -> Result<()> {
        let View { shown, .. } = View::of(list);
        if let Set::Digits(_) = self.training
            && shown != Canvas::MNIST
        {
            let colour = if shown.channels == 1 { "grey" } else { "in colour" };
            return Err(Error::Usage(format!(
                "MNIST's digits are 28 x 28 and grey, {} is shown images of {} x {} {colour}; --data DIR names a folder of such",
                list.name, shown.width, shown.height
            )));
        }
        Ok(())
    }

    /// The number of outputs of a network of `list` for these images.
    ///
    /// # Errors
    /// [`Error::Usage`] if it cannot be trained on them.
    pub fn n_outputs(&self, list: &List) -> Result<usize> {
        self.check_size(list)?;
        let n = self.classes.len();
        // A list of the program's own has as many outputs as are wanted, where it says "classes".
        let outputs = if list.sha256.is_none() { n } else { list.classes };
        if n > outputs {
            return Err(Error::Usage(format!(
                "the images are of {n} classes, the layer list {} has {outputs}: labels {outputs} to {} are out of its range; write \
                 `classes = {n}` in it",
                list.name,
                n - 1
            )));
        }
        Ok(outputs)
    }
}

/// A batch on its way to the trainer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `(batch, height, width, channels)` of what the network sees.
    pub images: Vec<u8>,
    pub labels: Vec<u32>,
}

impl Batch {
    /// Image `index` of `set` as the network sees it as image `slot` of the batch of `iteration`, in `out`; its class.
    ///
    /// Of the candidate `slot` and the generation `iteration`, word 0 chooses the row and word 1 the column where the part begins, among all
    /// that there are, and where the recipe mirrors, the lowest bit of word 2 whether it is mirrored.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn image(
        out: &mut [u8],
        set: &Set,
        index: usize,
        view: View,
        recipe: &Recipe,
        [iteration, slot]: [u32; 2],
    ) -> Result<u32> {
        let View { shown, seen } = view;
        if let (Set::Digits(digits), true, false) = (set, shown == seen, recipe.mirror) {
            out.copy_from_slice(&digits.images.pixels[index * shown.len()..][..shown.len()]);
            return Ok(digits.labels.labels[index].into());
        }
        let Picture { pixels, class } = set.picture(index, view)?;
        let draws = Philox::new(recipe.seed).draws(Purpose::TrainCrop, slot, iteration);
        let choice = |word: u32, most: usize| below(draws.word(word), most as u32 + 1) as usize;
        let (top, left) = (choice(0, shown.height - seen.height), choice(1, shown.width - seen.width));
        let is_mirrored = recipe.mirror && draws.word(2) & 1 == 1;
        for (y, row) in out.chunks_exact_mut(seen.width * seen.channels).enumerate() {
            row.copy_from_slice(&pixels[((top + y) * shown.width + left) * shown.channels..][..row.len()]);
            if is_mirrored {
                let (n, channels) = (seen.width, seen.channels);
                for x in 0..n / 2 {
                    (0..channels).for_each(|c| row.swap(x * channels + c, (n - 1 - x) * channels + c));
                }
            }
        }
        Ok(class)
    }
}

/// What a network makes of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Images that it takes for what they are, out of `of`; of equal probabilities the lower class counts.
    pub correct: usize,
    pub of: usize,
    /// Cross entropy, averaged.
    pub loss: f64,
}

impl Score {
    /// Tries `network` on `set`, of each image the middle. Runs on `device` and on rayon's current pool.
    ///
    /// # Errors
    /// If an image cannot be read, the network does not fit into memory, or the device fails.
    pub fn of(network: &Arc<Network>, set: &Set, view: View, device: &Chosen, simd: Simd) -> Result<Score> {
        let on_cpu = Classifier::new(Arc::clone(network), simd);
        on_cpu.check(rayon::current_num_threads())?;
        let classify = |pixels: &[u8], n: usize| match device.launcher() {
            Some(launcher) => classifier::classify(launcher, network, pixels),
            None => {
                let mut probabilities = vec![0.0; n * network.classes.len()];
                on_cpu.classify(pixels, &mut probabilities);
                Ok(probabilities)
            }
        };
        let mut score = Score { of: 0, ..Score::default() };
        if let (Set::Digits(digits), true) = (set, view.shown == view.seen) {
            let labels: Vec<u32> = digits.labels.labels.iter().map(|&label| label.into()).collect();
            score.add(&classify(&digits.images.pixels, labels.len())?, &labels);
        } else {
            for first in (0..set.n_images()).step_by(CHUNK) {
                let range = (first..(first + CHUNK).min(set.n_images())).into_par_iter();
                let pictures: Vec<Option<Picture>> =
                    range.map(|index| set.try_picture(index, view)).collect::<Result<_>>()?;
                let pictures: Vec<Picture> = pictures.into_iter().flatten().collect();
                let pixels: Vec<u8> =
                    pictures.iter().flat_map(|picture| middle(&picture.pixels, view.shown, view.seen)).collect();
                let labels: Vec<u32> = pictures.iter().map(|picture| picture.class).collect();
                score.add(&classify(&pixels, labels.len())?, &labels);
            }
        }
        score.loss /= score.of.max(1) as f64;
        Ok(score)
    }

    /// Counts images whose `probabilities` are `(labels, n_classes)`.
    fn add(&mut self, probabilities: &[f32], labels: &[u32]) {
        if labels.is_empty() {
            return;
        }
        for (probabilities, &label) in probabilities.chunks_exact(probabilities.len() / labels.len()).zip(labels) {
            let mut best = 0;
            for (class, probability) in probabilities.iter().enumerate() {
                if *probability > probabilities[best] {
                    best = class;
                }
            }
            self.correct += usize::from(best == label as usize);
            let own = probabilities[label as usize];
            self.loss -= f64::from(if own < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { own }).ln();
        }
        self.of += labels.len();
    }

    /// The share that is right.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.of.max(1) as f64
    }
}
