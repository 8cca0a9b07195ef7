//! The paper's claims on MNIST, and what became of them.

use super::Protocol;
use super::evidence::{Evidence, RunEvidence};
use crate::archive::ARITHMETIC_VERSION;
use crate::experiment::ascend::config::Preset as Setting;
use crate::experiment::config::name_of;
use crate::experiment::retrain::{Manifest as Retraining, confidence};
use crate::experiment::statistics::{mann_whitney_u, p_text};
use crate::experiment::transfer::matrix::{Cell, Method};
use crate::network::shipped::SHIPPED;
use crate::output::retrain::Spread;
use crate::telemetry;
use crate::version::{COMMIT, VERSION};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// How sure it is that the paper says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Its text or a figure.
    Paper,
    /// An account of it.
    Account,
    /// Recalled from it.
    Recalled,
    /// The same, and the figure may be another.
    RecalledWeak,
    /// Arithmetic.
    Computed,
}

impl Certainty {
    fn text(self) -> &'static str {
        match self {
            Certainty::Paper => "paper",
            Certainty::Account => "account of it",
            Certainty::Recalled => "recalled",
            Certainty::RecalledWeak => "recalled, weakly",
            Certainty::Computed => "computed",
        }
    }
}

/// A claim of the paper, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub name: String,
    pub claim: String,
    /// The paper's figure.
    pub paper: String,
    pub certainty: Certainty,
    /// Ours, with its spread.
    pub ours: String,
    /// When it counts as met.
    pub rule: String,
    pub met: bool,
}

/// What came of it besides, without a claim on MNIST to be held against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub name: String,
    pub text: String,
    /// Of a comparison of two samples by a Mann-Whitney U test, two-sided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

/// The content of `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: String,
    pub commit: String,
    pub arithmetic_version: u32,
    pub protocol: Protocol,
    /// What the last part ran on: device, processor, threads, vector instructions.
    pub machine: String,
    /// Of the last call.
    pub seconds: f64,
    pub claims: Vec<Claim>,
    pub findings: Vec<Finding>,
}

/// .9999 as archives count it.
const SURE: f64 = 0.9999_f32 as f64;
/// Test digits, of which an error rate has a standard error.
fn standard_error(rate: f64, of: usize) -> f64 {
    (rate * (1.0 - rate) / of as f64).sqrt()
}

fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    Spread::of(values)
}

/// `0.99998 (0.99987 .. 1.00000)`: the median, the least and the greatest.
fn confidences(values: impl IntoIterator<Item = f64>) -> String {
    let Spread { min, median, max, .. } = spread(values);
    format!("{} ({} .. {})", confidence(median), confidence(min), confidence(max))
}

