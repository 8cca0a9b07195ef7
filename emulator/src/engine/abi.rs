//! The structs that cross between the engine and compiled kernels. Each has its twin in include/engine.h.

use std::ffi::{c_char, c_int, c_void};

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Dim3 {
    pub x: u32,
    pub y: u32,
    pub z: u32,
}

impl Dim3 {
    pub fn volume(self) -> u64 {
        u64::from(self.x) * u64::from(self.y) * u64::from(self.z)
    }

    /// The place of element `index` in a box of this size, x running fastest.
    pub fn at(self, index: u64) -> Dim3 {
        let (x, y) = (u64::from(self.x), u64::from(self.y));
        Dim3 { x: (index % x) as u32, y: (index / x % y) as u32, z: (index / x / y) as u32 }
    }
}

impl std::fmt::Display for Dim3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}, {}, {})", self.x, self.y, self.z)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    pub thread_idx: Dim3,
    pub block_idx: Dim3,
    pub block_dim: Dim3,
    pub grid_dim: Dim3,
    pub lane: u32,
    pub warp: u32,
    pub dynamic_shared: *mut u8,
}

#[repr(C)]
pub struct Site {
    pub file: *const c_char,
    pub line: c_int,
    pub what: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Meeting {
    pub values: [u64; 32],
    pub present: u32,
}

#[repr(C)]
pub struct Engine {
    pub barrier: unsafe extern "C" fn(*mut Thread, *const Site, c_int, c_int) -> c_int,
    pub exchange: unsafe extern "C" fn(*mut Thread, *const Site, c_int, u32, u64) -> *const Meeting,
    pub active: unsafe extern "C" fn(*mut Thread) -> u32,
    pub misuse: unsafe extern "C" fn(*mut Thread, *const Site),
    pub access: unsafe extern "C" fn(*const c_void, usize, c_int, *const c_void),
}

#[repr(C)]
pub struct KernelEntry {
    pub name: *const c_char,
    pub call: unsafe extern "C" fn(*mut *mut c_void),
    pub argument_sizes: *const u32,
    pub argument_kinds: *const u8,
    pub n_arguments: u32,
    pub max_threads: u32,
    pub next: *const KernelEntry,
}
