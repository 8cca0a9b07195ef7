//! The command line with networks of the user's own: layer lists, class names, random weights, images of other sizes.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A network for 28 x 28 grey images that is no LeNet: padding, normalisation, branches.
const GREY: &str = r#"
name = "branches"
channel_order = "grey"
image = 28
scale = 0.00390625
classes = 3
layers = [
  { name = "a", type = "convolution", outputs = 6, kernel = 5, stride = 2, padding = 2 },
  { name = "ra", type = "relu" },
  { name = "n", type = "lrn", size = 3, alpha = 0.1, beta = 0.75 },
  { name = "p", type = "average-pool", inputs = ["ra"], kernel = 3, padding = 1, rounding = "ceil" },
  { name = "both", type = "concat", inputs = ["n", "p"] },
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

fn pareidolia(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pareidolia")).current_dir(folder).args(arguments).output().unwrap()
}

/// What a call that succeeds writes to standard output and to standard error.
#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = pareidolia(folder, arguments);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

/// The last line of what a call that fails with `code` says.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = pareidolia(folder, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    stderr.lines().last().unwrap().to_string()
}

fn folder_with_lists() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("grey.toml"), GREY).unwrap();
    std::fs::write(folder.path().join("names.txt"), "nought\none\ntwo\n").unwrap();
    folder
}

