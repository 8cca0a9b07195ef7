//! Networks on the CPU: every layer against its formula, LeNet against recorded outputs.

mod common;
#[path = "common/layers.rs"]
mod layers;

use std::path::Path;
use std::sync::Arc;

use layers::{Named, RELU, SOFTMAX, conv2d, dense, max_pool_of};
use pareidolia::backend::cpu::classify::{Classifier, Mapping};
use pareidolia::backend::cpu::max_pool::max_pool;
use pareidolia::backend::cpu::relu::relu;
use pareidolia::backend::cpu::softmax::softmax;
use pareidolia::dataset::{Mnist, Split};
use pareidolia::network::list::List;
use pareidolia::network::{
    ChannelOrder, Layer, Network, Operation, Parameters, Preprocess, Rounding, Shape, Window, lenet, shapes, weights,
};
use pareidolia::rng::{Philox, Purpose, unit};
use pareidolia::simd::{Lanes, Simd, Vectorised};

const GREY: Preprocess = Preprocess { scale: [1.0 / 77.0; 3], mean: Vec::new(), channel_order: ChannelOrder::Grey };

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

/// `n` numbers in [-1, 1), the same for the same `stream`.
fn random(stream: u32, n: usize) -> Vec<f32> {
    let draws = Philox::new(20_150_607).draws(Purpose::TrainInit, stream, 0);
    (0..n as u32).map(|index| 2.0 * unit(draws.word(index)) - 1.0).collect()
}

fn random_images(stream: u32, n: usize) -> Vec<u8> {
    random(stream, n).iter().map(|value| ((value + 1.0) * 128.0) as u8).collect()
}

/// A network of `layers` and a softmax with random parameters; its logits are what the last of `layers` gives.
fn random_network(input: Shape, preprocess: Preprocess, mut layers: Vec<Named>) -> Network {
    layers.push(SOFTMAX);
    random_graph(input, preprocess, Layer::chain(layers))
}

/// A network of `layers`, the last of which is a softmax, with random parameters.
fn random_graph(input: Shape, preprocess: Preprocess, layers: Vec<Layer>) -> Network {
    let shapes = shapes(input, &layers).unwrap();
    let parameters = weights(&layers, &shapes).enumerate().map(|(index, (_, shape))| Parameters {
        weight: random(2 * index as u32, shape.iter().product()),
        bias: random(2 * index as u32 + 1, shape[0]),
    });
    let classes = (0..shapes[shapes.len() - 1].len()).map(|class| class.to_string()).collect();
    Network::new("test", input, preprocess, layers.clone(), parameters.collect(), classes).unwrap()
}

/// The logits of one image, from the formulas, one value at a time in the order of the one arithmetic.
fn reference_logits(network: &Network, image: &[u8]) -> Vec<f32> {
    let input = network.input;
    let mut values = Vec::new();
    for channel in 0..input.channels {
        for y in 0..input.height {
            for x in 0..input.width {
                let byte = match network.preprocess.channel_order {
                    ChannelOrder::Bgr => [2, 1, 0][channel],
                    ChannelOrder::Grey | ChannelOrder::Rgb => channel,
                };
                let mut value = f32::from(image[(y * input.width + x) * input.channels + byte]);
                if !network.preprocess.mean.is_empty() {
                    value -= network.preprocess.mean[(channel * input.height + y) * input.width + x];
                }
                values.push(value * network.preprocess.scale[channel]);
            }
        }
    }
    let shapes = network.shapes();
    let mut parameters = network.parameters.iter();
    let mut all = vec![values];
    for (layer, &to) in network.layers.iter().zip(&shapes[1..]) {
        let (from, values) = (shapes[layer.inputs[0]], &all[layer.inputs[0]]);
        let output = match layer.operation {
            Operation::Softmax => values.clone(),
            Operation::Relu => values.iter().map(|&x| if x > 0.0 { x } else { 0.0 }).collect(),
            Operation::Dense { .. } => reference_dense(values, parameters.next().unwrap()),
            Operation::MaxPool(window) => reference_max_pool(values, from, to, window),
            Operation::AveragePool { window, count_padding } => {
                reference_average_pool(values, from, to, window, count_padding)
            }
            Operation::Lrn { size, alpha, k } => reference_lrn(values, from, size, alpha, k),
            Operation::Concat => layer.inputs.iter().flat_map(|&input| all[input].clone()).collect(),
            Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                let Parameters { weight, bias } = parameters.next().unwrap();
                let (from_group, to_group) = (from.channels / groups, to.channels / groups);
                let mut output = Vec::new();
                for channel in 0..to.channels {
                    for row in 0..to.height {
                        for column in 0..to.width {
                            let mut sum = bias[channel];
                            for k in 0..from_group * kernel * kernel {
                                let (c, dy, dx) = (k / (kernel * kernel), k / kernel % kernel, k % kernel);
                                let source = channel / to_group * from_group + c;
                                let y = (row * stride + dy) as isize - padding as isize;
                                let x = (column * stride + dx) as isize - padding as isize;
                                let inside =
                                    (0..from.height as isize).contains(&y) && (0..from.width as isize).contains(&x);
                                if inside {
                                    let at = (source * from.height + y as usize) * from.width + x as usize;
                                    sum = weight[channel * from_group * kernel * kernel + k].mul_add(values[at], sum);
                                }
                            }
                            output.push(sum);
                        }
                    }
                }
                output
            }
        };
        all.push(output);
    }
    all.pop().unwrap()
}

