//! Progress for people: a bar on a terminal, lines in a log file, or nothing.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressMode {
    /// A bar if stderr is a terminal, otherwise nothing.
    #[default]
    Auto,
    /// A line on stderr every two seconds.
    Plain,
    None,
}

/// Time between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// Progress through a known number of steps.
pub enum Progress {
    Bar(ProgressBar),
    Plain { last: Option<Instant>, total: u64, unit: &'static str },
    None,
}

impl Progress {
    /// Shows `total` steps, named `unit` in the plural.
    pub fn new(mode: ProgressMode, total: u64, unit: &'static str) -> Progress {
        match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => {
                let template = format!("{{elapsed:>4}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{msg}}  eta {{eta}}");
                let style = ProgressStyle::with_template(&template).expect("the template is a constant");
                Progress::Bar(ProgressBar::new(total).with_style(style))
            }
            ProgressMode::Plain => Progress::Plain { last: None, total, unit },
            ProgressMode::Auto | ProgressMode::None => Progress::None,
        }
    }

    /// Shows `step`; `message` is made only when it will be seen.
    pub fn update(&mut self, step: u64, message: impl FnOnce() -> String) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(step);
                bar.set_message(message());
            }
            Progress::Plain { last, total, unit } => {
                if last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
                    // Nobody reading it is no reason to stop.
                    _ = writeln!(std::io::stderr(), "{unit} {step}/{total}  {}", message());
                    *last = Some(Instant::now());
                }
            }
            Progress::None => {}
        }
    }

    /// Lets `say` write to stderr without a bar in its way.
    pub fn suspend(&self, say: impl FnOnce()) {
        match self {
            Progress::Bar(bar) => bar.suspend(say),
            _ => say(),
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
