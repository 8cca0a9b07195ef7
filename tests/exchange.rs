//! Genomes out and in: JSON that comes back bit for bit, graphs and programs that draw what the run drew, runs that start from genomes, and
//! merged archives.

#[path = "common/left_out.rs"]
mod left_out;
#[path = "common/program.rs"]
mod program;

use left_out::left_out;
use pareidolia::archive::Archive;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::{Backend, Job};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::experiment::specimens::Contents;
use pareidolia::genome::cppn::{Activation, Edge, Graph, Rules, Scratch};
use pareidolia::genome::exchange::{Origin, Settings, Specimen, dot, glsl, json, python, svg};
use pareidolia::genome::{Canvas, Genome, direct};
use pareidolia::output::{Manifest, archive_file, pictures};
use pareidolia::rng::Philox;
use pareidolia::simd::Simd;
use program::{fails, names, pareidolia, run};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

const COLOUR: Canvas = Canvas { height: 24, width: 32, channels: 3 };

/// Lets the program make a run in `folder`.
fn evolve(folder: &Path, more: &[&str]) -> Manifest {
    let mut command = pareidolia(&["evolve", "--batch", "40", "--no-pictures", "--json", "--threads", "2"]);
    command.args(more).arg("--out").arg(folder);
    serde_json::from_str(&run(command, 0).0).unwrap()
}

/// A CPPN run of 200 generations, and a direct one of two; made once.
fn runs() -> &'static Path {
    static RUNS: OnceLock<TempDir> = OnceLock::new();
    let runs = RUNS.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        evolve(&folder.path().join("cppn"), &["--generations", "200"]);
        evolve(&folder.path().join("direct"), &["--generations", "2", "mnist-direct"]);
        folder
    });
    runs.path()
}

/// Calls the program in `folder`, which must succeed.
#[track_caller]
fn call(folder: &Path, args: &[&str]) -> String {
    let mut command = pareidolia(args);
    command.current_dir(folder);
    run(command, 0).0
}

/// Calls it; it must fail with one line that says `what`.
#[track_caller]
fn refused(folder: &Path, code: i32, args: &[&str], what: &str) {
    let mut command = pareidolia(args);
    command.current_dir(folder);
    fails(command, code, what);
}

fn archive(run: &Path) -> Archive {
    archive_file::read(&run.join("archive.safetensors")).unwrap().0
}

fn grown(seed: u64, rules: &Rules, n_outputs: usize, generations: u32) -> Graph {
    let philox = Philox::new(seed);
    let mut graph = Graph::random(n_outputs, &philox, 5);
    let mut scratch = Scratch::default();
    for generation in 1..=generations {
        graph.vary(rules, &philox, 5, generation, &mut scratch);
    }
    graph
}

fn cppn(graph: Graph, rules: &Rules, canvas: Canvas) -> Specimen {
    Specimen { canvas, genome: Genome::Cppn(graph), settings: Some(rules.into()), origin: None }
}

/// CPPNs of both flavours, grey and in colour, young and old; one whose chain no input feeds; one of no edges.
fn specimens() -> Vec<Specimen> {
    let mut specimens = Vec::new();
    for (seed, generations) in [(1, 0), (2, 30), (3, 90), (4, 200)] {
        for rules in [Rules::faithful(), Rules::modern()] {
            for canvas in [Canvas::MNIST, COLOUR] {
                specimens.push(cppn(grown(seed, &rules, canvas.channels, generations), &rules, canvas));
            }
        }
    }
    let edge = |source, target, gene| Edge { source, target, gene };
    let chain = Graph {
        n_outputs: 1,
        activations: (0..9).map(|node| Activation::ALL[node % 4]).collect(),
        edges: vec![
            edge(0, 4, 0.5),
            edge(5, 6, 0.8),
            edge(6, 7, 0.3),
            edge(7, 8, 0.9),
            edge(8, 4, 0.7),
            edge(6, 4, 0.2),
            edge(0, 4, 0.51),
        ],
    };
    specimens.push(cppn(chain, &Rules::faithful(), Canvas::MNIST));
    let nothing = Graph { n_outputs: 1, activations: vec![Activation::Gaussian; 5], edges: Vec::new() };
    specimens.push(cppn(nothing, &Rules::modern(), Canvas { height: 1, width: 3, channels: 1 }));
    specimens
}

#[track_caller]
fn assert_same_bits(a: &Specimen, b: &Specimen) {
    match (&a.genome, &b.genome) {
        (Genome::Direct(a), Genome::Direct(b)) => {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        (Genome::Cppn(a), Genome::Cppn(b)) => {
            let words = |graph: &Graph| {
                let mut words = Vec::new();
                graph.words(&mut |word| words.push(word));
                words
            };
            assert_eq!(words(a), words(b));
        }
        _ => panic!("another encoding"),
    }
    assert_eq!((a.canvas, a.settings, &a.origin), (b.canvas, b.settings, &b.origin));
}

// --- JSON ---

/// Whether `value` is what `schema` allows, by the keywords that ours uses; if not, where and why.
fn conforms(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return if schema == &json!(true) { Ok(()) } else { Err(format!("{at}: must not be there")) };
    };
    for (keyword, wanted) in schema {
        let number = |value: &Value| value.as_f64().unwrap();
        let is_right = match keyword.as_str() {
            "$schema" | "title" | "description" | "properties" => true,
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                other => panic!("type {other}"),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => number(value) >= number(wanted),
            "exclusiveMinimum" => number(value) > number(wanted),
            "maximum" => number(value) <= number(wanted),
            "minItems" => value.as_array().unwrap().len() as f64 >= number(wanted),
            "maxItems" => value.as_array().unwrap().len() as f64 <= number(wanted),
            "pattern" => value.as_str().unwrap().len() == 16, // of the one hash that has a pattern
            "required" => wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                value.as_object().unwrap().keys().all(|key| schema["properties"].get(key).is_some())
            }
            "items" => {
                let items = value.as_array().unwrap().iter().enumerate();
                items.into_iter().try_for_each(|(i, item)| conforms(wanted, item, &format!("{at}[{i}]")))?;
                true
            }
            "oneOf" => wanted.as_array().unwrap().iter().filter(|one| conforms(one, value, at).is_ok()).count() == 1,
            other => panic!("the schema has the keyword {other:?}, which this test does not know"),
        };
        if !is_right {
            return Err(format!("{at}: {keyword} {wanted}, got {value}"));
        }
    }
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.get(key) {
            conforms(schema, value, &format!("{at}.{key}"))?;
        }
    }
    Ok(())
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/genome.schema.json")).unwrap())
        .unwrap()
}

