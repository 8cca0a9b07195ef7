//! Caffe models of every form, and mean images.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia_fuzz::import::{check, check_mean};

fuzz_target!(|file: &[u8]| {
    check(file);
    check_mean(file);
});
