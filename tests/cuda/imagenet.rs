//! Whole runs of the presets for ImageNet, against a small network that sees a part of its images: the archives of the CPU's, in every
//! bit.

use crate::evolution::all_backends::{assert_same, generations};
use crate::harness;
use crate::left_out::left_out;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::cuda::classifier::{self, Classifier};
use pareidolia::backend::cuda::{CudaBackend, memory};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::layers::bytes;
use pareidolia::experiment::selftest::network::{self as selftest, on_host, random};
use pareidolia::genome::{Canvas, cppn};
use pareidolia::network::list::List;
use pareidolia::network::weights::Files;
use pareidolia::network::{Crops, Network, Shape};
use pareidolia::output::Checkpoint;
use pareidolia::simd::Simd;
use pareidolia_emulator::compile::{Build, files_below};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

/// Generations after the random one.
const GENERATIONS: u32 = 4;
/// No multiple of the chunks, nor of the images that go through the network at once.
const BATCH: u32 = 14;
const N_CLASSES: usize = 12;

const LIST: &str = r#"
name = "little"
channel_order = "BGR"
image = 24
crop = 19
classes = 12
layers = [
    { name = "conv1", type = "convolution", outputs = 8, kernel = 5, stride = 2, padding = 1 },
    { name = "relu1", type = "relu" },
    { name = "pool1", type = "max-pool", kernel = 3, stride = 2, rounding = "ceil" },
    { name = "norm1", type = "lrn", size = 5, alpha = 0.01, beta = 0.75 },
    { name = "conv2", type = "convolution", outputs = 12, kernel = 3, padding = 1, groups = 2 },
    { name = "relu2", type = "relu" },
    { name = "fc", type = "dense", outputs = "classes" },
    { name = "prob", type = "softmax" },
]
"#;

/// A network of the list, which is shown images of 24x24.
fn network() -> Network {
    let list = List::parse(LIST).unwrap();
    let mut network = random(&list, list.layers(N_CLASSES), N_CLASSES, list.input(), 90_000).unwrap();
    network.image = Shape { height: list.image, width: list.image, ..network.input };
    network
}

/// Both presets in both flavours, with ten crops and with one.
fn configs() -> impl Iterator<Item = Config> {
    let presets = [Preset::ImagenetDirect, Preset::ImagenetCppn];
    let flavours = [Flavour::Faithful, Flavour::Modern];
    let of = move |preset| flavours.map(|flavour| Config { batch: BATCH, ..Config::preset(preset, flavour) });
    let both = presets.into_iter().flat_map(of);
    both.flat_map(|config| [10, 1].map(|crops| Config { crops: Some(crops), ..config.clone() }))
}

fn case(config: &Config) -> String {
    format!("{:?} {:?}, {} crops", config.preset, config.flavour, config.crops.unwrap())
}

/// The runs of `config` with these seeds, of `network`.
fn job_of(config: &Config, seeds: &[u64], network: Network) -> Job {
    let network = Arc::new(config.judge(network).unwrap());
    let all = || (0..network.classes.len() as u32).collect();
    Job {
        seeds: seeds.to_vec(),
        batch: config.batch,
        canvas: Canvas::of(&network),
        encoding: config.encoding(),
        classes: if config.classes.is_empty() { all() } else { config.classes.clone() },
        network,
        lineage: false,
    }
}

fn job(config: &Config, seeds: &[u64]) -> Job {
    job_of(config, seeds, network())
}

fn cpu(job: Job) -> CpuBackend {
    CpuBackend::new(job, Options { simd: Simd::detect(), chunk: 4096 }).unwrap()
}

/// A backend on a device of its own; `None`, and said so, where there is none.
fn cuda(job: Job, chunk: u32) -> Option<CudaBackend> {
    let launcher = Arc::new(harness::own_launcher()?);
    Some(CudaBackend::new(job, launcher, "a device".into(), chunk).unwrap())
}