#[test]
fn exported_elites_come_back_bit_for_bit_and_draw_and_are_judged_as_they_were() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let out = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let schema = schema();
    for preset in ["cppn", "direct"] {
        call(runs, &["export", preset, "--out", &out(preset)]);
        let (archive, manifest) =
            (archive(&runs.join(preset)), Manifest::read(&runs.join(preset).join("run.json")).unwrap());
        let files: Vec<String> = names(Path::new(&out(preset))).into_iter().collect();
        assert_eq!(files.len(), 10);
        for ((file, class), elite) in files.iter().zip(&manifest.classes).zip(&archive.elites) {
            let path = scratch.path().join(preset).join(file);
            assert_eq!(*file, Path::new(&class.file).with_extension("json").file_name().unwrap().to_str().unwrap());
            let text = fs::read(&path).unwrap();
            conforms(&schema, &serde_json::from_slice(&text).unwrap(), file).unwrap();
            let specimen = json::parse(&text).unwrap();
            assert_eq!(specimen.genome, elite.genome);
            let origin = specimen.origin.clone().unwrap();
            assert_eq!((origin.class, origin.confidence.to_bits()), (class.class, class.confidence.to_bits()));
            assert_eq!((origin.archive_hash, origin.born), (manifest.archive_hash, class.born));
            assert_eq!(origin.weights_sha256.as_ref(), Some(&manifest.weights_sha256));
            // On one line, and once more, it is the same.
            for again in [json::line(&specimen).unwrap(), json::text(&specimen).unwrap()] {
                assert_same_bits(&json::parse(again.as_bytes()).unwrap(), &specimen);
            }
            let picture = out("picture.png");
            call(scratch.path(), &["render", path.to_str().unwrap(), "--size", "28", "--out", &picture, "--force"]);
            assert_eq!(pictures::read_png(Path::new(&picture)).unwrap().pixels, elite.image, "{file}");
        }
        let paths: Vec<String> = files.iter().map(|file| format!("{}/{file}", out(preset))).collect();
        let args =
            [&["classify", "--json", "--top", "10"], &paths.iter().map(|path| &path[..]).collect::<Vec<_>>()[..]]
                .concat();
        let judged: Value = serde_json::from_str(&call(scratch.path(), &args)).unwrap();
        for (judged, class) in judged.as_array().unwrap().iter().zip(&manifest.classes) {
            let label = judged["top"].as_array().unwrap().iter().find(|label| label["class"] == class.class).unwrap();
            assert_eq!(label["probability"].as_f64().unwrap() as f32, class.confidence);
        }
    }
    // A large picture, and a file's name for it in a folder.
    let four = format!("{}/{}", out("cppn"), names(Path::new(&out("cppn"))).iter().nth(4).unwrap());
    call(scratch.path(), &["render", &four, "--size", "300x200", "--out", &out("large")]);
    let file = Path::new(&out("large")).join(Path::new(&four).with_extension("png").file_name().unwrap());
    let picture = pictures::read_png(&file).unwrap_or_else(|_| panic!("{:?}", names(Path::new(&out("large")))));
    assert_eq!((picture.canvas.width, picture.canvas.height), (300, 200));
    for options in [&["--class", "4"][..], &["--all"]] {
        let args = [&["render", &four, "--out", "no.png"], options].concat();
        refused(scratch.path(), 2, &args, "is one genome and no run");
    }
}

#[test]
fn export_writes_what_and_where_it_is_told() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let path = |name: &str| scratch.path().join(name);
    let out = |name: &str| path(name).to_str().unwrap().to_owned();
    call(runs, &["export", "cppn", "--class", "4", "--class", "7", "--out", &out("two")]);
    assert_eq!(names(&path("two")).len(), 2);
    call(
        runs,
        &["export", "cppn/archive.safetensors", "--classes", "2-4,4", "--format", "dot", "--out", &out("three")],
    );
    assert!(names(&path("three")).len() == 3 && names(&path("three")).iter().all(|name| name.ends_with(".dot")));
    // The checkpoint of the same run, whose network's name is not in it.
    call(runs, &["export", "cppn/checkpoint", "--class", "4", "--out", &out("four.json")]);
    let of_archive = fs::read(path("two").join(names(&path("two")).first().unwrap())).unwrap();
    let (checkpoint, of_archive) = (json::parse(&fs::read(path("four.json")).unwrap()), json::parse(&of_archive));
    let (mut checkpoint, of_archive) = (checkpoint.unwrap(), of_archive.unwrap());
    assert_eq!(checkpoint.origin.as_ref().unwrap().network, None);
    checkpoint.origin = of_archive.origin.clone();
    assert_same_bits(&checkpoint, &of_archive);
    // JSON to everything else, by the extension.
    for (file, begins) in
        [("four.svg", "<svg"), ("four.dot", "//"), ("four.gv", "//"), ("four.glsl", "//"), ("four.py", "#!")]
    {
        call(scratch.path(), &["export", "four.json", "--out", file]);
        let text = fs::read_to_string(path(file)).unwrap();
        assert!(text.starts_with(begins), "{file}: {text}");
    }

    let before = fs::read(path("four.py")).unwrap();
    refused(scratch.path(), 1, &["export", "four.json", "--out", "four.py"], "--force");
    assert_eq!(fs::read(path("four.py")).unwrap(), before);
    call(scratch.path(), &["export", "four.json", "--out", "four.py", "--force"]);
    refused(runs, 2, &["export", "cppn", "--out", &out("all.json")], "one file for 10 genomes");
    refused(runs, 2, &["export", "cppn", "--class", "11", "--out", &out("x.json")], "--class");
    refused(runs, 2, &["export", "cppn", "--classes", "9-11", "--out", &out("x")], "the run has no class 10");
    refused(runs, 2, &["export", "cppn", "--class", "1", "--format", "svg", "--out", &out("x.py")], "--format is svg");
    refused(
        runs,
        2,
        &["export", "cppn", "--class", "1", "--classes", "2", "--out", &out("x.py")],
        "cannot be used with",
    );
    refused(scratch.path(), 2, &["export", "four.json", "--class", "4", "--out", "x.py"], "is one genome");
    refused(scratch.path(), 1, &["export", "nothing", "--out", "x.py"], "nothing: cannot read");
    refused(scratch.path(), 1, &["export", "two", "--out", "x.py"], "is not the folder of a run");
    for format in ["dot", "svg", "glsl", "python"] {
        refused(
            runs,
            1,
            &["export", "direct", "--format", format, "--out", &out("x")],
            "a direct genome is a value per pixel",
        );
    }
    assert!(!path("x").exists() && !path("x.py").exists() && !path("x.json").exists() && !path("all.json").exists());
}

/// A small grey genome as JSON, to be spoilt.
fn small() -> Value {
    let graph = Graph {
        n_outputs: 1,
        activations: vec![Activation::Sine; 7],
        edges: vec![
            Edge { source: 0, target: 5, gene: 0.75 },
            Edge { source: 5, target: 6, gene: 0.1 },
            Edge { source: 6, target: 4, gene: 1.0 },
        ],
    };
    let specimen = Specimen {
        origin: Some(Origin {
            archive_hash: 7,
            class: 3,
            class_name: "a \"name\"\n".into(),
            confidence: 0.1,
            born: (1, 2),
            crops: 10,
            network: None,
            weights_sha256: None,
        }),
        ..cppn(graph, &Rules::faithful(), Canvas::MNIST)
    };
    serde_json::from_str(&json::text(&specimen).unwrap()).unwrap()
}

