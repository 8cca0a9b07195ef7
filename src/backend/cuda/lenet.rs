//! LeNet on the device: its weights in the order in which the kernels of kernels/network/ read them.

use super::Launcher;
use super::classify::{MAX_CLASSES, Thresholds};
use crate::error::{Error, Result};
use crate::network::{ChannelOrder, Network, Parameters, lenet};
use crate::tuning;
use cudarc::driver::CudaSlice;

/// What the poolings leave of an image, and fc1 takes.
pub const FEATURES: usize = 800;
/// What fc1 gives.
pub const HIDDEN: usize = 500;
/// Rows and columns of a convolution's kernel.
const KERNEL: usize = 5;
/// Output channels of conv1 that a thread makes: TILE1_CHANNELS of kernels/network/lenet_features.cu.
const CONV1_TILE: usize = 10;

/// A LeNet of any number of classes, and what is between its two kernels.
#[derive(Debug)]
pub struct Lenet {
    pub n_classes: usize,
    pub scale: f32,
    /// `(28, 28)`; 0 for a network without a mean.
    pub mean: CudaSlice<f32>,
    /// Weights, then biases.
    pub conv1: CudaSlice<f32>,
    /// For batches of all sizes but few.
    pub conv2: PackedConv2,
    pub conv2_few: PackedConv2,
    /// `(800, ROW)`
    pub fc1_weights: CudaSlice<f32>,
    /// `(ROW)`
    pub fc1_bias: CudaSlice<f32>,
    /// `(n_classes, 500)`
    pub fc2_weights: CudaSlice<f32>,
    /// `(n_classes)`
    pub fc2_bias: CudaSlice<f32>,
    /// What the first kernel makes and the second takes, `(chunk, 800)`.
    pub features: CudaSlice<f32>,
    pub thresholds: Thresholds,
}

/// conv2 for threads that make some number of its channels.
#[derive(Debug)]
pub struct PackedConv2 {
    pub weights: CudaSlice<f32>,
    pub bias: CudaSlice<f32>,
}

impl Lenet {
    /// Brings `network` to the device, for chunks of up to `chunk` images.
    ///
    /// # Errors
    /// Those of [`Lenet::check`]; [`Error::Driver`] if there is no room.
    pub fn new(launcher: &Launcher, network: &Network, chunk: usize) -> Result<Lenet> {
        Lenet::check(network)?;
        launcher.allow_lenet_memory()?;
        let [conv1, conv2, fc1, fc2] = &network.parameters[..] else { unreachable!("checked") };
        let (mut packed1, bias1) = pack_conv(conv1, 1, CONV1_TILE);
        packed1.extend(bias1);
        let conv2 = |tile: u32| -> Result<PackedConv2> {
            let (weights, bias) = pack_conv(conv2, 20, tile as usize);
            Ok(PackedConv2 { weights: launcher.upload(&weights)?, bias: launcher.upload(&bias)? })
        };
        let (fc1_weights, fc1_bias) = pack_dense(fc1);
        let mean = &network.preprocess.mean;
        Ok(Lenet {
            n_classes: network.classes.len(),
            scale: network.preprocess.scale[0],
            mean: if mean.is_empty() { launcher.zeros(network.input.len())? } else { launcher.upload(mean)? },
            conv1: launcher.upload(&packed1)?,
            conv2: conv2(tuning::LENET_FEATURES_CHANNELS)?,
            conv2_few: conv2(tuning::LENET_FEATURES_FEW_CHANNELS)?,
            fc1_weights: launcher.upload(&fc1_weights)?,
            fc1_bias: launcher.upload(&fc1_bias)?,
            fc2_weights: launcher.upload(&fc2.weight)?,
            fc2_bias: launcher.upload(&fc2.bias)?,
            features: launcher.zeros(chunk * FEATURES)?,
            thresholds: Thresholds::default(),
        })
    }

    /// Whether `network` is one that the kernels are for.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with what is not so.
    pub fn check(network: &Network) -> Result<()> {
        let n_classes = network.classes.len();
        let is_grey = network.preprocess.channel_order == ChannelOrder::Grey;
        if network.input != lenet::INPUT || !network.crops.is_empty() || !is_grey || !lenet::is_lenet(&network.layers) {
            return Err(Error::NoDevice {
                reason: format!(
                    "the network {:?} runs on the CPU alone, with --device cpu: the kernels are for LeNet as the paper has it",
                    network.name
                ),
            });
        }
        if n_classes > MAX_CLASSES {
            return Err(Error::NoDevice {
                reason: format!(
                    "a LeNet of {n_classes} classes runs on the CPU alone, with --device cpu: the kernels take {}",
                    MAX_CLASSES
                ),
            });
        }
        Ok(())
    }

    /// Bytes on the device of a LeNet of `n_classes`, without the features.
    pub fn bytes(n_classes: usize) -> usize {
        let conv = |channels: usize, tile: usize| {
            let groups = channels.div_ceil(tile);
            groups * KERNEL * (KERNEL * tile).next_multiple_of(4)
        };
        let conv2 = |tile: u32| {
            let tile = tile as usize;
            20 * conv(50, tile) + 50_usize.next_multiple_of(tile)
        };
        let convolutions = lenet::INPUT.len()
            + conv(20, CONV1_TILE)
            + 20
            + conv2(tuning::LENET_FEATURES_CHANNELS)
            + conv2(tuning::LENET_FEATURES_FEW_CHANNELS);
        let dense = (FEATURES + 1) * tuning::LENET_PROBABILITIES_ROW as usize + n_classes * (HIDDEN + 1);
        (convolutions + dense) * size_of::<f32>()
    }

