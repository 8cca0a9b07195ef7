//! vary_cppn: the children of `Graph::vary`.

use crate::grown::{chain, grown, shuffled};
use crate::runs::{Run, Runs, cases};
use crate::{harness, slots};
use pareidolia::backend::cuda::params::{Chunk, CppnRules, Pair};
use pareidolia::genome::cppn::{Graph, Rules, Scratch};
use pareidolia::rng::{Philox, below};

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
        everything(),
        Rules::faithful(),
        Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::modern() },
    ]
}

/// The children of `parents` in `chunk`, made on both sides. A parent a niche, `(n_runs, N_NICHES)`.
fn compare(rules: &Rules, n_outputs: usize, parents: &[Graph], runs: &[Run], active: &[u32], chunk: Chunk) {
    let Some(launcher) = harness::launcher() else { return };
    let on_device = Runs::new(launcher, runs, active);
    let crossing = CppnRules::new(rules, n_outputs);
    let n_niches = parents.len() / runs.len();
    let pair = |i: u32| {
        let [a, b, ..] = Philox::new(77).block([i, 0, 0, 0]);
        Pair { parents: [below(a, n_niches as u32), below(b, n_niches as u32)], crossed: 0 }
    };
    let pairs: Vec<Pair> = (0..chunk.count / 2).map(pair).collect();

    let mut skipped = vec![0; runs.len()];
    let mut scratch = Scratch::default();
    let places = on_device.places(chunk).enumerate();
    let want: Vec<Graph> = places
        .map(|(at, (run, candidate))| {
            let niche = pairs[at / 2].parents[(candidate % 2) as usize] as usize;
            let mut child = parents[run * n_niches + niche].clone();
            let (philox, generation) = (on_device.philox(run), on_device.generation(run));
            skipped[run] += u64::from(child.vary(rules, &philox, candidate, generation, &mut scratch));
            child
        })
        .collect();

    // The slot that is not current holds no genome.
    let current: Vec<u32> = (0..parents.len() as u32).map(|elite| elite / 2 % 2).collect();
    let mut elites = vec![None; 2 * parents.len()];
    for (at, (parent, &current)) in parents.iter().zip(&current).enumerate() {
        elites[2 * at + current as usize] = Some(parent.clone());
    }
    let elites = slots::upload(launcher, &crossing, &elites);
    let mut children = slots::guarded(launcher, &crossing, want.len());
    let mut states = launcher.download(&on_device.on_device).unwrap();
    states.iter_mut().enumerate().for_each(|(run, state)| state.skipped = 1000 * run as u64);
    let mut states_on_device = launcher.upload(&states).unwrap();
    launcher
        .vary_cppn(
            &mut children,
            &mut states_on_device,
            &elites,
            &launcher.upload(&current).unwrap(),
            &launcher.upload(&pairs).unwrap(),
            &on_device.active_on_device,
            &crossing,
            chunk,
            n_niches as u32,
        )
        .unwrap();
    let case = format!("{rules:?}, {runs:?}, active {active:?}, {chunk:?}");
    slots::assert_same(&want, &slots::download(launcher, &children, want.len()), &case);
    states.iter_mut().zip(skipped).for_each(|(state, skipped)| state.skipped += skipped);
    assert_eq!(states, launcher.download(&states_on_device).unwrap(), "{case}");
}

/// Genomes of all ages.
fn parents(rules: &Rules, n_outputs: usize, n: usize) -> Vec<Graph> {
    (0..n as u32).map(|i| grown(rules, n_outputs, i, i * 11 % 83)).collect()
}

#[test]
fn vary_cppn_makes_the_children_of_the_cpu() {
    for n_outputs in [1, 3] {
        for rules in all_rules() {
            for (runs, active, chunk) in cases(8) {
                let parents = parents(&Rules::faithful(), n_outputs, runs.len() * N_NICHES);
                compare(&rules, n_outputs, &parents, &runs, &active, chunk);
            }
        }
    }
}

/// One run, and a batch that is a chunk.
fn one_run(count: u32) -> ([Run; 1], [u32; 1], Chunk) {
    ([(12, Some(6))], [0], Chunk { batch: count, start: 0, count })
}

#[test]
fn vary_cppn_makes_the_children_of_the_cpu_at_capacity() {
    let growing = Rules { add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::faithful() };
    for n_outputs in [1, 3] {
        let (nodes, edges) = (n_outputs as u32 + 4, 4 * n_outputs as u32);
        for (max_nodes, max_edges) in [(nodes, edges), (nodes + 1, edges + 1), (12, 18), (33, 64), (64, 33), (16, 200)]
        {
            let rules = Rules { max_nodes, max_edges, ..growing.clone() };
            let parents = parents(&rules, n_outputs, 32);
            let (runs, active, chunk) = one_run(64);
            for rates in all_rules() {
                compare(&Rules { max_nodes, max_edges, ..rates }, n_outputs, &parents, &runs, &active, chunk);
            }
        }
    }
}

