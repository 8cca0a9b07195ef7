//! niche_argmax: the winners of the CPU step, and copies of all that is known of them.

use crate::harness::{self, GUARDS};
use pareidolia::archive::content_hash;
use pareidolia::backend::cpu;
use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::elites::Elites;
use pareidolia::backend::cuda::genomes::{CppnSlots, DirectSlots, Genomes};
use pareidolia::backend::cuda::niche_argmax::Scored;
use pareidolia::backend::cuda::params::{Chunk, CppnEdge, CppnSize, RunState, Winner, node_stride};
use pareidolia::error::Error;
use pareidolia::genome::Genome;
use pareidolia::genome::cppn::{Activation, Edge, Graph};
use std::fmt::Debug;

/// Words of no particular distribution, keyed by a seed.
pub struct Words(pub u64);

impl Words {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (pareidolia::archive::mix(self.0) >> 32) as u32
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }

    pub fn many<T>(&mut self, n: usize, mut one: impl FnMut(&mut Words) -> T) -> Vec<T> {
        (0..n).map(|_| one(self)).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Direct,
    Cppn { max_nodes: u32, max_edges: u32 },
}

/// Genomes in slots, on the host. What lies in a slot beyond its genome is there too: nothing may touch it.
#[derive(Clone, PartialEq, Debug)]
struct Slots {
    genes: Vec<f32>,
    sizes: Vec<CppnSize>,
    activations: Vec<u8>,
    edges: Vec<CppnEdge>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: Kind,
    n_runs: usize,
    n_niches: usize,
    n_classes: usize,
    image_len: usize,
    stride: usize,
}

impl Shape {
    fn slots(&self, words: &mut Words, n: usize) -> Slots {
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
                    source: words.next() as u16,
                    target: words.next() as u16,
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

    fn upload(&self, launcher: &Launcher, slots: &Slots) -> Genomes {
        match self.kind {
            Kind::Direct => {
                Genomes::Direct(DirectSlots { n_genes: self.image_len, genes: launcher.upload(&slots.genes).unwrap() })
            }
            Kind::Cppn { max_nodes, max_edges } => Genomes::Cppn(CppnSlots {
                max_nodes,
                max_edges,
                n_outputs: 1,
                sizes: launcher.upload(&slots.sizes).unwrap(),
                activations: launcher.upload(&slots.activations).unwrap(),
                edges: launcher.upload(&slots.edges).unwrap(),
            }),
        }
    }
}

/// All of the elites, on the host, each buffer with guards behind it.
#[derive(Clone, PartialEq, Debug)]
struct Host {
    current: Vec<u32>,
    winners: Vec<(u32, u32)>, // bits of the fitness, candidate
    genomes: Slots,
    images: Vec<u8>,
    probabilities: Vec<u32>, // bits
    content_hashes: Vec<u64>,
    born: Vec<u32>,
}

impl Host {
    fn new(shape: &Shape, words: &mut Words) -> Host {
        let cells = shape.n_runs * shape.n_niches;
        let slots = 2 * cells;
        // So many slots more, rather than elements, as stand for guards.
        let more = GUARDS.div_ceil(shape.image_len) + 1;
        let winner = |words: &mut Words| match words.below(4) {
            0 => (f32::NEG_INFINITY.to_bits(), u32::MAX),
            1 => (0.5_f32.to_bits(), words.below(100)), // a chunk before
            _ => ((words.below(5) as f32 / 4.0).to_bits(), u32::MAX),
        };
        Host {
            current: words.many(cells + GUARDS, |words| words.below(2)),
            winners: words.many(cells + GUARDS, winner),
            genomes: shape.slots(words, slots + more),
            images: words.many((slots + more) * shape.image_len, |words| words.next() as u8),
            probabilities: words.many(slots * shape.n_classes + GUARDS, Words::next),
            content_hashes: words.many(slots + GUARDS, |words| u64::from(words.next())),
            born: words.many(2 * slots + GUARDS, Words::next),
        }
    }

    fn upload(&self, launcher: &Launcher, shape: &Shape) -> Elites {
        let winners: Vec<Winner> =
            self.winners.iter().map(|&(bits, candidate)| Winner { fitness: f32::from_bits(bits), candidate }).collect();
        let probabilities: Vec<f32> = self.probabilities.iter().map(|&bits| f32::from_bits(bits)).collect();
        Elites {
            current: launcher.upload(&self.current).unwrap(),
            winners: launcher.upload(&winners).unwrap(),
            genomes: shape.upload(launcher, &self.genomes),
            images: launcher.upload(&self.images).unwrap(),
            probabilities: launcher.upload(&probabilities).unwrap(),
            content_hashes: launcher.upload(&self.content_hashes).unwrap(),
            born: launcher.upload(&self.born).unwrap(),
        }
    }

