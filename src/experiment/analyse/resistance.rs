//! Resistance: which classes stay low, and what the network takes their elites for instead (the paper's cats and dogs).
//!
//! All of it is read from the probabilities that the archive has recorded. The *mass on the group* of an elite is what the network gives to the
//! other classes of its group; its *share of the rest* is that mass by all that the network does not give to its class, 1 - confidence. The
//! first must fall where confidence rises, since they add up to 1 at most; the second need not.

use super::AnalyseRequest;
use super::groups::Groups;
use super::runs::{Run, Runs, Set};
use crate::error::Result;
use crate::experiment::statistics::{Chance, Permutation, Spread, mann_whitney_u, median, spearman};
use serde::{Deserialize, Serialize};

/// The content of `resistance.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resistance {
    pub seed: u64,
    pub permutations: u32,
    pub sets: Vec<SetResistance>,
}

/// A set of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetResistance {
    pub set: String,
    pub runs: usize,
    /// Who says which classes are related; `None` if nobody does.
    pub grouping: Option<String>,
    pub groups: Vec<GroupResistance>,
    /// By number.
    pub classes: Vec<ClassResistance>,
    /// For up to [`MAP`] classes: what the elites of a class are taken for, `(classes, classes)`: of the mean over runs of the probabilities
    /// the share of the rest, 0 for the class itself.
    pub confusions: Vec<Vec<f64>>,
}

/// Classes of which the map of confusions is made, at most.
pub const MAP: usize = 40;

/// A group, or all classes in none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupResistance {
    pub name: String,
    /// Whether it is what is in no group.
    pub is_rest: bool,
    pub n_classes: usize,
    /// Over classes, of the median over runs.
    pub confidence: Spread,
    /// Means over its classes; `None` of the rest.
    pub group_mass: Option<f64>,
    pub group_share_of_rest: Option<f64>,
    /// What the share would be if the network shared the rest out evenly.
    pub even_share: Option<f64>,
    /// Elites, over all runs, whose runner-up is of the group.
    pub runner_up_in_group: Option<f64>,
    /// Against all classes in no group: two-sided Mann-Whitney U, of the group, and p.
    pub u: Option<f64>,
    pub p: Option<f64>,
    /// Spearman's rank correlation over its classes of confidence and mass on the group, and of confidence and share of the rest.
    pub confidence_and_mass: Option<f64>,
    pub confidence_and_share: Option<f64>,
    /// Of the latter, by shuffling the shares among classes; low.
    pub test: Option<Permutation>,
}

/// A class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResistance {
    pub class: u32,
    pub name: String,
    pub group: Option<String>,
    /// Runs that have an elite of it, and in how many of them it is the most probable class of its elite.
    pub runs: usize,
    pub leads: usize,
    /// Median over runs.
    pub confidence: f64,
    /// The other class with the greatest mean probability, the lowest of equals, and that mean.
    pub runner_up: u32,
    pub runner_up_name: String,
    pub runner_up_probability: f64,
    /// Means over runs; `None` of a class in no group.
    pub group_mass: Option<f64>,
    pub group_share_of_rest: Option<f64>,
    /// Runs in which the runner-up is of its group.
    pub runner_up_in_group: Option<usize>,
}

/// Looks at what the elites of each set are taken for.
///
/// # Errors
/// [`Error::File`](crate::error::Error::File) for a file of groups that cannot be.
pub fn resistance(request: &AnalyseRequest, runs: &Runs) -> Result<Resistance> {
    let of_set = |(number, set): (usize, &Set)| of_set(request, runs, set, number as u32);
    let sets = runs.sets.iter().enumerate().map(of_set).collect::<Result<_>>()?;
    Ok(Resistance { seed: request.seed, permutations: request.permutations, sets })
}

