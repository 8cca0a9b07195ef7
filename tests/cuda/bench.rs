//! `pareidolia bench` on a GPU: its lines, what each is compared with, and what a generation moves.

use crate::evolution::job;
use crate::harness;
use crate::list::TINY;
use crate::program::{pareidolia, run};
use clap::ValueEnum;
use pareidolia::backend::cuda::probe::Kernel;
use pareidolia::backend::cuda::traffic::{Traffic, is_of_host};
use pareidolia::backend::cuda::{CudaBackend, device};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::bench::gpu::stage::{Drawn, GpuStage, Role};
use pareidolia::experiment::bench::gpu::want::{Want, job_of_yardstick};
use pareidolia::experiment::bench::stage::{State, Yardstick};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::predictions;
use pareidolia::simd::Simd;
use serde_json::Value;
use std::sync::Arc;

const PRESETS: [Preset; 2] = [Preset::MnistDirect, Preset::MnistCppn];

/// What a generation of `preset` sets going and moves, all candidates in one chunk.
fn traffic(preset: Preset, batch: u32, classes: &[u32], seeds: &[u64], chunk: u32) -> Option<Traffic> {
    let config = Config { batch, classes: classes.to_vec(), ..Config::preset(preset, Flavour::Faithful) };
    let launcher = Arc::new(harness::own_launcher()?);
    let mut backend = CudaBackend::new(job(&config, seeds), launcher, "a device".into(), chunk).unwrap();
    backend.generation().unwrap();
    Some(backend.traffic().unwrap())
}

#[test]
fn launches_and_bytes_of_a_generation_do_not_depend_on_population_or_classes() {
    for (preset, launches) in [(Preset::MnistDirect, 7), (Preset::MnistCppn, 8)] {
        let want = Traffic { launches, copies: 1, to_host_bytes: 80, ..Traffic::default() };
        for (batch, classes) in [(2, &[][..]), (50, &[]), (200, &[3, 5]), (1000, &[7]), (5000, &[])] {
            let Some(got) = traffic(preset, batch, classes, &[1], batch) else { return };
            assert_eq!(got, want, "{preset:?}, batch {batch}, classes {classes:?}");
        }
        // Counters of each run, in the same launches.
        let got = traffic(preset, 50, &[], &[1, 2, 3], 150).unwrap();
        assert_eq!(got, Traffic { to_host_bytes: 3 * 80, ..want });
        // Chunks are launches of their own.
        let got = traffic(preset, 50, &[], &[1], 26).unwrap();
        assert_eq!(got, Traffic { launches: 2 * launches - 1, ..want });
    }
}

#[test]
fn a_planted_launch_or_copy_is_seen() {
    let Some(launcher) = harness::own_launcher() else { return };
    let launcher = Arc::new(launcher);
    let config = Config { batch: 50, ..Config::preset(Preset::MnistDirect, Flavour::Faithful) };
    let mut backend = CudaBackend::new(job(&config, &[1]), Arc::clone(&launcher), "a device".into(), 50).unwrap();
    backend.generation().unwrap();
    let mut recorded = |more: &mut dyn FnMut(&mut CudaBackend)| {
        let graph = backend.record(|backend| {
            backend.select(0..50)?;
            more(backend);
            Ok(())
        });
        Traffic::of(&graph.unwrap()).unwrap()
    };
    let alone = recorded(&mut |_| {});
    assert_eq!(alone, Traffic { launches: 1, ..Traffic::default() });
    let with_launch = recorded(&mut |backend| backend.launch(Kernel::Render, 0..50).unwrap());
    assert_eq!(with_launch, Traffic { launches: 2, ..alone });

    let (mut to, from) = (launcher.zeros::<u32>(30).unwrap(), launcher.zeros::<u32>(30).unwrap());
    let host = [7_u32; 20];
    let with_copy = recorded(&mut |_| launcher.upload_part(&mut to, 4, &host).unwrap());
    assert_eq!(with_copy, Traffic { copies: 1, to_device_bytes: 80, ..alone });
    let within = recorded(&mut |_| launcher.stream().memcpy_dtod(&from, &mut to).unwrap());
    assert_eq!(within, Traffic { copies: 1, inside_bytes: 120, ..alone });
    let with_fill = recorded(&mut |_| launcher.stream().memset_zeros(&mut to).unwrap());
    assert_eq!(with_fill, Traffic { others: 1, ..alone });
}

