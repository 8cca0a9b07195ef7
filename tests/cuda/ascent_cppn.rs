//! Gradient ascent in the weights of CPPNs on the device: each kernel against its formula or the CPU's drawing, whole ascents against the CPU's.

use crate::harness::{self, passes, passes_alone};
use crate::program::{manifest, pareidolia, run};
use pareidolia::backend::ascent::Ascent;
use pareidolia::backend::cuda::cppn_ascent::{CudaCppnAscent, Start};
use pareidolia::backend::cuda::draw_cppn::Sizes;
use pareidolia::experiment::selftest::cases::Extent;
use pareidolia::experiment::selftest::{add_bands, ascent_cppn, draw_cppn, draw_cppn_backward, look_cppn, network};
use pareidolia::genome::cppn::{Compiler, Graph, Rules};
use pareidolia::network::{Crops, Network};
use pareidolia::simd::Simd;
use std::fs;
use std::sync::Arc;

/// The rooms that there are: threads of a block, and whether its room is in scratch.
const ROOMS: [(u32, bool); 4] = [(128, false), (64, false), (32, false), (128, true)];

#[test]
fn draw_cppn_gives_the_bits_of_the_formula() {
    let Some(rooms) = passes(|gpu, tally| draw_cppn::draw_cppn(gpu, Extent::Full, tally)) else { return };
    assert!(ROOMS.iter().all(|room| rooms.contains(room)), "{rooms:?}");
}

#[test]
fn draw_cppn_backward_gives_the_bits_of_the_rules() {
    let Some(rooms) = passes(|gpu, tally| draw_cppn_backward::draw_cppn_backward(gpu, Extent::Full, tally)) else {
        return;
    };
    assert!(ROOMS.iter().all(|room| rooms.contains(room)), "{rooms:?}");
}

#[test]
fn add_bands_adds_them_ascending() {
    passes(|gpu, tally| add_bands::add_bands(gpu, Extent::Full, tally));
}

#[test]
fn look_cppn_gives_the_bits_of_the_formula() {
    passes(|gpu, tally| look_cppn::look_cppn(gpu, Extent::Full, tally));
}

#[test]
fn whole_ascents_in_weights_give_the_bits_of_the_cpu() {
    passes_alone(|gpu, tally| ascent_cppn::run(gpu, Extent::Full, tally));
}

#[test]
fn ascents_in_weights_know_nothing_of_parts_and_rooms_and_stop_where_they_are() {
    let (mut n_stopped, mut n_up, mut n_back) = (0, 0, 0);
    for (network, rules, images) in ascent_cppn::scenes(Extent::Full) {
        let network = Arc::new(network);
        for shape in [(1, 0), (images.len(), 20 << 10)] {
            let seen = passes_alone(|gpu, tally| ascent_cppn::compare(gpu, tally, &network, &rules, &images, shape, 5));
            let Some(seen) = seen else { return };
            for (at, (_, graph)) in images.iter().enumerate() {
                let first = seen.iter().position(|seen| seen[at].stopped);
                let stands = &seen[first.unwrap_or(seen.len())..];
                assert!(stands.windows(2).all(|pair| pair[0][at] == pair[1][at]), "image {at}: {seen:#?}");
                // Without an edge there is nothing to move.
                assert!(!graph.edges.is_empty() || first == Some(0), "image {at}: {seen:#?}");
                n_stopped += usize::from(first.is_some());
                for pair in seen.windows(2).map(|pair| [0, 1].map(|step| pair[step][at].probability)) {
                    n_up += usize::from(pair[1] > pair[0]);
                    n_back += usize::from(pair[1] == pair[0]);
                }
            }
        }
    }
    // By themselves, without a term on the device.
    let (lenet, images) = (Arc::new(Network::embedded_lenet(None).unwrap()), [(3, ascent_cppn::bare(1))]);
    let rules = Rules::modern();
    passes_alone(|gpu, tally| ascent_cppn::compare(gpu, tally, &lenet, &rules, &images, (1, 0), 3));
    assert!(
        n_stopped > 4 && n_up > 20 && n_back > 20,
        "{n_stopped} stopped, {n_up} steps up, {n_back} back or stopped"
    );
}

