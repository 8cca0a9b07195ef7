//! Whole networks there and back: the gradient of the probability of a class with respect to what the first layer takes.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::{by_class, numbers};
use super::tally::Tally;
use super::{conv2d_backward, lrn_backward, network, pool_backward, relu_backward, softmax_backward};
use crate::backend::cpu::conv2d::Geometry;
use crate::backend::cuda::backward::{BackwardNetwork, Wanted, no_events};
use crate::backend::cuda::pool::{Pool, Pooling};
use crate::error::Result;
use crate::network::list::List;
use crate::network::{Network, Operation, Window};

/// What the network of every operation does not have: a rectifier that is not the only one to take a value, parts of a concatenation that
/// others take too, before it and after it, a part twice, a concatenation in another, a rectifier of the input, one of another; a
/// stride larger than the kernel.
const LIST: &str = r#"
name = "branches"
channel_order = "RGB"
image = 14
classes = 5
layers = [
    { name = "seen", type = "relu", inputs = ["input"] },
    { name = "seen-twice", type = "relu" },
    { name = "conv1", type = "convolution", inputs = ["input"], outputs = 6, kernel = 3, padding = 1 },
    { name = "norm1", type = "lrn", inputs = ["conv1"], size = 3, alpha = 0.5, beta = 0.75 },
    { name = "relu1", type = "relu", inputs = ["conv1"] },
    { name = "point", type = "convolution", inputs = ["relu1"], outputs = 4, kernel = 1 },
    { name = "inner", type = "concat", inputs = ["relu1", "norm1", "relu1"] },
    { name = "outer", type = "concat", inputs = ["point", "inner", "seen-twice", "norm1", "input"] },
    { name = "far", type = "convolution", inputs = ["outer"], outputs = 8, kernel = 2, stride = 3, padding = 1 },
    { name = "far-relu", type = "relu" },
    { name = "average", type = "average-pool", inputs = ["inner"], kernel = 5, stride = 2, rounding = "floor" },
    { name = "both", type = "concat", inputs = ["average", "far-relu"] },
    { name = "pool", type = "max-pool", kernel = 3, stride = 2, rounding = "floor" },
    { name = "fc", type = "dense", outputs = "classes" },
    { name = "prob", type = "softmax" },
]
"#;

/// The network of branches.
pub fn branches() -> Network {
    let list = List::parse(LIST).expect("a list of layers");
    network::random(&list, list.layers(list.classes), list.classes, list.input(), 85_000).expect("its layers fit")
}

/// The gradient of each value of one image, from the last layer's input down to the first's, given that of the logits; `values` are
/// those of [`network::values`]. Each layer by its rule; empty of a value that nothing was sent to yet.
pub fn gradients(network: &Network, values: &[Vec<f32>], of_logits: Vec<f32>) -> Vec<Vec<f32>> {
    let shapes = network.shapes();
    let mut gradients: Vec<Vec<f32>> = vec![Vec::new(); values.len()];
    let mut parameters = network.parameters.iter().rev();
    let send = |gradients: &mut Vec<Vec<f32>>, value: usize, sent: Vec<f32>| {
        let sum = &mut gradients[value];
        if sum.is_empty() {
            *sum = sent;
        } else {
            sum.iter_mut().zip(sent).for_each(|(sum, next)| *sum += next);
        }
    };
    for (index, layer) in network.layers.iter().enumerate().rev() {
        let (input, value) = (layer.inputs[0], index + 1);
        let (from, to) = (shapes[input], shapes[value]);
        let (x, g) = (&values[input], gradients[value].clone());
        let pooled = |Window { kernel, stride, padding, .. }, pool| {
            pool_backward::on_host(&Pooling { input: from, output: to, kernel, stride, padding }, pool, &g, x)
        };
        let mut weight = || &parameters.next().expect("parameters of each layer that has some").weight;
        let sent = match layer.operation {
            Operation::Conv2d { kernel, stride, padding, groups, .. } => {
                let geometry = Geometry { input: from, output: to, kernel, stride, padding, groups };
                conv2d_backward::on_host(&geometry, weight(), &g)
            }
            Operation::Dense { .. } => conv2d_backward::dense_on_host(weight(), from.len(), &g),
            Operation::Relu => relu_backward::on_host(&g, &values[value]),
            Operation::MaxPool(window) => pooled(window, Pool::Max),
            Operation::AveragePool { window, count_padding } => pooled(window, Pool::Average { count_padding }),
            Operation::Lrn { size, alpha, k } => lrn_backward::on_host((size, alpha, k), from.channels, &g, x),
            Operation::Concat => {
                let mut end = to.len();
                for &part in layer.inputs.iter().rev() {
                    let start = end - shapes[part].len();
                    send(&mut gradients, part, g[start..end].to_vec());
                    end = start;
                }
                continue;
            }
            Operation::Softmax => of_logits.clone(),
        };
        send(&mut gradients, input, sent);
    }
    gradients
}

