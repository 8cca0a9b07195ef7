//! The genomes of a chunk: made, varied and drawn, a thread each.

use super::select::Pair;
use crate::archive::Elite;
use crate::backend::Job;
use crate::genome::cppn::{Compiler, Graph, InputPlanes, Renderer, Rules, Scratch};
use crate::genome::{Canvas, Encoding, Genome, direct};
use crate::rng::Philox;
use crate::simd::Simd;
use rayon::prelude::*;
use std::ops::Range;

/// Genomes of up to `chunk` candidates.
pub enum Population {
    Direct {
        rules: direct::Rules,
        n_genes: usize,
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

    /// The random genomes of generation 0.
    pub fn randomise(&mut self, simd: Simd, philox: &Philox, chunk: Range<u32>) {
        match self {
            Population::Direct { n_genes, genes, .. } => {
                let genomes = genes.par_chunks_mut(*n_genes).zip(chunk.into_par_iter());
                genomes.for_each(|(genes, candidate)| direct::random(simd, genes, philox, candidate));
            }
            Population::Cppn { graphs, canvas, .. } => {
                let n_outputs = canvas.channels;
                let genomes = graphs.par_iter_mut().zip(chunk.into_par_iter());
                genomes.for_each(|(graph, candidate)| *graph = Graph::random(n_outputs, philox, candidate));
            }
        }
    }

    /// The children of `pairs`; returns the number of operators skipped for lack of capacity.
    pub fn vary(
        &mut self,
        simd: Simd,
        elites: &[Elite],
        pairs: &[Pair],
        philox: &Philox,
        generation: u32,
        chunk: Range<u32>,
    ) -> u64 {
        match self {
            Population::Direct { rules, n_genes, genes } => {
                let n = *n_genes;
                let parent = |niche: u32| match &elites[niche as usize].genome {
                    Genome::Direct(genes) => genes.as_slice(),
                    Genome::Cppn(_) => unreachable!("an archive has one encoding"),
                };
                let families = genes.par_chunks_mut(2 * n).zip(pairs).zip(chunk.into_par_iter().step_by(2));
                families.for_each(|((children, pair), candidate)| {
                    let (first, second) = children.split_at_mut(n);
                    let parents = pair.parents.map(parent);
                    if pair.crossed {
                        direct::cross(simd, [&mut *first, &mut *second], parents, rules, philox, candidate, generation);
                    } else {
                        first.copy_from_slice(parents[0]);
                        second.copy_from_slice(parents[1]);
                    }
                    direct::mutate(simd, first, rules, philox, candidate, generation);
                    direct::mutate(simd, second, rules, philox, candidate + 1, generation);
                });
                0
            }
            Population::Cppn { rules, graphs, .. } => {
                let children = graphs.par_iter_mut().zip(chunk.clone().into_par_iter());
                children
                    .map_init(Scratch::default, |scratch, (child, candidate)| {
                        let pair = &pairs[((candidate - chunk.start) / 2) as usize];
                        match &elites[pair.parents[(candidate % 2) as usize] as usize].genome {
                            Genome::Cppn(parent) => child.clone_from(parent),
                            Genome::Direct(_) => unreachable!("an archive has one encoding"),
                        }
                        u64::from(child.vary(rules, philox, candidate, generation, scratch))
                    })
                    .sum()
            }
        }
    }

    /// Draws the first genomes into `images`, `(candidates, height, width, channels)`.
    pub fn render(&self, simd: Simd, images: &mut [u8]) {
        match self {
            Population::Direct { n_genes, genes, .. } => {
                let genomes = images.par_chunks_mut(*n_genes).zip(genes.par_chunks(*n_genes));
                genomes.for_each(|(image, genes)| direct::render(image, genes));
            }
            Population::Cppn { rules, canvas, graphs, planes } => {
                let genomes = images.par_chunks_mut(canvas.len()).zip(graphs);
                genomes.for_each_init(
                    Default::default,
                    |(compiler, renderer): &mut (Compiler, Renderer), (image, graph)| {
                        renderer.render(simd, planes, compiler.compile(graph, rules.max_weight), image);
                    },
                );
            }
        }
    }

    /// A copy of genome `at` of the chunk.
    pub fn genome(&self, at: usize) -> Genome {
        match self {
            Population::Direct { n_genes, genes, .. } => Genome::Direct(genes[at * n_genes..][..*n_genes].to_vec()),
            Population::Cppn { graphs, .. } => Genome::Cppn(graphs[at].clone()),
        }
    }
}
