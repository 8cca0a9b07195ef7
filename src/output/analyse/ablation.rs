//! Ablations as a table, and as a figure: each elite with its repeats framed, with one left, with none, its curve and its occlusion map.

use super::csv::Csv;
use super::figure::{BLUE, FRAME, HEADER, HEADING, MARGIN, ORANGE, SMALL, key, page, right_aligned, thumbnail};
use crate::experiment::analyse::ablation::{Ablation, EliteAblation};
use crate::experiment::analyse::runs::Runs;
use crate::genome::Canvas;
use crate::output::transfer::colour;
use crate::output::{Image, confidence_text};

/// Elites that the figure shows, at most.
const SHOWN: usize = 40;

/// Lengths in pixels: of a picture, of a row, of the labels, of the curve.
const PICTURE: usize = 112;
const ROW: usize = PICTURE + 24;
const LABELS: usize = 250;
const CURVE: usize = 240;

pub(super) fn csv(ablation: &Ablation) -> Csv {
    let mut csv = Csv::new("run,set,seed,class,name,what,x,y,side,similarity,copies_gone,confidence,lost");
    for elite in &ablation.elites {
        let EliteAblation { place, copies, confidences, occlusion, .. } = elite;
        let own = confidences[0];
        let mut row =
            |what: &str, [x, y, side]: [usize; 3], similarity: String, gone: String, confidence: f64, lost: f64| {
                csv.row(&[
                    place.run.to_string(),
                    place.set.clone(),
                    place.seed.to_string(),
                    place.class.to_string(),
                    place.name.clone(),
                    what.to_owned(),
                    x.to_string(),
                    y.to_string(),
                    side.to_string(),
                    similarity,
                    gone,
                    confidence.to_string(),
                    lost.to_string(),
                ]);
            };
        // The copies in the order in which they go: the patch itself last.
        let order = copies.iter().skip(1).chain(copies.first());
        for (at, (copy, &confidence)) in order.zip(&confidences[1..]).enumerate() {
            let square = [copy.square.x, copy.square.y, copy.square.side];
            let lost = f64::from(own) - f64::from(confidence);
            row("copy", square, copy.similarity.to_string(), (at + 1).to_string(), confidence.into(), lost);
        }
        for (y, lost) in occlusion.rows.iter().zip(&occlusion.lost) {
            for (x, lost) in occlusion.columns.iter().zip(lost) {
                row("window", [*x, *y, occlusion.window], String::new(), String::new(), f64::from(own) - lost, *lost);
            }
        }
    }
    csv
}

pub(super) fn figure(ablation: &Ablation, runs: &Runs) -> Image {
    let shown = &ablation.elites[..ablation.elites.len().min(SHOWN)];
    const HEADS: [&str; 5] = ["patch, copies", "only the patch", "none left", "confidence", "window covered"];
    let xs = [0, 1, 2].map(|at| MARGIN + LABELS + at * (PICTURE + 16));
    let curve = xs[2] + PICTURE + 60;
    let map = curve + CURVE + 24;
    let mut subtitle = format!("{} elites", ablation.elites.len());
    if shown.len() < ablation.elites.len() {
        subtitle += &format!("  ·  the first {} are shown", shown.len());
    }
    let width = map + PICTURE - MARGIN;
    let mut image = page(width, 30 + shown.len() * ROW + 50, "repeated structure removed, windows covered", &subtitle);
    let mut top = MARGIN + HEADER;
    for (x, head) in [xs[0], xs[1], xs[2], curve, map].into_iter().zip(HEADS) {
        SMALL.draw(&mut image, x as f32, top as f32 + 10.0, &SMALL.fit(head, if x == curve { 240.0 } else { 118.0 }));
    }
    top += 30;
    for elite in shown {
        let run = &runs.runs[elite.place.run];
        let canvas = run.about.canvas;
        let niche = run.archive.classes.binary_search(&elite.place.class).expect("its own run");
        let own = &run.archive.elites[niche].image;
        let words = elite.place.class_text();
        HEADING.draw(&mut image, MARGIN as f32, top as f32 + 20.0, &HEADING.fit(&words, LABELS as f32 - 16.0));
        let n = elite.copies.len();
        let lines = [
            format!("seed {}, confidence {}", elite.place.seed, confidence_text(elite.confidences[0])),
            if n > 1 {
                format!("{n} copies, {} pixels wide", elite.copies[0].square.side)
            } else {
                "nothing is repeated".into()
            },
            elite.lost_with_one.map_or(String::new(), |lost| format!("lost with one: {lost:.5}")),
            format!("lost with a window, most: {:.5}", elite.occlusion.most_lost),
        ];
        for (at, line) in lines.iter().enumerate() {
            SMALL.draw(&mut image, MARGIN as f32, (top + 42 + at * 20) as f32, line);
        }
        thumbnail(&mut image, xs[0], top, PICTURE, canvas, own);
        for (at, copy) in elite.copies.iter().enumerate() {
            let square = copy.square;
            outline(
                &mut image,
                [xs[0], top],
                canvas,
                [square.x, square.y, square.side],
                if at == 0 { BLUE } else { ORANGE },
            );
        }
        if n > 1 {
            thumbnail(&mut image, xs[1], top, PICTURE, canvas, &elite.one_left);
            thumbnail(&mut image, xs[2], top, PICTURE, canvas, &elite.none_left);
            curve_of(&mut image, [curve, top], elite);
        }
        occlusion(&mut image, [map, top], canvas, elite);
        top += ROW;
    }
    let words = "lost with a window, of the most that the elite loses    frames: patch blue, copies orange";
    key(&mut image, MARGIN, top + 16, ["0", "most"], words);
    image
}

