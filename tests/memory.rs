//! The memory that is planned against the memory that is allocated: every byte is counted.
//!
//! The allocator of this file counts for the whole process, so its tests run one after the other.

use pareidolia::archive::{Archive, Elite, content_hash};
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::backend::cpu::memory::memory;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::memory::Memory;
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::cppn::{self, Activation, Compiler, Edge, Graph, InputPlanes, N_INPUTS, Renderer, Rules};
use pareidolia::genome::{Canvas, Encoding, Genome, direct};
use pareidolia::network::list::List;
use pareidolia::network::weights::Files;
use pareidolia::network::{Combine, Crops, Network};
use pareidolia::output::{About, Checkpoint, archive_file};
use pareidolia::simd::Simd;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

/// The system's allocator, with the bytes that are allocated now and the most that were at once.
struct Counting;

static NOW: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on as it came; beside that, numbers are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size() as u64, SeqCst);
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: usize) {
    let now = NOW.fetch_add(bytes as u64, SeqCst) + bytes as u64;
    PEAK.fetch_max(now, SeqCst);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALONE: Mutex<()> = Mutex::new(());

/// What `make` makes, the bytes it keeps, and the most it had at once.
fn counted<T>(make: impl FnOnce() -> T) -> (T, u64, u64) {
    let before = NOW.load(SeqCst);
    PEAK.store(before, SeqCst);
    let made = make();
    (made, NOW.load(SeqCst).saturating_sub(before), PEAK.load(SeqCst) - before)
}

fn job(config: &Config, batch: u32) -> Job {
    Job {
        seeds: vec![1],
        batch,
        canvas: Canvas::MNIST,
        encoding: config.encoding(),
        classes: (0..10).collect(),
        network: Arc::new(Network::embedded_lenet(None).unwrap()),
        lineage: false,
    }
}

/// What the backend of `job` keeps after `generations` on one thread, with a chunk that is the batch; and what was planned.
fn kept_and_planned(job: &Job, generations: u32) -> (u64, Memory) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let options = Options { simd: Simd::detect(), chunk: job.batch };
    let planned = memory(job, options, &Classifier::new(Arc::clone(&job.network), options.simd), 1);
    let (_backend, kept, _) = counted(|| {
        pool.install(|| {
            let mut backend = CpuBackend::new(job.clone(), options).unwrap();
            (0..=generations).for_each(|_| backend.generation().unwrap());
            backend
        })
    });
    (kept, planned)
}

/// What allocations of no account may come to: queues of the thread pool, names, lists of layers.
const SMALL: u64 = 16 << 10;

#[test]
fn direct_run_takes_what_was_planned_to_the_byte_a_candidate() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let config = Config::preset(Preset::MnistDirect, Flavour::Faithful);
    let [(few, planned), (many, _)] = [1000, 9000].map(|batch| kept_and_planned(&job(&config, batch), 2));
    // The list of what each thread takes is not kept.
    let kept = planned.parts.iter().filter(|part| part.purpose != "shares of the threads");
    let (want, got) = (8000 * kept.map(|part| part.per_candidate).sum::<u64>(), many - few);
    assert!(got.abs_diff(want) < SMALL, "planned {want} bytes for 8000 candidates, taken {got}");
    assert!(few <= planned.total(1000) && many <= planned.total(9000));

    // Networks that judge together: as many candidates' bytes, and each network's own.
    let three = Network::random(&List::built_in("lenet").unwrap(), 3).unwrap();
    let two = Network::random(&List::built_in("lenet").unwrap(), 2).unwrap();
    let networks = vec![Network::embedded_lenet(None).unwrap(), two, three];
    let network = Arc::new(Network::together(networks, Combine::Mean).unwrap());
    let jobs = [1000, 9000].map(|batch| Job { network: Arc::clone(&network), ..job(&config, batch) });
    let [(few_together, together), (many_together, _)] = [0, 1].map(|i| kept_and_planned(&jobs[i], 2));
    assert!((many_together - few_together).abs_diff(want) < SMALL, "{}", many_together - few_together);
    assert!(few_together <= together.total(1000) && few_together > few, "{few_together} {}", together.total(1000));
    assert!(together.total(1000) - planned.total(1000) < 2 * planned.total(0), "{together:?}");
}