fn reference_dense(values: &[f32], parameters: &Parameters) -> Vec<f32> {
    let rows = parameters.weight.chunks_exact(values.len());
    rows.zip(&parameters.bias)
        .map(|(row, &bias)| row.iter().zip(values).fold(bias, |sum, (w, x)| w.mul_add(*x, sum)))
        .collect()
}

/// The positions of the image that a pooling's window sees along an axis of `size`, and how many it sees with the padding.
fn seen(window: Window, at: usize, size: usize) -> (Vec<usize>, usize) {
    let start = (at * window.stride) as isize - window.padding as isize;
    let all = start..start + window.kernel as isize;
    let with_padding = all.clone().filter(|&at| at < (size + window.padding) as isize).count();
    (all.filter(|at| (0..size as isize).contains(at)).map(|at| at as usize).collect(), with_padding)
}

fn reference_max_pool(values: &[f32], from: Shape, to: Shape, window: Window) -> Vec<f32> {
    let mut output = Vec::new();
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let mut best: Option<f32> = None;
                for y in seen(window, row, from.height).0 {
                    for x in seen(window, column, from.width).0 {
                        let value = values[(channel * from.height + y) * from.width + x];
                        if best.is_none_or(|best| value > best) {
                            best = Some(value);
                        }
                    }
                }
                output.push(best.unwrap());
            }
        }
    }
    output
}

fn reference_average_pool(values: &[f32], from: Shape, to: Shape, window: Window, count_padding: bool) -> Vec<f32> {
    let mut output = Vec::new();
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let ((ys, rows), (xs, columns)) = (seen(window, row, from.height), seen(window, column, from.width));
                let mut sum = 0.0;
                for &y in &ys {
                    for &x in &xs {
                        sum += values[(channel * from.height + y) * from.width + x];
                    }
                }
                let n = if count_padding { rows * columns } else { ys.len() * xs.len() };
                output.push(sum / n as f32);
            }
        }
    }
    output
}

fn reference_lrn(values: &[f32], shape: Shape, size: usize, alpha: f32, k: f32) -> Vec<f32> {
    let plane = shape.height * shape.width;
    let normalised = |(at, &value): (usize, &f32)| {
        let (channel, position) = (at / plane, at % plane);
        let mut sum = 0.0_f32;
        for other in channel.saturating_sub(size / 2)..(channel + size / 2 + 1).min(shape.channels) {
            let neighbour = values[other * plane + position];
            sum = neighbour.mul_add(neighbour, sum);
        }
        let root = (alpha / size as f32).mul_add(sum, k).sqrt();
        value / (root * root.sqrt())
    };
    values.iter().enumerate().map(normalised).collect()
}

#[track_caller]
fn assert_same_bits(want: &[f32], got: &[f32], case: &str) {
    assert_eq!(want.len(), got.len(), "{case}: lengths differ");
    for (index, (want, got)) in want.iter().zip(got).enumerate() {
        assert_eq!(want.to_bits(), got.to_bits(), "{case}: element {index}: want {want:e}, got {got:e}");
    }
}