    fn download(launcher: &Launcher, elites: &Elites) -> Host {
        let bits = |winner: Winner| (winner.fitness.to_bits(), winner.candidate);
        let mut genomes = Slots { genes: vec![], sizes: vec![], activations: vec![], edges: vec![] };
        match &elites.genomes {
            Genomes::Direct(slots) => genomes.genes = launcher.download(&slots.genes).unwrap(),
            Genomes::Cppn(slots) => {
                genomes.sizes = launcher.download(&slots.sizes).unwrap();
                genomes.activations = launcher.download(&slots.activations).unwrap();
                genomes.edges = launcher.download(&slots.edges).unwrap();
            }
        }
        Host {
            current: launcher.download(&elites.current).unwrap(),
            winners: launcher.download(&elites.winners).unwrap().into_iter().map(bits).collect(),
            genomes,
            images: launcher.download(&elites.images).unwrap(),
            probabilities: launcher.download(&elites.probabilities).unwrap().into_iter().map(f32::to_bits).collect(),
            content_hashes: launcher.download(&elites.content_hashes).unwrap(),
            born: launcher.download(&elites.born).unwrap(),
        }
    }
}

/// Runs at several generations, of which one stands before the first.
fn states(n_runs: usize) -> Vec<RunState> {
    let state = |run: usize| match run {
        1 => RunState { generation: 77, ..RunState::new(1) },
        _ => RunState { generation: 10 * run as u32 + 3, is_first: 0, ..RunState::new(run as u64) },
    };
    (0..n_runs).map(state).collect()
}

/// One launch on random buffers, and what the CPU's step makes of them. How many niches were won.
fn compare(launcher: &Launcher, shape: &Shape, active: &[u32], chunk: Chunk, seed: u64) -> usize {
    // Few different values, so that ties are common; zeros of both signs are equal.
    const VALUES: [f32; 9] = [0.0, 0.25, 0.5, 0.5, 0.75, f32::NAN, 1.0, -0.0, f32::NEG_INFINITY];
    let Shape { n_runs, n_niches, n_classes, image_len, stride, .. } = *shape;
    let case = format!("{shape:?}, active {active:?}, {chunk:?}, seed {seed}");
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
    let images = words.many(n * image_len, |words| words.next() as u8);
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
            .map(|&(bits, candidate)| cpu::niche_argmax::Winner { fitness: f32::from_bits(bits), candidate })
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
            let hash = content_hash(&row, image, &shape.genome(&genomes, at));
            let bits: Vec<u32> = row.iter().map(|p| p.to_bits()).collect();
            let generation = if runs[run].is_first == 1 { 0 } else { runs[run].generation + 1 };
            want.winners[cell] = (new.fitness.to_bits(), new.candidate);
            want.probabilities[slot * n_classes..][..n_classes].copy_from_slice(&bits);
            want.images[slot * image_len..][..image_len].copy_from_slice(image);
            want.content_hashes[slot] = hash;
            want.born[2 * slot..][..2].copy_from_slice(&[generation, candidate]);
        }
    }
    // Genomes last: a later winner of the chunk may be smaller than one before, whose end the device never writes.
    for cell in 0..n_runs * n_niches {
        if want.winners[cell] != before.winners[cell] {
            let position = active.iter().position(|&run| run as usize == cell / n_niches).unwrap();
            let at = position * chunk.batch as usize + want.winners[cell].1 as usize - chunk.start as usize;
            let slot = 2 * cell + 1 - want.current[cell] as usize;
            shape.copy(&mut want.genomes, slot, &genomes, at);
        }
    }

    let mut elites = before.upload(launcher, shape);
    let (on_device, scored_images) = (shape.upload(launcher, &genomes), launcher.upload(&images).unwrap());
    let scored_probabilities = launcher.upload(&probabilities).unwrap();
    let scored = Scored {
        genomes: &on_device,
        images: &scored_images,
        image_len: image_len as u32,
        probabilities: &scored_probabilities,
        n_classes: n_classes as u32,
        stride: stride as u32,
    };
    let [classes, active] = [&classes[..], active].map(|values| launcher.upload(values).unwrap());
    let runs = launcher.upload(&runs).unwrap();
    launcher.niche_argmax(&mut elites, scored, &classes, &runs, &active, chunk).unwrap();
    let got = Host::download(launcher, &elites);
    same("winners", &want.winners, &got.winners, &case);
    same("current", &want.current, &got.current, &case);
    same("genes", &want.genomes.genes, &got.genomes.genes, &case);
    same("sizes", &want.genomes.sizes, &got.genomes.sizes, &case);
    same("activations", &want.genomes.activations, &got.genomes.activations, &case);
    same("edges", &want.genomes.edges, &got.genomes.edges, &case);
    same("images", &want.images, &got.images, &case);
    same("probabilities", &want.probabilities, &got.probabilities, &case);
    same("content hashes", &want.content_hashes, &got.content_hashes, &case);
    same("born", &want.born, &got.born, &case);
    n_won
}