/// The probabilities of one image, what the first layer takes of it, and the gradient of that of `class` with respect to this.
pub fn on_host(network: &Network, input: &[f32], class: usize) -> (Vec<f32>, Vec<f32>) {
    let mut values = network::values(network, input.to_vec());
    let of_logits = softmax_backward::on_host(values.last().expect("the last layer's"), class);
    let gradient = gradients(network, &values, of_logits).swap_remove(0);
    (values.pop().expect("the last layer's"), gradient)
}

/// Compares probabilities and gradients of `batch` images, with room for `capacity`, twice over: nothing may stay behind.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, network: &Network, batch: usize, capacity: usize) -> Result<()> {
    let (len, n_classes) = (network.input.len(), network.classes.len());
    let wanted = Wanted { input: true, ..Wanted::default() };
    let mut device = BackwardNetwork::new(gpu.launcher, network, &wanted, capacity)?;
    let gradient = device.input_gradient.expect("it was wanted");
    for stream in [9600, 9601] {
        tally.case(batch, format_args!("{}, batch {batch}, room for {capacity}, numbers {stream}", network.name));
        let images: Vec<f32> = numbers(stream, batch * len).iter().map(|x| 2.0 * x).collect();
        let classes: Vec<u32> = (0..batch).map(|image| (image * 3 % n_classes) as u32).collect();
        let (rows, want): (Vec<Vec<f32>>, Vec<Vec<f32>>) =
            images.chunks(len).zip(&classes).map(|(image, &class)| on_host(network, image, class as usize)).unzip();
        for (at, image) in images.chunks(len).enumerate() {
            let start = device.input.start + at * device.input.image;
            gpu.launcher.upload_part(&mut device.arena, start, image)?;
        }
        let classes = gpu.upload(&classes)?;
        gpu.timed(tally, |launcher| {
            launcher.forward(&mut device, batch, &mut no_events)?;
            let (to, of) = (device.logits_gradient, classes.slice(0..batch));
            let probabilities = &device.probabilities;
            launcher.softmax_backward(&mut device.arena, to, probabilities, capacity, &of, n_classes, batch)?;
            launcher.backward(&mut device, batch, &mut no_events)
        })?;
        let want_rows = by_class(&rows.concat(), n_classes, capacity, 0);
        let mut got_rows = gpu.launcher.download(&device.probabilities)?;
        // Of images that are not there, nothing is said.
        got_rows.iter_mut().enumerate().filter(|(at, _)| at % capacity >= batch).for_each(|(_, p)| *p = GUARD_F32);
        tally.same("the probabilities", &want_rows, &got_rows);
        let arena = gpu.launcher.download(&device.arena)?;
        let got: Vec<f32> =
            (0..batch).flat_map(|at| &arena[gradient.start + at * gradient.image..][..len]).copied().collect();
        tally.same("the gradients", &want.concat(), &got);
    }
    Ok(())
}

/// The network of every operation and that of branches, forward and back; and convolutions of all kinds by themselves.
///
/// # Errors
/// The driver's.
pub fn run(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    conv2d_backward::conv2d_backward(gpu, extent, tally)?;
    for network in [network::network(), branches()] {
        for batch in extent.of(vec![1, 7, 3], 1, usize::MAX) {
            for capacity in [batch, batch + 2] {
                compare(gpu, tally, &network, batch, capacity)?;
            }
        }
    }
    Ok(())
}
