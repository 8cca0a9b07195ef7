//! What a gradient ascent leaves behind: its folder, manifest, metrics, images and pictures.
//!
//! Where pixels climb, an image is a variable `x`, `(channels, height, width)` in the network's order, in units of pixels less the mean. It is shown twice:
//!
//! - *As 8 bits*, what a person sees and a PNG holds: `v = x + mean`, clipped to 0..255 as a step does it, then the whole part of
//!   `v + 0.5`, in f32.
//! - *Without the mean*, as the paper's figures show it: with `m` the largest `|x|`, the whole part of `fma(127.5, x / m, 128)` in f32:
//!   grey is 0, and the contrast is stretched over what there is. All grey (128) where m is 0.
//!
//! Where CPPNs climb, an image is what one draws, `(channels, height, width)`, red first, in pixels; as 8 bits it is the ordinary drawing.
//! The CPPNs stand in an archive, of each class the one whose 8-bit image has the highest confidence (of equals the first seed's).

use crate::archive::{ARITHMETIC_VERSION, Archive, ContentHasher, Statistics, mix};
use crate::error::{Error, Result};
use crate::experiment::ascend::config::Config;
use crate::experiment::config::name_of;
use crate::genome::Canvas;
use crate::network::{ChannelOrder, Network, Shape};
use crate::output::contact_sheet::{self, Cell, Sheet, round_down, thousands};
use crate::output::locked_folder::LockedFolder;
use crate::output::tensors::{self, Tensor, Tensors};
use crate::output::{
    About, Image, Metrics, archive_file, atomic, confidence_text, convergence, hex64, pictures, rfc3339, run_folder,
};
use crate::telemetry;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const CONVERGENCE: &str = "convergence.png";
pub(crate) const IMAGES: &str = "images.safetensors";
pub(crate) const MANIFEST: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
/// Folders of pictures, and the sheets beside them.
const AS_8_BITS: [&str; 2] = ["images", "contact_sheet"];
const WITHOUT_MEAN: [&str; 2] = ["without_mean", "contact_sheet_without_mean"];

/// Why an ascent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// All its iterations were made.
    Iterations,
    /// A signal came; the images are those of the last iteration that was made.
    Signal,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AscentManifest {
    /// Of this program.
    pub version: String,
    /// Of its sources, where it was built from a repository.
    pub commit: String,
    pub arithmetic_version: u32,
    /// Every key, given or not.
    pub configuration: Config,
    /// What the steps ran on, and why on that.
    pub device: String,
    pub device_reason: String,
    pub threads: usize,
    /// The instruction set.
    pub simd: String,
    pub network: String,
    /// The file, or `built in`.
    pub weights: String,
    pub weights_sha256: String,
    /// How the weights were drawn, if nobody trained them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<String>,
    #[serde(with = "rfc3339")]
    pub start: SystemTime,
    #[serde(with = "rfc3339")]
    pub end: SystemTime,
    pub seconds: f64,
    pub stopped_by: End,
    /// Iterations made.
    pub iterations: u32,
    /// Images by iterations, a second.
    pub images_per_second: f64,
    /// Of the images' confidences.
    #[serde(flatten)]
    pub statistics: Statistics,
    /// The most memory that the process could take, as printed at its start, and the most that it took.
    pub planned_memory_bytes: u64,
    pub peak_memory_bytes: Option<u64>,
    /// See [`result_hash`].
    #[serde(with = "hex64")]
    pub result_hash: u64,
    /// By class, then by seed.
    pub images: Vec<ImageResult>,
}

