//! Files and folders that are there whole or not at all, whenever the process is killed or the power fails.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How the names of unfinished files and folders begin. What a killed process leaves behind is known by it.
pub const PARTIAL: &str = ".partial-";

/// Writes the file `path`, replacing what is there: `fill` writes to a temporary name in the same folder, which takes
/// the name `path` once its content has reached the disk.
///
/// # Errors
/// [`Error::Io`] if a step fails; `path` is then as it was.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let folder = parent(path);
    let temporary = partial(0o666).tempfile_in(folder).map_err(Error::io("create a file in", folder))?;
    finish(temporary.as_file(), fill).map_err(Error::io("write", path))?;
    temporary.persist(path).map_err(|failure| Error::io("write", path)(failure.error))?;
    sync_folder(folder)
}

/// Writes the file `path` in a folder that [`create_folder`] is filling, where a file by half does no harm; it also brings it to the disk.
///
/// # Errors
/// [`Error::Io`].
pub fn write_new(path: &Path, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let file = File::create_new(path).map_err(Error::io("create", path))?;
    fill_buffered(&file, fill).map_err(Error::io("write", path))
}

/// Fills `file` and brings it to the disk.
fn finish(file: &File, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    fill_buffered(file, fill)?;
    file.sync_all()
}

fn fill_buffered(file: &File, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    fill(&mut writer)?;
    writer.flush()
}

/// Makes the folder `path`, which must not exist: `fill` fills a temporary folder beside it with files, which then takes its name. They
/// are brought to the disk when all are written, which is much faster than one by one. Works on rayon's current pool.
///
/// # Errors
/// What `fill` says, or [`Error::Io`]; there is no folder `path` then.
pub fn create_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = parent(path);
    let temporary = partial(0o777).tempdir_in(folder).map_err(Error::io("create a folder in", folder))?;
    fill(temporary.path())?;
    let files = fs::read_dir(temporary.path()).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    files.map_err(Error::io("read", temporary.path()))?.into_par_iter().try_for_each(|file| {
        let synced = OpenOptions::new().write(true).open(file.path()).and_then(|file| file.sync_all());
        synced.map_err(Error::io("write", path))
    })?;
    sync_folder(temporary.path())?;
    fs::rename(temporary.path(), path).map_err(Error::io("write", path))?;
    let _ = temporary.keep(); // nothing is left under its name to remove
    sync_folder(folder)
}

/// Removes the file `path`, if it is there, and sees to it that it stays away.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(parent(path)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io("remove", path)(source)),
    }
}

/// Whether the open `file` is still the one named `path`: nobody has removed, moved or replaced it.
///
/// # Errors
/// [`Error::Io`].
pub fn is_at(file: &File, path: &Path) -> Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()); // unique while the file is open
        let held = file.metadata().map_err(Error::io("look at", path))?;
        match fs::metadata(path) {
            Ok(there) => Ok(identity(there) == identity(held)),
            Err(source) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&source.kind()) => {
                Ok(false)
            }
            Err(source) => Err(Error::io("look at", path)(source)),
        }
    }
    #[cfg(not(unix))] // where an open file cannot be removed
    {
        let _ = (file, path);
        Ok(true)
    }
}

/// The folder of `path`; the current one for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A builder of temporary names, with the access rights that any other new file or folder would have: tempfile's own
/// default shuts everybody else out.
fn partial(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)); // less the umask
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// Brings the names in `folder` to the disk: a renamed file is safe only then. Elsewhere folders cannot be opened.
fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write", folder))?;
    }
    Ok(())
}
