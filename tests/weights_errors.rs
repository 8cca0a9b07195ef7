//! Weights files that are broken, and those whose metadata say how they are to be used.

mod common;

use std::io::Write;
use std::path::Path;

use pareidolia::network::list::List;
use pareidolia::network::weights::Given;
use pareidolia::network::{Layer, Network, lenet, shapes};
use serde_json::{Map, Value, json};

/// A list of a network that is small, sees the middle of its images, and has a mean and a scale a channel.
const SMALL: &str = r#"
name = "small"
channel_order = "RGB"
image = 6
crop = 4
mean = [1, 2, 3]
scale = [0.5, 0.25, 0.125]
classes = 2
layers = [
  { name = "conv", type = "convolution", outputs = 5, kernel = 1 },
  { name = "pool", type = "average-pool", kernel = 4, rounding = "floor" },
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
"#;

/// A weights file in the making: metadata, and tensors with name, type, shape and bytes.
#[derive(Clone, Default)]
struct File {
    metadata: Vec<(&'static str, String)>,
    tensors: Vec<(String, &'static str, Vec<usize>, Vec<u8>)>,
}

impl File {
    /// A LeNet of zeros for `n_classes`, without metadata.
    fn lenet(n_classes: usize) -> File {
        let layers = lenet::layers(n_classes);
        let shapes = shapes(lenet::INPUT, &layers).unwrap();
        let mut file = File::default();
        for (name, shape) in layers.iter().zip(&shapes).filter_map(|(layer, &input)| Layer::weight(layer, input)) {
            file = file.with(&format!("{name}.bias"), &shape[..1]).with(&format!("{name}.weight"), &shape);
        }
        file
    }

    /// The weights of [`SMALL`], zeros.
    fn small() -> File {
        let file = File::default().with("conv.weight", &[5, 3, 1, 1]).with("conv.bias", &[5]);
        file.with("fc.weight", &[2, 5]).with("fc.bias", &[2])
    }

    fn key(mut self, key: &'static str, value: &str) -> File {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// With a float32 tensor of zeros more.
    fn with(mut self, name: &str, shape: &[usize]) -> File {
        self.tensors.push((name.to_string(), "F32", shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()]));
        self
    }

    fn without(mut self, name: &str) -> File {
        self.tensors.retain(|tensor| tensor.0 != name);
        self
    }

    /// With value `at` of tensor `name` set.
    fn set(mut self, name: &str, at: usize, value: f32) -> File {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        tensor.3[4 * at..4 * at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// With tensor `name` in another type, of two bytes a value.
    fn half(mut self, name: &str) -> File {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        tensor.1 = "F16";
        tensor.3.truncate(tensor.3.len() / 2);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let metadata: Map<String, Value> = self.metadata.iter().map(|(k, v)| (k.to_string(), json!(v))).collect();
        let mut header = Map::from_iter([("__metadata__".to_string(), Value::from(metadata))]);
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in &self.tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
            data.extend(bytes);
        }
        with_header(&Value::from(header).to_string(), &data)
    }
}

fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[track_caller]
fn assert_refused(bytes: &[u8], want: &str) {
    let error = Network::from_bytes(bytes, None).expect_err(want).to_string();
    assert!(error.starts_with("built-in weights: ") && error.contains(want), "want {want:?} in {error:?}");
    assert!(!error.contains('\n') && error.len() < 1500, "not one line: {error:?}");
}

#[test]
fn a_file_that_is_no_safetensors_file_is_refused() {
    let good = File::lenet(10).bytes();
    Network::from_bytes(&good, None).unwrap();
    assert_refused(b"", "0 bytes: too short for a safetensors file");
    assert_refused(b"\x89PNG", "4 bytes: too short for a safetensors file");
    assert_refused(b"this is a text, and no weights file", "announce a header of 2338328219631577204 bytes, 27 follow");
    assert_refused(&u64::MAX.to_le_bytes(), "announce a header of 18446744073709551615 bytes, 0 follow");
    let absurd = [&(19_999_999u64).to_le_bytes()[..], &vec![b' '; 20_000_000]].concat();
    assert_refused(&absurd, "announce a header of 19999999 bytes, 20000000 follow");
    assert_refused(
        &with_header("{\"a\": \n nonsense}", &[]),
        "not a safetensors file, or truncated: invalid JSON in header",
    );
    assert_refused(&with_header("\u{fffd}", &[]), "not a safetensors file");
    let huge_name = format!("{{\"a\":{{\"dtype\":\"{}\",\"shape\":[],\"data_offsets\":[0,4]}}}}", "\\n".repeat(5_000));
    assert_refused(&with_header(&huge_name, &[0; 4]), "not a safetensors file");
    let overflow = format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{0},{0}],\"data_offsets\":[0,4]}}}}", u64::MAX);
    assert_refused(&with_header(&overflow, &[0; 4]), "not a safetensors file");
    assert_refused(&[&good[..], &[0]].concat(), "not a safetensors file, or truncated");
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let good = File::lenet(10).bytes();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let ends = (0..header + 16).chain((header + 16..good.len()).step_by(9_973)).chain([good.len() - 1]);
    for end in ends {
        let error = Network::from_bytes(&good[..end], None).expect_err(&format!("cut at {end}")).to_string();
        assert!(error.contains("truncated") || error.contains("too short"), "cut at {end}: {error}");
    }
}

#[test]
fn a_damaged_header_never_panics() {
    let good = File::lenet(10).bytes();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for at in 0..header {
        for bit in [0, 4] {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            // Some damage is harmless, for instance to the key of the metadata; then the file loads.
            let _ = Network::from_bytes(&bytes, None);
        }
    }
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let file = || File::lenet(10);
    let cases = [
        (file().without("fc2.bias"), "tensor \"fc2.bias\" is missing; the file has \"conv1.bias\""),
        (
            file().without("conv1.weight").with("conv1.weight", &[20, 1, 3, 3]),
            "tensor \"conv1.weight\" has shape (20, 1, 3, 3), the layer needs (20, 1, 5, 5)",
        ),
        (
            file().without("fc1.bias").with("fc1.bias", &[1, 500]),
            "tensor \"fc1.bias\" has shape (1, 500), the layer needs (500)",
        ),
        (File::lenet(11), "tensor \"fc2.weight\" has shape (11, 500), the layer needs (10, 500)"),
        (file().half("conv2.weight"), "tensor \"conv2.weight\" has type F16, the layer needs F32"),
        (
            file().set("fc1.weight", 399_999, f32::NAN),
            "tensor \"fc1.weight\" has NaN at flat index 399999, the layer needs",
        ),
        (
            file().set("conv1.bias", 7, f32::NEG_INFINITY),
            "tensor \"conv1.bias\" has -inf at flat index 7, the layer needs",
        ),
        (file().set("conv1.bias", 0, f32::INFINITY), "tensor \"conv1.bias\" has inf at flat index 0, the layer needs"),
        (
            file().with("fc3.weight", &[2]).with("momentum", &[]),
            "has tensors that lenet has no use for: \"fc3.weight\", \"momentum\"",
        ),
        (file().with("mean", &[28, 28]), "tensor \"mean\" has shape (28, 28), the network needs (1, 28, 28)"),
        (file().with("mean", &[1, 28, 28]).set("mean", 783, f32::NAN), "tensor \"mean\" has NaN at flat index 783"),
        (
            file().with("mean", &[1, 28, 28]).key("mean_bgr", "33"),
            "has both a tensor \"mean\" and the metadata key \"mean_bgr\"",
        ),
    ];
    for (file, want) in cases {
        assert_refused(&file.key("format", "lenet").bytes(), want);
    }
}

#[test]
fn a_network_that_is_not_known_is_named() {
    assert_refused(&File::lenet(10).key("format", "vgg").bytes(), "network \"vgg\" is not known; known: lenet");
    let torch = File::lenet(10).key("format", "pt").key("network", "AlexNet (Krizhevsky 2012)").bytes();
    assert_refused(&torch, "network \"AlexNet\" is not known; known: lenet, ");
    assert_refused(&File::default().bytes(), "its tensors are not those of one: no tensors");
    let many = (0..30).fold(File::default(), |file, index| file.with(&format!("layer{index}"), &[]));
    assert_refused(&many.bytes(), "names no network in its metadata (key \"format\"; known: lenet, caffenet, ");
    assert_refused(&many.bytes(), " and 20 more");
}

#[test]
fn metadata_that_cannot_be_understood_are_refused_by_key_and_value() {
    let cases = [
        ("input_scale", "1/256", "a decimal number above 0"),
        ("input_scale", "0", "a decimal number above 0"),
        ("input_scale", "-0.5", "a decimal number above 0"),
        ("input_scale", "1e99", "a decimal number above 0"),
        ("input_scale", "NaN", "a decimal number above 0"),
        ("channel_order", "BGR (blue first)", "grey: the network has one input channel"),
        ("channel_order", "", "grey: the network has one input channel"),
        ("mean_bgr", "104,117,123", "1 numbers, separated by commas"),
        ("mean_bgr", "grey", "1 numbers, separated by commas"),
        ("mean_bgr", "inf", "1 numbers, separated by commas"),
        ("classes", "ten", "the number of classes"),
        ("classes", "0", "the number of classes"),
        ("classes", "99999999999999999999", "the number of classes"),
        ("class_names", "zero\none", "10 names, one a line"),
        ("class_names", "0\n1\n2\n3\n4\n \n6\n7\n8\n9", "10 names, one a line"),
        ("input", "1x227x227", "a text that begins with 1x28x28"),
        ("input", "2x1x28x28", "a text that begins with 1x28x28"),
        ("input", "grey", "a text that begins with 1x28x28"),
    ];
    for (key, value, wanted) in cases {
        let bytes = File::lenet(10).key(key, value).bytes();
        assert_refused(&bytes, &format!("metadata key {key:?} has the value {value:?}, wanted {wanted}"));
    }
}

#[test]
fn metadata_say_how_the_network_is_used() {
    let network = Network::from_bytes(&File::lenet(10).key("format", "pt").bytes(), None).unwrap();
    assert_eq!((network.preprocess.scale, network.preprocess.mean.len()), ([1.0 / 256.0; 3], 0));
    assert_eq!((network.classes.concat().as_str(), network.path), ("0123456789", None));
    let file = File::lenet(3)
        .key("format", "caffe-lenet")
        .key("input", "1x1x28x28 float32")
        .key("input_scale", "0.125")
        .key("channel_order", "grey")
        .key("mean_bgr", "33.5 in 0..255 units")
        .key("classes", "3, of our own")
        .key("class_names", "one\nthe other\nfooling");
    let network = Network::from_bytes(&file.bytes(), None).unwrap();
    assert_eq!((network.preprocess.scale, network.preprocess.mean), ([0.125; 3], vec![33.5; 784]));
    assert_eq!(network.classes, ["one", "the other", "fooling"]);
    let network =
        Network::from_bytes(&File::lenet(10).with("mean", &[1, 28, 28]).set("mean", 3, 2.0).bytes(), None).unwrap();
    assert_eq!(network.preprocess.mean[..5], [0.0, 0.0, 0.0, 2.0, 0.0]);
}

#[test]
fn a_mean_file_replaces_the_mean_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mean.safetensors");
    let weights = File::lenet(10).key("mean_bgr", "33").bytes();
    let load = |mean: &[u8]| {
        std::fs::write(&path, mean).unwrap();
        Network::from_bytes(&weights, Some(&path))
    };
    let mean = File::default().with("mean", &[1, 28, 28]).set("mean", 5, 1.5).with("channel_mean", &[3]);
    let network = load(&mean.bytes()).unwrap();
    assert_eq!(network.preprocess.mean.iter().sum::<f32>(), 1.5);
    assert!(network.sha256.contains(" mean "));

    let cases = [
        (File::default().with("means", &[1, 28, 28]).bytes(), "tensor \"mean\" is missing; the file has \"means\""),
        (
            File::default().with("mean", &[3, 256, 256]).bytes(),
            "has shape (3, 256, 256), the network needs (1, 28, 28)",
        ),
        (File::default().with("mean", &[1, 28, 28]).half("mean").bytes(), "has type F16, the network needs F32"),
        (b"P5 28 28".to_vec(), "not a safetensors file"),
    ];
    for (bytes, want) in cases {
        let error = load(&bytes).expect_err(want).to_string();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(want), "want {want:?} in {error:?}");
    }
}

