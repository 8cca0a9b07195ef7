//! Checkpoints, and the archives that are their bodies. A changed checkpoint ends at its digest: so it is read once more with the
//! digest made anew.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use pareidolia::output::{Checkpoint, archive_file};
use pareidolia_fuzz::memory::limits;
use pareidolia_fuzz::mutate_safetensors;
use sha2::{Digest, Sha256};

fuzz_mutator!(|file: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let start = split(&file[..size]).map_or(0, |(first, _)| first.len() + SECOND_LINE);
    mutate_safetensors(file, size, max_size, seed, start)
});

fuzz_target!(|file: &[u8]| {
    let read = |file: &[u8]| limits::CHECKPOINT.hold(file.len(), || Checkpoint::from_bytes(file));
    let _ = read(file);
    let _ = limits::CHECKPOINT.hold(file.len(), || archive_file::from_bytes(file));
    let Some((first, body)) = split(file) else { return };
    let digest = Sha256::new().chain_update(first).chain_update(body).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Ok(checkpoint) = read(&[first, digest.as_bytes(), b"\n", body].concat()) {
        checkpoint.config.check().unwrap();
        checkpoint.check_matches(&checkpoint.config, &checkpoint.weights_sha256).unwrap();
        assert_eq!(checkpoint.archive.elites.len(), checkpoint.archive.classes.len());
    }
});

const SECOND_LINE: usize = 65;

/// The first line of a checkpoint and its body, the digest between them left out.
fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = file.iter().take(64).position(|&byte| byte == b'\n')? + 1;
    Some((&file[..end], file.get(end + SECOND_LINE..)?))
}
