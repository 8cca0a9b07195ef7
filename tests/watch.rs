//! Looking at runs: `pareidolia watch`, to a pipe and on a terminal, and event files for TensorBoard.

#[path = "common/program.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod program;

use program::{fails, pareidolia, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;
use tempfile::TempDir;

/// Evolves a little into `folder`.
fn evolve(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["evolve", "--batch", "40", "--no-pictures", "--quiet", "--out"]);
    command.arg(folder).args(more);
    command
}

fn watch(folder: &Path, more: &[&str]) -> Command {
    let mut command = pareidolia(&["watch"]);
    command.arg(folder).args(more);
    command
}

fn metrics(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every file with its size and when it was changed.
fn listing(folder: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        all.push((entry.path(), metadata.len(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn finished_run_is_told_at_once_and_left_as_it_is() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("one");
    run(evolve(&folder, &["--generations", "5"]), 0);
    let before = listing(scratch.path());
    let (once, _) = run(watch(&folder, &["--once"]), 0);
    let classes: Vec<&str> = once.lines().skip(1).take(10).collect();
    assert!(classes.iter().enumerate().all(|(i, row)| row.trim_start().starts_with(&i.to_string())), "{once}");
    assert!(once.contains("finished (generations): generation 5  median "), "{once}");

    let (lines, _) = run(watch(&folder, &[]), 0);
    let hash = metrics(&folder)[5]["archive_hash"].as_str().unwrap().to_string();
    assert!(lines.ends_with(&format!("finished (generations)  archive hash {hash}\n")), "{lines}");
    // One above it will do.
    let (above, _) = run(watch(scratch.path(), &[]), 0);
    assert_eq!(above, lines);
    assert_eq!(listing(scratch.path()), before);
}

#[test]
fn run_under_way_is_followed_to_its_end() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("one");
    let mut evolution = evolve(&folder, &["--time", "3s", "--threads", "1"]).spawn().unwrap();
    while !folder.join("metrics.jsonl").exists() {
        assert!(evolution.try_wait().unwrap().is_none());
    }
    let (lines, _) = run(watch(&folder, &[]), 0);
    assert!(evolution.wait().unwrap().success());
    let generations: Vec<u32> = lines
        .lines()
        .filter_map(|line| line.strip_prefix("generation ")?.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(generations.len() >= 3 && generations.is_sorted_by(|a, b| a < b), "{lines}");
    let last = metrics(&folder).last().unwrap()["generation"].as_u64().unwrap();
    assert_eq!(u64::from(*generations.last().unwrap()), last);
    assert!(lines.contains("finished (time)  archive hash "), "{lines}");
}

#[test]
fn series_is_told_in_one_and_run_by_run() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("two");
    run(evolve(&folder, &["--runs", "2", "--generations", "3"]), 0);
    let (once, _) = run(watch(&folder, &["--once"]), 0);
    assert!(once.contains("\nseed1 ") && once.contains("\nseed2 "), "{once}");
    assert!(once.contains("finished: 2 of 2 runs done  generation 3 "), "{once}");
}

#[test]
fn what_is_half_written_or_damaged_is_said_and_no_more() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("one");
    run(evolve(&folder, &["--generations", "5"]), 0);
    fs::remove_file(folder.join("run.json")).unwrap();
    // A torn line is not there yet.
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let (once, _) = run(watch(&folder, &["--once"]), 0);
    assert!(once.contains("running: generation 4 "), "{once}");
    let checkpoint = folder.join("checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    let (once, _) = run(watch(&folder, &["--once"]), 0);
    assert!(once.contains("checkpoint: ") && once.contains("generation 4 "), "{once}");
    // Without lines, and before there is anything.
    fs::remove_file(&path).unwrap();
    fs::remove_file(&checkpoint).unwrap();
    fs::write(&path, "").unwrap();
    assert_eq!(run(watch(&folder, &["--once"]), 0).0, "\nnot begun yet: not begun yet\n".trim_start());
}

#[test]
fn folders_without_a_run_are_refused() {
    let scratch = TempDir::new().unwrap();
    fails(watch(scratch.path(), &[]), 1, "holds no run of an evolution");
    fails(watch(&scratch.path().join("nowhere"), &[]), 1, "nowhere: cannot read");
    // What other commands leave has metrics too.
    let other = scratch.path().join("training");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("metrics.jsonl"), "{\"iteration\":100,\"loss\":0.5}\n").unwrap();
    fs::write(other.join("checkpoint"), "pareidolia training 1\n").unwrap();
    fails(watch(&other, &[]), 1, "holds no run of an evolution");
}

/// The program on a terminal of its own, of so many columns and rows: what it writes until it ends, and its exit code.
#[cfg(unix)]
fn on_a_terminal(mut command: Command, (columns, rows): (u16, u16), keys: &[u8]) -> (String, Option<i32>) {
    use std::io::{Read, Write};
    use std::os::fd::{FromRawFd, OwnedFd};
    let (mut master, mut slave) = (0, 0);
    let mut size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: openpty fills the two numbers and reads the size; null pointers stand for what is not wanted. Both are then owned here.
    let (master, slave) = unsafe {
        let null = std::ptr::null_mut();
        assert_eq!(libc::openpty(&mut master, &mut slave, null, null.cast(), &raw mut size), 0);
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    };
    let end = |slave: &OwnedFd| Stdio::from(slave.try_clone().unwrap());
    command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
    let mut child = command.stdin(end(&slave)).stdout(end(&slave)).stderr(end(&slave)).spawn().unwrap();
    drop((command, slave));
    let mut terminal = fs::File::from(master);
    let mut written = Vec::new();
    let mut buffer = [0; 4096];
    let mut keys = Some(keys);
    // A terminal without a program at it is at its end, or an error.
    while let Ok(n @ 1..) = terminal.read(&mut buffer) {
        written.extend(&buffer[..n]);
        if String::from_utf8_lossy(&written).contains("q leave")
            && let Some(keys) = keys.take()
        {
            terminal.write_all(keys).unwrap();
        }
    }
    (String::from_utf8_lossy(&written).into_owned(), child.wait().unwrap().code())
}

#[cfg(unix)]
#[test]
fn terminal_shows_the_run_and_is_left_as_it_was() {
    let scratch = TempDir::new().unwrap();
    let folder = scratch.path().join("one");
    run(evolve(&folder, &["--generations", "5"]), 0);
    let before = listing(scratch.path());
    for size in [(40, 20), (120, 45)] {
        let (written, code) = on_a_terminal(watch(&folder, &[]), size, b"\x1b[Bsq");
        assert_eq!(code, Some(0), "{written:?}");
        assert!(written.contains("finished") && written.contains("generation"), "{written:?}");
        assert_eq!(written.contains('▀'), size.0 > 40, "elites where there is room");
        let [enters, leaves] = ["\x1b[?1049h", "\x1b[?1049l"].map(|sequence| written.rfind(sequence));
        assert!(enters < leaves && enters.is_some(), "the screen before comes back: {written:?}");
    }
    assert_eq!(listing(scratch.path()), before);
}

/// The messages of an event file, each checksum compared: bit by bit, so by another way than they were made.
fn events(path: &Path) -> Vec<Vec<u8>> {
    fn masked(bytes: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
    }
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut messages = Vec::new();
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    while !rest.is_empty() {
        let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(number(&rest[8..12]), masked(&rest[..8]));
        let message = &rest[12..12 + len];
        assert_eq!(number(&rest[12 + len..16 + len]), masked(message));
        messages.push(message.to_vec());
        rest = &rest[16 + len..];
    }
    messages
}

/// The fields of a message: number, and value or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let len = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            kind => panic!("kind {kind}"),
        };
        fields.push((key >> 3, bytes[..len].to_vec()));
        bytes = &bytes[len..];
    }
    fields
}

