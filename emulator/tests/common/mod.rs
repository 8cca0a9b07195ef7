//! What the tests of the emulator share: the driver, and kernels of tests/fixtures or patched ones compiled for it.

#![allow(dead_code)] // each test file uses its own part

#[path = "../../../tests/common/left_out.rs"]
mod left_out;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream};
use cudarc::nvrtc::Ptx;
use pareidolia_emulator::compile::{Build, write_whole};
use pareidolia_emulator::{Emulator, LeftOut};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

static EMULATOR: LazyLock<Result<Emulator, LeftOut>> = LazyLock::new(|| {
    // A device for each test: an error of one is not the next one's.
    // SAFETY: the first use of this, before any thread of the driver.
    unsafe {
        std::env::set_var("PAREIDOLIA_EMULATOR_DEVICES", "64");
        if std::env::var_os("PAREIDOLIA_EMULATOR_QUIET").is_none() {
            std::env::set_var("PAREIDOLIA_EMULATOR_QUIET", "1");
        }
    }
    pareidolia_emulator::load()
});

/// The driver, or `None` and a word on stderr where there is none.
pub fn emulator() -> Option<Emulator> {
    match &*EMULATOR {
        Ok(emulator) => Some(*emulator),
        Err(why) => {
            left_out::left_out(&why.to_string());
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

/// A kernel of a file, with parts of its text replaced. Tests compile the same one, in threads and in processes.
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
    let mut hash = std::hash::DefaultHasher::new();
    (&text, build).hash(&mut hash);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kernels-{:016x}", hash.finish()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join(file.file_name().expect("a name"));
    write_whole(&source, &text).expect("a patched source");
    let library = folder.join("kernels.so");
    let kernels = std::fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels")).expect("the kernels");
    let compiler = pareidolia_emulator::compiler().expect("a compiler");
    compiler.library(&library, &[source], &[kernels], build, &folder).expect("the source compiles");
    let module = context.load_module(Ptx::from_src(pareidolia_emulator::image_of(&library))).expect("a module");
    module.load_function(name).expect("a kernel")
}
