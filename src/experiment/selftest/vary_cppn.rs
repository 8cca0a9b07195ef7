//! vary_cppn: the children of `Graph::vary`.

use super::cases::{Extent, Places, Runs, one_run, places, product};
use super::gpu::Gpu;
use super::graphs::{self, chain, grown, shuffled};
use super::tally::Tally;
use crate::backend::cuda::params::{Chunk, CppnRules, Pair, RunState};
use crate::error::Result;
use crate::genome::cppn::{Graph, Rules, Scratch};
use crate::rng::{Philox, below};

/// Niches of a run.
const N_NICHES: usize = 5;

/// Rules under which nothing happens.
fn nothing() -> Rules {
    Rules {
        weight_rate: 0.0,
        activation_rate: 0.0,
        add_edge_rate: 0.0,
        delete_edge_rate: 0.0,
        split_edge_rate: 0.0,
        delete_node_rate: 0.0,
        ..Rules::faithful()
    }
}

/// Rules under which everything happens to every child.
fn everything() -> Rules {
    Rules {
        weight_rate: 1.0,
        activation_rate: 1.0,
        add_edge_rate: 1.0,
        delete_edge_rate: 1.0,
        split_edge_rate: 1.0,
        delete_node_rate: 1.0,
        ..Rules::faithful()
    }
}

/// Each operator alone, all, none, and as they are.
fn all_rules() -> Vec<Rules> {
    vec![
        nothing(),
        Rules { weight_rate: 1.0, ..nothing() },
        Rules { weight_rate: 0.3, weight_eta: 10, ..nothing() },
        Rules { weight_rate: 1.0, weight_eta: 0, ..nothing() },
        Rules { activation_rate: 1.0, ..nothing() },
        Rules { add_edge_rate: 1.0, ..nothing() },
        Rules { delete_edge_rate: 1.0, ..nothing() },
        Rules { split_edge_rate: 1.0, ..nothing() },
        Rules { delete_node_rate: 1.0, ..nothing() },
        Rules::faithful(),
        Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::modern() },
        everything(),
    ]
}

/// A case: rules, parents, a niche each, `(n_runs, n_niches)`, and places.
#[derive(Clone, Debug)]
pub struct Case {
    pub rules: Rules,
    pub parents: Vec<Graph>,
    pub at: Places,
}

impl Case {
    fn n_outputs(&self) -> usize {
        self.parents[0].n_outputs
    }

    /// Parents by chance.
    fn pairs(&self) -> Vec<Pair> {
        let (runs, _, chunk) = &self.at;
        let n_niches = (self.parents.len() / runs.len()) as u32;
        let pair = |i: u32| {
            let [a, b, ..] = Philox::new(77).block([i, 0, 0, 0]);
            Pair { parents: [below(a, n_niches), below(b, n_niches)], crossed: 0 }
        };
        (0..chunk.count / 2).map(pair).collect()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        let (runs, active, chunk) = &self.at;
        let n = self.n_outputs();
        format!("{n} outputs, {:?}, runs {runs:?}, active {active:?}, {chunk:?}", self.rules)
    }

    /// The children on the host, and the operators that each run has skipped.
    pub fn on_host(&self) -> (Vec<Graph>, Vec<u64>) {
        let (runs, active, chunk) = &self.at;
        let runs = Runs::new(runs, active);
        let n_niches = self.parents.len() / runs.n_runs();
        let pairs = self.pairs();
        let (mut skipped, mut scratch) = (vec![0; runs.n_runs()], Scratch::default());
        let child = |(at, (run, candidate)): (usize, (usize, u32))| {
            let niche = pairs[at / 2].parents[(candidate % 2) as usize] as usize;
            let mut child = self.parents[run * n_niches + niche].clone();
            let (philox, generation) = (runs.philox(run), runs.generation(run));
            skipped[run] += u64::from(child.vary(&self.rules, &philox, candidate, generation, &mut scratch));
            child
        };
        let children = runs.places(*chunk).enumerate().map(child).collect();
        (children, skipped)
    }
}

