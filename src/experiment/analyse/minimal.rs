//! Minimal genomes: the smallest CPPN that still does what an elite does.
//!
//! Edges and hidden nodes are removed as [`blame`](super::blame) removes them, and with them all from which no output can be reached any more.
//! What is left must keep a [`Goal`]. Two searches, of which the smaller result counts (fewest edges, then fewest hidden nodes, then the higher
//! confidence; of equals the greedy one, then the lower restart):
//!
//! - greedy: all single removals are scored; of those that keep the goal the least blamed come first, and as many of them are removed together
//!   as leave the goal, the most that do; again, until no single removal keeps it;
//! - restarts: in a random order each is removed that can be, one by one, again and again until none can.
//!
//! Both end where no single edge or node can be removed. All searches go on side by side, so that the network always sees a batch.

use super::blame::output_name;
use super::runs::{Easel, Judges, Run, Runs};
use super::{AnalyseRequest, ElitePlace};
use crate::archive::mix;
use crate::error::Result;
use crate::experiment::statistics::{Chance, Spread};
use crate::genome::cppn::{Activation, Compiler, Graph, N_INPUTS, Program, Rules};
use crate::simd::Simd;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a smaller genome must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This confidence; of an elite that does not have it, its own.
    Confidence(f32),
    /// That its class is more probable than any other.
    Lead,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Goal, String> {
        let confidence = || text.parse().ok().filter(|confidence| (0.0..=1.0).contains(confidence));
        match text {
            "lead" => Ok(Goal::Lead),
            _ => {
                confidence().map(Goal::Confidence).ok_or_else(|| "wanted a confidence from 0 to 1, or lead".to_owned())
            }
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Confidence(confidence) => confidence.fmt(f),
            Goal::Lead => f.write_str("lead"),
        }
    }
}

/// How large a genome is; of a minimal one, what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub hidden_nodes: usize,
    pub edges: usize,
}

/// An elite and its minimal genome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EliteMinimal {
    #[serde(flatten)]
    pub place: ElitePlace,
    /// The least confidence that it must keep; `None` where its class must lead.
    pub must_keep: Option<f32>,
    pub before: Size,
    /// Of the elite, what outputs depend on.
    pub connected: Size,
    pub after: Size,
    /// Of the minimal genome.
    pub minimal_confidence: f32,
    /// `greedy`, or `restart 3`.
    pub found_by: String,
    pub greedy_edges: usize,
    pub restart_edges: Vec<usize>,
    /// What it draws, an assignment a line.
    pub formula: Vec<String>,
    /// Its image, `(height, width, channels)`.
    #[serde(skip)]
    pub image: Vec<u8>,
}

/// What a set of runs came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetMinimal {
    pub set: String,
    pub elites: usize,
    pub edges_before: Spread,
    pub edges_after: Spread,
    pub hidden_nodes_before: Spread,
    pub hidden_nodes_after: Spread,
    /// Edges left by edges there were.
    pub edges_kept_share: Spread,
}

/// The content of `minimal.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minimal {
    pub rule: String,
    pub goal: String,
    pub restarts: u32,
    pub seed: u64,
    /// Images that were scored.
    pub scored: usize,
    /// Elites whose class does not lead, where it must.
    pub without_lead: usize,
    pub sets: Vec<SetMinimal>,
    pub elites: Vec<EliteMinimal>,
}

const RULE: &str = "edges and hidden nodes are removed, and what no output depends on any more, while the goal is kept: greedily by blame, and in \
                    random orders; the smallest result counts; no single edge or node of it can be removed";

