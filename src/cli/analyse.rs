//! `pareidolia analyse`: what evolution found.

use super::transfer::Table;
use super::{Sources, Speed};
use crate::error::{Error, Result};
use crate::experiment::analyse::blame::Blame;
use crate::experiment::analyse::thresholds::{THRESHOLDS, Thresholds};
use crate::experiment::analyse::{self, AnalyseRequest, Part, Report};
use crate::experiment::device::Asked;
use crate::experiment::progress::ProgressMode;
use crate::experiment::statistics::Spread;
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

    /// Take the elites of these classes apart, and no others: numbers and ranges, as in `0,3,10-19` [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = classes)]
    classes: Vec<Classes>,

    #[command(flatten)]
    networks: Sources,

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

impl Args {
    /// Makes the analyses.
    ///
    /// # Errors
    /// Whatever is wrong with a run or a network, or kept the folder from being written.
    pub fn run(self, quiet: bool) -> Result<()> {
        let is_given = |paths: &[PathBuf]| !paths.is_empty();
        let Sources { weights, mean, network, class_names } = &self.networks;
        if weights.is_empty() && [mean, network, class_names].into_iter().any(|paths| is_given(paths)) {
            let text = "--mean, --network and --class-names go with --weights; without it the networks are those of the runs";
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
    let mut text = String::from("thresholds: confidences at the end, and evaluations until the median over classes was there\n");
    let heads = "seed |>generation |>median |>worst |class |>.9 |>.99 |>.999 |>.9999 |>distinct |>to .9 |>.99 |>.999 |>.9999";
    for set in &thresholds.sets {
        writeln!(text, "{}", set.set).expect("a string");
        let mut table = Table::new(heads);
        for run in thresholds.runs.iter().filter(|run| run.set == set.set) {
            let number = run.worst_class.to_string();
            let worst = if number == run.worst_class_name { number } else { format!("{number} {}", run.worst_class_name) };
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
                compared.p.map_or("all equal".to_owned(), |p| format!("{p:.2e}")),
            ]);
        }
        text.push_str(&table.text());
    }
    text
}
