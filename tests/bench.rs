//! `pareidolia bench`: what it prints and writes, what `bench compare` makes of it, and the counts behind the shares. On a GPU:
//! tests/cuda/bench.rs.

#[path = "common/list.rs"]
mod list;

use pareidolia::experiment::bench::work::{OPERATIONS_OF_COLOUR, operations_of};
use pareidolia::genome::colour::hls_to_rgb;
use pareidolia::genome::cppn::Activation;
use pareidolia::math;
use pareidolia::predictions::{self, PREDICTIONS};
use pareidolia::simd::{Lanes, Plain};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn pareidolia(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pareidolia"));
    command.args(args).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap()
}

/// What a call writes to stdout and stderr, which must end with `code`.
#[track_caller]
fn ends(folder: &TempDir, code: i32, args: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = pareidolia(folder, args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    (stdout, stderr)
}

fn read(folder: &TempDir, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.path().join(file)).unwrap()).unwrap()
}

fn write(folder: &TempDir, file: &str, value: &Value) {
    fs::write(folder.path().join(file), value.to_string()).unwrap();
}

#[test]
fn json_has_machine_commit_flags_peaks_and_a_checked_line_for_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let steps = [
        "loop",
        "vary",
        "compile",
        "render",
        "classify",
        "insert",
        "render-20",
        "render-20-colour",
        "mutate-colour",
        "start",
    ];
    let options =
        ["--device", "cpu", "--batch", "3,40", "--seconds", "0.001", "--threads", "2", "--json", "--out", "a.json"];
    let (stdout, _) = ends(&folder, 0, &[&["bench"], &steps[..], &options].concat());
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report, read(&folder, "a.json"));

    assert_eq!(report["format"], "pareidolia-bench 1");
    for text in ["date", "command", "version", "commit"] {
        assert!(!report[text].as_str().unwrap().is_empty(), "{text}");
    }
    assert!(report["machine"]["threads"].as_u64().unwrap() >= 1);
    assert_eq!(report["flags"]["threads"], 2);
    assert!(report["flags"]["compiler"].as_str().unwrap().contains("opt-level"));
    let peaks = report["peaks"].as_array().unwrap();
    for peak in peaks {
        let [min, median, max] = ["min", "median", "max"].map(|field| peak[field].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{peak}");
    }
    let named = |name: &str| peaks.iter().find(|peak| peak["name"] == name);
    assert!(["fma-plain", "copy-64KiB", "copy-memory", "read-memory"].into_iter().all(|name| named(name).is_some()));

    let mut got: Vec<String> = Vec::new();
    for line in report["results"].as_array().unwrap() {
        let [step, preset] = ["step", "preset"].map(|field| line[field].as_str().unwrap_or("-"));
        got.push(format!("{step} {preset} {}", line["batch"]));
        let number = |field: &str| line[field].as_f64().unwrap();
        assert!(0.0 < number("min") && number("min") <= number("per_second"), "{line}");
        assert!(number("per_second") <= number("max") && number("samples") >= 5.0, "{line}");
        assert_eq!(line["checked"], true);
        assert!(!line["check"].as_str().unwrap().is_empty());
        if step == "start" {
            assert!(line["share"].is_null() && line["limit"].is_null());
        } else {
            // A share is what it says it is.
            let peak = named(line["limit"].as_str().unwrap()).unwrap();
            let unit = if peak["unit"] == "GFLOP/s" { 2e-9 } else { 1e-9 };
            let want = number("per_second") * number("work") * unit / peak["median"].as_f64().unwrap();
            assert!((number("share") / want - 1.0).abs() < 1e-5, "{line}");
        }
    }
    // An odd batch is drawn and classified only; pixels are not compiled.
    let want = "loop mnist-cppn 40, loop mnist-direct 40, vary mnist-cppn 40, vary mnist-direct 40, compile mnist-cppn 3, \
                compile mnist-cppn 40, render mnist-cppn 3, render mnist-cppn 40, render mnist-direct 3, render mnist-direct 40, \
                classify mnist-cppn 3, classify mnist-cppn 40, classify mnist-direct 3, classify mnist-direct 40, \
                insert mnist-cppn 40, insert mnist-direct 40, render-20 - 3, render-20 - 40, \
                render-20-colour - 3, render-20-colour - 40, mutate-colour - 3, mutate-colour - 40, start mnist-cppn 200, \
                start mnist-direct 200";
    assert_eq!(got.join(", "), want);
}

