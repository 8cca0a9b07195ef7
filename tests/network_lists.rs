//! Layer lists: what is read, what is refused and how, and graphs against their formulas.

#[path = "common/list.rs"]
mod list;

use list::TINY;
use pareidolia::network::list::List;
use pareidolia::network::{Network, Operation, Rounding, Shape, Window, shapes};
use std::path::Path;

#[test]
fn a_list_is_read_as_it_is_written() {
    let list = List::parse(TINY).unwrap();
    assert_eq!((list.name.as_str(), list.image, list.crop, list.classes), ("tiny", 12, 9, 4));
    assert_eq!((list.mean.as_slice(), list.scale), (&[1.0, 2.5, 3.0][..], [0.5, 0.25, 0.125]));
    let layers = list.layers(7);
    let shapes: Vec<String> = shapes(list.input(), &layers).unwrap().iter().map(Shape::to_string).collect();
    let want = [
        "(3, 9, 9)",
        "(6, 5, 5)",
        "(6, 5, 5)",
        "(6, 3, 3)",
        "(6, 5, 5)",
        "(6, 3, 3)",
        "(12, 3, 3)",
        "(7, 1, 1)",
        "(7, 1, 1)",
    ];
    assert_eq!(shapes, want);
    let inputs: Vec<&[usize]> = layers.iter().map(|layer| &layer.inputs[..]).collect();
    assert_eq!(inputs, [&[0][..], &[1], &[2], &[2], &[4], &[5, 3], &[6], &[7]]);
    assert_eq!(layers[0].operation, Operation::Conv2d { out_channels: 6, kernel: 3, stride: 2, padding: 1, groups: 3 });
    let window = Window { kernel: 3, stride: 2, padding: 1, rounding: Rounding::Floor };
    assert_eq!(layers[4].operation, Operation::AveragePool { window, count_padding: false });
    assert_eq!(layers[3].operation, Operation::Lrn { size: 3, alpha: 0.5, k: 2.0 });
    assert_eq!(layers[6].operation, Operation::Dense { out_features: 7 });
}

/// Caffe's and PyTorch's sizes and divisors of poolings, from their documentation: size, kernel, stride, padding, then positions
/// rounded down and up, and what the last window rounded up sees, without and with the padding.
#[test]
fn poolings_have_the_windows_of_caffe_and_pytorch() {
    for (size, kernel, stride, padding, floor, ceil, last) in [
        (112, 3, 2, 0, 55, 56, (110, 112, 2)), // GoogLeNet: the last window hangs over
        (5, 3, 2, 1, 3, 3, (3, 5, 3)),
        (6, 3, 2, 1, 3, 4, (5, 6, 2)),
        (6, 2, 2, 1, 4, 4, (5, 6, 2)),
        (5, 2, 2, 1, 3, 3, (3, 5, 2)), // the fourth would begin beyond the image and its padding
        (13, 13, 1, 0, 1, 1, (0, 13, 13)),
        (4, 3, 3, 2, 2, 2, (1, 4, 3)),
        (7, 3, 3, 0, 2, 3, (6, 7, 1)),
    ] {
        let shape = Shape { channels: 1, height: size, width: size };
        for (rounding, want) in [(Rounding::Floor, floor), (Rounding::Ceil, ceil)] {
            let window = Window { kernel, stride, padding, rounding };
            let layers = pareidolia::network::Layer::chain([("pool", Operation::MaxPool(window))]);
            let got = shapes(shape, &layers).unwrap()[1].height;
            assert_eq!(got, want, "{size} {window:?}");
            if rounding == Rounding::Ceil {
                assert_eq!(window.span(want - 1, size), last, "{size} {window:?}");
            }
        }
    }
}

/// `TINY` with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(TINY.contains(from), "{from}");
    TINY.replacen(from, to, 1)
}

