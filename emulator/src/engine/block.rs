//! Runs the blocks of a launch. A block's threads are coroutines on one system thread: each runs until it waits for others,
//! at a barrier or in an exchange of its warp, and the block goes round those that can go on. Coroutines stay from block to
//! block, so that a block costs no stack.

use super::abi::{Dim3, Engine, Meeting, Site, Thread};
use super::check;
use super::image::Kernel;
use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, Yielder};
use std::ffi::{CStr, c_int, c_void};

/// Of a coroutine. Kernels keep little on the stack, and the callbacks of a checked build a little more.
const STACK_BYTES: usize = 64 << 10;
/// Exchanges of a warp whose results some lane may still read: at most one for each lane, and the one being made.
const MEETINGS: usize = 64;

pub static ENGINE: Engine = Engine { barrier, exchange, active, misuse, access: check::access };

/// A launch: what all its blocks have in common.
pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub grid: Dim3,
    pub block: Dim3,
    pub dynamic_shared: usize,
    /// Pointers to the arguments, in order.
    pub arguments: &'a [*mut c_void],
    /// The words that they lie in.
    pub words: &'a [u128],
    /// Whether rules are enforced that a device would let pass.
    pub checked: bool,
}

// SAFETY: the arguments are only read, each by its type, and outlive the launch.
unsafe impl Sync for Launch<'_> {}

/// What a kernel did wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: FindingKind,
    pub text: String,
    /// The address in device memory that it is about.
    pub address: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// An access outside of what is allocated.
    Bounds,
    /// A load of memory that nobody has written.
    Uninitialised,
    /// Two accesses that nothing orders.
    Race,
    /// A barrier or an exchange that not all reach that must.
    Barrier,
}

/// One thread of the block, and its coroutine.
#[repr(C)]
struct Lane {
    thread: Thread, // first: kernels hand back a pointer to it
    worker: *mut Worker,
    number: u32,
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
    stack: std::ops::Range<usize>,
    yielder: *const Yielder<(), ()>,
    finished: bool,
    /// Where the thread waits, if it does.
    site: *const Site,
    mask: u32,
    value: u64,
    meeting: *const Meeting,
}

/// The lanes of a warp, a bit each.
#[derive(Clone)]
struct Warp {
    ready: u32,
    exited: u32,
    at_barrier: u32,
    exchanging: u32,
    meetings: Box<[Meeting; MEETINGS]>,
    next_meeting: usize,
}

/// Runs blocks, one after the other.
pub struct Worker {
    #[expect(clippy::vec_box, reason = "a coroutine points to its lane, which must stay where it is")]
    lanes: Vec<Box<Lane>>,
    warps: Vec<Warp>,
    dynamic_shared: Vec<u128>,
    call: Option<unsafe extern "C" fn(*mut *mut c_void)>,
    arguments: *mut *mut c_void,
    n_threads: u32,
    waiting: u32,
    exited: u32,
    /// What the barrier that is being reached has gathered, and what the last one gave.
    gathered: Gathered,
    result: c_int,
    checked: bool,
    stopped: bool,
    findings: Vec<Finding>,
}

#[derive(Clone, Copy)]
struct Gathered {
    kind: c_int,
    any: bool,
    all: bool,
    count: c_int,
}

const NOTHING: Gathered = Gathered { kind: 0, any: false, all: true, count: 0 };

impl Worker {
    pub fn new() -> Worker {
        Worker {
            lanes: Vec::new(),
            warps: Vec::new(),
            dynamic_shared: Vec::new(),
            call: None,
            arguments: std::ptr::null_mut(),
            n_threads: 0,
            waiting: 0,
            exited: 0,
            gathered: NOTHING,
            result: 0,
            checked: false,
            stopped: false,
            findings: Vec::new(),
        }
    }

    /// Runs block `number` of a launch to its end, and says what was found.
    ///
    /// # Safety
    /// The arguments are those of the kernel. A worker stays on one system thread and in its place.
    pub unsafe fn run(this: *mut Worker, launch: &Launch, number: u64) -> Vec<Finding> {
        // SAFETY: a reference to the worker lives between two turns only: during a turn, the callbacks below have theirs.
        unsafe {
            (*this).prepare(launch, number);
            let slot = (launch.kernel.slot)();
            loop {
                let mut moved = false;
                for warp in 0..(*this).warps_in_use() {
                    while let Some(lane) = (*this).next(warp) {
                        moved = true;
                        Worker::resume(this, lane, slot);
                    }
                }
                let worker = &mut *this;
                if worker.exited == worker.n_threads {
                    break;
                }
                if worker.stopped || !moved {
                    if !worker.stopped {
                        worker.stuck();
                    }
                    worker.abandon();
                    break;
                }
            }
            std::mem::take(&mut (*this).findings)
        }
    }

