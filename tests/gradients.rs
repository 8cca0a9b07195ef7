//! Gradients of networks of every kind of layer: the CPU's against a plain reference in every bit, the reference against finite
//! differences, and the CPU's against what another implementation recorded (scripts/make-gradient-golden).

mod common;
#[path = "common/formula.rs"]
mod formula;
#[path = "reference/gradient.rs"]
mod reference;

use std::sync::Arc;

use pareidolia::backend::cpu::InputGradients;
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::backend::cpu::train::Trainer;
use pareidolia::backend::training::{Dropout, Learned, Sgd, Training, TrainingJob};
use pareidolia::experiment::classify::{Fit, read};
use pareidolia::network::list::List as NetworkList;
use pareidolia::network::weights::Files;
use pareidolia::network::{
    ChannelOrder, Layer, Network, Operation, Parameters, Preprocess, Rounding, Shape, Window, shapes, weights,
};
use pareidolia::rng::{Philox, Purpose};
use pareidolia::simd::Simd;
use rayon::ThreadPoolBuilder;
use reference::Reference;
use safetensors::SafeTensors;

fn word(seed: u64, stream: u32, index: u32) -> u32 {
    Philox::new(seed).draws(Purpose::DirectInit, stream, 0).word(index)
}

/// In [-1, 1).
fn uniform(seed: u64, stream: u32, index: usize) -> f32 {
    (word(seed, stream, index as u32) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// A list of layers; each takes what the one before it gives, if it is not told otherwise.
#[derive(Default)]
struct List(Vec<Layer>);

impl List {
    fn add(mut self, name: &str, operation: Operation) -> List {
        let inputs = vec![self.0.len()];
        self.0.push(Layer { name: name.to_string(), inputs, operation });
        self
    }

    /// Takes what `inputs` give; "" is the network's input.
    fn of(mut self, inputs: &[&str]) -> List {
        let value = |name: &str| match self.0.iter().position(|layer| layer.name == name) {
            Some(layer) => layer + 1,
            None if name.is_empty() => 0,
            None => panic!("no layer {name:?}"),
        };
        let inputs = inputs.iter().map(|name| value(name)).collect();
        self.0.last_mut().unwrap().inputs = inputs;
        self
    }

    fn conv(self, name: &str, out_channels: usize, kernel: usize, [stride, padding, groups]: [usize; 3]) -> List {
        self.add(name, Operation::Conv2d { out_channels, kernel, stride, padding, groups })
    }

    fn relu(self, name: &str) -> List {
        self.add(name, Operation::Relu)
    }

    fn max_pool(self, name: &str, kernel: usize, stride: usize, padding: usize, rounding: Rounding) -> List {
        self.add(name, Operation::MaxPool(Window { kernel, stride, padding, rounding }))
    }

    fn average_pool(self, name: &str, kernel: usize, stride: usize, padding: usize, count_padding: bool) -> List {
        let window = Window { kernel, stride, padding, rounding: Rounding::Ceil };
        self.add(name, Operation::AveragePool { window, count_padding })
    }

    fn lrn(self, name: &str, size: usize, alpha: f32, k: f32) -> List {
        self.add(name, Operation::Lrn { size, alpha, k })
    }

    fn concat(self, name: &str, inputs: &[&str]) -> List {
        self.add(name, Operation::Concat).of(inputs)
    }

    fn dense(self, name: &str, out_features: usize) -> List {
        self.add(name, Operation::Dense { out_features })
    }

    fn network(self, input: Shape, seed: u64) -> Network {
        let layers = self.add("softmax", Operation::Softmax).0;
        let shapes = shapes(input, &layers).unwrap();
        let parameters = weights(&layers, &shapes).enumerate().map(|(layer, (_, shape))| {
            let inputs: usize = shape[1..].iter().product();
            let bound = (6.0 / inputs as f32).sqrt();
            let layer = layer as u32;
            let weight = (0..shape[0] * inputs).map(|at| uniform(seed, 10 + layer, at) * bound).collect();
            Parameters { weight, bias: (0..shape[0]).map(|at| 0.1 * uniform(seed, 100 + layer, at)).collect() }
        });
        let parameters = parameters.collect();
        let channel_order = if input.channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Bgr };
        let mean = (0..input.len()).map(|at| 100.0 + 10.0 * uniform(seed, 3, at)).collect();
        let preprocess = Preprocess { scale: [0.02, 0.015, 0.01], mean, channel_order };
        let classes = (0..shapes.last().unwrap().len()).map(|class| class.to_string()).collect();
        Network::new("test", input, preprocess, layers, parameters, classes).unwrap()
    }
}

use Rounding::{Ceil, Floor};

/// As AlexNet: a stride above 1 at the beginning, groups, poolings that overlap and are clipped, both normalisations, dense layers.
fn alexnet_like() -> Network {
    List::default()
        .conv("conv1", 12, 7, [4, 1, 1])
        .relu("relu1")
        .lrn("norm1", 5, 0.5, 1.0)
        .max_pool("pool1", 3, 2, 0, Ceil)
        .conv("conv2", 10, 5, [1, 2, 2])
        .relu("relu2")
        .lrn("norm2", 3, 2.0, 2.0)
        .max_pool("pool2", 3, 2, 1, Floor)
        .conv("conv3", 14, 3, [1, 1, 2])
        .dense("fc1", 37)
        .relu("relu3")
        .dense("fc2", 11)
        .network(Shape { channels: 3, height: 41, width: 38 }, 1)
}

/// As GoogLeNet and SqueezeNet: modules whose input many take, concatenations, a convolution whose padding is as wide as its kernel,
/// an average of all positions, no dense layer.
fn inception_like() -> Network {
    List::default()
        .conv("conv1", 8, 7, [2, 3, 1])
        .relu("relu1")
        .max_pool("pool1", 3, 2, 0, Ceil)
        .conv("a.1", 5, 1, [1, 0, 1])
        .relu("a.1.relu")
        .conv("a.3.reduce", 3, 1, [1, 0, 1])
        .of(&["pool1"])
        .relu("a.3.reduce.relu")
        .conv("a.3", 7, 3, [1, 1, 1])
        .relu("a.3.relu")
        .max_pool("a.pool", 3, 1, 1, Ceil)
        .of(&["pool1"])
        .conv("a.pool.1", 4, 1, [1, 0, 1])
        .relu("a.pool.relu")
        // The module's input beside what is made of it, and one part twice.
        .concat("a", &["a.1.relu", "pool1", "a.3.relu", "a.pool.relu", "a.1.relu"])
        .average_pool("pool2", 3, 2, 1, true)
        .conv("squeeze", 4, 1, [1, 0, 1])
        .relu("squeeze.relu")
        .conv("expand1", 6, 1, [1, 0, 1])
        .relu("expand1.relu")
        .conv("expand3", 5, 3, [1, 1, 1])
        .of(&["squeeze.relu"])
        .relu("expand3.relu")
        .concat("fire", &["expand1.relu", "expand3.relu"])
        .conv("classes", 9, 1, [1, 1, 1])
        .relu("classes.relu")
        .average_pool("pool", 7, 7, 0, false)
        .network(Shape { channels: 3, height: 37, width: 34 }, 2)
}

/// What lists of a user's own may hold: the input taken by two layers, strides above the kernel, rectifiers in a row and at the very
/// beginning and end, windows side by side that leave a border out, a wide normalisation of few channels, groups of one channel.
fn odd() -> Network {
    List::default()
        .relu("relu0")
        .conv("a", 6, 2, [3, 1, 3])
        .conv("b", 6, 1, [3, 1, 1])
        .of(&[""])
        .lrn("b.norm", 9, 1.0, 0.5)
        .concat("ab", &["b.norm", "a"])
        .relu("relu1")
        .relu("relu2")
        .max_pool("pool1", 2, 2, 0, Floor)
        .relu("relu3")
        .conv("skip", 5, 2, [2, 0, 1])
        .of(&["relu2"])
        .concat("both", &["relu3", "skip"])
        .conv("c", 17, 3, [2, 2, 17])
        .average_pool("pool2", 2, 2, 1, false)
        .dense("fc", 7)
        .relu("last")
        .network(Shape { channels: 3, height: 19, width: 22 }, 3)
}

/// As LeNet.
fn lenet_like() -> Network {
    List::default()
        .conv("conv1", 20, 5, [1, 0, 1])
        .max_pool("pool1", 2, 2, 0, Ceil)
        .conv("conv2", 13, 5, [1, 0, 1])
        .max_pool("pool2", 2, 2, 0, Ceil)
        .dense("fc1", 50)
        .relu("relu1")
        .dense("fc2", 10)
        .network(Shape { channels: 1, height: 28, width: 28 }, 4)
}

fn networks() -> Vec<(&'static str, Network)> {
    vec![
        ("alexnet-like", alexnet_like()),
        ("inception-like", inception_like()),
        ("odd", odd()),
        ("lenet-like", lenet_like()),
    ]
}

fn random_images(network: &Network, n: usize, seed: u64) -> Vec<u8> {
    (0..n * network.input.len()).map(|at| (word(seed, 0, at as u32) >> 24) as u8).collect()
}

fn random_classes(network: &Network, n: usize, seed: u64) -> Vec<u32> {
    (0..n).map(|at| word(seed, 1, at as u32) % network.classes.len() as u32).collect()
}

#[track_caller]
fn assert_same(got: &[f32], want: &[f32], case: &str) {
    assert_eq!(got.len(), want.len(), "{case}: lengths differ");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got.to_bits() == want.to_bits(), "{case} {at}: got {got:e}, want {want:e}");
    }
}