/// Makes the elites of all runs of CPPNs smaller.
///
/// # Errors
/// Those of scoring.
pub fn minimal(request: &AnalyseRequest, runs: &Runs, judges: &Judges) -> Result<Minimal> {
    let mut minimal = Minimal {
        rule: RULE.to_owned(),
        goal: request.goal.to_string(),
        restarts: request.restarts,
        seed: request.seed,
        scored: 0,
        without_lead: 0,
        sets: Vec::new(),
        elites: Vec::new(),
    };
    for (number, run) in runs.runs.iter().enumerate() {
        let Some(easel) = Easel::of(run, request.simd) else { continue };
        let judge = judges.of(runs, number);
        let mut searches = Vec::new();
        for niche in run.niches(&request.classes) {
            let class = run.archive.classes[niche] as usize;
            let row = &run.archive.elites[niche].probabilities;
            let must = match request.goal {
                Goal::Confidence(confidence) => Must::Have(confidence.min(row[class])),
                Goal::Lead => Must::Lead,
            };
            if !must.is_kept(row, class) {
                minimal.without_lead += 1;
                continue;
            }
            let graph = run.archive.elites[niche].genome.graph().expect("a run of CPPNs");
            let way = |restart| Search::new(graph, niche, class, must, restart, row[class]);
            searches.push(way(None));
            searches.extend((0..request.restarts).map(|restart| way(Some(restart))));
        }
        let seed = mix(request.seed) ^ run.manifest.seed;
        for search in &mut searches {
            search.prepare(seed);
        }
        loop {
            let asked: Vec<Vec<Work>> = searches.iter().map(Search::asks).collect();
            let jobs: Vec<(usize, &Work)> = asked
                .iter()
                .enumerate()
                .flat_map(|(search, works)| works.iter().map(move |work| (search, work)))
                .collect();
            if jobs.is_empty() {
                break;
            }
            let mut answers: Vec<Vec<(f32, bool)>> = vec![Vec::new(); searches.len()];
            judge.each(
                jobs.len(),
                |pencil, job, image| easel.draw(pencil, &jobs[job].1.graph, image),
                |_| None,
                |job, row| {
                    let row = row.expect("no image is known");
                    let Search { class, must, .. } = searches[jobs[job].0];
                    answers[jobs[job].0].push((row[class], must.is_kept(row, class)));
                },
            )?;
            minimal.scored += jobs.len();
            for ((search, works), answers) in searches.iter_mut().zip(asked).zip(answers) {
                search.told(works, &answers, seed);
            }
        }
        let each = 1 + request.restarts as usize;
        for found in searches.chunks(each) {
            let key = |search: &Search| {
                let Size { hidden_nodes, edges } = search.work.size();
                (edges, hidden_nodes, -f64::from(search.confidence))
            };
            // Of equals the first.
            let best = found.iter().enumerate().fold(0, |best, (at, search)| {
                if key(search).partial_cmp(&key(&found[best])) == Some(std::cmp::Ordering::Less) { at } else { best }
            });
            let rules = run.cppn().expect("a run of CPPNs");
            minimal.elites.push(of_elite(runs, number, found, best, &easel, rules, request.simd));
        }
    }
    for set in &runs.sets {
        let its: Vec<&EliteMinimal> =
            minimal.elites.iter().filter(|elite| set.runs.contains(&elite.place.run)).collect();
        let spread = |of: fn(&EliteMinimal) -> f64| Spread::of(its.iter().map(|elite| of(elite)));
        let Some(edges_before) = spread(|elite| elite.before.edges as f64) else { continue };
        let some = |of: fn(&EliteMinimal) -> f64| spread(of).expect("as many");
        minimal.sets.push(SetMinimal {
            set: set.name.clone(),
            elites: its.len(),
            edges_before,
            edges_after: some(|elite| elite.after.edges as f64),
            hidden_nodes_before: some(|elite| elite.before.hidden_nodes as f64),
            hidden_nodes_after: some(|elite| elite.after.hidden_nodes as f64),
            edges_kept_share: some(|elite| elite.after.edges as f64 / elite.before.edges.max(1) as f64),
        });
    }
    Ok(minimal)
}

fn of_elite(
    runs: &Runs,
    number: usize,
    found: &[Search],
    best: usize,
    easel: &Easel,
    rules: &Rules,
    simd: Simd,
) -> EliteMinimal {
    let run: &Run = &runs.runs[number];
    let Search { niche, must, ref work, confidence, .. } = found[best];
    let graph = run.archive.elites[niche].genome.graph().expect("a run of CPPNs");
    let mut image = vec![0; run.about.canvas.len()];
    easel.draw(&mut super::runs::Pencil::default(), &work.graph, &mut image);
    EliteMinimal {
        place: ElitePlace::of(runs, number, niche),
        must_keep: if let Must::Have(confidence) = must { Some(confidence) } else { None },
        before: Size { hidden_nodes: graph.n_nodes() - graph.first_hidden(), edges: graph.edges.len() },
        connected: Work::new(graph).size(),
        after: work.size(),
        minimal_confidence: confidence,
        found_by: if best == 0 { "greedy".to_owned() } else { format!("restart {best}") },
        greedy_edges: found[0].work.size().edges,
        restart_edges: found[1..].iter().map(|search| search.work.size().edges).collect(),
        formula: formula(Compiler::default().compile(simd, &work.graph, rules.max_weight)),
        image,
    }
}

/// What an image must be to a network.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Must {
    Have(f32),
    Lead,
}

