//! What must hold of every genome, batch, run and configuration, tried on random ones; those that fail are made small.
//!
//! The same cases each time. `PROPTEST_CASES=20000` tries more than the 1,024 of most properties, `PROPTEST_RNG_SEED=7` others. A
//! case that failed stays in tests/properties.regressions, which is tried first.

use pareidolia::archive::{Archive, Elite, Statistics, content_hash};
use pareidolia::backend::cpu::niche_argmax::{Winner, niche_argmax};
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, KEYS, Key, Kind, Preset, Setting};
use pareidolia::genome::cppn::{self, Compiler, Graph, InputPlanes, N_INPUTS, Renderer, Scratch, Streams};
use pareidolia::genome::{Canvas, Encoding, Genome, direct};
use pareidolia::network::weights::Files;
use pareidolia::network::{ChannelOrder, Crops, Layer, Network, Operation, Parameters};
use pareidolia::network::{Preprocess, Rounding, Shape, Window};
use pareidolia::output::{About, Checkpoint, archive_file};
use pareidolia::rng::{Chance, Philox, Purpose, below, unit};
use pareidolia::simd::{Lanes, MAX_LANES, Simd, Vectorised};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toml::Value;

/// `share` times the cases: fewer where each takes long, more where it takes nothing.
fn cases(share: f64) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 1024 };
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(20_141_205),
        chosen => chosen,
    };
    ProptestConfig {
        cases: (f64::from(cases) * share).ceil() as u32,
        rng_seed,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..config
    }
}

/// Probabilities, the certain ones among them.
fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0]
}

fn simd() -> impl Strategy<Value = Simd> {
    select(Simd::available())
}

fn n_outputs() -> impl Strategy<Value = usize> {
    select(vec![1, 3])
}

// --- CPPNs ---

prop_compose! {
    /// Rules for genomes of `n_outputs` outputs, mostly with a capacity that is soon reached.
    fn cppn_rules(n_outputs: usize)(
        rates in prop::array::uniform6(rate()),
        weight_eta in prop_oneof![Just(15), 0..=1000_u32],
        max_weight in prop_oneof![Just(10.0), 1e-6..=1e6_f32],
        normalise in any::<bool>(),
        nodes in prop_oneof![3 => 0..12_u32, 1 => Just(251)],
        edges in prop_oneof![3 => 0..20_u32, 1 => Just(500)],
    ) -> cppn::Rules {
        let [weight_rate, activation_rate, add_edge_rate, delete_edge_rate, split_edge_rate, delete_node_rate] = rates;
        cppn::Rules {
            weight_rate, weight_eta, max_weight, activation_rate, add_edge_rate, delete_edge_rate, split_edge_rate,
            delete_node_rate, normalise,
            max_nodes: (N_INPUTS + n_outputs) as u32 + nodes,
            max_edges: (N_INPUTS * n_outputs) as u32 + edges,
        }
    }
}

/// A seed, and the rules of a CPPN with so many outputs.
fn lineage() -> impl Strategy<Value = (u64, usize, cppn::Rules)> {
    n_outputs().prop_flat_map(|n_outputs| (any::<u64>(), Just(n_outputs), cppn_rules(n_outputs)))
}

