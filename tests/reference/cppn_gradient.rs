//! Drawings of CPPNs in real numbers and their way back, one pixel and one number at a time: in f32 from the rules of
//! `genome::cppn::Gradients` and `backend::ascent`, which the code must equal in every bit; in f64 from the formulas of the network itself,
//! T synchronous steps of all nodes, which the tests hold against finite differences.

// Plain loops read as the rules do.
#![allow(clippy::needless_range_loop)]

use super::cppn::{activate, n_steps};
use super::gradient::Reference;
use super::reference::norm;
use pareidolia::backend::ascent::{CppnRule, Seen};
use pareidolia::genome::Canvas;
use pareidolia::genome::cppn::{Activation, Compiler, Graph, InputPlanes, Program, Rules};
use pareidolia::math::scalar;
use pareidolia::network::{ChannelOrder, Network, Shape};
use pareidolia::simd::Simd;
use std::f32::consts::FRAC_PI_2;

/// The values of all slots at one pixel, and the slopes of the instructions.
fn forward(program: &Program, inputs: [f32; 4]) -> (Vec<f32>, Vec<f32>) {
    let (mut values, mut slopes) = (inputs.to_vec(), Vec::new());
    let mut terms = program.terms.iter();
    for instruction in &program.instructions {
        let mut p = 0.0_f32;
        for term in terms.by_ref().take(instruction.n_terms as usize) {
            p = term.weight.mul_add(values[term.slot as usize], p);
        }
        let y = activate(instruction.activation, p);
        slopes.push(match instruction.activation {
            Activation::Sine => scalar::sin(p + FRAC_PI_2),
            Activation::Sigmoid => (1.0 - y) * (1.0 + y) * 0.5,
            Activation::Gaussian => p * y * -2.0,
            Activation::Linear => {
                if -3.0 < p && p < 3.0 {
                    1.0 / 3.0
                } else {
                    0.0
                }
            }
        });
        values.push(y);
    }
    (values, slopes)
}

/// The places of high, middle and low among red, green and blue in each sector.
const ORDER: [[usize; 3]; 6] = [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0], [2, 0, 1], [0, 2, 1]];

/// Sector and fraction of a hue.
fn sector(hue: f32) -> (usize, f32) {
    let mut h = 255.0 * hue.abs() / 30.0;
    if h >= 6.0 {
        h -= 6.0;
    }
    (h.trunc() as usize, h - h.trunc())
}

fn ends(l: f32, s: f32) -> (f32, f32) {
    let high = if l <= 0.5 { l * (1.0 + s) } else { (l + s) - l * s };
    (high, (l + l) - high)
}

fn pixel(outputs: &[f32]) -> Vec<f32> {
    let &[hue, lightness, saturation] = outputs else { return vec![255.0 * outputs[0].abs()] };
    let (k, f) = sector(hue);
    let (high, low) = ends(lightness.abs(), saturation.abs());
    let m = if k % 2 == 0 { f } else { 1.0 - f };
    let mut rgb = vec![0.0; 3];
    for (place, value) in ORDER[k].into_iter().zip([high, low + (high - low) * m, low]) {
        rgb[place] = 255.0 * value;
    }
    rgb
}

fn of_absolute(v: f32, a: f32) -> f32 {
    match v {
        v if v > 0.0 => a,
        v if v < 0.0 => -a,
        _ => 0.0,
    }
}

/// What the gradient `g` of a pixel tells its outputs.
fn to_outputs(outputs: &[f32], g: &[f32]) -> Vec<f32> {
    let &[hue, lightness, saturation] = outputs else { return vec![of_absolute(outputs[0], g[0] * 255.0)] };
    let (k, f) = sector(hue);
    let (l, s) = (lightness.abs(), saturation.abs());
    let (high, low) = ends(l, s);
    let m = if k % 2 == 0 { f } else { 1.0 - f };
    let [a_high, a_middle, a_low] = ORDER[k].map(|place| g[place] * 255.0);
    let (a, b) = (a_middle.mul_add(m, a_high), a_middle.mul_add(1.0 - m, a_low));
    let c = a - b;
    let d = a_middle * (high - low);
    let of_l = 2.0_f32.mul_add(b, c * if l <= 0.5 { 1.0 + s } else { 1.0 - s });
    let of_s = c * if l <= 0.5 { l } else { 1.0 - l };
    let of_hue = 8.5 * if k % 2 == 0 { d } else { -d };
    vec![of_absolute(hue, of_hue), of_absolute(lightness, of_l), of_absolute(saturation, of_s)]
}

/// The inputs of each pixel.
fn inputs(canvas: Canvas, normalise: bool) -> Vec<[f32; 4]> {
    let planes = InputPlanes::new(canvas, normalise);
    (0..canvas.pixels()).map(|pixel| std::array::from_fn(|plane| planes.plane(plane)[pixel])).collect()
}

