//! What a run would take, said before it runs: memory, time, room on the disk.

use super::config::{Config, NO_LIMIT, name_of};
use super::device::{Asked, Chosen, DeviceMemory};
use super::evolve::{job, seeds};
use super::writer::{AT_ONCE as CHECKPOINTS_AT_ONCE, insertions_bytes, lines_bytes};
use crate::backend::Job;
use crate::backend::cpu::Options;
use crate::backend::cpu::classify::Classifier;
use crate::backend::cpu::memory::{elite_bytes, memory as backend_memory};
use crate::backend::cpu::population::Population;
use crate::backend::memory::{Memory, Owner, Part, bytes_text};
use crate::error::{Error, Result};
use crate::genome::{Canvas, Encoding};
use crate::network::Network;
use crate::output::{Metrics, archive_file, contact_sheet, lineage, run_folder, series};
use crate::simd::Simd;
use crate::telemetry;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One call of `plan`, checked.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    pub config: Config,
    /// How many runs, at least 1, of the seed of `config` and of those after it.
    pub runs: u32,
    pub network: Arc<Network>,
    pub device: Asked,
    pub simd: Simd,
    /// Candidates worked on at once, even; `None` leaves it to the backend.
    pub chunk: Option<u32>,
    pub pictures: bool,
    /// Whether it keeps its lineage.
    pub lineage: bool,
    /// The run's folder; `None` for the one that `evolve` would choose.
    pub out: Option<PathBuf>,
    /// Memory of the machine that is planned for, of its GPU where the run is to be on one; `None` for what is here.
    pub memory: Option<u64>,
}

/// What a run would take.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub preset: String,
    pub flavour: String,
    pub runs: u32,
    pub batch: u32,
    pub n_niches: usize,
    /// Of the images, of each of which so many parts are judged.
    pub canvas: Canvas,
    pub crops: usize,
    /// What it would run on, and why on that.
    pub device: String,
    pub device_reason: String,
    pub threads: usize,
    pub simd: String,
    pub memory: MemoryPlan,
    /// Of the GPU, if it would run on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory: Option<MemoryPlan>,
    /// Candidates worked on at once.
    pub chunk: u32,
    pub chunks_per_generation: u32,
    /// The largest chunk that fits into memory, and so the largest batch that can be worked on as one.
    pub largest_chunk: Option<u32>,
    pub speed: Speed,
    /// Generations of each run, generation 0 included, and candidates of all until they end; `None` if nothing but its target or a signal
    /// ends it. A target may end it sooner.
    pub generations: Option<u64>,
    pub evaluations: Option<u64>,
    /// That many candidates at the measured rate, or the time that the run is given if that is less.
    pub seconds: Option<f64>,
    pub output: Output,
}

/// An upper bound of a run's memory. All in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryPlan {
    pub parts: Vec<Amount>,
    pub total_bytes: u64,
    /// Of the machine: this one's, or the limit of a control group, or what the call says.
    pub machine_bytes: Option<u64>,
    /// What of it a run may take.
    pub usable_bytes: Option<u64>,
}

/// So much for that.
#[derive(Clone, Debug, Serialize)]
pub struct Amount {
    pub what: String,
    pub bytes: u64,
}

/// What a measurement on this machine says, whatever machine is planned for.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// With the chunk of the plan; of chunks too large to be tried, the rate of the largest that was.
    pub genomes_per_second: f64,
    /// The generation whose elites were the parents of every measurement.
    pub from_generation: u32,
    /// By chunk, ascending.
    pub measured: Vec<Rate>,
    /// The smallest chunk, of those measured, that is as fast as any up to the batch. Any chunk gives the same result.
    pub best_chunk: u32,
    /// The smallest batch, of those measured, that is as fast as any. Another batch is another run.
    pub best_batch: u32,
}

/// Genomes a second with a chunk.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    pub chunk: u32,
    /// Generations that were timed, each of one chunk.
    pub generations: u32,
    pub genomes_per_second: f64,
}

/// The run's folder, in bytes, estimated where nothing else can be done: archives with every genome at capacity, metrics with
/// long numbers, pictures as large as those of other runs.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    pub files: Vec<Amount>,
    /// All of it, and once more the largest file that is replaced while its predecessor stands.
    pub total_bytes: u64,
    /// The folder in which it is made, or the nearest one above that exists.
    pub place: PathBuf,
    pub free_bytes: Option<u64>,
}