fn of_set(request: &AnalyseRequest, runs: &Runs, set: &Set, number: u32) -> Result<SetResistance> {
    let its: Vec<&Run> = set.runs.iter().map(|&run| &runs.runs[run]).collect();
    let names = &its[0].about.class_names;
    let groups = request.groups_of(names)?;
    let mut numbers: Vec<u32> = its.iter().flat_map(|run| run.archive.classes.iter().copied()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let looked: Vec<(ClassResistance, Vec<f64>)> =
        numbers.iter().map(|&class| of_class(&its, class, names, groups.as_ref())).collect();
    let classes: Vec<ClassResistance> = looked.iter().map(|(class, _)| class.clone()).collect();
    let mut of_groups = Vec::new();
    if let Some(groups) = &groups {
        let rest: Vec<&ClassResistance> = classes.iter().filter(|class| class.group.is_none()).collect();
        for (at, group) in groups.groups.iter().enumerate() {
            let members: Vec<&ClassResistance> =
                classes.iter().filter(|class| class.group.as_ref() == Some(&group.name)).collect();
            let chance = Chance::new(request.seed, 1000 + 100 * number + at as u32);
            let all = (group.classes.len(), names.len());
            of_groups.extend(of_group(request, &group.name, all, &members, &rest, chance));
        }
        of_groups.extend(Spread::of(rest.iter().map(|class| class.confidence)).map(|confidence| GroupResistance {
            name: "all others".to_owned(),
            is_rest: true,
            n_classes: rest.len(),
            confidence,
            group_mass: None,
            group_share_of_rest: None,
            even_share: None,
            runner_up_in_group: None,
            u: None,
            p: None,
            confidence_and_mass: None,
            confidence_and_share: None,
            test: None,
        }));
    }
    let confusions = if looked.len() > MAP {
        Vec::new()
    } else {
        let row = |(class, means): &(ClassResistance, Vec<f64>)| {
            let own = class.class;
            let rest: f64 = means.iter().enumerate().filter(|(at, _)| *at as u32 != own).map(|(_, mean)| mean).sum();
            let share = |&other: &u32| {
                if other == own || rest == 0.0 { 0.0 } else { means[other as usize] / rest }
            };
            numbers.iter().map(share).collect()
        };
        looked.iter().map(row).collect()
    };
    Ok(SetResistance {
        set: set.name.clone(),
        runs: its.len(),
        grouping: groups.map(|groups| groups.source),
        groups: of_groups,
        classes,
        confusions,
    })
}

/// The greatest of `probabilities` but that of `class`, the first of equals.
fn runner_up<T: PartialOrd + Copy>(probabilities: &[T], class: usize) -> usize {
    let others = (0..probabilities.len()).filter(|&other| other != class);
    others
        .fold(None, |best: Option<usize>, other| match best {
            Some(best) if probabilities[other] > probabilities[best] => Some(other),
            None => Some(other),
            best => best,
        })
        .unwrap_or(class)
}

/// What became of `class`, and the means of all probabilities of its elites.
fn of_class(runs: &[&Run], class: u32, names: &[String], groups: Option<&Groups>) -> (ClassResistance, Vec<f64>) {
    let elites: Vec<&[f32]> = runs
        .iter()
        .filter_map(|run| {
            let niche = run.archive.classes.binary_search(&class).ok()?;
            Some(&run.archive.elites[niche].probabilities[..])
        })
        .collect();
    let n = elites.len() as f64;
    let own = class as usize;
    let means: Vec<f64> =
        (0..names.len()).map(|at| elites.iter().map(|row| f64::from(row[at])).sum::<f64>() / n).collect();
    let runner = runner_up(&means, own);
    let group = groups.and_then(|groups| groups.group_of(class).map(|at| &groups.groups[at]));
    let others = |row: &[f32], is_asked: &dyn Fn(u32) -> bool| -> f64 {
        let others = row.iter().enumerate().filter(|&(at, _)| at != own && is_asked(at as u32));
        others.map(|(_, &probability)| f64::from(probability)).sum()
    };
    let (mut group_mass, mut share, mut in_group) = (None, None, None);
    if let Some(group) = group {
        let is_its = |class: u32| group.classes.binary_search(&class).is_ok();
        let mass: Vec<f64> = elites.iter().map(|row| others(row, &is_its)).collect();
        let rest: Vec<f64> = elites.iter().map(|row| others(row, &|_| true)).collect();
        group_mass = Some(mass.iter().sum::<f64>() / n);
        // Where an elite leaves nothing for others, there is nothing to share.
        let shares: Vec<f64> = mass.iter().zip(&rest).filter(|(_, rest)| **rest > 0.0).map(|(m, r)| m / r).collect();
        share = (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64);
        in_group = Some(elites.iter().filter(|row| is_its(runner_up(row, own) as u32)).count());
    }
    let leads = elites.iter().filter(|row| row[runner_up(row, own)] < row[own]).count();
    let found = ClassResistance {
        class,
        name: names[own].clone(),
        group: group.map(|group| group.name.clone()),
        runs: elites.len(),
        leads,
        confidence: median(elites.iter().map(|row| f64::from(row[own]))),
        runner_up: runner as u32,
        runner_up_name: names[runner].clone(),
        runner_up_probability: means[runner],
        group_mass,
        group_share_of_rest: share,
        runner_up_in_group: in_group,
    };
    (found, means)
}

fn of_group(
    request: &AnalyseRequest,
    name: &str,
    (size, n_classes): (usize, usize),
    members: &[&ClassResistance],
    rest: &[&ClassResistance],
    chance: Chance,
) -> Option<GroupResistance> {
    let confidences: Vec<f64> = members.iter().map(|class| class.confidence).collect();
    let others: Vec<f64> = rest.iter().map(|class| class.confidence).collect();
    let confidence = Spread::of(confidences.iter().copied())?;
    let mean = |of: fn(&ClassResistance) -> Option<f64>| {
        Spread::of(members.iter().filter_map(|class| of(class))).map(|spread| spread.mean)
    };
    let masses: Vec<f64> = members.iter().filter_map(|class| class.group_mass).collect();
    // Classes that leave nothing have no share.
    let (with, shares): (Vec<f64>, Vec<f64>) =
        members.iter().filter_map(|class| Some((class.confidence, class.group_share_of_rest?))).unzip();
    let confidence_and_share = spearman(&with, &shares);
    const RULE: &str = "Spearman's correlation of confidence and share of the rest on the group, low; shuffled: the shares among classes";
    let test = confidence_and_share.map(|observed| {
        Permutation::test(RULE.to_owned(), observed, request.permutations, false, |round| {
            let mut shuffled = shares.clone();
            chance.shuffle(round, 0, &mut shuffled);
            spearman(&with, &shuffled).expect("the same values")
        })
    });
    let test_u = mann_whitney_u(&confidences, &others);
    let (in_group, elites) = members.iter().fold((0, 0), |(in_group, elites), class| {
        (in_group + class.runner_up_in_group.unwrap_or(0), elites + class.runs)
    });
    Some(GroupResistance {
        name: name.to_owned(),
        is_rest: false,
        n_classes: members.len(),
        confidence,
        group_mass: mean(|class| class.group_mass),
        group_share_of_rest: mean(|class| class.group_share_of_rest),
        even_share: Some((size - 1) as f64 / (n_classes - 1).max(1) as f64),
        runner_up_in_group: Some(in_group as f64 / elites as f64),
        u: test_u.map(|(u, _)| u),
        p: test_u.map(|(_, p)| p).filter(|p| p.is_finite()),
        confidence_and_mass: spearman(&confidences, &masses),
        confidence_and_share,
        test,
    })
}
