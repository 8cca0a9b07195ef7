//! The main job as a user runs it: the program, its exit codes, its folder; finished, continued, refused. What happens to a
//! run by force is in `faults`.

#[path = "common/program.rs"]
mod program;

use pareidolia::output::Manifest;
use program::{fails, names, pareidolia, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A short run of the main job: `mnist-cppn`, 40 candidates a generation.
const SHORT: [&str; 5] = ["evolve", "--batch", "40", "--threads", "2"];

fn short(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&SHORT);
    command.arg("--out").arg(folder).args(more);
    command
}

fn resume(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["evolve", "--resume"]);
    command.arg(folder).args(more);
    command
}

fn manifest(folder: &Path) -> Manifest {
    Manifest::read(&folder.join("run.json")).unwrap()
}

/// The lines of metrics.jsonl.
fn metrics(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Hash of the uninterrupted short run after `generations`.
fn hash_of(generations: u32) -> u64 {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("whole");
    run(short(&folder, &["--no-pictures", "--generations", &generations.to_string()]), 0);
    manifest(&folder).archive_hash
}

#[test]
fn run_folder_holds_what_the_readme_says() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("deep/run");
    let (stdout, _) = run(short(&folder, &["--generations", "12", "--json"]), 0);

    let manifest = manifest(&folder);
    assert_eq!(stdout, fs::read_to_string(folder.join("run.json")).unwrap(), "--json prints run.json");
    assert_eq!((manifest.generation, manifest.evaluations, manifest.seed), (12, 13 * 40, 1));
    assert_eq!(manifest.classes.len(), 10);
    let wanted = [
        "archive.safetensors",
        "checkpoint",
        "contact_sheet.png",
        "convergence.png",
        "elites",
        "lock",
        "metrics.jsonl",
        "run.json",
    ];
    assert_eq!(names(&folder), wanted.map(String::from).into());
    let files: BTreeSet<String> = manifest.classes.iter().map(|class| class.file.replace("elites/", "")).collect();
    assert_eq!(names(&folder.join("elites")), files);

    let lines = metrics(&folder);
    assert_eq!(lines.len(), 13);
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    let wanted = [
        "generation",
        "evaluations",
        "median",
        "mean",
        "min",
        "max",
        "over_99",
        "over_999",
        "over_9999",
        "replaced",
        "genomes_per_second",
        "archive_hash",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(lines[0]["replaced"], 10, "generation 0 fills every niche");
    assert_eq!(lines[12]["archive_hash"], format!("{:016x}", manifest.archive_hash));
}

#[test]
fn no_run_is_overwritten() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(short(&folder, &["--generations", "2", "--no-pictures"]), 0);
    let before = fs::read(folder.join("run.json")).unwrap();
    fails(short(&folder, &["--generations", "3"]), 1, "--resume");
    assert_eq!(fs::read(folder.join("run.json")).unwrap(), before);

    let default = |seed: &str| {
        let mut command = pareidolia(&SHORT);
        command.args(["--generations", "1", "--no-pictures", "--seed", seed]).current_dir(scratch.path());
        command
    };
    for _ in 0..2 {
        run(default("5"), 0);
    }
    let runs = names(&scratch.path().join("runs"));
    assert_eq!(runs, ["mnist-cppn-seed5", "mnist-cppn-seed5-2"].map(String::from).into());
}

#[test]
fn finished_run_is_extended_to_the_hash_of_a_whole_one() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(short(&folder, &["--generations", "5"]), 0);
    let before = manifest(&folder);
    let (_, stderr) = run(resume(&folder, &[]), 0);
    assert!(stderr.contains("finished"), "{stderr}");
    assert_eq!(manifest(&folder), before, "nothing was left to do");

    run(resume(&folder, &["--generations", "11", "--threads", "1", "--chunk", "6", "--simd", "plain"]), 0);
    let after = manifest(&folder);
    assert_eq!((after.generation, after.archive_hash), (11, hash_of(11)));
    assert_eq!(metrics(&folder).len(), 12);
    assert_eq!(names(&folder.join("elites")).len(), 10, "the earlier pictures are gone");

    run(resume(&folder, &["--generations", "12", "--no-pictures"]), 0);
    let left = ["archive.safetensors", "checkpoint", "lock", "metrics.jsonl", "run.json"];
    assert_eq!(names(&folder), left.map(String::from).into(), "no picture of an earlier archive stays");
}

