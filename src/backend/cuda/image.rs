//! What build.rs made of the kernels.

/// The fatbin; none if this program was built without a CUDA compiler.
pub const FATBIN: Option<&[u8]> = None;

/// What of the kernels is in this program, or how to get them there, in a line.
pub const BUILT: &str = "no kernels: built without nvcc; run scripts/get-nvcc and build again";

/// The oldest driver that takes the fatbin, as `cuDriverGetVersion` says it.
pub const DRIVER_VERSION: i32 = 12_000;

/// Its release, as people know it.
pub const DRIVER_RELEASE: &str = "525";