#[test]
fn what_can_be_left_out_can_be_left_out_and_parallel_edges_are_genomes() {
    let mut value = small();
    let whole = json::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(whole.origin.as_ref().unwrap().class_name, "a \"name\"\n");
    let schema = schema();
    conforms(&schema, &value, "small").unwrap();
    value.as_object_mut().unwrap().remove("steps");
    value.as_object_mut().unwrap().remove("origin");
    for edge in value["edges"].as_array_mut().unwrap() {
        edge.as_object_mut().unwrap().remove("weight");
    }
    for node in value["nodes"].as_array_mut().unwrap() {
        node.as_object_mut().unwrap().remove("role");
    }
    value["$schema"] = json!("genome.schema.json");
    conforms(&schema, &value, "small").unwrap();
    let bare = json::parse(value.to_string().as_bytes()).unwrap();
    assert_same_bits(&bare, &Specimen { origin: None, ..whole });
    // Evolution makes parallel edges, whose weights add up; drawing knows them.
    let twice = value["edges"][0].clone();
    value["edges"].as_array_mut().unwrap().push(twice);
    let doubled = json::parse(value.to_string().as_bytes()).unwrap();
    assert_eq!(doubled.genome.graph().unwrap().edges.len(), 4);
    assert_ne!(doubled.image(Simd::detect()), bare.image(Simd::detect()));
}

