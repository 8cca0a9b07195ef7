//! Trainings that are stopped: by SIGKILL at any moment, by signals, by numbers that are none; and what may not change meanwhile.

use crate::pareidolia;
use crate::sets;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const JOB: [&str; 16] = [
    "train",
    "small.toml",
    "--data",
    "set",
    "--val",
    "val",
    "--iterations",
    "300",
    "--batch",
    "8",
    "--log-every",
    "5",
    "--val-every",
    "50",
    "--checkpoint-every",
    "7",
];

fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    sets::write(&scratch.path().join("set"), &["blue", "green", "red"], 12, 1);
    sets::write(&scratch.path().join("val"), &["blue", "green", "red"], 4, 500);
    scratch
}

fn start(root: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(args).current_dir(root).env_remove("PAREIDOLIA_DATA");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

/// What a training leaves that must not depend on how often it was stopped: weights, and the metrics but for the time they tell of.
fn left(root: &Path, run: &str) -> (Vec<u8>, Vec<serde_json::Value>) {
    let metrics = fs::read_to_string(root.join(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("images_per_second").unwrap();
        line
    };
    (fs::read(root.join(run).join("weights.safetensors")).unwrap(), metrics.lines().map(line).collect())
}

#[track_caller]
fn undisturbed(root: &Path) -> (Vec<u8>, Vec<serde_json::Value>) {
    let output = pareidolia(&[&JOB[..], &["--run", "undisturbed"]].concat(), root);
    assert!(output.status.success(), "{output:?}");
    left(root, "undisturbed")
}

#[test]
fn killed_at_any_time_and_resumed_it_comes_to_the_same_weights() {
    let scratch = scratch();
    let root = scratch.path();
    let begun = Instant::now();
    let want = undisturbed(root);
    let duration = begun.elapsed();
    let mut kills = 0;
    for round in 0..6 {
        let run = format!("run{round}");
        for attempt in 0.. {
            let is_begun = root.join(&run).join("checkpoint").exists();
            let resume = if attempt % 2 == 0 { root.join(&run) } else { root.join(&run).join("checkpoint") };
            let mut child = if is_begun && attempt % 3 != 2 {
                start(root, &["train", "--resume", resume.to_str().unwrap()])
            } else {
                start(root, &[&JOB[..], &["--resume-or-start", "--run", &run]].concat())
            };
            // Later and later, so that it ends; each round at other times.
            std::thread::sleep(duration * (3 * attempt + round + 2) / 13);
            child.kill().unwrap();
            let output = ended(child);
            match output.status.signal() {
                Some(libc::SIGKILL) => kills += 1,
                _ => {
                    assert!(output.status.success(), "{output:?}");
                    break;
                }
            }
            assert!(attempt < 50, "it does not end");
        }
        assert!(left(root, &run) == want, "round {round}: other weights or metrics");
        assert!(root.join(&run).join("run.json").exists());
    }
    assert!(kills >= 6, "only {kills} were killed");
}

#[test]
fn signals_stop_it_with_a_checkpoint() {
    let scratch = scratch();
    let root = scratch.path();
    let want = undisturbed(root);
    let forever = [&JOB[..6], &["--iterations", "100000000"], &JOB[8..]].concat();
    for (signal, code, run) in [(libc::SIGINT, 130, "int"), (libc::SIGTERM, 143, "term")] {
        let child = start(root, &[&forever[..], &["--run", run]].concat());
        let begun = Instant::now();
        while !fs::read_to_string(root.join(run).join("metrics.jsonl")).is_ok_and(|lines| lines.lines().count() > 3) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        // SAFETY: it is our child and has not been waited for, so that the number is still its.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
        let output = ended(child);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(&format!("continue with: pareidolia train --resume {run}")), "{stderr}");
        assert!(root.join(run).join("loss.png").exists() && !root.join(run).join("run.json").exists());
    }
    // Stopped early, and made longer or shorter, it is the training that has that length.
    let child = start(root, &[&JOB[..], &["--run", "run"]].concat());
    std::thread::sleep(Duration::from_millis(60));
    // SAFETY: as above.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    ended(child);
    let output = pareidolia(&[&JOB[..], &["--run", "run", "--resume-or-start"]].concat(), root);
    assert!(output.status.success(), "{output:?}");
    assert!(left(root, "run") == want);
}

#[test]
fn a_finished_training_can_be_made_longer() {
    let scratch = scratch();
    let root = scratch.path();
    let want = undisturbed(root);
    let short = [&JOB[..6], &["--iterations", "150"], &JOB[8..]].concat();
    assert!(pareidolia(&[&short[..], &["--run", "run"]].concat(), root).status.success());
    assert!(left(root, "run").0 != want.0);
    let output = pareidolia(&["train", "--resume", "run", "--iterations", "300", "--out", "w"], root);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the last 150 now in") && text.ends_with("run\nw\n"), "{text}");
    assert!(
        left(root, "run") == want,
        "the metrics of 150 iterations end as those of 300 go on: both try the network there"
    );
    assert!(fs::read(root.join("w")).unwrap() == want.0, "--out has the same bytes");
    // Finished, there is nothing to do, and nothing changes.
    let output = pareidolia(&["train", "--resume", "run"], root);
    assert!(output.status.success(), "{output:?}");
    assert!(left(root, "run") == want);
}

#[test]
fn another_training_is_not_gone_on_with() {
    let scratch = scratch();
    let root = scratch.path();
    undisturbed(root);
    sets::write(&root.join("other"), &["blue", "green", "red"], 11, 1);
    fs::write(root.join("other.toml"), sets::SMALL.replace("outputs = 8", "outputs = 9")).unwrap();
    fs::write(root.join("names"), "red\nblue\ngreen\n").unwrap();
    for (change, words) in [
        (&["--batch", "9"][..], &["batch is 8 there and 9 here"][..]),
        (&["--rate", "0.02"], &["base rate is 0.01 there and 0.02 here"]),
        (&["--momentum", "0"], &["momentum is 0.9 there and 0.0 here"]),
        (&["--seed", "2"], &["seed is 1 there and 2 here"]),
        (&["--schedule", "step"], &["schedule is \"inverse\" there and \"step\" here"]),
        (&["--dropout", "0.1"], &["dropout is 0.0 there and 0.1 here"]),
        (&["--mirror", "false"], &["mirror is true there and false here"]),
        (&["--iterations", "299"], &["--iterations 299", "300 are done"]),
        (&["--data", "other"], &["what it is trained on is 36 images, SHA-256 ", "there and 33 images, SHA-256 "]),
        (&["--val", "set"], &["what it is tried on is 12 images", "there and 36 images"]),
        (&["other.toml"], &["the layer list is SHA-256 "]),
        (&["lenet"], &["the network is small.toml there and lenet here"]),
        (&["--class-names", "names"], &["what it is trained on"]),
        (&["--broken", "skip"], &["broken files is refuse there and skip here"]),
    ] {
        let output = pareidolia(&[&["train", "--resume", "undisturbed"], change].concat(), root);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{change:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{change:?}: no {word:?} in: {stderr}");
        }
    }
    // The same images elsewhere are the same images.
    fs::rename(root.join("set"), root.join("moved")).unwrap();
    let output = pareidolia(&["train", "--resume", "undisturbed", "--data", "moved"], root);
    assert!(output.status.success(), "{output:?}");
    for (folder, words) in [("val", "holds no checkpoint"), ("nowhere", "holds no checkpoint")] {
        let output = pareidolia(&["train", "--resume", folder], root);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
    }
    // A single bit of a checkpoint.
    let path = root.join("undisturbed/checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, bytes).unwrap();
    let output = pareidolia(&["train", "--resume", "undisturbed"], root);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this checkpoint is damaged"), "{output:?}");
}

#[test]
fn a_training_that_diverges_names_the_iteration_and_the_last_good_checkpoint() {
    let scratch = scratch();
    let root = scratch.path();
    // The decay alone makes a weight -9 times as large with each iteration.
    let numbers = ["--checkpoint-every", "2", "--rate", "10", "--decay", "1", "--momentum", "0"];
    let output = pareidolia(&[&JOB[..14], &["--run", "run"], &numbers].concat(), root);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the training diverged: "), "{stderr}");
    assert!(stderr.contains("the last good checkpoint, of ") && stderr.contains("stays in run"), "{stderr}");
    let saved: u32 =
        stderr.split("the last good checkpoint, of ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let iteration: u32 = stderr.split(" iteration ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(saved > 0 && saved <= iteration && iteration < saved + 2, "{stderr}");
    assert!(!root.join("run/run.json").exists() && !root.join("run/weights.safetensors").exists());
    // It is there, and it diverges again.
    let output = pareidolia(&["train", "--resume", "run"], root);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(&format!("going on after iteration {saved} of 300")),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1));
}
