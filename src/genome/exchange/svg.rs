//! The graph of a CPPN as an SVG picture, in layers from the inputs on the left to the outputs on the right.
//!
//! The layout is Sugiyama's (Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", 1981): a node's
//! layer is the step at which its value settles, outputs share the last one; an edge over several layers bends at a point in each; within
//! layers, nodes and bends are ordered by the means of their neighbours' places, sweep after sweep, and the order with the fewest crossings
//! is kept. The same genome gives the same picture.

use super::{Net, Specimen, json::activation_name, node_name};
use crate::genome::cppn::{Activation, Edge, N_INPUTS};
use std::collections::HashMap;
use std::fmt::Write;

/// Sizes in pixels.
const NODE_WIDTH: f64 = 92.0;
const NODE_HEIGHT: f64 = 40.0;
const LAYER_GAP: f64 = 84.0;
const ROW: f64 = 56.0;
const BEND_ROW: f64 = 18.0;
const MARGIN: f64 = 20.0;
const HEAD: f64 = 34.0;
const FOOT: f64 = 44.0;

/// Times that the order of all layers is swept.
const SWEEPS: usize = 24;

/// What is placed in layers: a node, or a bend of an edge.
#[derive(Clone, Debug)]
struct Item {
    layer: usize,
    node: Option<usize>,
    /// Items of the layers before and after that it is joined to.
    before: Vec<usize>,
    after: Vec<usize>,
    y: f64,
}

/// Most items of a picture: a larger one is nothing to look at.
const MOST_ITEMS: usize = 20_000;

/// The graph of `specimen`. What the picture does not depend on is pale.
///
/// # Errors
/// If it is no CPPN, or takes more than can be drawn.
pub fn text(specimen: &Specimen) -> Result<String, String> {
    let (graph, settings) = specimen.cppn("graph")?;
    let net = Net::new(graph, settings.max_weight)?;
    let used = net.used();
    let last = net.settle.iter().copied().max().unwrap_or(0).max(1) as usize;
    // A hidden node that settles last goes before the outputs, as all do.
    let is_output = |node: usize| (N_INPUTS..graph.first_hidden()).contains(&node);
    let hidden_last = (0..graph.n_nodes()).any(|node| !is_output(node) && net.settle[node] as usize == last);
    let last = last + usize::from(hidden_last);
    let layer = |node: usize| if is_output(node) { last } else { net.settle[node] as usize };

    let mut items: Vec<Item> = (0..graph.n_nodes())
        .map(|node| Item { layer: layer(node), node: Some(node), before: Vec::new(), after: Vec::new(), y: 0.0 })
        .collect();
    // The items that each edge goes through, ends included.
    let mut ways: Vec<Vec<usize>> = Vec::with_capacity(graph.edges.len());
    for edge in &graph.edges {
        let (source, target) = (usize::from(edge.source), usize::from(edge.target));
        let mut way = vec![source];
        for layer in layer(source) + 1..layer(target) {
            way.push(items.len());
            items.push(Item { layer, node: None, before: Vec::new(), after: Vec::new(), y: 0.0 });
        }
        way.push(target);
        for pair in way.windows(2) {
            items[pair[0]].after.push(pair[1]);
            items[pair[1]].before.push(pair[0]);
        }
        ways.push(way);
        if items.len() > MOST_ITEMS {
            return Err(format!(
                "has {} nodes and {} edges, too many for a picture of the graph; dot writes it for Graphviz",
                graph.n_nodes(),
                graph.edges.len()
            ));
        }
    }
    let layers = ordered(&items, last + 1);
    let height = place(&mut items, &layers);

    let n_layers = (last + 1) as f64;
    let width = (2.0 * MARGIN + n_layers * NODE_WIDTH + (n_layers - 1.0) * LAYER_GAP).max(560.0);
    let total = HEAD + height + FOOT;
    let left = |layer: usize| MARGIN + layer as f64 * (NODE_WIDTH + LAYER_GAP);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{total:.0}\" viewBox=\"0 0 {width:.0} {total:.0}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\">"
    );
    let title = specimen.title();
    let _ = writeln!(out, "<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    let _ = writeln!(out, "<text x=\"{MARGIN}\" y=\"22\" font-size=\"13\" fill=\"#333\">{title}</text>");
    let mut seen = HashMap::new();
    out.push_str("<g fill=\"none\" stroke-linecap=\"butt\">\n");
    for ((Edge { source, target, gene }, weight), way) in graph.edges.iter().zip(&net.weights).zip(&ways) {
        let strength = f64::from(weight.abs() / settings.max_weight);
        let colour = if *weight < 0.0 { "#b35806" } else { "#2166ac" };
        let dashes = if *weight < 0.0 { " stroke-dasharray=\"7 3\"" } else { "" };
        let opacity = if used[usize::from(*target)] { 0.85 } else { 0.15 };
        let [from, to] = [source, target].map(|node| node_name(graph, usize::from(*node)));
        // Parallel edges between neighbouring layers swing out one beside the other; others bend at points of their own.
        let parallel = seen.entry((*source, *target)).or_insert(0_u32);
        let swing = if way.len() == 2 { 9.0 * f64::from(*parallel) } else { 0.0 };
        *parallel += 1;
        let mut path = String::new();
        for (at, pair) in way.windows(2).enumerate() {
            let [a, b] = [pair[0], pair[1]].map(|item| &items[item]);
            let (x0, x1) = (left(a.layer) + NODE_WIDTH, left(b.layer));
            if at == 0 {
                let _ = write!(path, "M{x0:.1} {:.1}", a.y);
            } else {
                let _ = write!(path, " H{x0:.1}"); // straight past the nodes of a layer
            }
            let middle = (x0 + x1) / 2.0;
            let _ = write!(path, " C{middle:.1} {:.1} {middle:.1} {:.1} {x1:.1} {:.1}", a.y + swing, b.y + swing, b.y);
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{:.2}\" stroke-opacity=\"{opacity}\"{dashes}><title>{from} to {to}: \
             weight {weight}, gene {gene}</title></path>",
            0.6 + 4.4 * strength
        );
    }
    out.push_str("</g>\n<g stroke=\"#333\" text-anchor=\"middle\">\n");
    for item in &items {
        let Some(node) = item.node else { continue };
        let (x, y) = (left(item.layer), item.y - NODE_HEIGHT / 2.0);
        let fill = match node {
            _ if node < N_INPUTS => "#e8eef7",
            _ if is_output(node) => "#fdf1d6",
            _ => "#f7f7f7",
        };
        let opacity = if used[node] { "" } else { " opacity=\"0.35\"" };
        let _ = writeln!(
            out,
            "<g{opacity}><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{NODE_WIDTH}\" height=\"{NODE_HEIGHT}\" rx=\"7\" fill=\"{fill}\"/>"
        );
        let name = node_name(graph, node);
        let centre = x + NODE_WIDTH / 2.0;
        if node < N_INPUTS {
            let _ = writeln!(
                out,
                "<text x=\"{centre:.1}\" y=\"{:.1}\" font-size=\"13\" stroke=\"none\" fill=\"#111\">{name}</text></g>",
                item.y + 4.5
            );
            continue;
        }
        let activation = graph.activations[node];
        let label = centre - 13.0;
        let _ = writeln!(
            out,
            "<text x=\"{label:.1}\" y=\"{:.1}\" font-size=\"12\" stroke=\"none\" fill=\"#111\">{name}</text>\
             <text x=\"{label:.1}\" y=\"{:.1}\" font-size=\"10\" stroke=\"none\" fill=\"#444\">{}</text>\
             <path d=\"{}\" fill=\"none\" stroke=\"#666\" stroke-width=\"1.2\"/></g>",
            item.y - 2.5,
            item.y + 11.5,
            activation_name(activation),
            curve(activation, x + NODE_WIDTH - 29.0, item.y)
        );
    }
    out.push_str("</g>\n");
    legend(&mut out, total - 16.0, settings.max_weight, net.steps);
    out.push_str("</svg>\n");
    Ok(out)
}

