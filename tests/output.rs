//! What a run leaves behind: written, read back, damaged, locked, continued.

use pareidolia::archive::{ARITHMETIC_VERSION, Archive, Elite, Statistics, content_hash};
use pareidolia::error::{Error, Result};
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::genome::cppn::{Activation, Edge, Graph};
use pareidolia::genome::{Canvas, Encoding, Genome, cppn, direct};
use pareidolia::network::Crops;
use pareidolia::network::weights::Files;
use pareidolia::output::pictures::{elite_file, read_png, write_png};
use pareidolia::output::{
    About, Checkpoint, ClassResult, Manifest, Metrics, RunFolder, Stop, archive_file, atomic, confidence_text, metrics,
    run_folder,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const N_CLASSES: usize = 10;

fn elite(niche: u32, canvas: Canvas, genome: Genome) -> Arc<Elite> {
    let probabilities: Vec<f32> = (0..N_CLASSES as u32).map(|class| (1 + class * niche) as f32 / 100.0).collect();
    let image: Vec<u8> = (0..canvas.len()).map(|i| (i as u32 * (3 + niche)) as u8).collect();
    let content_hash = content_hash(&probabilities, &image, &genome);
    Arc::new(Elite { probabilities, image, genome, born: (2 + niche, 7 * niche), content_hash })
}

/// A graph of `hidden` nodes in a row; it has no edges where there are none.
fn graph(n_outputs: usize, hidden: usize) -> Graph {
    let first = cppn::N_INPUTS + n_outputs;
    let edge = |i: usize| Edge {
        source: if i == 0 { 0 } else { (first + i - 1) as u16 },
        target: (first + i) as u16,
        gene: 1.0 / (i + 1) as f32,
    };
    let activations = (0..first + hidden).map(|i| Activation::ALL[i % 4]).collect();
    Graph { n_outputs, activations, edges: (0..hidden).map(edge).collect() }
}

fn cppn_archive(canvas: Canvas, classes: &[u32]) -> Archive {
    let genome = |niche: u32| Genome::Cppn(graph(canvas.channels, niche as usize % 4));
    let elites = classes.iter().map(|&class| elite(class, canvas, genome(class))).collect();
    Archive { generation: 11, classes: classes.to_vec(), elites }
}

fn direct_archive(canvas: Canvas, classes: &[u32]) -> Archive {
    let genes = |niche: u32| (0..canvas.len()).map(|i| i as f32 / (canvas.len() + niche as usize) as f32).collect();
    let elites = classes.iter().map(|&class| elite(class, canvas, Genome::Direct(genes(class)))).collect();
    Archive { generation: 11, classes: classes.to_vec(), elites }
}

fn digits() -> Vec<String> {
    (0..N_CLASSES).map(|digit| digit.to_string()).collect()
}

fn about_cppn(canvas: Canvas) -> About {
    About { canvas, encoding: Encoding::Cppn(cppn::Rules::modern()), crops: Crops::One, class_names: digits() }
}

fn config() -> Config {
    let mut config = Config::preset(Preset::MnistCppn, Flavour::Faithful);
    config.seed = (1 << 62) + 1; // not an f64
    config.classes = vec![1, 3];
    config.target = 0.1 + 0.2; // 17 digits
    config
}

fn checkpoint() -> Checkpoint {
    let config = config();
    Checkpoint {
        archive: cppn_archive(Canvas::MNIST, &config.classes),
        config,
        files: Files { weights: Some("weights.safetensors".into()), ..Files::default() },
        weights_sha256: "5af2".to_owned(),
        canvas: Canvas::MNIST,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        evaluations: (1 << 60) + 1,
        skipped: 5,
        elapsed: 0.7 + 0.1,
        replaced: 2,
    }
}

fn manifest(archive: &Archive) -> Manifest {
    let config = config();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Manifest {
        version: "1.2.3".to_owned(),
        commit: "1a2b3c4".to_owned(),
        arithmetic_version: ARITHMETIC_VERSION,
        seed: config.seed,
        configuration: config,
        device: "cpu".to_owned(),
        device_reason: "it was asked for".to_owned(),
        threads: 2,
        simd: "AVX2".to_owned(),
        network: "LeNet".to_owned(),
        weights: "built in".to_owned(),
        weights_sha256: "5af2".to_owned(),
        random_weights: None,
        start: time,
        end: time + Duration::from_secs(60),
        seconds: 59.5,
        stopped_by: Stop::Evaluations,
        generation: archive.generation,
        evaluations: 2400,
        genomes_per_second: 40.5,
        statistics: Statistics::of(&archive.fitness()),
        distinct_genomes: archive.distinct(),
        operators_skipped_at_capacity: 3,
        lineage_insertions: None,
        planned_memory_bytes: 60_000_000,
        planned_device_memory_bytes: None,
        peak_memory_bytes: None,
        gpu: None,
        archive_hash: archive.hash(),
        classes: ClassResult::table(archive, &digits()),
    }
}

fn line(generation: u32) -> Metrics {
    let statistics = Statistics::of(&[0.25, 0.5, 0.999_95]);
    Metrics::new(generation, 200 * (u64::from(generation) + 1), &statistics, 3, 1234.5, 0x0123_4567_89ab_cdef)
}

/// The error's text; fails if there is none or if it has several lines.
#[track_caller]
fn refusal<T>(result: Result<T>) -> String {
    let text = result.err().expect("must be refused").to_string();
    assert!(!text.contains('\n'), "several lines: {text}");
    text
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

// Files and folders, whole or not at all

#[test]
fn atomic_write_leaves_the_old_file_when_it_fails() {
    let folder = temporary();
    let path = folder.path().join("file");
    atomic::write(&path, |file| file.write_all(b"old")).unwrap();
    let failure = atomic::write(&path, |file| {
        file.write_all(b"new")?;
        Err(std::io::Error::other("disk full"))
    });
    assert!(refusal(failure).contains("file: cannot write: disk full"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names_in(folder.path()), ["file"]);
}

#[test]
#[cfg(unix)]
fn atomic_write_gives_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = temporary();
    let (plain, atomic) = (folder.path().join("plain"), folder.path().join("atomic"));
    fs::write(&plain, "").unwrap();
    atomic::write(&atomic, |_| Ok(())).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&atomic), mode(&plain));
    fs::create_dir(folder.path().join("made")).unwrap();
    atomic::create_folder(&folder.path().join("folder"), |_| Ok(())).unwrap();
    assert_eq!(mode(&folder.path().join("folder")), mode(&folder.path().join("made")));
}

