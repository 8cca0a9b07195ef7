//! Run folders that go away or change hands during the run, and a second process.

use crate::{
    Job, Left, Process, SERIES, SMALL, ended, endless, evolve, fails, failure, hash_in, hash_of, pareidolia, resume,
    run, saved_generation, start, start_endless, wait_until,
};
use std::fs;
use std::path::Path;

/// The one line of `child`, which must fail by itself now that something was done to its folder.
#[track_caller]
fn gives_up(child: Process, what: &[&str]) {
    let ended = ended(child);
    let line = failure(&ended);
    assert!(what.iter().all(|what| line.contains(what)), "{line:?} lacks one of {what:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Goes on with the run in `folder` for some generations; it must come to the hash of an undisturbed run.
#[track_caller]
fn goes_on(folder: &Path) {
    let until = saved_generation(folder) + 5;
    run(resume(folder, &["--generations", &until.to_string()]), 0);
    assert_eq!(hash_in(folder), hash_of(until));
    assert!(names(folder).iter().all(|name| !name.starts_with('.')), "nothing unfinished stays");
}

#[test]
fn folder_removed_or_moved_during_the_run_ends_it_and_is_not_made_again() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, moved) = (scratch.path().join("run"), scratch.path().join("moved"));
    let shown = folder.to_str().unwrap();
    let child = start_endless(&folder);
    fs::rename(&folder, &moved).unwrap(); // at one stroke, unlike a removal
    gives_up(child, &[shown, "removed or replaced during the run"]);
    assert!(!folder.exists());
    goes_on(&moved);

    let child = start_endless(&folder);
    wait_until("the folder to be gone", || {
        let _ = fs::remove_dir_all(&folder); // fails where the run writes meanwhile
        !folder.exists()
    });
    gives_up(child, &[shown]);
    assert!(!folder.exists());
}

#[test]
fn folder_replaced_during_the_run_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, moved) = (scratch.path().join("run"), scratch.path().join("moved"));
    let replaced = |replace: &dyn Fn()| {
        let child = start_endless(&folder);
        fs::rename(&folder, &moved).unwrap();
        replace();
        gives_up(child, &[folder.to_str().unwrap(), "removed or replaced during the run"]);
        goes_on(&moved);
        fs::remove_dir_all(&moved).unwrap();
    };
    replaced(&|| fs::write(&folder, "a file").unwrap());
    assert_eq!(fs::read(&folder).unwrap(), b"a file");
    fs::remove_file(&folder).unwrap();
    replaced(&|| fs::create_dir(&folder).unwrap());
    assert!(names(&folder).is_empty(), "{:?}", names(&folder));
}

#[test]
fn folder_taken_by_another_run_is_the_other_ones() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, moved) = (scratch.path().join("run"), scratch.path().join("moved"));
    let first = start_endless(&folder);
    fs::rename(&folder, &moved).unwrap();
    let mut command = evolve(&["mnist-direct", "--batch", "40", "--generations", "20", "--seed", "5"], &folder);
    command.args(["--set", "checkpoint_every=1"]);
    let second = start(&mut command);
    gives_up(first, &["removed or replaced during the run"]);
    assert!(ended(second).status.success());
    let archive = pareidolia::output::Checkpoint::read(&folder.join("checkpoint")).unwrap();
    assert_eq!((archive.config.seed, archive.archive.generation), (5, 20));
    run(resume(&folder, &["--generations", "21"]), 0);
    goes_on(&moved);
}

#[test]
fn file_of_metrics_removed_during_the_run_ends_it() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let metrics = folder.join("metrics.jsonl");
    let child = start_endless(&folder);
    fs::remove_file(&metrics).unwrap();
    gives_up(child, &[metrics.to_str().unwrap(), "removed or replaced during the run", "--resume"]);
    assert_eq!(names(&folder), ["checkpoint", "lock"]);
    let until = saved_generation(&folder) + 5;
    let said = run(resume(&folder, &["--generations", &until.to_string()]), 0).stderr;
    assert!(said.contains("WARN") && said.contains("metrics.jsonl"), "{said}");
    assert_eq!(hash_in(&folder), hash_of(until));
    assert_eq!(fs::read_to_string(&metrics).unwrap().lines().count(), 5);
}