/// Probabilities and gradients of `images`, 8 bits, of `classes`.
fn input_gradients(network: &Network, images: &[u8], classes: &[u32], simd: Simd) -> (Vec<f32>, Vec<f32>) {
    let reference = Reference::<f32>::new(network);
    let inputs: Vec<f32> =
        images.chunks_exact(network.input.len()).flat_map(|image| reference.preprocess(image)).collect();
    let mut probabilities = vec![f32::NAN; classes.len() * network.classes.len()];
    let mut gradients = vec![f32::NAN; inputs.len()];
    let mut on = InputGradients::new(network, classes.len(), simd).unwrap();
    // Twice: nothing of a run may stay for the next.
    let other = vec![0.5; inputs.len()];
    on.run(&other, &vec![0; classes.len()], &mut probabilities, &mut gradients);
    on.run(&inputs, classes, &mut probabilities, &mut gradients);
    (probabilities, gradients)
}

#[test]
fn input_gradients_follow_the_written_rules_in_every_bit() {
    for (name, network) in networks() {
        let n = 35;
        let (images, classes) = (random_images(&network, n, 5), random_classes(&network, n, 5));
        let reference = Reference::<f32>::new(&network);
        let (mut want_probabilities, mut want) = (Vec::new(), Vec::new());
        for (image, &class) in images.chunks_exact(network.input.len()).zip(&classes) {
            let (p, gradient) = reference.probability_gradient(&reference.preprocess(image), class as usize);
            assert!(gradient.iter().any(|&g| g != 0.0), "{name}: a gradient of 0 tells nothing");
            want_probabilities.extend(p);
            want.extend(gradient);
        }
        let mut of_classifier = vec![0.0; want_probabilities.len()];
        Classifier::new(Arc::new(network.clone()), Simd::detect()).classify(&images, &mut of_classifier);
        assert_same(&of_classifier, &want_probabilities, &format!("{name}, the classifier's probability"));
        for simd in Simd::available() {
            // One image, a full tile or less, and several tiles with some lanes empty; on one thread and on several.
            for (n, threads) in [(1, 1), (1, 2), (10, 2), (10, 3), (35, 1), (35, 2), (35, 3)] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let case = format!("{name}, {simd}, {n} images, {threads} threads");
                let (p, gradients) =
                    pool.install(|| input_gradients(&network, &images[..n * network.input.len()], &classes[..n], simd));
                assert_same(&p, &want_probabilities[..p.len()], &format!("{case}, probability"));
                assert_same(&gradients, &want[..gradients.len()], &format!("{case}, gradient"));
            }
        }
    }
}

