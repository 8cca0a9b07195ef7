//! compile_cppn and render_cppn: the images of `Compiler` and `Renderer`, and of the literal reference.

#[path = "../reference/cppn.rs"]
mod reference;

use crate::grown::{chain, grown, shuffled};
use crate::{harness, slots};
use pareidolia::backend::cuda::compile_cppn::CppnPrograms;
use pareidolia::backend::cuda::params::{CppnProgram, CppnRules};
use pareidolia::backend::cuda::render_cppn::upload_planes;
use pareidolia::error::Error;
use pareidolia::genome::Canvas;
use pareidolia::genome::cppn::{Activation, Compiler, Edge, Graph, InputPlanes, Renderer, Rules};
use pareidolia::simd::Simd;

use Activation::{Gaussian, Linear, Sigmoid, Sine};

/// Draws `graphs` on the device, and compares each image with the CPU's. Returns the programs' headers.
fn compare(rules: &Rules, canvas: Canvas, graphs: &[Graph]) -> Vec<CppnProgram> {
    let Some(launcher) = harness::launcher() else { return Vec::new() };
    let planes = InputPlanes::new(canvas, rules.normalise);
    let (mut compiler, mut renderer) = (Compiler::default(), Renderer::default());
    let draw = |graph| {
        let mut image = vec![0; canvas.len()];
        renderer.render(Simd::detect(), &planes, compiler.compile(Simd::detect(), graph, rules.max_weight), &mut image);
        image
    };
    let want: Vec<Vec<u8>> = graphs.iter().map(draw).collect();

    let crossing = CppnRules::new(rules, canvas.channels);
    let genomes: Vec<Option<Graph>> = graphs.iter().cloned().map(Some).collect();
    let genomes = slots::upload(launcher, &crossing, &genomes);
    let mut programs = CppnPrograms::new(launcher, &crossing, graphs.len() + 1).unwrap();
    let guard = CppnProgram { n_instructions: 7, n_terms: 7, n_passes: 7, from_zero: 7, outputs: [7; 3] };
    launcher.upload_part(&mut programs.headers, graphs.len(), &[guard]).unwrap();
    let len = graphs.len() * canvas.len();
    let mut images = launcher.upload(&vec![0xa5_u8; len + harness::GUARDS]).unwrap();
    let on_device = upload_planes(launcher, &planes).unwrap();
    launcher.compile_cppn(&mut programs, &genomes, &crossing, graphs.len() as u32).unwrap();
    launcher.render_cppn(&mut images, &programs, &on_device, &crossing, graphs.len() as u32).unwrap();
    let got = harness::unguarded(launcher.download(&images).unwrap(), len, 0xa5);
    for ((graph, want), got) in graphs.iter().zip(&want).zip(got.chunks(canvas.len())) {
        assert_eq!(want, got, "{canvas:?} {graph:?}");
    }
    harness::unguarded(launcher.download(&programs.headers).unwrap(), graphs.len(), guard)
}

const fn canvas(height: usize, width: usize, channels: usize) -> Canvas {
    Canvas { height, width, channels }
}

/// Genomes of all ages.
fn drifted(rules: &Rules, n_outputs: usize, n: u32) -> Vec<Graph> {
    (0..n).map(|candidate| grown(rules, n_outputs, candidate, candidate * 7 % 101)).collect()
}

#[test]
fn render_cppn_draws_the_images_of_the_cpu() {
    // Round a row of 32 pixels and a warp's five, and the 800 of a block.
    let grey =
        [(1, 1), (5, 3), (1, 31), (4, 8), (3, 11), (1, 159), (10, 16), (7, 23), (28, 28), (31, 28), (25, 32), (3, 267)];
    let colour = [(1, 1), (2, 5), (9, 7), (31, 17)];
    for rules in [Rules::faithful(), Rules::modern()] {
        for (height, width) in grey {
            compare(&rules, canvas(height, width, 1), &drifted(&rules, 1, 60));
        }
        for (height, width) in colour {
            compare(&rules, canvas(height, width, 3), &drifted(&rules, 3, 60));
        }
    }
    compare(&Rules::faithful(), canvas(28, 28, 1), &[]);
}

