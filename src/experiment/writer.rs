//! What generations leave on the disk, written by a thread of its own: the next generation does not wait for it.
//!
//! All of it is written in the order in which it was handed over, so a checkpoint never stands without the lines of metrics before it. The
//! first error ends the thread; who hands over more is told it.

use crate::backend::Insertion;
use crate::error::Result;
use crate::output::tensorboard::EventFile;
use crate::output::{Checkpoint, LineageWriter, Metrics, MetricsWriter, RunFolder, lineage};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// The files of a run that grow.
pub struct Files {
    pub folder: Arc<RunFolder>,
    /// `None` for a run that is finished.
    pub metrics: Option<MetricsWriter>,
    /// If they are wanted.
    pub events: Option<EventFile>,
    /// `None` for a run without one, too.
    pub lineage: Option<LineageWriter>,
}

/// The thread, and the way to it.
pub struct Writer {
    to: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// By the numbers of the runs.
enum Task {
    Lines(Vec<(usize, Metrics)>),
    Insertions(Vec<(usize, Vec<Insertion>)>),
    Checkpoints(Vec<(usize, Checkpoint)>),
    /// To be answered once all before it is done.
    Answer(SyncSender<()>),
}

/// Lines that may wait for the disk; then the generations do.
const LINES: usize = 4096;
/// Checkpoints that are written at the same time.
pub const AT_ONCE: usize = 8;
/// Bytes that a line takes while it waits.
const LINE: usize = 512;
/// Insertions of all runs that may gather before they are handed over, and the fewest of one that are.
const INSERTIONS: usize = 1 << 16;
const LEAST_INSERTIONS: usize = 64;

/// Generations whose lines may wait, of so many runs.
fn generations(runs: usize) -> usize {
    (LINES / runs.max(1)).max(2)
}

/// The most memory in bytes that waiting lines take.
pub fn lines_bytes(runs: usize) -> u64 {
    (generations(runs) * runs * LINE) as u64
}

/// Insertions that may gather of each of so many runs.
pub fn insertions(runs: usize) -> usize {
    (INSERTIONS / runs.max(1)).max(LEAST_INSERTIONS)
}

/// The most memory in bytes that insertions take of so many runs of `n_niches`: those that gather, in vectors that grew by doubling, with those
/// of one generation more; as many that wait; and what is written of a run.
pub fn insertions_bytes(runs: usize, n_niches: usize) -> u64 {
    let most = insertions(runs) + n_niches;
    (runs * most * 2 * 2 * size_of::<Insertion>() + most * lineage::RECORD) as u64
}

impl Writer {
    /// For runs with these `files`.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::error::Error::Refused) if the system gives no thread.
    pub fn start(mut files: Vec<Files>) -> Result<Writer> {
        let (to, tasks) = sync_channel(generations(files.len()));
        let body = move || work(&mut files, &tasks);
        let thread = thread::Builder::new().name("disk".into()).spawn(body).map_err(|source| {
            crate::error::Error::Refused(format!("cannot start a thread that writes the runs: {source}"))
        })?;
        Ok(Writer { to: Some(to), thread: Some(thread) })
    }

    /// Hands lines over.
    ///
    /// # Errors
    /// What kept something before from being written, here and below.
    pub fn lines(&mut self, lines: Vec<(usize, Metrics)>) -> Result<()> {
        if lines.is_empty() { self.check() } else { self.hand_over(Task::Lines(lines)) }
    }

    /// Hands insertions over, which were taken from the backend once all before was written.
    ///
    /// # Errors
    /// As above, and what `take` says.
    pub fn insertions(&mut self, take: impl FnOnce() -> Result<Vec<(usize, Vec<Insertion>)>>) -> Result<()> {
        self.wait()?;
        self.hand_over(Task::Insertions(take()?))
    }

    /// Hands checkpoints over, of which each is made when its turn comes: a set of them is written before the next one is made.
    ///
    /// # Errors
    /// As above, and what `make` says.
    pub fn checkpoints(&mut self, make: impl FnOnce() -> Result<Vec<(usize, Checkpoint)>>) -> Result<()> {
        self.wait()?;
        self.hand_over(Task::Checkpoints(make()?))
    }

    /// Returns once all is on the disk.
    ///
    /// # Errors
    /// As above.
    pub fn wait(&mut self) -> Result<()> {
        let (answer, done) = sync_channel(1);
        self.hand_over(Task::Answer(answer))?;
        if done.recv().is_err() { self.failed() } else { Ok(()) }
    }

    /// Whether all went well so far.
    ///
    /// # Errors
    /// As above.
    pub fn check(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.failed() } else { Ok(()) }
    }

    fn hand_over(&mut self, task: Task) -> Result<()> {
        let sent = self.to.as_ref().is_some_and(|to| to.send(task).is_ok());
        if sent { Ok(()) } else { self.failed() }
    }

    /// What ended the thread.
    fn failed(&mut self) -> Result<()> {
        self.to = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()), // it was said before
        }
    }
}

impl Drop for Writer {
    /// What was handed over is written, whatever else went wrong.
    fn drop(&mut self) {
        self.to = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            tracing::warn!("{error}");
        }
    }
}

fn work(files: &mut [Files], tasks: &Receiver<Task>) -> Result<()> {
    for task in tasks {
        match task {
            Task::Lines(lines) => {
                for (run, line) in lines {
                    let Files { metrics, events, .. } = &mut files[run];
                    metrics.as_mut().expect("a run that goes on has metrics").write(&line)?;
                    events.iter_mut().for_each(|events| events.metrics(&line));
                }
            }
            Task::Checkpoints(checkpoints) => {
                write_checkpoints(files, &checkpoints)?;
                for (run, checkpoint) in &checkpoints {
                    files[*run].events.iter_mut().for_each(|events| events.elites(checkpoint));
                }
            }
            Task::Insertions(insertions) => {
                for (run, insertions) in insertions {
                    files[run].lineage.as_mut().map_or(Ok(()), |lineage| lineage.write(&insertions))?;
                }
            }
            Task::Answer(answer) => _ = answer.send(()), // who asked may have gone
        }
    }
    Ok(())
}

/// Several at a time: most of it is waiting for the disk.
fn write_checkpoints(files: &[Files], checkpoints: &[(usize, Checkpoint)]) -> Result<()> {
    let write = |(run, checkpoint): &(usize, Checkpoint)| {
        let Files { folder, metrics, lineage, .. } = &files[*run];
        metrics.iter().try_for_each(MetricsWriter::sync)?;
        lineage.iter().try_for_each(LineageWriter::sync)?;
        folder.write_checkpoint(checkpoint)
    };
    let share = checkpoints.len().div_ceil(AT_ONCE).max(1);
    if checkpoints.len() == 1 {
        return checkpoints.iter().try_for_each(write);
    }
    thread::scope(|scope| {
        let parts: Vec<_> =
            checkpoints.chunks(share).map(|part| scope.spawn(move || part.iter().try_for_each(write))).collect();
        parts.into_iter().try_for_each(|part| part.join().expect("a checkpoint is written or refused"))
    })
}
