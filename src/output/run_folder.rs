//! The folder of a run.

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::experiment::config::{Preset, name_of};
use crate::experiment::start::Start;
use crate::genome::Canvas;
use crate::output::contact_sheet::{self, Sheet};
use crate::output::lineage::{self, Identity, LineageWriter, Log};
use crate::output::locked_folder::{self, LockedFolder, entries};
use crate::output::{About, Checkpoint, Image, Manifest, MetricsWriter};
use crate::output::{archive_file, atomic, convergence, metrics, pictures, start_file};
use crate::telemetry;
use rayon::prelude::*;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) const ARCHIVE: &str = "archive.safetensors";
pub(crate) const CHECKPOINT: &str = "checkpoint";
const CONVERGENCE: &str = "convergence.png";
const ELITES: &str = "elites";
pub(crate) const LINEAGE: &str = "lineage";
pub(crate) const MANIFEST: &str = "run.json";
pub(crate) const METRICS: &str = "metrics.jsonl";

/// A run folder, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct RunFolder {
    folder: LockedFolder,
}

/// Where the runs of `preset` go unless told otherwise: `runs/<preset>-seed<seed>`.
pub fn default_path(preset: Preset, seed: u64) -> PathBuf {
    Path::new("runs").join(format!("{}-seed{seed}", name_of(preset)))
}

impl RunFolder {
    /// Makes the folder `path`, and those above it. An empty folder will do, and so will one whose run was killed
    /// before its first checkpoint.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<RunFolder> {
        let barely_begun = |name: &str| match name {
            METRICS => metrics::is_barely_begun(&path.join(METRICS)),
            LINEAGE => lineage::is_barely_begun(&path.join(LINEAGE)),
            _ => name == start_file::NAME,
        };
        let remedy = || has_checkpoint(path).then_some("continue that run");
        let folder = LockedFolder::create(path, barely_begun, remedy, "--out")?;
        for name in [METRICS, LINEAGE, start_file::NAME] {
            atomic::remove(&folder.own(name)?)?;
        }
        Ok(RunFolder { folder })
    }

    /// Refuses `path` where [`RunFolder::create`] would find anything there, before the work whose result is to go to it. It makes nothing.
    ///
    /// # Errors
    /// As theirs.
    pub fn refuse_occupied(path: &Path) -> Result<()> {
        locked_folder::refuse_occupied(path, "--out")
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<RunFolder> {
        Ok(RunFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Opens the folder of a run to go on with it.
    ///
    /// # Errors
    /// [`Error::Refused`] if it holds no checkpoint or another process is at it, [`Error::Io`] if it cannot be written.
    pub fn open(path: &Path) -> Result<RunFolder> {
        if !has_checkpoint(path) {
            let shown = path.display();
            return Err(Error::Refused(format!(
                "{shown}: holds no checkpoint; name the folder of a run that was begun"
            )));
        }
        Ok(RunFolder { folder: LockedFolder::lock(path)? })
    }

    /// [`RunFolder::open`] where a run was begun, [`RunFolder::create`] where none was: also where one is begun meanwhile.
    ///
    /// # Errors
    /// As theirs.
    pub fn open_or_create(path: &Path) -> Result<RunFolder> {
        if has_checkpoint(path) {
            return RunFolder::open(path);
        }
        RunFolder::create(path).or_else(|error| if has_checkpoint(path) { RunFolder::open(path) } else { Err(error) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path of one of its files.
    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes down what the run, which is not begun yet, starts from.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced.
    pub fn write_start(&self, start: &Start) -> Result<()> {
        start.write_file(&self.folder.own(start_file::NAME)?)
    }

    /// The manifest of a finished run; `None` if it is not finished.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] if there is one that cannot be read.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        let path = self.file(MANIFEST);
        if path.exists() { Manifest::read(&path).map(Some) } else { Ok(None) }
    }

    /// Reads the checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::read(&self.file(CHECKPOINT))
    }

    /// Writes the checkpoint, replacing the one before it. From here on the run is not finished: see
    /// [`RunFolder::finish`].
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.unfinish()?;
        let path = self.folder.own(CHECKPOINT)?;
        checkpoint.write(&path).map_err(|error| self.folder.explain(error))
    }

    /// Starts `metrics.jsonl`, or goes on with it after the generation of a checkpoint: lines of later generations, and
    /// what was torn by a sudden end, are dropped. From here on the run is not finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn metrics(&self, after_generation: Option<u32>) -> Result<MetricsWriter> {
        self.unfinish()?;
        MetricsWriter::open(&self.folder.own(METRICS)?, after_generation)
    }

    /// Starts the `lineage` of a new run.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn start_lineage(&self, identity: &Identity) -> Result<LineageWriter> {
        LineageWriter::create(&self.folder.own(LINEAGE)?, identity)
    }

    /// Goes on with the lineage after the generation of `archive`, that of a checkpoint: what was written later is cut.
    ///
    /// # Errors
    /// Those of [`Log::read`].
    pub fn lineage(&self, identity: &Identity, batch: u32, archive: &Archive) -> Result<LineageWriter> {
        let path = self.folder.own(LINEAGE)?;
        LineageWriter::go_on(&path, &Log::read(&path, identity, batch, archive)?)
    }

    /// Writes what a finished run leaves: `archive.safetensors`, if `pictures` are wanted `elites/`, the contact sheet and
    /// `convergence.png`, and last of all `run.json`. Files of an earlier finish are replaced, the folder `elites` as a
    /// whole; pictures that are not wanted are removed, since they would show an earlier archive. `manifest` is told the peak
    /// of the memory last, since pictures take some.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, manifest: &mut Manifest, archive: &Archive, about: &About, pictures: bool) -> Result<()> {
        self.unfinish()?;
        archive_file::write(&self.folder.own(ARCHIVE)?, archive, about)?;
        self.remove_pictures()?;
        if pictures {
            self.write_pictures(manifest, archive, about)?;
        }
        manifest.peak_memory_bytes = telemetry::peak_memory();
        atomic::write(&self.folder.own(MANIFEST)?, |file| file.write_all(manifest.to_json().as_bytes()))
    }

    fn write_pictures(&self, manifest: &Manifest, archive: &Archive, about: &About) -> Result<()> {
        let compression = pictures::compression(archive.elites.len() * about.canvas.len());
        atomic::create_folder(&self.folder.own(ELITES)?, |folder| {
            manifest.classes.par_iter().zip(&archive.elites).try_for_each(|(class, elite)| {
                let name = Path::new(&class.file).file_name().expect("every elite's picture has a name");
                atomic::write_new(&folder.join(name), |file| {
                    pictures::encode_png(file, about.canvas, &elite.image, compression)
                })
            })
        })?;
        let sheet = Sheet::of_run(manifest, archive, about);
        (0..sheet.n_pages()).into_par_iter().try_for_each(|page| {
            let Image { canvas, pixels } = sheet.page(page);
            pictures::write_png(&self.folder.own(&sheet.file(page))?, canvas, &pixels)
        })?;
        if !self.file(METRICS).exists() {
            return Ok(()); // of a merged archive, which has no course
        }
        let mut thinned = convergence::Thinned::new(manifest.generation);
        metrics::read(&self.file(METRICS), |line| thinned.push(line))?;
        let Image { canvas, pixels } = convergence::draw(manifest, thinned.lines());
        pictures::write_png(&self.folder.own(CONVERGENCE)?, canvas, &pixels)
    }

    fn remove_pictures(&self) -> Result<()> {
        atomic::remove(&self.folder.own(CONVERGENCE)?)?;
        for name in entries(self.path())?.iter().filter(|name| Sheet::is_page(name)) {
            atomic::remove(&self.folder.own(name)?)?;
        }
        let elites = self.folder.own(ELITES)?;
        match fs::remove_dir_all(&elites) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &elites)(source)),
            _ => Ok(()),
        }
    }

    /// Takes `run.json` away, so that it never stands beside what is newer or half written.
    fn unfinish(&self) -> Result<()> {
        atomic::remove(&self.folder.own(MANIFEST)?)
    }
}

