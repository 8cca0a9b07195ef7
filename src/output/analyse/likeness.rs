//! Likeness as a table, and as a figure: distances by kind, and elites of some classes of each run side by side (the paper's Figure 9).

use super::csv::Csv;
use super::figure::{BLUE, FAINT, HEADER, HEADING, LABEL, LIGHT, MARGIN, SMALL, page, right_aligned, thumbnail};
use crate::experiment::analyse::likeness::{Likeness, SetLikeness, Space};
use crate::experiment::analyse::runs::Runs;
use crate::experiment::statistics::Spread;
use crate::output::Image;
use crate::output::font::Style;

/// Classes and runs of which elites are shown, at most.
const CLASSES: usize = 10;
const RUNS: usize = 5;

/// Lengths in pixels: of a picture, of the labels of bars, of the bars, of a line of them, and the gaps.
const PICTURE: usize = 84;
const LABELS: usize = 300;
const BARS: usize = 520;
const BAR: usize = 32;
const GAP: usize = 16;

pub(super) fn csv(likeness: &Likeness) -> Csv {
    let mut csv = Csv::new("set,space,group,class,name,related_same_run,same_class_other_run");
    for set in &likeness.sets {
        for space in &set.spaces {
            for class in &space.classes {
                csv.row(&[
                    set.set.clone(),
                    space.space.clone(),
                    class.group.clone(),
                    class.class.to_string(),
                    class.name.clone(),
                    class.related_same_run.to_string(),
                    class.same_class_other_run.to_string(),
                ]);
            }
        }
    }
    csv
}

/// The kinds of pairs, with their distances.
fn kinds(space: &Space) -> Vec<(&'static str, &Spread)> {
    // Where no class is unrelated to another, all are in one group, and that says nothing of them.
    let [same, other] = match space.unrelated_same_run {
        Some(_) => ["related classes, same run", "related classes, two runs"],
        None => ["two classes, same run", "two classes, two runs"],
    };
    let mut kinds = vec![(same, &space.related_same_run)];
    kinds.extend(space.unrelated_same_run.as_ref().map(|spread| ("unrelated classes, same run", spread)));
    kinds.push(("same class, two runs", &space.same_class_other_run));
    kinds.push((other, &space.related_other_run));
    kinds
}

fn shown(set: &SetLikeness) -> Vec<u32> {
    set.groups.iter().flat_map(|group| group.classes.iter().copied()).take(CLASSES).collect()
}

fn height_of(set: &SetLikeness) -> usize {
    let bars: usize = set.spaces.iter().map(|space| 40 + kinds(space).len() * BAR + 34).sum();
    34 + bars + 40 + set.runs.len().min(RUNS) * (PICTURE + GAP) + 50
}

pub(super) fn figure(likeness: &Likeness, runs: &Runs) -> Image {
    let width = (LABELS + BARS + 80).max(120 + CLASSES * (PICTURE + GAP));
    let body = likeness.sets.iter().map(height_of).sum();
    let subtitle = format!("mean distances, with the middle half of them  ·  {} permutations", likeness.permutations);
    let mut image = page(width, body, "how alike elites are", &subtitle);
    let mut top = MARGIN + HEADER;
    for set in &likeness.sets {
        let words = format!("{}: {} runs, {}", set.set, set.runs.len(), set.grouping);
        HEADING.draw(&mut image, MARGIN as f32, top as f32 + 16.0, &HEADING.fit(&words, width as f32));
        let mut y = top + 34;
        for space in &set.spaces {
            LABEL.draw(&mut image, MARGIN as f32, y as f32 + 18.0, &format!("{}: {}", space.space, space.of));
            y += 40;
            let kinds = kinds(space);
            let most = kinds.iter().map(|(_, spread)| spread.upper_quartile.max(spread.mean)).fold(1e-12, f64::max);
            let place = |value: f64| MARGIN + LABELS + (value / most * BARS as f64) as usize;
            for (at, (name, spread)) in kinds.into_iter().enumerate() {
                let middle = y + at * BAR + BAR / 2;
                right_aligned(&mut image, LABEL, (MARGIN + LABELS - 12) as f32, middle as f32 + 6.0, name);
                let end = place(spread.mean);
                let colour = if at == 0 { BLUE } else { LIGHT };
                image.fill(MARGIN + LABELS, middle - 10, end - MARGIN - LABELS, 20, |_, _| colour);
                let (first, last) = (place(spread.lower_quartile), place(spread.upper_quartile));
                image.fill(first, middle - 1, last - first + 1, 3, |_, _| FAINT);
                let text = format!("{:.4}", spread.mean);
                LABEL.draw(&mut image, (end.max(last) + 10) as f32, middle as f32 + 6.0, &text);
            }
            y += 34 + BAR * self::kinds(space).len();
            let p = |test: &crate::experiment::statistics::Permutation| format!("p {:.4}", test.p);
            let mut words = Vec::new();
            words.extend(space.related.as_ref().map(|test| format!("related below unrelated: {}", p(test))));
            words.push(format!("same run below two runs: {}", p(&space.same_run)));
            words.push(format!("related in a run below same class over runs: {}", p(&space.within_or_over)));
            let small = Style { colour: FAINT, ..SMALL };
            small.draw(&mut image, MARGIN as f32, y as f32 - 14.0, &words.join("   ·   "));
        }
        y += 14;
        let classes = shown(set);
        LABEL.draw(&mut image, MARGIN as f32, y as f32 + 12.0, "elites: a row a run, a column a class");
        y += 26;
        for &number in set.runs.iter().take(RUNS) {
            let run = &runs.runs[number];
            let seed = format!("seed {}", run.manifest.seed);
            LABEL.draw(&mut image, MARGIN as f32, (y + PICTURE / 2) as f32 + 6.0, &LABEL.fit(&seed, 104.0));
            for (column, class) in classes.iter().enumerate() {
                let niche = run.archive.classes.binary_search(class).expect("all runs of the set have it");
                let left = MARGIN + 120 + column * (PICTURE + GAP);
                thumbnail(&mut image, left, y, PICTURE, run.about.canvas, &run.archive.elites[niche].image);
            }
            y += PICTURE + GAP;
        }
        for (column, class) in classes.iter().enumerate() {
            let name = &runs.runs[set.runs[0]].about.class_names[*class as usize];
            let number = class.to_string();
            let text = if number == *name { number } else { format!("{number} {name}") };
            let left = MARGIN + 120 + column * (PICTURE + GAP);
            SMALL.draw(&mut image, left as f32, y as f32 + 4.0, &SMALL.fit(&text, (PICTURE + GAP - 6) as f32));
        }
        top += height_of(set);
    }
    image
}
