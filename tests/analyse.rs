//! `analyse`: each part against literal computations and cases whose answer is known; refusals; damage.

#[path = "common/program.rs"]
mod program;

use pareidolia::archive::{Archive, Elite, content_hash};
use pareidolia::experiment::analyse::ablation::{Square, fill, repeats};
use pareidolia::experiment::analyse::blame::{Element, elements, without};
use pareidolia::experiment::analyse::minimal::{Work, formula};
use pareidolia::experiment::classify::{Item, classify};
use pareidolia::experiment::statistics::{Chance, Permutation, Spread, mann_whitney_u, ranks, spearman};
use pareidolia::genome::cppn::{Activation, Compiler, Edge, Graph, InputPlanes, Renderer, Rules};
use pareidolia::genome::{Canvas, Encoding, Genome, pixel};
use pareidolia::network::weights::Files;
use pareidolia::network::{Crops, Network};
use pareidolia::output::{archive_file, hash_text, pictures};
use pareidolia::simd::Simd;
use program::{fails, names, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

fn pareidolia(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program::pareidolia(arguments);
    command.current_dir(folder);
    command
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    run(pareidolia(folder, arguments), 0).0
}

/// A failure with one line that says `what`, which leaves no folder `out`.
#[track_caller]
fn refused(folder: &Path, code: i32, arguments: &[&str], what: &str) {
    fails(pareidolia(folder, &[&["analyse", "--device", "cpu"], arguments].concat()), code, what);
    assert!(!folder.join("out").exists(), "{arguments:?}: the folder is there");
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The JSON of a part, done of `runs` alone; its folder is there afterwards.
fn part(folder: &Path, part: &str, runs: &[&str], more: &[&str]) -> Value {
    let out = format!("{part}-{}", fs::read_dir(folder).unwrap().count());
    let call = ["analyse", "--device", "cpu", "-q", "--only", part, "--out", &out];
    done(folder, &[&call[..], runs, more].concat());
    let want = ["analyse.json", "lock", &format!("{part}.csv"), &format!("{part}.json"), &format!("{part}.png")];
    let mut want: BTreeSet<String> = want.into_iter().map(String::from).collect();
    if part == "minimal" {
        want.insert("minimal.txt".to_owned());
    }
    assert_eq!(names(&folder.join(&out)), want);
    let figure = pictures::read_png(&folder.join(&out).join(format!("{part}.png"))).unwrap();
    assert!(figure.pixels.iter().any(|&byte| byte != figure.pixels[0]), "an empty figure");
    let csv = fs::read_to_string(folder.join(&out).join(format!("{part}.csv"))).unwrap();
    assert!(csv.lines().count() > 1, "{csv}");
    json_of(&folder.join(&out).join(format!("{part}.json")))
}

/// Small runs: a series of three by CPPNs, one of two by pixels.
fn runs() -> &'static Path {
    static RUNS: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let short = ["--batch", "60", "--no-pictures", "-q", "--device", "cpu"];
        let evolve = |more: &[&str]| done(folder.path(), &[&["evolve"], &short[..], more].concat());
        evolve(&["mnist-cppn", "--runs", "3", "--generations", "60", "--out", "cppn"]);
        evolve(&["mnist-direct", "--runs", "2", "--generations", "30", "--out", "direct"]);
        folder
    });
    RUNS.path()
}

/// A folder with a copy of the run `of`.
fn copy(of: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_to(of, &folder.path().join("run"));
    folder
}

fn copy_to(of: &str, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names(&runs().join(of)) {
        fs::copy(runs().join(of).join(&name), to.join(&name)).unwrap();
    }
}

fn network() -> Arc<Network> {
    static NETWORK: LazyLock<Arc<Network>> = LazyLock::new(|| Arc::new(Files::default().load().unwrap()));
    Arc::clone(&NETWORK)
}

/// What LeNet says of images.
fn scored(images: &[Vec<u8>]) -> Vec<Vec<f32>> {
    let item =
        |pixels: &Vec<u8>| Item { name: String::new(), pixels: pixels.clone(), crops: Crops::One, recorded: None };
    classify(&network(), Simd::detect(), &images.iter().map(item).collect::<Vec<_>>()).unwrap()
}

fn drawn(graph: &Graph, rules: &Rules) -> Vec<u8> {
    let mut image = vec![0; Canvas::MNIST.len()];
    let mut compiler = Compiler::default();
    let program = compiler.compile(Simd::Plain, graph, rules.max_weight);
    Renderer::default().render(Simd::Plain, &InputPlanes::new(Canvas::MNIST, rules.normalise), program, &mut image);
    image
}