#[test]
fn second_process_is_refused_and_the_first_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let mut first = start_endless(&folder);
    let before = saved_generation(&folder);
    for _ in 0..5 {
        fails(resume(&folder, &[]), &[folder.to_str().unwrap(), "another process is at this run"]);
        fails(endless(&folder), &["another process is at this run"]);
        let mut anew = pareidolia();
        anew.args(SMALL).arg("--out").arg(&folder);
        fails(anew, &[folder.to_str().unwrap(), "--resume"]);
    }
    wait_until("a later checkpoint", || saved_generation(&folder) > before);
    assert!(first.try_wait().unwrap().is_none(), "the first one goes on");
    first.kill().unwrap(); // a lock left behind by SIGKILL holds nobody off
    first.wait().unwrap();
    goes_on(&folder);
}

/// Starts four processes on a folder at once; returns the one that got it, once the others have ended.
#[track_caller]
fn contest(job: Job, folder: &Path) -> Process {
    let mut endless = evolve(job, folder);
    endless.args(["--generations", "100000000"]);
    let mut children: Vec<Process> = (0..4).map(|_| start(&mut endless)).collect();
    wait_until("all but one to be refused", || children.iter().filter(|child| is_running(child)).count() == 1);
    let at_work = children.iter().position(is_running).unwrap();
    let winner = children.swap_remove(at_work);
    for child in children {
        gives_up(child, &["another process is at this run"]);
    }
    winner
}

#[test]
fn of_processes_started_at_once_one_gets_the_folder() {
    let scratch = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let folder = scratch.path().join(round.to_string());
        let mut winner = contest(SMALL, &folder);
        wait_until("the first checkpoint", || folder.join("checkpoint").exists());
        assert!(winner.try_wait().unwrap().is_none());
        drop(winner);
        goes_on(&folder);
    }
}

#[test]
fn of_processes_started_at_once_one_gets_the_series() {
    const SMALL_SERIES: Job =
        &["mnist-cppn", "--runs", "2", "--batch", "20", "--no-pictures", "--set", "checkpoint_every=3"];
    let scratch = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let folder = scratch.path().join(round.to_string());
        let mut winner = contest(SMALL_SERIES, &folder);
        let last = folder.join("seed2");
        wait_until("the first checkpoints", || last.join("checkpoint").exists());
        for command in [resume(&folder, &[]), evolve(SMALL_SERIES, &folder), resume(&last, &[])] {
            fails(command, &[folder.to_str().unwrap(), "another process is at this run"]);
        }
        assert!(winner.try_wait().unwrap().is_none());
    }
}

#[test]
fn series_killed_in_its_extension_goes_on_to_the_new_end() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, whole) = (scratch.path().join("run"), scratch.path().join("whole"));
    run(evolve(SERIES, &folder), 0);
    let child = start(&mut resume(&folder, &["--generations", "300", "--no-pictures"]));
    wait_until("a later checkpoint", || saved_generation(&folder.join("seed1")) > 9);
    drop(child);
    run(resume(&folder, &["--no-pictures"]), 0);
    let mut want = evolve(&[&SERIES[..5], &SERIES[7..]].concat(), &whole);
    want.args(["--generations", "300"]);
    run(want, 0);
    Left::of(&whole).assert_same(&Left::of(&folder), "the series");
}

/// Whether `child`, which has not been waited for, has not ended.
fn is_running(child: &Process) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let state = stat.rsplit(") ").next().unwrap(); // after the name, which may hold anything
    !state.starts_with('Z')
}

#[test]
fn process_that_lost_its_lock_writes_nothing_more() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let first = start_endless(&folder);
    fs::remove_file(folder.join("lock")).unwrap();
    gives_up(first, &[folder.to_str().unwrap(), "\"lock\""]);
    assert_eq!(names(&folder), ["checkpoint", "metrics.jsonl"]);
    goes_on(&folder);
}
