//! Gradient ascent (spec 10): images that climb the probability of a class, from near the mean image, or from what CPPNs draw, to the
//! finished run folder.

pub mod config;
pub mod cppn;
pub mod start;

use super::classify::{Item, classify_on, middle};
use super::device::{Asked, Chosen};
use super::evolve::{Signals, file_of_run};
use super::plan::{DRIVER, program_bytes};
use super::progress::{Progress, ProgressMode};
use crate::archive::{ARITHMETIC_VERSION, Statistics};
use crate::backend::ascent::{Ascent, Seen};
use crate::backend::cpu::ascent::CpuAscent;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cpu::cppn_ascent::CpuCppnAscent;
use crate::backend::cuda::ascent::CudaAscent;
use crate::backend::cuda::cppn_ascent::{self, CudaCppnAscent};
use crate::backend::memory::bytes_text;
use crate::error::{Error, Result};
use crate::genome::Canvas;
use crate::genome::cppn::{Graph, Rules};
use crate::network::weights::Files;
use crate::network::{Crops, Network, Shape};
use crate::output::ascent::{
    AscentFolder, AscentManifest, AscentMetrics, End, ImageResult, Images, as_8_bits, default_path, files, image_hash,
    pictures_memory, result_hash,
};
use crate::output::confidence_text;
use crate::simd::Simd;
use crate::telemetry;
use crate::version::{COMMIT, VERSION};
use config::Config;
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// One call of `ascend`, checked. Only `config` and `files` decide the result.
#[derive(Clone, Debug)]
pub struct AscendRequest {
    pub config: Config,
    pub files: Files,
    /// The folder, which must not hold anything; a new one in `runs` where there is none.
    pub out: Option<PathBuf>,
    pub device: Asked,
    /// Worker threads, at least 1.
    pub threads: usize,
    pub simd: Simd,
    pub progress: ProgressMode,
    /// Whether to draw the images, the sheets and the convergence plot.
    pub pictures: bool,
}

/// An image that climbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Climber {
    pub class: u32,
    pub seed: u64,
}

/// What is kept of an image on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Record {
    majority_at: Option<u32>,
    over_99_at: Option<u32>,
    over_999_at: Option<u32>,
    over_9999_at: Option<u32>,
    stopped_at: Option<u32>,
}

impl Record {
    /// Takes in what `iteration` has seen. "Above" is as in the paper's program: .99 itself is not above .99.
    fn see(&mut self, iteration: u32, class: u32, seen: &Seen) {
        let first = |at: &mut Option<u32>, holds: bool| {
            if holds {
                at.get_or_insert(iteration);
            }
        };
        first(&mut self.majority_at, seen.best == class);
        first(&mut self.over_99_at, seen.probability > 0.99);
        first(&mut self.over_999_at, seen.probability > 0.999);
        first(&mut self.over_9999_at, seen.probability > 0.9999);
        first(&mut self.stopped_at, seen.stopped);
    }
}

/// Runs what `request` asks for; gives the manifest, and the folder that holds it all.
///
/// # Errors
/// [`Error::CutShort`] after SIGINT or SIGTERM, with what there was then saved; otherwise whatever kept the ascent from being made or its
/// folder from being written.
pub fn run(request: AscendRequest) -> Result<(AscentManifest, PathBuf)> {
    let signals = Signals::catch()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.threads)
        .build()
        .map_err(|source| Error::Refused(format!("cannot start {} threads: {source}", request.threads)))?;
    pool.install(|| run_on_pool(&request, &signals))
}

/// The images of `config` against `network`: by class, then by seed.
///
/// # Errors
/// [`Error::Usage`] if the network lacks a class.
pub fn climbers(config: &Config, network: &Network) -> Result<Vec<Climber>> {
    let seeds = config.seed..=config.seed + u64::from(config.seeds) - 1;
    let classes = config.classes_of(network)?;
    Ok(classes.iter().flat_map(|&class| seeds.clone().map(move |seed| Climber { class, seed })).collect())
}

