//! Training: the recipe, the command line, and the weights that come with the program. tests/gradients.rs has the gradients.

#[path = "train/committed.rs"]
mod committed;
mod common;
#[path = "train/folders.rs"]
mod folders;
#[path = "common/layers.rs"]
mod layers;
#[path = "train/recipes.rs"]
mod recipes;
#[path = "train/resume.rs"]
mod resume;
#[path = "train/sets.rs"]
mod sets;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::dataset::{IdxImages, IdxLabels, Mnist, Split};
use pareidolia::experiment::progress::ProgressMode;
use pareidolia::experiment::train::{Order, Recipe, initial_parameters, train};
use pareidolia::network::{Network, Parameters, lenet};
use pareidolia::rng::{Philox, Purpose};
use pareidolia::simd::Simd;

fn word(seed: u64, stream: u32, index: u32) -> u32 {
    Philox::new(seed).draws(Purpose::DirectInit, stream, 0).word(index)
}

/// `parameters` as bits, to compare.
fn bits(parameters: &[Parameters]) -> Vec<Vec<u32>> {
    parameters.iter().flat_map(|p| [&p.weight, &p.bias]).map(|v| v.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn learning_rate_follows_caffes_inverse_schedule() {
    let recipe = Recipe::lenet(1);
    assert_eq!(recipe.rate(0), 0.01);
    for iteration in [1, 100, 5000, 9999, 1_000_000] {
        let want = 0.01 * (1.0 + 0.0001 * f64::from(iteration)).powf(-0.75);
        let error = (f64::from(recipe.rate(iteration)) / want - 1.0).abs();
        // One rounding to f32, and a few to f64.
        assert!(error < 6.1e-8, "iteration {iteration}: {:e}, want {want:e}", recipe.rate(iteration));
    }
}

#[test]
fn initial_weights_are_uniform_within_xaviers_bound() {
    let layers = lenet::layers(10);
    let parameters = initial_parameters(lenet::INPUT, &layers, 1);
    assert_eq!(parameters.len(), 4);
    for (layer, inputs) in parameters.iter().zip([25.0f64, 500.0, 800.0, 500.0]) {
        assert!(layer.bias.iter().all(|&bias| bias == 0.0));
        let bound = (3.0 / inputs).sqrt();
        let n = layer.weight.len() as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for &weight in &layer.weight {
            assert!(f64::from(weight).abs() <= bound * (1.0 + 1e-6), "{weight} beyond {bound}");
            sum += f64::from(weight);
            squares += f64::from(weight).powi(2);
        }
        // Variance 1 / inputs: bound^2 / 3. Five standard deviations of a mean and of a mean square (sqrt(4/45) b^2).
        assert!((sum / n).abs() < 5.0 / (inputs * n).sqrt(), "mean {}", sum / n);
        let error = (squares / n * inputs - 1.0).abs();
        assert!(error < 5.0 * 3.0 * (4.0f64 / 45.0).sqrt() / n.sqrt(), "variance off by {error}");
    }
    assert_ne!(bits(&parameters), bits(&initial_parameters(lenet::INPUT, &layers, 2)), "the seed is used");
    assert_ne!(parameters[1].weight[..500], parameters[3].weight[..500], "layers have streams of their own");
}

#[test]
fn order_uses_every_image_once_an_epoch_and_another_order_each_time() {
    let images = 1000;
    let order: Vec<usize> = Order::new(images, 1).take(3 * images).collect();
    let epochs: Vec<&[usize]> = order.chunks_exact(images).collect();
    for epoch in &epochs {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..images).collect::<Vec<_>>());
    }
    for (a, b) in [(epochs[0], epochs[1]), (epochs[1], epochs[2])] {
        // Two random orders agree in one place on average; 12 has a probability below 1e-9.
        assert!(a.iter().zip(b).filter(|(a, b)| a == b).count() < 12);
    }
    assert_ne!(order[..images], Order::new(images, 2).take(images).collect::<Vec<_>>(), "the seed is used");
    assert_eq!(Order::new(1, 1).take(3).collect::<Vec<_>>(), [0, 0, 0]);
}