/// The same of numbers without decimals, or with one.
fn numbers(values: impl IntoIterator<Item = f64>) -> String {
    let Spread { min, median, max, .. } = spread(values);
    format!("{median} ({min} .. {max})")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The first generation in which `holds`, of each run in which there is one.
fn first(runs: &[RunEvidence], holds: impl Fn(f64, usize) -> bool) -> Vec<f64> {
    let of = |run: &RunEvidence| {
        let lines = run.median.iter().zip(&run.over_9999);
        lines.enumerate().find(|(_, (median, over))| holds(**median, **over)).map(|(generation, _)| generation as f64)
    };
    runs.iter().filter_map(of).collect()
}

/// `generation 7 (3 .. 20), in 48 of 50 runs`
fn first_text(runs: &[RunEvidence], holds: impl Fn(f64, usize) -> bool) -> String {
    let first = first(runs, holds);
    match first.len() {
        0 => format!("in none of {} runs", runs.len()),
        n if n == runs.len() => format!("generation {}", numbers(first)),
        n => format!("generation {}, in {n} of {} runs", numbers(first), runs.len()),
    }
}

impl Report {
    /// What `evidence` says, gathered in `seconds`.
    pub(super) fn of(protocol: &Protocol, evidence: &Evidence, seconds: f64) -> Report {
        let mut claims = vec![error(evidence)];
        claims.extend(evolution(protocol, evidence));
        claims.extend(ascent(evidence));
        claims.extend(transfer(evidence));
        claims.extend(retraining(protocol, evidence));
        let Retraining { device, threads, simd, .. } = &evidence.retraining;
        let processor = telemetry::processor().map_or(String::new(), |name| format!(" ({name})"));
        Report {
            version: VERSION.to_string(),
            commit: COMMIT.to_string(),
            arithmetic_version: ARITHMETIC_VERSION,
            protocol: *protocol,
            machine: format!("{device}{processor}, {threads} threads, {simd}"),
            seconds,
            claims,
            findings: findings(evidence),
        }
    }

    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text =
            String::from("| claim | the paper | certainty | ours | met where | |\n|---|---|---|---|---|---|\n");
        for Claim { claim, paper, certainty, ours, rule, met, .. } in &self.claims {
            let verdict = if *met { "met" } else { "**not met**" };
            writeln!(text, "| {claim} | {paper} | {} | {ours} | {rule} | {verdict} |", certainty.text())
                .expect("a string");
        }
        text.push('\n');
        for Finding { name, text: finding, .. } in &self.findings {
            writeln!(text, "- {name}: {finding}").expect("a string");
        }
        let Report { version, commit, arithmetic_version, machine, .. } = self;
        writeln!(text, "\npareidolia {version} ({commit}), arithmetic version {arithmetic_version}, on {machine}")
            .expect("a string");
        text
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Claim { claim, paper, certainty, ours, met, .. } in &self.claims {
            let verdict = if *met { "met    " } else { "NOT MET" };
            writeln!(
                text,
                "{verdict}  {claim}\n         paper  {paper} [{}]\n         ours   {ours}",
                certainty.text()
            )
            .expect("a string");
        }
        for Finding { name, text: finding, .. } in &self.findings {
            writeln!(text, "{:<7}  {name}: {finding}", "").expect("a string");
        }
        let met = self.claims.iter().filter(|claim| claim.met).count();
        write!(text, "\n{met} of {} claims met", self.claims.len()).expect("a string");
        if self.protocol != (Protocol { seed: self.protocol.seed, ..Protocol::FULL }) {
            text.push_str("; the numbers are not the paper's, so this says little of them");
        }
        text.push('\n');
        text
    }
}

/// Builds a claim.
#[allow(clippy::too_many_arguments, reason = "a row of a table")]
fn row(name: &str, claim: &str, paper: &str, certainty: Certainty, ours: String, rule: &str, met: bool) -> Claim {
    let [name, claim, paper, rule] = [name, claim, paper, rule].map(String::from);
    Claim { name, claim, paper, certainty, ours, rule, met }
}

fn error(evidence: &Evidence) -> Claim {
    let rates =
        evidence.errors.iter().map(|&(name, wrong, of)| format!("{name} {}", percent(wrong as f64 / of as f64)));
    let (_, wrong, of) = evidence.errors[0];
    let rate = wrong as f64 / of as f64;
    row(
        "lenet-error",
        "LeNet's error on the test digits",
        "0.94 %",
        Certainty::Recalled,
        rates.collect::<Vec<_>>().join(", "),
        "the first differs by less than three standard errors",
        (rate - 0.0094).abs() < 3.0 * standard_error(0.0094, of),
    )
}

/// Generations within which the paper has all digits of pixels; how many are "a few"; those after which it has the median.
const ALL_WITHIN: usize = 50;
const A_FEW: f64 = 10.0;

fn evolution(protocol: &Protocol, evidence: &Evidence) -> Vec<Claim> {
    let Evidence { cppn, direct, .. } = evidence;
    let last = protocol.generations as usize;
    let at_last =
        |runs: &[RunEvidence]| runs.iter().map(|run| run.median[last.min(run.median.len() - 1)]).collect::<Vec<_>>();
    let within = last.min(ALL_WITHIN - 1);
    let digits: Vec<usize> = direct.iter().map(|run| run.over_9999[within.min(run.over_9999.len() - 1)]).collect();
    let with_all = digits.iter().filter(|&&digits| digits == 10).count();
    let by_200 = |runs: &[RunEvidence], name, claim| {
        let medians = at_last(runs);
        let met = spread(medians.iter().copied()).median >= SURE;
        row(
            name,
            claim,
            "99.99 %",
            Certainty::Paper,
            format!("{} after {last}, of {} runs", confidences(medians), runs.len()),
            "the median of the runs' medians is there",
            met,
        )
    };
    let few = first(cppn, |_, over| over > 0);
    let first_digit = first_text(cppn, |_, over| over > 0);
    vec![
        row(
            "direct-50",
            "Pixels: every digit at 99.99 % in under 50 generations",
            "in each run",
            Certainty::Paper,
            format!(
                "in {with_all} of {} runs; digits there: {}; all ten: {}",
                direct.len(),
                numbers(digits.iter().map(|&digits| digits as f64)),
                first_text(direct, |_, over| over == 10)
            ),
            "in each run",
            with_all == direct.len(),
        ),
        by_200(direct, "direct-200", "Pixels: median confidence by generation 200"),
        row(
            "cppn-few",
            "CPPNs: 99.99 % after only a few generations",
            "a few",
            Certainty::Paper,
            format!("first digit: {first_digit}; half of them: {}", first_text(cppn, |_, over| over >= 5)),
            "a first digit by generation 10 in half of the runs",
            !few.is_empty() && few.iter().filter(|&&first| first <= A_FEW).count() * 2 >= cppn.len(),
        ),
        by_200(cppn, "cppn-200", "CPPNs: median confidence by generation 200"),
    ]
}

