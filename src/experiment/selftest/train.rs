//! Training whole networks: losses, weights and velocities of the rules, one number at a time.

use super::backward::{branches, changed_gradients};
use super::cases::Extent;
use super::conv2d_weight_gradient as conv2d;
use super::dense_weight_gradient as dense;
use super::gpu::Gpu;
use super::layers::bytes;
use super::network::{changed_values, network, seen};
use super::tally::Tally;
use super::{dropout, sgd_update};
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::sgd_update::Layout;
use crate::backend::cuda::train::CudaTrainer;
use crate::backend::training::{Dropout, Learned, Sgd, Training, TrainingJob};
use crate::error::Result;
use crate::network::gradient::{SLOTS, total};
use crate::network::{Crop, Network, Operation, Parameters};
use std::sync::Arc;

/// Learning rates of iterations: a captured one must not keep the first.
const RATES: [f32; 4] = [0.01, 0.02, 0.005, 0.03];

/// A network in training, by the rules alone.
#[derive(Clone, Debug)]
pub struct Reference {
    network: Network,
    velocities: Vec<Parameters>,
    job: TrainingJob,
}

/// The parameters that a layer's accumulators, of `layout`, come to.
fn totals(layout: Layout, slots: &[f32]) -> Parameters {
    let each: Vec<Parameters> = slots.chunks(layout.velocity_len()).map(|slot| layout.unpack_velocity(slot)).collect();
    let of = |of: &dyn Fn(&Parameters) -> &Vec<f32>| {
        let sum = |at: usize| total(std::array::from_fn::<f32, SLOTS, _>(|slot| of(&each[slot])[at]));
        (0..of(&each[0]).len()).map(sum).collect()
    };
    Parameters { weight: of(&|slot| &slot.weight), bias: of(&|slot| &slot.bias) }
}

impl Reference {
    /// Of a network, from the parameters that it has.
    pub fn new(network: &Network, job: TrainingJob) -> Reference {
        let zeros = |p: &Parameters| Parameters { weight: vec![0.0; p.weight.len()], bias: vec![0.0; p.bias.len()] };
        Reference { velocities: network.parameters.iter().map(zeros).collect(), network: network.clone(), job }
    }

    /// An iteration: see [`Training::step`].
    pub fn step(&mut self, iteration: u32, images: &[u8], labels: &[u32], rate: f32) -> Vec<f64> {
        let Reference { network, velocities, job } = self;
        let len = network.input.len();
        let black = vec![0; len];
        let (mut losses, mut values, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        for image in 0..job.batch.next_multiple_of(SLOTS) {
            let drop = |value: usize, of_image: &mut Vec<f32>| {
                if let Some(rule) = job.dropout.iter().find(|dropout| dropout.value == value) {
                    let candidate = (value * 65_536 + image) as u32;
                    *of_image = dropout::of_candidate(of_image, candidate, rule.ratio, job.seed, iteration);
                }
            };
            let pixels = images.chunks(len).nth(image).unwrap_or(&black);
            let of_image = changed_values(network, seen(network, pixels, Crop::default()), &drop);
            let probabilities = of_image.last().expect("the last layer's");
            let of_logits = match labels.get(image) {
                None => vec![0.0; probabilities.len()],
                Some(&label) => {
                    let p = probabilities[label as usize];
                    let p = if p < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { p };
                    losses.push(-f64::from(p).ln());
                    let excess = |(class, &p): (usize, &f32)| if class == label as usize { p - 1.0 } else { p };
                    probabilities.iter().enumerate().map(|of| excess(of) / job.batch as f32).collect()
                }
            };
            gradients.push(changed_gradients(network, &of_image, of_logits, &drop));
            values.push(of_image);
        }
        let shapes = network.shapes();
        let learning = network.layers.iter().enumerate().filter(|(_, layer)| layer.operation.has_weights());
        let layers = network.parameters.iter_mut().zip(velocities);
        for ((index, layer), (parameters, velocity)) in learning.zip(layers) {
            let (from, to) = (shapes[layer.inputs[0]], shapes[index + 1]);
            let x: Vec<f32> = values.iter().flat_map(|of_image| of_image[layer.inputs[0]].iter().copied()).collect();
            let g: Vec<f32> = gradients.iter().flat_map(|of_image| of_image[index + 1].iter().copied()).collect();
            let gradient = match layer.operation {
                Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                    let geometry = Geometry { input: from, output: to, kernel, stride, padding, groups };
                    let (outputs, k) = (to.channels / groups, geometry.k());
                    totals(Layout { groups, outputs, k, padded_k: k }, &conv2d::on_host(&geometry, &g, &x))
                }
                _ => {
                    let (outputs, k) = (to.len(), from.len());
                    Layout { groups: 1, outputs, k, padded_k: k }.unpack_velocity(&dense::on_host(k, outputs, &g, &x))
                }
            };
            let learned = Learned { parameters: parameters.clone(), velocity: velocity.clone() };
            let moved = sgd_update::on_host(&learned, &gradient, &job.sgd, rate);
            (*parameters, *velocity) = (moved.parameters, moved.velocity);
        }
        losses
    }