/// What [`SMALL`]'s list makes of a file.
fn small(file: &File) -> Result<Network, String> {
    let given = Given { list: Some(List::parse(SMALL).unwrap()), ..Given::default() };
    Network::from_bytes_as(&file.bytes(), &given).map_err(|error| error.to_string())
}

#[test]
fn a_list_of_the_users_own_says_what_the_network_is() {
    let network = small(&File::small()).unwrap();
    assert_eq!((network.name.as_str(), network.image.height, network.input.height), ("small", 6, 4));
    assert_eq!(network.preprocess.scale, [0.5, 0.25, 0.125]);
    assert_eq!(network.preprocess.mean, [[1.0; 16], [2.0; 16], [3.0; 16]].concat());
    assert_eq!(network.classes, ["0", "1"]);
    // The file may be of another order of channels: then the list's numbers follow it.
    let network = small(&File::small().key("channel_order", "BGR")).unwrap();
    assert_eq!((network.preprocess.scale, network.preprocess.mean[0]), ([0.125, 0.25, 0.5], 3.0));
    let all = File::small()
        .key("format", "my-net")
        .key("image_side", "5")
        .key("input", "1x3x4x4, the middle")
        .key("input_scale", "0.5,0.25,2")
        .key("input_mean", "7,8,9.5 in 0..255 units")
        .key("class_names", "a\nb")
        .key("random_weights", "random weights (seed 3)");
    let network = small(&all).unwrap();
    assert_eq!((network.image.width, network.input.width), (5, 4));
    assert_eq!((network.preprocess.scale, network.preprocess.mean[47]), ([0.5, 0.25, 2.0], 9.5));
    assert_eq!(
        (network.classes.join(" "), network.random.as_deref()),
        ("a b".to_string(), Some("random weights (seed 3)"))
    );
    // A mean image of the images' size: its middle.
    let file = File::small().with("mean", &[3, 6, 6]).set("mean", 6 + 1, 5.0).set("mean", 36 + 4 * 6 + 4, 6.0);
    let mean = small(&file).unwrap().preprocess.mean;
    assert_eq!((mean.len(), mean[0], mean[16 + 15], mean.iter().sum::<f32>()), (48, 5.0, 6.0, 11.0));
}