#[test]
fn a_network_of_the_users_own_evolves_and_goes_on_with_the_same_hash() {
    let folder = folder_with_lists();
    let folder = folder.path();
    let (made, _) = succeeds(folder, &["weights", "random", "grey.toml", "--seed", "3", "--out", "w.safetensors"]);
    assert!(made.starts_with("branches: ") && made.contains("random weights"), "{made}");
    let again = fails(folder, &["weights", "random", "grey.toml", "--out", "w.safetensors"], 1);
    assert!(again.contains("w.safetensors is there already"), "{again}");

    let network =
        ["--weights", "w.safetensors", "--network", "grey.toml", "--class-names", "names.txt", "--device", "cpu"];
    let evolve = |out: &str, more: &[&str]| {
        let arguments =
            [&["evolve", "--out", out, "--batch", "20", "--json", "--no-pictures"], &network[..], more].concat();
        let (json, warnings) = succeeds(folder, &arguments);
        assert!(warnings.contains("random weights (He, uniform, seed 3): nobody trained it"), "{warnings}");
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let whole = evolve("whole", &["--generations", "6", "--threads", "2"]);
    assert_eq!(whole["network"], "branches");
    assert_eq!(whole["random_weights"], "random weights (He, uniform, seed 3)");
    assert_eq!(whole["classes"][1]["name"], "one");
    assert!(whole["weights_sha256"].as_str().unwrap().contains(" network "));
    // Other threads, vectors and chunks; then stopped and gone on with from elsewhere.
    let plain = evolve("plain", &["--generations", "6", "--threads", "1", "--simd", "plain", "--chunk", "6"]);
    assert_eq!(plain["archive_hash"], whole["archive_hash"]);
    evolve("parts", &["--generations", "2"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let run = folder.join("parts");
    let arguments = ["evolve", "--resume", run.to_str().unwrap(), "--generations", "6", "--json", "--no-pictures"];
    let (json, _) = succeeds(elsewhere.path(), &[&arguments[..], &["--device", "cpu"]].concat());
    let parts: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parts["archive_hash"], whole["archive_hash"]);
    assert_eq!(parts["classes"][2]["name"], "two");

    // Another list is another network: the run is not gone on with.
    std::fs::write(folder.join("other.toml"), GREY.replace("alpha = 0.1", "alpha = 0.2")).unwrap();
    let arguments =
        ["evolve", "--resume", "parts", "--weights", "w.safetensors", "--network", "other.toml", "--device", "cpu"];
    let refused = fails(folder, &arguments, 1);
    assert!(refused.contains("the checkpoint is of another run: the SHA-256 of the weights is"), "{refused}");

    // Its elites are what the archive says.
    let (table, warnings) = succeeds(folder, &[&["classify", "whole", "--top", "1"], &network[..6]].concat());
    assert_eq!(table.matches("as recorded").count(), 3, "{table}");
    assert!(!table.contains("NOT as recorded") && warnings.contains("nobody trained it"), "{table}{warnings}");
}

#[test]
fn what_the_call_gets_wrong_is_one_line() {
    let folder = folder_with_lists();
    let folder = folder.path();
    succeeds(folder, &["weights", "random", "grey.toml", "--out", "w.safetensors"]);
    let weights = ["classify", "x.png", "--weights", "w.safetensors"];
    let with = |more: &[&'static str]| [&weights[..], more].concat();
    for (arguments, code, want) in [
        (with(&[]), 1, "network \"branches\" is not known; known: lenet, caffenet, "),
        (
            with(&["--network", "vgg"]),
            2,
            "network \"vgg\" is not known; wanted a layer list (FILE.toml) or one of: lenet",
        ),
        (
            with(&["--network", "lenet"]),
            1,
            "w.safetensors: tensor \"conv1.weight\" is missing; the file has \"a.weight\"",
        ),
        (with(&["--network", "none.toml"]), 1, "none.toml: cannot open"),
        (with(&["--network", "names.txt"]), 1, "names.txt: line 1: not a layer list: "),
        (
            with(&["--network", "grey.toml", "--class-names", "grey.toml"]),
            1,
            "grey.toml: line 1 is empty, wanted a class name a line",
        ),
        (vec!["classify", "x.png", "--network", "grey.toml"], 2, ""),
        (vec!["weights", "random", "vgg", "--out", "x"], 2, "network \"vgg\" is not known"),
        (vec!["weights", "random", "lenet"], 2, ""),
    ] {
        let line = fails(folder, &arguments, code);
        assert!(line.contains(want), "{arguments:?}: want {want:?} in {line:?}");
    }
}

#[test]
fn info_shows_layers_shapes_and_preprocessing() {
    let folder = folder_with_lists();
    let folder = folder.path();
    succeeds(folder, &["weights", "random", "grey.toml", "--out", "w.safetensors"]);
    let arguments = ["info", "--weights", "w.safetensors", "--network", "grey.toml"];
    let (text, _) = succeeds(folder, &arguments);
    for want in [
        "network     branches, 3 classes",
        "images      28 x 28, grey",
        "pixels      0 to 255, no mean, times 0.00390625",
        "nobody trained them",
        "5x5, stride 2, padding 2",
        "6 x 14 x 14",
        "3 channels, alpha 0.1, beta 0.75, k 1",
        "of n, p",
    ] {
        assert!(text.contains(want), "want {want:?} in\n{text}");
    }
    let (json, _) = succeeds(folder, &[&arguments[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["layers"][4]["output"], serde_json::json!([12, 14, 14]));
    // 6 x 25 weights and 6 biases, 3 x 2352 and 3; 14 x 14 x 6 sums of 25, 3 of 2352.
    assert_eq!((&report["parameters"], &report["multiply_adds"]), (&7215.into(), &36456.into()));
    let (text, _) = succeeds(folder, &["info"]);
    assert!(text.contains("layer lists lenet, caffenet, bvlc-alexnet, torchvision-alexnet, squeezenet"), "{text}");
}

#[test]
fn the_hen_is_a_hen_and_digits_are_not_evolved_for_squeezenet() {
    let Some(data) = common::data_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| data.join(name).display().to_string();
    let (weights, names, hen) =
        (path("squeezenet-v1.0.safetensors"), path("imagenet_classes.txt"), path("hen_256.png"));
    let network = ["--weights", &weights, "--class-names", &names];
    let (table, _) = succeeds(folder.path(), &[&["classify", hen.as_str(), "--top", "1"], &network[..]].concat());
    assert!(table.contains("0.99948  8 hen"), "{table}");
    let (json, _) = succeeds(folder.path(), &[&["classify", hen.as_str(), "--json"], &network[..]].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report[0]["top"][0]["name"], &report[0]["top"][1]["name"]), (&"hen".into(), &"partridge".into()));
    let (text, _) = succeeds(folder.path(), &["info", "--weights", &weights]);
    assert!(text.contains("images      256 x 256, BGR, of which it sees the middle, 227 x 227"), "{text}");
    assert!(
        text.contains("minus 104, 117, 123, times 1, 1, 1") && text.contains("1248424 weights and biases"),
        "{text}"
    );

    let digits = fails(folder.path(), &[&["evolve", "--device", "cpu"], &network[..]].concat(), 1);
    assert!(
        digits.contains("mnist-cppn draws in grey, the network \"squeezenet\" sees colour: imagenet-direct and imagenet-cppn are for it"),
        "{digits}"
    );
    let lenet = fails(folder.path(), &["evolve", "imagenet-cppn", "--device", "cpu"], 1);
    assert!(
        lenet.contains(
            "imagenet-cppn draws in colour, the network \"lenet\" (built in) sees grey: name one for ImageNet"
        ),
        "{lenet}"
    );
    let ten = fails(
        folder.path(),
        &[&["evolve", "imagenet-cppn", "--device", "cpu", "--set", "crops=2"], &network[..]].concat(),
        2,
    );
    assert!(ten.contains("--set: crops: got 2, wanted 1 or 10"), "{ten}");
    let class = ["evolve", "imagenet-direct", "--device", "cpu", "--classes", "999,1000"];
    let class = fails(folder.path(), &[&class[..], &network[..]].concat(), 2);
    assert!(class.contains("classes: got 1000, the network has classes 0 to 999"), "{class}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "a run folder was made");
    let plan = fails(folder.path(), &[&["plan"], &network[..]].concat(), 1);
    assert!(plan.contains("mnist-cppn draws in grey"), "{plan}");
    let small =
        fails(folder.path(), &[&["classify", &path("mnist/t10k-images-idx3-ubyte.gz")], &network[..]].concat(), 1);
    assert!(
        small.contains(
            "is 28 x 28 pixels, squeezenet wants 256 x 256, or the 227 x 227 in the middle of that; see --resize"
        ),
        "{small}"
    );
    let error = fails(folder.path(), &["classify", &hen, "--weights", &weights, "--class-names", &hen], 1);
    assert!(error.contains("hen_256.png: not a text"), "{error}");
    let error = fails(
        folder.path(),
        &["classify", &hen, "--weights", &path("lenet-paper.safetensors"), "--class-names", &names],
        1,
    );
    assert!(error.contains("imagenet_classes.txt: has 1000 class names, the network has 10 classes"), "{error}");
    let mean = path("mnist-mean.safetensors");
    let error = fails(folder.path(), &[&["classify", hen.as_str(), "--mean", mean.as_str()], &network[..]].concat(), 1);
    assert!(
        error.contains("tensor \"mean\" has shape (1, 28, 28), the network needs (3, 227, 227) or (3, 256, 256)"),
        "{error}"
    );
}
