//! Networks from elsewhere: files that Caffe's, PyTorch's and ONNX's own formats are (tests/fixtures/import, made once by
//! scripts/make-import-fixtures) against what those libraries say of an image; and files that are broken, of another network, or
//! made to hurt.

#[path = "../fuzz/src/memory.rs"]
#[allow(dead_code)]
mod memory;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use memory::limits;
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::experiment::classify::{Fit, read as read_images};
use pareidolia::import::pickle::Pickle;
use pareidolia::import::seems::{self, Format};
use pareidolia::import::{self, Imported, caffe, pth};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::rng::{Philox, Purpose};
use pareidolia::simd::Simd;
use safetensors::SafeTensors;
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn corpus(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)).unwrap()
}

fn list(name: &str) -> List {
    List::load(&fixture(&format!("{name}.toml"))).unwrap()
}

fn import(file: &[u8], list: &List) -> Result<Imported, String> {
    import::read(Path::new("the file"), file, Some(list)).map_err(|error| error.to_string())
}

/// Fails unless `file` is refused, for `list`, in one short line that says `want`.
#[track_caller]
fn assert_refused(file: &[u8], list: &List, want: &str) {
    let error = import(file, list).map(drop).expect_err(want);
    assert!(error.contains(want), "want {want:?} in {error:?}");
    assert!(
        error.starts_with("the file: ") && !error.contains('\n') && error.len() < 1500,
        "not one short line: {error:?}"
    );
}

