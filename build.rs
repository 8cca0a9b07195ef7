//! Records what was built, and of what, for `pareidolia info` and run.json: commit, compiler, target. Never fails.

use std::env;
use std::path::Path;
use std::process::Command;

/// What the program is made of.
const SOURCES: [&str; 5] = ["build.rs", "Cargo.lock", "Cargo.toml", "src", "weights"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=PAREIDOLIA_COMMIT={}", commit());
    let rustc = env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    println!("cargo::rustc-env=PAREIDOLIA_RUSTC={}", rustc.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=PAREIDOLIA_TARGET={}", env::var("TARGET").as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=PAREIDOLIA_FLAGS={}", flags());
}

/// What the compiler was told of speed: the level of optimisation, and flags that the user gave.
fn flags() -> String {
    let level = env::var("OPT_LEVEL").unwrap_or_else(|_| "unknown".into());
    let given = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    if given.is_empty() { format!("-C opt-level={level}") } else { format!("-C opt-level={level} {given}") }
}

/// The short hash of the commit, with `-dirty` if the sources differ from it; `unknown` without git or a repository.
fn commit() -> String {
    // Only a repository whose root this crate is: one further up, such as a vendoring one, says nothing of this source.
    if !Path::new(".git").exists() {
        return "unknown".into();
    }
    // HEAD changes with the branch, its log (or the branch's ref, or packed-refs) with a commit. The index is not watched: it
    // also changes when git merely looks, which would build everything again.
    let branch = output("git", &["symbolic-ref", "-q", "HEAD"]);
    for path in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = output("git", &["rev-parse", "--git-path", path]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // Cargo takes a missing path for one that has always just changed.
    let sources: Vec<&str> = SOURCES.iter().copied().filter(|path| Path::new(path).exists()).collect();
    sources.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let status = ["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"];
    match (output("git", &["rev-parse", "--short=12", "HEAD"]), output("git", &[&status[..], &sources].concat())) {
        (Some(hash), Some(changes)) if changes.is_empty() => hash,
        (Some(hash), _) => format!("{hash}-dirty"),
        (None, _) => "unknown".into(),
    }
}

/// The first line that `program` prints, or `None` if it fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_string())
}
