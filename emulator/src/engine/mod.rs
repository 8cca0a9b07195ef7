//! Runs kernels on the host's processor.

pub mod abi;
pub mod block;
pub mod check;
pub mod image;

use block::{Finding, Launch, Worker};
use rayon::prelude::*;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::{LazyLock, Mutex};

/// Findings of a launch after which the rest of its blocks is not run.
const ENOUGH: usize = 8;
/// The most threads that run blocks: each keeps the stacks of a block.
const MAX_THREADS: usize = 8;

static POOL: LazyLock<rayon::ThreadPool> =
    LazyLock::new(|| pool(std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS)));
/// The checker sees one thread at a time.
static CHECKED_POOL: LazyLock<rayon::ThreadPool> = LazyLock::new(|| pool(1));

fn pool(n_threads: usize) -> rayon::ThreadPool {
    let name = |index| format!("emulated multiprocessor {index}");
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).thread_name(name).build().expect("threads to run blocks on")
}

thread_local! {
    // Never dropped: a coroutine must not be unwound through a kernel.
    static WORKER: ManuallyDrop<UnsafeCell<Worker>> = ManuallyDrop::new(UnsafeCell::new(Worker::new()));
}

/// Runs all blocks of a launch.
///
/// # Safety
/// The arguments are those of the kernel. One checked launch at a time.
pub unsafe fn run(launch: &Launch) -> Vec<Finding> {
    // SAFETY: a worker is its system thread's own, and blocks do not nest.
    let block = |number| WORKER.with(|worker| unsafe { Worker::run(worker.get(), launch, number) });
    let n_blocks = launch.grid.volume();
    let findings = Mutex::new(Vec::new());
    if launch.kernel.image.checked {
        CHECKED_POOL.install(|| {
            check::begin(launch);
            let mut findings = findings.lock().unwrap_or_else(|poison| poison.into_inner());
            for number in 0..n_blocks {
                findings.extend(block(number));
                findings.extend(check::take_findings());
                if findings.len() >= ENOUGH || findings.iter().any(|finding| finding.kind == block::FindingKind::Bounds)
                {
                    break;
                }
            }
            check::end();
        });
    } else {
        POOL.install(|| {
            // Small launches in runs of blocks, so that handing them out costs little.
            let run = (n_blocks / (8 * rayon::current_num_threads() as u64)).clamp(1, 64);
            (0..n_blocks.div_ceil(run)).into_par_iter().for_each(|index| {
                for number in index * run..((index + 1) * run).min(n_blocks) {
                    let found = block(number);
                    if !found.is_empty() {
                        findings.lock().unwrap_or_else(|poison| poison.into_inner()).extend(found);
                    }
                }
            });
        });
    }
    findings.into_inner().unwrap_or_else(|poison| poison.into_inner())
}
