//! Ablation (the paper's Figure 10, which did it by hand): repeated structure is found and removed, and windows are covered.
//!
//! *Repeats.* The image, grey by the mean of its channels and where a side has more than [`SIDE`] pixels as means of k x k blocks, is searched for
//! a patch that is there again elsewhere. Patches are squares with sides of 1/8, 1/6, 1/4 and 1/3 of the shorter side, [`LEAST_SIDE`] at least, at
//! places half a side apart; a place is a copy of a patch if the normalised cross-correlation of the two is at least the similarity asked for, and neither is flat
//! (standard deviation below [`FLAT`]). Copies are taken by similarity, the patch itself first, none that overlaps one taken before, at most
//! [`MOST_COPIES`]. The patch whose copies cover the most pixels counts; of equals the larger, then the first by row and column.
//!
//! *Removal.* The copies are replaced one after the other, the most similar first and the patch itself last. Each pixel of a square becomes the
//! mean of the four pixels beside the square in its row and column, weighted by their inverse distances, as the image then is; those beyond
//! the image's border are left out.
//!
//! *Occlusion.* A square of a seventh of the shorter side, rounded, at places half a side apart, is replaced in the same way: the confidence that
//! is lost is a map.

use super::runs::{Judges, Runs};
use super::{AnalyseRequest, ElitePlace};
use crate::error::Result;
use crate::experiment::statistics::Spread;
use crate::genome::Canvas;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The longest side, in pixels, that is searched as it is.
pub const SIDE: usize = 64;
/// The least standard deviation of a patch, in steps of a byte.
pub const FLAT: f32 = 8.0;
/// The least side of a patch: smaller squares of noise are alike by chance.
pub const LEAST_SIDE: usize = 7;
/// Of a patch, the patch itself counted.
pub const MOST_COPIES: usize = 64;

/// A square, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Square {
    pub x: usize,
    pub y: usize,
    pub side: usize,
}

/// A copy of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    #[serde(flatten)]
    pub square: Square,
    /// Normalised cross-correlation with the patch.
    pub similarity: f32,
}

/// An elite without its repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EliteAblation {
    #[serde(flatten)]
    pub place: ElitePlace,
    /// The patch, then its copies, the most similar first; none where nothing is repeated.
    pub copies: Vec<Copy>,
    /// Confidence by the number of copies that are gone, from none to all of them.
    pub confidences: Vec<f32>,
    /// What is lost with the first copy, and where only the patch is left.
    pub lost_with_one: Option<f64>,
    pub lost_with_all_but_one: Option<f64>,
    pub occlusion: Occlusion,
    /// Images where only the patch is left, and where none is.
    #[serde(skip)]
    pub one_left: Vec<u8>,
    #[serde(skip)]
    pub none_left: Vec<u8>,
}

/// The map of an elite: what is lost where a window is covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Occlusion {
    /// Side of the window, in pixels.
    pub window: usize,
    /// Left edges and upper edges of the windows.
    pub columns: Vec<usize>,
    pub rows: Vec<usize>,
    /// `(rows, columns)`
    pub lost: Vec<Vec<f64>>,
    pub most_lost: f64,
}

/// What a set of runs came to. Means over the elites in which something is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAblation {
    pub set: String,
    pub elites: usize,
    pub with_repeats: usize,
    pub copies: Option<Spread>,
    pub confidence: Option<Spread>,
    /// With a copy less; with half of them, rounded up, gone; where only the patch is left; where none is.
    pub without_one: Option<Spread>,
    pub without_half: Option<Spread>,
    pub one_left: Option<Spread>,
    pub none_left: Option<Spread>,
    /// Of all elites.
    pub most_lost_by_a_window: Spread,
}

/// The content of `ablation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    pub rule: String,
    pub similarity: f32,
    pub scored: usize,
    pub sets: Vec<SetAblation>,
    pub elites: Vec<EliteAblation>,
}

