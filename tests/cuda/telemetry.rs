//! What a GPU says of itself, and everything that shows it: by the emulated NVML, whose figures are known.

use crate::harness::{self, is_real};
use crate::program::{manifest, pareidolia, run};
use pareidolia::backend::cuda::device;
use pareidolia::telemetry::{Gpu, Sampler};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of the emulated GPU.
const WATTS: f64 = 312.5;
const MEMORY: u64 = 8 << 30;
const FASTEST: u64 = 1980;

const SHORT: [&str; 8] = ["--batch", "30", "--generations", "6", "--threads", "2", "--no-pictures", "--out"];

/// The program, with the emulated GPU changed by these variables; `None` where it cannot be had or a real one is to be tested.
fn emulated(folder: &TempDir, variables: &[(&str, &str)], args: &[&str]) -> Option<Command> {
    let mut command = pareidolia(folder, args).filter(|_| !is_real())?;
    command.envs(variables.iter().map(|(name, value)| (format!("PAREIDOLIA_EMULATOR_{name}"), value)));
    Some(command)
}

/// A short run on the emulated GPU with these variables: its run.json and its lines of metrics.
#[track_caller]
fn evolve(folder: &TempDir, variables: &[(&str, &str)], out: &str) -> Option<(Value, Vec<Value>)> {
    let args = [&["evolve", "mnist-cppn", "--device", "cuda:0"], &SHORT[..], &[out]].concat();
    run(emulated(folder, variables, &args)?, 0);
    let out = folder.path().join(out);
    Some((manifest(&out), lines(&out)))
}

fn lines(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn info(folder: &TempDir, variables: &[(&str, &str)]) -> Option<(Value, String)> {
    let json = run(emulated(folder, variables, &["info", "--json"])?, 0).0;
    let text = run(emulated(folder, variables, &["info"])?, 0).0;
    Some((serde_json::from_str(&json).unwrap(), text))
}

#[track_caller]
fn assert_near(got: &Value, want: f64) {
    let got = got.as_f64().unwrap();
    assert!((got - want).abs() <= 1e-9 * want.abs().max(1.0), "got {got}, want {want}");
}

#[test]
fn lines_and_manifest_say_what_the_gpu_took() {
    let folder = tempfile::tempdir().unwrap();
    let Some((whole, lines)) = evolve(&folder, &[], "run") else { return };
    assert_eq!(lines.len(), 7);
    let sum = |key: &str| lines.iter().map(|line| line["gpu"][key].as_f64().unwrap()).sum::<f64>();
    for line in &lines {
        let gpu = &line["gpu"];
        assert_eq!((&gpu["power_watts"], &gpu["sm_clock_mhz"]), (&WATTS.into(), &FASTEST.into()), "{line}");
        assert_eq!((&gpu["memory_clock_mhz"], &gpu["temperature_c"]), (&2619.into(), &41.into()), "{line}");
        assert_eq!((&gpu["memory_used_bytes"], &gpu["genomes"]), (&(MEMORY / 3).into(), &30.into()), "{line}");
        assert_eq!((&gpu["least_sm_clock_mhz"], &gpu["throttle_reasons"]), (&FASTEST.into(), &Value::Array(vec![])));
        assert!(gpu["energy_joules"].as_f64() >= Some(0.0) && gpu["seconds"].as_f64() > Some(0.0), "{line}");
    }
    let gpu = &whole["gpu"];
    assert_near(&gpu["energy_joules"], sum("energy_joules"));
    assert_near(&gpu["seconds"], sum("seconds"));
    assert_eq!(gpu["genomes"], whole["evaluations"]);
    // A launch takes 0.05 J, and each of the seven generations has five at the least.
    let energy = gpu["energy_joules"].as_f64().unwrap();
    assert!(energy >= 7.0 * 5.0 * 0.05, "{gpu}");
    assert_near(&gpu["mean_power_watts"], energy / sum("seconds"));
    assert_near(&gpu["joules_per_million_genomes"], energy * 1e6 / 210.0);
    assert_eq!((&gpu["least_sm_clock_mhz"], &gpu["throttle_reasons"]), (&FASTEST.into(), &Value::Array(vec![])));
    let facts = &gpu["facts"];
    assert_eq!((&facts["name"], &facts["is_part"]), (&"NVIDIA H100 (emulated)".into(), &false.into()));
    assert_eq!((&facts["power_limit_watts"], &facts["max_sm_clock_mhz"]), (&700.0.into(), &FASTEST.into()));

    // On the CPU there is no such thing.
    let args = [&["evolve", "mnist-cppn", "--device", "cpu"], &SHORT[..], &["cpu"]].concat();
    run(emulated(&folder, &[], &args).unwrap(), 0);
    let cpu = folder.path().join("cpu");
    assert!(manifest(&cpu).get("gpu").is_none() && self::lines(&cpu).iter().all(|line| line.get("gpu").is_none()));
    assert_eq!(manifest(&cpu)["archive_hash"], whole["archive_hash"]);
}

#[test]
fn what_holds_the_clocks_down_is_named_and_idleness_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let of = |bits: &str, out: &str| evolve(&folder, &[("THROTTLE", bits)], out);
    // Power limit, heat by software, and that nothing runs.
    let Some((whole, lines)) = of("0x25", "held") else { return };
    let reasons: Value = vec!["power limit", "heat (software)"].into();
    for gpu in lines.iter().map(|line| &line["gpu"]).chain([&whole["gpu"]]) {
        assert_eq!((&gpu["throttle_reasons"], &gpu["least_sm_clock_mhz"]), (&reasons, &1755.into()), "{gpu}");
    }
    let (whole, _) = of("1", "idle").unwrap();
    assert_eq!(whole["gpu"]["throttle_reasons"], Value::Array(vec![]));
    // A bit that no version of NVML has named yet.
    assert_eq!(of("0x80000000", "new").unwrap().0["gpu"]["throttle_reasons"], Value::Array(vec![]));
}

