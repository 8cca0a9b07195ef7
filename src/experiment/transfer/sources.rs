//! Where images come from: runs, series of runs, ascents, pictures. They are found first, which finds most of what is wrong, and read
//! when their turn comes.

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::experiment::classify::read_pictures;
use crate::experiment::render::Drawing;
use crate::genome::{Canvas, Encoding, Genome, direct};
use crate::network::{Crops, Network};
use crate::output::ascent::{self, AscentManifest};
use crate::output::{About, Image, Manifest, archive_file, hash_text, run_folder, series};
use crate::simd::Simd;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The images of one folder or file.
#[derive(Clone, Debug)]
pub enum Source {
    /// A run of `evolve`.
    Run(PathBuf, Box<Manifest>),
    /// A run of `ascend`.
    Ascent(PathBuf, Box<AscentManifest>),
    /// Pictures, by what the call names, and its files.
    Pictures(PathBuf, Vec<PathBuf>),
}

/// What was read, for the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    pub path: PathBuf,
    /// The network that its images were made against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// The archive hash of a run, the result hash of an ascent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    pub images: usize,
}

/// An image as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: String,
    pub seed: Option<u64>,
    /// The class that it was made for, a number of its own network.
    pub class: Option<u32>,
    pub image: Image,
    pub crops: Crops,
    /// What its own network said of it, `(n_classes)`.
    pub recorded: Option<Vec<f32>>,
}

/// All images of a source.
#[derive(Clone, Debug)]
pub struct Read {
    pub images: Vec<Found>,
    /// Names of the classes of the network they were made against, if the source says them.
    pub class_names: Option<Vec<String>>,
    /// What the source's own network judged of its images, where it saw a part of them.
    pub crops: Crops,
}

