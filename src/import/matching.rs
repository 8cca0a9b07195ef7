//! A graph of nodes laid over a layer list.
//!
//! From the end back: each layer takes its inputs in a fixed order, and each value has one node that gives it, so which node is which layer
//! follows without a search, whatever the nodes are called and in whatever order they stand. What no class depends on, the heads of a
//! training, is never met.

use super::graph::{Graph, Node, Op, Source, Window};
use super::tensor::Tensor;
use crate::error::one_line;
use crate::network::{Layer, Operation, Rounding, Shape};

/// Which node is which layer.
#[derive(Debug)]
pub struct Match {
    /// Per layer.
    pub nodes: Vec<usize>,
    /// Where the graph does other than the list, in ways that its weights do not mind.
    pub notes: Vec<String>,
}

/// Why a graph is not that of a list.
#[derive(Debug)]
pub struct Mismatch {
    /// Layers that had been found.
    pub found: usize,
    pub reason: String,
}

/// Finds the node of each layer; `shapes` are those of the layers' values.
///
/// # Errors
/// The first node, from the end, that is not what the list has in its place.
pub fn find(graph: &Graph, layers: &[Layer], shapes: &[Shape]) -> Result<Match, Mismatch> {
    let mut best = Mismatch { found: 0, reason: "it has no output and no softmax".to_string() };
    for end in &graph.ends {
        let mut search = Search { graph, layers, shapes, nodes: vec![None; layers.len()], notes: Vec::new() };
        match search.run(end) {
            Ok(()) => {
                // Each value of a list is taken by some layer, so from the end every layer is met; a softmax that the graph lacks is not.
                let nodes = search.nodes.iter().map(|node| node.unwrap_or(usize::MAX)).collect();
                search.notes.reverse();
                return Ok(Match { nodes, notes: search.notes });
            }
            Err(reason) => {
                let found = search.nodes.iter().flatten().count();
                if best.found <= found {
                    best = Mismatch { found, reason };
                }
            }
        }
    }
    Err(best)
}

struct Search<'a> {
    graph: &'a Graph<'a>,
    layers: &'a [Layer],
    shapes: &'a [Shape],
    nodes: Vec<Option<usize>>,
    notes: Vec<String>,
}

impl<'a> Search<'a> {
    fn run(&mut self, end: &Source) -> Result<(), String> {
        let last = self.layers.len(); // the value of the softmax
        // Without a softmax of its own, the graph gives what goes into the list's.
        let (end, pad) = self.behind(end, true)?;
        if pad != 0 {
            return Err(format!("its output is padded by {pad}"));
        }
        let value = match end {
            Source::Node(node) if self.graph.nodes[node].op == Op::Softmax => last,
            _ => self.layers[last - 1].inputs[0],
        };
        let mut open = vec![(value, end, true)];
        while let Some((value, source, flattened)) = open.pop() {
            let (source, _) = self.behind(&source, flattened)?; // the padding, `compare` has seen
            let Some(index) = value.checked_sub(1) else {
                match source {
                    Source::Input => continue,
                    other => return Err(format!("{} where the list has the network's input", self.shown(&other))),
                }
            };
            let Source::Node(node) = source else {
                return Err(format!("{} where the list has {}", self.shown(&source), self.layer(index)));
            };
            if self.nodes[index].is_some_and(|found| found != node) {
                return Err(format!("{} where the list has {} again", self.shown(&source), self.layer(index)));
            }
            if self.nodes[index].replace(node).is_some() {
                continue;
            }
            self.compare(&self.graph.nodes[node], index)?;
            let (inputs, layer) = (&self.graph.nodes[node].inputs, &self.layers[index]);
            if inputs.len() != layer.inputs.len() {
                let (got, wanted) = (inputs.len(), layer.inputs.len());
                return Err(format!("{} has {got} inputs, {} has {wanted}", self.shown(&source), self.layer(index)));
            }
            let flattened = flattens(layer.operation);
            open.extend(layer.inputs.iter().zip(inputs).map(|(&value, source)| (value, source.clone(), flattened)));
        }
        Ok(())
    }

