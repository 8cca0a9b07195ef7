//! The archives as the host has them, so that an elite comes over once and not with every checkpoint.
//!
//! A thousand direct genomes for ImageNet are 1 GB. The device says who holds each niche, 24 bytes a niche; only those come over whom the
//! host does not have. Of archives of large elites, some come over beside each generation, while the device makes it: where no more
//! niches change than that, a checkpoint waits for hardly any. Of small elites it is copies that cost, not bytes: all of a run come at once.

use super::elites::{Elites, Holder};
use super::launcher::{Launcher, Reader};
use crate::archive::{Archive, Elite};
use crate::backend::Job;
use crate::error::Result;
use std::sync::Arc;

/// What an elite takes at least to come over by itself: below that a copy is mostly its start (an estimate: some 10 us, where
/// 64 KiB take 3).
const LARGE_BYTES: usize = 64 << 10;
/// What archives of all runs of such elites take at least for some to come over beside generations: less is brought in a few milliseconds.
const LARGE_ARCHIVES_BYTES: usize = 64 << 20;
/// What comes over beside a generation: a millisecond or two, of some 50 that the device takes for so large images.
const BESIDE_BYTES: usize = 16 << 20;

/// The elites that the host has of each run.
#[derive(Debug)]
pub struct Kept {
    /// `(n_runs, n_niches)`; a run of which there is nothing has no niches.
    runs: Vec<Vec<Option<Arc<Elite>>>>,
    /// Elites that come over beside a generation.
    beside: usize,
    /// Whether elites come over one by one.
    is_large: bool,
    /// The niche with which that goes on, counted through the active runs.
    next: usize,
}

impl Kept {
    /// Of nobody yet.
    pub fn new(job: &Job) -> Kept {
        let elite = Elites::elite_bytes(job);
        let is_large = elite >= LARGE_BYTES;
        let beside = if is_large && job.seeds.len() * job.classes.len() * elite >= LARGE_ARCHIVES_BYTES {
            BESIDE_BYTES / elite
        } else {
            0
        };
        Kept { runs: vec![Vec::new(); job.seeds.len()], beside, is_large, next: 0 }
    }

    /// Lets `elites` come over beside each generation, whatever the size of the archives.
    pub fn set_beside(&mut self, elites: usize) {
        self.beside = elites;
    }

    /// Whether some come over beside a generation.
    pub fn has_beside(&self) -> bool {
        self.beside > 0
    }

    /// Forgets run `run`.
    pub fn forget(&mut self, run: usize) {
        self.runs[run] = Vec::new();
    }

    /// Forgets all runs but `active`, which ascend.
    pub fn forget_others(&mut self, active: &[usize]) {
        (0..self.runs.len()).filter(|run| active.binary_search(run).is_err()).for_each(|run| self.forget(run));
    }

    /// Brings over whom `reader` may read and the host does not have, of the niches that `holders` hold in each of the runs `active`:
    /// as many as come beside a generation, going on where it stopped.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn bring_some(
        &mut self,
        elites: &Elites,
        reader: Reader,
        job: &Job,
        active: &[usize],
        holders: &[Vec<Holder>],
    ) -> Result<()> {
        let n_niches = job.classes.len();
        let n = active.len() * n_niches;
        let (start, mut left) = (self.next, self.beside);
        for at in (0..n).map(|step| (start + step) % n) {
            if left == 0 {
                break;
            }
            let (position, niche) = (at / n_niches, at % n_niches);
            let (run, holder) = (active[position], holders[position][niche]);
            left -= usize::from(self.bring(job, run, niche, holder, || one(elites.get(reader, job, &[holder])))?);
            self.next = at + 1;
        }
        Ok(())
    }

    /// The archive of run `run`, which has made `generation`.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver).
    pub fn archive(
        &mut self,
        elites: &Elites,
        launcher: &Launcher,
        job: &Job,
        run: usize,
        generation: u32,
    ) -> Result<Archive> {
        let holders = elites.holders(launcher, job, run)?;
        let reader = launcher.reader();
        let has = |(kept, holder): (&Option<Arc<Elite>>, &Holder)| kept.as_ref().is_some_and(|elite| holder.is(elite));
        let has_all = self.runs[run].len() == holders.len() && self.runs[run].iter().zip(&holders).all(has);
        let mut at_once =
            if self.is_large || has_all { Vec::new() } else { elites.get(reader, job, &holders)? }.into_iter();
        for (niche, holder) in holders.into_iter().enumerate() {
            let next = at_once.next();
            self.bring(job, run, niche, holder, || next.map_or_else(|| one(elites.get(reader, job, &[holder])), Ok))?;
        }
        let elites = self.runs[run].iter().flatten().cloned().collect();
        Ok(Archive { generation, classes: job.classes.clone(), elites })
    }

    /// Makes `holder` the one that the host has in a niche; whether he had to `come` over.
    fn bring(
        &mut self,
        job: &Job,
        run: usize,
        niche: usize,
        holder: Holder,
        come: impl FnOnce() -> Result<Elite>,
    ) -> Result<bool> {
        let niches = &mut self.runs[run];
        niches.resize(job.classes.len(), None);
        let is_here = niches[niche].as_ref().is_some_and(|elite| holder.is(elite));
        if is_here {
            return Ok(false);
        }
        // One candidate may hold many niches.
        let elsewhere = niches.iter().flatten().find(|elite| holder.is(elite)).cloned();
        let came = elsewhere.is_none();
        niches[niche] = Some(match elsewhere {
            Some(elite) => elite,
            None => Arc::new(come()?),
        });
        Ok(came)
    }
}

/// The one elite that was asked for.
fn one(elites: Result<Vec<Elite>>) -> Result<Elite> {
    elites.map(|mut elites| elites.swap_remove(0))
}