fn ascent(evidence: &Evidence) -> Vec<Claim> {
    let of = |setting: Setting| {
        let (_, manifest) = evidence.ascents.iter().find(|(of, _)| *of == setting).expect("each setting");
        manifest.images.iter().map(|image| f64::from(image.confidence)).collect::<Vec<f64>>()
    };
    let median = |setting| spread(of(setting)).median;
    let text = |settings: &[Setting]| {
        let each = settings.iter().map(|&setting| format!("{} {}", name_of(setting), confidences(of(setting))));
        each.collect::<Vec<_>>().join(", ")
    };
    let plain = median(Setting::Plain);
    let regularised = [Setting::Default, Setting::Fade, Setting::Blur, Setting::Sparse];
    let lower = |setting: &Setting| median(*setting) <= plain;
    vec![
        row(
            "ascent",
            "Gradient ascent reaches 99.99 %",
            "99.99 %",
            Certainty::Recalled,
            text(&[Setting::Plain]),
            "the median without regularisation is there",
            plain >= SURE,
        ),
        row(
            "ascent-regularised",
            "Regularisation costs a little of it",
            "a little lower",
            Certainty::Recalled,
            text(&regularised),
            "each median is no higher than without, and at least 0.9",
            regularised.iter().all(lower) && regularised.iter().all(|&setting| median(setting) >= 0.9),
        ),
    ]
}

