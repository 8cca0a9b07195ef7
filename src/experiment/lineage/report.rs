//! What is told of the lineage of a run: `lineage.json`, the tree, the pictures' captions.

use super::lines::{Ancestor, NichesWon, elites, last_common};
use super::replay::Birth;
use crate::archive::{ARITHMETIC_VERSION, Archive};
use crate::experiment::config::{Config, name_of};
use crate::genome::Canvas;
use crate::network::Network;
use crate::output::contact_sheet::{Cell, Sheet, caption};
use crate::output::phylogeny::{Node, Strip, Tip, Tree};
use crate::output::{confidence_text, hash_text};
use crate::version::{COMMIT, VERSION};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The content of `lineage.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: String,
    pub commit: String,
    pub arithmetic_version: u32,
    pub run: PathBuf,
    pub preset: String,
    pub seed: u64,
    /// The last generation, and the archive's hash after it.
    pub generation: u32,
    pub archive_hash: String,
    pub network: String,
    pub weights_sha256: String,
    /// Niches won since the beginning, generation 0 included.
    pub insertions: usize,
    /// Individuals that were made again: all elites and all whom they descend from.
    pub replayed: usize,
    /// Of the whole run.
    pub niches_won: NichesWon,
    pub elites: Vec<EliteLine>,
    pub relatives: Relatives,
    #[serde(skip)]
    pub tree: Tree,
}

/// An elite and its line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EliteLine {
    pub class: u32,
    pub name: String,
    pub confidence: f32,
    /// Generation and candidate.
    pub born: Birth,
    /// Births on the line after the first: 0 for one of generation 0.
    pub depth: usize,
    pub goal_switches: usize,
    /// The oldest first, the elite itself last.
    pub line: Vec<LineEntry>,
    /// The elite with which it shares the youngest ancestor, of several the lowest class; `None` if nobody is related.
    pub nearest: Option<Common>,
}

/// An individual on a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineEntry {
    pub generation: u32,
    pub candidate: u32,
    /// In the class of the elite.
    pub confidence: f32,
    /// The class by which the line goes on: as whose elite it became a parent; of the elite its own.
    pub goal: u32,
    /// Whether its goal is a class that its parent on the line was not the elite of when it was born.
    pub goal_switch: bool,
    /// What it was the elite of when its child on the line was born; of the elite, at the end.
    pub held: Vec<Held>,
    /// The other one of two parents whose genes were mixed; the line goes on with the one to whom its genes are nearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_parent: Option<Birth>,
}

/// A class, and the confidence in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Held {
    pub class: u32,
    pub confidence: f32,
}

/// The last common ancestor with an elite of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Common {
    pub class: u32,
    pub generation: u32,
    pub candidate: u32,
}

/// Last common ancestors of pairs of elites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relatives {
    pub pairs: u64,
    /// Those with an ancestor in common.
    pub related: u64,
    /// The median generation in which the last common ancestor of those was born; of an even number, the lower one of the two in the middle.
    pub median_generation: Option<u32>,
    /// Individuals of generation 0 from whom elites descend.
    pub founders: usize,
    /// Each pair: the classes, and the ancestor's birth, if there is one. Left out of more than [`LISTED`] elites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_common_ancestors: Option<Vec<PairOf>>,
}

/// A pair of elites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairOf {
    pub classes: (u32, u32),
    /// Generation and candidate.
    pub ancestor: Option<Birth>,
}

/// Elites of which each pair is listed.
pub const LISTED: usize = 100;

/// A line, and what the network says of it.
pub struct Scored<'a> {
    pub niche: u32,
    pub line: &'a [Ancestor],
    /// `(line)`: in the class of the niche.
    pub confidences: Vec<f32>,
}

/// What is known of the run.
pub struct Facts<'a> {
    pub run: PathBuf,
    pub config: &'a Config,
    pub archive: &'a Archive,
    pub network: &'a Network,
    pub insertions: usize,
    pub replayed: usize,
    pub niches_won: NichesWon,
}

impl Facts<'_> {
    fn class(&self, niche: u32) -> u32 {
        self.archive.classes[niche as usize]
    }

    fn name(&self, class: u32) -> &str {
        &self.network.classes[class as usize]
    }

    /// The pictures of a line: `images` are those of `of.line`.
    pub fn strip<'b>(&'b self, of: &Scored, canvas: Canvas, images: &[&'b [u8]]) -> Strip<'b> {
        let class = self.class(of.niche);
        let cells = of.line.iter().zip(&of.confidences).zip(images);
        let cells: Vec<(Cell, String)> = cells
            .map(|((ancestor, &confidence), &image)| {
                let goal = ancestor.held.iter().find(|held| held.niche == ancestor.goal);
                let goal_class = self.class(ancestor.goal);
                let goal_confidence = confidence_text(goal.map_or(0.0, |held| held.fitness));
                let others = ancestor.held.len().saturating_sub(1);
                let others = if others > 0 { format!(" +{others}") } else { String::new() };
                let arrow = if ancestor.switched { "→ " } else { "" };
                let caption = caption(canvas, arrow, self.name(goal_class), &format!(": {goal_confidence}"), &others);
                (Cell { class: ancestor.birth.0, name: "", confidence, image }, caption)
            })
            .collect();
        let (cells, captions) = cells.into_iter().unzip();
        let named =
            if self.name(class) == class.to_string() { String::new() } else { format!(" {}", self.name(class)) };
        let switches = of.line.iter().filter(|of| of.switched).count();
        let subtitle = format!(
            "{} births, {} changes of goal  ·  generation, confidence in class {class}; below: the class it stood for (→ its parent did not)",
            of.line.len() - 1,
            switches
        );
        Strip {
            class,
            n_classes: self.network.classes.len(),
            name: self.name(class),
            sheet: Sheet {
                title: format!(
                    "{}, seed {}: ancestors of class {class}{named}",
                    name_of(self.config.preset),
                    self.config.seed
                ),
                subtitle,
                canvas,
                cells,
            },
            captions,
        }
    }

    /// All that is told of these lines.
    pub fn report(&self, scored: &[Scored]) -> Report {
        let archive = self.archive;
        let lines = scored.iter().map(|of| self.elite_line(of, scored)).collect();
        Report {
            version: VERSION.to_owned(),
            commit: COMMIT.to_owned(),
            arithmetic_version: ARITHMETIC_VERSION,
            run: self.run.clone(),
            preset: name_of(self.config.preset),
            seed: self.config.seed,
            generation: archive.generation,
            archive_hash: hash_text(archive.hash()),
            network: self.network.name.clone(),
            weights_sha256: self.network.sha256.clone(),
            insertions: self.insertions,
            replayed: self.replayed,
            niches_won: self.niches_won.clone(),
            elites: lines,
            relatives: self.relatives(scored),
            tree: self.tree(scored),
        }
    }

    fn elite_line(&self, of: &Scored, all: &[Scored]) -> EliteLine {
        let class = self.class(of.niche);
        let entry = |(ancestor, &confidence): (&Ancestor, &f32)| LineEntry {
            generation: ancestor.birth.0,
            candidate: ancestor.birth.1,
            confidence,
            goal: self.class(ancestor.goal),
            goal_switch: ancestor.switched,
            held: ancestor
                .held
                .iter()
                .map(|held| Held { class: self.class(held.niche), confidence: held.fitness })
                .collect(),
            other_parent: ancestor.other_parent,
        };
        // The first of the longest ways that are gone together.
        let mut nearest: Option<(usize, u32)> = None;
        for other in all.iter().filter(|other| other.niche != of.niche) {
            if let Some(at) = last_common(of.line, other.line)
                && nearest.is_none_or(|(longest, _)| at > longest)
            {
                nearest = Some((at, other.niche));
            }
        }
        let elite = &self.archive.elites[of.niche as usize];
        EliteLine {
            class,
            name: self.name(class).to_owned(),
            confidence: elite.probabilities[class as usize],
            born: elite.born,
            depth: of.line.len() - 1,
            goal_switches: of.line.iter().filter(|of| of.switched).count(),
            line: of.line.iter().zip(&of.confidences).map(entry).collect(),
            nearest: nearest.map(|(at, niche)| {
                let (generation, candidate) = of.line[at].birth;
                Common { class: self.class(niche), generation, candidate }
            }),
        }
    }

    fn relatives(&self, scored: &[Scored]) -> Relatives {
        let mut pairs = (scored.len() <= LISTED).then(Vec::new);
        let (mut n, mut generations) = (0, Vec::new());
        for (at, a) in scored.iter().enumerate() {
            for b in &scored[at + 1..] {
                n += 1;
                let ancestor = last_common(a.line, b.line).map(|at| a.line[at].birth);
                generations.extend(ancestor.map(|(generation, _)| generation));
                let classes = (self.class(a.niche), self.class(b.niche));
                pairs.iter_mut().for_each(|pairs| pairs.push(PairOf { classes, ancestor }));
            }
        }
        generations.sort_unstable();
        let founders: BTreeSet<Birth> = scored.iter().map(|of| of.line[0].birth).collect();
        Relatives {
            pairs: n,
            related: generations.len() as u64,
            median_generation: generations.get(generations.len().saturating_sub(1) / 2).copied(),
            founders: founders.len(),
            last_common_ancestors: pairs,
        }
    }

    fn tree(&self, scored: &[Scored]) -> Tree {
        let mut nodes: BTreeMap<Birth, Node> = BTreeMap::new();
        for of in scored {
            let mut parent = None;
            for ancestor in of.line {
                let node = nodes.entry(ancestor.birth).or_insert_with(|| Node {
                    birth: ancestor.birth,
                    parent,
                    other_parent: ancestor.other_parent,
                    switched: false,
                    stood_for: BTreeSet::new(),
                    tips: Vec::new(),
                });
                node.switched |= ancestor.switched;
                node.stood_for.insert(self.class(ancestor.goal));
                parent = Some(ancestor.birth);
            }
        }
        let shown: BTreeSet<u32> = scored.iter().map(|of| of.niche).collect();
        for (niche, birth) in elites(self.archive).filter(|(niche, _)| shown.contains(niche)) {
            let class = self.class(niche);
            let confidence = self.archive.elites[niche as usize].probabilities[class as usize];
            let tip = Tip { class, name: self.name(class).to_owned(), confidence };
            nodes.get_mut(&birth).expect("a line ends with its elite").tips.push(tip);
        }
        Tree {
            title: format!("{}, seed {}", name_of(self.config.preset), self.config.seed),
            generation: self.archive.generation,
            nodes,
        }
    }
}