#[test]
fn cppn_run_at_capacity_takes_what_was_planned() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
    // Genomes that only grow: each generation an edge more, or a node and an edge.
    let rules = Rules { add_edge_rate: 1.0, delete_edge_rate: 0.0, delete_node_rate: 0.0, ..Rules::faithful() };
    config.cppn = Some(Rules { max_nodes: 20, max_edges: 40, ..rules });
    let [(few, planned), (many, _)] = [500, 2500].map(|batch| kept_and_planned(&job(&config, batch), 60));
    let per_candidate = planned.total(1) - planned.total(0);
    let (most, got) = (2000 * per_candidate, many - few);
    // A vector that grew by doubling may be half empty; so may every genome's.
    assert!(got <= most + SMALL && got > most / 2, "planned {most} bytes for 2000 candidates, taken {got}");
    assert!(few <= planned.total(500) && many <= planned.total(2500));
}

/// A chain of hidden nodes in which each also feeds the next but one, so that there are paths of many lengths; no input
/// reaches its first half. This makes some of the longest programs.
fn winding(max_nodes: u32) -> (Graph, Rules) {
    let n_nodes = max_nodes as usize;
    let (output, first) = (N_INPUTS as u16, N_INPUTS as u16 + 1);
    let last = n_nodes as u16 - 1;
    let edge = |source, target| Edge { source, target, gene: 0.6 };
    let mut edges: Vec<Edge> = (first..last).map(|node| edge(node, node + 1)).collect();
    edges.extend((first..last - 1).map(|node| edge(node, node + 2)));
    edges.extend([edge(0, (first + last) / 2), edge(last, output)]);
    let rules = Rules { max_nodes, max_edges: edges.len() as u32, ..Rules::faithful() };
    let graph = Graph { n_outputs: 1, activations: vec![Activation::Sine; n_nodes], edges };
    graph.validate(&rules, 1).unwrap();
    (graph, rules)
}

#[test]
fn longest_programs_are_compiled_and_drawn_within_what_was_planned() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for max_nodes in [8, 16, 40, 256] {
        let (graph, rules) = winding(max_nodes);
        let planes = InputPlanes::new(Canvas::MNIST, false);
        for simd in Simd::available() {
            let mut image = [0; 784];
            let mut length = 0;
            let (_, _, peak) = counted(|| {
                let (mut compiler, mut renderer) = (Compiler::default(), Renderer::default());
                let program = compiler.compile(simd, &graph, rules.max_weight);
                length = program.instructions.len();
                renderer.render(simd, &planes, program, &mut image);
            });
            let planned = cppn::drawing_bytes(simd, &rules, 1);
            assert!(peak <= planned, "{max_nodes} nodes, {simd}: planned {planned} bytes, taken {peak}");
            // That the plan is not far out for such a genome: a quarter of the nodes squared are instructions.
            let n = max_nodes as usize - N_INPUTS;
            assert!(length <= n * (n + 1) / 2, "{length} instructions of {max_nodes} nodes");
            assert!(max_nodes < 40 || length > n * n / 8, "{length} instructions of {max_nodes} nodes");
        }
    }
}

/// An archive of direct genomes, `n` of them, all different: noise, as they are at first.
fn noise(n: usize, canvas: Canvas) -> Archive {
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let elites = (0..n).map(|candidate| {
        let genes: Vec<f32> = (0..canvas.len()).map(|_| word()).collect();
        let image = genes.iter().map(|gene| (255.0 * gene) as u8).collect::<Vec<u8>>();
        let (probabilities, genome) = (vec![word(); n], Genome::Direct(genes));
        let content_hash = content_hash(&probabilities, &image, &genome);
        Arc::new(Elite { probabilities, image, genome, born: (0, candidate as u32), content_hash })
    });
    Archive { generation: 0, elites: elites.collect(), classes: (0..n as u32).collect() }
}

