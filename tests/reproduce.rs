//! `reproduce`: what it leaves, that it goes on where it was, and what it refuses.

#[path = "common/digits.rs"]
mod digits;

use digits::digits;
use pareidolia::experiment::device::Asked;
use pareidolia::experiment::progress::ProgressMode;
use pareidolia::experiment::reproduce::{Protocol, Report, ReproduceRequest, run};
use pareidolia::experiment::train::Place;
use pareidolia::output::reproduce::Record;
use pareidolia::simd::Simd;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Everything once, in seconds.
const TINY: Protocol = Protocol {
    seed: 3,
    runs: 2,
    generations: 3,
    ascent_seeds: 1,
    rounds: 2,
    retrain_runs_first: 3,
    retrain_runs: 2,
    retrain_generations: 2,
    images_first: 20,
    images: 10,
    iterations: 20,
};

fn request(place: Place, protocol: Option<Protocol>, data: &Path, threads: usize) -> ReproduceRequest {
    ReproduceRequest {
        place,
        protocol,
        data: Some(data.to_path_buf()),
        device: Asked::Cpu,
        simd: Simd::detect(),
        threads,
        progress: ProgressMode::None,
    }
}

/// The parts that decide, as they are on the disk.
fn report(folder: &Path) -> Report {
    let report: Report = serde_json::from_slice(&fs::read(folder.join("claims.json")).unwrap()).unwrap();
    bare(&report)
}

/// Without what is of the machine and of the call.
fn bare(report: &Report) -> Report {
    Report { machine: String::new(), seconds: 0.0, ..report.clone() }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

#[test]
fn reproduction_has_all_parts_and_one_that_lost_some_makes_them_again_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (data, whole, part) = (root.path().join("digits"), root.path().join("whole"), root.path().join("part"));
    digits(&data);
    let (made, folder) = run(&request(Place::Create(whole.clone()), Some(TINY), &data, 2)).unwrap();
    assert_eq!(folder, whole);
    assert_eq!(bare(&made), report(&whole));
    assert!(made.machine.starts_with("cpu") && made.machine.contains(", 2 threads, "), "{}", made.machine);
    assert!(made.to_markdown().contains(&format!("arithmetic version 1, on {}", made.machine)));
    let names: Vec<&str> = made.claims.iter().map(|claim| claim.name.as_str()).collect();
    for name in
        ["direct-50", "cppn-200", "ascent", "transfer-equal", "transfer-digits", "retrain-immunity", "retrain-share"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    // 20 of 620 images, where a network has been trained with these alone.
    let share = made.claims.iter().find(|claim| claim.name == "retrain-share").unwrap();
    assert!(share.met && share.ours == "3.23 % and 3.23 %", "{share:?}");
    let markdown = fs::read_to_string(whole.join("claims.md")).unwrap();
    assert_eq!(markdown, made.to_markdown());
    for network in ["lenet-mnist", "lenet-mnist-2", "mnist-3x3"] {
        for method in ["cppn", "direct"] {
            assert!(whole.join(format!("evolve-{method}-{network}/seed4/archive.safetensors")).is_file(), "{network}");
        }
    }
    let matrix = fs::read_to_string(whole.join("transfer/matrix.json")).unwrap();
    let matrix: serde_json::Value = serde_json::from_str(&matrix).unwrap();
    // Two encodings against three networks, and the ascents against one.
    assert_eq!(matrix["rows"].as_array().unwrap().len(), 7);

    // What a killed process may leave.
    copy(&whole, &part);
    for name in ["ascend-blur", "transfer", "retrain/dnn-02"] {
        fs::remove_dir_all(part.join(name)).unwrap();
    }
    for name in ["claims.json", "claims.md", "retrain/run.json", "evolve-direct-mnist-3x3/summary.json"] {
        fs::remove_file(part.join(name)).unwrap();
    }
    copy(&whole.join("ascend-plain"), &part.join(".partial-ascend-blur"));
    run(&request(Place::Resume(part.clone()), None, &data, 1)).unwrap();
    assert_eq!(report(&part), report(&whole));
    assert!(!part.join(".partial-ascend-blur").exists());

    // Another protocol, other digits, a record that is none.
    let other = Protocol { iterations: 30, ..TINY };
    let refused = run(&request(Place::ResumeOrStart(part.clone()), Some(other), &data, 1)).unwrap_err().to_string();
    assert!(refused.contains("iterations is 20 there and 30 here"), "{refused}");
    let record: Record = serde_json::from_slice(&fs::read(part.join("reproduce.json")).unwrap()).unwrap();
    let mut labels = fs::read(data.join("t10k-labels-idx1-ubyte")).unwrap();
    labels[8] = (labels[8] + 1) % 10;
    fs::write(data.join("t10k-labels-idx1-ubyte"), labels).unwrap();
    let refused = run(&request(Place::Resume(part.clone()), None, &data, 1)).unwrap_err().to_string();
    assert!(refused.contains("test digits") && refused.contains(&record.tried_on.sha256), "{refused}");
    fs::write(part.join("reproduce.json"), "{}").unwrap();
    let refused = run(&request(Place::Resume(part.clone()), None, &data, 1)).unwrap_err().to_string();
    assert!(refused.contains("reproduce.json: ") && refused.contains("not the record of a reproduction"), "{refused}");
}

/// The call must fail with `code` and say all `words`.
#[track_caller]
fn refused(root: &Path, args: &[&str], code: i32, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(args).current_dir(root).env_remove("PAREIDOLIA_DATA").stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stdout.is_empty(), "{args:?}");
    assert!(words.iter().all(|word| stderr.contains(word)), "{args:?}: {stderr}");
}

#[test]
fn wrong_calls_are_refused_before_anything_is_made() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    refused(root, &["reproduce", "mnist", "--smoke"], 2, &["where is MNIST? --data", "ossci-datasets"]);
    refused(root, &["reproduce", "mnist", "--data", "none"], 1, &["train-images-idx3-ubyte", "ossci-datasets"]);
    refused(root, &["reproduce", "mnist", "--runs", "1"], 2, &["--runs", "2..=4096"]);
    refused(root, &["reproduce", "imagenet"], 2, &["imagenet", "mnist"]);
    refused(root, &["reproduce", "mnist", "--resume", "none"], 1, &["holds no reproduce.json"]);
    refused(root, &["reproduce", "mnist", "--resume", "a", "--smoke"], 2, &["cannot be used with"]);
    digits(&root.join("digits"));
    fs::create_dir(root.join("full")).unwrap();
    fs::write(root.join("full/mine"), "").unwrap();
    let call = ["reproduce", "mnist", "--smoke", "--data", "digits", "--out", "full"];
    refused(root, &call, 1, &["full: is not empty, and nothing is ever overwritten"]);
    assert_eq!(fs::read_dir(root).unwrap().count(), 2, "nothing else was made");
}
