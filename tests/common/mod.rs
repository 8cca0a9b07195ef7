//! What several test files need.

use std::io::Write;
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

/// Says on stderr that this test leaves something out, and why: past the test harness, which swallows what `eprintln!` says
/// in a test that passes.
pub fn left_out(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "LEFT OUT of {test}: {why}");
}