/// Two rates that differ by less are as good as equal: so short a measurement tells no more.
const SAME: f64 = 0.03;
/// How long a chunk is timed, that of the plan and any other, and all there is for the whole measurement.
const TIMED: Duration = Duration::from_millis(400);
const TIMED_OTHER: Duration = Duration::from_millis(100);
const BUDGET: Duration = Duration::from_millis(2500);
/// How long, and with how many candidates, a run is made for the elites to start from: CPPNs grow, and large ones take longer
/// to draw.
const GROWN: Duration = Duration::from_millis(400);
const GROWN_BATCH: u32 = 200;
/// Candidates of which so many are made first: where a network is slow, they are all there is time for.
const FIRST: u32 = 8;

/// Plans a run. Works on the thread pool it is called in.
///
/// # Errors
/// [`Error::Refused`] if it does not fit into memory or onto the disk; [`Error::Usage`] or [`Error::Refused`] if the network
/// is not one for it.
pub fn plan(request: &PlanRequest) -> Result<Plan> {
    let config = &request.config;
    let job = Job { lineage: request.lineage, ..job(config, seeds(config, request.runs)?, &request.network)? };
    let chosen = Chosen::choose(request.device, &request.network)?;
    let mut device = chosen.memory(&job);
    let chunk = chosen.chunk(&job, request.chunk);
    let memory = chosen.host_memory(&job, request.simd, chunk, request.pictures);

    let here = telemetry::memory_limit();
    let machine = request.memory.filter(|_| device.is_none()).or(here);
    let usable = machine.map(telemetry::usable);
    if let Some(usable) = usable {
        check(&job, chunk, usable, &memory, |job| chosen.host_memory(job, request.simd, chunk, request.pictures))?;
    }
    let here = here.map(telemetry::usable);
    let mut rooms = vec![(&memory, here), (&memory, usable)];
    let room_here = device.as_ref().map(|device| device.usable);
    if let (Some(device), Some(total)) = (&mut device, request.memory) {
        (device.total, device.usable) = (total, telemetry::usable(total));
    }
    if let Some(DeviceMemory { memory, usable, .. }) = &device {
        check(&job, chunk, *usable, memory, |job| chosen.memory(job).expect("it is on a GPU").memory)?;
        rooms.extend([(memory, room_here), (memory, Some(*usable))]);
    }
    let fits = |chunk| rooms.iter().all(|(memory, room)| room.is_none_or(|room| memory.total(chunk) <= room));
    let speed = measure(&job, &chosen, request.simd, chunk, fits)?;
    let largest_chunk = match &device {
        Some(DeviceMemory { memory, usable, .. }) => memory.largest_chunk(*usable),
        None => usable.and_then(|usable| memory.largest_chunk(usable)),
    };
    let (generations, evaluations, seconds) = length(config, request.runs, speed.genomes_per_second);
    let output = output(request, &job, generations, evaluations, device.is_some())?;
    Ok(Plan {
        preset: name_of(config.preset),
        flavour: name_of(config.flavour),
        runs: request.runs,
        batch: job.batch,
        n_niches: job.classes.len(),
        canvas: job.canvas,
        crops: job.network.n_crops(),
        device: chosen.name(),
        device_reason: chosen.reason,
        threads: rayon::current_num_threads(),
        simd: request.simd.to_string(),
        memory: MemoryPlan::new(&memory, chunk, machine, usable),
        device_memory: device
            .map(|DeviceMemory { memory, total, usable }| MemoryPlan::new(&memory, chunk, Some(total), Some(usable))),
        chunk,
        chunks_per_generation: job.candidates().div_ceil(chunk),
        largest_chunk,
        speed,
        generations,
        evaluations,
        seconds,
        output,
    })
}

impl MemoryPlan {
    /// `memory` with a chunk of `chunk` candidates, on a machine of so much memory.
    fn new(memory: &Memory, chunk: u32, machine: Option<u64>, usable: Option<u64>) -> MemoryPlan {
        let parts = memory.parts.iter();
        MemoryPlan {
            parts: parts.map(|part| Amount { what: part.purpose.to_string(), bytes: part.bytes(chunk) }).collect(),
            total_bytes: memory.total(chunk),
            machine_bytes: machine,
            usable_bytes: usable,
        }
    }
}

/// What the host does for a run.
#[derive(Clone, Copy, Debug)]
pub enum Host {
    /// All of it.
    Backend(Options),
    /// What a GPU leaves to it.
    OfGpu,
}