fn checkpoint_of(archive: Archive, canvas: Canvas) -> Checkpoint {
    Checkpoint {
        config: Config::preset(Preset::ImagenetDirect, Flavour::Faithful),
        files: Files::default(),
        weights_sha256: String::new(),
        canvas,
        archive,
        started: SystemTime::UNIX_EPOCH,
        evaluations: 0,
        skipped: 0,
        elapsed: 0.0,
        replaced: 0,
    }
}

fn about_direct(n: usize, canvas: Canvas) -> About {
    let encoding = Encoding::Direct(direct::Rules::default());
    About { canvas, encoding, crops: Crops::One, class_names: (0..n).map(|class| class.to_string()).collect() }
}

#[test]
fn files_of_an_archive_are_written_and_read_without_a_copy_of_it() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    /// Buffers, header, and an elite.
    const ROOM: u64 = 384 << 10;
    let (n, canvas) = (100, Canvas { height: 64, width: 64, channels: 3 });
    let folder = tempfile::tempdir().unwrap();
    let (file, saved) = (folder.path().join("archive"), folder.path().join("checkpoint"));
    let (archive, size, _) = counted(|| noise(n, canvas));
    assert!(size > 3 * 4 * ROOM, "an archive of {size} bytes shows nothing");
    let about = about_direct(n, canvas);
    let checkpoint = checkpoint_of(archive.clone(), canvas);
    for (what, most, written) in [
        ("archive", ROOM, counted(|| archive_file::write(&file, &archive, &about).unwrap())),
        ("checkpoint", ROOM, counted(|| checkpoint.write(&saved).unwrap())),
    ] {
        assert!(written.2 < most, "{what}: {} bytes while it was written", written.2);
    }
    let (read, _, peak) = counted(|| archive_file::read(&file).unwrap());
    assert_eq!(read.0, archive);
    assert!(peak < size + ROOM, "an archive of {size} bytes: {peak} while it was read");
    drop(read);
    let (read, _, peak) = counted(|| Checkpoint::read(&saved).unwrap());
    assert_eq!(read.archive, archive);
    assert!(peak < size + ROOM, "a checkpoint of {size} bytes: {peak} while it was read");
}

#[test]
fn candidates_that_win_many_niches_are_kept_once() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for preset in [Preset::MnistDirect, Preset::MnistCppn] {
        let job = job(&Config::preset(preset, Flavour::Faithful), 2);
        let mut backend = CpuBackend::new(job, Options { simd: Simd::detect(), chunk: 2 }).unwrap();
        for generation in 0..30 {
            backend.generation().unwrap();
            let archive = backend.archive(0).unwrap();
            let places: std::collections::BTreeSet<_> = archive.elites.iter().map(Arc::as_ptr).collect();
            let births: std::collections::BTreeSet<_> = archive.elites.iter().map(|elite| elite.born).collect();
            assert_eq!(places.len(), births.len(), "generation {generation}");
            assert!(generation > 0 || places.len() <= 2);
        }
    }
}

/// Seconds of the largest files there are. Run it by itself: `cargo test --release --test memory -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: takes three gigabytes, on the disk too"]
fn files_of_a_thousand_direct_niches_take_seconds() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (n, canvas) = (1000, Canvas { height: 256, width: 256, channels: 3 });
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (file, saved) = (folder.path().join("archive"), folder.path().join("checkpoint"));
    let archive = noise(n, canvas);
    let about = about_direct(n, canvas);
    let checkpoint = checkpoint_of(archive.clone(), canvas);
    let timed = |what: &str, work: &mut dyn FnMut()| {
        let clock = Instant::now();
        let (_, _, peak) = counted(work);
        let seconds = clock.elapsed().as_secs_f64();
        println!("{what:<24} {seconds:6.2} s, {:7.1} MiB", peak as f64 / f64::from(1 << 20));
        assert!(seconds < 20.0, "{what}: {seconds} s");
    };
    for _ in 0..2 {
        timed("archive written", &mut || archive_file::write(&file, &archive, &about).unwrap());
        timed("archive read", &mut || assert_eq!(archive_file::read(&file).unwrap().0.generation, 0));
        timed("checkpoint written", &mut || checkpoint.write(&saved).unwrap());
        timed("checkpoint read", &mut || assert_eq!(Checkpoint::read(&saved).unwrap().replaced, 0));
    }
}
