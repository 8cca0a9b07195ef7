//! Weights files: as they are, and with as many zeros behind the header as it announces, since LeNet's 1.7 MB fit no corpus.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pareidolia::network::Network;
use pareidolia_fuzz::memory::limits;
use pareidolia_fuzz::{files, mutate_safetensors};

fuzz_mutator!(|file: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_safetensors(file, size, max_size, seed, 0)
});

fuzz_target!(|file: &[u8]| {
    read(file);
    if let Some(filled) = files::fill_tensors(file) {
        read(&filled);
    }
});

fn read(file: &[u8]) {
    if let Ok(network) = limits::WEIGHTS.hold(file.len(), || Network::from_bytes(file, None)) {
        assert_eq!(network.shapes().last().map(|shape| shape.len()), Some(network.classes.len()));
        assert!(network.preprocess.scale.iter().all(|scale| *scale > 0.0 && scale.is_finite()));
        assert!(network.preprocess.mean.iter().all(|mean| mean.is_finite()));
    }
}