#[test]
fn every_layer_equals_its_formula_at_every_width() {
    let pool = max_pool_of;
    let bgr = |input: Shape| Preprocess {
        scale: [0.02, 0.03, 0.05],
        mean: random(99, input.len()).iter().map(|value| 100.0 + 50.0 * value).collect(),
        channel_order: ChannelOrder::Bgr,
    };
    let rgb = Preprocess { scale: [0.01; 3], mean: Vec::new(), channel_order: ChannelOrder::Rgb };
    let cases = [
        (shape(1, 1, 1), GREY, vec![conv2d("a", 1, 1, 1, 0, 1)]),
        (shape(1, 9, 7), GREY, vec![conv2d("a", 6, 3, 1, 0, 1)]),
        (shape(1, 28, 28), GREY, vec![conv2d("a", 5, 5, 1, 0, 1)]),
        // Padding: at least as wide as the kernel; one column wide; a kernel as large as the padded image.
        (shape(1, 4, 3), GREY, vec![conv2d("a", 4, 1, 1, 1, 1)]),
        (shape(1, 5, 1), GREY, vec![conv2d("a", 2, 3, 1, 1, 1)]),
        (shape(1, 3, 4), GREY, vec![conv2d("a", 7, 7, 1, 2, 1)]),
        (shape(1, 13, 13), GREY, vec![conv2d("a", 11, 3, 1, 1, 1)]),
        (shape(3, 12, 11), bgr(shape(3, 12, 11)), vec![conv2d("a", 6, 5, 2, 2, 1)]),
        (shape(3, 23, 23), rgb.clone(), vec![conv2d("a", 9, 11, 4, 0, 1)]),
        (shape(3, 6, 6), rgb.clone(), vec![conv2d("a", 9, 3, 1, 1, 3)]),
        // Groups after a layer that gives them distinct channels, and a stride that skips the last columns.
        (shape(3, 10, 9), rgb.clone(), vec![conv2d("a", 4, 3, 1, 1, 1), RELU, conv2d("b", 14, 3, 3, 1, 2)]),
        (shape(1, 5, 7), GREY, vec![pool(2, 2)]),
        (shape(3, 8, 6), rgb.clone(), vec![pool(3, 2)]),
        (shape(3, 7, 4), rgb.clone(), vec![pool(4, 3)]),
        (shape(1, 4, 5), GREY, vec![pool(2, 1)]),
        (shape(1, 1, 1), GREY, vec![dense("a", 1)]),
        (shape(1, 3, 3), GREY, vec![dense("a", 23), RELU, dense("b", 10), RELU, dense("c", 9)]),
        (
            shape(3, 19, 19),
            bgr(shape(3, 19, 19)),
            vec![
                conv2d("a", 12, 5, 2, 0, 1),
                RELU,
                pool(3, 2),
                conv2d("b", 10, 3, 1, 1, 2),
                RELU,
                pool(2, 2),
                dense("c", 31),
                RELU,
                dense("d", 11),
            ],
        ),
        // Convolutions that pool in registers: groups, channels that fill no block, pairs that fill no register block, strides.
        (
            shape(3, 8, 12),
            rgb.clone(),
            vec![conv2d("a", 6, 3, 1, 0, 3), pool(2, 2), conv2d("b", 7, 2, 1, 0, 1), pool(2, 2), dense("c", 5)],
        ),
        (shape(1, 13, 9), GREY, vec![conv2d("a", 11, 3, 2, 0, 1), pool(2, 2)]),
        // And such as cannot: a border, odd sizes, windows that overlap.
        (shape(1, 6, 6), GREY, vec![conv2d("a", 6, 3, 1, 1, 1), pool(2, 2)]),
        (shape(1, 7, 8), GREY, vec![conv2d("a", 6, 3, 1, 0, 1), pool(2, 2)]),
        (shape(1, 8, 7), GREY, vec![conv2d("a", 6, 3, 1, 0, 1), pool(2, 2)]),
        (shape(1, 8, 8), GREY, vec![conv2d("a", 6, 3, 1, 0, 1), pool(2, 1)]),
        // A convolution and a pooling behind a dense layer.
        (shape(1, 5, 5), GREY, vec![dense("a", 6), RELU, conv2d("b", 7, 1, 1, 0, 1), pool(1, 1), dense("c", 11)]),
    ];
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (input, preprocess, layers) in cases {
        let network = Arc::new(random_network(input, preprocess, layers));
        let batch = 37; // a pair of tiles and a part of another at 16 lanes
        let images = random_images(7, batch * input.len());
        let want: Vec<f32> = images.chunks(input.len()).flat_map(|image| reference_logits(&network, image)).collect();
        for simd in Simd::available() {
            for mapping in [Mapping::Tiles, Mapping::Graph] {
                let classifier = Classifier::with_mapping(Arc::clone(&network), simd, mapping);
                // Calls of few images go image by image: one thread then has 1 to 4 at once (at 16 lanes; at 4 lanes 1 or 2).
                for call in [batch, 8, 3, 2, 1] {
                    let mut got = vec![f32::NAN; want.len()];
                    let calls = images.chunks(call * input.len()).zip(got.chunks_mut(call * network.classes.len()));
                    one_thread.install(|| calls.for_each(|(images, got)| classifier.logits(images, got)));
                    let case = format!("{simd}, {mapping:?}, {call} images a call, {:?}", network.layers);
                    assert_same_bits(&want, &got, &case);
                }
            }
        }
    }
}

