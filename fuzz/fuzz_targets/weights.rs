//! Weights files: as they are, and with as many zeros behind the header as it announces, since LeNet's 1.7 MB fit no corpus.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pareidolia::network::Network;
use pareidolia_fuzz::memory::limits;
use pareidolia_fuzz::mutate_safetensors;

/// More than a LeNet of 50 classes needs.
const MAX_DATA: u64 = 1 << 21;

fuzz_mutator!(|file: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate_safetensors(file, size, max_size, seed, 0)
});

fuzz_target!(|file: &[u8]| {
    read(file);
    if let Some(filled) = filled(file) {
        read(&filled);
    }
});

fn read(file: &[u8]) {
    if let Ok(network) = limits::WEIGHTS.hold(file.len(), || Network::from_bytes(file, None)) {
        assert_eq!(network.shapes().last().map(|shape| shape.len()), Some(network.classes.len()));
        assert!(network.preprocess.scale > 0.0 && network.preprocess.scale.is_finite());
        assert!(network.preprocess.mean.iter().all(|mean| mean.is_finite()));
    }
}

/// The header of `file` with zeros for the tensors that it announces; `None` if they are too many or it is no header.
fn filled(file: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let ends = json.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    let end = ends.max().filter(|&end| end <= MAX_DATA)?;
    let mut filled = file[..8 + header.len()].to_vec();
    filled.resize(filled.len() + end as usize, 0);
    Some(filled)
}
