//! Files made to hurt: no reader panics on them, or takes more memory for one than a small multiple of its size.
//!
//! The limits are those of the fuzz targets (fuzz/src/memory.rs). The files made here are larger than those that a fuzzer tries, so
//! that no constant hides a factor. The small ones in fuzz/corpus are where the fuzzer begins; after a change of a format
//! `PAREIDOLIA_WRITE_CORPORA=1 cargo test --release --test hostile_files corpora` writes them anew.

#[path = "../fuzz/src/files.rs"]
mod files;
#[path = "common/list.rs"]
mod list;
#[path = "../fuzz/src/memory.rs"]
mod memory;

use list::TINY;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use memory::{Limit, limits};
use pareidolia::archive::{Archive, Elite, content_hash};
use pareidolia::dataset::{IdxImages, IdxLabels};
use pareidolia::error::{Error, Result};
use pareidolia::experiment::config::{Config, Flavour, Preset, Setting};
use pareidolia::genome::cppn::{self, Activation, Edge, Graph, Scratch};
use pareidolia::genome::exchange::{Origin, Settings, Specimen, json as genome_json};
use pareidolia::genome::{Canvas, Encoding, Genome, direct};
use pareidolia::network::list::List;
use pareidolia::network::weights::Files;
use pareidolia::network::{Crops, Network, lenet, shapes};
use pareidolia::output::{About, Checkpoint, archive_file};
use pareidolia::rng::Philox;
use pareidolia::simd::Simd;
use serde_json::{Map, Value, json};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Length of the lists in large files.
const N: usize = 1 << 18;

fn config(text: &[u8]) -> Result<Config> {
    let text = str::from_utf8(text).expect("corpora are UTF-8");
    Setting::read_text(text, "run.toml").and_then(|settings| Config::resolve(&settings))
}

fn idx(file: &[u8]) -> (Limit, Result<()>) {
    let limit = if file.starts_with(&[0x1f, 0x8b]) { limits::IDX_GZIP } else { limits::IDX };
    let images = limit.hold(file.len(), || IdxImages::from_bytes(file).map(drop));
    (limit, images.or_else(|_| limit.hold(file.len(), || IdxLabels::from_bytes(file).map(drop))))
}

/// Reads `file` within `limit`. It must be accepted if `want` is empty, else refused in one short line that says `want`.
#[track_caller]
fn assert_read<T>(limit: Limit, file: &[u8], read: impl Fn(&[u8]) -> Result<T>, want: &str) {
    match limit.hold(file.len(), || read(file).map(drop)) {
        Ok(()) => assert!(want.is_empty(), "accepted, want {want:?}"),
        Err(error) => {
            let line = error.to_string();
            assert!(!want.is_empty() && line.contains(want), "want {want:?} in {line:?}");
            assert!(!line.contains('\n') && line.len() < 2000, "not one short line: {line:?}");
        }
    }
}

// --- configurations ---

#[test]
fn configurations_take_a_small_multiple_of_their_size() {
    let numbered = |text: &str, n: usize| (0..n).map(|i| text.replace('N', &i.to_string())).collect::<String>();
    for (text, want) in [
        (format!("classes = [{}]", "1,".repeat(N)), "classes"),
        (format!("classes = \"{}9\"", "0-65535,".repeat(N / 4)), "classes"),
        (format!("classes = \"{}9\"", "7,".repeat(N)), "classes"),
        (format!("classes = [{}]", numbered("N,", 1 << 16)), ""),
        ("classes = \"0-65535\"".to_string(), ""),
        (format!("{} = 1", "k".repeat(N)), "unknown key"),
        (format!("batch = \"{}\"", "very \\n long ".repeat(N / 8)), "batch"),
        (format!("batch = [{}]", "'',".repeat(N / 4)), "batch"),
        (format!("batch = [{}]", "{},".repeat(N / 4)), "batch"),
        (format!("batch = {}", "[".repeat(N)), "not TOML"),
        (format!("{}a = 1", "a.".repeat(N)), "not TOML"),
        // Once a quadratic amount of memory: the name of the table before that of each key.
        (format!("[{}]\n{}", "long".repeat(N / 8), numbered("kN = 1\n", N / 16)), "unknown key"),
        (numbered("kN = 1\n", N / 8), "unknown key"),
        (numbered("[N]\n", N / 8), "unknown key"),
        ("[[a]]\n".repeat(N / 4), "unknown key"),
        ("\n".repeat(N), ""),
        ("=".repeat(N), "not TOML"),
        (format!("seed = {}", "9".repeat(N)), "not TOML"),
    ] {
        assert_read(limits::CONFIG, text.as_bytes(), config, want);
    }
}