#[test]
fn every_geometry_of_a_convolution_goes_back_in_every_bit() {
    // Sizes of 9 and 26: no full register block, and several. Group sizes below and above a register block.
    for (height, width) in [(9, 9), (7, 26)] {
        for (channels, out_channels, groups) in [(1, 3, 1), (3, 6, 3), (3, 4, 1)] {
            for kernel in 1..=5 {
                for stride in 1..=4 {
                    for padding in 0..=3 {
                        let first = List::default().conv("first", 12, 1, [1, 0, 1]);
                        let case = format!(
                            "{channels} channels, {height}x{width}, kernel {kernel}, stride {stride}, padding {padding}"
                        );
                        // By itself, and behind a layer of 12 channels in two groups of 6.
                        let lists = [
                            List::default().conv("conv", out_channels, kernel, [stride, padding, groups]),
                            first.conv("conv", 4, kernel, [stride, padding, 2]),
                        ];
                        for list in lists {
                            let network = list.dense("fc", 3).network(Shape { channels, height, width }, 6);
                            let (images, classes) = (random_images(&network, 1, 6), [1]);
                            let reference = Reference::<f32>::new(&network);
                            let (_, want) = reference.probability_gradient(&reference.preprocess(&images), 1);
                            for simd in Simd::available() {
                                let (_, gradients) = input_gradients(&network, &images, &classes, simd);
                                assert_same(&gradients, &want, &format!("{case}, {simd}"));
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_that_underflow_keep_the_signs_of_their_zeros() {
    for (name, mut network) in networks() {
        // One class has all: the others' probabilities are near the smallest numbers, their gradients' products below.
        let last = network.parameters.last_mut().unwrap();
        last.bias.iter_mut().for_each(|bias| *bias -= 85.0);
        last.bias[0] = 3.0;
        let (images, classes) = (random_images(&network, 3, 8), [1, 2, 3]);
        let reference = Reference::<f32>::new(&network);
        let (p, gradients) = input_gradients(&network, &images, &classes, Simd::detect());
        let (mut small, n) = (0, network.classes.len());
        for (image, bytes) in images.chunks_exact(network.input.len()).enumerate() {
            let (want_p, want) = reference.probability_gradient(&reference.preprocess(bytes), classes[image] as usize);
            assert_same(&p[image * n..][..n], &want_p, &format!("{name}, probability"));
            assert_same(&gradients[image * want.len()..][..want.len()], &want, &format!("{name}, image {image}"));
            small += want.iter().filter(|g| g.abs() < f32::MIN_POSITIVE).count();
        }
        assert!(name == "inception-like" || name == "odd" || small > 0, "{name}: nothing underflows");
    }
}

#[test]
fn gradients_of_the_input_are_those_of_finite_differences() {
    for (name, network) in networks() {
        let reference = Reference::<f64>::new(&network);
        let image = random_images(&network, 1, 9);
        let mut input = reference.preprocess(&image);
        let class = 1;
        let (_, gradient) = reference.probability_gradient(&input, class);
        let largest = gradient.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
        let mut worst: f64 = 0.0;
        for at in (0..input.len()).step_by(input.len() / 200 + 1) {
            // Central difference: the third derivative's share is about h^2, rounding's 1e-16 p / h.
            let h = 1e-6;
            let mut p_at = |offset: f64| {
                let before = input[at];
                input[at] += offset;
                let p = reference.forward(&input, None).given.pop().unwrap()[class];
                input[at] = before;
                p
            };
            let difference = (p_at(h) - p_at(-h)) / (2.0 * h);
            let error = (difference - gradient[at]).abs() / largest;
            assert!(error < 1e-6, "{name} {at}: difference {difference:e}, gradient {:e}", gradient[at]);
            worst = worst.max(error);
        }
        println!("{name}: worst error {worst:.1e} of the largest gradient");
    }
}

const SGD: Sgd = Sgd { momentum: 0.9, decay: 0.0005, bias_rate: 2.0, bias_decay: 1.0 };

fn job(batch: usize) -> TrainingJob {
    TrainingJob { seed: 1, batch, sgd: SGD, dropout: Vec::new() }
}

/// Of the input; of what many layers take and what a pooling gives, which cannot be dropped in place; behind a rectifier.
fn dropout_of(network: &Network) -> Vec<Dropout> {
    let value = |operation: fn(&Operation) -> bool| {
        network.layers.iter().position(|layer| operation(&layer.operation)).map(|layer| layer + 1)
    };
    let values = [
        Some((0, 0.1)),
        value(|operation| matches!(operation, Operation::MaxPool(_))).map(|value| (value, 0.3)),
        network.layers.iter().rposition(|layer| layer.operation == Operation::Relu).map(|layer| (layer + 1, 0.5)),
        value(|operation| matches!(operation, Operation::Concat)).map(|value| (value, 0.25)),
    ];
    values.into_iter().flatten().map(|(value, ratio)| Dropout { value, ratio }).collect()
}

#[test]
fn weight_gradients_follow_the_written_rules_in_every_bit() {
    for (name, network) in networks() {
        // Round the edges of the slots (16) and of two vectors; with one and with two tiles a group.
        for (batch, drops) in [(1, false), (15, true), (17, false), (64, true)] {
            let (images, labels) = (random_images(&network, batch, 7), random_classes(&network, batch, 7));
            let dropout = if drops { dropout_of(&network) } else { Vec::new() };
            let job = TrainingJob { dropout: dropout.clone(), ..job(batch) };
            let reference = Reference::<f32> { dropout, seed: 1, ..Reference::new(&network) };
            let iteration = 3;
            let want: Vec<_> = reference.gradients(&images, &labels, iteration);
            let want: Vec<_> = want.into_iter().filter(|pair| !pair.1.is_empty()).collect();
            assert!(want.iter().all(|pair| pair.0.iter().any(|&g| g != 0.0)), "{name}: a gradient of 0 tells nothing");
            let losses = reference.losses(&images, &labels, iteration);
            for simd in Simd::available() {
                for threads in [1, 2, 3] {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| {
                        let mut trainer = Trainer::new(&network, job.clone(), simd).unwrap();
                        let case = format!("{name}, {simd}, {threads} threads, batch {batch}");
                        assert_eq!(trainer.step(iteration, &images, &labels, 0.01).unwrap(), losses, "{case}");
                        let got = trainer.gradients();
                        assert_eq!(got.len(), want.len());
                        for (layer, (got, want)) in got.iter().zip(&want).enumerate() {
                            assert_same(&got.weight, &want.0, &format!("{case}, layer {layer}, weight"));
                            assert_same(&got.bias, &want.1, &format!("{case}, layer {layer}, bias"));
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn gradients_of_weights_are_those_of_finite_differences() {
    for (name, network) in networks() {
        let (images, labels) = (random_images(&network, 3, 5), random_classes(&network, 3, 5));
        let mut reference = Reference::<f64> { dropout: dropout_of(&network), seed: 2, ..Reference::new(&network) };
        let gradients = reference.gradients(&images, &labels, 1);
        let mut worst: f64 = 0.0;
        for (layer, (weights, biases)) in gradients.iter().enumerate() {
            for (is_bias, gradient) in [(false, weights), (true, biases)] {
                let largest = gradient.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                for at in (0..gradient.len()).step_by(gradient.len() / 20 + 1) {
                    // As above; a kink of a rectifier or a pooling within h would show as an error near the gradient itself.
                    let h = 1e-6;
                    let mut loss_at = |offset: f64| {
                        let pair = &mut reference.parameters[layer];
                        let value = if is_bias { &mut pair.1[at] } else { &mut pair.0[at] };
                        let before = *value;
                        *value += offset;
                        let loss = reference.losses(&images, &labels, 1).iter().sum::<f64>() / 3.0;
                        let pair = &mut reference.parameters[layer];
                        *(if is_bias { &mut pair.1[at] } else { &mut pair.0[at] }) = before;
                        loss
                    };
                    let difference = (loss_at(h) - loss_at(-h)) / (2.0 * h);
                    let error = (difference - gradient[at]).abs() / largest;
                    assert!(
                        error < 1e-5,
                        "{name}, layer {layer}, bias {is_bias}, {at}: difference {difference:e}, gradient {:e}",
                        gradient[at]
                    );
                    worst = worst.max(error);
                }
            }
        }
        println!("{name}: worst error {worst:.1e} of the layer's largest gradient");
    }
}

/// `parameters` as bits, to compare.
fn bits<'a>(parameters: impl IntoIterator<Item = &'a Parameters>) -> Vec<Vec<u32>> {
    let values = parameters.into_iter().flat_map(|p| [&p.weight, &p.bias]);
    values.map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn update_is_caffes_with_momentum_decay_and_rules_of_their_own_for_biases() {
    let network = alexnet_like();
    let (images, labels) = (random_images(&network, 16, 9), random_classes(&network, 16, 9));
    for bias_decay in [1.0, 0.0, 0.5] {
        let job = TrainingJob { sgd: Sgd { bias_decay, ..SGD }, ..job(16) };
        let mut trainer = Trainer::new(&network, job, Simd::detect()).unwrap();
        let mut want = network.parameters.clone();
        let mut velocity: Vec<[Vec<f32>; 2]> =
            want.iter().map(|p| [vec![0.0; p.weight.len()], vec![0.0; p.bias.len()]]).collect();
        for (iteration, rate) in [0.01, 0.02, 0.005].into_iter().enumerate() {
            let mut now = network.clone();
            now.parameters = trainer.parameters();
            trainer.step(iteration as u32, &images, &labels, rate).unwrap();
            // Both ways with the weights of now.
            let of_now = Reference::<f32>::new(&now).gradients(&images, &labels, 0);
            let of_now = of_now.iter().filter(|pair| !pair.1.is_empty());
            for (layer, (got, want)) in trainer.gradients().iter().zip(of_now).enumerate() {
                assert_same(&got.weight, &want.0, &format!("iteration {iteration}, layer {layer}"));
            }
            for ((want, velocity), gradient) in want.iter_mut().zip(&mut velocity).zip(trainer.gradients()) {
                let [weight_velocity, bias_velocity] = velocity;
                for (values, velocity, gradient, rate, decay) in [
                    (&mut want.weight, weight_velocity, gradient.weight, rate, 0.0005),
                    (&mut want.bias, bias_velocity, gradient.bias, 2.0 * rate, 0.0005f32 * bias_decay),
                ] {
                    for ((w, v), g) in values.iter_mut().zip(velocity).zip(gradient) {
                        let decayed = decay.mul_add(*w, g);
                        *v = 0.9f32.mul_add(*v, rate * decayed);
                        *w -= *v;
                    }
                }
            }
            assert_eq!(bits(&trainer.parameters()), bits(&want), "bias decay {bias_decay}, rate {rate}");
        }
    }
}

#[test]
fn training_is_the_same_at_every_width_and_number_of_threads_and_goes_on_where_it_was() {
    for (name, network) in networks() {
        for batch in [64, 9] {
            let job = TrainingJob { dropout: dropout_of(&network), ..job(batch) };
            let steps = |trainer: &mut Trainer, iterations: std::ops::Range<u32>| {
                for iteration in iterations {
                    let seed = u64::from(iteration);
                    let images = random_images(&network, batch, seed);
                    let labels = random_classes(&network, batch, seed);
                    trainer.step(iteration, &images, &labels, 0.01).unwrap();
                }
            };
            let state =
                |learned: &[Learned]| bits(learned.iter().flat_map(|learned| [&learned.parameters, &learned.velocity]));
            let mut want = None;
            for simd in Simd::available() {
                for threads in [1, 2, 3] {
                    // Without instructions for it a fused multiply-add takes a hundred times as long: the small batch only.
                    if batch > 9 && simd.width() == 4 || name != "lenet-like" && threads == 3 {
                        continue;
                    }
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| {
                        let mut trainer = Trainer::new(&network, job.clone(), simd).unwrap();
                        steps(&mut trainer, 0..3);
                        // Another goes on: from other weights, and with what another batch left.
                        let learned = trainer.learned().unwrap();
                        let mut other = Trainer::new(&network, job.clone(), simd).unwrap();
                        steps(&mut other, 7..8);
                        other.restore(&learned).unwrap();
                        for trainer in [&mut trainer, &mut other] {
                            steps(trainer, 3..5);
                            let got = state(&trainer.learned().unwrap());
                            let want = want.get_or_insert_with(|| got.clone());
                            assert!(got == *want, "{name}, batch {batch}, {simd}, {threads} threads");
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let network = lenet_like();
    let refused = |job: TrainingJob| Trainer::new(&network, job, Simd::Plain).unwrap_err().to_string();
    let with = |dropout: &[Dropout]| TrainingJob { dropout: dropout.to_vec(), ..job(16) };
    let drop = |value, ratio| Dropout { value, ratio };
    let last = network.layers.len();
    assert!(refused(job(0)).contains("a batch of 0 images: wanted 1 to 65535"));
    assert!(refused(job(65_536)).contains("65536"));
    assert!(refused(with(&[drop(last, 0.5)])).contains(&format!("dropout of value {last}")));
    assert!(refused(with(&[drop(1, 1.0)])).contains("its ratio is 1, wanted from 0 to below 1"));
    assert!(refused(with(&[drop(1, f32::NAN)])).contains("NaN"));
    assert!(refused(with(&[drop(1, 0.5), drop(1, 0.25)])).contains("twice"));
    // 20 MB an image. Asked before memory is taken.
    let large = List::default().conv("conv", 8, 1, [1, 0, 1]).average_pool("pool", 512, 512, 0, false);
    let large = large.network(Shape { channels: 1, height: 512, width: 512 }, 1);
    let error = Trainer::new(&large, job(65_535), Simd::detect()).unwrap_err().to_string();
    assert!(error.contains("a batch of 65535 images needs") && error.contains("--batch"), "{error}");
    let error = InputGradients::new(&large, 1 << 20, Simd::detect()).unwrap_err().to_string();
    assert!(error.contains("gradients of 1048576 images") && error.contains("TiB of memory"), "{error}");
}

/// The numbers of a tensor of a file known to be good.
fn read_f64(file: &SafeTensors, name: &str) -> Vec<f64> {
    file.tensor(name).unwrap().data().chunks(8).map(|word| f64::from_le_bytes(word.try_into().unwrap())).collect()
}

/// What scripts/make-gradient-golden recorded.
fn golden() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gradients/golden.safetensors")).unwrap()
}

/// Holds the probability and the gradient of one image, `(3, side, side)`, against those of `case`.
fn compare_with_golden(golden: &SafeTensors, case: &str, side: usize, probability: f32, gradient: &[f32]) {
    let want = read_f64(golden, &format!("{case}.probability"))[0];
    // Sums of up to 9,216 terms, a dozen layers: some 1e-5 of a logit.
    assert!((f64::from(probability) / want - 1.0).abs() < 1e-3, "{case}: probability {probability}, want {want}");
    let values: Vec<f64> = golden
        .tensor(&format!("{case}.values"))
        .unwrap()
        .data()
        .chunks(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()).into())
        .collect();
    let norm = read_f64(golden, &format!("{case}.squares")).iter().sum::<f64>().sqrt();
    let rms = norm / (gradient.len() as f64).sqrt();
    let seen = (0..3 * side * side).filter(|at| (at / side % side).is_multiple_of(7) && (at % side).is_multiple_of(7));
    let (mut squares, mut n) = (0.0, 0);
    for (at, want) in seen.zip(&values) {
        let error = (f64::from(gradient[at]) - want).abs();
        squares += error * error;
        n += 1;
        assert!(error < 0.05 * rms, "{case}: value {at} is {:e}, want {want:e}", gradient[at]);
    }
    assert_eq!(n, values.len());
    let error = (squares / n as f64).sqrt() / rms;
    println!("{case}: the values are off by {error:.1e} of their size");
    // Some 1e-5, but for the hen: of p near 1, `1 - p` = 5e-4 has the rounding of the softmax's sum of 1000 terms, some 1e-6.
    assert!(error < 5e-3, "{case}: the values are off by {error:e} of their size");
    // numpy's array_split: the first parts are longer by one.
    let (each, longer) = (side / 8, side % 8);
    let edge = |part: usize| part * each + part.min(longer);
    for (at, want) in read_f64(golden, &format!("{case}.squares")).into_iter().enumerate() {
        let (channel, row, column) = (at / 64, at / 8 % 8, at % 8);
        let mut got = 0.0;
        for y in edge(row)..edge(row + 1) {
            for x in edge(column)..edge(column + 1) {
                got += f64::from(gradient[(channel * side + y) * side + x]).powi(2);
            }
        }
        assert!((got / want - 1.0).abs() < 0.01, "{case}: part {at} has {got:e}, want {want:e}");
    }
}

/// What `(images)` of 8 bits have for gradients of `classes`, held against golden `cases`.
fn images_match_golden(network: &Network, images: &[u8], classes: &[u32], cases: &[&str]) {
    let bytes = golden();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (p, gradients) = input_gradients_once(network, images, classes);
    let n = network.classes.len();
    for (image, gradient) in gradients.chunks_exact(network.input.len()).enumerate() {
        let p = p[image * n + classes[image] as usize];
        compare_with_golden(&golden, cases[image], network.input.height, p, gradient);
    }
    let mut want = vec![0.0; p.len()];
    if network.image == network.input {
        Classifier::new(Arc::new(network.clone()), Simd::detect()).classify(images, &mut want);
        assert_same(&p, &want, "probability");
    }
}

/// As [`input_gradients`], of large networks.
fn input_gradients_once(network: &Network, images: &[u8], classes: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let reference = Reference::<f32> { parameters: Vec::new(), ..Reference::new(network) };
    let inputs: Vec<f32> =
        images.chunks_exact(network.input.len()).flat_map(|image| reference.preprocess(image)).collect();
    let mut probabilities = vec![f32::NAN; classes.len() * network.classes.len()];
    let mut gradients = vec![f32::NAN; inputs.len()];
    let mut on = InputGradients::new(network, classes.len(), Simd::detect()).unwrap();
    on.run(&inputs, classes, &mut probabilities, &mut gradients);
    (probabilities, gradients)
}

#[test]
fn squeezenets_gradients_are_those_of_jax() {
    let Some(data) = common::data_dir() else { return };
    let files = Files {
        weights: Some(data.join("squeezenet-v1.0.safetensors")),
        class_names: Some(data.join("imagenet_classes.txt")),
        ..Files::default()
    };
    let network = files.load().unwrap();
    let hen = read(&data.join("hen_256.png"), &network, Fit::default(), None).unwrap().remove(0).pixels;
    let images = [&hen[..], &hen[..]].concat();
    images_match_golden(&network, &images, &[8, 7], &["squeezenet.hen", "squeezenet.cock"]);
}

#[test]
fn caffenets_gradients_are_those_of_jax() {
    if common::data_dir().is_none() {
        return;
    }
    let bytes = golden();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let list = NetworkList::built_in("caffenet").unwrap();
    let mean = [104.0, 117.0, 123.0].iter().flat_map(|&mean| vec![mean; 227 * 227]).collect();
    let preprocess = Preprocess { scale: [1.0; 3], mean, channel_order: list.channel_order };
    let network = formula::CAFFE.network(&list, preprocess);
    let images = formula::CAFFE.images(227, true);
    let classes: Vec<u32> = read_f64(&golden, "caffenet.class").iter().map(|&class| class as u32).collect();
    images_match_golden(&network, &images, &classes, &["caffenet.0", "caffenet.1"]);

    let mut trainer = Trainer::new(&network, job(2), Simd::detect()).unwrap();
    trainer.step(0, &images, &classes, 0.0).unwrap();
    let (shapes, gradients) = (network.shapes(), trainer.gradients());
    for ((name, _), gradient) in weights(&network.layers, &shapes).zip(&gradients) {
        for (part, values) in [("weight", &gradient.weight), ("bias", &gradient.bias)] {
            let want = read_f64(&golden, &format!("caffenet.loss.{name}.{part}"));
            let squares: f64 = values.iter().map(|&g| f64::from(g).powi(2)).sum();
            assert!((squares / want[0] - 1.0).abs() < 1e-2, "{name}.{part}: squares {squares:e}, want {:e}", want[0]);
            let rms = (want[0] / values.len() as f64).sqrt();
            for (at, want) in want[1..].iter().enumerate() {
                let got = f64::from(values[at * values.len().div_ceil(50)]);
                assert!((got - want).abs() < 0.05 * rms, "{name}.{part}, sample {at}: {got:e}, want {want:e}");
            }
        }
    }
}