const RULE: &str = "copies of a patch (normalised cross-correlation of the grey image at least `similarity`, no overlap) are replaced one after the \
                    other, the most similar first, the patch itself last; the patch is the one whose copies cover the most; a pixel of a square is \
                    replaced by the mean of the four pixels beside the square in its row and column, weighted by inverse distance";

/// Removes what is repeated in the elites of all runs, and covers windows of them.
///
/// # Errors
/// Those of scoring.
pub fn ablation(request: &AnalyseRequest, runs: &Runs, judges: &Judges) -> Result<Ablation> {
    let mut ablation = Ablation {
        rule: RULE.to_owned(),
        similarity: request.similarity,
        scored: 0,
        sets: Vec::new(),
        elites: Vec::new(),
    };
    for (number, run) in runs.runs.iter().enumerate() {
        let canvas = run.about.canvas;
        let distinct = run.distinct(&request.classes);
        let found: Vec<Vec<Copy>> =
            distinct.par_iter().map(|(elite, _)| repeats(&elite.image, canvas, None, request.similarity)).collect();
        let (window, columns, rows) = windows(canvas);
        // Of each elite: without 1, 2, ... copies, then each window covered.
        let mut jobs: Vec<(usize, Job)> = Vec::new();
        for (at, copies) in found.iter().enumerate() {
            jobs.extend((1..=copies.len()).map(|gone| (at, Job::Without(gone))));
            jobs.extend(
                rows.iter()
                    .flat_map(|&y| columns.iter().map(move |&x| (at, Job::Covered(Square { x, y, side: window })))),
            );
        }
        let mut answers: Vec<Vec<Vec<f32>>> = vec![Vec::new(); distinct.len()];
        judges.of(runs, number).each(
            jobs.len(),
            |_, job, image| {
                let (at, what) = &jobs[job];
                image.copy_from_slice(&distinct[*at].0.image);
                match what {
                    Job::Without(gone) => remove(image, canvas, &found[*at], *gone),
                    Job::Covered(square) => fill(image, canvas, *square),
                }
            },
            |_| None,
            |job, row| {
                let at = jobs[job].0;
                let row = row.expect("no image is known");
                answers[at]
                    .push(distinct[at].1.iter().map(|&niche| row[run.archive.classes[niche] as usize]).collect());
            },
        )?;
        ablation.scored += jobs.len();
        let mut elites = Vec::new();
        for (at, (elite, niches)) in distinct.iter().enumerate() {
            let copies = &found[at];
            let without = |gone: usize| {
                let mut image = elite.image.clone();
                remove(&mut image, canvas, copies, gone);
                image
            };
            let (one_left, none_left) = (without(copies.len().saturating_sub(1)), without(copies.len()));
            for (place, &niche) in niches.iter().enumerate() {
                let own = run.confidence(niche);
                let scored = answers[at].iter().map(|row| row[place]);
                let mut confidences = vec![own];
                confidences.extend(scored.clone().take(copies.len()));
                let lost = |left: f32| f64::from(own) - f64::from(left);
                let covered: Vec<f64> = scored.skip(copies.len()).map(lost).collect();
                let is_repeated = copies.len() > 1;
                elites.push((
                    niche,
                    EliteAblation {
                        place: ElitePlace::of(runs, number, niche),
                        copies: copies.clone(),
                        lost_with_one: is_repeated.then(|| lost(confidences[1])),
                        lost_with_all_but_one: is_repeated.then(|| lost(confidences[copies.len() - 1])),
                        confidences,
                        occlusion: Occlusion {
                            window,
                            columns: columns.clone(),
                            rows: rows.clone(),
                            most_lost: covered.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                            lost: covered.chunks(columns.len()).map(<[f64]>::to_vec).collect(),
                        },
                        one_left: one_left.clone(),
                        none_left: none_left.clone(),
                    },
                ));
            }
        }
        elites.sort_by_key(|&(niche, _)| niche);
        ablation.elites.extend(elites.into_iter().map(|(_, elite)| elite));
    }
    for set in &runs.sets {
        let its: Vec<&EliteAblation> =
            ablation.elites.iter().filter(|elite| set.runs.contains(&elite.place.run)).collect();
        let repeated: Vec<&EliteAblation> = its.iter().copied().filter(|elite| elite.copies.len() > 1).collect();
        let after = |gone: fn(usize) -> usize| {
            Spread::of(repeated.iter().map(|elite| f64::from(elite.confidences[gone(elite.copies.len())])))
        };
        let Some(most_lost_by_a_window) = Spread::of(its.iter().map(|elite| elite.occlusion.most_lost)) else {
            continue;
        };
        ablation.sets.push(SetAblation {
            set: set.name.clone(),
            elites: its.len(),
            with_repeats: repeated.len(),
            copies: Spread::of(repeated.iter().map(|elite| elite.copies.len() as f64)),
            confidence: after(|_| 0),
            without_one: after(|_| 1),
            without_half: after(|n| n.div_ceil(2)),
            one_left: after(|n| n - 1),
            none_left: after(|n| n),
            most_lost_by_a_window,
        });
    }
    Ok(ablation)
}