#[test]
fn resume_or_start_is_one_command_for_a_requeued_job() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    let job =
        |more: &[&str]| short(&folder, &[&["--resume-or-start", "--no-pictures", "--generations", "6"], more].concat());
    run(job(&[]), 0);
    let before = manifest(&folder);
    run(job(&[]), 0);
    assert_eq!(manifest(&folder), before);
    fails(job(&["--seed", "2"]), 1, "seed");
    fails(job(&["--set", "cppn.add_edge_rate=0.25"]), 1, "cppn.add_edge_rate");
    assert_eq!(manifest(&folder), before);
}

#[test]
fn run_stops_at_the_first_rule() {
    let scratch = TempDir::new().unwrap();
    let stopped_by = |name: &str, rules: &[&str]| {
        let folder = scratch.path().join(name);
        run(short(&folder, &[rules, &["--no-pictures"]].concat()), 0);
        let manifest = manifest(&folder);
        (serde_json::to_value(manifest.stopped_by).unwrap(), manifest)
    };
    let (reason, manifest) = stopped_by("evaluations", &["--evaluations", "100"]);
    assert_eq!((reason, manifest.evaluations), ("evaluations".into(), 120));
    let (reason, manifest) = stopped_by("target", &["--target", "0.3"]);
    assert!(reason == "target" && manifest.statistics.min >= 0.3, "{reason} {}", manifest.statistics.min);
    let (reason, manifest) = stopped_by("time", &["--time", "300ms"]);
    assert!(reason == "time" && manifest.seconds >= 0.3, "{reason} {}", manifest.seconds);
    let (reason, manifest) = stopped_by("generations", &["--generations", "0"]);
    assert_eq!((reason, manifest.generation, manifest.evaluations), ("generations".into(), 0, 40));
}

#[test]
fn classes_given_are_the_niches() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(short(&folder, &["--classes", "3,5-7", "--generations", "2"]), 0);
    let classes: Vec<u32> = manifest(&folder).classes.iter().map(|class| class.class).collect();
    assert_eq!(classes, [3, 5, 6, 7]);
}

#[test]
fn wrong_calls_leave_nothing_behind() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    for (more, what) in [
        (vec!["--batch", "0"], "batch"),
        (vec!["--batch", "41"], "batch"),
        (vec!["--classes", "11"], "classes"),
        (vec!["--set", "cppn.add_egde_rate=1"], "cppn.add_edge_rate"),
        (vec!["--set", "cppn.add_edge_rate=much"], "cppn.add_edge_rate"),
        (vec!["--target", "1.5"], "target"),
    ] {
        let mut command = pareidolia(&["evolve", "--out"]);
        command.arg(&folder).args(&more);
        fails(command, 2, what);
        assert!(!folder.exists(), "{more:?}");
    }
    fails(short(&folder, &["--weights", "missing.safetensors"]), 1, "missing.safetensors");
    fails(short(&folder, &["--batch", "16777216", "--chunk", "16777216"]), 2, "--batch");
    let mut command = pareidolia(&["evolve", "--batch", "16777216", "--chunk", "16777216", "--out"]);
    command.arg(&folder).args(["--set", "cppn.max_edges=60000"]);
    fails(command, 1, "--chunk");
    assert!(!folder.exists());
    let file = scratch.path().join("file");
    fs::write(&file, "something").unwrap();
    fails(short(&file, &[]), 1, "file");
    fails(short(&file.join("below"), &[]), 1, "file");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something");
    fails(resume(scratch.path(), &[]), 1, "no checkpoint");
}

#[test]
fn other_weights_are_refused_on_resume() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("run");
    run(short(&folder, &["--generations", "2", "--no-pictures"]), 0);
    let other = scratch.path().join("other.safetensors");
    let mut bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 0x80; // the sign of the last bias
    fs::write(&other, bytes).unwrap();
    let other = other.to_str().unwrap();
    fails(resume(&folder, &["--weights", other, "--generations", "3"]), 1, "SHA-256");

    let folder = scratch.path().join("of other weights");
    run(short(&folder, &["--generations", "2", "--no-pictures", "--weights", other]), 0);
    run(resume(&folder, &["--generations", "3"]), 0); // the weights it was begun with
    fails(short(&folder, &["--generations", "4", "--resume-or-start"]), 1, "SHA-256");
}

#[test]
#[cfg(target_os = "linux")]
fn path_of_weights_that_no_checkpoint_can_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = TempDir::new().unwrap();
    let weights = scratch.path().join(std::ffi::OsStr::from_bytes(b"lenet-\xff.safetensors"));
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist.safetensors"), &weights).unwrap();
    let folder = scratch.path().join("run");
    let mut command = short(&folder, &["--generations", "1", "--weights"]);
    command.arg(&weights);
    fails(command, 1, "not UTF-8");
    assert!(!folder.exists());
}