/// The float32 tensor `name` of the goldens, or the float64 one as float32.
fn golden(name: &str) -> Vec<f64> {
    let bytes = bytes("golden.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    match tensor.dtype() {
        safetensors::Dtype::F64 => tensor.data().as_chunks().0.iter().map(|&word| f64::from_le_bytes(word)).collect(),
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks().0.iter().map(|&word| f32::from_le_bytes(word).into()).collect()
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn logits(network: Network, image: &str) -> Vec<f32> {
    let network = Arc::new(network);
    let items = read_images(&fixture(image), &network, Fit::default(), None).unwrap();
    let mut logits = vec![0.0; network.classes.len()];
    Classifier::new(network, Simd::detect()).logits(&items[0].pixels, &mut logits);
    logits
}

/// Fixture, layer list, image, and whether it holds training heads.
const GOOD: [(&str, &str, &str, bool); 12] = [
    ("caffenet-v0.caffemodel", "caffenet", "image-104.png", false),
    ("bvlc-alexnet-v1.caffemodel", "bvlc-alexnet", "image-104.png", false),
    ("bvlc-googlenet-v2.caffemodel", "bvlc-googlenet", "image.png", true),
    ("caffenet.onnx", "caffenet", "image-104.png", false),
    ("bvlc-alexnet.onnx", "bvlc-alexnet", "image-104.png", false),
    ("bvlc-googlenet.onnx", "bvlc-googlenet", "image.png", false),
    ("squeezenet.onnx", "squeezenet-1.1", "image-132.png", false),
    ("alexnet.pth", "torchvision-alexnet", "image.png", false),
    ("alexnet-half.safetensors", "torchvision-alexnet", "image.png", false),
    ("alexnet-half-protocol4.pth", "torchvision-alexnet", "image.png", false),
    ("squeezenet1_0-legacy.pth", "torchvision-squeezenet", "image.png", false),
    ("googlenet.pth", "torchvision-googlenet", "image.png", true),
];

// --- against the libraries ---

#[test]
fn imported_networks_say_what_the_library_says() {
    for (file, list_name, image, heads) in GOOD {
        let imported = import(&bytes(file), &list(list_name)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(!imported.dropped.is_empty(), heads, "{file}: {:?}", imported.dropped);
        // The zoo's GoogLeNet rounds down; nothing else differs anywhere.
        assert_eq!(!imported.notes.is_empty(), file == "bvlc-googlenet.onnx", "{file}: {:?}", imported.notes);
        let want = golden(&match file {
            "alexnet-half-protocol4.pth" => "alexnet-half.safetensors.logits".to_string(),
            file => format!("{file}.logits"),
        });
        let got = logits(imported.network, image);
        assert_eq!(got.len(), want.len());
        // The logits span 8. Other orders of summing move them by some 1e-6; a wrong mean, channel, padding, or epsilon by 1e-2 or more.
        for (class, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!((f64::from(*got) - want).abs() < 2e-5, "{file}, class {class}: got {got}, want {want}");
        }
    }
}

#[test]
fn one_network_in_two_formats_has_the_same_parameters() {
    let pairs = [
        ("caffenet-v0.caffemodel", "caffenet.onnx", "caffenet"),
        ("bvlc-alexnet-v1.caffemodel", "bvlc-alexnet.onnx", "bvlc-alexnet"),
        ("bvlc-googlenet-v2.caffemodel", "bvlc-googlenet.onnx", "bvlc-googlenet"),
        ("alexnet-half.safetensors", "alexnet-half-protocol4.pth", "torchvision-alexnet"),
    ];
    for (one, other, list_name) in pairs {
        let parameters = |file| import(&bytes(file), &list(list_name)).unwrap().network.parameters;
        assert!(parameters(one) == parameters(other), "{one} and {other} differ");
    }
}

/// The files of fuzz/corpus that begin with `good`, and the format of each.
const TINY: [(&str, Format); 9] = [
    ("import_caffe/good-v0", Format::Caffe),
    ("import_caffe/good-v1", Format::Caffe),
    ("import_caffe/good-v2", Format::Caffe),
    ("import_onnx/good-raw", Format::Onnx),
    ("import_onnx/good-floats", Format::Onnx),
    ("import_pth/good-zip", Format::PthZip),
    ("import_pth/good-legacy", Format::PthLegacy),
    ("import_pth/good-protocol4", Format::PthZip),
    ("import_pth/good-safetensors", Format::Safetensors),
];

#[test]
fn one_small_network_in_all_formats_is_the_same() {
    let tiny = list("tiny");
    let first = import(&corpus(TINY[0].0), &tiny).unwrap().network;
    for (file, format) in TINY {
        let imported = import(&corpus(file), &tiny).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(imported.format, format, "{file}");
        for (got, want) in imported.network.parameters.iter().zip(&first.parameters) {
            let values = got.weight.iter().chain(&got.bias).zip(want.weight.iter().chain(&want.bias));
            for (got, want) in values {
                // The state dicts have a normalisation whose variance is 1 - 0.001 rounded to float32.
                assert!((got - want).abs() <= 1e-7 * want.abs(), "{file}: {got} and {want}");
            }
        }
    }
}

#[test]
fn a_mean_image_takes_the_place_of_the_mean() {
    let mut network = import(&bytes("caffenet-v0.caffemodel"), &list("caffenet")).unwrap().network;
    let mean = bytes("mean.binaryproto");
    import::read_mean(Path::new("the mean"), &mean, &mut network).unwrap();
    let want = golden("mean.binaryproto.logits");
    for (got, want) in logits(network.clone(), "image-104.png").iter().zip(&want) {
        assert!((f64::from(*got) - want).abs() < 2e-5, "got {got}, want {want}");
    }

    let refused = |file: &[u8], network: &Network, want: &str| {
        let error = import::read_mean(Path::new("the mean"), file, &mut network.clone()).expect_err(want).to_string();
        assert!(error.starts_with("the mean: ") && error.contains(want), "want {want:?} in {error:?}");
    };
    for end in (0..mean.len()).step_by(997).chain(0..64) {
        refused(&mean[..end], &network, "");
    }
    refused(
        &corpus("import_caffe/mean"),
        &network,
        "has shape (3, 9, 9), the network needs (3, 99, 99) or (3, 104, 104)",
    );
    refused(&bytes("caffenet-v0.caffemodel"), &network, "Caffe model, wanted a mean image");
    refused(&bytes("image.png"), &network, "it seems to be a PNG picture");
    refused(b"", &network, "an empty file");
    refused(&corpus("import_pth/good-safetensors"), &network, "tensor \"mean\" is missing");
    let torch = import(&bytes("alexnet.pth"), &list("torchvision-alexnet")).unwrap().network;
    refused(&mean, &torch, "the mean images of Caffe are BGR, small-torchvision-alexnet takes RGB");
}

#[test]
fn tensors_that_are_views_or_of_other_types_are_read_exactly() {
    for (file, tensors) in [
        ("views.pth", pth::read_zip(&bytes("views.pth")).map(|tensors| tensors.len())),
        ("views-legacy.pth", pth::read_legacy(&bytes("views-legacy.pth")).map(|tensors| tensors.len())),
    ] {
        assert_eq!(tensors, Ok(12), "{file}");
        let bytes = bytes(file);
        let tensors = if file == "views.pth" { pth::read_zip(&bytes) } else { pth::read_legacy(&bytes) }.unwrap();
        for tensor in tensors {
            let name = tensor.name.as_str();
            match (name, tensor.values()) {
                ("count", got) => assert!(got.unwrap_err().contains("has type int64, wanted float32")),
                ("tenth", got) => assert!(got.unwrap_err().contains("1e-1 of type float64, which is no float32")),
                (name, got) => {
                    let got: Vec<f64> = got.unwrap().into_iter().map(f64::from).collect();
                    assert_eq!(got, golden(&format!("views.{name}")), "{file}: {name}");
                }
            }
        }
    }
}

// --- the command ---

fn pareidolia(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pareidolia")).args(args).current_dir(folder).output().unwrap()
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

/// The one line that a call prints that must fail with `code`.
#[track_caller]
fn refused(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = pareidolia(folder, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    let line = stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{args:?}: {stderr:?}"));
    assert_eq!(line.lines().count(), 1, "{args:?}: {stderr:?}");
    line.trim_end().to_string()
}

#[test]
fn the_command_writes_weights_that_classify_takes() {
    let folder = tempfile::tempdir().unwrap();
    let names = folder.path().join("names.txt");
    std::fs::write(&names, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n").unwrap();
    let network = path("caffenet.toml");
    let args = ["import", &path("caffenet-v0.caffemodel"), "--network", &network, "--mean", &path("mean.binaryproto")];
    let args = [&args[..], &["--class-names", "names.txt", "--out", "out.safetensors"]].concat();
    let output = pareidolia(folder.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("Caffe model: small-caffenet, 8 layers with ") && said.ends_with("out.safetensors\n"),
        "{said}"
    );

    let image = path("image-104.png");
    let args = ["classify", &image, "--weights", "out.safetensors", "--network", &network, "--json", "--top", "10"];
    let output = pareidolia(folder.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let logits = golden("mean.binaryproto.logits");
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    for label in report[0]["top"].as_array().unwrap() {
        let class = label["class"].as_u64().unwrap() as usize;
        let (got, want) = (label["probability"].as_f64().unwrap(), logits[class].exp() / sum);
        assert!((got - want).abs() < 1e-5, "class {class}: got {got}, want {want}");
        let words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
        assert_eq!(label["name"], words[class]);
    }

    // What is there is never overwritten, and what is refused leaves nothing.
    let before = std::fs::read(folder.path().join("out.safetensors")).unwrap();
    assert!(
        refused(folder.path(), 2, &["import", &path("alexnet.pth"), "--out", "out.safetensors"]).contains("exists")
    );
    assert_eq!(std::fs::read(folder.path().join("out.safetensors")).unwrap(), before);
    let left = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(left(folder.path()), 2);
    for (args, code, want) in [
        (vec!["import", "names.txt"], 1, "of no format that is known here"),
        (vec!["import", "."], 1, "cannot"),
        (vec!["import", "none.pth"], 1, "none.pth: cannot open"),
        (vec!["import", &image], 1, "it seems to be a PNG picture"),
        (vec!["import", &path("alexnet.pth"), "--network", "vgg"], 2, "network \"vgg\" is not known"),
        (vec!["import", &path("alexnet.pth"), "--network", &image], 1, "not a text"),
        (
            vec!["import", &path("caffenet.onnx"), "--network", &network, "--mean", &image],
            1,
            "it seems to be a PNG picture; wanted a mean image",
        ),
        (
            vec!["import", &path("caffenet.onnx"), "--network", &network, "--class-names", &network],
            1,
            "is empty, wanted a class name a line",
        ),
    ] {
        let line = refused(folder.path(), code, &[&args[..], &["--out", "x"]].concat());
        assert!(line.contains(want), "want {want:?} in {line:?}");
        assert_eq!(left(folder.path()), 2, "{args:?} left a file");
    }
    let large = std::fs::File::create(folder.path().join("large")).unwrap();
    large.set_len((1 << 30) + 1).unwrap(); // sparse
    let line = refused(folder.path(), 1, &["import", "large", "--out", "x"]);
    assert!(line.contains("larger than 1073741824 bytes"), "{line}");
}

#[test]
fn without_a_list_the_built_in_ones_are_tried() {
    let read = |name: &str| import::read(Path::new("x"), &bytes(name), None).expect_err("shrunken").to_string();
    for (file, want) in [
        ("alexnet.pth", "tensor \"features.0.weight\" has shape (2, 3, 11, 11), the layer needs (64, 3, 11, 11)"),
        ("squeezenet1_0-legacy.pth", "\"features.0.weight\" has shape (12, 3, 7, 7), the layer needs (96, 3, 7, 7)"),
        ("googlenet.pth", "\"conv1.conv.weight\" has shape (8, 3, 7, 7), the layer needs (64, 3, 7, 7)"),
        // Layers are compared by what they do, not by how wide they are.
        ("caffenet-v0.caffemodel", "has shape (6, 3, 11, 11), layer \"conv1\" of caffenet needs (96, 3, 11, 11)"),
        ("bvlc-alexnet.onnx", "has shape (6, 3, 11, 11), layer \"conv1\" of bvlc-alexnet needs (96, 3, 11, 11)"),
        ("bvlc-googlenet-v2.caffemodel", "has shape (8, 3, 7, 7), layer \"conv1/7x7_s2\" of bvlc-googlenet needs"),
        ("squeezenet.onnx", "has shape (8, 3, 3, 3), layer \"features.0\" of squeezenet-1.1 needs (64, 3, 3, 3)"),
        (
            "views.pth",
            "its tensors are those of none of torchvision-alexnet, torchvision-squeezenet, torchvision-googlenet: 12 of them",
        ),
    ] {
        let error = read(file);
        assert!(error.contains(want), "{file}: want {want:?} in {error:?}");
    }
    let error = import::read(Path::new("x"), &corpus("import_onnx/good-raw"), None).expect_err("tiny").to_string();
    assert!(error.contains("its layers are those of no network known here") && error.contains("nearest is"), "{error}");
}

#[test]
fn squeezenet_1_1_has_the_size_that_torchvision_says() {
    // squeezenet1_1's num_params in torchvision/models/squeezenet.py.
    let network = Network::random(&List::built_in("squeezenet-1.1").unwrap(), 1).unwrap();
    assert_eq!((import::n_parameters(&network), import::n_layers(&network)), (1_235_496, 26));
}

// --- of another network ---

#[test]
fn what_is_of_another_network_is_named() {
    for (file, other, want) in [
        (
            "caffenet-v0.caffemodel",
            "bvlc-alexnet",
            "node \"norm2\" (LRN) where the list has layer \"pool2\" (max-pool)",
        ),
        ("bvlc-alexnet-v1.caffemodel", "caffenet", "node \"pool2\" (Pooling) where the list has layer \"norm2\" (lrn)"),
        ("bvlc-alexnet.onnx", "caffenet", "(MaxPool) where the list has layer \"norm2\" (lrn)"),
        ("bvlc-alexnet.onnx", "bvlc-googlenet", "where the list has layer"),
        ("squeezenet.onnx", "torchvision-squeezenet", "where the list has layer"),
        (
            "alexnet.pth",
            "torchvision-squeezenet",
            "tensor \"features.0.weight\" has shape (2, 3, 11, 11), the layer needs (12, 3, 7, 7)",
        ),
        (
            "alexnet.pth",
            "torchvision-googlenet",
            "tensor \"conv1.conv.weight\" is missing; the file has \"classifier.1.bias\"",
        ),
        ("googlenet.pth", "torchvision-alexnet", "tensor \"features.0.weight\" is missing"),
    ] {
        assert_refused(&bytes(file), &list(other), want);
    }
}

/// A list as its text with one part replaced.
#[track_caller]
fn changed(name: &str, from: &str, to: &str) -> List {
    let text = std::fs::read_to_string(fixture(&format!("{name}.toml"))).unwrap();
    assert!(text.contains(from), "{from:?}");
    List::parse(&text.replacen(from, to, 1)).unwrap()
}

#[test]
fn each_number_of_a_layer_is_compared() {
    let alexnet = |from: &str, to: &str| changed("bvlc-alexnet", from, to);
    for (list, caffe, onnx) in [
        (
            alexnet("classes = 10", "classes = 11"),
            "tensor \"fc8.weight\" has shape (1, 1, 10, 64), layer \"fc8\" of small-bvlc-alexnet needs (11, 64)",
            "tensor \"fc8_w_0\" has shape (10, 64), layer \"fc8\" of small-bvlc-alexnet needs (11, 64)",
        ),
        (
            alexnet("stride = 4", "stride = 3"),
            "has stride [4, 4], layer \"conv1\" (convolution) has [3, 3]",
            "stride [4, 4]",
        ),
        (alexnet("kernel = 11", "kernel = 12"), "has kernel [11, 11], layer \"conv1\"", "has kernel [11, 11]"),
        (
            alexnet("padding = 2, groups = 2", "padding = 2"),
            "has groups 2, layer \"conv2\" (convolution) has 1",
            "has groups 2",
        ),
        (alexnet("padding = 2", "padding = 1"), "has padding (before, after) [[2, 2], [2, 2]]", "has padding"),
        (
            alexnet("size = 5", "size = 3"),
            "has size, alpha, beta, k (5, 0.0001, 0.75, 1.0), layer \"norm1\" (lrn)",
            "has size",
        ),
        (alexnet("alpha = 0.0001", "alpha = 0.0002"), "has size, alpha, beta, k", "has size, alpha, beta, k"),
        (
            alexnet("kernel = 3, stride = 2", "kernel = 3, stride = 3"),
            "\"pool1\" (Pooling) has stride 2, layer",
            "has stride 2",
        ),
        (
            alexnet("\"max-pool\"", "\"average-pool\""),
            "\"pool1\" (Pooling) where the list has layer \"pool1\" (average-pool)",
            "(MaxPool)",
        ),
    ] {
        assert_refused(&bytes("bvlc-alexnet-v1.caffemodel"), &list, caffe);
        assert_refused(&bytes("bvlc-alexnet.onnx"), &list, onnx);
    }
    let other = changed("tiny", "kernel = 4, stride = 4", "kernel = 4, stride = 4, count_padding = false");
    assert!(import(&corpus("import_onnx/good-raw"), &other).is_ok(), "without padding both divisors are the same");
    // Where windows see padding, they are not.
    let padded = |count| {
        let pool = format!("kernel = 4, stride = 4, padding = 1, count_padding = {count}, rounding = \"floor\"");
        changed("tiny", "kernel = 4, stride = 4, rounding = \"ceil\"", &pool)
    };
    assert_refused(
        &corpus("import_onnx/good-raw"),
        &padded(true),
        "has padding 0, layer \"pool\" (average-pool) has 1",
    );
    let state = changed("tiny", "outputs = 4, kernel = 3", "outputs = 4, kernel = 1");
    assert_refused(
        &corpus("import_pth/good-zip"),
        &state,
        "\"stem.conv.weight\" has shape (4, 3, 3, 3), the layer needs (4, 3, 1, 1)",
    );
    let state = changed("tiny", "name = \"fc\"", "name = \"fc7\"");
    assert_refused(
        &corpus("import_pth/good-zip"),
        &state,
        "tensor \"fc7.weight\" is missing; the file has \"fc.bias\", \"fc.weight\"",
    );
}

/// `file` with the only occurrence of `from` replaced by `to`, of the same length.
#[track_caller]
fn patched(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let found: Vec<usize> =
        file.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "{from:?} is not there");
    let mut file = file.to_vec();
    for at in found {
        file[at..at + to.len()].copy_from_slice(to);
    }
    file
}

#[test]
fn an_operator_that_we_do_not_have_is_named_with_its_node() {
    let onnx = corpus("import_onnx/good-raw");
    let tiny = list("tiny");
    assert_refused(
        &patched(&onnx, b"LRN", b"Elu"),
        &tiny,
        "node \"#3\" (Elu) is an operator that we do not have; the list has layer \"norm\" (lrn)",
    );
    assert_refused(&patched(&onnx, b"Relu", b"Tanh"), &tiny, "node \"#1\" (Tanh) is an operator that we do not have");
    // An attribute of which nothing is known but its name.
    assert_refused(&patched(&onnx, b"size", b"axis"), &tiny, "has size, alpha, beta, k (0, ");
    let caffe = corpus("import_caffe/good-v2");
    assert_refused(&patched(&caffe, b"LRN", b"ELU"), &tiny, "node \"norm\" (ELU) is of a type that we do not have");
    assert_refused(
        &patched(&caffe, b"Concat", b"Eltwis"),
        &tiny,
        "node \"both\" (Eltwis) is of a type that we do not have",
    );
}

#[test]
fn onnx_weights_in_another_file_are_refused() {
    assert_refused(
        &bytes("external.onnx"),
        &list("squeezenet-1.1"),
        "lies in another file; save the model with its weights in it",
    );
    let onnx = corpus("import_onnx/good-raw");
    assert_refused(
        &patched(&onnx, b"\x42\x02sw", b"\x42\x02sx"),
        &list("tiny"),
        "its weights \"sw\" are no initializer of the model",
    );
}

// --- broken ---

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    for (file, _) in TINY {
        let whole = corpus(file);
        for end in 0..whole.len() {
            let cut = &whole[..end];
            let result = limits::IMPORT.hold(cut.len(), || import(cut, &list_of_tiny()));
            assert!(result.is_err(), "{file} cut at {end} is accepted");
        }
    }
    for (file, list_name, ..) in GOOD {
        let (whole, list) = (bytes(file), list(list_name));
        let ends = (0..200).chain((200..whole.len()).step_by(whole.len() / 300)).chain(whole.len() - 200..whole.len());
        for end in ends {
            assert!(import(&whole[..end], &list).is_err(), "{file} cut at {end} is accepted");
        }
    }
}

fn list_of_tiny() -> List {
    static TINY: std::sync::LazyLock<List> = std::sync::LazyLock::new(|| list("tiny"));
    TINY.clone()
}

#[test]
fn a_damaged_file_never_panics() {
    for (file, _) in TINY {
        let whole = corpus(file);
        for at in 0..whole.len() {
            for bit in [0, 7] {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let result = limits::IMPORT.hold(damaged.len(), || import(&damaged, &list_of_tiny()));
                if let Err(error) = result {
                    assert!(!error.contains('\n') && error.len() < 1500, "{file}, byte {at}: {error:?}");
                }
            }
        }
    }
}

/// Changes of every kind, several at once, from a fixed seed; `PROPTEST_CASES` asks for more than the default.
#[test]
fn random_changes_never_panic() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000_u32);
    let files: Vec<Vec<u8>> = TINY.iter().map(|(file, _)| corpus(file)).collect();
    let mean = corpus("import_caffe/mean");
    let network = Network::random(&list_of_tiny(), 1).unwrap();
    let philox = Philox::new(20_150_607);
    let mut accepted = 0;
    for case in 0..cases {
        let draws = philox.draws(Purpose::TrainInit, case, 1);
        let mut next = 0;
        let mut draw = |below: usize| {
            next += 1;
            draws.word(next) as usize % below
        };
        let whole = draw(files.len() + 1);
        let mut file = files.get(whole).unwrap_or(&mean).clone();
        for _ in 0..1 + draw(4) {
            let at = draw(file.len().max(1));
            let some = (1 + draw(16)).min(file.len() - at);
            match draw(6) {
                0 => file.iter_mut().skip(at).take(some).for_each(|byte| *byte = draw(256) as u8),
                1 => file.iter_mut().skip(at).take(some).for_each(|byte| *byte = [0x00, 0xff][draw(2)]),
                2 => drop(file.drain(at..at + some)),
                3 => drop(file.splice(at..at, std::iter::repeat_n(draw(256) as u8, some))),
                4 => {
                    let other = &files[draw(files.len())];
                    let from = draw(other.len() - 64);
                    drop(file.splice(at..at + some, other[from..from + draw(64)].iter().copied()));
                }
                _ => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << draw(8)),
            }
        }
        let result = limits::IMPORT.hold(file.len(), || import(&file, &list_of_tiny()));
        match result {
            Ok(_) => accepted += 1,
            Err(error) => assert!(!error.contains('\n') && error.len() < 1500, "case {case}: {error:?}"),
        }
        if whole == files.len() {
            let mut network = network.clone();
            let read = || import::read_mean(Path::new("the mean"), &file, &mut network);
            _ = limits::IMPORT.hold(file.len(), read);
        }
        _ = limits::IMPORT.hold(file.len(), || Pickle::read(&file).map(|pickle| pickle.state_dict().map(drop)));
    }
    // Changes of weights do no harm: not all of this ends at the first byte.
    assert!(accepted > cases / 50 && accepted < cases / 2, "{accepted} of {cases} accepted");
}

#[test]
fn not_a_number_and_infinity_are_refused() {
    let tiny = list("tiny");
    let good = import(&corpus("import_caffe/good-v2"), &tiny).unwrap().network;
    let last = good.parameters[2].bias[2].to_le_bytes();
    for (bad, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for file in
            ["import_caffe/good-v2", "import_onnx/good-raw", "import_pth/good-legacy", "import_pth/good-safetensors"]
        {
            let want = format!("has {shown} at flat index 2, wanted finite numbers");
            assert_refused(&patched(&corpus(file), &last, &bad.to_le_bytes()), &tiny, &want);
        }
        let zip = patched(&corpus("import_pth/good-zip"), &last, &bad.to_le_bytes());
        assert_refused(&zip, &tiny, "is damaged: CRC-32");
    }
}

#[test]
fn files_of_other_formats_are_said_to_be_what_they_seem() {
    let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
    for (file, want) in [
        (&b""[..], "an empty file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x1f\x8b\x08", "a gzip file; unpack it first"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"name: \"CaffeNet\"\nlayer {", "a .prototxt has no weights"),
        (b"\x80\x02}q\x00.", "a pickle, but none that torch.save has written"),
        (b"pareidolia checkpoint 1\n", "a checkpoint of a run"),
        (b"hello", "of no format that is known here"),
        (&[0xff; 64], "of no format that is known here"),
        (&tar, "a tar archive"),
    ] {
        let error = seems::format(file).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    }
    assert_eq!(seems::format(&bytes("mean.binaryproto")).unwrap_err(), seems::BLOB);
    assert_refused(&bytes("torchscript.pth"), &list("tiny"), "a TorchScript archive");
    assert_refused(&bytes("module.pth"), &list("tiny"), "it wants \"torch.nn.modules.container.Sequential\"");
    assert_refused(
        &bytes("checkpoint.pth"),
        &list("tiny"),
        "its \"epoch\" is an integer, wanted a tensor: save model.state_dict()",
    );
}

// --- made to hurt ---

/// Reads a pickle within the limits; what it is, or why it is none.
fn pickle(bytes: &[u8]) -> Result<usize, String> {
    limits::IMPORT
        .hold(bytes.len(), || Pickle::read(bytes).and_then(|pickle| pickle.state_dict().map(|dict| dict.len())))
}

#[test]
fn hostile_pickles_are_refused_and_nothing_is_executed() {
    let global = |module: &str, name: &str| format!("c{module}\n{name}\n").into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            [&b"\x80\x02"[..], &global("os", "system"), b"X\x04\x00\x00\x00true\x85R."].concat(),
            "byte 2: it wants \"os.system\"",
        ),
        ([&b"\x80\x02"[..], &global("posix", "system"), b"."].concat(), "it wants \"posix.system\""),
        ([&b"\x80\x02"[..], &global("__builtin__", "eval"), b"."].concat(), "it wants \"__builtin__.eval\""),
        ([&b"\x80\x02"[..], &global("torch", "load"), b"."].concat(), "it wants \"torch.load\""),
        ([&b"\x80\x02"[..], &global("torch._utils", "_rebuild_tensor_v3"), b"."].concat(), "_rebuild_tensor_v3"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.".to_vec(), "it wants \"os.system\""),
        (b"\x80\x02(ios\nsystem\n.".to_vec(), "opcode 0x69 (i), which no state dict needs"),
        (b"\x80\x02\x82\x01.".to_vec(), "opcode 0x82"),
        (b"\x80\x02}\x81.".to_vec(), "opcode 0x81"),
        (b"\x80\x02S'a'\n.".to_vec(), "opcode 0x53 (S)"),
        (b"\x80\x02\x00".to_vec(), "opcode 0x00"),
        (b"\x80\x09.".to_vec(), "protocol 9, wanted 2 to 5"),
        (b"\x80\x02.".to_vec(), "empty stack"),
        (b"\x80\x02(.".to_vec(), "empty stack"),
        (b"\x80\x02t.".to_vec(), "no mark"),
        (b"\x80\x02}h\x07.".to_vec(), "nothing is remembered under 7"),
        (b"\x80\x02}j\xff\xff\xff\xff.".to_vec(), "nothing is remembered under 4294967295"),
        (b"\x80\x02}(K\x01u.".to_vec(), "odd number"),
        (b"\x80\x02]K\x01K\x02s.".to_vec(), "sets an item or a state of a list"),
        (b"\x80\x02}K\x01a.".to_vec(), "appends to a dict"),
        (b"\x80\x02K\x01)R.".to_vec(), "it calls an integer"),
        (
            [&b"\x80\x02"[..], &global("torch", "FloatStorage"), b")R."].concat(),
            "it calls Storage(F32) with 0 arguments",
        ),
        ([&b"\x80\x02"[..], &global("collections", "OrderedDict"), b"K\x01R."].concat(), "it calls with an integer"),
        (b"\x80\x02K\x01Q.".to_vec(), "names no storage"),
        (b"\x80\x02X\xff\xff\xff\xffa".to_vec(), "truncated: 4294967295 bytes wanted, 1 left"),
        (b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffa".to_vec(), "truncated"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.".to_vec(), "not UTF-8"),
        (b"\x80\x02K\x01.".to_vec(), "holds an integer, wanted a dict of tensors"),
        (b"\x80\x02}K\x01K\x02s.".to_vec(), "a key of its dict is an integer"),
        (b"\x80\x02cos".to_vec(), "truncated"),
    ];
    for (bytes, want) in cases {
        let error = pickle(&bytes).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
        for end in 0..bytes.len() - 1 {
            assert!(pickle(&bytes[..end]).is_err());
        }
    }

    // A list that holds itself, and the deepest nesting there is room for: neither is followed.
    assert_eq!(
        pickle(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.").unwrap_err(),
        "its \"a\" is a dict, wanted a tensor: save model.state_dict()"
    );
    let mut deep = b"\x80\x02".to_vec();
    deep.extend(std::iter::repeat_n(b"]", 200_000).flatten());
    deep.extend(std::iter::repeat_n(b"a", 199_999).flatten());
    deep.push(b'.');
    assert!(pickle(&deep).unwrap_err().contains("holds a list"));

    // The same command inside a whole file, through the program: it is refused, and has not run.
    let folder = tempfile::tempdir().unwrap();
    let legacy = [
        &b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."[..],
        b"\x80\x02cos\nsystem\nX\x08\x00\x00\x00touch it\x85R.",
    ]
    .concat();
    std::fs::write(folder.path().join("x.pth"), legacy).unwrap();
    let line = refused(folder.path(), 1, &["import", "x.pth", "--out", "y"]);
    assert!(line.contains("state dict: pickle, byte 2: it wants \"os.system\""), "{line}");
    assert!(!folder.path().join("it").exists());
}

#[test]
fn large_pickles_cost_no_more_than_their_limits() {
    const N: usize = 3 << 20;
    let many = |unit: &[u8], n: usize| [&b"\x80\x02"[..], &unit.repeat(n), b"."].concat();
    for (bytes, want) in [
        (many(b"N", N), "more than 262144 values"),
        (many(b"]", N), "more than 262144 values"),
        (many(b"(", N), "more than 262144 marks"),
        (many(b"N\x94", N / 2), "more than 262144 values"),
        ([&b"\x80\x02N"[..], &b"\x94".repeat(N), b"."].concat(), "more than 262144 values to remember"),
        ([&b"\x80\x02Nq\x00"[..], &b"h\x00".repeat(N / 2), b"."].concat(), "holds None"),
        ([&b"\x80\x02Nq\x00("[..], &b"h\x00".repeat(N / 2), b"t."].concat(), "holds a tuple"),
        (many(b"X\x00\x00\x00\x00", N), "more than 262144 values"),
        (vec![0x80, 2, b'X', 0xff, 0xff, 0xff, 0], "truncated"),
        ([b"\x80\x02X\xff\xff\x7f\x00".to_vec(), vec![b'a'; 9 << 20]].concat(), "longer than 4194304 bytes"),
    ] {
        let error = pickle(&bytes).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    }
    // A list that is copied into one dict after the other.
    let pair = b"](X\x01\x00\x00\x00aNe";
    let copies = [
        b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(".as_slice(),
        &pair.repeat(10_000),
        b"e",
        &b"h\x00h\x01\x85R".repeat(100_000),
        b".",
    ]
    .concat();
    assert!(pickle(&copies).unwrap_err().contains("more than 262144 items in OrderedDicts"));
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])], method: rawzip::CompressionMethod) -> Vec<u8> {
    use std::io::Write;
    let mut output = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut output);
    for (name, content) in entries {
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    output
}