/// Graphs that take all that a list can say: (channel order, side, layers).
const GRAPHS: [(&str, usize, &str); 7] = [
    // A value read with paddings of 2, 1 and 0; concatenation of channels that fill no vector; each pooling.
    (
        "RGB",
        11,
        r#"
  { name = "a", type = "convolution", outputs = 21, kernel = 3, padding = 1 },
  { name = "b", type = "convolution", inputs = ["a"], outputs = 5, kernel = 5, padding = 2 },
  { name = "rb", type = "relu" },
  { name = "c", type = "convolution", inputs = ["a"], outputs = 9, kernel = 1 },
  { name = "d", type = "max-pool", inputs = ["a"], kernel = 3, padding = 1, rounding = "ceil" },
  { name = "e", type = "average-pool", inputs = ["a"], kernel = 3, padding = 1, rounding = "floor" },
  { name = "f", type = "average-pool", inputs = ["a"], kernel = 3, padding = 1, rounding = "ceil", count_padding = false },
  { name = "all", type = "concat", inputs = ["rb", "c", "a", "d", "e", "f"] },
  { name = "g", type = "convolution", outputs = 8, kernel = 3, stride = 2, padding = 1 },
  { name = "h", type = "max-pool", kernel = 2, stride = 2, rounding = "floor" },
  { name = "i", type = "dense", outputs = "classes" },
"#,
    ),
    // Normalisation over fewer channels than its size, over as many as lanes, and over several vectors.
    (
        "BGR",
        7,
        r#"
  { name = "n0", type = "lrn", size = 5, alpha = 0.001, beta = 0.75, k = 2 },
  { name = "a", type = "convolution", outputs = 16, kernel = 2 },
  { name = "n1", type = "lrn", size = 5, alpha = 0.3, beta = 0.75 },
  { name = "b", type = "convolution", outputs = 37, kernel = 2, stride = 2 },
  { name = "rb", type = "relu" },
  { name = "n2", type = "lrn", size = 63, alpha = 0.5, beta = 0.75 },
  { name = "n3", type = "lrn", size = 1, alpha = 0.5, beta = 0.75 },
  { name = "p", type = "average-pool", kernel = 3, rounding = "floor" },
  { name = "c", type = "convolution", outputs = "classes", kernel = 1 },
  { name = "rc", type = "relu" },
"#,
    ),
    // Groups whose channels begin inside a vector; a depthwise convolution; a kernel that leaves one position.
    (
        "RGB",
        9,
        r#"
  { name = "a", type = "convolution", outputs = 15, kernel = 3, padding = 1, groups = 3 },
  { name = "b", type = "convolution", outputs = 30, kernel = 3, stride = 2, groups = 5 },
  { name = "c", type = "convolution", outputs = 30, kernel = 2, padding = 1, groups = 30 },
  { name = "rc", type = "relu" },
  { name = "d", type = "convolution", outputs = 48, kernel = 5, groups = 2 },
  { name = "e", type = "dense", outputs = "classes" },
"#,
    ),
    // The network's input read by a convolution, by a pooling and by a rectifier; sizes that no block of columns divides.
    (
        "grey",
        13,
        r#"
  { name = "a", type = "convolution", outputs = 4, kernel = 3, padding = 1 },
  { name = "b", type = "max-pool", inputs = ["input"], kernel = 3, padding = 1, rounding = "floor" },
  { name = "c", type = "relu", inputs = ["input"] },
  { name = "all", type = "concat", inputs = ["c", "a", "b", "input"] },
  { name = "d", type = "convolution", outputs = 17, kernel = 1, padding = 1 },
  { name = "rd", type = "relu" },
  { name = "p", type = "average-pool", kernel = 15, rounding = "floor" },
  { name = "e", type = "dense", outputs = 40 },
  { name = "re", type = "relu" },
  { name = "f", type = "dense", outputs = "classes" },
"#,
    ),
    // A convolution and its rectifier both used; a dense layer before a convolution, and one that two layers read.
    (
        "grey",
        8,
        r#"
  { name = "a", type = "convolution", outputs = 7, kernel = 3 },
  { name = "ra", type = "relu" },
  { name = "both", type = "concat", inputs = ["a", "ra"] },
  { name = "b", type = "dense", outputs = 33 },
  { name = "rb", type = "relu" },
  { name = "c", type = "convolution", inputs = ["b"], outputs = 12, kernel = 1, padding = 1 },
  { name = "d", type = "convolution", inputs = ["rb"], outputs = 3, kernel = 3, padding = 2 },
  { name = "again", type = "concat", inputs = ["c", "d"] },
  { name = "e", type = "dense", outputs = "classes" },
"#,
    ),
    // More products than one block of k, in a convolution and in dense layers.
    (
        "RGB",
        6,
        r#"
  { name = "a", type = "convolution", outputs = 70, kernel = 3, padding = 1 },
  { name = "b", type = "convolution", outputs = 33, kernel = 3, padding = 1 },
  { name = "rb", type = "relu" },
  { name = "c", type = "dense", outputs = 50 },
  { name = "rc", type = "relu" },
  { name = "d", type = "dense", outputs = "classes" },
"#,
    ),
    ("RGB", 1, r#"{ name = "a", type = "dense", outputs = "classes" },"#),
];

#[test]
fn graphs_equal_their_formulas_at_every_width_and_number_of_threads() {
    let pools: Vec<_> =
        [1, 3].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()).into();
    for (order, side, layers) in GRAPHS {
        let text = format!(
            "name = \"graph\"\nchannel_order = \"{order}\"\nimage = {side}\nscale = 0.0117\nclasses = 19\nlayers = [{layers}\n  \
             {{ name = \"prob\", type = \"softmax\" }},\n]\n"
        );
        let list = List::parse(&text).unwrap();
        let preprocess = Preprocess { scale: list.scale, mean: Vec::new(), channel_order: list.channel_order };
        let mut network = random_graph(list.input(), preprocess, list.layers(19));
        // As large as training makes them, so that sums neither grow nor vanish.
        for parameters in &mut network.parameters {
            let inputs = parameters.weight.len() / parameters.bias.len();
            parameters.weight.iter_mut().for_each(|weight| *weight *= (6.0 / inputs as f32).sqrt());
        }
        let network = Arc::new(network);
        let (len, batch) = (network.input.len(), 29);
        let images = random_images(7, batch * len);
        let want: Vec<f32> = images.chunks(len).flat_map(|image| reference_logits(&network, image)).collect();
        for simd in Simd::available() {
            let classifier = Classifier::new(Arc::clone(&network), simd);
            for (pool, call) in pools.iter().flat_map(|pool| [batch, 13, 7, 2, 1].map(|call| (pool, call))) {
                let mut got = vec![f32::NAN; want.len()];
                let calls = images.chunks(call * len).zip(got.chunks_mut(call * 19));
                pool.install(|| calls.for_each(|(images, got)| classifier.logits(images, got)));
                let threads = pool.current_num_threads();
                assert_same_bits(&want, &got, &format!("{simd}, {threads} threads, {call} images a call, {layers}"));
            }
            // Groups, as a generation takes them, give probabilities of the same bits.
            let mut whole = vec![f32::NAN; want.len()];
            classifier.classify(&images, &mut whole);
            for group in classifier.groups(batch, 2) {
                let range = group.images;
                let mut got = vec![f32::NAN; range.len() * 19];
                classifier.classify_group(group.in_tiles, &images[range.start * len..range.end * len], &mut got);
                assert_same_bits(
                    &whole[range.start * 19..range.end * 19],
                    &got,
                    &format!("{simd}, {range:?}, {layers}"),
                );
            }
        }
        // The layers one by one: the last before the softmax gives the logits.
        let mut last = Vec::new();
        let classifier = Classifier::new(Arc::clone(&network), Simd::detect());
        classifier.activations(&images[..len], &mut |layer, shape, values| {
            assert_eq!(shape, network.shapes()[layer + 1]);
            if layer + 2 == network.layers.len() {
                last = values.to_vec();
            }
        });
        assert_same_bits(&want[..19], &last, layers);
    }
}