/// Where the images of `n_classes` classes start, `(classes, seeds, channels, height, width)`.
pub fn starts(config: &Config, network: &Network, n_classes: usize) -> Vec<f32> {
    let (image_len, seeds) = (network.input.len(), config.seeds as usize);
    let class_len = seeds * image_len;
    let from = config.start.expect("pixels climb");
    let mut x = vec![0.0; n_classes * class_len];
    x[..class_len].par_chunks_exact_mut(image_len).enumerate().for_each(|(i, x)| {
        x.copy_from_slice(&start::start(from, config.seed + i as u64, network));
    });
    // A class starts where every other does.
    (1..n_classes).for_each(|class| x.copy_within(..class_len, class * class_len));
    x
}

/// What climbs.
enum Route {
    Pixels(Vec<Climber>),
    Cppns(cppn::Starts),
}

impl Route {
    fn climbers(&self) -> &[Climber] {
        match self {
            Route::Pixels(climbers) => climbers,
            Route::Cppns(starts) => &starts.climbers,
        }
    }

    /// Of an image.
    fn canvas(&self, network: &Network) -> Canvas {
        match self {
            Route::Pixels(_) => {
                let Shape { channels, height, width } = network.input;
                Canvas { height, width, channels }
            }
            Route::Cppns(_) => Canvas::of(network),
        }
    }

    /// The ascent from its start: the one place that knows what devices there are.
    fn ascent(&self, chosen: &Chosen, network: &Arc<Network>, config: &Config, simd: Simd) -> Result<Box<dyn Ascent>> {
        let classes: Vec<u32> = self.climbers().iter().map(|climber| climber.class).collect();
        Ok(match (self, chosen.on_gpu()) {
            (Route::Cppns(starts), place) => {
                let (rule, rules, graphs) = (config.cppn_rule(), &starts.rules, starts.graphs.clone());
                match place {
                    None => Box::new(CpuCppnAscent::new(network, rule, rules, &classes, graphs, simd)?),
                    Some((device, launcher)) => {
                        let start = cppn_ascent::Start { rule, rules, classes: &classes, graphs };
                        let (launcher, device) = (Arc::clone(launcher), device.to_string());
                        Box::new(CudaCppnAscent::new(launcher, device, network, start, simd)?)
                    }
                }
            }
            (Route::Pixels(_), place) => {
                let x = starts(config, network, classes.len() / config.seeds as usize);
                match place {
                    None => Box::new(CpuAscent::new(network, config.rule(), classes, x, simd)?),
                    Some((device, launcher)) => Box::new(CudaAscent::new(
                        Arc::clone(launcher),
                        device.to_string(),
                        network,
                        config.rule(),
                        &classes,
                        &x,
                    )?),
                }
            }
        })
    }
}

/// The most bytes of this machine's memory that an ascent of `n` images takes, on its processor or `on_gpu`.
pub fn memory(network: &Arc<Network>, n: usize, iterations: u32, simd: Simd, pictures: bool, on_gpu: bool) -> u64 {
    let threads = rayon::current_num_threads();
    let driver = if on_gpu { DRIVER } else { 0 };
    // A GPU is given where images start.
    let start = (n * network.input.len() * size_of::<f32>()) as u64;
    let climbing = if on_gpu { start } else { CpuAscent::bytes(network, n, simd, threads) };
    driver + memory_beside(network, climbing, n, Route::Pixels(Vec::new()).canvas(network), iterations, simd, pictures)
}

/// The same where `graphs`, of `rules`, climb.
pub fn cppn_memory(
    network: &Arc<Network>,
    graphs: &[Graph],
    rules: &Rules,
    iterations: u32,
    simd: Simd,
    pictures: bool,
    on_gpu: bool,
) -> u64 {
    let (canvas, n, threads) = (Canvas::of(network), graphs.len(), rayon::current_num_threads());
    let (driver, climbing) = match on_gpu {
        true => (DRIVER, CudaCppnAscent::host_bytes(network, graphs, rules, simd, threads)),
        false => (0, CpuCppnAscent::bytes(network, graphs, rules, simd, threads)),
    };
    // Where they start and where they end; the archive's elites, and the file.
    let genome = rules.capacity_bytes() + canvas.len() + network.classes.len() * size_of::<f32>() + 256;
    // Where the network judges crops, two copies of it classify what is done.
    let copies = if network.crops.is_empty() { 0 } else { 2 * network.bytes() };
    let kept = (n * (3 * genome) + copies) as u64;
    driver + kept + memory_beside(network, climbing, n, canvas, iterations, simd, pictures)
}