/// What a genome must be, said without the help of [`Graph::validate`].
#[track_caller]
fn assert_genome(graph: &Graph, rules: &cppn::Rules, n_outputs: usize) {
    let n_nodes = graph.activations.len();
    let outputs = N_INPUTS..N_INPUTS + n_outputs;
    assert!((outputs.end..=rules.max_nodes as usize).contains(&n_nodes), "{n_nodes} nodes");
    assert!(graph.edges.len() <= rules.max_edges as usize, "{} edges", graph.edges.len());
    for edge in &graph.edges {
        let (source, target) = (usize::from(edge.source), usize::from(edge.target));
        assert!(source < n_nodes && target < n_nodes, "{edge:?} of {n_nodes} nodes");
        assert!(target >= N_INPUTS && !outputs.contains(&source), "{edge:?}");
        assert!(edge.gene >= 0.0 && edge.gene <= 1.0, "{edge:?}");
    }
    // In an acyclic graph of n nodes no path has n edges: depths come to rest before.
    let mut depth = vec![0; n_nodes];
    let mut grew = true;
    while grew {
        grew = false;
        for edge in &graph.edges {
            let below = depth[usize::from(edge.source)] + 1;
            if depth[usize::from(edge.target)] < below {
                assert!(below < n_nodes, "a cycle through {}", edge.target);
                depth[usize::from(edge.target)] = below;
                grew = true;
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(1.0))]

    #[test]
    fn variation_keeps_a_cppn_a_genome(
        (seed, n_outputs, rules) in lineage(), candidate: u32, first: u32, n_generations in 0..40_u32
    ) {
        let philox = Philox::new(seed);
        let mut graph = Graph::random(n_outputs, &philox, candidate);
        let mut scratch = Scratch::default();
        assert_genome(&graph, &rules, n_outputs);
        for generation in 0..n_generations {
            let n_skipped = graph.vary(&rules, &philox, candidate, first.wrapping_add(generation), &mut scratch);
            assert_genome(&graph, &rules, n_outputs);
            graph.validate(&rules, n_outputs).unwrap();
            assert!(n_skipped <= 2, "two operators need room, {n_skipped} were skipped");
        }
        let mut streams = Streams::default();
        streams.push(&graph);
        prop_assert_eq!(streams.graphs(&rules, n_outputs).unwrap(), vec![graph]);
    }

    #[test]
    fn programs_refer_backwards_and_draw_the_same_at_every_width(
        (seed, n_outputs, rules) in lineage(), n_generations in 0..60_u32, height in 1..30_usize, width in 1..30_usize
    ) {
        let philox = Philox::new(seed);
        let mut graph = Graph::random(n_outputs, &philox, 3);
        for generation in 0..n_generations {
            graph.vary(&rules, &philox, 3, generation, &mut Scratch::default());
        }
        graph.validate(&rules, n_outputs).unwrap(); // a cycle would have no end
        let mut compiler = Compiler::default();
        compiler.compile(Simd::Plain, &Graph::random(3, &philox, 4), 1.0); // leaves nothing behind
        let program = compiler.compile(Simd::detect(), &graph, rules.max_weight);
        let mut terms = program.terms.iter();
        for (i, instruction) in program.instructions.iter().enumerate() {
            for term in terms.by_ref().take(instruction.n_terms as usize) {
                prop_assert!((term.slot as usize) < N_INPUTS + i, "instruction {} reads {:?}", i, term);
                prop_assert!(term.weight.abs() <= rules.max_weight, "instruction {} reads {:?}", i, term);
            }
        }
        prop_assert_eq!(terms.len(), 0, "terms of no instruction");
        prop_assert_eq!(program.outputs.len(), n_outputs);
        let slots = N_INPUTS..N_INPUTS + program.instructions.len();
        prop_assert!(program.outputs.iter().all(|&output| slots.contains(&(output as usize))));

        let canvas = Canvas { height, width, channels: n_outputs };
        let planes = InputPlanes::new(canvas, rules.normalise);
        let images: Vec<Vec<u8>> = Simd::available().into_iter().map(|simd| {
            let mut image = vec![0; canvas.len()];
            Renderer::default().render(simd, &planes, program, &mut image);
            image
        }).collect();
        prop_assert!(images.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

// --- direct genomes ---

/// Genes in [0, 1]: ends, their neighbours, denormal numbers, and any.
fn gene() -> impl Strategy<Value = f32> {
    let odd = vec![0.0, -0.0, 1.0, 0.5, f32::from_bits(1), f32::MIN_POSITIVE, 1.0_f32.next_down(), f32::EPSILON];
    prop_oneof![select(odd), 0.0..=1.0_f32]
}

/// Two genes: equal, a hair apart, as far apart as crossover begins to see, or any two.
fn gene_pair() -> impl Strategy<Value = (f32, f32)> {
    (gene(), gene(), 0..5).prop_map(|(a, b, kind)| match kind {
        0 => (a, a),
        1 => (a, if a < 1.0 { a.next_up() } else { a.next_down() }),
        2 => (a, if a < 0.5 { a + f32::EPSILON } else { a - f32::EPSILON }),
        3 => (a, if a < 0.5 { a + f32::from_bits(3) } else { a - f32::EPSILON / 2.0 }),
        _ => (a, b),
    })
}

/// Lengths up to 2,000, most of them round the 64 genes of a group.
fn genes_of<T: std::fmt::Debug>(gene: impl Strategy<Value = T> + Clone) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => prop::collection::vec(gene.clone(), 1..=130), 1 => prop::collection::vec(gene, 1..=2000)]
}

fn eta() -> impl Strategy<Value = u32> {
    prop_oneof![select(vec![0, 10, 15, 1000]), 0..=1000_u32]
}

fn bits(genes: &[f32]) -> Vec<u32> {
    genes.iter().map(|gene| gene.to_bits()).collect()
}

/// The one result of `make` at all widths.
#[track_caller]
fn at_every_width<T: PartialEq + std::fmt::Debug>(make: impl Fn(Simd) -> T) -> T {
    let mut results = Simd::available().into_iter().map(|simd| (simd, make(simd)));
    let (_, want) = results.next().expect("Plain is always there");
    for (simd, got) in results {
        assert!(got == want, "{simd} differs");
    }
    want
}

proptest! {
    #![proptest_config(cases(1.0))]

    #[test]
    fn crossover_gives_genes_of_the_unit_interval_at_every_width(
        pairs in genes_of(gene_pair().boxed()), seed: u64, candidate: u32, generation: u32,
        crossover_eta in eta(), repaired: bool
    ) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let crossover = if repaired { direct::Crossover::Repaired } else { direct::Crossover::AsCoded };
        let rules = direct::Rules { crossover, crossover_eta, ..direct::Rules::default() };
        let children = at_every_width(|simd| {
            let mut children = [vec![f32::NAN; a.len()], vec![f32::NAN; a.len()]];
            let [first, second] = &mut children;
            direct::cross(simd, [first, second], [&a, &b], &rules, &Philox::new(seed), candidate, generation);
            children.map(|child| bits(&child))
        });
        let [first, second] = children.map(|child| child.into_iter().map(f32::from_bits).collect::<Vec<_>>());
        for (i, (&first, &second)) in first.iter().zip(&second).enumerate() {
            let inside = |gene: f32| (0.0..=1.0).contains(&gene);
            prop_assert!(inside(first) && inside(second), "gene {}: {} and {} of {} and {}", i, first, second, a[i], b[i]);
            if (a[i] - b[i]).abs() <= f32::EPSILON {
                let want = if repaired { (a[i], b[i]) } else { (0.5, 0.5) };
                prop_assert_eq!((first, second), want, "gene {}, on which the parents agree", i);
            }
        }
    }

    #[test]
    fn mutation_gives_genes_of_the_unit_interval_at_every_width(
        parent in genes_of(gene().boxed()), seed: u64, candidate: u32, generation: u32,
        mutation_rate in rate(), mutation_eta in eta(), halve_every in prop_oneof![Just(0_u32), any::<u32>()]
    ) {
        let rules = direct::Rules { mutation_rate, mutation_eta, halve_every, ..direct::Rules::default() };
        let philox = Philox::new(seed);
        let child = at_every_width(|simd| {
            let mut child = parent.clone();
            direct::mutate(simd, &mut child, &rules, &philox, candidate, generation);
            bits(&child)
        });
        let chance = Chance::new(rules.rate(generation));
        let gates = philox.draws(Purpose::DirectGate, candidate, generation);
        for (i, (&child, &parent)) in child.iter().zip(&parent).enumerate() {
            let gene = f32::from_bits(child);
            prop_assert!((0.0..=1.0).contains(&gene), "gene {} of {} became {}", i, parent, gene);
            prop_assert!(chance.happens(gates.gene_word(i as u32)) || child == parent.to_bits(), "gene {} was not drawn", i);
        }
    }

    #[test]
    fn random_genomes_are_their_documented_words_at_every_width(seed: u64, candidate: u32, length in 0..2000_usize) {
        let philox = Philox::new(seed);
        let genes = at_every_width(|simd| {
            let mut genes = vec![f32::NAN; length];
            direct::random(simd, &mut genes, &philox, candidate);
            bits(&genes)
        });
        let draws = philox.draws(Purpose::DirectInit, candidate, 0);
        let want: Vec<f32> = (0..length).map(|i| unit(draws.gene_word(i as u32))).collect();
        prop_assert_eq!(genes, bits(&want));
    }
}

// --- the archive's rule ---

prop_compose! {
    /// Few different values, so that ties are common; and where to cut a batch into chunks.
    fn batch()(n_classes in 1..12_usize, size in 0..80_usize)(
        probabilities in prop::collection::vec(
            prop_oneof![select(vec![0.0, -0.0, 0.25, 0.5, 1.0, f32::NAN, f32::MIN_POSITIVE]), 0.0..=1.0_f32],
            size * n_classes,
        ),
        classes in prop::sample::subsequence((0..n_classes as u32).collect::<Vec<_>>(), 0..=n_classes),
        elites in prop::collection::vec(prop_oneof![select(vec![f32::NEG_INFINITY, 0.0, 0.25, 1.0]), 0.0..=1.0_f32], n_classes),
        cuts in prop::collection::vec(0..=size, 0..6),
        n_classes in Just(n_classes),
    ) -> (usize, Vec<f32>, Vec<u32>, Vec<f32>, Vec<usize>) {
        (n_classes, probabilities, classes, elites, cuts)
    }
}

proptest! {
    #![proptest_config(cases(1.0))]

    #[test]
    fn niche_argmax_of_any_chunks_equals_insertion_one_by_one(
        (n_classes, probabilities, classes, elites, mut cuts) in batch()
    ) {
        let incumbent = |niche: usize| Winner { fitness: elites[niche], ..Winner::NONE };
        let mut want: Vec<Winner> = (0..classes.len()).map(incumbent).collect();
        for (candidate, row) in probabilities.chunks(n_classes).enumerate() {
            for (elite, &class) in want.iter_mut().zip(&classes) {
                let fitness = row[class as usize];
                if !fitness.is_nan() && fitness > elite.fitness {
                    *elite = Winner { fitness, candidate: candidate as u32 };
                }
            }
        }
        let size = probabilities.len() / n_classes;
        cuts.extend([0, size]);
        cuts.sort_unstable();
        let mut got: Vec<Winner> = (0..classes.len()).map(incumbent).collect();
        for chunk in cuts.windows(2) {
            let rows = &probabilities[chunk[0] * n_classes..chunk[1] * n_classes];
            niche_argmax(&mut got, rows, &classes, n_classes, chunk[0] as u32);
        }
        let key = |winners: &[Winner]| winners.iter().map(|w| (w.fitness.to_bits(), w.candidate)).collect::<Vec<_>>();
        prop_assert_eq!(key(&got), key(&want));
    }
}

// --- runs ---

/// A network of a maximum over 4 x 4 pixels and a dense layer of random weights: any run of it is short.
fn small_network(seed: u64, n_classes: usize) -> Network {
    const FEATURES: usize = 49;
    let words = Philox::new(seed).draws(Purpose::TrainInit, 0, 0);
    let mut weights = (0..).map(|i| (2.0 * unit(words.word(i)) - 1.0) / 16.0);
    let parameters = Parameters {
        weight: weights.by_ref().take(n_classes * FEATURES).collect(),
        bias: weights.take(n_classes).collect(),
    };
    Network::new(
        "small",
        Shape { channels: 1, height: 28, width: 28 },
        Preprocess { scale: [1.0 / 256.0; 3], mean: Vec::new(), channel_order: ChannelOrder::Grey },
        Layer::chain([
            ("pool", Operation::MaxPool(Window { kernel: 4, stride: 4, padding: 0, rounding: Rounding::Ceil })),
            ("dense", Operation::Dense { out_features: n_classes }),
            ("softmax", Operation::Softmax),
        ]),
        vec![parameters],
        (0..n_classes).map(|class| format!("class {class}")).collect(),
    )
    .unwrap()
}

fn options() -> impl Strategy<Value = Options> {
    (simd(), 1..=16_u32).prop_map(|(simd, pairs)| Options { simd, chunk: 2 * pairs })
}

prop_compose! {
    /// A short run, and the classes of its network.
    fn run()(n_classes in 1..6_usize)(
        preset in select(vec![Preset::MnistDirect, Preset::MnistCppn]),
        flavour in select(vec![Flavour::Faithful, Flavour::Modern]),
        seed in 0..=i64::MAX as u64,
        pairs in 1..=10_u32,
        capacity in cppn_rules(1),
        classes in prop::sample::subsequence((0..n_classes as u32).collect::<Vec<_>>(), 0..=n_classes),
        n_classes in Just(n_classes),
    ) -> (Config, usize) {
        let mut config = Config { seed, batch: 2 * pairs, classes, ..Config::preset(preset, flavour) };
        if let Some(rules) = &mut config.cppn {
            (rules.max_nodes, rules.max_edges) = (capacity.max_nodes, capacity.max_edges);
        }
        (config, n_classes)
    }
}

fn backend(config: &Config, seeds: &[u64], network: &Arc<Network>, options: Options) -> CpuBackend {
    let all = || (0..network.classes.len() as u32).collect();
    let job = Job {
        seeds: seeds.to_vec(),
        batch: config.batch,
        canvas: Canvas::MNIST,
        encoding: config.encoding(),
        classes: if config.classes.is_empty() { all() } else { config.classes.clone() },
        network: Arc::clone(network),
        lineage: false,
    };
    CpuBackend::new(job, options).unwrap()
}

/// Makes `generations`, each of which must keep the archive's rule in run `run`.
fn evolve(backend: &mut CpuBackend, run: usize, config: &Config, generations: Range<u32>) {
    for generation in generations {
        let before = backend.archive(run).unwrap();
        backend.generation().unwrap();
        let (after, counters) = (backend.archive(run).unwrap(), backend.counters().unwrap().remove(run));
        assert_eq!(
            (after.generation, counters.generation, counters.archive_hash),
            (generation, generation, after.hash())
        );
        assert_eq!(counters.statistics, Statistics::of(&after.fitness()));
        let mut n_replaced = 0;
        for (niche, elite) in after.elites.iter().enumerate() {
            let fitness = after.fitness()[niche];
            assert_eq!(elite.content_hash, content_hash(&elite.probabilities, &elite.image, &elite.genome));
            if elite.born.0 == generation {
                assert!(elite.born.1 < config.batch);
                assert!(generation == 0 || fitness > before.fitness()[niche], "only a strictly better one wins");
                n_replaced += 1;
            } else {
                assert_eq!(elite, &before.elites[niche]);
            }
        }
        assert_eq!(counters.replaced, n_replaced);
    }
}

proptest! {
    #![proptest_config(cases(0.25))]

    #[test]
    fn resumed_at_any_generation_a_run_ends_as_it_does_beside_others(
        (config, n_classes) in run(), network_seed: u64, n_generations in 1..12_u32, cut: Index,
        mut seeds in prop::collection::vec(any::<u64>(), 0..3), run: Index,
        first in options(), second in options(), whole in options()
    ) {
        let network = Arc::new(small_network(network_seed, n_classes));
        let cut = cut.index(n_generations as usize) as u32;
        let run = run.index(seeds.len() + 1);
        seeds.insert(run, config.seed);
        let mut straight = backend(&config, &seeds, &network, whole);
        evolve(&mut straight, run, &config, 0..n_generations + 1);

        let mut before = backend(&config, &[config.seed], &network, first);
        evolve(&mut before, 0, &config, 0..cut + 1);
        let counters = before.counters().unwrap().remove(0);
        let saved = Checkpoint {
            config: config.clone(),
            files: Files { weights: None, ..Files::default() },
            weights_sha256: network.sha256.clone(),
            canvas: Canvas::MNIST,
            archive: before.archive(0).unwrap(),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            evaluations: u64::from(config.batch) * u64::from(cut + 1),
            skipped: counters.skipped,
            elapsed: 0.1 + 0.2,
            replaced: counters.replaced,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        saved.write(&path).unwrap();
        let read = Checkpoint::read(&path).unwrap();
        prop_assert_eq!(&read, &saved);
        prop_assert_eq!(&Checkpoint::from_bytes(&std::fs::read(&path).unwrap()).unwrap(), &saved);

        let mut after = backend(&read.config, &[config.seed], &network, second);
        after.restore(0, read.archive, read.skipped).unwrap();
        evolve(&mut after, 0, &read.config, cut + 1..n_generations + 1);
        prop_assert_eq!(&after.counters().unwrap()[0], &straight.counters().unwrap()[run]);
        prop_assert_eq!(after.archive(0).unwrap(), straight.archive(run).unwrap());
    }

    #[test]
    fn archive_files_give_back_what_was_written(
        (seed, channels, rules) in lineage(), direct: bool, height in 1..6_usize, width in 1..6_usize,
        n_classes in 1..9_usize, classes: [Index; 4], n_generations in 0..30_u32
    ) {
        let canvas = Canvas { height, width, channels };
        let philox = Philox::new(seed);
        let mut classes = classes.map(|class| class.index(n_classes) as u32).to_vec();
        classes.sort_unstable();
        classes.dedup();
        let elite = |&class: &u32| {
            let genome = if direct {
                let mut genes = vec![0.0; canvas.len()];
                direct::random(Simd::Plain, &mut genes, &philox, class);
                Genome::Direct(genes)
            } else {
                let mut graph = Graph::random(channels, &philox, class);
                for generation in 0..n_generations {
                    graph.vary(&rules, &philox, class, generation, &mut Scratch::default());
                }
                Genome::Cppn(graph)
            };
            let words = philox.draws(Purpose::TrainOrder, class, 0);
            let probabilities: Vec<f32> = (0..n_classes as u32).map(|i| unit(words.word(i))).collect();
            let image: Vec<u8> = (0..canvas.len() as u32).map(|i| words.word(i) as u8).collect();
            let content_hash = content_hash(&probabilities, &image, &genome);
            Arc::new(Elite { probabilities, image, genome, born: (n_generations, class), content_hash })
        };
        let archive = Archive { generation: n_generations, elites: classes.iter().map(elite).collect(), classes };
        let encoding = if direct { Encoding::Direct(direct::Rules::default()) } else { Encoding::Cppn(rules) };
        let class_names = (0..n_classes).map(|class| format!("\"{class}\"\n\u{1f980}")).collect();
        let about = About { canvas, encoding, crops: Crops::One, class_names };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.safetensors");
        archive_file::write(&path, &archive, &about).unwrap();
        prop_assert_eq!(archive_file::from_bytes(&std::fs::read(&path).unwrap()).unwrap(), (archive, about));
    }
}

// --- configurations ---

/// A value that `kind` takes.
fn good_value(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Whole(min, max) => prop_oneof![Just(min), Just(max), min..=max].prop_map(Value::Integer).boxed(),
        Kind::Even(min, max) => (min / 2..=max / 2).prop_map(|half| Value::Integer(2 * half)).boxed(),
        Kind::OneOf(numbers) => select(numbers).prop_map(Value::Integer).boxed(),
        Kind::Probability => prop_oneof![rate().prop_map(Value::Float), (0..=1_i64).prop_map(Value::Integer)].boxed(),
        Kind::Positive(max) => prop_oneof![Just(max), 1e-40..=max].prop_map(Value::Float).boxed(),
        Kind::Number(min, max) => prop_oneof![Just(min), Just(max), min..=max].prop_map(Value::Float).boxed(),
        Kind::NoneOr(min, max) => prop_oneof![Just(0.0), Just(min), min..=max].prop_map(Value::Float).boxed(),
        Kind::Seconds => prop_oneof![
            (0.0..1e18_f64).prop_map(Value::Float),
            (0..=i64::MAX).prop_map(Value::Integer),
            (0..10_000_u32).prop_map(|minutes| Value::String(format!("{minutes}min 3s"))),
        ]
        .boxed(),
        Kind::Switch => any::<bool>().prop_map(Value::Boolean).boxed(),
        Kind::Word(words) => select(words).prop_map(Value::from).boxed(),
        Kind::Name | Kind::Path => "[a-z][a-z0-9 _-]{0,40}".prop_map(Value::from).boxed(),
        Kind::Classes => prop::collection::btree_set(0..=u16::MAX, 0..40)
            .prop_map(|classes| Value::Array(classes.into_iter().map(|class| Value::Integer(class.into())).collect()))
            .boxed(),
    }
}

/// Keys of a preset with values that they take, in any order and some more than once.
fn good_settings() -> impl Strategy<Value = Vec<Setting>> {
    let presets = [
        ("mnist-direct", "cppn."),
        ("mnist-cppn", "direct."),
        ("imagenet-direct", "cppn."),
        ("imagenet-cppn", "direct."),
    ];
    select(presets.to_vec()).prop_flat_map(|(preset, others)| {
        let is_its =
            |key: &&Key| !key.name.starts_with(others) && (key.name != "crops" || preset.starts_with("imagenet"));
        let keys: Vec<&Key> = KEYS.iter().filter(|key| key.name != "preset").filter(is_its).collect();
        let setting = select(keys).prop_flat_map(|key| {
            good_value(key.kind).prop_map(|value| Setting { key: key.name.into(), value, origin: "--set".into() })
        });
        prop::collection::vec(setting, 0..20).prop_map(move |mut settings| {
            settings.push(Setting { key: "preset".into(), value: preset.into(), origin: "PRESET".into() });
            settings
        })
    })
}

/// Numbers round the limits of keys and of types, and any.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        select(vec![-1, 0, 1, 2, 3, 4, 5, 1 << 16, 1 << 20, 1 << 24, 1 << 32]).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        select(vec![f64::NAN, f64::INFINITY, -0.0, 1e-300, 1e6, 1.0 + f64::EPSILON]).prop_map(Value::Float),
    ]
}