fn transfer(evidence: &Evidence) -> Vec<Claim> {
    let cell = |method: Method, from: usize, to: usize| -> &Cell {
        let (from, to) = (SHIPPED[from].name, SHIPPED[to].name);
        let row = evidence.matrix.rows.iter().find(|row| row.method == method && row.source == from);
        row.and_then(|row| row.cells.iter().find(|cell| cell.network == to)).expect("all were shown to all")
    };
    let pair = |method| [cell(method, 0, 1).measures, cell(method, 1, 0).measures];
    let images = pair(Method::Cppn);
    let there_and_back =
        |value: &dyn Fn(usize) -> f64| format!("{} there, {} back", percent(value(0)), percent(value(1)));
    let equal = |i: usize| images[i].equal_share;
    let sure = |i: usize| images[i].equal_9999 as f64 / images[i].equal.max(1) as f64;
    let less = |i: usize| images[i].less_confident_share.unwrap_or(0.0);
    let near = |value: &dyn Fn(usize) -> f64, paper: f64| {
        [0, 1].into_iter().all(|i| (paper / 1.5..=paper * 1.5).contains(&value(i)))
    };
    let all: Vec<&Cell> = evidence.matrix.rows.iter().flat_map(|row| &row.cells).filter(|cell| !cell.own).collect();
    let some = |cell: &&Cell| cell.measures.equal_9999 > 0 && cell.measures.equal < cell.measures.images;
    let evolved: Vec<&Cell> = [Method::Cppn, Method::Direct]
        .into_iter()
        .flat_map(|method| {
            (0..3).flat_map(move |from| (0..3).filter(move |&to| to != from).map(move |to| (method, from, to)))
        })
        .map(|(method, from, to)| cell(method, from, to))
        .collect();
    let shares = evolved.iter().map(|cell| 100.0 * cell.measures.equal_9999_share);
    let Spread { min, median, max, .. } = spread(shares);
    let digits = evidence.matrix.by_class.iter().find(|by_class| by_class.method == Method::Cppn);
    let mut digits = digits.expect("CPPNs were shown").classes.clone();
    digits.sort_by(|a, b| b.measures.equal_9999_share.total_cmp(&a.measures.equal_9999_share));
    let best: Vec<&str> = digits.iter().take(3).map(|class| class.name.as_str()).collect();
    let text = digits.iter().map(|class| format!("{} {:.0} %", class.name, 100.0 * class.measures.equal_9999_share));
    let one = "CPPNs, LeNet and LeNet of another seed";
    vec![
        row(
            "transfer",
            "Some evolved images get 99.99 % from two networks, others are tuned to one",
            "some",
            Certainty::Account,
            format!(
                "of all images {median:.2} % ({min:.2} .. {max:.2} over both encodings and six pairs) have equal labels at 99.99 % on both; \
                 {} of {} pairs have some and not all",
                evolved.iter().filter(|cell| some(cell)).count(),
                evolved.len()
            ),
            "for each encoding and pair",
            evolved.iter().all(some) && !all.is_empty(),
        ),
        row(
            "transfer-equal",
            &format!("{one}: equal labels"),
            "46 %",
            Certainty::RecalledWeak,
            there_and_back(&equal),
            "within a factor of 1.5",
            near(&equal, 0.46),
        ),
        row(
            "transfer-9999",
            &format!("{one}: of those, 99.99 % on both"),
            "27 %",
            Certainty::RecalledWeak,
            there_and_back(&sure),
            "within a factor of 1.5",
            near(&sure, 0.27),
        ),
        row(
            "transfer-less-confident",
            &format!("{one}: of those, the network of origin is the more confident"),
            "at least 92.18 %",
            Certainty::Recalled,
            there_and_back(&less),
            "both ways",
            less(0) >= 0.9218 && less(1) >= 0.9218,
        ),
        row(
            "transfer-digits",
            "CPPNs: images of 9, 6 and 2 fool both networks most",
            "9, 6, 2",
            Certainty::Recalled,
            format!("equal and 99.99 % on both, of a digit's images: {}", text.collect::<Vec<_>>().join(", ")),
            "these three are ahead",
            ["9", "6", "2"].iter().all(|digit| best.contains(digit)),
        ),
    ]
}

fn retraining(protocol: &Protocol, evidence: &Evidence) -> Vec<Claim> {
    let rounds = &evidence.retraining.rounds;
    let n = rounds.len();
    let last = &rounds[n - 1];
    let shares = rounds.iter().map(|round| 100.0 * round.evolution.share_over_9999);
    let Spread { min, median, max, .. } = spread(shares);
    let medians: Vec<f64> = rounds.iter().map(|round| round.evolution.spread.median).collect();
    let high = medians.iter().filter(|&&median| median > 0.97).count();
    let errors: Vec<f64> =
        rounds.iter().map(|round| 1.0 - round.network.accuracy.expect("MNIST has test digits")).collect();
    let of = evidence.errors[0].2;
    let se = standard_error(0.0094, of);
    let in_range = |&error: &f64| (0.0075 - 3.0 * se..=0.0102 + 3.0 * se).contains(&error);
    let Spread { min: low, median: middle, max: worst, .. } = spread(errors.iter().copied());
    let error_text = format!("{} ({} .. {})", percent(middle), percent(low), percent(worst));
    let as_first = |&error: &f64| (error - errors[0]).abs() < 3.0 * 2_f64.sqrt() * standard_error(errors[0], of);
    let share = |round: &crate::output::retrain::Round| {
        round.network.fooling_images as f64 / round.network.images.expect("it was trained") as f64
    };
    let expected = |round: usize| {
        let fooling = if round == 0 { 0 } else { protocol.images_first + protocol.images * (round as u32 - 1) };
        f64::from(fooling) / (f64::from(fooling) + 10.0 * evidence.digits as f64)
    };
    vec![
        row(
            "retrain-immunity",
            &format!("No immunity: images at 99.99 % still evolve against DNN_{n}"),
            "after 15 networks",
            Certainty::Account,
            format!(
                "of the images against DNN_{n} {:.2} % are there; over all networks {median:.2} % ({min:.2} .. {max:.2})",
                100.0 * last.evolution.share_over_9999
            ),
            "some are there against each network",
            rounds.iter().all(|round| round.evolution.over_9999 > 0),
        ),
        row(
            "retrain-medians",
            "Medians vary from network to network, mostly above 97 %",
            "two or three in the 70s",
            Certainty::RecalledWeak,
            format!(
                "{high} of {n} above 97 %: {}",
                medians.iter().map(|&m| confidence(m)).collect::<Vec<_>>().join(", ")
            ),
            "more than half are",
            2 * high > n,
        ),
        row(
            "retrain-error",
            "Errors of the networks on the test digits",
            "0.75 to 1.02 %",
            Certainty::RecalledWeak,
            error_text.clone(),
            "all are there, give or take three standard errors",
            errors.iter().all(in_range),
        ),
        row(
            "retrain-accuracy",
            "The accuracy stays about that of DNN_1",
            "about",
            Certainty::Recalled,
            format!("{} for DNN_1, {error_text} over all", percent(errors[0])),
            "each differs by less than three standard errors",
            errors.iter().all(as_first),
        ),
        row(
            "retrain-share",
            "Fooling images among those that DNN_2 and the last network are trained with",
            &format!("{} and {}", percent(expected(1)), percent(expected(n - 1))),
            Certainty::Computed,
            format!("{} and {}", percent(share(&rounds[1.min(n - 1)])), percent(share(last))),
            "they are the same",
            (share(&rounds[1.min(n - 1)]) - expected(1.min(n - 1))).abs() < 1e-3
                && (share(last) - expected(n - 1)).abs() < 1e-3,
        ),
    ]
}

