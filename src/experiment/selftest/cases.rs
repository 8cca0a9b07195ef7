//! Cases that several steps share: how many of a table are tried, and runs, chunks, and words by chance.

use super::gpu::Gpu;
use crate::backend::cuda::params::{Chunk, RunState};
use crate::error::Result;
use crate::rng::Philox;
use cudarc::driver::CudaSlice;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A few cases of each table, for a tool that slows kernels a hundredfold.
    Quick,
    /// What takes less than a minute.
    Usual,
    /// Whole tables, for the tests.
    Full,
}

impl Extent {
    /// Of the table `all` so many as are given for each extent, spread evenly, the first and the last among them; all of it where
    /// it is [`Extent::Full`] or has no more.
    pub fn of<T>(self, all: Vec<T>, quick: usize, usual: usize) -> Vec<T> {
        let n = match self {
            Extent::Quick => quick,
            Extent::Usual => usual,
            Extent::Full => all.len(),
        };
        if n >= all.len() {
            return all;
        }
        let last = all.len() - 1;
        let mut wanted = (0..n).map(|i| if n == 1 { last } else { i * last / (n - 1) }).peekable();
        all.into_iter().enumerate().filter_map(|(at, one)| wanted.next_if_eq(&at).map(|_| one)).collect()
    }

    /// The number for this extent.
    pub fn number<T>(self, quick: T, usual: T, full: T) -> T {
        match self {
            Extent::Quick => quick,
            Extent::Usual => usual,
            Extent::Full => full,
        }
    }
}

/// A run: its seed, and the generation its archive stands at, if it has any.
pub type Run = (u64, Option<u32>);

/// Runs, the numbers of those that take part, and the places of a launch.
pub type Places = (Vec<Run>, Vec<u32>, Chunk);

/// `(runs, active, chunk)`: round a block of `edge` candidates, chunks that start inside a run and that reach over several, runs
/// left out, runs at different generations or before the first. The most ordinary one comes last.
pub fn places(edge: u32) -> Vec<Places> {
    const WIDE: u64 = 0xfeed_5eed_0000_0000;
    let one = vec![(1, Some(0))];
    let three = vec![(5, Some(8)), (WIDE, Some(999)), (u64::MAX, Some(0))];
    let chunk = |batch, start, count| Chunk { batch, start, count };
    let mut cases: Vec<Places> =
        [0, 2, edge - 2, edge, edge + 2].map(|count| (one.clone(), vec![0], chunk(2 * edge, 0, count))).into();
    cases.extend([
        (vec![(7, None)], vec![0], chunk(6, 0, 6)),
        (one, vec![0], chunk(100, 36, 64)),
        (three.clone(), vec![1], chunk(4, 2, 2)),
        (three.clone(), vec![0, 1, 2], chunk(10, 0, 30)),
        (three.clone(), vec![0, 2], chunk(10, 6, 12)),
        (three, vec![0, 1, 2], chunk(10, 8, 14)),
    ]);
    cases
}

/// One run, and a batch that is a chunk.
pub fn one_run(count: u32) -> Places {
    (vec![(12, Some(6))], vec![0], Chunk { batch: count, start: 0, count })
}

/// Every one of `first` with every one of `second`.
pub fn product<A: Clone, B: Clone>(first: &[A], second: &[B]) -> Vec<(A, B)> {
    first.iter().flat_map(|a| second.iter().map(|b| (a.clone(), b.clone()))).collect()
}

/// Whose candidate is at a place.
#[derive(Clone, Debug)]
pub struct Runs {
    runs: Vec<Run>,
    active: Vec<u32>,
}

/// Runs as kernels see them.
#[derive(Debug)]
pub struct DeviceRuns {
    pub states: CudaSlice<RunState>,
    pub active: CudaSlice<u32>,
}

impl Runs {
    /// `runs`, of which `active` takes part.
    pub fn new(runs: &[Run], active: &[u32]) -> Runs {
        Runs { runs: runs.to_vec(), active: active.to_vec() }
    }

    /// Their states, `(n_runs)`.
    pub fn states(&self) -> Vec<RunState> {
        let state = |&(seed, generation): &Run| match generation {
            // What stands in `generation` before the first one means nothing.
            None => RunState { generation: 77, ..RunState::new(seed) },
            Some(generation) => RunState { generation, is_first: 0, ..RunState::new(seed) },
        };
        self.runs.iter().map(state).collect()
    }

    /// On the device.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::error::Error::Driver) if there is no room.
    pub fn upload(&self, gpu: &Gpu) -> Result<DeviceRuns> {
        Ok(DeviceRuns { states: gpu.upload(&self.states())?, active: gpu.upload(&self.active)? })
    }

    /// How many there are, active or not.
    pub fn n_runs(&self) -> usize {
        self.runs.len()
    }

    /// The run and the candidate's number at each place of `chunk`.
    pub fn places(&self, chunk: Chunk) -> impl Iterator<Item = (usize, u32)> + '_ {
        (chunk.start..chunk.start + chunk.count)
            .map(move |place| (self.active[(place / chunk.batch) as usize] as usize, place % chunk.batch))
    }

    /// The random numbers of `run`.
    pub fn philox(&self, run: usize) -> Philox {
        Philox::new(self.runs[run].0)
    }

    /// The generation that `run` is making.
    pub fn generation(&self, run: usize) -> u32 {
        self.runs[run].1.map_or(0, |generation| generation + 1)
    }
}

/// Words of no particular distribution, keyed by a seed.
#[derive(Clone, Debug)]
pub struct Words(pub u64);

impl Words {
    /// The next one.
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (crate::archive::mix(self.0) >> 32) as u32
    }

    /// The next one, below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.word() % n
    }

    /// `n` of what `one` makes of them.
    pub fn many<T>(&mut self, n: usize, mut one: impl FnMut(&mut Words) -> T) -> Vec<T> {
        (0..n).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_a_table_is_spread_over_it() {
        let of = |extent: Extent, n: usize| extent.of((0..n).collect::<Vec<_>>(), 3, 5);
        assert_eq!(of(Extent::Quick, 100), [0, 49, 99]);
        assert_eq!(of(Extent::Usual, 9), [0, 2, 4, 6, 8]);
        assert_eq!(of(Extent::Usual, 4), [0, 1, 2, 3]);
        assert_eq!(of(Extent::Full, 40).len(), 40);
        assert_eq!(Extent::Quick.of(vec![1, 2, 3], 1, 2), [3]);
    }
}
