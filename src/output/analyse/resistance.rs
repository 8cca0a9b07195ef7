//! Resistance as a table, and as a figure: of few classes what they are taken for; of many confidence by class, and by what their group takes.

use super::csv::{Csv, maybe};
use super::figure::{
    BLUE, FAINT, FRAME, HEADER, HEADING, LABEL, LIGHT, MARGIN, ORANGE, SMALL, cell, key, page, right_aligned,
};
use crate::experiment::analyse::resistance::{ClassResistance, Resistance, SetResistance};
use crate::output::font::Colour;
use crate::output::{Image, confidence_text};

/// Lengths in pixels: of a cell of the map, of plots.
const CELL: [usize; 2] = [54, 28];
const WIDTH: usize = 1000;
const HEIGHT: usize = 260;
const LEFT: usize = 60;

pub(super) fn csv(resistance: &Resistance) -> Csv {
    let mut csv = Csv::new(
        "set,class,name,group,runs,leads,confidence,runner_up,runner_up_name,runner_up_probability,group_mass,group_share_of_rest,\
         runner_up_in_group",
    );
    for set in &resistance.sets {
        for class in &set.classes {
            csv.row(&[
                set.set.clone(),
                class.class.to_string(),
                class.name.clone(),
                class.group.clone().unwrap_or_default(),
                class.runs.to_string(),
                class.leads.to_string(),
                class.confidence.to_string(),
                class.runner_up.to_string(),
                class.runner_up_name.clone(),
                class.runner_up_probability.to_string(),
                maybe(class.group_mass),
                maybe(class.group_share_of_rest),
                maybe(class.runner_up_in_group),
            ]);
        }
    }
    csv
}

fn has_map(set: &SetResistance) -> bool {
    !set.confusions.is_empty()
}

fn height_of(set: &SetResistance) -> usize {
    let plots = if set.groups.is_empty() { 1 } else { 2 };
    40 + if has_map(set) { 60 + set.classes.len() * CELL[1] } else { plots * (HEIGHT + 84) } + 40
}

pub(super) fn figure(resistance: &Resistance) -> Image {
    let map_width = |set: &SetResistance| if has_map(set) { 300 + set.classes.len() * CELL[0] } else { LEFT + WIDTH };
    let width = resistance.sets.iter().map(map_width).max().unwrap_or(0).max(LEFT + WIDTH);
    let body: usize = resistance.sets.iter().map(height_of).sum();
    let mut image = page(
        width,
        body + 40,
        "what resists, and what elites are taken for",
        "probabilities as the archives have recorded them",
    );
    let mut top = MARGIN + HEADER;
    for set in &resistance.sets {
        let words = format!("{}: {} runs", set.set, set.runs);
        HEADING.draw(&mut image, MARGIN as f32, top as f32 + 16.0, &HEADING.fit(&words, width as f32));
        if has_map(set) {
            map(&mut image, top + 40, set);
        } else {
            plots(&mut image, top + 40, set);
        }
        top += height_of(set);
    }
    if resistance.sets.iter().any(has_map) {
        key(
            &mut image,
            MARGIN,
            top + 6,
            ["0", "1"],
            "of what is not given to the class, the share of each other class",
        );
    }
    image
}

fn map(image: &mut Image, top: usize, set: &SetResistance) {
    let left = MARGIN + 270;
    let label = |class: &ClassResistance| {
        let number = class.class.to_string();
        if number == class.name { number } else { format!("{number} {}", class.name) }
    };
    SMALL.draw(image, MARGIN as f32, top as f32 + 30.0, "elite of class, its median confidence");
    SMALL.draw(image, left as f32, top as f32 + 4.0, "taken for");
    for (row, class) in set.classes.iter().enumerate() {
        let y = top + 40 + row * CELL[1];
        let baseline = y as f32 + 20.0;
        LABEL.draw(image, MARGIN as f32, baseline, &LABEL.fit(&label(class), 160.0));
        let confidence = confidence_text(class.confidence as f32);
        right_aligned(image, LABEL, left as f32 - 14.0, baseline, &confidence);
        for (column, share) in set.confusions[row].iter().enumerate() {
            let text = format!("{:.2}", share);
            let value = (column != row).then_some((*share, &text[..]));
            cell(image, [left + column * CELL[0], y], CELL, value);
        }
        let number = class.class.to_string();
        let centre = (left + row * CELL[0] + CELL[0] / 2) as f32;
        LABEL.draw(image, centre - LABEL.width(&number) / 2.0, top as f32 + 30.0, &number);
    }
}

fn plots(image: &mut Image, top: usize, set: &SetResistance) {
    let colour = |class: &ClassResistance| if class.group.is_some() { ORANGE } else { LIGHT };
    let most = set.classes.iter().map(|class| class.class).max().unwrap_or(0).max(1);
    let points =
        set.classes.iter().map(|class| (f64::from(class.class) / f64::from(most), class.confidence, colour(class)));
    // A round number of which there are ten at most.
    let mut steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
    let step = steps.find(|step| most as usize / step <= 10).expect("most has 32 bits");
    let ticks: Vec<(f64, String)> =
        (0..=most).step_by(step).map(|n| (f64::from(n) / f64::from(most), n.to_string())).collect();
    let heading = "median confidence by class; orange: in a group";
    // Those of groups last, on top.
    let mut points: Vec<(f64, f64, Colour)> = points.collect();
    points.sort_by_key(|&(_, _, colour)| colour == ORANGE);
    scatter(image, top, heading, &points, &ticks);
    if set.groups.is_empty() {
        return;
    }
    let grouped = set.classes.iter().filter_map(|class| Some((class.group_share_of_rest?, class.confidence, BLUE)));
    let points: Vec<(f64, f64, Colour)> = grouped.collect();
    let ticks: Vec<(f64, String)> =
        (0..=10).map(|n| (f64::from(n) / 10.0, format!("{:.1}", f64::from(n) / 10.0))).collect();
    let heading = "median confidence by the share that the own group takes of the rest";
    scatter(image, top + HEIGHT + 84, heading, &points, &ticks);
}

/// Points of [0, 1] x [0, 1].
fn scatter(image: &mut Image, top: usize, heading: &str, points: &[(f64, f64, Colour)], ticks: &[(f64, String)]) {
    const DOT: usize = 5;
    let (left, top) = (MARGIN + LEFT, top + 34);
    LABEL.draw(image, MARGIN as f32, top as f32 - 14.0, heading);
    for tick in 0..=4 {
        let y = top + HEIGHT - tick * HEIGHT / 4;
        image.fill(left, y, WIDTH, 1, |_, _| FRAME);
        right_aligned(image, SMALL, left as f32 - 10.0, y as f32 + 5.0, &format!("{:.2}", tick as f64 / 4.0));
    }
    image.fill(left, top, 1, HEIGHT, |_, _| FAINT);
    for (x, text) in ticks {
        let x = left as f32 + *x as f32 * WIDTH as f32;
        SMALL.draw(image, x - SMALL.width(text) / 2.0, (top + HEIGHT + 20) as f32, text);
    }
    for &(x, y, colour) in points {
        let x = left + (x.clamp(0.0, 1.0) * (WIDTH - DOT) as f64) as usize;
        let y = top + ((1.0 - y.clamp(0.0, 1.0)) * (HEIGHT - DOT) as f64) as usize;
        image.fill(x, y, DOT, DOT, |_, _| colour);
    }
}
