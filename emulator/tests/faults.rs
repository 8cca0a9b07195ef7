//! Faults planted into a right kernel: each is found, and said for what it is.

mod common;

use common::{device, emulator, fixture, kernel};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{LaunchConfig, PushKernelArg};
use pareidolia_emulator::compile::Build;
use std::sync::{Mutex, MutexGuard};

/// Findings are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Runs the patched row_best on 3 rows of 300 values, and tells what the driver said and what was found.
fn row_best(patches: &[(&str, &str)], build: Build) -> Option<(Result<(), CUresult>, Vec<String>)> {
    let emulator = emulator()?;
    let (context, stream) = device();
    let kernel = kernel(&context, &fixture("row_best.cu"), patches, build, "row_best_f32");
    let values: Vec<f32> = (0..900).map(|i| (i * 7919 % 97) as f32).collect();
    let values = stream.clone_htod(&values).unwrap();
    // SAFETY: the kernel writes them.
    let (mut best, mut index) = unsafe { (stream.alloc::<f32>(3).unwrap(), stream.alloc::<u32>(3).unwrap()) };
    let mut total = stream.alloc_zeros::<u32>(1).unwrap();
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut best).arg(&mut index).arg(&mut total).arg(&values).arg(&300i32);
    // SAFETY: the arguments are the kernel's.
    unsafe { launch.launch(LaunchConfig { grid_dim: (3, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 }) }
        .unwrap();
    let answer = stream.synchronize().map_err(|error| error.0);
    // An error stays.
    assert_eq!(stream.synchronize().map_err(|error| error.0), answer);
    Some((answer, emulator.findings()))
}

/// A fault is found: the driver says `code`, and a finding holds all of `words`.
#[track_caller]
fn caught(patches: &[(&str, &str)], code: CUresult, words: &[&str]) {
    let _alone = alone();
    let Some((answer, findings)) = row_best(patches, Build::Checked) else { return };
    assert!(
        findings.iter().any(|finding| words.iter().all(|word| finding.contains(word))),
        "{answer:?}, {findings:#?}"
    );
    assert_eq!(answer, Err(code), "{findings:#?}");
}

#[test]
fn right_kernel_has_no_findings() {
    let _alone = alone();
    let Some(answer) = row_best(&[], Build::Checked) else { return };
    assert_eq!(answer, (Ok(()), vec![]));
}

#[test]
fn wrong_bound_is_caught() {
    let words = [
        "row_best_f32",
        "load of 4 bytes at row_best.cu:38",
        "out of bounds",
        "past the end of an allocation of 3600 bytes",
    ];
    caught(&[("i < n;", "i < n + 1;")], CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, &words);
}

#[test]
fn wrong_stride_is_caught() {
    caught(
        &[("size_t(blockIdx.x) * n;", "size_t(blockIdx.x + 1) * n;")],
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        &["block (2, 0, 0)", "out of bounds"],
    );
}

#[test]
fn missing_barrier_is_caught() {
    let words = ["load of 8 bytes at row_best.cu:45", "written, without order, by thread 96", "smem_best, 32 bytes"];
    caught(
        &[("__syncthreads();  // smem_best is whole before it is read", "")],
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        &words,
    );
}

#[test]
fn race_of_blocks_is_caught() {
    let words = ["by another block", "byte 0 of an allocation of 4 bytes"];
    caught(&[("atomicAdd(total, smem_seen);", "*total += smem_seen;")], CUresult::CUDA_ERROR_LAUNCH_FAILED, &words);
}

#[test]
fn race_of_an_atomic_and_a_store_is_caught() {
    let words = ["atomic operation", "written, without order, by thread 0", "smem_seen"];
    caught(&[("__syncthreads();  // smem_seen is 0 before it counts", "")], CUresult::CUDA_ERROR_LAUNCH_FAILED, &words);
}

#[test]
fn shared_memory_overrun_is_caught() {
    let words = ["store of 4 bytes", "0 bytes past the end of smem_best, 32 bytes"];
    caught(
        &[("smem_best[threadIdx.x / 32] = best;", "smem_best[threadIdx.x / 32 + 1] = best;")],
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        &words,
    );
}

#[test]
fn read_of_uninitialised_shared_memory_is_caught() {
    let words = ["load of", "never written", "smem_best"];
    caught(&[("if (threadIdx.x % 32 == 0) {", "if (threadIdx.x == 0) {")], CUresult::CUDA_ERROR_LAUNCH_FAILED, &words);
}

#[test]
fn read_of_uninitialised_device_memory_is_caught() {
    let words = ["load of 4 bytes", "never written", "byte 0 of an allocation of 12 bytes"];
    caught(
        &[("best_value[blockIdx.x] = best.value;", "best_value[blockIdx.x] += best.value;")],
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        &words,
    );
}

