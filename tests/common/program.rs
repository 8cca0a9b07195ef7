//! The program, called as a person calls it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A call of the program, with nobody at its keyboard.
pub fn pareidolia(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs `command`, which must end with `code`; returns its output as text, stdout and stderr.
#[track_caller]
pub fn run(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(status.code(), Some(code), "{command:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// As [`run`], for a failure: one line that says `what`, and nothing on stdout.
#[track_caller]
pub fn fails(command: Command, code: i32, what: &str) {
    let shown = format!("{command:?}");
    let (stdout, stderr) = run(command, code);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(errors.len() == 1 && errors[0].contains(what), "{shown}: wanted one line with {what:?}, got:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(stdout, "");
}

/// The names in a folder.
pub fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