/// Any value there is in TOML.
fn any_value() -> impl Strategy<Value = Value> {
    let date = || "1979-05-27T07:32:00.999999-07:00".parse().expect("a date");
    let leaf = prop_oneof![
        number(),
        any::<bool>().prop_map(Value::Boolean),
        ".*".prop_map(Value::String),
        "[0-9, -]{0,12}".prop_map(Value::String),
        "[0-9]{1,20}[a-z]{1,3}".prop_map(Value::String),
        Just(()).prop_map(move |()| Value::Datetime(date())),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| Value::Table(map.into_iter().collect())),
        ]
    })
}

/// Known keys and others, with values that they take and others.
fn any_setting() -> impl Strategy<Value = Setting> {
    let known = || (0..KEYS.len()).prop_map(|i| KEYS[i]);
    prop_oneof![
        4 => known().prop_flat_map(|key| (Just(key.name.to_string()), good_value(key.kind))),
        4 => known().prop_flat_map(|key| (Just(key.name.to_string()), number())),
        4 => known().prop_flat_map(|key| (Just(key.name.to_string()), any_value())),
        1 => (".*", any_value()),
        1 => ("(cppn|direct)(\\.[a-z_]{0,20})?", any_value()),
    ]
    .prop_map(|(key, value)| Setting { key, value, origin: "--set".into() })
}

