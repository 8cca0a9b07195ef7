//! SIGKILL at random moments of a run's whole life, from the start of the process to its last file.

use crate::{CPPN, Job, Left, Process, SERIES, ended, evolve, is_exhaustive, resume, undisturbed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// So tight that operators are skipped, and counted.
const TIGHT: Job =
    &["mnist-cppn", "--batch", "60", "--generations", "20", "--set", "log_every=3", "--set", "cppn.max_edges=6"];

/// Both encodings; checkpoints and log lines of every generation and of some; with pictures, so that the end is long,
/// and without; a series.
const JOBS: [Job; 5] = [
    CPPN,
    &["mnist-direct", "--batch", "40", "--generations", "15", "--set", "checkpoint_every=1"],
    TIGHT,
    &["mnist-direct", "--batch", "60", "--generations", "30", "--set", "checkpoint_every=4", "--no-pictures"],
    SERIES,
];

/// The first kills of so many runs fall evenly over the duration of a run, each at random within its part of it.
const STRATA: u64 = 21; // no multiple of the number of jobs

/// Where in the life of a run a kill fell, as the folder shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    NoCheckpoint,
    Evolving,
    Finishing,
    Finished,
}

const STAGES: [Stage; 4] = [Stage::NoCheckpoint, Stage::Evolving, Stage::Finishing, Stage::Finished];

impl Stage {
    fn of(folder: &Path) -> Stage {
        let has = |name| run_in(folder).join(name).exists();
        match (has("checkpoint"), has("archive.safetensors"), has("run.json")) {
            (false, ..) => Stage::NoCheckpoint,
            (true, false, _) => Stage::Evolving,
            (true, true, false) => Stage::Finishing,
            (true, true, true) => Stage::Finished,
        }
    }
}

/// The run in `folder`; of a series, the first.
fn run_in(folder: &Path) -> PathBuf {
    if folder.join("series.json").exists() { folder.join("seed1") } else { folder.to_path_buf() }
}

fn has_unfinished_files(folder: &Path) -> bool {
    let names = fs::read_dir(run_in(folder)).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.into_iter().any(|name| name.to_string_lossy().starts_with(".partial-"))
}

/// A launch of `job` in `folder`, in one of the ways of going on, at one of the speeds.
fn launch(job: Job, folder: &Path, rng: &mut StdRng) -> Command {
    let mut command = if run_in(folder).join("checkpoint").exists() && rng.random_bool(0.5) {
        resume(folder, if job.contains(&"--no-pictures") { &["--no-pictures"] } else { &[] })
    } else {
        let mut command = evolve(job, folder);
        command.args(["--chunk", &(2 * rng.random_range(1..=30)).to_string()]);
        command
    };
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::piped());
    command
}

/// Starts `command` and kills it `after` its start; without, or where it is faster, it ends by itself. Whether it was killed.
#[track_caller]
fn killed(mut command: Command, after: Option<Duration>) -> bool {
    let begun = Instant::now();
    let mut child = Process(command.spawn().unwrap());
    if let Some(after) = after {
        std::thread::sleep(after.saturating_sub(begun.elapsed()));
        child.kill().unwrap();
    }
    let ended = ended(child);
    let killed = ended.status.signal() == Some(libc::SIGKILL);
    assert!(killed || ended.status.success(), "{command:?}: {}\n{}", ended.status, ended.stderr);
    killed
}

/// What became of a number of kills.
#[derive(Default)]
struct Tally {
    kills: u64,
    runs: u64,
    fell: [u64; STAGES.len()],
    torn: u64,
}

/// Kills runs of each of [`JOBS`] until there are `kills`, each run as often as it comes. It must end with what is `wanted`.
fn campaign(seed: u64, kills: u64, wanted: &[(Left, Duration)]) -> Tally {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    while tally.kills < kills {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let which = tally.runs as usize % JOBS.len();
        let (want, duration) = &wanted[which];
        let mut moments = Vec::new();
        loop {
            // The first launch of a run is killed for sure, the rest as often as not: else few would come to their end.
            let share = if moments.is_empty() {
                Some(((tally.runs % STRATA) as f64 + rng.random::<f64>()) / STRATA as f64)
            } else {
                rng.random_bool(0.5).then(|| rng.random())
            };
            let moment = share.filter(|_| tally.kills < kills).map(|share| duration.mul_f64(share));
            moments.extend(moment);
            if !killed(launch(JOBS[which], &folder, &mut rng), moment) {
                break;
            }
            tally.kills += 1;
            tally.fell[Stage::of(&folder) as usize] += 1;
            tally.torn += u64::from(has_unfinished_files(&folder));
        }
        want.assert_same(&Left::of(&folder), &format!("seed {seed}, run {}, killed at {moments:?}", tally.runs));
        tally.runs += 1;
    }
    tally
}

#[test]
fn killed_at_any_moment_a_run_goes_on_to_the_same_files() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let kills = number("PAREIDOLIA_KILLS").unwrap_or(if is_exhaustive() { 5000 } else { 200 });
    let seed = number("PAREIDOLIA_FAULT_SEED").unwrap_or(1);
    println!("{kills} kills, PAREIDOLIA_FAULT_SEED={seed}");
    let wanted: Vec<(Left, Duration)> = JOBS.iter().map(|job| undisturbed(job)).collect();

    // Two at a time, since a run spends most of its time waiting for the disk.
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| campaign(seed.wrapping_add(1 << 32), kills / 2, &wanted));
        (campaign(seed, kills.div_ceil(2), &wanted), second.join().unwrap())
    });
    let fell: Vec<u64> = first.fell.iter().zip(second.fell).map(|(first, second)| first + second).collect();
    let told: Vec<String> = STAGES.iter().zip(&fell).map(|(stage, n)| format!("{n} {stage:?}")).collect();
    let (runs, torn) = (first.runs + second.runs, first.torn + second.torn);
    println!("{runs} runs; the kills fell on {}; {torn} left unfinished files", told.join(", "));
    // 200 kills are some 100 runs, whose first kills cover the first two stages; every second kill after those, the last.
    assert!(kills < 200 || fell[..3].iter().all(|&n| n > 0), "the kills do not cover a run: {}", told.join(", "));
}
