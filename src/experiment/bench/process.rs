//! Whole runs of the program, from the start of the process to its end.

use super::stage::{State, check_of, disagrees};
use super::{Request, Step};
use crate::error::{Error, Result};
use crate::output::Manifest;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Generations of [`Step::Run`], after the random one.
pub const GENERATIONS: u32 = 200;

/// A call of `evolve`, to be made again and again.
pub struct Process {
    step: Step,
    preset: String,
    program: PathBuf,
    args: Vec<String>,
    /// Where the runs go; each is removed before the next.
    folder: TempDir,
    /// What its archive hash must be.
    hash: u64,
}

impl Process {
    /// A run of `state`'s preset over `generations`, which must end with `hash`.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no temporary folder to be had.
    pub fn new(request: &Request, state: &State, generations: u32, hash: u64) -> Result<Process> {
        let preset = state.name();
        let numbers = [
            ("--batch", state.config.batch.to_string()),
            ("--seed", state.config.seed.to_string()),
            ("--generations", generations.to_string()),
            ("--threads", request.threads.to_string()),
            ("--simd", request.simd.to_string()),
        ];
        let args = ["evolve", &preset, "--no-pictures", "--quiet", "--json"].map(String::from).into_iter();
        let args = args.chain(numbers.into_iter().flat_map(|(option, value)| [option.to_string(), value])).collect();
        let folder = TempDir::new().map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        let step = if generations == 0 { Step::Start } else { Step::Run };
        Ok(Process { step, preset, program: request.program.clone(), args, folder, hash })
    }

    /// Time of `repeats` runs; each must end with the hash.
    ///
    /// # Errors
    /// [`Error::Refused`] if a run fails or ends with another hash, [`Error::Io`] if it cannot be started.
    pub fn time(&mut self, repeats: u32) -> Result<Duration> {
        let mut time = Duration::ZERO;
        for _ in 0..repeats {
            let out = self.folder.path().join("run");
            let mut command = Command::new(&self.program);
            command.args(&self.args).arg("--out").arg(&out).stdin(Stdio::null());
            let began = Instant::now();
            let output = command.output().map_err(Error::io("run", &self.program))?;
            time += began.elapsed();
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().last().unwrap_or("nothing");
                return Err(Error::Refused(format!("bench: {} of {} failed: {said}", self.step, self.preset)));
            }
            let manifest: Manifest = serde_json::from_slice(&output.stdout)
                .map_err(|error| Error::Refused(format!("bench: evolve --json gave no run.json: {error}")))?;
            if manifest.archive_hash != self.hash {
                return Err(disagrees(&format!("{} of {}", self.step, self.preset), check_of(self.step)));
            }
            std::fs::remove_dir_all(&out).map_err(Error::io("remove", &out))?;
        }
        Ok(time)
    }

    /// Runs it once, to see that it gives the hash.
    ///
    /// # Errors
    /// Those of [`Process::time`].
    pub fn check(&mut self) -> Result<&'static str> {
        self.time(1)?;
        Ok(check_of(self.step))
    }
}
