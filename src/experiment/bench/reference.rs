//! The steps again, plainly, from their rules: what is timed is compared with this first.

use crate::archive::Archive;
use crate::genome::cppn::{Activation, Graph, N_INPUTS, Rules};
use crate::genome::{Canvas, pixel};
use crate::math;
use crate::simd::{Lanes, Plain};

/// The grey image of a CPPN by T synchronous steps of all its nodes (spec 5.1, 5.3, 5.6), literally: nothing is compiled.
pub fn draw(graph: &Graph, rules: &Rules, canvas: Canvas) -> Vec<u8> {
    let mut image = Vec::with_capacity(canvas.pixels());
    let n_steps = n_steps(graph);
    let weights: Vec<f32> =
        graph.edges.iter().map(|edge| (2.0 * rules.max_weight).mul_add(edge.gene, -rules.max_weight)).collect();
    let normalised = |at: usize, side: usize| 2.0 * at as f32 / (side - 1) as f32 - 1.0;
    for row in 0..canvas.height {
        for column in 0..canvas.width {
            let (x, y) = (normalised(column, canvas.width), normalised(row, canvas.height));
            let distance = (x * x + y * y).sqrt();
            let (x, y) = if rules.normalise { (x, y) } else { (column as f32, row as f32) };
            let mut values = vec![0.0; graph.n_nodes()];
            values[..N_INPUTS].copy_from_slice(&[x, y, distance, 1.0]);
            for _ in 0..n_steps {
                let mut sums = vec![0.0_f32; graph.n_nodes()];
                for (edge, &weight) in graph.edges.iter().zip(&weights) {
                    let sum = &mut sums[usize::from(edge.target)];
                    *sum = weight.mul_add(values[usize::from(edge.source)], *sum);
                }
                for node in N_INPUTS..graph.n_nodes() {
                    values[node] = activate(graph.activations[node], sums[node]);
                }
            }
            image.push(pixel(values[N_INPUTS]));
        }
    }
    image
}

/// T: one more than the edges on the longest path from an input to the output.
fn n_steps(graph: &Graph) -> usize {
    // Edges on the longest path from an input to each node. A path has fewer edges than there are nodes.
    let mut longest: Vec<Option<usize>> = (0..graph.n_nodes()).map(|node| (node < N_INPUTS).then_some(0)).collect();
    for _ in 0..graph.n_nodes() {
        for edge in &graph.edges {
            let by_this = longest[usize::from(edge.source)].map(|length| length + 1);
            let target = &mut longest[usize::from(edge.target)];
            *target = by_this.max(*target);
        }
    }
    longest[N_INPUTS].unwrap_or(0) + 1
}

fn activate(activation: Activation, p: f32) -> f32 {
    let p = Plain::splat(p);
    let value = match activation {
        Activation::Sine => math::sin(p),
        Activation::Sigmoid => math::sigmoid(p),
        Activation::Gaussian => math::gaussian(p),
        Activation::Linear => math::clipped_linear(p),
    };
    let mut lanes = [0.0; Plain::N];
    value.store(&mut lanes);
    lanes[0]
}

/// Fitness and birth of each niche's elite after candidates `0..` of `generation`, `probabilities` `(batch, n_classes)`, were
/// put into `archive` one after the other.
pub fn insert(archive: &Archive, probabilities: &[f32], n_classes: usize, generation: u32) -> Vec<(f32, (u32, u32))> {
    let mut best: Vec<(f32, (u32, u32))> =
        archive.fitness().into_iter().zip(archive.elites.iter().map(|elite| elite.born)).collect();
    for (candidate, row) in (0..).zip(probabilities.chunks_exact(n_classes)) {
        for (best, &class) in best.iter_mut().zip(&archive.classes) {
            if row[class as usize] > best.0 {
                *best = (row[class as usize], (generation, candidate));
            }
        }
    }
    best
}