fn legend(out: &mut String, y: f64, max_weight: f32, steps: u32) {
    let line = |x: f64, colour: &str, dashes: &str, width: f64| {
        format!("<path d=\"M{x} {:.1}h30\" stroke=\"{colour}\" stroke-width=\"{width}\"{dashes}/>", y - 4.0)
    };
    let x = MARGIN;
    let _ = writeln!(
        out,
        "<g font-size=\"11\" fill=\"#333\">{}<text x=\"{}\" y=\"{y:.1}\">weight above 0</text>{}<text x=\"{}\" y=\"{y:.1}\">below 0</text>\
         <text x=\"{}\" y=\"{y:.1}\">widest: {max_weight}; {steps} steps; pale: the picture does not depend on it</text></g>",
        line(x, "#2166ac", "", 3.0),
        x + 36.0,
        line(x + 138.0, "#b35806", " stroke-dasharray=\"7 3\"", 3.0),
        x + 174.0,
        x + 246.0
    );
}

/// The function of an activation as a small curve around `(x + 12, y)`.
fn curve(activation: Activation, x: f64, y: f64) -> String {
    let of = |p: f64| match activation {
        Activation::Sine => p.sin(),
        Activation::Sigmoid => (p / 2.0).tanh(),
        Activation::Gaussian => 2.0 * (-p * p).exp() - 1.0,
        Activation::Linear => p.clamp(-3.0, 3.0) / 3.0,
    };
    let points = (0..=24).map(|i| {
        let p = (f64::from(i) - 12.0) / 12.0 * if activation == Activation::Sigmoid { 6.0 } else { 4.0 };
        format!("{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, x + f64::from(i), y - 9.0 * of(p))
    });
    points.collect()
}

/// The items of each layer in an order with few crossings.
fn ordered(items: &[Item], n_layers: usize) -> Vec<Vec<usize>> {
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); n_layers];
    for (index, item) in items.iter().enumerate() {
        layers[item.layer].push(index);
    }
    let mut best = (crossings(items, &layers), layers.clone());
    let mut places = vec![0.0; items.len()];
    for sweep in 0..SWEEPS {
        let forwards = sweep % 2 == 0;
        for step in 1..n_layers {
            let layer = if forwards { step } else { n_layers - 1 - step };
            let neighbour = if forwards { layer - 1 } else { layer + 1 };
            for (place, &item) in layers[neighbour].iter().enumerate() {
                places[item] = place as f64 / layers[neighbour].len() as f64;
            }
            let own = layers[layer].len() as f64;
            let mut keyed: Vec<(f64, usize)> = layers[layer]
                .iter()
                .enumerate()
                .map(|(place, &item)| {
                    let near = if forwards { &items[item].before } else { &items[item].after };
                    let near = near.iter().filter(|&&other| items[other].layer == neighbour);
                    let (sum, n) = near.fold((0.0, 0.0), |(sum, n), &other| (sum + places[other], n + 1.0));
                    (if n > 0.0 { sum / n } else { place as f64 / own }, item)
                })
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0)); // stable
            layers[layer] = keyed.into_iter().map(|(_, item)| item).collect();
        }
        let found = crossings(items, &layers);
        if found < best.0 {
            best = (found, layers.clone());
        }
    }
    best.1
}