    /// What `source` passes on, and the padding on the way. That an image becomes a vector does not matter where its values are taken as
    /// one.
    fn behind(&self, source: &Source, flattened: bool) -> Result<(Source, usize), String> {
        let mut source = source.clone();
        let mut pad = 0;
        while let Source::Node(index) = source {
            let node = &self.graph.nodes[index];
            match node.op {
                Op::Pass => {}
                Op::Flatten if flattened => {}
                Op::Pad(more) => pad += more,
                _ => break,
            }
            let Some(input) = node.inputs.first() else { return Err(format!("{} has no input", self.shown(&source))) };
            source = input.clone(); // of a node before it: this ends
        }
        Ok((source, pad))
    }

    /// Whether `node` does what layer `index` does.
    fn compare(&mut self, node: &Node, index: usize) -> Result<(), String> {
        let layer = &self.layers[index];
        let input = self.shapes[layer.inputs[0]];
        // Padding by nodes of their own, which stand before this one.
        let mut extra = 0;
        for source in &node.inputs {
            extra += self.behind(source, flattens(layer.operation))?.1;
        }
        let (shown, wanted) = (describe(node), self.layer(index));
        if extra != 0 && !matches!(node.op, Op::Conv { .. } | Op::MaxPool(_) | Op::AveragePool { .. }) {
            return Err(format!("{shown} takes an image that is padded by {extra}, {wanted} does not"));
        }
        let differs = |what: &str, got: &dyn std::fmt::Debug, want: &dyn std::fmt::Debug| {
            Err(format!("{shown} has {what} {got:?}, {wanted} has {want:?}"))
        };
        match (&node.op, layer.operation) {
            (Op::Conv { window, groups }, Operation::Conv2d { kernel, stride, padding, groups: wanted_groups, .. }) => {
                // A kernel that is not given is that of the weights, whose shape is looked at later.
                if window.kernel != [0; 2] && window.kernel != [kernel; 2] {
                    return differs("kernel", &window.kernel, &[kernel; 2]);
                }
                if window.stride != [stride; 2] {
                    return differs("stride", &window.stride, &[stride; 2]);
                }
                let pads = [window.before, window.after].map(|pads| pads.map(|pad| pad + extra));
                if pads != [[padding; 2]; 2] {
                    return differs("padding (before, after)", &pads, &[[padding; 2]; 2]);
                }
                if *groups != wanted_groups {
                    return differs("groups", groups, &wanted_groups);
                }
                Ok(())
            }
            (Op::MaxPool(window), Operation::MaxPool(own)) => {
                let axes = [0, 1].map(|axis| Axis::of_node(window, axis, extra, true));
                self.compare_windows(axes, Axis::of_layer(own, true), false, index, &shown)
            }
            (Op::AveragePool { window, padding_counts }, Operation::AveragePool { window: own, count_padding }) => {
                let axes = [0, 1].map(|axis| Axis::of_node(window, axis, extra, *padding_counts));
                self.compare_windows(axes, Axis::of_layer(own, count_padding), true, index, &shown)
            }
            (Op::GlobalAveragePool, Operation::AveragePool { window: own, .. }) => {
                if own.padding == 0 && [input.height, input.width] == [own.kernel; 2] {
                    Ok(())
                } else {
                    Err(format!("{shown} averages all of {input}, {wanted} a part"))
                }
            }
            (Op::Lrn { size, alpha, beta, k }, Operation::Lrn { size: own_size, alpha: own_alpha, k: own_k }) => {
                let (got, want) = ((*size, *alpha, *beta, *k), (own_size, own_alpha, 0.75, own_k));
                if got == want { Ok(()) } else { differs("size, alpha, beta, k", &got, &want) }
            }
            (Op::Relu, Operation::Relu)
            | (Op::Dense, Operation::Dense { .. })
            | (Op::Concat, Operation::Concat)
            | (Op::Softmax, Operation::Softmax) => Ok(()),
            (Op::Other(why), _) => Err(format!("{shown} {why}; the list has {wanted} in its place")),
            _ => Err(format!("{shown} where the list has {wanted}")),
        }
    }

