//! `pareidolia plan`, and that runs stay within what it says.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn call(folder: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pareidolia")).args(args).current_dir(folder.path()).output().unwrap()
}

/// A small network for colour images of `image` pixels a side, of which it sees 32, in so many classes; its weights, in a folder of their own.
fn colour(image: usize, classes: usize) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let list = format!(
        "name = \"colours\"\nchannel_order = \"RGB\"\nimage = {image}\ncrop = 32\nscale = 0.0078125\nclasses = {classes}\n\
         layers = [\n\
         {{ name = \"a\", type = \"convolution\", outputs = 8, kernel = 8, stride = 8 }},\n\
         {{ name = \"ra\", type = \"relu\" }},\n\
         {{ name = \"fc\", type = \"dense\", outputs = \"classes\" }},\n\
         {{ name = \"prob\", type = \"softmax\" }},\n]\n"
    );
    fs::write(folder.path().join("colours.toml"), list).unwrap();
    let output = call(&folder, &["weights", "random", "colours.toml", "--out", "w.safetensors"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let options = ["--weights".into(), path("w.safetensors"), "--network".into(), path("colours.toml")];
    (folder, options.into())
}

/// The JSON that a call prints that must succeed.
#[track_caller]
fn json(folder: &TempDir, args: &[&str]) -> Value {
    let output = call(folder, &[args, &["--json"]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line of a call that must fail with `code`.
#[track_caller]
fn refused(folder: &TempDir, code: i32, args: &[&str]) -> String {
    let output = call(folder, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{args:?}");
    assert!(code == 2 || stderr.lines().count() == 1, "{args:?}: {stderr}");
    stderr
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number of bytes"))
}

fn sum(amounts: &Value) -> u64 {
    amounts.as_array().unwrap().iter().map(|amount| bytes(&amount["bytes"])).sum()
}

/// Whether the plan must also be near what is taken. Not so where CPPNs have room that they do not grow into, nor with
/// more threads than there are processors, which do not all get to work at once.
#[derive(PartialEq)]
enum Bound {
    Upper,
    Near,
}

#[test]
#[cfg(target_os = "linux")]
fn runs_take_no_more_memory_than_planned_and_not_much_less() {
    use Bound::{Near, Upper};
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist.safetensors");
    let large = ["--chunk", "16384", "--generations", "1", "--no-pictures"];
    let with_large = |more: &[&'static str]| {
        let batch: &[&str] = if more.contains(&"--batch") { &[] } else { &["--batch", "16384"] };
        [&large[..], batch, more].concat()
    };
    let program = {
        let plan = json(&tempfile::tempdir().unwrap(), &["plan", "mnist-direct", "--batch", "2", "--threads", "1"]);
        let parts = plan["memory"]["parts"].as_array().unwrap();
        let program = parts.iter().find(|part| part["what"].as_str().unwrap().starts_with("program"));
        bytes(&program.unwrap()["bytes"])
    };
    // Sixty megabytes of elites, of which each generation replaces some; with pictures and without.
    let (_colours, colours) = colour(128, 250);
    let colours: Vec<&str> = colours.iter().map(String::as_str).collect();
    let with_colours = |more: &[&'static str]| {
        let options = ["--batch", "250", "--threads", "2", "--set", "checkpoint_every=1"];
        [more, &options[..], &colours[..]].concat()
    };
    for (bound, args) in [
        (Upper, with_colours(&["imagenet-direct", "--generations", "6", "--no-pictures"])),
        (Upper, with_colours(&["imagenet-direct", "--generations", "1"])),
        (Upper, with_colours(&["imagenet-cppn", "--generations", "2"])),
        (Near, vec!["mnist-direct", "--batch", "2", "--threads", "1", "--generations", "20", "--no-pictures"]),
        (Near, vec!["mnist-direct", "--batch", "600", "--chunk", "64", "--generations", "1", "--simd", "plain"]),
        (Near, with_large(&["mnist-direct", "--threads", "2"])),
        (Near, with_large(&["mnist-direct", "--threads", "1", "--weights", weights])),
        (Upper, with_large(&["mnist-direct", "--threads", "8"])),
        (Near, with_large(&["mnist-direct", "--threads", "2", "--runs", "8", "--batch", "2000"])),
        (Near, vec!["mnist-direct", "--generations", "20", "--threads", "1"]),
        (Upper, vec!["mnist-cppn", "--generations", "60", "--threads", "2"]),
        (Upper, with_large(&["mnist-cppn", "--threads", "3"])),
        (Near, with_large(&["mnist-cppn", "--threads", "2", "--set", "cppn.max_nodes=8", "--set", "cppn.max_edges=8"])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        json(&folder, &[&["evolve", "--quiet", "--out", "run"], &args[..]].concat());
        // The runs of a series have a folder each; the one that was finished last saw the whole peak.
        let run = folder.path().join("run");
        let runs = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let manifests = runs.chain([run]).filter_map(|run| fs::read(run.join("run.json")).ok());
        let memory = manifests.map(|text| {
            let run: Value = serde_json::from_slice(&text).unwrap();
            (bytes(&run["peak_memory_bytes"]), bytes(&run["planned_memory_bytes"]))
        });
        let (peak, planned) = memory.max().unwrap();
        eprintln!(
            "planned {:5.1} MiB, taken {:5.1} MiB: {args:?}",
            planned as f64 / MIB as f64,
            peak as f64 / MIB as f64
        );
        assert!(peak <= planned, "{args:?}: planned {planned} bytes, taken {peak}");
        // What is planned and not taken: of the program and its libraries, which are counted whole, most of what no run needs, and
        // 2 MiB and 256 KiB a thread for odds and ends. A quarter is for buffers that are not needed at the same time, such as
        // copies of archives, pictures, and a weights file being read.
        let within = planned <= peak + peak / 4 + program;
        assert!(bound == Upper || within, "{args:?}: planned {planned}, of that {program} the program, taken {peak}");
    }
}

#[test]
fn evolve_says_and_keeps_what_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["mnist-direct", "--batch", "100", "--chunk", "60", "--generations", "50", "--threads", "2", "--out", "run"];
    let plan = json(&folder, &[&["plan"], &args[..]].concat());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a plan leaves nothing behind");
    let output = call(&folder, &[&["evolve"], &args[..]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let run: Value = serde_json::from_slice(&fs::read(folder.path().join("run/run.json")).unwrap()).unwrap();
    let total = bytes(&plan["memory"]["total_bytes"]);
    assert_eq!(bytes(&run["planned_memory_bytes"]), total);
    assert!(stderr.contains(&format!("memory at most {:.1} MiB", total as f64 / MIB as f64)), "{stderr}");

    assert_eq!((bytes(&plan["generations"]), bytes(&plan["evaluations"])), (51, 5100));
    assert_eq!((&run["generation"], &run["evaluations"]), (&50.into(), &5100.into()));
    for file in plan["output"]["files"].as_array().unwrap() {
        let (name, planned) = (file["what"].as_str().unwrap(), bytes(&file["bytes"]));
        let size = size(&folder.path().join("run").join(name));
        assert!(size <= planned, "{name}: planned {planned} bytes, there are {size}");
        // Direct genomes all have one size. Pictures and metrics depend on what is in them.
        let known = ["archive.safetensors", "checkpoint"].contains(&name);
        assert!(!known || size > planned - planned / 6, "{name}: planned {planned} bytes, there are {size}");
    }
}

/// Bytes of a file, or of the files in a folder.
fn size(path: &Path) -> u64 {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum();
    }
    fs::metadata(path).unwrap().len()
}

#[test]
fn plan_as_json_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let plan = json(&folder, &["plan", "--batch", "1000", "--chunk", "300", "--evaluations", "4500", "--threads", "2"]);
    let keys: Vec<&str> = plan.as_object().unwrap().keys().map(String::as_str).collect();
    let want = "preset flavour runs batch n_niches canvas crops device device_reason threads simd memory chunk chunks_per_generation largest_chunk speed generations \
                evaluations seconds output";
    assert_eq!(keys, want.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        (&plan["chunk"], &plan["chunks_per_generation"], &plan["n_niches"]),
        (&300.into(), &4.into(), &10.into())
    );
    let memory = &plan["memory"];
    assert_eq!(sum(&memory["parts"]), bytes(&memory["total_bytes"]));
    let machine = bytes(&memory["machine_bytes"]);
    assert_eq!(bytes(&memory["usable_bytes"]), machine - machine / 10);

    let speed = &plan["speed"];
    let measured: Vec<u64> = speed["measured"].as_array().unwrap().iter().map(|rate| bytes(&rate["chunk"])).collect();
    assert!(measured.contains(&300) && measured.is_sorted(), "{measured:?}");
    let of_plan = speed["measured"].as_array().unwrap().iter().find(|rate| rate["chunk"] == 300).unwrap();
    assert_eq!(speed["genomes_per_second"], of_plan["genomes_per_second"]);
    assert!(measured.contains(&bytes(&speed["best_batch"])));
    assert!(measured.contains(&bytes(&speed["best_chunk"])) && bytes(&speed["best_chunk"]) <= 1000);
    // 4500 candidates are five generations of 1000.
    assert_eq!((bytes(&plan["generations"]), bytes(&plan["evaluations"])), (5, 5000));
    let seconds = plan["seconds"].as_f64().unwrap();
    assert!((seconds * speed["genomes_per_second"].as_f64().unwrap() - 5000.0).abs() < 1e-6);
    let output = &plan["output"];
    assert_eq!(sum(&output["files"]) + bytes(&output["files"][0]["bytes"]), bytes(&output["total_bytes"]));
}

#[test]
fn plan_of_a_limited_time_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = json(&folder, &["plan", "--time", "90s", "--threads", "1", "--no-pictures"]);
    let seconds = plan["seconds"].as_f64().unwrap();
    assert!((89.0..=90.0).contains(&seconds), "{seconds}");
    let endless = json(&folder, &["plan", "--generations", "4294967295", "--target", "0.9", "--memory", "1TiB"]);
    assert_eq!([&endless["generations"], &endless["evaluations"], &endless["seconds"]], [&Value::Null; 3]);
    let text = call(&folder, &["plan", "--generations", "4294967295"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("until it is stopped") && text.contains("\n  total "), "{text}");
}

#[test]
fn what_cannot_fit_is_refused_with_the_largest_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let machine = ["plan", "--memory", "120MiB", "--no-pictures", "--threads", "1", "--set", "cppn.max_nodes=32"];
    let plan = |more: &[&'static str]| [&machine[..], more].concat();
    let line = refused(&folder, 1, &plan(&["--batch", "200000", "--chunk", "200000"]));
    assert!(line.contains("108.0 MiB can be used"), "nine tenths of 120: {line}");
    let fits: u32 = line.split("--chunk ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(line.contains(&format!("--batch {fits} or less")), "{line}");

    let (fits, more) = (fits.to_string(), (fits + 2).to_string());
    refused(&folder, 1, &[&machine[..], &["--batch", "200000", "--chunk", &more]].concat());
    let planned = json(&folder, &[&machine[..], &["--batch", "200000", "--chunk", &fits]].concat());
    assert_eq!(planned["largest_chunk"], planned["chunk"]);
    assert!(bytes(&planned["memory"]["total_bytes"]) <= bytes(&planned["memory"]["usable_bytes"]));

    let line = refused(&folder, 1, &["plan", "--memory", "1MiB"]);
    assert!(line.contains("even a chunk of 2") && line.contains("--no-pictures"), "{line}");
    // Genomes so large that no machine has the room: evolve refuses by the same rule, before it writes anything.
    let huge = ["--device", "cpu", "--set", "cppn.max_nodes=65536", "--set", "cppn.max_edges=1048576"];
    for command in ["plan", "evolve"] {
        let line = refused(&folder, 1, &[&[command], &huge[..]].concat());
        assert!(line.contains("most is for compiling and drawing"), "{line}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something was left behind");
}

#[test]
fn plans_that_cannot_be_made_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "no network").unwrap();
    for (code, args, want) in [
        (1, &["--weights", "none.safetensors"][..], "none.safetensors: cannot open"),
        (1, &["--weights", "file"], "file: "),
        (1, &["--device", "cuda:4000"], "--device cpu gives the same result"),
        (2, &["--classes", "10"], "classes: got 10"),
        (2, &["--batch", "3"], "--batch: got 3"),
        (2, &["--memory", "lots"], "wanted bytes"),
        (2, &["--resume", "run"], "--resume"),
    ] {
        let line = refused(&folder, code, &[&["plan"], args].concat());
        assert!(line.contains(want), "{args:?}: {line}");
    }
}

#[test]
fn niches_and_pixels_that_cannot_fit_are_refused_with_the_most_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let machine = ["--memory", "160MiB", "--no-pictures", "--threads", "1", "--device", "cpu", "--batch", "20"];
    let (_colours, colours) = colour(256, 500);
    let network: Vec<&str> = colours.iter().map(String::as_str).collect();
    let plan = [&["plan", "imagenet-direct"], &machine[..], &network].concat();
    let line = refused(&folder, 1, &plan);
    assert!(
        line.contains("500 niches of 256x256 images of 3 channels may take") && line.contains("--classes"),
        "{line}"
    );
    let fits: u32 = line.split("at most ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((20..100).contains(&fits), "{line}");
    let classes = |n: u32| format!("0-{}", n - 1);
    refused(&folder, 1, &[&plan[..], &["--classes", &classes(fits + 1), "--chunk", "2"]].concat());
    let planned = json(&folder, &[&plan[..], &["--classes", &classes(fits), "--chunk", "2"]].concat());
    let (total, usable) = (bytes(&planned["memory"]["total_bytes"]), bytes(&planned["memory"]["usable_bytes"]));
    assert!(total <= usable && total > usable - (4 << 20), "{total} of {usable}");

    // Images of which not even one elite fits. The CPU has no smaller memory to pretend, so evolve is refused by what is here.
    let (_colours, colours) = colour(40_000, 10);
    let network: Vec<&str> = colours.iter().map(String::as_str).collect();
    let line = refused(&folder, 1, &[&["plan", "imagenet-direct"], &machine[..], &network].concat());
    let width = line.split("images of ").last().unwrap().split('x').next().unwrap();
    assert!(line.contains("for one class") && (500..3000).contains(&width.parse().unwrap()), "{line}");
    let output = call(&folder, &[&["evolve", "imagenet-direct", "--device", "cpu"], &network[..]].concat());
    let line = String::from_utf8(output.stderr).unwrap(); // after a warning of the random weights
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("10 niches of 40000x40000 images of 3 channels may take"), "{line}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something was left behind");
}

#[test]
#[cfg(target_os = "linux")]
fn folder_of_a_run_in_colour_is_as_large_as_planned() {
    let folder = tempfile::tempdir().unwrap();
    let (_colours, colours) = colour(256, 120);
    let network: Vec<&str> = colours.iter().map(String::as_str).collect();
    for preset in ["imagenet-direct", "imagenet-cppn"] {
        let args = ["--batch", "120", "--generations", "3", "--device", "cpu", "--out", preset];
        let call = |command| [&[command, preset], &args[..], &network].concat();
        let plan = json(&folder, &call("plan"));
        json(&folder, &call("evolve"));
        let sizes = plan["output"]["files"].as_array().unwrap().iter().map(|file| {
            let name = file["what"].as_str().unwrap();
            let run = folder.path().join(preset);
            let pages = || ["contact_sheet.png", "contact_sheet-2.png"].map(|page| size(&run.join(page))).iter().sum();
            let there = if name.starts_with("contact_sheet") { pages() } else { size(&run.join(name)) };
            (name.to_owned(), bytes(&file["bytes"]), there)
        });
        for (name, planned, there) in sizes.collect::<Vec<_>>() {
            println!("{preset} {name}: planned {planned}, there are {there}");
            assert!(there <= planned, "{preset} {name}: planned {planned} bytes, there are {there}");
            // What is in it decides how large it is; of noise it is known.
            let known =
                preset == "imagenet-direct" && !["run.json", "metrics.jsonl", "convergence.png"].contains(&&*name);
            assert!(!known || there > planned / 2, "{preset} {name}: planned {planned} bytes, there are {there}");
        }
    }
}
