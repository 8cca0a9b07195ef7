//! How far runs came (spec, sections 7 and 12): medians, classes over thresholds, evaluations that it took, and sets of runs compared.

use super::runs::{Runs, Set};
use crate::error::Result;
use crate::experiment::statistics::{Spread, mann_whitney_u};
use crate::output::metrics;
use serde::{Deserialize, Serialize};

/// The thresholds, as archives count them.
pub const THRESHOLDS: [f32; 4] = [0.9, 0.99, 0.999, 0.9999];

/// When a run reached a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    pub threshold: f32,
    /// Classes at or above it at the end.
    pub classes: usize,
    /// Evaluations at the first logged generation at which it was reached by a class, by the median over classes, by all classes; `None` if
    /// that never was.
    pub first_class: Option<u64>,
    pub median: Option<u64>,
    pub all_classes: Option<u64>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunThresholds {
    pub run: usize,
    pub path: String,
    pub set: String,
    pub seed: u64,
    pub generation: u32,
    pub evaluations: u64,
    pub classes: usize,
    pub median: f64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    pub worst_class: u32,
    pub worst_class_name: String,
    /// Different individuals among the elites.
    pub distinct: usize,
    pub reached: Vec<Reached>,
}

/// What a set of runs came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetThresholds {
    pub set: String,
    pub runs: usize,
    /// Over the runs' medians.
    pub medians: Spread,
    /// Over classes, of the median over runs of each: the median of it is what the paper reports.
    pub class_medians: Spread,
    /// Of these class medians: those at or above .9, .99, .999, .9999.
    pub classes_over: [usize; 4],
    /// Over runs, of the evaluations until the median, and until all classes, reached each threshold, in the runs in which they did.
    pub median_reached: Vec<Option<Spread>>,
    pub all_classes_reached: Vec<Option<Spread>>,
}

/// Two sets compared by a two-sided Mann-Whitney U test, in the normal approximation with corrections for ties and continuity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub a: String,
    pub b: String,
    /// What is compared: `medians of runs`, or `medians of classes`.
    pub of: String,
    pub n: [usize; 2],
    pub medians: [f64; 2],
    /// Of a. There is no p where all values are equal.
    pub u: f64,
    pub p: Option<f64>,
}

/// A class with its confidences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    pub class: u32,
    pub name: String,
    /// One a run; `None` where the run has no elite of it.
    pub confidences: Vec<Option<f32>>,
}

/// The content of `thresholds.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    pub sets: Vec<SetThresholds>,
    pub comparisons: Vec<Compared>,
    pub runs: Vec<RunThresholds>,
    /// The map of classes by runs; classes by number, runs in the order of `runs`.
    pub map: Vec<ClassRow>,
}

/// Counts and compares.
///
/// # Errors
/// If metrics.jsonl cannot be read.
pub fn thresholds(runs: &Runs) -> Result<Thresholds> {
    let of_runs = (0..runs.runs.len()).map(|run| of_run(runs, run)).collect::<Result<Vec<_>>>()?;
    let map = map(runs);
    let class_medians: Vec<Vec<f64>> = runs.sets.iter().map(|set| class_medians(set, &map)).collect();
    let sets: Vec<SetThresholds> =
        runs.sets.iter().zip(&class_medians).map(|(set, class_medians)| of_set(set, &of_runs, class_medians)).collect();
    let mut comparisons = Vec::new();
    for a in 0..sets.len() {
        for b in a + 1..sets.len() {
            let medians =
                [a, b].map(|set| runs.sets[set].runs.iter().map(|&run| of_runs[run].median).collect::<Vec<_>>());
            let names = [a, b].map(|set| &sets[set].set[..]);
            comparisons.extend(compared(names, "medians of runs", &medians[0], &medians[1]));
            comparisons.extend(compared(names, "medians of classes", &class_medians[a], &class_medians[b]));
        }
    }
    Ok(Thresholds { sets, comparisons, runs: of_runs, map })
}

