//! A line for each change, where there is no terminal.

use super::follow::{Follower, Place, RunState};
use super::{EVERY, line_text, look};
use crate::error::{Error, Result};
use crate::output::{confidence_text, cut, hash_text};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Hands a line to `print` for what there is and then for each change, until the runs are finished or the process is told to end; with
/// `once` only for what there is, and each class.
///
/// # Errors
/// What `print` says; [`Error::Refused`] if signals cannot be caught.
pub fn print_lines(place: &Place, once: bool, print: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let mut followers: Vec<Follower> = place.runs.iter().map(|run| Follower::new(run)).collect();
    if once {
        return print_once(&mut followers, print);
    }
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&told))
            .map_err(|source| Error::Refused(format!("cannot catch signal {signal}: {source}")))?;
    }
    let mut said = String::new();
    loop {
        let state = look(&mut followers, None);
        let line = line_text(&state);
        if line != said {
            print(&format!("{line}\n"))?;
            said = line;
        }
        if state.is_finished() {
            let hash = match &state.runs[..] {
                [RunState { manifest: Some(manifest), .. }] => {
                    format!("  archive hash {}", hash_text(manifest.archive_hash))
                }
                _ => String::new(),
            };
            return print(&format!("{}{hash}\n", state.standing()));
        }
        // In short naps: a signal is to end it at once.
        let naps = EVERY.as_millis() / 50;
        for _ in 0..naps {
            if told.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn print_once(followers: &mut [Follower], print: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let state = look(followers, (followers.len() == 1).then_some(0));
    let mut text = String::new();
    match &state.runs[..] {
        [run] => {
            if let Some(elites) = &run.elites {
                text += &format!("{:>5}  {:<24} {:>10} {:>10}\n", "class", "name", "confidence", "born");
                let niches = elites.archive.classes.iter().zip(&elites.names).zip(&elites.fitness);
                for (((class, name), &confidence), elite) in niches.zip(&elites.archive.elites) {
                    let (name, confidence) = (cut(name, 24), confidence_text(confidence));
                    text += &format!("{class:>5}  {name:<24} {confidence:>10} {:>10}\n", elite.born.0);
                }
                text += "\n";
            }
            text.extend(run.trouble.iter().map(|trouble| format!("{trouble}\n")));
        }
        runs => {
            text += &format!("{:<20} {:>10} {:>8} {:>8}\n", "run", "generation", "median", "at .9999");
            for run in runs {
                let name = super::view::name_of(&run.path);
                text += &match &run.last {
                    Some(last) => {
                        let median = confidence_text(last.median as f32);
                        format!("{name:<20} {:>10} {median:>8} {:>8}\n", last.generation, last.over_9999)
                    }
                    None => format!("{name:<20} {:>10}\n", "-"),
                };
            }
            text += "\n";
        }
    }
    text += &format!("{}: {}\n", state.standing(), line_text(&state));
    print(&text)
}
