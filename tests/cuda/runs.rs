//! Runs as the kernels that make genomes see them, and whose candidate is at a place.

use pareidolia::backend::cuda::Launcher;
use pareidolia::backend::cuda::params::{Chunk, RunState};
use pareidolia::rng::Philox;

use cudarc::driver::CudaSlice;

/// A run: its seed, and the generation its archive stands at, if it has any.
pub type Run = (u64, Option<u32>);

/// Runs on the host and on the device.
pub struct Runs {
    runs: Vec<Run>,
    active: Vec<u32>,
    pub on_device: CudaSlice<RunState>,
    pub active_on_device: CudaSlice<u32>,
}

impl Runs {
    /// `runs`, of which `active` takes part.
    pub fn new(launcher: &Launcher, runs: &[Run], active: &[u32]) -> Runs {
        let state = |&(seed, generation): &Run| match generation {
            // What stands in `generation` before the first one means nothing.
            None => RunState { generation: 77, ..RunState::new(seed) },
            Some(generation) => RunState { generation, is_first: 0, ..RunState::new(seed) },
        };
        let states: Vec<RunState> = runs.iter().map(state).collect();
        Runs {
            runs: runs.to_vec(),
            active: active.to_vec(),
            on_device: launcher.upload(&states).unwrap(),
            active_on_device: launcher.upload(active).unwrap(),
        }
    }

    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// The run and the candidate's number at each place of `chunk`.
    pub fn places(&self, chunk: Chunk) -> impl Iterator<Item = (usize, u32)> + '_ {
        (chunk.start..chunk.start + chunk.count)
            .map(move |place| (self.active[(place / chunk.batch) as usize] as usize, place % chunk.batch))
    }

    pub fn philox(&self, run: usize) -> Philox {
        Philox::new(self.runs[run].0)
    }

    /// The generation that `run` is making.
    pub fn generation(&self, run: usize) -> u32 {
        self.runs[run].1.map_or(0, |generation| generation + 1)
    }
}

/// `(runs, active, chunk)`: round the edges of a block of 128 pairs, chunks that start inside a run and that reach over several,
/// runs left out, runs at different generations or before the first.
pub fn cases(edge: u32) -> Vec<(Vec<Run>, Vec<u32>, Chunk)> {
    const WIDE: u64 = 0xfeed_5eed_0000_0000;
    let one = vec![(1, Some(0))];
    let three = vec![(5, Some(8)), (WIDE, Some(999)), (u64::MAX, Some(0))];
    let chunk = |batch, start, count| Chunk { batch, start, count };
    let mut cases: Vec<_> =
        [0, 2, edge - 2, edge, edge + 2].map(|count| (one.clone(), vec![0], chunk(2 * edge, 0, count))).into();
    cases.extend([
        (vec![(7, None)], vec![0], chunk(6, 0, 6)),
        (one, vec![0], chunk(100, 36, 64)),
        (three.clone(), vec![0, 1, 2], chunk(10, 0, 30)),
        (three.clone(), vec![0, 1, 2], chunk(10, 8, 14)),
        (three.clone(), vec![0, 2], chunk(10, 6, 12)),
        (three, vec![1], chunk(4, 2, 2)),
    ]);
    cases
}