#[test]
fn a_batch_of_several_chunks_has_the_bits_of_its_images() {
    let layers = vec![conv2d("a", 5, 3, 1, 1, 1), RELU, dense("b", 40), RELU, dense("c", 7)];
    let network = Arc::new(random_network(shape(1, 5, 4), GREY, layers));
    let images = random_images(3, 600 * 20); // two chunks of 256 and a part
    let want: Vec<f32> = images.chunks(20).flat_map(|image| reference_logits(&network, image)).collect();
    for simd in Simd::available() {
        let mut got = vec![f32::NAN; 600 * 7];
        Classifier::with_mapping(Arc::clone(&network), simd, Mapping::Graph).logits(&images, &mut got);
        assert_same_bits(&want, &got, &simd.to_string());
    }
}

/// A kernel on one tile of equal images.
struct OnTile<'a> {
    input: &'a [f32],
    kernel: Kernel,
}

enum Kernel {
    MaxPool { from: Shape, to: Shape, kernel: usize, stride: usize },
    Relu,
    Softmax,
}

impl Vectorised for OnTile<'_> {
    type Output = Vec<f32>;

    fn run<L: Lanes>(self) -> Vec<f32> {
        let mut tile: Vec<f32> = self.input.iter().flat_map(|&value| vec![value; L::N]).collect();
        match self.kernel {
            Kernel::MaxPool { from, to, kernel, stride } => {
                let mut output = vec![f32::NAN; to.len() * L::N];
                max_pool::<L>(&mut output, &tile, from, to, kernel, stride);
                tile = output;
            }
            Kernel::Relu => relu::<L>(&mut tile),
            Kernel::Softmax => softmax::<L>(&mut tile, self.input.len()),
        }
        for lanes in tile.chunks(L::N) {
            assert!(lanes.iter().all(|lane| lane.to_bits() == lanes[0].to_bits()), "lanes differ: {lanes:?}");
        }
        tile.chunks(L::N).map(|lanes| lanes[0]).collect()
    }
}

