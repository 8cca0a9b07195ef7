//! scripts/gpu-check, on the emulated GPU: what fails is said, and what comes after it is tried all the same.

use crate::harness::is_real;
use crate::left_out::left_out;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program with a line of shell before it, which sees the arguments; what takes long on the emulator says that it went well.
fn program(folder: &Path, before: &str) -> PathBuf {
    let text = format!(
        "#!/bin/bash\n{before}\ncase $1 in selftest | bench) echo '{{}}'; exit 0 ;; esac\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_pareidolia")
    );
    script(folder, "program", &text)
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Part, result and detail.
type Row = (String, String, String);

/// The check with such a program and tools; its exit code and its table.
fn check(before: &str, sanitizer: &str, seconds: &str) -> Option<(i32, Vec<Row>)> {
    if is_real() {
        return None; // a real GPU is checked by the script itself
    }
    let driver = match pareidolia_emulator::folder() {
        Ok(driver) => driver,
        Err(why) => {
            left_out(&why.to_string());
            return None;
        }
    };
    let scratch = TempDir::new().unwrap();
    let out = scratch.path().join("out");
    // Tools that run what they are to watch.
    let watch = "while [ $# -gt 0 ] && [[ $1 != */program ]]; do shift; done; \"$@\"";
    let sanitizer = script(scratch.path(), "sanitizer", &format!("#!/bin/bash\n{watch}\n{sanitizer}\n"));
    let kernels = ["render_cppn_u8", "lenet_features_f32", "lenet_probabilities_f32", "conv2d_64_f32"];
    let kernels = kernels.map(|kernel| format!("echo '  {kernel} (1, 1, 1)'")).join("; ");
    let ncu = script(scratch.path(), "ncu", &format!("#!/bin/bash\n{kernels}\n"));
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gpu-check")).arg(&out);
    command.env("LD_LIBRARY_PATH", driver).env("PAREIDOLIA", program(scratch.path(), before));
    command.envs([("GPU_CHECK_SHORT", "1"), ("GPU_CHECK_SECONDS", seconds)]);
    command.env("COMPUTE_SANITIZER", sanitizer).env("NCU", ncu).current_dir(scratch.path());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let files: Vec<_> = fs::read_dir(&out).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.len() <= 9 && files.iter().all(|file| file.metadata().unwrap().len() < 16 << 20), "{files:?}");
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(text, fs::read_to_string(out.join("summary.txt")).unwrap());
    let rows: Value = serde_json::from_str(&fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_string();
    let rows = rows.as_array().unwrap().iter();
    let rows: Vec<_> = rows.map(|row| (word(row, "part"), word(row, "result"), word(row, "detail"))).collect();
    assert_eq!(rows.len(), 12, "{rows:?}\n{}", String::from_utf8_lossy(&stderr));
    assert!(rows.iter().all(|(part, ..)| text.contains(part)));
    Some((status.code().unwrap(), rows))
}

/// The parts that did not end `ok`.
fn not_ok(rows: &[Row]) -> Vec<(&str, &str)> {
    let rows = rows.iter().filter(|(_, result, _)| result != "ok");
    rows.map(|(part, result, _)| (part.as_str(), result.as_str())).collect()
}

#[test]
fn good_gpu_passes() {
    let Some((code, rows)) = check("", "exit 0", "480") else { return };
    assert_eq!((code, not_ok(&rows)), (0, vec![]), "{rows:?}");
    assert!(rows[0].2.contains("H100 (emulated)") && rows[2].2.contains("8fae78ccada41bf9"), "{rows:?}");
}

#[test]
fn every_failing_part_is_named_and_keeps_none_from_being_tried() {
    // Another hash of one preset, another end of the selftest, and a tool that finds something.
    let before = "[[ $1 = selftest ]] && exit 1\n[[ $2 = mnist-direct ]] && set -- \"$@\" --seed 2";
    let Some((code, rows)) = check(before, "exit 99", "480") else { return };
    let tools = ["memcheck", "initcheck", "synccheck", "racecheck"];
    let want: Vec<(&str, &str)> = ["selftest", "direct"].iter().chain(&tools).map(|part| (*part, "FAILED")).collect();
    assert_eq!((code, not_ok(&rows)), (1, want), "{rows:?}");
    assert!(rows[3].2.contains("on a CPU 304e244acc58b44a") && rows[8].2.contains("findings"), "{rows:?}");
}

#[test]
fn part_that_hangs_ends_and_the_others_are_tried() {
    let before = "[[ $2 = --device && $1 = selftest ]] && exec sleep 1000";
    let Some((code, rows)) = check(before, "exit 0", "200") else { return };
    assert_eq!(code, 1);
    assert!(rows[1].1 == "FAILED" && rows[1].2.contains("took longer than"), "{rows:?}");
    assert_eq!(rows[2].1, "ok", "{rows:?}");
}