/// Changes the elites of the run in the folder `run`; run.json follows.
fn change(run: &Path, change: impl Fn(usize, &Elite) -> (Genome, Vec<u8>, Option<Vec<f32>>)) {
    let file = run.join("archive.safetensors");
    let (mut archive, about) = archive_file::read(&file).unwrap();
    let before = hash_text(archive.hash());
    let changed: Vec<_> = archive.elites.iter().enumerate().map(|(niche, elite)| change(niche, elite)).collect();
    let rows = scored(&changed.iter().map(|(_, image, _)| image.clone()).collect::<Vec<_>>());
    archive.elites = changed
        .into_iter()
        .zip(rows)
        .map(|((genome, image, given), row)| {
            let probabilities = given.unwrap_or(row);
            let content_hash = content_hash(&probabilities, &image, &genome);
            Arc::new(Elite { probabilities, image, genome, born: (0, 0), content_hash })
        })
        .collect();
    archive_file::write(&file, &archive, &about).unwrap();
    let manifest = fs::read_to_string(run.join("run.json")).unwrap();
    fs::write(run.join("run.json"), manifest.replace(&before, &hash_text(archive.hash()))).unwrap();
}

fn archive(run: &Path) -> (Archive, Rules) {
    let (archive, about) = archive_file::read(&run.join("archive.safetensors")).unwrap();
    let rules = if let Encoding::Cppn(rules) = about.encoding { rules } else { Rules::faithful() };
    (archive, rules)
}

/// `x -> grey`, and a node that nothing reads: edges 0, and 1 and 2 around it.
fn line() -> Graph {
    let activations = vec![Activation::Sine; 6];
    let edge = |source, target, gene| Edge { source, target, gene };
    Graph { n_outputs: 1, activations, edges: vec![edge(0, 4, 0.52), edge(1, 5, 0.9), edge(2, 5, 0.1)] }
}

#[test]
fn blame_of_a_dead_edge_is_nothing_and_of_the_only_path_it_is_the_blank_image() {
    let folder = copy("cppn/seed1");
    let (path, graph) = (folder.path(), line());
    change(&path.join("run"), |_, _| (Genome::Cppn(graph.clone()), drawn(&graph, &Rules::faithful()), None));
    let blame = part(path, "blame", &["run"], &[]);
    let blank = &scored(&[vec![0; 784]])[0];
    let elites = blame["elites"].as_array().unwrap();
    assert_eq!(elites.len(), 10);
    // One elite in all niches: each element is drawn once.
    assert_eq!((&blame["drawn"], &blame["scored"]), (&Value::from(9), &Value::from(3)));
    for (class, elite) in elites.iter().enumerate() {
        let own = elite["confidence"].as_f64().unwrap();
        let of = |what: &str| elite["elements"].as_array().unwrap().iter().find(|one| one["what"] == what).unwrap();
        for what in ["edge y -> n5", "edge d -> n5", "node n5", "node y", "node d", "node 1"] {
            assert_eq!((of(what)["lost"].as_f64(), &of(what)["silent"]), (Some(0.0), &Value::from(true)), "{what}");
        }
        for what in ["edge x -> grey", "node x", "node grey"] {
            assert_eq!(of(what)["confidence"].as_f64().unwrap() as f32, blank[class], "{what}");
            assert_eq!(of(what)["lost"].as_f64().unwrap(), f64::from(own as f32) - f64::from(blank[class]), "{what}");
            assert_eq!(of(what)["silent"], false);
        }
        assert_eq!((&elite["edges"], &elite["silent_edges"]), (&Value::from(3), &Value::from(2)));
    }
}

#[test]
fn blame_is_what_the_network_says_of_each_graph_without_an_element() {
    let blame = part(runs(), "blame", &["cppn"], &[]);
    let elites = blame["elites"].as_array().unwrap();
    assert_eq!(elites.len(), 30);
    let (archive, rules) = archive(&runs().join("cppn/seed2"));
    for class in [0, 7] {
        let elite = &elites[10 + class];
        let graph = archive.elites[class].genome.graph().unwrap();
        let images: Vec<Vec<u8>> = elements(graph).map(|element| drawn(&without(graph, element), &rules)).collect();
        let rows = scored(&images);
        let told = elite["elements"].as_array().unwrap();
        assert_eq!(told.len(), graph.edges.len() + graph.n_nodes());
        for ((told, row), image) in told.iter().zip(rows).zip(images) {
            assert_eq!(told["confidence"].as_f64().unwrap() as f32, row[class], "{}", told["what"]);
            assert_eq!(told["silent"].as_bool().unwrap(), image == archive.elites[class].image);
        }
    }
    // A node is removed with its edges, an edge alone.
    let graph = line();
    assert_eq!(without(&graph, Element::Node(5)).edges, graph.edges[..1]);
    assert_eq!(without(&graph, Element::Edge(1)).edges, [graph.edges[0], graph.edges[2]]);
}

