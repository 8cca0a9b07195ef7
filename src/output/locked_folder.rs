//! A folder that one process at a time may write.

use crate::error::{Error, Result};
use crate::output::atomic;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";

/// A folder, locked for this process as long as this value lives. Its file `lock` stays behind empty and holds nobody
/// off: the lock belongs to the open file, and ends with the process however that ends.
#[derive(Debug)]
pub(super) struct LockedFolder {
    path: PathBuf,
    lock: File,
}

impl LockedFolder {
    /// Takes the lock of the folder `path` and clears away what a killed process left unfinished.
    ///
    /// # Errors
    /// [`Error::Refused`] if another process has it, [`Error::Io`] if the folder cannot be written.
    pub fn lock(path: &Path) -> Result<LockedFolder> {
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
        for entry in entries(path)?.into_iter().filter(|name| name.starts_with(atomic::PARTIAL)) {
            let entry = path.join(entry);
            let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(Error::io("remove", &entry))?;
        }
        Ok(LockedFolder { path: path.to_path_buf(), lock })
    }

    /// Makes the folder `path`, and those above it, and locks it. One that is there will do if there is nothing in it but
    /// what a process left that was killed before it had begun: the lock, unfinished files, and what is `barely_begun` by
    /// its name. `remedy` says what can be done with --resume where there is more, `option` names the folder.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(
        path: &Path,
        barely_begun: impl Fn(&str) -> bool,
        remedy: impl Fn() -> Option<&'static str>,
        option: &str,
    ) -> Result<LockedFolder> {
        refuse_file(path, option)?;
        let refuse_occupied = || {
            let ours = |name: &str| name == LOCK || name.starts_with(atomic::PARTIAL) || barely_begun(name);
            if entries(path)?.iter().all(|name| ours(name)) {
                return Ok(());
            }
            let shown = path.display();
            let remedy = remedy().map_or(String::new(), |remedy| format!(", or {remedy} with --resume {shown}"));
            Err(occupied(path, option, &remedy))
        };
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        refuse_occupied()?;
        let folder = LockedFolder::lock(path)?;
        refuse_occupied()?; // another process may have come and gone between the two lines above
        Ok(folder)
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name, and locks it.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<LockedFolder> {
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
        LockedFolder::lock(&candidate)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of one of its files, to be written or removed. What is written by name alone could go into a folder that
    /// took the place of this one, and beside the work of another process.
    ///
    /// # Errors
    /// [`Error::Refused`] if the folder there is no longer the one that this process has locked.
    pub fn own(&self, name: &str) -> Result<PathBuf> {
        if atomic::is_at(&self.lock, &self.path.join(LOCK))? {
            return Ok(self.path.join(name));
        }
        Err(Error::Refused(format!(
            "{}: the folder, or its file {LOCK:?}, was removed or replaced during the run; nothing more is written there",
            self.path.display()
        )))
    }

    /// What to say of `error`, which came in writing one of its files: where the folder went away meanwhile, that.
    pub fn explain(&self, error: Error) -> Error {
        self.own(LOCK).err().unwrap_or(error)
    }
}

/// Refuses `path` where [`LockedFolder::create`] would find anything there, before the work whose result is to go to it. It makes nothing.
///
/// # Errors
/// As theirs.
pub(super) fn refuse_occupied(path: &Path, option: &str) -> Result<()> {
    refuse_file(path, option)?;
    let ours = |name: &String| name == LOCK || name.starts_with(atomic::PARTIAL);
    if path.exists() && !entries(path)?.iter().all(ours) { Err(occupied(path, option, "")) } else { Ok(()) }
}

fn refuse_file(path: &Path, option: &str) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::Refused(format!("{}: is no folder; choose another with {option}", path.display())));
    }
    Ok(())
}

fn occupied(path: &Path, option: &str, remedy: &str) -> Error {
    let shown = path.display();
    Error::Refused(format!("{shown}: is not empty, and nothing is ever overwritten; choose another {option}{remedy}"))
}

/// Names in the folder `path`.
pub(super) fn entries(path: &Path) -> Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<String>> = fs::read_dir(path).and_then(|entries| entries.map(name).collect());
    names.map_err(Error::io("read", path))
}
