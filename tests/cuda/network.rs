//! Networks of all kinds on the device, with the bits of the CPU: the built-in ones, made small, and some that ask for what those do not.

use crate::evolution::job;
use crate::harness::{self, passes};
use crate::left_out::left_out;
use crate::program::{pareidolia, run};
use pareidolia::backend::Backend;
use pareidolia::backend::cpu::{CpuBackend, Options};
use pareidolia::backend::cuda::classifier::{self, Classifier};
use pareidolia::backend::cuda::network::DeviceNetwork;
use pareidolia::backend::cuda::{CudaBackend, memory};
use pareidolia::error::Error;
use pareidolia::experiment::config::{Config, Flavour, Preset};
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::layers::bytes;
use pareidolia::experiment::selftest::network::{self as selftest, compare, on_host, random};
use pareidolia::network::list::List;
use pareidolia::network::{Layer, Network, Operation, Parameters, Preprocess, Shape, shapes, weights};
use pareidolia::simd::Simd;
use std::sync::Arc;

/// `list` with random weights, mean and scale.
pub fn network(list: &List, n_classes: usize, stream: u32) -> Network {
    random(list, list.layers(n_classes), n_classes, list.input(), stream).unwrap()
}

/// The layers of `list` with about a `1 / part` of the channels, so that groups still divide them, for an input of `side`.
pub fn shrunk(list: &List, part: usize, side: usize, n_classes: usize, stream: u32) -> Network {
    let mut layers = list.layers(n_classes);
    let narrow = |n: usize, groups: usize| (n / part / groups).max(1) * groups;
    let last = layers.iter().rposition(|layer| layer.operation.has_weights()).unwrap();
    for layer in &mut layers[..last] {
        match &mut layer.operation {
            Operation::Conv2d { out_channels, groups, .. } => *out_channels = narrow(*out_channels, 2 * *groups),
            Operation::Dense { out_features } => *out_features = narrow(*out_features, 1),
            _ => {}
        }
    }
    let input = Shape { height: side, width: side, ..list.input() };
    // The average over what is left of a plane is over less.
    for index in 0..layers.len() {
        let before = shapes(input, &layers[..index]).unwrap()[layers[index].inputs[0]];
        if let Operation::AveragePool { window, .. } = &mut layers[index].operation {
            window.kernel = window.kernel.min(before.height);
        }
    }
    random(list, layers, n_classes, input, stream).unwrap()
}

/// The device gives the CPU's bits, with room for each of `capacities` images at once.
#[track_caller]
fn agree(network: &Network, batch: usize, capacities: &[usize], case: &str) {
    let images = bytes(31, batch * network.input.len());
    let want = on_host(Simd::detect(), network, &images);
    let n_classes = network.classes.len();
    assert!(want.iter().all(|p| p.is_finite()), "{case}: the CPU's answers are numbers");
    let looks = [&want[..n_classes], &want[want.len() - n_classes..]];
    assert!(looks[0] != looks[1] || batch == 1, "{case}: all images look the same: {looks:?}");
    passes(|gpu, tally| {
        capacities.iter().try_for_each(|&capacity| compare(gpu, tally, network, &images, &want, capacity))
    });
}

#[test]
fn network_of_every_operation_gives_the_bits_of_the_cpu() {
    let network = selftest::network();
    agree(&network, 5, &[1, 2, 5, 8], "every operation");
    passes(|gpu, tally| selftest::run(gpu, Extent::Full, tally));
    // An operation that comes has a layer here.
    let of = |layer: &Layer| layer.operation.type_name();
    let mut tried: Vec<&str> = network.layers.iter().map(of).collect();
    tried.sort_unstable();
    tried.dedup();
    let all = ["average-pool", "concat", "convolution", "dense", "lrn", "max-pool", "relu", "softmax"];
    assert_eq!(tried, all);
}

#[test]
fn built_in_networks_give_the_bits_of_the_cpu() {
    // Narrower, and of inputs of which a little is left before the last layers.
    for (number, (name, part, side)) in [
        ("lenet", 1, 28),
        ("caffenet", 16, 67),
        ("bvlc-alexnet", 16, 67),
        ("torchvision-alexnet", 16, 63),
        ("squeezenet", 8, 47),
        ("torchvision-squeezenet", 8, 47),
        ("bvlc-googlenet", 16, 64),
        ("torchvision-googlenet", 16, 64),
    ]
    .into_iter()
    .enumerate()
    {
        let list = List::built_in(name).unwrap();
        let network = shrunk(&list, part, side, 11, 20_000 + 1000 * number as u32);
        agree(&network, 3, &[2], name);
    }
}

/// A network of the layers in `text`, which stand behind its first lines.
fn made_of(text: &str, stream: u32) -> Network {
    let text = format!("name = \"made up\"\nchannel_order = \"RGB\"\nimage = 13\nclasses = 5\n\nlayers = [{text}]\n");
    network(&List::parse(&text).unwrap(), 5, stream)
}

