//! Lineage: from whom the elites of a run descend.
//!
//! The run has kept who won which niche when ([`output::lineage`](crate::output::lineage)); [`replay`] makes everybody else from that, [`lines`] reads
//! what it says. Nothing is believed: each elite must come out of its lineage in every bit, and the network must find in each ancestor the
//! confidence with which it won.

pub mod lines;
pub mod replay;
pub mod report;

use super::classify::probabilities_on;
use super::config::{Config, parse_classes};
use super::device::{Asked, Chosen};
use super::evolve::{file_of_run, job};
use super::start::Start;
use crate::archive::{ARITHMETIC_VERSION, Archive};
use crate::backend::{Insertion, Job};
use crate::error::{Error, Result};
use crate::genome::{Canvas, Genome};
use crate::network::Network;
use crate::network::weights::Files;
use crate::output::lineage::{Identity, Log};
use crate::output::phylogeny::{self, Strip};
use crate::output::{Checkpoint, Manifest, archive_file, run_folder, series, start_file};
use crate::simd::Simd;
use lines::{Ancestor, line, niches_won};
use rayon::prelude::*;
use replay::{Birth, Painter, Replay};
use report::{Facts, Report, Scored};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One call of `lineage`, checked.
#[derive(Clone, Debug)]
pub struct LineageRequest {
    /// The folder of the run.
    pub run: PathBuf,
    /// Numbers, ranges and names of the classes whose elites are looked at; `None` for all of the run.
    pub classes: Option<String>,
    /// The network; what is `None` here is as the run has it.
    pub files: Files,
    /// The folder for pictures and trees, which must not exist; `None` for none.
    pub out: Option<PathBuf>,
    pub device: Asked,
    pub threads: usize,
    pub simd: Simd,
}

/// Follows the elites of a run back to generation 0.
///
/// # Errors
/// [`Error::File`] or [`Error::Refused`] if the folder keeps no lineage, or one that is damaged or of another run or network;
/// [`Error::Usage`] for classes that the run does not have; whatever kept the folder from being written.
pub fn run(request: &LineageRequest) -> Result<Report> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(request))
}

/// A run on the disk that keeps its lineage.
pub struct Kept {
    config: Config,
    weights_sha256: String,
    canvas: Canvas,
    /// As the run names them, where it still says so.
    files: Option<Files>,
    /// After its last generation, or that of its checkpoint.
    pub archive: Archive,
    pub insertions: Vec<Insertion>,
}