#[test]
fn max_pool_keeps_the_first_of_equal_values() {
    let (from, to) = (shape(1, 5, 5), shape(1, 2, 2));
    let input: Vec<f32> = random(3, 25).iter().map(|&value| if value < 0.0 { -0.0 } else { 0.0 }).collect();
    let window = Window { kernel: 3, stride: 2, padding: 0, rounding: Rounding::Ceil };
    let want = reference_max_pool(&input, from, to, window);
    for simd in Simd::available() {
        let got = simd.run(OnTile { input: &input, kernel: Kernel::MaxPool { from, to, kernel: 3, stride: 2 } });
        assert_same_bits(&want, &got, &simd.to_string());
    }
}

#[test]
fn relu_turns_negative_zero_into_zero() {
    for simd in Simd::available() {
        let got = simd.run(OnTile { input: &[-1.5, -0.0, 0.0, 1e-45, -1e-45, 7.0], kernel: Kernel::Relu });
        assert_same_bits(&[0.0, 0.0, 0.0, 1e-45, 0.0, 7.0], &got, &simd.to_string());
    }
}

#[test]
fn softmax_is_close_to_the_formula_in_f64() {
    let cases = [
        vec![3.0],
        vec![0.0; 10],
        random(5, 10),
        vec![-60.0, 20.0, -5.0, 19.5],
        vec![1e30, -1e30, 1e30],
        vec![-200.0, 0.0],
        vec![0.0, -200.0],
    ];
    for logits in cases {
        let best = logits.iter().fold(f64::NEG_INFINITY, |best, &x| best.max(f64::from(x)));
        let powers: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - best).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let mut first = None;
        for simd in Simd::available() {
            let got = simd.run(OnTile { input: &logits, kernel: Kernel::Softmax });
            for (index, (&got, power)) in got.iter().zip(&powers).enumerate() {
                // In units of 2^-24: |x - max| for rounding the exponent, 4 for exp (2 ulp), one a term of the sum
                // and its powers' 4, 1 for the division; and half a denormal.
                let units = (f64::from(logits[index]) - best).abs().min(200.0) + 4.0 + logits.len() as f64 + 4.0 + 1.0;
                let (want, limit) = (power / sum, units * 2f64.powi(-24) * power / sum + 2f64.powi(-149));
                assert!(
                    (f64::from(got) - want).abs() <= limit,
                    "{simd} {logits:?} class {index}: want {want:e}, got {got:e}"
                );
            }
            assert_same_bits(first.get_or_insert_with(|| got.clone()), &got, &format!("{simd} {logits:?}"));
        }
    }
}

#[test]
fn an_image_gets_the_same_bits_wherever_it_stands() {
    let layers = vec![conv2d("a", 6, 3, 1, 0, 1), dense("b", 10)];
    let network = Arc::new(random_network(shape(1, 9, 9), GREY, layers));
    let len = network.input.len();
    let images = random_images(11, 200 * len);
    let widest = Classifier::new(Arc::clone(&network), Simd::detect());
    let mut want = vec![f32::NAN; 200 * 10];
    for (image, result) in images.chunks(len).zip(want.chunks_mut(10)) {
        widest.classify(image, result);
    }
    for row in want.chunks(10) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
    }
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for simd in Simd::available() {
            let classifier = Classifier::new(Arc::clone(&network), simd);
            for batch in [0, 1, 13, 15, 16, 17, 31, 32, 33, 200] {
                let from = (200 - batch) / 2;
                let mut got = vec![f32::NAN; batch * 10];
                pool.install(|| classifier.classify(&images[from * len..(from + batch) * len], &mut got));
                assert_same_bits(
                    &want[from * 10..(from + batch) * 10],
                    &got,
                    &format!("{simd} {threads} threads {batch}"),
                );
            }
        }
    }
}

#[test]
fn lenet_has_the_shapes_and_sizes_of_the_paper() {
    let layers = lenet::layers(10);
    let shapes = shapes(lenet::INPUT, &layers).unwrap();
    let sizes: Vec<usize> = shapes.iter().map(Shape::len).collect();
    assert_eq!(sizes, [784, 11_520, 2_880, 3_200, 800, 500, 500, 10, 10]);
    assert_eq!(n_parameters(&layers, &shapes), 431_080);
}