/// Lets both make the random generation and `n` more, and compares counters and archives after each. How many elites were replaced.
fn agree(want: &mut CpuBackend, got: &mut CudaBackend, n: u32, case: &str) -> u32 {
    let mut replaced = 0;
    for generation in 0..=n {
        want.generation().unwrap();
        got.generation().unwrap();
        let (counters, on_device) = (want.counters().unwrap(), got.counters().unwrap());
        assert_eq!(counters, on_device, "{case}, generation {generation}");
        for (run, counters) in counters.iter().enumerate() {
            let (want, got) = (want.archive(run).unwrap(), got.archive(run).unwrap());
            assert_same(&want, &got, &format!("{case}, generation {generation}, run {run}"));
            assert_eq!(got.hash(), counters.archive_hash);
            replaced += if generation > 0 { counters.replaced } else { 0 };
        }
    }
    replaced
}

#[test]
fn imagenet_runs_are_those_of_the_cpu_after_every_generation() {
    let mut hashes = Vec::new();
    for config in configs() {
        let case = case(&config);
        let mut want = cpu(job(&config, &[5]));
        // The last chunk has 2 candidates.
        let Some(mut got) = cuda(job(&config, &[5]), 6) else { return };
        let replaced = agree(&mut want, &mut got, GENERATIONS, &case);
        assert!(replaced > 0, "{case}: no elite was replaced");
        hashes.push(want.counters().unwrap()[0].archive_hash);
    }
    // Each of them is another run: crops, preset and flavour are not ignored.
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 8);
}

#[test]
fn imagenet_series_of_some_classes_share_chunks_and_fetch_their_archives_meanwhile() {
    for config in configs().filter(|config| config.crops == Some(10)) {
        let config = Config { classes: vec![0, 3, 4, 7, 11], ..config };
        let seeds = [5, 6, u64::MAX - 1];
        // Chunks of places of several runs. None, some, or all of what changes comes over beside the generations.
        for (chunk, beside) in [(10, 0), (100, 2), (16, 1000)] {
            let case = format!("{}, chunk {chunk}, {beside} beside", case(&config));
            let mut want = cpu(job(&config, &seeds));
            let Some(mut got) = cuda(job(&config, &seeds), chunk) else { return };
            got.keep_up(beside);
            agree(&mut want, &mut got, 2, &case);
            // And where nobody asks for archives in between, or asks of some runs.
            for active in [&[0, 1, 2][..], &[1, 2], &[0, 2], &[1]] {
                for backend in [&mut want as &mut dyn Backend, &mut got] {
                    backend.activate(active).unwrap();
                    generations(backend, 2);
                }
            }
            for run in [1, 0, 2, 2] {
                assert_same(&want.archive(run).unwrap(), &got.archive(run).unwrap(), &format!("{case}, run {run}"));
            }
        }
    }
}

#[test]
fn imagenet_run_moves_between_the_devices_by_checkpoints_and_stays_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    for config in configs().filter(|config| config.crops == Some(10)) {
        let mut whole = cpu(job(&config, &[3]));
        generations(&mut whole, 8);
        let Some(mut first) = cuda(job(&config, &[3]), 8) else { return };
        generations(&mut first, 2);
        let mut backend: Box<dyn Backend> = Box::new(first);
        for (to_gpu, n) in [(false, 2), (true, 2), (true, 1), (false, 1)] {
            let counters = backend.counters().unwrap().remove(0);
            let checkpoint = Checkpoint {
                config: config.clone(),
                files: Files::default(),
                weights_sha256: "5af2".into(),
                canvas: Canvas::of(&job(&config, &[3]).network),
                archive: backend.archive(0).unwrap(),
                started: SystemTime::UNIX_EPOCH,
                evaluations: u64::from(BATCH) * u64::from(counters.generation + 1),
                skipped: counters.skipped,
                elapsed: 0.0,
                replaced: counters.replaced,
            };
            checkpoint.write(&path).unwrap();
            let read = Checkpoint::read(&path).unwrap();
            assert_eq!(read.canvas, Canvas { height: 24, width: 24, channels: 3 });
            let job = job(&config, &[3]);
            backend = if to_gpu { Box::new(cuda(job, 10).unwrap()) } else { Box::new(cpu(job)) };
            backend.restore(0, read.archive, read.skipped).unwrap();
            assert_same(&checkpoint.archive, &backend.archive(0).unwrap(), "what was restored");
            generations(&mut *backend, n);
        }
        let case = case(&config);
        assert_same(&whole.archive(0).unwrap(), &backend.archive(0).unwrap(), &case);
        assert_eq!(whole.counters().unwrap()[0].skipped, backend.counters().unwrap()[0].skipped, "{case}");
    }
}

