//! The constants of launch shapes: kernels/common/tuning.cuh.

/// Threads of a warp.
pub const WARP_SIZE: u32 = 32;
pub const SELECT_THREADS: u32 = 128;
pub const DIRECT_THREADS: u32 = 128;
pub const RENDER_DIRECT_THREADS: u32 = 256;
pub const RENDER_DIRECT_PIXELS: u32 = 4;
pub const ELEMENTARY_THREADS: u32 = 256;
pub const RANDOMISE_CPPN_WARPS: u32 = 4;
pub const VARY_CPPN_WARPS: u32 = 4;
pub const RENDER_CPPN_WARPS: u32 = 5;
pub const RENDER_CPPN_ROWS: u32 = 5;
pub const RENDER_CPPN_SHARED: u32 = 45056;
