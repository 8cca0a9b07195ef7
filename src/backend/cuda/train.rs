//! Training on a GPU: an iteration as one captured graph. The host sends the images, their labels and the learning rate at once, and
//! receives the probabilities of the labels; weights and velocities stay on the device.
//!
//! A batch is filled up to a multiple of [`SLOTS`] with black images. Forward and back the plan is that of [`super::backward`]; where it
//! calls, values are dropped and weights get their gradients. When all have theirs, each layer is updated, and its weights are rearranged for
//! the next way back. The rules: [`crate::network::gradient`], [`crate::backend::training`].

use super::backward::{BackwardNetwork, Event, Wanted, Weights};
use super::conv2d::{self, Conv2d};
use super::conv2d_images::ImageSource;
use super::conv2d_weight_gradient::Conv2dWeightGradient;
use super::dense::{self, Dense};
use super::dense_weight_gradient::DenseWeightGradient;
use super::launcher::Launcher;
use super::network::{DeviceNetwork, canonical, geometry};
use super::params::{Crop, TrainingStep};
use super::pinned::Pinned;
use super::sgd_update::Layout;
use super::traffic::Traffic;
use crate::backend::cpu;
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::memory::bytes_text;
use crate::backend::training::{Learned, Training, TrainingJob};
use crate::error::{Error, Result};
use crate::network::gradient::SLOTS;
use crate::network::{Network, Operation, Parameters, Shape};
use cudarc::driver::{CudaGraph, CudaSlice, CudaView};
use std::sync::Arc;

/// What the step and the labels begin with in the upload is a multiple of this.
const ALIGNMENT: usize = 16;

/// How the gradients of a layer's weights are made.
#[derive(Debug)]
enum WeightGradient {
    Conv2d(Conv2dWeightGradient),
    Dense(DenseWeightGradient),
}

/// What kind of layer learns, by its number.
#[derive(Clone, Copy, Debug)]
enum Learning {
    Conv2d(Geometry),
    Dense { inputs: usize, outputs: usize },
}

impl Learning {
    /// Those of `network`, in order, each with the number of its layer.
    fn of(network: &Network) -> Vec<(usize, Learning)> {
        let shapes = network.shapes();
        let one = |(index, layer): (usize, &crate::network::Layer)| {
            let (input, output) = (shapes[layer.inputs[0]], shapes[index + 1]);
            let learning = match layer.operation {
                Operation::Dense { .. } => Learning::Dense { inputs: input.len(), outputs: output.len() },
                operation => Learning::Conv2d(geometry(operation, input, output)?),
            };
            Some((index, learning))
        };
        network.layers.iter().enumerate().filter_map(one).collect()
    }

    fn layout(self) -> Layout {
        match self {
            Learning::Conv2d(geometry) => Layout {
                groups: geometry.groups,
                outputs: geometry.outputs_per_group(),
                k: geometry.k(),
                padded_k: conv2d::padded_k(&geometry),
            },
            Learning::Dense { inputs, outputs } => {
                Layout { groups: 1, outputs, k: inputs, padded_k: dense::padded_k(inputs) }
            }
        }
    }

    /// Accumulators of its gradients that the update still has to add.
    fn slots(self) -> usize {
        match self {
            Learning::Conv2d(_) => SLOTS,
            Learning::Dense { .. } => 1,
        }
    }

    /// Bytes of velocities and gradients on the device, and of what their kernels read beside.
    fn bytes(self) -> usize {
        let taps = match self {
            Learning::Conv2d(geometry) => Conv2dWeightGradient::bytes(&geometry),
            Learning::Dense { .. } => 0,
        };
        (1 + self.slots()) * self.layout().velocity_len() * size_of::<f32>() + taps
    }
}

/// A layer that learns.
#[derive(Debug)]
struct LearnedLayer {
    /// Its number.
    index: usize,
    layout: Layout,
    slots: usize,
    gradient: WeightGradient,
    /// `(slots, groups, k + 1, pitch)`
    gradients: CudaSlice<f32>,
    /// `(groups, k + 1, pitch)`
    velocity: CudaSlice<f32>,
}

/// The weights of a layer, forward and, where a gradient goes back beyond it, back.
enum Pair<'a> {
    Conv2d(&'a mut Conv2d, Option<&'a mut Conv2d>),
    Dense(&'a mut Dense, Option<&'a mut Dense>),
}

