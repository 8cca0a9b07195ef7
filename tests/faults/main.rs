//! The promises of a run folder, tried by force: killed at any moment, damaged files, full disks, folders that go away,
//! second processes, signals, streams that nobody reads.
//!
//! Longer forms: `PAREIDOLIA_KILLS=5000`, or `PAREIDOLIA_EXHAUSTIVE=1` for the long form of every campaign. What is drawn at random
//! comes from `PAREIDOLIA_FAULT_SEED` (1 unless given).
#![cfg(target_os = "linux")]

mod damage;
mod disk;
mod folder;
mod kill;
#[path = "../common/left_out.rs"]
mod left_out;
mod signals;
mod system_calls;

use pareidolia::output::Checkpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What no launch here takes, even on a busy machine: one that does hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run of some hundredths of a second: its call, but for where it goes.
type Job<'a> = &'a [&'a str];

const CPPN: Job = &["mnist-cppn", "--batch", "40", "--generations", "24", "--set", "checkpoint_every=3"];

/// Runs that share chunks and threads, one after the other through their end.
const SERIES: Job = &[
    "mnist-cppn",
    "--runs",
    "3",
    "--batch",
    "20",
    "--generations",
    "9",
    "--set",
    "checkpoint_every=2",
    "--no-pictures",
];

/// Without a number of generations, which [`until`] gives.
const SMALL: Job = &["mnist-cppn", "--batch", "40", "--no-pictures", "--set", "checkpoint_every=3"];

fn is_exhaustive() -> bool {
    std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_some()
}

fn pareidolia() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.arg("evolve");
    command
}

/// `job` in `folder`, begun or continued.
fn evolve(job: Job, folder: &Path) -> Command {
    let mut command = pareidolia();
    command.args(job).args(["--resume-or-start", "--out"]).arg(folder);
    if !job.contains(&"--threads") {
        command.args(["--threads", "2"]); // as many as the processors of a small machine, wherever it runs
    }
    command
}

/// [`SMALL`] in `folder`, begun or continued, until `generation`.
fn until(generation: u32, folder: &Path) -> Command {
    let mut command = evolve(SMALL, folder);
    command.args(["--generations", &generation.to_string()]);
    command
}

/// [`SMALL`] in `folder`, until something stops it.
fn endless(folder: &Path) -> Command {
    until(100_000_000, folder)
}

fn resume(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia();
    command.arg("--resume").arg(folder).args(more);
    command
}

/// A process that ends with the test, should that fail first.
struct Process(Child);

