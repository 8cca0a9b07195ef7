//! The constants of launch shapes: kernels/common/tuning.cuh.

/// Threads of a warp.
pub const WARP_SIZE: u32 = 32;
