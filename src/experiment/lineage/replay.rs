//! Every genome that ever lived, made again.
//!
//! Births follow from (seed, generation, candidate) and from who held the niches: `select` draws two niches for a pair of candidates, the
//! lineage says who held them, and so on, back to generation 0, whose genomes follow from their numbers alone, or are those that the run started from.

use crate::archive::Archive;
use crate::backend::cpu::select::{Pair, select};
use crate::backend::{Insertion, Job};
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Scratch};
use crate::genome::{Canvas, Encoding, Genome, direct};
use crate::rng::Philox;
use crate::simd::Simd;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// By what an individual is told from all others of its run: generation, and number within the batch.
pub type Birth = (u32, u32);

/// Whom a genome was made from, and as the holder of which niche that one was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub niche: u32,
    pub birth: Birth,
}

/// Whom a genome was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// Nobody: it is of generation 0.
    None,
    /// It is a changed copy. Where the two copies of a pair changed places, this is the true one.
    Copied(Parent),
    /// Its genes are mixed of both, each gene of a child nearer to either.
    Crossed([Parent; 2]),
}

impl Parents {
    /// They, in the order in which they were drawn.
    pub fn all(&self) -> &[Parent] {
        match self {
            Parents::None => &[],
            Parents::Copied(parent) => std::slice::from_ref(parent),
            Parents::Crossed(parents) => parents,
        }
    }
}

/// A genome that was made again.
#[derive(Clone, Debug)]
pub struct Born {
    pub birth: Birth,
    pub genome: Arc<Genome>,
    /// Which of its parents, of two, its genes are nearer to: by the sum of their distances, of equals the first.
    pub nearer: usize,
}

/// Rebuilds the individuals of a run.
pub struct Replay<'a> {
    job: &'a Job,
    simd: Simd,
    philox: Philox,
    /// `(n_niches)`: who won each niche, one after the other.
    history: Vec<Vec<Insertion>>,
    /// What each individual won.
    won: HashMap<Birth, Vec<Insertion>>,
    /// The first candidates of generation 0, if they are not random.
    start: Arc<[Genome]>,
}

