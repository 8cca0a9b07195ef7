//! The memory that is planned against the memory that is allocated: every byte is counted.
//!
//! The allocator of this file counts for the whole process, so its tests run one after the other.

use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::backend::cpu::memory::memory;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::memory::Memory;
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::Canvas;
use pareidolia::genome::cppn::{self, Activation, Compiler, Edge, Graph, InputPlanes, N_INPUTS, Renderer, Rules};
use pareidolia::network::Network;
use pareidolia::simd::Simd;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

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