#[test]
fn restored_imagenet_archive_takes_the_place_of_what_was_kept() {
    for config in configs().filter(|config| config.crops == Some(1)) {
        let Some(mut got) = cuda(job(&config, &[4]), 14) else { return };
        got.keep_up(3);
        generations(&mut got, 4);
        got.archive(0).unwrap();
        let mut want = cpu(job(&config, &[9]));
        generations(&mut want, 2);
        got.restore(0, want.archive(0).unwrap(), 7).unwrap();
        let archives = [want.archive(0).unwrap(), got.archive(0).unwrap()];
        assert_same(&archives[0], &archives[1], &format!("{}, restored", case(&config)));
    }
}

#[test]
fn crops_are_judged_alike_whatever_goes_through_at_once() {
    let Some(launcher) = harness::launcher() else { return };
    for crops in [Crops::One, Crops::Ten] {
        let network = selftest::cropped(crops);
        let images = selftest::images(&network, 5);
        let want = on_host(Simd::detect(), &network, &images);
        let literally: Vec<f32> =
            images.chunks(network.given().len()).flat_map(|image| selftest::literally(&network, image)).collect();
        harness::assert_bits(&literally, &want, &format!("{crops:?}: the CPU and the formulas"));
        for capacity in [1, 2, 3, 5, 8] {
            harness::passes(|gpu, tally| selftest::compare(gpu, tally, &network, &images, &want, capacity));
        }
        let got = classifier::classify(launcher, &network, &images).unwrap();
        harness::assert_bits(&want, &got, &format!("{crops:?}: images from the host"));
        assert_eq!(classifier::classify(launcher, &network, &[]).unwrap(), Vec::<f32>::new());
    }
    harness::passes(|gpu, tally| selftest::run(gpu, Extent::Usual, tally));
}

/// LeNet's layers, shown images of 32x32, of which it judges `crops`.
fn lenet_with(crops: Crops) -> Network {
    let mut network = Network::embedded_lenet(None).unwrap();
    network.image = Shape { height: 32, width: 32, ..network.input };
    network.judging(crops).unwrap()
}

#[test]
fn lenet_that_judges_crops_goes_layer_by_layer() {
    let Some(launcher) = harness::launcher() else { return };
    assert!(matches!(
        Classifier::new(launcher, &Network::embedded_lenet(None).unwrap(), 2, 2).unwrap(),
        Classifier::Lenet(_)
    ));
    for crops in [Crops::One, Crops::Ten] {
        let network = lenet_with(crops);
        assert!(matches!(Classifier::new(launcher, &network, 2, 2).unwrap(), Classifier::Layers(_)));
        let images = bytes(9, 3 * network.given().len());
        let got = classifier::classify(launcher, &network, &images).unwrap();
        harness::assert_bits(&on_host(Simd::detect(), &network, &images), &got, &format!("{crops:?}"));
    }
}

#[test]
fn memory_of_imagenet_runs_is_taken_to_the_byte_and_no_more_later() {
    for config in configs() {
        for (chunk, seeds) in [(6, &[1][..]), (100, &[1, 2])] {
            let Some(launcher) = harness::own_launcher() else { return };
            let launcher = Arc::new(launcher);
            let job = job(&config, seeds);
            let planned = memory::memory(&job).total(chunk.min(job.candidates()));
            let mut backend = CudaBackend::new(job, Arc::clone(&launcher), "a device".into(), chunk).unwrap();
            assert_eq!(launcher.allocated(), planned, "{}, chunk {chunk}", case(&config));
            backend.keep_up(2);
            generations(&mut backend, 3);
            backend.archive(0).unwrap();
            generations(&mut backend, 1);
            assert_eq!(launcher.allocated(), planned, "{}, chunk {chunk}: more was taken later", case(&config));
        }
    }
}