#[test]
fn thresholds_are_those_of_archives_and_metrics() {
    let all = part(runs(), "thresholds", &["cppn", "direct"], &[]);
    let (sets, told) = (all["sets"].as_array().unwrap(), all["runs"].as_array().unwrap());
    assert_eq!((sets.len(), told.len()), (2, 5));
    assert_eq!(sets[0]["set"], "mnist-cppn faithful, lenet (built in)");
    for (run, name) in told.iter().zip(["cppn/seed1", "cppn/seed2", "cppn/seed3", "direct/seed1", "direct/seed2"]) {
        let fitness = archive(&runs().join(name)).0.fitness();
        let least = fitness.iter().copied().fold(1.0, f32::min);
        let worst = fitness.iter().position(|&confidence| confidence == least).unwrap();
        assert_eq!(run["worst_class"], worst, "{name}");
        let lines = fs::read_to_string(runs().join(name).join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for reached in run["reached"].as_array().unwrap() {
            let threshold = reached["threshold"].as_f64().unwrap() as f32;
            assert_eq!(reached["classes"], fitness.iter().filter(|&&one| one >= threshold).count());
            for (key, of) in [("first_class", "max"), ("median", "median"), ("all_classes", "min")] {
                let first = lines.iter().find(|line| line[of].as_f64().unwrap() >= f64::from(threshold));
                assert_eq!(reached[key], first.map_or(Value::Null, |line| line["evaluations"].clone()), "{name} {key}");
            }
        }
        let map = all["map"].as_array().unwrap();
        let place = run["run"].as_u64().unwrap() as usize;
        for (class, row) in map.iter().enumerate() {
            assert_eq!(row["confidences"][place].as_f64().unwrap() as f32, fitness[class]);
        }
    }
    let medians: Vec<f64> = told.iter().map(|run| run["median"].as_f64().unwrap()).collect();
    let compared = &all["comparisons"][0];
    let (u, p) = mann_whitney_u(&medians[..3], &medians[3..]).unwrap();
    assert_eq!((compared["u"].as_f64().unwrap(), compared["p"].as_f64().unwrap()), (u, p));
    assert_eq!(compared["n"], serde_json::json!([3, 2]));
    // Runs by themselves are those of the series, and no part needs the weights.
    let alone = part(runs(), "thresholds", &["cppn/seed1", "cppn/seed2", "cppn/seed3", "direct"], &[]);
    assert_eq!(alone["sets"], all["sets"]);
}

/// scipy.stats.mannwhitneyu(a, b, method="asymptotic"), SciPy 1.17.1.
#[test]
fn u_test_is_scipys() {
    let (u, p) = mann_whitney_u(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0]).unwrap();
    assert_eq!(u, 17.0);
    assert!((p - 0.111_346_886_533_140_41).abs() < 1e-6, "{p}");
}

#[test]
fn ranks_share_ties_and_correlations_are_those_of_ranks() {
    assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    assert_eq!(spearman(&[1.0, 2.0, 30.0], &[5.0, 6.0, 7.0]), Some(1.0));
    // IQ and hours of television, the worked example of the article on Spearman's rank correlation: -29/165.
    let iq = [106.0, 100.0, 86.0, 101.0, 99.0, 103.0, 97.0, 113.0, 112.0, 110.0];
    let hours = [7.0, 27.0, 2.0, 50.0, 28.0, 29.0, 20.0, 12.0, 6.0, 17.0];
    assert!((spearman(&iq, &hours).unwrap() + 29.0 / 165.0).abs() < 1e-12);
    assert_eq!(spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
    let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
    assert_eq!((spread.lower_quartile, spread.median, spread.upper_quartile), (1.75, 2.5, 3.25));
    assert_eq!((spread.min, spread.max, spread.mean, spread.n), (1.0, 4.0, 2.5, 4));
    assert!(Spread::of([]).is_none());
}

#[test]
fn permutation_p_is_the_share_of_shuffles_that_are_as_extreme() {
    let chance = Chance::new(7, 3);
    let mut counts = std::collections::BTreeMap::new();
    for round in 0..6000 {
        let mut items = [0, 1, 2];
        chance.shuffle(round, 0, &mut items);
        *counts.entry(items).or_insert(0) += 1;
    }
    assert!(counts.len() == 6 && counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    // The six orders of three values have six sums, or five where two are equal.
    let statistic = |order: &[usize]| (order[0] + 3 * order[1]) as f64;
    let shuffled = |round: u32| {
        let mut order = [0, 1, 2];
        chance.shuffle(round, 0, &mut order);
        statistic(&order)
    };
    let test = |order: &[usize], upper| Permutation::test(String::new(), statistic(order), 6000, upper, shuffled).p;
    assert!((test(&[1, 0, 2], false) - 1.0 / 6.0).abs() < 0.02);
    assert_eq!(test(&[1, 0, 2], true), 1.0);
    assert!((test(&[0, 2, 1], true) - 2.0 / 6.0).abs() < 0.02);
}

/// Direct runs whose images are `shade(run, class)` all over.
fn shades(n_runs: usize, shade: impl Fn(usize, usize) -> u8) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..n_runs).map(|run| format!("run{run}")).collect();
    for (number, name) in names.iter().enumerate() {
        let run = folder.path().join(name);
        copy_to("direct/seed1", &run);
        change(&run, |class, _| {
            let genes = vec![f32::from(shade(number, class)) / 255.0 + 1e-4; 784];
            let image = genes.iter().map(|&gene| pixel(gene)).collect();
            (Genome::Direct(genes), image, None)
        });
    }
    (folder, names)
}

