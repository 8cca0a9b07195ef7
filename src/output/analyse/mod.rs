//! What an analysis leaves behind: a folder with a JSON, a CSV and a PNG file a part, and last of all `analyse.json`.

mod ablation;
mod blame;
mod csv;
mod figure;
mod likeness;
mod minimal;
mod resistance;
mod thresholds;

use crate::error::Result;
use crate::experiment::analyse::Report;
use crate::experiment::analyse::runs::Runs;
use crate::output::locked_folder::{self, LockedFolder};
use crate::output::{Image, atomic, pictures, rfc3339};
use csv::Csv;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const MANIFEST: &str = "analyse.json";

/// The content of `analyse.json`: what was done, of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalyseManifest {
    /// Of this program.
    pub version: String,
    /// Of its sources, where it was built from a repository.
    pub commit: String,
    pub arithmetic_version: u32,
    /// What was done; the files have their names.
    pub parts: Vec<String>,
    /// What was not, and why.
    pub left_out: Vec<String>,
    /// The classes whose elites were taken apart; all where there is none.
    pub classes: Vec<u32>,
    pub groups: Option<PathBuf>,
    pub permutations: u32,
    /// Of permutations and of random restarts.
    pub seed: u64,
    pub goal: String,
    pub restarts: u32,
    pub similarity: f32,
    pub runs: Vec<AnalyseInput>,
    /// What images were scored on, and why on that; `None` if none were.
    pub device: Option<String>,
    pub device_reason: Option<String>,
    pub threads: usize,
    /// The instruction set.
    pub simd: String,
    #[serde(with = "rfc3339")]
    pub start: SystemTime,
    #[serde(with = "rfc3339")]
    pub end: SystemTime,
    pub seconds: f64,
    pub seconds_of_parts: BTreeMap<String, f64>,
}

/// A run that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalyseInput {
    /// Its number, by which all files name it.
    pub run: usize,
    pub path: PathBuf,
    pub set: String,
    pub seed: u64,
    pub network: String,
    pub weights: String,
    pub weights_sha256: String,
    pub archive_hash: String,
}

/// The folder of an analysis, locked for this process as long as this value lives.
#[derive(Debug)]
pub struct AnalyseFolder {
    folder: LockedFolder,
}

/// Where analyses go unless told otherwise.
pub fn default_path() -> PathBuf {
    Path::new("runs").join("analyse")
}

impl AnalyseFolder {
    /// Refuses `path` where [`AnalyseFolder::create`] would, before the work. It makes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn refuse_occupied(path: &Path) -> Result<()> {
        locked_folder::refuse_occupied(path, "--out")
    }

    /// Makes the folder `path`, and those above it; an empty one will do.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if there is anything in it, or another process is at it;
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be made.
    pub fn create(path: &Path) -> Result<AnalyseFolder> {
        Ok(AnalyseFolder { folder: LockedFolder::create(path, |_| false, || None, "--out")? })
    }

    /// Makes the folder `path`, or if that is there `path` with `-2`, `-3`, ... after its name.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be made.
    pub fn create_numbered(path: &Path) -> Result<AnalyseFolder> {
        Ok(AnalyseFolder { folder: LockedFolder::create_numbered(path)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the files of each part, and last of all `analyse.json`: where that is, all is there.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io); [`Error::Refused`](crate::error::Error::Refused) if the folder was removed or replaced.
    pub fn finish(&self, manifest: &AnalyseManifest, report: &Report, runs: &Runs) -> Result<()> {
        if let Some(part) = &report.blame {
            self.part("blame", part, blame::csv(part), &blame::figure(part, runs))?;
        }
        if let Some(part) = &report.thresholds {
            self.part("thresholds", part, thresholds::csv(part), &thresholds::figure(part))?;
        }
        if let Some(part) = &report.likeness {
            self.part("likeness", part, likeness::csv(part), &likeness::figure(part, runs))?;
        }
        if let Some(part) = &report.resistance {
            self.part("resistance", part, resistance::csv(part), &resistance::figure(part))?;
        }
        if let Some(part) = &report.minimal {
            self.part("minimal", part, minimal::csv(part), &minimal::figure(part, runs))?;
            self.write("minimal.txt", minimal::text(part).as_bytes())?;
        }
        if let Some(part) = &report.ablation {
            self.part("ablation", part, ablation::csv(part), &ablation::figure(part, runs))?;
        }
        self.write(MANIFEST, json(manifest).as_bytes())
    }

    fn part(&self, name: &str, part: &impl Serialize, csv: Csv, figure: &Image) -> Result<()> {
        self.write(&format!("{name}.json"), json(part).as_bytes())?;
        self.write(&format!("{name}.csv"), csv.text().as_bytes())?;
        pictures::write_png(&self.folder.own(&format!("{name}.png"))?, figure.canvas, &figure.pixels)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        atomic::write(&self.folder.own(name)?, |file| file.write_all(bytes))
    }
}

/// The text of a JSON file, for people as well as for programs.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("these types have JSON forms") + "\n"
}
