//! `evolve --runs R`: a series is its runs, each as it would be by itself, and a summary of them.

use pareidolia::output::{Manifest, Summary};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const SEEDS: [u64; 3] = [5, 6, 7];

/// A short evolution into `folder`.
fn evolve(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(["evolve", "--batch", "20", "--threads", "2", "--no-pictures", "--out"]).arg(folder).args(more);
    command
}

fn series(folder: &Path, more: &[&str]) -> Command {
    let mut command = evolve(folder, &["--seed", "5", "--runs", "3"]);
    command.args(more);
    command
}

fn resume(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(["evolve", "--no-pictures", "--resume"]).arg(folder).args(more);
    command
}

/// Runs `command`, which must end with `code`; returns stdout and stderr.
#[track_caller]
fn run(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{command:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// As [`run`], for a failure: one line that says `what`.
#[track_caller]
fn fails(command: Command, code: i32, what: &str) {
    let (_, stderr) = run(command, code);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(errors.len() == 1 && errors[0].contains(what), "wanted one line with {what:?}, got:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn manifest(folder: &Path) -> Manifest {
    Manifest::read(&folder.join("run.json")).unwrap()
}

fn summary(folder: &Path) -> Summary {
    serde_json::from_str(&fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap()
}

/// The runs of the series in `folder` and the same runs by themselves end alike.
#[track_caller]
fn assert_runs_are_those_by_themselves(folder: &Path, stop: &[&str]) {
    let summary = summary(folder);
    assert_eq!(summary.seeds, SEEDS);
    for (seed, line) in SEEDS.into_iter().zip(&summary.runs) {
        let (name, scratch) = (format!("seed{seed}"), TempDir::new().unwrap());
        let alone = scratch.path().join("alone");
        run(evolve(&alone, &[&["--seed", &seed.to_string()], stop].concat()), 0);
        let (got, want) = (manifest(&folder.join(&name)), manifest(&alone));
        assert_eq!(
            (got.archive_hash, got.generation, got.stopped_by),
            (want.archive_hash, want.generation, want.stopped_by)
        );
        assert_eq!((got.seed, &got.classes, got.evaluations), (seed, &want.classes, want.evaluations));
        assert_eq!((line.seed, &line.folder, line.archive_hash), (seed, &name, want.archive_hash));
        assert_eq!((line.generation, line.stopped_by), (want.generation, want.stopped_by));
        let archive = |folder: &Path| fs::read(folder.join("archive.safetensors")).unwrap();
        assert!(archive(&folder.join(&name)) == archive(&alone), "seed {seed}");
    }
}

#[test]
fn runs_of_a_series_are_the_runs_by_themselves_and_the_summary_has_their_medians() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("series");
    let stop = ["--generations", "30"];
    let (stdout, _) = run(series(&folder, &[&stop[..], &["--json"]].concat()), 0);
    assert_eq!(stdout, fs::read_to_string(folder.join("summary.json")).unwrap(), "--json prints summary.json");
    assert_runs_are_those_by_themselves(&folder, &stop);

    let summary = summary(&folder);
    let mut medians = SEEDS.map(|seed| manifest(&folder.join(format!("seed{seed}"))).statistics.median);
    medians.sort_by(f64::total_cmp);
    assert_eq!(summary.medians.median, medians[1]);
    assert!(medians[0] < medians[2], "different seeds, different runs");
    assert_eq!((summary.medians.generation, summary.evaluations), (30.0, 3 * 31 * 20));

    let (stdout, _) = run(resume(&folder, &[]), 0);
    assert!(
        stdout.contains("3 runs, 1860 genomes") && stdout.contains(&format!("{:016x}", summary.runs[1].archive_hash))
    );
}

#[test]
fn runs_that_reach_their_target_stop_and_the_others_go_on() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("series");
    let stop = ["--target", "0.9", "--classes", "0-3"];
    run(series(&folder, &stop), 0);
    assert_runs_are_those_by_themselves(&folder, &stop);
    let generations: Vec<u32> = summary(&folder).runs.iter().map(|run| run.generation).collect();
    assert!(generations.iter().any(|&generation| generation != generations[0]), "{generations:?}");
}

#[test]
fn series_goes_on_after_its_end_a_kill_and_the_loss_of_a_run() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("series");
    let job = ["--set", "checkpoint_every=4", "--generations", "4000"];
    let mut child = series(&folder, &job).spawn().unwrap();
    // Those of the runs are written side by side, in any order.
    while ![5, 7].iter().all(|seed| folder.join(format!("seed{seed}/checkpoint")).exists()) {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.join("summary.json").exists());
    // Of a run that was never begun, a record is left, and so is what decides it.
    fs::remove_dir_all(folder.join("seed6")).unwrap();

    let at = |seed: u64| {
        let checkpoint = pareidolia::output::Checkpoint::read(&folder.join(format!("seed{seed}/checkpoint")));
        checkpoint.unwrap().archive.generation
    };
    let generations = at(5).max(at(7)) + 5;
    let stop = ["--generations", &generations.to_string()];
    run(resume(&folder, &stop), 0);
    assert_runs_are_those_by_themselves(&folder, &stop);

    // Further, by the call that a batch job repeats.
    let stop = ["--generations", &(generations + 3).to_string()];
    run(series(&folder, &[&["--resume-or-start", "--set", "checkpoint_every=4"], &stop[..]].concat()), 0);
    assert_runs_are_those_by_themselves(&folder, &stop);
}

#[test]
fn signal_saves_every_run() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("series");
    let mut child = series(&folder, &["--generations", "100000"]).spawn().unwrap();
    // Those of the runs are written side by side, in any order.
    while ![5, 7].iter().all(|seed| folder.join(format!("seed{seed}/checkpoint")).exists()) {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(30));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let at = |seed: u64| {
        let checkpoint = pareidolia::output::Checkpoint::read(&folder.join(format!("seed{seed}/checkpoint")));
        checkpoint.unwrap().archive.generation
    };
    assert!(at(5) > 0 && at(5) == at(6) && at(6) == at(7));
    let stop = ["--generations", &(at(5) + 2).to_string()];
    run(resume(&folder, &stop), 0);
    assert_runs_are_those_by_themselves(&folder, &stop);
}