impl Must {
    fn is_kept(self, row: &[f32], class: usize) -> bool {
        match self {
            Must::Have(confidence) => row[class] >= confidence,
            Must::Lead => {
                row.iter().enumerate().all(|(other, &probability)| other == class || probability < row[class])
            }
        }
    }
}

/// A genome that becomes smaller; its edges keep the numbers that they had in the elite.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    pub graph: Graph,
    labels: Vec<u32>,
}

/// What is removed: an edge by its label, a hidden node by its number, which stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Edge(u32),
    Node(u16),
}

impl Work {
    /// What outputs of `graph` depend on.
    pub fn new(graph: &Graph) -> Work {
        let work = Work { graph: graph.clone(), labels: (0..graph.edges.len() as u32).collect() };
        work.without(&[])
    }

    /// All that can be removed: edges in their order, then hidden nodes.
    pub fn removals(&self) -> Vec<Removal> {
        let nodes = self.hidden().into_iter().map(Removal::Node);
        self.labels.iter().map(|&label| Removal::Edge(label)).chain(nodes).collect()
    }

    /// It without `removals`, and without the edges from whose target no output can be reached any more.
    pub fn without(&self, removals: &[Removal]) -> Work {
        let is_removed = |edge: &crate::genome::cppn::Edge, label: u32| {
            removals.iter().any(|removal| match *removal {
                Removal::Edge(removed) => removed == label,
                Removal::Node(node) => edge.source == node || edge.target == node,
            })
        };
        let mut kept: Vec<usize> =
            (0..self.labels.len()).filter(|&at| !is_removed(&self.graph.edges[at], self.labels[at])).collect();
        loop {
            let reaches = |node: u16| {
                usize::from(node) < self.graph.first_hidden()
                    || kept.iter().any(|&at| self.graph.edges[at].source == node)
            };
            let next: Vec<usize> = kept.iter().copied().filter(|&at| reaches(self.graph.edges[at].target)).collect();
            if next.len() == kept.len() {
                break;
            }
            kept = next;
        }
        let edges = kept.iter().map(|&at| self.graph.edges[at]).collect();
        let labels = kept.iter().map(|&at| self.labels[at]).collect();
        Work { graph: Graph { edges, ..self.graph.clone() }, labels }
    }

    /// The hidden nodes that outputs depend on.
    fn hidden(&self) -> Vec<u16> {
        let mut nodes: Vec<u16> = self.graph.edges.iter().map(|edge| edge.source).collect();
        nodes.retain(|&node| usize::from(node) >= self.graph.first_hidden());
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn has(&self, removal: Removal) -> bool {
        match removal {
            Removal::Edge(label) => self.labels.contains(&label),
            Removal::Node(node) => self.graph.edges.iter().any(|edge| edge.source == node),
        }
    }

    pub fn size(&self) -> Size {
        Size { hidden_nodes: self.hidden().len(), edges: self.labels.len() }
    }
}

/// A search, between two batches.
struct Search {
    niche: usize,
    class: usize,
    must: Must,
    work: Work,
    confidence: f32,
    way: Way,
}

enum Way {
    /// Waits for all single removals.
    Singles,
    /// Waits for the first of these, the first two, and so on.
    Together(Vec<Removal>),
    /// Waits for the next of these that is still there.
    Random {
        restart: u32,
        pass: u32,
        order: Vec<Removal>,
        next: usize,
        is_smaller: bool,
    },
    Done,
}

impl Search {
    fn new(graph: &Graph, niche: usize, class: usize, must: Must, restart: Option<u32>, confidence: f32) -> Search {
        let way = match restart {
            None => Way::Singles,
            Some(restart) => Way::Random { restart, pass: 0, order: Vec::new(), next: 0, is_smaller: false },
        };
        Search { niche, class, must, work: Work::new(graph), confidence, way }
    }

    /// Shuffles the first pass of a restart.
    fn prepare(&mut self, seed: u64) {
        if let Way::Random { restart, pass, order, .. } = &mut self.way {
            *order = shuffled(&self.work, seed, self.class, *restart, *pass);
        }
    }

    /// What it wants scored; nothing once it is done.
    fn asks(&self) -> Vec<Work> {
        match &self.way {
            Way::Singles => self.work.removals().iter().map(|&removal| self.work.without(&[removal])).collect(),
            Way::Together(removals) => (1..=removals.len()).map(|n| self.work.without(&removals[..n])).collect(),
            Way::Random { order, next, .. } => {
                order.get(*next).map(|&removal| self.work.without(&[removal])).into_iter().collect()
            }
            Way::Done => Vec::new(),
        }
    }

