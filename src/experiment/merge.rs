//! Merging: of several archives of one network the best elite of each class.
//!
//! Every archive is looked at as `transfer` does it: its hash is that of its run, its genomes draw the images beside them. Then the network
//! says once more what it says of every elite: what was recorded must come out again, bit for bit.

use super::classify::{Fit, Item, classify_on, fitted};
use super::config::Config;
use super::device::{Asked, Chosen};
use super::evolve::file_of_run;
use super::transfer::sources::{Source, verified_archive};
use crate::archive::{ARITHMETIC_VERSION, Archive, Elite, Statistics};
use crate::error::{Error, Result};
use crate::genome::exchange::Settings;
use crate::genome::{Canvas, Encoding};
use crate::network::Network;
use crate::network::weights::Files;
use crate::output::manifest::MergedRun;
use crate::output::{About, Checkpoint, ClassResult, Image, Manifest, RunFolder, Stop, run_folder};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of images that the network is shown at once.
const AT_ONCE: usize = 256 << 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// Folders of runs and series. Of equal elites that of the earlier one wins.
    pub inputs: Vec<PathBuf>,
    /// Their network; what is not named is what the first run's checkpoint names.
    pub files: Files,
    /// The folder, which must not hold anything.
    pub out: PathBuf,
    pub device: Asked,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    pub pictures: bool,
}

/// An archive with what its run was.
struct Run {
    path: PathBuf,
    manifest: Box<Manifest>,
    archive: Archive,
    about: About,
}

/// Merges.
///
/// # Errors
/// Whatever is wrong with an archive, or kept the folder from being written. There is no result then.
pub fn run(request: &MergeRequest) -> Result<Manifest> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(request))
}

fn run_on_pool(request: &MergeRequest) -> Result<Manifest> {
    let start = SystemTime::now();
    RunFolder::refuse_occupied(&request.out)?;
    let runs = read(request)?;
    for run in &runs[1..] {
        refuse_others(&runs[0], run)?;
    }
    let network = network(request, &runs[0])?;
    let chosen = Chosen::choose(request.device, &network)?;
    tracing::info!("device {} ({})", chosen.name(), chosen.reason);
    for run in &runs {
        judge(run, &network, &chosen, request.simd)?;
    }

    // By class, with the number of the run that it is of.
    let mut best: BTreeMap<u32, (usize, &Arc<Elite>)> = BTreeMap::new();
    for (index, Run { archive, .. }) in runs.iter().enumerate() {
        for (&class, elite) in archive.classes.iter().zip(&archive.elites) {
            let confidence = |elite: &Elite| elite.probabilities[class as usize];
            let is_better = |&(_, other): &(usize, &Arc<Elite>)| confidence(elite) > confidence(other);
            if best.get(&class).is_none_or(is_better) {
                best.insert(class, (index, elite));
            }
        }
    }
    let archive = Archive {
        generation: runs.iter().map(|run| run.archive.generation).max().expect("two runs at least"),
        classes: best.keys().copied().collect(),
        elites: best.values().map(|(_, elite)| Arc::clone(elite)).collect(),
    };
    let about = about(&runs);
    let mut manifest = manifest(request, &runs, &best.values().map(|&(run, _)| run).collect::<Vec<_>>(), &archive);
    manifest.classes = ClassResult::table(&archive, &about.class_names);
    manifest.device = chosen.name();
    manifest.device_reason.clone_from(&chosen.reason);
    manifest.start = start;
    // Only now, when there is a result, is the disk touched.
    let folder = RunFolder::create(&request.out)?;
    folder.finish(&mut manifest, &archive, &about, request.pictures)?;
    Ok(manifest)
}

