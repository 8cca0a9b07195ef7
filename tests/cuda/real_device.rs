//! The tests of this binary once more, on the machine's own GPU, where it has one that this program can use.

use crate::harness;
use crate::left_out::left_out;
use std::process::Command;

#[test]
fn all_tests_pass_on_the_real_gpu() {
    if harness::is_real() {
        return;
    }
    // This process has, or will have, the emulated driver: another one looks for the real one.
    let found = Command::new(env!("CARGO_BIN_EXE_pareidolia")).args(["info", "--json"]).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    if let Some(why) = info["no_gpu"].as_str() {
        return left_out(&format!("on the real GPU: {why}"));
    }
    if pareidolia::kernels::FATBIN.is_none() {
        return left_out(&format!("on the real GPU: {}", pareidolia::kernels::BUILT));
    }
    let tests = std::env::current_exe().unwrap();
    let output = Command::new(tests).env(harness::ON_REAL_GPU, "1").arg("--test-threads=1").output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test result: ok"), "{text}");
}
