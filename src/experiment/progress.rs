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

/// Time between two plain lines, and between two looks of the bar.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Progress through a known number of steps.
pub struct Progress {
    form: Form,
    last: Option<Instant>,
}

enum Form {
    Bar(ProgressBar),
    Plain { total: u64, unit: &'static str },
    None,
}

impl Progress {
    /// Shows `total` steps, named `unit` in the plural.
    pub fn new(mode: ProgressMode, total: u64, unit: &'static str) -> Progress {
        let form = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => {
                let template = format!("{{elapsed:>4}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{msg}}  eta {{eta}}");
                let style = ProgressStyle::with_template(&template).expect("the template is a constant");
                Form::Bar(ProgressBar::new(total).with_style(style))
            }
            ProgressMode::Plain => Form::Plain { total, unit },
            ProgressMode::Auto | ProgressMode::None => Form::None,
        };
        Progress { form, last: None }
    }

    /// Whether what was shown last is old enough to show something new.
    pub fn is_due(&self) -> bool {
        let every = match self.form {
            Form::Bar(_) => BAR_EVERY,
            Form::Plain { .. } => PLAIN_EVERY,
            Form::None => return false,
        };
        self.last.is_none_or(|last| last.elapsed() >= every)
    }

    /// Shows `step`, if it is due; `message` is made only when it will be seen.
    pub fn update(&mut self, step: u64, message: impl FnOnce() -> String) {
        if !self.is_due() {
            return;
        }
        match &self.form {
            Form::Bar(bar) => {
                bar.set_position(step);
                bar.set_message(message());
            }
            Form::Plain { total, unit } => {
                // Nobody reading it is no reason to stop.
                _ = writeln!(std::io::stderr(), "{unit} {step}/{total}  {}", message());
            }
            Form::None => {}
        }
        self.last = Some(Instant::now());
    }

    /// Lets `say` write to stderr without a bar in its way.
    pub fn suspend(&self, say: impl FnOnce()) {
        match &self.form {
            Form::Bar(bar) => bar.suspend(say),
            _ => say(),
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Form::Bar(bar) = self.form {
            bar.finish_and_clear();
        }
    }
}
