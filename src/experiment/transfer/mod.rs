//! Transfer: images that were made against one network, shown unchanged to others (spec, section 8).
//!
//! Each network is given the same 8-bit images, each with its own preprocessing. What the network said that they were made against is what
//! the archive has recorded; where that network is among those that the images are shown to, its answers must be these, bit for bit.

pub mod classes;
pub mod matrix;
pub mod sources;

use super::classify::{Fit, Item, Resize, classify_on, fitted};
use super::device::{Asked, Chosen};
use super::evolve::file_of_run;
use super::progress::{Progress, ProgressMode};
use crate::archive::ARITHMETIC_VERSION;
use crate::backend::cuda;
use crate::error::{Error, Result};
use crate::genome::Encoding;
use crate::network::committee::size;
use crate::network::weights::Files;
use crate::network::{Crops, Network};
use crate::output::Image;
use crate::output::transfer::{TransferFolder, TransferManifest, TransferNetwork, default_path};
use crate::simd::Simd;
use crate::version::{COMMIT, VERSION};
use classes::{Answer, Classes};
use matrix::{Judged, Matrix, Method, Origin};
use sources::{Found, Input, Read, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Bytes of images that networks are shown at once: a network is made ready once for all of them.
const AT_ONCE: usize = 256 << 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// Folders of runs, series and ascents; folders of pictures, and pictures.
    pub inputs: Vec<PathBuf>,
    /// The networks that images are shown to.
    pub networks: Vec<Files>,
    /// Whether networks of other classes are compared on those that they share by name.
    pub shared_classes: bool,
    /// Of pictures: how they are brought to the size of the networks' images, and what is judged of them.
    pub resize: Option<Resize>,
    pub crops: Crops,
    /// The folder, which must not hold anything; a new one in `runs` where there is none.
    pub out: Option<PathBuf>,
    pub device: Asked,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    pub progress: ProgressMode,
}

/// A network that images are shown to.
struct Target {
    /// Its name in tables: that of its file.
    label: String,
    network: Arc<Network>,
    files: Files,
}

/// Makes the matrix, and the folder that holds it.
///
/// # Errors
/// Whatever is wrong with an input or a network, or kept the folder from being written. There is no result then.
pub fn run(request: &TransferRequest) -> Result<(Matrix, PathBuf)> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(request))
}

