//! Compiles the project's kernels for the host, and lays out the folder `target/<profile>/emulator`:
//!
//! - `libcuda.so.1` leads to the emulated driver, the library that cargo makes of this package;
//! - `libcuda.so` is an empty library that needs it: the name that cudarc asks for first;
//! - `libnvidia-ml.so.1` is another one: the name of NVML;
//! - `kernels.so` and `kernels-checked.so` are what the driver loads as its module.
//!
//! Without a C++ compiler nothing is built but the package itself, which then says so to those who ask for the driver.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[path = "../src/compile.rs"]
mod compile;
use compile::{Build, Compiler};

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=include");
    println!("cargo::rerun-if-changed=src/compile.rs");
    println!("cargo::rerun-if-changed=../kernels");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // OUT_DIR is <profile>/build/<package>/out.
    let folder = out.ancestors().nth(3).expect("OUT_DIR lies three levels below the profile").join("emulator");
    println!("cargo::rustc-env=PAREIDOLIA_EMULATOR_FOLDER={}", folder.display());
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    let why = match compiler() {
        Ok(compiler) => {
            println!("cargo::rustc-env=PAREIDOLIA_EMULATOR_COMPILER={}", compiler.command.join("\u{1f}"));
            match build(&compiler, &out, &folder) {
                Ok(()) => String::new(),
                Err(error) => panic!("the kernels do not compile for the host: {error}"),
            }
        }
        Err(why) => {
            println!("cargo::rustc-env=PAREIDOLIA_EMULATOR_COMPILER=");
            println!("cargo::warning=the emulated CUDA driver is left out: {why}");
            why
        }
    };
    println!("cargo::rustc-env=PAREIDOLIA_EMULATOR_LEFT_OUT={}", why.replace('\n', " "));
}

/// The C++ compiler that builds for this machine, or why there is none.
fn compiler() -> Result<Compiler, String> {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") || env::var("HOST") != env::var("TARGET") {
        return Err("it is built on Linux for Linux".into());
    }
    let tool = cc::Build::new()
        .cpp(true)
        .warnings(false)
        .cargo_warnings(false)
        .try_get_compiler()
        .map_err(|error| format!("no C++ compiler: {error}"))?;
    let include = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("include");
    let compiler = Compiler { command: vec![tool.path().display().to_string()], include };
    match compiler.command().arg("--version").output() {
        Ok(output) if output.status.success() => Ok(compiler),
        Ok(_) | Err(_) => Err(format!("no C++ compiler: {} does not run", compiler.command[0])),
    }
}

fn build(compiler: &Compiler, out: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let kernels = fs::canonicalize("../kernels")?;
    let sources = compile::files_below(&kernels, &["cu"])?;
    for (name, build) in [("kernels.so", Build::Fast), ("kernels-checked.so", Build::Checked)] {
        compiler.library(
            &folder.join(name),
            &sources,
            std::slice::from_ref(&kernels),
            build,
            &out.join(name).with_extension("d"),
        )?;
    }
    // The driver itself is linked after this script has run.
    let driver = folder.join("libcuda.so.1");
    if fs::read_link(&driver).is_err() {
        std::os::unix::fs::symlink("../deps/libpareidolia_emulator.so", &driver)?;
    }
    let stand_in = out.join("libcuda.so.1");
    let shared = |name: &str, to: &Path, more: &[&std::ffi::OsStr]| -> io::Result<()> {
        let mut command = compiler.command();
        command
            .args(["-shared", "-nostdlib", "-Wl,--no-as-needed", "-x", "c++", "/dev/null", "-x", "none"])
            .arg(format!("-Wl,-soname,{name}"))
            .arg("-o")
            .arg(to)
            .args(more);
        if command.status()?.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
    };
    shared("libcuda.so.1", &stand_in, &[])?;
    for name in ["libcuda.so", "libnvidia-ml.so.1"] {
        let empty = out.join(format!("empty-{name}"));
        shared(name, &empty, &[stand_in.as_os_str(), "-Wl,-rpath,$ORIGIN".as_ref()])?;
        fs::rename(empty, folder.join(name))?;
    }
    Ok(())
}
