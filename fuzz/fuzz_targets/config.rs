//! Configurations: a text as a TOML file, and each of its lines as `--set`. What is accepted can be written and read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia::error::Result;
use pareidolia::experiment::config::{Config, Setting};
use pareidolia_fuzz::memory::limits;

/// Nobody gives more `--set`, each of which is a Setting, far larger than the shortest line.
const MAX_LINES: usize = 64;

fuzz_target!(|text: &[u8]| {
    let Ok(text) = str::from_utf8(text) else { return };
    check(text.len(), || Setting::read_text(text, "fuzz.toml"));
    check(text.len(), || text.lines().take(MAX_LINES).map(Setting::parse_assignment).collect());
});

fn check(length: usize, read: impl Fn() -> Result<Vec<Setting>>) {
    let resolve = || read().and_then(|settings| Config::resolve(&settings));
    let Ok(config) = limits::CONFIG.hold(length, resolve) else { return };
    config.check().unwrap();
    let again = Setting::read_text(&config.to_toml().unwrap(), "again.toml").unwrap();
    assert_eq!(Config::resolve(&again).unwrap(), config);
}
