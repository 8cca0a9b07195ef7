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

/// What each reader may hold for a file in memory. The first figure is the worst that tests/hostile_files.rs has found.
pub mod limits {
    use super::Limit;

    /// 48: a number of a shape, two bytes of JSON, is eight in memory; a list that grows is there one and a half to three times;
    /// and safetensors keeps two lists. The constant is the largest layer list that the program has, 13 kB, while it is parsed.
    pub const WEIGHTS: Limit = Limit { factor: 64, constant: 2 << 20 };

    /// 42: a node of a CPPN, a byte of the file, has a list of edges while the graph is checked. 39: a class of the
    /// configuration, two bytes of JSON, is two TOML values while it is checked.
    pub const CHECKPOINT: Limit = Limit { factor: 64, constant: 64 << 10 };

    /// 3: the bytes, in a list that grows. The constant is the buffer of the reader.
    pub const IDX: Limit = Limit { factor: 3, constant: 64 << 10 };

    /// As above, for at most a hundred times the file and a mebibyte; and the state of inflate.
    pub const IDX_GZIP: Limit = Limit { factor: 300, constant: (3 << 20) + (128 << 10) };

    /// 101: a token, a byte of TOML, is some fifty bytes to its parser. The constant is that of the shortest text that names all
    /// 65,536 classes, of 24 bytes each as a TOML value, twice there while a later setting replaces an earlier one. Files are at
    /// most a mebibyte.
    pub const CONFIG: Limit = Limit { factor: 128, constant: 8 << 20 };

    /// 6: a gene, two bytes of JSON, is four in a list that grows; an edge, 27 bytes, is 32 there, and 30 more while the graph is checked. The
    /// constant is what counting the values of a drawing may take, which is capped.
    pub const GENOME: Limit = Limit { factor: 8, constant: 48 << 20 };

    /// A token, a byte of TOML, is some fifty bytes to its parser, as above; a layer, 24 bytes at least, is 500. Files are at most a
    /// mebibyte.
    pub const LAYERS: Limit = Limit { factor: 192, constant: 64 << 10 };

    /// Values stay in the file; gathered floats and the parameters of the small networks that are tried are few times its size. The
    /// constant holds lists whose lengths are capped: a pickle's quarter of a million values, an archive's 65,536 entries.
    #[allow(dead_code, reason = "tests/hostile_files.rs imports nothing")]
    pub const IMPORT: Limit = Limit { factor: 8, constant: 64 << 20 };
}
