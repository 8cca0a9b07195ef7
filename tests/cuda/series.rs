//! `evolve --runs` on a GPU: many runs in the same launches, each the run that its seed makes by itself on a CPU.

use crate::program::{pareidolia, run};
use pareidolia::output::{Manifest, Stop, Summary};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

const PRESETS: [&str; 2] = ["mnist-direct", "mnist-cppn"];

/// Evolves with these arguments, on this device, into `out`; false, and said so, where there is no driver.
#[must_use]
fn evolve(folder: &TempDir, device: &str, out: &str, args: &[&str]) -> bool {
    let args = [&["evolve", "--device", device, "--no-pictures", "--out", out], args].concat();
    pareidolia(folder, &args).map(|command| run(command, 0)).is_some()
}

fn resume(folder: &TempDir, device: &str, out: &str, args: &[&str]) {
    let args = [&["evolve", "--device", device, "--no-pictures", "--resume", out], args].concat();
    run(pareidolia(folder, &args).expect("a driver, as before"), 0);
}

fn summary(folder: &TempDir, series: &str) -> Summary {
    let text = std::fs::read_to_string(folder.path().join(series).join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What of each run does not depend on the device.
fn ends(summary: &Summary) -> Vec<(u64, u64, u32, u64, Stop)> {
    let end = |run: &pareidolia::output::series::RunSummary| {
        (run.seed, run.archive_hash, run.generation, run.evaluations, run.stopped_by)
    };
    summary.runs.iter().map(end).collect()
}

/// Every generation has its line, in order.
#[track_caller]
fn assert_metrics_are_whole(run: &Path) {
    let manifest = Manifest::read(&run.join("run.json")).unwrap();
    let mut lines = Vec::new();
    pareidolia::output::metrics::read(&run.join("metrics.jsonl"), |line| lines.push(line)).unwrap();
    let generations: Vec<u32> = lines.iter().map(|line| line.generation).collect();
    assert!(generations.into_iter().eq(0..=manifest.generation), "{}", run.display());
    let last = lines.last().unwrap();
    assert_eq!((last.archive_hash, last.evaluations), (manifest.archive_hash, manifest.evaluations));
}

#[test]
fn runs_that_stop_at_different_generations_are_those_by_themselves() {
    for preset in PRESETS {
        let folder = tempfile::tempdir().unwrap();
        let target = if preset == "mnist-direct" { "0.01" } else { "0.3" };
        let job = [preset, "--batch", "20", "--classes", "2,3,7", "--set", "checkpoint_every=7", "--generations", "30"];
        let job = [&job[..], &["--target", target]].concat();
        let series = [&job[..], &["--seed", "3", "--runs", "4"]].concat();
        if !evolve(&folder, "cuda:0", "series", &series) {
            return;
        }
        let summary = summary(&folder, "series");
        let generations: Vec<u32> = summary.runs.iter().map(|run| run.generation).collect();
        assert!(generations.iter().any(|&generation| generation != generations[0]), "{preset}: {generations:?}");
        assert!(summary.runs.iter().any(|run| run.stopped_by == Stop::Target), "{preset}: {generations:?}");
        for (seed, line) in (3..7).zip(&summary.runs) {
            let (seed, alone) = (seed.to_string(), format!("alone{seed}"));
            assert!(evolve(&folder, "cpu", &alone, &[&job[..], &["--seed", &seed]].concat()));
            let [one, run] = [alone, format!("series/seed{seed}")].map(|run| folder.path().join(run));
            let (alone, manifest) = [&one, &run].map(|run| Manifest::read(&run.join("run.json")).unwrap()).into();
            assert_eq!(
                (manifest.archive_hash, manifest.generation, manifest.stopped_by, &manifest.classes),
                (alone.archive_hash, alone.generation, alone.stopped_by, &alone.classes),
                "{preset}, seed {seed}"
            );
            assert_eq!((line.archive_hash, line.generation), (alone.archive_hash, alone.generation));
            let file = |run: &Path| std::fs::read(run.join("archive.safetensors")).unwrap();
            assert!(file(&one) == file(&run), "{preset}, seed {seed}");
            assert_metrics_are_whole(&run);
        }
    }
}

#[test]
fn series_goes_on_wherever_it_was_and_ends_alike() {
    for preset in PRESETS {
        let folder = tempfile::tempdir().unwrap();
        let job = [preset, "--batch", "20", "--runs", "3", "--set", "checkpoint_every=3", "--generations"];
        if !evolve(&folder, "cuda:0", "gpu-first", &[&job[..], &["5"]].concat()) {
            return;
        }
        assert!(evolve(&folder, "cpu", "cpu-first", &[&job[..], &["5"]].concat()));
        for (series, devices) in [("gpu-first", ["cpu", "cuda:0"]), ("cpu-first", ["cuda:0", "cpu"])] {
            resume(&folder, devices[0], series, &["--generations", "9"]);
            resume(&folder, devices[1], series, &["--generations", "14"]);
        }
        assert!(evolve(&folder, "cpu", "whole", &[&job[..], &["14"]].concat()));
        let whole = summary(&folder, "whole");
        for series in ["gpu-first", "cpu-first"] {
            assert_eq!(ends(&summary(&folder, series)), ends(&whole), "{preset}, {series}");
            for run in &whole.runs {
                assert_metrics_are_whole(&folder.path().join(series).join(&run.folder));
            }
        }
    }
}

#[test]
fn series_that_was_stopped_or_killed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let job = ["mnist-direct", "--batch", "10", "--runs", "3", "--set", "checkpoint_every=4", "--generations"];
    for (signal, code) in [("TERM", Some(143)), ("KILL", None)] {
        let out = format!("stopped-{signal}");
        let args = [&["evolve", "--device", "cuda:0", "--no-pictures", "--out", &out], &job[..], &["100000"]].concat();
        let Some(mut command) = pareidolia(&folder, &args) else { return };
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let last = folder.path().join(&out).join("seed3/checkpoint");
        while !last.exists() {
            assert_eq!(child.try_wait().unwrap(), None);
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), code);
        // Somewhat further than any run has come.
        let generation = |seed: u32| {
            let mut last = 0;
            let metrics = folder.path().join(&out).join(format!("seed{seed}/metrics.jsonl"));
            pareidolia::output::metrics::read(&metrics, |line| last = line.generation).unwrap();
            last
        };
        let end = ((1..=3).map(generation).max().unwrap() + 3).to_string();
        resume(&folder, "cuda:0", &out, &["--generations", &end]);
        let whole = format!("whole-{signal}");
        assert!(evolve(&folder, "cpu", &whole, &[&job[..], &[&end]].concat()));
        assert_eq!(ends(&summary(&folder, &out)), ends(&summary(&folder, &whole)), "{signal}");
        (1..=3).for_each(|seed| assert_metrics_are_whole(&folder.path().join(&out).join(format!("seed{seed}"))));
    }
}

#[test]
fn three_hundred_runs_are_those_of_the_cpu() {
    for preset in PRESETS {
        let folder = tempfile::tempdir().unwrap();
        let job = [preset, "--batch", "2", "--runs", "300", "--generations", "3"];
        if !evolve(&folder, "cuda:0", "gpu", &job) {
            return;
        }
        assert!(evolve(&folder, "cpu", "cpu", &job));
        let [gpu, cpu] = ["gpu", "cpu"].map(|out| summary(&folder, out));
        assert_eq!(ends(&gpu), ends(&cpu), "{preset}");
        assert_eq!(gpu.runs.len(), 300);
        for seed in [1, 150, 300] {
            assert_metrics_are_whole(&folder.path().join(format!("gpu/seed{seed}")));
        }
        // The GPU made all of them at once, and each run says so.
        if let Some(of_all) = &gpu.gpu {
            assert_eq!(of_all.genomes, 300 * 2 * 4, "{preset}");
            let one = Manifest::read(&folder.path().join("gpu/seed7/run.json")).unwrap().gpu.unwrap();
            assert_eq!((one.genomes, one.facts), (of_all.genomes, of_all.facts.clone()));
        }
    }
}