/// Pixels of the page for a pixel of the picture, and where the picture begins within its square.
fn scale(canvas: Canvas) -> (f64, [f64; 2]) {
    let longer = canvas.height.max(canvas.width);
    let scale = if longer > PICTURE { PICTURE as f64 / longer as f64 } else { (PICTURE / longer) as f64 };
    let gap = |side: usize| (PICTURE as f64 - side as f64 * scale) / 2.0;
    (scale, [gap(canvas.width), gap(canvas.height)])
}

fn outline(image: &mut Image, [left, top]: [usize; 2], canvas: Canvas, [x, y, side]: [usize; 3], colour: [u8; 3]) {
    let (scale, [dx, dy]) = scale(canvas);
    let (x, y) = (left + (dx + x as f64 * scale) as usize, top + (dy + y as f64 * scale) as usize);
    let side = ((side as f64 * scale) as usize).clamp(4, PICTURE);
    for (x, y, width, height) in
        [(x, y, side, 2), (x, y + side - 2, side, 2), (x, y, 2, side), (x + side - 2, y, 2, side)]
    {
        image.fill(x, y, width, height, |_, _| colour);
    }
}

/// Bars of confidence, from all copies on the left to none on the right.
fn curve_of(image: &mut Image, [left, top]: [usize; 2], elite: &EliteAblation) {
    let n = elite.confidences.len();
    let width = (CURVE / n).clamp(1, 40);
    for (at, tick) in [(0.0, "0"), (1.0, "1")] {
        let y = top + ((1.0 - at) * PICTURE as f64) as usize;
        image.fill(left, y, n * width, 1, |_, _| FRAME);
        right_aligned(image, SMALL, left as f32 - 8.0, y as f32 + 6.0, tick);
    }
    for (at, &confidence) in elite.confidences.iter().enumerate() {
        let height = (f64::from(confidence) * PICTURE as f64).round() as usize;
        let gap = usize::from(width > 3);
        image.fill(left + at * width, top + PICTURE - height, width - gap, height, |_, _| BLUE);
    }
}

fn occlusion(image: &mut Image, [left, top]: [usize; 2], canvas: Canvas, elite: &EliteAblation) {
    let map = &elite.occlusion;
    let most = map.most_lost.max(f64::MIN_POSITIVE);
    let (scale, [dx, dy]) = scale(canvas);
    let (width, height) = ((canvas.width as f64 * scale) as usize, (canvas.height as f64 * scale) as usize);
    // Each pixel shows the window whose middle is nearest.
    let nearest = |places: &[usize], pixel: usize| {
        let at = pixel as f64 / scale - map.window as f64 / 2.0;
        let far = |place: usize| (place as f64 - at).abs();
        (0..places.len()).fold(0, |best, next| if far(places[next]) < far(places[best]) { next } else { best })
    };
    let columns: Vec<usize> = (0..width).map(|x| nearest(&map.columns, x)).collect();
    let rows: Vec<usize> = (0..height).map(|y| nearest(&map.rows, y)).collect();
    let (left, top) = (left + dx as usize, top + dy as usize);
    image.fill(left - 1, top - 1, width + 2, height + 2, |_, _| FRAME);
    image.fill(left, top, width, height, |x, y| colour(map.lost[rows[y]][columns[x]].max(0.0) / most));
}
