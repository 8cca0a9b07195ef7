//! The folder of a reproduction: the paper's experiments on MNIST, and what became of its claims.
//!
//! ```text
//! reproduce.json                   what it is: written first
//! networks/                        the networks that come with the program, as files
//! evolve-cppn-NETWORK/ ...         a series of runs for each encoding and network
//! ascend-PRESET/ ...               images by gradient ascent
//! transfer/                        all of these shown to all networks
//! retrain/                         the arms race
//! claims.json claims.md            what came of it: written last
//! ```

use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::experiment::reproduce::{Protocol, Report};
use crate::experiment::train::Identity;
use crate::network::shipped::SHIPPED;
use crate::network::weights::Files;
use crate::output::atomic;
use crate::output::locked_folder::LockedFolder;
use crate::output::retrain::read_json;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const RECORD: &str = "reproduce.json";
const NETWORKS: &str = "networks";
const CLAIMS: &str = "claims.json";
const TABLE: &str = "claims.md";

/// What a reproduction is: `reproduce.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub arithmetic_version: u32,
    pub protocol: Protocol,
    /// Where the digits are, and what they are.
    pub data: PathBuf,
    pub trained_on: Identity,
    pub tried_on: Identity,
}

/// A reproduction's folder, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct ReproduceFolder {
    folder: LockedFolder,
}

/// Whether `path` is the folder of a reproduction that was begun.
pub fn is_reproduction(path: &Path) -> bool {
    path.join(RECORD).is_file()
}

impl ReproduceFolder {
    /// Makes the folder `path`, and those above it; an empty folder will do.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is anything else, or another process is at it; [`Error::Io`] if it cannot be made.
    pub fn create(path: &Path) -> Result<ReproduceFolder> {
        let remedy = || is_reproduction(path).then_some("continue that one");
        Ok(ReproduceFolder { folder: LockedFolder::create(path, |_| false, remedy, "--out")? })
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<ReproduceFolder> {
        Ok(ReproduceFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Opens the folder of a reproduction that was begun; gives what it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none, or another process is at it; [`Error::File`] if its record cannot be read.
    pub fn open(path: &Path) -> Result<(ReproduceFolder, Record)> {
        if !is_reproduction(path) {
            let shown = path.display();
            return Err(Error::Refused(format!(
                "{shown}: holds no {RECORD}; name the folder of a reproduction that was begun"
            )));
        }
        let folder = ReproduceFolder { folder: LockedFolder::lock(path)? };
        let record: Record = read_json(&path.join(RECORD), "the record of a reproduction")?;
        if record.arithmetic_version != ARITHMETIC_VERSION {
            let text = format!(
                "of arithmetic version {}, this program has {ARITHMETIC_VERSION}; continue it with the program that began it",
                record.arithmetic_version
            );
            return Err(Error::file(&path.join(RECORD), text));
        }
        Ok((folder, record))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `reproduce.json`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] if the folder was removed or replaced, here and below.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        self.write(RECORD, &json(record))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        atomic::write(&self.folder.own(name)?, |file| file.write_all(text.as_bytes()))
    }

    /// The files of the networks that come with the program, in their order; written where they are not there, or others.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn networks(&self) -> Result<Vec<Files>> {
        let folder = self.folder.own(NETWORKS)?;
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let write = |path: PathBuf, bytes: &[u8]| {
            if !fs::read(&path).is_ok_and(|there| there == bytes) {
                atomic::write(&path, |file| file.write_all(bytes))?;
            }
            Ok::<PathBuf, Error>(path)
        };
        let files = SHIPPED.iter().map(|network| {
            let name = network.name;
            let layers = network.layers.map(|text| write(folder.join(format!("{name}.toml")), text.as_bytes()));
            Ok(Files {
                weights: Some(write(folder.join(format!("{name}.safetensors")), network.weights)?),
                network: layers.transpose()?,
                ..Files::default()
            })
        });
        files.collect()
    }

    /// The folder of a part that goes on by itself where it was.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn part(&self, name: &str) -> Result<PathBuf> {
        self.folder.own(name)
    }

    /// The folder of a part that is made as a whole: if it is not there, `make` makes it under another name first.
    ///
    /// # Errors
    /// Those of `make`; [`Error::Io`].
    pub fn whole_part(&self, name: &str, make: impl FnOnce(PathBuf) -> Result<()>) -> Result<PathBuf> {
        let path = self.folder.own(name)?;
        if path.exists() {
            return Ok(path);
        }
        let unfinished = self.folder.own(&format!("{}{name}", atomic::PARTIAL))?;
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
        }
        make(unfinished.clone())?;
        fs::rename(&unfinished, &path).map_err(Error::io("write", &path))?;
        Ok(path)
    }

    /// Writes `claims.md` and `claims.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, report: &Report) -> Result<()> {
        self.write(TABLE, &report.to_markdown())?;
        self.write(CLAIMS, &json(report))
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("these have JSON forms") + "\n"
}