#[test]
fn what_does_not_fit_the_users_list_is_refused_in_a_line() {
    let cases = [
        (File::lenet(10), "tensor \"conv.weight\" is missing; the file has \"conv1.bias\""),
        (File::small().key("classes", "3"), "tensor \"fc.weight\" has shape (2, 5), the layer needs (3, 5)"),
        (File::small().with("fc2.weight", &[1]), "has tensors that small has no use for: \"fc2.weight\""),
        (
            File::small().key("crop", "3"),
            "layer \"pool\" (average-pool of (5, 3, 3)): its 4x4 window is larger than the padded input",
        ),
        (File::small().key("crop", "7").key("image_side", "6"), "the crop 7 is larger than the image, whose side is 6"),
        (
            File::small().key("crop", "0"),
            "metadata key \"crop\" has the value \"0\", wanted a number of pixels, 1 to 65536",
        ),
        (File::small().key("input", "3x6x6"), "wanted a text that begins with 3x4x4"),
        (
            File::small().key("channel_order", "grey"),
            "metadata key \"channel_order\" has the value \"grey\", wanted RGB or BGR",
        ),
        (File::small().key("input_scale", "1,2"), "wanted a decimal number above 0, or 3 of them separated by commas"),
        (File::small().key("input_mean", "1,2"), "wanted 3 numbers, separated by commas"),
        (
            File::small().key("input_mean", "1,2,3").key("mean_bgr", "1,2,3"),
            "has both the metadata key \"input_mean\" and the metadata key \"mean_bgr\"",
        ),
        (
            File::small().with("mean", &[3, 5, 5]),
            "tensor \"mean\" has shape (3, 5, 5), the network needs (3, 4, 4) or (3, 6, 6)",
        ),
        (File::small().key("random_weights", ""), "metadata key \"random_weights\""),
        (File::small().key("classes", "4000000000"), "the layer needs (4000000000, 5)"),
        (File::small().key("classes", "9000000000000"), "layer \"fc\" (dense of (5, 1, 1)): it has too many weights"),
    ];
    for (file, want) in cases {
        let error = small(&file).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
        assert!(!error.contains('\n') && error.len() < 1500, "not one line: {error:?}");
    }
}

