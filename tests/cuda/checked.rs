//! The tests of the steps once more, on the emulated driver's checked build, which fails a launch that goes out of bounds, reads
//! what nobody wrote, races, or has a barrier that not all threads reach: `tests/cuda/planted.rs` shows that it does.

use crate::harness;
use std::process::Command;

/// What runs whole jobs or starts the program: minutes of checks for nothing new.
const LEFT_TO_THE_FAST_BUILD: [&str; 17] = [
    "ascent_cppn::ascents_in_weights",
    "ascent_cppn::cppns_climb",
    "train::training_lenet",
    "bench::",
    "evolution::",
    "imagenet::",
    "lineage::",
    "memory::",
    "program::",
    "refusals::",
    "planted::",
    "selftest::",
    "real_device::",
    "checked::",
    "gpu_check::",
    "series::",
    "telemetry::",
];

#[test]
fn kernels_are_clean_under_the_checks() {
    if harness::is_real() || harness::emulator().is_none() {
        return;
    }
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.env("PAREIDOLIA_EMULATOR_CHECKED", "1");
    for name in LEFT_TO_THE_FAST_BUILD {
        tests.args(["--skip", name]);
    }
    let output = tests.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test result: ok"), "{text}");
    for family in [
        "ascent_cppn::",
        "vary_cppn::",
        "conv2d::",
        "dense::",
        "pool::",
        "softmax::",
        "average_crops::",
        "combine::",
        "peak::",
        "network::",
        "train::",
        "weight_gradient::",
    ] {
        assert!(text.contains(family), "{family}: {text}");
    }
}
