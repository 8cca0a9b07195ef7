//! What evolution found (spec, sections 7, 8, 11 and 12): analyses of finished runs, from their folders alone.
//!
//! Each part is a function of the runs, their networks and the settings, and of nothing else; images are scored as evolution scores them.

pub mod ablation;
pub mod blame;
pub mod groups;
pub mod likeness;
pub mod minimal;
pub mod resistance;
pub mod runs;
pub mod thresholds;

use super::device::Asked;
use super::progress::{Progress, ProgressMode};
use crate::archive::ARITHMETIC_VERSION;
use crate::error::{Error, Result};
use crate::network::weights::Files;
use crate::output::analyse::{AnalyseFolder, AnalyseManifest, default_path};
use crate::output::hash_text;
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use ablation::Ablation;
use blame::Blame;
use groups::Groups;
use likeness::Likeness;
use minimal::{Goal, Minimal};
use resistance::Resistance;
use runs::{ALL, BEST, Judges, Runs};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Instant, SystemTime};
use thresholds::Thresholds;

/// A part of the analysis. Their texts stand in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What each node and edge of a CPPN is worth
    Blame,
    /// How far runs came, and in how many evaluations; maps of classes by runs; sets of runs compared
    Thresholds,
    /// How alike elites of related classes are within a run, and those of a class over runs
    Likeness,
    /// Which classes stay low, and what their elites are taken for
    Resistance,
    /// The smallest CPPN that still does what an elite does, and its formula
    Minimal,
    /// Repeated structure removed, and windows covered
    Ablation,
}

impl Part {
    /// All, in the order in which they are done.
    pub const ALL: [Part; 6] =
        [Part::Blame, Part::Thresholds, Part::Likeness, Part::Resistance, Part::Minimal, Part::Ablation];

    /// What it and its files are called.
    pub fn name(self) -> &'static str {
        match self {
            Part::Blame => "blame",
            Part::Thresholds => "thresholds",
            Part::Likeness => "likeness",
            Part::Resistance => "resistance",
            Part::Minimal => "minimal",
            Part::Ablation => "ablation",
        }
    }

    /// Whether it scores images.
    fn scores(self) -> bool {
        !matches!(self, Part::Thresholds | Part::Resistance)
    }

    /// Whether it takes CPPNs apart.
    fn is_of_cppns(self) -> bool {
        matches!(self, Part::Blame | Part::Minimal)
    }

    /// Whether it takes single elites apart.
    fn is_of_elites(self) -> bool {
        matches!(self, Part::Blame | Part::Minimal | Part::Ablation)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AnalyseRequest {
    /// Folders of runs, and of series.
    pub runs: Vec<PathBuf>,
    /// The parts; all that the runs allow where there is none.
    pub only: Vec<Part>,
    /// The classes whose elites are taken apart; all where there is none.
    pub classes: Vec<u32>,
    /// A file of related classes.
    pub groups: Option<PathBuf>,
    /// Of each permutation test.
    pub permutations: u32,
    /// Of permutations and of random restarts.
    pub seed: u64,
    /// What a minimal genome must keep, and the random restarts of its search.
    pub goal: Goal,
    pub restarts: u32,
    /// From which normalised cross-correlation on a place is a copy of a patch.
    pub similarity: f32,
    /// Networks, in place of those that runs have recorded.
    pub networks: Vec<Files>,
    /// The folder, which must not hold anything; a new one in `runs` where there is none.
    pub out: Option<PathBuf>,
    pub device: Asked,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    pub progress: ProgressMode,
}

impl AnalyseRequest {
    /// Related classes of a network with these classes.
    ///
    /// # Errors
    /// Those of [`Groups::read`].
    fn groups_of(&self, class_names: &[String]) -> Result<Option<Groups>> {
        self.groups
            .as_ref()
            .map_or_else(|| Ok(Groups::of(class_names)), |path| Groups::read(path, class_names).map(Some))
    }
}

/// Which elite a line is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElitePlace {
    /// The number of its run, in the order of analyse.json.
    pub run: usize,
    pub set: String,
    pub seed: u64,
    pub class: u32,
    pub name: String,
    pub confidence: f32,
}

