//! Brings up a driver for the tests of this process: the emulated one, or with `PAREIDOLIA_TEST_GPU=1` the machine's own.

use crate::left_out::left_out;
use cudarc::driver::DeviceRepr;
use pareidolia::backend::cuda::Launcher;
use pareidolia_emulator::Emulator;
use std::fmt::Debug;
use std::sync::OnceLock;

/// Set for a process that is to test on the real GPU.
pub const ON_REAL_GPU: &str = "PAREIDOLIA_TEST_GPU";

/// Elements that stand behind what a kernel is to write, and must stay as they are.
pub const GUARDS: usize = 67;
/// Such a number: a NaN of bits that no arithmetic makes.
pub const GUARD_F32: f32 = f32::from_bits(0x7fab_cdef);

/// Whether this process tests on the real GPU.
pub fn is_real() -> bool {
    std::env::var_os(ON_REAL_GPU).is_some()
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
    static LAUNCHER: OnceLock<Option<Launcher>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(own_launcher).as_ref();
    if launcher.is_none() {
        left_out("there is no driver, not even an emulated one");
    }
    launcher
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
