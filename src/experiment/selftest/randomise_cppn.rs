//! randomise_cppn: the genomes of `Graph::random`.

use super::cases::{Extent, Places, Runs, places, product};
use super::gpu::Gpu;
use super::graphs;
use super::tally::Tally;
use crate::backend::cuda::params::CppnRules;
use crate::error::Result;
use crate::genome::cppn::{Graph, Rules};

/// Compares the genomes of a chunk on both sides.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, rules: &Rules, n_outputs: usize, at: &Places) -> Result<()> {
    let (runs, active, chunk) = at;
    tally.case(
        chunk.count as usize,
        format_args!("{n_outputs} outputs, {rules:?}, runs {runs:?}, active {active:?}, {chunk:?}"),
    );
    let runs = Runs::new(runs, active);
    let want: Vec<Graph> =
        runs.places(*chunk).map(|(run, candidate)| Graph::random(n_outputs, &runs.philox(run), candidate)).collect();
    let crossing = CppnRules::new(rules, n_outputs);
    let on_device = runs.upload(gpu)?;
    let mut genomes = graphs::guarded(gpu, &crossing, want.len())?;
    gpu.timed(tally, |launcher| {
        launcher.randomise_cppn(&mut genomes, &on_device.states, &on_device.active, &crossing, *chunk)
    })?;
    graphs::compare(gpu, tally, &genomes, &want, true)
}

/// Grey and colour, with the usual capacity and with none to spare, round the edges of a block of 4 candidates.
///
/// # Errors
/// The driver's.
pub fn randomise_cppn(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (n_outputs, tight) in extent.of(product(&[1, 3], &[true, false]), 2, usize::MAX) {
        let rules = match tight {
            true => Rules { max_nodes: 4 + n_outputs as u32, max_edges: 4 * n_outputs as u32, ..Rules::faithful() },
            false => Rules::faithful(),
        };
        for (mut runs, active, chunk) in extent.of(places(8), 3, usize::MAX) {
            runs.iter_mut().for_each(|(_, generation)| *generation = None);
            compare(gpu, tally, &rules, n_outputs, &(runs, active, chunk))?;
        }
    }
    Ok(())
}