impl ElitePlace {
    /// That of `niche` of the run with the number `run`.
    pub fn of(runs: &Runs, run: usize, niche: usize) -> ElitePlace {
        let (class, name) = runs.runs[run].class(niche);
        ElitePlace {
            run,
            set: runs.set_of(run).name.clone(),
            seed: runs.runs[run].manifest.seed,
            class,
            name: name.to_owned(),
            confidence: runs.runs[run].confidence(niche),
        }
    }

    /// The class as people call it.
    pub fn class_text(&self) -> String {
        let number = self.class.to_string();
        if number == self.name { number } else { format!("{number} {}", self.name) }
    }
}

/// All that was found; a part that was not asked for, or that the runs do not allow, is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likeness: Option<Likeness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resistance: Option<Resistance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimal: Option<Minimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ablation: Option<Ablation>,
}

/// Makes the analyses, and the folder that holds them.
///
/// # Errors
/// Whatever is wrong with a run or a network, or kept the folder from being written. There is no folder then, or none with an analyse.json.
pub fn run(request: &AnalyseRequest) -> Result<(Report, PathBuf)> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(request))
}

fn run_on_pool(request: &AnalyseRequest) -> Result<(Report, PathBuf)> {
    let (start, clock) = (SystemTime::now(), Instant::now());
    if let Some(out) = &request.out {
        AnalyseFolder::refuse_occupied(out)?;
    }
    let runs = Runs::read(request)?;
    let (parts, left_out) = parts(request, &runs)?;
    refuse_idle(request, &parts)?;
    // What is wrong with the groups is said before the work.
    for run in &runs.runs {
        request.groups_of(&run.about.class_names)?;
    }
    for line in &left_out {
        tracing::warn!("left out: {line}");
    }
    let judges = parts.iter().any(|part| part.scores()).then(|| Judges::open(request, &runs)).transpose()?;
    if let Some(judges) = &judges {
        tracing::info!("device {} ({})", judges.device, judges.device_reason);
    }
    let judged = || judges.as_ref().expect("opened for those that score");

    let mut report = Report::default();
    let mut seconds = Vec::new();
    let mut progress = Progress::new(request.progress, parts.len() as u64, "parts");
    for (done, &part) in parts.iter().enumerate() {
        progress.update(done as u64, || part.name().to_owned());
        let clock = Instant::now();
        match part {
            Part::Blame => report.blame = Some(blame::blame(request, &runs, judged())?),
            Part::Thresholds => report.thresholds = Some(thresholds::thresholds(&runs)?),
            Part::Likeness => report.likeness = Some(likeness::likeness(request, &runs, judged())?),
            Part::Resistance => report.resistance = Some(resistance::resistance(request, &runs)?),
            Part::Minimal => report.minimal = Some(minimal::minimal(request, &runs, judged())?),
            Part::Ablation => report.ablation = Some(ablation::ablation(request, &runs, judged())?),
        }
        seconds.push((part.name().to_owned(), clock.elapsed().as_secs_f64()));
    }
    progress.finish();

    let manifest = AnalyseManifest {
        version: VERSION.to_string(),
        commit: COMMIT.to_string(),
        arithmetic_version: ARITHMETIC_VERSION,
        parts: parts.iter().map(|part| part.name().to_owned()).collect(),
        left_out,
        classes: request.classes.clone(),
        groups: request.groups.clone(),
        permutations: request.permutations,
        seed: request.seed,
        goal: request.goal.to_string(),
        restarts: request.restarts,
        similarity: request.similarity,
        runs: inputs(&runs)?,
        device: judges.as_ref().map(|judges| judges.device.clone()),
        device_reason: judges.as_ref().map(|judges| judges.device_reason.clone()),
        threads: rayon::current_num_threads(),
        simd: request.simd.to_string(),
        start,
        end: SystemTime::now(),
        seconds: clock.elapsed().as_secs_f64(),
        seconds_of_parts: seconds.into_iter().collect(),
    };
    // Only now, when there is a result, is the disk touched.
    let folder = match &request.out {
        Some(path) => AnalyseFolder::create(path)?,
        None => AnalyseFolder::create_numbered(&default_path())?,
    };
    folder.finish(&manifest, &report, &runs)?;
    Ok((report, folder.path().to_path_buf()))
}