    /// A thread of the warp that can go on, the lowest.
    fn next(&mut self, warp: usize) -> Option<usize> {
        let ready = &mut self.warps[warp].ready;
        if *ready == 0 || self.stopped {
            return None;
        }
        let bit = ready.trailing_zeros();
        *ready &= *ready - 1;
        Some(warp * 32 + bit as usize)
    }

    fn warps_in_use(&self) -> usize {
        self.n_threads.div_ceil(32) as usize
    }

    fn prepare(&mut self, launch: &Launch, number: u64) {
        self.n_threads = launch.block.volume() as u32;
        (self.waiting, self.exited, self.gathered, self.stopped) = (0, 0, NOTHING, false);
        self.checked = launch.checked;
        self.call = Some(launch.kernel.call);
        self.arguments = launch.arguments.as_ptr().cast_mut();
        self.dynamic_shared.resize(self.dynamic_shared.len().max(launch.dynamic_shared.div_ceil(16)), 0);
        let worker: *mut Worker = self;
        let dynamic_shared: *mut u8 = self.dynamic_shared.as_mut_ptr().cast();
        if launch.checked {
            check::begin_block(dynamic_shared as usize, launch.dynamic_shared);
        }
        let block_idx = launch.grid.at(number);
        for index in 0..self.n_threads {
            let thread = Thread {
                thread_idx: launch.block.at(u64::from(index)),
                block_idx,
                block_dim: launch.block,
                grid_dim: launch.grid,
                lane: index % 32,
                warp: index / 32,
                dynamic_shared,
            };
            if let Some(lane) = self.lanes.get_mut(index as usize) {
                (lane.thread, lane.worker, lane.finished) = (thread, worker, false);
            } else {
                self.lanes.push(Box::new(Lane {
                    thread,
                    worker,
                    number: index,
                    coroutine: None,
                    stack: 0..0,
                    yielder: std::ptr::null(),
                    finished: false,
                    site: std::ptr::null(),
                    mask: 0,
                    value: 0,
                    meeting: std::ptr::null(),
                }));
            }
        }
        let n_warps = self.warps_in_use();
        while self.warps.len() < n_warps {
            let meetings = Box::new([Meeting { values: [0; 32], present: 0 }; MEETINGS]);
            self.warps.push(Warp { ready: 0, exited: 0, at_barrier: 0, exchanging: 0, meetings, next_meeting: 0 });
        }
        for (index, warp) in self.warps[..n_warps].iter_mut().enumerate() {
            let lanes = (self.n_threads - 32 * index as u32).min(32);
            warp.ready = u32::MAX >> (32 - lanes);
            // Lanes that the block does not have are like lanes that have left.
            warp.exited = !warp.ready;
            (warp.at_barrier, warp.exchanging) = (0, 0);
        }
    }