/// As [`run`], on rayon's current pool.
///
/// # Errors
/// As [`run`].
pub(super) fn run_on_pool(request: &TransferRequest) -> Result<(Matrix, PathBuf)> {
    let (start, clock) = (SystemTime::now(), Instant::now());
    if let Some(out) = &request.out {
        TransferFolder::refuse_occupied(out)?;
    }
    let mut sources = Vec::new();
    for input in &request.inputs {
        sources.extend(Source::find(input)?);
    }
    refuse_twice(&sources)?;
    let targets = targets(&request.networks)?;
    let names: Vec<(&str, &[String])> =
        targets.iter().map(|target| (&target.label[..], &target.network.classes[..])).collect();
    let classes = Classes::of(&names, request.shared_classes)?;
    if classes.are_shared {
        tracing::info!("compared on {} classes that the networks share by name", classes.names.len());
    }
    // An ascent keeps values, of which only its network's mean makes an image.
    for source in sources.iter().filter(|source| source.needs_own()) {
        if let (Source::Ascent(path, _), Some((name, weights, sha256)), None) =
            (source, source.network(), own(source, &targets))
        {
            return Err(Error::file(
                path,
                format!(
                    "the ascent was against {name} ({weights}, SHA-256 {sha256}), which is not among the networks; its mean is needed to \
                     make 8-bit images: name it with --weights too"
                ),
            ));
        }
    }
    // One that a GPU has no kernels for decides for all.
    let hardest = targets.iter().find(|target| cuda::check_network(&target.network).is_err()).unwrap_or(&targets[0]);
    let chosen = Chosen::choose(request.device, &hardest.network)?;
    tracing::info!("device {} ({})", chosen.name(), chosen.reason);

    let mut judge = Judge { request, targets: &targets, classes: &classes, chosen: &chosen, judged: Vec::new() };
    let (mut origins, mut inputs): (Vec<Origin>, Vec<Input>) = (Vec::new(), Vec::new());
    let (mut pending, mut bytes) = (Vec::new(), 0);
    let mut left_out = 0;
    let mut progress = Progress::new(request.progress, sources.len() as u64, "sources");
    for (index, source) in sources.iter().enumerate() {
        let own = own(source, &targets);
        let read = source.read(own.map(|own| &*targets[own].network), request.crops, request.simd)?;
        let origin = origin(source, own, &read, &targets, &origins);
        let place = origins.iter().position(|known| *known == origin).unwrap_or_else(|| {
            origins.push(origin);
            origins.len() - 1
        });
        let map = match (own, &read.class_names) {
            (Some(own), _) => Some(classes.of[own].clone()),
            (None, Some(names)) => Some(classes.map(&source.path().display().to_string(), names)?),
            (None, None) => None,
        };
        let mut n_images = 0;
        for found in read.images {
            let class = match (&map, found.class) {
                (Some(map), Some(class)) => {
                    let place = map.iter().position(|&mapped| mapped == class as usize);
                    if place.is_none() {
                        left_out += 1;
                        continue;
                    }
                    place
                }
                _ => None,
            };
            n_images += 1;
            bytes += found.image.pixels.len();
            let map = map.clone();
            pending.push(Pending { found, class, origin: place, own, run: index, map });
        }
        let network = source.network().map(|(name, ..)| name.to_owned());
        inputs.push(Input {
            path: std::path::absolute(source.path()).map_err(Error::io("find", source.path()))?,
            network,
            weights_sha256: source.network().map(|(.., sha256)| sha256.to_owned()),
            hash: source.hash(),
            images: n_images,
        });
        if bytes >= AT_ONCE || index + 1 == sources.len() {
            judge.show(std::mem::take(&mut pending), &sources)?;
            bytes = 0;
        }
        progress.update(index as u64 + 1, || format!("{} images", judge.judged.len()));
    }
    progress.finish();
    if left_out > 0 {
        tracing::warn!("{left_out} images are left out: they were made for classes that not all networks have");
    }
    let judged = judge.judged;
    if judged.is_empty() {
        return Err(Error::Refused(
            "there is no image to show: all were made for classes that not all networks have".into(),
        ));
    }
    let labels: Vec<String> = targets.iter().map(|target| target.label.clone()).collect();
    let matrix = Matrix::of(&labels, &classes, &origins, &judged);
    let manifest = TransferManifest {
        version: VERSION.to_string(),
        commit: COMMIT.to_string(),
        arithmetic_version: ARITHMETIC_VERSION,
        networks: targets.iter().map(network_entry).collect::<Result<_>>()?,
        inputs,
        shared_classes: request.shared_classes,
        compared_classes: classes.names.len(),
        left_out,
        resize: request.resize.map(super::config::name_of),
        picture_crops: count(request.crops),
        device: chosen.name(),
        device_reason: chosen.reason.clone(),
        threads: rayon::current_num_threads(),
        simd: request.simd.to_string(),
        start,
        end: SystemTime::now(),
        seconds: clock.elapsed().as_secs_f64(),
        images: judged.len(),
    };
    // Only now, when there is a result, is the disk touched.
    let folder = match &request.out {
        Some(path) => TransferFolder::create(path)?,
        None => TransferFolder::create_numbered(&default_path())?,
    };
    let paths: Vec<&Path> = sources.iter().map(Source::path).collect();
    folder.finish(&manifest, &matrix, &classes, &origins, &paths, &judged)?;
    Ok((matrix, folder.path().to_path_buf()))
}