#[test]
fn addresses_of_host_and_device_are_told_apart() {
    use cudarc::driver::DevicePtr;
    let Some(launcher) = harness::own_launcher() else { return };
    let buffer = launcher.zeros::<u32>(4).unwrap();
    assert!(!is_of_host(buffer.device_ptr(launcher.stream()).0).unwrap());
    let here = 5_u32;
    assert!(is_of_host(&raw const here as u64).unwrap());
}

#[test]
fn snapshot_puts_all_runs_back() {
    for preset in PRESETS {
        let config = Config { batch: 20, ..Config::preset(preset, Flavour::Faithful) };
        let Some(launcher) = harness::own_launcher() else { return };
        let job = job(&config, &[1, 2]);
        let mut backend = CudaBackend::new(job, Arc::new(launcher), "a device".into(), 40).unwrap();
        (0..3).for_each(|_| backend.generation().unwrap());
        let snapshot = backend.snapshot().unwrap();
        let (before, counters) = (backend.archive(1).unwrap(), backend.counters().unwrap());
        (0..3).for_each(|_| backend.generation().unwrap());
        let after = backend.counters().unwrap();
        assert_ne!(after, counters);
        backend.put_back(&snapshot).unwrap();
        assert_eq!(backend.counters().unwrap(), counters);
        assert_eq!(backend.archive(1).unwrap().hash(), before.hash());
        (0..3).for_each(|_| backend.generation().unwrap());
        assert_eq!(backend.counters().unwrap(), after, "{preset:?}");
    }
}

const KERNELS: [Kernel; 10] = [
    Kernel::Randomise,
    Kernel::Select,
    Kernel::Vary,
    Kernel::Compile,
    Kernel::Render,
    Kernel::Layers,
    Kernel::Features,
    Kernel::Probabilities,
    Kernel::NicheArgmax,
    Kernel::Insert,
];

#[test]
fn every_kernel_agrees_with_the_cpu_also_after_it_was_timed_and_another_runs_bits_are_refused() {
    let tiny = Network::random(&List::parse(TINY).unwrap(), 1).unwrap();
    for &preset in Preset::value_variants() {
        let Some(launcher) = harness::own_launcher() else { return };
        let (launcher, device) = (Arc::new(launcher), device::list().unwrap().remove(0));
        let imagenet = preset.is_imagenet();
        let state = if imagenet { State::against(preset, &tiny) } else { State::new(preset) }.unwrap();
        let other = State { job: Job { seeds: vec![9], ..state.job.clone() }, ..state.clone() };
        let (batch, simd) = (40, Simd::detect());
        let (want, wrong) = (Want::new(&state, batch, simd).unwrap(), Want::new(&other, batch, simd).unwrap());
        let mut stage = GpuStage::new(&state, &want, batch, 1, &launcher, &device, true).unwrap();
        let kernels = KERNELS.into_iter().filter(|&kernel| match kernel {
            Kernel::Compile => !preset.is_direct(),
            Kernel::Layers => imagenet,
            Kernel::Features | Kernel::Probabilities => !imagenet,
            _ => true,
        });
        for role in kernels.map(Role::Kernel).chain([Role::Loop]) {
            stage.check(role, &want).unwrap();
            let refused = stage.check(role, &wrong).unwrap_err().to_string();
            assert!(refused.contains("at batch 40") && refused.contains("disagrees"), "{role:?}: {refused}");
            match role {
                Role::Loop => assert!(!stage.time_loop(10).unwrap().is_zero()),
                Role::Kernel(kernel) => {
                    assert!(!stage.time_kernel(kernel, 3).unwrap().is_zero());
                    assert!(!stage.time_kernel(kernel, 1).unwrap().is_zero());
                }
            }
            stage.check(role, &want).unwrap_or_else(|error| panic!("after timing: {error}"));
        }
    }
}

