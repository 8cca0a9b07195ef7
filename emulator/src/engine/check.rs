//! Watches what a checked build of the kernels loads and stores.
//!
//! Every byte of the device's memory, and of the block's shared memory, has a state (not there, there, written) and what was
//! last done to it: who wrote it and who read it, and when. Time is counted in intervals, from a block's start or barrier to
//! its next barrier; blocks run one after the other, so that the number of an interval says which block, of which launch, it
//! belongs to. Two accesses race, if one of them stores and not both are atomic, when they are of different blocks of a
//! launch, or of different threads in the same interval, unless both are of one warp with a __syncwarp between them.
//!
//! Of several who read a byte without order, one is remembered exactly and the others as a group: a race may be laid at the
//! wrong thread's door, or missed where a byte is both a plain and an atomic one, but none is made up.

use super::abi::{Dim3, Engine, Meeting, Thread};
use super::block::{self, Finding, FindingKind, Launch};
use super::image::{Image, SharedVariable};
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Addresses for the device's memory; none is used twice.
const ARENA_BYTES: usize = 1 << 38;
/// Findings of a launch that are kept.
const KEPT: usize = 8;

/// States of a byte.
const THERE: u8 = 1;
const WRITTEN: u8 = 3;

/// Kinds of accesses, as in include/engine.h.
const LOAD: c_int = 0;
const STORE: c_int = 1;
const ATOMIC: c_int = 2;
const ALIGNED: c_int = 4;

/// An access in 64 bits: interval, flags, turn of the warp, thread.
mod tag {
    pub const ATOMIC: u64 = 1 << 31;
    /// Threads of several warps.
    pub const MANY: u64 = 1 << 30;
    /// Threads of one warp.
    pub const WARP: u64 = 1 << 29;
    const EPOCH_BITS: u32 = 17;
    const THREAD_BITS: u32 = 12;

    pub fn new(interval: u32, epoch: u32, thread: u32) -> u64 {
        u64::from(interval) << 32 | u64::from(epoch & ((1 << EPOCH_BITS) - 1)) << THREAD_BITS | u64::from(thread)
    }

    pub fn interval(tag: u64) -> u32 {
        (tag >> 32) as u32
    }

    pub fn epoch(tag: u64) -> u32 {
        (tag >> THREAD_BITS) as u32 & ((1 << EPOCH_BITS) - 1)
    }

    pub fn thread(tag: u64) -> u32 {
        tag as u32 & ((1 << THREAD_BITS) - 1)
    }
}

/// A range of addresses and what is known of each of its bytes.
struct Region {
    base: usize,
    size: usize,
    state: *mut u8,
    writes: *mut u64,
    reads: *mut u64,
    /// The interval of a read by another block of the launch.
    foreign: *mut u32,
}

const NOWHERE: Region = Region {
    base: 0,
    size: 0,
    state: std::ptr::null_mut(),
    writes: std::ptr::null_mut(),
    reads: std::ptr::null_mut(),
    foreign: std::ptr::null_mut(),
};

impl Region {
    /// `None` if the system has no such range of addresses.
    fn of(base: usize, size: usize) -> Option<Region> {
        let (state, writes, reads, foreign) =
            (reserve(size)?, reserve(size * 8)?, reserve(size * 8)?, reserve(size * 4)?);
        Some(Region {
            base,
            size,
            state: state as *mut u8,
            writes: writes as *mut u64,
            reads: reads as *mut u64,
            foreign: foreign as *mut u32,
        })
    }

    /// # Safety
    /// The range lies in the region.
    unsafe fn set(&self, offset: usize, size: usize, state: u8) {
        // SAFETY: as above.
        unsafe { std::ptr::write_bytes(self.state.add(offset), state, size) };
    }
}

