//! Whole runs of the program, from the start of the process to its end.

use super::stage::{State, check_of, disagrees};
use super::{Request, Step};
use crate::error::{Error, Result};
use crate::output::{Manifest, Summary};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Generations that a run of `step` makes after the random one.
pub fn generations(step: Step) -> u32 {
    if step == Step::Start { 0 } else { 200 }
}

/// Runs that `step` makes at once.
pub fn runs(step: Step) -> u32 {
    if step == Step::Run8 { 8 } else { 1 }
}

/// A call of `evolve`, to be made again and again.
pub struct Process {
    step: Step,
    preset: String,
    program: PathBuf,
    args: Vec<String>,
    /// Where the runs go; each is removed before the next.
    folder: TempDir,
    /// What the archive hash must be, of a series that of its first run.
    hash: u64,
}

impl Process {
    /// The process that `step` times, on `state`'s preset and seed and on `device`; it must end with `hash`.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no temporary folder to be had.
    pub fn new(request: &Request, state: &State, device: &str, step: Step, hash: u64) -> Result<Process> {
        let preset = state.name();
        let numbers = [
            ("--batch", state.config.batch.to_string()),
            ("--seed", state.config.seed.to_string()),
            ("--runs", runs(step).to_string()),
            ("--generations", generations(step).to_string()),
            ("--device", device.to_string()),
            ("--threads", request.threads.to_string()),
            ("--simd", request.simd.to_string()),
        ];
        let args = ["evolve", &preset, "--no-pictures", "--quiet", "--json"].map(String::from).into_iter();
        let args = args.chain(numbers.into_iter().flat_map(|(option, value)| [option.to_string(), value])).collect();
        let folder = TempDir::new().map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
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
            let hash = match runs(self.step) {
                1 => serde_json::from_slice(&output.stdout).map(|manifest: Manifest| Some(manifest.archive_hash)),
                _ => serde_json::from_slice(&output.stdout)
                    .map(|summary: Summary| summary.runs.first().map(|run| run.archive_hash)),
            };
            let hash = hash.map_err(|error| {
                Error::Refused(format!("bench: evolve --json printed neither run.json nor summary.json: {error}"))
            })?;
            if hash != Some(self.hash) {
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
