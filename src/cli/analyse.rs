//! `pareidolia analyse`: what evolution found.

use super::transfer::Table;
use super::{Sources, Speed};
use crate::error::{Error, Result};
use crate::experiment::analyse::ablation::Ablation;
use crate::experiment::analyse::blame::Blame;
use crate::experiment::analyse::likeness::Likeness;
use crate::experiment::analyse::minimal::{Goal, Minimal};
use crate::experiment::analyse::resistance::Resistance;
use crate::experiment::analyse::thresholds::{THRESHOLDS, Thresholds};
use crate::experiment::analyse::{self, AnalyseRequest, Part, Report};
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::statistics::{Permutation, Spread, p_text};
use crate::output::confidence_text;
use crate::output::contact_sheet::round_down;
use crate::output::transfer::percent;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Analyse what evolution found in finished runs
///
/// Takes the folders of runs of `evolve`, and of series of them. Runs are grouped in sets: those of the same preset, flavour and network.
/// Their networks are found as the runs have recorded them; images are scored as evolution scores them.
///
/// The result goes to a new folder: of each part a JSON, a CSV and a PNG file, and analyse.json with all that is needed to do it again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of runs, and of series of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Do these parts alone, separated by commas [default: all that the runs allow]
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,

    /// Take the elites of these classes apart, and no others: numbers and ranges, as in `0,3,10-19` [default: all; of runs with more than 40
    /// classes the 20 most confident]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = classes)]
    classes: Vec<Classes>,

    /// Related classes, a TOML file or a JSON file: for each group a list of numbers, ranges and names, as in `dogs = ["151-268"]`
    /// [default: of networks with a thousand classes the paper's dogs and cats, 157 to 286]
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,

    /// What a minimal genome must keep: a confidence, of elites below it their own, or `lead`, that its class is the most probable
    #[arg(long, value_name = "P|lead", default_value = "0.9999")]
    threshold: Goal,

    /// Random restarts of the search for minimal genomes
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(0..=1000))]
    restarts: u32,

    /// Normalised cross-correlation from which on a place of an image is a copy of a patch
    #[arg(long, value_name = "R", default_value = "0.9", value_parser = similarity)]
    similarity: f32,

    /// Permutations of each permutation test
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    permutations: u32,

    /// Seed of permutations and restarts
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,

    /// The folder for the result, which must not exist yet [default: a new one in `runs`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the contents of the parts' JSON files instead of tables
    #[arg(long)]
    json: bool,

    /// Where it runs: `auto`, `cpu`, or `cuda:N` for a GPU; the result is the same
    #[arg(long, default_value = "auto")]
    device: Asked,

    /// How progress is shown: a bar on a terminal, lines, or nothing
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    progress: ProgressMode,

    #[command(flatten)]
    networks: Sources,

    #[command(flatten)]
    speed: Speed,
}

/// A class, or a range of them, both ends included.
#[derive(Clone, Copy, Debug)]
struct Classes(u32, u32);

fn classes(text: &str) -> Result<Classes, String> {
    /// Classes that are listed by a range, at most.
    const MOST: u32 = 1 << 20;
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|&class| class < MOST);
    let wrong = || format!("wanted a class or a range such as 10-19, got {text:?}");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
    if first > last { Err(format!("the range {text} is empty")) } else { Ok(Classes(first, last)) }
}

fn similarity(text: &str) -> Result<f32, String> {
    let is_one = |similarity: &f32| *similarity > 0.0 && *similarity <= 1.0;
    text.parse().ok().filter(is_one).ok_or_else(|| "wanted a number above 0, at most 1".to_owned())
}