/// An image that waits for the networks.
struct Pending {
    found: Found,
    class: Option<usize>,
    origin: usize,
    run: usize,
    /// The network that it was made against, if it is among those that it is shown to.
    own: Option<usize>,
    /// Which of that network's classes the compared ones are.
    map: Option<Vec<usize>>,
}

/// Shows images to all networks.
struct Judge<'a> {
    request: &'a TransferRequest,
    targets: &'a [Target],
    classes: &'a Classes,
    chosen: &'a Chosen,
    judged: Vec<Judged>,
}

impl Judge<'_> {
    fn show(&mut self, pending: Vec<Pending>, sources: &[Source]) -> Result<()> {
        let first = self.judged.len();
        for Pending { found, class, origin, run, map, .. } in &pending {
            let recorded = found.recorded.as_ref().zip(map.as_ref());
            self.judged.push(Judged {
                origin: *origin,
                run: *run,
                name: found.name.clone(),
                seed: found.seed,
                class: *class,
                own: recorded.map(|(recorded, map)| Answer::of(recorded, map, *class)),
                answers: Vec::with_capacity(self.targets.len()),
            });
        }
        for (place, target) in self.targets.iter().enumerate() {
            let item = |Pending { found, run, .. }: &Pending| -> Result<Item> {
                // Images of runs are shown as they are.
                let is_picture = matches!(sources[*run], Source::Pictures(..));
                let fit = Fit { resize: self.request.resize.filter(|_| is_picture), invert: false };
                let Image { canvas, pixels } = &found.image;
                let image = Image { canvas: *canvas, pixels: pixels.clone() };
                fitted(String::new(), image, &target.network, fit, found.crops).map_err(|reason| {
                    let remedy = if is_picture { "; see --resize" } else { "" };
                    Error::file(sources[*run].path(), format!("image {}: {reason}{remedy}", found.name))
                })
            };
            let items = pending.iter().map(item).collect::<Result<Vec<Item>>>()?;
            let answers = classify_on(self.chosen, &target.network, self.request.simd, &items)?;
            for ((pending, answer), judged) in pending.iter().zip(&answers).zip(&mut self.judged[first..]) {
                let Pending { found, class, own, run, .. } = pending;
                let path = sources[*run].path();
                if answer.iter().any(|probability| probability.is_nan()) {
                    let text = format!(
                        "{}: the network {} gives image {} no probabilities: its answers are NaN; its weights are too large for single \
                         precision",
                        path.display(),
                        target.label,
                        found.name
                    );
                    return Err(Error::Refused(text));
                }
                let seen = Answer::of(answer, &self.classes.of[place], *class);
                judged.answers.push(seen);
                if *own == Some(place) {
                    let same = |recorded: &Vec<f32>| {
                        recorded.len() == answer.len()
                            && recorded.iter().zip(answer).all(|(a, b)| a.to_bits() == b.to_bits())
                    };
                    if found.recorded.as_ref().is_some_and(|recorded| !same(recorded)) {
                        let text = format!(
                            "its network {} gives the image of class {} other probabilities than the archive has recorded: one of them is \
                             damaged",
                            target.label, found.name
                        );
                        return Err(Error::file(path, text));
                    }
                    judged.own = Some(seen);
                }
            }
        }
        Ok(())
    }
}

/// The networks, by names of which no two are the same.
fn targets(files: &[Files]) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for files in files {
        let network = files.load()?;
        crate::cli::warn_of_random(&network);
        let weights = network.path.as_deref();
        if let Some(same) = targets.iter().find(|target| target.network.sha256 == network.sha256) {
            let named = weights.map_or("the network built in".to_owned(), |path| path.display().to_string());
            return Err(Error::Usage(format!(
                "--weights: {named} is the same network as {}: name it once",
                same.label
            )));
        }
        if let Some(first) = targets.first()
            && first.network.image != network.image
        {
            let label = label(&network.name, weights);
            return Err(Error::Refused(format!(
                "the networks are for other images: {} for {}, {label} for {}; an image can be shown unchanged to networks for its own size",
                first.label,
                size(first.network.image),
                size(network.image)
            )));
        }
        let label = unique(label(&network.name, weights), &network.sha256, |label| {
            targets.iter().any(|target| target.label == label)
        });
        targets.push(Target { label, network: Arc::new(network), files: files.clone() });
    }
    Ok(targets)
}