#[test]
fn render_cppn_draws_the_images_of_the_literal_reference() {
    let (mut n_cut_off, mut n_drawn) = (0, 0);
    for (canvas, n) in [(canvas(3, 5, 1), 600), (canvas(2, 4, 3), 300)] {
        for rules in [Rules::faithful(), Rules::modern()] {
            let mut graphs = drifted(&rules, canvas.channels, n);
            // Longest paths are found by plain recursion in the reference.
            graphs.retain(|graph| graph.n_nodes() <= 50);
            // What the CPU draws, of which `compare` makes sure, is what the reference draws (tests/cppn.rs); once more for
            // these.
            for (graph, program) in graphs.iter().zip(compare(&rules, canvas, &graphs)) {
                let n_steps = reference::n_steps(graph);
                let outputs = 4..4 + graph.n_outputs;
                let cut_off = outputs.clone().any(|output| reference::settle(graph, output) > n_steps);
                assert_eq!(program.n_passes as usize, if cut_off { n_steps } else { 1 }, "{graph:?}");
                assert_eq!(program.from_zero == 1, cut_off, "{graph:?}");
                assert_eq!(program.n_instructions as usize, n_drawn_nodes(graph), "{graph:?}");
                let want =
                    reference::render(graph, rules.max_weight, rules.normalise, canvas, canvas.height, canvas.width);
                assert_eq!(want, on_cpu(&rules, canvas, graph), "{graph:?}");
                n_cut_off += usize::from(cut_off && n_steps > 1);
                n_drawn += 1;
            }
        }
    }
    eprintln!("{n_drawn} drawn, {n_cut_off} cut off after more than a step");
    assert!(n_drawn == 0 || n_cut_off > 100);
}

fn on_cpu(rules: &Rules, canvas: Canvas, graph: &Graph) -> Vec<u8> {
    let mut image = vec![0; canvas.len()];
    let planes = InputPlanes::new(canvas, rules.normalise);
    Renderer::default().render(
        Simd::detect(),
        &planes,
        Compiler::default().compile(Simd::detect(), graph, rules.max_weight),
        &mut image,
    );
    image
}

/// Nodes that an output depends on, inputs left out.
fn n_drawn_nodes(graph: &Graph) -> usize {
    let mut drawn: Vec<bool> = (0..graph.n_nodes()).map(|node| (4..graph.first_hidden()).contains(&node)).collect();
    for _ in 0..graph.n_nodes() {
        for edge in &graph.edges {
            drawn[usize::from(edge.source)] |= drawn[usize::from(edge.target)];
        }
    }
    drawn[4..].iter().filter(|&&drawn| drawn).count()
}

fn edge(source: u16, target: u16, gene: f32) -> Edge {
    Edge { source, target, gene }
}

/// A grey genome of which only the output and the hidden nodes matter.
fn grey(activations: &[Activation], edges: &[Edge]) -> Graph {
    Graph { n_outputs: 1, activations: [&[Linear; 4], activations].concat(), edges: edges.to_vec() }
}

#[test]
fn render_cppn_draws_what_is_cut_off_doubled_or_dead() {
    let every = [Sine, Sigmoid, Gaussian, Linear];
    let mut graphs = Vec::new();
    for activation in every {
        graphs.push(grey(&[activation], &[]));
        for input in 0..4 {
            // The same edge twice, and once more with another weight.
            graphs.push(grey(&[activation], &[edge(input, 4, 0.51), edge(input, 4, 0.51), edge(input, 4, 0.484)]));
        }
        for gene in [0.0, 0.5, 1.0] {
            graphs.push(grey(&[activation], &[edge(0, 4, gene), edge(2, 4, 1.0 - gene)]));
        }
        // A dead end, and an orphan that no output sees.
        graphs.push(grey(&[activation, Sine, Gaussian], &[edge(0, 5, 0.6), edge(1, 4, 0.53), edge(6, 5, 0.9)]));
        // Orphans one, two and three nodes long, against paths of inputs of zero to three edges.
        for orphans in 1..=3u16 {
            for path in 0..=3u16 {
                let mut edges: Vec<Edge> = (0..orphans - 1).map(|i| edge(5 + i, 6 + i, 0.9)).collect();
                edges.push(edge(4 + orphans, 4, 0.56));
                if path > 0 {
                    let nodes: Vec<u16> = [0].into_iter().chain(8..7 + path).chain([4]).collect();
                    edges.extend(nodes.windows(2).map(|pair| edge(pair[0], pair[1], 0.52)));
                }
                let hidden = [Gaussian, activation, Sigmoid, Sine, Linear, Gaussian];
                graphs.push(grey(&[&[activation], &hidden[..]].concat(), &edges));
            }
        }
    }
    let shuffles: Vec<Graph> = graphs.iter().map(|graph| shuffled(graph, 4)).collect();
    for rules in [Rules::faithful(), Rules::modern()] {
        for graphs in [&graphs, &shuffles] {
            compare(&rules, canvas(7, 9, 1), graphs);
        }
    }
}

