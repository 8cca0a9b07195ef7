//! compile_cppn and render_cppn: the images of `Compiler` and `Renderer`, and of the literal reference.

#[path = "../reference/cppn.rs"]
mod reference;

use crate::harness::{self, passes};
use pareidolia::backend::cuda::compile_cppn::CppnPrograms;
use pareidolia::backend::cuda::params::CppnRules;
use pareidolia::error::Error;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::compile_cppn::{self, compile, compile_cppn};
use pareidolia::experiment::selftest::graphs::{drifted, late};
use pareidolia::experiment::selftest::render_cppn::{Drawing, canvas, compare, render_cppn};
use pareidolia::genome::cppn::{Graph, Rules};
use pareidolia::simd::Simd;

#[test]
fn compile_cppn_makes_the_programs_of_the_rule() {
    passes(|gpu, tally| compile_cppn(gpu, Extent::Full, tally));
}

#[test]
fn render_cppn_draws_the_images_of_the_cpu() {
    passes(|gpu, tally| render_cppn(gpu, Extent::Full, tally));
}

#[test]
fn programs_of_orphan_chains_take_many_passes() {
    let (header, ..) = compile(&Rules::modern(), &late(40, 19, 1));
    assert!(header.n_passes > 6, "{header:?}");
}

#[test]
fn render_cppn_draws_the_images_of_the_literal_reference() {
    let (mut n_cut_off, mut n_drawn) = (0, 0);
    for (canvas, n) in [(canvas(3, 5, 1), 600), (canvas(2, 4, 3), 300)] {
        for rules in [Rules::faithful(), Rules::modern()] {
            let mut graphs = drifted(&rules, canvas.channels, n);
            // Longest paths are found by plain recursion in the reference.
            graphs.retain(|graph| graph.n_nodes() <= 50);
            let drawing = Drawing { rules: rules.clone(), canvas, graphs };
            let programs = passes(|gpu, tally| {
                compare(gpu, tally, &drawing)?;
                compile_cppn::compare(gpu, tally, &rules, &drawing.graphs)
            });
            // What the CPU draws, with which the device's was compared, is what the reference draws (tests/cppn.rs); once more for
            // these.
            let images = drawing.on_host(Simd::detect());
            let images = images.chunks(canvas.len());
            for ((graph, program), image) in drawing.graphs.iter().zip(programs.unwrap_or_default()).zip(images) {
                let n_steps = reference::n_steps(graph);
                let outputs = 4..4 + graph.n_outputs;
                let cut_off = outputs.clone().any(|output| reference::settle(graph, output) > n_steps);
                assert_eq!(program.n_passes as usize, if cut_off { n_steps } else { 1 }, "{graph:?}");
                assert_eq!(program.from_zero == 1, cut_off, "{graph:?}");
                assert_eq!(program.n_instructions as usize, n_drawn_nodes(graph), "{graph:?}");
                let want =
                    reference::render(graph, rules.max_weight, rules.normalise, canvas, canvas.height, canvas.width);
                assert_eq!(want, image, "{graph:?}");
                n_cut_off += usize::from(cut_off && n_steps > 1);
                n_drawn += 1;
            }
        }
    }
    eprintln!("{n_drawn} drawn, {n_cut_off} cut off after more than a step");
    assert!(n_drawn == 0 || n_cut_off > 100);
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
