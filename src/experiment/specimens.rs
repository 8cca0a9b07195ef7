//! Genomes as commands are given them: elites of a run, or genomes by themselves in JSON files.

use crate::archive::{Archive, Elite};
use crate::error::{Error, Result, one_line};
use crate::genome::exchange::{Origin, Settings, Specimen, json};
use crate::genome::{Encoding, Genome};
use crate::network::Crops;
use crate::output::{About, Checkpoint, Manifest, archive_file, run_folder};
use crate::simd::Simd;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// How a checkpoint begins, in all its versions.
const CHECKPOINT: &[u8] = b"pareidolia checkpoint ";

/// What a path holds.
#[derive(Clone, Debug)]
pub enum Contents {
    Run(Box<Elites>),
    Genome(Box<Specimen>),
}

/// The elites of a run.
#[derive(Clone, Debug)]
pub struct Elites {
    pub archive: Archive,
    pub about: About,
    /// The network's name and the SHA-256 of its weights, where run.json or the checkpoint says them.
    network: Option<String>,
    weights_sha256: Option<String>,
}

impl Contents {
    /// What `path` holds: the folder of a run (finished, else by its checkpoint), an archive, a checkpoint, or a genome in JSON.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is none of these.
    pub fn read(path: &Path) -> Result<Contents> {
        if path.is_dir() {
            let is_unfinished = !path.join(run_folder::MANIFEST).is_file() && run_folder::has_checkpoint(path);
            let name = if is_unfinished { run_folder::CHECKPOINT } else { run_folder::ARCHIVE };
            let file = path.join(name);
            if !file.is_file() {
                let text = "is not the folder of a run: it holds neither archive.safetensors nor a checkpoint";
                return Err(Error::file(path, text));
            }
            return Contents::read_file(&file);
        }
        Contents::read_file(path)
    }

    fn read_file(path: &Path) -> Result<Contents> {
        let mut start = Vec::new();
        let file = File::open(path).map_err(Error::io("read", path))?;
        file.take(CHECKPOINT.len() as u64).read_to_end(&mut start).map_err(Error::io("read", path))?;
        if json::begins(&start) {
            return Ok(Contents::Genome(Box::new(read_genome(path)?)));
        }
        Ok(Contents::Run(Box::new(if start == CHECKPOINT {
            Elites::of_checkpoint(path)?
        } else {
            Elites::of_archive(path)?
        })))
    }
}

impl Elites {
    /// Those of an archive; what its network is stands beside it, if anywhere.
    fn of_archive(path: &Path) -> Result<Elites> {
        let (archive, about) = archive_file::read(path)?;
        let beside = path.with_file_name(run_folder::MANIFEST);
        let manifest = Manifest::read(&beside).ok().filter(|manifest| manifest.archive_hash == archive.hash());
        let (network, weights_sha256) = manifest.map(|run| (run.network, run.weights_sha256)).unzip();
        Ok(Elites { archive, about, network, weights_sha256 })
    }

    /// Those of a checkpoint, which does not know the names of the classes: their numbers take their place.
    fn of_checkpoint(path: &Path) -> Result<Elites> {
        let Checkpoint { config, weights_sha256, canvas, archive, .. } = Checkpoint::read(path)?;
        let n_classes = archive.elites[0].probabilities.len();
        let about = About {
            canvas,
            encoding: config.encoding(),
            crops: config.crops.and_then(Crops::of).unwrap_or(Crops::One),
            class_names: (0..n_classes).map(|class| class.to_string()).collect(),
        };
        Ok(Elites { archive, about, network: None, weights_sha256: Some(weights_sha256) })
    }

    /// The niche of `class`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the run has none, from the `option` that named it.
    pub fn niche(&self, class: u32, option: &str) -> Result<usize> {
        self.archive.classes.iter().position(|&niche| niche == class).ok_or_else(|| {
            let classes: Vec<String> = self.archive.classes.iter().map(u32::to_string).collect();
            Error::Usage(format!("{option}: the run has no class {class}, only {}", classes.join(", ")))
        })
    }