/// What became of an image. Iterations are counted from 0; what an iteration sees is the image before it is moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageResult {
    pub class: u32,
    pub name: String,
    pub seed: u64,
    /// Probability of its class, and the most probable class, as the last iteration saw them.
    pub confidence: f32,
    pub best: u32,
    /// The same of the image as 8 bits.
    pub confidence_8bit: f32,
    pub best_8bit: u32,
    /// The first iteration in which its class was the most probable; in which it was above each confidence.
    pub majority_at: Option<u32>,
    pub over_99_at: Option<u32>,
    pub over_999_at: Option<u32>,
    pub over_9999_at: Option<u32>,
    /// The iteration in which it stopped for lack of a gradient.
    pub stopped_at: Option<u32>,
    /// See [`image_hash`].
    #[serde(with = "hex64")]
    pub hash: u64,
    /// Its pictures, relative to the run folder: as 8 bits, and where pixels climb without the mean.
    pub file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_without_mean: Option<String>,
}

/// One line of `metrics.jsonl`: what an iteration saw of all images, before it moved them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AscentMetrics {
    pub iteration: u32,
    pub median: f64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// Images at or above each confidence.
    pub over_99: usize,
    pub over_999: usize,
    pub over_9999: usize,
    /// Images whose class is the most probable.
    pub majority: usize,
    /// Images that have stopped for lack of a gradient.
    pub stopped: usize,
    /// Images by iterations, over the time since the line before.
    pub images_per_second: f64,
}

impl AscentManifest {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no manifest.
    pub fn read(path: &Path) -> Result<AscentManifest> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        serde_json::from_str(&text)
            .map_err(|source| Error::file(path, format!("not a manifest of an ascent: {source}")))
    }

    /// The text of the file, for people as well as for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has a JSON form") + "\n"
    }
}

/// The hash of an image: the content hash (see [`crate::archive`]) of the words of its class, its seed, low word first, the number of its
/// values `x` (where a CPPN climbs, its pixels and then its genes), their f32 bits, those of its confidence, and the most probable class.
pub fn image_hash(class: u32, seed: u64, x: &[f32], confidence: f32, best: u32) -> u64 {
    let mut hasher = ContentHasher::default();
    [class, seed as u32, (seed >> 32) as u32, x.len() as u32].into_iter().for_each(|word| hasher.word(word));
    x.iter().for_each(|x| hasher.word(x.to_bits()));
    hasher.word(confidence.to_bits());
    hasher.word(best);
    hasher.finish()
}

/// The hash of an ascent: `h = mix(ARITHMETIC_VERSION << 32 | iterations)`; each image in order makes it `h = mix(mix(h + class) ^ hash)`.
pub fn result_hash(iterations: u32, images: impl Iterator<Item = (u32, u64)>) -> u64 {
    let start = mix(u64::from(ARITHMETIC_VERSION) << 32 | u64::from(iterations));
    images.fold(start, |hash, (class, image)| mix(mix(hash.wrapping_add(u64::from(class))) ^ image))
}

/// The image `x` of `network` as 8 bits, `(height, width, channels)`, RGB or grey: see the top of this file.
pub fn as_8_bits(network: &Network, x: &[f32]) -> Vec<u8> {
    let mean = &network.preprocess.mean;
    pixels(network, |i| {
        let v = x[i] + mean.get(i).copied().unwrap_or(0.0);
        let v = if v > 0.0 { v } else { 0.0 };
        let v = if v < 255.0 { v } else { 255.0 };
        (v + 0.5) as u8
    })
}

/// The images of the ascent in the folder `path` as 8 bits, `(height, width, channels)` each, in the order of its `manifest`: made of its
/// values, which must have the hashes that stand there. `network` is the one it was against.
///
/// # Errors
/// [`Error::Io`] if they cannot be read, [`Error::File`] if they are not those of the manifest.
pub fn read_images(path: &Path, manifest: &AscentManifest, network: &Network) -> Result<Vec<Vec<u8>>> {
    let file = path.join(IMAGES);
    let source = File::open(&file).map_err(Error::io("read", &file))?;
    let broken = |reason: String| Error::file(&file, format!("not the images of an ascent: {reason}"));
    let Shape { channels, height, width } = network.input;
    let shape = [manifest.images.len(), channels, height, width];
    let mut tensors = Tensors::open(BufReader::new(source), 0).map_err(broken)?;
    let x: Vec<f32> = tensors.all("images", &shape).map_err(broken)?;
    manifest
        .images
        .par_iter()
        .zip(x.par_chunks_exact(network.input.len().max(1)))
        .map(|(image, x)| {
            let ImageResult { class, seed, confidence, best, hash, .. } = *image;
            if class as usize >= network.classes.len() {
                return Err(broken(format!("class {class} of a network that has {}", network.classes.len())));
            }
            if image_hash(class, seed, x, confidence, best) != hash {
                return Err(broken(format!(
                    "the image of class {class}, seed {seed}, is not the one that run.json lists"
                )));
            }
            Ok(as_8_bits(network, x))
        })
        .collect()
}