/// What a network is called in tables: as its file is.
fn label(name: &str, weights: Option<&Path>) -> String {
    let stem = weights.and_then(Path::file_stem);
    stem.map_or_else(|| format!("{name} (built in)"), |stem| stem.to_string_lossy().into_owned())
}

/// The same of a network, or of several that judged together, by what run.json says of `weights`.
pub(super) fn label_of_run(name: &str, weights: &str) -> String {
    const BETWEEN: &str = " + ";
    let one = |weights: &str| label(name, (weights != "built in").then_some(Path::new(weights)));
    if !weights.contains(BETWEEN) {
        return one(weights);
    }
    let stem = |weights: &str| if weights == "built in" { weights.to_owned() } else { one(weights) };
    let rule = name.rsplit_once(", ").map_or("", |(_, rule)| rule);
    format!("{}, {rule}", weights.split(BETWEEN).map(stem).collect::<Vec<_>>().join(BETWEEN))
}

/// `label`, with the first digits of the weights' SHA-256 where it `is_taken`.
fn unique(label: String, sha256: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(&label) {
        return label;
    }
    let digits: String = sha256.chars().rev().take(8).collect();
    format!("{label} ({})", digits.chars().rev().collect::<String>())
}

/// The network that the images of `source` were made against, among the `targets`.
fn own(source: &Source, targets: &[Target]) -> Option<usize> {
    let (.., sha256) = source.network()?;
    targets.iter().position(|target| target.network.sha256 == sha256)
}

/// Where the images of `source` come from; `known` are the origins so far.
fn origin(source: &Source, own: Option<usize>, read: &Read, targets: &[Target], known: &[Origin]) -> Origin {
    let method = match source {
        Source::Run(_, run) => match run.configuration.encoding() {
            Encoding::Direct(_) => Method::Direct,
            Encoding::Cppn(_) => Method::Cppn,
        },
        Source::Ascent(..) => Method::Ascent,
        Source::Pictures(..) => Method::Images,
    };
    let (crops, Some((name, weights, sha256))) = (count(read.crops), source.network()) else {
        let source = source.path().display().to_string();
        return Origin { source, weights_sha256: String::new(), network: None, method, crops: count(read.crops) };
    };
    let label = match own {
        Some(own) => targets[own].label.clone(),
        None => unique(label_of_run(name, weights), sha256, |label| {
            let is_other = |origin: &Origin| origin.source == label && origin.weights_sha256 != sha256;
            targets.iter().any(|target| target.label == label) || known.iter().any(is_other)
        }),
    };
    Origin { source: label, weights_sha256: sha256.to_owned(), network: own, method, crops }
}

fn count(crops: Crops) -> u32 {
    match crops {
        Crops::One => 1,
        Crops::Ten => 10,
    }
}

/// Refuses a source that is there twice: its images would count twice.
fn refuse_twice(sources: &[Source]) -> Result<()> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for source in sources {
        let path = source.path().canonicalize().map_err(Error::io("find", source.path()))?;
        if seen.contains(&path) {
            let text =
                format!("{}: is there twice, and its images would count twice; name it once", source.path().display());
            return Err(Error::Usage(text));
        }
        seen.push(path);
    }
    Ok(())
}

fn network_entry(target: &Target) -> Result<TransferNetwork> {
    let Target { label, network, files } = target;
    Ok(TransferNetwork {
        label: label.clone(),
        network: network.name.clone(),
        files: (&files.or(None, file_of_run)?).into(),
        weights_sha256: network.sha256.clone(),
        random_weights: network.random.clone(),
        classes: network.classes.len(),
    })
}