    /// Weights and velocities now: see [`Training::learned`].
    pub fn learned(&self) -> Vec<Learned> {
        let of = |(parameters, velocity): (&Parameters, &Parameters)| Learned {
            parameters: parameters.clone(),
            velocity: velocity.clone(),
        };
        self.network.parameters.iter().zip(&self.velocities).map(of).collect()
    }
}

/// Images and labels of an iteration.
pub fn batch_of(network: &Network, batch: usize, iteration: u32) -> (Vec<u8>, Vec<u32>) {
    let n_classes = network.classes.len();
    let labels = (0..batch).map(|image| ((image * 5 + 3 * iteration as usize) % n_classes) as u32).collect();
    (bytes(90_000 + iteration, batch * network.input.len()), labels)
}

/// Compares weights, biases and velocities.
pub fn compare_learned(tally: &mut Tally, want: &[Learned], got: &[Learned]) {
    for (layer, (want, got)) in want.iter().zip(got).enumerate() {
        tally.same(&format!("the weights of layer {layer}"), &want.parameters.weight, &got.parameters.weight);
        tally.same(&format!("the biases of layer {layer}"), &want.parameters.bias, &got.parameters.bias);
        tally.same(&format!("velocities of weights of layer {layer}"), &want.velocity.weight, &got.velocity.weight);
        tally.same(&format!("velocities of biases of layer {layer}"), &want.velocity.bias, &got.velocity.bias);
    }
    tally.same("layers", &[want.len() as u64], &[got.len() as u64]);
}

/// Compares some iterations, then one more of a network that goes on from what the others came to.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, network: &Network, job: &TrainingJob, n_iterations: u32) -> Result<()> {
    let of_device = || CudaTrainer::new(network, job.clone(), Arc::clone(gpu.launcher), "the GPU".into());
    let (mut device, mut reference) = (of_device()?, Reference::new(network, job.clone()));
    for iteration in 0..=n_iterations {
        tally.case(job.batch, format_args!("{}, iteration {iteration} of {job:?}", network.name));
        if iteration == n_iterations {
            let learned = device.learned()?;
            device = of_device()?;
            device.restore(&learned)?;
        }
        let (images, labels) = batch_of(network, job.batch, iteration);
        let rate = RATES[iteration as usize % RATES.len()];
        let want = reference.step(iteration, &images, &labels, rate);
        let mut losses = Vec::new();
        gpu.timed(tally, |_| {
            losses = device.step(iteration, &images, &labels, rate)?;
            Ok(())
        })?;
        tally.same("the losses", &want, &losses);
    }
    compare_learned(tally, &reference.learned(), &device.learned()?);
    Ok(())
}

/// The number of the value that the layer of this name gives.
fn value_of(network: &Network, name: &str) -> usize {
    network.layers.iter().position(|layer| layer.name == name).expect("a layer of this name") + 1
}

/// Networks and jobs: those of every operation and of branches, without dropout and with it at all kinds of values: the input, what is
/// rectified on the way, a part of a concatenation and a whole one, what is normalised, what several layers take.
pub fn cases() -> Vec<(Network, TrainingJob)> {
    let plain = Sgd { momentum: 0.9, decay: 5e-4, bias_rate: 2.0, bias_decay: 1.0 };
    let other = Sgd { momentum: 0.5, decay: 1e-2, bias_rate: 1.0, bias_decay: 0.0 };
    let job = |batch, sgd, dropout| TrainingJob { seed: 0x1234_5678_9abc_def0, batch, sgd, dropout };
    let dropped = |network: &Network, names: &[(&str, f32)]| -> Vec<Dropout> {
        names.iter().map(|&(name, ratio)| Dropout { value: value_of(network, name), ratio }).collect()
    };
    let (every, branches) = (network(), branches());
    let mut of_every = dropped(&every, &[("groups-relu", 0.25), ("norm1", 0.1), ("relu4", 0.5), ("norm3", 0.2)]);
    of_every.push(Dropout { value: 0, ratio: 0.125 });
    let of_branches = dropped(&branches, &[("relu1", 0.5), ("inner", 0.25), ("conv1", 0.1), ("pool", 0.3)]);
    vec![
        (branches.clone(), job(20, other, Vec::new())),
        (every.clone(), job(5, plain, Vec::new())),
        (branches, job(16, plain, of_branches)),
        (every, job(33, other, of_every)),
    ]
}

/// All of them.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    extent.of(cases(), 1, 2).iter().try_for_each(|(network, job)| compare(gpu, tally, network, job, 2))
}