#[test]
fn barrier_that_some_threads_miss_is_caught() {
    let patch =
        ("__syncthreads();  // smem_best is whole before it is read", "if (threadIdx.x < 96) { __syncthreads(); }");
    caught(&[patch], CUresult::CUDA_ERROR_LAUNCH_FAILED, &["__syncthreads (row_best.cu:", "32 have left the kernel"]);
}

#[test]
fn shuffle_that_some_lanes_miss_is_caught() {
    let patch = ("best = warp_best(best);", "if (threadIdx.x % 32 < 20) { best = warp_best(best); }");
    caught(&[patch], CUresult::CUDA_ERROR_LAUNCH_FAILED, &["__shfl_xor_sync", "not all threads reach"]);
}

#[test]
fn mask_without_the_lane_itself_is_caught() {
    let patch = ("best = warp_best(best);", "best.value = __shfl_sync(0x0000ffffu, best.value, 0);");
    caught(&[patch], CUresult::CUDA_ERROR_LAUNCH_FAILED, &["__shfl_sync", "lacks the lane itself"]);
}

#[test]
fn missing_syncwarp_is_caught() {
    let right = "smem_best[threadIdx.x / 32] = best; __syncthreads(); if (threadIdx.x % 32 == 3) { smem_best[threadIdx.x / 32].index = 1; } __syncwarp(); \
                 if (threadIdx.x % 32 == 4) { best = smem_best[threadIdx.x / 32]; } __syncthreads(); if (threadIdx.x % 32 == 0) {";
    let start = "if (threadIdx.x % 32 == 0) {";
    {
        let _alone = alone();
        let right =
            [(start, &*format!("if (threadIdx.x % 32 == 0) {{ {} ", right.replacen("= best;", "= best; }", 1)))];
        let Some(answer) = row_best(&right, Build::Checked) else { return };
        assert_eq!(answer, (Ok(()), vec![]));
    }
    let wrong = right.replacen("= best;", "= best; }", 1).replace("__syncwarp();", "");
    caught(
        &[(start, &format!("if (threadIdx.x % 32 == 0) {{ {wrong} "))],
        CUresult::CUDA_ERROR_LAUNCH_FAILED,
        &["written, without order"],
    );
}

#[test]
fn swapped_argument_is_caught() {
    let _alone = alone();
    let Some(emulator) = emulator() else { return };
    let (context, stream) = device();
    let kernel = kernel(&context, &fixture("row_best.cu"), &[], Build::Checked, "row_best_f32");
    let values = stream.clone_htod(&[1.0f32; 900]).unwrap();
    let (mut best, mut index) = (stream.alloc_zeros::<f32>(3).unwrap(), stream.alloc_zeros::<u32>(3).unwrap());
    let mut total = stream.alloc_zeros::<u32>(1).unwrap();
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut best).arg(&mut index).arg(&mut total).arg(&300u64).arg(&values);
    // SAFETY: only the emulator would run this.
    unsafe { launch.launch(LaunchConfig { grid_dim: (3, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 }) }
        .unwrap();
    assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let findings = emulator.findings();
    assert!(findings[0].contains("argument 3 is a pointer, 0x12c: no allocation"), "{findings:?}");
}

#[test]
fn use_of_freed_memory_is_caught() {
    let _alone = alone();
    let Some(emulator) = emulator() else { return };
    let (context, stream) = device();
    let kernel = kernel(&context, &fixture("row_best.cu"), &[], Build::Checked, "row_best_f32");
    let values = stream.clone_htod(&[1.0f32; 900]).unwrap();
    let (mut best, mut index) = (stream.alloc_zeros::<f32>(3).unwrap(), stream.alloc_zeros::<u32>(3).unwrap());
    let mut total = stream.alloc_zeros::<u32>(1).unwrap();
    let freed = {
        use cudarc::driver::DevicePtr;
        let (address, _sync) = values.device_ptr(&stream);
        address
    };
    drop(values);
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut best).arg(&mut index).arg(&mut total).arg(&freed).arg(&300i32);
    // SAFETY: only the emulator would run this.
    unsafe { launch.launch(LaunchConfig { grid_dim: (3, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 }) }
        .unwrap();
    assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(emulator.findings()[0].contains("one that was freed"));
}

#[test]
fn fast_build_finds_what_would_hang() {
    let _alone = alone();
    let patch = ("best = warp_best(best);", "if (threadIdx.x % 32 < 20) { best = warp_best(best); }");
    let Some((answer, findings)) = row_best(&[patch], Build::Fast) else { return };
    assert_eq!(answer, Err(CUresult::CUDA_ERROR_LAUNCH_FAILED));
    assert!(findings[0].contains("not all threads reach"), "{findings:?}");
}