fn outputs(program: &Program, values: &[f32]) -> Vec<f32> {
    program.outputs.iter().map(|&slot| values[slot as usize]).collect()
}

/// The drawing, `(channels, pixels)`.
pub fn draw(graph: &Graph, rules: &Rules, canvas: Canvas) -> Vec<f32> {
    let program = Compiler::default().compile(Simd::Plain, graph, rules.max_weight).clone();
    let mut drawing = vec![0.0; canvas.len()];
    for (at, inputs) in inputs(canvas, rules.normalise).into_iter().enumerate() {
        let (values, _) = forward(&program, inputs);
        for (channel, value) in pixel(&outputs(&program, &values)).into_iter().enumerate() {
            drawing[channel * canvas.pixels() + at] = value;
        }
    }
    drawing
}

/// What the gradient of the pixels, `(channels, pixels)`, tells each edge's gene.
pub fn gene_gradient(graph: &Graph, rules: &Rules, canvas: Canvas, gradient: &[f32]) -> Vec<f32> {
    let mut compiler = Compiler::default();
    let edges = compiler.edges_of_terms(Simd::Plain, graph);
    let program = compiler.compile(Simd::Plain, graph, rules.max_weight).clone();
    let n_pixels = canvas.pixels();
    let mut terms = vec![0.0_f32; edges.len()];
    let inputs = inputs(canvas, rules.normalise);
    for band in (0..n_pixels).step_by(2048) {
        let mut sums = vec![[0.0_f32; 16]; edges.len()];
        for at in band..n_pixels.min(band + 2048) {
            let (values, slopes) = forward(&program, inputs[at]);
            let g: Vec<f32> = (0..canvas.channels).map(|channel| gradient[channel * n_pixels + at]).collect();
            let mut adjoints = vec![0.0_f32; values.len()];
            for (&slot, of) in program.outputs.iter().zip(to_outputs(&outputs(&program, &values), &g)) {
                adjoints[slot as usize] = 0.0 + of;
            }
            let mut end = edges.len();
            for (i, instruction) in program.instructions.iter().enumerate().rev() {
                let q = adjoints[4 + i] * slopes[i];
                let first = end - instruction.n_terms as usize;
                for term in first..end {
                    let (slot, weight) = (program.terms[term].slot as usize, program.terms[term].weight);
                    sums[term][at % 16] = q.mul_add(values[slot], sums[term][at % 16]);
                    if slot >= 4 {
                        adjoints[slot] = weight.mul_add(q, adjoints[slot]);
                    }
                }
                end = first;
            }
        }
        for (term, mut sums) in terms.iter_mut().zip(sums) {
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    sums[i] += sums[i + half];
                }
            }
            *term += sums[0] + 0.0;
        }
    }
    let mut genes = vec![0.0_f32; graph.edges.len()];
    for (term, edge) in terms.into_iter().zip(edges) {
        genes[edge as usize] += term;
    }
    genes.into_iter().map(|gene| gene * (2.0 * rules.max_weight)).collect()
}