#[test]
fn presets_of_imagenet_are_timed_against_the_networks_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), list::TINY).unwrap();
    let steps = ["loop", "vary", "render", "classify", "insert"];
    let presets = ["--preset", "imagenet-direct", "--preset", "imagenet-cppn"];
    let options = ["--network", "tiny.toml", "--batch", "6", "--seconds", "0.001", "--device", "cpu", "--json"];
    let (stdout, _) = ends(&folder, 0, &[&["bench"], &steps[..], &presets, &options].concat());
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let lines = report["results"].as_array().unwrap();
    assert_eq!(lines.len(), steps.len() * 2);
    for line in lines {
        assert_eq!((line["network"].as_str(), line["batch"].as_u64()), (Some("tiny"), Some(6)), "{line}");
        assert!(line["weights"].as_str().unwrap().contains("random"), "{line}");
        // Ten crops: conv1 5x5 outputs of 9 terms, 6 channels, of which fc takes 12 2x2 and 3x3 parts.
        if line["step"] == "classify" {
            let one = 6 * 5 * 5 * 9 + 4 * 12 * 3 * 3;
            assert_eq!(line["work"].as_f64(), Some(f64::from(10 * one)), "{line}");
        }
    }
    let grey = list::TINY.replace("RGB", "grey").replace("groups = 3", "groups = 1");
    let grey = grey.replace("mean = [1, 2.5, 3]\nscale = [0.5, 0.25, 0.125]\n", "");
    fs::write(folder.path().join("grey.toml"), grey).unwrap();
    let args = ["bench", "loop", "--preset", "imagenet-cppn", "--network", "grey.toml", "--device", "cpu"];
    let (_, stderr) = ends(&folder, 1, &args);
    assert!(stderr.contains("draws in colour"), "{stderr}");
}

#[test]
fn table_for_people_names_peak_line_and_limit() {
    let folder = tempfile::tempdir().unwrap();
    let call = ["bench", "classify", "--preset", "mnist-cppn", "--batch", "2", "--seconds", "0.001", "--simd", "plain"];
    let (stdout, _) = ends(&folder, 0, &[&call[..], &["--device", "cpu"]].concat());
    let line = stdout.lines().find(|line| line.starts_with("classify")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[1], words[2], *words.last().unwrap()), ("mnist-cppn", "2", "fma-plain"), "{stdout}");
    assert!(stdout.contains("copy-memory") && stdout.contains("GFLOP/s"), "{stdout}");
}

#[test]
fn networks_are_timed_with_random_weights_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), list::TINY).unwrap();
    let call = ["bench", "--network", "tiny.toml", "--network", "lenet", "--seconds", "0.001", "--device", "cpu"];
    let (stdout, _) = ends(&folder, 0, &[&call[..], &["--batch", "1,5", "--out", "a.json"]].concat());
    let report = read(&folder, "a.json");
    let mut got = Vec::new();
    for line in report["results"].as_array().unwrap() {
        got.push(format!("{} {} {}", line["step"].as_str().unwrap(), line["network"].as_str().unwrap(), line["batch"]));
        assert_eq!(line["weights"], "random weights (He, uniform, seed 1)");
        assert!(line["preset"].is_null() && line["checked"] == true && line["share"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert_eq!(got, ["network lenet 1", "network lenet 5", "network tiny 1", "network tiny 5"]);
    assert!(stdout.contains("\nnetworks: random weights (He, uniform, seed 1), images at random\n"), "{stdout}");

    // Beside a step that is named, and not where nothing is.
    let call = ["bench", "start", "--preset", "mnist-cppn", "--network", "tiny.toml", "--seconds", "0.001", "--json"];
    let (stdout, _) = ends(&folder, 0, &[&call[..], &["--device", "cpu", "--batch", "2"]].concat());
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let steps: Vec<&str> =
        report["results"].as_array().unwrap().iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["network", "start"]);

    let (_, stderr) = ends(&folder, 1, &["bench", "--network", "none.toml"]);
    assert!(stderr.contains("none.toml"), "{stderr}");
}

#[test]
fn calls_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["bench", "--batch", "0"][..], "--batch"),
        (&["bench", "--seconds", "0"], "--seconds"),
        (&["bench", "--seconds", "nan"], "--seconds"),
        (&["bench", "walk"], "walk"),
        (&["bench", "loop", "--device", "cpu", "--batch", "3", "--preset", "mnist-cppn"], "odd batch"),
        (&["bench", "compare", "a.json"], "B.json"),
        (&["bench", "compare", "a.json", "b.json", "--fail-below", "-1"], "--fail-below"),
    ] {
        let (stdout, stderr) = ends(&folder, 2, args);
        assert!(stdout.is_empty() && stderr.contains(says), "{args:?}: {stderr}");
    }
}

