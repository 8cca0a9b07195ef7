//! What `pareidolia info --weights` says of a network: how images come to it, and what each layer does.

use crate::error::Result;
use crate::network::{Layer, Network, Operation, Rounding, Shape, Window};
use serde::Serialize;

#[derive(Serialize)]
struct Report {
    network: String,
    weights: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_weights: Option<String>,
    classes: usize,
    /// Channels, height, width: of the images that it is shown, and of the middle of them that it sees.
    image: [usize; 3],
    input: [usize; 3],
    channel_order: String,
    /// What a pixel is multiplied by after the mean is subtracted: one an input channel.
    scale: Vec<f32>,
    mean: Mean,
    parameters: usize,
    multiply_adds: u64,
    layers: Vec<LayerReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Mean {
    None,
    /// One an input channel.
    Channels(Vec<f32>),
    Image,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Whose values it takes, where that is not the layer before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    how: String,
    output: [usize; 3],
    parameters: usize,
    multiply_adds: u64,
}

/// The report on `network`, for people or as JSON.
///
/// # Errors
/// None for the types of this program.
pub fn report(network: &Network, json: bool) -> Result<String> {
    let report = Report::new(network);
    if json { super::json(&report) } else { Ok(report.text()) }
}

fn numbers(shape: Shape) -> [usize; 3] {
    [shape.channels, shape.height, shape.width]
}

impl Report {
    fn new(network: &Network) -> Report {
        let shapes = network.shapes();
        let name_of = |value: usize| match value {
            0 => "input".to_string(),
            layer => network.layers[layer - 1].name.clone(),
        };
        let layers = network.layers.iter().enumerate().map(|(index, layer)| {
            let (from, to) = (shapes[layer.inputs[0]], shapes[index + 1]);
            let Layer { name, inputs, operation } = layer;
            let is_next = *inputs == [index];
            LayerReport {
                name: name.clone(),
                kind: operation.type_name(),
                inputs: if is_next { Vec::new() } else { inputs.iter().map(|&value| name_of(value)).collect() },
                how: how(*operation),
                output: numbers(to),
                parameters: layer.weight(from).map_or(0, |(_, shape)| shape.iter().product::<usize>() + shape[0]),
                multiply_adds: layer.multiply_adds(from, to),
            }
        });
        let layers: Vec<LayerReport> = layers.collect();
        let preprocess = &network.preprocess;
        let planes: Vec<&[f32]> = preprocess.mean.chunks(network.input.height * network.input.width).collect();
        let mean = match planes.as_slice() {
            [] => Mean::None,
            planes if planes.iter().all(|plane| plane.iter().all(|value| *value == plane[0])) => {
                Mean::Channels(planes.iter().map(|plane| plane[0]).collect())
            }
            _ => Mean::Image,
        };
        Report {
            network: network.name.clone(),
            weights: network.path.as_ref().map_or("built in".to_string(), |path| path.display().to_string()),
            sha256: network.sha256.clone(),
            random_weights: network.random.clone(),
            classes: network.classes.len(),
            image: numbers(network.image),
            input: numbers(network.input),
            channel_order: preprocess.channel_order.to_string(),
            scale: preprocess.scale[..network.input.channels].to_vec(),
            mean,
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            multiply_adds: network.multiply_adds(),
            layers,
        }
    }

    fn text(&self) -> String {
        let [_, height, width] = self.image;
        let [_, seen_height, seen_width] = self.input;
        let seen = if self.image == self.input {
            String::new()
        } else {
            format!(", of which it sees the middle, {seen_width} x {seen_height}")
        };
        let list = |numbers: &[f32]| numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
        let mean = match &self.mean {
            Mean::None => "no mean".to_string(),
            Mean::Channels(means) => format!("minus {}", list(means)),
            Mean::Image => "minus a mean image".to_string(),
        };
        let random = self.random_weights.iter().map(|how| ("", format!("{how}: nobody trained them")));
        let lines = [
            ("network", format!("{}, {} classes", self.network, self.classes)),
            ("weights", self.weights.clone()),
            ("", format!("SHA-256 {}", self.sha256)),
        ]
        .into_iter()
        .chain(random)
        .chain([
            ("images", format!("{width} x {height}, {}{seen}", self.channel_order)),
            ("pixels", format!("0 to 255, {mean}, times {}", list(&self.scale))),
            ("size", format!("{} weights and biases, {} multiply-adds an image", self.parameters, self.multiply_adds)),
        ]);
        let mut text: String = lines.map(|(what, text)| format!("{what:<11} {text}\n")).collect();
        let width = self.layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max("layer".len());
        text += &format!(
            "\n{:<width$}  {:<12} {:>15} {:>11} {:>13}  how\n",
            "layer", "type", "output", "parameters", "multiply-adds"
        );
        for LayerReport { name, kind, inputs, how, output: [channels, height, with], parameters, multiply_adds } in
            &self.layers
        {
            let output = format!("{channels} x {height} x {with}");
            let of = if inputs.is_empty() { String::new() } else { format!("of {}", inputs.join(", ")) };
            let how = [how.as_str(), &of].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            let line = format!("{name:<width$}  {kind:<12} {output:>15} {parameters:>11} {multiply_adds:>13}  {how}");
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// What a layer of this kind is told, for people.
fn how(operation: Operation) -> String {
    let window = |Window { kernel, stride, padding, rounding }: Window| {
        let rounding = if rounding == Rounding::Ceil { "rounded up" } else { "rounded down" };
        format!("{kernel}x{kernel}, stride {stride}, padding {padding}, {rounding}")
    };
    match operation {
        Operation::Conv2d { kernel, stride, padding, groups, .. } => {
            let groups = if groups == 1 { String::new() } else { format!(", {groups} groups") };
            format!("{kernel}x{kernel}, stride {stride}, padding {padding}{groups}")
        }
        Operation::MaxPool(of) => window(of),
        Operation::AveragePool { window: of, count_padding } => {
            let divisor = if count_padding { "the padding counted" } else { "the padding not counted" };
            format!("{}, {divisor}", window(of))
        }
        Operation::Lrn { size, alpha, k } => format!("{size} channels, alpha {alpha}, beta 0.75, k {k}"),
        Operation::Relu | Operation::Dense { .. } | Operation::Concat | Operation::Softmax => String::new(),
    }
}