fn field(message: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(message).into_iter().find(|field| field.0 == number).map(|field| field.1)
}

/// Every value of an event file: step, tag, the value's message.
fn values(path: &Path) -> Vec<(u64, String, Vec<u8>)> {
    let mut values = Vec::new();
    for event in events(path) {
        let step = field(&event, 2).map_or(0, |step| u64::from_le_bytes(step.try_into().unwrap()));
        let Some(summary) = field(&event, 5) else { continue };
        for (_, value) in fields(&summary) {
            values.push((step, String::from_utf8(field(&value, 1).unwrap()).unwrap(), value));
        }
    }
    values
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn event_files_say_what_the_metrics_say() {
    let scratch = TempDir::new().unwrap();
    let [folder, board] = ["one", "board"].map(|name| scratch.path().join(name));
    let board_text = board.to_str().unwrap();
    run(evolve(&folder, &["--generations", "6", "--set", "checkpoint_every=3", "--tensorboard", board_text]), 0);
    let files = event_files(&board);
    assert_eq!(files.len(), 1);
    let first = &events(&files[0])[0];
    assert_eq!(field(first, 3).unwrap(), b"brain.Event:2");
    let all = values(&files[0]);
    let curve = |tag: &str| -> Vec<(u64, f32)> {
        let of_tag = all.iter().filter(|value| value.1 == tag);
        of_tag
            .map(|(step, _, value)| (*step, f32::from_le_bytes(field(value, 2).unwrap().try_into().unwrap())))
            .collect()
    };
    for (tag, key) in [
        ("confidence/median", "median"),
        ("confidence/least", "min"),
        ("run/niches replaced", "replaced"),
        ("run/evaluations", "evaluations"),
        ("classes/at .9999", "over_9999"),
    ] {
        let lines = metrics(&folder);
        let of_line = |line: &Value| (line["generation"].as_u64().unwrap(), line[key].as_f64().unwrap() as f32);
        assert_eq!(curve(tag), lines.iter().map(of_line).collect::<Vec<_>>(), "{tag}");
    }
    let steps = |tag: &str| all.iter().filter(|value| value.1 == tag).map(|value| value.0).collect::<Vec<_>>();
    assert_eq!(steps("elites"), [0, 3, 6]);
    let (_, _, picture) = all.iter().find(|value| value.1 == "elites").unwrap();
    assert!(field(&field(picture, 4).unwrap(), 4).unwrap().starts_with(b"\x89PNG"));
    let (_, _, bars) = all.iter().rfind(|value| value.1 == "confidence of the classes").unwrap();
    let bars = field(&field(bars, 5).unwrap(), 7).unwrap();
    let count: f64 = bars.chunks(8).map(|bar| f64::from_le_bytes(bar.try_into().unwrap())).sum();
    assert_eq!(count, 10.0);
    let (_, _, text) = all.iter().find(|value| value.1 == "configuration").unwrap();
    let text = String::from_utf8(field(&field(text, 8).unwrap(), 8).unwrap()).unwrap();
    assert!(text.contains("    seed = 1\n") && text.contains("    checkpoint_every = 3\n"), "{text}");

    // Going on: a file of its own, which begins behind the checkpoint.
    let mut more =
        pareidolia(&["evolve", "--quiet", "--no-pictures", "--generations", "8", "--tensorboard", board_text]);
    more.arg("--resume").arg(&folder);
    run(more, 0);
    let files = event_files(&board);
    assert_eq!(files.len(), 2);
    let begins = events(&files[1])[1].clone();
    assert_eq!(field(&begins, 7).unwrap(), [8, 1], "a session starts");
    assert_eq!(field(&begins, 2).unwrap()[0], 7);
    let steps: Vec<u64> =
        values(&files[1]).iter().filter(|value| value.1 == "confidence/median").map(|value| value.0).collect();
    assert_eq!(steps, [7, 8]);
}

#[test]
fn event_files_of_a_series_have_folders_and_a_folder_that_cannot_be_made_stops_the_call() {
    let scratch = TempDir::new().unwrap();
    let [folder, board] = ["two", "board"].map(|name| scratch.path().join(name));
    run(evolve(&folder, &["--runs", "2", "--generations", "2", "--tensorboard", board.to_str().unwrap()]), 0);
    assert_eq!(event_files(&board), ["seed1", "seed2"].map(|name| board.join(name)));
    assert_eq!(event_files(&board.join("seed2")).len(), 1);

    fs::write(scratch.path().join("file"), "").unwrap();
    let blocked = scratch.path().join("file/board");
    let third = scratch.path().join("third");
    fails(evolve(&third, &["--tensorboard", blocked.to_str().unwrap()]), 1, "file/board: cannot make");
    assert!(!third.exists(), "nothing is begun");
}
