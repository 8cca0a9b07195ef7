//! The terminal: keys come in, frames go out.

use super::follow::Place;
use super::view::{self, Order, Ui};
use super::{EVERY, Watcher};
use crate::error::{Error, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Shows `place` on the terminal until the user leaves.
///
/// # Errors
/// [`Error::Io`] if the terminal fails, [`Error::Refused`] if signals cannot be caught.
pub fn show(place: &Place) -> Result<()> {
    let failed = |source: io::Error| Error::io("use", Path::new("the terminal"))(source);
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told))
            .map_err(|source| Error::Refused(format!("cannot catch signal {signal}: {source}")))?;
    }
    let watcher = Watcher::start(place);
    let mut ui = Ui::new(view::name_of(&place.path), has_all_colours());
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let outcome = (|| {
        while !told.load(Ordering::Relaxed) {
            let state = watcher.state();
            ui.settle(&state);
            watcher.choose(ui.run);
            terminal.draw(|frame| view::draw(frame, &state, &mut ui))?;
            // A signal is looked at often, files less so.
            let mut waited = Duration::ZERO;
            let nap = Duration::from_millis(100);
            while waited < EVERY && !told.load(Ordering::Relaxed) {
                if event::poll(nap)? {
                    if !take(&event::read()?, &mut ui) {
                        return Ok(());
                    }
                    break;
                }
                waited += nap;
            }
        }
        Ok(())
    })();
    ratatui::restore();
    outcome.map_err(failed)
}

/// Whether the terminal says that it has 24-bit colours.
fn has_all_colours() -> bool {
    std::env::var("COLORTERM").is_ok_and(|value| ["truecolor", "24bit"].contains(&value.as_str()))
}

/// Does what a key says; whether to go on.
fn take(event: &Event, ui: &mut Ui) -> bool {
    let Event::Key(key) = event else { return true };
    if key.kind == KeyEventKind::Release {
        return true;
    }
    let by = |ui: &mut Ui, step: isize| ui.row = ui.row.saturating_add_signed(step);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Up | KeyCode::Char('k') => by(ui, -1),
        KeyCode::Down | KeyCode::Char('j') => by(ui, 1),
        KeyCode::PageUp => by(ui, -(ui.page as isize)),
        KeyCode::PageDown => by(ui, ui.page as isize),
        KeyCode::Home | KeyCode::Char('g') => ui.row = 0,
        KeyCode::End | KeyCode::Char('G') => ui.row = usize::MAX,
        KeyCode::Left | KeyCode::Char('h') => ui.run = ui.run.saturating_sub(1),
        KeyCode::Right | KeyCode::Char('l') => ui.run += 1,
        KeyCode::Char('s') => {
            ui.order = match ui.order {
                Order::Class => Order::Weakest,
                Order::Weakest => Order::Strongest,
                Order::Strongest => Order::Youngest,
                Order::Youngest => Order::Class,
            };
            ui.row = 0;
        }
        _ => {}
    }
    true
}