/// Each with what the one line says of it.
fn bad_genomes() -> Vec<(&'static str, String, &'static str)> {
    let spoilt = |spoil: &dyn Fn(&mut Value)| {
        let mut value = small();
        spoil(&mut value);
        value.to_string()
    };
    let edge = |from: u64, to: u64, gene: f64| json!({ "from": from, "to": to, "gene": gene });
    let with_edge = |edge: Value| {
        spoilt(&|value| {
            value["edges"].as_array_mut().unwrap().push(edge.clone());
            value.as_object_mut().unwrap().remove("steps");
        })
    };
    let set = |key: &'static str, to: Value| spoilt(&|value| value[key] = to.clone());
    let node = r#"{"id":0,"activation":"sine"},"#;
    let text = small().to_string();
    let mut bad = vec![
        ("cycle", with_edge(edge(6, 5, 0.5)), "has a cycle"),
        ("loop", with_edge(edge(5, 5, 0.5)), "has a cycle"),
        ("into an input", with_edge(edge(5, 2, 0.5)), "edge 3 leads into input 2"),
        ("out of an output", with_edge(edge(4, 5, 0.5)), "edge 3 leads out of output node 4"),
        ("dangling", with_edge(edge(5, 7, 0.5)), "edge 3 joins node 5 to 7, there is no node 7"),
        ("far away", with_edge(edge(5_000_000_000, 4, 0.5)), "there is no node 5000000000"),
        ("gene above 1", with_edge(edge(5, 4, 1.5)), "edge 3 has gene 1.5, genes lie in [0, 1]"),
        ("gene below 0", with_edge(edge(5, 4, -0.1)), "edge 3 has gene -0.1"),
        ("no number", text.replace("0.75", "NaN"), "expected value"),
        ("no null", text.replace("0.75", "null"), "invalid type: null"),
        ("infinite", text.replace("0.75", "1e999"), "number out of range"),
        ("activation", text.replacen("sine", "tanh", 1), "unknown variant `tanh`, expected one of `sine`, `sigmoid`"),
        (
            "weight",
            text.replace("\"weight\":5.0", "\"weight\":4.0"),
            "edge 0 has weight 4, but its gene 0.75 stands for 5",
        ),
        ("steps", set("steps", json!(9)), "\"steps\" is 9, the graph makes 4"),
        ("key", set("colour", json!(9)), "unknown field `colour`"),
        ("no nodes", spoilt(&|value| drop(value.as_object_mut().unwrap().remove("nodes"))), "has no \"nodes\""),
        ("few nodes", set("nodes", json!([])), "edge 0 joins node 0 to 5, there is no node 0"),
        ("genes", set("genes", json!([0.5])), "has \"genes\", which a genome of the encoding \"cppn\" has not"),
        ("encoding", set("encoding", json!("tree")), "unknown variant `tree`"),
        (
            "direct",
            set("encoding", json!("direct")),
            "has \"nodes\", which a genome of the encoding \"direct\" has not",
        ),
        ("ids", text.replace("{\"id\":5,", "{\"id\":7,"), "node 5 of the list has id 7"),
        ("role", text.replacen("\"hidden\"", "\"hue\"", 1), "node 5 has another role than its place"),
        ("outputs", text.replace("\"channels\":1", "\"channels\":3"), "node 4 has another role than its place"),
        (
            "channels",
            text.replace("\"channels\":1", "\"channels\":2"),
            "wanted sides from 1 to 4096 and 1 or 3 channels",
        ),
        ("canvas", text.replace("\"width\":28", "\"width\":100000"), "the canvas is 100000 x 28"),
        ("max_weight", set("max_weight", json!(0)), "max_weight is 0"),
        ("hash", text.replace("0000000000000007", "+000000000000007"), "not 16 hexadecimal digits"),
        ("confidence", text.replace("\"confidence\":0.1", "\"confidence\":1.1"), "\"confidence\" is 1.1"),
        ("crops", text.replace("\"crops\":10", "\"crops\":7"), "\"crops\" is 7"),
        ("format", set("format", json!("other")), "\"format\" is \"other\""),
        ("no format", "{}".into(), "has no \"format\": \"pareidolia genome\"; `pareidolia export` writes"),
        ("version", set("version", json!(2)), "\"version\" is 2, this program reads 1"),
        ("arithmetic", set("arithmetic_version", json!(77)), "\"arithmetic_version\" is 77, this program has 1"),
        ("truncated", text[..text.len() / 2].to_owned(), "EOF while parsing"),
        ("more behind", format!("{text} {{}}"), "trailing characters"),
        ("deep", format!("{{\"format\":{}", "[".repeat(100_000)), "line 1"),
        (
            "a million nodes",
            text.replace("\"nodes\":[", &format!("\"nodes\":[{}", node.repeat(1_000_000))),
            "a list of more than 65536",
        ),
        (
            "a million edges",
            text.replace("\"edges\":[", &format!("\"edges\":[{}", r#"{"from":0,"to":4,"gene":0},"#.repeat(1_050_000))),
            "a list of more than 1048576",
        ),
    ];
    // A long chain that no input feeds, cut off at each of many steps: nothing that can be drawn.
    let (fed, orphans, mut graph) = (600, 1000, grown(1, &Rules::faithful(), 1, 0));
    graph.activations.resize(5 + fed + orphans, Activation::Sine);
    let edge = |source: usize, target: usize| Edge { source: source as u16, target: target as u16, gene: 0.5 };
    for at in 0..fed {
        graph.edges.push(edge(if at == 0 { 0 } else { 5 + at - 1 }, 5 + at));
        graph.edges.push(edge(5 + fed + orphans - 1, 5 + at));
    }
    graph.edges.extend((1..orphans).map(|at| edge(5 + fed + at - 1, 5 + fed + at)));
    graph.edges.push(edge(5 + fed - 1, 4));
    let nodes: Vec<Value> = (0..graph.activations.len()).map(|id| json!({ "id": id, "activation": "sine" })).collect();
    let edges: Vec<Value> =
        graph.edges.iter().map(|edge| json!({ "from": edge.source, "to": edge.target, "gene": 0.5 })).collect();
    let endless = spoilt(&|value| {
        value["nodes"] = json!(nodes);
        value["edges"] = json!(edges);
        value.as_object_mut().unwrap().remove("steps");
    });
    bad.push(("endless", endless, "takes more than 131072 values"));
    bad
}

#[test]
fn bad_genomes_are_refused_in_one_line_by_whoever_reads_them() {
    let scratch = TempDir::new().unwrap();
    let bad = bad_genomes();
    for (name, text, what) in &bad {
        let reason = json::parse(text.as_bytes()).expect_err(name);
        assert!(reason.contains(what), "{name}: wanted {what:?}, got {reason:?}");
    }
    // By the program, which says where: some of them, by each command.
    let file = scratch.path().join("bad.json");
    for (name, text, what) in bad.iter().filter(|(name, ..)| {
        ["cycle", "dangling", "activation", "a million nodes", "truncated", "version"].contains(name)
    }) {
        fs::write(&file, text).unwrap();
        let before = names(scratch.path());
        for args in [
            &["render", "bad.json", "--out", "x.png"][..],
            &["classify", "bad.json"],
            &["export", "bad.json", "--out", "x.svg"],
            &["evolve", "--generations", "0", "--out", "run", "--start", "bad.json"],
        ] {
            refused(scratch.path(), 1, args, what);
            refused(scratch.path(), 1, args, "bad.json: not a genome");
            assert_eq!(names(scratch.path()), before, "{name}: {args:?}");
        }
    }
    // Text, nothing at all, no end, too much, not there.
    for text in ["this is no JSON", "", "[1, 2]"] {
        fs::write(&file, text).unwrap();
        refused(scratch.path(), 1, &["render", "bad.json", "--out", "x.png"], "bad.json: ");
        assert!(json::parse(text.as_bytes()).unwrap_err().contains("not a genome in JSON"));
    }
    fs::write(&file, format!("{{{}", " ".repeat(99))).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_len(300 << 20).unwrap();
    refused(scratch.path(), 1, &["evolve", "--start", "bad.json"], "314572800 bytes, a genome takes at most 268435456");
    refused(scratch.path(), 1, &["evolve", "--start", "none.json"], "none.json: cannot read");
    fs::create_dir(scratch.path().join("empty")).unwrap();
    refused(scratch.path(), 1, &["evolve", "--start", "empty"], "empty: neither the folder of a run");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_genome_comes_back_from_json_bit_for_bit_and_draws_the_same(
        seed: u64, colour: bool, normalise: bool, generations in 0..120_u32, max_weight in prop_oneof![Just(10.0_f32), 1e-3..1e6_f32],
        height in 1..20_usize, width in 1..20_usize, tiny: bool,
    ) {
        let canvas = Canvas { height, width, channels: if colour { 3 } else { 1 } };
        let rules = Rules { normalise, max_weight, ..Rules::faithful() };
        let mut graph = grown(seed, &rules, canvas.channels, generations);
        if tiny {
            // Denormals, numbers of nine digits, both ends.
            let odd = [0.0, -0.0, 1.0, f32::MIN_POSITIVE / 3.0, f32::from_bits(1), 1.0 - f32::EPSILON / 2.0, 8.589_973e-9];
            for (edge, gene) in graph.edges.iter_mut().zip(odd) {
                edge.gene = gene;
            }
        }
        let specimen = cppn(graph, &rules, canvas);
        let text = json::text(&specimen).unwrap();
        conforms(&schema(), &serde_json::from_str(&text).unwrap(), "genome").unwrap();
        let back = json::parse(text.as_bytes()).unwrap();
        assert_same_bits(&back, &specimen);
        prop_assert_eq!(back.image(Simd::detect()), specimen.image(Simd::Plain));
    }

    #[test]
    fn any_genes_come_back_from_json_bit_for_bit(genes in proptest::collection::vec((0_u32..=0x3f80_0000).prop_map(f32::from_bits), 12)) {
        let canvas = Canvas { height: 2, width: 2, channels: 3 };
        let specimen = Specimen { canvas, genome: Genome::Direct(genes), settings: None, origin: None };
        let text = json::text(&specimen).unwrap();
        conforms(&schema(), &serde_json::from_str(&text).unwrap(), "genome").unwrap();
        assert_same_bits(&json::parse(text.as_bytes()).unwrap(), &specimen);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[{}\\[\\]\":,0-9.e-]){0,80}") {
        let _ = json::parse(text.as_bytes());
        let _ = json::parse(format!("{{\"format\":\"pareidolia genome\",\"version\":1,\"arithmetic_version\":1,{text}").as_bytes());
    }
}

// --- Programs ---

fn python3() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        left_out("there is no python3");
    }
    found
}

/// The pixels of a PGM or PPM file of this size.
fn netpbm(path: &Path, canvas: Canvas) -> Vec<u8> {
    let head = format!("P{}\n{} {}\n255\n", if canvas.channels == 1 { 5 } else { 6 }, canvas.width, canvas.height);
    fs::read(path).unwrap().strip_prefix(head.as_bytes()).expect("the head of a PGM or PPM file").to_vec()
}

fn most_apart(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn python_draws_the_same_pixels() {
    if !python3() {
        return;
    }
    let scratch = TempDir::new().unwrap();
    let mut all = specimens();
    // And what a run found.
    let Contents::Run(run) = Contents::read(&runs().join("cppn")).unwrap() else { panic!("a run") };
    all.extend([0, 4, 9].map(|niche| run.specimen(niche)));
    let mut colours = 0;
    for (at, specimen) in all.iter().enumerate() {
        let (program, picture) = (scratch.path().join("elite.py"), scratch.path().join("elite.pgm"));
        fs::write(&program, python::text(specimen).unwrap()).unwrap();
        let status = Command::new("python3").arg(&program).arg(&picture).status().unwrap();
        assert!(status.success(), "specimen {at}");
        let apart = most_apart(&netpbm(&picture, specimen.canvas), &specimen.image(Simd::detect()));
        assert!(apart <= 1, "specimen {at}: {apart} grey levels apart");
        colours += usize::from(specimen.canvas.channels == 3);
    }
    assert!(colours >= 8);
    // At another size, as `render` draws it.
    let (program, picture) = (scratch.path().join("elite.py"), scratch.path().join("elite.pgm"));
    call(runs(), &["export", "cppn", "--class", "4", "--out", program.to_str().unwrap(), "--force"]);
    let status = Command::new("python3").arg(&program).arg(&picture).args(["50", "40"]).status().unwrap();
    assert!(status.success());
    let png = scratch.path().join("render.png");
    call(runs(), &["render", "cppn", "--class", "4", "--size", "50x40", "--out", png.to_str().unwrap()]);
    let drawn = netpbm(&picture, Canvas { height: 40, width: 50, channels: 1 });
    assert!(most_apart(&drawn, &pictures::read_png(&png).unwrap().pixels) <= 1);
    let output = Command::new("python3").arg(&program).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).starts_with("usage: "));
}