impl<'a> Replay<'a> {
    /// Of the first run of `job`, which had these `insertions`: those of its lineage, checked; and which started from the genomes `start`.
    pub fn new(job: &'a Job, start: Arc<[Genome]>, insertions: &[Insertion], simd: Simd) -> Replay<'a> {
        let mut history = vec![Vec::new(); job.classes.len()];
        let mut won: HashMap<Birth, Vec<Insertion>> = HashMap::new();
        for insertion in insertions {
            history[insertion.niche as usize].push(*insertion);
            won.entry((insertion.generation, insertion.candidate)).or_default().push(*insertion);
        }
        Replay { job, simd, philox: Philox::new(job.seeds[0]), history, won, start }
    }

    /// Who held a niche after a generation.
    pub fn holder(&self, niche: u32, generation: u32) -> &Insertion {
        let history = &self.history[niche as usize];
        let later = history.partition_point(|insertion| insertion.generation <= generation);
        &history[later - 1] // generation 0 fills every niche
    }

    /// Whether an individual held a niche after a generation.
    pub fn held(&self, birth: Birth, niche: u32, generation: u32) -> bool {
        let holder = self.holder(niche, generation);
        (holder.generation, holder.candidate) == birth
    }

    /// What an individual won when it was born, by niche; nothing for most.
    pub fn won(&self, birth: Birth) -> &[Insertion] {
        self.won.get(&birth).map_or(&[], Vec::as_slice)
    }

    /// What of that it still held after a generation.
    pub fn still_held(&self, birth: Birth, generation: u32) -> impl Iterator<Item = &Insertion> {
        self.won(birth).iter().filter(move |won| self.held(birth, won.niche, generation))
    }

    /// Whom an individual was made from.
    pub fn parents(&self, birth: Birth) -> Parents {
        if birth.0 == 0 {
            return Parents::None;
        }
        let Pair { parents, crossed } = self.pair(birth);
        let parent = |niche: u32| {
            let holder = self.holder(niche, birth.0 - 1);
            Parent { niche, birth: (holder.generation, holder.candidate) }
        };
        if crossed {
            Parents::Crossed(parents.map(parent))
        } else {
            Parents::Copied(parent(parents[(birth.1 % 2) as usize]))
        }
    }

    /// How the pair was made that an individual was born in.
    fn pair(&self, (generation, candidate): Birth) -> Pair {
        let (first, n_niches) = (candidate & !1, self.job.classes.len() as u32);
        let mut pairs = Vec::with_capacity(1);
        select(&mut pairs, &self.job.encoding, n_niches, &self.philox, generation, first..first + 2);
        pairs[0]
    }

    /// The genome of a candidate of generation 0.
    fn first(&self, candidate: u32) -> Genome {
        if let Some(genome) = self.start.get(candidate as usize) {
            return genome.clone();
        }
        match &self.job.encoding {
            Encoding::Direct(_) => {
                let mut genes = vec![0.0; self.job.canvas.len()];
                direct::random(self.simd, &mut genes, &self.philox, candidate);
                Genome::Direct(genes)
            }
            Encoding::Cppn(_) => Genome::Cppn(Graph::random(self.job.canvas.channels, &self.philox, candidate)),
        }
    }

    /// A child of `parents`, and to which of them it is nearer.
    fn child(&self, birth: Birth, parents: &[&Genome]) -> (Genome, usize) {
        let (generation, candidate) = birth;
        match &self.job.encoding {
            Encoding::Direct(rules) => {
                let genes = |at: usize| parents[at].genes().expect("a run has one encoding");
                let mut child = vec![0.0; self.job.canvas.len()];
                if parents.len() == 1 {
                    let (philox, parent) = (&self.philox, genes(0));
                    direct::mutate_copy(self.simd, &mut child, parent, rules, philox, candidate, generation);
                    return (Genome::Direct(child), 0);
                }
                let mut other = vec![0.0; child.len()];
                let mut pair = [&mut child[..], &mut other[..]];
                if candidate % 2 == 1 {
                    pair.swap(0, 1);
                }
                let parents = [genes(0), genes(1)];
                direct::cross(self.simd, pair, parents, rules, &self.philox, candidate & !1, generation);
                direct::mutate(self.simd, &mut child, rules, &self.philox, candidate, generation);
                let distance =
                    |parent: &[f32]| -> f64 { parent.iter().zip(&child).map(|(a, b)| f64::from((a - b).abs())).sum() };
                let nearer = usize::from(distance(parents[1]) < distance(parents[0]));
                (Genome::Direct(child), nearer)
            }
            Encoding::Cppn(rules) => {
                let mut graph = parents[0].graph().expect("a run has one encoding").clone();
                graph.vary(rules, &self.philox, candidate, generation, &mut Scratch::default());
                (Genome::Cppn(graph), 0)
            }
        }
    }

    /// Makes the individuals `wanted` again, and all whom they descend from, and shows each to `visit`, the oldest first. A genome is
    /// kept until its last child is made: those in memory at the same time are no more than there are niches, and those of a generation.
    /// Works on rayon's current pool.
    ///
    /// # Errors
    /// The first of `visit`.
    pub fn rebuild<E>(
        &self,
        wanted: impl IntoIterator<Item = Birth>,
        mut visit: impl FnMut(Born) -> Result<(), E>,
    ) -> Result<(), E> {
        // Each with its parents and how many of its children are to be made.
        let mut family: BTreeMap<Birth, (Parents, usize)> = BTreeMap::new();
        let mut open: Vec<Birth> = wanted.into_iter().collect();
        while let Some(birth) = open.pop() {
            if family.contains_key(&birth) {
                continue;
            }
            let parents = self.parents(birth);
            family.insert(birth, (parents, 0));
            open.extend(parents.all().iter().map(|parent| parent.birth));
        }
        let children: Vec<Parents> = family.values().map(|(parents, _)| *parents).collect();
        for parent in children.iter().flat_map(Parents::all) {
            family.get_mut(&parent.birth).expect("whoever is a parent is there").1 += 1;
        }
        let mut alive: HashMap<Birth, (Arc<Genome>, usize)> = HashMap::new();
        let family: Vec<(Birth, (Parents, usize))> = family.into_iter().collect();
        for generation in family.chunk_by(|(a, _), (b, _)| a.0 == b.0) {
            let make = |&(birth, (parents, _)): &(Birth, (Parents, usize))| {
                let parents: Vec<&Genome> = parents.all().iter().map(|parent| &*alive[&parent.birth].0).collect();
                let (genome, nearer) =
                    if parents.is_empty() { (self.first(birth.1), 0) } else { self.child(birth, &parents) };
                Born { birth, genome: Arc::new(genome), nearer }
            };
            let born: Vec<Born> = generation.par_iter().map(make).collect();
            for (born, &(birth, (parents, n_children))) in born.into_iter().zip(generation) {
                for parent in parents.all() {
                    let (_, left) = alive.get_mut(&parent.birth).expect("a parent lives until its last child");
                    *left -= 1;
                    if *left == 0 {
                        alive.remove(&parent.birth);
                    }
                }
                if n_children > 0 {
                    alive.insert(birth, (Arc::clone(&born.genome), n_children));
                }
                visit(born)?;
            }
        }
        Ok(())
    }

    /// The genome of any candidate of any generation that the run has made.
    pub fn genome(&self, birth: Birth) -> Genome {
        let mut genome = None;
        let made: Result<(), std::convert::Infallible> = self.rebuild([birth], |born| {
            genome = Some(born.genome);
            Ok(())
        });
        made.expect("it cannot fail");
        Arc::unwrap_or_clone(genome.expect("it comes last"))
    }

    /// Makes all elites of `archive` again, and compares each with what is there. Returns which parent is the nearer one of each individual
    /// with two among their ancestors, and how many there are.
    ///
    /// # Errors
    /// A text that says which elite is not what comes out.
    pub fn verify(&self, archive: &Archive) -> Result<(HashMap<Birth, usize>, usize), String> {
        let elites: HashMap<Birth, &Genome> = archive.elites.iter().map(|elite| (elite.born, &elite.genome)).collect();
        let (mut nearer, mut n) = (HashMap::new(), 0);
        self.rebuild(elites.keys().copied(), |born| {
            n += 1;
            if elites.get(&born.birth).is_some_and(|&there| words(there) != words(&born.genome)) {
                let niche = archive.elites.iter().position(|elite| elite.born == born.birth).unwrap_or(0);
                return Err(format!(
                    "the elite of class {}, candidate {} of generation {}, is not what its lineage makes",
                    archive.classes[niche], born.birth.1, born.birth.0
                ));
            }
            if born.nearer > 0 {
                nearer.insert(born.birth, born.nearer);
            }
            Ok(())
        })?;
        Ok((nearer, n))
    }
}

/// All bits of a genome.
fn words(genome: &Genome) -> Vec<u32> {
    match genome {
        Genome::Direct(genes) => genes.iter().map(|gene| gene.to_bits()).collect(),
        Genome::Cppn(graph) => {
            let mut words = Vec::new();
            graph.words(&mut |word| words.push(word));
            words
        }
    }
}

/// Draws genomes as evolution drew them.
pub struct Painter {
    simd: Simd,
    canvas: Canvas,
    /// Of CPPNs: what the pixels see, and the greatest weight.
    cppn: Option<(InputPlanes, f32)>,
}

impl Painter {
    /// For the genomes of `job`.
    pub fn new(job: &Job, simd: Simd) -> Painter {
        let cppn = match &job.encoding {
            Encoding::Direct(_) => None,
            Encoding::Cppn(rules) => Some((InputPlanes::new(job.canvas, rules.normalise), rules.max_weight)),
        };
        Painter { simd, canvas: job.canvas, cppn }
    }

    /// The image of `genome`, `(height, width, channels)`.
    ///
    /// # Panics
    /// If it is of another encoding.
    pub fn draw(&self, genome: &Genome) -> Vec<u8> {
        let mut image = vec![0; self.canvas.len()];
        match (genome, &self.cppn) {
            (Genome::Direct(genes), _) => direct::render(self.simd, self.canvas.channels, &mut image, genes),
            (Genome::Cppn(graph), Some((planes, max_weight))) => {
                let mut compiler = Compiler::default();
                let program = compiler.compile(self.simd, graph, *max_weight);
                Renderer::default().render(self.simd, planes, program, &mut image);
            }
            _ => panic!("a run has one encoding"),
        }
        image
    }
}
