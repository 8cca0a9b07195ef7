//! Signals that ask a run to stop, at every stage of it, and streams that nobody reads.

use crate::{
    CPPN, Job, Left, Process, ended, endless, evolve, failure, hash_in, hash_of, resume, run, saved_generation, start,
    start_endless, undisturbed, until, wait_until,
};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn signal(child: &Process, signal: i32) {
    // SAFETY: it is our child and has not been waited for, so that the number is still its.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

const SIGNALS: [(i32, i32); 2] = [(libc::SIGINT, 130), (libc::SIGTERM, 143)];

fn lines(folder: &Path) -> u32 {
    fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().count() as u32
}

#[test]
fn signal_saves_the_run_and_resume_is_bit_identical() {
    for (number, code) in SIGNALS {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let child = start_endless(&folder);
        signal(&child, number);
        let ended = ended(child);
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains("--resume"), "says how to go on: {}", ended.stderr);
        assert!(!folder.join("run.json").exists(), "it is not finished");
        let stopped = saved_generation(&folder);
        assert_eq!(lines(&folder), stopped + 1, "it was saved where it stopped");

        let last = stopped + 7;
        run(resume(&folder, &["--generations", &last.to_string()]), 0);
        assert_eq!(hash_in(&folder), hash_of(last));
        assert_eq!(lines(&folder), last + 1);
    }
}

#[test]
fn second_signal_ends_the_process_at_once() {
    // A generation of seconds, in which the first signal has to wait.
    const SLOW: Job = &["mnist-cppn", "--batch", "400000", "--threads", "1", "--no-pictures", "--generations", "3"];
    for (number, code) in SIGNALS {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let mut slow = crate::pareidolia();
        let child = start(slow.args(SLOW).args(["--resume-or-start", "--out"]).arg(&folder));
        wait_until("the run to begin", || folder.join("metrics.jsonl").exists());
        signal(&child, number);
        std::thread::sleep(Duration::from_millis(20)); // two signals at the same time are one
        let begun = Instant::now();
        signal(&child, number);
        let ended = ended(child);
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(begun.elapsed() < Duration::from_secs(2), "ended after {:?}", begun.elapsed());
        // Nothing was there to be lost: the folder is free for a start.
        run(until(5, &folder), 0);
        assert_eq!(hash_in(&folder), hash_of(5));
    }
}

#[test]
fn two_signals_in_a_run_lose_nothing_but_work_since_the_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    for round in 0..10 {
        let child = start(&mut endless(&folder));
        std::thread::sleep(Duration::from_millis(60 + 5 * round));
        signal(&child, libc::SIGTERM);
        signal(&child, libc::SIGINT);
        let ended = ended(child);
        // A signal that comes before the program is ready for it ends it as it ends any program.
        assert!(!ended.status.success() && !ended.stderr.contains("panicked"), "{}\n{}", ended.status, ended.stderr);
    }
    let last = if folder.join("checkpoint").exists() { saved_generation(&folder) + 3 } else { 3 };
    run(until(last, &folder), 0);
    assert_eq!(hash_in(&folder), hash_of(last));
}

#[test]
fn signal_while_the_last_files_are_written_loses_none_of_them() {
    let (want, _) = undisturbed(CPPN);
    let scratch = tempfile::tempdir().unwrap();
    let mut ends = [0, 0];
    for signals in [1, 2] {
        for (round, (number, code)) in SIGNALS.into_iter().cycle().take(6).enumerate() {
            let folder = scratch.path().join(format!("{signals} {round}"));
            let child = start(&mut evolve(CPPN, &folder));
            wait_until("the archive", || folder.join("archive.safetensors").exists());
            signal(&child, number);
            if signals == 2 {
                std::thread::sleep(Duration::from_millis(2));
                signal(&child, number);
            }
            let ended = ended(child);
            let finished = ended.status.success();
            ends[usize::from(finished)] += 1;
            assert!(
                finished || signals == 2 && ended.status.code() == Some(code),
                "{}\n{}",
                ended.status,
                ended.stderr
            );
            if !finished {
                assert!(!folder.join("run.json").exists());
                run(evolve(CPPN, &folder), 0);
            }
            want.assert_same(&Left::of(&folder), &format!("{signals} signals, round {round}"));
        }
    }
    assert!(ends.iter().all(|&n| n > 0), "stopped {}, finished {}: both ends are to be tried", ends[0], ends[1]);
}

#[test]
fn streams_that_are_closed_full_or_unread_do_not_stop_a_run() {
    let (want, _) = undisturbed(CPPN);
    let scratch = tempfile::tempdir().unwrap();
    let folder = |case: &str| scratch.path().join(case.replace(|c: char| !c.is_alphanumeric(), "-"));

    // Closed, as a shell does it.
    for closed in ["2>&-", ">&-", "<&- >&- 2>&-"] {
        for told in ["--progress=plain", "--json", "--verbose"] {
            let case = format!("{closed} {told}");
            let mut job = evolve(CPPN, &folder(&case));
            job.arg(told);
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$@\" {closed}"), "sh"]).arg(job.get_program()).args(job.get_args());
            assert_eq!(ended(start(&mut shell)).status.code(), Some(0), "{case}");
            want.assert_same(&Left::of(&folder(&case)), &case);
        }
    }

    // A pipe whose reader has gone, and a full disk.
    let unread = || Stdio::from(std::io::pipe().unwrap().1);
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for (name, stderr) in [("unread stderr", &unread as &dyn Fn() -> Stdio), ("full stderr", &full)] {
        for told in ["--progress=plain", "--verbose"] {
            let case = format!("{name} {told}");
            let mut job = evolve(CPPN, &folder(&case));
            let child = job.arg(told).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr()).spawn().unwrap();
            assert_eq!(ended(Process(child)).status.code(), Some(0), "{case}");
            want.assert_same(&Left::of(&folder(&case)), &case);
        }
    }
    let mut job = evolve(CPPN, &folder("unread stdout"));
    let child = job.stdin(Stdio::null()).stdout(unread()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(Process(child)).status.code(), Some(0), "as of `| head`");
    want.assert_same(&Left::of(&folder("unread stdout")), "unread stdout");

    // A summary that cannot be written is a failure, but the run is finished.
    let mut job = evolve(CPPN, &folder("full stdout"));
    let child = job.stdin(Stdio::null()).stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(failure(&ended(Process(child))).starts_with("standard output: cannot write: No space left"));
    want.assert_same(&Left::of(&folder("full stdout")), "full stdout");
}