/// A report with two lines.
fn report() -> Value {
    let line = |step: &str, preset: Value, per_second: f64| {
        json!({
            "step": step, "preset": preset, "batch": 200, "per_second": per_second, "min": per_second * 0.9,
            "max": per_second * 1.1, "samples": 21, "seconds": 0.1, "share": 0.5, "limit": "fma-plain", "work": 1.0,
            "checked": true, "check": "all of it"
        })
    };
    json!({
        "format": "pareidolia-bench 1", "date": "2026-01-01T00:00:00Z", "command": "pareidolia bench --json",
        "version": "0.1.0", "commit": "0123456789ab", "arithmetic_version": 1,
        "machine": {
            "processor": "one", "threads": 2, "memory_bytes": 1000, "last_level_cache_bytes": null, "kernel": "Linux 6"
        },
        "flags": {
            "rustc": "rustc 1.89", "platform": "x", "compiler": "-C opt-level=3", "threads": 2, "simd": "plain",
            "seconds": 1.0
        },
        "busy": { "load_average": 0.0, "others": null },
        "peaks": [],
        "results": [line("loop", json!("mnist-cppn"), 1000.0), line("render-20", Value::Null, 5000.0)],
        "peers": ["a field of others"]
    })
}

#[test]
fn compare_passes_fails_and_names_what_is_below() {
    let folder = tempfile::tempdir().unwrap();
    let (before, mut after) = (report(), report());
    write(&folder, "a.json", &before);
    after["results"][1]["per_second"] = json!(4740.0);
    write(&folder, "b.json", &after);
    let compare = ["bench", "compare", "a.json", "b.json"];

    let (stdout, stderr) = ends(&folder, 0, &compare);
    assert_eq!(stderr, "");
    let ratios: Vec<&str> = stdout.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(ratios, ["1.000", "0.948"], "{stdout}");
    ends(&folder, 0, &[&compare[..], &["--fail-below", "0.94"]].concat());

    let (stdout, stderr) = ends(&folder, 1, &[&compare[..], &["--fail-below", "0.95"]].concat());
    assert!(stdout.contains("0.948"), "the table comes all the same: {stdout}");
    assert_eq!(stderr, "error: bench compare: below 0.95: render-20 200 (0.948)\n");
}

#[test]
fn compare_tells_of_other_machines_flags_and_missing_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (before, mut after) = (report(), report());
    after["machine"]["processor"] = json!("two");
    after["flags"]["simd"] = json!("avx2");
    after["results"][1]["batch"] = json!(256);
    write(&folder, "a.json", &before);
    write(&folder, "b.json", &after);
    let (stdout, stderr) = ends(&folder, 0, &["bench", "compare", "a.json", "b.json"]);
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    for said in ["processor: one before, two after", "--simd: plain before, avx2 after", "only the first has the line"]
    {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    assert!(stderr.contains("\"render-20 200\"") && stderr.contains("\"render-20 256\""), "{stderr}");

    after["results"] = json!([]);
    write(&folder, "b.json", &after);
    let (_, stderr) = ends(&folder, 1, &["bench", "compare", "a.json", "b.json"]);
    assert!(stderr.ends_with("no line in common\n"), "{stderr}");
}

/// A GPU as a report has it.
fn device(name: &str, driver: &str) -> Value {
    json!({
        "id": "cuda:0", "name": name, "compute_capability": "9.0", "multiprocessors": 132, "l2_bytes": 52428800,
        "memory_bytes": 85899345920_u64, "driver_cuda": "13.0", "kernels": "built", "emulated": false,
        "nvml": { "driver_version": driver, "power_limit_watts": 700.0, "is_part": false }, "no_nvml": null
    })
}

