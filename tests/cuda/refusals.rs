//! What is said where there is no GPU to be had, or where it fails: one line each.

use crate::harness;
use crate::program::{manifest, pareidolia, run};
use std::process::Command;
use tempfile::TempDir;

const SHORT: [&str; 5] = ["--no-pictures", "--batch", "20", "--generations", "3"];

/// A driver with these settings, each with the words of a refusal.
const DRIVERS: [(&str, &str, &str); 3] = [
    ("DEVICES", "0", "no GPU"),
    ("DRIVER_VERSION", "11080", "the NVIDIA driver is too old: it is of CUDA 11.8; wanted release "),
    ("NO_IMAGE", "1", "kernels"),
];

/// `evolve` with `args` on `device` under a driver whose setting `name` is `value`; `None` where there is no such driver.
fn evolve(folder: &TempDir, device: &str, (name, value): (&str, &str), args: &[&[&str]]) -> Option<Command> {
    if harness::is_real() {
        return None;
    }
    let mut command = pareidolia(folder, &[&["evolve", "--device", device], &args.concat()[..]].concat())?;
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
        let Some(command) = evolve(&folder, "cuda:0", (name, value), &[&SHORT]) else { return };
        let (stdout, stderr) = run(command, 1);
        let line = error_line(&stderr);
        assert!(line.starts_with("error: --device cuda:0: ") && line.contains(words), "{name}: {line}");
        assert!(stdout.is_empty() && folder.path().read_dir().unwrap().next().is_none(), "{name}: {stdout}");

        let (_, stderr) = run(evolve(&folder, "auto", (name, value), &[&SHORT, &["--out", "run"]]).unwrap(), 0);
        let manifest = manifest(&folder.path().join("run"));
        assert_eq!(manifest["device"], "cpu");
        assert!(manifest["device_reason"].as_str().unwrap().starts_with("--device auto: "), "{manifest}");
        assert!(stderr.contains(words), "{name}: {stderr}");
        // A GPU that is there, and good for nothing, is worth a warning.
        assert_eq!(stderr.contains("WARN"), name == "NO_IMAGE", "{name}: {stderr}");

        let mut info = pareidolia(&folder, &["info"]).unwrap();
        info.env(format!("PAREIDOLIA_EMULATOR_{name}"), value);
        let text = run(info, 0).0;
        assert_eq!(
            text.contains(&format!("none: {words}")) || text.contains("none: an NVIDIA"),
            name != "NO_IMAGE",
            "{text}"
        );
    }
}

#[test]
fn gpu_of_a_number_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let two = ("DEVICES", "2");
    let Some(command) = evolve(&folder, "cuda:2", two, &[&SHORT]) else { return };
    let (_, stderr) = run(command, 1);
    assert!(error_line(&stderr).contains("--device cuda:2: there are 2 GPUs, numbered from 0"), "{stderr}");
    run(evolve(&folder, "cuda:1", two, &[&SHORT, &["--out", "run"]]).unwrap(), 0);
    assert!(manifest(&folder.path().join("run"))["device"].as_str().unwrap().starts_with("cuda:1, "));
}

#[test]
fn chunk_that_does_not_fit_is_refused_with_the_largest_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let memory = ("MEMORY", "16777216");
    let one = ["--no-pictures", "--generations", "0"];
    let large = ["--batch", "20000", "--chunk", "20000"];
    let Some(command) = evolve(&folder, "cuda:0", memory, &[&one, &large]) else { return };
    let (_, stderr) = run(command, 1);
    let line = error_line(&stderr);
    let (_, rest) = line.split_once("use --chunk ").unwrap_or_else(|| panic!("{line}"));
    assert!(line.contains("of the GPU's memory"), "{line}");
    let chunk = rest.split_whitespace().next().unwrap();
    assert!((100..3000).contains(&chunk.parse::<u32>().unwrap()), "{line}");
    let batch = ["--batch", "3000"];
    run(evolve(&folder, "cuda:0", memory, &[&one, &batch, &["--chunk", chunk, "--out", "run"]]).unwrap(), 0);
    // Left to itself, it takes a chunk that fits.
    run(evolve(&folder, "cuda:0", memory, &[&one, &batch, &["--out", "other"]]).unwrap(), 0);

    let (_, stderr) = run(evolve(&folder, "cuda:0", ("MEMORY", "65536"), &[&SHORT]).unwrap(), 1);
    let line = error_line(&stderr);
    assert!(line.contains("even a chunk of 2 candidates") && line.contains("of the GPU's memory"), "{line}");
}

#[test]
fn gpu_that_fails_in_mid_run_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run_of =
        |out| ["--no-pictures", "--batch", "20", "--set", "checkpoint_every=5", "--generations", "30", "--out", out];
    let Some(command) = evolve(&folder, "cuda:0", ("LOST_AFTER", "100"), &[&run_of("lost")]) else { return };
    let (stdout, stderr) = run(command, 1);
    let line = error_line(&stderr);
    assert!(stdout.is_empty() && line.contains("on the GPU: "), "{line}");
    let (_, resume) = line.split_once("continue with: pareidolia ").unwrap_or_else(|| panic!("{line}"));
    let resume: Vec<&str> = resume.split_whitespace().collect();
    run(pareidolia(&folder, &[&resume[..], &["--device", "cpu"]].concat()).unwrap(), 0);

    run(pareidolia(&folder, &[&["evolve", "--device", "cpu"], &run_of("whole")[..]].concat()).unwrap(), 0);
    let [lost, whole] = ["lost", "whole"].map(|run| manifest(&folder.path().join(run)));
    assert_eq!((&lost["archive_hash"], &lost["generation"]), (&whole["archive_hash"], &whole["generation"]));

    // Before the first checkpoint there is nothing to go on from.
    let (_, stderr) = run(evolve(&folder, "cuda:0", ("LOST_AFTER", "1"), &[&run_of("early")]).unwrap(), 1);
    assert!(!error_line(&stderr).contains("continue with"), "{stderr}");
}
