//! Disks that are full or read-only, and files that may not grow: a clear line, nothing lost, and with room again the
//! same run.

use crate::left_out::left_out;
use crate::{
    CPPN, Job, Left, PATIENCE, ended, ended_within, evolve, fails, failure, resume, run, saved_generation, start,
    undisturbed,
};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Names the environment variable that says that this process has mounts of its own.
const INSIDE: &str = "PAREIDOLIA_FAULTS_INSIDE";

/// Runs `test` where it may mount: in a process of its own with a mount namespace of its own, whose mounts go when it
/// ends. Where the system allows none, says so.
fn with_mounts(test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let scratch = tempfile::tempdir().unwrap();
    let probe = |options: &[&str]| {
        let mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "none"];
        let mut probe = Command::new("unshare");
        probe.args(options).args(mount).arg(scratch.path()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    // As root, or else as the root of a user namespace.
    let Some(options) = [&["--mount"][..], &["--mount", "--map-root-user"]].into_iter().find(|options| probe(options))
    else {
        return left_out("no mount namespace to be had (unshare --mount --map-root-user)");
    };
    let thread = std::thread::current();
    let mut command = Command::new("unshare");
    command.args(options).arg(std::env::current_exe().unwrap());
    command.args(["--exact", thread.name().unwrap(), "--nocapture"]).env(INSIDE, "1");
    let ended = ended_within(5 * PATIENCE, start(&mut command)); // a whole test
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}{}", ended.stdout, ended.stderr);
    print!("{}", ended.stdout);
}

#[track_caller]
fn mount(arguments: &[&str], at: &Path) {
    let ended = ended(start(Command::new("mount").args(arguments).arg(at)));
    assert!(ended.status.success(), "mount {arguments:?}: {}", ended.stderr);
}

/// A run whose files all differ in size, and whose `metrics.jsonl` comes to be the largest but for the pictures'.
const JOB: Job = &[
    "mnist-cppn",
    "--classes",
    "2,7",
    "--batch",
    "20",
    "--generations",
    "60",
    "--set",
    "checkpoint_every=8",
    "--threads",
    "2",
];

/// What a line must hold that says which file could not be written, and why.
#[track_caller]
fn names_a_file(line: &str, folder: &Path, reasons: &[&str]) {
    let folder = folder.to_str().unwrap();
    assert!(line.starts_with(folder) && line.contains(": cannot "), "{line}");
    assert!(reasons.iter().any(|reason| line.contains(reason)), "{line:?} lacks {reasons:?}");
}

#[test]
fn full_disk_is_told_and_with_room_the_run_goes_on_to_the_same_files() {
    with_mounts(|| {
        let (want, _) = undisturbed(JOB);
        let scratch = tempfile::tempdir().unwrap();
        let (disk, folder) = (scratch.path(), scratch.path().join("run"));
        // Full from the start to hardly full, first in steps of a page; then of files instead of bytes.
        let sizes = (4..56).step_by(4).chain((56..232).step_by(16));
        let mut limits: Vec<String> = sizes.map(|size| format!("size={size}k")).collect();
        limits.extend((2..12).map(|files| format!("nr_inodes={files}")));
        let (mut failed, mut stages) = (0, [0; 3]);
        for limit in limits {
            mount(&["-t", "tmpfs", "-o", &limit, "none"], disk);
            let ended = ended(start(&mut evolve(JOB, &folder)));
            if ended.status.code() != Some(0) {
                failed += 1;
                names_a_file(failure(&ended), disk, &["No space left on device"]);
                assert!(!folder.join("run.json").exists());
                if folder.join("checkpoint").exists() {
                    let generation = saved_generation(&folder);
                    stages[if generation < 60 { 1 } else { 2 }] += 1;
                    // Full still: told again, nothing lost.
                    fails(resume(&folder, &[]), &["cannot "]);
                    assert_eq!(saved_generation(&folder), generation, "{limit}");
                } else {
                    stages[0] += 1;
                }
                mount(&["-o", "remount,size=64m,nr_inodes=0", "none"], disk);
                run(evolve(JOB, &folder), 0);
            }
            want.assert_same(&Left::of(&folder), &limit);
            let unmounted = ended_ok(Command::new("umount").arg(disk));
            assert!(unmounted, "umount");
        }
        println!(
            "{failed} limits failed: {} at the creation, {} evolving, {} at the end",
            stages[0], stages[1], stages[2]
        );
        assert!(stages.iter().all(|&n| n > 0), "the limits do not cover the run: {stages:?}");
    });
}

fn ended_ok(command: &mut Command) -> bool {
    ended(start(command)).status.success()
}