impl<'a> Pair<'a> {
    /// Those of `network`, by numbers of layers.
    fn of(network: &'a mut BackwardNetwork) -> Vec<(usize, Pair<'a>)> {
        let mut pairs: Vec<(usize, Pair)> = Vec::new();
        for (layer, weights) in network.weights() {
            let pair = pairs.iter_mut().find(|(index, _)| *index == layer).map(|(_, pair)| pair);
            match (weights, pair) {
                (Weights::Conv2d(forward), None) => pairs.push((layer, Pair::Conv2d(forward, None))),
                (Weights::Dense(forward), None) => pairs.push((layer, Pair::Dense(forward, None))),
                (Weights::Conv2dBackward(turned), Some(Pair::Conv2d(_, back))) => *back = Some(turned),
                (Weights::DenseBackward(turned), Some(Pair::Dense(_, back))) => *back = Some(turned),
                (weights, _) => unreachable!("{weights:?} of layer {layer}: forward comes first, and once"),
            }
        }
        pairs
    }

    /// Weights and biases, as the way forward reads them.
    fn forward(&mut self) -> (&mut CudaSlice<f32>, &mut CudaSlice<f32>) {
        match self {
            Pair::Conv2d(layer, _) => (&mut layer.weights, &mut layer.bias),
            Pair::Dense(layer, _) => (&mut layer.weights, &mut layer.bias),
        }
    }

    /// Makes the weights of the way back those of the way forward.
    fn turn(&mut self, launcher: &Launcher) -> Result<()> {
        match self {
            Pair::Conv2d(layer, Some(back)) => launcher.turn_conv2d_weights(back, layer),
            Pair::Dense(layer, Some(back)) => launcher.turn_dense_weights(back, layer),
            Pair::Conv2d(_, None) | Pair::Dense(_, None) => Ok(()),
        }
    }
}

/// What crosses in an iteration, on the device: the images of the filled batch, then the step, then the labels.
#[derive(Clone, Copy, Debug)]
struct Upload {
    step: usize,
    labels: usize,
    len: usize,
    batch: usize,
}

impl Upload {
    fn new(image: usize, batch: usize, filled: usize) -> Upload {
        let step = (filled * image).next_multiple_of(ALIGNMENT);
        let labels = step + ALIGNMENT;
        Upload { step, labels, len: labels + batch * size_of::<u32>(), batch }
    }

    fn step_of(self, bytes: &CudaSlice<u8>) -> CudaView<'_, TrainingStep> {
        // SAFETY: the host writes a TrainingStep there; all bits are one.
        unsafe { bytes.slice(self.step..self.labels).transmute(1) }.expect("there is room for one")
    }

    fn labels_of(self, bytes: &CudaSlice<u8>) -> CudaView<'_, u32> {
        // SAFETY: the host writes the labels there; all bits are a u32.
        unsafe { bytes.slice(self.labels..self.len).transmute(self.batch) }.expect("there is room for them")
    }
}

/// A network in training on a GPU.
pub struct CudaTrainer {
    /// An iteration, once there was one. It holds pointers of buffers: it is dropped before them.
    graph: Option<CudaGraph>,
    buffers: Buffers,
    launcher: Arc<Launcher>,
    /// The device, for people.
    device: String,
    job: TrainingJob,
    /// Of the network's input.
    input: Shape,
}

/// What is on the device, and where the host reads and writes.
#[derive(Debug)]
struct Buffers {
    network: BackwardNetwork,
    source: ImageSource,
    layers: Vec<LearnedLayer>,
    upload: Upload,
    /// What is uploaded, on the device and on the host.
    uploaded: CudaSlice<u8>,
    to_upload: Pinned<u8>,
    /// The probability of each image's label, on the device and on the host.
    probabilities: CudaSlice<f32>,
    downloaded: Pinned<f32>,
}

/// Images of a batch with those that fill it up.
fn filled(batch: usize) -> usize {
    batch.next_multiple_of(SLOTS)
}

/// What the way back is for.
fn wanted(job: &TrainingJob) -> Wanted {
    Wanted { input: false, weights: true, dropped: job.dropout.iter().map(|dropout| dropout.value).collect() }
}