    /// Lets a thread run until it waits or leaves the kernel.
    ///
    /// # Safety
    /// As `run`. Nothing holds a reference to the worker.
    unsafe fn resume(this: *mut Worker, index: usize, slot: *mut *mut Thread) {
        // SAFETY: the lane is boxed, so it stays; while its coroutine runs, this function touches nothing of the worker.
        unsafe {
            let lane: *mut Lane = &mut *(&mut (*this).lanes)[index];
            let mut fresh = None;
            if (*lane).coroutine.is_none() {
                let stack = DefaultStack::new(STACK_BYTES).expect("memory for the stack of a coroutine");
                (*lane).stack = stack.limit().get()..stack.base().get();
                fresh = Some(stack);
            }
            *slot = &raw mut (*lane).thread;
            if (*this).checked {
                check::turn(
                    &raw const (*lane).thread,
                    (*lane).number,
                    (*lane).stack.clone(),
                    &raw const (*lane).meeting,
                );
            }
            if let Some(stack) = fresh {
                (*lane).coroutine = Some(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                    (*lane).yielder = yielder;
                    loop {
                        let worker = (*lane).worker;
                        if let Some(call) = (*worker).call {
                            call((*worker).arguments);
                        }
                        (*lane).finished = true;
                        yielder.suspend(());
                    }
                }));
            }
            let coroutine = (*lane).coroutine.as_mut().expect("made above");
            coroutine.resume(());
            if (*lane).finished {
                (*this).leave(index);
            }
        }
    }

    /// A thread has left the kernel.
    fn leave(&mut self, index: usize) {
        self.exited += 1;
        let warp = index / 32;
        self.warps[warp].exited |= 1 << (index % 32);
        // Others may have waited for nobody but this one.
        let mut waiting = self.warps[warp].exchanging;
        while waiting != 0 {
            let lane = waiting.trailing_zeros();
            waiting &= waiting - 1;
            if self.warps[warp].exchanging >> lane & 1 == 1 {
                self.meet(warp, lane, false, u32::MAX);
            }
        }
        if self.waiting > 0 && self.waiting + self.exited == self.n_threads {
            self.open_barrier();
        }
    }

    /// Lets all threads that wait at the barrier go on.
    fn open_barrier(&mut self) {
        if self.checked {
            self.check_barrier();
            check::barrier();
        }
        for warp in &mut self.warps[..self.n_threads.div_ceil(32) as usize] {
            warp.ready |= std::mem::take(&mut warp.at_barrier);
        }
        self.waiting = 0;
        let gathered = std::mem::replace(&mut self.gathered, NOTHING);
        self.result = match gathered.kind {
            0 => 0,
            1 => gathered.any.into(),
            2 => gathered.all.into(),
            _ => gathered.count,
        };
    }

    /// Every thread must be at the barrier, and at the same.
    fn check_barrier(&mut self) {
        if self.exited > 0 {
            let gone = self.exited;
            let site = self.some_site();
            self.find(
                FindingKind::Barrier,
                format!("{site} is reached by some threads only: {gone} have left the kernel"),
            );
        }
        let mut first: Option<&Site> = None;
        for (index, lane) in self.lanes[..self.n_threads as usize].iter().enumerate() {
            if self.warps[index / 32].at_barrier >> (index % 32) & 1 == 0 {
                continue;
            }
            // SAFETY: a thread that waits keeps its site on its stack.
            let site = unsafe { &*lane.site };
            match first {
                None => first = Some(site),
                Some(first) if same_place(first, site) => {}
                Some(first) => {
                    let text =
                        format!("threads of a block meet at different barriers: {} and {}", place(first), place(site));
                    self.find(FindingKind::Barrier, text);
                    return;
                }
            }
        }
    }

    fn some_site(&self) -> String {
        let waits = |lane: &&Lane| self.warps[lane.thread.warp as usize].at_barrier >> lane.thread.lane & 1 == 1;
        // SAFETY: as in check_barrier.
        self.lanes[..self.n_threads as usize]
            .iter()
            .map(|lane| &**lane)
            .find(waits)
            .map_or(String::new(), |lane| place(unsafe { &*lane.site }))
    }

    /// If all lanes that `lane` waits for have come, gives each what the others brought. `own` is the bit of a lane that runs.
    fn meet(&mut self, warp: usize, lane: u32, orders_memory: bool, own: u32) -> bool {
        let mask = self.lanes[warp * 32 + lane as usize].mask;
        let group = mask & !self.warps[warp].exited;
        if self.warps[warp].exchanging & group != group {
            return false;
        }
        let lanes = (0..32).filter(|bit| group >> bit & 1 == 1);
        if lanes.clone().any(|bit| self.lanes[warp * 32 + bit].mask != mask) {
            return false;
        }
        let state = &mut self.warps[warp];
        let slot = state.next_meeting;
        state.next_meeting = (slot + 1) % MEETINGS;
        let meeting = &mut state.meetings[slot];
        *meeting = Meeting { values: [0; 32], present: group };
        lanes.clone().for_each(|bit| meeting.values[bit] = self.lanes[warp * 32 + bit].value);
        let meeting: *const Meeting = meeting;
        state.exchanging &= !group;
        state.ready |= group & !own;
        if self.checked {
            // SAFETY: a thread that waits keeps its site on its stack.
            let sites = lanes.clone().map(|bit| unsafe { &*self.lanes[warp * 32 + bit].site });
            let first = sites.clone().next();
            let other = first.and_then(|first| {
                sites.clone().find(|site| !same_place(first, site)).map(|other| (place(first), place(other)))
            });
            if let Some((first, other)) = other {
                self.find(
                    FindingKind::Barrier,
                    format!("lanes of a warp meet in different exchanges: {first} and {other}"),
                );
            }
            if orders_memory {
                check::warp_barrier(warp);
            }
        }
        lanes.for_each(|bit| self.lanes[warp * 32 + bit].meeting = meeting);
        true
    }

    /// No thread can go on.
    fn stuck(&mut self) {
        let mut places = std::collections::BTreeMap::new();
        for (index, lane) in self.lanes[..self.n_threads as usize].iter().enumerate() {
            let warp = &self.warps[index / 32];
            if (warp.at_barrier | warp.exchanging) >> (index % 32) & 1 == 1 {
                // SAFETY: a thread that waits keeps its site on its stack.
                places.entry(place(unsafe { &*lane.site })).or_insert_with(Vec::new).push(index);
            }
        }
        let waits: Vec<String> = places
            .iter()
            .map(|(place, threads)| format!("{} at {place}, thread {} first", threads.len(), threads[0]))
            .collect();
        let text = format!(
            "a barrier or exchange that not all threads reach: {}; {} have left the kernel",
            waits.join("; "),
            self.exited
        );
        self.find(FindingKind::Barrier, text);
    }

    fn find(&mut self, kind: FindingKind, text: String) {
        let block = self.lanes[0].thread.block_idx;
        self.findings.push(Finding { kind, text: format!("block {block}: {text}"), address: None });
    }

    /// Forgets the threads of a block that cannot end.
    fn abandon(&mut self) {
        for lane in &mut self.lanes[..self.n_threads as usize] {
            if !lane.finished
                && let Some(mut coroutine) = lane.coroutine.take()
            {
                // SAFETY: the frames on its stack are those of kernels, which have nothing to drop, and of the callbacks below,
                // which hold nothing while they are suspended.
                unsafe { coroutine.force_reset() };
            }
        }
    }
}