/// The tensors of the list `name`, empty of data, are too many bytes for a test; their names are not.
#[test]
fn a_file_that_two_lists_fit_is_refused_until_one_is_named() {
    let alexnet = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];
    let file = alexnet.iter().fold(File::default(), |file, layer| file.with(&format!("{layer}.weight"), &[1]));
    assert_refused(&file.bytes(), "its tensors are those of caffenet and of bvlc-alexnet: say which with --network");
    assert_refused(
        &file.clone().key("format", "caffenet").bytes(),
        "tensor \"conv1.weight\" has shape (1), the layer needs (96, 3, 11, 11)",
    );
    let given = Given { list: List::built_in("bvlc-alexnet"), ..Given::default() };
    let named = |file: File| Network::from_bytes_as(&file.bytes(), &given).unwrap_err().to_string();
    assert!(named(file.clone()).contains("tensor \"conv1.weight\" has shape (1)"));
    let error = named(file.key("format", "caffenet"));
    assert!(error.contains("has the weights of caffenet, not of bvlc-alexnet, which --network asks for"), "{error}");
}

#[test]
fn class_names_come_from_a_file_of_the_right_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.txt");
    let load = |names: &[u8]| {
        std::fs::write(&path, names).unwrap();
        let given = Given { class_names: Some(path.clone()), ..Given::default() };
        Network::from_bytes_as(&File::lenet(3).key("classes", "3").bytes(), &given).map_err(|error| error.to_string())
    };
    assert_eq!(load(b"a\n b c \r\nd").unwrap().classes, ["a", "b c", "d"]);
    for (names, want) in [
        (&b"a\nb\n"[..], "has 2 class names, the network has 3 classes: wanted a name a line"),
        (b"a\nb\nc\nd\n", "has 4 class names, the network has 3 classes"),
        (b"a\n\nc\n", "line 2 is empty, wanted a class name a line"),
        (b"a\nb\n\xff\n", "not a text"),
    ] {
        let error = load(names).unwrap_err();
        assert!(error.starts_with(&path.display().to_string()) && error.contains(want), "want {want:?} in {error:?}");
    }
    std::fs::File::create(&path).unwrap().set_len((1 << 20) + 1).unwrap();
    let given = Given { class_names: Some(path), ..Given::default() };
    let error = Network::from_bytes_as(&File::lenet(10).bytes(), &given).unwrap_err().to_string();
    assert!(error.contains("larger than 1048576 bytes"), "{error}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| Network::load(path, None).expect_err("no weights").to_string();
    let missing = folder.path().join("none.safetensors");
    assert!(load(&missing).starts_with(&format!("{}: cannot open: ", missing.display())), "{}", load(&missing));
    assert!(
        load(folder.path()).starts_with(&format!("{}: cannot ", folder.path().display())),
        "{}",
        load(folder.path())
    );
    let large = folder.path().join("large");
    let mut file = std::fs::File::create(&large).unwrap();
    file.write_all(&File::lenet(10).bytes()).unwrap();
    file.set_len((1 << 30) + 1).unwrap(); // sparse
    assert!(load(&large).contains("larger than 1073741824 bytes"), "{}", load(&large));
}

#[test]
fn files_of_the_shared_data_are_known_or_named() {
    let Some(data) = common::data_dir() else { return };
    let load =
        |name: &str, mean: Option<&Path>| Network::load(&data.join(name), mean).map_err(|error| error.to_string());
    let cases = [
        (load("lenet-golden.safetensors", None), "network \"lenet-paper.safetensors\" is not known"),
        (load("mnist-mean.safetensors", None), "its tensors are not those of one: \"mean\""),
        (load("hen_256.png", None), "not a safetensors file"),
        (
            load("lenet-paper.safetensors", Some(&data.join("ilsvrc_2012_mean.safetensors"))),
            "tensor \"mean\" has shape (3, 256, 256), the network needs (1, 28, 28)",
        ),
    ];
    for (got, want) in cases {
        let error = got.expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
    }
}
