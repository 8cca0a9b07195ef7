//! How a CPPN draws, literally from spec 5.1, 5.3, 5.6 and 5.7: T synchronous steps of all nodes, one pixel
//! and one f32 at a time. Shares nothing with the compiler and the renderer but the elementary functions.

use pareidolia::genome::Canvas;
use pareidolia::genome::cppn::{Activation, Graph};
use pareidolia::math;
use pareidolia::simd::{Lanes, Plain};

/// The first lane of `f`.
fn scalar(f: fn(Plain) -> Plain, x: f32) -> f32 {
    let mut lanes = [0.0; Plain::N];
    f(Plain::splat(x)).store(&mut lanes);
    lanes[0]
}

pub fn activate(activation: Activation, p: f32) -> f32 {
    match activation {
        Activation::Sine => scalar(math::sin, p),
        Activation::Sigmoid => scalar(math::sigmoid, p),
        Activation::Gaussian => scalar(math::gaussian, p),
        Activation::Linear => scalar(math::clipped_linear, p),
    }
}

/// L: edges on the longest path from `node` back to an input; `None` if there is no such path.
fn longest_path(graph: &Graph, node: usize) -> Option<usize> {
    if node < 4 {
        return Some(0);
    }
    let sources = graph.edges.iter().filter(|e| usize::from(e.target) == node);
    sources.filter_map(|e| longest_path(graph, usize::from(e.source))).max().map(|l| l + 1)
}

/// T of spec 5.6.
pub fn n_steps(graph: &Graph) -> usize {
    let outputs = 4..4 + graph.n_outputs;
    outputs.filter_map(|output| longest_path(graph, output)).max().unwrap_or(0) + 1
}

/// The step from which on the value of `node` stays.
pub fn settle(graph: &Graph, node: usize) -> usize {
    if node < 4 {
        return 0;
    }
    let sources = graph.edges.iter().filter(|e| usize::from(e.target) == node);
    sources.map(|e| settle(graph, usize::from(e.source))).max().unwrap_or(0) + 1
}

/// Output values at one pixel.
pub fn outputs(graph: &Graph, max_weight: f32, inputs: [f32; 4]) -> Vec<f32> {
    let mut values = vec![0.0f32; graph.activations.len()];
    values[..4].copy_from_slice(&inputs);
    for _ in 0..n_steps(graph) {
        let old = values.clone();
        for (node, value) in values.iter_mut().enumerate().skip(4) {
            let mut p = 0.0f32;
            for edge in graph.edges.iter().filter(|e| usize::from(e.target) == node) {
                let weight = (2.0 * max_weight).mul_add(edge.gene, -max_weight);
                p = weight.mul_add(old[usize::from(edge.source)], p);
            }
            *value = activate(graph.activations[node], p);
        }
    }
    values[4..4 + graph.n_outputs].to_vec()
}

/// The image at `height` x `width` points spread over `canvas`, channels last.
pub fn render(graph: &Graph, max_weight: f32, normalise: bool, canvas: Canvas, height: usize, width: usize) -> Vec<u8> {
    let at = |index: usize, count: usize, side: usize| index as f32 * (side as f32 - 1.0) / (count as f32 - 1.0);
    let norm = |position: f32, side: usize| 2.0 * position / (side as f32 - 1.0) - 1.0;
    let mut image = Vec::new();
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (at(column, width, canvas.width), at(row, height, canvas.height));
            let (xn, yn) = (norm(x, canvas.width), norm(y, canvas.height));
            let d = (xn * xn + yn * yn).sqrt();
            let inputs = if normalise { [xn, yn, d, 1.0] } else { [x, y, d, 1.0] };
            let bytes: Vec<u8> =
                outputs(graph, max_weight, inputs).iter().map(|v| (255.0 * v.abs()).trunc() as u8).collect();
            match bytes[..] {
                [grey] => image.push(grey),
                [h, l, s] => {
                    let [b, g, r] = hls_to_bgr(h, l, s);
                    image.extend([r, g, b]);
                }
                _ => unreachable!("one output or three"),
            }
        }
    }
    image
}

/// The 8-bit HLS rule of spec 5.7, in its words.
pub fn hls_to_bgr(hue: u8, lightness: u8, saturation: u8) -> [u8; 3] {
    let (l, s) = (f32::from(lightness) / 255.0, f32::from(saturation) / 255.0);
    let bgr = if s == 0.0 {
        [l, l, l]
    } else {
        let p2 = if l <= 0.5 { l * (1.0 + s) } else { l + s - l * s };
        let p1 = 2.0 * l - p2;
        let mut h = f32::from(hue) * 6.0 / 180.0;
        while h >= 6.0 {
            h -= 6.0;
        }
        let k = h.floor();
        let f = h - k;
        let (t0, t1, t2, t3) = (p2, p1, p1 + (p2 - p1) * (1.0 - f), p1 + (p2 - p1) * f);
        match k as usize {
            0 => [t1, t3, t0],
            1 => [t1, t0, t2],
            2 => [t3, t0, t1],
            3 => [t0, t2, t1],
            4 => [t0, t1, t3],
            _ => [t2, t1, t0],
        }
    };
    bgr.map(|value| (255.0 * value).round_ties_even().clamp(0.0, 255.0) as u8)
}
