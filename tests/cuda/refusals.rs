//! What is said where there is no GPU to be had, or where it fails: one line each.

use crate::harness;
use crate::program::{pareidolia, run};
use std::process::Command;
use tempfile::TempDir;

const EVOLVE: [&str; 6] = ["evolve", "--batch", "20", "--generations", "3", "--no-pictures"];

/// A driver with these settings, each with the words of a refusal.
const DRIVERS: [(&str, &str, &str); 4] = [
    ("DEVICES", "0", "no GPU"),
    ("DRIVER_VERSION", "11080", "the NVIDIA driver is too old: it is of CUDA 11.8; wanted release "),
    ("NO_IMAGE", "1", "kernels"),
    ("COMPUTE_CAPABILITY", "7.5", "kernels"),
];

/// `evolve` on `device` under a driver whose setting `name` is `value`; `None` where there is no such driver.
fn evolve(folder: &TempDir, device: &str, (name, value): (&str, &str), more: &[&str]) -> Option<Command> {
    if harness::is_real() {
        return None;
    }
    let mut command = pareidolia(folder, &[&EVOLVE[..], &["--device", device], more].concat())?;
    command.env(format!("PAREIDOLIA_EMULATOR_{name}"), value);
    Some(command)
}

/// The one line of an error.
#[track_caller]
fn error_line(stderr: &str) -> &str {
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && !stderr.contains("panicked"), "{stderr}");
    errors[0]
}

#[test]
fn gpu_that_cannot_be_used_is_refused_where_it_was_asked_for_and_warned_of_elsewhere() {
    for (name, value, words) in DRIVERS {
        let folder = tempfile::tempdir().unwrap();
        let Some(command) = evolve(&folder, "cuda:0", (name, value), &[]) else { return };
        let (stdout, stderr) = run(command, 1);
        let line = error_line(&stderr);
        assert!(line.starts_with("error: --device cuda:0: ") && line.contains(words), "{name}: {line}");
        assert!(
            stdout.is_empty() && folder.path().read_dir().unwrap().next().is_none(),
            "{name}: something was left behind"
        );

        let (_, stderr) = run(evolve(&folder, "auto", (name, value), &["--out", "run"]).unwrap(), 0);
        let manifest = std::fs::read_to_string(folder.path().join("run/run.json")).unwrap();
        assert!(
            manifest.contains("\"device\": \"cpu\"") && manifest.contains("\"device_reason\": \"--device auto: "),
            "{manifest}"
        );
        assert!(stderr.contains(words), "{name}: {stderr}");
        // A GPU that is there, and good for nothing, is worth a warning.
        assert_eq!(stderr.contains("WARN"), name == "NO_IMAGE" || name == "COMPUTE_CAPABILITY", "{name}: {stderr}");
    }
}

#[test]
fn gpu_without_a_driver_or_of_a_number_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(command) = evolve(&folder, "cuda:2", ("DEVICES", "2"), &[]) else { return };
    let (_, stderr) = run(command, 1);
    assert!(error_line(&stderr).contains("--device cuda:2: there are 2 GPUs, numbered from 0"), "{stderr}");
    run(evolve(&folder, "cuda:1", ("DEVICES", "2"), &["--out", "run"]).unwrap(), 0);
}

#[test]
fn chunk_that_does_not_fit_is_refused_with_the_largest_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let memory = ("MEMORY", "16777216");
    let large = ["--batch", "20000", "--generations", "1"];
    let Some(command) = evolve(&folder, "cuda:0", memory, &[&large[..], &["--chunk", "20000"]].concat()) else {
        return;
    };
    let (_, stderr) = run(command, 1);
    let line = error_line(&stderr);
    let (_, rest) = line.split_once("use --chunk ").unwrap_or_else(|| panic!("{line}"));
    assert!(line.contains("of the GPU's memory"), "{line}");
    let chunk = rest.split_whitespace().next().unwrap();
    run(evolve(&folder, "cuda:0", memory, &["--chunk", chunk, "--out", "run"]).unwrap(), 0);
    // Left to itself, it takes a chunk that fits.
    run(
        evolve(&folder, "cuda:0", memory, &[&large[..2], &["--generations", "0", "--out", "other"]].concat()).unwrap(),
        0,
    );

    let (_, stderr) = run(evolve(&folder, "cuda:0", ("MEMORY", "65536"), &[]).unwrap(), 1);
    let line = error_line(&stderr);
    assert!(line.contains("even a chunk of 2 candidates") && line.contains("of the GPU's memory"), "{line}");
}

#[test]
fn gpu_that_fails_in_mid_run_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["--set", "checkpoint_every=5", "--generations", "40", "--out", "run"];
    let Some(command) = evolve(&folder, "cuda:0", ("LOST_AFTER", "100"), &short) else { return };
    let (stdout, stderr) = run(command, 1);
    let line = error_line(&stderr);
    assert!(stdout.is_empty() && line.contains("on the GPU: "), "{line}");
    let (_, resume) = line.split_once("continue with: pareidolia ").unwrap_or_else(|| panic!("{line}"));
    let resume: Vec<&str> = resume.split_whitespace().collect();
    run(pareidolia(&folder, &[&resume[..], &["--device", "cpu"]].concat()).unwrap(), 0);

    let whole = [&EVOLVE[..5], &["40", "--no-pictures", "--device", "cpu", "--out", "whole"]].concat();
    run(pareidolia(&folder, &whole).unwrap(), 0);
    let hash = |run: &str| {
        let text = std::fs::read_to_string(folder.path().join(run).join("run.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["archive_hash"].clone()
    };
    assert_eq!(hash("run"), hash("whole"));

    // Before the first checkpoint there is nothing to go on from.
    let (_, stderr) = run(evolve(&folder, "cuda:0", ("LOST_AFTER", "1"), &["--out", "early"]).unwrap(), 1);
    assert!(!error_line(&stderr).contains("continue with"), "{stderr}");
}