impl Kept {
    /// Reads the run in the folder `path`: that of a finished one is its archive, that of another its checkpoint.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn read(path: &Path) -> Result<Kept> {
        let file = |name: &str| path.join(name);
        let has = |name: &str| file(name).is_file();
        if series::is_series(path) {
            let first = series::runs(path)?.into_iter().next().unwrap_or_else(|| path.to_path_buf());
            let (shown, first) = (path.display(), first.display());
            return Err(Error::Refused(format!(
                "{shown}: is a series of runs; name the folder of one, such as {first}"
            )));
        }
        let is_run = has(run_folder::MANIFEST) || run_folder::has_checkpoint(path);
        if !run_folder::has_lineage(path) {
            let text = if is_run {
                "the run keeps no lineage: it was begun without --lineage; make it again, in another folder, with `evolve --lineage`"
            } else {
                "is not the folder of a run: it has neither run.json nor a checkpoint"
            };
            return Err(Error::file(path, text));
        }
        // A checkpoint that cannot be read is no loss to a finished run but for the names of the network's files.
        let checkpoint = || Checkpoint::read(&file(run_folder::CHECKPOINT));
        let mut kept = if has(run_folder::MANIFEST) && has(run_folder::ARCHIVE) {
            let manifest = Manifest::read(&file(run_folder::MANIFEST))?;
            if manifest.arithmetic_version != ARITHMETIC_VERSION {
                let text = format!(
                    "made with arithmetic version {}, this program has {ARITHMETIC_VERSION}; use the program that made it",
                    manifest.arithmetic_version
                );
                return Err(Error::file(&file(run_folder::MANIFEST), text));
            }
            let (archive, about) = archive_file::read(&file(run_folder::ARCHIVE))?;
            if archive.hash() != manifest.archive_hash {
                let text = "is not the archive that run.json tells of; restore both from a copy";
                return Err(Error::file(&file(run_folder::ARCHIVE), text));
            }
            let kept = Kept {
                config: manifest.configuration,
                weights_sha256: manifest.weights_sha256,
                canvas: about.canvas,
                files: checkpoint().ok().map(|checkpoint| checkpoint.files),
                archive,
                insertions: Vec::new(),
            };
            (kept, manifest.lineage_insertions)
        } else if run_folder::has_checkpoint(path) {
            let Checkpoint { config, weights_sha256, canvas, files, archive, .. } = checkpoint()?;
            tracing::info!("the run is not finished: its ancestors are those of generation {}", archive.generation);
            let files = Some(files);
            (Kept { config, weights_sha256, canvas, files, archive, insertions: Vec::new() }, None)
        } else {
            let text = "the run has neither run.json with archive.safetensors nor a checkpoint, one of which a lineage is checked against";
            return Err(Error::file(path, text));
        };
        let (path, identity) = (file(run_folder::LINEAGE), kept.0.identity());
        let log = Log::read(&path, &identity, kept.0.config.batch, &kept.0.archive)?;
        if let Some(n) = kept.1.filter(|&n| n != log.insertions.len() as u64 || log.rest() > 0) {
            let text = format!(
                "this lineage is damaged: run.json tells of {n} insertions, {} are whole, with {} bytes behind them; restore it from a copy, or \
                 make the run again in another folder",
                log.insertions.len(),
                log.rest()
            );
            return Err(Error::file(&path, text));
        }
        kept.0.insertions = log.insertions;
        Ok(kept.0)
    }

    fn identity(&self) -> Identity {
        Identity::new(&self.config, &self.weights_sha256, self.canvas)
    }

    /// The network that judged it: its own files, or where `files` name others, those.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is another; whatever is wrong with the files.
    pub fn network(&self, files: &Files) -> Result<Arc<Network>> {
        let files = files.or(self.files.as_ref(), file_of_run)?;
        let network = self.config.judge(files.load()?)?;
        if network.sha256 != self.weights_sha256 {
            return Err(Error::Refused(format!(
                "the run was against a network whose weights have the SHA-256 {}, those of {} have {}; name the run's own with --weights",
                self.weights_sha256,
                files.weights_text(),
                network.sha256
            )));
        }
        Ok(Arc::new(network))
    }

    /// The genomes that the run, in the folder `path`, started from; none where it started from random ones.
    ///
    /// # Errors
    /// Those of [`Start::read_file`].
    pub fn start(&self, path: &Path) -> Result<Arc<[Genome]>> {
        match &self.config.start {
            Some(record) => Ok(Start::read_file(&path.join(start_file::NAME), record)?.genomes()),
            None => Ok(Arc::default()),
        }
    }

    /// The run as work for a backend.
    ///
    /// # Errors
    /// If the archive is of other classes.
    pub fn job(&self, network: &Arc<Network>) -> Result<Job> {
        let job = job(&self.config, vec![self.config.seed], network)?;
        if job.classes != self.archive.classes || job.canvas != self.canvas {
            return Err(Error::Refused("the classes or the images of the archive are not those of the network".into()));
        }
        Ok(job)
    }
}

/// Bytes of images that are held at once: lines of more are drawn in parts.
const AT_ONCE: usize = 256 << 20;

/// As [`run`], on rayon's current pool.
///
/// # Errors
/// As [`run`].
pub fn run_on_pool(request: &LineageRequest) -> Result<Report> {
    if let Some(out) = &request.out {
        phylogeny::refuse_occupied(out)?;
    }
    let kept = Kept::read(&request.run)?;
    let network = kept.network(&request.files)?;
    let job = kept.job(&network)?;
    let niches = niches(request.classes.as_deref(), &kept.archive.classes, &network.classes)?;
    let chosen = Chosen::choose(request.device, &network)?;
    tracing::info!("device {} ({})", chosen.name(), chosen.reason);

    let lineage = request.run.join(run_folder::LINEAGE);
    let broken = |reason: String| {
        Error::file(
            &lineage,
            format!("this lineage is damaged: {reason}; restore it from a copy, or make the run again"),
        )
    };
    let replay = Replay::new(&job, kept.start(&request.run)?, &kept.insertions, request.simd);
    let (nearer, replayed) = replay.verify(&kept.archive).map_err(broken)?;
    tracing::info!("{replayed} individuals made again; every elite is what the archive has");
    let generation = kept.archive.generation;
    let elites: Vec<Birth> = kept.archive.elites.iter().map(|elite| elite.born).collect();
    let lines: Vec<Vec<Ancestor>> =
        niches.iter().map(|&niche| line(&replay, &nearer, elites[niche as usize], niche, generation)).collect();

    let facts = Facts {
        run: request.run.clone(),
        config: &kept.config,
        archive: &kept.archive,
        network: &network,
        insertions: kept.insertions.len(),
        replayed,
        niches_won: niches_won(&replay, &kept.insertions, generation),
    };
    let judge =
        Judge { request, job: &job, chosen: &chosen, replay: &replay, painter: Painter::new(&job, request.simd) };
    let work = |draw: &mut dyn FnMut(&Strip) -> Result<()>| -> Result<Report> {
        let mut scored: Vec<Scored> = Vec::with_capacity(lines.len());
        for part in parts(&lines, job.canvas.len()) {
            let seen = judge.look(&lines[part.clone()])?;
            seen.values().try_for_each(|seen| judge.compare(seen, &kept.archive.classes).map_err(broken))?;
            for at in part {
                let (class, line) = (kept.archive.classes[niches[at] as usize], &lines[at]);
                let confidences = line.iter().map(|of| seen[&of.birth].probabilities[class as usize]).collect();
                let of = Scored { niche: niches[at], line, confidences };
                let images: Vec<&[u8]> = line.iter().map(|of| &seen[&of.birth].image[..]).collect();
                draw(&facts.strip(&of, job.canvas, &images))?;
                scored.push(of);
            }
        }
        Ok(facts.report(&scored))
    };
    match &request.out {
        None => work(&mut |_| Ok(())),
        Some(out) => phylogeny::create(out, work),
    }
}