#[test]
fn likeness_finds_what_is_alike_and_nothing_where_there_is_nothing() {
    // Classes 0 to 3 are alike in a run, and another shade in each.
    let alike = |run: usize, class: usize| {
        if class < 4 { 20 + 60 * run as u8 + class as u8 } else { (37 * class + 90 * run) as u8 }
    };
    let (folder, names) = shades(4, alike);
    let path = folder.path();
    fs::write(path.join("groups.toml"), "alike = [\"0-2\", 3]\n").unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = part(path, "likeness", &names, &["--groups", "groups.toml", "--permutations", "2000"]);
    let space = &found["sets"][0]["spaces"][0];
    assert_eq!((&space["space"], &found["sets"][0]["spaces"][1]["space"]), (&"pixels".into(), &"features".into()));
    let mean = |key: &str| space[key]["mean"].as_f64().unwrap();
    // Six pairs: three apart by 1, two by 2, one by 3; over runs by 60, 120 or 180.
    assert!((mean("related_same_run") - 10.0 / 6.0 / 255.0).abs() < 1e-6);
    assert!((mean("same_class_other_run") - 100.0 / 255.0).abs() < 1e-6);
    let p = |key: &str| space[key]["p"].as_f64().unwrap();
    assert!(p("related") < 0.02 && p("same_run") < 0.001, "{space}");
    // Of four classes all signs are as they are in one of sixteen.
    assert!((p("within_or_over") - 1.0 / 16.0).abs() < 0.02, "{space}");
    assert_eq!(space["classes"].as_array().unwrap().len(), 4);

    // The same shades, but the group is of others; and the numbers do not depend on threads.
    fs::write(path.join("groups.json"), "{\"others\": [\"4-7\"]}").unwrap();
    let more = ["--groups", "groups.json", "--permutations", "2000"];
    let other = part(path, "likeness", &names, &more);
    let space = &other["sets"][0]["spaces"][0];
    assert!(space["related"]["p"].as_f64().unwrap() > 0.05, "{space}");
    let threads = part(path, "likeness", &names, &[&more[..], &["--threads", "3", "--simd", "plain"]].concat());
    assert_eq!(threads, other);
    let seed = part(path, "likeness", &names, &[&more[..], &["--seed", "2"]].concat());
    assert_ne!(seed["sets"][0]["spaces"][0]["same_run"]["expected"], space["same_run"]["expected"]);

    // Without groups every two classes are compared.
    let all = part(path, "likeness", &names, &["--permutations", "100"]);
    let space = &all["sets"][0]["spaces"][0];
    assert_eq!((&space["unrelated_same_run"], &space["related"]), (&Value::Null, &Value::Null));
    assert_eq!(space["related_same_run"]["n"], 45 * 4);
}

#[test]
fn resistance_is_counted_from_recorded_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // Of class c its group {0, 1, 2, 3} takes the more of the rest the lower it is.
    let row = |class: usize| {
        let confidence = 0.2 + 0.05 * class as f32;
        let mut row = vec![0.0; 10];
        let in_group = if class < 4 { 0.9 - 0.2 * class as f32 } else { 0.0 };
        for (other, probability) in row.iter_mut().enumerate() {
            let share = match (class < 4, other < 4) {
                (true, true) => in_group / 3.0,
                (true, false) => (1.0 - in_group) / 6.0,
                _ => 1.0 / 9.0,
            };
            *probability = if other == class { confidence } else { (1.0 - confidence) * share };
        }
        row
    };
    copy_to("direct/seed1", &path.join("run"));
    change(&path.join("run"), |class, elite| (elite.genome.clone(), elite.image.clone(), Some(row(class))));
    fs::write(path.join("groups.toml"), "low = [\"0-3\"]\n").unwrap();
    let found = part(path, "resistance", &["run"], &["--groups", "groups.toml"]);
    let set = &found["sets"][0];
    let group = &set["groups"][0];
    let near = |value: &Value, want: f64| assert!((value.as_f64().unwrap() - want).abs() < 1e-6, "{value} {want}");
    near(&group["confidence"]["median"], 0.275);
    near(&group["group_share_of_rest"], (0.9 + 0.7 + 0.5 + 0.3) / 4.0);
    near(&group["even_share"], 3.0 / 9.0);
    near(&group["confidence_and_share"], -1.0);
    near(&group["u"], 0.0);
    // Of 24 orders one is as low.
    assert!((group["test"]["p"].as_f64().unwrap() - 1.0 / 24.0).abs() < 0.01);
    near(&group["runner_up_in_group"], 1.0 * 3.0 / 4.0);
    assert_eq!((&set["groups"][1]["is_rest"], &set["groups"][1]["n_classes"]), (&true.into(), &6.into()));
    assert_eq!((&set["classes"][0]["runner_up"], &set["classes"][1]["runner_up"]), (&1.into(), &0.into()));
    near(&set["classes"][0]["group_mass"], 0.8 * 0.9);
    // Class 0: 0.2 for it, 0.8 * 0.3 for each of its group: it does not lead. Class 9 has 0.65.
    assert_eq!((&set["classes"][0]["leads"], &set["classes"][9]["leads"]), (&0.into(), &1.into()));
    near(&set["confusions"][1][0], 0.7 / 3.0);
    // Without groups there is no group.
    let none = part(path, "resistance", &["run"], &[]);
    assert_eq!(none["sets"][0]["groups"], serde_json::json!([]));
}