/// The archives of all inputs, each as its run left it.
fn read(request: &MergeRequest) -> Result<Vec<Run>> {
    let mut sources = Vec::new();
    for input in &request.inputs {
        sources.extend(Source::find(input)?);
    }
    let mut seen = HashSet::new();
    let mut runs = Vec::new();
    for source in sources {
        let path = source.path().to_path_buf();
        if !seen.insert(path.canonicalize().map_err(Error::io("find", &path))?) {
            return Err(Error::Usage(format!("{}: is there twice; name it once", path.display())));
        }
        let Source::Run(_, manifest) = source else {
            return Err(Error::file(&path, "is not the folder of a run of evolve: there is no archive to merge"));
        };
        let (archive, about) = verified_archive(&path, Some(&manifest), request.simd)?;
        runs.push(Run { path, manifest, archive, about });
    }
    if let [run] = &runs[..] {
        return Err(Error::Usage(format!("{}: is the only run; name two or more to merge", run.path.display())));
    }
    Ok(runs)
}

/// Refuses `other` where its elites are not of the kind of those of `first`.
fn refuse_others(first: &Run, other: &Run) -> Result<()> {
    let refused = |what: &str, theirs: String, ours: String| {
        let (path, first) = (other.path.display(), first.path.display());
        Err(Error::Refused(format!("{path} cannot be merged with {first}: its {what} is {theirs}, there it is {ours}")))
    };
    let (a, b) = (&first.about, &other.about);
    let classes = |about: &About| about.class_names.len();
    if classes(a) != classes(b) {
        return refused("number of classes", classes(b).to_string(), classes(a).to_string());
    }
    let (one, two) = (&first.manifest, &other.manifest);
    if one.weights_sha256 != two.weights_sha256 {
        let name = |run: &Manifest| format!("{} ({}, SHA-256 {})", run.network, run.weights, run.weights_sha256);
        return refused("network", name(two), name(one));
    }
    let encoding = |about: &About| if matches!(about.encoding, Encoding::Cppn(_)) { "cppn" } else { "direct" };
    if encoding(a) != encoding(b) {
        return refused("encoding", encoding(b).into(), encoding(a).into());
    }
    if a.canvas != b.canvas {
        let text = |Canvas { height, width, channels }: Canvas| format!("{width}x{height} of {channels} channels");
        return refused("canvas", text(b.canvas), text(a.canvas));
    }
    if a.crops != b.crops {
        let text = |about: &About| format!("{:?}", about.crops).to_lowercase();
        return refused("number of judged crops", text(b), text(a));
    }
    if let (Encoding::Cppn(a), Encoding::Cppn(b)) = (&a.encoding, &b.encoding) {
        // One archive has one set of them, and its genomes would draw otherwise.
        let (a, b) = (Settings::from(a), Settings::from(b));
        if a.normalise != b.normalise {
            return refused("cppn.normalise", b.normalise.to_string(), a.normalise.to_string());
        }
        if a.max_weight != b.max_weight {
            return refused("cppn.max_weight", b.max_weight.to_string(), a.max_weight.to_string());
        }
    }
    Ok(())
}

/// The network of the runs: the one that the call names, else the one of the first run's checkpoint, else the one built in.
fn network(request: &MergeRequest, first: &Run) -> Result<Arc<Network>> {
    let checkpoint = first.path.join(run_folder::CHECKPOINT);
    let saved = if request.files.weights.is_none() && checkpoint.is_file() {
        Some(Checkpoint::read(&checkpoint)?.files)
    } else {
        None
    };
    let network = request.files.or(saved.as_ref(), file_of_run)?.load()?;
    let Manifest { network: name, weights, weights_sha256, .. } = &*first.manifest;
    if network.sha256 != *weights_sha256 {
        return Err(Error::Refused(format!(
            "the archives are of {name} ({weights}, SHA-256 {weights_sha256}), this is {} (SHA-256 {}); name theirs with --weights",
            network.name, network.sha256
        )));
    }
    Ok(Arc::new(network))
}