/// How often the joins between neighbouring layers cross: inversions, counted by a Fenwick tree.
fn crossings(items: &[Item], layers: &[Vec<usize>]) -> u64 {
    let mut place = vec![0; items.len()];
    for layer in layers {
        for (at, &item) in layer.iter().enumerate() {
            place[item] = at;
        }
    }
    let mut total = 0;
    for pair in layers.windows(2) {
        let mut joins: Vec<(usize, usize)> = pair[0]
            .iter()
            .flat_map(|&item| items[item].after.iter().map(move |&other| (item, other)))
            .map(|(item, other)| (place[item], place[other]))
            .collect();
        joins.sort_unstable();
        let mut tree = vec![0_u64; pair[1].len() + 1];
        for (seen, (_, target)) in joins.iter().enumerate() {
            let (mut at, mut not_above) = (target + 1, 0);
            while at > 0 {
                not_above += tree[at];
                at &= at - 1;
            }
            total += seen as u64 - not_above;
            let mut at = target + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
    }
    total
}

/// Gives each item its height, layer by layer in the order given: near the mean of its neighbours, with room between. Returns how much
/// height they take.
fn place(items: &mut [Item], layers: &[Vec<usize>]) -> f64 {
    let room = |a: &Item, b: &Item| match (a.node, b.node) {
        (Some(_), Some(_)) => ROW,
        (None, None) => BEND_ROW,
        _ => (ROW + BEND_ROW) / 2.0,
    };
    for layer in layers {
        let mut y = 0.0;
        for (at, &item) in layer.iter().enumerate() {
            if at > 0 {
                y += room(&items[layer[at - 1]], &items[item]);
            }
            items[item].y = y;
        }
        let middle = y / 2.0;
        layer.iter().for_each(|&item| items[item].y -= middle);
    }
    for sweep in 0..SWEEPS {
        let order: Vec<usize> =
            if sweep % 2 == 0 { (0..layers.len()).collect() } else { (0..layers.len()).rev().collect() };
        for layer in order.into_iter().map(|layer| &layers[layer]) {
            let wanted: Vec<f64> = layer
                .iter()
                .map(|&item| {
                    let near: Vec<f64> =
                        items[item].before.iter().chain(&items[item].after).map(|&other| items[other].y).collect();
                    if near.is_empty() { items[item].y } else { near.iter().sum::<f64>() / near.len() as f64 }
                })
                .collect();
            // From above and from below what is wanted with room between, and the mean of both, which has room too.
            let (mut down, mut up) = (wanted.clone(), wanted);
            for at in 1..layer.len() {
                let least = down[at - 1] + room(&items[layer[at - 1]], &items[layer[at]]);
                down[at] = down[at].max(least);
            }
            for at in (0..layer.len().saturating_sub(1)).rev() {
                let most = up[at + 1] - room(&items[layer[at]], &items[layer[at + 1]]);
                up[at] = up[at].min(most);
            }
            for (at, &item) in layer.iter().enumerate() {
                items[item].y = (down[at] + up[at]) / 2.0;
            }
        }
    }
    let least = items.iter().map(|item| item.y).fold(f64::INFINITY, f64::min);
    let most = items.iter().map(|item| item.y).fold(f64::NEG_INFINITY, f64::max);
    let top = HEAD + MARGIN / 2.0 + NODE_HEIGHT / 2.0;
    items.iter_mut().for_each(|item| item.y += top - least);
    most - least + NODE_HEIGHT + MARGIN
}