/// A chain of `orphans` nodes that no input feeds into the end of one that input 0 feeds; every node has `n_more` edges of
/// others before it.
fn late(orphans: u16, fed: u16, n_more: u16) -> Graph {
    let n_hidden = orphans + fed;
    let fed_first = 5 + orphans;
    let mut edges: Vec<Edge> = (5..4 + orphans).map(|i| edge(i, i + 1, 0.55)).collect();
    edges.extend((fed_first..fed_first + fed - 1).map(|i| edge(i, i + 1, 0.47)));
    edges.extend([edge(0, fed_first, 0.51), edge(4 + orphans, 4, 0.56), edge(fed_first + fed - 1, 4, 0.5)]);
    for more in 1..=n_more {
        let far = |i: u16| i + 2 + more * 3;
        edges.extend((5..5 + n_hidden).filter(|&i| far(i) < 5 + orphans).map(|i| edge(i, far(i), 0.52)));
    }
    let activations: Vec<Activation> = (0..=n_hidden).map(|i| Activation::ALL[usize::from(i * 7 % 11 % 4)]).collect();
    grey(&activations, &edges)
}

#[test]
fn render_cppn_draws_orphan_chains_cut_off_at_every_step() {
    let mut graphs = Vec::new();
    for orphans in [1, 2, 5, 6, 7, 20, 40] {
        for fed in [1, 2, 4, 5, 6, 19] {
            for more in [0, 1, 3] {
                let graph = late(orphans, fed, more);
                graphs.push(shuffled(&graph, 1));
                graphs.push(graph);
            }
        }
    }
    let programs = compare(&Rules::modern(), canvas(3, 13, 1), &graphs);
    assert!(programs.is_empty() || programs.iter().any(|program| program.n_passes > 6));
}

#[test]
fn render_cppn_draws_chains_of_any_length_up_to_capacity() {
    // Round the lengths at which a block's shared memory holds one row or warp less, and one where rows go one by one.
    let lengths = (0..=24).chain([33, 34, 35, 47, 65, 66, 67, 68, 69, 70, 71, 86, 110, 170, 250, 251]);
    let chains: Vec<Graph> = lengths.map(|n| chain(n, 1)).collect();
    compare(&Rules::faithful(), canvas(28, 28, 1), &chains);
    let shuffles: Vec<Graph> = chains.iter().map(|graph| shuffled(graph, 2)).collect();
    compare(&Rules::modern(), canvas(28, 28, 1), &shuffles);
    let colour: Vec<Graph> = [0, 1, 12, 13, 249].map(|n| chain(n, 3)).into();
    compare(&Rules::modern(), canvas(20, 20, 3), &colour);
}

#[test]
fn render_cppn_draws_a_colour_image_of_256_by_256() {
    let rules = Rules::faithful();
    compare(&rules, canvas(256, 256, 3), &[grown(&rules, 3, 4, 40), grown(&rules, 3, 5, 25)]);
}

#[test]
fn render_cppn_takes_more_shared_memory_where_capacity_asks_for_it() {
    // 48 KiB are a kernel's without asking.
    let rules = Rules { max_nodes: 700, max_edges: 1500, ..Rules::faithful() };
    let graphs: Vec<Graph> = [chain(10, 1), chain(694, 1), chain(300, 1), late(300, 20, 2)].into();
    compare(&rules, canvas(6, 7, 1), &graphs);
}

#[test]
fn genomes_too_large_for_shared_memory_are_refused_by_their_keys() {
    let Some(launcher) = harness::launcher() else { return };
    let rules = CppnRules::new(&Rules { max_nodes: 4096, max_edges: 8192, ..Rules::faithful() }, 1);
    let reason = match CppnPrograms::new(launcher, &rules, 1) {
        Err(Error::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("cppn.max_nodes = 4096") && reason.contains("cppn.max_edges = 8192"), "{reason}");
    assert!(!reason.contains('\n'), "{reason}");
}
