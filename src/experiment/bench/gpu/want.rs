//! What the CPU makes of a state: what a GPU must give, bit for bit.

use crate::archive::content_hash;
use crate::backend::cpu::select::{Pair, select};
use crate::backend::cpu::{CpuBackend, DEFAULT_CHUNK, Options};
use crate::backend::{Backend, Counters, Job, cuda};
use crate::error::Result;
use crate::experiment::bench::stage::{OTHER_CHUNK, State, Yardstick};
use crate::genome::cppn::Graph;
use crate::genome::{Encoding, Genome};
use crate::network::Network;
use crate::rng::Philox;
use crate::simd::Simd;
use std::ops::Range;
use std::sync::Arc;

/// Runs of several that are compared.
const RUNS_COMPARED: u32 = 5;

/// Candidates at both ends of a chunk, and what a generation comes to.
pub struct Want {
    /// By their places, from the first; none of several runs.
    pub candidates: Vec<Candidate>,
    /// After the generation: runs of those that are compared, by number.
    pub counters: Vec<(usize, Counters)>,
}

/// What is known of a candidate.
pub struct Candidate {
    /// Its place in the first chunk.
    pub place: usize,
    /// How the pair was made that it is one of.
    pub pair: Pair,
    pub genome: Genome,
    pub image: Vec<u8>,
    /// `(n_classes)`
    pub probabilities: Vec<f32>,
    /// The genome that it would have in generation 0.
    pub random: Genome,
}

impl Candidate {
    /// Whether `genome` is its own, in every bit.
    pub fn is_genome(&self, genome: &Genome) -> bool {
        same(&self.genome, genome)
    }

    /// Whether `genome` is that of generation 0, in every bit.
    pub fn is_random(&self, genome: &Genome) -> bool {
        same(&self.random, genome)
    }
}

fn same(a: &Genome, b: &Genome) -> bool {
    content_hash(&[], &[], a) == content_hash(&[], &[], b)
}

impl Want {
    /// Of one run of `batch` candidates at `state`.
    ///
    /// # Errors
    /// Those of the CPU's backend.
    pub fn new(state: &State, batch: u32, simd: Simd) -> Result<Want> {
        let job = Job { batch, ..state.job.clone() };
        let restored = |chunk| -> Result<CpuBackend> {
            let mut cpu = CpuBackend::new(job.clone(), Options { simd, chunk })?;
            cpu.restore(0, state.archive.clone(), state.skipped)?;
            Ok(cpu)
        };
        let mut cpu = restored(DEFAULT_CHUNK)?;
        cpu.generation()?;
        let counters = vec![(0, cpu.counters()?.remove(0))];
        let mut cpu = restored(OTHER_CHUNK)?;
        let mut random = CpuBackend::new(job.clone(), Options { simd, chunk: OTHER_CHUNK })?;
        let mut candidates = Vec::new();
        for range in samples(batch.min(cuda::DEFAULT_CHUNK), state.sample()) {
            cpu.select(range.clone())?;
            cpu.vary(range.clone())?;
            cpu.render(range.clone())?;
            cpu.classify(range.clone())?;
            random.randomise(range.clone())?;
            let mut pairs = Vec::new();
            let (philox, n_niches) = (Philox::new(job.seeds[0]), job.classes.len() as u32);
            select(&mut pairs, &job.encoding, n_niches, &philox, state.next(), range.clone());
            let (len, n_classes) = (job.canvas.len(), job.network.classes.len());
            for (at, place) in range.enumerate() {
                candidates.push(Candidate {
                    place: place as usize,
                    pair: pairs[at / 2],
                    genome: cpu.genome(at),
                    image: cpu.images()[at * len..][..len].to_vec(),
                    probabilities: cpu.probabilities()[at * n_classes..][..n_classes].to_vec(),
                    random: random.genome(at),
                });
            }
        }
        Ok(Want { candidates, counters })
    }

    /// Of `runs` runs of `batch` candidates, each at `state`: the first, the last and some between.
    ///
    /// # Errors
    /// Those of the CPU's backend.
    pub fn of_runs(state: &State, batch: u32, runs: u32, simd: Simd) -> Result<Want> {
        let mut compared: Vec<u32> = (0..RUNS_COMPARED)
            .map(|i| u64::from(i) * u64::from(runs - 1) / u64::from(RUNS_COMPARED - 1))
            .map(|run| run as u32)
            .collect();
        compared.dedup();
        let counters = |run: u32| {
            let seeds = vec![state.config.seed + u64::from(run)];
            let job = Job { batch, seeds, ..state.job.clone() };
            let mut cpu = CpuBackend::new(job, Options { simd, chunk: OTHER_CHUNK })?;
            cpu.restore(0, state.archive.clone(), state.skipped)?;
            cpu.generation()?;
            Ok((run as usize, cpu.counters()?.remove(0)))
        };
        Ok(Want { candidates: Vec::new(), counters: compared.into_iter().map(counters).collect::<Result<_>>()? })
    }

    /// The genomes of the candidates that are CPPNs, and of generation 0's.
    pub fn graphs(&self) -> (Vec<Graph>, Vec<Graph>) {
        let graph = |genome: &Genome| match genome {
            Genome::Cppn(graph) => Some(graph.clone()),
            Genome::Direct(_) => None,
        };
        let graphs = |of: fn(&Candidate) -> &Genome| self.candidates.iter().map(of).filter_map(graph).collect();
        (graphs(|candidate| &candidate.genome), graphs(|candidate| &candidate.random))
    }
}

/// Both ends of a chunk of `count` places, in whole pairs, each of `sample`, an even number.
fn samples(count: u32, sample: u32) -> Vec<Range<u32>> {
    let head = 0..sample.min(count);
    let tail = count.saturating_sub(sample).max(head.end)..count;
    [head, tail].into_iter().filter(|range| !range.is_empty()).collect()
}

/// The job of `runs` runs of `batch` candidates at `state`: its seed, and those after it.
pub fn job_of_runs(state: &State, batch: u32, runs: u32) -> Job {
    let seeds = (0..u64::from(runs)).map(|run| state.config.seed + run).collect();
    Job { batch, seeds, ..state.job.clone() }
}

/// The job whose population are the genomes of `yardstick`.
///
/// # Errors
/// None: the network is this program's own.
pub fn job_of_yardstick(yardstick: &Yardstick) -> Result<Job> {
    let network = Arc::new(Network::embedded_lenet(None)?);
    Ok(Job {
        seeds: vec![1],
        batch: yardstick.graphs.len().next_multiple_of(2) as u32,
        canvas: Yardstick::CANVAS,
        encoding: Encoding::Cppn(yardstick.rules.clone()),
        classes: (0..network.classes.len() as u32).collect(),
        network,
        lineage: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::bench::stage::SAMPLE;

    #[test]
    fn samples_are_whole_pairs_from_both_ends() {
        assert_eq!(samples(2, SAMPLE), std::slice::from_ref(&(0..2)));
        assert_eq!(samples(32, SAMPLE), std::slice::from_ref(&(0..32)));
        assert_eq!(samples(40, SAMPLE), [0..32, 32..40]);
        assert_eq!(samples(200, SAMPLE), [0..32, 168..200]);
    }
}
