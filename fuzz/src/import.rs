//! What holds of every file that is imported as the small network of the corpora.

use crate::memory::Limit;
use pareidolia::import;
use pareidolia::network::Network;
use pareidolia::network::list::List;
use std::path::Path;
use std::sync::LazyLock;

/// What a reader may hold, as [`crate::memory::limits`] has it of those that tests/hostile_files.rs tries too. Values stay in the file;
/// gathered floats and the parameters of the small networks that are tried are few times its size. The constant holds lists whose
/// lengths are capped: a pickle's quarter of a million values, an archive's 65,536 entries.
const LIMIT: Limit = Limit { factor: 8, constant: 64 << 20 };

/// The network of fuzz/corpus/import_*.
static TINY: LazyLock<List> =
    LazyLock::new(|| List::parse(include_str!("../../tests/fixtures/import/tiny.toml")).expect("a list"));

/// Imports `file`; what is accepted fits together and is finite.
pub fn check(file: &[u8]) {
    let tiny = &*TINY;
    let read = || import::read(Path::new("fuzz"), file, Some(tiny));
    if let Ok(imported) = LIMIT.hold(file.len(), read) {
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
    if LIMIT.hold(file.len(), || import::read_mean(Path::new("fuzz"), file, &mut network)).is_ok() {
        assert_eq!(network.preprocess.mean.len(), network.input.len());
        assert!(network.preprocess.mean.iter().all(|value| value.is_finite()));
    }
}