/// What `n` images of `canvas` take in all, if they take `climbing` on their way.
fn memory_beside(
    network: &Arc<Network>,
    climbing: u64,
    n: usize,
    canvas: Canvas,
    iterations: u32,
    simd: Simd,
    pictures: bool,
) -> u64 {
    let threads = rayon::current_num_threads();
    // A weights file is read whole, into a vector that grows by doubling.
    let read = if network.path.is_some() { 2 * network.bytes() } else { 0 };
    let fixed = (read + network.bytes()) as u64 + program_bytes(threads);
    let classifier = Classifier::new(Arc::clone(network), simd);
    let classifying = (classifier.packed_bytes() + threads * classifier.scratch_bytes()) as u64;
    let drawing = if pictures { pictures_memory(canvas, n, threads) } else { 0 };
    // The variables once more, when they are done; as 8 bits, as items, and as what is classified, in a vector that grew by doubling;
    // probabilities of those.
    let values = n * canvas.len();
    let done = (values * (size_of::<f32>() + 4) + n * network.classes.len() * 2 * size_of::<f32>()) as u64;
    let confidences = n as u64 * u64::from(iterations) * size_of::<f32>() as u64;
    let records = (n * (size_of::<Record>() + size_of::<ImageResult>() + 512)) as u64;
    fixed + climbing.max(classifying + drawing) + done + confidences + records
}

/// Whether the images fit into memory; returns what they take at most.
fn check_memory(network: &Arc<Network>, route: &Route, request: &AscendRequest, on_gpu: bool) -> Result<u64> {
    let (n, iterations) = (route.climbers().len(), request.config.iterations);
    let bytes = |n: usize| match route {
        Route::Pixels(_) => memory(network, n, iterations, request.simd, request.pictures, on_gpu),
        Route::Cppns(starts) => {
            let (graphs, rules) = (&starts.graphs[..n], &starts.rules);
            cppn_memory(network, graphs, rules, iterations, request.simd, request.pictures, on_gpu)
        }
    };
    let planned = bytes(n);
    let Some(usable) = telemetry::memory_limit().map(telemetry::usable).filter(|&usable| planned > usable) else {
        return Ok(planned);
    };
    // The largest number that fits, by halves.
    let (mut fits, mut too_many) = (0, n);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if bytes(middle) <= usable { fits = middle } else { too_many = middle }
    }
    let remedy = match fits {
        0 => "fewer --threads or --iterations take less".to_string(),
        fits => format!("{fits} fit: take fewer --classes or --seeds at a time, which changes no image"),
    };
    Err(Error::Refused(format!(
        "the ascent of {n} images may take {} of memory, {} can be used; {remedy}",
        bytes_text(planned),
        bytes_text(usable)
    )))
}

