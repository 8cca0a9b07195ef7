//! `transfer`: its matrix against a literal computation from what `classify` says of the rendered images; refusals; damage.

#[path = "common/list.rs"]
mod list;

use pareidolia::archive::{Archive, content_hash};
use pareidolia::output::transfer::{ImageLine, TransferManifest};
use pareidolia::output::{Manifest, archive_file, hash_text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

fn committed(name: &str) -> String {
    format!("{}/weights/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn pareidolia(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pareidolia")).current_dir(folder).args(args).output().unwrap()
}

/// What a call that must succeed writes to standard output.
#[track_caller]
fn done(folder: &Path, args: &[&str]) -> String {
    let output = pareidolia(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a call that must fail with `code`, and must leave no folder `out`.
#[track_caller]
fn refused(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = pareidolia(folder, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let [line] = errors[..] else { panic!("{args:?}: {stderr}") };
    assert_eq!(stderr.lines().last(), Some(line), "{args:?}");
    assert!(!folder.join("out").exists(), "{args:?}: the folder is there");
    line.to_string()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The three networks that are committed: name in tables, and how `classify` and `transfer` are told of each.
fn networks() -> [(&'static str, Vec<String>); 3] {
    let option = |name: &str| vec!["--weights".to_owned(), committed(name)];
    let three = ["--network".to_owned(), committed("mnist-3x3.toml")];
    [
        ("lenet (built in)", Vec::new()),
        ("lenet-mnist-2", option("lenet-mnist-2.safetensors")),
        ("mnist-3x3", [&option("mnist-3x3.safetensors")[..], &three].concat()),
    ]
}

/// The same for a call of `transfer` with all of them.
fn all_networks() -> Vec<String> {
    let [two, three] = ["lenet-mnist-2.safetensors", "mnist-3x3.safetensors"].map(committed);
    let options = ["--weights", "built-in", "--weights", &two, "--weights", &three];
    let lists = ["--network", "-", "--network", "-", "--network", &committed("mnist-3x3.toml")];
    [options, lists].concat().into_iter().map(String::from).collect()
}

fn strings(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

const SHORT: [&str; 6] = ["--batch", "60", "--generations", "40", "--device", "cpu"];

/// Runs against different networks: a series of two by CPPNs and a direct one against LeNet, one by CPPNs against the 3x3 network.
fn runs(folder: &Path) {
    let [_, _, (_, three)] = networks();
    let evolve = |more: &[&str]| done(folder, &[&["evolve", "--no-pictures", "-q"], &SHORT[..], more].concat());
    evolve(&["mnist-cppn", "--runs", "2", "--out", "series"]);
    evolve(&["mnist-direct", "--out", "direct"]);
    evolve(&[&["mnist-cppn", "--seed", "7", "--out", "other"], &strings(&three)[..]].concat());
}

fn made_runs() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    runs(folder.path());
    folder
}

/// All probabilities of the images of the run in `folder`, by class of their niches, as `classify` says them of what `render` draws.
fn classified(folder: &Path, run: &str, network: &[String]) -> BTreeMap<usize, Vec<f32>> {
    let drawn = folder.join("drawn").join(run);
    if !drawn.exists() {
        let args = ["render", run, "--all", "--size", "28", "--out", drawn.to_str().unwrap()];
        done(folder, &args);
    }
    let mut files: Vec<PathBuf> = fs::read_dir(&drawn).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let args = [&["classify", "--json", "--top", "100", "--device", "cpu"], &files[..], &strings(network)[..]].concat();
    let answers = json(&done(folder, &args));
    let answers = answers.as_array().unwrap().iter().map(|answer| {
        let name = Path::new(answer["image"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
        let class: usize = name.split('_').next().unwrap().parse().unwrap();
        let top = answer["top"].as_array().unwrap();
        let mut probabilities = vec![f32::NAN; top.len()];
        for label in top {
            probabilities[label["class"].as_u64().unwrap() as usize] = label["probability"].as_f64().unwrap() as f32;
        }
        (class, probabilities)
    });
    answers.collect()
}

/// The most probable class, the first of equals, and its probability.
fn top(probabilities: &[f32]) -> (usize, f32) {
    let mut best = 0;
    for class in 1..probabilities.len() {
        if probabilities[class] > probabilities[best] {
            best = class;
        }
    }
    (best, probabilities[best])
}

/// The measures, one image after the other, as the specification has them.
#[derive(Default)]
struct Literal {
    images: u64,
    equal: u64,
    equal_9999: u64,
    less_confident: u64,
    fooled: u64,
    class_probability: f64,
}

impl Literal {
    fn of(own: &[&BTreeMap<usize, Vec<f32>>], other: &[&BTreeMap<usize, Vec<f32>>], only: Option<usize>) -> Literal {
        let mut literal = Literal::default();
        for (own, other) in own.iter().zip(other) {
            for (&class, own) in own.iter().filter(|(class, _)| only.is_none_or(|only| only == **class)) {
                let (source, target) = (top(own), top(&other[&class]));
                literal.images += 1;
                literal.class_probability += f64::from(other[&class][class]);
                if source.0 == target.0 {
                    literal.equal += 1;
                    if source.1 >= 0.9999 && target.1 >= 0.9999 {
                        literal.equal_9999 += 1;
                    }
                    if target.1 < source.1 {
                        literal.less_confident += 1;
                    }
                    if source.0 == class {
                        literal.fooled += 1;
                    }
                }
            }
        }
        literal
    }

    #[track_caller]
    fn is(&self, cell: &Value, what: &str) {
        let counts = [self.images, self.equal, self.equal_9999, self.less_confident, self.fooled];
        let names = ["images", "equal", "equal_9999", "less_confident", "fooled"];
        for (name, count) in names.into_iter().zip(counts) {
            assert_eq!(cell[name], count, "{what}: {name}");
        }
        let n = self.images as f64;
        assert_eq!(cell["equal_share"].as_f64().unwrap(), self.equal as f64 / n, "{what}");
        assert_eq!(cell["equal_9999_share"].as_f64().unwrap(), self.equal_9999 as f64 / n, "{what}");
        assert_eq!(cell["mean_class_probability"].as_f64().unwrap(), self.class_probability / n, "{what}");
        let less = (self.equal > 0).then(|| self.less_confident as f64 / self.equal as f64);
        assert_eq!(cell["less_confident_share"].as_f64(), less, "{what}");
    }
}

#[test]
fn the_matrix_is_what_classify_says_of_the_rendered_images() {
    let temporary = made_runs();
    let folder = temporary.path();
    let options = all_networks();
    let inputs = ["transfer", "other", "series", "direct", "--device", "cpu"];
    let text = done(folder, &[&inputs[..], &["--json", "--out", "out"], &strings(&options)[..]].concat());
    assert_eq!(text, fs::read_to_string(folder.join("out/matrix.json")).unwrap());
    let matrix = json(&text);
    // Of rows, by the networks' order and then by how images were made.
    let rows =
        [(0, "direct", vec!["direct"]), (0, "cppn", vec!["series/seed1", "series/seed2"]), (2, "cppn", vec!["other"])];
    assert_eq!(matrix["rows"].as_array().unwrap().len(), rows.len());
    let mut seen = Literal::default();
    for (row, (source, method, runs)) in matrix["rows"].as_array().unwrap().iter().zip(&rows) {
        assert_eq!(row["source"], networks()[*source].0);
        assert_eq!((&row["method"], &row["runs"]), (&Value::from(*method), &Value::from(runs.len())));
        let answers: Vec<Vec<_>> = networks()
            .iter()
            .map(|(_, network)| runs.iter().map(|run| classified(folder, run, network)).collect())
            .collect();
        for (target, (name, _)) in networks().iter().enumerate() {
            let cell = &row["cells"][target];
            assert_eq!((cell["network"].as_str(), cell["own"].as_bool()), (Some(*name), Some(target == *source)));
            let [own, other]: [Vec<_>; 2] = [*source, target].map(|network| answers[network].iter().collect());
            let literal = Literal::of(&own, &other, None);
            literal.is(cell, &format!("{method} of {source} on {name}"));
            for class in 0..10 {
                let of_class = &cell["classes"][class];
                assert_eq!(of_class["class"], class);
                Literal::of(&own, &other, Some(class)).is(of_class, &format!("class {class}"));
            }
            if target != *source {
                seen.images += literal.images;
                seen.equal += literal.equal;
                seen.equal_9999 += literal.equal_9999;
                seen.less_confident += literal.less_confident;
            }
        }
    }
    // The case is one that tells measures apart.
    let Literal { images, equal, equal_9999, less_confident, .. } = seen;
    assert!(0 < equal_9999 && equal_9999 < less_confident && less_confident < equal && equal < images);

    // Of classes over all that is not a network's own.
    let by_class = &matrix["by_class"];
    assert_eq!((&by_class[0]["method"], &by_class[1]["method"]), (&Value::from("direct"), &Value::from("cppn")));
    assert_eq!(by_class[1]["classes"][3]["images"], (2 + 1) * 2);
    let sum = |name: &str| -> u64 {
        let rows = matrix["rows"].as_array().unwrap().iter().filter(|row| row["method"] == "cppn");
        let cells = rows.flat_map(|row| row["cells"].as_array().unwrap()).filter(|cell| cell["own"] == false);
        cells.map(|cell| cell["classes"][3][name].as_u64().unwrap()).sum()
    };
    for name in ["equal", "equal_9999", "less_confident", "fooled"] {
        assert_eq!(by_class[1]["classes"][3][name], sum(name), "{name}");
    }

    // The records of images, and the manifest.
    let lines = fs::read_to_string(folder.join("out/images.jsonl")).unwrap();
    let lines: Vec<ImageLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40);
    for line in &lines {
        let run = line.input.as_str();
        for ((_, network), answer) in networks().iter().zip(&line.answers) {
            let probabilities = &classified(folder, run, network)[&line.class.unwrap()];
            assert_eq!((answer.label, answer.confidence), top(probabilities), "{run} {:?}", line.class);
            assert_eq!(answer.class_probability, Some(probabilities[line.class.unwrap()]));
        }
    }
    let manifest = TransferManifest::read(&folder.join("out/run.json")).unwrap();
    assert_eq!((manifest.images, manifest.inputs.len(), manifest.compared_classes), (40, 4, 10));
    let run = Manifest::read(&folder.join("series/seed2/run.json")).unwrap();
    assert_eq!(manifest.inputs[2].hash.as_deref(), Some(&hash_text(run.archive_hash)[..]));
    assert_eq!(manifest.inputs[2].weights_sha256.as_deref(), Some(&run.weights_sha256[..]));
    assert!(folder.join("out/heat_map.png").is_file());

    // Neither threads nor vectors change a byte of it; nor does it matter whether a run's own network is shown its images.
    let again =
        [&inputs[..], &["--out", "again", "--threads", "1", "--simd", "plain"], &strings(&options)[..]].concat();
    let table = done(folder, &again);
    assert!(
        table.contains("lenet-mnist-2")
            && table.contains("on other networks than their own; most often at .9999 on both: "),
        "{table}"
    );
    for file in ["matrix.json", "images.jsonl", "heat_map.png"] {
        assert!(fs::read(folder.join("out").join(file)).unwrap() == fs::read(folder.join("again").join(file)).unwrap());
    }
    let two = committed("lenet-mnist-2.safetensors");
    let args = ["transfer", "series", "--weights", &two, "--json", "--out", "apart", "--device", "cpu"];
    let apart = json(&done(folder, &args));
    assert_eq!(apart["rows"][0]["cells"][0], matrix["rows"][1]["cells"][1]);
    assert_eq!(apart["rows"][0]["source"], "lenet (built in)");
    // A run is named by its archive too, and a folder of numbered names is found where none is named.
    let text = done(folder, &["transfer", "direct/archive.safetensors", "--device", "cpu"]);
    assert!(text.contains("runs/transfer\n"), "{text}");
    assert!(folder.join("runs/transfer/run.json").is_file());
}

#[test]
fn ascents_and_pictures_are_shown_too() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    done(folder, &["ascend", "--classes", "2,5", "--iterations", "150", "--out", "ascent", "--device", "cpu", "-q"]);
    let two = committed("lenet-mnist-2.safetensors");
    let networks = ["--weights", "built-in", "--weights", &two, "--device", "cpu", "--json"];
    let text = done(folder, &[&["transfer", "ascent", "ascent/images", "--out", "out"], &networks[..]].concat());
    let matrix = json(&text);
    let row = &matrix["rows"][0];
    assert_eq!((&row["method"], &row["images"]), (&Value::from("ascent"), &Value::from(2)));
    let run = json(&fs::read_to_string(folder.join("ascent/run.json")).unwrap());
    let confidence = |image: usize| f64::from(run["images"][image]["confidence_8bit"].as_f64().unwrap() as f32);
    let own = &row["cells"][0];
    assert_eq!(own["mean_class_probability"].as_f64().unwrap(), (confidence(0) + confidence(1)) / 2.0);
    assert_eq!((&own["equal"], &own["less_confident"]), (&Value::from(2), &Value::from(0)));
    // Its pictures by themselves: the same images, of which nobody says what they were made against.
    let pictures = &matrix["pictures"][0];
    assert_eq!((&pictures["source"], &pictures["images"]), (&Value::from("ascent/images"), &Value::from(2)));
    let lines = fs::read_to_string(folder.join("out/images.jsonl")).unwrap();
    let lines: Vec<ImageLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (place, cell) in pictures["cells"].as_array().unwrap().iter().enumerate() {
        let confidences = [0, 1].map(|image| lines[image].answers[place].confidence);
        assert_eq!([2, 3].map(|image| lines[image].answers[place].confidence), confidences);
        let mean = confidences.map(f64::from).iter().sum::<f64>() / 2.0;
        assert_eq!(cell["mean_confidence"].as_f64().unwrap(), mean);
        let labels: u64 = cell["labels"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(labels, 2);
    }
    assert!(lines[2].own.is_none() && lines[2].class.is_none() && lines[0].own.is_some());
    let table = done(folder, &["transfer", "ascent/images/", "--device", "cpu"]);
    assert!(table.contains("mean confidence") && !table.contains("against"), "{table}");

    // An ascent keeps values: without its network's mean there is no image.
    fs::remove_dir_all(folder.join("out")).unwrap();
    let line = refused(folder, 1, &["transfer", "ascent", "--weights", &two, "--out", "out"]);
    assert!(line.contains("the ascent was against lenet (built in, SHA-256 "), "{line}");
    // A value that is not the one whose hash run.json has.
    let file = folder.join("ascent/images.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len() - 1;
    let at = (end / 2..end).find(|&at| bytes[at] != 0).unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let line = refused(folder, 1, &["transfer", "ascent", "--out", "out"]);
    assert!(line.contains("images.safetensors: not the images of an ascent: "), "{line}");
}

const THREE: &str = r#"
name = "three"
channel_order = "grey"
image = 28
classes = 3
layers = [
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

#[test]
fn networks_of_other_classes_are_compared_on_those_they_share_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("three.toml"), THREE).unwrap();
    fs::write(folder.join("names.txt"), "7\nx\n1\n").unwrap();
    done(folder, &["weights", "random", "three.toml", "--seed", "3", "--out", "three.safetensors"]);
    done(folder, &[&["evolve", "--out", "run", "--no-pictures", "-q"], &SHORT[..]].concat());
    let networks = ["--weights", "built-in", "--weights", "three.safetensors"];
    let lists = ["--network", "-", "--network", "three.toml", "--class-names", "-", "--class-names", "names.txt"];
    let call = [&["transfer", "run", "--out", "out", "--device", "cpu"], &networks[..], &lists].concat();
    let line = refused(folder, 1, &call);
    assert!(line.contains("lenet (built in) has 10, three has 3; --shared-classes"), "{line}");
    let matrix = json(&done(folder, &[&call[..], &["--shared-classes", "--json"]].concat()));
    assert_eq!(matrix["shared_classes"], true);
    let classes: Vec<u64> =
        matrix["classes"].as_array().unwrap().iter().map(|class| class["class"].as_u64().unwrap()).collect();
    assert_eq!(classes, [1, 7]);
    let manifest = TransferManifest::read(&folder.join("out/run.json")).unwrap();
    assert_eq!((manifest.left_out, manifest.images, manifest.compared_classes), (8, 2, 2));
    // The literal computation: 1 and 7 are the third and first class of the other network.
    let three: Vec<String> =
        ["--weights", "three.safetensors", "--network", "three.toml"].iter().map(|text| text.to_string()).collect();
    let (own, other) = (classified(folder, "run", &[]), classified(folder, "run", &three));
    let cell = &matrix["rows"][0]["cells"][1];
    let (mut equal, mut sum) = (0, 0.0);
    for (place, class) in [1, 7].into_iter().enumerate() {
        let (own, other) = ([own[&class][1], own[&class][7]], [other[&class][2], other[&class][0]]);
        equal += u64::from(top(&own).0 == top(&other).0);
        sum += f64::from(other[place]);
    }
    assert_eq!(cell["equal"], equal);
    assert_eq!(cell["mean_class_probability"].as_f64().unwrap(), sum / 2.0);
    // Nothing in common.
    fs::write(folder.join("names.txt"), "a\nb\nc\n").unwrap();
    fs::remove_dir_all(folder.join("out")).unwrap();
    let line = refused(folder, 1, &[&call[..], &["--shared-classes"]].concat());
    assert!(line.contains("share no class by name"), "{line}");
}

#[test]
fn what_cannot_be_compared_is_said_in_one_line() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let evolve = |more: &[&str]| {
        done(folder, &[&["evolve", "--no-pictures", "-q", "--batch", "20", "--generations", "2"], more].concat());
    };
    evolve(&["--out", "run"]);
    evolve(&["--runs", "2", "--out", "series"]);
    evolve(&["--seed", "5", "--out", "swapped"]);
    fs::copy(folder.join("run/archive.safetensors"), folder.join("swapped/archive.safetensors")).unwrap();
    evolve(&["--out", "unfinished"]);
    fs::remove_file(folder.join("unfinished/run.json")).unwrap();
    evolve(&["--runs", "2", "--out", "gap"]);
    fs::remove_dir_all(folder.join("gap/seed2")).unwrap();
    evolve(&["--out", "foreign"]);
    fs::write(folder.join("foreign/run.json"), "{}").unwrap();
    fs::create_dir(folder.join("alone")).unwrap();
    fs::copy(folder.join("run/archive.safetensors"), folder.join("alone/archive.safetensors")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("text.png"), "no picture").unwrap();
    let archive = fs::read(folder.join("run/archive.safetensors")).unwrap();
    for (name, bytes) in [("short", &archive[..archive.len() / 2]), ("nothing", &[][..])] {
        evolve(&["--out", name]);
        fs::write(folder.join(name).join("archive.safetensors"), bytes).unwrap();
    }
    evolve(&["--out", "flipped"]);
    let mut bytes = archive.clone();
    let at = bytes.len() - 100;
    bytes[at] ^= 4;
    fs::write(folder.join("flipped/archive.safetensors"), bytes).unwrap();
    fs::write(
        folder.join("wide.toml"),
        THREE.replace("image = 28", "image = 32").replace("classes = 3", "classes = 10"),
    )
    .unwrap();
    done(folder, &["weights", "random", "wide.toml", "--out", "wide.safetensors"]);
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/file"), "").unwrap();

    let two = committed("lenet-mnist-2.safetensors");
    let wide = ["--weights", "built-in", "--weights", "wide.safetensors", "--network", "-", "--network", "wide.toml"];
    for (args, code, want) in [
        (vec!["none"], 1, "none: cannot open: "),
        (vec!["empty"], 1, "empty: neither the folder of a run, a series or an ascent"),
        (vec!["text.png"], 1, "text.png: neither a PNG, nor an IDX file"),
        (vec!["swapped"], 1, "swapped/archive.safetensors: is not the archive of the run: its hash is "),
        (vec!["unfinished"], 1, "it has no run.json; finish it: pareidolia evolve --resume unfinished"),
        (
            vec!["run", "gap"],
            1,
            "gap/seed2: is not the folder of a finished run: it has no run.json; finish it: pareidolia evolve --resume gap",
        ),
        (vec!["foreign"], 1, "foreign/run.json: not a manifest of a run: "),
        (vec!["alone"], 1, "alone: is not the folder of a finished run"),
        (vec!["alone/archive.safetensors"], 1, "no run.json is beside it"),
        (vec!["short"], 1, "short/archive.safetensors: not a valid archive: "),
        (vec!["nothing"], 1, "nothing/archive.safetensors: not a valid archive: "),
        (vec!["flipped"], 1, "flipped/archive.safetensors: not a valid archive: "),
        (vec!["run", "series", "run"], 2, "run: is there twice"),
        (vec!["series", "series/seed1"], 2, "series/seed1: is there twice"),
        (vec!["run", "--weights", "none.safetensors"], 1, "none.safetensors: cannot "),
        (vec!["run", "--weights", "text.png"], 1, "text.png: "),
        (vec!["run", "--weights", &two, "--weights", &two], 2, "is the same network as lenet-mnist-2: name it once"),
        ([&["run"], &wide[..]].concat(), 1, "lenet (built in) for 28 x 28 grey, wide for 32 x 32 grey"),
        ([&["run"], &wide[2..4], &wide[6..]].concat(), 1, "image 0: is 28 x 28 pixels, three wants 32 x 32"),
        (vec!["run", "--weights", &two, "--mean", "a", "--mean", "b"], 2, "--mean is there 2 times for 1 networks"),
        (vec!["run", "--network", "lenet"], 2, ""),
        (vec!["run", "--device", "cuda:77"], 1, "--device cuda:77: "),
    ] {
        let call = [&["transfer", "--out", "out"], &args[..]].concat();
        let output = pareidolia(folder, &call);
        if want.is_empty() {
            assert_eq!(output.status.code(), Some(code), "{args:?}");
            continue;
        }
        let line = refused(folder, code, &call);
        assert!(line.contains(want), "{args:?}: want {want:?} in {line:?}");
    }
    let line = refused(folder, 1, &["transfer", "run", "--out", "full"]);
    assert!(line.contains("full: is not empty, and nothing is ever overwritten; choose another --out"), "{line}");
    assert_eq!(fs::read_dir(folder.join("full")).unwrap().count(), 1);
    let line = refused(folder, 1, &["transfer", "run", "--out", "text.png"]);
    assert!(line.contains("text.png: is no folder"), "{line}");
}

/// A run whose archive `change` has altered, hashes and run.json with it: every hash in it fits.
fn forged(folder: &Path, change: impl Fn(&mut Archive)) {
    done(folder, &["evolve", "--out", "run", "--batch", "20", "--generations", "2", "--no-pictures", "-q"]);
    let file = folder.join("run/archive.safetensors");
    let (mut archive, about) = archive_file::read(&file).unwrap();
    change(&mut archive);
    for elite in &mut archive.elites {
        let elite = Arc::make_mut(elite);
        elite.content_hash = content_hash(&elite.probabilities, &elite.image, &elite.genome);
    }
    archive_file::write(&file, &archive, &about).unwrap();
    let mut manifest = Manifest::read(&folder.join("run/run.json")).unwrap();
    manifest.archive_hash = archive.hash();
    fs::write(folder.join("run/run.json"), manifest.to_json()).unwrap();
}

#[test]
fn forged_archives_are_found_out() {
    let temporary = tempfile::tempdir().unwrap();
    forged(temporary.path(), |_| {});
    done(temporary.path(), &["transfer", "run", "--out", "out"]);

    let temporary = tempfile::tempdir().unwrap();
    forged(temporary.path(), |archive| {
        let probability = &mut Arc::make_mut(&mut archive.elites[4]).probabilities[9];
        *probability = probability.next_up();
    });
    let line = refused(temporary.path(), 1, &["transfer", "run", "--out", "out"]);
    assert!(
        line.contains("run: its network lenet (built in) gives the image of class 4 other probabilities"),
        "{line}"
    );
    // Another network than the run's has no way to see it.
    let two = committed("lenet-mnist-2.safetensors");
    done(temporary.path(), &["transfer", "run", "--out", "out", "--weights", &two]);

    let temporary = tempfile::tempdir().unwrap();
    forged(temporary.path(), |archive| Arc::make_mut(&mut archive.elites[4]).image[300] ^= 1);
    let line = refused(temporary.path(), 1, &["transfer", "run", "--out", "out", "--weights", &two]);
    assert!(line.contains("archive.safetensors: the genome of class 4 draws another image"), "{line}");
}

/// A short run of `preset` against all three networks, which judge together by `rule`.
fn evolve_together(folder: &Path, out: &str, rule: &str, more: &[&str]) -> Manifest {
    let options = all_networks();
    let call = [&["evolve", "--no-pictures", "-q", "--device", "cpu", "--out", out, "--combine", rule], more].concat();
    done(folder, &[&call[..], &strings(&options)].concat());
    Manifest::read(&folder.join(out).join("run.json")).unwrap()
}

#[test]
fn networks_judge_together_as_they_judge_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    for (rule, preset) in [("mean", "mnist-cppn"), ("min", "mnist-cppn"), ("min", "mnist-direct")] {
        let run = format!("{rule}-{preset}");
        let manifest = evolve_together(folder, &run, rule, &[&[preset], &SHORT[..4]].concat());
        assert_eq!(manifest.network, format!("lenet + lenet + mnist-3x3, {rule}"));
        assert!(manifest.weights_sha256.ends_with(&format!(", {rule}")), "{}", manifest.weights_sha256);
        // What each says of the rendered images, joined as is written down.
        let each = networks().map(|(_, network)| classified(folder, &run, &network));
        let (archive, _) = archive_file::read(&folder.join(&run).join("archive.safetensors")).unwrap();
        for (class, elite) in archive.elites.iter().enumerate() {
            for (label, recorded) in elite.probabilities.iter().enumerate() {
                let [a, b, c] = [0, 1, 2].map(|network: usize| each[network][&class][label]);
                let want = if rule == "mean" { ((a + b) + c) / 3.0 } else { a.min(b).min(c) };
                assert_eq!(recorded.to_bits(), want.to_bits(), "{run}, elite {class}, class {label}");
            }
        }
        // Its own network is none of those it is shown to: what it said is what the archive has.
        let options = all_networks();
        let out = format!("{run}-shown");
        let args = [&["transfer", &run, "--json", "--out", &out, "--device", "cpu"], &strings(&options)[..]].concat();
        let matrix = json(&done(folder, &args));
        let row = &matrix["rows"][0];
        assert_eq!(
            row["source"],
            format!("built-in + lenet-mnist-2 + mnist-3x3, {rule}").replace("built-in", "built in")
        );
        let cells = row["cells"].as_array().unwrap();
        assert!(cells.iter().all(|cell| cell["own"] == false));
        let mean = |place: usize| cells[place]["mean_class_probability"].as_f64().unwrap();
        let own = manifest.statistics.mean;
        if rule == "min" {
            assert!((0..3).all(|place| mean(place) >= own), "{own}");
        } else {
            assert!(((mean(0) + mean(1) + mean(2)) / 3.0 - own).abs() < 1e-6, "{own}");
        }
    }
}

/// Networks that see parts of larger images in colour, as those for ImageNet do.
#[test]
fn networks_that_see_ten_crops_in_colour_judge_together_and_are_compared() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("tiny.toml"), list::TINY).unwrap();
    for seed in ["1", "2"] {
        let weights = format!("{seed}.safetensors");
        done(folder, &["weights", "random", "tiny.toml", "--seed", seed, "--out", &weights]);
    }
    let [one, two] = ["1.safetensors", "2.safetensors"];
    let both = ["--weights", one, "--weights", two, "--network", "tiny.toml"];
    let evolve = ["evolve", "--no-pictures", "-q", "--device", "cpu", "--set", "crops=10", "--batch", "20"];
    let made = [("imagenet-cppn", "alone", &both[..2]), ("imagenet-direct", "together", &both[..4])];
    for (preset, out, weights) in made {
        let rule: &[&str] = if out == "together" { &["--combine", "mean"] } else { &[] };
        let list = ["--network", "tiny.toml", "--generations", "6", "--out", out, preset];
        done(folder, &[&evolve[..], weights, rule, &list[..]].concat());
    }
    let said = |run: &str, weights: &str| {
        let drawn = folder.join("drawn").join(run);
        if !drawn.exists() {
            done(folder, &["render", run, "--all", "--size", "12", "--out", drawn.to_str().unwrap()]);
        }
        let mut files: Vec<String> =
            fs::read_dir(&drawn).unwrap().map(|entry| entry.unwrap().path().to_str().unwrap().to_owned()).collect();
        files.sort();
        let network = ["--weights", weights, "--network", "tiny.toml", "--crops", "10", "--device", "cpu"];
        let call = [&["classify", "--json", "--top", "4"][..], &network, &strings(&files)].concat();
        let answers = json(&done(folder, &call));
        let answers = answers.as_array().unwrap().iter().map(|answer| {
            let mut probabilities = vec![f32::NAN; 4];
            for label in answer["top"].as_array().unwrap() {
                probabilities[label["class"].as_u64().unwrap() as usize] =
                    label["probability"].as_f64().unwrap() as f32;
            }
            probabilities
        });
        answers.collect::<Vec<_>>()
    };
    let archive = |run: &str| archive_file::read(&folder.join(run).join("archive.safetensors")).unwrap().0;
    let (first, second) = (said("together", one), said("together", two));
    for ((elite, a), b) in archive("together").elites.iter().zip(&first).zip(&second) {
        let mean: Vec<u32> = a.iter().zip(b).map(|(a, b)| ((a + b) / 2.0).to_bits()).collect();
        assert_eq!(elite.probabilities.iter().map(|p| p.to_bits()).collect::<Vec<_>>(), mean);
    }
    // One crop says something else, so that ten were judged.
    let call =
        ["classify", "together", "--json", "--top", "4", "--weights", one, "--network", "tiny.toml", "--crops", "1"];
    let middle = json(&done(folder, &call))[0]["top"][0]["probability"].as_f64().unwrap() as f32;
    assert!(!first[0].contains(&middle), "{middle} among {:?}", first[0]);

    // What the matrix says of the run against one of them: its own network gives what is recorded, the other what `classify` says.
    let call = [&["transfer", "alone", "together", "--json", "--device", "cpu", "--out", "shown"][..], &both].concat();
    let matrix = json(&done(folder, &call));
    let row = matrix["rows"].as_array().unwrap().iter().find(|row| row["source"] == "1").unwrap();
    let (own, other) = (said("alone", one), said("alone", two));
    for (cell, answers) in row["cells"].as_array().unwrap().iter().zip([&own, &other]) {
        let mean = answers.iter().enumerate().map(|(class, answer)| f64::from(answer[class])).sum::<f64>() / 4.0;
        assert!((cell["mean_class_probability"].as_f64().unwrap() - mean).abs() < 1e-6, "{cell}");
        let equal = own.iter().zip(answers).filter(|(own, answer)| top(own).0 == top(answer).0).count();
        assert_eq!(cell["equal"], equal as u64, "{cell}");
    }
    for (elite, answer) in archive("alone").elites.iter().zip(&own) {
        assert_eq!(&elite.probabilities, answer);
    }
}

#[test]
fn a_run_against_several_networks_keeps_the_promise() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let short = ["--batch", "46", "--generations", "12"];
    let whole = evolve_together(folder, "whole", "min", &short);
    // Recorded; as with one network, whatever the machine.
    assert_eq!(hash_text(whole.archive_hash), "2f8a3bd13f71e662");
    for (out, more) in
        [("plain", &["--threads", "1", "--simd", "plain"][..]), ("chunks", &["--chunk", "6", "--threads", "3"])]
    {
        let run = evolve_together(folder, out, "min", &[&short[..], more].concat());
        assert_eq!(run.archive_hash, whole.archive_hash, "{out}");
    }
    let mean = evolve_together(folder, "mean", "mean", &short);
    assert_ne!(mean.archive_hash, whole.archive_hash);

    // Stopped and gone on with, by what the checkpoint says, and by what a call says that names all.
    for (out, more) in [("parts", vec![]), ("named", [all_networks(), vec!["--combine".into(), "min".into()]].concat())]
    {
        evolve_together(folder, out, "min", &["--batch", "46", "--generations", "5"]);
        let call = ["evolve", "--resume", out, "--generations", "12", "--no-pictures", "-q", "--device", "cpu"];
        done(folder, &[&call[..], &strings(&more)].concat());
        let run = Manifest::read(&folder.join(out).join("run.json")).unwrap();
        assert_eq!(run.archive_hash, whole.archive_hash, "{out}");
        assert_eq!((run.network, run.weights_sha256), (whole.network.clone(), whole.weights_sha256.clone()));
    }
    // Other networks, another order, another rule, one alone: another run.
    let [two, three, list] = ["lenet-mnist-2.safetensors", "mnist-3x3.safetensors", "mnist-3x3.toml"].map(committed);
    let resume = ["evolve", "--resume", "parts", "--generations", "20", "--device", "cpu"];
    let lists = ["--network", "-", "--network", &list];
    for more in [
        [&["--weights", "built-in", "--weights", &two, "--combine", "min"][..]].concat(),
        [&["--weights", &two, "--weights", &three, "--combine", "min"], &lists[..]].concat(),
        vec!["--weights", &two],
        vec!["--weights", "built-in"],
    ] {
        let line = refused(folder, 1, &[&resume[..], &more].concat());
        let want = "the checkpoint is of another run: the SHA-256 of the weights is ";
        assert!(line.contains(want) && line.contains(", min there and "), "{more:?}: {line}");
    }
    let options = all_networks();
    let line = refused(folder, 1, &[&resume[..], &strings(&options), &["--combine", "mean"]].concat());
    assert!(line.contains(", min there and ") && line.contains(", mean here"), "{line}");

    // One network is a run as it always was, whichever way it is named: hash, manifest, checkpoint.
    let alone = |out: &str, more: &[&str]| {
        let call = ["evolve", "--no-pictures", "-q", "--device", "cpu", "--out", out];
        done(folder, &[&call[..], &short, more].concat());
        json(&fs::read_to_string(folder.join(out).join("run.json")).unwrap())
    };
    let (one, named) = (alone("one", &[]), alone("one-named", &["--weights", "built-in"]));
    assert_eq!(one["archive_hash"], named["archive_hash"]);
    assert_eq!((&one["weights"], &named["weights"]), (&Value::from("built in"), &Value::from("built in")));
    assert_eq!(one["network"], "lenet");
    assert_eq!(
        one.as_object().unwrap().keys().collect::<Vec<_>>(),
        named.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let series = ["evolve", "--runs", "2", "--no-pictures", "-q", "--out", "series", "--device", "cpu"];
    done(folder, &[&series[..], &short].concat());
    let record = fs::read_to_string(folder.join("series/series.json")).unwrap();
    assert!(!record.contains("combine") && !record.contains("others"), "{record}");
    // A series against several networks has the runs that each seed has.
    done(
        folder,
        &[&series[..5], &["--out", "series-min", "--combine", "min", "--device", "cpu"], &short, &strings(&options)]
            .concat(),
    );
    let run = Manifest::read(&folder.join("series-min/seed1/run.json")).unwrap();
    assert_eq!(run.archive_hash, whole.archive_hash);
}

#[test]
fn networks_that_cannot_judge_together_are_refused_in_one_line() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    fs::write(folder.join("three.toml"), THREE).unwrap();
    fs::write(
        folder.join("wide.toml"),
        THREE.replace("image = 28", "image = 32").replace("classes = 3", "classes = 10"),
    )
    .unwrap();
    for name in ["three", "wide"] {
        let (list, file) = (format!("{name}.toml"), format!("{name}.safetensors"));
        done(folder, &["weights", "random", &list, "--out", &file]);
    }
    let two = committed("lenet-mnist-2.safetensors");
    let with = |name: &'static str| -> Vec<&str> {
        let (weights, list) =
            if name == "three" { ("three.safetensors", "three.toml") } else { ("wide.safetensors", "wide.toml") };
        vec!["--weights", "built-in", "--weights", weights, "--network", "-", "--network", list, "--combine", "min"]
    };
    for (args, code, want) in [
        (with("three"), 1, "the networks cannot judge together: lenet has 10 classes, three has 3"),
        (
            with("wide"),
            1,
            "the networks cannot judge together: lenet is for images of 28 x 28 grey, three for 32 x 32 grey",
        ),
        (vec!["--weights", &two, "--combine", "mean"], 2, "--combine mean: wanted several networks"),
        (vec!["--weights", &two, "--weights", "built-in"], 2, "2 networks judge together: say how with --combine mean"),
        (
            vec!["--weights", &two, "--weights", &two, "--combine", "min"],
            2,
            "network 2 (lenet) is the same as network 1",
        ),
        (vec!["--weights", &two, "--weights", "none.safetensors", "--combine", "min"], 1, "none.safetensors: cannot "),
    ] {
        for command in ["evolve", "plan"] {
            let line = refused(folder, code, &[&[command, "--out", "out"], &args[..]].concat());
            assert!(line.contains(want), "{args:?}: want {want:?} in {line:?}");
        }
    }
    let output = pareidolia(folder, &["evolve", "--weights", &two, "--weights", "built-in", "--combine", "max"]);
    assert_eq!(output.status.code(), Some(2));
    // A plan counts each of the networks.
    let total = |more: &[&str]| {
        let plan = json(&done(folder, &[&["plan", "--json", "--device", "cpu", "--threads", "1"], more].concat()));
        plan["memory"]["total_bytes"].as_u64().unwrap()
    };
    let (one, both) = (total(&[]), total(&["--weights", "built-in", "--weights", &two, "--combine", "min"]));
    assert!(both > one + 2 * 431_080 * 4, "{one} {both}");
}
