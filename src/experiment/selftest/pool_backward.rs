//! pool_backward: gradients of the rule, window after window.

use super::cases::Extent;
use super::gpu::Gpu;
use super::layers::{self, numbers};
use super::pool::poolings;
use super::tally::Tally;
use crate::backend::cuda::pool::{Pool, Pooling};
use crate::error::Result;

/// The gradient of what a pooling took, of one image: each window sends in turn.
pub fn on_host(pooling: &Pooling, pool: Pool, gradient: &[f32], input: &[f32]) -> Vec<f32> {
    let Pooling { input: from, output: to, kernel, stride, padding } = *pooling;
    let mut sums = vec![0.0; from.len()];
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                let g = gradient[(channel * to.height + row) * to.width + column];
                let (mut seen, mut counted) = (Vec::new(), 0);
                for y in row * stride..row * stride + kernel {
                    for x in column * stride..column * stride + kernel {
                        // From the padding's first row and column.
                        counted += usize::from(y < from.height + 2 * padding && x < from.width + 2 * padding);
                        let inside = |at: usize, size: usize| at >= padding && at - padding < size;
                        if inside(y, from.height) && inside(x, from.width) {
                            seen.push((channel * from.height + y - padding) * from.width + x - padding);
                        }
                    }
                }
                match pool {
                    Pool::Max => {
                        let first = seen[1..].iter().fold(seen[0], |a, &b| if input[b] > input[a] { b } else { a });
                        sums[first] += g;
                    }
                    Pool::Average { count_padding } => {
                        let n = if count_padding { counted } else { seen.len() };
                        seen.iter().for_each(|&at| sums[at] += g / n as f32);
                    }
                }
            }
        }
    }
    sums
}

/// Compares the gradients of `batch` images of few different values, of which many are equal; with `nans` some are no numbers.
fn compare(gpu: &Gpu, tally: &mut Tally, batch: usize, pooling: &Pooling, pool: Pool, nans: bool) -> Result<()> {
    tally.case(batch, format_args!("batch {batch}, {pool:?}, {pooling:?}, NaNs {nans}"));
    let (in_len, out_len) = (pooling.input.len(), pooling.output.len());
    let few = |(i, x): (usize, f32)| if nans && i % 7 == 0 { f32::NAN } else { (x * 4.0).trunc() / 8.0 };
    let input: Vec<f32> = numbers(8100 + in_len as u32, batch * in_len).into_iter().enumerate().map(few).collect();
    let gradient = numbers(8200 + out_len as u32, batch * out_len);
    let images = gradient.chunks(out_len).zip(input.chunks(in_len));
    let want: Vec<f32> = images.flat_map(|(gradient, input)| on_host(pooling, pool, gradient, input)).collect();
    let inputs = [(&gradient[..], out_len), (&input[..], in_len)];
    layers::compare_all(gpu, tally, inputs, (&want, in_len), batch, |launcher, arena, to, [gradient, value]| {
        let value = (pool == Pool::Max).then_some(value);
        launcher.pool_backward(arena, pooling, pool, to, gradient, value, batch)
    })
}

/// Those of max poolings.
///
/// # Errors
/// The driver's.
pub fn max_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, pooling) in extent.of(poolings(), 3, usize::MAX) {
        for nans in [false, true] {
            compare(gpu, tally, batch, &pooling, Pool::Max, nans)?;
        }
    }
    Ok(())
}

/// Those of average poolings, with the padding counted and not.
///
/// # Errors
/// The driver's.
pub fn average_pool(gpu: &Gpu, extent: Extent, tally: &mut Tally) -> Result<()> {
    for (batch, pooling) in extent.of(poolings(), 3, usize::MAX) {
        for count_padding in [false, true] {
            compare(gpu, tally, batch, &pooling, Pool::Average { count_padding }, false)?;
        }
    }
    Ok(())
}
