//! niche_argmax: the winners of the CPU step, and copies of all that is known of them.

use super::cases::{Extent, Words, product};
use super::gpu::{GUARDS, Gpu};
use super::tally::Tally;
use crate::archive::content_hash;
use crate::backend::cpu;
use crate::backend::cuda::elites::Elites;
use crate::backend::cuda::genomes::{CppnSlots, DirectSlots, Genomes};
use crate::backend::cuda::niche_argmax::Scored;
use crate::backend::cuda::params::{Chunk, CppnEdge, CppnSize, RunState, Winner, node_stride};
use crate::error::Result;
use crate::genome::Genome;
use crate::genome::cppn::{Activation, Edge, Graph};

/// The encoding of the genomes that compete.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Direct,
    Cppn { max_nodes: u32, max_edges: u32 },
}

/// Genomes in slots, on the host. What lies in a slot beyond its genome is there too: nothing may touch it.
#[derive(Clone, Debug)]
pub struct Slots {
    genes: Vec<f32>,
    sizes: Vec<CppnSize>,
    activations: Vec<u8>,
    edges: Vec<CppnEdge>,
}

/// Sizes of everything.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: Kind,
    pub n_runs: usize,
    pub n_niches: usize,
    pub n_classes: usize,
    pub image_len: usize,
    pub stride: usize,
}

impl Shape {
    /// `n` slots by chance.
    pub fn slots(&self, words: &mut Words, n: usize) -> Slots {
        let gene = |words: &mut Words| words.below(1001) as f32 / 1000.0;
        let none = Slots { genes: vec![], sizes: vec![], activations: vec![], edges: vec![] };
        match self.kind {
            Kind::Direct => Slots { genes: words.many(n * self.image_len, gene), ..none },
            Kind::Cppn { max_nodes, max_edges } => Slots {
                sizes: words.many(n, |words| CppnSize {
                    n_nodes: words.below(max_nodes + 1),
                    n_edges: words.below(max_edges + 1),
                }),
                activations: words.many(n * node_stride(max_nodes), |words| words.below(4) as u8),
                edges: words.many(n * max_edges as usize, |words| CppnEdge {
                    source: words.word() as u16,
                    target: words.word() as u16,
                    gene: gene(words),
                }),
                ..none
            },
        }
    }

    fn genome(&self, slots: &Slots, at: usize) -> Genome {
        match self.kind {
            Kind::Direct => Genome::Direct(slots.genes[at * self.image_len..][..self.image_len].to_vec()),
            Kind::Cppn { max_nodes, max_edges } => {
                let CppnSize { n_nodes, n_edges } = slots.sizes[at];
                let activations = &slots.activations[at * node_stride(max_nodes)..][..n_nodes as usize];
                let edges = &slots.edges[at * max_edges as usize..][..n_edges as usize];
                Genome::Cppn(Graph {
                    n_outputs: 1,
                    activations: activations.iter().map(|&index| Activation::ALL[usize::from(index)]).collect(),
                    edges: edges.iter().map(|&edge| Edge::from(edge)).collect(),
                })
            }
        }
    }

    /// Copies the genome in slot `from`, and no more, to slot `to` of `elites`.
    fn copy(&self, elites: &mut Slots, to: usize, slots: &Slots, from: usize) {
        fn part<T: Copy>(elites: &mut [T], to: usize, slots: &[T], from: usize, stride: usize, len: usize) {
            elites[to * stride..][..len].copy_from_slice(&slots[from * stride..][..len]);
        }
        match self.kind {
            Kind::Direct => part(&mut elites.genes, to, &slots.genes, from, self.image_len, self.image_len),
            Kind::Cppn { max_nodes, max_edges } => {
                let CppnSize { n_nodes, n_edges } = slots.sizes[from];
                elites.sizes[to] = slots.sizes[from];
                let nodes = node_stride(max_nodes);
                part(&mut elites.activations, to, &slots.activations, from, nodes, n_nodes as usize);
                part(&mut elites.edges, to, &slots.edges, from, max_edges as usize, n_edges as usize);
            }
        }
    }