#[test]
fn what_is_no_list_or_does_not_compose_is_refused_with_layer_and_shapes() {
    List::parse(TINY).unwrap();
    let cases = [
        ("", "", "line 1: not a layer list"),
        ("name = \"tiny\"", "name = ", "line 1: not a layer list"),
        ("image = 12", "image = -12", "line 3: not a layer list: invalid value: integer `-12`"),
        ("image = 12", "image = 8", "the crop 9 is larger than the image 8"),
        ("image = 12", "picture = 12", "unknown field `picture`"),
        ("channel_order = \"RGB\"", "channel_order = \"RBG\"", "unknown variant `RBG`"),
        ("mean = [1, 2.5, 3]", "mean = [1]", "mean: wanted 3 numbers, one an input channel"),
        ("mean = [1, 2.5, 3]", "mean = [1, inf, 3]", "mean: wanted 3 numbers, one an input channel"),
        ("scale = [0.5, 0.25, 0.125]", "scale = [0.5, 0.25]", "scale has 2 numbers, wanted 3"),
        ("scale = [0.5, 0.25, 0.125]", "scale = 0", "scale: wanted numbers above 0"),
        ("classes = 4", "classes = 0", "classes is 0, wanted at least 1"),
        ("outputs = 6, ", "", "layer \"conv1\": lacks the key \"outputs\""),
        ("outputs = 6", "outputs = \"class\"", "outputs: a number, or \"classes\""),
        (
            "groups = 3",
            "groups = 4",
            "layer \"conv1\" (convolution of (3, 9, 9)): 4 groups do not divide 3 and 6 channels",
        ),
        (
            "groups = 3",
            "groups = 0",
            "layer \"conv1\" (convolution of (3, 9, 9)): out_channels, kernel, stride and groups",
        ),
        (
            "kernel = 3, stride = 2, padding = 1, groups",
            "kernel = 12, stride = 2, padding = 1, groups",
            "layer \"conv1\" (convolution of (3, 9, 9)): its 12x12 kernel is larger than the padded input (3, 9, 9)",
        ),
        (
            "padding = 1, groups",
            "padding = 9223372036854775807, groups",
            "the padding 9223372036854775807 is too large",
        ),
        ("outputs = 6", "outputs = 3000000000", "it has too many weights"),
        ("type = \"relu\"", "type = \"tanh\"", "unknown variant `tanh`"),
        (
            "type = \"relu\"",
            "type = \"relu\", kernel = 2",
            "layer \"relu1\": a layer of type \"relu\" has no key \"kernel\"",
        ),
        ("type = \"relu\"", "type = \"relu\", slope = 2", "unknown field `slope`"),
        (
            "name = \"relu1\"",
            "name = \"conv1\"",
            "the name \"conv1\" stands for two layers, or for the network's input",
        ),
        (
            "name = \"relu1\"",
            "name = \"input\"",
            "the name \"input\" stands for two layers, or for the network's input",
        ),
        ("name = \"relu1\"", "name = \"\"", "layer 1 has the name \"\""),
        (
            "inputs = [\"relu1\"], kernel = 2",
            "inputs = [\"relu2\"], kernel = 2",
            "layer \"left\": its input \"relu2\" is no layer before it, nor \"input\"",
        ),
        (
            "inputs = [\"relu1\"], kernel = 2",
            "inputs = [\"both\"], kernel = 2",
            "layer \"left\": its input \"both\" is no layer before it",
        ),
        (
            "inputs = [\"relu1\"], kernel = 2",
            "inputs = [\"relu1\", \"conv1\"], kernel = 2",
            "layer \"left\" (max-pool of (6, 5, 5), (6, 5, 5)): has 2 inputs, it takes one",
        ),
        (
            "inputs = [\"relu1\"], kernel = 2",
            "inputs = [], kernel = 2",
            "layer \"left\" (max-pool of ): has 0 inputs, it takes one",
        ),
        ("rounding = \"ceil\"", "padding = 0", "layer \"left\": lacks the key \"rounding\""),
        (
            "kernel = 2, stride = 2, rounding",
            "kernel = 2, stride = 3, rounding",
            "layer \"left\" (max-pool of (6, 5, 5)): kernel 2, stride 3, padding 0",
        ),
        (
            "kernel = 2, stride = 2, rounding",
            "kernel = 6, stride = 2, rounding",
            "its 6x6 window is larger than the padded input (6, 5, 5)",
        ),
        ("beta = 0.75", "beta = 0.5", "layer \"norm\": beta is 0.5, there is 0.75"),
        ("size = 3", "size = 4", "layer \"norm\" (lrn of (6, 5, 5)): size 4, alpha 0.5, k 2"),
        ("k = 2 ", "k = 0 ", "layer \"norm\" (lrn of (6, 5, 5)): size 3, alpha 0.5, k 0"),
        (
            "inputs = [\"right\", \"left\"]",
            "inputs = [\"right\"] },\n  { name = \"more\", type = \"concat\", inputs = [\"both\", \"left\"]",
            "layer \"both\" (concat of (6, 3, 3)): needs two inputs or more",
        ),
        (
            "kernel = 2, stride = 2, rounding",
            "kernel = 2, stride = 1, rounding",
            "layer \"both\" (concat of (6, 3, 3), (6, 4, 4)): its inputs (6, 3, 3) and (6, 4, 4) differ in height or width",
        ),
        (
            "inputs = [\"right\", \"left\"]",
            "inputs = [\"right\", \"right\"]",
            "no layer takes what layer \"left\" gives",
        ),
        ("outputs = \"classes\"", "outputs = 5", "the last layer gives 5 values, wanted 4, one a class"),
        ("  { name = \"prob\", type = \"softmax\" },", "", "the last layer, and no other, must be the softmax"),
        ("type = \"relu\"", "type = \"softmax\"", "the last layer, and no other, must be the softmax"),
    ];
    for (from, to, want) in cases {
        let text = if from.is_empty() { "x".to_string() } else { changed(from, to) };
        let error = List::parse(&text).expect_err(want);
        assert!(error.contains(want), "want {want:?} in {error:?}");
        assert!(!error.contains('\n') && error.len() < 600, "not one line: {error:?}");
    }
}