#[test]
fn networks_that_no_list_has_give_the_bits_of_the_cpu() {
    for (number, layers) in [
        // Only a dense layer; no convolution first.
        r#"{ name = "fc", type = "dense", outputs = "classes" }, { name = "prob", type = "softmax" }"#,
        r#"{ name = "pool", type = "max-pool", kernel = 3, stride = 2, rounding = "ceil" },
           { name = "relu", type = "relu" }, { name = "norm", type = "lrn", size = 3, alpha = 0.01, beta = 0.75 },
           { name = "fc", type = "dense", outputs = "classes" }, { name = "prob", type = "softmax" }"#,
        // The images themselves, twice, and a convolution of them, in one concatenation; a value that is taken raw and rectified.
        r#"{ name = "conv", type = "convolution", outputs = 4, kernel = 3, padding = 1 },
           { name = "relu", type = "relu" },
           { name = "all", type = "concat", inputs = ["input", "conv", "input", "relu", "conv"] },
           { name = "mixed", type = "convolution", outputs = 6, kernel = 1 },
           { name = "both", type = "concat", inputs = ["mixed", "all", "mixed"] },
           { name = "rectified", type = "relu" },
           { name = "fc", type = "dense", outputs = "classes" }, { name = "prob", type = "softmax" }"#,
        // Concatenations within concatenations; a part of one that is read by a layer beside it, which writes into the same.
        r#"{ name = "a", type = "convolution", outputs = 3, kernel = 3, padding = 1 },
           { name = "b", type = "convolution", outputs = 5, kernel = 3, padding = 1 },
           { name = "ab", type = "concat", inputs = ["a", "b"] },
           { name = "c", type = "convolution", inputs = ["b"], outputs = 2, kernel = 1 },
           { name = "c-relu", type = "relu" },
           { name = "abc", type = "concat", inputs = ["ab", "c-relu"] },
           { name = "pool", type = "average-pool", kernel = 13, rounding = "floor" },
           { name = "head", type = "convolution", outputs = "classes", kernel = 1 },
           { name = "prob", type = "softmax" }"#,
        // Normalisation by itself: its value is taken twice. Groups on the images. A pooling with padding.
        r#"{ name = "conv", type = "convolution", outputs = 6, kernel = 3, groups = 3 },
           { name = "norm", type = "lrn", size = 5, alpha = 0.5, beta = 0.75, k = 2 },
           { name = "pool", type = "max-pool", inputs = ["norm"], kernel = 3, stride = 2, padding = 1, rounding = "floor" },
           { name = "average", type = "average-pool", inputs = ["norm"], kernel = 3, stride = 2, padding = 1, rounding = "floor" },
           { name = "both", type = "concat", inputs = ["pool", "average"] },
           { name = "pool2", type = "max-pool", kernel = 2, rounding = "floor" },
           { name = "norm2", type = "lrn", size = 5, alpha = 0.5, beta = 0.75 },
           { name = "fc", type = "dense", outputs = 40 }, { name = "relu", type = "relu" },
           { name = "fc2", type = "dense", outputs = "classes" }, { name = "prob", type = "softmax" }"#,
    ]
    .into_iter()
    .enumerate()
    {
        agree(&made_of(layers, 40_000 + 100 * number as u32), 5, &[1, 2, 5, 8], &format!("network {number}"));
    }
}

#[test]
fn a_network_takes_the_memory_that_is_planned_and_the_arena_is_small() {
    let list = List::built_in("caffenet").unwrap();
    let network = shrunk(&list, 8, 99, 7, 50_000);
    let Some(launcher) = harness::own_launcher() else { return };
    for (chunk, most) in [(4, 9), (9, 9)] {
        let before = launcher.allocated();
        let kept = Classifier::new(&launcher, &network, chunk, most).unwrap();
        let planned: u64 = Classifier::memory(&network, most).iter().map(|part| part.bytes(chunk as u32)).sum();
        assert_eq!(launcher.allocated() - before, planned);
        drop(kept);
    }
    // Of the whole network: conv1's output beside what pool1 and norm1 make of it; all else goes over that.
    let whole = |name: &str| {
        let list = List::built_in(name).unwrap();
        let (layers, n_classes) = (list.layers(10), 10);
        let parameters = weights(&layers, &shapes(list.input(), &layers).unwrap())
            .map(|(_, shape)| Parameters { weight: vec![0.0; shape.iter().product()], bias: vec![0.0; shape[0]] })
            .collect();
        let preprocess = Preprocess { scale: [1.0; 3], mean: Vec::new(), channel_order: list.channel_order };
        let classes = (0..n_classes).map(|class| class.to_string()).collect();
        DeviceNetwork::crop_bytes(&Network::new(name, list.input(), preprocess, layers, parameters, classes).unwrap())
    };
    assert_eq!(whole("caffenet"), 4 * (290_400 + 69_984));
    assert_eq!(whole("bvlc-alexnet"), 4 * (290_400 + 69_984));
    // fire2's or fire3's two halves beside what they are made of.
    assert!(whole("squeezenet") <= 4 * (96 * 111 * 111 + 96 * 55 * 55), "{}", whole("squeezenet"));
}