    /// The elite of a niche, by itself.
    pub fn specimen(&self, niche: usize) -> Specimen {
        let Elites { archive, about, network, weights_sha256 } = self;
        let (class, elite) = (archive.classes[niche], &archive.elites[niche]);
        let settings = match &about.encoding {
            Encoding::Direct(_) => None,
            Encoding::Cppn(rules) => Some(Settings::from(rules)),
        };
        Specimen {
            canvas: about.canvas,
            genome: elite.genome.clone(),
            settings,
            origin: Some(Origin {
                archive_hash: archive.hash(),
                class,
                class_name: about.class_names[class as usize].clone(),
                confidence: elite.probabilities[class as usize],
                born: elite.born,
                crops: if about.crops == Crops::Ten { 10 } else { 1 },
                network: network.clone(),
                weights_sha256: weights_sha256.clone(),
            }),
        }
    }
}

/// The genome in the JSON file `path`.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, [`Error::File`] at the first thing in it that cannot be.
pub fn read_genome(path: &Path) -> Result<Specimen> {
    let invalid = |reason: String| Error::file(path, format!("not a genome: {}", one_line(&reason)));
    let length = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if length > json::MAX_BYTES {
        return Err(invalid(format!("{length} bytes, a genome takes at most {}", json::MAX_BYTES)));
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    // What has no end says nothing of its length.
    file.take(json::MAX_BYTES + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
    json::parse(&text).map_err(invalid)
}

/// What drawing `specimen` takes, in the form that the elites of runs have.
pub fn as_elite(specimen: &Specimen, simd: Simd) -> (About, Elite) {
    let (confidence, class_names, crops) = match &specimen.origin {
        Some(origin) => (origin.confidence, vec![origin.class_name.clone()], Crops::of(origin.crops)),
        None => (0.0, vec!["genome".to_owned()], None),
    };
    let crops = crops.unwrap_or(Crops::One);
    let about = About { canvas: specimen.canvas, encoding: specimen.encoding(), crops, class_names };
    let genome: Genome = specimen.genome.clone();
    let elite =
        Elite { probabilities: vec![confidence], image: specimen.image(simd), genome, born: (0, 0), content_hash: 0 };
    (about, elite)
}

/// The genomes that `path` holds, for a run to start from: a genome in JSON; a folder of such files, in the order of their names; or the
/// elites of a run in the order of their classes, of those that several classes share the first alone.
///
/// # Errors
/// [`Error::Io`], [`Error::File`] at the first thing that is not what it should be.
pub fn read_all(path: &Path) -> Result<Vec<Specimen>> {
    if path.is_dir() && !path.join(run_folder::ARCHIVE).is_file() && !run_folder::has_checkpoint(path) {
        if crate::output::series::is_series(path) {
            return Err(Error::file(path, "is the folder of a series of runs; name one of its runs"));
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
            let file = entry.map_err(Error::io("read", path))?.path();
            if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        if files.is_empty() {
            let text = "neither the folder of a run (there is no archive.safetensors and no checkpoint), nor of genomes (*.json)";
            return Err(Error::file(path, text));
        }
        return files.iter().map(|file| read_genome(file)).collect();
    }
    Ok(match Contents::read(path)? {
        Contents::Genome(specimen) => vec![*specimen],
        Contents::Run(run) => {
            let elites = &run.archive.elites;
            let is_first = |&niche: &usize| !elites[..niche].iter().any(|other| is_same(other, &elites[niche]));
            (0..elites.len()).filter(is_first).map(|niche| run.specimen(niche)).collect()
        }
    })
}

fn is_same(a: &Arc<Elite>, b: &Arc<Elite>) -> bool {
    Arc::ptr_eq(a, b) || (a.content_hash == b.content_hash && a.genome == b.genome)
}
