//! What a right program sees of the driver.

mod common;

use common::{device, emulator, fixture, kernel};
use cudarc::driver::{LaunchConfig, PushKernelArg};
use pareidolia_emulator::compile::Build;

/// Values with ties, and the best of each row.
fn rows(n_rows: usize, n: usize) -> (Vec<f32>, Vec<(f32, u32)>) {
    let values: Vec<f32> = (0..n_rows * n).map(|i| ((i * 7919 + 13) % 97) as f32 / 8.0).collect();
    let best = |row: &[f32]| {
        let nobody = (f32::NEG_INFINITY, u32::MAX);
        row.iter().enumerate().fold(nobody, |best, (i, &value)| if value > best.0 { (value, i as u32) } else { best })
    };
    let want = values.chunks(n).map(best).collect();
    (values, want)
}

#[test]
fn threads_compile_the_same_kernel_at_once() {
    if emulator().is_none() {
        return;
    }
    // A text that no one has compiled before.
    let new = format!("// {:?}\nextern", std::time::SystemTime::now());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let patches = [("extern", new.as_str())];
                kernel(&device().0, &fixture("row_best.cu"), &patches, Build::Fast, "row_best_f32")
            });
        }
    });
}

#[test]
fn kernels_give_what_they_compute() {
    if emulator().is_none() {
        return;
    }
    for build in [Build::Fast, Build::Checked] {
        let (context, stream) = device();
        let kernel = kernel(&context, &fixture("row_best.cu"), &[], build, "row_best_f32");
        for (n_rows, n) in [(1, 1), (3, 31), (5, 128), (40, 129), (700, 1000)] {
            let (values, want) = rows(n_rows, n);
            let values = stream.clone_htod(&values).unwrap();
            let (mut best, mut index) =
                (stream.alloc_zeros::<f32>(n_rows).unwrap(), stream.alloc_zeros::<u32>(n_rows).unwrap());
            let mut total = stream.alloc_zeros::<u32>(1).unwrap();
            let n_arg = n as i32;
            let mut launch = stream.launch_builder(&kernel);
            launch.arg(&mut best).arg(&mut index).arg(&mut total).arg(&values).arg(&n_arg);
            let config = LaunchConfig { grid_dim: (n_rows as u32, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 };
            // SAFETY: the arguments are the kernel's.
            unsafe { launch.launch(config) }.unwrap();
            let (best, index) = (stream.clone_dtoh(&best).unwrap(), stream.clone_dtoh(&index).unwrap());
            let got: Vec<_> = best.into_iter().zip(index).collect();
            assert_eq!(got, want, "{n_rows} rows of {n}, {build:?}");
            assert_eq!(stream.clone_dtoh(&total).unwrap(), [(n_rows * n) as u32]);
        }
    }
}

#[test]
fn collectives_give_what_they_promise() {
    if emulator().is_none() {
        return;
    }
    for build in [Build::Fast, Build::Checked] {
        let (context, stream) = device();
        let kernel = kernel(&context, &fixture("collectives.cu"), &[], build, "collectives_u32");
        let threads = 96u32;
        let mut out = stream.alloc_zeros::<u32>(threads as usize * 11).unwrap();
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&mut out).arg(&7u32);
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 4 * threads };
        // SAFETY: the arguments are the kernel's.
        unsafe { launch.launch(config) }.unwrap();
        let got = stream.clone_dtoh(&out).unwrap();
        for thread in 0..threads {
            let (lane, next) = (thread % 32, (thread + 1) % threads);
            let half = if lane < 16 { lane ^ 1 } else { 31 };
            let ballot = (0..32).filter(|lane| lane % 3 == 0).fold(0u32, |votes, lane| votes | 1 << lane);
            let want = [
                threads / 2,
                1,
                1,
                next * next,
                lane.saturating_sub(1),
                (lane + 1).min(31),
                thread / 32 * 32 + 5,
                half,
                ballot,
                496,
                0xff << (lane / 8 * 8),
            ];
            assert_eq!(got[thread as usize * 11..][..11], want, "thread {thread}, {build:?}");
        }
    }
}