/// What lines of a formula draw: an evaluation in double precision of the text itself.
fn evaluated(formula: &[Value]) -> Vec<u8> {
    let mut image = Vec::new();
    for at in 0..784 {
        let (x, y) = ((at % 28) as f64, (at / 28) as f64);
        let norm = |v: f64| 2.0 * v / 27.0 - 1.0;
        let d = (norm(x).powi(2) + norm(y).powi(2)).sqrt();
        let mut values =
            std::collections::HashMap::from([("x".to_owned(), x), ("y".to_owned(), y), ("d".to_owned(), d)]);
        for line in formula {
            let (name, text) = line.as_str().unwrap().split_once(" = ").unwrap();
            if let Some(source) = text.strip_prefix('|') {
                image.push((255.0 * values[source.trim_end_matches('|')].abs()) as u8);
                continue;
            }
            let (function, sum) = text.trim_end_matches(')').split_once('(').unwrap();
            let sum = sum.replace(" - ", " + -");
            let term = |term: &str| match term.split_once(' ') {
                Some((weight, of)) => weight.parse::<f64>().unwrap() * values[of],
                None => term.parse().unwrap(),
            };
            let p: f64 = sum.split(" + ").map(term).sum();
            let value = match function {
                "sin" => p.sin(),
                "sigmoid" => 2.0 / (1.0 + (-p).exp()) - 1.0,
                "gauss" => (-p * p).exp(),
                _ => p.clamp(-3.0, 3.0) / 3.0,
            };
            values.insert(name.to_owned(), value);
        }
    }
    image
}

#[test]
fn minimal_genomes_keep_their_goal_and_have_nothing_to_spare() {
    // A known answer: of the line only the line is left, whatever the class.
    let folder = copy("cppn/seed1");
    let (path, graph) = (folder.path(), line());
    change(&path.join("run"), |_, _| (Genome::Cppn(graph.clone()), drawn(&graph, &Rules::faithful()), None));
    let found = part(path, "minimal", &["run"], &["--threshold", "1"]);
    let (own, blank) = (&scored(&[drawn(&graph, &Rules::faithful())])[0], &scored(&[vec![0; 784]])[0]);
    for (class, elite) in found["elites"].as_array().unwrap().iter().enumerate() {
        let left = if blank[class] >= own[class] { 0 } else { 1 };
        assert_eq!(elite["after"], serde_json::json!({"hidden_nodes": 0, "edges": left}), "class {class}");
        assert_eq!(elite["before"], serde_json::json!({"hidden_nodes": 1, "edges": 3}));
        if left == 1 {
            let weight = 20.0_f32.mul_add(0.52, -10.0);
            assert_eq!(elite["formula"], serde_json::json!([format!("v1 = sin({weight} x)"), "grey = |v1|"]));
        }
    }

    let found = part(runs(), "minimal", &["cppn/seed1"], &["--threshold", "0.9", "--restarts", "3"]);
    let (archive, rules) = archive(&runs().join("cppn/seed1"));
    let text = fs::read_dir(runs()).unwrap().map(|entry| entry.unwrap().path().join("minimal.txt"));
    assert!(text.into_iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("grey = |v"))));
    for (class, elite) in found["elites"].as_array().unwrap().iter().enumerate() {
        let count = |of: &str, what: &str| elite[of][what].as_u64().unwrap();
        let must = 0.9_f32.min(archive.fitness()[class]);
        assert_eq!(elite["must_keep"].as_f64().unwrap() as f32, must);
        assert!(elite["minimal_confidence"].as_f64().unwrap() as f32 >= must);
        assert!(count("after", "edges") <= count("connected", "edges"));
        assert_eq!(elite["restart_edges"].as_array().unwrap().len(), 3);
        let least = elite["restart_edges"].as_array().unwrap().iter().chain([&elite["greedy_edges"]]);
        assert_eq!(least.map(|edges| edges.as_u64().unwrap()).min().unwrap(), count("after", "edges"));
        // The formula is the picture: the network says the same of it, but for roundings.
        let row = &scored(&[evaluated(elite["formula"].as_array().unwrap())])[0];
        let told = elite["minimal_confidence"].as_f64().unwrap();
        assert!((f64::from(row[class]) - told).abs() < 0.02, "class {class}: {} {told}", row[class]);
    }
    let again = part(runs(), "minimal", &["cppn/seed1"], &["--threshold", "0.9", "--restarts", "3", "--threads", "1"]);
    assert_eq!(again, found);
    let lead = part(runs(), "minimal", &["cppn/seed1"], &["--threshold", "lead", "--restarts", "0"]);
    let edges = |found: &Value| found["sets"][0]["edges_after"]["mean"].as_f64().unwrap();
    assert!(edges(&lead) <= edges(&found));

    // What is left of a genome, and its formula, where a chain that no input feeds is cut off.
    let work = Work::new(&line());
    assert_eq!((work.graph.edges.len(), work.size().hidden_nodes), (1, 0));
    let mut chain = line();
    chain.edges = vec![Edge { source: 5, target: 4, gene: 1.0 }];
    chain.activations[5] = Activation::Gaussian;
    let program = Compiler::default().compile(Simd::Plain, &chain, rules.max_weight).clone();
    // No input reaches the output: one step, after which the output has seen nothing.
    assert_eq!(formula(&program), ["v1 = sin(0)", "grey = |v1|"]);
}

