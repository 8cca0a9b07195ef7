//! Compiles kernels/**/*.cu to one fatbin for `crate::kernels`, where there is a compiler for it.

use crate::nvcc::{self, Nvcc};
use crate::resources;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Machine code for the A100 and the H100, and PTX, from which a driver makes code for later devices.
const ARCHITECTURES: &str = "sm_80,sm_90a,compute_80";

/// Kernels that may spill or have a stack frame, and why.
const ALLOWED: &str = "kernels/allowed_spills.txt";

const HOW_TO_GET_IT: &str = "scripts/get-nvcc installs one without root (docs/gpu.md, Building the kernels)";

/// The oldest drivers for Linux that load what an nvcc of CUDA 12 or 13 makes, as `cuDriverGetVersion` and as people name them
/// (CUDA Toolkit Release Notes, minor version compatibility).
const DRIVER_12: (u32, &str) = (12000, "525.60.13");
const DRIVER_13: (u32, &str) = (13000, "580.65.06");

/// What was made.
struct Made {
    fatbin: PathBuf,
    report: PathBuf,
    summary: String,
    driver: (u32, &'static str),
}

/// Writes `kernels.rs` into `out`: the fatbin, and the report of what its kernels take, or why there is none.
///
/// # Errors
/// If nvcc fails, a kernel spills, or `PAREIDOLIA_REQUIRE_CUDA` is 1 and there is no compiler.
pub fn build(out: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed=kernels"); // and all that is in it, new files too
    let (parts, summary, (version, release)) = match make(out)? {
        Ok(Made { fatbin, report, summary, driver }) => {
            let fatbin = format!("const ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!({fatbin:?}));\n");
            let parts = format!("Some(&ALIGNED.0), Some(include_str!({report:?}))");
            (format!("{fatbin}const PARTS: Parts = ({parts});\n"), summary, driver)
        }
        Err(why) if requires_cuda() => return Err(format!("PAREIDOLIA_REQUIRE_CUDA is 1, but {why}")),
        Err(why) => {
            println!("cargo::warning=built without the CUDA kernels, so for the CPU alone: {why}");
            ("const PARTS: Parts = (None, None);\n".into(), format!("no kernels: {why}"), DRIVER_12)
        }
    };
    println!("cargo::rustc-env=PAREIDOLIA_KERNELS={summary}");
    write(&out.join("kernels.rs"), &format!("{parts}const DRIVER: (i32, &str) = ({version}, {release:?});\n"))
}

/// Compiles the kernels, or says why there are none.
fn make(out: &Path) -> Result<Result<Made, String>, String> {
    let architectures = match architectures()? {
        architectures if architectures.is_empty() => return Ok(Err("PAREIDOLIA_CUDA_ARCHS is none".into())),
        architectures => architectures,
    };
    let sources = sources(Path::new("kernels"))?;
    if sources.is_empty() {
        return Ok(Err("kernels/ holds no .cu file".into()));
    }
    let nvcc = match Nvcc::find()? {
        Ok(nvcc) => nvcc,
        Err(why) => return Ok(Err(format!("{why}; {HOW_TO_GET_IT}"))),
    };
    if nvcc.path.is_file() {
        println!("cargo::rerun-if-changed={}", nvcc.path.display()); // unless NVCC is a name to be found on PATH
    }
    println!("cargo::rerun-if-env-changed=NVCC_CCBIN"); // nvcc's own: the C++ compiler it uses

    // One unit, so that headers are read and templates made once; the names in all files must differ.
    let unit: String = sources.iter().map(|path| format!("#include {path:?}\n")).collect();
    let (unit_path, fatbin, report) = (out.join("kernels.cu"), out.join("kernels.fatbin"), out.join("kernels.json"));
    let made_of = out.join("kernels.made_of");
    let inputs = inputs(&nvcc, &architectures)?;
    // Cargo asks again after every change of a source and every commit.
    if fs::read(&made_of).is_ok_and(|before| before == inputs) && fatbin.is_file() && report.is_file() {
        return Ok(Ok(made(fatbin, report, &nvcc, &architectures)));
    }
    let _ = fs::remove_file(&made_of);
    let folder = out.join("nvcc");
    let _ = fs::remove_dir_all(&folder); // of an earlier build, perhaps for other architectures
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    write(&unit_path, &unit)?;
    let compiled = nvcc.compile(&unit_path, &fatbin, &architectures, &folder)?;
    let resources = resources::parse(&compiled.log, &compiled.ptx);
    write(&report, &resources::to_json(&nvcc.version, &architectures, &resources))?;
    let allowed = fs::read_to_string(ALLOWED).map_err(|error| format!("cannot read {ALLOWED}: {error}"))?;
    resources::check(&resources, &allowed)
        .map_err(|why| format!("kernels must not spill or have a stack frame unless {ALLOWED} says why:\n{why}"))?;
    fs::write(&made_of, inputs).map_err(|error| format!("cannot write {}: {error}", made_of.display()))?;
    Ok(Ok(made(fatbin, report, &nvcc, &architectures)))
}

/// All that the fatbin and its report depend on: compiler, flags, architectures, and each file in kernels/ with its name.
fn inputs(nvcc: &Nvcc, architectures: &[String]) -> Result<Vec<u8>, String> {
    let mut inputs =
        format!("{nvcc:?} {:?} {:?} {architectures:?}\n", nvcc::FLAGS, env::var_os("NVCC_CCBIN")).into_bytes();
    let mut folders = vec![PathBuf::from("kernels")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for path in files {
        let text = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        inputs.extend(format!("{path:?} {}\n", text.len()).into_bytes());
        inputs.extend(text);
    }
    Ok(inputs)
}

fn made(fatbin: PathBuf, report: PathBuf, nvcc: &Nvcc, architectures: &[String]) -> Made {
    let driver = if nvcc.version.starts_with("12.") { DRIVER_12 } else { DRIVER_13 };
    let summary = format!(
        "compiled by nvcc {} for {}; they need driver {} or later",
        nvcc.version,
        architectures.join(", "),
        driver.1
    );
    Made { fatbin, report, summary, driver }
}

fn requires_cuda() -> bool {
    println!("cargo::rerun-if-env-changed=PAREIDOLIA_REQUIRE_CUDA");
    env::var("PAREIDOLIA_REQUIRE_CUDA").is_ok_and(|value| value == "1")
}

/// What `PAREIDOLIA_CUDA_ARCHS` asks for: names of machine code (`sm_90a`) and PTX (`compute_80`) with commas between them; `none`
/// leaves the kernels out.
fn architectures() -> Result<Vec<String>, String> {
    println!("cargo::rerun-if-env-changed=PAREIDOLIA_CUDA_ARCHS");
    let given = env::var("PAREIDOLIA_CUDA_ARCHS").ok().filter(|given| !given.trim().is_empty());
    let given = given.as_deref().unwrap_or(ARCHITECTURES);
    if given.trim() == "none" {
        return Ok(Vec::new());
    }
    let is_known = |name: &str| {
        let number = name.strip_prefix("sm_").or(name.strip_prefix("compute_"));
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    let names: Vec<String> = given.split(',').map(|name| name.trim().to_string()).collect();
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(format!(
            "PAREIDOLIA_CUDA_ARCHS: {name:?} is not of the form sm_90a or compute_80, nor is the list `none`"
        )),
        None => Ok(names),
    }
}

/// The .cu files in `folder` and below, as `#include` reaches them from kernels/, sorted.
pub fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "cu") {
            found.push(path.strip_prefix("kernels").unwrap_or(&path).to_path_buf());
        }
    }
    found.sort();
    Ok(found)
}

/// Writes `text` to `path`.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