/// Lets the network say once more what it says of every elite.
fn judge(run: &Run, network: &Arc<Network>, chosen: &Chosen, simd: Simd) -> Result<()> {
    let Run { path, archive, about, .. } = run;
    let mut seen = HashSet::new();
    let niches: Vec<usize> =
        (0..archive.elites.len()).filter(|&niche| seen.insert(Arc::as_ptr(&archive.elites[niche]))).collect();
    for niches in niches.chunks((AT_ONCE / about.canvas.len()).max(1)) {
        let item = |&niche: &usize| -> Result<Item> {
            let image = Image { canvas: about.canvas, pixels: archive.elites[niche].image.clone() };
            fitted(String::new(), image, network, Fit::default(), about.crops)
                .map_err(|reason| Error::file(path, format!("class {}: {reason}", archive.classes[niche])))
        };
        let items = niches.iter().map(item).collect::<Result<Vec<_>>>()?;
        for (&niche, answer) in niches.iter().zip(classify_on(chosen, network, simd, &items)?) {
            let recorded = &archive.elites[niche].probabilities;
            let is_same =
                recorded.len() == answer.len() && recorded.iter().zip(&answer).all(|(a, b)| a.to_bits() == b.to_bits());
            if !is_same {
                let text = format!(
                    "its network {} gives the elite of class {} other probabilities than the archive has recorded: one of them is damaged",
                    network.name, archive.classes[niche]
                );
                return Err(Error::file(path, text));
            }
        }
    }
    Ok(())
}

/// What one must know of the merged archive: as of the first, with room for the genomes of all.
fn about(runs: &[Run]) -> About {
    let mut about = runs[0].about.clone();
    if let Encoding::Cppn(rules) = &mut about.encoding {
        for run in runs {
            if let Encoding::Cppn(other) = &run.about.encoding {
                rules.max_nodes = rules.max_nodes.max(other.max_nodes);
                rules.max_edges = rules.max_edges.max(other.max_edges);
            }
        }
    }
    about
}

/// What becomes run.json. `won` says for each niche the run that its elite is of.
fn manifest(request: &MergeRequest, runs: &[Run], won: &[usize], archive: &Archive) -> Manifest {
    let first = &runs[0].manifest;
    let n_classes = runs[0].about.class_names.len();
    let sum = |of: fn(&Manifest) -> f64| runs.iter().map(|run| of(&run.manifest)).sum::<f64>();
    let evaluations = runs.iter().map(|run| run.manifest.evaluations).sum();
    let seconds = sum(|run| run.seconds);
    let classes = if archive.classes.len() == n_classes { Vec::new() } else { archive.classes.clone() };
    let mut configuration = Config { classes, start: None, ..first.configuration.clone() };
    if let (Some(rules), Encoding::Cppn(merged)) = (&mut configuration.cppn, about(runs).encoding) {
        *rules = merged;
    }
    let merged = runs.iter().enumerate().map(|(index, run)| MergedRun {
        path: std::path::absolute(&run.path).unwrap_or_else(|_| run.path.clone()),
        seed: run.manifest.seed,
        generation: run.archive.generation,
        archive_hash: run.manifest.archive_hash,
        classes_won: won.iter().filter(|&&run| run == index).count(),
    });
    Manifest {
        version: VERSION.to_string(),
        commit: COMMIT.to_string(),
        arithmetic_version: ARITHMETIC_VERSION,
        configuration,
        threads: rayon::current_num_threads(),
        simd: request.simd.to_string(),
        end: SystemTime::now(),
        seconds,
        stopped_by: Stop::Merged,
        generation: archive.generation,
        evaluations,
        genomes_per_second: evaluations as f64 / seconds,
        statistics: Statistics::of(&archive.fitness()),
        distinct_genomes: archive.distinct(),
        operators_skipped_at_capacity: runs.iter().map(|run| run.manifest.operators_skipped_at_capacity).sum(),
        peak_memory_bytes: None,
        gpu: None,
        archive_hash: archive.hash(),
        merged: merged.collect(),
        ..(**first).clone()
    }
}