#[test]
fn wrong_calls_are_refused_and_leave_no_trace() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("series");
    for runs in ["0", "-1", "x", "4097"] {
        let mut command = evolve(&folder, &["--runs", runs]);
        assert_eq!(command.output().unwrap().status.code(), Some(2), "--runs {runs}");
    }
    fails(evolve(&folder, &["--runs", "3", "--seed", "9223372036854775806"]), 2, "the last seed would be");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(["evolve", "--runs", "4096", "--batch", "2000000", "--out"]).arg(&folder);
    fails(command, 2, "4096 runs: with a batch of 2000000 wanted at most 2147");
    let mut command = Command::new("sh");
    let call =
        format!("ulimit -n 256; {} evolve --runs 200 --out {}", env!("CARGO_BIN_EXE_pareidolia"), folder.display());
    command.args(["-c", &call]);
    fails(command, 1, "200 runs need 400 open files, the system allows 192");
    assert!(!folder.exists());

    run(series(&folder, &["--generations", "1"]), 0);
    fails(series(&folder, &["--generations", "1"]), 1, "--resume");
    fails(evolve(&folder, &["--generations", "1"]), 1, "is not empty");
    fails(
        evolve(&folder, &["--runs", "2", "--seed", "5", "--resume-or-start"]),
        1,
        "the seeds there are 3 from 5, here 2 from 5",
    );
    fails(series(&folder, &["--resume-or-start", "--set", "cppn.add_edge_rate=0.25"]), 1, "add_edge_rate");
    assert_eq!(resume(&folder, &["--runs", "3"]).output().unwrap().status.code(), Some(2));
    // More candidates than a generation can number, by a record that was tampered with.
    let file = folder.join("series.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["configuration"]["batch"] = 16_777_216.into();
    record["seeds"] = (0..300).collect();
    fs::write(&file, record.to_string()).unwrap();
    fails(resume(&folder, &[]), 2, "300 runs: with a batch of 16777216 wanted at most 255");
    fs::write(&file, "{").unwrap();
    fails(resume(&folder, &[]), 1, "not the record of a series");
}
