//! The CUDA driver on the host's processor, for tests: pareidolia's own kernels, compiled by the host's C++ compiler, run
//! and are checked without a GPU. See README.md.
//!
//! The package is two libraries. As `libcuda.so.1` it is the driver, and what `libnvidia-ml.so.1` leads to. As a Rust library it says where that is.

#![allow(non_snake_case)] // the driver's names
#![allow(clippy::missing_safety_doc)] // the driver's rules: each pointer is what its name says, or null
#![allow(clippy::undocumented_unsafe_blocks)]

pub mod compile;
#[cfg(target_os = "linux")]
mod driver;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod nvml;

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why there is no emulated driver.
#[derive(Clone, Debug)]
pub struct LeftOut(pub String);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the emulated CUDA driver is left out: {}", self.0)
    }
}

impl std::error::Error for LeftOut {}

/// The folder with `libcuda.so.1`, fit for LD_LIBRARY_PATH.
///
/// # Errors
/// If the machine has no C++ compiler, or is not a Linux.
pub fn folder() -> Result<&'static Path, LeftOut> {
    let why = env!("PAREIDOLIA_EMULATOR_LEFT_OUT");
    if why.is_empty() { Ok(Path::new(env!("PAREIDOLIA_EMULATOR_FOLDER"))) } else { Err(LeftOut(why.into())) }
}

/// The emulated driver.
///
/// # Errors
/// As [`folder`].
pub fn library() -> Result<PathBuf, LeftOut> {
    Ok(folder()?.join("libcuda.so.1"))
}

/// What compiled the kernels, to compile others.
///
/// # Errors
/// As [`folder`].
pub fn compiler() -> Result<compile::Compiler, LeftOut> {
    folder()?;
    let command = env!("PAREIDOLIA_EMULATOR_COMPILER").split('\u{1f}').map(String::from).collect();
    Ok(compile::Compiler { command, include: Path::new(env!("CARGO_MANIFEST_DIR")).join("include") })
}

/// Makes the emulated driver this process's CUDA driver and its NVML, even beside a real one. To be called before anything else looks for
/// the driver: a library that is loaded already is what a search by its name finds.
///
/// # Errors
/// As [`folder`].
pub fn load() -> Result<Emulator, LeftOut> {
    let load = |name: &str| {
        let path = folder()?.join(name);
        let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| LeftOut(error.to_string()))?;
        // SAFETY: loading the driver runs nothing.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() {
            // SAFETY: dlerror gives a string after a failure.
            return Err(LeftOut(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned()));
        }
        Ok(handle as usize)
    };
    load("libnvidia-ml.so.1")?;
    Ok(Emulator { handle: load("libcuda.so")? })
}

/// The loaded driver.
#[derive(Clone, Copy)]
pub struct Emulator {
    handle: usize,
}

impl Emulator {
    fn symbol(self, name: &CStr) -> *mut libc::c_void {
        // SAFETY: the handle is never closed.
        let symbol = unsafe { libc::dlsym(self.handle as *mut libc::c_void, name.as_ptr()) };
        assert!(!symbol.is_null(), "the driver that was loaded is not the emulated one: it lacks {name:?}");
        symbol
    }

    /// Which build of the kernels the calling thread's modules take from now on.
    pub fn choose(self, build: compile::Build) {
        // SAFETY: the type is that of driver/launch.rs.
        let choose: extern "C" fn(i32) = unsafe { std::mem::transmute(self.symbol(c"pareidolia_emulator_build")) };
        choose(i32::from(build == compile::Build::Checked));
    }

    /// What the checker has found since the last call.
    pub fn findings(self) -> Vec<String> {
        // SAFETY: the type is that of driver/mod.rs.
        let take: unsafe extern "C" fn(*mut u8, usize) -> usize =
            unsafe { std::mem::transmute(self.symbol(c"pareidolia_emulator_findings")) };
        let mut text = vec![0; 1 << 16];
        // SAFETY: so many bytes are there.
        let n = unsafe { take(text.as_mut_ptr(), text.len()) };
        String::from_utf8_lossy(&text[..n]).lines().map(String::from).collect()
    }
}

/// The image that makes the driver load the library of kernels at `path` as its module.
pub fn image_of(path: &Path) -> String {
    format!("pareidolia-emulator:{}", path.display())
}