#[test]
fn create_folder_makes_nothing_when_it_fails() {
    let folder = temporary();
    let path = folder.path().join("elites");
    let failure = atomic::create_folder(&path, |folder| {
        fs::write(folder.join("a"), "").unwrap();
        Err(Error::Refused("no".to_owned()))
    });
    assert_eq!(refusal(failure), "no");
    assert!(names_in(folder.path()).is_empty());
    atomic::create_folder(&path, |folder| atomic::write_new(&folder.join("b"), |file| file.write_all(b"b"))).unwrap();
    assert_eq!((names_in(folder.path()), names_in(&path)), (vec!["elites".to_owned()], vec!["b".to_owned()]));
    // A folder with something in it is never replaced.
    assert!(refusal(atomic::create_folder(&path, |_| Ok(()))).contains("elites: cannot write"));
    assert_eq!(names_in(folder.path()), ["elites"]);
}

// archive.safetensors

#[test]
fn archive_file_round_trips() {
    let colour = Canvas { height: 5, width: 4, channels: 3 };
    let direct = |canvas| About {
        canvas,
        encoding: Encoding::Direct(direct::Rules::default()),
        crops: Crops::Ten,
        class_names: digits(),
    };
    let folder = temporary();
    let (path, again) = (folder.path().join("archive.safetensors"), folder.path().join("again"));
    for (archive, about) in [
        (cppn_archive(Canvas::MNIST, &[0, 1, 2, 3, 9]), about_cppn(Canvas::MNIST)),
        (cppn_archive(colour, &[0, 4]), about_cppn(colour)), // not an edge in either
        (direct_archive(Canvas::MNIST, &[0, 1, 2]), direct(Canvas::MNIST)),
        (direct_archive(colour, &[7]), direct(colour)),
    ] {
        archive_file::write(&path, &archive, &about).unwrap();
        assert_eq!(archive_file::read(&path).unwrap(), (archive.clone(), about.clone()));
        archive_file::write(&again, &archive, &about).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap(), "the same archive gives the same bytes");
    }
}

#[test]
fn archive_file_has_the_documented_tensors() {
    let shapes = |archive: &Archive, about: &About| {
        let folder = temporary();
        let path = folder.path().join("archive.safetensors");
        archive_file::write(&path, archive, about).unwrap();
        let bytes = fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut shapes: Vec<(String, Dtype, Vec<usize>)> =
            tensors.tensors().into_iter().map(|(name, t)| (name, t.dtype(), t.shape().to_vec())).collect();
        shapes.sort();
        shapes
    };
    let of = |name: &str, dtype, shape: &[usize]| (name.to_owned(), dtype, shape.to_vec());
    let canvas = Canvas { height: 5, width: 4, channels: 3 };
    // Niches 1, 2 and 3 have as many hidden nodes and edges, and seven other nodes each.
    assert_eq!(
        shapes(&cppn_archive(canvas, &[1, 2, 3]), &about_cppn(canvas)),
        [
            of("born", Dtype::U32, &[3, 2]),
            of("classes", Dtype::I32, &[3]),
            of("content_hash", Dtype::U64, &[3]),
            of("cppn.activations", Dtype::U8, &[6 + 21]),
            of("cppn.edge_genes", Dtype::F32, &[6]),
            of("cppn.edge_offsets", Dtype::U32, &[4]),
            of("cppn.edge_sources", Dtype::U16, &[6]),
            of("cppn.edge_targets", Dtype::U16, &[6]),
            of("cppn.node_offsets", Dtype::U32, &[4]),
            of("fitness", Dtype::F32, &[3]),
            of("images", Dtype::U8, &[3, 5, 4, 3]),
            of("probabilities", Dtype::F32, &[3, 10]),
        ]
    );
    let grey = Canvas { channels: 1, ..canvas };
    let encoding = Encoding::Direct(direct::Rules::default());
    let about = About { canvas: grey, encoding, crops: Crops::One, class_names: digits() };
    let shapes = shapes(&direct_archive(grey, &[1, 2]), &about);
    assert!(shapes.contains(&of("images", Dtype::U8, &[2, 5, 4])));
    assert!(shapes.contains(&of("genes", Dtype::F32, &[2, 5, 4, 1])));
}