impl CudaTrainer {
    /// Prepares to train `network` as `job` says, from the parameters it has, on the GPU of `launcher`, which people know as `device`: all
    /// its memory is taken here, [`CudaTrainer::bytes`].
    ///
    /// # Errors
    /// [`Error::Usage`] if a dropout is not one of this network's values or shares, or the batch is empty or too large;
    /// [`Error::NoDevice`] with the layer that there are no kernels for; [`Error::Refused`] if the device has less memory free;
    /// [`Error::Driver`].
    pub fn new(network: &Network, job: TrainingJob, launcher: Arc<Launcher>, device: String) -> Result<CudaTrainer> {
        cpu::train::check(network, &job).map_err(Error::Usage)?;
        DeviceNetwork::check(network)?;
        let (bytes, free) = (CudaTrainer::bytes(network, &job), launcher.free_memory()?);
        if bytes > free {
            return Err(Error::Refused(format!(
                "training {:?} on {device} with batches of {} images needs {} of its memory, {} are free; use a smaller --batch",
                network.name,
                job.batch,
                bytes_text(bytes),
                bytes_text(free)
            )));
        }
        let n = filled(job.batch);
        let preprocess = &network.preprocess;
        let input = network.input;
        let source = ImageSource::new(
            &launcher,
            input,
            input,
            preprocess.channel_order,
            &preprocess.scale[..input.channels],
            &preprocess.mean,
            &[Crop::default()],
        )?;
        let layer = |&(index, learning): &(usize, Learning)| -> Result<LearnedLayer> {
            let (layout, slots) = (learning.layout(), learning.slots());
            Ok(LearnedLayer {
                index,
                layout,
                slots,
                gradient: match learning {
                    Learning::Conv2d(geometry) => {
                        WeightGradient::Conv2d(Conv2dWeightGradient::new(&launcher, geometry)?)
                    }
                    Learning::Dense { inputs, outputs } => {
                        WeightGradient::Dense(DenseWeightGradient::new(&launcher, inputs, outputs)?)
                    }
                },
                gradients: launcher.zeros(slots * layout.velocity_len())?,
                velocity: launcher.zeros(layout.velocity_len())?,
            })
        };
        let layers = Learning::of(network).iter().map(layer).collect::<Result<_>>()?;
        let upload = Upload::new(input.len(), job.batch, n);
        let buffers = Buffers {
            network: BackwardNetwork::new(&launcher, network, &wanted(&job), n)?,
            source,
            layers,
            upload,
            uploaded: launcher.zeros(upload.len)?,
            to_upload: Pinned::zeros(&launcher, upload.len)?,
            probabilities: launcher.zeros(job.batch)?,
            downloaded: Pinned::zeros(&launcher, job.batch)?,
        };
        Ok(CudaTrainer { graph: None, buffers, launcher, device, job, input })
    }

    /// Bytes that training takes on the device.
    pub fn bytes(network: &Network, job: &TrainingJob) -> u64 {
        let (n, wanted) = (filled(job.batch), wanted(job));
        let images =
            n * BackwardNetwork::image_bytes(network, &wanted) + Upload::new(network.input.len(), job.batch, n).len;
        let learning: usize = Learning::of(network).iter().map(|(_, learning)| learning.bytes()).sum();
        let all = BackwardNetwork::bytes(network, &wanted) + ImageSource::bytes(network.input, 1) + learning + images;
        (all + job.batch * size_of::<f32>()) as u64
    }

    /// What an iteration sets going and moves, once there was one.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn traffic(&self) -> Result<Option<Traffic>> {
        self.graph.as_ref().map(Traffic::of).transpose()
    }

    /// Launches an iteration, from the upload to the download.
    fn launch(launcher: &Launcher, buffers: &mut Buffers, job: &TrainingJob) -> Result<()> {
        let Buffers { network, source, layers, upload, uploaded, to_upload, probabilities, downloaded } = buffers;
        to_upload.copy_to(uploaded, upload.len)?;
        let (step, labels) = (upload.step_of(uploaded), upload.labels_of(uploaded));
        let n = network.capacity;
        let mut at = |launcher: &Launcher, arena: &mut CudaSlice<f32>, event: Event| match event {
            Event::Dropout { value, place, len, .. } => {
                let dropout = job.dropout.iter().find(|dropout| dropout.value == value).expect("it was asked for");
                launcher.dropout(arena, place, len, n, dropout, job.seed, &step)
            }
            Event::Weights { layer, input, gradient } => {
                let learned = layers.iter_mut().find(|learned| learned.index == layer).expect("it has weights");
                let (gradient, input) = ((&*arena, gradient), (&*arena, input));
                match &learned.gradient {
                    WeightGradient::Conv2d(of) => {
                        launcher.conv2d_weight_gradient(&mut learned.gradients, of, gradient, input, n)
                    }
                    &WeightGradient::Dense(of) => {
                        launcher.dense_weight_gradient(&mut learned.gradients, of, gradient, input, n)
                    }
                }
            }
        };
        let (input, logits, gradient) = (network.input, network.logits, network.logits_gradient);
        launcher.preprocess(&mut network.arena, source, input, uploaded, 0, n)?;
        launcher.forward_to_logits(network, n, &mut at)?;
        let (arena, n_classes) = (&mut network.arena, network.n_classes);
        launcher.cross_entropy(arena, gradient, probabilities, logits, &labels, n_classes, job.batch, n)?;
        launcher.backward(network, n, &mut at)?;
        for (index, mut pair) in Pair::of(network) {
            let learned = layers.iter_mut().find(|learned| learned.index == index).expect("it has weights");
            let LearnedLayer { layout, slots, gradients, velocity, .. } = learned;
            let (weights, bias) = pair.forward();
            launcher.sgd_update(weights, bias, velocity, gradients, &step, *layout, *slots, &job.sgd)?;
            pair.turn(launcher)?;
        }
        downloaded.copy_from(probabilities, job.batch)
    }
}