#[test]
fn runs_at_once_are_compared_with_each_by_itself_and_other_bits_are_refused() {
    let Some(launcher) = harness::own_launcher() else { return };
    let (launcher, device) = (Arc::new(launcher), device::list().unwrap().remove(0));
    let state = State::new(Preset::MnistCppn).unwrap();
    let (batch, runs) = (20, 7);
    let mut want = Want::of_runs(&state, batch, runs, Simd::detect()).unwrap();
    assert_eq!(want.counters.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [0, 1, 3, 4, 6]);
    let mut stage = GpuStage::new(&state, &want, batch, runs, &launcher, &device, true).unwrap();
    stage.check(Role::Loop, &want).unwrap();
    stage.time_loop(3).unwrap();
    stage.check(Role::Loop, &want).unwrap();
    want.counters[3].1.archive_hash ^= 1;
    assert!(stage.check(Role::Loop, &want).unwrap_err().to_string().contains("in 7 runs"));
}

#[test]
fn yardstick_drawn_on_the_gpu_is_compared_with_the_reference() {
    let Some(launcher) = harness::own_launcher() else { return };
    let (launcher, device) = (Arc::new(launcher), device::list().unwrap().remove(0));
    let mut yardstick = Yardstick::new(11, Simd::detect());
    let job = job_of_yardstick(&yardstick).unwrap();
    let mut drawn = Drawn::new(job, &yardstick, &launcher, &device, true).unwrap();
    assert!(!drawn.time(3).unwrap().is_zero());
    drawn.check(&yardstick).unwrap();
    yardstick.graphs.swap(3, 4);
    assert!(drawn.check(&yardstick).is_err());
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const FAST: [&str; 4] = ["--seconds", "0.001", "--threads", "2"];

#[test]
fn json_has_the_device_the_limits_and_a_checked_line_for_every_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let steps = [
        "bench",
        "loop",
        "loop-runs",
        "vary",
        "render",
        "classify",
        "niche_argmax",
        "insert",
        "randomise_direct",
        "randomise_cppn",
        "render-20",
        "start",
    ];
    let options = ["--device", "cuda:0", "--batch", "8", "--runs", "2,3", "--json", "--out", "a.json"];
    let Some(command) = pareidolia(&folder, &[&steps[..], &options, &FAST].concat()) else { return };
    let (stdout, stderr) = run(command, 0);
    let report = json(&stdout);
    assert_eq!(report, json(&std::fs::read_to_string(folder.path().join("a.json")).unwrap()));

    let device = &report["device"];
    assert_eq!(device["id"], "cuda:0");
    assert!(device["compute_capability"].as_str().unwrap().contains('.') && device["l2_bytes"].as_u64() > Some(0));
    assert!(device["nvml"].is_object() != device["no_nvml"].is_string(), "{device}");
    let emulated = !harness::is_real();
    assert_eq!(device["emulated"], emulated);
    assert_eq!(stderr.contains("THIS IS THE EMULATED DRIVER"), emulated, "{stderr}");
    assert!(stderr.contains("26 lines and 5 limits of 0.001 s each"), "{stderr}");

    let peaks = report["peaks"].as_array().unwrap();
    let names: Vec<&str> = peaks.iter().map(|peak| peak["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fma", "copy-1MiB", "copy-16MiB", "copy-memory", "read-memory"]);

    let mut got = Vec::new();
    for line in report["results"].as_array().unwrap() {
        let text = |field: &str| line[field].as_str().unwrap_or("-");
        let number = |field: &str| line[field].as_f64().unwrap();
        let runs = line["runs"].as_u64().map_or(String::new(), |runs| format!("{runs}x"));
        got.push(format!("{} {} {runs}{}", text("step"), text("preset"), line["batch"]));
        assert!(0.0 < number("min") && number("min") <= number("per_second"), "{line}");
        assert_eq!(line["checked"], true);
        // What the GPU does not say of itself is null, and there all the same.
        let used = line["gpu"].as_object().unwrap();
        for field in ["power_watts", "joules_per_million", "sm_clock_mhz", "temperature_c", "throttle_reasons"] {
            assert!(used.contains_key(field), "{line}");
            assert!(device["nvml"].is_object() || used[field].is_null(), "{line}");
        }
        let is_loop = text("step").starts_with("loop");
        assert_eq!(line["traffic"].is_object(), is_loop, "{line}");
        if is_loop {
            assert_eq!(line["traffic"]["to_device_bytes"], 0);
            assert_eq!(line["traffic"]["to_host_bytes"], 80 * line["runs"].as_u64().unwrap_or(1));
        }
        if text("step") != "start" {
            let peak = peaks.iter().find(|peak| peak["name"] == line["limit"]).unwrap();
            let unit = if peak["unit"] == "GFLOP/s" { 2e-9 } else { 1e-9 };
            let want = number("per_second") * number("work") * unit / peak["median"].as_f64().unwrap();
            assert!((number("share") / want - 1.0).abs() < 1e-5, "{line}");
        }
    }
    let want = "loop mnist-cppn 8, loop mnist-direct 8, loop-runs mnist-cppn 2x200, loop-runs mnist-cppn 3x200, loop-runs \
                mnist-direct 2x200, loop-runs mnist-direct 3x200, randomise_direct mnist-direct 8, randomise_cppn mnist-cppn 8, \
                select mnist-cppn 8, select mnist-direct 8, vary_direct mnist-direct 8, vary_cppn mnist-cppn 8, compile_cppn \
                mnist-cppn 8, render_direct mnist-direct 8, render_cppn mnist-cppn 8, lenet_features_few mnist-cppn 8, \
                lenet_features_few mnist-direct 8, lenet_probabilities_few mnist-cppn 8, lenet_probabilities_few mnist-direct 8, \
                niche_argmax mnist-cppn 8, niche_argmax mnist-direct 8, insert mnist-cppn 8, insert mnist-direct 8, render-20 - 8, \
                start mnist-cppn 200, start mnist-direct 200";
    assert_eq!(got.join(", "), want);
}