/// A class name made to break out of comments and quotes.
const HOSTILE: &str = "a\"b'\\\n*/ --> <script>]]> \u{202e}\u{7}é // What is drawn\\";

fn hostile() -> Vec<Specimen> {
    let origin = Origin {
        archive_hash: 1,
        class: 3,
        class_name: HOSTILE.into(),
        confidence: 0.5,
        born: (0, 1),
        crops: 1,
        network: Some(HOSTILE.into()),
        weights_sha256: None,
    };
    specimens().into_iter().map(|specimen| Specimen { origin: Some(origin.clone()), ..specimen }).collect()
}

/// The shader as a whole program for naga: Shadertoy's own frame, in short.
fn whole_shader(text: &str) -> String {
    format!(
        "#version 450 core\nlayout(set = 0, binding = 0) uniform Toy {{ vec3 iResolution; }};\nlayout(location = 0) out vec4 target;\n{text}\n\
         void main() {{\n    vec4 colour;\n    mainImage(colour, gl_FragCoord.xy);\n    target = colour;\n}}\n"
    )
}

#[test]
fn shaders_are_valid() {
    use naga::front::glsl::{Frontend, Options};
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    let check = |text: &str| -> Result<(), String> {
        let module = Frontend::default()
            .parse(&Options::from(naga::ShaderStage::Fragment), &whole_shader(text))
            .map_err(|errors| format!("{errors:?}"))?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        validator.validate(&module).map(drop).map_err(|error| format!("{error:?}"))
    };
    let mut whole = 0;
    for specimen in hostile().iter().chain(&specimens()) {
        let text = glsl::text(specimen).unwrap();
        check(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(text.is_ascii());
        whole += 1;
        // It can fail.
        assert!(check(&text.replace("return vec3", "return vec2").replace("return colour", "return hue")).is_err());
    }
    assert!(whole >= 36);
}

/// What GLSL's types and functions are in C++, as far as the shaders use them.
const SHIM: &str = r#"
#include <cmath>
#include <cstdio>
#include <initializer_list>
struct vec2 { float x, y; vec2(float x, float y) : x(x), y(y) {} };
struct vec3 { float x, y, z; vec3(float v) : x(v), y(v), z(v) {} vec3(float x, float y, float z) : x(x), y(y), z(z) {}
              vec2 xy() const { return vec2(x, y); } };
struct vec4 { float x, y, z, w; vec4(vec3 v, float w) : x(v.x), y(v.y), z(v.z), w(w) {} };
vec2 operator*(float a, vec2 b) { return vec2(a * b.x, a * b.y); }
vec2 operator+(vec2 a, vec2 b) { return vec2(a.x + b.x, a.y + b.y); }
vec2 operator-(vec2 a, vec2 b) { return vec2(a.x - b.x, a.y - b.y); }
vec2 operator-(vec2 a, float b) { return vec2(a.x - b, a.y - b); }
vec2 operator/(vec2 a, vec2 b) { return vec2(a.x / b.x, a.y / b.y); }
vec2 operator/(vec2 a, float b) { return vec2(a.x / b, a.y / b); }
namespace glsl {
float max(float a, float b) { return a > b ? a : b; }
vec2 max(vec2 a, float b) { return vec2(max(a.x, b), max(a.y, b)); }
float min(float a, float b) { return a < b ? a : b; }
float length(vec2 a) { return sqrtf(a.x * a.x + a.y * a.y); }
float floor(float a) { return floorf(a); }
float abs(float a) { return fabsf(a); }
float sin(float a) { return sinf(a); }
float exp(float a) { return expf(a); }
float sign(float a) { return (a > 0.0f) - (a < 0.0f); }
float mod(float a, float b) { return a - b * floorf(a / b); }
float clamp(float a, float b, float c) { return min(max(a, b), c); }
vec3 iResolution(0.0f);
"#;

#[test]
fn shaders_draw_the_same_pixels() {
    let scratch = TempDir::new().unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let compile = |source: &str, program: &Path| {
        let file = scratch.path().join("shader.cpp");
        fs::write(&file, source).unwrap();
        let flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-fsingle-precision-constant", "-x", "c++"];
        Command::new(&compiler).args(flags).arg(&file).arg("-o").arg(program).output()
    };
    let program = scratch.path().join("shader");
    match compile("int main() { return sizeof(1.0) == 4 ? 0 : 1; }", &program) {
        Ok(output) if output.status.success() => {}
        _ => return left_out(&format!("{compiler} compiles no C++ with -fsingle-precision-constant")),
    }
    let (mut pixels, mut differing) = (0, 0);
    for (at, specimen) in specimens().iter().enumerate() {
        let text = glsl::text(specimen).unwrap();
        let text = text.replace("out vec4 fragColor, in vec2 fragCoord", "vec4& fragColor, vec2 fragCoord");
        let text = text.replace("iResolution.xy", "iResolution.xy()");
        let Canvas { width, height, channels } = specimen.canvas;
        let source = format!(
            "{SHIM}{text}}}\nint main() {{\n    glsl::iResolution = vec3({width}, {height}, 1);\n    \
             for (int y = 0; y < {height}; y++) for (int x = 0; x < {width}; x++) {{\n        \
             vec4 c(vec3(0.0), 0.0);\n        glsl::mainImage(c, vec2(x + 0.5, {height} - y - 0.5));\n        \
             for (float v : {{c.x, c.y, c.z}}) putchar(int(v * 255.0 + 0.5));\n    }}\n}}\n"
        );
        let output = compile(&source, &program).unwrap();
        assert!(output.status.success(), "{}\n{source}", String::from_utf8_lossy(&output.stderr));
        let drawn = Command::new(&program).output().unwrap().stdout;
        let image = specimen.image(Simd::detect());
        let rgb: Vec<u8> = match channels {
            1 => image.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => image,
        };
        assert_eq!(drawn.len(), rgb.len());
        pixels += rgb.len();
        let apart = drawn.iter().zip(&rgb).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        differing += apart;
        // A hue may turn at the edge of two bytes; all else is one grey level apart at most.
        assert!(
            apart * 200 <= rgb.len(),
            "specimen {at}: {apart} of {} values are more than one level apart",
            rgb.len()
        );
        if channels == 1 {
            assert_eq!(apart, 0, "specimen {at}");
        }
    }
    assert!(differing * 1000 <= pixels, "{differing} of {pixels}");
}

#[test]
fn graphs_are_whole_and_nothing_breaks_out_of_them() {
    let has_python = python3();
    let scratch = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        fs::write(scratch.path().join(name), text).unwrap();
        scratch.path().join(name)
    };
    for specimen in &hostile() {
        let graph = specimen.genome.graph().unwrap();
        let dot = dot::text(specimen).unwrap();
        assert_eq!(dot.matches(" -> ").count(), graph.edges.len());
        assert_eq!(
            dot.lines().filter(|line| line.contains("[label=") && !line.contains(" -> ")).count(),
            graph.n_nodes()
        );
        assert!(dot.is_ascii() && !dot.contains("<script>"));
        let svg = svg::text(specimen).unwrap();
        assert_eq!(svg.matches("<rect x=").count(), graph.n_nodes());
        assert_eq!(svg.matches(": weight ").count(), graph.edges.len());
        assert!(!svg.contains("<script>") && !svg.contains("NaN") && !svg.contains("inf"));
        let boxes: Vec<(f64, f64)> = svg
            .lines()
            .filter_map(|line| {
                let at = |key: &str| line.split(&format!(" {key}=\"")).nth(1)?.split('"').next()?.parse().ok();
                line.contains("<rect x=").then(|| (at("x").unwrap(), at("y").unwrap()))
            })
            .collect();
        for (i, a) in boxes.iter().enumerate() {
            let overlaps = |b: &&(f64, f64)| (a.0 - b.0).abs() < 92.0 && (a.1 - b.1).abs() < 40.0;
            assert_eq!(boxes[i + 1..].iter().find(overlaps), None, "two nodes lie on one another");
        }
        if has_python {
            let check = "import sys, xml.dom.minidom, ast\nxml.dom.minidom.parse(sys.argv[1])\nast.parse(open(sys.argv[2]).read())\n";
            let files = [write("graph.svg", &svg), write("elite.py", &python::text(specimen).unwrap())];
            let status = Command::new("python3").args(["-c", check]).args(files).status().unwrap();
            assert!(status.success());
        }
    }
}

// --- Runs that start from genomes ---

fn job(preset: Preset, seeds: &[u64]) -> Job {
    let config = Config { batch: 20, ..Config::preset(preset, Flavour::Faithful) };
    let network = Arc::new(pareidolia::network::weights::Files::default().load().unwrap());
    Job {
        seeds: seeds.to_vec(),
        batch: config.batch,
        canvas: Canvas::MNIST,
        encoding: config.encoding(),
        classes: (0..10).collect(),
        network,
        lineage: false,
    }
}

#[test]
fn the_first_candidates_are_those_to_start_from_and_the_others_the_random_ones() {
    for preset in [Preset::MnistCppn, Preset::MnistDirect] {
        let start: Arc<[Genome]> = (0..5)
            .map(|at| match preset {
                Preset::MnistCppn => Genome::Cppn(grown(at, &Rules::faithful(), 1, 50)),
                _ => {
                    let mut genes = vec![0.0; 784];
                    direct::random(Simd::Plain, &mut genes, &Philox::new(99), at as u32);
                    Genome::Direct(genes)
                }
            })
            .collect();
        let seeds = [3, 4];
        let backend = |chunk| CpuBackend::new(job(preset, &seeds), Options { simd: Simd::detect(), chunk }).unwrap();
        let mut random = backend(40);
        random.randomise(0..40).unwrap();
        let mut started = backend(40);
        started.start_from(Arc::clone(&start));
        started.randomise(0..40).unwrap();
        for place in 0..40 {
            let want = start.get(place % 20).cloned().unwrap_or_else(|| random.genome(place));
            assert!(started.genome(place) == want, "{preset:?}, place {place}");
        }
        // Whole generations, whatever the chunk.
        let archives: Vec<Vec<Archive>> = [40, 6, 18]
            .map(|chunk| {
                let mut backend = backend(chunk);
                backend.start_from(Arc::clone(&start));
                (0..3).for_each(|_| backend.generation().unwrap());
                (0..2).map(|run| backend.archive(run).unwrap()).collect()
            })
            .into();
        assert_eq!(archives[0], archives[1]);
        assert_eq!(archives[0], archives[2]);
        let born_first = archives[0]
            .iter()
            .flat_map(|archive| &archive.elites)
            .filter(|elite| elite.born.0 == 0 && elite.born.1 < 5);
        for elite in born_first {
            assert_eq!(elite.genome, start[elite.born.1 as usize]);
        }
    }
}

#[test]
fn a_run_goes_on_where_another_stopped_and_is_what_it_starts_from() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let path = |name: &str| scratch.path().join(name);
    let of = Manifest::read(&runs.join("cppn/run.json")).unwrap();
    let cppn = runs.join("cppn").to_str().unwrap().to_owned();
    let short = ["--generations", "3", "--seed", "9", "--start"];
    let begin = |name: &str, start: &[&str], more: &[&str]| evolve(&path(name), &[more, &short, start].concat());

    let started = begin("started", &[&cppn], &[]);
    let n = of.distinct_genomes as u32;
    let record = started.configuration.start.clone().unwrap();
    assert_eq!(record.genomes, n);
    assert_eq!(record.sha256.len(), 64);
    for (then, now) in of.classes.iter().zip(&started.classes) {
        assert!(now.confidence >= then.confidence, "class {}: {} then {}", now.class, then.confidence, now.confidence);
    }
    let random = evolve(&path("random"), &["--generations", "3", "--seed", "9"]);
    assert_ne!(random.archive_hash, started.archive_hash);
    assert_eq!(random.configuration.start, None);

    // From its elites as JSON, in the order of their names, which is that of their classes: the same run, but for elites of several classes.
    call(runs, &["export", "cppn", "--out", path("genomes").to_str().unwrap()]);
    let genomes = path("genomes").to_str().unwrap().to_owned();
    if n == 10 {
        assert_eq!(begin("from-json", &[&genomes], &[]).archive_hash, started.archive_hash);
    }
    let files: Vec<String> = names(&path("genomes")).iter().map(|name| format!("{genomes}/{name}")).collect();
    let forwards = begin("forwards", &[&files[2], &files[7]], &[]);
    let backwards = begin("backwards", &[&files[7], &files[2]], &[]);
    // The same elites in the same niches, but born as other candidates.
    assert_ne!(forwards.configuration.start, backwards.configuration.start);
    assert_eq!(
        begin("again", &[&files[2], &files[7]], &["--chunk", "6", "--simd", "plain"]).archive_hash,
        forwards.archive_hash
    );

    // A series starts each of its runs there; a run of it is that run alone.
    let mut series =
        pareidolia(&["evolve", "--batch", "40", "--no-pictures", "--runs", "2", "--generations", "3", "--seed", "8"]);
    series.arg("--out").arg(path("series")).args(["--start", &files[2], &files[7]]);
    run(series, 0);
    assert_eq!(Manifest::read(&path("series/seed9/run.json")).unwrap().archive_hash, forwards.archive_hash);

    // Resumed it needs nothing else; a call that starts from others is another run.
    fs::rename(path("genomes"), path("moved")).unwrap();
    let resumed =
        call(scratch.path(), &["evolve", "--resume", "forwards", "--generations", "5", "--json", "--no-pictures"]);
    let resumed: Manifest = serde_json::from_str(&resumed).unwrap();
    let moved: Vec<String> = [2, 7].map(|at| files[at].replace("genomes", "moved")).into();
    let whole = ["--generations", "5", "--seed", "9", "--start", &moved[0], &moved[1]];
    assert_eq!(evolve(&path("whole"), &whole).archive_hash, resumed.archive_hash);
    assert_eq!(resumed.configuration.start, forwards.configuration.start);
    for start in [&["--start", &moved[0]][..], &[]] {
        let args =
            ["evolve", "--batch", "40", "--seed", "9", "--generations", "5", "--out", "forwards", "--resume-or-start"];
        refused(scratch.path(), 1, &[&args, start].concat(), "the checkpoint is of another run: start");
    }
    refused(scratch.path(), 2, &["evolve", "--resume", "forwards", "--start", &moved[0]], "cannot be used with");
    // From a run that is not finished: its checkpoint.
    fs::remove_file(path("forwards/run.json")).unwrap();
    evolve(&path("from-checkpoint"), &["--generations", "1", "--start", path("forwards").to_str().unwrap()]);
}