/// The image `x` of `network` with the mean removed: see the top of this file.
pub fn without_mean(network: &Network, x: &[f32]) -> Vec<u8> {
    let largest = x.iter().fold(0.0, |largest, x| if x.abs() > largest { x.abs() } else { largest });
    pixels(network, |i| if largest > 0.0 { 127.5_f32.mul_add(x[i] / largest, 128.0) as u8 } else { 128 })
}

/// `(height, width, channels)` bytes, RGB or grey, of what `value` gives for each place in `(channels, height, width)` of the network.
fn pixels(network: &Network, value: impl Fn(usize) -> u8) -> Vec<u8> {
    let Shape { channels, height, width } = network.input;
    let is_reversed = network.preprocess.channel_order == ChannelOrder::Bgr;
    let pixel = |position: usize| {
        let value = &value;
        (0..channels).map(move |byte| {
            let channel = if is_reversed { channels - 1 - byte } else { byte };
            value(channel * height * width + position)
        })
    };
    (0..height * width).flat_map(pixel).collect()
}

/// Names of an image's two pictures, relative to the run folder; `seed` where a class has several.
pub fn files(class: u32, n_classes: usize, name: &str, seed: Option<u64>, confidence_8bit: f32) -> [String; 2] {
    let class = pictures::class_name(class, n_classes, name);
    let seed = seed.map_or(String::new(), |seed| format!("seed{seed}_"));
    [AS_8_BITS, WITHOUT_MEAN]
        .map(|[folder, _]| format!("{folder}/{class}_{seed}{}.png", confidence_text(confidence_8bit)))
}

/// Images to be written.
pub struct Images<'a> {
    /// `(images, channels, height, width)`
    pub x: &'a [f32],
    /// `(images, height, width, channels)`
    pub as_8_bits: &'a [u8],
    /// Of an image.
    pub canvas: Canvas,
    /// The CPPNs, where they climb.
    pub archive: Option<(&'a Archive, &'a About)>,
    /// What each iteration saw, `(iterations, images)`.
    pub confidences: &'a [f32],
}

/// The folder of an ascent, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct AscentFolder {
    folder: LockedFolder,
    metrics: File,
}

/// Where ascents of `config` go unless told otherwise: `runs/ascend-<preset>-seed<seed>`, or `runs/ascend-<preset>-elites`.
pub fn default_path(config: &Config) -> PathBuf {
    let start = if config.from.is_some() { "elites".to_string() } else { format!("seed{}", config.seed) };
    Path::new("runs").join(format!("ascend-{}-{start}", name_of(config.preset)))
}

impl AscentFolder {
    /// Makes the folder `path`, and those above it; an empty one will do.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything in it, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<AscentFolder> {
        AscentFolder::begin(LockedFolder::create(path, |_| false, || None, "--out")?)
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<AscentFolder> {
        AscentFolder::begin(LockedFolder::create_numbered(path)?)
    }