enum Job {
    Without(usize),
    Covered(Square),
}

/// Side of the windows, and where they stand.
fn windows(canvas: Canvas) -> (usize, Vec<usize>, Vec<usize>) {
    let window = ((canvas.height.min(canvas.width) as f64 / 7.0).round() as usize).max(1);
    let places = |side: usize| {
        let mut places: Vec<usize> = (0..=side - window).step_by((window / 2).max(1)).collect();
        if places.last() != Some(&(side - window)) {
            places.push(side - window);
        }
        places
    };
    (window, places(canvas.width), places(canvas.height))
}

/// Replaces the first `gone` copies that go: `copies[1..]`, then the patch itself.
fn remove(image: &mut [u8], canvas: Canvas, copies: &[Copy], gone: usize) {
    let order = copies.iter().skip(1).chain(copies.first());
    order.take(gone).for_each(|copy| fill(image, canvas, copy.square));
}

/// Replaces the pixels of `square` by those beside it: see the module's text. One that fills the image becomes grey, 128.
pub fn fill(image: &mut [u8], canvas: Canvas, square: Square) {
    let Canvas { height, width, channels } = canvas;
    let Square { x: left, y: top, side } = square;
    let (right, bottom) = ((left + side).min(width), (top + side).min(height));
    let at = |x: usize, y: usize, channel: usize| (y * width + x) * channels + channel;
    for y in top..bottom {
        for x in left..right {
            for channel in 0..channels {
                let (mut sum, mut weights) = (0.0_f32, 0.0_f32);
                let mut take = |value: u8, distance: usize| {
                    sum += f32::from(value) / distance as f32;
                    weights += 1.0 / distance as f32;
                };
                if left > 0 {
                    take(image[at(left - 1, y, channel)], x - left + 1);
                }
                if right < width {
                    take(image[at(right, y, channel)], right - x);
                }
                if top > 0 {
                    take(image[at(x, top - 1, channel)], y - top + 1);
                }
                if bottom < height {
                    take(image[at(x, bottom, channel)], bottom - y);
                }
                image[at(x, y, channel)] = if weights > 0.0 { (sum / weights).round() as u8 } else { 128 };
            }
        }
    }
}