/// Zeros that take memory only where they are touched.
fn reserve(size: usize) -> Option<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping.
    let base =
        unsafe { libc::mmap(std::ptr::null_mut(), size.max(1), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    (base != libc::MAP_FAILED).then_some(base as usize)
}

struct Checker {
    arena: Range<usize>,
    device: Region,
    /// The thread-local variables of the library, on the thread that runs blocks.
    shared: Region,
    dynamic: Region,
    /// Those of libraries that ran before.
    others: Vec<Region>,
    variables: Vec<Range<usize>>,
    /// What a kernel may touch beside its memory: its arguments, the library's constants, the variable that says who runs.
    arguments: [Range<usize>; 2],
    span: Range<usize>,
    slot: Range<usize>,
    running: bool,
    /// Counts intervals, from the first launch on.
    interval: u32,
    launch_first: u32,
    block_first: u32,
    epochs: [u32; 32],
    now: u64,
    thread: *const Thread,
    meeting: *const *const Meeting,
    stack: Range<usize>,
    findings: Vec<Raw>,
    image: *const Image,
}

/// A finding, before it is put in words.
struct Raw {
    kind: FindingKind,
    what: &'static str,
    other: Option<u64>,
    access: c_int,
    size: usize,
    address: usize,
    pc: usize,
    thread: Dim3,
    block: Dim3,
    block_first: u32,
}

struct Shared(UnsafeCell<Checker>);
// SAFETY: the driver's lock is held by whoever is here: by the callers of the functions below, and for the one thread that
// runs a checked block by the caller that waits for it.
unsafe impl Sync for Shared {}

static CHECKER: Shared = Shared(UnsafeCell::new(Checker {
    arena: 0..0,
    device: NOWHERE,
    shared: NOWHERE,
    dynamic: NOWHERE,
    others: Vec::new(),
    variables: Vec::new(),
    arguments: [0..0, 0..0],
    span: 0..0,
    slot: 0..0,
    running: false,
    interval: 0,
    launch_first: 0,
    block_first: 0,
    epochs: [0; 32],
    now: 0,
    thread: std::ptr::null(),
    meeting: std::ptr::null(),
    stack: 0..0,
    findings: Vec::new(),
    image: std::ptr::null(),
}));

/// Whether states are kept at all: a process that checks nothing pays nothing.
static ENABLED: AtomicBool = AtomicBool::new(false);

#[allow(clippy::mut_from_ref)]
fn checker() -> &'static mut Checker {
    // SAFETY: as for Shared; no function here calls another while it has this, but for its own.
    unsafe { &mut *CHECKER.0.get() }
}

/// The addresses that the device's memory is made of.
pub fn arena() -> Option<Range<usize>> {
    let checker = checker();
    if checker.arena.is_empty() {
        let base = reserve(ARENA_BYTES)?;
        checker.arena = base..base + ARENA_BYTES;
    }
    Some(checker.arena.clone())
}

/// Begins to keep states. `existing` are the allocations there are: nobody knows what was written of them.
pub fn enable(existing: impl Iterator<Item = (usize, usize)>) {
    if ENABLED.swap(true, Ordering::Relaxed) {
        return;
    }
    let arena = arena().expect("addresses for the device's memory");
    checker().device =
        Region::of(arena.start, ARENA_BYTES).expect("addresses for what is known of the device's memory");
    for (address, size) in existing {
        written(address, size);
    }
}

pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

fn set(address: usize, size: usize, state: u8) {
    if is_enabled() {
        let device = &checker().device;
        // SAFETY: allocations lie in the arena.
        unsafe { device.set(address - device.base, size, state) };
    }
}

pub fn allocated(address: usize, size: usize) {
    set(address, size, THERE);
}

pub fn written(address: usize, size: usize) {
    set(address, size, WRITTEN);
}

