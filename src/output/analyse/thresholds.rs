//! How far runs came, as a table and as the map of classes by runs (the paper's Figures 6 and 7).

use super::csv::{Csv, maybe};
use super::figure::{HEADER, HEADING, LABEL, MARGIN, SMALL, cell, key, legend, page, right_aligned};
use crate::experiment::analyse::thresholds::{ClassRow, Thresholds};
use crate::output::{Image, confidence_text};

/// Classes of which each has a row of its own with its name and numbers.
const NAMED: usize = 60;
/// Height of a page of more classes, at least, in pixels.
const MAP_HEIGHT: usize = 1000;

pub(super) fn csv(thresholds: &Thresholds) -> Csv {
    let mut csv = Csv::new("run,set,seed,class,name,confidence");
    for row in &thresholds.map {
        for (run, confidence) in thresholds.runs.iter().zip(&row.confidences) {
            csv.row(&[
                run.run.to_string(),
                run.set.clone(),
                run.seed.to_string(),
                row.class.to_string(),
                row.name.clone(),
                maybe(*confidence),
            ]);
        }
    }
    csv
}

pub(super) fn figure(thresholds: &Thresholds) -> Image {
    // Runs of a set stand together.
    let columns: Vec<Vec<usize>> = thresholds
        .sets
        .iter()
        .map(|set| thresholds.runs.iter().filter(|run| run.set == set.set).map(|run| run.run).collect())
        .collect();
    let n_runs = thresholds.runs.len();
    let n_classes = thresholds.map.len();
    let is_named = n_classes <= NAMED;
    let cell_height = if is_named { 30 } else { MAP_HEIGHT.div_ceil(n_classes) };
    let cell_width = match n_runs {
        ..=12 => 78,
        13..=40 => 30,
        _ => (1200 / n_runs).max(4),
    };
    let label = |row: &ClassRow| {
        let number = row.class.to_string();
        if number == row.name { number } else { format!("{number} {}", row.name) }
    };
    let labels = thresholds.map.iter().map(label);
    let label_width =
        if is_named { labels.map(|text| LABEL.width(&text)).fold(40.0, f32::max).min(260.0) as usize } else { 60 };
    let (left, gap) = (MARGIN + label_width + 14, 18);
    let grid = n_runs * cell_width + (columns.len() - 1) * gap;
    let entries: Vec<String> = thresholds
        .sets
        .iter()
        .enumerate()
        .map(|(at, set)| {
            format!(
                "{}  {}: {} {}, median over classes {}",
                letter(at),
                set.set,
                set.runs,
                if set.runs == 1 { "run" } else { "runs" },
                confidence_text(crate::output::contact_sheet::round_down(set.class_medians.median))
            )
        })
        .collect();
    let widest = entries.iter().map(|entry| LABEL.width(entry)).fold(0.0, f32::max).ceil() as usize;
    let body = n_classes * cell_height;
    let width = (left - MARGIN + grid).max(widest).max(560);
    let subtitle = format!("{n_classes} classes  ·  {n_runs} runs");
    let mut image = page(width, 44 + body + 30 + 40 + entries.len() * 24, "confidence by class and run", &subtitle);

    let top = MARGIN + HEADER + 44;
    let mut x = left;
    for (set, runs) in columns.iter().enumerate() {
        HEADING.draw(&mut image, x as f32, top as f32 - 30.0, &letter(set));
        for (at, &run) in runs.iter().enumerate() {
            if n_runs <= 40 {
                let seed = thresholds.runs[run].seed.to_string();
                let centre = x as f32 + cell_width as f32 / 2.0;
                SMALL.draw(&mut image, centre - SMALL.width(&seed) / 2.0, top as f32 - 8.0, &seed);
            }
            for (row, class) in thresholds.map.iter().enumerate() {
                let text = class.confidences[run].map(confidence_text);
                let value = class.confidences[run].zip(text.as_deref()).map(|(value, text)| (f64::from(value), text));
                cell(&mut image, [x, top + row * cell_height], [cell_width, cell_height], value);
            }
            x += cell_width;
            if at + 1 == runs.len() {
                x += gap;
            }
        }
    }
    let every = if is_named { 1 } else { 100_usize.max(n_classes / 20) };
    for (row, class) in thresholds.map.iter().enumerate().filter(|(row, _)| row % every == 0) {
        let text = if is_named { LABEL.fit(&label(class), label_width as f32) } else { class.class.to_string() };
        let middle = (top + row * cell_height) as f32 + if is_named { cell_height as f32 / 2.0 } else { 6.0 };
        right_aligned(&mut image, LABEL, left as f32 - 12.0, middle + 0.36 * LABEL.size, &text);
    }
    let below = top + body + 18;
    key(&mut image, MARGIN, below, ["0", "1"], "confidence    columns: runs, by seed");
    legend(&mut image, MARGIN, below + 36, &entries);
    image
}

/// What a set is called in the map.
fn letter(set: usize) -> String {
    if set < 26 { char::from(b'A' + set as u8).to_string() } else { (set + 1).to_string() }
}