    /// Bytes on the device for each image of a chunk.
    pub const IMAGE_BYTES: usize = FEATURES * size_of::<f32>();
}

/// Weights `(in_channels, groups, kernel rows, taps)` of a 5 x 5 convolution, and its biases, `(groups * tile)`. A group is `tile`
/// output channels; taps are `(kernel columns, tile)`, padded to a multiple of 4. What pads is 0.
fn pack_conv(parameters: &Parameters, in_channels: usize, tile: usize) -> (Vec<f32>, Vec<f32>) {
    let taps = (KERNEL * tile).next_multiple_of(4);
    let groups = parameters.bias.len().div_ceil(tile);
    let mut weights = vec![0.0; in_channels * groups * KERNEL * taps];
    let mut bias = parameters.bias.clone();
    bias.resize(groups * tile, 0.0);
    for (index, &weight) in parameters.weight.iter().enumerate() {
        let (column, row) = (index % KERNEL, index / KERNEL % KERNEL);
        let (in_channel, channel) = (index / (KERNEL * KERNEL) % in_channels, index / (KERNEL * KERNEL * in_channels));
        let slice = (in_channel * groups + channel / tile) * KERNEL + row;
        weights[slice * taps + column * tile + channel % tile] = weight;
    }
    (weights, bias)
}

/// fc1's weights `(800, ROW)` and biases `(ROW)`, a column an output; what pads is 0.
fn pack_dense(parameters: &Parameters) -> (Vec<f32>, Vec<f32>) {
    let row = tuning::LENET_PROBABILITIES_ROW as usize;
    let mut weights = vec![0.0; FEATURES * row];
    for (output, inputs) in parameters.weight.chunks_exact(FEATURES).enumerate() {
        for (input, &weight) in inputs.iter().enumerate() {
            weights[input * row + output] = weight;
        }
    }
    let mut bias = parameters.bias.clone();
    bias.resize(row, 0.0);
    (weights, bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Layer, Operation, Preprocess, Rounding, Shape, Window};

    fn numbered(n_weights: usize, n_biases: usize) -> Parameters {
        Parameters {
            weight: (1..=n_weights).map(|i| i as f32).collect(),
            bias: (1..=n_biases).map(|i| -(i as f32)).collect(),
        }
    }

    #[test]
    fn every_weight_of_a_convolution_is_packed_once() {
        for (channels, in_channels, tile) in [(20, 1, 10), (50, 20, 13), (50, 20, 7)] {
            let parameters = numbered(channels * in_channels * 25, channels);
            let (weights, bias) = pack_conv(&parameters, in_channels, tile);
            let mut sorted: Vec<f32> = weights.iter().copied().filter(|&weight| weight != 0.0).collect();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(sorted, parameters.weight);
            assert_eq!(bias[..channels], parameters.bias);
            assert!(bias[channels..].iter().all(|&bias| bias == 0.0));
        }
        // Channel 8 of the second group, input channel 3, kernel row 2, column 4.
        let (weights, _) = pack_conv(&numbered(25_000, 50), 20, 13);
        assert_eq!(weights[((3 * 4 + 1) * 5 + 2) * 68 + 4 * 13 + 8], ((21 * 20 + 3) * 25 + 2 * 5 + 4 + 1) as f32);
    }

    #[test]
    fn fc1_is_packed_by_inputs() {
        let (weights, bias) = pack_dense(&numbered(HIDDEN * FEATURES, HIDDEN));
        assert_eq!(weights[3 * 512 + 499], (499 * 800 + 3 + 1) as f32);
        assert!(weights.chunks(512).all(|row| row[500..].iter().all(|&weight| weight == 0.0)));
        assert_eq!((bias[499], bias[500], bias.len()), (-500.0, 0.0, 512));
    }

    #[test]
    fn what_is_no_lenet_is_refused_in_a_line() {
        let embedded = Network::embedded_lenet(None).unwrap();
        Lenet::check(&embedded).unwrap();

        let mut renamed = embedded.clone();
        for layer in &mut renamed.layers {
            layer.name.push('x');
        }
        Lenet::check(&renamed).unwrap();

        let mut strided = embedded.clone();
        strided.layers[1].operation =
            Operation::MaxPool(Window { kernel: 3, stride: 2, padding: 0, rounding: Rounding::Ceil });
        let mut wider = embedded.clone();
        wider.input = Shape { channels: 1, height: 28, width: 29 };
        let small = Network::new(
            "small",
            lenet::INPUT,
            Preprocess { scale: [1.0; 3], mean: Vec::new(), channel_order: ChannelOrder::Grey },
            Layer::chain([("only", Operation::Dense { out_features: 2 }), ("prob", Operation::Softmax)]),
            vec![Parameters { weight: vec![0.0; 2 * 784], bias: vec![0.0; 2] }],
            vec!["a".into(), "b".into()],
        )
        .unwrap();
        for network in [strided, wider, small] {
            let error = Lenet::check(&network).unwrap_err();
            assert!(matches!(error, Error::NoDevice { .. }));
            let line = error.to_string();
            assert!(line.contains(&network.name) && line.contains("--device cpu") && !line.contains('\n'), "{line}");
        }
    }
}
