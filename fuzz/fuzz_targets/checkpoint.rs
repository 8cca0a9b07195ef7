//! Checkpoints, and archives, which are their bodies. A changed checkpoint ends at its digest: so it is read once more with the digest
//! made anew.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pareidolia::output::{Checkpoint, archive_file};
use pareidolia_fuzz::memory::limits;
use pareidolia_fuzz::{SECOND_LINE, files, mutate_safetensors, split_checkpoint};

fuzz_mutator!(|file: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let start = split_checkpoint(&file[..size]).map_or(0, |(first, _)| first.len() + SECOND_LINE);
    mutate_safetensors(file, size, max_size, seed, start)
});

fuzz_target!(|file: &[u8]| {
    let read = |file: &[u8]| limits::CHECKPOINT.hold(file.len(), || Checkpoint::from_bytes(file));
    let _ = read(file);
    let _ = limits::CHECKPOINT.hold(file.len(), || archive_file::from_bytes(file));
    let Some((first, body)) = split_checkpoint(file) else { return };
    if let Ok(checkpoint) = read(&files::sign_checkpoint(first, body)) {
        checkpoint.config.check().unwrap();
        checkpoint.check_matches(&checkpoint.config, &checkpoint.weights_sha256, checkpoint.canvas).unwrap();
        assert_eq!(checkpoint.archive.elites.len(), checkpoint.archive.classes.len());
    }
});
