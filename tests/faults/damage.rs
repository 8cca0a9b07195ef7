//! A checkpoint changed or cut anywhere is refused, always and without a panic, in little memory.

use crate::{CPPN, Job, evolve, fails, is_exhaustive, resume, run};
use pareidolia::error::Error;
use pareidolia::output::Checkpoint;
use sha2::{Digest, Sha256};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The system's allocator, with what this thread holds and held at most since [`peak_of`] began.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let held = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        held.get()
    });
    let _ = held.map(|held| PEAK.try_with(|peak| peak.set(peak.get().max(held))));
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` gives, and the bytes that it had allocated at most at one time.
fn peak_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    HELD.set(0);
    PEAK.set(0);
    let result = f();
    (result, PEAK.get() as usize)
}

/// A real checkpoint, of a run that the program made.
struct Subject {
    _scratch: TempDir,
    path: PathBuf,
    good: Vec<u8>,
    checkpoint: Checkpoint,
    /// Open for writing: a byte changed in place takes a microsecond, the file written anew a hundred.
    file: File,
}

impl Subject {
    fn of(job: Job) -> Subject {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let mut command = evolve(job, &folder);
        command.arg("--no-pictures");
        run(command, 0);
        let path = folder.join("checkpoint");
        let good = fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        Subject { _scratch: scratch, path, good, checkpoint, file }
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, at as u64).unwrap();
    }

    /// Reads the file as it is now, in memory of at most `times` its size and 64 KiB.
    fn read(&self, times: usize, case: &str) -> Result<Checkpoint, Error> {
        let (result, peak) = peak_of(|| Checkpoint::read(&self.path));
        let limit = times * self.good.len() + (1 << 16);
        assert!(peak <= limit, "{case}: {peak} bytes allocated for a file of {}", self.good.len());
        result
    }

    fn refused(&self, case: &str) {
        match self.read(2, case) {
            Ok(_) => panic!("{case}: accepted"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("checkpoint is damaged") && text.contains("start the run again"), "{text}");
                assert!(!text.contains('\n'), "{case}: {text}");
            }
        }
    }
}

const SUBJECTS: [Job; 2] = [CPPN, &["mnist-direct", "--classes", "2,3,7", "--batch", "40", "--generations", "5"]];

#[test]
fn checkpoint_changed_at_any_byte_is_refused() {
    for job in SUBJECTS {
        let subject = Subject::of(job);
        for (at, &byte) in subject.good.iter().enumerate() {
            for bit in 0..8 {
                // Each byte once, each of its bits in the long form.
                if is_exhaustive() || bit == at % 8 {
                    subject.put(at, &[byte ^ (1 << bit)]);
                    subject.refused(&format!("{}: byte {at}, bit {bit}", job[0]));
                }
            }
            subject.put(at, &[byte]);
        }
        assert_eq!(Checkpoint::read(&subject.path).unwrap(), subject.checkpoint, "as it was");
    }
}

#[test]
fn checkpoint_cut_anywhere_or_continued_is_refused() {
    for job in SUBJECTS {
        let subject = Subject::of(job);
        for more in [&b"\n"[..], b"\0", &[b' '; 4096]] {
            subject.put(subject.good.len(), more);
            subject.refused("bytes more");
            subject.file.set_len(subject.good.len() as u64).unwrap();
        }
        assert_eq!(Checkpoint::read(&subject.path).unwrap(), subject.checkpoint);
        for length in (0..subject.good.len()).rev() {
            subject.file.set_len(length as u64).unwrap();
            subject.refused(&format!("{}: cut at {length}", job[0]));
        }
    }
}

/// As [`checkpoint_changed_at_any_byte_is_refused`], but with the digest made to fit, as no accident does: what is then
/// accepted is the same archive with another number of no consequence to it, such as the seconds spent.
#[test]
fn checkpoint_changed_and_signed_again_is_refused_or_holds_the_same_archive() {
    for job in SUBJECTS {
        let subject = Subject::of(job);
        let first = subject.good.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let (mut head, body) = (subject.good[..first + 65].to_vec(), first + 65);
        let want = subject.checkpoint.archive.hash();
        let step = if is_exhaustive() { 1 } else { 3 };
        for at in (body..subject.good.len()).step_by(step) {
            let mut bad = subject.good[body..].to_vec();
            bad[at - body] ^= 1 << (at % 8);
            let digest = Sha256::new().chain_update(&head[..first]).chain_update(&bad).finalize();
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            head[first..first + 64].copy_from_slice(digest.as_bytes());
            subject.put(0, &head);
            subject.put(at, &bad[at - body..=at - body]);
            match subject.read(8, &format!("{}: byte {at}", job[0])) {
                Ok(checkpoint) => assert_eq!(checkpoint.archive.hash(), want, "{}: byte {at}", job[0]),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
            subject.put(at, &subject.good[at..=at]);
        }
    }
}

#[test]
fn program_refuses_a_damaged_checkpoint_and_keeps_it() {
    let subject = Subject::of(CPPN);
    let folder = subject.path.parent().unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&subject.path, bytes).unwrap();
        let before = files(folder);
        for command in [resume(folder, &["--generations", "99"]), evolve(CPPN, folder)] {
            fails(command, &["checkpoint: ", what]);
        }
        assert_eq!(files(folder), before, "untouched");
    };
    let good = &subject.good;
    for length in [0, 1, 30, good.len() / 2, good.len() - 1] {
        refused(&good[..length], "damaged");
    }
    for at in [0, 23, 24, 87, 88, 89, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        refused(&bad, "damaged");
    }
    refused(&[&good[..], b"\n"].concat(), "damaged");
    fs::write(&subject.path, good).unwrap();
    run(resume(folder, &["--no-pictures", "--generations", "25"]), 0);
}

/// Every file directly in `folder`.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.is_file()).map(|p| (p.clone(), fs::read(p).unwrap())).collect();
    files.sort();
    files
}