/// `command` with files of at most `bytes`.
fn limited(mut command: Command, bytes: u64) -> Command {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: setrlimit may be called between fork and exec, and allocates nothing.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

#[test]
fn file_that_may_not_grow_is_told_and_without_the_limit_the_run_goes_on_to_the_same_files() {
    let (want, _) = undisturbed(JOB);
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    run(evolve(JOB, &whole), 0);
    // Just too small for each file that a run leaves, and for the beginning of each.
    let mut limits = vec![0, 1, 100];
    for name in
        ["checkpoint", "metrics.jsonl", "archive.safetensors", "contact_sheet.png", "convergence.png", "run.json"]
    {
        let size = fs::metadata(whole.join(name)).unwrap().len();
        limits.extend([size / 2, size - 1]);
    }
    let mut named = Vec::new();
    for (number, limit) in limits.into_iter().enumerate() {
        let folder = scratch.path().join(number.to_string());
        let ended = ended(start(&mut limited(evolve(JOB, &folder), limit)));
        if ended.status.code() != Some(0) {
            let line = failure(&ended);
            names_a_file(line, &folder, &["File too large"]);
            let file = line.strip_prefix(folder.to_str().unwrap()).unwrap().split(':').next().unwrap().to_owned();
            named.push(file);
            assert!(!folder.join("run.json").exists());
            if folder.join("checkpoint").exists() {
                saved_generation(&folder);
            }
        }
        run(evolve(JOB, &folder), 0);
        want.assert_same(&Left::of(&folder), &format!("limit {limit}"));
    }
    named.sort();
    named.dedup();
    for file in ["/checkpoint", "/metrics.jsonl", "/contact_sheet.png", "/convergence.png"] {
        assert!(named.iter().any(|name| name == file), "{file} is not among the files that could not grow: {named:?}");
    }
}

#[test]
fn folder_that_is_mounted_read_only_is_told_and_left_alone() {
    with_mounts(|| {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        run(evolve(JOB, &folder), 0);
        let before = Left::of(&folder);
        let folder_text = folder.to_str().unwrap();
        mount(&["--bind", folder_text], &folder);
        mount(&["-o", "remount,bind,ro", "none"], &folder);
        for command in [evolve(JOB, &folder), resume(&folder, &["--generations", "50"])] {
            fails(command, &[folder_text, "Read-only file system"]);
        }
        fails(evolve(JOB, &folder.join("below")), &["below", "Read-only file system"]);
        before.assert_same(&Left::of(&folder), "read-only");
        assert!(ended_ok(Command::new("umount").arg(&folder)));

        // During the run.
        let folder = scratch.path().join("endless");
        let folder_text = folder.to_str().unwrap();
        let child = crate::start_endless(&folder);
        // In two steps, in the second of which nothing can be open for writing: files are opened by name again only for
        // a checkpoint, and then in the new mount.
        mount(&["--bind", "-o", "ro", folder_text], &folder);
        let ended = ended(child);
        names_a_file(failure(&ended), &folder, &["Read-only file system"]);
        let generation = saved_generation(&folder);
        assert!(ended_ok(Command::new("umount").arg(&folder)));
        let until = (generation + 5).to_string();
        run(resume(&folder, &["--no-pictures", "--generations", &until]), 0);
        assert_eq!(crate::hash_in(&folder), crate::hash_of(generation + 5));
    });
}

#[test]
fn folder_that_may_not_be_written_is_told_and_left_alone() {
    // SAFETY: geteuid cannot fail and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        // Without root the rights of the folder alone do it.
        return without_rights(|command| command);
    }
    // Root passes over rights: the program runs as nobody, from where nobody may run it.
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("pareidolia");
    fs::copy(env!("CARGO_BIN_EXE_pareidolia"), &program).unwrap();
    fs::set_permissions(scratch.path(), rights(0o755)).unwrap();
    without_rights(|command| {
        let mut nobodys = Command::new(&program);
        nobodys.args(command.get_args()).uid(65_534).gid(65_534);
        nobodys
    });
}

fn rights(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

fn without_rights(as_user: impl Fn(Command) -> Command) {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), rights(0o755)).unwrap();
    let folder = scratch.path().join("run");
    run(evolve(CPPN, &folder), 0);
    let before = Left::of(&folder);
    fs::set_permissions(&folder, rights(0o555)).unwrap();
    fs::set_permissions(folder.join("lock"), rights(0o444)).unwrap();
    for command in [evolve(CPPN, &folder), resume(&folder, &["--generations", "50"])] {
        fails(as_user(command), &[folder.to_str().unwrap(), "Permission denied"]);
    }
    fails(as_user(evolve(CPPN, &folder.join("below"))), &["below", "Permission denied"]);
    // The lock may be taken, but the rest may not be written.
    fs::set_permissions(folder.join("lock"), rights(0o666)).unwrap();
    fails(as_user(resume(&folder, &["--generations", "50"])), &[folder.to_str().unwrap(), "Permission denied"]);
    before.assert_same(&Left::of(&folder), "without rights");
    fs::set_permissions(&folder, rights(0o755)).unwrap();
}