#[test]
fn a_configuration_file_without_end_is_refused() {
    let error = Setting::read_file(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("larger than 1048576 bytes"), "{error}");
}

// --- genomes ---

/// x to a hidden node to the output.
fn tiny_genome() -> Specimen {
    let edge = |source, target| Edge { source, target, gene: 0.75 };
    let activations = vec![Activation::Sine; 6];
    Specimen {
        canvas: Canvas { height: 2, width: 2, channels: 1 },
        genome: Genome::Cppn(Graph { n_outputs: 1, activations, edges: vec![edge(0, 5), edge(5, 4)] }),
        settings: Some(Settings { normalise: false, max_weight: 10.0 }),
        origin: None,
    }
}

#[test]
fn genomes_take_a_small_multiple_of_their_size() {
    let text = genome_json::line(&tiny_genome()).unwrap();
    let bare = text.replace("\"steps\": 3,", "");
    let nodes = |n: usize| -> String { (6..n).map(|id| format!(r#",{{"id":{id},"activation":"sine"}}"#)).collect() };
    let with = |list: &str, more: String| {
        let at = bare.find(&format!("\"{list}\"")).unwrap();
        let end = at + bare[at..].find(']').unwrap();
        format!("{}{more}{}", &bare[..end], &bare[end..])
    };
    let edge = r#",{"from":0,"to":4,"gene":0}"#;
    let chain: String = (6..1 << 16).map(|id| format!(r#",{{"from":{},"to":{id},"gene":1}}"#, id - 1)).collect();
    let genes = |n: usize| {
        let head = text[..text.find("\"canvas\"").unwrap()].replace("cppn", "direct");
        format!(
            "{head}\"canvas\":{{\"height\":512,\"width\":512,\"channels\":1}},\"genes\":[0{}]}}",
            ",0".repeat(n - 1)
        )
    };
    let head = "{\"format\":\"pareidolia genome\",\"version\":1,\"arithmetic_version\":1";
    for (text, want) in [
        (bare.clone(), ""),
        (with("nodes", nodes(1 << 16)), ""),
        (with("nodes", nodes((1 << 16) + 1)), "a list of more than 65536"),
        (with("edges", edge.repeat(N)), ""),
        (with("edges", edge.repeat(1 << 20)), "a list of more than 1048576"),
        (with("nodes", nodes(1 << 16)).replacen(r#"],"edges": ["#, &format!(r#"],"edges": [{},"#, &chain[1..]), 1), ""),
        (genes(N), ""),
        (genes(2 * N), "has 524288 genes"),
        (format!("{head},\"origin\":{}", "[".repeat(N)), "line 1"),
        (format!("{head},\"origin\":{{\"class_name\":\"{}\"}}}}", "very long ".repeat(N)), "missing field"),
        (format!("{head},\"{}\":1}}", "k".repeat(N)), "unknown field"),
        (format!("{{{}}}", "\"a\":1,".repeat(N)), "not a genome in JSON"),
        (" ".repeat(N), "not a genome in JSON"),
    ] {
        let read = |text: &[u8]| {
            genome_json::parse(text).map_err(|reason| Error::file(Path::new("genome.json"), one_line(&reason)))
        };
        assert_read(limits::GENOME, text.as_bytes(), read, want);
    }
}

/// As the program shortens what it says.
fn one_line(reason: &str) -> String {
    reason.chars().take(300).collect()
}

// --- safetensors ---

fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// The header of a file of such metadata and no tensor.
fn of_metadata(metadata: Value) -> Vec<u8> {
    safetensors(&json!({ "__metadata__": metadata }).to_string(), &[])
}

/// The header of a LeNet of ten classes, without its data.
fn lenet_header(metadata: Value, mean: bool) -> Vec<u8> {
    let mut header = Map::from_iter([("__metadata__".to_string(), metadata)]);
    let mut end = 0;
    let mut tensor = |name: String, shape: &[usize]| {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    };
    let layers = lenet::layers(10);
    let inputs = shapes(lenet::INPUT, &layers).unwrap();
    for (name, shape) in layers.iter().zip(&inputs).filter_map(|(layer, &input)| layer.weight(input)) {
        tensor(format!("{name}.weight"), &shape);
        tensor(format!("{name}.bias"), &shape[..1]);
    }
    if mean {
        tensor("mean".to_string(), &[1, 28, 28]);
    }
    safetensors(&Value::from(header).to_string(), &[])
}

#[test]
fn weights_take_a_small_multiple_of_their_size() {
    let read = |file: &[u8]| Network::from_bytes(file, None);
    let listed = |item: &str, n: usize| {
        let items: Vec<String> = (0..n).map(|i| item.replace('#', &i.to_string())).collect();
        items.join(",")
    };
    let empty = "\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]";
    for (header, want) in [
        (format!("{{{}}}", listed(&format!("\"#\":{{{empty}}}"), N / 32)), "names no network"),
        (
            format!("{{\"a\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[0,0]}}}}", listed("0", N)),
            "names no network",
        ),
        (format!("{{\"__metadata__\":{{{}}}}}", listed("\"#\":\"\"", N / 8)), "names no network"),
        (format!("{{\"a\":{}", "[".repeat(N)), "recursion limit"),
        (format!("{{\"a\":{{\"dtype\":\"{}\"}}}}", "\\n".repeat(N)), "not a safetensors file"),
        (format!("{{\"__metadata__\":{{\"network\":\"{}\"}}}}", "x".repeat(N)), "is not known"),
    ] {
        assert_read(limits::WEIGHTS, &safetensors(&header, &[]), read, want);
    }
    for length in [N as u64, 1 << 24, 1 << 62, u64::MAX] {
        assert_read(limits::WEIGHTS, &length.to_le_bytes(), read, "truncated");
    }
    for (key, value, want) in [
        ("source", "anybody".to_string(), ""),
        ("class_names", "a\n".repeat(N), "10 names, one a line"),
        ("mean_bgr", "1,".repeat(N), "1 numbers"),
        ("network", "1 (".repeat(N), "is not known"),
        ("input", "1x".repeat(N), "begins with 1x28x28"),
        ("classes", u64::MAX.to_string(), "it has too many weights"),
        ("input_scale", "1".repeat(N), "above 0"),
    ] {
        let file = files::fill_tensors(&lenet_header(json!({ key: value }), false)).unwrap();
        assert_read(limits::WEIGHTS, &file, read, want);
    }
}

const FIRST_LINE: &[u8] = b"pareidolia checkpoint 1\n";

/// An archive of these genomes, a class each, drawn on nothing in particular.
fn archive(genomes: Vec<Genome>, canvas: Canvas) -> Archive {
    let n = genomes.len();
    let elite = |(class, genome)| {
        let probabilities: Vec<f32> = (0..n).map(|i| (i + class) as f32 / (2 * n) as f32).collect();
        let image = vec![7; canvas.len()];
        let content_hash = content_hash(&probabilities, &image, &genome);
        Arc::new(Elite { probabilities, image, genome, born: (3, class as u32), content_hash })
    };
    Archive {
        generation: 4,
        classes: (0..n as u32).collect(),
        elites: genomes.into_iter().enumerate().map(elite).collect(),
    }
}

fn archive_bytes(genomes: Vec<Genome>, canvas: Canvas, encoding: Encoding) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.safetensors");
    let class_names = (0..genomes.len()).map(|class| class.to_string()).collect();
    archive_file::write(&path, &archive(genomes, canvas), &About { canvas, encoding, crops: Crops::One, class_names })
        .unwrap();
    fs::read(path).unwrap()
}

#[test]
fn archives_take_a_small_multiple_of_their_size() {
    let pixel = Canvas { height: 1, width: 1, channels: 1 };
    let rules = cppn::Rules { max_nodes: 1 << 16, max_edges: 1 << 20, ..cppn::Rules::faithful() };
    let cppn = |n_genomes: usize, n_hidden: usize, n_edges: usize| {
        let edge = |i: usize| Edge { source: (i % 4) as u16, target: (4 + i % (1 + n_hidden)) as u16, gene: 0.5 };
        let activations = vec![Activation::Sine; 5 + n_hidden];
        let graph = Graph { n_outputs: 1, activations, edges: (0..n_edges).map(edge).collect() };
        archive_bytes(vec![Genome::Cppn(graph); n_genomes], pixel, Encoding::Cppn(rules.clone()))
    };
    let direct =
        || archive_bytes(vec![Genome::Direct(vec![0.5]); 300], pixel, Encoding::Direct(direct::Rules::default()));
    for file in
        [direct(), cppn(300, 0, 0), cppn(1, 60_000, 0), cppn(1, 60_000, 60_000), cppn(1, 0, N), cppn(9, 500, 600)]
    {
        assert_read(limits::CHECKPOINT, &file, archive_file::from_bytes, "");
    }

    let of = |key: &str, value: String| {
        let mut metadata = json!({
            "format": "pareidolia archive 1", "arithmetic_version": "1", "generation": "1", "archive_hash": "",
            "encoding": "cppn", "rules": serde_json::to_string(&rules).unwrap(), "class_names": "[]",
            "canvas": "{\"height\":1,\"width\":1,\"channels\":1}",
        });
        metadata[key] = value.into();
        of_metadata(metadata)
    };
    for (file, want) in [
        (of("format", "\u{1b}".repeat(N)), "\"format\" is"),
        (of("encoding", "\n".repeat(N)), "\"encoding\" is"),
        (of("class_names", format!("[{}\"\"]", "\"\",".repeat(N))), "no tensor"),
        (of("canvas", format!("{{\"height\":{0},\"width\":{0},\"channels\":3}}", u64::MAX)), "no tensor"),
        (of("canvas", format!("{{\"x\":[{}0]}}", "0,".repeat(N))), "missing field"),
        (of("canvas", format!("{{\"x\":{}", "[".repeat(N))), "\"canvas\""),
    ] {
        assert_read(limits::CHECKPOINT, &file, archive_file::from_bytes, want);
    }
}

/// The state of a checkpoint of `config`, as JSON.
fn state(config: &Config) -> Value {
    json!({
        "arithmetic_version": 1, "generation": 1, "archive_hash": "", "evaluations": 1, "skipped": 1, "elapsed": 1.0,
        "replaced": 1, "started": "2023-11-14T22:13:20Z", "weights": null, "mean": null, "weights_sha256": "",
        "config": config,
    })
}

#[test]
fn checkpoints_take_a_small_multiple_of_their_size() {
    let config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
    let classes = |classes: Vec<u32>| state(&Config { classes, ..config.clone() }).to_string();
    let junk = |junk: String| format!("{{\"junk\":{junk},\"arithmetic_version\":1}}");
    for (state, want) in [
        (classes(vec![1; N]), "got 1 before 1"),
        (classes((0..1 << 16).collect()), "no tensor"),
        (junk(format!("[{}0]", "0,".repeat(N))), "missing field"),
        (junk("[".repeat(N)), "its state"),
        (junk(format!("{{{}\"\":0}}", "\"\":0,".repeat(N))), "missing field"),
    ] {
        let file = files::sign_checkpoint(FIRST_LINE, &of_metadata(json!({ "state": state })));
        assert_read(limits::CHECKPOINT, &file, Checkpoint::from_bytes, want);
    }
}

// --- IDX ---

fn idx_file(words: &[u32], bytes: &[u8]) -> Vec<u8> {
    [words.iter().flat_map(|word| word.to_be_bytes()).collect(), bytes.to_vec()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_files_take_a_small_multiple_of_their_size() {
    let labels = |announced: u32, n: usize| idx_file(&[2049, announced], &vec![1; n]);
    let noise: Vec<u8> = (0..N as u32).map(|i| (i.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
    let noise = idx_file(&[2051, N as u32 >> 4, 4, 4], &noise);
    for (file, want) in [
        (labels(N as u32, N), ""),
        (gzip(&labels(N as u32, N)), ""),
        (noise.clone(), ""),
        (gzip(&noise), ""),
        (labels(1 << 30, N), "it has 262144"),
        (gzip(&labels(1 << 20, 1 << 20)), ""), // a hundredth of a byte each: what any file may hold
        (gzip(&labels(1 << 26, 1 << 26)), "more than 100 times the"),
        (gzip(&labels(1 << 20, 1 << 26)), "it has more"),
    ] {
        let (limit, result) = idx(&file);
        match want {
            "" => result.unwrap(),
            want => assert_read(limit, &file, IdxLabels::from_bytes, want),
        }
    }
}

// --- layer lists ---

fn layers(file: &[u8]) -> Result<List, String> {
    List::parse(str::from_utf8(file).map_err(|error| error.to_string())?)
}

#[test]
fn layer_lists_take_a_small_multiple_of_their_size() {
    let list = |layers: String| TINY.split_once("layers").unwrap().0.to_string() + "layers = [" + &layers + "]";
    let some = N / 40;
    let chain: String = (0..some).map(|i| format!("{{name=\"{i}\",type=\"relu\"}},")).collect();
    let inputs = |n: usize| "\"input\",".repeat(n);
    for (text, want) in [
        (list(chain.clone()), "must be the softmax"),
        (list(format!("{chain}{{name=\"c\",type=\"dense\",outputs=4}},{{name=\"s\",type=\"softmax\"}}")), ""),
        (
            list(format!("{{name=\"c\",type=\"concat\",inputs=[{}]}},{{name=\"s\",type=\"softmax\"}}", inputs(N / 10))),
            "one a class",
        ),
        (list(format!("{{name=\"{}\",type=\"relu\"}}", "x".repeat(N))), "1 to 200 bytes"),
        (list("[".repeat(N)), "line 8"),
        (format!("mean=[{}]", "1,".repeat(N)), "line"),
        (format!("name=\"{}\"", "\\n".repeat(N)), "missing field"),
    ] {
        assert_read(limits::LAYERS, text.as_bytes(), |file| layers(file).map_err(Error::Usage), want);
    }
}

// --- fuzz/corpus ---

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Whether the reader of `target` accepts a file of its corpus.
fn accepts(target: &str, file: &[u8]) -> bool {
    match target {
        "weights" => [Some(file.to_vec()), files::fill_tensors(file)]
            .iter()
            .flatten()
            .any(|file| limits::WEIGHTS.hold(file.len(), || Network::from_bytes(file, None).is_ok())),
        "checkpoint" => {
            limits::CHECKPOINT.hold(file.len(), || Checkpoint::from_bytes(file).is_ok())
                || limits::CHECKPOINT.hold(file.len(), || archive_file::from_bytes(file).is_ok())
        }
        "idx" => idx(file).1.is_ok(),
        "config" => limits::CONFIG.hold(file.len(), || config(file).is_ok()),
        "genome" => limits::GENOME.hold(file.len(), || genome_json::parse(file).is_ok()),
        "layers" => limits::LAYERS.hold(file.len(), || layers(file).is_ok()),
        _ => panic!("no target {target:?}"),
    }
}

#[test]
fn the_good_files_of_the_corpora_are_accepted_and_the_others_refused() {
    for target in ["weights", "checkpoint", "idx", "config", "genome", "layers"] {
        let mut n_good = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            let path = entry.unwrap().path();
            let good = path.file_name().unwrap().to_str().unwrap().starts_with("good");
            assert_eq!(accepts(target, &fs::read(&path).unwrap()), good, "{}", path.display());
            n_good += usize::from(good);
        }
        assert!(n_good >= 2, "{target}: the fuzzer would begin with nothing that is accepted");
    }
}

#[test]
fn the_corpora_are_what_this_file_makes() {
    let anew = std::env::var_os("PAREIDOLIA_WRITE_CORPORA").is_some();
    let mut files: Vec<(&str, &str, Vec<u8>)> = Vec::new();

    let every_key = json!({
        "format": "caffe-lenet", "network": "lenet (Caffe)", "input": "1x1x28x28, grey", "input_scale": "0.00390625",
        "channel_order": "grey", "mean_bgr": "127.5", "classes": "10 digits", "class_names": "a\nb\nc\nd\ne\nf\ng\nh\ni\nj",
    });
    files.push(("weights", "good-no-metadata", lenet_header(json!({}), false)));
    files.push(("weights", "good-every-key", lenet_header(every_key.clone(), false)));
    files.push(("weights", "good-mean-image", lenet_header(json!({ "format": "pt" }), true)));
    files.push(("weights", "two-means", lenet_header(every_key, true)));
    files.push(("weights", "other-network", lenet_header(json!({ "format": "alexnet" }), false)));
    files.push(("weights", "some-classes", lenet_header(json!({ "classes": "4294967296" }), false)));
    files.push((
        "weights",
        "half",
        safetensors(r#"{"conv1.bias":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4]),
    ));
    files.push(("weights", "text", b"this is a text, and no weights file".to_vec()));

    let philox = Philox::new(7);
    let grown = |n_outputs: usize, candidate: u32| {
        let mut graph = Graph::random(n_outputs, &philox, candidate);
        for generation in 1..20 {
            graph.vary(&cppn::Rules::faithful(), &philox, candidate, generation, &mut Scratch::default());
        }
        Genome::Cppn(graph)
    };
    let random = |canvas: Canvas, candidate: u32| {
        let mut genes = vec![0.0; canvas.len()];
        direct::random(Simd::Plain, &mut genes, &philox, candidate);
        Genome::Direct(genes)
    };
    let checkpoint = |preset, flavour, genomes| {
        let config = Config::preset(preset, flavour);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let checkpoint = Checkpoint {
            archive: archive(genomes, Canvas::MNIST),
            config,
            files: Files { weights: Some("weights.safetensors".into()), ..Files::default() },
            weights_sha256: "5af2".to_string(),
            canvas: Canvas::MNIST,
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            evaluations: 1000,
            skipped: 5,
            elapsed: 0.7 + 0.1,
            replaced: 2,
        };
        checkpoint.write(&path).unwrap();
        fs::read(path).unwrap()
    };
    let cppn = checkpoint(Preset::MnistCppn, Flavour::Faithful, vec![grown(1, 0), grown(1, 1)]);
    files.push(("checkpoint", "damaged", cppn.iter().map(|&byte| if byte == b'7' { b'8' } else { byte }).collect()));
    files.push(("checkpoint", "good-cppn", cppn));
    let genome = random(Canvas::MNIST, 0);
    files.push(("checkpoint", "good-direct", checkpoint(Preset::MnistDirect, Flavour::Modern, vec![genome])));
    let canvas = Canvas { height: 2, width: 3, channels: 3 };
    let rules = Encoding::Cppn(cppn::Rules::modern());
    files.push(("checkpoint", "good-archive-cppn", archive_bytes(vec![grown(3, 2), grown(3, 3)], canvas, rules)));
    let rules = Encoding::Direct(direct::Rules::default());
    files.push((
        "checkpoint",
        "good-archive-direct",
        archive_bytes((0..3).map(|i| random(canvas, i)).collect(), canvas, rules),
    ));

    for (name, canvas, genome) in [
        ("good-grey", Canvas::MNIST, grown(1, 4)),
        ("good-colour", Canvas { height: 4, width: 5, channels: 3 }, grown(3, 5)),
        (
            "good-direct",
            Canvas { height: 4, width: 4, channels: 1 },
            random(Canvas { height: 4, width: 4, channels: 1 }, 6),
        ),
    ] {
        let settings = genome.graph().map(|_| Settings { normalise: canvas.channels == 3, max_weight: 10.0 });
        let origin = Origin {
            archive_hash: 7,
            class: 3,
            class_name: "tench".to_string(),
            confidence: 0.99,
            born: (20, 4),
            crops: 10,
            network: Some("lenet".to_string()),
            weights_sha256: Some("5af2".to_string()),
        };
        let specimen = Specimen { canvas, genome, settings, origin: Some(origin) };
        files.push(("genome", name, genome_json::text(&specimen).unwrap().into_bytes()));
    }
    let text = genome_json::text(&tiny_genome()).unwrap();
    files.push(("genome", "cut", text.as_bytes()[..text.len() / 2].to_vec()));
    files.push(("genome", "cycle", text.replace("\"to\": 4", "\"to\": 5").into_bytes()));
    files.push(("genome", "activation", text.replace("sine", "tanh").into_bytes()));
    files.push(("genome", "good-line", genome_json::line(&tiny_genome()).unwrap().into_bytes()));

    let images = idx_file(&[2051, 2, 3, 4], &(0..24).collect::<Vec<u8>>());
    let labels = idx_file(&[2049, 5], &[9, 0, 4, 4, 4]);
    files.push(("idx", "good-images.gz", gzip(&images)));
    files.push(("idx", "good-labels.gz", gzip(&labels)));
    files.push(("idx", "good-two-members.gz", [gzip(&labels[..9]), gzip(&labels[9..])].concat()));
    files.push(("idx", "cut.gz", gzip(&images).split_at(20).0.to_vec()));
    files.push(("idx", "bomb.gz", gzip(&idx_file(&[2049, 10], &[0; 1 << 20]))));
    files.push(("idx", "cut", images[..30].to_vec()));
    files.push(("idx", "huge", idx_file(&[2051, u32::MAX, u32::MAX, u32::MAX], &[])));
    files.push(("idx", "good-none", idx_file(&[2051, 0, 28, 28], &[])));
    files.push(("idx", "good-images", images));
    files.push(("idx", "good-labels", labels));

    for (name, preset, flavour) in
        [("good-direct", Preset::MnistDirect, Flavour::Faithful), ("good-cppn", Preset::MnistCppn, Flavour::Modern)]
    {
        files.push(("config", name, Config::preset(preset, flavour).to_toml().unwrap().into_bytes()));
    }
    for (name, text) in [
        (
            "good-words",
            "preset = 'mnist-cppn'\nflavour = \"modern\"\ntime = \"1h 30min\"\nclasses = \"3,5-7\"\ncppn = { normalise = true }\n",
        ),
        (
            "good-sets",
            "preset=\"mnist-direct\"\nseed=9223372036854775807\ndirect.crossover=\"none\"\ntarget=0.9999\nclasses=[9, 0]\n",
        ),
        ("good-every-class", "classes = \"0-65535\"\n"),
        ("numbers", "seed = 0x_f\nbatch = 1_00\ntime = inf\ntarget = -nan\nlog_every = 0b1\n"),
        (
            "strings",
            "preset = \"\"\"mnist-\\\n  cppn\"\"\"\nx = '''\n\\'''\n\"k\\u00e9y\" = 1979-05-27T07:32:00.5-07:00\n",
        ),
        ("tables", "[cppn.max_nodes]\nx = [1, [2, { a.b = 3 }]]\n[[direct]]\n"),
        ("words", "seed = 1 # one\nbatch = two\n"),
        ("small-weight", "cppn.max_weight = 1e-300\n"),
    ] {
        files.push(("config", name, text.as_bytes().to_vec()));
    }

    for (name, list) in [("good-lenet", "lenet"), ("good-caffenet", "caffenet"), ("good-squeezenet", "squeezenet")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/network/lists/{list}.toml"));
        files.push(("layers", name, fs::read(path).unwrap()));
    }
    files.push(("layers", "good-tiny", TINY.into()));
    files.push(("layers", "huge", TINY.replace("outputs = 6", "outputs = 9223372036854775807").into()));
    files.push(("layers", "no-window", TINY.replace("kernel = 2, stride = 2", "kernel = 9, stride = 9").into()));
    files.push(("layers", "no-use", TINY.replace("[\"right\", \"left\"]", "[\"right\", \"right\"]").into()));

    for (target, name, bytes) in files {
        assert!(bytes.len() < 20_000, "{target}/{name} has {} bytes", bytes.len());
        let path = corpus(target).join(name);
        if anew {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(path, bytes).unwrap();
        } else {
            let committed = fs::read(&path).unwrap_or_default();
            assert!(
                committed == bytes,
                "{}: run with PAREIDOLIA_WRITE_CORPORA=1 and commit what changed",
                path.display()
            );
        }
    }
}