/// Parameters and multiply-adds: of LeNet and the AlexNets from spec 2.1 to 2.3; of the others from the tables of their papers, worked
/// out apart from this program (torchvision gives 0.82 and 1.50 thousand million multiply-adds for its two).
#[test]
fn built_in_lists_have_the_sizes_of_their_sources() {
    let list = List::built_in("caffenet").unwrap();
    let layers = list.layers(1000);
    let mut sizes: Vec<usize> = shapes(list.input(), &layers).unwrap().iter().map(Shape::len).collect();
    sizes.dedup();
    assert_eq!(sizes, [154_587, 290_400, 69_984, 186_624, 43_264, 64_896, 43_264, 9_216, 4_096, 1_000]);
    for (name, parameters, multiply_adds) in [
        ("lenet", 431_080, 2_293_000),
        ("caffenet", 60_965_224, 724_406_816),
        ("bvlc-alexnet", 60_965_224, 724_406_816),
        ("torchvision-alexnet", 61_100_840, 714_188_480),
        ("squeezenet", 1_248_424, 861_339_936),
        ("torchvision-squeezenet", 1_248_424, 818_924_576),
        ("bvlc-googlenet", 6_998_552, 1_582_671_872),
        ("torchvision-googlenet", 6_617_624, 1_498_376_192),
    ] {
        let list = List::built_in(name).unwrap();
        let layers = list.layers(list.classes);
        let shapes = shapes(list.input(), &layers).unwrap();
        let adds: u64 =
            layers.iter().zip(&shapes[1..]).map(|(layer, &to)| layer.multiply_adds(shapes[layer.inputs[0]], to)).sum();
        assert_eq!((n_parameters(&layers, &shapes), adds), (parameters, multiply_adds), "{name}");
        assert_eq!(list.name, name);
    }
}

fn n_parameters(layers: &[Layer], shapes: &[Shape]) -> usize {
    weights(layers, shapes).map(|(_, shape)| shape.iter().product::<usize>() + shape[0]).sum()
}

#[test]
fn a_network_that_does_not_fit_together_is_refused() {
    let bias = |n| Parameters { weight: vec![0.5; 4 * n], bias: vec![0.0; n] };
    let parts = || (shape(1, 2, 2), GREY, vec![dense("a", 3), SOFTMAX], vec![bias(3)], 3);
    let build =
        |(input, preprocess, layers, parameters, classes): (Shape, Preprocess, Vec<Named>, Vec<Parameters>, usize)| {
            let classes = (0..classes).map(|class| class.to_string()).collect();
            Network::new("test", input, preprocess, Layer::chain(layers), parameters, classes)
                .map_err(|error| error.to_string())
        };
    build(parts()).unwrap();
    let with_layers = |layers: Vec<Named>| build((shape(1, 2, 2), GREY, layers, vec![bias(3)], 3));
    let with_mean = |mean: Vec<f32>| build((shape(1, 2, 2), Preprocess { mean, ..GREY }, parts().2, vec![bias(3)], 3));
    let cases = [
        (build((shape(1, 0, 2), GREY, parts().2, vec![bias(3)], 3)), "the input (1, 0, 2) is empty"),
        (build((shape(3, 2, 2), GREY, parts().2, vec![bias(3)], 3)), "channel order grey with 3 input channels"),
        (
            build((shape(1, 2, 2), GREY, parts().2, vec![bias(4)], 3)),
            "layer \"a\" has 16 weights and 4 biases, it needs 12 and 3",
        ),
        (build((shape(1, 2, 2), GREY, parts().2, vec![], 3)), "0 sets of parameters for 1 layers"),
        (build((shape(1, 2, 2), GREY, parts().2, vec![bias(3)], 4)), "4 class names for 3 outputs"),
        (with_mean(vec![0.0; 3]), "the mean has 3 values, the input 4"),
        (with_layers(vec![dense("a", 3)]), "the last layer, and no other, must be the softmax"),
        (with_layers(vec![SOFTMAX, dense("a", 3), SOFTMAX]), "the last layer, and no other"),
        (
            with_layers(vec![conv2d("a", 3, 3, 1, 0, 1), SOFTMAX]),
            "3x3 kernel is larger than the padded input (1, 2, 2)",
        ),
        (with_layers(vec![conv2d("a", 3, 1, 1, 0, 2), SOFTMAX]), "2 groups do not divide 1 and 3 channels"),
        (with_layers(vec![conv2d("a", 3, 1, 0, 0, 1), SOFTMAX]), "must be at least 1"),
        (with_layers(vec![max_pool_of(3, 1), SOFTMAX]), "3x3 window is larger than the padded input (1, 2, 2)"),
        (with_layers(vec![max_pool_of(1, 2), SOFTMAX]), "the stride at most the kernel, the padding below it"),
        (with_layers(vec![dense("a", 0), SOFTMAX]), "out_features must be at least 1"),
    ];
    for (got, want) in cases {
        let error = got.expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    }
}

