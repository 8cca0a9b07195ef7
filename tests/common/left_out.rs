//! What a test says that leaves something out.

use std::io::Write;

/// Says on stderr that this test leaves something out, and why: past the test harness, which swallows what `eprintln!` says
/// in a test that passes.
pub fn left_out(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "LEFT OUT of {test}: {why}");
}