#[test]
fn ascent_in_weights_takes_the_memory_that_it_says_and_is_refused_what_is_not_there() {
    let rules = Rules::modern();
    for network in [network::network(), network::cropped(Crops::Ten)].map(Arc::new) {
        let (_, _, images) = ascent_cppn::scenes(Extent::Full).remove(1);
        let (classes, graphs): (Vec<u32>, Vec<Graph>) = images.into_iter().unzip();
        let n = graphs.len();
        let mut compiler = Compiler::default();
        let programs: Vec<_> =
            graphs.iter().map(|graph| compiler.compile(Simd::Plain, graph, rules.max_weight).clone()).collect();
        let sizes = Sizes::of(&programs);
        for most_shared in [227 << 10, 0] {
            let [once, all, at_once] = CudaCppnAscent::bytes(&network, &sizes, most_shared).map(|bytes| bytes as u64);
            let room = |at_once_n: u64| once + all + at_once_n * at_once;
            let fits = |usable| CudaCppnAscent::at_once(&network, &sizes, most_shared, usable);
            assert_eq!(fits(u64::MAX).unwrap(), n);
            assert_eq!(fits(room(1)).unwrap(), 1);
            assert_eq!(fits(room(2) - 1).unwrap(), 1);
            let refused = fits(room(1) - 1).unwrap_err();
            assert_eq!(refused.exit_code(), 1);
            let words = format!("the ascent of {n} CPPNs against \"every operation\" takes at least");
            assert!(refused.to_string().contains(&words), "{refused}");

            let Some(launcher) = harness::own_launcher() else { return };
            let launcher = Arc::new(launcher);
            let start = Start { rule: ascent_cppn::RULE, rules: &rules, classes: &classes, graphs: graphs.clone() };
            let device = "one".to_string();
            let (simd, parts) = (Simd::detect(), Arc::clone(&launcher));
            let mut ascent = CudaCppnAscent::in_parts(parts, device, &network, start, simd, 2, most_shared).unwrap();
            assert_eq!(launcher.allocated(), room(2), "{most_shared}");
            ascent.step(false).unwrap();
            ascent.step(true).unwrap();
            assert_eq!(launcher.allocated(), room(2), "a step takes nothing");
            let drawings = ascent.images().unwrap().len();
            assert_eq!((ascent.describe(), drawings), ("one".to_string(), n * network.given().len()));
        }
    }
}

/// The program on both devices: the same hash, archive and drawings; and what the GPU's memory does not hold is refused in a line.
#[test]
fn cppns_climb_on_the_gpu_to_the_files_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), crate::list::TINY).unwrap();
    let list = pareidolia::network::list::List::parse(crate::list::TINY).unwrap();
    let mut tiny = Network::random(&list, 5).unwrap();
    tiny.parameters.iter_mut().for_each(|layer| layer.weight.iter_mut().for_each(|weight| *weight *= 0.1));
    tiny.save(&folder.path().join("tiny.safetensors"), &[]).unwrap();
    let of_tiny = ["--weights", "tiny.safetensors", "--network", "tiny.toml", "--crops", "10"];
    let from = [&of_tiny[..], &["--from", "cpu-1"]].concat();
    let calls = [&["--classes", "2,7", "--seeds", "2"][..], &of_tiny, &from];
    for (number, more) in calls.into_iter().enumerate() {
        let out = |device: &str| format!("{}-{number}", device.replace(':', ""));
        for device in ["cpu", "cuda:0", "auto"] {
            let out = out(device);
            let args =
                ["ascend", "cppn", "--iterations", "8", "--no-pictures", "--device", device, "--out", out.as_str()];
            let Some(command) = pareidolia(&folder, &[&args, more].concat()) else { return };
            run(command, 0);
        }
        let of = |device: &str| manifest(&folder.path().join(out(device)));
        assert_eq!(of("cpu")["device"], "cpu");
        let file = |device: &str, name: &str| fs::read(folder.path().join(out(device)).join(name)).unwrap();
        for device in ["cuda:0", "auto"] {
            let manifest = of(device);
            assert!(manifest["device"].as_str().unwrap().starts_with("cuda:0, "), "{manifest}");
            assert!(manifest["result_hash"].is_string() && manifest["result_hash"] == of("cpu")["result_hash"]);
            for name in ["archive.safetensors", "images.safetensors"] {
                assert!(file(device, name) == file("cpu", name), "{name} of {device}");
            }
        }
    }
    if harness::is_real() {
        return;
    }
    let mut command = pareidolia(&folder, &["ascend", "cppn", "--device", "cuda:0", "--out", "none"]).unwrap();
    command.env("PAREIDOLIA_EMULATOR_MEMORY", (1 << 20).to_string());
    let (stdout, stderr) = run(command, 1);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("of the GPU's memory"), "{stderr}");
    assert!(stdout.is_empty() && !folder.path().join("none").exists());
}