/// All memory of a process that makes the runs of `job` on `threads` threads: what its backend takes of the host's, its files and
/// pictures, and the program itself. An upper bound, whichever of the parts are taken at the same time.
pub fn memory(job: &Job, host: Host, threads: usize, pictures: bool) -> Memory {
    /// Of a checkpoint, or an archive's file: state and header as text, and the file's buffer; of one that is read, the piece whose digest
    /// is made. Then names of classes, which are there as text, as JSON and as JSON in JSON; and lists of numbers, and the lines of
    /// run.json, of each niche.
    const TEXT: u64 = 64 << 10;
    const PIECE: u64 = 128 << 10;
    const NAME: u64 = 3 * 8;
    const NICHE: u64 = 1 << 10;
    let mut memory = match host {
        Host::Backend(options) => {
            let classifier = Classifier::new(Arc::clone(&job.network), options.simd);
            backend_memory(job, options, &classifier, threads)
        }
        Host::OfGpu => {
            let read = if job.network.path.is_some() { 3 } else { 1 };
            let network = read * job.network.bytes() as u64;
            // Each is brought over once and kept: `backend::cuda::kept`.
            let kept = job.seeds.len() * job.classes.len() * elite_bytes(job);
            Memory {
                owner: Owner::Host,
                parts: vec![
                    Part::fixed("network, as read", network),
                    Part::fixed("elites that came from the GPU", kept as u64),
                    Part::fixed("GPU's driver, estimated", DRIVER),
                ],
            }
        }
    };
    let (n_niches, runs) = (job.classes.len() as u64, job.seeds.len() as u64);
    let archive = n_niches * elite_bytes(job) as u64;
    let at_once = runs.min(CHECKPOINTS_AT_ONCE as u64);
    // Files are written from the archive and read into it, an elite at a time; but all CPPNs are read before they are made.
    let streams = match &job.encoding {
        Encoding::Direct(_) => 0,
        Encoding::Cppn(_) => n_niches * Population::genome_bytes(job) as u64,
    };
    let names: usize = job.network.classes.iter().map(|name| 4 * name.len()).sum();
    let text = TEXT + names as u64 + job.network.classes.len() as u64 * NAME + n_niches * NICHE;
    memory.parts.push(Part::fixed("checkpoint being written or read", at_once * text + PIECE + streams));
    // Elites that the archive itself has no more, in the worst case all; it shares the others with the checkpoint. A GPU has its own.
    memory.parts.push(Part::fixed(
        "archives and metrics that wait for the disk",
        runs * archive + lines_bytes(job.seeds.len()),
    ));
    if job.lineage {
        let bytes = insertions_bytes(job.seeds.len(), job.classes.len());
        memory.parts.push(Part::fixed("lineage that waits for the disk", bytes));
    }
    if pictures {
        let bytes = run_folder::pictures_memory(job.canvas, job.classes.len(), threads);
        memory.parts.push(Part::fixed("pictures at the end", at_once * bytes));
    }
    memory.parts.push(Part::fixed("program, libraries and threads", program_bytes(threads)));
    memory
}

/// What a GPU's driver takes for its context, its code and its queues, estimated: its libraries alone are some 100 MiB.
pub(super) const DRIVER: u64 = 512 << 20;

/// The program itself, its libraries, and `threads` threads that do nothing.
pub(super) fn program_bytes(threads: usize) -> u64 {
    /// Where the system does not say how large the program is.
    const PROGRAM: u64 = 32 << 20;
    /// What argument parser, log, progress and the standard library allocate, and the main thread's stack.
    const RUNTIME: u64 = 2 << 20;
    /// What of its stack and of its part of the heap a thread touches that does nothing.
    const THREAD: u64 = 256 << 10;
    /// Those that write, of which some do so at the same time, and that which asks a GPU.
    const MORE_THREADS: u64 = 10;
    telemetry::mapped_files().unwrap_or(PROGRAM) + RUNTIME + (threads as u64 + MORE_THREADS) * THREAD
}