/// A safetensors file taken apart.
#[derive(Clone)]
struct Parts {
    metadata: HashMap<String, String>,
    tensors: HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Parts {
        let metadata = SafeTensors::read_metadata(bytes).unwrap().1.metadata().clone().unwrap();
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        let tensors = tensors.tensors().into_iter();
        Parts {
            metadata,
            tensors: tensors.map(|(n, t)| (n, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let view = |(name, (dtype, shape, data)): (&String, &(Dtype, Vec<usize>, Vec<u8>))| {
            (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap().data().to_vec(), *dtype, shape.clone())
        };
        let owned: Vec<_> = self.tensors.iter().map(view).collect();
        let views = owned
            .iter()
            .map(|(name, data, dtype, shape)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn without(mut self, tensor: &str) -> Parts {
        self.tensors.remove(tensor).unwrap();
        self
    }

    fn set(&mut self, tensor: &str, at: usize, bytes: &[u8]) {
        self.tensors.get_mut(tensor).unwrap().2[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[test]
fn archive_file_names_what_is_wrong() {
    let folder = temporary();
    let path = folder.path().join("archive.safetensors");
    archive_file::write(&path, &cppn_archive(Canvas::MNIST, &[1, 3]), &about_cppn(Canvas::MNIST)).unwrap();
    let good = Parts::of(&fs::read(&path).unwrap());
    fs::write(&path, good.bytes()).unwrap();
    archive_file::read(&path).unwrap();

    type Fault<'a> = (&'a str, Box<dyn Fn(&mut Parts)>);
    let metadata = |key: &'static str, value: &'static str| -> Box<dyn Fn(&mut Parts)> {
        Box::new(move |parts| drop(parts.metadata.insert(key.to_owned(), value.to_owned())))
    };
    let tensor = |name: &'static str, at: usize, bytes: Vec<u8>| -> Box<dyn Fn(&mut Parts)> {
        Box::new(move |parts| parts.set(name, at, &bytes))
    };
    let f32_at = |name, index: usize, value: f32| tensor(name, 4 * index, value.to_le_bytes().to_vec());
    let u32_at = |name, index: usize, value: u32| tensor(name, 4 * index, value.to_le_bytes().to_vec());
    let u16_at = |name, index: usize, value: u16| tensor(name, 2 * index, value.to_le_bytes().to_vec());
    let faults: Vec<Fault> = vec![
        ("\"format\" is \"idx\"", metadata("format", "idx")),
        ("no \"format\"", Box::new(|parts| drop(parts.metadata.remove("format")))),
        ("arithmetic version 9, this program has 1", metadata("arithmetic_version", "9")),
        ("\"encoding\" is \"lisp\"", metadata("encoding", "lisp")),
        ("\"rules\": unknown field", metadata("rules", r#"{"eta":1}"#)),
        ("\"canvas\": EOF", metadata("canvas", "{")),
        ("canvas of 0 x 28 x 1", metadata("canvas", r#"{"height":0,"width":28,"channels":1}"#)),
        ("canvas of 28 x 28 x 2", metadata("canvas", r#"{"height":28,"width":28,"channels":2}"#)),
        ("must be U8", metadata("canvas", r#"{"height":18446744073709551615,"width":9,"channels":1}"#)),
        ("\"generation\": invalid", metadata("generation", "-1")),
        ("born in generation 5, the archive is of 4", metadata("generation", "4")),
        ("the archive hash is", metadata("generation", "12")),
        ("the file says 00", metadata("archive_hash", "00")),
        ("1 class names for 10 classes", metadata("class_names", r#"["one"]"#)),
        ("\"crops\" is 5, must be 1 or 10", metadata("crops", "5")),
        ("\"crops\": expected ident", metadata("crops", "ten")),
        ("no tensor \"fitness\"", Box::new(|parts| drop(parts.tensors.remove("fitness")))),
        ("\"born\" is I32", Box::new(|parts| parts.tensors.get_mut("born").unwrap().0 = Dtype::I32)),
        ("\"born\" is U32 [4], must be U32 [2, 2]", Box::new(|p| p.tensors.get_mut("born").unwrap().1 = vec![4])),
        ("shape (niches, n_classes)", Box::new(|p| p.tensors.get_mut("probabilities").unwrap().1 = vec![20])),
        ("0 niches", Box::new(|p| drop(p.tensors.insert("probabilities".into(), (Dtype::F32, vec![0, 10], vec![]))))),
        ("holds NaN", f32_at("probabilities", 0, f32::NAN)),
        ("holds 1.5", f32_at("probabilities", 0, 1.5)),
        ("holds -0.5", f32_at("probabilities", 0, -0.5)),
        ("class 3: fitness 0.5 is not its probability 0.1", f32_at("fitness", 1, 0.5)),
        ("\"classes\" must ascend within 0 to 9", u32_at("classes", 1, 10)),
        ("\"classes\" must ascend", u32_at("classes", 0, u32::MAX)),
        ("\"classes\" must ascend", u32_at("classes", 1, 1)),
        ("class 1: the elite does not have its content hash", f32_at("probabilities", 0, 0.5)),
        ("class 3: the elite does not have its content hash", tensor("images", 784, vec![9])),
        ("class 3: the elite does not have its content hash", tensor("content_hash", 8, vec![0; 8])),
        ("\"cppn.node_offsets\" must run from 0 to 14", u32_at("cppn.node_offsets", 0, 1)),
        ("\"cppn.node_offsets\" must run from 0 to 14", u32_at("cppn.node_offsets", 2, u32::MAX)),
        ("\"cppn.node_offsets\" does not ascend", u32_at("cppn.node_offsets", 1, 15)),
        ("\"cppn.edge_offsets\" must run from 0 to 4", u32_at("cppn.edge_offsets", 2, 3)),
        ("genome 1 has activation 4", tensor("cppn.activations", 8, vec![4])),
        ("genome 1 edge 1 joins node 99", u16_at("cppn.edge_sources", 2, 99)),
        ("genome 1 has a cycle", u16_at("cppn.edge_sources", 2, 7)),
        ("genome 1 edge 0 has gene NaN", f32_at("cppn.edge_genes", 1, f32::NAN)),
    ];
    for (want, fault) in faults {
        let mut parts = good.clone();
        fault(&mut parts);
        fs::write(&path, parts.bytes()).unwrap();
        let text = refusal(archive_file::read(&path));
        assert!(text.contains(want) && text.contains("archive.safetensors: not a valid archive"), "{want}: {text}");
    }
    assert!(refusal(archive_file::read(&folder.path().join("none"))).contains("none: cannot read"));
}

#[test]
fn archive_file_cut_or_changed_anywhere_is_refused_or_has_its_hash() {
    let folder = temporary();
    let path = folder.path().join("archive.safetensors");
    let canvas = Canvas { height: 3, width: 3, channels: 1 };
    let archive = cppn_archive(canvas, &[1, 3]);
    archive_file::write(&path, &archive, &about_cppn(canvas)).unwrap();
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        refusal(archive_file::read(&path));
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        // Only what the archive hash does not cover can pass, such as the program's version.
        match archive_file::read(&path) {
            Ok((read, _)) => assert_eq!(read.hash(), archive.hash(), "byte {at}"),
            Err(error) => assert!(!error.to_string().contains('\n'), "byte {at}"),
        }
    }
    // A header that claims to be huge.
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    fs::write(&path, &huge).unwrap();
    assert!(refusal(archive_file::read(&path)).contains("not safetensors"));
}

// The checkpoint

#[test]
fn checkpoint_round_trips() {
    let folder = temporary();
    let path = folder.path().join("checkpoint");
    let want = checkpoint();
    want.write(&path).unwrap();
    assert_eq!(Checkpoint::read(&path).unwrap(), want);
}

/// A checkpoint of a run in which two niches have the same elite.
fn shared_checkpoint() -> Checkpoint {
    let mut checkpoint = checkpoint();
    checkpoint.config.classes = vec![1, 2, 3, 9];
    checkpoint.archive = cppn_archive(Canvas::MNIST, &[1, 2, 3, 9]);
    let elites = &mut checkpoint.archive.elites;
    // One by itself, one that is equal but apart, as a GPU hands them over.
    (elites[1], elites[3]) = (Arc::clone(&elites[0]), Arc::new(Elite::clone(&elites[2])));
    checkpoint
}

#[test]
fn checkpoint_has_shared_elites_once_and_is_read_with_them_shared() {
    let folder = temporary();
    let path = folder.path().join("checkpoint");
    let want = shared_checkpoint();
    want.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (first_line, body) = (&bytes[..24], &bytes[24 + 65..]);
    let parts = Parts::of(body);
    assert_eq!(parts.tensors["images"].1, [2, 28, 28]);
    assert_eq!(parts.tensors["elites"], (Dtype::U32, vec![4], [0_u32, 0, 1, 1].map(u32::to_le_bytes).concat()));
    let shared = |archive: &Archive| {
        let elites = &archive.elites;
        [(0, 1), (2, 3), (0, 2)].map(|(a, b)| Arc::ptr_eq(&elites[a], &elites[b]))
    };
    let got = Checkpoint::read(&path).unwrap();
    assert_eq!((&got, shared(&got.archive)), (&want, [true, true, false]));

    let numbers = |numbers: [u32; 4]| {
        let mut parts = parts.clone();
        parts.set("elites", 0, &numbers.map(u32::to_le_bytes).concat());
        Checkpoint::from_bytes(&signed(std::str::from_utf8(first_line).unwrap(), &parts.bytes()))
    };
    assert_eq!(numbers([0, 0, 1, 1]).unwrap(), want);
    for bad in [[0, 0, 0, 0], [0, 1, 2, 1], [1, 0, 0, 1], [0, 0, 1, u32::MAX]] {
        let text = refusal(numbers(bad));
        assert!(text.contains("\"elites\" must number 2 elites in the order in which niches have them"), "{text}");
    }
    let text = refusal(numbers([0, 1, 1, 1]));
    assert!(text.contains("class 2: fitness 0.03 is not its probability 0.07"), "{text}");
}

#[test]
fn checkpoint_of_version_1_is_read() {
    let folder = temporary();
    let (path, archive) = (folder.path().join("checkpoint"), folder.path().join("archive"));
    for want in [checkpoint(), shared_checkpoint()] {
        want.write(&path).unwrap();
        archive_file::write(&archive, &want.archive, &about_cppn(Canvas::MNIST)).unwrap();
        let mut parts = Parts::of(&fs::read(&archive).unwrap());
        parts.metadata = Parts::of(&fs::read(&path).unwrap()[24 + 65..]).metadata;
        let got = Checkpoint::from_bytes(&signed("pareidolia checkpoint 1\n", &parts.bytes())).unwrap();
        assert_eq!(got, want);
        let distinct = |archive: &Archive| {
            let places: std::collections::BTreeSet<_> = archive.elites.iter().map(Arc::as_ptr).collect();
            places.len()
        };
        assert_eq!(distinct(&got.archive), got.archive.distinct());
    }
}

/// `body` and `first_line` as a checkpoint whose digest is right.
fn signed(first_line: &str, body: &[u8]) -> Vec<u8> {
    let digest = Sha256::new().chain_update(first_line).chain_update(body).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    [first_line.as_bytes(), digest.as_bytes(), b"\n", body].concat()
}

#[test]
fn checkpoint_of_another_version_is_refused_by_name() {
    let folder = temporary();
    let path = folder.path().join("checkpoint");
    checkpoint().write(&path).unwrap();
    let first_line = "pareidolia checkpoint 2\n";
    let body = fs::read(&path).unwrap().split_off(first_line.len() + 65);
    let read = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        Checkpoint::read(&path)
    };
    read(signed(first_line, &body)).unwrap();
    let text = refusal(read(signed("pareidolia checkpoint 3\n", &body)));
    assert!(text.contains("\"pareidolia checkpoint 3\", this program reads \"pareidolia checkpoint 2\""), "{text}");
    let text = refusal(read(signed("pareidolia checkpoint 1\n", &Parts::of(&body).without("fitness").bytes())));
    assert!(text.contains("not a checkpoint to go on from: has no tensor \"fitness\""), "{text}");

    let state = |change: &dyn Fn(&str) -> String| {
        let mut parts = Parts::of(&body);
        let state = change(&parts.metadata["state"]);
        parts.metadata.insert("state".to_owned(), state);
        signed(first_line, &parts.bytes())
    };
    for (from, to, want) in [
        (r#""arithmetic_version":1"#, r#""arithmetic_version":7"#, "arithmetic version 7, this program has 1"),
        (r#""arithmetic_version":1"#, r#""other":1"#, "its state: "),
        (r#""cppn":{"#, r#""direct":null,"cpn":{"#, "unknown field `cpn`"),
        (r#""batch":200"#, r#""batch":199"#, "batch"),
        (r#""classes":[1,3]"#, r#""classes":[]"#, "classes of its archive"),
        (r#""classes":[1,3]"#, r#""classes":[1,4]"#, "classes of its archive"),
        (r#""generation":11"#, r#""generation":12"#, "the archive hash is"),
    ] {
        let bytes = state(&|state| {
            assert!(state.contains(from), "{from} is not in {state}");
            state.replacen(from, to, 1)
        });
        let text = refusal(read(bytes));
        assert!(text.contains(want), "{to}: {text}");
    }
}

#[test]
fn checkpoint_names_the_first_difference_that_decides_results() {
    let checkpoint = checkpoint();
    let config = config();
    checkpoint.check_matches(&config, "5af2", Canvas::MNIST).unwrap();
    let free = Config {
        generations: 1,
        evaluations: 2,
        time: 3.0,
        target: 0.4,
        log_every: 5,
        checkpoint_every: 6,
        ..config.clone()
    };
    checkpoint.check_matches(&free, "5af2", Canvas::MNIST).unwrap();

    let rules = cppn::Rules { max_weight: 9.5, ..cppn::Rules::faithful() };
    for (other, want) in [
        (Config { seed: 4, ..config.clone() }, "seed is 4611686018427387905 there and 4 here"),
        (Config { batch: 100, ..config.clone() }, "batch is 200 there and 100 here"),
        (Config { classes: vec![], ..config.clone() }, "classes is [1,3] there and [] here"),
        (Config { flavour: Flavour::Modern, ..config.clone() }, "flavour is \"faithful\" there and \"modern\" here"),
        (Config { cppn: Some(rules), ..config.clone() }, "cppn.max_weight is 10.0 there and 9.5 here"),
        (Config { cppn: None, ..config.clone() }, "cppn.weight_rate is 0.1 there and not set here"),
        (
            Config { direct: Some(direct::Rules::default()), ..config.clone() },
            "direct.mutation_rate is not set there and 0.1 here",
        ),
    ] {
        let text = refusal(checkpoint.check_matches(&other, "5af2", Canvas::MNIST));
        assert!(text.contains(want), "{want}: {text}");
    }
    let text = refusal(checkpoint.check_matches(&config, "77", Canvas::MNIST));
    assert!(text.contains("SHA-256 of the weights is 5af2 there and 77 here"), "{text}");
}

// The run folder

#[test]
fn run_folder_is_made_with_its_parents_and_never_over_files() {
    let root = temporary();
    let path = root.path().join("a/b/run");
    drop(RunFolder::create(&path).unwrap());
    drop(RunFolder::create(&path).unwrap()); // nothing in it but the lock
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let text = refusal(RunFolder::create(&path));
    assert!(text.contains("is not empty") && !text.contains("--resume"), "{text}");
    fs::remove_file(path.join("notes.txt")).unwrap();
    RunFolder::create(&path).unwrap().write_checkpoint(&checkpoint()).unwrap();
    assert!(refusal(RunFolder::create(&path)).contains("--resume"));

    fs::write(root.path().join("file"), "").unwrap();
    assert!(refusal(RunFolder::create(&root.path().join("file"))).contains("is no folder"));
    assert!(refusal(RunFolder::create(&root.path().join("file/run"))).contains("run: cannot create"));
}

#[test]
fn run_folder_of_a_start_killed_before_its_first_checkpoint_is_taken_up() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    folder.metrics(None).unwrap().write(&line(0)).unwrap();
    fs::write(root.path().join(".partial-x"), "").unwrap();
    drop(folder);
    drop(RunFolder::create(root.path()).unwrap());
    assert_eq!(names_in(root.path()), ["lock"]);
    // Two generations are somebody's work, even if their checkpoint is gone.
    let folder = RunFolder::create(root.path()).unwrap();
    let mut writer = folder.metrics(None).unwrap();
    writer.write(&line(0)).unwrap();
    writer.write(&line(1)).unwrap();
    drop(folder);
    refusal(RunFolder::create(root.path()));
}

#[test]
fn run_folder_admits_one_process() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    assert!(refusal(RunFolder::create(root.path())).contains("another process"));
    folder.write_checkpoint(&checkpoint()).unwrap();
    assert!(refusal(RunFolder::open(root.path())).contains("another process"));
    drop(folder);
    RunFolder::open(root.path()).unwrap();
}

#[test]
fn run_folder_opened_or_created_takes_up_what_is_there() {
    let root = temporary();
    let path = root.path().join("run");
    RunFolder::open_or_create(&path).unwrap().write_checkpoint(&checkpoint()).unwrap();
    assert_eq!(RunFolder::open_or_create(&path).unwrap().read_checkpoint().unwrap(), checkpoint());
    fs::write(root.path().join("mine"), "").unwrap();
    assert!(refusal(RunFolder::open_or_create(root.path())).contains("is not empty"));
}

#[test]
#[cfg(unix)]
fn run_folder_that_was_replaced_is_not_written() {
    let root = temporary();
    let (path, moved) = (root.path().join("run"), root.path().join("moved"));
    let folder = RunFolder::create(&path).unwrap();
    let mut writer = folder.metrics(None).unwrap();
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("lock"), "").unwrap();
    let (archive, about) = (cppn_archive(Canvas::MNIST, &[1, 3]), about_cppn(Canvas::MNIST));
    writer.write(&line(0)).unwrap();
    for text in [
        refusal(folder.write_checkpoint(&checkpoint())),
        refusal(folder.metrics(Some(0))),
        refusal(folder.finish(&mut manifest(&archive), &archive, &about, true)),
        refusal(writer.sync()),
    ] {
        assert!(text.contains("was removed or replaced during the run"), "{text}");
    }
    assert_eq!(names_in(&path), ["lock"]);
    // As soon as it is back, all is well.
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&moved, &path).unwrap();
    writer.sync().unwrap();
    folder.write_checkpoint(&checkpoint()).unwrap();
}

#[test]
fn run_folder_numbers_the_default_path() {
    let root = temporary();
    assert_eq!(run_folder::default_path(Preset::MnistDirect, 7), Path::new("runs/mnist-direct-seed7"));
    let base = root.path().join("runs/mnist-direct-seed7");
    for want in ["mnist-direct-seed7", "mnist-direct-seed7-2", "mnist-direct-seed7-3"] {
        let folder = RunFolder::create_numbered(&base).unwrap();
        assert_eq!(folder.path(), root.path().join("runs").join(want));
    }
}

#[test]
fn run_folder_to_go_on_with_must_hold_a_checkpoint() {
    let root = temporary();
    for path in [root.path(), &root.path().join("none")] {
        assert!(refusal(RunFolder::open(path)).contains("holds no checkpoint"));
    }
    drop(RunFolder::create(root.path()).unwrap());
    refusal(RunFolder::open(root.path()));
    RunFolder::create(root.path()).unwrap().write_checkpoint(&checkpoint()).unwrap();
    // What a process left that was killed while it wrote.
    fs::write(root.path().join(".partial-file"), "half").unwrap();
    fs::create_dir(root.path().join(".partial-folder")).unwrap();
    fs::write(root.path().join(".partial-folder/0.png"), "half").unwrap();
    let folder = RunFolder::open(root.path()).unwrap();
    assert_eq!(names_in(root.path()), ["checkpoint", "lock"]);
    assert_eq!(folder.read_checkpoint().unwrap(), checkpoint());
}

#[test]
fn finish_leaves_everything_and_a_second_finish_nothing_of_the_first() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    let mut archive = cppn_archive(Canvas::MNIST, &[1, 3]);
    let about = about_cppn(Canvas::MNIST);
    folder.write_checkpoint(&checkpoint()).unwrap();
    folder.metrics(None).unwrap().write(&line(0)).unwrap();
    assert_eq!(folder.manifest().unwrap(), None);
    let mut first = manifest(&archive);
    folder.finish(&mut first, &archive, &about, true).unwrap();
    let all = "archive.safetensors checkpoint contact_sheet.png convergence.png elites lock metrics.jsonl run.json";
    assert_eq!(names_in(root.path()).join(" "), all);
    assert_eq!(folder.manifest().unwrap(), Some(first));
    assert_eq!(names_in(&root.path().join("elites")), ["1_1_0.02000.png", "3_3_0.10000.png"]);
    assert_eq!(archive_file::read(&root.path().join("archive.safetensors")).unwrap().0, archive);
    for (elite, name) in archive.elites.iter().zip(["1_1_0.02000.png", "3_3_0.10000.png"]) {
        let image = read_png(&root.path().join("elites").join(name)).unwrap();
        assert_eq!((image.canvas, &image.pixels), (Canvas::MNIST, &elite.image));
    }

    // Going on takes run.json away at once, whichever comes first.
    folder.metrics(Some(0)).unwrap();
    assert!(!root.path().join("run.json").exists());
    folder.finish(&mut manifest(&archive), &archive, &about, true).unwrap();
    folder.write_checkpoint(&checkpoint()).unwrap();
    assert!(!root.path().join("run.json").exists());
    Arc::make_mut(&mut archive.elites[0]).probabilities[1] = 0.75;
    let mut second = manifest(&archive);
    folder.finish(&mut second, &archive, &about, true).unwrap();
    assert_eq!(names_in(&root.path().join("elites")), ["1_1_0.75000.png", "3_3_0.10000.png"]);
    assert_eq!(folder.manifest().unwrap(), Some(second));
}

#[test]
fn finish_without_pictures_leaves_none_of_an_earlier_one() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    let (archive, about) = (cppn_archive(Canvas::MNIST, &[1, 3]), about_cppn(Canvas::MNIST));
    folder.finish(&mut manifest(&archive), &archive, &about, true).unwrap();
    fs::write(root.path().join("contact_sheet-02.png"), "").unwrap();
    fs::write(root.path().join("contact_sheet_with_notes.png"), "somebody's").unwrap();
    folder.finish(&mut manifest(&archive), &archive, &about, false).unwrap();
    let left = ["archive.safetensors", "contact_sheet_with_notes.png", "lock", "run.json"];
    assert_eq!(names_in(root.path()), left);
}

#[test]
fn finish_that_fails_leaves_no_manifest() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    let (archive, about) = (cppn_archive(Canvas::MNIST, &[1, 3]), about_cppn(Canvas::MNIST));
    folder.finish(&mut manifest(&archive), &archive, &about, true).unwrap();
    fs::remove_file(root.path().join("archive.safetensors")).unwrap();
    fs::create_dir(root.path().join("archive.safetensors")).unwrap(); // no file takes its place
    let text = refusal(folder.finish(&mut manifest(&archive), &archive, &about, true));
    assert!(text.contains("archive.safetensors: cannot write"), "{text}");
    assert!(!root.path().join("run.json").exists());
}

#[test]
fn manifest_lists_what_was_promised() {
    let manifest = manifest(&cppn_archive(Canvas::MNIST, &[1, 3]));
    let value: serde_json::Value = serde_json::from_str(&manifest.to_json()).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let want = "version commit arithmetic_version seed configuration device device_reason threads simd network weights \
                weights_sha256 start end seconds stopped_by generation evaluations genomes_per_second median mean min \
                max over_9 over_99 over_999 over_9999 distinct_genomes operators_skipped_at_capacity \
                planned_memory_bytes peak_memory_bytes archive_hash classes";
    assert_eq!(keys, want.split_whitespace().collect::<Vec<_>>());
    assert_eq!(value["start"], "2023-11-14T22:13:20Z");
    assert_eq!(value["stopped_by"], "evaluations");
    assert_eq!(value["archive_hash"], format!("{:016x}", manifest.archive_hash));
    assert_eq!(value["configuration"]["cppn"]["max_nodes"], 256);
    let class = r#"{"class":3,"name":"3","confidence":0.1,"born":[5,21],"file":"elites/3_3_0.10000.png"}"#;
    assert_eq!(value["classes"][1].to_string(), class);
}

// metrics.jsonl

fn metrics_in(path: &Path) -> Vec<Metrics> {
    let mut lines = Vec::new();
    metrics::read(path, |line| lines.push(line)).unwrap();
    lines
}

#[test]
fn metrics_line_is_the_documented_one() {
    let text = serde_json::to_string(&line(4)).unwrap();
    let want = r#"{"generation":4,"evaluations":1000,"median":0.5,"mean":0.5833166639010111"#;
    assert!(text.starts_with(want), "{text}");
    let want = r#""min":0.25,"max":0.9999499917030334,"over_99":1,"over_999":1,"over_9999":1,"replaced":3,"genomes_per_second":1234.5,"archive_hash":"0123456789abcdef"}"#;
    assert!(text.ends_with(want), "{text}");
    assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), line(4));
    for bad in ["123456789abcdef", "0123456789ABCDEF", "+123456789abcdef", "0123456789abcdef0"] {
        assert!(serde_json::from_str::<Metrics>(&text.replace("0123456789abcdef", bad)).is_err(), "{bad}");
    }
}

#[test]
fn metrics_go_on_after_the_checkpoint_and_without_what_was_torn() {
    let root = temporary();
    let folder = RunFolder::create(root.path()).unwrap();
    let path = root.path().join("metrics.jsonl");
    let mut writer = folder.metrics(None).unwrap();
    for generation in [0, 10, 20, 30] {
        writer.write(&line(generation)).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let (kept, torn) = written.split_at(written.match_indices('\n').nth(2).unwrap().0 + 1);
    fs::write(&path, format!("{kept}{}", &torn[..torn.len() / 2])).unwrap();
    assert_eq!(metrics_in(&path), [line(0), line(10), line(20)]);

    let mut writer = folder.metrics(Some(10)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    writer.write(&line(20)).unwrap();
    writer.sync().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    folder.metrics(None).unwrap();
    assert_eq!(metrics_in(&path), []);
    fs::remove_file(&path).unwrap();
    assert_eq!(metrics_in(&path), []);
}

// Pictures

#[test]
fn confidence_is_cut_and_never_rounded_up() {
    for (confidence, want) in [
        (1.0, "1.00000"),
        (1.0_f32.next_down(), "0.99999"),
        (0.999_999, "0.99999"),
        (0.9999, "0.99990"),
        (0.9999_f32.next_down(), "0.99989"),
        (0.999_98, "0.99998"),
        (0.5, "0.50000"),
        (0.123_456_7, "0.12345"),
        (1e-30, "0.00000"),
        (0.0, "0.00000"),
    ] {
        assert_eq!(confidence_text(confidence), want, "{confidence:e}");
    }
}

#[test]
fn elite_files_are_named_by_class_name_and_confidence() {
    for (class, n_classes, name, want) in [
        (3, 10, "3", "elites/3_3_0.99998.png"),
        (3, 11, "3", "elites/03_3_0.99998.png"),
        (7, 1000, "cock", "elites/007_cock_0.99998.png"),
        (999, 1000, "toilet tissue, toilet paper", "elites/999_toilet_tissue_toilet_paper_0.99998.png"),
        (1, 10, "../../etc/passwd", "elites/1_etc_passwd_0.99998.png"),
        (1, 10, "jack-o'-lantern", "elites/1_jack-o_-lantern_0.99998.png"),
        (1, 10, " \n", "elites/1_class_0.99998.png"),
        (1, 10, "Bärenspinner", "elites/1_Bärenspinner_0.99998.png"),
        (
            1,
            10,
            "a name that goes on and on until nobody would want it in a file name",
            "elites/1_a_name_that_goes_on_and_on_until_nobody_0.99998.png",
        ),
    ] {
        assert_eq!(elite_file(class, n_classes, name, 0.999_98), want);
    }
}

#[test]
fn png_round_trips_grey_and_colour() {
    let folder = temporary();
    let path = folder.path().join("a.png");
    for channels in [1, 3] {
        let canvas = Canvas { height: 31, width: 17, channels };
        let pixels: Vec<u8> = (0..canvas.len()).map(|i| (i * 7) as u8).collect();
        write_png(&path, canvas, &pixels).unwrap();
        let image = read_png(&path).unwrap();
        assert_eq!((image.canvas, image.pixels), (canvas, pixels));
    }
}

/// A PNG of 2 x 1 pixels.
fn png(path: &Path, colour: png::ColorType, depth: png::BitDepth, data: &[u8]) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), 2, 1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
}

#[test]
fn png_of_every_kind_becomes_eight_bits_or_is_refused() {
    use png::{BitDepth::*, ColorType::*};
    let folder = temporary();
    let path = folder.path().join("a.png");
    let cases: [(_, _, &[u8], &[u8]); 7] = [
        (Grayscale, One, &[0b0100_0000], &[0, 255]),
        (Grayscale, Four, &[0x3f], &[0x33, 0xff]),
        (Grayscale, Sixteen, &[0x12, 0xff, 0xab, 0x00], &[0x12, 0xab]),
        (Rgb, Sixteen, &[1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9], &[1, 2, 3, 4, 5, 6]),
        (Indexed, Eight, &[1, 0], &[40, 50, 60, 1, 2, 3]),
        (GrayscaleAlpha, Eight, &[7, 255, 8, 255], &[7, 8]),
        (Rgba, Eight, &[1, 2, 3, 255, 4, 5, 6, 255], &[1, 2, 3, 4, 5, 6]),
    ];
    for (colour, depth, data, want) in cases {
        png(&path, colour, depth, data);
        let image = read_png(&path).unwrap();
        assert_eq!(image.pixels, want, "{colour:?} {depth:?}");
        assert_eq!(image.canvas, Canvas { height: 1, width: 2, channels: want.len() / 2 });
    }
    png(&path, Rgba, Eight, &[1, 2, 3, 255, 4, 5, 6, 254]);
    assert!(refusal(read_png(&path)).contains("transparent"));
}

#[test]
fn png_that_is_broken_or_huge_is_refused() {
    let folder = temporary();
    let path = folder.path().join("a.png");
    let canvas = Canvas { height: 9, width: 9, channels: 1 };
    write_png(&path, canvas, &[7; 81]).unwrap();
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(refusal(read_png(&path)).contains("a.png: not a readable PNG"), "cut at {length}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        assert!(read_png(&path).map_or(true, |image| image.pixels == [7; 81]), "byte {at}");
    }
    // 8193 x 8192 pixels, with no data behind the header.
    for (side, want) in [(8193_u32, "more than the 67108864 allowed"), (u32::MAX >> 1, "more than the 67108864")] {
        let mut encoder = Vec::new();
        let writer = png::Encoder::new(&mut encoder, side, 8192).write_header().unwrap();
        std::mem::forget(writer); // dropping it would write more
        fs::write(&path, &encoder).unwrap();
        let text = refusal(read_png(&path));
        assert!(text.contains(want), "{text}");
    }
    assert!(refusal(read_png(&folder.path().join("none.png"))).contains("none.png: cannot open"));
}
