//! Likeness (the paper's Figure 9 as numbers): elites of related classes within a run, and those of the same class over runs.
//!
//! Distances are taken in two spaces. *Pixels*: the root of the mean square of the differences of bytes / 255; of pictures with a side above
//! [`SIDE`] pixels first the means of blocks of k x k are taken, k the least with which no side is longer. *Features*: 1 less the cosine of the
//! values of the network's last hidden layer, which the last layer with weights takes, each channel averaged over its positions; where ten
//! crops are judged, those of the centre.
//!
//! The permutation tests are [`Permutation`]s; their rules stand in the result.

use super::AnalyseRequest;
use super::groups::{Group, Groups};
use super::runs::{Judge, Judges, Run, Runs, Set};
use crate::backend::cpu::classify::Classifier;
use crate::error::{Error, Result};
use crate::experiment::statistics::{Chance, Permutation, Spread};
use crate::genome::Canvas;
use crate::network::{Crops, Network};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest side, in pixels, of pictures that are compared as they are.
pub const SIDE: usize = 32;

/// The most distances over runs of a group that are kept.
const MOST_PAIRS: usize = 60_000_000;

/// The content of `likeness.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likeness {
    pub seed: u64,
    pub permutations: u32,
    pub sets: Vec<SetLikeness>,
}

/// A set of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLikeness {
    pub set: String,
    /// The numbers of its runs.
    pub runs: Vec<usize>,
    /// Who says which classes are related.
    pub grouping: String,
    pub groups: Vec<Group>,
    pub spaces: Vec<Space>,
}

/// Distances in a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// `pixels`, or `features`.
    pub space: String,
    /// What is compared.
    pub of: String,
    /// Of two classes of a group in one run, and in two runs.
    pub related_same_run: Spread,
    pub related_other_run: Spread,
    /// Of a class of a group in two runs.
    pub same_class_other_run: Spread,
    /// Of two classes that are in no group together, in one run; `None` if there are none.
    pub unrelated_same_run: Option<Spread>,
    /// Whether related classes are more alike than others, in a run.
    pub related: Option<Permutation>,
    /// Whether related classes are more alike in a run than over runs.
    pub same_run: Permutation,
    /// Whether related classes in a run are more alike than a class is to itself over runs.
    pub within_or_over: Permutation,
    pub classes: Vec<ClassLikeness>,
}

/// A class of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLikeness {
    pub class: u32,
    pub name: String,
    pub group: String,
    /// Mean distance to the others of its group in the same run, and between its elites of two runs.
    pub related_same_run: f64,
    pub same_class_other_run: f64,
}

/// Compares the elites of each set of two runs or more.
///
/// # Errors
/// [`Error::File`] for a file of groups that cannot be, [`Error::Refused`] for a group that is too large.
pub fn likeness(request: &AnalyseRequest, runs: &Runs, judges: &Judges) -> Result<Likeness> {
    let mut likeness = Likeness { seed: request.seed, permutations: request.permutations, sets: Vec::new() };
    for set in runs.sets.iter().filter(|set| set.runs.len() > 1) {
        likeness.sets.push(of_set(request, runs, set, judges.of(runs, set.runs[0]))?);
    }
    Ok(likeness)
}

fn of_set(request: &AnalyseRequest, runs: &Runs, set: &Set, judge: &Judge) -> Result<SetLikeness> {
    let its: Vec<&Run> = set.runs.iter().map(|&run| &runs.runs[run]).collect();
    let names = &its[0].about.class_names;
    let in_all = |class: &u32| its.iter().all(|run| run.archive.classes.binary_search(class).is_ok());
    let classes: Vec<u32> = its[0].archive.classes.iter().copied().filter(in_all).collect();
    let mut groups = request.groups_of(names)?.unwrap_or_else(|| Groups {
        source: "no groups, so every two classes".to_owned(),
        groups: vec![Group { name: "all classes".to_owned(), classes: classes.clone() }],
    });
    for group in &mut groups.groups {
        group.classes.retain(|class| classes.binary_search(class).is_ok());
    }
    groups.groups.retain(|group| group.classes.len() > 1);
    if groups.groups.is_empty() {
        let text = format!("{}: no group has two classes of which all runs have elites", groups.source);
        return Err(Error::Refused(text));
    }
    let pairs: usize = groups.groups.iter().map(|group| group.classes.len().pow(2) / 2).sum();
    if pairs * its.len().pow(2) > MOST_PAIRS {
        return Err(Error::Refused(format!(
            "likeness: {pairs} pairs of related classes over {} runs are more distances than {MOST_PAIRS}; name smaller groups with --groups",
            its.len()
        )));
    }
    let mut spaces = vec![space(
        request,
        Vectors::pixels(&its, &classes),
        ("pixels", "root mean square of differences of bytes / 255".to_owned()),
        &groups,
        names,
        0,
    )];
    if let Some(hidden) = Hidden::of(&judge.network) {
        let what = format!("1 - cosine of the values of layer {:?}, the last hidden one", hidden.layer);
        let vectors = Vectors::features(request, &its, &classes, &hidden, judge)?;
        spaces.push(space(request, vectors, ("features", what), &groups, names, 1));
    }
    Ok(SetLikeness {
        set: set.name.clone(),
        runs: set.runs.clone(),
        grouping: groups.source,
        groups: groups.groups,
        spaces,
    })
}

