//! Faults planted into copies of the kernels: the emulated driver's checked build finds each, and the program fails with it.

use crate::harness;
use crate::program::{pareidolia, run};
use pareidolia_emulator::compile::{Build, files_below};
use std::fs;
use std::path::Path;

/// A fault: preset, file, a part of its text, what takes its place, and words of the finding.
type Fault = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const FAULTS: [Fault; 12] = [
    (
        "mnist-direct", // a wrong bound
        "archive/select.cu",
        "if (at >= chunk.count / 2) { return; }",
        "if (at > chunk.count / 2) { return; }",
        &["kernel select_u32", "load of 4 bytes at select.cu:", "out of bounds"],
    ),
    (
        "mnist-direct", // swapped arguments
        "archive/select.cu",
        "const RunState* __restrict__ runs, const uint32_t* __restrict__ active,",
        "const uint32_t* __restrict__ active, const RunState* __restrict__ runs,",
        &["kernel select_u32", "load of 4 bytes at"],
    ),
    (
        "mnist-direct", // barriers that are not there
        "network/lenet_features.cu",
        "__syncthreads();  // pixels and weights are written, conv1 reads them",
        "",
        &["kernel lenet_features", "never written", "dynamic shared memory"],
    ),
    (
        "mnist-direct",
        "network/lenet_features.cu",
        "__syncwarp();  // all lanes have read these weights; those of channel1 + 2 go over them",
        "",
        &["kernel lenet_features", "without order"],
    ),
    (
        "mnist-direct",
        "network/lenet_probabilities.cu",
        "__syncthreads();  // hidden is written, fc2 reads it",
        "",
        &["kernel lenet_probabilities", "without order"],
    ),
    (
        "mnist-direct",
        "archive/insert.cu",
        "__syncthreads();  // the hashes are there",
        "",
        &["kernel insert_u64", "smem_hashes"],
    ),
    (
        "mnist-direct",
        "archive/insert.cu",
        "__syncthreads();  // the sum is there for thread 0",
        "",
        &["kernel insert_u64", "smem_sum"],
    ),
    (
        "mnist-direct", // shared memory that is not there
        "archive/insert.cu",
        "__shared__ uint64_t smem_hashes[INSERT_THREADS];",
        "__shared__ uint64_t smem_hashes[8];",
        &["kernel insert_u64", "past the end of smem_hashes, 64 bytes"],
    ),
    (
        "mnist-direct", // a read of what nobody wrote
        "archive/insert.cu",
        "if (threadIdx.x == WARP_SIZE) { smem_sum = sum; }",
        "",
        &["kernel insert_u64", "never written", "smem_sum"],
    ),
    (
        "mnist-cppn",
        "image/render_cppn.cu",
        "__syncthreads();  // the program is copied by all, and read by all",
        "",
        &["kernel render_cppn_u8", "dynamic shared memory"],
    ),
    (
        "mnist-cppn",
        "image/compile_cppn.cu",
        "__syncwarp();  // values are numbered by one lane each, read by all",
        "",
        &["kernel compile_cppn_f32", "without order"],
    ),
    (
        "mnist-cppn", // one that some threads miss
        "image/render_cppn.cu",
        "__syncthreads();  // the program is copied by all, and read by all",
        "if (threadIdx.x < 40) { __syncthreads(); }",
        &["kernel render_cppn_u8", "__syncthreads (render_cppn.cu:"],
    ),
];

#[test]
fn faults_planted_into_the_kernels_are_found() {
    let Some(compiler) = harness::compiler() else { return };
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    fs::create_dir_all(&work).unwrap();
    let mut missed = Vec::new();
    for (number, (preset, file, old, new, words)) in FAULTS.into_iter().enumerate() {
        let text = fs::read_to_string(kernels.join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{file} has {old:?} once");
        let folder = work.join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        let patched = folder.join(Path::new(file).file_name().unwrap());
        fs::write(&patched, text.replace(old, new)).unwrap();
        let mut sources = files_below(&kernels, &["cu"]).unwrap();
        sources.iter_mut().filter(|source| source.ends_with(file)).for_each(|source| source.clone_from(&patched));
        let library = folder.join("kernels.so");
        compiler.library(&library, &sources, std::slice::from_ref(&kernels), Build::Checked, &work).unwrap();

        let scratch = tempfile::tempdir().unwrap();
        let args = ["evolve", preset, "--batch", "8", "--generations", "1", "--no-pictures", "--device", "cuda:0"];
        let mut command = pareidolia(&scratch, &args).unwrap();
        command.env("PAREIDOLIA_EMULATOR_KERNELS", library);
        let (_, stderr) = run(command, 1);
        let found: Vec<&str> = stderr.lines().filter(|line| line.starts_with("emulated CUDA driver: ")).collect();
        if !found.iter().any(|line| words.iter().all(|word| line.contains(word))) {
            missed.push(format!("{file}, {old:?}: {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