/// The pickle of a state dict of one tensor: of this shape, strides and offset, of the storage "0" of four floats.
fn one_tensor(shape: &[u32], strides: &[u32], offset: u32) -> Vec<u8> {
    let tuple = |numbers: &[u32]| {
        let items =
            numbers.iter().flat_map(|&number| [b"\x8a\x05".to_vec(), number.to_le_bytes().to_vec(), vec![0]].concat());
        [b"(".to_vec(), items.collect(), b"t".to_vec()].concat()
    };
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    [
        b"\x80\x02}".to_vec(),
        text("w"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        b"K\x04tQ".to_vec(),
        [&b"\x8a\x05"[..], &offset.to_le_bytes(), &[0]].concat(),
        tuple(shape),
        tuple(strides),
        b"\x89Nt".to_vec(),
        b"Rs.".to_vec(),
    ]
    .concat()
}

#[test]
fn archives_made_to_hurt_are_refused() {
    const STORE: rawzip::CompressionMethod = rawzip::CompressionMethod::STORE;
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let tiny = list("tiny");
    let archive = |shape: &[u32], strides: &[u32], offset: u32, storage: &[u8]| {
        zip(&[("a/data.pkl", &one_tensor(shape, strides, offset)), ("a/data/0", storage)], STORE)
    };
    let read = |file: &[u8]| {
        limits::IMPORT.hold(file.len(), || pth::read_zip(file).map(|tensors| tensors[0].values().unwrap()))
    };
    assert_eq!(read(&archive(&[2, 2], &[2, 1], 0, &floats)).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read(&archive(&[2, 2], &[1, 2], 0, &floats)).unwrap(), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(
        read(&archive(&[3, 2], &[1, 1], 0, &floats)).unwrap(),
        [1.0, 2.0, 2.0, 3.0, 3.0, 4.0],
        "overlapping rows"
    );
    assert_eq!(read(&archive(&[2, 3], &[1, 0], 1, &floats)).unwrap(), [2.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    assert_eq!(read(&archive(&[], &[], 3, &floats)).unwrap(), [4.0]);
    assert!(read(&archive(&[0, 5], &[1, 1], 9, &floats)).unwrap().is_empty());
    for (file, want) in [
        (archive(&[5], &[1], 0, &floats), "reaches beyond its storage of 4 values"),
        (archive(&[2, 2], &[2, 1], 1, &floats), "reaches beyond its storage of 4 values"),
        (archive(&[2], &[u32::MAX], 0, &floats), "reaches beyond its storage"),
        (archive(&[u32::MAX, u32::MAX], &[0, 0], 0, &floats), "more than 268435456 values"),
        (archive(&[u32::MAX, u32::MAX, u32::MAX, 0], &[0; 4], 0, &floats), "more than 268435456 values"),
        (archive(&[1; 9], &[1; 9], 0, &floats), "not up to 8 integers"),
        (archive(&[2], &[1, 1], 0, &floats), "has 1 dimensions and 2 strides"),
        (archive(&[4], &[1], 0, &floats[..15]), "its storage has 15 bytes, wanted 4 values"),
        (zip(&[("a/data.pkl", &one_tensor(&[4], &[1], 0))], STORE), "its entry \"a/data/0\" is missing"),
        (zip(&[("a/data/0", &floats)], STORE), "without data.pkl"),
        (zip(&[("data.pkl", b"x")], STORE), "without data.pkl"),
        (zip(&[("a/data.pkl", b"x"), ("b/data.pkl", b"x")], STORE), "several data.pkl"),
        (zip(&[("a/data.pkl", b"x"), ("a/data.pkl", b"x")], STORE), "is there twice"),
        (
            zip(&[("a/data.pkl", b"x")], rawzip::CompressionMethod::DEFLATE),
            "is compressed; torch.save compresses nothing",
        ),
        (zip(&[], STORE), "without data.pkl"),
        (
            zip(&[("a/data.pkl", &one_tensor(&[4], &[1], 0)), ("a/data/0", &floats), ("a/byteorder", b"big")], STORE),
            "its byte order is \"big\", wanted little",
        ),
    ] {
        let error = read(&file).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
        assert_refused(&file, &tiny, want);
    }
    // A value repeated more often than any layer has weights is never written out: the shape is compared first.
    let large = archive(&[1 << 14, 1 << 14], &[0, 0], 0, &floats);
    limits::IMPORT.hold(large.len(), || assert_refused(&large, &tiny, "tensor \"stem.conv.weight\" is missing"));
    let entries: Vec<String> = (0..70_000).map(|i| format!("a/{i}")).collect();
    let entries: Vec<(&str, &[u8])> = entries.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let many = zip(&entries, STORE);
    limits::IMPORT.hold(many.len(), || assert_refused(&many, &tiny, "more than 65536 entries"));
}

#[test]
fn messages_made_to_hurt_cost_no_more_than_their_limits() {
    let tiny = list("tiny");
    let field = |number: u64, content: &[u8]| {
        let mut bytes = varint(number << 3 | 2);
        bytes.extend(varint(content.len() as u64));
        bytes.extend(content);
        bytes
    };
    let onnx = |graph: &[u8]| [&b"\x08\x06"[..], &field(7, graph), &field(8, b"\x10\x0b")].concat();
    let name = field(1, &vec![b'n'; 1 << 11]);
    for (file, want) in [
        (field(100, b"").repeat(1 << 18), "more than 4096 layers"),
        (field(2, b"").repeat(1 << 18), "more than 4096 layers"),
        (field(2, &field(2, b"").repeat(1 << 18)), "more than 64 bottoms or tops"),
        (field(100, &field(7, b"").repeat(1 << 18)), "more than 8 blobs"),
        (field(100, &name), "a name of 2048 bytes"),
        (
            field(
                100,
                &[field(1, b"c"), field(2, b"Convolution"), field(3, b"d"), field(7, &field(7, &field(1, &[1; 99])))]
                    .concat(),
            ),
            "more than 8 integers",
        ),
        (
            field(
                100,
                &[
                    field(1, b"c"),
                    field(2, b"Convolution"),
                    field(3, b"d"),
                    field(7, b"\x08\x7f\x10\x7f\x18\x7f\x20\x7f"),
                ]
                .concat(),
            ),
            "tensor \"c.weight\" has 0 bytes, its shape (127, 127, 127, 127) needs 1040578564",
        ),
        (onnx(&field(1, b"").repeat(1 << 18)), "more than 4096 nodes"),
        (onnx(&field(1, &field(1, b"").repeat(1 << 18))), "more than 64 inputs or outputs"),
        (onnx(&field(5, b"").repeat(1 << 18)), "is there twice"),
        (onnx(&field(11, b"").repeat(1 << 18)), "4096 initializers, inputs or outputs"),
        (onnx(b""), "it has no layers"),
        ([&b"\x08\x06"[..], &field(8, b"\x10\x0b"), b"\x3a\x05a"].concat(), "truncated"),
    ] {
        let error = limits::IMPORT.hold(file.len(), || import(&file, &tiny)).map(drop).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    }
    // Nodes that pass on what they take, in a ring: Caffe's layers in place may name themselves.
    let ring = field(100, &[field(1, b"a"), field(2, b"Dropout"), field(3, b"x"), field(4, b"x")].concat());
    let end = field(100, &[field(1, b"p"), field(2, b"Softmax"), field(3, b"x"), field(4, b"p")].concat());
    let file = [ring.repeat(3), end].concat();
    assert_refused(&file, &tiny, "\"x\", which nothing in the file gives, where the list has layer \"fc\" (dense)");
    assert!(caffe::read(&file).is_ok());
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