/// Compares the children of a chunk, and what was skipped, on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, case: &Case) -> Result<()> {
    let (runs, active, chunk) = &case.at;
    tally.case(chunk.count as usize, case.name());
    let (want, skipped) = case.on_host();

    let crossing = CppnRules::new(&case.rules, case.n_outputs());
    // The slot that is not current holds no genome.
    let current: Vec<u32> = (0..case.parents.len() as u32).map(|elite| elite / 2 % 2).collect();
    let mut elites = vec![None; 2 * case.parents.len()];
    for (at, (parent, &current)) in case.parents.iter().zip(&current).enumerate() {
        elites[2 * at + current as usize] = Some(parent);
    }
    let elites = graphs::upload(gpu, &crossing, &elites)?;
    let mut children = graphs::guarded(gpu, &crossing, want.len())?;
    let runs = Runs::new(runs, active);
    let mut states: Vec<RunState> = runs.states();
    states.iter_mut().enumerate().for_each(|(run, state)| state.skipped = 1000 * run as u64);
    let mut on_device = runs.upload(gpu)?;
    on_device.states = gpu.upload(&states)?;
    let (current, pairs) = (gpu.upload(&current)?, gpu.upload(&case.pairs())?);
    let n_niches = (case.parents.len() / runs.n_runs()) as u32;
    gpu.timed(tally, |launcher| {
        launcher.vary_cppn(
            &mut children,
            &mut on_device.states,
            &elites,
            &current,
            &pairs,
            &on_device.active,
            &crossing,
            *chunk,
            n_niches,
        )
    })?;
    graphs::compare(gpu, tally, &children, &want, false)?;
    states.iter_mut().zip(skipped).for_each(|(state, skipped)| state.skipped += skipped);
    tally.same("the runs", &states, &gpu.launcher.download(&on_device.states)?);
    Ok(())
}

/// Genomes of all ages.
fn parents(rules: &Rules, n_outputs: usize, n: usize) -> Vec<Graph> {
    (0..n as u32).map(|i| grown(rules, n_outputs, i, i * 11 % 83)).collect()
}

/// All rules, round the edges of a block of 4 candidates.
fn ordinary() -> Vec<Case> {
    let case = |((n_outputs, rules), at): ((usize, Rules), Places)| {
        let parents = parents(&Rules::faithful(), n_outputs, at.0.len() * N_NICHES);
        Case { rules, parents, at }
    };
    product(&product(&[1, 3], &all_rules()), &places(8)).into_iter().map(case).collect()
}

/// Genomes that have grown to their capacity, of several sizes.
fn at_capacity() -> Vec<Case> {
    let growing = Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::faithful() };
    let mut cases = Vec::new();
    for n_outputs in [1, 3] {
        let (nodes, edges) = (n_outputs as u32 + 4, 4 * n_outputs as u32);
        for (max_nodes, max_edges) in [(nodes, edges), (nodes + 1, edges + 1), (12, 18), (33, 64), (64, 33), (16, 200)]
        {
            let parents = parents(&Rules { max_nodes, max_edges, ..growing.clone() }, n_outputs, 32);
            cases.extend(all_rules().into_iter().map(|rules| Case {
                rules: Rules { max_nodes, max_edges, ..rules },
                parents: parents.clone(),
                at: one_run(64),
            }));
        }
    }
    cases
}

/// Operators that several runs skip for want of room.
fn skipping() -> Vec<Case> {
    let rules = Rules { max_nodes: 12, max_edges: 18, add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::faithful() };
    let case = |at: Places| Case { rules: rules.clone(), parents: parents(&rules, 1, at.0.len() * N_NICHES), at };
    places(8).into_iter().map(case).collect()
}

/// Large graphs, whatever the order of their edges, in which to find ancestors.
fn large() -> Vec<Case> {
    let rules = Rules { max_nodes: 1000, max_edges: 2000, add_edge_rate: 1.0, ..nothing() };
    let growing = Rules { split_edge_rate: 1.0, delete_edge_rate: 0.0, delete_node_rate: 0.0, ..rules.clone() };
    let mut parents = Vec::new();
    for i in 0..8 {
        let graph = grown(&growing, 1 + i as usize % 2 * 2, i, 40 * i);
        parents.push(graph.clone());
        parents.push(shuffled(&graph, i));
    }
    parents.extend([30, 31, 32, 33, 255, 600].map(|n| chain(n, 1)));
    parents.extend([33, 600].map(|n| shuffled(&chain(n, 1), n as u32)));
    let all = [rules, Rules { max_nodes: 1000, max_edges: 2000, ..everything() }];
    product(&[1, 3], &all)
        .into_iter()
        .map(|(n_outputs, rules)| {
            let parents = parents.iter().filter(|graph| graph.n_outputs == n_outputs).cloned().collect();
            Case { rules, parents, at: one_run(48) }
        })
        .collect()
}

