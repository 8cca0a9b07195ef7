//! State dicts of torchvision's networks, laid over a layer list by the names of their tensors.
//!
//! torchvision's convolutions in GoogLeNet have no biases but a batch normalisation behind them, which is a line per channel once the
//! network is trained: `w' = w g / sqrt(v + e)`, `b' = b - m g / sqrt(v + e)`, for the normalisation's weight g, bias b, running mean m
//! and running variance v. Computed in float64 and rounded once.

use super::tensor::Tensor;
use crate::error::one_line;
use crate::network::Parameters;
use crate::network::weights::tuple;
use std::collections::{HashMap, HashSet};

/// Of `BasicConv2d` in torchvision/models/googlenet.py; PyTorch's default would be 1e-5.
const EPSILON: f64 = 0.001;

/// Names that begin so are of heads that only training needs (torchvision/models/googlenet.py, `aux_logits`).
const TRAINING_HEADS: [&str; 2] = ["aux1.", "aux2."];

/// What an error names: the tensor, and what is wrong with it.
pub type Fault = (String, String);

/// The tensors of a state dict by name.
pub struct StateDict<'a> {
    tensors: HashMap<String, Tensor<'a>>,
}

impl<'a> StateDict<'a> {
    /// # Errors
    /// A name that is there twice.
    pub fn new(tensors: Vec<Tensor<'a>>) -> Result<StateDict<'a>, Fault> {
        let mut by_name = HashMap::new();
        for tensor in tensors {
            if let Some(twice) = by_name.insert(tensor.name.clone(), tensor) {
                return Err((twice.name, "is there twice".to_string()));
            }
        }
        Ok(StateDict { tensors: by_name })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensors.keys().cloned().collect();
        names.sort();
        names
    }

    /// The parameters of the layers, which have these names and weights of these shapes; then the names of the tensors that were left
    /// out, sorted.
    ///
    /// # Errors
    /// A tensor that is missing, does not fit, or belongs to no layer.
    pub fn parameters(
        &self,
        layers: &[(&str, Vec<usize>)],
        network: &str,
    ) -> Result<(Vec<Parameters>, Vec<String>), Fault> {
        let mut used = HashSet::new();
        let mut parameters = Vec::new();
        for (name, shape) in layers {
            let mut take = |name: String, shape: &[usize]| {
                let values = self.values(&name, shape)?;
                used.insert(name);
                Ok::<Vec<f32>, Fault>(values)
            };
            let outputs = &shape[..1];
            let weight = take(format!("{name}.weight"), shape)?;
            let normalisation = name.strip_suffix("conv").map(|stem| format!("{stem}bn"));
            let bias = format!("{name}.bias");
            parameters.push(match normalisation {
                Some(stem) if !self.has(&bias) && self.has(&format!("{stem}.weight")) => {
                    let scale = take(format!("{stem}.weight"), outputs)?;
                    let shift = take(format!("{stem}.bias"), outputs)?;
                    let mean = take(format!("{stem}.running_mean"), outputs)?;
                    let variance = take(format!("{stem}.running_var"), outputs)?;
                    used.insert(format!("{stem}.num_batches_tracked"));
                    fold(weight, [&scale, &shift, &mean, &variance]).map_err(|(channel, reason)| {
                        (format!("{stem}.running_var"), format!("{reason} in channel {channel}"))
                    })?
                }
                _ => Parameters { weight, bias: take(bias, outputs)? },
            });
        }
        let (mut dropped, mut surplus) = (Vec::new(), Vec::new());
        for name in self.names().into_iter().filter(|name| !used.contains(name)) {
            let is_head = TRAINING_HEADS.iter().any(|head| name.starts_with(head));
            if is_head { dropped.push(name) } else { surplus.push(name) }
        }
        match surplus.first() {
            None => Ok((parameters, dropped)),
            Some(first) => {
                let more = match surplus.len() {
                    1 => String::new(),
                    n => format!("; nor for {} more", n - 1),
                };
                Err((first.clone(), format!("belongs to no layer: {network} has no use for it{more}")))
            }
        }
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Fault> {
        let fail = |reason: String| (name.to_string(), reason);
        let Some(tensor) = self.tensors.get(name) else {
            let names = self.names();
            let shown: Vec<String> = names.iter().take(5).map(|name| format!("{:?}", one_line(name))).collect();
            let more = if names.len() > shown.len() { ", ..." } else { "" };
            return Err(fail(format!("is missing; the file has {}{more}", shown.join(", "))));
        };
        if tensor.shape != shape {
            return Err(fail(format!("has shape {}, the layer needs {}", tuple(&tensor.shape), tuple(shape))));
        }
        tensor.values().map_err(fail)
    }
}

/// A convolution without biases and the normalisation behind it (weight, bias, running mean, running variance) as one convolution; else
/// the channel that cannot be.
fn fold(mut weight: Vec<f32>, [scale, shift, mean, variance]: [&[f32]; 4]) -> Result<Parameters, (usize, String)> {
    let mut bias = Vec::with_capacity(scale.len());
    let filter = weight.len() / scale.len();
    for (channel, weights) in weight.chunks_mut(filter).enumerate() {
        let [g, b, m, v] = [scale, shift, mean, variance].map(|values| f64::from(values[channel]));
        if v + EPSILON <= 0.0 {
            return Err((channel, format!("has the variance {v}")));
        }
        let factor = g / (v + EPSILON).sqrt();
        let mut finite = true;
        for weight in weights {
            *weight = (f64::from(*weight) * factor) as f32;
            finite &= weight.is_finite();
        }
        let folded = (b - m * factor) as f32;
        if !(finite && folded.is_finite()) {
            return Err((channel, "makes weights that are no float32".to_string()));
        }
        bias.push(folded);
    }
    Ok(Parameters { weight, bias })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_a_normalisation_is_the_formula() {
        // Variances that with epsilon are 4 and 1/4: exact roots.
        let folded =
            fold(vec![1.0, -2.0, 3.0, 4.0], [&[2.0, 1.0], &[0.5, -1.0], &[3.0, 0.25], &[4.0 - 0.001, 0.249]]).unwrap();
        let close = |got: &[f32], want: &[f32]| got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!(close(&folded.weight, &[1.0, -2.0, 6.0, 8.0]), "{folded:?}");
        assert!(close(&folded.bias, &[0.5 - 3.0, -1.0 - 0.5]), "{folded:?}");
        assert_eq!(fold(vec![1.0], [&[1.0], &[0.0], &[0.0], &[-1.0]]).unwrap_err().0, 0);
        assert!(fold(vec![f32::MAX], [&[2.0], &[0.0], &[0.0], &[0.0]]).unwrap_err().1.contains("no float32"));
    }
}