#[test]
fn vary_cppn_counts_skipped_operators_for_the_run_that_skips_them() {
    let rules = Rules { max_nodes: 12, max_edges: 18, add_edge_rate: 0.9, split_edge_rate: 0.9, ..Rules::faithful() };
    for (runs, active, chunk) in cases(8) {
        let parents = parents(&rules, 1, runs.len() * N_NICHES);
        compare(&rules, 1, &parents, &runs, &active, chunk);
    }
}

#[test]
fn vary_cppn_makes_the_children_of_the_cpu_over_a_hundred_generations() {
    let Some(launcher) = harness::launcher() else { return };
    const N: u32 = 48;
    for (rules, n_outputs) in [(Rules::faithful(), 1), (Rules { max_nodes: 40, max_edges: 60, ..Rules::modern() }, 3)] {
        let crossing = CppnRules::new(&rules, n_outputs);
        let philox = Philox::new(5);
        let mut graphs: Vec<Graph> = (0..N).map(|candidate| Graph::random(n_outputs, &philox, candidate)).collect();
        let pairs: Vec<Pair> = (0..N / 2).map(|i| Pair { parents: [2 * i, 2 * i + 1], crossed: 0 }).collect();
        let pairs = launcher.upload(&pairs).unwrap();
        let current = launcher.upload(&[1; N as usize]).unwrap();
        let (mut skipped, mut skipped_on_device) = (0, 0);
        // Each side goes on with its own genomes.
        let mut on_device = graphs.clone();
        for generation in 1..=100 {
            let state = Runs::new(launcher, &[(5, Some(generation - 1))], &[0]);
            let mut states = launcher.download(&state.on_device).unwrap();
            states[0].skipped = skipped_on_device;
            let mut states = launcher.upload(&states).unwrap();
            let elites: Vec<_> = on_device.iter().flat_map(|graph| [None, Some(graph.clone())]).collect();
            let elites = slots::upload(launcher, &crossing, &elites);
            let mut children = slots::guarded(launcher, &crossing, N as usize);
            let chunk = Chunk { batch: N, start: 0, count: N };
            let active = &state.active_on_device;
            launcher
                .vary_cppn(&mut children, &mut states, &elites, &current, &pairs, active, &crossing, chunk, N)
                .unwrap();
            on_device = slots::download(launcher, &children, N as usize);
            skipped_on_device = launcher.download(&states).unwrap()[0].skipped;
            for (candidate, graph) in graphs.iter_mut().enumerate() {
                let more = graph.vary(&rules, &philox, candidate as u32, generation, &mut Scratch::default());
                skipped += u64::from(more);
            }
        }
        slots::assert_same(&graphs, &on_device, &format!("{n_outputs} outputs"));
        assert_eq!(skipped, skipped_on_device);
        assert_eq!(skipped > 0, rules.max_nodes == 40);
    }
}

#[test]
fn vary_cppn_finds_the_ancestors_in_large_graphs_whatever_the_order_of_edges() {
    let rules = Rules { max_nodes: 1000, max_edges: 2000, add_edge_rate: 1.0, ..nothing() };
    let growing = Rules { split_edge_rate: 1.0, delete_edge_rate: 0.0, delete_node_rate: 0.0, ..rules.clone() };
    let (runs, active, chunk) = one_run(48);
    let mut parents = Vec::new();
    for i in 0..8 {
        let graph = grown(&growing, 1 + i as usize % 2 * 2, i, 40 * i);
        parents.push(graph.clone());
        parents.push(shuffled(&graph, i));
    }
    parents.extend([30, 31, 32, 33, 255, 600].map(|n| chain(n, 1)));
    parents.extend([33, 600].map(|n| shuffled(&chain(n, 1), n as u32)));
    for n_outputs in [1, 3] {
        let parents: Vec<Graph> = parents.iter().filter(|graph| graph.n_outputs == n_outputs).cloned().collect();
        for rules in [&rules, &Rules { max_nodes: 1000, max_edges: 2000, ..everything() }] {
            compare(rules, n_outputs, &parents, &runs, &active, chunk);
        }
    }
}

#[test]
fn vary_cppn_of_graphs_without_edges_or_hidden_nodes_is_that_of_the_cpu() {
    let (runs, active, chunk) = one_run(32);
    let bare = |graph: Graph| Graph { edges: Vec::new(), ..graph };
    for n_outputs in [1, 3] {
        let rules = Rules::faithful();
        let parents = [
            bare(grown(&rules, n_outputs, 3, 0)),
            bare(grown(&rules, n_outputs, 3, 60)),
            grown(&rules, n_outputs, 3, 0),
        ];
        for rules in all_rules() {
            compare(&rules, n_outputs, &parents, &runs, &active, chunk);
        }
        let one_edge = Graph { edges: parents[2].edges[..1].to_vec(), ..parents[2].clone() };
        let rules = Rules { add_edge_rate: 0.0, ..everything() };
        compare(&rules, n_outputs, &[one_edge], &runs, &active, chunk);
    }
}
