//! The lineage on the device: who won which niche, until the host has it.

use super::launcher::{Launcher, Reader};
use super::params::Insertion;
use crate::backend::{self, Job};
use crate::error::Result;
use cudarc::driver::CudaSlice;

/// A ring a run, to which `insert` appends. How many it has taken says a generation's [`Counters`](super::params::Counters), so the host
/// need not ask.
#[derive(Debug)]
pub struct Insertions {
    /// `(R, capacity)`: the i-th insertion of a run is at `i % capacity`.
    pub entries: CudaSlice<Insertion>,
    /// `(R)`: how many there were.
    pub counts: CudaSlice<u32>,
    /// A power of two.
    pub capacity: u32,
    /// What the host has of each run: up to which it was brought over, and what nobody has taken.
    runs: Vec<Brought>,
}

#[derive(Clone, Debug, Default)]
struct Brought {
    count: u32,
    insertions: Vec<backend::Insertion>,
}

/// Insertions of a run of `n_niches` for which there is room: while a generation fills one part, another is on its way to the host.
pub fn capacity(n_niches: usize) -> usize {
    /// Generations of insertions: half of the ring may be full before it is read, then come those that had begun, and those of the
    /// generation beside which it is read.
    const FULL: usize = 4;
    /// 4 KiB: with few niches the host need not look often.
    const LEAST: usize = 256;
    (FULL * n_niches).next_power_of_two().max(LEAST)
}

impl Insertions {
    /// Room for those of `job`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn new(launcher: &Launcher, job: &Job) -> Result<Insertions> {
        let (n_runs, capacity) = (job.seeds.len(), capacity(job.classes.len()));
        Ok(Insertions {
            entries: launcher.zeros(n_runs * capacity)?,
            counts: launcher.zeros(n_runs)?,
            capacity: capacity as u32,
            runs: vec![Brought::default(); n_runs],
        })
    }

    /// As of some moment: `entries` is at least `(R, capacity)`, `counts` is `(R)`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn with(launcher: &Launcher, entries: &[Insertion], counts: &[u32], capacity: usize) -> Result<Insertions> {
        let runs = counts.iter().map(|&count| Brought { count, insertions: Vec::new() }).collect();
        let (entries, counts) = (launcher.upload(entries)?, launcher.upload(counts)?);
        Ok(Insertions { entries, counts, capacity: capacity as u32, runs })
    }

    /// Bytes of a run of `job`.
    pub fn run_bytes(job: &Job) -> usize {
        size_of::<u32>() + capacity(job.classes.len()) * size_of::<Insertion>()
    }

    /// Whether so many have gathered of run `run`, which has had `count`, that the host should fetch them.
    pub fn are_many(&self, run: usize, count: u32) -> bool {
        count.wrapping_sub(self.runs[run].count) > self.capacity / 2
    }

    /// Brings over those of run `run`, which has had `count`, by a `reader` that may read them.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn bring(&mut self, reader: Reader, run: usize, count: u32) -> Result<()> {
        let Brought { count: before, insertions } = &mut self.runs[run];
        while *before != count {
            let at = *before % self.capacity;
            let n = count.wrapping_sub(*before).min(self.capacity - at); // as far as the end of the ring
            let start = run * self.capacity as usize + at as usize;
            let entries = reader.part(&self.entries, start, n as usize)?;
            insertions.extend(entries.into_iter().map(backend::Insertion::from));
            *before = before.wrapping_add(n);
        }
        Ok(())
    }

    /// Takes those of run `run` that were brought over.
    pub fn take(&mut self, run: usize) -> Vec<backend::Insertion> {
        std::mem::take(&mut self.runs[run].insertions)
    }

    /// Begins those of run `run` anew.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn clear(&mut self, launcher: &Launcher, run: usize) -> Result<()> {
        self.runs[run] = Brought::default();
        launcher.upload_part(&mut self.counts, run, &[0])
    }
}
