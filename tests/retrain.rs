//! Retraining: what a job leaves, that it is the same however it came about, and what it refuses.

#[path = "common/digits.rs"]
mod digits;
#[path = "train/sets.rs"]
#[allow(dead_code)] // some are for tests/train.rs
mod sets;

use digits::{digits, word};
use pareidolia::experiment::classify::{Fit, read};
use pareidolia::experiment::train::data::{Set, View};
use pareidolia::experiment::train::{Broken, Data};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::output::archive_file;
use pareidolia::output::retrain::FoolingImages;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(args).current_dir(root).env_remove("PAREIDOLIA_DATA").stdin(Stdio::null());
    command
}

#[track_caller]
fn done(root: &Path, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(root, args).output().unwrap();
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The call must fail with `code`, and say all `words` in one line.
#[track_caller]
fn refused(root: &Path, args: &[&str], code: i32, words: &[&str]) {
    let Output { status, stdout, stderr } = command(root, args).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stdout.is_empty(), "{args:?}");
    let line = stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(line.contains(word) || code == 2 && stderr.contains(word), "{args:?}: no {word:?} in: {stderr}");
    }
}

/// Three rounds of a second.
const JOB: [&str; 23] = [
    "retrain",
    "mnist-small",
    "--data",
    "digits",
    "--rounds",
    "3",
    "--runs-first",
    "4",
    "--runs",
    "3",
    "--generations",
    "4",
    "--images-first",
    "40",
    "--images",
    "20",
    "--iterations",
    "30",
    "--set",
    "batch=20",
    "--set",
    "train.batch=16",
    "--out",
];

fn job<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&JOB[..], &[out], more].concat()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A job of two rounds, or three, in `run`, and the folder that it is in.
fn scratch(rounds: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    digits(&scratch.path().join("digits"));
    let mut args = job("run", &[]);
    args[5] = rounds;
    done(scratch.path(), &args);
    scratch
}

/// `value` without times.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("seconds");
            map.values_mut().for_each(timeless);
        }
        Value::Array(list) => list.iter_mut().for_each(timeless),
        _ => {}
    }
}