/// What each of `iterations` steps saw of `graph`, and the graph that stands after them.
pub fn ascend(
    network: &Network,
    rule: CppnRule,
    rules: &Rules,
    class: usize,
    graph: &Graph,
    iterations: u32,
) -> (Graph, Vec<Seen>) {
    let canvas = Canvas::of(network);
    let Shape { channels, height, width } = network.input;
    let literal = Reference::<f32>::new(network);
    let crops = if network.crops.is_empty() { vec![Default::default()] } else { network.crops.clone() };
    let place = |crop: &pareidolia::network::Crop, i: usize| {
        let (channel, y, x) = (i / (height * width), i / width % height, i % width);
        let channel = if network.preprocess.channel_order == ChannelOrder::Bgr { 2 - channel } else { channel };
        let x = if crop.mirror { width - 1 - x } else { x };
        channel * canvas.pixels() + (crop.y + y) * canvas.width + crop.x + x
    };
    let scale = |i: usize| network.preprocess.scale[i / (height * width)];
    let (mut stands, mut tried) = (graph.clone(), graph.clone());
    let (mut seen, mut g): (Option<Seen>, Vec<f32>) = (None, Vec::new());
    let (mut radius, mut length) = (rule.max_step, 0.0);
    let least = |a: f64, b: f64| if a < b { a } else { b };
    let mut all: Vec<Seen> = Vec::new();
    for step in 0..iterations {
        if let Some(seen) = seen.filter(|seen| seen.stopped) {
            all.push(seen);
            continue;
        }
        let drawing = draw(&tried, rules, canvas);
        let mut pixels = vec![0.0_f32; canvas.len()];
        let mut sums = vec![0.0_f64; network.classes.len()];
        for crop in &crops {
            let input: Vec<f32> = (0..channels * height * width)
                .map(|i| match network.preprocess.mean.get(i) {
                    Some(mean) => (drawing[place(crop, i)] - mean) * scale(i),
                    None => drawing[place(crop, i)] * scale(i),
                })
                .collect();
            let (probabilities, of_input) = literal.probability_gradient(&input, class);
            for (i, of) in of_input.into_iter().enumerate() {
                let at = place(crop, i);
                pixels[at] = of.mul_add(scale(i), pixels[at]);
            }
            sums.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += f64::from(p));
        }
        pixels.iter_mut().for_each(|g| *g /= crops.len() as f32);
        let means: Vec<f32> = sums.iter().map(|sum| (sum / crops.len() as f64) as f32).collect();
        let p = means[class];
        let first = seen.is_none();
        if first || p > seen.unwrap().probability {
            let best = (0..means.len()).fold(0, |best, class| if means[class] > means[best] { class } else { best });
            stands = tried.clone();
            g = gene_gradient(&stands, rules, canvas, &pixels);
            for (edge, g) in stands.edges.iter().zip(&mut g) {
                if edge.gene <= 0.0 && *g < 0.0 || edge.gene >= 1.0 && *g > 0.0 {
                    *g = 0.0;
                }
            }
            let norm = norm(&g);
            if !first {
                radius = least(rule.max_step, 2.0 * radius);
            }
            let stopped = norm.is_nan() || norm == 0.0 || norm == f64::INFINITY;
            seen = Some(Seen { probability: p, best: best as u32, norm, stopped });
        } else {
            radius = length / 2.0;
        }
        let now = seen.as_mut().unwrap();
        if !now.stopped && step + 1 < iterations {
            let root = now.norm.sqrt();
            let want = least(rule.early, rule.late * (1.0 - f64::from(now.probability)));
            length = least(want / root, radius);
            tried = stands.clone();
            for (edge, &g) in tried.edges.iter_mut().zip(&g) {
                let v = (length / root).mul_add(f64::from(g), f64::from(edge.gene));
                edge.gene = v.clamp(0.0, 1.0) as f32;
            }
            now.stopped = tried == stands;
        }
        all.push(*now);
    }
    (stands, all)
}

/// The outputs in f64, from the genes, at a point with these inputs: T synchronous steps.
fn outputs_f64(graph: &Graph, max_weight: f64, genes: &[f64], inputs: [f64; 4]) -> Vec<f64> {
    let mut values = vec![0.0; graph.activations.len()];
    values[..4].copy_from_slice(&inputs);
    for _ in 0..n_steps(graph) {
        let old = values.clone();
        for node in 4..values.len() {
            let into = graph.edges.iter().zip(genes).filter(|(edge, _)| usize::from(edge.target) == node);
            let p: f64 = into.map(|(edge, gene)| max_weight * (2.0 * gene - 1.0) * old[usize::from(edge.source)]).sum();
            values[node] = match graph.activations[node] {
                Activation::Sine => p.sin(),
                Activation::Sigmoid => 2.0 / (1.0 + (-p).exp()) - 1.0,
                Activation::Gaussian => (-p * p).exp(),
                Activation::Linear => p.clamp(-3.0, 3.0) / 3.0,
            };
        }
    }
    values[4..4 + graph.n_outputs].to_vec()
}

/// HLS to RGB without sectors (Wikipedia, "HSL and HSV", alternative conversion); the hue in sixths of the circle.
fn rgb_f64(h: f64, l: f64, s: f64) -> [f64; 3] {
    [0.0, 8.0, 4.0].map(|n| {
        let k = (n + 2.0 * h).rem_euclid(12.0);
        l - s * l.min(1.0 - l) * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0)
    })
}

/// `sum(g * pixel)` in f64, for genes that may move.
pub fn objective_f64(graph: &Graph, rules: &Rules, canvas: Canvas, genes: &[f64], g: &[f32]) -> f64 {
    let max_weight = f64::from(rules.max_weight);
    let mut sum = 0.0;
    for at in 0..canvas.pixels() {
        let (row, column) = ((at / canvas.width) as f64, (at % canvas.width) as f64);
        let norm = |position: f64, side: usize| 2.0 * position / (side as f64 - 1.0) - 1.0;
        let (x, y) = (norm(column, canvas.width), norm(row, canvas.height));
        let d = x.hypot(y);
        let (x, y) = if rules.normalise { (x, y) } else { (column, row) };
        let v: Vec<f64> = outputs_f64(graph, max_weight, genes, [x, y, d, 1.0]).into_iter().map(f64::abs).collect();
        let pixel = match v[..] {
            [grey] => vec![grey],
            [hue, l, s] => rgb_f64(8.5 * hue, l, s).to_vec(),
            _ => unreachable!("one output or three"),
        };
        for (channel, value) in pixel.into_iter().enumerate() {
            sum += 255.0 * value * f64::from(g[channel * canvas.pixels() + at]);
        }
    }
    sum
}