#[test]
fn networks_are_timed_and_compared_with_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), TINY).unwrap();
    let call =
        ["bench", "--network", "tiny.toml", "--network", "lenet", "--device", "cuda:0", "--batch", "3", "--json"];
    let Some(command) = pareidolia(&folder, &[&call[..], &FAST].concat()) else { return };
    let (stdout, stderr) = run(command, 0);
    assert!(stderr.contains("2 lines and 5 limits"), "{stderr}");
    let report = json(&stdout);
    let lines = report["results"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| line["network"].as_str().unwrap()).collect::<Vec<_>>(), ["lenet", "tiny"]);
    for line in lines {
        assert_eq!(line["check"], "probabilities of the first and the last image, bit for bit, with the CPU's");
        assert_eq!((line["limit"].as_str(), line["batch"].as_u64()), (Some("fma"), Some(3)));
        assert!(line["gpu"].is_object() && line["weights"].as_str().unwrap().starts_with("random"), "{line}");
    }
}

#[test]
fn predicted_rates_stand_beside_the_measured_ones_and_the_table_says_what_moves() {
    let folder = tempfile::tempdir().unwrap();
    let steps = ["bench", "loop", "lenet_features", "--preset", "mnist-direct", "--device", "cuda:0", "--batch", "200"];
    let Some(command) = pareidolia(&folder, &[&steps[..], &["--out", "a.json"], &FAST].concat()) else { return };
    let (stdout, _) = run(command, 0);
    let report = json(&std::fs::read_to_string(folder.path().join("a.json")).unwrap());
    let line = &report["results"][1];
    let predicted = predictions::of("lenet_features_few_f32", 200).unwrap();
    assert_eq!(
        (line["kernel"].as_str(), line["predicted"].as_f64()),
        (Some("lenet_features_few_f32"), Some(predicted.rate))
    );
    assert_eq!(line["predicted_for"], "H100");
    // Nothing is predicted of vary_direct at this batch, so nothing of the loop.
    assert!(report["results"][0]["predicted"].is_null());

    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0].contains("EMULATED"), !harness::is_real(), "{stdout}");
    let row = lines.iter().find(|line| line.starts_with("lenet_features_few")).unwrap();
    assert!(row.contains("7400000") && row.contains("fma"), "{stdout}");
    let moved = "7 kernels, 1 copies: 0 bytes to the device, 80 to the host, 0 within";
    assert!(lines.iter().any(|line| line.starts_with("loop mnist-direct 200 ") && line.ends_with(moved)), "{stdout}");
}

