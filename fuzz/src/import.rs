//! What holds of every file that is imported as the small network of the corpora.

use crate::memory::limits;
use pareidolia::import;
use pareidolia::network::Network;
use pareidolia::network::list::List;
use std::path::Path;
use std::sync::LazyLock;

/// The network of fuzz/corpus/import_*.
static TINY: LazyLock<List> =
    LazyLock::new(|| List::parse(include_str!("../../tests/fixtures/import/tiny.toml")).expect("a list"));

/// Imports `file`; what is accepted fits together and is finite.
pub fn check(file: &[u8]) {
    let tiny = &*TINY;
    let read = || import::read(Path::new("fuzz"), file, Some(tiny));
    if let Ok(imported) = limits::IMPORT.hold(file.len(), read) {
        let network = imported.network;
        assert_eq!(network.shapes().last().map(|shape| shape.len()), Some(network.classes.len()));
        let mut values = network.parameters.iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias));
        assert!(values.all(|value| value.is_finite()));
    }
}

/// Reads `file` as a mean image.
pub fn check_mean(file: &[u8]) {
    static NETWORK: LazyLock<Network> = LazyLock::new(|| Network::random(&TINY, 1).expect("a network"));
    let mut network = NETWORK.clone();
    if limits::IMPORT.hold(file.len(), || import::read_mean(Path::new("fuzz"), file, &mut network)).is_ok() {
        assert_eq!(network.preprocess.mean.len(), network.input.len());
        assert!(network.preprocess.mean.iter().all(|value| value.is_finite()));
    }
}