#[test]
fn a_list_is_found_by_name_or_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.toml");
    std::fs::write(&path, TINY).unwrap();
    let list = List::find(&path).unwrap();
    assert_eq!((list.name.as_str(), list.sha256.as_deref().map(str::len)), ("tiny", Some(64)));
    for name in ["lenet", "CaffeNet", "squeezenet", "SqueezeNet v1.0", "bvlc-googlenet"] {
        assert_eq!(List::find(Path::new(name)).unwrap().sha256, None);
    }
    let error = List::find(Path::new("vgg")).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("network \"vgg\" is not known; wanted a layer list (FILE.toml) or one of: lenet, caffenet")
    );
    std::fs::write(&path, changed("outputs = 6", "outputs = 5")).unwrap();
    let error = List::find(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()) && error.contains("layer \"conv1\""), "{error}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(List::find(&path).unwrap_err().to_string().contains("not a text"));
    std::fs::File::create(&path).unwrap().set_len((1 << 20) + 1).unwrap();
    assert!(List::find(&path).unwrap_err().to_string().contains("larger than 1048576 bytes"));
    let missing = folder.path().join("none.toml");
    assert!(List::find(&missing).unwrap_err().to_string().contains("cannot open"));
}

#[test]
fn random_weights_say_so_and_are_the_same_for_a_seed() {
    let list = List::parse(TINY).unwrap();
    let [one, again, other] = [1, 1, 2].map(|seed| Network::random(&list, seed).unwrap());
    assert_eq!(one.parameters, again.parameters);
    assert_ne!(one.parameters, other.parameters);
    // He: within sqrt(6 / inputs), and not much less.
    for (layer, inputs) in [(0, 9.0_f32), (1, 108.0)] {
        let largest = one.parameters[layer].weight.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
        let bound = (6.0 / inputs).sqrt();
        assert!(largest <= bound && largest > 0.8 * bound, "{largest} {bound}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("random.safetensors");
    one.save(&path, &[]).unwrap();
    let given = pareidolia::network::weights::Given { list: Some(list), ..Default::default() };
    let loaded = Network::load_as(&path, &given).unwrap();
    assert_eq!(loaded.random.as_deref(), Some("random weights (He, uniform, seed 1)"));
    assert_eq!((&loaded.parameters, &loaded.preprocess), (&one.parameters, &one.preprocess));
    assert_eq!((loaded.image, loaded.input), (one.image, one.input));
}