#[test]
fn power_and_clocks_are_those_of_nvml_and_without_it_null() {
    if harness::is_real() {
        return; // what it says is what it is
    }
    let folder = tempfile::tempdir().unwrap();
    let call = ["bench", "select", "--preset", "mnist-direct", "--device", "cuda:0", "--batch", "8", "--json"];
    let args = [&call[..], &FAST].concat();
    let Some(command) = pareidolia(&folder, &args) else { return };
    let report = json(&run(command, 0).0);
    assert_eq!(report["device"]["nvml"]["power_limit_watts"], 700.0, "{report}");
    assert!(report["device"]["no_nvml"].is_null());
    let (line, used) = (&report["results"][0], &report["results"][0]["gpu"]);
    let watts = used["power_watts"].as_f64().unwrap();
    let joules = watts / line["per_second"].as_f64().unwrap() * 1e6;
    assert!(watts > 0.0 && (used["joules_per_million"].as_f64().unwrap() / joules - 1.0).abs() < 1e-5, "{line}");
    assert_eq!((&used["sm_clock_mhz"], &used["temperature_c"]), (&1980.into(), &41.into()));

    let mut command = pareidolia(&folder, &args).unwrap();
    command.env("PAREIDOLIA_EMULATOR_NVML_REFUSES", "nvmlInit_v2:9");
    let report = json(&run(command, 0).0);
    assert!(report["device"]["nvml"].is_null() && report["device"]["no_nvml"].as_str().unwrap().contains("no NVML"));
    assert!(report["results"][0]["gpu"]["power_watts"].is_null());

    let mut command = pareidolia(&folder, &args[..8]).unwrap();
    command.args(FAST).env("PAREIDOLIA_EMULATOR_THROTTLE", "4");
    let text = run(command, 0).0;
    assert!(text.contains("power limit 700 W") && text.contains("held by power limit"), "{text}");
}

#[test]
fn what_does_not_fit_into_memory_is_left_out_with_a_line() {
    if harness::is_real() {
        return; // its memory is what it is
    }
    let folder = tempfile::tempdir().unwrap();
    let args = ["bench", "select", "--preset", "mnist-direct", "--device", "cuda:0", "--batch", "8,4000"];
    let Some(mut command) = pareidolia(&folder, &[&args[..], &["--json"], &FAST].concat()) else { return };
    command.env("PAREIDOLIA_EMULATOR_MEMORY", (24 << 20).to_string());
    let (stdout, stderr) = run(command, 0);
    let report = json(&stdout);
    let left_out = report["left_out"][0].as_str().unwrap();
    assert!(left_out.starts_with("mnist-direct at batch 4000 takes "), "{left_out}");
    assert!(stderr.contains(&format!("left out: {left_out}")), "{stderr}");
    assert_eq!(report["results"].as_array().unwrap().len(), 1);

    let args = ["bench", "select", "--preset", "mnist-direct", "--device", "cuda:0", "--batch", "4000"];
    let mut command = pareidolia(&folder, &[&args[..], &FAST].concat()).unwrap();
    command.env("PAREIDOLIA_EMULATOR_MEMORY", (24 << 20).to_string());
    let (_, stderr) = run(command, 1);
    assert!(stderr.contains("nothing to time: mnist-direct at batch 4000 takes"), "{stderr}");
}

#[test]
fn calls_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["bench", "--device", "cuda:0", "--batch", "7"][..], "--batch 7: candidates are born in pairs"),
        (&["bench", "--device", "cuda:0", "--batch", "8", "compile", "--preset", "mnist-direct"], "nothing to time"),
        (&["bench", "--device", "cpu", "lenet_features"], "lenet_features is timed on a GPU"),
        (&["bench", "--device", "gpu"], "--device"),
        (&["bench", "--runs", "0"], "--runs"),
    ] {
        let Some(command) = pareidolia(&folder, args) else { return };
        let (stdout, stderr) = run(command, 2);
        assert!(stdout.is_empty() && stderr.contains(says), "{args:?}: {stderr}");
    }
}
