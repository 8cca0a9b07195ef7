//! The genomes of a chunk: made, varied and drawn.

use super::Places;
use super::select::Pair;
use crate::backend::Job;
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules, Scratch};
use crate::genome::{Canvas, Encoding, Genome, direct};
use crate::simd::Simd;
use rayon::prelude::*;
use std::iter::repeat;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

/// Genomes of up to `chunk` candidates.
pub enum Population {
    Direct {
        rules: direct::Rules,
        n_genes: usize,
        /// Of a pixel.
        channels: usize,
        /// `(chunk, n_genes)`
        genes: Vec<f32>,
    },
    Cppn {
        rules: Rules,
        canvas: Canvas,
        /// `(chunk)`; each keeps its memory from generation to generation.
        graphs: Vec<Graph>,
        planes: InputPlanes,
    },
}

impl Population {
    /// Room for `chunk` genomes of `job`.
    pub fn new(job: &Job, chunk: usize) -> Population {
        match &job.encoding {
            Encoding::Direct(rules) => Population::Direct {
                rules: rules.clone(),
                n_genes: job.canvas.len(),
                channels: job.canvas.channels,
                genes: vec![0.0; chunk * job.canvas.len()],
            },
            Encoding::Cppn(rules) => Population::Cppn {
                rules: rules.clone(),
                canvas: job.canvas,
                graphs: vec![Graph::empty(job.canvas.channels); chunk],
                planes: InputPlanes::new(job.canvas, rules.normalise),
            },
        }
    }

    /// Most bytes of a genome of `job`: a CPPN's at its capacity.
    pub fn genome_bytes(job: &Job) -> usize {
        match &job.encoding {
            Encoding::Direct(_) => job.canvas.len() * size_of::<f32>(),
            Encoding::Cppn(rules) => rules.capacity_bytes(),
        }
    }

    /// The genomes of `chunk`, random ones or children of its `pairs`: see [`Part::make`].
    pub(super) fn make(
        &mut self,
        simd: Simd,
        places: &Places,
        pairs: &[Pair],
        chunk: Range<u32>,
        workspaces: &Workspaces,
    ) {
        let parts = self.parts(repeat(PART), chunk.len());
        parts.into_par_iter().enumerate().for_each(|(index, mut part)| {
            workspaces.lend(|workspace| part.make(simd, places, pairs, chunk.start, index * PART, workspace));
        });
    }

    /// Draws the first genomes into `images`, `(candidates, height, width, channels)`.
    pub fn render(&mut self, simd: Simd, images: &mut [u8], workspaces: &Workspaces) {
        let image_len = match self {
            Population::Direct { n_genes, .. } => *n_genes,
            Population::Cppn { canvas, .. } => canvas.len(),
        };
        let parts = self.parts(repeat(PART), images.len() / image_len);
        parts.into_par_iter().zip(images.par_chunks_mut(PART * image_len)).for_each(|(part, images)| {
            workspaces.lend(|workspace| part.render(simd, images, workspace));
        });
    }

    /// The first `n` genomes, in parts of `sizes`, the last of which may be cut.
    pub fn parts(&mut self, sizes: impl Iterator<Item = usize>, n: usize) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        match self {
            Population::Direct { rules, n_genes, channels, genes } => {
                let mut rest = &mut genes[..n * *n_genes];
                for size in sizes {
                    if rest.is_empty() {
                        break;
                    }
                    let (genes, later) = rest.split_at_mut((size * *n_genes).min(rest.len()));
                    rest = later;
                    parts.push(Part::Direct { rules, n_genes: *n_genes, channels: *channels, genes });
                }
            }
            Population::Cppn { rules, canvas, graphs, planes } => {
                let mut rest = &mut graphs[..n];
                for size in sizes {
                    if rest.is_empty() {
                        break;
                    }
                    let (graphs, later) = rest.split_at_mut(size.min(rest.len()));
                    rest = later;
                    parts.push(Part::Cppn { rules, canvas: *canvas, planes, graphs });
                }
            }
        }
        parts
    }

    /// A copy of genome `at` of the chunk.
    pub fn genome(&self, at: usize) -> Genome {
        match self {
            Population::Direct { n_genes, genes, .. } => Genome::Direct(genes[at * n_genes..][..*n_genes].to_vec()),
            Population::Cppn { graphs, .. } => Genome::Cppn(graphs[at].clone()),
        }
    }
}

/// Candidates that a thread takes at once in a step by itself; even.
const PART: usize = 8;

/// Memory that a thread uses again from genome to genome.
#[derive(Debug, Default)]
pub struct Workspace {
    scratch: Scratch,
    compiler: Compiler,
    renderer: Renderer,
}