/// Gives memory back to the system; its addresses stay unused.
pub fn freed(address: usize, size: usize) {
    set(address, size, 0);
    let page = 4096;
    let (start, end) = (address.next_multiple_of(page), (address + size) / page * page);
    if start < end {
        // SAFETY: whole pages of an allocation that nobody has any more.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
}

pub fn copied(to: usize, from: usize, size: usize) {
    if is_enabled() {
        let device = &checker().device;
        // SAFETY: both are allocations, in the arena.
        unsafe { std::ptr::copy(device.state.add(from - device.base), device.state.add(to - device.base), size) };
    }
}

/// A launch begins, on the thread that runs its blocks.
pub fn begin(launch: &Launch) {
    let checker = checker();
    let image = &launch.kernel.image;
    // SAFETY: this thread's variables.
    let slot = unsafe { (image.slot)() } as usize;
    let base = slot - image.slot_offset;
    if checker.shared.base != base {
        // A library's variables stay where they are for as long as the thread.
        let known =
            checker.others.iter().position(|region| region.base == base).map(|at| checker.others.swap_remove(at));
        let region = known
            .or_else(|| Region::of(base, image.thread_local_bytes))
            .expect("addresses for what is known of shared memory");
        checker.others.push(std::mem::replace(&mut checker.shared, region));
    }
    checker.variables = image.shared.iter().map(|variable| variable.offset..variable.offset + variable.size).collect();
    checker.image = &raw const **image;
    checker.span = image.span.clone();
    checker.slot = slot..slot + size_of::<usize>();
    let arguments = launch.arguments.as_ptr_range();
    let words = launch.words.as_ptr_range();
    checker.arguments = [arguments.start as usize..arguments.end as usize, words.start as usize..words.end as usize];
    checker.interval += 1;
    checker.launch_first = checker.interval;
    checker.running = true;
}

pub fn end() {
    checker().running = false;
}

/// A block begins: its shared memory is there, and nothing is in it.
pub fn begin_block(dynamic: usize, size: usize) {
    let checker = checker();
    if checker.dynamic.base != dynamic || checker.dynamic.size < size {
        checker.dynamic = Region::of(dynamic, size.max(1)).expect("addresses for what is known of shared memory");
    }
    // SAFETY: the variables lie in their region.
    unsafe {
        checker.dynamic.set(0, checker.dynamic.size, 0);
        checker.dynamic.set(0, size, THERE);
        for variable in &checker.variables {
            checker.shared.set(variable.start, variable.len(), THERE);
        }
    }
    checker.interval += 1;
    checker.block_first = checker.interval;
    checker.epochs = [0; 32];
}

/// A thread of the block goes on.
pub fn turn(thread: *const Thread, number: u32, stack: Range<usize>, meeting: *const *const Meeting) {
    let checker = checker();
    (checker.thread, checker.stack, checker.meeting) = (thread, stack, meeting);
    checker.now = tag::new(checker.interval, checker.epochs[number as usize / 32], number);
}

/// All threads of the block have met.
pub fn barrier() {
    let checker = checker();
    checker.interval += 1;
    checker.epochs = [0; 32];
}

/// All lanes of a warp, or those that were asked to, have met in a __syncwarp. One of them runs.
pub fn warp_barrier(warp: usize) {
    let checker = checker();
    checker.epochs[warp] += 1;
    let running = tag::thread(checker.now);
    if running as usize / 32 == warp {
        checker.now = tag::new(checker.interval, checker.epochs[warp], running);
    }
}

/// Called before each load, store and atomic of a checked kernel.
///
/// # Safety
/// As include/engine.h says.
pub unsafe extern "C" fn access(address: *const c_void, size: usize, kind: c_int, pc: *const c_void) {
    let address = address as usize;
    let (bad, thread) = {
        let checker = checker();
        if !checker.running || size == 0 {
            return;
        }
        let misaligned = kind & ALIGNED != 0 && !address.is_multiple_of(size);
        let kind = kind & !ALIGNED;
        if misaligned {
            checker.find(FindingKind::Bounds, "misaligned", None, kind, size, address, pc as usize);
        }
        (misaligned || checker.look(address, size, kind, pc as usize), checker.thread)
    };
    if bad {
        // It must not happen. The thread never goes on.
        // SAFETY: the running thread is on its coroutine.
        unsafe { block::stop(thread) };
    }
}

impl Checker {
    /// Looks at an access. Returns whether it must not happen.
    fn look(&mut self, address: usize, size: usize, kind: c_int, pc: usize) -> bool {
        let (region, floor) = if address.wrapping_sub(self.device.base) < self.device.size {
            (&raw const self.device, self.launch_first)
        } else if self.stack.contains(&address) {
            return false;
        } else if address.wrapping_sub(self.shared.base) < self.shared.size {
            if self.slot.contains(&address) {
                return false;
            }
            (&raw const self.shared, self.block_first)
        } else if address.wrapping_sub(self.dynamic.base) < self.dynamic.size {
            (&raw const self.dynamic, self.block_first)
        } else {
            return self.look_elsewhere(address, size, kind, pc);
        };
        // SAFETY: the region is one of this checker's; a range that reaches beyond its end is not there.
        unsafe { self.look_in(&*region, floor, address, size, kind, pc) }
    }

    /// Everything else that a kernel may touch.
    fn look_elsewhere(&mut self, address: usize, size: usize, kind: c_int, pc: usize) -> bool {
        let thread = self.thread as usize;
        // SAFETY: the running lane's.
        let meeting = unsafe { *self.meeting } as usize;
        let engine = &raw const block::ENGINE as usize;
        let own = [
            thread..thread + size_of::<Thread>(),
            meeting..meeting + size_of::<Meeting>(),
            engine..engine + size_of::<Engine>(),
            self.span.clone(),
        ];
        if own.iter().chain(&self.arguments).any(|range| range.contains(&address)) {
            return false;
        }
        self.find(FindingKind::Bounds, "not memory of the device", None, kind, size, address, pc);
        true
    }

    /// # Safety
    /// `address` lies in the region.
    unsafe fn look_in(
        &mut self,
        region: &Region,
        floor: u32,
        address: usize,
        size: usize,
        kind: c_int,
        pc: usize,
    ) -> bool {
        let offset = address - region.base;
        let there = size.min(region.size - offset);
        // SAFETY: so many bytes of the region are there.
        let (states, writes, reads, foreign) = unsafe {
            (
                std::slice::from_raw_parts_mut(region.state.add(offset), there),
                std::slice::from_raw_parts_mut(region.writes.add(offset), there),
                std::slice::from_raw_parts_mut(region.reads.add(offset), there),
                std::slice::from_raw_parts_mut(region.foreign.add(offset), there),
            )
        };
        if there < size || states.contains(&0) {
            let at = address + states.iter().position(|&state| state == 0).unwrap_or(there);
            self.find(FindingKind::Bounds, "out of bounds", None, kind, size, at, pc);
            return true;
        }
        if kind == STORE {
            states.fill(WRITTEN);
        } else if let Some(at) = states.iter().position(|&state| state != WRITTEN) {
            self.find(FindingKind::Uninitialised, "never written", None, kind, size, address + at, pc);
            states.fill(WRITTEN); // said once
        }
        let now = if kind == ATOMIC { self.now | tag::ATOMIC } else { self.now };
        for at in 0..size {
            let write = writes[at];
            if write != now && tag::interval(write) >= floor && self.conflicts(write, now) {
                let what = if kind == STORE { "also written, without order," } else { "written, without order," };
                self.find(FindingKind::Race, what, Some(write), kind, size, address + at, pc);
                break;
            }
            let read = reads[at];
            if kind == LOAD {
                if tag::interval(read) >= floor && tag::interval(read) < self.block_first {
                    foreign[at] = tag::interval(read);
                }
                reads[at] = join(read, now);
                continue;
            }
            if tag::interval(read) >= floor && self.conflicts(read, now) {
                self.find(FindingKind::Race, "also read, without order,", Some(read), kind, size, address + at, pc);
                break;
            }
            if foreign[at] >= floor.max(1) && foreign[at] < self.block_first {
                let read = tag::new(foreign[at], 0, 0) | tag::MANY;
                self.find(FindingKind::Race, "also read, without order,", Some(read), kind, size, address + at, pc);
                break;
            }
        }
        if kind != LOAD {
            // A thread's own store, before it and without a barrier, is what others race with.
            let own_store = |write: u64| kind == ATOMIC && write == self.now;
            writes.iter_mut().filter(|write| !own_store(**write)).for_each(|write| *write = now);
        }
        false
    }

    /// Whether an earlier access of this launch, or of this block's shared memory, and one now have no order.
    fn conflicts(&self, before: u64, now: u64) -> bool {
        if before & now & tag::ATOMIC != 0 {
            return false;
        }
        let interval = tag::interval(before);
        if interval < self.block_first {
            return true; // another block's
        }
        if interval < self.interval {
            return false; // before a barrier
        }
        if before & tag::MANY != 0 {
            return true;
        }
        let same_warp = tag::thread(before) / 32 == tag::thread(now) / 32;
        if same_warp && tag::epoch(before) < tag::epoch(now) {
            return false; // before a __syncwarp
        }
        before & tag::WARP != 0 || tag::thread(before) != tag::thread(now)
    }

    #[allow(clippy::too_many_arguments)]
    fn find(
        &mut self,
        kind: FindingKind,
        what: &'static str,
        other: Option<u64>,
        access: c_int,
        size: usize,
        address: usize,
        pc: usize,
    ) {
        if self.findings.len() >= KEPT || self.findings.iter().any(|known| known.pc == pc && known.kind == kind) {
            return;
        }
        // SAFETY: the running thread.
        let (thread, block) = unsafe { ((*self.thread).thread_idx, (*self.thread).block_idx) };
        self.findings.push(Raw {
            kind,
            what,
            other,
            access,
            size,
            address,
            pc,
            thread,
            block,
            block_first: self.block_first,
        });
    }
}

/// Who has read a byte, after `now` has too.
fn join(read: u64, now: u64) -> u64 {
    if tag::interval(read) != tag::interval(now) || read == now {
        return now;
    }
    if read & tag::MANY != 0 {
        return read;
    }
    if tag::thread(read) / 32 != tag::thread(now) / 32 {
        return now | tag::MANY;
    }
    // Of one warp: what came before its last __syncwarp has an order with all that comes later.
    let alone = tag::thread(read) == tag::thread(now) && read & tag::WARP == 0;
    if alone || tag::epoch(read) < tag::epoch(now) { now } else { now | tag::WARP }
}

/// What was found since the last call, in words.
pub fn take_findings() -> Vec<Finding> {
    let raw = std::mem::take(&mut checker().findings);
    raw.into_iter().map(|raw| words(&raw)).collect()
}

fn words(raw: &Raw) -> Finding {
    let checker = checker();
    let access = match raw.access {
        LOAD => "load",
        STORE => "store",
        _ => "atomic operation",
    };
    let other = raw.other.map_or(String::new(), |other| {
        if tag::interval(other) < raw.block_first {
            " by another block".into()
        } else if other & (tag::MANY | tag::WARP) != 0 {
            " by several threads".into()
        } else {
            format!(" by thread {}", tag::thread(other))
        }
    });
    let (place, address) = if raw.address.wrapping_sub(checker.device.base) < checker.device.size {
        (String::new(), Some(raw.address))
    } else {
        (format!(": {}", checker.shared_place(raw.address)), None)
    };
    let Raw { block, thread, size, what, .. } = raw;
    // SAFETY: libraries are kept for good.
    let line = line(unsafe { &*checker.image }, raw.pc);
    let text = format!("block {block}, thread {thread}: {access} of {size} bytes at {line}: {what}{other}{place}");
    Finding { kind: raw.kind, text, address }
}

impl Checker {
    /// "4 bytes past the end of smem_best, 32 bytes", for an address outside of the device's memory.
    fn shared_place(&self, address: usize) -> String {
        let offset = address.wrapping_sub(self.shared.base);
        if offset < self.shared.size {
            // SAFETY: the image of the launch is kept for good.
            let names = unsafe { &(*self.image).shared };
            let below = names.iter().rfind(|variable| variable.offset <= offset);
            if let Some(SharedVariable { name, size, offset: start, .. }) = below {
                let at = offset - start;
                return if at < *size {
                    format!("byte {at} of {name}, {size} bytes")
                } else {
                    format!("{} bytes past the end of {name}, {size} bytes", at - size)
                };
            }
        }
        let dynamic = &self.dynamic;
        if address.wrapping_sub(dynamic.base) < dynamic.size + 4096 {
            return format!("byte {} of the dynamic shared memory", address - dynamic.base);
        }
        format!("address {address:#x}")
    }
}

/// "row_best.cu:34" of the instruction before a return address.
fn line(image: &Image, pc: usize) -> String {
    let offset = (pc - 1).wrapping_sub(image.span.start) as u64;
    let loader = addr2line::Loader::new(&image.path).ok();
    let location = loader.as_ref().and_then(|loader| loader.find_location(offset).ok().flatten());
    match location.map(|location| (location.file, location.line)) {
        Some((Some(file), Some(line))) => format!("{}:{line}", file.rsplit('/').next().unwrap_or_default()),
        _ => format!("byte {offset:#x} of the library"),
    }
}