/// The niches of the classes that the call names, in order.
fn niches(list: Option<&str>, classes: &[u32], names: &[String]) -> Result<Vec<u32>> {
    let all = 0..classes.len() as u32;
    let Some(list) = list else { return Ok(all.collect()) };
    let wanted = parse_classes(list, names).map_err(|reason| Error::Usage(format!("--classes: {reason}")))?;
    let niche = |class: &u32| {
        classes.binary_search(class).map(|niche| niche as u32).map_err(|_| {
            Error::Usage(format!("--classes: got {class}, the run has {} classes and not that one", classes.len()))
        })
    };
    wanted.iter().map(niche).collect()
}

/// `lines` in parts whose individuals have at most [`AT_ONCE`] bytes of images of `image_len` each; at least one line each.
fn parts(lines: &[Vec<Ancestor>], image_len: usize) -> Vec<std::ops::Range<usize>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut births = std::collections::HashSet::new();
    for (at, line) in lines.iter().enumerate() {
        births.extend(line.iter().map(|of| of.birth));
        if births.len() * image_len > AT_ONCE && at > start {
            parts.push(start..at);
            start = at;
            births = line.iter().map(|of| of.birth).collect();
        }
    }
    parts.push(start..lines.len());
    parts
}

/// An ancestor's image, and what the network says of it.
struct Seen {
    birth: Birth,
    image: Vec<u8>,
    probabilities: Vec<f32>,
    won: Vec<Insertion>,
}

/// Draws ancestors and shows them to the network.
struct Judge<'a> {
    request: &'a LineageRequest,
    job: &'a Job,
    chosen: &'a Chosen,
    replay: &'a Replay<'a>,
    painter: Painter,
}

impl Judge<'_> {
    /// All individuals of `lines`.
    fn look(&self, lines: &[Vec<Ancestor>]) -> Result<HashMap<Birth, Seen>> {
        /// Genomes that wait to be drawn.
        const WAITING: usize = 256;
        let on_a_line: std::collections::HashSet<Birth> = lines.iter().flatten().map(|of| of.birth).collect();
        let (mut births, mut pixels, mut waiting) = (Vec::new(), Vec::new(), Vec::with_capacity(WAITING));
        let draw = |waiting: &mut Vec<replay::Born>, pixels: &mut Vec<u8>| {
            let images: Vec<Vec<u8>> = waiting.par_iter().map(|born| self.painter.draw(&born.genome)).collect();
            images.iter().for_each(|image| pixels.extend(image));
            waiting.clear();
        };
        self.replay.rebuild(on_a_line.iter().copied(), |born| -> Result<()> {
            if on_a_line.contains(&born.birth) {
                births.push(born.birth);
                waiting.push(born);
                if waiting.len() == WAITING {
                    draw(&mut waiting, &mut pixels);
                }
            }
            Ok(())
        })?;
        draw(&mut waiting, &mut pixels);
        let probabilities = probabilities_on(self.chosen, &self.job.network, self.request.simd, &pixels)?;
        let n_classes = self.job.network.classes.len();
        let each = births.into_iter().zip(pixels.chunks(self.job.canvas.len())).zip(probabilities.chunks(n_classes));
        let seen = |((birth, image), probabilities): ((Birth, &[u8]), &[f32])| Seen {
            birth,
            image: image.to_vec(),
            probabilities: probabilities.to_vec(),
            won: self.replay.won(birth).to_vec(),
        };
        Ok(each.map(seen).map(|seen| (seen.birth, seen)).collect())
    }

    /// Whether the network finds what `seen` won its niches with; else a text that says where it does not.
    fn compare(&self, seen: &Seen, classes: &[u32]) -> std::result::Result<(), String> {
        let differs = |won: &&Insertion| {
            let found = seen.probabilities[classes[won.niche as usize] as usize];
            found.to_bits() != won.fitness.to_bits()
        };
        seen.won.iter().find(differs).map_or(Ok(()), |won| {
            let class = classes[won.niche as usize];
            Err(format!(
                "candidate {} of generation {} won class {class} with {}, the network gives it {}",
                won.candidate, won.generation, won.fitness, seen.probabilities[class as usize]
            ))
        })
    }
}
