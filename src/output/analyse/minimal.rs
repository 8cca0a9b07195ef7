//! Minimal genomes as a table, as text with their formulas, and as a figure: each beside its elite.

use super::csv::{Csv, maybe};
use super::figure::{FAINT, HEADER, HEADING, MARGIN, SMALL, page, thumbnail};
use crate::experiment::analyse::minimal::{EliteMinimal, FORMULA_KEY, Minimal};
use crate::experiment::analyse::runs::Runs;
use crate::output::font::Style;
use crate::output::{Image, confidence_text};
use std::fmt::Write;

/// Elites that the figure shows, at most; in a row.
const SHOWN: usize = 60;
const COLUMNS: usize = 5;

/// Lengths in pixels: of a picture, of the gap between two, of what stands below, of a cell.
const PICTURE: usize = 140;
const GAP: usize = 22;
const CAPTION: usize = 68;
const CELL: [usize; 2] = [2 * PICTURE + GAP + 32, PICTURE + CAPTION + 24];

pub(super) fn csv(minimal: &Minimal) -> Csv {
    let mut csv = Csv::new(
        "run,set,seed,class,name,confidence,must_keep,minimal_confidence,hidden_nodes,edges,connected_hidden_nodes,connected_edges,\
         minimal_hidden_nodes,minimal_edges,found_by,greedy_edges",
    );
    for elite in &minimal.elites {
        let place = &elite.place;
        csv.row(&[
            place.run.to_string(),
            place.set.clone(),
            place.seed.to_string(),
            place.class.to_string(),
            place.name.clone(),
            place.confidence.to_string(),
            maybe(elite.must_keep),
            elite.minimal_confidence.to_string(),
            elite.before.hidden_nodes.to_string(),
            elite.before.edges.to_string(),
            elite.connected.hidden_nodes.to_string(),
            elite.connected.edges.to_string(),
            elite.after.hidden_nodes.to_string(),
            elite.after.edges.to_string(),
            elite.found_by.clone(),
            elite.greedy_edges.to_string(),
        ]);
    }
    csv
}

/// The formulas.
pub(super) fn text(minimal: &Minimal) -> String {
    let mut text = format!("{FORMULA_KEY}\n");
    for elite in &minimal.elites {
        let EliteMinimal { place, before, after, minimal_confidence, formula, .. } = elite;
        writeln!(
            text,
            "# {}, seed {}, class {}: {} of {} edges, {} of {} hidden nodes, confidence {} ({})",
            place.set,
            place.seed,
            place.class_text(),
            after.edges,
            before.edges,
            after.hidden_nodes,
            before.hidden_nodes,
            confidence_text(*minimal_confidence),
            confidence_text(place.confidence),
        )
        .expect("a string");
        writeln!(text, "{}\n", formula.join("\n")).expect("a string");
    }
    text
}

pub(super) fn figure(minimal: &Minimal, runs: &Runs) -> Image {
    let shown = &minimal.elites[..minimal.elites.len().min(SHOWN)];
    let columns = COLUMNS.min(shown.len().max(1));
    let mut subtitle = format!("elite and smallest genome that keeps {}", minimal.goal);
    if shown.len() < minimal.elites.len() {
        subtitle += &format!("  ·  the first {} of {}", shown.len(), minimal.elites.len());
    }
    let height = shown.len().div_ceil(columns) * CELL[1];
    let mut image = page(columns * CELL[0] - 32, height, "minimal genomes", &subtitle);
    for (at, elite) in shown.iter().enumerate() {
        let (left, top) = (MARGIN + at % columns * CELL[0], MARGIN + HEADER + at / columns * CELL[1]);
        let run = &runs.runs[elite.place.run];
        let niche = run.archive.classes.binary_search(&elite.place.class).expect("its own run");
        thumbnail(&mut image, left, top, PICTURE, run.about.canvas, &run.archive.elites[niche].image);
        thumbnail(&mut image, left + PICTURE + GAP, top, PICTURE, run.about.canvas, &elite.image);
        let bottom = (top + PICTURE) as f32;
        let width = (2 * PICTURE + GAP) as f32;
        let words = format!("{}, seed {}", elite.place.class_text(), elite.place.seed);
        HEADING.draw(&mut image, left as f32, bottom + 24.0, &HEADING.fit(&words, width));
        let small = Style { colour: FAINT, ..SMALL };
        let columns = [
            (
                left,
                format!("{} edges, {} hidden", elite.before.edges, elite.before.hidden_nodes),
                elite.place.confidence,
            ),
            (
                left + PICTURE + GAP,
                format!("{} edges, {} hidden", elite.after.edges, elite.after.hidden_nodes),
                elite.minimal_confidence,
            ),
        ];
        for (x, words, confidence) in columns {
            small.draw(&mut image, x as f32, bottom + 44.0, &words);
            small.draw(&mut image, x as f32, bottom + 62.0, &confidence_text(confidence));
        }
    }
    image
}