/// Workspaces that no thread uses at the moment.
#[derive(Debug, Default)]
pub struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Lends one to `work`.
    pub fn lend(&self, work: impl FnOnce(&mut Workspace)) {
        let spare = self.0.lock().expect("no panic while held").pop();
        let mut workspace = spare.unwrap_or_default();
        work(&mut workspace);
        self.0.lock().expect("no panic while held").push(workspace);
    }
}

/// Genomes that one thread works on.
pub enum Part<'a> {
    Direct { rules: &'a direct::Rules, n_genes: usize, channels: usize, genes: &'a mut [f32] },
    Cppn { rules: &'a Rules, canvas: Canvas, planes: &'a InputPlanes, graphs: &'a mut [Graph] },
}

impl Part<'_> {
    /// Makes the genomes, which start at genome `at` of a chunk whose first place is `chunk_start`: random ones and those to start from in
    /// generation 0, children of the chunk's `pairs` after it. Operators skipped for lack of capacity are added to the run's count.
    pub(super) fn make(
        &mut self,
        simd: Simd,
        places: &Places,
        pairs: &[Pair],
        chunk_start: u32,
        at: usize,
        workspace: &mut Workspace,
    ) {
        match self {
            Part::Direct { rules, n_genes, genes, .. } => {
                let n = *n_genes;
                for (i, children) in genes.chunks_exact_mut(2 * n).enumerate() {
                    let (run, candidate) = places.at(chunk_start + (at + 2 * i) as u32);
                    let (first, second) = children.split_at_mut(n);
                    if run.is_first() {
                        for (genes, candidate) in [first, second].into_iter().zip(candidate..) {
                            match places.start.get(candidate as usize).and_then(Genome::genes) {
                                Some(start) => genes.copy_from_slice(start),
                                None => direct::random(simd, genes, &run.philox, candidate),
                            }
                        }
                        continue;
                    }
                    let generation = run.generation();
                    let pair = &pairs[at / 2 + i];
                    let parents = pair.parents.map(|niche| match &run.archive.elites[niche as usize].genome {
                        Genome::Direct(genes) => genes.as_slice(),
                        Genome::Cppn(_) => unreachable!("an archive has one encoding"),
                    });
                    if pair.crossed {
                        let children = [&mut *first, &mut *second];
                        direct::cross(simd, children, parents, rules, &run.philox, candidate, generation);
                        direct::mutate(simd, first, rules, &run.philox, candidate, generation);
                        direct::mutate(simd, second, rules, &run.philox, candidate + 1, generation);
                        continue;
                    }
                    for ((child, parent), candidate) in [first, second].into_iter().zip(parents).zip(candidate..) {
                        direct::mutate_copy(simd, child, parent, rules, &run.philox, candidate, generation);
                    }
                }
            }
            Part::Cppn { rules, canvas, graphs, .. } => {
                for (i, child) in graphs.iter_mut().enumerate() {
                    let (run, candidate) = places.at(chunk_start + (at + i) as u32);
                    if run.is_first() {
                        match places.start.get(candidate as usize).and_then(Genome::graph) {
                            Some(start) => child.clone_from(start),
                            None => *child = Graph::random(canvas.channels, &run.philox, candidate),
                        }
                        continue;
                    }
                    let pair = &pairs[(at + i) / 2];
                    match &run.archive.elites[pair.parents[(candidate % 2) as usize] as usize].genome {
                        Genome::Cppn(parent) => child.clone_from(parent),
                        Genome::Direct(_) => unreachable!("an archive has one encoding"),
                    }
                    let skipped = child.vary(rules, &run.philox, candidate, run.generation(), &mut workspace.scratch);
                    if skipped > 0 {
                        run.skipped.fetch_add(u64::from(skipped), Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Draws the genomes into `images`, `(genomes, height, width, channels)`.
    pub(super) fn render(&self, simd: Simd, images: &mut [u8], workspace: &mut Workspace) {
        match self {
            Part::Direct { n_genes, channels, genes, .. } => {
                for (image, genes) in images.chunks_exact_mut(*n_genes).zip(genes.chunks_exact(*n_genes)) {
                    direct::render(simd, *channels, image, genes);
                }
            }
            Part::Cppn { rules, canvas, planes, graphs } => {
                for (image, graph) in images.chunks_exact_mut(canvas.len()).zip(graphs.iter()) {
                    let program = workspace.compiler.compile(simd, graph, rules.max_weight);
                    workspace.renderer.render(simd, planes, program, image);
                }
            }
        }
    }
}
