//! Whole trainings on the device: small networks of every operation against the rules, LeNet against the CPU.

use crate::harness::{self, passes_alone};
use crate::left_out::left_out;
use pareidolia::backend::cpu::train::Trainer;
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::traffic::Traffic;
use pareidolia::backend::cuda::train::CudaTrainer;
use pareidolia::backend::training::{Dropout, Sgd, Training, TrainingJob};
use pareidolia::dataset::{Mnist, Split};
use pareidolia::error::Error;
use pareidolia::experiment::selftest::network::random;
use pareidolia::experiment::selftest::tally::Tally;
use pareidolia::experiment::selftest::train::{batch_of, cases, compare, compare_learned};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::simd::Simd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of which 65,535 images need some 60 GiB.
const LARGE: &str = r#"
name = "large"
channel_order = "RGB"
image = 101
classes = 4
layers = [
    { name = "conv", type = "convolution", outputs = 8, kernel = 3 },
    { name = "pool", type = "average-pool", kernel = 99, rounding = "floor" },
    { name = "fc", type = "dense", outputs = "classes" },
    { name = "prob", type = "softmax" },
]
"#;

const SGD: Sgd = Sgd { momentum: 0.9, decay: 5e-4, bias_rate: 2.0, bias_decay: 1.0 };

fn job(batch: usize) -> TrainingJob {
    TrainingJob { seed: 3, batch, sgd: SGD, dropout: Vec::new() }
}

/// A device of its own: an iteration is recorded, which the launches of other tests on its stream would disturb.
fn alone() -> Option<Arc<Launcher>> {
    harness::own_launcher().map(Arc::new)
}

/// A batch: images, their labels, and the learning rate.
type Batch = (Vec<u8>, Vec<u32>, f32);

/// The device comes to the CPU's losses, weights and velocities, in every bit.
fn agree(network: &Network, job: &TrainingJob, batches: &[Batch]) {
    let Some(launcher) = alone() else { return };
    let mut device = CudaTrainer::new(network, job.clone(), Arc::clone(&launcher), "the GPU".into()).unwrap();
    let mut host = Trainer::new(network, job.clone(), Simd::detect()).unwrap();
    let mut tally = Tally::default();
    tally.case(job.batch, format_args!("{}, batch {}", network.name, job.batch));
    for (iteration, (images, labels, rate)) in (0..).zip(batches) {
        let [want, got] =
            [&mut host as &mut dyn Training, &mut device].map(|of| of.step(iteration, images, labels, *rate).unwrap());
        tally.same(&format!("the losses of iteration {iteration}"), &want, &got);
    }
    let [want, got] = [&mut host as &mut dyn Training, &mut device].map(|of| of.learned().unwrap());
    compare_learned(&mut tally, &want, &got);
    assert!(tally.first.is_none(), "{} values differ; the first: {}", tally.differing, tally.first.unwrap());
    let moved = network.parameters.iter().zip(&want).all(|(before, after)| before.weight != after.parameters.weight);
    assert!(moved, "all layers have learned something");
}

#[test]
fn training_gives_the_bits_of_the_rules_for_every_operation() {
    passes_alone(|gpu, tally| cases().iter().try_for_each(|(network, job)| compare(gpu, tally, network, job, 3)));
}

#[test]
fn training_lenet_gives_the_weights_of_the_cpu() {
    let network = Network::embedded_lenet(None).unwrap();
    for (batch, n_iterations) in [(16, 3), (20, 3), (64, 2)] {
        let of = |iteration| {
            let (images, labels) = batch_of(&network, batch, iteration);
            (images, labels, 0.01 / (1 + iteration) as f32)
        };
        agree(&network, &job(batch), &(0..n_iterations).map(of).collect::<Vec<_>>());
    }
}

#[test]
fn training_networks_of_every_operation_gives_the_weights_of_the_cpu() {
    for (network, job) in cases() {
        let of = |iteration| {
            let (images, labels) = batch_of(&network, job.batch, iteration);
            (images, labels, 0.02)
        };
        agree(&network, &job, &(0..3).map(of).collect::<Vec<_>>());
    }
}

