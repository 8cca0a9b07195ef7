//! Genomes in JSON. What is accepted is written and read back the same, bit for bit; what is small is drawn and written in every other form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia::genome::exchange::{Specimen, dot, glsl, json, python, svg};
use pareidolia::simd::Simd;
use pareidolia_fuzz::memory::limits;

fuzz_target!(|text: &[u8]| {
    let specimen = match limits::GENOME.hold(text.len(), || json::parse(text)) {
        Ok(specimen) => specimen,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    let written = json::text(&specimen).unwrap();
    let again = json::parse(written.as_bytes()).unwrap();
    assert!(again == specimen && json::text(&again).unwrap() == written);
    assert_eq!(json::parse(json::line(&specimen).unwrap().as_bytes()).unwrap(), specimen);
    let Specimen { canvas, genome, .. } = &specimen;
    let others = [dot::text, svg::text, glsl::text, python::text].map(|write| write(&specimen));
    match genome.graph() {
        None => assert!(others.iter().all(Result::is_err)),
        Some(graph) if graph.n_nodes() < 100 && graph.edges.len() < 200 => {
            assert!(others.iter().all(Result::is_ok));
        }
        Some(_) => return,
    }
    if canvas.len() <= 1 << 12 {
        assert_eq!(specimen.image(Simd::Plain).len(), canvas.len());
    }
});
