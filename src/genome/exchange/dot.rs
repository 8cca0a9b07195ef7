//! The graph of a CPPN in the DOT language of Graphviz: `dot -Tsvg four.dot`.

use super::{Net, Specimen, json::activation_name, node_name};
use crate::genome::cppn::{Edge, N_INPUTS};
use std::fmt::Write;

/// The graph of `specimen`. What the picture does not depend on is grey and dotted.
///
/// # Errors
/// If it is no CPPN, or takes more than can be drawn.
pub fn text(specimen: &Specimen) -> Result<String, String> {
    let (graph, settings) = specimen.cppn("graph")?;
    let net = Net::new(graph, settings.max_weight)?;
    let used = net.used();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "// {}", specimen.title());
    let _ = writeln!(
        out,
        "// {} nodes, {} edges, {} synchronous steps; weights lie in [-{m}, {m}]",
        graph.n_nodes(),
        graph.edges.len(),
        net.steps,
        m = settings.max_weight
    );
    out.push_str("digraph cppn {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n");
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
    for (node, &activation) in graph.activations.iter().enumerate() {
        let name = node_name(graph, node);
        let label = if node < N_INPUTS { name } else { format!("{name}\\n{}", activation_name(activation)) };
        let fill = match node {
            _ if node < N_INPUTS => ", fillcolor=\"#e8eef7\"",
            _ if node < graph.first_hidden() => ", fillcolor=\"#fdf1d6\"",
            _ => "",
        };
        let unused = if used[node] { "" } else { ", color=grey, fontcolor=grey" };
        let _ = writeln!(out, "  n{node} [label=\"{label}\"{fill}{unused}];");
    }
    let nodes = |range: std::ops::Range<usize>| range.map(|node| format!("n{node};")).collect::<Vec<_>>().join(" ");
    let _ = writeln!(out, "  {{ rank=source; {} }}", nodes(0..N_INPUTS));
    let _ = writeln!(out, "  {{ rank=sink; {} }}", nodes(N_INPUTS..graph.first_hidden()));
    for (Edge { source, target, .. }, &weight) in graph.edges.iter().zip(&net.weights) {
        let (colour, style) = if weight < 0.0 { ("#b35806", "dashed") } else { ("#2166ac", "solid") };
        let (colour, style) = if used[usize::from(*target)] { (colour, style) } else { ("grey", "dotted") };
        let width = 0.5 + 3.5 * f64::from(weight.abs() / settings.max_weight);
        let _ = writeln!(
            out,
            "  n{source} -> n{target} [label=\"{weight:.3}\", color=\"{colour}\", style={style}, penwidth={width:.2}];"
        );
    }
    out.push_str("}\n");
    Ok(out)
}