/// As [`run`], on rayon's current pool, until one of `signals` comes.
///
/// # Errors
/// As [`run`].
pub(super) fn run_on_pool(request: &AscendRequest, signals: &Signals) -> Result<(AscentManifest, PathBuf)> {
    let began = SystemTime::now();
    let clock = Instant::now();
    let (config, simd) = (&request.config, request.simd);
    let files_used = request.files.or(None, file_of_run)?;
    let network = request.files.load()?;
    if let Some(how) = &network.random {
        tracing::warn!("network {:?} has {how}: nobody trained it, and what it says means nothing", network.name);
    }
    let (route, network) = if config.draws() {
        let (starts, network) = cppn::Starts::new(config, network)?;
        (Route::Cppns(starts), network)
    } else {
        (Route::Pixels(climbers(config, &network)?), network)
    };
    let network = Arc::new(network);
    let climbers = route.climbers();
    let chosen = Chosen::choose(request.device, &network)?;
    let planned_memory_bytes = check_memory(&network, &route, request, chosen.on_gpu().is_some())?;
    let mut ascent = route.ascent(&chosen, &network, config, simd)?;

    // Only now, when nothing is wrong with the call any more, is the disk touched.
    let mut folder = match &request.out {
        Some(path) => AscentFolder::create(path)?,
        None => AscentFolder::create_numbered(&default_path(config))?,
    };
    tracing::info!("device {} ({})", ascent.describe(), chosen.reason);
    tracing::info!(
        "network {}, {} images; memory at most {}",
        network.name,
        climbers.len(),
        bytes_text(planned_memory_bytes)
    );
    tracing::info!("run folder {}", folder.path().display());

    let Climb { records, seen, confidences, iterations, signal } =
        climb(&mut *ascent, config, climbers, &mut folder, request.progress, signals)?;
    let device = chosen.name();
    let (x, graphs) = (ascent.images()?, ascent.graphs()?);
    drop(ascent);

    let canvas = route.canvas(&network);
    let image_len = canvas.len();
    let (eight_bits, crops) = match &route {
        Route::Pixels(_) => {
            let mut eight_bits = vec![0; x.len()];
            eight_bits.par_chunks_exact_mut(image_len).zip(x.par_chunks_exact(image_len)).for_each(|(pixels, x)| {
                pixels.copy_from_slice(&as_8_bits(&network, x));
            });
            (eight_bits, Crops::One)
        }
        Route::Cppns(starts) => (starts.draw(simd, canvas, &graphs), starts.crops),
    };
    let sees = Canvas { height: network.input.height, width: network.input.width, ..canvas };
    let item = |pixels: &[u8]| {
        let pixels = if crops == Crops::Ten { pixels.to_vec() } else { middle(pixels, canvas, sees) };
        Item { name: String::new(), pixels, crops, recorded: None }
    };
    let items: Vec<Item> = eight_bits.chunks_exact(image_len).map(item).collect();
    // Where one crop is judged, it is cut out already.
    let cut = match network.crops[..] {
        [] => Arc::clone(&network),
        _ => Arc::new(Network { crops: Vec::new(), ..Network::clone(&network) }),
    };
    let answers = classify_on(&chosen, &cut, simd, &items)?;
    drop(items);
    drop(cut);
    let n_classes = network.classes.len();
    let images: Vec<ImageResult> = (0..climbers.len())
        .map(|i| {
            let (Climber { class, seed }, record, seen, answer) = (climbers[i], records[i], seen[i], &answers[i]);
            let name = network.classes[class as usize].clone();
            let confidence_8bit = answer[class as usize];
            // Of equals the lowest.
            let best_8bit =
                (0..n_classes).fold(0, |best, class| if answer[class] > answer[best] { class } else { best });
            let shown_seed = (config.seeds > 1).then_some(seed);
            let [file, file_without_mean] = files(class, n_classes, &name, shown_seed, confidence_8bit);
            let mut values = x[i * image_len..][..image_len].to_vec();
            values.extend(graphs.get(i).iter().flat_map(|graph| &graph.edges).map(|edge| edge.gene));
            let Record { majority_at, over_99_at, over_999_at, over_9999_at, stopped_at } = record;
            ImageResult {
                class,
                name,
                seed,
                confidence: seen.probability,
                best: seen.best,
                confidence_8bit,
                best_8bit: best_8bit as u32,
                majority_at,
                over_99_at,
                over_999_at,
                over_9999_at,
                stopped_at,
                hash: image_hash(class, seed, &values, seen.probability, seen.best),
                file,
                file_without_mean: (!config.draws()).then_some(file_without_mean),
            }
        })
        .collect();
    let confidence: Vec<f32> = images.iter().map(|image| image.confidence).collect();
    let seconds = clock.elapsed().as_secs_f64();
    let mut manifest = AscentManifest {
        version: VERSION.to_string(),
        commit: COMMIT.to_string(),
        arithmetic_version: ARITHMETIC_VERSION,
        configuration: config.clone(),
        device,
        device_reason: chosen.reason.clone(),
        threads: rayon::current_num_threads(),
        simd: simd.to_string(),
        network: network.name.clone(),
        weights: files_used.weights.as_ref().map_or("built in".to_string(), |path| path.display().to_string()),
        weights_sha256: network.sha256.clone(),
        random_weights: network.random.clone(),
        start: began,
        end: SystemTime::now(),
        seconds,
        stopped_by: if signal.is_some() { End::Signal } else { End::Iterations },
        iterations,
        images_per_second: f64::from(iterations) * images.len() as f64 / seconds,
        statistics: Statistics::of(&confidence),
        planned_memory_bytes,
        peak_memory_bytes: None,
        result_hash: result_hash(iterations, images.iter().map(|image| (image.class, image.hash))),
        images,
    };
    let archive = match &route {
        Route::Pixels(_) => None,
        Route::Cppns(starts) => Some(starts.archive(&network, &graphs, &eight_bits, &answers)),
    };
    let archive = archive.as_ref().map(|(archive, about)| (archive, about));
    let written = Images { x: &x, as_8_bits: &eight_bits, canvas, archive, confidences: &confidences };
    folder.finish(&mut manifest, &network, &written, request.pictures)?;
    let run = folder.path().to_path_buf();
    match signal {
        Some(signal) => {
            Err(Error::CutShort { signal, done: format!("{iterations} of {} iterations", config.iterations), run })
        }
        None => Ok((manifest, run)),
    }
}