/// Digits that a network can tell apart after a few steps: a bright bar, at another height for each, in noise.
fn bars(count: usize, seed: u64) -> Mnist {
    let labels: Vec<u8> = (0..count).map(|image| (word(seed, 2, image as u32) % 10) as u8).collect();
    let pixel = |at: usize| {
        let (image, row) = (at / 784, at % 784 / 28);
        let noise = (word(seed, 3, at as u32) >> 26) as u8;
        if (row / 2).checked_sub(2) == Some(labels[image].into()) { 190 + noise } else { noise }
    };
    let pixels = (0..count * 784).map(pixel).collect();
    Mnist {
        images: IdxImages { count, height: 28, width: 28, pixels, sha256: String::new() },
        labels: IdxLabels { labels, sha256: String::new() },
    }
}

#[test]
fn training_learns_to_tell_ten_bars_apart_and_repeats_itself() {
    let (training, test) = (bars(500, 1), bars(200, 2));
    let recipe = Recipe { iterations: 60, batch: 32, ..Recipe::lenet(4) };
    let run = || train(&recipe, &training, &test, Simd::detect(), ProgressMode::None).unwrap();
    let trained = run();
    assert_eq!(trained.of, 200);
    assert!(trained.correct >= 198, "{} of 200 right", trained.correct);
    assert_eq!(bits(&trained.network.parameters), bits(&run().network.parameters));
}

#[test]
fn training_that_diverges_says_so() {
    let (training, test) = (bars(100, 1), bars(10, 2));
    let recipe = Recipe { iterations: 200, batch: 16, base_rate: 1e4, ..Recipe::lenet(1) };
    let error = train(&recipe, &training, &test, Simd::detect(), ProgressMode::None).unwrap_err().to_string();
    assert!(error.contains("diverged") && error.contains("iteration"), "{error}");
}

fn pareidolia(args: &[&str], dir: &Path) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_pareidolia"))
        .args(args)
        .current_dir(dir)
        .env_remove("PAREIDOLIA_DATA")
        .output();
    program.unwrap()
}

/// Runs `pareidolia train` with `args` in a folder with a file `there`; gives the exit code and stderr.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("there"), "precious").unwrap();
    let output = pareidolia(&[&["train", "lenet"], args].concat(), dir.path());
    assert!(output.stdout.is_empty(), "{output:?}");
    let files: Vec<_> = dir.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["there"], "nothing else is left behind");
    assert_eq!(std::fs::read_to_string(dir.path().join("there")).unwrap(), "precious");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bad_calls_of_train_are_refused_in_words() {
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&[], 2, &["--data", "PAREIDOLIA_DATA", "train-images-idx3-ubyte"]),
        (&["--data", "nowhere"], 1, &["nowhere", "train-images-idx3-ubyte", "--data"]),
        (&["--data", ".", "--batch", "0"], 2, &["--batch", "0"]),
        (&["--data", ".", "--iterations", "0"], 2, &["--iterations", "0"]),
        (&["--data", ".", "--seed", "-1"], 2, &["-1"]),
        (&["--data", ".", "--out", "there"], 1, &["there", "already", "--out"]),
        (&["--data", ".", "--out", "missing/weights"], 1, &["missing"]),
    ];
    for (args, code, words) in cases {
        let (got, stderr) = refused(args);
        assert_eq!(got, Some(code), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: no {word:?} in: {stderr}");
        }
    }
}

#[test]
fn a_batch_larger_than_the_data_is_refused() {
    let (training, test) = (bars(20, 1), bars(10, 2));
    let recipe = Recipe { iterations: 1, batch: 21, ..Recipe::lenet(1) };
    let error = train(&recipe, &training, &test, Simd::detect(), ProgressMode::None).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--batch 21") && error.to_string().contains("20 images"), "{error}");
}