    /// `slots` on the device.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn upload(&self, gpu: &Gpu, slots: &Slots) -> Result<Genomes> {
        Ok(match self.kind {
            Kind::Direct => Genomes::Direct(DirectSlots { n_genes: self.image_len, genes: gpu.upload(&slots.genes)? }),
            Kind::Cppn { max_nodes, max_edges } => Genomes::Cppn(CppnSlots {
                max_nodes,
                max_edges,
                n_outputs: 1,
                sizes: gpu.upload(&slots.sizes)?,
                activations: gpu.upload(&slots.activations)?,
                edges: gpu.upload(&slots.edges)?,
            }),
        })
    }
}

/// All of the elites, on the host, each buffer with guards behind it.
#[derive(Clone, Debug)]
pub struct Host {
    current: Vec<u32>,
    winners: Vec<Winner>,
    genomes: Slots,
    images: Vec<u8>,
    probabilities: Vec<f32>,
    content_hashes: Vec<u64>,
    born: Vec<u32>,
}

impl Host {
    /// Elites by chance.
    pub fn new(shape: &Shape, words: &mut Words) -> Host {
        let cells = shape.n_runs * shape.n_niches;
        let slots = 2 * cells;
        // So many slots more, rather than elements, as stand for guards.
        let more = GUARDS.div_ceil(shape.image_len) + 1;
        let winner = |words: &mut Words| match words.below(4) {
            0 => Winner::NONE,
            1 => Winner { fitness: 0.5, candidate: words.below(100) }, // a chunk before
            _ => Winner { fitness: words.below(5) as f32 / 4.0, ..Winner::NONE },
        };
        let number = |words: &mut Words| f32::from_bits(words.word());
        Host {
            current: words.many(cells + GUARDS, |words| words.below(2)),
            winners: words.many(cells + GUARDS, winner),
            genomes: shape.slots(words, slots + more),
            images: words.many((slots + more) * shape.image_len, |words| words.word() as u8),
            probabilities: words.many(slots * shape.n_classes + GUARDS, number),
            content_hashes: words.many(slots + GUARDS, |words| u64::from(words.word())),
            born: words.many(2 * slots + GUARDS, Words::word),
        }
    }

    /// On the device.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn upload(&self, gpu: &Gpu, shape: &Shape) -> Result<Elites> {
        Ok(Elites {
            current: gpu.upload(&self.current)?,
            winners: gpu.upload(&self.winners)?,
            genomes: shape.upload(gpu, &self.genomes)?,
            images: gpu.upload(&self.images)?,
            probabilities: gpu.upload(&self.probabilities)?,
            content_hashes: gpu.upload(&self.content_hashes)?,
            born: gpu.upload(&self.born)?,
        })
    }

    /// Compares all buffers, guards included, with the device's.
    fn compare(&self, gpu: &Gpu, tally: &mut Tally, elites: &Elites) -> Result<()> {
        let launcher = gpu.launcher;
        tally.same("the winners", &self.winners, &launcher.download(&elites.winners)?);
        tally.same("which slots are current", &self.current, &launcher.download(&elites.current)?);
        match &elites.genomes {
            Genomes::Direct(slots) => {
                tally.same("the genes", &self.genomes.genes, &launcher.download(&slots.genes)?);
            }
            Genomes::Cppn(slots) => {
                tally.same("the sizes", &self.genomes.sizes, &launcher.download(&slots.sizes)?);
                tally.same("the activations", &self.genomes.activations, &launcher.download(&slots.activations)?);
                tally.same("the edges", &self.genomes.edges, &launcher.download(&slots.edges)?);
            }
        }
        tally.same("the images", &self.images, &launcher.download(&elites.images)?);
        tally.same("the probabilities", &self.probabilities, &launcher.download(&elites.probabilities)?);
        tally.same("the content hashes", &self.content_hashes, &launcher.download(&elites.content_hashes)?);
        tally.same("the births", &self.born, &launcher.download(&elites.born)?);
        Ok(())
    }
}