fn same_place(a: &Site, b: &Site) -> bool {
    // SAFETY: sites hold string literals of the library.
    a.line == b.line
        && unsafe {
            CStr::from_ptr(a.file) == CStr::from_ptr(b.file) && CStr::from_ptr(a.what) == CStr::from_ptr(b.what)
        }
}

/// "__syncthreads (niche_argmax.cu:31)".
fn place(site: &Site) -> String {
    // SAFETY: sites hold string literals of the library.
    let (file, what) =
        unsafe { (CStr::from_ptr(site.file).to_string_lossy(), CStr::from_ptr(site.what).to_string_lossy()) };
    let file = file.rsplit('/').next().unwrap_or_default();
    format!("{what} ({file}:{})", site.line)
}

unsafe extern "C" fn barrier(thread: *mut Thread, site: *const Site, kind: c_int, predicate: c_int) -> c_int {
    // SAFETY: the thread is the first field of its lane, and the worker runs nothing else meanwhile.
    unsafe {
        let lane: *mut Lane = thread.cast();
        let worker = (*lane).worker;
        (*lane).site = site;
        {
            let worker = &mut *worker;
            let gathered = &mut worker.gathered;
            gathered.any |= predicate != 0;
            gathered.all &= predicate != 0;
            gathered.count += predicate;
            gathered.kind = kind;
            worker.warps[(*thread).warp as usize].at_barrier |= 1 << (*thread).lane;
            worker.waiting += 1;
            if worker.waiting + worker.exited == worker.n_threads {
                worker.open_barrier();
            }
        }
        (*(*lane).yielder).suspend(());
        (*worker).result
    }
}

unsafe extern "C" fn exchange(
    thread: *mut Thread,
    site: *const Site,
    orders_memory: c_int,
    mask: u32,
    value: u64,
) -> *const Meeting {
    // SAFETY: as in barrier.
    unsafe {
        let lane: *mut Lane = thread.cast();
        let worker = (*lane).worker;
        ((*lane).site, (*lane).mask, (*lane).value) = (site, mask, value);
        let own = 1 << (*thread).lane;
        let met = {
            let worker = &mut *worker;
            if mask & own == 0 {
                let text =
                    format!("{}: the mask {mask:#010x} lacks the lane itself, {}", place(&*site), (*thread).lane);
                worker.find(FindingKind::Barrier, text);
                worker.stopped = true;
            }
            let warp = (*thread).warp as usize;
            worker.warps[warp].exchanging |= own;
            !worker.stopped && worker.meet(warp, (*thread).lane, orders_memory != 0, own)
        };
        if !met {
            (*(*lane).yielder).suspend(());
        }
        (*lane).meeting
    }
}

unsafe extern "C" fn active(thread: *mut Thread) -> u32 {
    // SAFETY: as in barrier.
    unsafe { !(&(*(*thread.cast::<Lane>()).worker).warps)[(*thread).warp as usize].exited }
}

unsafe extern "C" fn misuse(thread: *mut Thread, site: *const Site) {
    // SAFETY: as in barrier.
    unsafe {
        let worker = &mut *(*thread.cast::<Lane>()).worker;
        if worker.checked {
            let text = format!("{}: lane {} reads from a lane that takes no part", place(&*site), (*thread).lane);
            worker.find(FindingKind::Barrier, text);
        }
    }
}

/// Ends the block: the thread that is running never goes on.
///
/// # Safety
/// Called on the coroutine of `thread`, a thread of a block that runs.
pub unsafe fn stop(thread: *const Thread) {
    // SAFETY: as in barrier.
    unsafe {
        let lane: *mut Lane = thread.cast_mut().cast();
        (*(*lane).worker).stopped = true;
        (*(*lane).yielder).suspend(());
    }
}
