//! `pareidolia watch`: a live look at a run.

use crate::error::Result;
use crate::experiment::watch::{find, print_lines, show};
use std::io::IsTerminal;
use std::path::PathBuf;

/// Watch a run while it goes on, or look at one that is over
///
/// Shows rates, the confidence of each class, elites, the median's curve, and what the GPU says. Only files are read: the run may be another
/// process's, or another machine's on the same disk, and notices nothing. Leaving changes nothing.
///
/// Keys: up and down choose a class, page up and page down a page of them, `s` sorts (by class, weakest, strongest, youngest first), left and
/// right choose a run of a series, `q` leaves.
///
/// Where standard output is no terminal: a line for each change, until the run is finished.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of a run or of a series, or one above it: then the one that has changed last
    #[arg(default_value = "runs")]
    run: PathBuf,

    /// Print what there is, each class included, and end
    #[arg(long)]
    once: bool,

    /// Print lines on a terminal too
    #[arg(long, conflicts_with = "once")]
    plain: bool,
}

impl Args {
    /// Watches.
    ///
    /// # Errors
    /// If there is no run, or the terminal fails.
    pub fn run(self) -> Result<()> {
        let place = find(&self.run)?;
        let on_terminal = std::io::stdout().is_terminal()
            && std::io::stdin().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        if on_terminal && !self.once && !self.plain {
            return show(&place);
        }
        print_lines(&place, self.once, &mut super::print)
    }
}
