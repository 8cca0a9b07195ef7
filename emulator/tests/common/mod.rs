//! What the tests of the emulator share: the driver, and kernels of tests/fixtures or patched ones compiled for it.

#![allow(dead_code)] // each test file uses its own part

use cudarc::driver::{CudaContext, CudaFunction, CudaStream};
use cudarc::nvrtc::Ptx;
use pareidolia_emulator::compile::Build;
use pareidolia_emulator::{Emulator, LeftOut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

static EMULATOR: LazyLock<Result<Emulator, LeftOut>> = LazyLock::new(|| {
    // A device for each test: an error of one is not the next one's.
    // SAFETY: the first use of this, before any thread of the driver.
    unsafe {
        std::env::set_var("PAREIDOLIA_EMULATOR_DEVICES", "64");
        std::env::set_var("PAREIDOLIA_EMULATOR_QUIET", "1");
    }
    pareidolia_emulator::load()
});

/// The driver, or `None` and a word on stderr where there is none.
pub fn emulator() -> Option<Emulator> {
    match &*EMULATOR {
        Ok(emulator) => Some(*emulator),
        Err(left_out) => {
            eprintln!("left out: {left_out}");
            None
        }
    }
}

/// A device that no other test has, and its stream.
pub fn device() -> (Arc<CudaContext>, Arc<CudaStream>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let context = CudaContext::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("a context");
    // SAFETY: one stream orders everything.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().expect("a stream");
    (context, stream)
}

/// A file of tests/fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A kernel of a file, with parts of its text replaced.
pub fn kernel(
    context: &Arc<CudaContext>,
    file: &Path,
    patches: &[(&str, &str)],
    build: Build,
    name: &str,
) -> CudaFunction {
    let mut text = std::fs::read_to_string(file).expect("a source");
    for (old, new) in patches {
        assert_eq!(text.matches(old).count(), 1, "{} has {old:?} once", file.display());
        text = text.replace(old, new);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join(file.file_name().expect("a name"));
    std::fs::write(&source, text).expect("a patched source");
    // The driver keeps the library: its file may go, but not its name be used again.
    let library = folder.path().join("kernels.so");
    let kernels = std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")).expect("the kernels");
    let compiler = pareidolia_emulator::compiler().expect("a compiler");
    compiler.library(&library, &[source], &[kernels], build, folder.path()).expect("the source compiles");
    let module = context.load_module(Ptx::from_src(pareidolia_emulator::image_of(&library))).expect("a module");
    module.load_function(name).expect("a kernel")
}