/// The f32 values of a tensor of a file known to be good.
fn read_f32(path: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn lenet_logits_match_golden() {
    let Some(data) = common::data_dir() else { return };
    let mean = data.join("mnist-mean.safetensors");
    let digits = Mnist::load(&data, Split::Test).unwrap().images.pixels;
    for (mean, name) in [(None, "logits"), (Some(mean.as_path()), "logits_mean_subtracted")] {
        let network = Arc::new(Network::load(&data.join("lenet-paper.safetensors"), mean).unwrap());
        let want = read_f32(&data.join("lenet-golden.safetensors"), name);
        let mut first = None;
        for simd in Simd::available() {
            let mut got = vec![f32::NAN; 64 * 10];
            Classifier::new(Arc::clone(&network), simd).logits(&digits[..64 * 784], &mut got);
            for (index, (want, got)) in want.iter().zip(&got).enumerate() {
                assert!((want - got).abs() <= 1e-4, "{simd} {name} {index}: want {want}, got {got}");
            }
            assert_same_bits(first.get_or_insert_with(|| got.clone()), &got, &format!("{simd} {name}"));
        }
    }
}

#[test]
fn lenet_classifies_the_test_digits_as_the_paper_does() {
    let Some(data) = common::data_dir() else { return };
    let mean = data.join("mnist-mean.safetensors");
    let test = Mnist::load(&data, Split::Test).unwrap();
    for (mean, want) in [(None, 9918), (Some(mean.as_path()), 9739)] {
        let network = Arc::new(Network::load(&data.join("lenet-paper.safetensors"), mean).unwrap());
        let mut probabilities = vec![f32::NAN; test.len() * 10];
        Classifier::new(Arc::clone(&network), Simd::detect()).classify(&test.images.pixels, &mut probabilities);
        let right = probabilities.chunks(10).zip(&test.labels.labels).filter(|(row, label)| {
            let best = (0..10).reduce(|best, class| if row[class] > row[best] { class } else { best });
            best == Some(usize::from(**label))
        });
        assert_eq!(right.count(), want, "with {mean:?}");
    }
}

#[test]
fn lenet_of_the_paper_loads_with_all_that_is_known_of_it() {
    let Some(data) = common::data_dir() else { return };
    let (weights, mean) = (data.join("lenet-paper.safetensors"), data.join("mnist-mean.safetensors"));
    let network = Network::load(&weights, None).unwrap();
    assert_eq!(
        (network.name.as_str(), network.input, network.path.as_deref()),
        ("lenet", lenet::INPUT, Some(&*weights))
    );
    assert_eq!(
        network.preprocess,
        Preprocess { scale: [1.0 / 256.0; 3], mean: vec![], channel_order: ChannelOrder::Grey }
    );
    assert_eq!(network.classes.concat(), "0123456789");
    // The checksums of data/README.md.
    let own = "d9355913cb8a9376627ca8f85da222effcbcf35a9ac4b989174a281908fabb97";
    assert_eq!(network.sha256, own);
    let network = Network::load(&weights, Some(&mean)).unwrap();
    assert_eq!(network.sha256, format!("{own} mean 4c3e2e4e8a174be0971ca8b6e55d203811bc40d6a4194cfcfcaeebb479ee0f84"));
    assert_eq!(network.preprocess.mean, read_f32(&mean, "mean"));
}

#[test]
fn saved_weights_load_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let layers = lenet::layers(11);
    let parts = random_graph(lenet::INPUT, GREY, layers.clone());
    let classes: Vec<String> = (0..11).map(|class| format!("class \"{class}\"")).collect();
    for mean in [vec![], random(1, 784)] {
        let preprocess = Preprocess { scale: [0.1; 3], mean, channel_order: ChannelOrder::Grey };
        let layers = layers.clone();
        let saved =
            Network::new(lenet::NAME, lenet::INPUT, preprocess, layers, parts.parameters.clone(), classes.clone())
                .unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        for path in [&first, &second] {
            saved.save(path, &[("seed", "7".to_string()), ("note", "a\nb".to_string())]).unwrap();
        }
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        let loaded = Network::load(&first, None).unwrap();
        assert_eq!(loaded.parameters, saved.parameters);
        assert_eq!(loaded.preprocess, saved.preprocess);
        assert_eq!(loaded.classes, classes);
        assert_eq!(loaded.layers, saved.layers);
        let bytes = std::fs::read(&first).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["note"], "a\nb");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file was left behind");
}
