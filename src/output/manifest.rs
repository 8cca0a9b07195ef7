//! `run.json`: what ran, on what, and what came of it. Written last: where it is, the run is finished.

use crate::archive::{Archive, Statistics};
use crate::error::{Error, Result};
use crate::experiment::config::Config;
use crate::output::metrics::GpuTotals;
use crate::output::{hex64, pictures, rfc3339};
use crate::telemetry::Facts;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// All its generations were done.
    Generations,
    /// Every niche had the confidence asked for.
    Target,
    /// Its time was up.
    Time,
    /// Its evaluations were used up.
    Evaluations,
    /// Nothing did: it is what the best of several runs were merged to.
    Merged,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this program.
    pub version: String,
    /// Of its sources, where it was built from a repository.
    pub commit: String,
    pub arithmetic_version: u32,
    pub seed: u64,
    /// Every key, given or not.
    pub configuration: Config,
    /// What the steps ran on.
    pub device: String,
    /// Why on that.
    pub device_reason: String,
    pub threads: usize,
    /// The instruction set.
    pub simd: String,
    pub network: String,
    /// The file, or `built in`.
    pub weights: String,
    pub weights_sha256: String,
    /// How the weights were drawn, if nobody trained them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_weights: Option<String>,
    #[serde(with = "rfc3339")]
    pub start: SystemTime,
    #[serde(with = "rfc3339")]
    pub end: SystemTime,
    /// Time spent; less than from start to end for a run that was stopped and continued.
    pub seconds: f64,
    pub stopped_by: Stop,
    pub generation: u32,
    pub evaluations: u64,
    /// Evaluations by seconds.
    pub genomes_per_second: f64,
    #[serde(flatten)]
    pub statistics: Statistics,
    /// Different genomes among the elites.
    pub distinct_genomes: usize,
    pub operators_skipped_at_capacity: u64,
    /// Niches won since the beginning, each of them in the file `lineage`; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage_insertions: Option<u64>,
    /// The most memory that the process could take, as printed at its start.
    pub planned_memory_bytes: u64,
    /// What it took of the memory of a GPU, if it ran on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_device_memory_bytes: Option<u64>,
    /// The most that it took, where the system says so.
    pub peak_memory_bytes: Option<u64>,
    /// What the GPU said that it ran on; of all parts of a run that was moved between devices, those on a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    #[serde(with = "hex64")]
    pub archive_hash: u64,
    /// Of a merged archive, the runs that it is of, in the order in which they were named. The configuration is then the first one's, with
    /// room for the genomes of all; evaluations, seconds and operators skipped are those of all together, and an elite was born in its own run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedRun>,
    /// One a niche.
    pub classes: Vec<ClassResult>,
}

/// A run whose elites went into a merged archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedRun {
    pub path: PathBuf,
    pub seed: u64,
    pub generation: u32,
    #[serde(with = "hex64")]
    pub archive_hash: u64,
    /// Classes whose best elite is its.
    pub classes_won: usize,
}

/// What a GPU took for a run. It is of the whole GPU, as in [`GpuMetrics`](super::metrics::GpuMetrics): the runs of a series share it,
/// and each has the energy of all that ran beside it. `genomes` are theirs too, so that joules per million genomes are right for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// Of the GPU that finished the run, if one did.
    pub facts: Option<Facts>,
    /// Time on a GPU, and the candidates that all runs of the process made in it.
    pub seconds: f64,
    pub genomes: u64,
    /// `None` where the GPU has no energy counter.
    pub energy_joules: Option<f64>,
    pub mean_power_watts: Option<f64>,
    pub joules_per_million_genomes: Option<f64>,
    pub least_sm_clock_mhz: Option<u32>,
    /// All that were seen.
    pub throttle_reasons: Vec<String>,
}

impl GpuUse {
    /// What the lines of a run add up to; `None` if no GPU said anything.
    pub fn of(totals: &GpuTotals, facts: Option<&Facts>) -> Option<GpuUse> {
        let GpuTotals { seconds, genomes, least_sm_clock_mhz, ref throttle_reasons, .. } = *totals;
        let energy_joules = totals.energy_joules();
        (genomes > 0).then(|| GpuUse {
            facts: facts.cloned(),
            seconds,
            genomes,
            energy_joules,
            mean_power_watts: totals.mean_power_watts(),
            joules_per_million_genomes: energy_joules.map(|energy| energy / (genomes as f64 / 1e6)),
            least_sm_clock_mhz,
            throttle_reasons: throttle_reasons.clone(),
        })
    }
}

/// What became of a niche.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    pub class: u32,
    pub name: String,
    pub confidence: f32,
    /// Generation and candidate.
    pub born: (u32, u32),
    /// Its picture, relative to the run folder.
    pub file: String,
}

impl ClassResult {
    /// One a niche of `archive`; `class_names` are those of all the network's classes.
    pub fn table(archive: &Archive, class_names: &[String]) -> Vec<ClassResult> {
        let niches = archive.classes.iter().zip(&archive.elites).zip(archive.fitness());
        niches
            .map(|((&class, elite), confidence)| {
                let name = class_names[class as usize].clone();
                let file = pictures::elite_file(class, class_names.len(), &name, confidence);
                ClassResult { class, name, confidence, born: elite.born, file }
            })
            .collect()
    }
}

impl Manifest {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::File`] if it is no manifest.
    pub fn read(path: &Path) -> Result<Manifest> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        serde_json::from_str(&text).map_err(|source| Error::file(path, format!("not a manifest of a run: {source}")))
    }

    /// The text of the file, for people as well as for programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has a JSON form") + "\n"
    }
}