/// Whether the runs of `job`, which take `memory`, fit into `usable` bytes with a chunk of `chunk` candidates; `of` says what other jobs
/// take.
///
/// # Errors
/// [`Error::Refused`] with the most that does fit: of candidates; where not even two do, of niches; where not even one does, of pixels.
pub fn check(job: &Job, chunk: u32, usable: u64, memory: &Memory, of: impl Fn(&Job) -> Memory) -> Result<()> {
    if memory.total(2) <= usable {
        return memory.check(chunk, usable);
    }
    let fits = |job: &Job| of(job).total(2) <= usable;
    let with_niches = |n: u32| Job { classes: job.classes[..n as usize].to_vec(), ..job.clone() };
    let Canvas { height, width, channels } = job.canvas;
    let with_width = |width: u32, of: &Job| {
        let (scale, width) = (width as usize, job.canvas.width);
        Job { canvas: Canvas { height: (height * scale / width).max(1), width: scale, channels }, ..of.clone() }
    };
    let niches = most(job.classes.len() as u32 - 1, |n| fits(&with_niches(n)));
    let pixels = || most(width as u32 - 1, |width| fits(&with_width(width, &with_niches(1))));
    let remedy = match niches {
        Some(niches) => format!("at most {niches} niches would fit: choose as many classes with --classes"),
        None => match pixels() {
            Some(width) => {
                let Canvas { height, width, .. } = with_width(width, job).canvas;
                format!("for one class images of {width}x{height} would fit: take a network for such")
            }
            None => return memory.check(chunk, usable),
        },
    };
    let (whose, host_only) = match memory.owner {
        Owner::Host => ("memory", ", as do --no-pictures and fewer --threads"),
        Owner::Gpu => ("the GPU's memory", ""),
    };
    let most = memory.parts.iter().max_by_key(|part| part.bytes(2)).expect("a run has parts");
    Err(Error::Refused(format!(
        "{} niches of {width}x{height} images of {channels} channels may take {} of {whose}, {} can be used; most is for {}, {}; {remedy}; \
         fewer --runs take less{host_only}",
        job.classes.len(),
        bytes_text(memory.total(2)),
        bytes_text(usable),
        most.purpose,
        bytes_text(most.bytes(2))
    )))
}

/// The largest number from 1 to `end` that `fits`, if there is one; all below it do.
fn most(end: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut least, mut above) = (0, end + 1);
    while above - least > 1 {
        let middle = least + (above - least) / 2;
        if fits(middle) { least = middle } else { above = middle }
    }
    (least > 0).then_some(least)
}

/// Runs real generations with the chunk of the plan and with others that fit, ascending, as long as there is time.
fn measure(job: &Job, chosen: &Chosen, simd: Simd, chunk: u32, fits: impl Fn(u32) -> bool) -> Result<Speed> {
    let began = Instant::now();
    let seeds = vec![job.seeds[0]];
    let backend = |chunk| chosen.backend(Job { seeds: seeds.clone(), batch: chunk, ..job.clone() }, simd, chunk);

    let mut small = chunk.min(FIRST);
    let mut nursery = backend(small)?;
    let mut generation = 0;
    nursery.generation()?;
    nursery.counters()?;
    let larger = chunk.min(GROWN_BATCH);
    if began.elapsed() * larger / small < GROWN {
        small = larger;
        drop(nursery);
        nursery = backend(small)?;
        nursery.generation()?;
        nursery.counters()?;
    }
    while began.elapsed() < GROWN {
        generation += 1;
        nursery.generation()?;
        nursery.counters()?; // waits for it
    }
    let mut last_rate = f64::from(small) * f64::from(generation + 1) / began.elapsed().as_secs_f64();
    let mut genomes_per_second = last_rate;
    let elites = nursery.archive(0)?;
    drop(nursery);

    let mut chunks: Vec<u32> = chosen.chunks().iter().copied().chain([chunk]).collect();
    chunks.sort_unstable();
    chunks.dedup();
    // At least two generations of each: the first one touches its memory and is not timed.
    let expected = |chunk: u32, rate: f64| Duration::from_secs_f64(2.0 * f64::from(chunk) / rate);
    if expected(chunks[0], last_rate) > BUDGET {
        chunks.insert(0, ((BUDGET.as_secs_f64() * last_rate / 2.0) as u32 & !1).max(2));
    }
    let mut measured = Vec::new();
    for tried in chunks.into_iter().filter(|&chunk| fits(chunk)) {
        let expected = expected(tried, last_rate);
        if !measured.is_empty() && began.elapsed() + expected > BUDGET {
            break;
        }
        let mut backend = backend(tried)?;
        backend.restore(0, elites.clone(), 0)?;
        // The first generation after the restored one touches the memory; a GPU records it.
        backend.generation()?;
        backend.counters()?;
        let (mut generations, clock) = (0, Instant::now());
        while generations == 0 || clock.elapsed() < if tried == chunk { TIMED } else { TIMED_OTHER } {
            generations += 1;
            backend.generation()?;
            backend.counters()?;
        }
        last_rate = f64::from(generations) * f64::from(tried) / clock.elapsed().as_secs_f64();
        measured.push(Rate { chunk: tried, generations, genomes_per_second: last_rate });
        if tried <= chunk {
            genomes_per_second = last_rate;
        }
    }
    let best = |measured: &[Rate]| {
        let most = measured.iter().map(|rate| rate.genomes_per_second).fold(0.0, f64::max);
        let best = measured.iter().find(|rate| rate.genomes_per_second >= most * (1.0 - SAME));
        best.map_or(chunk, |rate| rate.chunk)
    };
    let within = measured.partition_point(|rate| rate.chunk <= job.candidates());
    Ok(Speed {
        genomes_per_second,
        from_generation: generation,
        best_chunk: best(&measured[..within]),
        best_batch: best(&measured),
        measured,
    })
}