/// The parts that are done, and why others are not.
fn parts(request: &AnalyseRequest, runs: &Runs) -> Result<(Vec<Part>, Vec<String>)> {
    let (mut parts, mut left_out) = (Vec::new(), Vec::new());
    let direct: Vec<String> =
        runs.runs.iter().filter(|run| run.cppn().is_none()).map(|run| run.path.display().to_string()).collect();
    for part in Part::ALL {
        let is_asked = request.only.contains(&part);
        if !is_asked && !request.only.is_empty() {
            continue;
        }
        if let Some(why) = impossible(part, runs) {
            if is_asked {
                return Err(Error::Refused(format!("--only {}: {why}", part.name())));
            }
            left_out.push(format!("{}: {why}", part.name()));
            continue;
        }
        if part.is_of_cppns() && !direct.is_empty() {
            let text =
                format!("{} of runs of the direct encoding, which have no graph: {}", part.name(), direct.join(", "));
            left_out.push(text);
        }
        let is_large = |run: &&runs::Run| run.archive.classes.len() > ALL;
        if part.is_of_elites() && request.classes.is_empty() && runs.runs.iter().any(|run| is_large(&run)) {
            left_out.push(format!(
                "{} of all but the {BEST} most confident elites of each run with more than {ALL} classes; --classes says which",
                part.name()
            ));
        }
        if part == Part::Likeness && runs.sets.iter().any(|set| set.runs.len() < 2) {
            let alone = runs.sets.iter().filter(|set| set.runs.len() < 2).map(|set| &set.name[..]);
            left_out.push(format!("likeness of single runs: {}", alone.collect::<Vec<_>>().join("; ")));
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return Err(Error::Refused(format!("nothing is left to do: {}", left_out.join("; "))));
    }
    Ok((parts, left_out))
}

/// Refuses what is asked for to no effect.
fn refuse_idle(request: &AnalyseRequest, parts: &[Part]) -> Result<()> {
    let any = |is: fn(&Part) -> bool| parts.iter().any(is);
    let idle = |text: &str| Err(Error::Usage(text.to_owned()));
    if !request.networks.is_empty() && !any(|part| part.scores()) {
        return idle("--weights: no part that is done shows images to a network");
    }
    if !request.classes.is_empty() && !any(|part| part.is_of_elites()) {
        return idle("--classes: no part that is done takes elites apart");
    }
    if request.groups.is_some() && !any(|part| matches!(part, Part::Likeness | Part::Resistance)) {
        return idle("--groups: no part that is done asks for related classes");
    }
    Ok(())
}

/// Why `part` cannot be done of these runs at all.
fn impossible(part: Part, runs: &Runs) -> Option<String> {
    if part.is_of_cppns() && runs.runs.iter().all(|run| run.cppn().is_none()) {
        return Some("it takes the graphs of CPPNs apart, and all runs are of the direct encoding".to_owned());
    }
    if part == Part::Likeness && runs.sets.iter().all(|set| set.runs.len() < 2) {
        let text = "it compares runs of the same preset, flavour and network that differ in their seeds, and there are no two of them";
        return Some(text.to_owned());
    }
    None
}

/// What was read, for the manifest.
fn inputs(runs: &Runs) -> Result<Vec<crate::output::analyse::AnalyseInput>> {
    let input = |(number, run): (usize, &runs::Run)| {
        Ok(crate::output::analyse::AnalyseInput {
            run: number,
            path: std::path::absolute(&run.path).map_err(Error::io("find", &run.path))?,
            set: runs.set_of(number).name.clone(),
            seed: run.manifest.seed,
            network: run.manifest.network.clone(),
            weights: run.manifest.weights.clone(),
            weights_sha256: run.manifest.weights_sha256.clone(),
            archive_hash: hash_text(run.manifest.archive_hash),
        })
    };
    runs.runs.iter().enumerate().map(input).collect()
}
