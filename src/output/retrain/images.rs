//! `images.safetensors` of a round: what its evolutions had after generation 0 and at their end, as any program reads it.
//!
//! | tensor | type, shape | |
//! |---|---|---|
//! | `images` | u8 (n, H, W) or (n, H, W, 3) | RGB; by run, then generation 0 before the last, then by class |
//! | `seeds` | u64 (n) | of the run |
//! | `classes` | i32 (n) | whose niche the image had |
//! | `last` | u8 (n) | 0: after generation 0, 1: at the end |
//! | `confidences` | f32 (n) | the network's, in that class |
//! | `sampled` | u8 (n) | 1: the networks after this one are trained with it |
//!
//! An image that has several niches stands there as often. Metadata: `format`.

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::output::atomic;
use crate::output::tensors::{self, Place, Tensor, Tensors};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const FORMAT: &str = "pareidolia fooling images 1";

/// What a run had after generation 0 and at its end.
#[derive(Clone, Debug)]
pub struct Harvest {
    pub seed: u64,
    pub first: Archive,
    pub last: Archive,
}

impl Harvest {
    /// Its two archives: whether it is the last, and which.
    pub fn archives(&self) -> [(bool, &Archive); 2] {
        [(false, &self.first), (true, &self.last)]
    }
}

/// Writes the file `path`, of images of the size of `canvas`; `sampled` says which of them are.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, canvas: Canvas, runs: &[Harvest], sampled: &[bool]) -> Result<()> {
    let archives = || runs.iter().flat_map(|run| run.archives().map(|(is_last, archive)| (run.seed, is_last, archive)));
    let n = sampled.len();
    let mut shape = vec![n, canvas.height, canvas.width];
    if canvas.channels > 1 {
        shape.push(canvas.channels);
    }
    let (mut seeds, mut classes, mut last, mut confidences) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (seed, is_last, archive) in archives() {
        seeds.extend(archive.classes.iter().map(|_| seed));
        classes.extend(archive.classes.iter().map(|&class| class as i32));
        last.extend(archive.classes.iter().map(|_| u8::from(is_last)));
        confidences.extend(archive.fitness());
    }
    let images = || archives().flat_map(|(_, _, archive)| archive.elites.iter().map(|elite| &elite.image[..]));
    atomic::write(path, |file| {
        let tensors = vec![
            Tensor::of_pieces("images", shape, images),
            Tensor::new("seeds", vec![n], seeds),
            Tensor::new("classes", vec![n], classes),
            Tensor::new("last", vec![n], last),
            Tensor::new("confidences", vec![n], confidences),
            Tensor::new("sampled", vec![n], sampled.iter().map(|&is| u8::from(is)).collect()),
        ];
        tensors::write(file, tensors, vec![("format", FORMAT.to_string())])
    })
}

/// What a file says of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub seed: u64,
    pub class: u32,
    pub is_last: bool,
    pub confidence: f32,
    pub is_sampled: bool,
}

/// Such a file, open; images are read from it as they are needed.
pub struct FoolingImages {
    path: PathBuf,
    canvas: Canvas,
    pub rows: Vec<Row>,
    sha256: String,
    tensors: Mutex<Tensors<File>>,
    images: Place,
}

impl FoolingImages {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::File`] if it is none that [`write()`] wrote.
    pub fn open(path: &Path) -> Result<FoolingImages> {
        FoolingImages::open_known(path, sha256_of(path)?)
    }

    /// As [`FoolingImages::open`], for a file whose SHA-256 is known.
    ///
    /// # Errors
    /// As there.
    pub fn open_known(path: &Path, sha256: String) -> Result<FoolingImages> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let broken = |reason: String| Error::file(path, format!("not the images of a round: {reason}"));
        let mut tensors = Tensors::open(file, 0).map_err(broken)?;
        let of = |tensors: &mut Tensors<File>| -> Result<_, String> {
            if tensors.metadata().get("format").map(String::as_str) != Some(FORMAT) {
                return Err(format!("metadata \"format\" must be {FORMAT:?}"));
            }
            let shape = tensors.shape("images")?.to_vec();
            let canvas = match shape[..] {
                [_, height, width] => Canvas { height, width, channels: 1 },
                [_, height, width, 3] => Canvas { height, width, channels: 3 },
                _ => return Err(format!("tensor \"images\" is {shape:?}, must be (n, H, W) or (n, H, W, 3)")),
            };
            let n = [shape[0]];
            let images = tensors.place::<u8>("images", &shape)?;
            let seeds: Vec<u64> = tensors.all("seeds", &n)?;
            let classes: Vec<i32> = tensors.all("classes", &n)?;
            let confidences: Vec<f32> = tensors.all("confidences", &n)?;
            let [last, sampled] =
                [tensors.all::<u8>("last", &n)?, tensors.all::<u8>("sampled", &n)?].map(|all| all.into_iter());
            let flags = last.zip(sampled);
            let rows = seeds.into_iter().zip(classes).zip(confidences).zip(flags);
            let rows = rows.map(|(((seed, class), confidence), (last, sampled))| Row {
                seed,
                class: class as u32,
                is_last: last == 1,
                confidence,
                is_sampled: sampled == 1,
            });
            Ok((canvas, images, rows.collect()))
        };
        let (canvas, images, rows) = of(&mut tensors).map_err(broken)?;
        Ok(FoolingImages { path: path.to_path_buf(), canvas, rows, sha256, tensors: Mutex::new(tensors), images })
    }

    /// Of the file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The size of its images.
    pub fn canvas(&self) -> Canvas {
        self.canvas
    }

    /// Fails unless its images have the size of `wanted`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn check(&self, wanted: Canvas) -> Result<()> {
        if self.canvas == wanted {
            return Ok(());
        }
        let text = |Canvas { height, width, channels }: Canvas| format!("{width} x {height} of {channels} channels");
        let reason = format!("holds images of {}, the network is shown {}", text(self.canvas), text(wanted));
        Err(Error::file(&self.path, reason))
    }

    /// The numbers of those of its images that networks are trained with, ascending.
    pub fn sampled(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().enumerate().filter_map(|(row, Row { is_sampled, .. })| is_sampled.then_some(row))
    }

    /// The pixels of image `row`, `(height, width, channels)`.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub fn image(&self, row: usize) -> Result<Vec<u8>> {
        let len = self.canvas.len();
        let mut tensors = self.tensors.lock().expect("no thread fails with it");
        tensors.values(self.images, row * len, len).map_err(|reason| Error::file(&self.path, reason))
    }
}

impl std::fmt::Debug for FoolingImages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoolingImages").field("path", &self.path).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// The SHA-256 of the file `path`, hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hexadecimal(digest)),
            Ok(n) => digest.update(&piece[..n]),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::io("read", path)(source)),
        }
    }
}

/// A digest as files and people see it.
pub fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
