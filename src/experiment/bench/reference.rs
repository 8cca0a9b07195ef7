//! The steps again, plainly, from their rules: what is timed is compared with this first.

use crate::archive::Archive;
use crate::genome::cppn::{Activation, Graph, N_INPUTS, Rules};
use crate::genome::{Canvas, direct, pixel};
use crate::math;
use crate::rng::{Chance, Philox, Purpose, unit};
use crate::simd::{Lanes, Plain};

/// The image of a CPPN by T synchronous steps of all its nodes (spec 5.1, 5.3, 5.6), literally: nothing is compiled.
pub fn draw(graph: &Graph, rules: &Rules, canvas: Canvas) -> Vec<u8> {
    draw_rows(graph, rules, canvas, 0..canvas.height)
}

/// `rows` of [`draw`], one after the other.
pub fn draw_rows(graph: &Graph, rules: &Rules, canvas: Canvas, rows: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut image = Vec::new();
    let n_steps = n_steps(graph);
    let weights: Vec<f32> =
        graph.edges.iter().map(|edge| (2.0 * rules.max_weight).mul_add(edge.gene, -rules.max_weight)).collect();
    let normalised = |at: usize, side: usize| 2.0 * at as f32 / (side - 1) as f32 - 1.0;
    for row in rows {
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
            let mut bytes = (0..canvas.channels).map(|output| pixel(values[N_INPUTS + output]));
            match canvas.channels {
                3 => image.extend(hls_to_rgb(std::array::from_fn(|_| bytes.next().expect("three outputs")))),
                _ => image.extend(bytes),
            }
        }
    }
    image
}

/// The image of a direct genome (spec 4.1, 5.7): a byte a gene, of three channels from HLS to RGB.
pub fn draw_direct(genes: &[f32], canvas: Canvas) -> Vec<u8> {
    let bytes: Vec<u8> = genes.iter().copied().map(pixel).collect();
    match canvas.channels {
        3 => bytes.chunks_exact(3).flat_map(|hls| hls_to_rgb([hls[0], hls[1], hls[2]])).collect(),
        _ => bytes,
    }
}

/// A pixel from HLS to RGB in the words of spec 5.7.
fn hls_to_rgb(hls: [u8; 3]) -> [u8; 3] {
    let [hue, l, s] = hls.map(f32::from);
    let (l, s) = (l / 255.0, s / 255.0);
    let rgb = if s == 0.0 {
        [l; 3]
    } else {
        let p2 = if l <= 0.5 { l * (1.0 + s) } else { l + s - l * s };
        let p1 = 2.0 * l - p2;
        let turns = hue * 6.0 / 180.0;
        let h = if turns < 6.0 { turns } else { turns - 6.0 };
        let f = h - h.floor();
        let (t2, t3) = (p1 + (p2 - p1) * (1.0 - f), p1 + (p2 - p1) * f);
        match h as usize {
            0 => [p2, t3, p1],
            1 => [t2, p2, p1],
            2 => [p1, p2, t3],
            3 => [p1, t2, p2],
            4 => [t3, p1, p2],
            _ => [p2, p1, t2],
        }
    };
    rgb.map(|value| (255.0 * value).round_ties_even() as u8)
}

/// The mutated copy of a direct genome, gene by gene in the words of spec 4.2.
pub fn mutate(genes: &[f32], rules: &direct::Rules, philox: &Philox, candidate: u32, generation: u32) -> Vec<f32> {
    let chance = Chance::new(rules.rate(generation));
    let gates = philox.draws(Purpose::DirectGate, candidate, generation);
    let amounts = philox.draws(Purpose::DirectAmount, candidate, generation);
    let gene = |(&gene, index): (&f32, u32)| {
        if !chance.happens(gates.gene_word(index)) {
            return gene;
        }
        let r = unit(amounts.gene_word(index));
        let root = |x: f32| math::scalar::root(x, rules.mutation_eta + 1);
        let d = if r < 0.5 { root(2.0 * r) - 1.0 } else { 1.0 - root(2.0 * (1.0 - r)) };
        (gene + d).clamp(0.0, 1.0)
    };
    genes.iter().zip(0..).map(gene).collect()
}

/// T: one more than the edges on the longest path from an input to an output.
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
    longest[N_INPUTS..graph.first_hidden()].iter().flatten().max().unwrap_or(&0) + 1
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