/// Runs at several generations, of which one stands before the first.
pub fn states(n_runs: usize) -> Vec<RunState> {
    let state = |run: usize| match run {
        1 => RunState { generation: 77, ..RunState::new(1) },
        _ => RunState { generation: 10 * run as u32 + 3, is_first: 0, ..RunState::new(run as u64) },
    };
    (0..n_runs).map(state).collect()
}

/// One launch on buffers by chance, and what the CPU's step makes of them. How many niches were won.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, shape: &Shape, active: &[u32], chunk: Chunk, seed: u64) -> Result<usize> {
    // Few different values, so that ties are common; zeros of both signs are equal.
    const VALUES: [f32; 9] = [0.0, 0.25, 0.5, 0.5, 0.75, f32::NAN, 1.0, -0.0, f32::NEG_INFINITY];
    let Shape { n_runs, n_niches, n_classes, image_len, stride, .. } = *shape;
    tally.case(chunk.count as usize, format_args!("{shape:?}, active {active:?}, {chunk:?}, seed {seed}"));
    let n = chunk.count as usize;
    let mut words = Words(seed);
    let classes: Vec<u32> = (0..n_classes as u32).rev().take(n_niches).rev().collect();
    // In a long chunk they are mostly low, so that the best, with its ties, is not always among the first.
    let kinds = |words: &mut Words| if n < 50 || words.below(40) == 0 { VALUES.len() as u32 } else { 4 };
    let value = |words: &mut Words| {
        let kinds = kinds(words);
        VALUES[words.below(kinds) as usize]
    };
    let probabilities = words.many(n_classes * stride, value);
    let images = words.many(n * image_len, |words| words.word() as u8);
    let genomes = shape.slots(&mut words, n);
    let before = Host::new(shape, &mut words);
    let runs = states(n_runs);

    let mut want = before.clone();
    let mut n_won = 0;
    for (at, place) in (chunk.start..chunk.start + chunk.count).enumerate() {
        let (run, candidate) = (active[(place / chunk.batch) as usize] as usize, place % chunk.batch);
        let row: Vec<f32> = (0..n_classes).map(|class| probabilities[class * stride + at]).collect();
        let cells = run * n_niches..(run + 1) * n_niches;
        let mut winners: Vec<cpu::niche_argmax::Winner> = want.winners[cells.clone()]
            .iter()
            .map(|&Winner { fitness, candidate }| cpu::niche_argmax::Winner { fitness, candidate })
            .collect();
        let old = winners.clone();
        cpu::niche_argmax::niche_argmax(&mut winners, &row, &classes, n_classes, candidate);
        for ((cell, new), old) in cells.zip(winners).zip(old) {
            if new == old {
                continue;
            }
            n_won += 1;
            let slot = 2 * cell + 1 - want.current[cell] as usize;
            let image = &images[at * image_len..][..image_len];
            let generation = if runs[run].is_first == 1 { 0 } else { runs[run].generation + 1 };
            want.winners[cell] = Winner { fitness: new.fitness, candidate: new.candidate };
            want.content_hashes[slot] = content_hash(&row, image, &shape.genome(&genomes, at));
            want.probabilities[slot * n_classes..][..n_classes].copy_from_slice(&row);
            want.images[slot * image_len..][..image_len].copy_from_slice(image);
            want.born[2 * slot..][..2].copy_from_slice(&[generation, candidate]);
        }
    }
    // Genomes last: a later winner of the chunk may be smaller than one before, whose end the device never writes.
    for cell in 0..n_runs * n_niches {
        if want.winners[cell] != before.winners[cell] {
            let run = (cell / n_niches) as u32;
            let position = active.iter().position(|&active| active == run).expect("only active runs win");
            let at = position * chunk.batch as usize + want.winners[cell].candidate as usize - chunk.start as usize;
            let slot = 2 * cell + 1 - want.current[cell] as usize;
            shape.copy(&mut want.genomes, slot, &genomes, at);
        }
    }

    let mut elites = before.upload(gpu, shape)?;
    let (on_device, scored_images) = (shape.upload(gpu, &genomes)?, gpu.upload(&images)?);
    let scored_probabilities = gpu.upload(&probabilities)?;
    let scored = Scored {
        genomes: &on_device,
        images: &scored_images,
        image_len: image_len as u32,
        probabilities: &scored_probabilities,
        n_classes: n_classes as u32,
        stride: stride as u32,
    };
    let (classes, active, runs) = (gpu.upload(&classes)?, gpu.upload(active)?, gpu.upload(&runs)?);
    gpu.timed(tally, |launcher| launcher.niche_argmax(&mut elites, scored, &classes, &runs, &active, chunk))?;
    want.compare(gpu, tally, &elites)?;
    Ok(n_won)
}