/// The network's last hidden layer.
struct Hidden {
    network: Arc<Network>,
    /// Its number and its name.
    number: usize,
    layer: String,
}

impl Hidden {
    /// `None` if the last layer with weights takes the input.
    fn of(network: &Arc<Network>) -> Option<Hidden> {
        let last = network.layers.iter().rposition(|layer| layer.operation.has_weights())?;
        let number = network.layers[last].inputs[0].checked_sub(1)?;
        let layer = network.layers[number].name.clone();
        let network = if network.n_crops() > 1 {
            Arc::new(Network::clone(network).judging(Crops::One).expect("a network that judges ten crops sees a part"))
        } else {
            Arc::clone(network)
        };
        Some(Hidden { network, number, layer })
    }
}

/// A vector for each run and class; elites that are the same have the same.
struct Vectors {
    classes: Vec<u32>,
    /// `(runs, classes)`
    of: Vec<Vec<usize>>,
    vectors: Vec<Vec<f32>>,
    distance: fn(&[f32], &[f32]) -> f64,
}

impl Vectors {
    fn pixels(runs: &[&Run], classes: &[u32]) -> Vectors {
        Vectors::new(runs, classes, root_mean_square, |images, canvas| {
            images.par_iter().map(|image| small(image, canvas)).collect()
        })
    }

    fn features(
        request: &AnalyseRequest,
        runs: &[&Run],
        classes: &[u32],
        hidden: &Hidden,
        judge: &Judge,
    ) -> Result<Vectors> {
        assert_eq!(Canvas::of(&hidden.network), Canvas::of(&judge.network), "the same images");
        let classifier = Classifier::new(Arc::clone(&hidden.network), request.simd);
        classifier.check(rayon::current_num_threads())?;
        // Packed by this thread: packing is itself parallel.
        let seen = |image: &[u8]| {
            let mut features = Vec::new();
            classifier.activations(image, &mut |layer, shape, values| {
                if layer == hidden.number {
                    let positions = shape.height * shape.width;
                    let mean = |channel: &[f32]| channel.iter().sum::<f32>() / positions as f32;
                    features = values.chunks(positions).map(mean).collect();
                }
            });
            features
        };
        Ok(Vectors::new(runs, classes, cosine_distance, |images, _| {
            let Some((first, rest)) = images.split_first() else { return Vec::new() };
            let mut all = vec![seen(first)];
            all.par_extend(rest.par_iter().map(|image| seen(image)));
            all
        }))
    }

    fn new(
        runs: &[&Run],
        classes: &[u32],
        distance: fn(&[f32], &[f32]) -> f64,
        seen: impl Fn(&[&[u8]], Canvas) -> Vec<Vec<f32>>,
    ) -> Vectors {
        let (mut images, mut place_of) = (Vec::<&[u8]>::new(), HashMap::new());
        let of = runs.iter().map(|run| {
            let place = |class: &u32| {
                let niche = run.archive.classes.binary_search(class).expect("all runs have it");
                let elite = &run.archive.elites[niche];
                *place_of.entry(elite.content_hash).or_insert_with(|| {
                    images.push(&elite.image);
                    images.len() - 1
                })
            };
            classes.iter().map(place).collect()
        });
        let of = of.collect();
        let vectors = seen(&images, runs[0].about.canvas);
        Vectors { classes: classes.to_vec(), of, vectors, distance }
    }