#[test]
fn train_writes_weights_that_load_and_say_where_they_come_from() {
    let Some(data) = common::data_dir() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = data.to_str().unwrap();
    let args = ["train", "lenet", "--data", data, "--iterations", "3", "--batch", "10", "--seed", "5"];
    for (threads, out) in [("1", "a"), ("2", "b")] {
        let output = pareidolia(&[&args[..], &["--threads", threads, "--out", out]].concat(), dir.path());
        assert!(output.status.success(), "{output:?}");
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.contains("of 10000 test images right") && line.ends_with(&format!("{out}\n")), "{line}");
    }
    let bytes = std::fs::read(dir.path().join("a")).unwrap();
    assert!(bytes == std::fs::read(dir.path().join("b")).unwrap(), "threads change nothing");
    Network::load(&dir.path().join("a"), None).unwrap();
    let keys = metadata(&bytes);
    assert_eq!(keys["command"], "pareidolia train lenet --seed 5 --iterations 3 --batch 10");
    assert_eq!(keys["seed"], "5");
}

fn metadata(bytes: &[u8]) -> std::collections::HashMap<String, String> {
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    header.metadata().clone().unwrap()
}

fn committed_weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/lenet-mnist.safetensors")
}

#[test]
fn committed_weights_have_the_accuracy_and_the_data_that_they_claim() {
    let Some(data) = common::data_dir() else { return };
    let network = Arc::new(Network::load(&committed_weights(), None).unwrap());
    let keys = metadata(&std::fs::read(committed_weights()).unwrap());
    let (training, test) = (Mnist::load(&data, Split::Train).unwrap(), Mnist::load(&data, Split::Test).unwrap());
    for (key, want) in [
        ("train_images_sha256", &training.images.sha256),
        ("train_labels_sha256", &training.labels.sha256),
        ("test_images_sha256", &test.images.sha256),
        ("test_labels_sha256", &test.labels.sha256),
    ] {
        assert_eq!(&keys[key], want, "{key}");
    }
    let mut probabilities = vec![0.0; test.len() * 10];
    Classifier::new(Arc::clone(&network), Simd::detect()).classify(&test.images.pixels, &mut probabilities);
    let right = probabilities.chunks_exact(10).zip(&test.labels.labels).filter(|(probabilities, label)| {
        let own = probabilities[usize::from(**label)];
        probabilities.iter().enumerate().all(|(class, &p)| p < own || class == usize::from(**label))
    });
    let right = right.count();
    assert_eq!(keys["test_accuracy"], format!("{right}/10000"));
    assert!(right >= 9900, "{right} of 10000");
    assert_eq!(keys["input_scale"], "0.00390625");
}

/// The whole training again, a minute: with `PAREIDOLIA_EXHAUSTIVE=1` only.
#[test]
fn committed_weights_come_out_of_their_command_in_every_bit() {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none() {
        common::left_out("training again takes a minute; PAREIDOLIA_EXHAUSTIVE=1 does it");
        return;
    }
    let Some(data) = common::data_dir() else { return };
    let want = std::fs::read(committed_weights()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let command = metadata(&want)["command"].clone();
    let args: Vec<&str> = command.split(' ').skip(1).chain(["--data", data.to_str().unwrap(), "--out", "w"]).collect();
    let output = pareidolia(&args, dir.path());
    assert!(output.status.success(), "{output:?}");
    let got = std::fs::read(dir.path().join("w")).unwrap();
    let (got, want) = [got, want].map(|bytes| safetensors_values(&bytes)).into();
    assert!(got == want, "the weights differ");
}

/// The bytes of all tensors.
fn safetensors_values(bytes: &[u8]) -> Vec<u8> {
    let (header, _) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    bytes[8 + header..].to_vec()
}