#[test]
fn repeats_are_found_where_they_were_put_and_nowhere_else() {
    let canvas = Canvas::MNIST;
    // A patch with no likeness to itself moved: a bright corner, a dark one, a ramp.
    let patch = |x: usize, y: usize| -> u8 { ((x * x * 17 + y * y * 31 + x * y * 53) % 251) as u8 };
    let mut image = vec![90_u8; 784];
    let places = [(2, 3), (19, 1), (11, 18)];
    for (left, top) in places {
        for at in 0..49 {
            image[(top + at / 7) * 28 + left + at % 7] = patch(at % 7, at / 7);
        }
    }
    let found = repeats(&image, canvas, Some(&[7]), 0.95);
    assert_eq!(found.len(), 3, "{found:?}");
    // All copies are displaced by the same amount from where the patches were put.
    let displaced = |copy: &Square| {
        places
            .iter()
            .map(|&(x, y)| (copy.x as i64 - x as i64, copy.y as i64 - y as i64))
            .min_by_key(|(x, y)| x.abs() + y.abs())
    };
    let first = displaced(&found[0].square);
    assert!(found.iter().all(|copy| displaced(&copy.square) == first && copy.similarity > 0.999), "{found:?}");
    assert!(repeats(&[90; 784], canvas, None, 0.9).is_empty(), "flat");
    let noise: Vec<u8> = (0..784_u32).map(|at| (Chance::new(3, 1).word(0, at) >> 24) as u8).collect();
    assert!(repeats(&noise, canvas, None, 0.9).is_empty(), "noise");
    // Of bars all is a repeat, and no copy overlaps another.
    let bars: Vec<u8> = (0..784).map(|at| if at % 28 / 2 % 2 == 0 { 255 } else { 0 }).collect();
    let found = repeats(&bars, canvas, None, 0.9);
    let apart = |a: Square, b: Square| a.x.abs_diff(b.x) >= a.side || a.y.abs_diff(b.y) >= a.side;
    assert!(found.len() > 4);
    assert!((0..found.len()).all(|a| (0..a).all(|b| apart(found[a].square, found[b].square))));
    // Large pictures are searched small: squares come in whole blocks.
    let large = Canvas { height: 227, width: 227, channels: 3 };
    let pixels: Vec<u8> = (0..large.len()).map(|at| if at / 3 % 227 / 16 % 2 == 0 { 200 } else { 30 }).collect();
    let found = repeats(&pixels, large, None, 0.9);
    assert!(
        found.len() > 1 && found.iter().all(|copy| copy.square.x % 4 == 0 && copy.square.x + copy.square.side <= 227)
    );
}

#[test]
fn squares_are_filled_from_their_borders() {
    let canvas = Canvas { height: 5, width: 6, channels: 1 };
    let mut image: Vec<u8> = (0..30).map(|at| 10 * (at % 6) as u8).collect();
    let before = image.clone();
    image[2 * 6 + 2..2 * 6 + 4].fill(255);
    image[3 * 6 + 2..3 * 6 + 4].fill(255);
    fill(&mut image, canvas, Square { x: 2, y: 2, side: 2 });
    // Left 10 at 1 and right 40 at 2, above 20 at 1, below 20 at 2: (10 + 20 + 20 + 10) / 3.
    assert_eq!(image[14], 20);
    assert_eq!(image.iter().zip(&before).filter(|(a, b)| a != b).count(), 0, "a ramp fills itself");
    let mut corner = vec![7; 30];
    corner[0] = 0;
    fill(&mut corner, canvas, Square { x: 0, y: 0, side: 1 });
    assert_eq!(corner[0], 7);
    let mut whole = vec![9; 4];
    fill(&mut whole, Canvas { height: 2, width: 2, channels: 1 }, Square { x: 0, y: 0, side: 2 });
    assert_eq!(whole, [128; 4]);
}