/// What is searched: grey, no side longer than [`SIDE`].
struct Plane {
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Plane {
    fn of(image: &[u8], canvas: Canvas, k: usize) -> Plane {
        let Canvas { height, width, channels } = canvas;
        // Blocks that are cut off by the border are left out, so that every square of blocks is one of pixels.
        let (rows, columns) = (height / k, width / k);
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let pixels = (0..k * k).map(|at| (row * k + at / k) * width + column * k + at % k);
                let sum: u32 =
                    pixels.flat_map(|pixel| &image[pixel * channels..][..channels]).map(|&byte| u32::from(byte)).sum();
                values.push(sum as f32 / (k * k * channels) as f32);
            }
        }
        Plane { height: rows, width: columns, values }
    }

    fn rows(&self, x: usize, y: usize, side: usize) -> impl Iterator<Item = &[f32]> {
        (y..y + side).map(move |row| &self.values[row * self.width + x..][..side])
    }
}

/// The patch of `image` whose copies cover the most, then its copies, the most similar first; empty if none has a copy. `sides` are of patches
/// that are tried, in pixels of what is searched; `None` for those of the module's text.
pub fn repeats(image: &[u8], canvas: Canvas, sides: Option<&[usize]>, similarity: f32) -> Vec<Copy> {
    let k = canvas.height.max(canvas.width).div_ceil(SIDE);
    let plane = Plane::of(image, canvas, k);
    let shorter = plane.height.min(plane.width);
    let mut usual = [8, 6, 4, 3].map(|part| (shorter / part).max(LEAST_SIDE)).to_vec();
    usual.dedup();
    let mut best: Vec<Copy> = Vec::new();
    let area = |copies: &[Copy]| copies.len() * copies.first().map_or(0, |copy| copy.square.side.pow(2));
    // The largest first: of equals it counts.
    for &side in sides.unwrap_or(&usual).iter().rev().filter(|&&side| side <= shorter) {
        let n = (side * side) as f32;
        // Mean, and norm of what is above it, of each place; 0 where it is flat.
        let places: Vec<(usize, usize)> =
            (0..=plane.height - side).flat_map(|y| (0..=plane.width - side).map(move |x| (x, y))).collect();
        let moments: Vec<(f32, f32)> = places
            .iter()
            .map(|&(x, y)| {
                let values = || plane.rows(x, y, side).flatten();
                let mean = values().sum::<f32>() / n;
                let square: f32 = values().map(|value| (value - mean) * (value - mean)).sum();
                (mean, if square < FLAT * FLAT * n { 0.0 } else { square.sqrt() })
            })
            .collect();
        let stride = (side / 2).max(1);
        for (template, &(left, top)) in places.iter().enumerate() {
            let (mean, norm) = moments[template];
            if left % stride != 0 || top % stride != 0 || norm == 0.0 {
                continue;
            }
            let patch: Vec<f32> = plane.rows(left, top, side).flatten().map(|value| value - mean).collect();
            let mut like: Vec<(usize, f32)> = Vec::new();
            for (place, &(x, y)) in places.iter().enumerate() {
                let (_, other) = moments[place];
                if other == 0.0 || place == template {
                    continue;
                }
                // The patch has no mean, so that the other's does not matter.
                let rows = plane.rows(x, y, side).zip(patch.chunks_exact(side));
                let product: f32 = rows.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()).sum();
                let correlation = product / (norm * other);
                if correlation >= similarity {
                    like.push((place, correlation.min(1.0)));
                }
            }
            like.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let mut taken = vec![(template, 1.0)];
            for (place, correlation) in like {
                let (x, y) = places[place];
                let is_clear = |&(other, _): &(usize, f32)| {
                    let (other_x, other_y) = places[other];
                    x.abs_diff(other_x) >= side || y.abs_diff(other_y) >= side
                };
                if taken.len() < MOST_COPIES && taken.iter().all(is_clear) {
                    taken.push((place, correlation));
                }
            }
            if taken.len() > 1 && taken.len() * (side * k).pow(2) > area(&best) {
                let copy = |(place, similarity): (usize, f32)| {
                    let (x, y) = places[place];
                    Copy { square: Square { x: x * k, y: y * k, side: side * k }, similarity }
                };
                best = taken.into_iter().map(copy).collect();
            }
        }
    }
    best
}
