//! What can go wrong, in words for the person at the keyboard: what, where, got, wanted, what to do.

use cudarc::driver::DriverError;
use std::path::{Path, PathBuf};

/// Result of everything that can fail for a reason outside the program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure that is not a bug. Only `main` prints it and turns it into an exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A wrong call: an option or a configuration value that can never work.
    #[error("{0}")]
    Usage(String),
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    /// A file that is there but is not what it should be (IDX, PNG, checkpoint, archive, configuration).
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    /// A weights file lacks a tensor, or holds it in another shape, type or value.
    #[error("{path}: tensor {tensor:?} {reason}", path = path.display())]
    Weights { path: PathBuf, tensor: String, reason: String },
    /// What was asked for does not fit the machine or the state of the run.
    #[error("{0}")]
    Refused(String),
    /// No GPU that this program can use.
    #[error("{reason}")]
    NoDevice { reason: String },
    /// The GPU's driver refused to launch a kernel.
    #[error("cannot launch the kernel {kernel}: {}", driver_text(source))]
    Launch { kernel: &'static str, source: DriverError },
    /// The GPU's driver refused, or the GPU failed at what it was given before.
    #[error("cannot {action} on the GPU: {}", driver_text(source))]
    Driver { action: &'static str, source: DriverError },
    /// A buffer's length disagrees with the shape it is used with.
    #[error("{what} has {got} elements, wanted {want}")]
    Shape { what: &'static str, got: usize, want: usize },
    /// The GPU failed in mid-run.
    #[error("{source}; the last checkpoint stays; continue with: pareidolia {command} --resume {run}", run = run.display())]
    DeviceLost { source: Box<Error>, command: &'static str, run: PathBuf },
    /// The run was stopped by this signal after its state was saved.
    #[error("stopped by signal {signal}; continue with: pareidolia {command} --resume {run}", run = run.display())]
    Stopped { signal: i32, command: &'static str, run: PathBuf },
    /// A job that nothing goes on with was stopped by this signal after what it had `done` was saved.
    #[error("stopped by signal {signal} after {done}; what there is then is in {run}", run = run.display())]
    CutShort { signal: i32, done: String, run: PathBuf },
}

impl Error {
    /// An [`Error::Io`] of `path`, for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::File`] of `path`.
    pub fn file(path: &Path, reason: impl Into<String>) -> Error {
        Error::File { path: path.to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Driver`] of `action`, for `map_err`.
    pub fn driver(action: &'static str) -> impl FnOnce(DriverError) -> Error {
        move |source| Error::Driver { action, source }
    }

    /// An [`Error::Launch`] of `kernel`, for `map_err`.
    pub fn launch(kernel: &'static str) -> impl FnOnce(DriverError) -> Error {
        move |source| Error::Launch { kernel, source }
    }

    /// 2 for a wrong call, 128 + signal after a clean stop by signal, 1 for every other failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Stopped { signal, .. } | Error::CutShort { signal, .. } => 128 + *signal as u8,
            _ => 1,
        }
    }
}

/// The name and the words of a driver's error. Both come from the driver itself.
pub(crate) fn driver_text(error: &DriverError) -> String {
    let text =
        error.error_string().map_or_else(|_| "an error unknown to this driver".into(), |text| text.to_string_lossy());
    format!("{text} ({:?})", error.0)
}

/// What a message quotes from a file may have several lines and any length; an error has one line, and not a long one.
pub(crate) fn one_line(text: &str) -> String {
    const SHOWN: usize = 300;
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(SHOWN));
        if let Some((end, _)) = line.char_indices().nth(SHOWN) {
            line.truncate(end);
            line.push_str("...");
            break;
        }
    }
    line
}