#[test]
fn a_series_that_was_stopped_before_its_first_generation_still_knows_what_it_starts_from() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let path = |name: &str| scratch.path().join(name);
    let cppn = runs.join("cppn").to_str().unwrap().to_owned();
    let args = |out: &str| {
        let mut command =
            pareidolia(&["evolve", "--batch", "40", "--no-pictures", "--runs", "2", "--generations", "2", "--json"]);
        command.arg("--out").arg(path(out)).args(["--start", &cppn]);
        command
    };
    let summary = |text: &str| serde_json::from_str::<Value>(text).unwrap()["runs"].clone();
    let whole = summary(&run(args("whole"), 0).0);
    run(args("cut"), 0);
    for file in
        ["summary.json", "seed1/run.json", "seed1/checkpoint", "seed1/metrics.jsonl", "seed1/archive.safetensors"]
    {
        fs::remove_file(path("cut").join(file)).unwrap();
    }
    let resume = |more: &[&str]| {
        let mut command = pareidolia(&["evolve", "--no-pictures", "--json", "--resume"]);
        command.arg(path("cut")).args(more);
        command
    };
    // A bit of it is wrong.
    let file = path("cut/start_genomes");
    let good = fs::read(&file).unwrap();
    let bad: Vec<u8> = good.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == good.len() / 2)).collect();
    fs::write(&file, bad).unwrap();
    fails(resume(&[]), 1, "its SHA-256 does not fit its content");
    fs::write(&file, good).unwrap();
    let resumed = summary(&run(resume(&[]), 0).0);
    for at in 0..2 {
        assert_eq!(resumed[at]["archive_hash"], whole[at]["archive_hash"], "run {at}");
    }
    let mut other =
        pareidolia(&["evolve", "--batch", "40", "--runs", "2", "--generations", "2", "--resume-or-start", "--out"]);
    other.arg(path("whole"));
    fails(other, 1, "its runs start from");
}

