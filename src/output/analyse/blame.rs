//! Blame as a table and as a figure: a row an elite, its edges and nodes from the most to the least important.

use super::csv::{Csv, maybe};
use super::figure::{HEADER, HEADING, LABEL, MARGIN, NONE, SMALL, cell, key, page, right_aligned, thumbnail};
use crate::experiment::analyse::blame::{Blame, Element, EliteBlame, Worth};
use crate::experiment::analyse::runs::Runs;
use crate::output::{Image, confidence_text};

/// Elites that the figure shows, at most.
const SHOWN: usize = 40;

/// Lengths in pixels: of a picture, of a row, of a cell; cells in a line, and where edges and nodes begin.
const PICTURE: usize = 84;
const ROW: usize = 104;
const CELL: usize = 15;
const LINE: usize = 52;
const LABELS: usize = 330;

pub(super) fn csv(blame: &Blame) -> Csv {
    let mut csv = Csv::new("run,set,seed,class,name,element,what,weight,role,elite_confidence,confidence,lost,silent");
    for elite in &blame.elites {
        let place = &elite.place;
        for worth in &elite.elements {
            let element = match worth.element {
                Element::Edge(at) => format!("edge {at}"),
                Element::Node(node) => format!("node {node}"),
            };
            csv.row(&[
                place.run.to_string(),
                place.set.clone(),
                place.seed.to_string(),
                place.class.to_string(),
                place.name.clone(),
                element,
                worth.what.clone(),
                maybe(worth.weight),
                worth.role.clone().unwrap_or_default(),
                place.confidence.to_string(),
                worth.confidence.to_string(),
                worth.lost.to_string(),
                worth.silent.to_string(),
            ]);
        }
    }
    csv
}

pub(super) fn figure(blame: &Blame, runs: &Runs) -> Image {
    let shown = &blame.elites[..blame.elites.len().min(SHOWN)];
    let lines = |elite: &EliteBlame| {
        [true, false].map(|edges| elite.worst(edges).len().div_ceil(LINE).max(1)).iter().sum::<usize>()
    };
    let height_of = |elite: &EliteBlame| ROW.max(24 + lines(elite) * (CELL + 3) + 30);
    let left = MARGIN + PICTURE + 20 + LABELS;
    let width = left - MARGIN + LINE * CELL;
    let body: usize = shown.iter().map(height_of).sum();
    let mut subtitle = format!("{} elites, {} images drawn without a node or an edge", blame.elites.len(), blame.drawn);
    if shown.len() < blame.elites.len() {
        subtitle += &format!("  ·  the first {} are shown", shown.len());
    }
    let mut image = page(width, body + 70, "what each edge and node is worth", &subtitle);
    let mut top = MARGIN + HEADER;
    for elite in shown {
        let run = &runs.runs[elite.place.run];
        let niche = run.archive.classes.iter().position(|&class| class == elite.place.class).expect("its own run");
        thumbnail(&mut image, MARGIN, top, PICTURE, run.about.canvas, &run.archive.elites[niche].image);
        let x = (MARGIN + PICTURE + 20) as f32;
        let name = format!("{}   {}", elite.place.class_text(), confidence_text(elite.place.confidence));
        HEADING.draw(&mut image, x, top as f32 + 16.0, &HEADING.fit(&name, LABELS as f32 - 90.0));
        let words = format!("seed {}, {} hidden nodes", elite.place.seed, elite.hidden_nodes);
        SMALL.draw(&mut image, x, top as f32 + 38.0, &words);
        let words = format!("{} of {} edges silent, {} vital", elite.silent_edges, elite.edges, elite.vital_edges);
        SMALL.draw(&mut image, x, top as f32 + 58.0, &words);
        if let Some(worst) = elite.worst(true).first().filter(|worst| worst.lost > 0.0) {
            let words = format!("most: {}, {:.4}", worst.what, worst.lost);
            SMALL.draw(&mut image, x, top as f32 + 78.0, &words);
        }
        let mut y = top;
        for (edges, what) in [(true, "edges"), (false, "nodes")] {
            right_aligned(&mut image, LABEL, left as f32 - 12.0, y as f32 + 13.0, what);
            y += strip(&mut image, left, y, &elite.worst(edges), elite.place.confidence) + 8;
        }
        top += height_of(elite);
    }
    let words = "share of the confidence that is lost without it";
    key(&mut image, MARGIN, top + 14, ["0", "all"], words);
    let x = MARGIN + 300 + LABEL.width(words).ceil() as usize + 40;
    image.fill(x, top + 14, 22, 22, |_, _| NONE);
    LABEL.draw(&mut image, (x + 32) as f32, top as f32 + 31.0, "silent: no pixel changes");
    image
}

/// Draws cells of elements, most important first; returns their height.
fn strip(image: &mut Image, left: usize, top: usize, worths: &[&Worth], own: f32) -> usize {
    let share = |worth: &Worth| if own > 0.0 { (worth.lost / f64::from(own)).clamp(0.0, 1.0) } else { 0.0 };
    for (at, worth) in worths.iter().enumerate() {
        let place = [left + at % LINE * CELL, top + at / LINE * (CELL + 3)];
        cell(image, place, [CELL - 1, CELL], (!worth.silent).then(|| (share(worth), "")));
    }
    worths.len().div_ceil(LINE).max(1) * (CELL + 3)
}