impl Source {
    /// What `path` means: the folder of a run, of a series of runs or of an ascent, an archive beside its run.json, a folder of PNG files,
    /// a PNG or an IDX file. Of a series all runs, in the order of their seeds.
    ///
    /// # Errors
    /// [`Error::File`] if it is none of these; if a run of it is not finished, which it is said how to; [`Error::Io`].
    pub fn find(path: &Path) -> Result<Vec<Source>> {
        if path.is_file() && path.file_name() == Some(run_folder::ARCHIVE.as_ref()) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.join(run_folder::MANIFEST).is_file() {
                let text = "no run.json is beside it, which says what network its images were made against";
                return Err(Error::file(path, text));
            }
            return Ok(vec![Source::run(folder, folder)?]);
        }
        if !path.is_dir() {
            fs::metadata(path).map_err(Error::io("open", path))?;
            return Ok(vec![Source::Pictures(path.to_path_buf(), vec![path.to_path_buf()])]);
        }
        if series::is_series(path) {
            return series::runs(path)?.iter().map(|run| Source::run(run, path)).collect();
        }
        let has = |name: &str| path.join(name).is_file();
        // An ascent in the weights of CPPNs has an archive, too.
        if !has(ascent::IMAGES) && (has(run_folder::ARCHIVE) || run_folder::has_checkpoint(path)) {
            return Ok(vec![Source::run(path, path)?]);
        }
        if has(ascent::IMAGES) {
            if !has(ascent::MANIFEST) {
                return Err(Error::file(path, "the ascent is not finished: it has no run.json; make it again"));
            }
            let manifest = AscentManifest::read(&path.join(ascent::MANIFEST))?;
            return Ok(vec![Source::Ascent(path.to_path_buf(), Box::new(manifest))]);
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
            let file = entry.map_err(Error::io("read", path))?.path();
            let is_png = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
            if is_png && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            let text = "neither the folder of a run, a series or an ascent (there is no archive.safetensors, series.json or \
                        images.safetensors), nor of PNG files";
            return Err(Error::file(path, text));
        }
        Ok(vec![Source::Pictures(path.to_path_buf(), files)])
    }

    /// The run in the folder `path`, which goes on with `resumed`: its own folder, or that of its series.
    fn run(path: &Path, resumed: &Path) -> Result<Source> {
        let manifest = path.join(run_folder::MANIFEST);
        if !manifest.is_file() {
            let remedy = if run_folder::has_checkpoint(path) || path != resumed {
                format!("finish it: pareidolia evolve --resume {}", resumed.display())
            } else {
                "run.json says which network its images were made against".to_owned()
            };
            return Err(Error::file(
                path,
                format!("is not the folder of a finished run: it has no run.json; {remedy}"),
            ));
        }
        Ok(Source::Run(path.to_path_buf(), Box::new(Manifest::read(&manifest)?)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        let (Source::Run(path, _) | Source::Ascent(path, _) | Source::Pictures(path, _)) = self;
        path
    }

    /// Name, weights and SHA-256 of the network that its images were made against.
    pub fn network(&self) -> Option<(&str, &str, &str)> {
        match self {
            Source::Run(_, run) => Some((&run.network, &run.weights, &run.weights_sha256)),
            Source::Ascent(_, run) => Some((&run.network, &run.weights, &run.weights_sha256)),
            Source::Pictures(..) => None,
        }
    }

    /// The hash of its result.
    pub fn hash(&self) -> Option<String> {
        match self {
            Source::Run(_, run) => Some(hash_text(run.archive_hash)),
            Source::Ascent(_, run) => Some(hash_text(run.result_hash)),
            Source::Pictures(..) => None,
        }
    }

    /// Whether its images can only be made with its network at hand, of which they are values less the mean.
    pub fn needs_own(&self) -> bool {
        matches!(self, Source::Ascent(path, _) if !path.join(run_folder::ARCHIVE).is_file())
    }

    /// Its images. Those of a run, and the best of each class of an ascent of CPPNs, are drawn again from their genomes, which must give what the archive holds; those of an ascent against
    /// `own`, its network, are made of its values, which must have the hashes that its run.json says. Of pictures by themselves `crops`
    /// are judged. Runs on rayon's current pool.
    ///
    /// # Errors
    /// [`Error::File`] at the first thing that is not what it should be; [`Error::Io`].
    ///
    /// # Panics
    /// If it [needs](Source::needs_own) `own`, and there is none.
    pub fn read(&self, own: Option<&Network>, crops: Crops, simd: Simd) -> Result<Read> {
        match self {
            Source::Run(path, manifest) => read_archive(path, Some(manifest), simd),
            Source::Ascent(path, _) if !self.needs_own() => read_archive(path, None, simd),
            Source::Ascent(path, manifest) => {
                let own = own.expect("the caller has seen to it");
                let images = ascent::read_images(path, manifest, own)?;
                let Canvas { height, width, channels } =
                    Canvas { height: own.input.height, width: own.input.width, channels: own.input.channels };
                let found = manifest.images.iter().zip(images).map(|(image, pixels)| Found {
                    name: image.class.to_string(),
                    seed: Some(image.seed),
                    class: Some(image.class),
                    image: Image { canvas: Canvas { height, width, channels }, pixels },
                    crops: Crops::One,
                    recorded: None,
                });
                let class_names = Some(own.classes.clone());
                Ok(Read { images: found.collect(), class_names, crops: Crops::One })
            }
            Source::Pictures(_, files) => {
                let mut images = Vec::new();
                for file in files {
                    images.extend(read_pictures(file)?.into_iter().map(|(name, image)| Found {
                        name,
                        seed: None,
                        class: None,
                        image,
                        crops,
                        recorded: None,
                    }));
                }
                Ok(Read { images, class_names: None, crops })
            }
        }
    }
}

/// The images of the archive in the folder `path`, that of a run which came to what `manifest` says.
fn read_archive(path: &Path, manifest: Option<&Manifest>, simd: Simd) -> Result<Read> {
    let (archive, about) = checked_archive(path, manifest, simd)?;
    let About { canvas, crops, class_names, .. } = about;
    let found = archive.classes.iter().zip(archive.elites).map(|(&class, elite)| Found {
        name: class.to_string(),
        seed: manifest.map(|manifest| manifest.seed),
        class: Some(class),
        image: Image { canvas, pixels: elite.image.clone() },
        crops,
        recorded: Some(elite.probabilities.clone()),
    });
    Ok(Read { images: found.collect(), class_names: Some(class_names), crops })
}

/// The archive in the folder `path`, which must have the hash that `manifest` says, and whose genomes must draw the images beside them.
pub(in crate::experiment) fn checked_archive(
    path: &Path,
    manifest: Option<&Manifest>,
    simd: Simd,
) -> Result<(Archive, About)> {
    let file = run_folder::archive_of(path);
    let (archive, about) = archive_file::read(&file)?;
    let hash = archive.hash();
    if let Some(wanted) = manifest.map(|manifest| manifest.archive_hash).filter(|&wanted| wanted != hash) {
        let (got, wanted) = (hash_text(hash), hash_text(wanted));
        return Err(Error::file(
            &file,
            format!("is not the archive of the run: its hash is {got}, run.json says {wanted}"),
        ));
    }
    archive.classes.par_iter().zip(&archive.elites).try_for_each(|(class, elite)| {
        if drawn(&about, elite, simd)? == elite.image {
            return Ok(());
        }
        let text = format!("the genome of class {class} draws another image than the one that stands beside it");
        Err(Error::file(&file, text))
    })?;
    Ok((archive, about))
}

/// What the genome of `elite` draws, at its own size.
fn drawn(about: &About, elite: &crate::archive::Elite, simd: Simd) -> Result<Vec<u8>> {
    let Canvas { height, width, channels } = about.canvas;
    match (&about.encoding, &elite.genome) {
        (Encoding::Direct(_), Genome::Direct(genes)) => {
            let mut image = vec![0; about.canvas.len()];
            direct::render(simd, channels, &mut image, genes);
            Ok(image)
        }
        _ => Ok(Drawing::new(about, elite, height, width, simd)?.rows(0..height)),
    }
}
