//! What this program is and was built from, as build.rs found it.

/// Version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Short hash of the commit, `-dirty` if its sources were changed; `unknown` where there was no repository.
pub const COMMIT: &str = env!("PAREIDOLIA_COMMIT");

/// What `rustc --version` said.
pub const RUSTC: &str = env!("PAREIDOLIA_RUSTC");

/// The platform that it was built for.
pub const TARGET: &str = env!("PAREIDOLIA_TARGET");

/// Version and commit, for `--version`.
pub const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PAREIDOLIA_COMMIT"), ")");

/// What it told the compiler of speed: the level of optimisation, and what `RUSTFLAGS` or a configuration of Cargo said.
pub const FLAGS: &str = env!("PAREIDOLIA_FLAGS");
