//! Brings up a driver for the tests of this process: the emulated one, or with `PAREIDOLIA_TEST_GPU=1` the machine's own.

use crate::left_out::left_out;
use cudarc::driver::DeviceRepr;
use pareidolia::backend::cuda::Launcher;
use pareidolia::error::Result;
use pareidolia::experiment::selftest::gpu::Gpu;
pub use pareidolia::experiment::selftest::gpu::{GUARD_F32, GUARDS};
use pareidolia::experiment::selftest::tally::Tally;
use pareidolia_emulator::Emulator;
use pareidolia_emulator::compile::Compiler;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

/// Set for a process that is to test on the real GPU.
pub const ON_REAL_GPU: &str = "PAREIDOLIA_TEST_GPU";

/// Whether this process tests on the real GPU.
pub fn is_real() -> bool {
    std::env::var_os(ON_REAL_GPU).is_some()
}

/// What compiles kernels for the emulated driver, for tests that plant faults into them. `None` in a process that tests on the real one,
/// and, said so, where there is no compiler.
pub fn compiler() -> Option<Compiler> {
    if is_real() {
        return None;
    }
    pareidolia_emulator::compiler().inspect_err(|why| left_out(&why.to_string())).ok()
}

/// The emulated driver, if this process does not test on the real one; brought up by the first call. `None`, and said so, where it
/// cannot be had.
pub fn emulator() -> Option<Emulator> {
    static EMULATOR: OnceLock<Result<Emulator, String>> = OnceLock::new();
    match EMULATOR.get_or_init(|| pareidolia_emulator::load().map_err(|why| why.to_string())) {
        Ok(emulator) => Some(*emulator),
        Err(why) => {
            left_out(why);
            None
        }
    }
}

/// A device of this process that is no other test's: with a stream of its own. `None`, and said so, where there is none.
pub fn own_launcher() -> Option<Launcher> {
    if !is_real() {
        emulator()?;
    }
    Some(Launcher::new(0).unwrap())
}

/// A device that all tests of this process share. `None`, and said so, where there is none.
pub fn launcher() -> Option<&'static Launcher> {
    gpu().map(|gpu| gpu.launcher.as_ref())
}

/// The same device, as self-tests see it.
pub fn gpu() -> Option<Gpu<'static>> {
    static LAUNCHER: OnceLock<Option<Arc<Launcher>>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| own_launcher().map(Arc::new)).as_ref();
    if launcher.is_none() {
        left_out("there is no driver, not even an emulated one");
    }
    launcher.map(|launcher| Gpu { launcher })
}

/// What `check` returns, which must compare something and find no difference. `None`, and said so, where there is no device.
#[track_caller]
pub fn passes<T>(check: impl FnOnce(&Gpu, &mut Tally) -> Result<T>) -> Option<T> {
    let gpu = gpu()?;
    let mut tally = Tally::default();
    let result = check(&gpu, &mut tally).unwrap();
    if let Some(first) = tally.first {
        panic!("{} values differ; the first: {first}", tally.differing);
    }
    assert!(tally.cases > 0 && tally.elements > 0, "nothing was compared");
    Some(result)
}

/// [`passes`] on a device of its own: for what records a graph, which the launches of other tests on its stream would disturb.
#[track_caller]
pub fn passes_alone<T>(check: impl FnOnce(&Gpu, &mut Tally) -> Result<T>) -> Option<T> {
    let launcher = Arc::new(own_launcher()?);
    passes(|_, tally| check(&Gpu { launcher: &launcher }, tally))
}

/// The first `len` of `values`; the others, of which there must be some, must be `guard`, bit for bit.
#[track_caller]
pub fn unguarded<T: DeviceRepr + Copy + Debug>(mut values: Vec<T>, len: usize, guard: T) -> Vec<T> {
    // SAFETY: what crosses to the device has no padding.
    let bits =
        |value: &T| unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }.to_vec();
    let touched = values.iter().skip(len).position(|value| bits(value) != bits(&guard));
    assert_eq!(touched.map(|at| at + len), None, "an element behind the {len} that were to be written has changed");
    assert!(values.len() > len, "no guards");
    values.truncate(len);
    values
}

/// Fails at the first element whose bits differ.
#[track_caller]
pub fn assert_bits(want: &[f32], got: &[f32], case: &str) {
    assert_eq!(want.len(), got.len(), "{case}: lengths differ");
    for (at, (want, got)) in want.iter().zip(got).enumerate() {
        let (want_bits, got_bits) = (want.to_bits(), got.to_bits());
        assert!(
            want_bits == got_bits,
            "{case}: element {at}: want {want:e} ({want_bits:#010x}), got {got:e} ({got_bits:#010x})"
        );
    }
}