#[test]
fn classify_takes_images_from_the_host_in_chunks() {
    let Some(launcher) = harness::launcher() else { return };
    let network =
        made_of(r#"{ name = "fc", type = "dense", outputs = "classes" }, { name = "prob", type = "softmax" }"#, 60_000);
    let images = bytes(77, 4099 * network.input.len());
    harness::assert_bits(
        &on_host(Simd::detect(), &network, &images),
        &classifier::classify(launcher, &network, &images).unwrap(),
        "4099",
    );
    assert_eq!(classifier::classify(launcher, &network, &[]).unwrap(), Vec::<f32>::new());
}

#[test]
fn a_kernel_that_is_too_large_is_refused_in_a_line() {
    let wide = "name = \"wide\"\nchannel_order = \"grey\"\nimage = 30\nclasses = 5\n\nlayers = [
        { name = \"huge\", type = \"convolution\", outputs = \"classes\", kernel = 30 }, { name = \"prob\", type = \"softmax\" }]\n";
    let error = Classifier::check(&network(&List::parse(wide).unwrap(), 5, 1)).unwrap_err();
    assert!(matches!(error, Error::NoDevice { .. }));
    let line = error.to_string();
    assert!(
        line.contains("huge") && line.contains("30x30") && line.contains("--device cpu") && !line.contains('\n'),
        "{line}"
    );
}

#[test]
fn a_run_against_another_network_gives_the_archive_of_the_cpu() {
    let Some(launcher) = harness::own_launcher() else { return };
    let launcher = Arc::new(launcher);
    let small = "name = \"small\"\nchannel_order = \"grey\"\nimage = 28\nclasses = 10\n\nlayers = [
        { name = \"conv\", type = \"convolution\", outputs = 6, kernel = 5, stride = 3, padding = 1 }, { name = \"relu\", type = \"relu\" },
        { name = \"pool\", type = \"max-pool\", kernel = 3, stride = 2, rounding = \"ceil\" },
        { name = \"norm\", type = \"lrn\", size = 5, alpha = 0.01, beta = 0.75 },
        { name = \"fc\", type = \"dense\", outputs = \"classes\" }, { name = \"prob\", type = \"softmax\" }]\n";
    let config = Config { batch: 30, ..Config::preset(Preset::MnistCppn, Flavour::Faithful) };
    let mut job = job(&config, &[3, 4]);
    job.network = Arc::new(network(&List::parse(small).unwrap(), 10, 70_000));
    let mut want = CpuBackend::new(job.clone(), Options { simd: Simd::detect(), chunk: 60 }).unwrap();
    let planned = memory::memory(&job).total(22);
    let mut got = CudaBackend::new(job, Arc::clone(&launcher), "a device".into(), 22).unwrap();
    assert_eq!(launcher.allocated(), planned);
    for generation in 0..4 {
        want.generation().unwrap();
        got.generation().unwrap();
        let hashes = |backend: &mut dyn Backend| -> Vec<u64> {
            backend.counters().unwrap().iter().map(|counters| counters.archive_hash).collect()
        };
        assert_eq!(hashes(&mut want), hashes(&mut got), "generation {generation}");
    }
    assert_eq!(launcher.allocated(), planned);
}

#[test]
fn classify_says_the_same_on_every_device() {
    let folder = tempfile::tempdir().unwrap();
    let run_it = |args: &[&str]| Some(run(pareidolia(&folder, args)?, 0).0);
    let evolve =
        ["evolve", "--batch", "10", "--generations", "2", "--no-pictures", "--device", "cpu", "--out", "elites"];
    let Some(_) = run_it(&evolve) else { return };
    let [cpu, gpu] =
        ["cpu", "cuda:0"].map(|device| run_it(&["classify", "elites", "--json", "--device", device]).unwrap());
    assert_eq!(cpu, gpu);
    assert!(gpu.matches("\"identical\": true").count() == 10, "{gpu}");
    let (_, stderr) = run(pareidolia(&folder, &["classify", "elites", "--device", "cuda:7"]).unwrap(), 1);
    assert!(stderr.contains("--device cuda:7"), "{stderr}");
}

/// CaffeNet and the others of full size, an image each: minutes on the emulated driver. `PAREIDOLIA_EXHAUSTIVE=1 cargo test --release
/// --test cuda full_size -- --nocapture`
#[test]
fn full_size_networks_give_the_bits_of_the_cpu() {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none() {
        return left_out("networks of full size on the device: set PAREIDOLIA_EXHAUSTIVE=1");
    }
    for name in List::names() {
        let network = Network::random(&List::built_in(name).unwrap(), 1).unwrap();
        agree(&network, 1, &[1], name);
        eprintln!("{name}: the CPU's bits");
    }
}