/// Graphs without edges, or without hidden nodes.
fn bare() -> Vec<Case> {
    let bare = |graph: Graph| Graph { edges: Vec::new(), ..graph };
    let mut cases = Vec::new();
    for n_outputs in [1, 3] {
        let rules = Rules::faithful();
        let parents = vec![
            bare(grown(&rules, n_outputs, 3, 0)),
            bare(grown(&rules, n_outputs, 3, 60)),
            grown(&rules, n_outputs, 3, 0),
        ];
        let one_edge = Graph { edges: parents[2].edges[..1].to_vec(), ..parents[2].clone() };
        cases.extend(all_rules().into_iter().map(|rules| Case { rules, parents: parents.clone(), at: one_run(32) }));
        let rules = Rules { add_edge_rate: 0.0, ..everything() };
        cases.push(Case { rules, parents: vec![one_edge], at: one_run(32) });
    }
    cases
}

/// All of them.
pub fn cases(extent: Extent) -> Vec<Case> {
    [
        extent.of(at_capacity(), 2, 60),
        extent.of(skipping(), 1, usize::MAX),
        extent.of(large(), 0, usize::MAX),
        extent.of(bare(), 1, usize::MAX),
        extent.of(ordinary(), 5, 132),
    ]
    .concat()
}

/// The children of all [`cases`], and of a hundred generations in a row.
///
/// # Errors
/// The driver's.
pub fn vary_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    cases(extent).iter().try_for_each(|case| compare(gpu, tally, case))?;
    let generations = extent.number(0, 40, 100);
    descend(gpu, tally, &Rules::faithful(), 1, generations)?;
    descend(gpu, tally, &Rules { max_nodes: 40, max_edges: 60, ..Rules::modern() }, 3, generations)?;
    Ok(())
}

/// Lets the device go on with its own genomes for some generations, and compares the last, and what was skipped. How much that is.
///
/// # Errors
/// The driver's.
pub fn descend(gpu: &Gpu, tally: &mut Tally, rules: &Rules, n_outputs: usize, generations: u32) -> Result<u64> {
    const N: u32 = 48;
    tally.case(N as usize, format_args!("{generations} generations, {n_outputs} outputs, {rules:?}"));
    let crossing = CppnRules::new(rules, n_outputs);
    let philox = Philox::new(5);
    let mut graphs: Vec<Graph> = (0..N).map(|candidate| Graph::random(n_outputs, &philox, candidate)).collect();
    let pairs: Vec<Pair> = (0..N / 2).map(|i| Pair { parents: [2 * i, 2 * i + 1], crossed: 0 }).collect();
    let pairs = gpu.upload(&pairs)?;
    // Elites and children change places; a niche has a slot, and another that is never current.
    let current = gpu.upload(&[1; N as usize])?;
    let (mut skipped, mut skipped_there) = (0, 0);
    let mut there = graphs.clone();
    for generation in 1..=generations {
        let runs = Runs::new(&[(5, Some(generation - 1))], &[0]);
        let mut on_device = runs.upload(gpu)?;
        on_device.states = gpu.upload(&[RunState { skipped: skipped_there, ..runs.states()[0] }])?;
        let elites: Vec<_> = there.iter().flat_map(|graph| [None, Some(graph)]).collect();
        let elites = graphs::upload(gpu, &crossing, &elites)?;
        let mut children = graphs::guarded(gpu, &crossing, N as usize)?;
        let chunk = Chunk { batch: N, start: 0, count: N };
        let (states, active) = (&mut on_device.states, &on_device.active);
        gpu.timed(tally, |launcher| {
            launcher.vary_cppn(&mut children, states, &elites, &current, &pairs, active, &crossing, chunk, N)
        })?;
        skipped_there = gpu.launcher.download(&on_device.states)?[0].skipped;
        for (candidate, graph) in graphs.iter_mut().enumerate() {
            let more = graph.vary(rules, &philox, candidate as u32, generation, &mut Scratch::default());
            skipped += u64::from(more);
        }
        let before = tally.differing;
        graphs::compare(gpu, tally, &children, &graphs, false)?;
        if tally.differing > before {
            return Ok(skipped); // the genomes that came out may be none
        }
        there = children.get(gpu.launcher.reader(), &(0..N as usize).collect::<Vec<_>>())?;
    }
    tally.same("operators skipped", &[skipped], &[skipped_there]);
    Ok(skipped)
}
