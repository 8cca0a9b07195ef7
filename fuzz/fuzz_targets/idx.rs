//! IDX files, plain or gzip; and the gzip twin of each, which must read the same.

#![no_main]

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use pareidolia::dataset::{IdxImages, IdxLabels};
use pareidolia_fuzz::memory::limits;
use std::io::Write;

fuzz_target!(|file: &[u8]| {
    let (images, labels) = read(file);
    if let Ok(images) = &images {
        assert_eq!(images.pixels.len(), images.count * images.height * images.width);
    }
    if file.starts_with(&[0x1f, 0x8b]) {
        return; // zipped once more it would be another file
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(file).unwrap();
    let twin = read(&encoder.finish().unwrap());
    assert_eq!((images, labels), twin);
});

fn read(file: &[u8]) -> (Result<IdxImages, ()>, Result<IdxLabels, ()>) {
    let limit = if file.starts_with(&[0x1f, 0x8b]) { limits::IDX_GZIP } else { limits::IDX };
    let images = limit.hold(file.len(), || IdxImages::from_bytes(file));
    let labels = limit.hold(file.len(), || IdxLabels::from_bytes(file));
    (images.map_err(drop), labels.map_err(drop))
}