#[test]
fn ablation_is_what_the_network_says_of_each_image() {
    let found = part(runs(), "ablation", &["cppn/seed1", "direct/seed1"], &[]);
    let elites = found["elites"].as_array().unwrap();
    assert_eq!(elites.len(), 20);
    for (number, run) in ["cppn/seed1", "direct/seed1"].into_iter().enumerate() {
        let (archive, _) = archive(&runs().join(run));
        for class in [0, 1, 8] {
            let elite = &elites[10 * number + class];
            let image = &archive.elites[class].image;
            let copies = elite["copies"].as_array().unwrap();
            let square = |copy: &Value| {
                let of = |key: &str| copy[key].as_u64().unwrap() as usize;
                Square { x: of("x"), y: of("y"), side: of("side") }
            };
            let mut left = image.clone();
            let mut images = vec![left.clone()];
            for copy in copies.iter().skip(1).chain(copies.first()) {
                fill(&mut left, Canvas::MNIST, square(copy));
                images.push(left.clone());
            }
            let confidences: Vec<f32> = scored(&images).iter().map(|row| row[class]).collect();
            let told: Vec<f32> =
                elite["confidences"].as_array().unwrap().iter().map(|one| one.as_f64().unwrap() as f32).collect();
            assert_eq!(told, confidences, "{run}, class {class}");
            let map = &elite["occlusion"];
            let (window, x, y) = (map["window"].as_u64().unwrap(), &map["columns"][3], &map["rows"][2]);
            let place = |value: &Value| value.as_u64().unwrap() as usize;
            let mut covered = image.clone();
            fill(&mut covered, Canvas::MNIST, Square { x: place(x), y: place(y), side: window as usize });
            let lost = f64::from(confidences[0]) - f64::from(scored(&[covered])[0][class]);
            assert_eq!(map["lost"][2][3].as_f64().unwrap(), lost);
        }
    }
    // Noise has no repeats.
    assert!(elites[10..].iter().all(|elite| elite["copies"] == serde_json::json!([])));
}

#[test]
fn all_parts_go_together_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let [cppn, direct] = ["cppn", "direct/seed2"].map(|run| runs().join(run).to_str().unwrap().to_owned());
    let call = ["analyse", &cppn[..], &direct[..], "--device", "cpu", "--permutations", "50", "--classes", "0,3-4"];
    let (text, log) = run(pareidolia(path, &call), 0);
    for part in ["blame: 9 elites", "thresholds:", "likeness:", "resistance:", "minimal genomes", "ablation:"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.ends_with("runs/analyse\n"), "{text}");
    assert!(log.contains("left out: blame of runs of the direct encoding, which have no graph: "), "{log}");
    assert!(log.contains("left out: likeness of single runs: mnist-direct faithful"), "{log}");
    let manifest = json_of(&path.join("runs/analyse/analyse.json"));
    assert_eq!(manifest["parts"].as_array().unwrap().len(), 6);
    assert_eq!(manifest["classes"], serde_json::json!([0, 3, 4]));
    assert_eq!(names(&path.join("runs/analyse")).len(), 3 * 6 + 3);
    // A second one stands beside; one that is named must not be there.
    let report: Value = serde_json::from_str(&done(path, &[&call[..], &["--json", "-q"]].concat())).unwrap();
    assert_eq!(report.as_object().unwrap().len(), 6);
    assert_eq!(report["blame"], json_of(&path.join("runs/analyse/blame.json")));
    assert_eq!(names(&path.join("runs")), ["analyse", "analyse-2"].map(String::from).into());
    fails(
        pareidolia(path, &[&call[..], &["--out", "runs/analyse"]].concat()),
        1,
        "is not empty, and nothing is ever overwritten",
    );
}

#[test]
fn what_is_no_finished_run_is_refused() {
    let folder = copy("cppn/seed1");
    let path = folder.path();
    let [run, archive] = ["run", "run/archive.safetensors"].map(|name| path.join(name));
    let out = ["--out", "out"];
    let refused = |code, arguments: &[&str], what: &str| refused(path, code, &[arguments, &out].concat(), what);
    fs::create_dir(path.join("empty")).unwrap();
    refused(1, &["empty"], "neither the folder of a run");
    refused(1, &["nowhere"], "nowhere: cannot open");
    fs::write(path.join("words.txt"), "words").unwrap();
    refused(1, &["words.txt"], "is no run");
    refused(2, &["run", "run/../run"], "is there twice");
    refused(2, &["run", "--classes", "3,11"], "--classes: no run has an elite of class 11");
    refused(2, &["run", "--classes", "5-3"], "the range 5-3 is empty");
    refused(2, &["run", "--only", "blood"], "blood");
    refused(2, &["run", "--threshold", "1.5"], "wanted a confidence from 0 to 1, or lead");
    refused(2, &["run", "--mean", "x.safetensors"], "go with --weights");
    refused(
        2,
        &["run", "--only", "thresholds", "--weights", "built-in"],
        "--weights: no part that is done shows images",
    );
    refused(
        2,
        &["run", "--only", "thresholds", "--classes", "1"],
        "--classes: no part that is done takes elites apart",
    );
    refused(2, &["run", "--only", "blame", "--groups", "x.toml"], "--groups: no part that is done asks for related");

    // Half written, of another run, of another version.
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    refused(1, &["run"], "not a valid archive");
    fs::copy(runs().join("cppn/seed2/archive.safetensors"), &archive).unwrap();
    refused(1, &["run"], "is not the archive of the run");
    let needle = br#""arithmetic_version":"1""#;
    let at = whole.windows(needle.len()).position(|window| window == needle).unwrap();
    let mut other = whole.clone();
    other[at + needle.len() - 2] = b'9';
    fs::write(&archive, &other).unwrap();
    refused(1, &["run"], "arithmetic version 9, this program has 1");
    fs::write(&archive, &whole).unwrap();
    let manifest = fs::read_to_string(run.join("run.json")).unwrap();
    fs::remove_file(run.join("run.json")).unwrap();
    refused(1, &["run"], "finish it: pareidolia evolve --resume");
    fs::write(run.join("run.json"), &manifest[..manifest.len() / 2]).unwrap();
    refused(1, &["run"], "not a manifest of a run");
}