/// File, a part of its text, and what takes its place.
const FAULTS: [(&str, &str, &str); 5] = [
    ("network/conv2d_images.cu", "(int(crop.y) + y)", "(int(crop.x) + y)"),
    ("network/conv2d_images.cu", "(int(crop.x) + across)", "(int(crop.x != 0) + across)"),
    ("network/conv2d_images.cu", "crop.mirror ? int(shape.in_width) - 1 - x : x", "x"),
    ("network/average_crops.cu", "double sum = 0.0;", "float sum = 0.0f;"),
    ("network/average_crops.cu", "size_t(image) * n_crops", "size_t(image) * (n_crops - 1)"),
];

#[test]
fn faults_planted_into_crops_change_the_archives() {
    let Some(compiler) = harness::compiler() else { return };
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("imagenet_planted");
    let mut missed = Vec::new();
    for (number, (file, old, new)) in FAULTS.into_iter().enumerate() {
        let text = fs::read_to_string(kernels.join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{file} has {old:?} once");
        let folder = work.join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        let patched = folder.join(Path::new(file).file_name().unwrap());
        fs::write(&patched, text.replace(old, new)).unwrap();
        let mut sources = files_below(&kernels, &["cu"]).unwrap();
        sources.iter_mut().filter(|source| source.ends_with(file)).for_each(|source| source.clone_from(&patched));
        let library = folder.join("kernels.so");
        compiler.library(&library, &sources, std::slice::from_ref(&kernels), Build::Fast, &work).unwrap();
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.env("PAREIDOLIA_EMULATOR_KERNELS", &library);
        tests.arg("imagenet::imagenet_runs_are_those_of_the_cpu_after_every_generation");
        let output = tests.output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(text.contains("running 1 test"), "{text}");
        if output.status.success() || !text.contains("generation 0") {
            missed.push(format!("{file}, {old:?}: {text}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A generation of each preset at 256x256, against SqueezeNet 1.1 with random weights, in ten crops: half a minute on the emulated driver.
/// `PAREIDOLIA_EXHAUSTIVE=1 cargo test --release --test cuda full_size -- --nocapture`
#[test]
fn full_size_generations_give_the_archives_of_the_cpu() {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none() {
        return left_out("generations of 256x256 on the device: set PAREIDOLIA_EXHAUSTIVE=1");
    }
    for preset in [Preset::ImagenetDirect, Preset::ImagenetCppn] {
        let began = std::time::Instant::now();
        let network = Network::random(&List::built_in("squeezenet-1.1").unwrap(), 1).unwrap();
        let config = Config { batch: 2, classes: vec![1, 500, 999], ..Config::preset(preset, Flavour::Faithful) };
        let job = job_of(&config, &[8], network);
        assert_eq!((job.canvas.len(), job.network.n_crops(), job.network.classes.len()), (196_608, 10, 1000));
        let Some(mut got) = cuda(job.clone(), 2) else { return };
        agree(&mut cpu(job), &mut got, 1, &format!("{preset:?}"));
        eprintln!("{preset:?}: the CPU's archives, {:.0?}", began.elapsed());
    }
}

/// CPPNs that operators find full, in colour.
#[test]
fn imagenet_cppns_that_are_full_are_those_of_the_cpu() {
    let mut config = Config { batch: BATCH, ..Config::preset(Preset::ImagenetCppn, Flavour::Faithful) };
    let rules = config.cppn.take().unwrap();
    config.cppn = Some(cppn::Rules { max_nodes: 9, max_edges: 14, add_edge_rate: 0.9, split_edge_rate: 0.9, ..rules });
    let mut want = cpu(job(&config, &[1, 2]));
    let Some(mut got) = cuda(job(&config, &[1, 2]), 12) else { return };
    agree(&mut want, &mut got, 6, "full");
    let skipped = want.counters().unwrap().iter().map(|counters| counters.skipped).min();
    assert!(skipped > Some(5), "operators were to be skipped: {skipped:?}");
}