/// Generations of a run, candidates of all `runs` and seconds until they end, at `rate` candidates a second: see [`Plan`].
fn length(config: &Config, runs: u32, rate: f64) -> (Option<u64>, Option<u64>, Option<f64>) {
    let (batch, all) = (u64::from(config.batch), u64::from(config.batch) * u64::from(runs));
    let mut generations = (config.generations != NO_LIMIT).then(|| u64::from(config.generations) + 1);
    let mut limit = |least: u64| generations = Some(generations.map_or(least, |generations| generations.min(least)));
    if config.evaluations > 0 {
        limit(config.evaluations.div_ceil(batch));
    }
    if config.time > 0.0 {
        limit((config.time * rate / all as f64).ceil() as u64);
    }
    let evaluations = generations.map(|generations| generations.saturating_mul(all));
    let seconds = evaluations.map(|evaluations| {
        let seconds = evaluations as f64 / rate;
        if config.time > 0.0 { seconds.min(config.time) } else { seconds }
    });
    (generations, evaluations, seconds)
}

/// What the runs leave on the disk, and whether there is room for it.
fn output(
    request: &PlanRequest,
    job: &Job,
    generations: Option<u64>,
    evaluations: Option<u64>,
    on_gpu: bool,
) -> Result<Output> {
    /// The configuration and the like, as JSON, and what of it there is for each class beside its name, which is there twice.
    const STATE: u64 = 3 << 10;
    const CLASS: u64 = 160;
    let config = &request.config;
    let n_niches = job.classes.len() as u64;
    let archive = archive_file::most_bytes(job.canvas, &job.encoding, job.classes.len(), &job.network.classes);
    let names: u64 = job.classes.iter().map(|&class| job.network.classes[class as usize].len() as u64).sum();
    let mut files = vec![
        ("checkpoint", archive + STATE),
        ("archive.safetensors", archive),
        ("run.json", STATE + n_niches * CLASS + 2 * names),
    ];
    if let (Some(generations), Some(evaluations)) = (generations, evaluations) {
        // A line for generation 0, for every log_every-th after it, and for the last.
        let lines = (generations - 1) / u64::from(config.log_every) + 2;
        let last = u32::try_from(generations).unwrap_or(u32::MAX);
        let line = Metrics::line_bytes(last, evaluations, job.classes.len(), on_gpu);
        files.push(("metrics.jsonl", lines.min(generations).saturating_mul(line)));
    }
    if let (Some(generations), Some(evaluations), true) = (generations, evaluations, job.lineage) {
        let of_each = evaluations / u64::from(request.runs);
        files.push(("lineage", lineage::file_bytes(&job.encoding, job.classes.len(), generations, of_each)));
    }
    if request.pictures {
        let [elites, sheet, convergence] = run_folder::pictures_bytes(job.canvas, job.classes.len());
        let pages = contact_sheet::n_pages(job.canvas, job.classes.len());
        let sheet_name = if pages == 1 { "contact_sheet.png" } else { "contact_sheet.png and its other pages" };
        files.extend([("elites", elites), (sheet_name, sheet), ("convergence.png", convergence)]);
    }
    let twice = files[0].1;
    files.iter_mut().for_each(|file| file.1 = file.1.saturating_mul(u64::from(request.runs)));
    let total = files.iter().fold(twice, |total: u64, file| total.saturating_add(file.1));

    let out = request.out.clone().unwrap_or_else(|| match request.runs {
        1 => run_folder::default_path(config.preset, config.seed),
        _ => series::default_path(config.preset, &job.seeds),
    });
    let out = std::path::absolute(&out).map_err(Error::io("find", &out))?;
    let place = out.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/")).to_path_buf();
    let free_bytes = telemetry::free_space(&place);
    if let Some(free) = free_bytes.filter(|&free| free < total) {
        return Err(Error::Refused(format!(
            "{}: the run may take {} here, {} are free; choose another place with --out",
            place.display(),
            bytes_text(total),
            bytes_text(free)
        )));
    }
    let files = files.into_iter().map(|(what, bytes)| Amount { what: what.to_string(), bytes }).collect();
    Ok(Output { files, total_bytes: total, place, free_bytes })
}
