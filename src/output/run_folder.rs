//! The folder of a run.

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::experiment::config::{Preset, name_of};
use crate::genome::Canvas;
use crate::output::contact_sheet::{self, Sheet};
use crate::output::{About, Checkpoint, Image, Manifest, MetricsWriter};
use crate::output::{archive_file, atomic, convergence, metrics, pictures};
use crate::telemetry;
use rayon::prelude::*;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const ARCHIVE: &str = "archive.safetensors";
const CHECKPOINT: &str = "checkpoint";
const CONVERGENCE: &str = "convergence.png";
const ELITES: &str = "elites";
const LOCK: &str = "lock";
const MANIFEST: &str = "run.json";
const METRICS: &str = "metrics.jsonl";

/// A run folder, locked for this process as long as this value lives. The file `lock` stays behind empty and holds
/// nobody off: the lock belongs to the open file, and ends with the process however that ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: File,
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
        if path.exists() && !path.is_dir() {
            return Err(Error::Refused(format!("{}: is no folder; choose another with --out", path.display())));
        }
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        refuse_occupied(path)?;
        let folder = RunFolder::lock(path)?;
        refuse_occupied(path)?; // another process may have come and gone between the two lines above
        atomic::remove(&folder.own(METRICS)?)?;
        Ok(folder)
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<RunFolder> {
        RunFolder::lock(&new_folder(path)?)
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
        RunFolder::lock(path)
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

    /// Takes the lock and clears away what a killed process left unfinished.
    fn lock(path: &Path) -> Result<RunFolder> {
        let file = path.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&file);
        let lock = lock.map_err(Error::io("create", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let shown = path.display();
                return Err(Error::Refused(format!("{shown}: another process is at this run; wait for it to end")));
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &file)(source)),
        }
        clear_partial(path)?;
        Ok(RunFolder { path: path.to_path_buf(), lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of its files.
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of one of its files, to be written or removed. What is written by name alone could go into a folder that
    /// took the place of this one, and beside the work of another process.
    ///
    /// # Errors
    /// [`Error::Refused`] if the folder there is no longer the one that this process has locked.
    fn own(&self, name: &str) -> Result<PathBuf> {
        if atomic::is_at(&self.lock, &self.file(LOCK))? {
            return Ok(self.file(name));
        }
        Err(Error::Refused(format!(
            "{}: the folder, or its file {LOCK:?}, was removed or replaced during the run; nothing more is written there",
            self.path.display()
        )))
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
        checkpoint.write(&self.own(CHECKPOINT)?)
    }

    /// Starts `metrics.jsonl`, or goes on with it after the generation of a checkpoint: lines of later generations, and
    /// what was torn by a sudden end, are dropped. From here on the run is not finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn metrics(&self, after_generation: Option<u32>) -> Result<MetricsWriter> {
        self.unfinish()?;
        MetricsWriter::open(&self.own(METRICS)?, after_generation)
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
        archive_file::write(&self.own(ARCHIVE)?, archive, about)?;
        self.remove_pictures()?;
        if pictures {
            self.write_pictures(manifest, archive, about)?;
        }
        manifest.peak_memory_bytes = telemetry::peak_memory();
        atomic::write(&self.own(MANIFEST)?, |file| file.write_all(manifest.to_json().as_bytes()))
    }

    fn write_pictures(&self, manifest: &Manifest, archive: &Archive, about: &About) -> Result<()> {
        // In parallel, since most of the time goes into waiting for the disk.
        atomic::create_folder(&self.own(ELITES)?, |folder| {
            manifest.classes.par_iter().zip(&archive.elites).try_for_each(|(class, elite)| {
                let name = Path::new(&class.file).file_name().expect("every elite's picture has a name");
                atomic::write_new(&folder.join(name), |file| pictures::encode_png(file, about.canvas, &elite.image))
            })
        })?;
        let sheet = Sheet::of_run(manifest, archive, about);
        (0..sheet.n_pages()).into_par_iter().try_for_each(|page| {
            let Image { canvas, pixels } = sheet.page(page);
            pictures::write_png(&self.own(&sheet.file(page))?, canvas, &pixels)
        })?;
        let mut thinned = convergence::Thinned::new(manifest.generation);
        metrics::read(&self.file(METRICS), |line| thinned.push(line))?;
        let Image { canvas, pixels } = convergence::draw(manifest, thinned.lines());
        pictures::write_png(&self.own(CONVERGENCE)?, canvas, &pixels)
    }

    fn remove_pictures(&self) -> Result<()> {
        atomic::remove(&self.own(CONVERGENCE)?)?;
        for name in entries(&self.path)?.iter().filter(|name| Sheet::is_page(name)) {
            atomic::remove(&self.own(name)?)?;
        }
        let elites = self.own(ELITES)?;
        match fs::remove_dir_all(&elites) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &elites)(source)),
            _ => Ok(()),
        }
    }

    /// Takes `run.json` away, so that it never stands beside what is newer or half written.
    fn unfinish(&self) -> Result<()> {
        atomic::remove(&self.own(MANIFEST)?)
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

/// Most bytes of memory for the pictures of `n_niches` elites, as [`RunFolder::finish`] draws and writes them.
pub fn pictures_memory(canvas: Canvas, n_niches: usize, threads: usize) -> u64 {
    /// What deflate keeps: window, hash chains, output.
    const ENCODER: usize = 512 << 10;
    let elites = n_niches.min(threads) * 2 * canvas.len();
    let sheet = contact_sheet::most_bytes(canvas, n_niches, threads);
    (threads * ENCODER + elites + sheet + convergence::MOST_BYTES) as u64
}

/// Refuses a folder that holds anything but what a run leaves that was killed before its first checkpoint.
fn refuse_occupied(path: &Path) -> Result<()> {
    let begun = |name: &str| name == METRICS && metrics::is_barely_begun(&path.join(METRICS));
    let occupied = entries(path)?.iter().any(|name| name != LOCK && !is_partial(name) && !begun(name));
    if !occupied {
        return Ok(());
    }
    let shown = path.display();
    let remedy =
        if has_checkpoint(path) { format!(", or continue that run with --resume {shown}") } else { String::new() };
    Err(Error::Refused(format!("{shown}: is not empty, and nothing is ever overwritten; choose another --out{remedy}")))
}

/// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name; returns which.
pub(super) fn new_folder(path: &Path) -> Result<PathBuf> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let mut candidate = path.to_path_buf();
    for number in 2_u32.. {
        match fs::create_dir(&candidate) {
            Ok(()) => break,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::io("create", &candidate)(source)),
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        candidate = name.into();
    }
    Ok(candidate)
}

/// Removes from the folder `path` what a killed process left unfinished.
pub(super) fn clear_partial(path: &Path) -> Result<()> {
    for entry in entries(path)?.into_iter().filter(|name| is_partial(name)) {
        let entry = path.join(entry);
        let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        removed.map_err(Error::io("remove", &entry))?;
    }
    Ok(())
}

/// Names in the folder `path`.
pub(super) fn entries(path: &Path) -> Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<String>> = fs::read_dir(path).and_then(|entries| entries.map(name).collect());
    names.map_err(Error::io("read", path))
}

pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with(atomic::PARTIAL)
}