impl Training for CudaTrainer {
    fn describe(&self) -> String {
        self.device.clone()
    }

    fn step(&mut self, iteration: u32, images: &[u8], labels: &[u32], rate: f32) -> Result<Vec<f64>> {
        let n_classes = self.buffers.network.n_classes;
        assert_eq!((images.len(), labels.len()), (self.job.batch * self.input.len(), self.job.batch));
        assert!(labels.iter().all(|&label| (label as usize) < n_classes), "labels of {n_classes} classes: {labels:?}");
        let upload = self.buffers.upload;
        let bytes = self.buffers.to_upload.get_mut()?;
        bytes[..images.len()].copy_from_slice(images);
        bytes[upload.step..][..4].copy_from_slice(&iteration.to_ne_bytes());
        bytes[upload.step + 4..][..4].copy_from_slice(&rate.to_ne_bytes());
        for (to, label) in bytes[upload.labels..].chunks_exact_mut(size_of::<u32>()).zip(labels) {
            to.copy_from_slice(&label.to_ne_bytes());
        }
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => {
                let (launcher, buffers, job) = (&self.launcher, &mut self.buffers, &self.job);
                launcher.record("record an iteration", || CudaTrainer::launch(launcher, buffers, job))?
            }
        };
        graph.launch().map_err(Error::driver("launch an iteration"))?;
        self.graph = Some(graph);
        let loss = |&probability: &f32| {
            let probability = if probability < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { probability };
            -f64::from(probability).ln()
        };
        Ok(self.buffers.downloaded.get()?.iter().map(loss).collect())
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let Buffers { network, layers, .. } = &mut self.buffers;
        let mut pairs = Pair::of(network);
        let one = |learned: &LearnedLayer| {
            let (_, pair) = pairs.iter_mut().find(|(index, _)| *index == learned.index).expect("it has weights");
            let (weights, bias) = pair.forward();
            let weight = learned.layout.unpack_weights(&self.launcher.download(weights)?);
            let velocity = learned.layout.unpack_velocity(&self.launcher.download(&learned.velocity)?);
            Ok(Learned { parameters: Parameters { weight, bias: self.launcher.download(bias)? }, velocity })
        };
        layers.iter().map(one).collect()
    }

    fn restore(&mut self, learned: &[Learned]) -> Result<()> {
        let Buffers { network, layers, .. } = &mut self.buffers;
        assert_eq!(learned.len(), layers.len(), "layers that learn");
        let mut pairs = Pair::of(network);
        for (layer, learned) in layers.iter_mut().zip(learned) {
            let (_, pair) = pairs.iter_mut().find(|(index, _)| *index == layer.index).expect("it has weights");
            let parameters = canonical(&learned.parameters);
            let (weights, bias) = pair.forward();
            assert_eq!(parameters.bias.len(), bias.len());
            self.launcher.upload_part(weights, 0, &layer.layout.pack_weights(&parameters.weight))?;
            self.launcher.upload_part(bias, 0, &parameters.bias)?;
            pair.turn(&self.launcher)?;
            self.launcher.upload_part(&mut layer.velocity, 0, &layer.layout.pack_velocity(&learned.velocity))?;
        }
        Ok(())
    }
}
