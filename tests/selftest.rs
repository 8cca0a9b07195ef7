//! `pareidolia selftest` on the CPU, as a user calls it. On a GPU: tests/cuda/selftest.rs.

use pareidolia::experiment::selftest::report::{Outcome, Report};
use pareidolia::simd::Simd;
use std::process::{Command, Output};

fn selftest(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pareidolia")).arg("selftest").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The report of a call that must succeed.
#[track_caller]
fn report(args: &[&str]) -> Report {
    let output = selftest(&[args, &["--device", "cpu", "--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_step_and_run_is_tried_on_every_set_of_vector_instructions() {
    for args in [&[][..], &["--quick"]] {
        let report = report(args);
        assert!(report.passed && report.device == "cpu" && report.device_reason == "--device cpu", "{report:#?}");
        assert_eq!(report.quick, !args.is_empty());
        for check in &report.checks {
            assert!(check.result == Outcome::Ok && check.cases > 0 && check.elements > 0, "{check:?}");
        }
        for simd in Simd::available() {
            for name in ["elementary", "vary-direct", "render-cppn", "classify", "network", "run-mnist-direct-modern"] {
                let name = format!("{name}-{simd}");
                assert!(report.checks.iter().any(|check| check.name == name), "{name}: {report:#?}");
            }
        }
    }
}

#[test]
fn checks_are_chosen_by_a_part_of_their_names() {
    let report = report(&["--quick", "select", "run-mnist-cppn-faithful"]);
    let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((names[0], names.len()), ("select-plain", 1 + Simd::available().len()), "{names:?}");

    let output = selftest(&["--device", "cpu", "select", "nonesuch"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("error: selftest: ") && stderr.contains("\"nonesuch\""), "{stderr}");
    assert!(stderr.contains("run-series") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn table_has_a_line_a_check_and_says_how_many_are_ok() {
    let output = selftest(&["--device", "cpu", "--quick", "select"]);
    let stdout = text(&output.stdout);
    let line = stdout.lines().find(|line| line.starts_with("select-plain ")).unwrap_or_else(|| panic!("{stdout}"));
    assert!(line.contains(" ok ") && line.ends_with("with the recorded digest"), "{stdout}");
    assert!(stdout.contains("on cpu (--device cpu)") && stdout.contains("1 of 1 checks ok"), "{stdout}");
}