/// The archive that `path` means: that of a run, if it is a folder, or a file of its own.
pub fn archive_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(ARCHIVE) } else { path.to_path_buf() }
}

/// Whether `path` is the folder of a run that can be continued.
pub fn has_checkpoint(path: &Path) -> bool {
    path.join(CHECKPOINT).is_file()
}

/// Whether `path` is the folder of a run that keeps its lineage.
pub fn has_lineage(path: &Path) -> bool {
    path.join(LINEAGE).is_file()
}

/// The checkpoint of the run in the folder `path`; for those who only read.
///
/// # Errors
/// As [`Checkpoint::read`].
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    Checkpoint::read(&path.join(CHECKPOINT))
}

/// Bytes of the pictures of `n_niches` elites on the disk, estimated: elites, sheet, convergence plot. Those of CPPNs take less.
pub fn pictures_bytes(canvas: Canvas, n_niches: usize) -> [u64; 3] {
    /// A PNG of noise is larger than the noise.
    const PNG: usize = 128;
    /// As those of other runs are.
    const CONVERGENCE: usize = 80 << 10;
    let elite = canvas.height + canvas.len() + PNG;
    [n_niches * elite, n_niches * contact_sheet::cell_bytes(canvas), CONVERGENCE].map(|bytes| bytes as u64)
}

/// Most bytes of memory for the pictures of `n_niches` elites, as [`RunFolder::finish`] draws and writes them.
pub fn pictures_memory(canvas: Canvas, n_niches: usize, threads: usize) -> u64 {
    /// What deflate keeps: window, hash chains, output.
    const ENCODER: usize = 512 << 10;
    let elites = n_niches.min(threads) * 2 * canvas.len();
    let sheet = contact_sheet::most_bytes(canvas, n_niches, threads);
    (threads * ENCODER + elites + sheet + convergence::MOST_BYTES) as u64
}
