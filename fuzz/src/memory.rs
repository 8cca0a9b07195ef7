//! How much memory a reader holds at once, and how much it may.
//!
//! The fuzz targets count with it, and so does tests/hostile_files.rs, on files large enough that no constant hides the factor.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting. To move an allocation counts as it may happen: the old place and the new one at once.
pub struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all memory is the system allocator's. `realloc` and `alloc_zeroed` are the trait's own, made of these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get().wrapping_add(layout.size()); // may wrap: a thread frees what another one took
        LIVE.set(live);
        if live as isize > PEAK.get() as isize {
            PEAK.set(live);
        }
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: as above; every pointer comes from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a reader may hold at once, in bytes: `factor` a byte of the file, and `constant`.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub factor: usize,
    pub constant: usize,
}

impl Limit {
    /// What `read` gives for a file of `length` bytes.
    ///
    /// # Panics
    /// If it holds more than it may while it runs.
    #[track_caller]
    pub fn hold<T>(self, length: usize, read: impl FnOnce() -> T) -> T {
        let before = LIVE.get();
        PEAK.set(before);
        let result = read();
        let peak = PEAK.get().wrapping_sub(before);
        let limit = self.factor * length + self.constant;
        assert!(peak <= limit, "a file of {length} bytes takes {peak} bytes of memory, more than {limit} ({self:?})");
        result
    }
}

/// What each reader may hold.
pub mod limits {
    use super::Limit;
    pub const WEIGHTS: Limit = Limit { factor: 64, constant: 1 << 16 };
    pub const CHECKPOINT: Limit = Limit { factor: 64, constant: 1 << 16 };
    pub const IDX: Limit = Limit { factor: 3, constant: 1 << 16 };
    pub const IDX_GZIP: Limit = Limit { factor: 300, constant: 4 << 20 };
    pub const CONFIG: Limit = Limit { factor: 128, constant: 16 << 20 };
}
