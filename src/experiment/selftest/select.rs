//! select: the pairs of the CPU step.

use super::cases::{Extent, Places, Runs, places, product};
use super::gpu::Gpu;
use super::tally::Tally;
use crate::backend::cpu::select;
use crate::backend::cuda::params::{DirectRules, Pair};
use crate::error::Result;
use crate::genome::direct::{Crossover, Rules};
use crate::genome::{Encoding, cppn};

/// The pairs of a chunk on the host.
pub fn on_host(encoding: &Encoding, n_niches: u32, (runs, active, chunk): &Places) -> Vec<Pair> {
    let runs = Runs::new(runs, active);
    let mut pairs = Vec::new();
    for (run, candidate) in runs.places(*chunk).step_by(2) {
        let (philox, generation) = (runs.philox(run), runs.generation(run));
        select::select(&mut pairs, encoding, n_niches, &philox, generation, candidate..candidate + 2);
    }
    pairs.iter().map(|pair| Pair { parents: pair.parents, crossed: u32::from(pair.crossed) }).collect()
}

/// Compares the pairs of a chunk on both sides, and returns the device's.
///
/// # Errors
/// The driver's.
pub fn compare(gpu: &Gpu, tally: &mut Tally, encoding: &Encoding, n_niches: u32, at: &Places) -> Result<Vec<Pair>> {
    let (runs, active, chunk) = at;
    tally.case(
        chunk.count as usize,
        format_args!("{encoding:?}, {n_niches} niches, runs {runs:?}, active {active:?}, {chunk:?}"),
    );
    let chance = match encoding {
        Encoding::Direct(rules) => DirectRules::from(rules).crossover_chance,
        Encoding::Cppn(_) => 0,
    };
    let want = on_host(encoding, n_niches, at);
    let on_device = Runs::new(runs, active).upload(gpu)?;
    let guard = Pair { parents: [0xabab_abab; 2], crossed: 0xcdcd_cdcd };
    let mut pairs = gpu.guarded(want.len(), guard)?;
    gpu.timed(tally, |launcher| {
        launcher.select(&mut pairs, &on_device.states, &on_device.active, chance, *chunk, n_niches)
    })?;
    let got = gpu.read(tally, "the pairs", &pairs, want.len(), guard)?;
    tally.same("the pairs", &want, &got);
    Ok(got)
}

/// Direct genomes that are crossed at this rate.
pub fn crossed_with(crossover_rate: f64) -> Encoding {
    Encoding::Direct(Rules { crossover_rate, ..Rules::default() })
}

/// Both encodings, several rates, round the edges of a block of 128 pairs.
pub fn cases(extent: Extent) -> Vec<((Encoding, u32), Places)> {
    let encodings = [
        crossed_with(0.5),
        crossed_with(0.3),
        crossed_with(1.0),
        Encoding::Direct(Rules { crossover: Crossover::None, ..Rules::default() }),
        Encoding::Cppn(cppn::Rules::faithful()),
    ];
    extent.of(product(&product(&encodings, &[1, 10, 1000]), &places(256)), 8, usize::MAX)
}

/// The pairs of all [`cases`].
///
/// # Errors
/// The driver's.
pub fn select(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for ((encoding, n_niches), at) in cases(extent) {
        compare(gpu, tally, &encoding, n_niches, &at)?;
    }
    Ok(())
}