/// A network for colour images of 36 pixels a side, of which it sees 32.
const COLOURS: &str = r#"
name = "colours"
channel_order = "RGB"
image = 36
crop = 32
scale = 0.0078125
classes = 1000
layers = [
  { name = "a", type = "convolution", outputs = 8, kernel = 8, stride = 4 },
  { name = "ra", type = "relu" },
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

#[test]
fn a_thousand_classes_in_colour_are_evolved_listed_judged_again_and_drawn() {
    let scratch = TempDir::new().unwrap();
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("colours.toml"), COLOURS).unwrap();
    let name = |class: u32| format!("class {class}, of which there are\ta great many names, this and that");
    fs::write(path("names.txt"), (0..1000).map(|class| name(class).replace('\t', " ") + "\n").collect::<String>())
        .unwrap();
    let (list, weights, names_file, folder) =
        (path("colours.toml"), path("w.safetensors"), path("names.txt"), path("run"));
    run(pareidolia(&["weights", "random", &list, "--out", &weights]), 0);
    let network = ["--weights", &weights, "--network", &list, "--class-names", &names_file, "--device", "cpu"];
    let evolve = |more: &[&str]| {
        let options = ["evolve", "imagenet-cppn", "--batch", "60", "--generations", "2", "--out", &folder];
        run(pareidolia(&[&options, &network[..], more].concat()), 0).0
    };
    let text = evolve(&[]);
    let manifest = manifest(scratch.path().join("run").as_path());
    // The best ten, the weakest ten, how many reach what; a name takes 24 characters.
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 10 + 1 + 10 + 1 + 4 + 1, "{text}");
    let mut best: Vec<_> = manifest.classes.iter().collect();
    best.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    for (line, class) in lines[1..11].iter().chain(&lines[12..22]).zip(best[..10].iter().chain(&best[990..])) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], class.class.to_string(), "{text}");
        assert_eq!(*words.last().unwrap(), pareidolia::output::confidence_text(class.confidence), "{text}");
        assert!(line.chars().count() == 5 + 2 + 24 + 1 + 10 && line.contains('…'), "{line:?}");
    }
    assert_eq!(lines[11], "  ...  (980 classes; run.json lists them)");
    let over = |least: f32| manifest.classes.iter().filter(|class| class.confidence >= least).count();
    let want =
        format!("{} of 1000 classes at 0.9 or more, {} at 0.99, {} at 0.999", over(0.9), over(0.99), over(0.999));
    assert_eq!(lines[23], want);
    assert_eq!(manifest.classes.len(), 1000);
    assert_eq!(names(&scratch.path().join("run/elites")).len(), 1000);
    assert_eq!(metrics(scratch.path().join("run").as_path()).len(), 3);

    // Ten crops were judged, and are again, unless the call says otherwise.
    let classify = |more: &[&str]| {
        let (json, _) = run(pareidolia(&[&["classify", &folder, "--json"], &network[..], more].concat()), 0);
        let elites: Vec<Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(elites.len(), 1000);
        elites.iter().filter(|elite| elite["elite"]["identical"] == true).count()
    };
    assert_eq!([classify(&[]), classify(&["--crops", "10"])], [1000, 1000]);
    assert!(classify(&["--crops", "1"]) < 100, "but for images of one colour");
    let (picture, drawn) = (path(&format!("run/{}", manifest.classes[3].file)), path("3.png"));
    run(pareidolia(&["render", &folder, "--class", "3", "--size", "36", "--out", &drawn]), 0);
    let read = |path: &str| pareidolia::output::pictures::read_png(Path::new(path)).unwrap();
    assert_eq!(read(&drawn).canvas.channels, 3);
    assert!(read(&drawn) == read(&picture));
    // The elite's own picture, in ten crops, is what the run saw.
    let (json, _) = run(
        pareidolia(&[&["classify", &picture, "--json", "--crops", "10", "--top", "1000"], &network[..]].concat()),
        0,
    );
    let labels: Value = serde_json::from_str(&json).unwrap();
    let label = labels[0]["top"].as_array().unwrap().iter().find(|label| label["class"] == 3).unwrap();
    assert_eq!(label["probability"].as_f64().unwrap() as f32, manifest.classes[3].confidence);
    fails(pareidolia(&[&["classify", &picture, "--crops", "3"], &network[..]].concat()), 2, "wanted 1 or 10");

    // One crop is what an archive means that does not say.
    fs::remove_dir_all(&folder).unwrap();
    evolve(&["--set", "crops=1"]);
    assert_eq!(classify(&[]), 1000);
    assert!(classify(&["--crops", "10"]) < 100);
}
