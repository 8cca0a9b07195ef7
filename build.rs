//! Records what was built, and of what, for `pareidolia info` and run.json: commit, compiler, target; that never fails. Compiles
//! the kernels, where there is an nvcc: build/kernels.rs.

#[path = "build/kernels.rs"]
mod kernels;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/predictions.rs"]
mod predictions;
#[path = "build/resources.rs"]
mod resources;
#[path = "build/tuning.rs"]
mod tuning;

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

/// What the program is made of.
const SOURCES: [&str; 7] = ["build", "build.rs", "Cargo.lock", "Cargo.toml", "kernels", "src", "weights"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rustc-env=PAREIDOLIA_COMMIT={}", commit());
    let rustc = env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    println!("cargo::rustc-env=PAREIDOLIA_RUSTC={}", rustc.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=PAREIDOLIA_TARGET={}", env::var("TARGET").as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=PAREIDOLIA_FLAGS={}", flags());
    if let Err(why) = kernels() {
        eprintln!("error: {why}"); // Cargo shows all lines of it
        exit(1);
    }
}

/// What comes of kernels/: the constants of launch shapes, what is predicted of each kernel, the fatbin.
fn kernels() -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: Cargo sets it")?);
    let header = "kernels/common/tuning.cuh";
    let constants =
        fs::read_to_string(header).map_err(|error| error.to_string()).and_then(|text| tuning::generate(&text));
    kernels::write(&out.join("tuning.rs"), &constants.map_err(|why| format!("{header}: {why}"))?)?;
    let read = |path: PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(Path::new("kernels").join(&path));
        text.map(|text| (stem, text)).map_err(|error| format!("cannot read kernels/{}: {error}", path.display()))
    };
    let sources: Vec<(String, String)> =
        kernels::sources(Path::new("kernels"))?.into_iter().map(read).collect::<Result<_, _>>()?;
    let predictions = predictions::generate(sources.iter().map(|(stem, text)| (stem.as_str(), text.as_str())))?;
    kernels::write(&out.join("predictions.rs"), &predictions)?;
    kernels::build(&out)
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