#[test]
fn what_the_gpu_does_not_say_is_null_and_the_run_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some((whole, _)) = evolve(&folder, &[], "whole") else { return };
    let refuse = |names: &[&str], code: u32, out: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("nvmlDeviceGet{name}:{code}")).collect();
        evolve(&folder, &[("NVML_REFUSES", &names.join(","))], out).unwrap()
    };
    let (no_counter, _) = refuse(&["TotalEnergyConsumption"], 3, "counter");
    let gpu = &no_counter["gpu"];
    assert_eq!((&gpu["energy_joules"], &gpu["joules_per_million_genomes"]), (&Value::Null, &Value::Null), "{gpu}");
    assert_near(&gpu["mean_power_watts"], WATTS);

    let all = [
        "TotalEnergyConsumption",
        "PowerUsage",
        "ClockInfo",
        "MaxClockInfo",
        "Temperature",
        "MemoryInfo_v2",
        "UtilizationRates",
        "CurrentClocksThrottleReasons",
        "EnforcedPowerLimit",
        "Name",
        "UUID",
    ];
    let (nothing, lines) = refuse(&all, 13, "nothing");
    for key in
        ["power_watts", "sm_clock_mhz", "memory_clock_mhz", "temperature_c", "memory_used_bytes", "energy_joules"]
    {
        assert!(lines.iter().all(|line| line["gpu"][key].is_null()), "{key}");
    }
    assert_eq!((&nothing["gpu"]["mean_power_watts"], &nothing["gpu"]["genomes"]), (&Value::Null, &210.into()));
    for other in [no_counter, nothing] {
        assert_eq!(other["archive_hash"], whole["archive_hash"]);
    }
}

#[test]
fn machine_without_nvml_is_a_good_one_and_info_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let refused = [("NVML_REFUSES", "nvmlInit_v2:9")];
    let Some((whole, lines)) = evolve(&folder, &refused, "refused") else { return };
    assert!(whole.get("gpu").is_none() && lines.iter().all(|line| line.get("gpu").is_none()), "{whole}");
    let (json, text) = info(&folder, &refused).unwrap();
    let why = "no NVML: NVIDIA driver is not loaded";
    assert_eq!((&json["gpus"][0]["no_nvml"], &json["gpus"][0]["nvml"]), (&why.into(), &Value::Null));
    assert!(text.contains(why), "{text}");

    // A driver without the library, unless the machine has one of its own.
    let bare = tempfile::tempdir().unwrap();
    let driver = pareidolia_emulator::folder().unwrap();
    for name in ["libcuda.so", "libcuda.so.1", "kernels.so", "kernels-checked.so"] {
        std::os::unix::fs::symlink(driver.join(name), bare.path().join(name)).unwrap();
    }
    let mut command = emulated(&folder, &[], &["info"]).unwrap();
    let text = run(
        {
            command.env("LD_LIBRARY_PATH", bare.path());
            command
        },
        0,
    )
    .0;
    let whys =
        ["no NVML: libnvidia-ml.so.1, a library of the driver, cannot be loaded", "NVML does not know the GPU: "];
    assert!(whys.iter().any(|why| text.contains(why)), "{text}");
}