    fn n_runs(&self) -> usize {
        self.of.len()
    }

    /// Between the elites of two classes, by their places, of two runs.
    fn between(&self, (run, class): (usize, usize), (other_run, other): (usize, usize)) -> f64 {
        let (a, b) = (self.of[run][class], self.of[other_run][other]);
        if a == b { 0.0 } else { (self.distance)(&self.vectors[a], &self.vectors[b]) }
    }
}

/// The root of the mean square of the differences.
pub fn root_mean_square(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    let (a_whole, b_whole) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_whole.remainder().iter().zip(b_whole.remainder());
    let rest: f32 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    for (a, b) in a_whole.zip(b_whole) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    (f64::from(sums.iter().sum::<f32>() + rest) / a.len() as f64).sqrt()
}

/// 1 less the cosine; of two vectors of zeros 0, of one and another 1.
pub fn cosine_distance(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (of_a, of_b) = (dot(a, a), dot(b, b));
    if of_a == 0.0 || of_b == 0.0 {
        return if of_a == of_b { 0.0 } else { 1.0 };
    }
    1.0 - (dot(a, b) / (of_a * of_b).sqrt()).clamp(-1.0, 1.0)
}

/// An image as numbers of [0, 1], means of blocks where it is large.
fn small(image: &[u8], canvas: Canvas) -> Vec<f32> {
    let Canvas { height, width, channels } = canvas;
    let k = height.max(width).div_ceil(SIDE);
    let mut values = Vec::new();
    for top in (0..height).step_by(k) {
        for left in (0..width).step_by(k) {
            for channel in 0..channels {
                let (bottom, right) = ((top + k).min(height), (left + k).min(width));
                let mut sum = 0_u32;
                for y in top..bottom {
                    for x in left..right {
                        sum += u32::from(image[(y * width + x) * channels + channel]);
                    }
                }
                values.push(sum as f32 / ((bottom - top) * (right - left) * 255) as f32);
            }
        }
    }
    values
}

const RELATED: &str = "mean distance of two classes of a group in one run, low; shuffled: which classes are in the groups (all classes of the \
                       runs change places, the same way in each run)";
const SAME_RUN: &str = "mean distance of two classes of a group in one run, low; shuffled: the runs of the elites of each class of a group, each \
                        class by itself";
const WITHIN: &str = "mean over classes of groups of (distance between its elites of two runs - distance to related classes in the same run), \
                      high; shuffled: the signs of the classes' differences";

