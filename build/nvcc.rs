//! Finds NVIDIA's compiler and compiles the kernels with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What fixes the arithmetic, the same for every kernel; then what makes trouble visible. An nvcc of CUDA 12 knows all of it.
pub const FLAGS: [&str; 15] = [
    "-fmad=false",
    "-prec-div=true",
    "-prec-sqrt=true",
    "-ftz=false",
    "-std=c++17",
    "-lineinfo",
    "-Werror",
    "all-warnings",
    "-Xptxas",
    "-v",
    "-fatbin",
    "-I",
    "kernels",
    "--threads", // one an architecture; each one's report comes in a piece
    "0",
];

/// The oldest that knows sm_90a.
const OLDEST: (u32, u32) = (12, 0);

/// The compiler that was found.
#[derive(Debug)]
pub struct Nvcc {
    pub path: PathBuf,
    /// As it says it: `13.0.88`.
    pub version: String,
}

/// What it made.
pub struct Compiled {
    /// What ptxas said of each kernel.
    pub log: String,
    /// The PTX of all kernels, for one architecture.
    pub ptx: String,
}

impl Nvcc {
    /// Looks in the order of docs/gpu.md. Where there is none that can be used, why not.
    ///
    /// # Errors
    /// If `NVCC` names what is no nvcc: whoever set it wants that one.
    pub fn find() -> Result<Result<Nvcc, String>, String> {
        let set = |name: &str| {
            println!("cargo::rerun-if-env-changed={name}");
            env::var_os(name).filter(|value| !value.is_empty())
        };
        let (given, home, path) = (set("NVCC"), set("CUDA_HOME"), set("CUDA_PATH"));
        if let Some(given) = given {
            let nvcc =
                Nvcc::at(Path::new(&given)).ok_or_else(|| format!("NVCC is {given:?}, which is no nvcc that runs"))?;
            return nvcc.recent_enough().map(Ok).map_err(|why| format!("NVCC: {why}"));
        }
        // PATH is not watched: it differs between a shell and an editor, and either would build the other's crate again.
        let search_path = env::var_os("PATH").unwrap_or_default();
        let installed = [PathBuf::from("/usr/local/cuda"), Path::new(".nvcc").into()];
        let homes = home.into_iter().chain(path).map(PathBuf::from).map(|home| home.join("bin"));
        let mut why_not = "found no nvcc".to_string();
        for folder in homes.chain(env::split_paths(&search_path)).chain(installed.map(|home| home.join("bin"))) {
            let path = folder.join("nvcc");
            match path.is_file().then(|| Nvcc::at(&path)).flatten().map(Nvcc::recent_enough) {
                Some(Ok(nvcc)) => return Ok(Ok(nvcc)),
                Some(Err(why)) => why_not = format!("found only {why}"),
                None => {}
            }
        }
        Ok(Err(why_not))
    }

    /// The one at `path`, if it runs.
    fn at(path: &Path) -> Option<Nvcc> {
        let output = Command::new(path).arg("--version").output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().find_map(|line| line.rsplit_once(", V"))?.1.trim().to_string();
        Some(Nvcc { path: path.to_path_buf(), version })
    }

    fn recent_enough(self) -> Result<Nvcc, String> {
        let mut numbers = self.version.split('.').map_while(|number| number.parse::<u32>().ok());
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST {
            Ok(self)
        } else {
            Err(format!("{} of version {}, older than 12.0", self.path.display(), self.version))
        }
    }

    /// Compiles `unit` to `fatbin` for `architectures`, keeping what it makes on the way in `folder`.
    ///
    /// # Errors
    /// What nvcc said, if it fails.
    pub fn compile(
        &self,
        unit: &Path,
        fatbin: &Path,
        architectures: &[String],
        folder: &Path,
    ) -> Result<Compiled, String> {
        let mut command = Command::new(&self.path);
        // Flags from elsewhere could change the arithmetic. Which host compiler to take, NVCC_CCBIN says.
        command.env_remove("NVCC_APPEND_FLAGS").env_remove("NVCC_PREPEND_FLAGS");
        command.args(FLAGS).args(architectures.iter().flat_map(|name| ["-gencode".to_string(), gencode(name)]));
        command.args(["-keep", "-keep-dir"]).arg(folder).arg("-o").arg(fatbin).arg(unit);
        let output = command.output().map_err(|error| format!("cannot run {}: {error}", self.path.display()))?;
        let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !output.status.success() {
            // What ptxas reports of the kernels that it did compile is of no use here.
            let said: Vec<&str> = log.lines().filter(|line| !is_report(line)).collect();
            return Err(format!(
                "{} failed ({}):\n{}\n{command:?}",
                self.path.display(),
                output.status,
                said.join("\n")
            ));
        }
        let ptx = std::fs::read_dir(folder)
            .map_err(|error| error.to_string())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "ptx"))
            .ok_or("nvcc kept no PTX")?;
        let ptx = std::fs::read_to_string(ptx).map_err(|error| error.to_string())?;
        Ok(Compiled { log, ptx })
    }
}

/// Whether ptxas speaks of a kernel that it compiled.
fn is_report(line: &str) -> bool {
    line.starts_with("ptxas info") || line.trim_start().starts_with("0 bytes stack frame")
}

/// What nvcc calls `sm_80` (machine code) or `compute_80` (PTX).
fn gencode(architecture: &str) -> String {
    let number = architecture.trim_start_matches("sm_").trim_start_matches("compute_");
    format!("arch=compute_{number},code={architecture}")
}
