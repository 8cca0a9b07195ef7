//! Compiles `.cu` files to a library of kernels for the host. Used by the build script for the project's kernels, and by tests
//! for patched ones.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How kernels are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Build {
    /// For speed.
    Fast,
    /// Every load and store is first shown to the checker.
    Checked,
}

/// A C++ compiler and where its headers lie.
pub struct Compiler {
    /// The program and what it is always given.
    pub command: Vec<String>,
    /// The folder of `cuda_on_host.h`.
    pub include: PathBuf,
}

impl Compiler {
    /// Compiles `sources` to the library of kernels `to`. Includes are looked up in `includes`, in order. Objects are kept in
    /// `work`, and taken from there if nothing that they are made of has changed. Threads and processes may share `to` and `work`:
    /// each writes under a name of its own, and renames what is whole.
    ///
    /// # Errors
    /// The compiler's words, or what the system says of a file.
    pub fn library(
        &self,
        to: &Path,
        sources: &[PathBuf],
        includes: &[PathBuf],
        build: Build,
        work: &Path,
    ) -> io::Result<()> {
        fs::create_dir_all(work)?;
        let own = own();
        let mut all = DefaultHasher::new();
        (self.command.as_slice(), build, std::env::var_os("CPATH")).hash(&mut all);
        for folder in includes.iter().chain([&self.include]) {
            for file in files_below(folder, &["cuh", "h"])? {
                (file.strip_prefix(folder).ok(), fs::read(&file)?).hash(&mut all);
            }
        }
        let mut jobs: Vec<(PathBuf, Command)> = Vec::new();
        let mut objects = Vec::new();
        let runtime = self.include.join("runtime.cpp");
        for source in sources.iter().chain([&runtime]) {
            let is_kernel = *source != runtime;
            let text = fs::read_to_string(source)?;
            let mut hash = all.clone();
            (source, &text).hash(&mut hash);
            let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let object = work.join(format!("{name}-{:016x}.o", hash.finish()));
            if !object.exists() {
                let unit = if is_kernel {
                    let unit = object.with_extension("cpp");
                    write_whole(&unit, &registry(source, &text))?;
                    unit
                } else {
                    source.clone()
                };
                let mut command = self.command();
                command.args(flags(build, is_kernel)).arg("-I").arg(&self.include);
                for folder in includes {
                    command.arg("-I").arg(folder);
                }
                if is_kernel {
                    command.args(["-include", "cuda_on_host.h"]);
                }
                command.arg("-c").arg(&unit).arg("-o").arg(object.with_extension(format!("{own}.part")));
                jobs.push((object.clone(), command));
            }
            objects.push(object);
        }
        // Two at a time would leave most of a large machine idle; all at once would take its memory.
        let width = std::thread::available_parallelism().map_or(1, |n| n.get());
        for group in jobs.chunks_mut(width) {
            let running: Vec<_> = group.iter_mut().map(|(_, command)| command.stderr(Stdio::piped()).spawn()).collect();
            for (child, (object, command)) in running.into_iter().zip(group.iter()) {
                succeed(command, child?.wait_with_output()?)?;
                fs::rename(object.with_extension(format!("{own}.part")), object)?;
            }
        }
        let part = to.with_extension(format!("{own}.part"));
        let mut link = self.command();
        link.args(["-shared", "-fPIC", "-o"]).arg(&part).args(&objects).arg("-lm");
        let output = link.output()?;
        succeed(&link, output)?;
        fs::rename(part, to)
    }

    /// The compiler, with what it is always given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }
}

/// A word that no other caller in any process gets.
fn own() -> String {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file that others may be reading: they see the old text or the new one, never a part.
///
/// # Errors
/// What the system says of it.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", own()));
    fs::write(&part, text)?;
    fs::rename(part, path)
}

/// What the arithmetic of the kernels asks for, and how fast and how closely watched they run.
fn flags(build: Build, is_kernel: bool) -> Vec<&'static str> {
    let mut flags = vec![
        "-x",
        "c++",
        "-std=c++17",
        "-fPIC",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-exceptions",
        "-fno-rtti",
    ];
    flags.extend(["-fno-strict-aliasing", "-fvisibility=hidden", "-g1", "-Wall", "-Wno-unknown-pragmas"]);
    // Variables of templates would otherwise be shared between libraries, patched and not.
    if cfg!(target_os = "linux") {
        flags.push("-fno-gnu-unique");
    }
    // One instruction instead of a call. The bits are the same.
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") && std::arch::is_x86_feature_detected!("avx2") {
        flags.extend(["-mavx2", "-mfma", "-mbmi2"]);
    }
    match build {
        Build::Fast => flags.push("-O3"),
        // Little is moved at -O1, so that what is checked is what is written.
        Build::Checked if is_kernel => {
            flags.extend([
                "-O1",
                "-fsanitize=thread",
                "--param=tsan-instrument-func-entry-exit=0",
                "-fno-tree-loop-distribute-patterns",
            ]);
            flags.push("-DEMULATOR_CHECKED");
        }
        Build::Checked => flags.extend(["-O2", "-DEMULATOR_CHECKED"]),
    }
    flags.push("-DPAREIDOLIA_ON_HOST");
    flags
}

/// A translation unit of `source` and the list of its kernels.
fn registry(source: &Path, text: &str) -> String {
    let mut unit = format!("#include {:?}\n", source.display().to_string());
    for (name, bounds) in kernels(text) {
        unit += &format!("EMULATOR_KERNEL({name}{}{bounds})\n", if bounds.is_empty() { "" } else { ", " });
    }
    unit
}

/// The kernels that a `.cu` file defines, and what their `__launch_bounds__` say.
pub fn kernels(text: &str) -> Vec<(String, String)> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for part in code.split("__global__").skip(1) {
        let mut rest = part;
        let mut bounds = String::new();
        if let Some(start) = part.find("__launch_bounds__") {
            let open = start + part[start..].find('(').unwrap_or(0);
            // Before the body: that of a later kernel is not this one's.
            if !part[..open].contains('{') {
                let mut depth = 0;
                let length = part[open..].find(|c| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                });
                let close = open + length.unwrap_or(0);
                bounds = part[open + 1..close].to_string();
                rest = &part[close + 1..];
            }
        }
        let head = rest.split('(').next().unwrap_or_default();
        if let Some(name) = head.split_whitespace().last() {
            found.push((name.to_string(), bounds));
        }
    }
    found
}

/// The files below `folder` with one of these extensions, sorted.
///
/// # Errors
/// What the system says of a folder.
pub fn files_below(folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|have| extensions.iter().any(|want| have == *want)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Turns a failure into the compiler's words.
fn succeed(command: &Command, output: std::process::Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr))))
}
