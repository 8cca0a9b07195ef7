//! The other networks for MNIST that come with the program: their claims, and that they come out of their commands again.

use crate::{common, metadata, pareidolia, safetensors_values};
use pareidolia::network::Network;
use pareidolia::network::list::List;
use pareidolia::network::weights::Given;
use std::path::{Path, PathBuf};

fn weights(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights").join(name)
}

/// Trains the weights `name` again and compares.
#[track_caller]
fn come_out_again(name: &str) {
    if std::env::var_os("PAREIDOLIA_EXHAUSTIVE").is_none() {
        common::left_out("training again takes a minute; PAREIDOLIA_EXHAUSTIVE=1 does it");
        return;
    }
    let Some(data) = common::data_dir() else { return };
    let data = std::path::absolute(data).unwrap();
    let want = std::fs::read(weights(name)).unwrap();
    let command = metadata(&want)["command"].clone();
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    // Layer lists are named from here.
    let more = ["--data", data.to_str().unwrap(), "--run", run.to_str().unwrap()];
    let output = pareidolia(&[&args[..], &more].concat(), Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(output.status.success(), "{output:?}");
    let got = std::fs::read(run.join("weights.safetensors")).unwrap();
    assert!(safetensors_values(&got) == safetensors_values(&want), "the weights differ");
    assert_eq!(metadata(&got)["test_accuracy"], metadata(&want)["test_accuracy"]);
}

#[test]
fn committed_weights_of_another_seed_come_out_of_their_command_in_every_bit() {
    come_out_again("lenet-mnist-2.safetensors");
}

#[test]
fn committed_weights_of_another_architecture_come_out_of_their_command_in_every_bit() {
    come_out_again("mnist-3x3.safetensors");
}

#[test]
fn committed_weights_of_the_other_networks_load_and_are_others() {
    let first = Network::load(&weights("lenet-mnist.safetensors"), None).unwrap();
    let second = Network::load(&weights("lenet-mnist-2.safetensors"), None).unwrap();
    assert_eq!(first.layers, second.layers);
    assert!(first.parameters[0].weight.iter().zip(&second.parameters[0].weight).all(|(a, b)| a != b));
    let given = Given { list: Some(List::load(&weights("mnist-3x3.toml")).unwrap()), ..Given::default() };
    let third = Network::load_as(&weights("mnist-3x3.safetensors"), &given).unwrap();
    assert_eq!((third.input, third.classes.len()), (first.input, 10));
    for name in ["lenet-mnist-2.safetensors", "mnist-3x3.safetensors"] {
        let bytes = std::fs::read(weights(name)).unwrap();
        assert!(bytes.len() < 2 << 20, "{name}: {} bytes", bytes.len());
        let accuracy: usize = metadata(&bytes)["test_accuracy"].strip_suffix("/10000").unwrap().parse().unwrap();
        assert!(accuracy >= 9900, "{name}: {accuracy} of 10000");
    }
}