    /// Whether the windows of a node, along rows and columns, are those of a layer. Where they are, but for how many there are, the
    /// list counts: converters do not keep Caffe's way to round, with which the weights were trained.
    fn compare_windows(
        &mut self,
        axes: [Axis; 2],
        own: Axis,
        averages: bool,
        index: usize,
        shown: &str,
    ) -> Result<(), String> {
        let wanted = self.layer(index);
        let input = self.shapes[self.layers[index].inputs[0]];
        let mut positions = [0; 2];
        for (axis, (node, size)) in axes.into_iter().zip([input.height, input.width]).enumerate() {
            for (what, got, want) in [
                ("kernel", node.kernel, own.kernel),
                ("stride", node.stride, own.stride),
                ("padding", node.before, own.before),
            ] {
                if got != want {
                    return Err(format!("{shown} has {what} {got}, {wanted} has {want}"));
                }
            }
            positions[axis] = node.positions(size);
            for at in 0..positions[axis].min(own.positions(size)) {
                let (mut got, mut want) = (node.span(at, size), own.span(at, size));
                if !averages {
                    (got.2, want.2) = (0, 0); // a maximum has no divisor
                }
                if got != want {
                    return Err(format!(
                        "{shown} sees at position {at} of {size} the values {}..{} and divides by {}, {wanted} {}..{} and {}",
                        got.0, got.1, got.2, want.0, want.1, want.2
                    ));
                }
            }
        }
        let output = self.shapes[index + 1];
        if positions != [output.height, output.width] {
            self.notes.push(format!(
                "{shown} rounds its number of windows otherwise than {wanted}: {}x{} where the list has {}x{}; the list counts",
                positions[0], positions[1], output.height, output.width
            ));
        }
        Ok(())
    }

    fn shown(&self, source: &Source) -> String {
        match source {
            Source::Node(node) => describe(&self.graph.nodes[*node]),
            Source::Input => "the network's input".to_string(),
            Source::Nothing(name) => format!("{:?}, which nothing in the file gives,", one_line(name)),
        }
    }

    fn layer(&self, index: usize) -> String {
        let layer = &self.layers[index];
        format!("layer {:?} ({})", layer.name, layer.operation.type_name())
    }
}

/// Whether an operation takes an image's values as one vector.
fn flattens(operation: Operation) -> bool {
    matches!(operation, Operation::Dense { .. } | Operation::Softmax)
}

fn describe(node: &Node) -> String {
    format!("node {:?} ({})", one_line(&node.name), one_line(&node.kind))
}

/// The windows of a pooling along rows or columns.
#[derive(Clone, Copy)]
struct Axis {
    kernel: usize,
    stride: usize,
    before: usize,
    after: usize,
    ceil: bool,
    padding_counts: bool,
}

impl Axis {
    fn of_node(window: &Window, axis: usize, extra: usize, padding_counts: bool) -> Axis {
        Axis {
            kernel: window.kernel[axis],
            stride: window.stride[axis],
            before: window.before[axis] + extra,
            after: window.after[axis] + extra,
            ceil: window.ceil,
            padding_counts,
        }
    }

    fn of_layer(window: crate::network::Window, padding_counts: bool) -> Axis {
        let crate::network::Window { kernel, stride, padding, rounding } = window;
        let ceil = rounding == Rounding::Ceil;
        Axis { kernel, stride, before: padding, after: padding, ceil, padding_counts }
    }

    /// How many windows there are over `size` values; one that would begin behind them and the padding before is none.
    fn positions(self, size: usize) -> usize {
        let Some(room) = (size + self.before + self.after).checked_sub(self.kernel) else { return 0 };
        let positions = if self.ceil { room.div_ceil(self.stride) } else { room / self.stride } + 1;
        if (positions - 1) * self.stride >= size + self.before { positions - 1 } else { positions }
    }

    /// First value, the one behind the last, and the divisor of the window at `at`.
    fn span(self, at: usize, size: usize) -> (usize, usize, usize) {
        let start = at * self.stride; // counted from the padding's first
        let end = (start + self.kernel).min(size + self.before + self.after);
        let (first, last) = (start.saturating_sub(self.before), end.saturating_sub(self.before).min(size));
        (first, last, if self.padding_counts { end - start } else { last.saturating_sub(first) })
    }
}

/// A parameter in the shape that a layer needs: dimensions of 1 may be there or not, as in Caffe's (1, 1, 500, 800) for a matrix.
pub fn fitted<'a>(tensor: &Tensor<'a>, shape: &[usize]) -> Option<Tensor<'a>> {
    let squeezed = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    if tensor.shape == shape {
        Some(tensor.clone())
    } else if squeezed(&tensor.shape) == squeezed(shape) {
        tensor.reshaped(shape)
    } else {
        None
    }
}