/// Compares two samples of medians of runs.
fn compared(name: String, [what_a, what_b]: [&str; 2], a: &[f64], b: &[f64]) -> Finding {
    let mut text = format!("{what_a} {}, {what_b} {}", confidences(a.iter().copied()), confidences(b.iter().copied()));
    let test = mann_whitney_u(a, b).filter(|(_, p)| p.is_finite());
    match test {
        Some((u, p)) => {
            let pairs = a.len() * b.len();
            write!(text, "; Mann-Whitney U {u} of {pairs}, p {}, two-sided", p_text(p)).expect("a string")
        }
        None => text.push_str("; no Mann-Whitney U: all are equal"),
    }
    Finding { name, text, u: test.map(|(u, _)| u), p: test.map(|(_, p)| p) }
}

fn findings(evidence: &Evidence) -> Vec<Finding> {
    let last = |runs: &[RunEvidence]| runs.iter().map(|run| run.median[run.median.len() - 1]).collect::<Vec<f64>>();
    let rounds = &evidence.retraining.rounds;
    let n = rounds.len();
    let mut findings = vec![compared(
        "medians of runs, CPPNs against pixels".to_string(),
        ["CPPNs", "pixels"],
        &last(&evidence.cppn),
        &last(&evidence.direct),
    )];
    if n > 1 {
        let name = format!("DNN_{n}");
        findings.push(compared(
            format!("medians of runs, DNN_1 against {name}"),
            ["DNN_1", &name],
            &evidence.medians[0],
            &evidence.medians[n - 1],
        ));
        let taken = rounds.iter().filter_map(|round| round.taken);
        let share = |part: fn(&crate::output::retrain::Taken) -> f64| {
            let Spread { min, median, max, .. } = spread(taken.clone().map(|taken| 100.0 * part(&taken)));
            format!("{median:.1} % ({min:.1} .. {max:.1})")
        };
        findings.push(Finding {
            name: "fresh images that a network takes for fooling images, DNN_2 and later".to_string(),
            text: format!(
                "of random ones {}, of evolved ones {}",
                share(|taken| taken.generation_0.share()),
                share(|taken| taken.last_generation.share())
            ),
            u: None,
            p: None,
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_generations_are_those_of_runs_that_have_one() {
        let run = |over: &[usize]| RunEvidence { median: vec![0.5; over.len()], over_9999: over.to_vec() };
        let runs = [run(&[0, 0, 1, 3]), run(&[0, 2, 2, 2]), run(&[0, 0, 0, 0])];
        assert_eq!(first(&runs, |_, over| over > 0), [2.0, 1.0]);
        assert_eq!(first_text(&runs, |_, over| over > 0), "generation 1.5 (1 .. 2), in 2 of 3 runs");
        assert_eq!(first_text(&runs, |_, over| over > 9), "in none of 3 runs");
    }
}