fn of_run(runs: &Runs, number: usize) -> Result<RunThresholds> {
    let run = &runs.runs[number];
    let fitness = run.archive.fitness();
    let statistics = crate::archive::Statistics::of(&fitness);
    let worst = (0..fitness.len()).fold(0, |worst, niche| if fitness[niche] < fitness[worst] { niche } else { worst });
    let mut reached = THRESHOLDS.map(|threshold| Reached {
        threshold,
        classes: fitness.iter().filter(|&&confidence| confidence >= threshold).count(),
        first_class: None,
        median: None,
        all_classes: None,
    });
    metrics::read(&run.path.join("metrics.jsonl"), |line| {
        for reached in &mut reached {
            let threshold = f64::from(reached.threshold);
            let note = |when: &mut Option<u64>, value: f64| {
                if when.is_none() && value >= threshold {
                    *when = Some(line.evaluations);
                }
            };
            note(&mut reached.first_class, line.max);
            note(&mut reached.median, line.median);
            note(&mut reached.all_classes, line.min);
        }
    })?;
    let (worst_class, worst_class_name) = run.class(worst);
    Ok(RunThresholds {
        run: number,
        path: run.path.display().to_string(),
        set: runs.set_of(number).name.clone(),
        seed: run.manifest.seed,
        generation: run.archive.generation,
        evaluations: run.manifest.evaluations,
        classes: fitness.len(),
        median: statistics.median,
        mean: statistics.mean,
        min: statistics.min,
        max: statistics.max,
        worst_class,
        worst_class_name: worst_class_name.to_owned(),
        distinct: run.archive.distinct(),
        reached: reached.into(),
    })
}

fn map(runs: &Runs) -> Vec<ClassRow> {
    let mut rows = std::collections::BTreeMap::<u32, ClassRow>::new();
    for (number, run) in runs.runs.iter().enumerate() {
        for niche in 0..run.archive.classes.len() {
            let (class, name) = run.class(niche);
            let row = rows.entry(class).or_insert_with(|| ClassRow {
                class,
                name: name.to_owned(),
                confidences: vec![None; runs.runs.len()],
            });
            row.confidences[number] = Some(run.confidence(niche));
        }
    }
    rows.into_values().collect()
}

/// The median over the runs of `set` of each class that one of them has.
fn class_medians(set: &Set, map: &[ClassRow]) -> Vec<f64> {
    let of = |row: &ClassRow| {
        let confidences = set.runs.iter().filter_map(|&run| row.confidences[run]);
        Spread::of(confidences.map(f64::from)).map(|spread| spread.median)
    };
    map.iter().filter_map(of).collect()
}

fn of_set(set: &Set, runs: &[RunThresholds], class_medians: &[f64]) -> SetThresholds {
    let its = || set.runs.iter().map(|&run| &runs[run]);
    let evaluations = |of: fn(&Reached) -> Option<u64>| {
        (0..THRESHOLDS.len())
            .map(|at| Spread::of(its().filter_map(|run| of(&run.reached[at])).map(|evaluations| evaluations as f64)))
            .collect()
    };
    let over = |threshold: f32| class_medians.iter().filter(|&&median| median >= f64::from(threshold)).count();
    SetThresholds {
        set: set.name.clone(),
        runs: set.runs.len(),
        medians: Spread::of(its().map(|run| run.median)).expect("a set has runs"),
        class_medians: Spread::of(class_medians.iter().copied()).expect("a run has classes"),
        classes_over: THRESHOLDS.map(over),
        median_reached: evaluations(|reached| reached.median),
        all_classes_reached: evaluations(|reached| reached.all_classes),
    }
}

fn compared([a, b]: [&str; 2], of: &str, x: &[f64], y: &[f64]) -> Option<Compared> {
    let (u, p) = mann_whitney_u(x, y)?;
    Some(Compared {
        a: a.to_owned(),
        b: b.to_owned(),
        of: of.to_owned(),
        n: [x.len(), y.len()],
        medians: [x, y].map(|values| crate::experiment::statistics::median(values.iter().copied())),
        u,
        p: p.is_finite().then_some(p),
    })
}