#[test]
fn what_a_run_cannot_start_from_is_refused_by_name() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let path = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let [cppn, direct] = ["cppn", "direct"].map(|name| runs.join(name).to_str().unwrap().to_owned());
    let mut genes = vec![0.5; 16];
    genes[3] = 0.25;
    let canvas = Canvas { height: 4, width: 4, channels: 1 };
    let write = |name: &str, specimen: &Specimen| fs::write(path(name), json::text(specimen).unwrap()).unwrap();
    write("small.json", &Specimen { canvas, genome: Genome::Direct(genes), settings: None, origin: None });
    write("colour.json", &cppn_of(COLOUR));
    write("large.json", &cppn_of(Canvas { height: 56, width: 56, channels: 1 }));
    let settings = Some(Settings { normalise: true, max_weight: 10.0 });
    write("modern.json", &Specimen { settings, ..cppn_of(Canvas::MNIST) });
    let settings = Some(Settings { normalise: false, max_weight: 5.0 });
    write("light.json", &Specimen { settings, ..cppn_of(Canvas::MNIST) });
    for (args, what) in [
        (vec!["--start", &direct], "is a direct genome, mnist-cppn evolves CPPNs"),
        (vec!["mnist-direct", "--start", &cppn], "is a CPPN, mnist-direct evolves direct genomes"),
        (vec!["mnist-direct", "--start", &path("small.json")], "is of 4x4 pixels, the run draws 28x28"),
        (vec!["--start", &path("colour.json")], "colour.json: draws in colour, mnist-cppn in grey"),
        (vec!["--start", &path("modern.json")], "modern.json: was drawn with cppn.normalise=true, the run has false"),
        (vec!["--flavour", "modern", "--start", &cppn], "was drawn with cppn.normalise=false, the run has true"),
        (vec!["--start", &path("light.json")], "light.json: was drawn with cppn.max_weight=5, the run has 10"),
        (vec!["--set", "cppn.max_nodes=6", "--start", &cppn], "the run has room for 6; --set cppn.max_nodes="),
        (vec!["--set", "cppn.max_edges=4", "--start", &cppn], "the run has room for 4; --set cppn.max_edges="),
        (vec!["--batch", "2", "--start", &cppn], "a generation has 2 candidates; raise --batch to"),
    ] {
        let args = [&["evolve", "--generations", "0", "--out", "run"], &args[..]].concat();
        refused(scratch.path(), 1, &args, what);
        assert!(!scratch.path().join("run").exists());
    }
    // Another size of canvas is said, and done.
    let mut command = pareidolia(&[
        "evolve",
        "--generations",
        "0",
        "--no-pictures",
        "--out",
        &path("run"),
        "--start",
        &path("large.json"),
    ]);
    command.current_dir(scratch.path());
    let (_, log) = run(command, 0);
    assert!(log.contains("was drawn on 56x56 pixels, the run draws 28x28"), "{log}");
    assert_eq!(
        call(scratch.path(), &["evolve", "--dry-run", "--start", &path("large.json")]),
        call(scratch.path(), &["evolve", "--dry-run"])
    );
    refused(scratch.path(), 1, &["evolve", "--start", &path("run"), &path("none")], "none: cannot read");
}

fn cppn_of(canvas: Canvas) -> Specimen {
    cppn(grown(1, &Rules::faithful(), canvas.channels, 20), &Rules::faithful(), canvas)
}

// --- Merging ---