    /// Takes the answers to what it asked: the confidence of each, and whether it keeps the goal.
    fn told(&mut self, asked: Vec<Work>, answers: &[(f32, bool)], seed: u64) {
        match &mut self.way {
            Way::Singles => {
                let mut kept: Vec<(Removal, f32)> = self
                    .work
                    .removals()
                    .into_iter()
                    .zip(answers)
                    .filter(|(_, (_, is_kept))| *is_kept)
                    .map(|(removal, &(confidence, _))| (removal, confidence))
                    .collect();
                // Stable: of equals edges, in their order, come first.
                kept.sort_by(|a, b| b.1.total_cmp(&a.1));
                let removals: Vec<Removal> = kept.into_iter().map(|(removal, _)| removal).collect();
                self.way = if removals.is_empty() { Way::Done } else { Way::Together(removals) };
            }
            Way::Together(_) => {
                // The first alone does.
                let most =
                    answers.iter().rposition(|(_, is_kept)| *is_kept).expect("a single removal that keeps the goal");
                self.work = asked.into_iter().nth(most).expect("one an answer");
                self.confidence = answers[most].0;
                self.way = Way::Singles;
            }
            Way::Random { restart, pass, order, next, is_smaller } => {
                if let (Some(work), Some(&(confidence, true))) = (asked.into_iter().next(), answers.first()) {
                    self.work = work;
                    self.confidence = confidence;
                    *is_smaller = true;
                }
                *next += 1;
                while order.get(*next).is_some_and(|&removal| !self.work.has(removal)) {
                    *next += 1;
                }
                if *next < order.len() {
                    return;
                }
                if !*is_smaller {
                    self.way = Way::Done;
                    return;
                }
                *pass += 1;
                *order = shuffled(&self.work, seed, self.class, *restart, *pass);
                (*next, *is_smaller) = (0, false);
                if order.is_empty() {
                    self.way = Way::Done;
                }
            }
            Way::Done => {}
        }
    }
}

/// What can be removed of `work`, in the order of a pass.
fn shuffled(work: &Work, seed: u64, class: usize, restart: u32, pass: u32) -> Vec<Removal> {
    let mut order = work.removals();
    Chance::new(seed, 1 << 31 | class as u32).shuffle(restart << 16 | pass, 0, &mut order);
    order
}

/// What a program draws, an assignment a line, the weights as they are. [`FORMULA_KEY`] says what the names mean.
pub fn formula(program: &Program) -> Vec<String> {
    const INPUTS: [&str; N_INPUTS] = ["x", "y", "d", "1"];
    let name = |slot: u32| match slot as usize {
        slot if slot < N_INPUTS => INPUTS[slot].to_owned(),
        slot => format!("v{}", slot - N_INPUTS + 1),
    };
    let (mut lines, mut terms) = (Vec::new(), &program.terms[..]);
    for (at, instruction) in program.instructions.iter().enumerate() {
        let (own, later) = terms.split_at(instruction.n_terms as usize);
        terms = later;
        let mut sum = String::new();
        for term in own {
            let sign = match (term.weight < 0.0, sum.is_empty()) {
                (true, true) => "-",
                (false, true) => "",
                (true, false) => " - ",
                (false, false) => " + ",
            };
            let weight = term.weight.abs();
            sum += sign;
            sum += &if term.slot as usize == N_INPUTS - 1 {
                weight.to_string()
            } else {
                format!("{weight} {}", name(term.slot))
            };
        }
        if sum.is_empty() {
            sum.push('0');
        }
        let function = match instruction.activation {
            Activation::Sine => "sin",
            Activation::Sigmoid => "sigmoid",
            Activation::Gaussian => "gauss",
            Activation::Linear => "clip",
        };
        lines.push(format!("v{} = {function}({sum})", at + 1));
    }
    for (index, &slot) in program.outputs.iter().enumerate() {
        lines.push(format!("{} = |{}|", output_name(program.outputs.len(), index), name(slot)));
    }
    lines
}

/// What the names of a [`formula`] mean.
pub const FORMULA_KEY: &str = "\
x, y  column and row of the pixel, from 0; with the flavour modern over [-1, 1]
d     distance from the centre, where column and row run over [-1, 1]
sin(p), sigmoid(p) = 2 / (1 + exp(-p)) - 1, gauss(p) = exp(-p^2), clip(p) = min(max(p, -3), 3) / 3
grey, hue, lightness, saturation: the byte of the pixel is 255 times it, cut to a whole number
";