impl Args {
    /// Makes the analyses.
    ///
    /// # Errors
    /// Whatever is wrong with a run or a network, or kept the folder from being written.
    pub fn run(self, quiet: bool) -> Result<()> {
        let is_given = |paths: &[PathBuf]| !paths.is_empty();
        let Sources { weights, mean, network, class_names } = &self.networks;
        if weights.is_empty() && [mean, network, class_names].into_iter().any(|paths| is_given(paths)) {
            let text =
                "--mean, --network and --class-names go with --weights; without it the networks are those of the runs";
            return Err(Error::Usage(text.into()));
        }
        let mut classes: Vec<u32> = self.classes.iter().flat_map(|&Classes(first, last)| first..=last).collect();
        classes.sort_unstable();
        classes.dedup();
        let request = AnalyseRequest {
            networks: if weights.is_empty() { Vec::new() } else { self.networks.files()? },
            runs: self.runs,
            only: self.only,
            classes,
            groups: self.groups,
            permutations: self.permutations,
            seed: self.seed,
            goal: self.threshold,
            restarts: self.restarts,
            similarity: self.similarity,
            out: self.out,
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
            progress: if quiet { ProgressMode::None } else { self.progress },
        };
        let (report, folder) = analyse::run(&request)?;
        super::print(&if self.json { super::json(&report)? } else { text(&report, &folder) })
    }
}

/// Elites that are listed one by one.
const LISTED: usize = 40;

/// What a person wants to know.
fn text(report: &Report, folder: &Path) -> String {
    let mut parts = Vec::new();
    parts.extend(report.blame.as_ref().map(blame_text));
    parts.extend(report.thresholds.as_ref().map(thresholds_text));
    parts.extend(report.likeness.as_ref().map(likeness_text));
    parts.extend(report.resistance.as_ref().map(resistance_text));
    parts.extend(report.minimal.as_ref().map(minimal_text));
    parts.extend(report.ablation.as_ref().map(ablation_text));
    format!("{}\n{}\n", parts.join("\n"), folder.display())
}

fn mean_text(value: f64) -> String {
    confidence_text(round_down(value))
}

/// `median (least .. greatest)`.
fn spread_text(spread: &Spread, of: impl Fn(f64) -> String) -> String {
    format!("{} ({} .. {})", of(spread.median), of(spread.min), of(spread.max))
}

fn blame_text(blame: &Blame) -> String {
    let mut text = format!(
        "blame: {} elites, {} images without a node or an edge, of which {} differ from their elite\n",
        blame.elites.len(),
        blame.drawn,
        blame.scored
    );
    if blame.elites.len() <= LISTED {
        let mut table =
            Table::new("class |>seed |>confidence |>hidden |>edges |>silent % |>vital |most important edge |>lost");
        for elite in &blame.elites {
            let edges = elite.worst(true);
            let worst = edges.first();
            table.row(vec![
                elite.place.class_text(),
                elite.place.seed.to_string(),
                confidence_text(elite.place.confidence),
                elite.hidden_nodes.to_string(),
                elite.edges.to_string(),
                percent(elite.silent_edge_share),
                elite.vital_edges.to_string(),
                worst.map_or("-".to_owned(), |worst| worst.what.trim_start_matches("edge ").to_owned()),
                worst.map_or("-".to_owned(), |worst| format!("{:.5}", worst.lost)),
            ]);
        }
        text.push_str(&table.text());
    }
    let mut table = Table::new("set |>elites |edges |silent % |vital");
    for set in &blame.sets {
        table.row(vec![
            set.set.clone(),
            set.elites.to_string(),
            spread_text(&set.edges, |edges| edges.to_string()),
            spread_text(&set.silent_edge_share, percent),
            spread_text(&set.vital_edges, |edges| edges.to_string()),
        ]);
    }
    text + &table.text()
}