#[test]
fn training_lenet_on_mnist_gives_the_weights_of_the_cpu() {
    let data = std::env::var_os("PAREIDOLIA_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    if !data.is_dir() {
        return left_out(&format!("no data at {} (set PAREIDOLIA_DATA)", data.display()));
    }
    let mnist = Mnist::load(&data, Split::Train).unwrap();
    let mut network = Network::embedded_lenet(None).unwrap();
    // Far from what it has learned.
    for parameters in &mut network.parameters {
        parameters.weight.iter_mut().enumerate().filter(|(at, _)| at % 3 == 0).for_each(|(_, weight)| *weight *= -0.5);
        parameters.bias.fill(0.0);
    }
    let batches: Vec<Batch> = mnist
        .images
        .pixels
        .chunks(64 * 784)
        .zip(mnist.labels.labels.chunks(64))
        .take(3)
        .map(|(images, labels)| (images.to_vec(), labels.iter().map(|&label| label.into()).collect(), 0.01))
        .collect();
    agree(&network, &job(64), &batches);
}

#[test]
fn training_uploads_once_and_downloads_a_number_an_image() {
    let Some(launcher) = alone() else { return };
    let network = Network::embedded_lenet(None).unwrap();
    let job = job(5);
    let mut trainer = CudaTrainer::new(&network, job.clone(), Arc::clone(&launcher), "the GPU".into()).unwrap();
    assert_eq!(trainer.traffic().unwrap(), None);
    let (images, labels) = batch_of(&network, job.batch, 0);
    trainer.step(0, &images, &labels, 0.01).unwrap();
    let traffic = trainer.traffic().unwrap().expect("there was an iteration");
    // 16 images, a step, 5 labels; 5 probabilities.
    let want = (2, 16 * 784 + 16 + 5 * 4, 5 * 4, 0, 0);
    let Traffic { launches, copies, to_device_bytes, to_host_bytes, inside_bytes, others } = traffic;
    assert_eq!((copies, to_device_bytes, to_host_bytes, inside_bytes, others), want);
    // The images, 6 forward, the loss, 6 back, of 4 layers gradients and updates, of 3 weights for the way back.
    assert_eq!(launches, 25);
}

#[test]
fn training_refuses_jobs_that_do_not_fit_the_network() {
    let Some(launcher) = alone() else { return };
    let network = Network::embedded_lenet(None).unwrap();
    let refused = |batch, dropout: &[(usize, f32)]| {
        let dropout = dropout.iter().map(|&(value, ratio)| Dropout { value, ratio }).collect();
        let job = TrainingJob { dropout, ..job(batch) };
        match CudaTrainer::new(&network, job, Arc::clone(&launcher), "the GPU".into()).map(drop) {
            Err(Error::Usage(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(0, &[]).contains("a batch of 0 images"));
    assert!(refused(65_536, &[]).contains("a batch of 65536 images"));
    assert!(refused(16, &[(8, 0.5)]).contains("dropout of value 8"));
    assert!(refused(16, &[(3, 1.0)]).contains("its ratio is 1"));
    assert!(refused(16, &[(3, 0.5), (3, 0.5)]).contains("twice"));
}

#[test]
fn training_takes_the_memory_that_it_says() {
    for (network, job) in cases() {
        let Some(launcher) = harness::own_launcher() else { return };
        let launcher = Arc::new(launcher);
        let before = launcher.allocated();
        let _trainer = CudaTrainer::new(&network, job.clone(), Arc::clone(&launcher), "the GPU".into()).unwrap();
        assert_eq!(launcher.allocated() - before, CudaTrainer::bytes(&network, &job), "{}", network.name);
    }
}

#[test]
fn training_refuses_what_the_memory_does_not_hold() {
    if harness::is_real() {
        return; // it may have the room
    }
    let Some(launcher) = alone() else { return };
    let network = {
        let list = List::parse(LARGE).unwrap();
        random(&list, list.layers(list.classes), list.classes, list.input(), 1).unwrap()
    };
    let refused = CudaTrainer::new(&network, job(65_535), launcher, "cuda:0".into());
    let Err(Error::Refused(why)) = refused.map(drop) else { panic!("8 GiB are too few") };
    assert!(why.contains("65535 images needs") && why.contains("cuda:0") && why.contains("--batch"), "{why}");
}

#[test]
fn training_that_diverges_says_that_its_losses_are_no_numbers() {
    let Some(launcher) = alone() else { return };
    let (network, job) = cases().swap_remove(1);
    let mut trainer = CudaTrainer::new(&network, job.clone(), Arc::clone(&launcher), "the GPU".into()).unwrap();
    let mut losses = Vec::new();
    for iteration in 0..3 {
        let (images, labels) = batch_of(&network, job.batch, iteration);
        losses = trainer.step(iteration, &images, &labels, 1e30).unwrap();
    }
    assert!(losses.iter().all(|loss| loss.is_nan()), "{losses:?}");
}
