//! What a test says that leaves something out.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Mutex;

/// Says on stderr that this test leaves something out, and why, once each: past the test harness, which swallows what
/// `eprintln!` says in a test that passes.
pub fn left_out(why: &str) {
    static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let thread = std::thread::current();
    let line = format!("LEFT OUT of {}: {why}", thread.name().unwrap_or("a test"));
    if SAID.lock().unwrap().get_or_insert_default().insert(line.clone()) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