#[test]
fn compare_tells_of_another_device_driver_or_power_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (cpu, mut gpu, mut other) = (report(), report(), report());
    gpu["device"] = device("NVIDIA H100", "580.65.06");
    // The same line of several runs is another line.
    let line = gpu["results"][0].clone();
    gpu["results"].as_array_mut().unwrap().push(line);
    gpu["results"][2]["runs"] = json!(64);
    other["device"] = device("NVIDIA H100", "590.1");
    other["device"]["nvml"]["power_limit_watts"] = json!(350.0);
    for (file, report) in [("cpu.json", &cpu), ("gpu.json", &gpu), ("other.json", &other)] {
        write(&folder, file, report);
    }
    let (_, stderr) = ends(&folder, 0, &["bench", "compare", "cpu.json", "gpu.json"]);
    let said = "device: the CPU before, NVIDIA H100, compute capability 9.0 after";
    assert!(
        stderr.contains(said) && stderr.contains("only the second has the line \"loop mnist-cppn 64x200\""),
        "{stderr}"
    );
    let (_, stderr) = ends(&folder, 0, &["bench", "compare", "gpu.json", "other.json"]);
    assert!(!stderr.contains("device:") && stderr.contains("driver: 580.65.06 before, 590.1 after"), "{stderr}");
    assert!(stderr.contains("power limit: 700 W before, 350 W after"), "{stderr}");
    let (stdout, stderr) = ends(&folder, 0, &["bench", "compare", "gpu.json", "gpu.json"]);
    assert!(stderr.is_empty() && stdout.lines().count() == 4, "{stdout}{stderr}");
}

#[test]
fn compare_refuses_files_that_are_no_reports_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "good.json", &report());
    let mut other = report();
    other["format"] = json!("pareidolia-bench 0");
    write(&folder, "other.json", &other);
    let mut cut = report();
    cut["results"][0].as_object_mut().unwrap().remove("per_second");
    write(&folder, "cut.json", &cut);
    fs::write(folder.path().join("empty.json"), "").unwrap();
    fs::write(folder.path().join("binary.json"), [0xff, 0xfe, 0]).unwrap();
    for bad in ["absent.json", "empty.json", "binary.json", "cut.json", "other.json", "."] {
        for (a, b) in [(bad, "good.json"), ("good.json", bad)] {
            let (stdout, stderr) = ends(&folder, 1, &["bench", "compare", a, b]);
            assert_eq!(stdout, "");
            assert!(stderr.starts_with(&format!("error: {bad}: ")) && stderr.lines().count() == 1, "{stderr}");
        }
    }
}

#[test]
fn activations_take_the_operations_that_the_model_counts() {
    let count = |activation: fn(Counting) -> Counting| {
        OPERATIONS.set(0);
        activation(Counting::splat(0.75));
        OPERATIONS.get()
    };
    for (activation, function) in [
        (Activation::Sine, math::bounded::sin as fn(Counting) -> Counting),
        (Activation::Sigmoid, math::bounded::sigmoid),
        (Activation::Gaussian, math::bounded::gaussian),
        (Activation::Linear, math::bounded::clipped_linear),
    ] {
        assert_eq!(count(function), operations_of(activation), "{activation:?}");
    }
    OPERATIONS.set(0);
    hls_to_rgb(Counting::splat(200.0), Counting::splat(100.0), Counting::splat(50.0));
    assert_eq!(OPERATIONS.get(), OPERATIONS_OF_COLOUR);
}