fn thresholds_text(thresholds: &Thresholds) -> String {
    let mut text =
        String::from("thresholds: confidences at the end, and evaluations until the median over classes was there\n");
    let heads =
        "seed |>generation |>median |>worst |class |>.9 |>.99 |>.999 |>.9999 |>distinct |>to .9 |>.99 |>.999 |>.9999";
    for set in &thresholds.sets {
        writeln!(text, "{}", set.set).expect("a string");
        let mut table = Table::new(heads);
        for run in thresholds.runs.iter().filter(|run| run.set == set.set) {
            let number = run.worst_class.to_string();
            let worst =
                if number == run.worst_class_name { number } else { format!("{number} {}", run.worst_class_name) };
            let mut row = vec![
                run.seed.to_string(),
                run.generation.to_string(),
                mean_text(run.median),
                mean_text(run.min),
                worst,
            ];
            row.extend(run.reached.iter().map(|reached| reached.classes.to_string()));
            row.push(run.distinct.to_string());
            let evaluations = run.reached.iter().map(|reached| reached.median);
            row.extend(evaluations.map(|evaluations| evaluations.map_or("-".to_owned(), |n| n.to_string())));
            table.row(row);
        }
        text.push_str(&table.text());
        let over = set.classes_over.iter().zip(THRESHOLDS).map(|(n, threshold)| format!("{n} at {threshold}"));
        let over = over.collect::<Vec<_>>().join(", ");
        let median = mean_text(set.class_medians.median);
        writeln!(text, "median over classes of the medians over runs: {median}; classes: {over}").expect("a string");
    }
    if !thresholds.comparisons.is_empty() {
        let mut table = Table::new("Mann-Whitney U, two-sided |of |>n |>medians |>U |>p");
        for compared in &thresholds.comparisons {
            table.row(vec![
                format!("{} / {}", compared.a, compared.b),
                compared.of.clone(),
                format!("{} / {}", compared.n[0], compared.n[1]),
                format!("{} / {}", mean_text(compared.medians[0]), mean_text(compared.medians[1])),
                compared.u.to_string(),
                compared.p.map_or("all equal".to_owned(), p_text),
            ]);
        }
        text.push_str(&table.text());
    }
    text
}

fn likeness_text(likeness: &Likeness) -> String {
    let mut text = format!(
        "likeness: mean distances of elites; p by {} permutations, seed {}\n",
        likeness.permutations, likeness.seed
    );
    for set in &likeness.sets {
        let groups = set.groups.iter().map(|group| format!("{} ({})", group.name, group.classes.len()));
        let groups = groups.collect::<Vec<_>>().join(", ");
        writeln!(text, "{}: {} runs; {groups}; {}", set.set, set.runs.len(), set.grouping).expect("a string");
        let heads = "space |>related, a run |>unrelated, a run |>same class, two runs |>related, two runs |>p related |>p same run |>p within or over";
        let mut table = Table::new(heads);
        for space in &set.spaces {
            let mean = |spread: &Spread| format!("{:.4}", spread.mean);
            let p = |test: &Permutation| format!("{:.4}", test.p);
            table.row(vec![
                space.space.clone(),
                mean(&space.related_same_run),
                space.unrelated_same_run.as_ref().map_or("-".to_owned(), mean),
                mean(&space.same_class_other_run),
                mean(&space.related_other_run),
                space.related.as_ref().map_or("-".to_owned(), p),
                p(&space.same_run),
                p(&space.within_or_over),
            ]);
        }
        text.push_str(&table.text());
    }
    text.push_str(
        "p related: related classes nearer than unrelated ones; same run: nearer in a run than over runs; within or over: related in a run \
         nearer than a class to itself over runs\n",
    );
    text
}

/// Classes that stay low, listed.
const LOWEST: usize = 10;

fn resistance_text(resistance: &Resistance) -> String {
    let mut text = String::from("resistance: which classes stay low, and what their elites are taken for\n");
    for set in &resistance.sets {
        writeln!(text, "{}, {} runs", set.set, set.runs).expect("a string");
        if !set.groups.is_empty() {
            let maybe = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
            let heads = "group |>classes |>median |>mass on it |>share of the rest |>if even |>runner-up in it % |>U |>p |>rank correlation |>p";
            let mut table = Table::new(heads);
            for group in &set.groups {
                table.row(vec![
                    group.name.clone(),
                    group.n_classes.to_string(),
                    mean_text(group.confidence.median),
                    maybe(group.group_mass),
                    maybe(group.group_share_of_rest),
                    maybe(group.even_share),
                    group.runner_up_in_group.map_or("-".to_owned(), percent),
                    group.u.map_or("-".to_owned(), |u| u.to_string()),
                    group.p.map_or("-".to_owned(), p_text),
                    maybe(group.confidence_and_share),
                    group.test.as_ref().map_or("-".to_owned(), |test| format!("{:.4}", test.p)),
                ]);
            }
            text.push_str(&table.text());
        }
        let mut lowest: Vec<_> = set.classes.iter().collect();
        lowest.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
        let mut table = Table::new("lowest |>median |>leads in |group |taken for |>by");
        for class in lowest.into_iter().take(LOWEST) {
            let name = |number: u32, name: &str| {
                if number.to_string() == name { name.to_owned() } else { format!("{number} {name}") }
            };
            table.row(vec![
                name(class.class, &class.name),
                mean_text(class.confidence),
                format!("{} of {}", class.leads, class.runs),
                class.group.clone().unwrap_or_else(|| "-".to_owned()),
                name(class.runner_up, &class.runner_up_name),
                mean_text(class.runner_up_probability),
            ]);
        }
        text.push_str(&table.text());
    }
    text
}