/// Few, of which some are accepted, or many.
fn any_settings() -> impl Strategy<Value = Vec<Setting>> {
    use prop::collection::vec;
    prop_oneof![vec(any_setting(), 0..3), vec(any_setting(), 0..8)]
}

/// What holds of every configuration that is accepted.
#[track_caller]
fn assert_sound(config: &Config) {
    config.check().unwrap();
    if let Some(rules) = &config.cppn {
        rules.validate(Canvas::MNIST.channels).unwrap();
    }
    let again = Setting::read_text(&config.to_toml().unwrap(), "again.toml").unwrap();
    assert_eq!(&Config::resolve(&again).unwrap(), config);
    let json: Config = serde_json::from_str(&serde_json::to_string(config).unwrap()).unwrap();
    assert_eq!(&json, config);
}

proptest! {
    #![proptest_config(cases(8.0))]

    #[test]
    fn good_settings_resolve_and_survive_toml_and_json(settings in good_settings()) {
        match Config::resolve(&settings) {
            Ok(config) => assert_sound(&config),
            // Each value is its key's; but the flavour may be named twice, and the capacity may not hold the first genomes.
            Err(error) => {
                let line = error.to_string();
                prop_assert!(["choose one", "max_nodes", "max_edges"].iter().any(|why| line.contains(why)), "{}", line);
            }
        }
    }

    #[test]
    fn any_settings_resolve_soundly_or_are_refused_in_one_short_line(settings in any_settings()) {
        match Config::resolve(&settings) {
            Ok(config) => assert_sound(&config),
            Err(error) => {
                let line = error.to_string();
                prop_assert!(!line.contains('\n') && line.len() < 3000, "{}", line);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused_in_one_short_line(text in "(\\PC|\n|\\[|\\]|=|\"|[a-z0-9_.]){0,80}") {
        match Setting::read_text(&text, "text.toml").and_then(|settings| Config::resolve(&settings)) {
            Ok(config) => assert_sound(&config),
            Err(error) => {
                let line = error.to_string();
                prop_assert!(!line.contains('\n') && line.len() < 3000, "{}", line);
            }
        }
        if let Ok(setting) = Setting::parse_assignment(&text) {
            let _ = Config::resolve(&[setting]);
        }
    }
}

// --- random numbers ---

/// Which of `words` are hits, a bit each.
struct Hits<'a>(Chance, &'a [u32; MAX_LANES]);

impl Vectorised for Hits<'_> {
    type Output = Vec<bool>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Vec<bool> {
        let mut hits = Vec::new();
        for words in self.1.chunks(L::N) {
            let mask = self.0.happens_lanes::<L>(L::bits_load(words));
            let mut lanes = [0.0; MAX_LANES];
            L::select(mask, L::splat(1.0), L::splat(0.0)).store(&mut lanes);
            hits.extend(lanes[..L::N].iter().map(|&lane| lane == 1.0));
        }
        hits
    }
}

proptest! {
    #![proptest_config(cases(8.0))]

    #[test]
    fn below_is_below_and_ascends_with_its_word(word: u32, other: u32, n in prop_oneof![1..=u32::MAX, 1..300_u32]) {
        let (low, high) = (word.min(other), word.max(other));
        prop_assert!(below(low, n) <= below(high, n) && below(high, n) < n);
        prop_assert_eq!((below(0, n), below(u32::MAX, n)), (0, n - 1), "both ends are reached");
    }

    #[test]
    fn unit_lies_below_one(word: u32) {
        prop_assert!((0.0..1.0).contains(&unit(word)));
    }

    #[test]
    fn chance_has_as_many_hits_as_its_probability_says(probability in rate(), mut words: [u32; MAX_LANES]) {
        let chance = Chance::new(probability);
        let n_hits = (probability * 2.0_f64.powi(32)).floor() as u64; // out of 2^32; the product is exact
        let is_hit = |word: u32| u64::from(word) < n_hits;
        words[0] = n_hits.saturating_sub(1).min(u64::from(u32::MAX)) as u32;
        words[1] = n_hits.min(u64::from(u32::MAX)) as u32;
        (words[2], words[3]) = (0, u32::MAX);
        let want = words.map(is_hit).to_vec();
        prop_assert_eq!(&words.map(|word| chance.happens(word)).to_vec(), &want);
        prop_assert_eq!(at_every_width(|simd| simd.run(Hits(chance, &words))), want);
    }
}