impl Deref for Process {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// How a process ended, and what it said.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Waits for `child`; fails if it hangs.
#[track_caller]
fn ended(mut child: Process) -> Ended {
    let reader = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.map(|mut pipe| pipe.read_to_string(&mut text).unwrap());
            text
        })
    };
    let stdout = reader(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = reader(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            drop(child);
            panic!("hangs: {}", stderr.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    Ended { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Starts `command`, whose output is heard unless it goes elsewhere already.
fn start(command: &mut Command) -> Process {
    Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Runs `command`, which must end with `code`.
#[track_caller]
fn run(mut command: Command, code: i32) -> Ended {
    let ended = ended(start(&mut command));
    assert_eq!(ended.status.code(), Some(code), "{command:?}\n{}", ended.stderr);
    ended
}

/// The one line of an end that must be a failure with exit code 1.
#[track_caller]
fn failure(ended: &Ended) -> &str {
    assert_eq!(ended.status.code(), Some(1), "{}\n{}", ended.status, ended.stderr);
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with(" INFO")).collect();
    let [line] = errors[..] else { panic!("wanted one line, got {errors:?}") };
    assert_eq!(ended.stdout, "");
    line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line:?}"))
}

/// Runs `command`, which must fail with exit code 1 and one line that holds all of `what`.
#[track_caller]
fn fails(mut command: Command, what: &[&str]) {
    let ended = ended(start(&mut command));
    let line = failure(&ended);
    assert!(what.iter().all(|what| line.contains(what)), "{command:?}: {line:?} lacks one of {what:?}");
}

/// Waits until `holds`; fails if that takes too long.
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Starts [`SMALL`] without an end in `folder` and waits until it has written a checkpoint.
#[track_caller]
fn start_endless(folder: &Path) -> Process {
    let child = start(&mut endless(folder));
    wait_until("the first checkpoint", || folder.join("checkpoint").exists());
    child
}

/// Keys of what no two runs share.
const OF_THE_MACHINE: [&str; 8] = [
    "start",
    "end",
    "seconds",
    "genomes_per_second",
    "threads",
    "device_reason",
    "planned_memory_bytes",
    "peak_memory_bytes",
];

/// All that a run has left, by file; times and rates, which no two runs share, are taken out.
#[derive(PartialEq)]
struct Left(BTreeMap<PathBuf, Vec<u8>>);

impl Left {
    fn of(folder: &Path) -> Left {
        let mut files = BTreeMap::new();
        collect(folder, folder, &mut files);
        Left(files)
    }

    /// Fails unless the other one is the same, naming the first file that differs.
    #[track_caller]
    fn assert_same(&self, other: &Left, case: &str) {
        assert_eq!(self.0.keys().collect::<Vec<_>>(), other.0.keys().collect::<Vec<_>>(), "{case}: other files");
        for (path, want) in &self.0 {
            let (want, got) = (String::from_utf8_lossy(want), String::from_utf8_lossy(&other.0[path]));
            assert!(want == got, "{case}: {} differs:\n{want:.2000}\n{got:.2000}", path.display());
        }
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_path_buf();
        if path.is_dir() {
            collect(root, &path, files);
            files.insert(name, Vec::new());
            continue;
        }
        let without = |text: &str, keys: &[&str]| {
            let mut value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            keys.iter().for_each(|key| drop(value.as_object_mut().unwrap().remove(*key)));
            value.to_string()
        };
        let read = || fs::read_to_string(&path).unwrap();
        // Of a series, each run's.
        let content = match name.file_name().unwrap().to_str().unwrap() {
            "checkpoint" => {
                let mut checkpoint = Checkpoint::read(&path).unwrap();
                (checkpoint.started, checkpoint.elapsed) = (SystemTime::UNIX_EPOCH, 0.0);
                format!("{checkpoint:?}").into_bytes()
            }
            "run.json" => without(&read(), &OF_THE_MACHINE).into(),
            "summary.json" => {
                let mut summary: Value = serde_json::from_str(&read()).unwrap();
                let runs = summary["runs"].as_array_mut().unwrap();
                runs.iter_mut().for_each(|run| drop(run.as_object_mut().unwrap().remove("seconds")));
                without(&summary.to_string(), &OF_THE_MACHINE).into()
            }
            "metrics.jsonl" => {
                let lines: Vec<String> =
                    read().lines().map(|line| without(line, &["genomes_per_second"]) + "\n").collect();
                lines.concat().into()
            }
            _ => fs::read(&path).unwrap(),
        };
        files.insert(name, content);
    }
}

/// What `job` leaves where nothing disturbs it, and how long it takes.
fn undisturbed(job: Job) -> (Left, Duration) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let begun = Instant::now();
    run(evolve(job, &folder), 0);
    (Left::of(&folder), begun.elapsed())
}

/// The archive hash after generation `generation` of [`SMALL`].
fn hash_of(generation: u32) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    run(until(generation, &folder), 0);
    hash_in(&folder)
}

/// The archive hash of a finished run.
fn hash_in(folder: &Path) -> String {
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    manifest["archive_hash"].as_str().unwrap().to_owned()
}

/// The generation of the checkpoint in `folder`, which must be a good one.
#[track_caller]
fn saved_generation(folder: &Path) -> u32 {
    Checkpoint::read(&folder.join("checkpoint")).unwrap().archive.generation
}
