//! The lineage of a run on the device is that of the CPU.

use crate::evolution::job;
use crate::harness;
use crate::program::{manifest, pareidolia, run};
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::cuda::{CudaBackend, insertions};
use pareidolia::backend::{Backend, Insertion, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::simd::Simd;
use std::fs;
use std::sync::Arc;

fn jobs(batch: u32, seeds: &[u64]) -> [Job; 2] {
    [Preset::MnistDirect, Preset::MnistCppn].map(|preset| {
        let config = Config { batch, ..Config::preset(preset, Flavour::Faithful) };
        Job { lineage: true, ..job(&config, seeds) }
    })
}

fn cpu(job: &Job) -> CpuBackend {
    CpuBackend::new(job.clone(), Options { simd: Simd::detect(), chunk: 4096 }).unwrap()
}

fn cuda(job: &Job, chunk: u32) -> Option<CudaBackend> {
    let launcher = Arc::new(harness::own_launcher()?);
    Some(CudaBackend::new(job.clone(), launcher, "a device".into(), chunk).unwrap())
}

#[test]
fn insertions_are_those_of_the_cpu_whenever_they_are_taken() {
    for job in jobs(30, &[1, 2, 3]) {
        let Some(mut got) = cuda(&job, 34) else { return };
        let mut want = cpu(&job);
        for generation in 0..12 {
            if generation == 5 {
                got.activate(&[0, 2]).unwrap();
                want.activate(&[0, 2]).unwrap();
            }
            if generation == 8 {
                // From here on, as after a checkpoint.
                let (archive, skipped) = (want.archive(2).unwrap(), want.counters().unwrap()[1].skipped);
                got.restore(2, archive.clone(), skipped).unwrap();
                want.restore(2, archive, skipped).unwrap();
            }
            got.generation().unwrap();
            want.generation().unwrap();
            for run in (0..3).filter(|run| (generation + run) % 3 == 0) {
                assert_eq!(
                    got.insertions(run).unwrap(),
                    want.insertions(run).unwrap(),
                    "generation {generation}, run {run}"
                );
            }
        }
        for run in 0..3 {
            assert_eq!(got.insertions(run).unwrap(), want.insertions(run).unwrap(), "run {run}");
            assert!(got.insertions(run).unwrap().is_empty());
        }
    }
}

#[test]
fn log_is_fetched_before_it_is_full_and_goes_round() {
    let [job, _] = jobs(20, &[4]);
    let Some(mut got) = cuda(&job, 20) else { return };
    let (mut want, mut all): (_, Vec<Insertion>) = (cpu(&job), Vec::new());
    while all.len() < insertions::capacity(job.classes.len()) + 60 {
        // Nobody asks for counters, and nobody takes insertions.
        got.generation().unwrap();
        want.generation().unwrap();
        all.extend(want.insertions(0).unwrap());
    }
    assert!(got.insertions(0).unwrap() == all);
    assert_eq!(got.counters().unwrap(), want.counters().unwrap());
}

#[test]
fn job_without_a_lineage_has_none() {
    let [job, _] = jobs(20, &[4]);
    let Some(mut got) = cuda(&Job { lineage: false, ..job }, 20) else { return };
    (0..3).for_each(|_| got.generation().unwrap());
    assert!(got.insertions(0).unwrap().is_empty());
}

#[test]
fn lineage_is_the_same_file_from_both_devices_and_is_read_on_both() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |run: &str| fs::read(folder.path().join(run).join("lineage")).unwrap();
    for (device, out) in [("cpu", "a"), ("cuda:0", "b")] {
        let args = [
            "evolve",
            "--lineage",
            "--batch",
            "20",
            "--generations",
            "9",
            "--set",
            "checkpoint_every=4",
            "--no-pictures",
        ];
        let Some(command) = pareidolia(&folder, &[&args[..], &["--device", device, "--out", out]].concat()) else {
            return;
        };
        run(command, 0);
    }
    assert!(bytes("a") == bytes("b"));
    assert_eq!(
        manifest(&folder.path().join("a"))["lineage_insertions"],
        manifest(&folder.path().join("b"))["lineage_insertions"]
    );
    // A run that was begun on the one goes on on the other.
    for (device, out) in [("cuda:0", "a"), ("cpu", "b")] {
        let args = ["evolve", "--no-pictures", "--generations", "15", "--resume", out, "--device", device];
        run(pareidolia(&folder, &args).unwrap(), 0);
    }
    assert!(bytes("a") == bytes("b"));
    let report = |device| run(pareidolia(&folder, &["lineage", "a", "--json", "--device", device]).unwrap(), 0).0;
    assert_eq!(report("cuda:0"), report("cpu"));
}