fn minimal_text(minimal: &Minimal) -> String {
    let mut text = format!(
        "minimal genomes that keep {}: greedy and {} restarts, {} images scored\n",
        minimal.goal, minimal.restarts, minimal.scored
    );
    if minimal.without_lead > 0 {
        writeln!(text, "{} elites are left out, whose classes do not lead", minimal.without_lead).expect("a string");
    }
    if minimal.elites.len() <= LISTED {
        let heads = "class |>seed |>confidence |>edges |>hidden |>left: edges |>hidden |>confidence |found by";
        let mut table = Table::new(heads);
        for elite in &minimal.elites {
            table.row(vec![
                elite.place.class_text(),
                elite.place.seed.to_string(),
                confidence_text(elite.place.confidence),
                elite.before.edges.to_string(),
                elite.before.hidden_nodes.to_string(),
                elite.after.edges.to_string(),
                elite.after.hidden_nodes.to_string(),
                confidence_text(elite.minimal_confidence),
                elite.found_by.clone(),
            ]);
        }
        text.push_str(&table.text());
    }
    let mut table = Table::new("set |>elites |edges |edges left |hidden |hidden left");
    for set in &minimal.sets {
        let whole = |spread: &Spread| spread_text(spread, |n| n.to_string());
        table.row(vec![
            set.set.clone(),
            set.elites.to_string(),
            whole(&set.edges_before),
            whole(&set.edges_after),
            whole(&set.hidden_nodes_before),
            whole(&set.hidden_nodes_after),
        ]);
    }
    text.push_str(&table.text());
    let smallest = minimal.elites.iter().min_by_key(|elite| (elite.after.edges, elite.after.hidden_nodes));
    if let Some(smallest) = smallest {
        let (class, seed) = (smallest.place.class_text(), smallest.place.seed);
        writeln!(text, "the smallest, class {class}, seed {seed}: {}", smallest.formula.join("; ")).expect("a string");
    }
    text
}

fn ablation_text(ablation: &Ablation) -> String {
    let mut text = format!(
        "ablation: copies of a patch (similarity {} or more) removed one by one, windows covered, {} images scored\n",
        ablation.similarity, ablation.scored
    );
    if ablation.elites.len() <= LISTED {
        let heads = "class |>seed |>confidence |>copies |>side |>one gone |>half gone |>one left |>none left |>most lost by a window";
        let mut table = Table::new(heads);
        for elite in &ablation.elites {
            let n = elite.copies.len();
            let left = |gone: usize| if n > 1 { confidence_text(elite.confidences[gone]) } else { "-".to_owned() };
            table.row(vec![
                elite.place.class_text(),
                elite.place.seed.to_string(),
                confidence_text(elite.confidences[0]),
                n.to_string(),
                elite.copies.first().map_or("-".to_owned(), |copy| copy.square.side.to_string()),
                left(1),
                left(n.div_ceil(2)),
                left(n.saturating_sub(1)),
                left(n),
                format!("{:.5}", elite.occlusion.most_lost),
            ]);
        }
        text.push_str(&table.text());
    }
    let mut table = Table::new(
        "set |>elites |>with copies |copies |>mean |>one gone |>half gone |>one left |>none left |>window, median lost",
    );
    for set in &ablation.sets {
        let mean = |spread: &Option<Spread>| spread.as_ref().map_or("-".to_owned(), |spread| mean_text(spread.mean));
        table.row(vec![
            set.set.clone(),
            set.elites.to_string(),
            set.with_repeats.to_string(),
            set.copies.as_ref().map_or("-".to_owned(), |copies| spread_text(copies, |n| n.to_string())),
            mean(&set.confidence),
            mean(&set.without_one),
            mean(&set.without_half),
            mean(&set.one_left),
            mean(&set.none_left),
            format!("{:.5}", set.most_lost_by_a_window.median),
        ]);
    }
    text + &table.text()
}