thread_local! {
    /// Floating-point operations of [`Counting`] on this thread.
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Lanes that count.
#[derive(Clone, Copy)]
struct Counting(Plain);

type Bits = <Plain as Lanes>::Bits;
type Mask = <Plain as Lanes>::Mask;

/// Methods that count as an operation each, and methods that do not.
macro_rules! counting {
    ([$($name:ident($($arg:ident),*))*] [$($free:ident($($farg:ident: $fty:ty),*) -> $fout:ty;)*]) => {
        $(fn $name(self $(, $arg: Self)*) -> Self {
            OPERATIONS.set(OPERATIONS.get() + 1);
            Counting(self.0.$name($($arg.0),*))
        })*
        $(fn $free($($farg: $fty),*) -> $fout {
            Plain::$free($($farg),*)
        })*
    };
}

impl Lanes for Counting {
    const N: usize = Plain::N;
    type Bits = Bits;
    type Mask = Mask;

    counting! {
        [add(b) sub(b) mul(b) div(b) sqrt() mul_add(b, c) max(b) min(b)]
        [
            bits_splat(x: u32) -> Bits;
            bits_load(src: &[u32]) -> Bits;
            bits_store(bits: Bits, dst: &mut [u32]) -> ();
            bits_add(a: Bits, b: Bits) -> Bits;
            bits_sub(a: Bits, b: Bits) -> Bits;
            bits_and(a: Bits, b: Bits) -> Bits;
            bits_or(a: Bits, b: Bits) -> Bits;
            bits_xor(a: Bits, b: Bits) -> Bits;
            bits_mul_even(a: Bits, b: Bits) -> Bits;
            bits_odd_to_even(a: Bits) -> Bits;
            bits_interleave(even: Bits, odd: Bits) -> Bits;
            bits_eq(a: Bits, b: Bits) -> Mask;
            bits_lt(a: Bits, b: Bits) -> Mask;
            bits_select(mask: Mask, yes: Bits, no: Bits) -> Bits;
            mask_and(a: Mask, b: Mask) -> Mask;
            mask_or(a: Mask, b: Mask) -> Mask;
            mask_not(a: Mask) -> Mask;
            mask_bits(a: Mask) -> u64;
        ]
    }

    fn splat(x: f32) -> Self {
        Counting(Plain::splat(x))
    }
    fn load(src: &[f32]) -> Self {
        Counting(Plain::load(src))
    }
    fn store(self, dst: &mut [f32]) {
        self.0.store(dst);
    }
    fn lt(self, other: Self) -> Mask {
        self.0.lt(other.0)
    }
    fn le(self, other: Self) -> Mask {
        self.0.le(other.0)
    }
    fn eq(self, other: Self) -> Mask {
        self.0.eq(other.0)
    }
    fn select(mask: Mask, yes: Self, no: Self) -> Self {
        Counting(Plain::select(mask, yes.0, no.0))
    }
    fn to_bits(self) -> Bits {
        self.0.to_bits()
    }
    fn from_bits(bits: Bits) -> Self {
        Counting(Plain::from_bits(bits))
    }
    fn bits_shl<const S: u32>(a: Bits) -> Bits {
        Plain::bits_shl::<S>(a)
    }
    fn bits_shr<const S: u32>(a: Bits) -> Bits {
        Plain::bits_shr::<S>(a)
    }
    fn trunc_to_i32(self) -> Bits {
        self.0.trunc_to_i32()
    }
    fn from_i32(bits: Bits) -> Self {
        Counting(Plain::from_i32(bits))
    }
}

/// The names of all kernels in `folder` and below, but for those of math/, which no step uses.
fn kernels(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("math") {
            names.extend(kernels(&path));
        } else if path.extension().is_some_and(|extension| extension == "cu") {
            let text = fs::read_to_string(&path).unwrap();
            let heads = text.split("__global__ void").skip(1);
            names.extend(heads.map(|head| {
                // Behind the bounds of its blocks, if it has some.
                let head = head.trim_start();
                let name =
                    head.strip_prefix("__launch_bounds__").map_or(head, |bounds| bounds.split_once('\n').unwrap().1);
                name.split_once('(').unwrap().0.trim().to_string()
            }));
        }
    }
    names
}

#[test]
fn every_kernel_has_a_prediction() {
    let kernels = kernels(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels"));
    assert!(kernels.len() > 15 && kernels.iter().any(|name| name == "niche_argmax_cppn_f32"), "{kernels:?}");
    let lacks = |name: &&String| !PREDICTIONS.iter().any(|prediction| predictions::of(name, prediction.size).is_some());
    let lack: Vec<&String> = kernels.iter().filter(lacks).collect();
    assert!(lack.is_empty(), "no `Predicted` line in the header of {lack:?}");
    for prediction in PREDICTIONS {
        assert!(prediction.rate > 1e3 && prediction.reason.len() > 5 && prediction.device == "H100", "{prediction:?}");
    }
}

/// `benches/runs/` holds results that this program still reads.
#[test]
fn kept_results_are_readable() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs");
    for entry in fs::read_dir(runs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            pareidolia::experiment::bench::report::Report::read(&path).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