/// All that a job leaves that must not depend on how it came about.
fn left(run: &Path) -> BTreeMap<String, Value> {
    let mut left = BTreeMap::new();
    for round in 1..=json(&run.join("retrain.json"))["configuration"]["rounds"].as_u64().unwrap() {
        let folder = run.join(format!("dnn-{round:02}"));
        let mut row = json(&folder.join("round.json"))["row"].clone();
        timeless(&mut row);
        for (file, sha256) in row["files"].as_object().unwrap() {
            let digest: String =
                Sha256::digest(fs::read(folder.join(file)).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(*sha256, digest, "{file}");
        }
        left.insert(format!("round {round}"), row);
    }
    left.insert("table".into(), fs::read_to_string(run.join("table.csv")).unwrap().into());
    for picture in ["confidence.png", "contact_sheet.png"] {
        left.insert(picture.into(), format!("{:?}", Sha256::digest(fs::read(run.join(picture)).unwrap())).into());
    }
    left
}

#[test]
fn a_job_is_what_train_and_evolve_make_one_after_the_other() {
    let scratch = scratch("3");
    let root = scratch.path();
    let run = root.join("run");
    let manifest = json(&run.join("run.json"));
    let rounds = manifest["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 3);
    for (i, (round, fooling)) in rounds.iter().zip([0, 40, 60]).enumerate() {
        let network = &round["network"];
        assert_eq!(network["name"], format!("DNN_{}", i + 1));
        assert_eq!((&network["images"], &network["fooling_images"]), (&(600 + fooling).into(), &fooling.into()));
        assert_eq!((&network["outputs"], &network["seed"]), (&(10 + usize::from(i > 0)).into(), &(1 + i).into()));
        let runs = if i == 0 { 4 } else { 3 };
        assert_eq!(round["evolution"]["confidences"], 10 * runs);
        assert_eq!(round["taken"].is_null(), i == 0, "the first has no such class");
        assert_eq!(round["images"]["of"], 20 * runs);
    }
    let held_out = |round: usize| rounds[round]["taken"]["held_out"]["of"].clone();
    assert_eq!((held_out(1), held_out(2)), (40.into(), 40.into()));

    // The first network is that of `train`.
    let args = ["train", "lenet", "--data", "digits", "--seed", "1", "--iterations", "30", "--batch", "16"];
    done(root, &[&args[..], &["--run", "trained"]].concat());
    let weights = |path: &str| fs::read(root.join(path).join("weights.safetensors")).unwrap();
    assert!(weights("trained") == weights("run/dnn-01/network"));

    // Of the second, evolutions are those of `evolve` for the ten digits, with seeds of their own; it has eleven outputs.
    let network = Network::load(&run.join("dnn-02/network/weights.safetensors"), None).unwrap();
    assert_eq!((network.classes.len(), network.classes[10].as_str()), (11, "fooling"));
    for (generations, out) in [("4", "last"), ("0", "first")] {
        let weights = ["--weights", "run/dnn-02/network/weights.safetensors", "--classes", "0-9"];
        let args = ["evolve", "--runs", "3", "--seed", "5", "--batch", "20", "--no-pictures", "--generations"];
        done(root, &[&args[..], &[generations, "--out", out], &weights].concat());
    }
    let images = FoolingImages::open(&run.join("dnn-02/images.safetensors")).unwrap();
    assert_eq!((images.rows.len(), images.sampled().count()), (60, 20));
    let mut row = 0;
    let (mut taken, mut medians) = ([0, 0], Vec::new());
    for seed in [5, 6, 7] {
        for (is_last, series) in [(false, "first"), (true, "last")] {
            let (archive, _) =
                archive_file::read(&root.join(format!("{series}/seed{seed}/archive.safetensors"))).unwrap();
            if is_last {
                let own = fs::read(run.join(format!("dnn-02/evolution/seed{seed}/archive.safetensors"))).unwrap();
                let other = fs::read(root.join(format!("last/seed{seed}/archive.safetensors"))).unwrap();
                assert!(own == other, "seed {seed}");
                medians.extend(archive.fitness());
            }
            for (class, elite) in archive.elites.iter().enumerate() {
                let of = images.rows[row];
                assert_eq!((of.seed, of.class, of.is_last), (seed, class as u32, is_last));
                assert_eq!(of.confidence.to_bits(), elite.probabilities[class].to_bits());
                assert!(images.image(row).unwrap() == elite.image);
                let fooling = elite.probabilities[10];
                taken[usize::from(is_last)] += usize::from(elite.probabilities[..10].iter().all(|&p| p < fooling));
                row += 1;
            }
        }
    }
    let part = |of: &str| rounds[1]["taken"][of]["count"].as_u64().unwrap() as usize;
    assert_eq!([part("generation_0"), part("last_generation")], taken);
    medians.sort_by(f32::total_cmp);
    let median = (f64::from(medians[14]) + f64::from(medians[15])) / 2.0;
    assert_eq!(rounds[1]["evolution"]["median"], median);
    let over = medians.iter().filter(|&&confidence| confidence >= 0.9).count();
    assert_eq!(rounds[1]["evolution"]["over_9"], over);
    assert_eq!(rounds[1]["evolution"]["share_over_9"], over as f64 / 30.0);

    // What the third is trained on: the digits, then the sampled images of both rounds, of the eleventh class.
    let files = [1, 2]
        .map(|round| Arc::new(FoolingImages::open(&run.join(format!("dnn-0{round}/images.safetensors"))).unwrap()));
    let view = View::of(&List::built_in("lenet").unwrap());
    let data =
        Data::load(&root.join("digits"), None, None, Broken::Refuse).unwrap().with("fooling", &files, view).unwrap();
    assert_eq!(json(&run.join("dnn-03/network/run.json"))["training"]["sha256"], data.training.identity().sha256);
    let wanted = files.iter().flat_map(|file| file.sampled().map(|row| file.image(row).unwrap()));
    for (index, pixels) in (600..).zip(wanted) {
        let picture = data.training.picture(index, view).unwrap();
        assert!(picture.class == 10 && picture.pixels == pixels, "{index}");
    }
    let right = rounds[2]["network"]["correct"].as_u64().unwrap();
    let out = done(root, &["train", "--resume", "trained"]);
    assert!(out.contains("of 100 test images right") && right <= 100);
    // The table, for people and for programs.
    let table = fs::read_to_string(run.join("table.csv")).unwrap();
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().nth(2).unwrap().starts_with("DNN_2,640,40,"), "{table}");
    // Finished, nothing changes.
    let before = left(&run);
    let text = done(root, &["retrain", "--resume", "run"]);
    assert!(text.contains("DNN_3") && text.contains("held out") && text.ends_with("run\n"), "{text}");
    assert!(left(&run) == before);
    // Killed behind its last round, before the table knew of it.
    fs::remove_file(run.join("run.json")).unwrap();
    fs::write(run.join("table.csv"), "old").unwrap();
    done(root, &["retrain", "--resume", "run"]);
    assert!(left(&run) == before && run.join("run.json").exists());
    read(&run.join("dnn-02/evolution/seed5"), &network, Fit::default(), None).unwrap();
}

#[test]
fn threads_kills_and_later_rounds_change_no_bit() {
    let scratch = scratch("3");
    let root = scratch.path();
    let want = left(&root.join("run"));
    done(root, &job("one", &["--threads", "1", "--simd", "plain"]));
    assert!(left(&root.join("one")) == want, "one thread");

    // Two rounds, then a third.
    let mut short = job("grown", &[]);
    short[5] = "2";
    done(root, &short);
    done(root, &["retrain", "--resume", "grown", "--rounds", "3"]);
    assert!(left(&root.join("grown")) == want, "made longer");

    let begun = Instant::now();
    done(root, &job("timed", &[]));
    let duration = begun.elapsed();
    let mut kills = 0;
    for round in 0..4_u32 {
        let run = format!("killed{round}");
        for attempt in 0_u32.. {
            let resume = ["retrain", "--resume", &run];
            let is_begun = root.join(&run).join("retrain.json").exists();
            let args = if is_begun && attempt % 2 == 1 { resume.to_vec() } else { job(&run, &["--resume-or-start"]) };
            let mut child = command(root, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(duration * (4 * attempt + round + 1) / 40);
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.signal() != Some(libc::SIGKILL) {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                break;
            }
            kills += 1;
            assert!(attempt < 100, "it does not end");
        }
        assert!(left(&root.join(&run)) == want, "round {round}");
    }
    assert!(kills >= 8, "only {kills} kills");
}

#[test]
fn a_signal_stops_it_and_says_how_it_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    digits(&root.join("digits"));
    // In a training that would not end, then in an evolution.
    for (out, change, seen) in [
        ("train", ("--iterations", 100_000_000), "dnn-01/network/metrics.jsonl"),
        ("evolve", ("--generations", 1_000_000), "dnn-01/evolution/seed1/metrics.jsonl"),
    ] {
        let mut args = job(out, &[]);
        let (option, text) = (change.0, change.1.to_string());
        let at = args.iter().position(|&word| word == option).unwrap();
        args[at + 1] = &text;
        let child = command(root, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while fs::metadata(root.join(out).join(seen)).map_or(0, |file| file.len()) < 100 {
            assert!(begun.elapsed() < Duration::from_secs(100), "it does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: it is our child and has not been waited for, so that the number is still its.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) }, 0);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(143), "{stderr}");
        assert!(stderr.contains(&format!("continue with: pareidolia retrain --resume {out}")), "{stderr}");
    }
}

#[test]
fn a_damaged_round_is_refused_with_its_file_and_what_to_do() {
    let scratch = scratch("2");
    let root = scratch.path();
    let run = root.join("run");
    let want = left(&run);
    let resume = ["retrain", "--resume", "run"];
    for file in
        ["round.json", "images.safetensors", "network/weights.safetensors", "evolution/seed2/archive.safetensors"]
    {
        let path = run.join("dnn-01").join(file);
        let bytes = fs::read(&path).unwrap();
        let mut other = bytes.clone();
        // Of round.json a digit of a number, which is still JSON.
        let at = if file == "round.json" {
            let text = String::from_utf8(bytes.clone()).unwrap();
            text.find("\"evaluations\": ").unwrap() + 15
        } else {
            bytes.len() / 2
        };
        other[at] ^= 1;
        fs::write(&path, other).unwrap();
        let name = format!("dnn-01/{file}");
        refused(root, &resume, 1, &[&name, "is damaged", "remove the folder dnn-01 and those of later rounds"]);
        fs::remove_file(&path).unwrap();
        refused(root, &resume, 1, &[&name, "is missing", "remove the folder dnn-01"]);
        fs::write(&path, &bytes).unwrap();
    }
    fs::rename(run.join("dnn-01"), root.join("aside")).unwrap();
    refused(root, &resume, 1, &["dnn-01", "is missing", "dnn-02 is there"]);
    // What the message says helps.
    fs::remove_dir_all(run.join("dnn-02")).unwrap();
    done(root, &resume);
    assert!(left(&run) == want);
    fs::write(run.join("retrain.json"), "{}").unwrap();
    refused(root, &resume, 1, &["retrain.json", "not the record of a retraining"]);
}

#[test]
fn another_job_is_not_gone_on_with() {
    let scratch = scratch("2");
    let root = scratch.path();
    digits(&root.join("other"));
    fs::write(root.join("other/train-labels-idx1-ubyte"), {
        let mut labels = fs::read(root.join("digits/train-labels-idx1-ubyte")).unwrap();
        labels[8] ^= 1;
        labels
    })
    .unwrap();
    for (change, words) in [
        (&["--runs", "4"][..], &["holds another job", "runs is 3 there and 4 here"][..]),
        (&["--generations", "5"], &["generations is 4 there and 5 here"]),
        (&["--seed", "2"], &["seed is 1 there and 2 here"]),
        (&["--images", "21"], &["images is 20 there and 21 here"]),
        (&["--iterations", "31"], &["train.iterations is 30 there and 31 here"]),
        (&["--set", "train.rate=0.02"], &["train.rate is 0.01 there and 0.02 here"]),
        (&["--set", "cppn.normalise=true"], &["cppn.normalise is false there and true here"]),
        (&["--fooling-class", "nothing"], &["fooling_class is \"fooling\" there and \"nothing\" here"]),
        (&["--rounds", "1"], &["--rounds 1: 2 are done already"]),
        (&["--data", "other"], &["what networks are trained on is 600 images, SHA-256 "]),
        (
            &["--weights", "run/dnn-01/network/weights.safetensors"],
            &["the first network is trained there and of SHA-256 "],
        ),
    ] {
        let args = [&job("run", &["--resume-or-start"])[..], change].concat();
        // The last of an option counts, but clap takes each once.
        let args: Vec<&str> = match JOB.iter().position(|arg| *arg == change[0] && change[0] != "--set") {
            Some(at) => {
                let mut args = job("run", &["--resume-or-start"]);
                args[at + 1] = change[1];
                args
            }
            None => args,
        };
        let args: Vec<&str> = if change[0] == "--rounds" {
            args
        } else {
            let mut args = args;
            args[5] = "2";
            args
        };
        refused(root, &args, 1, words);
    }
    refused(root, &["retrain", "--resume", "run", "--data", "other"], 1, &["what networks are trained on is"]);
    refused(root, &["retrain", "--resume", "digits"], 1, &["holds no retrain.json"]);
    refused(root, &job("run", &[]), 1, &["run", "not empty", "continue that job", "--resume run"]);
    // The same images elsewhere are the same.
    fs::rename(root.join("digits"), root.join("moved")).unwrap();
    done(root, &["retrain", "--resume", "run", "--data", "moved", "--rounds", "3"]);
}

#[test]
fn bad_calls_are_refused_in_words_before_anything_is_made() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    digits(&root.join("digits"));
    fs::create_dir(root.join("empty")).unwrap();
    sets::write(&root.join("set"), &["blue", "fooling", "red"], 2, 1);
    fs::write(root.join("fixed.toml"), sets::SMALL.replace("outputs = \"classes\"", "outputs = 3")).unwrap();
    let on = |data: &'static str| ["retrain", "mnist-small", "--out", "out", "--data", data];
    let with = |more: &[&'static str]| [&on("digits")[..], more].concat();
    for (args, code, words) in [
        (vec!["retrain", "--out", "out"], 2, &["--data", "PAREIDOLIA_DATA", "train-images-idx3-ubyte", "https://"][..]),
        (on("nowhere").to_vec(), 1, &["nowhere", "train-images-idx3-ubyte", "https://ossci-datasets"]),
        (on("empty").to_vec(), 1, &["empty", "holds neither a folder a class"]),
        (with(&["--images", "0"]), 2, &["--images: got 0", "a fooling class without images"]),
        (with(&["--images-first", "0"]), 2, &["images_first: got 0", "a fooling class without images"]),
        (with(&["--images-first", "6001"]), 2, &["images_first: got 6001, wanted at most 6000", "300 runs"]),
        (with(&["--rounds", "0"]), 2, &["--rounds: got 0"]),
        (with(&["--runs", "many"]), 2, &["--runs: got \"many\""]),
        (with(&["--iterations", "0"]), 2, &["--iterations: train.iterations: got 0"]),
        (with(&["--set", "batch=3"]), 2, &["--set: batch: got 3", "even"]),
        (with(&["--set", "imgaes=3"]), 2, &["unknown key \"imgaes\"", "images"]),
        (with(&["--set", "crops=10"]), 2, &["crops is for networks that see colour"]),
        (with(&["--fooling-class", "7"]), 2, &["\"7\"", "the data have that class already", "--fooling-class"]),
        (with(&["--fooling-class", "a/b"]), 2, &["--fooling-class", "a/b"]),
        (with(&["--network", "small.toml"]), 2, &["MNIST's digits are 28 x 28"]),
        (with(&["--network", "nonesuch"]), 2, &["nonesuch"]),
        (with(&["--weights", "nowhere"]), 1, &["nowhere"]),
        (
            [&on("set")[..], &["--network", "small.toml"]].concat(),
            2,
            &["set/fooling: is there already", "--fooling-class"],
        ),
        (
            [
                &on("set")[..],
                &["--network", "fixed.toml", "--fooling-class", "x", "--images-first", "9", "--images", "9"],
            ]
            .concat(),
            2,
            &["3 outputs whatever the classes", "outputs = \"classes\""],
        ),
        (with(&["--resume", "x"]), 2, &["cannot be used with"]),
    ] {
        refused(root, &args, code, words);
        assert!(!root.join("out").exists(), "{args:?}: something is left behind");
    }
    fs::create_dir(root.join("full")).unwrap();
    fs::write(root.join("full/there"), "precious").unwrap();
    refused(root, &job("full", &[]), 1, &["full", "not empty", "nothing is ever overwritten"]);
    assert_eq!(fs::read_to_string(root.join("full/there")).unwrap(), "precious");
    let config = done(root, &["retrain", "mnist", "--dry-run"]);
    for line in [
        "rounds = 15",
        "runs_first = 300",
        "runs = 60",
        "images_first = 6000",
        "images = 1000",
        "generations = 200",
        "iterations = 10000",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    fs::write(root.join("job.toml"), &config).unwrap();
    assert_eq!(done(root, &["retrain", "--config", "job.toml", "--dry-run"]), config, "it reads what it writes");
}

#[test]
fn a_folder_of_images_gains_a_class() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    sets::write(&root.join("set"), &["blue", "green", "red"], 8, 1);
    sets::write(&root.join("val"), &["blue", "green", "red"], 4, 500);
    let args = [
        "retrain",
        "imagenet",
        "--network",
        "small.toml",
        "--data",
        "set",
        "--val",
        "val",
        "--runs",
        "2",
        "--generations",
        "3",
        "--images-first",
        "9",
        "--images",
        "5",
        "--iterations",
        "40",
        "--set",
        "batch=12",
        "--set",
        "train.batch=8",
        "--out",
    ];
    done(root, &[&args[..], &["run", "--rounds", "3"]].concat());
    let rounds = json(&root.join("run/run.json"))["rounds"].clone();
    for (i, fooling) in [0, 9, 14].into_iter().enumerate() {
        let network = &rounds[i]["network"];
        assert_eq!(
            (&network["images"], &network["outputs"]),
            (&(24 + fooling).into(), &(3 + usize::from(i > 0)).into())
        );
        assert!(network["accuracy"].as_f64().unwrap() > 0.3, "{network}");
    }
    // Ten crops, as the paper's program judges; evolved images are as large as those that the network is shown.
    assert_eq!(json(&root.join("run/retrain.json"))["configuration"]["crops"], 10);
    let files = [Arc::new(FoolingImages::open(&root.join("run/dnn-01/images.safetensors")).unwrap())];
    let view = View::of(&List::load(&root.join("small.toml")).unwrap());
    assert_eq!(files[0].canvas(), view.shown);
    let data =
        Data::load(&root.join("set"), None, None, Broken::Refuse).unwrap().with("fooling", &files, view).unwrap();
    let Set::Folder(_) = &data.training else { panic!("a folder") };
    assert_eq!((data.training.n_images(), data.classes.len()), (33, 4));
    for (index, row) in (24..).zip(files[0].sampled()) {
        let picture = data.training.picture(index, view).unwrap();
        assert!(picture.class == 3 && picture.pixels == files[0].image(row).unwrap());
    }
    // The same with one thread, and with the first network given.
    done(root, &[&args[..], &["one", "--rounds", "3", "--threads", "1"]].concat());
    let given = ["given", "--rounds", "2", "--weights", "run/dnn-01/network/weights.safetensors"];
    done(root, &[&args[..], &given].concat());
    assert!(left(&root.join("run")) == left(&root.join("one")));
    let second = |run: &str| fs::read(root.join(run).join("dnn-02/images.safetensors")).unwrap();
    assert!(second("given") == second("run"), "the first network is the same, so is all that follows");
    let first = json(&root.join("given/run.json"))["rounds"][0]["network"].clone();
    assert!(first["seed"].is_null() && first["accuracy"] == rounds[0]["network"]["accuracy"], "{first}");
    // It needs neither the weights nor the layer list where they were.
    fs::remove_file(root.join("small.toml")).unwrap();
    done(root, &["retrain", "--resume", "given", "--rounds", "3"]);
    // A network of other classes is none to begin with.
    let of_four = ["other", "--network", "small.toml", "--weights", "run/dnn-02/network/weights.safetensors"];
    fs::write(root.join("small.toml"), sets::SMALL).unwrap();
    let args: Vec<&str> = args.iter().copied().filter(|arg| !["--network", "small.toml"].contains(arg)).collect();
    refused(root, &[&args[..], &of_four].concat(), 1, &["has 4 classes, the images are of 3"]);
    assert!(!root.join("other").exists());
}