/// Fails at the first element that differs, guards included.
#[track_caller]
pub fn same<T: PartialEq + Debug>(what: &str, want: &[T], got: &[T], case: &str) {
    assert_eq!(want.len(), got.len(), "{case}: {what}: lengths differ");
    if let Some(at) = (0..want.len()).find(|&at| want[at] != got[at]) {
        panic!("{case}: {what}: element {at}: want {:?}, got {:?}", want[at], got[at]);
    }
}

#[test]
fn niche_argmax_finds_and_copies_the_winners_of_the_cpu() {
    let Some(launcher) = harness::launcher() else { return };
    let chunk = |batch, start, count| Chunk { batch, start, count };
    let one = [0].as_slice();
    let three = [0, 1, 2].as_slice();
    // Round the edges of a block of 256 threads; chunks that start inside a run, and that reach over several; runs left out.
    let cases: [(&[u32], Chunk); 14] = [
        (one, chunk(2, 0, 0)),
        (one, chunk(2, 0, 2)),
        (one, chunk(32, 0, 32)),
        (one, chunk(256, 0, 254)),
        (one, chunk(256, 0, 256)),
        (one, chunk(300, 0, 258)),
        (one, chunk(5000, 0, 2500)),
        (one, chunk(300, 124, 80)),
        (three, chunk(10, 0, 30)),
        (three, chunk(10, 8, 14)),
        (three, chunk(10, 10, 10)),
        (three, chunk(400, 300, 700)),
        (&[0, 2], chunk(10, 6, 12)),
        (&[1], chunk(40, 2, 22)),
    ];
    let kinds =
        [Kind::Direct, Kind::Cppn { max_nodes: 21, max_edges: 30 }, Kind::Cppn { max_nodes: 300, max_edges: 290 }];
    let mut n_won = 0;
    for kind in kinds {
        for (active, chunk) in cases {
            // Images of whole words, of a part of one, and of more words than a block has threads.
            for (n_niches, n_classes, image_len) in [(1, 1, 1), (10, 10, 28 * 28), (3, 7, 1030 + 1)] {
                let stride = chunk.count as usize + 5;
                let shape = Shape { kind, n_runs: 3, n_niches, n_classes, image_len, stride };
                for seed in 0..2 {
                    n_won += compare(launcher, &shape, active, chunk, seed);
                }
            }
        }
    }
    assert!(n_won > 1000, "{n_won}");
}

#[test]
fn niche_argmax_copies_for_many_niches_at_once() {
    let Some(launcher) = harness::launcher() else { return };
    let shape = Shape { kind: Kind::Direct, n_runs: 2, n_niches: 300, n_classes: 301, image_len: 12, stride: 64 };
    assert!(compare(launcher, &shape, &[0, 1], Chunk { batch: 34, start: 20, count: 40 }, 9) > 300);
}

#[test]
fn niche_argmax_refuses_buffers_that_are_too_short() {
    let Some(launcher) = harness::launcher() else { return };
    let shape = Shape { kind: Kind::Direct, n_runs: 2, n_niches: 3, n_classes: 4, image_len: 5, stride: 8 };
    let mut words = Words(3);
    let host = Host::new(&shape, &mut words);
    let genomes = shape.upload(launcher, &shape.slots(&mut words, 6));
    let (images, probabilities) = (launcher.zeros(6 * 5).unwrap(), launcher.zeros(4 * 8).unwrap());
    let scored = Scored {
        genomes: &genomes,
        images: &images,
        image_len: 5,
        probabilities: &probabilities,
        n_classes: 4,
        stride: 8,
    };
    let [classes, active] = [&[0, 2, 3][..], &[0, 1]].map(|values: &[u32]| launcher.upload(values).unwrap());
    let runs = launcher.upload(&states(2)).unwrap();
    let launch = |elites: &mut Elites, scored, count| {
        launcher.niche_argmax(elites, scored, &classes, &runs, &active, Chunk { batch: 4, start: 0, count })
    };
    let refused = |what: &str, result: Result<(), Error>| match result {
        Err(Error::Shape { what: got, .. }) => assert_eq!(what, got),
        other => panic!("{what}: {other:?}"),
    };
    let mut elites = host.upload(launcher, &shape);
    launch(&mut elites, scored, 6).unwrap();
    refused("images", launch(&mut elites, scored, 8));
    refused("probabilities", launch(&mut elites, Scored { n_classes: 5, ..scored }, 6));
    refused("a row of probabilities", launch(&mut elites, Scored { stride: 5, ..scored }, 6));
    refused(
        "active",
        launcher.niche_argmax(&mut elites, scored, &classes, &runs, &active, Chunk { batch: 2, start: 0, count: 6 }),
    );
    elites.born = launcher.zeros(2 * 2 * 2 * 3 - 1).unwrap();
    refused("elites.born", launch(&mut elites, scored, 6));
    elites.winners = launcher.zeros(5).unwrap();
    refused("elites.winners", launch(&mut elites, scored, 6));
}
