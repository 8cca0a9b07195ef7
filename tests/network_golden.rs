//! The large networks against recorded outputs: AlexNet in three layouts with weights and images by formula, layer by layer, and
//! SqueezeNet as it was trained.

mod common;
#[path = "common/formula.rs"]
mod formula;

use std::path::Path;
use std::sync::Arc;

use formula::{CAFFE, TORCHVISION, hash, value};
use pareidolia::backend::cpu::classify::Classifier;
use pareidolia::experiment::classify::{Fit, classify, read};
use pareidolia::network::list::List;
use pareidolia::network::weights::{Files, Given};
use pareidolia::network::{Network, Preprocess};
use pareidolia::simd::Simd;
use safetensors::SafeTensors;

/// The f64 values of a tensor of a file known to be good.
fn read_f64(file: &SafeTensors, name: &str) -> Vec<f64> {
    file.tensor(name).unwrap().data().chunks(8).map(|word| f64::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn formula_has_the_values_of_its_readme() {
    assert_eq!([hash(1, 0), hash(1, 1), hash(16, 999)], [301_794_027, 139_388_833, 314_871_531]);
    assert_eq!(hash(11, 18_874_367), 693_092_228);
    assert_eq!(f64::from(value(1, 0, 197, 25)), -0.330_687_314_271_926_9);
    assert_eq!(f64::from(value(48, 2, 128, 26)), 0.018_613_815_307_617_188);
    let blue: Vec<u8> = CAFFE.images(227, true).chunks(3).take(8).map(|pixel| pixel[2]).collect();
    assert_eq!(blue, [125, 165, 125, 134, 125, 138, 148, 131]);
    let red: Vec<u8> = TORCHVISION.images(224, false).chunks(3).take(8).map(|pixel| pixel[0]).collect();
    assert_eq!(red, [70, 51, 104, 60, 53, 60, 75, 76]);
}

/// Every activation that `file` records, of both images, then the logits: of `network`, whose layer `layers` names each.
fn compare(data: &Path, file: &str, network: Network, images: &[u8], layers: &[(&str, &str)]) {
    let bytes = std::fs::read(data.join("alexnet-golden").join(file)).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let network = Arc::new(network);
    let classifier = Classifier::new(Arc::clone(&network), Simd::detect());
    let mut activations: Vec<Vec<f32>> = vec![Vec::new(); network.layers.len()];
    let mut sums: Vec<Vec<f64>> = vec![Vec::new(); network.layers.len()];
    for image in images.chunks(images.len() / 2) {
        classifier.activations(image, &mut |layer, shape, values| {
            assert_eq!(shape.len(), values.len());
            sums[layer].push(values.iter().copied().map(f64::from).sum());
            activations[layer].extend(values);
        });
    }
    for (recorded, layer) in layers {
        let at = network.layers.iter().position(|known| known.name == *layer).unwrap();
        let (got, got_sums) = (&activations[at], &sums[at]);
        let samples = read_f64(&golden, &format!("act.{recorded}.samples"));
        let largest = samples.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        for (j, want) in samples.iter().enumerate() {
            let got = f64::from(got[j * (got.len() / 16)]);
            // Rounding of k products in f32, as a share of the largest: about 2^-24 sqrt(k), 2e-6 at k = 1000, and what comes with
            // the input.
            assert!((want - got).abs() <= 2e-5 * largest, "{file} {layer}, sample {j}: want {want}, got {got}");
        }
        for (image, want) in read_f64(&golden, &format!("act.{recorded}.sum")).iter().enumerate() {
            let got = got_sums[image];
            assert!(
                (want - got).abs() <= 2e-5 * want.abs(),
                "{file} {layer}, sum of image {image}: want {want}, got {got}"
            );
        }
    }
    let want = read_f64(&golden, "logits_f64");
    let mut got = vec![f32::NAN; 2000];
    classifier.logits(images, &mut got);
    let worst = want.iter().zip(&got).map(|(want, got)| (want - f64::from(*got)).abs()).fold(0.0, f64::max);
    println!("{file}: largest difference of a logit {worst:.2e}");
    assert!(worst <= 1e-3, "{file}: a logit differs by {worst}");
    let mut probabilities = vec![f32::NAN; 2000];
    classifier.classify(images, &mut probabilities);
    for (index, (want, got)) in read_f64(&golden, "softmax_f64").iter().zip(&probabilities).enumerate() {
        assert!((want - f64::from(*got)).abs() <= 1e-4, "{file} probability {index}: want {want}, got {got}");
    }
    // The bits of an image do not depend on its neighbours, nor on the instruction set.
    let mut alone = vec![f32::NAN; 1000];
    classifier.logits(&images[images.len() / 2..], &mut alone);
    assert!(alone.iter().zip(&got[1000..]).all(|(a, b)| a.to_bits() == b.to_bits()), "{file}: an image alone");
}

const CAFFE_LAYERS: [(&str, &str); 12] = [
    ("conv1", "relu1"),
    ("norm1", "norm1"),
    ("pool1", "pool1"),
    ("conv2", "relu2"),
    ("norm2", "norm2"),
    ("pool2", "pool2"),
    ("conv3", "relu3"),
    ("conv4", "relu4"),
    ("conv5", "relu5"),
    ("pool5", "pool5"),
    ("fc6", "relu6"),
    ("fc7", "relu7"),
];

#[test]
fn caffe_alexnets_match_golden_layer_by_layer() {
    let Some(data) = common::data_dir() else { return };
    let images = CAFFE.images(227, true);
    for (name, file) in [("bvlc-alexnet", "bvlc_alexnet.safetensors"), ("caffenet", "caffenet.safetensors")] {
        let list = List::built_in(name).unwrap();
        // The golden's own means.
        let mean = [104.0, 117.0, 123.0].iter().flat_map(|&mean| vec![mean; 227 * 227]).collect();
        let preprocess = Preprocess { scale: [1.0; 3], mean, channel_order: list.channel_order };
        compare(&data, file, CAFFE.network(&list, preprocess), &images, &CAFFE_LAYERS);
    }
}

#[test]
fn torchvision_alexnet_matches_golden_layer_by_layer() {
    let Some(data) = common::data_dir() else { return };
    let list = List::built_in("torchvision-alexnet").unwrap();
    // (2 p - 255) / 128, exact.
    let preprocess =
        Preprocess { scale: [1.0 / 64.0; 3], mean: vec![127.5; 3 * 224 * 224], channel_order: list.channel_order };
    let layers = [
        ("conv1", "features.1"),
        ("pool1", "features.2"),
        ("conv2", "features.4"),
        ("pool2", "features.5"),
        ("conv3", "features.7"),
        ("conv4", "features.9"),
        ("conv5", "features.11"),
        ("pool5", "features.12"),
        ("fc6", "classifier.2"),
        ("fc7", "classifier.5"),
    ];
    let network = TORCHVISION.network(&list, preprocess);
    compare(&data, "torchvision_alexnet.safetensors", network, &TORCHVISION.images(224, false), &layers);
}

#[test]
fn squeezenet_takes_the_hen_for_a_hen() {
    let Some(data) = common::data_dir() else { return };
    let files = Files {
        weights: Some(data.join("squeezenet-v1.0.safetensors")),
        class_names: Some(data.join("imagenet_classes.txt")),
        ..Files::default()
    };
    let network = Arc::new(files.load().unwrap());
    assert_eq!((network.name.as_str(), network.input.height, network.image.height), ("squeezenet", 227, 256));
    let items = read(&data.join("hen_256.png"), &network, Fit::default(), None).unwrap();
    let bytes = std::fs::read(data.join("squeezenet-golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let want = read_f64(&golden, "logits_f64");
    let mut first: Option<Vec<f32>> = None;
    for simd in Simd::available() {
        let mut logits = vec![f32::NAN; 1000];
        Classifier::new(Arc::clone(&network), simd).logits(&items[0].pixels, &mut logits);
        for (class, (want, got)) in want.iter().zip(&logits).enumerate() {
            assert!((want - f64::from(*got)).abs() <= 1e-3, "{simd} class {class}: want {want}, got {got}");
        }
        let first = first.get_or_insert_with(|| logits.clone());
        assert!(first.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits()), "{simd}: other bits");
    }
    let probabilities = classify(&network, Simd::detect(), &items).unwrap().remove(0);
    let best = (0..1000).reduce(|best, class| if probabilities[class] > probabilities[best] { class } else { best });
    assert_eq!((best, network.classes[8].as_str()), (Some(8), "hen"));
    assert!((probabilities[8] - 0.999_482).abs() < 1e-4, "{}", probabilities[8]);
}

#[test]
fn a_mean_image_of_256_is_cut_to_what_the_network_sees() {
    let Some(data) = common::data_dir() else { return };
    let path = data.join("squeezenet-v1.0.safetensors");
    let given = Given { mean: Some(data.join("ilsvrc_2012_mean.safetensors")), ..Given::default() };
    let network = Network::load_as(&path, &given).unwrap();
    let bytes = std::fs::read(data.join("ilsvrc_2012_mean.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mean: Vec<f32> = file
        .tensor("mean")
        .unwrap()
        .data()
        .chunks(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    for (channel, y, x) in [(0, 0, 0), (1, 226, 226), (2, 100, 7)] {
        let want = mean[(channel * 256 + 14 + y) * 256 + 14 + x];
        assert_eq!(network.preprocess.mean[(channel * 227 + y) * 227 + x], want, "{channel} {y} {x}");
    }
    assert!(network.sha256.contains(" mean "));
}
