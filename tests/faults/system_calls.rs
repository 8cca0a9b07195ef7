//! Kills and errors at each single system call that touches files, and the order of those that make a file durable.
//!
//! strace puts them there. Where it is not installed or may not trace, these tests are left out.

use crate::left_out::left_out;
use crate::{Ended, Job, Left, ended, evolve, run, start, undisturbed};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// With checkpoints that replace checkpoints, and all pictures.
const JOB: Job = &[
    "mnist-cppn",
    "--classes",
    "2,7",
    "--batch",
    "10",
    "--generations",
    "2",
    "--set",
    "checkpoint_every=1",
    "--threads",
    "1",
];

/// Runs that share a thread, each with its end.
const SERIES: Job = &[
    "mnist-cppn",
    "--runs",
    "2",
    "--classes",
    "2,7",
    "--batch",
    "10",
    "--generations",
    "1",
    "--threads",
    "1",
    "--no-pictures",
];

/// All that changes files and folders, and syncs them.
const CALLS: &str = "openat,write,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,\
                     mkdir,mkdirat,ftruncate,flock,fcntl,copy_file_range";

/// `job` under strace with `options`. strace counts by thread: of those that make calls, the worker and the one that writes, each meets
/// what befalls its own n-th.
fn traced(options: &[&str], job: Command) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg("--").arg(job.get_program()).args(job.get_args());
    command
}

/// Whether strace can be used; where not, says so.
fn has_strace() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-f", "-qq", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = probe.status().is_ok_and(|status| status.success());
    if !works {
        left_out("strace is not installed, or may not trace");
    }
    works
}

/// The calls of [`CALLS`] of a whole run of `job` in `folder`, in order, with the files that numbers of open files mean.
fn calls_of_a_run(job: Job, folder: &Path, log: &Path) -> Vec<String> {
    let trace = format!("trace={CALLS}");
    run(traced(&["-y", "-s", "4096", "-e", &trace, "-o", log.to_str().unwrap()], evolve(job, folder)), 0);
    let log = fs::read_to_string(log).unwrap();
    let calls = log.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim_start().to_owned());
    // `<... fsync resumed>` ends a call that another thread's call came between.
    calls.filter(|call| !call.starts_with(['-', '+', '<'])).collect()
}

#[test]
fn files_are_on_the_disk_before_they_have_their_names() {
    if !has_strace() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let scratch_path = scratch.path().canonicalize().unwrap();
    let folder = scratch_path.join("run");
    let calls = calls_of_a_run(JOB, &folder, &scratch_path.join("log"));
    let in_folder = |path: &str| Path::new(path).starts_with(&folder);
    let mut synced_since_write: BTreeMap<String, bool> = BTreeMap::new();
    let mut renamed = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let (name, arguments) = call.split_once('(').unwrap();
        // `write(5</run/file>, ...`
        let of_open_file =
            || arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        match name {
            "write" | "writev" | "ftruncate" => {
                of_open_file().filter(|path| in_folder(path)).map(|path| synced_since_write.insert(path.into(), false));
            }
            "fsync" | "fdatasync" => {
                synced_since_write.insert(of_open_file().unwrap().into(), true);
            }
            "rename" | "renameat" | "renameat2" => {
                let paths: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
                let [from, to] = paths[..] else { panic!("{call}") };
                if !in_folder(to) {
                    continue;
                }
                assert_eq!(synced_since_write.get(from), Some(&true), "{to} has its name before its content: {call}");
                for (file, synced) in synced_since_write.iter().filter(|(file, _)| file.starts_with(from)) {
                    assert!(synced, "{file} is renamed to {to} before it is on the disk");
                }
                if to.ends_with("/checkpoint") {
                    let metrics = folder.join("metrics.jsonl");
                    let synced = synced_since_write.get(metrics.to_str().unwrap());
                    assert_eq!(synced, Some(&true), "metrics.jsonl lacks lines of the checkpoint");
                }
                // Its new name is brought to the disk before the next one changes; a page of a sheet may wait for another.
                let parent = Path::new(to).parent().unwrap().to_str().unwrap();
                let mut later = calls[at + 1..].iter().take_while(|call| !call.starts_with("rename"));
                let sync = format!("<{parent}>");
                assert!(
                    later.any(|call| call.starts_with("fsync") && call.contains(&sync)),
                    "the name {to} is not brought to the disk"
                );
                renamed.push(to.rsplit('/').next().unwrap().to_owned());
            }
            _ => {}
        }
    }
    let want = "metrics.jsonl checkpoint checkpoint checkpoint archive.safetensors elites contact_sheet.png \
                convergence.png run.json";
    assert_eq!(renamed.join(" "), want);
}