fn space(
    request: &AnalyseRequest,
    vectors: Vectors,
    (name, of): (&str, String),
    groups: &Groups,
    names: &[String],
    number: u32,
) -> Space {
    let (n, n_runs) = (vectors.classes.len(), vectors.n_runs());
    let place = |class: &u32| vectors.classes.binary_search(class).expect("a class of all runs");
    let group_of: Vec<Option<usize>> = vectors.classes.iter().map(|&class| groups.group_of(class)).collect();
    let members: Vec<Vec<usize>> =
        groups.groups.iter().map(|group| group.classes.iter().map(place).collect()).collect();
    // Pairs of related classes, and all distances of each over runs: (pairs, runs, runs), the lower class first.
    let pairs: Vec<(usize, usize)> = members
        .iter()
        .flat_map(|group| group.iter().enumerate().flat_map(|(at, &a)| group[at + 1..].iter().map(move |&b| (a, b))))
        .collect();
    let distances: Vec<Vec<f64>> = pairs
        .par_iter()
        .map(|&(a, b)| (0..n_runs * n_runs).map(|at| vectors.between((at / n_runs, a), (at % n_runs, b))).collect())
        .collect();
    let same_run = || distances.iter().flat_map(|pair| (0..n_runs).map(move |run| pair[run * n_runs + run]));
    let mean_same_run = same_run().sum::<f64>() / (pairs.len() * n_runs) as f64;

    // Each class of a group with itself over runs.
    let grouped: Vec<usize> = (0..n).filter(|&class| group_of[class].is_some()).collect();
    let over_runs: Vec<Vec<f64>> = grouped
        .par_iter()
        .map(|&class| {
            let pairs = (0..n_runs).flat_map(|a| (a + 1..n_runs).map(move |b| (a, b)));
            pairs.map(|(a, b)| vectors.between((a, class), (b, class))).collect()
        })
        .collect();
    let mut to_related = vec![(0.0, 0_usize); n];
    for (&(a, b), pair) in pairs.iter().zip(&distances) {
        let sum: f64 = (0..n_runs).map(|run| pair[run * n_runs + run]).sum();
        for class in [a, b] {
            to_related[class].0 += sum;
            to_related[class].1 += n_runs;
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let of_classes: Vec<ClassLikeness> = grouped
        .iter()
        .zip(&over_runs)
        .map(|(&class, over_runs)| ClassLikeness {
            class: vectors.classes[class],
            name: names[vectors.classes[class] as usize].clone(),
            group: groups.groups[group_of[class].expect("grouped")].name.clone(),
            related_same_run: to_related[class].0 / to_related[class].1 as f64,
            same_class_other_run: mean(over_runs),
        })
        .collect();

    // All pairs in a run, summed over runs: only where some are unrelated.
    let are_related = |a: usize, b: usize| group_of[a].is_some() && group_of[a] == group_of[b];
    let (mut unrelated_same_run, mut related) = (None, None);
    if pairs.len() < n * (n - 1) / 2 {
        let rows: Vec<Vec<Vec<f64>>> = (0..n)
            .into_par_iter()
            .map(|a| (0..a).map(|b| (0..n_runs).map(|run| vectors.between((run, a), (run, b))).collect()).collect())
            .collect();
        let others = (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).filter(|&(a, b)| !are_related(a, b));
        unrelated_same_run = Spread::of(others.flat_map(|(a, b)| rows[a][b].iter().copied()));
        let sums: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().map(|distances| distances.iter().sum()).collect()).collect();
        let chance = Chance::new(request.seed, 10 * number);
        let shuffled = |round: u32| {
            let mut order: Vec<usize> = (0..n).collect();
            chance.shuffle(round, 0, &mut order);
            let of = |&(a, b): &(usize, usize)| sums[order[a].max(order[b])][order[a].min(order[b])];
            pairs.iter().map(of).sum::<f64>() / (pairs.len() * n_runs) as f64
        };
        related = Some(Permutation::test(RELATED.to_owned(), mean_same_run, request.permutations, false, shuffled));
    }
    let chance = Chance::new(request.seed, 10 * number + 1);
    let shuffled = |round: u32| {
        let mut runs_of: Vec<usize> = (0..n).flat_map(|_| 0..n_runs).collect();
        for &class in &grouped {
            let first = class * n_runs;
            chance.shuffle(round, first as u32, &mut runs_of[first..first + n_runs]);
        }
        let of = |(&(a, b), pair): (&(usize, usize), &Vec<f64>)| {
            (0..n_runs).map(|run| pair[runs_of[a * n_runs + run] * n_runs + runs_of[b * n_runs + run]]).sum::<f64>()
        };
        pairs.iter().zip(&distances).map(of).sum::<f64>() / (pairs.len() * n_runs) as f64
    };
    let test_same_run = Permutation::test(SAME_RUN.to_owned(), mean_same_run, request.permutations, false, shuffled);
    let differences: Vec<f64> =
        of_classes.iter().map(|class| class.same_class_other_run - class.related_same_run).collect();
    let chance = Chance::new(request.seed, 10 * number + 2);
    let shuffled = |round: u32| {
        let signed = differences.iter().enumerate().map(|(class, difference)| {
            if chance.word(round, class as u32) >> 31 == 0 { *difference } else { -difference }
        });
        signed.sum::<f64>() / differences.len() as f64
    };
    let within_or_over = Permutation::test(WITHIN.to_owned(), mean(&differences), request.permutations, true, shuffled);
    let other_run = distances
        .iter()
        .flat_map(|pair| (0..n_runs * n_runs).filter(|at| at / n_runs != at % n_runs).map(move |at| pair[at]));
    Space {
        space: name.to_owned(),
        of,
        related_same_run: Spread::of(same_run()).expect("a pair"),
        related_other_run: Spread::of(other_run).expect("two runs"),
        same_class_other_run: Spread::of(over_runs.iter().flatten().copied()).expect("two runs"),
        unrelated_same_run,
        related,
        same_run: test_same_run,
        within_or_over,
        classes: of_classes,
    }
}
