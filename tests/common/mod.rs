//! What several test files need.

mod left_out;

pub use left_out::left_out;
use std::path::{Path, PathBuf};

/// The folder of shared data: `PAREIDOLIA_DATA`, or `../shared/data` beside the crate. Where it is absent, says so; the
/// caller then returns.
pub fn data_dir() -> Option<PathBuf> {
    let dir = match std::env::var_os("PAREIDOLIA_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).to_path_buf(),
    };
    if !dir.is_dir() {
        left_out(&format!("no data at {} (set PAREIDOLIA_DATA)", dir.display()));
        return None;
    }
    Some(dir)
}