/// Runs that take part, and places: round the edges of a block of 256 threads; chunks that start inside a run, and that reach over
/// several; runs left out.
fn chunks() -> Vec<(Vec<u32>, Chunk)> {
    let chunk = |batch, start, count| Chunk { batch, start, count };
    let (one, three) = (vec![0], vec![0, 1, 2]);
    vec![
        (one.clone(), chunk(2, 0, 0)),
        (one.clone(), chunk(2, 0, 2)),
        (one.clone(), chunk(32, 0, 32)),
        (one.clone(), chunk(256, 0, 254)),
        (one.clone(), chunk(256, 0, 256)),
        (one.clone(), chunk(300, 0, 258)),
        (one.clone(), chunk(5000, 0, 2500)),
        (one, chunk(300, 124, 80)),
        (three.clone(), chunk(10, 0, 30)),
        (three.clone(), chunk(10, 10, 10)),
        (three.clone(), chunk(400, 300, 700)),
        (vec![0, 2], chunk(10, 6, 12)),
        (vec![1], chunk(40, 2, 22)),
        (three, chunk(10, 8, 14)),
    ]
}

/// All chunks for each of `kinds`, with images of whole words, of a part of one, and of more words than a block has threads.
fn all(gpu: &Gpu, extent: Extent, tally: &mut Tally, kinds: &[Kind]) -> Result<usize> {
    let sizes = [(1, 1, 1), (3, 7, 1030 + 1), (10, 10, 28 * 28)];
    let table = product(&product(kinds, &chunks()), &product(&sizes, &[0, 1]));
    let mut n_won = 0;
    for ((kind, (active, chunk)), ((n_niches, n_classes, image_len), seed)) in extent.of(table, 6, usize::MAX) {
        let stride = chunk.count as usize + 5;
        let shape = Shape { kind, n_runs: 3, n_niches, n_classes, image_len, stride };
        n_won += compare(gpu, tally, &shape, &active, chunk, seed)?;
    }
    Ok(n_won)
}

/// The winners of all chunks, direct genomes, and of many niches at once. How many niches were won.
///
/// # Errors
/// The driver's.
pub fn direct(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<usize> {
    let many = Shape { kind: Kind::Direct, n_runs: 2, n_niches: 300, n_classes: 301, image_len: 12, stride: 64 };
    let n_won = compare(gpu, tally, &many, &[0, 1], Chunk { batch: 34, start: 20, count: 40 }, 9)?;
    Ok(n_won + all(gpu, extent, tally, &[Kind::Direct])?)
}

/// The winners of all chunks, CPPNs of two capacities. How many niches were won.
///
/// # Errors
/// The driver's.
pub fn cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<usize> {
    let kinds = [Kind::Cppn { max_nodes: 300, max_edges: 290 }, Kind::Cppn { max_nodes: 21, max_edges: 30 }];
    all(gpu, extent, tally, &kinds)
}
