//! `pareidolia lineage`: from whom the elites of a run descend.

use super::{Sources, Speed};
use crate::error::Result;
use crate::experiment::device::Asked;
use crate::experiment::lineage::lines::Span;
use crate::experiment::lineage::report::{EliteLine, Report};
use crate::experiment::lineage::{self, LineageRequest};
use crate::network::Combine;
use crate::network::weights::Files;
use crate::output::{confidence_text, phylogeny};
use std::path::{Path, PathBuf};

/// Follow the elites of a run back to generation 0
///
/// For a run that was made with `evolve --lineage`. Every individual from which an elite descends is made again from the seed and from who
/// held the classes when; every elite must come out as the archive has it, bit for bit. A class won by a child of another class's elite is
/// a change of goal: the elite of a class has often become good at something else first.
///
/// Of a run that is not finished, the ancestors of its checkpoint's elites are shown.
///
/// With --out, a folder gets the ancestors of each elite as pictures (generation; confidence in the elite's class; the class that it stood for
/// then, with its confidence in that), the tree of all elites (tree.svg; tree.nwk, Newick; tree.graphml) and lineage.json.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Classes whose elites are followed: numbers, ranges, names, such as `3,5-7` [default: all of the run]
    #[arg(long, value_name = "LIST")]
    classes: Option<String>,

    /// The folder for pictures, trees and lineage.json, which must not exist yet
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print lineage.json instead of a table
    #[arg(long)]
    json: bool,

    /// Where ancestors are shown to the network: `auto`, `cpu`, or `cuda:N` for a GPU; the answer is the same
    #[arg(long, default_value = "auto")]
    device: Asked,

    #[command(flatten)]
    source: Sources,

    /// How several networks judge together, where they are named
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Networks")]
    combine: Option<Combine>,

    #[command(flatten)]
    speed: Speed,
}

impl Args {
    /// Follows them.
    ///
    /// # Errors
    /// Whatever is wrong with the run, its lineage or the call.
    pub fn run(self) -> Result<()> {
        let request = LineageRequest {
            files: Files::together(self.source.files()?, self.combine)?,
            run: self.run,
            classes: self.classes,
            out: self.out,
            device: self.device,
            threads: self.speed.threads(),
            simd: self.speed.simd,
        };
        let report = lineage::run(&request)?;
        super::print(&if self.json { phylogeny::to_json(&report) } else { text(&report, request.out.as_deref()) })
    }
}

/// Elites that are listed one by one.
const LISTED: usize = 40;
/// Classes that a line went through, as far as they are shown.
const THROUGH: usize = 34;

/// What a person wants to know.
fn text(report: &Report, out: Option<&Path>) -> String {
    let Report { elites, generation, insertions, replayed, niches_won, relatives, .. } = report;
    let mut text = format!(
        "{:>5}  {:<16} {:>10} {:>6} {:>7} {:>8} {:>9}  {}\n",
        "class", "name", "confidence", "born", "births", "switches", "founder", "by way of the classes"
    );
    for elite in elites.iter().take(LISTED) {
        let EliteLine { class, name, confidence, born, depth, goal_switches, line, .. } = elite;
        let mut through: Vec<u32> = line.iter().map(|entry| entry.goal).collect();
        through.dedup();
        let through: Vec<String> = through.iter().map(u32::to_string).collect();
        text += &format!(
            "{class:>5}  {:<16} {:>10} {:>6} {depth:>7} {goal_switches:>8} {:>9}  {}\n",
            crate::output::cut(name, 16),
            confidence_text(*confidence),
            born.0,
            format!("#{}", line[0].candidate),
            last_of(&through.join(" "), THROUGH)
        );
    }
    if elites.len() > LISTED {
        text += &format!("  ...  ({} elites more; lineage.json lists them)\n", elites.len() - LISTED);
    }
    let switches: usize = elites.iter().map(|elite| elite.goal_switches).sum();
    let births: usize = elites.iter().map(|elite| elite.depth).sum();
    let n = elites.len();
    text += &format!(
        "\n{n} elites of generation {generation} descend from {} of generation 0, by {:.1} births and {:.1} changes of goal each\n",
        relatives.founders,
        births as f64 / n as f64,
        switches as f64 / n as f64
    );
    if relatives.pairs > 0 {
        let median = relatives.median_generation.map_or(String::new(), |generation| {
            format!("; their last common ancestors were born in generation {generation} (median)")
        });
        text += &format!("{} of {} pairs are related{median}\n", relatives.related, relatives.pairs);
    }
    text += &format!("\n{:>15} {:>11} {:>28}\n", "generations", "niches won", "by children of other niches");
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    for Span { from, to, won } in &niches_won.over_time {
        let span = if from == to { from.to_string() } else { format!("{from}-{to}") };
        text += &format!("{span:>15} {:>11} {:>28}\n", won.won, percent(won.share));
    }
    text += &format!("{:>15} {:>11} {:>28}\n", "all", niches_won.all.won, percent(niches_won.all.share));
    text += &format!(
        "\n{insertions} insertions in the lineage; {replayed} individuals made again, every elite bit for bit\n"
    );
    if let Some(out) = out {
        text += &format!("{}\n", out.display());
    }
    text
}

/// `text` from its end, of at most `width` characters.
fn last_of(text: &str, width: usize) -> String {
    let n = text.chars().count();
    if n <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(n - width + 2).collect();
    format!("… {}", kept.split_once(' ').map_or(kept.as_str(), |(_, rest)| rest))
}