#[test]
fn gpu_is_found_by_what_it_is_and_not_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    // CUDA shows the third and the fourth of four.
    let renumbered = [("DEVICES", "2"), ("HIDDEN", "2")];
    for more in [("NVML_REFUSES", ""), ("NVML_REFUSES", "nvmlDeviceGetHandleByUUID:6")] {
        let Some((json, _)) = info(&folder, &[&renumbered[..], &[more]].concat()) else { return };
        let temperatures = [0, 1].map(|gpu| json["gpus"][gpu]["nvml"]["now"]["temperature_c"].clone());
        assert_eq!(temperatures, [43, 44].map(Value::from), "{more:?}");
        let uuid = json["gpus"][1]["uuid"].as_str().unwrap();
        assert_eq!(json["gpus"][1]["nvml"]["uuid"], format!("GPU-{uuid}"));
    }
    let (_, text) = info(&folder, &[]).unwrap();
    for part in ["driver 580.65.06, NVML 13.580.65.06, GPU-", "now 312 of 700 W, 41 degrees", "clocks 1980 of 1980 MHz"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn part_of_a_gpu_has_its_own_memory_and_the_power_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some((json, text)) = info(&folder, &[("MIG", "1")]) else { return };
    let nvml = &json["gpus"][0]["nvml"];
    assert_eq!((&nvml["name"], &nvml["is_part"]), (&"NVIDIA H100 (emulated) MIG 1g.10gb".into(), &true.into()));
    assert!(nvml["uuid"].as_str().unwrap().starts_with("MIG-"), "{nvml}");
    assert_eq!(nvml["now"]["memory_used_bytes"], MEMORY / 9);
    assert_eq!((&nvml["now"]["power_watts"], &nvml["now"]["temperature_c"]), (&WATTS.into(), &41.into()));
    assert!(text.contains("a part of a GPU: power, clocks and heat are of the whole"), "{text}");
}

#[test]
fn slow_answers_do_not_hold_generations_up() {
    let folder = tempfile::tempdir().unwrap();
    // Each of the eight questions of an answer takes 50 ms: 100 generations that waited for one would take 40 s.
    let args =
        ["evolve", "mnist-direct", "--device", "cuda:0", "--batch", "2", "--generations", "100", "--no-pictures"];
    let Some(command) = emulated(&folder, &[("NVML_DELAY", "50")], &[&args[..], &["--out", "run"]].concat()) else {
        return;
    };
    let clock = Instant::now();
    run(command, 0);
    assert!(clock.elapsed() < Duration::from_secs(25), "{:?}", clock.elapsed());
    assert_eq!(manifest(&folder.path().join("run"))["gpu"]["genomes"], 202);
}

#[test]
fn progress_shows_rate_power_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (device, on_gpu) in [("cuda:0", true), ("cpu", false)] {
        let args = [&["evolve", "--device", device, "--progress", "plain"], &SHORT[..], &[device]].concat();
        let Some(command) = emulated(&folder, &[], &args) else { return };
        let stderr = run(command, 0).1;
        let line = stderr.lines().find(|line| line.starts_with("generations ")).unwrap();
        assert!(line.contains(" genomes/s"), "{line}");
        assert_eq!(line.contains("  312 W  2.7 GiB"), on_gpu, "{line}");
    }
}

#[test]
fn run_that_was_on_a_gpu_for_a_part_says_what_that_part_took() {
    let folder = tempfile::tempdir().unwrap();
    let Some((first, _)) = evolve(&folder, &[], "moved") else { return };
    let resume = |device: &str, generations: &str| {
        let args = ["evolve", "--resume", "moved", "--device", device, "--generations", generations, "--no-pictures"];
        run(emulated(&folder, &[("THROTTLE", "0x8")], &args).unwrap(), 0);
        manifest(&folder.path().join("moved"))["gpu"].clone()
    };
    let on_cpu = resume("cpu", "9");
    assert_eq!((&on_cpu["energy_joules"], &on_cpu["genomes"]), (&first["gpu"]["energy_joules"], &210.into()));
    assert_eq!((&on_cpu["facts"], &on_cpu["throttle_reasons"]), (&Value::Null, &Value::Array(vec![])));
    let last = resume("cuda:0", "12");
    assert_eq!((&last["genomes"], &last["least_sm_clock_mhz"]), (&300.into(), &1755.into()), "{last}");
    assert_eq!(last["throttle_reasons"], Value::from(vec!["hardware slowdown"]));
    assert!(last["energy_joules"].as_f64() > first["gpu"]["energy_joules"].as_f64());
}

#[test]
fn sampler_hears_until_it_is_dropped() {
    if !is_real() && harness::emulator().is_none() {
        return;
    }
    let gpu = match Gpu::open(&device::list().unwrap()[0]) {
        Ok(gpu) => Arc::new(gpu),
        Err(why) if is_real() => return crate::left_out::left_out(&why),
        Err(why) => panic!("{why}"),
    };
    let sampler = Sampler::start(Arc::clone(&gpu), Duration::from_millis(2)).unwrap();
    let (first, clock) = (sampler.take(), Instant::now());
    while sampler.count() < 4 {
        assert!(clock.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    let later = sampler.take();
    assert!(later.at > first.at && later.energy_joules >= first.energy_joules);
    drop(sampler);
    assert_eq!(Arc::strong_count(&gpu), 1, "the thread has ended");
}