#[test]
fn other_networks_than_recorded_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let two = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist-2.safetensors");
    fs::copy(two, path.join("net.safetensors")).unwrap();
    let short = ["--batch", "20", "--generations", "3", "--no-pictures", "-q", "--device", "cpu"];
    done(path, &[&["evolve", "mnist-cppn", "--weights", "net.safetensors", "--out", "run"], &short[..]].concat());
    let out = ["--out", "out", "--only", "blame"];
    let refused = |more: &[&str], what: &str| refused(path, 1, &[&["run"], &out[..], more].concat(), what);
    refused(&["--weights", "built-in"], "no run was made against built-in");
    fs::rename(path.join("net.safetensors"), path.join("moved.safetensors")).unwrap();
    refused(&[], "name the weights with --weights, or ask for --only thresholds,resistance");
    // The network is the same wherever it lies.
    part(path, "blame", &["run"], &["--weights", "moved.safetensors"]);
    part(path, "thresholds", &["run"], &[]);
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist.safetensors");
    fs::copy(other, path.join("net.safetensors")).unwrap();
    refused(&[], "but what is there now has SHA-256");
    // Recorded probabilities that the network does not give.
    change(&path.join("run"), |_, elite| (elite.genome.clone(), elite.image.clone(), Some(vec![0.1; 10])));
    refused(&["--weights", "moved.safetensors"], "other probabilities than the archive has recorded");
}

#[test]
fn parts_that_runs_do_not_allow_are_refused_when_asked_for_alone() {
    let [cppn, direct, series] =
        ["cppn/seed1", "direct/seed1", "direct"].map(|run| runs().join(run).to_str().unwrap().to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for part in ["blame", "minimal"] {
        let what =
            format!("--only {part}: it takes the graphs of CPPNs apart, and all runs are of the direct encoding");
        refused(path, 1, &[&direct[..], "--out", "out", "--only", part], &what);
    }
    for runs in [vec![&cppn[..]], vec![&cppn[..], &direct[..]]] {
        let arguments = [&runs[..], &["--out", "out", "--only", "likeness"]].concat();
        refused(path, 1, &arguments, "--only likeness: it compares runs of the same preset, flavour and network");
    }
    // All parts of direct runs are those that they allow.
    let (_, log) = run(pareidolia(path, &["analyse", &series[..], "--device", "cpu", "--permutations", "20"]), 0);
    assert!(log.contains("left out: blame: it takes the graphs of CPPNs apart"), "{log}");
    let manifest = json_of(&path.join("runs/analyse/analyse.json"));
    assert_eq!(manifest["parts"], serde_json::json!(["thresholds", "likeness", "resistance", "ablation"]));
}

#[test]
fn files_of_groups_that_cannot_be_are_refused() {
    let series = runs().join("cppn").to_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, text, what) in [
        ("a.toml", "", "has no group"),
        ("a.json", "{}", "has no group"),
        ("a.toml", "round = [0, \"6", "not a file of groups"),
        ("a.json", "{\"round\": [0, 6", "not a file of groups"),
        ("a.toml", "round = 3", "not a file of groups"),
        ("a.toml", "round = [0, 10]", "group \"round\": class 10 is not there: the network has classes 0 to 9"),
        ("a.toml", "round = [\"0-12\"]", "class 12 is not there"),
        ("a.toml", "round = [\"6-2\"]", "the range 6-2 is empty"),
        ("a.toml", "round = [\"hen\", 1]", "there is no class \"hen\"; the nearest name is"),
        ("a.toml", "round = []", "group \"round\" has 0 classes"),
        ("a.toml", "round = [8]", "group \"round\" has 1 classes; related classes are two at least"),
        ("a.toml", "round = [8, 0, \"7-8\"]", "group \"round\" has class 8 twice"),
        ("a.toml", "a = [1, 2]\nb = [\"2-3\"]", "class 2 is in two groups, \"a\" and \"b\"; groups must not overlap"),
    ] {
        fs::write(path.join(name), text).unwrap();
        for part in ["likeness", "resistance"] {
            refused(path, 1, &[&series[..], "--out", "out", "--only", part, "--groups", name], what);
        }
    }
    refused(path, 1, &[&series[..], "--out", "out", "--groups", "none.toml"], "none.toml: cannot read");
}
