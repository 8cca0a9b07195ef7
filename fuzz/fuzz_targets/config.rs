//! Configurations: a text as a TOML file, and each of its lines as `--set`. What is accepted can be written and read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia::error::Result;
use pareidolia::experiment::config::{Config, Setting};
use pareidolia_fuzz::memory::limits;

fuzz_target!(|text: &[u8]| {
    let Ok(text) = str::from_utf8(text) else { return };
    limits::CONFIG.hold(text.len(), || resolve(Setting::read_text(text, "fuzz.toml")));
    limits::CONFIG.hold(text.len(), || resolve(text.lines().map(Setting::parse_assignment).collect()));
});

fn resolve(settings: Result<Vec<Setting>>) {
    let Ok(config) = settings.and_then(|settings| Config::resolve(&settings)) else { return };
    config.check().unwrap();
    let again = Setting::read_text(&config.to_toml().unwrap(), "again.toml").unwrap();
    assert_eq!(Config::resolve(&again).unwrap(), config);
}