/// What the iterations came to.
struct Climb {
    records: Vec<Record>,
    /// By the last one.
    seen: Vec<Seen>,
    /// `(iterations, images)`
    confidences: Vec<f32>,
    iterations: u32,
    /// The signal that ended them, if one did.
    signal: Option<i32>,
}

/// Makes the iterations of `config`, or fewer if a signal comes: then one more, which only looks.
fn climb(
    ascent: &mut dyn Ascent,
    config: &Config,
    climbers: &[Climber],
    folder: &mut AscentFolder,
    progress: ProgressMode,
    signals: &Signals,
) -> Result<Climb> {
    let mut progress = Progress::new(progress, config.iterations.into(), "iterations");
    let mut climb = Climb {
        records: vec![Record::default(); climbers.len()],
        seen: Vec::new(),
        confidences: Vec::with_capacity(config.iterations as usize * climbers.len()),
        iterations: 0,
        signal: None,
    };
    let mut since = Instant::now();
    loop {
        let iteration = climb.iterations;
        climb.signal = signals.caught();
        let last = climb.signal.is_some() || iteration + 1 == config.iterations;
        climb.seen = ascent.step(last)?;
        climb.iterations += 1;
        for ((record, seen), climber) in climb.records.iter_mut().zip(&climb.seen).zip(climbers) {
            if seen.probability.is_nan() {
                return Err(Error::Refused(format!(
                    "the network gives the image of class {}, seed {}, no probability in iteration {iteration}: its answers are NaN; \
                     its weights are too large for single precision",
                    climber.class, climber.seed
                )));
            }
            record.see(iteration, climber.class, seen);
        }
        climb.confidences.extend(climb.seen.iter().map(|seen| seen.probability));
        let confidences = &climb.confidences[iteration as usize * climbers.len()..];
        let Statistics { median, mean, min, max, over_99, over_999, over_9999, .. } = Statistics::of(confidences);
        let majority = climb.seen.iter().zip(climbers).filter(|(seen, climber)| seen.best == climber.class).count();
        let seconds = std::mem::replace(&mut since, Instant::now()).elapsed().as_secs_f64();
        let images_per_second = climbers.len() as f64 / seconds.max(f64::MIN_POSITIVE);
        folder.write_line(&AscentMetrics {
            iteration,
            median,
            mean,
            min,
            max,
            over_99,
            over_999,
            over_9999,
            majority,
            stopped: climb.seen.iter().filter(|seen| seen.stopped).count(),
            images_per_second,
        })?;
        progress.update(climb.iterations.into(), || {
            let median = confidence_text(median as f32);
            format!("median {median}  {over_9999} of {} at .9999  {images_per_second:.0} images/s", climbers.len())
        });
        if last {
            progress.finish();
            // A signal that comes during the last iteration of all has nothing to cut short.
            climb.signal = climb.signal.filter(|_| climb.iterations < config.iterations);
            return Ok(climb);
        }
    }
}