/// Each call of a run with its place among those of its name, counted from 1, as strace counts.
fn places(calls: &[String]) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    let names = calls.iter().map(|call| call.split('(').next().unwrap().to_owned());
    names
        .map(|name| {
            let count = counts.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
            (name, *count)
        })
        .collect()
}

/// Lets `inject` befall a run of `job` at each of its calls; `allowed` judges how the run ends, by that and by whether the first write of
/// each thread was befallen. It must then go on to the same files.
fn at_each_call(job: Job, inject: &str, allowed: impl Fn(&Ended, bool) -> bool) {
    if !has_strace() {
        return;
    }
    let (want, _) = undisturbed(job);
    let scratch = tempfile::tempdir().unwrap();
    let calls = calls_of_a_run(job, &scratch.path().join("traced"), &scratch.path().join("log"));
    let places = places(&calls);
    let mut befallen = 0;
    for (name, place) in &places {
        let case = format!("{inject} at {name} {place}");
        let folder = scratch.path().join(format!("{name}-{place}"));
        let injection = format!("inject={name}:{inject}:when={place}");
        let trace = format!("trace={name}");
        let options = ["-e", &trace, "-e", &injection, "-o", "/dev/null"];
        let ended = ended(start(&mut traced(&options, evolve(job, &folder))));
        assert!(allowed(&ended, (name.as_str(), *place) == ("write", 1)), "{case}: {}\n{}", ended.status, ended.stderr);
        befallen += u32::from(!ended.status.success());
        if !ended.status.success() {
            run(evolve(job, &folder), 0);
        }
        want.assert_same(&Left::of(&folder), &case);
        fs::remove_dir_all(&folder).unwrap();
    }
    println!("{befallen} of {} calls ended the run", places.len());
    assert!(befallen > 0);
}

const KILL: &str = "signal=KILL";

fn killed_or_done(ended: &Ended, _: bool) -> bool {
    ended.status.success() || ended.status.signal() == Some(libc::SIGKILL)
}

#[test]
fn killed_at_each_system_call_a_run_goes_on_to_the_same_files() {
    at_each_call(JOB, KILL, killed_or_done);
}

#[test]
fn killed_at_each_system_call_a_series_goes_on_to_the_same_files() {
    at_each_call(SERIES, KILL, killed_or_done);
}

const FAIL: &str = "error=EIO";

fn told_or_done(ended: &Ended, first_writes: bool) -> bool {
    let lines = ended.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let told = lines == 1;
    // The call that failed was the one that would have said so: the main thread's first write is the line with the error, and that of
    // the thread which writes the run is its first line of metrics.
    let silent = ended.stderr.is_empty() || (first_writes && lines == 0);
    match ended.status.code() {
        Some(0) => true,
        Some(1) => told || silent,
        // Before its own first line the system's loader ends a program, with a code of its own.
        _ => ended.stderr.contains("error while loading shared libraries"),
    }
}

#[test]
fn failing_at_each_system_call_a_run_says_so_and_goes_on_to_the_same_files() {
    at_each_call(JOB, FAIL, told_or_done);
}

#[test]
fn failing_at_each_system_call_a_series_says_so_and_goes_on_to_the_same_files() {
    at_each_call(SERIES, FAIL, told_or_done);
}