#[test]
fn a_merged_archive_has_the_best_of_each_class_and_everyone_reads_it() {
    let scratch = TempDir::new().unwrap();
    let path = |name: &str| scratch.path().join(name);
    evolve(&path("a"), &["--generations", "20", "--seed", "1"]);
    evolve(&path("b"), &["--generations", "30", "--seed", "2"]);
    evolve(&path("some"), &["--generations", "10", "--seed", "3", "--classes", "2,5"]);
    let merged = call(scratch.path(), &["merge", "a", "b", "some", "--out", "c", "--json"]);
    let merged: Manifest = serde_json::from_str(&merged).unwrap();
    let [a, b, some, c] = ["a", "b", "some", "c"].map(|name| archive(&path(name)));
    assert_eq!((c.generation, c.hash()), (30, merged.archive_hash));
    let mut won = [0; 3];
    for (niche, elite) in c.elites.iter().enumerate() {
        let class = c.classes[niche];
        let candidates = [&a, &b, &some].map(|archive| {
            let niche = archive.classes.iter().position(|&other| other == class)?;
            Some(&archive.elites[niche])
        });
        let p = |at: usize| candidates[at].map_or(-1.0, |elite| elite.probabilities[class as usize]);
        let best = (0..3).fold(0, |best, at| if p(at) > p(best) { at } else { best });
        assert_eq!(elite, candidates[best].unwrap(), "class {class}");
        won[best] += 1;
    }
    assert_eq!(merged.merged.iter().map(|run| run.classes_won).collect::<Vec<_>>(), won);
    assert!(won[0] > 0 && won[1] > 0, "{won:?}: nothing was merged");
    assert!(path("c/contact_sheet.png").exists() && !path("c/convergence.png").exists());
    assert_eq!(serde_json::to_value(Manifest::read(&path("c/run.json")).unwrap()).unwrap()["stopped_by"], "merged");

    // Everyone reads it.
    let judged = call(scratch.path(), &["classify", "c", "--top", "1"]);
    assert_eq!(judged.matches(", as recorded").count(), 10, "{judged}");
    call(scratch.path(), &["render", "c", "--class", "3", "--out", "three.png"]);
    call(scratch.path(), &["export", "c", "--out", "genomes"]);
    call(scratch.path(), &["transfer", "c", "--out", "transfer"]);
    let on = evolve(&path("on"), &["--generations", "0", "--start", path("c").to_str().unwrap()]);
    assert!(on.classes.iter().zip(&merged.classes).all(|(on, merged)| on.confidence >= merged.confidence));
    // In the order named the earlier wins of equals; merging what was merged changes nothing but the generation.
    let twice = call(scratch.path(), &["merge", "c", "a", "b", "some", "--out", "d", "--json", "--no-pictures"]);
    let twice: Manifest = serde_json::from_str(&twice).unwrap();
    assert_eq!((twice.archive_hash, twice.merged[0].classes_won), (merged.archive_hash, 10));
    let part = call(scratch.path(), &["merge", "some", "a", "--out", "e"]);
    assert!(part.contains("classes from"), "{part}");
    refused(scratch.path(), 1, &["evolve", "--resume", "c"], "no checkpoint");
}

#[test]
fn what_cannot_be_merged_is_refused_by_name() {
    let (runs, scratch) = (runs(), TempDir::new().unwrap());
    let path = |name: &str| scratch.path().join(name);
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/lenet-mnist-2.safetensors");
    let cppn = runs.join("cppn").to_str().unwrap().to_owned();
    let direct = runs.join("direct").to_str().unwrap().to_owned();
    evolve(&path("other"), &["--generations", "1", "--weights", weights]);
    evolve(&path("twin"), &["--generations", "2", "--seed", "5", "--weights", weights]);
    evolve(&path("modern"), &["--generations", "1", "--flavour", "modern"]);
    evolve(&path("light"), &["--generations", "1", "--set", "cppn.max_weight=5"]);
    evolve(&path("good"), &["--generations", "1"]);
    let copy = |from: &str, to: &str| {
        fs::create_dir(path(to)).unwrap();
        for name in ["archive.safetensors", "run.json"] {
            fs::copy(path(from).join(name), path(to).join(name)).unwrap();
        }
    };
    for (args, code, what) in [
        (vec![&cppn[..], "other"], 1, "its network is lenet"),
        (vec![&cppn, &direct], 1, "its encoding is direct, there it is cppn"),
        (vec![&cppn, "modern"], 1, "its cppn.normalise is true, there it is false"),
        (vec![&cppn, "light"], 1, "its cppn.max_weight is 5, there it is 10"),
        (vec![&cppn], 2, "is the only run"),
        (vec![&cppn, "good", "good/../good"], 2, "is there twice"),
        (vec![&cppn, "nothing"], 1, "nothing: cannot open"),
        (vec![&cppn, "."], 1, "neither the folder of a run"),
        (vec![&cppn, "good", "--weights", weights], 1, "name theirs with --weights"),
    ] {
        refused(scratch.path(), code, &[&["merge", "--out", "c"], &args[..]].concat(), what);
        assert!(!path("c").exists(), "{args:?}");
    }
    // The network is found by the first run's checkpoint; where there is none, it is to be named.
    call(scratch.path(), &["merge", "other", "twin", "--out", "both", "--no-pictures"]);
    copy("other", "bare");
    refused(scratch.path(), 1, &["merge", "bare", "twin", "--out", "c"], "name theirs with --weights");
    call(scratch.path(), &["merge", "bare", "twin", "--out", "named", "--weights", weights, "--no-pictures"]);
    assert_eq!(archive(&path("named")), archive(&path("both")));
    refused(scratch.path(), 1, &["merge", &cppn, "good", "--out", "both"], "is not empty");

    // What was recorded does not come out again: an elite whose probabilities are others, and all hashes made to fit.
    copy("good", "false");
    let file = path("false/archive.safetensors");
    let (mut archive, about) = archive_file::read(&file).unwrap();
    let elite = Arc::make_mut(&mut archive.elites[4]);
    elite.probabilities[4] = 0.999;
    elite.content_hash = pareidolia::archive::content_hash(&elite.probabilities, &elite.image, &elite.genome);
    archive_file::write(&file, &archive, &about).unwrap();
    let mut manifest = Manifest::read(&path("false/run.json")).unwrap();
    refused(scratch.path(), 1, &["merge", &cppn, "false", "--out", "c"], "is not the archive of the run");
    manifest.archive_hash = archive.hash();
    fs::write(path("false/run.json"), manifest.to_json()).unwrap();
    refused(
        scratch.path(),
        1,
        &["merge", &cppn, "false", "--out", "c"],
        "gives the elite of class 4 other probabilities",
    );
    // Nor does a picture that its genome does not draw.
    let elite = Arc::make_mut(&mut archive.elites[4]);
    elite.image[99] ^= 1;
    elite.content_hash = pareidolia::archive::content_hash(&elite.probabilities, &elite.image, &elite.genome);
    archive_file::write(&file, &archive, &about).unwrap();
    manifest.archive_hash = archive.hash();
    fs::write(path("false/run.json"), manifest.to_json()).unwrap();
    refused(scratch.path(), 1, &["merge", &cppn, "false", "--out", "c"], "the genome of class 4 draws another image");
    let unfinished: PathBuf = path("good/run.json");
    fs::remove_file(unfinished).unwrap();
    refused(scratch.path(), 1, &["merge", &cppn, "good", "--out", "c"], "finish it: pareidolia evolve --resume good");
    assert!(!path("c").exists());
}
