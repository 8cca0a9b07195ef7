//! ONNX models.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia_fuzz::import::check;

fuzz_target!(|file: &[u8]| check(file));
