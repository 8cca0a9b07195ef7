//! The program as a user runs it, on the emulated driver's GPU: `evolve`, `plan` and `info`.

use crate::harness;
use crate::left_out::left_out;
use crate::list::TINY;
use pareidolia::genome::Canvas;
use pareidolia::output::pictures::write_png;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program with `args`, for which the emulated driver is installed; `None`, and said so, where it cannot be had.
pub fn pareidolia(folder: &TempDir, args: &[&str]) -> Option<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    if !harness::is_real() {
        match pareidolia_emulator::folder() {
            Ok(driver) => command.env("LD_LIBRARY_PATH", driver),
            Err(why) => {
                left_out(&why.to_string());
                return None;
            }
        };
    }
    command.args(args).current_dir(folder.path());
    Some(command)
}

/// What `command` says, which must end with `code`: stdout and stderr.
#[track_caller]
pub fn run(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(status.code(), Some(code), "{command:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The run.json of a run.
pub fn manifest(run: &Path) -> Value {
    json(&std::fs::read_to_string(run.join("run.json")).unwrap())
}

#[test]
fn train_and_ascend_on_the_gpu_give_the_bits_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    for class in 0..4_u8 {
        let name = folder.path().join("set").join(class.to_string());
        fs::create_dir_all(&name).unwrap();
        for i in 0..5_u8 {
            let pixels: Vec<u8> = (0..12 * 12 * 3).map(|at| (at as u8).wrapping_mul(37 * class + 3 * i + 1)).collect();
            write_png(&name.join(format!("{i}.png")), Canvas { height: 12, width: 12, channels: 3 }, &pixels).unwrap();
        }
    }
    let weights = |run: &str| fs::read(folder.path().join(run).join("weights.safetensors")).unwrap();
    let hash = |run: &str| manifest(&folder.path().join(run))["result_hash"].clone();
    for (device, run, ascent) in [("cpu", "a", "c"), ("cuda:0", "b", "d")] {
        let args = ["train", "tiny.toml", "--data", "set", "--iterations", "7", "--batch", "6", "--rate", "0.001"];
        let args = [&args[..], &["--device", device, "--run", run]].concat();
        let Some(command) = pareidolia(&folder, &args) else { return };
        self::run(command, 0);
        let device_name = manifest(&folder.path().join(run))["device"].as_str().unwrap().to_string();
        assert_eq!(device_name == "cpu", device == "cpu", "{device_name}");

        let of_a = ["--weights", "a/weights.safetensors", "--network", "tiny.toml", "--classes", "0,2,3"];
        let args = [&["ascend", "--iterations", "5", "--device", device, "--out", ascent], &of_a[..]].concat();
        let Some(command) = pareidolia(&folder, &args) else { return };
        self::run(command, 0);
    }
    assert!(weights("a") == weights("b"), "other weights");
    assert!(hash("c").is_string() && hash("c") == hash("d"), "{} {}", hash("c"), hash("d"));
}

/// MNIST's four files, of `count` images of noise each.
fn digits(dir: &Path, count: u32) {
    fs::create_dir_all(dir).unwrap();
    for (seed, name) in ["train", "t10k"].into_iter().enumerate() {
        let byte = |at: u32| (at.wrapping_mul(2_654_435_761 + 2 * seed as u32) >> 24) as u8;
        let head = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
        let images = [head(&[2051, count, 28, 28]), (0..count * 784).map(byte).collect()].concat();
        let labels = [head(&[2049, count]), (0..count).map(|at| (at % 10) as u8).collect()].concat();
        fs::write(dir.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(dir.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn retrain_on_the_gpu_gives_the_files_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    digits(&folder.path().join("digits"), 30);
    fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    for class in 0..4_u8 {
        let name = folder.path().join("set").join(class.to_string());
        fs::create_dir_all(&name).unwrap();
        for i in 0..3_u8 {
            let pixels: Vec<u8> = (0..12 * 12 * 3).map(|at| (at as u8).wrapping_mul(37 * class + 3 * i + 1)).collect();
            write_png(&name.join(format!("{i}.png")), Canvas { height: 12, width: 12, channels: 3 }, &pixels).unwrap();
        }
    }
    // LeNet, whose eleventh output is no niche; a network that judges ten crops.
    let lenet = ["mnist", "--data", "digits"];
    let tiny = ["imagenet", "--network", "tiny.toml", "--data", "set", "--set", "train.rate=0.001"];
    let numbers = [
        "--rounds",
        "2",
        "--runs-first",
        "3",
        "--runs",
        "2",
        "--generations",
        "2",
        "--images-first",
        "9",
        "--images",
        "6",
    ];
    let small = ["--iterations", "3", "--set", "batch=10", "--set", "train.batch=6"];
    for (what, name) in [(&lenet[..], "lenet"), (&tiny, "tiny")] {
        let mut rounds = Vec::new();
        for device in ["cpu", "cuda:0"] {
            let out = format!("{name}-{}", device.replace(':', ""));
            let args = [&["retrain"], what, &numbers, &small, &["--device", device, "--json", "--out", &out]].concat();
            let Some(command) = pareidolia(&folder, &args) else { return };
            let job = json(&run(command, 0).0);
            assert_eq!(job["device"].as_str().unwrap() == "cpu", device == "cpu", "{}", job["device"]);
            // Of each round what it came to, without times, and the SHA-256 of its files.
            let parts = |round: &Value| {
                let mut evolution = round["evolution"].clone();
                evolution.as_object_mut().unwrap().remove("seconds");
                let network = ["correct", "accuracy", "images", "outputs"].map(|key| round["network"][key].clone());
                (evolution, network, round["taken"].clone(), round["images"].clone(), round["files"].clone())
            };
            rounds.push(job["rounds"].as_array().unwrap().iter().map(parts).collect::<Vec<_>>());
        }
        assert_eq!(rounds[0].len(), 2);
        assert_eq!(rounds[0], rounds[1], "{name}");
    }
}

const SHORT: [&str; 6] = ["--batch", "30", "--generations", "6", "--threads", "2"];

#[test]
fn evolve_on_the_gpu_prints_the_hash_of_the_cpu() {
    for preset in ["mnist-direct", "mnist-cppn"] {
        let folder = tempfile::tempdir().unwrap();
        let mut hashes = Vec::new();
        for (device, more) in
            [("cpu", &[][..]), ("cuda:0", &[]), ("cuda:0", &["--chunk", "8"]), ("auto", &["--no-pictures"])]
        {
            let out = format!("run{}", hashes.len());
            let args = [&["evolve", preset, "--device", device, "--json", "--out", &out], &SHORT[..], more].concat();
            let Some(command) = pareidolia(&folder, &args) else { return };
            let (stdout, stderr) = run(command, 0);
            let run = json(&stdout);
            assert_eq!(run, manifest(&folder.path().join(&out)));
            let on_gpu = device != "cpu";
            assert_eq!(run["device"].as_str().unwrap().starts_with("cuda:0, "), on_gpu, "{run}");
            assert_eq!(run["planned_device_memory_bytes"].is_u64(), on_gpu, "{run}");
            let reason = if device == "auto" { "--device auto: the first GPU" } else { &format!("--device {device}") };
            assert_eq!(run["device_reason"], reason);
            assert!(stderr.contains(&format!("({reason})")), "{stderr}");
            assert_eq!(stderr.contains("memory of the GPU"), on_gpu, "{stderr}");
            hashes.push(run["archive_hash"].as_str().unwrap().to_string());
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{preset}: {hashes:?}");
    }
}

#[test]
fn run_of_the_gpu_is_resumed_on_the_cpu_and_the_other_way_round() {
    let folder = tempfile::tempdir().unwrap();
    let whole = [&["evolve", "--device", "cpu", "--out", "whole"], &SHORT[..2], &["--generations", "12"]].concat();
    let Some(command) = pareidolia(&folder, &whole) else { return };
    run(command, 0);
    let first = [&["evolve", "--device", "cuda:0", "--out", "moved"], &SHORT[..2], &["--generations", "4"]].concat();
    run(pareidolia(&folder, &first).unwrap(), 0);
    for (device, generations) in [("cpu", "7"), ("cuda:0", "9"), ("cuda:0", "12")] {
        let args = ["evolve", "--resume", "moved", "--device", device, "--generations", generations];
        run(pareidolia(&folder, &args).unwrap(), 0);
    }
    let [whole, moved] = ["whole", "moved"].map(|run| manifest(&folder.path().join(run)));
    for key in ["archive_hash", "generation", "evaluations", "operators_skipped_at_capacity", "classes", "median"] {
        assert_eq!(whole[key], moved[key], "{key}");
    }
}

#[test]
fn series_on_the_gpu_are_the_runs_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    // A target that some runs reach before others.
    let series = ["evolve", "--runs", "3", "--batch", "40", "--generations", "30", "--target", "0.5", "--no-pictures"];
    for device in ["cpu", "cuda:0"] {
        let out = device.replace(':', "");
        let Some(command) = pareidolia(&folder, &[&series[..], &["--device", device, "--out", &out]].concat()) else {
            return;
        };
        run(command, 0);
    }
    let runs = ["cpu", "cuda0"].map(|out| {
        let summary = json(&std::fs::read_to_string(folder.path().join(out).join("summary.json")).unwrap());
        summary["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| (run["archive_hash"].clone(), run["generation"].clone()))
            .collect::<Vec<_>>()
    });
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn plan_for_the_gpu_says_what_evolve_takes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["mnist-direct", "--batch", "20", "--chunk", "10", "--generations", "2", "--device", "cuda:0"];
    let Some(command) = pareidolia(&folder, &[&["plan", "--json"], &args[..]].concat()) else { return };
    let plan = json(&run(command, 0).0);
    assert!(plan["device"].as_str().unwrap().starts_with("cuda:0, "), "{plan}");
    let memory = &plan["device_memory"];
    let parts: u64 = memory["parts"].as_array().unwrap().iter().map(|part| part["bytes"].as_u64().unwrap()).sum();
    assert_eq!(memory["total_bytes"], parts);
    assert!(memory["usable_bytes"].as_u64() < memory["machine_bytes"].as_u64());
    assert!(plan["largest_chunk"].as_u64() > Some(1000) && plan["speed"]["genomes_per_second"].as_f64() > Some(0.0));
    run(pareidolia(&folder, &[&["evolve", "--out", "run"], &args[..]].concat()).unwrap(), 0);
    assert_eq!(manifest(&folder.path().join("run"))["planned_device_memory_bytes"], parts);
    let text = run(pareidolia(&folder, &[&["plan"], &args[..]].concat()).unwrap(), 0).0;
    assert!(text.contains("memory of the GPU") && text.contains("device cuda:0, "), "{text}");
}

#[test]
fn info_lists_the_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let Some(command) = pareidolia(&folder, &["info", "--json"]) else { return };
    let info = json(&run(command, 0).0);
    assert_eq!((&info["devices"][0], &info["devices"][1]), (&"cpu".into(), &"cuda:0".into()));
    let name = info["gpus"][0]["name"].as_str().unwrap();
    assert!(info["gpus"][0]["memory_bytes"].as_u64() > Some(1 << 20) && info["no_gpu"].is_null(), "{info}");
    let text = run(pareidolia(&folder, &["info"]).unwrap(), 0).0;
    assert!(text.contains(&format!("cuda:0, {name}, compute capability ")), "{text}");
}

#[test]
fn transfer_on_the_gpu_writes_the_bytes_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |name: &str| format!("{}/weights/{name}", env!("CARGO_MANIFEST_DIR"));
    for (preset, run) in [("mnist-cppn", "cppn"), ("mnist-direct", "direct")] {
        let args = [&["evolve", preset, "--device", "cpu", "--out", run, "--no-pictures"], &SHORT[..]].concat();
        let Some(command) = pareidolia(&folder, &args) else { return };
        self::run(command, 0);
    }
    let [two, three, list] = ["lenet-mnist-2.safetensors", "mnist-3x3.safetensors", "mnist-3x3.toml"].map(weights);
    for (device, out) in [("cpu", "a"), ("cuda:0", "b")] {
        let networks = ["--weights", "built-in", "--weights", &two, "--weights", &three];
        let lists = ["--network", "-", "--network", "-", "--network", &list];
        let args = [&["transfer", "cppn", "direct", "--device", device, "--out", out], &networks[..], &lists].concat();
        self::run(pareidolia(&folder, &args).unwrap(), 0);
        let name = manifest(&folder.path().join(out))["device"].as_str().unwrap().to_string();
        assert_eq!(name.starts_with("cuda:0, "), device != "cpu", "{name}");
    }
    for file in ["matrix.json", "images.jsonl"] {
        let [a, b] = ["a", "b"].map(|out| fs::read_to_string(folder.path().join(out).join(file)).unwrap());
        assert!(a == b, "{file}:\n{a}\n{b}");
    }
}

#[test]
fn networks_that_judge_together_give_the_hash_of_the_cpu() {
    let weights = |name: &str| format!("{}/weights/{name}", env!("CARGO_MANIFEST_DIR"));
    let [two, three, list] = ["lenet-mnist-2.safetensors", "mnist-3x3.safetensors", "mnist-3x3.toml"].map(weights);
    let networks = ["--weights", "built-in", "--weights", &three, "--weights", &two];
    let lists = ["--network", "-", "--network", &list, "--network", "-"];
    for (preset, rule) in [("mnist-cppn", "min"), ("mnist-direct", "mean")] {
        let folder = tempfile::tempdir().unwrap();
        let mut hashes = Vec::new();
        for (device, more) in [("cpu", &[][..]), ("cuda:0", &[]), ("cuda:0", &["--chunk", "8"])] {
            let out = format!("run{}", hashes.len());
            let call = ["evolve", preset, "--combine", rule, "--device", device, "--json", "--out", &out];
            let args = [&call, &SHORT[..], more, &networks, &lists].concat();
            let Some(command) = pareidolia(&folder, &args) else { return };
            let run = json(&run(command, 0).0);
            assert_eq!(run["device"].as_str().unwrap().starts_with("cuda:0, "), device != "cpu", "{run}");
            hashes.push(run["archive_hash"].as_str().unwrap().to_string());
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{preset}: {hashes:?}");
    }
}
