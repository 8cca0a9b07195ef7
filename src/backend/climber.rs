//! A CPPN that climbs: points 3 to 6 of the rules of [`super::ascent`], which every backend has from here. Whoever draws and asks the network
//! says what the step saw; here is what follows from it.

use super::ascent::{CppnRule, Seen};
use super::cpu::ascent::squared_norm;
use crate::genome::cppn::{Compiler, Differentiable, Graph, Rules};
use crate::simd::Simd;

/// A graph on its way up.
#[derive(Debug)]
pub struct Climber {
    class: usize,
    /// With the genes that stand.
    graph: Graph,
    drawn: Differentiable,
    /// The genes that are tried.
    tried: Vec<f32>,
    /// Of the genes that stand: the gradient, without what leads out of [0, 1], and what was seen; none before the first step.
    gradient: Vec<f32>,
    seen: Option<Seen>,
    /// How far a step may go, and how far the last one went, before genes were clipped.
    radius: f64,
    length: f64,
}

impl Climber {
    /// The `graphs`, of `rules`, each for the class of `classes` at its place, before the first step.
    pub fn all(graphs: Vec<Graph>, classes: &[u32], rule: &CppnRule, rules: &Rules, simd: Simd) -> Vec<Climber> {
        let mut compiler = Compiler::default();
        let climbers = graphs.into_iter().zip(classes).map(|(graph, &class)| Climber {
            class: class as usize,
            drawn: Differentiable::new(&mut compiler, simd, &graph, rules),
            tried: graph.edges.iter().map(|edge| edge.gene).collect(),
            gradient: Vec::new(),
            seen: None,
            radius: rule.max_step,
            length: 0.0,
            graph,
        });
        climbers.collect()
    }

    /// What it climbs to.
    pub fn class(&self) -> usize {
        self.class
    }

    /// With the genes that stand.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What draws, with whichever genes were put in last.
    pub fn drawn(&self) -> &Differentiable {
        &self.drawn
    }

    /// Puts in the genes that are tried.
    pub fn with_tried(&mut self) -> &Differentiable {
        self.drawn.set_genes(&self.tried);
        &self.drawn
    }

    /// Puts in the genes that stand.
    pub fn with_standing(&mut self) -> &Differentiable {
        let genes: Vec<f32> = self.graph.edges.iter().map(|edge| edge.gene).collect();
        self.drawn.set_genes(&genes);
        &self.drawn
    }

    /// Whether it stays where it is for good.
    pub fn has_stopped(&self) -> bool {
        self.seen.is_some_and(|seen| seen.stopped)
    }

    /// Points 3 to 6 of the rules, if it has not stopped; what stands. `p` is the probability of its class with the tried genes; `best`, the most
    /// probable class, and `gradient`, what the pixels of this drawing tell its genes, are asked for where these come to stand.
    pub fn step(
        &mut self,
        rule: &CppnRule,
        last: bool,
        p: f32,
        best: impl FnOnce() -> u32,
        gradient: impl FnOnce(&Differentiable) -> Vec<f32>,
    ) -> Seen {
        if let Some(seen) = self.seen.filter(|seen| seen.stopped) {
            return seen;
        }
        self.judge(rule, p, best, gradient);
        self.go_on(rule, last)
    }

    /// Points 3 to 5.
    fn judge(
        &mut self,
        rule: &CppnRule,
        p: f32,
        best: impl FnOnce() -> u32,
        gradient: impl FnOnce(&Differentiable) -> Vec<f32>,
    ) {
        let is_higher = self.seen.is_none_or(|seen| p > seen.probability);
        if !is_higher {
            self.radius = self.length / 2.0;
            return;
        }
        self.gradient = gradient(&self.drawn);
        for ((edge, &gene), g) in self.graph.edges.iter_mut().zip(&self.tried).zip(&mut self.gradient) {
            edge.gene = gene;
            if (gene <= 0.0 && *g < 0.0) || (gene >= 1.0 && *g > 0.0) {
                *g = 0.0;
            }
        }
        let norm = squared_norm(&self.gradient);
        // Processors differ in the NaN that they make.
        let norm = if norm.is_nan() { f64::NAN } else { norm };
        if self.seen.is_some() {
            self.radius = least(rule.max_step, 2.0 * self.radius);
        }
        let climbs = norm > 0.0 && norm < f64::INFINITY && !p.is_nan();
        self.seen = Some(Seen { probability: p, best: best(), norm, stopped: !climbs });
    }

    /// Point 6; what stands.
    fn go_on(&mut self, rule: &CppnRule, last: bool) -> Seen {
        let seen = self.seen.as_mut().expect("judged before");
        if last || seen.stopped {
            return *seen;
        }
        let root = seen.norm.sqrt();
        let want = least(rule.early, rule.late * (1.0 - f64::from(seen.probability)));
        self.length = least(want / root, self.radius);
        let rate = self.length / root;
        let mut moves = false;
        for ((tried, edge), &g) in self.tried.iter_mut().zip(&self.graph.edges).zip(&self.gradient) {
            let v = rate.mul_add(f64::from(g), f64::from(edge.gene));
            let v = if v > 0.0 { v } else { 0.0 };
            *tried = (if v < 1.0 { v } else { 1.0 }) as f32;
            moves |= *tried != edge.gene;
        }
        seen.stopped = !moves;
        *seen
    }
}

fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// How large a graph's [`Climber`] is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// At most: graph, program, edges of the terms, tried genes, gradient.
    pub bytes: usize,
    /// Of the program.
    pub instructions: usize,
    pub terms: usize,
}

impl Size {
    /// Those of `graphs`, of `rules`.
    pub fn all<'a>(graphs: &'a [Graph], rules: &'a Rules, simd: Simd) -> impl Iterator<Item = Size> + 'a {
        let mut compiler = Compiler::default();
        graphs.iter().map(move |graph| {
            let program = compiler.compile(simd, graph, rules.max_weight);
            let (instructions, terms) = (program.instructions.len(), program.terms.len());
            let own = 32 * (instructions + terms + 2 * graph.edges.len()) + 1024;
            Size { bytes: size_of::<Climber>() + 2 * rules.capacity_bytes().min(own), instructions, terms }
        })
    }
}
