//! add_bands: what all bands of drawings tell each term.

use super::cases::Extent;
use super::gpu::{GUARD_F32, Gpu};
use super::layers::numbers;
use super::tally::Tally;
use crate::error::Result;

/// Bands and terms round a block of 128, and none.
const CASES: [(usize, usize); 7] = [(2, 0), (1, 1), (33, 1), (1, 127), (8, 128), (3, 129), (32, 700)];

/// All cases.
///
/// # Errors
/// The driver's.
pub fn add_bands(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (n_bands, terms) in extent.of(CASES.into(), 3, usize::MAX) {
        tally.case(terms, format_args!("{n_bands} bands of {terms} terms"));
        let bands = numbers(9970 + n_bands as u32, n_bands * terms);
        let mut want = vec![0.0_f32; terms];
        for (i, x) in bands.iter().enumerate() {
            want[i % terms] += x;
        }
        let of_bands = gpu.upload(&bands)?;
        let mut gradient = gpu.guarded(terms, GUARD_F32)?;
        gpu.timed(tally, |launcher| launcher.add_bands(&mut gradient, &of_bands, n_bands, terms))?;
        let got = gpu.read(tally, "the gradients", &gradient, terms, GUARD_F32)?;
        tally.same("the gradients", &want, &got);
    }
    Ok(())
}