    fn begin(folder: LockedFolder) -> Result<AscentFolder> {
        let path = folder.own(METRICS)?;
        let metrics =
            OpenOptions::new().append(true).create_new(true).open(&path).map_err(Error::io("create", &path))?;
        Ok(AscentFolder { folder, metrics })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Appends a line to `metrics.jsonl`; anyone who follows the file sees it at once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_line(&mut self, line: &AscentMetrics) -> Result<()> {
        let mut text = serde_json::to_vec(line).expect("metrics have a JSON form");
        text.push(b'\n');
        self.metrics.write_all(&text).map_err(Error::io("write", &self.path().join(METRICS)))
    }

    /// Writes what an ascent leaves: `images.safetensors`, where CPPNs climb their archive, if `pictures` are wanted the images as 8 bits
    /// and where pixels climb without the mean, a sheet of each and `convergence.png`, and last of all `run.json`, whose peak of the memory is taken last, since pictures take
    /// some.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced.
    pub fn finish(
        &self,
        manifest: &mut AscentManifest,
        network: &Network,
        images: &Images,
        pictures: bool,
    ) -> Result<()> {
        let own = |name: &str| self.folder.own(name);
        self.metrics.sync_data().map_err(Error::io("write", &own(METRICS)?))?;
        let Canvas { height, width, channels } = images.canvas;
        let n = manifest.images.len();
        let (format, order) = match images.archive {
            None => ("pareidolia ascend: pixels less the network's mean", network.preprocess.channel_order),
            Some(_) if channels == 1 => ("pareidolia ascend: pixels that CPPNs draw", ChannelOrder::Grey),
            Some(_) => ("pareidolia ascend: pixels that CPPNs draw", ChannelOrder::Rgb),
        };
        let tensors = vec![
            Tensor::of_pieces("images", vec![n, channels, height, width], || std::iter::once(images.x)),
            Tensor::of_pieces("confidence", vec![images.confidences.len() / n, n], || {
                std::iter::once(images.confidences)
            }),
            Tensor::new("classes", vec![n], manifest.images.iter().map(|image| image.class).collect()),
            Tensor::new("seeds", vec![n], manifest.images.iter().map(|image| image.seed).collect()),
        ];
        let metadata = vec![
            ("format", format.to_string()),
            ("network", network.name.clone()),
            ("weights_sha256", network.sha256.clone()),
            ("channel_order", order.to_string()),
            ("arithmetic_version", ARITHMETIC_VERSION.to_string()),
        ];
        atomic::write(&own(IMAGES)?, |file| tensors::write(file, tensors, metadata))?;
        if let Some((archive, about)) = images.archive {
            archive_file::write(&own(run_folder::ARCHIVE)?, archive, about)?;
        }
        if pictures {
            let len = images.canvas.len();
            let as_8_bits: Vec<&[u8]> = images.as_8_bits.chunks_exact(len).collect();
            self.write_pictures(manifest, images.canvas, &as_8_bits, AS_8_BITS, |image| {
                (&image.file, image.confidence_8bit)
            })?;
            if images.archive.is_none() {
                let without: Vec<Vec<u8>> = images.x.par_chunks_exact(len).map(|x| without_mean(network, x)).collect();
                let without: Vec<&[u8]> = without.iter().map(Vec::as_slice).collect();
                self.write_pictures(manifest, images.canvas, &without, WITHOUT_MEAN, |image| {
                    (image.file_without_mean.as_deref().expect("pixels climb"), image.confidence)
                })?;
            }
            let Image { canvas, pixels } = self.plot(manifest)?;
            pictures::write_png(&own(CONVERGENCE)?, canvas, &pixels)?;
        }
        manifest.peak_memory_bytes = telemetry::peak_memory();
        atomic::write(&own(MANIFEST)?, |file| file.write_all(manifest.to_json().as_bytes()))
    }

    /// Writes each of the `images` as a PNG, and their sheet; `of` says the file and the confidence that the sheet shows.
    fn write_pictures(
        &self,
        manifest: &AscentManifest,
        canvas: Canvas,
        images: &[&[u8]],
        [folder, sheet]: [&str; 2],
        of: impl Fn(&ImageResult) -> (&str, f32) + Sync,
    ) -> Result<()> {
        let compression = pictures::compression(images.len() * canvas.len());
        atomic::create_folder(&self.folder.own(folder)?, |folder| {
            manifest.images.par_iter().zip(images).try_for_each(|(image, pixels)| {
                let name = Path::new(of(image).0).file_name().expect("every picture has a name");
                atomic::write_new(&folder.join(name), |file| pictures::encode_png(file, canvas, pixels, compression))
            })
        })?;
        let name = |image: &ImageResult| match manifest.configuration.seeds {
            1 => image.name.clone(),
            _ if image.name == image.class.to_string() => format!("seed {}", image.seed),
            _ => format!("{} ({})", image.name, image.seed),
        };
        let names: Vec<String> = manifest.images.iter().map(name).collect();
        let cells = manifest.images.iter().zip(&names).zip(images).map(|((image, name), pixels)| Cell {
            class: image.class,
            name,
            confidence: of(image).1,
            image: pixels,
        });
        let shown = if folder == WITHOUT_MEAN[0] { "  ·  without the mean" } else { "  ·  as 8 bits" };
        let pages =
            Sheet { title: title(manifest), subtitle: subtitle(manifest) + shown, canvas, cells: cells.collect() };
        (0..pages.n_pages()).into_par_iter().try_for_each(|page| {
            let Image { canvas, pixels } = pages.page(page);
            pictures::write_png(&self.folder.own(&pages.file_of(sheet, page))?, canvas, &pixels)
        })
    }

    /// The plot of the lines of metrics.jsonl.
    fn plot(&self, manifest: &AscentManifest) -> Result<Image> {
        let path = self.path().join(METRICS);
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut thinned = convergence::Thinned::new(manifest.iterations.saturating_sub(1));
        for line in BufReader::new(file).lines() {
            let line = line.map_err(Error::io("read", &path))?;
            let line: AscentMetrics = serde_json::from_str(&line)
                .map_err(|source| Error::file(&path, format!("not the lines of this ascent: {source}")))?;
            let AscentMetrics { iteration, median, mean, min, max, over_99, over_999, over_9999, .. } = line;
            let statistics = Statistics { median, mean, min, max, over_9: 0, over_99, over_999, over_9999 };
            thinned.push(Metrics::new(iteration, 0, &statistics, 0, 0.0, 0));
        }
        let words = convergence::Words {
            title: title(manifest),
            subtitle: subtitle(manifest),
            step: "iteration",
            one: "image",
            many: "images",
        };
        Ok(convergence::draw_with(&words, manifest.images.len(), thinned.lines()))
    }
}

/// What the figures of an ascent are called.
fn title(manifest: &AscentManifest) -> String {
    let Config { preset, seed, seeds, ref from, .. } = manifest.configuration;
    let seeds = match u64::from(seeds) {
        1 if from.is_some() => "from elites".to_string(),
        1 => format!("seed {seed}"),
        n => format!("seeds {seed} to {}", seed + n - 1),
    };
    format!("ascent, {}, {seeds}", name_of(preset))
}

/// What an ascent came to, in a line.
fn subtitle(manifest: &AscentManifest) -> String {
    format!(
        "{} iterations of {} images  ·  median confidence {}",
        thousands(manifest.iterations.into()),
        thousands(manifest.images.len() as u64),
        confidence_text(round_down(manifest.statistics.median)),
    )
}

/// Most bytes of memory for writing `n` images of `canvas`, as [`AscentFolder::finish`] does it.
pub fn pictures_memory(canvas: Canvas, n: usize, threads: usize) -> u64 {
    /// What deflate keeps: window, hash chains, output.
    const ENCODER: usize = 512 << 10;
    let sheet = contact_sheet::most_bytes(canvas, n, threads).max(convergence::MOST_BYTES);
    (n * canvas.len() + threads * (ENCODER + 2 * canvas.len()) + sheet) as u64
}
